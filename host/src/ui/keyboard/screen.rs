use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socklab_core::wire::{Escaped, LINE_MAX};
use tui_input::Input;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::super::bar;
use super::editor::{Edit, Editor};
use crate::sys::terminal::{self, Terminal};

/// Prompt of the edited row if the full prompt stands in a row above.
const SHORT_PROMPT: &str = "> ";

/// Smallest number of columns for the typed text. A prompt that leaves fewer stands in a row above.
const ANSWER: usize = 24;

/// The terminal whose last row is being edited. While there is one, the program writes all lines [`above`] that row.
static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);
/// There is a screen. Without one, no lock is taken.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Calls `write`, which must write whole lines, so that they do not mix with the edited row or a progress bar.
pub(crate) fn above<R>(write: impl FnOnce() -> R) -> R {
    if !ACTIVE.load(Ordering::Acquire) {
        return bar::above(write);
    }
    let mut screen = lock();
    let Some(screen) = screen.as_mut() else { return write() };
    screen.put("\r\x1b[K");
    let written = write();
    screen.draw();
    written
}

pub(super) fn lock() -> MutexGuard<'static, Option<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds a terminal with cursor control. Returns whether there is one.
///
/// Its mode is not changed until [`Screen::enter`] is called.
pub(super) fn open() -> io::Result<bool> {
    let Some(terminal) = Terminal::open()? else { return Ok(false) };
    let editor = Editor::default();
    *lock() = Some(Screen { terminal, editor, turn: Turn::None, ahead: 0, raw: false });
    ACTIVE.store(true, Ordering::Release);
    Ok(true)
}

/// Restores the terminal and removes the screen.
pub(super) fn close() {
    if let Some(mut screen) = lock().take() {
        screen.leave();
    }
    ACTIVE.store(false, Ordering::Release);
}

/// Restores the terminal as [`close`] does, but waits at most half a second for the lock: another thread may be blocked in
/// writing to a stopped terminal.
pub(super) fn close_now() {
    for _ in 0..100 {
        match SCREEN.try_lock() {
            Ok(mut screen) => {
                if let Some(screen) = screen.as_mut() {
                    screen.leave();
                }
                return;
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    terminal::restore_now();
}

/// Whose turn it is. It determines the prompt.
enum Turn {
    /// No input is expected.
    None,
    /// The user's turn, with a prompt.
    User(String),
    /// The peer's turn, with a status. Typed lines are kept.
    Peer(String),
}

pub(super) struct Screen {
    terminal: Terminal,
    editor: Editor,
    turn: Turn,
    /// Number of lines typed ahead.
    ahead: usize,
    raw: bool,
}

/// A line that has been entered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) line: String,
    /// The line was typed ahead. It is shown when it is taken.
    pub(super) ahead: bool,
}

impl Screen {
    /// Makes the terminal send every key. Keys such as Ctrl-C still cause signals.
    pub(super) fn enter(&mut self) {
        self.terminal.set_raw();
        self.raw = true;
        // Bracketed paste: the terminal marks pasted text.
        self.put("\x1b[?2004h");
        self.draw();
    }

    /// Clears the row and restores the mode of the terminal.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.raw) {
            self.put("\r\x1b[K\x1b[?2004l");
            terminal::restore();
        }
    }

    /// Starts the user's turn.
    pub(super) fn ask(&mut self, prompt: &str) {
        let mut prompt = one_row(prompt);
        if prompt.width() + ANSWER > self.columns() {
            self.put(&format!("\r\x1b[K{prompt}\r\n"));
            prompt = SHORT_PROMPT.into();
        }
        self.turn = Turn::User(prompt);
        self.draw();
    }

    /// Starts the peer's turn.
    pub(super) fn wait(&mut self, status: &str) {
        self.turn = Turn::Peer(one_row(status));
        self.draw();
    }

    /// Shows a line that was typed ahead and is taken now.
    pub(super) fn show_typed_ahead(&mut self, line: &str) {
        self.ahead = self.ahead.saturating_sub(1);
        self.commit(line);
    }

    /// Resets the number of lines typed ahead.
    pub(super) fn discard_typed_ahead(&mut self) {
        self.ahead = 0;
        self.draw();
    }

    /// Processes bytes from the terminal. Returns the entered lines, and whether the user has ended the input.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> (Vec<Entered>, bool) {
        let mut entered = Vec::new();
        let mut end = false;
        for byte in bytes {
            match self.editor.byte(*byte) {
                None => {}
                Some(Edit::Line(line)) => {
                    let ahead = !matches!(self.turn, Turn::User(_));
                    if ahead {
                        self.ahead += 1;
                    } else {
                        self.commit(&line);
                    }
                    entered.push(Entered { line, ahead });
                }
                Some(Edit::TooLong(length)) => self.put(&format!(
                    "\r\x1b[Knot sent: the line has {length} bytes, at most {LINE_MAX} are allowed; \
                     press arrow up to edit it\r\n"
                )),
                Some(Edit::End) => end = true,
                Some(Edit::Clear) => self.put("\x1b[H\x1b[2J"),
                Some(Edit::Bell) => self.put("\x07"),
            }
        }
        self.draw();
        (entered, end)
    }

    /// Writes prompt and line completely, and moves to the next row.
    fn commit(&mut self, line: &str) {
        let prompt = match std::mem::replace(&mut self.turn, Turn::None) {
            Turn::User(prompt) => prompt,
            Turn::None | Turn::Peer(_) => SHORT_PROMPT.into(),
        };
        self.put(&format!("\r\x1b[K{prompt}{line}\r\n"));
    }

    pub(super) fn draw(&mut self) {
        if !self.raw {
            return;
        }
        let ahead = match self.ahead {
            0 => String::new(),
            1 => ", 1 line typed ahead".into(),
            n => format!(", {n} lines typed ahead"),
        };
        let prompt = match &self.turn {
            Turn::None => String::new(),
            Turn::User(prompt) => prompt.clone(),
            Turn::Peer(status) => format!("({status}{ahead}) "),
        };
        let row = row(&prompt, self.editor.input(), self.columns());
        self.put(&row);
    }

    fn columns(&self) -> usize {
        self.terminal.columns().unwrap_or(80)
    }

    /// Writes to the terminal. Errors are ignored: the program can continue without a display.
    fn put(&mut self, text: &str) {
        let _ = self.terminal.write_all(text.as_bytes()).and_then(|()| self.terminal.flush());
    }
}

/// Returns text as one row that is safe for the terminal. It may come from a peer.
pub(super) fn one_row(text: &str) -> String {
    Escaped(text.as_bytes()).to_string().replace(['\n', '\t'], " ")
}

/// Returns the output that draws prompt and line in one row of `columns` columns. The line is scrolled so that the cursor
/// is visible.
fn row(prompt: &str, input: &Input, columns: usize) -> String {
    let mut room = columns.saturating_sub(1);
    let mut row = String::from("\r");
    let mut put = |text: &str| {
        for grapheme in text.graphemes(true) {
            let width = grapheme.width();
            if width > room {
                break;
            }
            room -= width;
            row.push_str(grapheme);
        }
        room
    };
    let room = put(prompt);
    let prompt_columns = columns.saturating_sub(1) - room;
    // `visual_scroll` counts all columns before the cursor, so the text does not jump while it scrolls.
    let scroll = input.visual_scroll(room);
    let mut left_out = 0;
    let shown = input.value().graphemes(true).skip_while(|grapheme| {
        let skip = left_out < scroll;
        left_out += if skip { grapheme.width() } else { 0 };
        skip
    });
    put(&shown.collect::<String>());
    let cursor = prompt_columns + input.visual_cursor().saturating_sub(scroll);
    let _ = write!(row, "\x1b[K\r");
    if cursor > 0 {
        let _ = write!(row, "\x1b[{cursor}C");
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_fits_the_terminal_and_contains_the_cursor() {
        let input = |text: &str, cursor| Input::new(text.into()).with_cursor(cursor);
        for (text, cursor, expected) in [
            ("", 0, "\rname: \x1b[K\r\x1b[6C"),
            ("abc", 3, "\rname: abc\x1b[K\r\x1b[9C"),
            ("abc", 0, "\rname: abc\x1b[K\r\x1b[6C"),
            // The last of the twelve columns is for the cursor after the last character.
            ("abcdefgh", 8, "\rname: defgh\x1b[K\r\x1b[11C"),
            ("abcdefgh", 0, "\rname: abcde\x1b[K\r\x1b[6C"),
            // A character of two columns is shown completely or not at all.
            ("日本語", 3, "\rname: 本語\x1b[K\r\x1b[10C"),
            ("日本語", 0, "\rname: 日本\x1b[K\r\x1b[6C"),
        ] {
            assert_eq!(row("name: ", &input(text, cursor), 12), expected, "{text:?} {cursor}");
        }
        assert_eq!(row("a long prompt: ", &input("abc", 3), 5), "\ra lo\x1b[K\r\x1b[4C");
        assert_eq!(row("> ", &input("abc", 3), 0), "\r\x1b[K\r");
    }

    #[test]
    fn control_characters_in_a_prompt_are_escaped() {
        assert_eq!(one_row("a\x1b[2J\n\tb\u{202e}"), "a\\x1b[2J  b\\u{202e}");
    }
}
