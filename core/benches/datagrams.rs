//! The server for datagrams compared with `str` of the standard library and with a hand-written check.
//!
//! `cargo bench -p socklab-core --bench datagrams`, with `-- --quick` for a short run.

mod common;

use std::hint::black_box;

use common::{Gone, Row, STREAM, Targets, Wire, head, same};
use socklab_core::datagram::{Datagram, Input, Machine};
use socklab_core::udp::Server;

/// Number of characters that are removed.
const REMOVED: usize = 10;

fn main() {
    head("udp server: a datagram in, its rest out (codec: std's check of the whole datagram)");
    for size in [20, 576] {
        let datagrams = datagrams(size);
        same(&[&|wire| machine(&datagrams, wire), &|wire| std_chars(&datagrams, wire), &|wire| {
            hand(&datagrams, wire)
        }]);
        Row {
            size,
            messages: datagrams.len(),
            ours: [("step", &mut || machine(&datagrams, &mut Gone))],
            codec: &mut || std_chars(&datagrams, &mut Gone),
            extra: None,
            hand: &mut || hand(&datagrams, &mut Gone),
            targets: Targets { codec: Some(1.0), hand: 2.0 },
        }
        .print();
    }
}

/// Returns about 1 MiB in datagrams of `size` ASCII bytes.
fn datagrams(size: usize) -> Vec<Vec<u8>> {
    (0..STREAM / size).map(|n| (0..size).map(|i| b' ' + ((n + i) % 95) as u8).collect()).collect()
}

fn machine(datagrams: &[Vec<u8>], wire: &mut impl Wire) {
    let mut server = Server::new();
    for bytes in datagrams {
        let input = Input::Received { from: 0_u32, datagram: Datagram::whole(black_box(bytes)) };
        let step = server.step(input, &[]);
        if let Some(transmit) = step.transmit {
            wire.send(transmit.payload.of(&[], bytes));
        }
        black_box(step.event);
    }
}

/// Rejects a datagram with an error anywhere, and the server one with an error in the first ten characters.
fn std_chars(datagrams: &[Vec<u8>], wire: &mut impl Wire) {
    for bytes in datagrams {
        if let Ok(text) = str::from_utf8(black_box(bytes)) {
            let at = text.char_indices().nth(REMOVED).map_or(text.len(), |(at, _)| at);
            wire.send(&bytes[at..]);
        }
    }
}

/// Has a short way for ASCII alone.
fn hand(datagrams: &[Vec<u8>], wire: &mut impl Wire) {
    for bytes in datagrams {
        let bytes = black_box(bytes);
        let first = &bytes[..REMOVED.min(bytes.len())];
        if first.iter().all(u8::is_ascii) {
            wire.send(&bytes[first.len()..]);
        } else {
            std_chars(std::slice::from_ref(bytes), wire);
        }
    }
}
