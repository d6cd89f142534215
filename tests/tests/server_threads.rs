//! Servers with several threads: limits, counts, seeds and stops mean what they mean with one thread.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use socklab::echo;
use socklab::net::{
    Direction, Ended, Limits, Observer, ParallelService, Running, Server, ServerControl, Service,
};
use socklab_core::echo::server;
use socklab_tests::program::{DEADLINE, message, read, wait_until};

/// An echo service that reports which thread served a session, and may panic or end the server.
#[derive(Clone)]
struct Echo {
    inner: echo::Service,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
    /// Thread of each session, in the order of their starts.
    opened: Arc<Mutex<Vec<ThreadId>>>,
    clients: Option<u32>,
    control: ServerControl,
}

struct Report {
    peer: SocketAddr,
    thread: ThreadId,
    ended: Ended<server::Error>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.peer, self.ended)
    }
}

impl Echo {
    fn new() -> Self {
        Self {
            inner: echo::Service::new(),
            open: Arc::default(),
            most_open: Arc::default(),
            opened: Arc::default(),
            clients: None,
            control: ServerControl::Serve,
        }
    }
}

impl Service for Echo {
    type Machine = server::Server;
    type State = echo::Counts;
    type Report = Report;

    fn open(&mut self) -> (server::Server, echo::Counts) {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        self.opened.lock().unwrap().push(thread::current().id());
        self.inner.open()
    }

    fn event(&mut self, counts: &mut echo::Counts, event: server::Event) {
        match event {
            server::Event::Echoed { length: 13 } => panic!("a message of 13 bytes"),
            server::Event::Echoed { length: 14 } => self.control = ServerControl::Last,
            server::Event::Echoed { length: 15 } => self.control = ServerControl::Quit,
            server::Event::Echoed { .. } => {}
        }
        self.inner.event(counts, event);
    }

    fn command(&mut self, counts: &mut echo::Counts) -> Option<server::Command> {
        self.inner.command(counts)
    }

    fn control(&self) -> ServerControl {
        self.control
    }

    fn finish(&mut self) -> Option<server::Command> {
        self.inner.finish()
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server,
        _: &mut echo::Counts,
        ended: Ended<server::Error>,
    ) -> Report {
        self.open.fetch_sub(1, Ordering::SeqCst);
        Report { peer, thread: thread::current().id(), ended }
    }
}

impl ParallelService for Echo {
    fn fork(&self) -> Self {
        self.clone()
    }

    fn clients(&self) -> Option<u32> {
        self.clients
    }
}

/// How the clients reach the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As on this system.
    Default,
    /// By one thread that accepts all.
    OneListener,
}

const WAYS: [Way; 2] = [Way::Default, Way::OneListener];

/// Binds a server with that number of threads.
fn bind(service: Echo, threads: usize, way: Way) -> (Server<Echo>, Receiver<Report>) {
    let threads = NonZeroUsize::new(threads).unwrap();
    let server = Server::bind_threads("127.0.0.1:0", threads, service).unwrap();
    let server = if way == Way::OneListener { server.one_listener() } else { server };
    let (end, ended) = channel();
    (server.on_report(move |report| drop(end.send(report))), ended)
}

fn start(service: Echo, threads: usize, way: Way) -> (Running, Receiver<Report>) {
    let (server, ended) = bind(service, threads, way);
    (server.start().unwrap(), ended)
}

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.local_addr()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a message of this length. Returns whether its reply comes.
fn try_echo(stream: &mut TcpStream, length: usize) -> bool {
    let mut reply = vec![0; 4 + length - 10];
    stream.write_all(&message(&vec![b'x'; length])).is_ok() && stream.read_exact(&mut reply).is_ok()
}

#[track_caller]
fn echo(stream: &mut TcpStream) {
    assert!(try_echo(stream, 12), "no reply");
}

/// Returns clients that have received a reply, each connected after the one before has.
fn clients(running: &Running, count: usize) -> Vec<TcpStream> {
    let client = |_| {
        let mut client = connect(running);
        echo(&mut client);
        client
    };
    (0..count).map(client).collect()
}

/// Returns the reports of these clients. Others may have come while the server stopped.
fn reports_of(clients: &[SocketAddr], reports: impl Iterator<Item = Report>) -> Vec<Report> {
    reports.filter(|report| clients.contains(&report.peer)).collect()
}

fn addresses(clients: &[TcpStream]) -> Vec<SocketAddr> {
    clients.iter().map(|client| client.local_addr().unwrap()).collect()
}

fn next<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(DEADLINE).expect("no message in time")
}

#[test]
fn few_clients_are_distributed_evenly_over_the_threads() {
    for way in WAYS {
        let (running, ended) = start(Echo::new(), 3, way);
        drop(clients(&running, 9));
        let mut served = HashMap::new();
        for _ in 0..9 {
            *served.entry(next(&ended).thread).or_insert(0) += 1;
        }
        assert_eq!(served.into_values().collect::<Vec<_>>(), [3, 3, 3], "{way:?}");
        running.stop().unwrap();
    }
}

#[test]
fn a_thread_whose_clients_have_left_gets_the_next_ones() {
    for way in WAYS {
        let service = Echo::new();
        let opened = Arc::clone(&service.opened);
        let (server, _reports) = bind(service, 2, way);
        let (checker, ended) = Checker::new();
        let running = server.observer(Some(Box::new(checker))).start().unwrap();
        let first = clients(&running, 6);
        let threads = opened.lock().unwrap().clone();
        let (left, kept): (Vec<_>, Vec<_>) =
            first.into_iter().zip(&threads).partition(|(_, thread)| **thread == threads[0]);
        assert_eq!((left.len(), kept.len()), (3, 3), "{way:?}");
        drop(left);
        for _ in 0..3 {
            next(&ended);
        }
        drop((clients(&running, 3), kept));
        assert_eq!(opened.lock().unwrap()[6..], [threads[0]; 3], "{way:?}");
        running.stop().unwrap();
    }
}

#[test]
fn the_limit_of_clients_is_that_of_all_threads_and_starves_none() {
    for way in WAYS {
        for limit in [1, 3] {
            let service = Echo::new();
            let most_open = Arc::clone(&service.most_open);
            let (server, ended) = bind(service, 4, way);
            let limits = Limits { clients: limit, ..Limits::default() };
            let running = server.limits(limits).start().unwrap();
            let addr = running.local_addr();
            let sessions = thread::scope(|scope| {
                // More clients than places at any time, wherever their connections wait.
                let client = |_| {
                    for _ in 0..20 {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        stream.set_read_timeout(Some(DEADLINE)).unwrap();
                        echo(&mut stream);
                    }
                    20
                };
                let clients: Vec<_> = (0..16).map(|n| scope.spawn(move || client(n))).collect();
                clients.into_iter().map(|client| client.join().unwrap()).sum()
            });
            let ended: Vec<Report> = ended.iter().take(sessions).collect();
            assert!(ended.iter().all(|report| report.ended == Ended::Done), "{way:?}");
            let most = most_open.load(Ordering::SeqCst);
            assert!((1..=limit).contains(&most), "{most} of {limit}, {way:?}");
            running.stop().unwrap();
        }
    }
}

#[test]
fn exactly_the_given_number_of_clients_is_served() {
    for way in WAYS {
        for _ in 0..10 {
            let service = Echo { clients: Some(20), ..Echo::new() };
            let (server, ended) = bind(service, 3, way);
            let addr = server.local_addr();
            let running = server.start().unwrap();
            let served = thread::scope(|scope| {
                let client = || {
                    // The listener may be closed already.
                    TcpStream::connect(addr).is_ok_and(|mut stream| {
                        stream.set_read_timeout(Some(DEADLINE)).unwrap();
                        try_echo(&mut stream, 12)
                    })
                };
                let clients: Vec<_> = (0..30).map(|_| scope.spawn(client)).collect();
                clients.into_iter().filter_map(|client| client.join().ok()).filter(|ok| *ok).count()
            });
            // The server has ended by itself, so the channel is closed.
            assert_eq!((served, ended.iter().count()), (20, 20), "{way:?}");
            running.stop().unwrap();
        }
    }
}

#[test]
fn no_client_is_lost_if_exactly_the_given_number_connects() {
    for _ in 0..10 {
        let service = Echo { clients: Some(24), ..Echo::new() };
        let (running, ended) = start(service, 4, Way::Default);
        thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| echo(&mut connect(&running)));
            }
        });
        assert_eq!(ended.iter().filter(|report| report.ended == Ended::Done).count(), 24);
        running.stop().unwrap();
    }
}

#[test]
fn a_control_of_one_thread_is_that_of_the_server() {
    for (length, way) in WAYS.into_iter().flat_map(|way| [(14, way), (15, way)]) {
        let (server, ended) = bind(Echo::new(), 3, way);
        let addr = server.local_addr();
        let running = server.start().unwrap();
        let mut streams = clients(&running, 6);
        assert!(try_echo(&mut streams[4], length) || length == 15);
        // No thread accepts clients any more.
        let refused = || TcpStream::connect(addr).is_err().then_some(());
        wait_until(DEADLINE, refused).expect("the listeners are closed");
        if length == 14 {
            // The others are served until they leave.
            streams.iter_mut().for_each(echo);
        }
        let peers = addresses(&streams);
        drop(streams);
        assert_eq!(reports_of(&peers, ended.iter()).len(), 6, "{way:?}");
        running.stop().unwrap();
    }
}

#[test]
fn a_thread_that_panics_ends_the_server_and_this_is_reported() {
    for way in WAYS {
        for victim in 0..3 {
            let (running, ended) = start(Echo::new(), 3, way);
            let mut streams = clients(&running, 6);
            assert!(!try_echo(&mut streams[victim], 13));
            // The sessions of the thread that panicked cannot be reported.
            assert_eq!(ended.iter().count(), 4);
            let error = running.stop().unwrap_err().to_string();
            assert!(error.ends_with("thread panicked") || error.contains("a thread of"), "{error}");
        }
    }
}

/// An observer that checks the order of what it gets.
struct Checker {
    open: HashMap<usize, SocketAddr>,
    ended: Sender<SocketAddr>,
    moved: Arc<AtomicUsize>,
    /// Number of calls of `moved` after which it is not ready, until it is resumed.
    ready_for: usize,
    is_resumed: Arc<AtomicBool>,
}

impl Checker {
    /// Returns an observer that is always ready, and the ends of the connections.
    fn new() -> (Self, Receiver<SocketAddr>) {
        let (ended, ends) = channel();
        let (open, moved, is_resumed) = (HashMap::new(), Arc::default(), Arc::default());
        (Self { open, ended, moved, ready_for: usize::MAX, is_resumed }, ends)
    }
}

impl Observer for Checker {
    fn opened(&mut self, connection: usize, _: SocketAddr, peer: SocketAddr) {
        let before = self.open.insert(connection, peer);
        assert_eq!(before, None, "two connections with one number");
    }

    fn moved(&mut self, connection: usize, peer: SocketAddr, _: Direction, _: &[u8]) {
        assert_eq!(self.open[&connection], peer);
        self.moved.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&mut self, connection: usize, peer: SocketAddr, _: Option<Direction>) {
        assert_eq!(self.open.remove(&connection), Some(peer));
        let _ = self.ended.send(peer);
    }

    fn is_ready(&self) -> bool {
        self.is_resumed.load(Ordering::SeqCst) || self.moved.load(Ordering::SeqCst) < self.ready_for
    }
}

#[test]
fn an_observer_distinguishes_the_connections_of_all_threads() {
    for way in WAYS {
        let (server, reports) = bind(Echo::new(), 3, way);
        let (checker, ends) = Checker::new();
        let moved = Arc::clone(&checker.moved);
        let running = server.observer(Some(Box::new(checker))).start().unwrap();
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        echo(&mut connect(&running));
                    }
                });
            }
        });
        running.stop().unwrap();
        let peers = |ended: Vec<SocketAddr>| ended.into_iter().collect::<HashSet<_>>();
        let observed: Vec<_> = ends.iter().collect();
        assert_eq!(observed.len(), 200);
        assert_eq!(peers(observed), peers(reports.iter().map(|report| report.peer).collect()));
        // Each message and its reply.
        assert!(moved.load(Ordering::SeqCst) >= 400);
    }
}

#[test]
fn all_threads_wait_for_the_observer() {
    for way in WAYS {
        let (server, _reports) = bind(Echo::new(), 2, way);
        let (checker, _ends) = Checker::new();
        let moved = Arc::clone(&checker.moved);
        let count = || moved.load(Ordering::SeqCst);
        let is_resumed = Arc::clone(&checker.is_resumed);
        // Four messages and their replies.
        let checker = Checker { ready_for: 8, ..checker };
        let server = server.observer(Some(Box::new(checker)));
        let resume = server.resumer();
        let running = server.start().unwrap();
        let mut streams = clients(&running, 4);
        // A reply is observed after it has been sent.
        wait_until(DEADLINE, || (count() == 8).then_some(())).expect("the last reply");
        for stream in &mut streams {
            stream.write_all(&message(b"0123456789ab")).unwrap();
        }
        // One that is not accepted, or that is handed over and waits there.
        let mut late = connect(&running);
        late.write_all(&message(b"0123456789ab")).unwrap();
        let moves = wait_until(DEADLINE / 100, || (count() > 8).then_some(()));
        assert!(moves.is_none(), "{way:?}");
        is_resumed.store(true, Ordering::SeqCst);
        resume();
        for stream in streams.iter_mut().chain([&mut late]) {
            assert_eq!(read(stream), *b"\0\0\0\x02ab");
        }
        drop((streams, late));
        running.stop().unwrap();
    }
}

#[test]
fn a_stop_serves_the_backlog_of_every_thread_and_reports_each_session_once() {
    for way in WAYS {
        for _ in 0..5 {
            let (server, ended) = bind(Echo::new(), 3, way);
            let (stopper, addr) = (server.stopper(), server.local_addr());
            let running = server.start().unwrap();
            let peers = Mutex::new(HashSet::new());
            thread::scope(|scope| {
                for n in 0..12 {
                    let (peers, stopper) = (&peers, &stopper);
                    scope.spawn(move || {
                        for session in 0.. {
                            let Ok(mut stream) = TcpStream::connect(addr) else { return };
                            stream.set_read_timeout(Some(DEADLINE)).unwrap();
                            let peer = stream.local_addr().unwrap();
                            if n == 0 && session == 10 {
                                stopper.stop();
                            }
                            if try_echo(&mut stream, 12) {
                                assert!(peers.lock().unwrap().insert(peer));
                            }
                        }
                    });
                }
            });
            let reported: Vec<_> = ended.iter().map(|report| report.peer).collect();
            let unique: HashSet<_> = reported.iter().copied().collect();
            assert_eq!(unique.len(), reported.len(), "a session was reported twice");
            let served = peers.into_inner().unwrap();
            assert!(served.is_subset(&unique), "a session was not reported");
            assert!(served.len() > 10);
            running.stop().unwrap();
        }
    }
}

#[test]
fn a_second_call_of_stop_does_not_wait_on_any_thread() {
    for way in WAYS {
        let (server, ended) = bind(Echo::new(), 3, way);
        let stopper = server.stopper();
        let limits = Limits { grace: DEADLINE * 10, ..Limits::default() };
        let running = server.limits(limits).start().unwrap();
        let mut streams = clients(&running, 6);
        for stream in &mut streams {
            // The server has read the start of a message, and waits for the rest of it.
            stream.write_all(b"\0\0\0\x200123456789a").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
        }
        stopper.stop();
        let refused = || TcpStream::connect(running.local_addr()).is_err().then_some(());
        wait_until(DEADLINE, refused).expect("the listeners are closed");
        let peers = addresses(&streams);
        assert_eq!(reports_of(&peers, ended.try_iter()).len(), 0);
        stopper.stop();
        let reports = reports_of(&peers, ended.iter());
        assert_eq!(reports.len(), 6);
        assert!(reports.iter().all(|report| report.ended == Ended::Stopped));
        running.stop().unwrap();
    }
}

#[test]
fn another_server_cannot_share_the_port() {
    let one = NonZeroUsize::MIN;
    let two = NonZeroUsize::new(2).unwrap();
    for (first, second) in [(one, two), (two, one), (two, two)] {
        let running = Server::bind_threads("127.0.0.1:0", first, Echo::new()).unwrap();
        let running = running.start().unwrap();
        // All threads listen.
        let streams = clients(&running, 4);
        let addr = running.local_addr();
        let refused = Server::bind_threads(addr, second, Echo::new()).err().expect("refused");
        assert!(refused.to_string().contains("give another port"), "{refused}");
        drop(streams);
        running.stop().unwrap();
        Server::bind_threads(addr, second, Echo::new()).expect("the address is released");
    }
}
