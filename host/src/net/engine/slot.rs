//! One connection, and its turn.

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
use crate::net::quote::{Notice, Quote};
use crate::net::reads::Reads;
use crate::net::stack::{Direction, Observer};

/// How soon to look whether the last bytes have arrived.
const CONFIRM_MS: u64 = 2;

/// Bytes of a connection that wait.
#[derive(Default)]
pub(super) struct Park {
    /// From the peer, not consumed yet.
    input: Vec<u8>,
    /// To the peer, not sent yet from `sent` on.
    pub(super) output: Vec<u8>,
    pub(super) sent: usize,
}

impl Park {
    pub(super) fn bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// At a boundary whose bytes are not sent yet.
    Boundary,
    /// At a boundary; the machine goes on when its timer rings.
    Paused,
    /// As `Open`, and a timer tells when the peer has been silent.
    Listening,
    /// As `Open`, and payload is owed. Whatever ends the connection now resets it, also the end of
    /// this process: an orderly close could be taken for the payload's end.
    Paying,
    /// The machine has finished as the protocol has it: what is parked leaves, then the sending side
    /// closes. It is not reported yet.
    Finishing,
    /// The system has our last bytes, and the peer not all of them yet, or it is not known. It is
    /// reported when it is.
    Confirming,
    /// As `Finishing`, of a session that failed and is reported.
    Flushing,
    /// The session is reported. The peer reads our last bytes and closes.
    Lingering,
}

impl Phase {
    /// The machine has finished.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Finishing | Self::Confirming | Self::Flushing | Self::Lingering)
    }

    /// The session is reported.
    pub(super) const fn is_reported(self) -> bool {
        matches!(self, Self::Flushing | Self::Lingering)
    }
}

/// What has become of a connection's last bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The peer's system has them, or nothing more can be known.
    Done,
    Pending,
    /// The peer has gone without them.
    Lost,
}

/// What the system has told of the end of what the peer sends, before that has been read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ahead {
    Unknown,
    /// There is an end: read on until it is there.
    End,
    /// As `End`, and the peer takes no more bytes, so a write had no effect.
    Gone,
    /// The end will be a reset. A write was told, and the system tells it once: a read finds what has
    /// come before, and then an end like any other.
    Reset,
}

/// All there is of a connection. With ten thousand of them, every byte counts.
pub(super) struct Slot<M, T> {
    stream: TcpStream,
    /// When something last moved, in ms since the start, its low 32 bits; of a lingering one, when
    /// that began.
    pub(super) stamp: u32,
    pub(super) park: Option<Box<Park>>,
    pub(super) machine: M,
    pub(super) state: T,
    pub(super) peer: Peer,
    /// The number of the timer that counts.
    pub(super) timer: u16,
    pub(super) phase: Phase,
    pub(super) end: Option<StreamEnd>,
    pub(super) ahead: Ahead,
    pub(super) marks: Marks,
}

/// What is marked of a connection, in one byte.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks(u8);

/// One of the [`Marks`].
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Mark {
    /// In the `again` queue. Never twice, or a flood would take turns by its events too.
    Queued = 1,
    /// Another thread works for it, and will wake it: it is not idle.
    Asleep = 2,
    /// A part of a message waits for its rest: the slot's timer shows when it has waited for as long as a
    /// [`Notice`] takes.
    Watched = 4,
    /// The notice of this message has been given.
    Noticed = 8,
}

impl Marks {
    pub(super) const fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    /// Sets or removes a mark. Whether it was there.
    pub(super) const fn set(&mut self, mark: Mark, on: bool) -> bool {
        let before = self.has(mark);
        self.0 = if on { self.0 | mark as u8 } else { self.0 & !(mark as u8) };
        before
    }
}
/// Why a connection has its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// Something may go on: every event is a hint.
    Event,
    /// While it was listening, its timer rang.
    Silence,
    /// The server is to stop.
    Finish,
    /// The last bytes may have arrived.
    Confirm,
}
/// What to do with a connection after its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Wait,
    Again,
    Close,
}
/// What is there after a read.
struct Unread {
    /// So many bytes, with those that were parked.
    have: usize,
    /// So many of them have just come.
    fresh: usize,
    /// The socket has no more.
    drained: bool,
}
/// The service and one session's state, as what a pump talks to.
struct Talk<'s, S: Service> {
    service: &'s mut S,
    state: &'s mut S::State,
}

impl<S: Service> Handler<S::Machine> for Talk<'_, S> {
    fn event(&mut self, event: <S::Machine as Machine>::Event<'_>) {
        self.service.event(self.state, event);
    }

    fn command(&mut self) -> Option<<S::Machine as Machine>::Command<'_>> {
        self.service.command(self.state)
    }
}
/// A point of time as a slot keeps it: differences up to 49 days come out right.
#[expect(clippy::cast_possible_truncation, reason = "that is the point")]
pub(super) const fn stamp(now: u64) -> u32 {
    now as u32
}
/// What a turn has besides its slot.
pub(super) struct Context<'e, S: Service> {
    pub(super) key: usize,
    pub(super) now: u64,
    pub(super) service: &'e mut S,
    pub(super) input: &'e mut [u8],
    pub(super) read_max: usize,
    pub(super) output: &'e mut [u8],
    pub(super) observer: &'e mut Option<Box<dyn Observer>>,
    pub(super) wakeups: &'e Arc<Wakeups>,
    pub(super) reads: &'e mut Option<Reads>,
    pub(super) report: &'e mut dyn FnMut(S::Report),
    /// The pause at a boundary, in ms.
    pub(super) pace: u64,
    /// A timer is wanted, of so many ms.
    pub(super) pause: Option<u64>,
    /// A part of a message waits for its rest.
    pub(super) watch: bool,
    /// What was written last has just been: it cannot have arrived yet.
    pub(super) is_last_written: bool,
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
    pub(super) fn new(stream: TcpStream, machine: M, state: T, peer: Peer, now: u64) -> Self {
        Self {
            stream,
            stamp: stamp(now),
            park: None,
            machine,
            state,
            peer,
            timer: 0,
            phase: Phase::Open,
            end: None,
            ahead: Ahead::Unknown,
            marks: Marks::default(),
        }
    }

    /// The notice that a part of a message has waited for its rest, if it still does.
    pub(super) fn notice(&self) -> Option<Notice> {
        let part = &self.park.as_ref()?.input;
        if part.is_empty() {
            return None;
        }
        let (peer, length) = (self.peer.into(), part.len());
        Some(Notice { peer, part: Quote::new(part), length, is_line: M::LINES })
    }

    /// What this connection can do now, once.
    pub(super) fn turn<S>(&mut self, cue: Wakeup, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if self.marks.set(Mark::Asleep, false) {
            self.stamp = stamp(context.now);
        }
        if cue == Wakeup::Finish {
            self.ask_to_finish(context);
        }
        match self.phase {
            Phase::Lingering => return self.linger(context),
            Phase::Confirming if cue == Wakeup::Confirm => return self.confirm(context),
            Phase::Confirming => return self.linger_unconfirmed(context),
            Phase::Paused => return Turn::Wait,
            Phase::Open
            | Phase::Listening
            | Phase::Paying
            | Phase::Boundary
            | Phase::Finishing
            | Phase::Flushing => {}
        }
        if !self.send_parked(context) {
            return Turn::Wait;
        }
        match self.phase {
            Phase::Finishing | Phase::Flushing => return self.close_sending(context),
            Phase::Boundary => return self.pause(context),
            _ => {}
        }

        let Unread { have, fresh, drained } = self.read_behind_parked(context);
        let state = match self.end {
            Some(how) => StreamState::Ended(how),
            // Bytes may have come since the timer was found due: they end the silence.
            None if cue == Wakeup::Silence && fresh == 0 => StreamState::Idle,
            None => StreamState::Open,
        };
        let mut talk = Talk { service: &mut *context.service, state: &mut self.state };
        let input = Input { bytes: &context.input[..have], state };
        let Pumped { consumed, written, stop } =
            pump(&mut self.machine, &mut talk, input, context.output);

        // What was not consumed stays, unless nobody is to look at it again.
        let over = matches!(stop, Stop::Close | Stop::Abort | Stop::Failed(_) | Stop::Refused(_));
        if consumed > 0 {
            self.marks.set(Mark::Noticed, false);
        }
        self.park_input(if over { &[] } else { &context.input[consumed..have] });
        let blocked = stop != Stop::Abort && !self.send_fresh(written, context);
        self.unpark();

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
            // Its being writable again brings the next turn.
            return Turn::Wait;
        }
        if let Need::InputOrIdle(ms) = need
            && self.phase != Phase::Listening
        {
            self.phase = Phase::Listening;
            context.pause = Some(u64::from(ms));
        }
        let full = have - consumed >= context.input.len();
        if need == Need::Command
            && let Some(turn) = self.work(context)
        {
            return turn;
        }
        context.watch = need != Need::Command && have > consumed && self.phase == Phase::Open;
        match need {
            Need::OutputSpace => Turn::Again,
            // Read ahead, as far as there is room, to notice when the peer leaves.
            Need::Command if full || self.end.is_some() => Turn::Wait,
            // After the end nothing comes: a machine that still asks for it is mistaken.
            Need::Input | Need::InputOrIdle(_) | Need::InputOrCommand if self.end.is_some() => {
                Turn::Close
            }
            _ if !drained => Turn::Again,
            _ => Turn::Wait,
        }
    }

    /// Gives the machine what makes it finish, and parks what it writes: the turn sends it, behind
    /// what is still unsent, or a later one does.
    fn ask_to_finish<S>(&mut self, context: &mut Context<'_, S>)
    where
        S: Service<Machine = M, State = T>,
    {
        if self.phase.is_over() {
            return;
        }
        let Some(command) = context.service.finish() else { return };
        // Refused when it cannot be said now.
        let written = self.machine.command(command, context.output).unwrap_or(0);
        if written > 0 {
            let park = self.park.get_or_insert_default();
            park.output.extend_from_slice(&context.output[..written]);
        }
    }

    /// At a boundary, with all sent that stands before it: pauses if there is to be a pause.
    const fn pause<S: Service>(&mut self, context: &mut Context<'_, S>) -> Turn {
        if context.pace == 0 {
            self.phase = Phase::Open;
            return Turn::Again;
        }
        self.phase = Phase::Paused;
        context.pause = Some(context.pace);
        Turn::Wait
    }

    /// The next turn is not to wait for the peer: one that reads nothing is not to keep its slot by
    /// that.
    pub(super) fn time_out(&mut self) {
        if self.phase != Phase::Paying {
            self.phase = Phase::Open;
        }
        if let Some(park) = &mut self.park {
            park.output.clear();
            park.sent = 0;
        }
    }

    /// Whether the peer has read what it was sent, as far as that can be known.
    pub(super) fn is_read(&self, reads: &mut Reads) -> bool {
        // After a reset the system knows no peer any more: nothing to wait for.
        match (self.stream.local_addr(), self.stream.peer_addr()) {
            (Ok(local), Ok(peer)) => reads.has_all(local, peer),
            _ => true,
        }
    }

    /// Whether bytes wait for the socket to take them.
    pub(super) fn has_output(&self) -> bool {
        let is_parked = self.park.as_ref().is_some_and(|park| park.sent < park.output.len());
        is_parked || self.phase == Phase::Paying
    }

    /// Number of bytes that the peer has still to take, as far as the system reports.
    pub(super) fn outstanding(&self, reads: &mut Reads) -> Option<u32> {
        reads.outstanding(self.stream.local_addr().ok()?, self.peer.into())
    }

    /// What has become of the last bytes, once the sending side is closed.
    pub(super) fn delivery(&mut self, reads: &mut Reads) -> Delivery {
        if self.ahead >= Ahead::Gone || self.end == Some(StreamEnd::Reset) {
            return Delivery::Lost;
        }
        let local = self.stream.local_addr();
        match local.ok().and_then(|local| reads.unacknowledged(local, self.peer.into())) {
            // The last one is the end itself.
            Some(0..=1) => Delivery::Done,
            Some(_) => Delivery::Pending,
            // Not known, or over: an error shows how.
            None if matches!(self.stream.take_error(), Ok(Some(_))) => {
                self.ahead = Ahead::Reset;
                Delivery::Lost
            }
            None => Delivery::Done,
        }
    }

    /// Closing it is to reset it.
    pub(super) fn reset(&self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// The service's own piece of work. `None` when there is none to go on with.
    fn work<S>(&mut self, context: &mut Context<'_, S>) -> Option<Turn>
    where
        S: Service<Machine = M, State = T>,
    {
        let owed = self.machine.outbound_remaining();
        self.guard(owed > 0, S::RESETS);
        let mut payload_writer = PayloadWriter {
            stream: &self.stream,
            scratch: context.output,
            observer: match context.observer {
                Some(observer) => Some(observer.as_mut()),
                None => None,
            },
            key: context.key,
            peer: self.peer.into(),
            owed,
            sent: 0,
            socket: Socket::Open,
            wakeups: context.wakeups,
        };
        let work = context.service.work(&mut self.state, &mut payload_writer);
        let PayloadWriter { sent, socket, .. } = payload_writer;
        // Never more than is owed: the outlet sees to it.
        let _ = self.machine.advance_outbound(sent);
        if sent > 0 || (work == Work::Again && socket == Socket::Open) {
            self.stamp = stamp(context.now);
        }
        match (socket, work) {
            (Socket::Gone, _) => {
                self.ahead = self.ahead.max(Ahead::Gone);
                // Also after an orderly end of what it sends.
                self.end = Some(StreamEnd::Reset);
                Some(Turn::Again)
            }
            // Its being writable again brings the next turn.
            (Socket::Full, _) => Some(Turn::Wait),
            (Socket::Open, Work::Again) => Some(Turn::Again),
            (Socket::Open, Work::Wait) => None,
            (Socket::Open, Work::Sleep) => {
                self.marks.set(Mark::Asleep, true);
                None
            }
        }
    }

    /// While payload is owed the connection can only end with a reset.
    fn guard(&mut self, owes: bool, resets: bool) {
        let phase = if owes { Phase::Paying } else { Phase::Open };
        if (self.phase == Phase::Paying) != owes {
            let linger = (owes || resets).then_some(Duration::ZERO);
            let _ = socket2::SockRef::from(&self.stream).set_linger(linger);
            self.phase = phase;
        }
    }

    /// One read into scratch, behind what is parked.
    fn read_behind_parked<S: Service>(&mut self, context: &mut Context<'_, S>) -> Unread {
        let mut have = 0;
        if let Some(park) = &self.park {
            have = park.input.len();
            context.input[..have].copy_from_slice(&park.input);
        }
        let room = (context.input.len() - have).min(context.read_max);
        if self.end.is_some() || room == 0 {
            return Unread { have, fresh: 0, drained: self.end.is_some() };
        }
        let Some(n) = self.read(&mut context.input[have..have + room]) else {
            return Unread { have, fresh: 0, drained: true };
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
        let drained = self.end.is_some() || (n < room && self.ahead == Ahead::Unknown);
        Unread { have: have + n, fresh: n, drained }
    }

    /// `None` when nothing is there. The end is 0, and noted.
    fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        loop {
            match self.stream.read(room) {
                Ok(0) if self.ahead == Ahead::Reset => self.end = Some(StreamEnd::Reset),
                Ok(0) => self.end = Some(StreamEnd::Closed),
                Ok(n) => return Some(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.end = Some(StreamEnd::Reset),
            }
            return Some(0);
        }
    }

    /// Sends the parked output. Whether none is left.
    fn send_parked<S: Service>(&mut self, context: &mut Context<'_, S>) -> bool {
        let Some(mut park) = self.park.take() else { return true };
        let waiting = &park.output[park.sent..];
        park.sent += self.send(waiting, context.now, context.observer, context.key);
        let all = park.sent == park.output.len();
        if all {
            park.output.clear();
            park.sent = 0;
        }
        self.park = Some(park);
        self.unpark();
        all
    }

    /// Sends what the machine has just written, and parks what the socket does not take. Whether
    /// nothing is left.
    fn send_fresh<S: Service>(&mut self, written: usize, context: &mut Context<'_, S>) -> bool {
        let fresh = &context.output[..written];
        let n = self.send(fresh, context.now, context.observer, context.key);
        if n < written {
            let park = self.park.get_or_insert_default();
            park.output.extend_from_slice(&fresh[n..]);
        }
        n == written
    }

    /// How many of the bytes the socket took. When the peer takes none any more they count as
    /// taken: how it left shows when reading.
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
                    self.stamp = stamp(now);
                    if let Some(observer) = observer {
                        let bytes = &bytes[sent..sent + n];
                        observer.moved(key, self.peer.into(), Direction::Sent, bytes);
                    }
                    sent += n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return sent,
                // It takes none since it has closed, in order or not: only reading tells.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    self.ahead = self.ahead.max(Ahead::Gone);
                    return bytes.len();
                }
                Err(_) => {
                    self.ahead = Ahead::Reset;
                    return bytes.len();
                }
                Ok(_) => return bytes.len(),
            }
        }
        sent
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

    /// Reports the session. It continues only to send what is parked.
    fn report<S>(&mut self, ended: Ended<M::Error>, context: &mut Context<'_, S>)
    where
        S: Service<Machine = M, State = T>,
    {
        let peer = self.peer.into();
        let report = context.service.closed(peer, &self.machine, &mut self.state, ended);
        (context.report)(report);
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
        let is_done = matches!(ended, Ended::Done);
        let owes = self.machine.outbound_remaining() > 0 || (S::RESETS && !is_done);
        self.guard(owes, S::RESETS);
        if is_done && !owes {
            self.phase = Phase::Finishing;
        } else {
            self.report(ended, context);
        }
        match (owes, blocked) {
            (true, _) => Turn::Close,
            (false, true) => Turn::Wait,
            (false, false) => self.close_sending(context),
        }
    }

    /// All is sent. To close with unread input would make the system send a reset, which can
    /// destroy our last bytes on their way: close the sending side and wait for the peer's end.
    fn close_sending<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if S::RESETS {
            let _ = socket2::SockRef::from(&self.stream).set_linger(None);
        }
        let is_lost = self.stream.shutdown(Shutdown::Write).is_err();
        if is_lost {
            self.ahead = self.ahead.max(Ahead::Gone);
        }
        self.park = None;
        self.stamp = stamp(context.now);
        if self.phase == Phase::Finishing {
            self.phase = Phase::Confirming;
            return self.linger_unconfirmed(context);
        }
        if is_lost || self.end.is_some() {
            return Turn::Close;
        }
        self.phase = Phase::Lingering;
        self.linger(context)
    }

    /// Reads and drops what the peer still sends, while it has not all of our last bytes.
    fn linger_unconfirmed<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        if self.end.is_none() && self.ahead < Ahead::Gone {
            match self.read(context.input) {
                // Its end comes as soon, mostly, and shows it.
                None if context.is_last_written => context.pause = Some(CONFIRM_MS),
                // It has mostly arrived long since.
                None => return self.confirm(context),
                Some(0) => {}
                Some(_) => return Turn::Again,
            }
            if self.end.is_none() {
                return Turn::Wait;
            }
        }
        self.confirm(context)
    }

    /// Reports the session if it is known what has become of its last bytes; else looks again later.
    fn confirm<S>(&mut self, context: &mut Context<'_, S>) -> Turn
    where
        S: Service<Machine = M, State = T>,
    {
        match self.delivery(context.reads.get_or_insert_with(Reads::new)) {
            Delivery::Pending => {
                // Later and later, so that thousands who never read cost nothing.
                let waited = u64::from(stamp(context.now).wrapping_sub(self.stamp));
                context.pause = Some(waited.div_ceil(4).clamp(CONFIRM_MS, 1000));
                return Turn::Wait;
            }
            Delivery::Done => self.report(Ended::Done, context),
            Delivery::Lost => self.report(Ended::Undelivered, context),
        }
        if self.end.is_some() || self.ahead >= Ahead::Gone {
            return Turn::Close;
        }
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

#[cfg(test)]
mod tests {
    use socklab_core::math::server::Server;

    use super::*;

    type State = <crate::math::Service as Service>::State;

    #[test]
    fn ten_thousand_idle_quizzes_take_64_bytes_each_at_most() {
        // In debug builds mio keeps more in a stream than its descriptor.
        let whole = (52 + size_of::<TcpStream>()).next_multiple_of(8);
        assert_eq!(size_of::<Option<Slot<Server, State>>>(), whole);
    }
}
