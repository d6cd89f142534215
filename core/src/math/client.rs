//! The client: answers every question and emits the secret.

use core::convert::Infallible;
use core::fmt;

use super::{ANSWER_BYTES, Question, Secret};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState, plain_event,
};
use crate::wire::{Byte, Truncated};

/// Client of the math quiz. 8 bytes.
///
/// It computes the answers itself, so it accepts no commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    answered: u32,
    over: bool,
}

/// Event of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The server asked a question. Its answer, the [`sum`](Question::sum), has been written.
    Question(Question),
    /// The server accepted every answer and sent its secret.
    Secret(Secret),
}

plain_event!(Event);

/// Why the session ended without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The server closed the connection right after an answer, as it does after a wrong one. Contains
    /// the number of the answer, counted from 1.
    Rejected(u32),
    /// A message starts with a byte that is neither `Q` nor `S`.
    Tag {
        /// The first byte of the message.
        byte: u8,
        /// Number of the message, counted from 1.
        message: u32,
    },
    /// The stream ended before the secret in any other way.
    Truncated {
        /// Where and how the stream ended.
        cut: Truncated,
        /// Number of questions answered before.
        answered: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rejected(n) => {
                write!(f, "answer {n} rejected: the server closed the connection right after it")
            }
            Self::Tag { byte, message } => write!(
                f,
                "the server broke the protocol: message {message} starts with the byte {}, \
                 expected 'Q' or 'S'",
                Byte(byte)
            ),
            Self::Truncated { cut: Truncated { how: StreamEnd::Closed, got: 0, .. }, .. } => {
                f.write_str("the server closed the connection before it sent any message")
            }
            Self::Truncated { cut, answered: 0 } if cut.is_inside() => cut.by("the server").fmt(f),
            Self::Truncated { cut, answered: 0 } => f.write_str(match cut.how {
                StreamEnd::TimedOut => "the server sent nothing in time",
                StreamEnd::Closed | StreamEnd::Reset => {
                    "the server reset the connection before it sent any message"
                }
            }),
            Self::Truncated { cut, answered } => {
                let s = if answered == 1 { "" } else { "s" };
                write!(f, "{}, with {answered} question{s} answered", cut.by("the server"))
            }
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// Returns a client at the start of a session.
    #[must_use]
    pub const fn new() -> Self {
        Self { answered: 0, over: false }
    }

    /// Returns the number of questions answered so far.
    #[must_use]
    pub const fn answered(&self) -> u32 {
        self.answered
    }

    /// Handles an input without a complete message: asks for more, or reports how the stream ended.
    // Out of line, because the loop over complete questions is faster without it. On small processors
    // the call costs more flash than it saves.
    #[cfg_attr(target_pointer_width = "64", cold)]
    #[cfg_attr(not(target_pointer_width = "64"), inline)]
    fn incomplete(&self, input: Input<'_>) -> Result<Step<Event>, Error> {
        let answered = self.answered;
        match (input.bytes, input.state) {
            (_, StreamState::Open | StreamState::Idle) => Ok(Step::need(Need::Input)),
            ([], StreamState::Ended(StreamEnd::Closed)) if answered > 0 => {
                Err(Error::Rejected(answered))
            }
            (bytes, StreamState::Ended(how)) => {
                let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Err(Error::Truncated { cut: Truncated::inside(how, got, 9), answered })
            }
        }
    }
}

impl Machine for Client {
    type Command<'c> = Infallible;
    type Event = Event;
    type Error = Error;

    const MIN_INPUT: usize = Question::BYTES;
    const MIN_OUTPUT: usize = ANSWER_BYTES;

    #[inline]
    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error> {
        if self.over {
            return Ok(Step::idle(Action::Close));
        }
        // The tag is checked before the message is complete. A wrong tag must not wait for the rest.
        match (input.bytes, input.bytes.first_chunk()) {
            ([Question::TAG, ..], Some(message)) => {
                let question = Question::parse(message);
                let Some(space) = output.first_chunk_mut() else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                *space = question.sum().to_be_bytes();
                self.answered = self.answered.saturating_add(1);
                let event = Action::Event(Event::Question(question));
                Ok(Step::new(Question::BYTES, ANSWER_BYTES, event))
            }
            ([Secret::TAG, ..], Some(message)) => {
                self.over = true;
                let event = Action::Event(Event::Secret(Secret::parse(message)));
                Ok(Step::new(Secret::BYTES, 0, event))
            }
            ([] | [Question::TAG | Secret::TAG, ..], _) => self.incomplete(input),
            ([byte, ..], _) => {
                Err(Error::Tag { byte: *byte, message: self.answered.saturating_add(1) })
            }
        }
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn error(input: Input<'_>, answered: u32) -> Error {
        let mut client = Client { answered, over: false };
        client.step(input, &mut [0; 4]).unwrap_err()
    }

    #[test]
    fn answers_questions_and_emits_the_secret() {
        let (mut client, mut output) = (Client::new(), [0; 8]);
        let step = client.step(Input::open(b"Q\0\0\0\x0c\0\0\0\x1eS"), &mut output).unwrap();
        assert_eq!(
            step,
            Step::new(9, 4, Action::Event(Event::Question(Question { a: 12, b: 30 })))
        );
        assert_eq!(output, [0, 0, 0, 42, 0, 0, 0, 0]);
        let step = client.step(Input::open(b"S"), &mut output).unwrap();
        assert_eq!(step, Step::need(Need::Input));
        let step = client.step(Input::open(b"Sabcdefgh+"), &mut output).unwrap();
        assert_eq!(step, Step::new(9, 0, Action::Event(Event::Secret(Secret(*b"abcdefgh")))));
        let step = client.step(Input::open(b"+"), &mut output).unwrap();
        assert_eq!(step, Step::idle(Action::Close));
    }

    #[test]
    fn the_sum_wraps() {
        let question = Question { a: u32::MAX, b: 2 };
        assert_eq!(question.sum(), 1);
        assert_eq!(Question::parse(&question.emit()), question);
    }

    #[test]
    fn without_space_for_the_answer_nothing_is_consumed() {
        let mut client = Client::new();
        let question = Question { a: 1, b: 2 }.emit();
        let step = client.step(Input::open(&question), &mut [0; 3]).unwrap();
        assert_eq!((step, client), (Step::need(Need::OutputSpace), Client::new()));
    }

    #[test]
    fn every_end_has_an_error_text() {
        for (input, answered, sentence) in [
            (
                Input::open(b"X"),
                2,
                "the server broke the protocol: message 3 starts with the byte 0x58 ('X'), expected 'Q' or 'S'",
            ),
            (
                Input::ended(b"", StreamEnd::Closed),
                0,
                "the server closed the connection before it sent any message",
            ),
            (
                Input::ended(b"", StreamEnd::Closed),
                3,
                "answer 3 rejected: the server closed the connection right after it",
            ),
            (
                Input::ended(b"Q\0", StreamEnd::Closed),
                0,
                "the server closed the connection in the middle of a message, after 2 of 9 bytes",
            ),
            (
                Input::ended(b"Q\0", StreamEnd::Closed),
                3,
                "the server closed the connection in the middle of a message, after 2 of 9 bytes, with 3 questions answered",
            ),
            (
                Input::ended(b"", StreamEnd::Reset),
                0,
                "the server reset the connection before it sent any message",
            ),
            (
                Input::ended(b"", StreamEnd::Reset),
                4,
                "the server reset the connection between messages, with 4 questions answered",
            ),
            (Input::ended(b"", StreamEnd::TimedOut), 0, "the server sent nothing in time"),
            (
                Input::ended(b"S", StreamEnd::TimedOut),
                1,
                "the server sent nothing more in time in the middle of a message, after 1 of 9 bytes, with 1 question answered",
            ),
        ] {
            assert_eq!(error(input, answered).to_string(), sentence);
        }
    }
}
