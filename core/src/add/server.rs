//! The server: reports the name and number of the client, and answers with its own.

use core::fmt;

use super::{Form, INTRODUCTION_BYTES, Parts, RANGE, introduce, name_only};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, bytes_event,
};
use crate::wire::{CloseInTurn, DecimalError, LINE_BYTES, LineError, check_turn, decimal};

/// Server of one session. 8 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    parts: Parts,
    state: State,
    form: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Name,
    Number,
    Ready,
    Over,
}

/// Commands of the application, when the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Answers with this name and this integer, in the [`Form`] that the client used, and ends the session.
    Answer {
        /// A line: at most [`LINE_MAX`](crate::wire::LINE_MAX) bytes, no newline. It must not be a
        /// [message](super::is_message). A separator of the client inside the name is sent as `_`, since a
        /// client that splits the message at its separator expects two parts.
        name: &'c [u8],
        /// The integer.
        number: i32,
    },
}

/// Events emitted by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Name of the client.
    Name(B),
    /// Integer of the client, within [`RANGE`].
    Number(i32),
    /// The integer of the client is out of range, which asks the server to shut down. The session is over. `None`:
    /// the integer does not fit in 32 bits.
    OutOfRange(Option<i32>),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Name(bytes) => Event::Name(f(bytes)?),
            Self::Number(value) => Event::Number(value),
            Self::OutOfRange(value) => Event::OutOfRange(value),
        })
    }
}

bytes_event!(Event);

/// Why the session ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The stream ended between the name of the client and its integer.
    NameOnly(StreamEnd),
    /// The stream ended too early elsewhere, or a line is too long.
    Line(LineError),
    /// The client sent something else in place of its integer.
    NotInteger(DecimalError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameOnly(how) => name_only("the client", *how, f),
            Self::Line(e) => e.by("the client").fmt(f),
            Self::NotInteger(e) => write!(f, "the client broke the protocol: {e}"),
        }
    }
}

impl core::error::Error for Error {}

impl Server {
    /// Returns a server that has received nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { parts: Parts::new(), state: State::Name, form: Form::LINES }
    }

    /// Returns the form in which the client sent its name and integer, which the answer will have.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }
}

impl Machine for Server {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = INTRODUCTION_BYTES;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        match self.state {
            State::Ready => {
                check_turn(input, CloseInTurn::Ignored).map_err(Error::Line)?;
                return Ok(Step::need(Need::Command));
            }
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Name | State::Number => {}
        }
        let is_name = self.state == State::Name;
        let part = match self.parts.peek(input, is_name, self.form) {
            Ok(Ok(part)) => part,
            Ok(Err(need)) => return Ok(Step::need(need)),
            Err(LineError::Truncated { how, got: 0 }) if !is_name => {
                return Err(Error::NameOnly(how));
            }
            Err(e) => return Err(Error::Line(e)),
        };
        let event = if is_name {
            self.state = State::Number;
            Event::Name(input.span(part.line.text))
        } else {
            match decimal(part.line.text) {
                Ok(number) if RANGE.contains(&number) => {
                    self.state = State::Ready;
                    Event::Number(number)
                }
                Err(e @ DecimalError::Unexpected(_)) => return Err(Error::NotInteger(e)),
                out => {
                    self.state = State::Over;
                    Event::OutOfRange(out.ok())
                }
            }
        };
        self.form = part.form;
        Ok(Step::new(self.parts.take(&part), 0, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let Command::Answer { name, number } = command;
        if self.state != State::Ready {
            return Err(CommandError::OutOfTurn);
        }
        let written = introduce(Some(name), Some(number), self.form, output)?;
        // See `Command::Answer`.
        for byte in output.iter_mut().take(name.len()) {
            if *byte == self.form.separator {
                *byte = b'_';
            }
        }
        self.state = State::Over;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::Seen as _;
    use crate::machine::StreamState;

    const ANSWER: Command<'_> = Command::Answer { name: b"Server", number: 7 };

    #[test]
    fn learns_and_answers() {
        let (mut server, mut output) = (Server::new(), [0; 16]);
        assert_eq!(server.command(ANSWER, &mut output), Err(CommandError::OutOfTurn));
        let step = server.seen(Input::open(b"Ada\n42\n"), &mut []).unwrap();
        assert_eq!(step, Step::new(4, 0, Action::Event(Event::Name(&b"Ada"[..]))));
        let step = server.seen(Input::open(b"42\n"), &mut []).unwrap();
        assert_eq!(step, Step::new(3, 0, Action::Event(Event::Number(42))));
        // Half-closed: it still reads.
        let step = server.seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap();
        assert_eq!(step, Step::need(Need::Command));
        assert_eq!(server.command(ANSWER, &mut output[..8]), Err(CommandError::OutputFull));
        assert_eq!(server.command(ANSWER, &mut output), Ok(9));
        assert_eq!(output.get(..9), Some(&b"Server\n7\n"[..]));
        assert_eq!(server.seen(Input::open(b""), &mut []), Ok(Step::idle(Action::Close)));
    }

    #[test]
    fn the_answer_has_the_form_of_the_question() {
        for (asked, answer) in [
            (&b"Ada,42\n"[..], &b"My_Server,7\n"[..]),
            (b"Ada, 42", b"My_Server, 7"),
            (b"Ada 42", b"My_Server 7"),
            (b"Ada\n42", b"My Server\n7"),
        ] {
            // A separator inside the name would end it.
            let name: &[u8] = if asked.contains(&b',') { b"My,Server" } else { b"My Server" };
            let (mut server, mut at, mut output) = (Server::new(), 0, [0; 16]);
            for _ in 0..2 {
                let input = Input { bytes: asked.get(at..).unwrap(), state: StreamState::Idle };
                at += server.seen(input, &mut []).unwrap().consumed;
            }
            assert_eq!(at, asked.len());
            let n = server.command(Command::Answer { name, number: 7 }, &mut output).unwrap();
            assert_eq!(output.get(..n), Some(answer), "{}", asked.escape_ascii());
        }
    }

    #[test]
    fn an_integer_out_of_range_ends_it_unanswered() {
        for (line, number) in [
            ("0", Some(0)),
            ("101", Some(101)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
        ] {
            let mut server = Server { state: State::Number, ..Server::new() };
            let line = [line, "\n"].concat();
            let step = server.seen(Input::open(line.as_bytes()), &mut []).unwrap();
            assert_eq!(step, Step::new(line.len(), 0, Action::Event(Event::OutOfRange(number))));
            assert_eq!(server.seen(Input::open(b"1\n"), &mut []), Ok(Step::idle(Action::Close)));
        }
    }

    #[test]
    fn what_is_no_integer_says_which_byte() {
        let mut server = Server { state: State::Number, ..Server::new() };
        let error = server.seen(Input::open(b"4two\n"), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client broke the protocol: byte 1 of a line is 0x74 ('t'), expected a decimal integer"
        );
        let error = Server::new().seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(error.to_string(), "the client closed the connection between messages");
    }
}
