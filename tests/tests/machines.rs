//! Every machine under every cut, with valid input and with every mistake a peer can make.

use socklab_core::machine::{Action, CommandError, Input, Invalid, Machine, Need, Step, StreamEnd};
use socklab_core::math::{Question, Secret};
use socklab_core::{echo, math};
use socklab_tests::oracle::{echo_message, echo_reply, echo_reply_bytes, question};
use socklab_tests::rng::Rng;
use socklab_tests::role::{
    Application, EchoClient, EchoServer, MathClient, MathServer, Message, Reply,
};
use socklab_tests::script::{Outcome, Transcript, assert_lawful, every_cut, every_truncation};

fn math_client(bytes: &[u8], end: Option<StreamEnd>) -> Transcript<math::client::Event> {
    assert_lawful(every_cut(&MathClient, bytes, end))
}

fn echo_server(bytes: &[u8], end: Option<StreamEnd>) -> Transcript<echo::server::Event> {
    assert_lawful(every_cut(&EchoServer, bytes, end))
}

fn reply(bytes: &[u8]) -> Reply {
    Reply { bytes: bytes.to_vec(), whole: true }
}

// ---------------------------------------------------------------- math client

#[test]
fn math_client_answers_every_question_and_emits_the_secret() {
    let script =
        [question(1, 2), question(u32::MAX, 1), question(0x8000_0000, 0x8000_0001)].concat();
    let all = [&script[..], b"S\x00\x1b[2J\xff\n and more that nobody reads"].concat();
    let transcript = assert_lawful(every_truncation(&MathClient, &all));
    let event = math::client::Event::Question;
    assert_eq!(
        transcript.events(),
        [
            event(Question { a: 1, b: 2 }),
            event(Question { a: u32::MAX, b: 1 }),
            event(Question { a: 0x8000_0000, b: 0x8000_0001 }),
            math::client::Event::Secret(Secret(*b"\x00\x1b[2J\xff\n ")),
        ]
    );
    assert_eq!(transcript.sent, [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!((transcript.consumed, transcript.outcome), (36, Outcome::Done));
}

#[test]
fn math_client_reports_a_wrong_tag_at_its_first_byte() {
    for before in 0..3_u32 {
        for byte in (0..=255).filter(|byte| !b"QS".contains(byte)) {
            let script = [question(1, 2).repeat(before as usize), vec![byte]].concat();
            for end in
                [None, Some(StreamEnd::Closed), Some(StreamEnd::Reset), Some(StreamEnd::TimedOut)]
            {
                if before > 0 && byte % 16 != 0 {
                    continue;
                }
                let transcript = math_client(&script, end);
                let error = math::client::Error::Tag { byte, message: before + 1 };
                assert_eq!(
                    transcript.outcome,
                    Outcome::Error(format!("{error:?}"), error.to_string())
                );
                assert_eq!(transcript.sent.len(), 4 * before as usize);
            }
        }
    }
    // A tag is case-sensitive.
    assert!(math_client(b"q", None).error_text().contains("0x71 ('q'), expected 'Q' or 'S'"));
    assert!(math_client(b"s12345678", None).error_text().contains("0x73 ('s')"));
}

#[test]
fn math_client_has_an_error_text_for_every_end() {
    let after_two = "the server closed the connection in the middle of a message, after";
    for (before, how, expected) in [
        (0, StreamEnd::Closed, "the server closed the connection before it sent any message"),
        (0, StreamEnd::Reset, "the server reset the connection before it sent any message"),
        (0, StreamEnd::TimedOut, "the server sent nothing in time"),
        (
            2,
            StreamEnd::Closed,
            "answer 2 rejected: the server closed the connection right after it",
        ),
        (
            2,
            StreamEnd::Reset,
            "the server reset the connection between messages, with 2 questions answered",
        ),
        (2, StreamEnd::TimedOut, "the server sent nothing more in time, with 2 questions answered"),
    ] {
        let transcript = math_client(&question(3, 4).repeat(before), Some(how));
        assert_eq!(transcript.error_text(), expected);
    }
    for got in 1..9 {
        for tag in [b'Q', b'S'] {
            let message = [&[tag], &[0; 8][..]].concat();
            let script = [&question(3, 4).repeat(2), &message[..got]].concat();
            let transcript = math_client(&script, Some(StreamEnd::Closed));
            let expected = format!("{after_two} {got} of 9 bytes, with 2 questions answered");
            assert_eq!(transcript.error_text(), expected);
            assert_eq!((transcript.sent.len(), transcript.consumed), (8, 18));
        }
    }
}

#[test]
fn math_client_closes_once_it_has_the_secret_however_the_stream_ends() {
    for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
        let transcript = math_client(b"Sabcdefgh", Some(how));
        assert_eq!(transcript.outcome, Outcome::Done);
        assert_eq!(transcript.events(), [math::client::Event::Secret(Secret(*b"abcdefgh"))]);
    }
}

#[test]
fn a_secret_is_displayed_without_control_characters() {
    let shown = |secret: &[u8; 8]| Secret(*secret).to_string();
    assert_eq!(shown(b"\x1b[2Jabcd"), "\\x1b[2Jabcd");
    assert_eq!(shown(b"\0\x07\x08\r\x7f\xff\xc3A"), "\\x00\\x07\\x08\\x0d\\x7f\\xff\\xc3A");
    assert_eq!(shown(b"\xc2\x9b31m\xe2\x80\xae"), "\\u{9b}31m\\u{202e}");
    for byte in 0..=255_u8 {
        let shown = shown(&[byte; 8]);
        assert!(
            !shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
            "{byte:#x} shows {shown:?}"
        );
    }
}

// ---------------------------------------------------------------- math server

const QUESTIONS: [(u32, u32); 3] = [(40, 2), (u32::MAX, 1), (7, 8)];

fn answers(answers: &[u32]) -> Vec<u8> {
    answers.iter().flat_map(|answer| answer.to_be_bytes()).collect()
}

#[test]
fn math_server_asks_checks_the_answers_and_reveals_the_secret() {
    let role = MathServer::new(&QUESTIONS, Some(b"opensesm"));
    // Answers that arrive in one read are all early. Bytes after the last answer are not read.
    let script = [answers(&[42, 0, 15]), b"junk".to_vec()].concat();
    let transcript = assert_lawful(every_truncation(&role, &script));
    let right = |answer| math::server::Event::Right { answer };
    assert_eq!(transcript.events(), [right(42), right(0), right(15)]);
    let sent: Vec<u8> = QUESTIONS.iter().flat_map(|(a, b)| question(*a, *b)).collect();
    assert_eq!(transcript.sent, [&sent[..], b"Sopensesm"].concat());
    assert_eq!((transcript.consumed, transcript.outcome), (12, Outcome::Done));
}

#[test]
fn math_server_ends_at_the_first_wrong_answer() {
    let role = MathServer::new(&QUESTIONS, Some(b"opensesm"));
    for (wrong, at) in [(41, 0), (43, 0), (0x2a00_0000, 0), (1, 1), (16, 2)] {
        let mut all = [42, 0, 15];
        all[at] = wrong;
        let transcript = assert_lawful(every_cut(&role, &answers(&all), Some(StreamEnd::Closed)));
        assert_eq!(transcript.emitted.len(), at + 1);
        let expected = [42, 0, 15][at];
        let event = math::server::Event::Wrong { answer: wrong, expected };
        assert_eq!(transcript.events().last(), Some(&event));
        assert!(!transcript.sent.contains(&b'S'), "the secret was sent");
        assert_eq!((transcript.consumed, transcript.outcome), (4 * at + 4, Outcome::Done));
    }
}

#[test]
fn math_server_has_an_error_text_for_every_end() {
    let role = MathServer::new(&QUESTIONS, Some(b"opensesm"));
    let all = answers(&[42, 0, 15]);
    for (how, verb) in [
        (StreamEnd::Closed, "closed the connection"),
        (StreamEnd::Reset, "reset the connection"),
        (StreamEnd::TimedOut, "sent nothing more in time"),
    ] {
        for length in 0..all.len() {
            let transcript = assert_lawful(every_cut(&role, &all[..length], Some(how)));
            let (right, got) = (length / 4, length % 4);
            let middle = match (got, how) {
                (0, StreamEnd::TimedOut) => String::new(),
                (0, _) => " between messages".into(),
                _ => format!(" in the middle of a message, after {got} of 4 bytes"),
            };
            let s = if right == 1 { "" } else { "s" };
            let expected = format!("the client {verb}{middle}, with {right} question{s} answered");
            assert_eq!(transcript.error_text(), expected);
        }
    }
}

#[test]
fn math_server_refuses_commands_out_of_turn() {
    let ask = math::server::Command::Ask(Question { a: 1, b: 1 });
    let mut server = math::Server::new();
    let mut output = [0; 9];
    for size in 0..9 {
        assert_eq!(server.command(ask, &mut output[..size]), Err(CommandError::OutputFull));
        assert_eq!((&server, output), (&math::Server::new(), [0; 9]));
    }
    assert_eq!(server.command(ask, &mut output), Ok(9));
    let waiting = server.clone();
    for command in [ask, math::server::Command::Reveal(Secret(*b"12345678"))] {
        assert_eq!(server.command(command, &mut output), Err(CommandError::OutOfTurn));
        assert_eq!(server.command(command, &mut []), Err(CommandError::OutOfTurn));
        assert_eq!(server, waiting);
    }
}

// ---------------------------------------------------------------- echo server

/// Payloads with characters of one to four bytes around the limit of ten characters.
fn payloads() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "a",
        "nine char",
        "ten chars!",
        "ten chars!+",
        "ten chars! and then some more of it\n\0",
        "äöüäöüäöü",
        "äöüäöüäöüä",
        "äöüäöüäöüä+",
        "中文字符中文字符中文字",
        "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀",
        "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀",
        "123456789ä",
        "123456789🦀+",
        "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}+",
        "\u{feff}123456789+",
        "\0\0\0\0\0\0\0\0\0\0\0",
    ];
    let mut payloads: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    // Bytes after the first ten characters need not be valid UTF-8.
    payloads.push(b"ten chars!\xff\xc3\x28\xf0".to_vec());
    payloads.push(["äöüäöüäöüä".as_bytes(), b"\xa4\x80\xff"].concat());
    payloads
}

#[test]
fn echo_server_removes_ten_characters_under_every_cut() {
    for payload in payloads() {
        let transcript =
            assert_lawful(every_cut(&EchoServer, &echo_message(&payload), Some(StreamEnd::Closed)));
        let reply = echo_reply_bytes(&payload).expect("every payload is valid");
        if let Ok(text) = std::str::from_utf8(&payload) {
            assert_eq!(reply, echo_reply(text).as_bytes(), "the oracles differ");
        }
        assert_eq!(transcript.sent, echo_message(&reply), "{payload:02x?}");
        let length = u32::try_from(payload.len()).unwrap();
        assert_eq!(transcript.events(), [echo::server::Event::Echoed { length }]);
        assert_eq!(transcript.outcome, Outcome::Done);
    }
}

#[test]
fn echo_server_answers_pipelined_messages() {
    let payloads = payloads();
    let script: Vec<u8> = payloads.iter().flat_map(|p| echo_message(p)).collect();
    let replies: Vec<u8> =
        payloads.iter().flat_map(|p| echo_message(&echo_reply_bytes(p).unwrap())).collect();
    let transcript = echo_server(&script, Some(StreamEnd::Closed));
    assert_eq!(transcript.sent, replies);
    assert_eq!((transcript.emitted.len(), transcript.outcome), (payloads.len(), Outcome::Done));
    assert_eq!(echo_server(&script, None).outcome, Outcome::Waiting(Need::InputOrCommand));
}

#[test]
fn echo_server_handles_every_truncation() {
    for payload in ["short", "ten chars! more", "1234567ä🦀中+ß"] {
        assert_lawful(every_truncation(&EchoServer, &echo_message(payload.as_bytes())));
    }
    // The first of two messages is answered, whatever happens to the second.
    let two = [echo_message(b"0123456789ab"), echo_message(b"xyz")].concat();
    assert_lawful(every_truncation(&EchoServer, &two));
    for length in 17..two.len() {
        let transcript = echo_server(&two[..length], Some(StreamEnd::Reset));
        assert_eq!(transcript.sent, echo_message(b"ab"), "{length}");
        let want = if length < 20 { 4 } else { 7 };
        let got = length - 16;
        assert_eq!(
            transcript.error_text(),
            format!(
                "the client reset the connection in the middle of a message, after {got} of {want} bytes"
            )
        );
    }
}

#[test]
fn echo_server_reports_how_much_of_a_long_message_arrived() {
    let script = [&1000_u32.to_be_bytes()[..], "äöü4567890and more".as_bytes()].concat();
    let transcript = echo_server(&script, Some(StreamEnd::TimedOut));
    let got = script.len();
    assert_eq!(
        transcript.error_text(),
        format!(
            "the client sent nothing more in time in the middle of a message, after {got} of 1004 bytes"
        )
    );
    assert_eq!(transcript.consumed, got);
    assert_eq!(transcript.sent, [&987_u32.to_be_bytes()[..], b"and more"].concat());
}

#[test]
fn echo_server_refuses_invalid_utf_8_in_the_first_ten_characters() {
    for (payload, byte, at) in [
        (&b"\xff"[..], 0xff, 0),
        (b"123456789\x80", 0x80, 9),
        (b"123456789\x80+", 0x80, 9),
        (b"a\xc3\x28", 0xc3, 1),
        (b"\xc0\xaf+++++++++++++++++++++", 0xc0, 0),
        (b"\xe0\x80\xaf+++++++++++++++++++", 0xe0, 0),
        (b"\xed\xa0\x80++++++++++++++++++++++", 0xed, 0),
        (b"\xf4\x90\x80\x80+++++++++++++++++++", 0xf4, 0),
        (b"\xf8\x88\x80\x80\x80+++++++++++++++++++", 0xf8, 0),
        ("äöüäöüäöü".as_bytes(), 0, 0),
    ] {
        let good = b"0123456789ok";
        let script = [echo_message(good), echo_message(payload)].concat();
        for end in [None, Some(StreamEnd::Closed), Some(StreamEnd::Reset)] {
            let transcript = echo_server(&script, end);
            if byte == 0 {
                // Nine characters of two bytes each: valid, and not cut inside a character.
                assert_eq!(transcript.emitted.len(), 2);
                continue;
            }
            let error = echo::server::Error::<4>::NotUtf8 { byte, at };
            assert_eq!(transcript.outcome, Outcome::Error(format!("{error:?}"), error.to_string()));
            assert_eq!(
                transcript.sent,
                echo_message(b"ok"),
                "the reply to the message before it is sent"
            );
            assert_eq!(echo_reply_bytes(payload), None);
        }
    }
    // The payload ends inside its tenth character, so nothing can complete it.
    for text in ["123456789ä", "123456789中", "123456789🦀", "🦀"] {
        for cut in 1..text.chars().last().unwrap().len_utf8() {
            let payload = &text.as_bytes()[..text.len() - cut];
            let script = [echo_message(payload), echo_message(b"never answered")].concat();
            let transcript = echo_server(&script, Some(StreamEnd::Closed));
            let length = u32::try_from(payload.len()).unwrap();
            let error = echo::server::Error::<4>::CutCharacter { length };
            assert_eq!(transcript.outcome, Outcome::Error(format!("{error:?}"), error.to_string()));
            assert!(transcript.sent.is_empty());
        }
    }
}

#[test]
fn echo_server_reports_a_stream_that_ends_inside_a_character_as_truncated() {
    let message = echo_message("123456789🦀 and on".as_bytes());
    for length in 14..17 {
        let transcript = echo_server(&message[..length], Some(StreamEnd::Closed));
        assert_eq!(
            transcript.error_text(),
            format!(
                "the client closed the connection in the middle of a message, after {length} of 24 bytes"
            )
        );
    }
}

#[test]
fn echo_server_waits_for_a_message_of_4_gib_that_never_comes() {
    let mut script = u32::MAX.to_be_bytes().to_vec();
    let transcript = assert_lawful(every_truncation(&EchoServer, &script));
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::InputOrCommand));
    assert!(transcript.sent.is_empty());
    let transcript = echo_server(&script, Some(StreamEnd::Closed));
    assert_eq!(
        transcript.error_text(),
        "the client closed the connection in the middle of a message, after 4 of 4294967299 bytes"
    );
    // The reply starts with its full length once ten characters have arrived.
    script.extend_from_slice("0123456789äbc".as_bytes());
    let transcript = echo_server(&script, Some(StreamEnd::Closed));
    assert_eq!(transcript.sent, [&(u32::MAX - 10).to_be_bytes()[..], "äbc".as_bytes()].concat());
    let expected = "after 18 of 4294967299 bytes";
    assert!(transcript.error_text().ends_with(expected), "{}", transcript.error_text());
}

#[test]
fn echo_server_streams_4_gib_through_a_few_bytes() {
    let mut server = echo::Server::new();
    let mut output = vec![0; 1 << 20];
    let header = [&u32::MAX.to_be_bytes()[..], "äöü4567890".as_bytes()].concat();
    let step = server.step(Input::open(&header), &mut output).unwrap();
    assert_eq!((step.consumed, step.written), (17, 4));
    assert_eq!(output[..4], (u32::MAX - 13).to_be_bytes());
    let (mut left, chunk) = (u64::from(u32::MAX) - 13, vec![b'x'; 1 << 20]);
    while left > 0 {
        let Step { consumed, written, action } =
            server.step(Input::open(&chunk), &mut output).unwrap();
        assert_eq!(consumed, written);
        left -= consumed as u64;
        let expected = echo::server::Event::Echoed { length: u32::MAX };
        let expected = if left == 0 { Action::Event(expected) } else { Action::Continue };
        assert_eq!(action, expected);
    }
    assert_eq!(server, echo::Server::new());
}

#[test]
fn echo_server_agrees_with_the_oracle_on_random_texts() {
    let mut rng = Rng::new(0x5eed_0001);
    for _ in 0..300 {
        let chars = rng.below(25);
        let mut payload = rng.text(chars).into_bytes();
        // A third of the payloads is damaged.
        if rng.percent(33) && !payload.is_empty() {
            let at = rng.below(payload.len());
            payload[at] = rng.bits() as u8;
        }
        if rng.percent(20) {
            payload.truncate(rng.below(payload.len() + 1));
        }
        let transcript = echo_server(&echo_message(&payload), Some(StreamEnd::Closed));
        match echo_reply_bytes(&payload) {
            Some(reply) => {
                assert_eq!(transcript.sent, echo_message(&reply), "{payload:02x?}");
                assert_eq!(transcript.outcome, Outcome::Done);
            }
            None => assert!(
                transcript.error_text().starts_with("the client broke the protocol"),
                "{payload:02x?}: {:?}",
                transcript.outcome
            ),
        }
    }
}

#[test]
fn echo_server_answers_the_current_message_after_finish_and_no_other() {
    let finish = echo::server::Command::Finish;
    // Between two messages it ends at once, whatever arrives later.
    let mut server = echo::Server::new();
    assert_eq!(server.command(finish, &mut []), Ok(0));
    assert_eq!(server.step(Input::open(b""), &mut [0; 64]), Ok(Step::idle(Action::Close)));
    assert_eq!(server.command(finish, &mut []), Err(CommandError::OutOfTurn));
    assert_eq!(server.step(Input::open(b"\0\0\0\0"), &mut [0; 64]), Ok(Step::idle(Action::Close)));
    // In the middle of a message, that message is answered and the next is not.
    let two = [echo_message(b"0123456789abc"), echo_message(b"0123456789xyz")].concat();
    for cut in 1..17 {
        let (mut server, mut sent, mut at, mut arrived) = (echo::Server::new(), vec![], 0, cut);
        let mut finished = false;
        loop {
            let mut output = [0; 64];
            let Step { consumed, written, action } =
                server.step(Input::open(&two[at..arrived]), &mut output).unwrap();
            at += consumed;
            sent.extend_from_slice(&output[..written]);
            match action {
                Action::Need(_) if !finished => {
                    assert_eq!(server.command(finish, &mut []), Ok(0));
                    finished = true;
                }
                Action::Need(need) => {
                    assert!(arrived < two.len(), "cut {cut}: it waits for {need:?}");
                    arrived = two.len();
                }
                Action::Close => break,
                _ => {}
            }
        }
        assert_eq!((sent, at), (echo_message(b"abc"), 17), "cut {cut}");
    }
}

#[test]
fn an_application_that_repeats_finish_does_not_hang_the_pump() {
    use socklab_core::session::{Handler, Stop, Want, pump};
    struct Stopping;
    impl Handler<echo::Server> for Stopping {
        fn event(&mut self, _: echo::server::Event) {}
        fn command(&mut self) -> Option<echo::server::Command> {
            Some(echo::server::Command::Finish)
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut server = echo::Server::new();
        let pumped = pump(&mut server, &mut Stopping, Input::open(&[0, 0]), &mut [0; 64]);
        sender.send(pumped).unwrap();
    });
    let pumped = receiver.recv_timeout(std::time::Duration::from_secs(10));
    let pumped = pumped.expect("the pump does not return");
    assert!(matches!(pumped.stop, Stop::Want(Want::ReadOrWrite | Want::Read { .. })), "{pumped:?}");
}

#[test]
fn echo_server_stays_closed_after_its_client_closed() {
    let mut server = echo::Server::new();
    assert_eq!(
        server.step(Input::ended(b"", StreamEnd::Closed), &mut [0; 4]),
        Ok(Step::idle(Action::Close))
    );
    assert_eq!(
        server.command(echo::server::Command::Finish, &mut []),
        Err(CommandError::OutOfTurn)
    );
    assert_eq!(server.step(Input::open(b"\0\0\0\0"), &mut [0; 4]), Ok(Step::idle(Action::Close)));
}

// ---------------------------------------------------------------- echo client

#[test]
fn echo_client_sends_every_message_and_gets_every_reply_under_every_cut() {
    let payloads = payloads();
    let role = EchoClient::new(&payloads, true);
    let replies: Vec<Vec<u8>> = payloads.iter().map(|p| echo_reply_bytes(p).unwrap()).collect();
    let script: Vec<u8> = replies.iter().flat_map(|reply| echo_message(reply)).collect();
    let sent: Vec<u8> = payloads.iter().flat_map(|p| echo_message(p)).collect();
    for role in [role.clone(), role.splitting()] {
        let transcript = assert_lawful(every_cut(&role, &script, Some(StreamEnd::Closed)));
        assert_eq!(transcript.sent, sent);
        let expected: Vec<Reply> = replies.iter().map(|bytes| reply(bytes)).collect();
        assert_eq!((transcript.events(), transcript.outcome), (expected, Outcome::Done));
    }
}

#[test]
fn echo_client_waits_for_a_reply_before_it_sends_the_next_message() {
    let message = |after, payload: &str| Message { after, payload: payload.into() };
    let messages = vec![message(0, "0123456789one"), message(1, "0123456789three"), message(2, "")];
    let role = EchoClient::scheduled(messages, true);
    let script = [echo_message(b"one"), echo_message(b"three"), echo_message(b"")].concat();
    let transcript = assert_lawful(every_truncation(&role, &script));
    assert_eq!(transcript.events(), [reply(b"one"), reply(b"three"), reply(b"")]);
    assert_eq!(transcript.outcome, Outcome::Done);
    let sent_before: Vec<usize> =
        transcript.emitted.iter().map(|emitted| emitted.written).collect();
    assert_eq!(sent_before, [17, 36, 40]);
}

#[test]
fn echo_client_refuses_replies_that_were_not_requested() {
    let role = EchoClient::new(&["0123456789a"], false);
    let nothing = EchoClient::new::<&str>(&[], false);
    // A reply of any length before any message was sent.
    for length in [0, 1, u32::MAX] {
        let transcript = assert_lawful(every_cut(&nothing, &length.to_be_bytes(), None));
        let error = echo::client::Error::<4>::Unasked { length };
        assert_eq!(transcript.outcome, Outcome::Error(format!("{error:?}"), error.to_string()));
        assert_eq!(transcript.consumed, 0);
    }
    // A second reply to one message.
    for second in [&b""[..], b"x"] {
        let script = [echo_message(b"a"), echo_message(second)].concat();
        let transcript = assert_lawful(every_truncation(&role, &script));
        assert_eq!(transcript.events(), [reply(b"a")]);
        assert!(transcript.error_text().contains("no message is in flight"));
    }
    // A reply longer than everything sent is refused when its length has arrived.
    for length in [12, 1 << 20, u32::MAX] {
        let transcript = assert_lawful(every_cut(&role, &length.to_be_bytes(), None));
        let error = echo::client::Error::<4>::TooLong { length, limit: 11 };
        assert_eq!(transcript.outcome, Outcome::Error(format!("{error:?}"), error.to_string()));
        assert!(transcript.emitted.is_empty());
    }
    // A reply as long as the message is accepted: the client does not count characters.
    let transcript = assert_lawful(every_cut(&role, &echo_message(b"0123456789a"), None));
    assert_eq!(transcript.events(), [reply(b"0123456789a")]);
    // Unused reply length does not carry over: with no message in flight it is forgotten.
    let messages = vec![
        Message { after: 0, payload: vec![b'x'; 100] },
        Message { after: 1, payload: b"y".to_vec() },
    ];
    let role = EchoClient::scheduled(messages, true);
    let script = [echo_message(b""), 2_u32.to_be_bytes().to_vec()].concat();
    let transcript = assert_lawful(every_cut(&role, &script, None));
    assert!(transcript.error_text().contains("expected at most 1,"), "{}", transcript.error_text());
}

#[test]
fn echo_client_has_an_error_text_for_every_end_and_counts_missing_replies() {
    let role = EchoClient::new(&["0123456789one", "0123456789", "0123456789three"], true);
    let script = [echo_message(b"one"), echo_message(b""), echo_message(b"three")].concat();
    assert_lawful(every_truncation(&role, &script));
    let sentence = |length: usize, how| {
        assert_lawful(every_cut(&role, &script[..length], Some(how))).error_text().to_string()
    };
    let closed = "the server closed the connection";
    assert_eq!(
        sentence(0, StreamEnd::Closed),
        format!("{closed} between messages, with 3 replies missing")
    );
    let middle = "in the middle of a message, after";
    assert_eq!(
        sentence(3, StreamEnd::Closed),
        format!("{closed} {middle} 3 of 4 bytes, with 3 replies missing")
    );
    assert_eq!(
        sentence(4, StreamEnd::Closed),
        format!("{closed} {middle} 4 of 7 bytes, with 3 replies missing")
    );
    assert_eq!(
        sentence(6, StreamEnd::Reset),
        format!("the server reset the connection {middle} 6 of 7 bytes, with 3 replies missing")
    );
    assert_eq!(
        sentence(7, StreamEnd::TimedOut),
        "the server sent nothing more in time, with 2 replies missing"
    );
    assert_eq!(
        sentence(11, StreamEnd::Closed),
        format!("{closed} between messages, with 1 reply missing")
    );
    assert_eq!(sentence(20, StreamEnd::Reset), "");
}

#[test]
fn echo_client_counts_commands_and_payload_exactly() {
    use echo::client::Command;
    let mut client = echo::Client::new();
    let mut output = [0; 16];
    // All or nothing: with one byte too few nothing is written.
    for size in 0..9 {
        let before = client.clone();
        assert_eq!(
            client.command(Command::Send(b"hello"), &mut output[..size]),
            Err(CommandError::OutputFull)
        );
        assert_eq!((&client, output), (&before, [0; 16]));
    }
    assert_eq!(client.command(Command::Send(b"hello"), &mut output[..9]), Ok(9));
    assert_eq!(output[..9], *b"\0\0\0\x05hello");
    // While payload remains, no other command is accepted.
    assert_eq!(client.command(Command::Begin(u32::MAX), &mut output), Ok(4));
    assert_eq!((client.outbound_remaining(), client.in_flight()), (u64::from(u32::MAX), 2));
    for command in [Command::Send(b""), Command::Begin(0), Command::Finish] {
        assert_eq!(client.command(command, &mut output), Err(CommandError::OutOfTurn));
    }
    let before = client.clone();
    for n in [u64::from(u32::MAX) + 1, 1 << 40, u64::MAX] {
        assert_eq!(client.advance_outbound(n), Err(Invalid::Overrun.into()));
        assert_eq!(client, before);
    }
    assert_eq!(client.advance_outbound(0), Ok(()));
    assert_eq!(client.advance_outbound(u64::from(u32::MAX) - 1), Ok(()));
    assert_eq!(client.advance_outbound(2), Err(Invalid::Overrun.into()));
    assert_eq!(client.advance_outbound(1), Ok(()));
    assert_eq!(client.outbound_remaining(), 0);
    assert_eq!(client.command(Command::Finish, &mut []), Ok(0));
    assert_eq!(client.command(Command::Finish, &mut []), Err(CommandError::OutOfTurn));
    assert_eq!(client.command(Command::Send(b""), &mut output), Err(CommandError::OutOfTurn));
}

#[test]
fn echo_client_counts_inbound_payload_exactly() {
    use echo::client::Command;
    let (mut client, mut output) = (echo::Client::new(), [0; 64]);
    client.command(Command::Send(&[7; 40]), &mut output).unwrap();
    assert_eq!(
        (client.inbound_remaining(), client.advance_inbound(1)),
        (0, Err(Invalid::Overrun.into()))
    );
    let header = 30_u32.to_be_bytes();
    let step = client.step(Input::open(&header), &mut output).unwrap();
    assert_eq!(step, Step::new(4, 0, Action::Continue));
    assert_eq!(
        (client.inbound_remaining(), client.advance_inbound(31)),
        (30, Err(Invalid::Overrun.into()))
    );
    assert_eq!(client.advance_inbound(u64::MAX), Err(Invalid::Overrun.into()));
    assert_eq!((client.advance_inbound(10), client.inbound_remaining()), (Ok(()), 20));
    let step = client.step(Input::open(&[1; 5]), &mut output).unwrap();
    let Action::Event(echo::client::Event::Reply(piece)) = step.action else { panic!("{step:?}") };
    assert_eq!((piece.offset, piece.bytes.len(), piece.remaining), (10, 5, 15));
    assert!(!piece.is_first() && !piece.is_last());
    assert_eq!(
        (client.advance_inbound(15), client.inbound_remaining(), client.in_flight()),
        (Ok(()), 0, 0)
    );
}

#[test]
fn every_machine_ignores_idle_input_it_did_not_ask_for() {
    use socklab_core::machine::StreamState;
    fn same<R: Application>(role: &R, bytes: &[u8]) {
        let (mut more, mut silent) = (role.machine(), role.machine());
        let (mut a, mut b) = ([0; 64], [0; 64]);
        let x = more.step(Input::open(bytes), &mut a).map(|step| format!("{step:?}"));
        let input = Input { bytes, state: StreamState::Idle };
        let y = silent.step(input, &mut b).map(|step| format!("{step:?}"));
        assert_eq!((x, more, a), (y, silent, b));
    }
    for bytes in [&b""[..], b"Q", b"QQQQQQQQQ", b"\0\0\0\x01", b"\0\0\0\x00", b"\0\0"] {
        same(&MathClient, bytes);
        same(&MathServer::new(&QUESTIONS, None), bytes);
        same(&EchoServer, bytes);
        same(&EchoClient::new(&["a"], true), bytes);
    }
}
