//! Length-prefixed messages that come back without their first ten characters.
//!
//! Document 003 defines the message, which is the same in both directions:
//!
//! ```text
//!   0         4                 4 + length
//!   +---------+-----------------+
//!   | length  | payload         |    length: u32, big-endian, 0 to 2^32 - 1
//!   +---------+-----------------+
//! ```
//!
//! Some published programs use lengths of 2 bytes. The machines support them with the parameter
//! `HEADER`, the size of a length in bytes: `Client::<2>` and `Server::<2>`. It is a parameter of the
//! type, so the common size costs nothing at run time.
//!
//! The reply to a message is its payload without the first ten characters (Unicode scalar values, not
//! bytes). The reply to a shorter payload is empty. Several messages may be in flight. Replies arrive
//! in the order of their messages.
//!
//! ```text
//!   server                                      client, receiving
//!
//!      .-- rest of the payload --.                 .-- rest of the reply --.
//!      v                         |                 v                       |
//!   Header -- length, first -> Payload          Header ---- length ----> Payload
//!      |      ten characters                       |
//!   Finish or close                             Finish, and no message
//!      |                                        in flight
//!      v                                           v
//!    Over                                        Over
//! ```
//!
//! Neither end stores a payload. Payloads of any length pass through the caller's buffers.

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::wire::{Dissect, Dissected, Escaped, LENGTH_BYTES, Truncated, front, length_of};

/// Number of characters that the server removes from the front of each payload (document 003).
pub const REMOVED_CHARS: usize = 10;

/// Size in bytes of the longest text of [`REMOVED_CHARS`]. A character in UTF-8 has up to 4 bytes
/// (RFC 3629).
pub const REMOVED_BYTES: usize = 40;

/// Dissector of what either end sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Messages<const HEADER: usize = LENGTH_BYTES> {
    /// Number of payload bytes of the current message that have not arrived.
    remaining: u32,
}

/// Dissector of what a client sends.
pub type ClientBytes<const HEADER: usize = LENGTH_BYTES> = Messages<HEADER>;

/// Dissector of what a server sends.
pub type ServerBytes<const HEADER: usize = LENGTH_BYTES> = Messages<HEADER>;

/// Message or part of a message, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Part<'b> {
    /// Length of the payload in bytes, if this part starts the message.
    pub length: Option<u32>,
    /// Payload in this part.
    pub payload: &'b [u8],
    /// Number of payload bytes that follow in later parts.
    pub remaining: u32,
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Number of payload bytes that fit in a line of a trace.
        const SHOWN: usize = 48;
        match self.length {
            Some(length) => write!(f, "message of {length}")?,
            None => write!(f, "{} more of it", self.payload.len())?,
        }
        if let Some(shown) = front(self.payload, SHOWN) {
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
        let (payload, remaining) = take(rest, remaining);
        self.remaining = remaining;
        let header = if length.is_some() { HEADER } else { 0 };
        let bytes = header.saturating_add(payload.len());
        Dissected::Message(bytes, Part { length, payload, remaining })
    }
}

/// Returns the first `remaining` bytes of `bytes`, or all if there are fewer, and the number of bytes
/// that are missing.
#[inline]
fn take(bytes: &[u8], remaining: u32) -> (&[u8], u32) {
    // The conversion can fail: a `usize` may have 16 bits, and 2^32 - 1 is a valid length.
    let n = usize::try_from(remaining).unwrap_or(usize::MAX);
    match bytes.get(..n) {
        Some(all) => (all, 0),
        None => {
            let n = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (bytes, remaining.saturating_sub(n))
        }
    }
}

/// Returns the size in bytes of a message with `length` bytes of payload, header included.
fn whole<const HEADER: usize>(length: u32) -> u64 {
    u64::from(length).saturating_add(if HEADER == 2 { 2 } else { 4 })
}

/// Another encoding of a length that a peer probably sent. Common mistakes are lengths of 2 bytes and
/// the byte order of the peer's processor.
///
/// It serves error messages. The machines never act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct OtherLength {
    /// Value that was read.
    pub read: u32,
    /// Size in bytes of the length that was read.
    pub read_bytes: u8,
    /// Value that the peer probably meant.
    pub meant: u32,
    /// Size in bytes of the length that the peer probably sent. Payload follows it.
    pub bytes: u8,
    /// Whether the peer probably sent it in little-endian order.
    pub little_endian: bool,
}

impl OtherLength {
    /// Returns the likely encoding of a message that was truncated.
    fn of_truncated<const HEADER: usize>(cut: Truncated) -> Option<Self> {
        /// Greatest number of short messages that a peer is assumed to send before it waits for a
        /// reply. More bytes than that are more likely a long message.
        const MESSAGES: u64 = 64;
        let read = cut.want.checked_sub(whole::<HEADER>(0))?;
        Self::find::<HEADER>(u32::try_from(read).ok()?, |whole| {
            (whole..=whole.saturating_mul(MESSAGES)).contains(&cut.got)
        })
    }

    /// Returns the likely encoding. `fits` decides whether a message may have this size in bytes.
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
            // The second byte is not part of a payload of one byte: it starts the next length.
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

    /// Appends the hint, if there is one, to the text of an error.
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
        // Two calls with a constant width: formatting with a width from an argument contains a panic.
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

    fn hint<const HEADER: usize>(length: u32, payload: u64) -> Option<std::string::String> {
        let how = crate::machine::StreamEnd::Closed;
        let header = whole::<HEADER>(0);
        let cut = Truncated { how, got: header + payload, want: whole::<HEADER>(length) };
        OtherLength::of_truncated::<HEADER>(cut).map(|other| other.to_string())
    }

    #[test]
    fn a_length_in_another_encoding_is_recognised() {
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
            assert_eq!(hint::<4>(length, payload).as_deref(), Some(text));
        }
        let text = "length 0x0500: in little-endian order it would be 5";
        assert_eq!(hint::<2>(0x0500, 5).as_deref(), Some(text));
    }

    #[test]
    fn a_long_truncated_message_gives_no_hint() {
        for (length, payload) in [
            // Fewer bytes than a message in the other encoding has.
            (0x0005_6865, 2),
            (0x0500_0000, 4),
            (0x0500_6865, 2),
            // Many more bytes.
            (0x0005_6865, 100_000),
            // The bytes that would be payload are not text.
            (0x0005_0001, 3),
            (0x0005_6800, 3),
            (0, 0),
            (100, 99),
            (65_535, 10),
        ] {
            assert_eq!(hint::<4>(length, payload), None, "{length:#x}");
        }
        for (length, payload) in [(0x0500, 4), (0x0400, 500), (100, 99), (0x1234, 5)] {
            assert_eq!(hint::<2>(length, payload), None, "{length:#x}");
        }
    }
}
