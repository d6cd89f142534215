//! Roles of `echo`.

use socklab_core::echo;

use super::Application;
use crate::draw::Draw;
use crate::oracle::{echo_message, echo_reply_bytes};
use crate::samples::{Scripts, Sessions};

/// An echo client's event, with its pieces joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes received so far.
    pub bytes: Vec<u8>,
    /// Whether the reply is complete.
    pub whole: bool,
}

/// A message of an echo client's application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Number of complete replies after which it is sent.
    pub after: usize,
    /// Bytes of the message.
    pub payload: Vec<u8>,
}

/// Application of an echo client. Sends its messages in order, then finishes.
#[derive(Clone, Debug, Default)]
pub struct EchoClient<const HEADER: usize = 4> {
    messages: Vec<Message>,
    finish: bool,
    at: usize,
    /// Whether messages are announced with `Begin`, because a whole one does not fit.
    split: bool,
    payload_sent: usize,
    sending_payload: bool,
    replies: usize,
}

impl EchoClient {
    /// Creates a client that sends all messages at once. If `finish`, it finishes after the last.
    #[must_use]
    pub fn new<P: AsRef<[u8]>>(payloads: &[P], finish: bool) -> Self {
        let message = |p: &P| Message { after: 0, payload: p.as_ref().to_vec() };
        Self::scheduled(payloads.iter().map(message).collect(), finish)
    }

    /// Creates a client that sends each message when its replies have come.
    #[must_use]
    pub fn scheduled(messages: Vec<Message>, finish: bool) -> Self {
        Self { messages, finish, ..Self::default() }
    }

    /// Returns the same client with a header of 2 bytes.
    #[must_use]
    pub fn short(self) -> EchoClient<2> {
        let Self { messages, finish, at, split, payload_sent, sending_payload, replies } = self;
        EchoClient { messages, finish, at, split, payload_sent, sending_payload, replies }
    }

    /// Returns the same client, with every message announced with `Begin` and its payload sent
    /// separately.
    #[must_use]
    pub fn splitting(mut self) -> Self {
        self.split = true;
        self
    }

    /// Returns the messages.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

impl<const HEADER: usize> Application for EchoClient<HEADER> {
    type Machine = echo::Client<HEADER>;
    type Event = Reply;

    fn machine(&self) -> echo::Client<HEADER> {
        echo::Client::with_header()
    }

    fn own(echo::client::Event::Reply(piece): echo::client::Event<&[u8]>) -> Reply {
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
        if self.sending_payload {
            return None;
        }
        match self.messages.get(self.at) {
            Some(message) if message.after > self.replies => None,
            Some(message) if self.split => Some(Command::Begin(
                u32::try_from(message.payload.len()).expect("a test's payload is short"),
            )),
            Some(message) => Some(Command::Send(&message.payload)),
            None if self.finish && self.at == self.messages.len() => Some(Command::Finish),
            None => None,
        }
    }

    fn given(&mut self) {
        self.sending_payload =
            self.split && self.messages.get(self.at).is_some_and(|m| !m.payload.is_empty());
        self.payload_sent = 0;
        if !self.sending_payload {
            self.at += 1;
        }
    }

    fn split(&mut self) -> bool {
        !std::mem::replace(&mut self.split, true)
    }

    fn payload(&self) -> &[u8] {
        match self.messages.get(self.at) {
            Some(message) if self.sending_payload => &message.payload[self.payload_sent..],
            _ => &[],
        }
    }

    fn advance_outbound(&mut self, n: usize) {
        self.payload_sent += n;
        if self.payload().is_empty() {
            self.sending_payload = false;
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

/// Echo server that serves until its client closes.
#[derive(Clone, Debug, Default)]
pub struct EchoServer;

impl Application for EchoServer {
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

/// Echo server with a header of 2 bytes.
#[derive(Clone, Debug, Default)]
pub struct ShortEchoServer;

impl Application for ShortEchoServer {
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

/// Draws a client: its messages. It announces each if `splits`.
pub fn client(draw: &mut Draw<'_>, splits: bool) -> EchoClient {
    scheduled(messages(draw), splits)
}

/// Draws a server.
pub fn server(_: &mut Draw<'_>, _: bool) -> EchoServer {
    EchoServer
}

/// Draws a client's messages: their count, then for each its length and after how many replies it is sent.
pub fn messages(draw: &mut Draw<'_>) -> Vec<Message> {
    let (mut after, count) = (0, draw.byte() % 8);
    (0..count)
        .map(|index| {
            let [length, pause] = [draw.byte(), draw.byte()];
            after = usize::from(pause % 4).max(after).min(usize::from(index));
            Message { after, payload: vec![b'x'; usize::from(length)] }
        })
        .collect()
}

/// Returns a client that sends these, announcing each if `splits`.
#[must_use]
pub fn scheduled(messages: Vec<Message>, splits: bool) -> EchoClient {
    let client = EchoClient::scheduled(messages, true);
    if splits { client.splitting() } else { client }
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    use echo::client::Command::{Begin, Finish, Send};
    each.session(
        echo::Server::new,
        b"\0\0\0\x0f0123456789abcde\0\0\0\x01x\0\0\0\x0c\xc3\xa90123456789",
        |_| None,
        3,
    );
    each.session(echo::Server::new, b"\0\0\0\x02\xff\xff", |_| None, 0);
    each.eager_session(
        echo::Client::new,
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        |at| [Send(b"abc"), Begin(0), Send(b""), Finish].get(*at - 1).copied(),
        3,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let all: Vec<u8> = messages.iter().flat_map(|m| echo_message(m.as_bytes())).collect();
    for length in [0, 2, 4, 20, 40, all.len()] {
        each.script(&EchoServer, &all[..length], [4, 64]);
    }
    each.script(&EchoServer, &[&all[..], b"\0\0\0\x02\xff\xff"].concat(), [4, 64]);
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let replies: Vec<u8> = messages
        .iter()
        .flat_map(|m| echo_message(&echo_reply_bytes(m.as_bytes()).unwrap()))
        .collect();
    // The application of a pump cannot split a command that does not fit, so its output is large.
    let role = EchoClient::new(&messages, true);
    for length in [0, 3, 8, 12, 20, replies.len()] {
        each.script(&role, &replies[..length], [128, 512]);
    }
    each.script(&role, &[&replies[..8], b"\xff\xff\xff\xff"].concat(), [128, 512]);
}
