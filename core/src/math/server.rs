//! The server: asks what the application tells it to ask, checks the answers.

use core::fmt;

use super::{ANSWER_BYTES, Question, Secret};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState, plain_event,
};
use crate::wire::Truncated;

/// The server's end of one session. 12 bytes.
///
/// The application chooses the questions and the secret, so a session can be replayed. Answers
/// that come before their question are bytes of the stream like any other, and are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
    right: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Ready,
    Waiting {
        expected: u32,
    },
    Over,
}

/// What the application can say, whenever the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Ask this.
    Ask(Question),
    /// Enough asked: tell the secret and end the session.
    Reveal(Secret),
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The answer is right.
    Right {
        /// That answer.
        answer: u32,
    },
    /// The answer is wrong, and the session over.
    Wrong {
        /// The answer that came.
        answer: u32,
        /// The answer that was due.
        expected: u32,
    },
}

plain_event!(Event);

/// Why the session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error {
    /// Where and how the client's stream ended.
    pub cut: Truncated,
    /// So many answers had been right.
    pub right: u32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, with {} answered", self.cut.by("the client"), self.right)
    }
}

impl core::error::Error for Error {}

impl Server {
    /// A server that has not asked anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Ready, right: 0 }
    }

    /// How many right answers have come.
    #[must_use]
    pub const fn right(&self) -> u32 {
        self.right
    }

    /// The answer that it waits for, if it does.
    #[must_use]
    pub const fn expected(&self) -> Option<u32> {
        match self.state {
            State::Waiting { expected } => Some(expected),
            State::Ready | State::Over => None,
        }
    }

    fn cut(&self, bytes: &[u8], how: StreamEnd) -> Error {
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
                StreamState::Ended(how) => Err(self.cut(input.bytes, how)),
            },
            // A client that has only closed its sending side can still read a question or the
            // secret, so it is the application's turn all the same.
            (State::Ready, _) => match input.state {
                StreamState::Ended(how @ (StreamEnd::Reset | StreamEnd::TimedOut)) => {
                    Err(self.cut(&[], how))
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
        // An early answer stays where it is until it is asked for.
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
    fn a_wrong_answer_ends_it() {
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
    fn every_ending_has_its_sentence() {
        let mut server = Server::new();
        let reset = server.step(Input::ended(&[], StreamEnd::Reset), &mut []).unwrap_err();
        assert_eq!(
            reset.to_string(),
            "the client reset the connection between messages, with 0 answered"
        );
        server.command(ASK, &mut [0; 9]).unwrap();
        let cut = server.step(Input::ended(&[1, 2, 3], StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(
            cut.to_string(),
            "the client closed the connection in the middle of a message, after 3 of 4 bytes, with 0 answered"
        );
    }
}
