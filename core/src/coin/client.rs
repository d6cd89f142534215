//! The client: reports prompts and replies, sends the answers of the application, keeps the score.

use super::{Answer, Reply, Score};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, bytes_event,
};
use crate::wire::{
    CloseInTurn, LINE_BYTES, Line, LineError, PromptEnd, PromptScanner, PromptToken, check_turn,
    line_error, put_line,
};

/// Maximum number of bytes of an answer that fits the smallest output buffer.
pub const ANSWER_MAX: usize = 31;

/// Client of one session. 16 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    score: Score,
    /// Number of guesses sent.
    guesses: u32,
    prompts: PromptScanner,
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
    /// Waits for the reply. The rest of the prompt may precede it.
    Waiting,
    /// Another line arrived instead: if a prompt follows, that line was the reply.
    Puzzled,
    /// Waits for the farewell.
    Leaving,
    Over,
}

/// Commands of the application, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends this answer as it is: a published server may accept capitals only, and its own checks can be tried.
    /// After `Q` the client waits for the farewell. An answer longer than [`ANSWER_MAX`] bytes may need more space
    /// than [`MIN_OUTPUT`](Machine::MIN_OUTPUT).
    Answer(&'c [u8]),
}

/// Events emitted by the client. Text comes from the server and is not safe for a terminal, see
/// [`Escaped`](crate::wire::Escaped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server sent this prompt. It is the application's turn.
    Prompt(B),
    /// The server sent this reply to the answer.
    Reply(Reply),
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
            Self::Reply(value) => Event::Reply(value),
            Self::Line(bytes) => Event::Line(f(bytes)?),
        })
    }
}

bytes_event!(Event);

line_error! {
    /// Why the session ended early.
    "the server"
}

impl Client {
    /// Returns a client that has received nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            score: Score { right: 0, of: 0 },
            guesses: 0,
            prompts: PromptScanner::new(),
            state: State::Listening,
        }
    }

    /// Returns the number of guesses sent: `H` and `T`. The [score](Self::score) counts fewer if a reply was not
    /// understood.
    #[must_use]
    pub const fn guesses(&self) -> u32 {
        self.guesses
    }

    /// Returns how often the client was right.
    #[must_use]
    pub const fn score(&self) -> Score {
        self.score
    }

    /// Counts a reply and returns its event.
    fn reply(&mut self, text: &[u8]) -> Event<Span> {
        let reply = Reply::at_end_of(text).unwrap_or(Reply::Invalid);
        self.state = match (self.state, reply) {
            (State::Leaving, Reply::Bye) => State::Over,
            (State::Leaving, _) => State::Leaving,
            _ => State::Listening,
        };
        // A server may reply to something that was not a guess. That is not counted.
        if self.score.of < self.guesses && matches!(reply, Reply::Right | Reply::Wrong) {
            self.score.count(reply == Reply::Right);
        }
        Event::Reply(reply)
    }

    /// Ends the session because the server has closed after `Q`. Its farewell may lack its newline, or be missing.
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
                check_turn(input, CloseInTurn::EndsWithoutText)?;
                return Ok(Step::need(Need::Command));
            }
            State::Listening | State::Puzzled => PromptEnd::Any,
            State::Waiting | State::Leaving => PromptEnd::Never,
        };
        let is_known: fn(&[u8]) -> bool = match self.state {
            State::Listening => |_| false,
            _ => |front| Reply::at_end_of(front).is_some(),
        };
        let token = self.prompts.peek(input, prompts, is_known);
        let (Line { bytes, .. }, event) = match token {
            Ok(PromptToken::Nothing(need)) => return Ok(Step::need(need)),
            Ok(PromptToken::Space(n)) => {
                self.prompts.take();
                return Ok(Step::new(n, 0, Action::Continue));
            }
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
        self.prompts.take();
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
