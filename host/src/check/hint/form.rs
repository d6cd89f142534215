//! Mistakes in the form in which text is sent. The bytes leave no doubt.

use super::super::case::Situation;
use super::super::failure::Kind;

pub(in crate::check) const NUL_BYTES: &str = "NUL bytes were sent with the text: send only its own bytes, in C strlen() of them, not the whole buffer and not the \
     0 at the end";
pub(in crate::check) const LOW_BYTES: &str = "each character was sent as one byte or as a question mark, as in Latin-1 or by writeBytes() in Java: encode the text in UTF-8";
const LENGTH_PREFIX: &str = "2 bytes with the length stand before the text, as writeUTF() in Java sends them: send the bytes of the text alone, with \
     write() or print()";
const UTF_16: &str =
    "the text was sent in UTF-16, as by writeChars() in Java: encode() it in UTF-8";

/// Returns the mistake in the form of a text.
pub(in crate::check) fn form(situation: &Situation<'_>) -> Option<String> {
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    if situation.kind == Kind::Unexpected && !actual.is_empty() && actual.iter().all(|b| *b == 0) {
        return Some(NUL_BYTES.to_owned());
    }
    mistake(expected, actual).map(str::to_owned)
}

fn mistake(expected: &[u8], actual: &[u8]) -> Option<&'static str> {
    let is_line = expected.ends_with(b"\n");
    let line = expected.strip_suffix(b"\n").unwrap_or(expected);
    if line.is_empty() || line.contains(&0) {
        return None;
    }
    let has_mark = actual.starts_with(&[0xff, 0xfe]) || actual.starts_with(&[0xfe, 0xff]);
    let is_wide = |one: u8, other: u8| {
        actual.starts_with(&[0, one, 0, other]) || actual.starts_with(&[one, 0, other, 0])
    };
    if has_mark || matches!(expected, [one, other, ..] if is_wide(*one, *other)) {
        return Some(UTF_16);
    }
    let first = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some((length, text)) = actual.split_first_chunk()
        && !first.is_empty()
        && text.starts_with(first)
        && (first.len()..=expected.len() + 2).contains(&u16::from_be_bytes(*length).into())
    {
        return Some(LENGTH_PREFIX);
    }
    let after_nul = |bytes: &[u8]| bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let follows = |text: &[u8], next: &[u8]| {
        let rest = actual.strip_prefix(text).map(|rest| rest.strip_prefix(b"\n").unwrap_or(rest));
        rest.is_some_and(|rest| {
            let nul = after_nul(rest);
            nul > 0 && rest.get(nul..).is_some_and(|rest| rest.is_empty() || rest.starts_with(next))
        })
    };
    let next = line.get(first.len() + 1..).unwrap_or_default();
    // They follow the text, its first line, or the message before it.
    let is_whole = (is_line || line.len() > 1) && follows(line, b"");
    if is_whole || !next.is_empty() && follows(first, next) || is_line && follows(b"", line) {
        return Some(NUL_BYTES);
    }
    is_low_bytes(line, actual).then_some(LOW_BYTES)
}

/// Returns whether the low byte of each character was sent, or a question mark for it.
pub(in crate::check) fn is_low_bytes(text: &[u8], actual: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let is_low =
        |c: char, byte: u8| byte == (u32::from(c) & 0xff) as u8 || byte == b'?' && !c.is_ascii();
    !text.is_ascii()
        && text.chars().count() <= actual.len()
        && text.chars().zip(actual).all(|(c, byte)| is_low(c, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_the_form_of_a_text_are_recognised() {
        for (expected, actual, hint) in [
            (&b"Ada\n"[..], &b"Ada\n\0\0\0"[..], NUL_BYTES),
            (b"Ada\n", b"Ada\0", NUL_BYTES),
            (b"75\n", b"\x0075\n", NUL_BYTES),
            (b"75\n", &[0; 1000], NUL_BYTES),
            (b"Ada", b"Ada\0", NUL_BYTES),
            (b"Ada\n", b"\0\x03Ada", LENGTH_PREFIX),
            (b"Ada\n", b"\0\x04Ada\n", LENGTH_PREFIX),
            (b"Ada\n42\n", b"\0\x03Ada\0\x0242", LENGTH_PREFIX),
            (b"Ada\n42\n", b"\0\x07Ada\n42\n", LENGTH_PREFIX),
            (b"Ada\n42\n", b"Ada\n\x0042\n\0", NUL_BYTES),
            (b"Ada\n42\n", b"Ada\n42\n\0\0", NUL_BYTES),
            (b"Ada\n", b"\xff\xfeA\0d\0a\0", UTF_16),
            (b"Ada\n", b"\0A\0d\0a\0\n", UTF_16),
            ("Zo\u{eb}\n".as_bytes(), b"Zo\xeb\n", LOW_BYTES),
            ("\u{4e2d} a".as_bytes(), b"\x2d a", LOW_BYTES),
            ("Zo\u{eb}\n".as_bytes(), b"Zo?\n", LOW_BYTES),
        ] {
            assert_eq!(mistake(expected, actual), Some(hint), "{expected:?} {actual:?}");
        }
        for (expected, actual) in [
            (&b"50\n"[..], &b"\0\0\0\x32"[..]),
            (b"Ada\n", b"Eve\n"),
            (b"Ada\n42\n", b"Ada\n\0\0\0\x2a"),
            (&[0, 0, 1, 2], &[0, 0, 0, 0]),
            (&[1, 2, 3, 4], &[0, 0, 0, 0]),
            ("Zo\u{eb}\n".as_bytes(), "Zo\u{eb}".as_bytes()),
            (b"", b"\0"),
        ] {
            assert_eq!(mistake(expected, actual), None, "{expected:?} {actual:?}");
        }
    }
}
