//! Signals that the parent ignores, as with `nohup` and background jobs of a script, and signals while a file blocks.

#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};

use rustix::process::{Pid, Signal, kill_process};
use socklab_tests::program::{
    DEADLINE, FakeServer, Process, Program, SIGNALS, Server, client, message, read, read_all,
    wait_until,
};

const INT: u32 = 2;
const TERM: u32 = 15;

/// Creates a program whose parent ignores SIGINT, as a shell does for background jobs of a script.
fn in_background(args: &[&str]) -> Program {
    Program::in_shell("trap '' INT; exec \"$@\"", args)
}

/// Returns whether a signal is in this mask of the process's status: `SigIgn` or `SigCgt`.
fn is_in(process: &Process, mask: &str, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
    let mask = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

/// Checks that SIGTERM is caught and SIGINT is still ignored.
#[track_caller]
fn check_ignored_signals_stay_ignored(process: &Process) {
    wait_until(DEADLINE, || is_in(process, "SigCgt", TERM).then_some(()))
        .expect("the process catches SIGTERM");
    assert!(is_in(process, "SigIgn", INT));
    assert!(!is_in(process, "SigCgt", INT));
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: signals that the parent ignores")]
fn a_background_server_ignores_ctrl_c() {
    let mut server = Server::from_program(in_background(&["echo", "server", "0"]));
    check_ignored_signals_stay_ignored(&server.process);
    server.process.signal("INT");
    server.process.signal("INT");
    let mut client = server.connect();
    client.write_all(&message(b"0123456789x")).unwrap();
    assert_eq!(read(&mut client), *b"\0\0\0\x01x");
    drop(client);
    assert!(server.process.is_running());
    server.process.signal("TERM");
    server.process.finish().success();
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: signals that the parent ignores")]
fn a_background_chat_server_and_a_background_client_ignore_ctrl_c() {
    let server = Server::from_program(in_background(&["chat", "server", "0"]).with_stdin());
    check_ignored_signals_stay_ignored(&server.process);

    let fake = FakeServer::new();
    let port = fake.addr.port().to_string();
    let local = std::env::temp_dir().join(format!("socklab-signals-{}", std::process::id()));
    let remote = format!("127.0.0.1:{port}:name");
    let client = in_background(&["file", "client", &remote, local.to_str().unwrap()]).start();
    let mut stream = fake.accept();
    // The OS accepts the connection before the client knows. Only a request shows that the client
    // runs.
    assert_ne!(stream.read(&mut [0]).unwrap(), 0);
    check_ignored_signals_stay_ignored(&client);
    client.signal("TERM");
    assert!(!client.finish().stderr.is_empty());
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: signals that the parent ignores")]
fn a_signal_that_the_parent_does_not_ignore_ends_the_server() {
    let server = Server::from_program(Program::socklab(&["echo", "server", "0"]));
    if is_in(&server.process, "SigIgn", INT) {
        // The tests themselves run in the background of a script.
        return;
    }
    assert!(is_in(&server.process, "SigCgt", INT));
    server.process.signal("INT");
    server.process.finish().success();
}

#[test]
fn an_interrupted_client_reports_it_and_exits_with_130() {
    for (protocol, args) in [
        ("math", &["--json"][..]),
        ("hello", &["--json"]),
        ("echo", &["--json"]),
        ("add", &["--json", "--name", "Ada", "--number", "7"]),
        ("guess", &["--json", "--auto"]),
    ] {
        for signal in SIGNALS {
            let fake = FakeServer::new();
            let process = client(protocol, fake.addr, args).with_stdin().start();
            let _stream = fake.accept();
            process.wait_for_stdout("connected");
            process.signal(signal);
            let finished = process.finish_with_stdin_open();
            assert_eq!(finished.failure(130), "interrupted", "{protocol}");
            let events = String::from_utf8_lossy(&finished.stdout).into_owned();
            let event = r#"{"event":"error","message":"interrupted","code":130}"#;
            assert_eq!(events.lines().last(), Some(event), "{protocol}");
        }
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a signal without another process")]
fn an_interrupt_counts_although_the_input_ends_with_it() {
    // As in `producer | socklab udp client ...`, where Ctrl-C ends the producer too.
    let server = Server::start("udp", &[]);
    for _ in 0..10 {
        let mut process = client("udp", server.addr, &["--json"]).with_stdin().start();
        process.stdin().write_all(b"a message\n").unwrap();
        process.wait_for_stdout("reply");
        let pid = Pid::from_raw(process.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        process.close_stdin();
        assert_eq!(process.finish_with_stdin_open().last_failure(130), "interrupted");
    }
}

/// A pipe in the place of a file, such as one that a paused Wireshark has opened. Returns its reading end too.
fn unread_pipe(folder: &tempfile::TempDir) -> (String, std::fs::File) {
    let path = folder.path().join("pipe").to_str().unwrap().to_owned();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let opened = path.clone();
    // Opening for both does not wait for the writer.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(opened).unwrap();
    (path, file)
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a pipe with a name")]
fn the_second_signal_ends_a_program_whose_capture_is_not_read() {
    // More than a pipe takes.
    let data = vec![b'x'; 300_000];
    for is_proxy in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (path, _reader) = unread_pipe(&folder);
        let fake = FakeServer::new();
        let process = if is_proxy {
            let target = fake.addr.to_string();
            let proxy = Program::socklab(&["proxy", "raw", "0", &target, "--pcap", &path]);
            let proxy = Server::from_program(proxy);
            let mut client = proxy.connect();
            client.write_all(&data).unwrap();
            drop(client);
            assert_eq!(read_all(&mut fake.accept()), data);
            proxy.process.wait_for("closed, by the client first");
            proxy.process.signal("INT");
            proxy.process
        } else {
            let local = folder.path().join("local");
            let remote = format!("{}:name", fake.addr);
            let args =
                ["file", "client", &remote, local.to_str().unwrap(), "--plain", "--pcap", &path];
            let client = Program::socklab(&args).start();
            let mut stream = fake.accept();
            assert_eq!(read(&mut stream), *b"name\n");
            stream.write_all(&data).unwrap();
            drop(stream);
            let is_whole = || std::fs::metadata(&local).is_ok().then_some(());
            wait_until(DEADLINE, is_whole).expect("the file is whole");
            // Until the client has closed the watch of the transfer: the signal may come to either.
            client.signal("TERM");
            client
        };
        process.wait_for(&format!("still writing {path}; Ctrl-C again ends at once"));
        process.signal("INT");
        let finished = process.finish();
        let line = format!("cannot write {path}: interrupted before its reader or its disk took");
        assert!(finished.stderr.contains(&line), "{finished:?}");
    }
}
