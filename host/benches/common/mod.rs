//! Shared parts of the benchmarks: a server in a process of its own, with its CPU time as reported by the system.

use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) addr: SocketAddr,
}

/// Returns the name of the server that this process has to be, if it was started as a [`Child`].
pub(crate) fn server_name() -> Option<String> {
    let name = std::env::args().skip_while(|arg| arg != "--serve").nth(1)?;
    std::thread::spawn(|| {
        // The standard input ends when the parent process ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Some(name)
}

/// Prints the address on which the server listens.
pub(crate) fn report_address(addr: SocketAddr) {
    println!("{addr}");
}

impl Child {
    pub(crate) fn start(name: &str) -> Self {
        let mut process =
            Command::new(std::env::current_exe().expect("path of this program unknown"))
                .args(["--serve", name])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("cannot start the program");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("no pipe");
        BufReader::new(stdout).read_line(&mut line).expect("no address");
        Self::new(process, line.trim().parse().expect("invalid address"))
    }

    /// Returns a server that runs already. It is killed when this value is dropped.
    pub(crate) const fn new(process: std::process::Child, addr: SocketAddr) -> Self {
        Self { process, addr }
    }

    /// Returns the CPU time so far in seconds, of all threads including those that have ended.
    pub(crate) fn cpu(&self) -> f64 {
        // Nanoseconds, since clock ticks are too coarse, but only of running threads.
        let tasks = fs::read_dir(self.path("task")).expect("cannot read the threads of the server");
        let nanoseconds: u64 = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
            .sum();
        // Only the clock ticks of the process (hundredths of a second) include threads that have ended.
        let stat = self.report("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (nanoseconds as f64 / 1e9).max((ticks(12) + ticks(13)) / 100.0)
    }

    /// Returns the text of a file about the process in `/proc`.
    pub(crate) fn report(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("cannot read the statistics of the server")
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
