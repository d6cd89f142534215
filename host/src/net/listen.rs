use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use super::dial::reason;
use super::peer::unmapped;
use crate::sys::extra::net as extra;
use crate::sys::net as system;

/// Length of the accept queue. With the 128 of std and mio, most of 1,000 simultaneous clients have to retry for
/// seconds. The system reduces the value to its own limit.
const BACKLOG: i32 = 4096;
/// Time until the next attempt to accept after a lack of system resources: no event reports that they are available.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why a server cannot listen.
#[derive(Debug)]
pub struct BindError {
    addr: String,
    source: io::Error,
}

impl BindError {
    pub(crate) fn new(addr: &str, source: io::Error) -> Self {
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

/// Listens on the first of the addresses that can be bound.
pub(crate) fn listen(
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
    // The port is not shared, so that a second server is refused.
    open(addr, |_| Ok(()))
}

/// Listens on the address of `first`, which shares its port from now on. The system distributes the clients between both.
///
/// `first` has been bound and listens without sharing. So another server with several threads is refused too, at any time:
/// its first socket is not willing to share.
pub(crate) fn listen_shared(
    addr: SocketAddr,
    first: &mio::net::TcpListener,
) -> io::Result<mio::net::TcpListener> {
    extra::share_port(&SockRef::from(first))?;
    open(addr, extra::share_port)
}

fn open(
    addr: SocketAddr,
    prepare_bind: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        // [::] accepts IPv4 too, independent of the system's default.
        socket.set_only_v6(false)?;
    }
    system::allow_restart(&socket)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit these options, which saves five system calls for each.
    prepare(&SockRef::from(&socket));
    prepare_bind(&socket)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// Sets the options of every connection, dialled or accepted. Errors are ignored: the connection works without.
pub(crate) fn prepare(socket: &SockRef<'_>) {
    // Detects after two minutes that a peer has vanished (a crash, a cable), although nothing is sent. The
    // system's default is two hours.
    const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    // A small message must not wait for the acknowledgement of the one before.
    let _ = socket.set_tcp_nodelay(true);
}

/// Result of an accept.
#[derive(Debug)]
pub enum Incoming<K> {
    /// A client, and its address.
    Client(K, SocketAddr),
    /// No client is waiting.
    None,
    /// The client left before it was accepted, or the call was interrupted. Accept again at once.
    Gone(io::Error),
    /// The system is out of descriptors or memory, or refuses for another reason that does not concern this client.
    /// Accept again after 100 ms.
    Starved(io::Error),
}

/// Returns the log message for [`Incoming::Starved`].
pub(crate) fn starved_message(e: &io::Error) -> String {
    format!("cannot accept connections for now: {}; new clients have to wait", reason(e))
}

/// Accepts the next client of a listener without waiting.
pub(crate) fn accept(listener: &mio::net::TcpListener) -> Incoming<TcpStream> {
    match listener.accept() {
        Ok((stream, peer)) => Incoming::Client(stream, unmapped(peer)),
        Err(e) => Incoming::failed(e),
    }
}

impl<K> Incoming<K> {
    /// Returns the result for an error of the system.
    #[must_use]
    pub fn failed(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::WouldBlock {
            Self::None
        } else if system::is_client_gone(&e) {
            Self::Gone(e)
        } else {
            // It may persist, and retrying at once would be a busy loop.
            Self::Starved(e)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpStream;

    use super::*;

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
        assert_prepared(&SockRef::from(&stream));
    }

    pub(in crate::net) fn assert_prepared(socket: &SockRef<'_>) {
        assert!(socket.keepalive().unwrap());
        if let Some(times) = system::keepalive_times(socket) {
            assert_eq!(times, (Duration::from_secs(60), Duration::from_secs(15), 4));
        }
        assert!(socket.tcp_nodelay().unwrap());
    }
}
