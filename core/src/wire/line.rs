use core::fmt;

use super::{Bytes, Dissect, Dissected, Escaped, Truncated, find, front, put_ended};
use crate::count;
use crate::machine::{CommandError, Input, Invalid, Need, StreamEnd, StreamState};

/// Maximum number of bytes of a line before its `\n`.
pub const LINE_MAX: usize = 1024;

/// Maximum number of bytes of a line with its `\n`: the size of a buffer for lines.
pub const LINE_BYTES: usize = LINE_MAX + 1;

/// A line at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Line<'i> {
    /// Text of the line: without its `\n`, and without one `\r` before that.
    pub text: &'i [u8],
    /// Number of bytes of the input that the line occupies, with its end.
    pub bytes: usize,
}

impl<'i> Line<'i> {
    /// Returns the line whose `\n` stands at this position.
    #[inline]
    pub(super) fn ending_at(at: usize, bytes: &'i [u8]) -> Self {
        let (Some([text @ .., b'\r']) | Some(text)) = bytes.get(..at) else {
            return Self { text: &[], bytes: 0 };
        };
        Self { text, bytes: count::add(at, 1) }
    }
}

/// Finds lines at the front of the input. 2 bytes.
///
/// It remembers how far it has looked, so that each byte is looked at once, in whatever pieces the bytes
/// arrive. It also remembers whether the stream has only begun: a UTF-8 byte order mark at the very start
/// belongs to no line.
///
/// [`next`](Self::next) takes a line. A machine that may have to leave the line in the input, because it has no
/// output space for the answer or because the line is an error, uses [`peek`](Self::peek) and then
/// [`take`](Self::take).
///
/// A line with its `\n` has at most `LINE` bytes. A machine that uses the scanner has `LINE` as its
/// [`MIN_INPUT`](crate::machine::Machine::MIN_INPUT): a smaller buffer can be full without a whole line in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineScanner<const LINE: usize = LINE_BYTES> {
    looked: u16,
}

/// Flag in the number of bytes looked at: something of the stream was taken. The number needs the other 15 bits.
pub(super) const BEGUN: u16 = 1 << 15;

/// Returns `bytes` without the UTF-8 byte order mark that some programs write at the start of a stream, if this
/// is the start. `looked` as in [`LineScanner`].
#[inline(never)]
pub(crate) fn unmarked(bytes: &[u8], looked: u16) -> &[u8] {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] if looked < BEGUN => rest,
        _ => bytes,
    }
}

impl LineScanner {
    /// Returns a scanner at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { looked: 0 }
    }

    /// Returns a scanner for a stream that began with something else: a byte order mark is text there.
    #[must_use]
    pub const fn inside() -> Self {
        Self { looked: BEGUN }
    }
}

impl<const LINE: usize> LineScanner<LINE> {
    /// Returns the same scanner for lines of at most `N` bytes with their `\n`, from 1 to [`LINE_BYTES`]. Only before
    /// the first line is sought.
    #[must_use]
    pub const fn with_line<const N: usize>(self) -> LineScanner<N> {
        const { assert!(0 < N && N <= LINE_BYTES, "a line has 1 to 1025 bytes with its newline") };
        LineScanner { looked: self.looked }
    }

    /// Returns the front of a line whose end has not arrived: `bytes` without a byte order mark at the start of
    /// the stream.
    #[must_use]
    pub fn unfinished<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        unmarked(bytes, self.looked)
    }

    /// Takes the line at the front of `input`, or returns `None` if more has to arrive. The caller consumes its
    /// [`bytes`](Line::bytes).
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed.
    #[inline]
    pub fn next<'i>(&mut self, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
        self.seek(input, true)
    }

    /// Returns the line at the front of `input` and leaves it there, or `None` if more has to arrive.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed.
    #[inline]
    pub fn peek<'i>(&mut self, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
        self.seek(input, false)
    }

    /// Takes a line that [`peek`](Self::peek) returned. Returns the number of bytes that the caller consumes.
    #[inline]
    pub fn take(&mut self, line: Line<'_>) -> usize {
        self.looked = BEGUN;
        line.bytes
    }

    #[inline]
    fn seek<'i>(&mut self, input: Input<'i>, take: bool) -> Result<Option<Line<'i>>, LineError> {
        if !cfg!(feature = "memchr") {
            return self.seek_further(input, take);
        }
        // A branch, where vectors make the search fast: without it each search waits for the store of the
        // one before.
        if self.looked == BEGUN {
            let window = Self::window(input.bytes);
            return match find(b'\n', window) {
                Some(at) => Ok(Some(Line::ending_at(at, window))),
                None => self.none(input).map(|()| None),
            };
        }
        // A new value: if the call wrote the result itself, the branch above would also write it to memory, and each
        // search would wait for that store.
        let Some(Line { text, bytes }) = self.seek_further(input, take)? else { return Ok(None) };
        Ok(Some(Line { text, bytes }))
    }

    /// Finds a line behind the bytes that were looked at before.
    #[inline(never)]
    fn seek_further<'i>(
        &mut self,
        input: Input<'i>,
        take: bool,
    ) -> Result<Option<Line<'i>>, LineError> {
        let window = Self::window(input.bytes);
        let unseen = window.get(usize::from(self.looked & !BEGUN)..).unwrap_or(window);
        let Some(at) = find(b'\n', unseen) else { return self.none(input).map(|()| None) };
        let at = count::add(at, count::sub(window.len(), unseen.len()));
        let Line { text, bytes } = Line::ending_at(at, window);
        let text = unmarked(text, self.looked);
        if take {
            self.looked = BEGUN;
        }
        Ok(Some(Line { text, bytes }))
    }

    /// Takes a line as [`next`](Self::next) does. Unterminated text before an orderly close, or when no byte has
    /// come for `ms` milliseconds, is a line too. If there is none, returns what has to come.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed.
    pub fn next_or_idle<'i>(
        &mut self,
        input: Input<'i>,
        ms: u16,
    ) -> Result<Result<Line<'i>, Need>, LineError> {
        let line = self.peek_or_idle(input, ms, |text| !text.is_empty());
        if let Ok(Ok(line)) = line {
            self.take(line);
        }
        line
    }

    /// Returns the line that [`next_or_idle`](Self::next_or_idle) would take, where `is_line` decides whether
    /// unterminated text is a line.
    #[inline(never)]
    pub(crate) fn peek_or_idle<'i>(
        &mut self,
        input: Input<'i>,
        ms: u16,
        is_line: fn(&[u8]) -> bool,
    ) -> Result<Result<Line<'i>, Need>, LineError> {
        let unfinished = match self.peek(input) {
            Ok(Some(line)) => return Ok(Ok(line)),
            Ok(None) => Ok(Err(Need::Input)),
            Err(e @ LineError::TooLong { .. }) => return Err(e),
            Err(e) => Err(e),
        };
        let text = self.unfinished(input.bytes);
        if !is_line(text) {
            return unfinished;
        }
        match input.state {
            StreamState::Open => Ok(Err(Need::InputOrIdle(ms))),
            StreamState::Idle | StreamState::Ended(StreamEnd::Closed) => {
                Ok(Ok(Line { text, bytes: input.bytes.len() }))
            }
            StreamState::Ended(_) => unfinished,
        }
    }

    /// Notes that the input contains no newline.
    // Out of line, so that the path of `seek` that finds a line stays short.
    #[cfg_attr(feature = "memchr", inline(never))]
    fn none(&mut self, input: Input<'_>) -> Result<(), LineError> {
        self.looked = self.looked & BEGUN | LineError::unless_awaited::<LINE>(input)?;
        Ok(())
    }

    /// Returns the part of the input that is looked at. If more were, whether a line is too long would depend on
    /// how the stream is cut.
    #[inline]
    fn window(bytes: &[u8]) -> &[u8] {
        bytes.get(..LINE).unwrap_or(bytes)
    }
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LineError {
    /// The longest line with its newline has `limit` bytes, and the first `limit` bytes contain no newline.
    TooLong {
        /// Maximum number of bytes of a line with its newline.
        limit: u16,
    },
    /// The stream ended before the line did. 4 bytes where a [`Truncated`] has 24: most errors of most machines
    /// are one of these.
    Truncated {
        /// How the stream ended.
        how: StreamEnd,
        /// Number of bytes of the line that arrived. 0: the stream ended between two lines.
        got: u16,
    },
}

impl LineError {
    /// Returns the error for a stream that ended between two lines.
    #[must_use]
    pub const fn between(how: StreamEnd) -> Self {
        Self::Truncated { how, got: 0 }
    }

    /// Returns the number of bytes of a line that is not complete, or why it cannot become complete.
    pub(super) fn unless_awaited<const LINE: usize>(input: Input<'_>) -> Result<u16, Self> {
        let got = u16::try_from(input.bytes.len()).unwrap_or(u16::MAX);
        let limit = u16::try_from(LINE).unwrap_or(u16::MAX);
        if got >= limit {
            return Err(Self::TooLong { limit });
        }
        match input.state {
            StreamState::Ended(how) => Err(Self::Truncated { how, got }),
            StreamState::Open | StreamState::Idle => Ok(got),
        }
    }

    /// Returns the sentence about `peer` ("the server", "the client").
    #[must_use]
    pub const fn by<'p>(&self, peer: &'p str) -> impl fmt::Display + use<'p> {
        LineErrorBy { error: *self, peer }
    }

    /// Returns how the stream ended, if that is the reason.
    #[must_use]
    pub fn cut(&self) -> Option<Truncated> {
        match *self {
            Self::TooLong { .. } => None,
            Self::Truncated { how, got } => Some(Truncated { how, got: got.into(), want: 0 }),
        }
    }
}

struct LineErrorBy<'p> {
    error: LineError,
    peer: &'p str,
}

impl fmt::Display for LineErrorBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            LineError::TooLong { limit } => write!(
                f,
                "{} broke the protocol: a line is too long, its first {limit} bytes have no newline",
                self.peer
            ),
            LineError::Truncated { how, got } => {
                Truncated { how, got: got.into(), want: 0 }.by(self.peer).fmt(f)
            }
        }
    }
}

/// Writes `text` and a `\n` to the front of `output`. Returns the number of bytes written.
///
/// # Errors
///
/// [`CommandError::Invalid`] if `text` is not a line: it is longer than [`LINE_MAX`], contains a `\n`, or ends with a
/// `\r`, which the peer would remove. [`CommandError::OutputFull`] if the space is too small.
pub fn put_line(text: &[u8], output: &mut [u8]) -> Result<usize, CommandError> {
    let reason = if text.len() > LINE_MAX {
        Invalid::TooLong
    } else if find(b'\n', text).is_some() {
        Invalid::Newline
    } else if text.ends_with(b"\r") {
        Invalid::CarriageReturn
    } else {
        return put_ended(text, b'\n', output).ok_or(CommandError::OutputFull);
    };
    Err(CommandError::Invalid(reason))
}

/// Lines in a stream, for traces.
///
/// A line that is too long is shown in parts, as they arrive, up to its newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineMessages {
    lines: LineScanner,
    /// Whether the stream is inside a line that is too long.
    over: bool,
}

/// A line in a trace, or a part of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LineMessage<'b> {
    /// A line.
    Line(&'b [u8]),
    /// The first part of a line that is too long, without its newline.
    TooLong(&'b [u8]),
    /// A further part of it, without its newline.
    More(&'b [u8]),
}

impl fmt::Display for LineMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Number of bytes of a line that a line of a trace has space for.
        const SHOWN: usize = 64;
        let (Self::Line(text) | Self::TooLong(text) | Self::More(text)) = self;
        match self {
            Self::Line(_) => {}
            Self::TooLong(_) => write!(f, "{} without a newline ", Bytes::of(text))?,
            Self::More(_) => write!(f, "{} more of it ", text.len())?,
        }
        match front(text, SHOWN) {
            Some(shown) => write!(f, "\"{}\"...", Escaped(shown)),
            None => write!(f, "\"{}\"", Escaped(text)),
        }
    }
}

impl LineMessages {
    /// Returns the dissector for a stream that began with something else: a byte order mark is text there.
    #[must_use]
    pub const fn inside() -> Self {
        Self { lines: LineScanner::inside(), over: false }
    }
}

/// Returns the part of a line that is too long at the front of `bytes`: its text, the number of bytes that it occupies,
/// and whether the line continues.
pub(super) fn part_of_long(bytes: &[u8]) -> (&[u8], usize, bool) {
    match find(b'\n', bytes) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), count::add(at, 1), false),
        None => (bytes, bytes.len(), true),
    }
}

impl Dissect for LineMessages {
    type Message<'b> = LineMessage<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<LineMessage<'b>> {
        let is_first = !self.over;
        if is_first {
            match self.lines.next(Input::open(bytes)) {
                Ok(Some(line)) => {
                    return Dissected::Message(line.bytes, LineMessage::Line(line.text));
                }
                Ok(None) => return Dissected::Unterminated,
                Err(_) => self.lines = LineScanner::inside(),
            }
        } else if bytes.is_empty() {
            return Dissected::Unterminated;
        }
        let (text, taken, over) = part_of_long(bytes);
        self.over = over;
        let part = if is_first { LineMessage::TooLong } else { LineMessage::More };
        Dissected::Message(taken, part(text))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;

    #[test]
    fn a_line_ends_at_its_newline_and_loses_one_carriage_return() {
        for (input, text, bytes) in [
            (&b"one\ntwo\n"[..], &b"one"[..], 4),
            (b"one\r\n", b"one", 5),
            (b"one\r\r\n", b"one\r", 6),
            (b"\n", b"", 1),
            (b"\r\n", b"", 2),
            (b"o\rn\n", b"o\rn", 4),
        ] {
            let line = LineScanner::new().next(Input::open(input));
            assert_eq!(line, Ok(Some(Line { text, bytes })), "{input:?}");
        }
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut lines = LineScanner::new();
        assert_eq!(lines.next(Input::open(b"hel")), Ok(None));
        assert_eq!(lines, LineScanner { looked: 3 });
        assert_eq!(lines.next(Input::open(b"hello\nx")).unwrap().unwrap().text, b"hello");
        assert_eq!(lines, LineScanner::inside());
        assert_eq!(lines.next(Input::open(b"x")), Ok(None));
        assert_eq!(lines, LineScanner { looked: BEGUN | 1 });
        // A caller that gives fewer bytes than before is mistaken. It still gets a line.
        let mut lines: LineScanner = LineScanner { looked: 9 };
        assert_eq!(lines.next(Input::open(b"a\n")).unwrap().unwrap().text, b"a");
    }

    #[test]
    fn a_line_that_trickles_in_is_looked_through_once() {
        let mut longest = vec![b'x'; LINE_MAX];
        longest.push(b'\n');
        let (mut lines, mut looked_at) = (LineScanner::new(), 0);
        for have in 1..=LINE_MAX {
            looked_at += have - usize::from(lines.looked);
            assert_eq!(lines.next(Input::open(longest.get(..have).unwrap())), Ok(None));
            assert_eq!(usize::from(lines.looked), have);
        }
        assert_eq!(looked_at, LINE_MAX);
        let line = lines.next(Input::open(&longest)).unwrap().unwrap();
        assert_eq!((line.bytes, lines), (LINE_BYTES, LineScanner::inside()));
    }

    #[test]
    fn a_byte_order_mark_at_the_very_start_belongs_to_no_line() {
        const MARKED: &[u8] = b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n";
        for cut in 0..7 {
            let mut lines = LineScanner::new();
            assert_eq!(lines.next(Input::open(MARKED.get(..cut).unwrap())), Ok(None));
            let line = lines.next(Input::open(MARKED)).unwrap().unwrap();
            assert_eq!(line, Line { text: b"one", bytes: 7 }, "cut at {cut}");
            let line = lines.next(Input::open(MARKED.get(7..).unwrap())).unwrap().unwrap();
            assert_eq!(line, Line { text: b"\xef\xbb\xbftwo", bytes: 7 });
        }
        let closed = Input::ended(b"\xef\xbb\xbfone", StreamEnd::Closed);
        let last = LineScanner::new().next_or_idle(closed, 1).unwrap().unwrap();
        assert_eq!(last, Line { text: b"one", bytes: 6 });
        assert_eq!(LineScanner::new().unfinished(b"\xef\xbb\xbfo"), b"o");
        let inside = LineScanner::inside().next(Input::open(MARKED)).unwrap().unwrap();
        assert_eq!(inside.text, b"\xef\xbb\xbfone");
    }

    #[test]
    fn the_longest_line_has_1024_bytes_whole_or_cut() {
        let mut longest = vec![b'x'; LINE_MAX];
        longest.push(b'\n');
        assert_eq!(
            LineScanner::new().next(Input::open(&longest)).unwrap().unwrap().bytes,
            LINE_BYTES
        );
        let mut longer = vec![b'x'; LINE_BYTES];
        longer.push(b'\n');
        for cut in [LINE_BYTES, LINE_BYTES + 1] {
            let mut lines = LineScanner::new();
            let _ = lines.next(Input::open(longer.get(..LINE_MAX).unwrap()));
            let before = lines.clone();
            let result = lines.next(Input::open(longer.get(..cut).unwrap()));
            assert_eq!((result, lines), (Err(LineError::TooLong { limit: 1025 }), before));
        }
        assert_eq!(
            LineError::TooLong { limit: 1025 }.by("the client").to_string(),
            "the client broke the protocol: a line is too long, its first 1025 bytes have no newline"
        );
    }

    #[test]
    fn an_unterminated_line_is_cut_or_the_last() {
        let closed = Input::ended(b"part", StreamEnd::Closed);
        let error = LineScanner::new().next(closed).unwrap_err();
        assert_eq!(
            error.by("the server").to_string(),
            "the server closed the connection in the middle of a message, after 4 bytes"
        );
        let last = LineScanner::new().next_or_idle(closed, 1).unwrap().unwrap();
        assert_eq!(last, Line { text: b"part", bytes: 4 });
        let only_marked = Input::ended(b"\xef\xbb\xbf", StreamEnd::Closed);
        for input in [
            Input::ended(b"part", StreamEnd::Reset),
            Input::ended(b"", StreamEnd::Closed),
            only_marked,
        ] {
            assert!(matches!(
                LineScanner::new().next_or_idle(input, 1),
                Err(LineError::Truncated { .. })
            ));
        }
    }

    #[test]
    fn text_that_is_not_a_line_is_not_written() {
        let mut room = [0; 8];
        assert_eq!(put_line(b"abc", &mut room), Ok(4));
        assert!(room.starts_with(b"abc\n"));
        assert_eq!(put_line(b"1234567", &mut room), Ok(8));
        assert_eq!(put_line(b"12345678", &mut room), Err(CommandError::OutputFull));
        assert_eq!(put_line(b"123456789", &mut room), Err(CommandError::OutputFull));
        assert_eq!(put_line(b"a\nb", &mut room), Err(Invalid::Newline.into()));
        assert_eq!(put_line(b"a\r", &mut room), Err(Invalid::CarriageReturn.into()));
        assert_eq!(put_line(&[b'x'; LINE_BYTES], &mut [0; 2000]), Err(Invalid::TooLong.into()));
        assert_eq!(put_line(&[b'x'; LINE_MAX], &mut [0; 2000]), Ok(LINE_BYTES));
    }
}
