//! Chat under every cut, for both sides, with turns and in duplex mode.

use socklab_core::machine::{Need, StreamEnd};
use socklab_core::wire::{LINE_BYTES, LINE_MAX};
use socklab_tests::role::ChatSide;
use socklab_tests::script::{Outcome, assert_lawful, every_cut, every_truncation};

const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];
const NO_LINES: [&str; 0] = [];

fn line(text: &str) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), false)
}

fn bye(text: &str) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), true)
}

#[test]
fn the_client_answers_each_line_until_it_receives_bye() {
    let role = ChatSide::client(&["one", "", "never said"]);
    let script = "h\u{e9}llo\r\n\nok, Bye!\nand more that is not read".as_bytes();
    let transcript = assert_lawful(every_truncation(&role, script));
    assert_eq!(transcript.events(), [line("h\u{e9}llo"), line(""), bye("ok, Bye!")]);
    assert_eq!(transcript.sent, b"one\n\n");
    assert_eq!((transcript.consumed, transcript.outcome), (script.len() - 25, Outcome::Done));
}

#[test]
fn the_client_ignores_lines_after_its_own_bye() {
    let role = ChatSide::client(&["one", "BYE"]);
    let transcript = assert_lawful(every_truncation(&role, b"hello\ngoodbye\nmore\n"));
    assert_eq!(transcript.events(), [line("hello"), line("goodbye")]);
    assert_eq!(transcript.sent, b"one\nBYE\n");
    assert_eq!((transcript.consumed, transcript.outcome), (14, Outcome::Done));
}

#[test]
fn the_server_sends_first_and_early_lines_wait() {
    let role = ChatSide::server(&["one", "two", "bye"]);
    let transcript = assert_lawful(every_truncation(&role, b"early\nearlier\nmore\n"));
    assert_eq!(transcript.events(), [line("early"), line("earlier")]);
    assert_eq!(transcript.sent, b"one\ntwo\nbye\n");
    // Each line is emitted only after our line was sent, however early it arrived.
    let totals: Vec<_> =
        transcript.emitted.iter().map(|emitted| (emitted.consumed, emitted.written)).collect();
    assert_eq!(totals, [(6, 4), (14, 8)]);
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn a_side_without_a_line_of_its_own_receives_one_line() {
    let transcript = assert_lawful(every_cut(&ChatSide::client(&NO_LINES), b"one\ntwo\n", None));
    assert_eq!(transcript.events(), [line("one")]);
    assert_eq!((transcript.consumed, transcript.outcome), (4, Outcome::Waiting(Need::Command)));
}

#[test]
fn in_duplex_mode_neither_side_waits() {
    let role = ChatSide::duplex(&["one", "two", "three"]);
    let transcript = assert_lawful(every_truncation(&role, b"a\n\nb\nBYE\nmore"));
    assert_eq!(transcript.events(), [line("a"), line(""), line("b"), bye("BYE")]);
    assert_eq!((transcript.sent.as_slice(), transcript.consumed), (&b"one\ntwo\nthree\n"[..], 9));
    assert_eq!(transcript.outcome, Outcome::Done);
    let transcript = assert_lawful(every_cut(&ChatSide::duplex(&["hi", "bye"]), b"a\nb\n", None));
    assert_eq!((transcript.consumed, transcript.sent.as_slice()), (0, &b"hi\nbye\n"[..]));
}

#[test]
fn a_line_of_1024_bytes_is_the_longest() {
    let longest = [vec![b'x'; LINE_MAX], b"\n".to_vec()].concat();
    let transcript =
        assert_lawful(every_cut(&ChatSide::client(&[&longest[..LINE_MAX]]), &longest, None));
    assert_eq!(transcript.events(), [(vec![b'x'; LINE_MAX], false)]);
    assert_eq!(transcript.sent, longest);
    for script in [
        vec![b'x'; LINE_BYTES],
        vec![b'x'; 1 << 12],
        [vec![b'x'; LINE_BYTES], b"\n".to_vec()].concat(),
    ] {
        for end in ENDS.map(Some).into_iter().chain([None]) {
            let transcript = assert_lawful(every_cut(&ChatSide::client(&NO_LINES), &script, end));
            assert_eq!(
                transcript.error_text(),
                "the other side broke the protocol: a line is too long, its first 1025 bytes have \
                 no newline"
            );
            let duplex = assert_lawful(every_cut(&ChatSide::duplex(&NO_LINES), &script, end));
            assert_eq!(duplex.outcome, transcript.outcome);
        }
    }
}

#[test]
fn every_end_has_an_error_text_in_either_turn() {
    let reset = "the other side reset the connection before the end of the conversation; its program was stopped, or \
                 the network failed";
    for (script, how, sentence) in [
        (
            &b"one\n"[..],
            StreamEnd::Closed,
            "the other side closed the connection before the end of the conversation",
        ),
        (b"one\n", StreamEnd::Reset, reset),
        (b"one\n", StreamEnd::TimedOut, "the other side sent nothing in time"),
        (
            b"one\ntw",
            StreamEnd::Closed,
            "the other side closed the connection in the middle of a message, after 2 bytes",
        ),
        (
            b"one\nt",
            StreamEnd::Reset,
            "the other side reset the connection in the middle of a message, after 1 byte",
        ),
    ] {
        // In the peer's turn, and without turns.
        let client = assert_lawful(every_cut(&ChatSide::client(&["a"]), script, Some(how)));
        assert_eq!((client.error_text(), client.events()), (sentence, vec![line("one")]));
        let duplex = assert_lawful(every_cut(&ChatSide::duplex(&["a"]), script, Some(how)));
        assert_eq!((duplex.error_text(), duplex.events()), (sentence, vec![line("one")]));
    }
    // In our turn without a command: the end is reported without waiting for one.
    for (how, sentence) in [
        (
            StreamEnd::Closed,
            "the other side closed the connection before the end of the conversation",
        ),
        (StreamEnd::Reset, reset),
    ] {
        let server = assert_lawful(every_cut(&ChatSide::server(&NO_LINES), b"", Some(how)));
        assert_eq!(server.error_text(), sentence);
    }
}

#[test]
fn a_peer_that_has_closed_is_answered_while_one_of_its_lines_is_unread() {
    let role = ChatSide::server(&["one", "two", "three"]);
    let transcript = assert_lawful(every_cut(&role, b"a\nbye\n", Some(StreamEnd::Closed)));
    assert_eq!(transcript.events(), [line("a"), bye("bye")]);
    assert_eq!(
        (transcript.sent.as_slice(), transcript.outcome),
        (&b"one\ntwo\n"[..], Outcome::Done)
    );
}
