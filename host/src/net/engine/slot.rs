//! One connection and its turns.

mod buffers;
mod closing;
mod state;
mod transfer;

use std::net::SocketAddr;
use std::sync::Arc;

use socklab_core::machine::{EventView, Input, Machine, StreamEnd, StreamState};
use socklab_core::session::{Handler, Pumped, Stop, Want, pump};

pub(super) use self::buffers::{Buffers, Place};
pub(super) use self::state::{Delivery, Flag, Flags, PendingEnd, Phase, Turn, Wakeup};
use self::transfer::Unread;
use super::payload_writer::{PayloadWriter, Socket};
use super::wakeups::Wakeups;
use super::{Ended, Internal, Service, Work};
use crate::net::peer::{Peer, Peers};
use crate::net::quote::{Notice, Quote};
use crate::net::stack::Observer;
use crate::net::system::{Stream, System};

/// State of one connection. It must be small, since a server may have ten thousand.
pub(super) struct Slot<K, M, T> {
    stream: K,
    /// Time of the last progress: the low 32 bits of the milliseconds since the start of the engine. While the
    /// connection lingers, the time at which that began.
    pub(super) last_progress: u32,
    /// Used only while bytes have to be stored.
    pub(super) buffered: Place,
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

/// Passes the events of a machine to the service, and its commands to the machine.
struct ServiceHandler<'s, S: Service> {
    service: &'s mut S,
    state: &'s mut S::State,
}

impl<S: Service> Handler<S::Machine> for ServiceHandler<'_, S> {
    fn event(&mut self, event: EventView<'_, S::Machine>) {
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
pub(super) struct Context<'e, S: Service, N> {
    pub(super) system: &'e mut N,
    pub(super) peers: &'e Peers,
    pub(super) buffers: &'e mut Buffers,
    pub(super) key: usize,
    pub(super) now: u64,
    pub(super) service: &'e mut S,
    pub(super) input: &'e mut [u8],
    pub(super) read_max: usize,
    pub(super) output: &'e mut [u8],
    pub(super) observer: &'e mut Option<Box<dyn Observer>>,
    pub(super) wakeups: &'e Arc<Wakeups>,
    pub(super) report: &'e mut dyn FnMut(S::Report),
    /// Pause at a message boundary in milliseconds.
    pub(super) pace_ms: u64,
    /// Set by the turn: duration in milliseconds of the timer to start.
    pub(super) timer_ms: Option<u64>,
    /// Set by the turn: whether part of a message is buffered.
    pub(super) is_incomplete: bool,
    /// Whether the last bytes were written in this turn, so that they cannot have been acknowledged yet.
    pub(super) is_last_written: bool,
    /// Set by the turn: whether the socket has no more bytes to read. Bytes that arrive later give an event.
    pub(super) is_drained: bool,
}

impl<K: Stream, M: Machine, T> Slot<K, M, T> {
    pub(super) fn new(stream: K, machine: M, state: T, peer: Peer, now: u64) -> Self {
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
    pub(super) fn notice(&self, peers: &Peers, buffers: &Buffers) -> Option<Notice> {
        let part = &buffers.get(self.buffered)?.input;
        // A server that waits until its output is read does not wait for input, and neither does one whose turn it is.
        if part.is_empty() || self.flags.has(Flag::Full) || !self.flags.has(Flag::Incomplete) {
            return None;
        }
        let (peer, length) = (peers.get(&self.peer), part.len());
        Some(Notice { peer, part: Quote::new(part), length, is_line: M::LINES })
    }

    /// Runs one turn: a bounded amount of work.
    pub(super) fn turn<S, N>(&mut self, wakeup: Wakeup, context: &mut Context<'_, S, N>) -> Turn
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
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

        let Unread { have, fresh, drained } = match wakeup {
            // What has arrived by now gives an event. The read would find nothing in most cases.
            Wakeup::Opened => Unread::NOTHING,
            _ => self.read_input(context),
        };
        context.is_drained = drained;
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

        if self.phase == Phase::Payload && self.machine.outbound_remaining() == 0 {
            // Before another phase takes its place: the close would remain a reset.
            self.set_payload_phase(false, S::RESETS);
        }
        // Unconsumed input is not stored after the end of the session, since it will not be read.
        let over = !matches!(stop, Stop::Want(want) if !want.is_last());
        if consumed > 0 {
            self.flags.set(Flag::Noticed, false);
        }
        let rest = if over { &[] } else { &context.input[consumed..have] };
        self.store_input(rest, context.buffers);
        let resets = matches!(stop, Stop::Want(Want::Abort | Want::Broken(_)));
        let blocked = !resets && !self.send_new(written, context);
        self.release_buffers(context.buffers);

        let want = match stop {
            Stop::Want(Want::Boundary) if blocked => {
                self.phase = Phase::Boundary;
                return Turn::Wait;
            }
            Stop::Want(Want::Boundary) => return self.pause(context),
            Stop::Want(Want::Abort) => {
                self.report(Ended::Done, context);
                self.reset();
                return Turn::Close;
            }
            Stop::Want(Want::Broken(law)) => {
                self.report(Ended::Internal(Internal::Law(law)), context);
                self.reset();
                return Turn::Close;
            }
            Stop::Want(Want::Close) => {
                context.is_last_written = written > 0;
                return self.finish(Ended::Done, blocked, context);
            }
            Stop::Want(want) => want,
            Stop::Failed(e) => {
                let quote = Quote::unread(&context.input[consumed..have], M::LINES);
                return self.finish(Ended::Failed(e, quote), blocked, context);
            }
            Stop::Refused(e) => {
                return self.finish(Ended::Internal(Internal::Command(e)), blocked, context);
            }
        };
        if blocked {
            // The next turn comes when the socket is writable again.
            return Turn::Wait;
        }
        if let Want::Read { idle_ms: Some(ms) } = want
            && self.phase != Phase::IdleTimer
        {
            self.phase = Phase::IdleTimer;
            context.timer_ms = Some(u64::from(ms.get()));
        }
        let full = have - consumed >= context.input.len();
        if want == Want::Command
            && let Some(turn) = self.work(context)
        {
            return turn;
        }
        context.is_incomplete =
            want != Want::Command && have > consumed && self.phase == Phase::Open;
        match want {
            Want::Write => Turn::Again,
            // Otherwise read ahead as far as the buffer allows, to detect when the peer closes.
            Want::Command if full || self.end.is_some() => Turn::Wait,
            _ if !drained => Turn::Again,
            _ => Turn::Wait,
        }
    }

    /// Gives the machine the service's [`finish`](Service::finish) command. Its output is buffered after the output
    /// that is still unsent, and sent by this turn or a later one.
    fn request_finish<S, N>(&mut self, context: &mut Context<'_, S, N>)
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        if self.phase.is_over() {
            return;
        }
        let Some(command) = context.service.finish() else { return };
        // The machine refuses the command if it is out of turn.
        let written = self.machine.command(command, context.output).unwrap_or(0);
        if written > 0 {
            let buffered = context.buffers.get_or_insert_default(&mut self.buffered);
            buffered.output.extend_from_slice(&context.output[..written]);
        }
    }

    /// Starts the pause at a message boundary, if there is one. All bytes before the boundary have been sent.
    const fn pause<S: Service, N>(&mut self, context: &mut Context<'_, S, N>) -> Turn {
        if context.pace_ms == 0 {
            self.phase = Phase::Open;
            return Turn::Again;
        }
        self.phase = Phase::Paused;
        context.timer_ms = Some(context.pace_ms);
        Turn::Wait
    }

    /// Discards unsent output and ends a pause, so that the next turn does not wait for a peer that has timed out.
    ///
    /// If there was unsent output, later output is discarded too: the peer would take it for the rest of what is missing.
    pub(super) fn time_out(&mut self, buffers: &mut Buffers) {
        if self.phase != Phase::Payload {
            self.phase = Phase::Open;
        }
        if let Some(buffered) = buffers.get_mut(self.buffered)
            && !buffered.output.is_empty()
        {
            buffered.output.clear();
            buffered.sent = 0;
            self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
        }
    }

    /// Returns whether the peer has read everything sent, as far as the system reports that.
    pub(super) fn has_read_all(&self, system: &mut impl System<Stream = K>) -> bool {
        system.has_read_all(&self.stream)
    }

    /// Returns whether output or payload has not been accepted by the socket yet.
    pub(super) fn has_output(&self, buffers: &Buffers) -> bool {
        let buffered = buffers.get(self.buffered);
        let is_unsent = buffered.is_some_and(|it| it.sent < it.output.len());
        is_unsent || self.phase == Phase::Payload
    }

    /// Returns the number of bytes sent that the peer has not acknowledged or not read, or `None` if the system
    /// does not report it.
    pub(super) fn outstanding(
        &self,
        peer: SocketAddr,
        system: &mut impl System<Stream = K>,
    ) -> Option<u32> {
        system.outstanding(&self.stream, peer)
    }

    /// Lets the service do its own [`work`](Service::work). Returns `None` if the turn continues as usual.
    fn work<S, N>(&mut self, context: &mut Context<'_, S, N>) -> Option<Turn>
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        let outbound = self.machine.outbound_remaining();
        self.set_payload_phase(outbound > 0, S::RESETS);
        let mut payload_writer = PayloadWriter {
            stream: &mut self.stream,
            scratch: context.output,
            observer: match context.observer {
                Some(observer) => Some(observer.as_mut()),
                None => None,
            },
            key: context.key,
            peer: context.peers.get(&self.peer),
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
            (Socket::Full, _) => {
                self.flags.set(Flag::Full, true);
                Some(Turn::Wait)
            }
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
            self.stream.set_reset_on_close(has_payload || resets);
            self.phase = phase;
        }
    }

    /// Reports the session. Afterwards the connection only sends its buffered output.
    fn report<S, N>(&mut self, ended: Ended<M::Error>, context: &mut Context<'_, S, N>)
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        let peer = context.peers.get(&self.peer);
        let report = context.service.closed(peer, &self.machine, &mut self.state, ended);
        (context.report)(report);
        self.phase = Phase::Flushing;
    }

    /// Handles the end of the machine: sends its last bytes, then closes the connection.
    fn finish<S, N>(
        &mut self,
        ended: Ended<M::Error>,
        blocked: bool,
        context: &mut Context<'_, S, N>,
    ) -> Turn
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        let is_done = matches!(ended, Ended::Done);
        let must_reset = self.machine.outbound_remaining() > 0 || (S::RESETS && !is_done);
        self.set_payload_phase(must_reset, S::RESETS);
        if is_done && !must_reset {
            self.phase = Phase::Finishing;
        } else {
            self.report(ended, context);
        }
        match (must_reset, blocked) {
            (true, _) => Turn::Close,
            (false, true) => Turn::Wait,
            (false, false) => self.close_sending(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use socklab_core::math::server::Server;

    use super::*;

    type State = <crate::math::Service as Service>::State;

    #[test]
    fn ten_thousand_idle_quizzes_take_40_bytes_each_at_most() {
        /// Entry of a slab.
        #[expect(dead_code, reason = "only its size matters")]
        enum Entry<T> {
            Vacant(usize),
            Occupied(T),
        }
        // In place of the socket, since in debug builds a stream of mio contains more than its descriptor.
        type Descriptor = u32;
        assert_eq!(size_of::<Entry<Slot<Descriptor, Server, State>>>(), 40);
    }
}
