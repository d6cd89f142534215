//! The standard streams as the program got them, and what cannot be written to them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::Signal;
use rustix::stdio;

/// Standard input cannot be read, standard output not be written: closed, or open for the other only.
static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Why a line on stderr was lost.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Looks at the streams before `main`: std opens /dev/null for those that are closed, and then nothing
/// distinguishes them from streams that the caller wants discarded. (Its mode does not: Python and Node open
/// /dev/null for reading and writing, as std does.)
#[ctor::ctor(unsafe)]
fn look() {
    // Two calls of the system, and nothing of std that may not be there yet.
    let mode = |fd| fcntl_getfl(fd).map(|flags| flags & OFlags::RWMODE);
    let is_closed = |mode: Result<OFlags, _>, wrong| mode.is_err() || mode == Ok(wrong);
    STDIN_CLOSED.store(is_closed(mode(stdio::stdin()), OFlags::WRONLY), Ordering::Relaxed);
    STDOUT_CLOSED.store(is_closed(mode(stdio::stdout()), OFlags::RDONLY), Ordering::Relaxed);
}

/// Makes every failure to write one that is seen: as an error of the call that writes.
pub(crate) fn prepare() {
    // A limit of the size of files (`ulimit -f`) would end the program without a word. With a handler,
    // whatever it does, the write fails instead.
    let _ = signal_hook::flag::register(Signal::XFSZ.as_raw(), Arc::default());
    if STDOUT_CLOSED.load(Ordering::Relaxed)
        && let Ok((_, unread)) = rustix::pipe::pipe()
    {
        // A pipe that no one reads: so that what is written is not lost in /dev/null, and std does not
        // take the error for success, as it does with a descriptor that is not open for writing.
        let _ = stdio::dup2_stdout(unread);
    }
}

/// Standard input is there to be read.
///
/// # Errors
///
/// When it is closed. What std reads then is an end.
pub(crate) fn check_stdin() -> io::Result<()> {
    match STDIN_CLOSED.load(Ordering::Relaxed) {
        true => Err(io::Error::other("it is closed")),
        false => Ok(()),
    }
}

/// Takes the result of writing to stderr: the program continues, its exit code says it.
///
/// A pipe that its reader has closed is not a failure: the reader wants no more.
pub(crate) fn written(result: io::Result<()>) {
    if let Err(e) = result
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(e);
    }
}

/// Why something on stderr was lost, if it was.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}
