//! The limit of a wait, and stalls of the machine.

use std::thread;
use std::time::{Duration, Instant};

/// Time that a thread may sleep longer than it asked for, on a machine that is not stalled.
const OVERSLEPT: Duration = Duration::from_millis(50);

/// Limit of a wait. Time in which the machine was stalled does not count.
///
/// If this thread has slept much longer than it asked for, the machine was overloaded or suspended, and the program under
/// test did not run either. It must not fail for that.
#[derive(Debug)]
pub(super) struct Limit {
    start: Instant,
    limit: Duration,
}

impl Limit {
    pub(super) const fn new(start: Instant, limit: Duration) -> Self {
        Self { start, limit }
    }

    /// Records a sleep: how long it should have been, and how long it was.
    pub(super) fn slept(&mut self, asked: Duration, slept: Duration) {
        let stall = slept.saturating_sub(asked).saturating_sub(OVERSLEPT);
        self.limit = self.limit.saturating_add(stall);
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.start) >= self.limit
    }
}

/// Stalls of the machine in the middle of what we send.
///
/// A program may take a message for complete after a pause of 200 or 300 ms. So a case that has failed after a long stall says
/// nothing about the program.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// The longest one since the last write.
    pending: Duration,
    /// The longest one between two writes.
    longest: Duration,
}

impl Stalls {
    /// Sleeps once.
    pub(super) fn sleep(&mut self, time: Duration) {
        let start = Instant::now();
        thread::sleep(time);
        self.slept(time, start.elapsed());
    }

    /// Records a sleep: how long it should have been, and how long it was.
    pub(super) fn slept(&mut self, asked: Duration, slept: Duration) {
        self.pending = self.pending.max(slept.saturating_sub(asked));
    }

    /// Records a write, and whether it continues what was sent before.
    pub(super) fn written(&mut self, continues: bool) {
        let pending = std::mem::take(&mut self.pending);
        if continues {
            self.longest = self.longest.max(pending);
        }
    }

    /// Returns the longest stall if a program may have taken it for the end of a message.
    pub(super) fn noticeable(&self) -> Option<Duration> {
        /// The longest pause that a case makes itself is 80 ms, and the shortest that counts as an end is 200 ms.
        const NOTICEABLE: Duration = Duration::from_millis(100);
        Some(self.longest).filter(|stall| *stall >= NOTICEABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_a_stall_of_the_machine_does_not_count() {
        let start = Instant::now();
        let mut limit = Limit::new(start, 1000 * MS);
        limit.slept(5 * MS, 6 * MS);
        limit.slept(5 * MS, 55 * MS);
        assert!(!limit.is_over(start + 999 * MS));
        assert!(limit.is_over(start + 1000 * MS));
        limit.slept(5 * MS, 3055 * MS);
        assert!(!limit.is_over(start + 3999 * MS));
        assert!(limit.is_over(start + 4000 * MS));
    }

    #[test]
    fn only_a_stall_in_the_middle_of_what_is_sent_is_noticeable() {
        let mut stalls = Stalls::default();
        stalls.slept(5 * MS, 500 * MS);
        stalls.written(false);
        stalls.written(true);
        stalls.slept(40 * MS, 139 * MS);
        stalls.written(true);
        assert_eq!(stalls.noticeable(), None);
        stalls.slept(40 * MS, 41 * MS);
        stalls.slept(40 * MS, 140 * MS);
        assert_eq!(stalls.noticeable(), None);
        stalls.written(true);
        stalls.written(true);
        assert_eq!(stalls.noticeable(), Some(100 * MS));
    }
}
