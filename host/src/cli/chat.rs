//! `socklab chat`.

use std::net::SocketAddr;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::chat::{ClientBytes, ServerBytes};
use socklab_core::machine::Refused;

use super::common::{Address, Common, Failure, Listen, Run, keyboard};
use super::events::{connected, emit, text_event};
use crate::chat::{Chat, Conversation, Heard, Service, says_bye};
use crate::net::{self, DEFAULT_BUFFER, Listener};
use crate::ui::{Keyboard, Output, Typed, say};

const PORT: u16 = 12345;

/// What is said for a person who has nothing more to say.
const BYE: &[u8] = b"BYE";

/// Chat with the person at the server, who writes first
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address,
    #[command(flatten)]
    manner: Manner,
}

/// Chat with one client at a time; you write first
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Where to listen; 0 takes a free port
    #[arg(value_name = "[BIND:]PORT", default_value = "12345")]
    listen: Listen,
    /// After a conversation, wait for the next client
    #[arg(long)]
    forever: bool,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Clone, Copy, Debug, Args)]
struct Manner {
    /// Let both sides write at any time instead of in turns; both need this option
    #[arg(long)]
    duplex: bool,
    /// Write what the other side says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { address, manner } = self;
        let service = || Service::new(manner.duplex);
        common.dial(&address, PORT, "chat", service, |target| {
            let mut output = common.output(manner.raw);
            let machine = if manner.duplex { Chat::duplex() } else { Chat::client() };
            let client = common
                .connect::<ServerBytes, ClientBytes, _>(target, machine, DEFAULT_BUFFER)?
                .patient(common.patience());
            talk(client.into(), &keyboard()?, &mut output).map(|_| ())
        })
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, forever, manner } = self;
        // Before the address is printed: whoever reads it may send a signal at once.
        let keyboard = keyboard()?;
        let mut output = common.output(manner.raw);
        let mut listener = Listener::bind(listen.addrs())?;
        let addr = listener.local_addr();
        say(format_args!("listening on {addr}"));
        emit(&mut output, || json!({ "event": "listening", "address": addr.to_string() }))?;
        loop {
            let Some(accepted) = accept(&mut listener, &keyboard)? else { return Ok(()) };
            let peer = accepted.peer();
            let machine = if manner.duplex { Chat::duplex() } else { Chat::server() };
            let client = common.accepted::<ClientBytes, ServerBytes, _>(accepted, machine)?;
            match talk(client.into(), &keyboard, &mut output) {
                Ok(Ending::Bye) if forever => {}
                // A server that is stopped has done what it was asked.
                Ok(_) | Err(Failure::Interrupted) => return Ok(()),
                Err(Failure::Peer(text)) if forever => {
                    say(format_args!("{peer}: {text}"));
                    let failed = || json!({ "event": "failed", "message": text });
                    emit(&mut output, failed)?;
                }
                Err(e) => return Err(e),
            }
            // What was typed for one is not for the next.
            keyboard.forget();
        }
    }
}

/// Waits for a client; `None` when the person does not want to.
pub(super) fn accept(
    listener: &mut Listener,
    keyboard: &Keyboard,
) -> Result<Option<net::Accepted>, Failure> {
    keyboard.wake(listener.waker());
    keyboard.wait("waiting for a client");
    loop {
        match keyboard.pressed() {
            Some(Typed::Interrupted) => return Ok(None),
            // A file that ends has something to say until then, if only BYE.
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
    /// Somebody said BYE.
    Bye,
    /// The person did, by Ctrl-C or Ctrl-D, and wants no other talk.
    Enough,
}

/// Talks until somebody says BYE.
fn talk(
    mut conversation: Conversation,
    keyboard: &Keyboard,
    output: &mut Output,
) -> Result<Ending, Failure> {
    let peer = conversation.peer();
    keyboard.wake(conversation.waker());
    connected(output, peer)?;
    if keyboard.is_terminal() {
        say(format_args!("connected to {peer}; the word BYE or Ctrl-D ends the conversation"));
    }
    let mut talker = Talker { keyboard, output, peer, unsent: None, ending: Ending::Bye };
    let result = talker.talk(&mut conversation);
    let ending = talker.ending;
    // Also when it failed: what was said last is still to arrive.
    conversation.close();
    let left = keyboard.left();
    if left > 0 && keyboard.is_terminal() {
        let (s, were) = if left == 1 { ("", "was") } else { ("s", "were") };
        say(format_args!("{left} line{s} typed ahead {were} not sent"));
    }
    result.map(|()| ending)
}

struct Talker<'t> {
    keyboard: &'t Keyboard,
    output: &'t mut Output,
    peer: SocketAddr,
    /// A line that has no room yet.
    unsent: Option<Vec<u8>>,
    ending: Ending,
}

/// What stands in front of the line that is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    You,
    Waiting,
    /// Waiting, and it is known that a BYE comes next.
    Leaving,
}

impl Talker<'_> {
    fn talk(&mut self, conversation: &mut Conversation) -> Result<(), Failure> {
        let mut prompt = Prompt::None;
        loop {
            match conversation.try_next()? {
                Some(Some(Heard::Line(text))) => {
                    self.show(&text, false)?;
                    prompt = Prompt::None;
                    continue;
                }
                Some(Some(Heard::Bye(text))) => {
                    self.show(&text, true)?;
                    continue;
                }
                Some(None) => return Ok(()),
                Some(Some(Heard::YourTurn)) | None => {}
            }
            if !conversation.may_speak() {
                // An end is told in its turn: it is a BYE.
                let now = match self.keyboard.pressed() {
                    Some(Typed::Interrupted) => return Err(Failure::Interrupted),
                    Some(_) => Prompt::Leaving,
                    None => Prompt::Waiting,
                };
                if prompt != now {
                    self.keyboard.wait(match now {
                        Prompt::Leaving => "BYE will be sent in your turn",
                        _ => "waiting for the other side",
                    });
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

    /// Says the next thing that was typed, if there is one and room for it.
    fn speak(&mut self, conversation: &mut Conversation) -> Result<bool, Failure> {
        let line = match self.unsent.take() {
            Some(line) => line,
            None => match self.keyboard.next().map_err(|e| Failure::stdin(&e))? {
                None => return Ok(false),
                Some(Typed::Line(line)) => line,
                Some(Typed::End | Typed::Interrupted) => {
                    self.ending = Ending::Enough;
                    BYE.to_vec()
                }
            },
        };
        match conversation.try_say(&line) {
            Ok(true) => {}
            Ok(false) => {
                self.unsent = Some(line);
                // What waits before it may wait for ever.
                return match self.keyboard.pressed() {
                    Some(Typed::Interrupted) => Err(Failure::Interrupted),
                    _ => Ok(false),
                };
            }
            Err(net::Error::Refused(Refused::Invalid)) => {
                let text = "a line of standard input ends with a carriage return, which the other \
                            side would not see; leave it out";
                return Err(Failure::Usage(text.into()));
            }
            Err(e) => return Err(e.into()),
        }
        let is_bye = says_bye(&line);
        let peer = self.peer;
        emit(self.output, || spoken("said", &line, is_bye))?;
        if is_bye && self.keyboard.is_terminal() {
            say(format_args!("you said BYE to {peer}"));
        }
        Ok(true)
    }

    /// Shows what the other side said.
    fn show(&mut self, text: &[u8], is_bye: bool) -> Result<(), Failure> {
        emit(self.output, || spoken("heard", text, is_bye))?;
        self.output.line(text).map_err(Failure::stdout)?;
        if is_bye && self.keyboard.is_terminal() {
            say(format_args!("{} said BYE", self.peer));
        }
        Ok(())
    }
}

fn spoken(name: &str, text: &[u8], is_bye: bool) -> Value {
    let mut event = text_event(name, text);
    event["bye"] = is_bye.into();
    event
}
