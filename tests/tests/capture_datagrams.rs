//! `--pcap` and `--html` of datagrams: what the files contain.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use socklab_tests::program::{Program, STOP, Server, client};

/// A datagram of a capture.
#[derive(Debug, PartialEq, Eq)]
struct Captured {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

/// Returns the sum of the big-endian 16-bit words as the Internet checksum has it: RFC 1071.
fn sum(bytes: &[u8]) -> u32 {
    let word = |word: &[u8]| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from);
    bytes.chunks(2).map(word).sum()
}

/// Reads a capture, and checks lengths and checksums.
fn captured(path: &str) -> Vec<Captured> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut all = Vec::new();
    while let [head @ .., _] = rest
        && head.len() > 16
    {
        let size = u32::from_le_bytes(number(&rest[8..12])) as usize;
        assert_eq!(rest[8..12], rest[12..16], "the whole packet");
        let (packet, tail) = rest[16..].split_at(size);
        rest = tail;
        let (header, addrs) = match packet[0] >> 4 {
            4 => {
                assert_eq!(
                    (packet[9], u16::from_be_bytes(number(&packet[2..4]))),
                    (17, size as u16)
                );
                (20, &packet[12..20])
            }
            _ => {
                assert_eq!(packet[6], 17);
                assert_eq!(usize::from(u16::from_be_bytes(number(&packet[4..6]))), size - 40);
                (40, &packet[8..40])
            }
        };
        let udp = &packet[header..];
        assert_eq!(usize::from(u16::from_be_bytes(number(&udp[4..6]))), udp.len());
        let mut total = sum(addrs) + 17 + udp.len() as u32 + sum(udp);
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        assert_eq!(total, 0xffff, "checksum");
        let (source, destination) = addrs.split_at(addrs.len() / 2);
        let addr = |ip: &[u8], port: &[u8]| {
            let ip = match ip.len() {
                4 => IpAddr::from(number::<4>(ip)),
                _ => IpAddr::from(number::<16>(ip)),
            };
            SocketAddr::new(ip, u16::from_be_bytes(number(port)))
        };
        let (from, to) = (addr(source, &udp[..2]), addr(destination, &udp[2..4]));
        all.push(Captured { from, to, bytes: udp[8..].to_vec() });
    }
    all
}

/// Addresses to bind: IPv4, all of them, and IPv6 if the system has it.
fn addresses() -> Vec<&'static str> {
    let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"]
        .into_iter()
        .take(if has_ipv6 { 4 } else { 2 })
        .collect()
}

#[test]
fn both_ends_capture_the_same_datagrams_with_real_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let long = "x".repeat(2000);
    for bind in addresses() {
        let [server_path, client_path] = [path("server.pcap"), path("client.pcap")];
        let listen = format!("{bind}:0");
        let args = ["udp", "server", &listen, "--pcap", &server_path];
        let server = Server::from_program(Program::socklab(&args));
        let host =
            if bind == "[::1]" { IpAddr::from(Ipv6Addr::LOCALHOST) } else { [127, 0, 0, 1].into() };
        let addr = SocketAddr::new(host, server.addr.port());
        let args = ["", "odd", &long, "--pcap", &client_path];
        client("udp", addr, &args).run().success();
        server.process.signal(STOP);
        server.process.finish().success();
        let (by_client, by_server) = (captured(&client_path), captured(&server_path));
        assert_eq!(by_client, by_server, "{bind}");
        let local = by_client[0].from;
        assert!(!local.ip().is_unspecified(), "{bind}: {local}");
        let rest = &long.as_bytes()[10..];
        let expected: [(_, &[u8]); 6] = [
            (local, b""),
            (addr, b""),
            (local, b"odd"),
            (addr, b""),
            (local, long.as_bytes()),
            (addr, rest),
        ];
        let found: Vec<_> = by_client.iter().map(|d| (d.from, d.bytes.as_slice())).collect();
        assert_eq!(found, expected, "{bind}");
        assert_no_warning(&client_path);
    }
}

/// Checks that tshark finds datagrams with good checksums, and has no warning. Without tshark nothing is checked.
fn assert_no_warning(path: &str) {
    if !cfg!(tshark) || cfg!(feature = "windows") {
        return;
    }
    let tshark = |args: &[&str]| {
        let checks = ["-r", path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
        let finished = Program::new("tshark", &[&checks, args].concat()).run();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        String::from_utf8(finished.stdout).unwrap()
    };
    assert_eq!(tshark(&["-Y", "_ws.expert.severity >= 0x600000 || _ws.malformed"]), "");
    let status = tshark(&["-T", "fields", "-e", "udp.checksum.status"]);
    assert!(status.lines().all(|status| status == "1"), "{status}");
    assert_eq!(status.lines().count(), 6);
}

#[test]
fn a_page_has_a_row_for_each_datagram_and_each_time_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.html").to_str().unwrap().to_owned();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = peer.local_addr().unwrap();
    let args = ["Four score", "--timeout", "1s", "--html", &path];
    let process = client("udp", addr, &args).start();
    let mut buffer = [0; 100];
    peer.recv_from(&mut buffer).unwrap();
    let (_, from) = peer.recv_from(&mut buffer).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"stranger", from).unwrap();
    process.wait_for(": ignored");
    peer.send_to(b"", from).unwrap();
    process.finish().success();
    let page = fs::read_to_string(&path).unwrap();
    let sent = "datagram of 10 &quot;Four score&quot;";
    let rows = [sent, "no reply within 1s, sent again", sent, "empty datagram"];
    let mut rest = page.as_str();
    for row in rows {
        let (_, tail) = rest.split_once(row).unwrap_or_else(|| panic!("no {row} in {rest}"));
        rest = tail;
    }
    assert!(page.contains("datagram of 8 &quot;stranger&quot;"), "{page}");
    assert!(page.contains("2 conversations") && !page.contains("connection"), "{page}");
    assert!(page.contains(&addr.to_string()) && page.contains(&from.to_string()), "{page}");
}
