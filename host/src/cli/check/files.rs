//! Files of results.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::check::report::{Format, Report};
use crate::cli::common::Failure;
use crate::net::reason;

/// Files of results. They are written once before the run, so that a run that is killed leaves a valid file, and replaced
/// at its end.
#[derive(Debug)]
pub(super) struct Files(Vec<(Format, PathBuf)>);

impl Files {
    /// Checks that all files can be written, before anything is run. Their content stays.
    ///
    /// # Errors
    ///
    /// If one of them cannot be written.
    pub(super) fn open(files: Vec<(Format, PathBuf)>) -> Result<Self, Failure> {
        for (_, path) in &files {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.map_err(|e| failure(path, &e))?;
        }
        Ok(Self(files))
    }

    /// Writes all files, also after an error.
    ///
    /// # Errors
    ///
    /// The first error.
    pub(super) fn write(&self, report: &Report<'_>) -> Result<(), Failure> {
        let mut result = Ok(());
        for (format, path) in &self.0 {
            let written = replace(path, &format.render(report)).map_err(|e| failure(path, &e));
            result = result.and(written);
        }
        result
    }
}

fn failure(path: &Path, e: &io::Error) -> Failure {
    Failure::System(format!("cannot write {}: {}", path.display(), reason(e)))
}

/// Replaces the content of a file. A reader sees the old content or the new one, and no part of it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Devices and pipes are not replaced. A link stays one: its target is replaced.
    let target = match fs::canonicalize(path) {
        Ok(target) if target.is_file() => target,
        _ => return File::create(path)?.write_all(bytes),
    };
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let part = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = fs::write(&part, bytes)
        .and_then(|()| fs::set_permissions(&part, fs::metadata(&target)?.permissions()))
        .and_then(|()| fs::rename(&part, &target));
    written.or_else(|_| {
        // The folder may be protected, unlike the file.
        let _ = fs::remove_file(&part);
        fs::write(&target, bytes)
    })
}
