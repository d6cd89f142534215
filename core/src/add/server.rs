//! The server: learns a client's name and number, answers with its own.

use core::fmt;

use super::{Form, INTRODUCTION_BYTES, Parts, RANGE, introduce, name_only};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, bytes_event,
};
use crate::wire::{DecimalError, LINE_BYTES, Line, LineError, decimal};

/// The server's end of one connection. 8 bytes.
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

/// What the application says once it knows the client's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Answer with this name and this integer, in the [`Form`] that the client used, and end the
    /// session.
    Answer {
        /// A line: at most [`LINE_MAX`](crate::wire::LINE_MAX) bytes, no newline. It must not be a
        /// [message](super::is_message). Where it contains the separator of the client, that is sent as
        /// `_`: a client that splits the message there gets two parts.
        name: &'c [u8],
        /// The integer.
        number: i32,
    },
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The client's name.
    Name(B),
    /// The client's integer, within [`RANGE`].
    Number(i32),
    /// The client's integer is out of range: the session is over, and the server is asked to shut
    /// down. `None`: it does not even fit in 32 bits.
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

/// Why the session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The stream ended like this behind the client's name, where its integer should be.
    NameOnly(StreamEnd),
    /// The stream ended too early otherwise, or a line is too long.
    Line(LineError),
    /// Where the client's integer should be is none.
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
    /// A server to which nothing has been sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { parts: Parts::new(), state: State::Name, form: Form::LINES }
    }

    /// The form in which the client has sent its name and integer: how it is answered.
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
                // A client that has only closed its sending side can still read the answer.
                if let Some(how) = input.state.gone() {
                    return Err(Error::Line(LineError::between(how)));
                }
                return Ok(Step::need(Need::Command));
            }
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Name | State::Number => {}
        }
        let before = self.clone();
        let is_name = self.state == State::Name;
        let Line { text, bytes } = match self.parts.next(input, is_name, &mut self.form) {
            Ok(Ok(line)) => line,
            Ok(Err(need)) => return Ok(Step::need(need)),
            Err(LineError::Truncated { how, got: 0 }) if !is_name => {
                return Err(Error::NameOnly(how));
            }
            Err(e) => return Err(Error::Line(e)),
        };
        let event = if is_name {
            self.state = State::Number;
            Event::Name(input.span(text))
        } else {
            match decimal(text) {
                Ok(number) if RANGE.contains(&number) => {
                    self.state = State::Ready;
                    Event::Number(number)
                }
                Err(e @ DecimalError::Unexpected(_)) => {
                    // An error changes nothing.
                    *self = before;
                    return Err(Error::NotInteger(e));
                }
                out => {
                    self.state = State::Over;
                    Event::OutOfRange(out.ok())
                }
            }
        };
        Ok(Step::new(bytes, 0, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let Command::Answer { name, number } = command;
        if self.state != State::Ready {
            return Err(CommandError::OutOfTurn);
        }
        let written = introduce(Some(name), Some(number), self.form, output)?;
        // What splits a message at its separator gets two parts.
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
