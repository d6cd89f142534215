//! Thousands of clients that behave badly, and one well-behaved client that must not notice them.
//!
//! `cargo test` runs these tests in parallel on a machine that may be busy, so they only check that
//! the well-behaved client is served at all. The tests in [`times`] measure that it is served
//! promptly. They are ignored by default, and `.ci/run` runs them one at a time.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use socklab_tests::program::{
    DEADLINE, Program, STOP, Server, message, read, read_all, reset, wait_until,
};

/// Lock for tests that use most of the machine or measure it: they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Raises this process's limit of descriptors for `connections` and some more.
///
/// Panics if the system does not allow that many, because the test would check less than its name
/// says.
fn descriptors(connections: u64) {
    let (limit, wanted) = (getrlimit(Resource::Nofile), connections + 500);
    if limit.current.is_none_or(|soft| soft >= wanted) {
        return;
    }
    let hard = limit.maximum.unwrap_or(wanted);
    assert!(hard >= wanted, "needs {wanted} descriptors, the hard limit is {hard}: see ulimit -Hn");
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
        .expect("up to the hard limit");
}

/// Solves a quiz completely and returns the secret.
fn solve(mut stream: TcpStream) -> [u8; 8] {
    loop {
        let message: [u8; 9] = read(&mut stream);
        let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*message[at..].first_chunk().unwrap()));
        match message[0] {
            b'Q' => stream.write_all(&a.wrapping_add(b).to_be_bytes()).expect("write"),
            _ => return *message.last_chunk().unwrap(),
        }
    }
}

/// Solves quizzes, each within `limit`, and returns the longest duration.
#[track_caller]
fn check_quizzes(server: &Server, times: u32, limit: Duration) -> Duration {
    let mut worst = Duration::ZERO;
    for _ in 0..times {
        let start = Instant::now();
        solve(server.connect());
        worst = worst.max(start.elapsed());
    }
    assert!(worst < limit, "a well-behaved client took {worst:?}");
    worst
}

/// Sends a message on a connection and returns the time until its reply.
fn ping(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(&message(b"0123456789ping")).expect("write");
    assert_eq!(read(stream), *b"\0\0\0\x04ping");
    start.elapsed()
}

#[track_caller]
fn check_pings(server: &Server, times: u32, limit: Duration) -> Duration {
    let mut stream = server.connect();
    let worst = (0..times).map(|_| ping(&mut stream)).max().unwrap_or_default();
    assert!(worst < limit, "a ping took {worst:?}");
    worst
}

/// Returns the CPU time that the server uses in `time` while nothing happens.
fn idle_cpu(server: &Server, time: Duration) -> Duration {
    let before = server.process.cpu();
    // A fixed pause, because the test checks that nothing happens.
    thread::sleep(time);
    server.process.cpu() - before
}

/// Keeps `count` clients idle after their first question, while others are served.
fn idle_connections(count: u32, limit: Duration) {
    let _alone = ALONE.lock();
    descriptors(count.into());
    let server = Server::start("math", &["--timeout", "none"]);
    check_quizzes(&server, 5, limit);
    let before = server.process.memory("VmRSS");
    let start = Instant::now();
    let mut idle: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    // Each client has been served: it has its question.
    for stream in &mut idle {
        assert_eq!(read::<9>(stream)[0], b'Q');
    }
    let took = start.elapsed();
    let each = (server.process.memory("VmRSS").saturating_sub(before)) / u64::from(count);
    let worst = check_quizzes(&server, 20, limit);
    let cpu = idle_cpu(&server, Duration::from_secs(1));
    println!(
        "{count} connections in {took:?}, {each} bytes each, a quiz among them {worst:?}, idle CPU {cpu:?} a second"
    );
    assert!(each < 1024, "{each} bytes a connection");
    assert!(cpu < Duration::from_millis(200), "{cpu:?} of CPU a second for idle connections");
    // All leave at once, half of them with a reset.
    for (n, stream) in idle.into_iter().enumerate() {
        if n % 2 == 0 { reset(stream) } else { drop(stream) }
    }
    check_quizzes(&server, 20, limit);
    server.process.signal(STOP);
    server.process.finish().success();
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the memory of the process is not only that of the program"
)]
fn a_thousand_idle_connections_do_not_affect_other_clients() {
    idle_connections(1000, DEADLINE);
}

/// Creates a server with a limit of descriptors.
fn with_descriptor_limit(protocol: &str, descriptors: u32, args: &[&str]) -> Program {
    let line = format!(r#"ulimit -n {descriptors}; exec "$@""#);
    Program::in_shell(&line, &[&[protocol, "server", "0", "--timeout", "none"], args].concat())
}

fn out_of_descriptors(limit: Duration) {
    let _alone = ALONE.lock();
    let mut server = Server::from_program(with_descriptor_limit("echo", 64, &[]));
    let mut inside: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    server.process.wait_for("cannot accept ");
    // Connected clients are still served.
    assert!(ping(&mut inside[0]) < limit);
    let cpu = idle_cpu(&server, Duration::from_secs(1));
    println!("CPU of a starved server: {cpu:?} a second");
    assert!(cpu < Duration::from_millis(150), "{cpu:?} of CPU a second");
    assert!(server.process.is_running());

    // A waiting client is served when others leave, without any new connection.
    let mut waiting = inside.pop().unwrap();
    waiting.write_all(&message(b"0123456789ping")).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err(), "the client was not made to wait");
    waiting.set_read_timeout(Some(limit)).unwrap();
    inside.drain(..90);
    assert_eq!(read(&mut waiting), *b"\0\0\0\x04ping");
    check_pings(&server, 20, limit);
    // The problem is logged, but not once for each attempt.
    let log = server.process.stderr();
    assert!(log.matches("cannot accept").count() <= 2, "{log}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: the limit of descriptors")]
fn a_server_out_of_descriptors_neither_spins_nor_ends_and_continues_when_clients_leave() {
    out_of_descriptors(DEADLINE);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: the limit of descriptors")]
fn a_server_out_of_descriptors_continues_with_an_unread_stderr() {
    let (mut process, mut stderr) = with_descriptor_limit("echo", 64, &["-v"]).start_unread();
    let addr = listening(&mut stderr);
    // From here on nothing reads stderr. Connections come and go until the pipe is full, and then
    // some more.
    let connect = || {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    for _ in 0..30 {
        let inside: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
        drop(inside);
        let mut stream = connect();
        ping(&mut stream);
    }
    assert!(process.is_running());
}

/// Reads only the first line of a server's stderr and returns the address in it.
fn listening(stderr: &mut impl std::io::Read) -> SocketAddr {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte).expect("the first line of the server");
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
    addr.unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_server_with_an_unread_stderr_continues() {
    for args in [&["--rounds", "1"][..], &["--rounds", "1", "--trace"], &["--rounds", "1", "-vv"]] {
        let args = [&["math", "server", "0"], args].concat();
        let (process, mut stderr) = Program::socklab(&args).start_unread();
        let addr = listening(&mut stderr);
        // A line has some 50 bytes, and a pipe holds 64 KiB.
        let start = Instant::now();
        for n in 0..3000 {
            let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            assert_eq!(solve(stream).len(), 8, "session {n} of {args:?}");
        }
        println!("{args:?}: 3000 sessions in {:?}", start.elapsed());
        // The server can be stopped, and its log can still be read.
        process.signal(STOP);
        let finished = process.finish();
        assert_eq!(finished.code, Some(0), "{args:?}");
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        assert!(text.len() > 4096, "{}", text.len());
    }
}

#[test]
fn a_server_with_unread_output_ends_when_the_reader_of_its_events_closes() {
    let (reader, writer) = std::io::pipe().unwrap();
    let args = ["math", "server", "0", "--rounds", "1", "--trace", "--json"];
    let (process, mut stderr) = Program::socklab(&args).stdout(writer).start_unread();
    let addr = listening(&mut stderr);
    let mut solved = 0;
    // Both pipes fill up. Then the only reader of the events is closed.
    for _ in 0..1500 {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        solved += u32::from(solve(stream).len() == 8);
    }
    assert_eq!(solved, 1500);
    drop(reader);
    assert_eq!(process.finish().code, Some(3));
}

#[test]
fn a_server_with_a_closed_stderr_continues() {
    let (process, mut stderr) = Program::socklab(&["math", "server", "0"]).start_unread();
    let addr = listening(&mut stderr);
    drop(stderr);
    for _ in 0..50 {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        solve(stream);
    }
    process.signal(STOP);
    assert_eq!(process.finish().code, Some(0));
}

fn beside_badly_behaved_clients(limit: Duration) {
    let server = Server::start("math", &["--timeout", "none"]);
    let stop = AtomicBool::new(false);
    let silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    let mut half_closed: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for stream in &half_closed {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    thread::scope(|scope| {
        // Slow clients that send single bytes.
        scope.spawn(|| {
            let mut slow: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
            for byte in 0..3 {
                for stream in &mut slow {
                    stream.write_all(&[byte]).unwrap();
                    thread::sleep(Duration::from_millis(2));
                }
            }
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        // Resets and invalid data, repeatedly.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                reset(server.connect());
                let mut stream = server.connect();
                let _ = stream.write_all(&[0xaa; 5000]);
                let _ = stream.read(&mut [0; 9]);
                reset(stream);
            }
        });
        let worst = check_quizzes(&server, 200, limit);
        println!("the slowest of 200 quizzes beside them: {worst:?}");
        stop.store(true, Ordering::Relaxed);
    });
    for stream in &mut half_closed {
        // The server has sent its question and sees the end.
        assert_eq!(read_all(stream).len(), 9);
    }
    drop(silent);
}

#[test]
fn badly_behaved_clients_do_not_prevent_a_quiz() {
    beside_badly_behaved_clients(DEADLINE);
}

#[test]
fn a_half_closed_echo_client_gets_all_its_replies() {
    let server = Server::start("echo", &[]);
    let mut stream = server.connect();
    let mut reader = stream.try_clone().unwrap();
    let count = 20_000_usize;
    let writer = thread::spawn(move || {
        for n in 0..count {
            stream.write_all(&message(format!("0123456789{n:0990}").as_bytes())).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
    });
    // Nothing is read until everything is sent or the sender blocks.
    wait_until(Duration::from_millis(500), || writer.is_finished().then_some(()));
    let all = read_all(&mut reader);
    writer.join().unwrap();
    assert_eq!(all.len(), count * 994);
    for (n, reply) in all.chunks(994).enumerate() {
        assert_eq!(reply[4..], *format!("{n:0990}").as_bytes());
    }
    server.process.wait_for(&format!("{count} messages with "));
}

fn clients_that_never_read(limit: Duration) {
    let _alone = ALONE.lock();
    let server = Server::start("echo", &["--timeout", "none"]);
    check_pings(&server, 5, limit);
    let before = server.process.memory("VmHWM");
    let block = message(&[b'x'; 100_000]);
    let mut senders: Vec<TcpStream> = (0..12).map(|_| server.connect()).collect();
    let mut sent = 0;
    for stream in &mut senders {
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        // Sends as much as it can. The server must stop reading before it is without limit.
        let mut own = 0_usize;
        loop {
            match stream.write(&block) {
                Ok(n) => own += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(e) => panic!("{e}"),
            }
            assert!(own < 200 << 20, "the server does not stop reading");
        }
        sent += own;
        check_pings(&server, 2, limit);
    }
    let grown = server.process.memory("VmHWM") - before;
    let cpu = idle_cpu(&server, Duration::from_millis(500));
    println!("{} MB sent by 12 who never read: {grown} bytes more, idle CPU {cpu:?}", sent >> 20);
    assert!(grown < 12 * (256 << 10), "{grown} bytes for 12 clients");
    assert!(cpu < Duration::from_millis(100), "{cpu:?}");
    drop(senders);
    check_pings(&server, 20, limit);
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the memory of the process is not only that of the program"
)]
fn clients_that_never_read_cost_little_memory() {
    clients_that_never_read(DEADLINE);
}

fn many_connects_at_once(limit: Duration) {
    let _alone = ALONE.lock();
    descriptors(3000);
    let server = Server::start("math", &["--rounds", "2"]);
    let start = Instant::now();
    // Non-blocking, so that all connects are started before the first is accepted.
    let storm: Vec<Socket> = (0..1000)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&server.addr.into());
            socket
        })
        .collect();
    let connecting = start.elapsed();
    for socket in storm {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        solve(socket.into());
    }
    let took = start.elapsed();
    println!("1,000 connects within {connecting:?}, all served after {took:?}");
    assert!(took < 10 * limit, "{took:?}");
    check_quizzes(&server, 10, limit);
    let log = server.process.wait_for_lines(1011);
    assert_eq!(log.matches("2/2 correct, secret sent").count(), 1010);
}

#[test]
fn a_thousand_simultaneous_connects_are_served() {
    many_connects_at_once(DEADLINE);
}

/// Measures pings beside a flood. The median must be less than `half`, and the 99th percentile less
/// than `most`.
fn pings_beside_a_flood(half: Duration, most: Duration) {
    let _alone = ALONE.lock();
    let server = Server::start("echo", &[]);
    let (stop, flooded) = (&AtomicBool::new(false), &AtomicU64::new(0));
    thread::scope(|scope| {
        let mut flood = server.connect();
        let mut back = flood.try_clone().unwrap();
        scope.spawn(move || {
            let block = message(&[b'x'; 65_536]);
            while !stop.load(Ordering::Relaxed) {
                flood.write_all(&block).unwrap();
            }
            flood.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(move || {
            let mut room = vec![0; 1 << 20];
            loop {
                match back.read(&mut room).unwrap() {
                    0 => return,
                    n => flooded.fetch_add(n as u64, Ordering::Relaxed),
                };
            }
        });
        let mut stream = server.connect();
        wait_until(DEADLINE, || (flooded.load(Ordering::Relaxed) > 10 << 20).then_some(()))
            .expect("the flood does not start");
        let mut times: Vec<Duration> = (0..300).map(|_| ping(&mut stream)).collect();
        stop.store(true, Ordering::Relaxed);
        times.sort_unstable();
        let [median, p99] = [times[150], times[297]];
        let megabytes = flooded.load(Ordering::Relaxed) >> 20;
        println!("ping beside a flood of {megabytes} MB: median {median:?}, p99 {p99:?}");
        assert!(median < half, "median {median:?}");
        assert!(p99 < most, "p99 {p99:?}");
    });
}

#[test]
fn a_flood_does_not_prevent_a_ping() {
    pings_beside_a_flood(DEADLINE, DEADLINE);
}

fn flood_without_a_pace(limit: Duration) {
    let _alone = ALONE.lock();
    let server = Server::start("coin", &["--pace", "0"]);
    let flooded = &AtomicU64::new(0);
    thread::scope(|scope| {
        let mut flood = server.connect();
        let mut back = flood.try_clone().unwrap();
        // Both run until the server ends the connection.
        scope.spawn(move || {
            let guesses = b"H\n".repeat(2000);
            while flood.write_all(&guesses).is_ok() {}
        });
        scope.spawn(move || {
            let mut room = vec![0; 1 << 20];
            while let Ok(n @ 1..) = back.read(&mut room) {
                flooded.fetch_add(n as u64, Ordering::Relaxed);
            }
        });
        wait_until(DEADLINE, || (flooded.load(Ordering::Relaxed) > 100_000).then_some(()))
            .expect("the flood does not start");
        let start = Instant::now();
        let mut stream = server.connect();
        let prompt: [u8; 14] = read(&mut stream);
        let took = start.elapsed();
        let text = String::from_utf8_lossy(&prompt);
        assert!(took < limit, "{text} after {took:?}");
        // The second signal makes the server stop without waiting for its clients.
        server.process.signal(STOP);
        server.process.signal(STOP);
        server.process.finish().success();
    });
}

#[test]
fn a_flood_of_a_server_without_a_pace_prevents_no_session_and_no_stop() {
    flood_without_a_pace(DEADLINE);
}

#[test]
fn the_last_reply_is_not_lost_if_more_was_sent_than_is_read() {
    let echo = Server::start("echo", &[]);
    let math = Server::start("math", &["--rounds", "0", "--secret", "12345678"]);
    let more = vec![0xff; 1 << 20];
    for _ in 0..50 {
        // The second message is invalid, and more bytes follow that are never read.
        let mut stream = echo.connect();
        let messages = [message(b"0123456789last"), message(b"\xff"), more.clone()].concat();
        let mut writer = stream.try_clone().unwrap();
        let writer = thread::spawn(move || writer.write_all(&messages));
        assert_eq!(read(&mut stream), *b"\0\0\0\x04last");
        assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0), "an orderly close, not a reset");
        drop(stream);
        // The writer may or may not have sent everything.
        let _ = writer.join().unwrap();

        let mut stream = math.connect();
        let _ = stream.write_all(&more[..200_000]);
        assert_eq!(read(&mut stream), *b"S12345678");
        assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0), "an orderly close, not a reset");
    }
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the memory of the process is not only that of the program"
)]
fn three_hundred_megabytes_are_streamed_with_little_memory() {
    let _alone = ALONE.lock();
    const LENGTH: u32 = 300_000_000;
    let server = Server::start("echo", &[]);
    check_pings(&server, 5, DEADLINE);
    let mut stream = server.connect();
    let mut back = stream.try_clone().unwrap();
    let start = Instant::now();
    let writer = thread::spawn(move || {
        stream.write_all(&LENGTH.to_be_bytes()).unwrap();
        // A period of which no buffer size is a multiple.
        let block: Vec<u8> = (0..99_991_u32).map(|n| b'a' + (n % 23) as u8).collect();
        let mut left = LENGTH as usize;
        while left > 0 {
            let n = left.min(block.len());
            stream.write_all(&block[..n]).unwrap();
            left -= n;
        }
    });
    assert_eq!(read::<4>(&mut back), (LENGTH - 10).to_be_bytes());
    let (mut room, mut at) = (vec![0; 1 << 20], 10_usize);
    while at < LENGTH as usize {
        let n = back.read(&mut room).unwrap();
        assert!(n > 0, "ended at {at}");
        // Checks the first and the last byte of each read: a lost or doubled byte shifts all that
        // follow.
        for (place, byte) in [(at, room[0]), (at + n - 1, room[n - 1])] {
            assert_eq!(byte, b'a' + (place % 99_991 % 23) as u8, "at {place}");
        }
        at += n;
    }
    writer.join().unwrap();
    let (took, peak) = (start.elapsed(), server.process.memory("VmHWM"));
    println!("300 MB in {took:?}, at most {} KiB of memory", peak >> 10);
    assert!(peak < 24 << 20, "{peak} bytes");
}

#[test]
fn the_idle_timeout_works_without_other_clients() {
    let closed_in_time = |server: &Server, bytes: usize| {
        let start = Instant::now();
        let mut stream = server.connect();
        assert_eq!(read_all(&mut stream).len(), bytes);
        // The read has a timeout of its own, so only a close that is too early has to be checked
        // here.
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1400), "closed after {took:?}");
    };
    thread::scope(|scope| {
        for (protocol, bytes) in [("math", 9), ("echo", 0)] {
            scope.spawn(move || {
                let server = Server::start(protocol, &["--timeout", "1500ms"]);
                closed_in_time(&server, bytes);
                // Again, after a pause without any client.
                closed_in_time(&server, bytes);
            });
        }
    });
}

#[test]
fn the_idle_timeout_closes_only_idle_connections() {
    let server = Server::start("echo", &["--timeout", "4s"]);
    let start = Instant::now();
    let (mut idle, mut busy, mut slow) = (server.connect(), server.connect(), server.connect());
    let mut half = server.connect();
    half.write_all(b"\0\0").unwrap();
    slow.write_all(&[0, 0, 0, 100]).unwrap();
    let watcher = thread::spawn(move || {
        assert_eq!(read_all(&mut idle), b"");
        let took = start.elapsed();
        assert_eq!(read_all(&mut half), b"");
        took
    });
    // A byte of a message now and then counts as activity. The pauses are far shorter than the
    // timeout, because they last longer on a busy machine.
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(250));
        slow.write_all(b"x").unwrap();
        ping(&mut busy);
    }
    let took = watcher.join().unwrap();
    assert!(took >= Duration::from_millis(3900), "closed after {took:?}");
    // The message of the slow client ends, and its reply has arrived so far.
    slow.write_all(&[b'x'; 80]).unwrap();
    assert_eq!(read::<94>(&mut slow)[..4], [0, 0, 0, 90]);
}

/// How long a well-behaved client waits. On a busy machine it waits for the machine, so `.ci/run`
/// runs these tests one at a time.
mod times {
    use super::*;

    /// Far longer than a client needs that is served at once.
    const PROMPT: Duration = Duration::from_secs(1);

    #[test]
    #[ignore = "needs 10,500 descriptors and measures times: .ci/run runs it alone"]
    fn ten_thousand_idle_connections_do_not_delay_a_quiz() {
        idle_connections(10_000, PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_server_out_of_descriptors_answers_its_clients_promptly() {
        out_of_descriptors(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn badly_behaved_clients_do_not_delay_a_quiz() {
        beside_badly_behaved_clients(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn clients_that_never_read_do_not_delay_a_ping() {
        clients_that_never_read(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_thousand_simultaneous_connects_are_served_promptly() {
        many_connects_at_once(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_flood_does_not_delay_a_ping() {
        pings_beside_a_flood(Duration::from_millis(50), Duration::from_millis(400));
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_flood_of_a_server_without_a_pace_does_not_delay_a_prompt() {
        flood_without_a_pace(PROMPT);
    }
}
