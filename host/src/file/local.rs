//! Where a fetched file goes: never half a file under its own name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use super::descriptor;

/// Why the place for a file cannot be used.
#[derive(Debug)]
pub struct LocalError {
    /// What was tried: "write", "replace", ...
    pub(super) doing: &'static str,
    /// With which file.
    pub(super) path: PathBuf,
    /// What the system said.
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

/// A place for a file that is fetched.
///
/// It is written to a temporary file in the same folder, `.NAME.part`, which takes the name when it
/// is complete: until then whatever was there stays. Both have the mode of the file that was there,
/// and from the first byte on nobody may read what they could not read there; a new one has the mode
/// of new files. What is not a regular file (a device, a pipe), and every name of an open descriptor
/// (`/dev/stdout`, `/proc/self/fd/3`), is written as the bytes come and never replaced.
///
/// An existing temporary file that belongs to another user, or has another name too, is never used.
#[derive(Debug)]
pub struct Local {
    file: File,
    kind: Kind,
    /// So many bytes are there.
    length: u64,
}

#[derive(Debug)]
enum Kind {
    /// Takes `path` when it is complete.
    Partial { part: PathBuf, path: PathBuf },
    /// Is written as it is.
    Direct(PathBuf),
}

impl Local {
    /// Makes the place ready: nothing is left to fail that can be known now.
    ///
    /// What an interrupted fetch has left is gone on with if `resume`, otherwise dropped. A second
    /// fetch to the same place is refused while the first one is running.
    ///
    /// # Errors
    ///
    /// [`LocalError`]: it is a folder, may not be written, ...
    pub fn open(path: &Path, resume: bool) -> Result<Self, LocalError> {
        let fail = |path: &Path, source| LocalError { doing: "write", path: path.into(), source };
        match descriptor::named(path) {
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
            // To replace a file is not to write it, but whoever made it read-only meant it.
            Ok(found) if found.permissions().readonly() => {
                return Err(fail(path, ErrorKind::PermissionDenied.into()));
            }
            Ok(found) => Some(found),
            // Of a link, this says that it leads nowhere.
            Err(e) if e.kind() == ErrorKind::NotFound && !is_link => {
                // A file's name does not end like this, and the system says so only at the end.
                if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    return Err(fail(path, ErrorKind::IsADirectory.into()));
                }
                None
            }
            Err(e) => return Err(fail(path, e)),
        };
        // A link is kept: the file it leads to is replaced. A pipe behind one may have no name.
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

    /// The partial file of a file, and of no other process, no more open than the old one.
    fn lock(
        path: &Path,
        name: &OsStr,
        old: Option<&Metadata>,
        resume: bool,
    ) -> Result<(PathBuf, File), LocalError> {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".part");
        let mut part = path.with_file_name(hidden);
        loop {
            let fail = |source| LocalError { doing: "write", path: part.clone(), source };
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                // Less the umask; the old file's mode comes when it is known to be ours.
                .mode(if old.is_some() { OWNERS } else { 0o666 })
                // Nobody's link is followed, and a pipe does not make us wait.
                .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
            let (file, is_new) = match options.clone().create_new(true).open(&part) {
                Ok(file) => (file, true),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => match options.open(&part) {
                    Ok(file) => (file, false),
                    // Renamed or removed in between.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(fail(explained(&part, e))),
                },
                // The name itself is not too long, or it would have been told before.
                Err(e) if e.kind() == ErrorKind::InvalidFilename => {
                    let short = path.with_file_name(short_name(name));
                    if part == short {
                        return Err(fail(e));
                    }
                    part = short;
                    continue;
                }
                Err(e) => return Err(fail(e)),
            };
            let found = file.metadata().map_err(fail)?;
            // Not of a new file: some file systems (vfat, CIFS, NFS with root_squash) choose the owner.
            if let Some(why) = not_ours(&found).filter(|_| !is_new) {
                return Err(fail(io::Error::other(why)));
            }
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Err(fail(io::Error::other("another transfer is writing it")));
            }
            // The one who had it may have finished in between: then it has another name now.
            if !is_named(&found, &part) {
                continue;
            }
            if !is_new && !resume {
                // What an earlier one has left is dropped, and a process that has it open gets no more of it.
                fs::remove_file(&part).map_err(fail)?;
                continue;
            }
            if let Some(old) = old {
                // To go on from it is to read and write it.
                set_mode(&file, old.mode() | OWNERS);
            }
            return Ok((part, file));
        }
    }

    /// Standard output, or whatever else is open already.
    #[must_use]
    pub fn direct(file: File, name: &Path) -> Self {
        Self { file, kind: Kind::Direct(name.into()), length: 0 }
    }

    /// Whether this is the file itself, and not one that would be replaced.
    #[must_use]
    pub fn is_file(&self, found: &Metadata) -> bool {
        let here = match &self.kind {
            Kind::Partial { path, .. } => fs::metadata(path),
            Kind::Direct(_) => self.file.metadata(),
        };
        here.is_ok_and(|here| is_same(&here, found))
    }

    /// So many bytes of the file are there.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Moves `n` bytes from a pipe to the end, without a copy where that can be.
    #[cfg(target_os = "linux")]
    pub(super) fn write_pipe(
        &mut self,
        pipe: &std::os::fd::OwnedFd,
        n: usize,
    ) -> Result<(), LocalError> {
        use rustix::io::Errno;
        use rustix::pipe::{SpliceFlags, splice};

        let mut left = n;
        while left > 0 {
            match splice(pipe, None, &self.file, None, left, SpliceFlags::MOVE) {
                Ok(0) => return Err(self.failed("write", ErrorKind::WriteZero.into())),
                Ok(n) => {
                    left -= n;
                    self.length += n as u64;
                }
                Err(Errno::INTR) => {}
                // A terminal, say, or a file that is appended to.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    let mut bytes = vec![0; left];
                    let n = rustix::io::read(pipe, &mut bytes);
                    let n = n.map_err(|e| self.failed("write", e.into()))?;
                    self.write(&bytes[..n])?;
                    left -= n;
                }
                Err(e) => return Err(self.failed("write", e.into())),
            }
        }
        Ok(())
    }

    /// Whether what is written can be read back.
    pub(super) const fn is_partial(&self) -> bool {
        matches!(self.kind, Kind::Partial { .. })
    }

    /// The same open file, to read what is written.
    pub(super) fn reader(&self) -> Result<File, LocalError> {
        self.file.try_clone().map_err(|e| self.failed("read", e))
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(e) => {
                // Some of it may have been written.
                if let (Kind::Partial { .. }, Ok(at)) = (&self.kind, self.file.stream_position()) {
                    self.length = at;
                }
                Err(self.failed("write", e))
            }
        }
    }

    /// All of it is there: it gets its name.
    ///
    /// The bytes are on the disk before the name is, so that a power failure leaves the old file or
    /// the new one.
    pub(super) fn complete(&mut self) -> Result<(), LocalError> {
        let Kind::Partial { part, path } = &self.kind else { return Ok(()) };
        self.file.sync_data().map_err(|e| self.failed("write", e))?;
        if let Ok(old) = fs::metadata(path) {
            set_mode(&self.file, old.mode());
        }
        // In a folder that others may write to, they may have put another one in its place.
        let ours = self.file.metadata().map_err(|e| self.failed("write", e))?;
        if !is_named(&ours, part) {
            return Err(self.failed("rename", io::Error::other("somebody has replaced it")));
        }
        fs::rename(part, path).map_err(|source| LocalError {
            doing: "replace",
            path: path.clone(),
            source,
        })?;
        self.kind = Kind::Direct(path.clone());
        Ok(())
    }

    /// What is there is of no use.
    pub(super) fn discard(&mut self) {
        self.length = 0;
    }

    /// What is there can be gone on with, unless it is nothing: where it is.
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

/// The temporary file's name where the long one is too long. Always the same, to be found again.
fn short_name(name: &OsStr) -> String {
    format!(".{:08x}.part", crc32fast::hash(name.as_encoded_bytes()))
}

/// Why a temporary file is not to be used: the process that made it may still read or write it.
fn not_ours(found: &Metadata) -> Option<&'static str> {
    if !found.is_file() {
        Some("not a regular file; remove it, or choose another name")
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        Some("belongs to another user; remove it, or choose another name")
    } else if found.nlink() != 1 {
        Some("has another hard link; remove it, or choose another name")
    } else {
        None
    }
}

/// Why the temporary file that is there cannot be opened: what it is says more than the system does.
fn explained(part: &Path, e: io::Error) -> io::Error {
    match fs::symlink_metadata(part).ok().as_ref().and_then(not_ours) {
        Some(why) => io::Error::other(why),
        None => e,
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether this file has this name.
fn is_named(file: &Metadata, name: &Path) -> bool {
    fs::symlink_metadata(name).is_ok_and(|now| is_same(&now, file))
}

/// Whether something is mounted on this name: then no file can take it.
#[cfg(target_os = "linux")]
fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| {
        found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
            && found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// Only folders can be mounted on.
#[cfg(not(target_os = "linux"))]
const fn is_mount_point(_: &Path) -> bool {
    false
}

/// To read and write it, for its owner alone.
const OWNERS: u32 = 0o600;

/// Who may read, write and execute it: nothing that comes from a network runs with the rights of its
/// owner or group.
fn set_mode(file: &File, mode: u32) {
    // Refused where it belongs to somebody else: then it has the mode it had.
    let _ = file.set_permissions(Permissions::from_mode(mode & 0o777));
}

/// A partial file stays only if there is something in it to go on with.
impl Drop for Local {
    fn drop(&mut self) {
        if let (Kind::Partial { part, .. }, 0) = (&self.kind, self.length) {
            // It may have been removed already.
            let _ = fs::remove_file(part);
        }
    }
}
