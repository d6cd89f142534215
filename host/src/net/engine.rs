//! The server engine: one thread, a machine per connection, readiness from the system.
//!
//! ```text
//!   round:  poll -> events -> accept -> `again` queue once through -> timers -> every second, sweep
//!
//!   turn of a connection:
//!     unsent output?  send it; still blocked: do not read (that is the backpressure)
//!     one read        into scratch, behind what is parked
//!     pump            the machine, from scratch to scratch
//!     one send        what stays, and what was not consumed, is parked
//! ```
//!
//! A turn is bounded, so a flood delays nobody. All connections share two scratch buffers; one has
//! memory of its own only while bytes of it wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socklab_core::machine::{After, How, Input, Machine, Need};
use socklab_core::session::{Application, Pumped, Stop, pump};

use super::listen::{BindError, listen};
use super::peer::Peer;
use super::stack::{Direction, Observer};
use super::tick::Tick;
use super::{DEFAULT_TIMEOUT, dial::reason};

/// What a server does for its clients.
pub trait Service {
    /// The protocol.
    type Machine: Machine;
    /// What the application remembers of one session. A few bytes: it is in every slot.
    type State;

    /// The scratch buffers' size in bytes, one for input and one for output: what one turn moves
    /// at the most. 4 KiB suit short messages, 64 KiB bulk.
    const SCRATCH: usize = 4096;

    /// A client has come.
    fn open(&mut self) -> (Self::Machine, Self::State);

    /// A machine says something.
    fn event(&mut self, state: &mut Self::State, event: <Self::Machine as Machine>::Event<'_>);

    /// A machine would take a command. `None`: nothing to say.
    fn command(
        &mut self,
        state: &mut Self::State,
    ) -> Option<<Self::Machine as Machine>::Command<'_>>;

    /// The server is to stop. The command that makes a session end soon, if there is one;
    /// otherwise it may go on as long as [`Limits::grace`].
    fn finish(&mut self) -> Option<<Self::Machine as Machine>::Command<'_>> {
        None
    }

    /// A session is over.
    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &Self::Machine,
        state: &Self::State,
        ended: Ended<<Self::Machine as Machine>::Error>,
    );
}

/// How a session ended, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<E> {
    /// As the protocol has it.
    Done,
    /// The client broke the protocol, or left or went silent too early.
    Failed(E),
    /// The server stopped and did not wait any longer.
    Stopped,
}

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A connection on which nothing moves for so long is closed. `None`: never.
    pub idle: Option<Duration>,
    /// After a stop, sessions in flight have so long to end.
    pub grace: Duration,
    /// At a boundary of messages, the pause before the next one.
    pub pace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Some(DEFAULT_TIMEOUT),
            grace: Duration::from_secs(5),
            pace: Duration::from_millis(30),
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TICK: Token = Token(usize::MAX - 2);
/// Accepted in one round at the most, so that a storm delays nobody who is already there.
const ACCEPTS: usize = 64;
/// At a stop, those in the backlog are accepted still: as many as it can hold.
const BACKLOG_MAX: usize = 4096;
/// Out of descriptors: no event tells when there are some again.
const ACCEPT_RETRY_MS: u64 = 100;
/// So many slots from the start: enough that the system maps them apart from the heap, where they
/// cost nothing until they are used and grow without leaving holes.
const SLOTS: usize = 4096;
/// The peer has so long to read our last bytes and close.
const LINGER_MS: u64 = 2000;
const SWEEP_MS: u64 = 1000;
/// All that is parked, in bytes, before connections get small reads: one client may hold 128 KiB,
/// ten thousand may not hold ten thousand times that.
const PARKED_MAX: usize = 64 << 20;
/// A read is never smaller: it has to hold any protocol's longest unit.
const SMALL_READ: usize = 2048;

/// A server that has its address and does not serve yet.
pub struct Server<S: Service> {
    engine: Engine<S>,
    addr: SocketAddr,
    stopper: Stopper,
}

/// Stops a server, from any thread.
#[derive(Clone)]
pub struct Stopper {
    waker: Arc<Waker>,
    calls: Arc<AtomicU32>,
}

impl Stopper {
    /// The server accepts no more, lets sessions in flight end, and returns. Asked a second time,
    /// it does not wait for them.
    pub fn stop(&self) {
        self.calls.fetch_add(1, Ordering::Release);
        // A poll that is gone needs no waking.
        let _ = self.waker.wake();
    }
}

/// A server in a thread of its own. Dropping it stops it, without grace for sessions in flight.
pub struct Running {
    addr: SocketAddr,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl<S: Service> Server<S> {
    /// Listens on the first of these addresses that can be had. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(addrs: impl ToSocketAddrs + fmt::Debug, service: S) -> Result<Self, BindError> {
        let text = format!("{addrs:?}");
        let failed = |source| BindError::new(text.trim_matches('"'), source);
        let mut listener = listen(addrs)?;
        let addr = listener.local_addr().map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let tick = Tick::new(poll.registry(), TICK).map_err(failed)?;
        let stopper = Stopper { waker, calls: Arc::default() };
        let engine = Engine {
            poll,
            tick,
            listener: Some(listener),
            service,
            slots: Slab::with_capacity(SLOTS),
            again: VecDeque::new(),
            timers: BinaryHeap::new(),
            input: vec![0; S::SCRATCH.max(SMALL_READ)].into_boxed_slice(),
            output: vec![0; S::SCRATCH.max(SMALL_READ)].into_boxed_slice(),
            parked: 0,
            accepting: Accepting::Waiting,
            start: Instant::now(),
            now: 0,
            limits: Limits::default(),
            observer: None,
        };
        Ok(Self { engine, addr, stopper })
    }

    /// With these limits instead of the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.engine.limits = limits;
        self
    }

    /// Shows every byte to `observer`.
    #[must_use]
    pub fn observed(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.engine.observer = observer;
        self
    }

    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves in this thread until [`Stopper::stop`]. Returns the service.
    ///
    /// # Errors
    ///
    /// When the system cannot poll. What goes wrong with one connection ends that connection only.
    pub fn run(self) -> io::Result<S> {
        let Self { mut engine, stopper, .. } = self;
        engine.run(&stopper.calls)?;
        Ok(engine.service)
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(self) -> io::Result<Running>
    where
        S: Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread = thread::Builder::new()
            .name("socklab server".into())
            .spawn(move || self.run().map(|_| ()))?;
        Ok(Running { addr, stopper, thread: Some(thread) })
    }
}

impl Running {
    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it and waits until its sessions have ended, at most [`Limits::grace`].
    ///
    /// # Errors
    ///
    /// What made it end before.
    pub fn stop(mut self) -> io::Result<()> {
        self.stopper.stop();
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(e),
            Some(Err(_)) => Err(io::Error::other("the server's thread panicked")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Twice: do not wait.
            self.stopper.stop();
            self.stopper.stop();
            let _ = self.join();
        }
    }
}

/// Bytes of a connection that wait.
#[derive(Default)]
struct Park {
    /// From the peer, not consumed yet.
    input: Vec<u8>,
    /// To the peer, not sent yet from `sent` on.
    output: Vec<u8>,
    sent: usize,
}

impl Park {
    fn bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// At a boundary whose bytes are not sent yet.
    Boundary,
    /// At a boundary; the machine goes on when its timer rings.
    Paused,
    /// As `Open`, and a timer tells when the peer has been silent.
    Listening,
    /// The machine has finished: what is parked leaves, then the sending side closes.
    Flushing,
    /// Our last bytes are sent; the peer reads them and closes.
    Lingering,
}

/// All there is of a connection. With ten thousand of them, every byte counts.
struct Slot<M, T> {
    stream: TcpStream,
    /// When something last moved, in ms since the start, its low 32 bits; of a lingering one, when
    /// that began.
    stamp: u32,
    park: Option<Box<Park>>,
    machine: M,
    state: T,
    peer: Peer,
    /// The number of the timer that counts.
    timer: u16,
    phase: Phase,
    end: Option<How>,
    /// The system has announced the end: read on until it is there.
    hangup: bool,
    /// In the `again` queue. Never twice, or a flood would take turns by its events too.
    queued: bool,
}

enum Accepting {
    /// For the listener's next event.
    Waiting,
    /// There may be more.
    Ready,
    /// The system has no descriptor or memory; again at this time.
    Starved(u64),
}

/// What to do with a connection after its turn.
enum Turn {
    Wait,
    Again,
    Close,
}

struct Timer {
    due: u64,
    key: usize,
    number: u16,
}

impl Timer {
    fn order(&self) -> (u64, usize, u16) {
        (self.due, self.key, self.number)
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

struct Engine<S: Service> {
    poll: Poll,
    tick: Tick,
    listener: Option<TcpListener>,
    service: S,
    slots: Slab<Slot<S::Machine, S::State>>,
    again: VecDeque<usize>,
    timers: BinaryHeap<Reverse<Timer>>,
    input: Box<[u8]>,
    output: Box<[u8]>,
    parked: usize,
    accepting: Accepting,
    start: Instant,
    /// ms since the start, read once a round.
    now: u64,
    limits: Limits,
    observer: Option<Box<dyn Observer>>,
}

/// The service and one session's state, as what a pump talks to.
struct Talk<'s, S: Service> {
    service: &'s mut S,
    state: &'s mut S::State,
}

impl<S: Service> Application<S::Machine> for Talk<'_, S> {
    fn event(&mut self, event: <S::Machine as Machine>::Event<'_>) {
        self.service.event(self.state, event);
    }

    fn command(&mut self) -> Option<<S::Machine as Machine>::Command<'_>> {
        self.service.command(self.state)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A point of time as a slot keeps it: differences up to 49 days come out right.
#[expect(clippy::cast_possible_truncation, reason = "that is the point")]
const fn stamp(now: u64) -> u32 {
    now as u32
}

impl<S: Service> Engine<S> {
    fn run(&mut self, stops: &AtomicU32) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut swept = 0;
        let mut stopped_at = None;
        loop {
            let pause = self.pause(swept, stopped_at);
            match self.poll.poll(&mut events, pause) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            self.now = millis(self.start.elapsed());
            let mut ticked = false;
            for event in &events {
                match event.token() {
                    LISTENER => self.accepting = Accepting::Ready,
                    WAKER => {}
                    TICK => ticked = true,
                    Token(key) => {
                        if let Some(slot) = self.slots.get_mut(key) {
                            slot.hangup |= event.is_read_closed() || event.is_error();
                            if !slot.queued {
                                self.turn(key, After::More);
                            }
                        }
                    }
                }
            }
            // After the events: a slot freed by one of them is not to be taken by a newcomer while
            // another event of the batch still names it.
            self.accept(ACCEPTS);
            for _ in 0..self.again.len() {
                let Some(key) = self.again.pop_front() else { break };
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.queued = false;
                    self.turn(key, After::More);
                }
            }
            self.ring();
            if ticked || self.now - swept >= SWEEP_MS {
                swept = self.now;
                self.sweep();
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
            Accepting::Waiting => return,
            Accepting::Starved(at) if self.now < at => return,
            _ => {}
        }
        let was_starved = matches!(self.accepting, Accepting::Starved(_));
        for _ in 0..most {
            let Some(listener) = &self.listener else {
                self.accepting = Accepting::Waiting;
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => {
                    if was_starved && !matches!(self.accepting, Accepting::Ready) {
                        log::warn!("accepting clients again");
                    }
                    self.accepting = Accepting::Ready;
                    self.open(stream, peer);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.accepting = Accepting::Waiting;
                    return;
                }
                // The client gave up before it was accepted.
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else a system may say: there is no
                // event for its passing, and a loop would spin.
                Err(e) => {
                    if !was_starved {
                        log::warn!("cannot accept clients now: {}; they wait", reason(&e));
                    }
                    self.accepting = Accepting::Starved(self.now.saturating_add(ACCEPT_RETRY_MS));
                    return;
                }
            }
        }
    }

    fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        // A small message is not to wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut stream, Token(key), interest) {
            log::warn!("{peer}: cannot watch the connection: {}", reason(&e));
            return;
        }
        let (machine, state) = self.service.open();
        let peer = Peer::from(peer);
        log::debug!("{}: connected", SocketAddr::from(peer));
        entry.insert(Slot {
            stream,
            stamp: stamp(self.now),
            park: None,
            machine,
            state,
            peer,
            timer: 0,
            phase: Phase::Open,
            end: None,
            hangup: false,
            queued: false,
        });
        self.turn(key, After::More);
    }

    /// A connection's turn, and what follows from it.
    fn turn(&mut self, key: usize, after: After) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let before = slot.park.as_ref().map_or(0, |park| park.bytes());
        let mut context = Context {
            key,
            now: self.now,
            service: &mut self.service,
            input: &mut self.input,
            read_max: if self.parked > PARKED_MAX { SMALL_READ } else { usize::MAX },
            output: &mut self.output,
            observer: &mut self.observer,
            pause: None,
        };
        let turn = slot.turn(after, &mut context);
        let pause = context.pause;
        let after = slot.park.as_ref().map_or(0, |park| park.bytes());
        self.parked = self.parked + after - before;
        if let Some(ms) = pause {
            slot.timer = slot.timer.wrapping_add(1);
            let ms = ms.unwrap_or(millis(self.limits.pace));
            let due = self.now.saturating_add(ms);
            self.timers.push(Reverse(Timer { due, key, number: slot.timer }));
        }
        match turn {
            Turn::Wait => {}
            Turn::Again => {
                if !std::mem::replace(&mut slot.queued, true) {
                    self.again.push_back(key);
                }
            }
            Turn::Close => {
                self.remove(key);
                // A descriptor is free now.
                if let Accepting::Starved(at) = &mut self.accepting {
                    *at = self.now;
                }
            }
        }
    }

    fn remove(&mut self, key: usize) {
        let slot = self.slots.remove(key);
        self.parked -= slot.park.as_ref().map_or(0, |park| park.bytes());
        if let Some(observer) = &mut self.observer {
            observer.ended(key, slot.peer.into());
        }
        // Not yet told: its machine had not finished.
        if !matches!(slot.phase, Phase::Flushing | Phase::Lingering) {
            self.service.closed(slot.peer.into(), &slot.machine, &slot.state, Ended::Stopped);
        }
    }

    /// Wakes the connections whose pause is over.
    fn ring(&mut self) {
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
                Phase::Paused => {
                    slot.phase = Phase::Open;
                    self.turn(key, After::More);
                }
                Phase::Listening => {
                    slot.phase = Phase::Open;
                    self.turn(key, After::Silence);
                }
                Phase::Open | Phase::Boundary | Phase::Flushing | Phase::Lingering => {}
            }
        }
    }

    /// Ends the connections on which nothing moves.
    fn sweep(&mut self) {
        let idle = self.limits.idle.map_or(u64::MAX, millis);
        let mut expired = Vec::new();
        for (key, slot) in &self.slots {
            let age = u64::from(stamp(self.now).wrapping_sub(slot.stamp));
            let limit = if slot.phase == Phase::Lingering { LINGER_MS } else { idle };
            if age >= limit {
                expired.push(key);
            }
        }
        for key in expired {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            match slot.phase {
                Phase::Flushing | Phase::Lingering => self.remove(key),
                Phase::Open | Phase::Boundary | Phase::Paused | Phase::Listening => {
                    slot.end = Some(How::TimedOut);
                    slot.phase = Phase::Open;
                    // A peer that reads nothing is not to keep its slot by that.
                    if let Some(park) = &mut slot.park {
                        park.output.clear();
                        park.sent = 0;
                    }
                    self.turn(key, After::More);
                    if self.slots.contains(key) {
                        self.remove(key);
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
        if let Some(mut listener) = self.listener.take() {
            // Dropped, not muted: a muted listener goes on accepting in the kernel.
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accepting = Accepting::Waiting;
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if let Some(command) = self.service.finish() {
                // Refused when the session is over: good too.
                let _ = slot.machine.command(command, &mut []);
                self.turn(key, After::More);
            }
        }
    }

    fn drop_all(&mut self) {
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}

/// What a turn has besides its slot.
struct Context<'e, S: Service> {
    key: usize,
    now: u64,
    service: &'e mut S,
    input: &'e mut [u8],
    read_max: usize,
    output: &'e mut [u8],
    observer: &'e mut Option<Box<dyn Observer>>,
    /// A timer is wanted: of so many ms, or of the pace.
    pause: Option<Option<u64>>,
}

impl<S: Service> Context<'_, S> {
    fn note_received(&mut self, peer: Peer, at: usize, n: usize) {
        if let Some(observer) = self.observer {
            let bytes = &self.input[at..at + n];
            observer.moved(self.key, peer.into(), Direction::Received, bytes);
        }
    }
}

impl<M: Machine, T> Slot<M, T> {
    fn turn<S>(&mut self, silence: After, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        match self.phase {
            Phase::Lingering => return self.linger(context),
            Phase::Paused => return Turn::Wait,
            Phase::Open | Phase::Listening | Phase::Boundary | Phase::Flushing => {}
        }
        if !self.send_parked(context) {
            return Turn::Wait;
        }
        match self.phase {
            Phase::Flushing => return self.close_sending(context),
            Phase::Boundary => {
                self.phase = Phase::Paused;
                context.pause = Some(None);
                return Turn::Wait;
            }
            _ => {}
        }

        let (have, drained) = self.read_behind_parked(context);
        let after = match (self.end, silence) {
            (Some(how), _) => After::End(how),
            (None, silence) => silence,
        };
        let mut talk = Talk { service: &mut *context.service, state: &mut self.state };
        let input = Input { bytes: &context.input[..have], after };
        let Pumped { consumed, written, stop } =
            pump(&mut self.machine, &mut talk, input, context.output);

        // What was not consumed stays, unless nobody is to look at it again.
        let over = matches!(stop, Stop::Done | Stop::Abort | Stop::Failed(_));
        self.park_input(if over { &[] } else { &context.input[consumed..have] });
        let blocked = stop != Stop::Abort && !self.send_fresh(written, context);
        self.unpark();

        let need = match stop {
            Stop::Need(need) => need,
            Stop::Boundary => {
                self.phase = if blocked { Phase::Boundary } else { Phase::Paused };
                context.pause = (!blocked).then_some(None);
                return Turn::Wait;
            }
            Stop::Abort => {
                self.report(Ended::Done, context);
                let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                return Turn::Close;
            }
            Stop::Done => return self.finish(Ended::Done, blocked, context),
            Stop::Failed(e) => return self.finish(Ended::Failed(e), blocked, context),
        };
        if blocked {
            // Its being writable again brings the next turn.
            return Turn::Wait;
        }
        if let Need::InputOrSilence(ms) = need
            && self.phase != Phase::Listening
        {
            self.phase = Phase::Listening;
            context.pause = Some(Some(u64::from(ms)));
        }
        let full = have - consumed >= context.input.len();
        match need {
            Need::Output => Turn::Again,
            // Read ahead, as far as there is room, to notice when the peer leaves.
            Need::Command if full || self.end.is_some() => Turn::Wait,
            // After the end nothing comes: a machine that still asks for it is mistaken.
            Need::Input | Need::InputOrSilence(_) | Need::Either if self.end.is_some() => {
                Turn::Close
            }
            _ if !drained => Turn::Again,
            _ => Turn::Wait,
        }
    }

    /// One read into scratch, behind what is parked. How many bytes are there then, and whether
    /// the socket has no more.
    fn read_behind_parked<S: Service>(&mut self, context: &mut Context<'_, S>) -> (usize, bool) {
        let mut have = 0;
        if let Some(park) = &self.park {
            have = park.input.len();
            context.input[..have].copy_from_slice(&park.input);
        }
        let room = (context.input.len() - have).min(context.read_max);
        if self.end.is_some() || room == 0 {
            return (have, self.end.is_some());
        }
        let Some(n) = self.read(&mut context.input[have..have + room]) else {
            return (have, true);
        };
        context.note_received(self.peer, have, n);
        if n > 0 {
            self.stamp = stamp(context.now);
            if self.phase == Phase::Listening {
                self.phase = Phase::Open;
            }
        }
        // A short read has emptied the socket, unless its end is still to be read. (On unix; it
        // saves the read that would say so.)
        (have + n, self.end.is_some() || (n < room && !self.hangup))
    }

    /// `None` when nothing is there. The end is 0, and noted.
    fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        loop {
            match self.stream.read(room) {
                Ok(0) => self.end = Some(How::Closed),
                Ok(n) => return Some(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.end = Some(How::Reset),
            }
            return Some(0);
        }
    }

    /// Sends the parked output. Whether none is left.
    fn send_parked<S: Service>(&mut self, context: &mut Context<'_, S>) -> bool {
        let Some(park) = &mut self.park else { return true };
        let waiting = &park.output[park.sent..];
        let n = write(&mut self.stream, waiting);
        if n > 0 {
            self.stamp = stamp(context.now);
            if let Some(observer) = context.observer {
                let peer = self.peer.into();
                observer.moved(context.key, peer, Direction::Sent, &waiting[..n]);
            }
        }
        park.sent += n;
        if park.sent < park.output.len() {
            return false;
        }
        park.output.clear();
        park.sent = 0;
        self.unpark();
        true
    }

    /// Sends what the machine has just written, and parks what the socket does not take. Whether
    /// nothing is left.
    fn send_fresh<S: Service>(&mut self, written: usize, context: &mut Context<'_, S>) -> bool {
        let fresh = &context.output[..written];
        let n = write(&mut self.stream, fresh);
        if n > 0 {
            self.stamp = stamp(context.now);
            if let Some(observer) = context.observer {
                let peer = self.peer.into();
                observer.moved(context.key, peer, Direction::Sent, &fresh[..n]);
            }
        }
        if n < written {
            let park = self.park.get_or_insert_default();
            park.output.extend_from_slice(&fresh[n..]);
        }
        n == written
    }

    fn park_input(&mut self, rest: &[u8]) {
        match &mut self.park {
            None if rest.is_empty() => {}
            None => {
                self.park = Some(Box::new(Park { input: rest.to_vec(), ..Park::default() }));
            }
            Some(park) => {
                park.input.clear();
                park.input.extend_from_slice(rest);
            }
        }
    }

    /// Gives the memory back when nothing waits.
    fn unpark(&mut self) {
        if self.park.as_ref().is_some_and(|p| p.input.is_empty() && p.output.is_empty()) {
            self.park = None;
        }
    }

    fn report<S>(&mut self, ended: Ended<M::Error>, context: &mut Context<'_, S>)
    where
        S: Service<Machine = M, State = T>,
    {
        context.service.closed(self.peer.into(), &self.machine, &self.state, ended);
        self.phase = Phase::Flushing;
    }

    /// The machine has finished: its last bytes leave, then the connection closes.
    fn finish<S>(
        &mut self,
        ended: Ended<M::Error>,
        blocked: bool,
        context: &mut Context<'_, S>,
    ) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        self.report(ended, context);
        if blocked { Turn::Wait } else { self.close_sending(context) }
    }

    /// All is sent. To close with unread input would make the system send a reset, which can
    /// destroy our last bytes on their way: close the sending side and wait for the peer's end.
    fn close_sending<S: Service>(&mut self, context: &mut Context<'_, S>) -> Turn {
        if self.end.is_some() || self.stream.shutdown(Shutdown::Write).is_err() {
            return Turn::Close;
        }
        self.park = None;
        self.phase = Phase::Lingering;
        self.stamp = stamp(context.now);
        self.linger(context)
    }

    /// Reads and drops what the peer still sends, until its end.
    fn linger<S: Service>(&mut self, context: &mut Context<'_, S>) -> Turn {
        match self.read(context.input) {
            None => Turn::Wait,
            Some(0) => Turn::Close,
            Some(_) => Turn::Again,
        }
    }
}

/// How many of the bytes the socket took. When the peer takes none any more they count as taken:
/// how it left shows when reading.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        match stream.write(&bytes[done..]) {
            Ok(0) => return bytes.len(),
            Ok(n) => done += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return done,
            Err(_) => return bytes.len(),
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use socklab_core::math;

    use super::*;

    #[test]
    fn ten_thousand_idle_quizzes_take_64_bytes_each_at_the_most() {
        // In debug builds mio keeps more in a stream than its descriptor.
        let whole = (52 + size_of::<TcpStream>()).next_multiple_of(8);
        assert_eq!(size_of::<Option<Slot<math::Server, [u16; 2]>>>(), whole);
    }
}
