//! The server: prompts, takes a guess, says whether the application's toss agrees, keeps the score.

use core::fmt;

use super::{Answer, PROMPT, Reply, Score, Side};
use crate::machine::{Action, CommandError, Input, Machine, Need, Step, plain_event};
use crate::wire::{LINE_BYTES, LineError, LineScanner, put, put_ended};

/// The server's end of one session. 12 bytes.
///
/// The application tosses, once the guess has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    score: Score,
    lines: LineScanner,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// The prompt is due, behind a boundary.
    #[default]
    Ready,
    Prompting,
    Listening,
    Guessed(Side),
    Over,
}

/// What the application can say, when the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// The coin shows this side.
    Toss(Side),
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The client guesses this side: a toss is due.
    Guess(Side),
    /// The client sent something else, and was told what to send.
    Invalid,
    /// The client quits.
    Quit,
}

plain_event!(Event);

/// Why the session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error(pub LineError);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.by("the client").fmt(f)
    }
}

impl core::error::Error for Error {}

impl Server {
    /// A server that has not said anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { score: Score { right: 0, of: 0 }, lines: LineScanner::new(), state: State::Ready }
    }

    /// How often its client was right.
    #[must_use]
    pub const fn score(&self) -> Score {
        self.score
    }
}

/// Writes a reply.
#[inline(never)]
fn say(reply: Reply, output: &mut [u8]) -> Option<usize> {
    put_ended(reply.text(), b'\n', output)
}

impl Machine for Server {
    type Command<'c> = Command;
    type Event = Event;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    // No reply is longer.
    const MIN_OUTPUT: usize = PROMPT.len();

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error> {
        match self.state {
            State::Ready => {
                self.state = State::Prompting;
                Ok(Step::idle(Action::Boundary))
            }
            State::Prompting => {
                let Some(written) = put(PROMPT, output) else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                self.state = State::Listening;
                Ok(Step::new(0, written, Action::Continue))
            }
            State::Listening => {
                let before = self.lines.clone();
                let Some(line) = self.lines.next(input).map_err(Error)? else {
                    return Ok(Step::need(Need::Input));
                };
                let (state, reply, event) = match Answer::parse(line.text) {
                    Answer::Guess(side) => {
                        self.state = State::Guessed(side);
                        return Ok(Step::new(line.bytes, 0, Action::Event(Event::Guess(side))));
                    }
                    Answer::Quit => (State::Over, Reply::Bye, Event::Quit),
                    Answer::Invalid => (State::Ready, Reply::Invalid, Event::Invalid),
                };
                let Some(written) = say(reply, output) else {
                    // The line is not taken: it may still be the first.
                    self.lines = before;
                    return Ok(Step::need(Need::OutputSpace));
                };
                self.state = state;
                Ok(Step::new(line.bytes, written, Action::Event(event)))
            }
            // A client that has only closed its sending side can still read the reply.
            State::Guessed(_) => {
                if let Some(how) = input.state.gone() {
                    return Err(Error(LineError::between(how)));
                }
                Ok(Step::need(Need::Command))
            }
            State::Over => Ok(Step::idle(Action::Close)),
        }
    }

    fn command(
        &mut self,
        Command::Toss(side): Command,
        output: &mut [u8],
    ) -> Result<usize, CommandError> {
        let State::Guessed(guess) = self.state else { return Err(CommandError::OutOfTurn) };
        let right = guess == side;
        let reply = if right { Reply::Right } else { Reply::Wrong };
        let written = say(reply, output).ok_or(CommandError::OutputFull)?;
        self.score.count(right);
        self.state = State::Ready;
        Ok(written)
    }
}
