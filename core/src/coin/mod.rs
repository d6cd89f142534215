//! Head or tail: the server tosses a coin, the client guesses.
//!
//! ```text
//!   server -> client   the prompt, without a newline        (again and again)
//!   client -> server   "H", "T" or "Q", a line
//!   server -> client   "You are right!" or "Sorry, you are wrong.", a line
//!                      "Please enter head (H), tail (T) or Q to quit", for anything else
//!                      "Thanks for playing the game. Bye!" for Q, then it closes
//! ```
//!
//! Published servers differ in a word, leave out a newline, or send a reply and the next prompt in one piece. So the
//! client recognises a prompt by its first `:` or by the pause behind it, and a reply by its end, whatever precedes
//! and follows it.
//!
//! ```text
//!   client                                      server
//!
//!     .--> Listening --prompt--> Asked            .--> Ready --boundary, prompt--> Listening
//!     |                            |              |                                  |
//!     |       .---- answer --------+--- Q --.     +------------- anything else ------+
//!     |       v                             v     |                                  |
//!     '--- Waiting --line it does not know--|     '--Toss-- Guessed <---- H, T ------+
//!     |       v                             |                                        |
//!     '--- Puzzled --prompt--> Asked     Leaving            Over <------ Q ----------'
//!                                           |
//!                              Bye or closed '-> Over
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::wire::{LineMessages, PromptMessages, strip_word, trim, trim_end};

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = PromptMessages;

/// Prompt of the server, without a newline.
pub const PROMPT: &[u8] = b"I will toss a coin, guess if it is a head (H) or tail (T) : ";

/// A side of the coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Side {
    /// `H`.
    Head,
    /// `T`.
    Tail,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::Tail => "tail",
        })
    }
}

/// An answer of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// `H` or `T`.
    Guess(Side),
    /// `Q`.
    Quit,
    /// Anything else.
    Invalid,
}

impl Answer {
    /// Returns the answer in a line: one letter in any case. White space around it is allowed.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        match trim(text) {
            [b'H' | b'h'] => Self::Guess(Side::Head),
            [b'T' | b't'] => Self::Guess(Side::Tail),
            [b'Q' | b'q'] => Self::Quit,
            _ => Self::Invalid,
        }
    }
}

/// A reply of the server to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// The guess is right.
    Right,
    /// The guess is wrong.
    Wrong,
    /// The answer was neither `H` nor `T` nor `Q`.
    Invalid,
    /// The game is over.
    Bye,
}

/// Sentence of [`Reply::Invalid`].
const INVALID: &str = "Please enter head (H), tail (T) or Q to quit";

/// The two halves of that sentence. Published servers have any number of spaces between them, since the authors broke
/// a long line of their source there.
static FRONT: [&str; 1] = [INVALID.split_at(INVALID.len() - " or Q to quit".len()).0];
static BACK: [&str; 1] = [INVALID.split_at(INVALID.len() - "or Q to quit".len()).1];

/// Sentence of each reply. A static, since a constant would be copied to each place that uses it.
static REPLIES: [&str; 4] =
    ["You are right!", "Sorry, you are wrong.", INVALID, "Thanks for playing the game. Bye!"];

impl Reply {
    /// Returns the sentence of the reply.
    #[must_use]
    pub fn text(self) -> &'static [u8] {
        let index = match self {
            Self::Right => 0,
            Self::Wrong => 1,
            Self::Invalid => 2,
            Self::Bye => 3,
        };
        REPLIES.get(index).map_or(b"", |text: &&str| text.as_bytes())
    }

    /// Returns the reply whose sentence `text` ends with. Anything may precede it.
    #[must_use]
    pub fn at_end_of(text: &[u8]) -> Option<Self> {
        if let Some((_, text)) = strip_word(text, &BACK) {
            return strip_word(trim_end(text), &FRONT).map(|_| Self::Invalid);
        }
        match strip_word(text, &REPLIES)? {
            (0, _) => Some(Self::Right),
            (1, _) => Some(Self::Wrong),
            (2, _) => Some(Self::Invalid),
            (3, _) => Some(Self::Bye),
            _ => None,
        }
    }
}

/// Number of right guesses out of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Score {
    /// Number of right guesses.
    pub right: u32,
    /// Number of guesses: `H` and `T`. Nothing else counts.
    pub of: u32,
}

impl Score {
    fn count(&mut self, right: bool) {
        self.of = self.of.saturating_add(1);
        self.right = self.right.saturating_add(u32::from(right));
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "You have guessed correctly {} out of {} times.", self.right, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_letter_in_any_case() {
        for (text, answer) in [
            (&b"H"[..], Answer::Guess(Side::Head)),
            (b" h ", Answer::Guess(Side::Head)),
            (b"\tt", Answer::Guess(Side::Tail)),
            (b"Q", Answer::Quit),
            (b"", Answer::Invalid),
            (b"HH", Answer::Invalid),
            (b"head", Answer::Invalid),
            (b"\xff", Answer::Invalid),
        ] {
            assert_eq!(Answer::parse(text), answer, "{text:?}");
        }
    }

    #[test]
    fn a_reply_is_known_by_its_end() {
        for reply in [Reply::Right, Reply::Wrong, Reply::Invalid, Reply::Bye] {
            assert_eq!(Reply::at_end_of(reply.text()), Some(reply));
            let behind = [b"rest of a prompt: ", reply.text()].concat();
            assert_eq!(Reply::at_end_of(&behind), Some(reply));
            assert_eq!(Reply::at_end_of(&[reply.text(), b" "].concat()), None);
        }
        let broken = b"Please enter head (H), tail (T)             or Q to quit";
        assert_eq!(Reply::at_end_of(broken), Some(Reply::Invalid));
        for other in [&b""[..], b"right!", b"or Q to quit", b"You are wrong.", b"Bye!"] {
            assert_eq!(Reply::at_end_of(other), None, "{other:?}");
        }
    }
}
