//! Player 1 chooses what the fuzzer does, and hears anything, silences included.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; only true
//! rounds with its own choice are told and acknowledged, and three of them are a game.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;

fuzz_target!(|data: &[u8]| games::rps_client(Unstructured::new(data)));
