use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use embedded_nal::{TcpClientStack, TcpErrorKind};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, Socket};

use super::peer::unmapped;
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
///
/// `connection` distinguishes the open connections of a server. A client has only number 0.
pub trait Observer: Send {
    /// Called once for each connection, before the other functions.
    fn opened(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr) {
        let _ = (connection, local, peer);
    }

    /// Called after `bytes` have been transferred by one system call. If they are empty, this direction has been closed
    /// in order.
    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]);

    /// Called once for each connection, after the other functions. `reset` is the direction in which a reset was
    /// transferred, if that is known.
    fn ended(&mut self, connection: usize, peer: SocketAddr, reset: Option<Direction>) {
        let _ = (connection, peer, reset);
    }

    /// Returns whether it can take more bytes. While it cannot, a server transfers nothing. When it can again, it must
    /// call the function that [`Server::resumer`](super::Server::resumer) returned.
    ///
    /// A client does not call this: `moved` blocks instead.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Several observers of the same connections.
impl Observer for Vec<Box<dyn Observer>> {
    fn opened(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr) {
        for observer in self {
            observer.opened(connection, local, peer);
        }
    }

    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        for observer in self {
            observer.moved(connection, peer, direction, bytes);
        }
    }

    fn ended(&mut self, connection: usize, peer: SocketAddr, reset: Option<Direction>) {
        for observer in self {
            observer.ended(connection, peer, reset);
        }
    }

    fn is_ready(&self) -> bool {
        self.iter().all(|observer| observer.is_ready())
    }
}

/// How far each direction of a connection has ended, before its socket is closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// The sending side has been closed in order.
    pub(super) sent: bool,
    /// The peer's end has been read.
    pub(super) received: bool,
    /// The peer has reset the connection.
    pub(super) is_reset: bool,
}

/// Reports the end of a connection whose socket is about to be closed.
pub(super) fn observe_end(
    observer: &mut dyn Observer,
    connection: usize,
    peer: SocketAddr,
    mut ends: Ends,
    socket: &SockRef<'_>,
) {
    let mut has_unread = false;
    if !ends.received && !ends.is_reset {
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => {
                ends.received = true;
                observer.moved(connection, peer, Direction::Received, &[]);
            }
            Ok(_) => has_unread = true,
            Err(e) => ends.is_reset = is_reset(&e),
        }
    }
    // The close of the socket sends a reset instead of an orderly end if it is set so, or if input is unread.
    let resets = has_unread || matches!(socket.linger(), Ok(Some(Duration::ZERO)));
    let reset = match ends {
        Ends { is_reset: true, .. } => Some(Direction::Received),
        Ends { sent: true, received: true, .. } => None,
        _ => resets.then_some(Direction::Sent),
    };
    if reset.is_none() && !ends.sent {
        observer.moved(connection, peer, Direction::Sent, &[]);
    }
    observer.ended(connection, peer, reset);
}

fn is_reset(e: &io::Error) -> bool {
    matches!(system::error_kind(e), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// The observer of a [`Stack`], with what it has to know of the connection.
pub(super) struct Observed {
    observer: Box<dyn Observer>,
    peer: SocketAddr,
    /// Another handle of the socket, to look at it before it is closed.
    socket: Socket,
    ends: Ends,
}

impl Observed {
    /// Reports the connection to its observer. Returns `None` if the system has no handle left.
    fn new(mut observer: Box<dyn Observer>, peer: SocketAddr, socket: &TcpSocket) -> Option<Self> {
        let socket = SockRef::from(&borrow(socket)?).try_clone().ok()?;
        let local = socket.local_addr().ok().and_then(|addr| addr.as_socket()).unwrap_or(peer);
        observer.opened(0, unmapped(local), peer);
        Some(Self { observer, peer, socket, ends: Ends::default() })
    }

    fn moved(&mut self, direction: Direction, bytes: &[u8]) {
        if bytes.is_empty() {
            match direction {
                Direction::Received => self.ends.received = true,
                Direction::Sent if std::mem::replace(&mut self.ends.sent, true) => return,
                Direction::Sent => {}
            }
        }
        self.observer.moved(0, self.peer, direction, bytes);
    }

    fn failed(&mut self, e: &io::Error) {
        // After the own end, a write fails for that reason.
        let is_lost = !self.ends.sent && system::error_kind(e) == ErrorKind::BrokenPipe;
        self.ends.is_reset |= is_lost || is_reset(e);
    }
}

/// The connection ends when its client is dropped.
impl Drop for Observed {
    fn drop(&mut self) {
        let Self { observer, peer, socket, ends } = self;
        observe_end(observer.as_mut(), 0, *peer, *ends, &SockRef::from(&*socket));
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
    observer: Option<Observed>,
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
        if let Some(observer) = &mut self.observer {
            observer.moved(direction, bytes);
        }
    }

    /// Passes every byte that is transferred from now on to `observer`.
    pub(super) fn observe(
        &mut self,
        observer: Option<Box<dyn Observer>>,
        peer: SocketAddr,
        socket: &TcpSocket,
    ) {
        self.observer = observer.and_then(|observer| Observed::new(observer, peer, socket));
    }

    pub(super) const fn has_observer(&self) -> bool {
        self.observer.is_some()
    }

    /// Reports that the sending side has been closed.
    pub(super) fn closed_sending(&mut self) {
        self.record(Direction::Sent, &[]);
    }

    /// Reports an error of the connection to the observer.
    fn check<T>(&mut self, result: &nb::Result<T, Fault>) {
        if let (Some(observer), Err(nb::Error::Other(Fault(e)))) = (&mut self.observer, result) {
            observer.failed(e);
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
        self.check(&sent);
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
        self.check(&received);
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
