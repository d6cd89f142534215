//! Time limits of connections: without progress a session times out, and a closed connection is removed.

use socklab_core::machine::StreamEnd;

use super::{Engine, millis};
use crate::net::engine::progress::Inactive;
use crate::net::engine::slot::{Flag, Phase, Turn, Wakeup, timestamp};
use crate::net::engine::{Ended, Service};
use crate::net::system::System;

/// Time in milliseconds that the peer has to read the last bytes and close.
const LINGER_MS: u64 = 2000;
/// Idle limit in milliseconds for a client that has not received the last bytes, unless [`Limits::idle`](crate::net::Limits::idle) is shorter.
const CLOSING_MS: u64 = 30_000;

impl<S: Service, N: System> Engine<S, N> {
    /// Closes the connections on which neither side makes progress. `since_check` is the time in milliseconds since
    /// the previous call.
    pub(super) fn close_idle(&mut self, since_check: u64) {
        let idle = self.limits.idle.map_or(u64::MAX, millis);
        let now = timestamp(self.now);
        let mut expired = Vec::new();
        for (key, slot) in &mut self.slots {
            if slot.flags.has(Flag::Busy) {
                continue;
            }
            let age = u64::from(now.wrapping_sub(slot.last_progress));
            let is_active = match slot.phase {
                Phase::Lingering => age < LINGER_MS,
                phase => {
                    // A finished session is never kept indefinitely.
                    let limit = if phase.is_over() { idle.min(CLOSING_MS) } else { idle };
                    let peer = self.peers.get(&slot.peer);
                    let inactive = Inactive { key, now, age, since_check, limit };
                    self.progress.check(inactive, slot, peer, &mut self.system) || age < limit
                }
            };
            if !is_active {
                expired.push(key);
            }
        }
        for key in expired {
            let Some(slot) = self.slots.get(key) else { continue };
            let before = slot.last_progress;
            // For systems that do not report acknowledgements: if the socket accepts bytes now, some were
            // acknowledged.
            if slot.has_output(&self.buffers) {
                self.turn(key, Wakeup::Event);
            }
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.last_progress != before {
                continue;
            }
            log::debug!("{}: timed out, closing", self.peers.get(&slot.peer));
            match slot.phase {
                Phase::Finishing | Phase::AwaitingAck | Phase::Flushing | Phase::Lingering => {
                    self.remove(key, Ended::Undelivered);
                }
                Phase::Open
                | Phase::Payload
                | Phase::Boundary
                | Phase::Paused
                | Phase::IdleTimer => {
                    slot.end = Some(StreamEnd::TimedOut);
                    slot.time_out(&mut self.buffers);
                    let mut turn = self.turn(key, Wakeup::Event);
                    // The remaining input is processed without pauses. The loop ends, since each turn consumes input.
                    for _ in 0..self.input.len() {
                        let Some(slot) = self.slots.get_mut(key) else { break };
                        let continues = match slot.phase {
                            Phase::Boundary | Phase::Paused => true,
                            Phase::Payload => turn == Turn::Again,
                            // What the socket refuses is discarded.
                            Phase::Open | Phase::IdleTimer => {
                                turn == Turn::Again || slot.has_output(&self.buffers)
                            }
                            Phase::Finishing
                            | Phase::AwaitingAck
                            | Phase::Flushing
                            | Phase::Lingering => false,
                        };
                        if !continues {
                            break;
                        }
                        slot.time_out(&mut self.buffers);
                        turn = self.turn(key, Wakeup::Event);
                    }
                    if let Some(slot) = self.slots.get(key) {
                        let is_over = slot.phase.is_over();
                        self.remove(key, if is_over { Ended::Undelivered } else { Ended::Stopped });
                    }
                }
            }
        }
    }
}
