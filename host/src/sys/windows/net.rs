//! Sockets of Windows.

use std::io::{self, ErrorKind};

use socket2::Socket;

/// Whether an event is delivered once for each change. Here mio waits for the next event of a socket only after a call
/// returned `WouldBlock`, and then for all events at once. So a socket is registered for writing only while output
/// waits: a socket that can be written to would cause an event after each read. And a short read is followed by another
/// one.
pub(crate) const EDGE_TRIGGERED: bool = false;

/// Codes of Windows Sockets that std has no kind for.
mod code {
    pub(super) const WSAEINTR: i32 = 10004;
    pub(super) const WSAENETDOWN: i32 = 10050;
    pub(super) const WSAENETUNREACH: i32 = 10051;
    pub(super) const WSAENETRESET: i32 = 10052;
    pub(super) const WSAECONNABORTED: i32 = 10053;
    pub(super) const WSAECONNRESET: i32 = 10054;
    pub(super) const WSAENOTCONN: i32 = 10057;
    pub(super) const WSAESHUTDOWN: i32 = 10058;
    pub(super) const WSAETIMEDOUT: i32 = 10060;
    pub(super) const WSAEHOSTDOWN: i32 = 10064;
    pub(super) const WSAEHOSTUNREACH: i32 = 10065;
    pub(super) const WSAEDISCON: i32 = 10101;
}

/// Returns the kind of an error of a socket.
pub(crate) fn error_kind(e: &io::Error) -> ErrorKind {
    match e.raw_os_error() {
        Some(code::WSAESHUTDOWN | code::WSAEDISCON) => ErrorKind::BrokenPipe,
        Some(code::WSAENETRESET) => ErrorKind::ConnectionReset,
        _ => e.kind(),
    }
}

/// Returns whether an error of `accept` belongs to the new connection. Such a connection is no longer in the queue, so
/// the next call returns another one. Any other error may persist.
pub(crate) fn is_client_gone(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            code::WSAEINTR
                | code::WSAENETDOWN
                | code::WSAENETUNREACH
                | code::WSAENETRESET
                | code::WSAECONNABORTED
                | code::WSAECONNRESET
                // mio reads the address of a client that has reset the connection meanwhile.
                | code::WSAENOTCONN
                | code::WSAETIMEDOUT
                | code::WSAEHOSTDOWN
                | code::WSAEHOSTUNREACH
        )
    )
}

/// Returns whether a client waits to be accepted. An event has reported one, and without unsafe code it cannot be looked
/// up.
pub(crate) const fn has_client(_: &mio::net::TcpListener) -> bool {
    true
}

/// Does nothing: here a port can be used again at once, and `SO_REUSEADDR` would let any program take it over.
pub(crate) const fn allow_restart(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Does nothing: the number of sockets is not limited.
#[cfg(feature = "cli")]
pub(crate) const fn raise_socket_limit() {}

/// Returns `None`: socket2 does not read these options here.
#[cfg(test)]
pub(crate) const fn keepalive_times(
    _: &Socket,
) -> Option<(std::time::Duration, std::time::Duration, u32)> {
    None
}
