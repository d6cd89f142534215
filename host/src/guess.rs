//! The game high or low: the server selects a number, and the client guesses it.
//!
//! ```
//! use socklab::guess::{self, Bisection, Command, Event, Message, Next};
//! use socklab::net::Server;
//!
//! let game = guess::Service::new(guess::Options { number: Some(75), ..Default::default() });
//! let server = Server::bind("127.0.0.1:0", game)?.start()?;
//!
//! let mut client = guess::Client::connect(server.local_addr())?;
//! let mut bisection = Bisection::default();
//! let mut is_won = false;
//! loop {
//!     match client.next()? {
//!         Next::Event(Event::Message(message)) => {
//!             bisection.update(message);
//!             is_won |= message == Message::Win;
//!         }
//!         Next::Command => client.command(Command::Guess(bisection.guess()))?,
//!         Next::Event(Event::Line(_)) | Next::Boundary => {}
//!         Next::Close | Next::Abort => break,
//!     }
//! }
//! assert!(is_won);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::net::SocketAddr;

pub use socklab_core::driver::Next;
pub use socklab_core::guess::client::{Command, Event};
pub use socklab_core::guess::{GUESSES, Message, NUMBERS, client, server};

use crate::net::{self, Ended};
use crate::seed::generator;

/// Client of the game. After each [`Message::Guess`] it needs a [`Command::Guess`].
pub type Client = net::Client<client::Client>;

/// Why a game ended early.
pub type Error = net::Error<client::Error>;

/// Player that bisects the possible numbers. Five guesses find 31 of the hundred numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bisection {
    low: i32,
    high: i32,
}

impl Default for Bisection {
    fn default() -> Self {
        Self { low: *NUMBERS.start(), high: *NUMBERS.end() }
    }
}

impl Bisection {
    /// Returns the next guess: the middle of the possible numbers.
    #[must_use]
    pub const fn guess(&self) -> i32 {
        self.low.midpoint(self.high)
    }

    /// Applies the server's answer to the guess. Contradicting answers are accepted here; a [`Verifier`] reports
    /// them.
    pub fn update(&mut self, answer: Message) {
        match answer {
            Message::Low => self.low = (self.guess() + 1).min(self.high),
            Message::High => self.high = (self.guess() - 1).max(self.low),
            _ => {}
        }
    }
}

/// Verifier for the messages of a server. Its answers must not contradict each other, and a game must have
/// [`GUESSES`] guesses.
///
/// ```
/// use socklab::guess::{Message, Verifier};
/// let mut verifier = Verifier::default();
/// verifier.check(Message::Guess)?;
/// verifier.record_guess(Some(50));
/// verifier.check(Message::Low)?;
/// verifier.check(Message::Guess)?;
/// verifier.record_guess(Some(51));
/// let violation = verifier.check(Message::High).unwrap_err();
/// assert_eq!(
///     violation.to_string(),
///     "the server contradicts itself: HIGH for 51, its earlier answers leave 51 to 100"
/// );
/// # Ok::<(), socklab::guess::Violation>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// Lowest number that is possible after the answers so far.
    low: i32,
    /// Highest number that is possible.
    high: i32,
    guesses: u8,
    /// Guess that has no answer yet. `Some(None)` is a guess that is not a number.
    open: Option<Option<i32>>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { low: *NUMBERS.start(), high: *NUMBERS.end(), guesses: 0, open: None }
    }
}

/// Violation of the rules of the game by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The server asked for more than [`GUESSES`] guesses.
    TooMany,
    /// The server ended the game after this number of guesses.
    TooFew(u8),
    /// An answer contradicts the earlier ones, or the range of the numbers.
    Contradiction {
        /// The guess.
        guess: i32,
        /// The answer to it.
        answer: Message,
        /// The lowest number that is possible after the earlier answers.
        low: i32,
        /// The highest number that is possible after the earlier answers.
        high: i32,
    },
    /// A guess that is not a number got an answer other than [`Message::Invalid`].
    NoNumber(Message),
    /// The server asked for the next guess without an answer to this one.
    Unanswered(Option<i32>),
    /// The server answered without a guess.
    Unasked(Message),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BROKE: &str = "the server broke the protocol: ";
        let text = |message: Message| String::from_utf8_lossy(message.text());
        match *self {
            Self::TooMany => {
                write!(f, "{BROKE}it asks for guess {}, expected GAMEOVER", GUESSES + 1)
            }
            Self::TooFew(guesses) => {
                let s = if guesses == 1 { "" } else { "es" };
                write!(f, "{BROKE}GAMEOVER after {guesses} guess{s}, expected {GUESSES}")
            }
            Self::Contradiction { guess, answer, low, high } => {
                let answer = text(answer);
                if (low..=high) == NUMBERS {
                    write!(f, "{BROKE}{answer} for {guess}, but the numbers are {low} to {high}")
                } else {
                    write!(
                        f,
                        "the server contradicts itself: {answer} for {guess}, its earlier answers leave {low} to {high}"
                    )
                }
            }
            Self::NoNumber(answer) => {
                let (answer, expected) = (text(answer), text(Message::Invalid));
                write!(f, "{BROKE}{answer} for what is not a number, expected \"{expected}\"")
            }
            Self::Unanswered(Some(guess)) => {
                write!(
                    f,
                    "{BROKE}no answer to {guess} before the next GUESS, expected LOW, HIGH or WIN"
                )
            }
            Self::Unanswered(None) => write!(f, "{BROKE}no answer before the next GUESS"),
            Self::Unasked(answer) => write!(f, "{BROKE}{} without a guess", text(answer)),
        }
    }
}

impl std::error::Error for Violation {}

impl Verifier {
    /// Records that a guess was sent. `None` is a guess that is not a number.
    pub const fn record_guess(&mut self, guess: Option<i32>) {
        self.open = Some(guess);
        self.guesses = self.guesses.saturating_add(1);
    }

    /// Verifies a message of the server.
    ///
    /// # Errors
    ///
    /// [`Violation`]. Later messages can still be verified.
    pub fn check(&mut self, message: Message) -> Result<(), Violation> {
        let Self { low, high, guesses, .. } = *self;
        let open = self.open.take();
        match (message, open) {
            (Message::Guess, Some(guess)) => Err(Violation::Unanswered(guess)),
            (Message::Guess, None) if guesses >= GUESSES => Err(Violation::TooMany),
            (Message::GameOver, _) if guesses < GUESSES => Err(Violation::TooFew(guesses)),
            (Message::Guess | Message::GameOver, _) | (Message::Invalid, Some(None)) => Ok(()),
            (answer, None) => Err(Violation::Unasked(answer)),
            (answer, Some(None)) => Err(Violation::NoNumber(answer)),
            (answer, Some(Some(guess))) => {
                let fits = match answer {
                    Message::Low => guess < high,
                    Message::High => guess > low,
                    Message::Win => (low..=high).contains(&guess),
                    _ => !NUMBERS.contains(&guess),
                };
                if !fits {
                    return Err(Violation::Contradiction { guess, answer, low, high });
                }
                match answer {
                    Message::Low => self.low = low.max(guess.saturating_add(1)),
                    Message::High => self.high = high.min(guess.saturating_sub(1)),
                    _ => {}
                }
                Ok(())
            }
        }
    }
}

/// Options of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Number to be guessed. `None` means a random number for each session.
    pub number: Option<i32>,
    /// Seed of the random number. With the same seed, every session has the same number.
    pub seed: Option<u64>,
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Number to be guessed.
    pub number: i32,
    /// Number of guesses of the client.
    pub guesses: u8,
    /// Whether the last guess was correct.
    pub is_won: bool,
    /// How the session ended.
    pub ended: Ended<server::Error>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, number, guesses, is_won, ended } = self;
        let s = if *guesses == 1 { "" } else { "es" };
        let what = if *is_won { "found" } else { "did not find" };
        write!(f, "{peer}: {what} {number} with {guesses} guess{s}")?;
        match ended {
            Ended::Done => Ok(()),
            ended => write!(f, ", then {ended}"),
        }
    }
}

/// Service of the game for a [`net::Server`].
pub struct Service {
    options: Options,
}

impl Service {
    /// Returns a service with these options.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options }
    }
}

/// State of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    guesses: u8,
    is_won: bool,
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Session;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Session) {
        let Options { number, seed } = self.options;
        let number = number.unwrap_or_else(|| generator(seed, 0).i32(NUMBERS));
        (server::Server::new(number), Session::default())
    }

    fn event(&mut self, session: &mut Session, event: server::Event) {
        let server::Event::Guessed { reply, .. } = event;
        session.guesses += 1;
        session.is_won = reply == Message::Win;
    }

    fn command(&mut self, _: &mut Session) -> Option<std::convert::Infallible> {
        None
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &server::Server,
        session: &mut Session,
        ended: Ended<server::Error>,
    ) -> Report {
        let Session { guesses, is_won } = *session;
        Report { peer, number: machine.number(), guesses, is_won, ended }
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { options: self.options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the first violation in a game. Its numbers are guesses, and the other symbols are messages of the server.
    fn violation(game: &str) -> Option<Violation> {
        let mut verifier = Verifier::default();
        for word in game.split(' ') {
            let message = match word {
                "?" => Message::Guess,
                "<" => Message::Low,
                ">" => Message::High,
                "!" => Message::Invalid,
                "=" => Message::Win,
                "." => Message::GameOver,
                guess => {
                    verifier.record_guess(guess.parse().ok());
                    continue;
                }
            };
            if let Err(violation) = verifier.check(message) {
                return Some(violation);
            }
        }
        None
    }

    #[test]
    fn a_game_that_follows_the_rules_has_no_violation() {
        for game in [
            "? 50 =",
            "? 50 < ? 75 > ? 62 > ? 56 < ? 59 < .",
            "? 50 < ? 75 > ? 62 > ? 56 < ? 59 .",
            "? x ! ? 0 < ? 101 > ? 101 ! ? 7 =",
            "? 5 < ? 5 < ? 1 < ? 6 =",
            "? 2147483647 > ? -2147483648 < ? 100 =",
        ] {
            assert_eq!(violation(game), None, "{game}");
        }
    }

    #[test]
    fn each_violation_of_the_rules_is_reported() {
        let contradiction =
            |guess, answer, low, high| Violation::Contradiction { guess, answer, low, high };
        for (game, wanted) in [
            ("? 1 < ? 1 < ? 1 < ? 1 < ? 1 < ?", Violation::TooMany),
            ("? 1 < ? 1 < ? 1 < ? 1 < .", Violation::TooFew(4)),
            (".", Violation::TooFew(0)),
            ("? 50 < ? 51 >", contradiction(51, Message::High, 51, 100)),
            ("? 50 < ? 50 =", contradiction(50, Message::Win, 51, 100)),
            ("? 50 > ? 50 <", contradiction(50, Message::Low, 1, 49)),
            ("? 100 <", contradiction(100, Message::Low, 1, 100)),
            ("? 50 !", contradiction(50, Message::Invalid, 1, 100)),
            ("? x <", Violation::NoNumber(Message::Low)),
            ("? 50 ?", Violation::Unanswered(Some(50))),
            ("? x ?", Violation::Unanswered(None)),
            ("? 50 < <", Violation::Unasked(Message::Low)),
        ] {
            assert_eq!(violation(game), Some(wanted), "{game}");
            assert!(wanted.to_string().starts_with("the server "), "{wanted}");
        }
    }

    #[test]
    fn bisection_finds_any_number_with_seven_guesses() {
        for number in NUMBERS {
            let mut bisection = Bisection::default();
            let guesses = std::iter::repeat_with(|| {
                let guess = bisection.guess();
                bisection.update(if guess < number { Message::Low } else { Message::High });
                guess
            });
            assert!(guesses.take(7).any(|guess| guess == number), "{number}");
        }
        // The guess stays in range also when the answers contradict each other.
        for lie in [Message::Low, Message::High] {
            let mut bisection = Bisection::default();
            for _ in 0..20 {
                bisection.update(lie);
                assert!(NUMBERS.contains(&bisection.guess()));
            }
        }
    }
}
