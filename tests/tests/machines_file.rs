//! The file protocol under every cut.

use socklab_core::file::{Form, Malformed, SILENCE_MS};
use socklab_core::machine::{Need, StreamEnd};
use socklab_core::wire::{LINE_BYTES, LINE_MAX};
use socklab_tests::oracle::{crc32, file_reply};
use socklab_tests::role::{FileClient, FileEvent, FileServer, FileServerEvent};
use socklab_tests::script::{
    Outcome, Script, assert_lawful, every_cut, every_cut_of_script, every_truncation,
};

const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];
const WHOLE: Form = Form::Checked { offset: 0 };
const FILE: &[u8] = b"four score and seven\n\0\xff";

fn asked(name: &[u8], form: Form) -> [FileServerEvent; 1] {
    [FileServerEvent::Request(name.to_vec(), form)]
}

#[test]
fn the_oracle_computes_the_standard_crc_32() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(b""), 0);
}

#[test]
fn client_gets_a_file_and_its_checksum() {
    for offset in [0, 7, FILE.len()] {
        let role = FileClient::new(b"notes", Form::Checked { offset: offset as u64 });
        let reply = file_reply(FILE, offset);
        let transcript = assert_lawful(every_truncation(&role, &reply));
        let mut events = vec![FileEvent::Found(FILE.len() as u64)];
        if offset < FILE.len() {
            events.push(FileEvent::Body(FILE[offset..].to_vec()));
        }
        events.push(FileEvent::Crc(crc32(FILE)));
        assert_eq!(transcript.events(), events);
        assert_eq!(transcript.sent, format!("notes\0v1\0{offset}\n").as_bytes());
        assert_eq!((transcript.consumed, transcript.outcome), (reply.len(), Outcome::Done));
    }
}

#[test]
fn client_reports_how_much_arrived() {
    let role = FileClient::new(b"f", Form::Checked { offset: 7 });
    let reply = file_reply(FILE, 7);
    for (length, sentence) in [
        (0, "the server closed the connection without a reply"),
        (8, "the server closed the connection in the middle of a message, after 8 of 9 bytes"),
        (9, "the server closed the connection after 7 of 23 bytes of the file"),
        (14, "the server closed the connection after 12 of 23 bytes of the file"),
        (
            25,
            "the server closed the connection after the whole file of 23 bytes, before its checksum",
        ),
        (
            28,
            "the server closed the connection after the whole file of 23 bytes, before its checksum",
        ),
    ] {
        let transcript = assert_lawful(every_cut(&role, &reply[..length], Some(StreamEnd::Closed)));
        assert_eq!(transcript.error_text(), sentence, "{length}");
    }
    let silent = assert_lawful(every_cut(&role, &reply[..14], Some(StreamEnd::TimedOut)));
    assert_eq!(
        silent.error_text(),
        "the server sent nothing more in time after 12 of 23 bytes of the file"
    );
}

#[test]
fn client_emits_the_reason_of_a_refusal() {
    let role = FileClient::new(b"f", WHOLE);
    for (reply, reason) in [
        (&b"-no such file\n"[..], &b"no such file"[..]),
        (b"-\x1b[31m\xff\r\n", b"\x1b[31m\xff"),
        (b"-\n", b""),
    ] {
        let transcript = assert_lawful(every_truncation(&role, reply));
        assert_eq!(transcript.events(), [FileEvent::Refused(reason.to_vec())]);
        assert_eq!(transcript.outcome, Outcome::Done);
    }
    // A reason of the greatest length, and a longer one.
    let reply = [b"-".to_vec(), vec![b'x'; LINE_MAX], b"\n".to_vec()].concat();
    assert_eq!(assert_lawful(every_cut(&role, &reply, None)).outcome, Outcome::Done);
    let reply = [b"-".to_vec(), vec![b'x'; 4 * LINE_MAX]].concat();
    for end in ENDS.map(Some).into_iter().chain([None]) {
        let transcript = assert_lawful(every_cut(&role, &reply, end));
        assert!(
            transcript.error_text().contains("a line is too long"),
            "{}",
            transcript.error_text()
        );
    }
}

#[test]
fn client_reports_an_invalid_reply() {
    for (reply, form, sentence) in [
        (
            &b"four score"[..],
            WHOLE,
            "the server broke the protocol: its reply starts with the byte 0x66 ('f'), expected '+' or '-'",
        ),
        (
            b"+\0\0\0\0\0\0\0\x09",
            Form::Checked { offset: 10 },
            "the server broke the protocol: a file of 9 bytes, requested from offset 10",
        ),
        (
            b"+\x80\0\0\0\0\0\0\0",
            WHOLE,
            "the server broke the protocol: a file of 9223372036854775808 bytes, expected at most 9223372036854775807",
        ),
    ] {
        let transcript = assert_lawful(every_truncation(&FileClient::new(b"f", form), reply));
        assert_eq!((transcript.error_text(), transcript.emitted.len()), (sentence, 0));
    }
}

#[test]
fn client_reads_a_plain_file_until_the_close() {
    let role = FileClient::new(b"a b", Form::Plain);
    let transcript = assert_lawful(every_truncation(&role, FILE));
    assert_eq!(transcript.sent, b"a b\n");
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::Input));
    let closed = assert_lawful(every_cut(&role, FILE, Some(StreamEnd::Closed)));
    assert_eq!(closed.events(), [FileEvent::Body(FILE.to_vec()), FileEvent::Closed]);
    assert_eq!(closed.outcome, Outcome::Done);
    let empty = assert_lawful(every_cut(&role, b"", Some(StreamEnd::Closed)));
    assert_eq!(empty.events(), [FileEvent::Closed]);
    let reset = assert_lawful(every_cut(&role, FILE, Some(StreamEnd::Reset)));
    assert_eq!(
        reset.error_text(),
        "the server reset the connection after 23 bytes: it was interrupted, or the file became unreadable"
    );
    let missing = assert_lawful(every_cut(&role, b"", Some(StreamEnd::Reset)));
    assert_eq!(
        missing.error_text(),
        "the server reset the connection after 0 bytes: it has no such file, or was interrupted"
    );
}

#[test]
fn client_sends_the_newline_of_a_bare_name_only_after_a_pause() {
    let role = FileClient::new(b"a b", Form::Plain).bare();
    let transcript = assert_lawful(every_truncation(&role, FILE));
    assert_eq!(
        (transcript.sent.as_slice(), transcript.outcome),
        (&b"a b"[..], Outcome::Waiting(Need::Input))
    );
    let waits = assert_lawful(every_cut(&role, b"", None));
    assert_eq!(waits.outcome, Outcome::Waiting(Need::InputOrIdle(SILENCE_MS)));
    for (pauses, sent) in [(&[0][..], &b"a b\n"[..]), (&[1], b"a b"), (&[0, 1, 5], b"a b\n")] {
        let script = Script { bytes: FILE, pauses, end: Some(StreamEnd::Closed) };
        let closed = assert_lawful(every_cut_of_script(&role, &script));
        assert_eq!(closed.sent, sent);
        assert_eq!(closed.events(), [FileEvent::Body(FILE.to_vec()), FileEvent::Closed]);
        assert_eq!(closed.outcome, Outcome::Done);
    }
    for end in ENDS {
        let script = Script { bytes: b"", pauses: &[], end: Some(end) };
        let ended = assert_lawful(every_cut_of_script(&role, &script));
        assert_eq!(ended.sent, b"a b");
        assert_eq!(ended.outcome == Outcome::Done, end == StreamEnd::Closed);
    }
    // A checked request ends with its newline in any case.
    let checked = assert_lawful(every_cut(&FileClient::new(b"f", WHOLE).bare(), b"", None));
    assert_eq!(checked.sent, b"f\0v1\x000\n");
}

#[test]
fn server_drops_nul_bytes_after_a_name() {
    for zeros in [1, 3, 251, 1019, 1020, 1021, 2043, 8187] {
        let padded = [b"notes".to_vec(), vec![0; zeros]].concat();
        // A name that does not fit in a line is complete at once.
        let is_long = padded.len() > LINE_MAX;
        let open = assert_lawful(every_cut(&FileServer::new(FILE), &padded, None));
        assert_eq!(open.outcome == Outcome::Done, is_long, "{zeros}");
        let silent = Script { bytes: &padded, pauses: &[padded.len()], end: None };
        let closed = Script { bytes: &padded, pauses: &[], end: Some(StreamEnd::Closed) };
        for script in [silent, closed] {
            let transcript = assert_lawful(every_cut_of_script(&FileServer::new(FILE), &script));
            assert_eq!(transcript.events(), asked(b"notes", Form::Plain), "{zeros}");
            assert_eq!((transcript.sent.as_slice(), transcript.outcome), (FILE, Outcome::Done));
        }
        let line = [&padded, &b"\n"[..]].concat();
        let transcript = assert_lawful(every_cut(&FileServer::new(FILE), &line, None));
        assert_eq!(transcript.events(), asked(b"notes", Form::Plain), "{zeros}");
    }
    // As sent by a program that reads its names with `fgets`.
    let transcript = assert_lawful(every_cut(&FileServer::new(FILE), b"notes\n\0\0\0", None));
    assert_eq!((transcript.sent.as_slice(), transcript.consumed), (FILE, 6));
    // NUL bytes alone are not a name, however many.
    for zeros in [1, 1024, 1025, 3000] {
        let zeros = vec![0; zeros];
        let script = Script { bytes: &zeros, pauses: &[zeros.len()], end: None };
        let transcript = assert_lawful(every_cut_of_script(&FileServer::new(FILE), &script));
        assert!(transcript.sent.is_empty() && transcript.outcome != Outcome::Done);
    }
}

#[test]
fn server_sends_a_file_in_either_form() {
    for offset in [0, 7, FILE.len()] {
        let request = format!("notes\0v1\0{offset}\nmore");
        let transcript =
            assert_lawful(every_truncation(&FileServer::new(FILE), request.as_bytes()));
        assert_eq!(transcript.events(), asked(b"notes", Form::Checked { offset: offset as u64 }));
        assert_eq!(transcript.sent, file_reply(FILE, offset));
        assert_eq!(transcript.consumed, request.len() - 4);
        assert_eq!(transcript.outcome, Outcome::Done);
    }
    let transcript = assert_lawful(every_truncation(&FileServer::new(FILE), b"notes\r\n"));
    assert_eq!(transcript.events(), asked(b"notes", Form::Plain));
    assert_eq!((transcript.sent.as_slice(), transcript.outcome), (FILE, Outcome::Done));
    let empty = assert_lawful(every_truncation(&FileServer::new(b""), b"notes\n"));
    assert_eq!((empty.sent.as_slice(), empty.outcome), (&b""[..], Outcome::Done));
}

#[test]
fn server_accepts_a_bare_name_at_a_half_close_and_after_a_pause() {
    let closed =
        assert_lawful(every_cut(&FileServer::new(FILE), b"notes.txt", Some(StreamEnd::Closed)));
    assert_eq!(closed.events(), asked(b"notes.txt", Form::Plain));
    assert_eq!((closed.sent.as_slice(), closed.outcome), (FILE, Outcome::Done));
    for end in [None, Some(StreamEnd::Closed)] {
        // Bytes after the pause arrive too late to belong to the name.
        let script = Script { bytes: b"notes.txt", pauses: &[5], end };
        let silent = assert_lawful(every_cut_of_script(&FileServer::new(FILE), &script));
        assert_eq!(silent.events(), asked(b"notes", Form::Plain));
        assert_eq!((silent.sent.as_slice(), silent.consumed), (FILE, 5));
    }
    let waits = assert_lawful(every_cut(&FileServer::new(FILE), b"notes.txt", None));
    assert_eq!(waits.outcome, Outcome::Waiting(Need::InputOrIdle(SILENCE_MS)));
    // An empty name or half an offset is not a request.
    for bytes in [&b""[..], b"notes\0v", b"notes\0v1\x001"] {
        let pauses: Vec<usize> = (0..=bytes.len()).filter(|at| *at == 0 || *at > 6).collect();
        let script = Script { bytes, pauses: &pauses, end: None };
        let transcript = assert_lawful(every_cut_of_script(&FileServer::new(FILE), &script));
        assert_eq!(transcript.outcome, Outcome::Waiting(Need::Input));
        let closed =
            assert_lawful(every_cut(&FileServer::new(FILE), bytes, Some(StreamEnd::Closed)));
        assert!(closed.error_text().contains("closed the connection"), "{:?}", closed.outcome);
    }
}

#[test]
fn server_resets_after_an_invalid_request() {
    let long = vec![b'x'; 5000];
    for (request, why) in [
        (&b"\n"[..], Malformed::NoName),
        (b"\r\n", Malformed::NoName),
        (b"\0v1\x000\n", Malformed::NoName),
        (b"f\0g\n", Malformed::Form),
        (b"\0\n", Malformed::NoName),
        (b"f\0v2\x000\n", Malformed::Form),
        (b"f\0v1\x00ten\n", Malformed::Form),
        (b"f\0v1\x0099999999999999999999\n", Malformed::Form),
        (&long, Malformed::TooLong),
        (&long[..LINE_BYTES], Malformed::TooLong),
    ] {
        let transcript = assert_lawful(every_cut(&FileServer::new(FILE), request, None));
        assert_eq!(transcript.events(), [FileServerEvent::Malformed(why)]);
        assert_eq!((transcript.sent.len(), transcript.outcome), (0, Outcome::Abort));
    }
}

#[test]
fn server_refuses_with_a_reason_or_a_reset() {
    let role = FileServer::refusing(b"no such file");
    let checked = assert_lawful(every_truncation(&role, b"f\0v1\x000\n"));
    assert_eq!(
        (checked.sent.as_slice(), checked.outcome),
        (&b"-no such file\n"[..], Outcome::Done)
    );
    let plain = assert_lawful(every_truncation(&role, b"f\n"));
    assert_eq!((plain.sent.len(), plain.outcome), (0, Outcome::Abort));
    let beyond = assert_lawful(every_truncation(&FileServer::new(FILE), b"f\0v1\x0024\n"));
    assert_eq!(beyond.sent, b"-too short\n");
}

#[test]
fn server_resets_when_the_file_becomes_shorter() {
    for request in [&b"f\n"[..], b"f\0v1\x002\n"] {
        let role = FileServer::new(FILE).shrinking(3);
        let transcript = assert_lawful(every_cut(&role, request, None));
        assert_eq!(transcript.outcome, Outcome::Abort);
    }
}
