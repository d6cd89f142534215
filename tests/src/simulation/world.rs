//! The simulated network: a clock, connections with the buffers of both systems, and the clients.

mod invariants;
mod network;
mod system;

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use socklab::net::Stopper;

use super::clients::Client;
use super::script::Sleepers;
use super::{Ending, Kind, Plan, Stop, Summary};
use crate::rng::Rng;

const MS: u64 = 1000;
pub(super) const S: u64 = 1000 * MS;
/// Time after the last event after which a connection that is still open counts as lost.
const LOST: u64 = 200 * S;
/// Idle limit of a server for a client that has not received the last bytes, if no shorter one is set.
const CLOSING: u64 = 30 * S;
/// Number of waits without time in between after which the engine counts as busy.
const BUSY: u32 = 20_000;
/// Number of waits after which a world counts as endless. Few worlds have more than 100,000.
const WAITS: u64 = 1_000_000;
/// Time for which a server waits for the client's end after it has closed its sending side.
const LINGER: u64 = 2 * S;
/// Time after the last bytes of an incomplete message after which a server gives notice of it.
const NOTICE: u64 = S;
/// Number of reads of one connection in a round that are more than its turns.
const READS: u32 = 5;
/// Number of bytes of input that the engine stores.
const SCRATCH: usize = 4096;
/// Error of a pause at a boundary, and of an idle limit: the engine counts milliseconds.
const ROUNDED: u64 = 2 * MS;

/// What happens at a time.
#[derive(Debug)]
pub(super) enum Action {
    Connect,
    /// Bytes arrive at the server.
    Up(usize, Vec<u8>),
    UpEnd(usize),
    UpReset(usize),
    /// Bytes or the end that the server has sent arrive at the client.
    Down(usize),
    /// The acknowledgement of this number of bytes arrives at the server, or that of the end.
    Ack(usize, Option<usize>),
    DownReset(usize),
    ClientReads(usize),
    ClientSends(usize),
    /// A client leaves that a server without a limit would wait for.
    ClientLeaves(usize),
    /// The system reports readiness after a call that it refused for no visible reason.
    Edge(usize),
    /// The work for a session that sleeps is done.
    Wakes(usize),
    Stops,
}

#[derive(Debug)]
struct Due {
    at: u64,
    number: u64,
    action: Action,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, as `BinaryHeap` needs it.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A connection, with the sockets of both ends.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    /// Time in microseconds from one end to the other.
    latency: u64,
    /// Capacity of each buffer in bytes.
    buffer: usize,
    /// Time at which the last bytes sent arrive: later ones do not overtake them.
    up_arrives: u64,

    // The server's end.
    was_accepted: bool,
    pub(super) is_open: bool,
    pub(super) key: Option<usize>,
    pub(super) for_writing: bool,
    /// Whether the next readiness is reported, on a system that is not edge-triggered.
    is_armed: bool,
    is_queued: bool,
    pub(super) resets_on_close: bool,
    received: VecDeque<u8>,
    /// Number of bytes on their way to the server.
    incoming: usize,
    has_end: bool,
    /// Error that the system has not reported yet.
    error: Option<ErrorKind>,
    has_failed: bool,
    sending_closed: bool,
    /// Whether the system has refused bytes since it last reported room.
    is_full: bool,
    unacknowledged: usize,
    is_end_unacknowledged: bool,
    /// Bytes that have not arrived at the client.
    outgoing: VecDeque<u8>,
    is_down_scheduled: bool,
    written: usize,
    /// Number of bytes that the server has read.
    read: usize,

    /// Time at which the server closed its sending side.
    closed_sending_at: Option<u64>,
    /// Time at which the acknowledgement of the end arrived.
    delivered_at: Option<u64>,
    /// Time since which input has been waiting.
    unread_since: u64,
    /// Number of bytes read when the last notice about an incomplete message was given.
    noticed: Option<usize>,
    accepted_at: u64,
    /// Whether a call has returned the client's reset.
    has_seen_reset: bool,
    /// Round, and number of reads in it that returned bytes.
    reads: (u64, u32),
    /// Start of the round in which bytes were last read.
    read_at: u64,
    /// Time at which the client's end or reset arrived.
    ended_at: Option<u64>,
    /// Time at which the last acknowledgement of bytes arrived.
    acknowledged_at: u64,
    /// What the engine has asked since the last read or write.
    probes: Probes,
    /// `active` and `probes` before the first write of the round in which the server last wrote: after a time-out the engine
    /// still sends the replies to what it has read.
    before_writing: (u64, Probes),
    /// Start of the round in which the server sent, after another thread had worked.
    woken_at: u64,
    /// Time at which a read first returned the client's end or reset.
    has_read_end: Option<u64>,

    // The client's end.
    queue: VecDeque<u8>,
    queue_end: bool,
    has_seen_end: bool,
    is_reset: bool,
    is_closed: bool,
    has_sent_end: bool,
    has_vanished: bool,
    is_read_scheduled: bool,
    is_send_scheduled: bool,
    is_blocked: bool,

    // For the invariants.
    /// Whether a session must have been opened, and whether it may have been.
    has_session: bool,
    may_have_session: bool,
    ending: Option<Kind>,
    /// Time of the last read or write of the server.
    active: u64,
    /// Time at which the client last acknowledged or read something, if the system reports that.
    taken: u64,
    /// Start of the round in which bytes were last written.
    wrote: u64,
    /// Whether the clock has jumped during the session.
    has_jumped: bool,
    /// Whether bytes of the server arrived after the client had closed.
    has_lost: bool,
    /// Whether the connection was closed after a stop.
    is_cut: bool,
}

impl Connection {
    /// Returns whether a registration reports an event now.
    fn is_ready(&self, edge: bool) -> bool {
        let has_input = !self.received.is_empty() || self.has_end;
        let has_room = self.unacknowledged < self.buffer;
        self.has_failed
            || (has_input && (edge || !self.for_writing))
            || (self.for_writing && has_room)
    }

    /// Notes a write of the server.
    const fn sent(&mut self, now: u64, round: u64) {
        if self.wrote != round {
            self.before_writing = (self.active, self.probes);
        }
        self.wrote = round;
        self.moved(now, round);
    }

    /// Notes a read or a write of the server.
    const fn moved(&mut self, now: u64, round: u64) {
        self.active = now;
        // The engine counts milliseconds. Something asked in the same one counts as asked after it.
        let is_same = self.probes.count > 0 && self.probes.round + MS > round;
        self.probes.count = is_same as u32;
    }

    /// Returns the time for which the engine did not read what had come at `since`, if that is too long: it has nothing to
    /// send, and waits for input, for silence or for another thread.
    fn waited(&self, now: u64, since: u64) -> Option<u64> {
        let is_checked = self.client.awaits_mark(self.written) && !self.has_jumped;
        // The engine has room for this number of bytes.
        if !is_checked || self.read + self.received.len() >= SCRATCH {
            return None;
        }
        let since = since.max(self.read_at).max(self.wrote).max(self.accepted_at);
        Some(now.saturating_sub(since)).filter(|waited| *waited > S)
    }
}

/// What the engine has asked about the bytes that a client has not taken.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    /// Number of rounds in which it has asked.
    count: u32,
    /// The last of them.
    round: u64,
    /// The last answer.
    outstanding: u32,
}

/// The simulated network with its clock.
pub(super) struct World {
    pub(super) plan: Plan,
    rng: Rng,
    /// Microseconds since the start.
    pub(super) now: u64,
    round: u64,
    due: BinaryHeap<Due>,
    number: u64,
    connections: Vec<Option<Box<Connection>>>,
    /// Number of clients that have not come yet.
    left: usize,

    backlog: VecDeque<usize>,
    pub(super) listens: bool,
    has_listener_event: bool,
    is_listener_armed: bool,
    starved_until: u64,

    ready: VecDeque<usize>,
    tick: Option<u64>,
    pub(super) woken: Arc<AtomicBool>,
    pub(super) stopper: Option<Stopper>,
    stops: u32,
    stopped_at: u64,
    pub(super) endings: Arc<Mutex<Vec<Ending>>>,
    pub(super) notices: Arc<Mutex<Vec<SocketAddr>>>,
    pub(super) sleepers: Sleepers,

    /// Number of the server's open sockets.
    open: usize,
    /// Time of the last action or event.
    happened: u64,
    has_jumped: bool,
    waited: u64,
    waits: u64,
    busy: u32,
    pub(super) violation: Option<(Option<usize>, String)>,
    pub(super) summary: Summary,
    /// Connection to be traced; all if it is `None`.
    traced: Option<Option<usize>>,
    pub(super) trace: Vec<String>,
}

/// Returns the address of a client. Some have one of IPv6.
fn addr(id: usize) -> SocketAddr {
    let [.., a, b, c] = id.to_be_bytes();
    if id % 8 == 7 {
        let [b, c] = [b, c].map(u16::from);
        return SocketAddr::from(([0xfd00, 0, 0, 0, 0, a.into(), b, c], 40_000));
    }
    SocketAddr::from(([10, a, b, c], 40_000))
}

/// Returns the number of the client with this address.
fn number(addr: SocketAddr) -> usize {
    let [a, b, c] = match addr {
        SocketAddr::V4(addr) => {
            let [_, a, b, c] = addr.ip().octets();
            [a, b, c].map(usize::from)
        }
        SocketAddr::V6(addr) => {
            let [.., a, b, c] = addr.ip().segments();
            [a, b, c].map(usize::from)
        }
    };
    a << 16 | b << 8 | c
}

/// Returns the address of a balancer's connection.
fn balancer(id: usize) -> SocketAddr {
    let [.., port] = id.to_be_bytes();
    SocketAddr::from(([192, 168, 0, 1], 50_000 + u16::from(port)))
}

/// Returns the header of a balancer for a client.
fn proxy_header(id: usize) -> String {
    let addr = addr(id);
    let (family, server) = if addr.is_ipv4() { (4, "10.255.255.255") } else { (6, "fd00::") };
    format!("PROXY TCP{family} {} {server} {} 8000\r\n", addr.ip(), addr.port())
}

/// Result of an accept.
pub(super) enum Accepted {
    Client(usize, SocketAddr),
    None,
    Gone,
    Starved,
}

/// An event for the engine.
#[derive(Clone, Copy)]
pub(super) enum Reported {
    Listener,
    Waker,
    Tick,
    Connection { key: usize, is_ended: bool },
}

impl World {
    pub(super) fn new(
        plan: Plan,
        rng: Rng,
        sessions: usize,
        traced: Option<Option<usize>>,
    ) -> Self {
        let mut world = Self {
            rng,
            now: 0,
            round: 0,
            due: BinaryHeap::new(),
            number: 0,
            connections: Vec::new(),
            left: sessions,
            backlog: VecDeque::new(),
            listens: true,
            has_listener_event: false,
            is_listener_armed: true,
            starved_until: 0,
            ready: VecDeque::new(),
            tick: None,
            woken: Arc::default(),
            stopper: None,
            stops: 0,
            stopped_at: 0,
            endings: Arc::default(),
            notices: Arc::default(),
            sleepers: Arc::default(),
            open: 0,
            happened: 0,
            has_jumped: false,
            waited: 0,
            waits: 0,
            busy: 0,
            violation: None,
            summary: Summary::default(),
            traced,
            trace: Vec::new(),
            plan,
        };
        world.schedule(0, Action::Connect);
        match world.plan.stop {
            Stop::AtTheEnd => {}
            Stop::Once(at) => world.schedule(at, Action::Stops),
            Stop::Twice(at, again) => {
                world.schedule(at, Action::Stops);
                world.schedule(at + again, Action::Stops);
            }
        }
        world
    }

    fn schedule(&mut self, after: u64, action: Action) {
        self.number += 1;
        self.due.push(Due { at: self.now + after, number: self.number, action });
    }

    pub(super) fn note(&mut self, id: Option<usize>, text: impl FnOnce() -> String) {
        let Some(traced) = self.traced else { return };
        if traced.is_none() || id.is_none() || id == traced {
            let text = text();
            let at = self.now;
            let who = id.map_or(String::from("-"), |id| id.to_string());
            self.trace.push(format!("{:>6}.{:06} {who:>5}  {text}", at / S, at % S));
        }
    }

    pub(super) fn fail(&mut self, id: Option<usize>, text: impl Display) {
        self.note(id, || format!("VIOLATION: {text}"));
        self.violation.get_or_insert((id, text.to_string()));
    }

    fn get(&mut self, id: usize) -> Option<&mut Connection> {
        self.connections.get_mut(id)?.as_deref_mut()
    }

    /// Returns a random number of microseconds, mostly a small one.
    fn gap(&mut self, most: usize) -> u64 {
        let most = if self.rng.percent(80) { most / 50 } else { most };
        self.rng.below(most.max(1)) as u64
    }

    /// Lets a little time pass within a call of the engine, in which something may happen.
    fn breathe(&mut self) {
        self.happened = self.now;
        if self.rng.percent(10) {
            self.now += self.rng.below(20) as u64;
            self.run_due();
        }
    }

    fn run_due(&mut self) {
        while self.due.peek().is_some_and(|due| due.at <= self.now)
            && let Some(due) = self.due.pop()
        {
            self.happened = self.now;
            self.act(due.action);
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Connect => self.connect(),
            Action::Up(id, bytes) => self.arrive(id, &bytes),
            Action::UpEnd(id) => {
                if let Some(connection) = self.get(id)
                    && !connection.has_failed
                {
                    connection.has_end = true;
                    connection.ended_at.get_or_insert(now);
                    self.note(Some(id), || "the client's end arrives".into());
                    self.edge(id, false);
                }
            }
            Action::UpReset(id) => {
                if let Some(connection) = self.get(id)
                    && !connection.has_failed
                {
                    let kind = if connection.has_end {
                        ErrorKind::BrokenPipe
                    } else {
                        ErrorKind::ConnectionReset
                    };
                    connection.error = Some(kind);
                    connection.has_failed = true;
                    connection.ended_at.get_or_insert(now);
                    connection.outgoing.clear();
                    connection.unacknowledged = 0;
                    self.note(Some(id), || "the client's reset arrives".into());
                    self.edge(id, false);
                }
            }
            Action::Down(id) => self.deliver(id),
            Action::Ack(id, bytes) => self.acknowledge(id, bytes),
            Action::DownReset(id) => {
                if let Some(connection) = self.get(id)
                    && !connection.has_vanished
                {
                    // Some systems discard what the program has not read.
                    connection.queue.clear();
                    connection.is_reset = true;
                    connection.is_closed = true;
                    self.note(Some(id), || "the server's reset arrives".into());
                }
            }
            Action::ClientReads(id) => self.client_reads(id),
            Action::ClientSends(id) => self.client_sends(id),
            Action::ClientLeaves(id) => {
                if let Some(connection) = self.get(id) {
                    connection.has_vanished = false;
                    connection.is_closed = true;
                    let latency = connection.latency;
                    self.schedule(latency, Action::UpReset(id));
                }
            }
            Action::Edge(id) => {
                if let Some(connection) = self.get(id) {
                    connection.is_full &= connection.unacknowledged == connection.buffer;
                    self.edge(id, false);
                    self.edge(id, true);
                }
            }
            Action::Wakes(index) => {
                let mut all = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
                let waker = all.get_mut(index).and_then(|sleeper| {
                    sleeper.is_done = true;
                    sleeper.waker.take()
                });
                drop(all);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Action::Stops => {
                self.note(None, || "stop".into());
                if self.stops == 0 {
                    self.stopped_at = self.now;
                }
                self.stops += 1;
                if let Some(stopper) = self.stopper.clone() {
                    stopper.stop();
                }
            }
        }
    }
}
