//! The files of `--pcap` and `--html` at the end of the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Picture};
use crate::net::reason;
use crate::ui::signals::{self, Signal};
use crate::ui::{Capture, say};

/// Time for writing the few megabytes that can wait, after the first signal.
const LIMIT: Duration = Duration::from_secs(5);
/// The same after a second signal, which has ended other work.
const SHORT_LIMIT: Duration = Duration::from_secs(1);
/// Time after which the user learns what an interrupted program waits for.
const NOTICE: Duration = Duration::from_secs(1);

/// The files that must be complete before the program ends.
#[derive(Clone)]
pub(in crate::cli) struct Recordings {
    pub(super) capture: Option<(Arc<Capture>, PathBuf)>,
    pub(super) picture: Option<Arc<Picture>>,
}

/// What the writing of the files waits for.
enum Progress {
    /// This file is written now.
    Writing(PathBuf),
    Done(Result<(), Failure>),
    Signal,
}

impl Recordings {
    /// Writes the files after a signal, within a limit.
    pub(in crate::cli) fn end_interrupted(&self) -> Result<(), Failure> {
        self.finish(Some(Failure::INTERRUPTED), 1)
    }

    /// Waits until the files are written, with the failure of the program, which has had this number of signals to end.
    ///
    /// A pipe whose reader has stopped, such as a paused Wireshark, would block the program. So a signal limits the
    /// time, and another one ends it.
    pub(super) fn finish(&self, ended_by: Option<Failure>, stops: u32) -> Result<(), Failure> {
        if self.capture.is_none() && self.picture.is_none() {
            return Ok(());
        }
        let system = |e: std::io::Error| Failure::System(e.to_string());
        let (sender, progress) = mpsc::channel();
        let mut signals = signals::watch(&[Signal::Interrupt, Signal::Terminate])
            .map_err(|e| Failure::signals(&e))?;
        let closer = signals.closer();
        let for_signals = sender.clone();
        let watcher = thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                let _ = for_signals.send(Progress::Signal);
            }
        });
        let watcher = watcher.map_err(system)?;
        let this = self.clone();
        let writer = thread::Builder::new().name("recordings".into());
        let writer =
            writer.spawn(move || this.write(ended_by.as_ref(), &sender)).map_err(system)?;

        let start = Instant::now();
        let mut deadline = match stops {
            0 => None,
            1 => Some(start + LIMIT),
            _ => Some(start + SHORT_LIMIT),
        };
        let mut notice = deadline.map(|_| start + NOTICE);
        let mut path = PathBuf::new();
        let result = loop {
            let due = [notice, deadline].into_iter().flatten().min();
            let event = match due {
                Some(due) => progress.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => progress.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = Instant::now();
            match event {
                Ok(Progress::Writing(next)) => path = next,
                Ok(Progress::Done(result)) => {
                    // Wine 8 can crash if a process ends while one of its threads is ending.
                    let _ = writer.join();
                    break result;
                }
                Ok(Progress::Signal) if deadline.is_none() => {
                    (deadline, notice) = (Some(now + LIMIT), Some(now));
                }
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|at| now < at) => {
                    notice = None;
                    let path = path.display();
                    say(format_args!("socklab: still writing {path}; Ctrl-C again ends at once"));
                }
                Ok(Progress::Signal) | Err(_) => break Err(unwritten(&path)),
            }
        };
        closer.close();
        let _ = watcher.join();
        result
    }

    fn write(&self, ended_by: Option<&Failure>, progress: &Sender<Progress>) {
        let writing = |path: &Path| {
            let _ = progress.send(Progress::Writing(path.to_owned()));
        };
        let mut result = Ok(());
        if let Some(picture) = &self.picture {
            writing(picture.path());
            result = picture.finish(ended_by);
        }
        if let Some((capture, path)) = &self.capture {
            writing(path);
            let written = capture.finish();
            let failure = |reason: String| capture_failure(path, &reason);
            result = written.map_err(failure).and(result);
        }
        let _ = progress.send(Progress::Done(result));
    }
}

/// Starts the capture. A file that cannot be written is reported before anything is run.
pub(super) fn start_capture(path: &Path) -> Result<Arc<Capture>, Failure> {
    Capture::create(path).map(Arc::new).map_err(|e| capture_failure(path, &reason(&e)))
}

fn capture_failure(path: &Path, reason: &str) -> Failure {
    Failure::System(format!("cannot write {}: {reason}", path.display()))
}

fn unwritten(path: &Path) -> Failure {
    Failure::System(format!(
        "cannot write {}: interrupted before its reader or its disk took everything; the file is incomplete",
        path.display()
    ))
}
