//! Every form in which programs send a name and an integer, under every cut.

use socklab_core::add::Form;
use socklab_core::machine::{Need, StreamEnd};
use socklab_core::wire::{LINE_BYTES, LINE_MAX};
use socklab_tests::oracle::{AddParsed, add_message, add_split, parse_add};
use socklab_tests::role::{AddClient, AddEvent, AddServer};
use socklab_tests::script::{
    Outcome, Script, Transcript, assert_lawful, every_cut, every_cut_of_script,
    every_truncation_of_script,
};

const SERVER: &[u8] = b"My, Server";
const ENDS: [Option<StreamEnd>; 4] =
    [None, Some(StreamEnd::Closed), Some(StreamEnd::Reset), Some(StreamEnd::TimedOut)];

/// Forms that programs send, and some that only look like them.
const FORMS: [&str; 26] = [
    "Ada,42\n",
    "Ada:42\n",
    "Ada;42\r\n",
    "Ada|42\n",
    "Ada 42\n",
    "Ada\t42\n",
    "Ada, 42\n",
    "Ada , 42",
    "Ada,42",
    "Ada|42",
    "Ada 42",
    "Ada Lovelace\n42\n",
    "Ada\n42",
    "Ada\r\n 42 \r\n",
    "\u{feff}Ada,42",
    "\u{feff}Ada\n42",
    "Ada,101",
    "Ada,-1\n",
    "Ada,2147483648\n",
    "Ada\n-2147483649",
    "Ada42",
    "Ada,4x\n7",
    "Agent 7 of ours\n42\n",
    ",1",
    "{\"name\":\"Ada\",\"number\":42}",
    "Ada,42\nmore\n",
];

/// Returns the expected events and output of the server, and whether it finishes.
fn expected_of_server(parsed: &AddParsed, server: &AddServer) -> (Vec<AddEvent>, Vec<u8>, bool) {
    let mut events = Vec::from_iter(parsed.name.clone().map(AddEvent::Name));
    let mut sent = vec![];
    match parsed.number {
        Some(Some(number @ 1..=100)) => {
            events.push(AddEvent::Number(number));
            sent = server.answer(parsed.form);
        }
        Some(number) => events.push(AddEvent::OutOfRange(number)),
        None => {}
    }
    (events, sent, parsed.number.is_some())
}

fn check(transcript: &Transcript<AddEvent>, script: &Script<'_>, role: &AddServer) {
    let parsed = parse_add(script);
    let (events, sent, is_done) = expected_of_server(&parsed, role);
    assert_eq!(transcript.events(), events, "{script:?}");
    assert_eq!((&transcript.sent, transcript.consumed), (&sent, parsed.consumed), "{script:?}");
    assert_eq!(transcript.outcome == Outcome::Done, is_done, "{script:?}");
    let is_waiting = parsed.is_unfinished && script.end.is_none();
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting, "{script:?}");
}

#[test]
fn the_server_accepts_every_form_under_every_cut_with_every_end() {
    let role = AddServer::new(SERVER, 7);
    for form in FORMS {
        for end in ENDS {
            let script = Script::new(form.as_bytes(), end);
            check(&assert_lawful(every_cut_of_script(&role, &script)), &script, &role);
        }
    }
}

#[test]
fn a_pause_ends_a_complete_field_and_nothing_else() {
    let role = AddServer::new(SERVER, 7);
    for form in FORMS {
        for at in 0..=form.len() {
            for pauses in [&[at][..], &[at, form.len()]] {
                let script =
                    Script { bytes: form.as_bytes(), pauses, end: Some(StreamEnd::TimedOut) };
                check(&assert_lawful(every_cut_of_script(&role, &script)), &script, &role);
            }
        }
    }
}

#[test]
fn the_client_accepts_an_answer_in_every_form() {
    for form in FORMS {
        for at in [None, Some(form.len() - 2), Some(form.len())] {
            for end in ENDS {
                let pauses = Vec::from_iter(at);
                let script = Script { bytes: form.as_bytes(), pauses: &pauses, end };
                let transcript =
                    assert_lawful(every_cut_of_script(&AddClient::new(b"Bob", 7), &script));
                let parsed = parse_add(&script);
                let mut events = Vec::from_iter(parsed.name.map(AddEvent::Name));
                events.extend(parsed.number.flatten().map(AddEvent::Number));
                assert_eq!(transcript.events(), events, "{script:?}");
                let is_done = parsed.number.flatten().is_some();
                assert_eq!(transcript.outcome == Outcome::Done, is_done, "{script:?}");
            }
        }
    }
}

#[test]
fn the_client_sends_every_form_in_one_write_or_two() {
    for separator in *b"\n,:;| \t" {
        for space in [false, true] {
            for newline in [false, true] {
                let form = Form { separator, space, newline };
                let role = AddClient::new("Ada L\u{f6}velace".as_bytes(), 42).form(form);
                let reply = Script::new(b"S,7", Some(StreamEnd::Closed));
                let whole = assert_lawful(every_truncation_of_script(&role, &reply));
                assert_eq!(whole.sent, role.message());
                assert!(whole.boundaries.is_empty());
                let apart =
                    assert_lawful(every_truncation_of_script(&role.clone().apart(), &reply));
                assert_eq!(apart.sent, role.message());
                let number = if newline { 3 } else { 2 };
                assert_eq!(apart.boundaries, [role.message().len() - number]);
                // Our own server parses it.
                let sent = Script::new(&whole.sent, Some(StreamEnd::Closed));
                let parsed = parse_add(&sent);
                assert_eq!(parsed.number, Some(Some(42)));
                if separator != b' ' && separator != b'\t' {
                    assert_eq!((parsed.form.separator, parsed.form.newline), (separator, newline));
                }
            }
        }
    }
}

#[test]
fn a_line_that_parses_as_name_and_number_is_not_taken_for_a_name() {
    for name in ["Agent 7", "a,1", "x |-3 "] {
        assert!(add_split(name.as_bytes()).is_some());
        let script = add_message(name.as_bytes(), 5, Form::LINES);
        let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &script, None));
        assert!(!matches!(transcript.outcome, Outcome::Waiting(_)), "{transcript:?}");
        assert_ne!(transcript.events(), [AddEvent::Name(name.into()), AddEvent::Number(5)]);
    }
}

#[test]
fn an_unfinished_field_waits_for_idle_only_where_it_may_be_complete() {
    let waits =
        |bytes: &[u8]| assert_lawful(every_cut(&AddServer::new(b"S", 1), bytes, None)).outcome;
    for bytes in [&b"Ada,4"[..], b"Ada 4 ", b"Ada\n4", b"Ada\nx"] {
        assert_eq!(waits(bytes), Outcome::Waiting(Need::InputOrIdle(300)), "{bytes:?}");
    }
    for bytes in [&b""[..], b"Ada", b"Ada,", b"Ada,-", b"42", b"Ada\n", b"Ada\n ", b"\xef\xbb\xbf"]
    {
        assert_eq!(waits(bytes), Outcome::Waiting(Need::Input), "{bytes:?}");
    }
}

#[test]
fn a_message_has_at_most_1024_bytes() {
    let longest = [vec![b'x'; LINE_MAX - 2], b",1\n".to_vec()].concat();
    assert_eq!(longest.len(), LINE_BYTES);
    let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &longest, None));
    assert_eq!((&transcript.sent[..], transcript.outcome), (&b"S,1\n"[..], Outcome::Done));
    let longer = [&b"x"[..], &longest].concat();
    for end in ENDS {
        let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &longer, end));
        assert!(transcript.error_text().contains("too long"), "{transcript:?}");
    }
}
