//! Two sides talk, in turns or duplex, over a link that the fuzzer makes bad, until one says BYE.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was said. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::{faults, name, seed};
use socklab_tests::draw::Draw;
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::role::{ChatSide, chat_agrees};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    // A side that closes early has left.
    let faults = Faults { half_close: false, ..faults(&mut draw, flags) };
    let seed = seed(&mut draw);
    let counts = [draw.byte() % 8, draw.byte() % 8].map(usize::from);
    let [mut client, mut server] =
        counts.map(|count| (0..count).map(|_| name(&mut draw)).collect::<Vec<_>>());
    let agrees = if flags & 8 == 0 {
        // In turns both have something to say until the last word, which is a BYE.
        let turns = counts[0].max(counts[1]) + 1;
        client.resize(turns, b"and?".to_vec());
        server.resize(turns, b"well,".to_vec());
        let last = if flags & 16 == 0 { &mut server } else { &mut client };
        last[turns - 1] = b"Bye!".to_vec();
        let (client, server) = (ChatSide::client(&client), ChatSide::server(&server));
        run_pair(&client, &server, &faults, seed)
            .and_then(|both| chat_agrees(&client, &server, &faults, &both))
    } else {
        if flags & 16 == 0 {
            client.push(b"bye".to_vec());
        }
        if flags & 32 != 0 || flags & 16 != 0 {
            server.push(b"BYE".to_vec());
        }
        let (client, server) = (ChatSide::duplex(&client), ChatSide::duplex(&server));
        run_pair(&client, &server, &faults, seed)
            .and_then(|both| chat_agrees(&client, &server, &faults, &both))
    };
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
