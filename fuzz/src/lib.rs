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
pub mod games;
pub mod hostile;

pub use chat::converse;

use arbitrary::{Result, Unstructured};
use socklab_core::machine::{Machine, StreamEnd};
use socklab_tests::pair::Faults;
use socklab_tests::role::{EchoClient, MathServer, Message};
use socklab_tests::script::Plan;

/// A byte, or 0 when there are none left.
pub fn byte(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or_default()
}

/// A plan, how the stream ends, and the target's own flag.
pub fn plan<M: Machine>(u: &mut Unstructured<'_>) -> (Plan, Option<StreamEnd>, bool) {
    let [flags, window, cap, cuts] = [(); 4].map(|()| byte(u));
    let mut at = 0;
    let cuts = (0..cuts % 8)
        .map(|_| {
            at += 1 + usize::from(byte(u) % 64);
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

/// A server's questions: their count, then a byte each for `a` and `b`.
pub fn questions(u: &mut Unstructured<'_>) -> Vec<(u32, u32)> {
    let count = byte(u) % 8;
    // The top bit of `b` makes the sum wrap.
    let spread = |b: u8| if b & 128 == 0 { u32::from(b) } else { u32::MAX - u32::from(b) };
    (0..count).map(|_| (u32::from(byte(u)), spread(byte(u)))).collect()
}

/// A server that asks these and then tells the secret, if `reveals`.
pub fn quiz(questions: &[(u32, u32)], reveals: bool) -> MathServer {
    MathServer::new(questions, reveals.then_some(b"opensesm"))
}

/// A client's messages: their count, then for each its length and after how many replies.
pub fn messages(u: &mut Unstructured<'_>) -> Vec<Message> {
    let (mut after, count) = (0, byte(u) % 8);
    (0..count)
        .map(|index| {
            let [length, pause] = [byte(u), byte(u)];
            after = usize::from(pause % 4).max(after).min(usize::from(index));
            Message { after, payload: vec![b'x'; usize::from(length)] }
        })
        .collect()
}

/// A client that sends these, announcing each if `splits`.
pub fn client(messages: Vec<Message>, splits: bool) -> EchoClient {
    let client = EchoClient::scheduled(messages, true);
    if splits { client.splitting() } else { client }
}

/// The message as the fuzzer has it, or as much as there is.
pub fn payload(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = usize::from(byte(u)).min(u.len());
    Ok(u.bytes(length)?.to_vec())
}

/// What the link does, from the target's flags and some bytes of its own.
pub fn faults(u: &mut Unstructured<'_>, flags: u8) -> Faults {
    Faults {
        reset_after: (flags & 1 != 0).then(|| usize::from(byte(u))),
        link: 1 + usize::from(byte(u)),
        spare: usize::from(byte(u)),
        delay: u64::from(byte(u) % 32),
        half_close: flags & 2 != 0,
        strict_server: flags & 4 != 0,
    }
}

/// The seed of a link.
pub fn seed(u: &mut Unstructured<'_>) -> u64 {
    u64::from_be_bytes([(); 8].map(|()| byte(u)))
}

/// A name that can be sent: what the fuzzer has, made a line. Without a byte order mark in front, which
/// the peer would skip where a stream starts with it.
pub fn name(u: &mut Unstructured<'_>) -> Vec<u8> {
    let mut name = payload(u).unwrap_or_default();
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
