//! The server: greets, and reports the greeting of the client if both greet.

use core::convert::Infallible;

use super::{GREETING_BYTES, SILENCE_MS};
use crate::machine::{Action, CommandError, Input, Machine, Need, Span, Step, bytes_event};
use crate::wire::{LINE_BYTES, LineScanner, line_error, put};

/// [`SERVER_GREETING`](super::SERVER_GREETING) as it is sent.
const GREETING: &[u8; GREETING_BYTES] = b"Hello from server\n";

/// Server of one session. 6 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    lines: LineScanner,
    state: State,
    /// Number of bytes of the greeting's first part.
    first: u8,
    both: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    First,
    /// The first part is written and a second one follows.
    Boundary,
    Rest,
    Waiting,
    Over,
}

/// Events emitted by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// Greeting of the client. It may have arrived without its newline.
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
    /// Why the session ended early: the greeting of the client did not arrive.
    "the client", ", without a greeting"
}

impl Server {
    /// Returns a server that greets and closes.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: LineScanner::new(), state: State::First, first: u8::MAX, both: false }
    }

    /// Returns a server that greets and then waits for a greeting.
    #[must_use]
    pub const fn both() -> Self {
        Self { both: true, ..Self::new() }
    }

    /// Returns the same server with a [boundary](Action::Boundary) behind the first `split` bytes of the greeting.
    /// There is none if `split` is 0 or not less than the length of the greeting.
    #[must_use]
    pub const fn split(self, split: u8) -> Self {
        Self { first: if split == 0 { u8::MAX } else { split }, ..self }
    }
}

impl Machine for Server {
    type Command<'c> = Infallible;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = GREETING_BYTES;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let last = if self.both { State::Waiting } else { State::Over };
        let split = GREETING.split_at_checked(usize::from(self.first));
        let (part, next) = match (self.state, split) {
            (State::First, Some((first, [_, ..]))) => (first, State::Boundary),
            (State::First, _) => (&GREETING[..], last),
            (State::Boundary, _) => {
                self.state = State::Rest;
                return Ok(Step::idle(Action::Boundary));
            }
            (State::Rest, split) => (split.map_or(&[][..], |(_, rest)| rest), last),
            (State::Waiting, _) => {
                let line = match self.lines.next_or_idle(input, SILENCE_MS)? {
                    Ok(line) => line,
                    Err(need) => return Ok(Step::need(need)),
                };
                self.state = State::Over;
                return Ok(Step::new(
                    line.bytes,
                    0,
                    Action::Event(Event::Greeting(input.span(line.text))),
                ));
            }
            (State::Over, _) => return Ok(Step::idle(Action::Close)),
        };
        let Some(written) = put(part, output) else { return Ok(Step::need(Need::OutputSpace)) };
        self.state = next;
        Ok(Step::new(0, written, Action::Continue))
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::machine::Seen as _;
    use crate::machine::{StreamEnd, StreamState};

    /// What it writes, and where the boundaries are.
    fn said(mut server: Server) -> (Vec<u8>, Vec<usize>) {
        let (mut sent, mut boundaries) = (Vec::new(), Vec::new());
        loop {
            let mut output = [0; GREETING_BYTES];
            let step = server.seen(Input::open(b""), &mut output).unwrap();
            sent.extend_from_slice(output.get(..step.written).unwrap());
            match step.action {
                Action::Boundary => boundaries.push(sent.len()),
                Action::Continue => {}
                _ => return (sent, boundaries),
            }
        }
    }

    #[test]
    fn greets_in_one_piece_or_two() {
        for split in 0..=u8::MAX {
            let (sent, boundaries) = said(Server::new().split(split));
            assert_eq!(sent, [super::super::SERVER_GREETING, b"\n"].concat());
            let split = usize::from(split);
            let one = (1..GREETING_BYTES).contains(&split).then_some(split);
            assert_eq!(boundaries, Vec::from_iter(one));
        }
    }

    #[test]
    fn waits_to_be_greeted() {
        let mut server = Server::both();
        let _ = server.seen(Input::open(b""), &mut [0; GREETING_BYTES]).unwrap();
        let mut hurt = server.clone();
        let step = server.seen(Input::open(b"Hi\n"), &mut []).unwrap();
        assert_eq!(step, Step::new(3, 0, Action::Event(Event::Greeting(&b"Hi"[..]))));
        assert_eq!(server.seen(Input::open(b""), &mut []), Ok(Step::idle(Action::Close)));
        for after in [StreamState::Idle, StreamState::Ended(StreamEnd::Closed)] {
            let step = hurt.clone().seen(Input { bytes: b"Hi", state: after }, &mut []).unwrap();
            assert_eq!(step, Step::new(2, 0, Action::Event(Event::Greeting(&b"Hi"[..]))));
        }
        assert!(hurt.clone().seen(Input::ended(b"Hi", StreamEnd::Reset), &mut []).is_err());
        let error = hurt.seen(Input::ended(b"", StreamEnd::Closed), &mut []).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client closed the connection between messages, without a greeting"
        );
    }
}
