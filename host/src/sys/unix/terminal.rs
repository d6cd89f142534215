//! Terminal of Unix.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::sync::OnceLock;

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr,
};

/// Keys that end the input, if the driver of the terminal edits the line.
pub(crate) const END_KEYS: &str = "Ctrl-D";

/// Mode of the terminal at startup.
static MODE: OnceLock<Termios> = OnceLock::new();

/// Terminal with cursor control, on which the program edits the line that a person types. It writes to the screen.
pub(crate) struct Terminal(Box<dyn Write + Send>);

impl Terminal {
    /// Finds the terminal. Returns `None` if standard input is not a terminal, or has no cursor control. The mode is
    /// not changed until [`set_raw`](Self::set_raw).
    ///
    /// It is written to by way of standard error, or by its own name if that is redirected.
    ///
    /// # Errors
    ///
    /// If its mode cannot be read.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || std::env::var_os("TERM").is_none_or(|term| term == "dumb")
        {
            return Ok(None);
        }
        let output: Box<dyn Write + Send> = if io::stderr().is_terminal() {
            Box::new(io::stderr())
        } else if let Ok(tty) = OpenOptions::new().write(true).open("/dev/tty") {
            Box::new(tty)
        } else {
            return Ok(None);
        };
        let _ = MODE.set(tcgetattr(io::stdin())?);
        Ok(Some(Self(output)))
    }

    /// Makes the terminal send every key, as the bytes of a VT100, and obey escape sequences. Keys such as Ctrl-C still
    /// cause signals.
    pub(crate) fn set_raw(&self) {
        let Some(mode) = MODE.get() else { return };
        let mut raw = mode.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &raw);
    }

    /// Returns the number of columns, if it is known.
    pub(crate) fn columns(&self) -> Option<usize> {
        let columns = tcgetwinsize(io::stdin()).ok()?.ws_col;
        (columns > 0).then(|| columns.into())
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Waits for keys of the terminal, which must be [raw](Terminal::set_raw). Returns 0 once it is closed.
pub(crate) fn read_keys(bytes: &mut [u8]) -> io::Result<usize> {
    io::stdin().read(bytes)
}

/// Restores the mode that the terminal had at startup, once all output is written.
pub(crate) fn restore() {
    set_mode(OptionalActions::Drain);
}

/// Restores the mode as [`restore`] does, but without waiting: output to a stopped terminal may never be written.
pub(crate) fn restore_now() {
    set_mode(OptionalActions::Now);
}

fn set_mode(when: OptionalActions) {
    if let Some(mode) = MODE.get() {
        let _ = tcsetattr(io::stdin(), when, mode);
    }
}
