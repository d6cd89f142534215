//! Shared parts of the benchmarks with streams: pieces as a read returns them, and the loops around a machine.

use std::mem;

use socklab_core::machine::{Action, EventView, Input, Machine, Spans as _, Step};
use socklab_core::session::{Buffer, Handler, Stop, pump};

use crate::common::Wire;

/// Bytes that one read returns.
pub(crate) const PIECE: usize = 8 * 1024;

/// Greatest number of bytes of an incomplete message that stay in the buffer for the next read: nearly
/// the longest line.
const TAIL: usize = 1024;

/// Returns the segments of a piece, which are copied into the reader's buffer one by one, as the kernel
/// does.
///
/// For one long copy glibc uses `rep movsb`, which takes twice the time on some processors. That would
/// hide what is to be measured.
pub(crate) fn segments(piece: &[u8]) -> std::slice::Chunks<'_, u8> {
    piece.chunks(1460)
}

/// Runs the loop of a driver: reads `size` bytes after the unread ones, calls `work` with input and
/// output, and sends the output. `space` is the size of the output in bytes.
///
/// `work` returns the numbers of bytes consumed and written.
pub(crate) fn drive(
    size: usize,
    stream: &[u8],
    space: usize,
    wire: &mut impl Wire,
    mut work: impl FnMut(&[u8], &mut [u8]) -> (usize, usize),
) {
    let mut input = Buffer::new(vec![0; size + TAIL]);
    let mut output = vec![0; space];
    for piece in stream.chunks(size) {
        input.space(size);
        for segment in segments(piece) {
            input.space(0)[..segment.len()].copy_from_slice(segment);
            input.fill(segment.len());
        }
        let (consumed, written) = work(input.bytes(), &mut output);
        input.consume(consumed);
        wire.send(&output[..written]);
    }
    assert_eq!(input.bytes().len(), 0, "the stream ends between two messages");
}

/// Does the work of [`drive`] with a machine and [`pump`].
pub(crate) fn pumped<M: Machine>(
    machine: &mut M,
    application: &mut impl Handler<M>,
    input: &[u8],
    output: &mut [u8],
) -> (usize, usize) {
    let pumped = pump(machine, application, Input::open(input), output);
    assert!(!matches!(pumped.stop, Stop::Failed(_)), "the stream keeps the protocol");
    (pumped.consumed, pumped.written)
}

/// Does the work of [`drive`] with a machine and a loop over [`Machine::step`].
#[inline]
pub(crate) fn stepped<M: Machine>(
    machine: &mut M,
    mut event: impl FnMut(EventView<'_, M>),
    input: &[u8],
    output: &mut [u8],
) -> (usize, usize) {
    let size = output.len();
    let (mut rest, mut space) = (input, output);
    loop {
        let bytes = rest;
        let Ok(Step { consumed, written, action }) = machine.step(Input::open(bytes), space) else {
            panic!("the stream keeps the protocol");
        };
        (rest, space) = (&bytes[consumed..], &mut mem::take(&mut space)[written..]);
        match action {
            Action::Event(e) => event(e.view(bytes)),
            Action::Continue => {}
            _ => return (input.len() - rest.len(), size - space.len()),
        }
    }
}
