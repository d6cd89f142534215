//! Player 2 chooses what the fuzzer does, and hears anything.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; what it
//! sends is what a plain loop over whole lines gives, and three acknowledged rounds are a game.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;

fuzz_target!(|data: &[u8]| games::rps_server(Unstructured::new(data)));
