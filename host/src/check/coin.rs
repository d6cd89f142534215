//! Cases of the game head or tail.

mod client;
mod pair;
mod server;

use socklab_core::coin::Reply;

use super::case::{Case, Group, Protocol, Situation, Step, step};
use super::failure::Kind;
use super::hint::IN_BUFFER;
use super::setup::{Role, Wire};
use super::talk::{Outcome, Talk};
use super::turns::{self, NO_NEWLINE, ONE_RECV, PROMPT_END, trimmed, words};

pub(super) const PROTOCOL: Protocol =
    Protocol { name: "coin", cases, pair: &pair::PAIR, hint, wire: &[] };

const GAME: &str = "004, Project 5";
const COUNTERS: &str = "004, Assignment 4";
const STREAM: &str = "004, Project 2";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

fn cases(role: Role, _: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(),
        Role::Client | Role::Pair => client::cases(),
    }
}

/// Number of guesses, and of right ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    right: u32,
    of: u32,
}

impl Counters {
    fn count(&mut self, reply: Reply) {
        self.of += u32::from(matches!(reply, Reply::Right | Reply::Wrong));
        self.right += u32::from(reply == Reply::Right);
    }

    fn text(self) -> String {
        format!("You have guessed correctly {} out of {} times.", self.right, self.of)
    }

    /// Returns the counters that a program has shown last.
    fn shown(output: &str) -> Option<Self> {
        const WORDS: &str = "guessed correctly";
        let (_, rest) = output.rsplit_once(WORDS)?;
        let line = rest.lines().next().unwrap_or_default();
        let (right, of) = line.split_once(" out of ")?;
        let number = |text: &str| -> Option<u32> {
            let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text.get(..end)?.parse().ok()
        };
        Some(Self { right: number(right)?, of: number(of)? })
    }

    /// Waits until the program has shown these counters. `is_cut`: messages have arrived in pieces, which
    /// is why the counters may be wrong.
    fn expect(self, talk: &mut Talk, is_cut: bool) -> Outcome {
        let outcome =
            talk.shown(&format!("\"{}\"", self.text()), |output| Self::shown(output) == Some(self));
        outcome.map_err(|failure| {
            if is_cut {
                return failure.hint(ONE_RECV);
            }
            let output = talk
                .program
                .as_ref()
                .map(|program| format!("{}\n{}", program.stdout.text(), program.stderr.text()));
            failure.hint(self.mistake(&output.unwrap_or_default()))
        })
    }

    /// Returns what is probably wrong, if the program has shown this instead.
    fn mistake(self, output: &str) -> String {
        let Self { right, of } = self;
        match Self::shown(output) {
            None => format!("at the end of the game the program shows \"{}\"", self.text()),
            Some(shown) if (shown.right, shown.of) == (of, right) => {
                "the two numbers are in the wrong order: the right guesses come first".into()
            }
            Some(shown) if shown.of != of => {
                format!(
                    "the number of guesses is {of}: H and T count, right or wrong, and nothing else"
                )
            }
            Some(_) => {
                format!("the number of right guesses is {right}: count only those, and start at 0")
            }
        }
    }
}

/// Checks the counters that the program shows. `is_cut`: messages have arrived in pieces, which
/// is why the counters may be wrong.
fn counters(counters: Counters, is_cut: bool) -> Step {
    step(format!("see \"{}\" printed", counters.text()), move |talk| counters.expect(talk, is_cut))
}

const ANY_WORD: &str = "any other word than H, T and Q gets this reply: compare the guess with each of them (g == 'H' or 'T' is true \
     for every word)";

/// Returns whether the program has taken a word for a guess. In pieces, one of them may be a guess.
fn takes_any_word(situation: &Situation<'_>) -> bool {
    let line = situation.bytes.actual.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_guess = |piece: &Vec<u8>| matches!(trimmed(piece), [b'H' | b'h' | b'T' | b't']);
    situation.bytes.expected.starts_with(Reply::Invalid.text())
        && [Reply::Right, Reply::Wrong].iter().any(|reply| words(line) == reply.text())
        && !situation.sent.iter().any(is_guess)
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    if situation.role == Role::Server && takes_any_word(situation) {
        return Some(ANY_WORD.into());
    }
    let form = turns::hint(situation);
    if form.is_some()
        || matches!(situation.group, Group::Segmentation | Group::Coalescing | Group::Slow)
    {
        return form;
    }
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    if situation.role == Role::Client {
        let text = match situation.kind {
            // It has received the prompt.
            Kind::Silent
                if situation.group == Group::Basic && situation.stdout.contains("toss a coin") =>
            {
                IN_BUFFER
            }
            Kind::Silent if situation.group == Group::Basic => PROMPT_END,
            Kind::Closed if expected == b"Q\n" => "Q is sent like a guess, before the client ends",
            Kind::Different if !actual.starts_with(b"b'") => {
                "a guess is sent as one letter, H, T or Q, and a newline"
            }
            _ => return None,
        };
        return Some(text.into());
    }
    if situation.role == Role::Pair || situation.kind != Kind::Different {
        return None;
    }
    if expected.strip_suffix(b"\n").is_some_and(|text| actual.starts_with(text)) {
        return Some(NO_NEWLINE.into());
    }
    let line = actual.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if words(line) != Reply::Invalid.text() || expected.starts_with(Reply::Invalid.text()) {
        let is_text = line.first().is_some_and(u8::is_ascii_uppercase);
        return is_text.then(|| "the words of a reply are exactly those of the document".into());
    }
    let text = match situation.sent.concat().as_slice() {
        [b' ', ..] | [.., b' ', b'\n'] => {
            "the spaces around the guess were not removed: strip() it"
        }
        [.., b'\r', b'\n'] => "a line may end with a carriage return and a newline: strip() it",
        [b'h' | b't' | b'q', ..] => "guesses count in small letters too: convert with upper()",
        _ => "the guess was not recognised: remove the newline at its end before it is compared",
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_an_output() {
        let shown = |text| Counters::shown(text).map(|Counters { right, of }| (right, of));
        assert_eq!(shown("You have guessed correctly 1 out of 12 times.\n"), Some((1, 12)));
        assert_eq!(
            shown("127.0.0.1:9: guessed correctly 0 out of 1 times, then closed\n"),
            Some((0, 1))
        );
        assert_eq!(
            shown("guessed correctly 1 out of 1 times. guessed correctly 2 out of 3"),
            Some((2, 3))
        );
        assert_eq!(shown("You have guessed correctly, C: 4 out of N: 5"), Some((4, 5)));
        for text in ["", "Correct: 1 Total: 2", "guessed correctly", "guessed correctly C out of N"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn mistakes_of_counters_are_recognised() {
        let mistake = |right: u32, of: u32| {
            let output = format!("guessed correctly {right} out of {of} times");
            Counters { right: 1, of: 3 }.mistake(&output)
        };
        assert!(mistake(3, 1).contains("order"));
        assert!(mistake(1, 4).contains("guesses is 3"));
        assert!(mistake(1, 2).contains("guesses is 3"));
        assert!(mistake(2, 3).contains("right guesses is 1"));
    }
}
