//! Shared parts of the benchmarks: competitors measured in turn, the table.
//!
//! Absolute times depend on what else the computer does, so no number is compared with one from another
//! run. All competitors of a row run one after the other in short turns, many times. Each turn gives a
//! ratio, and the table shows the medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Size of a stream in bytes.
pub(crate) const STREAM: usize = 1024 * 1024;

/// Destination of the bytes that a competitor sends.
pub(crate) trait Wire {
    /// Sends them.
    fn send(&mut self, bytes: &[u8]);
}

/// Wire of a measurement: drops the bytes, but the compiler must produce them.
pub(crate) struct Gone;

impl Wire for Gone {
    #[inline]
    fn send(&mut self, bytes: &[u8]) {
        black_box(bytes);
    }
}

/// Wire of the check before: collects the bytes.
impl Wire for Vec<u8> {
    fn send(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A competitor whose bytes are collected.
type Kept<'p> = &'p dyn Fn(&mut Vec<u8>);

/// Checks before a measurement that all competitors send the same bytes.
pub(crate) fn same(peers: &[Kept<'_>]) {
    let kept = |peer: &Kept<'_>| {
        let mut bytes = vec![];
        peer(&mut bytes);
        bytes
    };
    let (first, others) = peers.split_first().expect("a row has peers");
    let first = kept(first);
    assert!(!first.is_empty() && others.iter().all(|peer| kept(peer) == first), "they differ");
}

/// A competitor. Each call processes one stream.
pub(crate) type Run<'p> = &'p mut dyn FnMut();

/// Limits for the ratios of a row.
pub(crate) struct Targets {
    /// Least speed relative to the codec.
    pub(crate) codec: Option<f64>,
    /// Greatest time relative to the hand-written loop.
    pub(crate) hand: f64,
}

/// A row to measure: one protocol, one size.
pub(crate) struct Row<'p, const OURS: usize> {
    /// Size of a message in bytes, as shown in the table.
    pub(crate) size: usize,
    /// Number of messages that one call processes.
    pub(crate) messages: usize,
    /// Ways to use our machine, with their names.
    pub(crate) ours: [(&'p str, Run<'p>); OURS],
    /// The codec of tokio-util.
    pub(crate) codec: Run<'p>,
    /// Work of the codec that only the benchmark causes. Its time is subtracted.
    pub(crate) extra: Option<Run<'p>>,
    /// The hand-written loop.
    pub(crate) hand: Run<'p>,
    /// Limits for the ratios.
    pub(crate) targets: Targets,
}

/// Returns the number of rounds to measure. It comes from the command line: `--quick` for a short run,
/// a number for only the row of that size.
fn rounds(size: usize) -> usize {
    // `cargo bench` passes `--bench`. Without it this is `cargo test`, which only checks that it runs.
    let (mut rounds, mut is_asked) = (1, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => rounds = rounds.max(200),
            "--quick" => rounds = 20,
            number => is_asked = Some(is_asked == Some(true) || number.parse() == Ok(size)),
        }
    }
    if is_asked == Some(false) { 0 } else { rounds }
}

/// Prints the head of a table.
pub(crate) fn head(title: &str) {
    println!("\n{title}\n(ns a message; medians of ratios, all peers in turn in the same run)\n");
    println!(
        "{:>7} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>16} verdict",
        "size", "by", "socklab", "codec", "hand", "x codec", "/ hand", "target"
    );
}

impl<const OURS: usize> Row<'_, OURS> {
    /// Measures the row and prints a line for each of our ways.
    pub(crate) fn print(mut self) {
        /// A turn: long enough for the clock, short enough that a disturbance hits few of them.
        const TURN: Duration = Duration::from_micros(500);

        let rounds = rounds(self.size);
        if rounds == 0 {
            return;
        }
        // All turns take the same time. Otherwise the slow competitors would be disturbed more often.
        let messages = self.messages as f64;
        let turn = |run: Run<'_>| Turn { calls: calls(run, TURN), messages };
        let (codec_turn, hand_turn) = (turn(self.codec), turn(self.hand));
        let extra_turn = self.extra.as_mut().map(|extra| turn(*extra));
        let ours_turns = self.ours.each_mut().map(|(_, run)| turn(*run));
        let (mut ours, mut codec, mut hand) = ([const { vec![] }; OURS], vec![], vec![]);
        for _ in 0..rounds {
            let extra = match (&mut self.extra, &extra_turn) {
                (Some(run), Some(turn)) => turn.take(*run),
                _ => 0.0,
            };
            codec.push(codec_turn.take(self.codec) - extra);
            for ((times, (_, run)), turn) in ours.iter_mut().zip(&mut self.ours).zip(&ours_turns) {
                times.push(turn.take(*run));
            }
            hand.push(hand_turn.take(self.hand));
        }
        for (times, (by, _)) in ours.iter().zip(&self.ours) {
            self.line(by, times, &codec, &hand);
        }
    }

    fn line(&self, by: &str, ours: &[f64], codec: &[f64], hand: &[f64]) {
        let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
        let (faster, slower) = (ratio(codec, ours), ratio(ours, hand));
        let Targets { codec: least, hand: most } = self.targets;
        let met = least.is_none_or(|least| faster >= least) && slower <= most;
        let target = match least {
            Some(least) => format!(">= {least}, <= {most}"),
            None => format!("<= {most}"),
        };
        println!(
            "{:>7} {by:>7} {:>8.2} {:>8.2} {:>8.2} {faster:>9.2} {slower:>9.2} {target:>16} {}",
            self.size,
            median(ours.to_vec()),
            median(codec.to_vec()),
            median(hand.to_vec()),
            if met { "holds" } else { "MISSED" },
        );
    }
}

/// Returns the number of calls that take about the time `turn`. These calls also warm the caches.
fn calls(run: Run<'_>, turn: Duration) -> usize {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < turn {
        run();
        calls += 1;
    }
    calls
}

/// A turn of one competitor.
struct Turn {
    calls: usize,
    messages: f64,
}

impl Turn {
    /// Takes the turn. Returns the time per message in nanoseconds.
    fn take(&self, run: Run<'_>) -> f64 {
        let start = Instant::now();
        for _ in 0..self.calls {
            run();
        }
        start.elapsed().as_secs_f64() * 1e9 / (self.calls as f64 * self.messages)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
