//! `socklab check PROTOCOL pair`: a client and a server of students that work together must also follow the document.

mod checks;

use std::fs;
use std::path::Path;

use checks::{Run, check_pair, map, student};
use socklab_tests::mutants::{self, PROTOCOLS, ROLES};
use tempfile::TempDir;

/// Limit of each wait. It ends what waits without an end.
const TIMEOUT: [&str; 2] = ["--timeout", "3s"];

/// Runs the check on the programs of a protocol with these changes, first the client's: the name of a mutant, or
/// `OLD => NEW` for another change of the text.
fn check_changed(protocol: &str, changes: [&[&str]; 2], options: &[&str]) -> Run {
    let folder = TempDir::new().unwrap();
    let [client, server] = [0, 1].map(|i| {
        let (mut source, table) = mutants::load(protocol, ROLES[i]);
        for change in changes[i] {
            if let Some((old, new)) = change.split_once(" => ") {
                assert!(source.contains(old), "{protocol} {}: no {old}", ROLES[i]);
                source = source.replace(old, new);
            } else {
                let mutant = table.iter().find(|mutant| mutant.name == *change);
                let mutant = mutant.unwrap_or_else(|| panic!("{protocol}: no mutant {change}"));
                source = mutant.apply(&source).unwrap();
            }
        }
        let path = folder.path().join(format!("{}.py", ROLES[i]));
        fs::write(&path, source).unwrap();
        student(protocol, ROLES[i], &path, Path::new("")).expect("Python")
    });
    check_pair(protocol, options, &client, &server)
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_pairs_in_python_have_no_failure() {
    map(PROTOCOLS.to_vec(), 3, |protocol| {
        check_changed(protocol, [&[], &[]], &[]).assert_no_failure(protocol);
    });
}

/// Checks that the first case fails with a message that contains this text, and a hint that contains that one.
#[track_caller]
fn assert_named(what: &str, run: &Run, message: &str, hint: &str) {
    let case = &run.cases[0];
    assert_eq!(case.path, "basic/conversation", "{what}");
    assert_eq!(case.verdict, "fail", "{what}: {case:?}");
    assert!(case.message.contains(message), "{what}: {case:?}");
    assert!(case.hint.contains(hint), "{what}: {case:?}");
    assert_eq!(run.finished.code, Some(1), "{what}: {:?}", run.finished);
}

/// Checks a pair with planted mistakes.
#[track_caller]
fn is_caught(protocol: &str, changes: [&[&str]; 2], message: &str, hint: &str) {
    let options = [&TIMEOUT[..], &["--case", "basic/*"]].concat();
    let run = check_changed(protocol, changes, &options);
    assert_named(&format!("{protocol} {changes:?}"), &run, message, hint);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_that_are_both_little_endian_do_not_pass() {
    is_caught(
        "math",
        [&["little-endian"], &["little-endian"]],
        "the client did not send",
        "big-endian",
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_with_a_length_of_two_bytes_do_not_pass() {
    is_caught("echo", [&["short-header"], &["short-header"]], "the client did not send", "4 bytes");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_that_count_characters_do_not_pass() {
    // Each reads as many characters as the length says, so that they agree.
    let reads = "while len(data) < count: => while len(data.decode(errors='ignore')) < count:";
    let piece = "sock.recv(min(1024, count - len(data))) => sock.recv(1)";
    is_caught(
        "echo",
        [
            &["characters-counted", reads, piece],
            &[
                "characters-counted",
                reads,
                "conn.recv(min(1024, count - len(data))) => conn.recv(1)",
            ],
        ],
        "the client did not send",
        "bytes",
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_without_newlines_do_not_pass() {
    is_caught(
        "chat",
        [&["one-recv", "no-newline"], &["one-recv", "no-newline"]],
        "the server did not send",
        "",
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_that_agree_on_a_length_in_front_of_the_file_do_not_pass() {
    let reads = "        block = sock.recv(1024)\n        if not block: => \
                 \x20       length = sock.recv(8)\n        block = sock.recv(1024)\n        if not block:";
    let sends = "        block = file.read(1024)\n        while => \
                 \x20       import os\n        conn.sendall(os.path.getsize(name).to_bytes(8, 'big'))\n        \
                 block = file.read(1024)\n        while";
    is_caught("file", [&[reads], &[sends]], "the server did not send", "");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn two_ends_with_a_length_in_front_of_each_datagram_do_not_pass() {
    is_caught(
        "udp",
        [&["length-in-front"], &["length-expected"]],
        "the client did not send",
        "nothing in front",
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_wrong_end_of_a_pair_is_named() {
    for (protocol, client, server) in [
        ("math", "little-endian-answer", "secret-without-tag"),
        ("echo", "little-endian-out", "little-endian-reply"),
        ("file", "whole-argument", "size-first"),
        ("udp", "newline", "nothing-removed"),
        ("chat", "two-lines", "no-newline"),
    ] {
        is_caught(protocol, [&[client], &[]], "the client ", "");
        is_caught(protocol, [&[], &[server]], "the server ", "");
    }
}
