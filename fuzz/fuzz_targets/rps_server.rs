//! Player 2 chooses what the fuzzer does, and hears anything.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; what it
//! sends is what a plain loop over whole lines gives, and three acknowledged rounds are a game.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| games::rps_server(Draw::new(data)));
