//! The datagrams with both ends.

use super::Pair;

pub(super) const PAIR: Pair = Pair {
    client: &[],
    server: &[],
    input_ends: true,
    has_prompts: false,
    file: None,
    judge: |_| Ok(()),
};
