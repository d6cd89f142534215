//! The server: returns each message without its first ten characters.

use core::fmt;

use super::{OtherLength, REMOVED_BYTES, REMOVED_CHARS, take, whole};
use crate::count;
use crate::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState, plain_event,
};
use crate::wire::{
    Byte, Bytes, LENGTH_BYTES, Prefix, Truncated, copy, length_of, prefix_of_chars, put_length,
};

/// Server of the echo protocol. 16 bytes, independent of the length of the messages.
///
/// It checks that the characters it removes are UTF-8. The rest of a payload may be any bytes.
///
/// `HEADER` is the size of a length on the wire in bytes: 4 or 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<const HEADER: usize = LENGTH_BYTES> {
    state: State,
    /// Whether the session ends after the current message.
    finishing: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    #[default]
    Header,
    /// The header of the reply has been written. `remaining` bytes of the payload, which has `length`
    /// bytes, have not been copied.
    Payload {
        length: u32,
        remaining: u32,
    },
    Over,
}

/// Command to the server, accepted once at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command {
    /// Ends the session after the current message, or at once between two messages.
    Finish,
}

/// Event of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A message has been received, and its whole reply has been written.
    Echoed {
        /// Length of the message's payload in bytes.
        length: u32,
    },
}

plain_event!(Event);

/// Why the session failed. A close between two messages is not an error: the session ends with
/// [`Action::Close`].
///
/// The text contains a hint if the client probably sent lengths in [another
/// encoding](Self::other_length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<const HEADER: usize = LENGTH_BYTES> {
    /// The first ten characters of a payload are not UTF-8.
    NotUtf8 {
        /// First byte of the invalid sequence.
        byte: u8,
        /// Offset of that byte in the payload, counted from 0.
        at: usize,
    },
    /// The payload ends in the middle of one of its first ten characters.
    CutCharacter {
        /// Length of the payload in bytes.
        length: u32,
    },
    /// The stream ended in the middle of a message, or without an orderly close.
    Truncated(Truncated),
}

impl<const HEADER: usize> Error<HEADER> {
    /// Returns the encoding that the client probably used for a length, if it looks like another one
    /// than big-endian with `HEADER` bytes.
    #[must_use]
    pub fn other_length(&self) -> Option<OtherLength> {
        match *self {
            Self::Truncated(cut) => OtherLength::of_truncated::<HEADER>(cut),
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
                "the client broke the protocol: a payload of {} ends in the middle of a character",
                Bytes(length.into())
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
    /// Returns a server at the start of a session, with lengths of 4 bytes.
    // Not generic: a caller need not write out the type for the common size.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_header()
    }
}

impl<const HEADER: usize> Server<HEADER> {
    /// Returns a server at the start of a session, with lengths of `HEADER` bytes.
    #[must_use]
    pub const fn with_header() -> Self {
        Self { state: State::Header, finishing: false }
    }

    /// Echoes a complete message that starts with ten ASCII characters, if its reply fits in the
    /// output. Returns `None` for any other input.
    ///
    /// Most messages are like this. A function of its own keeps the loop of a driver small.
    #[inline]
    fn echo_whole(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step<Event>> {
        let (length, payload) = length_of::<HEADER>(input)?;
        // A shorter payload is left to `echo_part`: its first chunk would need a loop here.
        let is_ascii = payload.first_chunk::<REMOVED_CHARS>()?.is_ascii();
        if self.state != State::Header || !is_ascii {
            return None;
        }
        let all = usize::try_from(length).ok()?;
        let rest = payload.get(all.min(REMOVED_CHARS)..all)?;
        // If the rest does not fit, `echo_part` writes the same header.
        let space = put_length::<HEADER>(u32::try_from(rest.len()).ok()?, output)?;
        copy(rest, space.get_mut(..rest.len())?);
        let written = rest.len().saturating_add(HEADER);
        Some(Step::new(all.saturating_add(HEADER), written, self.end_message(length)))
    }

    /// Echoes part of a message: the header of the reply, or as much payload as is available and fits.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn echo_part(
        &mut self,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Result<Step<Event>, Error<HEADER>> {
        let progress = match self.state {
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
        let (length, remaining, consumed, written) = match progress {
            Ok(progress) => progress,
            Err(need) => return self.incomplete(input, need),
        };
        self.state = State::Payload { length, remaining };
        let action = if remaining == 0 { self.end_message(length) } else { Action::Continue };
        Ok(Step::new(consumed, written, action))
    }

    /// Ends the current message, which has been echoed completely.
    #[inline]
    fn end_message(&mut self, length: u32) -> Action<Event> {
        self.state = if self.finishing { State::Over } else { State::Header };
        Action::Event(Event::Echoed { length })
    }

    /// Handles a step that cannot advance without `need`: asks for it, or handles the end of the stream.
    #[cold]
    #[inline(never)]
    fn incomplete(
        &mut self,
        Input { bytes, state }: Input<'_>,
        need: Need,
    ) -> Result<Step<Event>, Error<HEADER>> {
        let action = match (self.state, state) {
            _ if need == Need::OutputSpace => Action::Need(need),
            (State::Over, _) => Action::Close,
            // Only without a byte of the next header: otherwise a message has started.
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
                    // The header may be incomplete. Then its size is all that is known to be expected.
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

/// Progress in a message: its length, the number of payload bytes that remain, and the numbers of bytes
/// consumed and written. Otherwise what is needed first.
type Progress = Result<(u32, u32, usize, usize), Need>;

/// Starts a message: writes the header of its reply once its first ten characters are available.
// Inlined on small processors, because returning the result costs more flash than the call saves.
#[cfg_attr(not(target_pointer_width = "64"), inline(always))]
fn begin<const HEADER: usize>(input: &[u8], output: &mut [u8]) -> Result<Progress, Error<HEADER>> {
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
        // `echo_part` alone does the same. On small processors flash matters more than this speed.
        if cfg!(target_pointer_width = "64")
            && let Some(step) = self.echo_whole(input.bytes, output)
        {
            return Ok(step);
        }
        self.echo_part(input, output)
    }

    fn command(&mut self, Command::Finish: Command, _: &mut [u8]) -> Result<usize, CommandError> {
        // A repeated `Finish` is an error. If it were accepted, an application that always gives it
        // would keep the pump busy without progress.
        if self.finishing {
            return Err(CommandError::OutOfTurn);
        }
        self.finishing = true;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    type StepFn = fn(&mut Server, Input<'_>, &mut [u8]) -> Result<Step<Event>, Error>;

    /// Returns all bytes sent in reply to `input`, and the events.
    fn reply(step: StepFn, mut input: &[u8], space: usize) -> (Vec<u8>, Vec<Event>) {
        let (mut server, mut sent, mut events) = (Server::new(), Vec::new(), Vec::new());
        loop {
            let mut output = std::vec![0; space];
            let step = step(&mut server, Input::open(input), &mut output).unwrap();
            input = &input[step.consumed..];
            sent.extend_from_slice(&output[..step.written]);
            match step.action {
                Action::Event(event) => events.push(event),
                Action::Need(Need::InputOrCommand | Need::Input) => return (sent, events),
                _ => {}
            }
        }
    }

    #[test]
    fn error_texts_have_the_right_plural_forms() {
        // A character can only be cut if the payload is not empty.
        for (length, bytes) in [(1, "1 byte"), (2, "2 bytes")] {
            assert_eq!(
                Error::<4>::CutCharacter { length }.to_string(),
                std::format!(
                    "the client broke the protocol: a payload of {bytes} ends in the middle of a \
                     character"
                )
            );
        }
    }

    /// Small processors use only `echo_part`, others both.
    #[test]
    fn both_ways_to_echo_a_message_give_the_same_bytes_and_events() {
        for text in
            ["", "short", "ten chars!", "Four score and seven years ago", "naïve café, naïve"]
        {
            let mut input = Vec::new();
            for _ in 0..3 {
                input.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                input.extend_from_slice(text.as_bytes());
            }
            for space in [4, 5, 20, 100] {
                let expected = reply(Server::echo_part, &input, space);
                assert_eq!(reply(Server::step, &input, space), expected, "{text}");
                assert_eq!(expected.1.len(), 3);
            }
        }
    }
}
