//! `socklab add`.

use clap::Args;
use serde_json::{Value, json};
use socklab_core::add::client::Client;
use socklab_core::add::{ClientBytes, ServerBytes};
use socklab_core::wire::LINE_MAX;

use super::common::{Address, Common, Failure, Listen, Pace, Run, ServerOptions};
use super::events::{connected, emit, session, undelivered};
use crate::add::{
    Answer, Error, Form, Options, Outcome, RANGE, Report, Service, client, hint, is_message,
};
use crate::net::{self, DEFAULT_BUFFER, Quote, Target};
use crate::ui::{Keyboard, Typed, put_text, say};

const PORT: u16 = 12000;

/// Send a name and a number; print the server's and the sum
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Your name [default: ask for it]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Your number, 1 to 100 [default: ask for it]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = in_range)]
    number: Option<i32>,
    /// Shut the server down: send a number that is out of range
    #[arg(long, conflicts_with = "number")]
    shutdown: bool,
    /// Send name and number in one line, separated by SEP: one of , : ; | (optionally followed by a
    /// space), a space, or \t [default: send two lines]
    #[arg(long, value_name = "SEP", value_parser = separator)]
    separator: Option<Separator>,
    /// Send no newline after the number
    #[arg(long)]
    no_newline: bool,
    /// Send name and number in two writes, with a pause between them (see --pace)
    #[arg(long)]
    split: bool,
    #[command(flatten)]
    pace: Pace,
    /// Write the server's name to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Answer each client with the server's own name and number
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// The server's name
    #[arg(long, value_parser = line_name, default_value = "Server of socklab")]
    name: String,
    /// The server's number, 1 to 100 [default: random, chosen at startup]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = in_range)]
    number: Option<i32>,
    /// Refuse a client whose number is out of range, instead of shutting down
    #[arg(long)]
    keep_running: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Separator between name and number in one line.
#[derive(Clone, Copy, Debug)]
struct Separator {
    byte: u8,
    space: bool,
}

fn separator(text: &str) -> Result<Separator, String> {
    let text = text.replace("\\t", "\t");
    match *text.as_bytes() {
        [byte @ (b',' | b':' | b';' | b'|' | b' ' | b'\t')] => Ok(Separator { byte, space: false }),
        [byte @ (b',' | b':' | b';' | b'|'), b' '] => Ok(Separator { byte, space: true }),
        _ => Err("expected one of , : ; | a space or \\t, such as ',' or ', '".into()),
    }
}

/// Parses a name that is sent in a line of its own.
fn line_name(text: &str) -> Result<String, String> {
    let name = name(text)?;
    if is_message(name.as_bytes()) {
        return Err(format!(
            "a name must not end in a separator and a number: {name:?} would be read as name and number in \
             one line"
        ));
    }
    Ok(name)
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text {
        "" => Err("the name is empty".into()),
        _ if text.len() > LINE_MAX => Err(format!("a name may have at most {LINE_MAX} bytes")),
        _ if text.contains(['\n', '\r']) => Err("a name must not contain a line break".into()),
        _ => Ok(text.into()),
    }
}

fn in_range(text: &str) -> Result<i32, String> {
    let number = text.trim().parse().ok().filter(|number| RANGE.contains(number));
    number.ok_or_else(|| format!("expected a number from {} to {}", RANGE.start(), RANGE.end()))
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let mut keyboard = None;
        let form = self.form();
        let is_name = if form.separator == b'\n' { line_name } else { name };
        let name = match &self.name {
            Some(name) => is_name(name).map_err(|what| {
                Failure::Usage(format!("{what}; --separator ',' sends them in one line"))
            })?,
            None => ask(common, &mut keyboard, "your name: ", "--name", is_name)?,
        };
        let number = match self.number {
            Some(number) => number,
            None if self.shutdown => RANGE.start() - 1,
            None => ask(common, &mut keyboard, "your number, 1 to 100: ", "--number", in_range)?,
        };
        if let Some(keyboard) = keyboard {
            // First, so that no signal is between the two.
            common.end_on_interrupt()?;
            keyboard.release();
        }
        let service = || Service::new(Options { keep_running: false, ..Options::default() });
        common.dial(&self.address, "add", service, |target| {
            self.introduce(target, common, &name, number)
        })
    }
}

/// Repeats a question until the answer is valid.
fn ask<T>(
    common: &Common,
    opened: &mut Option<Keyboard>,
    prompt: &str,
    option: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let keyboard = match opened {
        Some(keyboard) => keyboard,
        None => opened.insert(common.keyboard()?),
    };
    loop {
        keyboard.ask(prompt);
        match keyboard.next_blocking().map_err(|e| Failure::stdin(&e))? {
            Typed::Line(line) => match parse(&String::from_utf8_lossy(&line)) {
                Ok(value) => return Ok(value),
                Err(what) => say(what),
            },
            Typed::End => {
                return Err(Failure::Usage(format!(
                    "standard input ended before all questions were answered; use {option}"
                )));
            }
            Typed::Interrupted => return Err(Failure::INTERRUPTED),
        }
    }
}

impl ClientArgs {
    fn form(&self) -> Form {
        let lines = Separator { byte: b'\n', space: false };
        let Separator { byte, space } = self.separator.unwrap_or(lines);
        Form { separator: byte, space, newline: !self.no_newline }
    }

    fn introduce(
        &self,
        target: &Target,
        common: &Common,
        name: &str,
        number: i32,
    ) -> Result<(), Failure> {
        let mut output = common.output(self.raw);
        let client =
            common.connect::<ServerBytes, ClientBytes, _>(target, Client::new(), DEFAULT_BUFFER)?;
        connected(&mut output, client.peer())?;
        let client = client.pace(self.pace.time);
        let answer = client.introduce_with(name.as_bytes(), number, self.form(), self.split);
        let Some(answer) = answer.map_err(failed)? else {
            say("the server closed without an answer: it has shut down, or refused the number");
            return emit(&mut output, || json!({ "event": "closed" }));
        };
        if self.shutdown {
            return Err(Failure::Peer(format!(
                "the server answered instead of shutting down: {} is not out of its range",
                number
            )));
        }
        let sum = i64::from(number) + i64::from(answer.number);
        emit(&mut output, || {
            let mut event = json!({
                "event": "answer", "name": name, "number": number,
                "server_number": answer.number, "sum": sum,
            });
            put_text(&mut event, "server_name", &answer.name);
            event
        })?;
        let mut write = || {
            output.piece(format!("{name}: {number}\n").as_bytes())?;
            output.piece(&answer.name)?;
            output.piece(format!(": {}\nsum: {sum}", answer.number).as_bytes())?;
            output.end()
        };
        write().map_err(Failure::stdout)?;
        check_answer(&answer)
    }
}

/// Checks that the answer is a single name, and a number in the range of the exercise.
fn check_answer(Answer { name, number }: &Answer) -> Result<(), Failure> {
    if is_message(name) {
        let name = Quote::new(name);
        return Err(Failure::Peer(format!(
            "the server's name {name} itself ends in a separator and a number: expected one name and one \
             number"
        )));
    }
    if !RANGE.contains(number) {
        let (first, last) = (RANGE.start(), RANGE.end());
        return Err(Failure::Peer(format!(
            "the server's number {number} is out of range ({first} to {last})"
        )));
    }
    Ok(())
}

/// Returns the failure, with a hint at the likely mistake of the server.
fn failed(e: Error) -> Failure {
    let hint = match &e {
        // The server sends two lines, so the hint about one line does not apply.
        net::Error::Protocol(client::Error::NotInteger(_), _) => None,
        net::Error::Protocol(_, quote) | net::Error::TimedOut(_, _, quote) => hint(quote.bytes()),
        _ => None,
    };
    match (e.into(), hint) {
        (Failure::Peer(what), Some(hint)) => Failure::Peer(format!("{what} ({hint})")),
        (failure, _) => failure,
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, name, number, keep_running, server } = self;
        let options = Options { name, number, keep_running };
        let service = Service::new(options);
        common.serve::<ClientBytes, ServerBytes, _>(
            listen.addrs()?,
            &server,
            common.limits(&server),
            service,
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let outcome = match &report.outcome {
        Outcome::Answered => ("answered", None),
        Outcome::ShutDown => ("shut down", None),
        Outcome::OutOfRange => ("out of range", None),
        Outcome::Failed(..) => ("failed", report.failure()),
        Outcome::Internal(e) => ("failed", Some(e.to_string())),
        Outcome::Undelivered => ("failed", Some(undelivered())),
        Outcome::Stopped => ("stopped", None),
    };
    let mut details = json!({ "server_name": report.name, "server_number": report.number });
    if let Some(name) = &report.client.name {
        put_text(&mut details, "name", name);
    }
    if let Some(number) = report.client.number {
        details["number"] = number.into();
    }
    if let (Outcome::Answered, Some(sum)) = (&report.outcome, report.sum()) {
        details["sum"] = sum.into();
    }
    session(report.peer, details, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_and_names_that_are_not_one_line_are_refused() {
        assert_eq!((in_range(" 1 "), in_range("100")), (Ok(1), Ok(100)));
        for text in ["0", "101", "-5", "", "ten", "99999999999"] {
            assert_eq!(in_range(text), Err("expected a number from 1 to 100".into()), "{text}");
        }
        assert_eq!(name("  Ada L. "), Ok("Ada L.".into()));
        for text in ["", "  ", "a\nb", &"x".repeat(LINE_MAX + 1)] {
            assert!(name(text).is_err());
        }
        assert_eq!(
            (name("Agent 7"), line_name("Agent7")),
            (Ok("Agent 7".into()), Ok("Agent7".into()))
        );
        assert!(line_name("Agent 7").is_err());
        for text in ["", "x", "- ", ",,", "  ", "\n", ", ,"] {
            assert!(separator(text).is_err(), "{text:?}");
        }
        for (text, bytes) in [(",", &b","[..]), ("; ", b"; "), ("\\t", b"\t"), (" ", b" ")] {
            let Separator { byte, space } = separator(text).unwrap();
            assert_eq!([&[byte][..], if space { b" " } else { b"" }].concat(), bytes);
        }
    }
}
