//! Checksums of files that have been read completely.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, SystemTime};

use crate::sys::file::Version;

/// Number of checksums that are kept.
pub(super) const CAPACITY: usize = 1024;

/// Age after which a further change of a file is certain to change its timestamps: file systems have coarse
/// clocks.
const SETTLED: Duration = Duration::from_secs(2);

/// Returns whether a change of a file that was last changed at this time, in seconds since the epoch, will change its
/// version.
pub(super) fn is_settled(changed: i64) -> bool {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    let settled = i64::try_from(SETTLED.as_secs()).unwrap_or(0);
    now.is_some_and(|now| changed < now - settled)
}

/// Cache of at most [`CAPACITY`] checksums. The oldest one is evicted first.
pub(super) struct Checksums<V = Version> {
    crcs: HashMap<V, u32>,
    /// Versions in the order of insertion, oldest first.
    order: VecDeque<V>,
}

impl<V> Default for Checksums<V> {
    fn default() -> Self {
        Self { crcs: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V: Clone + Eq + Hash> Checksums<V> {
    pub(super) fn get(&self, version: &V) -> Option<u32> {
        self.crcs.get(version).copied()
    }

    pub(super) fn insert(&mut self, version: V, crc: u32) {
        if self.crcs.insert(version.clone(), crc).is_none() {
            self.order.push_back(version);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.crcs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_evicts_the_oldest() {
        let mut cache = Checksums::default();
        for file in 0..CAPACITY as u64 + 10 {
            cache.insert(file, 7);
            cache.insert(file, 8);
        }
        assert_eq!((cache.crcs.len(), cache.order.len()), (CAPACITY, CAPACITY));
        assert_eq!((cache.get(&9), cache.get(&10)), (None, Some(8)));
        assert!(is_settled(3));
    }
}
