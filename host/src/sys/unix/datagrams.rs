//! Datagram sockets of Unix.

use std::io;
use std::net::SocketAddr;

use embedded_nal::{UdpClientStack, UdpFullStack};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std_embedded_nal::Stack;

/// Socket of std-embedded-nal that is bound to a port of all addresses.
pub(crate) struct Wildcard(<Stack as UdpClientStack>::UdpSocket);

impl Wildcard {
    /// Binds a socket. Fails if IPv6 is off.
    pub(crate) fn bind(port: u16) -> io::Result<Self> {
        let mut socket = Stack.socket()?;
        Stack.bind(&mut socket, port)?;
        Ok(Self(socket))
    }

    pub(crate) fn send_to(&mut self, to: SocketAddr, bytes: &[u8]) -> nb::Result<(), io::Error> {
        Stack.send_to(&mut self.0, to, bytes)
    }

    pub(crate) fn receive(&mut self, to: &mut [u8]) -> nb::Result<(usize, SocketAddr), io::Error> {
        Stack.receive(&mut self.0, to)
    }

    /// Registers the socket for events.
    pub(crate) fn register(
        &self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.0
            .as_raw_fd()
            .map_or(Ok(()), |fd| registry.register(&mut SourceFd(&fd), token, interest))
    }

    /// Changes the events for which the socket is registered.
    pub(crate) fn reregister(
        &self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        fd.map_or(Ok(()), |fd| registry.reregister(&mut SourceFd(&fd), token, interest))
    }
}

/// Receives a datagram, or as much of it as fits. The rest is lost.
pub(crate) fn receive(
    socket: &UdpSocket,
    to: &mut [u8],
    _: &mut Vec<u8>,
) -> io::Result<(usize, SocketAddr)> {
    socket.recv_from(to)
}

/// Whether a socket that is not connected reports that a datagram did not arrive. BSD sockets do not, and on Linux that
/// is an option: see `extra`.
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "the option replaces it"))]
pub(crate) const REPORTS_UNREACHABLE: bool = false;
