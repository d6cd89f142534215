use socklab_core::chat::{Chat, Command, Error, Event, says_bye};
use socklab_core::machine::StreamEnd;

use super::Role;
use crate::pair::{Both, Faults};

/// What one side of a conversation is told: a line, and whether it was the last.
pub type ChatTold = (Vec<u8>, bool);

/// One side of a conversation: says these lines, one whenever it may.
#[derive(Clone, Debug)]
pub struct ChatSide<const DUPLEX: bool> {
    machine: Chat,
    lines: Vec<Vec<u8>>,
    said: usize,
    is_over: bool,
}

impl ChatSide<false> {
    /// The client's side.
    #[must_use]
    pub fn client(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::client(), lines)
    }

    /// The server's side, which begins.
    #[must_use]
    pub fn server(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::server(), lines)
    }
}

impl ChatSide<true> {
    /// Either side without turns: says all at once.
    #[must_use]
    pub fn duplex(lines: &[impl AsRef<[u8]>]) -> Self {
        Self::new(Chat::duplex(), lines)
    }
}

impl<const DUPLEX: bool> ChatSide<DUPLEX> {
    fn new(machine: Chat, lines: &[impl AsRef<[u8]>]) -> Self {
        let lines = lines.iter().map(|line| line.as_ref().to_vec()).collect();
        Self { machine, lines, said: 0, is_over: false }
    }
}

impl<const DUPLEX: bool> Role for ChatSide<DUPLEX> {
    type Machine = Chat;
    type Event = ChatTold;
    const TAKES_TURNS: bool = !DUPLEX;
    const CLOSE_ENDS_TURN: bool = !DUPLEX;

    fn machine(&self) -> Chat {
        self.machine.clone()
    }

    fn own(event: Event<'_>) -> ChatTold {
        match event {
            Event::Line(text) => (text.to_vec(), false),
            Event::Bye(text) => (text.to_vec(), true),
        }
    }

    fn emitted(&mut self, (_, is_bye): &ChatTold) {
        self.is_over |= is_bye;
    }

    fn command(&self) -> Option<Command<'_>> {
        let line = self.lines.get(self.said).filter(|_| !self.is_over)?;
        Some(Command::Say(line))
    }

    fn given(&mut self) {
        self.is_over |= self.lines.get(self.said).is_some_and(|line| says_bye(line));
        self.said += 1;
    }

    fn probe() -> Option<Command<'static>> {
        Some(Command::Say(b"x"))
    }
}

/// What the two sides have to agree on, of which one at least has a BYE to say.
///
/// # Errors
///
/// What they do not agree on.
pub fn chat_agrees<const DUPLEX: bool>(
    client: &ChatSide<DUPLEX>,
    server: &ChatSide<DUPLEX>,
    faults: &Faults,
    (one, two): &Both<ChatSide<DUPLEX>, ChatSide<DUPLEX>>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {one:?}, {two:?}"));
    for (told, said) in [(&one.events, &server.lines), (&two.events, &client.lines)] {
        let is_front = told.len() <= said.len()
            && told
                .iter()
                .zip(said)
                .all(|((text, bye), line)| text == line && *bye == says_bye(line));
        if !is_front {
            return fail("one side heard what the other did not say");
        }
        if told.iter().rev().skip(1).any(|(_, is_bye)| *is_bye) {
            return fail("a line came after BYE");
        }
    }
    // In turns the server has spoken as often as the client or once more.
    let (c, s) = (two.events.len(), one.events.len());
    if !DUPLEX && c > s {
        return fail("the client spoke out of turn");
    }
    let heard = |side: &[ChatTold]| side.last().is_some_and(|(_, is_bye)| *is_bye);
    match (faults.reset_after, one.ended, two.ended) {
        (None, Ok(()), Ok(())) if DUPLEX || heard(&one.events) != heard(&two.events) => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), a, b) => {
            let is_fine = |ended: Result<(), Error>| {
                ended.err().is_none_or(|e| e.how() == Some(StreamEnd::Reset))
            };
            if is_fine(a) && is_fine(b) { Ok(()) } else { fail("a reset is named something else") }
        }
    }
}
