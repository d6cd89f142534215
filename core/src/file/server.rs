//! The server: takes a request, owes a body.

use core::fmt;

use super::{
    CRC_BYTES, FOUND, Form, Malformed, REFUSED, Request, SILENCE_MS, SIZE_BYTES, SIZE_MAX,
};
use crate::machine::{After, How, Input, Machine, Need, Refused, Step, Then};
use crate::wire::{LINE_BYTES, Line, LineError, Lines, find, put_line};

/// The server's end of one connection. 24 bytes, whatever the length of the file.
///
/// The body is [`owed`](Machine::owed) after [`Command::Send`]. A session that ends while it is must
/// end with a reset: of the plain form an orderly close says that all is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Request(Lines),
    Asked(Form),
    /// So much of the body has not been sent.
    Body {
        owed: u64,
        checked: bool,
    },
    Over,
    Aborted,
}

impl Default for State {
    fn default() -> Self {
        Self::Request(Lines::new())
    }
}

/// What the application can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Send the file, which has so many bytes in all; those from the offset on are
    /// [`owed`](Machine::owed) then. [`Refused::Invalid`] when the offset is beyond them.
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
pub enum Event<'i> {
    /// The client asks for a file.
    Request(Request<'i>),
    /// What came is no request. A reset follows: an orderly close would be an empty file.
    Malformed(Malformed),
}

/// Why the session ended: the client's stream did, before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// No whole request had come.
    Request(LineError),
    /// The file was still to be sent, or on its way.
    Gone {
        /// How it ended.
        how: How,
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
                    How::TimedOut => "the client took nothing more in time",
                    How::Closed | How::Reset => "the client reset the connection",
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
        Self { state: State::Request(Lines::new()) }
    }
}

/// A request that has no newline, if it counts as complete all the same. One with a NUL in it does
/// not: half an offset is another one.
fn bare<'i>(input: &Input<'i>) -> Option<Line<'i>> {
    let Input { bytes, after } = *input;
    let is_complete = matches!(after, After::Silence | After::End(How::Closed))
        && !bytes.is_empty()
        && find(0, bytes).is_none();
    is_complete.then_some(Line { text: bytes, bytes: bytes.len() })
}

fn request<'i>(lines: &mut Lines, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
    match lines.next(input) {
        // `next` never gives a line where this one does.
        Ok(None) | Err(LineError::Cut { .. }) if let Some(line) = bare(&input) => Ok(Some(line)),
        line => line,
    }
}

impl Machine for Server {
    type Command<'c> = Command<'c>;
    type Event<'i> = Event<'i>;
    type Error = Error;

    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = 1 + LINE_BYTES;

    fn step<'i>(&mut self, input: Input<'i>, _: &mut [u8]) -> Result<Step<Event<'i>>, Error> {
        let owed = match &mut self.state {
            State::Request(lines) => {
                let (bytes, parsed) = match request(lines, input) {
                    Ok(Some(line)) => (line.bytes, Request::parse(line.text)),
                    // Nothing that would be complete by itself has come yet.
                    Ok(None) if input.bytes.is_empty() || find(0, input.bytes).is_some() => {
                        return Ok(Step::need(Need::Input));
                    }
                    Ok(None) => return Ok(Step::need(Need::InputOrSilence(SILENCE_MS))),
                    Err(LineError::TooLong) => (0, Err(Malformed::TooLong)),
                    Err(cut) => return Err(Error::Request(cut)),
                };
                let event = match parsed {
                    Ok(request) => {
                        self.state = State::Asked(request.form);
                        Event::Request(request)
                    }
                    Err(e) => {
                        self.state = State::Aborted;
                        Event::Malformed(e)
                    }
                };
                return Ok(Step::new(bytes, 0, Then::Event(event)));
            }
            State::Asked(_) => 0,
            State::Body { owed: 0, checked: false } | State::Over => {
                self.state = State::Over;
                return Ok(Step::idle(Then::Done));
            }
            State::Body { owed, .. } => *owed,
            State::Aborted => return Ok(Step::idle(Then::Abort)),
        };
        match input.after {
            After::End(how @ (How::Reset | How::TimedOut)) => Err(Error::Gone { how, owed }),
            // A client that has closed its sending side still reads.
            _ => Ok(Step::need(Need::Command)),
        }
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, Refused> {
        let (written, state) = match (&self.state, command) {
            (State::Asked(form), Command::Send(size)) => {
                let owed = size.checked_sub(form.offset()).ok_or(Refused::Invalid)?;
                let checked = *form != Form::Plain;
                let mut written = 0;
                if checked {
                    let room = output.first_chunk_mut().ok_or(Refused::NoRoom)?;
                    let [s0, s1, s2, s3, s4, s5, s6, s7] = size.to_be_bytes();
                    *room = [FOUND, s0, s1, s2, s3, s4, s5, s6, s7];
                    written = 1 + SIZE_BYTES;
                }
                if size > SIZE_MAX {
                    return Err(Refused::Invalid);
                }
                (written, State::Body { owed, checked })
            }
            (State::Asked(Form::Plain), Command::Refuse(_))
            | (State::Asked(_) | State::Body { .. }, Command::Abort) => (0, State::Aborted),
            (State::Asked(Form::Checked { .. }), Command::Refuse(reason)) => {
                let (tag, line) = output.split_first_mut().ok_or(Refused::NoRoom)?;
                let written = put_line(reason, line)?;
                *tag = REFUSED;
                (written.saturating_add(1), State::Over)
            }
            (State::Body { owed: 0, checked: true }, Command::Check(crc)) => {
                *output.first_chunk_mut().ok_or(Refused::NoRoom)? = crc.to_be_bytes();
                (CRC_BYTES, State::Over)
            }
            _ => return Err(Refused::NotNow),
        };
        self.state = state;
        Ok(written)
    }

    fn owed(&self) -> u64 {
        match self.state {
            State::Body { owed, .. } => owed,
            _ => 0,
        }
    }

    fn paid(&mut self, n: u64) -> Result<(), Refused> {
        match &mut self.state {
            State::Body { owed, .. } => {
                *owed = owed.checked_sub(n).ok_or(Refused::Invalid)?;
                Ok(())
            }
            _ if n == 0 => Ok(()),
            _ => Err(Refused::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn asked(line: &[u8]) -> Server {
        let mut server = Server::new();
        let step = server.step(Input::more(line), &mut []).unwrap();
        assert!(matches!(step.then, Then::Event(Event::Request(_))), "{step:?}");
        assert_eq!(step.consumed, line.len());
        server
    }

    #[test]
    fn sends_a_file_in_the_checked_form() {
        let mut server = asked(b"f\0v1\x002\n");
        let mut room = [0; 2000];
        assert_eq!(server.command(Command::Check(1), &mut room), Err(Refused::NotNow));
        assert_eq!(server.command(Command::Send(1), &mut room), Err(Refused::Invalid));
        assert_eq!(server.command(Command::Send(5), &mut [0; 8]), Err(Refused::NoRoom));
        assert_eq!(server.command(Command::Send(5), &mut room), Ok(9));
        assert!(room.starts_with(b"+\0\0\0\0\0\0\0\x05"));
        assert_eq!(server.owed(), 3);
        assert_eq!(server.command(Command::Check(1), &mut room), Err(Refused::NotNow));
        assert_eq!(server.paid(4), Err(Refused::Invalid));
        assert_eq!(server.paid(3), Ok(()));
        let step = server.step(Input::end(b"", How::Closed), &mut room).unwrap();
        assert_eq!(step, Step::need(Need::Command), "a half-closed client still reads");
        assert_eq!(server.command(Command::Check(0x0102_0304), &mut [0; 3]), Err(Refused::NoRoom));
        assert_eq!(server.command(Command::Check(0x0102_0304), &mut room), Ok(4));
        assert!(room.starts_with(&[1, 2, 3, 4]));
        assert_eq!(server.step(Input::more(b"x"), &mut room).unwrap(), Step::idle(Then::Done));
    }

    #[test]
    fn the_plain_form_is_the_bytes_alone_and_a_reset_its_only_no() {
        let mut server = asked(b"f\r\n");
        assert_eq!(server.command(Command::Send(5), &mut []), Ok(0));
        assert_eq!(server.owed(), 5);
        assert_eq!(server.paid(5), Ok(()));
        assert_eq!(server.step(Input::more(b""), &mut []).unwrap(), Step::idle(Then::Done));
        let mut server = asked(b"f\n");
        assert_eq!(server.command(Command::Refuse(b"no"), &mut []), Ok(0));
        assert_eq!(server.step(Input::more(b""), &mut []).unwrap(), Step::idle(Then::Abort));
        let mut server = asked(b"f\n");
        assert_eq!(server.command(Command::Send(0), &mut []), Ok(0));
        assert_eq!(server.step(Input::more(b""), &mut []).unwrap(), Step::idle(Then::Done));
    }

    #[test]
    fn a_bare_name_is_complete_after_silence_and_an_offset_never_is() {
        let mut server = Server::new();
        let need = Step::need(Need::InputOrSilence(SILENCE_MS));
        assert_eq!(server.step(Input::more(b""), &mut []).unwrap(), Step::need(Need::Input));
        assert_eq!(server.step(Input::more(b"na"), &mut []).unwrap(), need);
        let silent = |bytes| Input { bytes, after: After::Silence };
        let mut bare = server.clone();
        let step = bare.step(silent(b"name"), &mut []).unwrap();
        let request = Request { name: b"name", form: Form::Plain };
        assert_eq!(step, Step::new(4, 0, Then::Event(Event::Request(request))));
        let half = b"name\0v1\x001";
        assert_eq!(server.step(silent(half), &mut []).unwrap(), Step::need(Need::Input));
        let error = server.step(Input::end(half, How::Closed), &mut []).unwrap_err();
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
        assert_eq!(server.command(two, &mut room), Err(Refused::Invalid));
        assert_eq!(server.command(Command::Refuse(b"no"), &mut [0; 3]), Err(Refused::NoRoom));
        assert_eq!(server.command(Command::Refuse(b"no such file"), &mut room), Ok(14));
        assert!(room.starts_with(b"-no such file\n"));
        assert_eq!(server.step(Input::more(b""), &mut room).unwrap(), Step::idle(Then::Done));
    }

    #[test]
    fn a_client_that_has_gone_is_named() {
        let mut server = asked(b"f\n");
        server.command(Command::Send(100), &mut []).unwrap();
        server.paid(60).unwrap();
        let error = server.step(Input::end(b"", How::Reset), &mut []).unwrap_err();
        assert_eq!(error.to_string(), "the client reset the connection, with 40 bytes not sent");
        assert_eq!(server.command(Command::Abort, &mut []), Ok(0));
        assert_eq!(server.owed(), 0);
        assert_eq!(server.step(Input::more(b""), &mut []).unwrap(), Step::idle(Then::Abort));
    }
}
