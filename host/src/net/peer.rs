use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A peer's address in 18 bytes: `SocketAddr` takes 32, in every slot of ten thousand.
///
/// Noted at accept, since after a reset the system no longer knows it. A flow label is dropped,
/// and a scope: a link-local peer is shown without its interface.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    ip: [u8; 16],
    port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { ip: ip.octets(), port: addr.port() }
    }
}

impl From<Peer> for SocketAddr {
    /// An IPv4 peer of an IPv6 listener comes out as what it is.
    fn from(peer: Peer) -> Self {
        Self::new(Ipv6Addr::from(peer.ip).to_canonical(), peer.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_and_a_mapped_one_as_ipv4() {
        for (from, to) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("[::ffff:10.0.0.1]:65535", "10.0.0.1:65535"),
        ] {
            let peer = Peer::from(from.parse::<SocketAddr>().unwrap());
            assert_eq!(SocketAddr::from(peer).to_string(), to);
        }
    }
}
