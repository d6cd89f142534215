//! Greetings: the server's, and the client's if both are to greet.

use std::fmt;
use std::net::SocketAddr;

use socklab_core::driver::Next;
pub use socklab_core::hello::{CLIENT_GREETING, SERVER_GREETING, client, server};

use crate::net::{self, Ended, ServerControl};

/// Why nobody was greeted.
pub type Error = net::Error<client::Error>;

/// A client: takes a greeting, and gives one if its machine is
/// [`client::Client::both`]; [`dial`](net::Client::dial) takes that one.
pub type Client = net::Client<client::Client>;

impl Client {
    /// Takes the server's greeting, and gives ours if we are to: call [`finish`](net::Client::finish)
    /// then, which shows whether the server has read it.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name.
    pub fn greet(&mut self) -> Result<Vec<u8>, Error> {
        let mut greeting = Vec::new();
        loop {
            match self.next()? {
                Next::Event(client::Event::Greeting(text)) => greeting = text.to_vec(),
                Next::Close | Next::Abort => return Ok(greeting),
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
    /// Stop after N clients.
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
                write!(f, "greeted, and received \"{}\"", socklab_core::wire::Escaped(text))
            }
            (ended, _) => ended.fmt(f),
        }
    }
}

/// The server's side of the greetings, for a [`net::Server`].
pub struct Service {
    options: Options,
    opened: u32,
}

impl Service {
    /// Greetings with these options.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, opened: 0 }
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    /// What the client said.
    type State = Option<Vec<u8>>;
    type Report = Report;

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

    fn control(&self) -> ServerControl {
        match self.options.count {
            Some(count) if self.opened >= count => ServerControl::Last,
            _ => ServerControl::Serve,
        }
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server,
        greeting: &mut Option<Vec<u8>>,
        ended: Ended<server::Error>,
    ) -> Report {
        Report { peer, greeting: greeting.take(), ended }
    }
}
