//! The conversation with both ends.

use crate::check::pair::{Pair, client_prints, same_lines, server_prints, wrong};
use crate::check::talk::{Outcome, Talk};
use crate::proxy::Flow;

/// Lines in the order of the conversation, the server's first. The last one ends it.
const SERVER: [&str; 2] = ["good morning, client", "the weather is fine: 20 °C"];
const CLIENT: [&str; 2] = ["good morning, sérver", "then bye for now"];

pub(super) const PAIR: Pair = Pair {
    client: &[("message", CLIENT[0]), ("message", CLIENT[1])],
    server: &[("message", SERVER[0]), ("message", SERVER[1])],
    input_ends: false,
    has_prompts: false,
    file: None,
    judge,
};

fn judge(talk: &mut Talk) -> Outcome {
    same_lines("server", &SERVER, &talk.exchange.down)?;
    same_lines("client", &CLIENT, &talk.exchange.up)?;
    // In turns: at each change of direction the line before is complete.
    let (mut up, mut down) = (0, 0);
    for (flow, n) in &talk.exchange.order {
        let is_line =
            |bytes: &[u8], n: usize| bytes.get(..n).is_some_and(|bytes| bytes.ends_with(b"\n"));
        match flow {
            Flow::Up if !is_line(&talk.exchange.down, down) => {
                let text = "wrote before the server's line was complete";
                return Err(wrong("client", text, &talk.exchange.up));
            }
            Flow::Down if down > 0 && up == 0 && is_line(&talk.exchange.down, down) => {
                let text = "wrote twice without waiting for the client";
                return Err(wrong("server", text, &talk.exchange.down));
            }
            _ => {}
        }
        match flow {
            Flow::Up => up += n,
            Flow::Down => down += n,
        }
    }
    client_prints(talk, SERVER[1])?;
    server_prints(talk, CLIENT[0])
}
