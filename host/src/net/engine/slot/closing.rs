//! The end of a connection: delivery of the last bytes, then an orderly close.

use std::net::SocketAddr;

use socklab_core::machine::{Machine, StreamEnd};

use super::{Context, Delivery, Flag, PendingEnd, Phase, Slot, Turn, timestamp};
use crate::net::engine::{Ended, Service};
use crate::net::stack::{Direction, Ends, Observer, observe_end};
use crate::net::system::{Stream, System};

/// Time in milliseconds until the first check whether the last bytes have been acknowledged.
const ACK_CHECK_MS: u64 = 5;

impl<K: Stream, M: Machine, T> Slot<K, M, T> {
    /// Returns the delivery of the last bytes. The sending side has been closed.
    pub(in crate::net::engine) fn delivery(
        &mut self,
        peer: SocketAddr,
        system: &mut impl System<Stream = K>,
    ) -> Delivery {
        if self.pending_end >= PendingEnd::WriteClosed || self.end == Some(StreamEnd::Reset) {
            return Delivery::Lost;
        }
        match system.unacknowledged(&self.stream, peer) {
            // FIN counts as one byte.
            Some(0..=1) => Delivery::Done,
            Some(_) => Delivery::Pending,
            // Not reported, or the connection has ended: only an error shows that it was a reset.
            None if self.stream.take_error().is_some() => {
                self.pending_end = PendingEnd::Reset;
                Delivery::Lost
            }
            None => Delivery::Done,
        }
    }

    /// Makes the close of the socket send RST.
    pub(in crate::net::engine) fn reset(&self) {
        self.stream.set_reset_on_close(true);
    }

    /// Reports the end of a connection that is about to be closed.
    pub(in crate::net::engine) fn observe_end(
        &self,
        key: usize,
        peer: SocketAddr,
        observer: &mut dyn Observer,
    ) {
        let ends = Ends {
            sent: self.flags.has(Flag::SentEnd),
            received: self.end == Some(StreamEnd::Closed),
            is_reset: self.end == Some(StreamEnd::Reset) || self.pending_end == PendingEnd::Reset,
        };
        let (peek, resets) = (|| self.stream.peek(), || self.stream.resets_on_close());
        observe_end(observer, key, peer, ends, peek, resets);
    }

    /// Closes the sending side after all output has been sent, and waits for the peer to close.
    ///
    /// Closing the socket at once would send RST if there is unread input, and the peer could then lose the last
    /// bytes.
    pub(super) fn close_sending<S, N>(&mut self, context: &mut Context<'_, S, N>) -> Turn
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        if S::RESETS {
            self.stream.set_reset_on_close(false);
        }
        let is_lost = self.stream.close_sending().is_err();
        if is_lost {
            self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
        } else {
            self.flags.set(Flag::SentEnd, true);
            if let Some(observer) = context.observer {
                observer.moved(context.key, context.peers.get(&self.peer), Direction::Sent, &[]);
            }
        }
        context.buffers.take(&mut self.buffered);
        self.last_progress = timestamp(context.now);
        if self.phase == Phase::Finishing {
            self.phase = Phase::AwaitingAck;
            return self.await_ack(context);
        }
        if is_lost || self.end.is_some() {
            return Turn::Close;
        }
        self.phase = Phase::Lingering;
        self.linger(context)
    }

    /// Reads and discards what the peer sends until it has acknowledged the last bytes.
    pub(super) fn await_ack<S, N>(&mut self, context: &mut Context<'_, S, N>) -> Turn
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        if self.end.is_none() && self.pending_end < PendingEnd::WriteClosed {
            let read = if context.is_drained { None } else { self.read(context, 0) };
            match read {
                // The peer's close usually arrives within this time, and confirms the delivery without a query.
                None if context.is_last_written => context.timer_ms = Some(ACK_CHECK_MS),
                // Written in an earlier turn, so usually acknowledged by now.
                None => return self.check_ack(context),
                Some(0) => {}
                Some(_) => return Turn::Again,
            }
            if self.end.is_none() {
                return Turn::Wait;
            }
        }
        self.check_ack(context)
    }

    /// Reports the session if the delivery of its last bytes is known. Otherwise sets a timer for the next check.
    pub(super) fn check_ack<S, N>(&mut self, context: &mut Context<'_, S, N>) -> Turn
    where
        S: Service<Machine = M, State = T>,
        N: System<Stream = K>,
    {
        match self.delivery(context.peers.get(&self.peer), context.system) {
            Delivery::Pending => {
                // At growing intervals, so that thousands of peers that never read cost little.
                let waited = u64::from(timestamp(context.now).wrapping_sub(self.last_progress));
                context.timer_ms = Some(waited.div_ceil(4).clamp(ACK_CHECK_MS, 1000));
                return Turn::Wait;
            }
            Delivery::Done => self.report(Ended::Done, context),
            Delivery::Lost => self.report(Ended::Undelivered, context),
        }
        if self.end.is_some() || self.pending_end >= PendingEnd::WriteClosed {
            return Turn::Close;
        }
        self.phase = Phase::Lingering;
        self.last_progress = timestamp(context.now);
        self.linger(context)
    }

    /// Reads and discards what the peer sends, until its end of stream.
    pub(super) fn linger<S: Service, N>(&mut self, context: &mut Context<'_, S, N>) -> Turn {
        match self.read(context, 0) {
            None => Turn::Wait,
            Some(0) => Turn::Close,
            Some(_) => Turn::Again,
        }
    }
}
