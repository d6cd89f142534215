use core::fmt;

use super::line::{BEGUN, part_of_long, unmarked};
use super::{Dissect, Dissected, Escaped, LINE_BYTES, Line, LineError, trim, trim_end, trim_start};
use crate::count;
use crate::machine::{Input, Need, StreamEnd, StreamState};

/// So many milliseconds of silence end a prompt that has no `:`.
pub const PROMPT_SILENCE_MS: u16 = 200;

/// Finds what a server says to a person: lines, and prompts, which have no newline. 2 bytes: how
/// far it has looked.
///
/// A prompt ends at its first `:`, so that it is the same however it is cut; or where the server
/// falls silent, behind a newline too. White space in front of anything is skipped, so that the
/// spaces behind a `:` may come whenever they like; so is a UTF-8 byte order mark at the very start
/// of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PromptScanner {
    looked: u16,
}

/// Where a prompt ends, if one is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PromptEnd {
    /// None is expected.
    Never,
    /// Where the server falls silent in the middle of a line.
    Silence,
    /// At the first `:`, or where the server falls silent, at the end of a line too.
    Any,
}

/// What stands at the front of the input. The caller consumes its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PromptToken<'i> {
    /// Number of bytes of white space, or of a byte order mark and white space.
    Space(usize),
    /// A line.
    Line(Line<'i>),
    /// A prompt, with its `:` and without a newline.
    Prompt(Line<'i>),
    /// What the caller knows stands at the end of this. Its newline may follow, or not.
    Known(Line<'i>),
    /// Nothing whole yet.
    Nothing(Need),
}

impl PromptScanner {
    /// Has not looked at anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { looked: 0 }
    }

    /// What stands at the front of `input`: whichever ends first of a line, a prompt, and bytes of
    /// which `is_known` says that they end with what the caller waits for. It is asked with a longer
    /// and longer front.
    ///
    /// With [`PromptEnd::Any`] the last line that has come may be a prompt with a newline: it is a
    /// line once something follows it.
    ///
    /// # Errors
    ///
    /// [`LineError`], with nothing changed. [`LINE_MAX`](super::LINE_MAX) holds for all of them.
    pub fn next<'i>(
        &mut self,
        input: Input<'i>,
        prompts: PromptEnd,
        is_known: fn(&[u8]) -> bool,
    ) -> Result<PromptToken<'i>, LineError> {
        let rest = trim_start(unmarked(input.bytes, self.looked));
        let space = count::sub(input.bytes.len(), rest.len());
        if space > 0 {
            self.looked = BEGUN;
            return Ok(PromptToken::Space(space));
        }
        // Only so much is ever looked at, as with lines.
        let window = input.bytes.get(..LINE_BYTES).unwrap_or(input.bytes);
        let mut at = usize::from(self.looked & !BEGUN);
        let text = trim_end(input.bytes);
        // More may come, and a buffer has room for it.
        let awaited = LineError::unless_awaited(input);
        while let Some(byte) = window.get(at) {
            let end = at;
            at = count::add(at, 1);
            let front = window.get(..at).unwrap_or_default();
            let said = match *byte {
                // Nothing but white space follows: it may be a prompt.
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
            self.looked = BEGUN;
            return Ok(said);
        }
        awaited?;
        self.looked = self.looked & BEGUN | u16::try_from(at).unwrap_or_default();
        if prompts == PromptEnd::Never || at == 0 {
            return Ok(PromptToken::Nothing(Need::Input));
        }
        if input.state != StreamState::Idle {
            return Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)));
        }
        self.looked = BEGUN;
        Ok(PromptToken::Prompt(Line { text, bytes: input.bytes.len() }))
    }
}

/// It is the turn of a client's application, unless the server has gone: one that has closed and left
/// nothing to read will not reply either.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn will_reply(input: Input<'_>) -> Result<(), LineError> {
    match input.state {
        StreamState::Ended(how @ StreamEnd::Closed) if trim(input.bytes).is_empty() => {
            Err(LineError::between(how))
        }
        after => after.gone().map_or(Ok(()), |how| Err(LineError::between(how))),
    }
}

/// Lines and prompts in a stream, for traces.
///
/// What is too long for both is shown in parts, as they come, up to its newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PromptMessages {
    prompts: PromptScanner,
    /// Inside what is too long.
    over: bool,
}

/// A line or a prompt in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
        /// So much of a line a line of a trace can take.
        const SHOWN: usize = 72;
        let text = match *self {
            Self::Space(_) => return f.write_str("white space"),
            Self::Line(text) => text,
            Self::Prompt(text) => {
                f.write_str("prompt ")?;
                text
            }
            Self::TooLong(text) => {
                write!(f, "{} bytes without a newline ", text.len())?;
                text
            }
            Self::More(text) => {
                write!(f, "{} more of it ", text.len())?;
                text
            }
        };
        match text.get(..SHOWN) {
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
        // What has come is reported at once: in a trace nothing waits for what follows a line.
        match self.prompts.next(Input::ended(bytes, StreamEnd::Closed), PromptEnd::Any, |_| false) {
            Ok(PromptToken::Space(n)) => {
                Dissected::Message(n, PromptMessage::Space(bytes.get(..n).unwrap_or_default()))
            }
            Ok(PromptToken::Line(line)) => {
                Dissected::Message(line.bytes, PromptMessage::Line(line.text))
            }
            Ok(PromptToken::Prompt(prompt)) => {
                // The spaces that are there belong to it: a row of their own would only be noise.
                let rest = bytes.get(prompt.bytes..).unwrap_or_default();
                let spaces = count::sub(rest.len(), rest.trim_ascii_start().len());
                let all = count::add(prompt.bytes, spaces);
                Dissected::Message(all, PromptMessage::Prompt(prompt.text))
            }
            Ok(PromptToken::Known(_) | PromptToken::Nothing(_))
            | Err(LineError::Truncated { .. }) => Dissected::Unterminated,
            Err(LineError::TooLong) => {
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
        PromptScanner::new().next(input, PromptEnd::Any, |front| front.ends_with(b"yes!"))
    }

    #[test]
    fn whichever_ends_first() {
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
    fn silence_ends_a_prompt_where_one_may_stand() {
        let silent = Input { bytes: b"name? ", state: StreamState::Idle };
        assert_eq!(next(silent), Ok(PromptToken::Prompt(Line { text: b"name?", bytes: 6 })));
        let none = PromptScanner::new().next(silent, PromptEnd::Never, |_| false);
        assert_eq!(none, Ok(PromptToken::Nothing(Need::Input)));
        let empty = Input { bytes: b"", state: StreamState::Idle };
        assert_eq!(next(empty), Ok(PromptToken::Nothing(Need::Input)));
    }

    #[test]
    fn a_line_is_a_prompt_where_silence_follows_it() {
        let awaited = Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)));
        let line = Ok(PromptToken::Line(Line { text: b"name?", bytes: 6 }));
        for text in [&b"name?\n"[..], b"name?\n\r\n \t"] {
            assert_eq!(next(Input::open(text)), awaited);
            let silent = Input { bytes: text, state: StreamState::Idle };
            let prompt = Line { text: b"name?", bytes: text.len() };
            assert_eq!(next(silent), Ok(PromptToken::Prompt(prompt)));
            assert_eq!(next(Input::ended(text, StreamEnd::Closed)), line);
            // Where a prompt has no newline a line is none.
            for after in [StreamState::Open, StreamState::Idle] {
                let input = Input { bytes: text, state: after };
                assert_eq!(PromptScanner::new().next(input, PromptEnd::Silence, |_| false), line);
            }
        }
        let silent = Input { bytes: b"name?\nwhat ", state: StreamState::Idle };
        assert_eq!(next(silent), line);
        let mut prompts = PromptScanner::new();
        assert_eq!(prompts.next(Input::open(b"name?\n"), PromptEnd::Any, |_| false), awaited);
        assert_eq!(prompts, PromptScanner { looked: 5 });
        assert_eq!(prompts.next(silent, PromptEnd::Any, |_| false), line);
        // A full buffer has no room for what follows.
        let mut full = vec![b'x'; LINE_MAX];
        full.push(b'\n');
        assert!(
            matches!(next(Input::open(&full)), Ok(PromptToken::Line(line)) if line.bytes == LINE_BYTES)
        );
    }

    #[test]
    fn a_colon_ends_no_prompt_where_only_silence_does() {
        let next = |after| {
            let input = Input { bytes: b"name: ", state: after };
            PromptScanner::new().next(input, PromptEnd::Silence, |_| false)
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
    fn nothing_is_longer_than_a_line() {
        let mut longest = vec![b'x'; LINE_MAX];
        assert_eq!(
            next(Input::open(&longest)),
            Ok(PromptToken::Nothing(Need::InputOrIdle(PROMPT_SILENCE_MS)))
        );
        longest.push(b':');
        assert!(matches!(next(Input::open(&longest)), Ok(PromptToken::Prompt(_))));
        longest.insert(0, b'x');
        assert_eq!(next(Input::open(&longest)), Err(LineError::TooLong));
        let silent = Input { bytes: &longest, state: StreamState::Idle };
        assert_eq!(next(silent), Err(LineError::TooLong));
        let cut = next(Input::ended(b"nam", StreamEnd::Closed)).unwrap_err();
        assert_eq!(cut, LineError::Truncated { how: StreamEnd::Closed, got: 3 });
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut prompts = PromptScanner::new();
        let said = prompts.next(Input::open(b"ab"), PromptEnd::Any, |_| false);
        assert!(matches!(said, Ok(PromptToken::Nothing(_))));
        assert_eq!(prompts, PromptScanner { looked: 2 });
        let said = prompts.next(Input::open(b"abc: d"), PromptEnd::Any, |front| {
            assert!(front.len() > 2);
            false
        });
        assert_eq!(said, Ok(PromptToken::Prompt(Line { text: b"abc:", bytes: 4 })));
        assert_eq!(prompts, PromptScanner { looked: BEGUN });
    }

    #[test]
    fn a_byte_order_mark_at_the_very_start_is_skipped() {
        const MARKED: &[u8] = b"\xef\xbb\xbf pick:\xef\xbb\xbfx:";
        for cut in 0..3 {
            let mut prompts = PromptScanner::new();
            let mut next = |bytes| prompts.next(Input::open(bytes), PromptEnd::Any, |_| false);
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
