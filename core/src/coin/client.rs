//! The client: tells prompts and replies, sends what the person answers, keeps the score.

use core::fmt;

use super::{Answer, Reply, Score};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, bytes_event,
};
use crate::wire::{
    LINE_BYTES, Line, LineError, PromptEnd, PromptScanner, PromptToken, put_line, will_reply,
};

/// The longest answer, in bytes, for which an output buffer of the least size has room.
pub const ANSWER_MAX: usize = 31;

/// The client's end. 16 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    score: Score,
    /// So many guesses have been sent.
    guesses: u32,
    prompts: PromptScanner,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    /// For a prompt.
    #[default]
    Listening,
    /// For the application's answer.
    Asked,
    /// For the reply. The rest of the prompt may stand before it.
    Waiting,
    /// Something else came instead: if a prompt follows, that was the reply.
    Puzzled,
    /// For the farewell.
    Leaving,
    Over,
}

/// What the application can say, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'c> {
    /// The person's answer. It is sent as it is: people's servers may know capitals only, and their own
    /// checks can be tried. After `Q` the client waits for the farewell. One longer than
    /// [`ANSWER_MAX`] bytes may need more room than [`MIN_OUTPUT`](Machine::MIN_OUTPUT).
    Answer(&'c [u8]),
}

/// What the client tells. Text is the server's and not safe for a terminal; see
/// [`Escaped`](crate::wire::Escaped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server asks this: an answer is due.
    Prompt(B),
    /// The server says this to the answer.
    Reply(Reply),
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
            Self::Reply(value) => Event::Reply(value),
            Self::Line(bytes) => Event::Line(f(bytes)?),
        })
    }
}

bytes_event!(Event);

/// Why the session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error(pub LineError);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.by("the server").fmt(f)
    }
}

impl core::error::Error for Error {}

impl Client {
    /// A client that has not heard anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            score: Score { right: 0, of: 0 },
            guesses: 0,
            prompts: PromptScanner::new(),
            state: State::Listening,
        }
    }

    /// Number of guesses sent: `H` and `T`. More than the [score](Self::score) counts when replies
    /// were not understood.
    #[must_use]
    pub const fn guesses(&self) -> u32 {
        self.guesses
    }

    /// How often it was right.
    #[must_use]
    pub const fn score(&self) -> Score {
        self.score
    }

    /// A reply, and what it means for the score.
    fn reply(&mut self, text: &[u8]) -> Event<Span> {
        let reply = Reply::at_end_of(text).unwrap_or(Reply::Invalid);
        self.state = match (self.state, reply) {
            (State::Leaving, Reply::Bye) => State::Over,
            (State::Leaving, _) => State::Leaving,
            _ => State::Listening,
        };
        // Of a server that replies to what was never guessed nothing is counted.
        if self.score.of < self.guesses && matches!(reply, Reply::Right | Reply::Wrong) {
            self.score.count(reply == Reply::Right);
        }
        Event::Reply(reply)
    }

    /// The server has closed after `Q`: its last words need no newline, nor have there to be any.
    fn left(&mut self, bytes: &[u8]) -> Step<Event<Span>> {
        self.state = State::Over;
        match bytes {
            [] => Step::idle(Action::Close),
            text => Step::new(text.len(), 0, Action::Event(Event::Line(Span::new(0, text.len())))),
        }
    }
}

impl Machine for Client {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = ANSWER_MAX + 1;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let prompts = match self.state {
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Asked => {
                will_reply(input).map_err(Error)?;
                return Ok(Step::need(Need::Command));
            }
            State::Listening | State::Puzzled => PromptEnd::Any,
            State::Waiting | State::Leaving => PromptEnd::Never,
        };
        let is_known: fn(&[u8]) -> bool = match self.state {
            State::Listening => |_| false,
            _ => |front| Reply::at_end_of(front).is_some(),
        };
        let (Line { bytes, .. }, event) = match self.prompts.next(input, prompts, is_known) {
            Ok(PromptToken::Nothing(need)) => return Ok(Step::need(need)),
            Ok(PromptToken::Space(n)) => return Ok(Step::new(n, 0, Action::Continue)),
            Ok(PromptToken::Prompt(prompt)) => {
                self.state = State::Asked;
                (prompt, Event::Prompt(input.span(prompt.text)))
            }
            Ok(PromptToken::Known(known)) => (known, self.reply(known.text)),
            Ok(PromptToken::Line(line)) => {
                if self.state == State::Waiting {
                    self.state = State::Puzzled;
                }
                (line, Event::Line(input.span(line.text)))
            }
            Err(LineError::Truncated { how: StreamEnd::Closed, .. })
                if self.state == State::Leaving =>
            {
                return Ok(self.left(input.bytes));
            }
            Err(e) => return Err(Error(e)),
        };
        Ok(Step::new(bytes, 0, Action::Event(event)))
    }

    fn command(
        &mut self,
        Command::Answer(text): Command<'_>,
        output: &mut [u8],
    ) -> Result<usize, CommandError> {
        if self.state != State::Asked {
            return Err(CommandError::OutOfTurn);
        }
        let written = put_line(text, output);
        if written.is_ok() {
            self.state = match Answer::parse(text) {
                Answer::Quit => State::Leaving,
                Answer::Guess(_) => {
                    self.guesses = self.guesses.saturating_add(1);
                    State::Waiting
                }
                Answer::Invalid => State::Waiting,
            };
        }
        written
    }
}
