//! Likely mistakes that are the same in every protocol.

mod datagrams;
mod form;
pub(super) mod unpack;

use std::net::SocketAddr;

use super::case::{Group, Situation};
use super::failure::Kind;
use super::setup::{Role, Setup, Target};
use super::steps::quoted;
use super::talk::Talk;
use crate::text::one_line;

pub(super) use self::form::{LOW_BYTES, NUL_BYTES, form, is_low_bytes};

/// Returns a likely mistake that the program's own error message shows, or the bytes.
pub(super) fn specific(situation: &Situation<'_>) -> Option<String> {
    exception(situation).or_else(|| difference(situation)).or_else(|| output(situation))
}

/// Returns the mistake of a server that does not listen on its address, if it is known where it does.
pub(super) fn elsewhere(setup: &Setup, talk: &Talk) -> Option<String> {
    if let Target::Running(addr) = setup.target {
        return Some(format!(
            "no program listens on {addr}: start the server first, and give the address and the port on which it listens"
        ));
    }
    let (other, wanted) = talk.listens_elsewhere()?;
    Some(listens_on(other, wanted))
}

/// Returns what to do about a server that listens on another address or port.
fn listens_on(other: SocketAddr, wanted: SocketAddr) -> String {
    let text = if other.port() == wanted.port() {
        format!("bind() it to {}, or to all addresses", wanted.ip())
    } else {
        format!(
            "use the port that it is started with ({{port}} in the command, or the variable PORT), or check it with --port {}",
            other.port()
        )
    };
    format!("the program listens on {other}, not on {wanted}: {text}")
}

/// Returns the mistake of a command, if the program seems to be the other end: a client that was checked as a server, or
/// the reverse.
pub(super) fn other_end(situation: &Situation<'_>) -> Option<String> {
    let has = |texts: &[&str]| texts.iter().any(|text| situation.stderr.contains(text));
    match (situation.role, situation.kind) {
        // It connects to the port on which it should listen.
        (Role::Server, Kind::NotListening)
            if has(&["ConnectionRefused", "onnection refused", "ECONNREFUSED"]) =>
        {
            Some("this seems to be a client, which finds no server: check it with the role client".into())
        }
        // The tester listens on the port.
        (Role::Client, Kind::NotConnected)
            if has(&["ddress already in use", "AddrInUse", "EADDRINUSE"]) =>
        {
            Some(
                "this seems to be a server, whose port the tester has: check it with the role server".into(),
            )
        }
        _ => None,
    }
}

/// Returns what the program's output shows, if it did not print what it should.
fn output(situation: &Situation<'_>) -> Option<String> {
    let prints_bytes = ["b'", "b\""].iter().any(|text| situation.stdout.contains(text));
    (situation.kind == Kind::Output && prints_bytes)
        .then(|| "bytes were printed, with b'' around them: decode() them first".to_owned())
}

/// What to do if a program has printed nothing at all, but seems to print.
pub(super) const BUFFER: &str = "if the program prints it, it stays in a buffer: fflush(stdout) or setvbuf() in C, \
                                 $| = 1 in Perl, flush=True in Python, flush() in other languages";

/// Exception of Python for a file that does not exist.
const MISSING_FILE: &str = "FileNotFoundError";
/// Start of the exception of Python for too few bytes.
const SHORT: &str = "struct.error: unpack";

/// Part of the exception of Python for a text that is not a number.
const NOT_INTEGER: &str = "invalid literal for int()";

const ONE_NUMBER: &str = "text that is not exactly one number was converted: wait for a whole line, and take only that line";
/// What to do about a text that cannot be a number.
const NO_NUMBER: &str = "a text that is not a number was converted: catch that error (in Python ValueError, in Java \
     NumberFormatException), and do what the requirement says";

/// What to do when the peer has left.
const LEFT: &str =
    "recv() returns an empty result when the peer has left: test for it before the bytes are used";

/// Ends of exception lines of Python and Java, and what they mean here.
const EXCEPTIONS: [(&str, &str); 20] = [
    (
        "can't open file",
        "the command names a file that does not exist: check the name and the folder",
    ),
    ("Address already in use", "the port is in use: set SO_REUSEADDR before bind()"),
    (SHORT, unpack::TOO_FEW),
    (
        "UnicodeDecodeError",
        "bytes were decoded before the message was complete, or they are binary: collect all bytes first",
    ),
    ("a bytes-like object is required, not 'str'", "sockets send bytes: encode() the text first"),
    (
        "ConnectionRefusedError",
        "it connects to another address: use the host and the port that it is started with",
    ),
    (
        "ConnectionResetError",
        "recv() and send() raise ConnectionResetError when the peer resets: catch it",
    ),
    (
        "ConnectionAbortedError",
        "recv() and send() raise ConnectionAbortedError when the peer resets: catch it",
    ),
    ("BrokenPipeError", "send() raises BrokenPipeError when the peer has closed: catch it"),
    ("EOFError", "it reads more lines of input than the exercise has"),
    (NOT_INTEGER, ONE_NUMBER),
    ("NumberFormatException", ONE_NUMBER),
    (
        "IndexError",
        "an empty result of recv() is the end of the stream: test for it before its bytes are used",
    ),
    (
        MISSING_FILE,
        "a file is missing in the folder where the program was started, which is the one where socklab runs",
    ),
    (
        "'str' object cannot be interpreted as an integer",
        "an argument of the command is text: convert it to a number, in Python int(sys.argv[1])",
    ),
    (
        "an integer is required (got type str)",
        "an argument of the command is text: convert it to a number, in Python int(sys.argv[1])",
    ),
    ("SyntaxError", "the program cannot be compiled"),
    ("ModuleNotFoundError", "the program imports a module that is not installed"),
    (
        "SocketException: Connection reset",
        "reads and writes throw a SocketException when the peer resets: catch it",
    ),
    (
        "EOFException",
        "the end of the stream came before the message was complete: handle EOFException",
    ),
];

/// Returns what the last exception in the program's standard error means.
fn exception(situation: &Situation<'_>) -> Option<String> {
    let has_left = matches!(situation.group, Group::Close | Group::Reset);
    // A program that logs the exceptions that it handles has other problems.
    let lines = situation.stderr.lines().rev().take(20);
    lines.filter(|line| !line.starts_with(' ')).find_map(|line| {
        if situation.is_datagrams
            && let Some(meaning) = datagrams::exception(line, situation)
        {
            return Some(meaning.to_owned());
        }
        let (text, meaning) = EXCEPTIONS.iter().find(|(text, _)| line.contains(text))?;
        if *text == MISSING_FILE && situation.group != Group::Basic {
            // The case asks for one that does not exist.
            return None;
        }
        // Too few bytes are the consequence of the end then.
        let is_consequence =
            has_left && matches!(*text, SHORT | "IndexError" | "UnicodeDecodeError");
        let meaning = match *text {
            _ if is_consequence => LEFT,
            SHORT => unpack::meaning(line, situation),
            // The case sends or types it.
            _ if *meaning == ONE_NUMBER && situation.group == Group::BadInput => NO_NUMBER,
            _ => meaning,
        };
        Some(meaning.to_owned())
    })
}

/// Returns what the difference of expected and actual bytes shows.
fn difference(situation: &Situation<'_>) -> Option<String> {
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    if situation.kind == Kind::Unexpected && matches!(actual, b"\n" | b"\r\n") {
        return Some("a newline follows the last message: it is not part of it".to_owned());
    }
    if expected.is_empty() || actual.is_empty() {
        return None;
    }
    let text = |text: &str| Some(text.to_owned());
    if let Some(rest) = actual.strip_prefix(expected) {
        return match rest {
            b"\n" | b"\r\n" => text("a newline was added"),
            _ => None,
        };
    }
    if expected.strip_suffix(b"\n") == Some(actual) {
        return text("the newline at the end of the line is missing");
    }
    if expected.starts_with(actual)
        && actual.len() < expected.len()
        && std::str::from_utf8(expected).is_ok_and(|text| text.chars().count() == actual.len())
    {
        return text(
            "the length counts characters, not bytes: encode the text first, then take its length",
        );
    }
    if actual.starts_with(b"b'") || actual.starts_with(b"b\"") {
        return text("str() of bytes was sent, with b'' around it: use decode() and encode()");
    }
    let has_escape = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == br"\n");
    if has_escape(actual) && !has_escape(expected) {
        return text("a backslash and an n were sent instead of a newline");
    }
    let unquoted = actual.trim_ascii();
    if unquoted.len() >= 2 && expected.trim_ascii() == unquoted.get(1..unquoted.len() - 1)? {
        return text("the text was sent in quotes or brackets");
    }
    if matches!(expected.len(), 2 | 4 | 8) {
        let reversed: Vec<u8> = expected.iter().rev().copied().collect();
        if actual.starts_with(&reversed) {
            return text("it is right in little-endian order: send it big-endian");
        }
        let number = expected.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        if actual.starts_with(number.to_string().as_bytes()) {
            return text("it is decimal text: send the bytes of the integer, big-endian");
        }
    }
    if expected.eq_ignore_ascii_case(actual) {
        return text("upper and lower case differ");
    }
    let (one, other) = (expected.trim_ascii(), actual.trim_ascii());
    if one == other {
        return text("white space or line ends differ");
    }
    None
}

/// Nothing arrives, and the program has not failed.
pub(super) const IN_BUFFER: &str = "nothing was sent: does it stay in a buffer? call flush() after each message, in Java also of a PrintWriter";

/// The program that has served the case before does not serve this one.
pub(super) const ONE_CLIENT_KEPT: &str = "the server seems to serve one client only: accept() the next one in a loop, or check it without --keep, which starts \
     it for each case";

/// The program is not reached, and was not given the port.
pub(super) const NO_PORT: &str = "the command has no {port}: write {port}, and {host} for a client, where the program takes \
     its address, or give --port N for a port that is fixed in the program";

/// Returns whether both the expected and the actual bytes are known, and are text.
fn is_text(situation: &Situation<'_>) -> bool {
    [&situation.bytes.expected, &situation.bytes.actual].into_iter().all(|bytes| {
        !bytes.is_empty()
            && bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    })
}

/// Hint for a program that asks for something and waits.
pub(super) fn asks(stdout: &str) -> Option<String> {
    let last = stdout.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    // What stands between the same question twice is the answer to what was typed.
    if let Some((before, _)) = stdout.rsplit_once(last)
        && let Some((_, between)) = before.rsplit_once(last)
    {
        let refusal = one_line(between.trim());
        return Some(match between.trim() {
            "" => format!("it refused what was typed: it printed {} again", quoted(last)),
            _ => format!("it refused what was typed: it printed \"{refusal}\" and asked again"),
        });
    }
    Some(format!(
        "it printed {} and waits for input: --stdin '{{host}}\\n{{port}}\\n{{message}}' types host and port into it first",
        quoted(last)
    ))
}

/// Returns whether a program has ended because an argument of its command is missing.
pub(super) fn lacks_argument(stderr: &str) -> bool {
    let texts = ["list index out of range", "ArrayIndexOutOfBounds", "usage", "Usage", "required"];
    // The error of a datagram without a receiver has the word too.
    let mut lines = stderr.lines().filter(|line| !line.contains("address required"));
    lines.any(|line| texts.iter().any(|text| line.contains(text)))
}

/// Returns the mistake that the group of the case looks for.
pub(super) fn by_group(situation: &Situation<'_>) -> Option<String> {
    if situation.is_datagrams {
        return datagrams::by_group(situation).map(str::to_owned);
    }
    let text = match (situation.group, situation.kind) {
        // An error of its own, which is shown, is why.
        (_, Kind::NotConnected | Kind::NotListening)
            if situation.group == Group::Basic
                && (!situation.has_ended || situation.stderr.trim().is_empty()) =>
        {
            "use the host and the port that the program is started with: {host} and {port} in the command, or the \
             environment variables HOST and PORT; --port names a port that is fixed in the program"
        }
        (_, Kind::System) => return None,
        (_, Kind::Spinning) => {
            "recv() returns an empty result at the end of the stream, again and again: leave the loop then"
        }
        (Group::Basic, Kind::Running) => {
            "the program waits for something that does not come: leave the loop and close the socket after the last \
             message"
        }
        (Group::Basic, Kind::Silent)
            if situation.role == Role::Server && situation.sent.is_empty() =>
        {
            "the server speaks first here: it sends before it receives"
        }
        (Group::Basic, Kind::StillOpen) => {
            "the last message is followed by the close of the connection"
        }
        (Group::Basic, Kind::Output) => {
            "the document asks for this output: nothing may be missing, and nothing added to what was received"
        }
        (Group::Basic, Kind::Different) if is_text(situation) => {
            "the text is another one than the document's: compare it at the caret, letter by letter"
        }
        (Group::Basic, Kind::Exit) => "a program that has done its work ends with exit code 0",
        (Group::Basic, Kind::Silent | Kind::Closed)
            if situation.bytes.actual.is_empty() && situation.stderr.trim().is_empty() =>
        {
            IN_BUFFER
        }
        (Group::Basic, _) => return None,
        (Group::Segmentation, _) => {
            "one recv() was probably taken for one whole message: TCP may deliver it in pieces, so repeat recv() until \
             all its bytes have arrived"
        }
        (Group::Coalescing, _) => {
            "one recv() may return more than one message: take only the bytes of the first one, and keep the rest for \
             the next"
        }
        (Group::Slow, _) => {
            "the program seems to give up, or to take what has arrived so far for all of it"
        }
        (Group::Close | Group::Reset | Group::Sequential, kind)
            if kind == Kind::NotListening
                || situation.has_ended
                    && situation.stderr.is_empty()
                    && situation.role == Role::Server =>
        {
            "the server seems to serve one client only: accept() the next one in a loop, and keep the listening socket \
             open"
        }
        (Group::Close, _) => {
            "recv() returns an empty result at the end of the stream, when the peer has closed: test for it in every loop"
        }
        (Group::Reset, _) => {
            "recv() and send() fail when the peer resets the connection: catch that error"
        }
        (Group::Sequential, Kind::Silent | Kind::Closed | Kind::Reset) => {
            "the server does not serve this client: does it still wait for the one before? accept() the next one when a \
             client has left"
        }
        (Group::Restart, _) => {
            "the port is still in use by old connections: set SO_REUSEADDR before bind()"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::failure::Bytes;
    use super::super::setup::Wire;
    use super::*;

    fn hint(expected: &[u8], actual: &[u8], stderr: &str) -> String {
        let bytes = Bytes { expected: expected.to_vec(), actual: actual.to_vec() };
        specific(&Situation {
            role: Role::Server,
            group: Group::Basic,
            is_datagrams: false,
            wire: &Wire::default(),
            kind: Kind::Different,
            bytes: &bytes,
            sent: &[],
            case_hint: None,
            has_ended: false,
            stdout: "",
            stderr,
        })
        .unwrap_or_default()
    }

    #[test]
    fn differences_of_bytes_are_recognised() {
        for (expected, actual, text) in [
            (&b"Ada\n"[..], &b"Ada"[..], "newline at the end of the line is missing"),
            (b"Ada", b"Ada\n", "newline was added"),
            ("Zoë Müller\n".as_bytes(), "Zoë Müll".as_bytes(), ""),
            ("Zoë Müller\n".as_bytes(), "Zoë Mülle".as_bytes(), "counts characters"),
            (b"Ada\n", b"b'Ada'", "str() of bytes"),
            (b"Ada\n", br"Ada\n", "a backslash and an n"),
            (b"Ada\n", b"\"Ada\"\n", "quotes"),
            (&[0, 0, 1, 2], &[2, 1, 0, 0], "little-endian"),
            (&[0, 0, 1, 2], b"258", "decimal text"),
            (b"WIN\n", b"win\n", "case"),
            (b"WIN\n", b" WIN \n", "white space"),
        ] {
            assert!(hint(expected, actual, "").contains(text), "{expected:?} {actual:?}");
        }
        assert_eq!(hint(b"one\n", b"two\n", ""), "");
    }

    #[test]
    fn the_address_on_which_a_server_listens_is_named() {
        let hint =
            |other: &str| listens_on(other.parse().unwrap(), "127.0.0.1:20123".parse().unwrap());
        let text = hint("[::1]:20123");
        assert!(
            text.contains("on [::1]:20123, not on 127.0.0.1:20123: bind() it to 127"),
            "{text}"
        );
        assert!(hint("0.0.0.0:8000").ends_with("--port 8000"));
    }

    #[test]
    fn a_program_that_asks_is_quoted() {
        let hint = asks("Welcome\nEnter IPv4 address of server: ").unwrap();
        assert!(
            hint.starts_with("it printed \"Enter IPv4 address of server:\" and waits"),
            "{hint}"
        );
        assert!(hint.contains("--stdin '{host}\\n{port}\\n{message}'"), "{hint}");
        assert_eq!(asks(" \n"), None);
    }

    #[test]
    fn an_argument_is_missing_only_if_the_program_says_so() {
        assert!(lacks_argument("prog: error: the following arguments are required: host"));
        assert!(lacks_argument("IndexError: list index out of range"));
        assert!(!lacks_argument("OSError: [Errno 89] Destination address required"));
    }

    #[test]
    fn a_program_that_asks_again_has_refused_what_was_typed() {
        let hint = asks("Name? Number: Invalid, try again.\nNumber: ").unwrap();
        assert!(hint.contains("it printed \"Invalid, try again.\" and asked again"), "{hint}");
        assert!(asks("Number:\nNumber:\n").unwrap().contains("printed \"Number:\" again"));
    }

    #[test]
    fn the_last_exception_is_explained() {
        let stderr = "Traceback (most recent call last):\n  File \"x.py\", line 3\nstruct.error: unpack requires a \
                      buffer of 9 bytes\n";
        assert!(hint(b"", b"", stderr).contains("repeat recv()"));
        assert_eq!(hint(b"", b"", "  a line of code: raise EOFError\n"), "");
    }
}
