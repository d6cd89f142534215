//! The math quiz: a client that solves it, a server that asks it.

use std::fmt;
use std::net::SocketAddr;

use fastrand::Rng;
pub use socklab_core::driver::Next;
use socklab_core::machine::Refused;
pub use socklab_core::math::{Question, Secret, client, server};

use crate::net::{self, Ended};

/// Why a quiz was not solved.
pub type Error = net::Error<client::Error>;

/// A client of the math quiz: answers by itself, and tells each question and the secret.
pub type Client = net::Client<client::Client>;

impl Client {
    /// Answers everything that is asked, for the secret.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name.
    pub fn solve(mut self) -> Result<Secret, Error> {
        loop {
            match self.next()? {
                Next::Event(client::Event::Secret(secret)) => return Ok(secret),
                Next::Event(client::Event::Question(_)) | Next::Command | Next::Boundary => {}
                Next::Done | Next::Abort => {
                    return Err(net::Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

/// What a server asks.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fewest and the most questions of a session.
    pub rounds: (u16, u16),
    /// The secret; drawn when the service is made otherwise.
    pub secret: Option<[u8; 8]>,
    /// Makes a run repeatable.
    pub seed: Option<u64>,
    /// Operands of all 32 bits. Otherwise their sum fits in 31, so that a client in Python need
    /// not think of signs.
    pub full_range: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: (5, 20), secret: None, seed: None, full_range: false }
    }
}

/// One session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// So many questions it was asked.
    pub asked: u16,
    /// So many it answered right.
    pub right: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was told the secret.
    Solved,
    /// The last answer was wrong.
    Wrong {
        /// The answer that came.
        answer: u32,
        /// The answer that was due.
        expected: u32,
    },
    /// The client failed.
    Failed(server::Error, net::Quote),
    /// The service gave a command that the machine does not take: its own mistake.
    Unanswered(Refused),
    /// The server stopped first.
    Stopped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, asked, right, outcome } = self;
        write!(f, "{peer}: {right}/{asked} correct, ")?;
        match outcome {
            Outcome::Solved => f.write_str("secret sent"),
            Outcome::Wrong { answer, expected } => {
                write!(f, "wrong answer {answer}, expected {expected}")
            }
            Outcome::Failed(e, quote) => write!(f, "{}{}", e.cut.by("the client"), quote.suffix()),
            Outcome::Unanswered(e) => Ended::<server::Error>::Refused(*e).fmt(f),
            Outcome::Stopped => Ended::<server::Error>::Stopped.fmt(f),
        }
    }
}

/// The server's side of the quiz, for a [`net::Server`].
pub struct Service {
    rng: Rng,
    options: Options,
    secret: Secret,
    wrong: Option<Outcome>,
}

impl Service {
    /// A quiz with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = crate::seed::generator(options.seed, 0);
        let secret = options.secret.unwrap_or_else(|| {
            // Letters and digits, so that it can be read aloud and typed.
            std::array::from_fn(|_| u8::try_from(rng.alphanumeric()).unwrap_or(b'0'))
        });
        Self { rng, options, secret: Secret(secret), wrong: None }
    }

    /// The secret.
    #[must_use]
    pub const fn secret(&self) -> Secret {
        self.secret
    }
}

/// What the service remembers of a session: 4 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    rounds: u16,
    left: u16,
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Session;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Session) {
        let (fewest, most) = self.options.rounds;
        let rounds = self.rng.u16(fewest..=most.max(fewest));
        (server::Server::new(), Session { rounds, left: rounds })
    }

    fn event(&mut self, _: &mut Session, event: server::Event) {
        // The session ends with it, so its report is the next one made.
        if let server::Event::Wrong { answer, expected } = event {
            self.wrong = Some(Outcome::Wrong { answer, expected });
        }
    }

    fn command(&mut self, session: &mut Session) -> Option<server::Command> {
        let Some(left) = session.left.checked_sub(1) else {
            return Some(server::Command::Reveal(self.secret));
        };
        session.left = left;
        // Two numbers below 2^30 have a sum below 2^31.
        let limit = if self.options.full_range { u32::MAX } else { (1 << 30) - 1 };
        let question = Question { a: self.rng.u32(..=limit), b: self.rng.u32(..=limit) };
        Some(server::Command::Ask(question))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &server::Server,
        session: &mut Session,
        ended: Ended<server::Error>,
    ) -> Report {
        let outcome = match (ended, self.wrong.take()) {
            (Ended::Done, Some(wrong)) => wrong,
            (Ended::Done, None) => Outcome::Solved,
            (Ended::Failed(e, quote), _) => Outcome::Failed(e, quote),
            (Ended::Refused(e), _) => Outcome::Unanswered(e),
            (Ended::Stopped, _) => Outcome::Stopped,
        };
        let asked = session.rounds - session.left;
        Report { peer, asked, right: machine.right(), outcome }
    }
}
