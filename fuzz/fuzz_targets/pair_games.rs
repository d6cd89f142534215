//! Two players of coin, guess or rps, over a link that the fuzzer makes bad.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was played. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::coin::Side;
use socklab_core::coin::client::ANSWER_MAX;
use socklab_core::rps::Choice;
use socklab_fuzz::{faults, name, seed};
use socklab_tests::draw::Draw;
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::role::{
    CoinClient, CoinServer, GuessClient, GuessServer, RpsClient, RpsServer, coin_agrees,
    guess_agrees, rps_agrees,
};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let faults = faults(&mut draw, flags);
    let seed = seed(&mut draw);
    let agrees = match flags >> 3 & 3 {
        0 | 3 => {
            let toss = |n: u8| if flags >> n & 1 == 0 { Side::Head } else { Side::Tail };
            let tosses: Vec<Side> = (5..8).map(toss).collect();
            let count = draw.byte() % 8;
            let mut answers: Vec<Vec<u8>> = (0..count).map(|_| name(&mut draw)).collect();
            answers.iter_mut().for_each(|answer| answer.truncate(ANSWER_MAX));
            answers.push(b"Q".to_vec());
            run_pair(&CoinClient::new(&answers), &CoinServer::new(&tosses), &faults, seed)
                .and_then(|both| coin_agrees(&answers, &tosses, &faults, &both))
        }
        1 => {
            let number = i32::from(draw.byte() % 128);
            let guesses: Vec<i32> = (0..5).map(|_| i32::from(draw.byte()) - 64).collect();
            run_pair(&GuessClient::new(&guesses), &GuessServer(number), &faults, seed)
                .and_then(|both| guess_agrees(number, &guesses, &faults, &both))
        }
        _ => {
            // A player who has chosen for the last time has still to acknowledge the verdict.
            let faults = Faults { half_close: false, ..faults };
            let mut choices = || [(); 3].map(|()| Choice::ALL[usize::from(draw.byte() % 3)]);
            let (player1, player2) = (choices(), choices());
            run_pair(&RpsClient::new(&player1), &RpsServer::new(&player2), &faults, seed)
                .and_then(|both| rps_agrees(&player1, &player2, &faults, &both))
        }
    };
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
