//! Whether a peer has read what it was sent.
//!
//! A pause between two messages is a bet that the peer reads the first one meanwhile, and a busy
//! machine loses it. TCP tells a sender what the peer's system has, never what its program has
//! read. But the system knows that of its own sockets, and where a peer runs on this machine,
//! which is where people try their programs out, its socket is one of them: Linux tells the
//! lengths of a socket's queues (sock_diag(7)) to anybody. For any other peer all that can be
//! known is that its system has the bytes.

#[cfg(target_os = "linux")]
pub(super) use linux::Reads;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Reads;

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::OwnedFd;

    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
        socket_with,
    };

    /// Asks the system about sockets.
    pub(in crate::net) struct Reads {
        /// None where the system does not answer, a sandbox say.
        netlink: Option<OwnedFd>,
        asked: u32,
    }

    /// What waits in a socket, in bytes.
    struct Queues {
        /// Received and not read by the program.
        unread: u32,
        /// Sent, and not acknowledged by the other system.
        unacknowledged: u32,
    }

    const HEADER: usize = 16;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const TCP: u8 = 6;

    impl Reads {
        pub(in crate::net) fn new() -> Self {
            let netlink = socket_with(
                AddressFamily::NETLINK,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC,
                Some(netlink::SOCK_DIAG),
            );
            Self { netlink: netlink.ok(), asked: 0 }
        }

        /// Whether the peer's program has read all that was sent from `local` to `peer`; where that
        /// cannot be known, whether its system has it. True also when nothing can be known.
        pub(in crate::net) fn has_all(&mut self, local: SocketAddr, peer: SocketAddr) -> bool {
            // In this order: what is acknowledged now is in the peer's queue, or has left it.
            self.is_acknowledged(local, peer).unwrap_or(true)
                && self.unread(local, peer).is_none_or(|unread| unread == 0)
        }

        /// Whether the peer's system has acknowledged all that was sent from `local` to `peer`. `None`
        /// when that cannot be known: the connection is gone, say.
        pub(in crate::net) fn is_acknowledged(
            &mut self,
            local: SocketAddr,
            peer: SocketAddr,
        ) -> Option<bool> {
            self.unacknowledged(local, peer).map(|bytes| bytes == 0)
        }

        /// How many bytes the peer's system has that its program has not read; the end of the stream counts
        /// as one. `None` when that cannot be known: it runs elsewhere, say, or has closed.
        pub(in crate::net) fn unread(
            &mut self,
            local: SocketAddr,
            peer: SocketAddr,
        ) -> Option<u32> {
            self.queues(peer, local).map(|theirs| theirs.unread)
        }

        /// Number of bytes sent from `local` to `peer` that the peer's system has not acknowledged, the
        /// end of the stream counting as one. `None`: not known, or the connection is gone.
        pub(in crate::net) fn unacknowledged(
            &mut self,
            local: SocketAddr,
            peer: SocketAddr,
        ) -> Option<u32> {
            self.queues(local, peer).map(|ours| ours.unacknowledged)
        }

        /// The same and, if the peer runs on this machine, what its program has not read: it becomes less
        /// whenever the peer makes progress. A system may acknowledge in steps of half its buffer.
        pub(in crate::net) fn outstanding(
            &mut self,
            local: SocketAddr,
            peer: SocketAddr,
        ) -> Option<u32> {
            let sent = self.unacknowledged(local, peer)?;
            Some(sent.saturating_add(self.unread(local, peer).unwrap_or(0)))
        }

        /// The queues of this machine's socket with these two addresses, if there is one.
        fn queues(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<Queues> {
            let netlink = self.netlink.as_ref()?;
            self.asked = self.asked.wrapping_add(1);
            let id = self.asked.to_ne_bytes();
            let ports = [local.port().to_be_bytes(), peer.port().to_be_bytes()].concat();
            // A link-local connection is bound to its interface.
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
            // In any state; below, of any cookie.
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
            // The answer is there when the question has been sent. One of an earlier question,
            // which was not waited for, is passed over.
            loop {
                let (n, _) = recv(netlink, &mut reply[..], RecvFlags::DONTWAIT).ok()?;
                let reply = reply.get(..n)?;
                if reply.get(8..12)? != id {
                    continue;
                }
                let message = reply.get(HEADER..)?;
                let is_socket = reply.get(4..6)? == SOCK_DIAG_BY_FAMILY.to_ne_bytes();
                // The system falls back to a socket that listens on the port: it has no peer.
                if !is_socket || message.get(4..8)? != ports {
                    return None;
                }
                let number = |at: usize| {
                    let bytes = message.get(at..at + 4)?.try_into().ok()?;
                    Some(u32::from_ne_bytes(bytes))
                };
                return Some(Queues { unread: number(56)?, unacknowledged: number(60)? });
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::net::SocketAddr;

    /// Here nothing can be known.
    pub(in crate::net) struct Reads;

    impl Reads {
        pub(in crate::net) fn new() -> Self {
            Self
        }

        pub(in crate::net) fn has_all(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
            true
        }

        pub(in crate::net) fn is_acknowledged(
            &mut self,
            _: SocketAddr,
            _: SocketAddr,
        ) -> Option<bool> {
            None
        }

        pub(in crate::net) fn unread(&mut self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
            None
        }

        pub(in crate::net) fn unacknowledged(
            &mut self,
            _: SocketAddr,
            _: SocketAddr,
        ) -> Option<u32> {
            None
        }

        pub(in crate::net) fn outstanding(&mut self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
            None
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    /// A connection: the end that was accepted, and the other.
    fn connection(listen: SocketAddr, dial: impl Fn(u16) -> SocketAddr) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let peer = TcpStream::connect(dial(listener.local_addr().unwrap().port())).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (ours, peer)
    }

    fn eventually(what: impl FnMut() -> bool) -> bool {
        let (mut what, deadline) = (what, Instant::now() + Duration::from_secs(20));
        while !what() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[test]
    fn tells_when_a_peer_of_this_machine_has_read() {
        let v4 = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let mut reads = Reads::new();
        for (ours, mut peer) in [connection(v4(0), v4), connection(v6(0), v6), connection(any6, v4)]
        {
            let (local, other) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
            assert!(eventually(|| reads.has_all(local, other)));
            for round in 0..3 {
                (&ours).write_all(b"LOW\n").unwrap();
                // However often it is asked: the program has not read.
                for _ in 0..200 {
                    assert!(!reads.has_all(local, other), "{local} in round {round}");
                }
                // Its system has.
                assert!(eventually(|| reads.unacknowledged(local, other) == Some(0)));
                assert_eq!(reads.outstanding(local, other), Some(4));
                let mut room = [0; 3];
                peer.read_exact(&mut room).unwrap();
                assert!(!reads.has_all(local, other), "a byte is left");
                peer.read_exact(&mut room[..1]).unwrap();
                assert!(eventually(|| reads.has_all(local, other)));
            }
            // A peer that has gone reads nothing more, and holds nobody up.
            (&ours).write_all(b"LOW\n").unwrap();
            drop(peer);
            assert!(eventually(|| reads.has_all(local, other)));
        }
    }

    /// A link-local address of this machine, with its interface: IPv6 may be off.
    fn link_local() -> Option<SocketAddrV6> {
        let all = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
        let line = all.lines().find(|line| line.starts_with("fe80"))?;
        let mut words = line.split_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let interface = u32::from_str_radix(words.next()?, 16).ok()?;
        Some(SocketAddrV6::new(ip.into(), 0, 0, interface))
    }

    #[test]
    fn tells_of_a_peer_at_a_link_local_address() {
        let Some(addr) = link_local() else { return };
        let dial = |port| SocketAddrV6::new(*addr.ip(), port, 0, addr.scope_id()).into();
        let (ours, mut peer) = connection(addr.into(), dial);
        let mut reads = Reads::new();
        let (local, other) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        (&ours).write_all(b"LOW\n").unwrap();
        assert!(!reads.has_all(local, other));
        peer.read_exact(&mut [0; 4]).unwrap();
        assert!(eventually(|| reads.has_all(local, other)));
    }

    #[test]
    fn a_socket_that_listens_is_no_peer() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // In its backlog one waits, which counts as its queue.
        let _waiting = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let theirs = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(Reads::new().has_all(ours, theirs));
    }
}
