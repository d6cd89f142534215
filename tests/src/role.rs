//! The application of each machine: says what to do and when, from nothing but the events it was
//! told, so that a run depends on the bytes alone.

use std::fmt::Debug;

use socklab_core::machine::Machine;
use socklab_core::math::{Question, Secret};
use socklab_core::{echo, math};

/// A command of the machine of a role.
pub type Command<'c, R> = <<R as Role>::Machine as Machine>::Command<'c>;

/// A machine's application, and how its events compare.
pub trait Role: Clone {
    /// What it drives.
    type Machine: Machine + PartialEq + Debug;
    /// An event that owns what it shows.
    type Event: Clone + PartialEq + Debug;

    /// Whether the application speaks only when the machine asks with `Need::Command`. Else it
    /// speaks at the start and right after an event.
    ///
    /// Where it takes turns, a reset or a timeout races with the command: the machine may end
    /// the session at once, or let the application have its turn first. What the peer did before
    /// is told the same way up to there.
    const TAKES_TURNS: bool = false;

    /// A fresh machine.
    fn machine(&self) -> Self::Machine;

    /// The event, owned.
    fn own(event: <Self::Machine as Machine>::Event<'_>) -> Self::Event;

    /// Appends `next` to `last` if they are two pieces of one thing. How it is cut has no meaning.
    fn append(last: &mut Self::Event, next: &Self::Event) -> bool {
        let _ = (last, next);
        false
    }

    /// The machine says this. Pieces come one by one.
    fn told(&mut self, event: &Self::Event) {
        let _ = event;
    }

    /// What the application wants to say now.
    fn command(&self) -> Option<Command<'_, Self>> {
        None
    }

    /// The machine took the [`command`](Self::command).
    fn given(&mut self) {}

    /// The command does not fit into the whole of the output. Says whether it can be said in a
    /// way that takes less room.
    fn split(&mut self) -> bool {
        false
    }

    /// Payload that is owed.
    fn payload(&self) -> &[u8] {
        &[]
    }

    /// So much of it is on its way.
    fn paid(&mut self, n: usize) {
        let _ = n;
    }

    /// The event that stands for payload taken from the input without the machine.
    fn taken(bytes: &[u8], last: bool) -> Option<Self::Event> {
        let _ = (bytes, last);
        None
    }

    /// A command to see refused when all is over.
    fn probe() -> Option<Command<'static, Self>> {
        None
    }
}

/// A math client: it has nothing to decide.
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

/// A math server's application: what it says, in this order.
#[derive(Clone, Debug, Default)]
pub struct MathServer {
    commands: Vec<math::server::Command>,
    at: usize,
}

impl MathServer {
    /// Asks these, then tells the secret if there is one; else it has nothing more to say.
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

/// What an echo client is told, however it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What has come of it.
    pub bytes: Vec<u8>,
    /// Whether that is all.
    pub whole: bool,
}

/// A message of an echo client's application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// It is sent once so many replies have come whole.
    pub after: usize,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// An echo client's application: sends these messages, then finishes.
#[derive(Clone, Debug, Default)]
pub struct EchoClient {
    messages: Vec<Message>,
    finish: bool,
    at: usize,
    /// Announced with `Begin` because it does not fit.
    split: bool,
    paid: usize,
    owes: bool,
    replies: usize,
}

impl EchoClient {
    /// Sends all of these at once. Finishes if `finish`, once the last is sent.
    #[must_use]
    pub fn new<P: AsRef<[u8]>>(payloads: &[P], finish: bool) -> Self {
        let message = |p: &P| Message { after: 0, payload: p.as_ref().to_vec() };
        Self::scheduled(payloads.iter().map(message).collect(), finish)
    }

    /// Sends each when its time has come.
    #[must_use]
    pub fn scheduled(messages: Vec<Message>, finish: bool) -> Self {
        Self { messages, finish, ..Self::default() }
    }

    /// The same, but every message is announced with `Begin` and its payload paid.
    #[must_use]
    pub fn splitting(mut self) -> Self {
        self.split = true;
        self
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

impl Role for EchoClient {
    type Machine = echo::Client;
    type Event = Reply;

    fn machine(&self) -> echo::Client {
        echo::Client::new()
    }

    fn own(echo::client::Event::Reply(piece): echo::client::Event<'_>) -> Reply {
        Reply { bytes: piece.bytes.to_vec(), whole: piece.is_last() }
    }

    fn append(last: &mut Reply, next: &Reply) -> bool {
        if !last.whole {
            last.bytes.extend_from_slice(&next.bytes);
            last.whole = next.whole;
            return true;
        }
        false
    }

    fn told(&mut self, event: &Reply) {
        self.replies += usize::from(event.whole);
    }

    fn command(&self) -> Option<echo::client::Command<'_>> {
        use echo::client::Command;
        if self.owes {
            return None;
        }
        match self.messages.get(self.at) {
            Some(message) if message.after > self.replies => None,
            Some(message) if self.split => {
                Some(Command::Begin(u32::try_from(message.payload.len()).expect("it is short")))
            }
            Some(message) => Some(Command::Send(&message.payload)),
            None if self.finish && self.at == self.messages.len() => Some(Command::Finish),
            None => None,
        }
    }

    fn given(&mut self) {
        self.owes = self.split && self.messages.get(self.at).is_some_and(|m| !m.payload.is_empty());
        self.paid = 0;
        if !self.owes {
            self.at += 1;
        }
    }

    fn split(&mut self) -> bool {
        !std::mem::replace(&mut self.split, true)
    }

    fn payload(&self) -> &[u8] {
        match self.messages.get(self.at) {
            Some(message) if self.owes => &message.payload[self.paid..],
            _ => &[],
        }
    }

    fn paid(&mut self, n: usize) {
        self.paid += n;
        if self.payload().is_empty() {
            self.owes = false;
            self.at += 1;
        }
    }

    fn taken(bytes: &[u8], last: bool) -> Option<Reply> {
        Some(Reply { bytes: bytes.to_vec(), whole: last })
    }

    fn probe() -> Option<echo::client::Command<'static>> {
        Some(echo::client::Command::Begin(0))
    }
}

/// An echo server that serves until its client closes.
#[derive(Clone, Debug, Default)]
pub struct EchoServer;

impl Role for EchoServer {
    type Machine = echo::Server;
    type Event = echo::server::Event;

    fn machine(&self) -> echo::Server {
        echo::Server::new()
    }

    fn own(event: echo::server::Event) -> echo::server::Event {
        event
    }

    fn probe() -> Option<echo::server::Command> {
        Some(echo::server::Command::Finish)
    }
}
