//! The client: reports the greeting of the server, and sends its own if both greet.

use core::convert::Infallible;

use super::{CLIENT_GREETING, GREETING_BYTES, SILENCE_MS};
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamState, bytes_event,
};
use crate::wire::{LINE_BYTES, LineScanner, line_error, put_ended};

/// Client of one session. 4 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client {
    lines: LineScanner,
    state: State,
    both: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Waiting,
    Greeting,
    Over,
}

/// Events emitted by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Greeting of the server. It may have arrived without its newline.
    Greeting(B),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Greeting(bytes) => Event::Greeting(f(bytes)?),
        })
    }
}

bytes_event!(Event);

line_error! {
    /// Why there is no greeting.
    "the server", ", without a greeting"
}

impl Client {
    /// Returns a client that only listens.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: LineScanner::new(), state: State::Waiting, both: false }
    }

    /// Returns a client that greets back.
    #[must_use]
    pub const fn both() -> Self {
        Self { both: true, ..Self::new() }
    }
}

impl Machine for Client {
    type Command<'c> = Infallible;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = GREETING_BYTES;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        match self.state {
            State::Waiting => {
                // A client that only listens waits for the close, and does not need a pause.
                let state = match input.state {
                    StreamState::Idle if !self.both => StreamState::Open,
                    state => state,
                };
                let input = Input { state, ..input };
                let line = match self.lines.next_or_idle(input, SILENCE_MS)? {
                    Ok(line) => line,
                    Err(need) => return Ok(Step::need(if self.both { need } else { Need::Input })),
                };
                self.state = if self.both { State::Greeting } else { State::Over };
                Ok(Step::new(line.bytes, 0, Action::Event(Event::Greeting(input.span(line.text)))))
            }
            State::Greeting => {
                let Some(written) = put_ended(CLIENT_GREETING, b'\n', output) else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                self.state = State::Over;
                Ok(Step::new(0, written, Action::Continue))
            }
            State::Over => Ok(Step::idle(Action::Close)),
        }
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::machine::Seen as _;
    use crate::machine::StreamEnd;

    #[test]
    fn takes_the_greeting_and_gives_its_own() {
        let (mut client, mut output) = (Client::both(), [0; GREETING_BYTES]);
        let step = client.seen(Input::open(b"Hello from server\nx"), &mut output).unwrap();
        let greeting = Event::Greeting(super::super::SERVER_GREETING);
        assert_eq!(step, Step::new(18, 0, Action::Event(greeting)));
        let step = client.seen(Input::open(b""), &mut output[..17]).unwrap();
        assert_eq!(step, Step::need(Need::OutputSpace));
        let step = client.seen(Input::open(b""), &mut output).unwrap();
        assert_eq!((step, output), (Step::new(0, 18, Action::Continue), *b"Hello from client\n"));
        assert_eq!(client.seen(Input::open(b""), &mut output), Ok(Step::idle(Action::Close)));
    }

    #[test]
    fn a_greeting_without_newline_is_complete_when_the_server_waits_for_ours() {
        let silent = |bytes| Input { bytes, state: StreamState::Idle };
        let mut client = Client::both();
        assert_eq!(client.seen(Input::open(b""), &mut []), Ok(Step::need(Need::Input)));
        // Not even a character: there is nothing to be silent about.
        for nothing in [&b""[..], b"\xef\xbb\xbf"] {
            assert_eq!(client.seen(silent(nothing), &mut []), Ok(Step::need(Need::Input)));
        }
        let need = Step::need(Need::InputOrIdle(SILENCE_MS));
        assert_eq!(client.seen(Input::open(b"Hi"), &mut []), Ok(need));
        let step = client.seen(silent(b"Hi"), &mut []).unwrap();
        assert_eq!(step, Step::new(2, 0, Action::Event(Event::Greeting(&b"Hi"[..]))));
        let step = client.seen(Input::open(b""), &mut [0; GREETING_BYTES]).unwrap();
        assert_eq!(step, Step::new(0, GREETING_BYTES, Action::Continue));
        // One that only listens waits for the close.
        for input in [Input::open(b"Hi"), silent(b"Hi")] {
            assert_eq!(Client::new().seen(input, &mut []), Ok(Step::need(Need::Input)));
        }
    }

    #[test]
    fn a_greeting_may_lack_its_newline_and_not_more() {
        let mut client = Client::new();
        let step = client.seen(Input::ended(b"Hi", StreamEnd::Closed), &mut []).unwrap();
        assert_eq!(step, Step::new(2, 0, Action::Event(Event::Greeting(&b"Hi"[..]))));
        assert_eq!(
            client.seen(Input::ended(b"", StreamEnd::Closed), &mut []),
            Ok(Step::idle(Action::Close))
        );
        for (bytes, how, sentence) in [
            (
                &b""[..],
                StreamEnd::Closed,
                "the server closed the connection between messages, without a greeting",
            ),
            (b"", StreamEnd::TimedOut, "the server sent nothing more in time, without a greeting"),
            (
                b"Hel",
                StreamEnd::Reset,
                "the server reset the connection in the middle of a message, after 3 bytes",
            ),
        ] {
            let error = Client::new().seen(Input::ended(bytes, how), &mut []).unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
    }
}
