//! The programs that are compared, and how each is started.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::installed;

/// Size of a read and a write in the plain loop, in bytes.
const LOOP: usize = 256 << 10;

/// Temporary directory. It is in memory if possible, so that no disk is measured.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let place = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let path = place.join(format!("socklab-bench-{}", std::process::id()));
        fs::create_dir_all(path.join("out")).expect("cannot create the directory");
        Self { path }
    }

    /// Removes the fetched file, so that every fetch writes a new one.
    pub(crate) fn empty(&self) {
        let _ = fs::remove_file(self.path.join("out/data"));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running server, and the command of its client.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) to: &'static str,
    /// Program that is needed but not installed.
    missing: Option<&'static str>,
    server: Option<Server>,
    client: Box<dyn Fn(u16) -> Command>,
    /// Command of a server that ends with its client and is started for each fetch.
    each: Option<Box<dyn Fn(u16) -> Command>>,
}

struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Contestant {
    /// Runs the client once.
    ///
    /// # Errors
    ///
    /// Why it failed, with what it wrote to stderr.
    pub(crate) fn fetch(&self) -> Result<(), String> {
        if let Some(program) = self.missing {
            return Err(format!("{program} is not installed"));
        }
        let port = match (&self.server, &self.each) {
            (Some(server), _) => server.port,
            (None, Some(each)) => {
                let port = free_port();
                let mut process = each(port).spawn().expect("cannot start the program");
                // Waits until the server listens. A trial connection is not possible, since the server accepts only
                // one client.
                std::thread::sleep(Duration::from_millis(100));
                let done = run((self.client)(port));
                let _ = process.kill();
                let _ = process.wait();
                return done;
            }
            (None, None) => return Err("no server".to_owned()),
        };
        run((self.client)(port))
    }
}

fn run(mut command: Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("cannot start the program");
    let output = child.wait_with_output().expect("cannot wait for the program");
    let text = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "the client failed ({}): {}",
            output.status,
            text.trim_end().escape_debug()
        )),
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("no port").port()
}

/// Starts a server that prints its address as a line on stderr.
fn start_server(command: &mut Command) -> Server {
    let mut process = command.stderr(Stdio::piped()).spawn().expect("cannot start the program");
    let mut stderr = BufReader::new(process.stderr.take().expect("no pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("no address");
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    // The pipe must be drained, or the server would block.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    Server { process, port: port.expect("no port") }
}

pub(crate) fn all(folder: &Folder) -> Vec<Contestant> {
    let out = folder.path.join("out/data");
    let socklab = env!("CARGO_BIN_EXE_socklab");
    let ours = |name, to, local: &Path, plain: bool| {
        let mut server = Command::new(socklab);
        server.args(["file", "server", "0", "--root"]).arg(&folder.path);
        let local = local.to_owned();
        let client = move |port| {
            let mut client = Command::new(socklab);
            client
                .args(["file", "client", "--quiet"])
                .args(plain.then_some(["--plain", "--newline"]).into_iter().flatten());
            client.arg(format!("127.0.0.1:{port}:data")).arg(&local);
            client
        };
        contestant(name, to, start_server(&mut server), client)
    };
    let looped = |to, local: &Path| {
        let this = std::env::current_exe().expect("path of this program unknown");
        let mut server = Command::new(&this);
        server.args(["--loop", "serve"]).arg(folder.path.join("data"));
        let local = local.to_owned();
        let client = move |port: u16| {
            let mut client = Command::new(&this);
            client.args(["--loop", "fetch", &port.to_string()]).arg(&local);
            client
        };
        contestant("256 KiB loop", to, start_server(&mut server), client)
    };
    let null = Path::new("/dev/null");
    vec![
        ours("socklab plain", "/dev/null", null, true),
        ours("socklab plain", "file", &out, true),
        ours("socklab checked", "/dev/null", null, false),
        ours("socklab checked", "file", &out, false),
        looped("/dev/null", null),
        looped("file", &out),
        nginx(folder, "/dev/null", null),
        nginx(folder, "file", &out),
        netcat(folder),
    ]
}

fn contestant(
    name: &'static str,
    to: &'static str,
    server: Server,
    client: impl Fn(u16) -> Command + 'static,
) -> Contestant {
    let client = Box::new(client);
    Contestant { name, to, missing: None, server: Some(server), client, each: None }
}

fn absent(name: &'static str, to: &'static str, program: &'static str) -> Contestant {
    let client = Box::new(move |_| Command::new(program));
    Contestant { name, to, missing: Some(program), server: None, client, each: None }
}

fn nginx(folder: &Folder, to: &'static str, local: &Path) -> Contestant {
    const NAME: &str = "nginx, curl";
    let Some(nginx) = installed("nginx") else { return absent(NAME, to, "nginx") };
    let Some(curl) = installed("curl") else { return absent(NAME, to, "curl") };
    let port = free_port();
    let own = folder.path.join(format!("nginx-{port}"));
    fs::create_dir_all(&own).expect("cannot create the directory");
    let (own, root) = (own.display(), folder.path.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {own}/{kind};\n"))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid {own}/pid; error_log /dev/null;\n\
         events {{}}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; {temporary}\
         server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    );
    let path = folder.path.join(format!("nginx-{port}.conf"));
    fs::write(&path, configuration).expect("cannot write the configuration");
    let mut command = Command::new(nginx);
    command.arg("-p").arg(&folder.path).arg("-c").arg(&path);
    let process = command.stderr(Stdio::null()).spawn().expect("cannot start the program");
    let server = Server { process, port };
    let limit = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < limit, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    let local = local.to_owned();
    contestant(NAME, to, server, move |port| {
        let mut client = Command::new(&curl);
        client.args(["--silent", "--fail", "--noproxy", "*", "--output"]).arg(&local);
        client.arg(format!("http://127.0.0.1:{port}/data"));
        client
    })
}

fn netcat(folder: &Folder) -> Contestant {
    const NAME: &str = "nc, nc";
    let Some(nc) = installed("nc") else { return absent(NAME, "/dev/null", "nc") };
    let (data, server) = (folder.path.join("data"), nc.clone());
    let each = move |port: u16| {
        let mut command = Command::new(&server);
        command.args(["-N", "-l", "127.0.0.1", &port.to_string()]);
        command.stdin(File::open(&data).expect("cannot open the file")).stdout(Stdio::null());
        command
    };
    let client = move |port: u16| {
        let mut command = Command::new(&nc);
        command.args(["-d", "127.0.0.1", &port.to_string()]);
        command.stdout(File::create("/dev/null").expect("cannot open /dev/null"));
        command
    };
    Contestant {
        name: NAME,
        to: "/dev/null",
        missing: None,
        server: None,
        client: Box::new(client),
        each: Some(Box::new(each)),
    }
}

/// Runs the plain loop as a server or as a client.
pub(crate) fn run_loop(args: &[String]) {
    let copy = |from: &mut dyn std::io::Read, to: &mut dyn std::io::Write| {
        let mut block = vec![0; LOOP];
        loop {
            match from.read(&mut block) {
                Ok(0) => return,
                Ok(n) => to.write_all(&block[..n]).expect("cannot write"),
                Err(e) => panic!("cannot read: {e}"),
            }
        }
    };
    match args {
        [what, data] if what == "serve" => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("no port");
            eprintln!("{}", listener.local_addr().expect("no address"));
            for stream in listener.incoming() {
                let (mut stream, mut file) = (
                    stream.expect("cannot accept"),
                    File::open(data).expect("cannot open the file"),
                );
                copy(&mut file, &mut stream);
            }
        }
        [what, port, local] if what == "fetch" => {
            let port: u16 = port.parse().expect("no port");
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect");
            let mut file = File::create(local).expect("cannot create the file");
            copy(&mut stream, &mut file);
            file.flush().expect("cannot write");
        }
        _ => panic!("usage: --loop serve FILE, or --loop fetch PORT FILE"),
    }
}
