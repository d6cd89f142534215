//! Cases of the conversation in lines.

mod pair;

use std::time::Duration;

use super::case::{Case, Group, Protocol, Situation, Step, case, step};
use super::failure::Kind;
use super::hint::specific;
use super::lines::{
    ONE_RECV, SPLIT_CHARACTER, is_shown, line, long, printing_mistake, receive_any_line,
    receive_line, receive_rest, shown,
};
use super::setup::{Role, Wire};
use super::steps::{
    accept, byte_by_byte, close, closed, connect, ends, half_close, info, on_connection, pause,
    pieces_of, random_pieces, reset, restart, send, send_parts, settled, silence, slowly, survives,
    types, types_unless_ended, without_crash, without_error,
};
use super::talk::{Outcome, Talk};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "chat",
    cases,
    pair: &pair::PAIR,
    hint,
    wire: &[
        ("bye", &[], "word that ends a conversation instead of BYE"),
        (
            "turns",
            &["yes", "no"],
            "whether the lines alternate; with no, both sides write at any time",
        ),
    ],
};

const PROJECT_4: &str = "004, Project 4";
const ASSIGNMENT_3: &str = "004, Assignment 3";
const LINES: &str = "004, Project 2";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

fn cases(role: Role, wire: &Wire) -> Vec<Case> {
    let chat = Chat {
        role,
        bye: wire.get("bye", "BYE").to_owned(),
        has_turns: wire.get("turns", "yes") == "yes",
    };
    let mut all = chat.basic();
    all.extend(chat.pieces());
    all.extend(chat.endings());
    all.extend(chat.other_lines());
    if role == Role::Server {
        all.extend(chat.several());
    }
    all
}

/// Form of the conversations.
struct Chat {
    /// Role of the program.
    role: Role,
    bye: String,
    has_turns: bool,
}

/// First line of a server.
const FIRST: &str = "Good morning, stranger";

/// Returns the steps in one list.
fn steps<const N: usize>(parts: [Vec<Step>; N]) -> Vec<Step> {
    parts.into_iter().flatten().collect()
}

impl Chat {
    /// Returns the steps up to our first turn.
    fn opened(&self) -> Vec<Step> {
        match self.role {
            Role::Server => vec![types(FIRST), connect(), line("the typed line", FIRST)],
            Role::Client | Role::Pair => vec![accept()],
        }
    }

    /// Returns the steps of a whole conversation, in which `middle` begins and ends in our turn. The program must have
    /// printed the texts then.
    fn whole<const N: usize>(&self, middle: [Step; N], heard: &[&str]) -> Vec<Step> {
        steps([self.opened(), middle.into(), vec![self.hears_bye(), over(heard)]])
    }

    fn hears_bye(&self) -> Step {
        hears(&self.bye)
    }

    /// Returns the closing word in the other case of letters.
    fn other_case(&self) -> String {
        match self.bye.to_lowercase() {
            lower if lower == self.bye => lower.to_uppercase(),
            lower => lower,
        }
    }

    /// Returns a longer word with the closing word in it.
    fn longer(&self) -> String {
        match self.bye.to_lowercase().as_str() {
            "bye" => "goodbye".to_owned(),
            word => format!("un{word}able"),
        }
    }

    /// Returns the steps after a failure of ours: a client ends; a server ends or serves another client.
    fn left(&self) -> Vec<Step> {
        // Without turns, the program may wait for its person at any time.
        let mut all = if self.has_turns { vec![] } else { vec![types_unless_ended("Anyone?")] };
        match self.role {
            Role::Server => all.push(info(survives(next_client))),
            Role::Client | Role::Pair => all.extend([ends(), info(without_crash())]),
        }
        all
    }

    fn basic(&self) -> Vec<Case> {
        let mut all = vec![case(
            "basic/conversation",
            "the sides write lines in turns: what is typed is sent as a line, and what arrives is printed",
            PROJECT_4,
            self.whole(
                [
                    hears("How are you?"),
                    says("Fine, thank you"),
                    hears("What have you seen?"),
                    says("Two ships and a whale"),
                ],
                &["How are you?", "What have you seen?"],
            ),
        )];
        all.push(if self.has_turns {
            case(
                "basic/turns",
                "a line that is typed early is sent in its turn, after a line of the other side",
                PROJECT_4,
                self.whole(
                    [
                        types("Here I am"),
                        types("Nothing else"),
                        silence(150),
                        hears("Where are you?"),
                        line("the typed line", "Here I am"),
                        silence(100),
                        hears("What else?"),
                        line("the second typed line", "Nothing else"),
                    ],
                    &["Where are you?", "What else?"],
                ),
            )
        } else {
            case(
                "basic/any-time",
                "either side may write several lines without an answer",
                PROJECT_4,
                self.whole(
                    [
                        says("Here I am"),
                        says("Nothing else"),
                        hears("Where are you?"),
                        hears("What else?"),
                    ],
                    &["Where are you?", "What else?"],
                ),
            )
            .hint("one thread reads lines from the socket, and another one those that are typed")
        });
        all.extend([
            case(
                "basic/bye-heard",
                "a line with the closing word arrives: the program closes the connection and ends",
                ASSIGNMENT_3,
                steps([self.opened(), vec![self.hears_bye(), closed(), close(), ends(), without_error()]]),
            ),
            case(
                "basic/bye-typed",
                "a line with the closing word is typed: the program sends it, closes the connection and ends",
                ASSIGNMENT_3,
                steps([
                    self.opened(),
                    vec![hears("What now?"), says(&self.bye), closed(), close(), ends(), without_error()],
                ]),
            ),
        ]);
        all
    }

    fn pieces(&self) -> Vec<Case> {
        let mut all = vec![
            case(
                "segmentation/two-parts",
                "a line may arrive in two parts",
                LINES,
                self.whole([in_parts(&["How are", " you?\n"]), says("Fine")], &["How are you?"]),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/newline-alone",
                "the newline of a line may arrive by itself",
                LINES,
                self.whole([in_parts(&["How are you?", "\n"]), says("Fine")], &["How are you?"]),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/one-byte",
                "lines may arrive one byte at a time",
                LINES,
                self.whole(
                    [
                        byte_by_byte(),
                        hears("How are you?"),
                        says("Fine"),
                        hears("Really?"),
                        says("Yes"),
                    ],
                    &["How are you?", "Really?"],
                ),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/every-boundary",
                "a line may be cut between any two of its bytes",
                LINES,
                self.whole([every_boundary()], &["Line 1.", "Line 2.", "Line 6.", "Line 7."]),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/random",
                "lines may arrive in pieces of any size",
                LINES,
                self.whole(
                    [
                        random_pieces(),
                        hears("How are you?"),
                        says("Fine"),
                        hears("Really?"),
                        says("Yes"),
                    ],
                    &["How are you?", "Really?"],
                ),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/character",
                "a character of several bytes may be cut",
                "004, Unicode and Encodings",
                self.whole(
                    [byte_by_byte(), hears("Où est 中 \u{1f44b}?"), says("Here")],
                    &["Où est 中 \u{1f44b}?"],
                ),
            )
            .hint(SPLIT_CHARACTER),
            case(
                "segmentation/typed-characters",
                "characters of several bytes are sent as a whole",
                "004, Unicode and Encodings",
                self.whole([hears("Where?"), says("Là-bas, 中 \u{1f44b}!")], &[]),
            ),
            case(
                "segmentation/long-line",
                "a line of 1000 bytes is printed as a whole",
                LINES,
                self.whole([pieces_of(300), hears(&long()), says("Quite long")], &[&long()]),
            )
            .hint(ONE_RECV),
            case(
                "segmentation/typed-long-line",
                "a line of 1000 bytes is sent as a whole",
                LINES,
                self.whole([hears("And you?"), says(&long())], &[]),
            ),
        ];
        let glued = case(
            "coalescing/two-lines",
            "two lines that arrive at once are two lines",
            LINES,
            self.whole(
                [
                    send("two lines in one write", "How are you?\nWhere are you?\n"),
                    says("Fine"),
                    says("Here"),
                ],
                &["How are you?", "Where are you?"],
            ),
        )
        .hint("one recv() may return more than one line: take only the first one, and keep the rest for the next turn");
        all.push(if self.has_turns { glued.info() } else { glued });
        all.extend([
            case(
                "slow/late-line",
                "a line may come after some time",
                PROJECT_4,
                self.whole([pause(250), hears("How are you?"), says("Fine")], &["How are you?"]),
            ),
            case(
                "slow/two-parts",
                "the second part of a line may come 100 ms after the first one",
                LINES,
                self.whole(
                    [
                        send("the first part of a line", "How are"),
                        pause(100),
                        send("the rest", " you?\n"),
                        says("Fine"),
                    ],
                    &["How are you?"],
                ),
            )
            .hint(ONE_RECV),
            case(
                "slow/bytes-apart",
                "the bytes of a line may arrive with pauses",
                LINES,
                self.whole(
                    [slowly(Duration::from_millis(30)), hears("How are you?"), says("Fine")],
                    &["How are you?"],
                ),
            )
            .hint(ONE_RECV),
        ]);
        all
    }

    fn endings(&self) -> Vec<Case> {
        let lost = |path, requirement, middle: Vec<Step>| {
            case(path, requirement, ENDINGS, steps([self.opened(), middle, self.left()]))
        };
        // Whether a client ends is not a matter of robustness.
        let reset_by_us = |path, requirement, middle| {
            let case = lost(path, requirement, middle);
            if self.role == Role::Server { case.info() } else { case }
        };
        vec![
            lost(
                "close/instead-of-line",
                "the other side closes instead of writing a line: a client ends, and a server ends or serves another one",
                vec![close()],
            ),
            lost(
                "close/inside-line",
                "the other side closes in the middle of a line: a client ends, and a server ends or serves another one",
                vec![send("half a line", "How are"), close(), types_unless_ended("Fine")],
            ),
            lost(
                "close/no-newline",
                "the stream of the other side ends without a newline: a client ends, and a server ends or serves another one",
                vec![
                    send("a line without its newline", "How are you?"),
                    half_close(),
                    types_unless_ended("Fine"),
                ],
            ),
            lost(
                "close/in-its-turn",
                "the other side closes while the program waits for input: a client ends after the next line, and a server ends or serves another one",
                vec![hears("How are you?"), close(), types("Fine")],
            ),
            case(
                "close/after-bye",
                "the other side writes the closing word and closes at once",
                ASSIGNMENT_3,
                steps([self.opened(), vec![self.hears_bye(), close(), ends(), without_error()]]),
            ),
            lost(
                "close/half-close",
                "the other side ends its stream after a line: a client ends after the next line, and a server ends or serves another one",
                vec![hears("How are you?"), half_close(), types("Fine")],
            ),
            reset_by_us(
                "reset/instead-of-line",
                "the other side resets the connection: a client ends, and a server ends or serves another one",
                vec![reset()],
            ),
            reset_by_us(
                "reset/inside-line",
                "the other side resets the connection in the middle of a line: a client ends, and a server ends or serves another one",
                vec![send("half a line", "How are"), settled(), reset()],
            ),
            reset_by_us(
                "reset/in-its-turn",
                "the other side resets the connection while the program waits for input: a client ends, and a server ends or serves another one",
                vec![hears("How are you?"), settled(), reset(), types("Fine")],
            ),
        ]
    }

    /// Returns the cases of lines that are not plain: other forms of the closing word, empty lines and so on.
    fn other_lines(&self) -> Vec<Case> {
        let other_case = self.other_case();
        let sentence = format!("Well, {other_case} for now");
        let marks = format!("I said {}!", self.bye);
        let longer = format!("I never say {} to a friend", self.longer());
        let typed = |text: &str| {
            steps([self.opened(), vec![hears("What now?"), says(text), over(&["What now?"])]])
        };
        let heard = |text: &str| steps([self.opened(), vec![hears(text), over(&[])]]);
        vec![
            case(
                "bad-input/bye-heard-any-case",
                "the closing word may be written in small or capital letters",
                ASSIGNMENT_3,
                heard(&other_case),
            )
            .hint("compare without regard to case: in Python line.upper()"),
            case(
                "bad-input/bye-typed-any-case",
                "the closing word may be typed in small or capital letters",
                ASSIGNMENT_3,
                typed(&other_case),
            )
            .hint("compare without regard to case: in Python line.upper()"),
            case(
                "bad-input/bye-heard-in-sentence",
                "the closing word may arrive among others",
                ASSIGNMENT_3,
                heard(&sentence),
            )
            .hint("look for the closing word anywhere in the line"),
            case(
                "bad-input/bye-typed-in-sentence",
                "the closing word may be typed among others",
                ASSIGNMENT_3,
                typed(&sentence),
            )
            .hint("look for the closing word anywhere in the line"),
            case(
                "bad-input/bye-with-marks",
                "the closing word may have a punctuation mark behind it",
                ASSIGNMENT_3,
                heard(&marks),
            )
            .info()
            .hint("a word ends before a punctuation mark too: split() alone separates at white space"),
            case(
                "bad-input/bye-inside-word",
                "a longer word that contains the closing word does not end the conversation",
                ASSIGNMENT_3,
                self.whole([hears(&longer), says("What then?")], &[&longer]),
            )
            .info()
            .hint("the program takes a part of a longer word for the closing word"),
            case(
                "bad-input/bye-inside-typed-word",
                "a longer word that contains the closing word may be typed",
                ASSIGNMENT_3,
                self.whole(
[hears("What then?"), says(&longer), hears("Really?"), says("Yes")],
&["What then?", "Really?"],
),
            )
            .info()
            .hint("the program takes a part of a longer word for the closing word"),
            case(
                "bad-input/empty-line",
                "an empty line is a line",
                PROJECT_4,
                self.whole([hears(""), says("Say something"), hears("Something"), says("All right")], &["Something"]),
            )
            .info()
            .hint("only an empty result of recv() is the end of the stream: an empty line has a newline"),
            case(
                "bad-input/typed-empty-line",
                "an empty line is sent as a newline",
                PROJECT_4,
                self.whole([hears("What do you say?"), says("")], &["What do you say?"]),
            )
            .info(),
            case(
                "bad-input/carriage-return",
                "lines may end with a carriage return and a newline",
                LINES,
                steps([
                    self.opened(),
                    vec![
                        send("a line with \\r\\n", "How are you?\r\n"),
                        says("Fine"),
                        send("the closing word with \\r\\n", self.bye.clone() + "\r\n"),
                        over(&["How are you?"]),
                    ],
                ]),
            )
            .info()
            .hint("remove white space around the line before it is compared, in Python with strip()"),
            case(
                "bad-input/not-utf-8",
                "a line that is not text does not end the conversation",
                LINES,
                self.whole([send("bytes that are not UTF-8", b"Hello \xff\xfe\xc3\n"), says("What?")], &[]),
            )
            .info(),
        ]
    }

    /// Returns the cases of several clients of a server, and of a restart.
    fn several(&self) -> Vec<Case> {
        vec![
            case(
                "close/after-connect",
                "a client that leaves at once does not crash the server",
                ENDINGS,
                [connect(), close(), types(FIRST), info(survives(next_client))],
            ),
            case(
                "sequential/at-the-same-time",
                "a second client that connects does not disturb the conversation",
                PROJECT_4,
                steps([
                    self.opened(),
                    vec![
                        hears("How are you?"),
                        says("Fine"),
                        step(
                            "connect as another client, which may be refused",
                            Talk::try_to_connect,
                        ),
                        on_connection(1),
                        hears("Is there another one?"),
                        says("No"),
                        self.hears_bye(),
                        over(&["How are you?", "Is there another one?"]),
                    ],
                ]),
            )
            .info(),
            case(
                "restart/port",
                "the server can be started again at once, at the same port",
                "003, 2.2 Setting up and using a server socket",
                steps([self.opened(), vec![restart()], self.opened()]),
            )
            .info(),
        ]
    }
}

/// Sends a line.
fn hears(text: &str) -> Step {
    send(&format!("the line \"{}\"", shortened(text)), text.to_owned() + "\n")
}

/// Sends a line in several writes, which contain its newline.
fn in_parts(parts: &[&str]) -> Step {
    send_parts("a line", parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>())
}

/// Types a line and receives it.
fn says(text: &str) -> Step {
    let text = text.to_owned();
    step(format!("type \"{}\" and receive it as a line", shortened(&text)), move |talk| {
        talk.type_line(&text)?;
        receive_line(talk, "the typed line", &text)
    })
}

fn shortened(text: &str) -> &str {
    text.split_inclusive(' ').next().filter(|_| text.len() > 80).map_or(text, |word| word)
}

/// Sends eight lines, each cut at another place, and receives an answer to each.
fn every_boundary() -> Step {
    step("send 7 lines, each cut at another place, and receive a typed line after each", |talk| {
        (1..8_usize).try_for_each(|cut| {
            let line = format!("Line {cut}.\n");
            let (front, back) = line.as_bytes().split_at(cut);
            talk.send_parts([front, back])?;
            let answer = format!("Answer {cut}");
            talk.type_line(&answer)?;
            receive_line(talk, "the typed line", &answer)
        })
    })
}

/// Waits for the end of the connection and of the program. It must have printed these texts: output may stay in a buffer
/// until the end, so earlier steps do not look for them.
fn over(heard: &[&str]) -> Step {
    let heard: Vec<String> = heard.iter().map(ToString::to_string).collect();
    let printed = if heard.is_empty() { "" } else { ", and what it has printed" };
    step(format!("see the connection and the program end without an error{printed}"), move |talk| {
        let ended = talk
            .closed(true)
            // As the other side does.
            .and_then(|()| talk.close())
            .and_then(|()| talk.ended())
            .and_then(|()| talk.exit_was_clean());
        if let Err(mut failure) = ended {
            let output = talk.stdout();
            let missing = heard.iter().find(|text| !is_shown(&output, text));
            if let Some(text) = missing.filter(|_| !output.trim().is_empty()) {
                // A line that was not understood is why the program still waits.
                failure.message += &format!("; it has not printed \"{}\" either", shortened(text));
                failure.hint = printing_mistake(&output, text).map(str::to_owned);
            }
            return Err(failure);
        }
        heard.iter().try_for_each(|text| shown(talk, text))
    })
}

/// Has a conversation with a server as another client.
fn next_client(talk: &mut Talk) -> Outcome {
    talk.type_line("Is there another client?")?;
    // It may also be a line that was typed for the client before.
    receive_any_line(talk, "a typed line")?;
    let bye = talk.setup.wire.get("bye", "BYE").to_owned() + "\n";
    talk.send(bye.as_bytes())?;
    // Without turns, it may contain another such line.
    receive_rest(talk)
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    let (expected, actual) = (&situation.bytes.expected, &situation.bytes.actual);
    let has_turns = situation.wire.get("turns", "yes") == "yes";
    let text = match situation.kind {
        _ if is_length_in_characters(expected, actual) => {
            "the text was cut: its length was counted in characters, but some characters have several bytes; encode() \
             the text first, then take its length"
        }
        _ if situation.group != Group::Basic => return None,
        Kind::Different | Kind::Unexpected if has_turns => {
            return specific(situation).or_else(|| {
                let text = "only what is typed is sent, one line in each turn, and the server writes first; a program in \
                            which both sides may write at any time is checked with --wire turns=no";
                Some(text.to_owned())
            });
        }
        Kind::Silent if situation.role == Role::Server && is_first(expected) => {
            "the server writes first: it reads a line that is typed and sends it before it waits for one of the client"
        }
        Kind::Silent if !has_turns => {
            "one thread reads lines from the socket, and another one those that are typed"
        }
        Kind::Closed if actual.is_empty() && is_closing(expected, situation.wire) => {
            "the line that has the closing word is sent too, before the program leaves its loop"
        }
        Kind::StillOpen | Kind::Running => {
            "the lines that are typed and those that arrive are both searched for the closing word, and the program leaves \
             its loop and closes its sockets after either"
        }
        Kind::Output => "every line that arrives must be printed on the standard output",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Returns whether the line is the closing word.
fn is_closing(line: &[u8], wire: &Wire) -> bool {
    line.trim_ascii_end() == wire.get("bye", "BYE").as_bytes()
}

fn is_first(expected: &[u8]) -> bool {
    expected.strip_suffix(b"\n") == Some(FIRST.as_bytes())
}

/// Returns whether as many bytes have arrived as the expected text has characters.
fn is_length_in_characters(expected: &[u8], actual: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(expected) else { return false };
    let chars = text.trim_end().chars().count();
    let sent = actual.strip_suffix(b"\n").unwrap_or(actual);
    chars < text.trim_end().len() && sent.len() == chars && expected.starts_with(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_in_characters_is_recognised() {
        for (expected, actual, is) in [
            ("Là-bas, 中!\n", &b"L\xc3\xa0-bas, \xe4\n"[..], true),
            ("Là-bas, 中!\n", b"L\xc3\xa0-bas, \xe4", true),
            ("Là-bas, 中!\n", b"L\xc3\xa0-bas, \xe4\xb8\n", false),
            ("Hello\n", b"Hello\n", false),
            ("", b"", false),
        ] {
            assert_eq!(is_length_in_characters(expected.as_bytes(), actual), is, "{expected}");
        }
    }

    #[test]
    fn the_closing_word_of_other_programs_has_other_forms_too() {
        let chat = |bye: &str| Chat { role: Role::Client, bye: bye.to_owned(), has_turns: true };
        assert_eq!(
            (chat("BYE").other_case(), chat("BYE").longer()),
            ("bye".into(), "goodbye".into())
        );
        assert_eq!(
            (chat("quit").other_case(), chat("quit").longer()),
            ("QUIT".into(), "unquitable".into())
        );
    }
}
