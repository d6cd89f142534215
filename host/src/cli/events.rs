//! What the commands tell a program that reads their events.

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::common::Failure;
use crate::net::{Ended, Notice, Surplus};
use crate::ui::{Output, put_text};

/// An event, when events are wanted.
pub(super) fn emit(output: &mut Output, event: impl FnOnce() -> Value) -> Result<(), Failure> {
    if output.is_json() { output.event(&event()).map_err(Failure::stdout) } else { Ok(()) }
}

/// The event that there is a connection.
pub(super) fn connected(output: &mut Output, peer: SocketAddr) -> Result<(), Failure> {
    emit(output, || json!({ "event": "connected", "peer": peer.to_string() }))
}

/// The event that a server has ended as it was asked to.
pub(super) fn stopped(output: &mut Output) -> Result<(), Failure> {
    emit(output, || json!({ "event": "stopped" }))
}

/// An event that is something that was said.
pub(super) fn text_event(name: &str, text: &[u8]) -> Value {
    let mut event = json!({ "event": name });
    put_text(&mut event, "text", text);
    event
}

/// The event that the server sent something behind the end of the session.
pub(super) fn surplus(output: &mut Output, surplus: &Surplus) -> Result<(), Failure> {
    emit(output, || {
        let mut event = json!({ "event": "surplus", "bytes": surplus.bytes });
        put_text(&mut event, "text", surplus.start.bytes());
        event
    })
}

/// How a server's session ended, in a word, and why if it failed. `done` is the word for an end that
/// is the protocol's.
pub(super) fn outcome<E: fmt::Display>(
    ended: &Ended<E>,
    done: &'static str,
) -> (&'static str, Option<String>) {
    match ended {
        Ended::Done => (done, None),
        Ended::Failed(..) | Ended::Refused(_) | Ended::Undelivered => {
            ("failed", Some(ended.to_string()))
        }
        Ended::Stopped => ("stopped", None),
    }
}

/// Why a session failed whose client did not get everything.
pub(super) fn undelivered() -> String {
    Ended::<std::convert::Infallible>::Undelivered.to_string()
}

/// The event that a server's session is over, with what the protocol has to tell of it.
pub(super) fn session(
    peer: SocketAddr,
    details: Value,
    (outcome, error): (&'static str, Option<String>),
) -> Value {
    let mut event = json!({ "event": "session", "peer": peer.to_string() });
    if let Value::Object(details) = details {
        for (key, value) in details {
            event[key] = value;
        }
    }
    event["outcome"] = outcome.into();
    if let Some(error) = error {
        event["error"] = error.into();
    }
    event
}

/// The event that a part of a message waits for its rest.
pub(super) fn unfinished(notice: &Notice) -> Value {
    let mut event = json!({ "event": "unfinished", "peer": notice.peer.to_string() });
    put_text(&mut event, "text", notice.part.bytes());
    event["bytes"] = notice.length.into();
    event
}
