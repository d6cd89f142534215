//! Detection of likely mistakes in a server from a wrong reply.

use std::fmt;

use socklab_core::echo::REMOVED_CHARS;
use socklab_core::wire::{Prefix, prefix_of_chars};

use super::removed;

/// Likely mistake in a server that did not remove the first ten characters correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// The whole message was returned.
    NothingRemoved,
    /// This number of characters was removed instead of ten.
    CharsRemoved(usize),
    /// This number of bytes was removed instead of ten characters.
    BytesRemoved(u64),
    /// The reply is empty.
    Empty,
    /// Letters were changed to upper case.
    UpperCase,
    /// Letters were changed to lower case.
    LowerCase,
    /// This byte, or `\r\n` for a newline, was added.
    Added(u8),
    /// The length is the number of characters instead of bytes.
    CharsCounted,
    /// Only this number of bytes of the message was read.
    Truncated(u64),
    /// The next message was read as part of this one.
    Merged,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingRemoved => "nothing was removed",
            Self::CharsRemoved(1) => "1 character was removed, not ten",
            Self::CharsRemoved(n) => return write!(f, "{n} characters were removed, not ten"),
            Self::BytesRemoved(10) => "ten bytes were removed, not ten characters",
            Self::BytesRemoved(1) => "1 byte was removed, not ten characters",
            Self::BytesRemoved(n) => {
                return write!(f, "{n} bytes were removed, not ten characters");
            }
            Self::Empty => "an empty reply was sent for an error",
            Self::UpperCase => "it was changed to upper case",
            Self::LowerCase => "it was changed to lower case",
            Self::Added(b'\n') => "a newline was added",
            Self::Added(0) => "a NUL byte was added",
            Self::Added(byte) => return write!(f, "the byte {byte:#04x} was added"),
            Self::CharsCounted => "its length counts characters, not bytes",
            Self::Truncated(n) => {
                return write!(f, "only the first {n} bytes of the message were read");
            }
            Self::Merged => "two messages were merged into one",
        })
    }
}

/// Start of a text, and the length of the whole text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t> {
    pub(super) bytes: &'t [u8],
    pub(super) length: u64,
}

impl<'t> Text<'t> {
    /// Returns whether the whole text is known.
    fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }

    /// Returns the text without its first `n` bytes.
    fn skip(self, n: usize) -> Option<Self> {
        let length = self.length.checked_sub(n as u64)?;
        Some(Self { bytes: self.bytes.get(n..)?, length })
    }

    /// Returns whether both texts have the same start, as far as both are known.
    fn agrees_with(self, other: &[u8]) -> bool {
        self.bytes.iter().zip(other).all(|(a, b)| a == b)
    }

    /// Returns whether both texts are equal, as far as both are known. At least one byte of each must be known.
    fn equals(self, other: Self) -> bool {
        self.length == other.length
            && !self.bytes.is_empty()
            && !other.bytes.is_empty()
            && self.agrees_with(other.bytes)
    }
}

/// Returns the likely mistake in a server that sent `reply` to `message` instead of removing its first `removed` bytes.
/// `next` is the message after it, if that has been sent already.
pub(super) fn mistake(
    message: Text<'_>,
    removed: usize,
    reply: Text<'_>,
    next: Option<Text<'_>>,
    header: usize,
) -> Option<Mistake> {
    let expected = message.skip(removed)?;
    if reply.length == 0 {
        return Some(Mistake::Empty);
    }
    if reply.length == expected.length && reply.agrees_with(expected.bytes) {
        // The difference is in bytes that are not known.
        return None;
    }
    if reply.equals(message) {
        return Some(Mistake::NothingRemoved);
    }
    if let Some(count) = message.length.checked_sub(reply.length)
        && let Ok(n) = usize::try_from(count)
        && message.skip(n).is_some_and(|tail| reply.equals(tail))
    {
        let chars = (1..=2 * REMOVED_CHARS)
            .find(|chars| prefix_of_chars(message.bytes, *chars) == Prefix::Whole(n));
        return Some(match chars {
            Some(chars) if n != REMOVED_CHARS => Mistake::CharsRemoved(chars),
            _ => Mistake::BytesRemoved(count),
        });
    }
    for original in [expected, message] {
        let is_same = |change: fn(&str) -> String| {
            let (text, got) = (valid_utf8(original.bytes), valid_utf8(reply.bytes));
            let changed = change(text);
            let common = changed.len().min(got.len());
            reply.length == original.length
                && !reply.agrees_with(original.bytes)
                && changed.get(..common) == got.get(..common)
        };
        if is_same(str::to_uppercase) || is_same(str::to_ascii_uppercase) {
            return Some(Mistake::UpperCase);
        }
        if is_same(str::to_lowercase) || is_same(str::to_ascii_lowercase) {
            return Some(Mistake::LowerCase);
        }
    }
    let starts_right = reply.agrees_with(expected.bytes);
    if starts_right && reply.is_whole() && expected.is_whole() {
        match reply.bytes.get(expected.bytes.len()..).unwrap_or_default() {
            [b'\n'] | [b'\r', b'\n'] => return Some(Mistake::Added(b'\n')),
            [byte] => return Some(Mistake::Added(*byte)),
            _ => {}
        }
        let chars = valid_utf8(expected.bytes).chars().count() as u64;
        if chars == reply.length {
            return Some(Mistake::CharsCounted);
        }
    }
    if let Some(next) = next
        && reply.length > expected.length
        && is_merged(message, expected, reply, next, header)
    {
        return Some(Mistake::Merged);
    }
    let is_cut = starts_right && reply.length < expected.length;
    is_cut.then_some(Mistake::Truncated(removed as u64 + reply.length))
}

/// Returns whether the reply answers two messages that were merged.
fn is_merged(
    message: Text<'_>,
    expected: Text<'_>,
    reply: Text<'_>,
    next: Text<'_>,
    header: usize,
) -> bool {
    let count = removed(next.bytes).unwrap_or_default();
    let next_expected = next.skip(count).unwrap_or(next);
    let length = next.length.to_be_bytes();
    let header = Text { bytes: &length[length.len() - header..], length: header as u64 };
    let joined = |parts: &[Text<'_>], removed: usize| {
        // The parts up to and including the first that is not known whole.
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part.bytes);
            if !part.is_whole() {
                break;
            }
        }
        let length = parts.iter().map(|part| part.length).sum();
        Text { bytes: &bytes, length }.skip(removed).is_some_and(|text| reply.equals(text))
    };
    // If the message is short, the ten characters end in the next one.
    let both = removed(&[message.bytes, next.bytes].concat()).unwrap_or_default();
    joined(&[message, next], both)
        || joined(&[expected, next], 0)
        || joined(&[expected, next_expected], 0)
        || joined(&[expected, header, next], 0)
}

/// Returns the longest prefix that is valid UTF-8.
fn valid_utf8(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::checked;

    #[test]
    fn a_wrong_reply_is_reported_with_its_offset_and_the_likely_mistake() {
        let one: &[u8] = b"0123456789abcdef and the rest";
        let umlauts = "äöüäöüäöüäabcdef and ß".as_bytes();
        for (message, reply, text) in [
            (
                one,
                one,
                r#"at byte 0: got "0123456789abcdef and the rest", expected "abcdef and the rest" (29 bytes, expected 19); probably nothing was removed"#,
            ),
            (
                umlauts,
                &umlauts[10..],
                r#"at byte 0: got "üäöüäabcdef and ß", expected "abcdef and ß" (23 bytes, expected 13); probably ten bytes were removed, not ten characters"#,
            ),
            (
                one,
                &one[11..],
                r#"at byte 0: got "bcdef and the rest", expected "abcdef and the rest" (18 bytes, expected 19); probably 11 characters were removed, not ten"#,
            ),
            (
                umlauts,
                &umlauts[21..],
                r#"at byte 0: got "bcdef and ß", expected "abcdef and ß" (12 bytes, expected 13); probably 11 characters were removed, not ten"#,
            ),
            (umlauts, &umlauts[11..], r#"; probably 11 bytes were removed, not ten characters"#),
            (
                one,
                b"ABCDEF AND THE REST",
                r#"at byte 0: got "ABCDEF AND THE REST", expected "abcdef and the rest"; probably it was changed to upper case"#,
            ),
            (one, b"0123456789ABCDEF AND THE REST", "probably it was changed to upper case"),
            (
                one,
                b"",
                r#"at byte 0: got end of reply, expected "abcdef and the rest" (0 bytes, expected 19); probably an empty reply was sent for an error"#,
            ),
            (
                one,
                b"abcdef and the rest\n",
                r#"at byte 19: got "\n", expected end of reply (20 bytes, expected 19); probably a newline was added"#,
            ),
            (one, b"abcdef and the rest\0", "probably a NUL byte was added"),
            (
                umlauts,
                &umlauts[20..umlauts.len() - 1],
                r#"at byte 12: got end of reply, expected "\x9f" (12 bytes, expected 13); probably its length counts characters, not bytes"#,
            ),
            (
                one,
                b"abcdef",
                r#"at byte 6: got end of reply, expected " and the rest" (6 bytes, expected 19); probably only the first 16 bytes of the message were read"#,
            ),
            (one, b"abcdef and the best", r#"at byte 15: got "best", expected "rest""#),
            (
                b"short",
                b"short",
                r#"at byte 0: got "short", expected end of reply (5 bytes, expected 0); probably nothing was removed"#,
            ),
        ] {
            for piece in [1, 5, 1000] {
                let error = checked(&[b"", message], &[b"", reply], piece).unwrap_err();
                let error = error.strip_prefix("reply 2 is wrong ").unwrap();
                if piece == 1000 {
                    assert!(error.ends_with(text), "{error}\n{text}");
                }
                let mistake = |text: &str| text.rsplit_once("probably").map(|(_, m)| m.to_owned());
                assert_eq!(mistake(error), mistake(text), "{piece}");
            }
        }
    }

    #[test]
    fn two_messages_that_were_merged_are_detected() {
        let long = [&b"0123456789"[..], &[b'x'; 5000]].concat();
        for (one, two) in [
            (&b"0123456789abc"[..], &b"9876543210xyz"[..]),
            (b"short", b"and the next one"),
            (&long, b"9876543210xyz"),
        ] {
            let both = [one, two].concat();
            let expected = [&one[10.min(one.len())..], &two[10..]].concat();
            let header = u32::try_from(two.len()).unwrap().to_be_bytes();
            let framed = [&one[10.min(one.len())..], &header, two].concat();
            for reply in [&both[10..], &expected, &framed] {
                let error = checked(&[one, two], &[reply], 100_000).unwrap_err();
                assert!(error.ends_with("; probably two messages were merged into one"), "{error}");
            }
        }
    }
}
