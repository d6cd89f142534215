//! The session that all examples run: the same lines on every runtime.

use socklab_core::echo;
use socklab_core::math::{Question, Secret, client, server};

/// Commands of the math server, in this order.
pub(crate) const QUIZ: [server::Command; 3] = [
    server::Command::Ask(Question { a: 12, b: 30 }),
    server::Command::Ask(Question { a: u32::MAX, b: 1 }),
    server::Command::Reveal(Secret(*b"opensesm")),
];

/// Messages of the echo client. The replies are ASCII, so a piece of one is text wherever it is cut.
pub(crate) const MESSAGES: [&[u8]; 3] =
    [b"0123456789 and the rest", b"short", "äöüäöüäöüä are ten characters".as_bytes()];

/// Returns the line for an event of the math client.
pub(crate) fn describe(event: client::Event) -> String {
    match event {
        client::Event::Question(q) => format!("{q} = {}", q.sum()),
        client::Event::Secret(secret) => format!("secret {secret}"),
    }
}

/// Appends a piece of a reply to the line of that reply.
pub(crate) fn replied(
    replies: &mut Vec<String>,
    echo::client::Event::Reply(piece): echo::client::Event<&[u8]>,
) {
    if piece.is_first() {
        replies.push(String::from("reply "));
    }
    if let Some(reply) = replies.last_mut() {
        reply.push_str(&String::from_utf8_lossy(piece.bytes));
    }
}
