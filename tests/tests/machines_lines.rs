//! Add and hello under every cut, and the end of the stream in the turn of every line protocol's application.

use socklab_core::Machine;
use socklab_core::machine::{Action, Input, Need, Step, StreamEnd, StreamState};
use socklab_core::wire::{LINE_BYTES, LINE_MAX};
use socklab_core::{add, chat, coin, guess, hello, rps};
use socklab_tests::role::{AddClient, AddEvent, AddServer, HelloClient, HelloServer};
use socklab_tests::script::{Outcome, assert_lawful, every_cut, every_truncation};

const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];

#[test]
fn add_client_emits_name_and_number() {
    let role = AddClient::new("Ada L\u{f6}velace".as_bytes(), 42);
    let script = "S\u{e9}rveur \u{4e2d}\r\n 7 \nand more that is not read".as_bytes();
    let transcript = assert_lawful(every_truncation(&role, script));
    let name = "S\u{e9}rveur \u{4e2d}".as_bytes().to_vec();
    assert_eq!(transcript.events(), [AddEvent::Name(name), AddEvent::Number(7)]);
    assert_eq!(transcript.sent, "Ada L\u{f6}velace\n42\n".as_bytes());
    assert_eq!((transcript.consumed, transcript.outcome), (script.len() - 25, Outcome::Done));
}

#[test]
fn add_client_shuts_a_server_down_and_still_accepts_an_answer() {
    for (script, end, events) in [
        (&b""[..], Some(StreamEnd::Closed), 0),
        (b"", Some(StreamEnd::Reset), 0),
        (b"Deaf\n9\n", None, 2),
    ] {
        let transcript = assert_lawful(every_cut(&AddClient::new(b"Ada", -1), script, end));
        assert_eq!(
            (transcript.sent.as_slice(), transcript.emitted.len()),
            (&b"Ada\n-1\n"[..], events)
        );
        assert_eq!(transcript.outcome, Outcome::Done);
    }
    let silent =
        assert_lawful(every_cut(&AddClient::new(b"Ada", -1), b"", Some(StreamEnd::TimedOut)));
    assert_eq!(silent.error_text(), "the server did not answer in time");
}

#[test]
fn add_server_emits_name_and_number_and_answers() {
    let role = AddServer::new(b"Server of John", 58);
    let transcript = assert_lawful(every_truncation(&role, b"Ada\n42\nmore"));
    assert_eq!(transcript.events(), [AddEvent::Name(b"Ada".to_vec()), AddEvent::Number(42)]);
    assert_eq!(transcript.sent, b"Server of John\n58\n");
    assert_eq!((transcript.consumed, transcript.outcome), (7, Outcome::Done));
}

#[test]
fn add_server_does_not_answer_out_of_range_numbers_and_reports_invalid_ones() {
    for (number, value) in
        [("0", Some(0)), ("101", Some(101)), ("-2147483648", Some(i32::MIN)), ("-2147483649", None)]
    {
        let script = format!("Ada\n{number}\n");
        let transcript =
            assert_lawful(every_truncation(&AddServer::new(b"S", 1), script.as_bytes()));
        assert_eq!(transcript.events()[1..], [AddEvent::OutOfRange(value)]);
        assert_eq!((transcript.sent.as_slice(), transcript.outcome), (&b""[..], Outcome::Done));
    }
    for (number, what) in [
        ("", "a line is empty"),
        ("forty", "byte 0 of a line is 0x66 ('f')"),
        ("4 2", "byte 1 of a line is 0x20"),
        ("0x2A", "byte 1 of a line is 0x78 ('x')"),
        ("\u{664}", "byte 0 of a line is 0xd9"),
    ] {
        let script = format!("Ada\n{number}\n");
        let transcript =
            assert_lawful(every_truncation(&AddServer::new(b"S", 1), script.as_bytes()));
        let sentence = format!("the client broke the protocol: {what}, expected a decimal integer");
        assert_eq!((transcript.error_text(), transcript.sent.len()), (sentence.as_str(), 0));
    }
}

#[test]
fn a_line_of_1024_bytes_is_the_longest() {
    let longest = [vec![b'x'; LINE_MAX], b"\n5\n".to_vec()].concat();
    let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &longest, None));
    assert_eq!(transcript.events()[0], AddEvent::Name(vec![b'x'; LINE_MAX]));
    for script in [
        vec![b'x'; LINE_BYTES],
        vec![b'x'; 1 << 12],
        [vec![b'x'; LINE_BYTES], b"\n".to_vec()].concat(),
    ] {
        for end in ENDS.map(Some).into_iter().chain([None]) {
            let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &script, end));
            assert_eq!(
                transcript.error_text(),
                "the client broke the protocol: a line is too long, its first 1025 bytes have no newline"
            );
        }
    }
}

#[test]
fn every_end_of_add_has_an_error_text() {
    for (script, how, sentence) in [
        (&b""[..], StreamEnd::Closed, "the client closed the connection between messages"),
        (b"", StreamEnd::Reset, "the client reset the connection between messages"),
        (b"", StreamEnd::TimedOut, "the client sent nothing more in time"),
        (
            b"Ad",
            StreamEnd::Closed,
            "the client closed the connection in the middle of a message, after 2 bytes",
        ),
        (
            b"Ada\n",
            StreamEnd::Closed,
            "the client closed the connection after its name, without an integer",
        ),
        (
            b"Ada\n",
            StreamEnd::Reset,
            "the client reset the connection after its name, without an integer",
        ),
        (b"Ada\n", StreamEnd::TimedOut, "the client sent no integer after its name in time"),
        (
            b"Ada\n4",
            StreamEnd::Reset,
            "the client reset the connection in the middle of a message, after 1 byte",
        ),
        (
            b"Ada\n4",
            StreamEnd::TimedOut,
            "the client sent nothing more in time in the middle of a message, after 1 byte",
        ),
    ] {
        let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), script, Some(how)));
        assert_eq!(transcript.error_text(), sentence);
    }
    assert!(matches!(
        assert_lawful(every_cut(&AddClient::new(b"A", 1), b"", Some(StreamEnd::Closed))).outcome,
        Outcome::Error(what, _) if what == format!("{:?}", add::client::Error::Unanswered(StreamEnd::Closed))
    ));
}

#[test]
fn hello_client_accepts_a_greeting_whole_split_or_unterminated() {
    for both in [false, true] {
        let role = HelloClient { both };
        let sent: &[u8] = if both { b"Hello from client\n" } else { b"" };
        let transcript = assert_lawful(every_truncation(&role, b"Hello from server\nmore"));
        assert_eq!(transcript.events(), [hello::SERVER_GREETING]);
        assert_eq!((transcript.sent.as_slice(), transcript.consumed), (sent, 18));
        let transcript =
            assert_lawful(every_cut(&role, b"Hello from ser", Some(StreamEnd::Closed)));
        assert_eq!(transcript.events(), [b"Hello from ser"]);
        assert_eq!((transcript.sent.as_slice(), transcript.outcome), (sent, Outcome::Done));
    }
    let nothing = assert_lawful(every_cut(&HelloClient::default(), b"", Some(StreamEnd::Closed)));
    assert_eq!(
        nothing.error_text(),
        "the server closed the connection between messages, without a greeting"
    );
}

#[test]
fn hello_server_greets_with_a_boundary_where_it_is_split() {
    for split in [0, 1, 8, 17, 18, 200] {
        let role = HelloServer { both: true, split };
        let transcript = assert_lawful(every_truncation(&role, b"Hello from client\n"));
        assert_eq!(transcript.sent, b"Hello from server\n");
        let boundary = (1..18).contains(&split).then_some(usize::from(split));
        assert_eq!(transcript.boundaries, Vec::from_iter(boundary));
        assert_eq!(transcript.events(), [hello::CLIENT_GREETING]);
    }
    let alone = assert_lawful(every_truncation(&HelloServer::default(), b"anything"));
    assert_eq!((alone.consumed, alone.outcome), (0, Outcome::Done));
    let cut = assert_lawful(every_cut(
        &HelloServer { both: true, split: 0 },
        b"Hello",
        Some(StreamEnd::Reset),
    ));
    assert_eq!(
        cut.error_text(),
        "the client reset the connection in the middle of a message, after 5 bytes"
    );
}

/// Steps a machine through `script` until it is the application's turn.
#[track_caller]
fn until_turn<M: Machine>(machine: &mut M, script: &[u8]) {
    let (mut rest, mut output) = (script, [0; 2 * LINE_BYTES]);
    loop {
        let input = Input { bytes: rest, state: StreamState::Idle };
        let step = machine.step(input, &mut output).unwrap();
        rest = &rest[step.consumed..];
        match step.action {
            Action::Need(Need::Command) => break,
            Action::Need(need) => panic!("{need:?}"),
            _ => {}
        }
    }
    assert!(rest.is_empty());
}

/// What may be unread in the application's turn.
const UNREAD: [&[u8]; 3] = [b"", b"text", b"line\n"];

/// Checks what an end means in the application's turn: a reset or a time-out ends the session, whatever is unread. After
/// an orderly close the turn continues where `continues` says so for each of [`UNREAD`].
#[track_caller]
fn check_turn<M: Machine>(machine: &M, continues: [bool; 3]) {
    let step = |bytes, how| {
        let mut machine = machine.clone();
        let first = machine.step(Input::ended(bytes, how), &mut []);
        assert_eq!(machine.step(Input::ended(bytes, how), &mut []).is_err(), first.is_err());
        first
    };
    for (bytes, continues) in UNREAD.into_iter().zip(continues) {
        let text = step(bytes, StreamEnd::Reset).err().unwrap().to_string();
        assert!(text.contains(" reset the connection"), "{text}");
        let text = step(bytes, StreamEnd::TimedOut).err().unwrap().to_string();
        assert!(text.ends_with(" in time"), "{text}");
        match step(bytes, StreamEnd::Closed) {
            Ok(Step { consumed, action, .. }) => {
                assert!(continues && consumed == 0, "{}", bytes.escape_ascii());
                assert!(matches!(action, Action::Need(Need::Command)));
            }
            Err(e) => assert!(!continues && e.to_string().contains("closed"), "{e}"),
        }
    }
}

#[test]
fn a_reset_in_the_turn_of_the_application_is_reported_before_unread_bytes() {
    const IGNORED: [bool; 3] = [true, true, true];
    const NEEDS_TEXT: [bool; 3] = [false, true, true];
    const NEEDS_LINE: [bool; 3] = [false, false, true];

    let mut machine = add::Client::new();
    until_turn(&mut machine, b"");
    check_turn(&machine, IGNORED);
    let name = add::client::Command::Name { name: b"Ada", form: add::Form::LINES };
    machine.command(name, &mut [0; 8]).unwrap();
    until_turn(&mut machine, b"");
    check_turn(&machine, IGNORED);

    let mut machine = add::Server::new();
    until_turn(&mut machine, b"Ada\n42\n");
    check_turn(&machine, IGNORED);

    let mut machine = guess::Client::new();
    until_turn(&mut machine, b"GUESS\n");
    check_turn(&machine, NEEDS_TEXT);

    let mut machine = coin::Client::new();
    until_turn(&mut machine, b"Head or tail:");
    check_turn(&machine, NEEDS_TEXT);
    let mut machine = coin::Server::new();
    until_turn(&mut machine, b"H\n");
    check_turn(&machine, IGNORED);

    let mut machine = rps::Client::new();
    until_turn(&mut machine, b"1, 2 or 3:");
    check_turn(&machine, NEEDS_TEXT);
    let mut machine = rps::Server::new();
    until_turn(&mut machine, b"Paper\n");
    check_turn(&machine, NEEDS_TEXT);

    check_turn(&chat::Chat::server(), NEEDS_LINE);
    let mut machine = chat::Chat::client();
    until_turn(&mut machine, b"hello\n");
    check_turn(&machine, NEEDS_LINE);
}

#[test]
fn a_duplex_conversation_reports_what_arrived_before_the_reset() {
    let mut machine = chat::Chat::duplex();
    let step = machine.step(Input::ended(b"line\n", StreamEnd::Reset), &mut []).unwrap();
    assert!(matches!(step.action, Action::Event(chat::Event::Line(_))));
    assert_eq!(
        machine.step(Input::ended(b"", StreamEnd::Reset), &mut []),
        Err(chat::Error::Left(StreamEnd::Reset))
    );
}
