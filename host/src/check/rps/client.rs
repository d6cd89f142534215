//! Cases of a client of scissor, paper, stone: player 1.

use std::time::Duration;

use socklab_core::rps::{Choice, PROMPT};

use super::super::case::{Case, Step, case, step};
use super::super::steps::{
    accept, close, ends, half_close, info, pause, reset, types, types_unless_ended, without_crash,
    without_error,
};
use super::super::talk::{Outcome, Talk};
use super::super::turns::{NO_FAULTS, receive_text, say, say_parts, says};
use super::{DRAWS, ENDINGS, GAME, MIXED, PLAYER1_WINS, PLAYER2_WINS, Pair, STREAM, key, result};
use crate::faults::{Cut, Faults};

pub(super) fn cases() -> Vec<Case> {
    let cut = |cut| Faults { cut, ..NO_FAULTS };
    vec![
        case(
            "basic/draws",
            "the client sends its choice as a word, and sends the verdict back; it ends after three rounds",
            GAME,
            game(&DRAWS, NO_FAULTS),
        )
,
        case(
            "basic/player1-wins",
            "1 is Scissor, 2 is Paper, 3 is Stone; the verdict \"Player1 wins!\" is sent back like any other",
            GAME,
            game(&PLAYER1_WINS, NO_FAULTS),
        ),
        case(
            "basic/player2-wins",
            "the verdict \"Player2 wins!\" is sent back like any other",
            GAME,
            game(&PLAYER2_WINS, NO_FAULTS),
        ),
        case(
            "basic/shows-draw",
            "the client shows the verdict: a draw",
            GAME,
            shows(&DRAWS, &["draw"], &["you win", "you lose", "you lost"]),
        )
        .info(),
        case(
            "basic/shows-player1-wins",
            "the client shows the verdict: player 1 has won, who is the person at the client",
            GAME,
            shows(&PLAYER1_WINS, &["win", "won"], &["you lose", "you lost"]),
        )
        .info(),
        case(
            "basic/shows-player2-wins",
            "the client shows the verdict: player 2 has won, who is the person at the server",
            GAME,
            shows(&PLAYER2_WINS, &["player2 win", "player 2 win", "lose", "lost", "loss"], &["you win", "you won"]),
        )
        .info(),
        case(
            "segmentation/verdict-one-byte",
            "a verdict may arrive one byte at a time",
            STREAM,
            game(&MIXED, cut(Cut::every(1))),
        ),
        case(
            "segmentation/verdict-every-boundary",
            "a verdict may be cut at a comma, inside a word, and before its newline",
            STREAM,
            cut_at(&[4, 16, 21]),
        ),
        case(
            "segmentation/verdict-newline-apart",
            "the newline of a verdict may arrive apart",
            STREAM,
            cut_at(&[usize::MAX; 3]),
        ),
        case(
            "segmentation/verdict-random",
            "a verdict may arrive in pieces of any size",
            STREAM,
            game(&MIXED, cut(Some(Cut::Random))),
        ),
        case(
            "segmentation/prompt",
            "a prompt may be cut; it has nothing that marks its end, and a client may take one recv() for all of it, as the document does",
            STREAM,
            prompt_cut(26),
        )
        .info(),
        case(
            "segmentation/prompt-one-byte",
            "a prompt may arrive one byte at a time; it has nothing that marks its end, and a client may take one recv() for all of it, as the document does",
            STREAM,
            prompt_cut(1),
        )
        .info(),
        case(
            "coalescing/verdict-and-prompt",
            "a verdict and the next prompt may arrive at once; a server that waits for the acknowledgement never sends them so",
            STREAM,
            glued(),
        )
        .info(),
        case(
            "slow/verdict-bytes-apart",
            "the bytes of a verdict may arrive with pauses",
            STREAM,
            game(&MIXED, Faults { gap: Duration::from_millis(8), ..cut(Cut::every(1)) }),
        ),
        case(
            "slow/late-verdict",
            "the verdict comes when player 2 has chosen, however late that is",
            GAME,
            [
                accept(),
                prompt(),
                types("2"),
                choice(Choice::Paper),
                pause(300),
                verdict((Choice::Paper, Choice::Stone)),
                acknowledged((Choice::Paper, Choice::Stone)),
            ],
        ),
        case(
            "close/before-prompt",
            "a server that closes at once ends the client",
            ENDINGS,
            [accept(), close(), types_unless_ended("1"), ends(), info(without_crash())],
        ),
        case(
            "close/after-prompt",
            "a server that has closed when the choice is typed ends the client",
            ENDINGS,
            [accept(), prompt(), close(), types("1"), types_unless_ended("1"), ends(), info(without_crash())],
        ),
        case(
            "close/instead-of-verdict",
            "a server that closes instead of a verdict ends the client",
            ENDINGS,
            [
                accept(),
                prompt(),
                types("1"),
                choice(Choice::Scissor),
                close(),
                types_unless_ended("1"),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/inside-verdict",
            "a server that closes in the middle of a verdict ends the client",
            ENDINGS,
            [
                accept(),
                prompt(),
                types("3"),
                choice(Choice::Stone),
                says("half a verdict", "Player1 wi"),
                close(),
                types_unless_ended("1"),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/between-rounds",
            "a server that closes after a round ends the client",
            ENDINGS,
            [
                accept(),
                play(&[(Choice::Paper, Choice::Paper)], NO_FAULTS),
                close(),
                types_unless_ended("1"),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "reset/after-prompt",
            "a server that has reset the connection when the choice is typed ends the client",
            ENDINGS,
            [accept(), prompt(), reset(), types("1"), ends(), info(without_crash())],
        ),
        case(
            "reset/instead-of-verdict",
            "a server that resets the connection instead of a verdict ends the client",
            ENDINGS,
            [
                accept(),
                prompt(),
                types("1"),
                choice(Choice::Scissor),
                reset(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "bad-input/typed-choice",
            "anything but 1, 2 and 3 is asked for again, and not sent",
            GAME,
            [
                accept(),
                prompt(),
                types("4"),
                types("x"),
                types("2"),
                choice(Choice::Paper),
                verdict((Choice::Paper, Choice::Stone)),
                acknowledged((Choice::Paper, Choice::Stone)),
            ],
        )
        .hint("test what was typed, and ask again, before it is sent"),
        case(
            "bad-input/spaces-after-commas",
            "a verdict may have spaces after its commas; it is sent back as it is",
            GAME,
            [
                accept(),
                prompt(),
                types("2"),
                choice(Choice::Paper),
                says("the verdict", "Player1 wins!, Paper, Stone\n"),
                returned("Player1 wins!, Paper, Stone"),
            ],
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "a verdict may end with a carriage return and a newline",
            GAME,
            [
                accept(),
                prompt(),
                types("2"),
                choice(Choice::Paper),
                says("the verdict", "Draw,Paper,Paper\r\n"),
                returned("Draw,Paper,Paper"),
            ],
        )
        .info(),
        case(
            "bad-input/other-prompt",
            "the words of the prompt may differ from those of the document",
            GAME,
            [
                accept(),
                says("another prompt", "Choose (1) Scissor, (2) Paper or (3) Stone : "),
                types("2"),
                choice(Choice::Paper),
                verdict((Choice::Paper, Choice::Paper)),
                acknowledged((Choice::Paper, Choice::Paper)),
            ],
        )
        .info(),
    ]
}

fn prompt() -> Step {
    says("the prompt", PROMPT)
}

fn line(pair: Pair) -> Vec<u8> {
    (result(pair) + "\n").into_bytes()
}

fn verdict(pair: Pair) -> Step {
    says("the verdict", line(pair))
}

fn receive_choice(talk: &mut Talk, choice: Choice) -> Outcome {
    receive_text(talk, &format!("the choice {choice}"), choice.name().as_bytes())
}

fn choice(choice: Choice) -> Step {
    step(format!("receive the choice {choice}"), move |talk| receive_choice(talk, choice))
}

fn receive_acknowledgement(talk: &mut Talk, pair: Pair) -> Outcome {
    receive_text(talk, "the acknowledgement", result(pair).as_bytes())
}

fn acknowledged(pair: Pair) -> Step {
    step("receive the verdict back", move |talk| receive_acknowledgement(talk, pair))
}

fn returned(text: &'static str) -> Step {
    step("receive the verdict back", |talk| {
        receive_text(talk, "the acknowledgement", text.as_bytes())
    })
}

/// Plays these rounds. The faults are those of the verdicts.
fn play(pairs: &'static [Pair], faults: Faults) -> Step {
    let text: Vec<String> = pairs.iter().map(|(one, two)| format!("{one} against {two}")).collect();
    step(format!("play {}", text.join(", ")), move |talk| {
        pairs.iter().try_for_each(|pair| {
            say(talk, PROMPT, NO_FAULTS)?;
            talk.type_line(key(pair.0))?;
            receive_choice(talk, pair.0)?;
            say(talk, &line(*pair), faults)?;
            receive_acknowledgement(talk, *pair)
        })
    })
}

/// Returns the steps of a whole game.
fn game(pairs: &'static [Pair; 3], faults: Faults) -> Vec<Step> {
    vec![accept(), play(pairs, faults), half_close(), ends(), without_error()]
}

/// Returns the steps of a game after which the program has shown one of these texts, and none of the others.
fn shows(
    pairs: &'static [Pair; 3],
    any: &'static [&'static str],
    none: &'static [&'static str],
) -> Vec<Step> {
    let has = |output: &str, texts: &[&str]| {
        let output = output.to_lowercase();
        texts.iter().any(|text| output.contains(text))
    };
    vec![
        accept(),
        play(pairs, NO_FAULTS),
        half_close(),
        ends(),
        step("see the verdict printed", move |talk| {
            talk.printed("the verdict", |output| has(output, any) && !has(output, none))
        }),
    ]
}

/// Returns the steps of a game whose verdicts are cut at these places, but before their newline.
fn cut_at(cuts: &'static [usize; 3]) -> Vec<Step> {
    vec![
        accept(),
        step("play three rounds, with each verdict cut at another place", move |talk| {
            MIXED.into_iter().zip(cuts).try_for_each(|(pair, cut)| {
                say(talk, PROMPT, NO_FAULTS)?;
                talk.type_line(key(pair.0))?;
                receive_choice(talk, pair.0)?;
                let line = line(pair);
                say_parts(talk, &line, (*cut).min(line.len() - 1))?;
                receive_acknowledgement(talk, pair)
            })
        }),
        half_close(),
        ends(),
        without_error(),
    ]
}

/// Returns the steps of a game whose prompts are cut into pieces of this size.
fn prompt_cut(size: usize) -> Vec<Step> {
    let faults = Faults { cut: Cut::every(size), ..NO_FAULTS };
    let what = if size == 1 { "byte by byte" } else { "in two pieces" };
    vec![
        accept(),
        step(format!("play three rounds, with each prompt sent {what}"), move |talk| {
            MIXED.into_iter().try_for_each(|pair| {
                say(talk, PROMPT, faults)?;
                talk.type_line(key(pair.0))?;
                receive_choice(talk, pair.0)?;
                say(talk, &line(pair), NO_FAULTS)?;
                receive_acknowledgement(talk, pair)
            })
        }),
        half_close(),
        ends(),
        without_error(),
    ]
}

/// Returns the steps of a game in which each verdict arrives with the next prompt.
fn glued() -> Vec<Step> {
    vec![
        accept(),
        prompt(),
        step("play three rounds, with each verdict and the next prompt in one write", |talk| {
            for (n, pair) in MIXED.into_iter().enumerate() {
                talk.type_line(key(pair.0))?;
                receive_choice(talk, pair.0)?;
                let next = if n < 2 { PROMPT } else { b"" };
                say(talk, &[&line(pair), next].concat(), NO_FAULTS)?;
                receive_acknowledgement(talk, pair)?;
            }
            Ok(())
        }),
        half_close(),
        ends(),
        without_error(),
    ]
}
