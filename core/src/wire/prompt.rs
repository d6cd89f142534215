use core::fmt;

use super::line::{BEGUN, part_of_long, unmarked};
use super::{
    Bytes, Dissect, Dissected, Escaped, LINE_BYTES, Line, LineError, front, trim_end, trim_start,
};
use crate::count;
use crate::machine::{Input, Need, StreamEnd, StreamState};

/// Number of milliseconds without a byte that end a prompt without a `:`.
pub const PROMPT_SILENCE_MS: u16 = 200;

/// Finds lines and prompts, which have no newline, in what a server writes for a person. 2 bytes: it remembers
/// how far it has looked.
///
/// A prompt ends at its first `:`, so that it is the same however the stream is cut. It also ends where the server
/// pauses, even after a newline. White space at the front is skipped, so the spaces behind a `:` may arrive later. A
/// UTF-8 byte order mark at the very start of the stream is skipped too.
///
/// [`peek`](Self::peek) leaves what it finds in the input. [`take`](Self::take) takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PromptScanner {
    looked: u16,
}

/// Where a prompt ends, if one is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PromptEnd {
    /// Nowhere: no prompt is expected.
    Never,
    /// Where the server pauses in the middle of a line.
    Silence,
    /// At the first `:`, or where the server pauses, even at the end of a line.
    Any,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PromptToken<'i> {
    /// Number of bytes of white space, or of a byte order mark and white space.
    Space(usize),
    /// A line.
    Line(Line<'i>),
    /// A prompt, with its `:` and without a newline.
    Prompt(Line<'i>),
    /// Text that ends with what the caller waits for. Its newline may follow, or not.
    Known(Line<'i>),
    /// Nothing complete yet.
    Nothing(Need),
}

impl PromptScanner {
    /// Returns a scanner at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { looked: 0 }
    }

    /// Returns what stands at the front of `input` and leaves it there: a line, a prompt, or known text, whichever
    /// ends first. `is_known` decides whether some bytes end with what the caller waits for. It is called with a
    /// longer and longer front of the input.
    ///
    /// With [`PromptEnd::Any`] the last line that has arrived may be a prompt with a newline. It is a line once
    /// something follows it.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed. None of the three may be longer than [`LINE_MAX`](super::LINE_MAX).
    pub fn peek<'i>(
        &mut self,
        input: Input<'i>,
        prompts: PromptEnd,
        is_known: fn(&[u8]) -> bool,
    ) -> Result<PromptToken<'i>, LineError> {
        let rest = trim_start(unmarked(input.bytes, self.looked));
        let space = count::sub(input.bytes.len(), rest.len());
        if space > 0 {
            return Ok(PromptToken::Space(space));
        }
        // No more is looked at than with lines.
        let window = input.bytes.get(..LINE_BYTES).unwrap_or(input.bytes);
        let mut at = usize::from(self.looked & !BEGUN);
        let text = trim_end(input.bytes);
        // More may come, and a buffer has space for it.
        let awaited = LineError::unless_awaited::<LINE_BYTES>(input);
        while let Some(byte) = window.get(at) {
            let end = at;
            at = count::add(at, 1);
            let front = window.get(..at).unwrap_or_default();
            let token = match *byte {
                // Only white space follows: it may be a prompt.
                b'\n' if text.len() <= end && prompts == PromptEnd::Any && awaited.is_ok() => {
                    at = end;
                    break;
                }
                b'\n' => PromptToken::Line(Line::ending_at(end, window)),
                b':' if prompts == PromptEnd::Any => {
                    PromptToken::Prompt(Line { text: front, bytes: at })
                }
                _ if is_known(front) => PromptToken::Known(Line { text: front, bytes: at }),
                _ => continue,
            };
            return Ok(token);
        }
        awaited?;
        self.looked = self.looked & BEGUN | u16::try_from(at).unwrap_or_default();
        if prompts == PromptEnd::Never || at == 0 {
            return Ok(PromptToken::Nothing(Need::Input));
        }
        if input.state != StreamState::Idle {
            return Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)));
        }
        Ok(PromptToken::Prompt(Line { text, bytes: input.bytes.len() }))
    }

    /// Takes what [`peek`](Self::peek) found. The caller consumes its bytes.
    #[inline]
    pub const fn take(&mut self) {
        self.looked = BEGUN;
    }
}

/// Lines and prompts in a stream, for traces.
///
/// What is too long for either is shown in parts, as they arrive, up to its newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PromptMessages {
    prompts: PromptScanner,
    /// Whether the stream is inside something that is too long.
    over: bool,
}

/// A line or a prompt in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PromptMessage<'b> {
    /// White space between them.
    Space(&'b [u8]),
    /// A line.
    Line(&'b [u8]),
    /// A prompt, with its `:`.
    Prompt(&'b [u8]),
    /// Neither: the first part of what is too long, without its newline.
    TooLong(&'b [u8]),
    /// A further part of it, without its newline.
    More(&'b [u8]),
}

impl fmt::Display for PromptMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Number of bytes of a message that a line of a trace has space for.
        const SHOWN: usize = 72;
        let text = match *self {
            Self::Space(_) => return f.write_str("white space"),
            Self::Line(text) => text,
            Self::Prompt(text) => {
                f.write_str("prompt ")?;
                text
            }
            Self::TooLong(text) => {
                write!(f, "{} without a newline ", Bytes::of(text))?;
                text
            }
            Self::More(text) => {
                write!(f, "{} more of it ", text.len())?;
                text
            }
        };
        match front(text, SHOWN) {
            Some(shown) => write!(f, "\"{}\"...", Escaped(shown)),
            None => write!(f, "\"{}\"", Escaped(text)),
        }
    }
}

impl Dissect for PromptMessages {
    type Message<'b> = PromptMessage<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<PromptMessage<'b>> {
        if self.over && !bytes.is_empty() {
            let (text, taken, over) = part_of_long(bytes);
            self.over = over;
            return Dissected::Message(taken, PromptMessage::More(text));
        }
        // What has arrived is shown at once: a trace does not wait for what follows a line.
        let token =
            self.prompts.peek(Input::ended(bytes, StreamEnd::Closed), PromptEnd::Any, |_| false);
        if !matches!(token, Ok(PromptToken::Nothing(_)) | Err(_)) {
            self.prompts.take();
        }
        match token {
            Ok(PromptToken::Space(n)) => {
                Dissected::Message(n, PromptMessage::Space(bytes.get(..n).unwrap_or_default()))
            }
            Ok(PromptToken::Line(line)) => {
                Dissected::Message(line.bytes, PromptMessage::Line(line.text))
            }
            Ok(PromptToken::Prompt(prompt)) => {
                // With the spaces behind it: a row of their own would only be noise.
                let rest = bytes.get(prompt.bytes..).unwrap_or_default();
                let spaces = count::sub(rest.len(), rest.trim_ascii_start().len());
                let all = count::add(prompt.bytes, spaces);
                Dissected::Message(all, PromptMessage::Prompt(prompt.text))
            }
            Ok(PromptToken::Known(_) | PromptToken::Nothing(_))
            | Err(LineError::Truncated { .. }) => Dissected::Unterminated,
            Err(LineError::TooLong { .. }) => {
                let (text, taken, over) = part_of_long(bytes);
                *self = Self { prompts: PromptScanner { looked: BEGUN }, over };
                Dissected::Message(taken, PromptMessage::TooLong(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::wire::LINE_MAX;

    fn next(input: Input<'_>) -> Result<PromptToken<'_>, LineError> {
        PromptScanner::new().peek(input, PromptEnd::Any, |front| front.ends_with(b"yes!"))
    }

    #[test]
    fn the_front_is_what_ends_first() {
        for (input, said) in [
            (&b"name: "[..], PromptToken::Prompt(Line { text: b"name:", bytes: 5 })),
            (b"a\r\nb:", PromptToken::Line(Line { text: b"a", bytes: 3 })),
            (b"  \r\n\tb:", PromptToken::Space(5)),
            (b"I say yes!no:", PromptToken::Known(Line { text: b"I say yes!", bytes: 10 })),
            (b"I say: yes!", PromptToken::Prompt(Line { text: b"I say:", bytes: 6 })),
            (b"name", PromptToken::Nothing(Need::InputOrIdle(200))),
            (b"", PromptToken::Nothing(Need::Input)),
        ] {
            assert_eq!(next(Input::open(input)), Ok(said), "{input:?}");
        }
    }

    #[test]
    fn a_pause_ends_a_prompt_where_one_is_expected() {
        let silent = Input { bytes: b"name? ", state: StreamState::Idle };
        assert_eq!(next(silent), Ok(PromptToken::Prompt(Line { text: b"name?", bytes: 6 })));
        let none = PromptScanner::new().peek(silent, PromptEnd::Never, |_| false);
        assert_eq!(none, Ok(PromptToken::Nothing(Need::Input)));
        let empty = Input { bytes: b"", state: StreamState::Idle };
        assert_eq!(next(empty), Ok(PromptToken::Nothing(Need::Input)));
    }

    #[test]
    fn a_line_is_a_prompt_if_a_pause_follows_it() {
        let awaited = Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)));
        let line = Ok(PromptToken::Line(Line { text: b"name?", bytes: 6 }));
        for text in [&b"name?\n"[..], b"name?\n\r\n \t"] {
            assert_eq!(next(Input::open(text)), awaited);
            let silent = Input { bytes: text, state: StreamState::Idle };
            let prompt = Line { text: b"name?", bytes: text.len() };
            assert_eq!(next(silent), Ok(PromptToken::Prompt(prompt)));
            assert_eq!(next(Input::ended(text, StreamEnd::Closed)), line);
            // Where a prompt ends in the middle of a line, a line is not a prompt.
            for after in [StreamState::Open, StreamState::Idle] {
                let input = Input { bytes: text, state: after };
                assert_eq!(PromptScanner::new().peek(input, PromptEnd::Silence, |_| false), line);
            }
        }
        let silent = Input { bytes: b"name?\nwhat ", state: StreamState::Idle };
        assert_eq!(next(silent), line);
        let mut prompts = PromptScanner::new();
        assert_eq!(prompts.peek(Input::open(b"name?\n"), PromptEnd::Any, |_| false), awaited);
        assert_eq!(prompts, PromptScanner { looked: 5 });
        assert_eq!(prompts.peek(silent, PromptEnd::Any, |_| false), line);
        // A full buffer has no space for what follows.
        let mut full = vec![b'x'; LINE_MAX];
        full.push(b'\n');
        assert!(
            matches!(next(Input::open(&full)), Ok(PromptToken::Line(line)) if line.bytes == LINE_BYTES)
        );
    }

    #[test]
    fn a_colon_does_not_end_a_prompt_where_only_a_pause_does() {
        let next = |after| {
            let input = Input { bytes: b"name: ", state: after };
            PromptScanner::new().peek(input, PromptEnd::Silence, |_| false)
        };
        assert_eq!(
            next(StreamState::Open),
            Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)))
        );
        assert_eq!(
            next(StreamState::Idle),
            Ok(PromptToken::Prompt(Line { text: b"name:", bytes: 6 }))
        );
    }

    #[test]
    fn a_prompt_has_the_limit_of_a_line() {
        let mut longest = vec![b'x'; LINE_MAX];
        assert_eq!(
            next(Input::open(&longest)),
            Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)))
        );
        longest.push(b':');
        assert!(matches!(next(Input::open(&longest)), Ok(PromptToken::Prompt(_))));
        longest.insert(0, b'x');
        assert_eq!(next(Input::open(&longest)), Err(LineError::TooLong { limit: 1025 }));
        let silent = Input { bytes: &longest, state: StreamState::Idle };
        assert_eq!(next(silent), Err(LineError::TooLong { limit: 1025 }));
        let cut = next(Input::ended(b"nam", StreamEnd::Closed)).unwrap_err();
        assert_eq!(cut, LineError::Truncated { how: StreamEnd::Closed, got: 3 });
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut prompts = PromptScanner::new();
        let said = prompts.peek(Input::open(b"ab"), PromptEnd::Any, |_| false);
        assert!(matches!(said, Ok(PromptToken::Nothing(_))));
        assert_eq!(prompts, PromptScanner { looked: 2 });
        let said = prompts.peek(Input::open(b"abc: d"), PromptEnd::Any, |front| {
            assert!(front.len() > 2);
            false
        });
        assert_eq!(said, Ok(PromptToken::Prompt(Line { text: b"abc:", bytes: 4 })));
        assert_eq!(prompts, PromptScanner { looked: 2 });
        prompts.take();
        assert_eq!(prompts, PromptScanner { looked: BEGUN });
    }

    #[test]
    fn a_byte_order_mark_at_the_very_start_is_skipped() {
        const MARKED: &[u8] = b"\xef\xbb\xbf pick:\xef\xbb\xbfx:";
        for cut in 0..3 {
            let mut prompts = PromptScanner::new();
            let mut next = |bytes| {
                let token = prompts.peek(Input::open(bytes), PromptEnd::Any, |_| false);
                if !matches!(token, Ok(PromptToken::Nothing(_)) | Err(_)) {
                    prompts.take();
                }
                token
            };
            assert!(matches!(next(MARKED.get(..cut).unwrap()), Ok(PromptToken::Nothing(_))));
            assert_eq!(next(MARKED), Ok(PromptToken::Space(4)), "cut at {cut}");
            let prompt = PromptToken::Prompt(Line { text: b"pick:", bytes: 5 });
            assert_eq!(next(MARKED.get(4..).unwrap()), Ok(prompt));
            let prompt = PromptToken::Prompt(Line { text: b"\xef\xbb\xbfx:", bytes: 5 });
            assert_eq!(next(MARKED.get(9..).unwrap()), Ok(prompt));
        }
    }

    #[test]
    fn a_trace_shows_a_prompt_at_its_colon() {
        let mut messages = PromptMessages::default();
        let shown = |dissected| match dissected {
            Dissected::Message(n, message) => (n, PromptMessage::to_string(&message)),
            Dissected::Partial(_) | Dissected::Unterminated => (0, "partial".into()),
        };
        assert_eq!(shown(messages.dissect(b"Pick : You")), (7, "prompt \"Pick :\"".into()));
        assert_eq!(shown(messages.dissect(b"You w\x1bn\n")), (8, "\"You w\\x1bn\"".into()));
        assert_eq!(shown(messages.dissect(b"You w")), (0, "partial".into()));
    }
}
