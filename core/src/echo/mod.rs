//! Length-prefixed messages that come back without their first ten characters.
//!
//! ```text
//!   either way   length: u32, big-endian   payload: `length` bytes       any length, 0 included
//! ```
//!
//! Programs with lengths of 2 bytes exist too. For them the machines have a parameter, `HEADER`:
//! `Client::<2>`, `Server::<2>`. It is one of the type, so that the width costs nothing at run time.
//!
//! The reply to a message is its payload with the first ten characters (Unicode scalar values,
//! not bytes) removed; a shorter payload comes back empty. Many messages may be in flight, replies
//! come in order.
//!
//! ```text
//!   server                                        client
//!
//!     .-> Header --first 40 bytes at most--.        .-> Header --reply's length--.
//!     |     |                              v        |     |                      v
//!     |   Finish                        Payload     |   Finish                Payload
//!     |     v                              |        |     v                      |
//!     |    Over                            |        |    Over                    |
//!     '------ length and rest sent --------'        '------ all of it came ------'
//! ```
//!
//! Neither end holds more than a header: payloads stream through, whatever their length.

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::wire::{Dissect, Dissected, Escaped, LENGTH_BYTES, Truncated, length_of};

/// So many characters the server removes from the front of each payload.
pub const REMOVED_CHARS: usize = 10;

/// So many bytes they take at the most: a UTF-8 character has up to four.
pub const REMOVED_BYTES: usize = 40;

/// What either end sends, for traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Messages<const HEADER: usize = LENGTH_BYTES> {
    remaining: u32,
}

/// A message, or a part of one that came in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Part<'b> {
    /// The message's length when this part starts it.
    pub length: Option<u32>,
    /// The payload in this part.
    pub payload: &'b [u8],
    /// So many bytes of payload are still to come.
    pub remaining: u32,
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// So much of a payload a line of a trace can take.
        const SHOWN: usize = 48;
        match self.length {
            Some(length) => write!(f, "message of {length}")?,
            None => write!(f, "{} more of it", self.payload.len())?,
        }
        if let Some(shown) = self.payload.get(..SHOWN) {
            write!(f, " \"{}\"...", Escaped(shown))?;
        } else {
            write!(f, " \"{}\"", Escaped(self.payload))?;
        }
        if self.remaining > 0 {
            write!(f, ", {} to come", self.remaining)?;
        }
        Ok(())
    }
}

impl<const HEADER: usize> Dissect for Messages<HEADER> {
    type Message<'b> = Part<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<Part<'b>> {
        let (length, rest, remaining) = if self.remaining > 0 {
            (None, bytes, self.remaining)
        } else {
            match length_of::<HEADER>(bytes) {
                Some((length, rest)) => (Some(length), rest, length),
                None => return Dissected::Partial(HEADER),
            }
        };
        if length.is_none() && bytes.is_empty() {
            return Dissected::Partial(1);
        }
        let (payload, left) = take(rest, remaining);
        self.remaining = left;
        let header = if length.is_some() { HEADER } else { 0 };
        let taken = header.saturating_add(payload.len());
        Dissected::Message(taken, Part { length, payload, remaining: left })
    }
}

/// The first `remaining` of `bytes`, or as many as there are, and how many are missing then.
#[inline]
fn take(bytes: &[u8], remaining: u32) -> (&[u8], u32) {
    // A `usize` may have 16 bits, and 2^32 - 1 is a legal length.
    let n = usize::try_from(remaining).unwrap_or(usize::MAX);
    match bytes.get(..n) {
        Some(all) => (all, 0),
        None => {
            let n = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (bytes, remaining.saturating_sub(n))
        }
    }
}

/// Number of bytes of a message with `length` bytes of payload: the header counts.
fn whole<const HEADER: usize>(length: u32) -> u64 {
    u64::from(length).saturating_add(if HEADER == 2 { 2 } else { 4 })
}

/// A kind of length that a peer has probably sent instead of the agreed one. Programs that are not quite
/// right use 2 bytes, or the byte order of their own processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OtherLength {
    /// The length as it was read.
    pub read: u32,
    /// The size of a length in bytes with which it was read.
    pub read_bytes: u8,
    /// The length that was probably meant.
    pub meant: u32,
    /// The size in bytes of the length that was probably meant. The bytes behind it are payload.
    pub bytes: u8,
    /// Whether it was probably sent in little-endian order.
    pub little_endian: bool,
}

// For texts, after the fact: the machines never guess.
impl OtherLength {
    /// Returns the likely one for a message that was cut.
    fn of_cut<const HEADER: usize>(cut: Truncated) -> Option<Self> {
        /// One who waits for the reply to a short message has not sent many of them.
        const MESSAGES: u64 = 64;
        let read = cut.want.checked_sub(whole::<HEADER>(0))?;
        Self::find::<HEADER>(u32::try_from(read).ok()?, |whole| {
            (whole..=whole.saturating_mul(MESSAGES)).contains(&cut.got)
        })
    }

    /// Returns the likely one among those whose whole message may have a size as told by `fits`.
    fn find<const HEADER: usize>(read: u32, fits: impl Fn(u64) -> bool) -> Option<Self> {
        let [a, b, text @ ..] = read.to_be_bytes();
        let [c, d] = text;
        let short = HEADER == 2;
        let other = |meant, bytes, little_endian| {
            let read_bytes = if short { 2 } else { 4 };
            let other = Self { read, read_bytes, meant, bytes, little_endian };
            let whole = u64::from(meant).saturating_add(bytes.into());
            (meant > 0 && meant < read && fits(whole)).then_some(other)
        };
        let two = |meant, little_endian| {
            let is_text = |byte: u8| byte >= b' ' && byte != 0x7f || byte.is_ascii_whitespace();
            // Of a payload of one byte the second is not part: the next length begins with it.
            let is_likely = short || is_text(c) && (meant == 1 || is_text(d));
            if is_likely { other(u32::from(meant), 2, little_endian) } else { None }
        };
        if short {
            return two(u16::from_le_bytes(text), true);
        }
        two(u16::from_be_bytes([a, b]), false)
            .or_else(|| other(read.swap_bytes(), 4, true))
            .or_else(|| two(u16::from_le_bytes([a, b]), true))
    }

    /// Appends it to the text of an error.
    fn append(this: Option<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match this {
            Some(this) => write!(f, "; {this}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for OtherLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, read_bytes, meant, bytes, little_endian } = *self;
        // A width that is an argument could be too large, with a panic.
        if read_bytes == 2 {
            write!(f, "length {read:#06x}: ")?;
        } else {
            write!(f, "length {read:#010x}: ")?;
        }
        match (bytes == read_bytes, little_endian) {
            (true, _) => write!(f, "in little-endian order it would be {meant}"),
            (false, false) => {
                write!(f, "its first 2 bytes would be a 2-byte length of {meant}")
            }
            (false, true) => {
                write!(f, "its first 2 bytes would be a little-endian 2-byte length of {meant}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn cut<const HEADER: usize>(length: u32, payload: u64) -> Option<std::string::String> {
        let how = crate::machine::StreamEnd::Closed;
        let header = whole::<HEADER>(0);
        let cut = Truncated { how, got: header + payload, want: whole::<HEADER>(length) };
        OtherLength::of_cut::<HEADER>(cut).map(|other| other.to_string())
    }

    #[test]
    fn a_length_of_another_kind_is_named() {
        for (length, payload, text) in [
            (0x0005_6865, 3, "length 0x00056865: its first 2 bytes would be a 2-byte length of 5"),
            (0x0001_6800, 6, "length 0x00016800: its first 2 bytes would be a 2-byte length of 1"),
            (0x0003_c3a9, 1, "length 0x0003c3a9: its first 2 bytes would be a 2-byte length of 3"),
            (0x0500_0000, 5, "length 0x05000000: in little-endian order it would be 5"),
            (
                0x0500_6865,
                3,
                "length 0x05006865: its first 2 bytes would be a little-endian 2-byte length of 5",
            ),
        ] {
            assert_eq!(cut::<4>(length, payload).as_deref(), Some(text));
        }
        let text = "length 0x0500: in little-endian order it would be 5";
        assert_eq!(cut::<2>(0x0500, 5).as_deref(), Some(text));
    }

    #[test]
    fn a_long_message_that_was_cut_is_taken_for_what_it_is() {
        for (length, payload) in [
            // Less has come than a message of the other kind has.
            (0x0005_6865, 2),
            (0x0500_0000, 4),
            (0x0500_6865, 2),
            // Much more has.
            (0x0005_6865, 100_000),
            // What would be text is none.
            (0x0005_0001, 3),
            (0x0005_6800, 3),
            (0, 0),
            (100, 99),
            (65_535, 10),
        ] {
            assert_eq!(cut::<4>(length, payload), None, "{length:#x}");
        }
        for (length, payload) in [(0x0500, 4), (0x0400, 500), (100, 99), (0x1234, 5)] {
            assert_eq!(cut::<2>(length, payload), None, "{length:#x}");
        }
    }
}
