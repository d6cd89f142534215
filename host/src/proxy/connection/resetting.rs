//! A reset by a fault: first the delivery of the bytes that have been passed on, then the reset.

use std::time::Duration;

use super::{Context, Event, Flow, LaneState, Pair, Phase, Turn};
use crate::faults::Ending;
use crate::proxy::Ended;
use crate::sys::extra::net::SocketQueues;

/// Time without an acknowledgement after which the reset waits no longer.
const GRACE: Duration = Duration::from_secs(2);
/// Time that the reset waits if the system does not report what is acknowledged.
const UNREPORTED: Duration = Duration::from_millis(250);
/// Shortest and longest time between two checks.
const CHECK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Wait for the delivery of what has been passed on.
///
/// A reset discards what the sender's system has not sent yet. A capture, a log and a page would then claim bytes that the
/// receiver never got.
#[derive(Clone, Copy)]
pub(super) struct Resetting {
    /// Direction of the fault.
    flow: Flow,
    /// Time of the last acknowledgement, or of the start.
    since: Duration,
    /// Number of bytes to the server and to the client that are not acknowledged.
    left: [u32; 2],
    /// Time of the next check.
    pub(super) check_at: Duration,
}

impl Pair {
    /// Starts to wait for the delivery, because of a fault in this direction.
    pub(super) fn start_reset(&mut self, flow: Flow, context: &mut Context<'_>) -> Turn {
        let now = context.now;
        self.phase =
            Phase::Resetting(Resetting { flow, since: now, left: [u32::MAX; 2], check_at: now });
        self.await_delivery(context)
    }

    /// Ends the connection if everything has been delivered, or cannot be.
    pub(super) fn await_delivery(&mut self, context: &mut Context<'_>) -> Turn {
        let Phase::Resetting(mut state) = self.phase else { return Turn::Wait };
        let now = context.now;
        if now < state.check_at {
            return Turn::Wait;
        }
        let queues = context.queues.get_or_insert_with(SocketQueues::new);
        let reported = [Flow::Up, Flow::Down].map(|flow| self.unacknowledged(flow, queues));
        let left = reported.map(|bytes| bytes.unwrap_or(0));
        let grace = if reported.contains(&None) { UNREPORTED } else { GRACE };
        if left.iter().zip(state.left).any(|(left, before)| *left < before) {
            (state.since, self.progress) = (now, now);
        }
        let waited = now - state.since;
        state.left = left;
        if reported == [Some(0); 2] || waited >= grace {
            for flow in [Flow::Up, Flow::Down] {
                let bytes = u64::from(left[flow as usize]);
                if bytes > 0 {
                    let passed = match flow {
                        Flow::Up => &mut self.info.up,
                        Flow::Down => &mut self.info.down,
                    };
                    *passed = passed.saturating_sub(bytes);
                    context.observe(&self.info, &Event::Undelivered(flow, bytes));
                }
            }
            return Turn::End(Ended::Fault(state.flow, Ending::Reset));
        }
        // At growing intervals, so that many peers that do not read cost little.
        state.check_at = now + (waited / 4).clamp(CHECK.0, CHECK.1);
        self.phase = Phase::Resetting(state);
        Turn::Wait
    }

    /// Returns the number of bytes of this direction that the receiver's system has not acknowledged; `None` if the
    /// system does not report that.
    fn unacknowledged(&mut self, flow: Flow, queues: &mut SocketQueues) -> Option<u32> {
        let socket = &mut self.sockets[flow.to() as usize];
        if socket.has_failed || self.lanes[flow as usize].state == LaneState::Dead {
            return Some(0);
        }
        let stream = &socket.stream;
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
            return Some(0);
        };
        let bytes = queues.unacknowledged(local, peer)?;
        // FIN counts as one byte.
        let has_end = self.lanes[flow as usize].state == LaneState::Ended;
        Some(bytes.saturating_sub(u32::from(has_end)))
    }
}
