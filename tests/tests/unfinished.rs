//! A peer that sends a part of a message and stops. Both ends report it after one second and
//! continue, and every ending quotes the bytes that were not understood or not complete.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use socklab_tests::program::{FakeServer, NOTICES_RESETS, Server, client, read_all, reset};

/// Protocol, options of the server, a part of a message for it, and the notice.
const TO_SERVERS: [(&str, &[&str], &[u8], &str); 5] = [
    ("coin", &[], b"H", "sent \"H\" without a newline; waiting for the rest"),
    ("guess", &[], b"50", "sent \"50\" without a newline; waiting for the rest"),
    ("rps", &["--auto"], b"Paper", "sent \"Paper\" without a newline; waiting for the rest"),
    ("math", &[], b"12", "sent 2 bytes of a message, \"12\"; waiting for the rest"),
    (
        "echo",
        &[],
        b"\0\0\0",
        "sent 3 bytes of a message, \"\\x00\\x00\\x00\"; waiting for the rest",
    ),
];

/// Reads what has arrived. At a boundary a server waits until its peer has read everything before
/// it.
fn read_some(stream: &mut TcpStream) {
    let mut room = [0; 1024];
    assert!(stream.read(&mut room).unwrap() > 0);
}

#[test]
fn a_server_reports_an_unfinished_message_once_after_one_second() {
    for (protocol, options, part, notice) in TO_SERVERS {
        let server = Server::start(protocol, options);
        let mut stream = server.connect();
        if protocol != "echo" {
            read_some(&mut stream);
        }
        stream.write_all(part).unwrap();
        let peer = stream.local_addr().unwrap();
        let line = server.process.wait_for("waiting for the rest");
        assert_eq!(line, format!("{peer} {notice}"), "{protocol}");
        // When the second connection has been reported, the first must not have been reported
        // again.
        let mut other = server.connect();
        if protocol != "echo" {
            read_some(&mut other);
        }
        other.write_all(part).unwrap();
        let peer = other.local_addr().unwrap().to_string();
        server.process.wait_for(&peer);
        drop((stream, other));
        server.process.signal("INT");
        let finished = server.process.finish();
        assert_eq!(finished.stderr.matches("waiting for the rest").count(), 2, "{finished:?}");
    }
}

#[test]
fn the_rest_of_a_message_is_accepted_and_the_next_one_is_reported_again() {
    let server = Server::start("coin", &["--json"]);
    let mut stream = server.connect();
    for part in ["H", "T"] {
        read_some(&mut stream);
        stream.write_all(part.as_bytes()).unwrap();
        server.process.wait_for(&format!("sent \"{part}\""));
        stream.write_all(b"\n").unwrap();
        // The reply, and the prompt after the boundary.
        read_some(&mut stream);
    }
    stream.write_all(b"x").unwrap();
    server.process.wait_for("sent \"x\"");
    stream.write_all(b"\nQ\n").unwrap();
    assert!(read_all(&mut stream).ends_with(b"Bye!\n"));
    server.process.signal("INT");
    let finished = server.process.finish();
    let events = String::from_utf8(finished.success().to_vec()).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let unfinished: Vec<_> = events.filter(|event| event["event"] == "unfinished").collect();
    assert_eq!(unfinished.len(), 3, "{unfinished:?}");
    assert_eq!((&unfinished[0]["text"], &unfinished[0]["bytes"]), (&"H".into(), &1.into()));
}

/// Protocol, options of the client, and a part of a message for it, as text.
const TO_CLIENTS: [(&str, &[&str], &[u8]); 4] = [
    ("hello", &[], b"Hello"),
    ("guess", &["--auto"], b"GUESS"),
    ("chat", &[], b"hel"),
    ("coin", &["--auto", "1"], b"I toss a coin: "),
];

#[test]
fn a_line_without_newline_is_reported_by_a_client_and_quoted_at_the_end() {
    for (protocol, options, part) in TO_CLIENTS {
        let fake = FakeServer::new();
        let process = client(protocol, fake.addr, options).with_stdin().start();
        let mut stream = fake.accept();
        stream.write_all(part).unwrap();
        let part = if protocol == "coin" {
            // The prompt is complete, but the reply to the guess is not.
            stream.write_all(b"You are").unwrap();
            "You are"
        } else {
            std::str::from_utf8(part).unwrap()
        };
        let line = process.wait_for("waiting for the rest");
        let notice =
            format!("{} sent \"{part}\" without a newline; waiting for the rest", fake.addr);
        assert_eq!(line, notice, "{protocol}");
        if !NOTICES_RESETS {
            continue;
        }
        reset(stream);
        let finished = process.finish();
        let quote = format!("; last received: \"{part}\"");
        assert!(finished.last_failure(1).contains(&quote), "{protocol}: {finished:?}");
    }
}

#[test]
fn an_error_quotes_the_bytes_that_were_not_understood() {
    let fake = FakeServer::new();
    let process = client("math", fake.addr, &["--json"]).start();
    let mut stream = fake.accept();
    stream.write_all(b"Hello, what is 1 + 1?\n").unwrap();
    let finished = process.finish();
    let quote = "; last received: \"Hello, what is 1 + 1?\\n\"";
    assert!(finished.failure(1).ends_with(quote), "{finished:?}");
    let events = String::from_utf8_lossy(&finished.stdout).into_owned();
    let event: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert!(event["message"].as_str().unwrap().ends_with(quote), "{event}");
}

#[test]
fn a_server_quotes_what_a_client_left_unfinished() {
    let server = Server::start("coin", &[]);
    let mut stream = server.connect();
    stream.write_all(b"head please").unwrap();
    drop(stream);
    let line = server.process.wait_for("last received");
    assert!(line.ends_with("; last received: \"head please\" without a newline"), "{line}");
}
