//! Expected results, computed in the simplest way: with all input in memory and [`String`]s. It
//! shares no code with the machines it checks.

use socklab_core::add::Form;
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LINE_MAX;

use crate::script::Script;

/// Returns an echo server's reply to a text.
#[must_use]
pub fn echo_reply(text: &str) -> String {
    text.chars().skip(10).collect()
}

/// Returns an echo server's reply to any payload, or `None` for a protocol error.
#[must_use]
pub fn echo_reply_bytes(payload: &[u8]) -> Option<Vec<u8>> {
    let mut rest = payload;
    for _ in 0..10 {
        if rest.is_empty() {
            break;
        }
        // A character is any one to four bytes that std accepts as UTF-8.
        let length = (1..=rest.len().min(4)).find(|n| std::str::from_utf8(&rest[..*n]).is_ok())?;
        rest = &rest[length..];
    }
    Some(rest.to_vec())
}

/// Returns an echo message as sent.
#[must_use]
pub fn echo_message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test's payload is short");
    [&length.to_be_bytes()[..], payload].concat()
}

/// Returns a math question as sent.
#[must_use]
pub fn question(a: u32, b: u32) -> Vec<u8> {
    [&b"Q"[..], &a.to_be_bytes(), &b.to_be_bytes()].concat()
}

/// Computes the CRC-32 (ISO-HDLC, as in zlib) bit by bit.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// Returns a name and an integer as sent.
#[must_use]
pub fn add_message(name: &[u8], number: i32, form: Form) -> Vec<u8> {
    let Form { separator, space, newline } = form;
    let number = number.to_string();
    let [space, newline]: [&[u8]; 2] =
        [if space { b" " } else { b"" }, if newline { b"\n" } else { b"" }];
    [name, &[separator], space, number.as_bytes(), newline].concat()
}

/// Splits a line that contains both into the name, the form and the offset of the integer. A
/// trailing line end is ignored.
#[must_use]
pub fn add_split(line: &[u8]) -> Option<(&[u8], Form, usize)> {
    let text = line.trim_ascii_end();
    // The longest integer at the end of the line.
    let at = (0..text.len()).find(|at| add_integer(&text[*at..]).is_some())?;
    let front = &text[..at];
    let name = front.trim_ascii_end();
    match name.last() {
        Some(separator @ (b',' | b':' | b';' | b'|')) => {
            let space = name.len() < front.len();
            let form = Form { space, ..Form::message(*separator) };
            Some((name[..name.len() - 1].trim_ascii_end(), form, at))
        }
        _ => Some((name, Form::message(*front.get(name.len())?), at)),
    }
}

/// Parses an integer without white space around it. Returns `Some(None)` if it does not fit in an
/// `i32`.
#[must_use]
pub fn add_integer(text: &[u8]) -> Option<Option<i32>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok())
}

/// What an end of add parses from everything its peer sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddParsed {
    /// The peer's name.
    pub name: Option<Vec<u8>>,
    /// The peer's integer. The inner `None` means that it does not fit in an `i32`.
    pub number: Option<Option<i32>>,
    /// Form in which they were sent.
    pub form: Form,
    /// Number of bytes consumed by the name and, if it is valid, the integer.
    pub consumed: usize,
    /// Whether the missing part may still arrive.
    pub is_unfinished: bool,
}

/// Where a field ends: at its newline, at a pause, or at the end of the stream.
enum FieldEnd {
    At(usize),
    Unfinished,
    TooLong,
}

fn find_field_end(script: &Script<'_>, from: usize, is_whole: impl Fn(&[u8]) -> bool) -> FieldEnd {
    let Script { bytes, pauses, end } = *script;
    let newline = bytes[from..].iter().position(|byte| *byte == b'\n').map(|n| from + n);
    let last = newline.unwrap_or(bytes.len());
    let pause = pauses.iter().find(|at| {
        (from..=last).contains(*at) && **at - from <= LINE_MAX && is_whole(&bytes[from..**at])
    });
    match (pause, newline) {
        (Some(at), _) => FieldEnd::At(*at),
        _ if last - from > LINE_MAX => FieldEnd::TooLong,
        (None, Some(newline)) => FieldEnd::At(newline + 1),
        (None, None) if end == Some(StreamEnd::Closed) && is_whole(&bytes[from..]) => {
            FieldEnd::At(bytes.len())
        }
        (None, None) => FieldEnd::Unfinished,
    }
}

/// Parses everything that the peer of an end of add sends.
#[must_use]
pub fn parse_add(script: &Script<'_>) -> AddParsed {
    let unmarked = |text| <[u8]>::strip_prefix(text, b"\xef\xbb\xbf").unwrap_or(text);
    let bytes = script.bytes;
    let mut parsed = AddParsed::default();
    let end = match find_field_end(script, 0, |text| add_split(text).is_some()) {
        FieldEnd::At(end) => end,
        FieldEnd::Unfinished => return AddParsed { is_unfinished: true, ..parsed },
        FieldEnd::TooLong => return parsed,
    };
    let ended = if let Some((name, form, at)) = add_split(&bytes[..end]) {
        parsed.name = Some(unmarked(name).to_vec());
        (parsed.form, parsed.consumed) = (form, at);
        FieldEnd::At(end)
    } else {
        let name = bytes[..end].strip_suffix(b"\n").unwrap_or(&bytes[..end]);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        parsed.name = Some(unmarked(name).to_vec());
        parsed.consumed = end;
        find_field_end(script, end, |text| !text.trim_ascii().is_empty())
    };
    match ended {
        FieldEnd::At(end) => {
            let text = &bytes[parsed.consumed..end];
            parsed.form.newline = text.ends_with(b"\n");
            parsed.number = add_integer(text.trim_ascii());
            if parsed.number.is_some() {
                parsed.consumed = end;
            }
        }
        FieldEnd::Unfinished => parsed.is_unfinished = true,
        FieldEnd::TooLong => {}
    }
    parsed
}

/// Returns a file server's reply, in the checked form, to a request for the bytes from `offset` on.
#[must_use]
pub fn file_reply(file: &[u8], offset: usize) -> Vec<u8> {
    let size = (file.len() as u64).to_be_bytes();
    [&b"+"[..], &size, &file[offset..], &crc32(file).to_be_bytes()].concat()
}

/// Returns a line of the greatest length that a peer may send, which starts with `text`.
#[must_use]
pub fn long_line(text: &[u8]) -> Vec<u8> {
    [text, &vec![b'x'; 1024 - text.len()], b"\n"].concat()
}
