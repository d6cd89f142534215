//! A chat client says what the fuzzer chooses, in turns or duplex, and hears anything.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; whatever the cut, what is heard and
//! said is what a plain loop over whole lines gives; nothing is said out of turn, and nothing is
//! heard or said after a BYE.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::converse;
use socklab_tests::draw::Draw;
use socklab_tests::role::ChatSide;

fuzz_target!(|data: &[u8]| {
    converse(Draw::new(data), ChatSide::client, false);
});
