//! Lines compared with tokio-util's `LinesCodec` and a bare loop over `memchr`.
//!
//! `cargo bench -p socklab-core --bench lines`, with `-- --quick` for a short run.
//!
//! The codec does more than find lines: it copies each into a `String` and checks that it is UTF-8. The
//! loop does less: it has no limit for a line, does not drop `\r`, and searches the start of a line again
//! if a read has cut it.

mod common;
#[path = "common/stream.rs"]
mod stream;

use std::hint::black_box;

use bytes::BytesMut;
use common::{Gone, Row, STREAM, Targets, Wire, head, same};
use memchr::memchr;
use socklab_core::machine::{Action, CommandError, Input, Machine, Need, Span, Step};
use socklab_core::session::Handler;
use socklab_core::wire::{LINE_BYTES, LINE_MAX, Line, LineError, LineScanner};
use stream::{PIECE, drive, pumped, segments, stepped};
use tokio_util::codec::{Decoder, LinesCodec};

/// Bytes of a line before its `\n`, and the least speed relative to the codec.
const SIZES: [(usize, Option<f64>); 3] = [(9, None), (64, Some(3.0)), (1024, Some(3.0))];

/// Greatest time relative to the bare loop.
const HAND: f64 = 1.2;

/// Bytes that one read returns.
const READ: usize = PIECE / 2;

/// Size of all lines in bytes. They fit in a cache, as bytes do that were just read.
const LINES: usize = STREAM / 16;

fn main() {
    // As in a program: all of them include a copy into the buffer, which makes the ratios smaller.
    head("lines: in reads of 4 KiB");
    for (size, _) in SIZES {
        let (stream, messages) = stream(size);
        same(&[
            &|wire| read(&stream, wire, next),
            &|wire| read_pumped(&stream, wire),
            &|wire| read_codec(&stream, wire),
            &|wire| read(&stream, wire, bare),
        ]);
        Row {
            size,
            messages,
            ours: [
                ("next", &mut || read(&stream, &mut Gone, next)),
                ("pump", &mut || read_pumped(&stream, &mut Gone)),
            ],
            codec: &mut || read_codec(&stream, &mut Gone),
            extra: None,
            hand: &mut || read(&stream, &mut Gone, bare),
            targets: Targets { codec: None, hand: HAND },
        }
        .print();
    }

    // The codec needs to own its input. The copy is measured apart and subtracted.
    head("lines: 64 KiB of them in memory");
    for (size, codec) in SIZES {
        let (stream, messages) = stream(size);
        let (mut input, mut copied) = (BytesMut::new(), BytesMut::new());
        same(&[
            &|wire| memory(&stream, wire, next),
            &|wire| memory_pumped(&stream, wire),
            &|wire| memory_stepped(&stream, wire),
            &|wire| memory_codec(&stream, &mut BytesMut::new(), wire),
            &|wire| memory(&stream, wire, bare),
        ]);
        Row {
            size,
            messages,
            ours: [
                ("next", &mut || memory(&stream, &mut Gone, next)),
                ("pump", &mut || memory_pumped(&stream, &mut Gone)),
                ("step", &mut || memory_stepped(&stream, &mut Gone)),
            ],
            codec: &mut || memory_codec(&stream, &mut input, &mut Gone),
            extra: Some(&mut || {
                copied.extend_from_slice(black_box(&stream));
                copied.clear();
            }),
            hand: &mut || memory(&stream, &mut Gone, bare),
            targets: Targets { codec, hand: HAND },
        }
        .print();
    }
}

/// Returns a stream of lines of `size` ASCII bytes, and the number of lines.
fn stream(size: usize) -> (Vec<u8>, usize) {
    let lines = LINES / (size + 1);
    let mut stream = Vec::with_capacity(LINES);
    for line in 0..lines {
        stream.extend((0..size).map(|i| b' ' + ((line + i) % 95) as u8));
        stream.push(b'\n');
    }
    (stream, lines)
}

// ---- functions that find the lines in some bytes: each returns the number of bytes consumed -----

/// The scanner alone.
fn next<W: Wire>(lines: &mut LineScanner, bytes: &[u8], wire: &mut W) -> usize {
    let mut rest = bytes;
    while let Some(line) = lines.next(Input::open(rest)).expect("no line is too long") {
        wire.send(line.text);
        rest = &rest[line.bytes..];
    }
    bytes.len() - rest.len()
}

/// The bare loop. It has no state.
fn bare<W: Wire>(_: &mut LineScanner, bytes: &[u8], wire: &mut W) -> usize {
    let mut rest = bytes;
    while let Some(at) = memchr(b'\n', rest) {
        wire.send(&rest[..at]);
        rest = &rest[at + 1..];
    }
    bytes.len() - rest.len()
}

/// Machine that emits lines, as those of the line protocols do.
#[derive(Clone, Default)]
struct Passing(LineScanner);

/// Why [`Passing`] fails.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed(LineError);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.by("the peer").fmt(f)
    }
}

impl std::error::Error for Failed {}

impl Machine for Passing {
    type Command<'c> = std::convert::Infallible;
    type Event = Span;
    type Error = Failed;

    const MIN_INPUT: usize = LINE_BYTES;
    const MIN_OUTPUT: usize = 0;

    #[inline]
    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Span>, Failed> {
        match self.0.next(input).map_err(Failed)? {
            Some(Line { text, bytes }) => Ok(Step::new(bytes, 0, Action::Event(input.span(text)))),
            None => Ok(Step::need(Need::Input)),
        }
    }

    fn command(&mut self, command: Self::Command<'_>, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

struct Sending<'w, W>(&'w mut W);

impl<W: Wire> Handler<Passing> for Sending<'_, W> {
    fn event(&mut self, text: &[u8]) {
        self.0.send(text);
    }
}

fn pump(machine: &mut Passing, bytes: &[u8], wire: &mut impl Wire) -> usize {
    pumped(machine, &mut Sending(wire), bytes, &mut []).0
}

/// Signature of the functions that find lines.
type Find<W> = fn(&mut LineScanner, &[u8], &mut W) -> usize;

// ---- in memory ---------------------------------------------------------------------------------

fn memory<W: Wire>(stream: &[u8], wire: &mut W, find: Find<W>) {
    assert_eq!(find(&mut LineScanner::new(), stream, wire), stream.len());
}

fn memory_pumped(stream: &[u8], wire: &mut impl Wire) {
    assert_eq!(pump(&mut Passing::default(), stream, wire), stream.len());
}

fn memory_stepped(stream: &[u8], wire: &mut impl Wire) {
    let consumed = stepped(&mut Passing::default(), |text| wire.send(text), stream, &mut []).0;
    assert_eq!(consumed, stream.len());
}

fn memory_codec(stream: &[u8], input: &mut BytesMut, wire: &mut impl Wire) {
    input.extend_from_slice(stream);
    decode(&mut new_codec(), input, wire);
    assert!(input.is_empty());
}

/// Returns the codec with the same limit for a line.
fn new_codec() -> LinesCodec {
    LinesCodec::new_with_max_length(LINE_MAX)
}

fn decode(codec: &mut LinesCodec, input: &mut BytesMut, wire: &mut impl Wire) {
    while let Some(line) = codec.decode(input).expect("lines of text") {
        wire.send(line.as_bytes());
    }
}

// ---- in reads ----------------------------------------------------------------------------------

fn read<W: Wire>(stream: &[u8], wire: &mut W, find: Find<W>) {
    let mut lines = LineScanner::new();
    drive(READ, stream, 0, &mut Gone, |input, _| (find(&mut lines, input, wire), 0));
}

fn read_pumped(stream: &[u8], wire: &mut impl Wire) {
    let mut machine = Passing::default();
    drive(READ, stream, 0, &mut Gone, |input, _| (pump(&mut machine, input, wire), 0));
}

fn read_codec(stream: &[u8], wire: &mut impl Wire) {
    let (mut codec, mut input) = (new_codec(), BytesMut::with_capacity(READ));
    for piece in stream.chunks(READ) {
        segments(piece).for_each(|segment| input.extend_from_slice(segment));
        decode(&mut codec, &mut input, wire);
    }
    assert!(input.is_empty());
}
