//! The server: asks the questions of the application and checks the answers.

use core::fmt;

use super::{ANSWER_BYTES, Question, Secret};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState, plain_event,
};
use crate::wire::Truncated;

/// Server of the math quiz. 12 bytes.
///
/// The application chooses the questions and the secret. An answer that arrives before its question
/// stays in the input until the question has been asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
    /// Number of correct answers.
    right: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// It is the application's turn.
    #[default]
    Ready,
    /// A question has been asked, and this is its answer.
    Waiting {
        expected: u32,
    },
    Over,
}

/// Command to the server, accepted when it asks for one with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command {
    /// Asks a question.
    Ask(Question),
    /// Sends the secret and ends the session.
    Reveal(Secret),
}

/// Event of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The answer is correct.
    Right {
        /// Answer of the client.
        answer: u32,
    },
    /// The answer is wrong, and the session is over.
    Wrong {
        /// Answer of the client.
        answer: u32,
        /// Correct answer.
        expected: u32,
    },
}

plain_event!(Event);

/// Early end of the client's stream: before the secret was sent, or within an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Error {
    /// Where and how the stream ended.
    pub cut: Truncated,
    /// Number of correct answers before.
    pub right: u32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut, right } = self;
        let s = if *right == 1 { "" } else { "s" };
        write!(f, "{}, with {right} question{s} answered", cut.by("the client"))
    }
}

impl core::error::Error for Error {}

impl Server {
    /// Returns a server at the start of a session.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Ready, right: 0 }
    }

    /// Returns the number of correct answers so far.
    #[must_use]
    pub const fn right(&self) -> u32 {
        self.right
    }

    /// Returns the answer to the question that has been asked; `None` if the server does not wait for
    /// one.
    #[must_use]
    pub const fn expected(&self) -> Option<u32> {
        match self.state {
            State::Waiting { expected } => Some(expected),
            State::Ready | State::Over => None,
        }
    }

    fn truncated(&self, bytes: &[u8], how: StreamEnd) -> Error {
        let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Error { cut: Truncated::inside(how, got, 4), right: self.right }
    }
}

impl Machine for Server {
    type Command<'c> = Command;
    type Event = Event;
    type Error = Error;

    const MIN_INPUT: usize = ANSWER_BYTES;
    const MIN_OUTPUT: usize = Question::BYTES;

    #[inline]
    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event>, Error> {
        match (self.state, input.bytes.first_chunk()) {
            (State::Waiting { expected }, Some(answer)) => {
                let answer = u32::from_be_bytes(*answer);
                let event = if answer == expected {
                    self.state = State::Ready;
                    self.right = self.right.saturating_add(1);
                    Event::Right { answer }
                } else {
                    self.state = State::Over;
                    Event::Wrong { answer, expected }
                };
                Ok(Step::new(ANSWER_BYTES, 0, Action::Event(event)))
            }
            (State::Waiting { .. }, None) => match input.state {
                StreamState::Open | StreamState::Idle => Ok(Step::need(Need::Input)),
                StreamState::Ended(how) => Err(self.truncated(input.bytes, how)),
            },
            // After a half-close the client can still read a question or the secret. Only a reset or a
            // time-out ends the application's turn.
            (State::Ready, _) => match input.state {
                StreamState::Ended(how @ (StreamEnd::Reset | StreamEnd::TimedOut)) => {
                    Err(self.truncated(&[], how))
                }
                _ => Ok(Step::need(Need::Command)),
            },
            (State::Over, _) => Ok(Step::idle(Action::Close)),
        }
    }

    #[inline]
    fn command(&mut self, command: Command, output: &mut [u8]) -> Result<usize, CommandError> {
        if self.state != State::Ready {
            return Err(CommandError::OutOfTurn);
        }
        let [tag, body @ ..]: &mut [u8; Question::BYTES] =
            output.first_chunk_mut().ok_or(CommandError::OutputFull)?;
        (*tag, *body, self.state) = match command {
            Command::Ask(question) => {
                (Question::TAG, question.body(), State::Waiting { expected: question.sum() })
            }
            Command::Reveal(secret) => (Secret::TAG, secret.0, State::Over),
        };
        Ok(Question::BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const ASK: Command = Command::Ask(Question { a: 40, b: 2 });

    #[test]
    fn asks_checks_and_reveals() {
        let (mut server, mut output) = (Server::new(), [0; 9]);
        // An early answer is not consumed before its question.
        let early = [0, 0, 0, 42, 9];
        let step = server.step(Input::open(&early), &mut output).unwrap();
        assert_eq!(step, Step::need(Need::Command));
        assert_eq!(server.command(ASK, &mut output), Ok(9));
        assert_eq!(output, *b"Q\0\0\0\x28\0\0\0\x02");
        assert_eq!(server.command(ASK, &mut output), Err(CommandError::OutOfTurn));
        let step = server.step(Input::open(&early), &mut output).unwrap();
        assert_eq!(step, Step::new(4, 0, Action::Event(Event::Right { answer: 42 })));
        assert_eq!(server.right(), 1);
        let reveal = Command::Reveal(Secret(*b"12345678"));
        assert_eq!(server.command(reveal, &mut [0; 8]), Err(CommandError::OutputFull));
        assert_eq!(server.command(reveal, &mut output), Ok(9));
        assert_eq!(output, *b"S12345678");
        assert_eq!(server.step(Input::open(&[]), &mut output).unwrap(), Step::idle(Action::Close));
        assert_eq!(server.command(ASK, &mut output), Err(CommandError::OutOfTurn));
    }

    #[test]
    fn a_wrong_answer_ends_the_session() {
        let (mut server, mut output) = (Server::new(), [0; 9]);
        server.command(ASK, &mut output).unwrap();
        let step = server.step(Input::open(&[0, 0, 0, 41]), &mut output).unwrap();
        assert_eq!(step.action, Action::Event(Event::Wrong { answer: 41, expected: 42 }));
        assert_eq!(server.step(Input::open(&[]), &mut output).unwrap(), Step::idle(Action::Close));
    }

    #[test]
    fn a_half_closed_client_still_gets_its_secret() {
        let (mut server, mut output) = (Server::new(), [0; 9]);
        server.command(ASK, &mut output).unwrap();
        let step =
            server.step(Input::ended(&[0, 0, 0, 42], StreamEnd::Closed), &mut output).unwrap();
        assert_eq!(step.action, Action::Event(Event::Right { answer: 42 }));
        let step = server.step(Input::ended(&[], StreamEnd::Closed), &mut output).unwrap();
        assert_eq!(step, Step::need(Need::Command));
        assert!(server.command(Command::Reveal(Secret([0; 8])), &mut output).is_ok());
    }

    #[test]
    fn every_end_has_an_error_text() {
        let mut server = Server::new();
        let reset = server.step(Input::ended(&[], StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(
            reset.to_string(),
            "the client reset the connection between messages, with 0 questions answered"
        );
        server.command(ASK, &mut [0; 9]).unwrap();
        let cut = server.step(Input::ended(&[1, 2, 3], StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(
            cut.to_string(),
            "the client closed the connection in the middle of a message, after 3 of 4 bytes, with 0 questions answered"
        );
    }
}
