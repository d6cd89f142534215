//! The server: prompts, reports the guess, answers with the toss of the application, keeps the score.

use super::{Answer, PROMPT, Reply, Score, Side};
use crate::machine::{Action, CommandError, Input, Machine, Need, Step, plain_event};
use crate::wire::{CloseInTurn, LINE_BYTES, LineScanner, check_turn, line_error, put, put_ended};

/// Server of one session. 12 bytes.
///
/// The application tosses the coin after the guess has arrived.
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
    /// A boundary and then the prompt are due.
    #[default]
    Ready,
    Prompting,
    Listening,
    Guessed(Side),
    Over,
}

/// Commands of the application, when the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command {
    /// The coin shows this side.
    Toss(Side),
}

/// Events emitted by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The client guesses this side. It is the application's turn.
    Guess(Side),
    /// The client sent something else, and got the reply that says what to send.
    Invalid,
    /// The client quits.
    Quit,
}

plain_event!(Event);

line_error! {
    /// Why the session ended early.
    "the client"
}

impl Server {
    /// Returns a server that has sent nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { score: Score { right: 0, of: 0 }, lines: LineScanner::new(), state: State::Ready }
    }

    /// Returns how often the client was right.
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
    // The prompt is longer than any reply.
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
                let Some(line) = self.lines.peek(input)? else {
                    return Ok(Step::need(Need::Input));
                };
                let (state, reply, event) = match Answer::parse(line.text) {
                    Answer::Guess(side) => (State::Guessed(side), None, Event::Guess(side)),
                    Answer::Quit => (State::Over, Some(Reply::Bye), Event::Quit),
                    Answer::Invalid => (State::Ready, Some(Reply::Invalid), Event::Invalid),
                };
                let Some(written) = reply.map_or(Some(0), |reply| say(reply, output)) else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                self.state = state;
                Ok(Step::new(self.lines.take(line), written, Action::Event(event)))
            }
            State::Guessed(_) => {
                check_turn(input, CloseInTurn::Ignored)?;
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
