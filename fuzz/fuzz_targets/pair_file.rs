//! A file is fetched over a link that the fuzzer makes bad.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was asked for and sent. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::file::Form;
use socklab_fuzz::{faults, seed};
use socklab_tests::draw::Draw;
use socklab_tests::pair::run_pair;
use socklab_tests::role::{FileClient, FileServer, file_agrees};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let faults = faults(&mut draw, flags);
    let seed = seed(&mut draw);
    let form = match flags & 8 {
        0 => Form::Checked { offset: draw.byte().into() },
        _ => Form::Plain,
    };
    let file = draw.rest();
    let agrees = run_pair(&FileClient::new(b"notes", form), &FileServer::new(file), &faults, seed)
        .and_then(|both| file_agrees((b"notes", form), file, &faults, &both));
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
