//! An add client introduces itself, and gets anything for an answer.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it sends
//! its name and number once and nothing else, and tells what a plain implementation over the whole
//! input finds, never more. It is done with both, or when it shuts a server down that closes.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::add::{Client, RANGE};
use socklab_core::machine::How;
use socklab_fuzz::{Front, byte, first, front, integer, name, plan};
use socklab_tests::role::{AddClient, AddTold};
use socklab_tests::script::{Outcome, Plan, same};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let (plan, end, is_large) = plan::<Client>(&mut u);
    let number = i32::from(byte(&mut u)) + if is_large { i32::MIN } else { -64 };
    let name = name(&mut u);
    let bytes = u.take_rest();
    let role = AddClient::new(&name, number);
    let transcript =
        same(&role, bytes, end, &Plan::whole(), &plan).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(transcript.sent, [&name, format!("\n{number}\n").as_bytes()].concat());

    let (mut told, mut consumed) = (vec![], 0);
    let (mut is_done, mut is_waiting) = (false, false);
    match first(bytes) {
        Front::Line(text, rest) => {
            told.push(AddTold::Name(text.to_vec()));
            consumed = bytes.len() - rest.len();
            match front(rest) {
                Front::Line(text, rest) => {
                    if let Some(Some(value)) = integer(text) {
                        told.push(AddTold::Number(value));
                        consumed = bytes.len() - rest.len();
                        is_done = true;
                    }
                }
                Front::Part(_) => is_waiting = end.is_none(),
                Front::TooLong => {}
            }
        }
        Front::Part(part) => {
            let may_close = part.is_empty() && !RANGE.contains(&number);
            is_done = may_close && matches!(end, Some(How::Closed | How::Reset));
            is_waiting = end.is_none();
        }
        Front::TooLong => {}
    }
    assert_eq!((transcript.events(), transcript.consumed), (told, consumed));
    assert_eq!(transcript.outcome == Outcome::Done, is_done);
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
