//! Sockets of Windows.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::windows::io::{AsSocket as _, BorrowedSocket};

use embedded_nal::{TcpClientStack, TcpErrorKind};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::Socket;

/// TCP stack that connects the clients. The sockets of std-embedded-nal have no handle on Windows, so they cannot be
/// waited for.
#[derive(Default)]
pub(crate) struct Dialler;

/// Socket of the [`Dialler`]: `None` before it is connected. It is mio's, because mio waits for a socket again only after
/// a call of its own returned `WouldBlock`.
pub(crate) type Dialled = Option<TcpStream>;

/// Error of the [`Dialler`].
#[derive(Debug)]
pub(crate) struct DiallerError(io::Error);

impl embedded_nal::TcpError for DiallerError {
    fn kind(&self) -> TcpErrorKind {
        match error_kind(&self.0) {
            ErrorKind::BrokenPipe => TcpErrorKind::PipeClosed,
            _ => TcpErrorKind::Other,
        }
    }
}

fn other(e: io::Error) -> nb::Error<DiallerError> {
    match e.kind() {
        ErrorKind::WouldBlock => nb::Error::WouldBlock,
        _ => nb::Error::Other(DiallerError(e)),
    }
}

impl TcpClientStack for Dialler {
    type TcpSocket = Dialled;
    type Error = DiallerError;

    fn socket(&mut self) -> Result<Dialled, DiallerError> {
        Ok(None)
    }

    /// Blocks until the connection is established, as the `connect` of std-embedded-nal does.
    fn connect(
        &mut self,
        socket: &mut Dialled,
        remote: SocketAddr,
    ) -> nb::Result<(), DiallerError> {
        let stream = std::net::TcpStream::connect(remote).map_err(other)?;
        stream.set_nonblocking(true).map_err(other)?;
        *socket = Some(TcpStream::from_std(stream));
        Ok(())
    }

    fn send(&mut self, socket: &mut Dialled, bytes: &[u8]) -> nb::Result<usize, DiallerError> {
        let stream = socket.as_mut().ok_or(ErrorKind::NotConnected);
        stream.map_err(io::Error::from).and_then(|stream| stream.write(bytes)).map_err(other)
    }

    fn receive(&mut self, socket: &mut Dialled, to: &mut [u8]) -> nb::Result<usize, DiallerError> {
        let stream = socket.as_mut().ok_or(ErrorKind::NotConnected);
        stream.map_err(io::Error::from).and_then(|stream| stream.read(to)).map_err(other)
    }

    fn close(&mut self, _: Dialled) -> Result<(), DiallerError> {
        Ok(())
    }
}

/// Returns the error of the operating system that the [`Dialler`] has wrapped.
pub(crate) fn dialler_error(e: DiallerError) -> io::Error {
    e.0
}

/// Socket of the operating system.
pub(crate) type Handle<'s> = BorrowedSocket<'s>;

/// Returns the handle of a socket, or `None` before it is connected.
pub(crate) fn dialled(socket: &Dialled) -> Option<Handle<'_>> {
    socket.as_ref().map(accepted)
}

/// Returns the handle of an accepted connection.
pub(crate) fn accepted(stream: &TcpStream) -> Handle<'_> {
    stream.as_socket()
}

/// Registers a socket for events. One that is not connected has none.
pub(crate) fn register(
    socket: &mut Dialled,
    registry: &Registry,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    socket.as_mut().map_or(Ok(()), |stream| registry.register(stream, token, interest))
}

/// Changes the events for which a socket is registered.
pub(crate) fn reregister(
    socket: &mut Dialled,
    registry: &Registry,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    socket.as_mut().map_or(Ok(()), |stream| registry.reregister(stream, token, interest))
}

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
