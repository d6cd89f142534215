//! Programs of the datagram exercise as students write them, in Python, against the real binary.

use socklab_tests::program::{Program, Server, client};

const MESSAGE: &str = "Fünf score and seven ";

/// Starts a Python server. It ends after that number of datagrams.
fn python_server(fault: &str, count: u32) -> Server {
    let args = ["--fault", fault, "--count", &count.to_string()];
    Server::from_program(Program::peer("udp_server.py", &args))
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn our_client_works_with_a_students_server() {
    let server = python_server("", 3);
    let finished = client("udp", server.addr, &[]).run_with("0123456789\u{e9}\n\nshort\n");
    assert_eq!(finished.success(), "\u{e9}\n\n\n".as_bytes());
    let summary = "3 sent, 3 received, 0 lost, 0 duplicates, 0 reordered\n";
    assert_eq!(finished.stderr, summary);
    server.process.finish().success();
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_students_server_that_loses_or_repeats_is_worked_with() {
    for (fault, count, messages, summary) in [
        (
            "first-lost",
            2,
            &[MESSAGE][..],
            "1 received, 0 lost, 0 duplicates, 0 reordered, 1 sent again",
        ),
        ("twice", 2, &[MESSAGE, "second message"], "2 received, 0 lost, 1 duplicate, 0 reordered"),
        // Sent twice, and the reply to the first comes with the second.
        ("late", 2, &[MESSAGE], "1 received, 0 lost, 0 duplicates, 0 reordered, 1 sent again"),
    ] {
        let server = python_server(fault, count);
        let args = [&["--timeout", "1s"], messages].concat();
        let finished = client("udp", server.addr, &args).run();
        finished.success();
        // The second copy of the last reply may come too late to be counted.
        let found = finished.stderr.replace("2 duplicates", "1 duplicate");
        assert!(found.ends_with(&format!("sent, {summary}\n")), "{fault}: {finished:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn mistakes_of_a_students_server_are_named() {
    for (fault, text) in [
        ("nothing-removed", "the whole message came back, nothing was removed"),
        ("ten-bytes", "ten bytes were removed instead of ten characters"),
        ("eleven", "11 characters were removed instead of ten"),
        ("first-ten", "the first ten characters came back instead of the rest"),
        ("length", "the reply begins with a length, but a datagram is one message without one"),
        ("newline", "1 more than the rest of the message: a newline, perhaps"),
        ("strip", "white space at its ends is missing"),
        ("short", "the last 2 of its bytes are missing"),
        ("empty", "the last 11 of its bytes are missing"),
        ("upper-case", "\" AND SEVEN \" came instead"),
        (
            "long",
            "a datagram of more than 2048 bytes came and was truncated; --buffer changes that",
        ),
        ("silent", "in time; --timeout and --retries change that"),
        ("other-port", "a server has to answer from the socket that it receives with"),
    ] {
        let server = python_server(fault, 1);
        let args = [MESSAGE, "--timeout", "1s", "--retries", "0"];
        let finished = client("udp", server.addr, &args).run();
        let line = finished.last_failure(1);
        assert!(line.starts_with("1 of 1 message got no reply: "), "{fault}: {line}");
        assert!(line.ends_with(text), "{fault}: {line}");
        assert!(finished.stdout.is_empty(), "{fault}: {finished:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_students_client_works_with_our_server() {
    let server = Server::start("udp", &["--count", "3"]);
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    let student = Program::peer("udp_client.py", &[host, port]);
    let finished = student.run_with("0123456789\u{e9}\n\nFour score and seven\n");
    assert_eq!(finished.success(), "\u{e9}\n\n and seven\n".as_bytes());
    let finished = server.process.finish();
    finished.success();
    assert!(finished.stderr.ends_with("\n3 answered, 0 refused, 0 unanswered\n"), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn mistakes_of_a_students_client_are_said_by_our_server() {
    let server = Server::start("udp", &[]);
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    for (fault, stdout, text) in [
        ("not-utf8", "<lost>\n", "datagram of 5 bytes refused: byte 0 of the datagram is 0xff"),
        ("cut", "<lost>\n", "the datagram of 1 bytes ends in the middle of a character"),
        // Four bytes of a length are characters too.
        ("length", "\n", ""),
        ("leaves", "", ""),
    ] {
        let args = [&*host, &*port, "--fault", fault, "--timeout", "1"];
        let finished = Program::peer("udp_client.py", &args).run_with("four\n");
        assert_eq!(finished.success(), stdout.as_bytes(), "{fault}");
        server.process.wait_for(text);
    }
    // It still answers.
    let finished = server.client("udp", &["0123456789 still"]).run();
    assert_eq!(finished.success(), b" still\n");
}
