//! Clients and a server of udp over a network that drops, duplicates and delays as the fuzzer chooses, and in which
//! others send with forged addresses.
//!
//! Invariant: no panic, and the run ends. Every step of a client is that of its model; every answer of the server is
//! right, and no longer than what it answers. A message is sent again, and given up, exactly when its time has passed. A
//! reply is never taken for that of another message, unless it is marked as ambiguous or that message is forgotten.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use socklab_core::udp::client::Limits;
use socklab_fuzz::seed;
use socklab_tests::datagrams::{Network, run};
use socklab_tests::draw::Draw;
use socklab_tests::faults::datagrams::{Chance, Faults};

fn faults(draw: &mut Draw<'_>) -> Faults {
    let [drop, duplicate, reorder] = [(); 3].map(|()| Chance::percent(draw.byte().into()));
    let [hold, delay, jitter] = [(); 3].map(|()| Duration::from_millis(draw.byte().into()));
    Faults { drop, duplicate, reorder, hold, delay, jitter, ..Faults::default() }
}

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let faults = [faults(&mut draw), faults(&mut draw)];
    let limits = Limits { timeout_ms: 1 + u32::from(draw.byte()), retries: draw.byte() % 8 };
    let network = Network {
        faults,
        clients: 1 + u16::from(flags & 3),
        messages: usize::from(draw.byte() % 24),
        limits,
        is_distinct: flags & 4 != 0,
        forged: if flags & 8 == 0 { 0 } else { draw.byte().into() },
        reported: draw.byte().into(),
        buffers: [(); 2].map(|()| if flags & 16 == 0 { 2048 } else { draw.byte().into() }),
    };
    let seed = seed(&mut draw);
    let result = match flags >> 6 {
        0 | 1 => run::<8>(&network, seed),
        2 => run::<0>(&network, seed),
        _ => run::<32>(&network, seed),
    };
    result.unwrap_or_else(|e| panic!("{e}"));
});
