//! Cases of scissor, paper, stone.

mod client;
mod pair;
mod server;

use socklab_core::rps::{Choice, Round, Verdict};

use super::case::{Case, Group, Protocol, Situation};
use super::failure::Kind;
use super::setup::{Role, Wire};
use super::turns::{self, NO_NEWLINE, PROMPT_END, trimmed};

pub(super) const PROTOCOL: Protocol =
    Protocol { name: "rps", cases, pair: &pair::PAIR, hint, wire: &[] };

const GAME: &str = "004, Assignment 6";
const STREAM: &str = "004, Project 2";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

const RETURNED: &str = "the client sends the line of the verdict back as it is, with its newline";

use Choice::{Paper, Scissor, Stone};

/// Choices of player 1 and player 2.
type Pair = (Choice, Choice);

const DRAWS: [Pair; 3] = [(Scissor, Scissor), (Paper, Paper), (Stone, Stone)];
const PLAYER1_WINS: [Pair; 3] = [(Scissor, Paper), (Paper, Stone), (Stone, Scissor)];
const PLAYER2_WINS: [Pair; 3] = [(Paper, Scissor), (Stone, Paper), (Scissor, Stone)];
const MIXED: [Pair; 3] = [(Paper, Paper), (Stone, Scissor), (Scissor, Stone)];

fn cases(role: Role, _: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(),
        Role::Client | Role::Pair => client::cases(),
    }
}

/// Returns what a person types to choose.
const fn key(choice: Choice) -> &'static str {
    match choice {
        Scissor => "1",
        Paper => "2",
        Stone => "3",
    }
}

/// Returns the line of a round, without its newline.
fn result((player1, player2): Pair) -> String {
    let verdict = Verdict::of(player1, player2);
    format!("{verdict},{player1},{player2}")
}

/// Returns the round that a line is about, if it has the form of a verdict. Some programs write `win!`, and spaces after
/// the commas.
fn round(line: &[u8]) -> Option<Round> {
    match Round::at_end_of(trimmed(line)) {
        Some((round, whole)) if whole == trimmed(line) => Some(round),
        _ => None,
    }
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    if matches!(situation.group, Group::Segmentation | Group::Coalescing | Group::Slow) {
        return None;
    }
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    let form = turns::hint(situation);
    if form.is_some() {
        return form;
    }
    let is_basic = situation.group == Group::Basic;
    let text = match (situation.role, situation.kind) {
        (Role::Server, Kind::Different) => verdict_mistake(expected, actual)?,
        (Role::Client, Kind::Different) => choice_mistake(expected, actual)?,
        (Role::Client, Kind::Silent) if is_basic && round(expected).is_some() => RETURNED,
        (Role::Client, Kind::Silent) if is_basic => PROMPT_END,
        (Role::Client, Kind::Closed | Kind::Reset) if is_basic => {
            "a game has three rounds, and the verdict of each one is sent back"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Returns what is probably wrong in the line of a round.
fn verdict_mistake(expected: &[u8], actual: &[u8]) -> Option<&'static str> {
    let wanted = round(expected)?;
    let line = trimmed(actual.split(|byte| *byte == b'\n').next()?);
    if let Some(sent) = round(line) {
        let text = if (sent.player1, sent.player2) == (wanted.player2, wanted.player1)
            && wanted.player1 != wanted.player2
        {
            "the choice of player 1, the client, comes before that of player 2, the server"
        } else if (sent.player1, sent.player2) != (wanted.player1, wanted.player2) {
            "the line has another choice than the one that was made"
        } else if wanted.verdict == Verdict::Draw || sent.verdict == Verdict::Draw {
            "it is a draw if both have chosen the same, and only then"
        } else {
            "player 1 is the client: scissor wins against paper, paper against stone, stone against scissor"
        };
        return Some(text);
    }
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').map(trimmed).collect();
    let text = match fields.as_slice() {
        _ if expected.strip_suffix(b"\n").is_some_and(|text| actual.starts_with(text)) => {
            NO_NEWLINE
        }
        [_] if actual.contains(&b'\n') => {
            "the line has three parts, separated by commas: the verdict, the choice of player 1, and that of player 2"
        }
        [_, one, two] if [one, two].iter().all(|field| field.iter().all(u8::is_ascii_digit)) => {
            "the choices are sent as words: Scissor, Paper, Stone"
        }
        [_, _, _] => "the verdict is Draw, Player1 wins! or Player2 wins!",
        _ => return None,
    };
    Some(text)
}

/// Returns what is probably wrong in a line of a client.
fn choice_mistake(expected: &[u8], actual: &[u8]) -> Option<&'static str> {
    if round(expected).is_some() {
        return Some(RETURNED);
    }
    if round(actual).is_some() {
        return Some("the client sends the line of the verdict back once");
    }
    match trimmed(actual) {
        [b'1'..=b'3'] => Some("the choice is sent as a word: Scissor, Paper or Stone"),
        text if Choice::parse(text).is_ok() && !expected.eq_ignore_ascii_case(actual) => {
            Some("1 is Scissor, 2 is Paper, 3 is Stone")
        }
        text if !expected.eq_ignore_ascii_case(actual) && !text.starts_with(b"b'") => {
            Some("the choices are Scissor, Paper and Stone: any other input is asked for again")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nine_pairs_are_played() {
        for (pairs, verdict) in [
            (DRAWS, Verdict::Draw),
            (PLAYER1_WINS, Verdict::Player1),
            (PLAYER2_WINS, Verdict::Player2),
        ] {
            for pair in pairs {
                assert_eq!(Verdict::of(pair.0, pair.1), verdict, "{pair:?}");
                assert_eq!(round(result(pair).as_bytes()), Some(Round::of(pair.0, pair.1)));
            }
        }
    }

    #[test]
    fn mistakes_in_a_verdict_are_recognised() {
        for (actual, text) in [
            (&b"Player2 wins!,Paper,Stone\n"[..], "player 1 is the client"),
            (b"Player1 wins!,Stone,Paper\n", "comes before"),
            (b"Player2 wins!,Stone,Paper\n", "comes before"),
            (b"Draw,Paper,Stone\n", "a draw"),
            (b"Player1 wins!,Paper,Scissor\n", "another choice"),
            (b"Player1 wins!\n", "three parts"),
            (b"Player1 wins!,2,3\n", "as words"),
            (b"Client wins!,Paper,Stone\n", "verdict is"),
            (b"Player1 wins!,Paper,StoneEnter (1) Scissor: ", "newline"),
        ] {
            let hint = verdict_mistake(b"Player1 wins!,Paper,Stone\n", actual);
            assert!(hint.is_some_and(|hint| hint.contains(text)), "{actual:?}: {hint:?}");
        }
    }

    #[test]
    fn mistakes_in_a_choice_are_recognised() {
        for (actual, text) in [
            (&b"2\n"[..], "as a word"),
            (b"Stone\n", "1 is Scissor"),
            (b"4\n", "asked for again"),
            (b"Draw,Paper,Paper\n", "once"),
        ] {
            let hint = choice_mistake(b"Paper\n", actual);
            assert!(hint.is_some_and(|hint| hint.contains(text)), "{actual:?}: {hint:?}");
        }
        assert_eq!(choice_mistake(b"Paper\n", b"paper\n"), None);
        let hint = choice_mistake(b"Draw,Paper,Paper\n", b"OK\n");
        assert!(hint.is_some_and(|hint| hint.contains("back")));
    }
}
