//! The limit of a wait, and stalls of the machine.

use std::thread;
use std::time::{Duration, Instant};

use super::HANDOVER;
use crate::check::program::Program;
use crate::sys::Activity;

/// Time that a thread may sleep longer than it asked for, on a machine that is not stalled.
const OVERSLEPT: Duration = Duration::from_millis(50);

/// Time after which the processor time of the program is read for the first time: most waits are over before.
const SETTLED: Duration = Duration::from_millis(100);
/// Processor time that may be missing from what the system reports: some ticks of 10 ms.
const TICKS: Duration = Duration::from_millis(50);
/// Part of its limit that a program may use on a processor before the limit is not extended any more. One that computes
/// without an end should not take much longer on a machine with many of its kind.
const SHARE: u32 = 4;
/// What a limit is extended by at a time, and how often the limit fits into the longest wait.
const EXTENSION: (Duration, u32) = (Duration::from_millis(50), 5);

/// Time between two looks for descendants of a program: each reads the environment of every process.
const DESCENDANTS: Duration = Duration::from_millis(100);

/// Limit of a wait. Time in which the machine was stalled, or gave the program no processor, does not count.
///
/// If this thread has slept much longer than it asked for, the machine was overloaded or suspended, and the program under
/// test did not run either. It must not fail for that. On a machine with more work than processors this thread still runs
/// in time, since it sleeps most of the time. So a program that has work at the limit gets more time, until it waits for
/// something or has had a quarter of the limit on a processor.
#[derive(Debug)]
pub(super) struct Limit {
    start: Instant,
    limit: Duration,
    asked: Duration,
    /// Processor time of the program near the start, once it has been read.
    cpu: Option<Duration>,
}

impl Limit {
    pub(super) const fn new(start: Instant, limit: Duration) -> Self {
        Self { start, limit, asked: limit, cpu: None }
    }

    /// Returns whether [`started`](Self::started) is to be called.
    pub(super) fn needs_start(&self, now: Instant) -> bool {
        self.cpu.is_none() && self.asked > SETTLED && now - self.start >= SETTLED
    }

    /// Records what the program does near the start.
    pub(super) fn started(&mut self, activity: Option<Activity>) {
        self.cpu = activity.map(|activity| activity.cpu);
    }

    /// Extends the limit, if the program has work and has not had the time for it. Returns whether it was extended.
    pub(super) fn extends(&mut self, activity: Option<Activity>) -> bool {
        let (Some(before), Some(Activity { cpu, is_busy: true })) = (self.cpu, activity) else {
            return false;
        };
        let used = cpu.saturating_sub(before) + TICKS;
        let is_extended = used < self.asked / SHARE && self.limit < self.asked * EXTENSION.1;
        if is_extended {
            self.limit += EXTENSION.0;
        }
        is_extended
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

/// The time in which a descendant may act in place of a program that has ended: as long as there is one.
#[derive(Debug, Default)]
pub(super) struct Handover {
    since: Option<Instant>,
    /// When a descendant was last found.
    found: Option<Instant>,
}

impl Handover {
    /// Returns whether the program and its descendants have ended.
    pub(super) fn is_over(&mut self, program: Option<&mut Program>) -> bool {
        let Some(program) = program else { return false };
        if program.exit().is_none() {
            return false;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now - since < HANDOVER || self.found.is_some_and(|found| now - found < DESCENDANTS) {
            return false;
        }
        self.found = program.has_descendants().then_some(now);
        self.found.is_none()
    }

    /// Returns what is added to the report of a program that has ended.
    pub(super) const fn remainder(&self) -> &'static str {
        if self.found.is_some() { "; a process that it started still runs" } else { "" }
    }

    /// Returns the time since the program itself has ended.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// Returns whether the program itself has ended.
    pub(super) const fn has_begun(&self) -> bool {
        self.since.is_some()
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
    fn a_program_gets_a_quarter_of_the_limit_on_a_processor() {
        let start = Instant::now();
        let busy = |ms: u32| Some(Activity { cpu: ms * MS, is_busy: true });
        let idle = Some(Activity { cpu: Duration::ZERO, is_busy: false });
        let limit = || {
            let mut limit = Limit::new(start, 1000 * MS);
            assert!(!limit.needs_start(start + 99 * MS));
            assert!(limit.needs_start(start + 100 * MS));
            limit.started(busy(20));
            assert!(!limit.needs_start(start + 200 * MS));
            limit
        };
        let mut waiting = limit();
        assert!(waiting.extends(busy(30)));
        assert!(!waiting.is_over(start + 1049 * MS));
        assert!(waiting.is_over(start + 1050 * MS));
        assert!(!waiting.extends(idle), "it waits");
        assert!(!waiting.extends(None), "the system does not say");
        assert!(waiting.extends(busy(219)));
        assert!(!waiting.extends(busy(220)), "it had its time");
        let mut starved = limit();
        assert_eq!((0..1000).filter(|_| starved.extends(busy(20))).count(), 80);
        assert!(starved.is_over(start + 5000 * MS), "there is an end");
        let mut unknown = Limit::new(start, 1000 * MS);
        unknown.started(None);
        assert!(!unknown.extends(busy(0)));
        let mut short = Limit::new(start, 100 * MS);
        assert!(!short.needs_start(start + 100 * MS));
        assert!(!short.extends(busy(0)));
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
