//! Greetings: the server sends one, and with an option also the client.

use std::fmt;
use std::net::SocketAddr;

use socklab_core::driver::Next;
pub use socklab_core::hello::{CLIENT_GREETING, SERVER_GREETING, client, server};

use crate::net::{self, Ended, ServerControl};

/// Why the greeting failed.
pub type Error = net::Error<client::Error>;

/// Client that receives a greeting. It also sends one if it is [dialled](net::Client::dial) with the machine
/// [`client::Client::both`].
pub type Client = net::Client<client::Client>;

impl Client {
    /// Receives the server's greeting, and sends the client's greeting if the machine has one. Call
    /// [`finish`](net::Client::finish) afterwards: it returns whether the server has read it.
    ///
    /// # Errors
    ///
    /// [`Error`].
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

/// Options of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether the server waits for a greeting of each client.
    pub both: bool,
    /// Number of bytes of the greeting that are sent first. The rest follows after [`Limits::pace`](net::Limits::pace).
    /// With 0 the greeting is sent at once.
    pub split: u8,
    /// Number of clients after which the server stops. `None` means no limit.
    pub count: Option<u32>,
}

/// Report of a session of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Greeting of the client, if one was received.
    pub greeting: Option<Vec<u8>>,
    /// How the session ended.
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

/// Service of the greetings for a [`net::Server`].
pub struct Service {
    options: Options,
    opened: u32,
}

impl Service {
    /// Returns a service with these options.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, opened: 0 }
    }
}

impl net::Service for Service {
    type Machine = server::Server;
    /// Greeting of the client.
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
        server::Event::Greeting(text): server::Event<&[u8]>,
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

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        Self { options: self.options, opened: 0 }
    }

    fn clients(&self) -> Option<u32> {
        self.options.count
    }
}
