//! Input from the keyboard, or from a script on standard input.
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
//! Two threads read keys and signals. They wake the thread that waits for a socket. A line that is typed before it is
//! asked for is kept.

mod editor;
mod screen;

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::Waker;
use socklab_core::wire::{LINE_BYTES, LINE_MAX};

use self::screen::Entered;
pub(crate) use self::screen::above;
use super::signals::{self, Closer, Signal};
use super::streams::check_stdin;
use crate::sys::terminal;

/// Number of lines that are kept. Stdin is not read while the queue is full.
const QUEUE: usize = 256;

/// Signals that are watched as well while a line is edited.
const OF_TERMINALS: [Signal; 5] =
    [Signal::Continue, Signal::Hangup, Signal::Quit, Signal::Suspend, Signal::Resize];

/// Input of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line of at most [`LINE_MAX`] bytes, without its end. From a pipe or file it may contain any bytes.
    Line(Vec<u8>),
    /// End of the input: Ctrl-D, or the end of the pipe or file.
    End,
    /// Ctrl-C, SIGTERM, or another signal that ends the program in an orderly way. A second one ends it at once, without an
    /// event here.
    Interrupted,
}

/// Source of lines: edited on a terminal, or unchanged from a pipe or file.
///
/// A program can have only one, because it has one stdin. Dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct Keyboard {
    shared: Arc<Shared>,
    kind: Kind,
    /// Closes the signals that are watched.
    signals: Option<Closer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A terminal on which this program edits the line.
    Edited,
    /// A terminal without cursor control. Its driver edits and echoes the line.
    Dumb,
    /// A pipe or a file.
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
    /// Number of interrupts so far. The second one ends the program.
    interrupts: u32,
    waker: Option<Arc<Waker>>,
    /// The keyboard has been dropped.
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// A line that was typed ahead. It is shown when it is taken.
    Ahead(String),
    Interrupted,
    End,
    Failed(io::Error),
}

impl Keyboard {
    /// Starts to read stdin. The signals `ends` are interrupts, which end the program in an orderly way.
    ///
    /// # Errors
    ///
    /// If stdin is closed, a thread cannot be started, or the mode of the terminal cannot be set.
    pub(crate) fn new(ends: &'static [Signal]) -> io::Result<Self> {
        check_stdin()?;
        let shared = Arc::<Shared>::default();
        let kind = if screen::open()? {
            Kind::Edited
        } else if io::stdin().is_terminal() {
            Kind::Dumb
        } else {
            Kind::Pipe
        };
        // Created before the following steps: if one fails, dropping it restores the terminal.
        let mut this = Self { shared, kind, signals: None };
        let mut watched = ends.to_vec();
        if kind == Kind::Edited {
            watched.extend(OF_TERMINALS);
        }
        let mut signals = signals::watch(&watched)?;
        this.signals = Some(signals.closer());
        // Not earlier: a signal before this line ends the program elsewhere.
        signals::claim()?;
        let shared = Arc::clone(&this.shared);
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                shared.signal(signal, ends.contains(&signal));
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

    /// Makes all further input wake `waker`.
    pub(crate) fn set_waker(&self, waker: Arc<Waker>) {
        // Woken once now, because there may be input already.
        let _ = waker.wake();
        self.shared.queue().waker = Some(waker);
    }

    /// Starts the user's turn and shows `prompt`, unless stdin is a pipe or file.
    ///
    /// Control characters in `prompt` are escaped, so it may come from a peer.
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

    /// Ends the user's turn and shows `status`, such as "waiting for the other side". Lines that are typed meanwhile are
    /// kept.
    pub(crate) fn wait(&self, status: &str) {
        if let Some(screen) = screen::lock().as_mut() {
            screen.wait(status);
        }
    }

    /// Returns the oldest input, or `None` if there is none.
    ///
    /// An interrupt is returned before everything else, and once. The end of the input is returned again by every later
    /// call.
    ///
    /// # Errors
    ///
    /// If stdin cannot be read, or a line from a pipe is too long. An error is returned once.
    pub(crate) fn next(&self) -> io::Result<Option<Typed>> {
        let mut queue = self.shared.queue();
        let next = queue.take();
        drop(queue);
        self.shared.changed.notify_all();
        self.show(next)
    }

    /// Waits for the next input: for questions that are asked before the program connects.
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

    /// Returns the input that is handled outside the user's turn: an interrupt, or the end of the input if no line is
    /// left before it. The end is not removed from the queue.
    pub(crate) fn urgent(&self) -> Option<Typed> {
        let mut queue = self.shared.queue();
        if std::mem::take(&mut queue.interrupted) {
            return Some(Typed::Interrupted);
        }
        matches!(queue.lines.front(), Some(Entry::End)).then_some(Typed::End)
    }

    /// Returns whether stdin is a terminal, and so a person types.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind != Kind::Pipe
    }

    /// Leaves the terminal and the signals to the rest of the program, which must handle them already.
    pub(crate) fn release(self) {
        if let Some(signals) = &self.signals {
            signals.close();
        }
    }

    /// Discards the lines that a person typed ahead. The lines of a script stay.
    pub(crate) fn discard_typed_ahead(&self) {
        if !self.is_terminal() {
            return;
        }
        // Under the lock of the screen, so that no line is between the screen and the queue.
        let mut screen = screen::lock();
        self.shared.queue().lines.retain(|entry| matches!(entry, Entry::End));
        if let Some(screen) = screen.as_mut() {
            screen.discard_typed_ahead();
        }
        drop(screen);
        self.shared.changed.notify_all();
    }

    /// Puts a line back that was taken but not delivered, as the next one to be taken.
    ///
    /// It is meant for the lines of a script. A person decides whether a line is meant for the next peer too.
    pub(crate) fn put_back(&self, line: Vec<u8>) {
        self.shared.queue().lines.push_front(Entry::Line(line));
    }

    /// Returns the number of lines that were typed and not taken.
    pub(crate) fn lines_left(&self) -> usize {
        let queue = self.shared.queue();
        queue.lines.iter().filter(|e| matches!(e, Entry::Line(_) | Entry::Ahead(_))).count()
    }

    fn show(&self, next: Option<Entry>) -> io::Result<Option<Typed>> {
        if self.kind == Kind::Dumb && matches!(next, Some(Entry::Interrupted | Entry::End)) {
            // The next message must start on a new line, not after the prompt.
            let _ = io::stderr().write_all(b"\n");
        }
        Ok(match next {
            None => None,
            Some(Entry::Line(line)) => Some(Typed::Line(line)),
            Some(Entry::Ahead(line)) => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.show_typed_ahead(&line);
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
        // The reading thread is not joined: it blocks in a read until the program ends.
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

    /// Wakes the threads that wait for input.
    fn wake(&self, queue: MutexGuard<'_, Queue>) {
        let waker = queue.waker.clone();
        drop(queue);
        self.changed.notify_all();
        if let Some(waker) = waker {
            // An error means that the poll has been dropped.
            let _ = waker.wake();
        }
    }

    /// Waits until the queue has space. Returns `false` if the keyboard has been dropped.
    fn wait_for_space(&self) -> bool {
        let mut queue = self.queue();
        while queue.lines.len() >= QUEUE && !queue.closed {
            queue = self.wait(queue);
        }
        !queue.closed
    }

    /// Queues input.
    fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut queue = self.queue();
        queue.lines.extend(entries);
        self.wake(queue);
    }

    /// Reads keys from a terminal until it is closed.
    fn read_keys(&self) {
        let mut bytes = [0; 1024];
        while self.wait_for_space() {
            let n = match terminal::read_keys(&mut bytes) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // The terminal has hung up.
                Err(_) => 0,
            };
            let mut screen = screen::lock();
            let Some(screen) = screen.as_mut() else { return };
            let (entered, end) = screen.typed(&bytes[..n]);
            // Before the screen is unlocked: see `discard_typed_ahead`.
            self.push(entered.into_iter().map(|Entered { line, ahead }| {
                if ahead { Entry::Ahead(line) } else { Entry::Line(line.into_bytes()) }
            }));
            if end || n == 0 {
                self.push([Entry::End]);
                return;
            }
        }
    }

    /// Reads lines that are not edited, until the end of the input.
    fn read_lines(&self, mut from: impl BufRead) {
        for number in 1_u64.. {
            let entry = match read_line(&mut from, number) {
                Ok(Some(line)) => Entry::Line(line),
                Ok(None) => Entry::End,
                Err(e) => Entry::Failed(e),
            };
            let is_last = !matches!(entry, Entry::Line(_));
            self.push([entry]);
            if is_last || !self.wait_for_space() {
                return;
            }
        }
    }

    /// Handles a signal, which may be meant to end the program in an orderly way.
    fn signal(&self, signal: Signal, is_end: bool) {
        match signal {
            _ if is_end => {
                let mut queue = self.queue();
                queue.interrupts += 1;
                if queue.interrupts > 1 || queue.closed {
                    drop(queue);
                    screen::close_now();
                    signals::end_by(signal);
                } else {
                    queue.interrupted = true;
                    self.wake(queue);
                }
            }
            Signal::Resize => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.draw();
                }
            }
            Signal::Suspend => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.leave();
                }
                // Stops the process. Returns after `Continue`, which is handled below.
                signals::end_by(signal);
            }
            Signal::Continue => {
                if let Some(screen) = screen::lock().as_mut() {
                    screen.enter();
                }
            }
            Signal::Interrupt | Signal::Terminate | Signal::Hangup | Signal::Quit => {
                screen::close_now();
                signals::end_by(signal);
            }
        }
    }
}

/// Reads the next line and removes its end. Returns `None` at the end of the input.
fn read_line(from: &mut impl BufRead, number: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // One byte more for a carriage return before the newline, which does not count.
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

    /// Returns the lines and the error that result from these bytes in a pipe.
    fn piped(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        let shared = Arc::<Shared>::default();
        let reader = Arc::clone(&shared);
        let bytes = bytes.to_vec();
        let thread = thread::spawn(move || reader.read_lines(&bytes[..]));
        let keyboard = Keyboard { shared, kind: Kind::Pipe, signals: None };
        let mut lines = Vec::new();
        let error = loop {
            match keyboard.next_blocking() {
                Ok(Typed::Line(line)) => lines.push(line),
                Ok(Typed::End) => break None,
                Ok(Typed::Interrupted) => panic!("there was no interrupt"),
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
    fn lines_of_a_pipe_are_not_changed() {
        assert_eq!(piped(b""), (vec![], None));
        assert_eq!(
            piped(b"one\r\n\ntwo\xff\x1b[A\r\r\nlast"),
            (
                vec![b"one".to_vec(), b"".to_vec(), b"two\xff\x1b[A\r".to_vec(), b"last".to_vec()],
                None
            )
        );
        let many = b"x\n".repeat(3 * QUEUE);
        assert_eq!(piped(&many).0.len(), 3 * QUEUE, "more than the queue holds");
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
        let keyboard = Keyboard { shared, kind: Kind::Pipe, signals: None };
        assert_eq!((keyboard.next().unwrap(), keyboard.urgent()), (None, None));
        keyboard.shared.push([Entry::Line(b"typed ahead".to_vec()), Entry::End]);
        keyboard.shared.signal(Signal::Interrupt, true);
        assert_eq!(keyboard.lines_left(), 1);
        assert_eq!(keyboard.next().unwrap(), Some(Typed::Interrupted));
        assert_eq!(keyboard.urgent(), None, "a line comes before the end");
        assert_eq!(keyboard.next().unwrap(), Some(Typed::Line(b"typed ahead".to_vec())));
        assert_eq!(keyboard.urgent(), Some(Typed::End));
        assert_eq!((keyboard.next().unwrap(), keyboard.lines_left()), (Some(Typed::End), 0));
    }
}
