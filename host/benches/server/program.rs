//! The program `socklab` as a user starts it: with its log on stderr, a line for each session. Stderr is a file.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::Child;

/// Starts `socklab PROTOCOL server` with these further arguments, on a free port.
pub(crate) fn start(protocol: &str, args: &[&str]) -> Child {
    let log = tempfile::NamedTempFile::new().expect("cannot create a file");
    let stderr = fs::OpenOptions::new().append(true).open(log.path()).expect("cannot open a file");
    let mut process = Command::new(env!("CARGO_BIN_EXE_socklab"))
        .args([protocol, "server", "127.0.0.1:0"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("cannot start socklab");
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline && matches!(process.try_wait(), Ok(None)) {
        let text = fs::read_to_string(log.path()).expect("cannot read the log");
        if let Some(addr) = address(&text) {
            // The file has no name from now on, and disappears with the process.
            return Child::new(process, addr);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("socklab does not listen: {}", fs::read_to_string(log.path()).unwrap_or_default());
}

/// Returns the address in the first line of the log.
fn address(log: &str) -> Option<SocketAddr> {
    log.strip_prefix("listening on ")?.split_once('\n')?.0.parse().ok()
}
