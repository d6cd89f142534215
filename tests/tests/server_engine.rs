//! The server engine at exact moments between two system calls.
//!
//! A service that blocks in a callback blocks the whole server, so a test can act at exactly that
//! moment.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use socklab::chat;
use socklab::net::{Direction, Ended, Limits, Observer, Running, Server, Service};
use socklab_core::machine::{EventView, Machine};
use socklab_core::{echo, file};
use socklab_tests::program::{DEADLINE, message, read_all, reset, wait_until};

/// How long a client of `file` must be idle for its name to be complete.
const IDLE: Duration = Duration::from_millis(300);

/// A service that passes its events to a function and gives no commands.
struct EventService<M, F> {
    machine: M,
    on_event: F,
}

impl<M: Machine + 'static, F: FnMut(EventView<'_, M>)> Service for EventService<M, F> {
    type Machine = M;
    type State = ();
    type Report = String;

    fn open(&mut self) -> (M, ()) {
        (self.machine.clone(), ())
    }

    fn event(&mut self, (): &mut (), event: EventView<'_, M>) {
        (self.on_event)(event);
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

/// An observer that reports what a server has received.
struct ReceivedObserver(Sender<Vec<u8>>);

impl Observer for ReceivedObserver {
    fn moved(&mut self, _: usize, _: SocketAddr, direction: Direction, bytes: &[u8]) {
        if direction == Direction::Received && !bytes.is_empty() {
            // At the end of a test there is no receiver any more.
            let _ = self.0.send(bytes.to_vec());
        }
    }
}

fn next<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(DEADLINE).expect("no message in time")
}

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.local_addr()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A file server. Its names are never answered.
struct FileServer {
    running: Running,
    /// Bytes it has received.
    seen: Receiver<Vec<u8>>,
    /// Names of its requests.
    asked: Receiver<Vec<u8>>,
    /// After a request for "hold" the server blocks until this is sent.
    go: Sender<()>,
    /// How its sessions ended.
    ended: Receiver<String>,
}

impl FileServer {
    fn start() -> Self {
        let ((ask, asked), (go, held)) = (channel(), channel());
        let on_event = move |event: file::server::Event<&[u8]>| {
            let file::server::Event::Request(request) = event else { return };
            let _ = ask.send(request.name.to_vec());
            if request.name == b"hold" {
                let _ = held.recv_timeout(DEADLINE);
            }
        };
        let service = EventService { machine: file::server::Server::new(), on_event };
        let ((see, seen), (end, ended)) = (channel(), channel());
        let running = Server::bind("127.0.0.1:0", service)
            .unwrap()
            .observer(Some(Box::new(ReceivedObserver(see))))
            .on_report(move |report| drop(end.send(report)))
            .start()
            .unwrap();
        Self { running, seen, asked, go, ended }
    }
}

#[test]
fn a_reset_that_is_first_noticed_by_a_write_is_reported_as_a_reset() {
    let ((tell, emitted), (go, held)) = (channel(), channel::<()>());
    let on_event = move |_| {
        let _ = tell.send(());
        let _ = held.recv_timeout(DEADLINE);
    };
    let service = EventService { machine: echo::server::Server::new(), on_event };
    let (end, ended) = channel();
    let running = Server::bind("127.0.0.1:0", service)
        .unwrap()
        .on_report(move |report| drop(end.send(report)))
        .start()
        .unwrap();
    let mut client = connect(&running);
    client.write_all(&message(b"0123456789first")).unwrap();
    next(&emitted);
    // The first message has been read, and its reply is not sent yet. Bytes that arrive before the
    // reset count.
    client.write_all(&message(b"0123456789second")).unwrap();
    reset(client);
    go.send(()).unwrap();
    next(&emitted);
    go.send(()).unwrap();
    let report = next(&ended);
    assert!(report.contains("reset the connection"), "{report}");
}

#[test]
fn the_idle_time_of_a_closed_connection_is_not_used_for_the_next() {
    let server = FileServer::start();
    let mut first = connect(&server.running);
    first.write_all(b"na").unwrap();
    assert_eq!(next(&server.seen), b"na");
    // The idle time of the second client would end before that of the first.
    thread::sleep(IDLE / 2);
    first.write_all(b"me\n").unwrap();
    assert_eq!(next(&server.asked), b"name");
    reset(first);
    next(&server.ended);

    let mut second = connect(&server.running);
    let start = Instant::now();
    second.write_all(b"fi").unwrap();
    assert_eq!(next(&server.asked), b"fi");
    let took = start.elapsed();
    assert!(took >= IDLE - Duration::from_millis(2), "complete after {took:?}");
}

#[test]
fn bytes_that_arrive_as_the_idle_time_ends_restart_it() {
    let server = FileServer::start();
    // The slow connection is accepted last, so when it is read from, all are accepted. Each piece
    // needs a round of its own, so by the third all new connections have been reported.
    let [mut one, mut other, mut slow] = [(); 3].map(|()| connect(&server.running));
    for piece in [b"n", b"a", b"m"] {
        slow.write_all(piece).unwrap();
        assert_eq!(next(&server.seen), piece);
    }
    // The server is held while the idle time passes, and again in the round that finds it over.
    one.write_all(b"hold\n").unwrap();
    assert_eq!(next(&server.asked), b"hold");
    thread::sleep(IDLE + Duration::from_millis(20));
    other.write_all(b"hold\n").unwrap();
    let start = Instant::now();
    server.go.send(()).unwrap();
    assert_eq!(next(&server.asked), b"hold");
    slow.write_all(b"e").unwrap();
    server.go.send(()).unwrap();
    // The idle time starts again.
    assert_eq!(next(&server.asked), b"name");
    let took = start.elapsed();
    assert!(took >= IDLE - Duration::from_millis(2), "complete after {took:?}");
}

/// Starts a bot whose grace period exceeds the deadline of a test.
fn bot(duplex: bool) -> Running {
    let limits = Limits { grace: 2 * DEADLINE, ..Limits::default() };
    let server = Server::bind("127.0.0.1:0", chat::Service::new(duplex)).unwrap();
    server.limits(limits).start().unwrap()
}

/// Reads one line.
fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line");
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Stops a server while its clients do `meanwhile`.
fn stop(running: Running, meanwhile: impl FnOnce()) {
    let stopping = thread::spawn(move || running.stop().unwrap());
    meanwhile();
    let stopped = wait_until(DEADLINE, || stopping.is_finished().then_some(()));
    stopped.expect("the server waits without clients");
    stopping.join().unwrap();
}

#[test]
fn a_stopped_bot_sends_bye_at_once_in_duplex_mode() {
    let running = bot(true);
    let mut client = connect(&running);
    read_line(&mut client);
    stop(running, move || {
        let last = String::from_utf8(read_all(&mut client)).unwrap();
        assert_eq!(last, "I have to go. BYE\n");
    });
}

#[test]
fn a_stopped_bot_sends_bye_in_its_turn() {
    let running = bot(false);
    let mut client = connect(&running);
    read_line(&mut client);
    let addr = running.local_addr();
    stop(running, move || {
        // The server accepts no more clients, so it knows that it is being stopped.
        let closed = wait_until(DEADLINE, || TcpStream::connect(addr).is_err().then_some(()));
        closed.expect("the server still accepts clients");
        client.write_all(b"Are you there?\n").unwrap();
        let last = String::from_utf8(read_all(&mut client)).unwrap();
        assert_eq!(last, "I have to go. BYE\n");
    });
}

#[test]
fn the_bye_of_a_stopped_bot_follows_its_unsent_lines() {
    let running = bot(true);
    let mut client = connect(&running);
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Sends until nothing is accepted any more, because the answers are not read.
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
