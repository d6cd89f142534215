//! A connection with the program under test.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use socklab_core::machine::StreamEnd;

use crate::sys::extra::net::SocketQueues;

/// Pause after a write where the system does not report whether the program has read it.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for the program to read a write before the next one follows.
const READ_WAIT: Duration = Duration::from_millis(300);

/// A connection. Nothing is read before a step asks for it.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None` after the close of the socket.
    stream: Option<TcpStream>,
    local: SocketAddr,
    peer: SocketAddr,
    /// Received bytes that no step has taken.
    pub(super) unread: Vec<u8>,
    /// How the program's stream has ended.
    pub(super) end: Option<StreamEnd>,
    /// How our own stream has ended.
    pub(super) our_end: Option<StreamEnd>,
    /// Number of bytes that the program had not read when the last wait for that ended without effect.
    left_unread: u32,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Self {
            stream: Some(stream),
            local,
            peer,
            unread: Vec::new(),
            end: None,
            our_end: None,
            left_unread: 0,
        })
    }

    /// Reads what has arrived. Returns the new bytes, and whether the end has been read now.
    pub(super) fn read(&mut self) -> (Vec<u8>, bool) {
        let mut buffer = [0; 16 * 1024];
        let Some(stream) = self.stream.as_mut().filter(|_| self.end.is_none()) else {
            return (Vec::new(), false);
        };
        match stream.read(&mut buffer) {
            Ok(0) => self.end = Some(StreamEnd::Closed),
            Ok(n) => {
                let bytes = buffer.get(..n).unwrap_or_default().to_vec();
                self.unread.extend_from_slice(&bytes);
                return (bytes, false);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return (Vec::new(), false);
            }
            Err(_) => self.end = Some(StreamEnd::Reset),
        }
        (Vec::new(), true)
    }

    /// Writes as much as the system accepts. Returns the number of bytes, or `None` if the program has closed the
    /// connection or reset it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let stream = self.stream.as_mut().filter(|_| self.our_end.is_none())?;
        match stream.write(bytes) {
            Ok(n) => Some(n),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
            Err(_) => None,
        }
    }

    /// Waits until the program has read everything that was written, so that it reads the next write by itself. A slow
    /// program gets a limited time. One that has not read the write before either, and may wait for something else, gets
    /// none: a message of many pieces would take minutes.
    pub(super) fn wait_until_read(
        &mut self,
        queues: &mut SocketQueues,
        sleep: &mut dyn FnMut(Duration),
    ) {
        let start = Instant::now();
        loop {
            match queues.unread(self.local, self.peer) {
                Some(0) => {
                    self.left_unread = 0;
                    return;
                }
                Some(n) => {
                    let has_stopped = self.left_unread > 0 && n > self.left_unread;
                    if has_stopped || start.elapsed() >= READ_WAIT {
                        self.left_unread = n;
                        return;
                    }
                    sleep(Duration::from_micros(200));
                }
                None => {
                    sleep(UNKNOWN_PAUSE);
                    return;
                }
            }
        }
    }

    /// Sets the size of the system's buffer for what arrives.
    pub(super) fn set_buffer(&self, bytes: usize) {
        if let Some(stream) = &self.stream {
            let _ = SockRef::from(stream).set_recv_buffer_size(bytes);
        }
    }

    /// Ends our stream in an orderly way. The program can still send.
    pub(super) fn half_close(&mut self) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.our_end.is_none()) {
            self.our_end = Some(StreamEnd::Closed);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Closes the socket in an orderly way. What the program sends later is refused with a reset.
    ///
    /// If the program has closed first, an orderly close leaves its port in TIME-WAIT, where a server that does not set
    /// `SO_REUSEADDR` cannot bind it again. Unless `leaves_port` is wanted, a reset follows then: a program that has closed
    /// its socket does not notice the difference.
    pub(super) fn close(&mut self, leaves_port: bool) {
        // Otherwise the system sends a reset at once.
        while !self.read().0.is_empty() {}
        if self.end.is_some() && !leaves_port {
            self.reset();
            return;
        }
        // A program that is being started has a copy of the socket for a moment, and a close alone would wait for that.
        self.half_close();
        self.stream = None;
    }

    /// Resets the connection.
    pub(super) fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.our_end = Some(StreamEnd::Reset);
            // The close of the socket sends the reset.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}
