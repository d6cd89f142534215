use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use embedded_nal::{TcpClientStack, TcpErrorKind};

// std-embedded-nal does not name its types.
type System = std_embedded_nal::Stack;
type SystemError = <System as TcpClientStack>::Error;

/// A socket of the [`Stack`].
pub(super) enum TcpSocket {
    /// Made by the system's stack.
    Dialled(<System as TcpClientStack>::TcpSocket),
    /// Accepted, and non-blocking. The system's stack makes no socket of an accepted one, and its
    /// own accept gives blocking ones, listening on all addresses or none.
    Accepted(TcpStream),
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Received,
    /// From us to the peer.
    Sent,
}

/// Is shown every byte as it crosses a socket: a trace, a capture.
pub trait Observer: Send {
    /// `bytes` crossed in one call of the system; none were received: the peer has closed.
    /// `connection` tells a server's clients apart.
    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]);

    /// The connection is over.
    fn ended(&mut self, connection: usize, peer: SocketAddr) {
        let _ = (connection, peer);
    }
}

/// The operating system's stack with three things more: interrupted calls are repeated, bytes are
/// counted (an idle timeout needs to know), and an observer sees them.
#[derive(Default)]
pub(super) struct Stack {
    inner: System,
    /// So many bytes have crossed since the start.
    pub(super) moved: u64,
    /// Number of bytes received since the start.
    pub(super) received: u64,
    /// The end of what the peer sends has been read, or the connection has failed. A system says an end
    /// again whenever it is asked, after a reset an orderly one too: an observer is shown it once.
    pub(super) ended: bool,
    /// No read asks for more bytes than this.
    read_max: Option<usize>,
    pub(super) observer: Option<(SocketAddr, Box<dyn Observer>)>,
}

impl Stack {
    /// A stack whose reads ask for `read_max` bytes at the most.
    pub(super) fn reading(read_max: usize) -> Self {
        Self { read_max: Some(read_max.max(1)), ..Self::default() }
    }

    fn note(&mut self, direction: Direction, bytes: &[u8]) {
        self.moved += bytes.len() as u64;
        if direction == Direction::Received {
            self.received += bytes.len() as u64;
        }
        if let Some((peer, observer)) = &mut self.observer {
            observer.moved(0, *peer, direction, bytes);
        }
    }
}

/// A failure of the transport, told as what it means.
#[derive(Debug)]
pub(super) struct Fault(pub(super) std::io::Error);

impl embedded_nal::TcpError for Fault {
    fn kind(&self) -> TcpErrorKind {
        match self.0.kind() {
            ErrorKind::BrokenPipe => TcpErrorKind::PipeClosed,
            _ => TcpErrorKind::Other,
        }
    }
}

fn fault(e: nb::Error<SystemError>) -> nb::Error<Fault> {
    e.map(|e| Fault(e.0))
}

fn accepted(e: std::io::Error) -> nb::Error<Fault> {
    match e.kind() {
        ErrorKind::WouldBlock => nb::Error::WouldBlock,
        _ => nb::Error::Other(Fault(e)),
    }
}

/// Repeats what was interrupted.
fn again<T>(mut call: impl FnMut() -> nb::Result<T, Fault>) -> nb::Result<T, Fault> {
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
        self.inner.socket().map(TcpSocket::Dialled).map_err(|e| Fault(e.0))
    }

    fn connect(&mut self, socket: &mut TcpSocket, remote: SocketAddr) -> nb::Result<(), Fault> {
        match socket {
            TcpSocket::Dialled(socket) => self.inner.connect(socket, remote).map_err(fault),
            TcpSocket::Accepted(_) => Err(nb::Error::Other(Fault(ErrorKind::AlreadyExists.into()))),
        }
    }

    fn send(&mut self, socket: &mut TcpSocket, bytes: &[u8]) -> nb::Result<usize, Fault> {
        let n = again(|| match socket {
            TcpSocket::Dialled(socket) => self.inner.send(socket, bytes).map_err(fault),
            TcpSocket::Accepted(stream) => stream.write(bytes).map_err(accepted),
        })?;
        self.note(Direction::Sent, &bytes[..n]);
        Ok(n)
    }

    fn receive(&mut self, socket: &mut TcpSocket, room: &mut [u8]) -> nb::Result<usize, Fault> {
        let n = room.len().min(self.read_max.unwrap_or(usize::MAX));
        let room = &mut room[..n];
        let received = again(|| match socket {
            TcpSocket::Dialled(socket) => self.inner.receive(socket, room).map_err(fault),
            TcpSocket::Accepted(stream) => stream.read(room).map_err(accepted),
        });
        let was_ended = self.ended;
        self.ended |= matches!(received, Ok(0) | Err(nb::Error::Other(_)));
        let n = received?;
        if n > 0 || !was_ended {
            self.note(Direction::Received, &room[..n]);
        }
        Ok(n)
    }

    fn close(&mut self, socket: TcpSocket) -> Result<(), Fault> {
        match socket {
            TcpSocket::Dialled(socket) => self.inner.close(socket).map_err(|e| Fault(e.0)),
            TcpSocket::Accepted(_) => Ok(()),
        }
    }
}

/// The socket as something the safe crates take; `None` before it is connected.
pub(super) fn borrow(socket: &TcpSocket) -> Option<BorrowedFd<'_>> {
    match socket {
        #[expect(unsafe_code, reason = "std-embedded-nal gives a raw descriptor and nothing safer")]
        // SAFETY: the descriptor belongs to `socket`, which is borrowed for as long as the result.
        TcpSocket::Dialled(s) => s.as_raw_fd().map(|fd| unsafe { BorrowedFd::borrow_raw(fd) }),
        TcpSocket::Accepted(stream) => Some(stream.as_fd()),
    }
}
