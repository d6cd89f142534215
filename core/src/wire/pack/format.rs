use core::fmt;

use crate::count;

/// Largest number of bytes of a slice, which limits a count and a size.
const MAX: usize = isize::MAX.unsigned_abs();

/// Byte order, sizes and alignment of a format: its first character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Order {
    /// `@`: little-endian, with the sizes and the alignment of C on x86-64.
    #[default]
    Native,
    /// `=`: little-endian, with standard sizes and without alignment.
    Standard,
    /// `<`: the same.
    Little,
    /// `>`: big-endian, with standard sizes and without alignment.
    Big,
    /// `!`: the same.
    Network,
}

impl Order {
    const fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'@' => Self::Native,
            b'=' => Self::Standard,
            b'<' => Self::Little,
            b'>' => Self::Big,
            b'!' => Self::Network,
            _ => return None,
        })
    }

    /// Returns whether the most significant byte comes first.
    #[must_use]
    pub const fn is_big_endian(self) -> bool {
        matches!(self, Self::Big | Self::Network)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "little-endian, aligned (native)",
            Self::Standard => "little-endian (native)",
            Self::Little => "little-endian",
            Self::Big => "big-endian",
            Self::Network => "big-endian (network)",
        })
    }
}

/// What a field contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Kind {
    /// Padding in front of a field that is aligned.
    Alignment,
    /// Padding: `x`.
    Padding,
    /// A byte: `c`.
    Char,
    /// A bool: `?`.
    Bool,
    /// An integer in two's complement: `b h i l q n`.
    Signed,
    /// An integer without sign: `B H I L Q N`.
    Unsigned,
    /// A number of IEEE 754 with 2, 4 or 8 bytes: `e f d`.
    Float,
    /// A string: `s`.
    Bytes,
    /// A string after its length in one byte: `p`.
    Pascal,
}

impl Kind {
    /// Returns whether fields of this kind have no value.
    #[must_use]
    pub const fn is_padding(self) -> bool {
        matches!(self, Self::Alignment | Self::Padding)
    }

    /// Returns whether a count is the size of the one field.
    const fn has_counted_size(self) -> bool {
        matches!(self, Self::Padding | Self::Bytes | Self::Pascal)
    }

    /// Returns whether fields of this kind are aligned to their size.
    const fn is_aligned(self) -> bool {
        matches!(self, Self::Signed | Self::Unsigned | Self::Float)
    }
}

/// One field of a format, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Field {
    /// Position of its value among the values, where the first value has position 0. `None` for padding.
    pub index: Option<usize>,
    /// What it contains.
    pub kind: Kind,
    /// Its letter in the format. Of [`Kind::Alignment`], that of the field behind it.
    pub code: char,
    /// Position in the format, in bytes: that of the count, or of the letter if it has no count.
    pub position: usize,
    /// Position of its first byte among the packed bytes.
    pub offset: usize,
    /// Number of its bytes.
    pub size: usize,
    /// Whether the most significant byte comes first.
    pub is_big_endian: bool,
}

impl fmt::Display for Field {
    /// Shows the code, with the size of a string or of padding: `h`, `10s`. Alignment is the `x` that would have its place
    /// in a format without it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_aligning = self.kind == Kind::Alignment;
        if self.size != 1 && (is_aligning || self.kind.has_counted_size()) {
            write!(f, "{}", self.size)?;
        }
        write!(f, "{}", if is_aligning { 'x' } else { self.code })
    }
}

/// Why a format cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FormatFault {
    /// This is not a code.
    UnknownCode(char),
    /// This is a byte order, which must be the first character.
    MisplacedOrder(char),
    /// `n` or `N` with another order than `@`.
    NativeOnly(char),
    /// A count is followed by this and not by a code, or by the end of the format.
    NoCode(Option<char>),
    /// The count, or the size up to here, is more than any slice has.
    TooLarge,
}

/// A format that cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct FormatError {
    /// Number of values that precede the fault: the position of its field.
    pub index: usize,
    /// Position of the fault in the format, in bytes.
    pub position: usize,
    /// The reason.
    pub fault: FormatFault,
}

/// A character of a format in a message.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            c @ '!'..='~' => write!(f, "'{c}'"),
            ' ' => f.write_str("a space"),
            c => write!(f, "U+{:04X}", u32::from(c)),
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, position, fault } = *self;
        write!(f, "byte {position} of the format, field {}: ", index.saturating_add(1))?;
        match fault {
            FormatFault::UnknownCode(c) => {
                write!(f, "unknown code {}, expected one of xcbB?hHiIlLqQnNefdsp", Shown(c))
            }
            FormatFault::MisplacedOrder(c) => {
                write!(f, "the byte order {} must be the first character", Shown(c))
            }
            FormatFault::NativeOnly(c) => write!(
                f,
                "{} exists only in the native order '@'; '{}' is the same with 8 bytes",
                Shown(c),
                if c == 'n' { 'q' } else { 'Q' }
            ),
            FormatFault::NoCode(None) => f.write_str("the count has no code behind it"),
            FormatFault::NoCode(Some(c)) => {
                write!(f, "the count is followed by {}, expected a code", Shown(c))
            }
            FormatFault::TooLarge => write!(f, "the size is more than {MAX} bytes"),
        }
    }
}

impl core::error::Error for FormatError {}

/// A code with its count.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Item {
    position: usize,
    count: usize,
    code: char,
    kind: Kind,
    /// Number of bytes of one element.
    size: usize,
    /// What the offset is a multiple of. A power of two.
    alignment: usize,
}

impl Item {
    /// Returns the number of its values.
    const fn values(&self) -> usize {
        match self.kind {
            Kind::Padding => 0,
            kind if kind.has_counted_size() => 1,
            _ => self.count,
        }
    }

    /// Returns the padding in front of it, behind `size` bytes.
    const fn padding(&self, size: usize) -> usize {
        size.wrapping_neg() & self.alignment.wrapping_sub(1)
    }
}

/// The codes of a format, with their counts.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Items<'f> {
    text: &'f str,
    order: Order,
    /// Position of what is next.
    at: usize,
}

impl Items<'_> {
    /// Returns the character at this position.
    fn char(&self, at: usize) -> Option<char> {
        self.text.get(at..)?.chars().next()
    }

    /// Returns the next item, or the fault with its position.
    fn next(&mut self) -> Result<Option<Item>, (usize, FormatFault)> {
        let mut rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        // White space is what Python takes for it: that of C.
        while let [b' ' | b'\t'..=b'\r', tail @ ..] = rest {
            rest = tail;
        }
        let position = count::sub(self.text.len(), rest.len());
        let mut number = None;
        while let [byte, tail @ ..] = rest
            && let Some(digit) = count::digit(*byte)
        {
            let appended = number.unwrap_or(0_usize).checked_mul(10);
            number = appended.and_then(|n| n.checked_add(digit.into())).filter(|n| *n <= MAX);
            if number.is_none() {
                return Err((position, FormatFault::TooLarge));
            }
            rest = tail;
        }
        let at = count::sub(self.text.len(), rest.len());
        let (code, shown) = match (rest, self.char(at)) {
            ([code, ..], Some(shown)) => (*code, shown),
            _ if number.is_some() => return Err((position, FormatFault::NoCode(None))),
            _ => return Ok(None),
        };
        let is_native = self.order == Order::Native;
        let (kind, size) = match code {
            b'x' => (Kind::Padding, 1),
            b'c' => (Kind::Char, 1),
            b'?' => (Kind::Bool, 1),
            b'b' => (Kind::Signed, 1),
            b'B' => (Kind::Unsigned, 1),
            b'h' => (Kind::Signed, 2),
            b'H' => (Kind::Unsigned, 2),
            b'i' => (Kind::Signed, 4),
            b'I' => (Kind::Unsigned, 4),
            b'l' => (Kind::Signed, if is_native { 8 } else { 4 }),
            b'L' => (Kind::Unsigned, if is_native { 8 } else { 4 }),
            b'q' => (Kind::Signed, 8),
            b'Q' => (Kind::Unsigned, 8),
            b'n' | b'N' if !is_native => return Err((at, FormatFault::NativeOnly(shown))),
            b'n' => (Kind::Signed, 8),
            b'N' => (Kind::Unsigned, 8),
            b'e' => (Kind::Float, 2),
            b'f' => (Kind::Float, 4),
            b'd' => (Kind::Float, 8),
            b's' => (Kind::Bytes, 1),
            b'p' => (Kind::Pascal, 1),
            _ if Order::of(code).is_some() => return Err((at, FormatFault::MisplacedOrder(shown))),
            b' ' | b'\t'..=b'\r' => return Err((at, FormatFault::NoCode(Some(shown)))),
            _ => return Err((at, FormatFault::UnknownCode(shown))),
        };
        let alignment = if is_native && kind.is_aligned() { size } else { 1 };
        self.at = count::add(at, 1);
        let count = number.unwrap_or(1);
        Ok(Some(Item { position, count, code: shown, kind, size, alignment }))
    }
}

/// A parsed format: an iterator over its [fields](Field), and their total size.
///
/// A format takes as long to parse as it has bytes, whatever its counts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Format<'f> {
    text: &'f str,
    order: Order,
    size: usize,
    values: usize,
}

impl<'f> Format<'f> {
    /// Parses a format.
    ///
    /// # Errors
    ///
    /// [`FormatError`], where Python has one, and for `P`.
    pub fn parse(text: &'f str) -> Result<Self, FormatError> {
        let order = text.as_bytes().first().and_then(|letter| Order::of(*letter));
        let mut format = Self { text, order: order.unwrap_or_default(), size: 0, values: 0 };
        let mut items = format.items();
        loop {
            let error = |(position, fault)| FormatError { index: format.values, position, fault };
            let Some(item) = items.next().map_err(error)? else { return Ok(format) };
            let grown = item.count.checked_mul(item.size).and_then(|bytes| {
                format.size.checked_add(item.padding(format.size))?.checked_add(bytes)
            });
            let Some(size) = grown.filter(|size| *size <= MAX) else {
                return Err(error((item.position, FormatFault::TooLarge)));
            };
            // Each value has a byte, except an empty string, which has two bytes in the format.
            format.values = format.values.saturating_add(item.values());
            format.size = size;
        }
    }

    fn items(&self) -> Items<'f> {
        let has_order = self.text.as_bytes().first().is_some_and(|c| Order::of(*c).is_some());
        Items { text: self.text, order: self.order, at: has_order.into() }
    }

    /// Returns the byte order.
    #[must_use]
    pub const fn order(&self) -> Order {
        self.order
    }

    /// Returns the number of packed bytes, padding included.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of values.
    #[must_use]
    pub const fn values(&self) -> usize {
        self.values
    }

    /// Returns the fields in order, padding included.
    #[must_use]
    pub fn fields(&self) -> Fields<'f> {
        Fields { items: self.items(), item: None, left: 0, offset: 0, index: 0 }
    }
}

impl<'f> IntoIterator for Format<'f> {
    type Item = Field;
    type IntoIter = Fields<'f>;

    fn into_iter(self) -> Fields<'f> {
        self.fields()
    }
}

/// Iterator over the fields of a format. See [`Format::fields`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fields<'f> {
    items: Items<'f>,
    /// The item whose fields come next.
    item: Option<Item>,
    /// Number of its fields that are left.
    left: usize,
    offset: usize,
    index: usize,
}

impl Fields<'_> {
    /// Returns the field of `size` bytes at the current offset, and moves behind it.
    fn field(&mut self, item: &Item, kind: Kind, size: usize) -> Field {
        let index = (!kind.is_padding()).then_some(self.index);
        let field = Field {
            index,
            kind,
            code: item.code,
            position: item.position,
            offset: self.offset,
            size,
            is_big_endian: self.items.order.is_big_endian(),
        };
        self.index = count::add(self.index, index.is_some().into());
        // Exact: the size of the whole format is not more than `MAX`.
        self.offset = count::add(self.offset, size);
        field
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        loop {
            if let Some(item) = self.item
                && self.left > 0
            {
                self.left = count::sub(self.left, 1);
                let size = if item.kind.has_counted_size() { item.count } else { item.size };
                return Some(self.field(&item, item.kind, size));
            }
            // Not an error: the format has been parsed before.
            let item = self.items.next().ok()??;
            self.item = Some(item);
            self.left = match item.kind {
                Kind::Padding => usize::from(item.count > 0),
                _ => item.values(),
            };
            let padding = item.padding(self.offset);
            if padding > 0 {
                return Some(self.field(&item, Kind::Alignment, padding));
            }
        }
    }
}

impl core::iter::FusedIterator for Fields<'_> {}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn size(format: &str) -> usize {
        Format::parse(format).unwrap().size()
    }

    /// Returns the fields as `offset:code/size`.
    fn fields(format: &str) -> Vec<String> {
        let fields = Format::parse(format).unwrap().fields();
        fields.map(|field| format!("{}:{field}/{}", field.offset, field.size)).collect()
    }

    #[test]
    fn sizes_are_standard_or_those_of_the_machine() {
        for (codes, standard, native) in [
            ("xcbB?", 5, 5),
            ("hH", 4, 4),
            ("iI", 8, 8),
            ("lL", 8, 16),
            ("qQ", 16, 16),
            ("efd", 14, 16),
            ("10s3p", 13, 13),
            ("", 0, 0),
            ("0s", 0, 0),
        ] {
            for order in ["=", "<", ">", "!"] {
                assert_eq!(size(&format!("{order}{codes}")), standard, "{order}{codes}");
            }
            assert_eq!(size(codes), native, "{codes}");
            assert_eq!(size(&format!("@{codes}")), native, "{codes}");
        }
        assert_eq!(size("nN"), 16);
    }

    #[test]
    fn native_fields_are_aligned_to_their_size() {
        assert_eq!(
            fields("bhbixd"),
            ["0:b/1", "1:x/1", "2:h/2", "4:b/1", "5:3x/3", "8:i/4", "12:x/1", "13:3x/3", "16:d/8"]
        );
        assert_eq!(fields("!bhbixd"), ["0:b/1", "1:h/2", "3:b/1", "4:i/4", "8:x/1", "9:d/8"]);
        // A count of 0 aligns too, and a string does not.
        assert_eq!(fields("b0l"), ["0:b/1", "1:7x/7"]);
        assert_eq!(fields("0lb0i3s"), ["0:b/1", "1:3x/3", "4:3s/3"]);
        assert_eq!(size("llh0l"), 24);
    }

    #[test]
    fn a_count_repeats_a_code_or_is_the_size_of_a_string() {
        assert_eq!(fields("<2h3s0s0x0i2x"), ["0:h/2", "2:h/2", "4:3s/3", "7:0s/0", "7:2x/2"]);
        let format = Format::parse("<2h3s0s0x0i2x").unwrap();
        assert_eq!((format.values(), format.order()), (4, Order::Little));
        let indices: Vec<_> =
            format.into_iter().map(|field| (field.index, field.position)).collect();
        assert_eq!(indices, [(Some(0), 1), (Some(1), 1), (Some(2), 3), (Some(3), 5), (None, 11)]);
        assert_eq!(size("007h"), 14);
        assert_eq!(fields(" 2b \t\n\x0b\x0c\r h "), ["0:b/1", "1:b/1", "2:h/2"]);
    }

    #[test]
    fn a_huge_count_takes_no_time() {
        assert_eq!(size("999999999999s"), 999_999_999_999);
        assert_eq!(size("999999999999x9h"), 1_000_000_000_018);
        assert_eq!(Format::parse("9999999999x").unwrap().fields().count(), 1);
        let format = Format::parse("!999999999999h").unwrap();
        assert_eq!((format.size(), format.values()), (1_999_999_999_998, 999_999_999_999));
        assert_eq!(format.fields().next().unwrap().size, 2);
        assert_eq!(size("9223372036854775807x"), 9_223_372_036_854_775_807);
    }

    #[test]
    fn an_error_names_the_field_and_the_position() {
        for (format, text) in [
            (
                "!hk",
                "byte 2 of the format, field 2: unknown code 'k', expected one of xcbB?hHiIlLqQnNefdsp",
            ),
            (
                "3hP",
                "byte 2 of the format, field 4: unknown code 'P', expected one of xcbB?hHiIlLqQnNefdsp",
            ),
            (
                "h\u{e9}",
                "byte 1 of the format, field 2: unknown code U+00E9, expected one of xcbB?hHiIlLqQnNefdsp",
            ),
            (
                "h\0",
                "byte 1 of the format, field 2: unknown code U+0000, expected one of xcbB?hHiIlLqQnNefdsp",
            ),
            (
                "-3h",
                "byte 0 of the format, field 1: unknown code '-', expected one of xcbB?hHiIlLqQnNefdsp",
            ),
            ("h!", "byte 1 of the format, field 2: the byte order '!' must be the first character"),
            (
                " <h",
                "byte 1 of the format, field 1: the byte order '<' must be the first character",
            ),
            (
                "!n",
                "byte 1 of the format, field 1: 'n' exists only in the native order '@'; 'q' is the same with 8 bytes",
            ),
            (
                "=2N",
                "byte 2 of the format, field 1: 'N' exists only in the native order '@'; 'Q' is the same with 8 bytes",
            ),
            ("h 12", "byte 2 of the format, field 2: the count has no code behind it"),
            (
                "3 h",
                "byte 1 of the format, field 1: the count is followed by a space, expected a code",
            ),
            (
                "3\th",
                "byte 1 of the format, field 1: the count is followed by U+0009, expected a code",
            ),
            (
                "9223372036854775808x",
                "byte 0 of the format, field 1: the size is more than 9223372036854775807 bytes",
            ),
            (
                "99999999999999999999999999s",
                "byte 0 of the format, field 1: the size is more than 9223372036854775807 bytes",
            ),
            (
                "hh9223372036854775807h",
                "byte 2 of the format, field 3: the size is more than 9223372036854775807 bytes",
            ),
            (
                "9223372036854775807x h",
                "byte 21 of the format, field 1: the size is more than 9223372036854775807 bytes",
            ),
            (
                "9223372036854775806x 0q",
                "byte 21 of the format, field 1: the size is more than 9223372036854775807 bytes",
            ),
        ] {
            assert_eq!(Format::parse(format).unwrap_err().to_string(), text, "{format:?}");
        }
    }
}
