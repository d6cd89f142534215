//! High or low: a server thinks of a number, a client has five guesses.
//!
//! ```text
//!   server -> client   GUESS      a guess is due
//!   client -> server   an integer, ASCII decimal
//!   server -> client   LOW, HIGH  it is that                       one guess is spent
//!                      Please enter number 1 to 100                it is none; spent too
//!                      WIN        it is right, then it closes
//!                      GAMEOVER   after the fifth one, then it closes
//! ```
//!
//! All of them are lines. Behind every line of the server's is a boundary: a client that everybody
//! has takes one `recv` for one line, and waits for ever when two come together.
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

/// What a client sends, for traces.
pub use crate::wire::LineMessages as ClientBytes;
/// What a server sends, for traces.
pub use crate::wire::LineMessages as ServerBytes;

use crate::wire::{trim, word};

/// So many guesses a client has.
pub const GUESSES: u8 = 5;

/// The numbers a server thinks of.
pub const NUMBERS: core::ops::RangeInclusive<i32> = 1..=100;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Message {
    /// A guess is due.
    Guess,
    /// The guess is too low.
    Low,
    /// The guess is too high.
    High,
    /// The guess is no number.
    Invalid,
    /// The guess is right, the game over.
    Win,
    /// That was the last guess.
    GameOver,
}

impl Message {
    /// So many bytes the longest has.
    const LONGEST: usize = INVALID.len();

    /// Its line, without the newline.
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

    /// The message in a line, white space around it allowed.
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

/// What a server says to what is no number.
const INVALID: &str = "Please enter number 1 to 100";

/// The text of each message. Not constant: that would be a copy wherever it is used.
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
