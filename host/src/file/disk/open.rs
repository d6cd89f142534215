//! Opening and reading served files.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions};

use super::{Access, Shared};
use crate::net;
use crate::sys::read::read_at;
use crate::sys::{extra, file};

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
    let refuse = |e: io::Error| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "no such file".to_owned(),
        // This error comes from cap-std or from the check of the name: the system's own has a number.
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
    // opening, because the name may lead to another file by then. Opening does not wait for a named pipe.
    let path = file::served_path(name).map_err(refuse)?;
    let metadata = root.metadata(path).map_err(refuse)?;
    regular(metadata.is_file(), metadata.is_dir())?;
    let mut options = OpenOptions::new();
    options.read(true);
    file::set_served_options(&mut options);
    let file = root.open_with(path, &options).map_err(refuse)?.into_std();
    let metadata = file.metadata().map_err(refuse)?;
    regular(metadata.is_file(), metadata.is_dir())?;
    if is_pseudo(&file, &metadata) {
        return Err("a pseudo-file, which has no size".to_owned());
    }
    extra::file::advise_sequential(&file);
    Ok((Opened { file: Arc::new(file), size: metadata.len() }, metadata))
}

/// Returns whether the system generates the content of the file when it is read. The size of such a file is
/// meaningless.
fn is_pseudo(file: &File, metadata: &Metadata) -> bool {
    // Not in each such file system, the size is 0. If it is, a read returns a byte or an error.
    extra::file::is_pseudo(file)
        || metadata.len() == 0
            && !matches!(read_at(file, &mut [0], 0), Err(e) if e.kind() == ErrorKind::UnexpectedEof)
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
            None => match extra::file::load(file, at, want)? {
                Some(n) => n,
                None => {
                    // One byte per page loads the page, at a tenth of the cost of copying it.
                    for page in (0..want).step_by(PAGE) {
                        read_at(file, &mut chunk[..1], at + page as u64)?;
                    }
                    read_at(file, &mut chunk[..1], at + want as u64 - 1)?;
                    want
                }
            },
        };
        at += n as u64;
    }
    Ok(())
}

/// Returns whether a range of at least one byte is in the page cache, so that sending it does not wait for the disk.
///
/// Only the first and the last byte are checked. Where the system cannot report it, the answer is `true`.
pub(in crate::file) fn is_cached(file: &File, from: u64, until: u64) -> bool {
    extra::file::is_cached(file, from) && extra::file::is_cached(file, until.saturating_sub(1))
}

/// Returns the reason why a file that is being sent could not be read to its end.
pub(in crate::file) fn read_failure(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the file became shorter while it was sent".to_owned(),
        _ => format!("cannot read the file: {}", net::reason(e)),
    }
}
