//! A client and a server talk over a link that the fuzzer makes bad.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was said. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_fuzz::{faults, seed};
use socklab_tests::draw::Draw;
use socklab_tests::oracle::echo_reply_bytes;
use socklab_tests::pair::{echo_agrees, math_agrees, run_pair};
use socklab_tests::role::math::{questions, quiz};
use socklab_tests::role::{EchoClient, EchoServer, MathClient, Message};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let faults = faults(&mut draw, flags);
    let seed = seed(&mut draw);
    let agrees = if flags & 8 == 0 {
        let questions = questions(&mut draw);
        run_pair(&MathClient, &quiz(&questions, true), &faults, seed)
            .and_then(|both| math_agrees(&questions, *b"opensesm", &faults, &both))
    } else {
        let (mut messages, mut after) = (vec![], 0);
        while !draw.is_empty() && messages.len() < 16 {
            after = usize::from(draw.byte() % 4).max(after).min(messages.len());
            let payload = draw.text();
            // A payload that is not text rightly ends a session; other targets look at that.
            if echo_reply_bytes(&payload).is_some() {
                messages.push(Message { after, payload });
            } else {
                after = after.min(messages.len());
            }
        }
        let role = EchoClient::scheduled(messages, true);
        let role = if flags & 16 != 0 { role.splitting() } else { role };
        run_pair(&role, &EchoServer, &faults, seed)
            .and_then(|both| echo_agrees(role.messages(), &faults, &both))
    };
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
