//! The limit of a wait.

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
}
