//! Exchange of a name and a number in both directions. Both ends add the numbers.

use std::fmt;
use std::net::SocketAddr;

pub use socklab_core::add::{Form, RANGE, client, hint, is_message, server};
use socklab_core::driver::Next;
use socklab_core::wire::Escaped;

use crate::net::{self, Ended, ServerControl};

/// Why the exchange failed.
pub type Error = net::Error<client::Error>;

/// Client that sends its name and number, and receives those of the server.
pub type Client = net::Client<client::Client>;

/// Answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Name of the server.
    pub name: Vec<u8>,
    /// Number of the server.
    pub number: i32,
}

impl Client {
    /// Sends the name and the number, and waits for the answer. Returns `None` if the number is out of [`RANGE`] and
    /// the server has shut down because of it.
    ///
    /// # Errors
    ///
    /// [`Error`]. It is [`net::Error::Refused`] if the name contains a newline, is too long, or
    /// [looks like](is_message) a name with a number.
    pub fn introduce(self, name: &[u8], number: i32) -> Result<Option<Answer>, Error> {
        self.introduce_with(name, number, Form::LINES, false)
    }

    /// Sends the name and the number as [`introduce`](Self::introduce) does, but in this form. With `split`, each is a
    /// write of its own, with a pause between them.
    ///
    /// # Errors
    ///
    /// As [`introduce`](Self::introduce).
    pub fn introduce_with(
        mut self,
        name: &[u8],
        number: i32,
        form: Form,
        split: bool,
    ) -> Result<Option<Answer>, Error> {
        self.command(if split {
            client::Command::Name { name, form }
        } else {
            client::Command::Introduce { name, number, form }
        })?;
        let mut answer = Answer { name: Vec::new(), number: 0 };
        let mut is_whole = false;
        loop {
            // If the server sent something else, the machine took it for the name.
            match self.next().map_err(|e| e.or_quote(&answer.name))? {
                Next::Event(client::Event::Name(text)) => answer.name = text.to_vec(),
                Next::Event(client::Event::Number(number)) => {
                    (answer.number, is_whole) = (number, true);
                }
                Next::Close | Next::Abort => return Ok(is_whole.then_some(answer)),
                // Only with `split`.
                Next::Command => self.command(client::Command::Number { number, form })?,
                Next::Boundary => {}
            }
        }
    }
}

/// Options of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the server. It must not contain a newline.
    pub name: String,
    /// Number of the server. `None` means a random number of [`RANGE`].
    pub number: Option<i32>,
    /// Whether the server continues after a client has sent a number that is out of range.
    pub keep_running: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "Server of socklab".into(), number: None, keep_running: false }
    }
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Name and number of the client, as far as received.
    pub client: Introduction,
    /// Name of the server.
    pub name: String,
    /// Number of the server.
    pub number: i32,
    /// How the session ended.
    pub outcome: Outcome,
}

/// Name and number that a client has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Name of the client.
    pub name: Option<Vec<u8>>,
    /// Number of the client. `None` also if the number does not fit in 32 bits.
    pub number: Option<i32>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Names and numbers were exchanged.
    Answered,
    /// The client's number was out of range, and the server stops.
    ShutDown,
    /// The client's number was out of range, and only its session ended.
    OutOfRange,
    /// The client failed.
    Failed(server::Error, net::Quote),
    /// The machine did not accept a command of the service: a mistake of the service.
    Internal(net::Internal),
    /// The client left or stopped reading before it had received everything.
    Undelivered,
    /// The server stopped before the session had ended.
    Stopped,
}

impl Report {
    /// Returns the sum of both numbers.
    #[must_use]
    pub fn sum(&self) -> Option<i64> {
        self.client.number.map(|number| i64::from(number) + i64::from(self.number))
    }

    /// Returns why the client failed, with the bytes it sent last and the likely mistake. Returns `None` if it did
    /// not fail.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Outcome::Failed(e, quote) = &self.outcome else { return None };
        // A client that sent only one line probably sent something other than a name in it.
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
        // Not `format_args!`: it can be stored in a variable only since Rust 1.89.
        let limits = format!("{} to {}", RANGE.start(), RANGE.end());
        match outcome {
            Outcome::Answered => {
                let sum = self.sum().unwrap_or_default();
                write!(f, "{theirs} and {name}: {sent} + {number} = {sum}")
            }
            Outcome::ShutDown => {
                write!(f, "{theirs} sent {sent}, which is out of range ({limits}): shutting down")
            }
            Outcome::OutOfRange => {
                write!(f, "{theirs} sent {sent}, which is out of range ({limits}): refused")
            }
            Outcome::Failed(..) => f.write_str(&self.failure().unwrap_or_default()),
            Outcome::Internal(e) => e.fmt(f),
            Outcome::Undelivered => Ended::<server::Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<server::Error>::Stopped.fmt(f),
        }
    }
}

/// Service of the exchange for a [`net::Server`].
pub struct Service {
    options: Options,
    number: i32,
    shut_down: bool,
}

impl Service {
    /// Returns a service with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let number = options.number.unwrap_or_else(|| fastrand::i32(RANGE));
        Self { options, number, shut_down: false }
    }

    /// Returns the server's number.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.number
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    type State = Introduction;
    type Report = Report;

    fn open(&mut self) -> (server::Server, Introduction) {
        (server::Server::new(), Introduction::default())
    }

    fn event(&mut self, client: &mut Introduction, event: server::Event<&[u8]>) {
        match event {
            server::Event::Name(name) => client.name = Some(name.to_vec()),
            server::Event::Number(number) => client.number = Some(number),
            server::Event::OutOfRange(number) => client.number = number,
        }
    }

    fn command(&mut self, _: &mut Introduction) -> Option<server::Command<'_>> {
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
        client: &mut Introduction,
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
            Ended::Internal(e) => Outcome::Internal(e),
            Ended::Stopped => Outcome::Stopped,
        };
        let (name, number) = (self.options.name.clone(), self.number);
        Report { peer, client: std::mem::take(client), name, number, outcome }
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { options: self.options.clone(), number: self.number, shut_down: false }
    }
}
