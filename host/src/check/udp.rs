//! Cases of the datagrams.

mod client;
mod pair;
mod server;

use socklab_core::udp::{Mistake, reply_to};

use super::case::{Case, Protocol, Situation};
use super::echo::UMLAUTS;
use super::failure::Kind;
use super::setup::{Role, Wire};
use super::talk::{Outcome, Talk};

pub(super) const PROTOCOL: Protocol =
    Protocol { name: "udp", cases, pair: &pair::PAIR, hint, wire: &[] };

const ENCODED: &str = "003, 2.1 Setting up and using a client socket";
const SERVER: &str = "003, 2.2 Setting up and using a server socket";
const DATAGRAMS: &str = "003, 2.4.1 Receiving data with UDP Sockets";
const EXERCISE: &str = "003, 1 Assignment Instructions 2(a)";
const SERIES: &str = "003, 3 Test cases 1(d) Multiple messages in \"series\"";
const PARALLEL: &str = "003, 3 Test cases 1(e) Multiple messages in \"parallel\"";
/// What no document has, but every program over datagrams meets.
const NETWORK: &str =
    "RFC 768: datagrams can be lost, duplicated and reordered, and anyone can send one";

const SHORT: &str = "Four score and seven years ago";
/// Length of the longest message that document 003 advises: under 576 bytes.
const ADVISED: usize = 575;

fn cases(role: Role, _: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(),
        Role::Client | Role::Pair => client::cases(),
    }
}

/// Returns the reply to a message.
pub(super) fn rest(message: &str) -> &str {
    let rest = reply_to(message.as_bytes()).unwrap_or_default();
    message.get(message.len() - rest.len()..).unwrap_or_default()
}

/// Returns a message as part of the text of a step.
fn named(message: &str) -> String {
    match message.len() {
        n @ 0..=40 => format!("message of {n} bytes \"{message}\""),
        n => format!("message of {n} bytes"),
    }
}

/// Returns the likely mistake in a reply.
fn reply_mistake(message: &[u8], actual: &[u8]) -> Option<String> {
    let what_to_do = match Mistake::of(message, actual) {
        // The general hints know what follows.
        Some(Mistake::Longer(_)) => return None,
        Some(mistake @ Mistake::TenBytes) => {
            (mistake, "; decode the bytes first, then remove characters")
        }
        Some(mistake @ Mistake::NothingRemoved) => (mistake, "; remove its first ten characters"),
        Some(mistake @ Mistake::Short(_)) if !actual.is_empty() => (
            mistake,
            "; a datagram that is longer than the buffer of recvfrom() is cut: give it 4096 bytes",
        ),
        Some(Mistake::Short(_)) => {
            return Some("the reply to a message of more than ten characters is empty".to_owned());
        }
        Some(mistake @ Mistake::Stripped) => {
            let right = reply_to(message).unwrap_or_default();
            let n = right.len() - right.trim_ascii_start().len();
            if n > 0 && right.get(n..) == Some(actual) {
                let n = 10 + n;
                return Some(format!(
                    "probably {mistake}, as by strip(), or {n} characters were removed instead of ten"
                ));
            }
            (mistake, ", as by strip(): it is part of the message")
        }
        Some(mistake) => (mistake, ""),
        None => return reply_of_another_kind(message, actual),
    };
    Some(format!("probably {}{}", what_to_do.0, what_to_do.1))
}

/// Returns a mistake that has nothing to do with the end of the message.
fn reply_of_another_kind(message: &[u8], actual: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok()?;
    let count = text.chars().count().saturating_sub(10);
    let start: String = text.chars().take(count).collect();
    let has_quotes = |text: &str| {
        [("b'", "'"), ("b\"", "\"")].iter().any(|(front, end)| {
            actual.strip_prefix(front.as_bytes()).is_some_and(|rest| rest.ends_with(end.as_bytes()))
                && !text.starts_with(front)
        })
    };
    if !actual.is_empty() && actual == start.as_bytes() && start != rest(text) {
        return Some("the last ten characters were removed, not the first ten".to_owned());
    }
    if has_quotes(rest(text)) {
        return Some(
            "str() of bytes was sent, with b'' around it: use decode() and encode()".to_owned(),
        );
    }
    None
}

/// Returns the likely mistake in a message of a client.
fn message_mistake(message: &str, actual: &[u8]) -> Option<String> {
    let bytes = message.as_bytes();
    let text = |text: &str| Some(text.to_owned());
    if actual.is_empty() && !bytes.is_empty() {
        return text("an empty datagram was sent in front: send nothing but the message");
    }
    if let Some(front) = actual.strip_suffix(bytes)
        && (front.len() == 1 || front.len() == 2 || front.len() == 4 || front.len() == 8)
    {
        return text(
            "a length was sent in front of the message, as in a stream: a datagram has its own",
        );
    }
    let number = (bytes.len() as u32).to_be_bytes();
    let digits = bytes.len().to_string();
    if [&number[..], &number[2..], digits.as_bytes()].contains(&actual) {
        return text(
            "the length was sent in a datagram of its own, as in a stream: a datagram has its own length",
        );
    }
    if bytes.len() > actual.len() && !actual.is_empty() && bytes.starts_with(actual) {
        let n = actual.len();
        return Some(format!(
            "only the first {n} bytes of the message were sent: send it in one datagram"
        ));
    }
    None
}

/// Sends a message and receives its reply.
fn exchange(talk: &mut Talk, message: &str) -> Outcome {
    talk.post(message.as_bytes())?;
    receive_reply(talk, message.as_bytes())
}

fn receive_reply(talk: &mut Talk, message: &[u8]) -> Outcome {
    let reply = reply_to(message).unwrap_or_default();
    talk.expect_exactly("the reply", reply)
        .map_err(|failure| with_reply_hint(talk.at_another_client(failure, reply), message))
}

/// Adds the likely mistake, if the bytes show one.
fn with_reply_hint(
    mut failure: Box<super::failure::Failure>,
    message: &[u8],
) -> Box<super::failure::Failure> {
    if let (Kind::Different, Some(bytes), None) = (failure.kind, &failure.bytes, &failure.hint) {
        failure.hint = reply_mistake(message, &bytes.actual);
    }
    failure
}

/// Receives a message of the client.
fn receive_message(talk: &mut Talk, message: &str) -> Outcome {
    let what = if talk.has_found() { "the next message" } else { "the message" };
    talk.expect_message(what, message.as_bytes()).map_err(|mut failure| {
        if let (Kind::Different, Some(bytes)) = (failure.kind, &failure.bytes) {
            failure.hint = message_mistake(message, &bytes.actual);
        }
        failure
    })
}

/// Returns a likely mistake. The steps know those that the bytes show.
fn hint(situation: &Situation<'_>) -> Option<String> {
    let is_stuck = situation.role == Role::Server
        && situation.kind == Kind::Silent
        && situation.sent.last().is_some_and(|sent| reply_to(sent) == Some(&[]));
    is_stuck.then(|| {
        "the reply to a message of ten characters or fewer is a datagram too, an empty one; the transports of asyncio \
         send none before Python 3.13"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_a_reply_are_recognised() {
        let message = UMLAUTS.as_bytes();
        for (reply, text) in [
            (message, "nothing was removed; remove"),
            (&message[10..], "ten bytes were removed instead of ten characters; decode"),
            (rest(UMLAUTS).as_bytes().split_at(9).0, "give it 4096"),
            (b"", "is empty"),
            (rest(UMLAUTS).trim().as_bytes(), "as by strip(), or 11 characters"),
            (b"b' and the rest'", "str() of bytes"),
        ] {
            let hint = reply_mistake(message, reply).unwrap_or_default();
            assert!(hint.contains(text), "{reply:?}: {hint}");
        }
        assert!(reply_mistake(b"0123456789abc", b"012").unwrap().contains("last ten"));
        assert_eq!(reply_mistake(message, &[rest(UMLAUTS).as_bytes(), b"\n"].concat()), None);
    }

    #[test]
    fn mistakes_of_a_message_are_recognised() {
        let length = (SHORT.len() as u32).to_be_bytes();
        for (message, text) in [
            ([&length, SHORT.as_bytes()].concat(), "in front of the message"),
            (length.to_vec(), "of its own"),
            (b"30".to_vec(), "of its own"),
            (SHORT.as_bytes()[..16].to_vec(), "only the first 16 bytes"),
            (Vec::new(), "empty datagram"),
        ] {
            let hint = message_mistake(SHORT, &message).unwrap_or_default();
            assert!(hint.contains(text), "{message:?}: {hint}");
        }
        assert_eq!(message_mistake(SHORT, b"another"), None);
    }
}
