//! Values as words of a command line.

use socklab_core::wire::pack::{Field, Kind, Value, ValueError, ValueFault};

use crate::text::one_line;

/// A parsed word.
pub(super) enum Word {
    /// A value without bytes of its own.
    Plain(Value<'static>),
    /// A string.
    Text(Vec<u8>),
}

impl Word {
    /// Parses the value of a field.
    ///
    /// # Errors
    ///
    /// The message. Whether the value fits the field is not examined, except for a single byte.
    pub(super) fn parse(field: &Field, word: &str) -> Result<Self, String> {
        let wrong = || error(&ValueError::new(*field, ValueFault::Kind), word);
        Ok(Self::Plain(match field.kind {
            Kind::Signed | Kind::Unsigned => {
                Value::Int(integer(word).map_err(|hint| wrong() + &hint)?)
            }
            Kind::Float => match number(word).ok_or_else(wrong)? {
                // Not infinity as it was typed, but a number that is too large for any field.
                number if number.is_infinite() && word.contains(|c: char| c.is_ascii_digit()) => {
                    return Err(error(&ValueError::new(*field, ValueFault::Range), word));
                }
                number => Value::Float(number),
            },
            Kind::Bool => match word.to_ascii_lowercase().as_str() {
                "true" | "1" => Value::Bool(true),
                "false" | "0" => Value::Bool(false),
                _ => return Err(wrong()),
            },
            kind => {
                let text = unescape(word).map_err(|reason| format!("{}: {reason}", wrong()))?;
                match (kind, text.as_slice()) {
                    (Kind::Char, [byte]) => Value::Char(*byte),
                    (Kind::Char, bytes) => {
                        return Err(format!("{}, which has {} bytes", wrong(), bytes.len()));
                    }
                    _ => return Ok(Self::Text(text)),
                }
            }
        }))
    }

    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Text(text) => Value::Bytes(text),
        }
    }
}

/// Returns the message of an error, with the word that was typed.
pub(super) fn error(error: &ValueError, word: &str) -> String {
    match error.fault {
        // The word may be long, and the message has its length.
        ValueFault::Length(_) => error.to_string(),
        _ => format!("{error}, got \"{}\"", shortened(word)),
    }
}

/// Returns text for a message: one line, and not long.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => one_line(&text[..at]) + "...",
        None => one_line(text),
    }
}

/// Parses an integer literal of Python: decimal, or with 0x, 0o or 0b, and with an underscore between digits. One that does
/// not fit becomes the nearest value, which no field can have.
///
/// # Errors
///
/// A hint, which may be empty, to append to the message.
fn integer(word: &str) -> Result<i128, String> {
    let word = word.trim();
    let (digits, is_negative) = match word.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (word.strip_prefix('+').unwrap_or(word), false),
    };
    let (digits, base, mut may_separate) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16, true),
        Some("0o" | "0O") => (&digits[2..], 8, true),
        Some("0b" | "0B") => (&digits[2..], 2, true),
        _ => (digits, 10, false),
    };
    let mut value = 0_i128;
    for c in digits.chars() {
        if c == '_' && may_separate {
            may_separate = false;
            continue;
        }
        let Some(digit) = c.to_digit(base) else { return Err(String::new()) };
        let digit = if is_negative { -i128::from(digit) } else { digit.into() };
        value = value.saturating_mul(base.into()).saturating_add(digit);
        may_separate = true;
    }
    if digits.is_empty() || digits.ends_with('_') {
        return Err(String::new());
    }
    if base == 10 && value != 0 && digits.starts_with('0') {
        let digits = digits.trim_start_matches(['0', '_']);
        return Err(format!(": write {digits} for decimal, or 0o{digits} for octal"));
    }
    Ok(value)
}

/// Parses a number as Python's `float` does, or an integer literal.
fn number(word: &str) -> Option<f64> {
    if let Ok(integer) = integer(word) {
        // Rounds to the nearest one, as Python does. `as` never panics.
        return Some(integer as f64);
    }
    let word = word.trim();
    let mut plain = String::new();
    let mut previous = None;
    let mut rest = word.chars().peekable();
    while let Some(c) = rest.next() {
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        match c {
            '_' if is_digit(previous) && is_digit(rest.peek().copied()) => {}
            c => plain.push(c),
        }
        previous = Some(c);
    }
    plain.parse().ok()
}

/// Returns the bytes of a text with the escapes of Python's bytes, and `\u{...}` for a character.
///
/// # Errors
///
/// The reason.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let mut chars = escape.chars();
        let Some(c) = chars.next() else {
            return Err(r"a backslash at the end; write \\ for a backslash".into());
        };
        rest = chars.as_str();
        let simple = match c {
            '\\' | '\'' | '"' => c as u8,
            'a' => 0x07,
            'b' => 0x08,
            't' => b'\t',
            'n' => b'\n',
            'v' => 0x0b,
            'f' => 0x0c,
            'r' => b'\r',
            'x' => {
                let digits = rest.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    return Err(r"\x must be followed by two hexadecimal digits".into());
                };
                rest = &rest[2..];
                byte
            }
            'u' => {
                let digits = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let parsed = digits.and_then(|(digits, behind)| {
                    let number = u32::from_str_radix(digits, 16).ok()?;
                    Some((char::from_u32(number)?, behind))
                });
                let Some((c, behind)) = parsed else {
                    return Err(r"\u must be followed by a character, such as {e9}".into());
                };
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
                continue;
            }
            '0'..='7' => {
                let count =
                    escape.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let Ok(byte) = u8::from_str_radix(&escape[..count], 8) else {
                    return Err(r"an octal escape must be at most \377".into());
                };
                rest = &escape[count..];
                byte
            }
            c => {
                return Err(format!(
                    r"'\{}' is not an escape; write \\ for a backslash",
                    shortened(c.encode_utf8(&mut [0; 4]))
                ));
            }
        };
        bytes.push(simple);
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_a_literal_of_python() {
        for (word, value) in [
            ("13", 13),
            ("-13", -13),
            ("+13", 13),
            (" 13 ", 13),
            ("0", 0),
            ("-0", 0),
            ("00", 0),
            ("0x0d", 13),
            ("0X_0D", 13),
            ("-0xff", -255),
            ("0o15", 13),
            ("0b1101", 13),
            ("1_000_000", 1_000_000),
            ("18446744073709551616", 1 << 64),
            ("999999999999999999999999999999999999999999", i128::MAX),
            ("-999999999999999999999999999999999999999999", i128::MIN),
        ] {
            assert_eq!(integer(word), Ok(value), "{word}");
        }
        for word in [
            "", "-", "+", "--1", "1.0", "1e3", "abc", "0x", "0x_", "1_", "_1", "1__0", "0b2",
            "0xg", "1 2", "é0", "0é", "12é", "true",
        ] {
            assert_eq!(integer(word), Err(String::new()), "{word}");
        }
        let hint = integer("-007").unwrap_err();
        assert_eq!(hint, ": write 7 for decimal, or 0o7 for octal");
    }

    #[test]
    fn a_number_is_what_python_accepts() {
        for (word, value) in [
            ("0.3871", 0.3871),
            ("-1e-3", -0.001),
            ("1_0.2_5", 10.25),
            (".5", 0.5),
            ("5.", 5.0),
            ("13", 13.0),
            ("0x10", 16.0),
            ("007.5", 7.5),
            ("007", 7.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(number(word), Some(value), "{word}");
        }
        assert!(number("NaN").is_some_and(f64::is_nan));
        for word in ["", "abc", "1_", "_1.0", "1__0.5", "1._5", "1,5", "0x1.8p3"] {
            assert_eq!(number(word), None, "{word}");
        }
    }

    #[test]
    fn escapes_are_those_of_python() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("plain", b"plain"),
            ("né", b"n\xc3\xa9"),
            (r"a\n\r\t\\\'\q".trim_end_matches(r"\q"), b"a\n\r\t\\'"),
            (r"\x00\xff\x41", b"\0\xffA"),
            (r"\0\12\3770", b"\0\n\xff0"),
            (r"\0001", b"\x001"),
            (r"\u{e9}\u{1f980}!", "é🦀!".as_bytes()),
            (r"\a\b\v\f", b"\x07\x08\x0b\x0c"),
        ] {
            assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
        }
        for (text, reason) in [
            ("a\\", r"a backslash at the end; write \\ for a backslash"),
            (r"C:\code", r"'\c' is not an escape; write \\ for a backslash"),
            ("\\\u{1b}", r"'\\x1b' is not an escape; write \\ for a backslash"),
            (r"\x4", r"\x must be followed by two hexadecimal digits"),
            (r"\x+4", r"\x must be followed by two hexadecimal digits"),
            (r"\xéé", r"\x must be followed by two hexadecimal digits"),
            (r"\u00e9", r"\u must be followed by a character, such as {e9}"),
            (r"\u{d800}", r"\u must be followed by a character, such as {e9}"),
            (r"\400", r"an octal escape must be at most \377"),
        ] {
            assert_eq!(unescape(text), Err(reason.into()), "{text}");
        }
    }
}
