//! The same session on every runtime: the examples of the core, as a user would copy them.

#![allow(
    clippy::duplicate_mod,
    dead_code,
    reason = "each example is a program of its own, and they share a module"
)]

#[path = "../../core/examples/bare.rs"]
mod bare;
#[path = "../../core/examples/by_hand.rs"]
mod by_hand;
#[path = "../../core/examples/channel.rs"]
mod channel;
#[path = "../../core/examples/interrupt.rs"]
mod interrupt;
#[path = "../../core/examples/compio.rs"]
mod on_compio;
#[path = "../../core/examples/embassy.rs"]
mod on_embassy;
#[path = "../../core/examples/smol.rs"]
mod on_smol;
#[path = "../../core/examples/smoltcp.rs"]
mod on_smoltcp;
#[path = "../../core/examples/tokio.rs"]
mod on_tokio;
#[path = "../../core/examples/threads.rs"]
mod threads;

const TRANSCRIPT: [&str; 6] = [
    "Q 12 + 30 = 42",
    "Q 4294967295 + 1 = 0",
    "secret opensesm",
    "reply  and the rest",
    "reply ",
    "reply  are ten characters",
];

#[test]
fn the_example_that_steps_machines_by_hand_gives_the_transcript() {
    assert_eq!(by_hand::transcript(), TRANSCRIPT);
}

#[test]
fn the_example_with_blocking_threads_gives_the_transcript() {
    assert_eq!(threads::transcript().unwrap(), TRANSCRIPT);
}

#[test]
fn the_example_on_tokio_gives_the_transcript() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(on_tokio::transcript()).unwrap(), TRANSCRIPT);
}

#[test]
fn the_example_on_smol_gives_the_transcript() {
    assert_eq!(async_io::block_on(on_smol::transcript()).unwrap(), TRANSCRIPT);
}

#[test]
fn the_example_on_compio_gives_the_transcript() {
    let runtime = compio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(on_compio::transcript()).unwrap(), TRANSCRIPT);
}

#[test]
fn the_example_on_embassy_net_gives_the_transcript() {
    assert_eq!(async_io::block_on(on_embassy::transcript()), TRANSCRIPT);
}

#[test]
fn an_abort_on_embassy_net_reaches_the_peer_as_a_reset() {
    use embassy_net::tcp::Error::ConnectionReset;
    assert_eq!(async_io::block_on(on_embassy::reset()), Err(ConnectionReset));
}

#[test]
fn the_example_with_an_executor_of_its_own_gives_the_transcript() {
    assert_eq!(bare::transcript(), TRANSCRIPT);
}

#[test]
fn the_example_on_smoltcp_gives_the_transcript() {
    assert_eq!(on_smoltcp::transcript(), TRANSCRIPT);
}

#[test]
fn the_example_with_an_interrupt_and_queues_gives_the_transcript() {
    assert_eq!(interrupt::transcript(), TRANSCRIPT);
}

#[test]
fn the_example_with_channels_between_two_tasks_gives_its_conversation() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(
        runtime.block_on(channel::transcript()),
        [
            "line hello",
            "a line of more than 128 bytes",
            "bye bye",
            "peer hello, peer",
            "peer too long for me",
        ]
    );
}
