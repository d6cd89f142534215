//! Datagram sockets of Linux.

use std::os::fd::AsFd as _;

use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::{RecvFlags, recv};

/// Makes a socket that is not connected report that a datagram did not arrive. Returns whether it does.
pub(crate) fn report_unreachable(socket: &UdpSocket) -> bool {
    let is_ipv6 = socket.local_addr().is_ok_and(|addr| addr.is_ipv6());
    let set = match is_ipv6 {
        true => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
        false => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
    };
    set.is_ok()
}

/// Removes the reports that have been returned as errors. They occupy the memory in which datagrams are received.
pub(crate) fn clear_reports(socket: &UdpSocket) {
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    while recv(socket.as_fd(), &mut [0_u8; 1], flags).is_ok() {}
}
