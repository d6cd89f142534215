//! TCP and UDP over smoltcp as an [`embedded_nal`] stack, in memory that is given once: no
//! allocation. This file has TCP, and [`udp`] has UDP.
//!
//! ```text
//!              connect                               close
//!   Free -------------------------> Open ----------------------> Closing
//!    ^ |                             ^                              |
//!    | '--listen--> Waiting --accept-'                              |
//!    '-- the peer closed too, LINGER has passed, or it is needed --'
//! ```
//!
//! smoltcp has no backlog: a listening socket becomes the connection. A listener therefore keeps
//! [`BACKLOG`] sockets listening, so that a client that connects while another connection is being
//! set up finds one. Clients beyond that number, or beyond the number of sockets, are refused:
//! smoltcp answers with a reset, where an operating system would let the client try again.

pub mod udp;

use core::net::{Ipv4Addr, SocketAddr};

use embedded_nal::{TcpClientStack, TcpError, TcpErrorKind, TcpFullStack};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr};

use crate::clock;
use crate::ethernet::Ethernet;

/// Number of sockets that listen for one listener.
pub const BACKLOG: usize = 2;

/// How long a peer may fail to acknowledge data before the connection counts as lost.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of the keep-alive packets to an idle peer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long the peer may take to close after us.
const LINGER: Duration = Duration::from_secs(5);

/// RFC 6335: start of the ports for outgoing connections.
const FIRST_PORT: u16 = 0xc000;

/// Address that QEMU's user network gives its guest.
const ADDRESS: Ipv4Cidr = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 2, 15), 24);
/// The host, as its guest sees it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What `N` sockets need besides buffers. Separate from the buffers because it is not zero at the
/// start and so occupies flash too.
pub type Sockets<const N: usize> = [SocketStorage<'static>; N];

/// Initial value of [`Sockets`].
pub const fn sockets<const N: usize>() -> Sockets<N> {
    [SocketStorage::EMPTY; N]
}

/// Buffers of `N` sockets: `RX` bytes for received data, `TX` bytes for data to send.
pub type Buffers<const N: usize, const RX: usize, const TX: usize> = [([u8; RX], [u8; TX]); N];

/// Initial value of [`Buffers`].
pub const fn buffers<const N: usize, const RX: usize, const TX: usize>() -> Buffers<N, RX, TX> {
    [([0; RX], [0; TX]); N]
}

/// The network, with `N` sockets for TCP and `D` for UDP.
pub struct Stack<const N: usize, const D: usize = 0> {
    ethernet: Ethernet,
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: [Slot; N],
    datagrams: [udp::Slot; D],
    next_port: u16,
}

#[derive(Clone, Copy)]
struct Slot {
    handle: SocketHandle,
    usage: Usage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Free,
    /// Listens for a listener on this port.
    Waiting(u16),
    Open,
    /// Closed by us, until the peer closes too or this time is reached.
    Closing(Instant),
}

/// A socket, or what becomes one.
#[derive(Debug, defmt::Format)]
pub struct Socket(Kind);

#[derive(Clone, Copy, Debug, defmt::Format)]
enum Kind {
    New,
    Bound(u16),
    Listener(u16),
    /// Index of the slot.
    Connection(usize),
}

/// Why a network operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub enum Error {
    /// All sockets are in use.
    NoSocket,
    /// The socket is of the wrong kind for the operation.
    WrongKind,
    /// There is no route to the address.
    Unaddressable,
    /// No program listens there.
    Refused,
    /// The connection is gone: reset, or its peer no longer answers.
    Lost,
    /// The connection was closed by us.
    Closed,
    /// The datagram is longer than a packet or the socket's buffer.
    TooLong,
}

impl TcpError for Error {
    fn kind(&self) -> TcpErrorKind {
        match self {
            Self::Closed => TcpErrorKind::PipeClosed,
            _ => TcpErrorKind::Other,
        }
    }
}

impl<const N: usize> Stack<N> {
    /// Creates the network over this controller, for TCP alone. Sequence and port numbers are
    /// derived from `seed`.
    pub fn new<const RX: usize, const TX: usize>(
        ethernet: Ethernet,
        sockets: &'static mut Sockets<N>,
        buffers: &'static mut Buffers<N, RX, TX>,
        seed: u64,
    ) -> Self {
        let none: &'static mut Buffers<0, 0, 0> = &mut [];
        Self::with(ethernet, sockets, buffers, (&mut [], none), seed)
    }
}

impl<const D: usize> Stack<0, D> {
    /// Creates the network over this controller, for UDP alone. Port numbers are derived from
    /// `seed`.
    pub fn datagrams<const RX: usize, const TX: usize>(
        ethernet: Ethernet,
        sockets: &'static mut Sockets<D>,
        queues: &'static mut udp::Queues<D>,
        buffers: &'static mut Buffers<D, RX, TX>,
        seed: u64,
    ) -> Self {
        let none: &'static mut Buffers<0, 0, 0> = &mut [];
        Self::with(ethernet, sockets, none, (queues, buffers), seed)
    }
}

/// What the sockets for UDP need.
type Datagrams<const D: usize, const RX: usize, const TX: usize> =
    (&'static mut udp::Queues<D>, &'static mut Buffers<D, RX, TX>);

impl<const N: usize, const D: usize> Stack<N, D> {
    /// Creates the network over this controller, for both. `sockets` has `N` + `D` entries.
    pub fn with<
        const ALL: usize,
        const RX: usize,
        const TX: usize,
        const UDP_RX: usize,
        const UDP_TX: usize,
    >(
        mut ethernet: Ethernet,
        sockets: &'static mut Sockets<ALL>,
        buffers: &'static mut Buffers<N, RX, TX>,
        (queues, datagrams): Datagrams<D, UDP_RX, UDP_TX>,
        seed: u64,
    ) -> Self {
        const { assert!(ALL == N + D) };
        let mut config = Config::new(HardwareAddress::Ethernet(ethernet.address()));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut ethernet, clock::now());
        interface.update_ip_addrs(|addresses| {
            // There is space for at least one address.
            let _ = addresses.push(IpCidr::Ipv4(ADDRESS));
        });
        // There is space for at least one route.
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);

        let mut sockets = SocketSet::new(&mut sockets[..]);
        let mut buffers = buffers.iter_mut();
        let slots = [(); N].map(|()| {
            let (rx, tx) = match buffers.next() {
                Some((rx, tx)) => (&mut rx[..], &mut tx[..]),
                None => Default::default(),
            };
            let mut socket =
                tcp::Socket::new(tcp::SocketBuffer::new(rx), tcp::SocketBuffer::new(tx));
            // A quiz consists of small messages back and forth, and the driver already joins what
            // belongs together.
            socket.set_nagle_enabled(false);
            Slot { handle: sockets.add(socket), usage: Usage::Free }
        });
        let (mut queues, mut buffers) = (queues.iter_mut(), datagrams.iter_mut());
        let datagrams =
            [(); D].map(|()| udp::Slot::new(&mut sockets, queues.next(), buffers.next()));
        let next_port = FIRST_PORT | seed as u16;
        Self { ethernet, interface, sockets, slots, datagrams, next_port }
    }

    /// Moves packets in both directions.
    pub fn poll(&mut self) {
        let now = clock::now();
        self.interface.poll(now, &mut self.ethernet, &mut self.sockets);
        for slot in &mut self.slots {
            if let Usage::Closing(until) = slot.usage {
                let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
                if now >= until {
                    socket.abort();
                }
                if !socket.is_open() {
                    slot.usage = Usage::Free;
                }
            }
        }
    }

    /// Sleeps until [`poll`](Self::poll) has something to do, or until this time.
    pub fn wait(&mut self, until: Option<Instant>) {
        loop {
            let now = clock::now();
            let deadlines = self.slots.iter().filter_map(|slot| match slot.usage {
                Usage::Closing(until) => Some(until),
                Usage::Free | Usage::Waiting(_) | Usage::Open => None,
            });
            // Does not sleep if there is something to send: that must not wait for a tick.
            let due = self.interface.poll_at(now, &self.sockets);
            let mut all = due.into_iter().chain(deadlines).chain(until);
            if self.ethernet.has_frame() || all.any(|at| at <= now) {
                return;
            }
            self.ethernet.sleep();
        }
    }

    /// Waits until all closed connections have ended, so that the peers notice, and until all
    /// datagrams have left.
    pub fn finish(&mut self) {
        let until = clock::now() + LINGER;
        loop {
            self.poll();
            let is_closing = self.slots.iter().any(|slot| matches!(slot.usage, Usage::Closing(_)));
            // Without a limit a receiver whose Ethernet address remains unknown would hold it up.
            if !is_closing && (!self.owes_datagrams() || clock::now() >= until) {
                return;
            }
            self.wait(Some(until));
        }
    }

    /// Returns the next port for outgoing traffic.
    fn outgoing_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = FIRST_PORT | port.wrapping_add(1);
        port
    }

    fn open(&mut self, index: usize) {
        self.slots[index].usage = Usage::Open;
    }

    fn socket_of(&mut self, slot: usize) -> Result<&mut tcp::Socket<'static>, Error> {
        let slot = self.slots.get(slot).ok_or(Error::WrongKind)?;
        Ok(self.sockets.get_mut(slot.handle))
    }

    fn connection(&mut self, socket: &Socket) -> Result<&mut tcp::Socket<'static>, Error> {
        match socket.0 {
            Kind::Connection(slot) => self.socket_of(slot),
            _ => Err(Error::WrongKind),
        }
    }

    /// Returns a slot for a new connection. A closed socket is preferred to one in TIME-WAIT, and
    /// that to one which only waits for its peer to close too. No data can be lost with the last,
    /// and a peer that never closes must not keep others out.
    fn free_slot(&mut self) -> Option<usize> {
        let rank = |slot: &Slot| {
            let state = self.sockets.get::<tcp::Socket<'_>>(slot.handle).state();
            match (slot.usage, state) {
                (Usage::Free, tcp::State::Closed) => Some(0),
                (Usage::Free, _) => Some(1),
                (Usage::Closing(_), tcp::State::FinWait2) => Some(2),
                _ => None,
            }
        };
        let ranked = self.slots.iter().enumerate().filter_map(|(i, slot)| Some((rank(slot)?, i)));
        let (_, index) = ranked.min()?;
        let slot = &mut self.slots[index];
        if slot.usage != Usage::Free {
            self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle).abort();
            slot.usage = Usage::Free;
        }
        Some(index)
    }

    /// Makes free sockets listen on `port` until the backlog is full.
    fn fill_backlog(&mut self, port: u16) -> Result<(), Error> {
        let waiting = |slot: &&Slot| slot.usage == Usage::Waiting(port);
        for _ in self.slots.iter().filter(waiting).count()..BACKLOG {
            let Some(index) = self.free_slot() else { break };
            self.listen_in(index, port)?;
        }
        Ok(())
    }

    fn listen_in(&mut self, index: usize, port: u16) -> Result<(), Error> {
        let socket = self.socket_of(index)?;
        socket.listen(port).map_err(|_| Error::Unaddressable)?;
        set_timeouts(socket);
        self.slots[index].usage = Usage::Waiting(port);
        Ok(())
    }
}

/// Sets the timeouts that detect a peer that vanished.
fn set_timeouts(socket: &mut tcp::Socket<'_>) {
    socket.set_timeout(Some(TIMEOUT));
    socket.set_keep_alive(Some(KEEP_ALIVE));
}

impl<const N: usize, const D: usize> TcpClientStack for Stack<N, D> {
    type TcpSocket = Socket;
    type Error = Error;

    fn socket(&mut self) -> Result<Socket, Error> {
        Ok(Socket(Kind::New))
    }

    fn connect(&mut self, socket: &mut Socket, remote: SocketAddr) -> nb::Result<(), Error> {
        if let Kind::New = socket.0 {
            let SocketAddr::V4(remote) = remote else { return Err(Error::Unaddressable.into()) };
            let index = self.free_slot().ok_or(Error::NoSocket)?;
            let port = self.outgoing_port();
            let handle = self.slots[index].handle;
            let tcp = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            tcp.connect(self.interface.context(), (*remote.ip(), remote.port()), port)
                .map_err(|_| Error::Unaddressable)?;
            set_timeouts(tcp);
            self.open(index);
            *socket = Socket(Kind::Connection(index));
        }
        match self.connection(socket)?.state() {
            tcp::State::SynSent | tcp::State::SynReceived => Err(nb::Error::WouldBlock),
            tcp::State::Closed => Err(Error::Refused.into()),
            _ => Ok(()),
        }
    }

    fn send(&mut self, socket: &mut Socket, buffer: &[u8]) -> nb::Result<usize, Error> {
        let tcp = self.connection(socket)?;
        match tcp.send_slice(buffer) {
            Ok(0) if !buffer.is_empty() => Err(nb::Error::WouldBlock),
            Ok(n) => Ok(n),
            Err(tcp::SendError::InvalidState) if tcp.is_open() => Err(Error::Closed.into()),
            Err(tcp::SendError::InvalidState) => Err(Error::Lost.into()),
        }
    }

    fn receive(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> nb::Result<usize, Error> {
        match self.connection(socket)?.recv_slice(buffer) {
            Ok(0) if !buffer.is_empty() => Err(nb::Error::WouldBlock),
            Ok(n) => Ok(n),
            Err(tcp::RecvError::Finished) => Ok(0),
            Err(tcp::RecvError::InvalidState) => Err(Error::Lost.into()),
        }
    }

    fn close(&mut self, socket: Socket) -> Result<(), Error> {
        let until = clock::now() + LINGER;
        match socket.0 {
            Kind::New | Kind::Bound(_) => {}
            Kind::Connection(index) => {
                self.socket_of(index)?.close();
                self.slots[index].usage = Usage::Closing(until);
            }
            Kind::Listener(port) => {
                for slot in self.slots.iter_mut().filter(|s| s.usage == Usage::Waiting(port)) {
                    self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle).abort();
                    slot.usage = Usage::Free;
                }
            }
        }
        Ok(())
    }
}

impl<const N: usize, const D: usize> TcpFullStack for Stack<N, D> {
    fn bind(&mut self, socket: &mut Socket, port: u16) -> Result<(), Error> {
        match socket.0 {
            Kind::New => {
                *socket = Socket(Kind::Bound(port));
                Ok(())
            }
            _ => Err(Error::WrongKind),
        }
    }

    fn listen(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let Kind::Bound(port) = socket.0 else { return Err(Error::WrongKind) };
        self.fill_backlog(port)?;
        *socket = Socket(Kind::Listener(port));
        Ok(())
    }

    fn accept(&mut self, socket: &mut Socket) -> nb::Result<(Socket, SocketAddr), Error> {
        let Kind::Listener(port) = socket.0 else { return Err(Error::WrongKind.into()) };
        for index in 0..N {
            if self.slots[index].usage != Usage::Waiting(port) {
                continue;
            }
            let socket = self.socket_of(index)?;
            match (socket.state(), socket.remote_endpoint()) {
                (tcp::State::Listen | tcp::State::SynReceived, _) => {}
                // It connected and ended before it was accepted, so its data is lost.
                (tcp::State::Closed, _) | (_, None) => self.listen_in(index, port)?,
                (_, Some(remote)) => {
                    self.open(index);
                    self.fill_backlog(port)?;
                    let peer = SocketAddr::new(remote.addr.into(), remote.port);
                    return Ok((Socket(Kind::Connection(index)), peer));
                }
            }
        }
        // Sockets that were all in use before may be free now.
        self.fill_backlog(port)?;
        Err(nb::Error::WouldBlock)
    }
}
