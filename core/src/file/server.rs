//! The server: takes a request, owes a body.

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

/// The server's end of one connection. 16 bytes, whatever the length of the file.
///
/// The body is [`outbound_remaining`](Machine::outbound_remaining) after [`Command::Send`]. A session that ends while it is must
/// end with a reset: of the plain form an orderly close says that all is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
    /// The form of the request.
    checked: bool,
    lines: LineScanner,
    /// So much of the body has not been sent; before it begins, so much of the file is not in it.
    owed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Request,
    Asked,
    Body,
    Over,
    Aborted,
}

/// What the application can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Send the file, which has so many bytes in all; those from the offset on are
    /// [`outbound_remaining`](Machine::outbound_remaining) then. [`CommandError::Invalid`] when the offset is beyond them.
    Send(u64),
    /// All of the body is sent: the whole file has this CRC-32. In the checked form only.
    Check(u32),
    /// The file is not to be had, and why, as a line. The plain form cannot say it: reset.
    Refuse(&'c [u8]),
    /// Reset: the file turned out not to be what was announced.
    Abort,
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The client asks for a file.
    Request(Request<B>),
    /// What came is no request. A reset follows: an orderly close would be an empty file.
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

/// Why the session ended: the client's stream did, before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// No whole request had come.
    Request(LineError),
    /// The file was still to be sent, or on its way.
    Gone {
        /// How it ended.
        how: StreamEnd,
        /// So many bytes of the body were not sent.
        owed: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(e) => e.by("the client").fmt(f),
            Self::Gone { how, owed } => {
                f.write_str(match how {
                    StreamEnd::TimedOut => "the client read nothing more in time",
                    StreamEnd::Closed | StreamEnd::Reset => "the client reset the connection",
                })?;
                write!(f, ", with {owed} bytes not sent")
            }
        }
    }
}

impl core::error::Error for Error {}

impl Server {
    /// A server to which nothing has been sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Request, checked: false, lines: LineScanner::new(), owed: 0 }
    }

    /// What came is no request.
    #[cold]
    fn malformed(&mut self, e: Malformed, bytes: usize) -> Step<Event<Span>> {
        self.state = State::Aborted;
        Step::new(bytes, 0, Action::Event(Event::Malformed(e)))
    }
}

/// Whether these bytes are a request even without a newline. Those with a NUL inside are not: half an
/// offset is another one.
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
        let owed = match self.state {
            State::Request => {
                let line = match self.lines.next(input) {
                    Ok(Some(line)) => line,
                    unfinished => {
                        // No more is looked at, or it would be a matter of how it is cut.
                        let bytes = input.bytes.get(..LINE_BYTES).unwrap_or(input.bytes);
                        let text = self.lines.unfinished(bytes);
                        let is_name = is_name(text);
                        let is_too_long = unfinished == Err(LineError::TooLong);
                        match (is_too_long, input.state) {
                            // A buffer of zeros behind a name may have any length.
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
                self.owed = request.form.offset();
                return Ok(Step::new(
                    line.bytes,
                    0,
                    Action::Event(Event::Request(request.map(|name| input.span(name)))),
                ));
            }
            State::Asked => 0,
            State::Body if self.checked || self.owed > 0 => self.owed,
            State::Body | State::Over => {
                self.state = State::Over;
                return Ok(Step::idle(Action::Close));
            }
            State::Aborted => return Ok(Step::idle(Action::Abort)),
        };
        match input.state.gone() {
            Some(how) => Err(Error::Gone { how, owed }),
            None => Ok(Step::need(Need::Command)),
        }
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let (written, state) = match (self.state, command) {
            (State::Asked, Command::Send(size)) => {
                let owed = size.checked_sub(self.owed).ok_or(Invalid::OutOfRange)?;
                let mut written = 0;
                if self.checked {
                    let (tag, room) = output.split_first_mut().ok_or(CommandError::OutputFull)?;
                    *room.first_chunk_mut().ok_or(CommandError::OutputFull)? = size.to_be_bytes();
                    *tag = FOUND;
                    written = 1 + SIZE_BYTES;
                }
                if size > SIZE_MAX {
                    return Err(Invalid::OutOfRange.into());
                }
                self.owed = owed;
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
            (State::Body, Command::Check(crc)) if self.checked && self.owed == 0 => {
                *output.first_chunk_mut().ok_or(CommandError::OutputFull)? = crc.to_be_bytes();
                (CRC_BYTES, State::Over)
            }
            _ => return Err(CommandError::OutOfTurn),
        };
        self.state = state;
        Ok(written)
    }

    fn outbound_remaining(&self) -> u64 {
        if self.state == State::Body { self.owed } else { 0 }
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        if self.state != State::Body {
            return if n == 0 { Ok(()) } else { Err(Invalid::Overrun.into()) };
        }
        self.owed = self.owed.checked_sub(n).ok_or(Invalid::Overrun)?;
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
    fn sends_a_file_in_the_checked_form() {
        let mut server = asked(b"f\0v1\x002\n");
        let mut room = [0; 2000];
        assert_eq!(server.command(Command::Check(1), &mut room), Err(CommandError::OutOfTurn));
        assert_eq!(server.command(Command::Send(1), &mut room), Err(Invalid::OutOfRange.into()));
        assert_eq!(server.command(Command::Send(5), &mut [0; 8]), Err(CommandError::OutputFull));
        assert_eq!(server.command(Command::Send(5), &mut room), Ok(9));
        assert!(room.starts_with(b"+\0\0\0\0\0\0\0\x05"));
        assert_eq!(server.outbound_remaining(), 3);
        assert_eq!(server.command(Command::Check(1), &mut room), Err(CommandError::OutOfTurn));
        assert_eq!(server.advance_outbound(4), Err(Invalid::Overrun.into()));
        assert_eq!(server.advance_outbound(3), Ok(()));
        let step = server.seen(Input::ended(b"", StreamEnd::Closed), &mut room).unwrap();
        assert_eq!(step, Step::need(Need::Command), "a half-closed client still reads");
        assert_eq!(
            server.command(Command::Check(0x0102_0304), &mut [0; 3]),
            Err(CommandError::OutputFull)
        );
        assert_eq!(server.command(Command::Check(0x0102_0304), &mut room), Ok(4));
        assert!(room.starts_with(&[1, 2, 3, 4]));
        assert_eq!(server.seen(Input::open(b"x"), &mut room).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn the_plain_form_is_the_bytes_alone_and_a_reset_its_only_no() {
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
    fn a_bare_name_is_complete_after_silence_and_an_offset_never_is() {
        let mut server = Server::new();
        let need = Step::need(Need::InputOrIdle(SILENCE_MS));
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::need(Need::Input));
        assert_eq!(server.seen(Input::open(b"na"), &mut []).unwrap(), need);
        let silent = |bytes| Input { bytes, state: StreamState::Idle };
        let mut bare = server.clone();
        let step = bare.seen(silent(b"name"), &mut []).unwrap();
        let request = Request { name: &b"name"[..], form: Form::Plain };
        assert_eq!(step, Step::new(4, 0, Action::Event(Event::Request(request))));
        let half = b"name\0v1\x001";
        assert_eq!(server.seen(silent(half), &mut []).unwrap(), Step::need(Need::Input));
        let error = server.seen(Input::ended(half, StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client closed the connection in the middle of a message, after 9 bytes"
        );
    }

    #[test]
    fn refuses_with_a_reason() {
        let mut server = asked(b"f\0v1\x000\n");
        let mut room = [0; 2000];
        let two = Command::Refuse(b"two\nlines");
        assert_eq!(server.command(two, &mut room), Err(Invalid::Newline.into()));
        assert_eq!(
            server.command(Command::Refuse(b"no"), &mut [0; 3]),
            Err(CommandError::OutputFull)
        );
        assert_eq!(server.command(Command::Refuse(b"no such file"), &mut room), Ok(14));
        assert!(room.starts_with(b"-no such file\n"));
        assert_eq!(server.seen(Input::open(b""), &mut room).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn a_client_that_has_gone_is_named() {
        let mut server = asked(b"f\n");
        server.command(Command::Send(100), &mut []).unwrap();
        server.advance_outbound(60).unwrap();
        let error = server.seen(Input::ended(b"", StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(error.to_string(), "the client reset the connection, with 40 bytes not sent");
        assert_eq!(server.command(Command::Abort, &mut []), Ok(0));
        assert_eq!(server.outbound_remaining(), 0);
        assert_eq!(server.seen(Input::open(b""), &mut []).unwrap(), Step::idle(Action::Abort));
    }
}
