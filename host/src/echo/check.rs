//! Verification of the replies of an echo server.

mod difference;
mod mistake;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use socklab_core::echo::REMOVED_CHARS;
use socklab_core::echo::client::Piece;
use socklab_core::wire::{Prefix, prefix_of_chars};

pub use self::difference::{Difference, Excerpt, Wrong};
pub use self::mistake::Mistake;
use self::mistake::{Text, mistake};
use crate::sys::read::read_exact_at;

/// Number of bytes of a message or a reply that are examined to find a likely mistake.
const START: usize = 256;

/// Maximum memory in bytes for messages in flight that are kept whole.
const KEPT_MAX: usize = 16 << 20;

/// Number of bytes after the removed ones that are kept of a message beyond [`KEPT_MAX`].
const AFTER_REMOVED: usize = 6;

/// Memory in bytes of the messages in flight at which no more may be sent.
const MEMORY_MAX: usize = 64 << 20;

/// Maximum number of messages in flight that are read back from files. It limits the number of open files.
const FILES_MAX: usize = 8;

/// Number of bytes in one read of a file.
const CHUNK: usize = 1 << 16;

/// Verifier of an echo server's replies to the messages that were sent.
///
/// The memory is bounded, independent of the length and number of the messages:
///
/// - A [sent](Self::record_sent) message is kept whole while all of them together take at most 16 MiB. A difference is then
///   reported with its exact offset.
/// - Of a longer message that is [in a file](Self::record_sent_file), only the start is kept. The reply is compared with the
///   file while it is received.
/// - Beyond these limits, only the length, the first bytes (at most 46) and a CRC-32 of the expected reply are kept. A
///   wrong reply is detected, but without the exact offset.
/// - At 64 MiB the checker [is full](Self::is_full): no more messages may be sent until a reply has been received. At
///   least 300,000 messages without a reply are possible, of any length.
#[derive(Debug)]
pub struct Checker {
    /// Size of a length on the wire in bytes.
    header: usize,
    /// Messages in flight, oldest first.
    sent: VecDeque<Sent>,
    /// First bytes of these messages.
    kept: KeptBytes,
    /// File and offset of each message with [`Rest::File`], oldest first.
    files: VecDeque<(Arc<File>, u64)>,
    /// Number of the current reply, starting at 1.
    number: u64,
    reply: Reply,
}

/// Message in flight. It has 16 bytes, since there may be very many.
#[derive(Clone, Copy, Debug)]
struct Sent {
    length: u32,
    /// Number of its first bytes that are kept.
    kept: u32,
    rest: Rest,
}

/// How the bytes of a message that are not kept are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// All bytes are kept.
    Nothing,
    /// With the file. Messages and [`Checker::files`] have the same order.
    File,
    /// With this CRC-32 of the whole expected reply.
    Crc(u32),
}

/// Message that is stored in a file.
#[derive(Clone, Debug)]
pub struct FileMessage {
    /// File that contains the message.
    pub file: Arc<File>,
    /// Offset of the message in the file.
    pub offset: u64,
    /// Length of the message in bytes.
    pub length: u32,
    /// First bytes of the message: all of them, or at least [`START_BYTES`](Checker::START_BYTES).
    pub start: Box<[u8]>,
    /// CRC-32 of the expected reply, which is the message without the [`removed`] bytes.
    pub crc: u32,
}

/// Returns the number of bytes that an echo server removes from the front of a message.
///
/// `start` are the first bytes of the message: all of them, or at least 40. Returns `None` if the first ten characters
/// are not UTF-8, so that a server must refuse the message.
#[must_use]
pub fn removed(start: &[u8]) -> Option<usize> {
    match prefix_of_chars(start, REMOVED_CHARS) {
        Prefix::Whole(bytes) => Some(bytes),
        Prefix::Short => Some(start.len()),
        Prefix::Truncated | Prefix::Invalid(_) => None,
    }
}

/// First bytes of messages, oldest first, in one buffer.
#[derive(Debug, Default)]
struct KeptBytes {
    bytes: Vec<u8>,
    /// Number of bytes at the front that are no longer needed.
    consumed: usize,
}

impl KeptBytes {
    fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    fn get(&self, offset: usize, length: u32) -> &[u8] {
        let at = self.consumed + offset;
        &self.bytes[at..at + length as usize]
    }

    fn pop(&mut self, length: u32) {
        self.consumed += length as usize;
        // Only when half of the buffer is consumed, so that each byte is moved once on average.
        if self.consumed * 2 >= self.bytes.len() {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
            self.bytes.shrink_to(CHUNK.max(self.bytes.len() * 2));
        }
    }
}

/// State of a reply that is received in several pieces or is wrong.
#[derive(Debug, Default)]
struct Reply {
    start: Vec<u8>,
    crc: crc32fast::Hasher,
    first: Option<FirstDifference>,
}

/// Offset of the first difference, and the start of the received and the expected bytes from there on.
#[derive(Debug, Default)]
struct FirstDifference {
    at: u64,
    /// Whether the offset is known exactly. KeptBytes here, since the difference is reported with a later piece.
    is_exact: bool,
    got: Vec<u8>,
    expected: Vec<u8>,
}

impl Checker {
    /// Minimum length of [`FileMessage::start`], unless the message is shorter.
    pub const START_BYTES: usize = START;

    /// Returns a checker for lengths of `header` bytes (2 or 4). Nothing has been sent.
    #[must_use]
    pub fn new(header: usize) -> Self {
        Self {
            header,
            sent: VecDeque::new(),
            kept: KeptBytes::default(),
            files: VecDeque::new(),
            number: 1,
            reply: Reply::default(),
        }
    }

    /// Returns whether the messages in flight take all the memory that is allowed. If so, no more may be sent until a
    /// reply has been received.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // Includes bytes that are no longer needed, since they still take memory.
        self.kept.bytes.len() + self.entries() >= MEMORY_MAX
    }

    /// Returns the memory in bytes of the messages in flight without their text.
    fn entries(&self) -> usize {
        self.sent.len() * size_of::<Sent>()
    }

    /// Records that a message was sent. It must have fewer than 2^32 bytes.
    pub fn record_sent(&mut self, message: &[u8]) {
        let kept = self.kept_part(message, message.len());
        let rest = if kept.len() == message.len() {
            Rest::Nothing
        } else {
            Rest::Crc(crc32fast::hash(removed(kept).map_or(message, |n| &message[n..])))
        };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.push(length, kept, rest);
    }

    /// Records that a message was sent that is stored in a file.
    pub fn record_sent_file(&mut self, message: &FileMessage) {
        let rest = if self.files.len() < FILES_MAX {
            self.files.push_back((Arc::clone(&message.file), message.offset));
            Rest::File
        } else {
            Rest::Crc(message.crc)
        };
        let kept = self.kept_part(&message.start, START);
        self.push(message.length, kept, rest);
    }

    /// Returns the bytes to be kept of a message that starts with `start`: at most `count`.
    fn kept_part<'m>(&self, start: &'m [u8], count: usize) -> &'m [u8] {
        let count = if self.kept.len() + self.entries() + count <= KEPT_MAX {
            count
        } else {
            // If a server must refuse the message, enough bytes to detect that.
            removed(start).unwrap_or(4 * REMOVED_CHARS) + AFTER_REMOVED
        };
        &start[..start.len().min(count)]
    }

    fn push(&mut self, length: u32, kept: &[u8], rest: Rest) {
        self.kept.bytes.extend_from_slice(kept);
        // Cannot fail: a message has fewer than 2^32 bytes.
        let kept = u32::try_from(kept.len()).unwrap_or(length);
        self.sent.push_back(Sent { length, kept, rest });
    }

    /// Returns the number of the oldest message in flight, starting at 1, if a server must refuse it because its first
    /// ten characters are not UTF-8.
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
    pub fn check(&mut self, piece: Piece<&[u8]>) -> Result<(), Wrong> {
        // A reply without a message is reported by the machine.
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

    /// Compares a piece of a reply that is received in several pieces or is wrong.
    fn compare(&mut self, piece: Piece<&[u8]>, removed: usize) -> Result<(), Wrong> {
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
                // In bytes that are not kept, the exact offset is unknown.
                if reply.first.as_ref().map_or(is_other, |first| first.at >= known) {
                    reply.first = Some(FirstDifference { at: known, ..FirstDifference::default() });
                }
            }
        }
        // Not reported before enough of the reply has been received to find the mistake.
        if !piece.is_last() && reply.start.len() < START {
            return Ok(());
        }
        let Some(FirstDifference { at, is_exact, got, expected }) = reply.first.take() else {
            return Ok(());
        };
        // Taken from the whole start, since the piece may end a few bytes after the difference.
        let received = usize::try_from(at).ok().and_then(|at| reply.start.get(at..));
        let got = received.filter(|received| received.len() > got.len()).unwrap_or(&got);
        Err(Wrong::Reply(Box::new(Difference {
            number: self.number,
            at,
            is_exact,
            length,
            expected_length,
            got: Excerpt::new(got, length.saturating_sub(at)),
            expected: Excerpt::new(&expected, expected_length.saturating_sub(at)),
            mistake: self.likely_mistake(removed, length),
        })))
    }

    /// Returns the likely mistake in the server for the current reply, which has `length` bytes.
    fn likely_mistake(&self, removed: usize, length: u64) -> Option<Mistake> {
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

/// Returns the first difference between a piece and the expected reply, which starts with `known`.
fn first_difference(
    piece: Piece<&[u8]>,
    known: &[u8],
    expected_length: u64,
    file: Option<&(Arc<File>, u64)>,
    removed: usize,
) -> io::Result<Option<FirstDifference>> {
    let offset = u64::from(piece.offset);
    let some = |bytes: &[u8]| bytes[..bytes.len().min(Excerpt::BYTES)].to_vec();
    let differs = |at: usize, expected: &[u8]| FirstDifference {
        at: offset + at as u64,
        is_exact: true,
        got: some(&piece.bytes[at..]),
        expected: some(expected),
    };
    let to_usize = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    // Bytes of the piece after this are beyond the end of the expected reply.
    let end = piece.bytes.len().min(to_usize(expected_length.saturating_sub(offset)));
    let mut at = 0;
    let known = known.get(to_usize(offset)..).unwrap_or_default();
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
            read_exact_at(file, chunk, place)?;
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

/// Returns the offset of the first difference between two texts of the same length.
fn position(one: &[u8], other: &[u8]) -> Option<usize> {
    // Compares the whole texts first, which is faster, since they are nearly always equal.
    if one == other { None } else { one.iter().zip(other).position(|(a, b)| a != b) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;

    /// Checks these replies in pieces of `piece` bytes. Returns the first error.
    pub(super) fn checked(
        messages: &[&[u8]],
        replies: &[&[u8]],
        piece: usize,
    ) -> Result<(), String> {
        let mut checker = Checker::new(4);
        for message in messages {
            checker.record_sent(message);
        }
        replies.iter().try_for_each(|reply| receive(&mut checker, reply, piece))
    }

    fn receive(checker: &mut Checker, reply: &[u8], piece: usize) -> Result<(), String> {
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
    fn correct_replies_are_accepted_in_pieces_of_any_length() {
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
    fn a_reply_to_a_message_that_is_not_utf8_is_rejected() {
        for message in [&b"abc\xff and some more"[..], b"012345678\xc3"] {
            let mut checker = Checker::new(4);
            checker.record_sent(message);
            assert_eq!(checker.refusable(), Some(1));
            let text = receive(&mut checker, b"", 10).unwrap_err();
            assert!(text.starts_with("reply 1 answers a message whose first ten"), "{text}");
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
        let stored = FileMessage {
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
                // Of the last message, only the checksum is kept.
                let mut checker = Checker::new(4);
                for _ in 0..=FILES_MAX {
                    checker.record_sent_file(&stored);
                }
                let text = receive(&mut checker, &reply, piece);
                match at {
                    None => {
                        for _ in 0..FILES_MAX {
                            assert_eq!(receive(&mut checker, &reply, piece), Ok(()));
                        }
                        assert_eq!((checker.files.len(), checker.sent.len()), (0, 0));
                    }
                    Some(at) => {
                        let start = format!("reply 1 is wrong at byte {at}: got ");
                        assert!(text.unwrap_err().starts_with(&start));
                    }
                }
            }
        }
        let mut checker = Checker::new(4);
        for _ in 0..=FILES_MAX {
            checker.record_sent_file(&stored);
        }
        for _ in 0..FILES_MAX {
            receive(&mut checker, &message[10..], 65_536).unwrap();
        }
        let mut reply = message[10..].to_vec();
        reply[700_000] ^= 1;
        let text = receive(&mut checker, &reply, 65_536).unwrap_err();
        assert_eq!(text, format!("reply {} is wrong at or after byte 246", FILES_MAX + 1));
    }

    #[test]
    fn a_difference_is_reported_independent_of_how_the_reply_is_split() {
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
            let text = |cut: usize| {
                // Only the first 50 bytes and a checksum are kept.
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
            let whole = text(0);
            assert_eq!((whole.at, whole.is_exact), (at, is_exact));
            for cut in 1..reply.len() {
                let Difference { at, is_exact, length, mistake, .. } = text(cut);
                assert_eq!(
                    (at, is_exact, length, mistake),
                    (whole.at, whole.is_exact, whole.length, whole.mistake),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn memory_for_messages_in_flight_is_bounded_and_released() {
        let mut checker = Checker::new(4);
        let message = vec![b'x'; 60_000];
        for _ in 0..1000 {
            checker.record_sent(&message);
        }
        // Of further messages only the start is kept.
        let most = KEPT_MAX + 1000 * (10 + AFTER_REMOVED);
        assert!(checker.kept.len() <= most, "{}", checker.kept.len());
        for n in 0..1000 {
            receive(&mut checker, &message[10..], 65_536).unwrap_or_else(|e| panic!("{n}: {e}"));
        }
        assert_eq!((checker.kept.len(), checker.sent.len()), (0, 0));
        assert!(checker.kept.bytes.capacity() <= 2 * CHUNK);
        // Of a later message only the checksum is kept, which is enough to detect a wrong reply.
        for _ in 0..1000 {
            checker.record_sent(&message);
        }
        for _ in 0..999 {
            receive(&mut checker, &message[10..], 65_536).unwrap();
        }
        let mut reply = message[10..].to_vec();
        reply[50_000] = b'y';
        let text = receive(&mut checker, &reply, 65_536).unwrap_err();
        assert_eq!(text, "reply 2000 is wrong at or after byte 6");
    }

    #[test]
    fn messages_without_replies_fill_the_checker_and_each_is_verified() {
        let astral = "😀".repeat(10) + &"and more".repeat(30);
        for (message, removed, least) in [("", 0, 4_000_000), (&astral, 40, 850_000)] {
            let mut checker = Checker::new(4);
            let held = |checker: &Checker| checker.kept.bytes.len() + checker.entries();
            let mut sent = 0;
            while !checker.is_full() {
                checker.record_sent(message.as_bytes());
                sent += 1;
            }
            assert!(sent > least && held(&checker) < MEMORY_MAX + START, "{sent}");
            // The memory stays bounded while replies are received and further messages are sent.
            let reply = &message.as_bytes()[removed..];
            let mut fewest = sent;
            for n in 0..sent.min(1_000_000) {
                receive(&mut checker, reply, 100_000).unwrap_or_else(|e| panic!("{n}: {e}"));
                fewest = fewest.min(checker.sent.len());
                while !checker.is_full() {
                    checker.record_sent(message.as_bytes());
                }
            }
            assert!(fewest > 300_000 && held(&checker) < MEMORY_MAX + START, "{fewest}");
            receive(&mut checker, &[reply, b"!"].concat(), 100_000).unwrap_err();
        }
    }

    #[test]
    fn a_message_that_is_not_kept_whole_is_still_verified() {
        let mut checker = Checker::new(4);
        while checker.kept_part(&[b'x'; 200], 200).len() == 200 {
            checker.record_sent(&[b'x'; 200]);
        }
        let full = checker.sent.len();
        checker.record_sent(&[&b"012345678\xff"[..], &[b'x'; 190]].concat());
        for _ in 0..full {
            receive(&mut checker, &[b'x'; 190], 1000).unwrap();
        }
        assert_eq!(checker.refusable(), Some(full as u64 + 1));
        let text = receive(&mut checker, b"", 10).unwrap_err();
        assert!(text.contains("answers a message whose first ten"), "{text}");

        let message = [&b"0123456789abcdef"[..], &[b'x'; 184]].concat();
        let mut other = message[10..].to_vec();
        other[100] = b'y';
        for (reply, end) in [
            (&other[..], " is wrong at or after byte 6"),
            (&b"ABCDEFX"[..], "expected \"abcdef\"... (7 bytes, expected 190)"),
            (&message, "(200 bytes, expected 190); probably nothing was removed"),
        ] {
            let mut checker = Checker::new(4);
            while checker.kept_part(&message, 200).len() == 200 {
                checker.record_sent(&message);
            }
            checker.record_sent(&message);
            while checker.sent.len() > 1 {
                receive(&mut checker, &message[10..], 1000).unwrap();
            }
            let text = receive(&mut checker, reply, 1000).unwrap_err();
            assert!(text.ends_with(end), "{text}");
        }
    }
}
