//! Whether the peer has read what it was sent last.

use std::io;
use std::time::{Duration, Instant};

use embedded_nal::TcpClientStack;
use socklab_core::machine::{Machine, StreamEnd};

use super::super::DEFAULT_TIMEOUT;
use super::super::quote::Quote;
use super::super::reads::Reads;
use super::super::stack::{Stack, TcpSocket, borrow};
use super::{Client, Surplus, ends};

/// What is known of the bytes that were sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The peer has read them; or its system has them, and it has closed in order since.
    Read,
    /// The peer has not read them all: it closed or reset the connection before, or let the time pass.
    Unread(StreamEnd),
    /// The peer's system has them. Whether the peer reads them cannot be known.
    Unknown,
}

impl Delivery {
    /// The sentence for a failed delivery: `peer` ("the server") has not read `what` ("our greeting").
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

/// What a look at the peer's direction shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Reset,
}

impl<M: Machine> Client<M> {
    /// Closes the connection as [`close`](Self::close) does, and finds out whether the peer has read all
    /// that it was sent, as far as the system can tell. Waits until that is known or the peer has closed,
    /// for as long as for a peer that is silent; 30 s if that has no limit.
    ///
    /// For protocols in which the client has the last word. A system answers bytes for a program that
    /// has closed, or that closes without reading them, with a reset; behind an orderly close only the
    /// socket's error shows it.
    pub fn finish(self) -> Delivery {
        self.settle(None).0
    }

    /// As [`finish`](Self::finish), with what the peer has sent behind the end. A peer that has read
    /// everything is waited for as [`close`](Self::close) does: it may go on only then.
    pub fn finish_and_close(self) -> (Delivery, Surplus) {
        self.settle(Some(Duration::from_secs(1)))
    }

    /// `rest`: so long for what a peer that has read everything still sends.
    fn settle(self, rest: Option<Duration>) -> (Delivery, Surplus) {
        /// For a reset behind an orderly close, where nothing is known of acknowledgements.
        const GRACE: Duration = Duration::from_millis(200);
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_millis(100);

        let mut read = Dropped::default();
        read.count(self.connection.unread());
        if let Some(how) = self.connection.write_closed() {
            return (Delivery::Unread(how), read.surplus());
        }
        let addrs = ends(self.connection.socket());
        let mut reads = Reads::new();
        let mut known = || match addrs {
            // In this order: what is acknowledged is in the peer's queue, or has left it.
            Some((local, peer)) => (reads.is_acknowledged(local, peer), reads.unread(local, peer)),
            None => (None, None),
        };
        let (ours, theirs) = known();
        // A peer of this machine gets no end of the stream before it has read. With that in its queue its
        // system would drop what is unread behind it in silence, and here it would count as a byte.
        if theirs.is_none() {
            self.close_sending();
        }
        let Self { connection, mut stack, mut poll, mut events, timeout, .. } = self;
        let mut socket = connection.into_socket();
        let (start, limit) = (Instant::now(), timeout.unwrap_or(DEFAULT_TIMEOUT));
        let (mut state, mut closed_at) = (State::Open, start);
        let delivery = loop {
            if state == State::Open {
                state = drain(&mut stack, &mut socket, &mut read);
                closed_at = Instant::now();
            }
            let (acknowledged, unread) = known();
            // Our socket is gone from the system's tables when all is acknowledged, or after a reset.
            let is_acknowledged = match ours {
                Some(_) => acknowledged.unwrap_or(true),
                None => state != State::Open && closed_at.elapsed() >= GRACE,
            };
            // Looked at last: a reset is an error before anything else shows it.
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
                let is_late = unread.is_some() || ours.is_some() && !is_acknowledged;
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
        if let (Some(rest), Delivery::Read) = (rest, delivery) {
            if let Some(fd) = borrow(&socket) {
                let _ = socket2::SockRef::from(&fd).shutdown(std::net::Shutdown::Write);
            }
            let start = Instant::now();
            while state == State::Open {
                state = drain(&mut stack, &mut socket, &mut read);
                let left = rest.saturating_sub(start.elapsed());
                if left.is_zero() || state != State::Open {
                    break;
                }
                match poll.poll(&mut events, Some(left.min(LONGEST))) {
                    Err(e) if e.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
        }
        (delivery, read.surplus())
    }
}

/// What was read behind the end: its size and its start.
#[derive(Default)]
struct Dropped {
    bytes: usize,
    start: Vec<u8>,
}

impl Dropped {
    fn count(&mut self, bytes: &[u8]) {
        /// More than a quote keeps.
        const START: usize = 1024;

        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.start.len() < START {
            self.start.extend_from_slice(bytes);
        }
    }

    fn surplus(self) -> Surplus {
        Surplus { bytes: self.bytes, start: Quote::new(&self.start) }
    }
}

/// Reads and drops what the peer still sends.
fn drain(stack: &mut Stack, socket: &mut TcpSocket, read: &mut Dropped) -> State {
    /// As many reads at a time: the clock continues meanwhile.
    const READS: usize = 64;

    let mut room = [0; 4096];
    for _ in 0..READS {
        match stack.receive(socket, &mut room) {
            Ok(n @ 1..) => read.count(room.get(..n).unwrap_or_default()),
            Ok(0) => return State::Closed,
            Err(nb::Error::Other(_)) => return State::Reset,
            Err(nb::Error::WouldBlock) => return State::Open,
        }
    }
    State::Open
}

/// Whether the system has an error for the socket: a reset behind the peer's orderly close is not there
/// to be read.
fn has_error(socket: &TcpSocket) -> bool {
    borrow(socket).and_then(|fd| socket2::SockRef::from(&fd).take_error().ok().flatten()).is_some()
}
