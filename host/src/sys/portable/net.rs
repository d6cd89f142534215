//! Fallbacks for functions of sockets that only Linux has.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Registry, Token};
use socket2::Socket;

/// Whether several listeners can share a port, and the system distributes the clients evenly between them. The BSDs and
/// macOS give all clients to the last listener.
pub(crate) const SHARES_PORTS: bool = false;

/// Returns an error: ports are not shared.
pub(crate) fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Stand-in for a timer that wakes a poll once a second. The poll has a timeout instead.
pub(crate) struct Tick;

impl Tick {
    pub(crate) const fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns whether the poll may sleep without a timeout: not while the timer is enabled.
    pub(crate) const fn set(&mut self, on: bool) -> bool {
        !on
    }

    pub(crate) const fn take(&mut self) {}
}

/// Stand-in for a timer in place of the timeout of a poll.
pub(crate) struct Alarm;

impl Alarm {
    pub(crate) const fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns whether the poll needs no timeout.
    pub(crate) const fn set(&mut self, _: Duration) -> bool {
        false
    }
}

/// Returns `None`: `sendfile` differs on every system, and is used on Linux only.
pub(crate) const fn send_file(
    _: &mio::net::TcpStream,
    _: &File,
    _: u64,
    _: u64,
) -> io::Result<Option<u64>> {
    Ok(None)
}

/// Returns `false`: the low-water mark is used on Linux only.
pub(crate) const fn set_low_water(_: &socket2::Socket, _: usize) -> bool {
    false
}

/// Stand-in for a pipe that moves bytes from a socket to a file: only Linux has `splice`, so there is never one.
pub(crate) struct Pipe(Infallible);

impl Pipe {
    pub(crate) const fn new() -> Option<Self> {
        None
    }

    pub(crate) const fn fill(&self, _: &socket2::Socket, _: usize) -> io::Result<Option<usize>> {
        match self.0 {}
    }

    pub(crate) const fn empty(&self, _: &File, _: usize, _: &mut u64) -> io::Result<()> {
        match self.0 {}
    }
}

/// Stand-in for the queries of the queues of sockets, which this system does not report.
pub(crate) struct SocketQueues;

impl SocketQueues {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Returns `true`: whether the peer has read everything is unknown.
    pub(crate) const fn has_read_all(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
        true
    }

    pub(crate) const fn is_acknowledged(&mut self, _: SocketAddr, _: SocketAddr) -> Option<bool> {
        None
    }

    pub(crate) const fn unread(&mut self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
        None
    }

    pub(crate) const fn unacknowledged(&mut self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
        None
    }

    pub(crate) const fn outstanding(&mut self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
        None
    }
}
