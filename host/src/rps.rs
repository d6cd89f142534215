//! The game scissor, paper, stone: two players, three rounds. The client is player 1.
//!
//! ```
//! use socklab::net::Server;
//! use socklab::rps::{self, Choice, Command, Event, Next};
//!
//! let player2 = rps::Service::new(rps::Options::default());
//! let server = Server::bind("127.0.0.1:0", player2)?.start()?;
//!
//! let mut player1 = rps::Client::connect(server.local_addr())?;
//! let mut tally = rps::Tally::default();
//! loop {
//!     match player1.next()? {
//!         Next::Event(Event::Round(round)) => tally.count(round),
//!         Next::Command => player1.command(Command::Choose(Choice::Paper))?,
//!         Next::Event(_) | Next::Boundary => {}
//!         Next::Close | Next::Abort => break,
//!     }
//! }
//! assert_eq!(tally.rounds(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server whose player is a person has one client at a time. Use a [`net::Listener`], and
//! [`net::Client::accepted`] with a [`server::Server`].

use std::fmt;
use std::net::SocketAddr;

use fastrand::Rng;
pub use socklab_core::driver::Next;
pub use socklab_core::rps::client::{Command, Event};
pub use socklab_core::rps::{Choice, ROUNDS, Round, Verdict, client, server};

use crate::net::{self, Ended};
use crate::seed::generator;

/// Client of the game (player 1). After each prompt it needs a [`Command::Choose`].
pub type Client = net::Client<client::Client>;

/// Why a game ended early.
pub type Error = net::Error<client::Error>;

/// Returns a random choice.
#[must_use]
pub fn random_choice(rng: &mut Rng) -> Choice {
    rng.choice(Choice::ALL).unwrap_or(Choice::Paper)
}

/// Results of the rounds of a game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of rounds that player 1 won.
    pub player1: u8,
    /// Number of rounds that player 2 won.
    pub player2: u8,
    /// Number of rounds that were drawn.
    pub draws: u8,
}

impl Tally {
    /// Counts a round.
    pub const fn count(&mut self, round: Round) {
        let number = match round.verdict {
            Verdict::Player1 => &mut self.player1,
            Verdict::Player2 => &mut self.player2,
            Verdict::Draw => &mut self.draws,
        };
        *number = number.saturating_add(1);
    }

    /// Returns the number of rounds.
    #[must_use]
    pub const fn rounds(&self) -> u8 {
        self.player1.saturating_add(self.player2).saturating_add(self.draws)
    }
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Results of the rounds.
    pub tally: Tally,
    /// How the session ended.
    pub ended: Ended<server::Error>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, tally: Tally { player1, player2, draws }, ended } = self;
        write!(f, "{peer}: player 1 won {player1}, player 2 won {player2}, {draws} drawn")?;
        match ended {
            Ended::Done => Ok(()),
            ended => write!(f, ", then {ended}"),
        }
    }
}

/// Options of a server that plays at random.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Seed of the choices. With the same seed, every session has the same choices.
    pub seed: Option<u64>,
}

/// Service that plays at random as player 2, for a [`net::Server`].
pub struct Service {
    seed: Option<u64>,
}

impl Service {
    /// Returns a service with these options.
    #[must_use]
    pub const fn new(Options { seed }: Options) -> Self {
        Self { seed }
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Tally;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Tally) {
        (server::Server::new(), Tally::default())
    }

    fn event(&mut self, tally: &mut Tally, event: server::Event) {
        if let server::Event::Round(round) = event {
            tally.count(round);
        }
    }

    fn command(&mut self, tally: &mut Tally) -> Option<server::Command> {
        // The tally counts a round after both choices, so this number differs in each round.
        let mut rng = generator(self.seed, tally.rounds().into());
        Some(server::Command::Choose(random_choice(&mut rng)))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server,
        tally: &mut Tally,
        ended: Ended<server::Error>,
    ) -> Report {
        Report { peer, tally: *tally, ended }
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { seed: self.seed }
    }
}
