//! The address of a conversation, and the reservation of its port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::super::program::alone;
use super::{Role, Setup, Target};
use crate::ui::say;

/// A port that no other run uses at the same time. Dropping it frees the port.
#[derive(Debug)]
pub(in crate::check) struct Place {
    pub(in crate::check) addr: SocketAddr,
    /// The socket of a server of streams, if the program is a client.
    pub(in crate::check) listener: Option<TcpListener>,
    /// The socket of a server of datagrams, if the program is a client.
    pub(in crate::check) socket: Option<UdpSocket>,
    /// Reserves the port among runs of this program.
    _reserved: Option<Reserved>,
}

/// A socket of the other kind with the same number: the ports of UDP are others than those of TCP. So it does not occupy
/// the port itself.
#[derive(Debug)]
enum Reserved {
    /// For streams.
    Udp { _socket: UdpSocket },
    /// For datagrams. It is bound and does not listen. So a connection to it is refused, unlike one to a server.
    Tcp { _socket: Socket },
}

/// Ports that no system gives to outgoing connections. Such a connection could take the port just before the program
/// under test listens on it.
///
/// A look whether a port is free occupies it for a moment. So programs over datagrams have ports of their own: a look at
/// the reservation of one kind would occupy the port of the other.
const PORTS: [std::ops::Range<u16>; 2] = [20_000..30_000, 30_000..32_000];

impl Place {
    const fn new(addr: SocketAddr) -> Self {
        Self { addr, listener: None, socket: None, _reserved: None }
    }
}

impl Setup {
    /// Returns the address of a conversation.
    ///
    /// # Errors
    ///
    /// When a fixed port is in use.
    pub(in crate::check) fn place(&self) -> io::Result<Place> {
        let localhost = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // The fixed port of a pair is that of its server.
        let port = self.port.filter(|_| self.role != Role::Pair);
        match (&self.target, self.role, port) {
            (Target::Running(addr), ..) => Ok(Place::new(*addr)),
            (_, Role::Client | Role::Pair, port) if !self.is_datagrams() => {
                let listener = TcpListener::bind(localhost(port.unwrap_or(0)))?;
                listener.set_nonblocking(true)?;
                let addr = listener.local_addr()?;
                Ok(Place { listener: Some(listener), ..Place::new(addr) })
            }
            (_, Role::Client | Role::Pair, Some(port)) => with_socket(Place::new(localhost(port))),
            // A server of datagrams is closed and opened again at the same port.
            (_, Role::Client | Role::Pair, None) => self.free_place().and_then(with_socket),
            (_, Role::Server, Some(port)) => self.fixed_place(localhost(port)),
            (_, Role::Server, None) => self.free_place(),
        }
    }

    /// Returns a place with a free port.
    fn free_place(&self) -> io::Result<Place> {
        let [streams, datagrams] = PORTS;
        let ports = if self.is_datagrams() { datagrams } else { streams };
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..1000 {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(ports.clone())));
            match self.reserve(addr) {
                Ok(place) => return Ok(place),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Reserves an address for the program, which can bind it.
    fn reserve(&self, addr: SocketAddr) -> io::Result<Place> {
        let reserved = if self.is_datagrams() {
            let reserved = Reserved::Tcp { _socket: bound(addr, Type::STREAM)? };
            try_bind(addr, Type::DGRAM)?;
            reserved
        } else {
            let reserved = Reserved::Udp { _socket: UdpSocket::bind(addr)? };
            try_bind(addr, Type::STREAM)?;
            reserved
        };
        Ok(Place { _reserved: Some(reserved), ..Place::new(addr) })
    }

    /// Returns the place of a server whose port is fixed. Waits while another run uses it, and while old connections of an
    /// earlier server are in TIME-WAIT, where a server that does not set `SO_REUSEADDR` cannot bind it.
    fn fixed_place(&self, addr: SocketAddr) -> io::Result<Place> {
        /// Longer than TIME-WAIT on every system in its default configuration but Windows (2 min).
        const LIMIT: Duration = Duration::from_secs(130);
        let start = Instant::now();
        let mut has_said = false;
        loop {
            let e = match self.reserve(addr) {
                Ok(place) => return Ok(place),
                Err(e) => e,
            };
            let is_over = self.cancelled.load(Ordering::Relaxed) || self.is_late();
            if is_over || start.elapsed() > LIMIT || e.kind() != io::ErrorKind::AddrInUse {
                return Err(e);
            }
            // A server on it would be taken for the program. To wait for its end would be without effect.
            if self.is_served(addr, start.elapsed()) {
                let text = "another program listens there; end it, or use --connect";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            if self.is_datagrams() && is_listening(addr) && try_bind(addr, Type::DGRAM).is_ok() {
                // A server of streams has the number, which does not matter to the program.
                return Ok(Place::new(addr));
            }
            if start.elapsed() > Duration::from_secs(1) && !has_said {
                has_said = true;
                say(format_args!(
                    "waiting for port {}: another check uses it, or old connections of a server that does not set \
                     SO_REUSEADDR are in TIME-WAIT for a minute",
                    addr.port()
                ));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns whether another program serves at the address, and not another run.
    fn is_served(&self, addr: SocketAddr, waited: Duration) -> bool {
        /// Time for the program of the last case to end.
        const END: Duration = Duration::from_secs(2);
        if self.is_datagrams() {
            let is_used = try_bind(addr, Type::DGRAM).is_err();
            let is_reserved = bound(addr, Type::STREAM).is_err() && !is_listening(addr);
            return is_used && !is_reserved && waited > END;
        }
        UdpSocket::bind(addr).is_ok() && is_listening(addr)
    }
}

/// Adds our own socket.
fn with_socket(place: Place) -> io::Result<Place> {
    let socket = UdpSocket::bind(place.addr)?;
    socket.set_nonblocking(true)?;
    Ok(Place { socket: Some(socket), ..place })
}

/// Returns whether a server of streams accepts connections.
fn is_listening(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok()
}

/// Checks that a server can bind an address, also one that does not set `SO_REUSEADDR`: the listener of std sets it, and
/// would not notice a connection of an earlier program that is in TIME-WAIT.
fn try_bind(addr: SocketAddr, kind: Type) -> io::Result<()> {
    let _alone = alone();
    bound(addr, kind).map(|_| ())
}

/// Returns a socket that is bound to an address.
fn bound(addr: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::tests::setup;
    use super::*;

    #[test]
    fn a_port_with_an_old_connection_is_not_free() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let (accepted, _) = server.accept().unwrap();
        // The side that closes first keeps the connection in TIME-WAIT.
        drop(accepted);
        (&client).read_to_end(&mut Vec::new()).unwrap();
        drop((client, server));
        TcpListener::bind(addr).unwrap();
        assert_eq!(cfg!(unix), try_bind(addr, Type::STREAM).is_err());
    }

    #[test]
    fn two_runs_have_different_ports() {
        let mut places = Vec::new();
        let kinds = [("add", Role::Server), ("udp", Role::Server), ("udp", Role::Client)];
        for (protocol, role) in kinds {
            let setup = Setup { protocol, role, ..setup(&["p"], None) };
            places.extend((0..25).map(|_| setup.place().unwrap()));
        }
        let mut ports: Vec<_> = places.iter().map(|place| place.addr.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 75);
        assert!(ports.iter().all(|port| (20_000..32_000).contains(port)));
    }

    #[test]
    fn a_reserved_port_is_free_for_the_program() {
        let setup = Setup { protocol: "udp", role: Role::Server, ..setup(&["p"], None) };
        let place = setup.place().unwrap();
        assert!(setup.reserve(place.addr).is_err());
        // Also for one that takes all addresses of the machine.
        let program = UdpSocket::bind(("0.0.0.0", place.addr.port())).unwrap();
        assert!(!setup.is_served(place.addr, Duration::MAX), "it is another run");
        drop(place);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, program.local_addr().unwrap().port()));
        assert!(setup.is_served(addr, Duration::MAX));
    }

    #[test]
    fn a_server_of_streams_with_the_same_number_does_not_matter() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        let mut setup = setup(&["p"], None);
        (setup.protocol, setup.role, setup.port) = ("udp", Role::Server, Some(addr.port()));
        assert_eq!(setup.place().unwrap().addr, addr);
    }
}
