//! The emulated board: QEMU with a program of `tests/firmware`, and its log in clear text.
//!
//! ```text
//!   this machine                                   the board, 10.0.2.15
//!
//!   socklab math server 127.0.0.1:PORT  <--------  dials 10.0.2.2:PORT
//!   socklab math client  ->  QEMU's 127.0.0.1:PORT  -->  listens on its own port
//!   log  <-- defmt's decoder <-- QEMU's stdout  <--  defmt over semihosting
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::{DEADLINE, Process, Program};

/// This machine's loopback, as the board sees it.
pub const HOST: &str = "10.0.2.2";

/// Where the programs lie, built when first asked for.
///
/// # Panics
///
/// When they do not build.
pub fn programs() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let run = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware/run");
        let output = Command::new(run).arg("build").stderr(Stdio::inherit()).output();
        let output = output.expect("cannot start firmware/run");
        assert!(output.status.success(), "cannot build the firmware");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
    })
}

/// Calls its last argument for every message of defmt in a stream of frames, as a line of text;
/// its first is the program that logs. A parameter, because only tests and examples can have the
/// decoder: the fuzz targets are built with this crate too.
pub type Decode = fn(elf: &[u8], frames: &mut dyn Read, each: &mut dyn FnMut(String));

/// The lines of the log, as they come.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running board. Dropped, it is switched off.
pub struct Board {
    process: Process,
    monitor: UnixStream,
    log: Arc<Log>,
    decoder: JoinHandle<()>,
}

/// How a program on the board ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its log, a message a line.
    pub log: Vec<String>,
    /// How long the board ran.
    pub took: Duration,
}

/// What a board is to run, and how.
pub struct Launch {
    program: String,
    args: Vec<String>,
    forward: Option<u16>,
    deadline: Duration,
    decode: Decode,
    show: Box<dyn Fn(&str) + Send>,
}

impl Launch {
    /// This program of `tests/firmware/src/bin`.
    pub fn new(program: &str, decode: Decode) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            forward: None,
            deadline: DEADLINE,
            decode,
            show: Box::new(|_| {}),
        }
    }

    /// With this argument, `name=value`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With a port of this machine that leads to this one of the board.
    #[must_use]
    pub const fn forward(mut self, port: u16) -> Self {
        self.forward = Some(port);
        self
    }

    /// With so long to end.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Shows each line of the log as it comes.
    #[must_use]
    pub fn show(mut self, show: impl Fn(&str) + Send + 'static) -> Self {
        self.show = Box::new(show);
        self
    }

    /// Switches the board on.
    ///
    /// # Panics
    ///
    /// When the program does not build, or QEMU does not start.
    pub fn start(self) -> Board {
        let elf = programs().join(&self.program);
        let mut network = String::from("user,model=stellaris");
        if let Some(port) = self.forward {
            // Port 0: whichever is free. The monitor tells.
            network += &format!(",hostfwd=tcp:127.0.0.1:0-10.0.2.15:{port}");
        }
        let mut semihosting = format!("enable=on,target=native,arg={}", self.program);
        for arg in &self.args {
            // QEMU's way to write a comma in a value.
            semihosting += &format!(",arg={}", arg.replace(',', ",,"));
        }
        let args = [
            "-machine",
            "lm3s6965evb",
            "-display",
            "none",
            "-serial",
            "none",
            // The monitor on what is its stdin: a socket needs no file, and no port.
            "-chardev",
            "socket,id=monitor,fd=0",
            "-mon",
            "monitor",
            "-nic",
            &network,
            "-semihosting-config",
            &semihosting,
            "-kernel",
        ];
        let mut args = args.map(String::from).to_vec();
        args.push(elf.to_string_lossy().into_owned());

        let (monitor, its_end) = UnixStream::pair().expect("a pair of sockets");
        let (mut frames, stdout) = io::pipe().expect("a pipe");
        let process = Program::new("qemu-system-arm", &args)
            .stdin(OwnedFd::from(its_end))
            .stdout(stdout)
            .deadline(self.deadline)
            .start();

        let log = Arc::new(Log::default());
        let lines = Arc::clone(&log);
        let elf = std::fs::read(elf).expect("the program");
        let decoder = thread::spawn(move || {
            (self.decode)(&elf, &mut frames, &mut |line| {
                (self.show)(&line);
                lines.lines.lock().expect("no panic there").push(line);
                lines.more.notify_all();
            });
        });
        Board { process, monitor, log, decoder }
    }
}

impl Board {
    /// Waits for a line of the log that has this in it, and gives that line.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn wait_for(&self, text: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.log.lines.lock().expect("no panic there");
        let waited = self.log.more.wait_timeout_while(lines, DEADLINE, |l| find(l).is_none());
        let (lines, _) = waited.expect("no panic there");
        find(&lines).unwrap_or_else(|| {
            panic!("no {text:?} in the log: {lines:#?}\nQEMU: {}", self.process.stderr())
        })
    }

    /// Where this machine reaches the port that is forwarded, once the program listens there.
    ///
    /// # Panics
    ///
    /// When none is.
    pub fn listening(&mut self) -> SocketAddr {
        // QEMU accepts before the board does.
        self.wait_for("listening on port");
        self.monitor.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        self.monitor.write_all(b"info usernet\n").expect("the monitor");
        // TCP[HOST_FORWARD]  11  127.0.0.1 40337  10.0.2.15  8000  0  0
        let lines = BufReader::new(&self.monitor).lines().map(|line| line.expect("the monitor"));
        let line = lines.into_iter().find(|line| line.contains("HOST_FORWARD"));
        let line = line.expect("the forwarded port");
        let port = line.split_whitespace().nth(3).and_then(|port| port.parse::<u16>().ok());
        SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("no port: {line}"))))
    }

    /// The process that it is.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until the program ends.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn finish(self) -> Ended {
        let finished = self.process.finish();
        self.decoder.join().expect("it decodes");
        let log = std::mem::take(&mut *self.log.lines.lock().expect("no panic there"));
        Ended { code: finished.code, log, took: finished.took }
    }
}
