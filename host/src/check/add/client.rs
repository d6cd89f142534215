//! The program is the client.

use std::time::Duration;

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    accept, byte_by_byte, close, ends, half_close, info, pause, random_pieces, reset, send,
    settled, slowly, without_crash, without_error,
};
use super::super::talk::Outcome;
use super::{CLIENT, Cut, ENDINGS, STREAM, answer_to, read, receive, shown};

/// Number and name of our server.
const ANSWER: (&str, i32) = ("Grace", 57);

pub(super) fn cases() -> Vec<Case> {
    vec![
        exchange(
            "basic/names-and-numbers",
            "the client sends name and number, and shows both names, both numbers and their sum",
            CLIENT,
            ("Ada", 42),
            ANSWER,
            [answer(ANSWER)],
        ),
        exchange(
            "basic/name-with-spaces",
            "a name may consist of several words",
            CLIENT,
            ("Ada King of Lovelace", 37),
            ANSWER,
            [answer(ANSWER)],
        ),
        exchange(
            "segmentation/one-byte",
            "the reply may arrive one byte at a time",
            STREAM,
            ("Ada", 42),
            ANSWER,
            [byte_by_byte(), answer(ANSWER)],
        ),
        exchange(
            "segmentation/between-parts",
            "name and number of the server may arrive in pieces of their own",
            STREAM,
            ("Ada", 42),
            ANSWER,
            [answer_cut(ANSWER, Cut::BeforeNumber)],
        ),
        exchange(
            "segmentation/inside-number",
            "the number of the server may arrive in two pieces",
            STREAM,
            ("Ada", 42),
            ANSWER,
            [answer_cut(ANSWER, Cut::InsideNumber)],
        ),
        exchange(
            "segmentation/before-newline",
            "the last byte of the reply may arrive alone",
            STREAM,
            ("Ada", 42),
            ("Grace", 7),
            [answer_cut(("Grace", 7), Cut::BeforeNewline)],
        ),
        case(
            "segmentation/inside-character",
            "a character of several bytes may be cut between them",
            STREAM,
            [
                accept(),
                introduced("Ada", 42),
                answer_cut(("Zoë", 57), Cut::InsideCharacter),
                half_close(),
                shows(("Ada", 42), ("", 57)),
                ends(),
                without_error(),
            ],
        )
        .input("name", "Ada")
        .input("number", "42")
        .hint("bytes were probably decoded before the name was complete: collect the bytes up to the newline, then decode them"),
        exchange(
            "segmentation/random",
            "the reply may arrive in pieces of any size",
            STREAM,
            ("Ada", 42),
            ANSWER,
            [random_pieces(), answer(ANSWER)],
        ),
        case(
            "coalescing/closed-at-once",
            "the reply and the close may arrive at once",
            STREAM,
            [
                accept(),
                introduced("Ada", 42),
                answer(ANSWER),
                close(),
                shows(("Ada", 42), ANSWER),
                ends(),
                without_error(),
            ],
        )
        .input("name", "Ada")
        .input("number", "42"),
        exchange(
            "slow/bytes-apart",
            "the bytes of the reply may arrive with pauses",
            STREAM,
            ("Ada", 42),
            ANSWER,
            [slowly(Duration::from_millis(60)), answer(ANSWER)],
        ),
        exchange(
            "slow/late-reply",
            "the client waits for the reply",
            CLIENT,
            ("Ada", 42),
            ANSWER,
            [pause(300), answer(ANSWER)],
        ),
        lost(
            "close/before-reply",
            "a server that closes without a reply ends the client",
            [introduced("Ada", 42), close()],
        ),
        lost(
            "close/inside-name",
            "a server that closes in the middle of its name ends the client",
            [introduced("Ada", 42), send("half a name", "Gra"), close()],
        ),
        lost(
            "close/after-name",
            "a server that closes after its name ends the client",
            [introduced("Ada", 42), send("a name", "Grace\n"), close()],
        ),
        lost("close/after-connect", "a server that closes at once ends the client", [close()]),
        lost(
            "reset/before-reply",
            "a server that resets the connection ends the client",
            [introduced("Ada", 42), reset()],
        ),
        lost(
            "reset/inside-reply",
            "a server that resets the connection in the middle of its reply ends the client",
            [introduced("Ada", 42), send("half a reply", "Grace\n"), settled(), reset()],
        ),
        lost("reset/after-connect", "a server that resets at once ends the client", [reset()]),
        lost(
            "bad-input/not-a-number",
            "a server that sends text in place of its number ends the client",
            [introduced("Ada", 42), send("a reply without a number", "Grace\nforty-two\n"), close()],
        ),
        exchange(
            "bad-input/other-characters",
            "a name may have characters beyond ASCII, in UTF-8",
            CLIENT,
            ("Zoë Müller", 42),
            ("", 57),
            [answer(("José", 57))],
        ),
        exchange(
            "bad-input/smallest-number",
            "the number 1 is in the range",
            CLIENT,
            ("Ada", 1),
            ("Grace", 100),
            [answer(("Grace", 100))],
        )
        .hint("1 and 100 are in the range themselves"),
        exchange(
            "bad-input/greatest-number",
            "the number 100 is in the range",
            CLIENT,
            ("Ada", 100),
            ("Grace", 98),
            [answer(("Grace", 98))],
        )
        .hint("1 and 100 are in the range themselves"),
        case(
            "bad-input/number-out-of-range",
            "a number that is not from 1 to 100 is asked for again",
            CLIENT,
            [
                asks(),
                accept(),
                introduced("Ada", 42),
                answer(ANSWER),
                half_close(),
                shows(("Ada", 42), ANSWER),
                ends(),
            ],
        )
        .info()
        .input("name", "Ada")
        .input("number", "0")
        .input("number", "101")
        .input("number", "42")
        .hint("check the number before it is sent, and ask again while it is not from 1 to 100"),
        case(
            "bad-input/text-for-number",
            "text in place of the number is asked for again",
            CLIENT,
            [
                asks(),
                accept(),
                introduced("Ada", 42),
                answer(ANSWER),
                half_close(),
                shows(("Ada", 42), ANSWER),
                ends(),
            ],
        )
        .info()
        .input("name", "Ada")
        .input("number", "forty-two")
        .input("number", "42")
        .hint("check that the text is a number before it is converted, and ask again if it is none"),
    ]
}

/// Returns a case in which both ends do their part. `answers`: the steps of the reply.
fn exchange(
    path: &'static str,
    requirement: &'static str,
    source: &'static str,
    (name, number): (&'static str, i32),
    server: (&'static str, i32),
    answers: impl IntoIterator<Item = Step>,
) -> Case {
    let mut steps = vec![accept(), introduced(name, number)];
    steps.extend(answers);
    steps.push(half_close());
    if name.is_ascii() {
        steps.extend([shows((name, number), server), ends(), without_error()]);
    } else {
        // The encoding of the output is that of the system.
        steps.extend([ends(), without_error(), info(shows((name, number), server))]);
    }
    case(path, requirement, source, steps).input("name", name).input("number", number.to_string())
}

/// Returns a case in which the server does not do its part.
fn lost(
    path: &'static str,
    requirement: &'static str,
    events: impl IntoIterator<Item = Step>,
) -> Case {
    let mut steps = vec![accept()];
    steps.extend(events);
    steps.extend([ends(), info(without_crash())]);
    case(path, requirement, ENDINGS, steps).input("name", "Ada").input("number", "42")
}

/// Skips the case if the number is not typed.
fn asks() -> Step {
    step("type the number", |talk| {
        if talk.setup.is_argument("number") {
            let text = "the number is an argument of the command, and not typed";
            return Err(Failure::new(Kind::System, text).into());
        }
        Ok(())
    })
}

/// Receives the name and the number of the client.
fn introduced(name: &'static str, number: i32) -> Step {
    step(format!("receive the name \"{name}\" and the number {number}"), move |talk| {
        receive(talk, Some((name, number.into())), read).map(|_| ())
    })
}

/// Sends the reply in the form that the client has used.
fn answer((name, number): (&'static str, i32)) -> Step {
    step(format!("send the name \"{name}\" and the number {number}"), move |talk| {
        let answer = answer_to(talk, name, number);
        talk.send(&answer)
    })
}

fn answer_cut((name, number): (&'static str, i32), cut: Cut) -> Step {
    let text = format!("send the name \"{name}\" and the number {number}, {}", cut.what());
    step(text, move |talk| {
        let answer = answer_to(talk, name, number);
        talk.send_parts(cut.parts(&answer, number))
    })
}

fn shows(client: (&'static str, i32), server: (&'static str, i32)) -> Step {
    step("see both names, both numbers and their sum shown", move |talk| -> Outcome {
        shown(talk, [client.0, server.0], [client.1.into(), server.1.into()])
    })
}
