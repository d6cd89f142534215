//! A conversation in lines, in turns or duplex.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Waker;
pub use socklab_core::chat::{Chat, Closing, Error as ChatError, has_word, says_bye};
use socklab_core::chat::{Command, Event};
use socklab_core::driver::Next;
use socklab_core::wire::LINE_MAX;

use crate::net::{self, DEFAULT_TIMEOUT, Delivery, DialError, Ended, Target, Wake};

/// Why a conversation ended before a side said a closing word.
pub type Error = net::Error<ChatError>;

/// The words that end a conversation, whole and in any case: BYE, or others instead. Both sides need the
/// same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosingWords(Option<Arc<[Box<str>]>>);

impl ClosingWords {
    /// These words; none are BYE. White space around a word is dropped, and there is none in it.
    ///
    /// # Errors
    ///
    /// What a word should be, if one is empty, too long for a line, or more than a word.
    pub fn new<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self, &'static str> {
        let words = words.into_iter().map(|word| {
            let word = word.as_ref().trim();
            if word.is_empty() || word.len() > LINE_MAX || word.contains(char::is_whitespace) {
                return Err("expected a word of at most 1024 bytes, without white space in it");
            }
            Ok(word.into())
        });
        let words: Arc<[Box<str>]> = words.collect::<Result<_, _>>()?;
        Ok(Self((!words.is_empty()).then_some(words)))
    }

    /// The words. The first is sent for a person who has nothing more to say.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let bye = self.0.is_none().then_some("BYE");
        bye.into_iter().chain(self.0.iter().flat_map(|words| words.iter().map(|word| &**word)))
    }

    /// The first of the words that the line has, if it has one.
    #[must_use]
    pub fn find(&self, line: &[u8]) -> Option<&str> {
        self.words().find(|word| has_word(line, word.as_bytes()))
    }
}

impl Closing for ClosingWords {
    fn closes(&self, line: &[u8]) -> bool {
        self.find(line).is_some()
    }
}

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
    inner: net::Client<Chat<ClosingWords>>,
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

/// With other [closing words](Chat::closing), another timeout or an observer, or as the server's side: as
/// the connection below it was [dialled](net::Client::dial) or [accepted](net::Client::accepted).
impl From<net::Client<Chat<ClosingWords>>> for Conversation {
    fn from(inner: net::Client<Chat<ClosingWords>>) -> Self {
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
        let machine = machine.closing(ClosingWords::default());
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

    /// Waits for what happens next; `None` when a side has said a closing word, and all is sent.
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

    /// Says a line, without its end. One with a closing word is the last.
    ///
    /// # Errors
    ///
    /// [`net::Error::Refused`] when it is not our turn, or it is no line: longer than
    /// [`LINE_MAX`], say.
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

    /// As [`close`](Self::close), and finds out whether the other side has read what was said last, as
    /// far as the system can tell within `limit`.
    pub fn finish(self, limit: Duration) -> Delivery {
        self.inner.patient(Some(limit)).finish()
    }
}

/// What the driver's word means: `None` nothing, `Some(None)` the end.
fn heard(next: Next<Event<'_>>) -> Option<Option<Heard>> {
    match next {
        Next::Event(Event::Line(text)) => Some(Some(Heard::Line(text.to_vec()))),
        Next::Event(Event::Bye(text)) => Some(Some(Heard::Bye(text.to_vec()))),
        Next::Command => Some(Some(Heard::YourTurn)),
        Next::Close | Next::Abort => Some(None),
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
            Ended::Done => f.write_str("ended with a closing word"),
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

/// What it says last, when its server stops: the closing word follows.
const LAST: &str = "I have to go. ";

/// A small bot: the server of those who have nobody to talk to. What it says depends on what it
/// hears and nothing else.
pub struct Service {
    duplex: bool,
    closing: ClosingWords,
    /// Its last line.
    last: String,
    /// It is to stop: the next line of each talk is the last.
    stopping: bool,
}

impl Service {
    /// A bot that ends a conversation with BYE.
    #[must_use]
    pub fn new(duplex: bool) -> Self {
        Self::closing(duplex, ClosingWords::default())
    }

    /// A bot that ends a conversation with these words.
    #[must_use]
    pub fn closing(duplex: bool, closing: ClosingWords) -> Self {
        let word = closing.words().next().unwrap_or_default();
        let last = format!("{LAST}{word}");
        Self { duplex, closing, last, stopping: false }
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
    type Machine = Chat<ClosingWords>;
    type State = Talk;
    type Report = Report;

    fn open(&mut self) -> (Chat<ClosingWords>, Talk) {
        let machine = if self.duplex { Chat::duplex() } else { Chat::server() };
        (machine.closing(self.closing.clone()), Talk { heard: 0, said: 0, question: false })
    }

    fn event(&mut self, talk: &mut Talk, event: Event<'_>) {
        let (Event::Line(text) | Event::Bye(text)) = event;
        talk.heard = talk.heard.saturating_add(1);
        talk.question = text.trim_ascii_end().ends_with(b"?");
    }

    fn command(&mut self, talk: &mut Talk) -> Option<Command<'_>> {
        if self.stopping {
            return Some(Command::Say(self.last.as_bytes()));
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
        Some(Command::Say(self.last.as_bytes()))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &Chat<ClosingWords>,
        talk: &mut Talk,
        ended: Ended<ChatError>,
    ) -> Report {
        Report { peer, heard: talk.heard, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_words_replace_bye() {
        let bye = ClosingWords::default();
        assert_eq!(bye.words().collect::<Vec<_>>(), ["BYE"]);
        assert_eq!(ClosingWords::new([""; 0]), Ok(bye.clone()));
        assert_eq!(bye.find(b"ok, Bye!"), Some("BYE"));
        assert_eq!(bye.find(b"goodbye"), None);
        let words = ClosingWords::new([" quit ", "Auf-Wiedersehen"]).unwrap();
        assert_eq!(words.words().collect::<Vec<_>>(), ["quit", "Auf-Wiedersehen"]);
        assert_eq!(words.find(b"auf-wiedersehen, I QUIT"), Some("quit"));
        assert!(words.closes(b"auf-wiedersehen.") && !words.closes(b"bye"));
        for word in ["", " ", "a\nb", "two words", "a\u{a0}b", &"x".repeat(LINE_MAX + 1)] {
            assert!(ClosingWords::new([word]).is_err(), "{word}");
        }
    }

    #[test]
    fn the_bot_ends_with_a_closing_word() {
        for words in [&[][..], &["quit"]] {
            let words = ClosingWords::new(words).unwrap();
            let bot = Service::closing(false, words.clone());
            assert!(words.closes(bot.last.as_bytes()), "{}", bot.last);
        }
    }
}
