//! One connection and its turns.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use socklab_core::machine::{Input, Machine, Need, StreamEnd, StreamState};
use socklab_core::session::{Handler, Pumped, Stop, pump};

use super::payload_writer::{PayloadWriter, Socket};
use super::wakeups::Wakeups;
use super::{Ended, Service, Work};
use crate::net::peer::Peer;
use crate::net::queues::SocketQueues;
use crate::net::quote::{Notice, Quote};
use crate::net::stack::{Direction, Observer};

/// Time in milliseconds until the first check whether the last bytes have been acknowledged.
const ACK_CHECK_MS: u64 = 2;

/// Bytes of a connection that have to be stored between two turns.
#[derive(Default)]
pub(super) struct Buffered {
    /// Received bytes that the machine has not consumed.
    input: Vec<u8>,
    /// Bytes to be sent.
    pub(super) output: Vec<u8>,
    /// Number of bytes of `output` that have been sent.
    pub(super) sent: usize,
}

impl Buffered {
    /// Returns the memory used in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }
}

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The session is in progress.
    Open,
    /// At a message boundary. The bytes before it are not sent yet.
    Boundary,
    /// At a message boundary. The machine is stepped again when the timer expires.
    Paused,
    /// As `Open`, with a timer that expires when the peer has sent nothing for as long as the machine asked for.
    IdleTimer,
    /// As `Open`, and outbound payload remains. Whatever ends the connection now, also the end of this
    /// process, resets it: the peer could mistake an orderly close for the end of the payload.
    Payload,
    /// The machine has finished successfully. Buffered output is sent, then the sending side closes. The
    /// session is not reported yet.
    Finishing,
    /// The kernel has accepted the last bytes, but the peer may not have acknowledged all of them. The session is
    /// reported when it has.
    AwaitingAck,
    /// As `Finishing`, but the session has failed and is already reported.
    Flushing,
    /// The session is reported. The peer may read the last bytes and close.
    Lingering,
}

impl Phase {
    /// Returns whether the machine has finished.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Finishing | Self::AwaitingAck | Self::Flushing | Self::Lingering)
    }

    /// Returns whether the session has been reported.
    pub(super) const fn is_reported(self) -> bool {
        matches!(self, Self::Flushing | Self::Lingering)
    }
}

/// Delivery of a connection's last bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The peer's system has acknowledged them, or the state cannot be determined.
    Done,
    /// Some are not acknowledged yet.
    Pending,
    /// The peer closed or reset the connection without them.
    Lost,
}

/// End of stream that the OS has reported but that has not been read yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PendingEnd {
    /// No end has been reported.
    Unknown,
    /// An end has been reported. Reading continues until it is reached.
    End,
    /// As `End`, and the peer has closed its receiving side: a write had no effect.
    WriteClosed,
    /// The end is a reset. The OS has reported it to a write, and reports it only once: reads return the bytes
    /// received before, and then an end that looks like an orderly one.
    Reset,
}

/// State of one connection. It must be small, since a server may have ten thousand.
pub(super) struct Slot<M, T> {
    stream: TcpStream,
    /// Time of the last progress: the low 32 bits of the milliseconds since the start of the engine. While the
    /// connection lingers, the time at which that began.
    pub(super) last_progress: u32,
    /// Allocated only while bytes have to be stored.
    pub(super) buffered: Option<Box<Buffered>>,
    pub(super) machine: M,
    pub(super) state: T,
    pub(super) peer: Peer,
    /// Number of the current timer. Earlier timers of this slot are ignored.
    pub(super) timer: u16,
    pub(super) phase: Phase,
    /// End of stream that has been read.
    pub(super) end: Option<StreamEnd>,
    pub(super) pending_end: PendingEnd,
    pub(super) flags: Flags,
}

/// Set of [`Flag`]s in one byte.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags(u8);

/// Flag of a connection.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Flag {
    /// The connection is in the `again` queue. It must not be there twice, or a peer that floods would get
    /// extra turns by its events.
    Queued = 1,
    /// Another thread works for this session and will wake it. Meanwhile the session is not idle.
    Busy = 2,
    /// Part of a message is buffered, and the slot's timer is set for its [`Notice`].
    NoticeTimer = 4,
    /// The notice for this message has been given.
    Noticed = 8,
}

impl Flags {
    pub(super) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// Sets or clears a flag. Returns whether it was set before.
    pub(super) const fn set(&mut self, flag: Flag, on: bool) -> bool {
        let before = self.has(flag);
        self.0 = if on { self.0 | flag as u8 } else { self.0 & !(flag as u8) };
        before
    }
}

/// Reason for a connection's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// The connection may be able to make progress. Events are hints only.
    Event,
    /// The timer of [`Phase::IdleTimer`] has expired.
    Idle,
    /// The server stops.
    Stop,
    /// The last bytes may have been acknowledged.
    CheckAck,
}

/// What to do with a connection after its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Wait for an event or a timer.
    Wait,
    /// Give it another turn after the other connections.
    Again,
    /// Close it.
    Close,
}

/// Result of a read.
struct Unread {
    /// Number of unconsumed bytes, including those buffered before.
    have: usize,
    /// Number of bytes read now.
    fresh: usize,
    /// Whether the socket has no more bytes to read.
    drained: bool,
}

/// Passes the events of a machine to the service, and its commands to the machine.
struct ServiceHandler<'s, S: Service> {
    service: &'s mut S,
    state: &'s mut S::State,
}

impl<S: Service> Handler<S::Machine> for ServiceHandler<'_, S> {
    fn event(&mut self, event: <S::Machine as Machine>::Event<'_>) {
        self.service.event(self.state, event);
    }

    fn command(&mut self) -> Option<<S::Machine as Machine>::Command<'_>> {
        self.service.command(self.state)
    }
}

/// Truncates a time in milliseconds to 32 bits. Differences of up to 49 days remain correct.
#[expect(clippy::cast_possible_truncation, reason = "truncation is intended")]
pub(super) const fn timestamp(now: u64) -> u32 {
    now as u32
}

/// Access to the engine during a connection's turn.
pub(super) struct Context<'e, S: Service> {
    pub(super) key: usize,
    pub(super) now: u64,
    pub(super) service: &'e mut S,
    pub(super) input: &'e mut [u8],
    pub(super) read_max: usize,
    pub(super) output: &'e mut [u8],
    pub(super) observer: &'e mut Option<Box<dyn Observer>>,
    pub(super) wakeups: &'e Arc<Wakeups>,
    pub(super) queues: &'e mut Option<SocketQueues>,
    pub(super) report: &'e mut dyn FnMut(S::Report),
    /// Pause at a message boundary in milliseconds.
    pub(super) pace_ms: u64,
    /// Set by the turn: duration in milliseconds of the timer to start.
    pub(super) timer_ms: Option<u64>,
    /// Set by the turn: whether part of a message is buffered.
    pub(super) is_incomplete: bool,
    /// Whether the last bytes were written in this turn, so that they cannot have been acknowledged yet.
    pub(super) is_last_written: bool,
}

impl<S: Service> Context<'_, S> {
    fn observe_received(&mut self, peer: Peer, at: usize, n: usize) {
        if let Some(observer) = self.observer {
            let bytes = &self.input[at..at + n];
            observer.moved(self.key, peer.into(), Direction::Received, bytes);
        }
    }
}

impl<M: Machine, T> Slot<M, T> {
    pub(super) fn new(stream: TcpStream, machine: M, state: T, peer: Peer, now: u64) -> Self {
        Self {
            stream,
            last_progress: timestamp(now),
            buffered: None,
            machine,
            state,
            peer,
            timer: 0,
            phase: Phase::Open,
            end: None,
            pending_end: PendingEnd::Unknown,
            flags: Flags::default(),
        }
    }

    /// Returns the notice about an incomplete message, if part of one is buffered.
    pub(super) fn notice(&self) -> Option<Notice> {
        let part = &self.buffered.as_ref()?.input;
        if part.is_empty() {
            return None;
        }
        let (peer, length) = (self.peer.into(), part.len());
        Some(Notice { peer, part: Quote::new(part), length, is_line: M::LINES })
    }

    /// Runs one turn: a bounded amount of work.
    pub(super) fn turn<S>(&mut self, wakeup: Wakeup, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if self.flags.set(Flag::Busy, false) {
            self.last_progress = timestamp(context.now);
        }
        if wakeup == Wakeup::Stop {
            self.request_finish(context);
        }
        match self.phase {
            Phase::Lingering => return self.linger(context),
            Phase::AwaitingAck if wakeup == Wakeup::CheckAck => return self.check_ack(context),
            Phase::AwaitingAck => return self.await_ack(context),
            Phase::Paused => return Turn::Wait,
            Phase::Open
            | Phase::IdleTimer
            | Phase::Payload
            | Phase::Boundary
            | Phase::Finishing
            | Phase::Flushing => {}
        }
        if !self.send_buffered(context) {
            return Turn::Wait;
        }
        match self.phase {
            Phase::Finishing | Phase::Flushing => return self.close_sending(context),
            Phase::Boundary => return self.pause(context),
            _ => {}
        }

        let Unread { have, fresh, drained } = self.read_input(context);
        let state = match self.end {
            Some(how) => StreamState::Ended(how),
            // Bytes that arrived after the timer expired end the idle time.
            None if wakeup == Wakeup::Idle && fresh == 0 => StreamState::Idle,
            None => StreamState::Open,
        };
        let mut handler = ServiceHandler { service: &mut *context.service, state: &mut self.state };
        let input = Input { bytes: &context.input[..have], state };
        let Pumped { consumed, written, stop } =
            pump(&mut self.machine, &mut handler, input, context.output);

        // Unconsumed input is not stored after the end of the session, since it will not be read.
        let over = matches!(stop, Stop::Close | Stop::Abort | Stop::Failed(_) | Stop::Refused(_));
        if consumed > 0 {
            self.flags.set(Flag::Noticed, false);
        }
        self.store_input(if over { &[] } else { &context.input[consumed..have] });
        let blocked = stop != Stop::Abort && !self.send_new(written, context);
        self.release_buffers();

        let need = match stop {
            Stop::Need(need) => need,
            Stop::Boundary if blocked => {
                self.phase = Phase::Boundary;
                return Turn::Wait;
            }
            Stop::Boundary => return self.pause(context),
            Stop::Abort => {
                self.report(Ended::Done, context);
                self.reset();
                return Turn::Close;
            }
            Stop::Close => {
                context.is_last_written = written > 0;
                return self.finish(Ended::Done, blocked, context);
            }
            Stop::Failed(e) => {
                let quote = Quote::unread(&context.input[consumed..have], M::LINES);
                return self.finish(Ended::Failed(e, quote), blocked, context);
            }
            Stop::Refused(e) => return self.finish(Ended::Refused(e), blocked, context),
        };
        if blocked {
            // The next turn comes when the socket is writable again.
            return Turn::Wait;
        }
        if let Need::InputOrIdle(ms) = need
            && self.phase != Phase::IdleTimer
        {
            self.phase = Phase::IdleTimer;
            context.timer_ms = Some(u64::from(ms));
        }
        let full = have - consumed >= context.input.len();
        if need == Need::Command
            && let Some(turn) = self.work(context)
        {
            return turn;
        }
        context.is_incomplete =
            need != Need::Command && have > consumed && self.phase == Phase::Open;
        match need {
            Need::OutputSpace => Turn::Again,
            // Otherwise read ahead as far as the buffer allows, to detect when the peer closes.
            Need::Command if full || self.end.is_some() => Turn::Wait,
            // A machine that asks for input after the end of the stream is defective.
            Need::Input | Need::InputOrIdle(_) | Need::InputOrCommand if self.end.is_some() => {
                Turn::Close
            }
            _ if !drained => Turn::Again,
            _ => Turn::Wait,
        }
    }

    /// Gives the machine the service's [`finish`](Service::finish) command. Its output is buffered after the output
    /// that is still unsent, and sent by this turn or a later one.
    fn request_finish<S>(&mut self, context: &mut Context<'_, S>)
    where
        S: Service<Machine = M, State = T>,
    {
        if self.phase.is_over() {
            return;
        }
        let Some(command) = context.service.finish() else { return };
        // The machine refuses the command if it is out of turn.
        let written = self.machine.command(command, context.output).unwrap_or(0);
        if written > 0 {
            let buffered = self.buffered.get_or_insert_default();
            buffered.output.extend_from_slice(&context.output[..written]);
        }
    }

    /// Starts the pause at a message boundary, if there is one. All bytes before the boundary have been sent.
    const fn pause<S: Service>(&mut self, context: &mut Context<'_, S>) -> Turn {
        if context.pace_ms == 0 {
            self.phase = Phase::Open;
            return Turn::Again;
        }
        self.phase = Phase::Paused;
        context.timer_ms = Some(context.pace_ms);
        Turn::Wait
    }

    /// Discards unsent output and ends a pause, so that the next turn does not wait for a peer that has timed out.
    pub(super) fn time_out(&mut self) {
        if self.phase != Phase::Payload {
            self.phase = Phase::Open;
        }
        if let Some(buffered) = &mut self.buffered {
            buffered.output.clear();
            buffered.sent = 0;
        }
    }

    /// Returns whether the peer has read everything sent, as far as the system reports that.
    pub(super) fn has_read_all(&self, queues: &mut SocketQueues) -> bool {
        // After a reset the socket has no peer address, and there is nothing to wait for.
        match (self.stream.local_addr(), self.stream.peer_addr()) {
            (Ok(local), Ok(peer)) => queues.has_read_all(local, peer),
            _ => true,
        }
    }

    /// Returns whether output or payload has not been accepted by the socket yet.
    pub(super) fn has_output(&self) -> bool {
        let is_unsent =
            self.buffered.as_ref().is_some_and(|buffered| buffered.sent < buffered.output.len());
        is_unsent || self.phase == Phase::Payload
    }

    /// Returns the number of bytes sent that the peer has not acknowledged or not read, or `None` if the system
    /// does not report it.
    pub(super) fn outstanding(&self, queues: &mut SocketQueues) -> Option<u32> {
        queues.outstanding(self.stream.local_addr().ok()?, self.peer.into())
    }

    /// Returns the delivery of the last bytes. The sending side has been closed.
    pub(super) fn delivery(&mut self, queues: &mut SocketQueues) -> Delivery {
        if self.pending_end >= PendingEnd::WriteClosed || self.end == Some(StreamEnd::Reset) {
            return Delivery::Lost;
        }
        let local = self.stream.local_addr();
        match local.ok().and_then(|local| queues.unacknowledged(local, self.peer.into())) {
            // FIN counts as one byte.
            Some(0..=1) => Delivery::Done,
            Some(_) => Delivery::Pending,
            // Not reported, or the connection has ended: only an error shows that it was a reset.
            None if matches!(self.stream.take_error(), Ok(Some(_))) => {
                self.pending_end = PendingEnd::Reset;
                Delivery::Lost
            }
            None => Delivery::Done,
        }
    }

    /// Makes the close of the socket send RST.
    pub(super) fn reset(&self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Lets the service do its own [`work`](Service::work). Returns `None` if the turn continues as usual.
    fn work<S>(&mut self, context: &mut Context<'_, S>) -> Option<Turn>
    where
        S: Service<Machine = M, State = T>,
    {
        let outbound = self.machine.outbound_remaining();
        self.set_payload_phase(outbound > 0, S::RESETS);
        let mut payload_writer = PayloadWriter {
            stream: &self.stream,
            scratch: context.output,
            observer: match context.observer {
                Some(observer) => Some(observer.as_mut()),
                None => None,
            },
            key: context.key,
            peer: self.peer.into(),
            remaining: outbound,
            sent: 0,
            socket: Socket::Open,
            wakeups: context.wakeups,
        };
        let work = context.service.work(&mut self.state, &mut payload_writer);
        let PayloadWriter { sent, socket, .. } = payload_writer;
        // Cannot fail: `PayloadWriter` sends at most `outbound_remaining` bytes.
        let _ = self.machine.advance_outbound(sent);
        if sent > 0 || (work == Work::Again && socket == Socket::Open) {
            self.last_progress = timestamp(context.now);
        }
        match (socket, work) {
            (Socket::WriteClosed, _) => {
                self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
                // This also replaces an orderly end of the peer's stream.
                self.end = Some(StreamEnd::Reset);
                Some(Turn::Again)
            }
            // The next turn comes when the socket is writable again.
            (Socket::Full, _) => Some(Turn::Wait),
            (Socket::Open, Work::Again) => Some(Turn::Again),
            (Socket::Open, Work::Wait) => None,
            (Socket::Open, Work::Sleep) => {
                self.flags.set(Flag::Busy, true);
                None
            }
        }
    }

    /// Enters or leaves [`Phase::Payload`]. While outbound payload remains, every close of the connection must be a
    /// reset.
    fn set_payload_phase(&mut self, has_payload: bool, resets: bool) {
        let phase = if has_payload { Phase::Payload } else { Phase::Open };
        if (self.phase == Phase::Payload) != has_payload {
            let linger = (has_payload || resets).then_some(Duration::ZERO);
            let _ = socket2::SockRef::from(&self.stream).set_linger(linger);
            self.phase = phase;
        }
    }

    /// Copies the buffered input to the scratch buffer, and reads once after it.
    fn read_input<S: Service>(&mut self, context: &mut Context<'_, S>) -> Unread {
        let mut have = 0;
        if let Some(buffered) = &self.buffered {
            have = buffered.input.len();
            context.input[..have].copy_from_slice(&buffered.input);
        }
        let room = (context.input.len() - have).min(context.read_max);
        if self.end.is_some() || room == 0 {
            return Unread { have, fresh: 0, drained: self.end.is_some() };
        }
        let Some(n) = self.read(&mut context.input[have..have + room]) else {
            return Unread { have, fresh: 0, drained: true };
        };
        context.observe_received(self.peer, have, n);
        if n > 0 {
            self.last_progress = timestamp(context.now);
            if self.phase == Phase::IdleTimer {
                self.phase = Phase::Open;
            }
        }
        // A short read has emptied the socket, except for an end that is still to be read. This saves a read
        // that would return `WouldBlock`.
        let drained = self.end.is_some() || (n < room && self.pending_end == PendingEnd::Unknown);
        Unread { have: have + n, fresh: n, drained }
    }

    /// Reads once. Returns `None` if there is nothing to read now. At the end of the stream, sets `end` and
    /// returns 0.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) if self.pending_end == PendingEnd::Reset => self.end = Some(StreamEnd::Reset),
                Ok(0) => self.end = Some(StreamEnd::Closed),
                Ok(n) => return Some(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.end = Some(StreamEnd::Reset),
            }
            return Some(0);
        }
    }

    /// Sends the buffered output. Returns whether all of it has been sent.
    fn send_buffered<S: Service>(&mut self, context: &mut Context<'_, S>) -> bool {
        let Some(mut buffered) = self.buffered.take() else { return true };
        let waiting = &buffered.output[buffered.sent..];
        buffered.sent += self.send(waiting, context.now, context.observer, context.key);
        let all = buffered.sent == buffered.output.len();
        if all {
            buffered.output.clear();
            buffered.sent = 0;
        }
        self.buffered = Some(buffered);
        self.release_buffers();
        all
    }

    /// Sends what the machine has just written, and buffers what the socket does not accept. Returns whether
    /// all of it has been sent.
    fn send_new<S: Service>(&mut self, written: usize, context: &mut Context<'_, S>) -> bool {
        let fresh = &context.output[..written];
        let n = self.send(fresh, context.now, context.observer, context.key);
        if n < written {
            let buffered = self.buffered.get_or_insert_default();
            buffered.output.extend_from_slice(&fresh[n..]);
        }
        n == written
    }

    /// Sends bytes. Returns the number that the socket has accepted. When the peer has closed its receiving side
    /// or reset the connection, all of them count as accepted: the next reads return how the stream ended.
    fn send(
        &mut self,
        bytes: &[u8],
        now: u64,
        observer: &mut Option<Box<dyn Observer>>,
        key: usize,
    ) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(n) if n > 0 => {
                    self.last_progress = timestamp(now);
                    if let Some(observer) = observer {
                        let bytes = &bytes[sent..sent + n];
                        observer.moved(key, self.peer.into(), Direction::Sent, bytes);
                    }
                    sent += n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return sent,
                // The peer has closed in order or by a reset. Only a read shows which.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
                    return bytes.len();
                }
                Err(_) => {
                    self.pending_end = PendingEnd::Reset;
                    return bytes.len();
                }
                Ok(_) => return bytes.len(),
            }
        }
        sent
    }

    /// Stores the unconsumed input until the next turn.
    fn store_input(&mut self, rest: &[u8]) {
        match &mut self.buffered {
            None if rest.is_empty() => {}
            None => {
                self.buffered =
                    Some(Box::new(Buffered { input: rest.to_vec(), ..Buffered::default() }));
            }
            Some(buffered) => {
                buffered.input.clear();
                buffered.input.extend_from_slice(rest);
            }
        }
    }

    /// Frees the buffers if they are empty.
    fn release_buffers(&mut self) {
        if self.buffered.as_ref().is_some_and(|p| p.input.is_empty() && p.output.is_empty()) {
            self.buffered = None;
        }
    }

    /// Reports the session. Afterwards the connection only sends its buffered output.
    fn report<S>(&mut self, ended: Ended<M::Error>, context: &mut Context<'_, S>)
    where
        S: Service<Machine = M, State = T>,
    {
        let peer = self.peer.into();
        let report = context.service.closed(peer, &self.machine, &mut self.state, ended);
        (context.report)(report);
        self.phase = Phase::Flushing;
    }

    /// Handles the end of the machine: sends its last bytes, then closes the connection.
    fn finish<S>(
        &mut self,
        ended: Ended<M::Error>,
        blocked: bool,
        context: &mut Context<'_, S>,
    ) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        let is_done = matches!(ended, Ended::Done);
        let has_payload = self.machine.outbound_remaining() > 0 || (S::RESETS && !is_done);
        self.set_payload_phase(has_payload, S::RESETS);
        if is_done && !has_payload {
            self.phase = Phase::Finishing;
        } else {
            self.report(ended, context);
        }
        match (has_payload, blocked) {
            (true, _) => Turn::Close,
            (false, true) => Turn::Wait,
            (false, false) => self.close_sending(context),
        }
    }

    /// Closes the sending side after all output has been sent, and waits for the peer to close.
    ///
    /// Closing the socket at once would send RST if there is unread input, and the peer could then lose the last
    /// bytes.
    fn close_sending<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if S::RESETS {
            let _ = socket2::SockRef::from(&self.stream).set_linger(None);
        }
        let is_lost = self.stream.shutdown(Shutdown::Write).is_err();
        if is_lost {
            self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
        }
        self.buffered = None;
        self.last_progress = timestamp(context.now);
        if self.phase == Phase::Finishing {
            self.phase = Phase::AwaitingAck;
            return self.await_ack(context);
        }
        if is_lost || self.end.is_some() {
            return Turn::Close;
        }
        self.phase = Phase::Lingering;
        self.linger(context)
    }

    /// Reads and discards what the peer sends until it has acknowledged the last bytes.
    fn await_ack<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if self.end.is_none() && self.pending_end < PendingEnd::WriteClosed {
            match self.read(context.input) {
                // The peer's close usually arrives within this time, and confirms the delivery without a query.
                None if context.is_last_written => context.timer_ms = Some(ACK_CHECK_MS),
                // Written in an earlier turn, so usually acknowledged by now.
                None => return self.check_ack(context),
                Some(0) => {}
                Some(_) => return Turn::Again,
            }
            if self.end.is_none() {
                return Turn::Wait;
            }
        }
        self.check_ack(context)
    }

    /// Reports the session if the delivery of its last bytes is known. Otherwise sets a timer for the next check.
    fn check_ack<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        match self.delivery(context.queues.get_or_insert_with(SocketQueues::new)) {
            Delivery::Pending => {
                // At growing intervals, so that thousands of peers that never read cost little.
                let waited = u64::from(timestamp(context.now).wrapping_sub(self.last_progress));
                context.timer_ms = Some(waited.div_ceil(4).clamp(ACK_CHECK_MS, 1000));
                return Turn::Wait;
            }
            Delivery::Done => self.report(Ended::Done, context),
            Delivery::Lost => self.report(Ended::Undelivered, context),
        }
        if self.end.is_some() || self.pending_end >= PendingEnd::WriteClosed {
            return Turn::Close;
        }
        self.phase = Phase::Lingering;
        self.last_progress = timestamp(context.now);
        self.linger(context)
    }

    /// Reads and discards what the peer sends, until its end of stream.
    fn linger<S: Service>(&mut self, context: &mut Context<'_, S>) -> Turn {
        match self.read(context.input) {
            None => Turn::Wait,
            Some(0) => Turn::Close,
            Some(_) => Turn::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use socklab_core::math::server::Server;

    use super::*;

    type State = <crate::math::Service as Service>::State;

    #[test]
    fn ten_thousand_idle_quizzes_take_64_bytes_each_at_most() {
        // In debug builds, a stream of mio contains more than its descriptor.
        let whole = (52 + size_of::<TcpStream>()).next_multiple_of(8);
        assert_eq!(size_of::<Option<Slot<Server, State>>>(), whole);
    }
}
