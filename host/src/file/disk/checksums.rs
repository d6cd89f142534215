//! Checksums of files that have been read completely.

use std::collections::{HashMap, VecDeque};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

/// Number of checksums that are kept.
pub(super) const CAPACITY: usize = 1024;

/// Age after which a further change of a file is certain to change its timestamps: file systems have coarse
/// clocks.
const SETTLED: Duration = Duration::from_secs(2);

/// Identity and version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Time of the last change of the inode. The system updates it with every change, and no program can set it.
    changed: (i64, i64),
}

impl Key {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns whether a later change of the file will change the key.
    pub(super) fn is_settled(&self) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
        let settled = i64::try_from(SETTLED.as_secs()).unwrap_or(0);
        now.is_some_and(|now| self.modified.0.max(self.changed.0) < now - settled)
    }
}

/// Cache of at most [`CAPACITY`] checksums. The oldest one is evicted first.
#[derive(Default)]
pub(super) struct Checksums {
    crcs: HashMap<Key, u32>,
    /// Keys in the order of insertion, oldest first.
    order: VecDeque<Key>,
}

impl Checksums {
    pub(super) fn get(&self, key: &Key) -> Option<u32> {
        self.crcs.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: Key, crc: u32) {
        if self.crcs.insert(key.clone(), crc).is_none() {
            self.order.push_back(key);
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
        let key = |inode| Key { device: 1, inode, size: 3, modified: (1, 2), changed: (3, 4) };
        for inode in 0..CAPACITY as u64 + 10 {
            cache.insert(key(inode), 7);
            cache.insert(key(inode), 8);
        }
        assert_eq!((cache.crcs.len(), cache.order.len()), (CAPACITY, CAPACITY));
        assert_eq!((cache.get(&key(9)), cache.get(&key(10))), (None, Some(8)));
        assert!(key(1).is_settled());
    }
}
