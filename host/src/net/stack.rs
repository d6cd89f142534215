use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use embedded_nal::{TcpClientStack, TcpErrorKind};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::sys::net::{self as system, Dialled, Dialler};

/// Socket of the [`Stack`].
pub(super) enum TcpSocket {
    /// Connected by the [`Dialler`].
    Dialled(Dialled),
    /// Accepted by mio, and non-blocking. std-embedded-nal cannot adopt such a socket, and its own `accept` returns
    /// blocking ones.
    Accepted(TcpStream),
}

impl TcpSocket {
    /// Registers the socket for events.
    pub(super) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Dialled(socket) => system::register(socket, registry, token, interest),
            Self::Accepted(stream) => registry.register(stream, token, interest),
        }
    }

    /// Changes the events for which the socket is registered, and asks again for those that have been reported.
    pub(super) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Dialled(socket) => system::reregister(socket, registry, token, interest),
            Self::Accepted(stream) => registry.reregister(stream, token, interest),
        }
    }
}

/// Returns the events to register a socket for. `is_full`: it has refused bytes.
pub(super) fn interest(is_full: bool) -> Interest {
    if system::EDGE_TRIGGERED || is_full {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    }
}

/// Direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Received,
    /// From us to the peer.
    Sent,
}

/// Receiver of every byte that is transferred, for a trace or a capture.
pub trait Observer: Send {
    /// Called after `bytes` have been transferred by one system call. If they are received and empty, the peer has
    /// closed its sending side. `connection` distinguishes the clients of a server.
    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]);

    /// Called when the connection has ended.
    fn ended(&mut self, connection: usize, peer: SocketAddr) {
        let _ = (connection, peer);
    }
}

/// TCP stack of the operating system. In addition to std-embedded-nal, it repeats interrupted calls, counts bytes for
/// the idle timeout, and passes them to an observer.
#[derive(Default)]
pub(super) struct Stack {
    inner: Dialler,
    /// Number of bytes transferred in both directions.
    pub(super) moved: u64,
    /// Number of bytes received.
    pub(super) received: u64,
    /// Whether the end of the stream has been read or the connection has failed. Every later read returns an end
    /// again, an orderly one also after a reset. The observer is called only for the first.
    pub(super) ended: bool,
    /// Whether the socket has refused bytes since it last accepted some.
    pub(super) is_full: bool,
    /// Whether bytes have been read since a read found none.
    pub(super) may_have_more: bool,
    /// Maximum number of bytes requested by one read.
    read_max: Option<usize>,
    pub(super) observer: Option<(SocketAddr, Box<dyn Observer>)>,
}

impl Stack {
    /// Returns a stack whose reads request at most `read_max` bytes.
    pub(super) fn with_read_max(read_max: usize) -> Self {
        Self { read_max: Some(read_max.max(1)), ..Self::default() }
    }

    fn record(&mut self, direction: Direction, bytes: &[u8]) {
        self.moved += bytes.len() as u64;
        if direction == Direction::Received {
            self.received += bytes.len() as u64;
        }
        if let Some((peer, observer)) = &mut self.observer {
            observer.moved(0, *peer, direction, bytes);
        }
    }
}

/// Error of the transport.
#[derive(Debug)]
pub(super) struct Fault(pub(super) io::Error);

impl embedded_nal::TcpError for Fault {
    fn kind(&self) -> TcpErrorKind {
        match system::error_kind(&self.0) {
            ErrorKind::BrokenPipe => TcpErrorKind::PipeClosed,
            _ => TcpErrorKind::Other,
        }
    }
}

fn map_fault(e: nb::Error<<Dialler as TcpClientStack>::Error>) -> nb::Error<Fault> {
    e.map(|e| Fault(system::dialler_error(e)))
}

fn map_io_error(e: io::Error) -> nb::Error<Fault> {
    match e.kind() {
        ErrorKind::WouldBlock => nb::Error::WouldBlock,
        _ => nb::Error::Other(Fault(e)),
    }
}

/// Repeats a call that was interrupted by a signal.
fn retry<T>(mut call: impl FnMut() -> nb::Result<T, Fault>) -> nb::Result<T, Fault> {
    loop {
        match call() {
            Err(nb::Error::Other(Fault(e))) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl TcpClientStack for Stack {
    type TcpSocket = TcpSocket;
    type Error = Fault;

    fn socket(&mut self) -> Result<TcpSocket, Fault> {
        self.inner.socket().map(TcpSocket::Dialled).map_err(|e| Fault(system::dialler_error(e)))
    }

    fn connect(&mut self, socket: &mut TcpSocket, remote: SocketAddr) -> nb::Result<(), Fault> {
        match socket {
            TcpSocket::Dialled(socket) => self.inner.connect(socket, remote).map_err(map_fault),
            TcpSocket::Accepted(_) => Err(nb::Error::Other(Fault(ErrorKind::AlreadyExists.into()))),
        }
    }

    fn send(&mut self, socket: &mut TcpSocket, bytes: &[u8]) -> nb::Result<usize, Fault> {
        let sent = retry(|| match socket {
            TcpSocket::Dialled(socket) => self.inner.send(socket, bytes).map_err(map_fault),
            TcpSocket::Accepted(stream) => stream.write(bytes).map_err(map_io_error),
        });
        self.is_full = matches!(sent, Err(nb::Error::WouldBlock));
        let n = sent?;
        self.record(Direction::Sent, &bytes[..n]);
        Ok(n)
    }

    fn receive(&mut self, socket: &mut TcpSocket, buffer: &mut [u8]) -> nb::Result<usize, Fault> {
        let n = buffer.len().min(self.read_max.unwrap_or(usize::MAX));
        let buffer = &mut buffer[..n];
        let received = retry(|| match socket {
            TcpSocket::Dialled(socket) => self.inner.receive(socket, buffer).map_err(map_fault),
            TcpSocket::Accepted(stream) => stream.read(buffer).map_err(map_io_error),
        });
        self.may_have_more = received.is_ok();
        let was_ended = self.ended;
        self.ended |= matches!(received, Ok(0) | Err(nb::Error::Other(_)));
        let n = received?;
        if n > 0 || !was_ended {
            self.record(Direction::Received, &buffer[..n]);
        }
        Ok(n)
    }

    fn close(&mut self, socket: TcpSocket) -> Result<(), Fault> {
        match socket {
            TcpSocket::Dialled(socket) => {
                self.inner.close(socket).map_err(|e| Fault(system::dialler_error(e)))
            }
            TcpSocket::Accepted(_) => Ok(()),
        }
    }
}

/// Returns the handle of a socket, or `None` before it is connected.
pub(super) fn borrow(socket: &TcpSocket) -> Option<system::Handle<'_>> {
    match socket {
        TcpSocket::Dialled(socket) => system::dialled(socket),
        TcpSocket::Accepted(stream) => Some(system::accepted(stream)),
    }
}
