//! A server in a process of its own, and what the system says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) addr: SocketAddr,
}

/// A server says where it listens.
pub(crate) fn ready(addr: SocketAddr) {
    println!("{addr}");
}

impl Child {
    pub(crate) fn start(name: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--serve", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("to start");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        let addr = line.trim().parse().expect("an address");
        Self { process, addr }
    }

    /// CPU seconds so far, of all threads, those that have ended included.
    pub(crate) fn cpu(&self) -> f64 {
        // Nanoseconds, where clock ticks would be too coarse; but only of threads that live.
        let tasks = fs::read_dir(self.path("task")).expect("its threads");
        let nanoseconds: u64 = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
            .sum();
        // Ended threads show in the process's ticks (a hundredth of a second) alone.
        let stat = fs::read_to_string(self.path("stat")).expect("its figures");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (nanoseconds as f64 / 1e9).max((ticks(12) + ticks(13)) / 100.0)
    }

    /// Bytes of memory of its own: anonymous and resident.
    pub(crate) fn memory(&self) -> i64 {
        let status = fs::read_to_string(self.path("status")).expect("its figures");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("its memory");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<i64>().ok());
        kib.expect("a number") * 1024
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
