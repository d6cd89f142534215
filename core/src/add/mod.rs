//! Two names, two numbers: each end sends a name and a number, and both add up the numbers.
//!
//! ```text
//!   client -> server   name '\n'  integer '\n'      ASCII decimal, 1 to 100
//!   server -> client   name '\n'  integer '\n'      then it closes
//! ```
//!
//! Many published programs send both in one message. Either end accepts that too, and a server answers in the [`Form`]
//! of the request:
//!
//! ```text
//!   name separator integer '\n'      the separator one of , : ; | or white space; spaces around it
//!   name separator integer           the end is an orderly close, or 300 ms without a byte
//!   name '\n' integer                likewise
//! ```
//!
//! A first line that ends in a separator and an integer is such a message, and any other line is a name. What follows
//! never changes that.
//!
//! If an integer is out of range, the server closes without an answer. That is how the source document shuts it down.
//!
//! ```text
//!   client                                            server
//!
//!   Ready --Introduce--> Name --> Number --> Over     Name --> Number --in range--> Ready
//!     |                  ^ |                   ^                 |                    |
//!     | Name             | '---- closed, ------'                 | out of range     Answer
//!     v                  |       leaving                         v                    v
//!   Apart ----Number-----'                                      Over <---------------'
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::fmt;
use core::ops::RangeInclusive;

use crate::count;
use crate::machine::{CommandError, Input, Invalid, Need, StreamEnd};
use crate::wire::{
    DECIMAL_BYTES, LINE_BYTES, Line, LineError, LineMessages, LineScanner, put_decimal, put_line,
    trim, trim_end, unmarked,
};

/// Range of the integers that are added. Any other integer shuts the server down.
pub const RANGE: RangeInclusive<i32> = 1..=100;

/// Number of milliseconds without a byte that end an integer without a newline.
pub const SILENCE_MS: u16 = 300;

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = LineMessages;

/// Maximum number of bytes of a name and an integer on the wire.
const INTRODUCTION_BYTES: usize = LINE_BYTES + 1 + DECIMAL_BYTES;

/// Form of a name and an integer on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Form {
    /// Byte between them: `\n` for two lines, otherwise one of `,` `:` `;` `|` or white space.
    pub separator: u8,
    /// Whether a space follows the separator.
    pub space: bool,
    /// Whether a newline follows the integer.
    pub newline: bool,
}

impl Form {
    /// Two lines.
    pub const LINES: Self = Self::message(b'\n');

    /// Returns the form of one line with this separator.
    #[must_use]
    pub const fn message(separator: u8) -> Self {
        Self { separator, space: false, newline: true }
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::LINES
    }
}

/// Returns whether this line is read as a name and an integer in one message. A name that is cannot be sent as a line of
/// its own.
#[must_use]
pub fn is_message(line: &[u8]) -> bool {
    integer_at(line).is_some()
}

/// Returns the likely mistake in `text`, which a peer sent in place of a name and an integer, or `None` if none is
/// recognised.
#[must_use]
pub fn hint(text: &[u8]) -> Option<&'static str> {
    let text = trim(text);
    let behind = text.iter().rposition(|byte| b",:;| \t".contains(byte)).unwrap_or(text.len());
    match text {
        [b'{' | b'[', ..] => Some("this looks like JSON, expected two lines or NAME,NUMBER"),
        [b'0'..=b'9', ..] if text.iter().all(u8::is_ascii_digit) => {
            Some("this looks like the number alone, expected the name before it")
        }
        [b'0'..=b'9', .., b'a'..=b'z' | b'A'..=b'Z'] => {
            Some("the number seems to come first, expected the name before it")
        }
        [.., b'0'..=b'9'] => Some("expected a newline or one of , : ; | before the number"),
        // What follows the last separator and starts with a digit was meant to be the number.
        _ if text.get(count::add(behind, 1)).is_some_and(u8::is_ascii_digit) => {
            Some("expected an integer after the separator")
        }
        _ => None,
    }
}

/// Returns the position of the integer at the end of a line that has a name and an integer. The name may contain
/// separators too.
#[inline(never)]
fn integer_at(line: &[u8]) -> Option<usize> {
    let text = trim_end(line);
    let last = text.iter().rposition(|byte| !byte.is_ascii_digit())?;
    let (front, digits) = text.split_at_checked(count::add(last, 1))?;
    let (Some([front @ .., b'+' | b'-']) | Some(front)) = Some(front) else { return None };
    let separator = *front.last()?;
    let separates = is_sign(separator) || separator.is_ascii_whitespace();
    (separates && !digits.is_empty()).then_some(front.len())
}

/// Returns whether this byte separates name and integer and is not white space.
const fn is_sign(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b';' | b'|')
}

/// Finds a name and then an integer at the front of the input, in any form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Parts {
    lines: LineScanner,
    /// Number of bytes of a message that follow its name.
    rest: u16,
}

/// A name, or the text of an integer, at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part<'i> {
    line: Line<'i>,
    /// Form of what has arrived so far.
    form: Form,
    /// As in [`Parts`].
    rest: u16,
}

impl Parts {
    const fn new() -> Self {
        Self { lines: LineScanner::new(), rest: 0 }
    }

    /// Returns the name, or the text of the integer, and leaves it in the input. `form` is that of the name, if the
    /// integer is sought.
    #[inline(never)]
    fn peek<'i>(
        &mut self,
        input: Input<'i>,
        is_name: bool,
        mut form: Form,
    ) -> Result<Result<Part<'i>, Need>, LineError> {
        let mut rest = self.rest;
        let mut bytes = usize::from(rest);
        let mut text = input.bytes.get(..bytes).unwrap_or_default();
        if bytes == 0 {
            let is_whole: fn(&[u8]) -> bool =
                if is_name { is_message } else { |text| !trim(text).is_empty() };
            match self.lines.peek_or_idle(input, SILENCE_MS, is_whole)? {
                Ok(line) => Line { text, bytes } = line,
                Err(need) => return Ok(Err(need)),
            }
        }
        // With its end, and with the byte order mark that a stream may start with.
        let whole = input.bytes.get(..bytes).unwrap_or_default();
        form.newline = whole.last() == Some(&b'\n');
        if is_name && let Some(at) = integer_at(whole) {
            rest = u16::try_from(count::sub(whole.len(), at)).unwrap_or(u16::MAX);
            let front = whole.get(..at).unwrap_or_default();
            let mut name = trim_end(front);
            form.separator = front.get(name.len()).copied().unwrap_or_default();
            if let [before @ .., sign] = name
                && is_sign(*sign)
            {
                form.space = name.len() < at;
                form.separator = *sign;
                name = trim_end(before);
            }
            (text, bytes) = (unmarked(name, 0), at);
        }
        Ok(Ok(Part { line: Line { text, bytes }, form, rest }))
    }

    /// Takes a part. Returns the number of bytes that the caller consumes.
    fn take(&mut self, part: &Part<'_>) -> usize {
        self.rest = part.rest;
        self.lines.take(part.line)
    }
}

/// Writes the sentence about a stream that ended behind the name.
fn name_only(peer: &str, how: StreamEnd, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(peer)?;
    f.write_str(match how {
        StreamEnd::Closed => " closed the connection after its name, without an integer",
        StreamEnd::Reset => " reset the connection after its name, without an integer",
        StreamEnd::TimedOut => " sent no integer after its name in time",
    })
}

/// Writes the name and its separator if there is a name, and the integer and its end if there is an integer. Writes all
/// or nothing.
#[inline(never)]
fn introduce(
    name: Option<&[u8]>,
    number: Option<i32>,
    form: Form,
    output: &mut [u8],
) -> Result<usize, CommandError> {
    let mut n = 0;
    if let Some(name) = name {
        if form.separator == b'\n' && is_message(name) {
            return Err(Invalid::Reserved.into());
        }
        n = put_line(name, output)?;
        if let Some(end) = output.get_mut(name.len()) {
            *end = form.separator;
        }
        if form.space {
            *output.get_mut(n).ok_or(CommandError::OutputFull)? = b' ';
            n = count::add(n, 1);
        }
    }
    if let Some(number) = number {
        let space = output.get_mut(n..).unwrap_or_default();
        n = count::add(n, put_decimal(number, space).ok_or(CommandError::OutputFull)?);
        n = count::sub(n, (!form.newline).into());
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::StreamState;

    #[test]
    fn a_message_is_read_from_its_end() {
        for (line, name, separator, space, at) in [
            (&b"Ada,42"[..], &b"Ada"[..], b',', false, 4),
            (b"Ada:42\r\n", b"Ada", b':', false, 4),
            (b"Ada;-7", b"Ada", b';', false, 4),
            (b"Ada|+7 ", b"Ada", b'|', false, 4),
            (b"Ada, 42\n", b"Ada", b',', true, 5),
            (b"Ada 42", b"Ada", b' ', false, 4),
            (b"Ada\t42", b"Ada", b'\t', false, 4),
            (b"Ada  \t 42", b"Ada", b' ', false, 7),
            (b"Ada Lovelace , 42", b"Ada Lovelace", b',', true, 15),
            (b"a,b,3", b"a,b", b',', false, 4),
            (b"Jean-Luc -5", b"Jean-Luc", b' ', false, 9),
            (b",1", b"", b',', false, 1),
        ] {
            let mut parts = Parts::new();
            let input = Input { bytes: line, state: StreamState::Idle };
            let part = parts.peek(input, true, Form::LINES).unwrap().unwrap();
            let line = Line { text: name, bytes: at };
            assert_eq!(part.line, line, "{}", name.escape_ascii());
            assert_eq!((part.form.separator, part.form.space), (separator, space));
        }
        for line in [
            &b""[..],
            b"Ada",
            b"Ada Lovelace",
            b"42",
            b"-42",
            b"Ada42",
            b"Ada-42",
            b"Ada=42",
            b"Ada,",
            b"Ada,-",
            b"Ada,4x",
            b"Ada,4.5",
            b"{\"name\":\"Ada\",\"number\":42}",
        ] {
            assert!(!is_message(line), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn it_is_written_in_its_form() {
        let mut room = [0; 32];
        for (form, want) in [
            (Form::LINES, "Ada\n42\n"),
            (Form { newline: false, ..Form::LINES }, "Ada\n42"),
            (Form::message(b','), "Ada,42\n"),
            (Form { space: true, newline: false, ..Form::message(b',') }, "Ada, 42"),
        ] {
            assert_eq!(introduce(Some(b"Ada"), Some(42), form, &mut room), Ok(want.len()));
            assert!(room.starts_with(want.as_bytes()), "{want:?}");
            // A newline that is not sent needs its space all the same.
            for length in 0..want.len() {
                let written =
                    introduce(Some(b"Ada"), Some(42), form, room.get_mut(..length).unwrap());
                assert_eq!(written, Err(CommandError::OutputFull), "{want:?} in {length}");
            }
        }
        assert_eq!(
            introduce(Some(b"Ada 7"), Some(42), Form::LINES, &mut room),
            Err(Invalid::Reserved.into())
        );
        assert_eq!(introduce(Some(b"Ada 7"), Some(42), Form::message(b','), &mut room), Ok(9));
        assert_eq!(
            introduce(Some(b"A\nb"), Some(42), Form::message(b','), &mut room),
            Err(Invalid::Newline.into())
        );
    }

    #[test]
    fn a_likely_mistake_has_a_hint() {
        for (text, has) in [
            (&b"{\"name\":\"Ada\",\"number\":42}"[..], Some("JSON")),
            (b"42,Ada", Some("to come first")),
            (b" 42\n", Some("the number alone")),
            (b"Ada42", Some("before the number")),
            (b"Ada=42", Some("before the number")),
            (b"Ada,4.x", Some("after the separator")),
            (b"Ada", None),
            (b"Error: bad format", None),
            (b"", None),
        ] {
            let hint = hint(text);
            let fits =
                has.map_or(hint.is_none(), |has| hint.is_some_and(|hint| hint.contains(has)));
            assert!(fits, "{}: {hint:?}", text.escape_ascii());
        }
    }
}
