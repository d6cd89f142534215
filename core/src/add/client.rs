//! The client: sends its name and number, and reports those of the server.

use core::fmt;

use super::{Form, INTRODUCTION_BYTES, Parts, RANGE, introduce, name_only};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, bytes_event,
};
use crate::wire::{CloseInTurn, DecimalError, LINE_BYTES, LineError, check_turn, decimal};

/// Client of one session. 6 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    parts: Parts,
    state: State,
    leaving: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Ready,
    /// The name is written. The number is to be a write of its own.
    Boundary,
    Apart,
    Name,
    Number,
    Over,
}

/// Commands of the application: name and number in one piece, or the name and then the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends this name and this integer. An integer out of [`RANGE`] shuts the server down: it does not answer, and its
    /// close completes the session.
    Introduce {
        /// A line: at most [`LINE_MAX`](crate::wire::LINE_MAX) bytes, no newline. As a line of its own it must
        /// not be a [message](super::is_message).
        name: &'c [u8],
        /// The integer.
        number: i32,
        /// Form on the wire.
        form: Form,
    },
    /// Sends this name and the separator behind it. A boundary follows, and then the application must give
    /// [`Number`](Self::Number).
    Name {
        /// See [`Introduce`](Self::Introduce).
        name: &'c [u8],
        /// Form on the wire.
        form: Form,
    },
    /// Sends this integer behind the name. See [`Introduce`](Self::Introduce).
    Number {
        /// The integer.
        number: i32,
        /// Form on the wire.
        form: Form,
    },
}

/// Events emitted by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Name of the server.
    Name(B),
    /// Integer of the server. It may be out of [`RANGE`], which binds our server only.
    Number(i32),
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
        })
    }
}

bytes_event!(Event);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The stream ended before the answer.
    Unanswered(StreamEnd),
    /// The stream ended between the name of the server and its integer.
    NameOnly(StreamEnd),
    /// The stream ended too early elsewhere, or a line is too long.
    Line(LineError),
    /// The server sent something else in place of its integer, or an integer that does not fit in 32 bits.
    NotInteger(DecimalError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(StreamEnd::TimedOut) => {
                f.write_str("the server did not answer in time")
            }
            Self::Unanswered(StreamEnd::Reset) => {
                f.write_str("the server reset the connection instead of answering")
            }
            Self::Unanswered(StreamEnd::Closed) => f.write_str(
                "the server closed the connection instead of answering: it refused what it got, or \
                 was shut down",
            ),
            Self::NameOnly(how) => name_only("the server", *how, f),
            Self::Line(e) => e.by("the server").fmt(f),
            Self::NotInteger(e) => write!(f, "the server broke the protocol: {e}"),
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// Returns a client that has sent nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { parts: Parts::new(), state: State::Ready, leaving: false }
    }

    /// Handles the reason why there is no line.
    #[inline]
    fn failed(&mut self, e: LineError) -> Result<Step<Event<Span>>, Error> {
        match (self.state, e) {
            (
                State::Name,
                LineError::Truncated { how: StreamEnd::Closed | StreamEnd::Reset, got: 0 },
            ) if self.leaving => {
                self.state = State::Over;
                Ok(Step::idle(Action::Close))
            }
            (State::Name, LineError::Truncated { how, got: 0 }) => Err(Error::Unanswered(how)),
            (_, LineError::Truncated { how, got: 0 }) => Err(Error::NameOnly(how)),
            _ => Err(Error::Line(e)),
        }
    }
}

impl Machine for Client {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = INTRODUCTION_BYTES;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        match self.state {
            State::Ready | State::Apart => {
                // A server that has closed may have answered already.
                check_turn(input, CloseInTurn::Ignored).map_err(Error::Line)?;
                return Ok(Step::need(Need::Command));
            }
            State::Boundary => {
                self.state = State::Apart;
                return Ok(Step::idle(Action::Boundary));
            }
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Name | State::Number => {}
        }
        // The form of the answer does not matter.
        let part = match self.parts.peek(input, self.state == State::Name, Form::LINES) {
            Ok(Ok(part)) => part,
            Ok(Err(need)) => return Ok(Step::need(need)),
            Err(e) => return self.failed(e),
        };
        let event = if self.state == State::Name {
            self.state = State::Number;
            Event::Name(input.span(part.line.text))
        } else {
            let number = decimal(part.line.text).map_err(Error::NotInteger)?;
            self.state = State::Over;
            Event::Number(number)
        };
        Ok(Step::new(self.parts.take(&part), 0, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let (name, number, form) = match command {
            Command::Introduce { name, number, form } => (Some(name), Some(number), form),
            Command::Name { name, form } => (Some(name), None, form),
            Command::Number { number, form } => (None, Some(number), form),
        };
        let turn = if name.is_some() { State::Ready } else { State::Apart };
        if self.state != turn {
            return Err(CommandError::OutOfTurn);
        }
        let written = introduce(name, number, form, output)?;
        self.leaving = number.is_some_and(|number| !RANGE.contains(&number));
        self.state = if number.is_some() { State::Name } else { State::Boundary };
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::Seen as _;

    fn introduced(number: i32) -> Client {
        let mut client = Client::new();
        let command = Command::Introduce { name: b"Ada", number, form: Form::LINES };
        assert_eq!(client.command(command, &mut [0; 64]), Ok(4 + number.to_string().len() + 1));
        client
    }

    #[test]
    fn introduces_itself_and_learns_the_other() {
        let (mut client, mut output) = (Client::new(), [0; 7]);
        let command = Command::Introduce { name: b"Ada", number: 42, form: Form::LINES };
        assert_eq!(client.command(command, &mut output[..6]), Err(CommandError::OutputFull));
        assert_eq!(client.command(command, &mut output), Ok(7));
        assert_eq!(output, *b"Ada\n42\n");
        assert_eq!(client.command(command, &mut output), Err(CommandError::OutOfTurn));
        let step = client.seen(Input::open(b"Server\r\n7\n"), &mut []).unwrap();
        assert_eq!(step, Step::new(8, 0, Action::Event(Event::Name(&b"Server"[..]))));
        let step = client.seen(Input::open(b"7\n"), &mut []).unwrap();
        assert_eq!(step, Step::new(2, 0, Action::Event(Event::Number(7))));
        let step = client.seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap();
        assert_eq!(step, Step::idle(Action::Close));
    }

    #[test]
    fn name_and_number_go_apart_with_a_boundary_between_them() {
        let (mut client, mut output, form) = (Client::new(), [0; 16], Form::message(b','));
        let number = Command::Number { number: 42, form };
        assert_eq!(client.command(number, &mut output), Err(CommandError::OutOfTurn));
        assert_eq!(client.command(Command::Name { name: b"Ada", form }, &mut output), Ok(4));
        assert_eq!(client.command(number, &mut output), Err(CommandError::OutOfTurn));
        let step = client.seen(Input::open(b""), &mut []);
        assert_eq!(step, Ok(Step::idle(Action::Boundary)));
        let step = client.seen(Input::ended(b"", StreamEnd::Closed), &mut []);
        assert_eq!(step, Ok(Step::need(Need::Command)));
        assert_eq!(client.command(number, &mut output[4..]), Ok(3));
        assert!(output.starts_with(b"Ada,42\n"));
        let step = client.seen(Input::open(b"S 7"), &mut []);
        assert_eq!(step, Ok(Step::need(Need::InputOrIdle(300))));
    }

    #[test]
    fn a_server_that_was_to_shut_down_may_close() {
        for how in [StreamEnd::Closed, StreamEnd::Reset] {
            let step = introduced(101).seen(Input::ended(b"", how), &mut []);
            assert_eq!(step, Ok(Step::idle(Action::Close)));
        }
    }

    #[test]
    fn every_ending_has_its_sentence() {
        for (number, bytes, how, sentence) in [
            (
                1,
                &b""[..],
                StreamEnd::Closed,
                "the server closed the connection instead of answering: it refused what it got, or was shut down",
            ),
            (1, b"", StreamEnd::Reset, "the server reset the connection instead of answering"),
            (1, b"", StreamEnd::TimedOut, "the server did not answer in time"),
            (0, b"", StreamEnd::TimedOut, "the server did not answer in time"),
            (
                0,
                b"Ser",
                StreamEnd::Closed,
                "the server closed the connection in the middle of a message, after 3 bytes",
            ),
        ] {
            let error = introduced(number).seen(Input::ended(bytes, how), &mut []).unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
        for (line, sentence) in [
            (
                &b"a lot\n"[..],
                "the server broke the protocol: byte 0 of a line is 0x61 ('a'), expected a decimal integer",
            ),
            (b"\n", "the server broke the protocol: a line is empty, expected a decimal integer"),
            (b"4294967296\n", "the server broke the protocol: the integer does not fit in 32 bits"),
        ] {
            let mut client = Client { state: State::Number, ..introduced(1) };
            let before = client.clone();
            let error = client.seen(Input::open(line), &mut []).unwrap_err();
            assert_eq!((error.to_string().as_str(), client), (sentence, before));
        }
        let error = Client::new().seen(Input::ended(b"", StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(error.to_string(), "the server reset the connection between messages");
    }
}
