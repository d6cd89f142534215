//! The simulated network: a clock, connections with the buffers of both systems, and the clients.

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socklab::net::Stopper;

use super::clients::{Behaviour, Client, Finish, Protocol};
use super::script::Sleepers;
use super::{Ending, Kind, Plan, Stop, Summary};
use crate::rng::Rng;

pub(super) const MS: u64 = 1000;
pub(super) const S: u64 = 1000 * MS;
/// Time after the last event after which a connection that is still open counts as lost.
const LOST: u64 = 200 * S;
/// Idle limit of a server for a client that has not received the last bytes, if no shorter one is set.
const CLOSING: u64 = 30 * S;
/// Number of waits without time in between after which the engine counts as busy.
const BUSY: u32 = 20_000;
/// Number of waits after which a world counts as endless. Few worlds have more than 100,000.
const WAITS: u64 = 1_000_000;
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
    has_session: bool,
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

/// Returns the address of a client.
fn addr(id: usize) -> SocketAddr {
    let [.., a, b, c] = id.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 40_000))
}

/// Returns the number of the client with this address.
fn number(addr: SocketAddr) -> usize {
    let SocketAddr::V4(addr) = addr else { return usize::MAX };
    let [_, a, b, c] = addr.ip().octets();
    u32::from_be_bytes([0, a, b, c]) as usize
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
        match action {
            Action::Connect => self.connect(),
            Action::Up(id, bytes) => self.arrive(id, &bytes),
            Action::UpEnd(id) => {
                if let Some(connection) = self.get(id)
                    && !connection.has_failed
                {
                    connection.has_end = true;
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

    fn connect(&mut self) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let id = self.connections.len();
        if self.listens {
            let mut client = Client::new(self.plan.protocol, &mut self.rng);
            let limit = self.plan.limits.idle.map_or(30 * S, |idle| idle.as_micros() as u64);
            let slow = self.rng.percent(15);
            // A client that follows the protocol makes progress several times within the limit.
            client.gap = if slow { (limit / 4) as usize } else { self.rng.within(1, 60_000) };
            if !self.plan.reports {
                // Where the system does not report acknowledgements, a slow reader looks idle.
                client.read = usize::MAX;
            }
            let (low, high) = self.plan.latency;
            let connection = Connection {
                client,
                latency: self.rng.within(low, high) as u64,
                buffer: self.rng.within(40, 4000),
                up_arrives: 0,
                is_open: false,
                key: None,
                for_writing: false,
                is_armed: false,
                is_queued: false,
                resets_on_close: false,
                received: VecDeque::new(),
                incoming: 0,
                has_end: false,
                error: None,
                has_failed: false,
                sending_closed: false,
                is_full: false,
                unacknowledged: 0,
                is_end_unacknowledged: false,
                outgoing: VecDeque::new(),
                is_down_scheduled: false,
                written: 0,
                queue: VecDeque::new(),
                queue_end: false,
                has_seen_end: false,
                is_reset: false,
                is_closed: false,
                has_sent_end: false,
                has_vanished: false,
                is_read_scheduled: false,
                is_send_scheduled: true,
                is_blocked: false,
                has_session: false,
                ending: None,
                active: self.now,
                taken: 0,
                wrote: 0,
                has_jumped: false,
                has_lost: false,
                is_cut: false,
            };
            let client = &connection.client;
            let errs = matches!(client.behaviour, Behaviour::Errs(_));
            let text = self.traced.map(|_| format!("connects: {client}"));
            self.connections.push(Some(Box::new(connection)));
            self.summary.sessions += 1;
            self.note(Some(id), || text.unwrap_or_default());
            self.backlog.push_back(id);
            if self.plan.edge || std::mem::take(&mut self.is_listener_armed) {
                self.has_listener_event = true;
            }
            let gap = self.gap(10_000);
            self.schedule(gap, Action::ClientSends(id));
            if errs {
                self.never_ends(id);
            }
        } else {
            self.connections.push(None);
            self.summary.refused += 1;
        }
        let gap = if self.rng.percent(20) { 0 } else { self.gap(self.plan.arrivals) };
        self.schedule(gap, Action::Connect);
    }

    /// Handles bytes that arrive at the server.
    fn arrive(&mut self, id: usize, bytes: &[u8]) {
        let listens = self.listens;
        let Some(connection) = self.get(id) else { return };
        connection.incoming -= bytes.len();
        if connection.has_failed {
            return;
        }
        let latency = connection.latency;
        if connection.is_open || (!connection.has_session && listens) {
            connection.received.extend(bytes);
            self.note(Some(id), || format!("{} bytes arrive at the server", bytes.len()));
            self.edge(id, false);
        } else {
            self.note(Some(id), || "bytes arrive at a closed socket".into());
            self.schedule(latency, Action::DownReset(id));
        }
    }

    /// Moves bytes that the server has sent to the client.
    fn deliver(&mut self, id: usize) {
        let cut = self.rng.percent(20);
        let random = self.rng.bits();
        let Some(connection) = self.get(id) else { return };
        connection.is_down_scheduled = false;
        let latency = connection.latency;
        if connection.has_vanished || connection.is_reset {
            return;
        }
        if connection.is_closed && !connection.outgoing.is_empty() {
            connection.outgoing.clear();
            connection.has_lost = true;
            self.note(Some(id), || "bytes arrive at a client that has closed".into());
            self.schedule(latency, Action::UpReset(id));
            return;
        }
        let room = connection.buffer.saturating_sub(connection.queue.len());
        let mut n = connection.outgoing.len().min(room);
        if cut && n > 1 {
            n = 1 + (random % n as u64) as usize;
        }
        connection.queue.extend(connection.outgoing.drain(..n));
        let is_all = connection.outgoing.is_empty();
        let ends = is_all && connection.sending_closed && !connection.queue_end;
        connection.queue_end |= ends;
        let more = !is_all && n < room;
        let reads = !std::mem::replace(&mut connection.is_read_scheduled, true);
        let gap = connection.client.gap;
        if n > 0 {
            self.schedule(latency, Action::Ack(id, Some(n)));
        }
        if ends {
            self.schedule(latency, Action::Ack(id, None));
        }
        if more {
            self.down(id, 1);
        }
        self.note(Some(id), || {
            format!("{n} bytes{} arrive at the client", if ends { " and the end" } else { "" })
        });
        if reads {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientReads(id));
        }
    }

    fn down(&mut self, id: usize, after: u64) {
        if let Some(connection) = self.get(id)
            && !std::mem::replace(&mut connection.is_down_scheduled, true)
        {
            self.schedule(after, Action::Down(id));
        }
    }

    fn acknowledge(&mut self, id: usize, bytes: Option<usize>) {
        let (now, reports) = (self.now, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        if connection.has_failed {
            return;
        }
        match bytes {
            None => connection.is_end_unacknowledged = false,
            Some(n) => {
                connection.unacknowledged -= n;
                if reports {
                    connection.taken = now;
                }
                let free = connection.buffer - connection.unacknowledged;
                if connection.is_full && free * 3 >= connection.buffer {
                    connection.is_full = false;
                    self.edge(id, true);
                }
            }
        }
    }

    fn client_reads(&mut self, id: usize) {
        let (now, reports) = (self.now, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        connection.is_read_scheduled = false;
        let stops = matches!(connection.client.behaviour, Behaviour::StopsReading(_));
        if connection.is_closed || connection.has_vanished {
            return;
        }
        if stops && connection.client.is_due() {
            return self.never_ends(id);
        }
        let n = connection.queue.len().min(connection.client.read);
        let bytes: Vec<u8> = connection.queue.drain(..n).collect();
        if n > 0 && reports {
            connection.taken = now;
        }
        let wrong = connection.client.receive(&bytes);
        let is_empty = connection.queue.is_empty();
        let (window, latency) = (!connection.outgoing.is_empty(), connection.latency);
        let (has_more, gap) = (!connection.client.outbox.is_empty(), connection.client.gap);
        let ends = is_empty && connection.queue_end;
        let sends = (has_more || connection.client.closes_sending())
            && !ends
            && !std::mem::replace(&mut connection.is_send_scheduled, true);
        connection.is_read_scheduled = !is_empty;
        connection.has_seen_end |= ends;
        self.note(Some(id), || {
            format!("the client reads {n} bytes{}", if ends { " and the end" } else { "" })
        });
        if let Some(wrong) = wrong {
            self.fail(Some(id), format_args!("the client received something else: {wrong}"));
        }
        if window && n > 0 {
            self.down(id, latency);
        }
        if sends {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientSends(id));
        }
        if !is_empty {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientReads(id));
        }
        let leaves_first = self.plan.protocol == Protocol::Math && id.is_multiple_of(2);
        if ends || (leaves_first && self.get(id).is_some_and(|c| c.client.is_complete())) {
            self.client_closes(id);
        }
    }

    /// Closes the client's socket in order, if it has read everything that has arrived.
    fn client_closes(&mut self, id: usize) {
        let Some(connection) = self.get(id) else { return };
        if std::mem::replace(&mut connection.is_closed, true) {
            return;
        }
        let resets = !connection.queue.is_empty();
        let has_sent_end = std::mem::replace(&mut connection.has_sent_end, true);
        self.note(Some(id), || "the client closes".into());
        if resets {
            self.up(id, Action::UpReset(id));
        } else if !has_sent_end {
            self.up(id, Action::UpEnd(id));
        }
    }

    /// Schedules what travels to the server, after what travels already.
    fn up(&mut self, id: usize, action: Action) {
        let now = self.now;
        let Some(connection) = self.get(id) else { return };
        let at = (now + connection.latency).max(connection.up_arrives);
        connection.up_arrives = at;
        self.schedule(at - now, action);
    }

    fn client_sends(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(id).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.is_send_scheduled = false;
        if connection.is_closed || connection.has_vanished {
            return;
        }
        let used = connection.received.len() + connection.incoming;
        let room = connection.buffer.saturating_sub(used);
        if room == 0 && !connection.client.outbox.is_empty() {
            connection.is_blocked = true;
            return;
        }
        let bytes = connection.client.take(room, &mut self.rng);
        connection.incoming += bytes.len();
        let (is_due, behaviour) = (connection.client.is_due(), connection.client.behaviour);
        let more = !connection.client.outbox.is_empty();
        let gap = connection.client.gap;
        if !bytes.is_empty() {
            self.note(Some(id), || {
                format!(
                    "the client sends {} bytes: {}",
                    bytes.len(),
                    bytes.get(..12).unwrap_or(&bytes).escape_ascii()
                )
            });
            self.up(id, Action::Up(id, bytes));
        }
        match behaviour {
            Behaviour::Closes(_) if is_due => return self.client_closes(id),
            Behaviour::Resets(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.is_closed = true;
                }
                self.note(Some(id), || "the client resets".into());
                return self.up(id, Action::UpReset(id));
            }
            Behaviour::FallsSilent(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.is_send_scheduled = true;
                }
                return self.never_ends(id);
            }
            Behaviour::Vanishes(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.has_vanished = true;
                }
                self.note(Some(id), || "the client vanishes".into());
                return self.never_ends(id);
            }
            Behaviour::Errs(_) => {}
            _ => {}
        }
        let Some(connection) = self.get(id) else { return };
        let ends = !more
            && connection.client.closes_sending()
            && !std::mem::replace(&mut connection.has_sent_end, true);
        if ends {
            self.note(Some(id), || "the client closes its sending side".into());
            self.up(id, Action::UpEnd(id));
        } else if more {
            let gap = self.gap(gap);
            if let Some(connection) = self.get(id) {
                connection.is_send_scheduled = true;
            }
            self.schedule(gap, Action::ClientSends(id));
        }
    }

    /// Lets a client leave some time, if the server has no limit.
    fn never_ends(&mut self, id: usize) {
        if self.plan.limits.idle.is_none() {
            self.schedule(90 * S, Action::ClientLeaves(id));
        }
    }

    // What the engine calls.

    /// Reports readiness of a connection, if the engine is to be notified of it. `writable`: the system accepts bytes
    /// again. Otherwise something has arrived.
    fn edge(&mut self, id: usize, writable: bool) {
        let edge = self.plan.edge;
        let Some(connection) = self.get(id) else { return };
        if edge {
            if !writable || connection.for_writing {
                self.queue(id);
            }
        } else if connection.is_armed && connection.is_ready(edge) {
            connection.is_armed = false;
            self.queue(id);
        }
    }

    fn queue(&mut self, id: usize) {
        if let Some(connection) = self.get(id)
            && connection.is_open
            && connection.key.is_some()
            && !std::mem::replace(&mut connection.is_queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Makes the next readiness an event, after a call that was refused.
    fn arm(&mut self, id: usize) {
        if !self.plan.edge {
            if let Some(connection) = self.get(id) {
                connection.is_armed = true;
            }
            self.edge(id, false);
        }
    }

    /// Registers a connection. Returns `false` if the system has no memory.
    pub(super) fn register(&mut self, id: usize, key: usize, for_writing: bool) -> bool {
        let is_new = self.get(id).is_some_and(|connection| connection.key.is_none());
        if is_new && self.rng.percent(self.plan.faults) && self.rng.percent(2) {
            self.summary.unregistered += 1;
            return false;
        }
        if let Some(connection) = self.get(id) {
            connection.key = Some(key);
            connection.for_writing = for_writing;
            connection.has_session = true;
        }
        self.note(Some(id), || format!("registered with key {key}, for writing: {for_writing}"));
        self.arm(id);
        // A registration reports what is the case already.
        if self.plan.edge && self.get(id).is_some_and(|connection| connection.is_ready(true)) {
            self.queue(id);
        }
        if is_new {
            self.summary.opened += 1;
        }
        true
    }

    pub(super) fn read(&mut self, id: usize, to: &mut [u8]) -> Result<usize, ErrorKind> {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        let refuses = self.rng.percent(self.plan.faults) && self.rng.percent(20);
        let (now, edge, random) = (self.now, self.plan.edge, self.rng.bits());
        let cut = !edge && self.rng.percent(30);
        let Some(connection) = self.get(id) else { return Ok(0) };
        if !connection.received.is_empty() {
            if refuses {
                self.schedule(50, Action::Edge(id));
                self.arm(id);
                return Err(ErrorKind::WouldBlock);
            }
            // Where events are edges, only an empty buffer makes a read short.
            let mut n = to.len().min(connection.received.len());
            if cut && n > 1 {
                n = 1 + (random % n as u64) as usize;
            }
            for (to, byte) in to.iter_mut().zip(connection.received.drain(..n)) {
                *to = byte;
            }
            connection.active = now;
            let unblocked = std::mem::take(&mut connection.is_blocked)
                && !std::mem::replace(&mut connection.is_send_scheduled, true);
            let latency = connection.latency;
            if unblocked {
                self.schedule(latency, Action::ClientSends(id));
            }
            self.note(Some(id), || format!("the server reads {n} bytes"));
            return Ok(n);
        }
        if let Some(kind) = connection.error.take() {
            self.note(Some(id), || format!("a read of the server returns {kind}"));
            return Err(kind);
        }
        if connection.has_end || connection.has_failed {
            self.note(Some(id), || "the server reads the end".into());
            return Ok(0);
        }
        self.arm(id);
        Err(ErrorKind::WouldBlock)
    }

    pub(super) fn peek(&mut self, id: usize) -> Result<usize, ErrorKind> {
        let Some(connection) = self.get(id) else { return Ok(0) };
        if !connection.received.is_empty() {
            return Ok(1);
        }
        if let Some(kind) = connection.error.take() {
            return Err(kind);
        }
        let has_ended = connection.has_end || connection.has_failed;
        if has_ended { Ok(0) } else { Err(ErrorKind::WouldBlock) }
    }

    pub(super) fn write(&mut self, id: usize, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        let refuses = self.rng.percent(self.plan.faults) && self.rng.percent(20);
        let (now, random) = (self.now, self.rng.bits());
        let cut = self.rng.percent(30);
        self.check_boundary(id, bytes.len());
        let (round, pace) = (self.round, self.plan.limits.pace);
        let Some(connection) = self.get(id) else { return Ok(0) };
        if let Some(kind) = connection.error.take() {
            self.note(Some(id), || format!("a write of the server returns {kind}"));
            return Err(kind);
        }
        if connection.has_failed || connection.sending_closed {
            return Err(ErrorKind::BrokenPipe);
        }
        let free = connection.buffer - connection.unacknowledged;
        if free == 0 || refuses {
            connection.is_full = true;
            if free > 0 {
                self.schedule(50, Action::Edge(id));
            }
            self.note(Some(id), || "the server's system takes no bytes".into());
            self.arm(id);
            return Err(ErrorKind::WouldBlock);
        }
        let mut n = bytes.len().min(free);
        if cut && n > 1 {
            n = 1 + (random % n as u64) as usize;
        }
        let _ = pace;
        connection.outgoing.extend(bytes.iter().take(n));
        connection.unacknowledged += n;
        connection.written += n;
        connection.active = now;
        connection.wrote = round;
        let latency = connection.latency;
        self.note(Some(id), || format!("the server writes {n} of {} bytes", bytes.len()));
        self.down(id, latency);
        Ok(n)
    }

    /// Checks a write against the next message boundary.
    fn check_boundary(&mut self, id: usize, n: usize) {
        let pace = self.plan.limits.pace.as_micros() as u64;
        let (round, reports) = (self.round, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        let written = connection.written;
        // A write that the system took in part comes a second time, without a boundary in front.
        while connection.client.boundaries.front().is_some_and(|at| *at < written) {
            connection.client.boundaries.pop_front();
        }
        let Some(&boundary) = connection.client.boundaries.front() else { return };
        let is_exempt = connection.client.behaviour != Behaviour::Correct
            || connection.has_jumped
            || connection.has_failed
            || connection.has_end
            || pace == 0
            || n == 0;
        let is_read = connection.unacknowledged == 0 && connection.queue.is_empty();
        let paused = round - connection.wrote.min(round);
        if is_exempt {
            return;
        }
        if written < boundary && boundary < written + n {
            self.fail(Some(id), "a write crosses a message boundary");
        } else if written == boundary && written > 0 {
            if paused + ROUNDED < pace {
                self.fail(
                    Some(id),
                    format_args!("a message was sent {paused} us after the one before"),
                );
            } else if reports && !is_read && !connection_is_closed(self.get(id)) {
                self.fail(Some(id), "a message was sent before the one before it was read");
            }
        }
    }

    pub(super) fn close_sending(&mut self, id: usize) -> Result<(), ErrorKind> {
        self.breathe();
        let Some(connection) = self.get(id) else { return Ok(()) };
        if connection.has_failed {
            return Err(ErrorKind::NotConnected);
        }
        connection.sending_closed = true;
        connection.is_end_unacknowledged = true;
        let latency = connection.latency;
        self.note(Some(id), || "the server closes its sending side".into());
        self.down(id, latency);
        Ok(())
    }

    pub(super) fn set_reset_on_close(&mut self, id: usize, resets: bool) {
        if let Some(connection) = self.get(id) {
            connection.resets_on_close = resets;
        }
    }

    pub(super) fn resets_on_close(&mut self, id: usize) -> bool {
        self.get(id).is_some_and(|connection| connection.resets_on_close)
    }

    pub(super) fn take_error(&mut self, id: usize) -> Option<ErrorKind> {
        self.get(id)?.error.take()
    }

    /// Closes the server's socket.
    pub(super) fn close(&mut self, id: usize) {
        let is_stopped = self.stops > 0;
        let Some(connection) = self.get(id) else { return };
        connection.is_open = false;
        connection.key = None;
        connection.is_cut |= is_stopped;
        let resets = connection.resets_on_close || !connection.received.is_empty();
        let (latency, has_failed) = (connection.latency, connection.has_failed);
        self.open -= 1;
        self.note(Some(id), || format!("the server closes, with a reset: {resets}"));
        if has_failed {
            return;
        }
        if resets {
            if let Some(connection) = self.get(id) {
                connection.outgoing.clear();
                connection.has_failed = true;
            }
            self.schedule(latency, Action::DownReset(id));
        } else {
            if let Some(connection) = self.get(id) {
                connection.sending_closed = true;
            }
            self.down(id, latency);
        }
    }

    pub(super) fn has_read_all(&mut self, id: usize) -> bool {
        let reports = self.plan.reports;
        self.get(id).is_none_or(|connection| {
            !reports
                || connection.has_failed
                || (connection.unacknowledged == 0
                    && (connection.queue.is_empty() || connection.is_closed))
        })
    }

    /// Returns the number of bytes that are not acknowledged, and of those that are not read.
    pub(super) fn outstanding(&mut self, id: usize) -> Option<(u32, u32)> {
        let reports = self.plan.reports;
        let connection = self.get(id).filter(|_| reports)?;
        let end = connection.is_end_unacknowledged;
        let is_over = connection.sending_closed
            && connection.has_end
            && !end
            && connection.unacknowledged == 0;
        if connection.has_failed || is_over {
            return None;
        }
        let unread = if connection.is_closed { 0 } else { connection.queue.len() };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some((count(connection.unacknowledged) + u32::from(end), count(unread)))
    }

    pub(super) fn accept(&mut self) -> Accepted {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            if self.rng.percent(50) {
                return Accepted::Gone;
            }
            self.starved_until = self.now + self.rng.below(400_000) as u64;
        }
        if self.backlog.is_empty() {
            self.is_listener_armed = true;
            return Accepted::None;
        }
        if self.now < self.starved_until || self.open >= self.plan.descriptors {
            let id = self.backlog.front().copied();
            self.note(id, || "no descriptor for an accept".into());
            return Accepted::Starved;
        }
        let Some(id) = self.backlog.pop_front() else { return Accepted::None };
        let (aborts, now) = (self.rng.percent(50), self.now);
        let Some(connection) = self.get(id) else { return Accepted::Gone };
        if connection.has_failed && aborts {
            self.note(Some(id), || "gone before it was accepted".into());
            return Accepted::Gone;
        }
        connection.is_open = true;
        connection.active = now;
        self.open += 1;
        if self.open > self.plan.limits.clients {
            let (open, limit) = (self.open, self.plan.limits.clients);
            self.fail(Some(id), format_args!("{open} clients, more than the limit of {limit}"));
        }
        self.note(Some(id), || "accepted".into());
        Accepted::Client(id, addr(id))
    }

    pub(super) fn has_client(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(super) fn rearm_listener(&mut self) -> bool {
        if self.plan.edge {
            return false;
        }
        self.is_listener_armed = true;
        if !self.backlog.is_empty() && std::mem::take(&mut self.is_listener_armed) {
            self.has_listener_event = true;
        }
        true
    }

    fn has_room(&self) -> bool {
        self.open < self.plan.limits.clients.min(self.plan.descriptors)
            && self.now >= self.starved_until
    }

    pub(super) fn close_listener(&mut self) {
        self.listens = false;
        self.note(None, || "the listener closes".into());
        if self.has_room()
            && self.plan.protocol != Protocol::Hello
            && self.violation.is_none()
            && let Some(&id) = self.backlog.front()
        {
            self.fail(Some(id), "a client in the backlog was not accepted before the stop");
        }
        while let Some(id) = self.backlog.pop_front() {
            self.schedule(1, Action::DownReset(id));
        }
    }

    /// Returns the current time, at the start of a round.
    pub(super) fn now(&mut self) -> u64 {
        self.round = self.now;
        self.now
    }

    pub(super) fn set_tick(&mut self, on: bool) -> bool {
        if !self.plan.edge {
            return !on;
        }
        if on != self.tick.is_some() {
            self.tick = on.then(|| self.now + S);
        }
        true
    }

    /// Waits for events. `Err` ends the engine, or is an interruption.
    pub(super) fn wait(&mut self, timeout: Option<u64>) -> Result<Vec<Reported>, ErrorKind> {
        self.audit(timeout);
        if self.violation.is_some() {
            return Err(ErrorKind::Other);
        }
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        if self.rng.percent(self.plan.faults) && self.rng.percent(5) {
            // A busy machine.
            self.now += self.rng.below(150_000) as u64;
        }
        let deadline = timeout.map(|timeout| self.now + timeout);
        loop {
            self.run_due();
            self.watch_sleepers();
            let events = self.harvest();
            if !events.is_empty() {
                if !matches!(events[..], [Reported::Tick]) {
                    self.happened = self.now;
                }
                return Ok(events);
            }
            if deadline.is_some_and(|deadline| self.now >= deadline) {
                return Ok(events);
            }
            let next = [self.due.peek().map(|due| due.at), deadline, self.tick];
            let Some(next) = next.into_iter().flatten().min() else {
                if self.open > 0 || !self.backlog.is_empty() {
                    let id = self.connections.iter().flatten().position(|c| c.is_open);
                    self.fail(id, "the engine waits without a limit, and nothing will happen");
                    return Err(ErrorKind::Other);
                }
                self.schedule(0, Action::Stops);
                continue;
            };
            self.now = self.now.max(next);
            if self.plan.jumps && self.rng.below(3000) == 0 {
                self.now += self.rng.below(7200) as u64 * S;
                self.note(None, || "the clock jumps".into());
                self.has_jumped = true;
                for connection in self.connections.iter_mut().flatten() {
                    connection.has_jumped = true;
                }
            }
        }
    }

    /// Schedules the end of the work for new sleepers.
    fn watch_sleepers(&mut self) {
        let sleepers = Arc::clone(&self.sleepers);
        let mut all = sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, sleeper) in all.iter_mut().enumerate() {
            if sleeper.waker.is_some() && !std::mem::replace(&mut sleeper.is_seen, true) {
                self.schedule(u64::from(sleeper.ms) * MS, Action::Wakes(index));
            }
        }
    }

    fn harvest(&mut self) -> Vec<Reported> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.has_listener_event) {
            events.push(Reported::Listener);
        }
        if self.woken.swap(false, Ordering::AcqRel) {
            events.push(Reported::Waker);
        }
        if let Some(tick) = self.tick
            && self.now >= tick
        {
            self.tick = Some(tick + (self.now - tick) / S * S + S);
            events.push(Reported::Tick);
        }
        // Sometimes only a part of the events.
        let most = if self.rng.percent(70) { usize::MAX } else { self.rng.within(1, 4) };
        for _ in 0..self.ready.len().min(most) {
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.get(id) {
                connection.is_queued = false;
                if let Some(key) = connection.key {
                    let is_ended = connection.has_end || connection.has_failed;
                    events.push(Reported::Connection { key, is_ended });
                }
            }
        }
        if self.rng.percent(self.plan.faults)
            && self.rng.percent(20)
            && !self.connections.is_empty()
        {
            let id = self.rng.below(self.connections.len());
            if let Some(key) = self.get(id).and_then(|connection| connection.key) {
                events.push(Reported::Connection { key, is_ended: false });
            }
        }
        if events.len() > 1 && self.rng.percent(50) {
            let at = self.rng.below(events.len());
            events.rotate_left(at);
        }
        events
    }

    // Invariants.

    /// Checks what must hold whenever the engine waits.
    fn audit(&mut self, timeout: Option<u64>) {
        self.take_endings();
        let is_patient = timeout.is_none_or(|timeout| timeout > 150 * MS);
        if is_patient
            && self.listens
            && self.has_room()
            && !self.has_listener_event
            && self.stops == 0
            && let Some(&id) = self.backlog.front()
        {
            self.fail(Some(id), "the engine waits although a client could be accepted");
        }
        let is_over = self.left == 0 && self.due.is_empty() && self.ready.is_empty();
        if is_over && self.now - self.happened > LOST {
            match self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open)) {
                Some(id) => self.fail(Some(id), "the connection is never closed"),
                None => self.fail(None, "a timer is left, although no connection is"),
            }
        }
        if self.now == self.waited {
            self.busy += 1;
        } else {
            self.busy = 0;
        }
        self.waited = self.now;
        self.waits += 1;
        if self.waits > WAITS {
            let id = self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open));
            self.fail(id, "the world does not come to an end");
        }
        if self.busy > BUSY {
            self.fail(None, "the engine is busy although nothing happens");
        }
        if self.stops > 0 && self.plan.limits.idle.is_some() && !self.has_jumped {
            let grace = self.plan.limits.grace.as_micros() as u64;
            if self.now - self.stopped_at > grace + 3 * S {
                self.fail(None, "the engine continues after the grace period");
            }
        }
    }

    fn take_endings(&mut self) {
        let endings =
            std::mem::take(&mut *self.endings.lock().unwrap_or_else(PoisonError::into_inner));
        for Ending { peer, kind } in endings {
            let id = number(peer);
            self.note(Some(id), || format!("reported: {kind:?}"));
            self.ended(id, kind);
        }
    }

    /// Checks the report of a session.
    fn ended(&mut self, id: usize, kind: Kind) {
        self.summary.count(&kind);
        let (round, reports, is_stopped) = (self.round, self.plan.reports, self.stops > 0);
        let idle = self.plan.limits.idle.map(|idle| idle.as_micros() as u64);
        let slack = 5 * S;
        let Some(connection) = self.get(id).filter(|connection| connection.has_session) else {
            return self
                .fail(None, format_args!("a session that was not opened is reported: {kind:?}"));
        };
        if connection.ending.is_some() {
            return self.fail(Some(id), "the session is reported twice");
        }
        connection.ending = Some(kind.clone());
        let Connection { active, taken, has_jumped, .. } = **self
            .connections
            .get(id)
            .and_then(Option::as_ref)
            .unwrap_or_else(|| unreachable!("it was found above"));
        let Some(connection) = self.get(id) else { return };
        let is_correct = connection.client.behaviour == Behaviour::Correct;
        let has_left = connection.is_closed || connection.has_failed || connection.has_lost;
        let lost = connection.has_lost || !connection.outgoing.is_empty();
        let finish = connection.client.finish;
        let missing =
            connection.client.reply_len() > connection.client.received + connection.queue.len();
        let since = round.saturating_sub(active);
        let since_taken = round.saturating_sub(active.max(taken));
        let timed_out = kind == Kind::TimedOut || (kind == Kind::Undelivered && !has_left);
        if timed_out && !(is_stopped && kind == Kind::Undelivered) {
            let limit = match (kind == Kind::Undelivered, idle) {
                (true, Some(idle)) => Some(idle.min(CLOSING)),
                (true, None) => Some(CLOSING),
                (false, idle) => idle,
            };
            match limit {
                None => self.fail(Some(id), "the session timed out without a limit"),
                Some(limit) if since + ROUNDED < limit => self.fail(
                    Some(id),
                    format_args!("the session timed out after {since} us of {limit}"),
                ),
                // The engine looks eight times within the limit what the client has taken.
                Some(limit) if since_taken + limit / 8 + slack < limit && !has_jumped => self.fail(
                    Some(id),
                    format_args!(
                        "the client took bytes {since_taken} us before the time-out, with {limit}"
                    ),
                ),
                Some(limit) if since_taken > limit + limit / 4 + slack && !has_jumped => self.fail(
                    Some(id),
                    format_args!("the session timed out only after {since_taken} us of {limit}"),
                ),
                Some(_) => {}
            }
        }
        match kind {
            Kind::Internal(text) => self.fail(Some(id), text),
            Kind::Stopped if !is_stopped => {
                self.fail(Some(id), "the session was stopped, and the server was not");
            }
            Kind::Done if reports && lost && finish == Finish::Close => {
                self.fail(Some(id), "the session is done, and bytes have not arrived");
            }
            Kind::Done if reports && is_correct && missing && finish == Finish::Close => {
                if !is_stopped {
                    self.fail(Some(id), "the session is done, and its reply is incomplete");
                }
            }
            Kind::Done | Kind::Stopped => {}
            kind if is_correct && !has_jumped && !is_stopped => {
                self.fail(
                    Some(id),
                    format_args!("the session of a correct client ended as {kind:?}"),
                );
            }
            _ => {}
        }
    }

    /// Checks what must hold after the engine has ended.
    pub(super) fn finish(&mut self) {
        self.take_endings();
        if self.listens {
            self.fail(None, "the listener is still open");
        }
        if self.open > 0 {
            let id = self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open));
            self.fail(id, "a socket is still open");
        }
        // The clients read what has been sent.
        self.left = 0;
        while self.violation.is_none()
            && let Some(due) = self.due.pop()
        {
            self.now = self.now.max(due.at);
            if !matches!(due.action, Action::Stops) {
                self.act(due.action);
            }
        }
        for id in 0..self.connections.len() {
            if self.violation.is_some() {
                return;
            }
            let Some(connection) = self.get(id) else { continue };
            let is_correct = connection.client.behaviour == Behaviour::Correct;
            let complete = connection.client.is_complete();
            let has_end = connection.has_seen_end
                || (connection.is_closed && !connection.is_reset && complete);
            let checked = is_correct && !connection.is_cut;
            let (is_reset, finish) = (connection.is_reset, connection.client.finish);
            match &connection.ending {
                None if connection.has_session => {
                    self.fail(Some(id), "the session was never reported");
                }
                Some(Kind::Done) if checked && finish == Finish::Close && !complete => {
                    self.fail(
                        Some(id),
                        "the session is done, and the client has not got its reply",
                    );
                }
                Some(Kind::Done)
                    if checked && finish == Finish::Close && (is_reset || !has_end) =>
                {
                    self.fail(Some(id), "the session is done, and the client has not seen the end");
                }
                Some(Kind::Done) if checked && finish == Finish::Reset && !is_reset => {
                    self.fail(Some(id), "the session was to end with a reset");
                }
                _ => {}
            }
        }
        self.summary.time = self.now;
    }
}

fn connection_is_closed(connection: Option<&mut Connection>) -> bool {
    connection.is_none_or(|connection| connection.is_closed)
}
