//! A server behind a balancer: connections that begin with a header of the PROXY protocol.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socklab::net::{Direction, Limits, Observer, ParallelService, Running, Server, Service};
use socklab::{chat, echo, hello};
use socklab_tests::program::{DEADLINE, message, read, read_all, reset, wait_until};

const GREETING: &[u8] = b"Hello from server";
/// A header for 192.0.2.1:56324, and one in binary for the same client.
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x09\xdc\x04\x01\xbb";
const CLIENT: &str = "192.0.2.1:56324";
/// Headers that name no client.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// A server, and the lines of its sessions.
struct Proxied {
    running: Running,
    reports: Receiver<String>,
}

fn limits(limit: Duration) -> Limits {
    Limits { proxy_header: Some(limit), ..Limits::default() }
}

fn start<S>(service: S, limits: Limits, observer: Option<Box<dyn Observer>>) -> Proxied
where
    S: Service + Send + 'static,
    S::State: Send,
    S::Machine: Send,
{
    run(Server::bind("127.0.0.1:0", service).unwrap().limits(limits).observer(observer))
}

/// Starts a server with this number of threads.
fn start_threads<S: ParallelService + 'static>(service: S, threads: usize) -> Proxied {
    let threads = threads.try_into().unwrap();
    run(Server::bind_threads("127.0.0.1:0", threads, service).unwrap().limits(limits(DEADLINE)))
}

fn run<S>(server: Server<S>) -> Proxied
where
    S: Service + Send + 'static,
    S::State: Send,
    S::Machine: Send,
{
    let (report, reports) = channel();
    let server = server.on_report(move |line| drop(report.send(line.to_string())));
    Proxied { running: server.start().unwrap(), reports }
}

fn echoes() -> Proxied {
    start(echo::Service::new(), limits(DEADLINE), None)
}

fn greets() -> Proxied {
    start(hello::Service::new(hello::Options::default()), limits(DEADLINE), None)
}

impl Proxied {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running.local_addr()).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn report(&self) -> String {
        self.reports.recv_timeout(DEADLINE).expect("a report")
    }

    /// Stops the server, and checks that every report has been looked at.
    fn finish(self) {
        let Self { running, reports } = self;
        running.stop().unwrap();
        assert_eq!(reports.into_iter().collect::<Vec<_>>(), [""; 0]);
    }
}

/// Checks that the server has closed the connection without sending a byte.
#[track_caller]
fn assert_refused(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(bytes, b"");
}

#[test]
fn a_header_in_any_pieces_names_the_client_and_no_byte_after_it_is_lost() {
    let server = echoes();
    let text = message(b"0123456789four score");
    for header in [LINE, BINARY] {
        let whole = [header, &text].concat();
        for cut in [0, 1, 5, 12, header.len() - 1, header.len(), header.len() + 3, whole.len()] {
            let mut client = server.connect();
            client.write_all(&whole[..cut]).unwrap();
            if cut > 0 && cut < header.len() {
                thread::sleep(Duration::from_millis(2));
            }
            client.write_all(&whole[cut..]).unwrap();
            assert_eq!(read(&mut client), *b"\0\0\0\x0afour score");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&mut client), b"");
            assert_eq!(
                server.report(),
                format!("{CLIENT}: 1 message with 20 bytes echoed, closed"),
                "cut at {cut}"
            );
        }
        let mut client = server.connect();
        for byte in &whole {
            client.write_all(&[*byte]).unwrap();
        }
        assert_eq!(read(&mut client), *b"\0\0\0\x0afour score");
        drop(client);
        assert!(server.report().starts_with(CLIENT));
    }
    server.finish();
}

#[test]
fn a_client_may_have_any_address_and_port() {
    let server = echoes();
    for (line, client) in [
        ("TCP4 0.0.0.0 192.0.2.9 0 0", "0.0.0.0:0"),
        ("TCP6 2001:db8::1 2001:db8::2 65535 443", "[2001:db8::1]:65535"),
        ("TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.9 5 443", "192.0.2.7:5"),
    ] {
        let mut stream = server.connect();
        let header = format!("PROXY {line}\r\n").into_bytes();
        stream.write_all(&[header, message(b"0123456789x")].concat()).unwrap();
        assert_eq!(read(&mut stream), *b"\0\0\0\x01x");
        drop(stream);
        let report = server.report();
        assert!(report.starts_with(&format!("{client}: 1 message")), "{report}");
    }
    server.finish();
}

#[test]
fn many_messages_behind_a_header_are_all_answered() {
    let server = echoes();
    let mut client = server.connect();
    let many = message(b"0123456789x").repeat(10_000);
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sender.write_all(&[BINARY, &many].concat()).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(read_all(&mut client).len(), 5 * 10_000);
    sending.join().unwrap();
    assert!(server.report().starts_with(&format!("{CLIENT}: 10000 messages")));
    server.finish();
}

#[test]
fn a_client_that_closes_right_behind_its_message_is_answered() {
    let server = echoes();
    for header in [LINE, BINARY, LOCAL, UNKNOWN] {
        let mut client = server.connect();
        client.write_all(&[header, &message(b"0123456789x")].concat()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"\0\0\0\x01x");
        assert!(server.report().ends_with("1 message with 11 bytes echoed, closed"));
    }
    server.finish();
}

#[test]
fn no_byte_is_sent_before_the_header_is_complete() {
    let server = greets();
    for header in [LINE, BINARY] {
        let mut client = server.connect();
        let (front, last) = header.split_at(header.len() - 1);
        client.write_all(front).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let early = client.read(&mut [0]).map_err(|e| e.kind());
        assert!(matches!(early, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{early:?}");
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(last).unwrap();
        assert!(read_all(&mut client).starts_with(GREETING));
        assert_eq!(server.report(), format!("{CLIENT}: greeted"));
    }
    server.finish();
}

#[test]
fn a_connection_without_a_valid_header_is_refused() {
    let server = greets();
    for bytes in [
        &b"Hello\n"[..],
        b"\0\0\0\x0b0123456789x",
        b"GET / HTTP/1.0\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\n",
        &[b'P'; 200],
        &[&BINARY[..12], b"\x31\x11\0\x0c"].concat(),
        &[&BINARY[..14], b"\xff\xff"].concat(),
        &[0; 100_000],
    ] {
        let mut client = server.connect();
        // A long one may fail in the middle, because the server reads only the front.
        let _ = client.write_all(bytes);
        assert_refused(client);
    }
    // A part of a header, and the end.
    let mut client = server.connect();
    client.write_all(&LINE[..20]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_refused(client);
    server.finish();
}

#[test]
fn a_header_that_does_not_come_in_time_is_refused_however_many_bytes_come() {
    let limit = Duration::from_millis(300);
    let server = start(echo::Service::new(), limits(limit), None);
    for part in [&b""[..], &LINE[..1], &BINARY[..20]] {
        let start = Instant::now();
        let mut client = server.connect();
        client.write_all(part).unwrap();
        assert_refused(client);
        assert!(start.elapsed() >= limit);
    }
    // Each byte comes in time, but not all of them.
    let start = Instant::now();
    let mut client = server.connect();
    for byte in UNKNOWN.iter().chain(LINE).cycle() {
        if start.elapsed() > DEADLINE || client.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(limit / 10);
    }
    assert!(start.elapsed() < DEADLINE);
    server.finish();
}

#[test]
fn health_checks_open_no_session_and_count_as_no_client() {
    for threads in [1, 3] {
        let options = hello::Options { count: Some(2), ..hello::Options::default() };
        let server = start_threads(hello::Service::new(options), threads);
        for header in [&b""[..], LOCAL, UNKNOWN] {
            let mut closes = server.connect();
            closes.write_all(header).unwrap();
            drop(closes);
            let mut resets = server.connect();
            resets.write_all(header).unwrap();
            reset(resets);
            let mut half = server.connect();
            half.write_all(header).unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            assert_refused(half);
        }
        // In version 1 a balancer names its own end of the connection.
        let mut names_itself = server.connect();
        let (from, to) = (names_itself.local_addr().unwrap(), names_itself.peer_addr().unwrap());
        let header =
            format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
        names_itself.write_all(header.as_bytes()).unwrap();
        names_itself.shutdown(Shutdown::Write).unwrap();
        assert_refused(names_itself);
        // One of them waits until the end.
        let waiting = server.connect();
        // All stay connected, so that another thread gets the next one.
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = server.connect();
            client.write_all(LINE).unwrap();
            assert!(read_all(&mut client).starts_with(GREETING));
            assert_eq!(server.report(), format!("{CLIENT}: greeted"));
            clients.push(client);
        }
        assert_refused(waiting);
        drop(clients);
        let closed = wait_until(DEADLINE, || {
            TcpStream::connect(server.running.local_addr()).is_err().then_some(())
        });
        closed.expect("the server still accepts clients");
        server.finish();
    }
}

#[test]
fn several_threads_read_headers_also_while_the_server_stops() {
    let server = start_threads(echo::Service::new(), 3);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            thread::spawn(move || {
                for byte in [LINE, &message(b"0123456789x")].concat() {
                    client.write_all(&[byte]).unwrap();
                }
                assert_eq!(read(&mut client), *b"\0\0\0\x01x");
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
        assert!(server.report().starts_with(CLIENT));
    }
    let mut late = server.connect();
    late.write_all(&LINE[..10]).unwrap();
    let Proxied { running, reports } = server;
    let addr = running.local_addr();
    let stopping = thread::spawn(move || running.stop().unwrap());
    let closed = wait_until(DEADLINE, || TcpStream::connect(addr).is_err().then_some(()));
    closed.expect("the server still accepts clients");
    late.write_all(&[&LINE[10..], &message(b"0123456789x")].concat()).unwrap();
    assert_eq!(read(&mut late), *b"\0\0\0\x01x");
    drop(late);
    stopping.join().unwrap();
    assert_eq!(reports.into_iter().count(), 1);
}

#[test]
fn a_client_with_the_address_of_the_balancer_has_a_session() {
    let server = echoes();
    let mut client = server.connect();
    // It can be that of another connection to the balancer, on the same machine.
    let addr = client.local_addr().unwrap();
    let line = format!("PROXY TCP4 {} 192.0.2.9 {} 443\r\n", addr.ip(), addr.port());
    client.write_all(line.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
    assert_eq!(server.report(), format!("{addr}: 0 messages with 0 bytes echoed, closed"));
    server.finish();
}

#[test]
fn a_balancer_that_names_no_client_is_served_as_itself() {
    for header in [LOCAL, UNKNOWN] {
        let server = echoes();
        let mut client = server.connect();
        let addr = client.local_addr().unwrap();
        client.write_all(header).unwrap();
        client.write_all(&message(b"0123456789x")).unwrap();
        assert_eq!(read(&mut client), *b"\0\0\0\x01x");
        drop(client);
        assert!(server.report().starts_with(&addr.to_string()));
        server.finish();

        // If the server speaks first, it does so without a byte from the client.
        let server = greets();
        let mut client = server.connect();
        client.write_all(header).unwrap();
        assert!(read_all(&mut client).starts_with(GREETING));
        let addr = client.local_addr().unwrap();
        assert_eq!(server.report(), format!("{addr}: greeted"));
        drop(client);
        server.finish();
    }
}

#[test]
fn without_the_option_a_header_is_no_header() {
    let server = start(echo::Service::new(), Limits::default(), None);
    let mut client = server.connect();
    let addr = client.local_addr().unwrap();
    client.write_all(LINE).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // Its first bytes are the length of a message.
    assert!(client.read(&mut [0]).is_ok());
    drop(client);
    let report = server.report();
    assert!(report.starts_with(&format!("{addr}: 0 messages")), "{report}");
    assert!(report.contains("of 1347571548 bytes"), "{report}");
    server.finish();
}

#[test]
fn connections_that_wait_for_their_header_count_for_the_limit_of_clients() {
    let limits = Limits { clients: 1, ..limits(DEADLINE) };
    let server = start(echo::Service::new(), limits, None);
    let waiting = server.connect();
    let mut client = server.connect();
    client.write_all(&[LINE, &message(b"0123456789x")].concat()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.read(&mut [0]).is_err());
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    drop(waiting);
    assert_eq!(read(&mut client), *b"\0\0\0\x01x");
    drop(client);
    assert!(server.report().starts_with(CLIENT));
    server.finish();
}

#[test]
fn a_stopped_server_still_serves_a_client_whose_header_is_under_way() {
    let server = echoes();
    let mut client = server.connect();
    client.write_all(&LINE[..10]).unwrap();
    // A client in the backlog is one too.
    let mut late = server.connect();
    let Proxied { running, reports } = server;
    let addr = running.local_addr();
    let stopping = thread::spawn(move || running.stop().unwrap());
    let closed = wait_until(DEADLINE, || TcpStream::connect(addr).is_err().then_some(()));
    closed.expect("the server still accepts clients");
    client.write_all(&[&LINE[10..], &message(b"0123456789x")].concat()).unwrap();
    assert_eq!(read(&mut client), *b"\0\0\0\x01x");
    late.write_all(&[BINARY, &message(b"0123456789x")].concat()).unwrap();
    assert_eq!(read(&mut late), *b"\0\0\0\x01x");
    drop((client, late));
    stopping.join().unwrap();
    assert_eq!(reports.into_iter().filter(|report| report.starts_with(CLIENT)).count(), 2);
}

#[test]
fn a_stopped_server_asks_a_late_session_to_end_and_drops_health_checks() {
    let limits = Limits { grace: 2 * DEADLINE, ..limits(DEADLINE) };
    let server = start(chat::Service::new(true), limits, None);
    let mut client = server.connect();
    client.write_all(&LINE[..10]).unwrap();
    let mut check = server.connect();
    check.write_all(LOCAL).unwrap();
    // When this one is greeted, the server has read the header of the health check.
    let mut early = server.connect();
    early.write_all(LINE).unwrap();
    early.read_exact(&mut [0]).unwrap();
    let Proxied { running, reports } = server;
    let addr = running.local_addr();
    let stopping = thread::spawn(move || running.stop().unwrap());
    let closed = wait_until(DEADLINE, || TcpStream::connect(addr).is_err().then_some(()));
    closed.expect("the server still accepts clients");
    assert_refused(check);
    client.write_all(&LINE[10..]).unwrap();
    for client in [&mut client, &mut early] {
        assert!(read_all(client).ends_with(b"BYE\n"));
    }
    drop((client, early));
    stopping.join().unwrap();
    let reports: Vec<String> = reports.into_iter().collect();
    let is_client = |report: &String| report.starts_with(CLIENT);
    assert!(reports.len() == 2 && reports.iter().all(is_client), "{reports:?}");
}

/// What an observer is called with.
struct Recorder(std::sync::mpsc::Sender<String>);

impl Observer for Recorder {
    fn opened(&mut self, _: usize, local: SocketAddr, peer: SocketAddr) {
        let _ = self.0.send(format!("{peer} to {local}"));
    }

    fn moved(&mut self, _: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        if !bytes.is_empty() {
            let _ = self.0.send(format!("{peer} {direction:?} {}", bytes.escape_ascii()));
        }
    }
}

#[test]
fn an_observer_sees_the_client_and_not_the_header() {
    for header in [LINE, BINARY] {
        let (record, records) = channel();
        let server =
            start(echo::Service::new(), limits(DEADLINE), Some(Box::new(Recorder(record))));
        // A health check is not seen.
        drop(server.connect());
        let mut client = server.connect();
        client.write_all(&[header, &message(b"0123456789x")].concat()).unwrap();
        assert_eq!(read(&mut client), *b"\0\0\0\x01x");
        drop(client);
        assert!(server.report().starts_with(CLIENT));
        server.finish();
        assert_eq!(
            records.into_iter().collect::<Vec<_>>(),
            [
                "192.0.2.1:56324 to 192.0.2.9:443",
                r"192.0.2.1:56324 Received \x00\x00\x00\x0b0123456789x",
                r"192.0.2.1:56324 Sent \x00\x00\x00\x01x",
            ]
        );
    }
}

#[test]
fn a_session_is_done_when_the_balancer_has_the_last_bytes_and_not_before() {
    // The system is asked about the connection to the balancer, not about one to the client.
    let server = start(
        socklab::math::Service::new(socklab::math::Options {
            rounds: (0, 0),
            ..Default::default()
        }),
        limits(DEADLINE),
        None,
    );
    let mut client = server.connect();
    client.write_all(LINE).unwrap();
    let mut secret = [0; 9];
    client.read_exact(&mut secret).unwrap();
    // The client keeps the connection open.
    assert_eq!(server.report(), format!("{CLIENT}: 0/0 correct, secret sent"));
    drop(client);
    server.finish();
}
