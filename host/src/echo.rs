//! Length-prefixed messages that come back without their first ten characters.

mod check;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use socklab_core::driver::Next;
pub use socklab_core::echo::{OtherLength, client, server};

pub use self::check::{Checker, Difference, Excerpt, Filed, Mistake, Wrong, removed};

use crate::net::{self, DEFAULT_TIMEOUT, DialError, Ended, Target};

/// What a client reads at a time when nobody says otherwise, in bytes: the largest that is useful.
pub const BUFFER: usize = 65_536;

/// Why a message or its reply did not get through.
pub type Error<const HEADER: usize = 4> = net::Error<client::Error<HEADER>>;

/// A client: sends messages, receives their replies in order.
///
/// Many messages may be sent before the first reply is received. Replies that come meanwhile are
/// kept, so it never deadlocks against a server that stops reading until its replies are read;
/// they take no more memory than the messages sent, since a reply is never longer.
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
pub struct Client<const HEADER: usize = 4> {
    inner: net::Client<client::Client<HEADER>>,
    whole: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

/// With lengths of another size, another buffer, timeout or observer: as the connection below it was
/// [dialled](net::Client::dial).
impl<const HEADER: usize> From<net::Client<client::Client<HEADER>>> for Client<HEADER> {
    fn from(inner: net::Client<client::Client<HEADER>>) -> Self {
        Self { inner, whole: VecDeque::new(), partial: Vec::new() }
    }
}

impl Client {
    /// Connects, waiting 30 s at the most; later it waits for each reply as long.
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
    /// The address that took the connection.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// So many replies have not been received yet.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.inner.machine().in_flight() as usize + self.whole.len()
    }

    /// Sends one message. Returns when all of it is on its way.
    ///
    /// # Errors
    ///
    /// [`net::Error::Refused`] when the message is longer than a length can say; otherwise as
    /// [`receive_message`](Self::receive_message), since replies are read meanwhile.
    pub fn send_message(&mut self, message: &[u8]) -> Result<(), Error<HEADER>> {
        let length = u32::try_from(message.len())
            .map_err(|_| net::Error::Refused(socklab_core::machine::CommandError::Invalid))?;
        // A connection that has ended says so here, not at the first reply that does not come.
        self.gather()?;
        self.inner.command(client::Command::Begin(length))?;
        let mut rest = message;
        loop {
            let n = self.inner.write_payload(rest)?;
            rest = &rest[n..];
            if rest.is_empty() && !self.inner.is_sending() {
                return Ok(());
            }
            // Blocked: reading the replies may be what lets the server go on.
            if n == 0 && !self.gather()? {
                self.inner.wait()?;
            }
        }
    }

    /// Receives the next reply, waiting for it if need be.
    ///
    /// # Errors
    ///
    /// [`Error`], each ending with its name. Without a message in flight there is nothing to wait
    /// for: [`net::Error::Refused`].
    pub fn receive_message(&mut self) -> Result<Vec<u8>, Error<HEADER>> {
        loop {
            if let Some(reply) = self.whole.pop_front() {
                return Ok(reply);
            }
            if self.gather()? {
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
    /// None today: the system tells nothing about a close.
    pub fn shutdown(self) -> Result<(), Error<HEADER>> {
        self.inner.close_sending();
        Ok(())
    }

    /// Takes in what has come. Whether that was anything.
    fn gather(&mut self) -> Result<bool, Error<HEADER>> {
        let Some(next) = self.inner.try_next()? else { return Ok(false) };
        if let Next::Event(client::Event::Reply(piece)) = next {
            self.partial.extend_from_slice(piece.bytes);
            if piece.is_last() {
                self.whole.push_back(std::mem::take(&mut self.partial));
            }
        }
        Ok(true)
    }
}

/// One connection of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report<const HEADER: usize = 4> {
    /// The client.
    pub peer: SocketAddr,
    /// So many messages went back.
    pub messages: u32,
    /// So many bytes of payload they had.
    pub bytes: u64,
    /// How it ended.
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
    /// Why the client failed, if it did, with what it sent last and what to try.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Ended::Failed(e, quote) = &self.ended else { return None };
        Some(format!("{e}{}{}", advice(e.other_length()), quote.suffix()))
    }
}

/// What the end of an error says of the program's option when a peer has probably sent this kind of
/// length.
pub(crate) fn advice(other: Option<OtherLength>) -> &'static str {
    match other {
        Some(OtherLength { read_bytes: 4, bytes: 2, little_endian: false, .. }) => {
            ": try --header 2"
        }
        _ => "",
    }
}

/// The server's side of echo, for a [`net::Server`].
///
/// `HEADER` is the size of a length on the wire in bytes, 4 or 2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service<const HEADER: usize = 4>(());

impl Service {
    /// Returns a service with lengths of 4 bytes.
    // For one width only, so that its type need not be written out where it is called.
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

/// What the service counts for each connection.
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
