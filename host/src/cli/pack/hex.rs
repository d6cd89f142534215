//! Bytes as people paste them: hexadecimal digits, dumps, and what Python prints.

use super::words::{shortened, unescape};

/// Returns the bytes of a text.
///
/// # Errors
///
/// The message.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    for quote in ["'", "\""] {
        if let Some(rest) = text.strip_prefix('b').and_then(|rest| rest.strip_prefix(quote)) {
            let content = rest.strip_suffix(quote).ok_or_else(|| {
                format!("the bytes of Python end without {quote}: {}", shortened(text))
            })?;
            return unescape(content);
        }
    }
    match dump(text)? {
        Some(bytes) => Ok(bytes),
        None => digits(text),
    }
}

/// Returns the bytes of digits in pairs, with or without something between them.
fn digits(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let text = text.replace("\\x", " ");
    for word in text.split(|c: char| c.is_whitespace() || c == ',' || c == ':') {
        let word = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
        if let Some(wrong) = word.chars().find(|c| !c.is_ascii_hexdigit()) {
            let wrong = shortened(wrong.encode_utf8(&mut [0; 4]));
            return Err(format!(
                "'{wrong}' is not a hexadecimal digit, in \"{}\"",
                shortened(word)
            ));
        }
        if word.len() % 2 != 0 {
            return Err(format!(
                "\"{}\" has an odd number of hexadecimal digits, {}: each byte has two",
                shortened(word),
                word.len()
            ));
        }
        let pairs = word.as_bytes().chunks_exact(2);
        bytes.extend(pairs.map(|pair| {
            let digit = |byte| char::from(byte).to_digit(16).unwrap_or_default();
            (digit(pair[0]) << 4 | digit(pair[1])) as u8
        }));
    }
    Ok(bytes)
}

/// Returns the bytes of a dump of xxd, tcpdump or `hexdump -C`, or `None` if it is not one: each line starts with the number
/// of bytes before it.
fn dump(text: &str) -> Result<Option<Vec<u8>>, String> {
    // An odd number of digits, so that it is nothing else.
    if text.split_whitespace().next() == Some("0000000") {
        return Err(
            "hexdump and od show numbers, not bytes in order; use hexdump -vC or xxd".into()
        );
    }
    let mut bytes = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "*" && !bytes.is_empty() {
            return Err("the dump leaves out repeated lines (*); use hexdump -vC or xxd".into());
        }
        let Some(row) = Row::parse(line) else { return Ok(None) };
        if row.offset != bytes.len() {
            return Ok(None);
        }
        let part = digits(row.digits)?;
        if row.has_reversed_words(&part) {
            return Err("the dump has little-endian words (xxd -e); use xxd without -e".into());
        }
        bytes.extend(part);
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// A line of a dump: the number of bytes before it, its bytes, and these as text.
struct Row<'l> {
    offset: usize,
    digits: &'l str,
    text: &'l str,
}

impl<'l> Row<'l> {
    fn parse(line: &'l str) -> Option<Self> {
        let (offset, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let (offset, digits, text) = match offset.strip_suffix(':') {
            // Two spaces separate the text.
            Some(offset) => {
                let (digits, text) = rest.split_once("  ").unwrap_or((rest, ""));
                (offset, digits, text)
            }
            None => match rest.split_once('|') {
                Some((digits, text)) => (offset, digits, text),
                // The last line of hexdump has only the number of all bytes.
                None if rest.is_empty() => (offset, rest, ""),
                None => return None,
            },
        };
        let number = offset.strip_prefix("0x").unwrap_or(offset);
        let is_offset =
            (4..=16).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_hexdigit());
        is_offset.then_some(())?;
        Some(Self { offset: usize::from_str_radix(number, 16).ok()?, digits, text })
    }

    /// Returns whether the text shows that the bytes of each word are in reverse order.
    fn has_reversed_words(&self, bytes: &[u8]) -> bool {
        let as_text = |bytes: &[u8]| -> String {
            let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { *byte } else { b'.' };
            bytes.iter().map(shown).map(char::from).collect()
        };
        let (mut rest, mut reversed) = (bytes, Vec::new());
        for word in self.digits.split_whitespace() {
            let Some((word, others)) = rest.split_at_checked(word.len() / 2) else { return false };
            reversed.extend(word.iter().rev());
            rest = others;
        }
        // The spaces at both ends of the line are lost.
        let text = self.text.trim();
        text == as_text(&reversed).trim() && text != as_text(bytes).trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_accepted_as_people_write_them() {
        for text in [
            "000d03db",
            "00 0d 03 db",
            "000D 03DB",
            " 00\n0d\r\n03\tdb\n",
            "0x000d03db",
            "0x00, 0x0d, 0x03, 0xdb",
            "0X00 0x0d03 0xDB,",
            r"\x00\x0d\x03\xdb",
            "00:0d:03:db",
            r"b'\x00\r\x03\xdb'",
            "b\"\\x00\\r\\x03\\xdb\"\n",
            "00000000: 000d 03db                                ....",
            "00000000: 00 0d 03 db\n",
            "00000000: 000d  ..\n00000002: 03db  ..\n",
            "\t0x0000:  000d 03db",
            "00000000  00 0d 03 db                                       |....|\n00000004\n",
            "0000  00 0d |..|\n0002  03 db |ab|",
        ] {
            assert_eq!(parse(text), Ok(vec![0, 0x0d, 3, 0xdb]), "{text:?}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(" \n "), Ok(vec![]));
        assert_eq!(parse("b''"), Ok(vec![]));
    }

    #[test]
    fn what_only_looks_like_a_dump_is_read_as_digits() {
        for (text, bytes) in [
            ("0000", &[0, 0][..]),
            ("0000\n0002", &[0, 0, 0, 2]),
            ("0001: 0203", &[0, 1, 2, 3]),
            ("0000:0203", &[0, 0, 2, 3]),
            ("00000000 0102", &[0, 0, 0, 0, 1, 2]),
            ("00: 01", &[0, 1]),
            ("b1", &[0xb1]),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_bytes_is_reported() {
        for (text, message) in [
            ("0", "\"0\" has an odd number of hexadecimal digits, 1: each byte has two"),
            ("000d 03d", "\"03d\" has an odd number of hexadecimal digits, 3: each byte has two"),
            ("0x1", "\"1\" has an odd number of hexadecimal digits, 1: each byte has two"),
            ("00 zz", "'z' is not a hexadecimal digit, in \"zz\""),
            ("00 é", "'é' is not a hexadecimal digit, in \"é\""),
            ("00 \x1b[31m", "'\\x1b' is not a hexadecimal digit, in \"\\x1b[31m\""),
            ("b'\\x00", "the bytes of Python end without ': b'\\x00"),
            (r"b'\xz0'", r"\x must be followed by two hexadecimal digits"),
            (
                "00000000  00 00 |..|\n*\n00000020",
                "the dump leaves out repeated lines (*); use hexdump -vC or xxd",
            ),
            (
                "00000000: 64636261 00676665   abcdefg.\n00000008: 0a68                h.",
                "the dump has little-endian words (xxd -e); use xxd without -e",
            ),
            (
                "0000000 6261 6463\n0000004\n",
                "hexdump and od show numbers, not bytes in order; use hexdump -vC or xxd",
            ),
        ] {
            assert_eq!(parse(text), Err(message.into()), "{text:?}");
        }
    }
}
