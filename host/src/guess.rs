//! High or low: a client that guesses a number, a server that thinks of one.
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
//!             bisection.hear(message);
//!             is_won |= message == Message::Win;
//!         }
//!         Next::Command => client.command(Command::Guess(bisection.guess()))?,
//!         Next::Event(Event::Line(_)) | Next::Boundary => {}
//!         Next::Done | Next::Abort => break,
//!     }
//! }
//! assert!(is_won);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::net::SocketAddr;

use fastrand::Rng;
pub use socklab_core::driver::Next;
pub use socklab_core::guess::client::{Command, Event};
pub use socklab_core::guess::{GUESSES, Message, NUMBERS, client, server};

use crate::net::{self, Ended};

/// A client: told [`Message::Guess`], it is given a guess.
pub type Client = net::Client<client::Client>;

/// Why a game ended before its time.
pub type Error = net::Error<client::Error>;

/// A player that halves what is left. Five guesses find 31 numbers of the hundred.
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
    /// What it guesses: the middle.
    #[must_use]
    pub const fn guess(&self) -> i32 {
        self.low.midpoint(self.high)
    }

    /// What the server said to that. A server that contradicts itself is not argued with.
    pub fn hear(&mut self, message: Message) {
        match message {
            Message::Low => self.low = (self.guess() + 1).min(self.high),
            Message::High => self.high = (self.guess() - 1).max(self.low),
            _ => {}
        }
    }
}

/// How a server plays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The number; drawn for each client otherwise.
    pub number: Option<i32>,
    /// Makes a run repeatable.
    pub seed: Option<u64>,
}

/// One session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// The number.
    pub number: i32,
    /// So many guesses the client made.
    pub guesses: u8,
    /// Whether the last one was right.
    pub is_won: bool,
    /// How it ended.
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

/// The server's side of the game, for a [`net::Server`].
pub struct Service {
    rng: Rng,
    options: Options,
}

impl Service {
    /// A game with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let rng = options.seed.map_or_else(Rng::new, Rng::with_seed);
        Self { rng, options }
    }
}

/// What the service remembers of a session.
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
        let number = self.options.number.unwrap_or_else(|| self.rng.i32(NUMBERS));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_finds_any_number_with_seven_guesses() {
        for number in NUMBERS {
            let mut bisection = Bisection::default();
            let guesses = std::iter::repeat_with(|| {
                let guess = bisection.guess();
                bisection.hear(if guess < number { Message::Low } else { Message::High });
                guess
            });
            assert!(guesses.take(7).any(|guess| guess == number), "{number}");
        }
        // Whatever it is told, it stays in range.
        for lie in [Message::Low, Message::High] {
            let mut bisection = Bisection::default();
            for _ in 0..20 {
                bisection.hear(lie);
                assert!(NUMBERS.contains(&bisection.guess()));
            }
        }
    }
}
