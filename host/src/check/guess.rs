//! Cases of the game high or low.

mod client;
mod pair;
mod server;

use socklab_core::guess::Message;

use super::case::{Case, Group, Protocol, Situation};
use super::failure::Kind;
use super::hint::IN_BUFFER;
use super::setup::{Role, Wire};
use super::turns::{self, NO_NEWLINE, trimmed};

pub(super) const PROTOCOL: Protocol =
    Protocol { name: "guess", cases, pair: &pair::PAIR, hint, wire: &[] };

const GAME: &str = "004, Assignment 5";
const STREAM: &str = "004, Project 2";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

const MESSAGES: [Message; 6] = [
    Message::Guess,
    Message::Low,
    Message::High,
    Message::Invalid,
    Message::Win,
    Message::GameOver,
];

fn cases(role: Role, _: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(),
        Role::Client | Role::Pair => client::cases(),
    }
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    if matches!(situation.group, Group::Segmentation | Group::Coalescing | Group::Slow) {
        return None;
    }
    let actual = situation.bytes.actual.as_slice();
    let text = match situation.role {
        Role::Client if is_binary(&situation.bytes.expected, actual) => {
            "the guess is sent as the bytes of an integer: send its decimal digits as text, and a newline"
        }
        Role::Client => return turns::hint(situation).or_else(|| client_mistake(situation)),
        Role::Server
            if situation.kind == Kind::Incomplete
                || situation.kind == Kind::Closed && !actual.is_empty() =>
        {
            NO_NEWLINE
        }
        Role::Server if situation.kind == Kind::Different => return unknown(actual),
        Role::Server | Role::Pair => return None,
    };
    Some(text.to_owned())
}

/// Returns whether a number was sent as an integer of 2, 4 or 8 bytes.
fn is_binary(expected: &[u8], actual: &[u8]) -> bool {
    let number = str::from_utf8(expected).ok().and_then(|line| line.trim().parse().ok());
    let value = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
    let is_integer = |bytes: &[u8]| {
        matches!(bytes.len(), 2 | 4 | 8)
            && (Some(bytes.iter().fold(0, value)) == number
                || Some(bytes.iter().rev().fold(0, value)) == number)
    };
    is_integer(actual) || actual.strip_suffix(b"\n").is_some_and(is_integer)
}

/// Returns what is probably wrong in a client.
fn client_mistake(situation: &Situation<'_>) -> Option<String> {
    let has_crashed = situation.stderr.contains("Traceback");
    // It asks for the guess, which has been typed.
    let has_asked = situation.stdout.trim_end().ends_with([':', '?', '>']);
    let text = match situation.kind {
        Kind::Silent if situation.group == Group::Basic && has_asked => IN_BUFFER,
        Kind::Silent if situation.group == Group::Basic => {
            "the line GUESS was not recognised: remove the newline at its end, with strip(), before it is compared"
        }
        Kind::Different if !situation.bytes.actual.starts_with(b"b'") => {
            "the number that was typed is sent once after each GUESS, as decimal digits and a newline"
        }
        Kind::Exit if situation.group == Group::Basic && !has_crashed => {
            "a game that was played to its end is not an error: the client ends with exit code 0"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Returns why a line of a server is not one of its messages.
fn unknown(line: &[u8]) -> Option<String> {
    let line = trimmed(line.split(|byte| *byte == b'\n').next()?);
    if MESSAGES.iter().any(|message| line == message.text()) || line.is_empty() {
        return None;
    }
    let letters = |text: &[u8]| -> Vec<u8> {
        text.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_uppercase).collect()
    };
    if let Some(message) = MESSAGES.iter().find(|message| letters(message.text()) == letters(line))
    {
        let text = String::from_utf8_lossy(message.text());
        return Some(format!("the message is exactly {text}: letters, spaces and signs differ"));
    }
    let text = if MESSAGES.iter().any(|message| line.starts_with(message.text())) {
        NO_NEWLINE
    } else if line.eq_ignore_ascii_case(b"you win!") {
        "the message is WIN: \"You win!\" is what the client shows"
    } else if line.starts_with(b"You ran out") {
        "the message is GAMEOVER: the sentence is what the client shows"
    } else {
        "the server sends no other lines than GUESS, LOW, HIGH, WIN, GAMEOVER and \"Please enter number 1 to 100\""
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_as_an_integer_is_recognised() {
        for actual in [&b"\0\0\0\x32"[..], b"\x32\0\0\0", b"\0\x32", b"\0\0\0\x32\n"] {
            assert!(is_binary(b"50\n", actual), "{actual:?}");
        }
        assert!(!is_binary(b"50\n", b"50") && !is_binary(b"", b"\0\0"));
    }

    #[test]
    fn lines_that_are_no_messages_are_explained() {
        for (line, text) in [
            (&b"low\n"[..], "exactly LOW"),
            (b"GAME OVER\n", "exactly GAMEOVER"),
            (b"GUESSLOW\n", "newline"),
            (b"You win!\n", "is WIN"),
            (b"You ran out of tries! Game over.\n", "is GAMEOVER"),
            (b"WELCOME\n", "no other lines"),
        ] {
            assert!(unknown(line).is_some_and(|hint| hint.contains(text)), "{line:?}");
        }
        assert_eq!(unknown(b"LOW\n"), None);
        assert_eq!(unknown(b"\n"), None);
    }
}
