//! The math quiz: a server asks for sums and sends a secret after the last correct answer.
//!
//! Documents 000 and 001 define the messages:
//!
//! ```text
//!                    0     1         5         9
//!                    +-----+---------+---------+
//!   server->client   | 'Q' | a       | b       |   question, any number of them
//!                    +-----+---------+---------+
//!                    0         4
//!                    +---------+
//!   client->server   | a + b   |                   answer to each question
//!                    +---------+
//!                    0     1                   9
//!                    +-----+-------------------+
//!   server->client   | 'S' | secret            |   once; then the server closes
//!                    +-----+-------------------+
//! ```
//!
//! Integers are big-endian. The sum is modulo 2^32, so its bytes are the same for signed and unsigned
//! integers. After a wrong answer the server closes at once and does not send the secret.
//!
//! ```text
//!   client                              server
//!
//!        .-- 'Q': send answer --.              .-------- correct answer --------.
//!        v                      |              v                                |
//!     Playing ------------------'            Ready -- Ask -------------------> Waiting
//!        |                                     |                                |
//!       'S'                                  Reveal                        wrong answer
//!        v                                     v                                |
//!      Over                                  Over <-----------------------------'
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
    /// First byte of a question on the wire.
    pub const TAG: u8 = b'Q';
    /// Size of a question on the wire in bytes: the tag, `a` and `b`.
    pub const BYTES: usize = 9;

    /// Returns the correct answer: `a + b` modulo 2^32.
    #[inline]
    #[must_use]
    pub const fn sum(self) -> u32 {
        self.a.wrapping_add(self.b)
    }

    /// Returns the question in these bytes. It ignores the first one: the caller checks the tag.
    #[inline]
    #[must_use]
    pub const fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [_, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
        Self { a: u32::from_be_bytes([a0, a1, a2, a3]), b: u32::from_be_bytes([b0, b1, b2, b3]) }
    }

    /// Returns the question as it is sent.
    #[inline]
    #[must_use]
    pub const fn emit(self) -> [u8; Self::BYTES] {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = self.body();
        [Self::TAG, a0, a1, a2, a3, b0, b1, b2, b3]
    }

    /// Returns what follows the tag on the wire.
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

/// Size of an answer on the wire in bytes.
pub const ANSWER_BYTES: usize = 4;

/// Likely mistake in a client that sent a wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mistake {
    /// The answer is correct in little-endian byte order.
    LittleEndian,
    /// The answer is decimal text. Its value may be correct or not.
    Decimal,
}

impl Mistake {
    /// Returns the likely mistake if a client sent `sent` in place of the answer `expected`.
    ///
    /// `sent` has [`ANSWER_BYTES`], or fewer if the stream ended or paused there. The machine only
    /// compares answers. This function is for the error messages of an application.
    #[must_use]
    pub fn find(sent: &[u8], expected: u32) -> Option<Self> {
        if *sent == expected.to_le_bytes() {
            return Some(Self::LittleEndian);
        }
        // Programs that send text often append a line end, or the NUL of a C string.
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

/// The secret: 8 bytes, which need not be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Secret(pub [u8; 8]);

impl Secret {
    /// First byte of the message with the secret.
    pub const TAG: u8 = b'S';
    /// Size of that message on the wire in bytes: the tag and the secret.
    pub const BYTES: usize = 9;

    /// Returns the secret in these bytes. It ignores the first one: the caller checks the tag.
    #[inline]
    #[must_use]
    pub const fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [_, secret @ ..] = *bytes;
        Self(secret)
    }

    /// Returns the message with the secret as it is sent.
    #[inline]
    #[must_use]
    pub const fn emit(self) -> [u8; Self::BYTES] {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.0;
        [Self::TAG, s0, s1, s2, s3, s4, s5, s6, s7]
    }
}

/// Writes the secret [escaped](Escaped), because a secret from a peer may contain control characters.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// Dissector of what a server sends.
///
/// After an unknown tag all bytes are [`ServerMessage::Unknown`], because the start of the next message
/// is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerBytes {
    /// The unknown tag, once there was one.
    unknown: Option<u8>,
}

/// Message of a server, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ServerMessage {
    /// A question.
    Question(Question),
    /// The secret.
    Secret(Secret),
    /// Bytes of neither kind, or more of them. Contains the unknown tag, with which they start.
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

/// Dissector of what a client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClientBytes;

/// Answer of a client, for traces.
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
    fn the_likely_mistake_behind_a_wrong_answer_is_found() {
        use Mistake::{Decimal, LittleEndian};
        for (sent, expected, mistake) in [
            (&[42, 0, 0, 0][..], 42, Some(LittleEndian)),
            (&[1, 2, 3, 4], 0x0403_0201, Some(LittleEndian)),
            // The first bytes of a longer text, and whole texts.
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
