use core::fmt::{self, Write as _};

use crate::count;

/// Result of [`prefix_of_chars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Prefix {
    /// Number of bytes of the requested characters.
    Whole(usize),
    /// There are fewer characters, all of them complete.
    Short,
    /// There are fewer complete characters, and the bytes end inside one.
    Truncated,
    /// The bytes from this position on are not UTF-8, whatever follows.
    Invalid(usize),
}

/// Returns the number of bytes of the first `count` characters (Unicode scalar values) of `bytes`.
///
/// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF. Bytes behind those characters are
/// not examined.
#[must_use]
pub fn prefix_of_chars(bytes: &[u8], count: usize) -> Prefix {
    let mut rest = bytes;
    for _ in 0..count {
        let at = count::sub(bytes.len(), rest.len());
        let [lead, tail @ ..] = rest else { return Prefix::Short };
        rest = tail;
        if lead.is_ascii() {
            continue;
        }
        if !(0xc2..=0xf4).contains(lead) {
            return Prefix::Invalid(at);
        }
        // Below its highest bit the first byte has a one for each byte that follows, and then a zero.
        let mut bits = u32::from(*lead) << 1;
        while bits & 0x80 != 0 {
            let [byte, tail @ ..] = rest else { return Prefix::Truncated };
            rest = tail;
            // The second byte shows overlong forms (below the limit, behind E0 and F0), surrogates (from it on, behind
            // ED) and values past U+10FFFF (from it on, behind F4).
            let limit = if bits < 0x1e0 { 0xa0 } else { 0x90 };
            let bad =
                if *byte < limit { bits | 0x20 == 0x1e0 } else { bits == 0x1da || bits == 0x1e8 };
            if bad || byte & 0xc0 != 0x80 {
                return Prefix::Invalid(at);
            }
            bits <<= 1;
        }
    }
    Prefix::Whole(count::sub(bytes.len(), rest.len()))
}

/// Returns the first `max` bytes for a trace, up to three fewer if a character would be cut. `None` if there are no more.
pub(crate) fn front(bytes: &[u8], max: usize) -> Option<&[u8]> {
    let follows = bytes.get(max..).filter(|rest| !rest.is_empty())?;
    let mut front = bytes.get(..count::sub(bytes.len(), follows.len()))?;
    // A byte that continues a character begins with the bits 10.
    let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut next = follows.first();
    for _ in 0..3 {
        if !continues(next) {
            return Some(front);
        }
        let Some((last, rest)) = front.split_last() else { break };
        (next, front) = (Some(last), rest);
    }
    Some(if continues(next) { bytes.get(..max)? } else { front })
}

/// A number of bytes in a message: `1 byte`, `2 bytes`.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    /// Returns the number of bytes of `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(u64::try_from(text.len()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// A byte in a message: `0x58 ('X')`, or `0x0a` if it is not printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Byte(pub u8);

impl fmt::Display for Byte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)?;
        if self.0.is_ascii_graphic() {
            write!(f, " ('{}')", char::from(self.0))?;
        }
        Ok(())
    }
}

/// Text from a peer, safe for a terminal.
///
/// It escapes control characters other than newline and tab, characters that change the direction of writing,
/// invisible characters, and bytes that are not UTF-8: `\x1b`, `\u{202e}`, `\xff`. A backslash is not escaped: the result
/// is for people, not for parsing.
///
/// ```
/// use socklab_core::wire::Escaped;
/// assert_eq!(Escaped(b"caf\xc3\xa9 \x1b[31m\xff").to_string(), "café \\x1b[31m\\xff");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Escaped<'t>(pub &'t [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\t' => f.write_char(c)?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if is_unsafe(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Returns whether this is a C1 control, a line or paragraph separator, a direction control of Unicode UAX #9, or an
/// invisible formatting character: soft hyphen, spaces without width, joiners, byte order mark, annotations, tags.
const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    /// Returns the same result, found by std.
    fn by_std(bytes: &[u8], count: usize) -> Prefix {
        let (valid, fault) = match core::str::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(e) => {
                let valid = bytes.get(..e.valid_up_to()).unwrap_or_default();
                (core::str::from_utf8(valid).unwrap_or_default(), Some(e))
            }
        };
        match (valid.char_indices().nth(count), fault) {
            (Some((at, _)), _) => Prefix::Whole(at),
            _ if valid.chars().count() == count => Prefix::Whole(valid.len()),
            (None, None) => Prefix::Short,
            (None, Some(e)) if e.error_len().is_none() => Prefix::Truncated,
            (None, Some(e)) => Prefix::Invalid(e.valid_up_to()),
        }
    }

    #[test]
    fn agrees_with_std_on_every_sequence_of_up_to_three_bytes() {
        for n in 0..=0x00ff_ffff_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            for bytes in [&[a, b, c][..], &[b, c], &[c]] {
                if bytes.len() < 3 && n > 0xffff {
                    continue;
                }
                assert_eq!(prefix_of_chars(bytes, 1), by_std(bytes, 1), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn agrees_with_std_on_four_byte_sequences_and_longer_texts() {
        const EDGES: [u8; 16] = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xf0,
            0xf4, 0xff,
        ];
        for lead in 0xf0..=0xff {
            for a in 0..=255 {
                for b in EDGES {
                    for c in EDGES {
                        let bytes = [b'x', lead, a, b, c, b'y'];
                        for count in 0..=4 {
                            assert_eq!(prefix_of_chars(&bytes, count), by_std(&bytes, count));
                        }
                    }
                }
            }
        }
        for text in [
            "",
            "ten chars!",
            "zehn Zeichen: äöü",
            "中文字符中文字符中文字符",
            "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀",
        ] {
            for end in 0..=text.len() {
                let bytes = text.as_bytes().get(..end).unwrap_or_default();
                for count in 0..=11 {
                    assert_eq!(prefix_of_chars(bytes, count), by_std(bytes, count), "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn the_front_of_a_text_ends_between_characters() {
        assert_eq!(front(b"abc", 3), None);
        assert_eq!(front(b"", 0), None);
        assert_eq!(front(b"abcd", 3), Some(&b"abc"[..]));
        for (text, max, end) in
            [("aäb", 2, 1), ("aäb", 3, 3), ("🦀🦀", 7, 4), ("🦀🦀", 5, 4), ("🦀", 2, 0)]
        {
            assert_eq!(front(text.as_bytes(), max), text.as_bytes().get(..end), "{text} {max}");
        }
        // Bytes that are not text are cut where they are.
        assert_eq!(front(&[0x80; 9], 6), Some(&[0x80; 6][..]));
    }

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(Escaped(b"a\x1b]0;x\x07\r\n\tb").to_string(), "a\\x1b]0;x\\x07\\x0d\n\tb");
        assert_eq!(Escaped("x\u{202e}y\u{9b}".as_bytes()).to_string(), "x\\u{202e}y\\u{9b}");
        assert_eq!(Escaped(b"\xc3").to_string(), "\\xc3");
        // A name that looks like another, and hidden text.
        let hidden = "a\u{ad}d\u{200b}m\u{200d}i\u{2060}n\u{2064}\u{feff}\u{e0041}\u{e007f}";
        assert_eq!(
            Escaped(hidden.as_bytes()).to_string(),
            "a\\u{ad}d\\u{200b}m\\u{200d}i\\u{2060}n\\u{2064}\\u{feff}\\u{e0041}\\u{e007f}"
        );
        // The visible characters next to each range are not escaped.
        let seen = "\u{a0}\u{ac}\u{ae}\u{200a}\u{2010}\u{2027}\u{202f}\u{205f}\u{2070}\u{fe0f}\u{fffc}\u{1f980}";
        assert_eq!(Escaped(seen.as_bytes()).to_string(), seen);
        assert_eq!(Byte(b'X').to_string(), "0x58 ('X')");
        assert_eq!(Byte(7).to_string(), "0x07");
    }
}
