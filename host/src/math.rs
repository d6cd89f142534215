//! The math quiz: a client that solves it, a server that asks it.

use std::fmt;
use std::net::SocketAddr;

use slab::Slab;
pub use socklab_core::driver::Next;
use socklab_core::machine::CommandError;
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
                Next::Close | Next::Abort => {
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
    Internal(CommandError),
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
            Outcome::Internal(e) => Ended::<server::Error>::Refused(*e).fmt(f),
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
            Self::Solved | Self::Internal(_) | Self::Undelivered | Self::Stopped => None,
        }
    }
}

/// The server's side of the quiz, for a [`net::Server`].
pub struct Service {
    options: Options,
    secret: Secret,
    /// The wrong answers of sessions that are not reported yet, and the ones that were expected. A table,
    /// since each takes 8 bytes and few sessions have one.
    wrong: Slab<(u32, u32)>,
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
        Self { options, secret: Secret(secret), wrong: Slab::new() }
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

/// What the service remembers of a session: 4 bytes.
///
/// Of a session with a wrong answer it is the answer's key in a table, 15 bits in each half. Then `left`
/// is more than `rounds`, which it never is otherwise.
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

    /// The key of its wrong answer, if there is one.
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
            // However it ended then: the client gets nothing more.
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
            Ended::Refused(e) => Outcome::Internal(e),
            Ended::Stopped => Outcome::Stopped,
        };
        let asked = session.rounds - session.left;
        Report { peer, asked, right, outcome }
    }
}

#[cfg(test)]
mod tests {
    use net::Service as _;

    use super::*;

    #[test]
    fn the_key_of_a_wrong_answer_takes_no_room() {
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
        // A session is reported when its last bytes have arrived: not in the order of the events.
        sessions.reverse();
        for (machine, session, answer) in &mut sessions {
            let report = quiz.closed(peer, machine, session, Ended::Done);
            let expected = Outcome::Wrong { answer: *answer, expected: 300, mistake: None };
            assert_eq!((report.asked, report.outcome), (1, expected));
        }
        assert!(quiz.wrong.is_empty());
    }
}
