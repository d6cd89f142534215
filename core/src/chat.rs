//! A conversation in lines.
//!
//! ```text
//!   server -> client   a line '\n'
//!   client -> server   a line '\n'     and so on, strictly in turns
//! ```
//!
//! The first line that contains the word BYE is the last one, whichever side sends it. An application can choose other
//! words: see [`Closing`]. A line that arrives early waits until the other side has had its turn. In duplex mode, which
//! both sides must choose, there are no turns.
//!
//! ```text
//!            .--- a line arrives ---.             .-- a line arrives or is sent --.
//!            v                      |             '--> Both --------------------'
//!   server: Ours -- one is sent --> Theirs :client      |
//!            |                      |                  BYE
//!            '--------- BYE --------+-------------------+--> Over
//! ```
//!
//! Both sides are one machine. They differ in who begins.

use core::fmt;

use crate::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamEnd, StreamState,
    bytes_event,
};
use crate::wire::{
    CloseInTurn, LINE_BYTES, LineError, LineMessages, LineScanner, check_turn, put_line,
};

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = LineMessages;

/// One side of a conversation. 4 bytes, and the size of the [`Closing`] words: [`Bye`] has none.
///
/// A line with its newline has at most `LINE` bytes. That is also the least size of each buffer, so
/// [`with_line`](Self::with_line) makes a conversation fit a small microcontroller.
///
/// ```
/// use socklab_core::chat::{Chat, has_word};
/// let quits = |line: &[u8]| has_word(line, b"quit") || has_word(line, b"exit");
/// let chat = Chat::client().closing(quits);
/// assert_eq!(size_of_val(&chat), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Chat<C = Bye, const LINE: usize = LINE_BYTES> {
    lines: LineScanner<LINE>,
    state: State,
    closing: C,
}

/// Decides which lines end a conversation. Both sides must decide alike.
pub trait Closing: Clone {
    /// Returns whether this line is the last one.
    fn closes(&self, line: &[u8]) -> bool;
}

/// The word of the protocol: a line for which [`says_bye`] returns true is the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bye;

impl Closing for Bye {
    #[inline]
    fn closes(&self, line: &[u8]) -> bool {
        says_bye(line)
    }
}

impl<F: Fn(&[u8]) -> bool + Clone> Closing for F {
    #[inline]
    fn closes(&self, line: &[u8]) -> bool {
        self(line)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Ours,
    Theirs,
    /// Duplex: both may speak.
    Both,
    Over,
}

/// Commands of the application, in its turn, when the machine asks with [`Need::Command`]. In duplex mode at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'c> {
    /// Sends this line, given without its end. It is the last one if it [closes](Closing::closes) the conversation.
    /// [`CommandError::Invalid`] if it is not a line: see [`put_line`].
    Say(&'c [u8]),
}

/// Events emitted by the machine: lines of the other side, without their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<B> {
    /// A line.
    Line(B),
    /// The last line: it contains a closing word.
    Bye(B),
}

impl<B> Event<B> {
    /// Returns the event with its bytes converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_map<C, E>(self, mut f: impl FnMut(B) -> Result<C, E>) -> Result<Event<C>, E> {
        Ok(match self {
            Self::Line(bytes) => Event::Line(f(bytes)?),
            Self::Bye(bytes) => Event::Bye(f(bytes)?),
        })
    }
}

bytes_event!(Event);

/// Why the conversation ended before a side sent a closing word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// A line is too long, or the stream ended inside one.
    Line(LineError),
    /// The stream ended between two lines.
    Left(StreamEnd),
}

impl Error {
    /// Returns how the stream ended, if that is the reason.
    #[must_use]
    pub const fn how(&self) -> Option<StreamEnd> {
        match self {
            Self::Line(LineError::TooLong { .. }) => None,
            Self::Line(LineError::Truncated { how, .. }) | Self::Left(how) => Some(*how),
        }
    }
}

impl From<LineError> for Error {
    fn from(e: LineError) -> Self {
        match e {
            LineError::Truncated { how, got: 0 } => Self::Left(how),
            e => Self::Line(e),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(e) => return e.by("the other side").fmt(f),
            Self::Left(StreamEnd::Closed) => {
                "the other side closed the connection before the end of the conversation"
            }
            Self::Left(StreamEnd::Reset) => {
                "the other side reset the connection before the end of the conversation; its \
                 program was stopped, or the network failed"
            }
            Self::Left(StreamEnd::TimedOut) => "the other side sent nothing in time",
        })
    }
}

impl core::error::Error for Error {}

/// Returns whether the text contains the word BYE, in any case.
///
/// A word is a run of ASCII letters and digits and of bytes that are not ASCII, which count as letters: "Bye!" and
/// "ok, bye" contain it, "goodbye", "bye2" and "byé" do not.
#[must_use]
pub fn says_bye(text: &[u8]) -> bool {
    const BYE: u32 = u32::from_be_bytes(*b"\0bye");
    /// Bit that a small letter has and its capital does not. It does not make a letter of anything else that is part of
    /// a word.
    const CASE: u8 = 0x20;
    // The last four bytes of the word, in lower case. The first of them is 0 only in a word of three bytes or fewer.
    let mut word = 0_u32;
    for byte in text {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
            word = word << 8 | u32::from(byte | CASE);
        } else if word == BYE {
            return true;
        } else {
            word = 0;
        }
    }
    word == BYE
}

/// Returns whether the text contains `word`, in any case and not as a part of a longer word, as with [`says_bye`]. It may
/// be several words, or begin with a sign as in `/quit`. No text contains an empty word.
#[must_use]
pub fn has_word(text: &[u8], word: &[u8]) -> bool {
    let is_letter =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    let mut rest = text;
    let mut before = None;
    while let Some(front) = rest.get(..word.len()).filter(|front| !front.is_empty()) {
        let behind = rest.get(word.len());
        let is_inside = is_letter(before) && is_letter(word.first())
            || is_letter(behind) && is_letter(word.last());
        if front.eq_ignore_ascii_case(word) && !is_inside {
            return true;
        }
        before = rest.first();
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

impl Chat {
    /// Returns the side of the client, which listens first.
    #[must_use]
    pub const fn client() -> Self {
        Self::new(State::Theirs)
    }

    /// Returns the side of the server, which speaks first.
    #[must_use]
    pub const fn server() -> Self {
        Self::new(State::Ours)
    }

    /// Returns either side without turns. The other side must be duplex too.
    #[must_use]
    pub const fn duplex() -> Self {
        Self::new(State::Both)
    }

    const fn new(state: State) -> Self {
        Self { lines: LineScanner::new(), state, closing: Bye }
    }
}

impl<const LINE: usize> Chat<Bye, LINE> {
    /// Returns the same side with other closing words. Only before the conversation begins. The other side must have
    /// the same words.
    #[must_use]
    pub fn closing<C: Closing>(self, closing: C) -> Chat<C, LINE> {
        Chat { lines: self.lines, state: self.state, closing }
    }
}

impl<C, const LINE: usize> Chat<C, LINE> {
    /// Returns the same side for lines of at most `N` bytes with their newline, from 1 to [`LINE_BYTES`]. Only
    /// before the conversation begins. A longer line of the other side is an error, so both sides should have the same limit.
    ///
    /// ```
    /// use socklab_core::Machine;
    /// use socklab_core::chat::Chat;
    /// fn buffer<M: Machine>(_: &M) -> usize {
    ///     M::MIN_INPUT
    /// }
    /// assert_eq!(buffer(&Chat::client()), 1025);
    /// assert_eq!(buffer(&Chat::client().with_line::<81>()), 81);
    /// ```
    #[must_use]
    pub fn with_line<const N: usize>(self) -> Chat<C, N> {
        Chat { lines: self.lines.with_line(), state: self.state, closing: self.closing }
    }

    /// Returns whether it is the application's turn.
    #[must_use]
    pub const fn may_speak(&self) -> bool {
        matches!(self.state, State::Ours | State::Both)
    }

    /// Returns whether either side has sent a closing word.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl<C: Closing, const LINE: usize> Machine for Chat<C, LINE> {
    type Command<'c> = Command<'c>;
    type Event = Event<Span>;
    type Error = Error;

    const LINES: bool = true;
    const MIN_INPUT: usize = LINE;
    const MIN_OUTPUT: usize = LINE;

    fn step(&mut self, input: Input<'_>, _: &mut [u8]) -> Result<Step<Event<Span>>, Error> {
        let (need, next) = match self.state {
            State::Over => return Ok(Step::idle(Action::Close)),
            State::Ours => {
                check_turn(input, CloseInTurn::Ignored)?;
                if matches!(input.state, StreamState::Open | StreamState::Idle) {
                    return Ok(Step::need(Need::Command));
                }
                (Need::Command, State::Ours)
            }
            State::Theirs => (Need::Input, State::Ours),
            State::Both => (Need::InputOrCommand, State::Both),
        };
        let line = match self.lines.peek(input)? {
            Some(line) if self.state != State::Ours => line,
            // In our turn a side that has closed may still read, as netcat does after the end of its input. The
            // conversation continues while one of its lines is unread.
            _ => return Ok(Step::need(need)),
        };
        let event = if self.closing.closes(line.text) {
            self.state = State::Over;
            Event::Bye(input.span(line.text))
        } else {
            self.state = next;
            Event::Line(input.span(line.text))
        };
        Ok(Step::new(self.lines.take(line), 0, Action::Event(event)))
    }

    fn command(&mut self, command: Command<'_>, output: &mut [u8]) -> Result<usize, CommandError> {
        let Command::Say(text) = command;
        let next = match self.state {
            State::Ours => State::Theirs,
            State::Both => State::Both,
            State::Theirs | State::Over => return Err(CommandError::OutOfTurn),
        };
        if LINE < LINE_BYTES && text.len() >= LINE {
            return Err(Invalid::TooLong.into());
        }
        let written = put_line(text, output);
        if written.is_ok() {
            self.state = if self.closing.closes(text) { State::Over } else { next };
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::machine::Seen as _;

    fn said<'i>(chat: &mut Chat, input: Input<'i>) -> Result<Action<Event<&'i [u8]>>, Error> {
        chat.seen(input, &mut []).map(|step| step.action)
    }

    fn say(chat: &mut Chat, text: &str) -> Result<usize, CommandError> {
        chat.command(Command::Say(text.as_bytes()), &mut [0; LINE_BYTES])
    }

    #[test]
    fn bye_is_a_word() {
        for text in
            ["bye", "BYE", "Bye!", "ok, bye.", "bye bye", " bYe ", "(bye)", "bye_", "by bye"]
        {
            assert!(says_bye(text.as_bytes()), "{text}");
        }
        for text in [
            "", "goodbye", "byebye", "bye2", "2bye", "byé", "ébye", "byeé", "by e", "b ye", "byee",
            "by",
        ] {
            assert!(!says_bye(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_word_is_known_by_what_stands_around_it() {
        for (text, word) in [
            ("quit", "quit"),
            ("I QUIT!", "quit"),
            ("quits quit", "quit"),
            ("xquit,quit", "Quit"),
            ("/quit", "/quit"),
            ("now/quit", "/quit"),
            ("/quit", "quit"),
            ("good  bye, good bye", "good bye"),
            ("Tschüss!", "tschüss"),
            ("aa a", "a"),
        ] {
            assert!(has_word(text.as_bytes(), word.as_bytes()), "{text} {word}");
        }
        for (text, word) in [
            ("", "quit"),
            ("qui", "quit"),
            ("quits", "quit"),
            ("xquit", "quit"),
            ("quit2", "quit"),
            ("équit", "quit"),
            ("/quits", "/quit"),
            ("anything", ""),
            ("", ""),
        ] {
            assert!(!has_word(text.as_bytes(), word.as_bytes()), "{text} {word}");
        }
        for text in ["bye", "Bye!", "ok, bye.", "by bye", "goodbye", "bye2", "byé", "ébye", "b ye"]
        {
            assert_eq!(has_word(text.as_bytes(), b"BYE"), says_bye(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn other_words_end_a_conversation_instead_of_bye() {
        let quits = |line: &[u8]| has_word(line, b"quit") || has_word(line, b"exit");
        let (mut server, mut client) =
            (Chat::server().closing(quits), Chat::client().closing(quits));
        assert_eq!(size_of_val(&server), size_of::<Chat>());
        let mut room = [0; LINE_BYTES];
        assert_eq!(server.command(Command::Say(b"bye"), &mut room), Ok(4));
        let step = client.seen(Input::open(b"bye\n"), &mut []).unwrap();
        assert_eq!(step.action, Action::Event(Event::Line(&b"bye"[..])));
        assert_eq!(client.command(Command::Say(b"Exit."), &mut room), Ok(6));
        let step = server.seen(Input::open(b"Exit.\n"), &mut []).unwrap();
        assert_eq!(step.action, Action::Event(Event::Bye(&b"Exit."[..])));
        assert!(server.is_over() && client.is_over());
    }

    #[test]
    fn turns_are_strict_and_the_server_begins() {
        let (mut server, mut client) = (Chat::server(), Chat::client());
        assert_eq!(said(&mut server, Input::open(b"early\n")), Ok(Action::Need(Need::Command)));
        assert_eq!(said(&mut client, Input::open(b"")), Ok(Action::Need(Need::Input)));
        assert_eq!(say(&mut client, "out of turn"), Err(CommandError::OutOfTurn));
        assert_eq!((server.may_speak(), client.may_speak()), (true, false));
        assert_eq!(say(&mut server, "hello"), Ok(6));
        assert_eq!(say(&mut server, "again"), Err(CommandError::OutOfTurn));
        let event = said(&mut client, Input::open(b"hello\nagain\n"));
        assert_eq!(event, Ok(Action::Event(Event::Line(&b"hello"[..]))));
        assert_eq!(said(&mut client, Input::open(b"again\n")), Ok(Action::Need(Need::Command)));
    }

    #[test]
    fn bye_of_either_side_ends_the_conversation() {
        let (mut server, mut client) = (Chat::server(), Chat::client());
        assert_eq!(say(&mut server, "Bye now"), Ok(8));
        let event = said(&mut client, Input::open(b"Bye now\nmore\n"));
        assert_eq!(event, Ok(Action::Event(Event::Bye(&b"Bye now"[..]))));
        for chat in [&mut server, &mut client] {
            assert!(chat.is_over());
            assert_eq!(said(chat, Input::open(b"more\n")), Ok(Action::Close));
            assert_eq!(say(chat, "more"), Err(CommandError::OutOfTurn));
        }
    }

    #[test]
    fn in_duplex_anyone_may_speak() {
        let mut chat = Chat::duplex();
        assert_eq!(said(&mut chat, Input::open(b"")), Ok(Action::Need(Need::InputOrCommand)));
        assert_eq!((say(&mut chat, "one"), say(&mut chat, "two")), (Ok(4), Ok(4)));
        for _ in 0..2 {
            let event = said(&mut chat, Input::open(b"hi\n"));
            assert_eq!(event, Ok(Action::Event(Event::Line(&b"hi"[..]))));
        }
        assert_eq!(say(&mut chat, "bye"), Ok(4));
        assert_eq!(said(&mut chat, Input::open(b"hi\n")), Ok(Action::Close));
    }

    #[test]
    fn one_who_leaves_in_our_turn_is_noticed_unless_there_is_a_line() {
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            let result = said(&mut Chat::server(), Input::ended(b"", how));
            assert_eq!(result, Err(Error::Left(how)));
        }
        let half = said(&mut Chat::server(), Input::ended(b"hal", StreamEnd::Closed));
        assert_eq!(half, Err(Error::Line(LineError::Truncated { how: StreamEnd::Closed, got: 3 })));
        let mut server = Chat::server();
        let (line, end) =
            (Input::ended(b"a line\n", StreamEnd::Closed), Input::ended(b"", StreamEnd::Closed));
        assert_eq!(said(&mut server, line), Ok(Action::Need(Need::Command)));
        assert_eq!(say(&mut server, "hello"), Ok(6));
        assert_eq!(said(&mut server, line), Ok(Action::Event(Event::Line(&b"a line"[..]))));
        assert_eq!(said(&mut server, end), Err(Error::Left(StreamEnd::Closed)));
        // After a reset a command has no reader, whatever is unread.
        let reset = said(&mut Chat::server(), Input::ended(b"a line\n", StreamEnd::Reset));
        assert_eq!(reset, Err(Error::Left(StreamEnd::Reset)));
    }

    #[test]
    fn a_look_at_the_input_in_our_turn_takes_nothing_of_it() {
        let mut server = Chat::server();
        let early = Input::ended(b"\xef\xbb\xbfhi\n", StreamEnd::Closed);
        assert_eq!(said(&mut server, early), Ok(Action::Need(Need::Command)));
        assert_eq!(say(&mut server, "hello"), Ok(6));
        // Still the first line of the stream: the byte order mark belongs to no line.
        assert_eq!(said(&mut server, early), Ok(Action::Event(Event::Line(&b"hi"[..]))));
    }

    #[test]
    fn a_shorter_limit_holds_for_both_directions() {
        let mut chat = Chat::duplex().with_line::<5>();
        assert_eq!(size_of_val(&chat), size_of::<Chat>());
        let mut step = |bytes| chat.seen(Input::open(bytes), &mut []).map(|step| step.action);
        assert_eq!(step(&b"four\n"[..]), Ok(Action::Event(Event::Line(&b"four"[..]))));
        assert_eq!(step(b"four"), Ok(Action::Need(Need::InputOrCommand)));
        let error = step(b"five\r\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the other side broke the protocol: a line is too long, its first 5 bytes have no newline"
        );
        assert_eq!(chat.command(Command::Say(b"four"), &mut [0; 5]), Ok(5));
        let long = chat.command(Command::Say(b"fifth"), &mut [0; 9]);
        assert_eq!(long, Err(Invalid::TooLong.into()));
    }

    #[test]
    fn what_is_not_a_line_is_not_sent() {
        let mut chat = Chat::server();
        let long = vec![b'x'; LINE_BYTES];
        for (text, reason) in [
            (&b"two\nlines"[..], Invalid::Newline),
            (b"bye\n", Invalid::Newline),
            (b"end\r", Invalid::CarriageReturn),
            (&long, Invalid::TooLong),
        ] {
            let before = chat.clone();
            let refused = chat.command(Command::Say(text), &mut [0; 2000]);
            assert_eq!((refused, &chat), (Err(reason.into()), &before));
        }
        assert_eq!(chat.command(Command::Say(b"bye"), &mut [0; 3]), Err(CommandError::OutputFull));
        assert!(!chat.is_over(), "a refusal changes nothing");
    }

    #[test]
    fn errors_are_sentences_about_the_other_side() {
        let cases = [
            (
                Input::ended(b"", StreamEnd::Closed),
                "the other side closed the connection before the end of the conversation",
            ),
            (
                Input::ended(b"", StreamEnd::Reset),
                "the other side reset the connection before the end of the conversation; its \
                 program was stopped, or the network failed",
            ),
            (Input::ended(b"", StreamEnd::TimedOut), "the other side sent nothing in time"),
            (
                Input::ended(b"hal", StreamEnd::Closed),
                "the other side closed the connection in the middle of a message, after 3 bytes",
            ),
            (
                Input::open(&[b'x'; LINE_BYTES]),
                "the other side broke the protocol: a line is too long, its first 1025 bytes have \
                 no newline",
            ),
        ];
        for (input, sentence) in cases {
            let error = said(&mut Chat::client(), input).unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
    }
}
