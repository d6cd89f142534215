//! Everything the core calls, as function pointers that nothing defines: anything may be returned.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use embedded_io::{ErrorKind, ErrorType};
use embedded_nal::{
    TcpClientStack, TcpError, TcpErrorKind, TcpFullStack, UdpClientStack, UdpFullStack,
};
use socklab_core::machine::{EventView, Machine};
use socklab_core::session::Handler;

/// An application.
pub struct Player<M: Machine> {
    event: for<'i> fn(&M, EventView<'i, M>),
    command: for<'c> fn(&'c Self) -> Option<M::Command<'c>>,
    ready: fn() -> bool,
    payload: fn(&mut [u8]) -> usize,
    machine: M,
}

impl<M: Machine> Handler<M> for Player<M> {
    fn event(&mut self, event: EventView<'_, M>) {
        (self.event)(&self.machine, event);
    }

    fn ready(&self) -> bool {
        (self.ready)()
    }

    fn command(&mut self) -> Option<M::Command<'_>> {
        (self.command)(self)
    }

    fn payload(&mut self, room: &mut [u8]) -> usize {
        (self.payload)(room)
    }
}

/// A blocking transport, or one half of an async one.
pub struct Wire {
    read: fn(&mut [u8]) -> Result<usize, ErrorKind>,
    write: fn(&[u8]) -> Result<usize, ErrorKind>,
    flush: fn() -> Result<(), ErrorKind>,
    ready: fn(&mut Context<'_>) -> Poll<()>,
    is_ready: fn() -> Result<bool, ErrorKind>,
}

impl ErrorType for Wire {
    type Error = ErrorKind;
}

impl embedded_io::Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        (self.read)(buf)
    }
}

impl embedded_io::Write for Wire {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        (self.write)(buf)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        (self.flush)()
    }
}

impl embedded_io::ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        (self.is_ready)()
    }
}

impl embedded_io::WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, ErrorKind> {
        (self.is_ready)()
    }
}

impl embedded_io_async::Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = Result<usize, ErrorKind>> {
        poll_fn(|cx| (self.ready)(cx).map(|()| (self.read)(buf)))
    }
}

impl embedded_io_async::Write for Wire {
    fn write(&mut self, buf: &[u8]) -> impl Future<Output = Result<usize, ErrorKind>> {
        poll_fn(|cx| (self.ready)(cx).map(|()| (self.write)(buf)))
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), ErrorKind>> {
        poll_fn(|cx| (self.ready)(cx).map(|()| (self.flush)()))
    }
}

/// An error of a [`Net`].
#[derive(Debug)]
pub struct Fault(fn() -> TcpErrorKind);

impl TcpError for Fault {
    fn kind(&self) -> TcpErrorKind {
        (self.0)()
    }
}

/// A socket of a [`Net`].
pub struct Socket(#[expect(dead_code, reason = "a real stack keeps a number in it")] u32);

/// A non-blocking stack.
pub struct Net {
    socket: fn() -> Result<Socket, Fault>,
    send: fn(&mut Socket, &[u8]) -> nb::Result<usize, Fault>,
    receive: fn(&mut Socket, &mut [u8]) -> nb::Result<usize, Fault>,
    accept: fn(&mut Socket) -> nb::Result<(Socket, SocketAddr), Fault>,
    action: fn(Option<&mut Socket>) -> Result<(), Fault>,
}

impl TcpClientStack for Net {
    type TcpSocket = Socket;
    type Error = Fault;

    fn socket(&mut self) -> Result<Socket, Fault> {
        (self.socket)()
    }

    fn connect(&mut self, socket: &mut Socket, _: SocketAddr) -> nb::Result<(), Fault> {
        (self.action)(Some(socket)).map_err(nb::Error::Other)
    }

    fn send(&mut self, socket: &mut Socket, bytes: &[u8]) -> nb::Result<usize, Fault> {
        (self.send)(socket, bytes)
    }

    fn receive(&mut self, socket: &mut Socket, room: &mut [u8]) -> nb::Result<usize, Fault> {
        (self.receive)(socket, room)
    }

    fn close(&mut self, mut socket: Socket) -> Result<(), Fault> {
        (self.action)(Some(&mut socket))
    }
}

impl TcpFullStack for Net {
    fn bind(&mut self, socket: &mut Socket, _: u16) -> Result<(), Fault> {
        (self.action)(Some(socket))
    }

    fn listen(&mut self, socket: &mut Socket) -> Result<(), Fault> {
        (self.action)(Some(socket))
    }

    fn accept(&mut self, socket: &mut Socket) -> nb::Result<(Socket, SocketAddr), Fault> {
        (self.accept)(socket)
    }
}

type SendTo = fn(&mut Socket, Option<SocketAddr>, &[u8]) -> nb::Result<(), Fault>;
type ReceiveFrom = fn(&mut Socket, &mut [u8]) -> nb::Result<(usize, SocketAddr), Fault>;

/// A non-blocking stack for datagrams.
pub struct Datagrams {
    socket: fn() -> Result<Socket, Fault>,
    send: SendTo,
    receive: ReceiveFrom,
    action: fn(&mut Socket) -> Result<(), Fault>,
}

impl UdpClientStack for Datagrams {
    type UdpSocket = Socket;
    type Error = Fault;

    fn socket(&mut self) -> Result<Socket, Fault> {
        (self.socket)()
    }

    fn connect(&mut self, socket: &mut Socket, _: SocketAddr) -> Result<(), Fault> {
        (self.action)(socket)
    }

    fn send(&mut self, socket: &mut Socket, bytes: &[u8]) -> nb::Result<(), Fault> {
        (self.send)(socket, None, bytes)
    }

    fn receive(
        &mut self,
        socket: &mut Socket,
        room: &mut [u8],
    ) -> nb::Result<(usize, SocketAddr), Fault> {
        (self.receive)(socket, room)
    }

    fn close(&mut self, mut socket: Socket) -> Result<(), Fault> {
        (self.action)(&mut socket)
    }
}

impl UdpFullStack for Datagrams {
    fn bind(&mut self, socket: &mut Socket, _: u16) -> Result<(), Fault> {
        (self.action)(socket)
    }

    fn send_to(
        &mut self,
        socket: &mut Socket,
        to: SocketAddr,
        bytes: &[u8],
    ) -> nb::Result<(), Fault> {
        (self.send)(socket, Some(to), bytes)
    }
}
