//! Turns of the games: prompts without a newline, and lines.

use std::time::Duration;

use socklab_core::machine::StreamState;

use super::case::{Group, Situation, Step, step};
use super::failure::{Failure, Kind};
use super::setup::Role;
use super::talk::{Outcome, Parsed, Talk};
use crate::faults::Faults;

/// Time without a byte after which a text is a prompt, whatever its end is.
const IDLE: Duration = Duration::from_millis(200);
/// A shorter text may be the start of a prompt, such as `Player1: `.
const SHORT: usize = 16;
/// Longest line and longest prompt.
const MAX: usize = 4096;

pub(super) const NO_FAULTS: Faults = Faults {
    cut: None,
    gap: Duration::ZERO,
    glue: Duration::ZERO,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    rate: None,
    flip: None,
    ending: None,
};

pub(super) const NO_NEWLINE: &str = "the newline at the end of the line is missing";
pub(super) const PROMPT_END: &str = "the prompt has no newline at its end: take what one recv() returns, or wait for the colon and the space";
pub(super) const ONE_RECV: &str = "one recv() was probably taken for one whole message: TCP may deliver it in pieces, so repeat recv() until all of it \
     has arrived";
const PROMPT_NEWLINE: &str = "the prompt was sent with a newline: it ends with a colon and a space, and the client takes a line that follows it for \
     the reply";
const EXTRA_LINE: &str =
    "the client takes what arrives first for the prompt: send no other line before it";

/// Removes white space at the end of a line, and at its start.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// Returns the words of a text with single spaces between them.
pub(super) fn words(text: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> =
        text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// Receives a prompt of the program. Its words may differ from those of the document.
pub(super) fn receive_prompt(talk: &mut Talk) -> Outcome<Vec<u8>> {
    talk.receive_ended("the prompt", IDLE, |bytes, state| match state {
        StreamState::Open => prompt(bytes),
        StreamState::Idle if !trimmed(bytes).is_empty() => Parsed::Done(bytes.len()),
        StreamState::Idle | StreamState::Ended(_) => Parsed::More,
    })
}

/// Looks for the end of a prompt.
fn prompt(bytes: &[u8]) -> Parsed {
    // The document's own prompt starts with empty lines where it is not sent.
    let start = bytes.len() - bytes.trim_ascii_start().len();
    let text = bytes.get(start..).unwrap_or_default();
    if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
        let line = text.get(..end).unwrap_or_default();
        return match line.trim_ascii_end().last() {
            Some(b':' | b'?') => {
                let expected = [line.trim_ascii_end(), b" "].concat();
                Parsed::Wrong(Some(expected), "the prompt ends with a newline".into())
            }
            _ => Parsed::Wrong(None, "a line arrived instead of the prompt".into()),
        };
    }
    if bytes.len() > MAX {
        return Parsed::Wrong(None, format!("the prompt has no end within {MAX} bytes"));
    }
    let is_whole = text.len() >= SHORT && text.trim_ascii_end().ends_with(b":");
    if is_whole { Parsed::Done(bytes.len()) } else { Parsed::More }
}

pub(super) fn prompted() -> Step {
    step("receive the prompt", |talk| receive_prompt(talk).map(drop))
}

/// Checks the end of a prompt that has been received.
pub(super) fn check_prompt_end(prompt: &[u8]) -> Outcome {
    if prompt.trim_ascii_end().ends_with(b":") {
        return Ok(());
    }
    let expected = [prompt.trim_ascii_end(), b": "].concat();
    let failure = Failure::new(Kind::Different, "the prompt has another end");
    let failure = Box::new(failure.bytes(expected, prompt));
    Err(failure.hint("a client may wait for the colon and the space"))
}

pub(super) fn prompt_end() -> Step {
    step("receive a prompt that ends with a colon and a space", |talk| {
        receive_prompt(talk).and_then(|prompt| check_prompt_end(&prompt))
    })
}

/// Receives a line. Returns it without its newline and the white space around it.
pub(super) fn receive_line(talk: &mut Talk, what: &str) -> Outcome<Vec<u8>> {
    let line = talk.receive(what, |bytes| match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Parsed::Done(end + 1),
        None if bytes.len() > MAX => {
            Parsed::Wrong(None, format!("{what} has no newline within {MAX} bytes"))
        }
        None => Parsed::More,
    })?;
    Ok(trimmed(&line).to_vec())
}

/// Receives this line, given without its newline. White space around it is allowed.
pub(super) fn receive_text(talk: &mut Talk, what: &str, text: &[u8]) -> Outcome {
    let line = receive_line(talk, what).map_err(|failure| expecting(failure, text))?;
    if line == text {
        return Ok(());
    }
    Err(different(format!("{what} is wrong"), text, &line))
}

/// Adds the expected line to a failure, unless it has one.
pub(super) fn expecting(mut failure: Box<Failure>, text: &[u8]) -> Box<Failure> {
    if let Some(bytes) = failure.bytes.as_mut().filter(|bytes| bytes.expected.is_empty()) {
        bytes.expected = [text, b"\n"].concat();
    }
    failure
}

/// Returns the failure of a line that differs from the expected one, both given without a newline.
pub(super) fn different(message: String, expected: &[u8], actual: &[u8]) -> Box<Failure> {
    let line = |text: &[u8]| [text, b"\n"].concat();
    Box::new(Failure::new(Kind::Different, message).bytes(line(expected), line(actual)))
}

/// Sends bytes with these faults, and waits until the program has read them: some programs take what one `recv()`
/// returns for one message.
pub(super) fn say(talk: &mut Talk, bytes: &[u8], faults: Faults) -> Outcome {
    talk.set_faults(faults);
    talk.send(bytes)?;
    talk.set_faults(NO_FAULTS);
    talk.settle()
}

/// Sends bytes in these parts, and waits until the program has read them.
pub(super) fn say_parts(talk: &mut Talk, bytes: &[u8], cut: usize) -> Outcome {
    let (front, back) = bytes.split_at(cut.min(bytes.len()));
    talk.send_parts([front, back].into_iter().filter(|part| !part.is_empty()))?;
    talk.settle()
}

/// Sends a message and waits until the program has read it.
pub(super) fn says(what: &str, bytes: impl Into<Vec<u8>>) -> Step {
    let bytes = bytes.into();
    step(format!("send {what}"), move |talk| say(talk, &bytes, NO_FAULTS))
}

/// Plays with another client, if the server accepts one. A server may serve one client only, which is judged elsewhere.
pub(super) fn next_client(text: &'static str, play: fn(&mut Talk) -> Outcome) -> Step {
    /// Time for the first message.
    const FIRST: Duration = Duration::from_secs(1);
    step(text, move |talk| {
        talk.set_faults(NO_FAULTS);
        if talk.connect().is_err() {
            return Ok(());
        }
        match talk.silent(FIRST) {
            Err(failure) if failure.kind == Kind::Unexpected => play(talk),
            _ => Ok(()),
        }
    })
}

/// Sends a line to a server with the faults in force, and waits until it has read all of it. Otherwise a server that has
/// answered too early could take the end of the line and the next line for one message.
pub(super) fn send_line(talk: &mut Talk, line: &str) -> Outcome {
    talk.send(format!("{line}\n").as_bytes())?;
    talk.settle()
}

/// Waits for the end of the connection. `hint` is the likely mistake, if the program sends something instead.
pub(super) fn closed(hint: &'static str) -> Step {
    step("see the connection closed", move |talk| {
        talk.closed(false).map_err(|failure| match failure.kind {
            Kind::Unexpected => failure.hint(hint),
            _ => failure,
        })
    })
}

/// Returns a likely mistake in the form of lines and prompts.
pub(super) fn hint(situation: &Situation<'_>) -> Option<String> {
    // There the mistake is another one.
    if matches!(situation.group, Group::Segmentation | Group::Coalescing | Group::Slow) {
        return None;
    }
    let (expected, actual) =
        (situation.bytes.expected.as_slice(), situation.bytes.actual.as_slice());
    let has_newline = actual.contains(&b'\n');
    let text = match situation.kind {
        Kind::Incomplete | Kind::Closed
            if !has_newline && !actual.is_empty() && !expected.is_empty() =>
        {
            NO_NEWLINE
        }
        Kind::Different if situation.role == Role::Server => {
            if expected.ends_with(b": ") || actual.starts_with(b"\n") {
                PROMPT_NEWLINE
            } else if expected.is_empty() && has_newline && actual.trim_ascii_end().ends_with(b":")
            {
                EXTRA_LINE
            } else {
                return None;
            }
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_ends_with_a_colon_and_has_no_newline() {
        for text in ["I will toss a coin, guess : ", "\n\nPlayer1: enter (1) Scissor : "] {
            assert!(
                matches!(prompt(text.as_bytes()), Parsed::Done(n) if n == text.len()),
                "{text}"
            );
        }
        for text in ["", "\n", "I will toss a coin, ", "Player1: ", "Player1: Enter (1) Scissor "] {
            assert!(matches!(prompt(text.as_bytes()), Parsed::More), "{text}");
        }
        for text in ["Enter your guess: \n", "Head or tail?\n", "Welcome\nGuess : "] {
            assert!(matches!(prompt(text.as_bytes()), Parsed::Wrong(..)), "{text}");
        }
    }

    #[test]
    fn words_have_single_spaces() {
        assert_eq!(words(b" one\t  two\r\n"), b"one two");
        assert_eq!(words(b""), b"");
    }
}
