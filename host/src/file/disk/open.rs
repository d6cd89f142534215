//! Opening and reading served files.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Advice, OFlags};

use super::{Access, Shared};
use crate::net;
use crate::pread::read_at;

/// Smallest page of any page cache, in bytes.
const PAGE: usize = 4096;

/// A file that is open for reading.
#[derive(Clone, Debug)]
pub(in crate::file) struct Opened {
    pub(in crate::file) file: Arc<File>,
    pub(in crate::file) size: u64,
}

/// Opens a regular file below `root`, or returns the reason for the refusal.
pub(super) fn open(root: &Dir, name: &[u8]) -> Result<(Opened, Metadata), String> {
    let path = Path::new(OsStr::from_bytes(name));
    let refuse = |e: io::Error| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "no such file".to_owned(),
        // cap-std returns this error itself: the system's own has a number.
        ErrorKind::PermissionDenied if e.raw_os_error().is_none() => {
            "path is outside the served folder".to_owned()
        }
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => net::reason(&e),
    };
    let regular = |is_file: bool, is_dir: bool| match (is_file, is_dir) {
        (true, _) => Ok(()),
        (_, true) => Err("is a folder".to_owned()),
        _ => Err("not a regular file".to_owned()),
    };
    // The type is checked before opening, because opening a device can have side effects. It is checked again after
    // opening, because the name may lead to another file by then. `NONBLOCK` keeps a named pipe from blocking.
    let metadata = root.metadata(path).map_err(refuse)?;
    regular(metadata.is_file(), metadata.is_dir())?;
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = root.open_with(path, &options).map_err(refuse)?.into_std();
    let metadata = file.metadata().map_err(refuse)?;
    regular(metadata.is_file(), metadata.is_dir())?;
    if is_pseudo(&file, &metadata) {
        return Err("a pseudo-file, which has no size".to_owned());
    }
    #[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    Ok((Opened { file: Arc::new(file), size: metadata.len() }, metadata))
}

/// Returns whether the system generates the content of the file when it is read. The size of such a file is
/// meaningless.
fn is_pseudo(file: &File, metadata: &Metadata) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// `SYSFS_MAGIC` of linux/magic.h.
        const SYSFS: i128 = 0x6265_6572;
        let kind = rustix::fs::fstatfs(file).map(|found| i128::from(found.f_type));
        let proc = i128::from(rustix::fs::PROC_SUPER_MAGIC);
        if kind.is_ok_and(|kind| kind == proc || kind == SYSFS) {
            return true;
        }
    }
    // Other pseudo file systems: the size is 0, but a read returns a byte or an error.
    metadata.len() == 0 && !matches!(file.read_at(&mut [0], 0), Ok(0))
}

/// Reads a range of a file into the page cache, and into `hasher` if there is one.
pub(super) fn read(
    shared: &Shared,
    file: &File,
    from: u64,
    until: u64,
    mut hasher: Option<&mut crc32fast::Hasher>,
    chunk: &mut [u8],
) -> io::Result<()> {
    let mut at = from;
    while at < until {
        let want = usize::try_from(until - at).unwrap_or(usize::MAX).min(chunk.len());
        shared.access(Access::Read { at, bytes: want });
        let n = match &mut hasher {
            Some(hasher) => {
                let n = read_at(file, &mut chunk[..want], at)?;
                hasher.update(&chunk[..n]);
                n
            }
            // One byte per page loads the page, at a tenth of the cost of copying it.
            None => {
                for page in (0..want).step_by(PAGE) {
                    read_at(file, &mut chunk[..1], at + page as u64)?;
                }
                read_at(file, &mut chunk[..1], at + want as u64 - 1)?;
                want
            }
        };
        at += n as u64;
    }
    Ok(())
}

/// Returns whether a range of at least one byte is in the page cache, so that sending it does not wait for the disk.
///
/// Only the first and the last byte are checked. Where the system cannot report it, the answer is `true`.
pub(in crate::file) fn is_cached(file: &File, from: u64, until: u64) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let is_cached = |at| {
            let mut byte = [0];
            let buffers = &mut [io::IoSliceMut::new(&mut byte)];
            // Any other error counts as cached: some file systems do not support the flag, and a real error will come
            // back from sending.
            preadv2(file, buffers, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
        };
        is_cached(from) && is_cached(until.saturating_sub(1))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, from, until);
        true
    }
}

/// Returns the reason why a file that is being sent could not be read to its end.
pub(in crate::file) fn read_failure(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the file became shorter while it was sent".to_owned(),
        _ => format!("cannot read the file: {}", net::reason(e)),
    }
}
