//! `--pcap` on clients, servers and the proxy: what the file contains, and what a disk that is slow or full changes.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use socklab_tests::program::{
    DEADLINE, FakeServer, Finished, Program, STOP, Server, client, message, read, read_all, reset,
    wait_until,
};

/// Temporary folder for captures.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A connection of a capture.
#[derive(Clone, PartialEq, Eq)]
struct Captured {
    client: SocketAddr,
    server: SocketAddr,
    up: Vec<u8>,
    down: Vec<u8>,
    /// How each direction ended: "fin", "rst" or nothing.
    ends: [String; 2],
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server, up, down, ends } = self;
        let start = |bytes: &[u8]| bytes[..bytes.len().min(100)].escape_ascii().to_string();
        let (up_start, down_start) = (start(up), start(down));
        write!(f, "{client} to {server}: {} bytes {up_start:?} up, ", up.len())?;
        write!(f, "{} bytes {down_start:?} down, ends {ends:?}", down.len())
    }
}

impl Captured {
    fn assert_closed(&self) {
        assert_eq!(self.ends, ["fin", "fin"], "{self:?}");
    }
}

/// Reads a capture with a program that checks lengths, checksums, sequence numbers and acknowledgements.
fn captured(path: &str) -> Vec<Captured> {
    let finished = Program::peer("read_pcap.py", &[path, "--hex"]).run();
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let bytes = |hex: &str| -> Vec<u8> {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
        hex.as_bytes().as_chunks().0.iter().map(|[a, b]| digit(*a) << 4 | digit(*b)).collect()
    };
    let connection = |lines: &[Vec<&str>]| Captured {
        client: lines[0][0].parse().unwrap(),
        server: lines[0][1].parse().unwrap(),
        up: bytes(lines[1][1]),
        down: bytes(lines[2][1]),
        ends: [lines[1][2].to_owned(), lines[2][2].to_owned()],
    };
    lines.chunks(3).map(connection).collect()
}

/// Returns the connection of this client.
fn of_client(path: &str, stream: &TcpStream) -> Captured {
    let client = stream.local_addr().unwrap();
    captured(path).into_iter().find(|connection| connection.client == client).expect("its bytes")
}

/// Returns the only connection of a capture.
fn only(path: &str) -> Captured {
    let mut connections = captured(path);
    assert_eq!(connections.len(), 1, "{path}");
    connections.remove(0)
}

/// Runs tshark on a capture. Returns its output.
fn tshark(path: &str, args: &[&str]) -> String {
    let checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let finished = Program::new("tshark", &[&["-r", path], &checks[..], args].concat()).run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let stderr = finished.stderr.lines().filter(|line| !line.starts_with("Running as user"));
    assert_eq!(stderr.count(), 0, "{finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

/// Checks that tshark has no warning about a capture.
fn assert_no_warning(path: &str) {
    // Severities of the expert: this is a warning.
    let filter = "_ws.expert.severity >= 0x600000 || tcp.analysis.flags || _ws.malformed";
    assert_eq!(tshark(path, &["-Y", filter]), "");
}

/// Starts `socklab proxy raw 0 TARGET` with these arguments.
fn proxy(target: SocketAddr, args: &[&str]) -> Server {
    let target = target.to_string();
    Server::from_program(Program::socklab(&[&["proxy", "raw", "0", &target], args].concat()))
}

fn stop(server: Server) -> Finished {
    server.process.signal(STOP);
    server.process.finish()
}

/// Runs a client and a server with captures. Returns the paths of both, that of the client first.
fn run_both(folder: &Folder, case: &Case, number: usize) -> [String; 2] {
    let paths = ["client", "server"].map(|end| folder.path(&format!("{number}-{end}.pcap")));
    let mut server_args = vec![case.protocol, "server", "0"];
    server_args.extend(["--pcap", &paths[1]]);
    server_args.extend(case.server);
    let mut server = Server::from_program(Program::socklab(&server_args).with_stdin());
    let ends = !case.typed_to_server.is_empty();
    server.process.stdin().write_all(case.typed_to_server.as_bytes()).unwrap();

    let mut client_args = vec![case.protocol, "client"];
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    let remote = format!("{}:data", server.addr);
    match case.protocol {
        "file" => client_args.extend([remote.as_str(), "-"]),
        _ => client_args.extend([host.as_str(), port.as_str()]),
    }
    client_args.extend(["--pcap", &paths[0]]);
    client_args.extend(case.client);
    let finished = Program::socklab(&client_args).run_with(case.typed);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    if ends {
        server.process.finish().success();
    } else {
        stop(server).success();
    }
    paths
}

/// The main job of a protocol.
#[derive(Default)]
struct Case {
    protocol: &'static str,
    server: &'static [&'static str],
    client: &'static [&'static str],
    typed: &'static str,
    typed_to_server: &'static str,
    /// What the client sends, if its start is known, and the end of what the server sends.
    up: &'static [u8],
    down: &'static [u8],
}

const CASES: [Case; 13] = [
    Case {
        protocol: "math",
        server: &["--secret", "opensesm", "--seed", "1", "--rounds", "3"],
        client: &[],
        down: b"Sopensesm",
        ..CASE
    },
    Case {
        protocol: "add",
        server: &["--number", "62"],
        client: &["--name", "Ada", "--number", "42"],
        up: b"Ada",
        ..CASE
    },
    Case {
        protocol: "echo",
        client: &["Four score and seven"],
        up: b"\0\0\0\x14Four score and seven",
        down: b"\0\0\0\x0a and seven",
        ..CASE
    },
    Case {
        protocol: "echo",
        server: &["--header", "2"],
        client: &["--header", "2", "Four score and seven"],
        up: b"\0\x14Four score and seven",
        down: b"\0\x0a and seven",
        ..CASE
    },
    Case { protocol: "hello", down: b"Hello from server\n", ..CASE },
    Case {
        protocol: "coin",
        server: &["--seed", "1"],
        typed: "H\nT\nQ\n",
        up: b"H\nT\nQ\n",
        ..CASE
    },
    Case { protocol: "guess", server: &["--number", "75"], client: &["--auto"], ..CASE },
    Case { protocol: "rps", server: &["--auto", "--seed", "1"], typed: "1\npaper\n3\n", ..CASE },
    Case { protocol: "rps", typed: "1\npaper\n3\n", typed_to_server: "1\n2\n3\n", ..CASE },
    Case {
        protocol: "chat",
        typed: "And how are you?\n",
        typed_to_server: "Hello!\nBYE\n",
        up: b"And how are you?\n",
        down: b"Hello!\nBYE\n",
        ..CASE
    },
    Case {
        protocol: "chat",
        client: &["--duplex"],
        server: &["--duplex"],
        typed: "A\nBYE\n",
        typed_to_server: "B\n",
        up: b"A\nBYE\n",
        ..CASE
    },
    Case { protocol: "file", client: &["--checked"], ..CASE },
    Case {
        protocol: "file",
        client: &["--plain", "--newline"],
        up: b"data\n",
        down: b"The end",
        ..CASE
    },
];

const CASE: Case = Case {
    protocol: "",
    server: &[],
    client: &[],
    typed: "",
    typed_to_server: "",
    up: b"",
    down: b"",
};

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn both_ends_of_every_protocol_capture_the_same_bytes_and_ends() {
    let folder = Folder::new();
    // More than one call of the system transfers.
    let content = [b"line\n".repeat(400_000), b"The end".to_vec()].concat();
    fs::write(folder.path("data"), &content).unwrap();
    let root: &'static str = folder.path("").leak();
    let root: &'static [&'static str] = vec!["--root", root].leak();
    let mut files = [Vec::new(), Vec::new()];
    thread::scope(|scope| {
        let run = |number, mut case: Case| {
            let folder = &folder;
            let content = &content;
            scope.spawn(move || {
                if case.protocol == "file" {
                    case.server = root;
                }
                let paths = run_both(folder, &case, number);
                let [client, server] = [only(&paths[0]), only(&paths[1])];
                // Who is done may leave before the other: a chat server that has sent the last line, and any client.
                let may_leave = case.protocol == "chat" && server.ends == ["", "fin"];
                assert!(may_leave || server.ends == ["fin", "fin"], "{server:?}");
                assert_eq!(client.ends[0], "fin");
                assert!(["fin", ""].contains(&client.ends[1].as_str()), "{:?}", client.ends);
                let client = Captured { ends: server.ends.clone(), ..client };
                assert!(client == server, "{} {:?}", case.protocol, case.client);
                assert!(client.up.starts_with(case.up), "{client:?}");
                assert!(client.down.ends_with(case.down), "{client:?}");
                assert!(!client.down.is_empty());
                if case.protocol == "file" {
                    // A checksum of four bytes may follow.
                    let is_checked = case.client.contains(&"--checked");
                    let length = client.down.len() - if is_checked { 4 } else { 0 };
                    assert!(client.down[..length].ends_with(content));
                }
                paths
            })
        };
        let running: Vec<_> =
            CASES.into_iter().enumerate().map(|(number, case)| run(number, case)).collect();
        for thread in running {
            for (all, path) in files.iter_mut().zip(thread.join().unwrap()) {
                // Their headers are the same.
                let capture = fs::read(path).unwrap();
                all.extend_from_slice(&capture[if all.is_empty() { 0 } else { 24 }..]);
            }
        }
    });
    for (end, all) in files.iter().enumerate() {
        let path = folder.path(&format!("{end}.pcap"));
        fs::write(&path, all).unwrap();
        if cfg!(tshark) {
            assert_no_warning(&path);
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_client_with_a_built_in_server_captures_its_own_side() {
    let folder = Folder::new();
    let path = folder.path("x.pcap");
    let finished = Program::socklab(&["echo", "client", "--pcap", &path]).run_with("0123456789abc");
    assert_eq!(finished.success(), b"abc\n");
    let connection = only(&path);
    connection.assert_closed();
    assert_eq!((connection.up, connection.down), (message(b"0123456789abc"), message(b"abc")));
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_server_captures_the_connections_of_many_clients() {
    const COUNT: usize = 50;
    let folder = Folder::new();
    let path = folder.path("x.pcap");
    let server = Server::start("echo", &["--pcap", &path]);
    let mut expected = Vec::new();
    // The second time, the server uses its numbers of connections again.
    for round in 0..2 {
        let mut clients: Vec<TcpStream> = (0..COUNT).map(|_| server.connect()).collect();
        for (number, stream) in clients.iter_mut().enumerate() {
            let text = format!("0123456789{round}-{number}");
            stream.write_all(&message(text.as_bytes())).unwrap();
            let reply = message(&text.as_bytes()[10..]);
            let mut got = vec![0; reply.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, reply);
            let client = stream.local_addr().unwrap();
            expected.push((client, server.addr, message(text.as_bytes()), reply));
        }
        for stream in &clients {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        for stream in &mut clients {
            assert_eq!(read_all(stream), b"");
        }
    }
    stop(server).success();
    let mut connections = captured(&path);
    connections.iter().for_each(Captured::assert_closed);
    // They were accepted in any order.
    connections.sort_by_key(|connection| (connection.up.clone(), connection.client));
    expected.sort_by_key(|(client, _, up, _)| (up.clone(), *client));
    let got: Vec<_> = connections.into_iter().map(|c| (c.client, c.server, c.up, c.down)).collect();
    assert_eq!(got, expected);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn resets_are_captured_with_their_side() {
    let folder = Folder::new();
    let path = folder.path("client.pcap");
    let fake = FakeServer::new();
    let process = client("math", fake.addr, &["--pcap", &path]).start();
    let mut stream = fake.accept();
    stream.write_all(b"Q\0\0\0\x01\0\0\0\x02").unwrap();
    assert_eq!(read::<4>(&mut stream), [0, 0, 0, 3]);
    reset(stream);
    process.finish().last_failure(1);
    let connection = only(&path);
    assert_eq!((connection.up, connection.down.len()), (vec![0, 0, 0, 3], 9));
    assert_eq!(connection.ends, ["", "rst"]);

    let path = folder.path("server.pcap");
    let server = Server::start("echo", &["--pcap", &path]);
    let mut stream = server.connect();
    stream.write_all(&message(b"0123456789abc")).unwrap();
    read::<7>(&mut stream);
    reset(stream);
    server.process.wait_for("reset");
    stop(server).success();
    assert_eq!(only(&path).ends, ["rst", ""]);

    // A server that stops in the middle of a file resets the connection.
    let path = folder.path("file.pcap");
    fs::write(folder.path("data"), vec![7; 64 << 20]).unwrap();
    let server = Server::start("file", &["--root", &folder.path(""), "--pcap", &path]);
    let mut stream = server.connect();
    stream.write_all(b"data\n").unwrap();
    assert_eq!(read::<3>(&mut stream), [7; 3]);
    server.process.signal(STOP);
    let refused = || TcpStream::connect(server.addr).is_err().then_some(());
    wait_until(DEADLINE, refused).expect("no more clients are accepted");
    stop(server).success();
    let connection = of_client(&path, &stream);
    assert_eq!(connection.ends, ["", "rst"]);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(connection.down.len() >= got.len() + 3, "{} {}", connection.down.len(), got.len());
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_file_that_cannot_be_written_is_reported_before_anything_is_run() {
    let fake = FakeServer::new();
    let target = fake.addr.to_string();
    let remote = format!("{target}:data");
    let mut cases = vec![vec!["proxy", "raw", "0", target.as_str()]];
    for protocol in ["math", "add", "echo", "hello", "coin", "guess", "rps", "chat", "file"] {
        cases.push(vec![protocol, "server", "0"]);
        cases.push(match protocol {
            "file" => vec![protocol, "client", remote.as_str(), "-"],
            "add" => vec![protocol, "client", "--name", "A", "--number", "1", target.as_str()],
            _ => vec![protocol, "client", target.as_str()],
        });
    }
    for args in cases {
        let finished =
            Program::socklab(&[&args[..], &["--pcap", "/nosuchfolder/x"]].concat()).run();
        let line = finished.failure(3);
        assert_eq!(line, "cannot write /nosuchfolder/x: no such file or directory", "{args:?}");
        assert_eq!(finished.stdout, b"", "{args:?}");
    }
    assert!(fake.try_accept().is_none());
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn after_an_interrupt_the_file_is_complete() {
    let folder = Folder::new();
    let fake = FakeServer::new();
    for signal in ["INT", "TERM", "HUP"] {
        let path = folder.path("client.pcap");
        let process = client("math", fake.addr, &["--trace", "--pcap", &path]).start();
        let mut stream = fake.accept();
        stream.write_all(b"Q\0\0\0\x01\0\0\0\x02").unwrap();
        process.wait_for("answer 3");
        process.signal(signal);
        process.finish().last_failure(130);
        let connection = only(&path);
        assert_eq!((connection.up.len(), connection.down.len()), (4, 9));

        let path = folder.path("server.pcap");
        let server = Server::start("echo", &["--pcap", &path]);
        let mut stream = server.connect();
        stream.write_all(&message(b"0123456789abc")).unwrap();
        read::<7>(&mut stream);
        server.process.signal(signal);
        let refused = || TcpStream::connect(server.addr).is_err().then_some(());
        wait_until(DEADLINE, refused).expect("no more clients are accepted");
        // Does not wait for the client.
        server.process.signal(signal);
        server.process.finish().success();
        let connection = of_client(&path, &stream);
        assert_eq!((connection.up.len(), connection.down.len()), (17, 7));
        assert_eq!(connection.ends[1], "fin");
    }
}

/// Returns a program in a shell that limits the size of its files to 4 KiB: what a full disk does, without root.
fn limited(args: &[&str]) -> Program {
    Program::in_shell("trap '' XFSZ; ulimit -f 8; exec \"$@\"", args)
}

/// Checks that the capture failed with one warning and the exit code 3.
fn assert_warned(finished: &Finished, path: &str) {
    let line = finished.last_failure(3);
    assert_eq!(line, format!("cannot write {path}: file too large"), "{finished:?}");
    let warnings = finished.stderr.matches("the capture ends here").count();
    assert_eq!(warnings, 1, "{finished:?}");
    assert_eq!(fs::metadata(path).unwrap().len(), 4096);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs the size limit of Linux shells")]
#[cfg_attr(feature = "windows", ignore = "Unix: a limit of the size of files")]
fn a_full_disk_ends_the_capture_and_not_the_main_job() {
    let folder = Folder::new();
    let texts: Vec<String> =
        (0..100).map(|n| format!("0123456789{n} {}", "x".repeat(500))).collect();
    let typed = texts.join("\n");
    let replies: String = texts.iter().map(|text| format!("{}\n", &text[10..])).collect();
    let echo = Server::start("echo", &[]);
    let run = |addr, program: &dyn Fn(&[&str]) -> Program, options: &[&str]| {
        let addr: SocketAddr = addr;
        let addr = addr.to_string();
        program(&[&["echo", "client", &addr], options].concat()).run_with(typed.as_bytes())
    };
    let normal = |args: &[&str]| Program::socklab(args);

    let path = folder.path("client.pcap");
    let finished = run(echo.addr, &|args| limited(args), &["--pcap", &path]);
    assert_eq!(finished.stdout, replies.as_bytes());
    assert_warned(&finished, &path);

    let path = folder.path("server.pcap");
    let server = Server::from_program(limited(&["echo", "server", "0", "--pcap", &path]));
    for _ in 0..2 {
        assert_eq!(run(server.addr, &normal, &[]).success(), replies.as_bytes());
    }
    assert_warned(&stop(server), &path);

    let path = folder.path("proxy.pcap");
    let target = echo.addr.to_string();
    let program = limited(&["proxy", "raw", "0", &target, "--pcap", &path]);
    let proxy = Server::from_program(program);
    for _ in 0..2 {
        assert_eq!(run(proxy.addr, &normal, &[]).success(), replies.as_bytes());
    }
    assert_warned(&stop(proxy), &path);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /dev/full")]
#[cfg_attr(feature = "windows", ignore = "Unix: /dev/full")]
fn a_disk_that_is_full_at_the_start_is_an_error() {
    let finished = Program::socklab(&["math", "server", "0", "--pcap", "/dev/full"]).run();
    assert_eq!(finished.failure(3), "cannot write /dev/full: no space left on device");
}

/// A pipe in the place of the file. What reads it decides how fast it is.
fn pipe(folder: &Folder) -> (String, thread::JoinHandle<File>) {
    let path = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let opened = PathBuf::from(&path);
    // Opening waits for the other end.
    (path, thread::spawn(move || File::open(opened).unwrap()))
}

/// Number of bytes of a transfer, more than the capture keeps in memory.
const SIZE: usize = 24 << 20;
/// The capture keeps 8 MiB. The rest is in the buffers of the sockets and of the pipe.
const STALLED: usize = 20 << 20;

/// Reads until nothing arrives for a while. Returns the number of bytes.
fn read_until_stalled(stream: &mut TcpStream) -> usize {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(n) => total += n,
            Err(e) => {
                let stalls = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                assert!(stalls.contains(&e.kind()), "{e}");
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                return total;
            }
        }
    }
}

/// Copies the rest of a pipe to a file.
fn save(mut pipe: File, path: String) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        io::copy(&mut pipe, &mut File::create(path).unwrap()).unwrap();
    })
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Unix: a pipe with a name")]
fn a_server_and_a_proxy_stop_reading_while_the_disk_is_slow_and_nothing_is_lost() {
    for is_proxy in [false, true] {
        let folder = Folder::new();
        fs::write(folder.path("data"), vec![b'x'; SIZE]).unwrap();
        let (path, reader) = pipe(&folder);
        let root = folder.path("");
        let args: &[&str] = if is_proxy { &[] } else { &["--pcap", &path] };
        let server = Server::start("file", &[&["--root", &root], args].concat());
        let proxy = is_proxy.then(|| proxy(server.addr, &["--pcap", &path]));
        let captured = proxy.as_ref().unwrap_or(&server);
        let reader = reader.join().unwrap();
        let mut stream = captured.connect();
        stream.write_all(b"data\n").unwrap();
        let before = read_until_stalled(&mut stream);
        assert!((1..STALLED).contains(&before), "{before} bytes arrived");
        // Other clients wait as well.
        let mut other = captured.connect();
        other.write_all(b"data\n").unwrap();
        let start = Instant::now();
        let saved = folder.path("x.pcap");
        let saver = save(reader, saved.clone());
        assert_eq!(before + read_all(&mut stream).len(), SIZE);
        assert_eq!(read_all(&mut other).len(), SIZE);
        assert!(start.elapsed() < DEADLINE);
        drop((stream, other));
        match proxy {
            Some(proxy) => stop(proxy),
            None => stop(server),
        }
        .success();
        saver.join().unwrap();
        for connection in self::captured(&saved) {
            assert_eq!((connection.up.as_slice(), connection.down.len()), (&b"data\n"[..], SIZE));
            // The client's end may come after the server has closed.
            assert_eq!(connection.ends[1], "fin", "{connection:?}");
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Unix: a pipe with a name")]
fn a_client_waits_while_the_disk_is_slow_and_nothing_is_lost() {
    let folder = Folder::new();
    let (path, reader) = pipe(&folder);
    let fake = FakeServer::new();
    let remote = format!("{}:data", fake.addr);
    let args = ["file", "client", &remote, "/dev/null", "--plain", "--pcap", &path];
    let process = Program::socklab(&args).start();
    let reader = reader.join().unwrap();
    let mut stream = fake.accept();
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_millis(500) {
        match stream.write(&vec![b'x'; (SIZE - sent).min(1 << 16)]) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
        assert!(sent < STALLED, "the client does not wait");
    }
    let saved = folder.path("x.pcap");
    let saver = save(reader, saved.clone());
    stream.set_nonblocking(false).unwrap();
    stream.write_all(&vec![b'x'; SIZE - sent]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    process.finish().success();
    saver.join().unwrap();
    assert_eq!(only(&saved).down.len(), SIZE);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a pipe with a name")]
fn a_pipe_that_closes_ends_the_capture_and_not_the_main_job() {
    let folder = Folder::new();
    fs::write(folder.path("data"), vec![b'x'; SIZE]).unwrap();
    let (path, reader) = pipe(&folder);
    let server = Server::start("file", &["--root", &folder.path(""), "--pcap", &path]);
    let reader = reader.join().unwrap();
    let mut stream = server.connect();
    stream.write_all(b"data\n").unwrap();
    let before = read_until_stalled(&mut stream);
    assert!(before < STALLED, "{before} bytes arrived");
    drop(reader);
    assert_eq!(before + read_all(&mut stream).len(), SIZE);
    let finished = stop(server);
    assert_eq!(finished.last_failure(3), format!("cannot write {path}: broken pipe"));
    assert_eq!(finished.stderr.matches("the capture ends here").count(), 1, "{finished:?}");
}

/// More than one segment in each direction, and a half-close.
fn talk(mut client: TcpStream, mut server: TcpStream) {
    client.write_all(&[b'q'; 5000]).unwrap();
    assert_eq!(read::<5000>(&mut server), [b'q'; 5000]);
    server.write_all(b"answer").unwrap();
    assert_eq!(&read::<6>(&mut client), b"answer");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut server), b"");
    server.write_all(&[b'r'; 3000]).unwrap();
    drop(server);
    assert_eq!(read_all(&mut client), [b'r'; 3000]);
}

/// Captures a conversation through a proxy.
fn through_proxy(path: &str, args: &[&str], talk: impl FnOnce(TcpStream, TcpStream)) {
    let fake = FakeServer::new();
    let proxy = proxy(fake.addr, &[&["--pcap", path], args].concat());
    let client = proxy.connect();
    talk(client, fake.accept());
    proxy.process.wait_for("bytes to the client; ");
    stop(proxy).success();
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_proxy_captures_the_bytes_and_the_ends_of_both_directions() {
    let folder = Folder::new();
    let path = folder.path("x.pcap");
    through_proxy(&path, &[], talk);
    let finished = Program::peer("read_pcap.py", &[&path]).run();
    let text = String::from_utf8_lossy(finished.success()).into_owned();
    assert_eq!(text, "up 5000 q fin\ndown 3006 ar fin\n");
    through_proxy(&path, &[], |mut client, mut server| {
        client.write_all(b"q").unwrap();
        read::<1>(&mut server);
        reset(client);
        let _ = server.read_to_end(&mut Vec::new());
    });
    let finished = Program::peer("read_pcap.py", &[&path]).run();
    assert_eq!(String::from_utf8_lossy(finished.success()), "up 1 q rst\ndown 0  \n");
}

#[test]
#[cfg_attr(not(tshark), ignore = "needs tshark")]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_capture_opens_in_wireshark_without_a_warning() {
    let folder = Folder::new();
    let path = folder.path("x.pcap");
    through_proxy(&path, &["--cut", "700", "--gap", "0"], talk);
    assert_no_warning(&path);
    let streams = tshark(&path, &["-q", "-z", "conv,tcp"]);
    assert!(streams.contains("127.0.0.1"), "{streams}");
    let payload = tshark(&path, &["-T", "fields", "-e", "tcp.len", "-Y", "tcp.len > 0"]);
    let lengths: Vec<usize> = payload.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 8006);
    assert!(lengths.iter().all(|n| *n <= 700), "{lengths:?}");
}
