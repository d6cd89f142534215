//! Programs as students write them, in Python, against the real binary: add and hello, both roles,
//! and each way to break the protocol.

use serde_json::Value;
use socklab_tests::program::{Program, Server, client, is_judged, without_quote};

/// Starts a Python server. It ends after its last session.
fn python_server(script: &str, args: &[&str]) -> Server {
    Server::from_program(Program::peer(script, args))
}

/// Creates a Python client of `server`.
fn python_client(script: &str, server: &Server, args: &[&str]) -> Program {
    let port = server.addr.port().to_string();
    Program::peer(script, &[&["127.0.0.1", &port], args].concat())
}

/// Waits for the log line after the first `lines` and returns it without the client's address.
fn reported(server: &Server, lines: usize) -> String {
    let log = server.process.wait_for_lines(lines + 1);
    let line = log.lines().nth(lines).unwrap_or_default();
    let (port, report) = line
        .strip_prefix("127.0.0.1:")
        .and_then(|line| line.split_once(": "))
        .unwrap_or_else(|| panic!("no address: {line}"));
    assert!(port.parse::<u16>().is_ok(), "no port: {line}");
    report.to_owned()
}

const AS_ADA: [&str; 4] = ["--name", "Ada", "--number", "42"];

/// Control characters, also of the upper half of Latin-1, and characters that change the text
/// direction.
const CONTROLS: &str = "\u{1b}[31mred\u{7} \u{202e}\u{2066} abc \u{9b}2J";
const CONTROLS_SHOWN: &str = r"\x1b[31mred\x07 \u{202e}\u{2066} abc \u{9b}2J";

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_client_works_with_a_students_server() {
    for fault in ["", "glued", "byte-by-byte", "crlf", "one-recv", "extra-bytes", "unterminated"] {
        let server = python_server("add_server.py", &["--sessions", "8", "--fault", fault]);
        for number in 1..=8 {
            let text = number.to_string();
            let ours = client("add", server.addr, &["--name", "Ada", "--number", &text]).run();
            let expected =
                format!("Ada: {number}\nServer of John Q. Smith: 58\nsum: {}\n", number + 58);
            assert_eq!(String::from_utf8_lossy(ours.success()), expected, "{fault}");
            assert_eq!(ours.stderr, "");
        }
        let theirs = server.process.finish();
        assert_eq!(theirs.code, Some(0), "{theirs:?}");
        // The server computes the same sums.
        for number in 1..=8 {
            let line = format!("Ada: {number} + 58 = {}\n", number + 58);
            assert!(theirs.stderr.contains(&line), "{theirs:?}");
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_client_shows_an_out_of_range_number_and_fails_and_accepts_any_name() {
    for (fault, name, number) in [
        ("out-of-range", "Server of John Q. Smith".as_bytes(), 1000),
        // A pipe gets the name unchanged.
        ("control-name", CONTROLS.as_bytes(), 58),
        ("not-utf8", b"Ser\xff\xe4\xb8ver", 58),
    ] {
        let server = python_server("add_server.py", &["--fault", fault]);
        let ours = client("add", server.addr, &AS_ADA).run();
        let numbers = format!(": {number}\nsum: {}\n", 42 + number);
        assert_eq!(ours.stdout, [b"Ada: 42\n", name, numbers.as_bytes()].concat(), "{fault}");
        if number > 100 {
            assert_eq!(ours.failure(1), "the server's number 1000 is out of range (1 to 100)");
        } else {
            ours.success();
            assert_eq!(ours.stderr, "");
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_name_in_a_trace_and_in_json_has_no_control_characters() {
    let server = python_server("add_server.py", &["--fault", "control-name"]);
    let ours = client("add", server.addr, &[&AS_ADA[..], &["--trace", "--json"]].concat()).run();
    let stdout = String::from_utf8_lossy(ours.success()).into_owned();
    let is_bare = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{2069}').contains(&c);
    assert!(ours.stderr.contains(CONTROLS_SHOWN), "{ours:?}");
    assert!(!ours.stderr.contains(is_bare), "{ours:?}");
    let answer = stdout.lines().find(|line| line.contains("\"answer\"")).expect("an answer");
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    assert_eq!(answer["server_name"], CONTROLS);
    assert_eq!(answer["sum"], 100);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_client_reports_mistakes_of_a_students_server() {
    for (fault, sentence) in [
        (
            "leave",
            "the server closed the connection instead of answering: it refused what it got, or was \
             shut down",
        ),
        ("close-after-name", "the server closed the connection after its name, without an integer"),
        ("reset", "the server reset the connection instead of answering"),
        (
            "cut-in-name",
            "the server closed the connection in the middle of a message, after 3 bytes",
        ),
        (
            "no-integer",
            "the server broke the protocol: byte 0 of a line is 0x66 ('f'), expected a decimal integer",
        ),
        (
            "empty-integer",
            "the server broke the protocol: a line is empty, expected a decimal integer",
        ),
        ("too-large", "the server broke the protocol: the integer does not fit in 32 bits"),
        (
            "endless-line",
            "the server broke the protocol: a line is too long, its first 1025 bytes have no newline",
        ),
        ("silent", "the server did not answer in time (300ms; --timeout changes that)"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server("add_server.py", &["--fault", fault]);
        let timeout: &[&str] = if fault == "silent" { &["--timeout", "300ms"] } else { &[] };
        let ours = client("add", server.addr, &[&AS_ADA[..], timeout].concat()).run();
        assert_eq!(without_quote(ours.failure(1)), sentence, "{fault}");
        assert_eq!(ours.stdout, b"", "{fault}");
        let theirs = server.process.finish();
        assert_eq!(theirs.code, Some(0), "{fault}: {theirs:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_client_shuts_a_students_server_down() {
    let server = python_server("add_server.py", &["--sessions", "9"]);
    let ours = client("add", server.addr, &["--name", "Ada", "--shutdown"]).run();
    assert_eq!(ours.success(), b"");
    let note = "the server closed without an answer: it has shut down, or refused the number\n";
    assert_eq!(ours.stderr, note);
    let theirs = server.process.finish();
    assert_eq!(theirs.code, Some(0), "{theirs:?}");
    assert!(theirs.stderr.ends_with("0 is out of range\n"), "{theirs:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_server_works_with_concurrent_students_clients() {
    let server = Server::start("add", &["--name", "Server of Ada", "--number", "58"]);
    let faults = ["", "glued", "byte-by-byte", "crlf", "one-recv", "unterminated"];
    let running = faults.map(|fault| {
        python_client("add_client.py", &server, &["Bob", "42", "--fault", fault]).start()
    });
    for process in running {
        let theirs = process.finish();
        assert_eq!(theirs.success(), b"Bob and Server of Ada\n42 + 58 = 100\n");
    }
    for line in 1..=faults.len() {
        assert_eq!(reported(&server, line), "Bob and Server of Ada: 42 + 58 = 100");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_server_reports_mistakes_of_a_students_client_and_serves_the_next() {
    let server = Server::start("add", &["--name", "S", "--number", "58"]);
    let mut lines = 1;
    for (fault, code, sentence) in [
        ("leave", 0, "the client closed the connection after its name, without an integer"),
        ("reset", 0, "the client reset the connection after its name, without an integer"),
        (
            "no-integer",
            1,
            "the client broke the protocol: byte 0 of a line is 0x66 ('f'), expected a decimal integer",
        ),
        (
            "endless-line",
            1,
            "the client broke the protocol: a line is too long, its first 1025 bytes have no newline",
        ),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let theirs =
            python_client("add_client.py", &server, &["Bob", "42", "--fault", fault]).run();
        assert_eq!((theirs.code, theirs.stdout.as_slice()), (Some(code), &b""[..]), "{theirs:?}");
        assert_eq!(without_quote(&reported(&server, lines)), sentence, "{fault}");
        let next = python_client("add_client.py", &server, &["Eve", "1"]).run();
        assert_eq!(next.success(), b"Eve and S\n1 + 58 = 59\n", "{fault}");
        assert_eq!(reported(&server, lines + 1), "Eve and S: 1 + 58 = 59");
        lines += 2;
    }
    let server = Server::start("add", &["--timeout", "300ms"]);
    let theirs = python_client("add_client.py", &server, &["Bob", "42", "--fault", "silent"]).run();
    assert_eq!((theirs.code, theirs.stderr.as_str()), (Some(1), "closed without an answer\n"));
    assert_eq!(reported(&server, 1), "the client sent nothing more in time");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn add_server_shows_a_students_name_without_control_characters() {
    let server = Server::start("add", &["--name", "S", "--number", "58"]);
    for (line, (fault, shown)) in
        [("control-name", CONTROLS_SHOWN), ("not-utf8", r"Ad\xff\xe4\xb8a")].into_iter().enumerate()
    {
        let theirs =
            python_client("add_client.py", &server, &["Bob", "42", "--fault", fault]).run();
        assert_eq!(theirs.success(), b"Bob and S\n42 + 58 = 100\n");
        assert_eq!(reported(&server, line + 1), format!("{shown} and S: 42 + 58 = 100"));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_students_client_shuts_the_add_server_down_or_is_refused() {
    for number in ["0", "101", "-1", "99999999999999999999"] {
        let server = Server::start("add", &["--number", "58"]);
        let theirs = python_client("add_client.py", &server, &["--", "Bob", number]).run();
        assert_eq!((theirs.code, theirs.stderr.as_str()), (Some(1), "closed without an answer\n"));
        let ours = server.process.finish();
        assert_eq!(ours.code, Some(0), "{ours:?}");
        let value = if number.len() > 9 { "a number of more than 32 bits" } else { number };
        let line = format!(": Bob sent {value}, which is out of range (1 to 100): shutting down\n");
        assert!(ours.stderr.contains(&line), "{ours:?}");
    }
    let server = Server::start("add", &["--name", "S", "--number", "58", "--keep-running"]);
    let theirs = python_client("add_client.py", &server, &["Bob", "101"]).run();
    assert_eq!((theirs.code, theirs.stderr.as_str()), (Some(1), "closed without an answer\n"));
    assert_eq!(reported(&server, 1), "Bob sent 101, which is out of range (1 to 100): refused");
    let next = python_client("add_client.py", &server, &["Eve", "1"]).run();
    assert_eq!(next.success(), b"Eve and S\n1 + 58 = 59\n");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn hello_client_works_with_a_students_server() {
    for fault in ["", "split", "byte-by-byte", "crlf", "extra-bytes", "unterminated"] {
        let server = python_server("hello_server.py", &["--sessions", "3", "--fault", fault]);
        for _ in 0..3 {
            let ours = client("hello", server.addr, &[]).run();
            assert_eq!(ours.success(), b"Hello from a student\n", "{fault}");
            let more =
                "socklab: 15 bytes after the greeting, which is one line: \"and more of it\\n\"\n";
            // On a busy machine a greeting in pieces can take so long that the client reports the wait.
            if matches!(fault, "" | "crlf" | "extra-bytes") {
                assert_eq!(ours.stderr, if fault == "extra-bytes" { more } else { "" });
            }
        }
        assert_eq!(server.process.finish().code, Some(0));
    }
    for fault in ["", "split", "byte-by-byte", "crlf", "unterminated"] {
        let server = python_server("hello_server.py", &["--both", "--fault", fault]);
        let ours = client("hello", server.addr, &["--both"]).run();
        assert_eq!(ours.success(), b"Hello from a student\n", "{fault}");
        let theirs = server.process.finish();
        assert!(theirs.stderr.ends_with("greeted with b'Hello from client\\n'\n"), "{theirs:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_greeting_is_written_to_a_pipe_unchanged_and_escaped_in_a_trace() {
    for (fault, greeting, shown) in [
        (
            "control",
            "\u{1b}]0;owned\u{7}\u{1b}[2J \u{202e}\u{2066} Hello".as_bytes(),
            r"\x1b]0;owned\x07\x1b[2J \u{202e}\u{2066} Hello",
        ),
        ("not-utf8", b"Hel\xff\xe4\xb8lo", r"Hel\xff\xe4\xb8lo"),
    ] {
        let server = python_server("hello_server.py", &["--fault", fault]);
        let ours = client("hello", server.addr, &["--trace"]).run();
        assert_eq!(ours.stdout, [greeting, b"\n"].concat(), "{fault}");
        if fault == "not-utf8" {
            let failure = format!("the server's greeting is not UTF-8: \"{shown}\"");
            assert_eq!(ours.last_failure(1), failure);
        } else {
            ours.success();
        }
        assert!(ours.stderr.contains(shown), "{ours:?}");
        assert!(!ours.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}']), "{ours:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn hello_client_reports_mistakes_of_a_students_server() {
    for (fault, sentence) in [
        ("close-first", "the server closed the connection between messages, without a greeting"),
        ("reset", "the server reset the connection between messages, without a greeting"),
        (
            "cut-by-reset",
            "the server reset the connection in the middle of a message, after 8 bytes",
        ),
        (
            "endless-line",
            "the server broke the protocol: a line is too long, its first 1025 bytes have no newline",
        ),
        (
            "silent",
            "the server sent nothing more in time, without a greeting (300ms; --timeout changes that)",
        ),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server("hello_server.py", &["--fault", fault]);
        let timeout: &[&str] = if fault == "silent" { &["--timeout", "300ms"] } else { &[] };
        let ours = client("hello", server.addr, timeout).run();
        assert_eq!(without_quote(ours.failure(1)), sentence, "{fault}");
        assert_eq!(ours.stdout, b"", "{fault}");
        assert_eq!(server.process.finish().code, Some(0), "{fault}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn hello_server_works_with_students_clients() {
    let server = Server::start("hello", &["--count", "4"]);
    for fault in ["", "one-recv", "", "one-recv"] {
        let theirs = python_client("hello_client.py", &server, &["--fault", fault]).run();
        assert_eq!(theirs.success(), b"Hello from server\n");
    }
    let ours = server.process.finish();
    assert_eq!((ours.code, ours.stderr.matches(": greeted\n").count()), (Some(0), 4), "{ours:?}");

    // In two writes: the first read gets only the first of them, as the protocol document shows.
    let server = Server::start("hello", &["--split", "8", "--gap", "1min"]);
    let naive = python_client("hello_client.py", &server, &["--fault", "one-recv"]).run();
    assert_eq!(naive.success(), b"Hello fr\n");
    let server = Server::start("hello", &["--split", "8", "--gap", "50ms"]);
    let theirs = python_client("hello_client.py", &server, &[]).run();
    assert_eq!(theirs.success(), b"Hello from server\n");

    let server = Server::start("hello", &["--both"]);
    for (line, fault) in
        ["", "one-recv", "byte-by-byte", "crlf", "unterminated-waits"].into_iter().enumerate()
    {
        let theirs = python_client("hello_client.py", &server, &["--both", "--fault", fault]).run();
        assert_eq!(theirs.success(), b"Hello from server\n");
        assert_eq!(
            reported(&server, line + 1),
            "greeted, and received \"Hello from a student\"",
            "{fault}"
        );
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn hello_server_reports_mistakes_of_a_students_client() {
    let server = Server::start("hello", &["--both"]);
    for (line, (fault, sentence)) in [
        ("leave", "the client closed the connection between messages, without a greeting"),
        ("reset", "the client reset the connection between messages, without a greeting"),
        ("unterminated", r#"greeted, and received "Hello from a student""#),
        (
            "endless-line",
            "the client broke the protocol: a line is too long, its first 1025 bytes have no newline",
        ),
        (
            "control",
            r#"greeted, and received "\x1b]0;owned\x07\x1b[2J \u{202e}\u{2066} Hello""#,
        ),
        ("not-utf8", r#"greeted, and received "Hel\xff\xe4\xb8lo""#),
    ]
    .into_iter()
    .filter(|(fault, _)| is_judged(fault))
    .enumerate()
    {
        let theirs = python_client("hello_client.py", &server, &["--both", "--fault", fault]).run();
        assert_eq!(theirs.success(), b"Hello from server\n", "{fault}");
        assert_eq!(without_quote(&reported(&server, line + 1)), sentence, "{fault}");
    }
    let server = Server::start("hello", &["--both", "--timeout", "300ms"]);
    let theirs = python_client("hello_client.py", &server, &["--both", "--fault", "silent"]).run();
    assert_eq!(theirs.success(), b"Hello from server\n");
    assert_eq!(reported(&server, 1), "the client sent nothing more in time, without a greeting");
}
