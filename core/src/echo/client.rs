//! The client: sends messages, gets their replies, both at the same time.

use core::fmt;

use super::{OtherLength, take, whole};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamState, bytes_event,
};
use crate::wire::{LENGTH_BYTES, Truncated, copy, length_max, length_of, put_length};

/// The client's end. 32 bytes, whatever the length of the messages.
///
/// Full duplex: messages may be sent while replies stream in, and have to be when there are many,
/// since the server stops reading while its replies are not read.
///
/// A short message goes with [`Command::Send`]. A long one is announced with [`Command::Begin`];
/// then its payload is [`outbound_remaining`](Machine::outbound_remaining).
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client<const HEADER: usize = LENGTH_BYTES> {
    state: State,
    phase: Phase,
    /// Of the message announced, so many bytes of payload are still to be sent.
    owed: u32,
    /// Messages whose reply has not come whole.
    in_flight: u32,
    /// What they can still bring at the most, in bytes: a reply is never longer than its message.
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
    /// No more messages; replies are still to come.
    Finishing,
    Over,
}

/// What the application can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Send this as one message. Needs room for it and its header.
    Send(&'c [u8]),
    /// Send a message with so many bytes of payload; the payload is [`outbound_remaining`](Machine::outbound_remaining) then.
    /// More than [`length_max`] bytes are [`CommandError::Invalid`].
    Begin(u32),
    /// No more messages: the session is done when the last reply has come.
    Finish,
}

/// What the client tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// A reply, or a piece of one. An empty reply is one empty piece.
    Reply(Piece<B>),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Reply(Piece { offset, bytes, remaining }) => {
                Event::Reply(Piece { offset, bytes: f(bytes)?, remaining })
            }
        })
    }
}

bytes_event!(Event);

/// A piece of a reply. A reply that is whole in the input comes as one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Piece<B> {
    /// Where in the reply it stands: 0 starts one.
    pub offset: u32,
    /// Its bytes.
    pub bytes: B,
    /// So many bytes follow in later pieces: 0 ends a reply.
    pub remaining: u32,
}

impl<B> Piece<B> {
    /// Whether a reply starts with it.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Whether a reply ends with it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.remaining == 0
    }
}

/// Why replies are missing. Its text names a length that is probably of [another
/// kind](Error::other_length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<const HEADER: usize = LENGTH_BYTES> {
    /// A reply came, and no message is in flight.
    Unasked {
        /// The reply's length.
        length: u32,
    },
    /// A reply is longer than all messages in flight together.
    TooLong {
        /// The reply's length.
        length: u32,
        /// So long it could have been.
        limit: u64,
    },
    /// The stream ended too early.
    Truncated {
        /// Where and how.
        cut: Truncated,
        /// So many replies had not come, the one in the middle of which it ended included.
        missing: u32,
    },
}

impl<const HEADER: usize> Error<HEADER> {
    /// The kind of length that the server has probably sent instead of a big-endian one of `HEADER`
    /// bytes, if it looks like that.
    #[must_use]
    pub fn other_length(&self) -> Option<OtherLength> {
        match *self {
            Self::Unasked { length } => {
                OtherLength::find::<HEADER>(length, |whole| whole < 1 << 16)
            }
            Self::TooLong { length, limit } => {
                OtherLength::find::<HEADER>(length, |whole| whole <= limit.saturating_add(4))
            }
            Self::Truncated { cut, .. } => OtherLength::of_cut::<HEADER>(cut),
        }
    }
}

impl<const HEADER: usize> fmt::Display for Error<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unasked { length } => write!(
                f,
                "the server broke the protocol: a reply of {length} bytes, and no message is in \
                 flight"
            )?,
            Self::TooLong { length, limit } => write!(
                f,
                "the server broke the protocol: a reply of {length} bytes, expected at most \
                 {limit}, as much as was sent"
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
    /// Returns a client that has not sent anything yet, with lengths of 4 bytes.
    // For one width only, so that its type need not be written out where it is called.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_header()
    }
}

impl<const HEADER: usize> Client<HEADER> {
    /// Returns a client that has not sent anything yet, with lengths of `HEADER` bytes.
    #[must_use]
    pub const fn with_header() -> Self {
        Self { state: State::Header, phase: Phase::Open, owed: 0, in_flight: 0, outstanding: 0 }
    }

    /// How many messages have been sent whose reply has not come whole.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The reply in hand has come whole.
    #[inline]
    fn replied(&mut self) {
        self.state = State::Header;
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.outstanding = 0;
        }
    }

    #[cfg_attr(target_pointer_width = "64", cold)]
    #[cfg_attr(not(target_pointer_width = "64"), inline)]
    fn starved(
        &self,
        bytes: &[u8],
        state: StreamState,
    ) -> Result<Step<Event<Span>>, Error<HEADER>> {
        let StreamState::Ended(how) = state else {
            // Also once it finishes: what is queued must not have to leave before replies are
            // read, or it waits for a server that waits for it.
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
                    return self.starved(input.bytes, input.state);
                }
                (length, remaining, 0, input.bytes)
            }
            State::Header => {
                if self.phase != Phase::Open && self.in_flight == 0 && self.owed == 0 {
                    self.phase = Phase::Over;
                    return Ok(Step::idle(Action::Close));
                }
                let Some((length, bytes)) = length_of::<HEADER>(input.bytes) else {
                    return self.starved(input.bytes, input.state);
                };
                if self.in_flight == 0 {
                    return Err(Error::Unasked { length });
                }
                let limit = self.outstanding;
                self.outstanding = match limit.checked_sub(u64::from(length)) {
                    Some(rest) => rest,
                    None => return Err(Error::TooLong { length, limit }),
                };
                (length, length, HEADER, bytes)
            }
        };
        let (bytes, left) = take(bytes, remaining);
        if left == 0 {
            self.replied();
        } else {
            self.state = State::Payload { length, remaining: left };
            if bytes.is_empty() {
                return Ok(Step::new(header, 0, Action::Continue));
            }
        }
        let consumed = count::add(header, bytes.len());
        let offset = count::sub(length, remaining);
        let piece = Piece { offset, bytes: Span::new(header, bytes.len()), remaining: left };
        Ok(Step::new(consumed, 0, Action::Event(Event::Reply(piece))))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        if self.phase != Phase::Open || self.owed > 0 || self.in_flight == u32::MAX {
            return Err(CommandError::OutOfTurn);
        }
        let (length, payload, owed) = match command {
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
        let room = output.get_mut(..whole).ok_or(CommandError::OutputFull)?;
        copy(payload, put_length::<HEADER>(length, room).ok_or(CommandError::OutputFull)?);
        self.owed = owed;
        self.in_flight = count::add(self.in_flight, 1);
        // 2^32 messages of 2^32 bytes do not make it overflow.
        self.outstanding = count::add(self.outstanding, u64::from(length));
        Ok(whole)
    }

    fn outbound_remaining(&self) -> u64 {
        u64::from(self.owed)
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        let n = u32::try_from(n).map_err(|_| Invalid::Overrun)?;
        self.owed = self.owed.checked_sub(n).ok_or(Invalid::Overrun)?;
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
            0 => self.replied(),
            left => self.state = State::Payload { length, remaining: left },
        }
        Ok(())
    }
}
