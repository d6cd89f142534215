//! What the targets share: how the fuzzer's bytes become a script and a plan.
//!
//! The first bytes choose, the rest is what the peer sends, as it stands: so a seed is readable,
//! a dictionary fits, and a crash can be tried against a real socket with `tail -c`.
//!
//! ```text
//!   flags  window  cap  cuts  cut...   choices of the target   what the peer sends
//!   1      1       1    1     0 to 7   see there               the rest
//!
//!   flags   1 every byte   2 end apart   4 drained late   8 taken past the machine
//!           16 input capped   32, 64 no end, closed, reset, timed out   128 the target's
//! ```

mod chat;
pub mod connection;
pub mod games;
pub mod hand;
pub mod hostile;
pub mod model;

pub use chat::converse;

use socklab_core::machine::{Machine, StreamEnd};
use socklab_tests::draw::Draw;
use socklab_tests::pair::Faults;
use socklab_tests::script::Plan;

/// A plan, how the stream ends, and the target's own flag.
pub fn plan<M: Machine>(draw: &mut Draw<'_>) -> (Plan, Option<StreamEnd>, bool) {
    let [flags, window, cap, cuts] = [(); 4].map(|()| draw.byte());
    let mut at = 0;
    let cuts = (0..cuts % 8)
        .map(|_| {
            at += 1 + usize::from(draw.byte() % 64);
            at
        })
        .collect();
    let plan = Plan {
        cuts,
        every_byte: flags & 1 != 0,
        end_apart: flags & 2 != 0,
        lazy: flags & 4 != 0,
        take: flags & 8 != 0,
        cap: (flags & 16 != 0).then_some(M::MIN_INPUT + usize::from(cap)),
        window: M::MIN_OUTPUT + usize::from(window),
    };
    let end = [None, Some(StreamEnd::Closed), Some(StreamEnd::Reset), Some(StreamEnd::TimedOut)];
    (plan, end[usize::from(flags >> 5 & 3)], flags & 128 != 0)
}

/// What the link does, from the target's flags and some bytes of its own.
pub fn faults(draw: &mut Draw<'_>, flags: u8) -> Faults {
    Faults {
        reset_after: (flags & 1 != 0).then(|| usize::from(draw.byte())),
        link: 1 + usize::from(draw.byte()),
        spare: usize::from(draw.byte()),
        delay: u64::from(draw.byte() % 32),
        half_close: flags & 2 != 0,
        strict_server: flags & 4 != 0,
    }
}

/// The seed of a link.
pub fn seed(draw: &mut Draw<'_>) -> u64 {
    u64::from_be_bytes([(); 8].map(|()| draw.byte()))
}

/// A name that can be sent: what the fuzzer has, made a line. Without a byte order mark in front, which
/// the peer would skip where a stream starts with it.
pub fn name(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut name = draw.text();
    while let Some(rest) = name.strip_prefix(b"\xef\xbb\xbf") {
        name = rest.to_vec();
    }
    for byte in &mut name {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    name
}

/// The plain way to a line: all of it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'b> {
    /// A line, and what follows it.
    Line(&'b [u8], &'b [u8]),
    /// More than a line may have, without an end.
    TooLong,
    /// The front of one, or nothing.
    Part(&'b [u8]),
}

/// What a peer sent from the start on, without the byte order mark that stands there.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What stands at the front of `bytes`, with which a stream starts. A byte order mark counts for the
/// length of its line.
pub fn first(bytes: &[u8]) -> Front<'_> {
    match front(bytes) {
        Front::Line(text, rest) => Front::Line(unmarked(text), rest),
        Front::Part(text) => Front::Part(unmarked(text)),
        Front::TooLong => Front::TooLong,
    }
}

/// What stands at the front of `bytes`, wherever that is.
pub fn front(bytes: &[u8]) -> Front<'_> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    if end.unwrap_or(bytes.len()) > 1024 {
        return Front::TooLong;
    }
    let Some(end) = end else { return Front::Part(bytes) };
    let text = &bytes[..end];
    Front::Line(text.strip_suffix(b"\r").unwrap_or(text), &bytes[end + 1..])
}
