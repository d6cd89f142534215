//! Player 1 chooses what the fuzzer does, and gets any bytes and pauses.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; only true
//! rounds with its own choice are reported and acknowledged, and three of them are a game.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| games::rps_client(Draw::new(data)));
