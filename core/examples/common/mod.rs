//! What the examples say: the same session on every runtime, told line by line.

use socklab_core::echo;
use socklab_core::math::{Question, Secret, client, server};

/// What a math server says, in this order.
pub(crate) const QUIZ: [server::Command; 3] = [
    server::Command::Ask(Question { a: 12, b: 30 }),
    server::Command::Ask(Question { a: u32::MAX, b: 1 }),
    server::Command::Reveal(Secret(*b"opensesm")),
];

/// What an echo client sends. What comes back is ASCII, so a piece of it is text wherever it is cut.
pub(crate) const MESSAGES: [&[u8]; 3] =
    [b"0123456789 and the rest", b"short", "äöüäöüäöüä are ten characters".as_bytes()];

/// A line for what a math client is told.
pub(crate) fn told(event: client::Event) -> String {
    match event {
        client::Event::Question(q) => format!("{q} = {}", q.sum()),
        client::Event::Secret(secret) => format!("secret {secret}"),
    }
}

/// Puts a piece of a reply behind what has come of it.
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
