//! Roles of `math`.

use socklab_core::math::{self, Question, Secret};

use super::Application;
use crate::draw::Draw;
use crate::oracle::question;
use crate::samples::{Scripts, Sessions};

/// Math client. Its application decides nothing.
#[derive(Clone, Debug, Default)]
pub struct MathClient;

impl Application for MathClient {
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

impl Application for MathServer {
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

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    use math::server::Command::{Ask, Reveal};
    each.session(
        math::Client::new,
        b"Q\0\0\0\x01\0\0\0\x02Q\0\0\0\x03\0\0\0\x04Sopensesm",
        |_| None,
        3,
    );
    each.session(
        math::Server::new,
        &[0, 0, 0, 3, 0, 0, 0, 4],
        |at| match at {
            1 | 2 => Some(Ask(Question { a: u32::try_from(*at).ok()?, b: 2 })),
            3 => Some(Reveal(Secret(*b"opensesm"))),
            _ => None,
        },
        2,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    for length in [0, 5, 9, 18, 27, 30, 36] {
        each.script(&MathClient, &all[..length], [4, 64]);
    }
    each.script(&MathClient, b"Q\0\0\0\x01\0\0\0\x02X", [4, 64]);
    let role = MathServer::new(&[(1, 2), (3, 4), (u32::MAX, 9)], Some(b"opensesm"));
    let all = [3_u32, 7, 8].map(u32::to_be_bytes).concat();
    for length in [0, 3, 4, 6, 12] {
        each.script(&role, &all[..length], [9, 64]);
    }
    each.script(&role, &[3_u32, 6].map(u32::to_be_bytes).concat(), [9, 64]);
}
