//! The way of payload to a connection, past its machine.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use mio::net::TcpStream;

use super::wakeups::{SessionWaker, Wakeups};
use crate::net::stack::{Direction, Observer};

/// Where a service puts payload that a machine is [`outbound_remaining`](socklab_core::Machine::outbound_remaining): the
/// connection, for one turn. What the socket does not take now it takes in a later one.
pub struct PayloadWriter<'t> {
    pub(super) stream: &'t TcpStream,
    pub(super) scratch: &'t mut [u8],
    pub(super) observer: Option<&'t mut dyn Observer>,
    pub(super) key: usize,
    pub(super) peer: SocketAddr,
    /// So many bytes are owed.
    pub(super) owed: u64,
    /// So many have been sent in this turn.
    pub(super) sent: u64,
    pub(super) socket: Socket,
    pub(super) wakeups: &'t Arc<Wakeups>,
}

/// What the socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// It takes bytes.
    Open,
    /// It takes none for now.
    Full,
    /// The peer takes none any more.
    Gone,
}

impl PayloadWriter<'_> {
    /// So many bytes are still owed.
    #[must_use]
    pub const fn outbound_remaining(&self) -> u64 {
        self.owed
    }

    /// What gives this session a turn, from any thread.
    #[must_use]
    pub fn waker(&self) -> SessionWaker {
        SessionWaker { key: self.key, wakeups: Arc::clone(self.wakeups) }
    }

    /// Sends what `file` has from the byte `at` on, `most` bytes at the most and never more than is
    /// owed. Returns how many that were: fewer when the socket takes no more now.
    ///
    /// On Linux they go from the page cache to the socket without a copy. When an observer wants to
    /// see them they are read and written.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; [`ErrorKind::UnexpectedEof`] when it ends too early. What
    /// befalls the socket is no error here.
    pub fn send_file(&mut self, file: &File, at: u64, most: u64) -> io::Result<u64> {
        let before = self.sent;
        let limit = before + most.min(self.owed);
        let mut copies = self.observer.is_some();
        while self.sent < limit && self.socket == Socket::Open {
            let (at, left) = (at + (self.sent - before), limit - self.sent);
            if !copies {
                match sendfile(self.stream, file, at, left) {
                    Ok(Some(n)) => self.pass(n),
                    Ok(None) => copies = true,
                    Err(e) => self.stopped(e)?,
                }
                continue;
            }
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.scratch.len());
            match file.read_at(&mut self.scratch[..want], at) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.write(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.sent - before)
    }

    const fn pass(&mut self, n: u64) {
        self.sent += n;
        self.owed -= n;
    }

    /// Writes the first `n` bytes of scratch, as many as the socket takes.
    fn write(&mut self, n: usize) {
        let mut written = 0;
        while written < n && self.socket == Socket::Open {
            match self.stream.write(&self.scratch[written..n]) {
                Ok(0) => self.socket = Socket::Gone,
                Ok(more) => {
                    if let Some(observer) = &mut self.observer {
                        let bytes = &self.scratch[written..written + more];
                        observer.moved(self.key, self.peer, Direction::Sent, bytes);
                    }
                    written += more;
                    self.pass(more as u64);
                }
                Err(e) => {
                    // Whatever a socket says when writing, the peer gets nothing more.
                    let _ = self.stopped(e);
                    if self.socket == Socket::Open {
                        self.socket = Socket::Gone;
                    }
                }
            }
        }
    }

    /// What an error of moving bytes means. The socket's are noted, the file's given back.
    fn stopped(&mut self, e: io::Error) -> io::Result<()> {
        match e.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => self.socket = Socket::Full,
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => self.socket = Socket::Gone,
            _ => return Err(e),
        }
        Ok(())
    }
}

/// Sends a part of a file. `None`: this file cannot be sent so.
#[cfg(target_os = "linux")]
fn sendfile(stream: &TcpStream, file: &File, at: u64, most: u64) -> io::Result<Option<u64>> {
    use rustix::io::Errno;

    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut at = at;
    match rustix::fs::sendfile(stream, file, Some(&mut at), most) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) => Ok(Some(n as u64)),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// There is a call of this name elsewhere too, each its own.
#[cfg(not(target_os = "linux"))]
fn sendfile(_: &TcpStream, _: &File, _: u64, _: u64) -> io::Result<Option<u64>> {
    Ok(None)
}
