//! Writing of payload to a connection without passing it through the machine.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use super::wakeups::{SessionWaker, Wakeups};
use crate::net::stack::{Direction, Observer};
use crate::net::system::Stream;
use crate::sys::net::error_kind;
use crate::sys::read::read_at;

/// Writer for the payload that a machine [expects](socklab_core::Machine::outbound_remaining), valid for one turn of
/// the connection. What the socket does not accept in this turn can be written in a later one.
pub struct PayloadWriter<'t> {
    pub(super) stream: &'t mut dyn Stream,
    pub(super) scratch: &'t mut [u8],
    pub(super) observer: Option<&'t mut dyn Observer>,
    pub(super) key: usize,
    pub(super) peer: SocketAddr,
    /// Number of payload bytes that remain to be sent.
    pub(super) remaining: u64,
    /// Number of bytes sent in this turn.
    pub(super) sent: u64,
    pub(super) socket: Socket,
    pub(super) wakeups: &'t Arc<Wakeups>,
}

/// State of the socket's sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// It accepts bytes.
    Open,
    /// Its send buffer is full.
    Full,
    /// The peer has closed its receiving side or reset the connection.
    WriteClosed,
}

impl PayloadWriter<'_> {
    /// Returns the number of payload bytes that remain to be sent.
    #[must_use]
    pub const fn outbound_remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns a waker that gives this session a turn, from any thread.
    #[must_use]
    pub fn waker(&self) -> SessionWaker {
        SessionWaker { key: self.key, wakeups: Arc::clone(self.wakeups) }
    }

    /// Sends bytes of `file`, starting at offset `at`: at most `most`, and at most
    /// [`outbound_remaining`](Self::outbound_remaining). Returns the number of bytes sent, which is less if the
    /// socket accepts no more now.
    ///
    /// On Linux this uses `sendfile`, which copies from the page cache, unless an observer is set.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and [`ErrorKind::UnexpectedEof`] when it is too short. An error of the socket
    /// is not returned here: it ends the session.
    pub fn send_file(&mut self, file: &File, at: u64, most: u64) -> io::Result<u64> {
        self.transfer(file, at, most, self.observer.is_some())
    }

    /// Sends bytes of `file` as [`send_file`](Self::send_file) does, but reads and writes them.
    ///
    /// After `sendfile`, a peer on this machine copies the bytes from the pages of the file. In a measurement that cost
    /// it 0.2 s of CPU a GB more, and the copy here cost 0.1 s. A peer that splices the bytes does not copy them.
    pub(crate) fn copy_file(&mut self, file: &File, at: u64, most: u64) -> io::Result<u64> {
        self.transfer(file, at, most, true)
    }

    /// Returns whether the peer has a loopback address.
    pub(crate) const fn is_local(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }

    fn transfer(&mut self, file: &File, at: u64, most: u64, mut copies: bool) -> io::Result<u64> {
        let before = self.sent;
        let limit = before + most.min(self.remaining);
        while self.sent < limit && self.socket == Socket::Open {
            let (at, left) = (at + (self.sent - before), limit - self.sent);
            if !copies {
                match self.stream.send_file(file, at, left) {
                    Ok(Some(n)) => self.advance(n),
                    Ok(None) => copies = true,
                    Err(e) => self.check_error(e)?,
                }
                continue;
            }
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.scratch.len());
            let n = read_at(file, &mut self.scratch[..want], at)?;
            self.write(n);
        }
        Ok(self.sent - before)
    }

    const fn advance(&mut self, n: u64) {
        self.sent += n;
        self.remaining -= n;
    }

    /// Writes the first `n` bytes of the scratch buffer, as far as the socket accepts them.
    fn write(&mut self, n: usize) {
        let mut written = 0;
        while written < n && self.socket == Socket::Open {
            match self.stream.write(&self.scratch[written..n]) {
                Ok(0) => self.socket = Socket::WriteClosed,
                Ok(more) => {
                    if let Some(observer) = &mut self.observer {
                        let bytes = &self.scratch[written..written + more];
                        observer.moved(self.key, self.peer, Direction::Sent, bytes);
                    }
                    written += more;
                    self.advance(more as u64);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    // No other error of a write is recoverable either.
                    let _ = self.check_error(e);
                    if self.socket == Socket::Open {
                        self.socket = Socket::WriteClosed;
                    }
                }
            }
        }
    }

    /// Handles an error of a transfer. An error of the socket is recorded, an error of the file is returned.
    fn check_error(&mut self, e: io::Error) -> io::Result<()> {
        match error_kind(&e) {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => self.socket = Socket::Full,
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => self.socket = Socket::WriteClosed,
            _ => return Err(e),
        }
        Ok(())
    }
}
