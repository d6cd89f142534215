//! A udp server gets any datagram, in a buffer of any size.
//!
//! Invariant: no panic; an answer goes to the sender alone, has no more bytes than the datagram, and is what a plain
//! implementation over `str` gives. A truncated datagram, one whose first ten characters are not UTF-8, and an empty
//! one, if these are ignored, get no answer. The text of a refusal can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::datagram::{Datagram, Input, Machine};
use socklab_core::udp::{Message, Server, server::Event};
use socklab_tests::datagrams::check_answer;
use socklab_tests::draw::Draw;

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let size = if flags & 2 == 0 { 2048 } else { usize::from(draw.byte()) };
    let bytes = draw.rest();
    let mut buffer = vec![0; size];
    let fits = bytes.len().min(size);
    buffer[..fits].copy_from_slice(&bytes[..fits]);
    let datagram = Datagram::in_buffer(&buffer, bytes.len());
    assert_eq!(datagram.is_truncated, bytes.len() >= size);
    let ignores_empty = flags & 1 != 0;
    let mut server = if ignores_empty { Server::ignoring_empty() } else { Server::new() };
    let before = server;
    let step = server.step(Input::Received { from: flags, datagram }, &[]);
    assert_eq!(server, before, "a server has no state");
    check_answer(datagram, flags, &step, ignores_empty).unwrap_or_else(|e| panic!("{e}"));
    if let Some(Event::Refused(refusal)) = step.event {
        assert!(!refusal.to_string().is_empty());
    }
    assert!(!Message(datagram.bytes).to_string().is_empty());
});
