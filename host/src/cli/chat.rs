//! `socklab chat`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::chat::{ClientBytes, ServerBytes};
use socklab_core::machine::{CommandError, StreamEnd};

use super::common::{Address, Common, Failure, Listen, Run};
use super::events::{connected, emit, stopped, text_event};
use crate::chat::{self, Chat, ChatError, ClosingWords, Conversation, Event, Service};
use crate::net::{self, DEFAULT_BUFFER, Delivery, Listener};
use crate::ui::{Keyboard, Output, Typed, say};

const PORT: u16 = 12345;

/// Chat with the person at the server, who writes first
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    #[command(flatten)]
    options: TalkOptions,
}

/// Chat with one client at a time; you write first
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// After a conversation, wait for the next client
    #[arg(long)]
    forever: bool,
    #[command(flatten)]
    options: TalkOptions,
}

#[derive(Clone, Debug, Args)]
struct TalkOptions {
    /// End the conversation with this word instead of BYE; may be repeated. Both sides need the same
    /// words
    #[arg(long, value_name = "WORD")]
    bye: Vec<String>,
    /// Let both sides write at any time instead of in turns; both sides need this option
    #[arg(long)]
    duplex: bool,
    /// Write what the other side says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

impl TalkOptions {
    fn closing(&self) -> Result<ClosingWords, Failure> {
        ClosingWords::new(&self.bye).map_err(|e| Failure::Usage(format!("--bye: {e}")))
    }

    /// Returns how long to wait until the other side has read the last line.
    ///
    /// `None` in duplex mode: the other side may have sent its own last line at the same time, and closed.
    fn delivery_timeout(&self, common: &Common) -> Option<Duration> {
        (!self.duplex).then(|| common.person_timeout().unwrap_or(Duration::from_secs(1)))
    }
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { address, options } = self;
        let closing = options.closing()?;
        let service = || Service::closing(options.duplex, closing.clone());
        common.dial(&address, "chat", service, |target| {
            let mut output = common.output(options.raw);
            let machine = if options.duplex { Chat::duplex() } else { Chat::client() };
            let machine = machine.closing(closing.clone());
            let client = common
                .connect::<ServerBytes, ClientBytes, _>(target, machine, DEFAULT_BUFFER)?
                .timeout(common.person_timeout());
            let keyboard = common.keyboard()?;
            let timeout = options.delivery_timeout(common);
            match talk(client.into(), &closing, timeout, &keyboard, &mut output).result? {
                Ending::Bye | Ending::EndOfInput => Ok(()),
                Ending::Interrupted => Err(Failure::INTERRUPTED),
            }
        })
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, forever, options } = self;
        let closing = options.closing()?;
        // Before the address is printed: a program that reads the address may send a signal at once.
        let keyboard = common.keyboard()?;
        let mut output = common.output(options.raw);
        let mut listener = Listener::bind(listen.addrs()?)?;
        let addr = listener.local_addr();
        say(format_args!("listening on {addr}"));
        emit(&mut output, || json!({ "event": "listening", "address": addr.to_string() }))?;
        loop {
            let Some(accepted) = accept(&mut listener, &keyboard)? else {
                return stopped(&mut output);
            };
            let peer = accepted.peer();
            let machine = if options.duplex { Chat::duplex() } else { Chat::server() };
            let machine = machine.closing(closing.clone());
            let client = common.accepted::<ClientBytes, ServerBytes, _>(accepted, machine)?;
            let timeout = options.delivery_timeout(common);
            let TalkResult { result, is_conversation } =
                talk(client.into(), &closing, timeout, &keyboard, &mut output);
            match result {
                Ok(Ending::Bye) if forever => {}
                // Stopping a server is not a failure.
                Ok(_) | Err(Failure::Interrupted(_)) => return stopped(&mut output),
                Err(Failure::Peer(text)) if forever || !is_conversation => {
                    say(format_args!("{peer}: {text}"));
                    let peer = peer.to_string();
                    let failed = || json!({ "event": "failed", "peer": peer, "message": text });
                    emit(&mut output, failed)?;
                }
                Err(e) => return Err(e),
            }
            // Lines typed for this client are not meant for the next one.
            keyboard.discard_typed_ahead();
        }
    }
}

/// Waits for a client. Returns `None` if the user ends the program.
pub(super) fn accept(
    listener: &mut Listener,
    keyboard: &Keyboard,
) -> Result<Option<net::Accepted>, Failure> {
    keyboard.set_waker(listener.waker());
    keyboard.wait("waiting for a client");
    loop {
        match keyboard.urgent() {
            Some(Typed::Interrupted) => return Ok(None),
            // The end of a file is not a reason to stop: at least the closing word must still be sent.
            Some(Typed::End) if keyboard.is_terminal() => return Ok(None),
            _ => {}
        }
        let accepted = listener.accept();
        match accepted.map_err(|e| Failure::System(format!("cannot accept a client: {e}")))? {
            None => {}
            accepted => return Ok(accepted),
        }
    }
}

/// How a conversation ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// One side sent a closing word.
    Bye,
    /// The user ended the input, and wants no further conversation.
    EndOfInput,
    /// The user interrupted the program.
    Interrupted,
}

/// Result of a conversation.
struct TalkResult {
    result: Result<Ending, Failure>,
    /// Not set for a connection that closes before a line is exchanged, such as one of a port scanner.
    is_conversation: bool,
}

/// Runs a conversation until one side sends a closing word. If the user sent it, waits at most `timeout` until the other
/// side has read it.
fn talk(
    mut conversation: Conversation,
    closing: &ClosingWords,
    timeout: Option<Duration>,
    keyboard: &Keyboard,
    output: &mut Output,
) -> TalkResult {
    let peer = conversation.peer();
    keyboard.set_waker(conversation.waker());
    if let Err(e) = connected(output, peer) {
        return TalkResult { result: Err(e), is_conversation: true };
    }
    if keyboard.is_terminal() {
        let words = closing.words().collect::<Vec<_>>().join(" or ");
        say(format_args!("connected to {peer}; {words} or Ctrl-D ends the conversation"));
    }
    let mut talker = Talker {
        keyboard,
        output,
        peer,
        closing,
        unanswered: Vec::new(),
        last_received: None,
        unsent: None,
        ending: Ending::Bye,
        is_conversation: true,
    };
    let mut result = talker.talk(&mut conversation);
    let Talker { ending, mut is_conversation, unanswered, unsent, last_received, .. } = talker;
    let is_ours = last_received.as_deref().is_none_or(|text| closing.find(text).is_none());
    if result.is_ok()
        && is_ours
        && ending != Ending::Interrupted
        && let Some(timeout) = timeout
    {
        let delivery = conversation.finish(timeout);
        if matches!(delivery, Delivery::Unread(StreamEnd::Closed | StreamEnd::Reset))
            && let Some(failure) = delivery.failure("the other side", "the last line")
        {
            result = Err(Failure::Peer(failure));
            is_conversation = last_received.is_some() || unanswered.len() > UNANSWERED_MAX;
        }
    } else {
        // Also after a failure: the last line that was sent must still arrive.
        conversation.close();
    }
    if !is_conversation && !keyboard.is_terminal() {
        // These lines of the script are for the next client.
        unanswered.into_iter().chain(unsent).rev().for_each(|line| keyboard.put_back(line));
    }
    let left = keyboard.lines_left();
    if left > 0 && keyboard.is_terminal() {
        let (s, were) = if left == 1 { ("", "was") } else { ("s", "were") };
        say(format_args!("{left} line{s} typed ahead {were} not sent"));
    }
    TalkResult { result: result.map(|()| ending), is_conversation }
}

/// Words that end a conversation in published programs.
const COMMON_CLOSING_WORDS: [&str; 12] = [
    "quit", "exit", "q", "end", "stop", "close", "done", "leave", "goodbye", "/quit", "/exit", ":q",
];

/// Number of sent lines that are kept until the first line is received. A peer that accepts more is not a port scanner.
const UNANSWERED_MAX: usize = 64;

struct Talker<'t> {
    keyboard: &'t Keyboard,
    output: &'t mut Output,
    peer: SocketAddr,
    closing: &'t ClosingWords,
    /// Lines that were sent before any line was received.
    unanswered: Vec<Vec<u8>>,
    last_received: Option<Vec<u8>>,
    /// A line for which the output buffer had no space yet.
    unsent: Option<Vec<u8>>,
    ending: Ending,
    is_conversation: bool,
}

/// Prompt or status that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    You,
    Waiting,
    /// Waiting, and a closing word will be sent next.
    Closing,
}

impl Talker<'_> {
    fn talk(&mut self, conversation: &mut Conversation) -> Result<(), Failure> {
        let mut prompt = Prompt::None;
        loop {
            match conversation.try_next().map_err(|e| self.failed(e))? {
                Some(Some(Event::Line(text))) => {
                    self.show(&text)?;
                    prompt = Prompt::None;
                    continue;
                }
                Some(Some(Event::Bye(text))) => {
                    self.show(&text)?;
                    continue;
                }
                Some(None) => return Ok(()),
                Some(Some(Event::YourTurn)) | None => {}
            }
            if !conversation.may_speak() {
                // The end of the input becomes a closing word, which is sent in the user's turn.
                let new = match self.keyboard.urgent() {
                    Some(Typed::Interrupted) => return Err(Failure::INTERRUPTED),
                    Some(_) => Prompt::Closing,
                    None => Prompt::Waiting,
                };
                if prompt != new {
                    match new {
                        Prompt::Closing => {
                            let word = self.closing_word();
                            self.keyboard.wait(&format!("{word} will be sent in your turn"));
                        }
                        _ => self.keyboard.wait("waiting for the other side"),
                    }
                    prompt = new;
                }
                conversation.wait()?;
                continue;
            }
            if prompt != Prompt::You {
                self.keyboard.ask("you: ");
                prompt = Prompt::You;
            }
            if self.send_next(conversation)? {
                prompt = Prompt::None;
            } else {
                conversation.wait()?;
            }
        }
    }

    /// Returns the word that is sent at the end of the input.
    fn closing_word(&self) -> &str {
        self.closing.words().next().unwrap_or_default()
    }

    /// Returns the failure of the conversation, and sets `is_conversation`.
    fn failed(&mut self, e: chat::Error) -> Failure {
        let is_close = matches!(
            &e,
            net::Error::Protocol(ChatError::Left(StreamEnd::Closed | StreamEnd::Reset), quote) if quote.is_empty()
        );
        let Some(last) = &self.last_received else {
            self.is_conversation = !is_close || self.unanswered.len() > UNANSWERED_MAX;
            return e.into();
        };
        let last = last.trim_ascii();
        let is_last = |word: &&&str| last.eq_ignore_ascii_case(word.as_bytes());
        let word = COMMON_CLOSING_WORDS.iter().find(is_last);
        match (Failure::from(e), word) {
            (Failure::Peer(text), Some(word)) if is_close => Failure::Peer(format!(
                "{text}; its last line was \"{word}\": use --bye {word} to make it the closing word"
            )),
            (e, _) => e,
        }
    }

    /// Sends the next typed line. Returns `false` if there is none, or no space for it.
    fn send_next(&mut self, conversation: &mut Conversation) -> Result<bool, Failure> {
        let line = match self.unsent.take() {
            Some(line) => line,
            None => match self.keyboard.next().map_err(|e| Failure::stdin(&e))? {
                None => return Ok(false),
                Some(Typed::Line(line)) => line,
                Some(typed @ (Typed::End | Typed::Interrupted)) => {
                    self.ending = match typed {
                        Typed::Interrupted => Ending::Interrupted,
                        _ => Ending::EndOfInput,
                    };
                    self.closing_word().into()
                }
            },
        };
        match conversation.try_say(&line) {
            Ok(true) => {}
            Ok(false) => {
                self.unsent = Some(line);
                // The peer may never read, so an interrupt must not wait for this line.
                return match self.keyboard.urgent() {
                    Some(Typed::Interrupted) => Err(Failure::INTERRUPTED),
                    _ => Ok(false),
                };
            }
            Err(net::Error::Refused(CommandError::Invalid(_))) => {
                let text = "a line of standard input ends with a carriage return, which the other \
                            side would remove; remove it";
                return Err(Failure::Usage(text.into()));
            }
            Err(e) => return Err(self.failed(e)),
        }
        let word = self.closing.find(&line);
        let peer = self.peer;
        emit(self.output, || spoken("said", &line, word.is_some()))?;
        if let Some(word) = word.filter(|_| self.keyboard.is_terminal()) {
            say(format_args!("you said {word} to {peer}"));
        }
        if self.last_received.is_none() && self.unanswered.len() <= UNANSWERED_MAX {
            self.unanswered.push(line);
        }
        Ok(true)
    }

    /// Shows a line from the other side.
    fn show(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.last_received = Some(text.to_vec());
        self.unanswered.clear();
        let word = self.closing.find(text);
        emit(self.output, || spoken("heard", text, word.is_some()))?;
        self.output.line(text).map_err(Failure::stdout)?;
        if let Some(word) = word.filter(|_| self.keyboard.is_terminal()) {
            say(format_args!("{} said {word}", self.peer));
        }
        Ok(())
    }
}

fn spoken(name: &str, text: &[u8], is_bye: bool) -> Value {
    let mut event = text_event(name, text);
    event["bye"] = is_bye.into();
    event
}
