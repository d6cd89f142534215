use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use embedded_nal::{UdpClientStack, UdpFullStack};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};
use socklab_core::datagram::Datagram;

use crate::net::peer::unmapped;
use crate::net::stack::{Direction, Observer};
use crate::sys::datagrams::{Wildcard, receive};
use crate::sys::extra::datagrams as extra;
use crate::sys::net::error_kind;

/// Number of peers that an observer distinguishes. Anyone can send from any number of addresses.
const PEERS: usize = 1024;

/// Socket of the [`Stack`].
pub(super) enum DatagramSocket {
    /// It has no address yet.
    Unbound,
    /// Bound to a port of all addresses by std-embedded-nal.
    Wildcard(Wildcard, u16),
    /// Bound to any other address: std-embedded-nal binds to all, with IPv6, and does not report the port that the
    /// system has selected.
    Bound(UdpSocket),
    /// A client's, with the address to which it sends.
    Client { socket: UdpSocket, remote: SocketAddr, is_connected: bool },
}

impl DatagramSocket {
    /// Returns a socket bound to an address.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        if addr.ip() == Ipv6Addr::UNSPECIFIED
            && addr.port() != 0
            && let Ok(socket) = Wildcard::bind(addr.port())
        {
            return Ok(Self::Wildcard(socket, addr.port()));
        }
        bind(addr).map(Self::Bound)
    }

    /// Returns a client's socket.
    ///
    /// It is not connected, because then the system would hide what other addresses send. Where only a connected socket
    /// reports that a datagram did not arrive, it is.
    fn connect(remote: SocketAddr) -> io::Result<Self> {
        // The system sends what is for no address to the machine itself, and the answer has another one.
        let remote = match remote.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (Ipv4Addr::LOCALHOST, remote.port()).into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (Ipv6Addr::LOCALHOST, remote.port()).into(),
            _ => remote,
        };
        let local = SocketAddr::new(source(remote)?.ip(), 0);
        let first = bind(local)?;
        // With the server's port the client would receive what it sends itself.
        let socket = match first.local_addr()?.port() == remote.port() {
            true => bind(local)?,
            false => first,
        };
        let is_connected = !extra::report_unreachable(&socket);
        if is_connected {
            socket.connect(remote)?;
        }
        Ok(Self::Client { socket, remote, is_connected })
    }

    /// Returns the address to which it is bound. That of all addresses is unspecified.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Unbound => Err(ErrorKind::NotConnected.into()),
            Self::Wildcard(_, port) => Ok((Ipv6Addr::UNSPECIFIED, *port).into()),
            Self::Bound(socket) | Self::Client { socket, .. } => socket.local_addr(),
        }
    }

    /// Returns the address to which a client sends.
    pub(super) const fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Client { remote, .. } => Some(*remote),
            Self::Unbound | Self::Wildcard(..) | Self::Bound(_) => None,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Unbound => Ok(()),
            Self::Wildcard(socket, _) => socket.register(registry, token, Interest::READABLE),
            Self::Bound(socket) | Self::Client { socket, .. } => {
                registry.register(socket, token, Interest::READABLE)
            }
        }
    }

    /// Changes the events to wait for. `is_full`: the socket has refused a datagram. Otherwise each datagram that leaves
    /// would cause an event.
    pub(super) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        is_full: bool,
    ) -> io::Result<()> {
        let interest = match is_full {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        match self {
            Self::Unbound => Ok(()),
            Self::Wildcard(socket, _) => socket.reregister(registry, token, interest),
            Self::Bound(socket) | Self::Client { socket, .. } => {
                registry.reregister(socket, token, interest)
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if addr.is_ipv6() {
        // [::] receives from IPv4 too, independent of the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Returns the local address from which the system sends to a peer. Nothing is sent.
fn source(peer: SocketAddr) -> io::Result<SocketAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    socket.local_addr()
}

/// Error of the transport.
#[derive(Debug)]
pub(super) enum Fault {
    Send(io::Error),
    Receive(io::Error),
}

impl From<Fault> for io::Error {
    fn from((Fault::Send(e) | Fault::Receive(e)): Fault) -> Self {
        e
    }
}

/// Returns whether an error means that a datagram did not arrive.
pub(super) fn is_unreachable(e: &io::Error) -> bool {
    matches!(
        error_kind(e),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// Datagram stack of the operating system, with an observer.
#[derive(Default)]
pub(super) struct Stack {
    scratch: Vec<u8>,
    /// Report about an earlier datagram, which the call that sends another one has returned.
    report: Option<io::Error>,
    /// Sender of the datagram received last.
    pub(super) from: Option<SocketAddr>,
    /// Time that has passed without a reply, until it is clear whether the message is sent again.
    pub(super) timed_out: Option<Duration>,
    observed: Option<Observed>,
}

/// The observer of a [`Stack`], and the peers that it knows.
struct Observed {
    observer: Box<dyn Observer>,
    bound: SocketAddr,
    /// Number of each peer, and the local address for it.
    peers: HashMap<SocketAddr, (usize, SocketAddr)>,
    next: usize,
}

impl Observed {
    /// Returns the number of a peer, and the local address for it.
    fn peer(&mut self, peer: SocketAddr) -> (usize, SocketAddr) {
        if let Some(found) = self.peers.get(&peer) {
            return *found;
        }
        if self.peers.len() >= PEERS {
            self.end();
        }
        let bound = unmapped(self.bound);
        let local = match bound.ip().is_unspecified() {
            true => source(peer).map_or(bound, |local| SocketAddr::new(local.ip(), bound.port())),
            false => bound,
        };
        let found = (self.next, local);
        self.next += 1;
        self.peers.insert(peer, found);
        found
    }

    fn end(&mut self) {
        for (peer, (number, _)) in self.peers.drain() {
            self.observer.ended(number, peer, None);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stack {
    /// Passes every datagram from now on to `observer`. `bound` is the address of the socket.
    pub(super) fn observe(&mut self, observer: Option<Box<dyn Observer>>, bound: SocketAddr) {
        self.observed =
            observer.map(|observer| Observed { observer, bound, peers: HashMap::new(), next: 0 });
    }

    /// Sets the address of the socket, after it has been replaced.
    pub(super) fn rebound(&mut self, bound: SocketAddr) {
        if let Some(observed) = &mut self.observed {
            observed.bound = bound;
        }
    }

    /// Returns whether the observer can take another datagram.
    pub(super) fn is_ready(&self) -> bool {
        self.observed.as_ref().is_none_or(|observed| observed.observer.is_ready())
    }

    fn record(&mut self, direction: Direction, peer: SocketAddr, datagram: Datagram<'_>) {
        let Some(observed) = &mut self.observed else { return };
        let peer = unmapped(peer);
        let (number, local) = observed.peer(peer);
        observed.observer.datagram(number, local, peer, direction, datagram);
    }

    /// Reports anything else to the observer, in words.
    pub(super) fn note(&mut self, peer: SocketAddr, text: impl FnOnce() -> String) {
        let Some(observed) = &mut self.observed else { return };
        let peer = unmapped(peer);
        let (number, local) = observed.peer(peer);
        observed.observer.note(number, local, peer, &text());
    }

    fn transmit(
        &mut self,
        socket: &mut DatagramSocket,
        to: SocketAddr,
        bytes: &[u8],
    ) -> nb::Result<(), Fault> {
        let mut report = None;
        loop {
            let sent = match socket {
                DatagramSocket::Unbound => Err(io::Error::from(ErrorKind::NotConnected).into()),
                DatagramSocket::Wildcard(socket, _) => socket.send_to(to, bytes),
                DatagramSocket::Client { socket, is_connected: true, .. } => {
                    socket.send(bytes).map(drop).map_err(blocks)
                }
                DatagramSocket::Bound(socket) | DatagramSocket::Client { socket, .. } => {
                    socket.send_to(bytes, to).map(drop).map_err(blocks)
                }
            };
            match sent {
                Ok(()) => break,
                Err(nb::Error::WouldBlock) => return Err(nb::Error::WouldBlock),
                Err(nb::Error::Other(e)) if e.kind() == ErrorKind::Interrupted => {}
                // The error may be the report about an earlier datagram: then this one has not been sent.
                Err(nb::Error::Other(e)) if report.is_none() && is_unreachable(&e) => {
                    clear_reports(socket);
                    report = Some(e);
                }
                Err(nb::Error::Other(e)) => return Err(nb::Error::Other(Fault::Send(e))),
            }
        }
        self.report = report.or(self.report.take());
        if let Some(time) = self.timed_out.take() {
            self.note(to, || format!("no reply within {time:?}, sent again"));
        }
        self.record(Direction::Sent, to, Datagram::whole(bytes));
        Ok(())
    }
}

fn blocks(e: io::Error) -> nb::Error<io::Error> {
    match e.kind() {
        ErrorKind::WouldBlock => nb::Error::WouldBlock,
        _ => nb::Error::Other(e),
    }
}

fn clear_reports(socket: &DatagramSocket) {
    if let DatagramSocket::Client { socket, .. } = socket {
        extra::clear_reports(socket);
    }
}

impl UdpClientStack for Stack {
    type UdpSocket = DatagramSocket;
    type Error = Fault;

    fn socket(&mut self) -> Result<DatagramSocket, Fault> {
        Ok(DatagramSocket::Unbound)
    }

    fn connect(&mut self, socket: &mut DatagramSocket, remote: SocketAddr) -> Result<(), Fault> {
        *socket = DatagramSocket::connect(remote).map_err(Fault::Send)?;
        Ok(())
    }

    fn send(&mut self, socket: &mut DatagramSocket, bytes: &[u8]) -> nb::Result<(), Fault> {
        let not_connected = || Fault::Send(ErrorKind::NotConnected.into());
        let remote = socket.remote().ok_or_else(not_connected)?;
        self.transmit(socket, remote, bytes)
    }

    fn receive(
        &mut self,
        socket: &mut DatagramSocket,
        buffer: &mut [u8],
    ) -> nb::Result<(usize, SocketAddr), Fault> {
        if let Some(report) = self.report.take() {
            return Err(nb::Error::Other(Fault::Receive(report)));
        }
        loop {
            let received = match socket {
                DatagramSocket::Unbound => Err(io::Error::from(ErrorKind::NotConnected).into()),
                DatagramSocket::Wildcard(socket, _) => socket.receive(buffer),
                DatagramSocket::Bound(socket) | DatagramSocket::Client { socket, .. } => {
                    receive(socket, buffer, &mut self.scratch).map_err(blocks)
                }
            };
            match received {
                Ok((n, from)) => {
                    self.from = Some(from);
                    self.record(Direction::Received, from, Datagram::in_buffer(buffer, n));
                    return Ok((n, from));
                }
                Err(nb::Error::WouldBlock) => return Err(nb::Error::WouldBlock),
                Err(nb::Error::Other(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(nb::Error::Other(e)) => {
                    clear_reports(socket);
                    return Err(nb::Error::Other(Fault::Receive(e)));
                }
            }
        }
    }

    fn close(&mut self, _: DatagramSocket) -> Result<(), Fault> {
        Ok(())
    }
}

impl UdpFullStack for Stack {
    fn bind(&mut self, socket: &mut DatagramSocket, port: u16) -> Result<(), Fault> {
        let addr = (Ipv6Addr::UNSPECIFIED, port).into();
        let bound = DatagramSocket::bind(addr)
            .or_else(|_| DatagramSocket::bind((Ipv4Addr::UNSPECIFIED, port).into()));
        *socket = bound.map_err(Fault::Receive)?;
        Ok(())
    }

    fn send_to(
        &mut self,
        socket: &mut DatagramSocket,
        remote: SocketAddr,
        buffer: &[u8],
    ) -> nb::Result<(), Fault> {
        self.transmit(socket, remote, buffer)
    }
}
