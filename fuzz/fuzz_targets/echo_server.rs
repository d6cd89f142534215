//! An echo server is fed anything, cut anyhow, ended anyhow.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, each whole message
//! before the first bad one gets the reply a plain implementation over `str` gives, and a part of
//! one gets the front of that.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::echo::Server;
use socklab_fuzz::plan;
use socklab_tests::oracle::{echo_message, echo_reply_bytes};
use socklab_tests::role::EchoServer;
use socklab_tests::script::{Outcome, Script, run};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let (plan, end, _) = plan::<Server>(&mut u);
    let bytes = u.take_rest();
    let transcript =
        run(&EchoServer, &Script::new(bytes, end), &plan).unwrap_or_else(|e| panic!("{e}"));
    let (mut rest, mut sent, mut messages, mut is_bad) = (bytes, vec![], 0, false);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(payload) = tail.get(..length) else { break };
        let Some(reply) = echo_reply_bytes(payload) else {
            is_bad = true;
            break;
        };
        sent.extend(echo_message(&reply));
        messages += 1;
        rest = &tail[length..];
    }
    assert_eq!(transcript.told.len(), messages);
    assert!(transcript.sent.starts_with(&sent));
    let part = &transcript.sent[sent.len()..];
    if is_bad {
        assert!(part.is_empty() && matches!(transcript.outcome, Outcome::Error(..)));
    } else if !part.is_empty() {
        // The front of a reply: its length says how many bytes the ten characters took.
        let (reply, shown) = part.split_first_chunk::<4>().expect("a length leaves whole");
        let (length, payload) = rest.split_first_chunk::<4>().expect("it has begun");
        let removed = u32::from_be_bytes(*length) - u32::from_be_bytes(*reply);
        let (front, tail) = payload.split_at(removed as usize);
        assert_eq!(std::str::from_utf8(front).map(|text| text.chars().count()), Ok(10));
        assert_eq!(shown, tail);
    }
});
