//! Detection of progress of a peer that reads slowly.
//!
//! The kernel buffers megabytes for a connection, and then accepts nothing until a third of them has left. So
//! what a socket accepts says little about the peer. What the peer acknowledges does: a peer that reads nothing
//! acknowledges nothing once its receive buffer is full, although it answers window probes.

use std::collections::HashMap;

use super::slot::Slot;
use crate::net::system::System;

/// Number of probes of a peer's progress within one idle limit.
const PROBES: u64 = 8;

/// Unacknowledged output of connections on which no bytes are transferred. It is a table rather than a field of
/// each slot, since few connections have such output.
#[derive(Default)]
pub(super) struct Progress {
    outstanding: HashMap<usize, Outstanding>,
}

/// Output that was not acknowledged or not read at the last probe.
struct Outstanding {
    bytes: u32,
    /// The slot's `last_progress` at that time. If it has changed, this probe is out of date.
    last_progress: u32,
    /// Time of the probe.
    at: u32,
}

/// Connection on which no bytes are transferred, as found by the check for idle connections.
#[derive(Clone, Copy)]
pub(super) struct Inactive {
    pub(super) key: usize,
    /// Current time, truncated as in a slot.
    pub(super) now: u32,
    /// Milliseconds since the last progress.
    pub(super) age: u64,
    /// Milliseconds since the previous check.
    pub(super) since_check: u64,
    /// Age in milliseconds at which the connection is idle.
    pub(super) limit: u64,
}

impl Progress {
    /// Probes the connection if a probe is due. Returns whether the connection counts as active: the peer has
    /// acknowledged or read something since the last probe, or there was no earlier probe to compare with. In the
    /// first case the slot's `last_progress` is set to now.
    pub(super) fn check<N: System, M: socklab_core::Machine, T>(
        &mut self,
        inactive: Inactive,
        slot: &mut Slot<N::Stream, M, T>,
        peer: std::net::SocketAddr,
        system: &mut N,
    ) -> bool {
        let Inactive { key, now, age, since_check, limit } = inactive;
        let (every, is_last) = (limit / PROBES, age >= limit);
        let known =
            self.outstanding.get(&key).filter(|known| known.last_progress == slot.last_progress);
        let is_due = match known {
            Some(known) => u64::from(now.wrapping_sub(known.at)) >= every,
            // If the first probe finds nothing outstanding, no later one will: nothing has been sent since.
            None => age >= every && age.saturating_sub(since_check) < every,
        };
        if !is_due && !is_last {
            return false;
        }
        let bytes = slot.outstanding(peer, system).unwrap_or(0);
        let has_progressed = match known {
            Some(known) if bytes < known.bytes => {
                log::debug!("{peer}: peer reads slowly, {bytes} bytes outstanding");
                slot.last_progress = now;
                true
            }
            Some(_) => false,
            None => bytes > 0 && is_last,
        };
        if bytes > 0 {
            self.outstanding
                .insert(key, Outstanding { bytes, last_progress: slot.last_progress, at: now });
        } else {
            self.outstanding.remove(&key);
        }
        has_progressed
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Removes the entry of a connection that has ended.
    pub(super) fn remove(&mut self, key: usize) {
        self.outstanding.remove(&key);
    }
}
