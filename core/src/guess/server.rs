//! The server: answers each guess until one is right or all are spent.

use core::convert::Infallible;

use super::{GUESSES, Message};
use crate::machine::{Action, CommandError, Input, Machine, Need, Step, plain_event};
use crate::wire::{LINE_BYTES, LineScanner, decimal, line_error, put_ended};

/// Server of one session. 12 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    number: i32,
    lines: LineScanner,
    /// Number of guesses left.
    left: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// This message is to be sent.
    Saying(Message),
    /// This message is written, and the boundary behind it is due.
    Said(Message),
    Listening,
    Over,
}

/// Events emitted by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The client has guessed.
    Guessed {
        /// The number, or `None` if the line is not an integer or one that does not fit in 32 bits: both get the same
        /// reply.
        guess: Option<i32>,
        /// The answer: too low, too high, right, or not a number.
        reply: Message,
        /// Number of guesses that the client has left.
        left: u8,
    },
}

plain_event!(Event);

line_error! {
    /// Why the session ended early.
    "the client"
}

impl Server {
    /// Returns a server that has chosen this number and has sent nothing yet. A number out of
    /// [`NUMBERS`](super::NUMBERS) is hard to guess.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        let state = State::Saying(Message::Guess);
        Self { number, lines: LineScanner::new(), left: GUESSES, state }
    }

    /// Returns the number to be guessed.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.number
    }

    /// Returns the number of guesses that the client has left.
    #[must_use]
    pub const fn left(&self) -> u8 {
        self.left
    }

    /// Returns the state behind the boundary.
    const fn after(&self, said: Message) -> State {
        match said {
            Message::Guess => State::Listening,
            Message::Win | Message::GameOver => State::Over,
            _ if self.left == 0 => State::Saying(Message::GameOver),
            _ => State::Saying(Message::Guess),
        }
    }

    fn judge(&self, guess: Option<i32>) -> Message {
        match guess {
            None => Message::Invalid,
            Some(guess) if guess < self.number => Message::Low,
            Some(guess) if guess > self.number => Message::High,
            Some(_) => Message::Win,
        }
    }
}

impl Machine for Server {
    type Command<'c> = Infallible;
    type Event = Event;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = Message::LONGEST + 1;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error> {
        match self.state {
            State::Saying(message) => {
                let Some(written) = put_ended(message.text(), b'\n', output) else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                self.state = State::Said(message);
                Ok(Step::new(0, written, Action::Continue))
            }
            State::Said(message) => {
                self.state = self.after(message);
                Ok(Step::idle(Action::Boundary))
            }
            State::Listening => {
                let Some(line) = self.lines.next(input)? else {
                    return Ok(Step::need(Need::Input));
                };
                let guess = decimal(line.text).ok();
                let reply = self.judge(guess);
                if reply != Message::Win {
                    self.left = self.left.saturating_sub(1);
                }
                self.state = State::Saying(reply);
                let event = Event::Guessed { guess, reply, left: self.left };
                Ok(Step::new(line.bytes, 0, Action::Event(event)))
            }
            State::Over => Ok(Step::idle(Action::Close)),
        }
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}
