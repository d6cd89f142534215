//! An echo server is fed anything, cut anyhow, ended anyhow; so is one with lengths of 2 bytes.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, each whole message
//! before the first bad one gets the reply a plain implementation over `str` gives, and a part of
//! one gets the front of that. The text of an error can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::Machine;
use socklab_core::echo::Server;
use socklab_core::echo::server::Event;
use socklab_core::machine::StreamEnd;
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::oracle::echo_reply_bytes;
use socklab_tests::role::{Application, EchoServer, ShortEchoServer};
use socklab_tests::script::{Outcome, Plan, Script, run};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, _) = plan::<Server>(&mut draw);
    let bytes = draw.rest();
    check::<4, _>(&EchoServer, bytes, end, &plan);
    check::<2, _>(&ShortEchoServer, bytes, end, &plan);
});

/// The length at the front, what follows it, and its bytes.
fn length_of<const HEADER: usize>(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<HEADER>()?;
    Some((length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest))
}

fn check<const HEADER: usize, R>(role: &R, bytes: &[u8], end: Option<StreamEnd>, plan: &Plan)
where
    R: Application<Event = Event>,
    R::Machine: Machine,
{
    let transcript = run(role, &Script::new(bytes, end), plan).unwrap_or_else(|e| panic!("{e}"));
    let (mut rest, mut sent, mut messages, mut is_bad) = (bytes, vec![], 0, false);
    while let Some((length, tail)) = length_of::<HEADER>(rest) {
        let Some(payload) = tail.get(..length) else { break };
        let Some(reply) = echo_reply_bytes(payload) else {
            is_bad = true;
            break;
        };
        let header = (reply.len() as u32).to_be_bytes();
        sent.extend_from_slice(&header[4 - HEADER..]);
        sent.extend(reply);
        messages += 1;
        rest = &tail[length..];
    }
    assert_eq!(transcript.emitted.len(), messages);
    assert!(transcript.sent.starts_with(&sent));
    let part = &transcript.sent[sent.len()..];
    if is_bad {
        assert!(part.is_empty() && matches!(transcript.outcome, Outcome::Error(..)));
    } else if !part.is_empty() {
        // The front of a reply: its length says how many bytes the ten characters took.
        let (reply, shown) = length_of::<HEADER>(part).expect("a length leaves whole");
        let (length, payload) = length_of::<HEADER>(rest).expect("it has begun");
        let (front, tail) = payload.split_at(length - reply);
        assert_eq!(std::str::from_utf8(front).map(|text| text.chars().count()), Ok(10));
        assert_eq!(shown, tail);
    }
}
