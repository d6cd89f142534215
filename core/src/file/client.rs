//! The client: asks for a file, gets its bytes.

use core::fmt;

use super::{CRC_BYTES, FOUND, Form, REFUSED, Request, SILENCE_MS, SIZE_BYTES, SIZE_MAX};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamEnd, StreamState,
    bytes_event,
};
use crate::wire::{Byte, LINE_BYTES, LineError, LineScanner, Truncated};

/// `+` and the size.
const HEAD_BYTES: u64 = 9;

/// The client's end. 24 bytes, whatever the length of the file.
///
/// The body comes as events, or the application takes what is [`inbound_remaining`](Machine::inbound_remaining) past the
/// machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    state: State,
    /// The form of the reply.
    checked: bool,
    /// For the reason.
    lines: LineScanner,
    /// So many bytes of the file are still to come; before the reply, so many need not come.
    left: u64,
    /// So many it has. In the plain form nobody knows: [`SIZE_MAX`].
    size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Idle,
    /// The checked form's first byte, and the size behind it.
    Reply,
    Reason,
    /// The plain form: the name is sent without its newline, and nothing has come.
    Bare,
    Body,
    Crc,
    Over,
}

/// What the application can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Fetch this file. Once. In the plain form the name goes alone, and its newline after
    /// [`SILENCE_MS`] in which nothing comes.
    Fetch(Request<&'c [u8]>),
    /// The same, with the newline at once: for servers that read lines.
    FetchLine(Request<&'c [u8]>),
}

/// What the client tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server has the file, and it has so many bytes in all. In the checked form.
    Found {
        /// The whole file's size in bytes.
        size: u64,
    },
    /// The file's next bytes. Never empty.
    Body(B),
    /// All bytes have come, and the whole file has to have this CRC-32. In the checked form.
    Crc(u32),
    /// All bytes have come, as far as anybody can know: the server closed. In the plain form.
    Closed,
    /// The server does not send it, and why. In the checked form.
    Refused(B),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Found { size } => Event::Found { size },
            Self::Body(bytes) => Event::Body(f(bytes)?),
            Self::Crc(crc) => Event::Crc(crc),
            Self::Closed => Event::Closed,
            Self::Refused(bytes) => Event::Refused(f(bytes)?),
        })
    }
}

bytes_event!(Event);

/// Why the file, or a part of it, is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without it the tag has the eight bytes of the sizes' alignment.
#[repr(u8)]
pub enum Error {
    /// The reply starts with a byte that is neither `+` nor `-`.
    Tag(u8),
    /// The file is shorter than what was to be there already, or longer than a file can be.
    Size {
        /// Its size.
        size: u64,
        /// From where it was asked for.
        offset: u64,
    },
    /// The stream ended before the server had said whether it has the file.
    NoReply {
        /// How.
        how: StreamEnd,
        /// So many of the nine bytes that say it had come.
        got: u8,
    },
    /// The server's reason is longer than a line, or the stream ended in the middle of it.
    Reason(LineError),
    /// The stream ended in the file or before its checksum.
    Truncated {
        /// How.
        how: StreamEnd,
        /// So many bytes of the whole file are there, those before the offset included.
        got: u64,
        /// So many it has. `None` in the plain form.
        size: Option<u64>,
    },
}

impl Error {
    /// Whether it is what a server gives that knows the plain form only.
    #[must_use]
    pub const fn may_be_plain(&self) -> bool {
        matches!(self, Self::Tag(_) | Self::NoReply { got: 0, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tag(byte) => write!(
                f,
                "the server broke the protocol: its reply starts with the byte {}, expected '+' \
                 or '-'",
                Byte(byte)
            ),
            Self::Size { size, offset } if size < offset => write!(
                f,
                "the server broke the protocol: a file of {size} bytes, asked for from {offset} on"
            ),
            Self::Size { size, .. } => {
                write!(
                    f,
                    "the server broke the protocol: {size} bytes are more than a file can have"
                )
            }
            Self::NoReply { how, got: 0 } => f.write_str(match how {
                StreamEnd::Closed => "the server closed the connection without a reply",
                StreamEnd::Reset => "the server reset the connection without a reply",
                StreamEnd::TimedOut => "the server sent nothing in time",
            }),
            Self::NoReply { how, got } => {
                Truncated::inside(how, got.into(), HEAD_BYTES).by("the server").fmt(f)
            }
            Self::Reason(e) => match e.cut() {
                // The `-` in front belongs to it.
                Some(Truncated { how, got, .. }) => {
                    Truncated::inside(how, got.saturating_add(1), 0).by("the server").fmt(f)
                }
                None => e.by("the server").fmt(f),
            },
            // All a server of the plain form can say.
            Self::Truncated { how: StreamEnd::Reset, got, size: None } => {
                write!(f, "the server reset the connection after {got} bytes: it ")?;
                f.write_str(match got {
                    0 => "has no such file, or was interrupted",
                    _ => "was interrupted, or the file became unreadable",
                })
            }
            Self::Truncated { how, got, size } => {
                f.write_str(match how {
                    StreamEnd::Closed => "the server closed the connection",
                    StreamEnd::Reset => "the server reset the connection",
                    StreamEnd::TimedOut => "the server sent nothing more in time",
                })?;
                match size {
                    Some(size) if got == size => {
                        write!(f, " after all {size} bytes of the file, before their checksum")
                    }
                    Some(size) => write!(f, " after {got} of {size} bytes of the file"),
                    None => write!(f, ", after {got} bytes of the file"),
                }
            }
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// A client that has not asked for anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Idle, checked: false, lines: LineScanner::inside(), left: 0, size: 0 }
    }

    /// More has to come. The stream has not ended, or nothing can be made of how.
    #[cold]
    fn starved(&self, have: usize, state: StreamState) -> Result<Step<Event<Span>>, Error> {
        let StreamState::Ended(how) = state else { return Ok(Step::need(Need::Input)) };
        let (got, size) = (self.size.saturating_sub(self.left), self.size);
        Err(match self.state {
            State::Bare | State::Body | State::Crc => {
                Error::Truncated { how, got, size: self.checked.then_some(size) }
            }
            _ => Error::NoReply { how, got: u8::try_from(have).unwrap_or_default() },
        })
    }

    /// So many bytes of the body have come.
    #[inline]
    fn passed(&mut self, n: u64) -> Result<(), CommandError> {
        if self.state != State::Body {
            return if n == 0 { Ok(()) } else { Err(Invalid::Overrun.into()) };
        }
        self.left = self.left.checked_sub(n).ok_or(Invalid::Overrun)?;
        if self.left == 0 && self.checked {
            self.state = State::Crc;
        }
        Ok(())
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for Client {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = LINE_BYTES;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let Input { bytes, state } = input;
        let (consumed, event) = match self.state {
            State::Idle => return Ok(Step::need(Need::Command)),
            // The first byte before the other eight: a wrong one is an error however few have come.
            State::Reply => match (bytes, bytes.get(1..).and_then(<[u8]>::first_chunk)) {
                ([REFUSED, ..], _) => {
                    self.state = State::Reason;
                    return Ok(Step::new(1, 0, Action::Continue));
                }
                ([FOUND, ..], Some(size)) => {
                    let (size, offset) = (u64::from_be_bytes(*size), self.left);
                    if size < offset || size > SIZE_MAX {
                        return Err(Error::Size { size, offset });
                    }
                    self.left = count::sub(size, offset);
                    self.size = size;
                    self.state = if size == offset { State::Crc } else { State::Body };
                    (1 + SIZE_BYTES, Event::Found { size })
                }
                ([] | [FOUND, ..], _) => return self.starved(bytes.len(), state),
                ([byte, ..], _) => return Err(Error::Tag(*byte)),
            },
            State::Reason => match self.lines.next(input).map_err(Error::Reason)? {
                Some(line) => {
                    self.state = State::Over;
                    (line.bytes, Event::Refused(input.span(line.text)))
                }
                None => return Ok(Step::need(Need::Input)),
            },
            State::Bare if bytes.is_empty() && state == StreamState::Open => {
                return Ok(Step::need(Need::InputOrIdle(SILENCE_MS)));
            }
            State::Bare if bytes.is_empty() && state == StreamState::Idle => {
                let Some(newline) = output.first_mut() else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                *newline = b'\n';
                self.state = State::Body;
                return Ok(Step::new(0, 1, Action::Continue));
            }
            State::Bare | State::Body
                if !self.checked
                    && bytes.is_empty()
                    && state == StreamState::Ended(StreamEnd::Closed) =>
            {
                self.state = State::Over;
                (0, Event::Closed)
            }
            State::Bare | State::Body => {
                // A `usize` may have 16 bits.
                let n = usize::try_from(self.left).unwrap_or(usize::MAX);
                let bytes = bytes.get(..n).unwrap_or(bytes);
                let n = u64::try_from(bytes.len()).unwrap_or_default();
                if n == 0 {
                    return self.starved(0, state);
                }
                self.state = State::Body;
                if self.passed(n).is_err() {
                    return self.starved(0, state);
                }
                (bytes.len(), Event::Body(Span::new(0, bytes.len())))
            }
            State::Crc => match bytes.first_chunk() {
                Some(crc) => {
                    self.state = State::Over;
                    (CRC_BYTES, Event::Crc(u32::from_be_bytes(*crc)))
                }
                None => return self.starved(0, state),
            },
            State::Over => return Ok(Step::idle(Action::Close)),
        };
        Ok(Step::new(consumed, 0, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let (Command::Fetch(request) | Command::FetchLine(request)) = command;
        if self.state != State::Idle {
            return Err(CommandError::OutOfTurn);
        }
        let mut written = request.emit(output)?;
        self.checked = request.form != Form::Plain;
        (self.state, self.left, self.size) = match request.form {
            Form::Plain if matches!(command, Command::FetchLine(_)) => {
                (State::Body, SIZE_MAX, SIZE_MAX)
            }
            Form::Plain => {
                // The newline is the last byte.
                written = count::sub(written, 1);
                (State::Bare, SIZE_MAX, SIZE_MAX)
            }
            Form::Checked { offset } => (State::Reply, offset, offset),
        };
        Ok(written)
    }

    fn inbound_remaining(&self) -> u64 {
        if self.state == State::Body { self.left } else { 0 }
    }

    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        self.passed(n)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::Seen as _;

    fn client(form: Form) -> Client {
        let mut client = Client::new();
        let command = Command::Fetch(Request { name: b"f", form });
        assert_eq!(client.seen(Input::open(b""), &mut []).unwrap(), Step::need(Need::Command));
        assert!(client.command(command, &mut [0; 64]).is_ok());
        assert_eq!(client.command(command, &mut [0; 64]), Err(CommandError::OutOfTurn));
        client
    }

    const fn tells(consumed: usize, event: Event<&[u8]>) -> Step<Event<&[u8]>> {
        Step::new(consumed, 0, Action::Event(event))
    }

    #[test]
    fn gets_a_file_in_the_checked_form() {
        let mut client = client(Form::Checked { offset: 2 });
        let reply = b"+\0\0\0\0\0\0\0\x07cdefg\x01\x02\x03\x04+";
        let mut step = |bytes| client.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(&reply[..8]), Step::need(Need::Input));
        assert_eq!(step(reply), tells(9, Event::Found { size: 7 }));
        assert_eq!(step(&reply[9..11]), tells(2, Event::Body(&b"cd"[..])));
        assert_eq!(client.inbound_remaining(), 3);
        assert_eq!(client.advance_inbound(4), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_inbound(1), Ok(()));
        let mut step = |bytes| client.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(&reply[12..]), tells(2, Event::Body(&b"fg"[..])));
        assert_eq!(step(&reply[14..16]), Step::need(Need::Input));
        assert_eq!(step(&reply[14..]), tells(4, Event::Crc(0x0102_0304)));
        assert_eq!(step(b"+"), Step::idle(Action::Close));
    }

    #[test]
    fn an_empty_file_is_not_a_missing_one() {
        let mut empty = client(Form::Checked { offset: 0 });
        let mut step = |bytes| empty.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(b"+\0\0\0\0\0\0\0\0"), tells(9, Event::Found { size: 0 }));
        assert_eq!(step(&[0; 4]), tells(4, Event::Crc(0)));
        let mut missing = client(Form::Checked { offset: 0 });
        let mut step = |bytes| missing.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(b"-no\r\n"), Step::new(1, 0, Action::Continue));
        assert_eq!(step(b"no\r\n"), tells(4, Event::Refused(&b"no"[..])));
        assert_eq!(step(b""), Step::idle(Action::Close));
    }

    #[test]
    fn the_plain_form_ends_at_an_orderly_close() {
        let mut client = client(Form::Plain);
        let step = client.seen(Input::open(b"abc"), &mut []).unwrap();
        assert_eq!(step, tells(3, Event::Body(&b"abc"[..])));
        let reset = client.seen(Input::ended(b"", StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(
            reset.to_string(),
            "the server reset the connection after 3 bytes: it was interrupted, or the file became \
             unreadable"
        );
        let step = client.seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap();
        assert_eq!(step, tells(0, Event::Closed));
        assert_eq!(client.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn every_ending_has_its_sentence() {
        let found = b"+\0\0\0\0\0\0\0\x02";
        for (before, input, sentence) in [
            (
                &b""[..],
                Input::open(b"x"),
                "the server broke the protocol: its reply starts with the byte 0x78 ('x'), expected '+' or '-'",
            ),
            (
                b"",
                Input::ended(b"+", StreamEnd::Closed),
                "the server closed the connection in the middle of a message, after 1 of 9 bytes",
            ),
            (
                b"",
                Input::ended(b"", StreamEnd::Closed),
                "the server closed the connection without a reply",
            ),
            (
                b"-",
                Input::ended(b"", StreamEnd::Closed),
                "the server closed the connection in the middle of a message, after 1 byte",
            ),
            (
                b"-",
                Input::ended(b"abc", StreamEnd::Reset),
                "the server reset the connection in the middle of a message, after 4 bytes",
            ),
            (
                b"",
                Input::ended(b"", StreamEnd::Reset),
                "the server reset the connection without a reply",
            ),
            (b"", Input::ended(b"", StreamEnd::TimedOut), "the server sent nothing in time"),
            (
                b"",
                Input::open(b"+\xff\0\0\0\0\0\0\0"),
                "the server broke the protocol: 18374686479671623680 bytes are more than a file can have",
            ),
            (
                found,
                Input::ended(b"", StreamEnd::Closed),
                "the server closed the connection after 0 of 2 bytes of the file",
            ),
            (
                b"+\0\0\0\0\0\0\0\0",
                Input::ended(b"abc", StreamEnd::Reset),
                "the server reset the connection after all 0 bytes of the file, before their checksum",
            ),
        ] {
            let mut client = client(Form::Checked { offset: 0 });
            if !before.is_empty() {
                let _ = client.seen(Input::open(before), &mut []).unwrap();
            }
            assert_eq!(client.seen(input, &mut []).unwrap_err().to_string(), sentence);
        }
        let mut client = client(Form::Checked { offset: 3 });
        let error = client.seen(Input::open(found), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server broke the protocol: a file of 2 bytes, asked for from 3 on"
        );
    }
}
