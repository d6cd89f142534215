//! The math quiz: a server asks sums, a client answers, at the end there is a secret.
//!
//! ```text
//!   server -> client   'Q'  a: u32  b: u32      9 bytes, a question       (again and again)
//!   client -> server   a + b mod 2^32: u32      4 bytes, its answer
//!   server -> client   'S'  secret              9 bytes, once, then it closes
//! ```
//!
//! Integers are big-endian. The sum wraps, so its bits are the same whether the integers are read
//! as signed or unsigned. After a wrong answer the server closes at once, without the secret.
//!
//! ```text
//!   client                                    server
//!
//!     .----- Q: answer it -----.                 .--> Ready --Ask--> Waiting --wrong--> Over
//!     v                        |                 |      |               |
//!   Playing -------------------'                 |   Reveal           right
//!     |                                          |      v               |
//!     '----- S: tell it -----> Over              |     Over             |
//!                                                '----------------------'
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::wire::{Byte, Dissect, Dissected, Escaped};

/// A question: two numbers to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Question {
    /// The first number.
    pub a: u32,
    /// The second number.
    pub b: u32,
}

impl Question {
    /// The byte a question starts with.
    pub const TAG: u8 = b'Q';
    /// Its length on the wire: tag, `a`, `b`.
    pub const BYTES: usize = 9;

    /// The right answer: `a + b` modulo 2^32.
    #[inline]
    #[must_use]
    pub const fn sum(self) -> u32 {
        self.a.wrapping_add(self.b)
    }

    /// The question in these bytes. The tag is the caller's to check.
    #[inline]
    #[must_use]
    pub const fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [_, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
        Self { a: u32::from_be_bytes([a0, a1, a2, a3]), b: u32::from_be_bytes([b0, b1, b2, b3]) }
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub const fn emit(self) -> [u8; Self::BYTES] {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = self.body();
        [Self::TAG, a0, a1, a2, a3, b0, b1, b2, b3]
    }

    /// Its bytes behind the tag.
    #[inline]
    const fn body(self) -> [u8; 8] {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (self.a.to_be_bytes(), self.b.to_be_bytes());
        [a0, a1, a2, a3, b0, b1, b2, b3]
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q {} + {}", self.a, self.b)
    }
}

/// An answer's length on the wire.
pub const ANSWER_BYTES: usize = 4;

/// A likely reason why an answer is wrong: programs that are not quite right send these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mistake {
    /// The answer is right in little-endian byte order.
    LittleEndian,
    /// The answer is decimal text, right or wrong.
    Decimal,
}

impl Mistake {
    /// Returns the likely reason why `sent` is not the answer `expected`. `sent` is what came in its
    /// place: 4 bytes, or fewer if the client then waited or left.
    // For texts, after the fact: the machine itself only compares.
    #[must_use]
    pub fn find(sent: &[u8], expected: u32) -> Option<Self> {
        if *sent == expected.to_le_bytes() {
            return Some(Self::LittleEndian);
        }
        // With the end of a line, or of a string of C.
        let text = match sent.split(|byte| matches!(byte, b'\r' | b'\n' | 0)).next() {
            Some([b'-' | b'+', digits @ ..] | digits) => digits,
            None => &[],
        };
        let is_decimal = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        is_decimal.then_some(Self::Decimal)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LittleEndian => "it is right in little-endian order: send it big-endian",
            Self::Decimal => "it is decimal text: send 4 bytes, big-endian",
        })
    }
}

/// The secret phrase: 8 bytes, which need not be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Secret(pub [u8; 8]);

impl Secret {
    /// The byte the secret's message starts with.
    pub const TAG: u8 = b'S';
    /// The message's length on the wire: tag, secret.
    pub const BYTES: usize = 9;

    /// The secret in these bytes. The tag is the caller's to check.
    #[inline]
    #[must_use]
    pub const fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [_, secret @ ..] = *bytes;
        Self(secret)
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub const fn emit(self) -> [u8; Self::BYTES] {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.0;
        [Self::TAG, s0, s1, s2, s3, s4, s5, s6, s7]
    }
}

/// Shown [escaped](Escaped): a secret from a peer may hold control characters.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// What a server sends, for traces.
///
/// Behind bytes that are not a message nothing is one: where the next would start is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerBytes {
    /// The first of the bytes that are not a message.
    unknown: Option<u8>,
}

/// A message of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ServerMessage {
    /// A question.
    Question(Question),
    /// The secret.
    Secret(Secret),
    /// Bytes that are neither, or more of them, and the first of all.
    Unknown(u8),
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Question(question) => question.fmt(f),
            Self::Secret(secret) => write!(f, "S secret \"{secret}\""),
            Self::Unknown(tag) => write!(f, "not a message: it starts with {}", Byte(*tag)),
        }
    }
}

impl Dissect for ServerBytes {
    type Message<'b> = ServerMessage;

    fn dissect(&mut self, bytes: &[u8]) -> Dissected<ServerMessage> {
        if let Some(first) = self.unknown
            && !bytes.is_empty()
        {
            return Dissected::Message(bytes.len(), ServerMessage::Unknown(first));
        }
        match (bytes, bytes.first_chunk()) {
            ([] | [Question::TAG | Secret::TAG, ..], None) => Dissected::Partial(Question::BYTES),
            ([Question::TAG, ..], Some(message)) => Dissected::Message(
                Question::BYTES,
                ServerMessage::Question(Question::parse(message)),
            ),
            ([Secret::TAG, ..], Some(message)) => {
                Dissected::Message(Secret::BYTES, ServerMessage::Secret(Secret::parse(message)))
            }
            ([tag, ..], _) => {
                self.unknown = Some(*tag);
                Dissected::Message(bytes.len(), ServerMessage::Unknown(*tag))
            }
            ([], Some(_)) => Dissected::Partial(Question::BYTES),
        }
    }
}

/// What a client sends, for traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClientBytes;

/// An answer of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Answer(pub u32);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {}", self.0)
    }
}

impl Dissect for ClientBytes {
    type Message<'b> = Answer;

    fn dissect(&mut self, bytes: &[u8]) -> Dissected<Answer> {
        match bytes.first_chunk() {
            Some(answer) => Dissected::Message(ANSWER_BYTES, Answer(u32::from_be_bytes(*answer))),
            None => Dissected::Partial(ANSWER_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_has_a_likely_reason() {
        use Mistake::{Decimal, LittleEndian};
        for (sent, expected, mistake) in [
            (&[42, 0, 0, 0][..], 42, Some(LittleEndian)),
            (&[1, 2, 3, 4], 0x0403_0201, Some(LittleEndian)),
            // The start of a longer text, and shorter ones.
            (b"1378", 1_378_437_758, Some(Decimal)),
            (b"42", 42, Some(Decimal)),
            (b"42\n", 42, Some(Decimal)),
            (b"42\r\n", 42, Some(Decimal)),
            (b"42\0\0", 42, Some(Decimal)),
            (b"-137", 7, Some(Decimal)),
            (b"7", 42, Some(Decimal)),
            (&[0, 0, 0, 43], 42, None),
            (&[0, 0, 0, 0], 42, None),
            (b"\n", 42, None),
            (b"-", 42, None),
            (b"4x", 42, None),
            (b"", 42, None),
        ] {
            assert_eq!(Mistake::find(sent, expected), mistake, "{sent:?}");
        }
    }
}
