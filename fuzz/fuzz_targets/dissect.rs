//! The dissectors are fed anything in pieces of any size.
//!
//! Invariant: no panic, also in `Display`; no stall; every byte is part of a message, but for less
//! than a header or a line at the end; a dissector asks for more than it has; whatever the cut, the messages
//! are the same, where the parts of one are joined.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use socklab_core::wire::{LineMessages, PromptMessages};
use socklab_core::{file, for_each_dissector};
use socklab_tests::dissect::{Parts, dissect};
use socklab_tests::draw::Draw;

fn same<D: Parts + Clone + Debug>(dissector: &D, bytes: &[u8], pieces: [usize; 4]) {
    let cut = dissect(dissector.clone(), bytes, pieces.into_iter().cycle());
    assert_eq!(cut, dissect(dissector.clone(), bytes, []), "{dissector:?}");
}

/// Those that protocols have of their own.
macro_rules! of_protocols {
    ($bytes:ident, $pieces:ident => $($dissector:ty,)*) => {
        $(same(&<$dissector>::default(), $bytes, $pieces);)*
    };
}

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let pieces = [(); 4].map(|()| usize::from(draw.byte() % 32));
    let bytes = draw.rest();
    same(&LineMessages::default(), bytes, pieces);
    same(&PromptMessages::default(), bytes, pieces);
    for_each_dissector!(of_protocols, bytes, pieces =>);
    same(&file::ServerBytes::to(file::Form::Plain), bytes, pieces);
});
