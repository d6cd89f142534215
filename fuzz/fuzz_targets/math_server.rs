//! A math server asks what the fuzzer chooses, and gets anything for an answer.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, it goes as far as
//! the answers are right, and the secret never leaves before the last of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::machine::StreamEnd;
use socklab_core::math::Server;
use socklab_core::math::server::Event;
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::role::math::{questions, quiz};
use socklab_tests::script::{Script, run};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, reveals) = plan::<Server>(&mut draw);
    let questions = questions(&mut draw);
    let bytes = draw.rest();
    let role = quiz(&questions, reveals);
    let transcript = run(&role, &Script::new(bytes, end), &plan).unwrap_or_else(|e| panic!("{e}"));
    let answers = bytes.chunks_exact(4).map(|a| u32::from_be_bytes([a[0], a[1], a[2], a[3]]));
    let sums = questions.iter().map(|(a, b)| a.wrapping_add(*b));
    let right = sums.clone().zip(answers.clone()).take_while(|(sum, answer)| sum == answer).count();
    let seen = transcript.events();
    let seen_right = seen.iter().filter(|event| matches!(event, Event::Right { .. })).count();
    // A reset may be seen before the application had its turn.
    if matches!(end, None | Some(StreamEnd::Closed)) {
        assert_eq!(seen_right, right);
    } else {
        assert!(seen_right <= right);
    }
    assert!(seen.len() - seen_right <= 1, "a wrong answer ends it");
    if seen_right < questions.len() || !reveals {
        let secret = transcript.sent.windows(9).any(|window| window == b"Sopensesm");
        assert!(!secret, "the secret is out after {seen_right} right answers");
    }
});
