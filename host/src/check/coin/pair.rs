//! Head or tail, with both ends.

use crate::check::pair::{Pair, client_prints, same_lines, server_prints, wrong};
use crate::check::talk::{Outcome, Talk};

const GUESSES: [&str; 4] = ["H", "T", "H", "Q"];

pub(super) const PAIR: Pair = Pair {
    client: &[
        ("guess", GUESSES[0]),
        ("guess", GUESSES[1]),
        ("guess", GUESSES[2]),
        ("guess", GUESSES[3]),
    ],
    server: &[],
    input_ends: false,
    has_prompts: true,
    file: None,
    judge,
};

fn judge(talk: &mut Talk) -> Outcome {
    same_lines("client", &GUESSES, &talk.exchange.up)?;
    let text = String::from_utf8_lossy(&talk.exchange.down).into_owned();
    let count = |what: &str| text.matches(what).count();
    let (right, not) = (count("You are right!"), count("Sorry, you are wrong."));
    if right + not != 3 || count("Thanks for playing the game. Bye!") != 1 || !text.ends_with('\n')
    {
        let what = "did not answer three guesses and a Q with three results and a farewell, each with a newline";
        return Err(wrong("server", what, &talk.exchange.down));
    }
    let counters = format!("guessed correctly {right} out of 3 times");
    client_prints(talk, &counters)?;
    server_prints(talk, &counters)
}
