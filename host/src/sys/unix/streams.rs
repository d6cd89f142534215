//! Standard streams of Unix.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::Signal;
use rustix::stdio;

/// Standard input is closed, or open for writing only.
static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
/// Standard output is closed, or open for reading only.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

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

/// Returns whether standard input was closed at startup. std would report an end of file instead.
pub(crate) fn is_stdin_closed() -> bool {
    STDIN_CLOSED.load(Ordering::Relaxed)
}

/// Checks that standard output is open, for code that writes to it without [`stdout`]. Here the writing itself fails:
/// see [`prepare`].
///
/// # Errors
///
/// If it is closed: see [`is_closed_pipe`].
#[expect(clippy::unnecessary_wraps, reason = "the signature of all systems")]
pub(crate) const fn check_stdout() -> io::Result<()> {
    Ok(())
}

/// Writer to standard output: see [`stdout`].
pub(crate) type Stdout = io::Stdout;

/// Returns a writer to standard output. If that is closed, every write fails: see [`is_closed_pipe`]. A terminal may get
/// any bytes.
pub(crate) fn stdout() -> Stdout {
    io::stdout()
}

/// Returns whether an error of writing means that the other end of the pipe is closed.
pub(crate) fn is_closed_pipe(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::BrokenPipe
}
