use socklab_core::math::{self, Question, Secret};

use super::Role;

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
