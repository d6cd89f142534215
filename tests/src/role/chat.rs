//! Roles of `chat`.

use socklab_core::chat::{Chat, Command, Error, Event, says_bye};
use socklab_core::machine::StreamEnd;

use super::Role;
use crate::draw::Draw;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// A line received by one side, and whether it was the last.
pub type ChatEvent = (Vec<u8>, bool);

/// One side of a conversation. It sends its lines in order, one whenever it may.
#[derive(Clone, Debug)]
pub struct ChatSide<const DUPLEX: bool> {
    machine: Chat,
    lines: Vec<Vec<u8>>,
    sent: usize,
    is_over: bool,
}

impl ChatSide<false> {
    /// Creates the client's side.
    #[must_use]
    pub fn client(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::client(), lines)
    }

    /// Creates the server's side, which sends first.
    #[must_use]
    pub fn server(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::server(), lines)
    }
}

impl ChatSide<true> {
    /// Creates either side of a conversation without turns. It sends all lines at once.
    #[must_use]
    pub fn duplex(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::duplex(), lines)
    }
}

impl<const DUPLEX: bool> ChatSide<DUPLEX> {
    fn new(machine: Chat, lines: &[impl AsRef<[u8]>]) -> Self {
        let lines = lines.iter().map(|line| line.as_ref().to_vec()).collect();
        Self { machine, lines, sent: 0, is_over: false }
    }
}

impl<const DUPLEX: bool> Role for ChatSide<DUPLEX> {
    type Machine = Chat;
    type Event = ChatEvent;
    const TAKES_TURNS: bool = !DUPLEX;
    const CLOSE_ENDS_TURN: bool = !DUPLEX;

    fn machine(&self) -> Chat {
        self.machine.clone()
    }

    fn own(event: Event<&[u8]>) -> ChatEvent {
        match event {
            Event::Line(text) => (text.to_vec(), false),
            Event::Bye(text) => (text.to_vec(), true),
        }
    }

    fn emitted(&mut self, (_, is_bye): &ChatEvent) {
        self.is_over |= is_bye;
    }

    fn command(&self) -> Option<Command<'_>> {
        let line = self.lines.get(self.sent).filter(|_| !self.is_over)?;
        Some(Command::Say(line))
    }

    fn given(&mut self) {
        self.is_over |= self.lines.get(self.sent).is_some_and(|line| says_bye(line));
        self.sent += 1;
    }

    fn probe() -> Option<Command<'static>> {
        Some(Command::Say(b"x"))
    }
}

/// Checks that the two sides agree. At least one of them must have a BYE among its lines.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn chat_agrees<const DUPLEX: bool>(
    client: &ChatSide<DUPLEX>,
    server: &ChatSide<DUPLEX>,
    faults: &Faults,
    (one, two): &PairResult<ChatSide<DUPLEX>, ChatSide<DUPLEX>>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {one:?}, {two:?}"));
    for (received, sent) in [(&one.events, &server.lines), (&two.events, &client.lines)] {
        let is_prefix = received.len() <= sent.len()
            && received
                .iter()
                .zip(sent)
                .all(|((text, bye), line)| text == line && *bye == says_bye(line));
        if !is_prefix {
            return fail("one side received a line that the other did not send");
        }
        if received.iter().rev().skip(1).any(|(_, is_bye)| *is_bye) {
            return fail("a line arrived after BYE");
        }
    }
    // With turns, the server has sent as many lines as the client, or one more.
    let (c, s) = (two.events.len(), one.events.len());
    if !DUPLEX && c > s {
        return fail("the client sent a line out of turn");
    }
    let got_bye = |side: &[ChatEvent]| side.last().is_some_and(|(_, is_bye)| *is_bye);
    match (faults.reset_after, one.ended, two.ended) {
        (None, Ok(()), Ok(())) if DUPLEX || got_bye(&one.events) != got_bye(&two.events) => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), a, b) => {
            let is_fine = |ended: Result<(), Error>| {
                ended.err().is_none_or(|e| e.how() == Some(StreamEnd::Reset))
            };
            if is_fine(a) && is_fine(b) {
                Ok(())
            } else {
                fail("a reset was reported as another error")
            }
        }
    }
}

/// Draws a client that takes turns: its lines.
pub fn client(draw: &mut Draw<'_>, _: bool) -> ChatSide<false> {
    ChatSide::client(&draw.texts())
}

/// Draws a server that takes turns: its lines.
pub fn server(draw: &mut Draw<'_>, _: bool) -> ChatSide<false> {
    ChatSide::server(&draw.texts())
}

/// Draws either side of a conversation without turns: its lines.
pub fn duplex(draw: &mut Draw<'_>, _: bool) -> ChatSide<true> {
    ChatSide::duplex(&draw.texts())
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(Chat::server, b"hello\nbye\n", |_| Some(Command::Say(b"hi")), 2);
    each.session(Chat::client, b"hello\nbye\n", |_| Some(Command::Say(b"hi")), 2);
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let (ours, theirs) = (["one", "two", "three"], b"eins\nzwei\r\nund BYE\nnever");
    for length in [0, 2, 5, 11, 19, theirs.len()] {
        each.script(&ChatSide::duplex(&ours), &theirs[..length], [1025, 1100]);
    }
    // With turns, the application must always have a line to send.
    let ours = ["one", "two", "three", "four", "bye"];
    for theirs in [&b"eins\nzwei\nbye\n"[..], b"1\n2\n3\n4\n5\n", b"ei", b"eins\nzw"] {
        each.script(&ChatSide::client(&ours), theirs, [1025, 1100]);
        each.script(&ChatSide::server(&ours), theirs, [1025, 1100]);
    }
}
