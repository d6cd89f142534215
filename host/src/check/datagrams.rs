//! Steps of the protocols over datagrams.
//!
//! The groups of cases are those of streams, and mean what comes closest: `segmentation` is about the sizes of datagrams,
//! `coalescing` about several that wait to be received, `slow` about late and lost ones, `reset` about the system's report
//! that a datagram did not arrive, and `bad-input` about what anyone can send. `close` is empty.

use std::time::Duration;

use super::case::{Step, step};
use super::talk::{Outcome, Talk};

/// Opens the socket of another client.
pub(super) fn client() -> Step {
    step("open the socket of another client", Talk::open)
}

/// Continues with the socket of an earlier client, counted from 1.
pub(super) fn on_client(number: usize) -> Step {
    step(format!("continue as client {number}"), move |talk| {
        talk.use_connection(number - 1);
        Ok(())
    })
}

/// Closes the current socket. Datagrams to it are refused then.
pub(super) fn vanish() -> Step {
    step("close the tester's socket", Talk::vanish)
}

/// Opens the tester's socket again at the same port.
pub(super) fn reopen() -> Step {
    step("close the tester's socket and open it again at the same port", Talk::reopen)
}

/// Checks that no other datagram arrives for a time.
pub(super) fn no_other(ms: u64) -> Step {
    step(format!("receive no other datagram for {ms} ms"), move |talk| {
        talk.no_datagram(Duration::from_millis(ms))
    })
}

/// Sends a datagram that may have no reply: `what` names it.
pub(super) fn posts(what: &str, bytes: impl Into<Vec<u8>>) -> Step {
    let bytes = bytes.into();
    step(format!("send {what}"), move |talk| talk.post(&bytes))
}

/// Sends a datagram to the client from another port.
pub(super) fn stranger(bytes: &'static [u8]) -> Step {
    step("send a datagram from another port", move |talk| talk.post_as_stranger(bytes))
}

/// Checks that the program serves another client, or has ended without a crash. `next` is what the other client does.
pub(super) fn survives(next: fn(&mut Talk) -> Outcome) -> Step {
    step("see the program serve another client, or end without a crash", move |talk| {
        match talk.open().and_then(|()| next(talk)) {
            Err(failure) if !talk.has_exited_after(failure.kind)? => Err(failure),
            Err(_) => talk.exit_was_no_crash(),
            Ok(()) => Ok(()),
        }
    })
}

/// Checks that the program has written something: to a person who waits, an end without a word says nothing.
pub(super) fn says_something() -> Step {
    step("see a message of the program", |talk| {
        talk.shown("what has happened", |output| !output.trim().is_empty())
    })
}
