//! Functions of files that only Linux has.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Advice, AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Returns whether `path` is a mount point. A rename cannot replace one.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| {
        found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
            && found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// Returns whether the file is in a file system whose files have a meaningless size: `/proc` or `/sys`.
pub(crate) fn is_pseudo(file: &File) -> bool {
    /// `SYSFS_MAGIC` of linux/magic.h.
    const SYSFS: i128 = 0x6265_6572;
    let kind = rustix::fs::fstatfs(file).map(|found| i128::from(found.f_type));
    let proc = i128::from(rustix::fs::PROC_SUPER_MAGIC);
    kind.is_ok_and(|kind| kind == proc || kind == SYSFS)
}

/// Announces that the file will be read from its start to its end.
pub(crate) fn advise_sequential(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
}

/// Loads at most `most` bytes of a file into the page cache. Returns their number, or `None` if that is not supported.
///
/// The kernel passes the pages to `/dev/null`, which does not copy them. Reading a byte of each page takes one system
/// call a page, which was a third of the CPU time of a server.
pub(crate) fn load(file: &File, at: u64, most: usize) -> io::Result<Option<usize>> {
    static NULL: OnceLock<Option<File>> = OnceLock::new();
    // The system cannot evict the pages of such a file, except to swap. They are small, so visiting each of them takes
    // nearly as long as sending them.
    if is_in_memory(file) {
        let last = at.saturating_add(most as u64).saturating_sub(1);
        if rustix::io::pread(file, &mut [0], last).is_ok_and(|n| n == 1) {
            return Ok(Some(most));
        }
    }
    let Some(null) = NULL.get_or_init(open_null) else { return Ok(None) };
    let mut at = at;
    loop {
        return match rustix::fs::sendfile(null, file, Some(&mut at), most) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(Some(n)),
            Err(Errno::INTR) => continue,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
            Err(e) => Err(e.into()),
        };
    }
}

/// Returns whether the file is in a file system without a disk: tmpfs.
fn is_in_memory(file: &File) -> bool {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: i128 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|found| i128::from(found.f_type) == TMPFS)
}

/// Opens `/dev/null`. Returns `None` if that is another file: in a container it may be an ordinary one.
fn open_null() -> Option<File> {
    let null = OpenOptions::new().write(true).open("/dev/null").ok()?;
    let found = rustix::fs::fstat(&null).ok()?;
    let is_null = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3);
    is_null.then_some(null)
}

/// Returns whether the byte at an offset is in the page cache, so that reading it does not wait for the disk.
pub(crate) fn is_cached(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let buffers = &mut [IoSliceMut::new(&mut byte)];
    // Any other error counts as cached: some file systems do not support the flag, and a real error will come back from
    // sending.
    preadv2(file, buffers, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_loaded_as_far_as_it_reaches() {
        let in_memory = tempfile::tempfile_in("/dev/shm").ok();
        assert!(in_memory.as_ref().is_none_or(is_in_memory));
        for mut file in [Some(tempfile::tempfile().unwrap()), in_memory].into_iter().flatten() {
            file.write_all(&[7; 10_000]).unwrap();
            assert_eq!(load(&file, 0, 4096).unwrap(), Some(4096));
            assert_eq!(load(&file, 9_000, 4096).unwrap(), Some(1_000));
            let e = load(&file, 10_000, 1).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
