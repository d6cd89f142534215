//! Likely mistakes that are the same in every protocol over datagrams.

use super::super::case::{Group, Situation};
use super::super::failure::Kind;
use super::super::setup::Role;

/// Parts of exception lines, and what they mean for datagrams. The others mean the same as with streams.
const EXCEPTIONS: [(&str, &str); 19] = [
    // The port is free for datagrams: the tester has looked.
    ("Address already in use", STREAM),
    ("BindException", STREAM),
    (
        "ConnectionRefusedError",
        "ConnectionRefusedError reports that an earlier datagram did not arrive: catch it",
    ),
    (
        "PortUnreachableException",
        "PortUnreachableException reports that an earlier datagram did not arrive: catch it",
    ),
    (
        "ConnectionResetError",
        "on Windows recvfrom() raises ConnectionResetError after a datagram that did not arrive: catch it",
    ),
    ("Destination address required", ADDRESS),
    ("sendto() takes", ADDRESS),
    ("Operation not supported", NO_LISTEN),
    ("not enough values to unpack", TUPLE),
    ("too many values to unpack", TUPLE),
    ("'tuple' object has no attribute", TUPLE),
    ("not 'tuple'", TUPLE),
    ("no attribute 'receivefrom'", "the function is recvfrom()"),
    (
        "UnicodeDecodeError",
        "the datagram is not UTF-8, as anyone can send one: catch UnicodeDecodeError",
    ),
    (
        "MalformedInputException",
        "the datagram is not UTF-8, as anyone can send one: catch that error",
    ),
    (
        "struct.error",
        "a datagram is one message without a length in front: there is nothing to unpack",
    ),
    ("IndexError", "a datagram can be empty: test its length before its bytes are used"),
    ("TimeoutError", "recvfrom() raises TimeoutError after the time of settimeout(): catch it"),
    ("Message too long", "a datagram can carry 65507 bytes, and some systems send less"),
];

const STREAM: &str = "the port is free for datagrams, so the program probably binds a stream socket: create it with SOCK_DGRAM, \
     in Java as a DatagramSocket";
const ADDRESS: &str = "each datagram needs the address of its receiver: sendto(data, address)";
const NO_LISTEN: &str =
    "a datagram socket has no listen() and no accept(): after bind() call recvfrom()";
const TUPLE: &str =
    "recvfrom() returns the data and the address of its sender: data, address = s.recvfrom(4096)";

/// Returns what an exception line means.
pub(super) fn exception(line: &str, situation: &Situation<'_>) -> Option<&'static str> {
    let (text, meaning) = EXCEPTIONS.iter().find(|(text, _)| line.contains(text))?;
    // A client has no answer of ours before it has sent a datagram.
    if *text == "ConnectionRefusedError" && situation.kind == Kind::NotConnected {
        return Some(
            "it connects a stream socket: create it with SOCK_DGRAM, and send with sendto(data, address)",
        );
    }
    Some(meaning)
}

/// Returns the mistake that the group of the case looks for.
pub(super) fn by_group(situation: &Situation<'_>) -> Option<&'static str> {
    let is_server = situation.role == Role::Server;
    Some(match (situation.group, situation.kind) {
        (_, Kind::System) => return None,
        (_, Kind::Spinning) => {
            "the program loops without waiting: let recvfrom() wait, with settimeout() for a limit"
        }
        (Group::Basic, Kind::Running) => {
            "the program waits for something that does not come: leave the loop after the last message"
        }
        (_, Kind::Running) => {
            "recvfrom() waits without a limit for a datagram that can be lost: settimeout() before, and catch the time-out"
        }
        (_, Kind::NotListening) if is_server => {
            "bind() the socket to the port that the program is started with, as a datagram socket (SOCK_DGRAM)"
        }
        (_, Kind::Closed) if is_server => {
            "the server ends after a message: receive and reply in an endless loop"
        }
        (_, Kind::Closed) => {
            "the client ends before its last message: send each line of its input, until the input ends"
        }
        (Group::Basic, Kind::NotConnected) => {
            "send to the host and the port that the program is started with, from a datagram socket (SOCK_DGRAM)"
        }
        (Group::Basic, Kind::Output) => {
            "the reply is printed as it comes: nothing may be missing, and nothing added to what was received"
        }
        (Group::Basic, Kind::Exit) => "a program that has done its work ends with exit code 0",
        (Group::Basic | Group::Sequential, Kind::Silent) if is_server => {
            "reply to every datagram, also with an empty one, with sendto() to the address that recvfrom() returned"
        }
        (Group::Sequential, _) => {
            "one socket serves all clients: reply to the address that recvfrom() returned with each message"
        }
        (Group::Segmentation, _) => {
            "recvfrom() returns at most as many bytes as its argument, and the rest of the datagram is lost: give it 4096"
        }
        (Group::Coalescing, _) => {
            "each recvfrom() returns exactly one datagram: receive the next one with another call, and reply to each"
        }
        (Group::Slow, _) => {
            "datagrams are late or lost at times: settimeout() before recvfrom(), and send the message again"
        }
        (Group::Reset, _) => {
            "the system reports that an earlier datagram did not arrive: catch that error, and go on"
        }
        (Group::BadInput, _) => {
            "anyone can send anything to a port: test what arrives before it is used"
        }
        (Group::Restart, _) => {
            "the port is still in use: does another process of the program have it?"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::failure::Bytes;
    use super::super::super::setup::Wire;
    use super::*;

    fn situation<'s>(
        kind: Kind,
        stderr: &'s str,
        wire: &'s Wire,
        bytes: &'s Bytes,
    ) -> Situation<'s> {
        Situation {
            role: Role::Client,
            group: Group::Basic,
            is_datagrams: true,
            wire,
            kind,
            bytes,
            sent: &[],
            case_hint: None,
            has_ended: true,
            stdout: "",
            stderr,
        }
    }

    #[test]
    fn an_exception_means_another_thing_than_with_a_stream() {
        let (wire, bytes) = (Wire::default(), Bytes::default());
        let hint = |kind, stderr: &str| {
            super::super::specific(&situation(kind, stderr, &wire, &bytes)).unwrap_or_default()
        };
        let refused = "ConnectionRefusedError: [Errno 111] Connection refused";
        assert!(hint(Kind::NotConnected, refused).contains("SOCK_DGRAM"));
        assert!(hint(Kind::Running, refused).contains("did not arrive"));
        let used = "OSError: [Errno 98] Address already in use";
        assert!(hint(Kind::NotListening, used).contains("stream socket"));
        let tuple = "AttributeError: 'tuple' object has no attribute 'decode'";
        assert!(hint(Kind::Closed, tuple).contains("data, address ="));
        // What is not about sockets is the same.
        assert!(hint(Kind::Closed, "SyntaxError: invalid syntax").contains("compiled"));
    }
}
