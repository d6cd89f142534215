//! Fetching a file: the client says its name, the server sends its bytes.
//!
//! ```text
//!   plain     client -> server   name, and '\n' only after 300 ms without a byte, or at once
//!             server -> client   the file's bytes, then it closes; a reset when it cannot
//!
//!   checked   client -> server   name 00 'v1' 00 offset '\n'       offset: ASCII decimal
//!             server -> client   '+'  size: u64  bytes from offset on  CRC-32: u32, then it closes
//!                            or  '-'  reason '\n', then it closes
//! ```
//!
//! Integers are big-endian. Size and CRC-32 (ISO-HDLC, zlib's) are those of the **whole** file, so
//! what is missing, changed, or resumed from the wrong file shows. No name has a NUL in it: a server
//! knows by it which form is meant. A name that came without `\n` is complete when the client closes
//! its sending side, or after [`SILENCE_MS`] in which nothing comes; a checked request ends at its
//! `\n` only. NULs at the end of a request are dropped: programs in C send the terminator of the name,
//! or the whole buffer. What follows a request is not looked at; the driver reads and drops it, as a
//! connection that is closed with unread input is reset, and the end of the file with it.
//!
//! Many published servers call `recv` once and open the file of exactly that name. So a client sends
//! the `\n` only to a server that stays silent: one sent at once would be a part of the name, or stay
//! unread.
//!
//! ```text
//!   server                                            client
//!
//!   Request --a name--> Asked --Send--> Body          Idle --Fetch--> Reply --'-'--> Reason
//!      |                  |              |  |                          |  |             |
//!   no request          Refuse     plain |  | checked            plain |  | '+'       a line
//!      v                  v              v  v                          v  v             v
//!   Aborted        Over or Aborted    Over  Check --> Over    Bare, Body  Size         Over
//!                                                                      |  '-> Body --> Check --> Over
//!                                                              closed: Over
//! ```
//!
//! The body does not pass through the server's machine: it is [`owed`](crate::Machine::outbound_remaining), and whoever
//! drives the machine sends it as it likes. The client's comes as events, or is
//! [`taken`](crate::Machine::advance_inbound) past it. Neither end computes the checksum: bytes that a machine
//! does not see it cannot sum up.

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

/// After so long without another byte a name that has no `\n` counts as complete, in ms.
pub const SILENCE_MS: u16 = 300;

/// The largest file, in bytes: what systems can express (POSIX `off_t`).
pub const SIZE_MAX: u64 = 0x7fff_ffff_ffff_ffff;

/// The plain form sends its bytes in blocks of so many. A unit of the document that no peer can see:
/// a stream has no blocks.
pub const BLOCK_BYTES: usize = 1024;

/// An offset has so many digits at the most.
const DIGITS: usize = 20;

/// Between name and offset.
const VERSION: &[u8; 4] = b"\0v1\0";

/// A size on the wire: 8 bytes.
const SIZE_BYTES: usize = 8;

/// A checksum on the wire: 4 bytes.
const CRC_BYTES: usize = 4;

/// The first byte of a reply of the checked form: the file comes.
const FOUND: u8 = b'+';

/// The first byte of a reply of the checked form: a reason comes.
const REFUSED: u8 = b'-';

/// Which of the two forms a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without it the tag has the eight bytes of the offset's alignment.
#[repr(u8)]
pub enum Form {
    /// The document's: the bytes, and nothing to check them by.
    Plain,
    /// With size and checksum, from some byte on.
    Checked {
        /// The first byte to be sent; those before it the client has already.
        offset: u64,
    },
}

impl Form {
    /// The first byte to be sent.
    #[must_use]
    pub const fn offset(self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Checked { offset } => offset,
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<B> {
    /// The file's name: not empty, without NUL and newline, otherwise any bytes. What it may lead
    /// to is the server's to decide.
    pub name: B,
    /// The form of the reply.
    pub form: Form,
}

/// Why a line is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// The name is empty.
    NoName,
    /// What follows the NUL behind the name is not `v1`, NUL and an offset of a file.
    Form,
    /// It is longer than a line may be.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client broke the protocol: ")?;
        match self {
            Self::NoName => f.write_str("the name is empty"),
            Self::Form => f.write_str("a NUL in the request, and not 'v1', NUL, offset behind it"),
            Self::TooLong => write!(f, "the first {LINE_BYTES} bytes have no newline"),
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
    /// The request in a line. NULs at its end are dropped.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; its length is the caller's to check.
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

    /// Writes it as a line to the front of `output`. Returns the bytes written.
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when no line says it: the name is empty, has a NUL or newline in it or a
    /// carriage return last, the line would be longer than [`LINE_MAX`](crate::wire::LINE_MAX), or the offset is beyond
    /// [`SIZE_MAX`]. [`CommandError::OutputFull`].
    pub fn emit(&self, output: &mut [u8]) -> Result<usize, CommandError> {
        let Self { name, form } = *self;
        /// The longest end of a line: what stands between name and digits, these, and the newline.
        const TAIL: usize = VERSION.len() + DIGITS + 1;
        let mut tail = [0; TAIL];
        let [version @ .., end] = &mut tail;
        *end = b'\n';
        let mut start = version.len();
        if let Form::Checked { offset } = form {
            start = put_offset(offset, version.get_mut(VERSION.len()..).unwrap_or_default());
            if let Some(place) = version.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
                *place = *VERSION;
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
            let room = output.get_mut(..all).ok_or(CommandError::OutputFull)?;
            let (front, back) =
                room.split_at_mut_checked(name.len()).ok_or(CommandError::OutputFull)?;
            copy(name, front);
            copy(tail, back);
            return Ok(all);
        };
        Err(CommandError::Invalid(reason))
    }
}

/// Without the NULs at the end.
fn without_nuls(mut bytes: &[u8]) -> &[u8] {
    while let [front @ .., 0] = bytes {
        bytes = front;
    }
    bytes
}

/// The offset in ASCII digits, and nothing else. `None` also when no file is so long.
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

/// Writes an offset in ASCII digits to the end of these. Returns where they start.
///
/// A byte at a time, as on paper: a small processor's division of 64 bits is a library function longer
/// than this machine.
fn put_offset(offset: u64, digits: &mut [u8]) -> usize {
    let mut left = offset.to_be_bytes();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        let mut rest = 0;
        for byte in &mut left {
            let value = u16::from_be_bytes([rest, *byte]);
            let (tenth, digit) = count::split_digit(value);
            ([_, *byte], rest) = (tenth.to_be_bytes(), digit);
        }
        *digit = count::ascii(rest);
        if left == [0; 8] {
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
        let mut room = [0; LINE_BYTES];
        let n = request.emit(&mut room)?;
        Ok(room.get(..n).unwrap().to_vec())
    }

    const fn checked(name: &[u8], offset: u64) -> Request<&[u8]> {
        Request { name, form: Form::Checked { offset } }
    }

    const fn plain(name: &[u8]) -> Request<&[u8]> {
        Request { name, form: Form::Plain }
    }

    #[test]
    fn a_request_comes_back() {
        assert_eq!(line(&plain(b"notes.txt")).unwrap(), b"notes.txt\n");
        assert_eq!(line(&checked(b"notes.txt", 0)).unwrap(), b"notes.txt\0v1\x000\n");
        assert_eq!(line(&checked(b"\xff/..", 1024)).unwrap(), b"\xff/..\0v1\x001024\n");
        for request in [plain(b"a b"), checked(b"a\r", SIZE_MAX), checked(b"/etc/passwd", 7)] {
            let text = line(&request).unwrap();
            assert_eq!(Request::parse(text.strip_suffix(b"\n").unwrap()), Ok(request));
        }
    }

    #[test]
    fn nuls_at_the_end_are_dropped() {
        for line in [&b"a"[..], b"a\0", &[&b"a"[..], &[0; 255]].concat()] {
            assert_eq!(Request::parse(line), Ok(plain(b"a")));
        }
        assert_eq!(Request::parse(b"a\0v1\x0070\0"), Ok(checked(b"a", 70)));
    }

    #[test]
    fn offsets_are_what_std_writes_and_reads() {
        let mut values = vec![0, 1, 9, 10, 99, 100, u64::from(u32::MAX), SIZE_MAX - 1, SIZE_MAX];
        values.extend((0..63).map(|bit| 1_u64 << bit));
        values.extend((0..63).map(|bit| (1_u64 << bit) - 1));
        for value in values {
            let mut room = [0; DIGITS];
            let start = put_offset(value, &mut room);
            let text = room.get(start..).unwrap();
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
    fn what_is_no_name_cannot_be_asked_for() {
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
        let mut room = [7; 9];
        assert_eq!(checked(b"abc", 12).emit(&mut room), Err(CommandError::OutputFull));
        assert_eq!(room, [7; 9]);
        assert_eq!(checked(b"abc", 1).emit(&mut room), Ok(9));
    }

    #[test]
    fn what_is_no_request_is_named() {
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
        assert_eq!(
            Malformed::NoName.to_string(),
            "the client broke the protocol: the name is empty"
        );
    }
}
