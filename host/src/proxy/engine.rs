//! The event loop of the proxy: events, new clients, connecting, timers, idle connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use super::connection::{Context, Pair, SCRATCH, SMALL_READ, Turn};
use super::{Connection, Ended, Event, Limits, Observer};
use crate::faults::Faults;
use crate::net::{ACCEPTS, Acceptor, Clients, MioListener, reason, timeout_text};
use crate::sys::extra::net::SocketQueues;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Number of bytes kept by all connections together, above which reads are small.
const KEPT_MAX: usize = 64 * 1024 * 1024;
/// Shortest and longest interval between checks for idle connections.
const IDLE_CHECK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Odd factor that makes the seed of a connection from its number.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) struct Engine {
    poll: Poll,
    acceptor: Acceptor<MioListener>,
    /// Keeps a descriptor for the connection to the server: a client that takes the last one could not be served.
    spare: Option<Socket>,
    pub(super) targets: Vec<SocketAddr>,
    /// Index of the address that is tried first.
    preferred: usize,
    pairs: Slab<Pair>,
    again: VecDeque<usize>,
    /// Times at which connections have a turn, with their keys and numbers.
    timers: BinaryHeap<Reverse<(Duration, usize, u64)>>,
    scratch: Box<[u8]>,
    /// Maximum size of a read that all observers accept.
    read_max: usize,
    /// Number of bytes that all connections keep.
    kept: usize,
    /// Queries of what is acknowledged, since the first use.
    queues: Option<SocketQueues>,
    faults: [Faults; 2],
    seed: u64,
    /// Number of connections that have been accepted.
    count: u64,
    pub(super) limits: Limits,
    pub(super) observers: Vec<Box<dyn Observer>>,
    start: Instant,
    /// Time since the start, updated once in each round.
    now: Duration,
    /// Whether the observers can take more bytes, in this round.
    is_ready: bool,
}

/// Returns the tokens of the two sockets of a connection.
fn tokens(key: usize) -> [Token; 2] {
    [Token(key * 2), Token(key * 2 + 1)]
}

impl Engine {
    pub(super) fn new(
        listener: TcpListener,
        targets: Vec<SocketAddr>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let acceptor = Acceptor::new(Some(MioListener::new(listener, poll.registry(), LISTENER)?));
        let engine = Self {
            poll,
            acceptor,
            spare: None,
            targets,
            preferred: 0,
            pairs: Slab::new(),
            again: VecDeque::new(),
            timers: BinaryHeap::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            read_max: SCRATCH,
            kept: 0,
            queues: None,
            faults: [Faults::default(); 2],
            seed: 0,
            count: 0,
            limits: Limits::default(),
            observers: Vec::new(),
            start: Instant::now(),
            now: Duration::ZERO,
            is_ready: true,
        };
        Ok((engine, waker))
    }

    pub(super) fn set_faults(&mut self, up: Faults, down: Faults, seed: u64) {
        (self.faults, self.seed) = ([up, down], seed);
    }

    /// Serves until a stop is requested and the last connection has ended. `stops` is the number of stop requests.
    pub(super) fn run(&mut self, stops: &AtomicU32) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut idle_checked = Duration::ZERO;
        let mut stopped_at = None;
        let read_max = self.observers.iter().map(|observer| observer.read_max()).min();
        self.read_max = read_max.unwrap_or(SCRATCH).max(1);
        log::debug!(
            "connecting: {}; idle connections: {}; at most {} clients",
            timeout_text(self.limits.connect),
            timeout_text(self.limits.idle),
            self.limits.clients
        );
        loop {
            let pause = self.poll_timeout(idle_checked, stopped_at);
            match self.poll.poll(&mut events, pause) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            self.now = self.start.elapsed();
            self.is_ready = self.observers.iter().all(|observer| observer.is_ready());
            for event in &events {
                match event.token() {
                    LISTENER => self.acceptor.wake(self.limits.clients),
                    WAKER => {}
                    Token(token) => {
                        let key = token / 2;
                        if let Some(pair) = self.pairs.get_mut(key) {
                            pair.wake(token % 2, event);
                            if !pair.is_queued {
                                self.turn(key);
                            }
                        }
                    }
                }
            }
            // Only after the events: a new client must not get a key that a later event of this batch refers to.
            self.accept();
            if self.is_ready {
                for _ in 0..self.again.len() {
                    let Some(key) = self.again.pop_front() else { break };
                    if let Some(pair) = self.pairs.get_mut(key) {
                        pair.is_queued = false;
                        self.turn(key);
                    }
                }
            }
            self.fire_timers();
            if self.now >= idle_checked + self.idle_interval() {
                idle_checked = self.now;
                self.end_idle();
            }
            let stops = stops.load(Ordering::Acquire);
            if stops > 0 {
                let is_new = stopped_at.is_none();
                let since = *stopped_at.get_or_insert(self.now);
                self.acceptor.close();
                if is_new && stops == 1 && !self.pairs.is_empty() {
                    for observer in &mut self.observers {
                        observer.stopping(self.pairs.len(), self.limits.grace);
                    }
                }
                if stops > 1 || self.now - since >= self.limits.grace {
                    self.end_all();
                }
                if self.pairs.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Returns the timeout for the poll.
    fn poll_timeout(&self, idle_checked: Duration, stopped: Option<Duration>) -> Option<Duration> {
        if (self.is_ready && !self.again.is_empty()) || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let has_limit = self.limits.idle.is_some() && !self.pairs.is_empty();
        let due = [
            self.acceptor.retry_at(),
            self.timers.peek().map(|Reverse((due, ..))| *due),
            has_limit.then(|| idle_checked + self.idle_interval()),
            stopped.map(|at| at.saturating_add(self.limits.grace)),
        ];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_sub(self.start.elapsed()))
    }

    fn idle_interval(&self) -> Duration {
        let idle = self.limits.idle;
        idle.map_or(IDLE_CHECK.1, |limit| (limit / 4).clamp(IDLE_CHECK.0, IDLE_CHECK.1))
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let clients = Clients { count: self.pairs.len(), limit: self.limits.clients };
            let is_due = self.acceptor.retry_at().is_some_and(|at| at <= self.now);
            if self.spare.is_none() && (is_due || self.acceptor.is_ready()) {
                match Socket::new(Domain::IPV4, Type::STREAM, None) {
                    Ok(socket) => self.spare = Some(socket),
                    Err(e) => self.acceptor.starve(self.now, &e),
                }
            }
            let Some((stream, peer)) = self.acceptor.accept(self.now, clients) else {
                return;
            };
            self.open(stream, peer);
        }
    }

    /// Accepts a client and starts to connect to the server.
    fn open(&mut self, client: TcpStream, peer: SocketAddr) {
        self.count += 1;
        let target = self.preferred;
        let info = Connection {
            number: self.count,
            client: peer,
            server: self.targets[target],
            up: 0,
            down: 0,
        };
        self.observe(&info, &Event::Opened);
        let mut stream = self.connect(info.server);
        let mut tried = target;
        // An address of a family that the system lacks fails at once.
        while let Err(e) = &stream
            && self.following(tried) != target
        {
            self.observe(&info, &Event::Retried(self.targets[tried], e));
            tried = self.following(tried);
            stream = self.connect(self.targets[tried]);
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(e) => {
                let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                drop(client);
                let info = Connection { server: self.targets[tried], ..info };
                self.observe(&info, &Event::Ended(&Ended::Unreachable(e)));
                return;
            }
        };
        let info = Connection { server: self.targets[tried], ..info };
        let seed = self.seed.wrapping_add(self.count.wrapping_mul(SEED_STEP));
        let streams = (client, stream);
        let pair = Pair::new(info, streams, (tried, target), &self.faults, seed, self.now);
        let key = self.pairs.insert(pair);
        if let Some(limit) = self.limits.connect {
            self.timers.push(Reverse((self.now.saturating_add(limit), key, info.number)));
        }
        if let Err(e) = self.pairs[key].register(self.poll.registry(), tokens(key)) {
            self.remove(key, &Ended::Unreachable(e));
        }
    }

    /// Starts to connect, with the spare descriptor if this was the last one.
    fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(to);
        if stream.is_ok() || self.spare.take().is_none() {
            return stream;
        }
        TcpStream::connect(to)
    }

    fn following(&self, target: usize) -> usize {
        (target + 1) % self.targets.len()
    }

    fn observe(&mut self, info: &Connection, event: &Event<'_>) {
        for observer in &mut self.observers {
            observer.observe(info, event);
        }
    }

    /// Runs one turn of a connection and applies its result.
    fn turn(&mut self, key: usize) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        let mut context = Context {
            now: self.now,
            scratch: &mut self.scratch,
            observers: &mut self.observers,
            read_max: if self.kept > KEPT_MAX { SMALL_READ } else { SCRATCH }.min(self.read_max),
            may_read: self.is_ready,
            queues: &mut self.queues,
        };
        if pair.is_connecting() {
            match pair.connected() {
                None => return,
                Some(((target, _), Ok(()))) => {
                    self.preferred = target;
                    pair.open(&mut context);
                }
                Some((targets, Err(e))) => {
                    self.connect_next(key, targets, e);
                    return;
                }
            }
        }
        let before = pair.kept();
        let turn = pair.turn(&mut context);
        self.kept = self.kept + pair.kept() - before;
        if let Turn::End(ended) = turn {
            self.remove(key, &ended);
            return;
        }
        if let Err(e) = pair.update_interest(self.poll.registry(), tokens(key)) {
            log::warn!(
                "{}: cannot register the connection for events: {}",
                pair.info.client,
                reason(&e)
            );
        }
        if let Some(due) = pair.new_timer(self.now) {
            self.timers.push(Reverse((due, key, pair.info.number)));
        }
        if matches!(turn, Turn::Again) && !pair.is_queued {
            pair.is_queued = true;
            self.again.push_back(key);
        }
        // Observers may have become full.
        self.is_ready = self.is_ready && self.observers.iter().all(|observer| observer.is_ready());
    }

    /// Connects to the address after `failed`, or ends the connection.
    fn connect_next(&mut self, key: usize, (failed, first): (usize, usize), e: io::Error) {
        let next = self.following(failed);
        let server = self.targets[next];
        let Some(Pair { info, .. }) = self.pairs.get(key) else { return };
        log::debug!("{}: connecting to {} failed: {}", info.client, info.server, reason(&e));
        if next != first {
            let info = *info;
            self.observe(&info, &Event::Retried(info.server, &e));
        }
        let stream = if next == first { Err(e) } else { self.connect(server) };
        let result = stream.and_then(|stream| {
            let registry = self.poll.registry();
            let pair = &mut self.pairs[key];
            pair.replace_server(stream, ((next, first), server), registry, tokens(key)[1])
        });
        if let Err(e) = result {
            self.remove(key, &Ended::Unreachable(e));
        }
    }

    fn fire_timers(&mut self) {
        while let Some(Reverse((due, key, number))) = self.timers.peek().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop();
            // The connection may have ended, and another one may have its key.
            let Some(pair) = self.pairs.get(key).filter(|pair| pair.info.number == number) else {
                continue;
            };
            let limit = self.limits.connect.unwrap_or(Duration::MAX);
            if pair.is_connecting() && self.now - pair.progress >= limit {
                let e = io::Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}"));
                self.remove(key, &Ended::Unreachable(e));
            } else if !pair.is_queued {
                self.turn(key);
            }
        }
    }

    /// Ends the connections on which neither side makes progress.
    fn end_idle(&mut self) {
        // While the observers are not ready, nothing can move.
        let Some(limit) = self.limits.idle.filter(|_| self.is_ready) else { return };
        let pairs = self.pairs.iter();
        let expired = pairs.filter(|(_, p)| !p.is_connecting() && self.now - p.progress >= limit);
        for key in expired.map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove(key, &Ended::TimedOut);
        }
    }

    /// Removes a connection, and reports its end.
    fn remove(&mut self, key: usize, ended: &Ended) {
        let pair = self.pairs.remove(key);
        if pair.is_queued {
            // Otherwise the next connection with this key would get an extra turn.
            self.again.retain(|queued| *queued != key);
        }
        self.acceptor.freed(self.now);
        self.kept -= pair.kept();
        pair.end(ended);
        let info = pair.info;
        let unflipped: Vec<_> = pair.unflipped().collect();
        // Closed first: who reads of the end may rely on it.
        drop(pair);
        if !matches!(ended, Ended::Unreachable(_)) {
            for (flow, offset) in unflipped {
                self.observe(&info, &Event::Unflipped(flow, offset));
            }
        }
        self.observe(&info, &Event::Ended(ended));
    }

    fn end_all(&mut self) {
        let keys: Vec<usize> = self.pairs.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key, &Ended::Stopped);
        }
    }
}
