//! A terminal that a program runs in: keys can be typed, and its screen can be checked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use socklab_tests::program::{DEADLINE, Program, socklab, wait_until};

type Shown = Arc<(Mutex<vt100::Parser>, Condvar)>;

/// A terminal with a screen.
pub(crate) struct Screen {
    keys: File,
    slave: File,
    shown: Shown,
    mode: String,
}

impl Screen {
    /// Creates a terminal with this number of columns.
    pub(crate) fn new(columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let name = name.to_str().expect("a path").to_owned();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name)
            .expect("the other end of the terminal");
        let keys = File::from(master);
        let mut reader = keys.try_clone().expect("clone");
        let (rows, columns) = size(columns);
        let shown: Shown =
            Arc::new((Mutex::new(vt100::Parser::new(rows, columns, 0)), Condvar::new()));
        let screen = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux reports the end of a terminal as an error.
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                screen.0.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..n]);
                screen.1.notify_all();
            }
        });
        let this = Self { mode: mode(&slave), keys, slave, shown };
        this.resize(columns.get());
        this
    }

    /// Creates `socklab` with these arguments in this terminal.
    pub(crate) fn program(&self, args: &[&str]) -> Program {
        let end = || self.slave.try_clone().expect("clone");
        let program = socklab().to_str().expect("a path");
        Program::new(env!("CARGO_BIN_EXE_ctty"), &[&[program], args].concat())
            .stdin(end())
            .stdout(end())
            .stderr(end())
    }

    /// Types these keys.
    pub(crate) fn types(&self, keys: impl AsRef<[u8]>) {
        (&self.keys).write_all(keys.as_ref()).expect("the terminal takes keys");
    }

    /// Changes the number of columns.
    pub(crate) fn resize(&self, columns: u16) {
        let (rows, columns) = size(columns);
        self.shown.0.lock().expect("a screen").set_size(rows, columns);
        let size =
            Winsize { ws_row: rows.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).expect("a size");
    }

    /// Waits until exactly these lines are on the screen, and the cursor is `before` columns before
    /// the end of the last.
    #[track_caller]
    pub(crate) fn shows_with_cursor(&self, lines: &[&str], before: u16) {
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.shown.0.lock().expect("a screen");
        loop {
            let contents = screen.screen().contents();
            let got: Vec<&str> = contents.trim_end().lines().map(str::trim_end).collect();
            let (row, column) = screen.screen().cursor_position();
            let columns = usize::from(screen.screen().size().1.get());
            let width = |line: &&str| line.chars().count();
            // A line longer than a row continues in the next row and still counts as one line.
            let rows: usize = lines.iter().map(|l| width(l).saturating_sub(1) / columns + 1).sum();
            let end = (rows - 1, lines.last().map_or(0, width) - usize::from(before));
            let expected: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
            let text = expected.strip_suffix(&[""]).unwrap_or(&expected);
            if got == text && (usize::from(row), usize::from(column)) == end {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "expected {expected:#?}, on the screen is {got:#?}, the cursor in row {row}, \
                 column {column}, not {end:?}"
            );
            screen = self.shown.1.wait_timeout(screen, left).expect("a screen").0;
        }
    }

    /// Returns whether this text is on the screen now.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.shown.0.lock().expect("a screen").screen().contents().contains(text)
    }

    /// Waits until a row of the screen contains this text and returns the row.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.shown.0.lock().expect("a screen");
        loop {
            let contents = screen.screen().contents();
            if let Some(line) = contents.lines().find(|line| line.contains(text)) {
                return line.trim_end().to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} on the screen: {contents}");
            screen = self.shown.1.wait_timeout(screen, left).expect("a screen").0;
        }
    }

    /// Waits until exactly these lines are on the screen, with the cursor after the last. An empty
    /// last line means that a new line has started.
    #[track_caller]
    pub(crate) fn shows(&self, lines: &[&str]) {
        self.shows_with_cursor(lines, 0);
    }

    /// Checks that the terminal is as before: its mode, and no option that was switched on.
    #[track_caller]
    pub(crate) fn is_restored(&self) {
        let is_same = || (mode(&self.slave) == self.mode).then_some(());
        assert!(
            wait_until(DEADLINE, is_same).is_some(),
            "{}, was {}",
            mode(&self.slave),
            self.mode
        );
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.shown.0.lock().expect("a screen");
        while screen.screen().bracketed_paste() || screen.screen().hide_cursor() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "an option is still switched on");
            screen = self.shown.1.wait_timeout(screen, left).expect("a screen").0;
        }
    }
}

fn size(columns: u16) -> (NonZeroU16, NonZeroU16) {
    (NonZeroU16::new(24).expect("rows"), NonZeroU16::new(columns).expect("columns"))
}

fn mode(terminal: &File) -> String {
    format!("{:?}", tcgetattr(terminal).expect("a mode"))
}
