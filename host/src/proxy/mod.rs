//! A proxy for TCP: it passes bytes between clients and a server, shows them to observers, and adds
//! [faults](crate::faults).
//!
//! ```
//! use socklab::{echo, faults::{Cut, Faults}, net::Server, proxy::Proxy};
//!
//! let server = Server::bind("127.0.0.1:0", echo::Service::new())?.start()?;
//! let bytewise = Faults { cut: Cut::every(1), ..Faults::default() };
//! let proxy = Proxy::bind("127.0.0.1:0", &server.local_addr().into(), None)?
//!     .faults(bytewise, bytewise, 0)
//!     .start()?;
//!
//! let mut client = echo::Client::connect(proxy.local_addr())?;
//! client.send_message(b"Four score and seven years ago")?;
//! assert_eq!(client.receive_message()?, b" and seven years ago");
//! # client.shutdown()?;
//! # proxy.stop()?;
//! # server.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One thread serves all connections. Each direction is passed on by itself: an orderly end leaves the other direction
//! open, and a reset is passed on as a reset. A side that does not read makes the proxy stop reading from the other
//! one, so a connection has at most 512 KiB of memory in each direction, 16 KiB if all together have 64 MiB, and 1 MiB in a
//! direction with faults. A connection whose sides keep up has none.
//!
//! Datagrams have a proxy of their own: see [`datagrams`].

mod connection;
pub mod datagrams;
mod engine;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use mio::Waker;

use self::engine::Engine;
use crate::faults::{Ending, Faults};
use crate::net::{
    BindError, DEFAULT_CLIENTS, DEFAULT_TIMEOUT, DialError, Running, Stopper, Target, listen,
    reason, resolve_all, waker_of,
};

/// One end of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program that connected to the proxy.
    Client,
    /// The program that the proxy connected to.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Direction of bytes through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Flow {
    /// Returns the side that sends.
    #[must_use]
    pub const fn from(self) -> Side {
        match self {
            Self::Up => Side::Client,
            Self::Down => Side::Server,
        }
    }

    /// Returns the side that receives.
    #[must_use]
    pub const fn to(self) -> Side {
        self.reverse().from()
    }

    /// Returns the other direction.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// A proxied connection, as its observers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Number in the order of connecting, from 1.
    pub number: u64,
    /// Address of the client.
    pub client: SocketAddr,
    /// Address of the server that the proxy connects to.
    pub server: SocketAddr,
    /// Number of bytes passed on to the server.
    pub up: u64,
    /// Number of bytes passed on to the client.
    pub down: u64,
}

/// Event of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A client has connected, and the proxy connects to the server.
    Opened,
    /// An address of the server could not be reached, and the proxy tries another one.
    Retried(SocketAddr, &'e io::Error),
    /// The server has accepted the connection.
    Connected,
    /// Bytes have been passed on by one system call.
    Moved(Flow, &'e [u8]),
    /// The end of a direction has been passed on.
    Closed(Flow),
    /// No more bytes are passed on in a direction, because of a fault.
    Stalled(Flow),
    /// A fault has inverted the lowest bit of the byte at this offset, which has just been passed on.
    Flipped(Flow, u64),
    /// The connection ends, and the direction had too few bytes for a fault that changes the byte at this offset.
    Unflipped(Flow, u64),
    /// The connection is reset by a fault, and the receiver's system has not acknowledged the last bytes: this number of
    /// those that were reported as moved. The totals do not contain them.
    Undelivered(Flow, u64),
    /// The connection has ended. This is its last event.
    Ended(&'e Ended),
}

impl Event<'_> {
    /// Returns what a fault has done, in words, if the event is one of those about a byte.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Flipped(flow, offset) => {
                Some(format!("byte {offset} to the {}: lowest bit inverted by a fault", flow.to()))
            }
            Self::Unflipped(flow, offset) => {
                let to = flow.to();
                Some(format!("no bit inverted to the {to}: its stream ended before byte {offset}"))
            }
            Self::Undelivered(flow, bytes) => {
                let s = if *bytes == 1 { "" } else { "s" };
                let to = flow.to();
                Some(format!(
                    "the last {bytes} byte{s} to the {to} did not arrive: it did not read"
                ))
            }
            _ => None,
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// Both directions ended in an orderly way, and this side ended first.
    Closed(Side),
    /// This side reset the connection, and the proxy passed that on.
    Reset(Side),
    /// A fault ended this direction.
    Fault(Flow, Ending),
    /// The proxy could not connect to the server. It reset the client's connection.
    Unreachable(io::Error),
    /// Neither side made progress for [`Limits::idle`]. The proxy reset the connection.
    TimedOut,
    /// The proxy stopped. It reset the connection.
    Stopped,
}

impl Ended {
    /// Returns the side that reset the connection, as the other one sees it. After a timeout or a stop that is the
    /// client, which the proxy represents to the server.
    #[must_use]
    pub fn reset(&self) -> Option<Side> {
        match self {
            Self::Closed(_) | Self::Fault(_, Ending::Close | Ending::Stall) => None,
            Self::Reset(side) => Some(*side),
            Self::Fault(flow, Ending::Reset) => Some(flow.from()),
            Self::Unreachable(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Some(Side::Server)
            }
            Self::Unreachable(_) => None,
            Self::TimedOut | Self::Stopped => Some(Side::Client),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(side) => write!(f, "closed, by the {side} first"),
            Self::Reset(side) => write!(f, "reset by the {side}"),
            Self::Fault(flow, Ending::Close) => {
                write!(f, "closed by a fault, to the {}", flow.to())
            }
            Self::Fault(flow, _) => write!(f, "reset by a fault, to the {}", flow.to()),
            Self::Unreachable(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("connection refused; is a server listening on that port?")
            }
            Self::Unreachable(e) => f.write_str(&reason(e)),
            Self::TimedOut => f.write_str("reset after a timeout: neither side made progress"),
            Self::Stopped => f.write_str("reset: the proxy stopped"),
        }
    }
}

/// Receiver of the events of all connections, for a log, a trace or a capture.
pub trait Observer: Send {
    /// Called for each event, in order. It must not block: it is called in the thread of the proxy.
    fn observe(&mut self, connection: &Connection, event: &Event<'_>);

    /// Called when the proxy has been stopped and waits for open connections: for this number, and at most this long.
    fn stopping(&mut self, connections: usize, grace: Duration) {
        let _ = (connections, grace);
    }

    /// Returns whether it can take more bytes. While it cannot, the proxy reads nothing. When it can again, it must call
    /// the function that [`Proxy::resumer`] returned.
    fn is_ready(&self) -> bool {
        true
    }

    /// Returns the maximum number of bytes that the proxy reads at a time, for an observer that needs long for many
    /// bytes. The other connections wait meanwhile. Called once.
    fn read_max(&self) -> usize {
        usize::MAX
    }
}

/// Limits of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for connecting to the server. `None` means that of the system.
    pub connect: Option<Duration>,
    /// Time without progress of either side after which a connection is reset. `None` means no limit. Progress is a byte
    /// that a socket has delivered or accepted.
    pub idle: Option<Duration>,
    /// Maximum number of clients at a time, at least 1. Further clients wait until one leaves.
    pub clients: usize,
    /// Time that open connections have to end after a stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Some(DEFAULT_TIMEOUT),
            idle: None,
            clients: DEFAULT_CLIENTS,
            grace: Duration::from_secs(5),
        }
    }
}

/// Why a proxy could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The name of the server could not be resolved.
    Target(DialError),
    /// The proxy cannot listen.
    Bind(BindError),
    /// The server is the proxy itself.
    Loop(SocketAddr),
    /// The system cannot wait for events.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(e) => e.fmt(f),
            Self::Bind(e) => e.fmt(f),
            Self::Loop(addr) => {
                write!(f, "{addr} is the proxy itself; give the address of a server")
            }
            Self::System(e) => write!(f, "cannot wait for the network: {}", reason(e)),
        }
    }
}

impl std::error::Error for Error {}

/// A proxy that is bound to its address and does not serve yet.
pub struct Proxy {
    engine: Engine,
    addr: SocketAddr,
    waker: Arc<Waker>,
    stops: Arc<AtomicU32>,
}

impl Proxy {
    /// Resolves the name of the server, and listens on the first of these addresses that can be bound.
    ///
    /// The server's addresses are tried in order for each connection, beginning with the one that accepted the last
    /// connection. Whether a server listens there shows when the first client connects.
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
        let listener = listen(addrs).map_err(Error::Bind)?;
        let addr = listener.local_addr().map_err(Error::System)?;
        if let Some(target) = targets.iter().find(|target| is_itself(addr, **target)) {
            return Err(Error::Loop(*target));
        }
        let (engine, waker) = Engine::new(listener, targets).map_err(Error::System)?;
        Ok(Self { engine, addr, waker, stops: Arc::default() })
    }

    /// Sets the faults of both directions. The seed selects the schedules of all connections, if they are random.
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

    /// Returns the address it listens on.
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

    /// Returns a handle that stops the proxy: first it accepts no more clients, and gives the open connections
    /// [`Limits::grace`] to end. The second call resets them.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(waker_of(Arc::clone(&self.waker)), Arc::clone(&self.stops))
    }

    /// Serves in this thread until [`Stopper::stop`].
    ///
    /// # Errors
    ///
    /// When the system cannot poll. An error of a connection ends only that connection.
    pub fn run(mut self) -> io::Result<()> {
        self.engine.run(&self.stops)
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system cannot create a thread.
    pub fn start(self) -> io::Result<Running> {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread =
            thread::Builder::new().name("socklab proxy".into()).spawn(move || self.run())?;
        Ok(Running::new(addr, stopper, thread))
    }
}

/// Returns whether a server address is that of the proxy itself.
fn is_itself(proxy: SocketAddr, target: SocketAddr) -> bool {
    if proxy.port() != target.port() {
        return false;
    }
    let proxy = proxy.ip().to_canonical();
    let target = target.ip().to_canonical();
    // What is sent to the unspecified address arrives at this machine.
    target.is_unspecified()
        || proxy == target
        || (proxy.is_unspecified() && (target.is_loopback() || is_local(target)))
}

/// Returns whether an address is one of this machine: it is then also the local address of a socket that sends there.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket sends nothing. Any port will do.
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    local.is_ok_and(|local| local.ip() == ip)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_grace_period_without_end_lasts_until_the_last_connection_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().into();
        let proxy = Proxy::bind("127.0.0.1:0", &target, None).unwrap();
        let proxy = proxy.limits(Limits { grace: Duration::MAX, ..Limits::default() });
        let running = proxy.start().unwrap();
        let addr = running.local_addr();
        let client = TcpStream::connect(addr).unwrap();
        let (server, _) = listener.accept().unwrap();
        let stopped = thread::spawn(move || running.stop());
        // Until the proxy has noticed the stop.
        while TcpStream::connect(addr).is_ok() {
            thread::yield_now();
        }
        // With the listener, all connections to the server end.
        drop((client, server, listener));
        stopped.join().unwrap().unwrap();
    }
}
