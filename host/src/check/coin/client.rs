//! Cases of a client of head or tail.

use std::time::Duration;

use socklab_core::coin::{PROMPT, Reply};

use super::super::case::{Case, Step, case, step};
use super::super::steps::{
    accept, close, ends, half_close, info, pause, reset, types, types_unless_ended, without_crash,
    without_error,
};
use super::super::talk::{Outcome, Talk};
use super::super::turns::{NO_FAULTS, different, expecting, receive_line, say, say_parts, says};
use super::{COUNTERS, Counters, ENDINGS, GAME, STREAM, counters};
use crate::faults::{Cut, Faults};

/// What a person types, and the reply to it.
type Round = (&'static str, Reply);

const SHORT: &[Round] = &[("H", Reply::Right), ("T", Reply::Wrong), ("Q", Reply::Bye)];

pub(super) fn cases() -> Vec<Case> {
    let cut = |cut| Faults { cut, ..NO_FAULTS };
    vec![
        case(
            "basic/game",
            "after each prompt the client sends the guess that was typed, as a line; after Q and the farewell it ends",
            GAME,
            game(SHORT, NO_FAULTS),
        )
,
        case(
            "basic/quit-at-once",
            "Q is sent like a guess; without a guess, 0 of 0 guesses were right",
            COUNTERS,
            game(&[("Q", Reply::Bye)], NO_FAULTS),
        ),
        case(
            "basic/counters",
            "at the end the client shows the number of right guesses, and of all guesses",
            COUNTERS,
            game(
                &[
                    ("H", Reply::Wrong),
                    ("T", Reply::Right),
                    ("H", Reply::Right),
                    ("H", Reply::Wrong),
                    ("T", Reply::Wrong),
                    ("Q", Reply::Bye),
                ],
                NO_FAULTS,
            ),
        ),
        case(
            "basic/small-letters",
            "a person may type small letters, and the guesses count",
            GAME,
            game(&[("h", Reply::Right), ("t", Reply::Right), ("q", Reply::Bye)], NO_FAULTS),
        ),
        case(
            "basic/shows-replies",
            "the client shows what the server replies",
            GAME,
            {
                let mut steps = vec![accept(), play(SHORT, NO_FAULTS)];
                steps.push(shows("You are right!"));
                steps.push(shows("Sorry, you are wrong."));
                steps
            },
        )
        .info(),
        case(
            "segmentation/reply-one-byte",
            "a reply may arrive one byte at a time",
            STREAM,
            game(SHORT, cut(Cut::every(1))),
        ),
        case(
            "segmentation/reply-every-boundary",
            "a reply may be cut between any two of its bytes",
            STREAM,
            cut_everywhere(),
        ),
        case(
            "segmentation/reply-random",
            "a reply may arrive in pieces of any size",
            STREAM,
            game(SHORT, cut(Some(Cut::Random))),
        ),
        case(
            "segmentation/prompt",
            "a prompt may be cut; it has nothing that marks its end, and the client of the document takes one recv() for all of it",
            STREAM,
            prompt_cut(40),
        )
        .info(),
        case(
            "segmentation/prompt-one-byte",
            "a prompt may arrive one byte at a time; it has nothing that marks its end, and the client of the document takes one recv() for all of it",
            STREAM,
            prompt_cut(1),
        )
        .info(),
        case(
            "coalescing/reply-and-prompt",
            "a reply and the next prompt may arrive at once; the client of the document then waits for the prompt indefinitely",
            STREAM,
            glued(),
        )
        .info(),
        case(
            "coalescing/farewell-and-end",
            "the farewell and the end of the stream may arrive at once",
            STREAM,
            [
                accept(),
                play(&[("T", Reply::Right)], NO_FAULTS),
                prompt(),
                types("Q"),
                guess("Q"),
                step("send the farewell and close the sending side", |talk| {
                    talk.send(&line(Reply::Bye))?;
                    talk.half_close()
                }),
                counters(Counters { right: 1, of: 1 }, false),
                ends(),
                without_error(),
            ],
        ),
        case(
            "slow/reply-bytes-apart",
            "the bytes of a reply may arrive with pauses",
            STREAM,
            game(
                &[("H", Reply::Right), ("Q", Reply::Bye)],
                Faults { gap: Duration::from_millis(20), ..cut(Cut::every(1)) },
            ),
        ),
        case(
            "slow/late-prompt",
            "the prompt may arrive later than the connection, and later than a reply",
            STREAM,
            [
                accept(),
                pause(250),
                play(&[("H", Reply::Right)], NO_FAULTS),
                pause(250),
                play(&[("Q", Reply::Bye)], NO_FAULTS),
                half_close(),
                counters(Counters { right: 1, of: 1 }, false),
                ends(),
                without_error(),
            ],
        ),
        case(
            "close/before-prompt",
            "a server that closes at once ends the client",
            ENDINGS,
            [accept(), close(), types_unless_ended("H"), ends(), info(without_crash())],
        ),
        case(
            "close/after-prompt",
            "a server that has closed when the guess is typed ends the client",
            ENDINGS,
            [accept(), prompt(), close(), types("H"), types_unless_ended("H"), ends(), info(without_crash())],
        ),
        case(
            "close/instead-of-reply",
            "a server that closes instead of a reply ends the client",
            ENDINGS,
            [accept(), prompt(), types("H"), guess("H"), close(), types_unless_ended("H"), ends(), info(without_crash())],
        ),
        case(
            "close/inside-reply",
            "a server that closes in the middle of a reply ends the client",
            ENDINGS,
            [
                accept(),
                prompt(),
                types("T"),
                guess("T"),
                says("half a reply", "You are"),
                close(),
                types_unless_ended("H"),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/instead-of-prompt",
            "a server that closes instead of the next prompt ends the client",
            ENDINGS,
            [
                accept(),
                play(&[("H", Reply::Right)], NO_FAULTS),
                close(),
                types_unless_ended("H"),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/without-farewell",
            "a server that closes after Q without a farewell ends the client",
            ENDINGS,
            [
                accept(),
                play(&[("H", Reply::Wrong)], NO_FAULTS),
                prompt(),
                types("Q"),
                guess("Q"),
                close(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "reset/after-prompt",
            "a server that has reset the connection when the guess is typed ends the client",
            ENDINGS,
            [accept(), prompt(), reset(), types("H"), ends(), info(without_crash())],
        ),
        case(
            "reset/instead-of-reply",
            "a server that resets the connection instead of a reply ends the client",
            ENDINGS,
            [accept(), prompt(), types("H"), guess("H"), reset(), ends(), info(without_crash())],
        ),
        case(
            "bad-input/typed-text",
            "what is neither H, T nor Q is not a guess: the client asks again, or the server does, and it does not count",
            COUNTERS,
            [
                accept(),
                play(&[("H", Reply::Right)], NO_FAULTS),
                typo(),
                play(&[("Q", Reply::Bye)], NO_FAULTS),
                half_close(),
                counters(Counters { right: 2, of: 2 }, false),
                ends(),
                without_error(),
            ],
        ),
        case(
            "bad-input/other-prompt",
            "the words of the prompt may differ from those of the document",
            GAME,
            [
                accept(),
                says("another prompt", "Head (H) or tail (T)? Q quits: "),
                types("H"),
                guess("H"),
                reply(Reply::Right),
                says("another prompt", "Head (H) or tail (T)? Q quits: "),
                types("Q"),
                guess("Q"),
                reply(Reply::Bye),
                half_close(),
                counters(Counters { right: 1, of: 1 }, false),
                ends(),
            ],
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "a reply may end with a carriage return and a newline",
            GAME,
            [
                accept(),
                prompt(),
                types("T"),
                guess("T"),
                says("the reply", "You are right!\r\n"),
                play(&[("Q", Reply::Bye)], NO_FAULTS),
                half_close(),
                counters(Counters { right: 1, of: 1 }, false),
                ends(),
            ],
        )
        .info(),
    ]
}

fn line(reply: Reply) -> Vec<u8> {
    [reply.text(), b"\n"].concat()
}

fn prompt() -> Step {
    says("the prompt", PROMPT)
}

fn reply(reply: Reply) -> Step {
    says("the reply", line(reply))
}

fn shows(text: &'static str) -> Step {
    step(format!("see \"{text}\" printed"), move |talk| {
        talk.shown(&format!("\"{text}\""), |output| output.contains(text))
    })
}

/// Receives this letter, in any case.
fn receive_guess(talk: &mut Talk, letter: &str) -> Outcome {
    let what = format!("the guess {letter}");
    let line = receive_line(talk, &what);
    let line = line.map_err(|failure| expecting(failure, letter.as_bytes()))?;
    if line.eq_ignore_ascii_case(letter.as_bytes()) {
        return Ok(());
    }
    Err(different(format!("{what} is wrong"), letter.as_bytes(), &line))
}

fn guess(letter: &'static str) -> Step {
    step(format!("receive the guess {letter}"), move |talk| receive_guess(talk, letter))
}

/// Plays these rounds. The faults are those of the replies.
fn play(rounds: &'static [Round], faults: Faults) -> Step {
    let typed: Vec<&str> = rounds.iter().map(|(typed, _)| *typed).collect();
    step(format!("prompt, type and reply: {}", typed.join(", ")), move |talk| {
        rounds.iter().try_for_each(|round| play_one(talk, *round, faults))
    })
}

fn play_one(talk: &mut Talk, (typed, reply): Round, faults: Faults) -> Outcome {
    say(talk, PROMPT, NO_FAULTS)?;
    talk.type_line(typed)?;
    receive_guess(talk, &typed.to_uppercase())?;
    say(talk, &line(reply), faults)
}

/// Returns the steps of a whole game.
fn game(rounds: &'static [Round], faults: Faults) -> Vec<Step> {
    let mut score = Counters::default();
    rounds.iter().for_each(|(_, reply)| score.count(*reply));
    vec![
        accept(),
        play(rounds, faults),
        half_close(),
        counters(score, faults.cut.is_some()),
        ends(),
        without_error(),
    ]
}

/// Returns the steps of a game in which each reply is cut at another place.
fn cut_everywhere() -> Vec<Step> {
    const WRONG: Reply = Reply::Wrong;
    let places = WRONG.text().len();
    let of = u32::try_from(places).unwrap_or_default();
    vec![
        accept(),
        step(format!("play {places} rounds, with each reply cut at another place"), move |talk| {
            (1..=places).try_for_each(|cut| {
                say(talk, PROMPT, NO_FAULTS)?;
                talk.type_line("H")?;
                receive_guess(talk, "H")?;
                say_parts(talk, &line(WRONG), cut)
            })
        }),
        play(&[("Q", Reply::Bye)], NO_FAULTS),
        half_close(),
        counters(Counters { right: 0, of }, true),
        ends(),
        without_error(),
    ]
}

/// Returns the steps of a game whose prompts are cut into pieces of this size.
fn prompt_cut(size: usize) -> Vec<Step> {
    let faults = Faults { cut: Cut::every(size), ..NO_FAULTS };
    let what = if size == 1 { "byte by byte" } else { "in two pieces" };
    let round = move |talk: &mut Talk, letter: &str, reply: Reply| {
        say(talk, PROMPT, faults)?;
        talk.type_line(letter)?;
        receive_guess(talk, letter)?;
        say(talk, &line(reply), NO_FAULTS)
    };
    vec![
        accept(),
        step(format!("send the prompt {what}, type and reply: H, T, Q"), move |talk| {
            round(talk, "H", Reply::Right)?;
            round(talk, "T", Reply::Right)?;
            round(talk, "Q", Reply::Bye)
        }),
        half_close(),
        counters(Counters { right: 2, of: 2 }, true),
        ends(),
        without_error(),
    ]
}

/// Returns the steps of a game in which each reply arrives with the next prompt.
fn glued() -> Vec<Step> {
    vec![
        accept(),
        prompt(),
        step("type H, T and Q, and send each reply and the next prompt in one write", |talk| {
            for (letter, reply) in [("H", Reply::Wrong), ("T", Reply::Right)] {
                talk.type_line(letter)?;
                receive_guess(talk, letter)?;
                say(talk, &[&line(reply), PROMPT].concat(), NO_FAULTS)?;
            }
            talk.type_line("Q")?;
            receive_guess(talk, "Q")
        }),
        reply(Reply::Bye),
        half_close(),
        counters(Counters { right: 1, of: 2 }, true),
        ends(),
        without_error(),
    ]
}

/// Types a text that is not a guess, and then H. A client may send the text, or ask again.
fn typo() -> Step {
    step("prompt, type \"X\" and then \"H\", and reply", |talk| {
        say(talk, PROMPT, NO_FAULTS)?;
        talk.type_line("X")?;
        talk.type_line("H")?;
        let first = receive_line(talk, "a guess").map_err(|failure| expecting(failure, b"H"))?;
        match first.to_ascii_uppercase().as_slice() {
            b"X" => {
                say(talk, &line(Reply::Invalid), NO_FAULTS)?;
                say(talk, PROMPT, NO_FAULTS)?;
                receive_guess(talk, "H")?;
            }
            b"H" => {}
            _ => return Err(different("the guess H is wrong".into(), b"H", &first)),
        }
        say(talk, &line(Reply::Right), NO_FAULTS)
    })
}
