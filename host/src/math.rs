//! The math quiz: a client that solves it, a server that asks it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use socklab_core::driver::Next;
pub use socklab_core::math::{Question, Secret, client, server};

use crate::net::{self, DEFAULT_TIMEOUT, DialError, Ended, Observer, Target};

/// What a client buffers, in bytes: some hundred messages.
const BUFFER: usize = 4096;

/// Why a quiz was not solved.
pub type Error = net::Error<client::Error>;

/// A client of the math quiz.
pub struct Client {
    inner: net::Client<client::Client>,
}

impl Client {
    /// Connects, waiting 30 s at the most; later it waits for each message as long.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> Result<Self, DialError> {
        Self::connect_with(&target.into(), Some(DEFAULT_TIMEOUT))
    }

    /// Connects with another timeout; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect_with(target: &Target, timeout: Option<Duration>) -> Result<Self, DialError> {
        let machine = client::Client::new();
        Ok(Self { inner: net::Client::connect(target, machine, BUFFER, timeout)? })
    }

    /// Shows every byte to `observer`.
    #[must_use]
    pub fn observed(self, observer: Option<Box<dyn Observer>>) -> Self {
        Self { inner: self.inner.observed(observer) }
    }

    /// The address that took the connection.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// The next question, which is answered already, or the secret; `None` after that.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name.
    #[expect(clippy::should_implement_trait, reason = "it fails, and a failure repeats")]
    pub fn next(&mut self) -> Result<Option<client::Event>, Error> {
        loop {
            match self.inner.next()? {
                Next::Event(event) => return Ok(Some(event)),
                Next::Done | Next::Abort => return Ok(None),
                Next::Command | Next::Boundary => {}
            }
        }
    }

    /// Answers everything that is asked, for the secret.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn solve(mut self) -> Result<Secret, Error> {
        loop {
            match self.next()? {
                Some(client::Event::Question(_)) => {}
                Some(client::Event::Secret(secret)) => return Ok(secret),
                None => return Err(net::Error::Io(std::io::ErrorKind::UnexpectedEof.into())),
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
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Failed(server::Error),
    /// The server stopped first.
    Stopped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, asked, right, outcome } = self;
        write!(f, "{peer}: {right} of {asked} answered, ")?;
        match outcome {
            Outcome::Solved => f.write_str("secret told"),
            Outcome::Wrong { answer, expected } => {
                write!(f, "wrong answer {answer}, expected {expected}")
            }
            Outcome::Failed(e) => e.cut.by("the client").fmt(f),
            Outcome::Stopped => f.write_str("ended because the server stopped"),
        }
    }
}

/// The server's side of the quiz, for a [`net::Server`].
pub struct Service {
    rng: Rng,
    options: Options,
    secret: Secret,
    wrong: Option<Outcome>,
    report: Box<dyn FnMut(&Report) + Send>,
}

impl Service {
    /// A quiz with these options. Sessions are logged at level info.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = options.seed.map_or_else(Rng::new, Rng::with_seed);
        let secret = options.secret.unwrap_or_else(|| {
            // Letters and digits, so that it can be read aloud and typed.
            std::array::from_fn(|_| u8::try_from(rng.alphanumeric()).unwrap_or(b'0'))
        });
        let report = Box::new(|report: &Report| log::info!("{report}"));
        Self { rng, options, secret: Secret(secret), wrong: None, report }
    }

    /// Tells every session's end to `report` instead of the log.
    #[must_use]
    pub fn reporting(mut self, report: impl FnMut(&Report) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
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
        session: &Session,
        ended: Ended<server::Error>,
    ) {
        let outcome = match (ended, self.wrong.take()) {
            (Ended::Done, Some(wrong)) => wrong,
            (Ended::Done, None) => Outcome::Solved,
            (Ended::Failed(e), _) => Outcome::Failed(e),
            (Ended::Stopped, _) => Outcome::Stopped,
        };
        let asked = session.rounds - session.left;
        (self.report)(&Report { peer, asked, right: machine.right(), outcome });
    }
}
