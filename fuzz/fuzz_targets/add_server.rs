//! An add server is fed anything, cut anyhow, ended anyhow.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; it
//! answers once it has a name and an integer from 1 to 100, with its own and nothing else, and never
//! otherwise. An integer out of range ends it, what is none fails it.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::add::Server;
use socklab_fuzz::{Front, first, front, integer, plan};
use socklab_tests::role::{AddServer, AddTold};
use socklab_tests::script::{Outcome, Plan, same};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let (plan, end, is_long) = plan::<Server>(&mut u);
    let bytes = u.take_rest();
    // The longest there is, or a short one.
    let name = if is_long { &[b'n'; 1024][..] } else { b"Server" };
    let role = AddServer::new(name, 58);
    let transcript =
        same(&role, bytes, end, &Plan::whole(), &plan).unwrap_or_else(|e| panic!("{e}"));

    let (mut told, mut sent, mut consumed) = (vec![], vec![], 0);
    let (mut is_done, mut is_waiting) = (false, false);
    match first(bytes) {
        Front::Line(text, rest) => {
            told.push(AddTold::Name(text.to_vec()));
            consumed = bytes.len() - rest.len();
            match front(rest) {
                Front::Line(text, rest) => {
                    let number = integer(text);
                    is_done = number.is_some();
                    if is_done {
                        consumed = bytes.len() - rest.len();
                    }
                    match number {
                        Some(Some(number @ 1..=100)) => {
                            told.push(AddTold::Number(number));
                            sent = [name, b"\n58\n"].concat();
                        }
                        Some(number) => told.push(AddTold::OutOfRange(number)),
                        None => {}
                    }
                }
                Front::Part(_) => is_waiting = end.is_none(),
                Front::TooLong => {}
            }
        }
        Front::Part(_) => is_waiting = end.is_none(),
        Front::TooLong => {}
    }
    assert_eq!((transcript.events(), transcript.consumed), (told, consumed));
    assert_eq!(transcript.sent, sent);
    assert_eq!(transcript.outcome == Outcome::Done, is_done);
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting);
});
