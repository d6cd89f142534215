//! The client: sends messages and receives their replies at the same time.

use core::fmt;

use super::{OtherLength, take, whole};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamState, bytes_event,
};
use crate::wire::{Bytes, LENGTH_BYTES, Truncated, copy, length_max, length_of, put_length};

/// Client of the echo protocol. 32 bytes, independent of the length of the messages.
///
/// It is full duplex. An application that sends many messages must read replies meanwhile, because a
/// server stops reading while its replies are not read.
///
/// [`Command::Send`] sends a message that fits in the output. [`Command::Begin`] announces a longer one,
/// whose payload is then [`outbound_remaining`](Machine::outbound_remaining). The bytes of a reply
/// arrive as events, or the application takes what is
/// [`inbound_remaining`](Machine::inbound_remaining) past the machine.
///
/// `HEADER` is the size of a length on the wire in bytes: 4 or 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client<const HEADER: usize = LENGTH_BYTES> {
    state: State,
    phase: Phase,
    /// Number of payload bytes of the announced message that have not been sent.
    outbound: u32,
    /// Number of messages whose reply is not complete.
    in_flight: u32,
    /// Upper limit in bytes of the replies that have not started. A reply is never longer than its
    /// message.
    outstanding: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Header,
    Payload {
        length: u32,
        remaining: u32,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    #[default]
    Open,
    /// The application sends no more messages. Replies may be outstanding.
    Finishing,
    Over,
}

/// Command to the client, accepted until [`Finish`](Self::Finish) unless payload is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends a message with this payload. The output needs space for the payload and the header.
    ///
    /// More than [`length_max`] bytes are [`Invalid::TooLong`].
    Send(&'c [u8]),
    /// Starts a message with this number of payload bytes. The payload is
    /// [`outbound_remaining`](Machine::outbound_remaining) then.
    ///
    /// More than [`length_max`] bytes are [`Invalid::TooLong`].
    Begin(u32),
    /// Ends the session after the last outstanding reply.
    Finish,
}

/// Event of the client. `B` is the type of its bytes: a [`Span`] of the input, a slice, or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Reply or part of a reply. An empty reply is one empty piece.
    Reply(Piece<B>),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Reply(piece) => Event::Reply(piece.try_map(f)?),
        })
    }
}

bytes_event!(Event);

/// Reply or part of a reply. A reply that is complete in the input is one piece.
///
/// `B` is the type of its bytes, as in [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Piece<B> {
    /// Offset of the piece in the reply, in bytes. 0 in the first piece.
    pub offset: u32,
    /// Bytes of the piece.
    pub bytes: B,
    /// Number of bytes of the reply that follow in later pieces. 0 in the last piece.
    pub remaining: u32,
}

impl<B> Piece<B> {
    /// Returns the piece with its bytes converted by `f`.
    #[inline]
    pub fn map<C>(self, f: impl FnOnce(B) -> C) -> Piece<C> {
        Piece { offset: self.offset, bytes: f(self.bytes), remaining: self.remaining }
    }

    /// Returns the piece with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    #[inline]
    pub fn try_map<C, E>(self, f: impl FnOnce(B) -> Result<C, E>) -> Result<Piece<C>, E> {
        Ok(Piece { offset: self.offset, bytes: f(self.bytes)?, remaining: self.remaining })
    }

    /// Returns whether the reply starts with this piece.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Returns whether the reply ends with this piece.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.remaining == 0
    }
}

/// Why the session ended before the last reply.
///
/// The text contains a hint if the server probably sent lengths in [another
/// encoding](Self::other_length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<const HEADER: usize = LENGTH_BYTES> {
    /// A reply arrived while no message is in flight.
    Unasked {
        /// Length of the reply in bytes.
        length: u32,
    },
    /// A reply is longer than all messages in flight together.
    TooLong {
        /// Length of the reply in bytes.
        length: u32,
        /// Greatest length in bytes that it could have.
        limit: u64,
    },
    /// The stream ended before the last reply.
    Truncated {
        /// Where and how the stream ended.
        cut: Truncated,
        /// Number of messages without a complete reply.
        missing: u32,
    },
}

impl<const HEADER: usize> Error<HEADER> {
    /// Returns the encoding that the server probably used for a length, if it looks like another one
    /// than big-endian with `HEADER` bytes.
    #[must_use]
    pub fn other_length(&self) -> Option<OtherLength> {
        match *self {
            Self::Unasked { length } => {
                OtherLength::find::<HEADER>(length, |whole| whole < 1 << 16)
            }
            Self::TooLong { length, limit } => {
                OtherLength::find::<HEADER>(length, |whole| whole <= limit.saturating_add(4))
            }
            Self::Truncated { cut, .. } => OtherLength::of_truncated::<HEADER>(cut),
        }
    }
}

impl<const HEADER: usize> fmt::Display for Error<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unasked { length } => write!(
                f,
                "the server broke the protocol: a reply of {}, and no message is in flight",
                Bytes(length.into())
            )?,
            Self::TooLong { length, limit } => write!(
                f,
                "the server broke the protocol: a reply of {}, expected at most {limit}, the length \
                 of all messages in flight",
                Bytes(length.into())
            )?,
            Self::Truncated { cut, missing } => {
                cut.by("the server").fmt(f)?;
                match missing {
                    0 => {}
                    1 => f.write_str(", with 1 reply missing")?,
                    n => write!(f, ", with {n} replies missing")?,
                }
            }
        }
        OtherLength::append(self.other_length(), f)
    }
}

impl<const HEADER: usize> core::error::Error for Error<HEADER> {}

impl Client {
    /// Returns a client at the start of a session, with lengths of 4 bytes.
    // Not generic: a caller need not write out the type for the common size.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_header()
    }
}

impl<const HEADER: usize> Client<HEADER> {
    /// Returns a client at the start of a session, with lengths of `HEADER` bytes.
    #[must_use]
    pub const fn with_header() -> Self {
        Self { state: State::Header, phase: Phase::Open, outbound: 0, in_flight: 0, outstanding: 0 }
    }

    /// Returns the number of messages whose reply is not complete.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Ends the current reply, which is complete.
    #[inline]
    fn end_reply(&mut self) {
        self.state = State::Header;
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.outstanding = 0;
        }
    }

    /// Handles an input without anything to consume: asks for more, or reports how the stream ended.
    #[cfg_attr(target_pointer_width = "64", cold)]
    #[cfg_attr(not(target_pointer_width = "64"), inline)]
    fn incomplete(
        &self,
        bytes: &[u8],
        state: StreamState,
    ) -> Result<Step<Event<Span>>, Error<HEADER>> {
        let StreamState::Ended(how) = state else {
            // Not `Need::Input`, not even after `Finish`: that need sends all queued output before it
            // reads. The server may stop reading until its replies are read, so both would wait.
            return Ok(Step::need(Need::InputOrCommand));
        };
        let cut = match self.state {
            State::Header => {
                let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Truncated::inside(how, got, whole::<HEADER>(0))
            }
            State::Payload { length, remaining } => Truncated {
                how,
                got: whole::<HEADER>(count::sub(length, remaining)),
                want: whole::<HEADER>(length),
            },
        };
        Err(Error::Truncated { cut, missing: self.in_flight })
    }
}

impl<const HEADER: usize> Machine for Client<HEADER> {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error<HEADER>;

    const MIN_INPUT: usize = HEADER;
    const MIN_OUTPUT: usize = HEADER;

    #[inline]
    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error<HEADER>> {
        let (length, remaining, header, bytes) = match self.state {
            State::Payload { length, remaining } => {
                if input.bytes.is_empty() {
                    return self.incomplete(input.bytes, input.state);
                }
                (length, remaining, 0, input.bytes)
            }
            State::Header => {
                if self.phase != Phase::Open && self.in_flight == 0 && self.outbound == 0 {
                    self.phase = Phase::Over;
                    return Ok(Step::idle(Action::Close));
                }
                let Some((length, bytes)) = length_of::<HEADER>(input.bytes) else {
                    return self.incomplete(input.bytes, input.state);
                };
                if self.in_flight == 0 {
                    return Err(Error::Unasked { length });
                }
                let limit = self.outstanding;
                self.outstanding = match limit.checked_sub(u64::from(length)) {
                    Some(outstanding) => outstanding,
                    None => return Err(Error::TooLong { length, limit }),
                };
                (length, length, HEADER, bytes)
            }
        };
        let (bytes, missing) = take(bytes, remaining);
        if missing == 0 {
            self.end_reply();
        } else {
            self.state = State::Payload { length, remaining: missing };
            if bytes.is_empty() {
                return Ok(Step::new(header, 0, Action::Continue));
            }
        }
        let consumed = count::add(header, bytes.len());
        let offset = count::sub(length, remaining);
        let bytes = Span::new(header, bytes.len());
        let piece = Piece { offset, bytes, remaining: missing };
        Ok(Step::new(consumed, 0, Action::Event(Event::Reply(piece))))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        if self.phase != Phase::Open || self.outbound > 0 || self.in_flight == u32::MAX {
            return Err(CommandError::OutOfTurn);
        }
        let (length, payload, outbound) = match command {
            Command::Send(payload) => {
                (u32::try_from(payload.len()).map_err(|_| Invalid::TooLong)?, payload, 0)
            }
            Command::Begin(length) => (length, &[][..], length),
            Command::Finish => {
                self.phase = Phase::Finishing;
                return Ok(0);
            }
        };
        if length > length_max::<HEADER>() {
            return Err(Invalid::TooLong.into());
        }
        let whole = payload.len().saturating_add(HEADER);
        let space = output.get_mut(..whole).ok_or(CommandError::OutputFull)?;
        copy(payload, put_length::<HEADER>(length, space).ok_or(CommandError::OutputFull)?);
        self.outbound = outbound;
        self.in_flight = count::add(self.in_flight, 1);
        // Cannot overflow: fewer than 2^32 messages are in flight, each shorter than 2^32 bytes.
        self.outstanding = count::add(self.outstanding, u64::from(length));
        Ok(whole)
    }

    fn outbound_remaining(&self) -> u64 {
        u64::from(self.outbound)
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        let n = u32::try_from(n).map_err(|_| Invalid::Overrun)?;
        self.outbound = self.outbound.checked_sub(n).ok_or(Invalid::Overrun)?;
        Ok(())
    }

    fn inbound_remaining(&self) -> u64 {
        match self.state {
            State::Header => 0,
            State::Payload { remaining, .. } => u64::from(remaining),
        }
    }

    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        if n == 0 {
            return Ok(());
        }
        let State::Payload { length, remaining } = self.state else {
            return Err(Invalid::Overrun.into());
        };
        let n = u32::try_from(n).map_err(|_| Invalid::Overrun)?;
        match remaining.checked_sub(n).ok_or(Invalid::Overrun)? {
            0 => self.end_reply(),
            remaining => self.state = State::Payload { length, remaining },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::StreamEnd;

    #[test]
    fn error_texts_have_the_right_plural_forms() {
        let cut = Truncated::between(StreamEnd::Closed);
        for (error, text) in [
            (Error::Unasked { length: 0 }, "a reply of 0 bytes, and no message is in flight"),
            (Error::Unasked { length: 1 }, "a reply of 1 byte, and no message is in flight"),
            (Error::Unasked { length: 2 }, "a reply of 2 bytes, and no message is in flight"),
            (
                Error::TooLong { length: 1, limit: 0 },
                "a reply of 1 byte, expected at most 0, the length of all messages in flight",
            ),
            (
                Error::TooLong { length: 2, limit: 1 },
                "a reply of 2 bytes, expected at most 1, the length of all messages in flight",
            ),
        ] {
            let expected = std::format!("the server broke the protocol: {text}");
            assert_eq!(Error::<4>::to_string(&error), expected);
        }
        for (missing, text) in
            [(0, ""), (1, ", with 1 reply missing"), (2, ", with 2 replies missing")]
        {
            let expected = std::format!("the server closed the connection between messages{text}");
            assert_eq!(Error::<4>::Truncated { cut, missing }.to_string(), expected);
        }
    }

    #[test]
    fn every_command_that_is_too_long_is_rejected_with_that_reason() {
        let (mut client, mut output) = (Client::<2>::with_header(), std::vec![0; 70_000]);
        let long = std::vec![0; 65_536];
        for command in [Command::Send(&long), Command::Begin(65_536)] {
            // The reason does not depend on the space: a command that never fits must not be repeated.
            for space in [0, 70_000] {
                let result = client.command(command, output.get_mut(..space).unwrap());
                assert_eq!(result, Err(Invalid::TooLong.into()));
            }
        }
        assert_eq!(client, Client::with_header());
    }

    #[test]
    fn more_payload_than_announced_has_a_reason_of_its_own() {
        let (mut client, mut output) = (Client::new(), [0; 4]);
        assert_eq!(client.advance_outbound(1), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_inbound(1), Err(Invalid::Overrun.into()));
        assert_eq!(client.command(Command::Begin(3), &mut output), Ok(4));
        assert_eq!(client.advance_outbound(4), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_outbound(3), Ok(()));
        let step = client.step(Input::open(&[0, 0, 0, 2]), &mut output).unwrap();
        assert_eq!(step, Step::new(4, 0, Action::Continue));
        assert_eq!(client.advance_inbound(3), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_inbound(2), Ok(()));
    }

    #[test]
    fn a_piece_keeps_its_place_when_its_bytes_are_converted() {
        let piece = Piece { offset: 3, bytes: &b"ab"[..], remaining: 1 };
        let expected = Piece { offset: 3, bytes: 2, remaining: 1 };
        assert_eq!(piece.map(<[u8]>::len), expected);
        assert_eq!(piece.try_map(|bytes| Ok::<_, ()>(bytes.len())), Ok(expected));
        assert_eq!(piece.try_map(|_| Err::<(), _>("too long")), Err("too long"));
    }
}
