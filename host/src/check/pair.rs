//! Somebody's client against their own server: a relay passes what they send, and judges it.
//!
//! Two wrong ends that agree with each other must not pass. So what they have said is compared with the protocol, and not
//! only what they print.

mod datagrams;

use std::time::Duration;

use super::case::{Case, Protocol, Step, case, step};
use super::failure::{Failure, Kind};
use super::setup::{Inputs, is_datagrams};
use super::steps::{ends, quoted, reply_printed, without_error};
use super::talk::{Outcome, Talk};
use crate::faults::{Cut, Faults};

/// Name of a file, and the function that returns its content.
pub(super) type File = (&'static str, fn() -> Vec<u8>);

/// How a protocol is tried with both ends.
pub(super) struct Pair {
    /// What is typed into the client, with the names of the placeholders.
    pub(super) client: &'static [(&'static str, &'static str)],
    /// What is typed into the server.
    pub(super) server: &'static [(&'static str, &'static str)],
    /// Whether the client's input ends after that.
    pub(super) input_ends: bool,
    /// Whether messages without an end of their own are sent, or the document's client takes one read for one message.
    /// Then a document's program may fail if they are cut or glued.
    pub(super) has_prompts: bool,
    /// The file that the client fetches, and its content.
    pub(super) file: Option<File>,
    /// Judges what both have sent and printed.
    pub(super) judge: fn(&mut Talk) -> Outcome,
}

const SOURCE: &str = "the protocol as a whole";

/// Returns the cases of a pair of programs.
pub(super) fn cases(protocol: &Protocol) -> Vec<Case> {
    let pair = protocol.pair;
    if is_datagrams(protocol.name) {
        return datagrams::cases(pair);
    }
    let cut = |cut| Faults { cut: Some(cut), ..Faults::default() };
    let byte = cut(Cut::every(1).unwrap_or(Cut::Random));
    let glued = Faults { glue: Duration::from_millis(60), ..Faults::default() };
    let late = Faults { delay: Duration::from_millis(40), ..Faults::default() };
    let none = Faults::default();
    let case = |path, requirement, up: Faults, down: Faults| {
        let steps =
            [meet(pair), relay(up, down), judged(pair), ends(), without_error(), server_is_well()];
        let mut case = case(path, requirement, SOURCE, steps);
        for (name, value) in pair.client {
            case = case.input(name, *value);
        }
        if pair.input_ends {
            case = case.input_ends();
        }
        if let Some((name, content)) = pair.file {
            case = case.file(name, content()).local("fetched.bin");
        }
        if pair.has_prompts && path != "basic/conversation" && down != none && down != late {
            case = case.info();
        }
        case
    };
    vec![
        case(
            "basic/conversation",
            "client and server work together, and what they send is what the document asks for",
            none,
            none,
        ),
        case(
            "segmentation/to-the-server",
            "what the client sends may arrive one byte at a time",
            byte,
            none,
        ),
        case(
            "segmentation/to-the-client",
            "what the server sends may arrive one byte at a time",
            none,
            byte,
        ),
        case(
            "segmentation/random",
            "what both send may arrive in pieces of any size",
            cut(Cut::Random),
            cut(Cut::Random),
        ),
        case(
            "coalescing/to-the-server",
            "what the client sends apart may arrive together",
            glued,
            none,
        ),
        case(
            "coalescing/to-the-client",
            "what the server sends apart may arrive together",
            none,
            glued,
        ),
        case("slow/both", "what both send may arrive late", late, late),
    ]
}

fn meet(pair: &'static Pair) -> Step {
    step("start both programs and connect them through a relay", move |talk| {
        let values = pair.server.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        // The server finds the files of the case, and the client is given the name of the one that it writes.
        let folder = talk.inputs.folder.clone();
        talk.meet(Inputs { values, ends: false, folder })
    })
}

fn relay(up: Faults, down: Faults) -> Step {
    step("pass on what they send, until both have closed", move |talk| {
        talk.relay(up, down).or_else(|failure| {
            // What they have said shows why they wait.
            if failure.kind == Kind::Silent {
                talk.late = Some(failure)
            } else {
                return Err(failure);
            }
            Ok(())
        })
    })
}

fn judged(pair: &'static Pair) -> Step {
    step("compare what they have sent with the protocol", move |talk| {
        let judged = (pair.judge)(talk);
        match (judged, talk.late.take()) {
            (Err(failure), _) => Err(failure),
            (Ok(()), Some(late)) => Err(late),
            (Ok(()), None) => Ok(()),
        }
    })
}

fn server_is_well() -> Step {
    step("see no crash of the server", |talk| talk.with_server(Talk::exit_was_no_crash))
}

// What judges share.

/// Compares what a side has sent with what it must send.
pub(super) fn same(who: &str, what: &str, expected: &[u8], actual: &[u8]) -> Outcome {
    if expected == actual {
        return Ok(());
    }
    let failure = Failure::new(Kind::Different, format!("the {who} did not {what}"));
    Err(failure.bytes(expected, actual).into())
}

/// Returns a failure about what a side has sent.
pub(super) fn wrong(who: &str, text: &str, actual: &[u8]) -> Box<Failure> {
    Failure::new(Kind::Different, format!("the {who} {text}")).bytes([], actual).into()
}

/// Returns the lines of a text, without their ends. A BOM at the start is skipped.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect()
}

/// Compares the lines that a side has sent with those that it must send, without regard to white space at their ends.
pub(super) fn same_lines(who: &str, expected: &[&str], actual: &[u8]) -> Outcome {
    let sent = lines(actual);
    let is_same =
        sent.len() == expected.len() && sent.iter().zip(expected).all(|(a, b)| a.trim_end() == *b);
    if is_same && actual.ends_with(b"\n") {
        return Ok(());
    }
    same(who, "send the right lines", (expected.join("\n") + "\n").as_bytes(), actual)
}

/// Waits until the client has printed a text, in upper or lower case.
pub(super) fn client_prints(talk: &mut Talk, text: &str) -> Outcome {
    let what = quoted(text);
    talk.printed(&what, |output| has(output, text))
        .map_err(|failure| super::talk::of_side(failure, "client"))
}

/// Waits until the client has printed the reply to a message, and not only the message.
pub(super) fn client_prints_reply(talk: &mut Talk, message: &str, reply: &str) -> Outcome {
    reply_printed(talk, message, reply).map_err(|failure| super::talk::of_side(failure, "client"))
}

/// Waits until the server has shown a text, in upper or lower case. A server may write a log.
pub(super) fn server_prints(talk: &mut Talk, text: &str) -> Outcome {
    let what = quoted(text);
    talk.with_server(|talk| talk.shown(&what, |output| has(output, text)))
}

fn has(output: &str, text: &str) -> bool {
    output.to_lowercase().contains(&text.to_lowercase())
}
