//! Faults of datagrams: what a network does to one direction of them.
//!
//! A [`Schedule`] has no I/O and no clock. It keeps the datagrams, of any type, because they may overtake each other.
//! Time is a duration since any start, so virtual time works as well as that of the system.
//!
//! ```
//! use std::time::Duration;
//! use socklab::faults::datagrams::{Chance, Departure, Faults, Fate, Schedule, Step};
//!
//! let faults = Faults { reorder: Chance::ALWAYS, ..Faults::default() };
//! let (mut schedule, now) = (Schedule::new(faults, 0), Duration::ZERO);
//! assert_eq!(schedule.arrive(now, "first", 5), Fate::Held);
//! assert_eq!(schedule.next(now), Step::Wait(Faults::HOLD));
//! schedule.arrive(now, "second", 6);
//! for (expected, is_reordered) in [("second", false), ("first", true)] {
//!     let Step::Send(departure) = schedule.next(now) else { panic!("it leaves now") };
//!     assert_eq!((departure.datagram, departure.is_reordered), (expected, is_reordered));
//! }
//! assert_eq!(schedule.next(now), Step::Idle);
//! ```
//!
//! The stages stand in this order: a datagram is dropped, duplicated, it waits for those before it (`rate`), it travels
//! (`delay`, `jitter`), and it is held (`reorder`). The same number of random values is drawn for each arrival. So whether a datagram is dropped depends on
//! its number and the seed alone, not on the other faults.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use super::Random;

/// Number of datagrams that a direction keeps.
const KEPT: usize = 4096;
/// Number of their bytes.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Number of datagrams that a direction keeps at a limited rate: the queue of netem. With a longer one a slow link would
/// deliver datagrams long after their senders have given up, and drop none.
const QUEUE: usize = 1000;
/// Approximate size of a datagram that is kept, without its bytes.
pub(crate) const RECORD: usize = 128;

/// Probability, in steps of a billionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

impl Chance {
    /// Probability of 0.
    pub const NEVER: Self = Self(0);
    /// Probability of 1.
    pub const ALWAYS: Self = Self(1_000_000_000);

    /// Returns a probability in percent. What is more than 100 counts as 100.
    #[must_use]
    pub const fn percent(n: u32) -> Self {
        Self::billionths(n.saturating_mul(Self::ALWAYS.0 / 100))
    }

    /// Returns a probability in billionths. What is more than a billion counts as a billion.
    #[must_use]
    pub const fn billionths(n: u32) -> Self {
        if n > Self::ALWAYS.0 { Self::ALWAYS } else { Self(n) }
    }

    fn draw(self, random: &mut Random) -> bool {
        random.up_to(u64::from(Self::ALWAYS.0) - 1) < u64::from(self.0)
    }
}

/// Faults of one direction. By default there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Probability that a datagram does not arrive.
    pub drop: Chance,
    /// Probability that a datagram arrives twice.
    pub duplicate: Chance,
    /// Probability that a datagram is held until the next one has left. One is held at a time: the next one passes it.
    pub reorder: Chance,
    /// Maximum time for which a datagram is held.
    pub hold: Duration,
    /// Time that datagrams travel.
    pub delay: Duration,
    /// Largest random time that is added to the delay of each datagram. They may overtake each other.
    pub jitter: Duration,
    /// Maximum number of bytes per second. A datagram waits until those before it have been sent. One that finds a thousand
    /// in the direction is dropped.
    pub rate: Option<NonZeroU64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            drop: Chance::NEVER,
            duplicate: Chance::NEVER,
            reorder: Chance::NEVER,
            hold: Self::HOLD,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
        }
    }
}

impl Faults {
    /// Default of [`hold`](Self::hold): shorter than the time after which most clients send again.
    pub const HOLD: Duration = Duration::from_millis(100);

    /// Returns whether each datagram leaves as it arrives.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self { hold: Self::HOLD, ..*self } == Self::default()
    }

    /// Returns whether the schedule depends on its seed.
    #[must_use]
    pub fn is_random(&self) -> bool {
        let is_random = |chance| chance != Chance::NEVER && chance != Chance::ALWAYS;
        [self.drop, self.duplicate, self.reorder].into_iter().any(is_random)
            || !self.jitter.is_zero()
    }
}

/// What happens to a datagram that has arrived: the result of [`Schedule::arrive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It leaves after its delay, this number of times: 1 or 2.
    Leaves(u8),
    /// It is held until the next one has left, or until its maximum time has passed.
    Held,
    /// It is dropped by a fault.
    Dropped,
    /// It is dropped because the schedule keeps too many.
    Overflowed,
}

/// What happens next in a direction: the result of [`Schedule::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// A datagram leaves now.
    Send(Departure<T>),
    /// Nothing happens before this time, unless a datagram arrives.
    Wait(Duration),
    /// Nothing happens until a datagram arrives.
    Idle,
}

/// A datagram that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure<T> {
    /// The datagram.
    pub datagram: T,
    /// Its number in the order of arrival, from 0.
    pub number: u64,
    /// How often it leaves: 1 or 2.
    pub copies: u8,
    /// Whether one that arrived later has left before it.
    pub is_reordered: bool,
}

/// Numbers of datagrams of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams that have arrived.
    pub arrived: u64,
    /// Datagrams that have left. One that is duplicated counts once.
    pub passed: u64,
    /// Datagrams dropped by a fault.
    pub dropped: u64,
    /// Datagrams dropped because too many waited.
    pub overflowed: u64,
    /// Datagrams that have left twice.
    pub duplicated: u64,
    /// Datagrams that have left after one that arrived later.
    pub reordered: u64,
}

impl Counts {
    const NONE: Self =
        Self { arrived: 0, passed: 0, dropped: 0, overflowed: 0, duplicated: 0, reordered: 0 };

    /// Counts a datagram that has arrived.
    pub(crate) const fn arrived(&mut self, fate: Fate) {
        self.arrived += 1;
        match fate {
            Fate::Leaves(_) | Fate::Held => {}
            Fate::Dropped => self.dropped += 1,
            Fate::Overflowed => self.overflowed += 1,
        }
    }

    /// Counts a datagram that leaves.
    pub(crate) fn left(&mut self, copies: u8, is_reordered: bool) {
        self.passed += 1;
        self.duplicated += u64::from(copies > 1);
        self.reordered += u64::from(is_reordered);
    }

    /// Returns the number of datagrams that have arrived and neither left nor been dropped.
    #[must_use]
    pub const fn kept(&self) -> u64 {
        self.arrived - self.passed - self.dropped - self.overflowed
    }
}

/// Schedule of one direction. The same faults, seed and arrivals give the same schedule.
#[derive(Clone, Debug)]
pub struct Schedule<T> {
    faults: Faults,
    random: Random,
    /// Datagrams on their way, by the time at which they leave and their number.
    waiting: BTreeMap<(Duration, u64), Waiting<T>>,
    held: Option<Held<T>>,
    /// Time at which the last datagram has been sent, at a limited rate.
    free: Duration,
    /// Number of bytes of the datagrams that it keeps, with a record for each.
    bytes: usize,
    /// Greatest number of a datagram that has left.
    last: Option<u64>,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Waiting<T> {
    datagram: T,
    /// Approximate memory.
    size: usize,
    copies: u8,
}

/// The datagram that waits for the next one.
#[derive(Clone, Debug)]
struct Held<T> {
    waiting: Waiting<T>,
    number: u64,
    /// Time at which it has travelled.
    travelled: Duration,
    /// Time at which it leaves in any case.
    deadline: Duration,
}

impl<T> Schedule<T> {
    /// Returns a schedule without datagrams. Only random faults use `seed`.
    #[must_use]
    pub const fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: Random(seed),
            waiting: BTreeMap::new(),
            held: None,
            free: Duration::ZERO,
            bytes: 0,
            last: None,
            counts: Counts::NONE,
        }
    }

    /// Returns the numbers of datagrams so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the approximate memory in bytes of the datagrams that it keeps.
    #[must_use]
    pub const fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether it keeps no datagram.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_none()
    }

    /// Records a datagram of `len` bytes that arrives, and keeps it unless it is dropped.
    pub fn arrive(&mut self, now: Duration, datagram: T, len: usize) -> Fate {
        let number = self.counts.arrived;
        let fate = self.draw(now, number, datagram, len);
        self.counts.arrived(fate);
        fate
    }

    fn draw(&mut self, now: Duration, number: u64, datagram: T, len: usize) -> Fate {
        let Faults { drop, duplicate, reorder, hold, delay, jitter, rate } = self.faults;
        let [is_dropped, is_duplicated, is_reordered] =
            [drop, duplicate, reorder].map(|chance| chance.draw(&mut self.random));
        let jitter = self.random.up_to(u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX));
        if is_dropped {
            return Fate::Dropped;
        }
        let kept = self.waiting.len() + usize::from(self.held.is_some());
        let most = if rate.is_some() { QUEUE } else { KEPT };
        let size = len.saturating_add(RECORD);
        if kept >= most || self.bytes.saturating_add(size) > KEPT_BYTES {
            return Fate::Overflowed;
        }
        self.bytes += size;
        let copies = 1 + u8::from(is_duplicated);
        let waiting = Waiting { datagram, size, copies };
        let sent = match rate {
            Some(rate) => {
                let nanos =
                    len as u128 * u128::from(copies) * 1_000_000_000 / u128::from(rate.get());
                let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                self.free = self.free.max(now).saturating_add(time);
                self.free
            }
            None => now,
        };
        let travelled = sent.saturating_add(delay).saturating_add(Duration::from_nanos(jitter));
        if let Some(held) = self.held.take_if(|held| held.deadline <= now) {
            self.waiting.insert((held.deadline, held.number), held.waiting);
        }
        if is_reordered && self.held.is_none() {
            let deadline = travelled.saturating_add(hold);
            self.held = Some(Held { waiting, number, travelled, deadline });
            return Fate::Held;
        }
        self.waiting.insert((travelled, number), waiting);
        Fate::Leaves(copies)
    }

    /// Returns what happens at this time. After [`Step::Send`] it must be called again.
    pub fn next(&mut self, now: Duration) -> Step<T> {
        let first = self.waiting.first_key_value().map(|(key, _)| *key);
        let held = self.held.as_ref().map(|held| (held.deadline, held.number));
        let Some(due) = first.into_iter().chain(held).min() else { return Step::Idle };
        if due.0 > now {
            return Step::Wait(due.0);
        }
        let waiting = if Some(due) == held {
            self.held.take().map(|held| held.waiting)
        } else {
            self.waiting.remove(&due)
        };
        let Some(Waiting { datagram, size, copies }) = waiting else { return Step::Idle };
        let (time, number) = due;
        // The one that waits for this one leaves next, before others that are due.
        if let Some(held) = self.held.take_if(|held| held.number < number) {
            self.waiting.insert((held.travelled.max(time), held.number), held.waiting);
        }
        let is_reordered = self.last.is_some_and(|last| last > number);
        self.last = self.last.max(Some(number));
        self.bytes -= size;
        self.counts.left(copies, is_reordered);
        Step::Send(Departure { datagram, number, copies, is_reordered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Times and numbers of departures, with how often each left.
    type Run = Vec<(Duration, u64, u8)>;

    /// Runs a schedule in virtual time, with an arrival at each of these times.
    fn run(faults: Faults, seed: u64, arrivals: &[Duration]) -> (Run, Vec<Fate>, Counts) {
        let (mut schedule, mut now) = (Schedule::new(faults, seed), Duration::ZERO);
        let (mut run, mut fates) = (Run::new(), Vec::new());
        let mut arrivals = arrivals.iter().copied().zip(0..).peekable();
        loop {
            while let Some((_, number)) = arrivals.next_if(|(time, _)| *time <= now) {
                fates.push(schedule.arrive(now, number, 10));
            }
            let next = arrivals.peek().map(|(time, _)| *time);
            match schedule.next(now) {
                Step::Send(departure) => {
                    assert_eq!(departure.datagram, departure.number);
                    run.push((now, departure.number, departure.copies));
                }
                Step::Wait(time) => {
                    assert!(time > now, "a wait that has passed");
                    now = next.map_or(time, |next| next.min(time));
                }
                Step::Idle => match next {
                    Some(time) => now = time,
                    None => break,
                },
            }
        }
        assert!(schedule.is_empty() && schedule.kept_bytes() == 0);
        (run, fates, schedule.counts())
    }

    fn numbers(run: &Run) -> Vec<u64> {
        run.iter().map(|(_, number, _)| *number).collect()
    }

    #[test]
    fn without_faults_each_datagram_leaves_at_once_in_order() {
        let arrivals = [0, 0, 1, 5, 5].map(|ms| MS * ms);
        let (run, fates, counts) = run(Faults::default(), 7, &arrivals);
        assert_eq!(run, [(0, 0), (0, 1), (1, 2), (5, 3), (5, 4)].map(|(ms, n)| (MS * ms, n, 1)));
        assert!(fates.iter().all(|fate| *fate == Fate::Leaves(1)));
        assert_eq!(counts, Counts { arrived: 5, passed: 5, ..Counts::default() });
    }

    #[test]
    fn each_fault_at_one_hundred_percent() {
        let arrivals = [0, 10, 20, 30, 40].map(|ms| MS * ms);
        let all = Chance::ALWAYS;
        let (dropped, fates, counts) = run(Faults { drop: all, ..Faults::default() }, 1, &arrivals);
        assert_eq!((dropped, fates), (vec![], vec![Fate::Dropped; 5]));
        assert_eq!(counts, Counts { arrived: 5, dropped: 5, ..Counts::default() });

        let (doubled, _, counts) =
            run(Faults { duplicate: all, ..Faults::default() }, 1, &arrivals);
        assert!(doubled.iter().all(|(_, _, copies)| *copies == 2));
        assert_eq!((numbers(&doubled), counts.duplicated), (vec![0, 1, 2, 3, 4], 5));

        // Pairs are exchanged. The last one has no follower, and leaves after the maximum time.
        let (swapped, fates, counts) =
            run(Faults { reorder: all, ..Faults::default() }, 1, &arrivals);
        assert_eq!(
            swapped,
            [(10, 1), (10, 0), (30, 3), (30, 2), (140, 4)].map(|(ms, n)| (MS * ms, n, 1))
        );
        assert_eq!(fates[..2], [Fate::Held, Fate::Leaves(1)]);
        assert_eq!((counts.reordered, counts.passed), (2, 5));

        let delay = Faults { delay: MS * 7, ..Faults::default() };
        let (delayed, ..) = run(delay, 1, &arrivals);
        assert_eq!(
            delayed,
            [7, 17, 27, 37, 47]
                .into_iter()
                .zip(0..)
                .map(|(ms, n)| (MS * ms, n, 1))
                .collect::<Run>()
        );
    }

    #[test]
    fn a_datagram_that_is_held_leaves_right_after_the_next_one() {
        // All three are due at the same time.
        let faults = Faults { reorder: Chance::ALWAYS, ..Faults::default() };
        assert_eq!(numbers(&run(faults, 1, &[MS; 3]).0), [1, 0, 2]);
        // One that is dropped does not count as the next one.
        let faults = Faults { drop: Chance::percent(50), ..faults };
        let seed = (0..).find(|seed| {
            let fates = run(faults, *seed, &[MS; 3]).1;
            fates == [Fate::Held, Fate::Dropped, Fate::Leaves(1)]
        });
        assert_eq!(numbers(&run(faults, seed.unwrap(), &[MS; 3]).0), [2, 0]);
    }

    #[test]
    fn one_that_is_on_its_way_before_does_not_release_the_one_that_is_held() {
        let faults = Faults { reorder: Chance::percent(50), delay: MS * 50, ..Faults::default() };
        let seed =
            (0..).find(|seed| run(faults, *seed, &[MS; 2]).1 == [Fate::Leaves(1), Fate::Held]);
        let (run, ..) = run(faults, seed.unwrap(), &[MS; 2]);
        assert_eq!(run, [(MS * 51, 0, 1), (MS * 151, 1, 1)]);
    }

    #[test]
    fn the_faults_of_a_datagram_do_not_depend_on_the_other_faults_or_on_time() {
        let (fast, slow): (Vec<_>, Vec<_>) = (0..200).map(|n| (MS, MS * n * 10)).unzip();
        let dropped = |faults, arrivals: &[Duration]| -> Vec<bool> {
            run(faults, 3, arrivals).1.iter().map(|fate| *fate == Fate::Dropped).collect()
        };
        let drop = Faults { drop: Chance::percent(30), ..Faults::default() };
        let expected = dropped(drop, &fast);
        assert_eq!(expected.iter().filter(|is_dropped| **is_dropped).count(), 71);
        let more = Faults {
            duplicate: Chance::percent(20),
            reorder: Chance::percent(50),
            jitter: MS * 30,
            ..drop
        };
        assert_eq!(dropped(more, &fast), expected);
        assert_eq!(dropped(more, &slow), expected);
        assert_eq!(run(more, 3, &slow), run(more, 3, &slow));
        assert_ne!(run(more, 4, &slow), run(more, 3, &slow));
    }

    #[test]
    fn the_rates_are_those_asked_for() {
        let faults = Faults {
            drop: Chance::percent(10),
            duplicate: Chance::billionths(50_000_000),
            reorder: Chance::percent(20),
            ..Faults::default()
        };
        let arrivals: Vec<_> = (0..100_000).map(|n| MS * n).collect();
        let (_, _, counts) = run(faults, 1, &arrivals);
        assert!((9_700..10_300).contains(&counts.dropped), "{counts:?}");
        assert!((4_300..4_700).contains(&counts.duplicated), "{counts:?}");
        // At 20 % of those that are not dropped, less those that follow one that is held.
        assert!((14_000..16_000).contains(&counts.reordered), "{counts:?}");
    }

    #[test]
    fn in_a_thousand_runs_each_datagram_leaves_within_its_maximum_time_or_is_dropped() {
        for seed in 0..1000 {
            let mut random = Random(seed);
            let mut ms = |most| MS * u32::try_from(random.up_to(most)).unwrap();
            let (hold, delay, jitter) = (ms(50), ms(30), ms(20));
            let mut chance = || Chance::percent(u32::try_from(random.up_to(100)).unwrap());
            let (drop, duplicate, reorder) = (chance(), chance(), chance());
            let faults =
                Faults { drop, duplicate, reorder, hold, delay, jitter, ..Faults::default() };
            let mut arrivals = Vec::new();
            let mut time = Duration::ZERO;
            for _ in 0..random.up_to(100) {
                time += MS * u32::try_from(random.up_to(20)).unwrap();
                arrivals.push(time);
            }
            let (run, fates, counts) = run(faults, seed, &arrivals);
            let mut left = vec![0; arrivals.len()];
            for (time, number, copies) in run {
                let arrived = arrivals[number as usize];
                let fate = fates[number as usize];
                let extra = if fate == Fate::Held { hold } else { Duration::ZERO };
                assert!(time >= arrived + delay, "seed {seed}, {faults:?}");
                assert!(time <= arrived + delay + jitter + extra, "seed {seed}, {faults:?}");
                left[number as usize] += copies;
            }
            for (left, fate) in left.into_iter().zip(&fates) {
                match fate {
                    Fate::Leaves(copies) => assert_eq!(left, *copies),
                    Fate::Held => assert!((1..=2).contains(&left)),
                    Fate::Dropped => assert_eq!(left, 0),
                    Fate::Overflowed => panic!("so few are kept"),
                }
            }
            assert_eq!(counts.arrived, arrivals.len() as u64);
            assert_eq!(counts.arrived, counts.passed + counts.dropped, "seed {seed}");
        }
    }

    #[test]
    fn the_number_of_datagrams_and_of_bytes_that_are_kept_is_limited() {
        let faults = Faults { delay: MS, ..Faults::default() };
        for (len, most) in [(1, KEPT), (0, KEPT), (65_507, KEPT_BYTES / (65_507 + RECORD))] {
            let mut schedule = Schedule::new(faults, 0);
            for number in 0..KEPT + 10 {
                let expected = if number < most { Fate::Leaves(1) } else { Fate::Overflowed };
                assert_eq!(schedule.arrive(Duration::ZERO, number, len), expected);
            }
            // The newest ones are dropped.
            for number in 0..most {
                assert!(matches!(schedule.next(MS), Step::Send(d) if d.datagram == number));
            }
            assert_eq!(schedule.next(MS), Step::Idle);
            assert_eq!(schedule.counts().overflowed, (KEPT + 10 - most) as u64);
            assert_eq!(schedule.arrive(MS, 0, len), Fate::Leaves(1));
        }
    }

    #[test]
    fn at_a_limited_rate_each_datagram_waits_for_those_before_it() {
        // 10 bytes each take 10 ms.
        let faults = Faults { rate: NonZeroU64::new(1000), delay: MS * 5, ..Faults::default() };
        let (sent, ..) = run(faults, 1, &[0, 0, 1, 100].map(|ms| MS * ms));
        assert_eq!(sent, [(15, 0), (25, 1), (35, 2), (115, 3)].map(|(ms, n)| (MS * ms, n, 1)));
        // A duplicate takes as long as its original. What is dropped takes no time.
        let twice = Faults { duplicate: Chance::ALWAYS, ..faults };
        assert_eq!(run(twice, 1, &[MS, MS]).0, [(MS * 26, 0, 2), (MS * 46, 1, 2)]);
        let drop = Faults { drop: Chance::percent(50), ..faults };
        let (sent, _, counts) = run(drop, 1, &[MS; 20]);
        assert!(counts.dropped > 0 && counts.passed > 0, "{counts:?}");
        let last = MS * 6 + MS * 10 * u32::try_from(counts.passed).unwrap();
        assert_eq!(sent.last().map(|(time, ..)| *time), Some(last));
        assert!(!faults.is_none() && !faults.is_random());
    }

    #[test]
    fn at_a_limited_rate_a_datagram_that_finds_the_queue_full_is_dropped() {
        let faults = Faults { rate: NonZeroU64::new(1000), ..Faults::default() };
        let mut schedule = Schedule::new(faults, 0);
        for number in 0..QUEUE + 10 {
            let expected = if number < QUEUE { Fate::Leaves(1) } else { Fate::Overflowed };
            assert_eq!(schedule.arrive(Duration::ZERO, number, 10), expected);
        }
        assert_eq!(schedule.next(Duration::ZERO), Step::Wait(MS * 10));
        assert!(matches!(schedule.next(MS * 10), Step::Send(_)));
        // One place is free. Those that were dropped took no time.
        assert_eq!(schedule.arrive(MS * 10, QUEUE, 10), Fate::Leaves(1));
        assert_eq!(schedule.arrive(MS * 10, QUEUE, 10), Fate::Overflowed);
        while let Step::Send(_) = schedule.next(MS * 10_010) {}
        assert!(schedule.is_empty() && schedule.kept_bytes() == 0);
        assert_eq!((schedule.counts().passed, schedule.counts().overflowed), (1001, 11));
    }

    #[test]
    fn extreme_times_and_chances_are_safe() {
        let faults = Faults {
            reorder: Chance::percent(u32::MAX),
            hold: Duration::MAX,
            delay: Duration::MAX,
            jitter: Duration::MAX,
            rate: NonZeroU64::new(1),
            ..Faults::default()
        };
        assert_eq!(faults.reorder, Chance::ALWAYS);
        assert!(faults.is_random() && !faults.is_none());
        let mut schedule = Schedule::new(faults, 0);
        assert_eq!(schedule.arrive(Duration::MAX, (), usize::MAX), Fate::Overflowed);
        assert_eq!(schedule.arrive(Duration::MAX, (), 1), Fate::Held);
        assert_eq!(schedule.next(Duration::ZERO), Step::Wait(Duration::MAX));
        assert!(matches!(schedule.next(Duration::MAX), Step::Send(_)));
        assert!(Faults { hold: MS, ..Faults::default() }.is_none());
    }
}
