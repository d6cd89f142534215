//! The datagrams with both ends.

use crate::check::pair::{Pair, client_prints_reply, same};
use crate::check::talk::{Outcome, Talk};
use crate::check::udp::rest;
use crate::proxy::Flow;

const MESSAGES: [&str; 3] = ["Four score and seven years ago", "äöüßéèñçøå and the rest", "short"];

pub(super) const PAIR: Pair = Pair {
    client: &[("message", MESSAGES[0]), ("message", MESSAGES[1]), ("message", MESSAGES[2])],
    server: &[],
    input_ends: true,
    has_prompts: false,
    file: None,
    judge,
};

fn judge(talk: &mut Talk) -> Outcome {
    let form =
        "a datagram is one message: the text in UTF-8, with nothing in front of it or after it";
    let mut messages = talk.exchange.datagrams(Flow::Up);
    // A client may send a message again.
    messages.dedup();
    for (i, message) in MESSAGES.iter().enumerate() {
        let sent = messages.get(i).copied().unwrap_or_default();
        same("client", "send the right messages", message.as_bytes(), sent)
            .map_err(|failure| failure.hint(form))?;
    }
    if let Some(more) = messages.get(MESSAGES.len()) {
        return same("client", "end after its last message", b"", more)
            .map_err(|failure| failure.hint(form));
    }
    let mut replies = talk.exchange.datagrams(Flow::Down);
    replies.dedup();
    for (i, message) in MESSAGES.iter().enumerate() {
        let sent = replies.get(i).copied().unwrap_or_default();
        let is_missing = replies.len() <= i;
        let what = if is_missing { "reply to every message" } else { "send the right replies" };
        let expected = rest(message).as_bytes();
        let outcome = if is_missing && expected.is_empty() {
            same("server", what, b"an empty datagram", b"")
        } else {
            same("server", what, expected, sent)
        };
        outcome.map_err(|failure| {
            failure.hint(format!("{form}; a reply is the message without its first ten characters"))
        })?;
    }
    MESSAGES[..2].iter().try_for_each(|text| client_prints_reply(talk, text, rest(text)))
}
