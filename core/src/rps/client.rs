//! The client, player 1: reports prompts and verdicts, sends the choices of the application.

use core::fmt;

use super::{Choice, ROUND_BYTES, ROUNDS, Round, Verdict};
use crate::count;
use crate::machine::{Action, CommandError, Input, Machine, Need, Span, Step, bytes_event};
use crate::wire::{
    CloseInTurn, LINE_BYTES, Line, LineError, PromptEnd, PromptScanner, PromptToken, check_turn,
    put_line,
};

/// Maximum number of bytes of a verdict that is understood, with its newline: that of the protocol and some spaces
/// behind its commas.
const VERDICT_BYTES: usize = ROUND_BYTES + 10;

/// Client of one game. 4 bytes.
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
    /// Waits for a prompt.
    #[default]
    Listening,
    /// The application's turn.
    Asked,
    /// Waits for the verdict, after this choice, or `None` after an unchecked line. The rest of the prompt may precede
    /// it.
    Waiting(Option<Choice>),
    Over,
}

/// Flag: a line has arrived instead of the verdict. It may be the rest of the prompt, or a verdict in other words. The
/// next prompt is then recognised by a pause alone, since the rest of a prompt may contain a `:`. It is a bit of the
/// count of rounds, since a state of its own would take two bytes more.
const PUZZLED: u8 = 0x80;

/// Commands of the application, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends this choice.
    Choose(Choice),
    /// Sends this line unchecked, so that the server's own checks can be tried. The verdict is then not compared with
    /// it. It may need more space than [`MIN_OUTPUT`](Machine::MIN_OUTPUT).
    Unchecked(&'c [u8]),
}

/// Events emitted by the client. Text comes from the server and is not safe for a terminal, see
/// [`Escaped`](crate::wire::Escaped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server sent this prompt. It is the application's turn.
    Prompt(B),
    /// Both have chosen. The acknowledgement is written.
    Round(Round),
    /// The server sent another line.
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

/// Why the game ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// A line is too long, or the stream ended.
    Line(LineError),
    /// The server reported another choice than the client sent.
    Choice {
        /// Choice that was sent.
        sent: Choice,
        /// Choice that the server reported.
        said: Choice,
    },
    /// The verdict contradicts the choices in its line.
    Verdict(Round),
}

impl From<LineError> for Error {
    fn from(e: LineError) -> Self {
        Self::Line(e)
    }
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
    /// Returns a client that has received nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { prompts: PromptScanner::new(), played: 0, state: State::Listening }
    }

    /// Returns the number of rounds that are over.
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
    // The acknowledgement, which is longer than any choice.
    const MIN_OUTPUT: usize = VERDICT_BYTES;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let (prompts, is_known): (PromptEnd, fn(&[u8]) -> bool) = match self.state {
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Asked => {
                check_turn(input, CloseInTurn::EndsWithoutText)?;
                return Ok(Step::need(Need::Command));
            }
            State::Listening => (PromptEnd::Any, |_| false),
            State::Waiting(_) => {
                let prompts =
                    if self.played < PUZZLED { PromptEnd::Never } else { PromptEnd::Silence };
                (prompts, is_verdict)
            }
        };
        let (Line { bytes, .. }, written, event) =
            match self.prompts.peek(input, prompts, is_known)? {
                PromptToken::Nothing(need) => return Ok(Step::need(need)),
                PromptToken::Space(n) => {
                    self.prompts.take();
                    return Ok(Step::new(n, 0, Action::Continue));
                }
                PromptToken::Prompt(prompt) => {
                    self.state = State::Asked;
                    (prompt, 0, Event::Prompt(input.span(prompt.text)))
                }
                PromptToken::Line(line) | PromptToken::Known(line) => {
                    let heard = match self.state {
                        State::Waiting(sent) => verdict(line.text, sent),
                        _ => Ok(None),
                    };
                    match heard? {
                        None => {
                            self.played |= PUZZLED;
                            (line, 0, Event::Line(input.span(line.text)))
                        }
                        Some((round, back)) => {
                            let Ok(written) = put_line(back, output) else {
                                return Ok(Step::need(Need::OutputSpace));
                            };
                            self.played = count::add(self.played(), 1);
                            self.state =
                                if self.played == ROUNDS { State::Over } else { State::Listening };
                            (line, written, Event::Round(round))
                        }
                    }
                }
            };
        self.prompts.take();
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

/// Returns the round whose line `text` ends with, and that line, unless it does not fit the smallest output.
#[inline(never)]
fn round(text: &[u8]) -> Option<(Round, &[u8])> {
    Round::at_end_of(text).filter(|(_, line)| line.len() < VERDICT_BYTES)
}

/// Returns whether `front` ends with a verdict.
fn is_verdict(front: &[u8]) -> bool {
    round(front).is_some()
}

/// Returns the round whose line `text` ends with, and that line, or `None` for any other text. A line that contradicts
/// itself or the choice that was sent is an error.
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
