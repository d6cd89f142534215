//! The part of a session that knows no machine.

use super::{Buffer, Facts, TooSmall, Want, order};
use crate::machine::{Action, Input, Machine, StreamEnd, StreamState};
use crate::wire::copy;

/// The part of a session that knows no machine, so that a firmware with nine protocols contains it
/// once.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Stream<I, O> {
    pub(super) input: Buffer<I>,
    pub(super) output: Buffer<O>,
    state: StreamState,
    /// How the sending direction ended.
    write_closed: Option<StreamEnd>,
    pub(super) flags: Flags,
}

/// Flags of a stream, in one byte: a session is 20 bytes on 32 bits.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Flags(u8);

impl Flags {
    /// Bytes moved in either direction since [`Stream::has_moved`].
    pub(super) const MOVED: u8 = 1;
    /// The transport took bytes since its last flush.
    pub(super) const UNFLUSHED: u8 = 2;
    /// The machine reported a boundary, and not everything before it has been sent.
    pub(super) const AT_BOUNDARY: u8 = 4;
    /// The machine reported an error. No more is read, so that the error stays the same until pending
    /// output has been sent.
    pub(super) const FAILED: u8 = 8;
    /// Payload was outstanding when the driver polled last, so that a flush can wait for the rest of it.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
    const PAYLOAD: u8 = 16;

    #[inline(always)]
    pub(super) const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    #[inline(always)]
    pub(super) const fn set(&mut self, flag: u8, value: bool) {
        self.0 = if value { self.0 | flag } else { self.0 & !flag };
    }
}

impl<I, O> Stream<I, O> {
    pub(crate) const fn new(input: I, output: O) -> Self {
        Self {
            input: Buffer::new(input),
            output: Buffer::new(output),
            state: StreamState::Open,
            write_closed: None,
            flags: Flags(0),
        }
    }

    /// Prepares the buffers for another connection.
    pub(crate) const fn reset(&mut self) {
        self.input.clear();
        self.output.clear();
        (self.state, self.write_closed) = (StreamState::Open, None);
        self.flags = Flags(0);
    }

    /// Returns whether bytes moved, in either direction, since the last call.
    #[cfg(feature = "nal")]
    pub(crate) const fn has_moved(&mut self) -> bool {
        let moved = self.flags.has(Flags::MOVED);
        self.flags.set(Flags::MOVED, false);
        moved
    }

    pub(crate) const fn idle(&mut self) {
        if matches!(self.state, StreamState::Open) {
            self.state = StreamState::Idle;
        }
    }

    /// Whether the stream is open and no idle time has been reported since the last byte.
    #[cfg(feature = "nal")]
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, StreamState::Open)
    }

    pub(crate) const fn ended(&mut self, how: StreamEnd) {
        if !self.has_ended() {
            // Systems report a reset once: after a write that failed with it, a read finds an orderly
            // end.
            self.state = StreamState::Ended(match (how, self.write_closed) {
                (StreamEnd::Closed, Some(before)) => before,
                _ => how,
            });
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.state, StreamState::Ended(_))
    }

    pub(crate) const fn write_closed(&self) -> Option<StreamEnd> {
        self.write_closed
    }

    /// Whether a write found the connection gone in both directions, and no read has yet.
    const fn is_gone(&self) -> bool {
        matches!(self.write_closed, Some(StreamEnd::Reset | StreamEnd::TimedOut))
    }

    pub(crate) const fn write_ended(&mut self, how: StreamEnd) {
        if self.write_closed.is_none() {
            self.write_closed = Some(how);
        }
        self.output.clear();
        self.flags.set(Flags::UNFLUSHED, false);
    }

    pub(crate) const fn time_out(&mut self) {
        self.ended(StreamEnd::TimedOut);
        self.write_ended(StreamEnd::TimedOut);
    }

    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
    pub(crate) const fn is_unflushed(&self) -> bool {
        self.flags.has(Flags::UNFLUSHED)
    }

    /// Whether output is pending.
    #[cfg(feature = "nal")]
    pub(crate) const fn has_pending(&self) -> bool {
        self.output.start < self.output.end
    }

    /// Notes whether payload is outstanding, for [`wants_flush`](Self::wants_flush). Not noted by
    /// `order`, because a stack without a flush has no use for it.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
    pub(crate) const fn note_payload(&mut self, outstanding: u64) {
        self.flags.set(Flags::PAYLOAD, outstanding > 0);
    }

    /// Whether a full-duplex session flushes the transport when all is written.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
    pub(crate) const fn wants_flush(&self) -> bool {
        self.flags.has(Flags::UNFLUSHED) && !self.flags.has(Flags::PAYLOAD)
    }

    pub(crate) const fn flushed(&mut self) {
        self.flags.set(Flags::UNFLUSHED, false);
    }

    /// Whether the machine reported an error that waits for pending output.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
    pub(crate) const fn has_failed(&self) -> bool {
        self.flags.has(Flags::FAILED)
    }
}

impl<I, O> Stream<I, O>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Checks that the buffers are long enough for this machine.
    pub(crate) fn holds<M: Machine>(&self) -> Result<(), TooSmall> {
        if self.input.capacity() < M::MIN_INPUT || self.output.capacity() < M::MIN_OUTPUT {
            return Err(TooSmall { min_input: M::MIN_INPUT, min_output: M::MIN_OUTPUT });
        }
        Ok(())
    }

    /// Returns the space behind the input, so that `min_input` bytes of it can stand in one piece.
    pub(crate) fn recv_space(&mut self, min_input: usize) -> &mut [u8] {
        self.recv_space_and_transmit(min_input).0
    }

    pub(crate) fn recv_space_and_transmit(&mut self, min_input: usize) -> (&mut [u8], &[u8]) {
        let waiting = self.input.bytes().len();
        let space = self.input.space(min_input.saturating_sub(waiting).max(1));
        (space, self.output.bytes())
    }

    pub(crate) fn received(&mut self, n: usize) {
        self.input.fill(n);
        self.flags.set(Flags::MOVED, true);
        if self.state == StreamState::Idle {
            self.state = StreamState::Open;
        }
    }

    /// Whether a read is possible: the stream has not ended, and there is space. No read is possible
    /// after an error of the machine.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn can_read(&self) -> bool {
        !self.flags.has(Flags::FAILED) && !self.has_ended() && !self.input.is_full()
    }

    /// Returns what changes when a read finds something: the number of unread bytes, and whether the
    /// stream has ended.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
    pub(crate) fn read_state(&self) -> (usize, bool) {
        (self.input.bytes().len(), self.has_ended())
    }

    /// Whether the machine has to see something before the transport is read again.
    pub(super) fn has_unread(&self) -> bool {
        self.has_ended() || !self.input.bytes().is_empty()
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.input.bytes()
    }

    pub(crate) fn transmit(&self) -> &[u8] {
        self.output.bytes()
    }

    pub(crate) fn transmitted(&mut self, n: usize) {
        self.output.consume(n);
        self.flags.0 |= Flags::MOVED | Flags::UNFLUSHED;
    }

    /// Adds `n` bytes that were written to the front of the [`output_space`](Self::output_space), unless
    /// the peer accepts no more.
    #[inline(never)]
    pub(crate) fn wrote(&mut self, n: usize) {
        self.output.fill(n);
        if self.write_closed.is_some() {
            self.output.clear();
        }
    }

    /// Returns what a machine is given: the input, and space for its output.
    #[inline(never)]
    pub(super) fn offer(&mut self, min_output: usize) -> (Input<'_>, &mut [u8]) {
        let input = Input { bytes: self.input.bytes(), state: self.state };
        (input, self.output.space(min_output))
    }

    /// Applies what a machine did with the [`offer`](Self::offer), and returns whether it kept law 4.
    #[inline(never)]
    pub(super) fn moved(&mut self, consumed: usize, written: usize) -> bool {
        let start = self.input.start.saturating_add(consumed);
        let is_lawful = start <= self.input.end && self.output.has_space(written);
        if is_lawful {
            self.input.start = start;
            self.wrote(written);
        }
        is_lawful
    }

    /// Returns what `action` needs first, by the [table](order).
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn order(&mut self, action: Action<()>, payload: bool) -> Option<Want> {
        let want = order(
            action,
            Facts {
                unsent: !self.transmit().is_empty(),
                unflushed: self.flags.has(Flags::UNFLUSHED),
                payload,
                can_read: self.can_read(),
                gone: self.is_gone(),
            },
        );
        // It is reported once, and stays until everything before it has been sent: a write can fail,
        // an async call can be dropped.
        let waits = matches!(action, Action::Boundary) && !matches!(want, Some(Want::Boundary));
        self.flags.set(Flags::AT_BOUNDARY, waits);
        want
    }

    /// Returns what an error of the machine has to wait for.
    #[cold]
    pub(super) fn before_error(&mut self) -> Option<Want> {
        self.flags.set(Flags::FAILED, true);
        if !self.transmit().is_empty() {
            Some(Want::Write)
        } else if self.flags.has(Flags::UNFLUSHED) {
            Some(Want::Flush)
        } else {
            None
        }
    }

    /// Copies payload behind the output, as much as fits and at most `limit` bytes, without adding it.
    /// Returns the number of bytes.
    #[inline(never)]
    pub(super) fn put(&mut self, payload: &[u8], limit: u64) -> usize {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        copy(payload.get(..limit).unwrap_or(payload), self.output_space(1))
    }

    /// Returns space for at least `least` bytes of output, if the buffer is that long.
    pub(crate) fn output_space(&mut self, least: usize) -> &mut [u8] {
        self.output.space(least)
    }
}
