use core::fmt;

use super::{Dissect, Dissected, Escaped, Truncated, find, put_ended};
use crate::count;
use crate::machine::{CommandError, Input, Invalid, Need, StreamEnd, StreamState};

/// The longest line: so many bytes before its `\n`.
pub const LINE_MAX: usize = 1024;

/// The longest line with its `\n`: what a buffer for lines has to hold.
pub const LINE_BYTES: usize = LINE_MAX + 1;

/// A line that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Line<'i> {
    /// What it says: without its `\n`, and without one `\r` before that.
    pub text: &'i [u8],
    /// So many bytes of the input it takes with its end.
    pub bytes: usize,
}

impl<'i> Line<'i> {
    /// The line of which `at` is the end.
    #[inline]
    pub(super) fn ending_at(at: usize, bytes: &'i [u8]) -> Self {
        let (Some([text @ .., b'\r']) | Some(text)) = bytes.get(..at) else {
            return Self { text: &[], bytes: 0 };
        };
        Self { text, bytes: count::add(at, 1) }
    }
}

/// Finds lines at the front of the input. 2 bytes: how far it has looked, so that each byte is
/// looked at once, however it comes; and whether the stream has only begun, since a UTF-8 byte order
/// mark at its very start belongs to no line.
///
/// A machine that uses it has [`LINE_BYTES`] as its [`MIN_INPUT`](crate::machine::Machine::MIN_INPUT): with
/// less, a buffer can be full and no line in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineScanner {
    looked: u16,
}

/// Set in what counts the bytes looked at once the stream has not only begun: a count has at most 11
/// bits.
pub(super) const BEGUN: u16 = 1 << 15;

/// `bytes` without the UTF-8 byte order mark that some programs write at the start of a stream, if
/// that is where they stand. `looked` as in [`LineScanner`].
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn unmarked(bytes: &[u8], looked: u16) -> &[u8] {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] if looked < BEGUN => rest,
        _ => bytes,
    }
}

impl LineScanner {
    /// Lines from the start of a stream on.
    #[must_use]
    pub const fn new() -> Self {
        Self { looked: 0 }
    }

    /// Lines in a stream that began with something else: a byte order mark is text there.
    #[must_use]
    pub const fn inside() -> Self {
        Self { looked: BEGUN }
    }

    /// The front of a line whose end has not come: `bytes` without a byte order mark at the start of
    /// the stream.
    #[must_use]
    pub fn unfinished<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        unmarked(bytes, self.looked)
    }

    /// The line at the front of `input`; `None` when more has to come. The caller consumes its
    /// [`bytes`](Line::bytes).
    /// One that cannot consume them yet goes back to a copy from before: the first line of a stream is
    /// the first only once.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed.
    #[inline]
    pub fn next<'i>(&mut self, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
        // A branch, where vectors make the search fast: it would else wait for the store of the
        // one before.
        if cfg!(target_pointer_width = "64") && self.looked == BEGUN {
            let window = window(input.bytes);
            return match find(b'\n', window) {
                Some(at) => Ok(Some(Line::ending_at(at, window))),
                None => self.none(input),
            };
        }
        self.next_further(input)
    }

    /// As [`next`](Self::next), past what was looked at before.
    #[inline(never)]
    fn next_further<'i>(&mut self, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
        let window = window(input.bytes);
        let unseen = window.get(usize::from(self.looked & !BEGUN)..).unwrap_or(window);
        let Some(at) = find(b'\n', unseen) else { return self.none(input) };
        let at = count::add(at, count::sub(window.len(), unseen.len()));
        let Line { text, bytes } = Line::ending_at(at, window);
        let text = unmarked(text, self.looked);
        self.looked = BEGUN;
        Ok(Some(Line { text, bytes }))
    }

    /// As [`next`](Self::next), but what stands unterminated before an orderly close, or when nothing has
    /// come for `ms` milliseconds, is a line too. In place of a line: what has to come.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed.
    pub fn next_or_idle<'i>(
        &mut self,
        input: Input<'i>,
        ms: u16,
    ) -> Result<Result<Line<'i>, Need>, LineError> {
        self.next_or_idle_if(input, ms, |text| !text.is_empty())
    }

    /// As [`next_or_idle`](Self::next_or_idle), where `is_line` says so of what stands unterminated.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn next_or_idle_if<'i>(
        &mut self,
        input: Input<'i>,
        ms: u16,
        is_line: fn(&[u8]) -> bool,
    ) -> Result<Result<Line<'i>, Need>, LineError> {
        let unfinished = match self.next(input) {
            Ok(Some(line)) => return Ok(Ok(line)),
            Ok(None) => Ok(Err(Need::Input)),
            Err(LineError::TooLong) => return Err(LineError::TooLong),
            Err(e) => Err(e),
        };
        let text = self.unfinished(input.bytes);
        if !is_line(text) {
            return unfinished;
        }
        match input.state {
            StreamState::Open => Ok(Err(Need::InputOrIdle(ms))),
            StreamState::Idle | StreamState::Ended(StreamEnd::Closed) => {
                self.looked = BEGUN;
                Ok(Ok(Line { text, bytes: input.bytes.len() }))
            }
            StreamState::Ended(_) => unfinished,
        }
    }

    /// There is no end of a line in what has come.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn none<'i>(&mut self, input: Input<'i>) -> Result<Option<Line<'i>>, LineError> {
        self.looked = self.looked & BEGUN | LineError::unless_awaited(input)?;
        Ok(None)
    }
}

/// As much of the input as is ever looked at: more would make a line that is too long a matter of how
/// it is cut.
fn window(bytes: &[u8]) -> &[u8] {
    bytes.get(..LINE_BYTES).unwrap_or(bytes)
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LineError {
    /// [`LINE_MAX`] bytes have come, and the next one is not the end of the line.
    TooLong,
    /// The stream ended before the line did. 4 bytes where a [`Truncated`] has 24: most errors of most
    /// machines are one of these.
    Truncated {
        /// How the stream ended.
        how: StreamEnd,
        /// So many bytes of the line had come. 0: the stream ended between two lines.
        got: u16,
    },
}

impl LineError {
    /// The stream ended between two lines.
    #[must_use]
    pub const fn between(how: StreamEnd) -> Self {
        Self::Truncated { how, got: 0 }
    }

    /// More of a line may come, of which so many bytes are there; else why none does.
    pub(super) fn unless_awaited(input: Input<'_>) -> Result<u16, Self> {
        let got = u16::try_from(input.bytes.len()).unwrap_or(u16::MAX);
        if usize::from(got) > LINE_MAX {
            return Err(Self::TooLong);
        }
        match input.state {
            StreamState::Ended(how) => Err(Self::Truncated { how, got }),
            StreamState::Open | StreamState::Idle => Ok(got),
        }
    }

    /// The sentence about `peer` ("the server", "the client").
    #[must_use]
    pub const fn by<'p>(&self, peer: &'p str) -> impl fmt::Display + use<'p> {
        LineErrorBy { error: *self, peer }
    }

    /// How the stream ended, if that is why.
    #[must_use]
    pub fn cut(&self) -> Option<Truncated> {
        match *self {
            Self::TooLong => None,
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
        let Self { error, peer } = self;
        match error.cut() {
            None => write!(
                f,
                "{peer} broke the protocol: a line is too long, its first {LINE_BYTES} bytes have \
                 no newline"
            ),
            Some(cut) => cut.by(peer).fmt(f),
        }
    }
}

/// Writes `text` and a `\n` to the front of `output`. Returns the bytes written.
///
/// # Errors
///
/// [`CommandError::Invalid`] when it is no line: longer than [`LINE_MAX`], or with a `\n` in it, or with
/// a `\r` last, which the peer would drop. [`CommandError::OutputFull`].
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
/// A line that is too long is shown in parts, as they come, up to its newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineMessages {
    lines: LineScanner,
    /// Inside a line that is too long.
    over: bool,
}

/// A line in a trace, or a part of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
        /// So much of a line a line of a trace can take.
        const SHOWN: usize = 64;
        let (Self::Line(text) | Self::TooLong(text) | Self::More(text)) = self;
        match self {
            Self::Line(_) => {}
            Self::TooLong(_) => write!(f, "{} bytes without a newline ", text.len())?,
            Self::More(_) => write!(f, "{} more of it ", text.len())?,
        }
        match text.get(..SHOWN) {
            Some(shown) => write!(f, "\"{}\"...", Escaped(shown)),
            None => write!(f, "\"{}\"", Escaped(text)),
        }
    }
}

impl LineMessages {
    /// Lines in a stream that began with something else: a byte order mark is text there.
    #[must_use]
    pub const fn inside() -> Self {
        Self { lines: LineScanner::inside(), over: false }
    }
}

/// Takes the part at the front of `bytes` of a line that is too long: its text, the number of bytes it
/// takes, and whether the line continues.
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
        // A caller that gives less than before is mistaken, and still gets an answer.
        let mut lines = LineScanner { looked: 9 };
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
            assert_eq!((result, lines), (Err(LineError::TooLong), before));
        }
        assert_eq!(
            LineError::TooLong.by("the client").to_string(),
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
    fn what_is_no_line_cannot_be_written_as_one() {
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
