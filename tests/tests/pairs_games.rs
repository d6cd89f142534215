//! Both ends of each game over a simulated link must agree on what happened.

use socklab_core::coin::Side;
use socklab_core::rps::Choice;
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::rng::Rng;
use socklab_tests::role::{
    CoinClient, CoinServer, GuessClient, GuessServer, RpsClient, RpsServer, coin_agrees,
    guess_agrees, rps_agrees,
};

const SEEDS: u64 = 1_500;

/// Runs `play` with each seed, once without faults and once with a reset, and checks that the
/// resets hit.
fn over_any_link(salt: u64, play: impl Fn(&mut Rng, &Faults, u64) -> bool) {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ salt);
        let faults = Faults::draw(&mut rng);
        assert!(play(&mut rng, &faults, seed), "{seed}: the game did not end");
        let reset_after = Some(rng.below(700));
        let is_whole = play(&mut rng, &Faults { reset_after, ..faults }, seed);
        *if is_whole { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 10,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}

#[test]
fn coin_ends_agree_over_any_link() {
    over_any_link(0xc011, |rng, faults, seed| {
        const SOME: [&str; 8] = ["H", "T", "h", " t ", "", "x", "head", "HT"];
        let mut answers: Vec<&str> = (0..rng.below(6)).map(|_| SOME[rng.below(8)]).collect();
        answers.push(if rng.percent(50) { "Q" } else { "q " });
        let toss = |rng: &mut Rng| if rng.percent(50) { Side::Head } else { Side::Tail };
        let tosses: Vec<Side> = (0..rng.below(5)).map(|_| toss(rng)).collect();
        let both =
            run_pair(&CoinClient::new(&answers), &CoinServer::new(&tosses), faults, seed).unwrap();
        coin_agrees(&answers, &tosses, faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        both.0.ended.is_ok()
    });
}

#[test]
fn guess_ends_agree_over_any_link() {
    over_any_link(0x60e5, |rng, faults, seed| {
        let number = rng.within(1, 8) as i32;
        let guesses: Vec<i32> = (0..5).map(|_| rng.within(0, 9) as i32).collect();
        let both =
            run_pair(&GuessClient::new(&guesses), &GuessServer(number), faults, seed).unwrap();
        guess_agrees(number, &guesses, faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        both.0.ended.is_ok()
    });
}

#[test]
fn rps_ends_agree_over_any_link() {
    over_any_link(0x4b5, |rng, faults, seed| {
        // A player who has made the last choice still has to acknowledge the result, so there is no
        // half-close.
        let faults = &Faults { half_close: false, ..*faults };
        let mut choices = || [(); 3].map(|()| Choice::ALL[rng.below(3)]);
        let (player1, player2) = (choices(), choices());
        let both =
            run_pair(&RpsClient::new(&player1), &RpsServer::new(&player2), faults, seed).unwrap();
        rps_agrees(&player1, &player2, faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        both.0.ended.is_ok()
    });
}
