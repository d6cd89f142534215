//! Both sides of a conversation over a simulated link must agree on the lines.

use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::rng::Rng;
use socklab_tests::role::{ChatSide, chat_agrees};

const SEEDS: u64 = 1_000;

/// Draws the faults of a seed. Every second run ends in a reset after some of `total` bytes. There
/// is no half-close, because a side that closes early has left the conversation.
fn faults(rng: &mut Rng, seed: u64, total: usize) -> Faults {
    let reset_after = (seed % 2 == 1).then(|| rng.below(total + 1));
    Faults { reset_after, half_close: false, ..Faults::draw(rng) }
}

fn lines(rng: &mut Rng, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            let chars = rng.below(30);
            let text = rng.text(chars).replace(['\n', '\r'], " ");
            if rng.percent(20) { format!("goodbye {text}") } else { text }
        })
        .collect()
}

fn bytes(lines: &[String]) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

#[test]
fn both_sides_agree_over_any_link_in_turns() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xc4a7);
        let turns = rng.below(8);
        let mut server = lines(&mut rng, turns + 1);
        let mut client = lines(&mut rng, turns + 1);
        // The last line contains BYE: the server's, or the client's answer to it.
        let last = if rng.percent(50) { &mut server } else { &mut client };
        last[turns].push_str(" Bye.");
        let faults = faults(&mut rng, seed, bytes(&server) + bytes(&client));
        let (client, server) = (ChatSide::client(&client), ChatSide::server(&server));
        let both = run_pair(&client, &server, &faults, seed).unwrap();
        chat_agrees(&client, &server, &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() && both.1.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 400,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}

#[test]
fn both_sides_agree_over_any_link_without_turns() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xd0b1);
        let (m, n) = (rng.below(12), rng.below(12));
        let (mut client, mut server) = (lines(&mut rng, m), lines(&mut rng, n));
        let bye_of = rng.below(3);
        if bye_of != 0 {
            client.push("bye".into());
        }
        if bye_of != 1 {
            server.push("BYE".into());
        }
        let faults = faults(&mut rng, seed, bytes(&server) + bytes(&client));
        let (client, server) = (ChatSide::duplex(&client), ChatSide::duplex(&server));
        let both = run_pair(&client, &server, &faults, seed).unwrap();
        chat_agrees(&client, &server, &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() && both.1.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 400,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}
