//! Lines of text: what the steps of several protocols have in common.

use super::case::{Step, step};
use super::failure::Kind;
use super::steps::quoted;
use super::talk::{Outcome, Parsed, Talk};

/// Longest line that is waited for.
const LONGEST: usize = 64 * 1024;
/// UTF-8 byte order mark, which some systems write at the start of a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Likely mistake where a line has arrived in pieces.
pub(super) const ONE_RECV: &str = "one recv() was probably taken for one whole line: TCP may deliver it in pieces, so repeat recv() until the \
     newline has arrived";

/// Likely mistake where a character has arrived in pieces.
pub(super) const SPLIT_CHARACTER: &str = "a character was decoded before all its bytes had arrived: collect the whole line first, then decode() it";

/// Returns a line of 1000 bytes in which no two places look alike.
pub(super) fn long() -> String {
    (0..124).map(|n| format!("{n:07} ")).collect::<String>() + "the end."
}

/// Receives this line, which is given without its end.
pub(super) fn line(what: &str, text: &str) -> Step {
    let (what, text) = (what.to_owned(), text.to_owned());
    step(format!("receive {what}"), move |talk| receive_line(talk, &what, &text))
}

/// Receives this line. A carriage return before the newline and a byte order mark before the text are accepted.
pub(super) fn receive_line(talk: &mut Talk, what: &str, text: &str) -> Outcome {
    let expected = [text.as_bytes(), b"\n"].concat();
    let parse = |bytes: &[u8]| progress(bytes, text.as_bytes(), what);
    talk.receive(what, parse).map(|_| ()).map_err(|mut failure| {
        if let Some(bytes) = &mut failure.bytes {
            bytes.expected.clone_from(&expected);
        }
        failure
    })
}

/// Returns whether the bytes are this line, or its start.
fn progress(bytes: &[u8], text: &[u8], what: &str) -> Parsed {
    let is_start =
        |of: &[u8], ends: &[&[u8]]| ends.iter().any(|end| [text, end].concat().starts_with(of));
    let body = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let ends = [&b"\n"[..], b"\r\n"];
    for end in ends {
        if body.strip_prefix(text).is_some_and(|rest| rest.starts_with(end)) {
            return Parsed::Done(bytes.len() - body.len() + text.len() + end.len());
        }
    }
    if is_start(body, &ends) || MARK.starts_with(bytes) {
        Parsed::More
    } else {
        Parsed::Wrong(None, format!("{what} is wrong"))
    }
}

/// Receives any line. Returns it without its end.
pub(super) fn receive_any_line(talk: &mut Talk, what: &str) -> Outcome<Vec<u8>> {
    let parse = |bytes: &[u8]| match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Parsed::Done(end + 1),
        None if bytes.len() > LONGEST => {
            Parsed::Wrong(None, format!("{what} has no newline within {LONGEST} bytes"))
        }
        None => Parsed::More,
    };
    let line = talk.receive(what, parse).map_err(|failure| {
        let has_some = failure.bytes.as_ref().is_some_and(|bytes| !bytes.actual.is_empty());
        if has_some && matches!(failure.kind, Kind::Incomplete | Kind::Closed) {
            failure.hint("the newline at the end of the line is missing")
        } else {
            failure
        }
    })?;
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(text.strip_prefix(MARK).unwrap_or(text).to_vec())
}

/// Receives whatever comes until the program ends its stream.
pub(super) fn rest() -> Step {
    step("receive what comes until the connection ends", receive_rest)
}

/// Receives whatever comes until the program ends its stream.
pub(super) fn receive_rest(talk: &mut Talk) -> Outcome {
    match talk.receive("the end of the connection", |_| Parsed::More) {
        Err(failure) if matches!(failure.kind, Kind::Closed | Kind::Reset) => Ok(()),
        Err(mut failure) if matches!(failure.kind, Kind::Silent | Kind::Incomplete) => {
            failure.kind = Kind::StillOpen;
            "the program did not close the connection in time".clone_into(&mut failure.message);
            Err(failure)
        }
        outcome => outcome.map(|_| ()),
    }
}

/// Waits until the program has printed this text, as text.
pub(super) fn shows(text: &str) -> Step {
    let text = text.to_owned();
    step(format!("see {} printed", quoted(&text)), move |talk| shown(talk, &text))
}

/// Waits until the program has printed this text, or has ended.
pub(super) fn shown(talk: &mut Talk, text: &str) -> Outcome {
    let outcome = talk.printed(&quoted(text), |output| is_shown(output, text));
    outcome.map_err(|failure| {
        let output = talk.stdout();
        match printing_mistake(&output, text) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Returns whether the output has the text, and not only as the notation of bytes in Python.
pub(super) fn is_shown(output: &str, text: &str) -> bool {
    output.match_indices(text).any(|(at, _)| {
        let before = output.get(..at).unwrap_or_default();
        !before.ends_with("b'") && !before.ends_with("b\"")
    })
}

/// Returns why the output does not show the text.
pub(super) fn printing_mistake(output: &str, text: &str) -> Option<&'static str> {
    let start: String = text.chars().take(4).collect();
    if output.contains(&format!("b'{start}")) || output.contains(&format!("b\"{start}")) {
        Some("bytes were printed, with b'' around them: decode() them first")
    } else if output.contains('\u{fffd}') {
        Some(SPLIT_CHARACTER)
    } else if output.trim().is_empty() {
        Some("what arrives must be printed on the standard output")
    } else if start.chars().count() == 4 && output.contains(&start) {
        Some(
            "only the start of the line was printed: one recv() was probably taken for all of it, so repeat recv() until the \
             newline has arrived",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_end_with_a_carriage_return_and_start_with_a_mark() {
        let of = |bytes: &[u8]| progress(bytes, b"Hello", "a line");
        for (bytes, n) in
            [(&b"Hello\n"[..], 6), (b"Hello\r\nmore", 7), (b"\xef\xbb\xbfHello\nmore", 9)]
        {
            assert!(matches!(of(bytes), Parsed::Done(done) if done == n), "{bytes:?}");
        }
        for bytes in [&b""[..], b"Hel", b"Hello", b"Hello\r", b"\xef\xbb", b"\xef\xbb\xbfHe"] {
            assert!(matches!(of(bytes), Parsed::More), "{bytes:?}");
        }
        for bytes in [&b"hello\n"[..], b"Hello!\n", b"Hello\rx", b"\xefHello", b"b'Hello"] {
            assert!(matches!(of(bytes), Parsed::Wrong(None, _)), "{bytes:?}");
        }
    }

    #[test]
    fn mistakes_of_printing_are_recognised() {
        for (output, text) in [
            ("b'Hello from server\\n'\n", "bytes were printed"),
            ("Got: Hello fr\n", "only the start"),
            ("", "must be printed"),
            ("Gr\u{fffd}\u{fffd}\u{df}e\n", "before all its bytes"),
        ] {
            assert!(!is_shown(output, "Hello from server"));
            let hint = printing_mistake(output, "Hello from server");
            assert!(hint.is_some_and(|hint| hint.contains(text)), "{output:?}");
        }
        assert!(is_shown("b'Hello' is Hello", "Hello"));
        assert_eq!(printing_mistake("Good day\n", "Hello from server"), None);
    }
}
