//! Two names and two numbers, with both ends.

use crate::check::pair::{Pair, client_prints, server_prints, wrong};
use crate::check::talk::{Outcome, Talk};

pub(super) const PAIR: Pair = Pair {
    client: &[("name", "Ada"), ("number", "42")],
    server: &[],
    input_ends: false,
    has_prompts: false,
    file: None,
    judge,
};

/// Returns the name and the number in one message: on two lines, or with a separator between them.
fn parts(bytes: &[u8]) -> Option<(String, i64)> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let digits = text
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let (name, number) = text.split_at_checked(digits)?;
    let name = name.trim_end_matches(|c: char| c.is_whitespace() || ",:;|".contains(c));
    Some((name.to_owned(), number.parse().ok()?))
}

fn judge(talk: &mut Talk) -> Outcome {
    let client = parts(&talk.exchange.up);
    if client.as_ref().is_none_or(|(name, number)| name != "Ada" || *number != 42) {
        return Err(wrong(
            "client",
            "did not send its name and its number, and nothing else",
            &talk.exchange.up,
        ));
    }
    let Some((name, number)) = parts(&talk.exchange.down)
        .filter(|(name, number)| !name.is_empty() && (1..=100).contains(number))
    else {
        return Err(wrong(
            "server",
            "did not reply with a name and a number from 1 to 100, and nothing else",
            &talk.exchange.down,
        ));
    };
    for text in ["Ada".to_owned(), name, number.to_string(), (42 + number).to_string()] {
        client_prints(talk, &text)?;
        server_prints(talk, &text)?;
    }
    Ok(())
}
