use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr,
};
use socklab_core::wire::{Escaped, LINE_MAX};
use tui_input::Input;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::super::bar;
use super::editor::{Edit, Editor};

/// In front of what is typed when its prompt stands above it.
const SHORT_PROMPT: &str = "> ";

/// Number of columns that are left for what is typed, or the prompt stands above.
const ANSWER: usize = 24;

/// The terminal whose last row is being edited. While it is there, all that the program writes goes
/// [`above`] that row.
static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);
/// Whether it is there: a program without one takes no lock.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// The terminal's mode before we changed it.
static MODE: OnceLock<Termios> = OnceLock::new();

/// Writes something that is whole lines, so that it does not mix with a half-typed one, or with a
/// progress bar.
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

/// Finds the terminal, if there is one that can be drawn on. Whether there is.
///
/// [`Screen::enter`] then takes it.
pub(super) fn open() -> io::Result<bool> {
    if !io::stdin().is_terminal() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
        return Ok(false);
    }
    let tty: Box<dyn Write + Send> = if io::stderr().is_terminal() {
        Box::new(io::stderr())
    } else if let Ok(tty) = OpenOptions::new().write(true).open("/dev/tty") {
        Box::new(tty)
    } else {
        return Ok(false);
    };
    let mode = tcgetattr(io::stdin())?;
    let _ = MODE.set(mode);
    let editor = Editor::default();
    *lock() = Some(Screen { tty, editor, turn: Turn::Nobody, ahead: 0, raw: false });
    ACTIVE.store(true, Ordering::Release);
    Ok(true)
}

/// Gives the terminal back as it was.
pub(super) fn close() {
    if let Some(mut screen) = lock().take() {
        screen.leave();
    }
    ACTIVE.store(false, Ordering::Release);
}

/// As [`close`], by a thread that must not wait without a limit: another may be stuck in writing to a
/// terminal that takes nothing.
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
    restore_mode(OptionalActions::Now);
}

fn restore_mode(when: OptionalActions) {
    if let Some(mode) = MODE.get() {
        let _ = tcsetattr(io::stdin(), when, mode);
    }
}

/// Whose turn it is, which is what stands in front of the line.
enum Turn {
    /// Nothing is expected.
    Nobody,
    /// The person's, with this prompt.
    Ours(String),
    /// The other side's. What is typed is kept.
    Theirs(String),
}

pub(super) struct Screen {
    tty: Box<dyn Write + Send>,
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
    /// It was typed ahead, and is to be shown when it is taken.
    pub(super) ahead: bool,
}

impl Screen {
    /// Makes the terminal send every key. Ctrl-C and its like stay signals.
    pub(super) fn enter(&mut self) {
        let Some(mode) = MODE.get() else { return };
        let mut raw = mode.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &raw);
        self.raw = true;
        // Bracketed paste: what is pasted comes marked.
        self.put("\x1b[?2004h");
        self.draw();
    }

    /// Removes the row and gives the terminal back.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.raw) {
            self.put("\r\x1b[K\x1b[?2004l");
            restore_mode(OptionalActions::Drain);
        }
    }

    /// It is the person's turn.
    pub(super) fn ask(&mut self, prompt: &str) {
        let mut prompt = one_row(prompt);
        if prompt.width() + ANSWER > self.columns() {
            self.put(&format!("\r\x1b[K{prompt}\r\n"));
            prompt = SHORT_PROMPT.into();
        }
        self.turn = Turn::Ours(prompt);
        self.draw();
    }

    /// It is not.
    pub(super) fn wait(&mut self, why: &str) {
        self.turn = Turn::Theirs(one_row(why));
        self.draw();
    }

    /// A line that was typed ahead is taken: it is shown as if it were typed now.
    pub(super) fn advance_inbound(&mut self, line: &str) {
        self.ahead = self.ahead.saturating_sub(1);
        self.commit(line);
    }

    /// What was typed ahead is not wanted any more.
    pub(super) fn forget(&mut self) {
        self.ahead = 0;
        self.draw();
    }

    /// What the terminal sent.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> (Vec<Entered>, bool) {
        let mut entered = Vec::new();
        let mut end = false;
        for byte in bytes {
            match self.editor.byte(*byte) {
                None => {}
                Some(Edit::Line(line)) => {
                    let ahead = !matches!(self.turn, Turn::Ours(_));
                    if ahead {
                        self.ahead += 1;
                    } else {
                        self.commit(&line);
                    }
                    entered.push(Entered { line, ahead });
                }
                Some(Edit::TooLong(length)) => self.put(&format!(
                    "\r\x1b[Knot sent: the line has {length} bytes, at most {LINE_MAX} are allowed; \
                     arrow up brings it back\r\n"
                )),
                Some(Edit::End) => end = true,
                Some(Edit::Clear) => self.put("\x1b[H\x1b[2J"),
                Some(Edit::Bell) => self.put("\x07"),
            }
        }
        self.draw();
        (entered, end)
    }

    /// Leaves the row as it is now, whole, and goes on in the next.
    fn commit(&mut self, line: &str) {
        let prompt = match std::mem::replace(&mut self.turn, Turn::Nobody) {
            Turn::Ours(prompt) => prompt,
            Turn::Nobody | Turn::Theirs(_) => SHORT_PROMPT.into(),
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
            Turn::Nobody => String::new(),
            Turn::Ours(prompt) => prompt.clone(),
            Turn::Theirs(why) => format!("({why}{ahead}) "),
        };
        let row = row(&prompt, self.editor.input(), self.columns());
        self.put(&row);
    }

    fn columns(&self) -> usize {
        match tcgetwinsize(io::stdin()) {
            Ok(size) if size.ws_col > 0 => size.ws_col.into(),
            _ => 80,
        }
    }

    /// That it cannot be shown is not a reason to fail.
    fn put(&mut self, text: &str) {
        let _ = self.tty.write_all(text.as_bytes()).and_then(|()| self.tty.flush());
    }
}

/// A prompt is one row and does nothing to the terminal: a peer may have said it.
pub(super) fn one_row(text: &str) -> String {
    Escaped(text.as_bytes()).to_string().replace(['\n', '\t'], " ")
}

/// Draws prompt and line in one row of this number of columns, the line scrolled so that the cursor is in it.
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
    // The columns in front of the cursor are the whole line's, so that it does not jump.
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
    fn a_row_is_no_longer_than_the_terminal_and_has_the_cursor_in_it() {
        let input = |text: &str, cursor| Input::new(text.into()).with_cursor(cursor);
        for (text, cursor, expected) in [
            ("", 0, "\rname: \x1b[K\r\x1b[6C"),
            ("abc", 3, "\rname: abc\x1b[K\r\x1b[9C"),
            ("abc", 0, "\rname: abc\x1b[K\r\x1b[6C"),
            // Twelve columns, the last stays free: the cursor stands behind the last character.
            ("abcdefgh", 8, "\rname: defgh\x1b[K\r\x1b[11C"),
            ("abcdefgh", 0, "\rname: abcde\x1b[K\r\x1b[6C"),
            // A character of two columns is shown whole or not.
            ("日本語", 3, "\rname: 本語\x1b[K\r\x1b[10C"),
            ("日本語", 0, "\rname: 日本\x1b[K\r\x1b[6C"),
        ] {
            assert_eq!(row("name: ", &input(text, cursor), 12), expected, "{text:?} {cursor}");
        }
        assert_eq!(row("a long prompt: ", &input("abc", 3), 5), "\ra lo\x1b[K\r\x1b[4C");
        assert_eq!(row("> ", &input("abc", 3), 0), "\r\x1b[K\r");
    }

    #[test]
    fn a_prompt_does_nothing_to_the_terminal() {
        assert_eq!(one_row("a\x1b[2J\n\tb\u{202e}"), "a\\x1b[2J  b\\u{202e}");
    }
}
