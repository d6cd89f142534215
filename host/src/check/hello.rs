//! Cases of the greetings.

mod pair;

use std::time::Duration;

use super::case::{Case, Protocol, Situation, Step, case, step};
use super::failure::Kind;
use super::lines::{
    ONE_RECV, SPLIT_CHARACTER, line, long, receive_any_line, receive_line, rest, shows,
};
use super::setup::{Role, Wire};
use super::steps::{
    accept, byte_by_byte, close, closed, closed_or_reset, connect, ends, half_close, info,
    leaves_port, on_connection, pause, pieces_of, random_pieces, reset, restart, send, send_parts,
    slowly, survives, without_crash, without_error,
};
use super::talk::{Outcome, Talk};
use crate::faults::Faults;

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "hello",
    cases,
    pair: &pair::PAIR,
    hint,
    wire: &[
        ("both", &["no", "yes"], "whether the client answers with a greeting (Assignment 2)"),
        (
            "clients",
            &["1", "2", "many"],
            "number of clients that the server must serve: 1 (Project 1), 2 (Assignment 1), many (Project 3)",
        ),
    ],
};

const GREETING: &str = "Hello from server";
const ANSWER: &str = "Hello from client";

const PROJECT_1: &str = "004, Project 1";
const PROJECT_2: &str = "004, Project 2";
const PROJECT_3: &str = "004, Project 3";
const ASSIGNMENT_1: &str = "004, Assignment 1";
const ASSIGNMENT_2: &str = "004, Assignment 2";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

fn cases(role: Role, wire: &Wire) -> Vec<Case> {
    let both = wire.get("both", "no") == "yes";
    match (role, both) {
        (Role::Server, false) => server(wire.get("clients", "1")),
        (Role::Server, true) => {
            let mut all = server_of_both();
            all.extend(clients(wire.get("clients", "1"), greet_both));
            all
        }
        (Role::Client | Role::Pair, false) => client(),
        (Role::Client | Role::Pair, true) => client_of_both(),
    }
}

// The program is the server.

fn server(number: &str) -> Vec<Case> {
    // A server for two clients may greet them when both are there.
    let connect = || match number {
        "2" => connect_twice(),
        _ => connect(),
    };
    let mut all = vec![
        case(
            "basic/greeting",
            "the server sends the line \"Hello from server\" to a client that has connected",
            PROJECT_1,
            [connect(), greeting()],
        ),
        case(
            "basic/close",
            "after the greeting the server sends nothing more, and closes the connection",
            PROJECT_1,
            [connect(), greeting(), closed()],
        ),
        case(
            "slow/late-reader",
            "a client may read the greeting later",
            PROJECT_2,
            [connect(), pause(250), greeting(), closed()],
        ),
        case(
            "close/half-close",
            "a client that closes its sending side at once is greeted all the same",
            ENDINGS,
            [connect(), half_close(), greeting(), closed_or_reset()],
        )
        .info(),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server",
            ENDINGS,
            [connect(), close(), info(survives(greet))],
        ),
        case(
            "close/after-greeting",
            "a client that leaves after the greeting does not end the server",
            ENDINGS,
            [connect(), greeting(), close(), info(survives(greet))],
        ),
        case(
            "reset/after-connect",
            "a client that resets the connection at once does not end the server",
            ENDINGS,
            [connect(), reset(), survives(greet)],
        )
        .info(),
        case(
            "reset/after-greeting",
            "a client that resets the connection after the greeting does not end the server",
            ENDINGS,
            [connect(), greeting(), reset(), survives(greet)],
        )
        .info(),
        case(
            "bad-input/unexpected-bytes",
            "a client that sends something is greeted all the same",
            PROJECT_1,
            [
                connect(),
                send("a line", "Is anybody there?\n"),
                greeting(),
                closed_or_reset(),
                survives(greet),
            ],
        )
        .info(),
    ];
    all.extend(clients(number, greet));
    all
}

/// Returns the cases of several clients, and of a restart.
fn clients(number: &str, greet: fn(&mut Talk) -> Outcome) -> Vec<Case> {
    let another = move || step("be greeted as another client", move |talk| next(talk, greet));
    let first = move || {
        step("be greeted", move |talk| {
            talk.connect()?;
            greet(talk)
        })
    };
    let restarted = case(
        "restart/port",
        "the server can be started again at once, at the same port",
        "003, 2.2 Setting up and using a server socket",
        [leaves_port(), first(), restart(), first()],
    )
    .info();
    let second = |source| {
        case(
            "sequential/second-client",
            "the server greets another client after the first one",
            source,
            [first(), survives(greet), another()],
        )
    };
    let at_once = |source| {
        case(
            "sequential/at-the-same-time",
            "a client that stays does not keep others waiting",
            source,
            [connect(), another()],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left")
    };
    match number {
        "2" => vec![case(
            "sequential/two-clients",
            "the server greets two clients that connect one after the other",
            ASSIGNMENT_1,
            [
                connect(),
                connect(),
                on_connection(1),
                step("be greeted as the first client", greet),
                on_connection(2),
                step("be greeted as the second client", greet),
            ],
        )],
        "many" => vec![
            second(PROJECT_3),
            case(
                "sequential/ten-clients",
                "the server greets one client after the other, indefinitely",
                PROJECT_3,
                [
                    first(),
                    step("be greeted as nine other clients, one after the other", move |talk| {
                        (0..9).try_for_each(|_| next(talk, greet))
                    }),
                ],
            ),
            at_once(PROJECT_3),
            restarted,
        ],
        _ => vec![info_of_last(second(PROJECT_3)), at_once(PROJECT_3), restarted],
    }
}

/// Returns the case with its last step as information.
fn info_of_last(mut case: Case) -> Case {
    if let Some(last) = case.steps.pop() {
        case.steps.push(info(last));
    }
    case
}

fn server_of_both() -> Vec<Case> {
    let answered = |what, answer: &[u8]| {
        vec![connect(), greeting(), send(what, answer), closed_or_reset(), info(logs(ANSWER))]
    };
    let line = b"Hello from client\n";
    vec![
        case(
            "basic/greeting",
            "the server sends the line \"Hello from server\" to a client that has connected",
            PROJECT_1,
            [connect(), greeting()],
        ),
        case(
            "basic/answer",
            "the server receives the client's line, shows it and closes the connection",
            ASSIGNMENT_2,
            [connect(), greeting(), send("the answer", line), closed(), info(logs(ANSWER))],
        ),
        case(
            "segmentation/two-parts",
            "the answer may arrive in two parts",
            PROJECT_2,
            [
                connect(),
                greeting(),
                send_parts("the answer", [b"Hello fr".to_vec(), b"om client\n".to_vec()]),
                closed(),
                info(logs(ANSWER)),
            ],
        )
        .hint(ONE_RECV),
        case(
            "segmentation/one-byte",
            "the answer may arrive one byte at a time",
            PROJECT_2,
            [connect(), greeting(), byte_by_byte(), send("the answer", line), closed(), info(logs(ANSWER))],
        )
        .hint(ONE_RECV),
        case(
            "segmentation/newline-alone",
            "the newline of the answer may arrive by itself",
            PROJECT_2,
            [
                connect(),
                greeting(),
                send_parts("the answer", [ANSWER.into(), b"\n".to_vec()]),
                closed(),
                info(logs(ANSWER)),
            ],
        )
        .hint(ONE_RECV),
        case(
            "coalescing/early-answer",
            "the answer may arrive before the greeting was sent",
            PROJECT_2,
            [connect(), send("the answer", line), greeting(), closed_or_reset()],
        )
        .info(),
        case(
            "slow/two-parts",
            "the second part of the answer may come 100 ms after the first one",
            PROJECT_2,
            [
                connect(),
                greeting(),
                send("the first part of the answer", "Hello fr"),
                pause(100),
                send("the rest", "om client\n"),
                closed(),
                info(logs(ANSWER)),
            ],
        )
        .hint(ONE_RECV),
        case(
            "close/before-answer",
            "a client that leaves without an answer does not end the server",
            ENDINGS,
            [connect(), greeting(), close(), info(survives(greet_both))],
        ),
        case(
            "close/inside-answer",
            "a client that leaves in the middle of its answer does not end the server",
            ENDINGS,
            [connect(), greeting(), send("half an answer", "Hello fr"), close(), info(survives(greet_both))],
        ),
        case(
            "close/no-newline",
            "an answer may end with the client's stream instead of a newline",
            PROJECT_2,
            [connect(), greeting(), send("the answer without its newline", ANSWER), half_close(), closed_or_reset()],
        )
        .info(),
        case(
            "reset/before-answer",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), greeting(), reset(), survives(greet_both)],
        )
        .info(),
        case(
            "reset/inside-answer",
            "a client that resets the connection in the middle of its answer does not end the server",
            ENDINGS,
            [connect(), greeting(), send("half an answer", "Hello fr"), reset(), survives(greet_both)],
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "the answer may end with a carriage return and a newline",
            PROJECT_2,
            answered("the answer with \\r\\n", b"Hello from client\r\n"),
        )
        .info(),
        case(
            "bad-input/empty-line",
            "the answer may be an empty line",
            PROJECT_2,
            [connect(), greeting(), send("an empty line", "\n"), closed_or_reset(), survives(greet_both)],
        )
        .info(),
        case(
            "bad-input/not-utf-8",
            "an answer that is not text does not end the server",
            PROJECT_2,
            [connect(), greeting(), send("bytes that are not UTF-8", b"\xff\xfe\xc3\n"), closed_or_reset(), survives(greet_both)],
        )
        .info(),
    ]
}

/// Receives the greeting.
fn greeting() -> Step {
    line("the greeting", GREETING)
}

/// Receives the greeting and the end, and closes.
fn greet(talk: &mut Talk) -> Outcome {
    receive_line(talk, "the greeting", GREETING)?;
    talk.closed(false)?;
    talk.close()
}

/// Receives the greeting, answers, receives the end and closes.
fn greet_both(talk: &mut Talk) -> Outcome {
    receive_line(talk, "the greeting", GREETING)?;
    talk.send(b"Hello from client\n")?;
    talk.closed(false)?;
    talk.close()
}

/// Is greeted on another connection.
fn next(talk: &mut Talk, greet: fn(&mut Talk) -> Outcome) -> Outcome {
    talk.set_faults(Faults::default());
    talk.connect()?;
    greet(talk)
}

/// Connects twice. The first connection is the current one then.
fn connect_twice() -> Step {
    step("connect as two clients", |talk| {
        talk.connect()?;
        talk.connect()?;
        talk.use_connection(0);
        Ok(())
    })
}

/// Waits until a server has shown this text. Its log may be on the standard error.
fn logs(text: &'static str) -> Step {
    step(format!("see \"{text}\" printed"), move |talk| {
        talk.shown(&format!("\"{text}\""), |output| output.contains(text))
    })
}

// The program is the client.

/// Returns the steps after the greeting: the client shows it and ends.
fn over(text: &str) -> [Step; 3] {
    [shows(text), ends(), without_error()]
}

/// Returns a case with these steps before the end of our stream and of the program.
fn greeted(
    path: &'static str,
    requirement: &'static str,
    source: &'static str,
    before: impl IntoIterator<Item = Step>,
    text: &str,
) -> Case {
    let mut steps = vec![accept()];
    steps.extend(before);
    steps.push(half_close());
    steps.extend(over(text));
    case(path, requirement, source, steps)
}

const WHOLE: &[u8] = b"Hello from server\n";

fn client() -> Vec<Case> {
    let mut all = vec![
        greeted(
            "basic/greeting",
            "the client prints the greeting and ends",
            PROJECT_1,
            [send("the greeting", WHOLE)],
            GREETING,
        ),
        greeted(
            "basic/other-words",
            "the client prints what the server has sent, whatever that is",
            PROJECT_1,
            [send("another greeting", "Welcome, client number 42!\n")],
            "Welcome, client number 42!",
        ),
    ];
    all.extend(pieces(&[]));
    all.extend([
        case(
            "coalescing/more-after",
            "what follows the greeting is not waited for",
            PROJECT_2,
            [
                accept(),
                send("the greeting and another line", "Hello from server\nGood bye\n"),
                half_close(),
                shows(GREETING),
                ends(),
            ],
        )
        .info(),
        case(
            "close/after-greeting",
            "the greeting and the end of the connection may arrive at the same time",
            PROJECT_1,
            [vec![accept(), send("the greeting", WHOLE), close()], over(GREETING).into()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        ),
    ]);
    all.extend(endings());
    all
}

/// Returns the cases in which the greeting arrives in another way. `answer`: what follows the greeting.
fn pieces(answer: &'static [fn() -> Step]) -> Vec<Case> {
    let with = |before: Vec<Step>| before.into_iter().chain(answer.iter().map(|step| step()));
    let whole = || send("the greeting", WHOLE);
    vec![
        greeted(
            "segmentation/two-parts",
            "the greeting may arrive in two parts",
            PROJECT_2,
            with(vec![send_parts("the greeting", [b"Hello fr".to_vec(), b"om server\n".to_vec()])]),
            GREETING,
        )
        .hint(ONE_RECV),
        greeted(
            "segmentation/one-byte",
            "the greeting may arrive one byte at a time",
            PROJECT_2,
            with(vec![byte_by_byte(), whole()]),
            GREETING,
        )
        .hint(ONE_RECV),
        greeted(
            "segmentation/newline-alone",
            "the newline of the greeting may arrive by itself",
            PROJECT_2,
            with(vec![send_parts("the greeting", [GREETING.into(), b"\n".to_vec()])]),
            GREETING,
        )
        .hint(ONE_RECV),
        greeted(
            "segmentation/random",
            "the greeting may arrive in pieces of any size",
            PROJECT_2,
            with(vec![random_pieces(), whole()]),
            GREETING,
        )
        .hint(ONE_RECV),
        greeted(
            "segmentation/character",
            "a character of several bytes may be cut",
            "004, Unicode and Encodings",
            with(vec![
                byte_by_byte(),
                send("a greeting with é, 中 and an emoji", "Bonjour é 中 \u{1f44b}\n"),
            ]),
            "Bonjour é 中 \u{1f44b}",
        )
        .hint(SPLIT_CHARACTER),
        greeted(
            "segmentation/long-line",
            "a greeting of 1000 bytes is printed as a whole",
            PROJECT_2,
            with(vec![pieces_of(300), send("a long greeting", long() + "\n")]),
            &long(),
        )
        .hint(ONE_RECV),
        greeted(
            "slow/late-greeting",
            "the greeting may come some time after the connection",
            PROJECT_2,
            with(vec![pause(250), whole()]),
            GREETING,
        ),
        greeted(
            "slow/two-parts",
            "the second part of the greeting may come 100 ms after the first one",
            PROJECT_2,
            with(vec![
                send("the first part of the greeting", "Hello fr"),
                pause(100),
                send("the rest", "om server\n"),
            ]),
            GREETING,
        )
        .hint(ONE_RECV),
        greeted(
            "slow/bytes-apart",
            "the bytes of the greeting may arrive with pauses",
            PROJECT_2,
            with(vec![slowly(Duration::from_millis(30)), whole()]),
            GREETING,
        )
        .hint(ONE_RECV),
    ]
}

/// Returns the cases in which the greeting does not come, or is none.
fn endings() -> Vec<Case> {
    let left = || [ends(), info(without_crash())];
    let ended = |before: Vec<Step>| before.into_iter().chain(left()).collect::<Vec<_>>();
    vec![
        case(
            "close/before-greeting",
            "a server that closes at once ends the client",
            ENDINGS,
            ended(vec![accept(), close()]),
        ),
        case(
            "close/inside-greeting",
            "a server that closes in the middle of the greeting ends the client",
            ENDINGS,
            ended(vec![accept(), send("half a greeting", "Hello fr"), close()]),
        ),
        case(
            "close/no-newline",
            "a greeting without its newline ends with the server's stream",
            PROJECT_1,
            [
                accept(),
                send("the greeting without its newline", GREETING),
                close(),
                ends(),
                info(without_crash()),
                info(shows(GREETING)),
            ],
        ),
        case(
            "reset/before-greeting",
            "a server that resets the connection ends the client",
            ENDINGS,
            ended(vec![accept(), reset()]),
        ),
        case(
            "reset/inside-greeting",
            "a server that resets the connection in the middle of the greeting ends the client",
            ENDINGS,
            ended(vec![
                accept(),
                send("half a greeting", "Hello fr"),
                step("wait until the client has read it", Talk::settle),
                reset(),
            ]),
        ),
        case(
            "bad-input/empty-line",
            "an empty greeting ends the client",
            PROJECT_2,
            ended(vec![accept(), send("an empty line", "\n"), half_close(), rest()]),
        ),
        case(
            "bad-input/not-utf-8",
            "a greeting that is not text ends the client without a crash",
            PROJECT_2,
            ended(vec![
                accept(),
                send("bytes that are not UTF-8", b"Hello \xff\xfe\xc3\n"),
                half_close(),
                rest(),
            ]),
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "a greeting may end with a carriage return and a newline",
            PROJECT_2,
            [
                vec![
                    accept(),
                    send("the greeting with \\r\\n", "Hello from server\r\n"),
                    half_close(),
                    rest(),
                ],
                over(GREETING).into(),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
        )
        .info(),
    ]
}

fn client_of_both() -> Vec<Case> {
    const ANSWERS: &[fn() -> Step] = &[answer];
    let mut all = vec![
        greeted(
            "basic/greeting",
            "the client prints the greeting, answers with a line and ends",
            ASSIGNMENT_2,
            [send("the greeting", WHOLE), answer()],
            GREETING,
        ),
        greeted(
            "basic/other-words",
            "the client prints what the server has sent, whatever that is",
            PROJECT_1,
            [send("another greeting", "Welcome, client number 42!\n"), answer()],
            "Welcome, client number 42!",
        ),
    ];
    all.extend(pieces(ANSWERS));
    all.push(case(
        "close/before-answer",
        "a server that closes before it has read the answer ends the client",
        ENDINGS,
        [accept(), send("the greeting", WHOLE), close(), ends(), info(without_crash())],
    ));
    all.extend(endings());
    all
}

/// Receives the client's greeting, whose words are not fixed.
fn answer() -> Step {
    step("receive a line of the client", |talk| {
        let text = receive_any_line(talk, "the answer")?;
        if text.starts_with(b"b'") || text.starts_with(b"b\"") {
            let text = "the answer is the notation of bytes";
            let failure = Box::new(super::failure::Failure::new(Kind::Different, text));
            return Err(failure
                .hint("str() of bytes was sent, with b'' around it: use decode() and encode()"));
        }
        Ok(())
    })
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    let text = match (situation.role, situation.kind) {
        (Role::Server, Kind::Silent) if situation.group == super::case::Group::Basic => {
            "the server greets first, as soon as a client has connected; a server that waits for two clients is checked with \
             --wire clients=2"
        }
        (Role::Server, Kind::StillOpen) if situation.wire.get("both", "no") == "no" => {
            "close the socket of the client after the greeting; a server that waits for an answer is checked with --wire both=yes"
        }
        (Role::Server, Kind::StillOpen) if situation.group == super::case::Group::Basic => {
            "close the socket of the client after its answer, which ends with a newline"
        }
        (Role::Server, Kind::Unexpected) => {
            "the greeting is one line: send nothing after its newline"
        }
        (Role::Client, Kind::Silent) if situation.group == super::case::Group::Basic => {
            "the client answers when the greeting has arrived; a client that does not answer is checked without --wire both=yes"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
