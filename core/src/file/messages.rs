//! What travels, for traces.

use core::fmt;

use super::{CRC_BYTES, FOUND, Form, Malformed, REFUSED, Request, SIZE_BYTES};
use crate::wire::{Byte, Dissect, Dissected, Escaped, LineMessage, LineMessages};

/// So much of a name or reason a line of a trace can take.
const SHOWN: usize = 64;

/// Bytes of a peer in a line of a trace.
struct Shown<'b>(&'b [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..SHOWN) {
            Some(shown) => write!(f, "\"{}\"...", Escaped(shown)),
            None => write!(f, "\"{}\"", Escaped(self.0)),
        }
    }
}

/// What a client sends, for traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClientBytes {
    lines: LineMessages,
    /// A name without a newline is a message too.
    bare: bool,
}

impl ClientBytes {
    /// What a client sends of which it is known that its name comes in one piece, perhaps without a
    /// newline.
    #[must_use]
    pub fn bare() -> Self {
        Self { lines: LineMessages::default(), bare: true }
    }
}

/// A line of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RequestMessage<'b> {
    /// A request.
    Request(Request<&'b [u8]>),
    /// The newline of a name that was sent before.
    Newline,
    /// A line that is none, or a part of one that is too long.
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
            Dissected::Message(taken, LineMessage::Line([])) if self.bare => {
                Dissected::Message(taken, RequestMessage::Newline)
            }
            Dissected::Partial(_) | Dissected::Unterminated if self.bare => {
                self.lines = LineMessages::default();
                let request = Request { name: bytes, form: Form::Plain };
                Dissected::Message(bytes.len(), RequestMessage::Request(request))
            }
            Dissected::Message(taken, LineMessage::Line(text)) => {
                let message = match Request::parse(text) {
                    Ok(request) => RequestMessage::Request(request),
                    Err(e) => RequestMessage::Malformed(e, text),
                };
                Dissected::Message(taken, message)
            }
            Dissected::Message(taken, LineMessage::TooLong(part) | LineMessage::More(part)) => {
                Dissected::Message(taken, RequestMessage::Malformed(Malformed::TooLong, part))
            }
            Dissected::Partial(_) | Dissected::Unterminated => Dissected::Unterminated,
        }
    }
}

/// What a server sends, for traces. What that is depends on what it was asked: see
/// [`to`](Self::to). Otherwise it is taken for the answer to a checked request for a whole file.
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
        left: u64,
    },
    Crc,
    /// The plain form's bytes.
    Plain,
    /// Nothing is to come.
    Nothing,
    /// Bytes that are not a message have come, of which this is the first: so is everything behind them.
    Unknown(u8),
}

impl Default for ServerBytes {
    fn default() -> Self {
        Self::to(Form::Checked { offset: 0 })
    }
}

impl ServerBytes {
    /// The answer to a request of this form.
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

/// A message of a server, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ServerMessage<'b> {
    /// It has the file, which has so many bytes.
    Found(u64),
    /// It starts a refusal.
    Refused,
    /// The reason, or a part of one that is too long.
    Reason(&'b [u8]),
    /// Bytes of the file.
    Body {
        /// So many.
        bytes: usize,
        /// So many more are to come; `None` in the plain form.
        left: Option<u64>,
    },
    /// The checksum.
    Crc(u32),
    /// Bytes that are none of these, or more of them, and the first of all.
    Unknown(u8),
}

impl fmt::Display for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(size) => write!(f, "+ a file of {size} bytes"),
            Self::Refused => f.write_str("- refused"),
            Self::Reason(text) => write!(f, "because: {}", Shown(text)),
            Self::Body { bytes, left: None | Some(0) } => write!(f, "{bytes} bytes of the file"),
            Self::Body { bytes, left: Some(left) } => {
                write!(f, "{bytes} bytes of the file, {left} to come")
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
                let message = ServerMessage::Body { bytes: bytes.len(), left: None };
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
                        left => Next::Body { left },
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
                Dissected::Message(taken, message) => {
                    let (LineMessage::Line(text)
                    | LineMessage::TooLong(text)
                    | LineMessage::More(text)) = message;
                    // All of it but its newline: then it continues.
                    if taken > text.len() {
                        self.next = Next::Nothing;
                    }
                    Dissected::Message(taken, ServerMessage::Reason(text))
                }
                Dissected::Partial(_) | Dissected::Unterminated => Dissected::Unterminated,
            },
            Next::Body { left } => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let after = left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
                *left = after;
                if after == 0 {
                    self.next = Next::Crc;
                }
                Dissected::Message(n, ServerMessage::Body { bytes: n, left: Some(after) })
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

    fn said<D: Dissect>(mut dissector: D, mut bytes: &[u8]) -> Vec<String> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            match dissector.dissect(bytes) {
                Dissected::Message(n, message) => {
                    said.push(message.to_string());
                    bytes = bytes.get(n..).unwrap();
                }
                Dissected::Partial(want) => {
                    assert!(want > bytes.len());
                    said.push("...".to_string());
                    break;
                }
                Dissected::Unterminated => {
                    said.push("...".to_string());
                    break;
                }
            }
        }
        said
    }

    #[test]
    fn requests_are_named() {
        let line = b"a\x1b\0v1\x007\nf\nf\0v1\x000\nx\0y\nz";
        assert_eq!(
            said(ClientBytes::default(), line),
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
    fn a_bare_name_is_a_message() {
        let mut bare = ClientBytes::bare();
        let bytes: &[u8] = b"notes";
        let Dissected::Message(5, message) = bare.dissect(bytes) else { panic!("none") };
        assert_eq!(message.to_string(), "fetch \"notes\", plain");
        assert_eq!(said(bare, b"\n"), ["the newline behind the name"]);
    }

    #[test]
    fn replies_are_named_as_they_were_asked_for() {
        let reply = b"+\0\0\0\0\0\0\0\x05cde\x01\x02\x03\x04!";
        assert_eq!(
            said(ServerBytes::to(Form::Checked { offset: 2 }), reply),
            [
                "+ a file of 5 bytes",
                "3 bytes of the file",
                "CRC-32 01020304",
                "not a message: it starts with 0x21 ('!')",
            ]
        );
        assert_eq!(said(ServerBytes::to(Form::Plain), reply), ["17 bytes of the file"]);
        assert_eq!(said(ServerBytes::default(), b"-no\n"), ["- refused", "because: \"no\""]);
    }
}
