//! The event loop of the engine: events, new clients, timers.

mod headers;
mod idle;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use slab::Slab;
use socklab_core::machine::Machine;

use self::headers::Headers;
use super::group::{Member, NewClient};
use super::progress::Progress;
use super::slot::{
    Buffers, Context, Delivery, Flag, PendingEnd, Phase, Slot, Turn, Wakeup, timestamp,
};
use super::wakeups::{Waker, Wakeups};
use super::{Ended, Limits, ServerControl, Service};
use crate::net::acceptor::{ACCEPTS, Acceptor, Clients};
use crate::net::dial::{reason, timeout_text};
use crate::net::peer::{Peers, unmapped};
use crate::net::quote::Notice;
use crate::net::stack::Observer;
use crate::net::system::{Event, Stream as _, System};

/// Number of clients accepted from the backlog when the server stops: as many as the backlog can contain.
const BACKLOG_MAX: usize = 4096;
/// Initial capacity in slots. It is large enough that the allocator maps the slots separately from the heap.
/// There, unused slots take no memory, and growing leaves no holes.
const SLOTS: usize = 4096;
/// Interval in milliseconds between checks for idle connections.
const IDLE_CHECK_MS: u64 = 1000;
/// Number of buffered bytes of all connections above which reads become small. One client may have 128 KiB
/// buffered, but not each of ten thousand.
const BUFFERED_MAX: usize = 64 << 20;
/// Size of a small read in bytes. It must be enough for the longest unit of every protocol.
const SMALL_READ: usize = 2048;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: u64,
    key: usize,
}

/// Returns the number of a timer, by which its slot knows whether it has been replaced.
///
/// It is not a count of all timers: a busy server would soon repeat it, and a timer that was replaced would fire. Timers of
/// a slot with one number expire at the same time, unless one is set for more than 65 s: only a pause can be.
#[expect(clippy::cast_possible_truncation, reason = "truncation is intended")]
const fn timer_number(due: u64) -> u16 {
    due as u16
}

pub(super) struct Engine<S: Service, N: System> {
    pub(super) system: N,
    pub(super) acceptor: Acceptor<N::Listener>,
    /// Set if several engines serve the clients.
    pub(super) member: Option<Member<N::Stream>>,
    pub(super) service: S,
    slots: Slab<Slot<N::Stream, S::Machine, S::State>>,
    peers: Peers,
    buffers: Buffers,
    headers: Headers<N::Stream>,
    again: VecDeque<usize>,
    timers: BinaryHeap<Reverse<Timer>>,
    input: Box<[u8]>,
    output: Box<[u8]>,
    /// Memory in bytes of the buffers of all connections.
    buffered_bytes: usize,
    progress: Progress,
    wakeups: Arc<Wakeups>,
    /// Milliseconds since the start, updated once in each round.
    pub(super) now: u64,
    pub(super) limits: Limits,
    pub(super) observer: Option<Box<dyn Observer>>,
    /// Whether the observer can take more bytes. Otherwise connections have no turns, and no client is accepted.
    is_ready: bool,
    pub(super) report: Box<dyn FnMut(S::Report) + Send>,
    pub(super) notice: Box<dyn FnMut(Notice) + Send>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<S: Service, N: System> Engine<S, N> {
    /// `waker` gives an [`Event::Waker`]. Without a listener, the engine gets its clients from other engines.
    pub(super) fn new(
        system: N,
        listener: Option<N::Listener>,
        waker: Arc<Waker>,
        service: S,
    ) -> Self {
        let scratch = || vec![0; S::SCRATCH.max(SMALL_READ)].into_boxed_slice();
        Self {
            system,
            acceptor: Acceptor::new(listener),
            member: None,
            service,
            slots: Slab::with_capacity(SLOTS),
            peers: Peers::default(),
            buffers: Buffers::default(),
            headers: Headers::default(),
            again: VecDeque::new(),
            timers: BinaryHeap::new(),
            input: scratch(),
            output: scratch(),
            buffered_bytes: 0,
            progress: Progress::default(),
            wakeups: Arc::new(Wakeups::new(waker)),
            now: 0,
            limits: Limits::default(),
            observer: None,
            is_ready: true,
            report: Box::new(|report| log::info!("{report}")),
            notice: Box::new(|notice| log::warn!("{notice}")),
        }
    }

    /// Serves until a stop is requested and the last session has ended. `stops` is the number of stop requests.
    pub(super) fn run(&mut self, stops: &AtomicU32) -> io::Result<()> {
        let mut events = self.system.events();
        let mut idle_checked_at = 0;
        let Limits { idle, clients, grace, pace, .. } = self.limits;
        if self.member.as_ref().is_none_or(|member| member.index == 0) {
            log::debug!(
                "idle connections: {}; at most {clients} clients; pause between messages {pace:?}; grace period {grace:?}",
                timeout_text(idle)
            );
        }
        let (mut stopped_at, mut is_finishing) = (None, false);
        let mut is_woken = false;
        loop {
            let pause = self.poll_timeout(idle_checked_at, stopped_at);
            match self.system.wait(&mut events, pause) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            self.now = millis(self.system.now());
            self.update_ready();
            let mut ticked = false;
            let mut woken = Vec::new();
            for event in N::iter(&events) {
                match event {
                    Event::Listener => self.acceptor.wake(self.limits.clients),
                    // Windows gives one for each call of the waker.
                    Event::Waker => {
                        woken.append(&mut self.wakeups.take());
                        is_woken = true;
                    }
                    Event::Tick => {
                        self.system.take_tick();
                        ticked = true;
                    }
                    Event::Connection { key, is_ended } => {
                        if let Some(slot) = self.slots.get_mut(key) {
                            if is_ended {
                                slot.pending_end = slot.pending_end.max(PendingEnd::End);
                            }
                            if self.is_ready && !slot.flags.has(Flag::Queued) {
                                self.turn(key, Wakeup::Event);
                            } else {
                                self.queue(key);
                            }
                        } else {
                            self.headers.wake(key, is_ended);
                        }
                    }
                }
            }
            // Only after the events: a new client must not get a slot that a later event of this batch refers to.
            if is_woken && self.is_ready {
                is_woken = false;
                self.open_handed_over(is_finishing);
            }
            self.read_headers();
            self.accept(ACCEPTS);
            for key in woken {
                self.queue(key);
            }
            for _ in 0..self.again.len() {
                if !self.is_ready {
                    break;
                }
                let Some(key) = self.again.pop_front() else { break };
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.flags.set(Flag::Queued, false);
                    self.turn(key, Wakeup::Event);
                }
            }
            self.fire_timers();
            self.expire_headers();
            // While the observer is not ready, nothing can move.
            if self.is_ready && (ticked || self.now - idle_checked_at >= IDLE_CHECK_MS) {
                let since = self.now - idle_checked_at;
                idle_checked_at = self.now;
                self.close_idle(since);
            }
            match self.control() {
                ServerControl::Serve => {}
                ServerControl::Last => {
                    self.stop_listening();
                    self.close_headers();
                    if self.slots.is_empty() && self.is_drained() {
                        return Ok(());
                    }
                }
                ServerControl::Quit => {
                    self.stop_listening();
                    self.close_all();
                    return Ok(());
                }
            }
            let stops = stops.load(Ordering::Acquire);
            if stops > 0 {
                let at = *stopped_at.get_or_insert(self.now);
                if !is_finishing && self.is_ready {
                    is_finishing = true;
                    self.finish();
                }
                if stops > 1 || self.now - at >= millis(self.limits.grace) {
                    self.close_all();
                    return Ok(());
                }
                if self.slots.is_empty() && self.headers.is_empty() && self.is_drained() {
                    return Ok(());
                }
            }
        }
    }

    /// Returns the timeout for the poll.
    fn poll_timeout(&mut self, idle_checked_at: u64, stopped_at: Option<u64>) -> Option<Duration> {
        let has_work =
            !self.again.is_empty() || self.acceptor.is_ready() || self.headers.is_readable();
        if self.is_ready && has_work {
            return Some(Duration::ZERO);
        }
        // Without connections there is nothing to check, and an idle server sleeps without a timeout.
        let ticks = self.system.set_tick(!self.slots.is_empty());
        let until = |due: u64| due.saturating_sub(self.now);
        let mut pauses = [None; 5];
        // Otherwise the observer wakes the poll.
        if self.is_ready {
            pauses[0] = self.acceptor.retry_at().map(|at| until(millis(at)));
            pauses[1] = self.timers.peek().map(|Reverse(timer)| until(timer.due));
            pauses[4] = self.headers.next_due().map(until);
            pauses[2] = (!ticks).then(|| until(idle_checked_at.saturating_add(IDLE_CHECK_MS)));
        }
        pauses[3] = stopped_at.map(|at| until(at.saturating_add(millis(self.limits.grace))));
        // Rounded up: waking slightly too early would poll repeatedly with a timeout of 0.
        pauses.into_iter().flatten().min().map(|ms| Duration::from_millis(ms.saturating_add(1)))
    }

    fn accept(&mut self, most: usize) {
        for _ in 0..most {
            if !self.is_ready {
                return;
            }
            if self.control() != ServerControl::Serve {
                self.stop_listening();
                return;
            }
            let Some(client) = self.next_client() else { return };
            if let Some((stream, peer)) = self.place_client(client) {
                self.open(stream, peer);
            }
        }
    }

    /// Accepts the next client, if there is one and the limit permits it.
    fn next_client(&mut self) -> Option<NewClient<N::Stream>> {
        let now = Duration::from_millis(self.now);
        let limit = self.limits.clients;
        let Some(member) = &self.member else {
            let count = self.slots.len() + self.headers.len();
            return self.acceptor.accept(now, Clients { count, limit });
        };
        let is_due =
            self.acceptor.is_ready() || self.acceptor.retry_at().is_some_and(|at| at <= now);
        if !is_due || self.acceptor.listener().is_none() {
            return None;
        }
        let has_place = member.take_place();
        let count = if has_place { 0 } else { usize::MAX };
        let client = self.acceptor.accept(now, Clients { count, limit });
        if client.is_none() && has_place {
            if self.acceptor.retry_at().is_some() {
                member.starve();
            } else {
                // Not for this engine, which does not wait in line.
                member.free_place();
            }
        }
        client
    }

    /// Opens a session. Returns the key of its slot, which is free again if the session has already ended. Returns `None`
    /// if no session is open yet.
    pub(super) fn open(&mut self, mut stream: N::Stream, peer: SocketAddr) -> Option<usize> {
        if let Some(limit) = self.limits.proxy_header {
            self.await_header(stream, peer, limit);
            return None;
        }
        let key = self.slots.vacant_key();
        if let Err(e) = self.system.register(&mut stream, key, false) {
            log::warn!("{peer}: cannot register the connection for events: {}", reason(&e));
            self.client_left();
            return None;
        }
        if S::RESETS {
            // Any end of the connection before the machine has finished, also the end of this process, must be
            // a reset.
            stream.set_reset_on_close(true);
        }
        log::debug!("{peer}: connected");
        self.start(stream, peer, None);
        self.turn(key, Wakeup::Opened);
        Some(key)
    }

    /// Starts the session of a connection that is registered with the next free key. `local` is the address that the
    /// client has connected to, if it is not that of the socket.
    fn start(&mut self, stream: N::Stream, peer: SocketAddr, local: Option<SocketAddr>) {
        let entry = self.slots.vacant_entry();
        let (machine, state) = self.service.open();
        if let Some(observer) = &mut self.observer {
            let local = local.unwrap_or_else(|| stream.local_addr().map_or(peer, unmapped));
            observer.opened(entry.key(), local, peer);
        }
        let peer = self.peers.insert(peer);
        entry.insert(Slot::new(stream, machine, state, peer, self.now));
        if self.control() != ServerControl::Serve {
            // Before the last client receives anything: a client that connects because of it must not be accepted.
            self.close_listener();
        }
    }

    /// Runs one turn of a connection and applies its result.
    pub(super) fn turn(&mut self, key: usize, wakeup: Wakeup) -> Turn {
        let Some(slot) = self.slots.get_mut(key) else { return Turn::Close };
        let before = self.buffers.bytes(slot.buffered);
        let mut context = Context {
            system: &mut self.system,
            peers: &self.peers,
            buffers: &mut self.buffers,
            key,
            now: self.now,
            service: &mut self.service,
            input: &mut self.input,
            read_max: if self.buffered_bytes > BUFFERED_MAX { SMALL_READ } else { usize::MAX },
            output: &mut self.output,
            observer: &mut self.observer,
            wakeups: &self.wakeups,
            report: &mut self.report,
            // Rounded up: only a pace of 0 means no pause.
            pace_ms: millis(self.limits.pace.saturating_add(Duration::from_nanos(999_999))),
            timer_ms: None,
            is_incomplete: false,
            is_last_written: false,
            is_drained: false,
        };
        let turn = slot.turn(wakeup, &mut context);
        let Context { mut timer_ms, is_incomplete, .. } = context;
        slot.flags.set(Flag::Incomplete, is_incomplete);
        if timer_ms.is_some() {
            // A slot has one timer. This one replaces that of the notice.
            slot.flags.set(Flag::NoticeTimer, false);
        } else if is_incomplete
            && turn == Turn::Wait
            && !slot.flags.has(Flag::Noticed)
            && !slot.flags.set(Flag::NoticeTimer, true)
        {
            timer_ms = Some(Notice::AFTER_MS.into());
        }
        let after = self.buffers.bytes(slot.buffered);
        self.buffered_bytes = self.buffered_bytes + after - before;
        if turn != Turn::Close
            && let Err(e) = slot.update_interest(key, &mut self.system)
        {
            let peer = self.peers.get(&slot.peer);
            log::warn!("{peer}: cannot register the connection for events: {}", reason(&e));
        }
        if let Some(ms) = timer_ms {
            // Not 0: `fire_timers` would not terminate.
            let due = self.now.saturating_add(ms.max(1));
            slot.timer = timer_number(due);
            self.timers.push(Reverse(Timer { due, key }));
        }
        match turn {
            Turn::Wait => {}
            Turn::Again => self.queue(key),
            Turn::Close => {
                self.remove(key, Ended::Stopped);
            }
        }
        self.update_ready();
        turn
    }

    fn update_ready(&mut self) {
        self.is_ready = self.observer.as_ref().is_none_or(|observer| observer.is_ready());
    }

    /// Gives a connection a turn after the others.
    fn queue(&mut self, key: usize) {
        if let Some(slot) = self.slots.get_mut(key)
            && !slot.flags.set(Flag::Queued, true)
        {
            self.again.push_back(key);
        }
    }

    /// Removes a connection, and reports its session with `ended` if that has not been done yet.
    fn remove(&mut self, key: usize, ended: Ended<<S::Machine as Machine>::Error>) {
        let mut slot = self.slots.remove(key);
        self.progress.remove(key);
        self.client_left();
        if slot.flags.has(Flag::Queued) {
            // Otherwise the next connection with this key would get an extra turn.
            self.again.retain(|queued| *queued != key);
        }
        self.buffered_bytes -= self.buffers.bytes(slot.buffered);
        if slot.phase.is_over() && slot.has_output(&self.buffers) {
            // After an orderly close the output would look complete.
            slot.reset();
        }
        self.buffers.take(&mut slot.buffered);
        let peer = self.peers.get(&slot.peer);
        self.peers.remove(&slot.peer);
        let has_arrived = slot.phase == Phase::AwaitingAck
            && slot.delivery(peer, &mut self.system) == Delivery::Done;
        // Only now: the system reports an error of the socket once.
        if let Some(observer) = &mut self.observer {
            slot.observe_end(key, peer, observer.as_mut());
        }
        if !slot.phase.is_reported() {
            let ended = if has_arrived { Ended::Done } else { ended };
            let report = self.service.closed(peer, &slot.machine, &mut slot.state, ended);
            (self.report)(report);
        }
    }

    /// Handles the timers that have expired.
    fn fire_timers(&mut self) {
        while let Some(Reverse(timer)) = self.timers.peek() {
            if timer.due > self.now || !self.is_ready {
                return;
            }
            let Some(Reverse(Timer { due, key })) = self.timers.pop() else { return };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.timer != timer_number(due) {
                continue;
            }
            match slot.phase {
                // The pause lasts until the peer has read what was sent before the boundary.
                Phase::Paused if !slot.has_read_all(&mut self.system) => {
                    // At growing intervals, so that thousands of peers that never read cost little.
                    let waited = u64::from(timestamp(self.now).wrapping_sub(slot.last_progress));
                    let due = self.now.saturating_add(waited.div_ceil(4).clamp(2, IDLE_CHECK_MS));
                    slot.timer = timer_number(due);
                    self.timers.push(Reverse(Timer { due, key }));
                }
                Phase::Paused => {
                    slot.phase = Phase::Open;
                    self.turn(key, Wakeup::Event);
                }
                Phase::IdleTimer => {
                    slot.phase = Phase::Open;
                    self.turn(key, Wakeup::Idle);
                }
                Phase::Open if slot.flags.has(Flag::NoticeTimer) => {
                    // The timer is not reset by each byte. So bytes may have arrived since it was set.
                    let waited = u64::from(timestamp(self.now).wrapping_sub(slot.last_progress));
                    let left = u64::from(Notice::AFTER_MS).saturating_sub(waited);
                    match slot.notice(&self.peers, &self.buffers) {
                        None => {
                            slot.flags.set(Flag::NoticeTimer, false);
                        }
                        Some(_) if left > 0 => {
                            let due = self.now.saturating_add(left);
                            slot.timer = timer_number(due);
                            self.timers.push(Reverse(Timer { due, key }));
                        }
                        Some(notice) => {
                            slot.flags.set(Flag::NoticeTimer, false);
                            slot.flags.set(Flag::Noticed, true);
                            (self.notice)(notice);
                        }
                    }
                }
                Phase::AwaitingAck => {
                    self.turn(key, Wakeup::CheckAck);
                }
                Phase::Open
                | Phase::Payload
                | Phase::Boundary
                | Phase::Finishing
                | Phase::Flushing
                | Phase::Lingering => {
                    // A timer for a notice that is out of date. The next partial message sets another.
                    slot.flags.set(Flag::NoticeTimer, false);
                }
            }
        }
    }

    /// Returns the number of entries and bytes that are stored for connections.
    pub(super) fn stored(&self) -> usize {
        let entries = self.slots.len() + self.buffers.len() + self.peers.len();
        entries + self.progress.len() + self.headers.len() + self.buffered_bytes
    }

    /// Stops accepting clients, and requests the end of all sessions.
    fn finish(&mut self) {
        // For a client in the backlog, the connection is already established.
        self.acceptor.retry();
        self.accept(BACKLOG_MAX);
        self.stop_listening();
        self.stop_headers();
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.turn(key, Wakeup::Stop);
        }
    }

    /// Closes the listener. What it has accepted is in the hands of the engine that serves it.
    fn stop_listening(&mut self) {
        self.close_listener();
        if let Some(member) = &mut self.member {
            member.stop_listening();
        }
    }

    pub(super) fn close_listener(&mut self) {
        self.acceptor.close();
    }

    fn close_all(&mut self) {
        self.again.clear();
        self.close_headers();
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key, Ended::Stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::hello::{Options, Service};
    use crate::net::{engine::waker_of, system::Os};

    /// An engine whose rounds are made by the test, with clients that send one byte at a time.
    struct Stepped {
        engine: Engine<Service, Os>,
        listener: TcpListener,
    }

    impl Stepped {
        fn new() -> Self {
            let (system, waker) = Os::new().unwrap();
            let service = Service::new(Options { both: true, ..Options::default() });
            let engine = Engine::new(system, None, waker_of(Arc::new(waker)), service);
            Self { engine, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
        }

        /// Returns a client, and the key of its session.
        fn connect(&mut self) -> (TcpStream, usize) {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_nodelay(true).unwrap();
            let (stream, peer) = self.listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let key = self.engine.open(mio::net::TcpStream::from_std(stream), peer).unwrap();
            (client, key)
        }

        /// Sends a byte, which sets a timer.
        fn send(&mut self, (client, key): &mut (TcpStream, usize)) {
            client.write_all(b"x").unwrap();
            let before = self.engine.timers.len();
            while self.engine.timers.len() == before {
                self.engine.turn(*key, Wakeup::Event);
            }
        }
    }

    #[test]
    fn a_timer_that_was_replaced_does_not_fire_however_many_were_set_since() {
        let mut all = Stepped::new();
        let mut client = all.connect();
        all.send(&mut client);
        all.engine.now = all.engine.timers.peek().unwrap().0.due - 1;
        // As many as 16 bits have numbers, with the one after them.
        let mut others: Vec<_> = (0..u16::MAX / 1000 + 1).map(|_| all.connect()).collect();
        for n in 0..usize::from(u16::MAX) {
            all.send(&mut others[n / 1000]);
        }
        all.send(&mut client);
        all.engine.now += 1;
        all.engine.fire_timers();
        assert!(all.engine.slots[client.1].phase == Phase::IdleTimer);
    }

    #[test]
    fn the_longest_grace_period_does_not_overflow() {
        let mut engine = Stepped::new().engine;
        engine.limits.grace = Duration::MAX;
        assert_eq!(engine.poll_timeout(0, Some(0)), Some(Duration::from_millis(u64::MAX)));
    }
}
