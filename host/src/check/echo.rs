//! Cases of the length-prefixed messages.

mod client;
mod pair;
mod server;

use super::case::{Case, Group, Protocol, Situation};
use super::failure::Kind;
use super::hint::{LOW_BYTES, NUL_BYTES, is_low_bytes, unpack};
use super::setup::{Role, Wire};
use super::talk::{Outcome, Talk};
use socklab_core::echo::client::Piece;

use crate::echo::{Checker, Mistake, Wrong, removed};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "echo",
    cases,
    pair: &pair::PAIR,
    hint,
    wire: &[("header", &["4", "2"], "size of the length in bytes")],
};

const FORMAT: &str = "003, 1.1 Message Format";
const SERVER: &str = "003, 1 Assignment Instructions 2(a)";
const BUFFERING: &str = "003, 2.4.2 Receiving data from TCP Sockets";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

fn cases(role: Role, wire: &Wire) -> Vec<Case> {
    let header = header(wire);
    match role {
        Role::Server => server::cases(header),
        Role::Client | Role::Pair => client::cases(header),
    }
}

pub(super) fn header(wire: &Wire) -> usize {
    wire.get("header", "4").parse().unwrap_or(4)
}

/// Returns the message with this payload.
pub(super) fn message(header: usize, payload: &str) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    [&length[length.len() - header..], payload.as_bytes()].concat()
}

/// Returns the payload of the reply: the message without its first ten characters.
pub(super) fn remainder(payload: &str) -> &str {
    payload.get(removed(payload.as_bytes()).unwrap_or_default()..).unwrap_or_default()
}

/// Returns a text of this number of bytes, in which no two places look alike.
pub(super) fn text_of(length: usize) -> String {
    (0..)
        .map(|n| format!("{n:05} "))
        .flat_map(String::into_bytes)
        .take(length)
        .map(char::from)
        .collect()
}

/// Ten characters that have more than ten bytes, and what follows them.
pub(super) const UMLAUTS: &str = "äöüßéèñçøå and the rest: 中文 ☃ 🙂";

/// Returns the likely mistake in the encoding of a message. `payload` is the expected payload.
fn encoding_mistake(payload: &[u8], actual: &[u8], header: usize) -> Option<String> {
    let length = payload.len() as u64;
    let text = |text: &str| Some(text.to_owned());
    if payload.is_empty() {
        return None;
    }
    // Enough of the payload to recognise it.
    let start = payload.get(..payload.len().min(8))?;
    let follows = |n: usize| actual.get(n..).is_some_and(|rest| rest.starts_with(start));
    if actual.starts_with(start) {
        return text("the length in front of the payload is missing");
    }
    let front = |n: usize| {
        actual
            .get(..n)
            .map(|bytes| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)))
    };
    let reversed = actual
        .get(..header)
        .map(|bytes| bytes.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)));
    if reversed == Some(length) && front(header) != Some(length) {
        return text(
            "its length is right in little-endian order: send it big-endian, in Python with the format \"!I\"",
        );
    }
    for other in [2, 4, 8, 1] {
        if other != header && follows(other) && front(other) == Some(length) {
            let other = format!(
                "the length has {other} byte{}, not {header}",
                if other == 1 { "" } else { "s" }
            );
            let wire = if matches!(header, 4)
                && actual.get(2..).is_some_and(|rest| rest.starts_with(start))
            {
                "; if that is what your course wants, check with --wire header=2"
            } else {
                ""
            };
            return Some(other + wire);
        }
    }
    let digits = actual.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_decimal = |n: usize| {
        let digits = actual.get(..n).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()) == Some(length)
    };
    if (1..=digits.min(10)).any(|n| is_decimal(n) && (follows(n) || n == digits)) {
        return text("the length is decimal text: send it as a 4-byte integer, big-endian");
    }
    if let Some([b'b', quote @ (b'\'' | b'"'), rest @ ..]) = actual.get(header..)
        && (rest.starts_with(start.get(..1)?) || rest.first() == Some(quote))
    {
        return text("str() of bytes was sent, with b'' around it: use decode() and encode()");
    }
    if is_low_bytes(payload, actual.get(header..).unwrap_or_default()) {
        return text(LOW_BYTES);
    }
    if follows(header) {
        let sent = front(header)?;
        let chars = String::from_utf8_lossy(payload).chars().count() as u64;
        if sent == chars && sent != length {
            return text(
                "the length counts characters, not bytes: encode the text first, then take its length",
            );
        }
        if sent == length + header as u64 {
            return text("the length counts its own bytes too: it is that of the payload alone");
        }
        let rest = actual.get(header + payload.len()..).unwrap_or_default();
        if sent > length && rest.first() == Some(&0) {
            return text(NUL_BYTES);
        }
        if sent == length + 1 && rest.starts_with(b"\n")
            || sent == length + 2 && rest.starts_with(b"\r\n")
        {
            return text(
                "the newline at the end of the line was sent too: it is not part of the message",
            );
        }
    }
    None
}

/// Returns the likely mistake in a reply to the first of these messages.
fn reply_mistake(messages: &[&str], actual: &[u8], header: usize) -> Option<String> {
    let first = messages.first()?;
    let expected = remainder(first);
    let (length, body) = actual.split_at_checked(header)?;
    let length = length.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let encoded = encoding_mistake(expected.as_bytes(), actual, header);
    // Of the whole message, if nothing was removed.
    let encoded = encoded.or_else(|| encoding_mistake(first.as_bytes(), actual, header));
    if encoded.is_some() {
        return encoded;
    }
    if header == 4 && actual.first().is_some_and(|byte| byte.is_ascii_graphic()) {
        return Some(
            "it starts with text instead of a length: nothing may be sent but replies".into(),
        );
    }
    let sent = String::from_utf8_lossy(body);
    if length == first.len() as u64 && sent == expected && expected != *first {
        return Some("the length is that of the request: it must be that of the reply".into());
    }
    let reply = body.get(..usize::try_from(length).ok()?.min(body.len())).unwrap_or_default();
    let sent = String::from_utf8_lossy(reply);
    if sent != expected && !sent.is_empty() {
        if expected.strip_prefix(char::is_whitespace).is_some_and(|rest| rest == sent) {
            return Some(
                "the first character of the reply is missing: ten characters are removed, not eleven, and white space \
                 stays (strip() removes it)"
                    .into(),
            );
        }
        if sent == expected.trim() || sent == remainder(first.trim()) {
            return Some(
                "white space at the start or the end was removed: it is part of the message".into(),
            );
        }
        let chars = first.chars().count().saturating_sub(10);
        if sent == first.chars().take(chars).collect::<String>() {
            return Some("the last ten characters were removed, not the first ten".into());
        }
    }
    let mut checker = Checker::new(header);
    for message in messages {
        checker.record_sent(message.as_bytes());
    }
    let length = u32::try_from(length).ok()?;
    let bytes = body.get(..body.len().min(length as usize)).unwrap_or_default();
    let remaining = length - u32::try_from(bytes.len()).ok()?;
    match checker.check(Piece { offset: 0, bytes, remaining }) {
        // After a piece of a message, an empty reply shows only that the program did not wait for the rest.
        Err(Wrong::Reply(difference)) if difference.mistake != Some(Mistake::Empty) => {
            let starts_right =
                length as usize > expected.len() && body.starts_with(expected.as_bytes());
            let merged = (starts_right && messages.len() > 1).then_some(Mistake::Merged);
            difference.mistake.or(merged).map(describe)
        }
        _ => None,
    }
}

fn describe(mistake: Mistake) -> String {
    let what_to_do = match mistake {
        Mistake::BytesRemoved(10) => "; decode the bytes first, then remove characters",
        Mistake::CharsCounted => "; encode the text first, then take its length",
        Mistake::Merged => {
            "; one recv() may return more than one message: read the length, then exactly that many bytes"
        }
        Mistake::Truncated(_) => "; repeat recv() until all bytes of the payload have arrived",
        _ => "",
    };
    format!("probably {mistake}{what_to_do}")
}

/// Receives the reply to the first of these messages, all of which have been sent.
fn receive_reply(talk: &mut Talk, header: usize, messages: &[&str]) -> Outcome {
    let Some(first) = messages.first() else { return Ok(()) };
    let expected = message(header, remainder(first));
    talk.receive_exactly("the reply", &expected).map_err(|mut failure| {
        if let Some(bytes) = &failure.bytes {
            failure.hint = reply_mistake(messages, &bytes.actual, header);
        }
        failure
    })
}

/// Receives a message from a client.
fn receive_message(talk: &mut Talk, header: usize, payload: &str) -> Outcome {
    let expected = message(header, payload);
    talk.receive_exactly("the message", &expected).map_err(|mut failure| {
        if let Some(bytes) = &failure.bytes {
            failure.hint = encoding_mistake(payload.as_bytes(), &bytes.actual, header);
        }
        failure
    })
}

/// Sends a message and receives its reply.
fn exchange(talk: &mut Talk, header: usize, payload: &str) -> Outcome {
    talk.send(&message(header, payload))?;
    receive_reply(talk, header, &[payload])
}

/// Returns a likely mistake where nothing arrives. Where something does, the steps know the message.
fn hint(situation: &Situation<'_>) -> Option<String> {
    let bytes = header(situation.wire);
    let format = if bytes == 2 { "\"!H\"" } else { "\"!I\"" };
    let size = unpack::wrong_size(situation, &[bytes], &format!("the length has {bytes}"), format);
    if size.is_some() {
        return size;
    }
    // The hint of a case is about a wrong reply, or none to a short message.
    let is_long = situation.sent.iter().map(Vec::len).sum::<usize>() > 1000;
    if situation.group != Group::Basic
        || !situation.stderr.is_empty()
        || situation.case_hint.is_some() && !is_long
    {
        return None;
    }
    let text = match (situation.role, situation.kind) {
        (Role::Server, Kind::Silent) if situation.bytes.actual.is_empty() => {
            "the program waits for more: does it read the length as 4 bytes, big-endian, and then exactly as many bytes?"
        }
        (Role::Server, Kind::Closed) if situation.case_hint.is_none() => {
            "the program closes instead of waiting for the next message: serve a client in a loop until it leaves"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_the_encoding_are_recognised() {
        let payload = "naïve café";
        let bytes = payload.as_bytes();
        let with = |length: &[u8]| [length, bytes].concat();
        for (actual, text) in [
            (bytes.to_vec(), "length in front of the payload is missing"),
            (with(&12_u32.to_le_bytes()), "little-endian"),
            (with(&12_u16.to_be_bytes()), "2 bytes, not 4; if that"),
            (with(&12_u64.to_be_bytes()), "8 bytes, not 4"),
            (with(b"12"), "decimal text"),
            (with(&10_u32.to_be_bytes()), "counts characters"),
            (with(&16_u32.to_be_bytes()), "its own bytes"),
            ([&13_u32.to_be_bytes(), bytes, b"\n"].concat(), "newline"),
            ([&13_u32.to_be_bytes(), bytes, b"\0"].concat(), "NUL bytes"),
            ([&10_u32.to_be_bytes()[..], b"na\xefve caf\xe9"].concat(), "UTF-8"),
        ] {
            let mistake = encoding_mistake(bytes, &actual, 4).unwrap_or_default();
            assert!(mistake.contains(text), "{actual:?}: {mistake}");
        }
        assert_eq!(encoding_mistake(bytes, &message(4, payload), 4), None);
    }

    #[test]
    fn mistakes_of_a_reply_are_recognised() {
        let (one, two) = ("0123456789abcdef", "9876543210xyzuvw");
        for (messages, reply, text) in [
            (&[UMLAUTS][..], message(4, UMLAUTS), "nothing was removed"),
            (&[one], message(4, &one[9..]), "9 characters were removed"),
            (&[one, two], message(4, &format!("abcdef{two}")), "two messages were merged"),
            (&[one], message(4, "ABCDEF"), "upper case"),
            (&["ten chars:  spaces  "], message(4, "  spaces"), "white space"),
            (&["Four score and more"], message(4, "and more"), "not eleven"),
        ] {
            let mistake = reply_mistake(messages, &reply, 4).unwrap_or_default();
            assert!(mistake.contains(text), "{reply:?}: {mistake}");
        }
        let bytes = &UMLAUTS.as_bytes()[10..];
        let reply = [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        assert!(reply_mistake(&[UMLAUTS], &reply, 4).unwrap().contains("ten bytes were removed"));
    }

    #[test]
    fn a_long_text_has_no_repetition() {
        let text = text_of(20_000);
        assert_eq!(text.len(), 20_000);
        assert_ne!(text[..1024], text[1024..2048]);
    }
}
