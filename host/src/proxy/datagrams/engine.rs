//! The event loop of the proxy for datagrams: receiving, sending, timers, idle clients.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::super::Flow;
use super::{Client, Ended, Event, Limits, Observer, Passage, Totals, Traffic, connect};
use crate::faults::datagrams::{Departure, Fate, Faults, RECORD, Schedule, Step};
use crate::net::{reason, unmapped};

const SOCKET: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Size of the buffer: one byte more than the longest datagram, of IPv6, so that none is cut.
const BUFFER: usize = 65_535 + 1;
/// Number of datagrams received from one socket in a turn. It is limited so that a flood does not delay the others.
const RECEIVES: usize = 64;
/// Number of bytes kept for all clients together. What arrives while there are more is dropped.
const KEPT_MAX: usize = 64 * 1024 * 1024;
/// Shortest time between two warnings about clients that got no socket.
const WARNING: Duration = Duration::from_secs(10);
/// Odd factor that makes the seed of a client from its number.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Key of a client, and its number: another client may have the key later.
type Key = (usize, u64);

pub(super) struct Engine {
    poll: Poll,
    /// Socket of all clients.
    socket: UdpSocket,
    /// Whether it may have a datagram.
    is_readable: bool,
    pub(super) targets: Vec<SocketAddr>,
    /// Index of the address that is tried first.
    preferred: usize,
    sessions: Slab<Session>,
    keys: HashMap<SocketAddr, usize>,
    /// Each client once, with a time at which or after which it was active last.
    ages: BinaryHeap<Reverse<(Duration, Key)>>,
    /// Times at which clients have something to send.
    timers: BinaryHeap<Reverse<(Duration, Key, usize)>>,
    /// Clients whose sockets may have a datagram.
    readable: VecDeque<Key>,
    buffer: Box<[u8]>,
    /// Number of bytes kept for all clients.
    kept: usize,
    faults: [Faults; 2],
    seed: u64,
    /// Traffic of the clients that are forgotten, and the number of all.
    totals: Totals,
    /// Number of datagrams dropped since the last warning because the client got no socket, and the time of it.
    refused: (u64, Option<Duration>),
    pub(super) limits: Limits,
    pub(super) observers: Vec<Box<dyn Observer>>,
    start: Instant,
    /// Time since the start, updated once in each round.
    now: Duration,
}

/// A client.
struct Session {
    info: Client,
    /// Address of the client as the system needs it.
    addr: SocketAddr,
    /// Socket towards the server.
    socket: UdpSocket,
    lanes: [Lane; 2],
    /// Time of the last datagram.
    active: Duration,
    /// Whether it is in the queue of the readable ones.
    is_queued: bool,
    /// The server's address in use. `None` once the server has answered: then it stays.
    trial: Option<Trial>,
}

/// Search for an address at which the server answers.
struct Trial {
    target: usize,
    /// Number of addresses that were unreachable since the client's last datagram.
    failed: usize,
    /// The client's last datagram, for the next address.
    last: Vec<u8>,
}

/// One direction.
struct Lane {
    schedule: Option<Box<Schedule<Kept>>>,
    /// Time at which the engine looks at the schedule.
    timer: Option<Duration>,
}

/// A datagram in a schedule.
struct Kept {
    bytes: Box<[u8]>,
    /// Time of its arrival.
    time: Duration,
}

impl Session {
    fn traffic(&mut self, flow: Flow) -> &mut Traffic {
        match flow {
            Flow::Up => &mut self.info.up,
            Flow::Down => &mut self.info.down,
        }
    }

    fn kept(&self) -> usize {
        let schedules = self.lanes.iter().filter_map(|lane| lane.schedule.as_ref());
        schedules.map(|schedule| schedule.kept_bytes()).sum()
    }

    fn is_idle(&self) -> bool {
        let mut schedules = self.lanes.iter().filter_map(|lane| lane.schedule.as_ref());
        schedules.all(|schedule| schedule.is_empty())
    }
}

impl Engine {
    pub(super) fn new(
        mut socket: UdpSocket,
        targets: Vec<SocketAddr>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let engine = Self {
            poll,
            socket,
            is_readable: true,
            targets,
            preferred: 0,
            sessions: Slab::new(),
            keys: HashMap::new(),
            ages: BinaryHeap::new(),
            timers: BinaryHeap::new(),
            readable: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            kept: 0,
            faults: [Faults::default(); 2],
            seed: 0,
            totals: Totals::default(),
            refused: (0, None),
            limits: Limits::default(),
            observers: Vec::new(),
            start: Instant::now(),
            now: Duration::ZERO,
        };
        Ok((engine, waker))
    }

    pub(super) fn set_faults(&mut self, up: Faults, down: Faults, seed: u64) {
        (self.faults, self.seed) = ([up, down], seed);
    }

    /// Serves until a stop is requested. `stops` is the number of stop requests.
    pub(super) fn run(&mut self, stops: &AtomicU32) -> io::Result<Totals> {
        let mut events = Events::with_capacity(1024);
        loop {
            let is_ready = self.observers.iter().all(|observer| observer.is_ready());
            let pause = self.poll_timeout(is_ready);
            match self.poll.poll(&mut events, pause) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            self.now = self.start.elapsed();
            for event in &events {
                match event.token() {
                    SOCKET => self.is_readable = true,
                    WAKER => {}
                    Token(key) => self.enqueue(key),
                }
            }
            if stops.load(Ordering::Acquire) > 0 {
                let keys: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.remove(key, Ended::Stopped);
                }
                return Ok(self.totals);
            }
            if self.observers.iter().all(|observer| observer.is_ready()) {
                let mut buffer = std::mem::take(&mut self.buffer);
                self.receive_from_clients(&mut buffer);
                for _ in 0..self.readable.len() {
                    let Some((key, number)) = self.readable.pop_front() else { break };
                    if self.is_current((key, number)) {
                        self.sessions[key].is_queued = false;
                        self.receive_from_server(key, &mut buffer);
                    }
                }
                self.buffer = buffer;
            }
            self.fire_timers();
            self.forget_idle();
        }
    }

    /// Returns the timeout for the poll.
    fn poll_timeout(&self, is_ready: bool) -> Option<Duration> {
        if is_ready && (self.is_readable || !self.readable.is_empty()) {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.peek().map(|Reverse((due, ..))| *due);
        let oldest = self.ages.peek().map(|Reverse((time, _))| *time);
        let idle = self.limits.idle.zip(oldest).map(|(idle, oldest)| oldest.saturating_add(idle));
        let due = timer.into_iter().chain(idle).min()?;
        Some(due.saturating_sub(self.start.elapsed()))
    }

    fn is_current(&self, (key, number): Key) -> bool {
        self.sessions.get(key).is_some_and(|session| session.info.number == number)
    }

    fn observe(&mut self, key: usize, event: &Event<'_>) {
        let Some(session) = self.sessions.get(key) else { return };
        for observer in &mut self.observers {
            observer.observe(&session.info, event);
        }
    }

    fn enqueue(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.is_queued {
            session.is_queued = true;
            self.readable.push_back((key, session.info.number));
        }
    }

    fn receive_from_clients(&mut self, buffer: &mut [u8]) {
        for _ in 0..RECEIVES {
            if !self.is_readable {
                return;
            }
            match self.socket.recv_from(buffer) {
                Ok((n, from)) => {
                    if let Some(key) = self.session(from) {
                        self.arrive(key, Flow::Up, &buffer[..n]);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                // Windows reports here that a reply did not reach a client, but not which.
                Err(e) if e.kind() == ErrorKind::Interrupted || is_unreachable(&e) => {}
                Err(e) => {
                    log::debug!("receiving from clients: {}", reason(&e));
                    self.is_readable = false;
                }
            }
        }
    }

    fn receive_from_server(&mut self, key: usize, buffer: &mut [u8]) {
        for _ in 0..RECEIVES {
            let Some(session) = self.sessions.get_mut(key) else { return };
            match session.socket.recv(buffer) {
                Ok(n) => {
                    if let Some(trial) = session.trial.take() {
                        self.preferred = trial.target;
                    }
                    self.arrive(key, Flow::Down, &buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_unreachable(&e) => self.unreachable(key, &e),
                Err(e) => {
                    log::debug!("receiving from the server: {}", reason(&e));
                    return;
                }
            }
        }
        self.enqueue(key);
    }

    /// Returns the key of a client, which is a new one if it has none.
    fn session(&mut self, addr: SocketAddr) -> Option<usize> {
        if let Some(key) = self.keys.get(&addr) {
            return Some(*key);
        }
        if self.sessions.len() >= self.limits.clients {
            self.replace_oldest();
        }
        let opened = self.open().or_else(|e| {
            // Perhaps for lack of descriptors.
            if self.replace_oldest() { self.open() } else { Err(e) }
        });
        let (socket, target) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.refuse(addr, &e);
                return None;
            }
        };
        self.totals.clients += 1;
        let number = self.totals.clients;
        let info = Client {
            number,
            client: unmapped(addr),
            server: self.targets[target],
            up: Traffic::default(),
            down: Traffic::default(),
        };
        let seed = self.seed.wrapping_add(number.wrapping_mul(SEED_STEP));
        // Each direction has a seed of its own.
        let lane = |faults: Faults, seed| Lane {
            schedule: (!faults.is_none()).then(|| Box::new(Schedule::new(faults, seed))),
            timer: None,
        };
        let key = self.sessions.insert(Session {
            info,
            addr,
            socket,
            lanes: [lane(self.faults[0], seed), lane(self.faults[1], !seed)],
            active: self.now,
            is_queued: false,
            trial: Some(Trial { target, failed: 0, last: Vec::new() }),
        });
        self.keys.insert(addr, key);
        self.ages.push(Reverse((self.now, (key, number))));
        if let Err(e) = self.register(key) {
            log::warn!("{}: cannot wait for replies: {}", info.client, reason(&e));
        }
        self.observe(key, &Event::Opened);
        Some(key)
    }

    /// Opens a socket towards the server, at the first address for which the system allows one. Returns its index too.
    fn open(&self) -> io::Result<(UdpSocket, usize)> {
        let count = self.targets.len();
        let mut error = None;
        for target in (0..count).map(|n| (self.preferred + n) % count) {
            match connect(self.targets[target]) {
                Ok(socket) => return Ok((socket, target)),
                Err(e) => {
                    error.get_or_insert(e);
                }
            }
        }
        Err(error.unwrap_or_else(|| ErrorKind::NotFound.into()))
    }

    fn register(&mut self, key: usize) -> io::Result<()> {
        let socket = &mut self.sessions[key].socket;
        self.poll.registry().register(socket, Token(key), Interest::READABLE)
    }

    /// Reports that a client got no socket. A flood of clients must not be a flood of warnings.
    fn refuse(&mut self, addr: SocketAddr, e: &io::Error) {
        let (count, last) = &mut self.refused;
        *count += 1;
        if last.is_none_or(|last| self.now - last >= WARNING) {
            log::warn!(
                "{}: cannot open a socket for this client: {}; datagrams dropped: {count}",
                unmapped(addr),
                reason(e)
            );
            self.refused = (0, Some(self.now));
        }
    }

    fn arrive(&mut self, key: usize, flow: Flow, bytes: &[u8]) {
        if bytes.len() >= BUFFER {
            log::warn!("a datagram of more than {} bytes is dropped", BUFFER - 1);
            return;
        }
        let session = &mut self.sessions[key];
        session.active = self.now;
        if let (Flow::Up, Some(trial)) = (flow, &mut session.trial) {
            trial.failed = 0;
        }
        let Some(schedule) = &mut session.lanes[flow as usize].schedule else {
            let counts = &mut session.traffic(flow).counts;
            counts.arrived(Fate::Leaves(1));
            counts.left(1, false);
            let kept = Duration::ZERO;
            self.send(key, flow, bytes, Passage { copy: 1, copies: 1, is_reordered: false, kept });
            return;
        };
        let fate = if self.kept.saturating_add(bytes.len() + RECORD) > KEPT_MAX {
            Fate::Overflowed
        } else {
            let before = schedule.kept_bytes();
            let kept = Kept { bytes: bytes.into(), time: self.now };
            let fate = schedule.arrive(self.now, kept, bytes.len());
            self.kept += schedule.kept_bytes() - before;
            fate
        };
        session.traffic(flow).counts.arrived(fate);
        if !matches!(fate, Fate::Leaves(_)) {
            self.observe(key, &Event::Arrived(flow, bytes, fate));
        }
        self.advance(key, flow);
    }

    /// Sends what is due, and sets the timer for the rest.
    fn advance(&mut self, key: usize, flow: Flow) {
        loop {
            let session = &mut self.sessions[key];
            let lane = &mut session.lanes[flow as usize];
            let Some(schedule) = &mut lane.schedule else { return };
            let before = schedule.kept_bytes();
            match schedule.next(self.now) {
                Step::Send(Departure { datagram: kept, copies, is_reordered, .. }) => {
                    self.kept -= before - schedule.kept_bytes();
                    session.active = self.now;
                    session.traffic(flow).counts.left(copies, is_reordered);
                    let time = self.now - kept.time;
                    for copy in 1..=copies {
                        let passage = Passage { copy, copies, is_reordered, kept: time };
                        self.send(key, flow, &kept.bytes, passage);
                    }
                }
                Step::Wait(due) => {
                    if lane.timer.is_none_or(|timer| due < timer) {
                        lane.timer = Some(due);
                        let key = (key, session.info.number);
                        self.timers.push(Reverse((due, key, flow as usize)));
                    }
                    return;
                }
                Step::Idle => return,
            }
        }
    }

    fn send(&mut self, key: usize, flow: Flow, bytes: &[u8], passage: Passage) {
        let mut result = self.try_send(key, flow, bytes);
        for _ in 0..self.targets.len() {
            // A connected socket reports here that an earlier datagram did not arrive. This one was not sent.
            match &result {
                Err(e) if flow == Flow::Up && is_unreachable(e) => self.unreachable(key, e),
                _ => break,
            }
            result = self.try_send(key, flow, bytes);
        }
        match result {
            Ok(()) => {
                let session = &mut self.sessions[key];
                session.traffic(flow).bytes += bytes.len() as u64;
                if let (Flow::Up, Some(trial), 2..) = (flow, &mut session.trial, self.targets.len())
                {
                    trial.last.clear();
                    trial.last.extend_from_slice(bytes);
                }
                self.observe(key, &Event::Sent(flow, bytes, passage));
            }
            Err(e) => {
                self.sessions[key].traffic(flow).failed += 1;
                self.observe(key, &Event::Failed(flow, bytes, &e));
            }
        }
    }

    fn try_send(&self, key: usize, flow: Flow, bytes: &[u8]) -> io::Result<()> {
        let session = &self.sessions[key];
        loop {
            let result = match flow {
                Flow::Up => session.socket.send(bytes),
                Flow::Down => self.socket.send_to(bytes, session.addr),
            };
            match result {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// Handles a report that a datagram did not reach the server.
    fn unreachable(&mut self, key: usize, e: &io::Error) {
        let count = self.targets.len();
        let session = &mut self.sessions[key];
        let trial = session.trial.as_mut().filter(|_| count > 1);
        let socket = trial.and_then(|trial| {
            trial.failed += 1;
            let next = (trial.target + 1) % count;
            Some((connect(self.targets[next]).ok()?, next))
        });
        let (Some((socket, next)), Some(trial)) = (socket, &mut session.trial) else {
            session.info.up.refused += 1;
            self.observe(key, &Event::Unreachable(e, None));
            return;
        };
        trial.target = next;
        // Each address once for a datagram.
        let is_sent_again = trial.failed < count && !trial.last.is_empty();
        let last = std::mem::take(&mut trial.last);
        session.info.up.refused += u64::from(!is_sent_again);
        self.observe(key, &Event::Unreachable(e, is_sent_again.then(|| self.targets[next])));
        let session = &mut self.sessions[key];
        let _ = self.poll.registry().deregister(&mut session.socket);
        (session.socket, session.info.server) = (socket, self.targets[next]);
        log::debug!("{}: {}; trying {}", session.info.client, reason(e), session.info.server);
        let registered = self.register(key);
        if registered.is_ok() && is_sent_again {
            // An error leads to the next address with the next datagram.
            let _ = self.try_send(key, Flow::Up, &last);
        }
        if let Some(trial) = &mut self.sessions[key].trial {
            trial.last = last;
        }
    }

    fn fire_timers(&mut self) {
        while let Some(Reverse((due, key, flow))) = self.timers.peek().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop();
            if !self.is_current(key) {
                continue;
            }
            let lane = &mut self.sessions[key.0].lanes[flow];
            if lane.timer == Some(due) {
                lane.timer = None;
                self.advance(key.0, [Flow::Up, Flow::Down][flow]);
            }
        }
    }

    /// Forgets the clients that have been idle for too long.
    fn forget_idle(&mut self) {
        let Some(limit) = self.limits.idle else { return };
        // A shorter time would be over at once.
        let limit = limit.max(Duration::from_millis(1));
        while let Some((active, key)) = self.oldest() {
            if self.now.saturating_sub(active) < limit {
                return;
            }
            if self.sessions[key].is_idle() {
                self.remove(key, Ended::Idle);
            } else {
                self.sessions[key].active = self.now;
            }
        }
    }

    /// Returns the client that has been idle for longest, and the time at which it was active last.
    fn oldest(&mut self) -> Option<(Duration, usize)> {
        loop {
            let Reverse((time, key)) = *self.ages.peek()?;
            let active = self.sessions.get(key.0).map(|session| session.active);
            match active.filter(|_| self.is_current(key)) {
                Some(active) if active == time => return Some((time, key.0)),
                Some(active) => {
                    self.ages.pop();
                    self.ages.push(Reverse((active, key)));
                }
                None => {
                    self.ages.pop();
                }
            }
        }
    }

    /// Forgets the client that has been idle for longest. Returns whether there was one.
    fn replace_oldest(&mut self) -> bool {
        let oldest = self.oldest();
        if let Some((_, key)) = oldest {
            self.remove(key, Ended::Replaced);
        }
        oldest.is_some()
    }

    fn remove(&mut self, key: usize, ended: Ended) {
        self.observe(key, &Event::Ended(ended));
        let mut session = self.sessions.remove(key);
        let _ = self.poll.registry().deregister(&mut session.socket);
        self.kept -= session.kept();
        self.keys.remove(&session.addr);
        self.totals.up.add(&session.info.up);
        self.totals.down.add(&session.info.down);
    }
}

/// Returns whether an error is a report about an earlier datagram.
fn is_unreachable(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
