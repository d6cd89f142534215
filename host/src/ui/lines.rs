use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::keyboard::above;
use super::streams;

/// Number of lines that wait for a slow reader before lines are dropped.
const WAITING: usize = 4096;

/// Lines of a server, written by a thread of their own: a full pipe that no one reads must not
/// stop the clients. What does not fit is counted and said.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: SyncSender<String>,
    lost: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<io::Error>>>,
    done: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Lines {
    /// Lines to `writer`; `lost_line` is the one that says how many it did not take in time. When it fails,
    /// `on_failure` is called once.
    pub(crate) fn new(
        mut writer: impl Write + Send + 'static,
        lost_line: fn(u64) -> String,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = mpsc::sync_channel::<String>(WAITING);
        let (finished, done) = mpsc::channel();
        let (lost, failed) = (Arc::<AtomicU64>::default(), Arc::default());
        let this = Self {
            queue,
            lost: Arc::clone(&lost),
            failed: Arc::clone(&failed),
            done: Arc::new(Mutex::new(done)),
        };
        thread::Builder::new().name("lines".into()).spawn(move || {
            let mut write = || -> io::Result<()> {
                while let Ok(line) = lines.recv() {
                    if line.is_empty() {
                        return Ok(());
                    }
                    writer.write_all(line.as_bytes())?;
                    let lost = lost.swap(0, Ordering::Relaxed);
                    if lost > 0 {
                        writeln!(writer, "{}", lost_line(lost))?;
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
        Ok(this)
    }

    /// Adds a line; never waits.
    pub(crate) fn line(&self, line: impl std::fmt::Display) {
        if self.queue.try_send(format!("{line}\n")).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From here on the log's records are lines here: they come from the thread that serves, which
    /// is not to wait for stderr.
    pub(crate) fn take_log(&self) {
        let _ = LOG.set(self.clone());
    }

    /// Waits until all lines are out, or as long as a reader may be expected to take.
    pub(crate) fn finish(self) -> io::Result<()> {
        // An empty line is the end.
        let _ = self.queue.try_send(String::new());
        if let Ok(done) = self.done.lock() {
            let _: Result<(), RecvTimeoutError> = done.recv_timeout(Duration::from_secs(1));
        }
        match self.failed.lock().ok().and_then(|mut failed| failed.take()) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

/// Where the log goes instead of stderr.
static LOG: OnceLock<Lines> = OnceLock::new();

/// The log's end. It is written a record at a time.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match LOG.get() {
            Some(lines) => lines.line(String::from_utf8_lossy(record).trim_end()),
            None => streams::written(above(|| io::stderr().write_all(record))),
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

    /// Takes nothing until it is told to, then all.
    struct Slow(Option<mpsc::Receiver<()>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(go) = self.0.take() {
                go.recv().expect("it is told to");
            }
            self.1.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_slow_reader_loses_are_counted_in_the_words_of_the_stream() {
        let (go, wait) = mpsc::channel();
        let written = Arc::default();
        let slow = Slow(Some(wait), Arc::clone(&written));
        let lines = Lines::new(slow, |n| format!("{{\"lost\":{n}}}"), || {}).expect("a thread");
        // One may be on its way already, the others wait.
        let sent = WAITING + 100;
        (0..sent).for_each(|n| lines.line(n));
        go.send(()).expect("it waits");
        // The last one finds room again.
        while lines.queue.try_send("last\n".into()).is_err() {
            thread::yield_now();
        }
        while lines.queue.try_send(String::new()).is_err() {
            thread::yield_now();
        }
        lines.finish().expect("it takes all");
        let text = String::from_utf8(written.lock().expect("no panic").clone()).expect("text");
        let (mut whole, mut lost) = (0, 0);
        for line in text.lines() {
            match line.strip_prefix("{\"lost\":").and_then(|rest| rest.strip_suffix('}')) {
                Some(n) => lost += n.parse::<usize>().expect("a number"),
                None => whole += 1,
            }
        }
        assert_eq!((whole + lost, text.ends_with("last\n")), (sent + 1, true));
        assert!(lost > 0, "nothing was lost");
    }
}
