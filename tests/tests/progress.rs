//! Peers that read slowly, and peers that do not read: what counts as progress, and when a session
//! is over.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use socklab::net::{Client, Direction, Ended, Limits, Observer, Running, Server, Service};
use socklab::{echo, net};
use socklab_core::echo::server;
use socklab_tests::program::{self, DEADLINE, message, read, read_all, reset, wait_until};

/// Idle limit: far longer than a reader may not be scheduled.
const IDLE: Duration = Duration::from_secs(4);
/// Duration of a slow read, far longer than the idle limit.
const SLOWLY: Duration = Duration::from_secs(10);

/// Size of the receive buffer. It leaves most bytes with the sender, but is larger than a segment
/// of the loopback: a smaller one makes every transfer slow.
const SMALL: usize = 128 << 10;

/// Connects with that receive buffer.
fn connect(addr: SocketAddr) -> TcpStream {
    connect_with(addr, SMALL)
}

fn connect_with(addr: SocketAddr, buffer: usize) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(buffer).unwrap();
    socket.connect(&addr.into()).expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Reads 1 KiB every 100 ms for far longer than the idle limit, which is too slow for the sender's
/// system to accept more bytes. Then reads the rest.
fn read_slowly(stream: &mut TcpStream) -> usize {
    let (start, mut room, mut length) = (Instant::now(), [0; 1 << 10], 0);
    while start.elapsed() < SLOWLY {
        match stream.read(&mut room) {
            Ok(0) => return length,
            Ok(n) => length += n,
            Err(e) => panic!("after {:?} and {length} bytes: {e}", start.elapsed()),
        }
        thread::sleep(Duration::from_millis(100));
    }
    length + read_all(stream).len()
}

/// Starts a file server with a file that no system buffers completely.
fn file_server(test: &str, size: u64, idle: &str) -> (program::Server, std::path::PathBuf) {
    let root = std::env::temp_dir().join(format!("socklab-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::File::create(root.join("big")).unwrap().set_len(size).unwrap();
    let args = ["--root", root.to_str().unwrap(), "--timeout", idle];
    (program::Server::start("file", &args), root)
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Linux: what the peer's system has received")]
fn a_slow_but_steady_reader_gets_the_whole_file() {
    const SIZE: u64 = 12 << 20;
    let (server, root) = file_server("slow-file", SIZE, "4s");
    let mut stream = connect(server.addr);
    stream.write_all(b"big\n").unwrap();
    assert_eq!(read_slowly(&mut stream) as u64, SIZE);
    assert!(server.process.wait_for("\"big\" plain").ends_with("complete"));
    let _ = std::fs::remove_dir_all(root);
}

#[test]
fn a_client_that_reads_nothing_times_out() {
    let (server, root) = file_server("no-reader", 12 << 20, "2s");
    let mut stream = connect(server.addr);
    let start = Instant::now();
    stream.write_all(b"big\n").unwrap();
    // The client's system answers window probes meanwhile.
    let line = server.process.wait_for("\"big\" plain");
    assert!(start.elapsed() >= Duration::from_secs(2) - Duration::from_millis(20), "{line}");
    assert!(!line.ends_with("complete"), "{line}");
    // A reset, because an orderly close could be taken for the end of the file.
    let mut room = vec![0; 1 << 20];
    let end = loop {
        match stream.read(&mut room) {
            Ok(0) => panic!("an orderly close"),
            Ok(_) => {}
            Err(e) => break e.kind(),
        }
    };
    assert_eq!(end, ErrorKind::ConnectionReset);
    let _ = std::fs::remove_dir_all(root);
}

/// An echo service that counts its sessions and the bytes it sent.
#[derive(Clone, Default)]
struct Counts {
    opened: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl Service for Counts {
    type Machine = server::Server;
    type State = ();
    type Report = String;

    fn open(&mut self) -> (server::Server, ()) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        (server::Server::new(), ())
    }

    fn event(&mut self, (): &mut (), _: server::Event) {}

    fn command(&mut self, (): &mut ()) -> Option<server::Command> {
        None
    }

    fn closed(
        &mut self,
        _: SocketAddr,
        _: &server::Server,
        (): &mut (),
        ended: Ended<server::Error>,
    ) -> String {
        format!("{ended:?}")
    }
}

impl Observer for Counts {
    fn moved(&mut self, _: usize, _: SocketAddr, direction: Direction, bytes: &[u8]) {
        if direction == Direction::Sent {
            self.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
    }
}

/// Starts an echo server with these limits and returns it with its counts and its reports.
fn echo_server(limits: Limits) -> (Running, Counts, Receiver<String>) {
    let (counts, (end, ended)) = (Counts::default(), channel());
    let running = Server::bind("127.0.0.1:0", counts.clone())
        .unwrap()
        .limits(limits)
        .observer(Some(Box::new(counts.clone())))
        .on_report(move |report| drop(end.send(report)))
        .start()
        .unwrap();
    (running, counts, ended)
}

/// Size of a reply that the server's system buffers completely, but the client's does not.
const REPLY: usize = 600 << 10;

/// Connects, requests a reply of this size and returns when the server's system has accepted all of
/// it.
fn ask(running: &Running, counts: &Counts) -> TcpStream {
    let mut stream = connect_with(running.local_addr(), 32 << 10);
    let mut payload = vec![b'x'; REPLY - 4 + 10];
    payload[..10].copy_from_slice(b"0123456789");
    stream.write_all(&message(&payload)).unwrap();
    let is_sent = || (counts.sent.load(Ordering::SeqCst) >= REPLY as u64).then_some(());
    wait_until(DEADLINE, is_sent).expect("the server's system accepts all of the reply");
    stream
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_session_is_reported_once_its_last_bytes_have_arrived() {
    let (running, counts, ended) = echo_server(Limits::default());
    let mut stream = ask(&running, &counts);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The client has not received everything, because it has not read anything.
    let early = ended.recv_timeout(Duration::from_millis(500));
    assert_eq!(early, Err(RecvTimeoutError::Timeout));
    assert_eq!(read_all(&mut stream).len(), REPLY);
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), "Done");
    running.stop().unwrap();
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_client_that_leaves_early_is_reported_as_undelivered() {
    let (running, counts, ended) = echo_server(Limits::default());
    let stream = ask(&running, &counts);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(ended.recv_timeout(Duration::from_millis(100)).is_err());
    reset(stream);
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), "Undelivered");

    // The same holds for a client that stays and never reads.
    let limits = Limits { idle: Some(Duration::from_secs(2)), ..Limits::default() };
    let (running, counts, ended) = echo_server(limits);
    let stream = ask(&running, &counts);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), "Undelivered");
    drop(stream);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_client_that_slowly_reads_buffered_bytes_is_not_idle() {
    let limits = Limits { idle: Some(IDLE), ..Limits::default() };
    let (running, counts, ended) = echo_server(limits);
    let mut stream = ask(&running, &counts);
    let (start, mut room, mut length) = (Instant::now(), [0; 4 << 10], 0);
    while start.elapsed() < SLOWLY {
        length += stream.read(&mut room).expect("the session continues");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(length < REPLY, "the read is too fast for this test");
    // The session still answers.
    stream.write_all(&message(b"0123456789again")).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    length += read_all(&mut stream).len();
    assert_eq!(length, REPLY + 4 + 5);
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), "Done");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_client_waits_for_a_server_that_reads_slowly_but_not_for_one_that_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let small = socket2::SockRef::from(&listener);
    small.set_recv_buffer_size(SMALL).unwrap();
    let addr = listener.local_addr().unwrap();
    // Larger than the systems buffer, so that the client has to wait.
    const SIZE: usize = 12 << 20;
    let upload = move |idle| {
        let machine = socklab_core::echo::client::Client::new();
        let mut client = Client::dial(&addr.into(), machine, 64 << 10, Some(idle)).unwrap();
        let start = Instant::now();
        let length = socklab_core::echo::client::Command::Begin(u32::try_from(SIZE).unwrap());
        client.command(length).unwrap();
        let (chunk, mut sent) = (vec![b'x'; 1 << 20], 0);
        while sent < SIZE {
            match client.try_next() {
                Ok(_) => {}
                Err(e) => return (start.elapsed(), Err(e)),
            }
            let n = chunk.len().min(SIZE - sent);
            match client.write_payload(&chunk[..n]) {
                Ok(0) => drop(client.wait().unwrap()),
                Ok(n) => sent += n,
                Err(e) => return (start.elapsed(), Err(e)),
            }
        }
        (start.elapsed(), Ok(()))
    };

    let slow = thread::spawn(move || upload(IDLE));
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (start, mut room, mut length) = (Instant::now(), [0; 1 << 10], 0);
    while start.elapsed() < SLOWLY {
        length += stream.read(&mut room).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    let mut room = vec![0; 1 << 20];
    while length < SIZE + 4 {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => break,
            Ok(n) => length += n,
        }
    }
    assert_eq!(length, SIZE + 4);
    slow.join().unwrap().1.expect("the client waits");

    let idle = Duration::from_secs(2);
    let never = thread::spawn(move || upload(idle));
    let (stream, _) = listener.accept().unwrap();
    let (took, result) = never.join().unwrap();
    assert!(matches!(result, Err(net::Error::TimedOut(..))), "{result:?}");
    assert!(took >= idle, "after {took:?}");
    drop(stream);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn clients_above_the_limit_wait_until_another_has_left() {
    let (running, counts, ended) = echo_server(Limits { clients: 2, ..Limits::default() });
    let [one, mut two, mut three] = [(); 3].map(|()| connect(running.local_addr()));
    three.write_all(&message(b"0123456789three")).unwrap();
    let hello = |stream: &mut TcpStream| {
        stream.write_all(&message(b"0123456789two")).unwrap();
        assert_eq!(read(stream), *b"\0\0\0\x03two");
    };
    // With each answer the server could have accepted another client.
    for _ in 0..20 {
        hello(&mut two);
    }
    assert_eq!(counts.opened.load(Ordering::SeqCst), 2);
    drop(one);
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), "Done");
    assert_eq!(read(&mut three), *b"\0\0\0\x05three");
    hello(&mut two);

    // Each of many waiting clients is served in its turn.
    let barrier = Barrier::new(20);
    thread::scope(|scope| {
        drop((two, three));
        for _ in 0..20 {
            scope.spawn(|| {
                barrier.wait();
                let mut client = echo::Client::connect(running.local_addr()).unwrap();
                client.send_message(b"0123456789x").unwrap();
                assert_eq!(client.receive_message().unwrap(), b"x");
            });
        }
    });
    running.stop().unwrap();
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_client_that_has_sent_everything_waits_for_a_server_that_still_reads() {
    /// Fits in the buffers of the two systems, so that the client has nothing left to write.
    const SIZE: usize = 600 << 10;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(SMALL).unwrap();
    let addr = listener.local_addr().unwrap();
    let (left, has_left) = channel();
    let client = thread::spawn(move || {
        let machine = socklab_core::echo::client::Client::new();
        let client = Client::dial(&addr.into(), machine, 64 << 10, Some(IDLE)).unwrap();
        let mut client = echo::Client::from(client);
        client.send_message(&vec![b'x'; SIZE]).unwrap();
        left.send(()).unwrap();
        client.receive_message().map(|reply| reply.len())
    });
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    has_left.recv_timeout(DEADLINE).expect("the systems buffer the whole message");
    let (start, mut room, mut length) = (Instant::now(), [0; 1 << 10], 0);
    while start.elapsed() < SLOWLY {
        length += stream.read(&mut room).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    let mut rest = vec![0; SIZE + 4 - length];
    stream.read_exact(&mut rest).unwrap();
    stream.write_all(&message(b"done")).unwrap();
    assert_eq!(client.join().unwrap().expect("the client waits"), 4);
}
