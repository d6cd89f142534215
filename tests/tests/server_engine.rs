//! The server engine between two calls of the system: what must hold whatever comes just then.
//!
//! A service that stops in the middle of a turn stops the whole server, so a test can do something
//! at exactly that moment.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use socklab::chat;
use socklab::net::{Direction, Ended, Limits, Observer, Running, Server, Service};
use socklab_core::machine::Machine;
use socklab_core::{echo, file};
use socklab_tests::program::{DEADLINE, message, read_all, reset, wait_until};

/// So long a client of `file` has to be silent for its name to be complete.
const SILENCE: Duration = Duration::from_millis(300);

/// Has a function hear what its machines say, and says nothing itself.
struct Ears<M, F> {
    machine: M,
    hear: F,
}

impl<M: Machine + 'static, F: FnMut(M::Event<'_>)> Service for Ears<M, F> {
    type Machine = M;
    type State = ();
    type Report = String;

    fn open(&mut self) -> (M, ()) {
        (self.machine.clone(), ())
    }

    fn event(&mut self, (): &mut (), event: M::Event<'_>) {
        (self.hear)(event);
    }

    fn command(&mut self, (): &mut ()) -> Option<M::Command<'_>> {
        None
    }

    fn closed(&mut self, _: SocketAddr, _: &M, (): &mut (), ended: Ended<M::Error>) -> String {
        match ended {
            Ended::Failed(e, quote) => format!("{e}{}", quote.suffix()),
            ended => format!("{ended:?}"),
        }
    }
}

/// Tells what a server has received.
struct Seen(Sender<Vec<u8>>);

impl Observer for Seen {
    fn moved(&mut self, _: usize, _: SocketAddr, direction: Direction, bytes: &[u8]) {
        if direction == Direction::Received && !bytes.is_empty() {
            // At the end of a test nobody listens any more.
            let _ = self.0.send(bytes.to_vec());
        }
    }
}

fn next<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(DEADLINE).expect("it comes in time")
}

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.local_addr()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A server of names that are never served.
struct Names {
    running: Running,
    /// What it has read.
    seen: Receiver<Vec<u8>>,
    /// The names it was asked for.
    asked: Receiver<Vec<u8>>,
    /// Having been asked for "hold" it does nothing until it is told to go on.
    go: Sender<()>,
    /// How its sessions ended.
    ended: Receiver<String>,
}

impl Names {
    fn start() -> Self {
        let ((ask, asked), (go, held)) = (channel(), channel());
        let hear = move |event: file::server::Event<'_>| {
            let file::server::Event::Request(request) = event else { return };
            let _ = ask.send(request.name.to_vec());
            if request.name == b"hold" {
                let _ = held.recv_timeout(DEADLINE);
            }
        };
        let service = Ears { machine: file::server::Server::new(), hear };
        let ((see, seen), (end, ended)) = (channel(), channel());
        let running = Server::bind("127.0.0.1:0", service)
            .unwrap()
            .observer(Some(Box::new(Seen(see))))
            .on_report(move |report| drop(end.send(report)))
            .start()
            .unwrap();
        Self { running, seen, asked, go, ended }
    }
}

#[test]
fn a_reset_that_shows_first_when_writing_is_told_as_one() {
    let ((tell, told), (go, held)) = (channel(), channel::<()>());
    let hear = move |_| {
        let _ = tell.send(());
        let _ = held.recv_timeout(DEADLINE);
    };
    let service = Ears { machine: echo::server::Server::new(), hear };
    let (end, ended) = channel();
    let running = Server::bind("127.0.0.1:0", service)
        .unwrap()
        .on_report(move |report| drop(end.send(report)))
        .start()
        .unwrap();
    let mut client = connect(&running);
    client.write_all(&message(b"0123456789first")).unwrap();
    next(&told);
    // The first message is read and its reply not sent. What has come until the reset counts.
    client.write_all(&message(b"0123456789second")).unwrap();
    reset(client);
    go.send(()).unwrap();
    next(&told);
    go.send(()).unwrap();
    let report = next(&ended);
    assert!(report.contains("reset the connection"), "{report}");
}

#[test]
fn the_silence_of_one_who_has_gone_is_not_the_next_ones() {
    let names = Names::start();
    let mut first = connect(&names.running);
    first.write_all(b"na").unwrap();
    assert_eq!(next(&names.seen), b"na");
    // Well before its own silence the next one's would be over.
    thread::sleep(SILENCE / 2);
    first.write_all(b"me\n").unwrap();
    assert_eq!(next(&names.asked), b"name");
    reset(first);
    next(&names.ended);

    let mut second = connect(&names.running);
    let start = Instant::now();
    second.write_all(b"fi").unwrap();
    assert_eq!(next(&names.asked), b"fi");
    let took = start.elapsed();
    assert!(took >= SILENCE - Duration::from_millis(2), "complete after {took:?}");
}

#[test]
fn bytes_that_come_as_the_silence_ends_end_it() {
    let names = Names::start();
    // The last of them is accepted last: when it is read from, all are there. Each piece takes a
    // round of its own, so what the system has to tell of newcomers has been told by the third.
    let [mut one, mut other, mut slow] = [(); 3].map(|()| connect(&names.running));
    for piece in [b"n", b"a", b"m"] {
        slow.write_all(piece).unwrap();
        assert_eq!(next(&names.seen), piece);
    }
    // Held while the silence passes, and again in the round that finds it over.
    one.write_all(b"hold\n").unwrap();
    assert_eq!(next(&names.asked), b"hold");
    thread::sleep(SILENCE + Duration::from_millis(20));
    other.write_all(b"hold\n").unwrap();
    let start = Instant::now();
    names.go.send(()).unwrap();
    assert_eq!(next(&names.asked), b"hold");
    slow.write_all(b"e").unwrap();
    names.go.send(()).unwrap();
    // The silence begins anew.
    assert_eq!(next(&names.asked), b"name");
    let took = start.elapsed();
    assert!(took >= SILENCE - Duration::from_millis(2), "complete after {took:?}");
}

/// A bot that would wait for its talks for ever, nearly.
fn bot(duplex: bool) -> Running {
    let limits = Limits { grace: 2 * DEADLINE, ..Limits::default() };
    let server = Server::bind("127.0.0.1:0", chat::Service::new(duplex)).unwrap();
    server.limits(limits).start().unwrap()
}

/// One line.
fn hear(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line");
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Stops a server whose clients do `meanwhile`.
fn stop(running: Running, meanwhile: impl FnOnce()) {
    let stopping = thread::spawn(move || running.stop().unwrap());
    meanwhile();
    let stopped = wait_until(DEADLINE, || stopping.is_finished().then_some(()));
    stopped.expect("it waits, and everybody has gone");
    stopping.join().unwrap();
}

#[test]
fn a_bot_that_is_stopped_says_bye_at_once_in_duplex() {
    let running = bot(true);
    let mut client = connect(&running);
    hear(&mut client);
    stop(running, move || {
        let last = String::from_utf8(read_all(&mut client)).unwrap();
        assert_eq!(last, "I have to go. BYE\n");
    });
}

#[test]
fn a_bot_that_is_stopped_says_bye_in_its_turn() {
    let running = bot(false);
    let mut client = connect(&running);
    hear(&mut client);
    let addr = running.local_addr();
    stop(running, move || {
        // It takes no more clients, so it knows that it is stopped.
        let closed = wait_until(DEADLINE, || TcpStream::connect(addr).is_err().then_some(()));
        closed.expect("it takes clients");
        client.write_all(b"Are you there?\n").unwrap();
        let last = String::from_utf8(read_all(&mut client)).unwrap();
        assert_eq!(last, "I have to go. BYE\n");
    });
}

#[test]
fn the_bye_of_a_bot_that_is_stopped_comes_behind_all_it_has_not_got_rid_of() {
    let running = bot(true);
    let mut client = connect(&running);
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until nothing is taken any more, since what it answers is not read.
    let lines = b"a\n".repeat(10_000);
    loop {
        match client.write(&lines) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("{e}"),
        }
    }
    stop(running, move || {
        let all = String::from_utf8(read_all(&mut client)).unwrap();
        assert!(all.len() > 100_000 && all.ends_with("\nI have to go. BYE\n"), "{}", all.len());
        let lines: Vec<&str> = all.lines().collect();
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.ends_with(['.', '?'])));
    });
}
