use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use anstyle::Style;

use super::Lines;
use super::trace::{DIM, RECEIVED, SENT};
use crate::net::{Direction, Observer};

/// Number of bytes in a line.
const WIDTH: usize = 16;
/// Number of lines for one write. The log can take a limited number of lines at a time.
const ROWS: usize = 64;

/// Trace of a proxy that shows bytes without a meaning: time, direction, offset in the stream, bytes, text.
pub(crate) struct HexTrace {
    lines: Lines,
    start: Instant,
    /// Whether there has been more than one connection.
    has_many: bool,
    /// Number of bytes so far in each direction of each connection.
    offsets: HashMap<usize, [u64; 2]>,
}

impl HexTrace {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, start: Instant::now(), has_many: false, offsets: HashMap::new() }
    }

    /// Returns the start of a line, and the style of the rest.
    fn front(&self, connection: usize, direction: Direction) -> (String, Style) {
        let number = if self.has_many { format!("#{connection} ") } else { String::new() };
        let time = self.start.elapsed().as_secs_f64();
        let (style, arrow) = match direction {
            Direction::Received => (RECEIVED, "<-"),
            Direction::Sent => (SENT, "->"),
        };
        (format!("{number}{time:>10.6} {style}{arrow}{style:#}"), style)
    }

    fn end(&self, connection: usize, direction: Direction, how: &str) {
        let (front, style) = self.front(connection, direction);
        self.lines.line(format_args!("{front} {style}{how}{style:#}"));
    }
}

impl Observer for HexTrace {
    fn moved(&mut self, connection: usize, _: SocketAddr, direction: Direction, bytes: &[u8]) {
        self.has_many |= connection > 1;
        if bytes.is_empty() {
            self.end(connection, direction, "closed");
            return;
        }
        let (front, style) = self.front(connection, direction);
        let [received, sent] = self.offsets.entry(connection).or_default();
        let offset = match direction {
            Direction::Received => received,
            Direction::Sent => sent,
        };
        for (row, part) in bytes.chunks(WIDTH).take(ROWS).enumerate() {
            let at = *offset + (row * WIDTH) as u64;
            self.lines.line(format_args!("{front} {}", hex_row(at, part, &style)));
        }
        *offset += bytes.len() as u64;
        let rest = bytes.len().saturating_sub(ROWS * WIDTH);
        if rest > 0 {
            self.lines.line(format_args!("{front} {DIM}... {rest} more bytes{DIM:#}"));
        }
    }

    fn ended(&mut self, connection: usize, _: SocketAddr, reset: Option<Direction>) {
        self.offsets.remove(&connection);
        if let Some(direction) = reset {
            self.end(connection, direction, "reset");
        }
    }
}

/// Returns the offset, the bytes in hexadecimal, and the printable ones as text.
fn hex_row(offset: u64, bytes: &[u8], style: &Style) -> String {
    let mut row = format!("{offset:08x}  ");
    for at in 0..WIDTH {
        let _ = match bytes.get(at) {
            Some(byte) => write!(row, "{byte:02x} "),
            None => write!(row, "   "),
        };
    }
    let text = bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    let _ = write!(row, " {style}|{}|{style:#}", text.collect::<String>());
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_offset_bytes_and_text() {
        let plain = anstyle::Style::new();
        assert_eq!(
            hex_row(0x20, b"GET / HTTP/1.1\r\n", &plain),
            "00000020  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|"
        );
        let short = hex_row(0, b"\x1bq\xff", &plain);
        assert_eq!(short, format!("00000000  1b 71 ff {} |.q.|", " ".repeat(39)));
    }
}
