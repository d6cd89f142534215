//! What a person types.
//!
//! ```text
//!   a terminal:  keys -> Editor -> lines --+
//!                         ^                 |       +--> next()     in the person's turn
//!     above(), ask() -> Screen              +-> Queue
//!                                           |       +--> pressed()  at any time
//!   no terminal: stdin ----------> lines ---+
//!   signals:     Ctrl-C, SIGTERM -----------+
//! ```
//!
//! Keys and signals come in threads of their own, which wake the thread that sleeps on a socket. A line
//! that comes before it is asked for is kept.

mod editor;
mod screen;

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::Waker;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level::emulate_default_handler;
use socklab_core::wire::{LINE_BYTES, LINE_MAX};

use self::screen::Entered;
pub(crate) use self::screen::above;
use super::signals;
use super::streams::check_stdin;

/// Number of lines that are kept; then stdin is not read until one is taken.
const KEPT: usize = 256;

/// What a person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line, without its end. At most [`LINE_MAX`] bytes; from a pipe they may be any.
    Line(Vec<u8>),
    /// There are no more lines: Ctrl-D, or the end of the pipe or file.
    End,
    /// Ctrl-C, or SIGTERM: the program is to end soon. Asked a second time it ends at once, which
    /// nobody is told.
    Interrupted,
}

/// Lines from a terminal, edited, or from a pipe or file, as they are.
///
/// There is one in a program, since there is one stdin. Dropping it gives the terminal back.
#[derive(Debug)]
pub(crate) struct Keyboard {
    shared: Arc<Shared>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A terminal that is drawn on.
    Edited,
    /// A terminal that can do nothing: it edits and echoes itself.
    Dumb,
    /// No terminal.
    Pipe,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Entry>,
    interrupted: bool,
    /// Number of interrupts. At the second the program ends.
    interrupts: u32,
    waker: Option<Arc<Waker>>,
    /// The keyboard is gone.
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Typed ahead, and to be shown when it is taken.
    Ahead(String),
    Interrupted,
    End,
    Failed(io::Error),
}

impl Keyboard {
    /// Starts to take what is typed.
    ///
    /// # Errors
    ///
    /// When stdin is closed, the system has no thread, or the terminal cannot be set.
    pub(crate) fn new() -> io::Result<Self> {
        super::signals::take();
        check_stdin()?;
        let shared = Arc::<Shared>::default();
        let kind = if screen::open()? {
            Kind::Edited
        } else if io::stdin().is_terminal() {
            Kind::Dumb
        } else {
            Kind::Pipe
        };
        // From here on a failure gives the terminal back.
        let this = Self { shared, kind };
        let mut signals = signals::watch(match kind {
            Kind::Edited => &[SIGINT, SIGTERM, SIGCONT, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH],
            Kind::Dumb | Kind::Pipe => &[SIGINT, SIGTERM],
        })?;
        let shared = Arc::clone(&this.shared);
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                shared.signal(signal);
            }
        })?;
        let shared = Arc::clone(&this.shared);
        thread::Builder::new().name("stdin".into()).spawn(move || match kind {
            Kind::Edited => shared.read_keys(),
            Kind::Dumb | Kind::Pipe => shared.read_lines(io::stdin().lock()),
        })?;
        if let Some(screen) = screen::lock().as_mut() {
            screen.enter();
        }
        Ok(this)
    }

    /// From here on what is typed wakes this poll.
    pub(crate) fn wake(&self, waker: Arc<Waker>) {
        // What has come before is to be seen too.
        let _ = waker.wake();
        self.shared.queue().waker = Some(waker);
    }

    /// It is the person's turn: says what is expected. Control characters in it are escaped, so it
    /// may be a peer's.
    ///
    /// Nothing is shown where no person looks.
    pub(crate) fn ask(&self, prompt: &str) {
        match self.kind {
            Kind::Edited => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.ask(prompt);
                }
            }
            Kind::Dumb => {
                let prompt = screen::one_row(prompt);
                let _ = io::stderr().write_all(prompt.as_bytes());
            }
            Kind::Pipe => {}
        }
    }

    /// It is not the person's turn: says what is waited for, such as "waiting for the other side".
    /// What is typed meanwhile is kept.
    pub(crate) fn wait(&self, why: &str) {
        if let Some(screen) = screen::lock().as_mut() {
            screen.wait(why);
        }
    }

    /// The oldest thing that was typed, `None` when nothing was. An interrupt comes first, and
    /// once; an end stays.
    ///
    /// # Errors
    ///
    /// When stdin cannot be read, or a line from a pipe is too long. It is told once.
    pub(crate) fn next(&self) -> io::Result<Option<Typed>> {
        let mut queue = self.shared.queue();
        let next = queue.take();
        drop(queue);
        self.shared.changed.notify_all();
        self.show(next)
    }

    /// As [`next`](Self::next), but waits for it: for questions that are asked before there is a
    /// connection.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub(crate) fn next_blocking(&self) -> io::Result<Typed> {
        loop {
            let mut queue = self.shared.queue();
            let next = loop {
                match queue.take() {
                    None => queue = self.shared.wait(queue),
                    next => break next,
                }
            };
            drop(queue);
            self.shared.changed.notify_all();
            if let Some(typed) = self.show(next)? {
                return Ok(typed);
            }
        }
    }

    /// What cannot wait for the person's turn: an interrupt, or an end with no line before it.
    pub(crate) fn pressed(&self) -> Option<Typed> {
        let mut queue = self.shared.queue();
        if std::mem::take(&mut queue.interrupted) {
            return Some(Typed::Interrupted);
        }
        matches!(queue.lines.front(), Some(Entry::End)).then_some(Typed::End)
    }

    /// Whether a person types, and not a script.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind != Kind::Pipe
    }

    /// Drops what a person typed ahead; a script's lines stay.
    pub(crate) fn forget(&self) {
        if !self.is_terminal() {
            return;
        }
        // Both at once, as they come: what is on its way is not for later either.
        let mut screen = screen::lock();
        self.shared.queue().lines.retain(|entry| matches!(entry, Entry::End));
        if let Some(screen) = screen.as_mut() {
            screen.forget();
        }
        drop(screen);
        self.shared.changed.notify_all();
    }

    /// Puts a line back that was taken and did not reach anyone: it is the next that is taken. For a
    /// script's lines: a person knows better whether what they typed is for the next peer too.
    pub(crate) fn put_back(&self, line: Vec<u8>) {
        self.shared.queue().lines.push_front(Entry::Line(line));
    }

    /// Number of lines that were typed and not taken.
    pub(crate) fn left(&self) -> usize {
        let queue = self.shared.queue();
        queue.lines.iter().filter(|e| matches!(e, Entry::Line(_) | Entry::Ahead(_))).count()
    }

    fn show(&self, next: Option<Entry>) -> io::Result<Option<Typed>> {
        if self.kind == Kind::Dumb && matches!(next, Some(Entry::Interrupted | Entry::End)) {
            // What follows is not to stand behind the prompt.
            let _ = io::stderr().write_all(b"\n");
        }
        Ok(match next {
            None => None,
            Some(Entry::Line(line)) => Some(Typed::Line(line)),
            Some(Entry::Ahead(line)) => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.advance_inbound(&line);
                }
                Some(Typed::Line(line.into_bytes()))
            }
            Some(Entry::Interrupted) => Some(Typed::Interrupted),
            Some(Entry::End) => Some(Typed::End),
            Some(Entry::Failed(e)) => return Err(e),
        })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // The thread that reads stays in its read: it ends with the program.
        self.shared.queue().closed = true;
        screen::close();
    }
}

impl Queue {
    fn take(&mut self) -> Option<Entry> {
        if std::mem::take(&mut self.interrupted) {
            return Some(Entry::Interrupted);
        }
        match self.lines.front() {
            Some(Entry::End) => Some(Entry::End),
            _ => self.lines.pop_front(),
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the threads that wait: something has come.
    fn wake(&self, queue: MutexGuard<'_, Queue>) {
        let waker = queue.waker.clone();
        drop(queue);
        self.changed.notify_all();
        if let Some(waker) = waker {
            // A poll that is gone needs no waking.
            let _ = waker.wake();
        }
    }

    /// Waits until there is room for what comes next. Whether somebody still wants it.
    fn has_room(&self) -> bool {
        let mut queue = self.queue();
        while queue.lines.len() >= KEPT && !queue.closed {
            queue = self.wait(queue);
        }
        !queue.closed
    }

    /// Keeps what has come.
    fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut queue = self.queue();
        queue.lines.extend(entries);
        self.wake(queue);
    }

    /// Keys from a terminal, until it is gone.
    fn read_keys(&self) {
        let mut bytes = [0; 1024];
        while self.has_room() {
            let n = match io::stdin().read(&mut bytes) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // The terminal has hung up.
                Err(_) => 0,
            };
            let mut screen = screen::lock();
            let Some(screen) = screen.as_mut() else { return };
            let (entered, end) = screen.typed(&bytes[..n]);
            // Before the screen is let go: see `forget`.
            self.push(entered.into_iter().map(|Entered { line, ahead }| {
                if ahead { Entry::Ahead(line) } else { Entry::Line(line.into_bytes()) }
            }));
            if end || n == 0 {
                self.push([Entry::End]);
                return;
            }
        }
    }

    /// Lines that are not edited, until their end.
    fn read_lines(&self, mut from: impl BufRead) {
        for number in 1_u64.. {
            let entry = match read_line(&mut from, number) {
                Ok(Some(line)) => Entry::Line(line),
                Ok(None) => Entry::End,
                Err(e) => Entry::Failed(e),
            };
            let is_last = !matches!(entry, Entry::Line(_));
            self.push([entry]);
            if is_last || !self.has_room() {
                return;
            }
        }
    }

    fn signal(&self, signal: i32) {
        match signal {
            SIGWINCH => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.draw();
                }
            }
            SIGTSTP => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.leave();
                }
                // Returns when the shell has us go on, which SIGCONT tells too.
                let _ = emulate_default_handler(signal);
            }
            SIGCONT => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.enter();
                }
            }
            SIGINT | SIGTERM => {
                let mut queue = self.queue();
                queue.interrupts += 1;
                if queue.interrupts > 1 || queue.closed {
                    drop(queue);
                    screen::close_now();
                    let _ = emulate_default_handler(signal);
                } else {
                    queue.interrupted = true;
                    self.wake(queue);
                }
            }
            _ => {
                screen::close_now();
                let _ = emulate_default_handler(signal);
            }
        }
    }
}

/// The next line without its end, `None` at the end of them.
fn read_line(from: &mut impl BufRead, number: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // A carriage return may stand before the newline, and is none of the line's bytes.
    let most = LINE_BYTES as u64 + 1;
    if from.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() > LINE_MAX {
        let text = format!("line {number} has more than {LINE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes in a pipe.
    fn piped(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        let shared = Arc::<Shared>::default();
        let reader = Arc::clone(&shared);
        let bytes = bytes.to_vec();
        let thread = thread::spawn(move || reader.read_lines(&bytes[..]));
        let keyboard = Keyboard { shared, kind: Kind::Pipe };
        let mut lines = Vec::new();
        let error = loop {
            match keyboard.next_blocking() {
                Ok(Typed::Line(line)) => lines.push(line),
                Ok(Typed::End) => break None,
                Ok(Typed::Interrupted) => panic!("nobody interrupted"),
                Err(e) => break Some(e.to_string()),
            }
        };
        if error.is_none() {
            assert_eq!(keyboard.next().unwrap(), Some(Typed::End), "an end stays");
        }
        thread.join().unwrap();
        (lines, error)
    }

    #[test]
    fn lines_of_a_pipe_come_as_they_are() {
        assert_eq!(piped(b""), (vec![], None));
        assert_eq!(
            piped(b"one\r\n\ntwo\xff\x1b[A\r\r\nlast"),
            (
                vec![b"one".to_vec(), b"".to_vec(), b"two\xff\x1b[A\r".to_vec(), b"last".to_vec()],
                None
            )
        );
        let many = b"x\n".repeat(3 * KEPT);
        assert_eq!(piped(&many).0.len(), 3 * KEPT, "more than are kept at a time");
    }

    #[test]
    fn a_line_of_a_pipe_that_is_too_long_is_an_error() {
        let mut longest = vec![b'x'; LINE_MAX];
        longest.extend_from_slice(b"\r\n");
        assert_eq!(piped(&longest), (vec![vec![b'x'; LINE_MAX]], None));
        let longer = [b"one\n", vec![b'x'; LINE_MAX + 1].as_slice(), b"\n"].concat();
        let error = Some("line 2 has more than 1024 bytes".to_owned());
        assert_eq!(piped(&longer), (vec![b"one".to_vec()], error.clone()));
        let endless = [b"one\n", vec![b'x'; 1 << 20].as_slice()].concat();
        assert_eq!(piped(&endless), (vec![b"one".to_vec()], error));
    }

    #[test]
    fn an_interrupt_comes_first_and_an_end_last() {
        let shared = Arc::<Shared>::default();
        let keyboard = Keyboard { shared, kind: Kind::Pipe };
        assert_eq!((keyboard.next().unwrap(), keyboard.pressed()), (None, None));
        keyboard.shared.push([Entry::Line(b"typed ahead".to_vec()), Entry::End]);
        keyboard.shared.signal(SIGINT);
        assert_eq!(keyboard.left(), 1);
        assert_eq!(keyboard.next().unwrap(), Some(Typed::Interrupted));
        assert_eq!(keyboard.pressed(), None, "a line comes before the end");
        assert_eq!(keyboard.next().unwrap(), Some(Typed::Line(b"typed ahead".to_vec())));
        assert_eq!(keyboard.pressed(), Some(Typed::End));
        assert_eq!((keyboard.next().unwrap(), keyboard.left()), (Some(Typed::End), 0));
    }
}
