//! Greetings: the server's, and the client's if both are to greet.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use socklab_core::driver::Next;
pub use socklab_core::hello::{CLIENT_GREETING, SERVER_GREETING, client, server};

use crate::net::{self, Course, DEFAULT_TIMEOUT, DialError, Ended, Observer, Target};

/// What a client buffers, in bytes.
const BUFFER: usize = 2048;

/// Why nobody was greeted.
pub type Error = net::Error<client::Error>;

/// A client: takes a greeting, and may give one.
pub struct Client {
    inner: net::Client<client::Client>,
}

impl Client {
    /// Connects, waiting 30 s at the most; later it waits for the greeting as long. Greets back
    /// if `both`.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>, both: bool) -> Result<Self, DialError> {
        Self::connect_with(&target.into(), both, Some(DEFAULT_TIMEOUT))
    }

    /// Connects with another timeout; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect_with(
        target: &Target,
        both: bool,
        timeout: Option<Duration>,
    ) -> Result<Self, DialError> {
        let machine = if both { client::Client::both() } else { client::Client::new() };
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

    /// Takes the server's greeting, and gives ours if we are to.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name.
    pub fn greet(mut self) -> Result<Vec<u8>, Error> {
        let mut greeting = Vec::new();
        loop {
            match self.inner.next()? {
                Next::Event(client::Event::Greeting(text)) => greeting = text.to_vec(),
                Next::Done | Next::Abort => return Ok(greeting),
                Next::Command | Next::Boundary => {}
            }
        }
    }
}

/// How a server greets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Wait for each client's greeting too.
    pub both: bool,
    /// The greeting leaves in two parts, the first of so many bytes, with
    /// [`Limits::pace`](net::Limits::pace) between them. 0: in one.
    pub split: u8,
    /// Stop after so many clients.
    pub count: Option<u32>,
}

/// One session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// What it said, if it was to.
    pub greeting: Option<Vec<u8>>,
    /// How it ended.
    pub ended: Ended<server::Error>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.peer)?;
        match (&self.ended, &self.greeting) {
            (Ended::Done, None) => f.write_str("greeted"),
            (Ended::Done, Some(text)) => {
                write!(f, "greeted, and was told \"{}\"", socklab_core::wire::Escaped(text))
            }
            (Ended::Failed(e), _) => e.fmt(f),
            (Ended::Stopped, _) => f.write_str("ended because the server stopped"),
        }
    }
}

/// The server's side of the greetings, for a [`net::Server`].
pub struct Service {
    options: Options,
    opened: u32,
    report: Box<dyn FnMut(&Report) + Send>,
}

impl Service {
    /// Greetings with these options. Sessions are logged at level info.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let report = Box::new(|report: &Report| log::info!("{report}"));
        Self { options, opened: 0, report }
    }

    /// Tells every session's end to `report` instead of the log.
    #[must_use]
    pub fn reporting(mut self, report: impl FnMut(&Report) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    /// What the client said.
    type State = Option<Vec<u8>>;

    fn open(&mut self) -> (server::Server, Option<Vec<u8>>) {
        self.opened = self.opened.saturating_add(1);
        let Options { both, split, .. } = self.options;
        let server = if both { server::Server::both() } else { server::Server::new() };
        (server.split(split), None)
    }

    fn event(
        &mut self,
        greeting: &mut Option<Vec<u8>>,
        server::Event::Greeting(text): server::Event<'_>,
    ) {
        *greeting = Some(text.to_vec());
    }

    fn command(&mut self, _: &mut Option<Vec<u8>>) -> Option<std::convert::Infallible> {
        None
    }

    fn course(&self) -> Course {
        match self.options.count {
            Some(count) if self.opened >= count => Course::Last,
            _ => Course::Serve,
        }
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server,
        greeting: &Option<Vec<u8>>,
        ended: Ended<server::Error>,
    ) {
        (self.report)(&Report { peer, greeting: greeting.clone(), ended });
    }
}
