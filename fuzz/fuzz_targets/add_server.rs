//! An add server is fed anything, cut anyhow, ended anyhow, silent anywhere.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it
//! answers once it has a name and an integer from 1 to 100, with its own in the form that it was asked in
//! and nothing else, and never otherwise. An integer out of range ends it, what is none fails it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::add::Server;
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::oracle::parse_add;
use socklab_tests::role::{AddEvent, AddServer};
use socklab_tests::script::{Outcome, Plan, Script, compare_plans_of_script};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, is_long) = plan::<Server>(&mut draw);
    let silence = usize::from(draw.byte());
    let bytes = draw.rest();
    // The longest there is, or a short one.
    let name = if is_long { &[b'n'; 1024][..] } else { b"A, B: C;|D" };
    let role = AddServer::new(name, 58);
    // 0: the client is never silent.
    let pauses = if silence == 0 { vec![] } else { vec![silence] };
    let script = Script { bytes, pauses: &pauses, end };
    let transcript = compare_plans_of_script(&role, &script, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));

    let heard = parse_add(&script);
    let mut told = Vec::from_iter(heard.name.map(AddEvent::Name));
    let mut sent = vec![];
    match heard.number {
        Some(Some(number @ 1..=100)) => {
            told.push(AddEvent::Number(number));
            sent = role.answer(heard.form);
        }
        Some(number) => told.push(AddEvent::OutOfRange(number)),
        None => {}
    }
    assert_eq!((transcript.events(), transcript.consumed), (told, heard.consumed));
    assert_eq!(transcript.sent, sent);
    assert_eq!(transcript.outcome == Outcome::Done, heard.number.is_some());
    let is_waiting = heard.is_unfinished && end.is_none();
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
