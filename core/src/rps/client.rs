//! The client, player 1: tells prompts and verdicts, sends the application's choices.

use core::fmt;

use super::{Choice, ROUND_BYTES, ROUNDS, Round, Verdict, name_in};
use crate::machine::{Input, Machine, Need, Refused, Step, Then};
use crate::wire::{
    LINE_BYTES, Line, LineError, Prompts, Said, Unexpected, find, put_ended, split, will_reply,
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

    const LINES: bool = true;
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
                Said::Prompt(prompt) => {
                    self.state = State::Asked;
                    (prompt, 0, Event::Prompt(prompt.text))
                }
                Said::Line(line) | Said::Known(line) => {
                    let heard = match self.state {
                        State::Waiting(sent) => verdict(line.text, sent),
                        _ => Ok(None),
                    };
                    match heard {
                        Ok(None) => (line, 0, Event::Line(line.text)),
                        Ok(Some((round, back))) => {
                            let Some(written) = put_ended(back, b'\n', output) else {
                                return Ok(Step::need(Need::Output));
                            };
                            self.played = self.played.wrapping_add(1);
                            self.state =
                                if self.played == ROUNDS { State::Over } else { State::Listening };
                            (line, written, Event::Round(round))
                        }
                        Err(e) => {
                            self.prompts = before;
                            return Err(e);
                        }
                    }
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
        let name = name_in(choice.field());
        let written = put_ended(name, b'\n', output).ok_or(Refused::NoRoom)?;
        self.state = State::Waiting(choice);
        Ok(written)
    }
}

/// The round whose line `text` ends with, and that line; `None` when it is another one. A server whose
/// line contradicts itself, or what it was sent, has not played this game.
fn verdict(text: &[u8], sent: Choice) -> Result<Option<(Round, &[u8])>, Error> {
    let Some((round, line)) = Round::at_end_of(text) else {
        return no_round(text).map_or(Ok(None), |at| Err(Error::Round(at)));
    };
    let said = round.player1;
    if said != sent {
        Err(Error::Choice { sent, said })
    } else if round.verdict != Verdict::of(said, round.player2) {
        Err(Error::Verdict(round))
    } else {
        Ok(Some((round, line)))
    }
}

/// What is wrong with a line that looks like a round's. Anything else is for the person to read.
fn no_round(text: &[u8]) -> Option<Unexpected> {
    let (_, choices) = split(b',', text)?;
    let (player1, player2) = split(b',', choices)?;
    if find(b',', player2).is_some() {
        return None;
    }
    let wrong = if Choice::parse(player1).is_err() {
        choices
    } else if Choice::parse(player2).is_err() {
        player2
    } else {
        text
    };
    Some(Unexpected::at(text, text.len().wrapping_sub(wrong.len())))
}
