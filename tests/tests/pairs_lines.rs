//! Both ends of add and of hello over a simulated link must agree on what happened.

use socklab_core::add::Form;
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::rng::Rng;
use socklab_tests::role::{
    AddClient, AddServer, HelloClient, HelloServer, add_agrees, hello_agrees,
};

const SEEDS: u64 = 1_000;

/// Draws the faults of a seed. Every second run ends in a reset after some of `total` bytes.
fn faults(rng: &mut Rng, seed: u64, total: usize) -> Faults {
    let reset_after = (seed % 2 == 1).then(|| rng.below(total));
    Faults { reset_after, ..Faults::draw(rng) }
}

#[test]
fn add_ends_agree_over_any_link() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xadd);
        let number = |rng: &mut Rng| rng.below(120) as i32 - 10;
        let chars = rng.below(30);
        let client = AddClient::new(
            rng.text(chars).replace(char::is_control, " ").as_bytes(),
            number(&mut rng),
        );
        // As two lines or as one message, in one write or two. Always with a newline, because
        // without it the end is a half-close.
        let form =
            Form { separator: b"\n\n,:;| "[rng.below(7)], space: rng.percent(30), newline: true };
        let client = client.form(form);
        let client = if rng.percent(30) { client.apart() } else { client };
        let server = AddServer::new(b"Server of John Q. Smith", number(&mut rng));
        let faults = faults(&mut rng, seed, 160);
        let both = run_pair(&client, &server, &faults, seed).unwrap();
        add_agrees(&client, &server, &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 100,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}

#[test]
fn hello_ends_agree_over_any_link() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0x4e11);
        let both = rng.percent(50);
        let server = HelloServer { both, split: rng.below(20) as u8 };
        let faults = faults(&mut rng, seed, 60);
        let ends = run_pair(&HelloClient { both }, &server, &faults, seed).unwrap();
        hello_agrees(both, &faults, &ends).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if ends.0.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 50 && whole > 100,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}
