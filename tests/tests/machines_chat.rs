//! Chat under every cut, both sides and both manners.

use socklab_core::machine::{Need, StreamEnd};
use socklab_core::wire::{LINE_BYTES, LINE_MAX};
use socklab_tests::role::ChatSide;
use socklab_tests::script::{Outcome, assert_lawful, every_cut, every_truncation};

const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];
const NOBODY: [&str; 0] = [];

fn line(text: &str) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), false)
}

fn bye(text: &str) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), true)
}

#[test]
fn the_client_answers_each_line_until_it_hears_bye() {
    let role = ChatSide::client(&["one", "", "never said"]);
    let script = "h\u{e9}llo\r\n\nok, Bye!\nand more that nobody reads".as_bytes();
    let transcript = assert_lawful(every_truncation(&role, script));
    assert_eq!(transcript.events(), [line("h\u{e9}llo"), line(""), bye("ok, Bye!")]);
    assert_eq!(transcript.sent, b"one\n\n");
    assert_eq!((transcript.consumed, transcript.outcome), (script.len() - 26, Outcome::Done));
}

#[test]
fn the_client_says_bye_and_hears_no_more() {
    let role = ChatSide::client(&["one", "BYE"]);
    let transcript = assert_lawful(every_truncation(&role, b"hello\ngoodbye\nmore\n"));
    assert_eq!(transcript.events(), [line("hello"), line("goodbye")]);
    assert_eq!(transcript.sent, b"one\nBYE\n");
    assert_eq!((transcript.consumed, transcript.outcome), (14, Outcome::Done));
}

#[test]
fn the_server_begins_and_what_comes_early_waits() {
    let role = ChatSide::server(&["one", "two", "bye"]);
    let transcript = assert_lawful(every_truncation(&role, b"early\nearlier\nmore\n"));
    assert_eq!(transcript.events(), [line("early"), line("earlier")]);
    assert_eq!(transcript.sent, b"one\ntwo\nbye\n");
    // Each line was heard after ours, however early it came.
    let heard: Vec<_> =
        transcript.emitted.iter().map(|told| (told.consumed, told.written)).collect();
    assert_eq!(heard, [(6, 4), (14, 8)]);
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn a_side_with_nothing_to_say_hears_one_line() {
    let transcript = assert_lawful(every_cut(&ChatSide::client(&NOBODY), b"one\ntwo\n", None));
    assert_eq!(transcript.events(), [line("one")]);
    assert_eq!((transcript.consumed, transcript.outcome), (4, Outcome::Waiting(Need::Command)));
}

#[test]
fn in_duplex_nobody_waits() {
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
            let transcript = assert_lawful(every_cut(&ChatSide::client(&NOBODY), &script, end));
            assert_eq!(
                transcript.sentence(),
                "the other side broke the protocol: a line is too long, its first 1025 bytes have \
                 no newline"
            );
            let duplex = assert_lawful(every_cut(&ChatSide::duplex(&NOBODY), &script, end));
            assert_eq!(duplex.outcome, transcript.outcome);
        }
    }
}

#[test]
fn every_ending_has_its_sentence_in_either_turn() {
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
        // In their turn, and without turns.
        let client = assert_lawful(every_cut(&ChatSide::client(&["a"]), script, Some(how)));
        assert_eq!((client.sentence(), client.events()), (sentence, vec![line("one")]));
        let duplex = assert_lawful(every_cut(&ChatSide::duplex(&["a"]), script, Some(how)));
        assert_eq!((duplex.sentence(), duplex.events()), (sentence, vec![line("one")]));
    }
    // In our turn, with nothing said: one who has left does not have to be talked to.
    for (how, sentence) in [
        (
            StreamEnd::Closed,
            "the other side closed the connection before the end of the conversation",
        ),
        (StreamEnd::Reset, reset),
    ] {
        let server = assert_lawful(every_cut(&ChatSide::server(&NOBODY), b"", Some(how)));
        assert_eq!(server.sentence(), sentence);
    }
}

#[test]
fn one_who_has_left_is_answered_while_a_line_of_theirs_waits() {
    let role = ChatSide::server(&["one", "two", "three"]);
    let transcript = assert_lawful(every_cut(&role, b"a\nbye\n", Some(StreamEnd::Closed)));
    assert_eq!(transcript.events(), [line("a"), bye("bye")]);
    assert_eq!(
        (transcript.sent.as_slice(), transcript.outcome),
        (&b"one\ntwo\n"[..], Outcome::Done)
    );
}
