use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Header of the PROXY protocol, version 1 or 2. A balancer sends it in front of the bytes of a connection, and it names
/// the client.
///
/// See the [specification](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt). Whether a connection begins with
/// a header must be known. It must not be guessed, because any client could send a header of its own.
///
/// ```
/// use socklab::net::{ProxyHeader, ProxyOrigin};
///
/// let bytes = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nopen";
/// assert_eq!(ProxyHeader::parse(&bytes[..20]), Ok(None));
/// let header = ProxyHeader::parse(bytes)?.expect("a whole header");
/// let ProxyOrigin::Client { source, .. } = header.origin else { panic!("no client") };
/// assert_eq!(source.to_string(), "192.168.0.1:56324");
/// assert_eq!(bytes[header.length..], *b"open");
/// # Ok::<(), socklab::net::ProxyHeaderError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// Number of bytes of the header. The bytes after it belong to the connection.
    pub length: usize,
    /// Who has opened the connection.
    pub origin: ProxyOrigin,
}

/// Origin of a connection, as its [`ProxyHeader`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyOrigin {
    /// A client over TCP.
    Client {
        /// Address of the client.
        source: SocketAddr,
        /// Address that the client has connected to.
        destination: SocketAddr,
    },
    /// A client over another transport, such as a Unix socket. It has no address that a TCP server could show.
    Other,
    /// The balancer itself, usually for a health check, or a client that the balancer does not name: `LOCAL` and `UNSPEC`
    /// of version 2, `UNKNOWN` of version 1.
    Unnamed,
}

/// Why the first bytes of a connection are not a [`ProxyHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// They are the beginning of neither version.
    Missing,
    /// The line of version 1 has no end within [`ProxyHeader::LINE_MAX`] bytes.
    LongLine,
    /// The line of version 1 ends with LF or CR instead of CR LF.
    LineEnd,
    /// This field of the line of version 1 is not that of `TCP4`, `TCP6` or `UNKNOWN`.
    Line(ProxyHeaderField),
    /// The binary header has another version than 2.
    Version(u8),
    /// The command is neither `LOCAL` nor `PROXY`.
    Command(u8),
    /// The address family or the transport is not defined.
    Family(u8),
    /// The header has more than [`ProxyHeader::MAX`] bytes.
    Long(u16),
    /// The header is too short for its addresses.
    Short(u16),
    /// The fields after the addresses (TLVs) do not end where the header ends.
    Fields,
    /// The header has a CRC-32C that is wrong.
    Checksum,
}

/// Field of a line of version 1 that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeaderField {
    /// The protocol is neither `TCP4`, `TCP6` nor `UNKNOWN`.
    Protocol,
    /// The address of the client is not one of IPv4 (`true`), or of IPv6.
    Source(bool),
    /// The address that the client has connected to is not one of IPv4 (`true`), or of IPv6.
    Destination(bool),
    /// The port of the client is not a number from 0 to 65535.
    SourcePort,
    /// The port that the client has connected to is not a number from 0 to 65535.
    DestinationPort,
    /// A port has a sign or leading zeros.
    PortDigits,
    /// Fields are missing.
    Missing,
    /// A field follows the ports.
    Excess,
    /// A field is empty: there is more than one space.
    Spaces,
}

impl fmt::Display for ProxyHeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |is_v4: &bool| if *is_v4 { "an IPv4" } else { "an IPv6" };
        match self {
            Self::Protocol => f.write_str("the protocol is not TCP4, TCP6 or UNKNOWN"),
            Self::Source(v4) => write!(f, "the first address is not {} address", address(v4)),
            Self::Destination(v4) => write!(f, "the second address is not {} address", address(v4)),
            Self::SourcePort => f.write_str("the first port is not a number from 0 to 65535"),
            Self::DestinationPort => f.write_str("the second port is not a number from 0 to 65535"),
            Self::PortDigits => f.write_str("a port has a sign or leading zeros"),
            Self::Missing => f.write_str("fields are missing"),
            Self::Excess => f.write_str("there is a field after the ports"),
            Self::Spaces => f.write_str("fields are not separated by exactly one space"),
        }
    }
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = ProxyHeader::LINE_MAX;
        match self {
            Self::Missing => f.write_str("no PROXY header"),
            Self::LongLine => {
                write!(f, "invalid PROXY header: no CR LF in the first {line} bytes")
            }
            Self::LineEnd => f.write_str("invalid PROXY header: the line does not end with CR LF"),
            Self::Line(field) => write!(
                f,
                "invalid PROXY header: {field}; expected TCP4 or TCP6 with two addresses and two ports, or UNKNOWN",
            ),
            Self::Version(version) => {
                write!(f, "invalid PROXY header: version {version}, expected 2")
            }
            Self::Command(command) => write!(
                f,
                "invalid PROXY header: command {command}, expected 0 (LOCAL) or 1 (PROXY)"
            ),
            Self::Family(family) => {
                write!(f, "invalid PROXY header: address family and transport {family:#04x}")
            }
            Self::Long(length) => write!(
                f,
                "invalid PROXY header: length {length}, expected at most {}",
                ProxyHeader::MAX - START
            ),
            Self::Short(length) => {
                write!(f, "invalid PROXY header: length {length}, too short for its addresses")
            }
            Self::Fields => {
                f.write_str("invalid PROXY header: its fields do not end where the header ends")
            }
            Self::Checksum => f.write_str("invalid PROXY header: wrong CRC-32C"),
        }
    }
}

impl std::error::Error for ProxyHeaderError {}

/// First bytes of a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of a header of version 1.
const PREFIX: &[u8] = b"PROXY ";
/// Number of bytes of a header of version 2 before the addresses.
const START: usize = 16;
/// Type of the field with the checksum.
const TYPE_CRC32C: u8 = 3;

impl ProxyHeader {
    /// Largest length of a header of version 1 in bytes.
    pub const LINE_MAX: usize = 107;
    /// Largest length of a header of version 2 in bytes. The specification designs both versions for the 536 bytes that
    /// fit in the smallest TCP segment.
    pub const MAX: usize = 536;

    /// Parses the first bytes of a connection. Returns `None` if they are only a part of a header.
    ///
    /// More bytes never change another result.
    ///
    /// # Errors
    ///
    /// If no header begins with these bytes, as soon as that is clear.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        if is_start(bytes, PREFIX) {
            parse_line(bytes)
        } else if is_start(bytes, &SIGNATURE) {
            parse_binary(bytes)
        } else {
            Err(ProxyHeaderError::Missing)
        }
    }
}

/// Returns whether `bytes` begin with `start` or are the beginning of it.
fn is_start(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn parse_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let line = &bytes[..bytes.len().min(ProxyHeader::LINE_MAX)];
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        let is_long = line.len() == ProxyHeader::LINE_MAX;
        return if is_long { Err(ProxyHeaderError::LongLine) } else { Ok(None) };
    };
    match line[end..] {
        [b'\r', b'\n', ..] => {}
        // The end of the longest line.
        [b'\r'] if line.len() == ProxyHeader::LINE_MAX => return Err(ProxyHeaderError::LongLine),
        [b'\r'] => return Ok(None),
        _ => return Err(ProxyHeaderError::LineEnd),
    }
    let fields = line.get(PREFIX.len()..end).unwrap_or_default();
    let origin = match fields {
        // Whatever follows is ignored.
        b"UNKNOWN" => Ok(ProxyOrigin::Unnamed),
        _ if fields.starts_with(b"UNKNOWN ") => Ok(ProxyOrigin::Unnamed),
        // The characters that replace other bytes are valid in no field.
        _ => parse_addresses(&String::from_utf8_lossy(fields)),
    };
    let origin = origin.map_err(ProxyHeaderError::Line)?;
    Ok(Some(ProxyHeader { length: end + 2, origin }))
}

/// Parses the family, two addresses and two ports, separated by exactly one space.
fn parse_addresses(fields: &str) -> Result<ProxyOrigin, ProxyHeaderField> {
    use ProxyHeaderField as Field;

    let mut fields = fields.split(' ');
    let mut next = || match fields.next() {
        Some("") => Err(Field::Spaces),
        Some(field) => Ok(field),
        None => Err(Field::Missing),
    };
    let is_v4 = match next()? {
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(Field::Protocol),
    };
    let mut ip = |wrong| {
        let ip = next()?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == is_v4);
        ip.ok_or(wrong)
    };
    let (source, destination) = (ip(Field::Source(is_v4))?, ip(Field::Destination(is_v4))?);
    let mut port = |wrong| {
        let text = next()?;
        let port = text.parse().map_err(|_| wrong)?;
        // Checked because `parse` accepts both.
        let is_canonical = text == "0" || !text.starts_with(['+', '0']);
        if is_canonical { Ok(port) } else { Err(Field::PortDigits) }
    };
    let (source_port, destination_port) = (port(Field::SourcePort)?, port(Field::DestinationPort)?);
    match fields.next() {
        None => Ok(ProxyOrigin::Client {
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
        }),
        Some("") => Err(Field::Spaces),
        Some(_) => Err(Field::Excess),
    }
}

fn parse_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(&version) = bytes.get(12) else { return Ok(None) };
    if version >> 4 != 2 {
        return Err(ProxyHeaderError::Version(version >> 4));
    }
    let is_local = match version & 0xf {
        0 => true,
        1 => false,
        command => return Err(ProxyHeaderError::Command(command)),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // The family of a local connection must be ignored.
    if !is_local && (family >> 4 > 3 || family & 0xf > 2) {
        return Err(ProxyHeaderError::Family(family));
    }
    let &[_, _, high, low, ref rest @ ..] = &bytes[12..] else { return Ok(None) };
    let announced = u16::from_be_bytes([high, low]);
    let length = START + usize::from(announced);
    if length > ProxyHeader::MAX {
        return Err(ProxyHeaderError::Long(announced));
    }
    let addresses_length = match family {
        _ if is_local => None,
        // Without a family or a transport, it is not defined what the block contains.
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    };
    if addresses_length.is_some_and(|needed| usize::from(announced) < needed) {
        return Err(ProxyHeaderError::Short(announced));
    }
    let (Some(block), Some(header)) = (rest.get(..announced.into()), bytes.get(..length)) else {
        return Ok(None);
    };
    let Some(addresses_length) = addresses_length else {
        return Ok(Some(ProxyHeader { length, origin: ProxyOrigin::Unnamed }));
    };
    let (addresses, fields) = block.split_at(addresses_length);
    check_fields(header, fields)?;
    let origin = match (family, addresses) {
        (
            0x11,
            &[a, b, c, d, e, f, g, h, source_high, source_low, destination_high, destination_low],
        ) => ProxyOrigin::Client {
            source: ([a, b, c, d], u16::from_be_bytes([source_high, source_low])).into(),
            destination: ([e, f, g, h], u16::from_be_bytes([destination_high, destination_low]))
                .into(),
        },
        (0x21, addresses) => parse_ipv6(addresses),
        // UDP, and Unix sockets.
        _ => ProxyOrigin::Other,
    };
    Ok(Some(ProxyHeader { length, origin }))
}

fn parse_ipv6(addresses: &[u8]) -> ProxyOrigin {
    let ip = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&addresses[at..at + 16]);
        IpAddr::from(octets)
    };
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    ProxyOrigin::Client {
        source: SocketAddr::new(ip(0), port(32)),
        destination: SocketAddr::new(ip(16), port(34)),
    }
}

/// Checks that the fields have the lengths they announce, and the checksum if there is one.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), ProxyHeaderError> {
    while let [kind, high, low, rest @ ..] = fields {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(..length).ok_or(ProxyHeaderError::Fields)?;
        if *kind == TYPE_CRC32C {
            let expected = value.try_into().map_err(|_| ProxyHeaderError::Fields)?;
            let at = header.len() - rest.len();
            // The checksum is calculated with zeros in its own place.
            let bytes = header[..at].iter().chain(&[0; 4]).chain(&header[at + 4..]);
            if crc32c(bytes) != u32::from_be_bytes(expected) {
                return Err(ProxyHeaderError::Checksum);
            }
        }
        fields = &rest[length..];
    }
    if fields.is_empty() { Ok(()) } else { Err(ProxyHeaderError::Fields) }
}

/// Returns the CRC-32C (RFC 4960, appendix B). It is calculated bit by bit, because a header is short and few balancers
/// send a checksum.
fn crc32c<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.into_iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 with this command, family and block.
    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, block].concat()
    }

    /// 10.1.2.3:56324 to 10.4.5.6:443.
    const IPV4: [u8; 12] = [10, 1, 2, 3, 10, 4, 5, 6, 0xdc, 0x04, 0x01, 0xbb];

    /// [2001:db8::1]:56324 to [2001:db8::2]:443.
    fn ipv6() -> Vec<u8> {
        let ip = |last| [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
        [&ip(1)[..], &ip(2), &[0xdc, 0x04, 0x01, 0xbb]].concat()
    }

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    /// A header with a checksum between two other fields.
    fn with_checksum() -> Vec<u8> {
        let fields = [field(4, b"pad"), field(TYPE_CRC32C, &[0; 4]), field(5, b"id")].concat();
        let mut header = binary(1, 0x11, &[&IPV4[..], &fields].concat());
        let at = START + IPV4.len() + 6 + 3;
        let crc = crc32c(&header).to_be_bytes();
        header[at..at + 4].copy_from_slice(&crc);
        header
    }

    /// Returns the origin of a whole header, as text.
    #[track_caller]
    fn origin(bytes: &[u8]) -> String {
        let header = ProxyHeader::parse(bytes).unwrap().expect("a whole header");
        assert_eq!(header.length, bytes.len());
        match header.origin {
            ProxyOrigin::Client { source, destination } => format!("{source} {destination}"),
            ProxyOrigin::Other => "other".into(),
            ProxyOrigin::Unnamed => "unnamed".into(),
        }
    }

    fn valid() -> Vec<Vec<u8>> {
        let long = field(2, &[b'a'; ProxyHeader::MAX - START - 12 - 3]);
        let mut all = vec![
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 2001:DB8::2 1 0\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            with_checksum(),
            binary(1, 0x11, &[&IPV4[..], &long].concat()),
            binary(1, 0x21, &ipv6()),
            binary(1, 0x31, &[0; 216]),
        ];
        all.extend([0, 0x11, 0xff].map(|family| binary(0, family, b"")));
        all
    }

    #[test]
    fn the_headers_of_the_specification_are_accepted() {
        let all_ones = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {all_ones} {all_ones} 65535 65535\r\n");
        assert_eq!(longest.len(), ProxyHeader::LINE_MAX);
        let longest_v6 = format!("PROXY TCP6 {all_ones} {all_ones} 65535 65535\r\n");
        for (line, expected) in [
            (
                "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
                "192.168.0.1:56324 192.168.0.11:443",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                "255.255.255.255:65535 255.255.255.255:65535",
            ),
            ("PROXY TCP6 ::1 2001:DB8::2 0 1\r\n", "[::1]:0 [2001:db8::2]:1"),
            (
                "PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 2\r\n",
                "[::ffff:10.0.0.1]:1 [::ffff:10.0.0.2]:2",
            ),
            (&longest_v6, &format!("[{all_ones}]:65535 [{all_ones}]:65535")),
            ("PROXY UNKNOWN\r\n", "unnamed"),
            ("PROXY UNKNOWN whatever  this is\r\n", "unnamed"),
            (&longest, "unnamed"),
        ] {
            assert_eq!(origin(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(origin(b"PROXY UNKNOWN \xff\0\r\n"), "unnamed");
        assert_eq!(origin(&binary(1, 0x11, &IPV4)), "10.1.2.3:56324 10.4.5.6:443");
        assert_eq!(origin(&binary(1, 0x21, &ipv6())), "[2001:db8::1]:56324 [2001:db8::2]:443");
        assert_eq!(origin(&binary(1, 0x12, &IPV4)), "other");
        assert_eq!(origin(&binary(1, 0x22, &ipv6())), "other");
        assert_eq!(origin(&binary(1, 0x31, &[7; 216])), "other");
        assert_eq!(origin(&binary(1, 0x32, &[7; 216])), "other");
        for family in [0, 0x01, 0x10, 0x20, 0x30] {
            assert_eq!(origin(&binary(1, family, b"any bytes")), "unnamed", "{family:#x}");
        }
        for family in 0..=255 {
            assert_eq!(origin(&binary(0, family, b"")), "unnamed", "{family:#x}");
            assert_eq!(origin(&binary(0, family, &IPV4)), "unnamed", "{family:#x}");
        }
    }

    #[test]
    fn fields_are_skipped_and_a_checksum_is_verified() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        let whole = with_checksum();
        assert_eq!(origin(&whole), "10.1.2.3:56324 10.4.5.6:443");
        // The version and the lengths cannot be wrong without another error.
        for at in START..START + IPV4.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(ProxyHeader::parse(&wrong), Err(ProxyHeaderError::Checksum), "{at}");
        }
        for fields in [&[1][..], &[1, 0], &[1, 0, 1], &[4, 0, 0, 4, 0, 2, 0], &field(3, &[0; 3])] {
            let header = binary(1, 0x11, &[&IPV4[..], fields].concat());
            assert_eq!(ProxyHeader::parse(&header), Err(ProxyHeaderError::Fields), "{fields:?}");
        }
        assert_eq!(origin(&binary(1, 0x21, &[ipv6(), field(0xee, b"")].concat()))[..5], *"[2001");
    }

    #[test]
    fn any_other_line_is_refused() {
        use super::ProxyHeaderField as Field;
        use ProxyHeaderError::{Line, LineEnd, LongLine, Missing};
        for (line, expected) in [
            ("HELO", Missing),
            ("GET / HTTP/1.1\r\n", Missing),
            ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Missing),
            ("PROXYTCP4", Missing),
            ("PROXY\r\n", Missing),
            ("\r\nPROXY", Missing),
            ("PROXY \r\n", Line(Field::Spaces)),
            ("PROXY UNKNOWN\n", LineEnd),
            ("PROXY UNKNOWN\r\r\n", LineEnd),
            ("PROXY UNKNOWNS\r\n", Line(Field::Protocol)),
            ("PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Line(Field::Protocol)),
            ("PROXY TCP4\r\n", Line(Field::Missing)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", Line(Field::Missing)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Line(Field::Spaces)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", Line(Field::Excess)),
            ("PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Line(Field::Spaces)),
            ("PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", Line(Field::Spaces)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Line(Field::PortDigits)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Line(Field::PortDigits)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", Line(Field::DestinationPort)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n", Line(Field::DestinationPort)),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n", Line(Field::Spaces)),
            ("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", Line(Field::Source(true))),
            ("PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", Line(Field::Source(true))),
            ("PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", Line(Field::Source(true))),
            ("PROXY TCP4 ::1 ::1 1 1\r\n", Line(Field::Source(true))),
            ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Line(Field::Source(false))),
            ("PROXY TCP6 ::1%1 ::1 1 1\r\n", Line(Field::Source(false))),
            ("PROXY TCP6 ::1 1.1.1.1 1 1\r\n", Line(Field::Destination(false))),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", Line(Field::SourcePort)),
            ("PROXY TCP4 1.1.1.1 ::1 1 1\r\n", Line(Field::Destination(true))),
            (&format!("PROXY UNKNOWN {}\r\n", "a".repeat(92)), LongLine),
            (&format!("PROXY UNKNOWN {}", "a".repeat(93)), LongLine),
        ] {
            assert_eq!(ProxyHeader::parse(line.as_bytes()), Err(expected), "{line:?}");
        }
    }

    #[test]
    fn any_other_binary_header_is_refused_as_soon_as_that_is_clear() {
        use ProxyHeaderError::{Command, Family, Long, Missing, Short, Version};
        let whole = binary(1, 0x11, &IPV4);
        let refused = |length: usize, at: usize, byte: u8| {
            let mut bytes = whole[..length].to_vec();
            bytes[at] = byte;
            ProxyHeader::parse(&bytes).unwrap_err()
        };
        assert_eq!(refused(12, 11, b'\r'), Missing);
        assert_eq!(refused(13, 12, 0x11), Version(1));
        assert_eq!(refused(13, 12, 0x22), Command(2));
        for family in [0x13, 0x40, 0x41, 0xff] {
            assert_eq!(refused(14, 13, family), Family(family));
        }
        assert_eq!(refused(16, 15, 11), Short(11));
        assert_eq!(ProxyHeader::parse(&binary(1, 0x22, &[0; 35])), Err(Short(35)));
        assert_eq!(ProxyHeader::parse(&binary(1, 0x31, &[0; 215])), Err(Short(215)));
        // Also if the block is not looked at.
        for (command, family) in [(0, 0), (1, 0), (1, 0x11)] {
            let whole = binary(command, family, &[0; ProxyHeader::MAX - START + 1]);
            assert_eq!(ProxyHeader::parse(&whole[..START]), Err(Long(521)));
            assert_eq!(ProxyHeader::parse(&whole), Err(Long(521)));
        }
        assert_eq!(ProxyHeader::parse(&binary(0, 0, &[0xff; 520])).unwrap().unwrap().length, 536);
    }

    #[test]
    fn a_part_of_a_header_is_neither_accepted_nor_refused() {
        for whole in valid() {
            for length in 0..whole.len() {
                assert_eq!(
                    ProxyHeader::parse(&whole[..length]),
                    Ok(None),
                    "{length} of {whole:x?}"
                );
            }
            let with_more = [&whole[..], b"\0\0\0\x01x\r\nPROXY "].concat();
            assert_eq!(ProxyHeader::parse(&with_more), ProxyHeader::parse(&whole));
        }
    }

    #[test]
    fn more_bytes_never_change_a_result_and_no_byte_makes_it_panic() {
        let mut random = fastrand::Rng::with_seed(13);
        for whole in valid() {
            // The bytes of a long block are all alike.
            let is_tested = |at: usize| at < 64 || at.is_multiple_of(32);
            for at in (0..whole.len()).filter(|at| is_tested(*at)) {
                let bits = (0..8).map(|bit| 1 << bit);
                let others = [0, b'\r', b'\n', b' ', b'0', 0xff].map(|byte| whole[at] ^ byte);
                for flip in bits.chain(others) {
                    let mut changed = whole.clone();
                    changed[at] ^= flip;
                    check_prefixes(&changed);
                    changed.truncate(at + 1 + random.usize(..16));
                    changed.extend((0..random.usize(..600)).map(|_| random.u8(..)));
                    check_prefixes(&changed);
                }
            }
        }
    }

    /// Checks that the first result other than `None` is the result of all longer inputs.
    fn check_prefixes(bytes: &[u8]) {
        let mut result = Ok(None);
        for length in 0..=bytes.len() {
            let parsed = ProxyHeader::parse(&bytes[..length]);
            if result == Ok(None) {
                result = parsed;
            } else {
                assert_eq!(parsed, result, "{length} of {bytes:x?}");
            }
        }
        match result {
            Ok(Some(header)) => assert!(header.length <= ProxyHeader::MAX.min(bytes.len())),
            Ok(None) => assert!(bytes.len() < ProxyHeader::MAX),
            Err(e) => assert!(e.to_string().contains("PROXY header")),
        }
    }
}
