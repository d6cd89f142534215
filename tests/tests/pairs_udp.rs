//! Clients and a server of `udp` over a faulty network, with thousands of seeds.
//!
//! Every run compares each client with its model at each input, checks each answer of the server, the times at which
//! messages are sent again and given up, and which message each reply belongs to: see `socklab_tests::datagrams`.

use std::time::Duration;

use socklab_core::udp::client::{Limits, Summary};
use socklab_tests::datagrams::{Network, Report, run};
use socklab_tests::faults::datagrams::{Chance, Faults};
use socklab_tests::rng::Rng;

#[track_caller]
fn reports<const H: usize>(network: &Network, seed: u64) -> Vec<Report> {
    run::<H>(network, seed)
        .unwrap_or_else(|e| panic!("seed {seed}, {H} messages remembered: {e}\n{network:?}"))
}

fn without_faults() -> Network {
    Network {
        faults: [Faults::default(); 2],
        clients: 3,
        messages: 20,
        limits: Limits { timeout_ms: 50, retries: 2 },
        is_distinct: true,
        forged: 0,
        reported: 0,
        buffers: [2048; 2],
    }
}

#[test]
fn every_law_holds_over_any_network() {
    let (mut mistaken, mut forgotten) = (0, [0; 3]);
    let mut sum = Summary::default();
    for seed in 0..4000 {
        let network = Network::draw(&mut Rng::new(seed));
        let runs = [
            reports::<8>(&network, seed),
            reports::<0>(&network, seed),
            reports::<32>(&network, seed),
        ];
        for (reports, forgotten) in runs.iter().zip(&mut forgotten) {
            for report in reports {
                mistaken += report.mistaken;
                *forgotten += report.forgotten;
                let Summary { received, lost, duplicates, reordered, .. } = report.summary;
                sum.received += received;
                sum.lost += lost;
                sum.duplicates += duplicates;
                sum.reordered += reordered;
                sum.unmatched += report.summary.unmatched;
                sum.truncated += report.summary.truncated;
                sum.strangers += report.summary.strangers;
                sum.unreachable += report.summary.unreachable;
            }
        }
    }
    // What the laws are about happens often, so they are not kept if there was no occasion.
    assert!(mistaken > 1000, "{mistaken}");
    assert!(forgotten[1] > 100 && forgotten[2] == 0, "{forgotten:?}");
    let Summary { received, lost, duplicates, reordered, unmatched, .. } = sum;
    let Summary { truncated, strangers, unreachable, .. } = sum;
    for n in [received, lost, duplicates, reordered, unmatched, truncated, strangers, unreachable] {
        assert!(n > 1000, "{sum:?}");
    }
}

#[test]
fn the_summary_is_what_the_network_did() {
    let mut late = 0;
    for seed in 0..3000 {
        let drawn = Network::draw(&mut Rng::new(seed));
        // Replies can be told apart, and the client remembers all of them.
        let network = Network { is_distinct: true, forged: 0, ..drawn };
        for report in reports::<32>(&network, seed) {
            let of = |is: fn(&&socklab_tests::datagrams::Message) -> bool| {
                report.messages.iter().filter(is).count()
            };
            let count = |n: usize| u32::try_from(n).unwrap();
            let replies: usize = report.messages.iter().map(|message| message.replies.len()).sum();
            let sent: usize = report.messages.iter().map(|message| message.sent.len()).sum();
            let received = of(|message| !message.replies.is_empty());
            let summary = report.summary;
            assert_eq!(summary.sent, count(network.messages), "seed {seed}");
            assert_eq!(summary.retries, count(sent - network.messages), "seed {seed}");
            assert_eq!(summary.received, count(received), "seed {seed}");
            assert_eq!(summary.lost, count(network.messages - received), "seed {seed}");
            assert_eq!(summary.duplicates, count(replies - received), "seed {seed}");
            let reordered = of(|message| message.lost.is_some() && !message.replies.is_empty());
            assert_eq!(summary.reordered, count(reordered), "seed {seed}");
            assert_eq!(
                (summary.unmatched, summary.strangers, report.mistaken),
                (0, 0, 0),
                "seed {seed}"
            );
            late += reordered;
        }
    }
    assert!(late > 1000, "{late}");
}

#[test]
fn with_retries_enough_every_message_arrives() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut network = without_faults();
        for faults in &mut network.faults {
            faults.drop = Chance::percent(u32::try_from(rng.below(50)).unwrap());
            faults.duplicate = Chance::percent(u32::try_from(rng.below(50)).unwrap());
            faults.jitter = Duration::from_millis(rng.below(40) as u64);
        }
        network.limits.retries = u8::MAX;
        for report in reports::<8>(&network, seed) {
            let Summary { sent, received, lost, .. } = report.summary;
            assert_eq!((sent, received, lost), (20, 20, 0), "seed {seed}");
            assert!(report.messages.iter().all(|message| message.lost.is_none()), "seed {seed}");
        }
    }
}

#[test]
fn over_a_network_without_faults_each_message_is_sent_once() {
    for seed in 0..200 {
        for report in reports::<8>(&without_faults(), seed) {
            let mut expected = Summary::default();
            (expected.sent, expected.received) = (20, 20);
            assert_eq!(report.summary, expected, "seed {seed}");
        }
    }
}

#[test]
fn over_a_network_that_drops_everything_each_message_is_lost_after_its_retries() {
    for (seed, way) in (0..100).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let mut network = without_faults();
        network.faults[way].drop = Chance::ALWAYS;
        for report in reports::<8>(&network, seed) {
            let Summary { sent, retries, received, lost, .. } = report.summary;
            assert_eq!((sent, retries, received, lost), (20, 40, 0, 20), "seed {seed}");
            for message in report.messages {
                assert_eq!(message.lost, Some(message.sent[0] + Duration::from_millis(150)));
            }
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_loses_the_message_and_never_cuts_it() {
    for seed in 0..100 {
        for buffers in [[8, 2048], [2048, 1]] {
            for report in reports::<8>(&Network { buffers, ..without_faults() }, seed) {
                let Summary { lost, truncated, .. } = report.summary;
                assert_eq!(lost, 20, "seed {seed}");
                assert_eq!(truncated, if buffers[1] == 1 { 60 } else { 0 }, "seed {seed}");
            }
        }
    }
}
