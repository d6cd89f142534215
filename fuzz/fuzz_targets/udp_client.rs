//! A udp client gets any inputs in any order, and sends what the fuzzer chooses.
//!
//! Invariant: no panic; each step is that of a model that keeps all messages and replies: what is sent, the timer, the
//! event. The summary is the number of these events, and `sent` is `received`, `lost` and the message that waits
//! together. So a reply is only taken for that of another message if it is marked as ambiguous.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::datagram::{Datagram, Input, Machine};
use socklab_core::udp::client::{Client, Event, Limits, Summary};
use socklab_tests::draw::Draw;
use socklab_tests::role::{UdpClientModel, udp_reply};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    match draw.byte() % 3 {
        0 => run::<8>(&mut draw),
        1 => run::<0>(&mut draw),
        _ => run::<32>(&mut draw),
    }
});

fn run<const H: usize>(draw: &mut Draw<'_>) {
    let limits = Limits { timeout_ms: draw.byte().into(), retries: draw.byte() % 8 };
    let messages = draw.texts();
    let some = |at: u8| messages.get(usize::from(at & 7)).map_or(&[][..], |message| message);
    let mut client = Client::<u8, H>::with_counters(0, limits, Summary::default());
    let mut model = UdpClientModel::new(0, limits, H);
    let mut message: &[u8] = &[];
    // One byte is one input: what it is, and with which message.
    while !draw.is_empty() {
        let byte = draw.byte();
        let chosen = some(byte);
        let reply = udp_reply(chosen).unwrap_or_default();
        let other;
        let (from, bytes, is_truncated) = match byte >> 3 & 15 {
            0..=3 => {
                let sent = client.send(chosen);
                assert_eq!(sent, model.send(chosen));
                if sent.is_ok() {
                    message = chosen;
                }
                continue;
            }
            4..=8 => (0, &reply[..], false),
            9 => (1, &reply[..], false),
            10 => (0, chosen, false),
            11 => (0, &reply[..], true),
            12 => {
                other = draw.text();
                (0, &other[..], false)
            }
            n => {
                let input = if n == 13 { Input::Unreachable } else { Input::TimedOut };
                check(&mut client, &mut model, input, message);
                continue;
            }
        };
        let datagram = Datagram { bytes, is_truncated };
        check(&mut client, &mut model, Input::Received { from, datagram }, message);
    }
    assert!(!client.summary().to_string().is_empty());
}

fn check<const H: usize>(
    client: &mut Client<u8, H>,
    model: &mut UdpClientModel<u8>,
    input: Input<'_, u8>,
    message: &[u8],
) {
    let step = client.step(input, message);
    assert_eq!(step, model.step(input, message), "{input:?}");
    let summary = client.summary();
    assert_eq!(summary, model.summary());
    assert_eq!(client.is_waiting(), model.is_waiting());
    let waiting = u32::from(client.is_waiting());
    assert_eq!(summary.sent, summary.received + summary.lost + waiting);
    if let Some(Event::Unmatched(Some(mistake))) = step.event {
        assert!(!mistake.to_string().is_empty());
    }
}
