//! Failures of the standard streams.

use std::io;
use std::sync::OnceLock;

use crate::sys::streams::is_stdin_closed;
pub(crate) use crate::sys::streams::{check_stdout, is_closed_pipe, prepare, stdout};

/// First failure of writing to stderr.
static STDERR_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Checks that standard input can be read.
///
/// # Errors
///
/// If it is closed. std would report an end of file instead.
pub(crate) fn check_stdin() -> io::Result<()> {
    match is_stdin_closed() {
        true => Err(io::Error::other("it is closed")),
        false => Ok(()),
    }
}

/// Records the result of writing to stderr. The program continues after a failure, but its exit code reports it.
///
/// A closed pipe is not a failure: the reader does not need the rest.
pub(crate) fn record_result(result: io::Result<()>) {
    if let Err(e) = result
        && !is_closed_pipe(&e)
    {
        let _ = STDERR_ERROR.set(e);
    }
}

/// Returns the first failure of writing to stderr.
pub(crate) fn stderr_error() -> Option<&'static io::Error> {
    STDERR_ERROR.get()
}
