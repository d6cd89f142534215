//! The emulated board: QEMU with a program of `tests/firmware`, and its log as text.
//!
//! ```text
//!   this machine                                   the board, 10.0.2.15
//!
//!   socklab math server 127.0.0.1:PORT  <--------  dials 10.0.2.2:PORT
//!   socklab math client  ->  QEMU's 127.0.0.1:PORT  -->  listens on its own port
//!   socklab math server 127.0.0.1:PORT  <-- QEMU's serial port  <--  UART0, without the network
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

/// Loopback address of this machine, as the board sees it.
pub const HOST: &str = "10.0.2.2";

/// Returns the folder of the programs. The first call builds them.
///
/// # Panics
///
/// Panics if they do not build.
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

/// Decodes a stream of defmt frames and calls the last argument with each message as a line of
/// text. The first argument is the program that logs. This is a parameter because only tests and
/// examples can depend on the decoder: the fuzz targets are built with this crate too.
pub type Decode = fn(elf: &[u8], frames: &mut dyn Read, each: &mut dyn FnMut(String));

/// Lines of the log so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running board. It is switched off when dropped.
pub struct Board {
    process: Process,
    monitor: UnixStream,
    log: Arc<Log>,
    decoder: JoinHandle<()>,
}

/// How a program on the board ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// Lines of the log, one message each.
    pub log: Vec<String>,
    /// How long the board ran.
    pub took: Duration,
}

/// A program to run on the board, and how.
pub struct Launch {
    program: String,
    args: Vec<String>,
    /// Transport and port.
    forward: Option<(&'static str, u16)>,
    serial: Option<SocketAddr>,
    deadline: Duration,
    decode: Decode,
    show: Box<dyn Fn(&str) + Send>,
}

impl Launch {
    /// Creates a launch of this program of `tests/firmware/src/bin`.
    pub fn new(program: &str, decode: Decode) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            forward: None,
            serial: None,
            deadline: DEADLINE,
            decode,
            show: Box::new(|_| {}),
        }
    }

    /// Adds an argument `name=value`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Forwards a free port of this machine to this port of the board, for TCP.
    #[must_use]
    pub const fn forward(mut self, port: u16) -> Self {
        self.forward = Some(("tcp", port));
        self
    }

    /// Forwards a free port of this machine to this port of the board, for UDP.
    #[must_use]
    pub const fn forward_datagrams(mut self, port: u16) -> Self {
        self.forward = Some(("udp", port));
        self
    }

    /// Connects UART0 to this address when the board is switched on. The board has no network then.
    #[must_use]
    pub const fn serial(mut self, to: SocketAddr) -> Self {
        self.serial = Some(to);
        self
    }

    /// Sets how long the program may run.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Shows each line of the log as it arrives.
    #[must_use]
    pub fn show(mut self, show: impl Fn(&str) + Send + 'static) -> Self {
        self.show = Box::new(show);
        self
    }

    /// Switches the board on.
    ///
    /// # Panics
    ///
    /// Panics if the program does not build, or QEMU does not start.
    pub fn start(self) -> Board {
        let elf = programs().join(&self.program);
        let mut network = String::from("user,model=stellaris");
        if let Some((transport, port)) = self.forward {
            // Port 0 chooses a free port, which the monitor reports.
            network += &format!(",hostfwd={transport}:127.0.0.1:0-10.0.2.15:{port}");
        }
        let mut serial = String::from("none");
        if let Some(to) = self.serial {
            // Without the delay, since the board sends a byte at a time.
            serial = format!("tcp:{to},nodelay=on");
            network = String::from("none");
        }
        let mut semihosting = format!("enable=on,target=native,arg={}", self.program);
        for arg in &self.args {
            // QEMU's escape for a comma in a value.
            semihosting += &format!(",arg={}", arg.replace(',', ",,"));
        }
        let args = [
            "-machine",
            "lm3s6965evb",
            "-display",
            "none",
            "-serial",
            &serial,
            // The monitor uses stdin: a socket pair needs no file and no port.
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

        let (monitor, qemu_end) = UnixStream::pair().expect("a pair of sockets");
        let (mut frames, stdout) = io::pipe().expect("a pipe");
        let process = Program::new("qemu-system-arm", &args)
            .stdin(OwnedFd::from(qemu_end))
            .stdout(stdout)
            .deadline(self.deadline)
            .start();

        let log = Arc::new(Log::default());
        let lines = Arc::clone(&log);
        let elf = std::fs::read(elf).expect("the program");
        let decoder = thread::spawn(move || {
            (self.decode)(&elf, &mut frames, &mut |line| {
                (self.show)(&line);
                lines.lines.lock().expect("no thread panics with the lock").push(line);
                lines.more.notify_all();
            });
        });
        Board { process, monitor, log, decoder }
    }
}

impl Board {
    /// Waits for a line of the log that contains `text` and returns it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such line in time.
    pub fn wait_for(&self, text: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.log.lines.lock().expect("no thread panics with the lock");
        let waited = self.log.more.wait_timeout_while(lines, DEADLINE, |l| find(l).is_none());
        let (lines, _) = waited.expect("no thread panics with the lock");
        find(&lines).unwrap_or_else(|| {
            panic!("no {text:?} in the log: {lines:#?}\nQEMU: {}", self.process.stderr())
        })
    }

    /// Returns the address at which this machine reaches the forwarded port, once the program
    /// listens there.
    ///
    /// # Panics
    ///
    /// Panics if no port is forwarded.
    pub fn listening(&mut self) -> SocketAddr {
        // QEMU accepts connections and datagrams before the board does.
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

    /// Returns the process of QEMU.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    pub fn finish(self) -> Ended {
        let finished = self.process.finish();
        self.decoder.join().expect("the decoder does not panic");
        let log =
            std::mem::take(&mut *self.log.lines.lock().expect("no thread panics with the lock"));
        Ended { code: finished.code, log, took: finished.took }
    }
}
