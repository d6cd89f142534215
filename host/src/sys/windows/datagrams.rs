//! Datagram sockets of Windows.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

/// Stand-in for a socket of std-embedded-nal, which cannot be waited for on Windows. There is never one.
pub(crate) enum Wildcard {}

impl Wildcard {
    pub(crate) fn bind(_: u16) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) const fn send_to(&self, _: SocketAddr, _: &[u8]) -> nb::Result<(), io::Error> {
        match *self {}
    }

    pub(crate) const fn receive(&self, _: &mut [u8]) -> nb::Result<(usize, SocketAddr), io::Error> {
        match *self {}
    }

    pub(crate) const fn register(&self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    pub(crate) const fn reregister(&self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }
}

/// Receives a datagram, or as much of it as fits. The rest is lost.
///
/// For a datagram that does not fit, Windows returns an error (WSAEMSGSIZE), and std no address then. So any datagram
/// is received into `scratch`, which is large enough for each.
pub(crate) fn receive(
    socket: &UdpSocket,
    to: &mut [u8],
    scratch: &mut Vec<u8>,
) -> io::Result<(usize, SocketAddr)> {
    scratch.resize(1 << 16, 0);
    let (n, from) = socket.recv_from(scratch)?;
    let n = n.min(to.len());
    to[..n].copy_from_slice(&scratch[..n]);
    Ok((n, from))
}

/// Whether a socket that is not connected reports that a datagram did not arrive: as WSAECONNRESET, by the next call that
/// receives.
pub(crate) const REPORTS_UNREACHABLE: bool = true;
