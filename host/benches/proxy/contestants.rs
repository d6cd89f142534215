//! The proxies that are compared, and how each is started.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running proxy.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    /// Least ratio of the rate of socklab to that of this proxy, if there is a requirement.
    pub(crate) target: Option<f64>,
    process: Child,
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the proxies for connections to `target`. The first is socklab. The others are there if they are installed.
pub(crate) fn all(target: SocketAddr) -> Vec<Contestant> {
    let mut contestants = vec![socklab(target)];
    contestants.extend(socat("socat", &[], target, Some(1.0)));
    // By default it reads 8 KiB at a time. With this size it makes the same system calls as socklab.
    contestants.extend(socat("socat -b 524288", &["-b", "524288"], target, None));
    contestants
}

fn socklab(target: SocketAddr) -> Contestant {
    let mut process = Command::new(env!("CARGO_BIN_EXE_socklab"))
        .args(["proxy", "raw", "0", &target.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot start the program");
    let stderr = BufReader::new(process.stderr.take().expect("no pipe"));
    let mut lines = stderr.lines().map_while(Result::ok);
    let addr = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
    // The pipe must be drained, or the log would be dropped.
    std::thread::spawn(move || lines.for_each(drop));
    Contestant { name: "socklab", addr: addr.expect("no address"), target: None, process }
}

fn socat(
    name: &'static str,
    options: &[&str],
    target: SocketAddr,
    required: Option<f64>,
) -> Option<Contestant> {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("no port").port();
    let mut command = Command::new("socat");
    command.args(options);
    command.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"));
    command.arg(format!("TCP:{target}"));
    let process = command.stderr(Stdio::null()).spawn().ok()?;
    let contestant =
        Contestant { name, addr: ([127, 0, 0, 1], port).into(), target: required, process };
    let limit = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(contestant.addr).is_err() {
        assert!(Instant::now() < limit, "socat does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(contestant)
}
