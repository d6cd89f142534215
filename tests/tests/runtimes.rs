//! The same session on every runtime: the examples of the core, as anybody would copy them.

#![allow(
    clippy::duplicate_mod,
    dead_code,
    reason = "each example is a program: with its own main, and the module they share"
)]

#[path = "../../core/examples/bare.rs"]
mod bare;
#[path = "../../core/examples/by_hand.rs"]
mod by_hand;
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
fn two_machines_by_hand() {
    assert_eq!(by_hand::transcript(), TRANSCRIPT);
}

#[test]
fn two_threads_that_block() {
    assert_eq!(threads::transcript().unwrap(), TRANSCRIPT);
}

#[test]
fn tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    assert_eq!(runtime.block_on(on_tokio::transcript()).unwrap(), TRANSCRIPT);
}

#[test]
fn an_executor_of_a_dozen_lines() {
    assert_eq!(bare::transcript(), TRANSCRIPT);
}

#[test]
fn smoltcp_with_both_ends_in_one_process() {
    assert_eq!(on_smoltcp::transcript(), TRANSCRIPT);
}
