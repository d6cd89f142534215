//! The server: sends each message back without its first ten characters.

use core::fmt;

use super::{OtherLength, REMOVED_BYTES, REMOVED_CHARS, take, whole};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState, plain_event,
};
use crate::wire::{
    Byte, LENGTH_BYTES, Prefix, Truncated, copy, length_of, prefix_of_chars, put_length,
};

/// The server's end of one connection. 16 bytes, whatever the length of the messages.
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<const HEADER: usize = LENGTH_BYTES> {
    state: State,
    /// No more messages: told so, or over.
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

plain_event!(Event);

/// Why the session ended. A client that closes between two messages ends it with `Done` instead.
///
/// Its text names a length that is probably of [another kind](Error::other_length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<const HEADER: usize = LENGTH_BYTES> {
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
    Truncated(Truncated),
}

impl<const HEADER: usize> Error<HEADER> {
    /// The kind of length that the client has probably sent instead of a big-endian one of `HEADER`
    /// bytes, if it looks like that.
    #[must_use]
    pub fn other_length(&self) -> Option<OtherLength> {
        match *self {
            Self::Truncated(cut) => OtherLength::of_cut::<HEADER>(cut),
            Self::NotUtf8 { .. } | Self::CutCharacter { .. } => None,
        }
    }
}

impl<const HEADER: usize> fmt::Display for Error<HEADER> {
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
            Self::Truncated(cut) => {
                cut.by("the client").fmt(f)?;
                OtherLength::append(self.other_length(), f)
            }
        }
    }
}

impl<const HEADER: usize> core::error::Error for Error<HEADER> {}

impl Server {
    /// Returns a server to which nothing has been sent yet, with lengths of 4 bytes.
    // For one width only, so that its type need not be written out where it is called.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_header()
    }
}

impl<const HEADER: usize> Server<HEADER> {
    /// Returns a server to which nothing has been sent yet, with lengths of `HEADER` bytes.
    #[must_use]
    pub const fn with_header() -> Self {
        Self { state: State::Header, finishing: false }
    }

    /// A whole message of which ten bytes of ASCII are removed, and room for its reply: what most
    /// messages are, and all that the loop of a driver should hold.
    #[inline]
    fn pass_whole(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step<Event>> {
        let (length, payload) = length_of::<HEADER>(input)?;
        // Of a payload shorter than that it says more than has to be known, but asks for no loop.
        let is_ascii = payload.first_chunk::<REMOVED_CHARS>()?.is_ascii();
        if self.state != State::Header || !is_ascii {
            return None;
        }
        let all = usize::try_from(length).ok()?;
        let rest = payload.get(all.min(REMOVED_CHARS)..all)?;
        // If the rest does not fit, the other way starts with this length as well.
        let room = put_length::<HEADER>(u32::try_from(rest.len()).ok()?, output)?;
        copy(rest, room.get_mut(..rest.len())?);
        let written = rest.len().saturating_add(HEADER);
        Some(Step::new(all.saturating_add(HEADER), written, self.echoed(length)))
    }

    /// Everything else: first the reply's length, then as much as is there and fits.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn pass_part(
        &mut self,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Result<Step<Event>, Error<HEADER>> {
        let passed = match self.state {
            State::Header => begin::<HEADER>(input.bytes, output)?,
            State::Payload { length, remaining } => {
                let (bytes, _) = take(input.bytes, remaining);
                match copy(bytes, output) {
                    0 if bytes.is_empty() => Err(Need::InputOrCommand),
                    0 => Err(Need::OutputSpace),
                    n => {
                        let n32 = u32::try_from(n).unwrap_or(remaining);
                        Ok((length, count::sub(remaining, n32), n, n))
                    }
                }
            }
            State::Over => Err(Need::InputOrCommand),
        };
        let (length, remaining, consumed, written) = match passed {
            Ok(passed) => passed,
            Err(need) => return self.starved(input, need),
        };
        self.state = State::Payload { length, remaining };
        let action = if remaining == 0 { self.echoed(length) } else { Action::Continue };
        Ok(Step::new(consumed, written, action))
    }

    /// A whole message has gone through.
    #[inline]
    fn echoed(&mut self, length: u32) -> Action<Event> {
        self.state = if self.finishing { State::Over } else { State::Header };
        Action::Event(Event::Echoed { length })
    }

    /// Nothing can be done with what is there, unless it gets what it needs.
    #[cold]
    #[inline(never)]
    fn starved(
        &mut self,
        Input { bytes, state }: Input<'_>,
        need: Need,
    ) -> Result<Step<Event>, Error<HEADER>> {
        let action = match (self.state, state) {
            _ if need == Need::OutputSpace => Action::Need(need),
            (State::Over, _) => Action::Close,
            // A message of which a byte has come is in hand.
            (State::Header, _)
                if bytes.is_empty()
                    && (self.finishing || state == StreamState::Ended(StreamEnd::Closed)) =>
            {
                *self = Self { state: State::Over, finishing: true };
                Action::Close
            }
            (_, StreamState::Open | StreamState::Idle) => Action::Need(need),
            (state, StreamState::Ended(how)) => {
                let (got, length) = match state {
                    State::Payload { length, remaining } => {
                        (whole::<HEADER>(count::sub(length, remaining)), length)
                    }
                    // Not even the length may have come: what is known to be wanted are its bytes.
                    State::Header | State::Over => {
                        let length = length_of::<HEADER>(bytes).map_or(0, |(length, _)| length);
                        (u64::try_from(bytes.len()).unwrap_or(u64::MAX), length)
                    }
                };
                return Err(Error::Truncated(Truncated::inside(how, got, whole::<HEADER>(length))));
            }
        };
        Ok(Step::idle(action))
    }
}

/// What has gone through of a message: its length, what remains of it, the bytes consumed and those
/// written. Or what is needed first.
type Passed = Result<(u32, u32, usize, usize), Need>;

/// The beginning of a message: its reply's length, as soon as its first ten characters are there.
// Small processors: out of line, passing the result costs more than the call saves.
#[cfg_attr(not(target_pointer_width = "64"), inline(always))]
fn begin<const HEADER: usize>(input: &[u8], output: &mut [u8]) -> Result<Passed, Error<HEADER>> {
    let Some((length, payload)) = length_of::<HEADER>(input) else {
        return Ok(Err(Need::InputOrCommand));
    };
    let (payload, missing) = take(payload, length);
    let removed = match prefix_of_chars(payload, REMOVED_CHARS) {
        Prefix::Whole(bytes) => bytes,
        Prefix::Short if missing == 0 => payload.len(),
        Prefix::Truncated if missing == 0 => return Err(Error::CutCharacter { length }),
        Prefix::Short | Prefix::Truncated => return Ok(Err(Need::InputOrCommand)),
        Prefix::Invalid(at) => {
            let byte = payload.get(at).copied().unwrap_or_default();
            return Err(Error::NotUtf8 { byte, at });
        }
    };
    let remaining = count::sub(length, u32::try_from(removed).unwrap_or(length));
    Ok(match put_length::<HEADER>(remaining, output) {
        Some(_) => Ok((length, remaining, count::add(removed, HEADER), HEADER)),
        None => Err(Need::OutputSpace),
    })
}

impl<const HEADER: usize> Machine for Server<HEADER> {
    type Command<'c> = Command;
    type Event = Event;
    type Error = Error<HEADER>;

    const MIN_INPUT: usize = HEADER + REMOVED_BYTES;
    const MIN_OUTPUT: usize = HEADER;

    #[inline]
    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error<HEADER>> {
        // Small processors have no use for two ways: their time goes elsewhere, their flash does not.
        if cfg!(target_pointer_width = "64")
            && let Some(step) = self.pass_whole(input.bytes, output)
        {
            return Ok(step);
        }
        self.pass_part(input, output)
    }

    fn command(&mut self, Command::Finish: Command, _: &mut [u8]) -> Result<usize, CommandError> {
        // Told twice it says so: an application that goes on saying it must not keep a loop busy.
        if self.finishing {
            return Err(CommandError::OutOfTurn);
        }
        self.finishing = true;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    type Way = fn(&mut Server, Input<'_>, &mut [u8]) -> Result<Step<Event>, Error>;

    /// Everything that goes back for `input`, and the events.
    fn reply(way: Way, mut input: &[u8], room: usize) -> (Vec<u8>, Vec<Event>) {
        let (mut server, mut sent, mut events) = (Server::new(), Vec::new(), Vec::new());
        loop {
            let mut output = std::vec![0; room];
            let step = way(&mut server, Input::open(input), &mut output).unwrap();
            input = &input[step.consumed..];
            sent.extend_from_slice(&output[..step.written]);
            match step.action {
                Action::Event(event) => events.push(event),
                Action::Need(Need::InputOrCommand | Need::Input) => return (sent, events),
                _ => {}
            }
        }
    }

    /// What small processors do alone has to be the same as what all do.
    #[test]
    fn the_short_way_and_the_long_one_say_the_same() {
        for text in
            ["", "short", "ten chars!", "Four score and seven years ago", "naïve café, naïve"]
        {
            let mut input = Vec::new();
            for _ in 0..3 {
                input.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                input.extend_from_slice(text.as_bytes());
            }
            for room in [4, 5, 20, 100] {
                let long = reply(Server::pass_part, &input, room);
                assert_eq!(reply(Server::step, &input, room), long, "{text}");
                assert_eq!(long.1.len(), 3);
            }
        }
    }
}
