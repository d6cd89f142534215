//! Programs as students write them, in Python, against the real binary: both roles, and each way to
//! break the protocol.

use std::io::Write as _;

use socklab_tests::program::{Finished, Program, Server, client, is_judged};

/// Starts a Python server. It ends after its last session.
fn python_server(script: &str, args: &[&str]) -> Server {
    Server::from_program(Program::peer(script, args))
}

#[track_caller]
fn check_secret(finished: &Finished, secret: &str) {
    assert_eq!(finished.success(), format!("{secret}\n").as_bytes());
    assert_eq!(finished.stderr, "");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn math_client_solves_a_students_quiz_repeatedly() {
    for (rounds, fault) in [("1", ""), ("7", "full-range"), ("20", "byte-by-byte"), ("500", "")] {
        let args = ["--sessions", "8", "--rounds", rounds, "--fault", fault];
        let server = python_server("math_server.py", &args);
        for _ in 0..8 {
            check_secret(&client("math", server.addr, &[]).run(), "opensesm");
        }
        let server = server.process.finish();
        assert_eq!(server.code, Some(0), "{server:?}");
        assert!(!server.stderr.contains("wrong answer"), "{server:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn math_client_reports_mistakes_of_a_students_server() {
    for (fault, code, text) in [
        ("tag", 1, "message 3 starts with the byte 0x5a ('Z'), expected 'Q' or 'S'"),
        ("close-first", 1, "the server closed the connection before it sent any message"),
        (
            "cut-in-question",
            1,
            "in the middle of a message, after 5 of 9 bytes, with 2 questions answered",
        ),
        (
            "cut-in-secret",
            1,
            "in the middle of a message, after 6 of 9 bytes, with 3 questions answered",
        ),
        ("close-after-answer", 1, "answer 3 rejected"),
        ("reset", 1, "the server reset the connection between messages, with 2 questions answered"),
        ("silent", 1, "the server sent nothing more in time, with 2 questions answered (300ms;"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server("math_server.py", &["--rounds", "3", "--fault", fault]);
        let finished = client("math", server.addr, &["--timeout", "300ms"]).run();
        let line = finished.failure(code);
        assert!(line.contains(text), "{fault}: {line}");
        assert_eq!(finished.stdout, b"", "{fault}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn math_client_accepts_messages_in_one_segment() {
    let server = python_server("math_server.py", &["--rounds", "4", "--fault", "glued"]);
    check_secret(&client("math", server.addr, &[]).run(), "opensesm");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_secret_with_control_characters_is_written_to_a_pipe_unchanged() {
    let server = python_server("math_server.py", &["--fault", "control-secret"]);
    let finished = client("math", server.addr, &[]).run();
    assert_eq!(finished.success(), b"\x1b[31m\x07\x00\xff\n");
}

fn math_client(server: &Server, fault: &str) -> Program {
    let port = server.addr.port().to_string();
    Program::peer("math_client.py", &["127.0.0.1", &port, "--fault", fault])
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn concurrent_math_clients_of_students_get_the_secret() {
    let server = Server::start("math", &["--secret", "swordfsh", "--rounds", "50"]);
    // The default operands are small enough for every way of reading an integer.
    for _ in 0..3 {
        let faults = ["", "", "signed", "wrap", "byte-by-byte"];
        let clients = faults.map(|fault| math_client(&server, fault).start());
        for client in clients {
            check_secret(&client.finish(), "swordfsh");
        }
    }
    // One line for each session, after the line with the address.
    let log = server.process.wait_for_lines(16);
    assert_eq!(log.matches(": 50/50 correct, secret sent\n").count(), 15, "{log}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn sums_of_32_bit_operands_wrap_for_signed_and_unsigned_clients() {
    let server =
        Server::start("math", &["--full-range", "--rounds", "200", "--secret", "8 bytes!"]);
    check_secret(&math_client(&server, "wrap").run(), "8 bytes!");
    check_secret(&math_client(&server, "signed").run(), "8 bytes!");
    check_secret(&server.client("math", &[]).run(), "8 bytes!");
    // A client that does not wrap must fail, which shows that sums did wrap.
    let naive = math_client(&server, "").run();
    assert_eq!(naive.code, Some(1), "{naive:?}");
    assert!(naive.stderr.contains("OverflowError"), "{naive:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn math_server_reports_mistakes_of_a_students_client() {
    let server = Server::start("math", &["--rounds", "3"]);
    let mut lines = 1;
    for (fault, code, text) in [
        ("wrong", 1, ": 0/1 correct, wrong answer "),
        ("leave", 0, ": 0/1 correct, the client closed the connection between messages"),
        ("cut", 0, "the client closed the connection in the middle of a message, after 3 of 4"),
        ("reset", 0, ": 0/1 correct, the client reset the connection between messages"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let finished = math_client(&server, fault).run();
        assert_eq!((finished.code, finished.stdout.as_slice()), (Some(code), &b""[..]));
        lines += 1;
        let log = server.process.wait_for_lines(lines);
        let line = log.lines().last().unwrap_or_default();
        assert!(line.starts_with("127.0.0.1:") && line.contains(text), "{fault}: {log}");
        // The next client is served normally.
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
        lines += 1;
        server.process.wait_for_lines(lines);
    }
}

const MESSAGES: [&str; 6] = [
    "Four score and seven years ago",
    "",
    "short",
    "exactly 10",
    "ü日🦀ü日🦀ü日🦀ü and the rest of it: ß",
    "the last of them, with \u{1b}[31m in it",
];
const REPLIES: &str =
    " and seven years ago\n\n\n\n and the rest of it: ß\nf them, with \u{1b}[31m in it\n";

fn lines(messages: &[&str]) -> Vec<u8> {
    messages.iter().flat_map(|message| [message, "\n"].concat().into_bytes()).collect()
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_client_works_with_a_students_server() {
    for fault in ["", "byte-by-byte", "glued"] {
        let server = python_server("echo_server.py", &["--sessions", "4", "--fault", fault]);
        for buffer in ["1", "7", "65536"] {
            let finished =
                client("echo", server.addr, &["--buffer", buffer]).run_with(lines(&MESSAGES));
            assert_eq!(String::from_utf8_lossy(finished.success()), REPLIES, "{fault}");
            assert_eq!(finished.stderr, "");
        }
        let finished = client("echo", server.addr, &MESSAGES).run();
        assert_eq!(String::from_utf8_lossy(finished.success()), REPLIES, "{fault}");
        assert_eq!(server.process.finish().code, Some(0));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_client_does_not_deadlock_with_a_server_that_does_not_read_while_it_writes() {
    let server = python_server("echo_server.py", &["--buffer", "65536"]);
    // Far more than the socket buffers of both ends hold, in each direction.
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for n in 0..20_000 {
        let rest = format!("{n:06}{}", "x".repeat(1000));
        sent.extend_from_slice(format!("0123456789{rest}\n").as_bytes());
        expected.extend_from_slice(format!("{rest}\n").as_bytes());
    }
    let finished = client("echo", server.addr, &[]).run_with(sent);
    assert!(finished.success() == expected, "replies are wrong: {} bytes", finished.stdout.len());
    assert_eq!(server.process.finish().code, Some(0));
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_client_reports_mistakes_of_a_students_server() {
    for (fault, text) in [
        ("close-after-reply", "closed the connection between messages, with 1 reply missing"),
        ("cut-in-header", "in the middle of a message, after 3 of 4 bytes, with 1 reply missing"),
        ("cut-in-payload", "in the middle of a message, after 6 of 24 bytes, with 1 reply missing"),
        ("reset", "the server reset the connection between messages, with 1 reply missing"),
        ("silent", "the server sent nothing more in time, with 1 reply missing (300ms;"),
        ("too-long", "a reply of 5000 bytes, expected at most 30, the length of all messages"),
        ("endless", "a reply of 4294967295 bytes, expected at most 30, the length of all messages"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server("echo_server.py", &["--fault", fault]);
        let mut client = client("echo", server.addr, &["--timeout", "300ms"]).with_stdin().start();
        // One message at a time: closing with unread bytes would cause a reset and lose replies.
        writeln!(client.stdin(), "this one has thirty characters").unwrap();
        client.wait_for_stdout("as thirty characters");
        writeln!(client.stdin(), "this one has thirty characters").unwrap();
        let finished = client.finish_with_stdin_open();
        let line = finished.failure(1);
        assert!(line.contains(text), "{fault}: {line}");
        // Replies are streamed, so the part of a truncated one that arrived is written.
        let cut = if fault == "cut-in-payload" { "as" } else { "" };
        let stdout = ["as thirty characters\n", cut].concat();
        assert_eq!(finished.stdout, stdout.as_bytes(), "{fault}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_client_waiting_for_the_user_notices_that_the_server_closed() {
    let server = python_server("echo_server.py", &["--fault", "close-first"]);
    let client = client("echo", server.addr, &[]).with_stdin().start();
    let finished = client.finish_with_stdin_open();
    assert_eq!(finished.failure(1), "the server closed the connection between messages");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_reply_without_a_message_is_an_error() {
    let server = python_server("echo_server.py", &["--fault", "unasked"]);
    let mut client = client("echo", server.addr, &[]).with_stdin().start();
    writeln!(client.stdin(), "ten chars!").unwrap();
    let finished = client.finish_with_stdin_open();
    let line = finished.failure(1);
    assert!(line.contains("a reply of 0 bytes, and no message is in flight"), "{line}");
    assert_eq!(finished.stdout, b"\n");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_reply_that_is_not_utf8_is_written_unchanged() {
    let server = python_server("echo_server.py", &["--fault", "not-utf8"]);
    let args = ["--no-verify", "0123456789first", "0123456789second"];
    let finished = client("echo", server.addr, &args).run();
    assert_eq!(finished.success(), b"first\n\xff\x1b[\xc3\n");
}

fn echo_client(server: &Server, args: &[&str]) -> Program {
    let port = server.addr.port().to_string();
    Program::peer("echo_client.py", &[&["127.0.0.1", &port], args].concat())
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_server_works_with_students_clients() {
    let server = Server::start("echo", &[]);
    let expected = String::from_utf8_lossy(REPLIES.as_bytes());
    let clients = [
        &["--buffer", "1"][..],
        &["--buffer", "4096"],
        &["--parallel"],
        &["--buffer", "3", "--parallel"],
        &["--fault", "byte-by-byte"],
    ];
    let running = clients.map(|args| {
        let mut process = echo_client(&server, args).with_stdin().start();
        process.feed(lines(&MESSAGES));
        process
    });
    for process in running {
        let finished = process.finish();
        assert_eq!(String::from_utf8_lossy(finished.success()), expected);
    }
    let log = server.process.wait_for_lines(1 + clients.len());
    let bytes: usize = MESSAGES.iter().map(|message| message.len()).sum();
    let line = format!(": 6 messages with {bytes} bytes echoed, closed\n");
    assert_eq!(log.matches(&line).count(), clients.len(), "{log}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn echo_server_reports_mistakes_of_a_students_client() {
    let server = Server::start("echo", &[]);
    for (fault, stdout, text) in [
        ("cut", "", "the client closed the connection in the middle of a message, after 13 of 104"),
        ("not-utf8", "received False\n", "byte 1 of a payload is 0xff, expected UTF-8"),
    ] {
        let finished = echo_client(&server, &["--fault", fault]).run();
        assert_eq!(finished.success(), stdout.as_bytes());
        server.process.wait_for(text);
        let finished = echo_client(&server, &[]).run_with("and the next is served\n");
        assert_eq!(finished.success(), b"xt is served\n");
    }
}
