//! The core on a microcontroller: the programs of `tests/firmware` in QEMU, against the real
//! `socklab` and against peers played here.
//!
//! `tests/firmware/README.md` says who talks to whom.

#![cfg(unix)]

#[path = "../examples/firmware/decode.rs"]
mod decode;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use decode::decode;
use socklab_core::math::Question;
use socklab_tests::board::{Ended, HOST, Launch};
use socklab_tests::program::{Played, Server, client, message, read, read_all, reset};

/// The most stack a program may use, in bytes: what was measured, and a fifth. Buffers are not on
/// it, so that it is the same for all.
const STACK: usize = 3 * 1024;

fn launch(program: &str) -> Launch {
    Launch::new(program, decode)
}

/// The client, dialling this port of this machine.
fn math_client(port: u16) -> Launch {
    launch("math-client").arg(format!("to={HOST}:{port}"))
}

/// A server that ends after so many sessions.
fn server(program: &str, sessions: u32) -> Launch {
    launch(program).forward(8000).arg("port=8000").arg(format!("sessions={sessions}"))
}

/// It ended with this code and within its stack, and all of its log was understood. Gives the log
/// in one piece.
#[track_caller]
fn ended(ended: &Ended, code: i32) -> String {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let log = ended.log.join("\n");
    assert!(!log.contains("MALFORMED"), "{log}");
    log
}

/// The stack's high-water mark that the program has logged, held below [`STACK`].
#[track_caller]
fn stack(program: &str, log: &str) {
    let line = log.lines().rfind(|line| line.contains("stack: ")).expect("it tells");
    let bytes = line.split_whitespace().rev().nth(4).and_then(|n| n.parse::<usize>().ok());
    let bytes = bytes.unwrap_or_else(|| panic!("no number in {line}"));
    println!("{program}: {bytes} bytes of stack at the most, {STACK} allowed");
    assert!(bytes <= STACK, "{program}: {bytes} bytes of stack");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_math_client_gets_the_secret() {
    let server = Server::start("math", &["--secret", "opensesm", "--rounds", "7", "--full-range"]);
    let log = ended(&math_client(server.addr.port()).start().finish(), 0);
    assert!(log.contains(r#"INFO secret: b"opensesm""#), "{log}");
    assert_eq!(log.matches(" = ").count(), 7, "{log}");
    server.process.wait_for("7/7 correct, secret sent");
    stack("math-client", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_hundred_launches_in_a_row() {
    let server = Server::start("math", &["--secret", "opensesm"]);
    let mut launches = Vec::new();
    for seed in 1..=100 {
        let client = math_client(server.addr.port()).arg(format!("seed={seed}"));
        let end = client.start().finish();
        let log = ended(&end, 0);
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
fn a_server_that_fails_is_named_in_the_log() {
    type Play = fn(TcpStream);
    let cases: [(&str, Play); 6] = [
        ("ERROR Rejected(1)", |mut stream| {
            stream.write_all(b"Q\0\0\0\x02\0\0\0\x03").expect("a question");
            assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
        }),
        ("ERROR Tag { byte: 88, message: 1 }", |mut stream| {
            stream.write_all(b"X").expect("what is no message");
            // It closes first.
            read_all(&mut stream);
        }),
        ("ERROR Cut { cut: Cut { how: Closed, got: 0, want: 0 }, answered: 0 }", drop),
        ("ERROR Cut { cut: Cut { how: Closed, got: 5, want: 9 }, answered: 0 }", |mut stream| {
            stream.write_all(b"Q\0\0\0\x02").expect("a part");
        }),
        ("ERROR Cut { cut: Cut { how: Reset, got: 0, want: 0 }, answered: 1 }", |mut stream| {
            stream.write_all(b"Q\0\0\0\x02\0\0\0\x03").expect("a question");
            assert_eq!(read::<4>(&mut stream), [0, 0, 0, 5]);
            reset(stream);
        }),
        ("ERROR Cut { cut: Cut { how: TimedOut, got: 5, want: 9 }, answered: 0 }", |mut stream| {
            stream.write_all(b"Q\0\0\0\x02").expect("a part");
            // It gives up, and closes.
            assert_eq!(stream.read(&mut [0]).expect("its end"), 0);
        }),
    ];
    for (expected, play) in cases {
        let played = Played::new();
        let board = math_client(played.addr.port()).arg("timeout=2").start();
        play(played.accept());
        let log = ended(&board.finish(), 1);
        assert!(log.contains(expected), "{expected}: {log}");
        stack("math-client", &log);
    }
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn where_nobody_listens_the_client_says_so() {
    // A port that was free a moment ago.
    let port = Played::new().addr.port();
    let log = ended(&math_client(port).start().finish(), 3);
    assert!(log.contains("ERROR cannot connect to 10.0.2.2"), "{log}");
    assert!(log.contains("Refused"), "{log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_math_server_tells_the_hosts_client_its_secret() {
    let mut board = server("math-server", 30).arg("secret=sesame99").arg("rounds=9").start();
    let addr = board.listening();
    // More than there are sockets.
    for _ in 0..30 {
        assert_eq!(client("math", addr, &[]).run().success(), b"sesame99\n");
    }
    let log = ended(&board.finish(), 0);
    assert_eq!(log.matches("is right").count(), 270, "{log}");
    assert_eq!(log.matches("as it should").count(), 30, "{log}");
    stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn a_client_that_fails_is_named_in_the_log() {
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
    board.wait_for("Error { cut: Cut { how: Closed, got: 2, want: 4 }, right: 0 }");

    reset(connect());
    board.wait_for("Error { cut: Cut { how: Reset, got: 0, want: 0 }, right: 0 }");

    // Nothing comes from it: the board does not keep a place for it for ever.
    assert_eq!(read_all(&mut connect()), b"");
    board.wait_for("Error { cut: Cut { how: TimedOut, got: 0, want: 0 }, right: 0 }");

    let log = ended(&board.finish(), 0);
    assert_eq!(log.matches("has failed").count(), 3, "{log}");
    stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn clients_beyond_the_pool_wait_in_the_backlog() {
    let mut board = server("math-server", 4).arg("secret=sesame99").arg("rounds=1").start();
    let addr = board.listening();
    let connect = || TcpStream::connect(addr).expect("connect");
    // Two are served, and two more have a connection and wait: as many as listen at a time.
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
    let log = ended(&board.finish(), 0);
    assert_eq!(log.matches("as it should").count(), 4, "{log}");
    stack("math-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn peers_that_do_not_close_keep_nobody_out() {
    let mut board = server("math-server", 8).start();
    let addr = board.listening();
    // More than there are sockets, each closed by the board and not by us.
    let _open: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).expect("connect");
            read::<9>(&mut stream);
            stream.write_all(&7_u32.to_be_bytes()).expect("a wrong answer");
            assert_eq!(read_all(&mut stream), b"");
            stream
        })
        .collect();
    let log = ended(&board.finish(), 0);
    assert_eq!(log.matches("answer 7 is wrong").count(), 8, "{log}");
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_echo_server_streams_a_message_larger_than_its_memory() {
    const LENGTH: usize = 16_000_000;
    let mut board = server("echo-server", 1).deadline(Duration::from_secs(120)).start();
    let addr = board.listening();
    // Not periodic in any buffer's size, and a line of text.
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
    let log = ended(&board.finish(), 0);
    assert!(log.contains("echoed a message of 16000000 bytes"), "{log}");
    println!("16 MB there and back in {:.2?}", finished.took);
    stack("echo-server", &log);
}

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn the_echo_server_names_what_is_wrong_with_a_message() {
    let mut board = server("echo-server", 3).start();
    let addr = board.listening();
    let connect = || TcpStream::connect(addr).expect("connect");

    let mut stream = connect();
    stream.write_all(&message(b"Four score and seven")).expect("a message");
    assert_eq!(read::<14>(&mut stream), *b"\0\0\0\x0a and seven");
    stream.write_all(&message(b"abc\xff56789012")).expect("what is no text");
    assert_eq!(read_all(&mut stream), b"");
    board.wait_for("NotUtf8 { byte: 255, at: 3 }");

    let mut stream = connect();
    stream.write_all(&message(b"0123456789 and seven years")[..20]).expect("a part");
    stream.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(read_all(&mut stream), b"\0\0\0\x10 and s", "what could be sent was");
    board.wait_for("Cut(Cut { how: Closed, got: 20, want: 30 })");

    let mut stream = connect();
    stream.write_all(&message(b"0123456789 and seven years")[..20]).expect("a part");
    assert_eq!(read::<10>(&mut stream), *b"\0\0\0\x10 and s");
    reset(stream);
    let log = ended(&board.finish(), 0);
    assert!(log.contains("Cut(Cut { how: Reset, got: 20, want: 30 })"), "{log}");
    stack("echo-server", &log);
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

#[test]
#[ignore = "needs qemu-system-arm and the thumbv7m-none-eabi target: .ci/run installs and runs it"]
fn what_goes_wrong_on_the_board_ends_it() {
    for (kind, code, line) in [
        ("panic", 101, "on purpose"),
        ("hard-fault", 139, "hard fault at 0x"),
        ("interrupt", 139, "interrupt -2 has no handler"),
        ("kindness", 2, "what is kind=kindness?"),
    ] {
        let log = ended(&launch("fault").arg(format!("kind={kind}")).start().finish(), code);
        assert!(log.contains(line), "{kind}: {log}");
    }
    let log = ended(&math_client(1).arg("to=nowhere").start().finish(), 2);
    assert!(log.contains("what is to=nowhere?"), "{log}");
}
