//! The client: requests a file and receives its bytes.

use core::fmt;

use super::{CRC_BYTES, FOUND, Form, REFUSED, Request, SILENCE_MS, SIZE_BYTES, SIZE_MAX};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamEnd, StreamState,
    bytes_event,
};
use crate::wire::{Byte, Bytes, LINE_BYTES, LineError, LineScanner, Truncated};

/// Length in bytes of the head of a checked reply: `+` and the size.
const HEAD_BYTES: u64 = 9;

/// Client of the file protocol. 24 bytes, independent of the size of the file.
///
/// The bytes of the file arrive as events, or the application takes what is
/// [`inbound_remaining`](Machine::inbound_remaining) past the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    state: State,
    /// Whether the request has the checked form.
    checked: bool,
    /// Scanner for the reason of a refusal.
    lines: LineScanner,
    /// Number of bytes of the file that have not arrived. Before the reply: the requested offset.
    remaining: u64,
    /// Size of the file in bytes. In the plain form it is unknown and this is [`SIZE_MAX`].
    size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// Before the request.
    #[default]
    Idle,
    /// Checked form: the next bytes are the head of the reply.
    Reply,
    /// Checked form: the next bytes are the reason of a refusal.
    Reason,
    /// Plain form: the name has been sent without a newline, and no byte has arrived.
    Bare,
    /// The next bytes are those of the file.
    Body,
    /// Checked form: the next bytes are the checksum.
    Crc,
    Over,
}

/// Command to the client, accepted once.
///
/// A request that cannot be sent is rejected with the reason in [`Request::emit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Requests a file. In the plain form the client sends the name alone, and its newline after
    /// [`SILENCE_MS`] without a byte from the server.
    Fetch(Request<&'c [u8]>),
    /// Requests a file and sends the newline at once in either form, for servers that read lines.
    FetchLine(Request<&'c [u8]>),
}

/// Event of the client. `B` is the type of its bytes: a [`Span`] of the input, a slice, or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Checked form: the server has the file.
    Found {
        /// Size of the whole file in bytes.
        size: u64,
    },
    /// The next bytes of the file. Never empty.
    Body(B),
    /// Checked form: all bytes have arrived. Contains the CRC-32 of the whole file.
    Crc(u32),
    /// Plain form: the server closed the connection. That is the end of the file, or it is incomplete:
    /// the form cannot distinguish them.
    Closed,
    /// Checked form: the server refused to send the file. Contains its reason, which is not safe for a
    /// terminal; see [`Escaped`](crate::wire::Escaped).
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

/// Why the file is missing or incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// Keeps the tag in one byte. Otherwise it takes eight, the alignment of the sizes.
#[repr(u8)]
pub enum Error {
    /// The reply starts with this byte, which is neither `+` nor `-`.
    Tag(u8),
    /// The announced size is smaller than the requested offset, or greater than [`SIZE_MAX`].
    Size {
        /// Announced size in bytes.
        size: u64,
        /// Requested offset in bytes, counted from 0.
        offset: u64,
    },
    /// The stream ended before the head of the reply was complete.
    NoReply {
        /// How the stream ended.
        how: StreamEnd,
        /// Number of bytes of the head that arrived, at most 8.
        got: u8,
    },
    /// The reason of a refusal is longer than a line, or the stream ended in the middle of it.
    Reason(LineError),
    /// The stream ended within the file or before its checksum.
    Truncated {
        /// How the stream ended.
        how: StreamEnd,
        /// Number of bytes of the whole file that are present, including those before the requested
        /// offset.
        got: u64,
        /// Size of the whole file in bytes. `None` in the plain form, where it is unknown.
        size: Option<u64>,
    },
}

impl Error {
    /// Returns whether a server that knows only the plain form can cause this error.
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
                "the server broke the protocol: a file of {}, requested from offset {offset}",
                Bytes(size)
            ),
            Self::Size { size, .. } => write!(
                f,
                "the server broke the protocol: a file of {size} bytes, expected at most {SIZE_MAX}"
            ),
            Self::NoReply { how, got: 0 } => f.write_str(match how {
                StreamEnd::Closed => "the server closed the connection without a reply",
                StreamEnd::Reset => "the server reset the connection without a reply",
                StreamEnd::TimedOut => "the server sent nothing in time",
            }),
            Self::NoReply { how, got } => {
                Truncated::inside(how, got.into(), HEAD_BYTES).by("the server").fmt(f)
            }
            Self::Reason(e) => match e.cut() {
                // The `-` before the line is part of the message.
                Some(Truncated { how, got, .. }) => {
                    Truncated::inside(how, got.saturating_add(1), 0).by("the server").fmt(f)
                }
                None => e.by("the server").fmt(f),
            },
            // In the plain form a reset is the only way to report any failure.
            Self::Truncated { how: StreamEnd::Reset, got, size: None } => {
                write!(f, "the server reset the connection after {}: it ", Bytes(got))?;
                f.write_str(match got {
                    0 => "has no such file, or was interrupted",
                    _ => "was interrupted, or the file became unreadable",
                })
            }
            Self::Truncated { how: StreamEnd::TimedOut, got: 0, size: None } => {
                f.write_str("the server sent nothing in time")
            }
            Self::Truncated { how, got, size } => {
                f.write_str(match how {
                    StreamEnd::Closed => "the server closed the connection",
                    StreamEnd::Reset => "the server reset the connection",
                    StreamEnd::TimedOut => "the server sent nothing more in time",
                })?;
                match size {
                    Some(n) if got == n => {
                        write!(f, " after the whole file of {}, before its checksum", Bytes(n))
                    }
                    Some(n) => write!(f, " after {got} of {} of the file", Bytes(n)),
                    None => write!(f, " after {} of the file", Bytes(got)),
                }
            }
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// Returns a client at the start of a session.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Idle,
            checked: false,
            lines: LineScanner::inside(),
            remaining: 0,
            size: 0,
        }
    }

    /// Handles an input without anything to consume: asks for more, or reports how the stream ended.
    /// `got` is the number of bytes of the reply's head.
    #[cold]
    fn incomplete(&self, got: usize, state: StreamState) -> Result<Step<Event<Span>>, Error> {
        let StreamState::Ended(how) = state else { return Ok(Step::need(Need::Input)) };
        Err(match self.state {
            State::Bare | State::Body | State::Crc => Error::Truncated {
                how,
                got: self.size.saturating_sub(self.remaining),
                size: self.checked.then_some(self.size),
            },
            _ => Error::NoReply { how, got: u8::try_from(got).unwrap_or_default() },
        })
    }

    /// Counts `n` bytes of the file as received.
    #[inline]
    fn advance_body(&mut self, n: u64) -> Result<(), CommandError> {
        if self.state != State::Body {
            return if n == 0 { Ok(()) } else { Err(Invalid::Overrun.into()) };
        }
        self.remaining = self.remaining.checked_sub(n).ok_or(Invalid::Overrun)?;
        if self.remaining == 0 && self.checked {
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
            // The tag is checked before the head is complete. A wrong tag must not wait for the rest.
            State::Reply => match (bytes, bytes.get(1..).and_then(<[u8]>::first_chunk)) {
                ([REFUSED, ..], _) => {
                    self.state = State::Reason;
                    return Ok(Step::new(1, 0, Action::Continue));
                }
                ([FOUND, ..], Some(size)) => {
                    let (size, offset) = (u64::from_be_bytes(*size), self.remaining);
                    if size < offset || size > SIZE_MAX {
                        return Err(Error::Size { size, offset });
                    }
                    self.remaining = count::sub(size, offset);
                    self.size = size;
                    self.state = if size == offset { State::Crc } else { State::Body };
                    (1 + SIZE_BYTES, Event::Found { size })
                }
                ([] | [FOUND, ..], _) => return self.incomplete(bytes.len(), state),
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
                // The conversion can fail: a `usize` may have 16 bits.
                let n = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let bytes = bytes.get(..n).unwrap_or(bytes);
                let n = u64::try_from(bytes.len()).unwrap_or_default();
                if n == 0 {
                    return self.incomplete(0, state);
                }
                self.state = State::Body;
                if self.advance_body(n).is_err() {
                    return self.incomplete(0, state);
                }
                (bytes.len(), Event::Body(Span::new(0, bytes.len())))
            }
            State::Crc => match bytes.first_chunk() {
                Some(crc) => {
                    self.state = State::Over;
                    (CRC_BYTES, Event::Crc(u32::from_be_bytes(*crc)))
                }
                None => return self.incomplete(0, state),
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
        (self.state, self.remaining, self.size) = match request.form {
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
        if self.state == State::Body { self.remaining } else { 0 }
    }

    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        self.advance_body(n)
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

    const fn emits(consumed: usize, event: Event<&[u8]>) -> Step<Event<&[u8]>> {
        Step::new(consumed, 0, Action::Event(event))
    }

    #[test]
    fn a_file_arrives_in_the_checked_form() {
        let mut client = client(Form::Checked { offset: 2 });
        let reply = b"+\0\0\0\0\0\0\0\x07cdefg\x01\x02\x03\x04+";
        let mut step = |bytes| client.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(&reply[..8]), Step::need(Need::Input));
        assert_eq!(step(reply), emits(9, Event::Found { size: 7 }));
        assert_eq!(step(&reply[9..11]), emits(2, Event::Body(&b"cd"[..])));
        assert_eq!(client.inbound_remaining(), 3);
        assert_eq!(client.advance_inbound(4), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_inbound(1), Ok(()));
        let mut step = |bytes| client.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(&reply[12..]), emits(2, Event::Body(&b"fg"[..])));
        assert_eq!(step(&reply[14..16]), Step::need(Need::Input));
        assert_eq!(step(&reply[14..]), emits(4, Event::Crc(0x0102_0304)));
        assert_eq!(step(b"+"), Step::idle(Action::Close));
    }

    #[test]
    fn an_empty_file_differs_from_a_missing_one() {
        let mut empty = client(Form::Checked { offset: 0 });
        let mut step = |bytes| empty.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(b"+\0\0\0\0\0\0\0\0"), emits(9, Event::Found { size: 0 }));
        assert_eq!(step(&[0; 4]), emits(4, Event::Crc(0)));
        let mut missing = client(Form::Checked { offset: 0 });
        let mut step = |bytes| missing.seen(Input::open(bytes), &mut []).unwrap();
        assert_eq!(step(b"-no\r\n"), Step::new(1, 0, Action::Continue));
        assert_eq!(step(b"no\r\n"), emits(4, Event::Refused(&b"no"[..])));
        assert_eq!(step(b""), Step::idle(Action::Close));
    }

    #[test]
    fn the_plain_form_ends_at_an_orderly_close() {
        let mut client = client(Form::Plain);
        let step = client.seen(Input::open(b"abc"), &mut []).unwrap();
        assert_eq!(step, emits(3, Event::Body(&b"abc"[..])));
        let reset = client.seen(Input::ended(b"", StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(
            reset.to_string(),
            "the server reset the connection after 3 bytes: it was interrupted, or the file became \
             unreadable"
        );
        let step = client.seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap();
        assert_eq!(step, emits(0, Event::Closed));
        assert_eq!(client.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn every_end_has_an_error_text() {
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
                "the server broke the protocol: a file of 18374686479671623680 bytes, expected at most 9223372036854775807",
            ),
            (
                found,
                Input::ended(b"", StreamEnd::Closed),
                "the server closed the connection after 0 of 2 bytes of the file",
            ),
            (
                b"+\0\0\0\0\0\0\0\0",
                Input::ended(b"abc", StreamEnd::Reset),
                "the server reset the connection after the whole file of 0 bytes, before its checksum",
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
            "the server broke the protocol: a file of 2 bytes, requested from offset 3"
        );
    }

    #[test]
    fn error_texts_have_the_right_plural_forms() {
        use StreamEnd::{Closed, Reset, TimedOut};
        let cut = |how, got, size| Error::Truncated { how, got, size };
        for (error, text) in [
            (
                Error::Size { size: 0, offset: 1 },
                "broke the protocol: a file of 0 bytes, requested from offset 1",
            ),
            (
                Error::Size { size: 1, offset: 2 },
                "broke the protocol: a file of 1 byte, requested from offset 2",
            ),
            (
                cut(Reset, 0, None),
                "reset the connection after 0 bytes: it has no such file, or was interrupted",
            ),
            (
                cut(Reset, 1, None),
                "reset the connection after 1 byte: it was interrupted, or the file became unreadable",
            ),
            (cut(TimedOut, 0, None), "sent nothing in time"),
            (cut(TimedOut, 1, None), "sent nothing more in time after 1 byte of the file"),
            (cut(TimedOut, 2, None), "sent nothing more in time after 2 bytes of the file"),
            (cut(Closed, 0, Some(1)), "closed the connection after 0 of 1 byte of the file"),
            (cut(Closed, 1, Some(2)), "closed the connection after 1 of 2 bytes of the file"),
            (
                cut(Closed, 1, Some(1)),
                "closed the connection after the whole file of 1 byte, before its checksum",
            ),
            (
                cut(Closed, 2, Some(2)),
                "closed the connection after the whole file of 2 bytes, before its checksum",
            ),
        ] {
            assert_eq!(error.to_string(), std::format!("the server {text}"));
        }
    }

    #[test]
    fn every_request_that_cannot_be_sent_is_rejected_with_its_reason() {
        let long = [b'x'; LINE_BYTES];
        for (name, form, reason) in [
            (&b""[..], Form::Plain, Invalid::Empty),
            (&long, Form::Plain, Invalid::TooLong),
            (b"a\0b", Form::Plain, Invalid::Separator),
            (b"a\nb", Form::Plain, Invalid::Newline),
            (b"a\r", Form::Plain, Invalid::CarriageReturn),
            (b"a", Form::Checked { offset: SIZE_MAX + 1 }, Invalid::OutOfRange),
        ] {
            let request = Request { name, form };
            for command in [Command::Fetch(request), Command::FetchLine(request)] {
                for output in [&mut [][..], &mut [0; 2 * LINE_BYTES]] {
                    let mut client = Client::new();
                    assert_eq!(client.command(command, output), Err(reason.into()));
                    assert_eq!(client, Client::new());
                }
            }
        }
    }

    #[test]
    fn more_payload_than_announced_has_a_reason_of_its_own() {
        let mut idle = Client::new();
        assert_eq!(idle.advance_inbound(1), Err(Invalid::Overrun.into()));
        assert_eq!(idle.advance_outbound(1), Err(Invalid::Overrun.into()));
        let mut client = client(Form::Checked { offset: 0 });
        let _ = client.seen(Input::open(b"+\0\0\0\0\0\0\0\x02"), &mut []).unwrap();
        assert_eq!(client.advance_inbound(3), Err(Invalid::Overrun.into()));
        assert_eq!(client.advance_inbound(2), Ok(()));
    }
}
