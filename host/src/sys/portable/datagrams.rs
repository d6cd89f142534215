//! Fallbacks for functions of datagram sockets that only Linux has.

use mio::net::UdpSocket;

use crate::sys::datagrams::REPORTS_UNREACHABLE;

/// Returns whether a socket that is not connected reports that a datagram did not arrive.
pub(crate) const fn report_unreachable(_: &UdpSocket) -> bool {
    REPORTS_UNREACHABLE
}

/// Does nothing: a report is removed by the call that returns it.
pub(crate) const fn clear_reports(_: &UdpSocket) {}
