//! Pseudo-terminals of Unix.

use std::fs::File;
use std::io;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Opens a terminal for the standard output of a child process. Returns also what reads that output: the end of it is an
/// error on Linux (EIO), and 0 bytes elsewhere.
///
/// Bytes pass it unchanged. It does not become the controlling terminal of any process.
///
/// No other thread may start a process in this time: a copy of a descriptor would keep the terminal open.
///
/// # Errors
///
/// If the system has no terminal left, or does not let this process open one.
pub(crate) fn terminal() -> io::Result<(File, Stdio)> {
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // Only some systems have a flag for that in the call before.
    fcntl_setfd(&reader, FdFlags::CLOEXEC)?;
    grantpt(&reader)?;
    unlockpt(&reader)?;
    let name = ptsname(&reader, Vec::new())?;
    let output = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut mode = tcgetattr(&output)?;
    // A line feed would become a carriage return and a line feed.
    mode.make_raw();
    tcsetattr(&output, OptionalActions::Now, &mode)?;
    Ok((reader.into(), output.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn bytes_pass_a_terminal_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        // Every byte after every other one, and more than any buffer of a terminal.
        let bytes: Vec<u8> = (0..=255).flat_map(|a| (0..=255).flat_map(move |b| [a, b])).collect();
        std::fs::write(&path, &bytes).unwrap();
        let (mut reader, output) = terminal().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "test -t 1 && cat \"$0\""]).arg(&path).stdin(Stdio::null());
        let mut child = command.stdout(output).spawn().unwrap();
        // It has the terminal too.
        drop(command);
        let mut read = Vec::new();
        if let Err(e) = reader.read_to_end(&mut read) {
            assert_eq!(e.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{e}");
        }
        assert!(child.wait().unwrap().success());
        assert!(read == bytes, "{} bytes of {}", read.len(), bytes.len());
    }
}
