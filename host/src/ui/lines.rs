use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::keyboard::above;
use super::streams;

/// Number of lines that are queued for a slow reader. Further lines are dropped.
const QUEUE: usize = 4096;
/// Time after a write during which further lines are collected. They are then written together: waking the writer for
/// each line would cost a server of short sessions more than the line itself.
const COLLECT: Duration = Duration::from_millis(10);
/// Number of queued lines that ends the collecting early.
const ENOUGH: usize = 1024;
/// Maximum number of bytes that are written at once, except for a longer line: as many as a pipe of Linux takes without
/// mixing them with what another writer, such as that of the events, writes to the same pipe.
const WRITE: usize = 4096;
/// Capacity in bytes above which the memory of a batch is freed after it has been written.
const KEPT: usize = 1 << 16;

/// Writer of a server's lines, in a thread of its own: a full pipe must not block the clients.
///
/// A line is written at once if no other was written during the last 10 ms, and otherwise with the other lines of these
/// 10 ms. Lines that do not fit the queue are dropped, counted and reported.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Writer>);

/// The writer's thread, and what it shares with the senders.
struct Writer {
    shared: Arc<Shared>,
    done: Mutex<mpsc::Receiver<io::Result<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do for the thread before its time limit, if it has one.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// Number of lines dropped after those of the batch.
    dropped: u64,
    /// The thread waits without a time limit. Otherwise it needs no wakeup for a line.
    is_asleep: bool,
    /// No more lines are accepted.
    is_ended: bool,
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    text: String,
    /// End of each line in `text`.
    ends: Vec<usize>,
}

impl Batch {
    /// Returns the text in pieces of whole lines, each of at most [`WRITE`] bytes if it is not a single line.
    fn pieces(&self) -> impl Iterator<Item = &str> {
        let (mut start, mut next) = (0, 0);
        std::iter::from_fn(move || {
            let fits = |end: &&usize| **end - start <= WRITE;
            let lines = self.ends.get(next..)?.iter().take_while(fits).count().max(1);
            let end = *self.ends.get(next + lines - 1)?;
            let piece = &self.text[start..end];
            (start, next) = (end, next + lines);
            Some(piece)
        })
    }

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.ends.clear();
        self.ends.shrink_to(KEPT / size_of::<usize>());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line that includes its newline.
    fn push(&self, line: &str) {
        let mut queue = self.lock();
        if queue.is_ended {
            return;
        }
        if queue.batch.ends.len() >= QUEUE {
            queue.dropped += 1;
            return;
        }
        let Batch { text, ends } = &mut queue.batch;
        text.push_str(line);
        ends.push(text.len());
        let is_enough = ends.len() == ENOUGH;
        // The next lines need no wakeup.
        let was_asleep = std::mem::take(&mut queue.is_asleep);
        drop(queue);
        if was_asleep || is_enough {
            self.changed.notify_one();
        }
    }

    /// Accepts no more lines. The thread ends when it has written the others.
    fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_one();
    }

    /// Swaps `batch`, which is empty, with the queued lines when they are to be written. Returns the number of lines dropped
    /// after them, and whether more lines may come. `collects`: other lines have just been written.
    fn take(&self, batch: &mut Batch, collects: bool) -> (u64, bool) {
        let mut queue = self.lock();
        if collects {
            let waits = |queue: &mut Queue| !queue.is_ended && queue.batch.ends.len() < ENOUGH;
            let waited = self.changed.wait_timeout_while(queue, COLLECT, waits);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while queue.batch.ends.is_empty() && !queue.is_ended {
            queue.is_asleep = true;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_asleep = false;
        std::mem::swap(&mut queue.batch, batch);
        (std::mem::take(&mut queue.dropped), !queue.is_ended)
    }

    /// Writes lines until the end.
    fn write(&self, writer: &mut impl Write, dropped_line: fn(u64) -> String) -> io::Result<()> {
        let mut batch = Batch::default();
        let mut collects = false;
        loop {
            let (dropped, continues) = self.take(&mut batch, collects);
            for piece in batch.pieces() {
                writer.write_all(piece.as_bytes())?;
            }
            if dropped > 0 {
                writeln!(writer, "{}", dropped_line(dropped))?;
            }
            writer.flush()?;
            batch.clear();
            if !continues {
                return Ok(());
            }
            collects = true;
        }
    }
}

impl Lines {
    /// Starts the thread that writes to `writer`.
    ///
    /// `dropped_line` returns the line that reports a number of dropped lines. If writing fails, `on_failure` is called
    /// once.
    pub(crate) fn new(
        mut writer: impl Write + Send + 'static,
        dropped_line: fn(u64) -> String,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (finished, done) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("lines".into()).spawn(move || {
            let written = of_thread.write(&mut writer, dropped_line);
            // Later lines would only fill the queue.
            of_thread.end();
            let has_failed = written.is_err();
            let _ = finished.send(written);
            if has_failed {
                on_failure();
            }
        })?;
        let (done, thread) = (Mutex::new(done), Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Writer { shared, done, thread })))
    }

    /// Queues a line. Never blocks.
    pub(crate) fn line(&self, line: impl std::fmt::Display) {
        // Formatted without the lock, which the thread may need meanwhile.
        self.0.shared.push(&format!("{line}\n"));
    }

    /// Redirects the records of the log to this writer. They come from the thread of the engine, which must not wait
    /// for stderr.
    pub(crate) fn redirect_log(&self) {
        let _ = LOG.set(self.clone());
    }

    /// Waits until all lines are written, at most one second. Returns the error if writing failed. Later lines are
    /// ignored.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.0.shared.end();
        let Ok(done) = self.0.done.lock() else { return Ok(()) };
        // An error also means that the result has been returned before.
        let Ok(written) = done.recv_timeout(Duration::from_secs(1)) else { return Ok(()) };
        if let Some(thread) = self.0.thread.lock().ok().and_then(|mut thread| thread.take()) {
            // Wine 8 can crash if a process ends while one of its threads is ending.
            let _ = thread.join();
        }
        written
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Destination of the log instead of stderr.
static LOG: OnceLock<Lines> = OnceLock::new();

/// Writes what is left of the redirected log, if it is redirected, before the program writes to stderr itself.
pub(crate) fn finish_log() {
    if let Some(log) = LOG.get() {
        streams::record_result(log.finish());
    }
}

/// Writer of the log. Each call of `write` gets one record.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match LOG.get() {
            Some(lines) => lines.line(String::from_utf8_lossy(record).trim_end()),
            None => streams::record_result(above(|| io::stderr().write_all(record))),
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A writer that blocks until it receives a message.
    struct Slow(Option<mpsc::Receiver<()>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(go) = self.0.take() {
                go.recv().expect("the test sends a message");
            }
            self.1.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_are_dropped_for_a_slow_reader_are_counted_and_reported() {
        let (go, wait) = mpsc::channel();
        let written = Arc::default();
        let slow = Slow(Some(wait), Arc::clone(&written));
        let lines = Lines::new(slow, |n| format!("{{\"lost\":{n}}}"), || {}).expect("a thread");
        let drain = || {
            while !lines.0.shared.lock().batch.ends.is_empty() {
                thread::yield_now();
            }
        };
        // The thread takes a line, and its write blocks. The queue then takes the same number of lines in every run.
        lines.line("first");
        drain();
        (0..QUEUE + 100).for_each(|n| lines.line(n));
        go.send(()).expect("the writer waits");
        // The last line fits once the queue has drained.
        drain();
        lines.line("last");
        lines.finish().expect("writing succeeds");
        let text = String::from_utf8(written.lock().expect("no panic").clone()).expect("text");
        let queued = (0..QUEUE).map(|n| n.to_string());
        let rest = ["{\"lost\":100}".to_owned(), "last".to_owned()];
        let expected: Vec<String> =
            ["first".to_owned()].into_iter().chain(queued).chain(rest).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    /// A writer that stores what each call writes.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Calls {
        fn taken(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().expect("no panic"))
        }
    }

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).expect("text");
            self.0.lock().expect("no panic").push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_written_without_another_one_after_it() {
        let calls = Calls::default();
        let lines = Lines::new(calls.clone(), |_| String::new(), || {}).expect("a thread");
        for n in 0_u64..200 {
            lines.line(n);
            let deadline = Instant::now() + Duration::from_secs(20);
            while calls.taken().is_empty() {
                assert!(Instant::now() < deadline, "line {n} is not written");
                thread::yield_now();
            }
            // The next line comes while the thread collects, when it stops, or when it is asleep.
            thread::sleep(Duration::from_micros(n * 100));
        }
        lines.finish().expect("writing succeeds");
    }

    #[test]
    fn lines_are_written_together_in_order_and_none_is_cut() {
        let calls = Calls::default();
        let lines = Lines::new(calls.clone(), |_| String::new(), || {}).expect("a thread");
        let long = "long".repeat(WRITE);
        let sent: Vec<String> =
            (0..900).map(|n| if n == 450 { long.clone() } else { format!("line {n}") }).collect();
        sent.iter().for_each(|line| lines.line(line));
        lines.finish().expect("writing succeeds");
        lines.line("after the end");
        let calls = calls.taken();
        assert_eq!(calls.concat().lines().collect::<Vec<_>>(), sent);
        for call in &calls {
            let is_whole = call.ends_with('\n') && (call.len() <= WRITE || call.trim_end() == long);
            assert!(is_whole, "a write of {} bytes", call.len());
        }
    }

    #[test]
    fn a_batch_is_cut_after_the_last_line_that_fits() {
        let mut batch = Batch::default();
        for length in [WRITE - 2, 2, 1, WRITE, WRITE + 1, 1] {
            batch.text.push_str(&"x".repeat(length));
            batch.ends.push(batch.text.len());
        }
        let pieces: Vec<usize> = batch.pieces().map(str::len).collect();
        assert_eq!(pieces, [WRITE, 1, WRITE, WRITE + 1, 1]);
        assert_eq!(Batch::default().pieces().count(), 0);
    }
}
