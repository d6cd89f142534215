//! Two names, two numbers: both ends learn both and add the numbers up.

use std::fmt;
use std::net::SocketAddr;

pub use socklab_core::add::{Form, RANGE, client, hint, is_message, server};
use socklab_core::driver::Next;
use socklab_core::machine::CommandError;
use socklab_core::wire::Escaped;

use crate::net::{self, Ended, ServerControl};

/// Why there is no answer.
pub type Error = net::Error<client::Error>;

/// A client: introduces itself, learns the server's name and number.
pub type Client = net::Client<client::Client>;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number.
    pub number: i32,
}

impl Client {
    /// Introduces itself and waits for the answer. A number out of [`RANGE`] shuts the server
    /// down, and then `None` is the answer.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name; [`net::Error::Refused`] when the name is no
    /// line, or one that [would be taken](is_message) for name and number.
    pub fn introduce(self, name: &[u8], number: i32) -> Result<Option<Answer>, Error> {
        self.introduce_in(name, number, Form::LINES, false)
    }

    /// As [`introduce`](Self::introduce), with name and number in this form; `apart`: each in a write of
    /// its own, with a pause between them.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn introduce_in(
        mut self,
        name: &[u8],
        number: i32,
        form: Form,
        apart: bool,
    ) -> Result<Option<Answer>, Error> {
        self.command(if apart {
            client::Command::Name { name, form }
        } else {
            client::Command::Introduce { name, number, form }
        })?;
        let mut answer = Answer { name: Vec::new(), number: 0 };
        let mut is_whole = false;
        loop {
            // A server that has said something else said it in place of its name.
            match self.next().map_err(|e| e.or_quote(&answer.name))? {
                Next::Event(client::Event::Name(text)) => answer.name = text.to_vec(),
                Next::Event(client::Event::Number(number)) => {
                    (answer.number, is_whole) = (number, true);
                }
                Next::Close | Next::Abort => return Ok(is_whole.then_some(answer)),
                // Only where they go apart.
                Next::Command => self.command(client::Command::Number { number, form })?,
                Next::Boundary => {}
            }
        }
    }
}

/// What a server answers, and when it stops.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: a line.
    pub name: String,
    /// Its number; drawn from [`RANGE`] when the service is made otherwise.
    pub number: Option<i32>,
    /// A client's number that is out of range ends its session alone, and not the server.
    pub keep_running: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "Server of socklab".into(), number: None, keep_running: false }
    }
}

/// One session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// Its name and number, as far as they came.
    pub client: Introduced,
    /// The server's name.
    pub name: String,
    /// The server's number.
    pub number: i32,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a client has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduced {
    /// Its name.
    pub name: Option<Vec<u8>>,
    /// Its number. `None` also when it was out of range and does not fit in 32 bits.
    pub number: Option<i32>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both know both.
    Answered,
    /// The client's number was out of range, and the server stops.
    ShutDown,
    /// The client's number was out of range, and was refused.
    OutOfRange,
    /// The client failed.
    Failed(server::Error, net::Quote),
    /// The service gave a command that the machine does not take: its own mistake.
    Internal(CommandError),
    /// The client left or stopped reading before it had received everything.
    Undelivered,
    /// The server stopped first.
    Stopped,
}

impl Report {
    /// Both numbers together.
    #[must_use]
    pub fn sum(&self) -> Option<i64> {
        self.client.number.map(|number| i64::from(number) + i64::from(self.number))
    }
}

impl Report {
    /// Why the client failed, if it did: with what it last sent, and the likely mistake.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Outcome::Failed(e, quote) = &self.outcome else { return None };
        // One that sent no more than a line sent something else than a name.
        let name = self.client.name.as_deref();
        let hint = hint(name.unwrap_or(quote.bytes()));
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let name = net::Quote::new(name.unwrap_or_default());
        let quote = if quote.is_empty() { &name } else { quote };
        Some(format!("{e}{}{hint}", quote.suffix()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, client, name, number, outcome } = self;
        write!(f, "{peer}: ")?;
        let theirs = Escaped(client.name.as_deref().unwrap_or(b"?"));
        let sent = match client.number {
            Some(number) => number.to_string(),
            None => "a number of more than 32 bits".into(),
        };
        // No `format_args!`, which can be stored in a variable since Rust 1.89.
        let limits = format!("{} to {}", RANGE.start(), RANGE.end());
        match outcome {
            Outcome::Answered => {
                let sum = self.sum().unwrap_or_default();
                write!(f, "{theirs} and {name}: {sent} + {number} = {sum}")
            }
            Outcome::ShutDown => {
                write!(f, "{theirs} sent {sent}, which is not in {limits}: the server shuts down")
            }
            Outcome::OutOfRange => {
                write!(f, "{theirs} sent {sent}, which is not in {limits}: refused")
            }
            Outcome::Failed(..) => f.write_str(&self.failure().unwrap_or_default()),
            Outcome::Internal(e) => Ended::<server::Error>::Refused(*e).fmt(f),
            Outcome::Undelivered => Ended::<server::Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<server::Error>::Stopped.fmt(f),
        }
    }
}

/// The server's side, for a [`net::Server`].
pub struct Service {
    options: Options,
    number: i32,
    shut_down: bool,
}

impl Service {
    /// A server with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let number = options.number.unwrap_or_else(|| fastrand::i32(RANGE));
        Self { options, number, shut_down: false }
    }

    /// The server's number.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.number
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Introduced;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Introduced) {
        (server::Server::new(), Introduced::default())
    }

    fn event(&mut self, client: &mut Introduced, event: server::Event<'_>) {
        match event {
            server::Event::Name(name) => client.name = Some(name.to_vec()),
            server::Event::Number(number) => client.number = Some(number),
            server::Event::OutOfRange(number) => client.number = number,
        }
    }

    fn command(&mut self, _: &mut Introduced) -> Option<server::Command<'_>> {
        let name = self.options.name.as_bytes();
        Some(server::Command::Answer { name, number: self.number })
    }

    fn control(&self) -> ServerControl {
        if self.shut_down { ServerControl::Quit } else { ServerControl::Serve }
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server,
        client: &mut Introduced,
        ended: Ended<server::Error>,
    ) -> Report {
        let in_range = client.number.is_some_and(|number| RANGE.contains(&number));
        let outcome = match ended {
            Ended::Undelivered if in_range => Outcome::Undelivered,
            Ended::Done if in_range => Outcome::Answered,
            Ended::Done | Ended::Undelivered if self.options.keep_running => Outcome::OutOfRange,
            Ended::Done | Ended::Undelivered => {
                self.shut_down = true;
                Outcome::ShutDown
            }
            Ended::Failed(e, quote) => Outcome::Failed(e, quote),
            Ended::Refused(e) => Outcome::Internal(e),
            Ended::Stopped => Outcome::Stopped,
        };
        let (name, number) = (self.options.name.clone(), self.number);
        Report { peer, client: std::mem::take(client), name, number, outcome }
    }
}
