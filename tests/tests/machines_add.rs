//! Every form in which programs put a name and an integer on the wire, under every cut.

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

/// What people write, and what only looks like it.
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

/// What the server receives and answers, by the oracle.
fn served(heard: &AddParsed, server: &AddServer) -> (Vec<AddEvent>, Vec<u8>, bool) {
    let mut told = Vec::from_iter(heard.name.clone().map(AddEvent::Name));
    let mut sent = vec![];
    match heard.number {
        Some(Some(number @ 1..=100)) => {
            told.push(AddEvent::Number(number));
            sent = server.answer(heard.form);
        }
        Some(number) => told.push(AddEvent::OutOfRange(number)),
        None => {}
    }
    (told, sent, heard.number.is_some())
}

fn checked(transcript: &Transcript<AddEvent>, script: &Script<'_>, role: &AddServer) {
    let heard = parse_add(script);
    let (told, sent, is_done) = served(&heard, role);
    assert_eq!(transcript.events(), told, "{script:?}");
    assert_eq!((&transcript.sent, transcript.consumed), (&sent, heard.consumed), "{script:?}");
    assert_eq!(transcript.outcome == Outcome::Done, is_done, "{script:?}");
    let is_waiting = heard.is_unfinished && script.end.is_none();
    assert_eq!(matches!(transcript.outcome, Outcome::Waiting(_)), is_waiting, "{script:?}");
}

#[test]
fn the_server_takes_every_form_under_every_cut_with_every_end() {
    let role = AddServer::new(SERVER, 7);
    for form in FORMS {
        for end in ENDS {
            let script = Script::new(form.as_bytes(), end);
            checked(&assert_lawful(every_cut_of_script(&role, &script)), &script, &role);
        }
    }
}

#[test]
fn a_silence_anywhere_ends_what_is_whole_and_nothing_else() {
    let role = AddServer::new(SERVER, 7);
    for form in FORMS {
        for at in 0..=form.len() {
            for pauses in [&[at][..], &[at, form.len()]] {
                let script =
                    Script { bytes: form.as_bytes(), pauses, end: Some(StreamEnd::TimedOut) };
                checked(&assert_lawful(every_cut_of_script(&role, &script)), &script, &role);
            }
        }
    }
}

#[test]
fn the_client_takes_an_answer_in_every_form() {
    for form in FORMS {
        for at in [None, Some(form.len() - 2), Some(form.len())] {
            for end in ENDS {
                let pauses = Vec::from_iter(at);
                let script = Script { bytes: form.as_bytes(), pauses: &pauses, end };
                let transcript =
                    assert_lawful(every_cut_of_script(&AddClient::new(b"Bob", 7), &script));
                let heard = parse_add(&script);
                let mut told = Vec::from_iter(heard.name.map(AddEvent::Name));
                told.extend(heard.number.flatten().map(AddEvent::Number));
                assert_eq!(transcript.events(), told, "{script:?}");
                let is_done = heard.number.flatten().is_some();
                assert_eq!(transcript.outcome == Outcome::Done, is_done, "{script:?}");
            }
        }
    }
}

#[test]
fn the_client_sends_in_every_form_whole_and_apart() {
    for separator in *b"\n,:;| \t" {
        for space in [false, true] {
            for newline in [false, true] {
                let form = Form { separator, space, newline };
                let role = AddClient::new("Ada L\u{f6}velace".as_bytes(), 42).form(form);
                let reply = Script::new(b"S,7", Some(StreamEnd::Closed));
                let whole = assert_lawful(every_truncation_of_script(&role, &reply));
                assert_eq!(whole.sent, role.says());
                assert_eq!(whole.boundaries, []);
                let apart =
                    assert_lawful(every_truncation_of_script(&role.clone().apart(), &reply));
                assert_eq!(apart.sent, role.says());
                let number = if newline { 3 } else { 2 };
                assert_eq!(apart.boundaries, [role.says().len() - number]);
                // Our own server understands it.
                let sent = Script::new(&whole.sent, Some(StreamEnd::Closed));
                let heard = parse_add(&sent);
                assert_eq!(heard.number, Some(Some(42)));
                if separator != b' ' && separator != b'\t' {
                    assert_eq!((heard.form.separator, heard.form.newline), (separator, newline));
                }
            }
        }
    }
}

#[test]
fn a_name_that_would_be_name_and_number_is_none_in_a_line_of_its_own() {
    for name in ["Agent 7", "a,1", "x |-3 "] {
        assert!(add_split(name.as_bytes()).is_some());
        let script = add_message(name.as_bytes(), 5, Form::LINES);
        let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &script, None));
        assert!(!matches!(transcript.outcome, Outcome::Waiting(_)), "{transcript:?}");
        assert_ne!(transcript.events(), [AddEvent::Name(name.into()), AddEvent::Number(5)]);
    }
}

#[test]
fn what_is_unfinished_waits_for_silence_only_where_it_may_end_there() {
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
fn a_message_has_1024_bytes_at_most() {
    let longest = [vec![b'x'; LINE_MAX - 2], b",1\n".to_vec()].concat();
    assert_eq!(longest.len(), LINE_BYTES);
    let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &longest, None));
    assert_eq!((&transcript.sent[..], transcript.outcome), (&b"S,1\n"[..], Outcome::Done));
    let longer = [&b"x"[..], &longest].concat();
    for end in ENDS {
        let transcript = assert_lawful(every_cut(&AddServer::new(b"S", 1), &longer, end));
        assert!(transcript.sentence().contains("too long"), "{transcript:?}");
    }
}
