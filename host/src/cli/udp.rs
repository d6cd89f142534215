//! `socklab udp`.

mod source;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::datagram::{DATAGRAM_MAX, DATAGRAM_SAFE};
use socklab_core::machine::{CommandError, Invalid};
use socklab_core::udp::Datagrams;
use socklab_core::udp::client::{Event, Limits, Summary};

use self::source::{Next, Source};
use super::common::{Common, Failure, Listen, Messages, Reporter, Run};
use super::events::{connected, emit};
use crate::net::{Quote, reason};
use crate::proxy::Side;
use crate::sys::terminal::END_KEYS;
use crate::udp::{BUFFER, Client, Counts, Error, Mistake, Outcome, Report, Service};
use crate::ui::messages::Conversation;
use crate::ui::{Output, put_text, say};

const PORT: u16 = 3456;

/// Default time to wait for a reply.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Number of lines about datagrams that a client cannot use. The summary counts all.
const NOTICES: u32 = 10;

/// Number of datagrams that are counted after the last reply, if they have already arrived.
const LATE: u32 = 1000;

/// Send messages as datagrams and print their replies, one per line
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    messages: Messages<PORT>,
    /// Number of times that a message is sent again if no reply has come
    #[arg(long, value_name = "N", default_value_t = Limits::default().retries, allow_negative_numbers = true)]
    retries: u8,
    #[command(flatten)]
    buffer: Buffer,
    /// Write replies to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Send every datagram back without its first ten characters
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    #[command(flatten)]
    buffer: Buffer,
    /// Stop after N datagrams
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Do not answer empty datagrams. Otherwise a forged one makes two servers answer each other without end
    #[arg(long)]
    ignore_empty: bool,
}

#[derive(Debug, Args)]
struct Buffer {
    /// Size of the longest datagram that is received as a whole
    #[arg(long = "buffer", value_name = "BYTES", default_value_t = BUFFER as u32, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(1..=DATAGRAM_MAX as i64))]
    bytes: u32,
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, buffer, count, ignore_empty } = self;
        let service = |reporter: Reporter| {
            let report = move |report: &Report<'_>| match report.outcome {
                Outcome::Answered(_) => reporter.event(|| report_json(report)),
                _ => reporter.report(report, || report_json(report)),
            };
            Service::new()
                .count(count.unwrap_or(u64::MAX))
                .ignore_empty(ignore_empty)
                .on_report(common.has_json(), report)
        };
        let (buffer, dissectors) =
            (buffer.bytes as usize, Conversation::new::<Datagrams, Datagrams>);
        common.serve_datagrams(listen.addrs()?, buffer, dissectors, service, |service, reporter| {
            let Counts { answered, refused, unanswered, .. } = service.counts();
            reporter.report(service.counts(), || {
                json!({
                    "event": "summary", "answered": answered, "refused": refused, "unanswered": unanswered,
                })
            });
        })
    }

    fn adjust(command: clap::Command) -> clap::Command {
        // A server of datagrams has no connections that could be idle.
        command.mut_arg("timeout", |arg| arg.hide(true))
    }
}

/// Returns the event of a datagram that a server has received.
fn report_json(report: &Report<'_>) -> Value {
    let Report { peer, datagram, outcome } = report;
    let (name, error) = match outcome {
        Outcome::Answered(_) => ("answered", None),
        Outcome::Refused(refusal) => ("refused", Some(refusal.to_string())),
        Outcome::Unanswered(e) => ("unanswered", Some(reason(e))),
    };
    let mut event =
        json!({ "event": name, "peer": peer.to_string(), "bytes": datagram.bytes.len() });
    put_text(&mut event, "text", datagram.bytes);
    match outcome {
        Outcome::Answered(answer) => event["reply_bytes"] = (*answer).into(),
        _ => event["error"] = error.into(),
    }
    event
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let (target, messages) = self.messages.target()?;
        // Checked for all messages before the first one is sent.
        if let Some(at) = messages.iter().position(|text| text.len() > DATAGRAM_MAX) {
            let length = messages[at].len();
            return Err(Failure::Usage(format!(
                "message {} has {length} bytes, {}; nothing was sent",
                at + 1,
                too_long()
            )));
        }
        let timeout = common.timeout_or(TIMEOUT).map_or(u128::MAX, |time| time.as_millis().max(1));
        let timeout_ms = u32::try_from(timeout).unwrap_or(u32::MAX);
        let limits = Limits { timeout_ms, retries: self.retries };
        let buffer = self.buffer.bytes as usize;
        common.dial_datagrams(target, "udp", Service::new, |target| {
            let mut output = common.output(self.raw);
            let client = Client::open(target, limits, buffer)?.observer(
                common.observers(Side::Client, Conversation::new::<Datagrams, Datagrams>),
            );
            connected(&mut output, client.server())?;
            let source = if messages.is_empty() {
                if io::IsTerminal::is_terminal(&io::stdin()) {
                    say(format_args!("each line you type is a message; {END_KEYS} ends"));
                }
                Source::stdin(client.waker()).map_err(|e| Failure::stdin(&e))?
            } else {
                Source::Arguments(messages.into_iter())
            };
            Session {
                server: client.server(),
                client,
                source,
                output,
                buffer,
                number: 0,
                notices: 0,
                has_ambiguous: false,
                has_fragments: false,
                unreachable: 0,
                cause: None,
                lost: None,
                invalid: None,
            }
            .run()
        })
    }

    fn adjust(command: clap::Command) -> clap::Command {
        command.mut_arg("timeout", |arg| {
            arg.help("Time to wait for a reply: 1 (second), 500ms, 2min or none [default: 1s]")
        })
    }
}

fn too_long() -> String {
    format!("more than the maximum of {DATAGRAM_MAX} bytes of a datagram")
}

/// What explains that a message has stayed without a reply.
enum Cause {
    Mistake(Mistake),
    Unexpected(Quote),
    Truncated,
    Stranger(SocketAddr),
}

/// The exchange of messages and replies with a server.
struct Session {
    client: Client,
    /// Address of the server, as the last event `connected` has it.
    server: SocketAddr,
    source: Source,
    output: Output,
    buffer: usize,
    /// Number of the message that was started last, from 1.
    number: u64,
    /// Number of lines about datagrams that cannot be used.
    notices: u32,
    has_ambiguous: bool,
    has_fragments: bool,
    /// Number of reports that a datagram did not arrive, before the current message.
    unreachable: u32,
    /// What has come since the current message was sent instead of its reply.
    cause: Option<Cause>,
    /// The probable reason why the first lost message has stayed without a reply.
    lost: Option<String>,
    /// The first message that could not be sent.
    invalid: Option<String>,
}

impl Session {
    fn run(mut self) -> Result<(), Failure> {
        let result = self.exchange();
        let summary = self.client.summary();
        say(summary);
        emit(&mut self.output, || summary_json(&summary))?;
        result?;
        if summary.lost > 0 {
            let Summary { sent, lost, .. } = summary;
            let s = if sent == 1 { "" } else { "s" };
            let why = self.lost.unwrap_or_default();
            return Err(Failure::Peer(format!("{lost} of {sent} message{s} got no reply: {why}")));
        }
        self.invalid.map_or(Ok(()), |text| Err(Failure::Usage(text)))
    }

    /// Exchanges messages until the source has ended.
    fn exchange(&mut self) -> Result<(), Failure> {
        let (mut has_ended, mut late) = (false, 0);
        loop {
            if !has_ended && !self.client.is_waiting() {
                match self.source.next().map_err(|e| Failure::stdin(&e))? {
                    Next::Message(message) => {
                        if !self.send(&message)? {
                            continue;
                        }
                    }
                    Next::TooLong(line) => {
                        self.number += 1;
                        self.reject(format!("line {line} of standard input has {}", too_long()))?;
                        continue;
                    }
                    Next::Pending => {}
                    Next::End => has_ended = true,
                }
            }
            match self.client.try_next().map_err(failed)? {
                Some(event) => self.show(event)?,
                None if has_ended && !self.client.is_waiting() => return Ok(()),
                None => self.client.wait().map_err(failed)?,
            }
            if has_ended && !self.client.is_waiting() {
                late += 1;
                if late > LATE {
                    return Ok(());
                }
            }
        }
    }

    /// Starts a message. Returns whether it can be sent.
    fn send(&mut self, message: &[u8]) -> Result<bool, Failure> {
        self.number += 1;
        let (number, length) = (self.number, message.len());
        match self.client.send(message) {
            Ok(()) => {}
            Err(Error::Refused(CommandError::Invalid(Invalid::NotUtf8))) => {
                self.reject(format!(
                    "the first ten characters of message {number} are not UTF-8, so a server does not answer it"
                ))?;
                return Ok(false);
            }
            Err(e) => return Err(failed(e)),
        }
        self.unreachable = self.client.summary().unreachable;
        self.cause = None;
        if length > DATAGRAM_SAFE && !std::mem::replace(&mut self.has_fragments, true) {
            log::warn!(
                "message {number} has {length} bytes: a datagram of more than {DATAGRAM_SAFE} bytes may be fragmented, \
                 and is lost if one fragment is"
            );
        }
        Ok(true)
    }

    /// Reports a message that cannot be sent.
    fn reject(&mut self, text: String) -> Result<(), Failure> {
        let number = self.number;
        emit(
            &mut self.output,
            || json!({ "event": "rejected", "message": number, "error": text }),
        )?;
        say(format_args!("{text}; it was not sent"));
        self.invalid.get_or_insert(text);
        Ok(())
    }

    /// Returns a limited number of lines about datagrams that cannot be used.
    fn notice(&mut self, text: impl FnOnce() -> String) {
        self.notices = self.notices.saturating_add(1);
        match self.notices {
            ..NOTICES => say(text()),
            NOTICES => say(format_args!("{}; further ones are only counted", text())),
            _ => {}
        }
    }

    /// Handles an event.
    fn show(&mut self, event: Event) -> Result<(), Failure> {
        if self.server != self.client.server() {
            self.server = self.client.server();
            connected(&mut self.output, self.server)?;
        }
        let (number, server) = (self.number, self.server);
        let (from, datagram) = self.client.received();
        let (from, bytes) = (from.unwrap_or(server), datagram.bytes.to_vec());
        let with_text = |mut event: Value| {
            event["bytes"] = bytes.len().into();
            put_text(&mut event, "text", &bytes);
            event
        };
        match event {
            Event::Reply { attempts, is_ambiguous } => {
                emit(&mut self.output, || {
                    let mut event = json!({ "event": "reply", "bytes": bytes.len() });
                    put_text(&mut event, "reply", &bytes);
                    event["message"] = number.into();
                    event["attempts"] = attempts.into();
                    event["ambiguous"] = is_ambiguous.into();
                    event
                })?;
                self.output.line(&bytes).map_err(Failure::stdout)?;
                // On a network that has neither lost nor repeated anything, it is almost certainly the right one.
                let Summary { retries, lost, duplicates, .. } = self.client.summary();
                let is_doubtful = is_ambiguous && [retries, lost, duplicates] != [0; 3];
                if is_doubtful && !std::mem::replace(&mut self.has_ambiguous, true) {
                    say(format_args!(
                        "the reply to message {number} may be a late one to an earlier message with the same rest"
                    ));
                }
            }
            Event::Again { attempts } => {
                log::debug!("no reply to message {number}, sending it again");
                let event = || json!({ "event": "again", "message": number, "attempts": attempts });
                emit(&mut self.output, event)?;
            }
            Event::Lost { attempts } => {
                let why = self.why();
                let event = || json!({ "event": "no_reply", "message": number, "attempts": attempts, "error": why });
                emit(&mut self.output, event)?;
                let times = if attempts == 1 { "once".into() } else { format!("{attempts} times") };
                self.notice(|| format!("no reply to message {number}, sent {times}"));
                self.lost.get_or_insert(why);
            }
            Event::Duplicate => {
                log::debug!("a reply has come again");
                emit(&mut self.output, || with_text(json!({ "event": "duplicate" })))?;
            }
            Event::Late => {
                log::debug!("the reply to an earlier message has come late");
                emit(&mut self.output, || with_text(json!({ "event": "late" })))?;
            }
            Event::Unmatched(mistake) => {
                emit(&mut self.output, || {
                    let mut event = with_text(json!({ "event": "unmatched" }));
                    if let Some(mistake) = mistake {
                        event["mistake"] = mistake.to_string().into();
                    }
                    event
                })?;
                let quote = Quote::new(&bytes);
                self.notice(|| match mistake {
                    Some(mistake) => {
                        format!("{quote} is not the reply to message {number}: {mistake}")
                    }
                    None => format!("{quote} is the reply to none of the last messages"),
                });
                self.cause = Some(mistake.map_or(Cause::Unexpected(quote), Cause::Mistake));
            }
            Event::Truncated => {
                emit(&mut self.output, || with_text(json!({ "event": "truncated" })))?;
                let buffer = self.buffer;
                self.notice(|| {
                    format!(
                        "a datagram of more than {buffer} bytes came and was truncated; --buffer changes that"
                    )
                });
                self.cause = Some(Cause::Truncated);
            }
            Event::Stranger => {
                let mut event = with_text(json!({ "event": "stranger" }));
                event["peer"] = from.to_string().into();
                emit(&mut self.output, || event)?;
                let quote = Quote::new(&bytes);
                self.notice(|| {
                    format!("{quote} came from {from}, not from the server at {server}: ignored")
                });
                self.cause.get_or_insert(Cause::Stranger(from));
            }
            Event::Unreachable => {
                log::debug!("a datagram did not arrive");
                let error = self.client.report().map(reason);
                let event = || json!({ "event": "unreachable", "message": number, "error": error });
                emit(&mut self.output, event)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the probable reason why the current message has stayed without a reply.
    fn why(&self) -> String {
        let server = self.server;
        match &self.cause {
            Some(Cause::Mistake(mistake)) => {
                format!("a datagram came that is not its reply: {mistake}")
            }
            Some(Cause::Unexpected(quote)) => format!("{quote} came instead"),
            Some(Cause::Truncated) => format!(
                "a datagram of more than {} bytes came and was truncated; --buffer changes that",
                self.buffer
            ),
            Some(Cause::Stranger(from)) => format!(
                "a datagram came from {from} instead of {server}; a server has to answer from the socket that it receives with"
            ),
            None if self.client.summary().unreachable > self.unreachable => {
                match self.client.report() {
                    Some(e) if is_refusal(e) => {
                        let mut addrs = server.to_string();
                        for addr in self.client.given_up() {
                            let _ = write!(addrs, " or {addr}");
                        }
                        format!("no program listens on {addrs}; is a server running on that port?")
                    }
                    Some(e) => format!("{server} cannot be reached: {}", reason(e)),
                    None => format!("{server} cannot be reached"),
                }
            }
            None => {
                format!("nothing came from {server} in time; --timeout and --retries change that")
            }
        }
    }
}

/// Returns whether the system of the server has refused a datagram. Windows calls that a reset.
fn is_refusal(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

fn failed(e: Error) -> Failure {
    match e {
        Error::Refused(_) => Failure::Usage(e.to_string()),
        e => Failure::System(e.to_string()),
    }
}

/// Returns the event at the end of a client.
fn summary_json(summary: &Summary) -> Value {
    json!({
        "event": "summary", "sent": summary.sent, "received": summary.received, "lost": summary.lost,
        "retries": summary.retries, "duplicates": summary.duplicates, "reordered": summary.reordered,
        "unmatched": summary.unmatched, "truncated": summary.truncated, "strangers": summary.strangers,
        "unreachable": summary.unreachable,
    })
}
