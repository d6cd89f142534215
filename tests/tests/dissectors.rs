//! Every dissector under every cut: what a trace says of some bytes does not depend on how they came.

use std::fmt::Debug;

use socklab_core::wire::{LINE_BYTES, LINE_MAX, LineMessages, PromptMessages};
use socklab_core::{echo, file, math};
use socklab_tests::dissect::{Parts, dissect};

/// These bytes are the same messages in one piece, in pieces of every size, and under every cut: of up to
/// 12 bytes all of them, of more every one in two, and those in three next to the start and to the longest
/// line's end.
#[track_caller]
fn same<D: Parts + Clone + Debug>(dissector: &D, bytes: &[u8]) -> Vec<(String, usize)> {
    let whole = dissect(dissector.clone(), bytes, []);
    let check = |pieces: &[usize]| {
        let cut = dissect(dissector.clone(), bytes, pieces.iter().copied());
        assert_eq!(cut, whole, "{dissector:?} {} in {pieces:?}", bytes.escape_ascii());
    };
    let n = bytes.len();
    if n <= 12 {
        for cuts in 0..1_u32 << n.saturating_sub(1) {
            let (mut pieces, mut piece) = (Vec::new(), 1);
            for at in 0..n.saturating_sub(1) {
                if cuts >> at & 1 == 1 {
                    pieces.push(std::mem::take(&mut piece));
                }
                piece += 1;
            }
            check(&pieces);
        }
    }
    for size in 1..=n.min(40) {
        check(&vec![size; n.div_ceil(size)]);
    }
    for first in 1..n {
        check(&[first]);
        if first > 16 && first.abs_diff(LINE_MAX) > 8 {
            continue;
        }
        for second in [1, 2, LINE_MAX - 1, LINE_MAX, LINE_BYTES] {
            check(&[first, second]);
        }
    }
    whole.0
}

fn long(n: usize, rest: &[u8]) -> Vec<u8> {
    [vec![b'x'; n].as_slice(), rest].concat()
}

/// What streams of text may hold: ends of lines, marks, spaces, and lines around the longest.
fn texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [
        &b""[..],
        b"one\ntwo\r\n",
        b"\n\n\r\n",
        b"a: b : c\n",
        b"  a:  \n b\n",
        b"\xef\xbb\xbfone\n",
        b"\xef\xbb\xbf\n\xef\xbb\xbf",
        b"\xef\xbb",
        b"\x1b[31m\n\xff\r",
    ]
    .map(<[u8]>::to_vec)
    .into();
    for n in [LINE_MAX - 1, LINE_MAX, LINE_BYTES, LINE_BYTES + 7] {
        for rest in [&b""[..], b"\n", b"\nnext\n", b"\r\nnext: more\n", b":\n next\n", b"\n\n  x\n"]
        {
            texts.push(long(n, rest));
        }
    }
    texts.push([b"\xef\xbb\xbf", long(LINE_MAX - 3, b"\nnext\n").as_slice()].concat());
    texts.push([long(LINE_BYTES, b"\n"), long(LINE_BYTES, b"\nlast\n")].concat());
    texts
}

#[test]
fn lines_are_the_same_under_every_cut() {
    for text in texts() {
        same(&LineMessages::default(), &text);
    }
    let one = |n| vec![("too long".to_owned(), n), ("\"next\"".to_owned(), 5)];
    let shown = same(&LineMessages::default(), &long(LINE_BYTES, b"tail\nnext\n"));
    assert_eq!(shown, one(LINE_BYTES + 5), "one message up to its newline");
    assert_eq!(same(&LineMessages::default(), &long(LINE_BYTES, b"\nnext\n")), one(LINE_BYTES + 1));
}

#[test]
fn prompts_are_the_same_under_every_cut() {
    for text in texts() {
        same(&PromptMessages::default(), &text);
    }
    assert_eq!(
        same(&PromptMessages::default(), &long(LINE_BYTES, b"tail: \nnext: ")),
        [("too long".to_owned(), LINE_BYTES + 7), ("prompt \"next:\"".to_owned(), 6)]
    );
}

#[test]
fn requests_for_files_are_the_same_under_every_cut() {
    for text in texts() {
        same(&file::ClientBytes::default(), &text);
    }
    same(&file::ClientBytes::default(), b"a\0v1\x007\nb\n");
    same(&file::ClientBytes::default(), b"a\0no\nb\n\n");
}

#[test]
fn replies_with_files_are_the_same_under_every_cut() {
    let found = |size: u64, rest: &[u8]| [b"+", &size.to_be_bytes()[..], rest].concat();
    for reply in [
        found(3, b"abc\x01\x02\x03\x04"),
        found(0, b"\x01\x02\x03\x04"),
        found(2, b"ab\x01\x02\x03\x04Q+-\n+"),
        found(5, b"abc"),
        b"-no such file\nrest\n+-".to_vec(),
        b"-".to_vec(),
        b"?+\0-\n".to_vec(),
        [b"-", long(LINE_BYTES, b"tail\nrest").as_slice()].concat(),
        [b"-", long(LINE_MAX, b"\nrest").as_slice()].concat(),
    ] {
        same(&file::ServerBytes::default(), &reply);
        same(&file::ServerBytes::to(file::Form::Plain), &reply);
        same(&file::ServerBytes::to(file::Form::Checked { offset: 2 }), &reply);
    }
}

#[test]
fn questions_and_answers_are_the_same_under_every_cut() {
    let question = math::Question { a: 0x5100_0000, b: 2 }.emit();
    let secret = math::Secret(*b"QSQSQSQS").emit();
    for bytes in [
        [question, secret].concat(),
        [&question[..], b"XQ", &question].concat(),
        [&secret[..], &question[..4]].concat(),
        b"X".to_vec(),
        b"SQ".to_vec(),
    ] {
        same(&math::ServerBytes::default(), &bytes);
        same(&math::ClientBytes, &bytes);
    }
    assert_eq!(
        same(&math::ServerBytes::default(), &[b"Hello", &question[..]].concat()),
        [("not a message: it starts with 0x48 ('H')".to_owned(), 14)],
        "a question behind what is none may be a part of it"
    );
}

#[test]
fn messages_of_echo_are_the_same_under_every_cut() {
    for bytes in [
        &b"\0\0\0\x05hello\0\0\0\0\0\0\0\x02hi"[..],
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xffrest",
        b"\0\0\0\x05hel",
        b"\0\x02hi\0\0\0\x01x\0",
    ] {
        same(&echo::Messages::<4>::default(), bytes);
        same(&echo::Messages::<2>::default(), bytes);
    }
}
