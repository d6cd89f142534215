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

pub use chat::converse;

use arbitrary::{Result, Unstructured};
use socklab_core::machine::{How, Machine};
use socklab_tests::role::{EchoClient, MathServer, Message};
use socklab_tests::script::Plan;

/// A byte, or 0 when there are none left.
pub fn byte(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or_default()
}

/// A plan, how the stream ends, and the target's own flag.
pub fn plan<M: Machine>(u: &mut Unstructured<'_>) -> (Plan, Option<How>, bool) {
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
    let end = [None, Some(How::Closed), Some(How::Reset), Some(How::TimedOut)];
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
