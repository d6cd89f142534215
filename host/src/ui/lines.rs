use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::keyboard::above;
use super::streams;

/// Number of lines that are queued for a slow reader. Further lines are dropped.
const QUEUE: usize = 4096;

/// Writer of a server's lines, in a thread of its own: a full pipe must not block the clients.
///
/// Lines that do not fit the queue are dropped, counted and reported.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<io::Error>>>,
    done: Arc<Mutex<mpsc::Receiver<()>>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
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
        let (queue, lines) = mpsc::sync_channel::<String>(QUEUE);
        let (finished, done) = mpsc::channel();
        let (dropped, failed) = (Arc::<AtomicU64>::default(), Arc::default());
        let this = Self {
            queue,
            dropped: Arc::clone(&dropped),
            failed: Arc::clone(&failed),
            done: Arc::new(Mutex::new(done)),
            thread: Arc::default(),
        };
        let spawned = thread::Builder::new().name("lines".into()).spawn(move || {
            let mut write = || -> io::Result<()> {
                while let Ok(line) = lines.recv() {
                    if line.is_empty() {
                        return Ok(());
                    }
                    writer.write_all(line.as_bytes())?;
                    let dropped = dropped.swap(0, Ordering::Relaxed);
                    if dropped > 0 {
                        writeln!(writer, "{}", dropped_line(dropped))?;
                    }
                    writer.flush()?;
                }
                Ok(())
            };
            if let Err(e) = write() {
                if let Ok(mut failed) = failed.lock() {
                    *failed = Some(e);
                }
                on_failure();
            }
            let _ = finished.send(());
        })?;
        if let Ok(mut thread) = this.thread.lock() {
            *thread = Some(spawned);
        }
        Ok(this)
    }

    /// Queues a line. Never blocks.
    pub(crate) fn line(&self, line: impl std::fmt::Display) {
        if self.queue.try_send(format!("{line}\n")).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Redirects the records of the log to this writer. They come from the thread of the engine, which must not wait
    /// for stderr.
    pub(crate) fn redirect_log(&self) {
        let _ = LOG.set(self.clone());
    }

    /// Waits until all lines are written, at most one second. Returns the error if writing failed.
    pub(crate) fn finish(self) -> io::Result<()> {
        // An empty line marks the end.
        let _ = self.queue.try_send(String::new());
        if let Ok(done) = self.done.lock()
            && done.recv_timeout(Duration::from_secs(1)).is_ok()
            && let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take())
        {
            // Wine 8 can crash if a process ends while one of its threads is ending.
            let _ = thread.join();
        }
        match self.failed.lock().ok().and_then(|mut failed| failed.take()) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

/// Destination of the log instead of stderr.
static LOG: OnceLock<Lines> = OnceLock::new();

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
        // The thread may already hold one line; the others are queued.
        let sent = QUEUE + 100;
        (0..sent).for_each(|n| lines.line(n));
        go.send(()).expect("the writer waits");
        // The last line fits once the queue has drained.
        while lines.queue.try_send("last\n".into()).is_err() {
            thread::yield_now();
        }
        while lines.queue.try_send(String::new()).is_err() {
            thread::yield_now();
        }
        lines.finish().expect("writing succeeds");
        let text = String::from_utf8(written.lock().expect("no panic").clone()).expect("text");
        let (mut written, mut dropped) = (0, 0);
        for line in text.lines() {
            match line.strip_prefix("{\"lost\":").and_then(|rest| rest.strip_suffix('}')) {
                Some(n) => dropped += n.parse::<usize>().expect("a number"),
                None => written += 1,
            }
        }
        assert_eq!((written + dropped, text.ends_with("last\n")), (sent + 1, true));
        assert!(dropped > 0, "no line was dropped");
    }
}
