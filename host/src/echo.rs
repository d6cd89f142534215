//! Length-prefixed messages that the server returns without their first ten characters.

mod check;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use socklab_core::driver::Next;
pub use socklab_core::echo::{OtherLength, client, server};

pub use self::check::{Checker, Difference, Excerpt, FileMessage, Mistake, Wrong, removed};

use crate::net::{self, DEFAULT_TIMEOUT, DialError, Ended, Target};

/// Default buffer size of a client in bytes. Larger reads bring no advantage.
pub const BUFFER: usize = 65_536;

/// Why a message could not be sent or its reply could not be received.
pub type Error<const HEADER: usize = 4> = net::Error<client::Error<HEADER>>;

/// Client that sends messages and receives their replies in order.
///
/// Many messages may be sent before the first reply is received. The client stores the replies that arrive meanwhile.
/// So there is no deadlock with a server that stops reading until its replies are read. The stored replies are never
/// larger than the messages sent.
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
pub struct Client<const HEADER: usize = 4> {
    inner: net::Client<client::Client<HEADER>>,
    /// Replies that are complete and not yet returned, oldest first.
    complete: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

/// Converts a connection that was [dialled](net::Client::dial) with other options, such as the size of a length, the
/// buffer size, the timeout or an observer.
impl<const HEADER: usize> From<net::Client<client::Client<HEADER>>> for Client<HEADER> {
    fn from(inner: net::Client<client::Client<HEADER>>) -> Self {
        Self { inner, complete: VecDeque::new(), partial: Vec::new() }
    }
}

impl Client {
    /// Connects to a server. The timeout is [`DEFAULT_TIMEOUT`] (30 s), for the connect and later for every wait.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> Result<Self, DialError> {
        let machine = client::Client::new();
        net::Client::dial(&target.into(), machine, BUFFER, Some(DEFAULT_TIMEOUT)).map(Self::from)
    }
}

impl<const HEADER: usize> Client<HEADER> {
    /// Returns the peer's address.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// Returns the number of replies that [`receive_message`](Self::receive_message) has not returned yet.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.inner.machine().in_flight() as usize + self.complete.len()
    }

    /// Sends one message. Returns when the socket has accepted all of it.
    ///
    /// # Errors
    ///
    /// [`net::Error::Refused`] if the message is too long for the length field. Otherwise the errors of
    /// [`receive_message`](Self::receive_message), since replies are read meanwhile.
    pub fn send_message(&mut self, message: &[u8]) -> Result<(), Error<HEADER>> {
        let length = u32::try_from(message.len())
            .map_err(|_| net::Error::Refused(socklab_core::machine::Invalid::TooLong.into()))?;
        // Reports here that the connection has ended, and not only when the reply is missing.
        self.poll_event()?;
        self.inner.command(client::Command::Begin(length))?;
        let mut rest = message;
        loop {
            let n = self.inner.write_payload(rest)?;
            rest = &rest[n..];
            if rest.is_empty() && !self.inner.is_sending() {
                return Ok(());
            }
            // The socket is full. The server may continue only when its replies are read.
            if n == 0 && !self.poll_event()? {
                self.inner.wait()?;
            }
        }
    }

    /// Receives the next reply. Waits for it if necessary.
    ///
    /// # Errors
    ///
    /// [`Error`]. It is [`net::Error::Refused`] if no message is in flight.
    pub fn receive_message(&mut self) -> Result<Vec<u8>, Error<HEADER>> {
        loop {
            if let Some(reply) = self.complete.pop_front() {
                return Ok(reply);
            }
            if self.poll_event()? {
                continue;
            }
            if self.inner.machine().in_flight() == 0 {
                return Err(net::Error::Refused(socklab_core::machine::CommandError::OutOfTurn));
            }
            self.inner.wait()?;
        }
    }

    /// Closes the connection. Replies that have not been received are lost.
    ///
    /// # Errors
    ///
    /// None at present. The `Result` is reserved for errors of the close.
    pub fn shutdown(mut self) -> Result<(), Error<HEADER>> {
        self.inner.close_sending();
        Ok(())
    }

    /// Handles the next event, if there is one. Returns whether there was one.
    fn poll_event(&mut self) -> Result<bool, Error<HEADER>> {
        let Some(next) = self.inner.try_next()? else { return Ok(false) };
        if let Next::Event(client::Event::Reply(piece)) = next {
            self.partial.extend_from_slice(piece.bytes);
            if piece.is_last() {
                self.complete.push_back(std::mem::take(&mut self.partial));
            }
        }
        Ok(true)
    }
}

/// Report of a connection of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report<const HEADER: usize = 4> {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Number of messages echoed.
    pub messages: u32,
    /// Number of payload bytes in these messages.
    pub bytes: u64,
    /// How the connection ended.
    pub ended: Ended<server::Error<HEADER>>,
}

impl<const HEADER: usize> fmt::Display for Report<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, messages, bytes, ended } = self;
        let s = if *messages == 1 { "" } else { "s" };
        write!(f, "{peer}: {messages} message{s} with {bytes} bytes echoed, ")?;
        match (ended, self.failure()) {
            (_, Some(failure)) => f.write_str(&failure),
            (Ended::Done, _) => f.write_str("closed"),
            (ended, _) => ended.fmt(f),
        }
    }
}

impl<const HEADER: usize> Report<HEADER> {
    /// Returns why the client failed, with the bytes it sent last and advice. Returns `None` if it did not fail.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Ended::Failed(e, quote) = &self.ended else { return None };
        Some(format!("{e}{}{}", advice(e.other_length()), quote.suffix()))
    }
}

/// Returns the suffix of an error message that names the program's option for this kind of length, if there is one.
pub(crate) fn advice(other: Option<OtherLength>) -> &'static str {
    match other {
        Some(OtherLength { read_bytes: 4, bytes: 2, little_endian: false, .. }) => {
            ": try --header 2"
        }
        _ => "",
    }
}

/// Service of the echo protocol for a [`net::Server`].
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service<const HEADER: usize = 4>(());

impl Service {
    /// Returns a service with lengths of 4 bytes.
    // For one size only, so that callers do not have to write the type parameter.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_header()
    }
}

impl<const HEADER: usize> Service<HEADER> {
    /// Returns a service with lengths of `HEADER` bytes.
    #[must_use]
    pub const fn with_header() -> Self {
        Self(())
    }
}

/// State of a connection: the numbers of bytes and messages echoed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    bytes: u64,
    messages: u32,
}

impl<const HEADER: usize> net::Service for Service<HEADER> {
    type Machine = server::Server<HEADER>;
    type State = Counts;
    type Report = Report<HEADER>;

    const SCRATCH: usize = 65_536;

    fn open(&mut self) -> (server::Server<HEADER>, Counts) {
        (server::Server::with_header(), Counts::default())
    }

    fn event(&mut self, counts: &mut Counts, event: server::Event) {
        let server::Event::Echoed { length } = event;
        counts.messages = counts.messages.saturating_add(1);
        counts.bytes = counts.bytes.saturating_add(u64::from(length));
    }

    fn command(&mut self, _: &mut Counts) -> Option<server::Command> {
        None
    }

    fn finish(&mut self) -> Option<server::Command> {
        Some(server::Command::Finish)
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &server::Server<HEADER>,
        counts: &mut Counts,
        ended: Ended<server::Error<HEADER>>,
    ) -> Report<HEADER> {
        let Counts { messages, bytes } = *counts;
        Report { peer, messages, bytes, ended }
    }
}

impl<const HEADER: usize> net::ParallelService for Service<HEADER> {
    fn fork(&self) -> Self {
        *self
    }
}
