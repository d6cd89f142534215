//! UDP over smoltcp.
//!
//! A datagram that is longer than a packet of the Ethernet ([`LONGEST`]) is neither sent nor received:
//! smoltcp is built without fragmentation.

use core::net::SocketAddr;

use embedded_nal::{UdpClientStack, UdpFullStack};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{self, PacketBuffer, PacketMetadata};
use smoltcp::wire::IpEndpoint;

use super::{Error, Stack};

/// Length in bytes of the longest datagram in a packet: 1500 without the headers of IPv4 and UDP.
pub const LONGEST: usize = 1472;

/// Number of received datagrams that can wait in a socket.
const WAITING: usize = 8;

/// Lengths and addresses of the datagrams in the buffers of `D` sockets. Separate from the buffers
/// because it is not zero at the start and so occupies flash too.
pub type Queues<const D: usize> = [Queue; D];

/// Entry of [`Queues`].
pub struct Queue {
    received: [PacketMetadata; WAITING],
    /// One, so that a socket that can take a datagram has sent all others: smoltcp does not report
    /// that.
    sent: [PacketMetadata; 1],
}

/// Initial value of [`Queues`].
pub const fn queues<const D: usize>() -> Queues<D> {
    const EMPTY: PacketMetadata = PacketMetadata::EMPTY;
    [const { Queue { received: [EMPTY; WAITING], sent: [EMPTY] } }; D]
}

#[derive(Clone, Copy)]
pub(super) struct Slot {
    handle: SocketHandle,
    is_used: bool,
}

impl Slot {
    pub(super) fn new<const RX: usize, const TX: usize>(
        sockets: &mut SocketSet<'static>,
        queue: Option<&'static mut Queue>,
        buffers: Option<&'static mut ([u8; RX], [u8; TX])>,
    ) -> Self {
        let (waiting, sending) = match queue {
            Some(Queue { received, sent }) => (&mut received[..], &mut sent[..]),
            None => Default::default(),
        };
        let (received, sent) = match buffers {
            Some((rx, tx)) => (&mut rx[..], &mut tx[..]),
            None => Default::default(),
        };
        let (rx, tx) = (PacketBuffer::new(waiting, received), PacketBuffer::new(sending, sent));
        Self { handle: sockets.add(udp::Socket::new(rx, tx)), is_used: false }
    }
}

/// A socket for datagrams.
#[derive(Debug, defmt::Format)]
pub struct Socket {
    /// Index of the slot.
    slot: usize,
    /// The address that it is connected to.
    remote: Option<SocketAddr>,
}

impl<const N: usize, const D: usize> Stack<N, D> {
    fn socket_for(&mut self, socket: &Socket) -> Result<&mut udp::Socket<'static>, Error> {
        let slot = self.datagrams.get(socket.slot).ok_or(Error::WrongKind)?;
        Ok(self.sockets.get_mut(slot.handle))
    }

    /// Whether a datagram has not left yet.
    pub(super) fn owes_datagrams(&self) -> bool {
        self.datagrams
            .iter()
            .any(|slot| !self.sockets.get::<udp::Socket<'_>>(slot.handle).can_send())
    }
}

impl<const N: usize, const D: usize> UdpClientStack for Stack<N, D> {
    type UdpSocket = Socket;
    type Error = Error;

    fn socket(&mut self) -> Result<Socket, Error> {
        let free = self.datagrams.iter_mut().enumerate().find(|(_, slot)| !slot.is_used);
        let (slot, free) = free.ok_or(Error::NoSocket)?;
        free.is_used = true;
        Ok(Socket { slot, remote: None })
    }

    /// Sets where [`send`](Self::send) sends to. A datagram from elsewhere is received too, unlike with
    /// an operating system, so that a client can count it.
    fn connect(&mut self, socket: &mut Socket, remote: SocketAddr) -> Result<(), Error> {
        let port = self.outgoing_port();
        let udp = self.socket_for(socket)?;
        if !udp.is_open() {
            udp.bind(port).map_err(|_| Error::Unaddressable)?;
        }
        socket.remote = Some(remote);
        Ok(())
    }

    fn send(&mut self, socket: &mut Socket, buffer: &[u8]) -> nb::Result<(), Error> {
        let remote = socket.remote.ok_or(Error::WrongKind)?;
        self.send_to(socket, remote, buffer)
    }

    /// Fills the buffer with the front of a datagram that is longer, so that it counts as truncated:
    /// see [`Datagram::in_buffer`](socklab_core::datagram::Datagram::in_buffer).
    fn receive(
        &mut self,
        socket: &mut Socket,
        buffer: &mut [u8],
    ) -> nb::Result<(usize, SocketAddr), Error> {
        // Not smoltcp's `recv_slice`: that drops a datagram that does not fit, and its sender.
        let (bytes, from) = self.socket_for(socket)?.recv().map_err(|_| nb::Error::WouldBlock)?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        let IpEndpoint { addr, port } = from.endpoint;
        Ok((length, SocketAddr::new(addr.into(), port)))
    }

    /// Closes the socket. A datagram that has not left is dropped: call [`finish`](Stack::finish)
    /// before.
    fn close(&mut self, socket: Socket) -> Result<(), Error> {
        self.socket_for(&socket)?.close();
        self.datagrams[socket.slot].is_used = false;
        Ok(())
    }
}

impl<const N: usize, const D: usize> UdpFullStack for Stack<N, D> {
    fn bind(&mut self, socket: &mut Socket, port: u16) -> Result<(), Error> {
        let is_taken = self
            .datagrams
            .iter()
            .any(|slot| self.sockets.get::<udp::Socket<'_>>(slot.handle).endpoint().port == port);
        if is_taken {
            return Err(Error::Unaddressable);
        }
        self.socket_for(socket)?.bind(port).map_err(|_| Error::Unaddressable)
    }

    fn send_to(
        &mut self,
        socket: &mut Socket,
        remote: SocketAddr,
        buffer: &[u8],
    ) -> nb::Result<(), Error> {
        let SocketAddr::V4(remote) = remote else { return Err(Error::Unaddressable.into()) };
        let udp = self.socket_for(socket)?;
        // smoltcp calls that a full buffer too, and the caller would wait for space indefinitely.
        if buffer.len() > LONGEST.min(udp.payload_send_capacity()) {
            return Err(Error::TooLong.into());
        }
        udp.send_slice(buffer, IpEndpoint::from(remote)).map_err(|e| match e {
            udp::SendError::BufferFull => nb::Error::WouldBlock,
            udp::SendError::Unaddressable => Error::Unaddressable.into(),
        })
    }
}
