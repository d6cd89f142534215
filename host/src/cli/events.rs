//! Events for programs: the JSON lines of `--json`.

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::common::Failure;
use crate::net::{Ended, Notice, Surplus};
use crate::ui::{Output, put_text};

/// Writes an event, if `--json` is given.
pub(super) fn emit(output: &mut Output, event: impl FnOnce() -> Value) -> Result<(), Failure> {
    if output.is_json() { output.event(&event()).map_err(Failure::stdout) } else { Ok(()) }
}

/// Reports that a connection is established.
pub(super) fn connected(output: &mut Output, peer: SocketAddr) -> Result<(), Failure> {
    emit(output, || json!({ "event": "connected", "peer": peer.to_string() }))
}

/// Reports that a server has stopped on request.
pub(super) fn stopped(output: &mut Output) -> Result<(), Failure> {
    emit(output, || json!({ "event": "stopped" }))
}

/// Returns an event with a text.
pub(super) fn text_event(name: &str, text: &[u8]) -> Value {
    let mut event = json!({ "event": name });
    put_text(&mut event, "text", text);
    event
}

/// Reports that the server sent bytes after the end of the session.
pub(super) fn surplus(output: &mut Output, surplus: &Surplus) -> Result<(), Failure> {
    emit(output, || {
        let mut event = json!({ "event": "surplus", "bytes": surplus.bytes });
        put_text(&mut event, "text", surplus.start.bytes());
        event
    })
}

/// Returns the outcome of a server's session as a word, and the reason if it failed. `done` is the word for a regular
/// end.
pub(super) fn outcome<E: fmt::Display>(
    ended: &Ended<E>,
    done: &'static str,
) -> (&'static str, Option<String>) {
    match ended {
        Ended::Done => (done, None),
        Ended::Failed(..) | Ended::Internal(_) | Ended::Undelivered => {
            ("failed", Some(ended.to_string()))
        }
        Ended::Stopped => ("stopped", None),
    }
}

/// Returns the failure of a session whose client did not receive all data.
pub(super) fn undelivered() -> String {
    Ended::<std::convert::Infallible>::Undelivered.to_string()
}

/// Returns the event of a server's session, with the `details` of the protocol.
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

/// Returns the event of an incomplete message.
pub(super) fn unfinished(notice: &Notice) -> Value {
    let mut event = json!({ "event": "unfinished", "peer": notice.peer.to_string() });
    put_text(&mut event, "text", notice.part.bytes());
    event["bytes"] = notice.length.into();
    event
}
