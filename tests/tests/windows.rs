//! The Windows program beside the Linux program: every protocol between them, names that Windows resolves in its own
//! way, Ctrl-C, many clients, and rest. `.ci/windows` runs these tests under Wine.
//!
//! A Windows path such as `Z:\tmp` is `/tmp` here, so both programs see the same files.
#![cfg(unix)]

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use socklab_tests::files::{Folder, noise};
use socklab_tests::oracle::file_reply;
use socklab_tests::program::{
    DEADLINE, FakeServer, Finished, Program, Server, client, free_port, message, read, read_all,
    wait_until,
};
use socklab_tests::protocols::PROTOCOLS;

/// Tests share one Wine. The test that measures its CPU time runs alone.
static WINE: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    WINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    WINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Windows,
    Linux,
}

impl On {
    fn program(self, args: &[&str]) -> Program {
        match self {
            Self::Windows => Program::socklab(args),
            Self::Linux => Program::native(args),
        }
    }

    fn server(self, protocol: &str, args: &[&str]) -> Server {
        Server::from_program(self.program(&[&[protocol, "server", "0"], args].concat()))
    }
}

/// One session of a protocol, the same on every system: options, and what each user types.
struct Session {
    server: Vec<String>,
    server_types: &'static str,
    client: Vec<String>,
    client_types: &'static str,
}

impl Session {
    /// Returns the session of a protocol. `folder` is served by the file server.
    fn of(protocol: &str, folder: &Folder) -> Self {
        let root = folder.0.to_str().expect("a plain name");
        let (server, server_types, client, client_types) = match protocol {
            "math" => (&["--secret", "12345678", "--seed", "3"][..], "", &[][..], ""),
            "echo" => (&[][..], "", &[][..], "0123456789 \u{e9}\n\n0123456789last\n"),
            "udp" => (&["--count", "2"][..], "", &[][..], "0123456789 \u{e9}\n\n"),
            "add" => (
                &["--name", "Server", "--number", "7"][..],
                "",
                &["--name", "Ada", "--number", "42"][..],
                "",
            ),
            "hello" => (&["--both"][..], "", &["--both"][..], ""),
            "chat" => (&[][..], "one\n\nthree", &[][..], "a\n\u{e9}\nc\nd\n"),
            "coin" => (&["--seed", "3"][..], "", &["--auto", "5", "--seed", "4"][..], ""),
            "guess" => (&["--number", "62"][..], "", &[][..], "50\n200\n75\n62\n"),
            "rps" => (&["--auto", "--seed", "3"][..], "", &["--auto", "--seed", "4"][..], ""),
            "file" => (&["--root", root][..], "", &["-", "--quiet"][..], ""),
            _ => panic!("write a session for {protocol}"),
        };
        let own = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { server: own(server), server_types, client: own(client), client_types }
    }

    /// Runs it and returns what both ends wrote, without the ports.
    fn run(&self, protocol: &str, server_on: On, client_on: On) -> [String; 4] {
        let args: Vec<&str> = self.server.iter().map(String::as_str).collect();
        let program = server_on.program(&[&[protocol, "server", "0"], &args[..]].concat());
        let mut server = Server::from_program(program.with_stdin());
        let (addr, port) = (server.addr.to_string(), server.addr.port().to_string());
        let remote = format!("{addr}:data");
        let address = if protocol == "file" { vec![&*remote] } else { vec!["127.0.0.1", &port] };
        let args: Vec<&str> = self.client.iter().map(String::as_str).collect();
        let args = [&[protocol, "client"], &address[..], &args].concat();
        let is_chat = protocol == "chat";
        if is_chat {
            server.process.feed(self.server_types);
        }
        let client = client_on.program(&args).run_with(self.client_types);
        client.success();
        if !is_chat {
            // The session has been reported. A chat server ends after it.
            server.process.wait_for_lines(2);
            server.process.signal("INT");
        }
        let server = server.process.finish();
        server.success();
        [text(&client.stdout), client.stderr, text(&server.stdout), without_ports(&server.stderr)]
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Replaces the number after each `127.0.0.1:`.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + "127.0.0.1:PORT" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn every_protocol_works_between_windows_and_linux_word_for_word() {
    let _wine = shared();
    let folder = Folder::new();
    folder.write("data", noise(300_000));
    for protocol in PROTOCOLS {
        let name = protocol.name;
        let session = Session::of(name, &folder);
        let expected = session.run(name, On::Linux, On::Linux);
        for (server, client) in
            [(On::Linux, On::Windows), (On::Windows, On::Linux), (On::Windows, On::Windows)]
        {
            let found = session.run(name, server, client);
            assert_eq!(found, expected, "{name}: server on {server:?}, client on {client:?}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn the_main_job_gives_a_secret() {
    let _wine = shared();
    for _ in 0..3 {
        let finished = Program::socklab(&["math", "client"]).run();
        let secret = finished.success().strip_suffix(b"\n").expect("a line");
        assert!(secret.len() == 8 && secret.iter().all(u8::is_ascii_alphanumeric), "{finished:?}");
        let notice = "no address given: a built-in math server runs on 127.0.0.1:";
        assert!(finished.stderr.starts_with(notice), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn exit_codes_are_those_of_linux() {
    let _wine = shared();
    let server = On::Linux.server("math", &["--secret", "12345678"]);
    assert_eq!(server.client("math", &[]).run().success(), b"12345678\n");

    let fake = FakeServer::new();
    let process = client("math", fake.addr, &[]).start();
    fake.accept().write_all(b"X").unwrap();
    assert!(process.finish().failure(1).starts_with("the server broke the protocol"));

    assert!(Program::socklab(&["maths"]).run().failure(2).contains("maths"));

    let closed = FakeServer::new().addr;
    let expected = format!(
        "cannot connect to {closed}: connection refused; is a server listening on that port?"
    );
    assert_eq!(client("math", closed, &[]).run().failure(3), expected);
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn ctrl_c_ends_a_server_with_code_0_and_a_client_with_code_130() {
    let _wine = shared();
    for protocol in PROTOCOLS {
        let name = protocol.name;
        let program = Program::socklab(&[name, "server", "0"]);
        let server = Server::from_program(program.with_stdin());
        server.process.signal("INT");
        let finished = server.process.finish_with_stdin_open();
        assert_eq!(finished.success(), b"", "{name}");
        // A server of datagrams has no sessions. It ends with their number.
        let lines = if protocol.is_datagrams { 2 } else { 1 };
        assert_eq!(finished.stderr.lines().count(), lines, "{name}: {finished:?}");
        if protocol.is_datagrams {
            // Its client has no connection: see `cli_udp.rs`.
            continue;
        }

        let fake = FakeServer::new();
        let remote = format!("{}:data", fake.addr);
        let port = fake.addr.port().to_string();
        let (address, options): (&[&str], &[&str]) = match name {
            "file" => (&[&remote], &["-"]),
            "add" => (&["127.0.0.1", &port], &["--name", "Ada", "--number", "7"]),
            _ => (&["127.0.0.1", &port], &[]),
        };
        let args = [&[name, "client"], address, options, &["-v"]].concat();
        let process = Program::socklab(&args).with_stdin().start();
        let mut stream = fake.accept();
        process.wait_for("connected");
        if name == "file" {
            // Before its request it has no partial file to keep, and ends without a line.
            read::<5>(&mut stream);
        }
        process.signal("INT");
        let finished = process.finish_with_stdin_open();
        assert_eq!(finished.last_failure(130), "interrupted", "{name}: {finished:?}");
    }
}

/// Names that must not be served, with a part of the reason. `x` and `data` are files in the folder, and `secret` stands
/// beside it.
const REFUSED: [(&str, &str); 31] = [
    ("..\\secret", ""),
    ("../secret", "outside the served folder"),
    ("sub\\..\\..\\secret", ""),
    ("sub/../../secret", "outside the served folder"),
    ("..", ""),
    ("..\\..\\..\\..\\..\\etc\\passwd", ""),
    ("/etc/passwd", "outside the served folder"),
    ("\\etc\\passwd", ""),
    ("Z:\\etc\\passwd", ""),
    ("Z:/etc/passwd", ""),
    ("Z:secret", ""),
    ("C:data", ""),
    ("C:\\windows\\win.ini", ""),
    ("\\\\?\\Z:\\etc\\passwd", ""),
    ("\\\\?\\unix\\etc\\passwd", ""),
    ("\\\\.\\Z:\\etc\\passwd", ""),
    ("//?/Z:/etc/passwd", ""),
    ("\\??\\Z:\\etc\\passwd", ""),
    ("\\\\localhost\\share\\x", ""),
    ("//localhost/share/x", ""),
    ("CON", ""),
    ("con", ""),
    ("NUL", ""),
    ("nul.txt", ""),
    ("sub/NUL", ""),
    ("COM1", ""),
    ("COM\u{b9}", ""),
    ("data::$DATA", ""),
    ("data:y", ""),
    ("..%2fsecret", "no such file"),
    ("sub", "is a folder"),
];

/// As [`REFUSED`], but Windows removes the last character.
const TRIMMED: [&str; 4] = ["data.", "data ", "sub/data.", "sub\\data "];

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_file_server_serves_no_name_that_leads_out_of_its_folder() {
    let _wine = shared();
    let (outer, here) = (Folder::new(), Folder::new());
    fs::create_dir_all(outer.path("root/sub")).unwrap();
    outer.write("secret", "secret");
    outer.write("root/data", "data");
    outer.write("root/sub/data", "sub");
    let root = outer.path("root");
    let server = On::Windows.server("file", &["--root", root.to_str().unwrap()]);
    let ask = |request: String| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        let end = stream.read_to_end(&mut reply);
        (reply, end.err().map(|e| e.kind()))
    };
    let fetch = |on: On, name: &str| {
        let remote = format!("{}:{name}", server.addr);
        let local = here.path("copy");
        on.program(&["file", "client", "--quiet", &remote, local.to_str().unwrap()]).run()
    };
    let is_served = || {
        for (name, content) in [("data", "data"), ("sub/data", "sub"), ("sub\\data", "sub")] {
            assert_eq!(ask(format!("{name}\n")), (content.as_bytes().to_vec(), None), "{name}");
            for on in [On::Windows, On::Linux] {
                fetch(on, name).success();
                assert_eq!(here.read("copy"), content.as_bytes());
                fs::remove_file(here.path("copy")).unwrap();
            }
        }
    };
    is_served();
    for (name, why) in REFUSED.into_iter().chain(TRIMMED.map(|name| (name, ""))) {
        // The plain form has no word for a refusal. It sends nothing and resets the connection.
        let (reply, end) = ask(format!("{name}\n"));
        assert_eq!((reply, end), (vec![], Some(ErrorKind::ConnectionReset)), "{name}");
        let (reply, end) = ask(format!("{name}\0v1\x000\n"));
        assert!(reply.starts_with(b"-") && end.is_none(), "{name}: {:?} {end:?}", text(&reply));
        let line = text(&reply);
        assert!(line.contains(why), "{name}: {line}");
        // Our client takes this for a URL.
        if !name.starts_with("//") {
            let refused = fetch(On::Linux, name);
            let line = refused.failure(1);
            assert!(line.starts_with("the server refused: "), "{name}: {line}");
        }
        assert_eq!(here.list(), [""; 0], "{name}");
    }
    for name in ["..\\secret", "CON", "data:y", "data."] {
        assert!(fetch(On::Windows, name).failure(1).starts_with("the server refused: "), "{name}");
    }
    is_served();
}

/// Returns the result of a fetch in an empty folder without a name for the copy, and what is then in the folder.
fn fetch_by_its_own_name(name: &str) -> (Finished, Vec<String>) {
    let here = Folder::new();
    let fake = FakeServer::new();
    let remote = format!("{}:{name}", fake.addr);
    let line = format!("cd '{}' && exec \"$@\"", here.0.display());
    let mut process = Program::in_shell(&line, &["file", "client", "--quiet", &remote]).start();
    // A client that refuses the name does not connect.
    let ended = wait_until(DEADLINE, || {
        if !process.is_running() {
            return Some(None);
        }
        fake.try_accept().map(Some)
    });
    if let Some(Some(mut stream)) = ended {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(&file_reply(b"four score", 0));
        let _ = stream.shutdown(Shutdown::Write);
    }
    let finished = process.finish();
    (finished, here.list())
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_remote_name_that_windows_reserves_does_not_become_the_local_name() {
    let _wine = shared();
    for name in ["CON", "nul", "NUL.txt", "sub/COM1", "a:b", "sub/data:stream", "data.", "data "] {
        let (finished, list) = fetch_by_its_own_name(name);
        assert_eq!(list, [""; 0], "{name}: {finished:?}");
        assert!(finished.failure(2).contains("LOCAL"), "{name}: {finished:?}");
    }
    for (name, local) in [("data", "data"), ("sub/data", "data"), ("sub\\data", "data")] {
        let (finished, list) = fetch_by_its_own_name(name);
        finished.success();
        assert_eq!(list, [local], "{name}");
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn nul_discards_a_file() {
    let _wine = shared();
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", noise(100_000));
    let server = root.server();
    let remote = format!("{}:data", server.addr);
    for form in ["--checked", "--plain"] {
        let line = format!("cd '{}' && exec \"$@\"", here.0.display());
        let done = Program::in_shell(&line, &["file", "client", form, &remote, "NUL"]).run();
        done.success();
        assert!(done.stderr.contains("100000 bytes"), "{done:?}");
        assert_eq!(here.list(), [""; 0]);
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_path_may_have_300_characters() {
    let _wine = shared();
    let here = Folder::new();
    let folder =
        [here.0.to_str().unwrap(), &"a".repeat(100), &"b".repeat(100), &"c".repeat(100)].join("/");
    fs::create_dir_all(&folder).unwrap();
    fs::write(format!("{folder}/data"), "four score").unwrap();
    let server = On::Windows.server("file", &["--root", &folder]);
    for on in [On::Windows, On::Linux] {
        let (remote, local) = (format!("{}:data", server.addr), format!("{folder}/copy"));
        on.program(&["file", "client", "--quiet", &remote, &local]).run().success();
        assert_eq!(fs::read_to_string(&local).unwrap(), "four score", "{on:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_file(&local).unwrap();
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn fifty_megabytes_are_transferred_in_either_direction() {
    let _wine = shared();
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(50_000_000);
    root.write("data", &file);
    let path = root.0.to_str().unwrap();
    for (server_on, client_on) in [(On::Windows, On::Linux), (On::Linux, On::Windows)] {
        let server = server_on.server("file", &["--root", path]);
        let (remote, local) = (format!("{}:data", server.addr), here.path("copy"));
        let args = ["file", "client", &remote, local.to_str().unwrap()];
        let start = Instant::now();
        let done = client_on.program(&args).run();
        done.success();
        println!("server on {server_on:?}, client on {client_on:?}: {:?}", start.elapsed());
        assert!(
            done.stderr.contains("50000000 bytes") && done.stderr.contains("verified"),
            "{done:?}"
        );
        assert!(here.read("copy") == file, "{server_on:?}");
        assert_eq!(here.list(), ["copy"]);
        fs::remove_file(&local).unwrap();
    }
}

/// Answers the questions of a quiz and returns its secret.
fn solve(stream: &mut TcpStream) -> [u8; 8] {
    loop {
        let message: [u8; 9] = read(stream);
        let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*message[at..].first_chunk().unwrap()));
        match message[0] {
            b'Q' => stream.write_all(&a.wrapping_add(b).to_be_bytes()).expect("write"),
            _ => return *message.last_chunk().unwrap(),
        }
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn two_hundred_clients_are_served_at_a_time() {
    let _wine = shared();
    let server = On::Windows.server("math", &["--secret", "12345678"]);
    let before = server.process.memory("VmRSS");
    let mut streams: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    // Each has its first question while all others are connected, and the last is served first.
    for stream in &streams {
        let mut question = [0; 9];
        let n = wait_until(DEADLINE, || stream.peek(&mut question).ok().filter(|n| *n == 9));
        assert!(n.is_some() && question[0] == b'Q', "no question");
    }
    let grown = server.process.memory("VmRSS").saturating_sub(before);
    for stream in streams.iter_mut().rev() {
        assert_eq!(solve(stream), *b"12345678");
        assert_eq!(read_all(stream), b"");
    }
    println!("200 clients: {} KiB each", grown / 200 / 1024);
    assert!(grown < 200 * (64 << 10), "{grown} bytes for 200 clients");
    drop(streams);
    let log = server.process.wait_for_lines(201);
    assert_eq!(log.matches("correct, secret sent").count(), 200);
}

/// Returns the CPU time of the Wine server of this prefix.
fn wine_cpu() -> Duration {
    let prefix = std::env::var("WINEPREFIX").expect("a prefix of its own");
    let wanted = format!("WINEPREFIX={prefix}");
    let processes = fs::read_dir("/proc").expect("processes");
    let mut times = processes.filter_map(|entry| {
        let path = entry.ok()?.path();
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let (name, fields) = stat.rsplit_once(')')?;
        let environment = fs::read(path.join("environ")).ok()?;
        let is_ours = environment.split(|byte| *byte == 0).any(|line| line == wanted.as_bytes());
        if !is_ours || !name.contains("(wineserver") {
            return None;
        }
        let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
        Some(Duration::from_millis(ticks.sum::<u64>() * 10))
    });
    times.next().expect("the Wine server")
}

/// A wait that does not sleep uses up to all of a processor, and was seen to use 40 % of one.
#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn idle_servers_and_clients_use_next_to_no_cpu_time() {
    const MEASURED: Duration = Duration::from_secs(2);
    const ALLOWED: Duration = Duration::from_millis(200);
    let _wine = alone();
    let empty = On::Windows.server("math", &["--timeout", "none"]);
    let math = On::Windows.server("math", &["--timeout", "none"]);
    let mut question = math.connect();
    read::<9>(&mut question);
    let echo = On::Windows.server("echo", &["--timeout", "none"]);
    let mut half = echo.connect();
    half.write_all(&message(b"0123456789half")[..6]).unwrap();
    let fake = FakeServer::new();
    let waiting = client("math", fake.addr, &["--timeout", "none"]).start();
    let _waiting = fake.accept();
    let typing = client("echo", fake.addr, &[]).with_stdin().start();
    let mut typed = fake.accept();
    let mut talking = client("chat", fake.addr, &["--timeout", "none"]).with_stdin().start();
    let mut talked = fake.accept();
    talked.write_all(b"hello\n").unwrap();
    talking.stdin().write_all(b"well\n").unwrap();
    assert_eq!(read(&mut talked), *b"well\n");
    // The other end does not read, so the client waits until it can write.
    let mut blocked = client("echo", fake.addr, &["--timeout", "none"]).with_stdin().start();
    let _blocked = fake.accept();
    blocked.feed(vec![b'x'; 40 << 20]);

    let all = [
        ("a server without clients", &empty.process),
        ("a server with a client in its turn", &math.process),
        ("a server inside a message", &echo.process),
        ("a client that waits for its server", &waiting),
        ("a client whose user thinks", &typing),
        ("a client whose peer thinks", &talking),
        ("a client that cannot write", &blocked),
    ];
    // Waits until the CPU time of all processes stops growing.
    let now = || (all.map(|(_, process)| process.cpu()), wine_cpu());
    let mut last = now();
    let rest = wait_until(2 * DEADLINE, || {
        thread::sleep(Duration::from_millis(300));
        let is_rest = now() == last;
        last = now();
        is_rest.then_some(())
    });
    println!("came to rest: {}", rest.is_some());
    let before = now();
    thread::sleep(MEASURED);
    let after = now();
    for (((name, _), before), after) in all.iter().zip(before.0).zip(after.0) {
        let used = after - before;
        println!("{name}: {used:?} of CPU in {MEASURED:?}");
        assert!(used < ALLOWED, "{name}: {used:?} of CPU in {MEASURED:?}");
    }
    let used = after.1 - before.1;
    println!("the Wine server: {used:?}");
    assert!(used < 2 * ALLOWED, "the Wine server: {used:?} of CPU in {MEASURED:?}");
    // All of them still work.
    question.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut question), b"");
    half.write_all(&message(b"0123456789half")[6..]).unwrap();
    assert_eq!(read(&mut half), *b"\0\0\0\x04half");
    typed.write_all(&message(b"")).unwrap();
    assert!(typing.finish_with_stdin_open().failure(1).contains("no message is in flight"));
    assert!(TcpStream::connect(empty.addr).is_ok());
}

/// Size of a message that the systems of both ends do not buffer.
const LARGE: usize = 12 << 20;

/// Returns a line of [`LARGE`] bytes without a period that a buffer size is a multiple of.
fn large() -> Vec<u8> {
    (0..LARGE).map(|n| b'a' + (n % 99_991 % 23) as u8).collect()
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_server_continues_when_a_slow_reader_reads_again() {
    let _wine = shared();
    let server = On::Windows.server("echo", &[]);
    let line = large();
    let mut stream = server.connect();
    let mut writer = stream.try_clone().unwrap();
    let sent = message(&line);
    let writing = thread::spawn(move || {
        for block in [&sent[..], &message(b"0123456789next")].concat().chunks(1 << 16) {
            writer.write_all(block).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // Reads nothing until the writer blocks, which takes no longer than this.
    assert!(wait_until(Duration::from_secs(1), || writing.is_finished().then_some(())).is_none());
    let reply = read_all(&mut stream);
    writing.join().unwrap();
    assert!(reply == [message(&line[10..]), message(b"next")].concat(), "{} bytes", reply.len());
    server.process.wait_for("2 messages with ");
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_client_continues_when_a_slow_reader_reads_again() {
    let _wine = shared();
    let line = large();
    let stdin = [&line[..], b"\n0123456789next\n"].concat();
    let expected = [&line[10..], b"\nnext\n"].concat();
    // A server that reads nothing at first.
    let fake = FakeServer::new();
    let mut process = client("echo", fake.addr, &[]).with_stdin().start();
    process.feed(stdin.clone());
    let mut stream = fake.accept();
    SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    thread::sleep(Duration::from_secs(1));
    let mut room = vec![0; LARGE];
    stream.read_exact(&mut room).unwrap();
    assert!(room == line, "the message has changed");
    stream.write_all(&message(&line[10..])).unwrap();
    assert_eq!(read(&mut stream), *b"\0\0\0\x0e0123456789next");
    stream.write_all(&message(b"next")).unwrap();
    assert!(process.finish().success() == expected, "the reply has changed");
    // Our server, which sends while it still receives.
    for on in [On::Linux, On::Windows] {
        let server = on.server("echo", &[]);
        let finished = server.client("echo", &[]).run_with(stdin.clone());
        assert!(finished.success() == expected, "{on:?}: {} bytes", finished.stdout.len());
    }
}

/// A listener that answers no connect: its queue is full. Returns it with the connections in the queue.
fn silent_listener(addr: SocketAddr) -> (Socket, Vec<TcpStream>) {
    let listener = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    if addr.is_ipv6() {
        listener.set_only_v6(true).unwrap();
    }
    listener.bind(&addr.into()).unwrap();
    listener.listen(0).unwrap();
    let mut queued = Vec::new();
    let full = wait_until(DEADLINE, || {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
            Ok(stream) => {
                queued.push(stream);
                None
            }
            Err(_) => Some(()),
        }
    });
    full.expect("the queue does not fill");
    (listener, queued)
}

/// On Windows `localhost` is `::1` first, and a refused connect is reported after two seconds, so the second address is
/// tried meanwhile. Here one of the two addresses never answers. Which one is first depends on the machine.
#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn localhost_connects_while_its_other_address_does_not_answer() {
    let _wine = shared();
    for (live, other) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        // A port that the system chooses for the one address may be in use at the other.
        let port = free_port();
        let live = SocketAddr::new(live.parse().unwrap(), port);
        let fake = FakeServer::on(&live.to_string());
        let _silent = silent_listener(SocketAddr::new(other.parse().unwrap(), port));
        let start = Instant::now();
        let process = Program::socklab(&["math", "client", "localhost", &port.to_string()]).start();
        fake.accept().write_all(b"Sopensesm").unwrap();
        assert_eq!(process.finish().success(), b"opensesm\n", "{live}");
        println!("{live}: {:?}", start.elapsed());
        // The second address is tried after 250 ms. The rest is for Wine on a busy machine: the system repeats an
        // unanswered connect for more than a minute.
        assert!(start.elapsed() < Duration::from_secs(30), "{live}: {:?}", start.elapsed());
    }
}

#[test]
#[cfg_attr(not(feature = "windows"), ignore = "needs a Windows program: .ci/windows")]
fn a_second_server_on_a_port_is_refused() {
    let _wine = shared();
    let server = On::Windows.server("math", &[]);
    let port = server.addr.port().to_string();
    for on in [On::Windows, On::Linux] {
        let refused = on.program(&["math", "server", &port]).run();
        let expected = format!(
            "cannot listen on 127.0.0.1:{port}: address already in use; give another port, or 0 for a free one"
        );
        assert_eq!(refused.failure(3), expected, "{on:?}");
    }
    server.client("math", &[]).run().success();
}
