//! Cases of the file transfer, in the form of the document.

mod client;
mod pair;
mod server;

use super::case::{Case, Protocol, Situation};
use super::failure::Kind;
use super::setup::{Role, Wire};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "file",
    cases,
    pair: &pair::PAIR,
    hint,
    wire: &[("newline", &["no", "yes"], "whether a newline follows the name that a server gets")],
};

const TRANSFER: &str = "002, 3 File Transfer";
const STREAM: &str = "003, 2.4.2 Receiving data from TCP Sockets";
const ENDINGS: &str = "003, 2.5 Detecting when a connection closes";

/// Size of the blocks in which a server sends, by the document.
const BLOCK: usize = 1024;

fn cases(role: Role, wire: &Wire) -> Vec<Case> {
    match role {
        Role::Server => server::cases(has_newline(wire)),
        Role::Client | Role::Pair => client::cases(),
    }
}

fn has_newline(wire: &Wire) -> bool {
    wire.get("newline", "no") == "yes"
}

/// A short text with the line ends of two systems, and characters of several bytes.
const NOTES: &str =
    "Notes for Lab 2\r\n\r\nnaïve café: 中文 ☃ 🙂\n\ttabs, and spaces at the end  \n";

/// Returns a file of this number of bytes: any bytes, without repetition.
fn binary(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
    bytes
}

/// Returns a text file of this number of bytes, in which no two places look alike.
fn text(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|n| format!("line {n:05}\n").into_bytes()).take(length).collect()
}

/// Returns the likely mistake of a program that has sent or written other bytes than those of the file. `actual` may be
/// incomplete, if it is not what `is_whole` says.
fn mistake(role: Role, expected: &[u8], actual: &[u8], is_whole: bool) -> Option<String> {
    let text = |text: &str| Some(text.to_owned());
    let (n, k) = (expected.len(), actual.len());
    if k == 0 {
        return (role == Role::Client && n > 0).then(|| {
            "nothing was written to the file: write every block, the first and the last one too"
                .to_owned()
        });
    }
    if actual.starts_with(b"b'") || actual.starts_with(b"b\"") {
        return text("str() of bytes was used, with b'' around them: use the bytes as they are");
    }
    if is_whole && k < n && expected.starts_with(actual) {
        if expected.get(k..).is_some_and(|rest| rest.trim_ascii().is_empty()) {
            return text(STRIPPED);
        }
        // With one block it may be any mistake.
        if k > BLOCK && k == (n - 1) / BLOCK * BLOCK {
            return Some(format!(
                "the last {} bytes are missing: a block of less than {BLOCK} bytes belongs to the file too",
                n - k
            ));
        }
        return Some(match role {
            Role::Client | Role::Pair => format!(
                "only the first {k} of {n} bytes were written: repeat recv() until it returns an empty result, and do not \
                 take a short block for the last one"
            ),
            Role::Server => format!(
                "only the first {k} of {n} bytes were sent: send every block, and use sendall(), because send() may take \
                 only a part of the bytes"
            ),
        });
    }
    if is_whole && k < n && k + BLOCK >= n && expected.ends_with(actual) {
        return text("the first block is missing: use each block before the next one is read");
    }
    // What arrived of a stream is compared as far as it goes.
    let is_like = |other: &[u8]| {
        if is_whole { other == actual } else { k > 8 && other.starts_with(actual) }
    };
    let crlf = replaced(expected, b"\n", b"\r\n");
    if is_like(&crlf) || is_like(&replaced(expected, b"\r\n", b"\n")) {
        return text("line ends were changed: open the file in binary mode, with \"rb\" or \"wb\"");
    }
    let at = expected.get(..n.min(16)).filter(|start| !start.is_empty()).and_then(|start| {
        (1..k.min(300)).find(|at| actual.get(*at..).is_some_and(|rest| rest.starts_with(start)))
    });
    if let Some(at) = at.filter(|_| n >= 4) {
        return Some(match role {
            Role::Server => format!(
                "{at} byte{} sent before the file: the document's form has the bytes of the file only, no size and no \
                 status",
                if at == 1 { " was" } else { "s were" }
            ),
            Role::Client | Role::Pair => format!(
                "{at} byte{} before those that were sent: open the file with \"wb\", which replaces what was there",
                if at == 1 { " stands" } else { "s stand" }
            ),
        });
    }
    if k > n && actual.starts_with(expected) {
        return text("the file is followed by other bytes: nothing else belongs to it");
    }
    let solid = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
    };
    if solid(expected) == solid(actual) {
        return text(STRIPPED);
    }
    let is_text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    if is_text(actual) && !is_text(expected) {
        return text(
            "bytes that are not text were changed: do not decode() the blocks, and open the file with \"rb\" or \"wb\"",
        );
    }
    // Enough bytes to find where they belong.
    let same = expected.iter().zip(actual).take_while(|(one, other)| one == other).count();
    let next = actual.get(same..k.min(same + 16)).filter(|next| same > 0 && next.len() >= 8);
    let rest = expected.get(same..).unwrap_or_default();
    if role == Role::Server
        && next.is_some_and(|next| rest.windows(next.len()).any(|part| part == next))
    {
        return Some(format!(
            "after the first {same} bytes a part is missing: send every block that is read, and use sendall(), because \
             send() may take only a part of the bytes, or none"
        ));
    }
    None
}

const STRIPPED: &str =
    "white space was removed: blocks may start and end with it, so do not strip() them";

/// Returns the bytes with each occurrence of `from` replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut all, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some((first, others)) = rest.split_first() {
        if let Some(others) = rest.strip_prefix(from) {
            all.extend_from_slice(to);
            rest = others;
        } else {
            all.push(*first);
            rest = others;
        }
    }
    all
}

/// Returns the likely mistake in a request.
fn request_mistake(expected: &[u8], actual: &[u8]) -> Option<String> {
    let text = |text: &str| Some(text.to_owned());
    let front = actual.strip_suffix(expected)?;
    match front {
        [.., b':'] => text(
            "the whole argument was sent: split it at the colons, and send only what follows the second one",
        ),
        [.., b'/' | b'\\'] => text("the name was sent with a folder in front of it"),
        [.., b' '] => {
            text("a word was sent before the name: the document's request is the name only")
        }
        _ if matches!(front.len(), 1 | 2 | 4 | 8) => {
            text("a length was sent before the name: the document's request is the name only")
        }
        _ => None,
    }
}

/// Returns whether a program of Python has failed to decode what it has read from a file. `decode()` of bytes that have
/// arrived leaves no line about codecs.
fn reads_text(situation: &Situation<'_>) -> bool {
    let is_name_text = situation.sent.iter().all(|write| str::from_utf8(write).is_ok());
    is_name_text
        && ["UnicodeDecodeError", "codecs"].iter().all(|text| situation.stderr.contains(text))
}

fn hint(situation: &Situation<'_>) -> Option<String> {
    let text = |text: &str| Some(text.to_owned());
    if situation.role == Role::Server && reads_text(situation) {
        return text("the file was opened as text: open it in binary mode, with \"rb\"");
    }
    if situation.role == Role::Client || situation.case_hint.is_some() {
        return None;
    }
    let nothing = situation.bytes.actual.is_empty();
    let says = |text: &str| situation.stdout.contains(text) || situation.stderr.contains(text);
    match situation.kind {
        Kind::Silent | Kind::Incomplete if !has_newline(situation.wire) && nothing => text(
            "the server waits for more than the name, which is sent without a newline: a server that reads a line is \
             checked with --wire newline=yes",
        ),
        Kind::Closed | Kind::Reset
            if nothing && has_newline(situation.wire) && says("No such file") =>
        {
            text("the newline at the end of the line is not part of the name: strip() it")
        }
        Kind::Closed | Kind::Reset if nothing && says("No such file") => text(
            "the file is in the folder in which the server is started, or in that of the placeholder {dir}; its name is \
             all that is sent, as UTF-8",
        ),
        Kind::StillOpen => text(
            "close the connection after the last byte of the file: the client finds the end of the file by it",
        ),
        Kind::Unexpected => {
            text("the close is the end of the file: send nothing after its last byte")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_with_the_bytes_are_recognised() {
        let (file, any) = (text(3000), binary(3000));
        let stripped: Vec<u8> = file.chunks(1100).flat_map(<[u8]>::trim_ascii).copied().collect();
        for (role, expected, actual, hint) in [
            (Role::Client, &file, file[..700].to_vec(), "repeat recv()"),
            (Role::Server, &file, file[..700].to_vec(), "sendall()"),
            (Role::Client, &file, file[..2048].to_vec(), "last 952 bytes"),
            (Role::Client, &file, file[1024..].to_vec(), "first block"),
            (Role::Client, &file, replaced(&file, b"\n", b"\r\n"), "line ends"),
            (Role::Client, &file, stripped, "white space"),
            (Role::Client, &file, [b"old\n", &file[..]].concat(), "4 bytes stand before"),
            (Role::Server, &any, [&[0, 0, 11, 184], &any[..]].concat(), "4 bytes were sent before"),
            (Role::Server, &any, [&any, &b"EOF"[..]].concat(), "followed by other bytes"),
            (Role::Client, &any, String::from_utf8_lossy(&any).into_owned().into(), "not text"),
            (Role::Client, &any, b"b'\\x01".to_vec(), "str() of bytes"),
            (
                Role::Server,
                &any,
                [&any[..1024], &any[1500..]].concat(),
                "after the first 1024 bytes",
            ),
        ] {
            let found = mistake(role, expected, &actual, true).unwrap_or_default();
            assert!(found.contains(hint), "{hint}: {found}");
        }
        assert_eq!(mistake(Role::Client, &file, &any, true), None);
    }

    #[test]
    fn mistakes_in_a_request_are_recognised() {
        for (actual, hint) in [
            (&b"127.0.0.1:7:a.txt"[..], "whole argument"),
            (b"./a.txt", "folder"),
            (b"\0\0\0\x05a.txt", "length"),
            (b"GET a.txt", "word"),
        ] {
            let found = request_mistake(b"a.txt", actual).unwrap_or_default();
            assert!(found.contains(hint), "{hint}: {found}");
        }
        assert_eq!(request_mistake(b"a.txt", b"b.txt"), None);
    }

    #[test]
    fn a_binary_file_has_every_byte() {
        let bytes = binary(300_000);
        assert!((0..=255).all(|byte| bytes.contains(&byte)));
    }
}
