//! The engine's rounds: events, newcomers, timers, sweeps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socklab_core::machine::{Machine, StreamEnd};

use super::progress::{Progress, Still};
use super::slot::{Ahead, Context, Delivery, Mark, Phase, Slot, Turn, Wakeup, stamp};
use super::wakeups::Wakeups;
use super::{Ended, Limits, ServerControl, Service};
use crate::net::dial::{limit, reason};
use crate::net::listen::{ACCEPT_RETRY, Incoming, accept, starved};
use crate::net::peer::Peer;
use crate::net::quote::Notice;
use crate::net::reads::Reads;
use crate::net::stack::Observer;
use crate::net::tick::Tick;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TICK: Token = Token(usize::MAX - 2);
/// Accepted in one round at the most, so that a storm delays nobody who is already there.
const ACCEPTS: usize = 64;
/// At a stop, those in the backlog are accepted still: as many as it can hold.
const BACKLOG_MAX: usize = 4096;
/// So many slots from the start: enough that the system maps them apart from the heap, where they
/// cost nothing until they are used and grow without leaving holes.
const SLOTS: usize = 4096;
/// The peer has so long to read our last bytes and close.
const LINGER_MS: u64 = 2000;
const SWEEP_MS: u64 = 1000;
/// A client that takes nothing of our last bytes has this long, where it has no shorter limit.
const CLOSING_MS: u64 = 30_000;
/// All that is parked, in bytes, before connections get small reads: one client may hold 128 KiB,
/// ten thousand may not hold ten thousand times that.
const PARKED_MAX: usize = 64 << 20;
/// A read is never smaller: it has to hold any protocol's longest unit.
const SMALL_READ: usize = 2048;
enum Accepting {
    /// For the listener's next event.
    Waiting,
    /// There may be more.
    Ready,
    /// The system has no descriptor or memory; again at this time.
    Starved(u64),
    /// There are as many clients as may be; again when one has left.
    Full,
}
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: u64,
    key: usize,
    number: u16,
}

pub(super) struct Engine<S: Service> {
    poll: Poll,
    tick: Tick,
    listener: Option<TcpListener>,
    pub(super) service: S,
    slots: Slab<Slot<S::Machine, S::State>>,
    again: VecDeque<usize>,
    timers: BinaryHeap<Reverse<Timer>>,
    /// The number of the timer set last. One count for all: a timer outlives its connection, and is
    /// not to ring for the next one with that key.
    timer: u16,
    input: Box<[u8]>,
    output: Box<[u8]>,
    parked: usize,
    /// Opened when first needed.
    reads: Option<Reads>,
    progress: Progress,
    accepting: Accepting,
    /// The log says that clients have to wait.
    said_full: bool,
    wakeups: Arc<Wakeups>,
    start: Instant,
    /// ms since the start, read once a round.
    now: u64,
    pub(super) limits: Limits,
    pub(super) observer: Option<Box<dyn Observer>>,
    pub(super) report: Box<dyn FnMut(S::Report) + Send>,
    pub(super) notice: Box<dyn FnMut(Notice) + Send>,
}
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
impl<S: Service> Engine<S> {
    /// An engine for this listener, and what wakes it.
    pub(super) fn new(mut listener: TcpListener, service: S) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let tick = Tick::new(poll.registry(), TICK)?;
        let scratch = || vec![0; S::SCRATCH.max(SMALL_READ)].into_boxed_slice();
        let engine = Self {
            poll,
            tick,
            listener: Some(listener),
            service,
            slots: Slab::with_capacity(SLOTS),
            again: VecDeque::new(),
            timers: BinaryHeap::new(),
            timer: 0,
            input: scratch(),
            output: scratch(),
            parked: 0,
            reads: None,
            accepting: Accepting::Waiting,
            said_full: false,
            progress: Progress::default(),
            wakeups: Arc::new(Wakeups::new(Arc::clone(&waker))),
            start: Instant::now(),
            now: 0,
            limits: Limits::default(),
            observer: None,
            report: Box::new(|report| log::info!("{report}")),
            notice: Box::new(|notice| log::warn!("{notice}")),
        };
        Ok((engine, waker))
    }

    /// Serves until it is told to stop and the last session has ended.
    pub(super) fn run(&mut self, stops: &AtomicU32) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut swept = 0;
        let Limits { idle, clients, grace, pace } = self.limits;
        log::debug!(
            "idle connections: {}; {clients} clients at a time; {pace:?} between messages; {grace:?} to end",
            limit(idle)
        );
        let mut stopped_at = None;
        loop {
            let pause = self.pause(swept, stopped_at);
            match self.poll.poll(&mut events, pause) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            self.now = millis(self.start.elapsed());
            let mut ticked = false;
            let mut woken = Vec::new();
            for event in &events {
                match event.token() {
                    // One more who waits does not end the want of descriptors.
                    LISTENER if matches!(self.accepting, Accepting::Starved(_)) => {}
                    LISTENER if matches!(self.accepting, Accepting::Full) => self.say_full(),
                    LISTENER => self.accepting = Accepting::Ready,
                    WAKER => woken = self.wakeups.take(),
                    TICK => {
                        self.tick.take();
                        ticked = true;
                    }
                    Token(key) => {
                        if let Some(slot) = self.slots.get_mut(key) {
                            if event.is_read_closed() || event.is_error() {
                                slot.ahead = slot.ahead.max(Ahead::End);
                            }
                            if !slot.marks.has(Mark::Queued) {
                                self.turn(key, Wakeup::Event);
                            }
                        }
                    }
                }
            }
            // After the events: a slot freed by one of them is not to be taken by a newcomer while
            // another event of the batch still names it.
            self.accept(ACCEPTS);
            for key in woken {
                if let Some(slot) = self.slots.get_mut(key)
                    && !slot.marks.set(Mark::Queued, true)
                {
                    self.again.push_back(key);
                }
            }
            for _ in 0..self.again.len() {
                let Some(key) = self.again.pop_front() else { break };
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.marks.set(Mark::Queued, false);
                    self.turn(key, Wakeup::Event);
                }
            }
            self.fire_timers();
            if ticked || self.now - swept >= SWEEP_MS {
                let since = self.now - swept;
                swept = self.now;
                self.sweep(since);
            }
            match self.service.course() {
                ServerControl::Serve => {}
                ServerControl::Last => {
                    self.close_listener();
                    if self.slots.is_empty() {
                        return Ok(());
                    }
                }
                ServerControl::Quit => {
                    self.close_listener();
                    self.drop_all();
                    return Ok(());
                }
            }
            let stops = stops.load(Ordering::Acquire);
            if stops > 0 && stopped_at.is_none() {
                stopped_at = Some(self.now);
                self.finish();
            }
            if stops > 1 {
                self.drop_all();
            }
            if let Some(at) = stopped_at {
                if self.now - at >= millis(self.limits.grace) {
                    self.drop_all();
                }
                if self.slots.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// How long the poll may sleep.
    fn pause(&mut self, swept: u64, stopped_at: Option<u64>) -> Option<Duration> {
        if !self.again.is_empty() || matches!(self.accepting, Accepting::Ready) {
            return Some(Duration::ZERO);
        }
        // Without connections there is nothing to sweep, and an idle server sleeps for good.
        let ticks = self.tick.set(!self.slots.is_empty());
        let until = |due: u64| due.saturating_sub(self.now);
        let mut pauses = [None; 4];
        if let Accepting::Starved(at) = self.accepting {
            pauses[0] = Some(until(at));
        }
        pauses[1] = self.timers.peek().map(|Reverse(timer)| until(timer.due));
        pauses[2] = (!ticks).then(|| until(swept.saturating_add(SWEEP_MS)));
        pauses[3] = stopped_at.map(|at| until(at.saturating_add(millis(self.limits.grace))));
        // Rounded up: waking a little early would poll again and again with a pause of 0.
        pauses.into_iter().flatten().min().map(|ms| Duration::from_millis(ms + 1))
    }

    fn accept(&mut self, most: usize) {
        match self.accepting {
            Accepting::Waiting | Accepting::Full => return,
            Accepting::Starved(at) if self.now < at => return,
            _ => {}
        }
        let was_starved = matches!(self.accepting, Accepting::Starved(_));
        for _ in 0..most {
            if self.service.course() != ServerControl::Serve {
                self.close_listener();
                return;
            }
            let Some(listener) = &self.listener else {
                self.accepting = Accepting::Waiting;
                return;
            };
            if self.slots.len() >= self.limits.clients.max(1) {
                self.accepting = Accepting::Full;
                self.say_full();
                return;
            }
            match accept(listener) {
                Incoming::Client(stream, peer) => {
                    if was_starved && !matches!(self.accepting, Accepting::Ready) {
                        log::warn!("accepting connections again");
                    }
                    self.accepting = Accepting::Ready;
                    self.open(stream, peer);
                }
                Incoming::None => {
                    self.accepting = Accepting::Waiting;
                    self.said_full = false;
                    return;
                }
                Incoming::Gone(e) => {
                    log::debug!("a client left before it was accepted: {}", reason(&e));
                }
                Incoming::Starved(e) => {
                    if !was_starved {
                        log::warn!("{}", starved(&e));
                    }
                    let due = self.now.saturating_add(millis(ACCEPT_RETRY));
                    self.accepting = Accepting::Starved(due);
                    return;
                }
            }
        }
    }

    /// Says that clients have to wait since there are as many as may be, if any do; once until all of
    /// them have been accepted.
    fn say_full(&mut self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let Some(listener) = &self.listener else { return };
        let mut listener = [PollFd::new(listener, PollFlags::IN)];
        if !self.said_full && poll(&mut listener, Some(&Timespec::default())) == Ok(1) {
            self.said_full = true;
            let most = self.limits.clients.max(1);
            let s = if most == 1 { "" } else { "s" };
            log::warn!("serving {most} client{s}, the limit; new clients have to wait");
        }
    }

    fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut stream, Token(key), interest) {
            log::warn!("{peer}: cannot watch the connection: {}", reason(&e));
            return;
        }
        if S::RESETS {
            // From now on, whatever ends it but the machine, also the end of this process.
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        let (machine, state) = self.service.open();
        let peer = Peer::from(peer);
        log::debug!("{}: connected", SocketAddr::from(peer));
        entry.insert(Slot::new(stream, machine, state, peer, self.now));
        if self.service.course() != ServerControl::Serve {
            // Before the last client hears anything: whom it tells must not be let in.
            self.close_listener();
        }
        self.turn(key, Wakeup::Event);
    }

    /// A connection's turn, and what follows from it.
    fn turn(&mut self, key: usize, cue: Wakeup) -> Turn {
        let Some(slot) = self.slots.get_mut(key) else { return Turn::Close };
        let before = slot.park.as_ref().map_or(0, |park| park.bytes());
        let mut context = Context {
            key,
            now: self.now,
            service: &mut self.service,
            input: &mut self.input,
            read_max: if self.parked > PARKED_MAX { SMALL_READ } else { usize::MAX },
            output: &mut self.output,
            observer: &mut self.observer,
            wakeups: &self.wakeups,
            reads: &mut self.reads,
            report: &mut self.report,
            // Rounded up: only a pace of 0 is none.
            pace: millis(self.limits.pace.saturating_add(Duration::from_nanos(999_999))),
            pause: None,
            watch: false,
            is_last_written: false,
        };
        let turn = slot.turn(cue, &mut context);
        let Context { mut pause, watch, .. } = context;
        if pause.is_some() {
            // One timer a slot: this one takes the place of the other.
            slot.marks.set(Mark::Watched, false);
        } else if watch
            && turn == Turn::Wait
            && !slot.marks.has(Mark::Noticed)
            && !slot.marks.set(Mark::Watched, true)
        {
            pause = Some(Notice::AFTER_MS.into());
        }
        let after = slot.park.as_ref().map_or(0, |park| park.bytes());
        self.parked = self.parked + after - before;
        if let Some(ms) = pause {
            self.timer = self.timer.wrapping_add(1);
            slot.timer = self.timer;
            // Never now: `ring` would not come to an end.
            let due = self.now.saturating_add(ms.max(1));
            self.timers.push(Reverse(Timer { due, key, number: slot.timer }));
        }
        match turn {
            Turn::Wait => {}
            Turn::Again => {
                if !slot.marks.set(Mark::Queued, true) {
                    self.again.push_back(key);
                }
            }
            Turn::Close => {
                self.remove(key, Ended::Stopped);
            }
        }
        turn
    }

    /// Removes a connection. If its session is not reported yet, it ended like this.
    fn remove(&mut self, key: usize, ended: Ended<<S::Machine as Machine>::Error>) {
        let mut slot = self.slots.remove(key);
        self.progress.forget(key);
        match &mut self.accepting {
            // A descriptor is free now.
            Accepting::Starved(at) => *at = self.now,
            Accepting::Full => self.accepting = Accepting::Ready,
            Accepting::Waiting | Accepting::Ready => {}
        }
        if slot.marks.has(Mark::Queued) {
            // Or the next one with this key would have its turns too.
            self.again.retain(|queued| *queued != key);
        }
        self.parked -= slot.park.as_ref().map_or(0, |park| park.bytes());
        if let Some(observer) = &mut self.observer {
            observer.ended(key, slot.peer.into());
        }
        if slot.phase.is_over() && slot.has_output() {
            // Closed in order it would look complete.
            slot.reset();
        }
        if !slot.phase.is_reported() {
            let reads = self.reads.get_or_insert_with(Reads::new);
            let has_arrived =
                slot.phase == Phase::Confirming && slot.delivery(reads) == Delivery::Done;
            let ended = if has_arrived { Ended::Done } else { ended };
            let peer = slot.peer.into();
            let report = self.service.closed(peer, &slot.machine, &mut slot.state, ended);
            (self.report)(report);
        }
    }

    /// Wakes the connections whose pause is over.
    fn fire_timers(&mut self) {
        while let Some(Reverse(timer)) = self.timers.peek() {
            if timer.due > self.now {
                return;
            }
            let Some(Reverse(Timer { key, number, .. })) = self.timers.pop() else { return };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.timer != number {
                continue;
            }
            match slot.phase {
                // Not before the peer has read what stands before the boundary.
                Phase::Paused if !slot.is_read(self.reads.get_or_insert_with(Reads::new)) => {
                    // Later and later, so that thousands who never read cost nothing.
                    let waited = u64::from(stamp(self.now).wrapping_sub(slot.stamp));
                    let due = self.now.saturating_add(waited.div_ceil(4).clamp(2, SWEEP_MS));
                    self.timers.push(Reverse(Timer { due, key, number }));
                }
                Phase::Paused => {
                    slot.phase = Phase::Open;
                    self.turn(key, Wakeup::Event);
                }
                Phase::Listening => {
                    slot.phase = Phase::Open;
                    self.turn(key, Wakeup::Silence);
                }
                Phase::Open if slot.marks.has(Mark::Watched) => {
                    // Bytes may have come since it was armed: otherwise each byte would cost a timer.
                    let waited = u64::from(stamp(self.now).wrapping_sub(slot.stamp));
                    let left = u64::from(Notice::AFTER_MS).saturating_sub(waited);
                    match slot.notice() {
                        None => {
                            slot.marks.set(Mark::Watched, false);
                        }
                        Some(_) if left > 0 => {
                            let due = self.now.saturating_add(left);
                            self.timers.push(Reverse(Timer { due, key, number }));
                        }
                        Some(notice) => {
                            slot.marks.set(Mark::Watched, false);
                            slot.marks.set(Mark::Noticed, true);
                            (self.notice)(notice);
                        }
                    }
                }
                Phase::Confirming => {
                    self.turn(key, Wakeup::Confirm);
                }
                Phase::Open
                | Phase::Paying
                | Phase::Boundary
                | Phase::Finishing
                | Phase::Flushing
                | Phase::Lingering => {
                    // The timer of a notice, which has rung: the next part arms another.
                    slot.marks.set(Mark::Watched, false);
                }
            }
        }
    }

    /// Ends the connections on which neither side makes progress; `swept` is the time since the last sweep.
    fn sweep(&mut self, swept: u64) {
        let idle = self.limits.idle.map_or(u64::MAX, millis);
        let now = stamp(self.now);
        let mut expired = Vec::new();
        for (key, slot) in &mut self.slots {
            if slot.marks.has(Mark::Asleep) {
                continue;
            }
            let age = u64::from(now.wrapping_sub(slot.stamp));
            let is_made = match slot.phase {
                Phase::Lingering => age < LINGER_MS,
                phase => {
                    // Those who have finished are not kept indefinitely.
                    let limit = if phase.is_over() { idle.min(CLOSING_MS) } else { idle };
                    let still = Still { key, now, age, swept, limit };
                    self.progress.is_made(still, slot, &mut self.reads) || age < limit
                }
            };
            if !is_made {
                expired.push(key);
            }
        }
        for key in expired {
            let Some(slot) = self.slots.get(key) else { continue };
            let before = slot.stamp;
            // Where the system does not tell what is acknowledged: if it has room now, something was.
            if slot.has_output() {
                self.turn(key, Wakeup::Event);
            }
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.stamp != before {
                continue;
            }
            log::debug!("{}: idle, closing", SocketAddr::from(slot.peer));
            match slot.phase {
                Phase::Finishing | Phase::Confirming | Phase::Flushing | Phase::Lingering => {
                    self.remove(key, Ended::Undelivered);
                }
                Phase::Open
                | Phase::Paying
                | Phase::Boundary
                | Phase::Paused
                | Phase::Listening => {
                    slot.end = Some(StreamEnd::TimedOut);
                    slot.time_out();
                    let mut turn = self.turn(key, Wakeup::Event);
                    // No pause holds up who has been given up. What they sent is finite.
                    for _ in 0..self.input.len() {
                        let Some(slot) = self.slots.get_mut(key) else { break };
                        let goes_on = match slot.phase {
                            Phase::Boundary | Phase::Paused => true,
                            Phase::Open | Phase::Paying | Phase::Listening => turn == Turn::Again,
                            Phase::Finishing
                            | Phase::Confirming
                            | Phase::Flushing
                            | Phase::Lingering => false,
                        };
                        if !goes_on {
                            break;
                        }
                        slot.time_out();
                        turn = self.turn(key, Wakeup::Event);
                    }
                    if let Some(slot) = self.slots.get(key) {
                        let is_over = slot.phase.is_over();
                        self.remove(key, if is_over { Ended::Undelivered } else { Ended::Stopped });
                    }
                }
            }
        }
    }

    /// No more clients; those in flight are to end.
    fn finish(&mut self) {
        // Whoever is in the backlog has been told by the system that he is connected.
        self.accepting = Accepting::Ready;
        self.accept(BACKLOG_MAX);
        self.close_listener();
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.turn(key, Wakeup::Finish);
        }
    }

    fn close_listener(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            // Dropped, not muted: a muted listener goes on accepting in the kernel.
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accepting = Accepting::Waiting;
    }

    fn drop_all(&mut self) {
        self.again.clear();
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key, Ended::Stopped);
        }
    }
}
