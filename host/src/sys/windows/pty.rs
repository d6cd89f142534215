//! Pseudo-terminals of Windows, which a child process cannot have for its standard output alone.

use std::fs::File;
use std::io;
use std::process::Stdio;

/// Opens a terminal for the standard output of a child process, and returns also what reads that output.
///
/// # Errors
///
/// Always: a pseudo-console is all standard streams of a process, and it changes what is written.
pub(crate) fn terminal() -> io::Result<(File, Stdio)> {
    Err(io::ErrorKind::Unsupported.into())
}
