//! Paths that name an open file descriptor: `/dev/stdout`, `/dev/fd/1`, `/proc/self/fd/1`, and links to them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};

/// Largest number of symbolic links to follow, as in the Linux kernel.
const LINKS_MAX: usize = 40;

/// Returns the open file that `path` names, for writing; `None` if it does not name an open descriptor.
///
/// A descriptor of this process is duplicated, not opened again: a second open of a regular file would overwrite its
/// start.
pub(crate) fn named(path: &Path) -> Option<io::Result<File>> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let name = path.file_name()?.to_owned();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().ok()?;
        if let Some(owner) = owner(&folder)
            && let Some(number) = name.to_str().and_then(|name| name.parse().ok())
        {
            return Some(match owner {
                Owner::ThisProcess => duplicate(&folder.join(name), number),
                // The file offset of another process cannot be shared. Appending keeps what it has written.
                Owner::OtherProcess => OpenOptions::new().append(true).open(folder.join(name)),
            });
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

enum Owner {
    ThisProcess,
    OtherProcess,
}

/// Returns the owner of the descriptors that `folder` lists; `None` if it is not such a folder.
fn owner(folder: &Path) -> Option<Owner> {
    if folder == Path::new("/dev/fd") {
        return Some(Owner::ThisProcess);
    }
    let ours = fs::canonicalize("/proc/self").unwrap_or_else(|_| PathBuf::from("/proc/self"));
    match folder {
        _ if !folder.starts_with("/proc") || !folder.ends_with("fd") => None,
        _ if folder.starts_with(ours) => Some(Owner::ThisProcess),
        _ => Some(Owner::OtherProcess),
    }
}

/// Duplicates a descriptor that this process inherited.
fn duplicate(name: &Path, number: RawFd) -> io::Result<File> {
    fs::symlink_metadata(name).map_err(|_| Errno::BADF)?;
    // Safe functions would be an open of the name, which on Linux has an offset of its own, and `pidfd_getfd`, which
    // old kernels lack and containers forbid.
    #[expect(unsafe_code, reason = "a descriptor by its number")]
    // SAFETY: the descriptor is open, because its name exists, and it is used for the following calls only.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // A descriptor with close-on-exec was opened by this program. The user cannot know its number.
    if rustix::io::fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    if rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE == OFlags::RDONLY {
        return Err(io::Error::other("open for reading only"));
    }
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(fd, 0)?))
}
