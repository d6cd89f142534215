//! A guess client guesses what the fuzzer chooses, and gets any reply.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; what it
//! reports and sends is what a plain loop over whole lines gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| games::guess_client(Draw::new(data)));
