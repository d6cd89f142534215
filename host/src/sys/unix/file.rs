//! Files of Unix.

mod descriptor;

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};

/// Whether a single letter and a colon at the start of a path are a drive.
#[cfg(feature = "cli")]
pub(crate) const HAS_DRIVES: bool = false;

/// Name of the environment variable that sets the folder of temporary files.
#[cfg(feature = "cli")]
pub(crate) const TEMP_VARIABLE: &str = "TMPDIR";

/// Reads at most `buffer.len()` bytes at `offset`. Returns 0 at the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Appends bytes to a temporary file of `length` bytes. Adds the number of bytes written to `length`, also if only a
/// part of them could be written.
///
/// The cursor stands at the end of the file, and stays there: `splice` may append the next bytes.
pub(crate) fn append(mut file: &File, mut bytes: &[u8], length: &mut u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match io::Write::write(&mut file, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                *length += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Returns the path below a served folder that a requested name stands for.
///
/// # Errors
///
/// If the name cannot be that of a file on this system. On Unix every name can.
#[expect(clippy::unnecessary_wraps, reason = "other systems refuse names")]
pub(crate) fn served_path(name: &[u8]) -> io::Result<&Path> {
    Ok(Path::new(OsStr::from_bytes(name)))
}

/// Returns the bytes that request a file of this name; `None` if it is not text.
#[cfg(feature = "cli")]
#[expect(clippy::unnecessary_wraps, reason = "names of other systems are text")]
pub(crate) fn requested_name(name: &OsStr) -> Option<&[u8]> {
    Some(name.as_bytes())
}

/// Returns the last part of a requested name, as the name of a file in the current folder.
///
/// # Errors
///
/// The reason why there is none.
#[cfg(feature = "cli")]
pub(crate) fn last_part(name: &[u8]) -> Result<std::path::PathBuf, String> {
    let part = Path::new(OsStr::from_bytes(name)).file_name().filter(|_| !name.ends_with(b"/"));
    part.map(Into::into).ok_or_else(|| "REMOTE does not end in a file's name".to_owned())
}

/// Returns the open file for a path that is written directly whatever it names: an open descriptor. Returns `None` for
/// any other path.
pub(crate) fn direct(path: &Path) -> Option<io::Result<File>> {
    descriptor::named(path)
}

/// Identity and kind of a file.
pub(crate) struct Info(Metadata);

impl Info {
    /// Returns the information about an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(Self)
    }

    /// Returns the information about the file that `path` names. A link at its end is followed.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(Self)
    }

    /// Returns the information about the file or the link that `path` names.
    pub(crate) fn at_link(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(Self)
    }

    /// Returns whether both are the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.0.dev(), self.0.ino()) == (other.0.dev(), other.0.ino())
    }

    /// Returns the reason why an existing temporary file must not be used: another user or process may be able to read
    /// or write it.
    pub(crate) fn unusable_reason(&self) -> Option<&'static str> {
        if !self.0.is_file() {
            Some("not a regular file; remove it, or choose another name")
        } else if self.0.uid() != rustix::process::geteuid().as_raw() {
            Some("belongs to another user; remove it, or choose another name")
        } else if self.0.nlink() != 1 {
            Some("has another hard link; remove it, or choose another name")
        } else {
            None
        }
    }
}

/// Identity and version of a file: equal for two states of a file only if its content is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Time of the last change of the inode. The system updates it with every change, and no program can set it.
    changed: (i64, i64),
}

impl Version {
    /// Returns the version of a file; `None` if the system does not report it.
    #[expect(clippy::unnecessary_wraps, reason = "other systems do not report it")]
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Returns the time of the last change, in seconds since the epoch.
    pub(crate) fn changed(&self) -> i64 {
        self.modified.0.max(self.changed.0)
    }
}

/// Mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;

/// Returns whether a name is short enough for any file system. Here the answer is always `true`: the system reports a name
/// that is too long.
pub(crate) const fn fits(_: &OsStr) -> bool {
    true
}

/// Returns the options to open the temporary file of a transfer. If it is private, a new one is accessible for its owner
/// only; otherwise it has the rights of any new file.
///
/// Another user may have created the name: a link is not followed, and a pipe does not block.
pub(crate) fn part_options(is_private: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        // Restricted by the umask.
        .mode(if is_private { OWNER_ONLY } else { 0o666 })
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Locks the temporary file of a transfer. Returns whether no other transfer has locked it.
pub(crate) fn lock(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Returns whether opening the temporary file failed because another transfer writes it. Here only
/// [locking](lock) fails.
pub(crate) const fn is_in_use(_: &io::Error) -> bool {
    false
}

/// Discards the content of an existing temporary file. Returns whether it must be created again.
///
/// It is removed, not truncated: a process that still has the old file open must not read the new bytes.
pub(crate) fn start_over(_: &File, path: &Path) -> io::Result<bool> {
    fs::remove_file(path).map(|()| true)
}

/// Gives the temporary file of a transfer the rights that the older file grants. With `is_resumable`, its owner may
/// also read and write it.
///
/// Without set-user-ID and set-group-ID: a file from a network must not run with the rights of its owner.
pub(crate) fn copy_rights(file: &File, old: &Metadata, is_resumable: bool) {
    let mode = old.mode() & 0o777 | if is_resumable { OWNER_ONLY } else { 0 };
    // Fails if the file belongs to another user. Its mode stays unchanged then.
    let _ = file.set_permissions(Permissions::from_mode(mode));
}

/// Renames the temporary file of a transfer, which may be open. It replaces an older file.
pub(crate) fn replace(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path)
}

/// Sets the options for opening a served file: the call does not wait for a named pipe or a terminal.
pub(crate) fn set_served_options(options: &mut cap_std::fs::OpenOptions) {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    cap_std::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
}

#[cfg(feature = "cli")]
pub(crate) use self::streams::{is_device, sequential, stdin, stdout};

#[cfg(feature = "cli")]
mod streams {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileTypeExt as _;

    /// Returns a duplicate of standard input for unbuffered reads; `None` if only std can read it correctly.
    pub(crate) fn stdin() -> io::Result<Option<File>> {
        io::stdin().as_fd().try_clone_to_owned().map(|fd| Some(File::from(fd)))
    }

    /// Returns a duplicate of standard output.
    pub(crate) fn stdout() -> io::Result<File> {
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    }

    /// Returns whether an open file is a character device, such as a terminal or `/dev/null`.
    pub(crate) fn is_device(file: &File) -> bool {
        file.metadata().is_ok_and(|found| found.file_type().is_char_device())
    }

    /// Returns a reader of a regular file from its cursor on. Other threads may read the file
    /// [at an offset](super::read_at) meanwhile.
    pub(crate) const fn sequential(file: File) -> io::Result<File> {
        Ok(file)
    }
}
