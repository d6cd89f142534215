//! A UTF-8 byte order mark at the very start of a text stream is ignored, however it is cut.
//! Writers of .NET send one.

use socklab_core::coin::Side;
use socklab_core::machine::StreamEnd;
use socklab_core::rps::Choice::{Paper, Stone};
use socklab_tests::role::{
    AddClient, AddServer, Application, ChatSide, CoinClient, CoinServer, FileServer, GuessClient,
    GuessServer, HelloClient, HelloServer, RpsClient, RpsServer,
};
use socklab_tests::script::{assert_lawful, every_cut, every_truncation};

const MARK: &[u8] = b"\xef\xbb\xbf";

/// Checks that the role gives the same events and output with a mark in front as without.
#[track_caller]
fn check_mark_is_ignored<R: Application>(role: &R, script: &[u8]) {
    let plain = assert_lawful(every_truncation(role, script));
    assert!(!plain.emitted.is_empty(), "the script must cause events");
    let marked = assert_lawful(every_truncation(role, &[MARK, script].concat()));
    assert_eq!(marked.events(), plain.events());
    assert_eq!((marked.sent, marked.boundaries), (plain.sent, plain.boundaries));
    assert_eq!((marked.consumed, marked.outcome), (plain.consumed + 3, plain.outcome));
    // An end inside the mark is the end of an incomplete line.
    for length in 1..3 {
        let cut = assert_lawful(every_cut(role, &MARK[..length], Some(StreamEnd::Reset)));
        assert!(cut.emitted.is_empty(), "{cut:?}");
    }
}

#[test]
fn a_mark_is_ignored_at_the_start_of_add_and_hello() {
    check_mark_is_ignored(&AddServer::new(b"S", 7), b"Ada\n42\n");
    check_mark_is_ignored(&AddClient::new(b"Ada", 42), b"S\r\n7\n");
    check_mark_is_ignored(&HelloClient { both: true }, b"Hello\n");
    check_mark_is_ignored(&HelloServer { both: true, split: 3 }, b"Hello\r\n");
}

#[test]
fn a_mark_is_ignored_in_a_greeting_that_ends_with_the_stream() {
    let marked = [MARK, b"Hi"].concat();
    let transcript =
        assert_lawful(every_cut(&HelloClient { both: false }, &marked, Some(StreamEnd::Closed)));
    assert_eq!(transcript.events(), [b"Hi"]);
    let nothing =
        assert_lawful(every_cut(&HelloClient { both: false }, MARK, Some(StreamEnd::Closed)));
    assert!(nothing.emitted.is_empty() && !nothing.error_text().is_empty(), "{nothing:?}");
}

#[test]
fn a_mark_is_ignored_at_the_start_of_chat_and_nowhere_else() {
    check_mark_is_ignored(&ChatSide::client(&["a", "b"]), b"hello\nbye\n");
    check_mark_is_ignored(&ChatSide::server(&["a", "b"]), b"hello\nbye\n");
    check_mark_is_ignored(&ChatSide::<true>::duplex(&["a"]), b"hello\nbye\n");
    let marks = [MARK, b"one\n", MARK, b"bye\n"].concat();
    let transcript = assert_lawful(every_truncation(&ChatSide::client(&["a"]), &marks));
    let texts: Vec<_> = transcript.events().into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, [b"one".to_vec(), [MARK, b"bye"].concat()]);
}

#[test]
fn a_mark_is_ignored_at_the_start_of_the_games() {
    check_mark_is_ignored(&CoinServer::new(&[Side::Head]), b"H\nq\n");
    // Found by the fuzzer: a first line that had to wait for output space was no longer taken for
    // the first.
    check_mark_is_ignored(&CoinServer::new(&[Side::Head]), b"q\n");
    check_mark_is_ignored(&CoinServer::new(&[Side::Head]), b"?\nq\n");
    check_mark_is_ignored(&CoinClient::new(&["H", "Q"]), b"Toss: You are right!\nToss: bye Bye!\n");
    check_mark_is_ignored(&GuessServer(50), b"50\n");
    check_mark_is_ignored(&GuessClient::new(&[50]), b"GUESS\nWIN\n");
    check_mark_is_ignored(&RpsServer::new(&[Paper]), b"Stone\nPlayer2 wins!,Stone,Paper\n");
    let script = b"Pick: Draw,Stone,Stone\nPick: Draw,Stone,Stone\nPick: Draw,Stone,Stone\n";
    check_mark_is_ignored(&RpsClient::new(&[Stone; 3]), script);
}

#[test]
fn a_mark_is_ignored_at_the_start_of_a_file_request() {
    check_mark_is_ignored(&FileServer::new(b"body"), b"name\n");
    check_mark_is_ignored(&FileServer::new(b"body"), b"name\0v1\x000\n");
    let marked = [MARK, b"name"].concat();
    let plain =
        assert_lawful(every_cut(&FileServer::new(b"body"), b"name", Some(StreamEnd::Closed)));
    let closed =
        assert_lawful(every_cut(&FileServer::new(b"body"), &marked, Some(StreamEnd::Closed)));
    assert_eq!((closed.events(), closed.sent), (plain.events(), plain.sent));
}
