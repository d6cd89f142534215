//! Detection of whether the peer has read the last bytes that were sent.

use std::io;
use std::time::{Duration, Instant};

use embedded_nal::TcpClientStack;
use socklab_core::machine::{Machine, StreamEnd};

use super::super::DEFAULT_TIMEOUT;
use super::super::quote::Quote;
use super::super::stack::{Stack, TcpSocket};
use super::pause::endpoints;
use super::{Client, Surplus, close_sending};
use crate::sys::extra::net::SocketQueues;

/// What became of the bytes that were sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The peer has read them, or its system has acknowledged them and it has since closed the connection
    /// in order.
    Read,
    /// The peer has not read all of them: it closed or reset the connection before, or the time limit expired.
    Unread(StreamEnd),
    /// The peer's system has acknowledged them. Whether the peer reads them is unknown.
    Unknown,
}

impl Delivery {
    /// Returns a message for a failed delivery: `peer` ("the server") has not read `what` ("our greeting").
    #[must_use]
    pub fn failure(self, peer: &str, what: &str) -> Option<String> {
        let Self::Unread(how) = self else { return None };
        Some(match how {
            StreamEnd::Closed => format!("{peer} closed the connection without reading {what}"),
            StreamEnd::Reset => format!("{peer} reset the connection without reading {what}"),
            StreamEnd::TimedOut => format!("{peer} did not read {what} in time"),
        })
    }
}

/// State of the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Reset,
}

impl<M: Machine> Client<M> {
    /// Closes the connection as [`close`](Self::close) does, and returns whether the peer has read everything
    /// that was sent, as far as the system reports that. Waits until that is known or the peer has closed, for at
    /// most the timeout, or 30 s if there is none.
    ///
    /// This is for protocols in which the client sends the last message. If the peer has closed, or closes
    /// without reading the message, its system answers with RST. When the RST follows an orderly close, only the
    /// socket error (`SO_ERROR`) shows it.
    pub fn finish(self) -> Delivery {
        self.await_delivery(None).0
    }

    /// Closes the connection as [`finish`](Self::finish) does, and also returns what the peer has sent after the end
    /// of the session. If the peer has read everything, this waits for it to close as [`close`](Self::close) does,
    /// since it may send more only then.
    pub fn finish_and_close(self) -> (Delivery, Surplus) {
        self.await_delivery(Some(Duration::from_secs(1)))
    }

    /// Implements [`finish`](Self::finish). `linger` is the time to receive what a peer that has read everything
    /// still sends.
    fn await_delivery(mut self, linger: Option<Duration>) -> (Delivery, Surplus) {
        /// Time to wait for an RST after an orderly close, where the system does not report acknowledgements.
        const GRACE: Duration = Duration::from_millis(200);
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_millis(100);

        self.set_mark(false);
        let mut surplus = Discarded::default();
        surplus.count(self.connection.unread());
        if let Some(how) = self.connection.write_closed() {
            return (Delivery::Unread(how), surplus.finish());
        }
        let addrs = endpoints(self.connection.socket());
        let mut queues = SocketQueues::new();
        let mut query = || match addrs {
            // In this order: acknowledged bytes are in the peer's queue or have been read from it.
            Some((local, peer)) => {
                (queues.is_acknowledged(local, peer), queues.unread(local, peer))
            }
            None => (None, None),
        };
        let (local_state, peer_unread) = query();
        // FIN is not sent yet to a peer on this machine. It would count as an unread byte here, and with FIN in the
        // peer's queue the kernel would discard the unread bytes before it without an RST.
        if peer_unread.is_none() {
            self.close_sending();
        }
        let Self { connection, mut stack, mut poll, mut events, timeout, .. } = self;
        let mut socket = connection.into_socket();
        let (start, limit) = (Instant::now(), timeout.unwrap_or(DEFAULT_TIMEOUT));
        let (mut state, mut closed_at) = (State::Open, start);
        let delivery = loop {
            if state == State::Open {
                state = drain(&mut stack, &mut socket, &mut surplus);
                closed_at = Instant::now();
            }
            let (acknowledged, unread) = query();
            // `acknowledged` becomes `None` when the kernel removes our socket from its tables: after everything has
            // been acknowledged, or after a reset.
            let is_acknowledged = match local_state {
                Some(_) => acknowledged.unwrap_or(true),
                None => state != State::Open && closed_at.elapsed() >= GRACE,
            };
            // Checked last: a reset sets the socket error before it has any other effect.
            match (state, has_error(&socket)) {
                (State::Reset, _) | (State::Open, true) => {
                    break Delivery::Unread(StreamEnd::Reset);
                }
                (State::Closed, true) => break Delivery::Unread(StreamEnd::Closed),
                (_, false) if !is_acknowledged => {}
                (_, false) if unread == Some(0) => break Delivery::Read,
                (State::Closed, false) if unread.is_none() => break Delivery::Read,
                _ => {}
            }
            let elapsed = start.elapsed();
            let Some(left) = limit.checked_sub(elapsed).filter(|left| !left.is_zero()) else {
                let is_late = unread.is_some() || local_state.is_some() && !is_acknowledged;
                break if is_late {
                    Delivery::Unread(StreamEnd::TimedOut)
                } else {
                    Delivery::Unknown
                };
            };
            let wait = (elapsed / 8).clamp(SHORTEST, LONGEST).min(left);
            match poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => break Delivery::Unknown,
                _ => {}
            }
        };
        if let (Some(linger), Delivery::Read) = (linger, delivery) {
            close_sending(&mut stack, &socket);
            let start = Instant::now();
            while state == State::Open {
                state = drain(&mut stack, &mut socket, &mut surplus);
                let left = linger.saturating_sub(start.elapsed());
                if left.is_zero() || state != State::Open {
                    break;
                }
                match poll.poll(&mut events, Some(left.min(LONGEST))) {
                    Err(e) if e.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
        }
        (delivery, surplus.finish())
    }
}

/// Number and start of the bytes received after the end of the session.
#[derive(Default)]
struct Discarded {
    bytes: usize,
    start: Vec<u8>,
}

impl Discarded {
    fn count(&mut self, bytes: &[u8]) {
        /// More bytes than a [`Quote`] stores.
        const START: usize = 1024;

        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.start.len() < START {
            self.start.extend_from_slice(bytes);
        }
    }

    fn finish(self) -> Surplus {
        Surplus { bytes: self.bytes, start: Quote::new(&self.start) }
    }
}

/// Reads and discards what the peer still sends.
fn drain(stack: &mut Stack, socket: &mut TcpSocket, surplus: &mut Discarded) -> State {
    /// Number of reads in one call. It is limited so that the caller can check its time limit.
    const READS: usize = 64;

    let mut buffer = [0; 4096];
    for _ in 0..READS {
        match stack.receive(socket, &mut buffer) {
            Ok(n @ 1..) => surplus.count(buffer.get(..n).unwrap_or_default()),
            Ok(0) => return State::Closed,
            Err(nb::Error::Other(_)) => return State::Reset,
            Err(nb::Error::WouldBlock) => return State::Open,
        }
    }
    State::Open
}

/// Returns whether a socket error is pending. A read does not return an RST that follows an orderly close.
fn has_error(socket: &TcpSocket) -> bool {
    socket.as_ref().and_then(|stream| stream.take_error().ok().flatten()).is_some()
}
