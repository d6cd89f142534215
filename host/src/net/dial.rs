use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::SockRef;

use super::listen::prepare;
use crate::sys;

/// Time without an answer after which the next address is tried as well (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Host and port to connect to. The host is a name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// Returns the target for a host name or IP address and a port. An IPv6 address may be enclosed in brackets.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Self { host: bare.to_owned(), port }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => addr.ip().to_string(),
        };
        Self { host, port: addr.port() }
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        Self::new(host, port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a connection could not be established.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The host name could not be resolved.
    Resolve(Target, io::Error),
    /// No address accepted the connection. The error is that of the first address.
    Refused(Target, io::Error),
    /// No address answered in time.
    TimedOut(Target, Duration),
    /// The system could not create a thread, a socket or a poll instance.
    System(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(target, e) => write!(
                f,
                "cannot connect to {target}: could not resolve host ({}); check its spelling, or \
                 give an IP address",
                reason(e)
            ),
            Self::Refused(target, e) if e.kind() == io::ErrorKind::ConnectionRefused => write!(
                f,
                "cannot connect to {target}: connection refused; is a server listening on that \
                 port?"
            ),
            Self::Refused(target, e) => write!(f, "cannot connect to {target}: {}", reason(e)),
            Self::TimedOut(target, after) => {
                write!(f, "cannot connect to {target}: no answer within {after:?}")
            }
            Self::System(e) => write!(f, "cannot connect: {}", reason(e)),
        }
    }
}

impl std::error::Error for DialError {}

/// Returns the message of a system error without the suffix of std, such as `(os error 2)`.
///
/// Where the meaning of an error is known, its message is the same on every system.
pub(crate) fn reason(e: &io::Error) -> String {
    if let Some(text) = sys::error_text(e) {
        return text.to_owned();
    }
    let text = e.to_string();
    let mut text = text.split(" (os error ").next().unwrap_or_default();
    // Windows has sentences, with a full stop.
    if e.raw_os_error().is_some() {
        text = text.trim_end_matches('.');
    }
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// Connects to the first of the target's addresses that accepts.
///
/// [`connect`] and the resolver block without a time limit. So each call runs in a thread of its own.
/// After the timeout the thread is abandoned, and ends when the system call returns. Addresses are tried in order:
/// the next one at once after a failure, or after [`ATTEMPT_DELAY`] without an answer (happy eyeballs).
pub(super) fn dial(
    target: &Target,
    timeout: Option<Duration>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let start = Instant::now();
    let left = || timeout.map(|t| t.saturating_sub(start.elapsed()));
    let timed_out = || DialError::TimedOut(target.clone(), timeout.unwrap_or_default());

    let addrs = match resolve(target, left())? {
        Some(addrs) => addrs?,
        None => return Err(timed_out()),
    };
    let (sender, receiver) = mpsc::channel();
    let mut waiting = addrs.into_iter();
    let mut running = 0_usize;
    let mut first_error = None;
    loop {
        if let Some(addr) = waiting.next() {
            if running > 0 {
                log::debug!("no answer for {ATTEMPT_DELAY:?}, trying {addr} as well");
            } else if first_error.is_some() {
                log::debug!("trying the next address, {addr}");
            } else {
                log::debug!("trying {addr}, {}", timeout_text(timeout));
            }
            let sender = sender.clone();
            let attempt = move || {
                // Fails if another address was faster. The socket is closed then.
                let _ = sender.send((addr, connect(addr)));
            };
            thread::Builder::new().spawn(attempt).map_err(DialError::System)?;
            running += 1;
        } else if running == 0 {
            let nothing = || io::Error::new(io::ErrorKind::NotFound, "no address");
            return Err(match first_error {
                Some(e) => DialError::Refused(target.clone(), e),
                None => DialError::Resolve(target.clone(), nothing()),
            });
        }
        let is_last = waiting.len() == 0;
        let pause = match (left(), is_last) {
            (Some(Duration::ZERO), _) => return Err(timed_out()),
            (Some(left), true) => left,
            (Some(left), false) => left.min(ATTEMPT_DELAY),
            (None, false) => ATTEMPT_DELAY,
            (None, true) => Duration::MAX,
        };
        match recv_timeout(&receiver, pause) {
            Ok((addr, Ok(socket))) => {
                let local = socket.local_addr();
                let local = local.map_or_else(|_| String::new(), |local| format!(" from {local}"));
                log::debug!("connected to {addr}{local} after {:.1?}", start.elapsed());
                return Ok((socket, addr));
            }
            Ok((addr, Err(e))) => {
                log::debug!("connecting to {addr} failed: {}", reason(&e));
                running -= 1;
                first_error.get_or_insert(e);
            }
            Err(_) => {}
        }
    }
}

/// Returns the log text for a timeout.
pub(crate) fn timeout_text(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "no timeout".into(), |timeout| format!("timeout {timeout:?}"))
}

/// Receives with a timeout of at most a day, since `recv_timeout` overflows on `Duration::MAX`.
fn recv_timeout<T>(from: &mpsc::Receiver<T>, timeout: Duration) -> Result<T, RecvTimeoutError> {
    from.recv_timeout(timeout.min(Duration::from_secs(86_400)))
}

/// Connects to an address. Blocks until the connection is established, as long as the system permits.
pub(super) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(addr)?;
    let socket = SockRef::from(&stream);
    if is_self_connected(&socket) {
        log::debug!("{addr} is this client's own port: it connected to itself");
        // An orderly close would leave the port in TIME_WAIT, where some servers cannot bind it.
        let _ = socket.set_linger(Some(Duration::ZERO));
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    prepare(&socket);
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Returns whether both ends of a connection are this socket.
///
/// The system selects the local port from a range. If no one listens on the destination port and that port is in
/// the range, the local port can be the same. TCP then connects the socket to itself (simultaneous open: RFC 9293,
/// section 3.5).
pub(crate) fn is_self_connected(socket: &SockRef<'_>) -> bool {
    matches!((socket.local_addr(), socket.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Resolves the target's addresses, in the order in which [`dial`] tries them.
pub(crate) fn resolve_all(
    target: &Target,
    timeout: Option<Duration>,
) -> Result<Vec<SocketAddr>, DialError> {
    let timed_out = || DialError::TimedOut(target.clone(), timeout.unwrap_or_default());
    let addrs = resolve(target, timeout)?.ok_or_else(timed_out)??;
    if addrs.is_empty() {
        let nothing = io::Error::new(io::ErrorKind::NotFound, "no address");
        return Err(DialError::Resolve(target.clone(), nothing));
    }
    Ok(addrs)
}

type Addresses = Result<Vec<SocketAddr>, DialError>;

/// Resolves the target's addresses. Returns `None` after the timeout.
fn resolve(target: &Target, timeout: Option<Duration>) -> Result<Option<Addresses>, DialError> {
    let name = (target.host.clone(), target.port);
    if let Ok(ip) = target.host.parse() {
        return Ok(Some(Ok(vec![SocketAddr::new(ip, target.port)])));
    }
    log::debug!("resolving {}", target.host);
    let start = Instant::now();
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .spawn(move || {
            let _ = sender.send(name.to_socket_addrs().map(Vec::from_iter));
        })
        .map_err(DialError::System)?;
    match recv_timeout(&receiver, timeout.unwrap_or(Duration::MAX)) {
        Ok(found) => {
            let found = if target.host.eq_ignore_ascii_case("localhost") {
                Ok(with_loopback(found.unwrap_or_default(), target.port))
            } else {
                found
            };
            if let Ok(found) = &found {
                let found: Vec<_> = found.iter().map(|addr| addr.ip().to_string()).collect();
                let (host, took) = (&target.host, start.elapsed());
                log::debug!("{host} is {} (resolved in {took:.1?})", found.join(", "));
            }
            Ok(Some(found.map_err(|e| DialError::Resolve(target.clone(), e))))
        }
        Err(_) => Ok(None),
    }
}

/// Adds the loopback addresses that are missing (RFC 6761, section 6.3). In containers, /etc/hosts often has only one
/// of the two, and the server may listen on the other.
fn with_loopback(mut addrs: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let addr = SocketAddr::new(ip, port);
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    addrs
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_socket_that_is_connected_to_itself_is_detected() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let addr = SocketAddr::new(ip, 0);
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
            socket.bind(&addr.into()).unwrap();
            socket.connect(&socket.local_addr().unwrap()).expect("a simultaneous open");
            assert!(is_self_connected(&SockRef::from(&socket)));

            let listener = TcpListener::bind(addr).unwrap();
            let socket = connect(listener.local_addr().unwrap()).unwrap();
            assert!(!is_self_connected(&SockRef::from(&socket)));
        }
    }

    #[test]
    fn a_dialled_connection_has_keep_alive_and_no_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (socket, _) = dial(&listener.local_addr().unwrap().into(), None).unwrap();
        crate::net::listen::tests::assert_prepared(&SockRef::from(&socket));
    }

    /// Linux assigns consecutive local ports to connections to one address. So it reaches the destination port
    /// within half of the range.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_client_never_connects_to_itself() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let mut range = range.split_whitespace().map(|port| port.parse::<u16>().unwrap());
        let (first, last) = (range.next().unwrap(), range.next().unwrap());
        // Connections prefer ports of this parity, and a reserved port is not used by another test.
        let reserve = |port| {
            Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
                socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
            })
        };
        let parity = first % 2;
        let free = (first..last).rev().find(|port| port % 2 == parity && reserve(*port).is_ok());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free.unwrap()));
        for _ in 0..u32::from(last - first) {
            match connect(addr) {
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused, "{e}"),
                Ok(_) => panic!("connected to itself at {addr}"),
            }
        }
        assert!(matches!(
            dial(&addr.into(), None),
            Err(DialError::Refused(_, e)) if e.kind() == io::ErrorKind::ConnectionRefused
        ));
    }
}
