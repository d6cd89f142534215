//! The server, player 2: prompts, reports that the client has chosen, and sends the verdict when its own application has
//! chosen too.

use core::fmt;

use super::{Choice, PROMPT, ROUND_BYTES, ROUNDS, Round, agreement};
use crate::count;
use crate::machine::{Action, CommandError, Input, Machine, Need, Step, plain_event};
use crate::wire::{CloseInTurn, LINE_BYTES, LineError, LineScanner, Unexpected, check_turn, put};

/// Server of one game. 8 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    lines: LineScanner,
    played: u8,
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
    /// The client has chosen this. It is the application's turn.
    Chosen(Choice),
    /// The verdict is written. Its event is due.
    Decided(Round),
    /// Waits for the line of the verdict to come back.
    Waiting(Round),
    Over,
}

/// Commands of the application, when the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command {
    /// Plays this choice.
    Choose(Choice),
}

/// Events emitted by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The client has chosen. Its choice is reported after the application has chosen too.
    Chosen,
    /// Both have chosen.
    Round(Round),
}

plain_event!(Event);

/// Why the game ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without the representation the fields share a word on 32 bits, and the code has to shift them.
#[repr(u8)]
#[non_exhaustive]
pub enum Error {
    /// A line is too long, or the stream ended.
    Line(LineError),
    /// The line of the client is not a choice.
    Choice(Unexpected),
    /// The acknowledgement is not the line that was sent.
    Acknowledgement {
        /// First difference.
        at: Unexpected,
        /// Round whose line was sent.
        round: Round,
    },
}

impl From<LineError> for Error {
    fn from(e: LineError) -> Self {
        Self::Line(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BROKE: &str = "the client broke the protocol: ";
        match self {
            Self::Line(e) => e.by("the client").fmt(f),
            Self::Choice(at) => write!(f, "{BROKE}{at}, expected Scissor, Paper or Stone"),
            Self::Acknowledgement { at, round } => {
                write!(f, "{BROKE}{at}, expected \"{round}\" back as the acknowledgement")
            }
        }
    }
}

impl core::error::Error for Error {}

impl Server {
    /// Returns a server that has sent nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: LineScanner::new(), played: 0, state: State::Ready }
    }

    /// Returns the number of rounds that are over and acknowledged.
    #[must_use]
    pub const fn played(&self) -> u8 {
        self.played
    }

    /// Handles a line of the client.
    fn hear(&mut self, text: &[u8]) -> Result<Action<Event>, Error> {
        let State::Waiting(round) = self.state else {
            self.state = State::Chosen(Choice::parse(text).map_err(Error::Choice)?);
            return Ok(Action::Event(Event::Chosen));
        };
        let mut line = [0; ROUND_BYTES];
        let length = round.put(&mut line).unwrap_or_default();
        // `line` ends with its newline, which `text` does not have.
        let agree = agreement(text, &line, 0);
        if agree < text.len() || count::add(agree, 1) < length {
            return Err(Error::Acknowledgement { at: Unexpected::at(text, agree), round });
        }
        self.played = count::add(self.played, 1);
        self.state = if self.played == ROUNDS { State::Over } else { State::Ready };
        Ok(Action::Continue)
    }
}

impl Machine for Server {
    type Command<'c> = Command;
    type Event = Event;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    // The prompt is longer than any verdict.
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
            State::Listening | State::Waiting(_) => {
                let Some(line) = self.lines.peek(input)? else {
                    return Ok(Step::need(Need::Input));
                };
                let action = self.hear(line.text)?;
                Ok(Step::new(self.lines.take(line), 0, action))
            }
            State::Chosen(_) => {
                check_turn(input, CloseInTurn::EndsWithoutText)?;
                Ok(Step::need(Need::Command))
            }
            State::Decided(round) => {
                self.state = State::Waiting(round);
                Ok(Step::idle(Action::Event(Event::Round(round))))
            }
            State::Over => Ok(Step::idle(Action::Close)),
        }
    }

    fn command(
        &mut self,
        Command::Choose(choice): Command,
        output: &mut [u8],
    ) -> Result<usize, CommandError> {
        let State::Chosen(player1) = self.state else { return Err(CommandError::OutOfTurn) };
        let round = Round::of(player1, choice);
        let written = round.put(output).ok_or(CommandError::OutputFull)?;
        self.state = State::Decided(round);
        Ok(written)
    }
}
