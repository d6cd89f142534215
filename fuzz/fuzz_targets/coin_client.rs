//! A coin client gives what answers the fuzzer chooses, and hears anything, silences included.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken, any plan the same as none; an answer
//! goes out for each prompt and no other, all text told is the server's in its order, and only
//! after a Q is a close the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::games;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| games::coin_client(Draw::new(data)));
