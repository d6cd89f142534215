use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::dial::reason;
use super::listen::{ACCEPT_RETRY, BindError, Incoming, accept, listen, starved_message};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// Listener for a server that has one client at a time, such as one whose player is a person. Other clients wait in
/// the backlog.
///
/// ```no_run
/// # use socklab::net::{Client, Listener};
/// # fn talk(machine: socklab_core::echo::server::Server) -> std::io::Result<()> {
/// let mut listener = Listener::bind("127.0.0.1:0").map_err(std::io::Error::other)?;
/// while let Some(accepted) = listener.accept()? {
///     let client = Client::accepted(accepted, machine.clone(), 4096, None)?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    listener: mio::net::TcpListener,
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
}

/// Accepted connection, to be passed to [`Client::accepted`](super::Client::accepted).
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

impl Accepted {
    /// Returns the client's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Listener {
    /// Listens on the first of these addresses that can be bound. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(addrs: impl ToSocketAddrs + fmt::Debug) -> Result<Self, BindError> {
        let text = format!("{addrs:?}");
        let listener = listen(addrs)?;
        Self::from_socket(listener).map_err(|e| BindError::new(text.trim_matches('"'), e))
    }

    fn from_socket(mut listener: mio::net::TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { listener, addr, poll, events: Events::with_capacity(2), waker })
    }

    /// Returns the address it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns a waker that ends an [`accept`](Self::accept) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for the next client. Returns `None` if the [`waker`](Self::waker) was used.
    ///
    /// # Errors
    ///
    /// When the system cannot wait. A client that left before it was accepted causes no error. While the system is
    /// out of descriptors or memory, clients stay in the backlog.
    pub fn accept(&mut self) -> io::Result<Option<Accepted>> {
        let mut is_starved = false;
        loop {
            let pause = match accept(&self.listener) {
                Incoming::Client(stream, peer) => {
                    log::debug!("connection from {peer}");
                    return Ok(Some(Accepted { stream, peer }));
                }
                Incoming::Gone(e) => {
                    log::debug!("a client left before it was accepted: {}", reason(&e));
                    continue;
                }
                Incoming::None => None,
                Incoming::Starved(e) => {
                    if !std::mem::replace(&mut is_starved, true) {
                        log::warn!("{}", starved_message(&e));
                    }
                    Some(ACCEPT_RETRY)
                }
            };
            match self.poll.poll(&mut self.events, pause) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            if self.events.iter().any(|event| event.token() == WAKER) {
                return Ok(None);
            }
        }
    }
}
