use std::collections::VecDeque;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use socklab_core::wire::LINE_MAX;
use tui_input::{Input, InputRequest};

/// Largest number of bytes of the edited line. It exceeds the limit of a line, so that a line that is too long can be
/// reported and shortened.
const INPUT_MAX: usize = 4 * LINE_MAX;
/// Number of lines in the history.
const HISTORY: usize = 100;

const CANCEL: u8 = 0x18;
const DELETE: char = '\x7f';

/// Line editor. It takes the bytes that a terminal sends, and returns what they mean.
///
/// It does no I/O, so that it can be tested without a terminal.
#[derive(Default)]
pub(super) struct Editor {
    /// First bytes of a character whose other bytes have not been received.
    partial: Vec<u8>,
    parser: Parser<DefaultCharAccumulator>,
    keys: Keys,
    input: Input,
    /// Entered lines, newest first.
    history: VecDeque<String>,
    /// Index of the history line that is shown, and the text that was typed before.
    shown: Option<(usize, String)>,
}

/// Effect of a byte, other than a change of the edited text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// The line was entered.
    Line(String),
    /// A line was entered that is too long, with this number of bytes. It is in the history.
    TooLong(usize),
    /// Ctrl-D or Ctrl-Z on an empty line.
    End,
    /// Ctrl-L: clear the screen.
    Clear,
    /// The key or byte has no effect.
    Bell,
}

impl Editor {
    /// Returns the edited text.
    pub(super) const fn input(&self) -> &Input {
        &self.input
    }

    /// Processes a byte from the terminal.
    ///
    /// Bytes that are not UTF-8 are dropped with a bell, because they cannot be shown before they are sent. They are
    /// detected here, and not in the parser: it would drop the byte after them too, which may be an escape.
    pub(super) fn byte(&mut self, byte: u8) -> Option<Edit> {
        self.partial.push(byte);
        let mut edit = None;
        loop {
            let (n, is_valid) = match std::str::from_utf8(&self.partial) {
                Ok(text) => (text.len(), true),
                Err(e) => match (e.valid_up_to(), e.error_len()) {
                    (0, None) => return edit,
                    (0, Some(n)) => (n, false),
                    (n, _) => (n, true),
                },
            };
            if n == 0 {
                return edit;
            }
            let rest = self.partial.split_off(n);
            for byte in std::mem::replace(&mut self.partial, rest) {
                let next = if is_valid { self.valid(byte) } else { Some(Edit::Bell) };
                edit = next.or(edit);
            }
        }
    }

    fn valid(&mut self, byte: u8) -> Option<Edit> {
        if matches!(byte, b'\r' | b'\n') {
            // Cancels an unterminated escape sequence, which would otherwise consume this key.
            self.parser.advance(&mut self.keys, CANCEL);
        }
        self.parser.advance(&mut self.keys, byte);
        self.keys.key.take().and_then(|key| self.key(key))
    }

    fn key(&mut self, key: Key) -> Option<Edit> {
        match key {
            Key::Edit(InputRequest::InsertChar(c))
                if self.input.value().len() + c.len_utf8() > INPUT_MAX =>
            {
                return Some(Edit::Bell);
            }
            Key::Edit(InputRequest::Yank) => {
                let before = self.input.clone();
                self.input.handle(InputRequest::Yank);
                if self.input.value().len() > INPUT_MAX {
                    self.input = before;
                    return Some(Edit::Bell);
                }
            }
            Key::Edit(request) => {
                self.input.handle(request);
            }
            Key::Enter => return Some(self.enter()),
            Key::Older => return self.recall(self.shown.as_ref().map_or(0, |(at, _)| at + 1)),
            Key::Newer => match self.shown.take() {
                None => return Some(Edit::Bell),
                Some((0, typed)) => self.input = typed.into(),
                Some((at, typed)) => {
                    self.shown = Some((at, typed));
                    return self.recall(at - 1);
                }
            },
            Key::End if self.input.value().is_empty() => return Some(Edit::End),
            Key::End => {
                self.input.handle(InputRequest::DeleteNextChar);
            }
            Key::Clear => return Some(Edit::Clear),
        }
        None
    }

    fn enter(&mut self) -> Edit {
        let line = self.input.value_and_reset();
        self.shown = None;
        if !line.is_empty() && self.history.front() != Some(&line) {
            self.history.push_front(line.clone());
            self.history.truncate(HISTORY);
        }
        if line.len() > LINE_MAX { Edit::TooLong(line.len()) } else { Edit::Line(line) }
    }

    /// Shows the history line with this index. Index 0 is the newest line.
    fn recall(&mut self, at: usize) -> Option<Edit> {
        let Some(line) = self.history.get(at) else { return Some(Edit::Bell) };
        let typed = match self.shown.take() {
            Some((_, typed)) => typed,
            None => self.input.value().to_owned(),
        };
        self.input = line.clone().into();
        self.shown = Some((at, typed));
        None
    }
}

/// A key that has an effect.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Edit(InputRequest),
    Enter,
    Older,
    Newer,
    End,
    Clear,
}

/// Converter from the output of the escape sequence parser to keys. A byte produces at most one key.
#[derive(Default)]
struct Keys {
    key: Option<Key>,
    /// The next character names a key. It follows `ESC O`, or `ESC [ [` on the Linux console.
    named: bool,
    /// A bracketed paste is in progress. In it only the end of a line is a key.
    pasting: bool,
    /// The last byte was a carriage return. A newline after it belongs to the same key.
    returned: bool,
}

impl Keys {
    fn edit(&mut self, request: InputRequest) {
        self.key = Some(Key::Edit(request));
    }

    /// Sets the key that a letter names. `by_word` is set if Ctrl or Alt is pressed.
    fn named(&mut self, letter: u8, by_word: bool) {
        use InputRequest::{
            GoToEnd, GoToNextChar, GoToNextWord, GoToPrevChar, GoToPrevWord, GoToStart,
        };
        self.key = Some(match letter {
            b'A' => Key::Older,
            b'B' => Key::Newer,
            b'C' => Key::Edit(if by_word { GoToNextWord } else { GoToNextChar }),
            b'D' => Key::Edit(if by_word { GoToPrevWord } else { GoToPrevChar }),
            b'F' => Key::Edit(GoToEnd),
            b'H' => Key::Edit(GoToStart),
            b'M' => Key::Enter,
            _ => return,
        });
    }
}

impl Perform for Keys {
    fn print(&mut self, c: char) {
        self.returned = false;
        if std::mem::take(&mut self.named) {
            return self.named(u8::try_from(c).unwrap_or_default(), false);
        }
        match c {
            DELETE if self.pasting => {}
            DELETE => self.edit(InputRequest::DeletePrevChar),
            c if c.is_control() => {}
            c => self.edit(InputRequest::InsertChar(c)),
        }
    }

    fn execute(&mut self, byte: u8) {
        use InputRequest::{
            DeleteFromStart, DeletePrevChar, DeletePrevWord, DeleteTillEnd, GoToEnd, GoToNextChar,
            GoToPrevChar, GoToStart, InsertChar, Yank,
        };
        let returned = std::mem::replace(&mut self.returned, byte == b'\r');
        self.named = false;
        let key = match byte {
            CANCEL => {
                // `Editor::valid` inserts this byte, also between the two bytes of one key.
                self.returned = returned;
                return;
            }
            b'\n' if returned => return,
            b'\n' | b'\r' => Key::Enter,
            b'\t' => Key::Edit(InsertChar(' ')),
            _ if self.pasting => return,
            // Ctrl with a letter sends the position of the letter in the alphabet. The keys are those of Emacs, as in
            // shells.
            0x01 => Key::Edit(GoToStart),
            0x02 => Key::Edit(GoToPrevChar),
            // Ctrl-D, and Ctrl-Z, which ends the input on Windows. On Unix that is a signal and never a byte.
            0x04 | 0x1a => Key::End,
            0x05 => Key::Edit(GoToEnd),
            0x06 => Key::Edit(GoToNextChar),
            0x08 => Key::Edit(DeletePrevChar),
            0x0b => Key::Edit(DeleteTillEnd),
            0x0c => Key::Clear,
            0x0e => Key::Newer,
            0x10 => Key::Older,
            0x15 => Key::Edit(DeleteFromStart),
            0x17 => Key::Edit(DeletePrevWord),
            0x19 => Key::Edit(Yank),
            _ => return,
        };
        self.key = Some(key);
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: u8) {
        use InputRequest::{DeleteNextChar, DeleteNextWord, GoToEnd, GoToStart};
        self.returned = false;
        if !intermediates.is_empty() {
            return;
        }
        let param = |n: usize| params.iter().nth(n).and_then(|p| p.first()).copied().unwrap_or(0);
        // 1 plus a bit for each modifier key: 2 is Alt, 4 is Ctrl.
        let by_word = param(1).saturating_sub(1) & 0b110 != 0;
        match (action, param(0)) {
            (b'~', 200) => self.pasting = true,
            (b'~', 201) => self.pasting = false,
            _ if self.pasting => {}
            (b'~', 1 | 7) => self.edit(GoToStart),
            (b'~', 4 | 8) => self.edit(GoToEnd),
            (b'~', 3) => self.edit(if by_word { DeleteNextWord } else { DeleteNextChar }),
            (b'[', _) => self.named = true,
            (letter, 0 | 1) => self.named(letter, by_word),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        use InputRequest::{DeleteNextWord, GoToNextWord, GoToPrevWord};
        self.returned = false;
        if !intermediates.is_empty() || self.pasting {
            return;
        }
        match byte {
            b'O' => self.named = true,
            b'b' => self.edit(GoToPrevWord),
            b'd' => self.edit(DeleteNextWord),
            b'f' => self.edit(GoToNextWord),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(editor: &mut Editor, bytes: &[u8]) -> Vec<Edit> {
        bytes.iter().filter_map(|byte| editor.byte(*byte)).collect()
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        let edits = typed(&mut Editor::default(), bytes).into_iter();
        edits.filter_map(|e| if let Edit::Line(line) = e { Some(line) } else { None }).collect()
    }

    #[test]
    fn arrows_and_other_keys_edit_and_print_nothing() {
        for (bytes, line) in [
            (&b"held\x1b[D\x1b[Dllo wor\x1b[3~\x1b[C\r"[..], "hello word"),
            (b"bc\x1b[Ha\x1b[Fd\r", "abcd"),
            (b"bc\x1bOHa\x1bOFd\r", "abcd"),
            (b"bc\x1b[1~a\x1b[4~d\r", "abcd"),
            (b"two\x01one \x05 three\r", "one two three"),
            (b"one two\x1b[1;5D\x0b\r", "one "),
            (b"one two\x17three\r", "one three"),
            (b"one\x15two\r", "two"),
            (b"one two\x1bb\x1bd\r", "one "),
            (b"x\x0b\x08\x7f\r", ""),
            (b"kill\x01\x0b\x19\x19\r", "killkill"),
            // Keys without an effect: F1 to F5, Insert, page up, focus, mouse.
            (b"a\x1bOP\x1b[[A\x1b[15~\x1b[2~\x1b[5~\x1b[I\x1b[<0;1;1Mb\r", "ab"),
            // A lone escape, and an operating system command without an end.
            (b"a\x1b\r", "a"),
            (b"a\x1b]0;title\r", "a"),
            (b"tab\there\r", "tab here"),
        ] {
            assert_eq!(lines(bytes), [line], "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_character_of_several_bytes_is_edited_as_one() {
        assert_eq!(lines("käse\u{1b}[D\u{1b}[D\u{1b}[D\u{8}K\r".as_bytes()), ["Käse"]);
        assert_eq!(lines("a👩‍👩‍👧‍👦\u{8}b\r".as_bytes()), ["ab"], "a family is deleted at once");
    }

    #[test]
    fn invalid_utf8_is_dropped_without_the_key_after_it() {
        for (bytes, line, bells) in [
            // A letter of Latin-1, then a key.
            (&b"ab\xe9\x1b[Dz\r"[..], "azb", 1),
            (b"\xe9z\r", "z", 1),
            // The end of the line takes precedence over the bell.
            (b"x\xe9\r", "x", 0),
            (b"a\xff\xc3b\r", "ab", 2),
            // A truncated character, before a complete one and before the end of a line.
            ("a\u{65e5}".as_bytes().split_last().unwrap().1, "", 0),
            (b"\xe6\x97\xc3\xa4\r", "\u{e4}", 1),
            (b"\xe6\x97\x7fx\r", "x", 1),
            // Overlong, a surrogate, beyond Unicode.
            (b"\xc0\x80a\r", "a", 2),
            (b"\xed\xa0\x80a\r", "a", 2),
            (b"\xf4\x90\x80\x80a\r", "a", 3),
        ] {
            let edits = typed(&mut Editor::default(), bytes);
            let shown = bytes.escape_ascii().to_string();
            assert_eq!(edits.iter().filter(|e| **e == Edit::Bell).count(), bells, "{shown}");
            let entered = edits.iter().find_map(|e| match e {
                Edit::Line(line) => Some(line.as_str()),
                _ => None,
            });
            assert_eq!(entered.unwrap_or_default(), line, "{shown}");
        }
    }

    #[test]
    fn enter_is_one_key_for_cr_lf_and_crlf() {
        assert_eq!(lines(b"a\rb\nc\r\nd\n\re\r"), ["a", "b", "c", "d", "", "e"]);
    }

    #[test]
    fn pasted_text_contains_no_keys_but_ends_of_lines() {
        assert_eq!(
            lines(b"\x1b[200~one\x04\x15\x1b[A two\x7f\rthree\x1b[201~\x08\r"),
            ["one two", "thre"]
        );
        let mut editor = Editor::default();
        assert_eq!(typed(&mut editor, b"\x1b[200~\x04\x1b[201~"), []);
        for end in [b"\x04", b"\x1a"] {
            assert_eq!(typed(&mut editor, end), [Edit::End]);
        }
    }

    #[test]
    fn ctrl_d_ends_on_an_empty_line_only() {
        let mut editor = Editor::default();
        assert_eq!(typed(&mut editor, b"ab\x02\x04\x04"), [], "it deletes");
        assert_eq!(editor.input().value(), "a");
        assert_eq!(typed(&mut editor, b"\x08\x04"), [Edit::End]);
    }

    #[test]
    fn the_history_contains_entered_lines_and_keeps_the_unfinished_one() {
        let mut editor = Editor::default();
        typed(&mut editor, b"one\rtwo\rtwo\rbegun");
        let mut shows = |bytes: &[u8]| {
            let bell = typed(&mut editor, bytes).contains(&Edit::Bell);
            (editor.input().value().to_owned(), bell)
        };
        assert_eq!(shows(b"\x1b[A"), ("two".into(), false));
        assert_eq!(shows(b"\x1b[A"), ("one".into(), false), "the same line twice is there once");
        assert_eq!(shows(b"\x1b[A"), ("one".into(), true));
        assert_eq!(shows(b"\x1b[B"), ("two".into(), false));
        assert_eq!(shows(b"\x1b[B"), ("begun".into(), false));
        assert_eq!(shows(b"\x1b[B"), ("begun".into(), true));
    }

    #[test]
    fn a_line_that_is_too_long_is_not_entered_but_stays_in_the_history() {
        let mut editor = Editor::default();
        let long = vec![b'x'; LINE_MAX + 1];
        assert_eq!(typed(&mut editor, &long), []);
        assert_eq!(typed(&mut editor, b"\r"), [Edit::TooLong(LINE_MAX + 1)]);
        assert_eq!(typed(&mut editor, b"\x1b[A\x08\r"), [Edit::Line("x".repeat(LINE_MAX))]);
        // Further characters are refused at once, so that an endless paste does not use up memory.
        let edits = typed(&mut editor, &vec![b'x'; 3 * INPUT_MAX]);
        assert_eq!((edits.len(), editor.input().value().len()), (2 * INPUT_MAX, INPUT_MAX));
        typed(&mut editor, b"\x15\x19\x19");
        assert_eq!(editor.input().value().len(), INPUT_MAX, "the limit holds for a yank too");
    }
}
