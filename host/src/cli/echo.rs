//! `socklab echo`.

mod source;

use std::io;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::driver::Next;
use socklab_core::echo;
use socklab_core::echo::client::{self, Client, Command, Event, Piece};
use socklab_core::wire::length_max;

use self::source::{Message, Next as NextMessage, Source, SourceError};
use super::common::{Common, Failure, Listen, Messages, Run, ServerOptions};
use super::events::{connected, emit, outcome, session};
use crate::echo::{BUFFER, Checker, FileMessage, Report, Service, Wrong, advice};
use crate::net::{self, Target, reason};
use crate::sys::file::TEMP_VARIABLE;
use crate::sys::read::read_exact_at;
use crate::sys::terminal::END_KEYS;
use crate::ui::{Output, put_text, say};

const PORT: u16 = 4567;

/// Largest size of a message that is sent with one command, in bytes. It fits the smallest output buffer, so that many
/// short messages leave in one write.
const SHORT: usize = 4096;

/// Number of bytes that are read at a time from a message in a file.
const CHUNK: u32 = 1 << 16;

/// Number of bytes after which a reply is truncated in JSON. Unlike plain output, JSON needs the whole text in memory.
const JSON_MAX: usize = 1 << 16;

/// Send messages and print their replies in order, one per line
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    messages: Messages<PORT>,
    /// Size of the length field on the wire in bytes
    #[arg(long, value_name = "2|4", default_value = "4", value_parser = header)]
    header: u8,
    /// Largest number of messages without a reply; 1 waits for each reply [default: limited by 64 MiB
    /// of memory for verifying; no limit with --no-verify]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Accept every reply, even one that differs from its message without the first ten characters
    #[arg(long)]
    no_verify: bool,
    /// Number of bytes to read at a time
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
    /// Size of the length field on the wire in bytes
    #[arg(long, value_name = "2|4", default_value = "4", value_parser = header)]
    header: u8,
    #[command(flatten)]
    server: ServerOptions,
}

pub(super) fn header(text: &str) -> Result<u8, String> {
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
        common.serve::<echo::Messages<HEADER>, echo::Messages<HEADER>, _>(
            self.listen.addrs()?,
            &self.server,
            common.limits(&self.server),
            service,
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json<const HEADER: usize>(report: &Report<HEADER>) -> Value {
    let details = json!({ "messages": report.messages, "bytes": report.bytes });
    let outcome = match report.failure() {
        Some(failure) => ("failed", Some(failure)),
        None => outcome(&report.ended, "closed"),
    };
    session(report.peer, details, outcome)
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let (target, messages) = self.messages.target()?;
        match self.header {
            2 => self.exchange::<2>(target, messages, common),
            _ => self.exchange::<4>(target, messages, common),
        }
    }
}

/// Returns the end of an error message about a message that is too long for its length field.
fn limit<const HEADER: usize>() -> String {
    let max = length_max::<HEADER>();
    format!("more than the maximum of {max} bytes for a {HEADER}-byte length")
}

impl ClientArgs {
    fn exchange<const HEADER: usize>(
        self,
        target: Option<Target>,
        messages: Vec<String>,
        common: &Common,
    ) -> Result<(), Failure> {
        // Checked for all messages before the first one is sent.
        let max = length_max::<HEADER>();
        let is_long = |text: &String| u32::try_from(text.len()).map_or(true, |n| n > max);
        if let Some(at) = messages.iter().position(is_long) {
            let limit = limit::<HEADER>();
            let length = messages[at].len();
            return Err(Failure::Usage(format!("message {} has {length} bytes, {limit}", at + 1)));
        }
        let service = Service::<HEADER>::with_header;
        common.dial_target(target, "echo", service, |target| {
            let mut output = common.output(self.raw);
            let machine = Client::<HEADER>::with_header();
            let client = common.connect::<echo::Messages<HEADER>, echo::Messages<HEADER>, _>(
                target,
                machine,
                self.buffer as usize,
            )?;
            connected(&mut output, client.peer())?;
            let source = if messages.is_empty() {
                if io::IsTerminal::is_terminal(&io::stdin()) {
                    say(format_args!("each line you type is a message; {END_KEYS} ends"));
                }
                Source::stdin(client.waker(), max).map_err(|e| Failure::stdin(&e))?
            } else {
                Source::Arguments(messages.into_iter())
            };
            Exchange {
                client,
                source,
                outgoing: Outgoing::Nothing,
                in_flight_max: self.in_flight.unwrap_or(u32::MAX),
                checker: (!self.no_verify).then(|| Checker::new(HEADER)),
                replies: Replies { output, text: Vec::new(), length: 0 },
                failure: None,
            }
            .run()
        })
    }
}

/// The exchange of messages and replies with a server.
struct Exchange<const HEADER: usize> {
    client: net::Client<Client<HEADER>>,
    source: Source,
    outgoing: Outgoing,
    /// Largest number of messages in flight.
    in_flight_max: u32,
    checker: Option<Checker>,
    replies: Replies,
    /// Failure of the source. It is reported after the replies to the messages that were sent.
    failure: Option<Failure>,
}

/// State of the message that is being sent.
enum Outgoing {
    /// There is none: the next one may be taken from the source.
    Nothing,
    /// A message that did not fit the output buffer yet.
    Message(Message),
    /// A message in memory that is sent in parts, and the number of bytes sent.
    Long(Vec<u8>, usize),
    /// A message in a file that is sent in parts.
    File(FileSender),
    /// The source has ended.
    Finished,
}

/// A message that is read from its file while it is sent.
struct FileSender {
    message: FileMessage,
    /// Number of bytes that have been read.
    read: u32,
    /// Bytes of the last read.
    chunk: Vec<u8>,
    /// Number of bytes of `chunk` that have been sent.
    sent: usize,
}

impl FileSender {
    /// Returns the bytes to send next; empty at the end of the message.
    fn next(&mut self) -> Result<&[u8], Failure> {
        let FileMessage { file, offset, length, .. } = &self.message;
        if self.sent == self.chunk.len() && self.read < *length {
            let count = CHUNK.min(length - self.read);
            self.chunk.resize(count as usize, 0);
            read_exact_at(file, &mut self.chunk, offset + u64::from(self.read))
                .map_err(reread_failure)?;
            self.read += count;
            self.sent = 0;
        }
        Ok(&self.chunk[self.sent..])
    }
}

/// Returns the failure of reading a line for the second time.
fn reread_failure(e: io::Error) -> Failure {
    Failure::System(match e.kind() {
        io::ErrorKind::UnexpectedEof => "standard input became shorter while it was read".into(),
        _ => format!("cannot read a long line again: {}", reason(&e)),
    })
}

impl<const HEADER: usize> Exchange<HEADER> {
    /// Sends messages and shows replies at the same time, until all replies have been received.
    fn run(mut self) -> Result<(), Failure> {
        loop {
            let sent = self.send()?;
            let Self { client, checker, replies, .. } = &mut self;
            match client.try_next() {
                Ok(Some(Next::Event(Event::Reply(piece)))) => {
                    replies.show(piece).map_err(Failure::stdout)?;
                    if let Some(checker) = checker {
                        checker.check(piece).map_err(|e| replies.report_wrong(e))?;
                    }
                }
                Ok(Some(Next::Close | Next::Abort)) => return self.finish(),
                Ok(Some(Next::Command | Next::Boundary)) => {}
                Ok(None) if sent => {}
                Ok(None) => {
                    // While no reply is expected it is the user's turn, which has no timeout.
                    let our_turn = client.machine().in_flight() == 0 && !client.is_sending();
                    let wake = if our_turn { client.wait_without_timeout() } else { client.wait() };
                    wake?;
                }
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    /// Checks the end of the exchange, after the last reply.
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
                Err(Failure::Peer(format!("the server sent a byte after the last reply: {start}")))
            }
            n => Err(Failure::Peer(format!(
                "the server sent {n} bytes after the last reply: {start}"
            ))),
        }
    }

    /// Returns whether the memory for verifying replies is used up, so that no further message may be sent.
    fn is_full(&self) -> bool {
        self.checker.as_ref().is_some_and(Checker::is_full)
    }

    /// Converts an error of the client, and adds the probable cause.
    fn failed(&self, e: net::Error<client::Error<HEADER>>) -> Failure {
        let refusable = self.checker.as_ref().and_then(Checker::refusable);
        let full = self.is_full().then(|| self.client.machine().in_flight());
        match e {
            net::Error::Protocol(error, quote) => {
                net::Error::Protocol(Explained { error, refusable, full: None }, quote).into()
            }
            net::Error::TimedOut(error, time, quote) => {
                net::Error::TimedOut(Explained { error, refusable, full }, time, quote).into()
            }
            e => e.into(),
        }
    }

    /// Sends as much as the buffers accept. Returns whether anything was sent.
    fn send(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        while self.advance()? {
            moved = true;
        }
        Ok(moved)
    }

    /// Takes one step of sending, if possible. Returns whether there was progress.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.outgoing = match std::mem::replace(&mut self.outgoing, Outgoing::Nothing) {
            Outgoing::Nothing => match self.next_message() {
                NextMessage::Message(message) => Outgoing::Message(message),
                NextMessage::Pending => return Ok(false),
                NextMessage::End => {
                    self.client.command(Command::Finish).map_err(|e| self.failed(e))?;
                    Outgoing::Finished
                }
            },
            Outgoing::Message(message) => {
                let command = match &message {
                    Message::Memory(bytes) if bytes.len() + HEADER <= SHORT => Command::Send(bytes),
                    // The conversion cannot fail: the source checks the maximum length.
                    Message::Memory(bytes) => {
                        Command::Begin(u32::try_from(bytes.len()).unwrap_or(0))
                    }
                    Message::File(message) => Command::Begin(message.length),
                };
                let is_whole = matches!(command, Command::Send(_));
                if !self.client.try_command(command).map_err(|e| self.failed(e))? {
                    self.outgoing = Outgoing::Message(message);
                    return Ok(false);
                }
                if let Some(checker) = &mut self.checker {
                    match &message {
                        Message::Memory(bytes) => checker.record_sent(bytes),
                        Message::File(message) => checker.record_sent_file(message),
                    }
                }
                match message {
                    Message::Memory(_) if is_whole => Outgoing::Nothing,
                    Message::Memory(bytes) => Outgoing::Long(bytes, 0),
                    Message::File(message) => {
                        Outgoing::File(FileSender { message, read: 0, chunk: Vec::new(), sent: 0 })
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
                    self.source.release_file();
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

    /// Returns the next message, if one may be sent.
    fn next_message(&mut self) -> NextMessage {
        if self.is_full() || self.client.machine().in_flight() >= self.in_flight_max {
            return NextMessage::Pending;
        }
        self.source.next().unwrap_or_else(|e| {
            self.failure = Some(match e {
                SourceError::TooLong(n) => {
                    let limit = limit::<HEADER>();
                    Failure::Usage(format!("line {n} of standard input has {limit}"))
                }
                SourceError::Read(e) => Failure::stdin(&e),
                SourceError::Spool(e) => Failure::System(format!(
                    "cannot write a long line to a temporary file: {}; set {TEMP_VARIABLE} to use another folder",
                    reason(&e)
                )),
            });
            NextMessage::End
        })
    }
}

/// Error of the machine with its probable cause.
struct Explained<const HEADER: usize> {
    error: client::Error<HEADER>,
    /// Number of a message in flight that a server has to refuse.
    refusable: Option<u64>,
    /// Number of messages in flight, if the memory for verifying is used up.
    full: Option<u32>,
}

impl<const HEADER: usize> std::fmt::Display for Explained<HEADER> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.error, advice(self.error.other_length()))?;
        if let Some(n) = self.refusable {
            write!(
                f,
                "; the first ten characters of message {n} are not UTF-8, so the server has to refuse it"
            )?;
        }
        self.full.map_or(Ok(()), |n| {
            write!(
                f,
                "; the memory for verifying is used up by these {n} messages, see --no-verify"
            )
        })
    }
}

/// Writer of replies to stdout, one per line.
struct Replies {
    output: Output,
    /// Start of the current reply, for JSON.
    text: Vec<u8>,
    /// Number of bytes of the current reply so far.
    length: u64,
}

impl Replies {
    fn show(&mut self, piece: Piece<&[u8]>) -> io::Result<()> {
        if !self.output.is_json() {
            self.output.piece(piece.bytes)?;
            return if piece.is_last() { self.output.end() } else { Ok(()) };
        }
        self.length += piece.bytes.len() as u64;
        let space = JSON_MAX.saturating_sub(self.text.len()).min(piece.bytes.len());
        self.text.extend_from_slice(&piece.bytes[..space]);
        if !piece.is_last() {
            return Ok(());
        }
        let mut text = self.text.as_slice();
        let is_truncated = self.length > text.len() as u64;
        // A character that the truncation has split would be reported as invalid UTF-8 of the server.
        if is_truncated
            && let Err(e) = std::str::from_utf8(text)
            && e.error_len().is_none()
        {
            text = &text[..e.valid_up_to()];
        }
        let mut event = json!({ "event": "reply", "bytes": self.length });
        put_text(&mut event, "reply", text);
        if is_truncated {
            event["truncated"] = true.into();
        }
        self.text.clear();
        self.length = 0;
        self.output.event(&event)
    }

    /// Reports a wrong reply as an event, and returns the failure.
    fn report_wrong(&mut self, wrong: Wrong) -> Failure {
        if let Wrong::Reply(difference) = &wrong {
            let emitted = emit(&mut self.output, || {
                let mut event = json!({
                    "event": "wrong", "reply": difference.number, "at": difference.at,
                    "exact": difference.is_exact, "bytes": difference.length,
                    "expected_bytes": difference.expected_length,
                });
                // Objects of their own, because `put_text` may add `hex` to each.
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
            Wrong::Unreadable(e) => reread_failure(e),
            wrong => Failure::Peer(wrong.to_string()),
        }
    }
}
