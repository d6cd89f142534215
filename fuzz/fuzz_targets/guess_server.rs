//! A guess server thinks of the fuzzer's number, and hears anything.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; what it
//! says is what a plain loop over whole lines gives, with a boundary behind every line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| games::guess_server(Draw::new(data)));
