use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socklab_core::wire::Escaped;

use super::keyboard::above;
use super::streams;

/// One line on stderr. That it cannot be written does not stop the program; its exit code says it.
pub(crate) fn say(line: impl fmt::Display) {
    // In one write, so that lines of two threads do not mix.
    let line = format!("{line}\n");
    streams::written(above(|| anstream::stderr().write_all(line.as_bytes())));
}

/// As [`say`], for the program's last line: when stderr is full and no one reads it, or a thread is
/// stuck in writing to it, the program ends all the same.
pub(crate) fn say_last(line: String) {
    let (said, done) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().spawn(move || {
        say(line);
        let _ = said.send(());
    });
    if spawned.is_ok() {
        let _: Result<(), RecvTimeoutError> = done.recv_timeout(Duration::from_secs(1));
    }
}

/// What is said of an error stays one line and does nothing to a terminal, whatever a name that was
/// typed, or the system's words for it, have in them.
pub(crate) fn one_line(text: &str) -> String {
    Escaped(text.as_bytes()).to_string().replace('\n', "\\n")
}

/// Puts bytes from a peer into an event: as text, and in hex too when they are not UTF-8; of many bytes
/// the first in hex, and then `hex_truncated`.
pub(crate) fn put_text(event: &mut Value, key: &str, bytes: &[u8]) {
    /// Longer than any message of the small protocols, short enough to be read.
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

/// An event as a line of JSON that does nothing to a terminal: JSON itself escapes only what stands
/// before the space.
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
            // In units of 16 bits: what is beyond them takes two.
            for unit in c.encode_utf16(&mut [0; 2]) {
                line += &format!("\\u{unit:04x}");
            }
        }
    }
    line
}

/// Results on stdout: plain, or as JSON lines.
pub(crate) struct Output {
    stdout: io::Stdout,
    json: bool,
    /// A person looks at it.
    terminal: bool,
    /// A terminal would obey what the peer sent.
    escape: bool,
    /// A result has begun and not ended.
    open: bool,
    /// The start of a character whose other bytes have not come.
    cut: Vec<u8>,
}

impl Output {
    pub(crate) fn new(json: bool, raw: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { stdout, json, terminal, escape: terminal && !raw, open: false, cut: Vec::new() }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// An event, when events are wanted.
    pub(crate) fn event(&mut self, event: &Value) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = json_line(event) + "\n";
        above(|| self.stdout.write_all(line.as_bytes()).and_then(|()| self.stdout.flush()))
    }

    /// A result that is one line, when plain results are wanted. For programs with a keyboard: it
    /// does not mix with what is being typed.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        above(|| self.piece(bytes).and_then(|()| self.end()))
    }

    /// A piece of a result, when plain results are wanted: as it is into a file or pipe, safe for
    /// a terminal.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.open |= !bytes.is_empty();
        if !self.escape {
            return self.stdout.write_all(bytes);
        }
        self.cut.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.cut) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.cut.len(),
        };
        write!(self.stdout, "{}", Escaped(&self.cut[..whole]))?;
        self.cut.drain(..whole);
        Ok(())
    }

    /// The end of a result: a newline, and all of it is out.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.open = false;
        write!(self.stdout, "{}", Escaped(&std::mem::take(&mut self.cut)))?;
        self.stdout.write_all(b"\n")?;
        self.stdout.flush()
    }
}

impl Drop for Output {
    /// What is said after a result that broke off begins a line of its own on a terminal. A file or
    /// a pipe has what came, and no newline that did not.
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
    fn a_line_of_json_is_the_same_value_and_harmless() {
        let text = "caf\u{e9} \u{1f980}\n\t\u{1b}[31m \u{7f} \u{9b}31m \u{202e} \u{ad}\u{200b}\u{feff}\u{e0041}\u{e007f} \\ \"";
        let event = json!({ "text": text, text: [1, null] });
        let line = json_line(&event);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), event);
        assert_eq!(Escaped(line.as_bytes()).to_string(), line);
        assert!(!line.contains('\n') && line.contains("caf\u{e9} \u{1f980}"), "{line}");
    }
}
