//! `socklab udp` as a user meets it. The test plays the peer, so each case is exact.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use socklab_tests::program::{DEADLINE, Process, Program, SIGNALS, STOP, Server, client};

/// A peer that the test itself plays.
struct Peer(UdpSocket);

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[track_caller]
    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 1 << 16];
        let (n, from) = self.0.recv_from(&mut buffer).expect("a datagram");
        buffer.truncate(n);
        (buffer, from)
    }

    /// Receives a datagram, and checks that it is this one. Returns its sender.
    #[track_caller]
    fn expect(&self, message: &[u8]) -> SocketAddr {
        let (received, from) = self.receive();
        assert_eq!(received.escape_ascii().to_string(), message.escape_ascii().to_string());
        from
    }

    #[track_caller]
    fn send(&self, bytes: &[u8], to: SocketAddr) {
        assert_eq!(self.0.send_to(bytes, to).expect("a datagram is sent"), bytes.len());
    }

    /// Asks a server, and returns its answer.
    #[track_caller]
    fn ask(&self, server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes, server);
        self.receive().0
    }
}

/// Starts our client with a peer that does not answer yet.
fn udp_client(args: &[&str]) -> (Process, Peer) {
    let peer = Peer::new();
    (client("udp", peer.addr(), args).with_stdin().start(), peer)
}

fn summary(stderr: &str) -> &str {
    stderr.lines().find(|line| line.contains(" sent, ")).expect("a summary")
}

const MESSAGE: &str = "Four score and seven";
const REST: &[u8] = b" and seven";

#[test]
fn each_line_of_stdin_is_a_message_and_each_reply_a_line() {
    for (stdin, stdout, count) in [
        (&b""[..], &b""[..], 0),
        (b"\n", b"\n", 1),
        (b"0123456789", b"\n", 1),
        (b"0123456789abc", b"abc\n", 1),
        (b"0123456789abc\r\n0123456789\r\n", b"abc\n\n", 2),
        (b"0123456789a\r", b"a\r\n", 1),
        (b"\n\n0123456789\t\x1b[m\n", b"\n\n\t\x1b[m\n", 3),
        // Ten characters, not bytes. The bytes after them need not be UTF-8.
        ("日本語日本語日本語日rest\n".as_bytes(), b"rest\n", 1),
        (b"0123456789\xff\xc3\n", b"\xff\xc3\n", 1),
    ] {
        let finished = Program::socklab(&["udp", "client"]).run_with(stdin);
        assert_eq!(finished.success(), stdout, "{}", stdin.escape_ascii());
        let lines: Vec<&str> = finished.stderr.lines().collect();
        assert!(lines[0].starts_with("no address given: a built-in udp server"), "{finished:?}");
        let summary = format!("{count} sent, {count} received, 0 lost, 0 duplicates, 0 reordered");
        assert_eq!(lines[1..], [&*summary], "{finished:?}");
    }
}

#[test]
fn a_server_is_given_in_every_usual_way() {
    let server = Server::start("udp", &[]);
    let (addr, port) = (server.addr.to_string(), server.addr.port().to_string());
    let local = format!("localhost:{port}");
    for address in [&[&*addr][..], &["127.0.0.1", &port], &[&local], &["localhost", &port]] {
        let args = [&["udp", "client"], address, &[MESSAGE, "", "0123456789 2"]].concat();
        let finished = Program::socklab(&args).run();
        assert_eq!(finished.success(), b" and seven\n\n 2\n", "{address:?}");
    }
    let line = Program::socklab(&["udp", "client", "localhost", MESSAGE]).run();
    assert!(line.failure(2).starts_with("invalid value 'Four score and seven' for '[PORT]'"));
}

#[test]
fn a_message_without_a_reply_is_sent_again_and_then_lost() {
    for (args, datagrams, text) in [
        (&[][..], 3, "3 times"),
        (&["--retries", "0"], 1, "once"),
        (&["--retries", "5"], 6, "6 times"),
    ] {
        let (process, peer) = udp_client(&[&["--timeout", "100ms", MESSAGE], args].concat());
        for _ in 0..datagrams {
            peer.expect(MESSAGE.as_bytes());
        }
        let finished = process.finish();
        let expected = format!(
            "1 of 1 message got no reply: nothing came from {} in time; --timeout and \
             --retries change that",
            peer.addr()
        );
        assert_eq!(finished.last_failure(1), expected);
        let lost = format!("no reply to message 1, sent {text}\n1 sent, 0 received, 1 lost");
        assert!(finished.stderr.starts_with(&lost), "{finished:?}");
    }
}

#[test]
fn a_reply_to_the_second_attempt_is_enough() {
    let (process, peer) = udp_client(&["--timeout", "1s", "--trace", MESSAGE]);
    peer.expect(MESSAGE.as_bytes());
    let from = peer.expect(MESSAGE.as_bytes());
    peer.send(REST, from);
    let finished = process.finish();
    assert_eq!(finished.success(), b" and seven\n");
    let rows = ["-> ", "-- no reply within 1s, sent again", "-> ", "<- "];
    for (line, row) in finished.stderr.lines().zip(rows) {
        assert!(line.contains(row), "{finished:?}");
    }
    assert!(summary(&finished.stderr).ends_with(", 1 sent again"), "{finished:?}");
}

#[test]
fn a_wrong_reply_is_not_taken_and_its_mistake_is_named() {
    let (process, peer) = udp_client(&["--timeout", "5s", MESSAGE]);
    let from = peer.expect(MESSAGE.as_bytes());
    peer.send(MESSAGE.as_bytes(), from);
    process.wait_for(
        "is not the reply to message 1: the whole message came back, nothing was removed",
    );
    peer.send(b"\x1b[2J\xff", from);
    process.wait_for("\"\\x1b[2J\\xff\" is the reply to none of the last messages");
    // The right one ends the wait.
    peer.send(REST, from);
    let finished = process.finish();
    assert_eq!(finished.success(), b" and seven\n");
    assert!(summary(&finished.stderr).ends_with(", 2 unexpected"), "{finished:?}");
}

#[test]
fn what_another_address_sends_is_counted_and_ignored() {
    let (process, peer) = udp_client(&["--timeout", "5s", MESSAGE]);
    let from = peer.expect(MESSAGE.as_bytes());
    let other = Peer::new();
    other.send(REST, from);
    let (other, server) = (other.addr(), peer.addr());
    process.wait_for(&format!(
        "\" and seven\" came from {other}, not from the server at {server}: ignored"
    ));
    peer.send(REST, from);
    let finished = process.finish();
    assert_eq!(finished.success(), b" and seven\n");
    assert!(summary(&finished.stderr).ends_with(", 1 from other addresses"), "{finished:?}");
}

#[test]
fn a_flood_from_other_addresses_is_said_in_a_limited_number_of_lines_and_delays_no_time_out() {
    let (process, peer) = udp_client(&["--timeout", "2s", "--retries", "0", MESSAGE]);
    let from = peer.expect(MESSAGE.as_bytes());
    let other = Peer::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                // The client's socket is closed after its end.
                let _ = other.0.send_to(b"not for you", from);
            }
        });
    });
    let finished = process.finish();
    assert!(finished.last_failure(1).contains("got no reply: a datagram came from "));
    let said = finished.stderr.lines().filter(|line| line.contains(": ignored")).count();
    assert_eq!(said, 10, "{finished:?}");
    assert!(finished.stderr.contains(": ignored; further ones are only counted\n"), "{finished:?}");
}

#[test]
fn duplicates_and_late_replies_are_counted() {
    let (process, peer) =
        udp_client(&["--timeout", "1s", "--retries", "0", "0123456789 first", "0123456789 second"]);
    let from = peer.expect(b"0123456789 first");
    peer.expect(b"0123456789 second");
    peer.send(b" first", from);
    peer.send(b" first", from);
    peer.send(b" second", from);
    let finished = process.finish();
    assert_eq!(finished.success(), b" second\n");
    let expected = "2 sent, 2 received, 0 lost, 1 duplicate, 1 reordered";
    assert_eq!(summary(&finished.stderr), expected);
}

#[test]
fn what_has_arrived_with_the_last_reply_is_counted() {
    let (process, peer) = udp_client(&["--timeout", "20s", MESSAGE]);
    let from = peer.expect(MESSAGE.as_bytes());
    // The client is stopped, so that all three are there when it continues.
    #[cfg(not(feature = "windows"))]
    process.signal("STOP");
    for _ in 0..3 {
        peer.send(REST, from);
    }
    #[cfg(not(feature = "windows"))]
    process.signal("CONT");
    let finished = process.finish();
    assert_eq!(finished.success(), b" and seven\n");
    if cfg!(not(feature = "windows")) {
        let expected = "1 sent, 1 received, 0 lost, 2 duplicates, 0 reordered";
        assert_eq!(summary(&finished.stderr), expected);
    }
}

#[test]
fn a_reply_that_may_be_a_late_one_is_said_once() {
    let (process, peer) = udp_client(&["--timeout", "1s", "0123456789x", "abcdefghijx"]);
    peer.expect(b"0123456789x");
    let from = peer.expect(b"0123456789x");
    peer.send(b"x", from);
    peer.expect(b"abcdefghijx");
    peer.send(b"x", from);
    let finished = process.finish();
    assert_eq!(finished.success(), b"x\nx\n");
    let text =
        "the reply to message 2 may be a late one to an earlier message with the same rest\n";
    assert_eq!(finished.stderr.matches(text).count(), 1, "{finished:?}");
}

#[test]
fn a_datagram_longer_than_the_buffer_is_never_taken_for_whole() {
    let message = format!("0123456789{}", "x".repeat(101));
    for (buffer, is_whole) in [("100", false), ("101", true)] {
        let args = ["--buffer", buffer, "--timeout", "2s", "--retries", "0", &*message];
        let (process, peer) = udp_client(&args);
        let from = peer.expect(message.as_bytes());
        peer.send(&message.as_bytes()[10..], from);
        let finished = process.finish();
        if is_whole {
            assert_eq!(finished.success().len(), 102);
        } else {
            let text =
                "a datagram of more than 100 bytes came and was truncated; --buffer changes that";
            assert!(finished.last_failure(1).ends_with(text), "{finished:?}");
            assert!(summary(&finished.stderr).ends_with(", 1 truncated"), "{finished:?}");
        }
    }
}

#[test]
fn an_empty_datagram_is_a_reply_only_to_a_short_message() {
    let (process, peer) = udp_client(&["--timeout", "5s", "short", MESSAGE]);
    let from = peer.expect(b"short");
    peer.send(b"", from);
    peer.expect(MESSAGE.as_bytes());
    peer.send(b"", from);
    // The second one may be the reply to the first message, come again.
    peer.send(REST, from);
    let finished = process.finish();
    assert_eq!(finished.success(), b"\n and seven\n");
    assert!(summary(&finished.stderr).contains(" 1 duplicate,"), "{finished:?}");
}

#[test]
fn a_port_where_no_program_listens_is_reported() {
    let closed = Peer::new().addr();
    let args = ["--timeout", "200ms", "--retries", "1", MESSAGE];
    let finished = client("udp", closed, &args).run();
    let line = finished.last_failure(1);
    let expected = format!(
        "1 of 1 message got no reply: no program listens on {closed}; is a server running on that port?"
    );
    if cfg!(not(feature = "windows")) {
        assert_eq!(line, expected);
        assert!(summary(&finished.stderr).contains(", 2 unreachable"), "{finished:?}");
    }
}

#[test]
fn a_server_that_is_started_late_is_found() {
    let peer = Peer::new();
    let addr = peer.addr();
    drop(peer);
    let process = client("udp", addr, &["--timeout", "300ms", "--retries", "60", MESSAGE]).start();
    // A fixed pause, because nothing reports that a datagram has been lost.
    thread::sleep(Duration::from_millis(500));
    let socket = UdpSocket::bind(addr).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let peer = Peer(socket);
    let from = peer.expect(MESSAGE.as_bytes());
    peer.send(REST, from);
    assert_eq!(process.finish().success(), b" and seven\n");
}

#[test]
fn a_long_message_is_warned_of_and_one_that_no_datagram_holds_is_refused() {
    let server = Server::start("udp", &["--buffer", "65507"]);
    let message = |n: usize| "x".repeat(n);
    for (n, warns) in [(576, false), (577, true), (65_507, true)] {
        let finished =
            server.client("udp", &["--buffer", "65507"]).run_with(message(n) + "\n" + &message(n));
        assert_eq!(finished.success().len(), 2 * (n - 9), "{n}");
        let warned = finished.stderr.matches("of more than 576 bytes may be fragmented").count();
        assert_eq!(warned, usize::from(warns), "{finished:?}");
    }
    if cfg!(feature = "windows") {
        // A command line of Windows has up to 32,767 characters.
        return;
    }
    let (process, peer) = udp_client(&["first", &message(65_508)]);
    let finished = process.finish();
    let expected = "message 2 has 65508 bytes, more than the maximum of 65507 bytes of a datagram; \
                    nothing was sent";
    assert_eq!(finished.failure(2), expected);
    peer.0.set_nonblocking(true).unwrap();
    assert!(peer.0.recv_from(&mut [0; 1]).is_err());
}

#[test]
fn a_line_that_cannot_be_sent_costs_only_itself() {
    let server = Server::start("udp", &[]);
    for (line, text) in [
        (vec![b'x'; 65_508], "line 2 of standard input has more than the maximum of 65507 bytes"),
        (
            vec![b'x'; 1_000_000],
            "line 2 of standard input has more than the maximum of 65507 bytes",
        ),
        (b"abc\xffdefghijkl".to_vec(), "the first ten characters of message 2 are not UTF-8"),
    ] {
        let stdin = [b"0123456789 1\n", &line[..], b"\n0123456789 3\n"].concat();
        let finished = server.client("udp", &[]).run_with(stdin);
        assert_eq!(finished.stdout, b" 1\n 3\n", "{finished:?}");
        assert!(finished.last_failure(2).starts_with(text), "{finished:?}");
        assert!(finished.stderr.contains("; it was not sent\n"), "{finished:?}");
        assert!(summary(&finished.stderr).starts_with("2 sent, 2 received"), "{finished:?}");
    }
}

#[test]
fn the_timeout_does_not_apply_while_the_user_types() {
    let (mut process, peer) = udp_client(&["--timeout", "200ms"]);
    // A fixed pause, because the test checks that nothing happens.
    thread::sleep(Duration::from_millis(700));
    process.stdin().write_all(b"0123456789 late\n").unwrap();
    let from = peer.expect(b"0123456789 late");
    peer.send(b" late", from);
    process.wait_for_stdout(" late");
    thread::sleep(Duration::from_millis(700));
    let finished = process.finish();
    assert_eq!(finished.success(), b" late\n");
    assert!(!finished.stderr.contains("again"), "{finished:?}");
}

#[test]
fn one_message_is_in_flight_at_a_time() {
    let (mut process, peer) = udp_client(&["--timeout", "20s"]);
    process.stdin().write_all(b"0123456789 1\n0123456789 2\n").unwrap();
    let from = peer.expect(b"0123456789 1");
    peer.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(peer.0.recv_from(&mut [0; 1]).is_err());
    peer.0.set_read_timeout(Some(DEADLINE)).unwrap();
    peer.send(b" 1", from);
    peer.expect(b"0123456789 2");
    peer.send(b" 2", from);
    assert_eq!(process.finish().success(), b" 1\n 2\n");
}

#[test]
fn an_interrupt_ends_the_client_with_code_130() {
    for signal in SIGNALS {
        let (process, peer) = udp_client(&["--timeout", "none", MESSAGE]);
        peer.expect(MESSAGE.as_bytes());
        process.signal(signal);
        assert_eq!(process.finish().failure(130), "interrupted");
    }
}

#[test]
fn each_event_of_a_client_is_a_line_of_json() {
    let (process, peer) = udp_client(&[
        "--json",
        "--timeout",
        "1s",
        "--retries",
        "1",
        "short",
        MESSAGE,
        "0123456789 lost",
    ]);
    let from = peer.expect(b"short");
    peer.send(b"\xff", from);
    peer.send(&[b'x'; 5000], from);
    Peer::new().send(b"who", from);
    peer.send(b"", from);
    peer.expect(MESSAGE.as_bytes());
    peer.expect(MESSAGE.as_bytes());
    peer.send(REST, from);
    peer.expect(b"0123456789 lost");
    let finished = process.finish();
    let stdout = String::from_utf8(finished.stdout.clone()).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    let peer = peer.addr();
    assert_eq!(lines[0], format!("{{\"event\":\"connected\",\"peer\":\"{peer}\"}}"));
    let starts = [
        "\"connected\"",
        "\"unmatched\",\"bytes\":1,\"text\":\"\u{fffd}\",\"hex\":\"ff\",\"mistake\":\"1 more than the rest of the message: a \
         newline, perhaps\"}",
        "\"truncated\",\"bytes\":2049,\"text\":\"xx",
        "\"stranger\",\"bytes\":3,\"text\":\"who\",\"peer\":\"127.0.0.1:",
        "\"reply\",\"bytes\":0,\"reply\":\"\",\"message\":1,\"attempts\":1,\"ambiguous\":false}",
        "\"again\",\"message\":2,\"attempts\":2}",
        "\"reply\",\"bytes\":10,\"reply\":\" and seven\",\"message\":2,\"attempts\":2,\"ambiguous\":false}",
        "\"again\",\"message\":3,\"attempts\":2}",
        "\"no_reply\",\"message\":3,\"attempts\":2,\"error\":\"nothing came from ",
        "\"summary\",\"sent\":3,\"received\":2,\"lost\":1,\"retries\":2,\"duplicates\":0,\"reordered\":0,\
         \"unmatched\":1,\"truncated\":1,\"strangers\":1,\"unreachable\":0}",
        "\"error\",\"message\":\"1 of 3 messages got no reply: nothing came from ",
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("{{\"event\":{start}")), "{line}\nexpected {start}");
    }
    assert_eq!(lines.len(), starts.len(), "{stdout}");
    finished.last_failure(1);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Linux: /dev/full")]
fn a_reply_that_cannot_be_written_is_reported() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let finished = Program::socklab(&["udp", "client"]).stdout(full).run_with("0123456789 x\n");
    assert!(finished.last_failure(3).contains("no space left"), "{finished:?}");
}

#[test]
fn a_server_refuses_what_it_cannot_answer_and_says_why() {
    let server = Server::start("udp", &["--buffer", "20", "--trace"]);
    let peer = Peer::new();
    for (datagram, text) in [
        (
            &b"abc\xff"[..],
            "datagram of 4 bytes refused: byte 3 of the datagram is 0xff, expected UTF-8 in its first ten characters",
        ),
        (
            b"ab\xc3",
            "datagram of 3 bytes refused: the datagram of 3 bytes ends in the middle of a character",
        ),
        (&[b'x'; 21], "datagram of more than 20 bytes refused: it does not fit the buffer"),
        (&[b'x'; 3000], "datagram of more than 20 bytes refused: it does not fit the buffer"),
    ] {
        peer.send(datagram, server.addr);
        server.process.wait_for(&format!("{}: {text}", peer.addr()));
        // The next one is answered, so there was no answer to this.
        assert_eq!(peer.ask(server.addr, &[b'x'; 20]), [b'x'; 10]);
    }
    assert_eq!(peer.ask(server.addr, b""), b"");
    assert_eq!(peer.ask(server.addr, b"0123456789\xff\0"), b"\xff\0");
    server.process.signal(STOP);
    let finished = server.process.finish();
    assert_eq!(finished.success(), b"");
    assert!(finished.stderr.ends_with("\n6 answered, 4 refused, 0 unanswered\n"), "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("<-                                                    empty datagram\n")
    );
}

#[test]
fn a_server_stops_after_a_number_of_datagrams_and_reports_each_as_an_event() {
    let server = Server::start("udp", &["--count", "2", "--json"]);
    let peer = Peer::new();
    peer.ask(server.addr, MESSAGE.as_bytes());
    peer.send(b"\xff", server.addr);
    let finished = server.process.finish();
    let (from, addr) = (peer.addr(), server.addr);
    let events = [
        format!("{{\"event\":\"listening\",\"address\":\"{addr}\"}}\n"),
        format!(
            "{{\"event\":\"answered\",\"peer\":\"{from}\",\"bytes\":20,\"text\":\"{MESSAGE}\",\"reply_bytes\":10}}\n"
        ),
        format!(
            "{{\"event\":\"refused\",\"peer\":\"{from}\",\"bytes\":1,\"text\":\"\u{fffd}\",\"hex\":\"ff\",\"error\":\"byte 0 of \
             the datagram is 0xff, expected UTF-8 in its first ten characters\"}}\n"
        ),
        "{\"event\":\"summary\",\"answered\":1,\"refused\":1,\"unanswered\":0}\n".to_owned(),
        "{\"event\":\"stopped\"}\n".to_owned(),
    ];
    assert_eq!(String::from_utf8_lossy(finished.success()), events.concat());
}

#[test]
fn a_server_serves_many_clients_and_survives_those_that_have_left() {
    let server = Server::start("udp", &[]);
    // First, because one with the port of a peer that has left would get its answer.
    let peers: Vec<_> = (0..8).map(|_| Peer::new()).collect();
    for _ in 0..100 {
        // Its port is closed when the answer comes.
        Peer::new().send(MESSAGE.as_bytes(), server.addr);
    }
    thread::scope(|scope| {
        for (n, peer) in peers.iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                for i in 0..200 {
                    let message = format!("0123456789 {n} {i}");
                    // Loopback loses a datagram only if a buffer is full.
                    assert_eq!(peer.ask(server.addr, message.as_bytes()), message.as_bytes()[10..]);
                }
            });
        }
    });
    server.process.signal(STOP);
    let finished = server.process.finish();
    finished.success();
    assert!(
        finished.stderr.ends_with("\n1700 answered, 0 refused, 0 unanswered\n"),
        "{finished:?}"
    );
}

#[test]
fn an_address_that_cannot_be_bound_is_reported() {
    let taken = Peer::new();
    let addr = taken.addr().to_string();
    let line = Program::socklab(&["udp", "server", &addr]).run();
    let expected = format!(
        "cannot listen on {addr}: address already in use; give another port, or 0 for a free one"
    );
    assert_eq!(line.failure(3), expected);
}

#[test]
fn a_server_stops_while_it_is_flooded() {
    let Server { process, addr } = Server::start("udp", &[]);
    let peer = Peer::new();
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let finished = thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = peer.0.send_to(MESSAGE.as_bytes(), addr);
            }
        });
        peer.receive();
        process.signal(STOP);
        let finished = process.finish();
        stopped.store(true, std::sync::atomic::Ordering::Relaxed);
        finished
    });
    finished.success();
}

#[test]
fn a_server_can_ignore_empty_datagrams() {
    let server = Server::start("udp", &["--ignore-empty"]);
    let (peer, addr) = (Peer::new(), server.addr);
    peer.send(b"", addr);
    assert_eq!(peer.ask(addr, b"Four score and seven"), b" and seven");
    server.process.signal(STOP);
    let finished = server.process.finish();
    let text = "datagram of 0 bytes refused: the datagram is empty";
    assert!(finished.stderr.contains(text), "{finished:?}");
}
