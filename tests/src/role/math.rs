//! Roles of `math`.

use socklab_core::math::{self, Question, Secret};

use super::Role;
use crate::draw::Draw;

/// Math client. Its application decides nothing.
#[derive(Clone, Debug, Default)]
pub struct MathClient;

impl Role for MathClient {
    type Machine = math::Client;
    type Event = math::client::Event;

    fn machine(&self) -> math::Client {
        math::Client::new()
    }

    fn own(event: math::client::Event) -> math::client::Event {
        event
    }
}

/// Application of a math server. Gives its commands in order.
#[derive(Clone, Debug, Default)]
pub struct MathServer {
    commands: Vec<math::server::Command>,
    at: usize,
}

impl MathServer {
    /// Creates a server that asks these questions, then reveals the secret if there is one.
    #[must_use]
    pub fn new(questions: &[(u32, u32)], secret: Option<&[u8; 8]>) -> Self {
        let ask = |&(a, b): &(u32, u32)| math::server::Command::Ask(Question { a, b });
        let reveal = secret.map(|secret| math::server::Command::Reveal(Secret(*secret)));
        Self { commands: questions.iter().map(ask).chain(reveal).collect(), at: 0 }
    }
}

impl Role for MathServer {
    type Machine = math::Server;
    type Event = math::server::Event;
    const TAKES_TURNS: bool = true;

    fn machine(&self) -> math::Server {
        math::Server::new()
    }

    fn own(event: math::server::Event) -> math::server::Event {
        event
    }

    fn command(&self) -> Option<math::server::Command> {
        self.commands.get(self.at).copied()
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<math::server::Command> {
        Some(math::server::Command::Ask(Question { a: 1, b: 2 }))
    }
}

/// Draws a client.
pub fn client(_: &mut Draw<'_>, _: bool) -> MathClient {
    MathClient
}

/// Draws a server: its questions. It does not reveal its secret if `is_secretive`.
pub fn server(draw: &mut Draw<'_>, is_secretive: bool) -> MathServer {
    quiz(&questions(draw), !is_secretive)
}

/// Draws a server's questions: their count, then a byte each for `a` and `b`.
pub fn questions(draw: &mut Draw<'_>) -> Vec<(u32, u32)> {
    let count = draw.byte() % 8;
    // The top bit of `b` makes the sum wrap.
    let spread = |b: u8| if b & 128 == 0 { u32::from(b) } else { u32::MAX - u32::from(b) };
    (0..count).map(|_| (u32::from(draw.byte()), spread(draw.byte()))).collect()
}

/// Returns a server that asks these and then sends the secret, if `reveals`.
#[must_use]
pub fn quiz(questions: &[(u32, u32)], reveals: bool) -> MathServer {
    MathServer::new(questions, reveals.then_some(b"opensesm"))
}
