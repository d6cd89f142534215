//! Dissectors of both directions.

use core::fmt;

use super::{CRC_BYTES, FOUND, Form, Malformed, REFUSED, Request, SIZE_BYTES};
use crate::wire::{Byte, Bytes, Dissect, Dissected, Escaped, LineMessage, LineMessages, front};

/// Number of bytes of a name or reason that fit in a line of a trace.
const SHOWN: usize = 64;

/// Text of a peer, escaped and cut for a line of a trace.
struct Shown<'b>(&'b [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match front(self.0, SHOWN) {
            Some(shown) => write!(f, "\"{}\"...", Escaped(shown)),
            None => write!(f, "\"{}\"", Escaped(self.0)),
        }
    }
}

/// Dissector of what a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClientBytes {
    lines: LineMessages,
    /// Whether a name without a newline is a message too.
    bare: bool,
}

impl ClientBytes {
    /// Returns a dissector for a client that sends its name in one piece, perhaps without a newline.
    /// What one call of [`dissect`](Dissect::dissect) gets is then a whole name.
    #[must_use]
    pub fn bare() -> Self {
        Self { lines: LineMessages::default(), bare: true }
    }
}

/// Message of a client, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RequestMessage<'b> {
    /// A request.
    Request(Request<&'b [u8]>),
    /// The newline of a name that was sent before.
    Newline,
    /// A line that is not a request, or a part of a line that is too long.
    Malformed(Malformed, &'b [u8]),
}

impl fmt::Display for RequestMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(Request { name, form }) => {
                write!(f, "fetch {}", Shown(name))?;
                match form {
                    Form::Plain => f.write_str(", plain"),
                    Form::Checked { offset: 0 } => f.write_str(", checked"),
                    Form::Checked { offset } => write!(f, ", checked, from byte {offset} on"),
                }
            }
            Self::Newline => f.write_str("the newline behind the name"),
            Self::Malformed(_, line) => write!(f, "not a request: {}", Shown(line)),
        }
    }
}

impl Dissect for ClientBytes {
    type Message<'b> = RequestMessage<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<RequestMessage<'b>> {
        match self.lines.dissect(bytes) {
            Dissected::Message(n, LineMessage::Line([])) if self.bare => {
                Dissected::Message(n, RequestMessage::Newline)
            }
            Dissected::Partial(_) | Dissected::Unterminated if self.bare => {
                self.lines = LineMessages::default();
                let request = Request { name: bytes, form: Form::Plain };
                Dissected::Message(bytes.len(), RequestMessage::Request(request))
            }
            Dissected::Message(n, LineMessage::Line(text)) => {
                let message = match Request::parse(text) {
                    Ok(request) => RequestMessage::Request(request),
                    Err(e) => RequestMessage::Malformed(e, text),
                };
                Dissected::Message(n, message)
            }
            Dissected::Message(n, LineMessage::TooLong(part) | LineMessage::More(part)) => {
                Dissected::Message(n, RequestMessage::Malformed(Malformed::TooLong, part))
            }
            Dissected::Partial(_) | Dissected::Unterminated => Dissected::Unterminated,
        }
    }
}

/// Dissector of what a server sends.
///
/// The meaning of the bytes depends on the request: see [`to`](Self::to). The default is the reply to a
/// checked request with offset 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerBytes {
    next: Next,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Next {
    Reply {
        offset: u64,
    },
    Reason(LineMessages),
    Body {
        remaining: u64,
    },
    Crc,
    /// Bytes of a file in the plain form.
    Plain,
    /// No more bytes are expected.
    Nothing,
    /// The bytes are not a message, and those that follow cannot be one. Contains the first of them.
    Unknown(u8),
}

impl Default for ServerBytes {
    fn default() -> Self {
        Self::to(Form::Checked { offset: 0 })
    }
}

impl ServerBytes {
    /// Returns a dissector for the reply to a request of this form.
    #[must_use]
    pub const fn to(form: Form) -> Self {
        Self {
            next: match form {
                Form::Plain => Next::Plain,
                Form::Checked { offset } => Next::Reply { offset },
            },
        }
    }
}

/// Message of a server or part of a message, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ServerMessage<'b> {
    /// The server has the file. Contains its size in bytes.
    Found(u64),
    /// First byte of a refusal.
    Refused,
    /// Reason of a refusal, or a part of a reason that is too long.
    Reason(&'b [u8]),
    /// Bytes of the file.
    Body {
        /// Number of bytes in this part.
        bytes: usize,
        /// Number of bytes that follow in later parts. `None` in the plain form, where it is unknown.
        remaining: Option<u64>,
    },
    /// CRC-32 of the whole file.
    Crc(u32),
    /// Bytes of no other kind, or more of them. Contains the byte with which they start.
    Unknown(u8),
}

impl fmt::Display for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(size) => write!(f, "+ a file of {}", Bytes(*size)),
            Self::Refused => f.write_str("- refused"),
            Self::Reason(text) => write!(f, "because: {}", Shown(text)),
            Self::Body { bytes, remaining } => {
                let s = if *bytes == 1 { "" } else { "s" };
                write!(f, "{bytes} byte{s} of the file")?;
                match remaining {
                    None | Some(0) => Ok(()),
                    Some(remaining) => write!(f, ", {remaining} to come"),
                }
            }
            Self::Crc(crc) => write!(f, "CRC-32 {crc:08x}"),
            Self::Unknown(byte) => write!(f, "not a message: it starts with {}", Byte(*byte)),
        }
    }
}

impl Dissect for ServerBytes {
    type Message<'b> = ServerMessage<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<ServerMessage<'b>> {
        let [first, ..] = bytes else { return Dissected::Partial(1) };
        let unknown = Dissected::Message(bytes.len(), ServerMessage::Unknown(*first));
        match &mut self.next {
            Next::Unknown(first) => Dissected::Message(bytes.len(), ServerMessage::Unknown(*first)),
            Next::Plain => {
                let message = ServerMessage::Body { bytes: bytes.len(), remaining: None };
                Dissected::Message(bytes.len(), message)
            }
            Next::Reply { offset } => match (first, bytes.get(1..).and_then(<[u8]>::first_chunk)) {
                (&REFUSED, _) => {
                    self.next = Next::Reason(LineMessages::inside());
                    Dissected::Message(1, ServerMessage::Refused)
                }
                (&FOUND, Some(size)) => {
                    let size = u64::from_be_bytes(*size);
                    self.next = match size.saturating_sub(*offset) {
                        0 => Next::Crc,
                        remaining => Next::Body { remaining },
                    };
                    Dissected::Message(1 + SIZE_BYTES, ServerMessage::Found(size))
                }
                (&FOUND, None) => Dissected::Partial(1 + SIZE_BYTES),
                _ => {
                    self.next = Next::Unknown(*first);
                    unknown
                }
            },
            Next::Reason(lines) => match lines.dissect(bytes) {
                Dissected::Message(n, message) => {
                    let (LineMessage::Line(text)
                    | LineMessage::TooLong(text)
                    | LineMessage::More(text)) = message;
                    // A part of a reason takes no more bytes than its text. The newline ends the reason.
                    if n > text.len() {
                        self.next = Next::Nothing;
                    }
                    Dissected::Message(n, ServerMessage::Reason(text))
                }
                Dissected::Partial(_) | Dissected::Unterminated => Dissected::Unterminated,
            },
            Next::Body { remaining } => {
                let n = usize::try_from(*remaining).unwrap_or(usize::MAX).min(bytes.len());
                let after = remaining.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
                *remaining = after;
                if after == 0 {
                    self.next = Next::Crc;
                }
                Dissected::Message(n, ServerMessage::Body { bytes: n, remaining: Some(after) })
            }
            Next::Crc => match bytes.first_chunk() {
                Some(crc) => {
                    self.next = Next::Nothing;
                    Dissected::Message(CRC_BYTES, ServerMessage::Crc(u32::from_be_bytes(*crc)))
                }
                None => Dissected::Partial(CRC_BYTES),
            },
            Next::Nothing => {
                self.next = Next::Unknown(*first);
                unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn messages<D: Dissect>(mut dissector: D, mut bytes: &[u8]) -> Vec<String> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            match dissector.dissect(bytes) {
                Dissected::Message(n, message) => {
                    messages.push(message.to_string());
                    bytes = bytes.get(n..).unwrap();
                }
                Dissected::Partial(want) => {
                    assert!(want > bytes.len());
                    messages.push("...".to_string());
                    break;
                }
                Dissected::Unterminated => {
                    messages.push("...".to_string());
                    break;
                }
            }
        }
        messages
    }

    #[test]
    fn requests_are_shown() {
        let line = b"a\x1b\0v1\x007\nf\nf\0v1\x000\nx\0y\nz";
        assert_eq!(
            messages(ClientBytes::default(), line),
            [
                "fetch \"a\\x1b\", checked, from byte 7 on",
                "fetch \"f\", plain",
                "fetch \"f\", checked",
                "not a request: \"x\\x00y\"",
                "...",
            ]
        );
    }

    #[test]
    fn a_name_without_newline_is_a_message() {
        let mut bare = ClientBytes::bare();
        let bytes: &[u8] = b"notes";
        let Dissected::Message(5, message) = bare.dissect(bytes) else { panic!("none") };
        assert_eq!(message.to_string(), "fetch \"notes\", plain");
        assert_eq!(messages(bare, b"\n"), ["the newline behind the name"]);
    }

    #[test]
    fn replies_are_shown_in_the_form_of_their_request() {
        let reply = b"+\0\0\0\0\0\0\0\x05cde\x01\x02\x03\x04!";
        assert_eq!(
            messages(ServerBytes::to(Form::Checked { offset: 2 }), reply),
            [
                "+ a file of 5 bytes",
                "3 bytes of the file",
                "CRC-32 01020304",
                "not a message: it starts with 0x21 ('!')",
            ]
        );
        assert_eq!(messages(ServerBytes::to(Form::Plain), reply), ["17 bytes of the file"]);
        assert_eq!(messages(ServerBytes::default(), b"-no\n"), ["- refused", "because: \"no\""]);
    }
}
