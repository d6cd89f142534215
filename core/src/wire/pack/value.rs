use core::fmt;

use super::float::{from_half, to_half, to_single};
use super::{Field, Fields, Format, Kind};
use crate::wire::{Bytes, copy};

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Value<'b> {
    /// An integer. Wide enough for every code.
    Int(i128),
    /// A bool: `?`.
    Bool(bool),
    /// A number: `e f d`.
    Float(f64),
    /// A byte: `c`.
    Char(u8),
    /// A string: `s` and `p`.
    Bytes(&'b [u8]),
}

macro_rules! from {
    ($($variant:ident($wide:ident): $($type:ident)*;)*) => { $($(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::$variant($wide::from(value))
            }
        }
    )*)* };
}

from! {
    Int(i128): i8 u8 i16 u16 i32 u32 i64 u64;
    Bool(bool): bool;
    Float(f64): f32 f64;
}

impl<'b> From<&'b [u8]> for Value<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// Returns a number of bytes, for a message.
fn bytes(number: usize) -> Bytes {
    Bytes(u64::try_from(number).unwrap_or(u64::MAX))
}

/// Why a field cannot have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ValueFault {
    /// It is a value of another kind.
    Kind,
    /// The integer or number is out of range.
    Range,
    /// The string has this number of bytes, and the field less.
    Length(usize),
}

/// A value that its field cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct ValueError {
    /// The field.
    pub field: Field,
    /// The reason.
    pub fault: ValueFault,
}

impl ValueError {
    /// Creates the error of a field, for code that makes values of something else.
    #[must_use]
    pub const fn new(field: Field, fault: ValueFault) -> Self {
        Self { field, fault }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, fault } = self;
        let number = field.index.unwrap_or_default().saturating_add(1);
        write!(f, "field {number} ({field} at byte {} of the format): ", field.position)?;
        match (field.kind, *fault) {
            (_, ValueFault::Length(length)) => {
                let (length, space) = (bytes(length), bytes(field.capacity()));
                write!(
                    f,
                    "the string has {length}, the field has space for {space}; Python would cut it to {space} without a word"
                )
            }
            (Kind::Alignment | Kind::Padding, _) => f.write_str("padding has no value"),
            (Kind::Char, _) => f.write_str("expected one byte"),
            (Kind::Bool, _) => f.write_str("expected true or false"),
            (Kind::Signed | Kind::Unsigned, _) => {
                let (min, max) = field.range();
                write!(f, "expected an integer from {min} to {max}")
            }
            (Kind::Float, ValueFault::Range) => {
                write!(f, "the number is too large for {}", bytes(field.size))
            }
            (Kind::Float, _) => f.write_str("expected a number"),
            (Kind::Bytes | Kind::Pascal, _) => f.write_str("expected a string"),
        }
    }
}

impl core::error::Error for ValueError {}

/// Why values cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PackError {
    /// The format needs another number of values.
    Count {
        /// Number of values that the format needs.
        needed: usize,
        /// Number of values given.
        given: usize,
    },
    /// The output has less space than the format needs.
    OutputFull {
        /// Number of bytes that the format needs.
        needed: usize,
    },
    /// A field cannot have its value.
    Value(ValueError),
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { needed, given } => {
                let s = if *needed == 1 { "" } else { "s" };
                write!(f, "the format needs {needed} value{s}, got {given}")
            }
            Self::OutputFull { needed } => {
                write!(f, "the format needs space for {}", bytes(*needed))
            }
            Self::Value(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for PackError {}

/// Bytes that are not as many as the format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct WrongSize {
    /// Number of bytes that the format needs.
    pub needed: usize,
    /// Number of bytes given.
    pub given: usize,
}

impl fmt::Display for WrongSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the format needs {}, got {}", bytes(self.needed), self.given)
    }
}

impl core::error::Error for WrongSize {}

impl Field {
    /// Returns the smallest and the largest integer of the field. Meaningless for other fields.
    #[must_use]
    pub fn range(&self) -> (i64, u64) {
        let max = match self.size {
            1 => u8::MAX.into(),
            2 => u16::MAX.into(),
            4 => u32::MAX.into(),
            _ => u64::MAX,
        };
        match self.kind {
            Kind::Signed => (!(max >> 1).cast_signed(), max >> 1),
            _ => (0, max),
        }
    }

    /// Returns the number of bytes of the longest string of the field.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self.kind {
            Kind::Pascal => self.size.saturating_sub(1).min(u8::MAX.into()),
            _ => self.size,
        }
    }

    /// Returns the bytes of the field within the packed bytes of its format, or `None` if there are not enough.
    #[must_use]
    pub fn bytes<'b>(&self, packed: &'b [u8]) -> Option<&'b [u8]> {
        packed.get(self.offset..)?.get(..self.size)
    }

    /// Writes the value to the field's place in `packed`, the bytes of the whole format. Other bytes are not changed.
    ///
    /// # Errors
    ///
    /// [`PackError::Value`], or [`PackError::OutputFull`], with nothing written.
    pub fn pack(&self, value: Value<'_>, packed: &mut [u8]) -> Result<(), PackError> {
        let fault = |fault| PackError::Value(ValueError { field: *self, fault });
        let place = packed.get_mut(self.offset..).and_then(|rest| rest.get_mut(..self.size));
        let needed = self.offset.saturating_add(self.size);
        let place = place.ok_or(PackError::OutputFull { needed })?;
        let raw = match (self.kind, value) {
            (Kind::Char, Value::Char(byte)) => byte.into(),
            (Kind::Bool, Value::Bool(is_true)) => is_true.into(),
            (Kind::Signed | Kind::Unsigned, Value::Int(integer)) => {
                let (min, max) = self.range();
                if !(min.into()..=max.into()).contains(&integer) {
                    return Err(fault(ValueFault::Range));
                }
                // In two's complement the lower half is the same.
                u64::try_from(integer & i128::from(u64::MAX)).unwrap_or_default()
            }
            (Kind::Float, Value::Float(number)) => {
                let raw = match self.size {
                    2 => to_half(number).map(u64::from),
                    4 => to_single(number).map(|single| single.to_bits().into()),
                    _ => Some(number.to_bits()),
                };
                raw.ok_or(fault(ValueFault::Range))?
            }
            (Kind::Bytes | Kind::Pascal, Value::Bytes(text)) => {
                if text.len() > self.capacity() {
                    return Err(fault(ValueFault::Length(text.len())));
                }
                place.fill(0);
                let room = match (self.kind, place) {
                    (Kind::Pascal, [length, room @ ..]) => {
                        *length = u8::try_from(text.len()).unwrap_or_default();
                        room
                    }
                    (_, room) => room,
                };
                copy(text, room);
                return Ok(());
            }
            _ => return Err(fault(ValueFault::Kind)),
        };
        let bytes = raw.to_le_bytes();
        if self.is_big_endian {
            place.iter_mut().rev().zip(bytes).for_each(|(place, byte)| *place = byte);
        } else {
            place.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        }
        Ok(())
    }

    /// Returns the value of the field within `packed`, the bytes of the whole format. Returns `None` for padding, and if there
    /// are not enough bytes.
    #[must_use]
    pub fn unpack<'b>(&self, packed: &'b [u8]) -> Option<Value<'b>> {
        let bytes = self.bytes(packed)?;
        Some(match self.kind {
            Kind::Alignment | Kind::Padding => return None,
            Kind::Bytes => Value::Bytes(bytes),
            Kind::Pascal => {
                let (length, text) = bytes.split_first().unwrap_or((&0, &[]));
                Value::Bytes(text.get(..(*length).into()).unwrap_or(text))
            }
            Kind::Char => Value::Char(bytes.first().copied()?),
            Kind::Bool => Value::Bool(bytes.first().copied()? != 0),
            Kind::Signed => Value::Int(self.integer(bytes).cast_signed().into()),
            Kind::Unsigned => Value::Int(self.integer(bytes).into()),
            Kind::Float => Value::Float(match bytes.len() {
                2 => from_half(u16::try_from(self.integer(bytes)).ok()?),
                4 => f32::from_bits(u32::try_from(self.integer(bytes)).ok()?).into(),
                _ => f64::from_bits(self.integer(bytes)),
            }),
        })
    }

    /// Returns the integer in these bytes. A negative one fills all 64 bits.
    fn integer(&self, bytes: &[u8]) -> u64 {
        let first = if self.is_big_endian { bytes.first() } else { bytes.last() };
        let is_negative = self.kind == Kind::Signed && first.is_some_and(|byte| *byte >= 0x80);
        let start = if is_negative { u64::MAX } else { 0 };
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.is_big_endian {
            bytes.iter().fold(start, append)
        } else {
            bytes.iter().rev().fold(start, append)
        }
    }
}

impl<'f> Format<'f> {
    /// Packs the values to the front of `output`. Returns the number of bytes, which is [`size`](Self::size).
    ///
    /// # Errors
    ///
    /// [`PackError`]. If a field cannot have its value, those before it are written.
    pub fn pack(&self, values: &[Value<'_>], output: &mut [u8]) -> Result<usize, PackError> {
        let needed = self.values();
        if values.len() != needed {
            return Err(PackError::Count { needed, given: values.len() });
        }
        let needed = self.size();
        let packed = output.get_mut(..needed).ok_or(PackError::OutputFull { needed })?;
        packed.fill(0);
        for field in self.fields() {
            if let Some(value) = field.index.and_then(|index| values.get(index)) {
                field.pack(*value, packed)?;
            }
        }
        Ok(needed)
    }

    /// Returns the values in `bytes`, each with its field.
    ///
    /// # Errors
    ///
    /// [`WrongSize`] unless there are exactly [`size`](Self::size) bytes.
    pub fn unpack<'b>(&self, bytes: &'b [u8]) -> Result<Unpacked<'f, 'b>, WrongSize> {
        let (needed, given) = (self.size(), bytes.len());
        if needed != given {
            return Err(WrongSize { needed, given });
        }
        Ok(Unpacked { fields: self.fields(), bytes })
    }
}

/// Iterator over the values in some bytes, each with its field. See [`Format::unpack`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Unpacked<'f, 'b> {
    fields: Fields<'f>,
    bytes: &'b [u8],
}

impl<'b> Iterator for Unpacked<'_, 'b> {
    type Item = (Field, Value<'b>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.bytes;
        self.fields.find_map(|field| Some((field, field.unpack(bytes)?)))
    }
}

impl core::iter::FusedIterator for Unpacked<'_, '_> {}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    fn pack(format: &str, values: &[Value<'_>]) -> Result<Vec<u8>, PackError> {
        let mut output = [0xaa; 64];
        let n = Format::parse(format).unwrap().pack(values, &mut output)?;
        Ok(output.get(..n).unwrap().to_vec())
    }

    fn unpack<'b>(format: &str, bytes: &'b [u8]) -> Vec<Value<'b>> {
        let values = Format::parse(format).unwrap().unpack(bytes).unwrap();
        values.map(|(_, value)| value).collect()
    }

    #[track_caller]
    fn both(format: &str, values: &[Value<'_>], bytes: &[u8]) {
        assert_eq!(pack(format, values).as_deref(), Ok(bytes), "{format}");
        assert_eq!(unpack(format, bytes), values, "{format}");
    }

    fn error(format: &str, values: &[Value<'_>]) -> std::string::String {
        pack(format, values).unwrap_err().to_string()
    }

    #[test]
    fn the_example_of_the_course_is_packed() {
        let values = [
            true.into(),
            13.into(),
            987.into(),
            true.into(),
            0.3871_f32.into(),
            b"1234567890".as_slice().into(),
        ];
        both("!?hH?f10s", &values, b"\x01\x00\x0d\x03\xdb\x01\x3e\xc6\x31\xf91234567890");
    }

    #[test]
    fn an_integer_has_the_byte_order_of_the_format() {
        both("<h", &[(-2).into()], b"\xfe\xff");
        both(">h", &[(-2).into()], b"\xff\xfe");
        both("!i", &[0x0102_0304.into()], b"\x01\x02\x03\x04");
        both("=i", &[0x0102_0304.into()], b"\x04\x03\x02\x01");
        both("!bB", &[(-128).into(), 255.into()], b"\x80\xff");
        both("!Q", &[u64::MAX.into()], &[0xff; 8]);
        both("!q", &[i64::MIN.into()], b"\x80\0\0\0\0\0\0\0");
        both(
            "@nN",
            &[(-1).into(), 1.into()],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\0\0\0\0",
        );
    }

    #[test]
    fn every_kind_of_value_is_packed_and_unpacked() {
        both("<e", &[1.5.into()], b"\x00\x3e");
        both(">f", &[(-0.5).into()], b"\xbf\0\0\0");
        both("!d", &[f64::INFINITY.into()], b"\x7f\xf0\0\0\0\0\0\0");
        both("c?", &[Value::Char(b'A'), false.into()], b"A\0");
        both("5s", &[Value::Bytes(b"ab\0\0\0")], b"ab\0\0\0");
        both("5p", &[Value::Bytes(b"ab")], b"\x02ab\0\0");
        both("0s1p", &[Value::Bytes(b""), Value::Bytes(b"")], b"\0");
        both("0p", &[Value::Bytes(b"")], b"");
        both("b2xb", &[1.into(), 2.into()], b"\x01\0\0\x02");
        assert_eq!(pack("5s", &[Value::Bytes(b"ab")]).as_deref(), Ok(&b"ab\0\0\0"[..]));
        assert_eq!(unpack("?", b"\x02"), [Value::Bool(true)]);
        // The length is more than there is.
        assert_eq!(unpack("3p", b"\x09ab"), [Value::Bytes(b"ab")]);
    }

    #[test]
    fn the_length_of_a_pascal_string_has_one_byte() {
        let text = [b'x'; 256];
        let mut output = [0; 300];
        let format = Format::parse("300p").unwrap();
        let longest = text.get(..255).unwrap();
        assert_eq!(format.pack(&[Value::Bytes(longest)], &mut output), Ok(300));
        assert_eq!(output.first(), Some(&255));
        assert_eq!(format.unpack(&output).unwrap().next().unwrap().1, Value::Bytes(longest));
        assert_eq!(
            format.pack(&[Value::Bytes(&text)], &mut output).unwrap_err().to_string(),
            "field 1 (300p at byte 0 of the format): the string has 256 bytes, the field has space for 255 bytes; \
             Python would cut it to 255 bytes without a word"
        );
    }

    #[test]
    fn an_error_names_the_field_and_its_place_in_the_format() {
        for (format, value, text) in [
            (
                "!h",
                40_000.into(),
                "field 2 (h at byte 3 of the format): expected an integer from -32768 to 32767",
            ),
            (
                "!2B",
                256.into(),
                "field 3 (B at byte 3 of the format): expected an integer from 0 to 255",
            ),
            (
                "!B",
                (-1).into(),
                "field 2 (B at byte 3 of the format): expected an integer from 0 to 255",
            ),
            (
                "!q",
                Value::Int(1 << 63),
                "field 2 (q at byte 3 of the format): expected an integer from -9223372036854775808 to 9223372036854775807",
            ),
            (
                "!Q",
                Value::Int(1 << 64),
                "field 2 (Q at byte 3 of the format): expected an integer from 0 to 18446744073709551615",
            ),
            (
                "!i",
                1.0.into(),
                "field 2 (i at byte 3 of the format): expected an integer from -2147483648 to 2147483647",
            ),
            (
                "!f",
                1e39.into(),
                "field 2 (f at byte 3 of the format): the number is too large for 4 bytes",
            ),
            (
                "!e",
                65520.0.into(),
                "field 2 (e at byte 3 of the format): the number is too large for 2 bytes",
            ),
            ("!d", 1.into(), "field 2 (d at byte 3 of the format): expected a number"),
            ("!c", 1.into(), "field 2 (c at byte 3 of the format): expected one byte"),
            ("!?", 1.into(), "field 2 (? at byte 3 of the format): expected true or false"),
            ("!3s", 1.into(), "field 2 (3s at byte 3 of the format): expected a string"),
            (
                "!1s",
                Value::Bytes(b"ab"),
                "field 2 (s at byte 3 of the format): the string has 2 bytes, the field has space for 1 byte; Python would \
                 cut it to 1 byte without a word",
            ),
        ] {
            let format = format.replace('!', "!x?");
            let mut values = std::vec![true.into()];
            values.resize(Format::parse(&format).unwrap().values() - 1, 0.into());
            values.push(value);
            assert_eq!(error(&format, &values), text);
        }
        let padding = Format::parse("x").unwrap().fields().next().unwrap();
        let e = padding.pack(0.into(), &mut [0]).unwrap_err();
        assert!(e.to_string().ends_with("padding has no value"), "{e}");
    }

    #[test]
    fn the_number_of_values_and_of_bytes_must_be_that_of_the_format() {
        assert_eq!(error("!2hx", &[1.into()]), "the format needs 2 values, got 1");
        assert_eq!(error("s", &[]), "the format needs 1 value, got 0");
        assert_eq!(error("", &[1.into()]), "the format needs 0 values, got 1");
        // Without a step for each of its values.
        assert_eq!(error("999999999999h", &[]), "the format needs 999999999999 values, got 0");
        assert_eq!(
            error("999999999999s", &[Value::Bytes(b"")]),
            "the format needs space for 999999999999 bytes"
        );
        let short = Format::parse("!hH").unwrap().unpack(b"\0\0\0").unwrap_err();
        assert_eq!(short.to_string(), "the format needs 4 bytes, got 3");
        let field = Format::parse("hh").unwrap().fields().nth(1).unwrap();
        assert_eq!(field.pack(0.into(), &mut [0; 3]), Err(PackError::OutputFull { needed: 4 }));
        assert_eq!((field.unpack(&[0; 3]), field.bytes(&[0; 1])), (None, None));
    }
}
