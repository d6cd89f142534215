//! Clients that behave badly, thousands of them; and meanwhile one that does not, which must not
//! notice.
//!
//! `cargo test` runs these beside one another, on a machine that may be busy: then an honest client must be
//! served at all. That it is served promptly is measured by the same tests in [`times`], which are ignored here:
//! `.ci/run` runs them one at a time.

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
    DEADLINE, Program, Server, message, read, read_all, reset, wait_until,
};

/// Those tests that take most of the machine, or measure it, run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Raises this process's limit of descriptors, so that it can have `connections` and some more.
///
/// Panics where the system does not allow as many: with fewer connections the test would show less than its
/// name says.
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

/// A quiz from the first byte to the last. The secret.
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

/// Solves quizzes, each within `limit`, and gives the longest time one took.
#[track_caller]
fn solves(server: &Server, times: u32, limit: Duration) -> Duration {
    let mut worst = Duration::ZERO;
    for _ in 0..times {
        let start = Instant::now();
        solve(server.connect());
        worst = worst.max(start.elapsed());
    }
    assert!(worst < limit, "an honest client took {worst:?}");
    worst
}

/// Sends a message on a connection, and gives the time until its reply.
fn ping(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(&message(b"0123456789ping")).expect("write");
    assert_eq!(read(stream), *b"\0\0\0\x04ping");
    start.elapsed()
}

#[track_caller]
fn pings(server: &Server, times: u32, limit: Duration) -> Duration {
    let mut stream = server.connect();
    let worst = (0..times).map(|_| ping(&mut stream)).max().unwrap_or_default();
    assert!(worst < limit, "a ping took {worst:?}");
    worst
}

/// The CPU time the server uses while nothing happens for so long.
fn idle_cpu(server: &Server, time: Duration) -> Duration {
    let before = server.process.cpu();
    // No condition: that nothing is done is the point.
    thread::sleep(time);
    server.process.cpu() - before
}

/// Clients that are served, and then idle; and honest ones beside them.
fn idle_connections(count: u32, limit: Duration) {
    let _alone = ALONE.lock();
    descriptors(count.into());
    let server = Server::start("math", &["--timeout", "none"]);
    solves(&server, 5, limit);
    let before = server.process.memory("VmRSS");
    let start = Instant::now();
    let mut idle: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    // Each is served: it has its question.
    for stream in &mut idle {
        assert_eq!(read::<9>(stream)[0], b'Q');
    }
    let took = start.elapsed();
    let each = (server.process.memory("VmRSS").saturating_sub(before)) / u64::from(count);
    let worst = solves(&server, 20, limit);
    let cpu = idle_cpu(&server, Duration::from_secs(1));
    println!(
        "{count} connections in {took:?}, {each} bytes each, a quiz among them {worst:?}, idle CPU {cpu:?} a second"
    );
    assert!(each < 1024, "{each} bytes a connection");
    assert!(cpu < Duration::from_millis(200), "{cpu:?} of CPU a second for idle connections");
    // All leave at once, half of them rudely.
    for (n, stream) in idle.into_iter().enumerate() {
        if n % 2 == 0 { reset(stream) } else { drop(stream) }
    }
    solves(&server, 20, limit);
    server.process.signal("TERM");
    server.process.finish().success();
}

#[test]
fn a_thousand_idle_connections() {
    idle_connections(1000, DEADLINE);
}

/// A server that may have so many descriptors.
fn starved(protocol: &str, descriptors: u32, args: &[&str]) -> Program {
    let line = format!(r#"ulimit -n {descriptors}; exec "$@""#);
    Program::in_shell(&line, &[&[protocol, "server", "0", "--timeout", "none"], args].concat())
}

fn out_of_descriptors(limit: Duration) {
    let _alone = ALONE.lock();
    let mut server = Server::from_program(starved("echo", 64, &[]));
    let mut inside: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    server.process.wait_for("cannot accept ");
    // Those who are in are served, also now.
    assert!(ping(&mut inside[0]) < limit);
    let cpu = idle_cpu(&server, Duration::from_secs(1));
    println!("CPU of a starved server: {cpu:?} a second");
    assert!(cpu < Duration::from_millis(150), "{cpu:?} of CPU a second");
    assert!(server.process.is_running());

    // Who waits is served when others leave, without anybody new.
    let mut waiting = inside.pop().unwrap();
    waiting.write_all(&message(b"0123456789ping")).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err(), "was not starved");
    waiting.set_read_timeout(Some(limit)).unwrap();
    inside.drain(..90);
    assert_eq!(read(&mut waiting), *b"\0\0\0\x04ping");
    pings(&server, 20, limit);
    // It says that it happened, not once for every try.
    let log = server.process.stderr();
    assert!(log.matches("cannot accept").count() <= 2, "{log}");
}

#[test]
fn out_of_descriptors_it_neither_spins_nor_ends_and_goes_on_when_clients_leave() {
    out_of_descriptors(DEADLINE);
}

#[test]
fn out_of_descriptors_for_ever_and_nobody_reads_its_stderr() {
    let (mut process, mut stderr) = starved("echo", 64, &["-v"]).start_unread();
    let addr = listening(&mut stderr);
    // From here on nobody reads; connections come and go until the pipe is full, and then more.
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

/// Reads the first line of a server's stderr, and no more.
fn listening(stderr: &mut impl std::io::Read) -> SocketAddr {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte).expect("its first line");
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
    addr.unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_server_whose_stderr_nobody_reads_goes_on() {
    for args in [&["--rounds", "1"][..], &["--rounds", "1", "--trace"], &["--rounds", "1", "-vv"]] {
        let args = [&["math", "server", "0"], args].concat();
        let (process, mut stderr) = Program::socklab(&args).start_unread();
        let addr = listening(&mut stderr);
        // A line is some 50 bytes, a pipe holds 64 KiB.
        let start = Instant::now();
        for n in 0..3000 {
            let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            assert_eq!(solve(stream).len(), 8, "session {n} of {args:?}");
        }
        println!("{args:?}: 3000 sessions in {:?}", start.elapsed());
        // Whoever reads at last is told that lines are missing, and it can be stopped.
        process.signal("TERM");
        let finished = process.finish();
        assert_eq!(finished.code, Some(0), "{args:?}");
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        assert!(text.len() > 4096, "{}", text.len());
    }
}

#[test]
fn a_server_nobody_reads_anything_from_ends_when_its_events_have_no_reader() {
    let (reader, writer) = std::io::pipe().unwrap();
    let args = ["math", "server", "0", "--rounds", "1", "--trace", "--json"];
    let (process, mut stderr) = Program::socklab(&args).stdout(writer).start_unread();
    let addr = listening(&mut stderr);
    let mut solved = 0;
    // Both pipes fill; then there is nobody left who could ever read the events.
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
fn a_server_whose_stderr_is_closed_goes_on() {
    let (process, mut stderr) = Program::socklab(&["math", "server", "0"]).start_unread();
    let addr = listening(&mut stderr);
    drop(stderr);
    for _ in 0..50 {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        solve(stream);
    }
    process.signal("TERM");
    assert_eq!(process.finish().code, Some(0));
}

fn clients_of_every_bad_kind(limit: Duration) {
    let server = Server::start("math", &["--timeout", "none"]);
    let stop = AtomicBool::new(false);
    let silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    let mut half_closed: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for stream in &half_closed {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    thread::scope(|scope| {
        // One byte now and then.
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
        // Reset on, and garbage.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                reset(server.connect());
                let mut stream = server.connect();
                let _ = stream.write_all(&[0xaa; 5000]);
                let _ = stream.read(&mut [0; 9]);
                reset(stream);
            }
        });
        let worst = solves(&server, 200, limit);
        println!("the slowest of 200 quizzes beside them: {worst:?}");
        stop.store(true, Ordering::Relaxed);
    });
    for stream in &mut half_closed {
        // Asked once, it cannot answer: the end.
        assert_eq!(read_all(stream).len(), 9);
    }
    drop(silent);
}

#[test]
fn clients_of_every_bad_kind_at_once() {
    clients_of_every_bad_kind(DEADLINE);
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
    // Nothing is read before all is sent, or no more can be.
    wait_until(Duration::from_millis(500), || writer.is_finished().then_some(()));
    let all = read_all(&mut reader);
    writer.join().unwrap();
    assert_eq!(all.len(), count * 994);
    for (n, reply) in all.chunks(994).enumerate() {
        assert_eq!(reply[4..], *format!("{n:0990}").as_bytes());
    }
    server.process.wait_for(&format!("{count} messages with "));
}

fn who_never_reads(limit: Duration) {
    let _alone = ALONE.lock();
    let server = Server::start("echo", &["--timeout", "none"]);
    pings(&server, 5, limit);
    let before = server.process.memory("VmHWM");
    let block = message(&[b'x'; 100_000]);
    let mut greedy: Vec<TcpStream> = (0..12).map(|_| server.connect()).collect();
    let mut sent = 0;
    for stream in &mut greedy {
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        // Each as much as it can; it has to be stopped before it has sent for ever.
        let mut own = 0_usize;
        loop {
            match stream.write(&block) {
                Ok(n) => own += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(e) => panic!("{e}"),
            }
            assert!(own < 200 << 20, "the server goes on reading");
        }
        sent += own;
        pings(&server, 2, limit);
    }
    let grown = server.process.memory("VmHWM") - before;
    let cpu = idle_cpu(&server, Duration::from_millis(500));
    println!("{} MB sent by 12 who never read: {grown} bytes more, idle CPU {cpu:?}", sent >> 20);
    assert!(grown < 12 * (256 << 10), "{grown} bytes for 12 clients");
    assert!(cpu < Duration::from_millis(100), "{cpu:?}");
    drop(greedy);
    pings(&server, 20, limit);
}

#[test]
fn who_never_reads_costs_little_memory_and_nobodys_time() {
    who_never_reads(DEADLINE);
}

fn a_storm(limit: Duration) {
    let _alone = ALONE.lock();
    descriptors(3000);
    let server = Server::start("math", &["--rounds", "2"]);
    let start = Instant::now();
    // Non-blocking: all connects are on their way before the first is accepted.
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
    solves(&server, 10, limit);
    let log = server.process.wait_for_lines(1011);
    assert_eq!(log.matches("2/2 correct, secret sent").count(), 1010);
}

#[test]
fn a_storm_of_a_thousand_connects_is_served() {
    a_storm(DEADLINE);
}

/// Pings beside a flood, half of them within `half`, all but one in a hundred within `most`.
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
            .expect("there is no flood");
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
fn a_flood_does_not_stop_a_ping() {
    pings_beside_a_flood(DEADLINE, DEADLINE);
}

fn a_flood_without_pauses(limit: Duration) {
    let _alone = ALONE.lock();
    let server = Server::start("coin", &["--pace", "0"]);
    let flooded = &AtomicU64::new(0);
    thread::scope(|scope| {
        let mut flood = server.connect();
        let mut back = flood.try_clone().unwrap();
        // Both go on until the server ends the connection.
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
            .expect("there is no flood");
        let start = Instant::now();
        let mut stream = server.connect();
        let prompt: [u8; 14] = read(&mut stream);
        let took = start.elapsed();
        let text = String::from_utf8_lossy(&prompt);
        assert!(took < limit, "{text} after {took:?}");
        // One more makes it not wait for those who are there.
        server.process.signal("TERM");
        server.process.signal("TERM");
        server.process.finish().success();
    });
}

#[test]
fn a_flood_at_a_server_without_pauses_holds_up_nobody_and_no_stop() {
    a_flood_without_pauses(DEADLINE);
}

#[test]
fn the_last_reply_is_not_lost_when_more_was_sent_than_is_read() {
    let echo = Server::start("echo", &[]);
    let math = Server::start("math", &["--rounds", "0", "--secret", "12345678"]);
    let more = vec![0xff; 1 << 20];
    for _ in 0..50 {
        // The second message is none; behind it comes what nobody reads.
        let mut stream = echo.connect();
        let messages = [message(b"0123456789last"), message(b"\xff"), more.clone()].concat();
        let mut writer = stream.try_clone().unwrap();
        let writer = thread::spawn(move || writer.write_all(&messages));
        assert_eq!(read(&mut stream), *b"\0\0\0\x04last");
        assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0), "an end, no reset");
        drop(stream);
        // It may or may not have got rid of all.
        let _ = writer.join().unwrap();

        let mut stream = math.connect();
        let _ = stream.write_all(&more[..200_000]);
        assert_eq!(read(&mut stream), *b"S12345678");
        assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0), "an end, no reset");
    }
}

#[test]
fn three_hundred_megabytes_stream_through_little_memory() {
    let _alone = ALONE.lock();
    const LENGTH: u32 = 300_000_000;
    let server = Server::start("echo", &[]);
    pings(&server, 5, DEADLINE);
    let mut stream = server.connect();
    let mut back = stream.try_clone().unwrap();
    let start = Instant::now();
    let writer = thread::spawn(move || {
        stream.write_all(&LENGTH.to_be_bytes()).unwrap();
        // A period that no buffer's size is a multiple of.
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
        // The first and last byte of each read: what is lost or doubled shows in all that follow.
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
fn the_idle_timeout_needs_nobody_else_to_wake_the_server() {
    let closed_in_time = |server: &Server, bytes: usize| {
        let start = Instant::now();
        let mut stream = server.connect();
        assert_eq!(read_all(&mut stream).len(), bytes);
        // Reading has a limit of its own; sooner than it should is what else could be wrong.
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
fn the_idle_timeout_closes_the_idle_only() {
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
    // One byte of a message now and then is not idle. Pauses of a small part of the time-out: on a busy machine
    // they last longer.
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(250));
        slow.write_all(b"x").unwrap();
        ping(&mut busy);
    }
    let took = watcher.join().unwrap();
    assert!(took >= Duration::from_millis(3900), "closed after {took:?}");
    // The end of the slow one: its reply so far has come.
    slow.write_all(&[b'x'; 80]).unwrap();
    assert_eq!(read::<94>(&mut slow)[..4], [0, 0, 0, 90]);
}

/// How long an honest client waits. On a busy machine it waits for the machine: `.ci/run` runs these one at a time.
mod times {
    use super::*;

    /// Far more than a client needs that is served at once.
    const PROMPT: Duration = Duration::from_secs(1);

    #[test]
    #[ignore = "needs 10,500 descriptors and measures times: .ci/run runs it alone"]
    fn ten_thousand_idle_connections() {
        idle_connections(10_000, PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_server_out_of_descriptors_answers_its_clients_promptly() {
        out_of_descriptors(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn clients_of_every_bad_kind_do_not_delay_a_quiz() {
        clients_of_every_bad_kind(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn who_never_reads_does_not_delay_a_ping() {
        who_never_reads(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_storm_of_a_thousand_connects_is_served_at_once() {
        a_storm(PROMPT);
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_flood_does_not_delay_a_ping() {
        pings_beside_a_flood(Duration::from_millis(50), Duration::from_millis(400));
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_flood_without_pauses_does_not_delay_a_prompt() {
        a_flood_without_pauses(PROMPT);
    }
}
