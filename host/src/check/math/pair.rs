//! The math quiz with both ends.

use socklab_core::math::{Question, Secret};

use crate::check::pair::{Pair, client_prints, same, wrong};
use crate::check::talk::{Outcome, Talk};

pub(super) const PAIR: Pair =
    Pair { client: &[], server: &[], input_ends: false, has_prompts: false, file: None, judge };

fn judge(talk: &mut Talk) -> Outcome {
    let (messages, rest) = talk.exchange.down.as_chunks::<9>();
    let mut sums = Vec::new();
    let mut secret = None;
    for message in messages {
        match message {
            [Question::TAG, ..] if secret.is_none() => {
                sums.extend(Question::parse(message).sum().to_be_bytes());
            }
            [Secret::TAG, ..] if secret.is_none() => secret = Some(Secret::parse(message).0),
            _ => {
                return Err(wrong(
                    "server",
                    "sent something else than questions and one secret",
                    message,
                ));
            }
        }
    }
    if !rest.is_empty() {
        return Err(wrong("server", "sent an incomplete message at the end", rest));
    }
    // First, because a wrong answer is why the secret is missing.
    same("client", "send the right answers", &sums, &talk.exchange.up).map_err(|failure| {
        failure.hint("each answer is the sum of a question, as 4 bytes, big-endian; so are the numbers of a question")
    })?;
    let Some(secret) = secret else {
        return Err(wrong("server", "sent no secret", &talk.exchange.down));
    };
    client_prints(talk, &String::from_utf8_lossy(&secret))
}
