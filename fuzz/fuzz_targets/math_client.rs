//! A math client is fed anything, cut anyhow, ended anyhow.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, the answers are
//! the sums of the whole questions that come first, and nothing is answered past a wrong tag.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::math::Client;
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::role::MathClient;
use socklab_tests::script::{Outcome, Script, run};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, _) = plan::<Client>(&mut draw);
    let bytes = draw.rest();
    let transcript =
        run(&MathClient, &Script::new(bytes, end), &plan).unwrap_or_else(|e| panic!("{e}"));
    // The plain way: all of it is here, nine bytes a message.
    let mut answers = vec![];
    let mut rest = bytes;
    while let [b'Q', a0, a1, a2, a3, b0, b1, b2, b3, tail @ ..] = rest {
        let (a, b) = ([*a0, *a1, *a2, *a3], [*b0, *b1, *b2, *b3]);
        let sum = u32::from_be_bytes(a).wrapping_add(u32::from_be_bytes(b));
        answers.extend_from_slice(&sum.to_be_bytes());
        rest = tail;
    }
    assert_eq!(transcript.sent, answers);
    let (is_done, is_waiting) = match transcript.outcome {
        Outcome::Done => (true, false),
        Outcome::Waiting(_) => (false, true),
        _ => (false, false),
    };
    assert_eq!(is_done, rest.first() == Some(&b'S') && rest.len() >= 9);
    let is_open = matches!(rest, [] | [b'Q' | b'S', ..]) && !is_done && end.is_none();
    assert_eq!(is_waiting, is_open);
});
