//! Steps of all protocols.

use std::time::Duration;

use super::case::{Step, step};
use super::failure::{Failure, Kind};
use super::talk::{Outcome, Talk};
use crate::faults::{Cut, Faults};
use crate::text::one_line;

/// Connects to the program, which is a server.
pub(super) fn connect() -> Step {
    step("connect", Talk::connect)
}

/// Accepts the connection of the program, which is a client.
pub(super) fn accept() -> Step {
    step("accept the connection", Talk::accept)
}

/// Sends bytes: `what` names them.
pub(super) fn send(what: &str, bytes: impl Into<Vec<u8>>) -> Step {
    let bytes = bytes.into();
    step(format!("send {what}"), move |talk| talk.send(&bytes))
}

/// Sends parts in writes of their own. The program reads each before the next one leaves.
pub(super) fn send_parts(what: &str, parts: impl Into<Vec<Vec<u8>>>) -> Step {
    let parts = parts.into();
    step(format!("send {what} in {} writes", parts.len()), move |talk| {
        talk.send_parts(parts.iter().map(Vec::as_slice))
    })
}

/// Receives exactly these bytes: `what` names them.
pub(super) fn receive(what: &str, bytes: impl Into<Vec<u8>>) -> Step {
    let (what, bytes) = (what.to_owned(), bytes.into());
    step(format!("receive {what}"), move |talk| talk.receive_exactly(&what, &bytes))
}

/// Sends everything that follows one byte at a time.
pub(super) fn byte_by_byte() -> Step {
    faults("send byte by byte from here on", Faults { cut: Cut::every(1), ..Faults::default() })
}

/// Sends everything that follows in pieces of this size.
pub(super) fn pieces_of(n: usize) -> Step {
    faults(
        format!("send in pieces of {n} bytes from here on"),
        Faults { cut: Cut::every(n), ..Faults::default() },
    )
}

/// Sends everything that follows in pieces of random size.
pub(super) fn random_pieces() -> Step {
    faults(
        "send in random pieces from here on",
        Faults { cut: Some(Cut::Random), ..Faults::default() },
    )
}

/// Sends everything that follows one byte at a time, with this pause.
pub(super) fn slowly(gap: Duration) -> Step {
    let faults_ = Faults { cut: Cut::every(1), gap, ..Faults::default() };
    faults(format!("send a byte every {} ms from here on", gap.as_millis()), faults_)
}

/// Sends everything that follows with these faults.
pub(super) fn faults(text: impl Into<String>, faults: Faults) -> Step {
    step(text.into(), move |talk| {
        talk.set_faults(faults);
        Ok(())
    })
}

/// Waits.
pub(super) fn pause(ms: u64) -> Step {
    step(format!("wait {ms} ms"), move |talk| talk.pause(Duration::from_millis(ms)))
}

/// Checks that nothing arrives for a time.
pub(super) fn silence(ms: u64) -> Step {
    step(format!("receive nothing for {ms} ms"), move |talk| talk.silent(Duration::from_millis(ms)))
}

/// Waits for the orderly end of the program's stream.
pub(super) fn closed() -> Step {
    step("see the connection closed", |talk| talk.closed(false))
}

/// Waits for any end of the program's stream.
pub(super) fn closed_or_reset() -> Step {
    step("see the connection end", |talk| talk.closed(true))
}

/// Ends our stream. The program can still send.
pub(super) fn half_close() -> Step {
    step("close the sending side", Talk::half_close)
}

/// Ends our stream after the program has ended its own, or has not done so within the limit of a wait.
///
/// A client whose input has ended may not know that yet when its last reply arrives: it reads its input beside the
/// connection. An earlier end would come in the middle of the conversation then.
pub(super) fn close_second() -> Step {
    step("see the connection closed, or close it", |talk| {
        talk.ended_by_program()?;
        talk.half_close()
    })
}

/// Closes the connection in an orderly way.
pub(super) fn close() -> Step {
    step("close the connection", Talk::close)
}

/// Leaves the port of a program that closes first in TIME-WAIT, for a case that starts it again.
pub(super) fn leaves_port() -> Step {
    step("leave the port in TIME-WAIT from here on", |talk| {
        talk.leaves_port = true;
        Ok(())
    })
}

/// Waits until the program has read everything, so that a reset does not overtake it.
pub(super) fn settled() -> Step {
    step("wait until the program has read it", Talk::settle)
}

/// Resets the connection.
pub(super) fn reset() -> Step {
    step("reset the connection", Talk::reset)
}

/// Makes an earlier connection the current one, counted from 1.
pub(super) fn on_connection(number: usize) -> Step {
    step(format!("continue on connection {number}"), move |talk| {
        talk.use_connection(number - 1);
        Ok(())
    })
}

/// Types a line into the program.
pub(super) fn types(line: &str) -> Step {
    let line = line.to_owned();
    step(format!("type {}", quoted(&line)), move |talk| talk.type_line(&line))
}

/// Types a line, unless the program ends by itself.
///
/// A program that reads lines takes the text before the end of the stream for a line, such as a prompt, and waits for its
/// person then. It can notice the end after the next typed line only.
pub(super) fn types_unless_ended(line: &str) -> Step {
    let line = line.to_owned();
    step(format!("type {}, unless the program has ended", quoted(&line)), move |talk| {
        if talk.has_exited()? { Ok(()) } else { talk.type_line(&line) }
    })
}

const STRIPPED: &str = "white space at the start or the end of the text was removed, as by strip(): print the text as it is";

/// Waits until the program has printed this text as itself: not behind another letter or digit, and not in `b''`.
pub(super) fn prints_exactly(text: &'static str) -> Step {
    step(format!("see {} printed", quoted(text)), move |talk| {
        talk.printed(&quoted(text), |output| {
            output.match_indices(text).any(|(at, _)| {
                let front = output.get(..at).unwrap_or_default();
                !front.ends_with(char::is_alphanumeric)
                    && !front.ends_with("b'")
                    && !front.ends_with("b\"")
            })
        })
    })
}

const UNRECEIVED: &str = "only the text that was typed is printed: print what recv() returned, which lacks the first ten characters";

/// Waits until the program has printed the reply to a message. The reply is the end of its message, which may be printed too.
pub(super) fn prints_reply(message: &str, reply: &str) -> Step {
    let (message, reply) = (message.to_owned(), reply.to_owned());
    step(format!("see {} printed", quoted(&reply)), move |talk| {
        reply_printed(talk, &message, &reply)
    })
}

/// Waits until the program has printed the reply to a message.
pub(super) fn reply_printed(talk: &mut Talk, message: &str, reply: &str) -> Outcome {
    let printed = talk.printed(&quoted(reply), |output| has_reply(output, message, reply));
    printed.map_err(|failure| {
        let output = talk.stdout();
        if reply.trim() != reply && has_reply(&output, message, reply.trim()) {
            failure.hint(STRIPPED)
        } else if output.contains(reply.trim()) && !has_bytes(&output) {
            failure.hint(UNRECEIVED)
        } else {
            failure
        }
    })
}

/// Waits until the program has printed the replies to messages, in this order and not merged into one line. Each pair is a
/// message and its reply.
pub(super) fn prints_apart(pairs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Step {
    let pairs: Vec<_> = pairs.into_iter().collect();
    step("see each reply printed on a line of its own", move |talk| {
        let printed =
            talk.printed("each reply on a line of its own", |output| are_apart(output, &pairs));
        printed.map_err(|failure| {
            let output = talk.stdout();
            let stripped: Vec<_> = pairs.iter().map(|(all, reply)| (*all, reply.trim())).collect();
            if are_apart(&output, &stripped) {
                failure.hint(STRIPPED)
            } else if !has_bytes(&output)
                && stripped
                    .iter()
                    .any(|(all, reply)| output.contains(reply) && !has_reply(&output, all, reply))
            {
                failure.hint(UNRECEIVED)
            } else {
                failure
            }
        })
    })
}

/// Returns whether the output has bytes in the notation of Python, which is a mistake of its own.
fn has_bytes(output: &str) -> bool {
    output.contains("b'") || output.contains("b\"")
}

/// Returns whether the output has the reply to a message, and not only as the end of the message itself.
pub(super) fn has_reply(output: &str, message: &str, reply: &str) -> bool {
    let front = message.find(reply).and_then(|at| message.get(..at)).unwrap_or_default();
    // The text that was typed may be printed without the white space around it.
    let front = front.trim_start();
    output
        .match_indices(reply)
        .any(|(at, _)| front.is_empty() || !output.get(..at).unwrap_or_default().ends_with(front))
}

/// Returns whether the output has these replies in this order, and no two in one line.
fn are_apart(output: &str, pairs: &[(&str, &str)]) -> bool {
    let mut lines = output.lines();
    pairs.iter().all(|(message, reply)| {
        lines.any(|line| {
            let mut others = pairs.iter().filter(|(other, _)| other != message);
            has_reply(line, message, reply) && !others.any(|(_, other)| line.contains(other))
        })
    })
}

/// Returns whether a text contains this number as a word of its own.
pub(super) fn contains_number(text: &str, number: i64) -> bool {
    text.split(|c: char| !c.is_ascii_digit() && c != '-').any(|word| word.parse() == Ok(number))
}

/// Waits until the program has ended by itself.
pub(super) fn ends() -> Step {
    step("see the program end", Talk::ended)
}

/// Checks that the program has not crashed, if it has ended. An exit code that reports a failure is not a crash.
pub(super) fn without_crash() -> Step {
    step("see no crash of the program", Talk::exit_was_no_crash)
}

/// Checks that the program has ended with exit code 0 and without a crash, if it has ended.
pub(super) fn without_error() -> Step {
    step("see no error of the program", Talk::exit_was_clean)
}

/// Starts the program.
pub(super) fn starts() -> Step {
    step("start the program", Talk::start)
}

/// Kills the program and starts it again at the same address.
pub(super) fn restart() -> Step {
    step("end the program and start it again at the same port", Talk::restart)
}

/// Checks that the program serves another client, or has ended without a crash: a server may serve one client only.
/// `next` is what the other client does, once it is connected.
pub(super) fn survives(next: fn(&mut Talk) -> Outcome) -> Step {
    step("see the program serve another client, or end without a crash", move |talk| {
        talk.set_faults(Faults::default());
        match talk.connect().and_then(|()| next(talk)) {
            Err(failure) if !talk.has_exited_after(failure.kind)? => Err(failure),
            Err(_) => talk.exit_was_no_crash(),
            Ok(()) => Ok(()),
        }
    })
}

/// Checks that the program does not keep the processor busy.
pub(super) fn idles() -> Step {
    step("see the program idle", |talk| {
        if talk.spins()? {
            let text = "the program keeps the processor busy, although it has nothing to do";
            return Err(Failure::new(Kind::Spinning, text).into());
        }
        Ok(())
    })
}

/// Makes the failure of a step information: the document does not require it.
pub(super) fn info(mut step: Step) -> Step {
    step.is_info = true;
    step
}

/// Returns text in quotes, as one line. Of a long text it has the start, and says how long it is.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        None => format!("\"{}\"", one_line(text)),
        Some((end, _)) => format!("\"{}\"... ({} bytes)", one_line(&text[..end]), text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Four score and seven years ago";
    const REPLY: &str = " and seven years ago";

    #[test]
    fn a_reply_is_not_taken_for_printed_where_only_its_message_is() {
        for output in [
            "",
            MESSAGE,
            "> Four score and seven years ago\nsent b'Four score and seven years ago'",
        ] {
            assert!(!has_reply(output, MESSAGE, REPLY), "{output}");
        }
        for output in [
            REPLY,
            "Sending: Four score and seven years ago\n and seven years ago\n",
            "Four score and seven years ago ->  and seven years ago",
            "('Four score and seven years ago', b' and seven years ago')",
        ] {
            assert!(has_reply(output, MESSAGE, REPLY), "{output}");
        }
        // White space around the typed text was removed.
        assert!(!has_reply("spaces at both", "  spaces at both", " both"));
    }

    #[test]
    fn replies_stand_on_lines_of_their_own() {
        let pairs = [("0123456789one", "one"), ("0123456789two", "two")];
        for (output, is) in [
            ("one\ntwo\n", true),
            ("sent 0123456789one\nsent 0123456789two\none\ntwo", true),
            ("0123456789one -> one\n0123456789two -> two", true),
            ("0123456789one\n0123456789two\n", false),
            ("onetwo", false),
            ("two\none", false),
        ] {
            assert_eq!(are_apart(output, &pairs), is, "{output}");
        }
    }
}
