//! Fallbacks for the functions of files that only Linux has.

use std::fs::File;
use std::io;
use std::path::Path;

/// Returns `false`: other systems mount only on folders.
pub(crate) const fn is_mount_point(_: &Path) -> bool {
    false
}

/// Returns `false`: the caller recognises other pseudo files by their size.
pub(crate) const fn is_pseudo(_: &File) -> bool {
    false
}

/// Does nothing: these systems detect sequential reads themselves.
pub(crate) const fn advise_sequential(_: &File) {}

/// Returns `None`: the caller reads a byte of each page instead.
pub(crate) const fn load(_: &File, _: u64, _: usize) -> io::Result<Option<usize>> {
    Ok(None)
}

/// Returns `true`: whether a byte is in the page cache is unknown.
pub(crate) const fn is_cached(_: &File, _: u64) -> bool {
    true
}
