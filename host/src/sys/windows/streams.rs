//! Standard streams of Windows.

use std::io::{self, ErrorKind, Write};
use std::os::windows::io::{AsRawHandle, RawHandle};

use winapi_util::{AsHandleRef, console, file};

/// Does nothing: see [`stdout`].
pub(crate) const fn prepare() {}

/// Returns whether standard input is closed or missing. std would report an end of file instead.
pub(crate) fn is_stdin_closed() -> bool {
    is_closed(&io::stdin())
}

/// Checks that standard output is open, for code that writes to it without [`stdout`].
///
/// # Errors
///
/// If it is closed: see [`is_closed_pipe`].
pub(crate) fn check_stdout() -> io::Result<()> {
    if is_closed(&io::stdout()) { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Returns whether a stream has no handle, or one that is not open. std reports that writing to it succeeds.
///
/// A program without a console, such as a service, has none.
fn is_closed(stream: &(impl AsHandleRef + AsRawHandle)) -> bool {
    // The value of INVALID_HANDLE_VALUE.
    let invalid = std::ptr::without_provenance_mut(usize::MAX) as RawHandle;
    let handle = stream.as_raw_handle();
    handle.is_null() || handle == invalid || file::typ(stream).is_err()
}

/// Writer to standard output: see [`stdout`].
pub(crate) struct Stdout {
    stdout: io::Stdout,
    is_closed: bool,
    /// Text for the console; `None` if the output is a file or a pipe.
    console: Option<Text>,
}

/// Returns a writer to standard output. If that is closed, every write fails: see [`is_closed_pipe`]. A terminal may get
/// any bytes.
///
/// std does not write bytes that are not UTF-8 to a console, because it converts them to UTF-16. They are replaced here.
pub(crate) fn stdout() -> Stdout {
    let stdout = io::stdout();
    let is_closed = is_closed(&stdout);
    let console = (!is_closed && console::mode(&stdout).is_ok()).then(Text::default);
    Stdout { stdout, is_closed, console }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match &mut self.console {
            None => self.stdout.write(bytes),
            Some(text) => {
                self.stdout.write_all(text.next(bytes).as_bytes())?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Converter from bytes to text. Bytes that are not UTF-8 are replaced.
#[derive(Default)]
struct Text {
    /// First bytes of a character whose other bytes have not been written.
    partial: Vec<u8>,
}

impl Text {
    /// Returns the text of the next bytes, up to the last complete character.
    fn next(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let mut whole = self.partial.len();
        // A character has at most four bytes.
        for start in (whole.saturating_sub(3)..whole).rev() {
            if std::str::from_utf8(&self.partial[start..])
                .is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0)
            {
                whole = start;
                break;
            }
        }
        let text = String::from_utf8_lossy(&self.partial[..whole]).into_owned();
        self.partial.drain(..whole);
        text
    }
}

/// Returns whether an error of writing means that the other end of the pipe is closed. std knows some of the codes.
pub(crate) fn is_closed_pipe(e: &io::Error) -> bool {
    const ERROR_BROKEN_PIPE: i32 = 109;
    const ERROR_NO_DATA: i32 = 232;
    const ERROR_PIPE_NOT_CONNECTED: i32 = 233;
    e.kind() == ErrorKind::BrokenPipe
        || matches!(
            e.raw_os_error(),
            Some(ERROR_BROKEN_PIPE | ERROR_NO_DATA | ERROR_PIPE_NOT_CONNECTED)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_a_console_become_text() {
        let mut text = Text::default();
        for (bytes, expected) in [
            (&b"abc"[..], "abc"),
            (b"\xe2", ""),
            (b"\x82", ""),
            (b"\xac!", "\u{20ac}!"),
            (b"\xff\xe2\x82", "\u{fffd}"),
            (b"\n", "\u{fffd}\n"),
            (b"\xf0\x9f\xa6", ""),
            (b"\x80\xf0", "\u{1f980}"),
            (b"\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text.next(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_error_of_a_closed_pipe_is_known() {
        for code in [109, 232, 233] {
            assert!(is_closed_pipe(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!is_closed_pipe(&io::Error::from_raw_os_error(5)));
    }
}
