//! Files of Windows.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt as _;

/// Reads at most `buffer.len()` bytes at `offset`. Returns 0 at the end of the file.
///
/// This moves the cursor of the file, and that of every duplicate of its handle.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}
