//! Length-prefixed messages that come back without their first ten characters.
//!
//! ```text
//!   either way   length: u32, big-endian   payload: `length` bytes       any length, 0 included
//! ```
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

use crate::wire::{Dissect, Dissected, Escaped, LENGTH_BYTES, length_of};

/// So many characters the server removes from the front of each payload.
pub const REMOVED_CHARS: usize = 10;

/// So many bytes they take at the most: a UTF-8 character has up to four.
pub const REMOVED_BYTES: usize = 40;

/// What either end sends, for traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Messages {
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

impl Dissect for Messages {
    type Message<'b> = Part<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<Part<'b>> {
        let (length, rest, remaining) = if self.remaining > 0 {
            (None, bytes, self.remaining)
        } else {
            match length_of(bytes) {
                Some((length, rest)) => (Some(length), rest, length),
                None => return Dissected::Partial(LENGTH_BYTES),
            }
        };
        if length.is_none() && bytes.is_empty() {
            return Dissected::Partial(1);
        }
        let (payload, left) = take(rest, remaining);
        self.remaining = left;
        let header = if length.is_some() { LENGTH_BYTES } else { 0 };
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

/// So many bytes of payload, and the header before them.
fn whole(length: u32) -> u64 {
    u64::from(length).saturating_add(4)
}
