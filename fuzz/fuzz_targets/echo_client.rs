//! An echo client sends what the fuzzer chooses, and gets anything for a reply.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, the replies are the
//! frames that stand in the input, never more of them than messages were sent, and never more
//! bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::echo::Client;
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::role::echo::{messages, scheduled};
use socklab_tests::script::{Outcome, Script, run};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, splits) = plan::<Client>(&mut draw);
    let messages = messages(&mut draw);
    let bytes = draw.rest();
    let sent: usize = messages.iter().map(|m| m.payload.len()).sum();
    let role = scheduled(messages.clone(), splits);
    let transcript = run(&role, &Script::new(bytes, end), &plan).unwrap_or_else(|e| panic!("{e}"));
    let replies = transcript.events();
    assert!(replies.len() <= messages.len());
    assert!(replies.iter().map(|reply| reply.bytes.len()).sum::<usize>() <= sent);
    let mut rest = bytes;
    for reply in &replies {
        let (length, tail) = rest.split_first_chunk::<4>().expect("a reply has a header");
        let length = u32::from_be_bytes(*length) as usize;
        assert!(tail.starts_with(&reply.bytes));
        assert_eq!(reply.whole, reply.bytes.len() == length);
        rest = &tail[reply.bytes.len()..];
    }
    let is_done = transcript.outcome == Outcome::Done;
    assert_eq!(is_done, replies.iter().filter(|reply| reply.whole).count() == messages.len());
});
