//! The game head or tail: the server tosses a coin, and the client guesses the side.
//!
//! ```
//! use socklab::coin::{self, Command, Event, Next, Reply};
//! use socklab::net::Server;
//!
//! let game = coin::Service::new(coin::Options::default());
//! let server = Server::bind("127.0.0.1:0", game)?.start()?;
//!
//! let mut client = coin::Client::connect(server.local_addr())?;
//! let mut answers = ["H", "T", "Q"].iter();
//! loop {
//!     match client.next()? {
//!         Next::Event(Event::Prompt(_) | Event::Line(_) | Event::Reply(_)) | Next::Boundary => {}
//!         Next::Command => client.command(Command::Answer(answers.next().unwrap().as_bytes()))?,
//!         Next::Close | Next::Abort => break,
//!     }
//! }
//! assert_eq!(client.machine().score().of, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::net::SocketAddr;

pub use socklab_core::coin::client::{Command, Event};
pub use socklab_core::coin::{Reply, Score, Side, client, server};
pub use socklab_core::driver::Next;

use crate::net::{self, Ended};
use crate::seed::generator;

/// Client of the game. After each prompt it needs a [`Command::Answer`].
pub type Client = net::Client<client::Client>;

/// Why a game ended early.
pub type Error = net::Error<client::Error>;

/// Options of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Seed of the tosses. With the same seed, every session has the same tosses.
    pub seed: Option<u64>,
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Number of guesses, and of correct ones.
    pub score: Score,
    /// How the session ended.
    pub ended: Ended<server::Error>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, score: Score { right, of }, ended } = self;
        write!(f, "{peer}: guessed correctly {right} out of {of} times")?;
        match ended {
            Ended::Done => Ok(()),
            ended => write!(f, ", then {ended}"),
        }
    }
}

/// Service of the game for a [`net::Server`].
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
    /// Number of tosses so far.
    type State = u32;
    type Report = Report;

    fn open(&mut self) -> (server::Server, u32) {
        (server::Server::new(), 0)
    }

    fn event(&mut self, _: &mut u32, _: server::Event) {}

    fn command(&mut self, tosses: &mut u32) -> Option<server::Command> {
        let is_head = generator(self.seed, u64::from(*tosses)).bool();
        *tosses = tosses.wrapping_add(1);
        let side = if is_head { Side::Head } else { Side::Tail };
        Some(server::Command::Toss(side))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &server::Server,
        _: &mut u32,
        ended: Ended<server::Error>,
    ) -> Report {
        Report { peer, score: machine.score(), ended }
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { seed: self.seed }
    }
}
