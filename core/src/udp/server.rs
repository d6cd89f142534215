//! The server: returns each datagram without its first ten characters.

use core::fmt;

use super::REMOVED_CHARS;
use crate::count;
use crate::datagram::{Input, Machine, Payload, Step, Timer, Transmit};
use crate::machine::{CommandError, Span};
use crate::wire::{Byte, Prefix, prefix_of_chars};

/// Server of the exercise with datagrams. 1 byte: it has an option and no state.
///
/// A datagram is answered or [refused](Event::Refused). A refused one gets no answer. The answer is
/// never longer than the datagram.
///
/// # Loops
///
/// Two servers that answer each datagram answer each other: a datagram with a forged sender is enough.
/// Each answer is ten characters shorter, but an empty one is answered with an empty one, without end.
/// The protocol wants that answer, so [`new`](Self::new) gives it. A server that anyone can reach should be one
/// [that ignores empty datagrams](Self::ignoring_empty): then a loop ends by itself, after one answer for
/// ten characters. Its clients lose only the answer to an empty message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    ignores_empty: bool,
}

impl Server {
    /// Returns a server that answers each datagram.
    #[must_use]
    pub const fn new() -> Self {
        Self { ignores_empty: false }
    }

    /// Returns a server that does not answer an empty datagram, against [loops](Self#loops).
    #[must_use]
    pub const fn ignoring_empty() -> Self {
        Self { ignores_empty: true }
    }
}

/// Event of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A datagram is answered.
    Answered {
        /// Length of the datagram in bytes.
        length: usize,
        /// Length of the answer in bytes.
        answer: usize,
    },
    /// A datagram is not answered.
    Refused(Refusal),
    /// The network reports that an answer did not arrive: its receiver has closed its socket.
    Unreachable,
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// The first ten characters are not UTF-8.
    NotUtf8 {
        /// First byte of the invalid sequence.
        byte: u8,
        /// Offset of that byte, counted from 0.
        at: usize,
    },
    /// The datagram ends in the middle of one of its first ten characters.
    CutCharacter {
        /// Length of the datagram in bytes.
        length: usize,
    },
    /// The datagram is longer than the buffer.
    Truncated {
        /// Number of bytes that fit.
        length: usize,
    },
    /// The datagram is empty, and the server [ignores](Server::ignoring_empty) that.
    Empty,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotUtf8 { byte, at } => write!(
                f,
                "byte {at} of the datagram is {}, expected UTF-8 in its first ten characters",
                Byte(byte)
            ),
            Self::CutCharacter { length } => {
                write!(f, "the datagram of {length} bytes ends in the middle of a character")
            }
            Self::Truncated { length } => {
                write!(f, "the datagram is longer than the buffer, which takes {length} bytes")
            }
            Self::Empty => f.write_str("the datagram is empty"),
        }
    }
}

impl core::error::Error for Refusal {}

impl<A: Copy> Machine<A> for Server {
    type Event = Event;

    fn send(&mut self, _: &[u8]) -> Result<Step<A, Event>, CommandError> {
        Err(CommandError::OutOfTurn)
    }

    #[inline]
    fn step(&mut self, input: Input<'_, A>, _: &[u8]) -> Step<A, Event> {
        let (from, datagram) = match input {
            Input::Received { from, datagram } => (from, datagram),
            Input::Unreachable => return Step::event(Event::Unreachable),
            Input::TimedOut => return Step::none(),
        };
        let bytes = datagram.bytes;
        let length = bytes.len();
        if datagram.is_truncated {
            return Step::event(Event::Refused(Refusal::Truncated { length }));
        }
        if bytes.is_empty() && self.ignores_empty {
            return Step::event(Event::Refused(Refusal::Empty));
        }
        let start = match prefix_of_chars(bytes, REMOVED_CHARS) {
            Prefix::Whole(n) => n,
            Prefix::Short => length,
            Prefix::Truncated => {
                return Step::event(Event::Refused(Refusal::CutCharacter { length }));
            }
            Prefix::Invalid(at) => {
                let byte = bytes.get(at).copied().unwrap_or_default();
                return Step::event(Event::Refused(Refusal::NotUtf8 { byte, at }));
            }
        };
        let answer = count::sub(length, start.min(length));
        let payload = Payload::Received(Span::new(start, answer));
        Step {
            transmit: Some(Transmit { to: from, payload }),
            timer: Timer::Keep,
            event: Some(Event::Answered { length, answer }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::datagram::Datagram;

    fn step(datagram: Datagram<'_>) -> Step<u8, Event> {
        Server::new().step(Input::Received { from: 7, datagram }, b"")
    }

    #[test]
    fn a_datagram_is_answered_with_its_rest() {
        for (bytes, rest) in [
            (&b"Four score and seven"[..], &b" and seven"[..]),
            (b"ten chars!", b""),
            (b"short", b""),
            (b"", b""),
            ("äöüäöüäöüäö".as_bytes(), "ö".as_bytes()),
        ] {
            let step = step(Datagram::whole(bytes));
            let transmit = step.transmit.unwrap();
            assert_eq!((transmit.to, transmit.payload.of(b"", bytes)), (7, rest));
            let event = Event::Answered { length: bytes.len(), answer: rest.len() };
            assert_eq!(step.event, Some(event));
        }
    }

    #[test]
    fn what_is_not_utf_8_or_not_whole_gets_no_answer() {
        for (datagram, text) in [
            (
                Datagram::whole(b"abc\xff"),
                "byte 3 of the datagram is 0xff, expected UTF-8 in its first ten characters",
            ),
            (
                Datagram::whole(b"abc\xc3"),
                "the datagram of 4 bytes ends in the middle of a character",
            ),
            (
                Datagram { bytes: b"Four score and seven", is_truncated: true },
                "the datagram is longer than the buffer, which takes 20 bytes",
            ),
        ] {
            let step = step(datagram);
            assert_eq!(step.transmit, None);
            let Some(Event::Refused(refusal)) = step.event else { panic!("{step:?}") };
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn two_servers_answer_each_other_until_one_ignores_an_empty_datagram() {
        let forged = "Four score and seven years ago".as_bytes();
        for (servers, answers) in [
            ([Server::ignoring_empty(); 2], Some(3)),
            ([Server::new(), Server::ignoring_empty()], Some(3)),
            ([Server::ignoring_empty(), Server::new()], Some(4)),
            ([Server::new(); 2], None),
        ] {
            let mut bytes = forged;
            let ended = (0..100).find(|n| {
                let mut server = servers[n % 2];
                let input = Input::Received { from: 1 - n % 2, datagram: Datagram::whole(bytes) };
                let Some(transmit) = server.step(input, b"").transmit else { return true };
                assert_eq!(transmit.to, 1 - n % 2);
                bytes = transmit.payload.of(b"", bytes);
                false
            });
            assert_eq!(ended, answers, "{servers:?}");
        }
        assert_eq!(Refusal::Empty.to_string(), "the datagram is empty");
    }

    #[test]
    fn a_server_sends_nothing_by_itself() {
        let mut server = Server::new();
        let send: Result<Step<u8, Event>, _> = server.send(b"x");
        assert_eq!(send, Err(CommandError::OutOfTurn));
        let step: Step<u8, Event> = server.step(Input::TimedOut, b"");
        assert_eq!(step, Step::none());
        let step: Step<u8, Event> = server.step(Input::Unreachable, b"");
        assert_eq!(step, Step::event(Event::Unreachable));
    }
}
