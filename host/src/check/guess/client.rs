//! Cases of a client of high or low.

use std::time::Duration;

use socklab_core::guess::Message;

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    accept, close, closed_or_reset, ends, half_close, info, reset, silence, types,
    types_unless_ended, without_crash, without_error,
};
use super::super::talk::{Outcome, Talk};
use super::super::turns::{NO_FAULTS, different, expecting, receive_line, say, say_parts, says};
use super::{ENDINGS, GAME, STREAM};
use crate::faults::{Cut, Faults};

/// A number that is typed and sent, and the answer to it.
type Round = (u8, Message);

const WON: &[Round] = &[(50, Message::Low), (75, Message::High), (62, Message::Win)];
const LOST: &[Round] = &[
    (50, Message::Low),
    (75, Message::Low),
    (88, Message::High),
    (81, Message::Low),
    (84, Message::High),
];
/// The first four rounds of [`LOST`].
const FOUR: &[Round] = LOST.split_at(4).0;

pub(super) fn cases() -> Vec<Case> {
    let cut = |cut| Faults { cut, ..NO_FAULTS };
    vec![
        case(
            "basic/win",
            "after each GUESS the client sends the number that was typed, as a line; it ends after WIN",
            GAME,
            whole(WON, NO_FAULTS),
        ),
        case(
            "basic/game-over",
            "the client ends after GAMEOVER",
            GAME,
            whole(LOST, NO_FAULTS),
        ),
        case(
            "basic/first-guess",
            "the first guess may be right",
            GAME,
            whole(&[(7, Message::Win)], NO_FAULTS),
        ),
        case(
            "basic/waits-for-guess",
            "the client sends nothing before the server asks for a guess",
            GAME,
            [accept(), types("33"), silence(150), send(Message::Guess), number(33), send(Message::Win), half_close(), ends()],
        )
        .hint("wait for the line GUESS before a number is sent"),
        case(
            "basic/waits-for-answer",
            "the client waits for the answer to its fifth guess",
            GAME,
            [
                accept(),
                play(&[(10, Message::Low), (20, Message::Low), (30, Message::Low), (40, Message::Low)], NO_FAULTS),
                types("50"),
                send(Message::Guess),
                number(50),
                silence(150),
                send(Message::Low),
                send(Message::GameOver),
                half_close(),
                ends(),
            ],
        )
        .hint("the answer to the fifth guess follows: end at WIN or GAMEOVER, not after five guesses"),
        case(
            "basic/ends-at-win",
            "the client ends after WIN by itself, before the server has closed",
            GAME,
            [accept(), play(WON, NO_FAULTS), closed_or_reset(), close(), ends(), without_error()],
        )
        .info()
        .hint("leave the loop after WIN"),
        case(
            "basic/ends-at-game-over",
            "the client ends after GAMEOVER by itself, before the server has closed",
            GAME,
            [accept(), play(LOST, NO_FAULTS), send(Message::GameOver), closed_or_reset(), close(), ends(), without_error()],
        )
        .info()
        .hint("leave the loop after GAMEOVER"),
        case(
            "basic/shows-low-and-high",
            "the client shows \"too low\" after LOW and \"too high\" after HIGH, and not the reverse; other words are not judged",
            GAME,
            [
                accept(),
                play(
                    &[
                        (10, Message::Low),
                        (20, Message::Low),
                        (90, Message::High),
                        (30, Message::Low),
                        (31, Message::Win),
                    ],
                    NO_FAULTS,
                ),
                half_close(),
                ends(),
                not_swapped(),
                info(shows_both()),
            ],
        ),
        case(
            "basic/shows-the-end",
            "the client shows that the game is won",
            GAME,
            [accept(), play(WON, NO_FAULTS), half_close(), shows_win()],
        )
        .info(),
        case(
            "segmentation/one-byte",
            "the lines of the server may arrive one byte at a time",
            STREAM,
            whole(LOST, cut(Cut::every(1))),
        ),
        case(
            "segmentation/every-boundary",
            "a line may be cut between any two of its bytes",
            STREAM,
            cut_everywhere(),
        ),
        case(
            "segmentation/random",
            "the lines of the server may arrive in pieces of any size",
            STREAM,
            whole(LOST, cut(Some(Cut::Random))),
        ),
        case(
            "segmentation/two-halves",
            "a line may arrive in two pieces",
            STREAM,
            whole(WON, cut(Cut::every(2))),
        ),
        case(
            "coalescing/answer-and-guess",
            "an answer and the next GUESS may arrive at once; the client of the document then waits for more indefinitely",
            STREAM,
            [
                accept(),
                send(Message::Guess),
                types("50"),
                number(50),
                says("LOW and GUESS in one write", "LOW\nGUESS\n"),
                types("75"),
                number(75),
                says("HIGH and GUESS in one write", "HIGH\nGUESS\n"),
                types("60"),
                number(60),
                send(Message::Win),
                half_close(),
                ends(),
                without_error(),
            ],
        )
        .info(),
        case(
            "coalescing/answer-and-game-over",
            "the last answer and GAMEOVER may arrive at once; the client of the document then waits for more indefinitely",
            STREAM,
            [
                accept(),
                play(FOUR, NO_FAULTS),
                send(Message::Guess),
                types("84"),
                number(84),
                says("HIGH and GAMEOVER in one write", "HIGH\nGAMEOVER\n"),
                half_close(),
                ends(),
                without_error(),
            ],
        )
        .info(),
        case(
            "coalescing/win-and-end",
            "WIN and the end of the stream may arrive at once",
            STREAM,
            [
                accept(),
                send(Message::Guess),
                types("50"),
                number(50),
                step("send WIN and close the sending side", |talk| {
                    talk.send(&line(Message::Win))?;
                    talk.half_close()
                }),
                ends(),
                without_error(),
            ],
        ),
        case(
            "slow/bytes-apart",
            "the bytes of a line may arrive with pauses",
            STREAM,
            whole(
                &[(50, Message::Low), (75, Message::Win)],
                Faults { gap: Duration::from_millis(40), ..cut(Cut::every(1)) },
            ),
        ),
        case(
            "close/before-guess",
            "a server that closes at once ends the client",
            ENDINGS,
            [accept(), close(), ends(), info(without_crash())],
        ),
        case(
            "close/inside-line",
            "a server that closes in the middle of a line ends the client",
            ENDINGS,
            [accept(), says("half a line", "GUE"), close(), types_unless_ended("50"), ends(), info(without_crash())],
        ),
        case(
            "close/before-typing",
            "a server that has closed when the number is typed ends the client",
            ENDINGS,
            [accept(), send(Message::Guess), close(), types("50"), ends(), info(without_crash())],
        ),
        case(
            "close/instead-of-answer",
            "a server that closes instead of an answer ends the client",
            ENDINGS,
            [
                accept(),
                send(Message::Guess),
                types("50"),
                number(50),
                close(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "close/after-answer",
            "a server that closes after an answer ends the client",
            ENDINGS,
            [
                accept(),
                play(&[(50, Message::High)], NO_FAULTS),
                close(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "reset/before-typing",
            "a server that has reset the connection when the number is typed ends the client",
            ENDINGS,
            [accept(), send(Message::Guess), reset(), types("50"), ends(), info(without_crash())],
        ),
        case(
            "reset/instead-of-answer",
            "a server that resets the connection instead of an answer ends the client",
            ENDINGS,
            [
                accept(),
                send(Message::Guess),
                types("50"),
                number(50),
                reset(),
                ends(),
                info(without_crash()),
            ],
        ),
        case(
            "bad-input/unknown-line",
            "a line that is not a message of the game is not an error",
            GAME,
            [
                accept(),
                says("another line", "Welcome to the game\n"),
                play(&[(50, Message::Low), (60, Message::Win)], NO_FAULTS),
                half_close(),
                ends(),
                without_error(),
            ],
        )
        .info()
        .hint("show a line that is not known, and read the next one"),
        case(
            "bad-input/carriage-return",
            "a line may end with a carriage return and a newline",
            GAME,
            [
                accept(),
                says("GUESS with a carriage return", "GUESS\r\n"),
                types("50"),
                number(50),
                says("WIN with a carriage return", "WIN\r\n"),
                half_close(),
                ends(),
                without_error(),
            ],
        )
        .info(),
        case(
            "bad-input/typed-text",
            "what is typed and is not a number is asked for again, by the client or by the server; the client of the document ends with an error",
            GAME,
            [accept(), typo(), send(Message::Win), half_close(), ends(), without_error()],
        )
        .info()
        .hint("int() raises an error for a text that is not a number: ask again"),
    ]
}

fn line(message: Message) -> Vec<u8> {
    [message.text(), b"\n"].concat()
}

fn send(message: Message) -> Step {
    says(&String::from_utf8_lossy(message.text()), line(message))
}

/// Receives this number as a line.
fn receive_number(talk: &mut Talk, number: u8) -> Outcome {
    let (what, text) = (format!("the guess {number}"), number.to_string());
    let line = receive_line(talk, &what);
    let line = line.map_err(|failure| expecting(failure, text.as_bytes()))?;
    if str::from_utf8(&line).ok().and_then(|line| line.parse().ok()) == Some(number) {
        return Ok(());
    }
    Err(different(format!("{what} is wrong"), text.as_bytes(), &line))
}

fn number(number: u8) -> Step {
    step(format!("receive the guess {number}"), move |talk| receive_number(talk, number))
}

/// Plays these rounds: GUESS, the number, the answer.
fn play(rounds: &'static [Round], faults: Faults) -> Step {
    let numbers: Vec<String> = rounds.iter().map(|(number, _)| number.to_string()).collect();
    let text = format!("send GUESS, type and answer: {}", numbers.join(", "));
    step(text, move |talk| {
        rounds.iter().try_for_each(|(number, answer)| {
            say(talk, &line(Message::Guess), faults)?;
            talk.type_line(&number.to_string())?;
            receive_number(talk, *number)?;
            say(talk, &line(*answer), faults)
        })
    })
}

/// Returns the steps of a whole game. If the last answer is not WIN, GAMEOVER follows.
fn whole(rounds: &'static [Round], faults: Faults) -> Vec<Step> {
    let mut steps = vec![accept(), play(rounds, faults)];
    if !matches!(rounds.last(), Some((_, Message::Win))) {
        steps.push(step("send GAMEOVER", move |talk| say(talk, &line(Message::GameOver), faults)));
    }
    steps.extend([half_close(), ends(), without_error()]);
    steps
}

/// Returns the steps of a game in which each line is cut at another place.
fn cut_everywhere() -> Vec<Step> {
    vec![
        accept(),
        step("play 5 rounds, with each line cut at another place", |talk| {
            (1_u8..=5).try_for_each(|n| {
                let cut = usize::from(n);
                say_parts(talk, &line(Message::Guess), cut)?;
                talk.type_line(&n.to_string())?;
                receive_number(talk, n)?;
                say_parts(talk, &line(Message::Low), cut.min(Message::Low.text().len()))
            })
        }),
        step("send GAMEOVER, cut before its newline", |talk| {
            say_parts(talk, &line(Message::GameOver), Message::GameOver.text().len())
        }),
        half_close(),
        ends(),
        without_error(),
    ]
}

/// Types a text that is not a number, and then a number. A client may send the text, or ask again.
fn typo() -> Step {
    step("send GUESS, type \"abc\" and then \"50\"", |talk| {
        say(talk, &line(Message::Guess), NO_FAULTS)?;
        talk.type_line("abc")?;
        talk.type_line("50")?;
        let first = receive_line(talk, "a guess").map_err(|failure| expecting(failure, b"50"))?;
        match first.as_slice() {
            b"50" => Ok(()),
            b"abc" => {
                say(talk, &line(Message::Invalid), NO_FAULTS)?;
                say(talk, &line(Message::Guess), NO_FAULTS)?;
                receive_number(talk, 50)
            }
            _ => Err(different("the guess 50 is wrong".into(), b"50", &first)),
        }
    })
}

/// Checks that the words are not exchanged, after LOW three times and HIGH once. Other words than those of the document may
/// say what to do next, such as "Go higher!" after LOW.
fn not_swapped() -> Step {
    step("see that LOW is not shown as too high", |talk| {
        let (low, high) = too_low_and_high(&talk.stdout());
        if high <= low {
            return Ok(());
        }
        let text = format!(
            "after LOW three times and HIGH once, the program showed \"too low\" {low} times and \"too high\" {high} times"
        );
        Err(Box::new(Failure::new(Kind::Output, text))
            .hint("LOW means that the guess is too low, and HIGH that it is too high"))
    })
}

/// Returns how often an output has the words `too low` and `too high`.
fn too_low_and_high(output: &str) -> (usize, usize) {
    let output = output.to_lowercase();
    (output.matches("too low").count(), output.matches("too high").count())
}

fn shows_both() -> Step {
    step("see \"low\" and \"high\" printed", |talk| {
        talk.printed("\"too low\" and \"too high\"", |output| {
            let output = output.to_lowercase();
            output.contains("low") && output.contains("high")
        })
    })
}

fn shows_win() -> Step {
    step("see \"win\" printed", |talk| {
        talk.printed("\"You win!\"", |output| output.to_lowercase().contains("win"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_say_what_to_do_next_are_not_counted() {
        assert_eq!(
            too_low_and_high("Your guess is too low.\nToo high!\nToo LOW: go higher\n"),
            (2, 1)
        );
        assert_eq!(too_low_and_high("Go higher!\nGo higher!\nHigh or low?\nGo lower!\n"), (0, 0));
    }
}
