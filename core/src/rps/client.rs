//! The client, player 1: tells prompts and verdicts, sends the application's choices.

use core::fmt;

use super::{Choice, ROUND_BYTES, ROUNDS, Round, Verdict};
use crate::count;
use crate::machine::{Action, CommandError, Input, Machine, Need, Span, Step, bytes_event};
use crate::wire::{
    LINE_BYTES, Line, LineError, PromptEnd, PromptScanner, PromptToken, put_line, will_reply,
};

/// Number of bytes of the longest verdict that is understood, with its newline: that of the protocol and
/// some spaces behind its commas.
const VERDICT_BYTES: usize = ROUND_BYTES + 10;

/// The client's end. 4 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    prompts: PromptScanner,
    /// Number of rounds that are over, and [`PUZZLED`].
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
    /// For the verdict, after this choice; `None` after an unchecked line. The rest of the prompt may stand before it.
    Waiting(Option<Choice>),
    Over,
}

/// Set while a line has come instead of the verdict. It may be the rest of the prompt, or a verdict in
/// other words: the next prompt is known by silence alone, as the rest of one may have a `:`. In the
/// count of rounds, since a state with it would take two bytes more.
const PUZZLED: u8 = 0x80;

/// What the application can say, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// Its choice.
    Choose(Choice),
    /// This line, so that the server's own checks can be tried. What the verdict then says of it is not
    /// verified. It may need more room than [`MIN_OUTPUT`](Machine::MIN_OUTPUT).
    Unchecked(&'c [u8]),
}

/// What the client tells. Text is the server's and not safe for a terminal; see
/// [`Escaped`](crate::wire::Escaped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server asks this: a choice is due.
    Prompt(B),
    /// Both have chosen; the acknowledgement is written.
    Round(Round),
    /// The server says something else.
    Line(B),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Prompt(bytes) => Event::Prompt(f(bytes)?),
            Self::Round(value) => Event::Round(value),
            Self::Line(bytes) => Event::Line(f(bytes)?),
        })
    }
}

bytes_event!(Event);

/// Why the game ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// No line, or no more of them.
    Line(LineError),
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
        Self { prompts: PromptScanner::new(), played: 0, state: State::Listening }
    }

    /// So many rounds are over.
    #[must_use]
    pub const fn played(&self) -> u8 {
        self.played & !PUZZLED
    }
}

impl Machine for Client {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    // The acknowledgement. No choice is longer.
    const MIN_OUTPUT: usize = VERDICT_BYTES;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let (prompts, is_known): (PromptEnd, fn(&[u8]) -> bool) = match self.state {
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Asked => {
                will_reply(input).map_err(Error::Line)?;
                return Ok(Step::need(Need::Command));
            }
            State::Listening => (PromptEnd::Any, |_| false),
            State::Waiting(_) => {
                let prompts =
                    if self.played < PUZZLED { PromptEnd::Never } else { PromptEnd::Silence };
                (prompts, is_verdict)
            }
        };
        let before = self.prompts.clone();
        let (Line { bytes, .. }, written, event) =
            match self.prompts.next(input, prompts, is_known).map_err(Error::Line)? {
                PromptToken::Nothing(need) => return Ok(Step::need(need)),
                PromptToken::Space(n) => return Ok(Step::new(n, 0, Action::Continue)),
                PromptToken::Prompt(prompt) => {
                    self.state = State::Asked;
                    (prompt, 0, Event::Prompt(input.span(prompt.text)))
                }
                PromptToken::Line(line) | PromptToken::Known(line) => {
                    let heard = match self.state {
                        State::Waiting(sent) => verdict(line.text, sent),
                        _ => Ok(None),
                    };
                    match heard {
                        Ok(None) => {
                            self.played |= PUZZLED;
                            (line, 0, Event::Line(input.span(line.text)))
                        }
                        Ok(Some((round, back))) => {
                            let Ok(written) = put_line(back, output) else {
                                return Ok(Step::need(Need::OutputSpace));
                            };
                            self.played = count::add(self.played(), 1);
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
        Ok(Step::new(bytes, written, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        if self.state != State::Asked {
            return Err(CommandError::OutOfTurn);
        }
        let (text, choice) = match command {
            Command::Choose(choice) => (choice.name().as_bytes(), Some(choice)),
            Command::Unchecked(text) => (text, None),
        };
        let written = put_line(text, output)?;
        self.played = self.played();
        self.state = State::Waiting(choice);
        Ok(written)
    }
}

/// The round whose line `text` ends with, and that line, unless the smallest output has no room for it.
#[inline(never)]
fn round(text: &[u8]) -> Option<(Round, &[u8])> {
    Round::at_end_of(text).filter(|(_, line)| line.len() < VERDICT_BYTES)
}

/// Whether a verdict stands at the end.
fn is_verdict(front: &[u8]) -> bool {
    round(front).is_some()
}

/// The round whose line `text` ends with, and that line; `None` when it is another one. A server whose
/// line contradicts itself, or what it was sent, has not played this game.
fn verdict(text: &[u8], sent: Option<Choice>) -> Result<Option<(Round, &[u8])>, Error> {
    let Some((round, line)) = round(text) else {
        return Ok(None);
    };
    let said = round.player1;
    match sent {
        Some(sent) if sent != said => Err(Error::Choice { sent, said }),
        _ if round.verdict != Verdict::of(said, round.player2) => Err(Error::Verdict(round)),
        _ => Ok(Some((round, line))),
    }
}
