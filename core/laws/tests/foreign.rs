//! A machine from outside, with a bug that is planted in it: the kit finds it, and says what the README
//! shows.

use std::convert::Infallible;
use std::fmt;

use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Span, Step, StreamEnd, StreamState,
};
use socklab_laws::{Law, Outcome, check};

/// The machine of the README. With the bug it treats one read as one message.
#[derive(Clone, Debug, PartialEq)]
struct Receiver {
    is_over: bool,
    has_bug: bool,
}

impl Receiver {
    fn correct() -> Self {
        Self { is_over: false, has_bug: false }
    }

    fn with_bug() -> Self {
        Self { is_over: false, has_bug: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Truncated(StreamEnd);

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream ended in the middle of a message: {:?}", self.0)
    }
}

impl std::error::Error for Truncated {}

impl Machine for Receiver {
    type Command<'c> = Infallible;
    type Event = Span;
    type Error = Truncated;
    const MIN_INPUT: usize = 256;
    const MIN_OUTPUT: usize = 1;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Span>, Truncated> {
        if self.is_over {
            return Ok(Step::idle(Action::Close));
        }
        let split = input.bytes.split_first();
        let message = if self.has_bug {
            split.map(|(_, rest)| rest)
        } else {
            split.and_then(|(length, rest)| rest.get(..usize::from(*length)))
        };
        match (message, input.state) {
            (Some(message), _) => {
                let Some(room) = output.first_mut() else {
                    return Ok(Step::need(Need::OutputSpace));
                };
                *room = b'+';
                Ok(Step::new(1 + message.len(), 1, Action::Event(input.span(message))))
            }
            (None, StreamState::Ended(StreamEnd::Closed)) if input.bytes.is_empty() => {
                self.is_over = true;
                Ok(Step::idle(Action::Close))
            }
            (None, StreamState::Ended(how)) => Err(Truncated(how)),
            (None, _) => Ok(Step::need(Need::Input)),
        }
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

const SCRIPT: &[u8] = b"\x02hi\0\x01!";

#[test]
fn the_correct_machine_passes() {
    let transcript = check(Receiver::correct, SCRIPT).unwrap();
    assert_eq!(transcript.events(), ["[104, 105]", "[]", "[33]"]);
    assert_eq!((&transcript.sent[..], transcript.outcome), (&b"+++"[..], Outcome::Done));
}

#[test]
fn a_machine_that_treats_a_read_as_a_message_is_found() {
    let failure = check(Receiver::with_bug, SCRIPT).unwrap_err();
    assert_eq!((failure.law, &failure.bytes[..]), (Law::Cuts, &b"\x02h"[..]));
    assert_eq!(failure.plan.cuts, [1]);
    let shown = include_str!("../README.md");
    assert!(shown.contains(&format!("```text\n{failure}\n```\n")), "not in the README:\n{failure}");
    // In a test, `unwrap` shows the same.
    assert_eq!(format!("{failure:?}"), failure.to_string());
}

#[test]
fn a_long_script_is_shown_in_part() {
    // Two messages and the start of a third, none of which the machine takes in one piece.
    let script = [&[250][..], &[b'x'; 250], &[250], &[b'y'; 250], b"\x02"].concat();
    let failure = socklab_laws::every_cut(&Receiver::with_bug, &script, None).unwrap_err();
    assert_eq!(failure.bytes.len(), 503);
    let text = failure.to_string();
    assert!(text.len() < 2000 && text.contains(" more bytes) \""), "{text}");
}
