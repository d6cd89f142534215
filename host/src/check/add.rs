//! Cases of the addition of two numbers.

mod client;
mod pair;
mod server;

use std::time::Duration;

use socklab_core::add::server::{Command, Error, Event};
use socklab_core::add::{Form, SILENCE_MS, Server, hint as mistake};
use socklab_core::machine::{Action, Input, Machine as _, StreamState};

use super::case::{Case, Group, Protocol, Situation};
use super::failure::{Failure, Kind};
use super::setup::{Role, Wire};
use super::steps::contains_number;
use super::talk::{Outcome, Parsed, Talk};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "add",
    cases,
    pair: &pair::PAIR,
    hint,
    wire: &[
        (
            "separator",
            &["newline", ",", ":", ";", "|", "space"],
            "what stands between the name and the number that a server gets",
        ),
        ("newline", &["yes", "no"], "whether a newline follows the number that a server gets"),
    ],
};

const CLIENT: &str = "002, 2 Client";
const SERVER: &str = "002, 2 Server";
const STREAM: &str = "003, 2.4.2 Receiving data from TCP Sockets";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

/// Time after which a number without a newline is complete.
const IDLE: Duration = Duration::from_millis(SILENCE_MS as u64);

fn cases(role: Role, wire: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(form(wire)),
        Role::Client | Role::Pair => client::cases(),
    }
}

/// Returns the form in which a server gets name and number.
fn form(wire: &Wire) -> Form {
    let separator = match wire.get("separator", "newline") {
        "space" => b' ',
        text => text.bytes().next().filter(|byte| b",:;|".contains(byte)).unwrap_or(b'\n'),
    };
    Form { newline: wire.get("newline", "yes") != "no", ..Form::message(separator) }
}

/// Returns a name and a number, which may be any text, in a form.
fn message(form: Form, name: &str, number: &str) -> Vec<u8> {
    let space: &[u8] = if form.space { b" " } else { b"" };
    let end: &[u8] = if form.newline { b"\n" } else { b"" };
    [name.as_bytes(), &[form.separator], space, number.as_bytes(), end].concat()
}

/// A place where a message is cut in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    InsideCharacter,
    BeforeNumber,
    InsideNumber,
    BeforeNewline,
}

impl Cut {
    const fn what(self) -> &'static str {
        match self {
            Self::InsideCharacter => "cut inside a character of the name",
            Self::BeforeNumber => "cut between name and number",
            Self::InsideNumber => "cut inside the number",
            Self::BeforeNewline => "cut before its last byte",
        }
    }

    /// Returns the two parts of a message with this number.
    fn parts(self, message: &[u8], number: i32) -> [&[u8]; 2] {
        let end = message.len() - usize::from(message.ends_with(b"\n"));
        let start = end.saturating_sub(number.to_string().len());
        let at = match self {
            // Behind the first byte of the character.
            Self::InsideCharacter => {
                message.iter().position(|byte| !byte.is_ascii()).unwrap_or(0) + 1
            }
            Self::BeforeNumber => start,
            Self::InsideNumber => start + 1,
            Self::BeforeNewline => message.len() - 1,
        };
        let (front, back) = message.split_at(at);
        [front, back]
    }
}

/// A name and a number that have arrived.
#[derive(Debug)]
struct Introduction {
    name: String,
    number: i64,
    form: Form,
    /// Number of its bytes.
    bytes: usize,
    /// Our server, which has received it.
    machine: Server,
}

/// Reads a name and a number in any form that our server accepts, from the front of `bytes`.
///
/// `Ok(None)`: they are incomplete. `Err`: what comes in place of the number is none.
fn read(bytes: &[u8], state: StreamState) -> Result<Option<Introduction>, String> {
    let (mut machine, mut name, mut at) = (Server::new(), String::new(), 0);
    loop {
        let input = Input { bytes: bytes.get(at..).unwrap_or_default(), state };
        let step = match machine.step(input, &mut []) {
            Ok(step) => step,
            Err(Error::NotInteger(e)) => return Err(e.to_string()),
            Err(_) => return Ok(None),
        };
        at += step.consumed;
        let number = match step.action {
            Action::Event(Event::Name(text)) => {
                name = String::from_utf8_lossy(text.slice(input.bytes)).into_owned();
                continue;
            }
            Action::Event(Event::Number(number) | Event::OutOfRange(Some(number))) => number,
            Action::Event(Event::OutOfRange(None)) => {
                return Err("the number does not fit in 32 bits".to_owned());
            }
            _ => return Ok(None),
        };
        let form = machine.form();
        return Ok(Some(Introduction { name, number: number.into(), form, bytes: at, machine }));
    }
}

/// Reads two lines of which the first one ends with a number, such as the name "Group 7": our server takes it for a
/// whole message. Returns `None` if a second line may follow.
fn read_lines(bytes: &[u8], state: StreamState) -> Result<Option<Introduction>, String> {
    let Some(mut found) = read(bytes, state)? else { return Ok(None) };
    let (first, rest) = bytes.split_at_checked(found.bytes).unwrap_or((bytes, &[]));
    if found.form.separator == b'\n' || !first.ends_with(b"\n") {
        return Ok(Some(found));
    }
    let is_whole = state != StreamState::Open || rest.contains(&b'\n');
    let line = rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let number = std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok());
    match number {
        _ if !is_whole => return Ok(None),
        Some(number) => {
            found.name = String::from_utf8_lossy(first).trim().to_owned();
            (found.number, found.bytes) = (number, first.len() + line.len());
        }
        None => {}
    }
    Ok(Some(found))
}

/// Receives a name and a number from the program, and keeps the message. `expected` is what it should send, if that is
/// known.
fn receive(
    talk: &mut Talk,
    expected: Option<(&str, i64)>,
    read: fn(&[u8], StreamState) -> Result<Option<Introduction>, String>,
) -> Outcome<Introduction> {
    let wanted = |form| match expected {
        Some((name, number)) => message(Form { newline: true, ..form }, name, &number.to_string()),
        None => Vec::new(),
    };
    let mut found = None;
    let parse = |bytes: &[u8], state| match read(bytes, state) {
        Ok(None) => Parsed::More,
        Err(text) => {
            let text = format!("what stands in place of the number is none: {text}");
            Parsed::Wrong(Some(wanted(Form::LINES)), text)
        }
        Ok(Some(introduction)) => {
            let is = (introduction.name.as_str(), introduction.number);
            match expected {
                Some((name, _)) if is.0 != name => {
                    Parsed::Wrong(Some(wanted(introduction.form)), "the name is wrong".into())
                }
                Some((_, number)) if is.1 != number => Parsed::Wrong(
                    Some(wanted(introduction.form)),
                    format!("the number is {}, and should be {number}", is.1),
                ),
                _ => {
                    let bytes = introduction.bytes;
                    found = Some(introduction);
                    Parsed::Done(bytes)
                }
            }
        }
    };
    let message =
        talk.receive_ended("a name and a number", IDLE, parse).map_err(|mut failure| {
            if let Some(bytes) = failure.bytes.as_mut().filter(|bytes| bytes.expected.is_empty()) {
                bytes.expected = wanted(Form::LINES);
            }
            failure
        })?;
    talk.message = message;
    found.ok_or_else(|| Failure::new(Kind::System, "the message was not kept").into())
}

/// Returns our answer to the message that was last received, in its form.
fn answer_to(talk: &Talk, name: &str, number: i32) -> Vec<u8> {
    let mut output = vec![0; 4096];
    let read = read(&talk.message, StreamState::Idle);
    let written = read.ok().flatten().and_then(|mut client| {
        client.machine.command(Command::Answer { name: name.as_bytes(), number }, &mut output).ok()
    });
    match written {
        Some(n) => output.truncate(n),
        // Only if the client has sent a number out of range.
        None => output = message(Form::LINES, name, &number.to_string()),
    }
    output
}

/// Waits until the program has shown both names, both numbers and their sum. Those of the client come first.
fn shown(talk: &mut Talk, names: [&str; 2], numbers: [i64; 2]) -> Outcome {
    all_shown(talk, names, numbers).map_err(|failure| {
        let output = talk.output();
        let ([_, name], [one, other]) = (names, numbers);
        if failure.kind == Kind::Spinning {
            failure
        } else if talk.setup.role == Role::Client
            && !output.contains(name)
            && !contains_number(&output, other)
        {
            failure.hint(
                "nothing of the reply is shown: one recv() may return both of its lines, or a part of one, so collect \
                 the bytes up to the second newline or the close, then split them at the newline",
            )
        } else if let Ok(joined) = format!("{one}{other}").parse()
            && contains_number(&output, joined)
        {
            failure.hint(
                "the digits are joined, because the numbers are still text: convert both with int() first",
            )
        } else {
            failure
        }
    })
}

fn all_shown(talk: &mut Talk, names: [&str; 2], numbers: [i64; 2]) -> Outcome {
    // A server must not send the separator in its name, and may have replaced it.
    let separator = char::from(form(&talk.setup.wire).separator).to_string();
    for (whose, name) in ["the client's name", "the server's name"].into_iter().zip(names) {
        let original = name.replace('_', &separator);
        talk.shown(&format!("{whose}, \"{name}\""), |output| {
            output.contains(name) || output.contains(&original)
        })?;
    }
    let [one, other] = numbers;
    for (what, number) in
        [("the client's number", one), ("the server's number", other), ("the sum", one + other)]
    {
        talk.shown(&format!("{what}, {number}"), |output| contains_number(output, number))?;
    }
    Ok(())
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    match (situation.role, situation.kind) {
        (_, Kind::Output | Kind::Unexpected) => return None,
        (Role::Server, Kind::StillOpen) => {
            return Some("close the connection after the reply".to_owned());
        }
        _ => {}
    }
    if !actual.is_empty() {
        return swapped(expected, actual)
            .or_else(|| glued(actual))
            .or_else(|| binary(expected, actual))
            .or_else(|| cut_name(expected, actual));
    }
    let sends_both = situation.sent.iter().any(|write| {
        read(write, StreamState::Idle).is_ok_and(|introduction| introduction.is_some())
    });
    match (situation.role, situation.kind) {
        (Role::Server, Kind::Silent) if sends_both && situation.group == Group::Basic => Some(
            "the server waits for more, although name and number have been sent: one recv() may return both, so take \
             lines, or split at the newline (a server that expects another form: --wire separator=, and --wire newline=no)"
                .to_owned(),
        ),
        (Role::Server, Kind::Closed | Kind::Reset)
            if sends_both
                && (situation.group == Group::Basic
                    || situation.stderr.contains("values to unpack")) =>
        {
            Some(
                "the server did not accept the message: the check sends two lines, the name and the number; for a server \
                 that expects NAME,NUMBER in one line there is --wire separator=,"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

/// Returns the likely mistake if the number comes before the name.
fn swapped(expected: &[u8], actual: &[u8]) -> Option<String> {
    let lines = |bytes| -> Option<[String; 2]> {
        let text = str::from_utf8(bytes).ok()?;
        let (one, other) = text.trim().split_once('\n')?;
        Some([one.trim().to_owned(), other.trim().to_owned()])
    };
    let [name, number] = lines(expected)?;
    (lines(actual)? == [number, name]).then(|| {
        "the number was sent before the name: send the name in the first line, and the number in the second one".to_owned()
    })
}

/// Returns the likely mistake in a message that has no second line.
fn glued(actual: &[u8]) -> Option<String> {
    let text = actual.trim_ascii();
    if text.contains(&b'\n') {
        return None;
    }
    mistake(text).map(|text| {
        let text = text
            .strip_prefix("expected ")
            .map_or_else(|| text.to_owned(), |what| format!("there should be {what}"));
        text + ": send the name and the number as two lines, each with a newline at its end"
    })
}

/// Returns the likely mistake if the number is binary.
fn binary(expected: &[u8], actual: &[u8]) -> Option<String> {
    let at = actual.iter().position(|byte| *byte == b'\n')? + 1;
    let number: &[u8; 4] = actual.get(at..)?.first_chunk()?;
    let is_binary = number.iter().filter(|byte| **byte == 0).count() >= 2;
    (is_binary && expected.get(at..) != actual.get(at..)).then(|| {
        "the number seems to be sent as the bytes of an integer: send its decimal digits as text, with str()".to_owned()
    })
}

/// Returns the likely mistake if the end of the name is missing.
fn cut_name(expected: &[u8], actual: &[u8]) -> Option<String> {
    let name = |bytes| read(bytes, StreamState::Idle).ok().flatten().map(|found| found.name);
    let (expected, actual) = (name(expected)?, name(actual)?);
    let is_counted = expected.starts_with(&actual) && actual.len() == expected.chars().count();
    (is_counted && actual.len() < expected.len()).then(|| {
        "the length counts characters, not bytes: encode the text first, then take its length"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_end_with_a_number_if_a_second_line_follows() {
        let open = |text: &str| read_lines(text.as_bytes(), StreamState::Open);
        let found = open("Group 7\n42\n").unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.number, found.bytes), ("Group 7", 42, 11));
        assert!(open("Group 7\n").unwrap().is_none());
        assert!(open("Group 7\n4").unwrap().is_none());
        for (text, state, name, number) in [
            ("Ada\n42\n", StreamState::Open, "Ada", 42),
            ("Ada\n42", StreamState::Idle, "Ada", 42),
            ("Ada 42\n", StreamState::Idle, "Ada", 42),
            ("Ada,42", StreamState::Idle, "Ada", 42),
            ("Group 7\n42", StreamState::Idle, "Group 7", 42),
            ("Ada\r\n0\r\n", StreamState::Open, "Ada", 0),
        ] {
            let found = read_lines(text.as_bytes(), state).unwrap().unwrap();
            assert_eq!((found.name.as_str(), found.number), (name, number), "{text:?}");
            assert_eq!(found.bytes, text.len(), "{text:?}");
        }
        assert!(open("Ada\nforty-two\n").is_err());
    }

    #[test]
    fn a_message_is_cut_at_each_place() {
        let lines = message(Form::LINES, "Zoë", "42");
        for (cut, front) in [
            (Cut::InsideCharacter, &b"Zo\xc3"[..]),
            (Cut::BeforeNumber, "Zoë\n".as_bytes()),
            (Cut::InsideNumber, "Zoë\n4".as_bytes()),
            (Cut::BeforeNewline, "Zoë\n42".as_bytes()),
        ] {
            let [one, other] = cut.parts(&lines, 42);
            assert_eq!((one, [one, other].concat()), (front, lines.clone()), "{cut:?}");
        }
    }

    #[test]
    fn mistakes_are_recognised() {
        for (actual, text) in [
            ("Ada42\n", "a newline"),
            ("42\n", "the number alone"),
            ("{\"name\": \"Ada\"}", "JSON"),
            ("Ada\n\0\0\0*", "bytes of an integer"),
            ("Ada\n*\0\0\0", "bytes of an integer"),
        ] {
            let bytes = actual.as_bytes();
            let found = glued(bytes).or_else(|| binary(b"Ada\n42\n", bytes)).unwrap_or_default();
            assert!(found.contains(text), "{actual:?}: {found}");
        }
        let hint = swapped(b"Ada\n42\n", b"42\nAda\n").unwrap_or_default();
        assert!(hint.contains("before the name"), "{hint}");
        assert_eq!(swapped(b"Ada\n42\n", b"Ada\n43\n"), None);
        let cut = cut_name("Zoë Müller\n42\n".as_bytes(), "Zoë Müll\n42\n".as_bytes());
        assert!(cut.is_some_and(|hint| hint.contains("characters")));
        assert_eq!(glued(b"Ada\n43\n").or_else(|| binary(b"Ada\n42\n", b"Ada\n43\n")), None);
    }
}
