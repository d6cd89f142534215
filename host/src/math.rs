//! The math quiz: a client that solves it, a server that asks it.

use std::fmt;
use std::net::SocketAddr;

pub use socklab_core::driver::Next;
use socklab_core::machine::Refused;
pub use socklab_core::math::{Mistake, Question, Secret, client, server};

use crate::net::{self, Ended};
use crate::seed::generator;

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
    /// With a seed every session gets the same questions, in whatever order clients arrive.
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
        /// The likely reason.
        mistake: Option<Mistake>,
    },
    /// The client failed; with the likely reason if it sent a part of an answer.
    Failed(server::Error, net::Quote, Option<Mistake>),
    /// The service gave a command that the machine does not take: its own mistake.
    Unanswered(Refused),
    /// The client left or stopped reading before it had received everything.
    Undelivered,
    /// The server stopped first.
    Stopped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, asked, right, outcome } = self;
        write!(f, "{peer}: {right}/{asked} correct, ")?;
        match outcome {
            Outcome::Solved => f.write_str("secret sent"),
            Outcome::Wrong { answer, expected, .. } => {
                write!(f, "wrong answer {answer}, expected {expected}")
            }
            Outcome::Failed(e, quote, _) => {
                write!(f, "{}{}", e.cut.by("the client"), quote.suffix())
            }
            Outcome::Unanswered(e) => Ended::<server::Error>::Refused(*e).fmt(f),
            Outcome::Undelivered => Ended::<server::Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<server::Error>::Stopped.fmt(f),
        }?;
        outcome.mistake().map_or(Ok(()), |mistake| write!(f, "; {mistake}"))
    }
}

impl Outcome {
    /// The likely reason why the client failed, if one is known.
    #[must_use]
    pub const fn mistake(&self) -> Option<Mistake> {
        match self {
            Self::Wrong { mistake, .. } | Self::Failed(_, _, mistake) => *mistake,
            Self::Solved | Self::Unanswered(_) | Self::Undelivered | Self::Stopped => None,
        }
    }
}

/// The server's side of the quiz, for a [`net::Server`].
pub struct Service {
    options: Options,
    secret: Secret,
}

impl Service {
    /// A quiz with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = generator(options.seed, SECRET);
        let secret = options.secret.unwrap_or_else(|| {
            // Letters and digits, so that it can be read aloud and typed.
            std::array::from_fn(|_| u8::try_from(rng.alphanumeric()).unwrap_or(b'0'))
        });
        Self { options, secret: Secret(secret) }
    }

    /// The secret.
    #[must_use]
    pub const fn secret(&self) -> Secret {
        self.secret
    }
}

/// The draws of a session: the number of rounds, then a question for each of them. The secret is drawn
/// once, before all sessions.
const SECRET: u64 = u64::MAX;
const ROUNDS: u64 = 0;
const FIRST_QUESTION: u64 = 1;

/// What the service remembers of a session: 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    rounds: u16,
    left: u16,
    /// The wrong answer, and the one that was expected. Not a field of the service: another session may
    /// end before this one is reported.
    wrong: Option<(u32, u32)>,
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Session;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Session) {
        let (fewest, most) = self.options.rounds;
        let rounds = generator(self.options.seed, ROUNDS).u16(fewest..=most.max(fewest));
        (server::Server::new(), Session { rounds, left: rounds, wrong: None })
    }

    fn event(&mut self, session: &mut Session, event: server::Event) {
        if let server::Event::Wrong { answer, expected } = event {
            session.wrong = Some((answer, expected));
        }
    }

    fn command(&mut self, session: &mut Session) -> Option<server::Command> {
        let Some(left) = session.left.checked_sub(1) else {
            return Some(server::Command::Reveal(self.secret));
        };
        session.left = left;
        let round = u64::from(session.rounds - left) - 1;
        let mut rng = generator(self.options.seed, FIRST_QUESTION + round);
        // Two numbers below 2^30 have a sum below 2^31.
        let limit = if self.options.full_range { u32::MAX } else { (1 << 30) - 1 };
        let question = Question { a: rng.u32(..=limit), b: rng.u32(..=limit) };
        Some(server::Command::Ask(question))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &server::Server,
        session: &mut Session,
        ended: Ended<server::Error>,
    ) -> Report {
        let outcome = match (ended, session.wrong) {
            // Also if the client left before it was told: nothing is.
            (Ended::Done | Ended::Undelivered, Some((answer, expected))) => {
                let mistake = Mistake::find(&answer.to_be_bytes(), expected);
                Outcome::Wrong { answer, expected, mistake }
            }
            (Ended::Done, None) => Outcome::Solved,
            (Ended::Undelivered, None) => Outcome::Undelivered,
            (Ended::Failed(e, quote), _) => {
                let expected = machine.expected();
                let mistake = expected.and_then(|right| Mistake::find(quote.bytes(), right));
                Outcome::Failed(e, quote, mistake)
            }
            (Ended::Refused(e), _) => Outcome::Unanswered(e),
            (Ended::Stopped, _) => Outcome::Stopped,
        };
        let asked = session.rounds - session.left;
        Report { peer, asked, right: machine.right(), outcome }
    }
}
