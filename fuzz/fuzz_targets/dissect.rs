//! The dissectors are fed anything in pieces of any size.
//!
//! Invariant: no panic, also in `Display`; no stall; every byte is part of a message, but for less
//! than a header or a line at the end; a dissector asks for more than it has; whatever the cut, the messages
//! are the same, where the parts of one are joined.
#![no_main]

use std::fmt::Debug;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::wire::{LineMessages, PromptMessages};
use socklab_core::{echo, file, math};
use socklab_fuzz::byte;
use socklab_tests::dissect::{Parts, dissect};

fn same<D: Parts + Clone + Debug>(dissector: &D, bytes: &[u8], pieces: [usize; 4]) {
    let cut = dissect(dissector.clone(), bytes, pieces.into_iter().cycle());
    assert_eq!(cut, dissect(dissector.clone(), bytes, []), "{dissector:?}");
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let pieces = [(); 4].map(|()| usize::from(byte(&mut u) % 32));
    let bytes = u.take_rest();
    same(&math::ClientBytes, bytes, pieces);
    same(&math::ServerBytes::default(), bytes, pieces);
    same(&echo::Messages::<4>::default(), bytes, pieces);
    same(&echo::Messages::<2>::default(), bytes, pieces);
    same(&LineMessages::default(), bytes, pieces);
    same(&PromptMessages::default(), bytes, pieces);
    same(&file::ClientBytes::default(), bytes, pieces);
    same(&file::ServerBytes::default(), bytes, pieces);
    same(&file::ServerBytes::to(file::Form::Plain), bytes, pieces);
});
