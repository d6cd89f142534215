//! The first bytes of a connection from a balancer, as `--proxy-protocol` reads them.
//!
//! Invariant: nothing panics. A result does not change when more bytes come, so a header that arrives in pieces is the same
//! header. A header is never longer than allowed, and without one the wait ends after as many bytes. A header that is built
//! here from the input is parsed to its addresses, and the bytes after it are left alone.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use socklab::net::{ProxyHeader, ProxyOrigin};
use socklab_tests::draw::Draw;

/// Checks every prefix.
fn check(bytes: &[u8]) {
    let mut result = Ok(None);
    // Beyond the longest header nothing may be undecided.
    for length in 0..=bytes.len().min(ProxyHeader::MAX + 8) {
        let parsed = ProxyHeader::parse(&bytes[..length]);
        if result == Ok(None) {
            result = parsed;
        }
        assert_eq!(parsed, result, "{length}");
        match parsed {
            Ok(None) => assert!(length < ProxyHeader::MAX),
            Ok(Some(header)) => assert!(header.length <= length.min(ProxyHeader::MAX)),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
    assert_eq!(ProxyHeader::parse(bytes), result);
}

fn bytes<const N: usize>(draw: &mut Draw<'_>) -> [u8; N] {
    std::array::from_fn(|_| draw.byte())
}

/// Builds a header of one of the versions for these addresses.
fn build(is_binary: bool, source: SocketAddr, destination: SocketAddr, fields: &[u8]) -> Vec<u8> {
    let is_v4 = source.is_ipv4();
    let (ip, port) = (source.ip(), source.port());
    let (to, to_port) = (destination.ip(), destination.port());
    if !is_binary {
        let family = if is_v4 { 4 } else { 6 };
        return format!("PROXY TCP{family} {ip} {to} {port} {to_port}\r\n").into_bytes();
    }
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let block = [&octets(ip)[..], &octets(to), &port.to_be_bytes(), &to_port.to_be_bytes(), fields]
        .concat();
    let family = if is_v4 { 0x11 } else { 0x21 };
    let length = (block.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family], &length, &block].concat()
}

fuzz_target!(|data: &[u8]| {
    check(data);

    let mut draw = Draw::new(data);
    let choice = draw.byte();
    let address = |draw: &mut Draw<'_>| {
        let port = u16::from_be_bytes(bytes(draw));
        match choice & 1 {
            0 => SocketAddr::from((bytes::<4>(draw), port)),
            _ => SocketAddr::from((bytes::<16>(draw), port)),
        }
    };
    let (source, destination) = (address(&mut draw), address(&mut draw));
    let text = draw.text();
    let text = &text[..text.len().min(128)];
    let fields = [&[0x05, 0, text.len() as u8][..], text].concat();
    let header = build(choice & 2 != 0, source, destination, &fields);
    let rest = draw.rest();
    let whole = [&header[..], rest].concat();
    let parsed = ProxyHeader::parse(&whole).unwrap().expect("a whole header");
    assert_eq!(parsed.length, header.len());
    assert_eq!(parsed.origin, ProxyOrigin::Client { source, destination });
    check(&whole);
});
