//! A conversation in lines, in turns or duplex.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;
pub use socklab_core::chat::{Chat, Error as ChatError, says_bye};
use socklab_core::chat::{Command, Event};
use socklab_core::driver::Next;

use crate::net::{self, DEFAULT_TIMEOUT, DialError, Ended, Target, Wake};

/// Why a conversation ended before anybody said BYE.
pub type Error = net::Error<ChatError>;

/// One side of a conversation, with another program or with the person before it.
///
/// ```no_run
/// use socklab::chat::{Conversation, Heard};
///
/// let mut conversation = Conversation::connect(("localhost", 12345), false)?;
/// while let Some(heard) = conversation.next()? {
///     match heard {
///         Heard::Line(text) | Heard::Bye(text) => println!("{}", text.escape_ascii()),
///         Heard::YourTurn => conversation.say(b"Bye!")?,
///     }
/// }
/// conversation.close();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conversation {
    inner: net::Client<Chat>,
}

/// What happened in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The other side said this.
    Line(Vec<u8>),
    /// The other side said this, and it was the last line.
    Bye(Vec<u8>),
    /// It is our turn to say something. In duplex it always is, and this is not told.
    YourTurn,
}

/// With another timeout or an observer, or as the server's side: as the connection below it was
/// [dialled](net::Client::dial) or [accepted](net::Client::accepted).
impl From<net::Client<Chat>> for Conversation {
    fn from(inner: net::Client<Chat>) -> Self {
        Self { inner }
    }
}

impl Conversation {
    /// Connects to a server, waiting 30 s at the most. What the other side says is waited for as
    /// long as it takes.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>, duplex: bool) -> Result<Self, DialError> {
        let machine = if duplex { Chat::duplex() } else { Chat::client() };
        let timeout = Some(DEFAULT_TIMEOUT);
        let inner = net::Client::dial(&target.into(), machine, net::DEFAULT_BUFFER, timeout)?;
        Ok(inner.patient(None).into())
    }

    /// The other side's address.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// Whether something may be said now.
    pub const fn may_speak(&self) -> bool {
        self.inner.machine().may_speak()
    }

    /// Waits for what happens next; `None` when somebody has said BYE, and all is sent.
    ///
    /// # Errors
    ///
    /// [`Error`], each way of failing with its name.
    #[expect(clippy::should_implement_trait, reason = "it fails, and a failure repeats")]
    pub fn next(&mut self) -> Result<Option<Heard>, Error> {
        loop {
            let next = self.inner.next()?;
            if let Some(heard) = heard(next) {
                return Ok(heard);
            }
        }
    }

    /// As [`next`](Self::next), but does not wait: `None` when nothing has happened yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Option<Heard>>, Error> {
        loop {
            let Some(next) = self.inner.try_next()? else { return Ok(None) };
            if let Some(heard) = heard(next) {
                return Ok(Some(heard));
            }
        }
    }

    /// Says a line, without its end. One that [`says_bye`] is the last.
    ///
    /// # Errors
    ///
    /// [`net::Error::Refused`] when it is not our turn, or it is no line: longer than
    /// [`LINE_MAX`](socklab_core::wire::LINE_MAX), say.
    pub fn say(&mut self, line: &[u8]) -> Result<(), Error> {
        self.inner.command(Command::Say(line))
    }

    /// As [`say`](Self::say), but does not wait for room: whether there was any.
    ///
    /// # Errors
    ///
    /// As [`say`](Self::say).
    pub fn try_say(&mut self, line: &[u8]) -> Result<bool, Error> {
        self.inner.try_command(Command::Say(line))
    }

    /// Sleeps until something may have happened.
    ///
    /// # Errors
    ///
    /// [`net::Error::Io`] when the system cannot wait.
    pub fn wait(&mut self) -> Result<Wake, Error> {
        // Nobody is late who waits for us.
        if self.inner.machine().may_speak() { self.inner.wait_for_us() } else { self.inner.wait() }
    }

    /// Wakes a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        self.inner.waker()
    }

    /// Closes the connection; what was said last still arrives.
    pub fn close(self) {
        self.inner.close();
    }
}

/// What the driver's word means: `None` nothing, `Some(None)` the end.
fn heard(next: Next<Event<'_>>) -> Option<Option<Heard>> {
    match next {
        Next::Event(Event::Line(text)) => Some(Some(Heard::Line(text.to_vec()))),
        Next::Event(Event::Bye(text)) => Some(Some(Heard::Bye(text.to_vec()))),
        Next::Command => Some(Some(Heard::YourTurn)),
        Next::Done | Next::Abort => Some(None),
        Next::Boundary => None,
    }
}

/// A session of the bot, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// So many lines it said.
    pub heard: u32,
    /// How it ended.
    pub ended: Ended<ChatError>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, heard, ended } = self;
        let s = if *heard == 1 { "" } else { "s" };
        write!(f, "{peer}: {heard} line{s} received, ")?;
        match ended {
            Ended::Done => f.write_str("ended with BYE"),
            ended => ended.fmt(f),
        }
    }
}

/// What the bot says first.
const HELLO: &str = "Hello! I am the bot of socklab. Tell me something, or ask.";
/// What it answers to a question.
const TO_QUESTIONS: [&str; 3] = [
    "Good question. What do you think yourself?",
    "I am a very small bot and do not know.",
    "Let me put it this way: perhaps.",
];
/// What it answers to anything else.
const TO_ANYTHING: [&str; 4] = [
    "I see. Tell me more.",
    "Interesting. And then?",
    "I have heard of that. Do you like it?",
    "All of this comes over TCP, a line at a time.",
];

/// What it says last, when its server stops.
const BYE: Command<'static> = Command::Say(b"I have to go. Bye!");

/// A small bot: the server of those who have nobody to talk to. What it says depends on what it
/// hears and nothing else.
pub struct Service {
    duplex: bool,
    /// It is to stop: the next line of each talk is the last.
    stopping: bool,
}

impl Service {
    /// A bot.
    #[must_use]
    pub const fn new(duplex: bool) -> Self {
        Self { duplex, stopping: false }
    }
}

/// What the bot remembers of a talk.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    heard: u32,
    /// So many lines it has said.
    said: u32,
    /// The last line was a question.
    question: bool,
}

impl net::Service for Service {
    type Machine = Chat;
    type State = Talk;
    type Report = Report;

    fn open(&mut self) -> (Chat, Talk) {
        let machine = if self.duplex { Chat::duplex() } else { Chat::server() };
        (machine, Talk { heard: 0, said: 0, question: false })
    }

    fn event(&mut self, talk: &mut Talk, event: Event<'_>) {
        let (Event::Line(text) | Event::Bye(text)) = event;
        talk.heard = talk.heard.saturating_add(1);
        talk.question = text.trim_ascii_end().ends_with(b"?");
    }

    fn command(&mut self, talk: &mut Talk) -> Option<Command<'_>> {
        if self.stopping {
            return Some(BYE);
        }
        // One line more than it has heard: it begins, and then answers each.
        let answers = talk.said.checked_sub(1);
        if answers.is_some_and(|answers| answers >= talk.heard) {
            return None;
        }
        talk.said = talk.said.saturating_add(1);
        let line = match answers {
            None => HELLO,
            Some(n) if talk.question => TO_QUESTIONS[n as usize % TO_QUESTIONS.len()],
            Some(n) => TO_ANYTHING[n as usize % TO_ANYTHING.len()],
        };
        Some(Command::Say(line.as_bytes()))
    }

    fn finish(&mut self) -> Option<Command<'_>> {
        // In turns it may have to wait for its own.
        self.stopping = true;
        Some(BYE)
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &Chat,
        talk: &mut Talk,
        ended: Ended<ChatError>,
    ) -> Report {
        Report { peer, heard: talk.heard, ended }
    }
}
