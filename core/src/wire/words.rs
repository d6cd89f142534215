//! What small processors have once: flash is dear there. Where vectors are, everything is inlined.

use super::copy;
use crate::count;

/// Where the first such byte is.
#[cfg(target_pointer_width = "64")]
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

/// Where the first such byte is. Lines are short: a loop.
#[cfg(not(target_pointer_width = "64"))]
#[inline(never)]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

/// What stands before the first such byte, and what behind it.
pub(crate) fn split(byte: u8, text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(byte, text)?;
    Some((text.get(..at)?, text.get(count::add(at, 1)..)?))
}

/// Without the ASCII white space in front.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn trim_start(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// Without the ASCII white space behind.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// Without the ASCII white space in front and behind.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Which of these words `text` ends with, and what stands before it.
#[inline(never)]
pub(crate) fn strip_word<'t>(text: &'t [u8], words: &[&str]) -> Option<(usize, &'t [u8])> {
    words.iter().enumerate().find_map(|(index, word)| {
        let front = text.get(..text.len().checked_sub(word.len())?)?;
        let back = text.get(front.len()..)?;
        // From the end, where words differ; and not by `memcmp`, which is larger than all of this.
        let is_same = back.iter().rev().eq(word.as_bytes().iter().rev());
        is_same.then_some((index, front))
    })
}

/// Which of these words `text` is.
pub(crate) fn word(text: &[u8], words: &[&str]) -> Option<usize> {
    match strip_word(text, words) {
        Some((index, [])) => Some(index),
        _ => None,
    }
}

/// Writes `text` to the front of `output`. Returns the bytes written, `None` when there is too little
/// room.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn put(text: &[u8], output: &mut [u8]) -> Option<usize> {
    Some(copy(text, output.get_mut(..text.len())?))
}

/// Writes `text` and the byte that ends it to the front of `output`. Returns the bytes written,
/// `None` when there is too little room.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
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
    fn what_is_written_is_all_or_nothing_told() {
        let mut room = [0; 4];
        assert_eq!(put(b"abc", &mut room), Some(3));
        assert_eq!(put_ended(b"xyz", b'\n', &mut room), Some(4));
        assert_eq!(room, *b"xyz\n");
        assert_eq!(put_ended(b"1234", b'\n', &mut room), None);
        assert_eq!(put(b"12345", &mut room), None);
        assert_eq!((put(b"", &mut []), put_ended(b"", b',', &mut [])), (Some(0), None));
    }
}
