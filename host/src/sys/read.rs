//! Reads at an offset, for all systems.

use std::fs::File;
use std::io::{self, ErrorKind};

use super::file;

/// Reads at least one byte at `offset`, and repeats a read that a signal interrupted.
///
/// On Windows this moves the cursor of the file, and that of every duplicate of its handle.
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`] if the file ends before `offset`. `buffer` must not be empty: a read into it
/// returns 0 as at the end.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file::read_at(file, buffer, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Fills `buffer` with the bytes at `offset`.
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`] if the file ends before the end of `buffer`.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        filled += read_at(file, &mut buffer[filled..], offset + filled as u64)?;
    }
    Ok(())
}
