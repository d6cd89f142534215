//! The real binary, and other programs, as child processes.
//!
//! Every wait has a deadline, and every process is killed when it is dropped.

mod server;

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use server::{
    FakeServer, Server, client, free_port, message, read, read_all, reset, wait_until,
};

/// Limit for everything that should happen at once, generous enough for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Signals that stop the program. A Windows program has only Ctrl-C, which is `INT` for Wine.
pub const SIGNALS: &[&str] = if cfg!(feature = "windows") { &["INT"] } else { &["INT", "TERM"] };

/// Signal that stops a server.
pub const STOP: &str = SIGNALS[SIGNALS.len() - 1];

/// Whether the program under test notices each reset. Under Wine a reset can arrive as an orderly end, because the system
/// reports it once, and Wine asks before the program does. On Windows a reset is an error, as elsewhere.
pub const NOTICES_RESETS: bool = !cfg!(feature = "windows");

/// Returns whether a case of a test can be judged: all, or all whose name has no "reset". See [`NOTICES_RESETS`].
#[must_use]
pub fn is_judged(case: &str) -> bool {
    NOTICES_RESETS || !case.contains("reset")
}

/// Returns the path of the program under test: the value of the environment variable `SOCKLAB_BIN`, otherwise
/// that of [`native`].
///
/// # Panics
///
/// Panics if it is a Windows program, and the variable is not set.
pub fn socklab() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("SOCKLAB_BIN") {
        Some(path) => path.into(),
        None if cfg!(feature = "windows") => panic!("SOCKLAB_BIN is not set: run .ci/windows"),
        None => native().into(),
    })
}

/// Returns the path of the program `socklab` of this workspace. The first call builds it.
///
/// # Panics
///
/// Panics if cargo cannot build it.
pub fn native() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(build)
}

/// Returns the profile of the test run. It follows from the folder of the test binary:
/// `target/PROFILE/deps/NAME`.
fn profile() -> String {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(Path::parent).and_then(Path::file_name);
    match folder.and_then(OsStr::to_str) {
        Some("debug") | None => "dev".into(),
        Some(name) => name.into(),
    }
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        // The features of the whole workspace, so that what `cargo test` has built is reused.
        .args(["build", "--workspace", "--bin", "socklab", "--message-format=json"])
        .args(["--profile", &profile()])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::piped())
        .output()
        .expect("cannot run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot build socklab:\n{errors}");
    // Each line is a JSON object. The key is null for everything but executables.
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| path)
        .next_back();
    PathBuf::from(path.unwrap_or_else(|| panic!("cargo reported no executable:\n{messages}")))
}

/// Bytes that a process has written so far.
#[derive(Clone, Default)]
struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a pipe in a thread. Without a pipe there are no bytes, and the end is reached at once.
    fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let this = Self::default();
        let writer = this.clone();
        let Some(mut pipe) = pipe else {
            this.lock().ended = true;
            return this;
        };
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            loop {
                let n = pipe.read(&mut buffer).unwrap_or(0);
                let mut captured = writer.lock();
                captured.bytes.extend_from_slice(&buffer[..n]);
                captured.ended = n == 0;
                writer.0.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        this
    }

    /// Waits until `enough` returns `true`, the end, or the deadline. Returns the bytes so far, and
    /// whether the wait succeeded.
    fn wait(&self, deadline: Instant, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
        let mut captured = self.lock();
        loop {
            let met = enough(&captured.bytes);
            let left = deadline.saturating_duration_since(Instant::now());
            if met || captured.ended || left.is_zero() {
                return (captured.bytes.clone(), met || captured.ended);
            }
            let waited = self.0.1.wait_timeout(captured, left);
            captured = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Returns whether this process ignores a signal that the tests send, and a child would inherit that: under
/// `nohup`, or in a background job of a script. The program under test respects it.
fn ignores_signals() -> bool {
    static IGNORES: OnceLock<bool> = OnceLock::new();
    *IGNORES.get_or_init(|| {
        // Bits 0, 1, 2 and 14: SIGHUP, SIGINT, SIGQUIT and SIGTERM. Only Linux has the file.
        const SENT: u64 = 0b100_0000_0000_0111;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & SENT != 0)
    })
}

/// A program to start.
pub struct Program {
    command: Command,
    name: String,
    deadline: Duration,
}

impl Program {
    /// Creates the program under test with these arguments.
    pub fn socklab<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::new(socklab(), args)
    }

    /// Creates `socklab` of this workspace with these arguments, whatever the program under test is.
    pub fn native<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::new(native(), args)
    }

    /// Creates a script of `tests/peers`.
    ///
    /// # Panics
    ///
    /// Panics without python3, because a skipped check must not count as passed.
    pub fn peer<S: AsRef<OsStr>>(script: &str, args: &[S]) -> Self {
        static PYTHON: OnceLock<bool> = OnceLock::new();
        let found = PYTHON.get_or_init(|| {
            let version = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        });
        assert!(found, "python3 is needed for the peers in tests/peers: install it");
        let path = format!("{}/peers/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut all = vec![OsStr::new("-B"), OsStr::new("-u"), OsStr::new(&path)];
        all.extend(args.iter().map(AsRef::as_ref));
        Self::new("python3", &all)
    }

    /// Creates the program under test inside a line of shell, in which it is `"$@"`.
    pub fn in_shell<S: AsRef<OsStr>>(line: &str, args: &[S]) -> Self {
        let mut all = vec![OsStr::new("-c"), OsStr::new(line), OsStr::new("sh")];
        all.push(socklab().as_os_str());
        all.extend(args.iter().map(AsRef::as_ref));
        Self::new("sh", &all)
    }

    /// Creates any other program.
    pub fn new<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Self {
        let mut command = if ignores_signals() {
            let mut command = Command::new("env");
            command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program.as_ref());
            command
        } else {
            Command::new(program)
        };
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The tester's preferences must not change the result.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG", "RUST_BACKTRACE", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm");
        let name = args.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
        Self { command, name, deadline: DEADLINE }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets how long the program may run, instead of [`DEADLINE`].
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Connects its stdin to a pipe. Otherwise it reads the end at once.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Sets its stdin.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Redirects its stdout.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Redirects its stderr.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Starts the program.
    ///
    /// # Panics
    ///
    /// Panics if the OS cannot start it.
    pub fn start(mut self) -> Process {
        let (child, started) = self.spawn();
        self.watch(child, started)
    }

    fn spawn(&mut self) -> (Child, Instant) {
        // Before the spawn: on a busy machine the program may run for a while before `spawn`
        // returns.
        let started = Instant::now();
        let child = self.command.spawn();
        let program = self.command.get_program();
        (child.unwrap_or_else(|e| panic!("cannot start {program:?}: {e}")), started)
    }

    /// Consumes the command too, so that its ends of the caller's pipes do not stay open here.
    fn watch(self, mut child: Child, started: Instant) -> Process {
        Process {
            stdin: child.stdin.take(),
            stdout: Capture::start(child.stdout.take()),
            stderr: Capture::start(child.stderr.take()),
            child,
            name: self.name,
            started,
            deadline: self.deadline,
            is_server: false,
        }
    }

    /// Starts the program and returns the pipe of its stderr unread.
    ///
    /// # Panics
    ///
    /// Panics if the OS cannot start it.
    #[must_use]
    pub fn start_unread(mut self) -> (Process, ChildStderr) {
        let (mut child, started) = self.spawn();
        let stderr = child.stderr.take().expect("a pipe");
        (self.watch(child, started), stderr)
    }

    /// Starts the program and waits for its end.
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Runs the program with these bytes on its stdin.
    pub fn run_with(self, stdin: impl Into<Vec<u8>>) -> Finished {
        let mut process = self.with_stdin().start();
        process.feed(stdin);
        process.finish()
    }
}

/// A running process. It is killed when dropped. The drop of a server panics if the server had
/// crashed.
pub struct Process {
    child: Child,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
    started: Instant,
    deadline: Duration,
    is_server: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A second panic would abort the test run.
        if self.is_server && !thread::panicking() {
            self.assert_not_crashed(ended);
        }
    }
}

/// Panics if Wine crashed. Wine 8 does that, rarely, if a process ends while one of Wine's own threads in it is ending:
/// the one that delivered Ctrl-C. The exit code is lost then.
///
/// A crash of the program itself has an exit code, because Windows has no signals.
fn check_wine(name: &str, status: ExitStatus) {
    use std::os::unix::process::ExitStatusExt as _;

    const SIGSEGV: i32 = 11;
    let crashed = cfg!(feature = "windows") && status.signal() == Some(SIGSEGV);
    assert!(!crashed, "{name}: Wine crashed at the end of the process");
}

impl Process {
    /// Panics if the server crashed. Without this, a test that only looks at the clients would
    /// pass.
    fn assert_not_crashed(&self, ended: Option<ExitStatus>) {
        // A panic exits with 101. A process ended by a signal has no code.
        ended.inspect(|status| check_wine(&self.name, *status));
        let crashed = ended.is_some_and(|status| status.code().is_none_or(|code| code == 101));
        let (bytes, _) = self.stderr.wait(Instant::now() + DEADLINE, |_| false);
        let stderr = String::from_utf8_lossy(&bytes);
        let crash_text = ["panicked at", "Traceback (most recent call last)"]
            .iter()
            .any(|crash_text| stderr.contains(crash_text));
        assert!(!crashed && !crash_text, "{}: the server crashed, {ended:?}: {stderr}", self.name);
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().bytes).into_owned()
    }

    /// Returns what it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().bytes).into_owned()
    }

    /// Waits for a line on stderr that contains `text` and returns it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such line in time.
    pub fn wait_for(&self, text: &str) -> String {
        Self::line_in(&self.name, "stderr", &self.stderr, text)
    }

    /// Does what [`wait_for`](Self::wait_for) does, on stdout.
    pub fn wait_for_stdout(&self, text: &str) -> String {
        Self::line_in(&self.name, "stdout", &self.stdout, text)
    }

    fn line_in(name: &str, place: &str, capture: &Capture, text: &str) -> String {
        let find = |bytes: &[u8]| {
            let all = String::from_utf8_lossy(bytes).into_owned();
            let mut lines = all.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| line.contains(text)).map(|line| line.trim_end().to_owned())
        };
        let (bytes, _) = capture.wait(Instant::now() + DEADLINE, |bytes| find(bytes).is_some());
        find(&bytes).unwrap_or_else(|| {
            let all = String::from_utf8_lossy(&bytes);
            panic!("{name}: no line contains {text:?} on {place}:\n{all}")
        })
    }

    /// Waits for `count` lines on stderr and returns all of stderr.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer lines in time.
    pub fn wait_for_lines(&self, count: usize) -> String {
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        let (bytes, _) = self.stderr.wait(Instant::now() + DEADLINE, |b| lines(b) >= count);
        let all = String::from_utf8_lossy(&bytes).into_owned();
        assert!(lines(&bytes) >= count, "{}: fewer than {count} lines on stderr: {all}", self.name);
        all
    }

    /// Returns its stdin.
    ///
    /// # Panics
    ///
    /// Panics if it was started without a pipe.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().expect("the process has no stdin pipe")
    }

    /// Returns its stdin for another thread.
    ///
    /// # Panics
    ///
    /// Panics if it was started without a pipe.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("the process has no stdin pipe")
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Writes all bytes to its stdin in a thread, because it may read slowly, and closes it.
    ///
    /// # Panics
    ///
    /// Panics if it was started without a pipe.
    pub fn feed(&mut self, bytes: impl Into<Vec<u8>>) {
        let (bytes, mut stdin) =
            (bytes.into(), self.stdin.take().expect("the process has no stdin pipe"));
        // The process may end before it has read everything. Its exit code shows why.
        thread::spawn(move || stdin.write_all(&bytes).is_ok());
    }

    /// Sends it a signal such as `INT` or `TERM`.
    ///
    /// # Panics
    ///
    /// Panics if it has ended.
    pub fn signal(&self, name: &str) {
        // Every unix shell has `kill`.
        let line = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}");
    }

    /// Returns whether it is still running.
    ///
    /// # Panics
    ///
    /// Panics if the OS cannot report its state.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Closes its stdin and waits for its end.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    pub fn finish(mut self) -> Finished {
        self.close_stdin();
        self.finish_with_stdin_open()
    }

    /// Does what [`finish`](Self::finish) does, but keeps its stdin open until it has ended.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    pub fn finish_with_stdin_open(mut self) -> Finished {
        let deadline = self.started.max(Instant::now()) + self.deadline;
        let status = wait_until(self.deadline, || self.child.try_wait().expect("wait"));
        let Some(status) = status else {
            panic!(
                "{}: still running after {:?}; stderr: {}",
                self.name,
                self.deadline,
                self.stderr()
            )
        };
        check_wine(&self.name, status);
        // The caller checks the exit code itself.
        self.is_server = false;
        let took = self.started.elapsed();
        let (stdout, _) = self.stdout.wait(deadline, |_| false);
        let (stderr, _) = self.stderr.wait(deadline, |_| false);
        let finished = Finished {
            name: std::mem::take(&mut self.name),
            code: status.code(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took,
        };
        // Shown only if the test fails: the cause may be a program that ended before the one that the panic names.
        let Finished { name, code, took, .. } = &finished;
        let end = finished.stderr.lines().last().unwrap_or_default();
        println!("code {code:?} after {took:?}: {name}: {end}");
        finished
    }

    /// Returns the CPU time it has used, in user and kernel mode.
    ///
    /// # Panics
    ///
    /// Panics if the system has no /proc.
    #[cfg(target_os = "linux")]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("stat");
        // The name may contain anything, so parsing starts after it, at field 3. utime and stime
        // are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().expect("ticks"))
            .sum();
        // USER_HZ, the unit that programs see, is always 100.
        Duration::from_millis(ticks * 10)
    }

    /// Returns a value of /proc/PID/status in bytes: `VmHWM` is its peak memory, `VmRSS` its
    /// current memory.
    ///
    /// # Panics
    ///
    /// Panics if the system has no /proc.
    #[cfg(target_os = "linux")]
    pub fn memory(&self, key: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("status");
        let line = status.lines().find(|line| line.starts_with(key)).expect("no such value");
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        kib.expect("a number of kB") * 1024
    }
}

/// A process that has ended.
pub struct Finished {
    name: String,
    /// Exit code, or `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its stdout.
    pub stdout: Vec<u8>,
    /// All of its stderr.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, code, stdout, stderr, took } = self;
        let stdout = stdout.escape_ascii();
        write!(f, "{name}\ncode {code:?} after {took:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Finished {
    /// Checks that it succeeded and returns its stdout.
    ///
    /// # Panics
    ///
    /// Panics if it failed.
    #[track_caller]
    pub fn success(&self) -> &[u8] {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.assert_no_panic();
        &self.stdout
    }

    /// Checks that it failed with this code and wrote exactly one line. Returns that line without
    /// the program's name.
    ///
    /// # Panics
    ///
    /// Panics if it succeeded, failed with another code or wrote more or less.
    #[track_caller]
    pub fn failure(&self, code: i32) -> &str {
        let line = self.last_failure(code);
        assert_eq!(self.stderr.matches('\n').count(), 1, "more than one line: {self:?}");
        line
    }

    /// Does what [`failure`](Self::failure) does, but allows other lines before the last.
    ///
    /// # Panics
    ///
    /// Panics if it succeeded or failed with another code.
    #[track_caller]
    pub fn last_failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.assert_no_panic();
        let text = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {self:?}"));
        let line = text.rsplit('\n').next().unwrap_or_default();
        line.strip_prefix("socklab: ").unwrap_or_else(|| panic!("no program name: {self:?}"))
    }

    #[track_caller]
    fn assert_no_panic(&self) {
        for word in ["panic", "RUST_BACKTRACE", "backtrace", "unwrap", "src/"] {
            assert!(!self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}

/// Returns an error text without the quote of the last bytes received.
#[must_use]
pub fn without_quote(line: &str) -> String {
    let Some((text, quote)) = line.split_once("; last received: \"") else { return line.into() };
    // Text after the closing quotation mark is kept.
    let rest = quote.rsplit_once('"').map_or("", |(_, rest)| {
        let rest = rest.trim_start_matches("...");
        rest.strip_prefix(" without a newline").unwrap_or(rest)
    });
    [text, rest].concat()
}
