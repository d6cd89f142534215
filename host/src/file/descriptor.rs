//! Names of open descriptors: `/dev/stdout`, `/dev/fd/1`, `/proc/self/fd/1`, links to them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};

/// What systems follow at most.
const LINKS_MAX: usize = 40;

/// The open file that this path names, to be written to; `None` when it names no open descriptor.
///
/// A descriptor of this process is duplicated, not opened again: a second opening of a regular file
/// would write over what stands at its start.
pub(super) fn named(path: &Path) -> Option<io::Result<File>> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let name = path.file_name()?.to_owned();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().ok()?;
        if let Some(whose) = whose(&folder)
            && let Some(number) = name.to_str().and_then(|name| name.parse().ok())
        {
            return Some(match whose {
                Whose::Ours => duplicate(&folder.join(name), number),
                // Its place in the file cannot be shared: whatever is there is kept.
                Whose::Theirs => OpenOptions::new().append(true).open(folder.join(name)),
            });
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

enum Whose {
    Ours,
    Theirs,
}

/// Whose open descriptors have their names in this folder.
fn whose(folder: &Path) -> Option<Whose> {
    if folder == Path::new("/dev/fd") {
        return Some(Whose::Ours);
    }
    let ours = fs::canonicalize("/proc/self").unwrap_or_else(|_| PathBuf::from("/proc/self"));
    match folder {
        _ if !folder.starts_with("/proc") || !folder.ends_with("fd") => None,
        _ if folder.starts_with(ours) => Some(Whose::Ours),
        _ => Some(Whose::Theirs),
    }
}

/// Duplicates a descriptor that this process got when it was started.
fn duplicate(name: &Path, number: RawFd) -> io::Result<File> {
    fs::symlink_metadata(name).map_err(|_| Errno::BADF)?;
    #[expect(unsafe_code, reason = "a descriptor by its number")]
    // SAFETY: it is open, as its name is there, and used for these calls only.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // One that would not outlive an exec is this program's own, and no one outside knows its number.
    if rustix::io::fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    if rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE == OFlags::RDONLY {
        return Err(io::Error::other("open for reading only"));
    }
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(fd, 0)?))
}
