//! Scissor, paper, stone: the client is player 1, the server player 2. Three rounds.
//!
//! ```text
//!   server -> client   the prompt, without a newline
//!   client -> server   Scissor, Paper or Stone, a line
//!   server -> client   VERDICT,CHOICE1,CHOICE2, a line, after its own player has chosen
//!   client -> server   the same line: its acknowledgement
//! ```
//!
//! VERDICT is `Draw`, `Player1 wins!` or `Player2 wins!`. Published servers also send `Player1 win!`, and spaces behind
//! a comma. A line that is not a verdict is reported to the application, and the game continues. Neither player learns
//! the choice of the other before both have chosen.
//!
//! ```text
//!   client                                         server
//!
//!     .--> Listening --prompt--> Asked               .--> Ready --boundary, prompt--> Listening
//!     |                            |                 |                                   |
//!     |                         a choice             |                               a choice
//!     |                            v                 |                                   v
//!     '-- verdict, sent back -- Waiting              '-- verdict's line <-- Decided <- Chosen
//!     |                            |                 |   comes back
//!     '-- the third --> Over       | a line that     '-- the third --> Over
//!                                  v is not a verdict
//!         Asked <-- prompt --- Puzzled
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;

use crate::count;
use crate::wire::{
    LineMessages, PromptMessages, Unexpected, put, split, strip_word, trim_end, trim_start, word,
};

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = PromptMessages;

/// Prompt of the server, without a newline.
pub const PROMPT: &[u8] = b"Enter (1) Scissor (2) Paper or (3) Stone: ";

/// Number of rounds of a game.
pub const ROUNDS: u8 = 3;

/// Maximum number of bytes of the line of a round, with its newline.
pub const ROUND_BYTES: usize = b"Player1 wins!,Scissor,Scissor\n".len();

/// A choice of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Choice {
    /// Cuts paper.
    Scissor,
    /// Wraps stone.
    Paper,
    /// Blunts scissors.
    Stone,
}

impl Choice {
    /// All choices, in the order of the prompt.
    pub const ALL: [Self; 3] = [Self::Scissor, Self::Paper, Self::Stone];

    /// Returns the name of the choice on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        let index = match self {
            Self::Scissor => 0,
            Self::Paper => 1,
            Self::Stone => 2,
        };
        NAMES.get(index).copied().unwrap_or_default()
    }

    /// Returns the choice in a line: its name in any case. White space around it is allowed.
    ///
    /// # Errors
    ///
    /// [`Unexpected`]: the first byte that does not fit.
    pub fn parse(text: &[u8]) -> Result<Self, Unexpected> {
        let text = trim_end(text);
        let name = trim_start(text);
        let mut most = 0;
        for (choice, wanted) in Self::ALL.iter().zip(&NAMES) {
            let agree = agreement(name, wanted.as_bytes(), CASE);
            if agree == name.len() && agree == wanted.len() {
                return Ok(*choice);
            }
            most = agree.max(most);
        }
        Err(Unexpected::at(text, count::add(count::sub(text.len(), name.len()), most)))
    }

    /// Returns whether it wins against the other choice.
    #[must_use]
    pub const fn beats(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Scissor, Self::Paper)
                | (Self::Paper, Self::Stone)
                | (Self::Stone, Self::Scissor)
        )
    }
}

/// Name of each choice. A static, since a constant would be copied to each place that uses it.
static NAMES: [&str; 3] = ["Scissor", "Paper", "Stone"];

/// The bit in which the cases of a letter differ.
const CASE: u8 = 0x20;

/// Returns the number of bytes at the front of `text` that equal those of `wanted` except for the bits in `mask`.
#[inline(never)]
fn agreement(text: &[u8], wanted: &[u8], mask: u8) -> usize {
    let mut agree = 0_usize;
    // A loop rather than `Iterator::count`, whose check for an overflow stays at opt-level z.
    for (byte, other) in text.iter().zip(wanted) {
        if *byte | mask != *other | mask {
            break;
        }
        agree = count::add(agree, 1);
    }
    agree
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Winner of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// Neither.
    Draw,
    /// The client.
    Player1,
    /// The server.
    Player2,
}

impl Verdict {
    /// Returns the verdict on these choices.
    #[must_use]
    pub const fn of(player1: Choice, player2: Choice) -> Self {
        match (player1, player2) {
            (Choice::Scissor, Choice::Scissor)
            | (Choice::Paper, Choice::Paper)
            | (Choice::Stone, Choice::Stone) => Self::Draw,
            _ if player1.beats(player2) => Self::Player1,
            _ => Self::Player2,
        }
    }

    /// Returns the words of the verdict on the wire.
    #[must_use]
    pub fn words(self) -> &'static str {
        let index = match self {
            Self::Draw => 0,
            Self::Player1 => 1,
            Self::Player2 => 2,
        };
        VERDICTS.get(index).copied().unwrap_or_default()
    }
}

/// Words of each verdict, then those that only published servers send.
static VERDICTS: [&str; 5] =
    ["Draw", "Player1 wins!", "Player2 wins!", "Player1 win!", "Player2 win!"];

/// Verdict of each entry of [`VERDICTS`].
static MEANING: [Verdict; 5] =
    [Verdict::Draw, Verdict::Player1, Verdict::Player2, Verdict::Player1, Verdict::Player2];

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A round that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Round {
    /// Winner of the round.
    pub verdict: Verdict,
    /// Choice of the client.
    pub player1: Choice,
    /// Choice of the server.
    pub player2: Choice,
}

impl Round {
    /// Returns the round with these choices.
    #[must_use]
    pub const fn of(player1: Choice, player2: Choice) -> Self {
        Self { verdict: Verdict::of(player1, player2), player1, player2 }
    }

    /// Returns the round whose line `text` ends with, and that line. Anything may precede it, and spaces may follow a
    /// comma.
    #[must_use]
    pub fn at_end_of(text: &[u8]) -> Option<(Self, &[u8])> {
        let (player2, rest) = strip_choice(text)?;
        let (player1, rest) = strip_choice(rest)?;
        let (verdict, before) = strip_word(rest, &VERDICTS)?;
        let round = Self { verdict: *MEANING.get(verdict)?, player1, player2 };
        Some((round, text.get(before.len()..)?))
    }

    /// Returns the first byte that does not fit in a line that begins as a round does, with a verdict and a comma, and is
    /// not a round. The client does not fail because of such a line: this is for an application that wants to explain it.
    #[must_use]
    pub fn mistake_in(text: &[u8]) -> Option<Unexpected> {
        let (verdict, choices) = split(b',', text)?;
        word(verdict, &VERDICTS)?;
        let (first, second) = split(b',', choices).unwrap_or((choices, &[]));
        let (Unexpected { at, .. }, rest) = match (Choice::parse(first), Choice::parse(second)) {
            (Err(e), _) => (e, choices),
            (_, Err(e)) => (e, second),
            _ => return None,
        };
        let start = count::sub(text.len(), rest.len());
        Some(Unexpected::at(text, count::add(start, at.into())))
    }

    /// Writes the line of the round, or returns `None` if the space is too small.
    fn put(self, output: &mut [u8]) -> Option<usize> {
        let Self { verdict, player1, player2 } = self;
        let mut written = 0_usize;
        for part in [verdict.words(), ",", player1.name(), ",", player2.name()] {
            let space = output.get_mut(written..)?;
            written = count::add(written, put(part.as_bytes(), space)?);
        }
        *output.get_mut(written)? = b'\n';
        Some(count::add(written, 1))
    }
}

/// Returns the choice that `text` ends with, and what precedes its comma.
fn strip_choice(text: &[u8]) -> Option<(Choice, &[u8])> {
    let (choice, rest) = strip_word(text, &NAMES)?;
    let [rest @ .., b','] = trim_end(rest) else { return None };
    Some((*Choice::ALL.get(choice)?, rest))
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.verdict, self.player1, self.player2)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn each_choice_beats_one_and_loses_to_one() {
        for a in Choice::ALL {
            assert!(!a.beats(a));
            assert_eq!(Choice::ALL.into_iter().filter(|b| a.beats(*b)).count(), 1);
            assert_eq!(Choice::ALL.into_iter().filter(|b| b.beats(a)).count(), 1);
            for b in Choice::ALL {
                let turned = match Verdict::of(a, b) {
                    Verdict::Draw => Verdict::Draw,
                    Verdict::Player1 => Verdict::Player2,
                    Verdict::Player2 => Verdict::Player1,
                };
                assert_eq!(Verdict::of(b, a), turned);
            }
        }
        assert_eq!(Verdict::of(Choice::Scissor, Choice::Paper), Verdict::Player1);
        assert_eq!(Verdict::of(Choice::Paper, Choice::Stone), Verdict::Player1);
        assert_eq!(Verdict::of(Choice::Stone, Choice::Scissor), Verdict::Player1);
    }

    #[test]
    fn a_choice_is_its_name_in_any_case() {
        for choice in Choice::ALL {
            let name = choice.name();
            for text in [name, &name.to_uppercase(), &std::format!(" {name}\t")] {
                assert_eq!(Choice::parse(text.as_bytes()), Ok(choice));
            }
        }
        for (text, at, byte) in [
            ("", 0, None),
            ("1", 0, Some(b'1')),
            ("  Sto", 5, None),
            ("Stony", 4, Some(b'y')),
            ("Scissors", 7, Some(b's')),
            ("Rock", 0, Some(b'R')),
        ] {
            assert_eq!(Choice::parse(text.as_bytes()), Err(Unexpected { at, byte }), "{text}");
        }
    }

    #[test]
    fn a_mistake_in_a_verdict_has_its_position() {
        for (text, at, byte) in [
            ("Draw,Paper,Rock", 11, Some(b'R')),
            ("Draw, Paper, Rock", 13, Some(b'R')),
            ("Draw, Papers, Paper", 11, Some(b's')),
            ("Player2 win!,Pa per,Paper", 15, Some(b' ')),
            ("Draw,,Paper", 5, Some(b',')),
            ("Draw,Paper", 10, None),
            ("Draw,", 5, None),
        ] {
            let found = Round::mistake_in(text.as_bytes());
            assert_eq!(found, Some(Unexpected { at, byte }), "{text}");
        }
        for text in
            ["", "Draw", "You lose,Paper,Rock", "Choose: Draw,Paper,Rock", "Draw,Paper, Paper"]
        {
            assert_eq!(Round::mistake_in(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_round_is_known_by_its_end() {
        for player1 in Choice::ALL {
            for player2 in Choice::ALL {
                let round = Round::of(player1, player2);
                let mut room = [0; ROUND_BYTES];
                let n = round.put(&mut room).unwrap();
                let line = room.get(..n - 1).unwrap();
                assert_eq!(line, round.to_string().as_bytes());
                assert_eq!(Round::at_end_of(line), Some((round, line)));
                let behind = [b"or (3) Stone: ", line].concat();
                assert_eq!(Round::at_end_of(&behind), Some((round, line)));
                assert_eq!(round.put(room.get_mut(..n - 1).unwrap()), None);
            }
        }
        for other in [
            &b"Player1 win!,Paper,Stone"[..],
            b"Player1 wins!, Paper, Stone",
            b"Player1 wins!,  Paper,Stone",
        ] {
            let behind = [b"1, 2, 3: ", other].concat();
            let (round, line) = Round::at_end_of(&behind).unwrap();
            assert_eq!((round, line), (Round::of(Choice::Paper, Choice::Stone), other));
        }
        for text in [
            "",
            "Draw,Paper",
            "Paper,Paper",
            "Draw,,Paper",
            "Draw, ,Paper",
            "Draw,Paper Paper",
            "Draw ,Paper,Paper",
            "Player3 wins!,Paper,Paper",
        ] {
            assert_eq!(Round::at_end_of(text.as_bytes()), None, "{text}");
        }
    }
}
