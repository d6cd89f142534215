//! Terminal of Windows: the console.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use winapi_util::console;

/// Flags of the mode of a console: see the documentation of SetConsoleMode.
mod flag {
    pub(super) const ENABLE_PROCESSED_INPUT: u32 = 0x1;
    pub(super) const ENABLE_LINE_INPUT: u32 = 0x2;
    pub(super) const ENABLE_ECHO_INPUT: u32 = 0x4;
    pub(super) const ENABLE_VIRTUAL_TERMINAL_INPUT: u32 = 0x200;
    pub(super) const ENABLE_PROCESSED_OUTPUT: u32 = 0x1;
    pub(super) const ENABLE_VIRTUAL_TERMINAL_PROCESSING: u32 = 0x4;
}

/// Keys that end the input, if the console edits the line.
pub(crate) const END_KEYS: &str = "Ctrl-Z and Enter";

/// The console that is edited on, with its modes at startup.
static SAVED: OnceLock<Saved> = OnceLock::new();

struct Saved {
    screen: Screen,
    input: u32,
    output: u32,
}

/// Way to the screen of the console.
enum Screen {
    Stderr,
    Stdout,
    /// Both streams are redirected. The console converts bytes of its name from its code page, so that characters other
    /// than ASCII may look wrong.
    Name(File),
}

impl Screen {
    /// Finds a stream that is the console, and returns it with its mode.
    fn find() -> Option<(Self, u32)> {
        if let Ok(mode) = console::mode(io::stderr()) {
            return Some((Self::Stderr, mode));
        }
        if let Ok(mode) = console::mode(io::stdout()) {
            return Some((Self::Stdout, mode));
        }
        // Reading is needed to get its mode.
        let file = OpenOptions::new().read(true).write(true).open("CONOUT$").ok()?;
        let mode = console::mode(&file).ok()?;
        Some((Self::Name(file), mode))
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self {
            Self::Stderr => console::set_mode(io::stderr(), mode),
            Self::Stdout => console::set_mode(io::stdout(), mode),
            Self::Name(file) => console::set_mode(file, mode),
        }
    }

    fn info(&self) -> io::Result<console::ScreenBufferInfo> {
        match self {
            Self::Stderr => console::screen_buffer_info(io::stderr()),
            Self::Stdout => console::screen_buffer_info(io::stdout()),
            Self::Name(file) => console::screen_buffer_info(file),
        }
    }
}

impl Saved {
    const fn raw_input(&self) -> u32 {
        self.input & !(flag::ENABLE_LINE_INPUT | flag::ENABLE_ECHO_INPUT)
            | flag::ENABLE_PROCESSED_INPUT
            | flag::ENABLE_VIRTUAL_TERMINAL_INPUT
    }

    const fn raw_output(&self) -> u32 {
        self.output | flag::ENABLE_PROCESSED_OUTPUT | flag::ENABLE_VIRTUAL_TERMINAL_PROCESSING
    }

    fn set_raw(&self) -> io::Result<()> {
        self.screen.set_mode(self.raw_output())?;
        console::set_mode(io::stdin(), self.raw_input())
    }

    fn restore(&self) {
        let _ = console::set_mode(io::stdin(), self.input);
        let _ = self.screen.set_mode(self.output);
    }
}

/// Terminal with cursor control, on which the program edits the line that a person types. It writes to the screen.
pub(crate) struct Terminal(&'static Saved);

impl Terminal {
    /// Finds the terminal. Returns `None` if standard input is not a terminal, or has no cursor control. The mode is
    /// not changed until [`set_raw`](Self::set_raw).
    ///
    /// `TERM` is usually not set, and need not be. Consoles before Windows 10 have no escape sequences: they edit the
    /// line themselves.
    ///
    /// # Errors
    ///
    /// Never here: a stream without a mode is not a console.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of all systems")]
    pub(crate) fn open() -> io::Result<Option<Self>> {
        if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return Ok(None);
        }
        let Ok(input) = console::mode(io::stdin()) else { return Ok(None) };
        let Some((screen, output)) = Screen::find() else { return Ok(None) };
        let saved = SAVED.get_or_init(|| Saved { screen, input, output });
        // A console refuses the flags that it does not know.
        let is_supported = saved.set_raw().is_ok();
        saved.restore();
        Ok(is_supported.then_some(Self(saved)))
    }

    /// Makes the terminal send every key, as the bytes of a VT100, and obey escape sequences. Keys such as Ctrl-C still
    /// cause signals.
    pub(crate) fn set_raw(&self) {
        let _ = self.0.set_raw();
    }

    /// Returns the number of columns, if it is known.
    pub(crate) fn columns(&self) -> Option<usize> {
        // The buffer can be wider than the window.
        let window = self.0.screen.info().ok()?.window_rect();
        usize::try_from(i32::from(window.right) - i32::from(window.left) + 1)
            .ok()
            .filter(|n| *n > 0)
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0.screen {
            Screen::Stderr => io::stderr().write(bytes),
            Screen::Stdout => io::stdout().write(bytes),
            Screen::Name(file) => (&*file).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &self.0.screen {
            Screen::Stderr => io::stderr().flush(),
            Screen::Stdout => io::stdout().flush(),
            Screen::Name(file) => (&*file).flush(),
        }
    }
}

/// Keys that a thread has read.
static KEYS: Mutex<Option<Receiver<io::Result<Vec<u8>>>>> = Mutex::new(None);

/// Waits for keys of the terminal, which must be [raw](Terminal::set_raw). Returns 0 once it is closed.
///
/// std returns 0 in two other cases: for Ctrl-Z, the key for the end of the input, which becomes Ctrl-D here; and for the
/// first of the two UTF-16 units of a character such as an emoji, if the console has not yet delivered the second one.
/// The second one follows at once, so a short time decides. That needs a second thread, because reading a console has no
/// time limit.
pub(crate) fn read_keys(bytes: &mut [u8]) -> io::Result<usize> {
    /// Limit for the second unit of a character.
    const SECOND_UNIT: Duration = Duration::from_millis(50);
    const CTRL_D: u8 = 4;
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if keys.is_none() {
        *keys = Some(start_reading(bytes.len())?);
    }
    let Some(keys) = keys.as_ref() else { return Ok(0) };
    let closed = |_| io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut read = keys.recv().map_err(closed)??;
    if read.is_empty() {
        match keys.recv_timeout(SECOND_UNIT) {
            // If this is empty too, the console is closed.
            Ok(next) => read = next?,
            Err(_) => read.push(CTRL_D),
        }
    }
    bytes[..read.len()].copy_from_slice(&read);
    Ok(read.len())
}

/// Starts a thread that reads at most `most` bytes at a time.
fn start_reading(most: usize) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, keys) = mpsc::sync_channel(0);
    thread::Builder::new().name("console".into()).spawn(move || {
        let mut bytes = vec![0; most];
        loop {
            let read = io::stdin().read(&mut bytes).map(|n| bytes[..n].to_vec());
            let is_last = read.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
            if sender.send(read).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(keys)
}

/// Restores the mode that the terminal had at startup, once all output is written.
pub(crate) fn restore() {
    if let Some(saved) = SAVED.get() {
        saved.restore();
    }
}

/// Restores the mode as [`restore`] does, but without waiting: output to a stopped terminal may never be written.
pub(crate) fn restore_now() {
    restore();
}
