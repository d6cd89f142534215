//! The file transfer with both ends.

use crate::check::pair::{Pair, same};
use crate::check::talk::{Outcome, Talk};

const NAME: &str = "numbers.bin";

pub(super) const PAIR: Pair = Pair {
    client: &[("remote", NAME)],
    server: &[],
    input_ends: false,
    has_prompts: false,
    file: Some((NAME, content)),
    judge,
};

/// Content of several blocks, with every byte value, and both kinds of line ends.
fn content() -> Vec<u8> {
    (0..5000_u32).flat_map(|n| [(n % 256) as u8, (n / 7 % 256) as u8, b'\r', b'\n']).collect()
}

fn judge(talk: &mut Talk) -> Outcome {
    let sent = talk.exchange.up.trim_ascii_end();
    same("client", "send the right request", NAME.as_bytes(), sent)?;
    same("server", "send the right file", &content(), &talk.exchange.down)?;
    talk.ended()?;
    let path =
        talk.inputs.values.iter().find(|(name, _)| *name == "local").map(|(_, path)| path.clone());
    let fetched = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    same("client", "write the right file", &content(), &fetched)
}
