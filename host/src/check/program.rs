//! A program under test as a child process.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::process::Family;
use crate::sys::{Activity, Exit, extra, pty};

/// Number of bytes that are kept of the start of an output, and again of its end. The rest is read and dropped.
const KEPT: usize = 64 * 1024;

/// What is started: a program, its arguments, its folder and the address for its environment.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) folder: Option<PathBuf>,
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether its standard output is a terminal, if the system has one. Else it is a pipe.
    pub(super) has_terminal: bool,
}

/// Which programs have a terminal as their standard output.
///
/// In a pipe, the output of many languages stays in a buffer until that is full. A correct server that runs until it is
/// killed seems to print nothing then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terminals {
    /// The program: of a pair, the client.
    pub(super) program: bool,
    /// The server of a pair.
    pub(super) server: bool,
}

impl Terminals {
    /// Returns whether the system has terminals for programs.
    pub(super) fn exist() -> bool {
        let _alone = alone();
        pty::terminal().is_ok()
    }

    /// Returns the terminals of a conversation with the server of a pair alone.
    pub(super) const fn of_server(self) -> Self {
        Self { program: self.server, server: false }
    }

    /// Returns what a person should know of the run.
    pub(super) const fn note(self, is_pair: bool) -> Option<&'static str> {
        match (self.program, self.server) {
            (false, false) => None,
            (true, true) => Some(
                "the output of both programs is buffered when stdout is not a terminal; they were tested with terminals",
            ),
            (true, false) if is_pair => Some(
                "the client's output is buffered when stdout is not a terminal; it was tested with a terminal",
            ),
            (true, false) => Some(
                "the program's output is buffered when stdout is not a terminal; it was tested with a terminal",
            ),
            (false, true) => Some(
                "the server's output is buffered when stdout is not a terminal; it was tested with a terminal",
            ),
        }
    }

    /// Returns these terminals and those.
    pub(super) const fn and(self, others: Self) -> Self {
        Self { program: self.program || others.program, server: self.server || others.server }
    }
}

/// A started program. It is killed with its descendants when it is dropped.
#[derive(Debug)]
pub(super) struct Program {
    family: Family,
    started: Instant,
    /// Lines for its standard input; `None` after the end of the input.
    input: Option<Sender<Vec<u8>>>,
    pub(super) stdout: Captured,
    pub(super) stderr: Captured,
    ended: Option<(Exit, Duration)>,
}

impl Program {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// When the system cannot start it.
    pub(super) fn start(launch: &Launch) -> io::Result<Self> {
        let mut command = Command::new(found(&launch.program));
        command
            .args(&launch.args)
            .env("HOST", &launch.host)
            .env("PORT", launch.port.to_string())
            // Output to a pipe would stay in a buffer, and be lost when the program is killed.
            .env("PYTHONUNBUFFERED", "1")
            // Elsewhere than on a terminal, Python on Windows uses the code page of the system.
            .env("PYTHONIOENCODING", "utf-8:backslashreplace")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(folder) = &launch.folder {
            command.current_dir(folder);
        }
        let (family, (stdin, stdout, stderr), terminal) = {
            let _alone = alone();
            let terminal = if launch.has_terminal { pty::terminal().ok() } else { None };
            let terminal = match terminal {
                None => {
                    command.stdout(Stdio::piped());
                    None
                }
                Some((reader, output)) => {
                    // No colours: what it prints is read by a program all the same.
                    command.stdout(output).env("TERM", "dumb");
                    Some(reader)
                }
            };
            let (family, pipes) = Family::start(command)?;
            (family, pipes, terminal)
        };
        // From here on, it is killed when something fails.
        let mut program = Self {
            family,
            started: Instant::now(),
            input: None,
            stdout: Captured::default(),
            stderr: Captured::default(),
            ended: None,
        };
        if let Some(mut stdin) = stdin {
            let (input, lines) = mpsc::channel::<Vec<u8>>();
            // In a thread, because the program may not read. The write ends with the program.
            thread::Builder::new().name("stdin".into()).spawn(move || {
                for line in lines {
                    if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                        return;
                    }
                }
            })?;
            program.input = Some(input);
        }
        program.stdout = match terminal {
            Some(terminal) => Captured::start("stdout", Some(terminal))?,
            None => Captured::start("stdout", stdout)?,
        };
        program.stderr = Captured::start("stderr", stderr)?;
        Ok(program)
    }

    /// Types text.
    pub(super) fn type_text(&self, text: &str) {
        if let Some(input) = &self.input {
            // An error means that the program has closed its input or has ended, which shows elsewhere.
            let _ = input.send(text.as_bytes().to_vec());
        }
    }

    /// Ends the input.
    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    /// Returns how the program has ended, and after which time since its start; `None` while it runs.
    pub(super) fn exit(&mut self) -> Option<(Exit, Duration)> {
        if self.ended.is_none() {
            self.ended = self.family.exit().map(|exit| (exit, self.started.elapsed()));
        }
        self.ended
    }

    /// Returns whether a descendant of a program that has ended still runs, if the system shows it.
    pub(super) fn has_descendants(&self) -> bool {
        self.family.has_descendants()
    }

    /// Returns what the program and its descendants do, if the system reports it.
    pub(super) fn activity(&self) -> Option<Activity> {
        extra::process::activity(self.family.id())
    }

    /// Returns the addresses on which the program or a descendant listens, if the system reports them.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        extra::process::listeners(self.family.id())
    }

    /// Kills the program and its descendants.
    pub(super) fn kill(&mut self) {
        self.exit();
        self.family.kill();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until no other thread starts a program, and prevents it until the result is dropped.
///
/// A child has copies of all open sockets until it executes its program. A listener that is closed in this time would
/// continue to listen.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static STARTS: Mutex<()> = Mutex::new(());
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of a program. A relative path with a folder in it is taken from the current folder, also if the
/// program is started in another one.
pub(super) fn found(program: &str) -> PathBuf {
    let path = Path::new(program);
    let has_folder = path.components().count() > 1;
    match std::path::absolute(path) {
        Ok(absolute) if has_folder && path.is_relative() => absolute,
        _ => path.to_owned(),
    }
}

/// Output of a program, as much as is kept. It is read all the time, so that the program never waits for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Captured(Arc<Mutex<Output>>);

#[derive(Debug, Default)]
struct Output {
    front: Vec<u8>,
    back: Vec<u8>,
    total: u64,
    has_ended: bool,
}

impl Captured {
    fn start(name: &str, pipe: Option<impl Read + Send + 'static>) -> io::Result<Self> {
        let this = Self::default();
        let Some(mut pipe) = pipe else { return Ok(this) };
        let writer = this.clone();
        // The thread is never joined: a descendant that has left the family may keep the pipe open.
        thread::Builder::new().name(name.into()).spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let n = match pipe.read(&mut buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    // Of a terminal, the end is an error.
                    result => result.unwrap_or(0),
                };
                let mut output = writer.lock();
                output.push(buffer.get(..n).unwrap_or_default());
                if n == 0 {
                    output.has_ended = true;
                    return;
                }
            }
        })?;
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether no more output follows.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// Drops what has been written so far.
    pub(super) fn forget(&self) {
        let mut output = self.lock();
        *output = Output { has_ended: output.has_ended, ..Output::default() };
    }

    /// Returns the number of bytes that the program has written.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    /// Returns the output. A note stands for what was dropped.
    pub(super) fn text(&self) -> String {
        let output = self.lock();
        let kept = (output.front.len() + output.back.len()) as u64;
        let mut bytes = output.front.clone();
        if output.total > kept {
            let note = format!("\n[{} bytes left out]\n", output.total - kept);
            bytes.extend_from_slice(note.as_bytes());
        }
        bytes.extend_from_slice(&output.back);
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    /// Returns the last line that is not blank, with the place in the source that Python shows for it. What follows the
    /// line of an exception is passed over: the calls that led to it, and what a runtime prints after it.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = self.text();
        let mut lines = text.lines().rev().map(str::trim_end).filter(|line| !line.is_empty());
        let last = lines.clone().find(|line| !follows_exception(line)).or_else(|| lines.next())?;
        let place = text.lines().rev().find_map(|line| {
            let (file, rest) = line.strip_prefix("  File \"")?.split_once("\", line ")?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
            Some(format!(" ({name}, line {})", rest.get(..digits)?))
        });
        Some(last.to_owned() + &place.unwrap_or_default())
    }
}

/// Returns whether a line stands behind that of an exception: a call in Java or JavaScript, the properties of an error and
/// the version that Node.js prints, or the rule that the socketserver of Python prints.
fn follows_exception(line: &str) -> bool {
    let text = line.trim_start();
    let is_indented = text.len() < line.len();
    let is_property = || {
        text.split_once(": ").is_some_and(|(name, _)| {
            ["errno", "code", "syscall", "address", "port"].contains(&name)
        })
    };
    let is_call = || text.starts_with("at ") || text.starts_with("... ");
    is_indented && (is_call() || is_property())
        || line == "}"
        || line.starts_with("Node.js v")
        || line.len() > 10 && line.bytes().all(|byte| byte == b'-')
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (front, rest) = bytes.split_at(bytes.len().min(KEPT - self.front.len()));
        self.front.extend_from_slice(front);
        self.back.extend_from_slice(rest);
        // Not at every push, which would move the bytes each time.
        if self.back.len() > 2 * KEPT {
            self.back.drain(..self.back.len() - KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_start_and_the_end_are_kept() {
        let captured = Captured::default();
        captured.lock().push(b"first\n");
        for n in 0..100_000 {
            captured.lock().push(format!("{n:09}\n").as_bytes());
        }
        let text = captured.text();
        assert!(text.starts_with("first\n000000000\n") && text.len() < 4 * KEPT, "{}", text.len());
        assert!(text.contains(" bytes left out]"));
        assert_eq!(captured.total(), 1_000_006);
        assert_eq!(captured.last_line().as_deref(), Some("000099999"));
    }

    #[test]
    fn the_last_line_is_that_of_the_exception() {
        for (text, line) in [
            ("one\ntwo\n\n", "two"),
            (
                "Traceback\n  File \"/a/x.py\", line 3, in f\nValueError: no\n----------------------------------------\n",
                "ValueError: no (x.py, line 3)",
            ),
            (
                "Exception in thread \"main\" java.net.BindException: used\n\tat X.f(X.java:1)\n\tat X.main(X.java:9)\n",
                "Exception in thread \"main\" java.net.BindException: used",
            ),
            (
                "RuntimeException\n\tat X.main(X.java:9)\nCaused by: java.io.EOFException\n\tat X.f(X.java:1)\n\t... 2 more\n",
                "Caused by: java.io.EOFException",
            ),
            (
                "Error: connect ECONNREFUSED ::1:9\n    at f (node:net:1) {\n  errno: -111,\n  port: 9\n}\n\nNode.js v20.1.0\n",
                "Error: connect ECONNREFUSED ::1:9",
            ),
            ("--------------------\n", "--------------------"),
        ] {
            let captured = Captured::default();
            captured.lock().push(text.as_bytes());
            assert_eq!(captured.last_line().as_deref(), Some(line), "{text}");
        }
    }
}
