use core::fmt;

use super::{Byte, Bytes, put_ended, trim_end, trim_start};
use crate::count;

/// Byte of a line that was not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Unexpected {
    /// Position of the byte, where the first byte has position 0.
    pub at: u16,
    /// The byte, or `None` if the line ends there.
    pub byte: Option<u8>,
}

impl Unexpected {
    /// Returns the byte at this position of `text`, or its end.
    #[must_use]
    #[inline(never)]
    pub fn at(text: &[u8], index: usize) -> Self {
        Self { at: u16::try_from(index).unwrap_or(u16::MAX), byte: text.get(index).copied() }
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.byte {
            Some(byte) => write!(f, "byte {} of a line is {}", self.at, Byte(byte)),
            None if self.at == 0 => f.write_str("a line is empty"),
            None => write!(f, "a line ends after {}", Bytes(self.at.into())),
        }
    }
}

/// Why a line is not an integer of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecimalError {
    /// It is not an integer: the first byte that does not fit.
    Unexpected(Unexpected),
    /// It is an integer that does not fit in an [`i32`].
    TooLarge,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected(at) => write!(f, "{at}, expected a decimal integer"),
            Self::TooLarge => f.write_str("the integer does not fit in 32 bits"),
        }
    }
}

impl core::error::Error for DecimalError {}

/// Returns the integer in a line: ASCII decimal. A sign and white space around it are allowed.
///
/// # Errors
///
/// [`DecimalError`] if the line is not an integer, or one that does not fit in an [`i32`].
pub fn decimal(text: &[u8]) -> Result<i32, DecimalError> {
    let text = trim_end(text);
    let (digits, negative) = match trim_start(text) {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] | digits => (digits, false),
    };
    /// With one digit more this fits in a [`u32`], and anything larger does not fit in an [`i32`].
    const ENOUGH: u32 = 429_496_728;
    let (mut rest, mut value) = (digits, 0_u32);
    while let [byte, tail @ ..] = rest
        && let Some(digit) = count::digit(*byte)
    {
        value = count::append_digit(value.min(ENOUGH), digit);
        rest = tail;
    }
    if digits.is_empty() || !rest.is_empty() {
        let at = Unexpected::at(text, count::sub(text.len(), rest.len()));
        return Err(DecimalError::Unexpected(at));
    }
    // The smallest integer is one further from zero than the largest.
    if value > count::add(i32::MAX.unsigned_abs(), negative.into()) {
        return Err(DecimalError::TooLarge);
    }
    // Wraps for the smallest integer only, which is its own negative.
    let value = value.cast_signed();
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Maximum number of bytes of an integer, with its sign and the end of the line.
pub const DECIMAL_BYTES: usize = 12;

/// Writes `value` as a line to the front of `output`. Returns the number of bytes written, or `None` if the space is
/// too small.
pub fn put_decimal(value: i32, output: &mut [u8]) -> Option<usize> {
    // From the last digit to the first, without the newline.
    let mut text = [0; DECIMAL_BYTES - 1];
    let mut at = text.len();
    let mut prepend = |byte| {
        at = count::sub(at, 1);
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
    };
    let mut left = value.unsigned_abs();
    loop {
        let digit;
        (left, digit) = count::split_digit(left);
        prepend(count::ascii(digit));
        if left == 0 {
            break;
        }
    }
    if value < 0 {
        prepend(b'-');
    }
    put_ended(text.get(at..)?, b'\n', output)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn reads_what_people_and_programs_write() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("100", 100),
            ("-5", -5),
            ("+5", 5),
            (" 42 ", 42),
            ("\t42\r", 42),
            ("0000000000000042", 42),
            ("2147483647", i32::MAX),
            ("-2147483648", i32::MIN),
        ] {
            assert_eq!(decimal(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn an_integer_out_of_range_is_an_error_of_its_own() {
        for text in [
            "2147483648",
            "-2147483649",
            "4294967295",
            "4294967296",
            "-4294967296",
            "42949672950",
            "99999999999999999999999999",
            "-99999999999999999999999999",
        ] {
            assert_eq!(decimal(text.as_bytes()), Err(DecimalError::TooLarge), "{text}");
        }
        assert_eq!(DecimalError::TooLarge.to_string(), "the integer does not fit in 32 bits");
    }

    #[test]
    fn an_error_contains_the_first_byte_that_does_not_fit() {
        for (text, at, byte) in [
            ("", 0, None),
            ("   ", 0, None),
            ("-", 1, None),
            ("x", 0, Some(b'x')),
            ("  12x4 ", 4, Some(b'x')),
            ("1 2", 1, Some(b' ')),
            ("--1", 1, Some(b'-')),
            ("1.5", 1, Some(b'.')),
            ("1_000", 1, Some(b'_')),
        ] {
            let error = DecimalError::Unexpected(Unexpected { at, byte });
            assert_eq!(decimal(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(
            Unexpected { at: 4, byte: Some(b'x') }.to_string(),
            "byte 4 of a line is 0x78 ('x')"
        );
        assert_eq!(Unexpected { at: 0, byte: None }.to_string(), "a line is empty");
        assert_eq!(Unexpected { at: 1, byte: None }.to_string(), "a line ends after 1 byte");
    }

    #[test]
    fn writes_what_std_writes() {
        for value in [0, 1, 9, 10, 42, 100, -1, -10, 1_000_000_000, i32::MAX, i32::MIN] {
            let mut room = [0; DECIMAL_BYTES];
            let n = put_decimal(value, &mut room).unwrap();
            let want = format!("{value}\n");
            assert_eq!(room.get(..n), Some(want.as_bytes()));
            assert_eq!(put_decimal(value, room.get_mut(..n - 1).unwrap()), None);
            assert_eq!(decimal(want.as_bytes()), Ok(value));
        }
    }
}
