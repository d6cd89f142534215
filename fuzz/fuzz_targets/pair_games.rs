//! Two players of coin, guess or rps, over a link that the fuzzer makes bad.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was played. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::coin::Side;
use socklab_core::coin::client::ANSWER_MAX;
use socklab_core::rps::Choice;
use socklab_fuzz::{byte, faults, name, seed};
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::role::{
    CoinClient, CoinServer, GuessClient, GuessServer, RpsClient, RpsServer, coin_agrees,
    guess_agrees, rps_agrees,
};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let flags = byte(&mut u);
    let faults = faults(&mut u, flags);
    let seed = seed(&mut u);
    let agrees = match flags >> 3 & 3 {
        0 | 3 => {
            let toss = |n: u8| if flags >> n & 1 == 0 { Side::Head } else { Side::Tail };
            let tosses: Vec<Side> = (5..8).map(toss).collect();
            let count = byte(&mut u) % 8;
            let mut answers: Vec<Vec<u8>> = (0..count).map(|_| name(&mut u)).collect();
            answers.iter_mut().for_each(|answer| answer.truncate(ANSWER_MAX));
            answers.push(b"Q".to_vec());
            run_pair(&CoinClient::new(&answers), &CoinServer::new(&tosses), &faults, seed)
                .and_then(|both| coin_agrees(&answers, &tosses, &faults, &both))
        }
        1 => {
            let number = i32::from(byte(&mut u) % 128);
            let guesses: Vec<i32> = (0..5).map(|_| i32::from(byte(&mut u)) - 64).collect();
            run_pair(&GuessClient::new(&guesses), &GuessServer(number), &faults, seed)
                .and_then(|both| guess_agrees(number, &guesses, &faults, &both))
        }
        _ => {
            // A player who has chosen for the last time has still to acknowledge the verdict.
            let faults = Faults { half_close: false, ..faults };
            let mut choices = || [(); 3].map(|()| Choice::ALL[usize::from(byte(&mut u) % 3)]);
            let (player1, player2) = (choices(), choices());
            run_pair(&RpsClient::new(&player1), &RpsServer::new(&player2), &faults, seed)
                .and_then(|both| rps_agrees(&player1, &player2, &faults, &both))
        }
    };
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
