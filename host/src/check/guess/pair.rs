//! High or low, with both ends.

use crate::check::pair::{Pair, client_prints, lines, wrong};
use crate::check::talk::{Outcome, Talk};

pub(super) const PAIR: Pair = Pair {
    client: &[("guess", "50"), ("guess", "25"), ("guess", "75"), ("guess", "10"), ("guess", "90")],
    server: &[],
    input_ends: false,
    has_prompts: true,
    file: None,
    judge,
};

fn judge(talk: &mut Talk) -> Outcome {
    let guesses: Vec<i64> =
        lines(&talk.exchange.up).iter().filter_map(|line| line.trim().parse().ok()).collect();
    let typed = [50, 25, 75, 10, 90];
    if guesses.is_empty()
        || !typed.starts_with(&guesses)
        || guesses.len() != lines(&talk.exchange.up).len()
    {
        return Err(wrong(
            "client",
            "did not send its guesses as decimal lines",
            &talk.exchange.up,
        ));
    }
    let failed = |what: &str, talk: &Talk| Err(wrong("server", what, &talk.exchange.down));
    let (mut low, mut high) = (1, 100);
    let mut guesses = guesses.into_iter();
    let mut guess = None;
    let mut end = None;
    for line in lines(&talk.exchange.down) {
        if end.is_some() {
            return failed("sent more after the end of the game", talk);
        }
        match (line.trim_end(), guess) {
            ("GUESS", None) => guess = guesses.next(),
            ("LOW", Some(n)) => {
                low = low.max(n + 1);
                guess = None;
            }
            ("HIGH", Some(n)) => {
                high = high.min(n - 1);
                guess = None;
            }
            ("WIN", Some(n)) if (low..=high).contains(&n) => end = Some("WIN"),
            ("GAMEOVER", None) if guesses.len() == 0 => end = Some("GAMEOVER"),
            _ => {
                return failed(
                    "did not follow the game: GUESS, then LOW, HIGH or WIN, and GAMEOVER after five guesses",
                    talk,
                );
            }
        }
    }
    match end {
        _ if low > high => failed("contradicts itself: no number is left", talk),
        Some("WIN") => client_prints(talk, "win"),
        Some(_) => client_prints(talk, "over"),
        None => failed("sent neither WIN nor GAMEOVER", talk),
    }
}
