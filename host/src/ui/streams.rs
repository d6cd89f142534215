//! State of the standard streams at startup, and failures of writing to them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::Signal;
use rustix::stdio;

/// Standard input is closed, or open for writing only.
static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
/// Standard output is closed, or open for reading only.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// First failure of writing to stderr.
static STDERR_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Checks the streams before `main`.
///
/// In `main` it is too late: std has opened /dev/null for closed streams, and they look like streams that the caller has
/// redirected to /dev/null. The mode does not differ, because Python and Node open /dev/null for reading and writing too.
#[ctor::ctor(unsafe)]
fn check_at_startup() {
    // Only system calls: std may not be initialised yet.
    let mode = |fd| fcntl_getfl(fd).map(|flags| flags & OFlags::RWMODE);
    let is_closed = |mode: Result<OFlags, _>, wrong| mode.is_err() || mode == Ok(wrong);
    STDIN_CLOSED.store(is_closed(mode(stdio::stdin()), OFlags::WRONLY), Ordering::Relaxed);
    STDOUT_CLOSED.store(is_closed(mode(stdio::stdout()), OFlags::RDONLY), Ordering::Relaxed);
}

/// Makes every failure of writing an error of the call that writes.
pub(crate) fn prepare() {
    // At the limit of the file size (`ulimit -f`), the default action of the signal would end the program without a
    // message. With any handler, the write fails instead.
    let _ = signal_hook::flag::register(Signal::XFSZ.as_raw(), Arc::default());
    if STDOUT_CLOSED.load(Ordering::Relaxed)
        && let Ok((_, unread)) = rustix::pipe::pipe()
    {
        // A pipe without a reader: every write fails with EPIPE. With /dev/null the output would be lost. With a
        // descriptor that is not open for writing, std would ignore the error.
        let _ = stdio::dup2_stdout(unread);
    }
}

/// Checks that standard input can be read.
///
/// # Errors
///
/// If it is closed. std would report an end of file instead.
pub(crate) fn check_stdin() -> io::Result<()> {
    match STDIN_CLOSED.load(Ordering::Relaxed) {
        true => Err(io::Error::other("it is closed")),
        false => Ok(()),
    }
}

/// Records the result of writing to stderr. The program continues after a failure, but its exit code reports it.
///
/// A closed pipe is not a failure: the reader does not need the rest.
pub(crate) fn record_result(result: io::Result<()>) {
    if let Err(e) = result
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = STDERR_ERROR.set(e);
    }
}

/// Returns the first failure of writing to stderr.
pub(crate) fn stderr_error() -> Option<&'static io::Error> {
    STDERR_ERROR.get()
}
