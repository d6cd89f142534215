//! `socklab chat`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::chat::{ClientBytes, ServerBytes};
use socklab_core::machine::{CommandError, StreamEnd};

use super::common::{Address, Common, Failure, Listen, Run, keyboard};
use super::events::{connected, emit, stopped, text_event};
use crate::chat::{self, Chat, ChatError, ClosingWords, Conversation, Heard, Service};
use crate::net::{self, DEFAULT_BUFFER, Delivery, Listener};
use crate::ui::{Keyboard, Output, Typed, say};

const PORT: u16 = 12345;

/// Chat with the person at the server, who writes first
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    #[command(flatten)]
    manner: Manner,
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
    manner: Manner,
}

#[derive(Clone, Debug, Args)]
struct Manner {
    /// End the conversation with this word instead of BYE; may be given more than once. Both sides need
    /// the same
    #[arg(long, value_name = "WORD")]
    bye: Vec<String>,
    /// Let both sides write at any time instead of in turns; both need this option
    #[arg(long)]
    duplex: bool,
    /// Write what the other side says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

impl Manner {
    fn closing(&self) -> Result<ClosingWords, Failure> {
        ClosingWords::new(&self.bye).map_err(|e| Failure::Usage(format!("--bye: {e}")))
    }

    /// How long the other side may take to read the last line. With turns it waits for that line; without,
    /// it may have said its own last line at the same time, and is not asked.
    fn limit(&self, common: &Common) -> Option<Duration> {
        (!self.duplex).then(|| common.person_timeout().unwrap_or(Duration::from_secs(1)))
    }
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { address, manner } = self;
        let closing = manner.closing()?;
        let service = || Service::closing(manner.duplex, closing.clone());
        common.dial(&address, "chat", service, |target| {
            let mut output = common.output(manner.raw);
            let machine = if manner.duplex { Chat::duplex() } else { Chat::client() };
            let machine = machine.closing(closing.clone());
            let client = common
                .connect::<ServerBytes, ClientBytes, _>(target, machine, DEFAULT_BUFFER)?
                .timeout(common.person_timeout());
            let keyboard = keyboard()?;
            let limit = manner.limit(common);
            match talk(client.into(), &closing, limit, &keyboard, &mut output).result? {
                Ending::Bye | Ending::Enough => Ok(()),
                Ending::Interrupted => Err(Failure::INTERRUPTED),
            }
        })
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, forever, manner } = self;
        let closing = manner.closing()?;
        // Before the address is printed: a program that reads it may send a signal at once.
        let keyboard = keyboard()?;
        let mut output = common.output(manner.raw);
        let mut listener = Listener::bind(listen.addrs()?)?;
        let addr = listener.local_addr();
        say(format_args!("listening on {addr}"));
        emit(&mut output, || json!({ "event": "listening", "address": addr.to_string() }))?;
        loop {
            let Some(accepted) = accept(&mut listener, &keyboard)? else {
                return stopped(&mut output);
            };
            let peer = accepted.peer();
            let machine = if manner.duplex { Chat::duplex() } else { Chat::server() };
            let machine = machine.closing(closing.clone());
            let client = common.accepted::<ClientBytes, ServerBytes, _>(accepted, machine)?;
            let Talked { result, counts } =
                talk(client.into(), &closing, manner.limit(common), &keyboard, &mut output);
            match result {
                Ok(Ending::Bye) if forever => {}
                // A server that is stopped has done what it was asked.
                Ok(_) | Err(Failure::Interrupted(_)) => return stopped(&mut output),
                Err(Failure::Peer(text)) if forever || !counts => {
                    say(format_args!("{peer}: {text}"));
                    let peer = peer.to_string();
                    let failed = || json!({ "event": "failed", "peer": peer, "message": text });
                    emit(&mut output, failed)?;
                }
                Err(e) => return Err(e),
            }
            // What was typed for one is not for the next.
            keyboard.discard_typed_ahead();
        }
    }
}

/// Waits for a client; `None` when the person does not want to.
pub(super) fn accept(
    listener: &mut Listener,
    keyboard: &Keyboard,
) -> Result<Option<net::Accepted>, Failure> {
    keyboard.set_waker(listener.waker());
    keyboard.wait("waiting for a client");
    loop {
        match keyboard.urgent() {
            Some(Typed::Interrupted) => return Ok(None),
            // A file that ends has something to say until then, if only a closing word.
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

/// How a talk ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A side said a closing word.
    Bye,
    /// The person did, by Ctrl-D, and wants no other talk.
    Enough,
    /// The same by Ctrl-C.
    Interrupted,
}

/// What came of a talk.
struct Talked {
    result: Result<Ending, Failure>,
    /// Whether it was one: a connection that closes before anything was said on it, a port scanner's for
    /// example, is none.
    counts: bool,
}

/// Talks until a side says a closing word. If that was ours, waits for `limit` for the other side to read
/// it.
fn talk(
    mut conversation: Conversation,
    closing: &ClosingWords,
    limit: Option<Duration>,
    keyboard: &Keyboard,
    output: &mut Output,
) -> Talked {
    let peer = conversation.peer();
    keyboard.set_waker(conversation.waker());
    if let Err(e) = connected(output, peer) {
        return Talked { result: Err(e), counts: true };
    }
    if keyboard.is_terminal() {
        let words = closing.words().collect::<Vec<_>>().join(" or ");
        say(format_args!("connected to {peer}; the word {words} or Ctrl-D ends the conversation"));
    }
    let mut talker = Talker {
        keyboard,
        output,
        peer,
        closing,
        said: Vec::new(),
        heard: None,
        unsent: None,
        ending: Ending::Bye,
        counts: true,
    };
    let mut result = talker.talk(&mut conversation);
    let Talker { ending, mut counts, said, unsent, heard, .. } = talker;
    let is_ours = heard.as_deref().is_none_or(|text| closing.find(text).is_none());
    if result.is_ok()
        && is_ours
        && ending != Ending::Interrupted
        && let Some(limit) = limit
    {
        let delivery = conversation.finish(limit);
        if matches!(delivery, Delivery::Unread(StreamEnd::Closed | StreamEnd::Reset))
            && let Some(failure) = delivery.failure("the other side", "the last line")
        {
            result = Err(Failure::Peer(failure));
            counts = heard.is_some() || said.len() > SAID;
        }
    } else {
        // Also when it failed: what was said last is still to arrive.
        conversation.close();
    }
    if !counts && !keyboard.is_terminal() {
        // No one got them.
        said.into_iter().chain(unsent).rev().for_each(|line| keyboard.put_back(line));
    }
    let left = keyboard.lines_left();
    if left > 0 && keyboard.is_terminal() {
        let (s, were) = if left == 1 { ("", "was") } else { ("s", "were") };
        say(format_args!("{left} line{s} typed ahead {were} not sent"));
    }
    Talked { result: result.map(|()| ending), counts }
}

/// Words with which published programs end a conversation.
const OFTEN: [&str; 12] = [
    "quit", "exit", "q", "end", "stop", "close", "done", "leave", "goodbye", "/quit", "/exit", ":q",
];

/// Number of lines that are kept until something is heard. One who listens to more is not a port scanner.
const SAID: usize = 64;

struct Talker<'t> {
    keyboard: &'t Keyboard,
    output: &'t mut Output,
    peer: SocketAddr,
    closing: &'t ClosingWords,
    /// What was said before anything was heard.
    said: Vec<Vec<u8>>,
    /// The last line that was heard.
    heard: Option<Vec<u8>>,
    /// A line that has no room yet.
    unsent: Option<Vec<u8>>,
    ending: Ending,
    counts: bool,
}

/// What stands in front of the line that is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    You,
    Waiting,
    /// Waiting, and it is known that a closing word comes next.
    Leaving,
}

impl Talker<'_> {
    fn talk(&mut self, conversation: &mut Conversation) -> Result<(), Failure> {
        let mut prompt = Prompt::None;
        loop {
            match conversation.try_next().map_err(|e| self.failed(e))? {
                Some(Some(Heard::Line(text))) => {
                    self.show(&text)?;
                    prompt = Prompt::None;
                    continue;
                }
                Some(Some(Heard::Bye(text))) => {
                    self.show(&text)?;
                    continue;
                }
                Some(None) => return Ok(()),
                Some(Some(Heard::YourTurn)) | None => {}
            }
            if !conversation.may_speak() {
                // An end is reported in its turn: it is a closing word.
                let now = match self.keyboard.urgent() {
                    Some(Typed::Interrupted) => return Err(Failure::INTERRUPTED),
                    Some(_) => Prompt::Leaving,
                    None => Prompt::Waiting,
                };
                if prompt != now {
                    match now {
                        Prompt::Leaving => {
                            let last = self.last();
                            self.keyboard.wait(&format!("{last} will be sent in your turn"));
                        }
                        _ => self.keyboard.wait("waiting for the other side"),
                    }
                    prompt = now;
                }
                conversation.wait()?;
                continue;
            }
            if prompt != Prompt::You {
                self.keyboard.ask("you: ");
                prompt = Prompt::You;
            }
            if self.speak(conversation)? {
                prompt = Prompt::None;
            } else {
                conversation.wait()?;
            }
        }
    }

    /// What is said for a person who has nothing more to say.
    fn last(&self) -> &str {
        self.closing.words().next().unwrap_or_default()
    }

    /// Why the talk failed, and whether it was one at all.
    fn failed(&mut self, e: chat::Error) -> Failure {
        let is_close = matches!(
            &e,
            net::Error::Protocol(ChatError::Left(StreamEnd::Closed | StreamEnd::Reset), quote) if quote.is_empty()
        );
        let Some(heard) = &self.heard else {
            self.counts = !is_close || self.said.len() > SAID;
            return e.into();
        };
        let last = heard.trim_ascii();
        let word = OFTEN.iter().find(|word| last.eq_ignore_ascii_case(word.as_bytes()));
        match (Failure::from(e), word) {
            (Failure::Peer(text), Some(word)) if is_close => Failure::Peer(format!(
                "{text}; its last line was \"{word}\": --bye {word} makes it the closing word"
            )),
            (e, _) => e,
        }
    }

    /// Says the next thing that was typed, if there is one and room for it.
    fn speak(&mut self, conversation: &mut Conversation) -> Result<bool, Failure> {
        let line = match self.unsent.take() {
            Some(line) => line,
            None => match self.keyboard.next().map_err(|e| Failure::stdin(&e))? {
                None => return Ok(false),
                Some(Typed::Line(line)) => line,
                Some(typed @ (Typed::End | Typed::Interrupted)) => {
                    self.ending = match typed {
                        Typed::Interrupted => Ending::Interrupted,
                        _ => Ending::Enough,
                    };
                    self.last().into()
                }
            },
        };
        match conversation.try_say(&line) {
            Ok(true) => {}
            Ok(false) => {
                self.unsent = Some(line);
                // What waits before it may wait for ever.
                return match self.keyboard.urgent() {
                    Some(Typed::Interrupted) => Err(Failure::INTERRUPTED),
                    _ => Ok(false),
                };
            }
            Err(net::Error::Refused(CommandError::Invalid)) => {
                let text = "a line of standard input ends with a carriage return, which the other \
                            side would not see; leave it out";
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
        if self.heard.is_none() && self.said.len() <= SAID {
            self.said.push(line);
        }
        Ok(true)
    }

    /// Shows what the other side said.
    fn show(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.heard = Some(text.to_vec());
        self.said.clear();
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
