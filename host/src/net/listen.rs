use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Socket, Type};

use super::dial::reason;

/// So many clients may wait to be accepted. std and mio ask for 128, and a storm of 1,000 then
/// leaves most of them to retry for seconds; the system cuts it to its own limit.
const BACKLOG: i32 = 4096;

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
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}
