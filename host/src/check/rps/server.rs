//! Cases of a server of scissor, paper, stone: player 2. What its own player chooses is typed.

use std::time::Duration;

use socklab_core::rps::{Choice, ROUNDS};

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    byte_by_byte, close, connect, info, random_pieces, reset, restart, send, slowly, types,
};
use super::super::talk::{Outcome, Parsed, Talk};
use super::super::turns::{
    NO_FAULTS, check_prompt_end, closed, different, expecting, receive_line, receive_prompt,
};
use super::{
    DRAWS, ENDINGS, GAME, MIXED, PLAYER1_WINS, PLAYER2_WINS, Pair, STREAM, key, result, round,
};

/// Time after which a server that has sent no prompt asks its own player first.
const FIRST: Duration = Duration::from_millis(300);

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "basic/draws",
            "if both players have chosen the same, the verdict is Draw; after three rounds the server closes",
            GAME,
            [connect(), play(&DRAWS), ended()],
        ),
        case(
            "basic/player1-wins",
            "the client is player 1: it wins with scissor against paper, paper against stone, stone against scissor",
            GAME,
            [connect(), play(&PLAYER1_WINS), ended()],
        ),
        case(
            "basic/player2-wins",
            "the server is player 2: it wins with scissor against paper, paper against stone, stone against scissor",
            GAME,
            [connect(), play(&PLAYER2_WINS), ended()],
        ),
        case(
            "basic/hidden-choice",
            "the choice of the client is not shown before the server's own player has chosen",
            GAME,
            [connect(), hidden_choice()],
        )
        .hint("ask the own player before the choice of the other is printed"),
        case(
            "basic/prompt-end",
            "the prompt ends with a colon and a space",
            GAME,
            [connect(), prompt_end()],
        )
        .info(),
        case(
            "basic/after-the-game",
            "after three rounds the server ends, or serves another client",
            GAME,
            [connect(), play(&MIXED), ended(), close(), ends_or_serves()],
        )
        .info(),
        case(
            "segmentation/one-byte",
            "choices and acknowledgements may arrive one byte at a time",
            STREAM,
            [connect(), byte_by_byte(), play_pieces(), ended()],
        ),
        case(
            "segmentation/every-boundary",
            "a choice may be cut between any two of its bytes",
            STREAM,
            [connect(), play_cut(&[1, 3, 4]), ended()],
        ),
        case(
            "segmentation/newline-apart",
            "the newline of a choice and of an acknowledgement may arrive apart",
            STREAM,
            [connect(), play_cut(&[usize::MAX, usize::MAX, 2]), ended()],
        ),
        case(
            "segmentation/random",
            "choices and acknowledgements may arrive in pieces of any size",
            STREAM,
            [connect(), random_pieces(), play_pieces(), ended()],
        ),
        case(
            "coalescing/acknowledgement-and-choice",
            "an acknowledgement and the next choice may arrive at once; a client that waits for the prompt never sends them so",
            STREAM,
            [connect(), glued(), ended()],
        )
        .info(),
        case(
            "slow/bytes-apart",
            "the bytes of a choice and of an acknowledgement may arrive with pauses",
            STREAM,
            [connect(), slowly(Duration::from_millis(8)), play_pieces(), ended()],
        ),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server with an error",
            ENDINGS,
            [connect(), close(), info(serves_or_ends())],
        ),
        case(
            "close/before-choice",
            "a client that leaves instead of choosing does not end the server with an error",
            ENDINGS,
            [connect(), start(None), close(), info(serves_or_ends())],
        ),
        case(
            "close/inside-choice",
            "a client that leaves in the middle of its choice does not end the server with an error",
            ENDINGS,
            [connect(), start(None), send("half a choice", "Pap"), close(), info(serves_or_ends())],
        ),
        case(
            "close/after-choice",
            "a client that leaves after its choice does not end the server with an error",
            ENDINGS,
            [connect(), start(None), send("a choice", "Paper\n"), close(), types("1"), info(serves_or_ends())],
        ),
        case(
            "close/instead-of-acknowledgement",
            "a client that leaves after a verdict does not end the server with an error",
            ENDINGS,
            [connect(), verdict_only(), close(), info(serves_or_ends())],
        ),
        case(
            "close/between-rounds",
            "a client that leaves after a round does not end the server with an error",
            ENDINGS,
            [connect(), play(&[(Choice::Paper, Choice::Stone)]), close(), info(serves_or_ends())],
        ),
        case(
            "reset/before-choice",
            "a client that resets the connection does not end the server with an error",
            ENDINGS,
            [connect(), start(None), reset(), serves_or_ends()],
        )
        .info(),
        case(
            "reset/after-choice",
            "a client that resets the connection after its choice does not end the server with an error",
            ENDINGS,
            [connect(), start(None), send("a choice", "Paper\n"), reset(), types("1"), serves_or_ends()],
        )
        .info(),
        case(
            "reset/instead-of-acknowledgement",
            "a client that resets the connection after a verdict does not end the server with an error",
            ENDINGS,
            [connect(), verdict_only(), reset(), serves_or_ends()],
        )
        .info(),
        case(
            "bad-input/unknown-choice",
            "a choice that is not one of the three gets no verdict",
            GAME,
            [
                connect(),
                start(Some(Choice::Paper)),
                send("an unknown choice", "Rock\n"),
                no_verdict(),
                info(no_crash()),
            ],
        )
        .hint("test whether the choice is Scissor, Paper or Stone before it is compared"),
        case(
            "bad-input/typed-choice",
            "the server's own player is asked again for anything but 1, 2 and 3",
            GAME,
            [
                connect(),
                types("4"),
                types("x"),
                play(&PLAYER1_WINS),
                ended(),
            ],
        )
        .hint("ask again until 1, 2 or 3 is typed"),
        case(
            "bad-input/carriage-return",
            "a line may end with a carriage return and a newline; the document does not say so",
            GAME,
            [
                connect(),
                start(Some(Choice::Paper)),
                send("a choice with a carriage return", "Stone\r\n"),
                verdict((Choice::Stone, Choice::Paper)),
            ],
        )
        .info(),
        case(
            "bad-input/not-utf-8",
            "bytes that are not text do not end the server with an error",
            GAME,
            [
                connect(),
                start(Some(Choice::Paper)),
                send("bytes that are not UTF-8", b"\xff\xfe\n".to_vec()),
                no_verdict(),
                no_crash(),
            ],
        )
        .info(),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), start(None), restart(), connect(), play(&MIXED), ended()],
        )
        .info(),
    ]
}

/// Waits for the prompt. A server that asks its own player first gets the own player's choice. Returns whether it did.
fn await_prompt(talk: &mut Talk, own: Choice) -> Outcome<bool> {
    // Noted for the next rounds: such a server is not waited for again.
    let mut has_typed = talk.noted != 0;
    if !has_typed && talk.silent(FIRST).is_ok() {
        has_typed = true;
        talk.noted = 1;
    }
    if has_typed {
        talk.type_line(key(own))?;
    }
    receive_prompt(talk)?;
    Ok(has_typed)
}

/// Waits for the prompt. `own`: what the own player types in any case, before or after it.
fn start(own: Option<Choice>) -> Step {
    let text = match own {
        Some(own) => format!("receive the prompt, and type {} for the own player", key(own)),
        None => "receive the prompt".to_owned(),
    };
    step(text, move |talk| {
        let has_typed = await_prompt(talk, own.unwrap_or(Choice::Scissor))?;
        match own {
            Some(own) if !has_typed => talk.type_line(key(own)),
            _ => Ok(()),
        }
    })
}

/// Receives the verdict on these choices. Returns the line that the client sends back.
fn receive_verdict(talk: &mut Talk, pair: Pair) -> Outcome<Vec<u8>> {
    let text = result(pair);
    let expected = round(text.as_bytes());
    // The next prompt may follow at once.
    let line = talk.receive("the verdict", |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let unended = bytes.strip_prefix(text.as_bytes());
        match end {
            Some(end) => Parsed::Done(end + 1),
            None if unended.and_then(<[u8]>::first).is_some_and(u8::is_ascii_alphabetic) => {
                let line = [text.as_bytes(), b"\n"].concat();
                Parsed::Wrong(Some(line), "the verdict has no newline".into())
            }
            None if bytes.len() > 4096 => Parsed::Wrong(None, "the verdict has no newline".into()),
            None => Parsed::More,
        }
    });
    let line = line.map_err(|failure| expecting(failure, text.as_bytes()))?;
    let line = line.trim_ascii_end();
    if round(line) == expected {
        return Ok([line, b"\n"].concat());
    }
    let message = format!("the verdict on {} against {} is wrong", pair.0, pair.1);
    Err(different(message, text.as_bytes(), line))
}

/// Plays a round. The parts of the client's lines are cut at this place, from their start, but before their newline.
fn play_round(talk: &mut Talk, pair: Pair, cut: usize) -> Outcome {
    let send = |talk: &mut Talk, line: &[u8]| {
        let (front, back) = line.split_at(cut.min(line.len() - 1));
        talk.send_parts([front, back].into_iter().filter(|part| !part.is_empty()))?;
        talk.settle()
    };
    let has_typed = await_prompt(talk, pair.1)?;
    send(talk, format!("{}\n", pair.0).as_bytes())?;
    if !has_typed {
        talk.type_line(key(pair.1))?;
    }
    let line = receive_verdict(talk, pair)?;
    send(talk, &line)
}

fn play_all(talk: &mut Talk, pairs: &[Pair]) -> Outcome {
    for (n, pair) in pairs.iter().enumerate() {
        play_round(talk, *pair, 0).map_err(|failure| {
            if n > 0 && matches!(failure.kind, Kind::Closed | Kind::Reset) {
                let text = format!(
                    "a game has {ROUNDS} rounds; in each one the server reads the verdict that the client sends back, before it \
                     prompts again"
                );
                return failure.hint(text);
            }
            failure
        })?;
    }
    Ok(())
}

fn play(pairs: &'static [Pair]) -> Step {
    let pairs_text: Vec<String> =
        pairs.iter().map(|(one, two)| format!("{one} against {two}")).collect();
    step(format!("play {}", pairs_text.join(", ")), |talk| play_all(talk, pairs))
}

/// Plays three rounds with the faults in force.
fn play_pieces() -> Step {
    step("play three rounds", |talk| MIXED.iter().try_for_each(|pair| play_round(talk, *pair, 0)))
}

/// Plays three rounds, each with its lines cut at another place.
fn play_cut(cuts: &'static [usize; 3]) -> Step {
    step("play three rounds, with the lines of each cut at another place", move |talk| {
        MIXED.iter().zip(cuts).try_for_each(|(pair, cut)| play_round(talk, *pair, *cut))
    })
}

/// Plays a game whose acknowledgements and choices are sent in one write.
fn glued() -> Step {
    step("play three rounds, with each acknowledgement and the next choice in one write", |talk| {
        let mut line = Vec::new();
        let mut has_typed = await_prompt(talk, MIXED[0].1)?;
        for (n, pair) in MIXED.into_iter().enumerate() {
            line.extend_from_slice(format!("{}\n", pair.0).as_bytes());
            talk.send(&line)?;
            if n > 0 {
                has_typed = await_prompt(talk, pair.1)?;
            }
            if !has_typed {
                talk.type_line(key(pair.1))?;
            }
            line = receive_verdict(talk, pair)?;
        }
        talk.send(&line)
    })
}

/// Plays a round up to its verdict.
fn verdict_only() -> Step {
    step("play Paper against Stone up to the verdict", |talk| {
        let pair = (Choice::Paper, Choice::Stone);
        let has_typed = await_prompt(talk, pair.1)?;
        talk.send(b"Paper\n")?;
        if !has_typed {
            talk.type_line(key(pair.1))?;
        }
        receive_verdict(talk, pair).map(drop)
    })
}

fn verdict(pair: Pair) -> Step {
    step("receive the verdict", move |talk| receive_verdict(talk, pair).map(drop))
}

fn prompt_end() -> Step {
    step("receive a prompt that ends with a colon and a space", |talk| {
        if talk.silent(FIRST).is_ok() {
            talk.type_line(key(Choice::Paper))?;
        }
        receive_prompt(talk).and_then(|prompt| check_prompt_end(&prompt))
    })
}

/// Waits for the connection to be closed after the third round.
fn ended() -> Step {
    closed("a game has three rounds: close the connection after the third acknowledgement")
}

/// Sends a choice, and checks that the program does not show it before its own player has chosen.
fn hidden_choice() -> Step {
    /// Time for the output of a program that shows the choice at once.
    const OUTPUT: Duration = Duration::from_millis(200);
    step("send Paper, and see it printed only after the own player has chosen", |talk| {
        let has_typed = await_prompt(talk, Choice::Stone)?;
        let before = printed(talk).len();
        talk.send(b"Paper\n")?;
        if !has_typed {
            talk.silent(OUTPUT)?;
            let output = printed(talk);
            let new = output.get(before..).unwrap_or_default();
            // A prompt has all three words.
            let count = |choice: Choice| new.matches(choice.name()).count();
            if count(Choice::Paper) > count(Choice::Stone) {
                let text =
                    "the program shows the choice of the client before its own player has chosen";
                return Err(Box::new(Failure::new(Kind::Output, text)));
            }
            talk.type_line(key(Choice::Stone))?;
        }
        receive_verdict(talk, (Choice::Paper, Choice::Stone)).map(drop)
    })
}

fn printed(talk: &Talk) -> String {
    talk.program.as_ref().map(|program| program.stdout.text()).unwrap_or_default()
}

/// Waits for the end of the connection, or for anything but a verdict.
fn no_verdict() -> Step {
    step("receive no verdict", |talk| match talk.closed(true) {
        Err(failure) if failure.kind == Kind::Unexpected => {
            let bytes = failure.bytes.as_ref().map(|bytes| bytes.actual.clone());
            let bytes = bytes.unwrap_or_default();
            let is_verdict = ["Draw", "Player1 win", "Player2 win"]
                .iter()
                .any(|verdict| bytes.starts_with(verdict.as_bytes()));
            if !is_verdict {
                return Ok(());
            }
            let line = receive_line(talk, "the line")?;
            let failure = Failure::new(
                Kind::Unexpected,
                "the program judged a choice that is not one of the three",
            );
            Err(Box::new(failure.bytes([], line)))
        }
        outcome => outcome,
    })
}

/// Checks that the program has not crashed, after the time in which it may end.
fn no_crash() -> Step {
    step("see no crash of the program", |talk| {
        let kind = if talk.has_stream_ended() { Kind::Closed } else { Kind::Silent };
        talk.has_exited_after(kind)?;
        talk.exit_was_no_crash()
    })
}

/// Checks that the program ends after a game, or serves another client.
fn ends_or_serves() -> Step {
    step("see the program end, or serve another client", |talk| {
        if talk.has_exited()? {
            return Ok(());
        }
        let Err(failure) = talk.connect().and_then(|()| play_all(talk, &MIXED)) else {
            return Ok(());
        };
        // A client that the program has accepted is not reset when it ends.
        let may_end = matches!(failure.kind, Kind::NotListening | Kind::Reset);
        if may_end && talk.has_exited_after(failure.kind)? {
            return Ok(());
        }
        Err(failure.hint("close the listening socket after the game, or play with the next client"))
    })
}

/// Checks that the program serves another client, or has ended without a crash.
fn serves_or_ends() -> Step {
    step("see the program serve another client, or end without a crash", |talk| {
        talk.set_faults(NO_FAULTS);
        let Err(failure) = talk.connect().and_then(|()| play_all(talk, &MIXED)) else {
            return Ok(());
        };
        // A server that waits for its own player notices the end of the connection after that.
        MIXED.iter().try_for_each(|(_, own)| talk.type_line(key(*own)))?;
        match talk.ended() {
            Ok(()) => talk.exit_was_no_crash(),
            Err(_) => Err(failure),
        }
    })
}
