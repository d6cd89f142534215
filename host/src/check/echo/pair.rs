//! The length-prefixed messages with both ends.

use crate::check::echo::{header, message, remainder};
use crate::check::pair::{Pair, client_prints_reply, same};
use crate::check::talk::{Outcome, Talk};

const MESSAGES: [&str; 3] = ["Four score and seven years ago", "äöüßéèñçøå and the rest", "short"];

pub(super) const PAIR: Pair = Pair {
    client: &[("message", MESSAGES[0]), ("message", MESSAGES[1]), ("message", MESSAGES[2])],
    server: &[],
    input_ends: true,
    has_prompts: false,
    file: None,
    judge,
};

fn judge(talk: &mut Talk) -> Outcome {
    let header = header(&talk.setup.wire);
    let of = |payload: fn(&'static str) -> &'static str| -> Vec<u8> {
        MESSAGES.iter().flat_map(|text| message(header, payload(text))).collect()
    };
    let form = "a message is its length in bytes, as an integer of 4 bytes, big-endian, and then the text in UTF-8";
    same("client", "send the right messages", &of(|text| text), &talk.exchange.up)
        .map_err(|failure| failure.hint(form))?;
    same("server", "send the right replies", &of(remainder), &talk.exchange.down)
        .map_err(|failure| failure.hint(format!("{form}, without its first ten characters")))?;
    MESSAGES[..2].iter().try_for_each(|text| client_prints_reply(talk, text, remainder(text)))
}
