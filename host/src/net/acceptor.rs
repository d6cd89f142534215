//! Accepting of clients in an event loop with many connections: how many, when again, and what the log says if they have
//! to wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::dial::reason;
use super::listen::{ACCEPT_RETRY, Incoming, starved_message};
use super::system::Listening;

/// Number of clients accepted in one round. It is limited so that many new clients do not delay the present ones.
pub(crate) const ACCEPTS: usize = 64;

/// Listener of an event loop. Times are those since the start of the loop.
pub(crate) struct Acceptor<L> {
    /// `None` once it is closed.
    listener: Option<L>,
    state: State,
    /// Whether the log message that clients have to wait because of the limit has been written.
    full_logged: bool,
    /// Whether that about a lack of resources has been written, and not that clients are accepted again.
    starved_logged: bool,
    logged: Arc<Logged>,
}

/// Numbers of listeners for which a log message has been written. Listeners of one server share them: the message is written
/// for the first of them.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    full: AtomicUsize,
    starved: AtomicUsize,
}

/// Number of clients, present and at most.
#[derive(Clone, Copy)]
pub(crate) struct Clients {
    pub(crate) count: usize,
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for the listener's next event.
    Waiting,
    /// More clients may be in the backlog.
    Ready,
    /// The system is out of descriptors or memory. The next attempt is at this time.
    Starved(Duration),
    /// The limit of clients is reached. The next attempt is when one has left.
    Full,
}

impl<L: Listening> Acceptor<L> {
    pub(crate) fn new(listener: Option<L>) -> Self {
        Self {
            listener,
            state: State::Waiting,
            full_logged: false,
            starved_logged: false,
            logged: Arc::default(),
        }
    }

    /// Makes this acceptor write its log messages only if no other one with the same `logged` has written them.
    pub(crate) fn share_log(&mut self, logged: Arc<Logged>) {
        self.logged = logged;
    }

    /// Returns the listener, until it is closed.
    pub(crate) const fn listener(&self) -> Option<&L> {
        self.listener.as_ref()
    }

    /// Handles an event of the listener.
    pub(crate) fn wake(&mut self, limit: usize) {
        match self.state {
            // Another waiting client does not free a descriptor.
            State::Starved(_) => {}
            State::Full => self.log_full(limit),
            State::Waiting | State::Ready => self.state = State::Ready,
        }
    }

    /// Returns whether clients may be waiting that can be accepted at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Returns the time of the next attempt after a lack of resources.
    pub(crate) const fn retry_at(&self) -> Option<Duration> {
        match self.state {
            State::Starved(at) => Some(at),
            State::Waiting | State::Ready | State::Full => None,
        }
    }

    /// Makes the next [`accept`](Self::accept) look for clients without an event.
    pub(crate) const fn retry(&mut self) {
        self.state = State::Ready;
    }

    /// Accepts the next client. Returns `None` if there is none, or none may be accepted now.
    pub(crate) fn accept(
        &mut self,
        now: Duration,
        clients: Clients,
    ) -> Option<(L::Stream, SocketAddr)> {
        match self.state {
            State::Waiting | State::Full => return None,
            State::Starved(at) if now < at => return None,
            State::Starved(_) | State::Ready => {}
        }
        if clients.count >= clients.limit.max(1) {
            self.state = State::Full;
            self.recovered();
            // Otherwise the next event of the listener shows whether clients wait.
            if !self.listener.as_mut().is_some_and(L::rearm) {
                self.log_full(clients.limit);
            }
            return None;
        }
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else {
                self.state = State::Waiting;
                return None;
            };
            match listener.accept() {
                Incoming::Client(stream, peer) => {
                    self.state = State::Ready;
                    return Some((stream, peer));
                }
                Incoming::None => {
                    self.state = State::Waiting;
                    self.not_full();
                    self.recovered();
                    return None;
                }
                Incoming::Gone(e) => {
                    log::debug!("a client left before it was accepted: {}", reason(&e));
                }
                Incoming::Starved(e) => {
                    self.starve(now, &e);
                    return None;
                }
            }
        }
        None
    }

    /// Lets the clients wait, because the system is out of descriptors or memory, and tries again later.
    pub(crate) fn starve(&mut self, now: Duration, e: &io::Error) {
        if !std::mem::replace(&mut self.starved_logged, true)
            && self.logged.starved.fetch_add(1, Ordering::Relaxed) == 0
        {
            log::warn!("{}", starved_message(e));
        }
        self.state = State::Starved(now.saturating_add(ACCEPT_RETRY));
    }

    /// Logs that a lack of resources is over: no client waits because of it.
    fn recovered(&mut self) {
        if std::mem::take(&mut self.starved_logged)
            && self.logged.starved.fetch_sub(1, Ordering::Relaxed) == 1
        {
            log::warn!("accepting connections again");
        }
    }

    /// Logs that clients have to wait because of the limit, if any do. The message is not repeated until the backlog has
    /// been empty.
    fn log_full(&mut self, limit: usize) {
        let Some(listener) = &self.listener else { return };
        if !self.full_logged && listener.has_client() {
            self.full_logged = true;
            if self.logged.full.fetch_add(1, Ordering::Relaxed) > 0 {
                return;
            }
            let most = limit.max(1);
            let s = if most == 1 { "" } else { "s" };
            log::warn!("serving {most} client{s}, the limit; new clients have to wait");
        }
    }

    /// Records that no client has to wait because of the limit.
    fn not_full(&mut self) {
        if std::mem::take(&mut self.full_logged) {
            self.logged.full.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Handles the end of a connection: a descriptor has become free.
    pub(crate) const fn freed(&mut self, now: Duration) {
        match &mut self.state {
            State::Starved(at) => *at = now,
            State::Full => self.state = State::Ready,
            State::Waiting | State::Ready => {}
        }
    }

    /// Stops listening.
    pub(crate) fn close(&mut self) {
        // Not only deregistered: the kernel would continue to accept connections.
        self.listener = None;
        self.state = State::Waiting;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::net::{MioListener, listen};

    #[test]
    fn a_client_above_the_limit_is_accepted_after_one_has_left() {
        let mut poll = Poll::new().unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = MioListener::new(listener, poll.registry(), Token(0)).unwrap();
        let mut acceptor = Acceptor::new(Some(listener));
        let mut clients: Vec<TcpStream> =
            (0..2).map(|_| TcpStream::connect(addr).unwrap()).collect();
        poll.poll(&mut Events::with_capacity(1), None).unwrap();
        acceptor.wake(1);
        let accept = |acceptor: &mut Acceptor<MioListener>, count| {
            acceptor.accept(Duration::ZERO, Clients { count, limit: 1 })
        };
        let first = accept(&mut acceptor, 0).expect("the first client");
        assert!(accept(&mut acceptor, 1).is_none() && !acceptor.is_ready());
        drop(first);
        acceptor.freed(Duration::ZERO);
        assert!(acceptor.is_ready());
        let second = accept(&mut acceptor, 0).expect("the second client");
        assert!(accept(&mut acceptor, 0).is_none() && !acceptor.is_ready());
        acceptor.close();
        acceptor.retry();
        assert!(accept(&mut acceptor, 0).is_none());
        assert!(TcpStream::connect(addr).is_err());
        drop(second);
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }
}
