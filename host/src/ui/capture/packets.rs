//! The packets of a capture, as a classic pcap with nanoseconds whose packets start with the IP header (`LINKTYPE_RAW`).

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::{Key, Owned, Record};
use crate::proxy::Flow;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Binary logarithm of the unit of the window. With it the window is larger than any write.
const WINDOW_SCALE: u8 = 7;
/// Largest packet, as on Ethernet.
const MTU: usize = 1500;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// Numbers of the protocols in a header of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Writer of the file.
pub(super) struct Writer<W> {
    out: W,
    conversations: HashMap<Key, Conversation>,
    /// Number of the next IPv4 packet.
    id: u16,
    packet: Vec<u8>,
}

/// The two ends of a connection: first the client, then the server.
struct Conversation {
    addrs: [SocketAddr; 2],
    /// Next sequence number of each.
    next: [u32; 2],
}

impl Conversation {
    fn new(addrs: [SocketAddr; 2]) -> Self {
        let addrs = match addrs {
            [SocketAddr::V4(_), SocketAddr::V4(_)] => addrs,
            // A packet has one version of IP. IPv4 addresses can be written as IPv6 ones.
            _ => addrs.map(|addr| match addr.ip() {
                IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
                IpAddr::V6(_) => addr,
            }),
        };
        Self { addrs, next: [0; 2] }
    }

    fn header_size(&self) -> usize {
        if self.addrs[0].is_ipv4() { 20 } else { 40 }
    }

    /// Largest payload of a segment.
    fn mss(&self) -> usize {
        MTU - TCP_HEADER - self.header_size()
    }
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        /// Packets start with the IP header.
        const LINKTYPE_RAW: u32 = 101;
        let mut header = Vec::new();
        // Times have nanoseconds.
        header.extend(0xa1b2_3c4d_u32.to_le_bytes());
        header.extend([2_u16, 4].map(u16::to_le_bytes).as_flattened());
        header.extend([0, 0, 65_535, LINKTYPE_RAW].map(u32::to_le_bytes).as_flattened());
        out.write_all(&header)?;
        Ok(Self { out, conversations: HashMap::new(), id: 0, packet: Vec::new() })
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        let Record { time, key, addrs, event } = record;
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if let Owned::Datagram(flow, bytes) = event {
            let [client, server] = Conversation::new(*addrs).addrs;
            let addrs = match flow {
                Flow::Up => [client, server],
                Flow::Down => [server, client],
            };
            return self.datagram(time, addrs, bytes);
        }
        let mut ends = match self.conversations.remove(key) {
            // The address may have changed, after another one did not answer.
            Some(ends) if !matches!(event, Owned::Connected) => ends,
            Some(old) => {
                let new = Conversation::new(*addrs);
                if old.addrs != new.addrs {
                    let syn = &mut Conversation::new(*addrs);
                    self.packet(time, syn, 0, SYN, &[])?;
                }
                Conversation { next: old.next, ..new }
            }
            None => Conversation::new(*addrs),
        };
        match event {
            Owned::Opened => self.packet(time, &mut ends, 0, SYN, &[])?,
            Owned::Connected => {
                self.packet(time, &mut ends, 1, SYN | ACK, &[])?;
                self.packet(time, &mut ends, 0, ACK, &[])?;
            }
            Owned::Moved(flow, bytes) => {
                let from = *flow as usize;
                let mut segments = bytes.chunks(ends.mss()).peekable();
                while let Some(segment) = segments.next() {
                    let push = if segments.peek().is_none() { PSH } else { 0 };
                    self.packet(time, &mut ends, from, push | ACK, segment)?;
                }
                self.packet(time, &mut ends, 1 - from, ACK, &[])?;
            }
            Owned::Closed(flow) => {
                let from = *flow as usize;
                self.packet(time, &mut ends, from, FIN | ACK, &[])?;
                self.packet(time, &mut ends, 1 - from, ACK, &[])?;
            }
            Owned::Ended(reset) => {
                if let Some(side) = reset {
                    self.packet(time, &mut ends, *side as usize, RST | ACK, &[])?;
                }
                return Ok(());
            }
            // They have no connection.
            Owned::Datagram(..) => return Ok(()),
        }
        self.conversations.insert(*key, ends);
        Ok(())
    }

    /// Writes a packet from one end to the other.
    fn packet(
        &mut self,
        time: Duration,
        ends: &mut Conversation,
        from: usize,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let options: &[u8] = if flags & SYN == 0 {
            &[]
        } else {
            let mss = ends.mss().to_be_bytes();
            let [.., high, low] = mss;
            // Maximum segment size; no operation; window scale.
            &[2, 4, high, low, 1, 3, 3, WINDOW_SCALE]
        };
        let (source, destination) = (ends.addrs[from], ends.addrs[1 - from]);
        let length = TCP_HEADER + options.len() + payload.len();
        let (sequence, acknowledged) = (ends.next[from], ends.next[1 - from]);
        let acknowledged = if flags & ACK == 0 { 0 } else { acknowledged };

        let pseudo = self.start_packet(source, destination, TCP, length);
        let packet = &mut self.packet;
        let start = packet.len();
        packet.extend(source.port().to_be_bytes());
        packet.extend(destination.port().to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend(acknowledged.to_be_bytes());
        let words = u8::try_from((TCP_HEADER + options.len()) / 4).unwrap_or(u8::MAX);
        packet.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(options);
        packet.extend(payload);
        let checksum = checksum(pseudo + sum(&packet[start..])).to_be_bytes();
        packet[start + 16..start + 18].copy_from_slice(&checksum);

        let counted = payload.len() + usize::from(flags & (SYN | FIN) != 0);
        ends.next[from] = sequence.wrapping_add(u32::try_from(counted).unwrap_or(u32::MAX));

        self.write_packet(time)
    }

    /// Writes a datagram of UDP (RFC 768).
    fn datagram(
        &mut self,
        time: Duration,
        [source, destination]: [SocketAddr; 2],
        payload: &[u8],
    ) -> io::Result<()> {
        let length = UDP_HEADER + payload.len();
        let pseudo = self.start_packet(source, destination, UDP, length);
        let packet = &mut self.packet;
        let start = packet.len();
        packet.extend(source.port().to_be_bytes());
        packet.extend(destination.port().to_be_bytes());
        packet.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        // 0 would mean that there is none.
        let checksum = match checksum(pseudo + sum(&packet[start..])) {
            0 => 0xffff,
            checksum => checksum,
        };
        packet[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
        self.write_packet(time)
    }

    /// Starts a packet of `length` bytes after the header of IP. Returns the sum of the fields that the checksum of TCP or
    /// UDP covers besides these bytes: RFC 9293, section 3.1, and RFC 8200, section 8.1.
    fn start_packet(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        protocol: u8,
        length: usize,
    ) -> u64 {
        let packet = &mut self.packet;
        packet.clear();
        let addrs = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total = u16::try_from(20 + length).unwrap_or(u16::MAX).to_be_bytes();
                self.id = self.id.wrapping_add(1);
                let [id_high, id_low] = self.id.to_be_bytes();
                // Not to be fragmented, 64 hops.
                packet.extend([0x45, 0, total[0], total[1], id_high, id_low]);
                packet.extend([0x40, 0, 64, protocol, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                let checksum = checksum(sum(packet)).to_be_bytes();
                packet[10..12].copy_from_slice(&checksum);
                sum(&source.octets()) + sum(&destination.octets())
            }
            (source, destination) => {
                let octets = |ip| match ip {
                    IpAddr::V6(ip) => ip.octets(),
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                };
                let size = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
                // 64 hops.
                packet.extend([0x60, 0, 0, 0, size[0], size[1], protocol, 64]);
                packet.extend(octets(source));
                packet.extend(octets(destination));
                sum(&octets(source)) + sum(&octets(destination))
            }
        };
        addrs + u64::from(protocol) + length as u64
    }

    fn write_packet(&mut self, time: Duration) -> io::Result<()> {
        let size = u32::try_from(self.packet.len()).unwrap_or(u32::MAX);
        // The format has 32 bits, until the year 2106.
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let head = [seconds, time.subsec_nanos(), size, size].map(u32::to_le_bytes);
        self.out.write_all(head.as_flattened())?;
        self.out.write_all(&self.packet)
    }
}

/// Returns the sum of the big-endian 16-bit words, the last one filled with a zero.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let whole: u64 = words.by_ref().map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    whole + words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// Returns the Internet checksum for a sum: RFC 1071.
fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Side;

    /// Returns the packets of a conversation without the headers of the file.
    fn packets(client: &str, server: &str, events: Vec<Owned>) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
        let addrs = [client, server];
        for event in events {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            writer.record(&Record { time, key: (0, 1), addrs, event }).unwrap();
        }
        let (mut file, mut packets) = (&writer.out[24..], Vec::new());
        while let Some((head, rest)) = file.split_first_chunk::<16>() {
            let size = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
            packets.push(rest[..size].to_vec());
            file = &rest[size..];
        }
        packets
    }

    #[test]
    fn addresses_of_both_versions_make_a_packet_of_ipv6() {
        for (client, server) in [("[::1]:5", "[2001:db8::1]:80"), ("127.0.0.1:5", "[::1]:80")] {
            let moved = Owned::Moved(Flow::Up, vec![7; 1441]);
            let packets = packets(client, server, vec![Owned::Opened, Owned::Connected, moved]);
            let sizes: Vec<usize> = packets.iter().map(Vec::len).collect();
            // The largest segment, the rest, and the acknowledgement.
            assert_eq!(sizes, [68, 68, 60, 1500, 61, 60]);
            for packet in packets {
                assert_eq!(packet[0] >> 4, 6);
                let length = packet.len() as u64 - 40;
                assert_eq!(checksum(sum(&packet[8..]) + 6 + length), 0);
            }
        }
    }

    #[test]
    fn sequence_numbers_wrap_around() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let addrs = ["127.0.0.1:5", "127.0.0.1:80"].map(|addr| addr.parse().unwrap());
        let mut ends = Conversation { addrs, next: [u32::MAX - 1, 0] };
        writer.packet(Duration::ZERO, &mut ends, 0, ACK, b"abcd").unwrap();
        assert_eq!(ends.next, [2, 0]);
    }

    #[test]
    fn a_datagram_is_one_packet_with_a_checksum() {
        for (client, server, header) in
            [("127.0.0.1:5", "127.0.0.1:80", 20), ("[::1]:5", "[2001:db8::1]:80", 40)]
        {
            let sent = [vec![], b"odd".to_vec(), vec![7; 65_507]];
            let events = sent.iter().map(|bytes| Owned::Datagram(Flow::Down, bytes.clone()));
            let packets = packets(client, server, events.collect());
            for (packet, bytes) in packets.iter().zip(&sent) {
                let udp = &packet[header..];
                assert_eq!(udp[..4], [0, 80, 0, 5]);
                assert_eq!(u16::from_be_bytes([udp[4], udp[5]]) as usize, udp.len());
                assert_eq!(&udp[8..], bytes);
                let addrs = if header == 20 { &packet[12..20] } else { &packet[8..40] };
                let sum = sum(addrs) + 17 + udp.len() as u64 + sum(udp);
                assert_eq!(checksum(sum), 0);
            }
            assert_eq!(packets.len(), 3);
        }
    }

    #[test]
    fn a_server_that_refuses_resets() {
        let packets = packets(
            "127.0.0.1:5",
            "127.0.0.1:80",
            vec![Owned::Opened, Owned::Ended(Some(Side::Server))],
        );
        let flags: Vec<u8> = packets.iter().map(|packet| packet[33]).collect();
        assert_eq!(flags, [SYN, RST | ACK]);
    }
}
