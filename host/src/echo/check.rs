use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use socklab_core::echo::REMOVED_CHARS;
use socklab_core::echo::client::Piece;
use socklab_core::wire::{Prefix, prefix_of_chars};

use crate::net::Quote;

/// Number of bytes of a message or a reply that are looked at to find a likely mistake.
const START: usize = 256;

/// Messages in flight are kept whole while all of them together take at most this many bytes.
const KEPT: usize = 16 << 20;

/// Number of bytes behind the removed ones that are kept of a message that comes later.
const BEHIND: usize = 6;

/// No more messages may be sent while those in flight take this many bytes.
const MOST: usize = 64 << 20;

/// At most this many messages in flight are read back from files: more would keep more files open.
const FILES: usize = 8;

/// Number of bytes read at a time from a file.
const CHUNK: usize = 1 << 16;

/// Verifies replies of an echo server against the messages that were sent.
///
/// The memory is bounded, whatever the length and number of the messages:
///
/// - a message that was [`sent`](Self::sent) is kept whole while all of them together take at most
///   16 MiB, so a difference is found at its byte;
/// - of a longer one that is [in a file](Self::sent_from) only the start is kept, and its reply is
///   compared with the file while it streams through;
/// - beyond these limits only the length, the first bytes (at most 46) and a CRC-32 of the expected reply
///   are kept: that it is wrong is known then, but not at which byte;
/// - at 64 MiB the checker [is full](Self::is_full): no more messages may be sent until a reply has come.
///   At least 300,000 messages without a reply are possible, of any length.
#[derive(Debug)]
pub struct Checker {
    /// Size of a length on the wire in bytes.
    header: usize,
    sent: VecDeque<Sent>,
    kept: Kept,
    /// Where the messages with [`Rest::File`] begin, oldest first.
    files: VecDeque<(Arc<File>, u64)>,
    /// Number of the reply at hand, the first being 1.
    number: u64,
    reply: Reply,
}

/// A message in flight. 16 bytes, since there may be very many.
#[derive(Clone, Copy, Debug)]
struct Sent {
    length: u32,
    /// Number of its first bytes that are kept.
    kept: u32,
    rest: Rest,
}

/// What is known of a message's bytes that are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// There are none.
    Nothing,
    /// They are in the oldest of the files.
    File,
    /// The CRC-32 of the whole expected reply.
    Crc(u32),
}

/// A message that stands in a file.
#[derive(Clone, Debug)]
pub struct Filed {
    /// The file.
    pub file: Arc<File>,
    /// Where in the file the message begins.
    pub offset: u64,
    /// The message's length in bytes.
    pub length: u32,
    /// Its first bytes: all of them, or at least [`START_BYTES`](Checker::START_BYTES).
    pub start: Box<[u8]>,
    /// The CRC-32 of the reply to it: see [`removed`].
    pub crc: u32,
}

/// Number of bytes at the front of a message that an echo server removes, if `start` are its first
/// bytes: all of them, or at least 40. `None` when its first ten characters are not UTF-8, so that a
/// server refuses it.
#[must_use]
pub fn removed(start: &[u8]) -> Option<usize> {
    match prefix_of_chars(start, REMOVED_CHARS) {
        Prefix::Whole(bytes) => Some(bytes),
        Prefix::Short => Some(start.len()),
        Prefix::Truncated | Prefix::Invalid(_) => None,
    }
}

/// The first bytes of messages, oldest first, in one piece of memory.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Number of bytes at the front that are not needed any more.
    gone: usize,
}

impl Kept {
    fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    fn get(&self, offset: usize, length: u32) -> &[u8] {
        let at = self.gone + offset;
        &self.bytes[at..at + length as usize]
    }

    fn pop(&mut self, length: u32) {
        self.gone += length as usize;
        // Half of it at a time, so that each byte is moved once on average.
        if self.gone * 2 >= self.bytes.len() {
            self.bytes.drain(..self.gone);
            self.gone = 0;
            self.bytes.shrink_to(CHUNK.max(self.bytes.len() * 2));
        }
    }
}

/// What has come of a reply that did not come whole and right at once.
#[derive(Debug, Default)]
struct Reply {
    start: Vec<u8>,
    crc: crc32fast::Hasher,
    first: Option<First>,
}

/// The first difference: its offset, and some of what came and was expected from there on.
#[derive(Debug, Default)]
struct First {
    at: u64,
    /// Whether the offset is known exactly. Kept here, since the difference is reported with a later piece.
    is_exact: bool,
    got: Vec<u8>,
    expected: Vec<u8>,
}

/// Why a reply is not accepted.
#[derive(Debug)]
pub enum Wrong {
    /// It is not what was expected.
    Reply(Box<Difference>),
    /// The first ten characters of its message are not UTF-8: the protocol has the server refuse that.
    Refusable {
        /// Which one it is, the first being 1.
        number: u64,
    },
    /// The message could not be read back from its file.
    Unreadable(io::Error),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(difference) => difference.fmt(f),
            Self::Refusable { number } => write!(
                f,
                "reply {number} answers a message whose first ten characters are not UTF-8, which a \
                 server has to refuse"
            ),
            Self::Unreadable(e) => write!(f, "cannot read the message back: {e}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// A reply that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which reply it is, the first being 1.
    pub number: u64,
    /// Offset of the first byte in it that differs; a lower limit if it is not [exact](Self::is_exact).
    pub at: u64,
    /// Whether the offset is known exactly.
    pub is_exact: bool,
    /// Its length in bytes.
    pub length: u64,
    /// The length of the expected reply in bytes.
    pub expected_length: u64,
    /// What came from there on.
    pub got: Excerpt,
    /// What was expected from there on.
    pub expected: Excerpt,
    /// What the server has probably done.
    pub mistake: Option<Mistake>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, at, is_exact, length, expected_length, got, expected, mistake } = self;
        if *is_exact {
            write!(f, "reply {number} is wrong at byte {at}: got {got}, expected {expected}")?;
        } else {
            write!(f, "reply {number} is wrong somewhere behind byte {at}")?;
        }
        if length != expected_length {
            write!(f, " ({length} bytes, expected {expected_length})")?;
        }
        mistake.map_or(Ok(()), |mistake| write!(f, "; probably {mistake}"))
    }
}

/// A few bytes of a longer text. `Display` writes them in quotes, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    bytes: Box<[u8]>,
    is_cut: bool,
}

impl Excerpt {
    const BYTES: usize = 40;

    /// The start of `text`, of which there are `total` bytes in all.
    fn new(text: &[u8], total: u64) -> Self {
        let mut end = text.len().min(Self::BYTES);
        // Not inside a character, where it is one.
        if let Err(e) = std::str::from_utf8(&text[..end])
            && e.error_len().is_none()
            && (end as u64) < total
        {
            end = e.valid_up_to();
        }
        Self { bytes: text[..end].into(), is_cut: (end as u64) < total }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes.is_empty() {
            return f.write_str(if self.is_cut { "more" } else { "its end" });
        }
        let more = if self.is_cut { "..." } else { "" };
        write!(f, "{}{more}", Quote::new(&self.bytes))
    }
}

/// What a server has probably done instead of removing the first ten characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The whole message came back.
    NothingRemoved,
    /// Another number of characters was removed.
    CharsRemoved(usize),
    /// This many bytes were removed, which is not a matter of characters.
    BytesRemoved(u64),
    /// Nothing came back.
    Empty,
    /// Letters were changed to upper case.
    UpperCase,
    /// Letters were changed to lower case.
    LowerCase,
    /// This byte, or `\r\n` for a newline, was added.
    Added(u8),
    /// The length counts characters, the payload has bytes.
    CharsCounted,
    /// Only this many bytes of the message were answered.
    Truncated(u64),
    /// The next message was taken for a part of this one.
    Merged,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingRemoved => "nothing was removed",
            Self::CharsRemoved(1) => "1 character was removed, not ten",
            Self::CharsRemoved(n) => return write!(f, "{n} characters were removed, not ten"),
            Self::BytesRemoved(10) => "ten bytes were removed, not ten characters",
            Self::BytesRemoved(1) => "1 byte was removed, not ten characters",
            Self::BytesRemoved(n) => {
                return write!(f, "{n} bytes were removed, not ten characters");
            }
            Self::Empty => "an empty reply stands for an error",
            Self::UpperCase => "it was changed to upper case",
            Self::LowerCase => "it was changed to lower case",
            Self::Added(b'\n') => "a newline was added",
            Self::Added(0) => "a NUL byte was added",
            Self::Added(byte) => return write!(f, "the byte {byte:#04x} was added"),
            Self::CharsCounted => "its length counts characters, not bytes",
            Self::Truncated(n) => {
                return write!(f, "only the first {n} bytes of the message were read");
            }
            Self::Merged => "two messages were merged into one",
        })
    }
}

impl Checker {
    /// Number of first bytes of a message that [`Filed::start`] has, unless the message is shorter.
    pub const START_BYTES: usize = START;

    /// Returns a checker for lengths of `header` bytes (2 or 4). Nothing has been sent.
    #[must_use]
    pub fn new(header: usize) -> Self {
        Self {
            header,
            sent: VecDeque::new(),
            kept: Kept::default(),
            files: VecDeque::new(),
            number: 1,
            reply: Reply::default(),
        }
    }

    /// Whether messages in flight take all the memory that they may take: no more may be sent until a
    /// reply has come.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // Also what is not needed any more: it is memory.
        self.kept.bytes.len() + self.entries() >= MOST
    }

    /// Number of bytes that messages in flight take besides their text.
    fn entries(&self) -> usize {
        self.sent.len() * size_of::<Sent>()
    }

    /// Takes note of a message that was sent, which has fewer than 2^32 bytes.
    pub fn sent(&mut self, message: &[u8]) {
        let kept = self.part(message, message.len());
        let rest = if kept.len() == message.len() {
            Rest::Nothing
        } else {
            Rest::Crc(crc32fast::hash(removed(kept).map_or(message, |n| &message[n..])))
        };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.push(length, kept, rest);
    }

    /// Takes note of a message that was sent and stands in a file.
    pub fn sent_from(&mut self, message: &Filed) {
        let rest = if self.files.len() < FILES {
            self.files.push_back((Arc::clone(&message.file), message.offset));
            Rest::File
        } else {
            Rest::Crc(message.crc)
        };
        let kept = self.part(&message.start, START);
        self.push(message.length, kept, rest);
    }

    /// Returns what is to be kept of a message that starts with `start`: at most `count` bytes.
    fn part<'m>(&self, start: &'m [u8], count: usize) -> &'m [u8] {
        let count = if self.kept.len() + self.entries() + count <= KEPT {
            count
        } else {
            // When a server has to refuse it: enough to see that.
            removed(start).unwrap_or(4 * REMOVED_CHARS) + BEHIND
        };
        &start[..start.len().min(count)]
    }

    fn push(&mut self, length: u32, kept: &[u8], rest: Rest) {
        self.kept.bytes.extend_from_slice(kept);
        // Never more than the message has.
        let kept = u32::try_from(kept.len()).unwrap_or(length);
        self.sent.push_back(Sent { length, kept, rest });
    }

    /// The number of the oldest message in flight, the first being 1, if a server has to refuse it: its
    /// first ten characters are not UTF-8.
    #[must_use]
    pub fn refusable(&self) -> Option<u64> {
        let sent = self.sent.front()?;
        removed(self.kept.get(0, sent.kept)).is_none().then_some(self.number)
    }

    /// Compares a piece of the next reply with what was expected.
    ///
    /// # Errors
    ///
    /// [`Wrong`], at the latest with the last piece of the reply.
    pub fn check(&mut self, piece: Piece<'_>) -> Result<(), Wrong> {
        // A reply without a message is an error of the machine.
        let Some(sent) = self.sent.front() else { return Ok(()) };
        let start = self.kept.get(0, sent.kept);
        let Some(removed) = removed(start) else {
            return Err(Wrong::Refusable { number: self.number });
        };
        let known = &start[removed..];
        let is_whole = sent.rest == Rest::Nothing && piece.is_first() && piece.is_last();
        if !is_whole || piece.bytes != known {
            self.compare(piece, removed)?;
        }
        if piece.is_last() {
            self.number += 1;
            self.reply = Reply::default();
            if let Some(Sent { kept, rest, .. }) = self.sent.pop_front() {
                self.kept.pop(kept);
                if rest == Rest::File {
                    self.files.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Compares a piece of a reply that did not come whole and right at once.
    fn compare(&mut self, piece: Piece<'_>, removed: usize) -> Result<(), Wrong> {
        let Self { sent, kept, files, reply, .. } = self;
        let Some(&Sent { length, kept: count, rest }) = sent.front() else { return Ok(()) };
        let known = &kept.get(0, count)[removed..];
        let expected_length = u64::from(length) - removed as u64;
        let length =
            u64::from(piece.offset) + piece.bytes.len() as u64 + u64::from(piece.remaining);
        reply.start.extend(piece.bytes.iter().take(START - reply.start.len()));

        if reply.first.is_none() {
            let file = files.front().filter(|_| rest == Rest::File);
            reply.first = first_difference(piece, known, expected_length, file, removed)
                .map_err(Wrong::Unreadable)?;
            if let Rest::Crc(crc) = rest {
                reply.crc.update(piece.bytes);
                let known = known.len() as u64;
                let is_other = piece.is_last() && reply.crc.clone().finalize() != crc;
                // Of what is not kept it is only known that it differs.
                if reply.first.as_ref().map_or(is_other, |first| first.at >= known) {
                    reply.first = Some(First { at: known, ..First::default() });
                }
            }
        }
        // Not before enough of it has come to find the mistake.
        if !piece.is_last() && reply.start.len() < START {
            return Ok(());
        }
        let Some(First { at, is_exact, got, expected }) = reply.first.take() else { return Ok(()) };
        // Rather than the piece, which ends wherever the read did.
        let came = usize::try_from(at).ok().and_then(|at| reply.start.get(at..));
        let got = came.filter(|came| came.len() > got.len()).unwrap_or(&got);
        Err(Wrong::Reply(Box::new(Difference {
            number: self.number,
            at,
            is_exact,
            length,
            expected_length,
            got: Excerpt::new(got, length.saturating_sub(at)),
            expected: Excerpt::new(&expected, expected_length.saturating_sub(at)),
            mistake: self.mistake(removed, length),
        })))
    }

    /// Returns what the server has probably done for the reply at hand, which has `length` bytes.
    fn mistake(&self, removed: usize, length: u64) -> Option<Mistake> {
        let start = |index: usize, offset| {
            let Sent { length, kept, .. } = self.sent.get(index)?;
            let bytes = self.kept.get(offset, *kept);
            Some(Text { bytes: &bytes[..bytes.len().min(START)], length: u64::from(*length) })
        };
        let message = start(0, 0)?;
        let next = start(1, self.sent.front()?.kept as usize);
        let reply = Text { bytes: &self.reply.start, length };
        mistake(message, removed, reply, next, self.header)
    }
}

/// The first byte in which a piece differs from the expected reply, of which `known` is the start.
fn first_difference(
    piece: Piece<'_>,
    known: &[u8],
    expected_length: u64,
    file: Option<&(Arc<File>, u64)>,
    removed: usize,
) -> io::Result<Option<First>> {
    let offset = u64::from(piece.offset);
    let some = |bytes: &[u8]| bytes[..bytes.len().min(Excerpt::BYTES)].to_vec();
    let differs = |at: usize, expected: &[u8]| First {
        at: offset + at as u64,
        is_exact: true,
        got: some(&piece.bytes[at..]),
        expected: some(expected),
    };
    let behind = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    // Up to here it may be right.
    let end = piece.bytes.len().min(behind(expected_length.saturating_sub(offset)));
    let mut at = 0;
    let known = known.get(behind(offset)..).unwrap_or_default();
    let common = known.len().min(end);
    if let Some(n) = position(&known[..common], &piece.bytes[..common]) {
        return Ok(Some(differs(n, &known[n..])));
    }
    at += common;
    if let Some((file, start)) = file {
        let mut chunk = [0; CHUNK];
        while at < end {
            let place = start + removed as u64 + offset + at as u64;
            let chunk = &mut chunk[..CHUNK.min(end - at)];
            file.read_exact_at(chunk, place)?;
            if let Some(n) = position(chunk, &piece.bytes[at..at + chunk.len()]) {
                return Ok(Some(differs(at + n, &chunk[n..])));
            }
            at += chunk.len();
        }
    }
    let is_longer = end < piece.bytes.len();
    let is_shorter = piece.is_last() && offset + (piece.bytes.len() as u64) < expected_length;
    if !is_longer && !is_shorter {
        return Ok(None);
    }
    Ok(Some(differs(end, known.get(end..).unwrap_or_default())))
}

/// Where two texts of the same length differ.
fn position(one: &[u8], other: &[u8]) -> Option<usize> {
    // All at once first: it nearly never does.
    if one == other { None } else { one.iter().zip(other).position(|(a, b)| a != b) }
}

/// The start of a text, and the length of all of it.
#[derive(Clone, Copy, Debug)]
struct Text<'t> {
    bytes: &'t [u8],
    length: u64,
}

impl<'t> Text<'t> {
    fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }

    /// All behind the first `n` bytes.
    fn behind(self, n: usize) -> Option<Self> {
        let length = self.length.checked_sub(n as u64)?;
        Some(Self { bytes: self.bytes.get(n..)?, length })
    }

    /// Whether one starts as the other, as far as both are known.
    fn starts_as(self, other: &[u8]) -> bool {
        self.bytes.iter().zip(other).all(|(a, b)| a == b)
    }

    /// Whether it is the other, as far as both are known, which is at least a byte.
    fn is(self, other: Self) -> bool {
        self.length == other.length
            && !self.bytes.is_empty()
            && !other.bytes.is_empty()
            && self.starts_as(other.bytes)
    }
}

/// Returns what a server has probably done that sent `reply` to `message`, of which `removed` bytes were to
/// be removed. `next` is the message behind it, if that was sent already.
fn mistake(
    message: Text<'_>,
    removed: usize,
    reply: Text<'_>,
    next: Option<Text<'_>>,
    header: usize,
) -> Option<Mistake> {
    let expected = message.behind(removed)?;
    if reply.length == 0 {
        return Some(Mistake::Empty);
    }
    if reply.length == expected.length && reply.starts_as(expected.bytes) {
        // It differs where no one can see why.
        return None;
    }
    if reply.is(message) {
        return Some(Mistake::NothingRemoved);
    }
    if let Some(count) = message.length.checked_sub(reply.length)
        && let Ok(n) = usize::try_from(count)
        && message.behind(n).is_some_and(|tail| reply.is(tail))
    {
        let chars = (1..=2 * REMOVED_CHARS)
            .find(|chars| prefix_of_chars(message.bytes, *chars) == Prefix::Whole(n));
        return Some(match chars {
            Some(chars) if n != REMOVED_CHARS => Mistake::CharsRemoved(chars),
            _ => Mistake::BytesRemoved(count),
        });
    }
    for like in [expected, message] {
        let is_same = |change: fn(&str) -> String| {
            let (text, got) = (valid(like.bytes), valid(reply.bytes));
            let changed = change(text);
            let common = changed.len().min(got.len());
            reply.length == like.length
                && !reply.starts_as(like.bytes)
                && changed.get(..common) == got.get(..common)
        };
        if is_same(str::to_uppercase) || is_same(str::to_ascii_uppercase) {
            return Some(Mistake::UpperCase);
        }
        if is_same(str::to_lowercase) || is_same(str::to_ascii_lowercase) {
            return Some(Mistake::LowerCase);
        }
    }
    let starts_right = reply.starts_as(expected.bytes);
    if starts_right && reply.is_whole() && expected.is_whole() {
        let behind = reply.bytes.get(expected.bytes.len()..).unwrap_or_default();
        match behind {
            [b'\n'] | [b'\r', b'\n'] => return Some(Mistake::Added(b'\n')),
            [byte] => return Some(Mistake::Added(*byte)),
            _ => {}
        }
        let chars = valid(expected.bytes).chars().count() as u64;
        if chars == reply.length {
            return Some(Mistake::CharsCounted);
        }
    }
    if let Some(next) = next
        && reply.length > expected.length
        && is_merged(message, expected, reply, next, header)
    {
        return Some(Mistake::Merged);
    }
    let is_cut = starts_right && reply.length < expected.length;
    is_cut.then_some(Mistake::Truncated(removed as u64 + reply.length))
}

/// Whether the reply is one to two messages.
fn is_merged(
    message: Text<'_>,
    expected: Text<'_>,
    reply: Text<'_>,
    next: Text<'_>,
    header: usize,
) -> bool {
    let count = removed(next.bytes).unwrap_or_default();
    let next_expected = next.behind(count).unwrap_or(next);
    let length = next.length.to_be_bytes();
    let header = Text { bytes: &length[length.len() - header..], length: header as u64 };
    let joined = |parts: &[Text<'_>], removed: usize| {
        // Up to the first that is not known whole.
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part.bytes);
            if !part.is_whole() {
                break;
            }
        }
        let length = parts.iter().map(|part| part.length).sum();
        Text { bytes: &bytes, length }.behind(removed).is_some_and(|text| reply.is(text))
    };
    // The ten characters of a short message end in the next one.
    let both = removed(&[message.bytes, next.bytes].concat()).unwrap_or_default();
    joined(&[message, next], both)
        || joined(&[expected, next], 0)
        || joined(&[expected, next_expected], 0)
        || joined(&[expected, header, next], 0)
}

/// The start of it that is UTF-8.
fn valid(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Returns what is said of these replies, which come in pieces of `piece` bytes.
    fn checked(messages: &[&[u8]], replies: &[&[u8]], piece: usize) -> Result<(), String> {
        let mut checker = Checker::new(4);
        for message in messages {
            checker.sent(message);
        }
        replies.iter().try_for_each(|reply| come(&mut checker, reply, piece))
    }

    fn come(checker: &mut Checker, reply: &[u8], piece: usize) -> Result<(), String> {
        let mut offset = 0;
        loop {
            let end = reply.len().min(offset + piece);
            let piece = Piece {
                offset: offset as u32,
                bytes: &reply[offset..end],
                remaining: (reply.len() - end) as u32,
            };
            checker.check(piece).map_err(|wrong| wrong.to_string())?;
            if piece.is_last() {
                return Ok(());
            }
            offset = end;
        }
    }

    #[test]
    fn right_replies_are_accepted_however_they_come() {
        let long = "0123456789".repeat(1000);
        let messages: [&[u8]; 6] = [
            b"",
            b"short",
            b"0123456789abc",
            "äöüäöüäöüä and more".as_bytes(),
            b"ten chars!\xff\xc3",
            long.as_bytes(),
        ];
        let replies: [&[u8]; 6] =
            [b"", b"", b"abc", b" and more", b"\xff\xc3", &long.as_bytes()[10..]];
        for piece in [1, 2, 7, 255, 256, 257, 100_000] {
            assert_eq!(checked(&messages, &replies, piece), Ok(()));
        }
    }

    #[test]
    fn a_wrong_reply_is_named_with_its_place_and_the_likely_mistake() {
        let one: &[u8] = b"0123456789abcdef and the rest";
        let umlauts = "äöüäöüäöüäabcdef and ß".as_bytes();
        for (message, reply, text) in [
            (
                one,
                one,
                r#"at byte 0: got "0123456789abcdef and the rest", expected "abcdef and the rest" (29 bytes, expected 19); probably nothing was removed"#,
            ),
            (
                umlauts,
                &umlauts[10..],
                r#"at byte 0: got "üäöüäabcdef and ß", expected "abcdef and ß" (23 bytes, expected 13); probably ten bytes were removed, not ten characters"#,
            ),
            (
                one,
                &one[11..],
                r#"at byte 0: got "bcdef and the rest", expected "abcdef and the rest" (18 bytes, expected 19); probably 11 characters were removed, not ten"#,
            ),
            (
                umlauts,
                &umlauts[21..],
                r#"at byte 0: got "bcdef and ß", expected "abcdef and ß" (12 bytes, expected 13); probably 11 characters were removed, not ten"#,
            ),
            (umlauts, &umlauts[11..], r#"; probably 11 bytes were removed, not ten characters"#),
            (
                one,
                b"ABCDEF AND THE REST",
                r#"at byte 0: got "ABCDEF AND THE REST", expected "abcdef and the rest"; probably it was changed to upper case"#,
            ),
            (one, b"0123456789ABCDEF AND THE REST", "probably it was changed to upper case"),
            (
                one,
                b"",
                r#"at byte 0: got its end, expected "abcdef and the rest" (0 bytes, expected 19); probably an empty reply stands for an error"#,
            ),
            (
                one,
                b"abcdef and the rest\n",
                r#"at byte 19: got "\n", expected its end (20 bytes, expected 19); probably a newline was added"#,
            ),
            (one, b"abcdef and the rest\0", "probably a NUL byte was added"),
            (
                umlauts,
                &umlauts[20..umlauts.len() - 1],
                r#"at byte 12: got its end, expected "\x9f" (12 bytes, expected 13); probably its length counts characters, not bytes"#,
            ),
            (
                one,
                b"abcdef",
                r#"at byte 6: got its end, expected " and the rest" (6 bytes, expected 19); probably only the first 16 bytes of the message were read"#,
            ),
            (one, b"abcdef and the best", r#"at byte 15: got "best", expected "rest""#),
            (
                b"short",
                b"short",
                r#"at byte 0: got "short", expected its end (5 bytes, expected 0); probably nothing was removed"#,
            ),
        ] {
            for piece in [1, 5, 1000] {
                let said = checked(&[b"", message], &[b"", reply], piece).unwrap_err();
                let said = said.strip_prefix("reply 2 is wrong ").unwrap();
                if piece == 1000 {
                    assert!(said.ends_with(text), "{said}\n{text}");
                }
                let mistake = |text: &str| text.rsplit_once("probably").map(|(_, m)| m.to_owned());
                assert_eq!(mistake(said), mistake(text), "{piece}");
            }
        }
    }

    #[test]
    fn two_messages_merged_into_one_are_named() {
        let long = [&b"0123456789"[..], &[b'x'; 5000]].concat();
        for (one, two) in [
            (&b"0123456789abc"[..], &b"9876543210xyz"[..]),
            (b"short", b"and the next one"),
            (&long, b"9876543210xyz"),
        ] {
            let both = [one, two].concat();
            let expected = [&one[10.min(one.len())..], &two[10..]].concat();
            let header = u32::try_from(two.len()).unwrap().to_be_bytes();
            let framed = [&one[10.min(one.len())..], &header, two].concat();
            for reply in [&both[10..], &expected, &framed] {
                let said = checked(&[one, two], &[reply], 100_000).unwrap_err();
                assert!(said.ends_with("; probably two messages were merged into one"), "{said}");
            }
        }
    }

    #[test]
    fn a_reply_to_what_is_no_text_is_not_accepted() {
        for message in [&b"abc\xff and some more"[..], b"012345678\xc3"] {
            let mut checker = Checker::new(4);
            checker.sent(message);
            assert_eq!(checker.refusable(), Some(1));
            let said = come(&mut checker, b"", 10).unwrap_err();
            assert!(said.starts_with("reply 1 answers a message whose first ten"), "{said}");
        }
        assert_eq!(Checker::new(4).refusable(), None);
    }

    #[test]
    fn a_long_message_is_compared_with_its_file() {
        let message: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
        let message = [b"0123456789", &message[..]].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(&message).unwrap();
        let filed = Filed {
            file: Arc::new(file),
            offset: 6,
            length: u32::try_from(message.len()).unwrap(),
            start: message[..Checker::START_BYTES].into(),
            crc: crc32fast::hash(&message[10..]),
        };
        for at in [None, Some(5), Some(246), Some(247), Some(700_001), Some(1_199_999)] {
            let mut reply = message[10..].to_vec();
            if let Some(at) = at {
                reply[at] ^= 1;
            }
            for piece in [1000, 65_536, 2_000_000] {
                // The last of them is known by its checksum only.
                let mut checker = Checker::new(4);
                for _ in 0..=FILES {
                    checker.sent_from(&filed);
                }
                let said = come(&mut checker, &reply, piece);
                match at {
                    None => {
                        for _ in 0..FILES {
                            assert_eq!(come(&mut checker, &reply, piece), Ok(()));
                        }
                        assert_eq!((checker.files.len(), checker.sent.len()), (0, 0));
                    }
                    Some(at) => {
                        let start = format!("reply 1 is wrong at byte {at}: got ");
                        assert!(said.unwrap_err().starts_with(&start));
                    }
                }
            }
        }
        let mut checker = Checker::new(4);
        for _ in 0..=FILES {
            checker.sent_from(&filed);
        }
        for _ in 0..FILES {
            come(&mut checker, &message[10..], 65_536).unwrap();
        }
        let mut reply = message[10..].to_vec();
        reply[700_000] ^= 1;
        let said = come(&mut checker, &reply, 65_536).unwrap_err();
        assert_eq!(said, format!("reply {} is wrong somewhere behind byte 246", FILES + 1));
    }

    #[test]
    fn a_difference_is_reported_alike_wherever_the_reply_is_cut() {
        let message = [b"0123456789", &[b'x'; 230][..]].concat();
        let reply = &message[10..];
        let [too_long, far_too_long] =
            [10, 1000].map(|more| [reply, &vec![b'x'; more][..]].concat());
        let mut early = too_long.clone();
        early[3] = b'y';
        let mut late = reply.to_vec();
        late[225] = b'y';
        for (reply, at, is_exact) in [
            (&too_long, 40, false),
            (&far_too_long, 40, false),
            (&early, 3, true),
            (&late, 40, false),
            (&reply[..200].to_vec(), 40, false),
            (&reply[..30].to_vec(), 30, true),
        ] {
            let said = |cut: usize| {
                // Only its first 50 bytes are kept, and a checksum.
                let mut checker = Checker::new(4);
                let crc = Rest::Crc(crc32fast::hash(&message[10..]));
                checker.push(240, &message[..50], crc);
                let mut check = |offset: usize, bytes: &[u8]| {
                    let remaining = (reply.len() - offset - bytes.len()) as u32;
                    checker.check(Piece { offset: offset as u32, bytes, remaining })
                };
                let (front, back) = reply.split_at(cut);
                match check(0, front).and_then(|()| check(cut, back)) {
                    Err(Wrong::Reply(difference)) => *difference,
                    other => panic!("{cut}: {other:?}"),
                }
            };
            let whole = said(0);
            assert_eq!((whole.at, whole.is_exact), (at, is_exact));
            for cut in 1..reply.len() {
                let Difference { at, is_exact, length, mistake, .. } = said(cut);
                assert_eq!(
                    (at, is_exact, length, mistake),
                    (whole.at, whole.is_exact, whole.length, whole.mistake),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn memory_for_what_is_in_flight_is_bounded_and_returned() {
        let mut checker = Checker::new(4);
        let message = vec![b'x'; 60_000];
        for _ in 0..1000 {
            checker.sent(&message);
        }
        // Of the others only their start.
        let most = KEPT + 1000 * (10 + BEHIND);
        assert!(checker.kept.len() <= most, "{}", checker.kept.len());
        for n in 0..1000 {
            come(&mut checker, &message[10..], 65_536).unwrap_or_else(|e| panic!("{n}: {e}"));
        }
        assert_eq!((checker.kept.len(), checker.sent.len()), (0, 0));
        assert!(checker.kept.bytes.capacity() <= 2 * CHUNK);
        // One of those is known by its checksum: that it is wrong is seen.
        for _ in 0..1000 {
            checker.sent(&message);
        }
        for _ in 0..999 {
            come(&mut checker, &message[10..], 65_536).unwrap();
        }
        let mut reply = message[10..].to_vec();
        reply[50_000] = b'y';
        let said = come(&mut checker, &reply, 65_536).unwrap_err();
        assert_eq!(said, "reply 2000 is wrong somewhere behind byte 6");
    }

    #[test]
    fn messages_without_replies_fill_the_checker_and_each_is_verified() {
        let astral = "😀".repeat(10) + &"and more".repeat(30);
        for (message, removed, least) in [("", 0, 4_000_000), (&astral, 40, 850_000)] {
            let mut checker = Checker::new(4);
            let held = |checker: &Checker| checker.kept.bytes.len() + checker.entries();
            let mut sent = 0;
            while !checker.is_full() {
                checker.sent(message.as_bytes());
                sent += 1;
            }
            assert!(sent > least && held(&checker) < MOST + START, "{sent}");
            // Memory stays bounded when replies come and others take the place of their messages.
            let reply = &message.as_bytes()[removed..];
            let mut fewest = sent;
            for n in 0..sent.min(1_000_000) {
                come(&mut checker, reply, 100_000).unwrap_or_else(|e| panic!("{n}: {e}"));
                fewest = fewest.min(checker.sent.len());
                while !checker.is_full() {
                    checker.sent(message.as_bytes());
                }
            }
            assert!(fewest > 300_000 && held(&checker) < MOST + START, "{fewest}");
            come(&mut checker, &[reply, b"!"].concat(), 100_000).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_kept_whole_is_still_refusable_or_wrong() {
        let mut checker = Checker::new(4);
        while checker.part(&[b'x'; 200], 200).len() == 200 {
            checker.sent(&[b'x'; 200]);
        }
        let full = checker.sent.len();
        checker.sent(&[&b"012345678\xff"[..], &[b'x'; 190]].concat());
        for _ in 0..full {
            come(&mut checker, &[b'x'; 190], 1000).unwrap();
        }
        assert_eq!(checker.refusable(), Some(full as u64 + 1));
        let said = come(&mut checker, b"", 10).unwrap_err();
        assert!(said.contains("answers a message whose first ten"), "{said}");

        let message = [&b"0123456789abcdef"[..], &[b'x'; 184]].concat();
        let mut other = message[10..].to_vec();
        other[100] = b'y';
        for (reply, end) in [
            (&other[..], " is wrong somewhere behind byte 6"),
            (&b"ABCDEFX"[..], "expected \"abcdef\"... (7 bytes, expected 190)"),
            (&message, "(200 bytes, expected 190); probably nothing was removed"),
        ] {
            let mut checker = Checker::new(4);
            while checker.part(&message, 200).len() == 200 {
                checker.sent(&message);
            }
            checker.sent(&message);
            while checker.sent.len() > 1 {
                come(&mut checker, &message[10..], 1000).unwrap();
            }
            let said = come(&mut checker, reply, 1000).unwrap_err();
            assert!(said.ends_with(end), "{said}");
        }
    }
}
