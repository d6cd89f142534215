//! `--proxy-protocol` on the command line: what the log, the events, the trace and the capture show.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use socklab_tests::program::{Program, STOP, Server, message, read, read_all};

const LINE: &[u8] = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n";
const CLIENT: &str = "[2001:db8::1]:56324";

/// Sends a message behind a header, and reads the reply.
fn talk(server: &Server) -> TcpStream {
    let mut client = server.connect();
    client.write_all(&[LINE, &message(b"0123456789x")].concat()).unwrap();
    assert_eq!(read(&mut client), *b"\0\0\0\x01x");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
    client
}

#[test]
fn the_log_the_trace_and_the_events_name_the_client() {
    let server = Server::start("echo", &["--proxy-protocol", "--json", "--trace", "--verbose"]);
    let through = talk(&server).local_addr().unwrap();
    let report = format!("{CLIENT}: 1 message with 11 bytes echoed, closed");
    server.process.wait_for(&report);
    server.process.wait_for(&format!("{CLIENT}: connected to [2001:db8::2]:443 through {through}"));
    server.process.wait_for("-> 00 00 00 01 78");
    server.process.signal(STOP);
    let finished = server.process.finish();
    let events = String::from_utf8(finished.success().to_vec()).unwrap();
    assert!(events.contains(&format!(r#""{CLIENT}""#)), "{events}");
    // The address of the balancer is only in the debug record.
    let others = finished.stderr.lines().filter(|line| !line.contains(" through "));
    for line in others.chain(events.lines()) {
        assert!(!line.contains(&through.to_string()), "{line}");
    }
    assert!(!finished.stderr.contains("PROXY"), "{}", finished.stderr);
}

#[test]
fn a_capture_has_the_client_and_not_the_header() {
    let path = std::env::temp_dir().join(format!("socklab-proxied-{}.pcap", std::process::id()));
    let args = ["--proxy-protocol", "--pcap", path.to_str().unwrap()];
    let server = Server::start("echo", &args);
    talk(&server);
    server.process.wait_for(CLIENT);
    server.process.signal(STOP);
    server.process.finish().success();
    let capture = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let has = |bytes: &[u8]| capture.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(b"0123456789x") && !has(b"PROXY"));
    let ip = |last| [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    // Source and destination of a packet, and its ports.
    assert!(has(&[&ip(1)[..], &ip(2), &[0xdc, 0x04, 0x01, 0xbb]].concat()));
}

#[test]
fn the_log_says_what_came_instead_of_a_header() {
    let server = Server::start("hello", &["--proxy-protocol", "--timeout", "300ms"]);
    let missing =
        "the balancer sends none (send-proxy-v2 is missing), or the client connects directly";
    for (bytes, expected) in [
        (&b""[..], format!("no PROXY header within 300ms: {missing}")),
        (b"Hi\x1b[2J\n", format!(r#"no PROXY header: {missing}; last received: "Hi\x1b[2J\n""#)),
        (
            b"OPTIONS / HTTP/1.0\r\n\r\n",
            "no PROXY header but a request of HTTP: the balancer must use TCP, also for its health checks; \
             last received: \"OPTIONS / HTTP/1.0\\x0d\\n\\x0d\\n\""
                .into(),
        ),
        (
            b"\x16\x03\x01\x02\0",
            "no PROXY header but TLS: the balancer must not encrypt the connection; last received: \
             \"\\x16\\x03\\x01\\x02\\x00\""
                .into(),
        ),
        (
            b"PROXY TCP4 ",
            r#"incomplete PROXY header after 300ms; last received: "PROXY TCP4 ""#.into(),
        ),
        (
            b"PROXY TCP5\r\n",
            "invalid PROXY header: the protocol is not TCP4, TCP6 or UNKNOWN; expected TCP4 or TCP6 with two addresses \
             and two ports, or UNKNOWN; last received: \"PROXY TCP5\\x0d\\n\""
                .into(),
        ),
    ] {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        let addr = client.local_addr().unwrap();
        let line = server.process.wait_for(&format!("{addr}: "));
        assert_eq!(line, format!("socklab: {addr}: refused, {expected}"));
    }
    let mut client = server.connect();
    client.write_all(b"PROXY").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let line = server.process.wait_for(&client.local_addr().unwrap().to_string());
    assert!(line.ends_with(
        r#": refused, closed in the middle of its PROXY header; last received: "PROXY""#
    ));
}

#[test]
fn a_health_check_leaves_no_line() {
    let server = Server::start("hello", &["--proxy-protocol", "--json"]);
    for header in [&b""[..], b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut check = server.connect();
        check.write_all(header).unwrap();
        check.shutdown(Shutdown::Write).unwrap();
        // The server closes the connection when it has handled it.
        assert_eq!(read_all(&mut check), b"");
    }
    server.process.signal(STOP);
    let finished = server.process.finish();
    let events = String::from_utf8(finished.success().to_vec()).unwrap();
    assert_eq!(events.lines().count(), 2, "{events}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
}

#[test]
fn without_a_timeout_the_header_still_has_one() {
    let server = Server::start("hello", &["--proxy-protocol", "--timeout", "none"]);
    let start = Instant::now();
    let client = server.connect();
    server.process.wait_for("refused, no PROXY header within 5s");
    assert!(start.elapsed().as_secs() >= 5);
    drop(client);
}

#[test]
fn a_person_at_the_terminal_is_not_behind_a_balancer() {
    let finished = Program::socklab(&["chat", "server", "0", "--proxy-protocol"]).run();
    assert!(finished.last_failure(2).contains("--proxy-protocol"));
}
