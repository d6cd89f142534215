//! `socklab echo`.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};

use clap::Args;
use serde_json::{Value, json};
use socklab_core::driver::Next;
use socklab_core::echo::Messages;
use socklab_core::echo::client::{Client, Command, Event, Piece};

use super::common::{Common, Failure, Host, Listen, Run, host, port_help};
use super::events::{connected, outcome, session};
use crate::echo::{BUFFER, Report, Service};
use crate::net::{self, Target};
use crate::ui::streams::check_stdin;
use crate::ui::{Output, put_text, say};

const PORT: u16 = 4567;

/// So many messages from stdin wait to be sent.
const WAITING: usize = 64;

/// A message that fits the smallest output buffer goes as one command, many of them in one write.
const SHORT: usize = 4096;
const HEADER: usize = socklab_core::wire::LENGTH_BYTES;

/// A reply in JSON is cut after so many bytes: it has to be held in memory, and a plain one not.
const JSON_MAX: usize = 1 << 16;

/// Send messages, print their replies in order, one a line
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The server's name or IP address [default: a built-in server]
    #[arg(value_name = "HOST[:PORT]", value_parser = host)]
    host: Option<Host>,
    // It is the first message when the host has the port.
    #[arg(help = port_help::<PORT>())]
    port: Option<String>,
    /// The messages [default: each line of stdin is one]
    messages: Vec<String>,
    /// How many bytes to read at a time
    #[arg(long, value_name = "BYTES", default_value_t = BUFFER as u32,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    buffer: u32,
    /// Write replies to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Send every message back without its first ten characters
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        common.serve::<Messages, Messages, _>(self.listen.addrs()?, common.limits(), Service, told)
    }
}

/// What is told of a connection.
fn told(report: &Report) -> Value {
    let details = json!({ "messages": report.messages, "bytes": report.bytes });
    session(report.peer, details, outcome(&report.ended, "closed"))
}

type Incoming = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Where the messages come from.
enum Source {
    Arguments(std::vec::IntoIter<String>),
    Stdin(Incoming),
}

/// What a source has now.
enum Have {
    Message(Vec<u8>),
    /// Nothing yet; the client's waker will tell.
    Nothing,
    /// It is at its end.
    End,
}

impl Source {
    fn take(&mut self) -> io::Result<Have> {
        match self {
            Self::Arguments(messages) => {
                Ok(messages.next().map_or(Have::End, |text| Have::Message(text.into_bytes())))
            }
            Self::Stdin(lines) => match lines.try_recv() {
                Ok(line) => line.map(Have::Message),
                Err(TryRecvError::Empty) => Ok(Have::Nothing),
                Err(TryRecvError::Disconnected) => Ok(Have::End),
            },
        }
    }
}

/// Reads stdin in a thread: readiness of a terminal, a pipe and a file are three different things
/// to a system, blocking reads are one.
fn read_stdin(waker: Arc<mio::Waker>) -> io::Result<Incoming> {
    check_stdin()?;
    let (lines, incoming) = mpsc::sync_channel(WAITING);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin.read_until(b'\n', &mut line);
            if let Ok(0) = read {
                break;
            }
            if line.pop_if(|last| *last == b'\n').is_some() {
                line.pop_if(|last| *last == b'\r');
            }
            let failed = read.is_err();
            if lines.send(read.map(|_| line)).is_err() || failed {
                break;
            }
            let _ = waker.wake();
        }
        // Disconnected first, so that whoever wakes sees the end.
        drop(lines);
        let _ = waker.wake();
    })?;
    Ok(incoming)
}

impl ClientArgs {
    /// Where to connect, and the messages.
    fn target(&self) -> Result<(Option<Target>, Vec<String>), Failure> {
        let mut messages = self.messages.clone();
        let Some(host) = &self.host else { return Ok((None, messages)) };
        let port = match &self.port {
            Some(message) if host.port.is_some() => {
                messages.insert(0, message.clone());
                None
            }
            Some(text) => Some(text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Failure::Usage(format!(
                    "invalid value '{text}' for '[PORT]': {text} is not in 1..=65535; see --help"
                ))
            })?),
            None => None,
        };
        Ok((Some(host.target(port, PORT)?), messages))
    }
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let (target, messages) = self.target()?;
        let Self { buffer, raw, .. } = self;
        let service = || Service;
        common.dial_target(target, "echo", service, |target| {
            let mut output = common.output(raw);
            let mut client =
                common.connect::<Messages, Messages, _>(target, Client::new(), buffer as usize)?;
            connected(&mut output, client.peer())?;
            let mut replies = Replies { output, held: Vec::new(), length: 0 };
            let mut source = if messages.is_empty() {
                if io::IsTerminal::is_terminal(&io::stdin()) {
                    say("each line you type is a message; Ctrl-D ends");
                }
                Source::Stdin(read_stdin(client.waker()).map_err(|e| Failure::stdin(&e))?)
            } else {
                Source::Arguments(messages.into_iter())
            };
            exchange(&mut client, &mut source, &mut replies)
        })
    }
}

/// Sends what there is to send and shows what comes, whichever is possible, until both are done.
fn exchange(
    client: &mut net::Client<Client>,
    source: &mut Source,
    replies: &mut Replies,
) -> Result<(), Failure> {
    let mut outgoing = Outgoing::Nothing;
    loop {
        let sent = outgoing.advance(client, source)?;
        match client.try_next()? {
            Some(Next::Event(Event::Reply(piece))) => {
                replies.show(piece).map_err(Failure::stdout)?;
            }
            Some(Next::Done | Next::Abort) => return Ok(()),
            Some(Next::Command | Next::Boundary) => {}
            None if sent => {}
            None => {
                // While no reply is due it is our turn, and a person may take his time.
                let our_turn = client.machine().in_flight() == 0 && !client.is_sending();
                let wake = if our_turn { client.wait_for_us() } else { client.wait() };
                wake?;
            }
        }
    }
}

/// What is on its way to the server.
enum Outgoing {
    /// Nothing: the source may be asked.
    Nothing,
    /// A message that had no room yet.
    Message(Vec<u8>),
    /// A message that is longer than the buffer, and how much of it has left.
    Long(Vec<u8>, usize),
    /// The source has ended.
    Finished,
}

impl Outgoing {
    /// Sends as much as there is room for. Whether that was anything.
    fn advance(
        &mut self,
        client: &mut net::Client<Client>,
        source: &mut Source,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            *self = match std::mem::replace(self, Self::Nothing) {
                Self::Nothing => match source.take().map_err(|e| Failure::stdin(&e))? {
                    Have::Message(message) => Self::Message(message),
                    Have::Nothing => return Ok(moved),
                    Have::End => {
                        client.command(Command::Finish)?;
                        Self::Finished
                    }
                },
                Self::Message(message) if message.len() + HEADER <= SHORT => {
                    if !client.try_command(Command::Send(&message))? {
                        *self = Self::Message(message);
                        return Ok(moved);
                    }
                    Self::Nothing
                }
                Self::Message(message) => {
                    let length = u32::try_from(message.len()).map_err(|_| {
                        Failure::Usage("a message is longer than 4294967295 bytes".into())
                    })?;
                    if !client.try_command(Command::Begin(length))? {
                        *self = Self::Message(message);
                        return Ok(moved);
                    }
                    Self::Long(message, 0)
                }
                Self::Long(message, paid) => {
                    let n = client.pay(&message[paid..])?;
                    match (n, paid + n == message.len()) {
                        (_, true) => Self::Nothing,
                        (0, false) => {
                            *self = Self::Long(message, paid);
                            return Ok(moved);
                        }
                        (n, false) => Self::Long(message, paid + n),
                    }
                }
                Self::Finished => {
                    *self = Self::Finished;
                    return Ok(moved);
                }
            };
            moved = true;
        }
    }
}

/// Replies on stdout, one a line.
struct Replies {
    output: Output,
    held: Vec<u8>,
    length: u64,
}

impl Replies {
    fn show(&mut self, piece: Piece<'_>) -> io::Result<()> {
        if !self.output.is_json() {
            self.output.piece(piece.bytes)?;
            return if piece.is_last() { self.output.end() } else { Ok(()) };
        }
        self.length += piece.bytes.len() as u64;
        let room = JSON_MAX.saturating_sub(self.held.len()).min(piece.bytes.len());
        self.held.extend_from_slice(&piece.bytes[..room]);
        if !piece.is_last() {
            return Ok(());
        }
        let mut event = json!({ "event": "reply", "bytes": self.length });
        put_text(&mut event, "reply", &self.held);
        if self.length > self.held.len() as u64 {
            event["truncated"] = true.into();
        }
        self.held.clear();
        self.length = 0;
        self.output.event(&event)
    }
}
