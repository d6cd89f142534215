//! Client and server of `udp` compared with models of them: all short sequences of inputs, and many long ones.

use socklab_core::datagram::{DATAGRAM_MAX, Datagram, Input, Machine};
use socklab_core::machine::{CommandError, Invalid};
use socklab_core::udp::client::{Client, Event, Limits, Summary};
use socklab_core::udp::{Server, reply_to};
use socklab_tests::datagrams::check_answer;
use socklab_tests::rng::Rng;
use socklab_tests::role::{UdpClientModel, udp_reply};

/// A client beside its model, with `H` messages remembered.
#[derive(Clone)]
struct Both<'m, const H: usize> {
    client: Client<u8, H>,
    model: UdpClientModel<u8>,
    message: &'m [u8],
}

impl<'m, const H: usize> Both<'m, H> {
    fn new(retries: u8) -> Self {
        let limits = Limits { timeout_ms: 7, retries };
        Self {
            client: Client::with_counters(0, limits, Summary::default()),
            model: UdpClientModel::new(0, limits, H),
            message: b"",
        }
    }

    #[track_caller]
    fn send(&mut self, message: &'m [u8]) {
        let (sent, expected) = (self.client.send(message), self.model.send(message));
        assert_eq!(sent, expected, "{message:?}");
        if sent.is_ok() {
            self.message = message;
        }
        self.compare();
    }

    #[track_caller]
    fn step(&mut self, input: Input<'_, u8>) -> Option<Event> {
        let step = self.client.step(input, self.message);
        assert_eq!(step, self.model.step(input, self.message), "{input:?}");
        self.compare();
        step.event
    }

    #[track_caller]
    fn compare(&self) {
        let summary = self.client.summary();
        assert_eq!(summary, self.model.summary());
        assert_eq!(self.client.is_waiting(), self.model.is_waiting());
        let waiting = u32::from(self.client.is_waiting());
        assert_eq!(summary.sent, summary.received + summary.lost + waiting);
    }
}

const MESSAGES: [&[u8]; 4] = [b"0123456789a", b"9876543210a", b"0123456789b", b"short"];

fn received(from: u8, bytes: &[u8]) -> Input<'_, u8> {
    Input::Received { from, datagram: Datagram::whole(bytes) }
}

/// Runs every sequence of `length` inputs that follows.
fn every_sequence<const H: usize>(both: &Both<'_, H>, length: usize, ends: &mut usize) {
    let Some(length) = length.checked_sub(1) else {
        *ends += 1;
        return;
    };
    for message in MESSAGES {
        let mut next = both.clone();
        next.send(message);
        every_sequence(&next, length, ends);
    }
    let inputs = [received(0, b"a"), received(0, b"b"), received(0, b""), Input::TimedOut];
    for input in inputs {
        let mut next = both.clone();
        next.step(input);
        every_sequence(&next, length, ends);
    }
}

#[test]
fn every_short_sequence_of_inputs_gives_what_the_model_gives() {
    let mut ends = 0;
    every_sequence::<2>(&Both::new(1), 6, &mut ends);
    every_sequence::<0>(&Both::new(0), 5, &mut ends);
    every_sequence::<1>(&Both::new(0), 5, &mut ends);
    assert_eq!(ends, 8_usize.pow(6) + 2 * 8_usize.pow(5));
}

fn long_sequence<const H: usize>(seed: u64) {
    let mut rng = Rng::new(seed);
    let retries = [0, 1, 3, 255][rng.below(4)];
    let messages: Vec<Vec<u8>> = (0..1 + rng.below(12))
        .map(|_| {
            let front = rng.below(14);
            let mut message = rng.text(front).into_bytes();
            message.push([b'a', b'b', 0xff][rng.below(3)]);
            message
        })
        .collect();
    let mut both = Both::<H>::new(retries);
    for _ in 0..300 {
        let some = &messages[rng.below(messages.len())];
        let reply = udp_reply(some).unwrap_or_default();
        match rng.below(12) {
            0..=3 => both.send(some),
            4..=6 => drop(both.step(Input::TimedOut)),
            7 => drop(both.step(Input::Unreachable)),
            8 => drop(both.step(received(u8::from(rng.percent(50)), some))),
            9 => {
                let datagram = Datagram { bytes: &reply, is_truncated: true };
                both.step(Input::Received { from: 0, datagram });
            }
            _ => drop(both.step(received(0, &reply))),
        }
    }
}

#[test]
fn long_sequences_of_inputs_give_what_the_model_gives() {
    for seed in 0..400 {
        long_sequence::<8>(seed);
        long_sequence::<0>(seed);
        long_sequence::<32>(seed);
    }
}

#[test]
fn a_message_can_be_sent_256_times() {
    let mut both = Both::<8>::new(u8::MAX);
    both.send(b"x");
    for attempts in 2..=256 {
        assert_eq!(both.step(Input::TimedOut), Some(Event::Again { attempts }));
    }
    assert_eq!(both.step(Input::TimedOut), Some(Event::Lost { attempts: 256 }));
}

#[test]
fn the_longest_message_is_that_of_ipv4() {
    let long = vec![b'x'; DATAGRAM_MAX + 1];
    let mut both = Both::<8>::new(0);
    both.send(&long);
    both.send(&long[1..]);
    let event = Event::Reply { attempts: 1, is_ambiguous: false };
    assert_eq!(both.step(received(0, &long[11..])), Some(event));
    let refused = both.client.send(&long).map(|_| ());
    assert_eq!(refused, Err(CommandError::Invalid(Invalid::TooLong)));
}

/// Returns bytes that are often UTF-8, and often not at the interesting places.
fn some_bytes(rng: &mut Rng) -> Vec<u8> {
    let chars = rng.below(16);
    let mut bytes = rng.text(chars).into_bytes();
    if rng.percent(30) {
        bytes.truncate(rng.below(bytes.len() + 1));
    }
    if rng.percent(30) && !bytes.is_empty() {
        let at = rng.below(bytes.len());
        bytes[at] = u8::try_from(rng.below(256)).unwrap_or(0);
    }
    if rng.percent(30) {
        let more = rng.below(50);
        bytes.extend((0..more).map(|n| n.wrapping_mul(37) as u8));
    }
    bytes
}

#[test]
fn a_server_answers_as_the_model_does_and_never_with_more() {
    let (mut answered, mut refused) = (0, 0);
    for seed in 0..50_000 {
        let mut rng = Rng::new(seed);
        let bytes = some_bytes(&mut rng);
        assert_eq!(reply_to(&bytes).map(<[u8]>::to_vec), udp_reply(&bytes), "{bytes:?}");
        let buffer = [bytes.len() + 1, rng.below(bytes.len() + 1)][rng.below(2)];
        let front = &bytes[..bytes.len().min(buffer)];
        let datagram = Datagram { bytes: front, is_truncated: bytes.len() >= buffer };
        for ignores_empty in [false, true] {
            let mut server = if ignores_empty { Server::ignoring_empty() } else { Server::new() };
            let step = server.step(Input::Received { from: 3_u8, datagram }, b"");
            match check_answer(datagram, 3, &step, ignores_empty).unwrap() {
                Some(answer) => {
                    assert!(answer.len() <= bytes.len());
                    answered += 1;
                }
                None => refused += 1,
            }
        }
    }
    assert!(answered > 10_000 && refused > 10_000, "{answered} answered, {refused} refused");
}
