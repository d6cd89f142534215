//! The echo machines with 2-byte lengths, and what both widths report about a length in another
//! encoding.

use socklab_core::echo::{self, OtherLength, client, server};
use socklab_core::machine::{Invalid, Machine, StreamEnd};
use socklab_tests::oracle::{echo_message, echo_reply_bytes};
use socklab_tests::role::{EchoClient, EchoServer, Reply, ShortEchoServer};
use socklab_tests::script::{Outcome, assert_lawful, every_cut, every_truncation};

fn short_message(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a test's payload is short");
    [&length.to_be_bytes()[..], payload].concat()
}

const PAYLOADS: [&[u8]; 7] = [
    b"",
    b"nine char",
    b"ten chars!",
    b"0123456789abc",
    "äöüäöüäöüä and more".as_bytes(),
    "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀".as_bytes(),
    b"ten chars!\xff\xc3\x28",
];

#[test]
fn a_server_with_2_byte_lengths_removes_ten_characters_under_every_cut() {
    for payload in PAYLOADS {
        let script = short_message(payload);
        let transcript =
            assert_lawful(every_cut(&ShortEchoServer, &script, Some(StreamEnd::Closed)));
        let reply = echo_reply_bytes(payload).expect("every payload is valid");
        assert_eq!(transcript.sent, short_message(&reply), "{payload:02x?}");
        assert_eq!(transcript.outcome, Outcome::Done);
    }
    let two = [short_message(b"0123456789ab"), short_message(b"xyz")].concat();
    assert_lawful(every_truncation(&ShortEchoServer, &two));
}

#[test]
fn a_client_with_2_byte_lengths_gets_every_reply_under_every_cut() {
    let role = EchoClient::new(&PAYLOADS, true);
    let replies: Vec<Vec<u8>> = PAYLOADS.iter().map(|p| echo_reply_bytes(p).unwrap()).collect();
    let script: Vec<u8> = replies.iter().flat_map(|reply| short_message(reply)).collect();
    let sent: Vec<u8> = PAYLOADS.iter().flat_map(|p| short_message(p)).collect();
    for role in [role.clone().short(), role.splitting().short()] {
        let transcript = assert_lawful(every_cut(&role, &script, Some(StreamEnd::Closed)));
        assert_eq!(transcript.sent, sent);
        let expected: Vec<Reply> =
            replies.iter().map(|bytes| Reply { bytes: bytes.clone(), whole: true }).collect();
        assert_eq!((transcript.events(), transcript.outcome), (expected, Outcome::Done));
    }
}

#[test]
fn a_payload_too_long_for_2_bytes_is_refused_before_anything_is_written() {
    let (long, mut output) = (vec![b'x'; 65_536], vec![7; 70_000]);
    let mut client = echo::Client::<2>::with_header();
    for command in [client::Command::Send(&long), client::Command::Begin(65_536)] {
        assert_eq!(client.command(command, &mut output), Err(Invalid::TooLong.into()));
    }
    assert_eq!((client.in_flight(), client.outbound_remaining()), (0, 0));
    assert!(output.iter().all(|byte| *byte == 7));
    assert_eq!(client.command(client::Command::Send(&long[1..]), &mut output), Ok(65_537));
    assert_eq!(output[..3], [0xff, 0xff, b'x']);
}

/// Returns the error text of a transcript.
fn text<E>(transcript: &socklab_tests::script::Transcript<E>) -> String {
    match &transcript.outcome {
        Outcome::Error(_, text) => text.clone(),
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_server_reports_a_length_in_another_encoding_however_its_client_ends() {
    let hint = "its first 2 bytes would be a 2-byte length of";
    let little = |payload: &[u8]| {
        [&u32::try_from(payload.len()).unwrap().to_le_bytes()[..], payload].concat()
    };
    let little_short = |payload: &[u8]| {
        [&u16::try_from(payload.len()).unwrap().to_le_bytes()[..], payload].concat()
    };
    let long = [b'x'; 200];
    for (script, expected) in [
        (short_message(b"hello"), format!("length 0x00056865: {hint} 5")),
        // The server has already started its reply to this one.
        (short_message(&long), format!("length 0x00c87878: {hint} 200")),
        ([b"hello", b"world"].map(|m| short_message(m)).concat(), format!("{hint} 5")),
        (little(b"hello"), "length 0x05000000: in little-endian order it would be 5".into()),
        (little(&long), "length 0xc8000000: in little-endian order it would be 200".into()),
        (
            little_short(b"hello"),
            "its first 2 bytes would be a little-endian 2-byte length of 5".into(),
        ),
    ] {
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            let transcript = assert_lawful(every_cut(&EchoServer, &script, Some(how)));
            let text = text(&transcript);
            assert!(text.ends_with(&expected), "{text}");
        }
    }
    let transcript = assert_lawful(every_cut(
        &ShortEchoServer,
        &little_short(b"hello"),
        Some(StreamEnd::TimedOut),
    ));
    let text = text(&transcript);
    assert!(text.ends_with("; length 0x0500: in little-endian order it would be 5"), "{text}");
}

#[test]
fn a_client_reports_a_length_in_another_encoding() {
    let role = EchoClient::new(&["0123456789hello"], true);
    let transcript = assert_lawful(every_cut(&role, &short_message(b"hello"), None));
    assert_eq!(
        text(&transcript),
        "the server broke the protocol: a reply of 354405 bytes, expected at most 15, the length \
         of all messages in flight; length 0x00056865: its first 2 bytes would be a 2-byte length of 5"
    );
    let transcript = assert_lawful(every_cut(&role, b"\x05\0\0\0hello", None));
    let text_ = text(&transcript);
    assert!(text_.ends_with("length 0x05000000: in little-endian order it would be 5"), "{text_}");
    // A length that is possible is reported at the end of the stream, and one that arrives with no
    // message in flight at once.
    let cut = socklab_core::wire::Truncated { how: StreamEnd::TimedOut, got: 7, want: 354_409 };
    for error in [
        client::Error::<4>::Truncated { cut, missing: 1 },
        client::Error::<4>::Unasked { length: 0x0005_6865 },
    ] {
        let OtherLength { read, read_bytes, meant, bytes, little_endian, .. } =
            error.other_length().expect("the length looks like one of 2 bytes");
        assert_eq!((read, read_bytes, meant, bytes), (0x0005_6865, 4, 5, 2));
        assert!(!little_endian);
    }
}

#[test]
fn an_error_that_does_not_concern_the_length_reports_no_length() {
    let error = server::Error::<4>::NotUtf8 { byte: 0xff, at: 0 };
    assert_eq!(error.other_length(), None);
    let script = &echo_message(&[b'x'; 300])[..250];
    let transcript = assert_lawful(every_cut(&EchoServer, script, Some(StreamEnd::Closed)));
    let text = text(&transcript);
    assert!(text.ends_with("after 250 of 304 bytes"), "{text}");
}
