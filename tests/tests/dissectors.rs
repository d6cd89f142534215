//! Every dissector under every cut: the messages of a trace do not depend on how the bytes arrived.

use std::fmt::Debug;

use socklab_core::wire::{Dissect, LINE_BYTES, LINE_MAX, LineMessages, PromptMessages};
use socklab_core::{echo, file, math};
use socklab_tests::dissect::{Parts, dissect};

/// Checks that these bytes give the same messages in one piece, in pieces of every size, and under
/// cuts. Up to 12 bytes all cuts are tried. For more, every split in two is tried, and splits in
/// three near the start and near the limit of a line.
#[track_caller]
fn check_cuts<D: Parts + Clone + Debug>(dissector: &D, bytes: &[u8]) -> Vec<(String, usize)> {
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

/// Returns text streams with line ends, byte order marks, spaces, and lines around the longest
/// length.
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
        check_cuts(&LineMessages::default(), &text);
    }
    let one = |n| vec![("too long".to_owned(), n), ("\"next\"".to_owned(), 5)];
    let shown = check_cuts(&LineMessages::default(), &long(LINE_BYTES, b"tail\nnext\n"));
    assert_eq!(
        shown,
        one(LINE_BYTES + 5),
        "a line that is too long is one message up to its newline"
    );
    assert_eq!(
        check_cuts(&LineMessages::default(), &long(LINE_BYTES, b"\nnext\n")),
        one(LINE_BYTES + 1)
    );
}

#[test]
fn prompts_are_the_same_under_every_cut() {
    for text in texts() {
        check_cuts(&PromptMessages::default(), &text);
    }
    assert_eq!(
        check_cuts(&PromptMessages::default(), &long(LINE_BYTES, b"tail: \nnext: ")),
        [("too long".to_owned(), LINE_BYTES + 7), ("prompt \"next:\"".to_owned(), 6)]
    );
}

#[test]
fn requests_for_files_are_the_same_under_every_cut() {
    for text in texts() {
        check_cuts(&file::ClientBytes::default(), &text);
    }
    check_cuts(&file::ClientBytes::default(), b"a\0v1\x007\nb\n");
    check_cuts(&file::ClientBytes::default(), b"a\0no\nb\n\n");
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
        check_cuts(&file::ServerBytes::default(), &reply);
        check_cuts(&file::ServerBytes::to(file::Form::Plain), &reply);
        check_cuts(&file::ServerBytes::to(file::Form::Checked { offset: 2 }), &reply);
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
        check_cuts(&math::ServerBytes::default(), &bytes);
        check_cuts(&math::ClientBytes, &bytes);
    }
    assert_eq!(
        check_cuts(&math::ServerBytes::default(), &[b"Hello", &question[..]].concat()),
        [("not a message: it starts with 0x48 ('H')".to_owned(), 14)],
        "bytes after an invalid message belong to it"
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
        check_cuts(&echo::Messages::<4>::default(), bytes);
        check_cuts(&echo::Messages::<2>::default(), bytes);
    }
}

#[test]
fn every_protocol_has_a_dissector_for_each_direction() {
    fn is_dissector<D: Dissect>() -> usize {
        let _ = std::marker::PhantomData::<D>;
        1
    }
    macro_rules! count {
        ($($module:ident $name:ident { $($row:tt)* })*) => {
            0 $(
                + is_dissector::<socklab_core::$module::ClientBytes>()
                + is_dissector::<socklab_core::$module::ServerBytes>()
            )*
        };
    }
    let count = socklab_core::for_each_protocol!(count);
    assert_eq!(count, 2 * socklab_tests::protocols::PROTOCOLS.len());
}
