//! A hello server greets in one part or two, and gets any greeting.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it always
//! sends its greeting and nothing else, with one boundary where it is split; if it
//! waits for a greeting, it reports the first line, or an unterminated one before an orderly close;
//! otherwise it reads nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::hello::Server;
use socklab_core::machine::StreamEnd;
use socklab_fuzz::{Front, first, plan};
use socklab_tests::draw::Draw;
use socklab_tests::role::HelloServer;
use socklab_tests::script::{Outcome, Plan, compare_plans};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, both) = plan::<Server>(&mut draw);
    let split = draw.byte();
    let bytes = draw.rest();
    let transcript = compare_plans(&HelloServer { both, split }, bytes, end, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));

    assert_eq!(transcript.sent, b"Hello from server\n");
    let boundary = (1..18).contains(&split).then_some(usize::from(split));
    assert_eq!(transcript.boundaries, Vec::from_iter(boundary));
    let greeting = match first(bytes) {
        Front::Line(text, rest) if both => Some((text, bytes.len() - rest.len())),
        Front::Part(text @ [_, ..]) if both && end == Some(StreamEnd::Closed) => {
            Some((text, bytes.len()))
        }
        _ => None,
    };
    assert_eq!(transcript.events(), Vec::from_iter(greeting.map(|(text, _)| text)));
    assert_eq!(transcript.consumed, greeting.map_or(0, |(_, consumed)| consumed));
    assert_eq!(transcript.outcome == Outcome::Done, !both || greeting.is_some());
    let is_waiting = both && end.is_none() && matches!(first(bytes), Front::Part(_));
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
