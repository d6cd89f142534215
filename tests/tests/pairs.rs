//! Both ends of a protocol over a simulated link must agree on what happened.

use socklab_tests::oracle::{echo_message, echo_reply_bytes};
use socklab_tests::pair::{Faults, echo_agrees, math_agrees, run_pair};
use socklab_tests::rng::Rng;
use socklab_tests::role::{EchoClient, EchoServer, MathClient, MathServer, Message};

const SEEDS: u64 = 1_500;

fn quiz(rng: &mut Rng) -> Vec<(u32, u32)> {
    (0..rng.below(12)).map(|_| (rng.bits() as u32, rng.bits() as u32)).collect()
}

#[test]
fn math_ends_agree_over_any_link_without_faults() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let (questions, secret) = (quiz(&mut rng), rng.bits().to_be_bytes());
        let server = MathServer::new(&questions, Some(&secret));
        let faults = Faults::draw(&mut rng);
        let both = run_pair(&MathClient, &server, &faults, seed).unwrap();
        math_agrees(&questions, secret, &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
    }
}

#[test]
fn math_ends_agree_up_to_a_reset() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xabcd);
        let (questions, secret) = (quiz(&mut rng), rng.bits().to_be_bytes());
        let server = MathServer::new(&questions, Some(&secret));
        let reset_after = Some(rng.below(questions.len() * 26 + 20));
        let faults = Faults { reset_after, ..Faults::draw(&mut rng) };
        let both = run_pair(&MathClient, &server, &faults, seed).unwrap();
        math_agrees(&questions, secret, &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 10,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}

/// Returns messages of every kind. Some of them wait for replies.
fn messages(rng: &mut Rng) -> Vec<Message> {
    let count = rng.below(12);
    let mut after = 0;
    (0..count)
        .map(|index| {
            if rng.percent(30) {
                after = rng.within(after, index);
            }
            let chars = if rng.percent(20) { rng.below(300) } else { rng.below(24) };
            let mut payload = rng.text(chars).into_bytes();
            if rng.percent(30) {
                payload.extend((0..rng.below(9)).map(|_| b'x'));
            }
            Message { after, payload }
        })
        .collect()
}

#[test]
fn echo_ends_agree_over_any_link_without_faults() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0x1234);
        let role = EchoClient::scheduled(messages(&mut rng), true);
        let role = if rng.percent(30) { role.splitting() } else { role };
        let faults = Faults::draw(&mut rng);
        let both = run_pair(&role, &EchoServer, &faults, seed).unwrap();
        echo_agrees(role.messages(), &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
    }
}

#[test]
fn echo_ends_agree_up_to_a_reset() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0x9876);
        let role = EchoClient::scheduled(messages(&mut rng), true);
        let total: usize = role.messages().iter().map(|m| 2 * m.payload.len() + 8).sum();
        let reset_after = Some(rng.below(total + 20));
        let faults = Faults { reset_after, ..Faults::draw(&mut rng) };
        let both = run_pair(&role, &EchoServer, &faults, seed).unwrap();
        echo_agrees(role.messages(), &faults, &both).unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 100 && whole > 10,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}

#[test]
fn pipelined_messages_do_not_deadlock_with_the_smallest_buffers() {
    // 200 messages against a server that reads nothing while one of its replies is unread, over a
    // link of a few bytes and with the smallest buffers.
    let payloads: Vec<String> = (0..200).map(|n| format!("0123456789 message {n}")).collect();
    let role = EchoClient::new(&payloads, true);
    for seed in 0..40 {
        let faults = Faults {
            reset_after: None,
            link: 1 + (seed as usize % 3),
            spare: seed as usize % 5,
            delay: seed % 4,
            half_close: seed % 2 == 0,
            strict_server: true,
        };
        let (client, server) = run_pair(&role, &EchoServer, &faults, seed).unwrap();
        assert_eq!((client.ended, server.ended), (Ok(()), Ok(())));
        let got: Vec<u8> = client.events.iter().flat_map(|r| echo_message(&r.bytes)).collect();
        let want: Vec<u8> = payloads
            .iter()
            .flat_map(|p| echo_message(&echo_reply_bytes(p.as_bytes()).unwrap()))
            .collect();
        assert_eq!(got, want);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let role = EchoClient::new(&["one", "0123456789 two", "0123456789 three"], true);
    let faults = Faults { reset_after: Some(40), ..Faults::draw(&mut Rng::new(3)) };
    let runs: Vec<_> =
        (0..50).map(|seed| run_pair(&role, &EchoServer, &faults, seed).unwrap()).collect();
    let again: Vec<_> =
        (0..50).map(|seed| run_pair(&role, &EchoServer, &faults, seed).unwrap()).collect();
    assert_eq!(runs, again);
    assert!(runs.iter().any(|run| run != &runs[0]), "every seed gives the same run");
}

/// Two ends that wait for each other are reported as a deadlock.
#[test]
fn a_deadlock_of_a_pair_is_reported() {
    // The server asks nothing, and the client waits for a question.
    let faults = Faults { half_close: false, ..Faults::draw(&mut Rng::new(1)) };
    let what = run_pair(&MathClient, &MathServer::new(&[], None), &faults, 7).unwrap_err();
    assert!(what.starts_with("seed 0x7, ") && what.contains(": deadlock at "), "{what}");
}
