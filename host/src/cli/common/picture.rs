//! The page that `--html` writes.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::Failure;
use crate::net::reason;
use crate::ui::messages::Dissectors;
use crate::ui::page::{Mark, Page, Section};
use crate::ui::recording::{Observed, Recorder, Recording};

/// Recording of what a program does, and the file to which it is written at the end.
pub(in crate::cli) struct Picture {
    path: PathBuf,
    started: SystemTime,
    recorder: OnceLock<Recorder>,
    /// `None` once the page is written.
    file: Mutex<Option<File>>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Picture {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|e| failure(path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            started: SystemTime::now(),
            recorder: OnceLock::new(),
            file: Mutex::new(Some(file)),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the recording, which starts with the first call. Connections from now on have these dissectors.
    pub(in crate::cli) fn recorder(&self, observed: Observed, dissectors: Dissectors) -> &Recorder {
        let recorder =
            self.recorder.get_or_init(|| Recorder::new(Recording::new(observed, dissectors)));
        recorder.lock().set_dissectors(dissectors);
        recorder
    }

    /// Writes the page, with the failure of the program. Only the first call does that.
    pub(super) fn finish(&self, ended_by: Option<&Failure>) -> Result<(), Failure> {
        // Locked until the page is written: the other thread that calls this ends the program.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.take() else { return Ok(()) };
        let page = self.page(ended_by);
        let mut out = BufWriter::new(file);
        page.write(&mut out).and_then(|()| out.flush()).map_err(|e| failure(&self.path, &e))
    }

    fn page(&self, ended_by: Option<&Failure>) -> Page {
        let mut page = Page::new(command_line());
        let started = humantime::format_rfc3339_seconds(self.started).to_string();
        page.fact(started.replace('T', " ").replace('Z', " UTC"));
        let mut section = Section::new("");
        match self.recorder.get() {
            Some(recorder) => {
                let mut recording = recorder.lock();
                recording.finish();
                let seen = match recording.observed() {
                    Observed::Side(side) => format!("seen by the {side}"),
                    Observed::Proxy => "seen by the proxy".into(),
                };
                page.fact(seen);
                for fact in recording.facts() {
                    page.fact(fact);
                }
                section.ladder(&recording);
            }
            None => section.text("no connection"),
        }
        match ended_by {
            None => {}
            Some(Failure::Interrupted(_)) => page.outcome(Mark::Info, "interrupted"),
            Some(failure) => page.outcome(Mark::Fail, failure.to_string()),
        }
        page.add(section);
        page
    }
}

fn failure(path: &Path, e: &io::Error) -> Failure {
    Failure::System(format!("cannot write {}: {}", path.display(), reason(e)))
}

/// Returns the command that started this program. Arguments with spaces or without characters are in quotes.
fn command_line() -> String {
    let mut line = String::from("socklab");
    for arg in std::env::args_os().skip(1) {
        let arg = arg.to_string_lossy();
        line.push(' ');
        if arg.is_empty() || arg.contains(char::is_whitespace) {
            line.extend(["'", &arg, "'"]);
        } else {
            line.push_str(&arg);
        }
    }
    line
}
