use socklab_core::echo;

use super::Role;

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
pub struct EchoClient<const HEADER: usize = 4> {
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

    /// The same with lengths of 2 bytes.
    #[must_use]
    pub fn short(self) -> EchoClient<2> {
        let Self { messages, finish, at, split, paid, owes, replies } = self;
        EchoClient { messages, finish, at, split, paid, owes, replies }
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

impl<const HEADER: usize> Role for EchoClient<HEADER> {
    type Machine = echo::Client<HEADER>;
    type Event = Reply;

    fn machine(&self) -> echo::Client<HEADER> {
        echo::Client::with_header()
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

    fn emitted(&mut self, event: &Reply) {
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

    fn advance_outbound(&mut self, n: usize) {
        self.paid += n;
        if self.payload().is_empty() {
            self.owes = false;
            self.at += 1;
        }
    }

    fn advance_inbound(bytes: &[u8], last: bool) -> Option<Reply> {
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

/// The same with lengths of 2 bytes.
#[derive(Clone, Debug, Default)]
pub struct ShortEchoServer;

impl Role for ShortEchoServer {
    type Machine = echo::Server<2>;
    type Event = echo::server::Event;

    fn machine(&self) -> echo::Server<2> {
        echo::Server::with_header()
    }

    fn own(event: echo::server::Event) -> echo::server::Event {
        event
    }

    fn probe() -> Option<echo::server::Command> {
        Some(echo::server::Command::Finish)
    }
}
