//! Who takes part, and how each is started.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::installed;

/// What the plain loop reads and writes at a time.
const LOOP: usize = 256 << 10;

/// A folder in memory, where there is one: no disk is measured.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let place = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let path = place.join(format!("socklab-bench-{}", std::process::id()));
        fs::create_dir_all(path.join("out")).expect("a folder");
        Self { path }
    }

    /// Every fetch writes a new file.
    pub(crate) fn empty(&self) {
        let _ = fs::remove_file(self.path.join("out/data"));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A server that runs, and a client to be started again and again.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) to: &'static str,
    /// What it needs that is not there.
    missing: Option<&'static str>,
    server: Option<Server>,
    client: Box<dyn Fn(u16) -> Command>,
    /// A server that ends with its client is started for each.
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
    /// Whether it worked.
    pub(crate) fn fetch(&self) -> bool {
        if self.missing.is_some() {
            return false;
        }
        let port = match (&self.server, &self.each) {
            (Some(server), _) => server.port,
            (None, Some(each)) => {
                let port = free_port();
                let mut process = each(port).spawn().expect("to start");
                // The time of its start is not its client's: but it takes one client only, so no
                // connection can ask whether it is there.
                std::thread::sleep(Duration::from_millis(100));
                let done = run((self.client)(port));
                let _ = process.kill();
                let _ = process.wait();
                return done;
            }
            (None, None) => return false,
        };
        run((self.client)(port))
    }

    pub(crate) fn missing(&self) -> String {
        match self.missing {
            Some(program) => format!("{program} is not installed"),
            None => "it failed".to_owned(),
        }
    }
}

fn run(mut command: Command) -> bool {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.status().expect("to start").success()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// Starts a server that says its address on a line of stderr.
fn saying(command: &mut Command) -> Server {
    let mut process = command.stderr(Stdio::piped()).spawn().expect("to start");
    let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("its address");
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    // Read on, or it could not write.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    Server { process, port: port.expect("a port") }
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
        contestant(name, to, saying(&mut server), client)
    };
    let looped = |to, local: &Path| {
        let this = std::env::current_exe().expect("this program");
        let mut server = Command::new(&this);
        server.args(["--loop", "serve"]).arg(folder.path.join("data"));
        let local = local.to_owned();
        let client = move |port: u16| {
            let mut client = Command::new(&this);
            client.args(["--loop", "fetch", &port.to_string()]).arg(&local);
            client
        };
        contestant("256 KiB loop", to, saying(&mut server), client)
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
    fs::create_dir_all(&own).expect("a folder");
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
    fs::write(&path, configuration).expect("its configuration");
    let mut command = Command::new(nginx);
    command.arg("-p").arg(&folder.path).arg("-c").arg(&path);
    let process = command.stderr(Stdio::null()).spawn().expect("to start");
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
        command.stdin(File::open(&data).expect("the file")).stdout(Stdio::null());
        command
    };
    let client = move |port: u16| {
        let mut command = Command::new(&nc);
        command.args(["-d", "127.0.0.1", &port.to_string()]);
        command.stdout(File::create("/dev/null").expect("it is there"));
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

/// The plain loop, either end.
pub(crate) fn run_loop(args: &[String]) {
    let copy = |from: &mut dyn std::io::Read, to: &mut dyn std::io::Write| {
        let mut block = vec![0; LOOP];
        loop {
            match from.read(&mut block) {
                Ok(0) => return,
                Ok(n) => to.write_all(&block[..n]).expect("to write"),
                Err(e) => panic!("to read: {e}"),
            }
        }
    };
    match args {
        [what, data] if what == "serve" => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            eprintln!("{}", listener.local_addr().expect("its address"));
            for stream in listener.incoming() {
                let (mut stream, mut file) =
                    (stream.expect("a client"), File::open(data).expect("the file"));
                copy(&mut file, &mut stream);
            }
        }
        [what, port, local] if what == "fetch" => {
            let port: u16 = port.parse().expect("a port");
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("to connect");
            let mut file = File::create(local).expect("a file");
            copy(&mut stream, &mut file);
            file.flush().expect("to write");
        }
        _ => panic!("--loop serve FILE, or --loop fetch PORT FILE"),
    }
}
