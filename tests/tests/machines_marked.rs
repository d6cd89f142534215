//! A UTF-8 byte order mark at the very start of a text stream has no meaning, however it is cut. .NET's
//! writers send one.

use socklab_core::coin::Side;
use socklab_core::machine::StreamEnd;
use socklab_core::rps::Choice::{Paper, Stone};
use socklab_tests::role::{
    AddClient, AddServer, ChatSide, CoinClient, CoinServer, FileServer, GuessClient, GuessServer,
    HelloClient, HelloServer, Role, RpsClient, RpsServer,
};
use socklab_tests::script::{assert_lawful, every_cut, every_truncation};

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The role hears and says the same with a mark in front as without. Both marks of two are not skipped.
#[track_caller]
fn takes_no_notice<R: Role>(role: &R, script: &[u8]) {
    let plain = assert_lawful(every_truncation(role, script));
    assert!(!plain.emitted.is_empty(), "the script says something");
    let marked = assert_lawful(every_truncation(role, &[MARK, script].concat()));
    assert_eq!(marked.events(), plain.events());
    assert_eq!((marked.sent, marked.boundaries), (plain.sent, plain.boundaries));
    assert_eq!((marked.consumed, marked.outcome), (plain.consumed + 3, plain.outcome));
    // As with the longest of lines, an end inside it is the end of a line that is not whole.
    for length in 1..3 {
        let cut = assert_lawful(every_cut(role, &MARK[..length], Some(StreamEnd::Reset)));
        assert!(cut.emitted.is_empty(), "{cut:?}");
    }
}

#[test]
fn at_the_start_of_add_and_hello() {
    takes_no_notice(&AddServer::new(b"S", 7), b"Ada\n42\n");
    takes_no_notice(&AddClient::new(b"Ada", 42), b"S\r\n7\n");
    takes_no_notice(&HelloClient { both: true }, b"Hello\n");
    takes_no_notice(&HelloServer { both: true, split: 3 }, b"Hello\r\n");
}

#[test]
fn at_the_start_of_a_greeting_that_ends_with_the_stream() {
    let marked = [MARK, b"Hi"].concat();
    let transcript =
        assert_lawful(every_cut(&HelloClient { both: false }, &marked, Some(StreamEnd::Closed)));
    assert_eq!(transcript.events(), [b"Hi"]);
    let nothing =
        assert_lawful(every_cut(&HelloClient { both: false }, MARK, Some(StreamEnd::Closed)));
    assert!(nothing.emitted.is_empty() && !nothing.sentence().is_empty(), "{nothing:?}");
}

#[test]
fn at_the_start_of_chat_and_nowhere_else() {
    takes_no_notice(&ChatSide::client(&["a", "b"]), b"hello\nbye\n");
    takes_no_notice(&ChatSide::server(&["a", "b"]), b"hello\nbye\n");
    takes_no_notice(&ChatSide::<true>::duplex(&["a"]), b"hello\nbye\n");
    let marks = [MARK, b"one\n", MARK, b"bye\n"].concat();
    let transcript = assert_lawful(every_truncation(&ChatSide::client(&["a"]), &marks));
    let texts: Vec<_> = transcript.events().into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, [b"one".to_vec(), [MARK, b"bye"].concat()]);
}

#[test]
fn at_the_start_of_the_games() {
    takes_no_notice(&CoinServer::new(&[Side::Head]), b"H\nq\n");
    // Found by the fuzzer: a first line that had to wait for room was no longer the first.
    takes_no_notice(&CoinServer::new(&[Side::Head]), b"q\n");
    takes_no_notice(&CoinServer::new(&[Side::Head]), b"?\nq\n");
    takes_no_notice(&CoinClient::new(&["H", "Q"]), b"Toss: You are right!\nToss: bye Bye!\n");
    takes_no_notice(&GuessServer(50), b"50\n");
    takes_no_notice(&GuessClient::new(&[50]), b"GUESS\nWIN\n");
    takes_no_notice(&RpsServer::new(&[Paper]), b"Stone\nPlayer2 wins!,Stone,Paper\n");
    let script = b"Pick: Draw,Stone,Stone\nPick: Draw,Stone,Stone\nPick: Draw,Stone,Stone\n";
    takes_no_notice(&RpsClient::new(&[Stone; 3]), script);
}

#[test]
fn at_the_start_of_a_request_for_a_file_whatever_ends_it() {
    takes_no_notice(&FileServer::new(b"body"), b"name\n");
    takes_no_notice(&FileServer::new(b"body"), b"name\0v1\x000\n");
    let marked = [MARK, b"name"].concat();
    let plain =
        assert_lawful(every_cut(&FileServer::new(b"body"), b"name", Some(StreamEnd::Closed)));
    let closed =
        assert_lawful(every_cut(&FileServer::new(b"body"), &marked, Some(StreamEnd::Closed)));
    assert_eq!((closed.events(), closed.sent), (plain.events(), plain.sent));
}
