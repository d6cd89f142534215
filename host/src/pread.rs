use std::fs::File;
use std::io::{self, ErrorKind};

use crate::sys;

/// Reads at least one byte at `offset`, and repeats a read that a signal interrupted.
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`] if the file ends before `offset`. `buffer` must not be empty: a read into it
/// returns 0 as at the end.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match sys::file::read_at(file, buffer, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
