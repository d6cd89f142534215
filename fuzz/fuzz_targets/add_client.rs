//! An add client introduces itself in a form of the fuzzer's, and gets anything for an answer, pauses
//! included.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it sends
//! its name and number once and nothing else, with a boundary where they go apart, and reports what a plain
//! implementation over the whole input finds, never more. It is done with both, or when it shuts a server
//! down that closes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::add::{Client, Form, RANGE};
use socklab_core::machine::StreamEnd;
use socklab_fuzz::{name, plan};
use socklab_tests::draw::Draw;
use socklab_tests::oracle::parse_add;
use socklab_tests::role::{AddClient, AddEvent};
use socklab_tests::script::{Outcome, Plan, Script, compare_plans_of_script};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, is_large) = plan::<Client>(&mut draw);
    // 1: a newline, 2: a space, 4: apart, 8 and more: the separator.
    let form = draw.byte();
    let silence = usize::from(draw.byte());
    let number = i32::from(draw.byte()) + if is_large { i32::MIN } else { -64 };
    let name = name(&mut draw);
    let bytes = draw.rest();
    let is_apart = form & 4 != 0;
    let separator = b"\n,:;| \t\n"[usize::from(form >> 3) % 8];
    let form = Form { separator, space: form & 2 != 0, newline: form & 1 != 0 };
    let mut role = AddClient::new(&name, number).form(form);
    if is_apart {
        role = role.apart();
    }
    // 0: the server is never silent.
    let pauses = if silence == 0 { vec![] } else { vec![silence] };
    let script = Script { bytes, pauses: &pauses, end };
    let transcript = compare_plans_of_script(&role, &script, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));
    let says = role.message();
    assert_eq!(transcript.boundaries.len(), usize::from(is_apart));
    assert!(transcript.sent == says || is_apart && says.starts_with(&transcript.sent));
    if transcript.sent != says {
        assert!(
            matches!(end, Some(StreamEnd::Reset | StreamEnd::TimedOut)),
            "the number is not sent"
        );
        return;
    }

    let heard = parse_add(&script);
    let mut told = Vec::from_iter(heard.name.map(AddEvent::Name));
    told.extend(heard.number.flatten().map(AddEvent::Number));
    // A number that does not fit is not consumed.
    let is_too_large = heard.number == Some(None);
    assert_eq!(transcript.events(), told);
    assert!(transcript.consumed == heard.consumed || is_too_large);
    let may_close = bytes.is_empty() && !RANGE.contains(&number);
    let is_done = heard.number.flatten().is_some()
        || may_close && matches!(end, Some(StreamEnd::Closed | StreamEnd::Reset));
    assert_eq!(transcript.outcome == Outcome::Done, is_done);
    let is_waiting = heard.is_unfinished && end.is_none();
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
