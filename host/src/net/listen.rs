use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use super::dial::reason;
use super::peer::unmapped;

/// So many clients may wait to be accepted. std and mio ask for 128, and a storm of 1,000 then
/// leaves most of them to retry for seconds; the system cuts it to its own limit.
const BACKLOG: i32 = 4096;
/// Time after which to accept again when the system could not: no event reports when it can.
pub(super) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why a server cannot listen.
#[derive(Debug)]
pub struct BindError {
    addr: String,
    source: io::Error,
}

impl BindError {
    pub(super) fn new(addr: &str, source: io::Error) -> Self {
        Self { addr: addr.to_owned(), source }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, source } = self;
        write!(f, "cannot listen on {addr}: {}", reason(source))?;
        f.write_str(match source.kind() {
            io::ErrorKind::AddrInUse => "; give another port, or 0 for a free one",
            io::ErrorKind::AddrNotAvailable => {
                "; give an address of this machine, or 0.0.0.0 or [::] for all"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
            _ => "",
        })
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Listens on the first of the addresses that can be had.
pub(super) fn listen(
    addrs: impl ToSocketAddrs + fmt::Debug,
) -> Result<mio::net::TcpListener, BindError> {
    let text = format!("{addrs:?}");
    let text = text.trim_matches('"');
    let mut error = None;
    for addr in addrs.to_socket_addrs().map_err(|e| BindError::new(text, e))? {
        match listen_on(addr) {
            Ok(listener) => return Ok(listener),
            Err(e) => {
                error.get_or_insert_with(|| BindError::new(&addr.to_string(), e));
            }
        }
    }
    Err(error.unwrap_or_else(|| BindError::new(text, io::ErrorKind::NotFound.into())))
}

fn listen_on(addr: SocketAddr) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        // [::] takes IPv4 too, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    // A restart need not wait for the old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit both, which saves five calls of the system for each.
    prepare(&SockRef::from(&socket));
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// Sets what every connection has, dialled or accepted. No failure matters enough to do without it.
pub(super) fn prepare(socket: &SockRef<'_>) {
    // A peer that has vanished (a crash, a cable) is noticed after two minutes, though nothing is
    // sent. The system's own default is two hours.
    const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    // A small message is not to wait for the acknowledgement of the one before.
    let _ = socket.set_tcp_nodelay(true);
}

/// What a listener has.
pub(super) enum Incoming {
    /// A client.
    Client(TcpStream, SocketAddr),
    /// No client yet.
    None,
    /// A client that had left before it was accepted, or a call that was interrupted: try the next.
    Gone(io::Error),
    /// The system has no descriptor or memory to spare, or refuses for a reason that is not the
    /// client's: accept again after [`ACCEPT_RETRY`].
    Starved(io::Error),
}

/// What the log says when the system cannot accept.
pub(super) fn starved(e: &io::Error) -> String {
    format!("cannot accept connections for now: {}; new clients have to wait", reason(e))
}

/// Takes the next client of a listener.
pub(super) fn accept(listener: &mio::net::TcpListener) -> Incoming {
    match listener.accept() {
        Ok((stream, peer)) => Incoming::Client(stream, unmapped(peer)),
        Err(e) => failed(e),
    }
}

/// Sorts the errors of accept(2). Those of the new connection itself take that connection off the
/// queue, so the next call finds another. Any other may last: a loop would spin.
fn failed(e: io::Error) -> Incoming {
    if e.kind() == io::ErrorKind::WouldBlock {
        return Incoming::None;
    }
    match Errno::from_io_error(&e) {
        Some(
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::INTR
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::TIMEDOUT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH,
        ) => Incoming::Gone(e),
        #[cfg(target_os = "linux")]
        Some(Errno::NONET) => Incoming::Gone(e),
        _ => Incoming::Starved(e),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_errors_of_a_client_that_has_left_are_told_from_those_of_the_system() {
        let is_gone = |errno: Errno| match failed(errno.into()) {
            Incoming::Gone(_) => Some(true),
            Incoming::Starved(_) => Some(false),
            Incoming::None | Incoming::Client(..) => None,
        };
        for errno in [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::INTR,
            Errno::PROTO,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::HOSTUNREACH,
        ] {
            assert_eq!(is_gone(errno), Some(true), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            assert_eq!(is_gone(errno), Some(false), "{errno}");
        }
        assert_eq!(is_gone(Errno::AGAIN), None);
    }

    #[test]
    fn accepted_connections_have_keep_alive_and_no_delay() {
        let listener = listen("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = loop {
            match accept(&listener) {
                Incoming::Client(stream, _) => break stream,
                Incoming::None => std::thread::yield_now(),
                Incoming::Gone(e) | Incoming::Starved(e) => panic!("{e}"),
            }
        };
        is_prepared(&SockRef::from(&stream));
    }

    pub(in crate::net) fn is_prepared(socket: &SockRef<'_>) {
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert!(socket.tcp_nodelay().unwrap());
    }
}
