//! Roles of `chat`.

use std::fmt::Debug;

use socklab_core::chat::{Bye, Chat, Closing, Command, Error, Event, has_word, says_bye};
use socklab_core::machine::StreamEnd;

use super::Application;
use crate::draw::Draw;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// A line received by one side, and whether it was the last.
pub type ChatEvent = (Vec<u8>, bool);

/// Closing words that are chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// BYE, as the protocol has it.
    Bye,
    /// QUIT.
    Quit,
}

impl Words {
    /// Returns QUIT if `quits`.
    #[must_use]
    pub const fn new(quits: bool) -> Self {
        if quits { Self::Quit } else { Self::Bye }
    }
}

impl Closing for Words {
    fn closes(&self, line: &[u8]) -> bool {
        match self {
            Self::Bye => says_bye(line),
            Self::Quit => has_word(line, b"quit"),
        }
    }
}

/// One side of a conversation. It sends its lines in order, one whenever it may.
#[derive(Clone, Debug)]
pub struct ChatSide<const DUPLEX: bool, C = Bye> {
    machine: Chat<C>,
    closing: C,
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
        Self { machine, closing: Bye, lines, sent: 0, is_over: false }
    }

    /// Returns the same side with other closing words.
    #[must_use]
    pub fn closing<C: Closing>(self, closing: C) -> ChatSide<DUPLEX, C> {
        let Self { machine, lines, sent, is_over, .. } = self;
        let machine = machine.closing(closing.clone());
        ChatSide { machine, closing, lines, sent, is_over }
    }
}

impl<const DUPLEX: bool, C: Closing + PartialEq + Debug> Application for ChatSide<DUPLEX, C> {
    type Machine = Chat<C>;
    type Event = ChatEvent;
    const TAKES_TURNS: bool = !DUPLEX;
    const CLOSE_ENDS_TURN: bool = !DUPLEX;

    fn machine(&self) -> Chat<C> {
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
        self.is_over |= self.lines.get(self.sent).is_some_and(|line| self.closing.closes(line));
        self.sent += 1;
    }

    fn probe() -> Option<Command<'static>> {
        Some(Command::Say(b"x"))
    }
}

/// Checks that the two sides agree. At least one of them must have a closing word among its lines.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn chat_agrees<const DUPLEX: bool, C: Closing + PartialEq + Debug>(
    client: &ChatSide<DUPLEX, C>,
    server: &ChatSide<DUPLEX, C>,
    faults: &Faults,
    (one, two): &PairResult<ChatSide<DUPLEX, C>, ChatSide<DUPLEX, C>>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {one:?}, {two:?}"));
    for (received, sent) in [(&one.events, &server.lines), (&two.events, &client.lines)] {
        let is_prefix = received.len() <= sent.len()
            && received
                .iter()
                .zip(sent)
                .all(|((text, bye), line)| text == line && *bye == client.closing.closes(line));
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

/// Draws a client that takes turns: its lines. QUIT closes the conversation if `quits`.
pub fn client(draw: &mut Draw<'_>, quits: bool) -> ChatSide<false, Words> {
    ChatSide::client(&draw.texts()).closing(Words::new(quits))
}

/// Draws a server that takes turns: its lines. QUIT closes the conversation if `quits`.
pub fn server(draw: &mut Draw<'_>, quits: bool) -> ChatSide<false, Words> {
    ChatSide::server(&draw.texts()).closing(Words::new(quits))
}

/// Draws either side of a conversation without turns: its lines. QUIT closes it if `quits`.
pub fn duplex(draw: &mut Draw<'_>, quits: bool) -> ChatSide<true, Words> {
    ChatSide::duplex(&draw.texts()).closing(Words::new(quits))
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
