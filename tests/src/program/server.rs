//! Servers, real and fake, and connections to them.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, Process, Program};

/// A server that has reported its address. The test fails if it crashes.
pub struct Server {
    /// The process.
    pub process: Process,
    /// Address it listens on.
    pub addr: SocketAddr,
}

impl Server {
    /// Starts `socklab PROTOCOL server 0` with these arguments.
    pub fn start(protocol: &str, args: &[&str]) -> Self {
        Self::from_program(Program::socklab(&[&[protocol, "server", "0"], args].concat()))
    }

    /// Starts any program that reports `listening on ADDR` on stderr.
    ///
    /// # Panics
    ///
    /// Panics if it does not.
    pub fn from_program(program: Program) -> Self {
        let mut process = program.start();
        process.is_server = true;
        let line = process.wait_for("listening on ");
        let addr = line.rsplit(' ').next().and_then(|addr| addr.parse().ok());
        Self { addr: addr.unwrap_or_else(|| panic!("no address: {line}")), process }
    }

    /// Creates a `socklab PROTOCOL client` of this server, with these arguments after the address.
    pub fn client(&self, protocol: &str, args: &[&str]) -> Program {
        client(protocol, self.addr, args)
    }

    /// Connects to it, with [`DEADLINE`] as timeout of reads and writes.
    ///
    /// # Panics
    ///
    /// Panics if the connection fails.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addr, DEADLINE).expect("connect");
        set_timeouts(&stream);
        stream
    }
}

/// Creates `socklab PROTOCOL client HOST PORT` with these arguments.
pub fn client(protocol: &str, addr: SocketAddr, args: &[&str]) -> Program {
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    Program::socklab(&[&[protocol, "client", &host, &port], args].concat())
}

/// A server that the test itself plays: the test reads and writes each accepted connection.
pub struct FakeServer {
    listener: TcpListener,
    /// Address it listens on.
    pub addr: SocketAddr,
}

impl Default for FakeServer {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeServer {
    /// Listens on a free port.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    #[must_use]
    pub fn new() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// Listens on this address.
    ///
    /// # Panics
    ///
    /// Panics if it cannot.
    #[must_use]
    pub fn on(addr: &str) -> Self {
        let listener = TcpListener::bind(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
        listener.set_nonblocking(true).expect("non-blocking");
        Self { addr: listener.local_addr().expect("the address of the listener"), listener }
    }

    /// Accepts the next client, with [`DEADLINE`] as timeout of reads and writes.
    ///
    /// # Panics
    ///
    /// Panics if no client connects.
    #[must_use]
    pub fn accept(&self) -> TcpStream {
        wait_until(DEADLINE, || self.try_accept()).expect("no client connected")
    }

    /// Accepts a client that has connected already.
    #[must_use]
    pub fn try_accept(&self) -> Option<TcpStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).expect("blocking");
        set_timeouts(&stream);
        Some(stream)
    }
}

fn set_timeouts(stream: &TcpStream) {
    stream.set_read_timeout(Some(DEADLINE)).expect("read timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("write timeout");
    stream.set_nodelay(true).expect("no delay");
}

/// Returns a port of 127.0.0.1 that is free now, that the system gives to no connection, and that no other call has
/// returned.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Tests of another process are unlikely to ask for the same one. Connections get ports from 32,768, on some systems
        // from 49,152.
        let offset = (std::process::id() % 180) as u16 * 100;
        let port = 14_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Calls `ask` until it returns a value, for at most `limit`.
pub fn wait_until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
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

/// Closes a connection with a reset.
///
/// # Panics
///
/// Panics if the system has no linger option.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
}

/// Returns an echo message.
///
/// # Panics
///
/// Panics if the payload is too long for one.
#[must_use]
pub fn message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("length").to_be_bytes();
    [&length, payload].concat()
}

/// Reads `N` bytes from the peer.
///
/// # Panics
///
/// Panics if they do not arrive in time.
pub fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("the peer sends");
    bytes
}

/// Reads until the peer's end.
///
/// # Panics
///
/// Panics if it does not arrive in time.
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
    fn dropping_a_crashed_server_fails_the_test() {
        let line = "echo listening on 127.0.0.1:1 >&2; echo thread panicked at x.rs >&2; exit 101";
        let server = Server::from_program(Program::new("sh", &["-c", line]));
        server.process.wait_for("panicked");
        drop(server);
    }

    #[test]
    fn dropping_a_running_server_does_not_panic() {
        let line = "echo listening on 127.0.0.1:1 >&2; exec sleep 60";
        drop(Server::from_program(Program::new("sh", &["-c", line])));
    }
}
