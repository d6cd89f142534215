//! The server, player 2: prompts, tells that the client has chosen, sends the verdict once its own
//! application has.

use core::fmt;

use super::{Choice, PROMPT, ROUND_BYTES, ROUNDS, Round, agreement};
use crate::count;
use crate::machine::{Action, CommandError, Input, Machine, Need, Step, plain_event};
use crate::wire::{LINE_BYTES, LineError, LineScanner, Unexpected, put, will_reply};

/// The server's end of one game. 8 bytes.
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
    /// The prompt is due, behind a boundary.
    #[default]
    Ready,
    Prompting,
    Listening,
    /// The client has chosen this; its own application has not chosen.
    Chosen(Choice),
    /// The verdict is written, and not told yet.
    Told(Round),
    /// For the verdict's line to come back.
    Waiting(Round),
    Over,
}

/// What the application can say, when the server asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Its choice.
    Choose(Choice),
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The client has chosen. What, is told when the application has chosen too.
    Chosen,
    /// Both have chosen.
    Round(Round),
}

plain_event!(Event);

/// Why the game ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without it a small processor shifts its fields into words.
#[repr(u8)]
pub enum Error {
    /// No line, or no more of them.
    Line(LineError),
    /// The client's line is no choice.
    Choice(Unexpected),
    /// The acknowledgement is not the line it acknowledges.
    Acknowledgement {
        /// Where it differs.
        at: Unexpected,
        /// What it acknowledges.
        round: Round,
    },
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
    /// A server that has not said anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: LineScanner::new(), played: 0, state: State::Ready }
    }

    /// So many rounds are over and acknowledged.
    #[must_use]
    pub const fn played(&self) -> u8 {
        self.played
    }

    /// The client's line, whatever it is.
    fn hear(&mut self, text: &[u8]) -> Result<Action<Event>, Error> {
        let State::Waiting(round) = self.state else {
            self.state = State::Chosen(Choice::parse(text).map_err(Error::Choice)?);
            return Ok(Action::Event(Event::Chosen));
        };
        let mut line = [0; ROUND_BYTES];
        let length = round.put(&mut line).unwrap_or_default();
        // Its newline is never the same: `text` has none.
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
    // No verdict is longer.
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
                let before = self.lines.clone();
                let Some(line) = self.lines.next(input).map_err(Error::Line)? else {
                    return Ok(Step::need(Need::Input));
                };
                let action = self.hear(line.text).inspect_err(|_| self.lines = before)?;
                Ok(Step::new(line.bytes, 0, action))
            }
            State::Chosen(_) => {
                will_reply(input).map_err(Error::Line)?;
                Ok(Step::need(Need::Command))
            }
            State::Told(round) => {
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
        self.state = State::Told(round);
        Ok(written)
    }
}
