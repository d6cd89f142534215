//! The client, player 1: tells prompts and verdicts, sends the application's choices.

use core::fmt;

use super::{Choice, ROUND_BYTES, ROUNDS, Round, Verdict};
use crate::machine::{Input, Machine, Need, Refused, Step, Then};
use crate::wire::{
    LINE_BYTES, Line, LineError, Prompts, Said, Unexpected, find, put_ended, will_reply,
};

/// The client's end. 4 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    prompts: Prompts,
    played: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// For a prompt.
    #[default]
    Listening,
    /// For the application's choice.
    Asked,
    /// For the verdict, after this choice. The rest of the prompt may stand before it.
    Waiting(Choice),
    Over,
}

/// What the application can say, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Its choice.
    Choose(Choice),
}

/// What the client tells. Text is the server's and not safe for a terminal; see
/// [`Escaped`](crate::wire::Escaped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'i> {
    /// The server asks this: a choice is due.
    Prompt(&'i [u8]),
    /// Both have chosen; the acknowledgement is written.
    Round(Round),
    /// The server says something else.
    Line(&'i [u8]),
}

/// Why the game ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// No line, or no more of them.
    Line(LineError),
    /// A line has three fields as a verdict has, and is none: this is in the way.
    Round(Unexpected),
    /// The server says that the client chose something else than it did.
    Choice {
        /// What was sent.
        sent: Choice,
        /// What the server says it was.
        said: Choice,
    },
    /// The verdict is not that on the choices beside it.
    Verdict(Round),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BROKE: &str = "the server broke the protocol: ";
        match self {
            Self::Line(e) => e.by("the server").fmt(f),
            Self::Round(at) => {
                write!(
                    f,
                    "{BROKE}{at}, expected a verdict and two choices, with commas between them"
                )
            }
            Self::Choice { sent, said } => {
                write!(f, "{BROKE}it says that player 1 chose {said}, and {sent} was sent")
            }
            Self::Verdict(round) => write!(
                f,
                "{BROKE}it says \"{round}\", expected the verdict \"{}\"",
                Verdict::of(round.player1, round.player2)
            ),
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// A client that has not heard anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { prompts: Prompts::new(), played: 0, state: State::Listening }
    }

    /// So many rounds are over.
    #[must_use]
    pub const fn played(&self) -> u8 {
        self.played
    }
}

impl Machine for Client {
    type Command<'c> = Command;
    type Event<'i> = Event<'i>;
    type Error = Error;

    const MIN_INPUT: usize = LINE_BYTES;
    // The acknowledgement. No choice is longer.
    const MIN_OUTPUT: usize = ROUND_BYTES;

    fn step<'i>(&mut self, input: Input<'i>, output: &mut [u8]) -> Result<Step<Event<'i>>, Error> {
        let (prompts, is_known): (bool, fn(&[u8]) -> bool) = match self.state {
            State::Over => return Ok(Step::idle(Then::Done)),
            State::Asked => {
                will_reply(input).map_err(Error::Line)?;
                return Ok(Step::need(Need::Command));
            }
            State::Listening => (true, |_| false),
            State::Waiting(_) => (false, |front| Round::at_end_of(front).is_some()),
        };
        let before = self.prompts.clone();
        let (Line { bytes, .. }, written, event) =
            match self.prompts.next(input, prompts, is_known).map_err(Error::Line)? {
                Said::Nothing(need) => return Ok(Step::need(need)),
                Said::Space(n) => return Ok(Step::new(n, 0, Then::Again)),
                Said::Line(line) => {
                    if let (State::Waiting(_), Some(at)) = (self.state, no_round(line.text)) {
                        self.prompts = before;
                        return Err(Error::Round(at));
                    }
                    (line, 0, Event::Line(line.text))
                }
                Said::Prompt(prompt) => {
                    self.state = State::Asked;
                    (prompt, 0, Event::Prompt(prompt.text))
                }
                Said::Known(known) => {
                    let State::Waiting(sent) = self.state else {
                        return Ok(Step::need(Need::Input));
                    };
                    let Some((round, line)) = Round::at_end_of(known.text) else {
                        return Ok(Step::need(Need::Input));
                    };
                    if let Err(e) = check(round, sent) {
                        self.prompts = before;
                        return Err(e);
                    }
                    let Some(written) = put_ended(line, b'\n', output) else {
                        return Ok(Step::need(Need::Output));
                    };
                    self.played = self.played.saturating_add(1);
                    self.state = if self.played == ROUNDS { State::Over } else { State::Listening };
                    (known, written, Event::Round(round))
                }
            };
        Ok(Step::new(bytes, written, Then::Event(event)))
    }

    fn command(
        &mut self,
        Command::Choose(choice): Command,
        output: &mut [u8],
    ) -> Result<usize, Refused> {
        if self.state != State::Asked {
            return Err(Refused::NotNow);
        }
        let name = choice.name().as_bytes();
        let written = put_ended(name, b'\n', output).ok_or(Refused::NoRoom)?;
        self.state = State::Waiting(choice);
        Ok(written)
    }
}

/// A server whose line contradicts itself, or what it was sent, has not played this game.
fn check(round: Round, sent: Choice) -> Result<(), Error> {
    let Round { verdict, player1, player2 } = round;
    if player1 != sent {
        Err(Error::Choice { sent, said: player1 })
    } else if verdict != Verdict::of(player1, player2) {
        Err(Error::Verdict(round))
    } else {
        Ok(())
    }
}

/// What is wrong with a line that looks like a round's. Anything else is for the person to read.
fn no_round(text: &[u8]) -> Option<Unexpected> {
    let second = find(b',', text)?.wrapping_add(1);
    let choices = text.get(second..)?;
    let comma = find(b',', choices)?;
    let third = second.wrapping_add(comma).wrapping_add(1);
    let player2 = text.get(third..)?;
    if find(b',', player2).is_some() {
        return None;
    }
    let at = if Choice::parse(choices.get(..comma)?).is_err() {
        second
    } else if Choice::parse(player2).is_err() {
        third
    } else {
        0
    };
    Some(Unexpected::at(text, at))
}
