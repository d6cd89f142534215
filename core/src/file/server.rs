//! The server: receives a request and sends the file.

use core::fmt;

use super::{
    CRC_BYTES, FOUND, Form, Malformed, REFUSED, Request, SILENCE_MS, SIZE_BYTES, SIZE_MAX,
    without_nuls,
};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamEnd, StreamState,
    bytes_event,
};
use crate::wire::{LINE_BYTES, Line, LineError, LineScanner, find, put_line};

/// Server of the file protocol. 16 bytes, independent of the size of the file.
///
/// After [`Command::Send`] the bytes of the file are
/// [`outbound_remaining`](Machine::outbound_remaining). A session that ends before all of them are sent
/// must end with a reset: in the plain form an orderly close is the end of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
    /// Whether the request has the checked form.
    checked: bool,
    /// Scanner for the request.
    lines: LineScanner,
    /// Number of bytes of the file that have not been sent. Before [`Command::Send`]: the requested
    /// offset.
    remaining: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// The next bytes are the request.
    #[default]
    Request,
    /// The application decides what to reply.
    Asked,
    /// The application sends the file and, in the checked form, its checksum.
    Body,
    Over,
    Aborted,
}

/// Command to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends the file after a request. Contains the size of the whole file in bytes. The bytes from the
    /// requested offset on are [`outbound_remaining`](Machine::outbound_remaining) then.
    ///
    /// A size smaller than the offset or greater than [`SIZE_MAX`] is [`Invalid::OutOfRange`].
    Send(u64),
    /// Ends the session after the last byte of the file. Contains the CRC-32 of the whole file. Only in
    /// the checked form.
    Check(u32),
    /// Refuses a request. Contains the reason, which is sent as a line in the checked form. The plain
    /// form has no place for it: the session ends with a reset, and any reason is accepted.
    ///
    /// [`Invalid::TooLong`], [`Invalid::Newline`] or [`Invalid::CarriageReturn`] if the reason is not a
    /// line of at most [`LINE_MAX`](crate::wire::LINE_MAX) bytes.
    Refuse(&'c [u8]),
    /// Ends the session with a reset, after a request or while the file is sent. For a file that cannot
    /// be read as announced.
    Abort,
}

/// Event of the server. `B` is the type of its bytes: a [`Span`] of the input, a slice, or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The client requests a file.
    Request(Request<B>),
    /// The client sent an invalid request. A reset follows, because an orderly close would be an empty
    /// file.
    Malformed(Malformed),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Request(request) => Event::Request(request.try_map(f)?),
            Self::Malformed(e) => Event::Malformed(e),
        })
    }
}

bytes_event!(Event);

/// Early end of the client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The stream ended before a complete request.
    Request(LineError),
    /// The connection ended before the whole reply was sent.
    Gone {
        /// How the stream ended.
        how: StreamEnd,
        /// Number of bytes of the file that were not sent. 0 before [`Command::Send`], and when only
        /// the checksum is missing.
        remaining: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(e) => e.by("the client").fmt(f),
            Self::Gone { how, remaining } => {
                f.write_str(match how {
                    StreamEnd::TimedOut => "the client read nothing more in time",
                    StreamEnd::Closed | StreamEnd::Reset => "the client reset the connection",
                })?;
                match remaining {
                    0 => f.write_str(" before the whole reply was sent"),
                    1 => f.write_str(", with 1 byte of the file not sent"),
                    n => write!(f, ", with {n} bytes of the file not sent"),
                }
            }
        }
    }
}

impl core::error::Error for Error {}

impl Server {
    /// Returns a server at the start of a session.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Request, checked: false, lines: LineScanner::new(), remaining: 0 }
    }

    /// Rejects an invalid request of `bytes` bytes.
    #[cold]
    fn malformed(&mut self, e: Malformed, bytes: usize) -> Step<Event<Span>> {
        self.state = State::Aborted;
        Step::new(bytes, 0, Action::Event(Event::Malformed(e)))
    }
}

/// Returns whether these bytes are a plain request even without a newline. A NUL before other bytes starts
/// a checked request, which needs one: half an offset is another offset.
fn is_name(bytes: &[u8]) -> bool {
    let name = without_nuls(bytes);
    !name.is_empty() && find(0, name).is_none()
}

impl Machine for Server {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = 1 + LINE_BYTES;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let remaining = match self.state {
            State::Request => {
                let line = match self.lines.next(input) {
                    Ok(Some(line)) => line,
                    unfinished => {
                        // The scanner looks at no more either. Otherwise the result would depend on how
                        // many bytes one read returned.
                        let bytes = input.bytes.get(..LINE_BYTES).unwrap_or(input.bytes);
                        let text = self.lines.unfinished(bytes);
                        let is_name = is_name(text);
                        let is_too_long = matches!(unfinished, Err(LineError::TooLong { .. }));
                        match (is_too_long, input.state) {
                            // A name that is padded with NULs may have any length.
                            (true, _) if !is_name || !text.ends_with(&[0]) => {
                                return Ok(self.malformed(Malformed::TooLong, 0));
                            }
                            (true, _)
                            | (_, StreamState::Idle | StreamState::Ended(StreamEnd::Closed))
                                if is_name =>
                            {
                                Line { text, bytes: bytes.len() }
                            }
                            _ => {
                                unfinished.map_err(Error::Request)?;
                                return Ok(Step::need(if is_name {
                                    Need::InputOrIdle(SILENCE_MS)
                                } else {
                                    Need::Input
                                }));
                            }
                        }
                    }
                };
                let request = match Request::parse(line.text) {
                    Ok(request) => request,
                    Err(e) => return Ok(self.malformed(e, line.bytes)),
                };
                self.state = State::Asked;
                self.checked = request.form != Form::Plain;
                self.remaining = request.form.offset();
                return Ok(Step::new(
                    line.bytes,
                    0,
                    Action::Event(Event::Request(request.map(|name| input.span(name)))),
                ));
            }
            State::Asked => 0,
            State::Body if self.checked || self.remaining > 0 => self.remaining,
            State::Body | State::Over => {
                self.state = State::Over;
                return Ok(Step::idle(Action::Close));
            }
            State::Aborted => return Ok(Step::idle(Action::Abort)),
        };
        match input.state.gone() {
            Some(how) => Err(Error::Gone { how, remaining }),
            None => Ok(Step::need(Need::Command)),
        }
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let (written, state) = match (self.state, command) {
            (State::Asked, Command::Send(size)) => {
                let remaining = size.checked_sub(self.remaining).ok_or(Invalid::OutOfRange)?;
                if size > SIZE_MAX {
                    return Err(Invalid::OutOfRange.into());
                }
                let mut written = 0;
                if self.checked {
                    let (tag, space) = output.split_first_mut().ok_or(CommandError::OutputFull)?;
                    *space.first_chunk_mut().ok_or(CommandError::OutputFull)? = size.to_be_bytes();
                    *tag = FOUND;
                    written = 1 + SIZE_BYTES;
                }
                self.remaining = remaining;
                (written, State::Body)
            }
            (State::Asked, Command::Refuse(reason)) if self.checked => {
                let (tag, line) = output.split_first_mut().ok_or(CommandError::OutputFull)?;
                let written = put_line(reason, line)?;
                *tag = REFUSED;
                (count::add(written, 1), State::Over)
            }
            (State::Asked, Command::Refuse(_)) | (State::Asked | State::Body, Command::Abort) => {
                (0, State::Aborted)
            }
            (State::Body, Command::Check(crc)) if self.checked && self.remaining == 0 => {
                *output.first_chunk_mut().ok_or(CommandError::OutputFull)? = crc.to_be_bytes();
                (CRC_BYTES, State::Over)
            }
            _ => return Err(CommandError::OutOfTurn),
        };
        self.state = state;
        Ok(written)
    }

    fn outbound_remaining(&self) -> u64 {
        if self.state == State::Body { self.remaining } else { 0 }
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        if self.state != State::Body {
            return if n == 0 { Ok(()) } else { Err(Invalid::Overrun.into()) };
        }
        self.remaining = self.remaining.checked_sub(n).ok_or(Invalid::Overrun)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::Seen as _;

    fn asked(line: &[u8]) -> Server {
        let mut server = Server::new();
        let step = server.seen(Input::open(line), &mut []).unwrap();
        assert!(matches!(step.action, Action::Event(Event::Request(_))), "{step:?}");
        assert_eq!(step.consumed, line.len());
        server
    }

    #[test]
    fn a_file_is_sent_in_the_checked_form() {
        let mut server = asked(b"f\0v1\x002\n");
        let mut output = [0; 2000];
        assert_eq!(server.command(Command::Check(1), &mut output), Err(CommandError::OutOfTurn));
        assert_eq!(server.command(Command::Send(1), &mut output), Err(Invalid::OutOfRange.into()));
        assert_eq!(server.command(Command::Send(5), &mut [0; 8]), Err(CommandError::OutputFull));
        assert_eq!(server.command(Command::Send(5), &mut output), Ok(9));
        assert!(output.starts_with(b"+\0\0\0\0\0\0\0\x05"));
        assert_eq!(server.outbound_remaining(), 3);
        assert_eq!(server.command(Command::Check(1), &mut output), Err(CommandError::OutOfTurn));
        assert_eq!(server.advance_outbound(4), Err(Invalid::Overrun.into()));
        assert_eq!(server.advance_outbound(3), Ok(()));
        let step = server.seen(Input::ended(b"", StreamEnd::Closed), &mut output).unwrap();
        assert_eq!(step, Step::need(Need::Command), "a half-closed client still reads");
        assert_eq!(
            server.command(Command::Check(0x0102_0304), &mut [0; 3]),
            Err(CommandError::OutputFull)
        );
        assert_eq!(server.command(Command::Check(0x0102_0304), &mut output), Ok(4));
        assert!(output.starts_with(&[1, 2, 3, 4]));
        assert_eq!(server.seen(Input::open(b"x"), &mut output).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn the_plain_form_sends_only_the_bytes_and_refuses_with_a_reset() {
        let mut server = asked(b"f\r\n");
        assert_eq!(server.command(Command::Send(5), &mut []), Ok(0));
        assert_eq!(server.outbound_remaining(), 5);
        assert_eq!(server.advance_outbound(5), Ok(()));
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Close));
        let mut server = asked(b"f\n");
        assert_eq!(server.command(Command::Refuse(b"no"), &mut []), Ok(0));
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Abort));
        let mut server = asked(b"f\n");
        assert_eq!(server.command(Command::Send(0), &mut []), Ok(0));
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn a_name_without_newline_is_complete_after_an_idle_time_and_an_offset_never_is() {
        let mut server = Server::new();
        let need = Step::need(Need::InputOrIdle(SILENCE_MS));
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::need(Need::Input));
        assert_eq!(server.seen(Input::open(b"na"), &mut []).unwrap(), need);
        let idle = |bytes| Input { bytes, state: StreamState::Idle };
        let mut bare = server.clone();
        let step = bare.seen(idle(b"name"), &mut []).unwrap();
        let request = Request { name: &b"name"[..], form: Form::Plain };
        assert_eq!(step, Step::new(4, 0, Action::Event(Event::Request(request))));
        let half = b"name\0v1\x001";
        assert_eq!(server.seen(idle(half), &mut []).unwrap(), Step::need(Need::Input));
        let error = server.seen(Input::ended(half, StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client closed the connection in the middle of a message, after 9 bytes"
        );
    }

    #[test]
    fn a_size_out_of_range_is_rejected_whatever_the_space() {
        for (line, size) in
            [(&b"f\0v1\x002\n"[..], 1), (b"f\0v1\x000\n", SIZE_MAX + 1), (b"f\n", u64::MAX)]
        {
            for output in [&mut [][..], &mut [0; 64]] {
                let mut server = asked(line);
                let result = server.command(Command::Send(size), output);
                assert_eq!(result, Err(Invalid::OutOfRange.into()));
                assert_eq!(server, asked(line));
            }
        }
    }

    #[test]
    fn more_payload_than_announced_has_a_reason_of_its_own() {
        let mut server = asked(b"f\n");
        assert_eq!(server.advance_outbound(1), Err(Invalid::Overrun.into()));
        assert_eq!(server.advance_inbound(1), Err(Invalid::Overrun.into()));
        assert_eq!(server.command(Command::Send(5), &mut []), Ok(0));
        assert_eq!(server.advance_outbound(6), Err(Invalid::Overrun.into()));
        assert_eq!(server.advance_outbound(5), Ok(()));
    }

    #[test]
    fn error_texts_have_the_right_plural_forms() {
        let how = StreamEnd::TimedOut;
        for (remaining, text) in [
            (0, " before the whole reply was sent"),
            (1, ", with 1 byte of the file not sent"),
            (2, ", with 2 bytes of the file not sent"),
        ] {
            let expected = std::format!("the client read nothing more in time{text}");
            assert_eq!(Error::Gone { how, remaining }.to_string(), expected);
        }
    }

    #[test]
    fn a_checked_request_is_refused_with_a_reason() {
        let mut server = asked(b"f\0v1\x000\n");
        let mut output = [0; 2000];
        for (text, reason) in [
            (&b"two\nlines"[..], Invalid::Newline),
            (b"end\r", Invalid::CarriageReturn),
            (&[b'x'; LINE_BYTES], Invalid::TooLong),
        ] {
            let before = server.clone();
            let result = server.command(Command::Refuse(text), &mut output);
            assert_eq!(result, Err(reason.into()));
            assert_eq!(server, before);
        }
        assert_eq!(
            server.command(Command::Refuse(b"no"), &mut [0; 3]),
            Err(CommandError::OutputFull)
        );
        assert_eq!(server.command(Command::Refuse(b"no such file"), &mut output), Ok(14));
        assert!(output.starts_with(b"-no such file\n"));
        assert_eq!(server.seen(Input::open(b""), &mut output).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn a_reset_while_the_file_is_sent_is_an_error() {
        let mut server = asked(b"f\n");
        server.command(Command::Send(100), &mut []).unwrap();
        server.advance_outbound(60).unwrap();
        let error = server.seen(Input::ended(b"", StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client reset the connection, with 40 bytes of the file not sent"
        );
        assert_eq!(server.command(Command::Abort, &mut []), Ok(0));
        assert_eq!(server.outbound_remaining(), 0);
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Abort));
    }
}
