//! Scissor, paper, stone, with both ends.

use crate::check::pair::{Pair, client_prints, lines, wrong};
use crate::check::talk::{Outcome, Talk};

pub(super) const PAIR: Pair = Pair {
    client: &[("choice", "1"), ("choice", "2"), ("choice", "3")],
    server: &[("choice", "2"), ("choice", "2"), ("choice", "1")],
    input_ends: false,
    has_prompts: true,
    file: None,
    judge,
};

const CHOICES: [&str; 3] = ["Scissor", "Paper", "Stone"];
/// Verdicts of the three rounds, without spaces and in the accepted spellings.
const VERDICTS: [(&str, &str, &str); 3] = [
    ("Player1win", "Scissor", "Paper"),
    ("Draw", "Paper", "Paper"),
    ("Player1win", "Stone", "Scissor"),
];

/// Returns whether a line is the verdict of a round.
fn is_verdict(line: &str, (verdict, one, two): (&str, &str, &str)) -> bool {
    let compact: String = line.chars().filter(|c| !c.is_whitespace() && *c != '!').collect();
    let rest = compact.strip_prefix(verdict).map(|rest| rest.strip_prefix('s').unwrap_or(rest));
    rest == Some(&format!(",{one},{two}"))
}

fn judge(talk: &mut Talk) -> Outcome {
    let up = lines(&talk.exchange.up);
    let is_right = up.len() == 6
        && up.chunks(2).zip(CHOICES).zip(VERDICTS).all(|((round, choice), verdict)| {
            round[0].trim_end() == choice && is_verdict(&round[1], verdict)
        });
    // A prompt and a verdict may stand on one line: the prompt has no newline.
    let down = lines(&talk.exchange.down);
    let down: Vec<&str> = down
        .iter()
        .map(|line| line.rsplit(": ").next().unwrap_or(line))
        .filter(|line| !line.trim().is_empty())
        .collect();
    let verdicts = down.iter().filter(|line| line.contains(',')).zip(VERDICTS);
    if verdicts.filter(|(line, verdict)| is_verdict(line, *verdict)).count() != 3 {
        let what = "did not send the right verdict of each of the three rounds, as VERDICT,CHOICE1,CHOICE2";
        return Err(wrong("server", what, &talk.exchange.down));
    }
    if !is_right {
        let what = "did not send its choice and then the verdict back, in each of three rounds";
        return Err(wrong("client", what, &talk.exchange.up));
    }
    client_prints(talk, "Draw")
}
