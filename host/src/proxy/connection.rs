//! A proxied connection: two sockets, and the bytes between them.

mod resetting;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use socklab_core::machine::StreamEnd;

use self::resetting::Resetting;
use super::{Connection, Ended, Event, Flow, Observer, Side};
use crate::faults::{Ending, Faults, Schedule, Step};
use crate::net::is_self_connected;
use crate::sys::extra::net::SocketQueues;
use crate::sys::net as system;

/// Size in bytes of the buffer that all connections share for reading. A direction without faults keeps at most these
/// bytes for a side that does not read. With 64 KiB, a proxied transfer was slower by a quarter.
pub(super) const SCRATCH: usize = 512 * 1024;
/// Size of a read while all connections together keep many bytes.
pub(super) const SMALL_READ: usize = 16 * 1024;
/// Number of bytes that a direction with faults keeps. It limits the throughput with a delay.
const KEPT: usize = 1024 * 1024;
/// Number of reads of one direction in a turn. It is limited so that a flood does not delay the other connections.
const READS: usize = 4;
/// Number of steps of one direction with faults in a turn.
const STEPS: usize = 64;
/// Time that both sides have to close after a fault has closed the connection.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that wait, oldest first. It has memory only while there are any.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn extend(&mut self, bytes: &[u8]) {
        // Moved to the front only if at least as many bytes have been consumed, so that each byte moves about once.
        if self.start >= self.len() && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// One of the two sockets.
struct Socket {
    stream: TcpStream,
    registered: Interest,
    /// Whether a read may return something.
    may_read: bool,
    /// Whether an end of the stream has been reported. It may still have to be read.
    has_end: bool,
    /// Whether the connection has failed. What was received before can still be read.
    has_failed: bool,
    /// Whether the socket has refused bytes since the last event.
    is_full: bool,
}

/// Result of a read.
enum Received {
    Bytes(usize),
    Nothing,
    End(StreamEnd),
}

impl Socket {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            registered: Interest::READABLE | Interest::WRITABLE,
            may_read: true,
            has_end: false,
            has_failed: false,
            is_full: false,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            match self.stream.read(buffer) {
                Ok(0) if self.has_failed => return Received::End(StreamEnd::Reset),
                Ok(0) => return Received::End(StreamEnd::Closed),
                Ok(n) => {
                    // A short read has emptied the socket, except for an end that is still to be read. This saves a
                    // read that would return `WouldBlock`, which some systems need for the next event.
                    let is_short = system::EDGE_TRIGGERED && n < buffer.len();
                    self.may_read = !is_short || self.has_end || self.has_failed;
                    return Received::Bytes(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock && !self.has_failed => {
                    self.may_read = false;
                    return Received::Nothing;
                }
                Err(_) => return Received::End(StreamEnd::Reset),
            }
        }
    }

    /// Writes once. Returns the number of bytes that the socket has accepted.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Ok(0);
                }
                Err(e) => {
                    (self.has_failed, self.may_read) = (true, true);
                    return Err(e);
                }
                Ok(n) => return Ok(n),
            }
        }
    }

    /// Makes the close of the socket a reset.
    fn reset(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// One direction.
struct Lane {
    /// Bytes that have been read and not passed on.
    kept: Buffer,
    /// How the sender's stream has ended, once that has been read.
    end: Option<StreamEnd>,
    schedule: Option<Box<Schedule>>,
    /// Offset of the byte that the schedule changes, until it has been passed on.
    flip: Option<u64>,
    /// Time at which the engine runs a turn.
    timer: Option<Duration>,
    state: LaneState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Open,
    Stalled,
    /// The end has been passed on.
    Ended,
    /// The receiver has failed. Nothing can be passed on.
    Dead,
}

/// State of a connection.
enum Phase {
    /// Connecting to the server address with the first index. The second is that of the address that was tried first.
    Connecting(usize, usize),
    Open,
    /// A fault has closed the connection. What arrives is dropped until this time, or until both sides have closed.
    Closing {
        until: Duration,
        read: [bool; 2],
        ended: Option<Ended>,
    },
    /// A fault resets the connection as soon as the bytes that have been passed on are delivered.
    Resetting(Resetting),
}

/// What the engine does after a turn.
pub(super) enum Turn {
    /// Wait for an event.
    Wait,
    /// Run another turn after those of the other connections.
    Again,
    /// Remove the connection.
    End(Ended),
}

/// What the turns of all connections share.
pub(super) struct Context<'c> {
    pub(super) now: Duration,
    pub(super) scratch: &'c mut [u8],
    pub(super) observers: &'c mut [Box<dyn Observer>],
    /// Maximum number of bytes of a read.
    pub(super) read_max: usize,
    /// Whether bytes may be read: see [`Observer::is_ready`].
    pub(super) may_read: bool,
    /// Queries of what is acknowledged, since the first use.
    pub(super) queues: &'c mut Option<SocketQueues>,
}

impl Context<'_> {
    pub(super) fn observe(&mut self, connection: &Connection, event: &Event<'_>) {
        for observer in &mut *self.observers {
            observer.observe(connection, event);
        }
    }
}

/// A connection of the engine.
pub(super) struct Pair {
    pub(super) info: Connection,
    sockets: [Socket; 2],
    lanes: [Lane; 2],
    phase: Phase,
    /// Time of the last progress, or of the start of connecting.
    pub(super) progress: Duration,
    /// Side that closed first.
    first: Option<Side>,
    /// Whether the connection is in the engine's queue.
    pub(super) is_queued: bool,
}

impl Pair {
    /// Returns a pair whose second socket is connecting to the server address with the first index of `targets`. The
    /// second is that of the address that was tried first.
    pub(super) fn new(
        info: Connection,
        (client, server): (TcpStream, TcpStream),
        targets: (usize, usize),
        faults: &[Faults; 2],
        seed: u64,
        now: Duration,
    ) -> Self {
        let lane = |faults: &Faults, seed| Lane {
            kept: Buffer::default(),
            end: None,
            schedule: (!faults.is_none()).then(|| Box::new(Schedule::new(*faults, seed))),
            flip: faults.flip,
            timer: None,
            state: LaneState::Open,
        };
        // Each direction has a seed of its own.
        let lanes = [lane(&faults[0], seed), lane(&faults[1], !seed)];
        let sockets = [Socket::new(client), Socket::new(server)];
        let phase = Phase::Connecting(targets.0, targets.1);
        Self { info, sockets, lanes, phase, progress: now, first: None, is_queued: false }
    }

    /// Returns the number of bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        self.lanes.iter().map(|lane| lane.kept.len()).sum()
    }

    /// Returns the directions that had too few bytes for the flip of a bit, with its offset.
    pub(super) fn unflipped(&self) -> impl Iterator<Item = (Flow, u64)> {
        let passed = [(Flow::Up, self.info.up), (Flow::Down, self.info.down)];
        let lanes = passed.into_iter().zip(&self.lanes);
        lanes.filter_map(|((flow, n), lane)| Some((flow, lane.flip.filter(|at| *at >= n)?)))
    }

    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(..))
    }

    /// Registers both sockets, with these tokens.
    pub(super) fn register(&mut self, registry: &Registry, tokens: [Token; 2]) -> io::Result<()> {
        for (socket, token) in self.sockets.iter_mut().zip(tokens) {
            registry.register(&mut socket.stream, token, socket.registered)?;
        }
        Ok(())
    }

    /// Replaces the socket of the server by one that connects to another address.
    pub(super) fn replace_server(
        &mut self,
        stream: TcpStream,
        (targets, server): ((usize, usize), SocketAddr),
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let _ = registry.deregister(&mut self.sockets[1].stream);
        self.sockets[1] = Socket::new(stream);
        self.phase = Phase::Connecting(targets.0, targets.1);
        self.info.server = server;
        let Socket { stream, registered, .. } = &mut self.sockets[1];
        registry.register(stream, token, *registered)
    }

    /// Changes the events that the sockets are registered for, where that depends on what is waited for.
    pub(super) fn update_interest(
        &mut self,
        registry: &Registry,
        tokens: [Token; 2],
    ) -> io::Result<()> {
        if system::EDGE_TRIGGERED || self.is_connecting() {
            return Ok(());
        }
        for (side, token) in tokens.into_iter().enumerate() {
            let reads = match self.phase {
                Phase::Closing { .. } => true,
                Phase::Resetting(_) => false,
                _ => self.can_keep(side),
            };
            let socket = &mut self.sockets[side];
            // A socket that is not read must not cause events while it waits for writing: each would be followed by the
            // next one.
            let wanted = match (reads, socket.is_full) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (false, true) => Interest::WRITABLE,
                (_, false) => Interest::READABLE,
            };
            if wanted != socket.registered {
                registry.reregister(&mut socket.stream, token, wanted)?;
                socket.registered = wanted;
            }
        }
        Ok(())
    }

    /// Records an event of a socket: everything has to be tried again.
    pub(super) fn wake(&mut self, side: usize, event: &mio::event::Event) {
        let socket = &mut self.sockets[side];
        (socket.may_read, socket.is_full) = (true, false);
        socket.has_end |= event.is_read_closed() || event.is_error();
        // The error of a socket that is connecting belongs to `connected`.
        let is_connecting = side == 1 && matches!(self.phase, Phase::Connecting(..));
        if event.is_error() && !is_connecting {
            socket.has_failed |= matches!(socket.stream.take_error(), Ok(Some(_)));
        }
    }

    /// Returns the index of the server address, that of the address tried first, and the result of connecting; `None`
    /// before there is one.
    pub(super) fn connected(&self) -> Option<((usize, usize), io::Result<()>)> {
        let Phase::Connecting(target, first) = self.phase else { return None };
        let stream = &self.sockets[1].stream;
        let result = match stream.take_error() {
            Ok(Some(e)) | Err(e) => Err(e),
            Ok(None) => match stream.peer_addr() {
                Ok(_) if is_self_connected(&SockRef::from(stream)) => {
                    self.sockets[1].reset();
                    Err(ErrorKind::ConnectionRefused.into())
                }
                Ok(_) => Ok(()),
                Err(e) if e.kind() == ErrorKind::NotConnected => return None,
                Err(e) => Err(e),
            },
        };
        Some(((target, first), result))
    }

    /// Starts to pass bytes on.
    pub(super) fn open(&mut self, context: &mut Context<'_>) {
        crate::net::prepare(&SockRef::from(&self.sockets[1].stream));
        (self.phase, self.progress) = (Phase::Open, context.now);
        context.observe(&self.info, &Event::Connected);
    }

    /// Returns the earliest time at which a lane has something to do, and that has no timer yet.
    pub(super) fn new_timer(&mut self, now: Duration) -> Option<Duration> {
        let mut due = None;
        let closing = match self.phase {
            Phase::Closing { until, .. } => Some(until),
            Phase::Resetting(Resetting { check_at, .. }) => Some(check_at),
            _ => None,
        };
        for lane in &mut self.lanes {
            lane.timer = lane.timer.filter(|time| *time > now);
            let wanted = match (&mut lane.schedule, lane.state) {
                (Some(schedule), LaneState::Open) if closing.is_none() => {
                    match schedule.next(now) {
                        Step::Wait(time) => Some(time),
                        _ => None,
                    }
                }
                _ => closing,
            };
            if let Some(time) = wanted
                && lane.timer.is_none_or(|timer| time < timer)
            {
                lane.timer = Some(time);
                due = Some(due.map_or(time, |due: Duration| due.min(time)));
            }
        }
        due
    }

    /// Returns whether bytes of this side can be kept.
    fn can_keep(&self, side: usize) -> bool {
        let lane = &self.lanes[side];
        lane.end.is_none()
            && match (&lane.schedule, lane.state) {
                (_, LaneState::Ended | LaneState::Dead) => false,
                (Some(schedule), _) => schedule.has_room() && lane.kept.len() < KEPT,
                (None, _) => lane.kept.is_empty(),
            }
    }

    /// Passes on what can be passed on, a bounded amount.
    pub(super) fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        match self.phase {
            Phase::Connecting(..) => return Turn::Wait,
            Phase::Closing { .. } => return self.drop_input(context),
            Phase::Resetting(_) => return self.await_delivery(context),
            Phase::Open => {}
        }
        let mut again = false;
        for flow in [Flow::Up, Flow::Down] {
            let result = match self.lanes[flow as usize].schedule {
                Some(_) => self.advance_scheduled(flow, context),
                None => self.advance(flow, context),
            };
            match result {
                Turn::Wait => {}
                Turn::Again => again = true,
                end @ Turn::End(_) => return end,
            }
            match self.phase {
                Phase::Closing { .. } => return Turn::Again,
                Phase::Resetting(_) => return Turn::Wait,
                _ => {}
            }
        }
        let [up, down] = &self.lanes;
        if up.state == LaneState::Ended && down.state == LaneState::Ended {
            return Turn::End(Ended::Closed(self.first.unwrap_or(Side::Client)));
        }
        // A failed receiver has nothing more to say, or has closed before.
        for flow in [Flow::Up, Flow::Down] {
            let back = self.lanes[flow.reverse() as usize].state;
            if self.lanes[flow as usize].state == LaneState::Dead
                && matches!(back, LaneState::Ended | LaneState::Dead)
            {
                return Turn::End(Ended::Reset(flow.to()));
            }
        }
        if again { Turn::Again } else { Turn::Wait }
    }

    /// Passes bytes on as they are.
    fn advance(&mut self, flow: Flow, context: &mut Context<'_>) -> Turn {
        for _ in 0..READS {
            if self.lanes[flow as usize].state != LaneState::Open {
                return Turn::Wait;
            }
            let mut kept = std::mem::take(&mut self.lanes[flow as usize].kept);
            if !kept.is_empty() {
                if !self.sockets[flow.to() as usize].is_full {
                    kept.consume(self.pass(flow, kept.bytes(), context));
                }
                let lane = &mut self.lanes[flow as usize];
                if lane.state == LaneState::Open && !kept.is_empty() {
                    lane.kept = kept;
                    // Only a socket that has refused bytes reports, on every system, that it takes some again.
                    if self.sockets[flow.to() as usize].is_full {
                        // The reset need not wait for a receiver that does not read.
                        return self.wait_or_reset(flow);
                    }
                }
                continue;
            }
            if let Some(end) = self.lanes[flow as usize].end {
                return self.pass_end(flow, end, context);
            }
            let socket = &mut self.sockets[flow as usize];
            if !socket.may_read {
                return Turn::Wait;
            }
            if !context.may_read {
                return Turn::Again;
            }
            // Taken out of the context, which the observers need.
            let scratch = std::mem::take(&mut context.scratch);
            let read_max = context.read_max.min(scratch.len());
            match socket.read(&mut scratch[..read_max]) {
                Received::Nothing => {}
                Received::End(end) => self.lanes[flow as usize].end = Some(end),
                Received::Bytes(n) => {
                    self.progress = context.now;
                    let passed = self.pass(flow, &scratch[..n], context);
                    let lane = &mut self.lanes[flow as usize];
                    if passed < n && lane.state == LaneState::Open {
                        lane.kept.extend(&scratch[passed..n]);
                    }
                }
            }
            context.scratch = scratch;
        }
        Turn::Again
    }

    /// Passes bytes on by the schedule.
    fn advance_scheduled(&mut self, flow: Flow, context: &mut Context<'_>) -> Turn {
        let now = context.now;
        for _ in 0..STEPS {
            if matches!(self.lanes[flow as usize].state, LaneState::Ended | LaneState::Dead) {
                return Turn::Wait;
            }
            let can_keep = self.can_keep(flow as usize);
            let socket = &mut self.sockets[flow as usize];
            let has_read = can_keep && socket.may_read && context.may_read;
            if has_read {
                let lane = &mut self.lanes[flow as usize];
                let Some(schedule) = &mut lane.schedule else { return Turn::Wait };
                let most = context.read_max.min(context.scratch.len()).min(KEPT - lane.kept.len());
                let scratch = &mut context.scratch[..most];
                match socket.read(scratch) {
                    Received::Nothing => {}
                    Received::End(end) => {
                        lane.end = Some(end);
                        schedule.end(now, end);
                    }
                    Received::Bytes(n) => {
                        self.progress = now;
                        schedule.arrive(now, &mut scratch[..n]);
                        lane.kept.extend(&scratch[..n]);
                    }
                }
            }
            let lane = &mut self.lanes[flow as usize];
            let Some(schedule) = &mut lane.schedule else { return Turn::Wait };
            match schedule.next(now) {
                Step::Write(n) if !self.sockets[flow.to() as usize].is_full => {
                    let mut kept = std::mem::take(&mut lane.kept);
                    let passed = self.pass(flow, &kept.bytes()[..n], context);
                    let lane = &mut self.lanes[flow as usize];
                    if let Some(schedule) = &mut lane.schedule {
                        schedule.left(now, passed);
                    }
                    kept.consume(passed);
                    if lane.state != LaneState::Dead {
                        lane.kept = kept;
                    }
                    continue;
                }
                Step::Write(_) if lane.end == Some(StreamEnd::Reset) => {
                    return self.wait_or_reset(flow);
                }
                Step::Write(_) | Step::Wait(_) | Step::Idle => {}
                Step::End(end) => return self.pass_end(flow, end, context),
                Step::Fault(Ending::Stall) => {
                    if lane.state == LaneState::Open {
                        lane.state = LaneState::Stalled;
                        context.observe(&self.info, &Event::Stalled(flow));
                    }
                    if lane.end == Some(StreamEnd::Reset) {
                        return self.wait_or_reset(flow);
                    }
                }
                Step::Fault(Ending::Reset) => return self.start_reset(flow, context),
                Step::Fault(Ending::Close) => {
                    self.close(flow, context);
                    return Turn::Wait;
                }
            }
            if !has_read {
                let socket = &self.sockets[flow as usize];
                let waits = can_keep && socket.may_read && !context.may_read;
                return if waits { Turn::Again } else { Turn::Wait };
            }
        }
        Turn::Again
    }

    fn wait_or_reset(&self, flow: Flow) -> Turn {
        let has_reset = self.lanes[flow as usize].end == Some(StreamEnd::Reset)
            || self.sockets[flow as usize].has_failed;
        if has_reset { Turn::End(Ended::Reset(flow.from())) } else { Turn::Wait }
    }

    /// Writes to the receiver. Returns the number of bytes that it accepted.
    fn pass(&mut self, flow: Flow, bytes: &[u8], context: &mut Context<'_>) -> usize {
        match self.sockets[flow.to() as usize].write(bytes) {
            Ok(0) => 0,
            Ok(n) => {
                self.progress = context.now;
                let passed = match flow {
                    Flow::Up => &mut self.info.up,
                    Flow::Down => &mut self.info.down,
                };
                *passed += n as u64;
                let before = *passed - n as u64;
                context.observe(&self.info, &Event::Moved(flow, &bytes[..n]));
                let flipped = self.lanes[flow as usize].flip.filter(|at| *at >= before);
                if let Some(offset) = flipped.filter(|at| *at - before < n as u64) {
                    self.lanes[flow as usize].flip = None;
                    context.observe(&self.info, &Event::Flipped(flow, offset));
                }
                n
            }
            Err(_) => {
                self.lanes[flow as usize].state = LaneState::Dead;
                0
            }
        }
    }

    fn pass_end(&mut self, flow: Flow, end: StreamEnd, context: &mut Context<'_>) -> Turn {
        if end != StreamEnd::Closed {
            return Turn::End(Ended::Reset(flow.from()));
        }
        // If the receiver has failed, its own direction shows that.
        let _ = self.sockets[flow.to() as usize].stream.shutdown(Shutdown::Write);
        self.lanes[flow as usize].state = LaneState::Ended;
        self.first.get_or_insert(flow.from());
        self.progress = context.now;
        context.observe(&self.info, &Event::Closed(flow));
        Turn::Wait
    }

    /// Closes both directions, because of a fault.
    fn close(&mut self, flow: Flow, context: &mut Context<'_>) {
        for flow in [flow, flow.reverse()] {
            let lane = &mut self.lanes[flow as usize];
            if lane.state != LaneState::Ended {
                lane.state = LaneState::Ended;
                let _ = self.sockets[flow.to() as usize].stream.shutdown(Shutdown::Write);
                context.observe(&self.info, &Event::Closed(flow));
            }
            lane.kept = Buffer::default();
        }
        let read = [0, 1].map(|side| self.lanes[side].end.is_some());
        let ended = Some(Ended::Fault(flow, Ending::Close));
        self.phase = Phase::Closing { until: context.now + LINGER, read, ended };
    }

    /// Reads and drops what arrives after a fault has closed the connection. Closing at once would reset it, and could
    /// destroy the last bytes.
    fn drop_input(&mut self, context: &mut Context<'_>) -> Turn {
        let Phase::Closing { until, read, ended } = &mut self.phase else { return Turn::Wait };
        let mut again = false;
        for (read, socket) in read.iter_mut().zip(&mut self.sockets) {
            for _ in 0..READS {
                if *read || !socket.may_read {
                    break;
                }
                *read = matches!(socket.read(context.scratch), Received::End(_));
            }
            again |= !*read && socket.may_read;
        }
        if context.now >= *until || *read == [true, true] {
            return Turn::End(ended.take().unwrap_or(Ended::Stopped));
        }
        if again { Turn::Again } else { Turn::Wait }
    }

    /// Prepares the sockets for being closed.
    pub(super) fn end(&self, ended: &Ended) {
        match ended {
            Ended::Closed(_) | Ended::Fault(_, Ending::Close) => {}
            _ => self.sockets.iter().for_each(Socket::reset),
        }
    }
}
