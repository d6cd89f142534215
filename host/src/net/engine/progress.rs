//! Whether a peer takes what it was sent.
//!
//! The system takes megabytes for a connection, and then nothing until a third of that has left: what a
//! socket takes says little about a peer that reads slowly. What its system acknowledges does. A peer that
//! reads nothing acknowledges nothing once its buffer is full, though it answers window probes.

use std::collections::HashMap;

use super::slot::Slot;
use crate::net::reads::Reads;

/// Number of times within an idle limit that it is looked up what a peer has acknowledged.
const LOOKS: u64 = 8;

/// The connections on which nothing moves and that have output which is not acknowledged. A table, since
/// few have.
#[derive(Default)]
pub(super) struct Progress {
    outstanding: HashMap<usize, Outstanding>,
}

/// Output that was not acknowledged when it was last looked up.
struct Outstanding {
    bytes: u32,
    /// The connection's stamp then: with another one, something has moved since.
    stamp: u32,
    /// When that was.
    at: u32,
}

/// A connection on which nothing moves, at a sweep.
#[derive(Clone, Copy)]
pub(super) struct Still {
    pub(super) key: usize,
    /// The time, as slots keep it.
    pub(super) now: u32,
    /// Time since something moved, in ms.
    pub(super) age: u64,
    /// Time since the sweep before, in ms.
    pub(super) swept: u64,
    /// The age at which it is idle.
    pub(super) limit: u64,
}

impl Progress {
    /// Whether the peer has acknowledged something since the last look, in which case something has moved
    /// now; or whether there was no look before, so that only the next one shows it.
    pub(super) fn is_made<M: socklab_core::Machine, T>(
        &mut self,
        still: Still,
        slot: &mut Slot<M, T>,
        reads: &mut Option<Reads>,
    ) -> bool {
        let Still { key, now, age, swept, limit } = still;
        let (every, is_last) = (limit / LOOKS, age >= limit);
        let known = self.outstanding.get(&key).filter(|known| known.stamp == slot.stamp);
        let is_due = match known {
            Some(known) => u64::from(now.wrapping_sub(known.at)) >= every,
            // What is not outstanding at the first look is so at no later one.
            None => age >= every && age.saturating_sub(swept) < every,
        };
        if !is_due && !is_last {
            return false;
        }
        let bytes = slot.outstanding(reads.get_or_insert_with(Reads::new)).unwrap_or(0);
        let is_made = match known {
            Some(known) if bytes < known.bytes => {
                let peer = std::net::SocketAddr::from(slot.peer);
                log::debug!("{peer}: reads slowly, {bytes} bytes to go");
                slot.stamp = now;
                true
            }
            Some(_) => false,
            None => bytes > 0 && is_last,
        };
        if bytes > 0 {
            self.outstanding.insert(key, Outstanding { bytes, stamp: slot.stamp, at: now });
        } else {
            self.outstanding.remove(&key);
        }
        is_made
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, key: usize) {
        self.outstanding.remove(&key);
    }
}
