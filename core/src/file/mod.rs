//! File transfer: the client sends a name, the server sends the file of that name.
//!
//! Document 002 defines the plain form. The checked form is our own:
//!
//! ```text
//!   plain     client->server   name  ['\n']
//!             server->client   file, then close; a reset if it cannot send the file
//!
//!                              +------+---+----+---+--------+----+
//!   checked   client->server   | name | 0 | v1 | 0 | offset |'\n'|      offset: ASCII decimal
//!                              +------+---+----+---+--------+----+
//!                              0   1          9                 9 + size - offset
//!                              +---+----------+-----------------+--------+
//!             server->client   |'+'| size: u64| file from offset| CRC-32 |     then close
//!                              +---+----------+-----------------+--------+
//!                          or  +---+--------+----+
//!                              |'-'| reason |'\n'|                            then close
//!                              +---+--------+----+
//! ```
//!
//! Integers are big-endian. Size and CRC-32 (ISO-HDLC, the one of zlib) are those of the **whole** file.
//! So a client notices bytes that are missing or changed, and a transfer that was resumed from another
//! file. A name contains no NUL, so the first NUL distinguishes the two forms.
//!
//! # End of a request
//!
//! A plain request ends at its `\n`, when the client closes its sending side, or after [`SILENCE_MS`]
//! without a byte. A checked request ends only at its `\n`: half an offset is another offset. The server
//! drops NULs at the end of a request, because programs in C send the terminator of the name or the whole
//! buffer. The machine does not read what follows a request. The driver has to read and drop it: closing
//! a connection with unread input resets it and destroys the end of the file.
//!
//! Many published servers call `recv` once and open the file with exactly that name. An early `\n` would
//! become part of the name or stay unread. So the client sends it only after [`SILENCE_MS`] without a
//! byte from the server.
//!
//! ```text
//!   server
//!
//!   Request -- request ---> Asked -- Send --> Body -- plain, all sent -----------> Over
//!      |                      |                |
//!   malformed               Refuse             '----- checked, all sent: Check --> Over
//!      v                      v
//!   Aborted        Over (checked), Aborted (plain)          Abort leads to Aborted
//!
//!   client
//!
//!   Idle -- either, checked --> Reply -- '+' and size --> Body -- all read --> Crc --> Over
//!    | |                          '---- '-' --> Reason -- a line --------------------> Over
//!    | |
//!    | '--- Fetch, plain -----> Bare -- a byte, or SILENCE_MS: send '\n' --> Body -- closed --> Over
//!    '----- FetchLine, plain ------------------------------------------------> Body -- closed --> Over
//! ```
//!
//! File contents need not pass through the machines. In the server they are
//! [`outbound_remaining`](crate::Machine::outbound_remaining), and the application sends them as it
//! likes. In the client they arrive as events, or the application takes them past the machine
//! ([`advance_inbound`](crate::Machine::advance_inbound)). Therefore the application computes the
//! checksum on both ends.

pub mod client;
mod messages;
pub mod server;

pub use client::Client;
pub use messages::{ClientBytes, RequestMessage, ServerBytes, ServerMessage};
pub use server::Server;

use core::fmt;

use crate::count;
use crate::machine::{CommandError, Invalid};
use crate::wire::{LINE_BYTES, copy, find, split};

/// Time in milliseconds without a byte after which a name without `\n` is complete.
///
/// The number is our own: the document does not define how a name ends.
pub const SILENCE_MS: u16 = 300;

/// Size of the largest file in bytes: the greatest POSIX `off_t`, 2^63 - 1.
pub const SIZE_MAX: u64 = 0x7fff_ffff_ffff_ffff;

/// Size in bytes of the blocks in which a server reads and sends a file (document 002). It has no
/// meaning on the wire.
pub const BLOCK_BYTES: usize = 1024;

/// Greatest number of digits of a `u64`.
const DIGITS: usize = 20;

/// What separates name and offset in a checked request.
const VERSION: &[u8; 4] = b"\0v1\0";

/// Length of a size on the wire in bytes.
const SIZE_BYTES: usize = 8;

/// Length of a checksum on the wire in bytes.
const CRC_BYTES: usize = 4;

/// First byte of a checked reply with the file.
const FOUND: u8 = b'+';

/// First byte of a checked reply with the reason of a refusal.
const REFUSED: u8 = b'-';

/// Form of a request and of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Keeps the tag in one byte. Otherwise it takes eight, the alignment of the offset.
#[repr(u8)]
pub enum Form {
    /// The form of the document: only the bytes of the file.
    Plain,
    /// With size and checksum, and for any part of the file up to its end.
    Checked {
        /// Offset in bytes at which the reply starts. The client already has the bytes before it.
        offset: u64,
    },
}

impl Form {
    /// Returns the offset in bytes at which the reply starts: 0 in the plain form.
    #[must_use]
    pub const fn offset(self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Checked { offset } => offset,
        }
    }
}

/// Request of a client for a file.
///
/// `B` is the type of the name's bytes: a [`Span`](crate::machine::Span) of the input, a slice, or an
/// owned vector. [`map`](Self::map) and [`try_map`](Self::try_map) convert it. Only a request with
/// slices can be [parsed](Request::parse) and [emitted](Request::emit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<B> {
    /// Name of the file. It is not empty and contains no NUL and no newline. Other bytes are allowed,
    /// `..` and `/` too: the server decides which files it serves.
    pub name: B,
    /// Form of the request and of the reply.
    pub form: Form,
}

/// Why a line is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Malformed {
    /// The name is empty.
    NoName,
    /// The name is followed by a NUL, but not by `v1`, a NUL and an offset of at most [`SIZE_MAX`].
    Form,
    /// The line is longer than [`LINE_MAX`](crate::wire::LINE_MAX) bytes.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client broke the protocol: ")?;
        match self {
            Self::NoName => f.write_str("the name is empty"),
            Self::Form => {
                f.write_str("the NUL after the name is not followed by 'v1', NUL and an offset")
            }
            Self::TooLong => {
                write!(f, "the request is too long, its first {LINE_BYTES} bytes have no newline")
            }
        }
    }
}

impl core::error::Error for Malformed {}

impl<B> Request<B> {
    /// Returns the request with its name converted by `f`.
    #[inline]
    pub fn map<C>(self, f: impl FnOnce(B) -> C) -> Request<C> {
        Request { name: f(self.name), form: self.form }
    }

    /// Returns the request with its name converted by `f`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    #[inline]
    pub fn try_map<C, E>(self, f: impl FnOnce(B) -> Result<C, E>) -> Result<Request<C>, E> {
        Ok(Request { name: f(self.name)?, form: self.form })
    }
}

impl<'r> Request<&'r [u8]> {
    /// Returns the request in a line without its newline. NULs at its end are dropped.
    ///
    /// # Errors
    ///
    /// [`Malformed::NoName`] and [`Malformed::Form`]. It accepts a line of any length.
    #[inline(never)]
    pub fn parse(line: &'r [u8]) -> Result<Self, Malformed> {
        let line = without_nuls(line);
        let (name, rest) = split(0, line).map_or((line, None), |(name, rest)| (name, Some(rest)));
        if name.is_empty() {
            return Err(Malformed::NoName);
        }
        let form = match rest {
            None => Form::Plain,
            Some([b'v', b'1', 0, digits @ ..]) => {
                Form::Checked { offset: offset(digits).ok_or(Malformed::Form)? }
            }
            Some(_) => return Err(Malformed::Form),
        };
        Ok(Self { name, form })
    }

    /// Writes the request as a line, with its newline, to the front of `output`. Returns the number of
    /// bytes written.
    ///
    /// # Errors
    ///
    /// | error | condition |
    /// |---|---|
    /// | [`Invalid::Empty`] | the name is empty |
    /// | [`Invalid::TooLong`] | the line is longer than [`LINE_MAX`](crate::wire::LINE_MAX) bytes |
    /// | [`Invalid::Separator`] | the name contains a NUL |
    /// | [`Invalid::Newline`] | the name contains a newline |
    /// | [`Invalid::CarriageReturn`] | a plain name ends with a carriage return |
    /// | [`Invalid::OutOfRange`] | the offset is greater than [`SIZE_MAX`] |
    /// | [`CommandError::OutputFull`] | the line does not fit in `output` |
    pub fn emit(&self, output: &mut [u8]) -> Result<usize, CommandError> {
        let Self { name, form } = *self;
        /// Greatest length in bytes of what follows the name: separator, digits and newline.
        const TAIL: usize = VERSION.len() + DIGITS + 1;
        let mut tail = [0; TAIL];
        let [version @ .., end] = &mut tail;
        *end = b'\n';
        let mut start = version.len();
        if let Form::Checked { offset } = form {
            start = put_offset(offset, version.get_mut(VERSION.len()..).unwrap_or_default());
            if let Some(separator) = version.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
                *separator = *VERSION;
            }
        }
        let tail = tail.get(start..).unwrap_or_default();
        let all = name.len().saturating_add(tail.len());
        let reason = if name.is_empty() {
            Invalid::Empty
        } else if all > LINE_BYTES {
            Invalid::TooLong
        } else if find(0, name).is_some() {
            Invalid::Separator
        } else if find(b'\n', name).is_some() {
            Invalid::Newline
        } else if form == Form::Plain && name.ends_with(b"\r") {
            Invalid::CarriageReturn
        } else if form.offset() > SIZE_MAX {
            Invalid::OutOfRange
        } else {
            let space = output.get_mut(..all).ok_or(CommandError::OutputFull)?;
            let (front, back) =
                space.split_at_mut_checked(name.len()).ok_or(CommandError::OutputFull)?;
            copy(name, front);
            copy(tail, back);
            return Ok(all);
        };
        Err(CommandError::Invalid(reason))
    }
}

/// Returns the bytes without the NULs at their end.
fn without_nuls(mut bytes: &[u8]) -> &[u8] {
    while let [front @ .., 0] = bytes {
        bytes = front;
    }
    bytes
}

/// Returns the offset in these ASCII digits; `None` if there are none or other bytes, or if it is
/// greater than [`SIZE_MAX`].
fn offset(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for byte in digits {
        let digit = count::digit(*byte)?;
        // Up to this value another digit fits.
        if value > SIZE_MAX.wrapping_div(10) {
            return None;
        }
        value = count::append_digit(value, digit);
    }
    (!digits.is_empty() && value <= SIZE_MAX).then_some(value)
}

/// Writes an offset in ASCII digits to the end of `digits`. Returns the position of the first digit.
// Long division by bytes: on a small processor the library function that divides 64 bits is larger than
// the whole machine.
fn put_offset(offset: u64, digits: &mut [u8]) -> usize {
    let mut quotient = offset.to_be_bytes();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        let mut rest = 0;
        for byte in &mut quotient {
            let value = u16::from_be_bytes([rest, *byte]);
            let (tenth, digit) = count::split_digit(value);
            ([_, *byte], rest) = (tenth.to_be_bytes(), digit);
        }
        *digit = count::ascii(rest);
        if quotient == [0; 8] {
            return at;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::wire::LINE_MAX;

    fn line(request: &Request<&[u8]>) -> Result<Vec<u8>, CommandError> {
        let mut output = [0; LINE_BYTES];
        let n = request.emit(&mut output)?;
        Ok(output.get(..n).unwrap().to_vec())
    }

    const fn checked(name: &[u8], offset: u64) -> Request<&[u8]> {
        Request { name, form: Form::Checked { offset } }
    }

    const fn plain(name: &[u8]) -> Request<&[u8]> {
        Request { name, form: Form::Plain }
    }

    #[test]
    fn a_request_is_parsed_as_it_was_emitted() {
        assert_eq!(line(&plain(b"notes.txt")).unwrap(), b"notes.txt\n");
        assert_eq!(line(&checked(b"notes.txt", 0)).unwrap(), b"notes.txt\0v1\x000\n");
        assert_eq!(line(&checked(b"\xff/..", 1024)).unwrap(), b"\xff/..\0v1\x001024\n");
        for request in [plain(b"a b"), checked(b"a\r", SIZE_MAX), checked(b"/etc/passwd", 7)] {
            let text = line(&request).unwrap();
            assert_eq!(Request::parse(text.strip_suffix(b"\n").unwrap()), Ok(request));
        }
    }

    #[test]
    fn nuls_at_the_end_of_a_request_are_dropped() {
        for line in [&b"a"[..], b"a\0", &[&b"a"[..], &[0; 255]].concat()] {
            assert_eq!(Request::parse(line), Ok(plain(b"a")));
        }
        assert_eq!(Request::parse(b"a\0v1\x0070\0"), Ok(checked(b"a", 70)));
    }

    #[test]
    fn offsets_are_formatted_and_parsed_as_by_std() {
        let mut values = vec![0, 1, 9, 10, 99, 100, u64::from(u32::MAX), SIZE_MAX - 1, SIZE_MAX];
        values.extend((0..63).map(|bit| 1_u64 << bit));
        values.extend((0..63).map(|bit| (1_u64 << bit) - 1));
        for value in values {
            let mut output = [0; DIGITS];
            let start = put_offset(value, &mut output);
            let text = output.get(start..).unwrap();
            assert_eq!(String::from_utf8_lossy(text), format!("{value}"));
            assert_eq!(offset(text), Some(value));
        }
        for text in
            ["", "-1", "+1", " 1", "1 ", "0x1", "9223372036854775808", "99999999999999999999"]
        {
            assert_eq!(offset(text.as_bytes()), None, "{text}");
        }
        assert_eq!(offset(b"00000000000000000000000000042"), Some(42));
    }

    #[test]
    fn every_request_that_cannot_be_sent_has_its_reason() {
        for (name, reason) in [
            (&b""[..], Invalid::Empty),
            (b"a\0b", Invalid::Separator),
            (b"a\nb", Invalid::Newline),
            (b"a\r", Invalid::CarriageReturn),
        ] {
            assert_eq!(line(&plain(name)), Err(reason.into()), "{name:?}");
        }
        assert_eq!(line(&checked(b"a", SIZE_MAX + 1)), Err(Invalid::OutOfRange.into()));
        // The longest name, and one byte more.
        for (longest, form) in [(LINE_MAX, Form::Plain), (1019, Form::Checked { offset: 9 })] {
            let name = vec![b'x'; longest];
            assert_eq!(line(&Request { name: &name[..], form }).unwrap().len(), LINE_BYTES);
            let name = vec![b'x'; longest + 1];
            assert_eq!(line(&Request { name: &name[..], form }), Err(Invalid::TooLong.into()));
        }
        assert_eq!(line(&checked(&[b'x'; 1019], 10)), Err(Invalid::TooLong.into()));
        let mut output = [7; 9];
        assert_eq!(checked(b"abc", 12).emit(&mut output), Err(CommandError::OutputFull));
        assert_eq!(output, [7; 9]);
        assert_eq!(checked(b"abc", 1).emit(&mut output), Ok(9));
    }

    #[test]
    fn every_malformed_request_has_its_reason() {
        for (line, why) in [
            (&b""[..], Malformed::NoName),
            (b"\0v1\x000", Malformed::NoName),
            (b"\0\0", Malformed::NoName),
            (b"a\0b", Malformed::Form),
            (b"a\0v1", Malformed::Form),
            (b"a\0v1\0", Malformed::Form),
            (b"a\0v2\x000", Malformed::Form),
            (b"a\0v1\x00-1", Malformed::Form),
            (b"a\0v1\x009223372036854775808", Malformed::Form),
        ] {
            assert_eq!(Request::parse(line), Err(why), "{line:?}");
        }
        for (why, text) in [
            (Malformed::NoName, "the name is empty"),
            (Malformed::Form, "the NUL after the name is not followed by 'v1', NUL and an offset"),
            (Malformed::TooLong, "the request is too long, its first 1025 bytes have no newline"),
        ] {
            assert_eq!(why.to_string(), format!("the client broke the protocol: {text}"));
        }
    }
}
