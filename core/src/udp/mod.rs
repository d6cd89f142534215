//! Datagrams that come back without their first ten characters.
//!
//! Document 003 describes datagram sockets beside stream sockets, and the exercise is the same as
//! [`echo`](crate::echo), without a length: one datagram is one message.
//!
//! ```text
//!   client -> server    +----------------------+
//!                       | message              |    0 to 65,507 bytes
//!                       +----------------------+
//!   server -> client    +-----------+
//!                       | its rest  |               without its first ten characters (Unicode scalar values)
//!                       +-----------+
//! ```
//!
//! The reply to a message of ten characters or fewer is empty. Datagrams can be lost, duplicated and
//! reordered, and anyone can send one. So the client sends a message again if no reply has come in
//! time, and matches a reply by its sender and its content.
//!
//! ```text
//!   client                                            server
//!
//!     Idle -------- send ---------> Waiting             no state: each datagram
//!      ^                             |    |             is answered by itself
//!      |                             |    | time-out,
//!      +-- reply; time-out after --- +    | retries left:
//!          the last retry                 +- send again
//! ```
//!
//! What this protocol cannot know: two messages with the same rest have the same reply. If the first
//! one was sent again, or the network duplicated it, its second reply may be taken for that of the next one.
//! The event [says so](client::Event::Reply), as long as the client remembers the first one.
//!
//! Nor can it know who sent a datagram: an address can be forged. Someone who knows the address of a client and the
//! content of its message can answer it. A server can be made to answer someone who did not ask, with no more
//! bytes than it received, and [two servers](Server#loops) to answer each other.

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::wire::{
    Dissect, Dissected, Escaped, LENGTH_BYTES, Prefix, Transport, front, prefix_of_chars,
};

pub use crate::echo::REMOVED_CHARS;

/// Dissector of what either end sends: what it is given at a time is one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Datagrams;

/// Dissector of what a client sends.
pub type ClientBytes = Datagrams;

/// Dissector of what a server sends.
pub type ServerBytes = Datagrams;

/// Datagram, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'b>(
    /// Payload of the datagram.
    pub &'b [u8],
);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Number of bytes that fit in a line of a trace.
        const SHOWN: usize = 48;
        write!(f, "datagram of {}", self.0.len())?;
        match front(self.0, SHOWN) {
            Some(shown) => write!(f, " \"{}\"...", Escaped(shown)),
            None => write!(f, " \"{}\"", Escaped(self.0)),
        }
    }
}

impl Dissect for Datagrams {
    type Message<'b> = Message<'b>;

    const TRANSPORT: Transport = Transport::Datagrams;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<Message<'b>> {
        if bytes.is_empty() {
            // Nothing can be taken. The caller shows an empty datagram itself, as `Message(b"")`.
            return Dissected::Partial(1);
        }
        Dissected::Message(bytes.len(), Message(bytes))
    }
}

/// Returns what the reply to a message contains, or `None` if its first ten characters are not UTF-8:
/// a server does not answer that.
#[must_use]
pub fn reply_to(message: &[u8]) -> Option<&[u8]> {
    match prefix_of_chars(message, REMOVED_CHARS) {
        Prefix::Whole(n) => message.get(n..),
        Prefix::Short => Some(&[]),
        Prefix::Truncated | Prefix::Invalid(_) => None,
    }
}

/// What a server probably does wrong, shown by a reply that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Mistake {
    /// The whole message came back.
    NothingRemoved,
    /// Ten bytes are missing instead of ten characters.
    TenBytes,
    /// Another number of characters is missing from the front.
    OtherCount(usize),
    /// Only the removed characters came back.
    FirstTen,
    /// The reply begins with a length, as in a stream.
    Length,
    /// The end of the reply is missing: this number of bytes.
    Short(usize),
    /// White space at an end of the reply is missing.
    Stripped,
    /// The reply is followed by more, such as a newline: this number of bytes.
    Longer(usize),
}

impl Mistake {
    /// Returns the mistake that explains `reply` to `message`, if one does.
    #[must_use]
    pub fn of(message: &[u8], reply: &[u8]) -> Option<Self> {
        let right = reply_to(message)?;
        if reply == right {
            return None;
        }
        let removed = message.get(..message.len().wrapping_sub(right.len())).unwrap_or_default();
        if reply == message {
            return Some(Self::NothingRemoved);
        }
        if reply.strip_prefix(right).is_some_and(|more| more.len() <= 2) {
            return Some(Self::Longer(reply.len().wrapping_sub(right.len())));
        }
        if message.get(REMOVED_CHARS..).is_some_and(|rest| reply == rest) {
            return Some(Self::TenBytes);
        }
        if !reply.is_empty() && reply == removed {
            return Some(Self::FirstTen);
        }
        let body = reply.get(LENGTH_BYTES..);
        if body.is_some_and(|body| body == right || body == message) {
            return Some(Self::Length);
        }
        if reply == right.trim_ascii() || reply == right.trim_ascii_end() {
            return Some(Self::Stripped);
        }
        if !reply.is_empty() && message.ends_with(reply) {
            let front = message.get(..message.len().wrapping_sub(reply.len()))?;
            // The starts of characters. Whether they are whole is not checked: `from_utf8` costs flash.
            let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
            let starts =
                front.iter().fold(0, |n: usize, byte| n.wrapping_add((!is_inside(byte)).into()));
            return (!reply.first().is_some_and(is_inside)).then_some(Self::OtherCount(starts));
        }
        right.strip_prefix(reply).map(|missing| Self::Short(missing.len()))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NothingRemoved => f.write_str("the whole message came back, nothing was removed"),
            Self::TenBytes => f.write_str("ten bytes were removed instead of ten characters"),
            Self::OtherCount(n) => write!(f, "{n} characters were removed instead of ten"),
            Self::FirstTen => f.write_str("the first ten characters came back instead of the rest"),
            Self::Length => f.write_str(
                "the reply begins with a length, but a datagram is one message without one",
            ),
            Self::Short(n) => write!(f, "the last {n} of its bytes are missing"),
            Self::Stripped => f.write_str("white space at its ends is missing"),
            Self::Longer(n) => {
                write!(f, "{n} more than the rest of the message: a newline, perhaps")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_reply_is_the_message_without_its_first_ten_characters() {
        assert_eq!(reply_to(b"Four score and seven"), Some(&b" and seven"[..]));
        assert_eq!(reply_to(b"ten chars!"), Some(&b""[..]));
        assert_eq!(reply_to(b"short"), Some(&b""[..]));
        assert_eq!(reply_to(b""), Some(&b""[..]));
        assert_eq!(reply_to("äöüäöüäöüäö".as_bytes()), Some("ö".as_bytes()));
        // The rest may be any bytes.
        assert_eq!(reply_to(b"0123456789\xff\x00"), Some(&b"\xff\x00"[..]));
        assert_eq!(reply_to(b"012345678\xff"), None);
        assert_eq!(reply_to(b"012345678\xc3"), None);
    }

    #[test]
    fn a_probable_mistake_is_named() {
        let message = "Fünf score and seven ".as_bytes();
        let rest = &b" and seven "[..];
        let of = |reply: &[u8]| Mistake::of(message, reply);
        assert_eq!(of(rest), None);
        assert_eq!(of(message), Some(Mistake::NothingRemoved));
        assert_eq!(of(&message[10..]), Some(Mistake::TenBytes));
        assert_eq!(of(&message[12..]), Some(Mistake::OtherCount(11)));
        assert_eq!(of("Fünf score".as_bytes()), Some(Mistake::FirstTen));
        assert_eq!(of(&[b"\0\0\0\x0b", rest].concat()), Some(Mistake::Length));
        assert_eq!(of(b" and"), Some(Mistake::Short(7)));
        assert_eq!(of(b""), Some(Mistake::Short(11)));
        assert_eq!(of(b"and seven"), Some(Mistake::Stripped));
        assert_eq!(of(&[rest, b"\n"].concat()), Some(Mistake::Longer(1)));
        assert_eq!(of(b"something else"), None);
        assert_eq!(Mistake::of(b"\xff", b""), None);
        assert_eq!(
            Mistake::OtherCount(11).to_string(),
            "11 characters were removed instead of ten"
        );
    }

    #[test]
    fn a_trace_shows_the_start_of_a_datagram() {
        assert_eq!(Message(b"a\n").to_string(), "datagram of 2 \"a\\x0a\"".replace("\\x0a", "\n"));
        let long = Message(&[b'x'; 49]).to_string();
        assert_eq!(long, std::format!("datagram of 49 \"{}\"...", "x".repeat(48)));
        assert_eq!(Message(b"").to_string(), "datagram of 0 \"\"");
    }
}
