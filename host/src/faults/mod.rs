//! Fault schedules: what a network does to one direction of a byte stream.
//!
//! A [`Schedule`] has no I/O, no clock and no buffer. Its user reports the bytes that arrive, keeps them, and asks what
//! leaves. Time is a duration since any start, so virtual time works as well as that of the system.
//!
//! ```
//! use std::time::Duration;
//! use socklab::faults::{Cut, Faults, Schedule, Step};
//!
//! let faults = Faults { cut: Cut::every(2), gap: Duration::from_millis(1), ..Faults::default() };
//! let (mut schedule, mut now) = (Schedule::new(faults, 0), Duration::ZERO);
//! schedule.arrive(now, &mut b"abc".to_owned());
//! assert_eq!(schedule.next(now), Step::Write(2));
//! schedule.left(now, 2);
//! now += Duration::from_millis(1);
//! assert_eq!(schedule.next(Duration::ZERO), Step::Wait(now));
//! assert_eq!(schedule.next(now), Step::Write(1));
//! ```
//!
//! The stages stand in this order: a bit is flipped, the bytes travel (`delay`, `jitter`), they are collected (`glue`),
//! they are cut, and they leave at the `rate`. Bytes never overtake each other.
//!
//! Datagrams have faults of their own: see [`datagrams`].

pub mod datagrams;

use std::collections::VecDeque;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use socklab_core::machine::StreamEnd;

/// Number of arrivals that may be on their way at a time, which limits the memory of a [`Schedule`].
const ARRIVALS: usize = 1024;
/// Number of writes a second at a limited rate. They are not shorter than a timer can measure.
const WRITES_PER_SECOND: u64 = 100;

/// Faults of one direction. By default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Size of the writes.
    pub cut: Option<Cut>,
    /// Pause after each write, if they are cut.
    pub gap: Duration,
    /// Time for which bytes are collected, counted from the first one. Then they leave at once.
    pub glue: Duration,
    /// Time that bytes travel.
    pub delay: Duration,
    /// Largest random time that is added to the delay of each arrival.
    pub jitter: Duration,
    /// Number of bytes that leave in a second.
    pub rate: Option<NonZeroU64>,
    /// Offset of a byte in the stream whose lowest bit is inverted.
    pub flip: Option<u64>,
    /// What happens after a number of bytes have left.
    pub ending: Option<(u64, Ending)>,
}

/// How a stream is cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Writes have at most this number of bytes.
    Every(NonZeroUsize),
    /// Each write has a random number of the bytes that wait, from one to all.
    Random,
}

impl Cut {
    /// Returns the cut into writes of `n` bytes; `None` for 0.
    #[must_use]
    pub const fn every(n: usize) -> Option<Self> {
        match NonZeroUsize::new(n) {
            Some(n) => Some(Self::Every(n)),
            None => None,
        }
    }
}

/// End of a stream that is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No more bytes leave, and no end.
    Stall,
    /// The stream ends in an orderly way.
    Close,
    /// The connection is reset.
    Reset,
}

impl Faults {
    /// Returns whether bytes leave as they arrive.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self { gap: Duration::ZERO, ..*self } == Self::default()
    }

    /// Returns whether the schedule depends on its seed.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.cut == Some(Cut::Random) || !self.jitter.is_zero()
    }
}

/// What happens next in a direction: the result of [`Schedule::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This number of bytes leave now, in one write. Then [`Schedule::left`] must be called.
    Write(usize),
    /// Nothing happens before this time, unless something arrives.
    Wait(Duration),
    /// Nothing happens until something arrives.
    Idle,
    /// The stream ends now, as the sender's stream has ended.
    End(StreamEnd),
    /// The stream ends now, because of a fault.
    Fault(Ending),
}

/// Schedule of one direction of a connection. The same faults, seed and arrivals give the same schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    faults: Faults,
    random: Random,
    /// Time at which the bytes of each arrival have travelled, and their number.
    arrivals: VecDeque<(Duration, usize)>,
    /// Time at which the end has travelled.
    end: Option<(Duration, StreamEnd)>,
    /// Number of bytes that have arrived.
    arrived: u64,
    /// Number of bytes that have left.
    left: u64,
    /// Number of collected bytes that have not left.
    collected: usize,
    /// Number of bytes of the current write that have not left.
    piece: usize,
    /// Time of the next write.
    due: Duration,
}

impl Schedule {
    /// Returns the schedule of a new stream. Only random faults use `seed`.
    #[must_use]
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: Random(seed),
            arrivals: VecDeque::new(),
            end: None,
            arrived: 0,
            left: 0,
            collected: 0,
            piece: 0,
            due: Duration::ZERO,
        }
    }

    /// Returns whether more bytes may arrive. The number of arrivals on their way is limited.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.arrivals.len() < ARRIVALS
    }

    /// Records bytes that arrive, and may change them. The caller keeps them until they [leave](Self::left).
    pub fn arrive(&mut self, now: Duration, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let flipped = self.faults.flip.and_then(|offset| offset.checked_sub(self.arrived));
        let flipped = flipped.and_then(|offset| usize::try_from(offset).ok());
        if let Some(byte) = flipped.and_then(|offset| bytes.get_mut(offset)) {
            *byte ^= 1;
        }
        self.arrived += bytes.len() as u64;
        let time = self.travelled(now);
        match self.arrivals.back_mut() {
            Some((last, n)) if *last == time => *n += bytes.len(),
            _ => self.arrivals.push_back((time, bytes.len())),
        }
    }

    /// Records the end of the sender's stream. Only the first one counts.
    pub fn end(&mut self, now: Duration, end: StreamEnd) {
        if self.end.is_none() {
            self.end = Some((self.travelled(now), end));
        }
    }

    fn travelled(&mut self, now: Duration) -> Duration {
        let jitter = u64::try_from(self.faults.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = if jitter == 0 { 0 } else { self.random.up_to(jitter) };
        let time = now.saturating_add(self.faults.delay + Duration::from_nanos(jitter));
        self.arrivals.back().map_or(time, |(last, _)| time.max(*last))
    }

    /// Returns what happens at this time. It may be called again at any time without effect.
    pub fn next(&mut self, now: Duration) -> Step {
        if self.piece > 0 {
            return Step::Write(self.piece);
        }
        let most = match self.faults.ending {
            Some((after, ending)) if self.left >= after => return Step::Fault(ending),
            Some((after, _)) => usize::try_from(after - self.left).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let Some(&(first, _)) = self.arrivals.front() else {
            let Some((time, end)) = self.end else { return Step::Idle };
            // At a limited rate the last bytes take their time.
            let time = if self.faults.rate.is_some() { time.max(self.due) } else { time };
            return if now < time { Step::Wait(time) } else { Step::End(end) };
        };
        let mut time = first.max(self.due);
        if self.collected == 0 && !self.faults.glue.is_zero() {
            let glued = first.saturating_add(self.faults.glue);
            // After the end there is nothing to wait for.
            time = time.max(self.end.map_or(glued, |(end, _)| glued.min(end)));
        }
        if now < time {
            return Step::Wait(time);
        }
        let waiting = self.waiting(now);
        self.piece = self.cut(waiting).min(most).max(1);
        Step::Write(self.piece)
    }

    /// Returns the number of bytes that may leave in one write.
    fn waiting(&mut self, now: Duration) -> usize {
        let travelled = self.arrivals.iter().take_while(|(time, _)| *time <= now);
        if !self.faults.glue.is_zero() {
            if self.collected == 0 {
                self.collected = travelled.map(|(_, n)| n).sum();
            }
            self.collected
        } else if self.faults.cut == Some(Cut::Random) {
            travelled.map(|(_, n)| n).sum()
        } else {
            // What arrived apart leaves apart.
            self.arrivals.front().map_or(0, |(_, n)| *n)
        }
    }

    fn cut(&mut self, waiting: usize) -> usize {
        let piece = match self.faults.cut {
            Some(Cut::Every(n)) => waiting.min(n.get()),
            Some(Cut::Random) => {
                let others = self.random.up_to((waiting as u64).saturating_sub(1));
                1 + usize::try_from(others).unwrap_or(0)
            }
            None => waiting,
        };
        let Some(rate) = self.faults.rate else { return piece };
        piece.min(usize::try_from(rate.get() / WRITES_PER_SECOND).unwrap_or(usize::MAX).max(1))
    }

    /// Records that `n` bytes have left: all of [`Step::Write`], or fewer if the receiver accepts no more.
    pub fn left(&mut self, now: Duration, n: usize) {
        self.left += n as u64;
        self.piece = self.piece.saturating_sub(n);
        self.collected = self.collected.saturating_sub(n);
        let mut rest = n;
        while let Some((_, first)) = self.arrivals.front_mut() {
            if *first > rest {
                *first -= rest;
                break;
            }
            rest -= *first;
            self.arrivals.pop_front();
        }
        if let Some(rate) = self.faults.rate {
            // Counted from when the write was due, so that late timers do not lower the rate. After a pause there is
            // nothing to make up for.
            const LATE_MAX: Duration = Duration::from_millis(50);
            let start = self.due.max(now.saturating_sub(LATE_MAX));
            let nanos = n as u128 * 1_000_000_000 / u128::from(rate.get());
            let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.due = start.saturating_add(took);
        }
        if self.piece == 0 && self.faults.cut.is_some() {
            self.due = self.due.max(now.saturating_add(self.faults.gap));
        }
    }
}

/// Generator of random numbers (`SplitMix64`), which are the same in every version of this crate.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// Returns a number from 0 to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // The product with the size of the range: its upper half is in the range.
        let product = u128::from(bits) * (u128::from(most) + 1);
        u64::try_from(product >> 64).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Result of a run: each write with its time, and the end.
    type Run = (Vec<(Duration, Vec<u8>)>, Option<(Duration, Step)>);

    /// Runs a schedule with these arrivals, in virtual time. `None` is the end.
    fn run(faults: Faults, seed: u64, arrivals: &[(u64, Option<&[u8]>)]) -> Run {
        let (mut schedule, mut kept) = (Schedule::new(faults, seed), VecDeque::new());
        let (mut now, mut writes) = (Duration::ZERO, Vec::new());
        let mut arrivals = arrivals.iter().peekable();
        for _ in 0..1_000_000 {
            while let Some((_, bytes)) = arrivals.next_if(|(ms, _)| MS * (*ms as u32) <= now) {
                match bytes {
                    Some(bytes) => {
                        let mut bytes = bytes.to_vec();
                        schedule.arrive(now, &mut bytes);
                        kept.extend(bytes);
                    }
                    None => schedule.end(now, StreamEnd::Closed),
                }
            }
            let step = schedule.next(now);
            assert_eq!(schedule.next(now), step, "asking again has no effect");
            let arrival = arrivals.peek().map(|(ms, _)| MS * (*ms as u32));
            match step {
                Step::Write(n) => {
                    assert!(n > 0 && n <= kept.len(), "{step:?} of {}", kept.len());
                    writes.push((now, kept.drain(..n).collect()));
                    schedule.left(now, n);
                }
                Step::Wait(time) => {
                    assert!(time > now, "a wait that has passed");
                    now = arrival.map_or(time, |arrival| arrival.min(time));
                }
                Step::Idle => match arrival {
                    Some(time) => now = time,
                    None => return (writes, None),
                },
                Step::End(_) | Step::Fault(_) => return (writes, Some((now, step))),
            }
        }
        panic!("no end: {faults:?}");
    }

    fn bytes((writes, _): &Run) -> Vec<u8> {
        writes.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    fn draw(random: &mut Random) -> Faults {
        let mut ms = |most| MS * u32::try_from(random.up_to(most)).unwrap();
        let (gap, glue, delay, jitter) = (ms(2), ms(20), ms(30), ms(10));
        Faults {
            cut: match random.up_to(3) {
                0 => None,
                1 => Some(Cut::Random),
                n => Cut::every(n as usize * 3 - 5),
            },
            gap,
            glue,
            delay,
            jitter,
            rate: NonZeroU64::new(random.up_to(3) * 5000),
            ..Faults::default()
        }
    }

    #[test]
    fn all_bytes_arrive_in_order_under_every_fault_that_does_not_end_the_stream() {
        for seed in 0..500 {
            let mut random = Random(seed);
            let faults = draw(&mut random);
            let data: Vec<u8> = (0..random.up_to(300)).map(|n| n as u8).collect();
            let mut arrivals = Vec::new();
            let (mut rest, mut ms) = (data.as_slice(), 0);
            while !rest.is_empty() {
                let n = 1 + random.up_to(rest.len() as u64 / 3) as usize;
                arrivals.push((ms, Some(&rest[..n])));
                (rest, ms) = (&rest[n..], ms + random.up_to(15));
            }
            arrivals.push((ms, None));
            let result = run(faults, seed, &arrivals);
            assert_eq!(bytes(&result), data, "seed {seed}, {faults:?}");
            assert!(matches!(result.1, Some((_, Step::End(StreamEnd::Closed)))), "{faults:?}");
            assert_eq!(run(faults, seed, &arrivals), result, "the same seed, the same schedule");
        }
    }

    #[test]
    fn without_faults_bytes_leave_as_they_arrive() {
        let arrivals: &[(u64, Option<&[u8]>)] =
            &[(0, Some(b"abc")), (0, Some(b"d")), (5, Some(b"ef")), (7, None)];
        let (writes, end) = run(Faults::default(), 0, arrivals);
        // Two arrivals at one time cannot be told apart.
        assert_eq!(writes, [(Duration::ZERO, b"abcd".to_vec()), (MS * 5, b"ef".to_vec())]);
        assert_eq!(end, Some((MS * 7, Step::End(StreamEnd::Closed))));
        assert!(Faults::default().is_none());
    }

    #[test]
    fn cut_bytes_leave_in_writes_of_that_size_with_a_gap() {
        let faults = Faults { cut: Cut::every(2), gap: MS * 3, ..Faults::default() };
        let (writes, _) = run(faults, 0, &[(0, Some(b"abcde"))]);
        let expected = [(0, "ab"), (3, "cd"), (6, "e")];
        assert_eq!(writes, expected.map(|(ms, text)| (MS * ms, text.as_bytes().to_vec())));
    }

    #[test]
    fn random_cuts_depend_on_the_seed() {
        let faults = Faults { cut: Some(Cut::Random), ..Faults::default() };
        let data = [7; 100];
        let sizes = |seed| run(faults, seed, &[(0, Some(&data))]).0;
        assert_eq!(sizes(1), sizes(1));
        assert_ne!(sizes(1), sizes(2));
        assert!(faults.is_random() && !Faults::default().is_random());
    }

    #[test]
    fn glued_bytes_leave_at_once_and_at_the_latest_at_the_end() {
        let faults = Faults { glue: MS * 10, ..Faults::default() };
        let arrivals: &[(u64, Option<&[u8]>)] =
            &[(0, Some(b"a")), (4, Some(b"b")), (11, Some(b"c")), (12, None)];
        let (writes, end) = run(faults, 0, arrivals);
        assert_eq!(writes, [(MS * 10, b"ab".to_vec()), (MS * 12, b"c".to_vec())]);
        assert_eq!(end, Some((MS * 12, Step::End(StreamEnd::Closed))));
    }

    #[test]
    fn a_delay_applies_to_bytes_and_to_the_end() {
        let faults = Faults { delay: MS * 200, ..Faults::default() };
        let (writes, end) = run(faults, 0, &[(0, Some(b"a")), (5, Some(b"b")), (6, None)]);
        assert_eq!(writes, [(MS * 200, b"a".to_vec()), (MS * 205, b"b".to_vec())]);
        assert_eq!(end, Some((MS * 206, Step::End(StreamEnd::Closed))));
    }

    #[test]
    fn a_rate_is_kept_also_with_short_writes_and_late_timers() {
        for (rate, cut) in [(1000, None), (1000, Cut::every(1)), (100_000, None), (7, None)] {
            let faults = Faults { rate: NonZeroU64::new(rate), cut, ..Faults::default() };
            let data = vec![0; usize::try_from(rate).unwrap() * 2];
            let (_, end) = run(faults, 0, &[(0, Some(&data)), (0, None)]);
            let (time, _) = end.unwrap();
            assert!(time.abs_diff(MS * 2000) <= MS * 60, "{rate}: {time:?}");
        }
        let faults = Faults { rate: NonZeroU64::new(1000), ..Faults::default() };
        let mut schedule = Schedule::new(faults, 0);
        schedule.arrive(Duration::ZERO, &mut [0; 1000]);
        let (mut now, mut left) = (Duration::ZERO, 0);
        while left < 1000 {
            // Each timer is late by up to 4 ms.
            match schedule.next(now) {
                Step::Write(n) => {
                    left += n;
                    schedule.left(now, n);
                }
                Step::Wait(time) => now = time + MS * 4,
                step => panic!("{step:?}"),
            }
        }
        assert!(now.abs_diff(MS * 1000) <= MS * 60, "{now:?}");
    }

    #[test]
    fn a_bit_is_flipped_at_its_offset_only() {
        for (flip, expected) in [(0, "`bcd"), (1, "accd"), (3, "abce"), (4, "abcd")] {
            let faults = Faults { flip: Some(flip), ..Faults::default() };
            let result = run(faults, 0, &[(0, Some(b"ab")), (1, Some(b"cd"))]);
            assert_eq!(bytes(&result), expected.as_bytes(), "{flip}");
        }
    }

    #[test]
    fn a_stream_ends_after_exactly_that_number_of_bytes() {
        for ending in [Ending::Stall, Ending::Close, Ending::Reset] {
            for after in 0..4 {
                let faults = Faults { ending: Some((after, ending)), ..Faults::default() };
                let result = run(faults, 0, &[(0, Some(b"ab")), (1, Some(b"cd")), (2, None)]);
                assert_eq!(bytes(&result), b"abcd"[..after as usize]);
                assert!(matches!(result.1, Some((_, Step::Fault(e))) if e == ending));
            }
            let faults = Faults { ending: Some((5, ending)), ..Faults::default() };
            let result = run(faults, 0, &[(0, Some(b"abcd")), (2, None)]);
            assert!(matches!(result.1, Some((_, Step::End(_)))), "not reached");
        }
    }

    #[test]
    fn a_write_that_is_accepted_in_part_continues() {
        let mut schedule = Schedule::new(Faults { cut: Cut::every(4), ..Faults::default() }, 0);
        schedule.arrive(MS, &mut [0; 6]);
        assert_eq!(schedule.next(MS), Step::Write(4));
        schedule.left(MS, 1);
        assert_eq!(schedule.next(MS), Step::Write(3));
        schedule.left(MS, 3);
        assert_eq!(schedule.next(MS), Step::Write(2));
    }

    #[test]
    fn the_number_of_arrivals_on_their_way_is_limited() {
        let mut schedule = Schedule::new(Faults { delay: MS, ..Faults::default() }, 0);
        let mut count = 0;
        while schedule.has_room() {
            schedule.arrive(Duration::from_nanos(count), &mut [0]);
            count += 1;
        }
        assert_eq!(count, 1024);
    }
}
