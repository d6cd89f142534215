//! The core on a microcontroller: the programs of `tests/firmware` in QEMU, against the real
//! `socklab` and against peers that the test plays.
//!
//! `tests/firmware/README.md` shows the connections.

#![cfg(unix)]

#[path = "../examples/firmware/decode.rs"]
mod decode;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use decode::decode;
use socklab_core::math::Question;
use socklab_tests::board::{Ended, HOST, Launch};
use socklab_tests::program::{
    DEADLINE, FakeServer, Server, client, message, read, read_all, reset,
};

/// Largest stack of a program in bytes: the measured value and a fifth. Buffers are not on the
/// stack, so it is the same for all programs.
const STACK: usize = 3 * 1024;

fn launch(program: &str) -> Launch {
    Launch::new(program, decode)
}

/// Launches the client, which connects to this port of this machine.
fn math_client(port: u16) -> Launch {
    launch("math-client").arg(format!("to={HOST}:{port}"))
}

/// Launches a server that ends after `sessions` sessions.
fn server(program: &str, sessions: u32) -> Launch {
    launch(program).forward(8000).arg("port=8000").arg(format!("sessions={sessions}"))
}

/// Checks that the program ended with this code and that its whole log was decoded. Returns the log
/// as one text.
#[track_caller]
fn check_ended(ended: &Ended, code: i32) -> String {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let log = ended.log.join("\n");
    assert!(!log.contains("MALFORMED"), "{log}");
    log
}

/// Checks that the stack size that the program logged is at most [`STACK`].
#[track_caller]
fn check_stack(program: &str, log: &str) {
    let line = log
        .lines()
        .rfind(|line| line.contains("stack: "))
        .expect("the program logs its stack size");
    let bytes = line.split_whitespace().rev().nth(3).and_then(|n| n.parse::<usize>().ok());
    let bytes = bytes.unwrap_or_else(|| panic!("no number in {line}"));
    println!("{program}: {bytes} bytes of stack at most, {STACK} allowed");
    assert!(bytes <= STACK, "{program}: {bytes} bytes of stack");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_math_client_gets_the_secret() {
    let server = Server::start("math", &["--secret", "opensesm", "--rounds", "7", "--full-range"]);
    let log = check_ended(&math_client(server.addr.port()).start().finish(), 0);
    assert!(log.contains(r#"INFO secret: b"opensesm""#), "{log}");
    assert_eq!(log.matches(" = ").count(), 7, "{log}");
    server.process.wait_for("7/7 correct, secret sent");
    check_stack("math-client", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_hundred_launches_in_a_row_succeed() {
    let server = Server::start("math", &["--secret", "opensesm"]);
    let mut launches = Vec::new();
    for seed in 1..=100 {
        let client = math_client(server.addr.port()).arg(format!("seed={seed}"));
        let end = client.start().finish();
        let log = check_ended(&end, 0);
        assert!(log.contains(r#"INFO secret: b"opensesm""#), "launch {seed}: {log}");
        launches.push((end.took, log));
    }
    launches.sort();
    let all: Duration = launches.iter().map(|(took, _)| took).sum();
    let (median, (longest, log)) = (launches[50].0, &launches[99]);
    println!("100 launches: {all:.2?}, median {median:.1?}, longest {longest:.1?}:\n{log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_failing_server_is_reported_in_the_log() {
    type PlayServer = fn(TcpStream);
    let cases: [(&str, PlayServer); 6] = [
        ("ERROR Rejected(1)", |mut stream| {
            stream.write_all(b"Q\0\0\0\x02\0\0\0\x03").expect("a question");
            assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
        }),
        ("ERROR Tag { byte: 88, message: 1 }", |mut stream| {
            stream.write_all(b"X").expect("a wrong tag");
            // The client closes first.
            read_all(&mut stream);
        }),
        ("ERROR Truncated { cut: Truncated { how: Closed, got: 0, want: 0 }, answered: 0 }", drop),
        (
            "ERROR Truncated { cut: Truncated { how: Closed, got: 5, want: 9 }, answered: 0 }",
            |mut stream| {
                stream.write_all(b"Q\0\0\0\x02").expect("a part");
            },
        ),
        (
            "ERROR Truncated { cut: Truncated { how: Reset, got: 0, want: 0 }, answered: 1 }",
            |mut stream| {
                stream.write_all(b"Q\0\0\0\x02\0\0\0\x03").expect("a question");
                assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
                reset(stream);
            },
        ),
        (
            "ERROR Truncated { cut: Truncated { how: TimedOut, got: 5, want: 9 }, answered: 0 }",
            |mut stream| {
                stream.write_all(b"Q\0\0\0\x02").expect("a part");
                // The client times out and closes.
                assert_eq!(stream.read(&mut [0]).expect("the end of the client"), 0);
            },
        ),
    ];
    for (expected, play) in cases {
        let fake = FakeServer::new();
        let board = math_client(fake.addr.port()).arg("timeout=2").start();
        play(fake.accept());
        let log = check_ended(&board.finish(), 1);
        assert!(log.contains(expected), "{expected}: {log}");
        check_stack("math-client", &log);
    }
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_refused_connection_is_reported() {
    // A port that was free a moment ago.
    let port = FakeServer::new().addr.port();
    let log = check_ended(&math_client(port).start().finish(), 3);
    assert!(log.contains("ERROR cannot connect to 10.0.2.2"), "{log}");
    assert!(log.contains("Refused"), "{log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_math_server_reveals_its_secret_to_the_hosts_client() {
    let mut board = server("math-server", 30).arg("secret=sesame99").arg("rounds=9").start();
    let addr = board.listening();
    // More sessions than there are sockets.
    for _ in 0..30 {
        assert_eq!(client("math", addr, &[]).run().success(), b"sesame99\n");
    }
    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("is right").count(), 270, "{log}");
    assert_eq!(log.matches("the session succeeded").count(), 30, "{log}");
    check_stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_failing_client_is_reported_in_the_log() {
    let mut board = server("math-server", 4).arg("timeout=2").start();
    let addr = board.listening();
    let connect = || {
        let mut stream = TcpStream::connect(addr).expect("connect");
        let question = read::<9>(&mut stream);
        assert_eq!(question[0], b'Q');
        stream
    };

    let mut wrong = connect();
    wrong.write_all(&7_u32.to_be_bytes()).expect("an answer");
    assert_eq!(read_all(&mut wrong), b"", "no secret for a wrong answer");
    board.wait_for("WARN answer 7 is wrong, expected ");

    let mut cut = connect();
    cut.write_all(&[0, 0]).expect("half an answer");
    cut.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(read_all(&mut cut), b"");
    board.wait_for("Error { cut: Truncated { how: Closed, got: 2, want: 4 }, right: 0 }");

    reset(connect());
    board.wait_for("Error { cut: Truncated { how: Reset, got: 0, want: 0 }, right: 0 }");

    // This client sends nothing. The board must not serve it indefinitely.
    assert_eq!(read_all(&mut connect()), b"");
    board.wait_for("Error { cut: Truncated { how: TimedOut, got: 0, want: 0 }, right: 0 }");

    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("the session failed").count(), 3, "{log}");
    check_stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn clients_beyond_the_pool_wait_in_the_backlog() {
    let mut board = server("math-server", 4).arg("secret=sesame99").arg("rounds=1").start();
    let addr = board.listening();
    let connect = || TcpStream::connect(addr).expect("connect");
    // Two clients are served. Two more are connected and wait, one for each socket of the backlog.
    let served = [(); 2].map(|()| {
        let mut stream = connect();
        let question = read::<9>(&mut stream);
        (stream, Some(question))
    });
    let waiting = [(); 2].map(|()| (connect(), None));
    for (mut stream, question) in served.into_iter().chain(waiting) {
        let question = question.unwrap_or_else(|| read::<9>(&mut stream));
        let sum = Question::parse(&question).sum();
        stream.write_all(&sum.to_be_bytes()).expect("an answer");
        assert_eq!(read_all(&mut stream), b"Ssesame99");
    }
    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("the session succeeded").count(), 4, "{log}");
    check_stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn peers_that_do_not_close_keep_no_client_out() {
    let mut board = server("math-server", 8).start();
    let addr = board.listening();
    // More connections than there are sockets. Each is closed by the board and not by the client.
    let _open: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).expect("connect");
            read::<9>(&mut stream);
            stream.write_all(&7_u32.to_be_bytes()).expect("a wrong answer");
            assert_eq!(read_all(&mut stream), b"");
            stream
        })
        .collect();
    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("answer 7 is wrong").count(), 8, "{log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_echo_server_streams_a_message_larger_than_its_memory() {
    const LENGTH: usize = 16_000_000;
    let mut board = server("echo-server", 1).deadline(Duration::from_secs(120)).start();
    let addr = board.listening();
    // A line of text that is not periodic in the size of any buffer.
    let mut state = 1_u32;
    let line: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b' ' + u8::try_from(state >> 26).expect("6 bits")
    })
    .take(LENGTH)
    .collect();
    let echo = client("echo", addr, &[]).deadline(Duration::from_secs(120));
    let finished = echo.run_with([&line, &b"\n"[..]].concat());
    let reply = finished.success();
    assert_eq!(reply.len(), LENGTH - 10 + 1);
    assert!(reply == [&line[10..], b"\n"].concat(), "the reply differs");
    let log = check_ended(&board.finish(), 0);
    assert!(log.contains("echoed a message of 16000000 bytes"), "{log}");
    println!("16 MB there and back in {:.2?}", finished.took);
    check_stack("echo-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_echo_server_reports_an_invalid_message() {
    let mut board = server("echo-server", 3).start();
    let addr = board.listening();
    let connect = || TcpStream::connect(addr).expect("connect");

    let mut stream = connect();
    stream.write_all(&message(b"Four score and seven")).expect("a message");
    assert_eq!(read::<14>(&mut stream), *b"\0\0\0\x0a and seven");
    stream.write_all(&message(b"abc\xff56789012")).expect("invalid UTF-8");
    assert_eq!(read_all(&mut stream), b"");
    board.wait_for("NotUtf8 { byte: 255, at: 3 }");

    let mut stream = connect();
    stream.write_all(&message(b"0123456789 and seven years")[..20]).expect("a part");
    stream.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(
        read_all(&mut stream),
        b"\0\0\0\x10 and s",
        "the part of the reply that could be sent"
    );
    board.wait_for("Truncated(Truncated { how: Closed, got: 20, want: 30 })");

    let mut stream = connect();
    stream.write_all(&message(b"0123456789 and seven years")[..20]).expect("a part");
    assert_eq!(read::<10>(&mut stream), *b"\0\0\0\x10 and s");
    reset(stream);
    let log = check_ended(&board.finish(), 0);
    assert!(log.contains("Truncated(Truncated { how: Reset, got: 20, want: 30 })"), "{log}");
    check_stack("echo-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
#[cfg(target_os = "linux")]
fn an_idle_board_sleeps_also_at_the_uart() {
    let fake = FakeServer::new();
    let mut board = uart_math_client(fake.addr).start();
    let mut stream = fake.accept();
    stream.write_all(b"Q\0\0\0\x02\0\0\0\x03").expect("a question");
    assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
    let before = board.process().cpu();
    std::thread::sleep(Duration::from_secs(2));
    let used = board.process().cpu() - before;
    println!("2 s of waiting: {used:?} of CPU");
    assert!(used < Duration::from_millis(600), "{used:?}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
#[cfg(target_os = "linux")]
fn an_idle_board_sleeps() {
    let mut board = server("math-server", 1).start();
    let addr = board.listening();
    let mut stream = TcpStream::connect(addr).expect("connect");
    read::<9>(&mut stream);
    let before = board.process().cpu();
    std::thread::sleep(Duration::from_secs(2));
    let used = board.process().cpu() - before;
    println!("2 s of waiting: {used:?} of CPU");
    assert!(used < Duration::from_millis(600), "{used:?}");
}

/// Launches the server of datagrams, which ends after `datagrams` of them.
fn udp_server(datagrams: u32) -> Launch {
    launch("udp-server").forward_datagrams(3456).arg(format!("datagrams={datagrams}"))
}

/// Launches the client of datagrams, which sends to this port of this machine.
fn udp_client(port: u16) -> Launch {
    launch("udp-client").arg(format!("to={HOST}:{port}"))
}

/// Returns a socket for datagrams on loopback.
fn datagrams() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket
}

/// Returns the next datagram and its sender.
#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (n, from) = socket.recv_from(&mut buffer).expect("a datagram");
    (buffer[..n].to_vec(), from)
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_server_answers_the_datagrams_of_the_hosts_client() {
    let mut board = udp_server(100).start();
    let addr = board.listening();
    let lines: String = (0..100).map(|n| format!("Four score and {n} years\n")).collect();
    let replies: String = (0..100).map(|n| format!(" and {n} years\n")).collect();
    let finished = client("udp", addr, &[]).run_with(lines.into_bytes());
    assert_eq!(String::from_utf8_lossy(finished.success()), replies);
    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("bytes, answer").count(), 100, "{log}");
    println!("100 datagrams there and back in {:.2?}", finished.took);
    check_stack("udp-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_server_answers_only_whole_and_valid_datagrams() {
    /// Length of the longest datagram that the server takes for whole.
    const WHOLE: usize = 576;
    /// Length of the longest one that fits a packet.
    const CARRIED: usize = 1472;
    /// A datagram, and its answer or what the log has instead.
    type Case<'c> = (&'c [u8], Result<&'c [u8], &'c str>);
    let cases: [Case<'_>; 8] = [
        (b"Four score and seven", Ok(b" and seven")),
        (b"", Ok(b"")),
        (b"ten chars!", Ok(b"")),
        (b"abc\xff56789012", Err("no answer: NotUtf8 { byte: 255, at: 3 }")),
        (b"abc\xc3", Err("no answer: CutCharacter { length: 4 }")),
        (&[b'x'; WHOLE], Ok(&[b'x'; WHOLE - 10])),
        (&[b'x'; WHOLE + 1], Err("no answer: Truncated { length: 577 }")),
        (&[b'x'; CARRIED], Err("no answer: Truncated { length: 577 }")),
    ];
    let mut board = udp_server(9).start();
    let addr = board.listening();
    let socket = datagrams();
    for (datagram, expected) in cases {
        socket.send_to(datagram, addr).expect("a datagram");
        match expected {
            Ok(answer) => assert_eq!(receive(&socket), (answer.to_vec(), addr)),
            // An answer to it would be received in place of the next one.
            Err(line) => drop(board.wait_for(line)),
        }
    }
    // QEMU fragments this one, and the board drops fragments.
    socket.send_to(&[b'x'; CARRIED + 1], addr).expect("a datagram");
    socket.send_to(b"the end of the test", addr).expect("a datagram");
    assert_eq!(receive(&socket), (b" the test".to_vec(), addr));
    let log = check_ended(&board.finish(), 0);
    assert_eq!(log.matches("no answer").count(), 4, "{log}");
    check_stack("udp-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_client_of_datagrams_gets_replies_from_the_hosts_server() {
    let server = Server::start("udp", &[]);
    let log = check_ended(&udp_client(server.addr.port()).arg("messages=100").start().finish(), 0);
    assert!(log.contains(r#"INFO b" and 100 years": Reply"#), "{log}");
    assert!(log.contains("Summary { sent: 100, retries: 0, received: 100, lost: 0,"), "{log}");
    check_stack("udp-client", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_client_of_datagrams_counts_what_the_network_did() {
    let (server, stranger) = (datagrams(), datagrams());
    let port = server.local_addr().expect("an address").port();
    let board = udp_client(port).arg("messages=3").arg("timeout=1000").arg("retries=1").start();
    // The first datagram is lost.
    let (first, _) = receive(&server);
    let (again, board_addr) = receive(&server);
    assert_eq!((&first[..], &again[..]), (&b"Four score and 1 years"[..], &first[..]));
    let send = |bytes: &[u8]| {
        server.send_to(bytes, board_addr).expect("a datagram");
    };
    stranger.send_to(b" and 1 years", board_addr).expect("a datagram");
    // The buffer of the client has 64 bytes, and a datagram that fills it is not taken for whole.
    for other in [&[b'x'; 64][..], &[b'x'; 1472], b"", b"Four score and 1 years"] {
        send(other);
    }
    send(b" and 1 years");
    send(b" and 1 years");
    // The second message is lost twice, and its reply comes after that.
    for _ in 0..2 {
        assert_eq!(receive(&server).0, b"Four score and 2 years");
    }
    assert_eq!(receive(&server).0, b"Four score and 3 years");
    send(b" and 2 years");
    send(b" and 3 years");
    let log = check_ended(&board.finish(), 0);
    let summary = "Summary { sent: 3, retries: 2, received: 3, lost: 0, duplicates: 1, \
        reordered: 1, unmatched: 2, truncated: 2, strangers: 1, unreachable: 0 }";
    assert!(log.contains(summary), "{log}");
    check_stack("udp-client", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_client_of_datagrams_gives_up_where_no_program_listens() {
    let port = datagrams().local_addr().expect("an address").port();
    let board = udp_client(port).arg("messages=1").arg("timeout=100").start();
    let log = check_ended(&board.finish(), 1);
    assert!(log.contains("ERROR message 1: Lost { attempts: 3 }"), "{log}");
}

/// Launches the client at the serial port, which QEMU connects to this address.
fn uart_math_client(to: SocketAddr) -> Launch {
    launch("uart-math-client").serial(to)
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_math_client_gets_the_secret_over_the_uart() {
    let server = Server::start("math", &["--secret", "opensesm", "--rounds", "500"]);
    // Often, because the first byte may arrive before the program starts.
    for _ in 0..10 {
        let log = check_ended(&uart_math_client(server.addr).start().finish(), 0);
        assert!(log.contains(r#"INFO secret: b"opensesm""#), "{log}");
        assert_eq!(log.matches(" = ").count(), 500, "{log}");
        assert!(log.contains("INFO no bytes lost"), "{log}");
        check_stack("uart-math-client", &log);
    }
    server.process.wait_for("500/500 correct, secret sent");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_failing_server_is_reported_over_the_uart() {
    let fake = FakeServer::new();
    let board = uart_math_client(fake.addr).arg("timeout=1").start();
    let mut stream = fake.accept();
    // Byte by byte, with the first answer in between.
    for part in [&b"Q\0\0\0\x02\0\0\0\x03"[..], b"Q\0\0\0\x04"] {
        for byte in part {
            stream.write_all(&[*byte]).expect("a byte");
        }
        if part.len() == 9 {
            assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
        }
    }
    // The board does not learn that this side has closed.
    stream.shutdown(Shutdown::Write).expect("shut down");
    let log = check_ended(&board.finish(), 1);
    let expected =
        "ERROR Truncated { cut: Truncated { how: TimedOut, got: 5, want: 9 }, answered: 1 }";
    assert!(log.contains(expected), "{log}");
    assert!(log.contains("INFO no bytes lost"), "{log}");
}

/// Without this test, a count of lost bytes that is always 0 would pass.
#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn bytes_that_the_main_loop_is_too_slow_for_are_counted_and_fail_the_program() {
    let fake = FakeServer::new();
    let board = uart_math_client(fake.addr).arg("stall=true").start();
    let mut stream = fake.accept();
    // More than the queue takes.
    stream.write_all(&b"Q\0\0\0\x02\0\0\0\x03".repeat(30)).expect("questions");
    let log = check_ended(&board.finish(), 3);
    assert!(log.contains(" bytes lost: the main loop is too slow"), "{log}");
    assert!(!log.contains(" = "), "no answer to a damaged stream: {log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn panics_and_faults_end_the_board_with_an_exit_code() {
    for (kind, code, line) in [
        ("panic", 101, "on purpose"),
        ("hard-fault", 139, "hard fault at 0x"),
        ("interrupt", 139, "interrupt -2 has no handler"),
        ("kindness", 2, "unknown argument: kind=kindness"),
    ] {
        let log = check_ended(&launch("fault").arg(format!("kind={kind}")).start().finish(), code);
        assert!(log.contains(line), "{kind}: {log}");
    }
    let log = check_ended(&math_client(1).arg("to=nowhere").start().finish(), 2);
    assert!(log.contains("unknown argument: to=nowhere"), "{log}");
}
