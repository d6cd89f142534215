//! Cases of a server of high or low. Its number is not known: the steps find it out.

use std::time::Duration;

use socklab_core::guess::{GUESSES, Message, NUMBERS};

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    byte_by_byte, close, connect, info, random_pieces, reset, restart, send, slowly, survives,
    without_crash,
};
use super::super::talk::{Outcome, Parsed, Talk};
use super::super::turns::{closed, different, next_client, say_parts, send_line, trimmed};
use super::{ENDINGS, GAME, MESSAGES, STREAM};
use crate::guess::{Verifier, Violation};
use crate::text::one_line;

/// Guesses that are certainly not the number.
const LOST: [&str; 5] = ["0", "101", "0", "101", "0"];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "basic/five-guesses",
            "the server sends GUESS, takes a number, answers LOW or HIGH to the first four wrong guesses, and sends GAMEOVER after the fifth; then it closes",
            GAME,
            [connect(), play(&LOST), ended()],
        ),
        case(
            "basic/last-answer",
            "the fifth wrong guess gets LOW or HIGH too, before GAMEOVER, as in the game for one player; the client of the document works without it",
            GAME,
            [connect(), last_answer()],
        )
        .info()
        .hint("answer the fifth guess too, and then send GAMEOVER"),
        case(
            "basic/high-and-low",
            "LOW means that a guess is lower than the number, HIGH that it is higher: no number is lower than 1 or higher than 100",
            GAME,
            [connect(), play(&["1", "100", "1", "100", "1"]), ended()],
        ),
        case(
            "basic/bisection",
            "the answers to the guesses do not contradict each other",
            GAME,
            [connect(), bisect(), ended()],
        ),
        case(
            "basic/one-number",
            "the number stays the same in a game: the same guess gets the same answer",
            GAME,
            [same_guesses()],
        ),
        case(
            "basic/win",
            "the server answers the right guess with WIN, and closes",
            GAME,
            [play_until_win()],
        ),
        case(
            "segmentation/one-byte",
            "a guess may arrive one byte at a time",
            STREAM,
            [connect(), byte_by_byte(), play_pieces(&["101", "0", "101", "0", "101"]), ended()],
        ),
        case(
            "segmentation/every-boundary",
            "a guess may be cut between any two of its bytes",
            STREAM,
            [connect(), play_cut(), ended()],
        ),
        case(
            "segmentation/random",
            "a guess may arrive in pieces of any size",
            STREAM,
            [connect(), random_pieces(), play_pieces(&["1000", "65536", "0", "1000", "101"]), ended()],
        ),
        case(
            "coalescing/all-guesses",
            "all guesses may arrive at once; the client of the document never sends them so",
            STREAM,
            [connect(), glued(), ended()],
        )
        .info(),
        case(
            "slow/bytes-apart",
            "the bytes of a guess may arrive with pauses",
            STREAM,
            [connect(), slowly(Duration::from_millis(40)), play_pieces(&LOST), ended()],
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
            [connect(), asked(), close(), info(survives(another_game))],
        ),
        case(
            "close/inside-guess",
            "a client that leaves in the middle of a guess does not end the server",
            ENDINGS,
            [connect(), asked(), send("a guess without its newline", "10"), close(), info(survives(another_game))],
        ),
        case(
            "close/between-guesses",
            "a client that leaves after an answer does not end the server",
            ENDINGS,
            [connect(), play_some(&["0", "101"]), close(), info(survives(another_game))],
        ),
        case(
            "close/half-close",
            "a client that closes its sending side after its last guess gets the answer and GAMEOVER",
            ENDINGS,
            [
                connect(),
                play_some(&["0", "0", "0", "0"]),
                last_guess_and_half_close(),
                ended(),
            ],
        ),
        case(
            "reset/before-guess",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), asked(), reset(), survives(another_game)],
        )
        .info(),
        case(
            "reset/inside-guess",
            "a client that resets the connection in the middle of a guess does not end the server",
            ENDINGS,
            [connect(), asked(), send("a guess without its newline", "10"), reset(), survives(another_game)],
        )
        .info(),
        case(
            "reset/after-guess",
            "a client that resets the connection instead of reading the answer does not end the server",
            ENDINGS,
            [connect(), asked(), send("a guess", "0\n"), reset(), survives(another_game)],
        )
        .info(),
        case(
            "bad-input/text",
            "a guess that is not a number gets the line \"Please enter number 1 to 100\"",
            GAME,
            [connect(), play(&["abc", "101", "fifty", "0", "abc"]), ended()],
        ),
        case(
            "bad-input/text-costs-a-guess",
            "a guess that is not a number costs one of the five",
            GAME,
            [connect(), play(&["abc", "x", "seven", "abc", "?"]), ended()],
        ),
        case(
            "bad-input/out-of-range",
            "0, 101 and other numbers out of the range are wrong guesses, or not numbers; each costs a guess",
            GAME,
            [connect(), play(&["0", "101", "255", "1000", "65536"]), ended()],
        ),
        case(
            "bad-input/negative",
            "a negative number is lower than the number, or not a number; it costs a guess",
            GAME,
            [connect(), play(&["-1", "-50", "-1", "-100", "-1"]), ended()],
        ),
        case(
            "bad-input/huge",
            "a number that does not fit into 32 or 64 bits is higher than the number, or not a number",
            GAME,
            [
                connect(),
                play(&["4294967297", "99999999999", "18446744073709551617", "0", "101"]),
                ended(),
            ],
        )
        .info()
        .hint("the guess has overflowed an integer: check its length, or the error of the conversion"),
        case(
            "bad-input/spaces",
            "spaces around a number are ignored, or it is not a number; it costs a guess",
            GAME,
            [connect(), play(&[" 101", "101 ", " 0 ", "\t0", "101"]), ended()],
        )
        .info(),
        case(
            "bad-input/carriage-return",
            "a line may end with a carriage return and a newline; the document does not say so",
            GAME,
            [connect(), play(&["101\r", "0\r", "abc\r", "0", "101"]), ended()],
        )
        .info(),
        case(
            "bad-input/empty-line",
            "an empty line is not a number, and costs a guess",
            GAME,
            [connect(), play(&["", "0", "", "101", ""]), ended()],
        )
        .info(),
        case(
            "bad-input/half-numbers",
            "digits with other signs between them are not a number",
            GAME,
            [connect(), play(&["12abc", "3.5", "1e1", "1 2", "0x10"]), ended()],
        )
        .info()
        .hint("the conversion stops at the first sign that is not a digit: check the whole line"),
        case(
            "bad-input/not-utf-8",
            "bytes that are not text do not end the server with an error",
            GAME,
            [
                connect(),
                asked(),
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
                asked(),
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
            [connect(), play(&LOST), ended(), close(), connect(), play(&LOST), ended()],
        )
        .info(),
        case(
            "sequential/five-guesses-each",
            "each client has five guesses of its own",
            GAME,
            [
                connect(),
                play_some(&["0", "101"]),
                close(),
                next_client("play as another client, if the server serves one", another_game),
            ],
        )
        .hint("each client starts with five guesses: set the counter when it has connected"),
        case(
            "sequential/at-the-same-time",
            "a client that does not guess does not keep others waiting; the document does not ask for it",
            "004, Project 3",
            [connect(), asked(), connect(), play(&LOST), ended()],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), asked(), restart(), connect(), play(&LOST), ended()],
        )
        .info(),
    ]
}

/// Receives a message of the server.
fn receive_message(talk: &mut Talk, what: &str) -> Outcome<Message> {
    let line = talk.receive(what, |bytes| match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if Message::parse(bytes.get(..end).unwrap_or_default()).is_some() => {
            Parsed::Done(end + 1)
        }
        Some(end) => {
            let line = bytes.get(..end).unwrap_or_default();
            Parsed::Wrong(
                nearest(line),
                format!("a line is not a message of the game, instead of {what}"),
            )
        }
        None if bytes.len() > 4096 => {
            Parsed::Wrong(None, format!("a line has no newline, instead of {what}"))
        }
        None => Parsed::More,
    });
    let line = line.map_err(|mut failure| {
        if let Some(bytes) = failure.bytes.as_mut().filter(|bytes| bytes.expected.is_empty()) {
            bytes.expected = nearest(&bytes.actual).unwrap_or_default();
        }
        failure
    })?;
    Ok(Message::parse(trimmed(&line)).unwrap_or(Message::Invalid))
}

/// Returns the message that a line starts like, with its newline.
fn nearest(line: &[u8]) -> Option<Vec<u8>> {
    let same =
        |text: &[u8]| text.iter().zip(line).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let message = MESSAGES.iter().map(|message| message.text()).max_by_key(|text| same(text))?;
    (same(message) > 1).then(|| [message, b"\n"].concat())
}

const SWAPPED: &str =
    "LOW and HIGH are probably swapped: LOW means that the guess is lower than the number";

/// A game with the server.
#[derive(Default)]
struct Game {
    verifier: Verifier,
    /// The same with LOW and HIGH swapped, and whether the answers break the rules then too.
    swapped: Verifier,
    is_wrong_swapped: bool,
    guesses: u8,
    /// Whether the last message was an answer.
    is_answered: bool,
    /// Whether guesses arrive in pieces, so that a wrong answer is the mistake of a server that takes one for a line.
    is_cut: bool,
}

impl Game {
    /// Receives a message, and checks that it follows the rules.
    fn message(&mut self, talk: &mut Talk) -> Outcome<Message> {
        let what = match (self.guesses, self.is_answered) {
            (0, _) => "GUESS",
            (GUESSES, true) => "GAMEOVER",
            (_, true) => "GUESS after the answer",
            (_, false) => "the answer to the guess",
        };
        let is_answered = self.is_answered;
        let message = receive_message(talk, what).map_err(|failure| match failure.kind {
            Kind::Silent | Kind::Closed if is_answered => failure.hint(
                "after each answer but WIN follows GUESS, and GAMEOVER after the answer to the fifth guess",
            ),
            _ => failure,
        })?;
        self.is_answered = !matches!(message, Message::Guess);
        let swapped = match message {
            Message::Low => Message::High,
            Message::High => Message::Low,
            other => other,
        };
        self.is_wrong_swapped |= self.swapped.check(swapped).is_err();
        self.verifier.check(message).map_err(|violation| {
            let (failure, hint) = broken(violation, message);
            let is_swapped = !self.is_wrong_swapped && swapped != message;
            let hint = if is_swapped { SWAPPED } else { hint };
            if self.is_cut { failure } else { failure.hint(hint) }
        })?;
        Ok(message)
    }

    /// Sends a guess. The server has asked for it.
    fn guess(&mut self, talk: &mut Talk, guess: &str) -> Outcome {
        send_line(talk, guess)?;
        self.record(guess);
        Ok(())
    }

    fn record(&mut self, guess: &str) {
        // Numbers that do not fit are as high as any.
        let number = guess.trim().parse::<i128>().ok();
        let number = number.map(|n| n.clamp(i32::MIN.into(), i32::MAX.into()));
        let number = number.and_then(|n| n.try_into().ok());
        self.verifier.record_guess(number);
        self.swapped.record_guess(number);
        self.guesses = self.guesses.saturating_add(1);
        self.is_answered = false;
    }

    /// Plays to the end of the game. `next` returns a guess; it gets the number of the guess, from 0.
    fn play(&mut self, talk: &mut Talk, guesses: &[&str]) -> Outcome {
        let mut guesses = guesses.iter();
        loop {
            match self.message(talk)? {
                Message::Guess => self.guess(talk, guesses.next().copied().unwrap_or("0"))?,
                Message::Win | Message::GameOver => return Ok(()),
                Message::Low | Message::High | Message::Invalid => {}
            }
        }
    }
}

const COMPARED: &str = "convert the guess to an integer, and compare it with the number: LOW means that the guess is lower";
const NEW_NUMBER: &str =
    "draw the number once, when a client has connected, and not for each guess";

/// Returns the failure of a server that breaks the rules, and the likely mistake.
fn broken(violation: Violation, message: Message) -> (Box<Failure>, &'static str) {
    let text = violation.to_string();
    let text = text.strip_prefix("the server broke the protocol: ").unwrap_or(&text);
    let text = match violation {
        Violation::Contradiction { guess, low, high, .. } if (low..=high) == NUMBERS => {
            let answer = String::from_utf8_lossy(message.text());
            format!("the program answered {answer} to {guess}, but the numbers are {low} to {high}")
        }
        _ => text.replace("the server", "the program"),
    };
    let hint = match violation {
        Violation::Contradiction { answer: Message::Invalid, .. } => {
            "the guess was not taken for a number: remove the newline at its end before it is tested"
        }
        Violation::Contradiction { .. } => COMPARED,
        Violation::NoNumber(_) => "test whether the guess is a number before it is compared",
        Violation::TooMany => {
            "every wrong guess costs one of the five, also one that is not a number: then GAMEOVER follows"
        }
        Violation::TooFew(_) => {
            "count the wrong guesses of each client: GAMEOVER follows after the fifth"
        }
        _ => "after GUESS the server takes one line, and sends one answer",
    };
    let failure = Failure::new(Kind::Different, text);
    (Box::new(failure.bytes([], [message.text(), b"\n"].concat())), hint)
}

fn quoted(guesses: &[&str]) -> String {
    let quoted: Vec<String> = guesses.iter().map(one_line).collect();
    format!("\"{}\"", quoted.join("\", \""))
}

/// Plays a game with these guesses.
fn play(guesses: &'static [&'static str; 5]) -> Step {
    step(format!("guess {}, until the game is over", quoted(guesses)), |talk| {
        Game::default().play(talk, guesses)
    })
}

/// Plays a game with these guesses, which arrive in pieces.
fn play_pieces(guesses: &'static [&'static str; 5]) -> Step {
    step(format!("guess {}, until the game is over", quoted(guesses)), |talk| {
        Game { is_cut: true, ..Game::default() }.play(talk, guesses)
    })
}

/// Starts a game with these guesses. They are certainly wrong.
fn play_some(guesses: &'static [&'static str]) -> Step {
    step(format!("guess {}, and receive the answers", quoted(guesses)), move |talk| {
        let mut game = Game::default();
        for guess in guesses {
            game.message(talk)?;
            game.guess(talk, guess)?;
            game.message(talk)?;
        }
        Ok(())
    })
}

/// Waits for the connection to be closed after a game.
fn ended() -> Step {
    closed("nothing follows WIN and GAMEOVER: close the connection")
}

fn asked() -> Step {
    step("receive GUESS", |talk| Game::default().message(talk).map(drop))
}

fn another_game(talk: &mut Talk) -> Outcome {
    Game::default().play(talk, &LOST)
}

/// Plays a game whose guesses are cut, each at another place.
fn play_cut() -> Step {
    step("guess 1001 five times, each time cut at another place", |talk| {
        const LINE: &[u8] = b"1001\n";
        let mut game = Game { is_cut: true, ..Game::default() };
        let mut cut = 0;
        loop {
            match game.message(talk)? {
                Message::Guess => {
                    cut = cut % (LINE.len() - 1) + 1;
                    say_parts(talk, LINE, cut)?;
                    game.record("1001");
                }
                Message::Win | Message::GameOver => return Ok(()),
                Message::Low | Message::High | Message::Invalid => {}
            }
        }
    })
}

/// Sends all guesses in one write, after GUESS.
fn glued() -> Step {
    step("send five guesses in one write, and receive each answer", |talk| {
        let mut game = Game::default();
        game.message(talk)?;
        talk.send(LOST.map(|guess| format!("{guess}\n")).concat().as_bytes())?;
        let mut left = LOST.iter();
        if let Some(guess) = left.next() {
            game.record(guess);
        }
        loop {
            match game.message(talk)? {
                Message::Guess => game.record(left.next().unwrap_or(&"0")),
                Message::Win | Message::GameOver => return Ok(()),
                Message::Low | Message::High | Message::Invalid => {}
            }
        }
    })
}

/// Makes the fifth guess of a game, whose first four were wrong, and ends our stream.
fn last_guess_and_half_close() -> Step {
    step("make the fifth guess, close the sending side, and receive the end of the game", |talk| {
        receive_message(talk, "GUESS")?;
        talk.send(b"0\n")?;
        talk.half_close()?;
        loop {
            match receive_message(talk, "GAMEOVER")? {
                Message::GameOver => return Ok(()),
                Message::Low | Message::Invalid => {}
                other => {
                    let text = "the game does not end".into();
                    return Err(different(text, Message::GameOver.text(), other.text()));
                }
            }
        }
    })
}

/// Waits for the end of the connection, or for an answer.
fn refused_or_invalid() -> Step {
    step("receive an answer, or see the connection end", |talk| {
        match receive_message(talk, "an answer") {
            Err(failure) if matches!(failure.kind, Kind::Closed | Kind::Reset) => Ok(()),
            outcome => outcome.map(drop),
        }
    })
}

/// What is known of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: i32,
    high: i32,
}

impl Range {
    const ALL: Self = Self { low: *NUMBERS.start(), high: *NUMBERS.end() };

    const fn middle(self) -> i32 {
        self.low.midpoint(self.high)
    }

    const fn update(&mut self, guess: i32, answer: Message) {
        match answer {
            Message::Low if guess >= self.low => self.low = guess + 1,
            Message::High if guess <= self.high => self.high = guess - 1,
            _ => {}
        }
    }

    const fn is_empty(self) -> bool {
        self.low > self.high
    }
}

/// Plays a game by bisection. `earlier`: what earlier games have shown, if the number stays the same in all of them.
/// Returns whether it was won.
fn bisect_game(talk: &mut Talk, earlier: &mut Range) -> Outcome<bool> {
    let mut game = Game::default();
    let mut known = Range::ALL;
    let mut guess = 0;
    loop {
        match game.message(talk)? {
            Message::Guess => {
                let range = if earlier.is_empty() { known } else { *earlier };
                guess = range.middle();
                game.guess(talk, &guess.to_string())?;
            }
            Message::Win => return Ok(true),
            Message::GameOver => return Ok(false),
            answer => {
                known.update(guess, answer);
                earlier.update(guess, answer);
            }
        }
    }
}

fn bisect() -> Step {
    step("guess by bisection, until the game is over", |talk| {
        bisect_game(talk, &mut Range::ALL.clone()).map(drop)
    })
}

/// Plays games in which each guess is the same. A server with another number for each guess answers all of them alike with
/// a chance of 1 in 16.
fn same_guesses() -> Step {
    /// Enough for a chance of less than 1 in 10^9.
    const GAMES: u32 = 8;
    step(format!("guess 50 again and again, in {GAMES} games"), |talk| {
        for game in 0..GAMES {
            another_number(talk, game)?;
            Game::default().play(talk, &["50"; 5]).map_err(|failure| {
                let is_new = failure.hint.as_deref() == Some(COMPARED);
                if is_new { failure.hint(NEW_NUMBER) } else { failure }
            })?;
            talk.reset()?;
        }
        Ok(())
    })
}

/// Connects for another game, counted from 0. The server is started again: it may serve one client only.
fn another_number(talk: &mut Talk, game: u32) -> Outcome {
    if game > 0 && talk.program.is_some() && talk.setup.shared_reason().is_none() {
        talk.restart()?;
    }
    talk.connect()
}

/// Plays a lost game, and checks that its last guess is answered.
fn last_answer() -> Step {
    step("guess 0 five times, and receive LOW after each", |talk| {
        let mut game = Game::default();
        for _ in 0..GUESSES {
            game.message(talk)?;
            game.guess(talk, LOST[0])?;
            let answer = game.message(talk)?;
            if answer == Message::GameOver {
                let text = "the last guess is not answered before GAMEOVER".to_owned();
                return Err(different(text, Message::Low.text(), answer.text()));
            }
        }
        Ok(())
    })
}

/// Plays games until one is won. The server is started again for each: it may serve one client only.
fn play_until_win() -> Step {
    /// A game is won with a chance of 31 in 100: not to win any of these has one of less than 1 in 10^9.
    const GAMES: u32 = 60;
    step("play by bisection, until a game is won, and see the connection closed", |talk| {
        let mut earlier = Range::ALL;
        for game in 0..GAMES {
            if game > 0 && talk.program.is_some() {
                talk.restart()?;
                earlier = Range::ALL;
            }
            talk.connect()?;
            if bisect_game(talk, &mut earlier)? {
                return talk.closed(false);
            }
            // A reset frees the port, so that the server can be started again.
            talk.reset()?;
        }
        let text = format!("no guess was right in {GAMES} games by bisection");
        Err(Box::new(Failure::new(Kind::Different, text)).hint(
            "compare the guess with the number as integers: WIN is the answer if they are equal",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_halved() {
        let mut range = Range::ALL;
        assert_eq!(range.middle(), 50);
        range.update(50, Message::Low);
        assert_eq!(range.middle(), 75);
        range.update(75, Message::High);
        assert_eq!(range, Range { low: 51, high: 74 });
        range.update(80, Message::High);
        assert_eq!(range, Range { low: 51, high: 74 });
        range.update(51, Message::High);
        assert!(range.is_empty());
    }

    #[test]
    fn the_message_is_found_that_a_line_starts_like() {
        assert_eq!(nearest(b"GAME OVER").as_deref(), Some(&b"GAMEOVER\n"[..]));
        assert_eq!(nearest(b"low").as_deref(), Some(&b"LOW\n"[..]));
        assert_eq!(nearest(b"Welcome"), None);
    }
}
