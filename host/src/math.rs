//! The math quiz: the server asks additions, and the client solves them.

use std::fmt;
use std::net::SocketAddr;

use slab::Slab;
pub use socklab_core::driver::Next;
pub use socklab_core::math::{Mistake, Question, Secret, client, server};

use crate::net::{self, Ended};
use crate::seed::generator;

/// Why a quiz was not solved.
pub type Error = net::Error<client::Error>;

/// Client of the math quiz. It answers automatically, and reports each question and the secret as events.
pub type Client = net::Client<client::Client>;

impl Client {
    /// Answers all questions. Returns the secret.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn solve(mut self) -> Result<Secret, Error> {
        loop {
            match self.next()? {
                Next::Event(client::Event::Secret(secret)) => return Ok(secret),
                Next::Event(client::Event::Question(_)) | Next::Command | Next::Boundary => {}
                Next::Close | Next::Abort => {
                    return Err(net::Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

/// Options of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Minimum and maximum number of questions in a session.
    pub rounds: (u16, u16),
    /// Secret that is sent after the last correct answer. `None` means a random one.
    pub secret: Option<[u8; 8]>,
    /// Seed of the questions. With the same seed, every session has the same questions.
    pub seed: Option<u64>,
    /// Whether operands use all 32 bits. Otherwise their sum fits in 31 bits, so that clients may use signed or
    /// unsigned integers.
    pub full_range: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: (5, 20), secret: None, seed: None, full_range: false }
    }
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Number of questions asked.
    pub asked: u16,
    /// Number of correct answers.
    pub right: u32,
    /// How the session ended.
    pub outcome: Outcome,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All answers were correct, and the secret was sent.
    Solved,
    /// The last answer was wrong.
    Wrong {
        /// Answer of the client.
        answer: u32,
        /// Correct answer.
        expected: u32,
        /// Likely mistake in the client.
        mistake: Option<Mistake>,
    },
    /// The client failed. Contains the likely mistake if it sent part of an answer.
    Failed(server::Error, net::Quote, Option<Mistake>),
    /// The machine did not accept a command of the service: a mistake of the service.
    Internal(net::Internal),
    /// The client left or stopped reading before it had received everything.
    Undelivered,
    /// The server stopped before the session had ended.
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
            Outcome::Internal(e) => e.fmt(f),
            Outcome::Undelivered => Ended::<server::Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<server::Error>::Stopped.fmt(f),
        }?;
        outcome.mistake().map_or(Ok(()), |mistake| write!(f, "; {mistake}"))
    }
}

impl Outcome {
    /// Returns the likely mistake in the client, if one was detected.
    #[must_use]
    pub const fn mistake(&self) -> Option<Mistake> {
        match self {
            Self::Wrong { mistake, .. } | Self::Failed(_, _, mistake) => *mistake,
            Self::Solved | Self::Internal(_) | Self::Undelivered | Self::Stopped => None,
        }
    }
}

/// Service of the quiz for a [`net::Server`].
pub struct Service {
    options: Options,
    secret: Secret,
    /// Wrong answer and correct answer of each session that has one and is not reported yet. They are in a table
    /// rather than in [`Session`], since each takes 8 bytes and few sessions have one.
    wrong: Slab<(u32, u32)>,
}

impl Service {
    /// Returns a service with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = generator(options.seed, SECRET);
        let secret = options.secret.unwrap_or_else(|| {
            // Letters and digits, which are easy to read and type.
            std::array::from_fn(|_| u8::try_from(rng.alphanumeric()).unwrap_or(b'0'))
        });
        Self { options, secret: Secret(secret), wrong: Slab::new() }
    }

    /// Returns the secret.
    #[must_use]
    pub const fn secret(&self) -> Secret {
        self.secret
    }
}

/// Index of the [`generator`] for the secret, which is drawn once, for all sessions.
const SECRET: u64 = u64::MAX;
/// Index of the generator for the number of rounds of a session.
const ROUNDS: u64 = 0;
/// Index of the generator for the first question of a session. The other questions follow.
const FIRST_QUESTION: u64 = 1;

/// State of a session in 4 bytes.
///
/// After a wrong answer, it contains the key of that answer in `Service::wrong`, 15 bits in each half. `left` is then
/// greater than `rounds`, which is otherwise impossible.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    rounds: u16,
    left: u16,
}

impl Session {
    #[expect(clippy::cast_possible_truncation, reason = "no server has 2^30 clients")]
    const fn wrong(key: usize) -> Self {
        Self { rounds: (key >> 15) as u16 & 0x7fff, left: key as u16 | 0x8000 }
    }

    /// Returns the key of the wrong answer, if there is one.
    fn key(self) -> Option<usize> {
        let key = usize::from(self.rounds) << 15 | usize::from(self.left & 0x7fff);
        (self.left > self.rounds).then_some(key)
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Session;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Session) {
        let (fewest, most) = self.options.rounds;
        let rounds = generator(self.options.seed, ROUNDS).u16(fewest..=most.max(fewest));
        (server::Server::new(), Session { rounds, left: rounds })
    }

    fn event(&mut self, session: &mut Session, event: server::Event) {
        if let server::Event::Wrong { answer, expected } = event {
            *session = Session::wrong(self.wrong.insert((answer, expected)));
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
        let right = machine.right();
        if let Some(key) = session.key() {
            // Takes precedence over `ended`: the client gets nothing after a wrong answer.
            let (answer, expected) = self.wrong.remove(key);
            let mistake = Mistake::find(&answer.to_be_bytes(), expected);
            let outcome = Outcome::Wrong { answer, expected, mistake };
            let asked = u16::try_from(right).map_or(u16::MAX, |right| right.saturating_add(1));
            return Report { peer, asked, right, outcome };
        }
        let outcome = match ended {
            Ended::Done => Outcome::Solved,
            Ended::Undelivered => Outcome::Undelivered,
            Ended::Failed(e, quote) => {
                let expected = machine.expected();
                let mistake = expected.and_then(|right| Mistake::find(quote.bytes(), right));
                Outcome::Failed(e, quote, mistake)
            }
            Ended::Internal(e) => Outcome::Internal(e),
            Ended::Stopped => Outcome::Stopped,
        };
        let asked = session.rounds - session.left;
        Report { peer, asked, right, outcome }
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { options: self.options.clone(), secret: self.secret, wrong: Slab::new() }
    }
}

#[cfg(test)]
mod tests {
    use net::Service as _;

    use super::*;

    #[test]
    fn a_session_can_contain_the_key_of_a_wrong_answer() {
        for key in [0, 1, 0x7fff, 0x8000, 0x1_2345, (1 << 30) - 1] {
            assert_eq!(Session::wrong(key).key(), Some(key));
        }
        for (rounds, left) in [(0, 0), (u16::MAX, u16::MAX), (u16::MAX, 0), (20, 7)] {
            assert_eq!(Session { rounds, left }.key(), None);
        }
    }

    #[test]
    fn a_wrong_answer_is_reported_for_the_session_that_gave_it() {
        let mut quiz = Service::new(Options::default());
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut sessions = [1, 2].map(|answer| {
            let (machine, mut session) = quiz.open();
            quiz.event(&mut session, server::Event::Wrong { answer, expected: 300 });
            (machine, session, answer)
        });
        // A session is reported when its last bytes are delivered, which may differ from the order of the events.
        sessions.reverse();
        for (machine, session, answer) in &mut sessions {
            let report = quiz.closed(peer, machine, session, Ended::Done);
            let expected = Outcome::Wrong { answer: *answer, expected: 300, mistake: None };
            assert_eq!((report.asked, report.outcome), (1, expected));
        }
        assert!(quiz.wrong.is_empty());
    }
}
