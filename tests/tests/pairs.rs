//! Both ends of a protocol over a simulated link: they must agree on what happened.

use socklab_core::{echo, math};
use socklab_tests::oracle::{echo_message, echo_reply_bytes};
use socklab_tests::pair::{Faults, talk};
use socklab_tests::rng::Rng;
use socklab_tests::role::{EchoClient, EchoServer, MathClient, MathServer, Message, Reply};

const SEEDS: u64 = 1_500;

fn quiz(rng: &mut Rng) -> Vec<(u32, u32)> {
    (0..rng.below(12)).map(|_| (rng.bits() as u32, rng.bits() as u32)).collect()
}

#[test]
fn math_ends_agree_over_any_link_without_faults() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let questions = quiz(&mut rng);
        let secret = rng.bits().to_be_bytes();
        let server = MathServer::new(&questions, Some(&secret));
        let faults = Faults::draw(&mut rng);
        let (client, server) = talk(&MathClient, &server, &faults, seed).unwrap();
        assert_eq!((client.ended, server.ended), (Ok(()), Ok(())), "seed {seed}");
        let (last, asked) = client.events.split_last().unwrap();
        assert_eq!(*last, math::client::Event::Secret(math::Secret(secret)), "seed {seed}");
        let asked: Vec<_> = asked
            .iter()
            .map(|event| match event {
                math::client::Event::Question(question) => (question.a, question.b),
                math::client::Event::Secret(_) => panic!("two secrets, seed {seed}"),
            })
            .collect();
        assert_eq!(asked, questions, "seed {seed}");
        let right: Vec<_> = questions
            .iter()
            .map(|(a, b)| math::server::Event::Right { answer: a.wrapping_add(*b) })
            .collect();
        assert_eq!(server.events, right, "seed {seed}");
    }
}

#[test]
fn math_ends_agree_as_far_as_a_reset_lets_them() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xabcd);
        let questions = quiz(&mut rng);
        let role = MathServer::new(&questions, Some(b"opensesm"));
        let reset_after = Some(rng.below(questions.len() * 26 + 20));
        let faults = Faults { reset_after, ..Faults::draw(&mut rng) };
        let (client, server) = talk(&MathClient, &role, &faults, seed).unwrap();
        // What the server saw answered the client was asked, never the other way round.
        assert!(server.events.len() <= client.events.len(), "seed {seed}: {client:?} {server:?}");
        for (index, event) in client.events.iter().enumerate() {
            let expected = questions
                .get(index)
                .map_or(math::client::Event::Secret(math::Secret(*b"opensesm")), |&(a, b)| {
                    math::client::Event::Question(math::Question { a, b })
                });
            assert_eq!(*event, expected, "seed {seed}");
        }
        match client.ended {
            Ok(()) => {
                assert_eq!(client.events.len(), questions.len() + 1, "seed {seed}");
                whole += 1;
            }
            Err(e) => {
                assert!(matches!(e, math::client::Error::Cut { .. }), "seed {seed}: {e:?}");
                assert!(e.to_string().starts_with("the server reset"), "seed {seed}: {e}");
                cut += 1;
            }
        }
    }
    assert!(cut > 100 && whole > 10, "the resets miss: {cut} cut, {whole} whole");
}

/// Messages of every kind, some of them waiting for replies.
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
        let (client, server) = talk(&role, &EchoServer, &faults, seed).unwrap();
        assert_eq!((client.ended, server.ended), (Ok(()), Ok(())), "seed {seed}");
        let replies: Vec<Reply> = role
            .messages()
            .iter()
            .map(|m| Reply { bytes: echo_reply_bytes(&m.payload).unwrap(), whole: true })
            .collect();
        assert_eq!(client.events, replies, "seed {seed}");
        let lengths: Vec<usize> = server
            .events
            .iter()
            .map(|echo::server::Event::Echoed { length }| *length as usize)
            .collect();
        let sent: Vec<usize> = role.messages().iter().map(|m| m.payload.len()).collect();
        assert_eq!(lengths, sent, "seed {seed}");
    }
}

#[test]
fn echo_ends_agree_as_far_as_a_reset_lets_them() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0x9876);
        let role = EchoClient::scheduled(messages(&mut rng), true);
        let total: usize = role.messages().iter().map(|m| 2 * m.payload.len() + 8).sum();
        let reset_after = Some(rng.below(total + 20));
        let faults = Faults { reset_after, ..Faults::draw(&mut rng) };
        let (client, server) = talk(&role, &EchoServer, &faults, seed).unwrap();
        let complete = client.events.iter().filter(|reply| reply.whole).count();
        assert!(complete <= server.events.len(), "seed {seed}: {client:?} {server:?}");
        for (reply, message) in client.events.iter().zip(role.messages()) {
            let expected = echo_reply_bytes(&message.payload).unwrap();
            assert!(expected.starts_with(&reply.bytes), "seed {seed}");
            assert_eq!(reply.whole, reply.bytes.len() == expected.len(), "seed {seed}");
        }
        match client.ended {
            Ok(()) => {
                assert_eq!(complete, role.messages().len(), "seed {seed}");
                whole += 1;
            }
            Err(e) => {
                assert!(matches!(e, echo::client::Error::Cut { .. }), "seed {seed}: {e:?}");
                cut += 1;
            }
        }
    }
    assert!(cut > 100 && whole > 10, "the resets miss: {cut} cut, {whole} whole");
}

#[test]
fn many_in_flight_do_not_deadlock_where_nobody_has_room() {
    // 200 messages against a server that reads nothing while a reply of its own lies unread, with
    // a link of one byte and the smallest buffers.
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
        let (client, server) = talk(&role, &EchoServer, &faults, seed).unwrap();
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
        (0..50).map(|seed| talk(&role, &EchoServer, &faults, seed).unwrap()).collect();
    let again: Vec<_> =
        (0..50).map(|seed| talk(&role, &EchoServer, &faults, seed).unwrap()).collect();
    assert_eq!(runs, again);
    assert!(runs.iter().any(|run| run != &runs[0]), "the seed chooses nothing");
}
