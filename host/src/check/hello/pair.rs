//! The greetings with both ends.

use crate::check::pair::{Pair, client_prints, same_lines};
use crate::check::talk::{Outcome, Talk};

pub(super) const PAIR: Pair =
    Pair { client: &[], server: &[], input_ends: false, has_prompts: false, file: None, judge };

fn judge(talk: &mut Talk) -> Outcome {
    same_lines("server", &["Hello from server"], &talk.exchange.down)?;
    let answer: &[&str] =
        if talk.setup.wire.get("both", "no") == "yes" { &["Hello from client"] } else { &[] };
    if !answer.is_empty() || !talk.exchange.up.is_empty() {
        same_lines("client", answer, &talk.exchange.up)?;
    }
    client_prints(talk, "Hello from server")
}
