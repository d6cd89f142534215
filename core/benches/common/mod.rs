//! What the benchmarks share: streams that come in pieces, peers timed in turn, the table.
//!
//! Times of a busy machine mean little by themselves, so nothing is compared with a number from
//! another run. All peers of a row run one after the other, in short turns, again and again; each
//! turn gives a ratio, and the table shows the medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

use socklab_core::machine::{Action, EventView, Input, Machine, Spans as _, Step};
use socklab_core::session::{Buffer, Handler, Stop, pump};

/// Bytes a read brings.
pub(crate) const PIECE: usize = 8 * 1024;

/// Bytes of a stream.
pub(crate) const STREAM: usize = 1024 * 1024;

/// So many bytes of a message may be left over for the next read: the longest line, nearly.
const TAIL: usize = 1024;

/// How a piece comes into the reader's buffer: copied segment by segment, as the kernel does it.
///
/// In one go it would be long enough for glibc to turn to `rep movsb`, which takes twice the time
/// on some machines and would drown what is to be measured.
pub(crate) fn segments(piece: &[u8]) -> std::slice::Chunks<'_, u8> {
    piece.chunks(1460)
}

/// Where a peer's bytes go.
pub(crate) trait Wire {
    /// Sends them.
    fn send(&mut self, bytes: &[u8]);
}

/// The wire while the clock runs: the bytes have to be there, and that is all.
pub(crate) struct Gone;

impl Wire for Gone {
    #[inline]
    fn send(&mut self, bytes: &[u8]) {
        black_box(bytes);
    }
}

/// The wire while the peers are compared.
impl Wire for Vec<u8> {
    fn send(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The loop of a driver: reads `size` bytes behind what the last read left, has `work` consume
/// what it can and write what it has to say, sends that. `room` is the size of the output buffer.
///
/// `work` returns how much it consumed and how much it wrote.
pub(crate) fn drive(
    size: usize,
    stream: &[u8],
    room: usize,
    wire: &mut impl Wire,
    mut work: impl FnMut(&[u8], &mut [u8]) -> (usize, usize),
) {
    let mut input = Buffer::new(vec![0; size + TAIL]);
    let mut output = vec![0; room];
    for piece in stream.chunks(size) {
        input.space(size);
        for segment in segments(piece) {
            input.space(0)[..segment.len()].copy_from_slice(segment);
            input.fill(segment.len());
        }
        let (consumed, written) = work(input.bytes(), &mut output);
        input.consume(consumed);
        wire.send(&output[..written]);
    }
    assert_eq!(input.bytes().len(), 0, "the stream ends between two messages");
}

/// `work` for a machine, by [`pump`].
pub(crate) fn pumped<M: Machine>(
    machine: &mut M,
    application: &mut impl Handler<M>,
    input: &[u8],
    output: &mut [u8],
) -> (usize, usize) {
    let pumped = pump(machine, application, Input::open(input), output);
    assert!(!matches!(pumped.stop, Stop::Failed(_)), "the stream keeps the protocol");
    (pumped.consumed, pumped.written)
}

/// `work` for a machine, by a loop of our own over [`Machine::step`].
#[inline]
pub(crate) fn stepped<M: Machine>(
    machine: &mut M,
    mut event: impl FnMut(EventView<'_, M>),
    input: &[u8],
    output: &mut [u8],
) -> (usize, usize) {
    let (mut at, mut put) = (0, 0);
    loop {
        let before = at;
        let step = machine.step(Input::open(&input[at..]), &mut output[put..]);
        let Ok(Step { consumed, written, action }) = step else {
            panic!("the stream keeps the protocol");
        };
        (at, put) = (at + consumed, put + written);
        match action {
            Action::Event(e) => event(e.view(&input[before..])),
            Action::Continue => {}
            _ => return (at, put),
        }
    }
}

/// A peer whose bytes are kept.
type Kept<'p> = &'p dyn Fn(&mut Vec<u8>);

/// Before the clock runs: all peers have to give the same bytes.
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

/// A peer: it works through a stream once per call.
pub(crate) type Run<'p> = &'p mut dyn FnMut();

/// What a row is measured against.
pub(crate) struct Targets {
    /// At least so many times the codec's speed.
    pub(crate) codec: Option<f64>,
    /// At the most so many times the hand-written loop's time.
    pub(crate) hand: f64,
}

/// A row to measure: one protocol, one size.
pub(crate) struct Row<'p, const OURS: usize> {
    /// The size, as it is shown.
    pub(crate) size: usize,
    /// Messages a call works through.
    pub(crate) messages: usize,
    /// Our ways of doing it, with their names.
    pub(crate) ours: [(&'p str, Run<'p>); OURS],
    /// tokio-util's.
    pub(crate) codec: Run<'p>,
    /// What it has to do only because it is a benchmark, if that is much: it is not counted.
    pub(crate) extra: Option<Run<'p>>,
    /// The hand-written loop.
    pub(crate) hand: Run<'p>,
    /// What to reach.
    pub(crate) targets: Targets,
}

/// How many rounds to measure, from the command line: `--quick` is for a first look, a number for
/// a row of that size alone.
fn rounds(size: usize) -> usize {
    // `cargo bench` says so. Otherwise it is `cargo test`, to see that they run, no more.
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
        "{:>7} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>16} met",
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
        // Each takes a turn of the same time, or the slow ones would be disturbed more often.
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
            if met { "yes" } else { "NO" },
        );
    }
}

/// How many calls take about `turn`. They warm the caches as well.
fn calls(run: Run<'_>, turn: Duration) -> usize {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < turn {
        run();
        calls += 1;
    }
    calls
}

/// A turn of one peer.
struct Turn {
    calls: usize,
    messages: f64,
}

impl Turn {
    /// Takes it: ns a message.
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
