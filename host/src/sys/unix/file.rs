//! Files of Unix.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Reads at most `buffer.len()` bytes at `offset`. Returns 0 at the end of the file.
///
/// On some systems this moves the cursor of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}
