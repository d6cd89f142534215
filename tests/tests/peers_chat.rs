//! Programs as students write them, in Python, against `socklab chat`: both roles, and each way to
//! break the protocol.

use std::io::Write as _;

use socklab_tests::program::{Finished, Program, Server, client, is_judged};

/// Starts a Python server that sends these lines.
fn python_server(fault: &str, sessions: &str, lines: &[&str]) -> Server {
    let mut args = vec!["--fault", fault, "--sessions", sessions];
    args.extend(lines.iter().flat_map(|line| ["--say", line]));
    Server::from_program(Program::peer("chat_server.py", &args))
}

/// Runs our server with `input` on stdin and a Python client that sends `lines`. Returns the
/// results of both.
fn with_python_client(input: &str, fault: &str, lines: &[&str]) -> (Finished, Finished) {
    let mut server = Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
    server.process.feed(input);
    let port = server.addr.port().to_string();
    let mut args = vec!["127.0.0.1", &port, "--fault", fault];
    args.extend(lines.iter().flat_map(|line| ["--say", line]));
    let theirs = Program::peer("chat_client.py", &args).run();
    (server.process.finish(), theirs)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn chat_client_works_with_a_students_server_until_either_sends_bye() {
    for fault in ["", "one-recv", "byte-by-byte", "crlf", "ahead", "extra-bytes"] {
        let lines = ["h\u{e9}llo", "how are you?", "ok, Bye."];
        let server = python_server(fault, "8", &lines);
        for _ in 0..4 {
            let ours = client("chat", server.addr, &[]).run_with("hi\ngoodbye is no bye2\nnever\n");
            assert_eq!(text(ours.success()), lines.join("\n") + "\n", "{fault}");
            let ours = client("chat", server.addr, &[]).run_with("hi\n");
            assert_eq!(text(ours.success()), lines[..2].join("\n") + "\n", "{fault}");
        }
        let theirs = server.process.finish();
        assert_eq!(theirs.code, Some(0), "{fault}: {theirs:?}");
        let received = "hi\ngoodbye is no bye2\nhi\nBYE\n".repeat(4);
        assert_eq!(text(&theirs.stdout), received, "{fault}");
        assert_eq!(theirs.stderr.matches('\n').count(), 1, "{fault}: {theirs:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn chat_client_reports_mistakes_of_a_students_server() {
    for (fault, received, text) in [
        (
            "leave",
            "hello\n",
            "the other side closed the connection before the end of the conversation",
        ),
        (
            "reset",
            "hello\n",
            "the other side reset the connection before the end of the conversation",
        ),
        (
            "unterminated",
            "",
            "the other side closed the connection in the middle of a message, after 3 bytes",
        ),
        ("endless-line", "", "the other side broke the protocol: a line is too long"),
        ("silent", "hello\n", "the other side sent nothing in time (500ms;"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server(fault, "1", &["hello", "again"]);
        let ours = client("chat", server.addr, &["--timeout", "500ms"]).run_with("hi\n".repeat(9));
        assert!(ours.failure(1).starts_with(text), "{fault}: {ours:?}");
        assert_eq!(ours.stdout, received.as_bytes(), "{fault}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn invalid_utf_8_is_written_to_a_pipe_unchanged_and_to_json_as_hex() {
    let server = python_server("not-utf8", "2", &["x"]);
    let ours = client("chat", server.addr, &[]).run();
    assert_eq!(ours.success(), b"\xff\xfe bye\n");
    let ours = client("chat", server.addr, &["--json"]).run();
    let events = text(ours.success());
    assert!(events.contains(r#""hex":"fffe20627965","bye":true"#), "{events}");
    let server = python_server("control", "2", &["bye"]);
    let ours = client("chat", server.addr, &["--trace"]).run();
    assert_eq!(text(ours.success()), "\u{1b}[2J\u{202e}\u{7} bye\n");
    assert!(ours.stderr.contains(r#""\x1b[2J\u{202e}\x07 bye""#), "{}", ours.stderr);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn chat_server_works_with_a_students_client_until_either_sends_bye() {
    for fault in ["", "one-recv", "byte-by-byte", "crlf", "ahead"] {
        // The client sends BYE.
        let (ours, theirs) =
            with_python_client("hello\nand?\nnever\n", fault, &["h\u{ed}", "BYE for now"]);
        assert_eq!(text(ours.success()), "h\u{ed}\nBYE for now\n", "{fault}");
        assert_eq!((theirs.code, text(&theirs.stdout)), (Some(0), "hello\nand?\n".into()));
        // The server sends BYE, because its input has ended.
        let (ours, theirs) = with_python_client("hello\n", fault, &["hi", "never", "never"]);
        assert_eq!(text(ours.success()), "hi\n", "{fault}");
        assert_eq!((theirs.code, text(&theirs.stdout)), (Some(0), "hello\nBYE\n".into()));
        assert_eq!(theirs.stderr, "", "{fault}: the server's last line must arrive");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn chat_server_reports_mistakes_of_a_students_client() {
    for (fault, text) in [
        (
            "unterminated",
            "the other side closed the connection in the middle of a message, after 3 bytes",
        ),
        ("endless-line", "the other side broke the protocol: a line is too long"),
    ] {
        let (ours, theirs) = with_python_client("hello\nand?\n", fault, &["hi"]);
        assert!(ours.last_failure(1).starts_with(text), "{fault}: {ours:?}");
        assert_eq!(theirs.code, Some(0), "{fault}: {theirs:?}");
    }
    // A client that sends nothing at all does not end a server that waits for its one client.
    for (fault, text) in [
        ("leave", "the other side closed the connection before the end of the conversation"),
        ("half-close", "the other side closed the connection before the end of the conversation"),
        ("reset", "the other side reset the connection before the end of the conversation"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let mut server =
            Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
        server.process.stdin().write_all(b"hello\n").unwrap();
        let port = server.addr.port().to_string();
        for _ in 0..2 {
            Program::peer("chat_client.py", &["127.0.0.1", &port, "--fault", fault]).run();
        }
        server.process.wait_for(text);
        let stream = server.connect();
        drop(stream);
        server.process.wait_for_lines(4);
        server.process.signal("INT");
        server.process.finish_with_stdin_open().success();
    }
    let (ours, _) = with_python_client("hello\n", "not-utf8", &[]);
    assert_eq!(ours.success(), b"\xff\xfe\x1b[31m bye\n");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_client_that_never_notices_the_end_does_not_keep_the_server_running() {
    let mut server = Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
    server.process.feed("hi\nbye\n");
    let port = server.addr.port().to_string();
    let args = ["127.0.0.1", &port, "--say", "hello", "--say", "never", "--fault", "spin"];
    let mut theirs = Program::peer("chat_client.py", &args).start();
    theirs.wait_for_stdout("spinning");
    assert_eq!(server.process.finish().success(), b"hello\n");
    assert!(theirs.is_running(), "the client must still be running");
}
