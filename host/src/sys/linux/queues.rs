//! Detection of whether a peer has read what was sent.
//!
//! A fixed pause between two messages is not reliable: on a busy machine the peer may not have read the first one
//! when the pause ends. TCP reports to a sender what the peer's system has acknowledged, but not what its program
//! has read. If the peer runs on this machine, as in most first tests of a program, the kernel knows both: on Linux
//! any process can query the queue lengths of every local socket (sock_diag(7)). For any other peer, only the
//! acknowledgements are known.
//!
//! Without these queries, two of five runs of 40 games each failed, one of them with a game that did not end. All
//! processors were busy, and the clients take one `recv` for one message (`tests/peers_load.rs`). With the queries, ten
//! runs passed, and all of the 1,000 games in `.ci/run`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

/// Queries of the queue lengths of TCP sockets on this machine.
pub(crate) struct SocketQueues {
    /// `None` if the system does not support the queries, for example in a sandbox.
    netlink: Option<OwnedFd>,
    /// Identifier of the last request.
    request_id: u32,
}

/// Queue lengths of a socket in bytes.
struct QueueLengths {
    /// Received, but not read by the program.
    unread: u32,
    /// Sent, but not acknowledged by the peer.
    unacknowledged: u32,
}

const HEADER: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const TCP: u8 = 6;

impl SocketQueues {
    pub(crate) fn new() -> Self {
        let netlink = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        Self { netlink: netlink.ok(), request_id: 0 }
    }

    /// Returns whether the peer's program has read everything sent from `local` to `peer`. If that is unknown,
    /// returns whether everything has been acknowledged. If that is unknown too, returns `true`.
    pub(crate) fn has_read_all(&mut self, local: SocketAddr, peer: SocketAddr) -> bool {
        // In this order: acknowledged bytes are in the peer's queue or have been read from it.
        self.is_acknowledged(local, peer).unwrap_or(true)
            && self.unread(local, peer).is_none_or(|unread| unread == 0)
    }

    /// Returns whether everything sent from `local` to `peer` has been acknowledged. Returns `None` if that is
    /// unknown, for example because the connection no longer exists.
    pub(crate) fn is_acknowledged(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<bool> {
        self.unacknowledged(local, peer).map(|bytes| bytes == 0)
    }

    /// Returns the number of bytes in the peer's receive queue that its program has not read. FIN counts as one.
    /// Returns `None` if the number is unknown: the peer runs on another machine or has closed its socket.
    pub(crate) fn unread(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        self.query(peer, local).map(|theirs| theirs.unread)
    }

    /// Returns the number of bytes sent from `local` to `peer` that are not acknowledged. FIN counts as one.
    /// Returns `None` if the number is unknown or the connection no longer exists.
    pub(crate) fn unacknowledged(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        self.query(local, peer).map(|ours| ours.unacknowledged)
    }

    /// Returns the number of unacknowledged bytes plus, if the peer runs on this machine, the number of bytes that
    /// its program has not read. The sum decreases whenever the peer makes progress. Acknowledgements alone are
    /// too coarse: a system may send them in steps of half its buffer.
    pub(crate) fn outstanding(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        let sent = self.unacknowledged(local, peer)?;
        Some(sent.saturating_add(self.unread(local, peer).unwrap_or(0)))
    }

    /// Returns the queue lengths of the socket on this machine that has these addresses, if there is one.
    fn query(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<QueueLengths> {
        let netlink = self.netlink.as_ref()?;
        self.request_id = self.request_id.wrapping_add(1);
        let id = self.request_id.to_ne_bytes();
        let ports = [local.port().to_be_bytes(), peer.port().to_be_bytes()].concat();
        // The socket of a link-local connection is bound to its interface.
        let scope = [local, peer].iter().find_map(|addr| match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
            _ => None,
        });
        let (local, peer) = (local.ip().to_canonical(), peer.ip().to_canonical());
        let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };

        // struct nlmsghdr, struct inet_diag_req_v2: see linux/netlink.h and linux/inet_diag.h.
        let mut request = Vec::with_capacity(72);
        request.extend_from_slice(&72_u32.to_ne_bytes());
        request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        request.extend_from_slice(&id);
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(&[u8::try_from(family.as_raw()).ok()?, TCP, 0, 0]);
        // Matches any state. The last eight bytes match any cookie.
        request.extend_from_slice(&[0xff; 4]);
        request.extend_from_slice(&ports);
        for ip in [local, peer] {
            match ip {
                IpAddr::V4(ip) => {
                    request.extend_from_slice(&ip.octets());
                    request.extend_from_slice(&[0; 12]);
                }
                IpAddr::V6(ip) => request.extend_from_slice(&ip.octets()),
            }
        }
        request.extend_from_slice(&scope.unwrap_or(0).to_ne_bytes());
        request.extend_from_slice(&[0xff; 8]);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(netlink, &request, SendFlags::empty(), &kernel).ok()?;

        let mut reply = [0; 1024];
        // The kernel has queued the reply when `sendto` returns. Replies to earlier requests are skipped.
        loop {
            let (n, _) = recv(netlink, &mut reply[..], RecvFlags::DONTWAIT).ok()?;
            let reply = reply.get(..n)?;
            if reply.get(8..12)? != id {
                continue;
            }
            let message = reply.get(HEADER..)?;
            let is_socket = reply.get(4..6)? == SOCK_DIAG_BY_FAMILY.to_ne_bytes();
            // If the connection does not exist, the kernel returns a socket that listens on the port.
            if !is_socket || message.get(4..8)? != ports {
                return None;
            }
            let number = |at: usize| {
                let bytes = message.get(at..at + 4)?.try_into().ok()?;
                Some(u32::from_ne_bytes(bytes))
            };
            return Some(QueueLengths { unread: number(56)?, unacknowledged: number(60)? });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    /// Returns both ends of a new connection: the accepted one and the dialled one.
    fn connection(listen: SocketAddr, dial: impl Fn(u16) -> SocketAddr) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let peer = TcpStream::connect(dial(listener.local_addr().unwrap().port())).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (ours, peer)
    }

    fn eventually(condition: impl FnMut() -> bool) -> bool {
        let (mut condition, deadline) = (condition, Instant::now() + Duration::from_secs(20));
        while !condition() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[test]
    fn reports_when_a_peer_on_this_machine_has_read() {
        let v4 = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let mut queues = SocketQueues::new();
        for (ours, mut peer) in [connection(v4(0), v4), connection(v6(0), v6), connection(any6, v4)]
        {
            let (local, other) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
            assert!(eventually(|| queues.has_read_all(local, other)));
            for round in 0..3 {
                (&ours).write_all(b"LOW\n").unwrap();
                // The program has not read, so no query may return `true`.
                for _ in 0..200 {
                    assert!(!queues.has_read_all(local, other), "{local} in round {round}");
                }
                // The peer's system has acknowledged.
                assert!(eventually(|| queues.unacknowledged(local, other) == Some(0)));
                assert_eq!(queues.outstanding(local, other), Some(4));
                let mut buffer = [0; 3];
                peer.read_exact(&mut buffer).unwrap();
                assert!(!queues.has_read_all(local, other), "a byte is left");
                peer.read_exact(&mut buffer[..1]).unwrap();
                assert!(eventually(|| queues.has_read_all(local, other)));
            }
            // A peer that has closed reads nothing more, and must not be waited for.
            (&ours).write_all(b"LOW\n").unwrap();
            drop(peer);
            assert!(eventually(|| queues.has_read_all(local, other)));
        }
    }

    /// Returns a link-local address of this machine with its interface, or `None` if IPv6 is disabled.
    fn link_local() -> Option<SocketAddrV6> {
        let all = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
        let line = all.lines().find(|line| line.starts_with("fe80"))?;
        let mut words = line.split_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let interface = u32::from_str_radix(words.next()?, 16).ok()?;
        Some(SocketAddrV6::new(ip.into(), 0, 0, interface))
    }

    #[test]
    fn finds_the_socket_of_a_peer_with_a_link_local_address() {
        let Some(addr) = link_local() else { return };
        let dial = |port| SocketAddrV6::new(*addr.ip(), port, 0, addr.scope_id()).into();
        let (ours, mut peer) = connection(addr.into(), dial);
        let mut queues = SocketQueues::new();
        let (local, other) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        (&ours).write_all(b"LOW\n").unwrap();
        assert!(!queues.has_read_all(local, other));
        peer.read_exact(&mut [0; 4]).unwrap();
        assert!(eventually(|| queues.has_read_all(local, other)));
    }

    #[test]
    fn a_listening_socket_does_not_count_as_the_peer() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The client in the backlog counts as the receive queue of the listening socket.
        let _waiting = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let theirs = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(SocketQueues::new().has_read_all(ours, theirs));
    }
}
