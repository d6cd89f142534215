//! The real binary, and other programs, as child processes: started, watched, killed on drop.
//!
//! Nothing here waits without a deadline, and nothing leaves a process behind.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Whatever is waited for and should come at once comes within this, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The path of the program `socklab`, built when first asked for.
///
/// # Panics
///
/// When cargo cannot build it.
pub fn socklab() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(build)
}

/// The profile of the test run, by the folder its binary lies in: `target/PROFILE/deps/NAME`.
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
        // The features of the whole workspace: what `cargo test` has built serves here too.
        .args(["build", "--workspace", "--bin", "socklab", "--message-format=json"])
        .args(["--profile", &profile()])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::piped())
        .output()
        .expect("cannot run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot build socklab:\n{errors}");
    // One JSON object a line; the key is null for everything but executables.
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| path)
        .next_back();
    PathBuf::from(path.unwrap_or_else(|| panic!("cargo named no executable:\n{messages}")))
}

/// What a process has written so far.
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

    /// What comes out of a pipe. Without one there is nothing, and it has ended.
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
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

    /// Waits until `enough`, the end, or the deadline; gives what there is then.
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

/// A program to start.
pub struct Program {
    command: Command,
    name: String,
    deadline: Duration,
}

impl Program {
    /// `socklab` with these arguments.
    pub fn socklab<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::new(socklab(), args)
    }

    /// A script of `tests/peers`.
    ///
    /// # Panics
    ///
    /// Without python3: a check that did not run is no pass.
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

    /// `socklab` behind a line of shell, in which it is `"$@"`.
    pub fn behind_shell<S: AsRef<OsStr>>(line: &str, args: &[S]) -> Self {
        let mut all = vec![OsStr::new("-c"), OsStr::new(line), OsStr::new("sh")];
        all.push(socklab().as_os_str());
        all.extend(args.iter().map(AsRef::as_ref));
        Self::new("sh", &all)
    }

    /// Any other program.
    pub fn new<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the tester likes is not to change what is tested.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG", "RUST_BACKTRACE", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm");
        let name = args.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
        Self { command, name, deadline: DEADLINE }
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With so long to end, instead of [`DEADLINE`].
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// With a pipe to write to as its stdin; otherwise stdin is at its end at once.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// With another stdin.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// With its stdout to somewhere else.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// With its stderr to somewhere else.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When the system cannot.
    pub fn start(mut self) -> Process {
        let (child, started) = self.spawn();
        self.watch(child, started)
    }

    fn spawn(&mut self) -> (Child, Instant) {
        // Before it runs: on a busy machine it may have done so for a while when `spawn` returns.
        let started = Instant::now();
        let child = self.command.spawn();
        let program = self.command.get_program();
        (child.unwrap_or_else(|e| panic!("cannot start {program:?}: {e}")), started)
    }

    /// Drops the command too: its ends of pipes given by the caller are not to stay open here.
    fn watch(self, mut child: Child, started: Instant) -> Process {
        Process {
            stdin: child.stdin.take(),
            stdout: Capture::of(child.stdout.take()),
            stderr: Capture::of(child.stderr.take()),
            child,
            name: self.name,
            started,
            deadline: self.deadline,
            is_server: false,
        }
    }

    /// Starts it, and leaves the pipe of its stderr to whoever takes it.
    ///
    /// # Panics
    ///
    /// When the system cannot.
    #[must_use]
    pub fn start_unread(mut self) -> (Process, ChildStderr) {
        let (mut child, started) = self.spawn();
        let stderr = child.stderr.take().expect("a pipe");
        (self.watch(child, started), stderr)
    }

    /// Starts it and waits until it ends.
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Runs it with this on its stdin.
    pub fn run_with(self, stdin: impl Into<Vec<u8>>) -> Finished {
        let mut process = self.with_stdin().start();
        process.feed(stdin);
        process.finish()
    }
}

/// A running process. Dropped, it is killed; a server is then asked whether it had crashed.
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
            self.has_not_crashed(ended);
        }
    }
}

impl Process {
    /// A test that looks at a server's clients only is to fail too when the server does not survive them.
    fn has_not_crashed(&self, ended: Option<ExitStatus>) {
        // 101 is the code of a panic; there is none when a signal has ended it.
        let crashed = ended.is_some_and(|status| status.code().is_none_or(|code| code == 101));
        let (bytes, _) = self.stderr.wait(Instant::now() + DEADLINE, |_| false);
        let said = String::from_utf8_lossy(&bytes);
        let cry = ["panicked at", "Traceback (most recent call last)"]
            .iter()
            .any(|cry| said.contains(cry));
        assert!(!crashed && !cry, "{}: the server crashed, {ended:?}: {said}", self.name);
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().bytes).into_owned()
    }

    /// Waits for a line on stderr that has this in it, and gives that line.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn wait_for(&self, text: &str) -> String {
        Self::line_in(&self.name, "stderr", &self.stderr, text)
    }

    /// As [`wait_for`](Self::wait_for), on stdout.
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
            panic!("{name}: no line with {text:?} on {place}, which has:\n{all}")
        })
    }

    /// Waits until there are so many lines on stderr, and gives all of it.
    ///
    /// # Panics
    ///
    /// When they do not come.
    pub fn wait_for_lines(&self, count: usize) -> String {
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        let (bytes, _) = self.stderr.wait(Instant::now() + DEADLINE, |b| lines(b) >= count);
        let all = String::from_utf8_lossy(&bytes).into_owned();
        assert!(lines(&bytes) >= count, "{}: not {count} lines on stderr: {all}", self.name);
        all
    }

    /// Its stdin, to write to.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().expect("it has no stdin")
    }

    /// Its stdin, to be written to by another thread.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("it has no stdin")
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Writes all of it to stdin and closes that, in a thread: it may be slow to read.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn feed(&mut self, bytes: impl Into<Vec<u8>>) {
        let (bytes, mut stdin) = (bytes.into(), self.stdin.take().expect("it has no stdin"));
        // It may end before it has read everything: its exit code tells.
        thread::spawn(move || stdin.write_all(&bytes).is_ok());
    }

    /// Sends it a signal: `INT`, `TERM`.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        // The shell's own, which every unix has.
        let line = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}");
    }

    /// Whether it is still there.
    ///
    /// # Panics
    ///
    /// When the system does not know.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn finish(mut self) -> Finished {
        self.close_stdin();
        self.finish_with_stdin_open()
    }

    /// As [`finish`](Self::finish), but its stdin has no end before it has ended.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn finish_with_stdin_open(mut self) -> Finished {
        let deadline = self.started.max(Instant::now()) + self.deadline;
        let status = until(self.deadline, || self.child.try_wait().expect("wait"));
        let Some(status) = status else {
            panic!("{}: still runs after {:?}; stderr: {}", self.name, self.deadline, self.stderr())
        };
        // Who waits for the end looks at it, too.
        self.is_server = false;
        let took = self.started.elapsed();
        let (stdout, _) = self.stdout.wait(deadline, |_| false);
        let (stderr, _) = self.stderr.wait(deadline, |_| false);
        Finished {
            name: std::mem::take(&mut self.name),
            code: status.code(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took,
        }
    }

    /// The CPU time it has used, in user and kernel mode.
    ///
    /// # Panics
    ///
    /// When the system has no /proc.
    #[cfg(target_os = "linux")]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("stat");
        // Behind the name, which may hold anything: fields 3 and on. utime and stime are 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().expect("ticks"))
            .sum();
        // USER_HZ, which programs see, is 100 whatever the kernel ticks at.
        Duration::from_millis(ticks * 10)
    }

    /// A value of /proc/PID/status in bytes: `VmHWM` is the most memory it ever had, `VmRSS` what
    /// it has now.
    ///
    /// # Panics
    ///
    /// When the system has no /proc.
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
    /// Its exit code; none when a signal ended it.
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
    /// It did what it was asked, and this is its stdout.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[track_caller]
    pub fn success(&self) -> &[u8] {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.no_panic();
        &self.stdout
    }

    /// It failed with this code, and this is the one line it said, without the program's name.
    ///
    /// # Panics
    ///
    /// When it did not, or said more or less.
    #[track_caller]
    pub fn failure(&self, code: i32) -> &str {
        let line = self.last_failure(code);
        assert_eq!(self.stderr.matches('\n').count(), 1, "more than a line: {self:?}");
        line
    }

    /// As [`failure`](Self::failure), behind other lines.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[track_caller]
    pub fn last_failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.no_panic();
        let text = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {self:?}"));
        let line = text.rsplit('\n').next().unwrap_or_default();
        line.strip_prefix("socklab: ").unwrap_or_else(|| panic!("nameless: {self:?}"))
    }

    #[track_caller]
    fn no_panic(&self) {
        for word in ["panic", "RUST_BACKTRACE", "backtrace", "unwrap", "src/"] {
            assert!(!self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}

/// An error without the quote of what the peer sent last.
#[must_use]
pub fn unquoted(line: &str) -> String {
    let Some((text, quote)) = line.split_once("; last received: \"") else { return line.into() };
    // What follows the closing quotation mark stays.
    let rest = quote.rsplit_once('"').map_or("", |(_, rest)| {
        let rest = rest.trim_start_matches("...");
        rest.strip_prefix(" without a newline").unwrap_or(rest)
    });
    [text, rest].concat()
}

/// A server that has said where it listens. The test fails if it crashes, even if nothing asks for its end.
pub struct Server {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Server {
    /// `socklab PROTOCOL server 0` and these arguments.
    pub fn start(protocol: &str, args: &[&str]) -> Self {
        Self::of(Program::socklab(&[&[protocol, "server", "0"], args].concat()))
    }

    /// Any program that says `listening on ADDR` on stderr.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn of(program: Program) -> Self {
        let mut process = program.start();
        process.is_server = true;
        let line = process.wait_for("listening on ");
        let addr = line.rsplit(' ').next().and_then(|addr| addr.parse().ok());
        Self { addr: addr.unwrap_or_else(|| panic!("no address: {line}")), process }
    }

    /// A `socklab PROTOCOL client` of it, with these arguments behind the address.
    pub fn client(&self, protocol: &str, args: &[&str]) -> Program {
        client(protocol, self.addr, args)
    }

    /// A connection to it, with [`DEADLINE`] on reads and writes.
    ///
    /// # Panics
    ///
    /// When it does not take one.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addr, DEADLINE).expect("connect");
        bounded(&stream);
        stream
    }
}

/// `socklab PROTOCOL client HOST PORT` and these arguments.
pub fn client(protocol: &str, addr: SocketAddr, args: &[&str]) -> Program {
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    Program::socklab(&[&[protocol, "client", &host, &port], args].concat())
}

/// A server played by the test itself: each accepted connection is a value in its hands.
pub struct Played {
    listener: TcpListener,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Default for Played {
    fn default() -> Self {
        Self::new()
    }
}

impl Played {
    /// Listens on a free port.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn new() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// Listens there.
    ///
    /// # Panics
    ///
    /// When it cannot.
    #[must_use]
    pub fn on(addr: &str) -> Self {
        let listener = TcpListener::bind(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
        listener.set_nonblocking(true).expect("non-blocking");
        Self { addr: listener.local_addr().expect("its address"), listener }
    }

    /// The next client, with [`DEADLINE`] on reads and writes.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[must_use]
    pub fn accept(&self) -> TcpStream {
        let accepted = until(DEADLINE, || self.listener.accept().ok());
        let (stream, _) = accepted.expect("nobody connected");
        stream.set_nonblocking(false).expect("blocking");
        bounded(&stream);
        stream
    }
}

fn bounded(stream: &TcpStream) {
    stream.set_read_timeout(Some(DEADLINE)).expect("read timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("write timeout");
    stream.set_nodelay(true).expect("no delay");
}

/// Asks again and again, at the most for so long.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Closes with a reset.
///
/// # Panics
///
/// When the system has no linger.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
}

/// A message of echo.
///
/// # Panics
///
/// When it is too long for one.
#[must_use]
pub fn message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("length").to_be_bytes();
    [&length, payload].concat()
}

/// So many bytes from the peer.
///
/// # Panics
///
/// When they do not come in time.
pub fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("the peer sends");
    bytes
}

/// Everything until the peer's end.
///
/// # Panics
///
/// When it does not come in time.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the peer's end");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the server crashed")]
    fn a_server_that_panicked_fails_the_test_that_drops_it() {
        let line = "echo listening on 127.0.0.1:1 >&2; echo thread panicked at x.rs >&2; exit 101";
        let server = Server::of(Program::new("sh", &["-c", line]));
        drop(server);
    }

    #[test]
    fn a_server_that_serves_is_dropped_in_silence() {
        let line = "echo listening on 127.0.0.1:1 >&2; exec sleep 60";
        drop(Server::of(Program::new("sh", &["-c", line])));
    }
}
