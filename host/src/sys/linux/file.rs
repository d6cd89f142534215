//! Functions of files that only Linux has.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::Path;

use rustix::fs::{Advice, AtFlags, CWD, StatxAttributes, StatxFlags, statx};
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

/// Returns whether the byte at an offset is in the page cache, so that reading it does not wait for the disk.
pub(crate) fn is_cached(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let buffers = &mut [IoSliceMut::new(&mut byte)];
    // Any other error counts as cached: some file systems do not support the flag, and a real error will come back from
    // sending.
    preadv2(file, buffers, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
}
