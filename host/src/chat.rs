//! Conversation in lines of text, in turns or full duplex.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Waker;
pub use socklab_core::chat::{Chat, Closing, Error as ChatError, has_word, says_bye};
use socklab_core::chat::{Command, Event as MachineEvent};
use socklab_core::driver::Next;
use socklab_core::wire::LINE_MAX;

use crate::net::{self, DEFAULT_TIMEOUT, Delivery, DialError, Ended, Target, Wake};

/// Why a conversation ended without a closing word.
pub type Error = net::Error<ChatError>;

/// Words that end a conversation: `BYE` by default. They are matched as whole words, ignoring case. Both sides must use
/// the same words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosingWords(Option<Arc<[Box<str>]>>);

impl ClosingWords {
    /// Returns these closing words, or `BYE` if there are none. White space around a word is removed.
    ///
    /// # Errors
    ///
    /// A message if a word is empty, contains white space, or is too long for a line.
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

    /// Returns the words. The first one is used to end a conversation automatically.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let bye = self.0.is_none().then_some("BYE");
        bye.into_iter().chain(self.0.iter().flat_map(|words| words.iter().map(|word| &**word)))
    }

    /// Returns the first of the words that the line contains, if there is one.
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

/// One side of a conversation.
///
/// ```no_run
/// use socklab::chat::{Conversation, Event};
///
/// let mut conversation = Conversation::connect(("localhost", 12345), false)?;
/// while let Some(event) = conversation.next()? {
///     match event {
///         Event::Line(text) | Event::Bye(text) => println!("{}", text.escape_ascii()),
///         Event::YourTurn => conversation.say(b"Bye!")?,
///     }
/// }
/// conversation.close();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conversation {
    inner: net::Client<Chat<ClosingWords>>,
}

/// Event of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The other side sent this line.
    Line(Vec<u8>),
    /// The other side sent this line, which contains a closing word. It is the last one.
    Bye(Vec<u8>),
    /// It is the caller's turn to send a line. Not reported in full duplex, where lines may be sent at any time.
    YourTurn,
}

/// Converts a connection that was [dialled](net::Client::dial) or [accepted](net::Client::accepted) with other options,
/// such as [closing words](Chat::closing), a timeout or an observer.
impl From<net::Client<Chat<ClosingWords>>> for Conversation {
    fn from(inner: net::Client<Chat<ClosingWords>>) -> Self {
        Self { inner }
    }
}

impl Conversation {
    /// Connects to a server. The timeout is [`DEFAULT_TIMEOUT`] (30 s) for the connect, and unlimited for the conversation.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>, duplex: bool) -> Result<Self, DialError> {
        let machine = if duplex { Chat::duplex() } else { Chat::client() };
        let machine = machine.closing(ClosingWords::default());
        let timeout = Some(DEFAULT_TIMEOUT);
        let inner = net::Client::dial(&target.into(), machine, net::DEFAULT_BUFFER, timeout)?;
        Ok(inner.timeout(None).into())
    }

    /// Returns the other side's address.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// Returns whether a line may be sent now.
    pub const fn may_speak(&self) -> bool {
        self.inner.machine().may_speak()
    }

    /// Waits for the next event. Returns `None` when a side has sent a closing word and all lines are sent.
    ///
    /// # Errors
    ///
    /// [`Error`]. Later calls return the same error.
    #[expect(clippy::should_implement_trait, reason = "it returns a `Result`, and errors repeat")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let next = self.inner.next()?;
            if let Some(event) = convert(next) {
                return Ok(event);
            }
        }
    }

    /// Returns the next event as [`next`](Self::next) does, but without waiting. The outer `Option` is `None` if there is
    /// no event yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Option<Event>>, Error> {
        loop {
            let Some(next) = self.inner.try_next()? else { return Ok(None) };
            if let Some(event) = convert(next) {
                return Ok(Some(event));
            }
        }
    }

    /// Sends a line, given without its newline. A line with a closing word is the last one.
    ///
    /// # Errors
    ///
    /// [`net::Error::Refused`] if it is the other side's turn, the line is longer than [`LINE_MAX`], or it contains a
    /// newline.
    pub fn say(&mut self, line: &[u8]) -> Result<(), Error> {
        self.inner.command(Command::Say(line))
    }

    /// Sends a line as [`say`](Self::say) does, but without waiting. Returns whether there was enough space in the output
    /// buffer.
    ///
    /// # Errors
    ///
    /// As [`say`](Self::say).
    pub fn try_say(&mut self, line: &[u8]) -> Result<bool, Error> {
        self.inner.try_command(Command::Say(line))
    }

    /// Sleeps until there may be an event.
    ///
    /// # Errors
    ///
    /// [`net::Error::Io`] when the system cannot wait.
    pub fn wait(&mut self) -> Result<Wake, Error> {
        // During the caller's turn the other side does not time out.
        if self.inner.machine().may_speak() {
            self.inner.wait_without_timeout()
        } else {
            self.inner.wait()
        }
    }

    /// Returns a waker that ends a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        self.inner.waker()
    }

    /// Closes the connection without losing the lines sent last.
    pub fn close(self) {
        self.inner.close();
    }

    /// Closes the connection as [`close`](Self::close) does. Returns whether the other side has read the lines sent last,
    /// as far as the system reports that within `limit`.
    pub fn finish(self, limit: Duration) -> Delivery {
        self.inner.timeout(Some(limit)).finish()
    }
}

/// Converts the driver's event. Returns `None` if it has no meaning here, and `Some(None)` at the end.
fn convert(next: Next<MachineEvent<&[u8]>>) -> Option<Option<Event>> {
    match next {
        Next::Event(MachineEvent::Line(text)) => Some(Some(Event::Line(text.to_vec()))),
        Next::Event(MachineEvent::Bye(text)) => Some(Some(Event::Bye(text.to_vec()))),
        Next::Command => Some(Some(Event::YourTurn)),
        Next::Close | Next::Abort => Some(None),
        Next::Boundary => None,
    }
}

/// Report of a session of the bot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Number of lines received.
    pub received: u32,
    /// How the session ended.
    pub ended: Ended<ChatError>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, received, ended } = self;
        let s = if *received == 1 { "" } else { "s" };
        write!(f, "{peer}: {received} line{s} received, ")?;
        match ended {
            Ended::Done => f.write_str("ended with a closing word"),
            ended => ended.fmt(f),
        }
    }
}

/// First line of the bot.
const HELLO: &str = "Hello! I am the bot of socklab. Tell me something, or ask.";
/// Answers of the bot to a question.
const TO_QUESTIONS: [&str; 3] = [
    "Good question. What do you think yourself?",
    "I am a very small bot and do not know.",
    "Let me put it this way: perhaps.",
];
/// Answers of the bot to other lines.
const TO_ANYTHING: [&str; 4] = [
    "I see. Tell me more.",
    "Interesting. And then?",
    "I have heard of that. Do you like it?",
    "All of this comes over TCP, a line at a time.",
];

/// Start of the last line of the bot, which it sends when the server stops. The closing word follows.
const LAST: &str = "I have to go. ";

/// Service of a small bot, for tests without another person. Its lines depend only on the lines it receives.
pub struct Service {
    duplex: bool,
    closing: ClosingWords,
    /// Last line of each session.
    last: String,
    /// Whether the server stops. The next line of each session is then the last one.
    is_stopping: bool,
}

impl Service {
    /// Returns a bot that ends a conversation with BYE.
    #[must_use]
    pub fn new(duplex: bool) -> Self {
        Self::closing(duplex, ClosingWords::default())
    }

    /// Returns a bot that ends a conversation with these words.
    #[must_use]
    pub fn closing(duplex: bool, closing: ClosingWords) -> Self {
        let word = closing.words().next().unwrap_or_default();
        let last = format!("{LAST}{word}");
        Self { duplex, closing, last, is_stopping: false }
    }
}

/// State of a session of the bot.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    received: u32,
    sent: u32,
    /// Whether the last received line was a question.
    is_question: bool,
}

impl net::Service for Service {
    type Machine = Chat<ClosingWords>;
    type State = Talk;
    type Report = Report;

    fn open(&mut self) -> (Chat<ClosingWords>, Talk) {
        let machine = if self.duplex { Chat::duplex() } else { Chat::server() };
        (machine.closing(self.closing.clone()), Talk { received: 0, sent: 0, is_question: false })
    }

    fn event(&mut self, talk: &mut Talk, event: MachineEvent<&[u8]>) {
        let (MachineEvent::Line(text) | MachineEvent::Bye(text)) = event;
        talk.received = talk.received.saturating_add(1);
        talk.is_question = text.trim_ascii_end().ends_with(b"?");
    }

    fn command(&mut self, talk: &mut Talk) -> Option<Command<'_>> {
        if self.is_stopping {
            return Some(Command::Say(self.last.as_bytes()));
        }
        // The bot sends the first line, and then one answer for each line received.
        let answers = talk.sent.checked_sub(1);
        if answers.is_some_and(|answers| answers >= talk.received) {
            return None;
        }
        talk.sent = talk.sent.saturating_add(1);
        let line = match answers {
            None => HELLO,
            Some(n) if talk.is_question => TO_QUESTIONS[n as usize % TO_QUESTIONS.len()],
            Some(n) => TO_ANYTHING[n as usize % TO_ANYTHING.len()],
        };
        Some(Command::Say(line.as_bytes()))
    }

    fn finish(&mut self) -> Option<Command<'_>> {
        // If it is the client's turn, the machine refuses this command, and `command` returns it later.
        self.is_stopping = true;
        Some(Command::Say(self.last.as_bytes()))
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &Chat<ClosingWords>,
        talk: &mut Talk,
        ended: Ended<ChatError>,
    ) -> Report {
        Report { peer, received: talk.received, ended }
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
