//! The server: sends each message back without its first ten characters.

use core::fmt;

use super::{REMOVED_BYTES, REMOVED_CHARS};
use crate::machine::{After, How, Input, Machine, Need, Refused, Step, Then};
use crate::wire::{Byte, Cut, LENGTH_BYTES, Prefix, length_of, prefix_of_chars, put_length};

/// The server's end of one connection. 16 bytes, whatever the length of the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server {
    state: State,
    finishing: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Header,
    /// The reply's length is sent; so much of its payload is still to be copied.
    Payload {
        length: u32,
        remaining: u32,
    },
    Over,
}

/// What the application can say, once, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Finish the message in hand, if there is one, then end the session.
    Finish,
}

/// What the server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A message with so many bytes of payload has come, and all of its reply is written.
    Echoed {
        /// The message's length.
        length: u32,
    },
}

/// Why the session ended. A client that closes between two messages ends it with `Done` instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The first ten characters of a payload are not UTF-8.
    NotUtf8 {
        /// The byte that starts what is no character.
        byte: u8,
        /// Its place in the payload, the first being 0.
        at: usize,
    },
    /// The payload ends in the middle of a character that is among its first ten.
    CutCharacter {
        /// The payload's length.
        length: u32,
    },
    /// The stream ended too early.
    Cut(Cut),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotUtf8 { byte, at } => write!(
                f,
                "the client broke the protocol: byte {at} of a payload is {}, expected UTF-8 in \
                 its first ten characters",
                Byte(byte)
            ),
            Self::CutCharacter { length } => write!(
                f,
                "the client broke the protocol: a payload of {length} bytes ends in the middle of \
                 a character"
            ),
            Self::Cut(cut) => cut.by("the client").fmt(f),
        }
    }
}

impl core::error::Error for Error {}

/// What stands at the front of the input.
enum Head {
    /// A reply of `reply` bytes is due, after `skip` bytes of input.
    Ready {
        skip: usize,
        reply: u32,
    },
    NeedsInput,
}

impl Server {
    /// A server to which nothing has been sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Header, finishing: false }
    }

    /// The reply's length is known once ten characters have come, or all of a shorter payload.
    #[inline]
    fn head(length: u32, payload: &[u8]) -> Result<Head, Error> {
        let all = usize::try_from(length).unwrap_or(usize::MAX);
        let skip = match payload.get(..REMOVED_CHARS) {
            // Ten bytes of ASCII, the common case, in a form that compiles to a few instructions.
            Some(front) if all >= REMOVED_CHARS && front.is_ascii() => REMOVED_CHARS,
            _ => match Self::slow_head(length, payload.get(..all).unwrap_or(payload))? {
                Some(skip) => skip,
                None => return Ok(Head::NeedsInput),
            },
        };
        // `skip` is at most the length or 40, so both conversions hold.
        let reply = length.saturating_sub(u32::try_from(skip).unwrap_or(u32::MAX));
        Ok(Head::Ready { skip: skip.saturating_add(LENGTH_BYTES), reply })
    }

    /// How many bytes the first ten characters take, `None` when more have to come to know.
    #[inline(never)]
    fn slow_head(length: u32, payload: &[u8]) -> Result<Option<usize>, Error> {
        let is_all = u32::try_from(payload.len()) == Ok(length);
        match prefix_of_chars(payload, REMOVED_CHARS) {
            Prefix::Whole(bytes) => Ok(Some(bytes)),
            Prefix::Short if is_all => Ok(Some(payload.len())),
            Prefix::Cut if is_all => Err(Error::CutCharacter { length }),
            Prefix::Short | Prefix::Cut => Ok(None),
            Prefix::Invalid(at) => {
                let byte = payload.get(at).copied().unwrap_or_default();
                Err(Error::NotUtf8 { byte, at })
            }
        }
    }

    /// A whole message has gone through.
    #[inline]
    fn echoed(&mut self, length: u32) -> Then<Event> {
        self.state = if self.finishing { State::Over } else { State::Header };
        Then::Event(Event::Echoed { length })
    }

    /// In the header, and it is not all there.
    #[cold]
    fn starved(&mut self, input: Input<'_>) -> Result<Step<Event>, Error> {
        match (input.after, input.bytes) {
            (After::More | After::Silence, _) => Ok(Step::need(Need::Either)),
            (After::End(How::Closed), []) => {
                self.state = State::Over;
                Ok(Step::idle(Then::Done))
            }
            (After::End(how), bytes) => {
                let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                // Not even the length has come: what is known to be wanted are its four bytes.
                let want = length_of(bytes).map_or(4, |(length, _)| whole(length));
                Err(Error::Cut(Cut::inside(how, got, want)))
            }
        }
    }
}

/// A message's length with its header.
fn whole(length: u32) -> u64 {
    u64::from(length).saturating_add(4)
}

/// Copies what fits of the first `remaining` bytes. Returns how many that were.
#[inline]
fn copy(from: &[u8], to: &mut [u8], remaining: u32) -> usize {
    let n = from.len().min(to.len()).min(usize::try_from(remaining).unwrap_or(usize::MAX));
    if let (Some(from), Some(to)) = (from.get(..n), to.get_mut(..n)) {
        to.copy_from_slice(from);
    }
    n
}

impl Machine for Server {
    type Command<'c> = Command;
    type Event<'i> = Event;
    type Error = Error;

    const MIN_INPUT: usize = LENGTH_BYTES + REMOVED_BYTES;
    const MIN_OUTPUT: usize = LENGTH_BYTES;

    #[inline]
    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error> {
        match self.state {
            State::Header => {
                // A message of which a byte has come is in hand.
                if self.finishing && input.bytes.is_empty() {
                    self.state = State::Over;
                    return Ok(Step::idle(Then::Done));
                }
                let Some((length, payload)) = length_of(input.bytes) else {
                    return self.starved(input);
                };
                let Head::Ready { skip, reply } = Self::head(length, payload)? else {
                    return self.starved(input);
                };
                let Some(room) = put_length(reply, output) else {
                    return Ok(Step::need(Need::Output));
                };
                let n = copy(input.bytes.get(skip..).unwrap_or_default(), room, reply);
                let remaining = reply.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
                let then = if remaining == 0 {
                    self.echoed(length)
                } else {
                    self.state = State::Payload { length, remaining };
                    Then::Again
                };
                Ok(Step::new(skip.saturating_add(n), n.saturating_add(LENGTH_BYTES), then))
            }
            State::Payload { length, remaining } => {
                let n = copy(input.bytes, output, remaining);
                if n == 0 {
                    return match (input.bytes, input.after) {
                        ([_, ..], _) => Ok(Step::need(Need::Output)),
                        ([], After::More | After::Silence) => Ok(Step::need(Need::Input)),
                        ([], After::End(how)) => {
                            let want = whole(length);
                            let got = want.saturating_sub(u64::from(remaining));
                            Err(Error::Cut(Cut::inside(how, got, want)))
                        }
                    };
                }
                let remaining = remaining.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
                let then = if remaining == 0 {
                    self.echoed(length)
                } else {
                    self.state = State::Payload { length, remaining };
                    Then::Again
                };
                Ok(Step::new(n, n, then))
            }
            State::Over => Ok(Step::idle(Then::Done)),
        }
    }

    fn command(&mut self, Command::Finish: Command, _: &mut [u8]) -> Result<usize, Refused> {
        // Told twice it says so: an application that goes on saying it must not keep a loop busy.
        if self.state == State::Over || self.finishing {
            return Err(Refused::NotNow);
        }
        self.finishing = true;
        Ok(0)
    }
}
