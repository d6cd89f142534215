//! What the right answer is, worked out the plain way: with all of the input in memory and over
//! [`String`], so that it shares no code with what it judges.

use socklab_core::add::Form;
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LINE_MAX;

use crate::script::Script;

/// The reply of an echo server to a text.
#[must_use]
pub fn echo_reply(text: &str) -> String {
    text.chars().skip(10).collect()
}

/// The reply of an echo server to any payload; `None` when it is a protocol error.
#[must_use]
pub fn echo_reply_bytes(payload: &[u8]) -> Option<Vec<u8>> {
    let mut rest = payload;
    for _ in 0..10 {
        if rest.is_empty() {
            break;
        }
        // A character is what std takes for one, of one to four bytes.
        let length = (1..=rest.len().min(4)).find(|n| std::str::from_utf8(&rest[..*n]).is_ok())?;
        rest = &rest[length..];
    }
    Some(rest.to_vec())
}

/// A message of echo on the wire.
#[must_use]
pub fn echo_message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test's payload is short");
    [&length.to_be_bytes()[..], payload].concat()
}

/// A question of math on the wire.
#[must_use]
pub fn question(a: u32, b: u32) -> Vec<u8> {
    [&b"Q"[..], &a.to_be_bytes(), &b.to_be_bytes()].concat()
}

/// CRC-32 (ISO-HDLC, that of zlib), bit by bit.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// A name and an integer on the wire.
#[must_use]
pub fn add_message(name: &[u8], number: i32, form: Form) -> Vec<u8> {
    let Form { separator, space, newline } = form;
    let number = number.to_string();
    let [space, newline]: [&[u8]; 2] =
        [if space { b" " } else { b"" }, if newline { b"\n" } else { b"" }];
    [name, &[separator], space, number.as_bytes(), newline].concat()
}

/// The name, the form and the place of the integer in a line that has both; what ends it is not looked
/// at.
#[must_use]
pub fn add_split(line: &[u8]) -> Option<(&[u8], Form, usize)> {
    let text = line.trim_ascii_end();
    // The longest integer that it ends in.
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

/// An integer without white space around it; `None` inside when it does not fit in an `i32`.
#[must_use]
pub fn add_integer(text: &[u8]) -> Option<Option<i32>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok())
}

/// What an end of add finds in all that its peer sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddHeard {
    /// The peer's name.
    pub name: Option<Vec<u8>>,
    /// Its integer, `None` when that does not fit in an `i32`.
    pub number: Option<Option<i32>>,
    /// The form in which they came.
    pub form: Form,
    /// Number of bytes of the name and, if it is one, of the integer.
    pub consumed: usize,
    /// Whether all that is missing may still come.
    pub is_unfinished: bool,
}

/// Where what starts at `from` ends: at its newline, at a silence, or where the stream does.
enum Ends {
    At(usize),
    Unfinished,
    TooLong,
}

fn add_end(script: &Script<'_>, from: usize, is_whole: impl Fn(&[u8]) -> bool) -> Ends {
    let Script { bytes, silences, end } = *script;
    let newline = bytes[from..].iter().position(|byte| *byte == b'\n').map(|n| from + n);
    let last = newline.unwrap_or(bytes.len());
    let silence = silences.iter().find(|at| {
        (from..=last).contains(*at) && **at - from <= LINE_MAX && is_whole(&bytes[from..**at])
    });
    match (silence, newline) {
        (Some(at), _) => Ends::At(*at),
        _ if last - from > LINE_MAX => Ends::TooLong,
        (None, Some(newline)) => Ends::At(newline + 1),
        (None, None) if end == Some(StreamEnd::Closed) && is_whole(&bytes[from..]) => {
            Ends::At(bytes.len())
        }
        (None, None) => Ends::Unfinished,
    }
}

/// What an end of add finds in all that its peer sends.
#[must_use]
pub fn add_heard(script: &Script<'_>) -> AddHeard {
    let unmarked = |text| <[u8]>::strip_prefix(text, b"\xef\xbb\xbf").unwrap_or(text);
    let bytes = script.bytes;
    let mut heard = AddHeard::default();
    let end = match add_end(script, 0, |text| add_split(text).is_some()) {
        Ends::At(end) => end,
        Ends::Unfinished => return AddHeard { is_unfinished: true, ..heard },
        Ends::TooLong => return heard,
    };
    let ended = if let Some((name, form, at)) = add_split(&bytes[..end]) {
        heard.name = Some(unmarked(name).to_vec());
        (heard.form, heard.consumed) = (form, at);
        Ends::At(end)
    } else {
        let name = bytes[..end].strip_suffix(b"\n").unwrap_or(&bytes[..end]);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        heard.name = Some(unmarked(name).to_vec());
        heard.consumed = end;
        add_end(script, end, |text| !text.trim_ascii().is_empty())
    };
    match ended {
        Ends::At(end) => {
            let text = &bytes[heard.consumed..end];
            heard.form.newline = text.ends_with(b"\n");
            heard.number = add_integer(text.trim_ascii());
            if heard.number.is_some() {
                heard.consumed = end;
            }
        }
        Ends::Unfinished => heard.is_unfinished = true,
        Ends::TooLong => {}
    }
    heard
}

/// The reply of a file server in the checked form to a request for the bytes from `offset` on.
#[must_use]
pub fn file_reply(file: &[u8], offset: usize) -> Vec<u8> {
    let size = (file.len() as u64).to_be_bytes();
    [&b"+"[..], &size, &file[offset..], &crc32(file).to_be_bytes()].concat()
}
