use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use slab::Slab;

/// Address of a peer in 6 bytes: an IPv4 address with its port, or the key of any other address in [`Peers`].
/// `SocketAddr` has 32 bytes, and each of ten thousand slots contains one.
///
/// It is stored at accept, since the system no longer knows it after a reset.
pub(super) struct Peer {
    /// The IPv4 address, or the key.
    ip: Ipv4Addr,
    /// 0 if `ip` contains a key.
    port: u16,
}

/// Addresses of peers that do not fit a [`Peer`].
#[derive(Default)]
pub(super) struct Peers(Slab<Packed>);

impl Peers {
    /// Returns the number of stored addresses that do not fit in a [`Peer`].
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Stores an address. An IPv4-mapped address becomes an IPv4 address.
    pub(super) fn insert(&mut self, addr: SocketAddr) -> Peer {
        match unmapped(addr) {
            SocketAddr::V4(v4) if v4.port() != 0 => Peer { ip: *v4.ip(), port: v4.port() },
            other => {
                let key = self.0.insert(other.into());
                // A process cannot have 2^32 connections.
                Peer { ip: u32::try_from(key).unwrap_or(u32::MAX).into(), port: 0 }
            }
        }
    }

    /// Returns the address of a peer.
    pub(super) fn get(&self, peer: &Peer) -> SocketAddr {
        match peer {
            Peer { ip, port: 0 } => match self.0.get(key(*ip)) {
                Some(packed) => (*packed).into(),
                // Unreachable: an address is removed with its slot.
                None => SocketAddr::new((*ip).into(), 0),
            },
            Peer { ip, port } => SocketAddr::new((*ip).into(), *port),
        }
    }

    /// Removes the address of a peer.
    pub(super) fn remove(&mut self, peer: &Peer) {
        if peer.port == 0 {
            self.0.try_remove(key(peer.ip));
        }
    }
}

const fn key(ip: Ipv4Addr) -> usize {
    ip.to_bits() as usize
}

/// Address in 18 bytes.
///
/// The flow label is dropped. The scope
/// of a link-local address (the number of its interface) is stored in the 54 bits that must be zero according to
/// RFC 4291, section 2.5.6. If these bits are not zero, the scope is dropped.
#[derive(Clone, Copy)]
struct Packed {
    ip: [u8; 16],
    port: u16,
}

/// First 8 bytes of a link-local address.
const LINK_LOCAL: [u8; 8] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
/// First bytes of a stored link-local address whose next four bytes are its scope.
const SCOPED: [u8; 4] = [0xfe, 0xbf, 0xff, 0xff];

impl From<SocketAddr> for Packed {
    fn from(addr: SocketAddr) -> Self {
        let (ip, scope) = match addr {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        let mut ip = ip.octets();
        if scope != 0 && ip.starts_with(&LINK_LOCAL) {
            ip[..4].copy_from_slice(&SCOPED);
            ip[4..8].copy_from_slice(&scope.to_be_bytes());
        }
        Self { ip, port: addr.port() }
    }
}

impl From<Packed> for SocketAddr {
    /// Returns the address of the peer. An IPv4-mapped address becomes an IPv4 address.
    fn from(Packed { mut ip, port }: Packed) -> Self {
        let mut scope = 0;
        if let Some([a, b, c, d, ..]) = ip.strip_prefix(&SCOPED) {
            scope = u32::from_be_bytes([*a, *b, *c, *d]);
            ip[..8].copy_from_slice(&LINK_LOCAL);
        }
        unmapped(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
    }
}

/// Converts an IPv4-mapped IPv6 address to IPv4. Any other address is returned unchanged, with its scope.
pub(crate) fn unmapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_preserved_and_a_mapped_one_becomes_ipv4() {
        let mut peers = Peers::default();
        let mut all = Vec::new();
        for (from, to) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.1:0", "0.0.0.1:0"),
            ("255.255.255.255:65535", "255.255.255.255:65535"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("[::ffff:10.0.0.1]:65535", "10.0.0.1:65535"),
            ("[fe80::1%2]:80", "[fe80::1%2]:80"),
            ("[fe80::fc:ff:fe00:1%4294967295]:80", "[fe80::fc:ff:fe00:1%4294967295]:80"),
            ("[fe80::1]:80", "[fe80::1]:80"),
            ("[fe80:1::1%2]:80", "[fe80:1::1]:80"),
            ("[2001:db8::1%7]:80", "[2001:db8::1]:80"),
        ] {
            all.push((peers.insert(from.parse().unwrap()), to));
        }
        for (peer, to) in all {
            assert_eq!(peers.get(&peer).to_string(), to);
            peers.remove(&peer);
        }
        assert!(peers.0.is_empty());
    }
}
