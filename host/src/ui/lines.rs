use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::keyboard::above;

/// So many lines wait for a slow reader before lines are lost.
const WAITING: usize = 4096;

/// Lines of a server, written by a thread of their own: a full pipe that nobody reads must not
/// stop the clients. What does not fit is counted and said.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: SyncSender<String>,
    lost: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<io::Error>>>,
    done: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Lines {
    /// Lines to `writer`. When it fails, `on_failure` is called once.
    pub(crate) fn new(
        mut writer: impl Write + Send + 'static,
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
                        writeln!(
                            writer,
                            "({lost} lines lost: they came faster than they are read)"
                        )?;
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
            None => above(|| io::stderr().write_all(record))?,
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
