//! Datagrams that the server returns without their first ten characters.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;
use socklab_core::datagram::Datagram;
use socklab_core::machine::CommandError;
pub use socklab_core::udp::{Mistake, client, reply_to, server};

use crate::net::{
    DEFAULT_TIMEOUT, DatagramClient, DatagramService, DialError, Observer, ServerControl, Target,
    reason, resolve_all,
};

/// Default size in bytes of the longest datagram that is received as a whole.
pub const BUFFER: usize = 2048;

/// Client that sends messages, one at a time, and sends each again until its reply has come.
///
/// ```
/// use socklab::net::DatagramServer;
/// use socklab::udp::{BUFFER, Client, Service};
///
/// let server = DatagramServer::bind("127.0.0.1:0", Service::new(), BUFFER)?.start()?;
/// let mut client = Client::connect(server.local_addr())?;
/// assert_eq!(client.exchange(b"Four score and seven")?, b" and seven");
/// assert_eq!(client.summary().received, 1);
/// server.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    inner: DatagramClient<client::Client<SocketAddr>>,
    limits: client::Limits,
    buffer: usize,
    /// Further addresses of the server, the next one last.
    addrs: Vec<SocketAddr>,
    /// Addresses to which the first message did not arrive.
    given_up: Vec<SocketAddr>,
}

/// Why a message could not be exchanged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The message cannot be sent: the caller's mistake.
    Refused(CommandError),
    /// No reply has come after the last retry.
    Lost {
        /// Number of times that the message has been sent.
        attempts: u16,
        /// Address of the server.
        server: SocketAddr,
        /// Whether the system has reported that the datagrams did not arrive.
        is_unreachable: bool,
    },
    /// The system does not send or receive.
    Io(SocketAddr, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(e) => write!(f, "the message was refused: {e}"),
            Self::Lost { server, is_unreachable: true, .. } => {
                write!(f, "no program listens on {server}")
            }
            Self::Lost { attempts: 1, server, .. } => {
                write!(f, "no reply from {server} to a message that was sent once")
            }
            Self::Lost { attempts, server, .. } => {
                write!(f, "no reply from {server} to a message that was sent {attempts} times")
            }
            Self::Io(server, e) => {
                write!(f, "cannot exchange datagrams with {server}: {}", reason(e))
            }
        }
    }
}

impl std::error::Error for Error {}

impl Client {
    /// Opens a socket for a server, with the default limits. Nothing is sent, so a server need not run yet.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> Result<Self, DialError> {
        Self::open(&target.into(), client::Limits::default(), BUFFER)
    }

    /// Opens a socket for a server. A datagram of more than `buffer` bytes is reported as truncated.
    ///
    /// If the server has several addresses, the client tries the next one when the system reports that the first message
    /// did not arrive.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn open(target: &Target, limits: client::Limits, buffer: usize) -> Result<Self, DialError> {
        let mut addrs = resolve_all(target, Some(DEFAULT_TIMEOUT))?;
        addrs.reverse();
        let mut first = None;
        while let Some(server) = addrs.pop() {
            let machine = client::Client::new(server, limits);
            match DatagramClient::open(server, machine, buffer) {
                Ok(inner) => {
                    return Ok(Self { inner, limits, buffer, addrs, given_up: Vec::new() });
                }
                Err(e) => {
                    first.get_or_insert(e);
                }
            }
        }
        let nothing = || io::ErrorKind::NotFound.into();
        Err(DialError::Refused(target.clone(), first.unwrap_or_else(nothing)))
    }

    /// Passes every datagram to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.inner = self.inner.observer(observer);
        self
    }

    /// Returns the server's address.
    pub const fn server(&self) -> SocketAddr {
        self.inner.server()
    }

    /// Returns the addresses of the server to which the first message did not arrive, before the next one was tried.
    #[must_use]
    pub fn given_up(&self) -> &[SocketAddr] {
        &self.given_up
    }

    /// Returns the numbers of messages and datagrams until now.
    #[must_use]
    pub const fn summary(&self) -> client::Summary {
        self.inner.machine().summary()
    }

    /// Whether a message waits for its reply.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.inner.machine().is_waiting()
    }

    /// Returns a waker that ends a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        self.inner.waker()
    }

    /// Returns the datagram received last, that of the event if it has one, and its sender.
    pub fn received(&self) -> (Option<SocketAddr>, Datagram<'_>) {
        self.inner.received()
    }

    /// Returns the last report of the system that a datagram did not arrive.
    pub const fn report(&self) -> Option<&io::Error> {
        self.inner.report()
    }

    /// Sends a message, waits for its reply and returns that.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.send(message)?;
        let unreachable = self.summary().unreachable;
        loop {
            match self.try_next()? {
                Some(client::Event::Reply { .. }) => return Ok(self.received().1.bytes.to_vec()),
                Some(client::Event::Lost { attempts }) => {
                    let is_unreachable = self.summary().unreachable > unreachable;
                    return Err(Error::Lost { attempts, server: self.server(), is_unreachable });
                }
                Some(_) => {}
                None => self.wait()?,
            }
        }
    }

    /// Starts a message. The next call of [`try_next`](Self::try_next) sends it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it is too long, its first ten characters are not UTF-8, or another message waits for its
    /// reply.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.inner.send(message).map_err(Error::Refused)
    }

    /// Returns what has happened, or `None` if nothing has: see [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn try_next(&mut self) -> Result<Option<client::Event>, Error> {
        loop {
            let failure = match self.inner.try_next() {
                Ok(Some(client::Event::Unreachable)) => None,
                Ok(event) => return Ok(event),
                Err(e) => Some(e),
            };
            if self.try_next_address() {
                continue;
            }
            return match failure {
                Some(e) => Err(Error::Io(self.server(), e)),
                None => Ok(Some(client::Event::Unreachable)),
            };
        }
    }

    /// Sends the first message to the next address of the server, if there is one and nothing has come from this one.
    fn try_next_address(&mut self) -> bool {
        let client::Summary { sent, lost, received, unmatched, .. } = self.summary();
        if sent != 1 || lost + received + unmatched > 0 {
            return false;
        }
        while let Some(server) = self.addrs.pop() {
            log::debug!("trying the next address, {server}");
            let (before, message) = (self.server(), self.inner.message().to_vec());
            let machine = client::Client::new(server, self.limits);
            if self.inner.reopen(server, machine, self.buffer).is_ok()
                && self.inner.send(&message).is_ok()
            {
                self.given_up.push(before);
                return true;
            }
        }
        false
    }

    /// Waits until something may have happened, or the [waker](Self::waker) was used.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn wait(&mut self) -> Result<(), Error> {
        self.inner.wait().map_err(|e| Error::Io(self.server(), e))
    }
}

/// Numbers of the datagrams that a server has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams answered.
    pub answered: u64,
    /// Datagrams refused.
    pub refused: u64,
    /// Datagrams whose answer the system did not send.
    pub unanswered: u64,
}

impl Counts {
    /// Returns the number of datagrams.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.answered.saturating_add(self.refused).saturating_add(self.unanswered)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, refused, unanswered } = self;
        write!(f, "{answered} answered, {refused} refused, {unanswered} unanswered")
    }
}

/// Report about a datagram that a server has received.
#[derive(Debug)]
pub struct Report<'d> {
    /// Address of its sender.
    pub peer: SocketAddr,
    /// The datagram.
    pub datagram: Datagram<'d>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a datagram that a server has received.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered with this number of bytes.
    Answered(usize),
    /// It is not answered.
    Refused(server::Refusal),
    /// The system did not send the answer.
    Unanswered(io::Error),
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, datagram, outcome } = self;
        let length = datagram.bytes.len();
        let s = if length == 1 { "" } else { "s" };
        match outcome {
            Outcome::Answered(answer) => {
                write!(f, "{peer}: datagram of {length} byte{s} answered with {answer}")
            }
            Outcome::Refused(server::Refusal::Truncated { .. }) => {
                // One byte of the buffer shows that there are more.
                let longest = length.saturating_sub(1);
                write!(
                    f,
                    "{peer}: datagram of more than {longest} bytes refused: it does not fit the buffer"
                )
            }
            Outcome::Refused(refusal) => {
                write!(f, "{peer}: datagram of {length} byte{s} refused: {refusal}")
            }
            Outcome::Unanswered(e) => {
                write!(f, "{peer}: datagram of {length} byte{s} not answered: {}", reason(e))
            }
        }
    }
}

/// Service of the protocol for a [`DatagramServer`](crate::net::DatagramServer).
pub struct Service {
    counts: Counts,
    /// Number of datagrams after which the server stops.
    limit: u64,
    ignores_empty: bool,
    reports_answers: bool,
    report: Box<dyn FnMut(&Report<'_>) + Send>,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// Returns a service that answers until the server is stopped.
    #[must_use]
    pub fn new() -> Self {
        let report = Box::new(|report: &Report<'_>| log::info!("{report}"));
        Self {
            counts: Counts::default(),
            limit: u64::MAX,
            ignores_empty: false,
            reports_answers: false,
            report,
        }
    }

    /// Makes the server stop after this number of datagrams.
    #[must_use]
    pub const fn count(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Sets whether empty datagrams get no answer, against [loops](server::Server#loops).
    #[must_use]
    pub const fn ignore_empty(mut self, ignores: bool) -> Self {
        self.ignores_empty = ignores;
        self
    }

    /// Passes a report of each datagram that is not answered to `report`, instead of logging it at level info. With
    /// `all`, it gets a report of each datagram.
    #[must_use]
    pub fn on_report(
        mut self,
        all: bool,
        report: impl FnMut(&Report<'_>) + Send + 'static,
    ) -> Self {
        (self.reports_answers, self.report) = (all, Box::new(report));
        self
    }

    /// Returns the numbers of datagrams until now.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

impl DatagramService for Service {
    type Machine = server::Server;

    fn machine(&self) -> server::Server {
        if self.ignores_empty { server::Server::ignoring_empty() } else { server::Server::new() }
    }

    #[inline]
    fn event(
        &mut self,
        event: server::Event,
        peer: SocketAddr,
        datagram: Datagram<'_>,
        failure: Option<io::Error>,
    ) -> ServerControl {
        let outcome = match (event, failure) {
            (server::Event::Answered { .. }, Some(e)) => {
                self.counts.unanswered += 1;
                Outcome::Unanswered(e)
            }
            (server::Event::Answered { answer, .. }, None) => {
                self.counts.answered += 1;
                Outcome::Answered(answer)
            }
            (server::Event::Refused(refusal), _) => {
                self.counts.refused += 1;
                Outcome::Refused(refusal)
            }
            // The answer has been counted.
            (_, _) => return ServerControl::Serve,
        };
        if self.reports_answers || !matches!(outcome, Outcome::Answered(_)) {
            (self.report)(&Report { peer, datagram, outcome });
        }
        match self.counts.received() < self.limit {
            true => ServerControl::Serve,
            false => ServerControl::Quit,
        }
    }
}
