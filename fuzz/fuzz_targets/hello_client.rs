//! A hello client is fed anything for a greeting, cut anyhow, ended anyhow.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it is
//! told the first line, or what stands unterminated before an orderly close, and only then greets
//! back, if it is to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::hello::Client;
use socklab_core::machine::StreamEnd;
use socklab_fuzz::{Front, first, plan};
use socklab_tests::draw::Draw;
use socklab_tests::role::HelloClient;
use socklab_tests::script::{Outcome, Plan, compare_plans};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, both) = plan::<Client>(&mut draw);
    let bytes = draw.rest();
    let transcript = compare_plans(&HelloClient { both }, bytes, end, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));

    let (greeting, consumed) = match first(bytes) {
        Front::Line(text, rest) => (Some(text), bytes.len() - rest.len()),
        Front::Part(text @ [_, ..]) if end == Some(StreamEnd::Closed) => (Some(text), bytes.len()),
        Front::Part(_) | Front::TooLong => (None, 0),
    };
    assert_eq!(transcript.events(), Vec::from_iter(greeting));
    assert_eq!(transcript.consumed, consumed);
    let sent = if both && greeting.is_some() { "Hello from client\n" } else { "" };
    assert_eq!(transcript.sent, sent.as_bytes());
    assert_eq!(transcript.outcome == Outcome::Done, greeting.is_some());
    let is_waiting = end.is_none() && matches!(first(bytes), Front::Part(_));
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
