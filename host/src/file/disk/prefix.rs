//! Checksum of the bytes before the offset of a resumed transfer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SLICE;
use super::job::Job;

/// Checksum of the first bytes of a file, computed once for all jobs that need it.
///
/// Any of these jobs may read the next slice. The others are parked in `waiting` meanwhile, so that they block no
/// worker.
#[derive(Default)]
pub(super) struct Prefix {
    /// Number of bytes that `crc` covers.
    at: u64,
    crc: crc32fast::Hasher,
    /// End of the slice that a worker is reading; equal to `at` if no worker is reading.
    next: u64,
    /// Offsets at which jobs start to send, each with its number of jobs and, once known, the checksum of the bytes
    /// before it.
    offsets: BTreeMap<u64, (usize, Option<crc32fast::Hasher>)>,
    waiting: Vec<Arc<Job>>,
}

/// Next step of a job that needs the checksum of a prefix.
pub(super) enum Step {
    /// Use this checksum: it is complete.
    Known(crc32fast::Hasher),
    /// Wait until another worker has read its slice.
    Wait,
    /// Read the bytes of this range into this checksum.
    Read(u64, u64, crc32fast::Hasher),
}

impl Prefix {
    /// Registers `offset`, and returns whether that was possible.
    ///
    /// It is not if the checksum has passed `offset`: it cannot be computed backwards.
    pub(super) fn join(&mut self, offset: u64) -> bool {
        if let Some((jobs, _)) = self.offsets.get_mut(&offset) {
            *jobs += 1;
            return true;
        }
        let is_ahead = self.next <= offset;
        if is_ahead {
            let crc = (self.at == offset).then(|| self.crc.clone());
            self.offsets.insert(offset, (1, crc));
        }
        is_ahead
    }

    /// Undoes one `join`.
    pub(super) fn leave(&mut self, offset: u64, job: &Arc<Job>) {
        self.waiting.retain(|waiting| !Arc::ptr_eq(waiting, job));
        if let Some((jobs, _)) = self.offsets.get_mut(&offset) {
            *jobs -= 1;
            if *jobs == 0 {
                self.offsets.remove(&offset);
            }
        }
    }

    /// Returns what `job` must do next to get the checksum of the bytes before `offset`.
    pub(super) fn next_step(&mut self, offset: u64, job: &Arc<Job>) -> Step {
        if let Some((_, Some(crc))) = self.offsets.get(&offset) {
            return Step::Known(crc.clone());
        }
        if self.next > self.at {
            // Checked under the lock of this prefix: a job that is abandoned sets the flag first and leaves the prefix
            // after that.
            if !job.abandoned.load(Ordering::Relaxed) {
                self.waiting.push(Arc::clone(job));
            }
            return Step::Wait;
        }
        let stop = self.offsets.range(self.at.saturating_add(1)..).next().map(|(stop, _)| *stop);
        self.next = stop.unwrap_or(offset).min(self.at.saturating_add(SLICE));
        Step::Read(self.at, self.next, self.crc.clone())
    }

    /// Records the checksum after a slice, or `None` if the slice could not be read. Returns the jobs that waited for
    /// it.
    pub(super) fn finish_slice(&mut self, crc: Option<&crc32fast::Hasher>) -> Vec<Arc<Job>> {
        match crc {
            None => self.next = self.at,
            Some(crc) => {
                (self.at, self.crc) = (self.next, crc.clone());
                if let Some((_, known)) = self.offsets.get_mut(&self.at) {
                    *known = Some(crc.clone());
                }
            }
        }
        std::mem::take(&mut self.waiting)
    }
}
