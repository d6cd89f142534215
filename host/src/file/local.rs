//! Destination of a fetched file. A partial file never has the final name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf, is_separator};

use crate::sys;
use crate::sys::extra::file::is_mount_point;
use crate::sys::extra::net::Pipe;
use crate::sys::file::Info;

/// Error of the destination of a file.
#[derive(Debug)]
pub struct LocalError {
    /// Operation that failed, as a verb: "write", "replace", ...
    pub(super) doing: &'static str,
    /// File of the operation.
    pub(super) path: PathBuf,
    /// Error of the system.
    pub(super) source: io::Error,
}

impl std::fmt::Display for LocalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { doing, path, source } = self;
        write!(f, "cannot {doing} {}: {}", path.display(), crate::net::reason(source))
    }
}

impl std::error::Error for LocalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Destination of a fetched file.
///
/// The bytes go to a temporary file in the same folder, `.NAME.part`. When it is complete, it is renamed and replaces
/// an older file of that name. Until then the older file stays unchanged.
///
/// The temporary file gets the mode of the older file before the first byte is written, so that no user can read data
/// that the older file would have hidden. Without an older file, it gets the mode of any new file. On Windows, it always
/// has the rights that its folder gives to a new file.
///
/// A path that is not a regular file (a device, a pipe) or names an open descriptor (`/dev/stdout`,
/// `/proc/self/fd/3`) is written directly and never replaced. So is a device of Windows, such as `NUL`.
///
/// An existing temporary file is never used if it belongs to another user (which Windows does not report) or has another
/// hard link.
#[derive(Debug)]
pub struct Local {
    file: File,
    kind: Kind,
    /// Number of bytes that the file contains.
    length: u64,
}

#[derive(Debug)]
enum Kind {
    /// The temporary file `part`, which is renamed to `path` when it is complete.
    Partial { part: PathBuf, path: PathBuf },
    /// A file that is written directly.
    Direct(PathBuf),
}

impl Local {
    /// Opens and locks the destination, so that errors are reported before a request is sent.
    ///
    /// With `resume`, the bytes of an interrupted transfer are kept. Otherwise they are discarded. A second transfer to
    /// the same path is refused while the first one runs.
    ///
    /// # Errors
    ///
    /// [`LocalError`]: for example, the path is a folder or may not be written.
    pub fn open(path: &Path, resume: bool) -> Result<Self, LocalError> {
        let fail = |path: &Path, source| LocalError { doing: "write", path: path.into(), source };
        match sys::file::direct(path) {
            None => {}
            Some(file) => return Ok(Self::direct(file.map_err(|e| fail(path, e))?, path)),
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let old = match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(fail(path, ErrorKind::IsADirectory.into()));
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(path);
                return Ok(Self::direct(file.map_err(|e| fail(path, e))?, path));
            }
            // The system would allow replacing a read-only file. It is refused, because the owner has protected the file
            // on purpose.
            Ok(found) if found.permissions().readonly() => {
                return Err(fail(path, ErrorKind::PermissionDenied.into()));
            }
            Ok(found) => Some(found),
            // For a symbolic link, `NotFound` means that its target is missing.
            Err(e) if e.kind() == ErrorKind::NotFound && !is_link => {
                // A trailing slash names a folder. The system would report that only when the file is renamed.
                if ends_with_separator(path) {
                    return Err(fail(path, ErrorKind::IsADirectory.into()));
                }
                None
            }
            Err(e) => return Err(fail(path, e)),
        };
        // A symbolic link is kept and its target is replaced. The target must have a name of its own: a pipe in /proc
        // has none.
        let path = match is_link {
            true => path.canonicalize().map_err(|e| fail(path, e))?,
            false => path.to_owned(),
        };
        if is_mount_point(&path) {
            let e = "a mount point (a file bound into a container, say); fetch to another name and copy it";
            return Err(LocalError { doing: "replace", path, source: io::Error::other(e) });
        }
        let Some(name) = path.file_name() else {
            return Err(fail(&path, ErrorKind::IsADirectory.into()));
        };
        let (part, file) = Self::lock(&path, name, old.as_ref(), resume)?;
        let length = (&file).seek(SeekFrom::End(0)).map_err(|e| fail(&part, e))?;
        Ok(Self { file, kind: Kind::Partial { part, path }, length })
    }

    /// Opens and locks the temporary file for `path`, with permissions no wider than those of the older file.
    fn lock(
        path: &Path,
        name: &OsStr,
        old: Option<&Metadata>,
        resume: bool,
    ) -> Result<(PathBuf, File), LocalError> {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".part");
        let mut part = match sys::file::fits(&hidden) {
            true => path.with_file_name(hidden),
            false => path.with_file_name(short_name(name)),
        };
        loop {
            let fail = |source| LocalError { doing: "write", path: part.clone(), source };
            // The rights of the older file are set after the checks below.
            let options = sys::file::part_options(old.is_some());
            let (file, is_new) = match options.clone().create_new(true).open(&part) {
                Ok(file) => (file, true),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => match options.open(&part) {
                    Ok(file) => (file, false),
                    // Another process has renamed or removed the file meanwhile.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) if sys::file::is_in_use(&e) => {
                        return Err(fail(io::Error::other(LOCKED)));
                    }
                    Err(e) => return Err(fail(explain(&part, e))),
                },
                // Only the longer name of the temporary file is too long: `path` itself has been looked up before. The
                // limit depends on the file system.
                Err(e) if e.kind() == ErrorKind::InvalidFilename => {
                    let short = path.with_file_name(short_name(name));
                    if part == short {
                        return Err(fail(e));
                    }
                    part = short;
                    continue;
                }
                // The folder is missing, so the name that the user gave says more than that of the temporary file.
                Err(source) if source.kind() == ErrorKind::NotFound => {
                    return Err(LocalError { doing: "write", path: path.into(), source });
                }
                Err(e) => return Err(fail(e)),
            };
            let found = Info::of(&file).map_err(fail)?;
            // A new file is not checked: some file systems (vfat, CIFS, NFS with root_squash) choose its owner.
            if let Some(reason) = found.unusable_reason().filter(|_| !is_new) {
                return Err(fail(io::Error::other(reason)));
            }
            if !sys::file::lock(&file) {
                return Err(fail(io::Error::other(LOCKED)));
            }
            // The process that held the lock may have finished meanwhile and renamed the file.
            if !is_named(&found, &part) {
                continue;
            }
            if !is_new && !resume && sys::file::start_over(&file, &part).map_err(fail)? {
                continue;
            }
            if let Some(old) = old {
                // A later transfer needs to read and write the file to resume it.
                sys::file::copy_rights(&file, old, true);
            }
            return Ok((part, file));
        }
    }

    /// Uses a file that is already open, such as standard output. `name` is for error messages.
    #[must_use]
    pub fn direct(file: File, name: &Path) -> Self {
        Self { file, kind: Kind::Direct(name.into()), length: 0 }
    }

    /// Returns whether `file` is the file that this destination writes or replaces.
    #[must_use]
    pub fn is_file(&self, file: &File) -> bool {
        Info::of(file).is_ok_and(|found| self.is_found(&found))
    }

    /// Returns whether `path` names the file that this destination writes or replaces.
    #[must_use]
    pub fn is_path(&self, path: &Path) -> bool {
        Info::at(path).is_ok_and(|found| self.is_found(&found))
    }

    fn is_found(&self, found: &Info) -> bool {
        let here = match &self.kind {
            Kind::Partial { path, .. } => Info::at(path),
            Kind::Direct(_) => Info::of(&self.file),
        };
        here.is_ok_and(|here| here.is_same(found))
    }

    /// Returns the number of bytes that the file contains.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Appends `n` bytes from a pipe, without a copy if the file supports that.
    pub(super) fn write_pipe(&mut self, pipe: &Pipe, n: usize) -> Result<(), LocalError> {
        let emptied = pipe.empty(&self.file, n, &mut self.length);
        emptied.map_err(|e| self.failed("write", e))
    }

    /// Returns a duplicate of the open file, for reading.
    pub(super) fn reader(&self) -> Result<File, LocalError> {
        self.file.try_clone().map_err(|e| self.failed("read", e))
    }

    /// Appends bytes, and adjusts the length even if only a part of them was written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        let written = match &self.kind {
            Kind::Partial { .. } => sys::file::append(&self.file, bytes, &mut self.length),
            Kind::Direct(_) => self.file.write_all(bytes).map(|()| {
                self.length += bytes.len() as u64;
            }),
        };
        written.map_err(|e| self.failed("write", e))
    }

    /// Renames the temporary file to its final name.
    ///
    /// The bytes are synchronised to the disk first, so that a power failure leaves either the older file or the new one.
    pub(super) fn complete(&mut self) -> Result<(), LocalError> {
        let Kind::Partial { part, path } = &self.kind else { return Ok(()) };
        self.file.sync_data().map_err(|e| self.failed("write", e))?;
        if let Ok(old) = fs::metadata(path) {
            sys::file::copy_rights(&self.file, &old, false);
        }
        // In a folder that other users may write to, the temporary file may have been replaced.
        let ours = Info::of(&self.file).map_err(|e| self.failed("write", e))?;
        if !is_named(&ours, part) {
            return Err(self.failed("rename", io::Error::other("another process has replaced it")));
        }
        sys::file::replace(part, path).map_err(|source| LocalError {
            doing: "replace",
            path: path.clone(),
            source,
        })?;
        self.kind = Kind::Direct(path.clone());
        Ok(())
    }

    /// Marks the received bytes as useless, so that the temporary file is removed on drop.
    pub(super) fn discard(&mut self) {
        self.length = 0;
    }

    /// Returns the path of the temporary file if a later transfer can resume from it.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Partial { part, .. } if self.length > 0 => Some(part.clone()),
            _ => None,
        }
    }

    pub(super) fn failed(&self, doing: &'static str, source: io::Error) -> LocalError {
        let (Kind::Partial { part: path, .. } | Kind::Direct(path)) = &self.kind;
        LocalError { doing, path: path.clone(), source }
    }
}

/// Returns the name of the temporary file if `.NAME.part` would be too long. It depends on `name` only, so that a later
/// transfer finds the file.
fn short_name(name: &OsStr) -> String {
    format!(".{:08x}.part", crc32fast::hash(name.as_encoded_bytes()))
}

/// Reason why a temporary file cannot be locked.
const LOCKED: &str = "another transfer is writing it";

/// Returns whether a path ends in a separator, so that it names a folder.
fn ends_with_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|last| is_separator(char::from(*last)))
}

/// Replaces the error of opening an existing temporary file by a more specific one, if there is one.
fn explain(part: &Path, e: io::Error) -> io::Error {
    match Info::at_link(part).ok().as_ref().and_then(Info::unusable_reason) {
        Some(reason) => io::Error::other(reason),
        None => e,
    }
}

/// Returns whether `name` still leads to this file.
fn is_named(file: &Info, name: &Path) -> bool {
    Info::at_link(name).is_ok_and(|now| now.is_same(file))
}

/// Removes an empty temporary file: there is nothing to resume from.
impl Drop for Local {
    fn drop(&mut self) {
        if let (Kind::Partial { part, .. }, 0) = (&self.kind, self.length) {
            let _ = fs::remove_file(part);
        }
    }
}
