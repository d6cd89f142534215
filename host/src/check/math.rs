//! Cases of the math quiz.

mod pair;

use std::time::Duration;

use socklab_core::math::{ANSWER_BYTES, Mistake, Question, Secret};
use socklab_core::wire::Byte;

use super::case::{Case, Group, Protocol, Situation, Step, case, step};
use super::failure::{Failure, Kind};
use super::hint::unpack;
use super::setup::{Role, Wire};
use super::steps::{
    accept, byte_by_byte, close, closed, closed_or_reset, connect, ends, half_close, info,
    prints_exactly, random_pieces, receive, reset, restart, send, send_parts, slowly, survives,
    without_crash, without_error,
};
use super::talk::{Outcome, Parsed, Talk};
use crate::faults::Faults;

pub(super) const PROTOCOL: Protocol =
    Protocol { name: "math", cases, pair: &pair::PAIR, hint, wire: &[] };

const QUESTIONS: &str = "001, Questions & Answers";
const SECRET_PHRASE: &str = "001, Secret Phrase";
const STREAM: &str = "001, Communicating with the Server";
/// Format of a question in Python.
const FORMAT: &str = "\"!cII\"";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

/// Secrets and questions have no meaning. They differ in every byte, so that a wrong order shows.
const SECRET: &[u8; 8] = b"k7Qp2xZw";
const QUIZ: [Question; 3] = [
    Question { a: 0x0102_0304, b: 0x0011_2233 },
    Question { a: 7, b: 35 },
    Question { a: 0x3fff_fffe, b: 0x3a5b_6c7d },
];

fn cases(role: Role, _: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server(),
        Role::Client | Role::Pair => client(),
    }
}

// The program is the server.

fn server() -> Vec<Case> {
    vec![
        case(
            "basic/questions-and-secret",
            "each question is Q and two 4-byte integers; after the last right answer come S and the 8 bytes of the secret, and the server closes",
            QUESTIONS,
            [connect(), solve(&[]), closed()],
        ),
        case(
            "basic/wrong-answer",
            "after a wrong answer the server closes the connection, without the secret",
            QUESTIONS,
            [connect(), question(), send_answer("a wrong answer", |sum| sum.wrapping_add(1).to_be_bytes().to_vec()), refused()],
        ),
        case(
            "segmentation/one-byte",
            "an answer may arrive one byte at a time",
            STREAM,
            [connect(), byte_by_byte(), solve(&[]), closed()],
        ),
        case(
            "segmentation/every-boundary",
            "an answer may be cut between any two of its bytes",
            STREAM,
            [connect(), solve(&[1, 2, 3]), closed()],
        ),
        case(
            "segmentation/random",
            "an answer may arrive in pieces of any size",
            STREAM,
            [connect(), random_pieces(), solve(&[]), closed()],
        ),
        case(
            "slow/bytes-apart",
            "the bytes of an answer may arrive with pauses",
            STREAM,
            [connect(), slowly(Duration::from_millis(60)), solve(&[]), closed()],
        ),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server",
            ENDINGS,
            [connect(), close(), info(survives(|talk| solve_all(talk, &[])))],
        ),
        case(
            "close/inside-answer",
            "a client that leaves in the middle of an answer does not end the server",
            ENDINGS,
            [connect(), question(), send("half an answer", [0, 0]), close(), info(survives(|talk| solve_all(talk, &[])))],
        ),
        case(
            "close/half-close",
            "a client that closes its sending side in the middle of an answer has answered wrongly",
            ENDINGS,
            [connect(), question(), send("half an answer", [0, 0]), half_close(), refused()],
        )
        .info(),
        case(
            "close/between-messages",
            "a client that leaves after a right answer does not end the server",
            ENDINGS,
            [connect(), question(), right_answer(), close(), info(survives(|talk| solve_all(talk, &[])))],
        ),
        case(
            "reset/before-answer",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), question(), reset(), survives(|talk| solve_all(talk, &[]))],
        )
        .info(),
        case(
            "reset/inside-answer",
            "a client that resets the connection in the middle of an answer does not end the server",
            ENDINGS,
            [connect(), question(), send("half an answer", [0, 0]), reset(), next_client()],
        )
        .info(),
        case(
            "bad-input/little-endian",
            "an answer in the wrong byte order is a wrong answer",
            QUESTIONS,
            [connect(), question(), send_answer("the answer in little-endian order", |sum| sum.to_le_bytes().to_vec()), refused()],
        ),
        case(
            "bad-input/decimal-text",
            "an answer in decimal digits is a wrong answer",
            QUESTIONS,
            [connect(), question(), send_answer("the answer as text", |sum| format!("{sum:04}\n").into_bytes()), refused()],
        ),
        case(
            "sequential/second-client",
            "the server serves another client after the first one",
            "000, Overview",
            [connect(), solve(&[]), closed(), close(), next_client()],
        )
        .info(),
        case(
            "sequential/at-the-same-time",
            "a client that does not answer does not keep others waiting",
            "000, Overview",
            [connect(), question(), next_client()],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), question(), restart(), connect(), solve(&[]), closed()],
        )
        .info(),
    ]
}

/// Receives a question.
fn receive_question(talk: &mut Talk) -> Outcome<Question> {
    let bytes = talk.receive("a question", |bytes| match (bytes, bytes.first_chunk::<9>()) {
        ([], _) | ([Question::TAG, ..], None) => Parsed::More,
        ([Question::TAG, ..], Some(_)) => Parsed::Done(Question::BYTES),
        ([tag, ..], _) => {
            let text = format!("a question starts with Q, and this message with {}", Byte(*tag));
            Parsed::Wrong(None, text)
        }
    })?;
    talk.message.clone_from(&bytes);
    Ok(bytes.first_chunk().map_or(Question { a: 0, b: 0 }, Question::parse))
}

/// Receives a question. Later steps answer it.
fn question() -> Step {
    step("receive a question", |talk| {
        talk.noted = receive_question(talk)?.sum().into();
        Ok(())
    })
}

/// Answers the question that was last received.
fn send_answer(what: &'static str, answer: fn(u32) -> Vec<u8>) -> Step {
    step(format!("send {what}"), move |talk| {
        let sum = u32::try_from(talk.noted).unwrap_or_default();
        talk.send(&answer(sum))
    })
}

fn right_answer() -> Step {
    send_answer("the answer", |sum| sum.to_be_bytes().to_vec())
}

/// Waits for the end after a wrong answer.
fn refused() -> Step {
    step("see the connection end without the secret", |talk| match talk.closed(true) {
        Err(mut failure) if failure.kind == Kind::Unexpected => {
            let is_secret =
                failure.bytes.as_ref().is_some_and(|bytes| bytes.actual.starts_with(b"S"));
            let what = if is_secret { "sent the secret" } else { "went on" };
            failure.message = format!("the program {what} after a wrong answer");
            let hint = question_mistake(&talk.message, &failure).unwrap_or_else(|| {
                "compare the answer with the sum before the next question is sent".to_owned()
            });
            Err(failure.hint(hint))
        }
        Err(failure) if failure.kind == Kind::StillOpen => {
            Err(failure.hint("close the connection after a wrong answer"))
        }
        outcome => outcome,
    })
}

/// Answers all questions, and receives the secret. `cuts`: answers are cut there, each at another place.
fn solve(cuts: &'static [usize]) -> Step {
    let text = match cuts {
        [] => "answer every question and receive the secret",
        _ => "answer every question, each answer cut at another place, and receive the secret",
    };
    step(text, move |talk| solve_all(talk, cuts))
}

fn solve_all(talk: &mut Talk, cuts: &[usize]) -> Outcome {
    /// A server that asks without end is stopped after this number of questions.
    const MAX: usize = 1000;
    talk.message.clear();
    for n in 0..MAX {
        let received = talk.receive("a question or the secret", |bytes| match bytes {
            [Question::TAG | Secret::TAG, ..] if bytes.len() >= Question::BYTES => {
                Parsed::Done(Question::BYTES)
            }
            [] | [Question::TAG | Secret::TAG, ..] => Parsed::More,
            [tag, ..] => {
                let text =
                    format!("a message starts with Q or S, and this one with {}", Byte(*tag));
                Parsed::Wrong(None, text)
            }
        });
        let bytes = received.map_err(|mut failure| {
            failure.hint = question_mistake(&talk.message, &failure);
            failure
        })?;
        talk.message.clone_from(&bytes);
        let Some(message) = bytes.first_chunk().filter(|message| message[0] == Question::TAG)
        else {
            return Ok(());
        };
        if message[1..].iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace()) {
            let failure = Failure::new(Kind::Different, "the question has decimal digits");
            let failure = Box::new(failure.bytes([], message));
            return Err(
                failure.hint("the integers are decimal text: send 4 bytes for each, big-endian")
            );
        }
        let answer = Question::parse(message).sum().to_be_bytes();
        let cut = cuts.get(n % cuts.len().max(1)).copied().unwrap_or(ANSWER_BYTES);
        let (front, back) = answer.split_at(cut);
        talk.send_parts([front, back].into_iter().filter(|part| !part.is_empty()))?;
    }
    Err(Failure::new(
        Kind::Different,
        format!("the program asked {MAX} questions and sent no secret"),
    )
    .into())
}

/// Returns the likely mistake in a question, if what follows it shows one.
fn question_mistake(question: &[u8], failure: &Failure) -> Option<String> {
    let message: &[u8; Question::BYTES] = question.first_chunk()?;
    let actual = failure.bytes.as_ref().map(|bytes| bytes.actual.as_slice()).unwrap_or_default();
    let bytes = Question::BYTES + actual.len();
    // The padding of two integers that have 4 or 8 bytes.
    if message[1..4] == [0; 3] && matches!(bytes, 12 | 24) {
        return Some(format!(
            "the question has {bytes} bytes, not 9: without a \"!\" Python adds padding and uses the byte order of the \
             machine, so the format is {FORMAT}"
        ));
    }
    let Question { a, b } = Question::parse(message);
    let is_reversed =
        [a, b].iter().any(|n| n >> 31 == 1) && [a, b].iter().all(|n| n.swap_bytes() >> 31 == 0);
    (is_reversed && actual.is_empty() && matches!(failure.kind, Kind::Closed | Kind::Reset)).then(
        || {
            format!(
                "the integers of the question seem to be in little-endian order: send them big-endian, in Python with the \
                 format {FORMAT}"
            )
        },
    )
}

/// Solves the quiz on another connection.
fn next_client() -> Step {
    step("solve the quiz as another client", |talk| {
        talk.set_faults(Faults::default());
        talk.connect()?;
        solve_all(talk, &[])
    })
}

// The program is the client.

fn client() -> Vec<Case> {
    let all = || {
        vec![
            accept(),
            ask_all(),
            send_secret(),
            half_close(),
            prints_exactly("k7Qp2xZw"),
            ends(),
            without_error(),
        ]
    };
    vec![
        case(
            "basic/one-question",
            "the client answers a question with 4 bytes, and prints the secret",
            QUESTIONS,
            [
                accept(),
                ask(QUIZ[0]),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
                without_error(),
            ],
        ),
        case(
            "basic/several-questions",
            "the client answers until the secret comes, however often that is",
            QUESTIONS,
            all(),
        ),
        case(
            "basic/no-question",
            "the secret may come at once",
            SECRET_PHRASE,
            [accept(), send_secret(), half_close(), prints_exactly("k7Qp2xZw"), ends(), without_error()],
        ),
        case(
            "basic/many-questions",
            "the client answers 40 questions",
            QUESTIONS,
            [
                accept(),
                step("ask 40 questions and receive each answer", |talk| {
                    (0..40_u32).try_for_each(|n| {
                        ask_one(talk, Question { a: n.wrapping_mul(52_345_679) >> 1, b: n * 77 })
                    })
                }),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
                without_error(),
            ],
        ),
        case(
            "basic/spaces-in-secret",
            "the secret may be any 8 bytes, also spaces",
            SECRET_PHRASE,
            [
                accept(),
                send("a secret with spaces", Secret(*b" 7Qp xZ ").emit()),
                half_close(),
                prints_exactly(" 7Qp xZ "),
                ends(),
            ],
        )
        .info()
        .hint("white space was removed from the secret, as by strip(), or only a part of it was printed"),
        case(
            "segmentation/one-byte",
            "questions and the secret may arrive one byte at a time",
            STREAM,
            [vec![accept(), byte_by_byte()], all().split_off(1)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        ),
        case(
            "segmentation/every-boundary",
            "a question may be cut between any two of its bytes",
            STREAM,
            [
                accept(),
                step("ask 8 questions, each cut at another place", |talk| {
                    (1..Question::BYTES).try_for_each(|cut| {
                        let question = QUIZ[cut % 3];
                        let message = question.emit();
                        let (front, back) = message.split_at(cut);
                        talk.send_parts([front, back])?;
                        receive_answer(talk, question)
                    })
                }),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        ),
        case(
            "segmentation/secret",
            "the secret may arrive in two pieces",
            SECRET_PHRASE,
            [
                accept(),
                ask(QUIZ[1]),
                send_parts("the secret", [b"Sk7Q".to_vec(), b"p2xZw".to_vec()]),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        ),
        case(
            "segmentation/tag-first",
            "the Q of a question may arrive alone",
            STREAM,
            [
                accept(),
                step("ask a question whose Q arrives alone, and receive the answer", |talk| {
                    let message = QUIZ[2].emit();
                    talk.send_parts([&message[..1], &message[1..]])?;
                    receive_answer(talk, QUIZ[2])
                }),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        ),
        case(
            "segmentation/random",
            "questions may arrive in pieces of any size",
            STREAM,
            [vec![accept(), random_pieces()], all().split_off(1)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        ),
        case(
            "coalescing/two-questions",
            "two questions may arrive at once",
            STREAM,
            [
                accept(),
                send("two questions in one write", [QUIZ[0].emit(), QUIZ[1].emit()].concat()),
                answer_to(QUIZ[0]),
                answer_to(QUIZ[1]),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        )
        .info(),
        case(
            "slow/bytes-apart",
            "the bytes of a question may arrive with pauses",
            STREAM,
            [
                accept(),
                slowly(Duration::from_millis(60)),
                ask(QUIZ[0]),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        ),
        case(
            "close/before-question",
            "a server that closes at once ends the client",
            ENDINGS,
            [accept(), close(), ends(), info(without_crash())],
        ),
        case(
            "close/inside-question",
            "a server that closes in the middle of a question ends the client",
            ENDINGS,
            [
                accept(),
                send("half a question", b"Q\0\0\0".to_vec()),
                close(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/after-answer",
            "a server that closes after an answer has refused it: the client ends",
            QUESTIONS,
            [accept(), ask(QUIZ[0]), close(), ends(), info(without_crash())],
        ),
        case(
            "reset/before-question",
            "a server that resets the connection ends the client",
            ENDINGS,
            [accept(), reset(), ends(), info(without_crash())],
        ),
        case(
            "reset/after-answer",
            "a server that resets the connection after an answer ends the client",
            ENDINGS,
            [accept(), ask(QUIZ[0]), reset(), ends(), info(without_crash())],
        ),
        case(
            "bad-input/unknown-tag",
            "a message that starts with neither Q nor S ends the client",
            QUESTIONS,
            [
                accept(),
                send("a message that starts with X", b"X12345678".to_vec()),
                closed_or_reset(),
                close(),
                ends(),
            ],
        )
        .info(),
        case(
            "bad-input/sum-over-31-bits",
            "the sum of two numbers below 2^31 always fits into the 4 bytes of the answer",
            QUESTIONS,
            [
                accept(),
                ask(Question { a: 0x7fff_fff0, b: 0x7fff_fff1 }),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        )
        .info()
        .hint("the sum needs 32 bits without a sign: in Python the format \"!I\", not \"!i\""),
        case(
            "bad-input/sum-over-32-bits",
            "the sum is taken modulo 2^32, if it does not fit into 4 bytes",
            QUESTIONS,
            [
                accept(),
                ask(Question { a: u32::MAX, b: 3 }),
                send_secret(),
                half_close(),
                prints_exactly("k7Qp2xZw"),
                ends(),
            ],
        )
        .info()
        .hint("the sum may need 33 bits: take it modulo 2^32, in Python (a + b) & 0xffffffff"),
    ]
}

fn receive_answer(talk: &mut Talk, question: Question) -> Outcome {
    let what = format!("the answer to {question}");
    talk.receive_exactly(&what, &question.sum().to_be_bytes()).map_err(|mut failure| {
        if let Some(bytes) = &failure.bytes {
            failure.hint = answer_mistake(question, &bytes.actual).map(str::to_owned);
        }
        failure
    })
}

/// Returns the likely mistake in a wrong answer, if it depends on the question.
fn answer_mistake(question: Question, actual: &[u8]) -> Option<&'static str> {
    let swapped = question.a.swap_bytes().wrapping_add(question.b.swap_bytes());
    let sum = question.sum();
    if swapped != sum
        && (actual.starts_with(&swapped.to_le_bytes())
            || actual.starts_with(&swapped.to_be_bytes()))
    {
        return Some(
            "the two integers were read in little-endian order: they are big-endian, in Python \"!II\"",
        );
    }
    if actual.starts_with(&u64::from(sum).to_be_bytes()) {
        return Some("the answer has 8 bytes, not 4: in Python \"!I\"");
    }
    match actual.strip_prefix(&sum.to_be_bytes()) {
        Some(b"\n" | b"\r\n") => Some("a newline follows the answer: send its 4 bytes alone"),
        _ => None,
    }
}

fn ask_one(talk: &mut Talk, question: Question) -> Outcome {
    talk.send(&question.emit())?;
    receive_answer(talk, question)
}

fn ask(question: Question) -> Step {
    step(format!("ask {question} and receive the answer"), move |talk| ask_one(talk, question))
}

fn ask_all() -> Step {
    step("ask three questions and receive each answer", |talk| {
        QUIZ.into_iter().try_for_each(|question| ask_one(talk, question))
    })
}

fn answer_to(question: Question) -> Step {
    receive(&format!("the answer to {question}"), question.sum().to_be_bytes())
}

fn send_secret() -> Step {
    send("the secret", Secret(*SECRET).emit())
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    const PARTS: [usize; 4] = [1, ANSWER_BYTES, 2 * ANSWER_BYTES, Question::BYTES];
    let size = unpack::wrong_size(situation, &PARTS, "a question has 9", FORMAT);
    if size.is_some() {
        return size;
    }
    let actual = situation.bytes.actual.as_slice();
    if situation.group == Group::Basic && situation.stderr.is_empty() {
        let text = match (situation.role, situation.kind, actual) {
            (Role::Client, Kind::Closed, _) => {
                "the program closes before the secret has come: repeat until a message starts with S"
            }
            (Role::Server, Kind::Closed | Kind::Reset, []) if situation.sent.is_empty() => {
                "the program closes the connection before it has sent a question: the server speaks first here"
            }
            (Role::Server, Kind::Closed | Kind::Reset, []) => {
                "the program refuses the right answer: the integers of a question and the 4 bytes of the answer are \
                 big-endian, in Python with the formats \"!cII\" and \"!I\""
            }
            (Role::Server, Kind::Closed, [Secret::TAG, ..]) => {
                "a secret has exactly 8 bytes after the S"
            }
            (Role::Server, Kind::Different, [first, ..]) if first.is_ascii_graphic() => {
                "nothing may be sent but questions, which start with Q, and the secret, which starts with S"
            }
            _ => "",
        };
        if !text.is_empty() {
            return Some(text.to_owned());
        }
    }
    let expected = situation.bytes.expected.as_slice().try_into().ok().map(u32::from_be_bytes)?;
    let sent = situation.bytes.actual.as_slice();
    let mistake = Mistake::find(sent.get(..ANSWER_BYTES)?, expected);
    mistake.or_else(|| Mistake::find(sent, expected)).map(|mistake| mistake.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_a_question_are_recognised() {
        let mistake = |question: &[u8], kind, actual: &[u8]| {
            let failure = Failure::new(kind, "").bytes([], actual);
            question_mistake(question, &failure).unwrap_or_default()
        };
        let padded = b"Q\0\0\0\x01\x02\x03\x04\x05";
        assert!(mistake(padded, Kind::Different, &[6, 7, 8]).contains("12 bytes, not 9"));
        assert!(mistake(padded, Kind::Unexpected, &[0; 15]).contains("24 bytes, not 9"));
        let reversed = b"Q\x01\xff\x03\x04\xff\x06\x07\x08";
        assert!(mistake(reversed, Kind::Closed, b"").contains("little-endian"));
        let right = b"Q\x01\xff\x03\x04\x05\x06\x07\x08";
        for (kind, actual) in [(Kind::Closed, &b""[..]), (Kind::Different, b"xyz")] {
            assert_eq!(mistake(right, kind, actual), "");
        }
    }
}
