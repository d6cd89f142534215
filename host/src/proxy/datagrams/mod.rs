//! A proxy for UDP: it passes datagrams between clients and a server, shows them to observers, and adds
//! [faults](crate::faults::datagrams).
//!
//! ```
//! use std::net::UdpSocket;
//! use socklab::faults::datagrams::{Chance, Faults};
//! use socklab::proxy::datagrams::Proxy;
//!
//! let server = UdpSocket::bind("127.0.0.1:0")?;
//! let twice = Faults { duplicate: Chance::ALWAYS, ..Faults::default() };
//! let proxy = Proxy::bind("127.0.0.1:0", &server.local_addr()?.into(), None)?
//!     .faults(twice, Faults::default(), 0)
//!     .start()?;
//!
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(b"question", proxy.local_addr())?;
//! let mut buffer = [0; 100];
//! for _ in 0..2 {
//!     let (n, from) = server.recv_from(&mut buffer)?;
//!     assert_eq!(&buffer[..n], b"question");
//!     server.send_to(b"answer", from)?;
//!     assert_eq!(client.recv(&mut buffer)?, 6);
//! }
//! # proxy.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One thread serves all clients. Each client address gets a socket of its own towards the server, so the server sees
//! as many clients. Datagrams have no end: a client is forgotten when it has been idle, or when the table is full and
//! another one arrives. The one that has been idle for longest leaves then: most of a full table are clients that have
//! gone, and a new one must not wait for them.
//!
//! A datagram is never waited for. What the system does not accept is dropped and counted, as in a network.

mod engine;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use mio::Waker;
use mio::net::UdpSocket;
use socket2::{Domain, SockRef, Socket, Type};

use self::engine::Engine;
use super::{Error, Flow, is_itself};
use crate::faults::datagrams::{Counts, Fate, Faults};
use crate::net::{
    BindError, DEFAULT_CLIENTS, Running, Stopper, Target, is_self_connected, resolve_all, waker_of,
};

/// A client of the proxy, as its observers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// Number in the order of the first datagrams, from 1.
    pub number: u64,
    /// Address of the client.
    pub client: SocketAddr,
    /// Address of the server that the proxy sends to.
    pub server: SocketAddr,
    /// What the client has sent, and what of it was passed on.
    pub up: Traffic,
    /// What the server has sent, and what of it was passed on.
    pub down: Traffic,
}

/// What has been passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Numbers of datagrams.
    pub counts: Counts,
    /// Number of datagrams that the system did not accept for sending, out of those that left.
    pub failed: u64,
    /// Number of reports of the network that a datagram did not reach the server, out of those that were sent. One that
    /// was then sent to another address of the server does not count.
    pub refused: u64,
    /// Number of bytes sent. Those of a duplicate count again.
    pub bytes: u64,
}

impl Traffic {
    /// Adds what another client has sent.
    fn add(&mut self, other: &Self) {
        let Self { counts, failed, refused, bytes } = other;
        self.counts.arrived += counts.arrived;
        self.counts.passed += counts.passed;
        self.counts.dropped += counts.dropped;
        self.counts.overflowed += counts.overflowed;
        self.counts.duplicated += counts.duplicated;
        self.counts.reordered += counts.reordered;
        self.failed += failed;
        self.refused += refused;
        self.bytes += bytes;
    }
}

/// Traffic of all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Number of clients. One that was forgotten and came back counts again.
    pub clients: u64,
    /// What the clients have sent.
    pub up: Traffic,
    /// What the server has sent.
    pub down: Traffic,
}

/// Event of a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// The first datagram of the client has arrived.
    Opened,
    /// A datagram has arrived that is dropped, or held.
    Arrived(Flow, &'e [u8], Fate),
    /// A datagram has been sent.
    Sent(Flow, &'e [u8], Passage),
    /// The system did not accept a datagram for sending. It is lost.
    Failed(Flow, &'e [u8], &'e io::Error),
    /// The network reports that a datagram did not reach the server: usually nothing listens there. It has been sent to
    /// the other address of the server, if there is one.
    Unreachable(&'e io::Error, Option<SocketAddr>),
    /// The client is forgotten. This is its last event.
    Ended(Ended),
}

/// How a datagram was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passage {
    /// Number of this copy, from 1.
    pub copy: u8,
    /// Number of copies that are sent.
    pub copies: u8,
    /// Whether one that arrived later was sent before it.
    pub is_reordered: bool,
    /// Time that the proxy has kept it.
    pub kept: Duration,
}

/// Why a client was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was idle for [`Limits::idle`].
    Idle,
    /// It was idle for longest when another client needed its place.
    Replaced,
    /// The proxy stopped.
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "forgotten, because it was idle",
            Self::Replaced => "forgotten, to make room for another client",
            Self::Stopped => "the proxy stopped",
        })
    }
}

/// Receiver of the events of all clients, for a log, a trace or a capture.
pub trait Observer: Send {
    /// Called for each event, in order. It must not block: it is called in the thread of the proxy.
    fn observe(&mut self, client: &Client, event: &Event<'_>);

    /// Returns whether it can take more datagrams. While it cannot, the proxy receives none, and the system drops what it
    /// has no space for. When it can again, it must call the function that [`Proxy::resumer`] returned.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Limits of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time without a datagram after which a client is forgotten. `None` means no limit.
    pub idle: Option<Duration>,
    /// Maximum number of clients at a time, at least 1.
    pub clients: usize,
}

impl Limits {
    /// Default of [`idle`](Self::idle): that of address translators, two minutes (RFC 4787, requirement 5).
    pub const IDLE: Duration = Duration::from_secs(120);
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Some(Self::IDLE), clients: DEFAULT_CLIENTS }
    }
}

/// A proxy that is bound to its address and does not serve yet.
pub struct Proxy {
    engine: Engine,
    addr: SocketAddr,
    waker: Arc<Waker>,
    stops: Arc<AtomicU32>,
}

impl Proxy {
    /// Resolves the name of the server, and binds the first of these addresses that can be bound.
    ///
    /// While the server has not answered a client, the server's addresses are tried in order: a report that one is
    /// unreachable leads to the next one.
    ///
    /// # Errors
    ///
    /// [`Error`]. `timeout` limits the time for resolving the name.
    pub fn bind(
        addrs: impl ToSocketAddrs + fmt::Debug,
        target: &Target,
        timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        let targets = resolve_all(target, timeout).map_err(Error::Target)?;
        let socket = bind(addrs).map_err(Error::Bind)?;
        let addr = socket.local_addr().map_err(Error::System)?;
        if let Some(target) = targets.iter().find(|target| is_itself(addr, **target)) {
            return Err(Error::Loop(*target));
        }
        let (engine, waker) = Engine::new(socket, targets).map_err(Error::System)?;
        Ok(Self { engine, addr, waker, stops: Arc::default() })
    }

    /// Sets the faults of both directions. The seed selects the schedules of all clients, if they are random.
    #[must_use]
    pub fn faults(mut self, up: Faults, down: Faults, seed: u64) -> Self {
        self.engine.set_faults(up, down, seed);
        self
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.engine.limits = limits;
        self
    }

    /// Adds an observer.
    #[must_use]
    pub fn observer(mut self, observer: Box<dyn Observer>) -> Self {
        self.engine.observers.push(observer);
        self
    }

    /// Returns the address it is bound to.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the addresses of the server, in the order in which they are tried.
    pub fn targets(&self) -> &[SocketAddr] {
        &self.engine.targets
    }

    /// Returns the function that an observer calls when it [is ready](Observer::is_ready) again.
    pub fn resumer(&self) -> impl Fn() + Send + Sync + use<> {
        let waker = Arc::clone(&self.waker);
        move || {
            // An error means that the proxy has ended.
            let _ = waker.wake();
        }
    }

    /// Returns a handle that stops the proxy. What it keeps is not sent any more.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(waker_of(Arc::clone(&self.waker)), Arc::clone(&self.stops))
    }

    /// Serves in this thread until [`Stopper::stop`]. Returns what has been passed.
    ///
    /// # Errors
    ///
    /// When the system cannot poll. An error of a client concerns only that client.
    pub fn run(mut self) -> io::Result<Totals> {
        self.engine.run(&self.stops)
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system cannot create a thread.
    pub fn start(self) -> io::Result<Running> {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread = thread::Builder::new()
            .name("socklab proxy".into())
            .spawn(move || self.run().map(|_| ()))?;
        Ok(Running::new(addr, stopper, thread))
    }
}

/// Binds the first of the addresses that can be bound.
fn bind(addrs: impl ToSocketAddrs + fmt::Debug) -> Result<UdpSocket, BindError> {
    let text = format!("{addrs:?}");
    let text = text.trim_matches('"');
    let mut error = None;
    for addr in addrs.to_socket_addrs().map_err(|e| BindError::new(text, e))? {
        match bind_to(addr) {
            Ok(socket) => return Ok(socket),
            Err(e) => {
                error.get_or_insert_with(|| BindError::new(&addr.to_string(), e));
            }
        }
    }
    Err(error.unwrap_or_else(|| BindError::new(text, io::ErrorKind::NotFound.into())))
}

fn bind_to(addr: SocketAddr) -> io::Result<UdpSocket> {
    /// Space for datagrams that arrive while the proxy is busy, in bytes. The system reduces it to its own limit.
    const SPACE: usize = 4 * 1024 * 1024;
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if addr.is_ipv6() {
        // [::] receives IPv4 too, independent of the system's default.
        socket.set_only_v6(false)?;
    }
    let _ = socket.set_recv_buffer_size(SPACE);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Returns a socket that sends to the server, and receives only from it.
fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    if is_self_connected(&SockRef::from(&socket)) {
        // The system has chosen the port that the server is not bound to yet.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}
