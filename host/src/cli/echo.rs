//! `socklab echo`.

mod source;

use std::io;
use std::os::unix::fs::FileExt as _;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::driver::Next;
use socklab_core::echo::Messages;
use socklab_core::echo::client::{self, Client, Command, Event, Piece};
use socklab_core::wire::length_max;

use self::source::{Fault, Have, Message, Source};
use super::common::{Common, Failure, Host, Listen, MaxClients, Run, host, port_help};
use super::events::{connected, emit, outcome, session};
use crate::echo::{BUFFER, Checker, FileMessage, Report, Service, Wrong, advice};
use crate::net::{self, Target, reason};
use crate::ui::{Output, put_text, say};

const PORT: u16 = 4567;

/// A message that fits the smallest output buffer goes as one command, many of them in one write.
const SHORT: usize = 4096;

/// Number of bytes that are read at a time of a longer one that stands in a file.
const CHUNK: u32 = 1 << 16;

/// Number of bytes after which a reply in JSON is cut: it has to be held in memory, a plain one does not.
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
    /// Size of a length on the wire in bytes
    #[arg(long, value_name = "2|4", default_value = "4", value_parser = header)]
    header: u8,
    /// Largest number of messages without a reply; 1 waits for each reply [default: as many as
    /// 64 MiB of memory can verify; no limit with --no-verify]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Accept every reply, also one that is not its message without the first ten characters
    #[arg(long)]
    no_verify: bool,
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
    /// Size of a length on the wire in bytes
    #[arg(long, value_name = "2|4", default_value = "4", value_parser = header)]
    header: u8,
    #[command(flatten)]
    clients: MaxClients,
}

fn header(text: &str) -> Result<u8, String> {
    match text {
        "2" => Ok(2),
        "4" => Ok(4),
        _ => Err("expected 2 or 4 bytes".into()),
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        match self.header {
            2 => self.serve::<2>(common),
            _ => self.serve::<4>(common),
        }
    }
}

impl ServerArgs {
    fn serve<const HEADER: usize>(self, common: &Common) -> Result<(), Failure> {
        let service = Service::<HEADER>::with_header();
        common.serve::<Messages<HEADER>, Messages<HEADER>, _>(
            self.listen.addrs()?,
            common.limits(&self.clients),
            service,
            report_json,
        )
    }
}

/// What is reported of a connection.
fn report_json<const HEADER: usize>(report: &Report<HEADER>) -> Value {
    let details = json!({ "messages": report.messages, "bytes": report.bytes });
    let outcome = match report.failure() {
        Some(failure) => ("failed", Some(failure)),
        None => outcome(&report.ended, "closed"),
    };
    session(report.peer, details, outcome)
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
                    "invalid value '{text}' for '[PORT]': expected a number from 1 to 65535; see --help"
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
        match self.header {
            2 => self.exchange::<2>(target, messages, common),
            _ => self.exchange::<4>(target, messages, common),
        }
    }
}

/// Of a message that is too long for its length's size.
fn limit<const HEADER: usize>() -> String {
    let most = length_max::<HEADER>();
    format!("more than the {most} bytes that a {HEADER}-byte length can say")
}

impl ClientArgs {
    fn exchange<const HEADER: usize>(
        self,
        target: Option<Target>,
        messages: Vec<String>,
        common: &Common,
    ) -> Result<(), Failure> {
        // Before anything is sent.
        let most = length_max::<HEADER>();
        let is_long = |text: &String| u32::try_from(text.len()).map_or(true, |n| n > most);
        if let Some(at) = messages.iter().position(is_long) {
            let limit = limit::<HEADER>();
            let length = messages[at].len();
            return Err(Failure::Usage(format!("message {} has {length} bytes, {limit}", at + 1)));
        }
        let service = Service::<HEADER>::with_header;
        common.dial_target(target, "echo", service, |target| {
            let mut output = common.output(self.raw);
            let machine = Client::<HEADER>::with_header();
            let client = common.connect::<Messages<HEADER>, Messages<HEADER>, _>(
                target,
                machine,
                self.buffer as usize,
            )?;
            connected(&mut output, client.peer())?;
            let source = if messages.is_empty() {
                if io::IsTerminal::is_terminal(&io::stdin()) {
                    say("each line you type is a message; Ctrl-D ends");
                }
                Source::stdin(client.waker(), most).map_err(|e| Failure::stdin(&e))?
            } else {
                Source::Arguments(messages.into_iter())
            };
            Exchange {
                client,
                source,
                outgoing: Outgoing::Nothing,
                most: self.in_flight.unwrap_or(u32::MAX),
                checker: (!self.no_verify).then(|| Checker::new(HEADER)),
                replies: Replies { output, held: Vec::new(), length: 0 },
                failure: None,
            }
            .run()
        })
    }
}

/// Messages out, replies in.
struct Exchange<const HEADER: usize> {
    client: net::Client<Client<HEADER>>,
    source: Source,
    outgoing: Outgoing,
    /// Largest number of messages in flight.
    most: u32,
    checker: Option<Checker>,
    replies: Replies,
    /// Why there are no more messages, if that is a failure: replies to those sent are awaited first.
    failure: Option<Failure>,
}

/// What is on its way to the server.
enum Outgoing {
    /// Nothing: the source may be asked.
    Nothing,
    /// A message that had no room yet.
    Message(Message),
    /// A message that is longer than the buffer, and how much of it has left.
    Long(Vec<u8>, usize),
    /// The same for one that stands in a file.
    File(FromFile),
    /// The source has ended.
    Finished,
}

/// A message that is read from its file while it is sent.
struct FromFile {
    message: FileMessage,
    /// Number of bytes of it that have been read.
    read: u32,
    /// What has been read and not sent.
    chunk: Vec<u8>,
    sent: usize,
}

impl FromFile {
    /// What comes next of it; nothing when all of it has left.
    fn next(&mut self) -> Result<&[u8], Failure> {
        let FileMessage { file, offset, length, .. } = &self.message;
        if self.sent == self.chunk.len() && self.read < *length {
            let count = CHUNK.min(length - self.read);
            self.chunk.resize(count as usize, 0);
            file.read_exact_at(&mut self.chunk, offset + u64::from(self.read)).map_err(changed)?;
            self.read += count;
            self.sent = 0;
        }
        Ok(&self.chunk[self.sent..])
    }
}

/// A line could not be read a second time.
fn changed(e: io::Error) -> Failure {
    Failure::System(match e.kind() {
        io::ErrorKind::UnexpectedEof => "standard input became shorter while it was read".into(),
        _ => format!("cannot read a long line again: {}", reason(&e)),
    })
}

impl<const HEADER: usize> Exchange<HEADER> {
    /// Sends what there is to send and shows what comes, whichever is possible, until both are done.
    fn run(mut self) -> Result<(), Failure> {
        loop {
            let sent = self.send()?;
            let Self { client, checker, replies, .. } = &mut self;
            match client.try_next() {
                Ok(Some(Next::Event(Event::Reply(piece)))) => {
                    replies.show(piece).map_err(Failure::stdout)?;
                    if let Some(checker) = checker {
                        checker.check(piece).map_err(|e| replies.wrong(e))?;
                    }
                }
                Ok(Some(Next::Close | Next::Abort)) => return self.finish(),
                Ok(Some(Next::Command | Next::Boundary)) => {}
                Ok(None) if sent => {}
                Ok(None) => {
                    // While no reply is due it is our turn, and a person may take his time.
                    let our_turn = client.machine().in_flight() == 0 && !client.is_sending();
                    let wake = if our_turn { client.wait_without_timeout() } else { client.wait() };
                    wake?;
                }
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    /// All replies have come.
    fn finish(self) -> Result<(), Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.checker.is_none() {
            return Ok(());
        }
        let net::Surplus { bytes, start } = self.client.close();
        match bytes {
            0 => Ok(()),
            1 => {
                Err(Failure::Peer(format!("the server sent a byte behind the last reply: {start}")))
            }
            n => Err(Failure::Peer(format!(
                "the server sent {n} bytes behind the last reply: {start}"
            ))),
        }
    }

    /// Whether no more messages may be sent because no more can be verified.
    fn is_full(&self) -> bool {
        self.checker.as_ref().is_some_and(Checker::is_full)
    }

    /// The client's error, with what the program knows of it.
    fn failed(&self, e: net::Error<client::Error<HEADER>>) -> Failure {
        let refusable = self.checker.as_ref().and_then(Checker::refusable);
        let full = self.is_full().then(|| self.client.machine().in_flight());
        match e {
            net::Error::Protocol(error, quote) => {
                net::Error::Protocol(Shown { error, refusable, full: None }, quote).into()
            }
            net::Error::TimedOut(error, time, quote) => {
                net::Error::TimedOut(Shown { error, refusable, full }, time, quote).into()
            }
            e => e.into(),
        }
    }

    /// Sends as much as there is room for. Whether that was anything.
    fn send(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        while self.advance()? {
            moved = true;
        }
        Ok(moved)
    }

    /// Does the next thing there is to send, if there is room. Whether it did.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.outgoing = match std::mem::replace(&mut self.outgoing, Outgoing::Nothing) {
            Outgoing::Nothing => match self.take() {
                Have::Message(message) => Outgoing::Message(message),
                Have::Nothing => return Ok(false),
                Have::End => {
                    self.client.command(Command::Finish).map_err(|e| self.failed(e))?;
                    Outgoing::Finished
                }
            },
            Outgoing::Message(message) => {
                let command = match &message {
                    Message::Held(bytes) if bytes.len() + HEADER <= SHORT => Command::Send(bytes),
                    // None is longer than its length can say.
                    Message::Held(bytes) => Command::Begin(u32::try_from(bytes.len()).unwrap_or(0)),
                    Message::File(message) => Command::Begin(message.length),
                };
                let is_whole = matches!(command, Command::Send(_));
                if !self.client.try_command(command).map_err(|e| self.failed(e))? {
                    self.outgoing = Outgoing::Message(message);
                    return Ok(false);
                }
                if let Some(checker) = &mut self.checker {
                    match &message {
                        Message::Held(bytes) => checker.record_sent(bytes),
                        Message::File(message) => checker.record_sent_file(message),
                    }
                }
                match message {
                    Message::Held(_) if is_whole => Outgoing::Nothing,
                    Message::Held(bytes) => Outgoing::Long(bytes, 0),
                    Message::File(message) => {
                        Outgoing::File(FromFile { message, read: 0, chunk: Vec::new(), sent: 0 })
                    }
                }
            }
            Outgoing::Long(bytes, sent) => {
                let n = self.client.write_payload(&bytes[sent..]).map_err(|e| self.failed(e))?;
                if sent + n < bytes.len() {
                    self.outgoing = Outgoing::Long(bytes, sent + n);
                    return Ok(n > 0);
                }
                Outgoing::Nothing
            }
            Outgoing::File(mut from) => {
                let bytes = from.next()?;
                if bytes.is_empty() {
                    self.source.sent();
                } else {
                    let n = self.client.write_payload(bytes).map_err(|e| self.failed(e))?;
                    from.sent += n;
                    self.outgoing = Outgoing::File(from);
                    return Ok(n > 0);
                }
                Outgoing::Nothing
            }
            Outgoing::Finished => {
                self.outgoing = Outgoing::Finished;
                return Ok(false);
            }
        };
        Ok(true)
    }

    /// The next message, if one may be sent.
    fn take(&mut self) -> Have {
        if self.is_full() || self.client.machine().in_flight() >= self.most {
            return Have::Nothing;
        }
        self.source.take().unwrap_or_else(|fault| {
            self.failure = Some(match fault {
                Fault::TooLong(n) => {
                    let limit = limit::<HEADER>();
                    Failure::Usage(format!("line {n} of standard input has {limit}"))
                }
                Fault::Read(e) => Failure::stdin(&e),
                Fault::Spool(e) => Failure::System(format!(
                    "cannot write a long line to a temporary file: {}; TMPDIR names the folder",
                    reason(&e)
                )),
            });
            Have::End
        })
    }
}

/// An error of the machine for a person at the command line.
struct Shown<const HEADER: usize> {
    error: client::Error<HEADER>,
    /// The message that a server has to refuse.
    refusable: Option<u64>,
    /// The number of messages in flight, if no more could be verified.
    full: Option<u32>,
}

impl<const HEADER: usize> std::fmt::Display for Shown<HEADER> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.error, advice(self.error.other_length()))?;
        if let Some(n) = self.refusable {
            write!(
                f,
                "; the first ten characters of message {n} are not UTF-8, which it has to refuse"
            )?;
        }
        self.full.map_or(Ok(()), |n| {
            write!(f, "; no more than these {n} messages can be verified, see --no-verify")
        })
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
        let mut held = self.held.as_slice();
        let is_cut = self.length > held.len() as u64;
        // A character that was cut here is not a fault of the server's.
        if is_cut
            && let Err(e) = std::str::from_utf8(held)
            && e.error_len().is_none()
        {
            held = &held[..e.valid_up_to()];
        }
        let mut event = json!({ "event": "reply", "bytes": self.length });
        put_text(&mut event, "reply", held);
        if is_cut {
            event["truncated"] = true.into();
        }
        self.held.clear();
        self.length = 0;
        self.output.event(&event)
    }

    /// A reply is not what it should be.
    fn wrong(&mut self, wrong: Wrong) -> Failure {
        if let Wrong::Reply(difference) = &wrong {
            let emitted = emit(&mut self.output, || {
                let mut event = json!({
                    "event": "wrong", "reply": difference.number, "at": difference.at,
                    "exact": difference.is_exact, "bytes": difference.length,
                    "expected_bytes": difference.expected_length,
                });
                // Each may have its own hex.
                for (key, excerpt) in [("got", &difference.got), ("expected", &difference.expected)]
                {
                    let mut text = json!({});
                    put_text(&mut text, "text", excerpt.bytes());
                    event[key] = text;
                }
                if let Some(mistake) = difference.mistake {
                    event["mistake"] = mistake.to_string().into();
                }
                event
            });
            if let Err(failure) = emitted {
                return failure;
            }
        }
        match wrong {
            Wrong::Unreadable(e) => changed(e),
            wrong => Failure::Peer(wrong.to_string()),
        }
    }
}
