use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use embedded_nal::{TcpClientStack, TcpErrorKind};
use mio::Interest;
use mio::net::TcpStream;
use socket2::{SockRef, Socket};
use socklab_core::datagram::Datagram;

use super::dial::connect;
use super::peer::unmapped;
use super::system::resets_on_close;
use crate::sys::net as system;

/// Socket of the [`Stack`]: `None` before it is connected. It is mio's and not std's, because on Windows mio waits for
/// a socket again only after a call of its own returned `WouldBlock`.
pub(super) type TcpSocket = Option<TcpStream>;

/// Returns the socket of the operating system, or `None` before it is connected.
pub(super) fn borrow(socket: &TcpSocket) -> Option<SockRef<'_>> {
    socket.as_ref().map(SockRef::from)
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

    /// Called after a datagram has been sent, or received as far as the buffer takes it.
    ///
    /// Datagrams have no connection. Here `connection` distinguishes the peers, and [`ended`](Self::ended) is the end of
    /// the observation.
    fn datagram(
        &mut self,
        connection: usize,
        local: SocketAddr,
        peer: SocketAddr,
        direction: Direction,
        datagram: Datagram<'_>,
    ) {
        let _ = (connection, local, peer, direction, datagram);
    }

    /// Called when something else has happened, in words: a reply to a datagram has not come in time, for example.
    fn note(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr, text: &str) {
        let _ = (connection, local, peer, text);
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

    fn datagram(
        &mut self,
        connection: usize,
        local: SocketAddr,
        peer: SocketAddr,
        direction: Direction,
        datagram: Datagram<'_>,
    ) {
        for observer in self {
            observer.datagram(connection, local, peer, direction, datagram);
        }
    }

    fn note(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr, text: &str) {
        for observer in self {
            observer.note(connection, local, peer, text);
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

/// Reports the end of a connection whose socket is about to be closed. `peek` and `resets_on_close` are those of
/// [`Stream`](super::system::Stream).
pub(super) fn observe_end(
    observer: &mut dyn Observer,
    connection: usize,
    peer: SocketAddr,
    mut ends: Ends,
    peek: impl FnOnce() -> io::Result<usize>,
    resets_on_close: impl FnOnce() -> bool,
) {
    let mut has_unread = false;
    if !ends.received && !ends.is_reset {
        match peek() {
            Ok(0) => {
                ends.received = true;
                observer.moved(connection, peer, Direction::Received, &[]);
            }
            Ok(_) => has_unread = true,
            Err(e) => ends.is_reset = is_reset(&e),
        }
    }
    // The close of the socket sends a reset instead of an orderly end if it is set so, or if input is unread.
    let resets = has_unread || resets_on_close();
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
        let socket = borrow(socket)?.try_clone().ok()?;
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
        let socket = SockRef::from(&*socket);
        let peek = || socket.peek(&mut [MaybeUninit::uninit()]);
        observe_end(observer.as_mut(), 0, *peer, *ends, peek, || resets_on_close(&socket));
    }
}

/// TCP stack of the operating system for the driver of the core. It repeats interrupted calls, counts bytes for the idle
/// timeout, and passes them to an observer.
///
/// The stack of std-embedded-nal is for datagrams only: its TCP sockets have no handle on Windows and only a number on
/// Unix, and it cannot adopt an accepted connection.
#[derive(Default)]
pub(super) struct Stack {
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

/// Makes a call on a connected socket. Repeats it if a signal interrupts it.
fn call(
    socket: &mut TcpSocket,
    mut call: impl FnMut(&mut TcpStream) -> io::Result<usize>,
) -> nb::Result<usize, Fault> {
    let stream = socket.as_mut().ok_or_else(|| Fault(ErrorKind::NotConnected.into()))?;
    loop {
        match call(stream) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Err(nb::Error::WouldBlock),
            Err(e) => return Err(nb::Error::Other(Fault(e))),
        }
    }
}

impl TcpClientStack for Stack {
    type TcpSocket = TcpSocket;
    type Error = Fault;

    fn socket(&mut self) -> Result<TcpSocket, Fault> {
        Ok(None)
    }

    /// Blocks until the connection is established. [`dial`](super::dial::dial) has a time limit.
    fn connect(&mut self, socket: &mut TcpSocket, remote: SocketAddr) -> nb::Result<(), Fault> {
        *socket = Some(connect(remote).map_err(Fault)?);
        Ok(())
    }

    fn send(&mut self, socket: &mut TcpSocket, bytes: &[u8]) -> nb::Result<usize, Fault> {
        let sent = call(socket, |stream| stream.write(bytes));
        self.is_full = matches!(sent, Err(nb::Error::WouldBlock));
        self.check(&sent);
        let n = sent?;
        self.record(Direction::Sent, &bytes[..n]);
        Ok(n)
    }

    fn receive(&mut self, socket: &mut TcpSocket, buffer: &mut [u8]) -> nb::Result<usize, Fault> {
        let n = buffer.len().min(self.read_max.unwrap_or(usize::MAX));
        let buffer = &mut buffer[..n];
        let received = call(socket, |stream| stream.read(buffer));
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

    /// Does nothing: the socket closes when it is dropped.
    fn close(&mut self, _: TcpSocket) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_stack_connects_and_transfers_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stack = Stack::default();
        let mut socket = stack.socket().unwrap();
        let early = stack.send(&mut socket, b"early");
        assert!(matches!(
            early,
            Err(nb::Error::Other(Fault(e))) if e.kind() == ErrorKind::NotConnected
        ));

        stack.connect(&mut socket, listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut buffer = [0; 8];
        let nothing = stack.receive(&mut socket, &mut buffer);
        assert!(matches!(nothing, Err(nb::Error::WouldBlock)));
        assert_eq!(nb::block!(stack.send(&mut socket, b"ping")).unwrap(), 4);
        peer.read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(&buffer[..4], b"ping");
        peer.write_all(b"pong").unwrap();
        assert_eq!(nb::block!(stack.receive(&mut socket, &mut buffer)).unwrap(), 4);
        assert_eq!(&buffer[..4], b"pong");

        stack.close(socket).unwrap();
        assert_eq!(peer.read(&mut buffer).unwrap(), 0);
    }

    /// Without this error an idle client would never notice that its peer has vanished. std-embedded-nal returns
    /// `WouldBlock` instead.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_time_out_of_the_system_is_an_error_and_not_would_block() {
        use std::time::{Duration, Instant};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stack = Stack::default();
        let mut socket = stack.socket().unwrap();
        stack.connect(&mut socket, listener.local_addr().unwrap()).unwrap();
        // A peer that reads nothing is given up like one that has vanished.
        let limit = Some(Duration::from_millis(100));
        borrow(&socket).unwrap().set_tcp_user_timeout(limit).unwrap();
        let _peer = listener.accept().unwrap();

        let start = Instant::now();
        let error = loop {
            match stack.send(&mut socket, &[0; 1 << 16]) {
                Ok(_) => {}
                Err(nb::Error::WouldBlock) if start.elapsed() < Duration::from_secs(20) => {
                    std::thread::yield_now();
                }
                Err(nb::Error::Other(Fault(e))) => break e,
                Err(nb::Error::WouldBlock) => panic!("the system does not give up"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
