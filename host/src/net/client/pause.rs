//! The pause at a message boundary.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::stack::TcpSocket;
use crate::sys::extra::net::SocketQueues;

/// The pause at a message boundary. It lasts for the pace at least, and until the peer has read everything
/// before the boundary, as far as the system reports that.
pub(super) struct Pause {
    start: Instant,
    pace: Duration,
    /// Longest time to wait beyond the pace, since the peer may never read.
    limit: Duration,
    /// The local address, the peer's address and the means to look up what the peer has read. `None` after
    /// a reset: there is nothing to wait for.
    queues: Option<(SocketAddr, SocketAddr, SocketQueues)>,
}

/// Returns the local address and the peer's address, or `None` after a reset.
pub(super) fn endpoints(socket: &TcpSocket) -> Option<(SocketAddr, SocketAddr)> {
    let stream = socket.as_ref()?;
    Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
}

impl Pause {
    pub(super) fn new(socket: &TcpSocket, pace: Duration, limit: Duration) -> Self {
        let queues = endpoints(socket).map(|(local, peer)| (local, peer, SocketQueues::new()));
        Self { start: Instant::now(), pace, limit, queues }
    }

    pub(super) fn is_over(&mut self) -> bool {
        let elapsed = self.start.elapsed();
        if elapsed < self.pace {
            return false;
        }
        elapsed >= self.pace + self.limit
            || self
                .queues
                .as_mut()
                .is_none_or(|(local, peer, queues)| queues.has_read_all(*local, *peer))
    }

    /// Returns the time until the next check.
    pub(super) fn wait(&self) -> Duration {
        let elapsed = self.start.elapsed();
        match self.pace.checked_sub(elapsed) {
            Some(left) if !left.is_zero() => left,
            _ => ((elapsed - self.pace) / 4)
                .clamp(Duration::from_millis(2), Duration::from_millis(250)),
        }
    }
}
