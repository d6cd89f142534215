//! High or low: the server chooses a number, the client has five guesses.
//!
//! ```text
//!   server -> client   GUESS       the client must guess
//!   client -> server   an integer, ASCII decimal
//!   server -> client   LOW, HIGH   the guess is too low or too high    one guess is spent
//!                      Please enter number 1 to 100    not a number    one guess is spent
//!                      WIN         the guess is right, then the server closes
//!                      GAMEOVER    after the fifth guess, then the server closes
//! ```
//!
//! Each of them is a line. A boundary follows every line of the server: the client of the source document takes one
//! `recv` for one line, and hangs when two arrive together.
//!
//! ```text
//!   server                                              client
//!
//!     .--> GUESS --> Listening                            .--> Listening --GUESS--> Asked
//!     |                 |                                 |       |                   |
//!     +-- LOW, HIGH <---+---> WIN ----------> Over        |    WIN, GAMEOVER          |
//!     |                 |                      ^          |       v                   |
//!     '-- not a number -'-- the fifth one      |          |      Over                 |
//!                              v               |          |                           |
//!                    LOW, HIGH, GAMEOVER ------'          '------- a number ----------'
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use crate::wire::{LineMessages, trim, word};

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = LineMessages;

/// Number of guesses of a client.
pub const GUESSES: u8 = 5;

/// Numbers that a server chooses from.
pub const NUMBERS: core::ops::RangeInclusive<i32> = 1..=100;

/// A message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Message {
    /// The client must guess.
    Guess,
    /// The guess is too low.
    Low,
    /// The guess is too high.
    High,
    /// The guess is not a number.
    Invalid,
    /// The guess is right, and the game is over.
    Win,
    /// That was the last guess.
    GameOver,
}

impl Message {
    /// Number of bytes of the longest message.
    const LONGEST: usize = INVALID.len();

    /// Returns the line of the message, without the newline.
    #[must_use]
    pub fn text(self) -> &'static [u8] {
        let index = match self {
            Self::Guess => 0,
            Self::Low => 1,
            Self::High => 2,
            Self::Invalid => 3,
            Self::Win => 4,
            Self::GameOver => 5,
        };
        TEXTS.get(index).map_or(b"", |text: &&str| text.as_bytes())
    }

    /// Returns the message that a line contains. White space around it is allowed.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        match word(trim(text), &TEXTS)? {
            0 => Some(Self::Guess),
            1 => Some(Self::Low),
            2 => Some(Self::High),
            3 => Some(Self::Invalid),
            4 => Some(Self::Win),
            5 => Some(Self::GameOver),
            _ => None,
        }
    }
}

/// Text of [`Message::Invalid`].
const INVALID: &str = "Please enter number 1 to 100";

/// Text of each message. A static, since a constant would be copied to each place that uses it.
static TEXTS: [&str; 6] = ["GUESS", "LOW", "HIGH", INVALID, "WIN", "GAMEOVER"];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Message; 6] = [
        Message::Guess,
        Message::Low,
        Message::High,
        Message::Invalid,
        Message::Win,
        Message::GameOver,
    ];

    #[test]
    fn a_message_is_its_whole_line() {
        for message in ALL {
            assert_eq!(Message::parse(message.text()), Some(message));
            assert_eq!(Message::parse(&[b" \t", message.text(), b" \r"].concat()), Some(message));
            assert_eq!(Message::parse(&[message.text(), b"!"].concat()), None);
        }
        for other in [&b""[..], b"low", b"LOW\nGUESS", b"GAME OVER"] {
            assert_eq!(Message::parse(other), None, "{other:?}");
        }
    }
}
