//! Cases of a server of head or tail.

use std::time::Duration;

use socklab_core::coin::{Answer, Reply};

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    byte_by_byte, close, connect, half_close, info, reset, restart, send, slowly, survives,
    without_crash,
};
use super::super::talk::{Outcome, Parsed, Talk};
use super::super::turns::{
    closed, different, expecting, next_client, prompt_end, prompted, receive_line, receive_prompt,
    say_parts, send_line, words,
};
use super::{COUNTERS, Counters, ENDINGS, GAME, STREAM};
use crate::text::one_line;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "basic/game",
            "after each prompt the server takes a guess and replies with a line; after Q it says good-bye and closes",
            GAME,
            [connect(), play(&["H", "T", "H", "Q"]), ended()],
        ),
        case(
            "basic/both-results",
            "the server tosses a coin for each guess: not every guess of H is right, and not every one is wrong",
            GAME,
            [connect(), guess_until_both(), ended()],
        ),
        case(
            "basic/quit-at-once",
            "a player may quit without a guess; then 0 of 0 guesses were right",
            COUNTERS,
            [connect(), play(&["Q"]), ended(), counted()],
        ),
        case(
            "basic/counters",
            "at the end the server shows the number of right guesses, and of all guesses",
            COUNTERS,
            [connect(), play(&["H", "T", "T", "H", "H", "Q"]), ended(), counted()],
        ),
        case(
            "basic/prompt-end",
            "the prompt ends with a colon and a space",
            GAME,
            [connect(), prompt_end()],
        )
        .info(),
        case(
            "segmentation/one-byte",
            "a guess and its newline may arrive apart",
            STREAM,
            [connect(), byte_by_byte(), play(&["H", "T", "Q"]), ended()],
        ),
        case(
            "segmentation/every-boundary",
            "a line may be cut between any two of its bytes",
            STREAM,
            [connect(), play_cut("maybe\n"), play(&["H", "Q"]), ended()],
        ),
        case(
            "segmentation/multi-byte-character",
            "a line may be cut inside a character",
            STREAM,
            [connect(), play_cut("peut-être\n"), play(&["T", "Q"]), ended()],
        ),
        case(
            "coalescing/two-guesses",
            "two guesses may arrive at once; the client of the document never sends them so, and the server of the document does not take them",
            STREAM,
            [connect(), glued(&["H", "T"]), play(&["Q"]), ended()],
        )
        .info(),
        case(
            "coalescing/whole-game",
            "all guesses and Q may arrive at once; the client of the document never sends them so, and the server of the document does not take them",
            STREAM,
            [connect(), glued(&["T", "H", "H", "Q"]), ended()],
        )
        .info(),
        case(
            "slow/bytes-apart",
            "a guess and its newline may arrive with a pause between them",
            STREAM,
            [connect(), slowly(Duration::from_millis(120)), play(&["H", "Q"]), ended()],
        ),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server",
            ENDINGS,
            [connect(), close(), info(survives(another_game))],
        ),
        case(
            "close/before-guess",
            "a client that leaves instead of guessing does not end the server",
            ENDINGS,
            [connect(), prompted(), close(), info(survives(another_game))],
        ),
        case(
            "close/inside-guess",
            "a client that leaves before the newline of its guess does not end the server",
            ENDINGS,
            [connect(), prompted(), send("H without a newline", "H"), close(), info(survives(another_game))],
        ),
        case(
            "close/after-reply",
            "a client that leaves without Q does not end the server",
            ENDINGS,
            [connect(), play(&["H", "T"]), close(), info(survives(another_game))],
        ),
        case(
            "close/half-close",
            "a client that closes its sending side after Q gets the farewell",
            ENDINGS,
            [
                connect(),
                play(&["H"]),
                prompted(),
                send("Q", "Q\n"),
                half_close(),
                reply_to("Q"),
                ended(),
            ],
        ),
        case(
            "reset/before-guess",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), prompted(), reset(), survives(another_game)],
        )
        .info(),
        case(
            "reset/inside-guess",
            "a client that resets the connection before the newline of its guess does not end the server",
            ENDINGS,
            [connect(), prompted(), send("H without a newline", "H"), reset(), survives(another_game)],
        )
        .info(),
        case(
            "reset/after-guess",
            "a client that resets the connection instead of reading the reply does not end the server",
            ENDINGS,
            [connect(), prompted(), send("H", "H\n"), reset(), survives(another_game)],
        )
        .info(),
        case(
            "bad-input/word",
            "a text that is neither H, T nor Q gets the reply \"Please enter head (H), tail (T) or Q to quit\", and the game continues",
            GAME,
            [connect(), play(&["maybe", "1", "H", "Q"]), ended()],
        ),
        case(
            "bad-input/counters",
            "only H and T count as guesses",
            COUNTERS,
            [connect(), play(&["H", "x", "T", "x", "Q"]), ended(), counted()],
        ),
        case(
            "bad-input/exact-words",
            "the reply to an invalid guess has single spaces; a line of the source that is broken inside the text adds more",
            GAME,
            [connect(), prompted(), send("x", "x\n"), exact_reply(), play(&["Q"]), ended()],
        )
        .info()
        .hint("the spaces at the start of a continued line of the source are part of the text: use two texts side by side"),
        case(
            "bad-input/small-letters",
            "a guess counts in small letters too; the client of the document sends capital letters only",
            GAME,
            [connect(), play(&["h", "t", "q"]), ended()],
        )
        .info(),
        case(
            "bad-input/spaces",
            "spaces around a guess are ignored; the document does not say so",
            GAME,
            [connect(), play(&[" H", "T ", " Q "]), ended()],
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "a line may end with a carriage return and a newline; the document does not say so",
            GAME,
            [connect(), play(&["H\r", "Q\r"]), ended()],
        )
        .info(),
        case(
            "bad-input/empty-line",
            "an empty line is not a guess; the server of the document does not survive it",
            GAME,
            [connect(), play(&["", "H", "Q"]), ended()],
        )
        .info(),
        case(
            "bad-input/two-letters",
            "two letters are not a guess; the server of the document takes the last one",
            GAME,
            [connect(), play(&["HT", "QQ", "Q"]), ended()],
        )
        .info(),
        case(
            "bad-input/not-utf-8",
            "bytes that are not text do not end the server with an error",
            GAME,
            [
                connect(),
                prompted(),
                send("bytes that are not UTF-8", b"\xff\xfe\n".to_vec()),
                refused_or_invalid(),
                without_crash(),
                close(),
                survives(another_game),
            ],
        )
        .info(),
        case(
            "bad-input/long-line",
            "a line of 100 KB does not end the server with an error",
            GAME,
            [
                connect(),
                prompted(),
                send("a line of 100 KB", [vec![b'x'; 100_000], b"\n".to_vec()].concat()),
                refused_or_invalid(),
                without_crash(),
                close(),
                survives(another_game),
            ],
        )
        .info(),
        case(
            "sequential/second-client",
            "the server serves another client after the first one",
            "004, Project 3",
            [connect(), play(&["H", "Q"]), ended(), close(), connect(), play(&["T", "Q"]), ended()],
        )
        .info(),
        case(
            "sequential/counters",
            "the counters start at 0 for each client",
            COUNTERS,
            [
                connect(),
                play(&["H", "T", "H", "Q"]),
                ended(),
                close(),
                next_client("play as another client, and see its own counters", |talk| {
                    play_all(talk, &["T", "H", "Q"])?;
                    noted_counters(talk).expect(talk, false)
                }),
            ],
        ),
        case(
            "sequential/at-the-same-time",
            "a client that does not guess does not keep others waiting; the document does not ask for it",
            "004, Project 3",
            [connect(), prompted(), connect(), play(&["H", "Q"]), ended()],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), prompted(), restart(), connect(), play(&["H", "Q"]), ended()],
        )
        .info(),
    ]
}

/// Returns the replies that are right for a guess.
fn replies_to(guess: &str) -> &'static [Reply] {
    match Answer::parse(guess.as_bytes()) {
        Answer::Guess(_) => &[Reply::Right, Reply::Wrong],
        Answer::Quit => &[Reply::Bye],
        Answer::Invalid => &[Reply::Invalid],
    }
}

/// Receives the reply to a guess.
fn receive_reply(talk: &mut Talk, guess: &str) -> Outcome<Reply> {
    let allowed = replies_to(guess);
    let first = allowed.first().map_or(&b""[..], |reply| reply.text());
    let what = format!("the reply to \"{}\"", one_line(guess));
    let line = talk.receive(&what, |bytes| reply(bytes, allowed, &what));
    let line = line.map_err(|failure| {
        let is_empty = failure.bytes.as_ref().is_none_or(|bytes| bytes.actual.is_empty());
        if allowed == [Reply::Bye] && failure.kind == Kind::Closed && is_empty {
            failure.hint("Q gets a reply too, before the connection is closed")
        } else {
            expecting(failure, first)
        }
    })?;
    let text = words(&line);
    Ok(allowed.iter().copied().find(|reply| text == reply.text()).unwrap_or(Reply::Invalid))
}

/// Looks for one of these replies.
fn reply(bytes: &[u8], allowed: &[Reply], what: &str) -> Parsed {
    let wrong =
        |text: &[u8]| Parsed::Wrong(Some([text, b"\n"].concat()), format!("{what} is wrong"));
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        // The next prompt may follow at once.
        let unended = allowed.iter().find(|reply| {
            let rest = bytes.strip_prefix(reply.text());
            rest.is_some_and(|rest| !matches!(rest.first(), None | Some(b' ' | b'\r')))
        });
        return match unended {
            Some(reply) => wrong(reply.text()),
            None if bytes.len() > 4096 => wrong(b""),
            None => Parsed::More,
        };
    };
    let line = words(bytes.get(..end).unwrap_or_default());
    if allowed.iter().any(|reply| line == reply.text()) {
        return Parsed::Done(end + 1);
    }
    let same = |text: &[u8]| text.iter().zip(&line).take_while(|(a, b)| a == b).count();
    let nearest = allowed.iter().map(|reply| reply.text()).max_by_key(|text| same(text));
    wrong(nearest.unwrap_or_default())
}

/// Plays these guesses. The number of guesses is noted.
fn play(guesses: &'static [&'static str]) -> Step {
    step(format!("play: {}", quoted(guesses)), |talk| play_all(talk, guesses))
}

fn quoted(guesses: &[&str]) -> String {
    let quoted: Vec<String> =
        guesses.iter().map(|guess| format!("\"{}\"", one_line(guess))).collect();
    quoted.join(", ")
}

fn play_all(talk: &mut Talk, guesses: &[&str]) -> Outcome {
    let mut counters = Counters::default();
    for (i, guess) in guesses.iter().enumerate() {
        if i > 0 {
            next_prompt(talk)?;
        } else {
            receive_prompt(talk)?;
        }
        send_line(talk, guess)?;
        counters.count(receive_reply(talk, guess)?);
    }
    talk.noted = i64::from(counters.of) << 32 | i64::from(counters.right);
    Ok(())
}

/// Returns the counters of the last game.
fn noted_counters(talk: &Talk) -> Counters {
    let number = |bits: i64| u32::try_from(bits & 0xffff_ffff).unwrap_or_default();
    Counters { right: number(talk.noted), of: number(talk.noted >> 32) }
}

/// Checks the counters that the program shows at the end of the last game.
fn counted() -> Step {
    step("see the counters printed", |talk| noted_counters(talk).expect(talk, false))
}

/// Guesses H until both replies have come, and quits.
fn guess_until_both() -> Step {
    /// With a coin the chance of one side only is less than 1 in 10^18.
    const MAX: u32 = 60;
    step("guess H until one guess was right and one wrong, then Q", |talk| {
        let mut counters = Counters::default();
        while counters.right == 0 || counters.right == counters.of {
            if counters.of == MAX {
                let what = if counters.right == 0 { "wrong" } else { "right" };
                let text = format!("all of {MAX} guesses of H were {what}");
                return Err(Box::new(Failure::new(Kind::Different, text))
                    .hint("toss the coin again for each guess, and compare the guess with it"));
            }
            next_prompt(talk)?;
            send_line(talk, "H")?;
            counters.count(receive_reply(talk, "H")?);
        }
        receive_prompt(talk)?;
        send_line(talk, "Q")?;
        receive_reply(talk, "Q").map(drop)
    })
}

/// Waits for the connection to be closed after Q.
fn ended() -> Step {
    closed("Q ends the game: close the connection after the farewell")
}

/// Receives the prompt that follows a reply.
fn next_prompt(talk: &mut Talk) -> Outcome {
    receive_prompt(talk).map(drop).map_err(|failure| match failure.kind {
        Kind::Silent => failure.hint("the prompt is sent again before each guess"),
        _ => failure,
    })
}

/// Sends this line once for each place at which it can be cut.
fn play_cut(line: &'static str) -> Step {
    step("send a line that is not a guess, each time cut at another place", move |talk| {
        (1..line.len()).try_for_each(|cut| {
            receive_prompt(talk)?;
            say_parts(talk, line.as_bytes(), cut)?;
            receive_reply(talk, line).map(drop)
        })
    })
}

/// Sends guesses in one write, and receives a reply to each.
fn glued(guesses: &'static [&'static str]) -> Step {
    step(format!("send {} in one write, and receive each reply", quoted(guesses)), move |talk| {
        receive_prompt(talk)?;
        let lines: String = guesses.iter().flat_map(|guess| [guess, "\n"]).collect();
        talk.send(lines.as_bytes())?;
        for guess in guesses {
            // A prompt and the next reply are one line.
            let line = receive_line(talk, "a reply")?;
            let allowed = replies_to(guess);
            if !Reply::at_end_of(&words(&line)).is_some_and(|reply| allowed.contains(&reply)) {
                let first = allowed.first().map_or(&b""[..], |reply| reply.text());
                return Err(different("a reply is wrong".into(), first, &line));
            }
        }
        Ok(())
    })
}

fn reply_to(guess: &'static str) -> Step {
    step(format!("receive the reply to {guess}"), move |talk| receive_reply(talk, guess).map(drop))
}

/// Receives the reply to an invalid guess, with its spaces as they are.
fn exact_reply() -> Step {
    step("receive the reply", |talk| {
        talk.receive_exactly("the reply", &[Reply::Invalid.text(), b"\n"].concat())
    })
}

/// Waits for the end of the connection, or for the reply to an invalid guess.
fn refused_or_invalid() -> Step {
    step("receive the reply to an invalid guess, or see the connection end", |talk| {
        match receive_reply(talk, "x") {
            Err(failure) if matches!(failure.kind, Kind::Closed | Kind::Reset) => Ok(()),
            outcome => outcome.map(drop),
        }
    })
}

fn another_game(talk: &mut Talk) -> Outcome {
    play_all(talk, &["H", "Q"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_whole_line() {
        let of = |bytes: &[u8]| reply(bytes, replies_to("H"), "the reply");
        for (bytes, n) in [(&b"You are right!\n"[..], 15), (b"Sorry, you  are wrong.\r\nI", 24)] {
            assert!(matches!(of(bytes), Parsed::Done(done) if done == n), "{bytes:?}");
        }
        for bytes in [&b""[..], b"You are", b"You are right!", b"You are right!\r"] {
            assert!(matches!(of(bytes), Parsed::More), "{bytes:?}");
        }
        for (bytes, expected) in [
            (&b"You are right!I will toss"[..], &b"You are right!\n"[..]),
            (b"Sorry you are wrong.\n", b"Sorry, you are wrong.\n"),
            (b"\nYou are right!\n", b"Sorry, you are wrong.\n"),
        ] {
            let Parsed::Wrong(Some(nearest), _) = of(bytes) else { panic!("{bytes:?}") };
            assert_eq!(nearest, expected);
        }
    }
}
