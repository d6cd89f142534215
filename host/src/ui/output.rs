use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::Value;
use socklab_core::wire::Escaped;

use super::keyboard::above;
use super::streams;
use crate::sys::streams::Stdout;

/// Writes one line to stderr. A failure does not stop the program, but changes its exit code.
pub(crate) fn say(line: impl fmt::Display) {
    say_line(line, false);
}

fn say_line(line: impl fmt::Display, is_last: bool) {
    let line = format!("{line}\n");
    streams::record_result(above(|| write_to_stderr(line.as_bytes(), is_last)));
}

/// Standard error, without colours if it is not for a terminal. Each call of `write` is one write, so that the lines of
/// two threads or programs do not mix. anstream alone would write the text between two escape sequences by itself.
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_to_stderr(bytes, false)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Writes to stderr, unless the last line has been written.
fn write_to_stderr(bytes: &[u8], is_last: bool) -> io::Result<()> {
    static IS_OVER: Mutex<bool> = Mutex::new(false);
    let mut is_over = IS_OVER.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_over {
        return Ok(());
    }
    *is_over = is_last;
    let stderr = io::stderr();
    match AutoStream::choice(&stderr) {
        ColorChoice::Never => {
            let text = anstream::adapter::strip_bytes(bytes).into_vec();
            stderr.lock().write_all(&text)
        }
        choice => AutoStream::new(stderr, choice).write_all(bytes),
    }
}

/// Writes the last line of the program to stderr, as [`say`] does, but waits at most one second. What other threads write
/// afterwards is dropped.
///
/// So the program ends even if stderr is a full pipe that is not read, or another thread is blocked in writing to it.
pub(crate) fn say_last(line: String) {
    run_within(Duration::from_secs(1), move || say_line(line, true));
}

/// Runs `work` in a thread and waits for its end, at most for `limit`. The caller then ends the process.
pub(crate) fn run_within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().spawn(move || {
        work();
        let _ = done.send(());
    });
    if let Ok(thread) = spawned
        && ended.recv_timeout(limit).is_ok()
    {
        // Wine 8 can crash if a process ends while one of its threads is ending.
        let _ = thread.join();
    }
}

/// Adds bytes from a peer to an event, as the text `key`.
///
/// Bytes that are not UTF-8 are also added in hexadecimal, as `hex`. Only the first ones are if there are many;
/// `hex_truncated` is set then.
pub(crate) fn put_text(event: &mut Value, key: &str, bytes: &[u8]) {
    /// Longer than any message of the protocols with short messages.
    const HEX_MAX: usize = 1024;
    event[key] = String::from_utf8_lossy(bytes).into();
    if std::str::from_utf8(bytes).is_err() {
        let shown = &bytes[..bytes.len().min(HEX_MAX)];
        event["hex"] = shown.iter().map(|b| format!("{b:02x}")).collect::<String>().into();
        if shown.len() < bytes.len() {
            event["hex_truncated"] = true.into();
        }
    }
}

/// Returns an event as a line of JSON that is safe to write to a terminal.
///
/// The characters that [`Escaped`] escapes are written as `\u` escapes. JSON itself requires that only for the
/// characters before the space.
pub(crate) fn json_line(event: &Value) -> String {
    let mut line = String::new();
    for c in event.to_string().chars() {
        let mut bytes = [0; 4];
        let is_safe = c == ' ' || c.is_ascii_graphic() || {
            let text = c.encode_utf8(&mut bytes);
            Escaped(text.as_bytes()).to_string() == *text
        };
        if is_safe {
            line.push(c);
        } else {
            // JSON escapes are UTF-16 code units: a character may need two.
            for unit in c.encode_utf16(&mut [0; 2]) {
                line += &format!("\\u{unit:04x}");
            }
        }
    }
    line
}

/// Writer of results to stdout, as plain text or as JSON lines.
pub(crate) struct Output {
    stdout: Stdout,
    json: bool,
    terminal: bool,
    /// Control characters are escaped, because a terminal would obey them.
    escape: bool,
    /// A result has been started and not ended.
    open: bool,
    /// First bytes of a character whose other bytes have not been received.
    partial: Vec<u8>,
}

impl Output {
    pub(crate) fn new(json: bool, raw: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let escape = terminal && !raw;
        Self { stdout: streams::stdout(), json, terminal, escape, open: false, partial: Vec::new() }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Writes an event, if the output is JSON.
    pub(crate) fn event(&mut self, event: &Value) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = json_line(event) + "\n";
        above(|| self.stdout.write_all(line.as_bytes()).and_then(|()| self.stdout.flush()))
    }

    /// Writes a result of one line, if the output is plain. It does not mix with a line that the user is typing.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        above(|| self.piece(bytes).and_then(|()| self.end()))
    }

    /// Writes a piece of a result, if the output is plain. It is escaped for a terminal, and unchanged for a file or a
    /// pipe.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.open |= !bytes.is_empty();
        if !self.escape {
            return self.stdout.write_all(bytes);
        }
        self.partial.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.partial) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.partial.len(),
        };
        write!(self.stdout, "{}", Escaped(&self.partial[..whole]))?;
        self.partial.drain(..whole);
        Ok(())
    }

    /// Ends a result: writes a newline and flushes.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.open = false;
        write!(self.stdout, "{}", Escaped(&std::mem::take(&mut self.partial)))?;
        self.stdout.write_all(b"\n")?;
        self.stdout.flush()
    }
}

impl Drop for Output {
    /// Ends an incomplete result on a terminal, so that the next message starts on a new line. A file or a pipe gets
    /// only what the peer sent, without an added newline.
    fn drop(&mut self) {
        if self.open && self.terminal {
            let _ = self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_json_keeps_the_value_and_is_safe_for_a_terminal() {
        let text = "caf\u{e9} \u{1f980}\n\t\u{1b}[31m \u{7f} \u{9b}31m \u{202e} \u{ad}\u{200b}\u{feff}\u{e0041}\u{e007f} \\ \"";
        let event = json!({ "text": text, text: [1, null] });
        let line = json_line(&event);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), event);
        assert_eq!(Escaped(line.as_bytes()).to_string(), line);
        assert!(!line.contains('\n') && line.contains("caf\u{e9} \u{1f980}"), "{line}");
    }
}
