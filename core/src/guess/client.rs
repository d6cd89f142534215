//! The client: reports the messages of the server and sends the guesses of the application.

use super::Message;
use crate::machine::{Action, CommandError, Input, Machine, Need, Span, Step, bytes_event};
use crate::wire::{
    CloseInTurn, DECIMAL_BYTES, LINE_BYTES, LineScanner, check_turn, line_error, put_decimal,
    put_line,
};

/// Client of one session. 4 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    lines: LineScanner,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Listening,
    /// The application's turn.
    Asked,
    Over,
}

/// Commands of the application, when the client asks with [`Need::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Guesses this number. A number out of range is sent too: it is too high or too low.
    Guess(i32),
    /// Sends this line unchecked, so that the server's own checks can be tried. It may need more space than
    /// [`MIN_OUTPUT`](Machine::MIN_OUTPUT).
    Unchecked(&'c [u8]),
}

/// Events emitted by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// The server sent this message. After [`Message::Guess`] it is the application's turn. [`Message::Win`] and
    /// [`Message::GameOver`] end the session.
    Message(Message),
    /// The server sent a line that is not a message. The game continues. The text is not safe for a terminal, see
    /// [`Escaped`](crate::wire::Escaped).
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
            Self::Message(value) => Event::Message(value),
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
        Self { lines: LineScanner::new(), state: State::Listening }
    }
}

impl Machine for Client {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = DECIMAL_BYTES;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        match self.state {
            State::Asked => {
                check_turn(input, CloseInTurn::EndsWithoutText)?;
                Ok(Step::need(Need::Command))
            }
            State::Over => Ok(Step::idle(Action::Close)),
            State::Listening => {
                let Some(line) = self.lines.next(input)? else {
                    return Ok(Step::need(Need::Input));
                };
                let event = match Message::parse(line.text) {
                    None => Event::Line(input.span(line.text)),
                    Some(message) => {
                        match message {
                            Message::Guess => self.state = State::Asked,
                            Message::Win | Message::GameOver => self.state = State::Over,
                            Message::Low | Message::High | Message::Invalid => {}
                        }
                        Event::Message(message)
                    }
                };
                Ok(Step::new(line.bytes, 0, Action::Event(event)))
            }
        }
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        if self.state != State::Asked {
            return Err(CommandError::OutOfTurn);
        }
        let written = match command {
            Command::Guess(number) => {
                put_decimal(number, output).ok_or(CommandError::OutputFull)?
            }
            Command::Unchecked(text) => put_line(text, output)?,
        };
        self.state = State::Listening;
        Ok(written)
    }
}
