//! Searching, trimming and writing text.
//!
//! The functions are out of line: machines call them often, and each copy would cost a microcontroller flash.
//! Inlining them saves no time that the benchmarks show.

use super::copy;
use crate::count;

/// Returns the position of the first such byte.
#[cfg(feature = "memchr")]
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

/// Returns the position of the first such byte.
#[cfg(not(feature = "memchr"))]
#[inline(never)]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    find_by_loop(byte, bytes)
}

/// Returns the position of the first such byte. Lines are short, and a loop is the smallest code.
#[cfg(any(test, not(feature = "memchr")))]
#[inline]
fn find_by_loop(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

/// Returns what precedes the first such byte, and what follows it.
pub(crate) fn split(byte: u8, text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(byte, text)?;
    Some((text.get(..at)?, text.get(count::add(at, 1)..)?))
}

/// Returns `text` without the ASCII white space at its start.
#[inline(never)]
pub(crate) fn trim_start(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// Returns `text` without the ASCII white space at its end.
#[inline(never)]
pub(crate) fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// Returns `text` without the ASCII white space around it.
#[inline(never)]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Returns which of these words `text` ends with, and what precedes it.
#[inline(never)]
pub(crate) fn strip_word<'t>(text: &'t [u8], words: &[&str]) -> Option<(usize, &'t [u8])> {
    words.iter().enumerate().find_map(|(index, word)| {
        let front = text.get(..text.len().checked_sub(word.len())?)?;
        let back = text.get(front.len()..)?;
        // From the end, where words differ. Not by `memcmp`, which is larger than all of this.
        let is_same = back.iter().rev().eq(word.as_bytes().iter().rev());
        is_same.then_some((index, front))
    })
}

/// Returns which of these words `text` is.
pub(crate) fn word(text: &[u8], words: &[&str]) -> Option<usize> {
    match strip_word(text, words) {
        Some((index, [])) => Some(index),
        _ => None,
    }
}

/// Writes `text` to the front of `output`. Returns the number of bytes written, or `None` if the space is too
/// small.
#[inline(never)]
pub(crate) fn put(text: &[u8], output: &mut [u8]) -> Option<usize> {
    Some(copy(text, output.get_mut(..text.len())?))
}

/// Writes `text` and the byte that ends it to the front of `output`. Returns the number of bytes written, or `None` if
/// the space is too small.
#[inline(never)]
pub(crate) fn put_ended(text: &[u8], end: u8, output: &mut [u8]) -> Option<usize> {
    *output.get_mut(text.len())? = end;
    Some(count::add(copy(text, output), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_at_the_first_such_byte() {
        assert_eq!(split(b',', b"a,b,c"), Some((&b"a"[..], &b"b,c"[..])));
        assert_eq!(split(b',', b","), Some((&b""[..], &b""[..])));
        assert_eq!(split(b',', b"a"), None);
    }

    #[test]
    fn both_searches_find_the_same() {
        let bytes = b"a\nbc\n\xffdef\0ghi";
        for from in 0..=bytes.len() {
            let bytes = bytes.get(from..).unwrap();
            for byte in [b'\n', 0xff, 0, b'i', b'z'] {
                assert_eq!(find(byte, bytes), find_by_loop(byte, bytes));
            }
        }
    }

    #[test]
    fn a_word_is_known_by_its_end() {
        let words = ["no", "yes", ""];
        assert_eq!(strip_word(b"I say yes", &words), Some((1, &b"I say "[..])));
        assert_eq!(strip_word(b"o", &words), Some((2, &b"o"[..])));
        assert_eq!(strip_word(b"o", &["no"]), None);
        assert_eq!(word(b"yes", &words), Some(1));
        assert_eq!(word(b"", &words), Some(2));
        assert_eq!(word(b"oyes", &words), None);
    }

    #[test]
    fn a_text_is_written_whole_or_not_at_all() {
        let mut room = [0; 4];
        assert_eq!(put(b"abc", &mut room), Some(3));
        assert_eq!(put_ended(b"xyz", b'\n', &mut room), Some(4));
        assert_eq!(room, *b"xyz\n");
        assert_eq!(put_ended(b"1234", b'\n', &mut room), None);
        assert_eq!(put(b"12345", &mut room), None);
        assert_eq!((put(b"", &mut []), put_ended(b"", b',', &mut [])), (Some(0), None));
    }
}
