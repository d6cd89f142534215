//! Fields as a table, and as an event.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value as Json, json};
use socklab_core::wire::pack::{Field, Format, Kind, Value};

use crate::text::one_line;
use crate::ui::streams;

/// Number of bytes of a field in its row. All bytes are in the last line.
const BYTES: usize = 16;
/// Number of characters of a string in its row.
const CHARS: usize = 64;
const PADDING: Style = Style::new().dimmed();
/// Styles of fields in turn: those of neighbours differ.
const STYLES: [Style; 5] = [
    AnsiColor::Cyan.on_default(),
    AnsiColor::Green.on_default(),
    AnsiColor::Yellow.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Blue.on_default(),
];

/// A format, and the bytes of its fields.
pub(super) struct Table<'a> {
    event: &'static str,
    text: &'a str,
    format: &'a Format<'a>,
    bytes: &'a [u8],
}

/// Texts of a row.
struct Row {
    style: Style,
    cells: [String; 5],
}

impl<'a> Table<'a> {
    /// `event` is the name of the event. There are as many bytes as the format needs.
    pub(super) const fn new(
        event: &'static str,
        text: &'a str,
        format: &'a Format<'a>,
        bytes: &'a [u8],
    ) -> Self {
        Self { event, text, format, bytes }
    }

    /// Writes the table to stdout: a title, a row for each field, and all bytes. Colours tie a field to its bytes.
    pub(super) fn write(&self) -> io::Result<()> {
        let has_colours = !matches!(AutoStream::choice(&io::stdout()), ColorChoice::Never);
        let mut out = BufWriter::new(streams::stdout());
        self.write_to(&mut out, has_colours)?;
        out.flush()
    }

    fn write_to(&self, out: &mut dyn Write, has_colours: bool) -> io::Result<()> {
        let count = self.bytes.len();
        let s = if count == 1 { "" } else { "s" };
        writeln!(out, "{count} byte{s}, {}", self.format.order())?;
        let head = ["offset", "size", "code", "hex", "value"];
        let mut widths = head.map(str::len);
        for row in self.rows() {
            // The last column needs no width.
            for (width, cell) in widths.iter_mut().zip(&row.cells).take(4) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let write = |out: &mut dyn Write, cells: [&str; 5], style: Style| {
            let [a, b, c, d, _] = widths;
            let [offset, size, code, hex, value] = cells;
            let line = format!("{offset:>a$}  {size:>b$}  {code:<c$}  {hex:<d$}  {value}");
            let (on, off) = if has_colours {
                (style.render().to_string(), style.render_reset().to_string())
            } else {
                (String::new(), String::new())
            };
            writeln!(out, "{on}{}{off}", line.trim_end())
        };
        write(out, head, Style::new())?;
        for row in self.rows() {
            write(out, row.cells.each_ref().map(String::as_str), row.style)?;
        }
        // The bytes of a field without spaces, so that fields can be told apart without colours.
        let mut separator = "";
        for field in self.format.fields().filter(|field| field.size > 0) {
            let bytes = field.bytes(self.bytes).unwrap_or_default();
            let style = style(&field);
            let hex = hex(bytes, "");
            if has_colours {
                write!(out, "{separator}{style}{hex}{style:#}")?;
            } else {
                write!(out, "{separator}{hex}")?;
            }
            separator = " ";
        }
        writeln!(out)
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.format.fields().map(|field| {
            let bytes = field.bytes(self.bytes).unwrap_or_default();
            let mut shown = hex(&bytes[..bytes.len().min(BYTES)], " ");
            if bytes.len() > BYTES {
                shown += " ..";
            }
            let value = match (field.kind, field.unpack(self.bytes)) {
                (Kind::Alignment, _) => "(alignment)".into(),
                (_, Some(value)) => text(value),
                (_, None) => "(padding)".into(),
            };
            let cells =
                [field.offset.to_string(), field.size.to_string(), field.to_string(), shown, value];
            Row { style: style(&field), cells }
        })
    }

    /// Returns the table as an event.
    pub(super) fn event(&self) -> Json {
        let fields = self.format.fields().map(|field| {
            let bytes = field.bytes(self.bytes).unwrap_or_default();
            let mut event = json!({
                "offset": field.offset, "size": field.size, "code": field.to_string(), "hex": hex(bytes, ""),
            });
            match field.unpack(self.bytes) {
                Some(value) => event["value"] = json_value(value),
                None => event["padding"] = true.into(),
            }
            event
        });
        let fields: Vec<_> = fields.collect();
        let mut event = Map::new();
        event.insert("event".into(), self.event.into());
        event.insert("format".into(), self.text.into());
        event.insert("order".into(), self.format.order().to_string().into());
        event.insert("size".into(), self.bytes.len().into());
        event.insert("hex".into(), hex(self.bytes, "").into());
        event.insert("fields".into(), fields.into());
        Json::Object(event)
    }
}

fn style(field: &Field) -> Style {
    match field.index {
        Some(index) => STYLES[index % STYLES.len()],
        None => PADDING,
    }
}

fn hex(bytes: &[u8], separator: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { separator });
    }
    text
}

/// Returns a value for a person, as `pack` accepts it.
fn text(value: Value<'_>) -> String {
    match value {
        Value::Int(integer) => integer.to_string(),
        Value::Bool(is_true) => is_true.to_string(),
        Value::Float(number) => decimal(number),
        Value::Char(byte) => quoted(&[byte], '\''),
        Value::Bytes(bytes) => quoted(bytes, '"'),
        _ => String::new(),
    }
}

/// Returns a value of an event. JSON has no infinities, and none that are not numbers: they are strings.
fn json_value(value: Value<'_>) -> Json {
    match value {
        Value::Int(integer) => match (i64::try_from(integer), u64::try_from(integer)) {
            (Ok(integer), _) => integer.into(),
            (_, Ok(integer)) => integer.into(),
            _ => Json::Null,
        },
        Value::Bool(is_true) => is_true.into(),
        Value::Float(number) if number.is_finite() => number.into(),
        Value::Float(number) => decimal(number).into(),
        Value::Char(byte) => String::from_utf8_lossy(&[byte]).into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        _ => Json::Null,
    }
}

/// Returns a number as `struct.unpack` and `print` of Python show it, which students compare it with: all digits of the
/// value that the field has, such as 0.3871000111103058 for an `f` of 0.3871.
fn decimal(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    // The shortest digits that are this number. With their count as a precision, Rust rounds ties to even, as Python does.
    let shortest = format!("{number:e}");
    let Some((digits, power)) = shortest.split_once('e') else { return shortest };
    let places = digits.bytes().filter(u8::is_ascii_digit).count() - 1;
    let power: i32 = power.parse().unwrap_or_default();
    // Next to a power of two, the even one may be another number.
    let is_same = |text: &String| text.parse() == Ok(number);
    if (-4..16).contains(&power) {
        let places = (places as i32 - power).max(1) as usize;
        return Some(format!("{number:.places$}"))
            .filter(is_same)
            .unwrap_or_else(|| format!("{number:?}"));
    }
    let rounded = Some(format!("{number:.places$e}")).filter(is_same).unwrap_or(shortest);
    let digits = rounded.split('e').next().unwrap_or_default();
    // Python writes the exponent with a sign and two digits.
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.unsigned_abs())
}

/// Returns bytes as text between quotes, with escapes that `pack` accepts.
fn quoted(bytes: &[u8], quote: char) -> String {
    let mut text = String::from(quote);
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if count == CHARS {
                return text + &format!("{quote}...");
            }
            count += 1;
            match c {
                '\\' => text += r"\\",
                '\n' => text += r"\n",
                '\r' => text += r"\r",
                '\t' => text += r"\t",
                c if c == quote => text.extend(['\\', c]),
                c => text += &one_line(c.encode_utf8(&mut [0; 4])),
            }
        }
        for byte in chunk.invalid() {
            if count == CHARS {
                return text + &format!("{quote}...");
            }
            count += 1;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(format: &str, bytes: &[u8], has_colours: bool) -> String {
        let parsed = Format::parse(format).expect("a format");
        let mut written = Vec::new();
        let table = Table::new("unpacked", format, &parsed, bytes);
        table.write_to(&mut written, has_colours).expect("memory");
        String::from_utf8(written).expect("text")
    }

    fn value(format: &str, bytes: &[u8]) -> String {
        let parsed = Format::parse(format).expect("a format");
        let (_, value) = parsed.unpack(bytes).expect("the size").next().expect("a field");
        text(value)
    }

    #[test]
    fn a_field_and_its_bytes_have_the_same_colour() {
        assert_eq!(
            table("b0h2sx", b"\x07\0AB\0", true),
            "5 bytes, little-endian, aligned (native)\n\
             offset  size  code  hex    value\n\
             \u{1b}[36m     0     1  b     07     7\u{1b}[0m\n\
             \u{1b}[2m     1     1  x     00     (alignment)\u{1b}[0m\n\
             \u{1b}[32m     2     2  2s    41 42  \"AB\"\u{1b}[0m\n\
             \u{1b}[2m     4     1  x     00     (padding)\u{1b}[0m\n\
             \u{1b}[36m07\u{1b}[0m \u{1b}[2m00\u{1b}[0m \u{1b}[32m4142\u{1b}[0m \u{1b}[2m00\u{1b}[0m\n"
        );
    }

    #[test]
    fn a_long_field_is_shortened_in_its_row_and_complete_in_the_last_line() {
        let shown = table("!100s", &[b'a'; 100], false);
        let lines: Vec<_> = shown.lines().collect();
        let row =
            format!("     0   100  100s  {} ..  \"{}\"...", ["61"; 16].join(" "), "a".repeat(64));
        assert_eq!(lines[2], row);
        assert_eq!(lines[3], "61".repeat(100));
        assert_eq!(
            table("!", b"", false),
            "0 bytes, big-endian (network)\noffset  size  code  hex  value\n\n"
        );
    }

    #[test]
    fn a_number_has_the_digits_that_python_prints() {
        for (format, bytes, text) in [
            ("!f", &b"\x3e\xc6\x31\xf9"[..], "0.3871000111103058"),
            ("!f", b"\x4c\xeb\x79\xa3", "123456792.0"),
            ("!d", b"\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
            ("!d", b"\x3f\x1a\x36\xe2\xeb\x1c\x43\x2d", "0.0001"),
            ("!d", b"\x3e\xe4\xf8\xb5\x88\xe3\x68\xf1", "1e-05"),
            ("!d", b"\x43\x34\x61\x20\x5f\x41\xef\xff", "5736291199217663.0"),
            ("!d", b"\x43\x41\xc3\x79\x37\xe0\x80\x00", "1e+16"),
            ("!d", b"\xfe\x37\xe4\x3c\x88\x00\x75\x9c", "-1e+300"),
            ("!e", b"\x2e\x66", "0.0999755859375"),
            ("!e", b"\x7b\xff", "65504.0"),
            ("!e", b"\x00\x01", "5.960464477539063e-08"),
            ("!e", b"\x80\x00", "-0.0"),
            ("!e", b"\xfc\x00", "-inf"),
            ("!f", b"\x7f\xc0\0\0", "nan"),
            ("!f", b"\x7f\x80\0\0", "inf"),
            ("!f", b"\x41\x50\0\0", "13.0"),
        ] {
            assert_eq!(value(format, bytes), text, "{format} {bytes:x?}");
        }
    }

    #[test]
    fn text_is_escaped_as_pack_accepts_it() {
        for (format, bytes, shown) in [
            ("5s", &b"a\"\\\n\0"[..], r#""a\"\\\n\x00""#),
            ("c", b"'", r"'\''"),
            ("c", b"\xff", r"'\xff'"),
            ("5s", b"\x1b[31m", r#""\x1b[31m""#),
            ("5s", b"\xe2\x80\xae\xc3\xa9", "\"\\u{202e}\u{e9}\""),
        ] {
            assert_eq!(value(format, bytes), shown);
            let inner = &shown[1..shown.len() - 1];
            assert_eq!(super::super::words::unescape(inner).as_deref(), Ok(bytes));
        }
    }
}
