//! The program is the server.

use std::time::Duration;

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::setup::Target;
use super::super::steps::{
    byte_by_byte, close, closed, closed_or_reset, connect, ends, half_close, info, pause,
    random_pieces, reset, restart, send, settled, slowly, survives, without_crash, without_error,
};
use super::super::talk::{Outcome, Talk};
use super::{
    Cut, ENDINGS, Form, Introduction, SERVER, STREAM, form, message, read_lines, receive, shown,
};

pub(super) fn cases(form: Form) -> Vec<Case> {
    let mut cases = table(form);
    if form.separator == b' ' {
        // The words of a name cannot be distinguished from the number there, unless the message is read from its end.
        for case in cases.iter_mut().filter(|case| case.name == "name-with-spaces") {
            case.is_info = true;
        }
    }
    if !form.newline {
        // Without a newline no program can know where the message ends, and this form was asked for.
        for case in &mut cases {
            let is_cut = case.name != "one-write" && case.steps.len() > 2;
            if is_cut && matches!(case.group.name(), "segmentation" | "slow") {
                case.is_info = true;
            }
        }
    }
    cases
}

fn table(form: Form) -> Vec<Case> {
    let part = |name: &str, number: &str| message(form, name, number);
    let name_only = message(form, "Ada", "").trim_ascii_end().to_vec();
    vec![
        case(
            "basic/names-and-numbers",
            "the server replies with its name and its number, closes the connection, and shows both names, both numbers and their sum",
            SERVER,
            [connect(), introduce("Ada", 42), answered(), closed(), shows("Ada", 42)],
        ),
        case(
            "basic/name-with-spaces",
            "a name may consist of several words",
            SERVER,
            [
                connect(),
                introduce("Ada King of Lovelace", 37),
                answered(),
                closed(),
                shows("Ada King of Lovelace", 37),
            ],
        ),
        case(
            "segmentation/one-byte",
            "name and number may arrive one byte at a time",
            STREAM,
            // A server may take a number without its newline for complete after a pause, so it has one digit.
            [connect(), byte_by_byte(), introduce("Ada", 7), answered(), closed(), shows("Ada", 7)],
        ),
        case(
            "segmentation/between-parts",
            "name and number may arrive in pieces of their own",
            STREAM,
            [connect(), introduce_cut("Ada", 42, Cut::BeforeNumber), answered(), closed(), shows("Ada", 42)],
        ),
        case(
            "segmentation/inside-number",
            "the number may arrive in two pieces",
            STREAM,
            [connect(), introduce_cut("Ada", 42, Cut::InsideNumber), answered(), closed(), shows("Ada", 42)],
        ),
        case(
            "segmentation/before-newline",
            "the newline after the number may arrive alone",
            STREAM,
            [connect(), introduce_cut("Ada", 42, Cut::BeforeNewline), answered(), closed(), shows("Ada", 42)],
        ),
        case(
            "segmentation/inside-character",
            "a character of several bytes may be cut between them",
            STREAM,
            [connect(), introduce_cut("Zoë", 42, Cut::InsideCharacter), answered(), closed()],
        )
        .hint("bytes were probably decoded before the name was complete: collect the bytes up to the newline, then decode them"),
        case(
            "segmentation/random",
            "name and number may arrive in pieces of any size",
            STREAM,
            [connect(), random_pieces(), introduce("Ada", 9), answered(), closed(), shows("Ada", 9)],
        ),
        case(
            "coalescing/with-the-end",
            "name, number and the end of the client's stream may arrive at once",
            ENDINGS,
            [connect(), introduce("Ada", 42), half_close(), answered(), closed(), shows("Ada", 42)],
        )
        .hint("a client may close its sending side and still read: send the reply all the same"),
        case(
            "slow/bytes-apart",
            "the bytes of name and number may arrive with pauses",
            STREAM,
            [
                connect(),
                slowly(Duration::from_millis(60)),
                introduce("Ada", 7),
                answered(),
                closed(),
                shows("Ada", 7),
            ],
        ),
        case(
            "slow/late-client",
            "a client may take its time before it sends anything",
            STREAM,
            [connect(), pause(300), introduce("Ada", 42), answered(), closed(), shows("Ada", 42)],
        ),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server",
            ENDINGS,
            [connect(), close(), info(survives(exchange))],
        ),
        case(
            "close/inside-name",
            "a client that leaves in the middle of its name does not end the server",
            ENDINGS,
            [connect(), send("half a name", "Ad"), close(), info(survives(exchange))],
        ),
        case(
            "close/after-name",
            "a client that leaves after its name does not end the server",
            ENDINGS,
            [connect(), send("the name without a number", name_only), close(), info(survives(exchange))],
        ),
        case(
            "close/before-reply",
            "a client that does not wait for the reply does not end the server",
            ENDINGS,
            [connect(), introduce("Ada", 42), close(), info(survives(exchange))],
        ),
        case(
            "reset/after-connect",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), reset(), survives(exchange)],
        )
        .info(),
        case(
            "reset/inside-name",
            "a client that resets the connection in the middle of its name does not end the server",
            ENDINGS,
            [connect(), send("half a name", "Ad"), settled(), reset(), survives(exchange)],
        )
        .info(),
        case(
            "bad-input/smallest-number",
            "the number 1 is in the range",
            SERVER,
            [connect(), introduce("Ada", 1), answered(), closed(), shows("Ada", 1)],
        )
        .hint("1 and 100 are in the range themselves"),
        case(
            "bad-input/greatest-number",
            "the number 100 is in the range",
            SERVER,
            [connect(), introduce("Ada", 100), answered(), closed(), shows("Ada", 100)],
        )
        .hint("1 and 100 are in the range themselves"),
        case(
            "bad-input/over-100",
            "a number over 100 ends the server, which closes its sockets and sends no reply",
            SERVER,
            [may_end(), connect(), introduce("Ada", 101), shuts_down(), without_crash(), info(no_reply()), info(without_error())],
        ),
        case(
            "bad-input/zero",
            "the number 0 ends the server, which closes its sockets and sends no reply",
            SERVER,
            [may_end(), connect(), introduce("Ada", 0), shuts_down(), without_crash(), info(no_reply()), info(without_error())],
        ),
        case(
            "bad-input/negative",
            "a negative number ends the server, which closes its sockets and sends no reply",
            SERVER,
            [may_end(), connect(), introduce("Ada", -42), shuts_down(), without_crash(), info(no_reply()), info(without_error())],
        ),
        case(
            "bad-input/later-client",
            "a number out of range ends the server also after it has served other clients",
            SERVER,
            [
                may_end(), connect(),
                introduce("Ada", 42),
                answered(),
                closed(),
                close(),
                connect(),
                introduce("Bob", 200),
                shuts_down(),
                without_crash(),
            ],
        ),
        case(
            "bad-input/very-large",
            "a number that does not fit into 64 bits is out of range too",
            SERVER,
            [
                may_end(), connect(),
                send("a number of 30 digits", part("Ada", &"9".repeat(30))),
                shuts_down(),
                without_crash(),
            ],
        )
        .info(),
        case(
            "bad-input/not-a-number",
            "a client that sends text in place of the number gets no reply, and does not end the server",
            SERVER,
            [
                connect(),
                send("text in place of the number", part("Ada", "forty-two")),
                half_close(),
                info(closed_or_reset()),
                serves("Bob", 17),
            ],
        )
        .hint("check the text before it is converted, or catch the error of the conversion, and close that connection only"),
        case(
            "bad-input/carriage-return",
            "lines may end as on Windows, with a carriage return before the newline",
            SERVER,
            [connect(), send("lines that end with \\r\\n", crlf(form)), answered(), closed(), shows("Ada", 42)],
        )
        .info(),
        case(
            "bad-input/other-characters",
            "a name may have characters beyond ASCII, in UTF-8",
            SERVER,
            [connect(), introduce("Zoë", 42), answered(), closed(), info(shows("Zoë", 42))],
        ),
        case(
            "sequential/second-client",
            "the server serves clients until one sends a number out of range",
            SERVER,
            [
                connect(),
                introduce("Ada", 42),
                answered(),
                closed(),
                close(),
                serves("Bob", 17),
                serves("Zed", 99),
            ],
        ),
        case(
            "sequential/at-the-same-time",
            "a client that sends nothing does not keep others waiting",
            SERVER,
            [connect(), serves("Bob", 17)],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), introduce("Ada", 42), answered(), closed(), restart(), serves("Bob", 17)],
        )
        .info(),
    ]
}

fn crlf(form: Form) -> Vec<u8> {
    let text = String::from_utf8_lossy(&message(form, "Ada", "42")).replace('\n', "\r\n");
    text.into_bytes()
}

/// Sends name and number in one write, unless other steps cut it.
fn introduce(name: &'static str, number: i32) -> Step {
    step(format!("send the name \"{name}\" and the number {number}"), move |talk| {
        let bytes = message(form(&talk.setup.wire), name, &number.to_string());
        talk.send(&bytes)
    })
}

fn introduce_cut(name: &'static str, number: i32, cut: Cut) -> Step {
    let text = format!("send the name \"{name}\" and the number {number}, {}", cut.what());
    step(text, move |talk| {
        let bytes = message(form(&talk.setup.wire), name, &number.to_string());
        talk.send_parts(cut.parts(&bytes, number))
    })
}

/// Receives the name and the number of the server.
fn reply(talk: &mut Talk) -> Outcome<Introduction> {
    receive(talk, None, read_lines)
}

fn answered() -> Step {
    step("receive the server's name and number", |talk| reply(talk).map(|_| ()))
}

/// Waits until the server shows what it has received and what it has last sent.
fn shows(name: &'static str, number: i64) -> Step {
    step("see both names, both numbers and their sum shown", move |talk| {
        // Without a program whose output is visible, no message has to be read.
        let Some(sent) = read_lines(&talk.message, super::StreamState::Idle).ok().flatten() else {
            return Ok(());
        };
        shown(talk, [name, &sent.name], [number, sent.number]).map_err(|failure| {
            if sent.number == number {
                failure
                    .hint("the reply has the number of the client: the server sends its own number")
            } else {
                failure
            }
        })
    })
}

/// Skips the case if it would end a server that was not started for it.
fn may_end() -> Step {
    step("start the server", |talk| match talk.setup.target {
        Target::Running(_) => {
            let text = "it would end the server, which was not started here";
            Err(Failure::new(Kind::System, text).into())
        }
        Target::Command(_) | Target::Pair { .. } => talk.start(),
    })
}

/// Waits until the server ends because of a number out of range.
fn shuts_down() -> Step {
    step("see the server end", |talk| {
        (ends().run)(talk).map_err(|failure| match failure.kind {
            Kind::Running => failure.hint(
                "a number outside 1 to 100 ends the server: close the connection and the listening socket, and leave \
                 the loop",
            ),
            _ => failure,
        })
    })
}

/// Checks that the connection has ended without a reply.
fn no_reply() -> Step {
    step("see that no reply was sent", |talk| match talk.closed(true) {
        Err(mut failure) if failure.kind == Kind::Unexpected => {
            "the program replied to a number out of range".clone_into(&mut failure.message);
            Err(failure.hint("check the number before the reply is sent"))
        }
        outcome => outcome,
    })
}

/// Performs an exchange on the current connection.
fn exchange(talk: &mut Talk) -> Outcome {
    let bytes = message(form(&talk.setup.wire), "Bob", "17");
    talk.send(&bytes)?;
    reply(talk)?;
    talk.closed(true)?;
    talk.close()
}

/// Performs an exchange as another client.
fn serves(name: &'static str, number: i32) -> Step {
    let text = format!("send the name \"{name}\" and the number {number} as another client");
    step(text + ", and receive the reply", move |talk| {
        talk.set_faults(crate::faults::Faults::default());
        talk.connect()?;
        let bytes = message(form(&talk.setup.wire), name, &number.to_string());
        talk.send(&bytes)?;
        reply(talk)?;
        talk.closed(true)?;
        talk.close()
    })
}
