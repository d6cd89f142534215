//! Servers that do not end as their protocol requires. Clients report it and exit with 1, after
//! their output.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use serde_json::Value;
use socklab_tests::program::{
    self, FakeServer, Finished, Program, SIGNALS, Server, read, read_all,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a client with these arguments and this stdin against a server that the function plays.
fn against(
    protocol: &str,
    args: &[&str],
    stdin: &str,
    play: impl FnOnce(TcpStream) + Send + 'static,
) -> Finished {
    let fake = FakeServer::new();
    let mut ours = program::client(protocol, fake.addr, args).with_stdin().start();
    ours.feed(stdin);
    let stream = fake.accept();
    let server = thread::spawn(move || play(stream));
    let finished = ours.finish();
    server.join().unwrap();
    finished
}

/// Returns the events, and the message of the last, which must be an error.
fn events(finished: &Finished) -> (Vec<Value>, String) {
    let events: Vec<Value> =
        text(&finished.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.last().expect("an event");
    assert_eq!(last["event"], "error", "{finished:?}");
    let message = last["message"].as_str().unwrap().to_owned();
    (events, message)
}

// ---------------------------------------------------------------- rps

/// Plays three draws without reading the last acknowledgement.
fn three_rounds(stream: &mut TcpStream, behind: &[u8]) {
    for n in 0..3 {
        stream.write_all(b"Pick: ").unwrap();
        assert_eq!(read::<6>(stream), *b"Paper\n");
        let behind = if n < 2 { b"" } else { behind };
        stream.write_all(&[b"Draw,Paper,Paper\n", behind].concat()).unwrap();
        if n < 2 {
            assert_eq!(read::<17>(stream), *b"Draw,Paper,Paper\n");
        }
    }
}

const DRAWN: &str = "\n0 won, 0 lost, 3 drawn\n";

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn rps_fails_if_the_last_acknowledgement_is_not_read() {
    let sentence = |how: &str| {
        format!("the server {how} the connection without reading our last acknowledgement")
    };
    for args in [&[][..], &["--json"]] {
        let ours = against("rps", args, "2\n2\n2\n", |mut stream| {
            three_rounds(&mut stream, b"");
            // When the OS has received it, but the server has not read it.
            while stream.peek(&mut [0; 17]).unwrap() < 17 {}
        });
        let failures = [sentence("closed"), sentence("reset")];
        if args.is_empty() {
            assert!(failures.contains(&ours.last_failure(1).to_owned()), "{ours:?}");
            assert!(text(&ours.stdout).ends_with(DRAWN), "{ours:?}");
        } else {
            let (events, message) = events(&ours);
            assert!(failures.contains(&message), "{ours:?}");
            assert_eq!(events[events.len() - 2]["event"], "game");
        }
    }
}

#[test]
fn rps_fails_if_the_server_continues_after_the_third_round() {
    // In the same segment as the result, or after the acknowledgement.
    for glued in [true, false] {
        let ours = against("rps", &["--json"], "2\n2\n2\n", move |mut stream| {
            three_rounds(&mut stream, if glued { b"Pick: " } else { b"" });
            assert_eq!(read::<17>(&mut stream), *b"Draw,Paper,Paper\n");
            if !glued {
                stream.write_all(b"Pick: ").unwrap();
            }
            assert_eq!(read_all(&mut stream), b"");
        });
        let (events, message) = events(&ours);
        assert_eq!(
            message,
            "the server continues after 3 rounds: 6 bytes after the end, \"Pick: \""
        );
        assert_eq!(events[events.len() - 2]["event"], "surplus");
        assert_eq!(events[events.len() - 3]["drawn"], 3);
    }
}

#[test]
fn rps_succeeds_once_the_server_has_read_the_last_acknowledgement() {
    let ours = against("rps", &[], "2\n2\n2\n", |mut stream| {
        three_rounds(&mut stream, b"");
        assert_eq!(read::<17>(&mut stream), *b"Draw,Paper,Paper\n");
    });
    assert!(text(ours.success()).ends_with(DRAWN), "{ours:?}");
}

// ---------------------------------------------------------------- add

#[test]
fn add_fails_if_the_answer_is_out_of_range_or_has_two_numbers() {
    let ada = &["--name", "Ada", "--number", "42"][..];
    let two = |name: &str| {
        format!(
            "the server's name {name:?} itself ends in a separator and a number: expected one name and one \
             number"
        )
    };
    for (answer, name, number, failure) in [
        ("Bob\n500\n", "Bob", 500, "the server's number 500 is out of range (1 to 100)".to_owned()),
        ("Bob,0", "Bob", 0, "the server's number 0 is out of range (1 to 100)".into()),
        ("Bob\n101\n", "Bob", 101, "the server's number 101 is out of range (1 to 100)".into()),
        ("Bob -3\n", "Bob", -3, "the server's number -3 is out of range (1 to 100)".into()),
        ("Bob,7,49\n", "Bob,7", 49, two("Bob,7")),
        ("Bob 7 49", "Bob 7", 49, two("Bob 7")),
        ("Bob: 7, 149\n", "Bob: 7", 149, two("Bob: 7")),
    ] {
        let play = move |mut stream: TcpStream| {
            assert_eq!(read::<7>(&mut stream), *b"Ada\n42\n");
            stream.write_all(answer.as_bytes()).unwrap();
        };
        let shown = format!("Ada: 42\n{name}: {number}\nsum: {}\n", 42 + number);
        let ours = against("add", ada, "", play);
        assert_eq!((ours.failure(1), text(&ours.stdout)), (&*failure, shown), "{answer:?}");
        let ours = against("add", &[ada, &["--json"]].concat(), "", play);
        let (events, message) = events(&ours);
        assert_eq!(message, failure, "{answer:?}");
        let event = &events[events.len() - 2];
        assert_eq!((&event["event"], &event["server_number"]), (&"answer".into(), &number.into()));
    }
    // The limits of the range, and a number in a name.
    for answer in ["Bob\n1\n", "Bob,100", "Agent7,49\n"] {
        let ours = against("add", ada, "", move |mut stream| {
            assert_eq!(read::<7>(&mut stream), *b"Ada\n42\n");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        ours.success();
    }
}

// ---------------------------------------------------------------- coin

#[test]
fn coin_fails_if_the_server_sends_no_farewell() {
    let bye = "expected a farewell such as \"Thanks for playing the game. Bye!\"";
    let invalid = "Please enter head (H), tail (T) or Q to quit";
    let other = |text: &str| format!("the server replied to Q with {text:?}, {bye}");
    let silent = format!("the server closed the connection without a reply to Q, {bye}");
    for (farewell, failure) in [
        (String::new(), silent.clone()),
        ("\n".into(), silent),
        (format!("{invalid}\n"), other(invalid)),
        // The server continues.
        ("Pick: ".into(), other("Pick: ")),
        (format!("{invalid}\nPick: "), other("Pick: ")),
        ("Sorry, you are wrong.\nPick: ".into(), other("Pick: ")),
        ("You are right!\n".into(), other("You are right!")),
    ] {
        for (args, stdin) in [(&["--auto", "1"][..], ""), (&[], "h\nq\n"), (&["--json"], "h\n")] {
            let said = farewell.clone();
            let ours = against("coin", args, stdin, move |mut stream| {
                stream.write_all(b"Pick: ").unwrap();
                let _: [u8; 2] = read(&mut stream);
                stream.write_all(b"You are right!\nPick: ").unwrap();
                assert_eq!(read::<2>(&mut stream), *b"Q\n");
                stream.write_all(said.as_bytes()).unwrap();
            });
            if args == ["--json"] {
                let (events, message) = events(&ours);
                assert_eq!(message, failure, "{farewell:?}");
                assert_eq!(events[events.len() - 2]["event"], "score");
            } else {
                assert_eq!(ours.failure(1), failure, "{farewell:?}");
                let score = "You have guessed correctly 1 out of 1 times.\n";
                assert!(text(&ours.stdout).ends_with(score), "{ours:?}");
            }
        }
    }
    for farewell in ["Ciao", "Thanks for playing the game. Bye!\n", "You quit: goodbye\n"] {
        let ours = against("coin", &[], "q\n", move |mut stream| {
            stream.write_all(b"Pick: ").unwrap();
            assert_eq!(read::<2>(&mut stream), *b"Q\n");
            stream.write_all(farewell.as_bytes()).unwrap();
        });
        ours.success();
    }
}

// ---------------------------------------------------------------- hello

#[test]
fn hello_fails_if_the_greeting_is_empty_or_not_utf_8() {
    const EMPTY: &str = "the server's greeting is empty, expected some text";
    for (greeting, failure) in [
        (&b"\n"[..], EMPTY.to_owned()),
        (b"\r\n", EMPTY.into()),
        (b" \t\n", format!("{EMPTY}: \" \\t\"")),
        (b"caf\xe9\n", "the server's greeting is not UTF-8: \"caf\\xe9\"".into()),
        (
            b"\xff\xfeH\x00i\x00",
            "the server's greeting is not UTF-8: \"\\xff\\xfeH\\x00i\\x00\"".into(),
        ),
    ] {
        for args in [&[][..], &["--both"], &["--json"]] {
            let both = args == ["--both"];
            let ours = against("hello", args, "", move |mut stream| {
                stream.write_all(greeting).unwrap();
                if both {
                    assert_eq!(read::<18>(&mut stream), *b"Hello from client\n");
                }
            });
            if args == ["--json"] {
                let (events, message) = events(&ours);
                assert_eq!(message, failure);
                assert_eq!(events[events.len() - 2]["event"], "greeting");
            } else {
                assert_eq!(ours.last_failure(1), failure);
                assert!(ours.stdout.ends_with(b"\n"), "{ours:?}");
            }
        }
    }
    let ours =
        against("hello", &[], "", |mut stream| stream.write_all("Grüß Gott".as_bytes()).unwrap());
    assert_eq!((text(ours.success()), &*ours.stderr), ("Grüß Gott\n".into(), ""));
}

#[test]
fn hello_counts_bytes_after_the_greeting() {
    let warning = "12 bytes after the greeting, which is one line: \"How are you\\n\"";
    for args in [&[][..], &["--both"], &["--json"], &["--both", "--json"]] {
        let both = args.contains(&"--both");
        let ours = against("hello", args, "", move |mut stream| {
            stream.write_all(b"Hi\nHow are ").unwrap();
            if both {
                assert_eq!(read::<18>(&mut stream), *b"Hello from client\n");
            }
            stream.write_all(b"you\n").unwrap();
        });
        let stdout = text(ours.success());
        assert_eq!(ours.stderr, format!("socklab: {warning}\n"));
        if args.contains(&"--json") {
            let event = r#"{"event":"surplus","bytes":12,"text":"How are you\n"}"#;
            assert!(stdout.lines().any(|line| line == event), "{stdout}");
        } else {
            assert_eq!(stdout, "Hi\n");
        }
    }
}

// ---------------------------------------------------------------- events

#[test]
fn a_server_with_a_user_reports_failed_peers_and_its_stop() {
    for game in ["chat", "rps"] {
        for signal in SIGNALS {
            let args = [game, "server", "0", "--forever", "--json"];
            let server = Server::from_program(Program::socklab(&args).with_stdin());
            let stream = server.connect();
            let peer = stream.local_addr().unwrap().to_string();
            drop(stream);
            server.process.wait_for(&format!("{peer}: the "));
            let failed = server.process.wait_for_stdout("\"failed\"");
            let failed: Value = serde_json::from_str(&failed).unwrap();
            assert_eq!(failed["peer"], *peer, "{failed}");
            server.process.signal(signal);
            let finished = server.process.finish_with_stdin_open();
            assert!(
                text(finished.success()).ends_with("\n{\"event\":\"stopped\"}\n"),
                "{finished:?}"
            );
        }
        // In the middle of a session.
        let server =
            Server::from_program(Program::socklab(&[game, "server", "0", "--json"]).with_stdin());
        let stream = server.connect();
        server.process.wait_for_stdout("\"connected\"");
        server.process.signal("INT");
        let finished = server.process.finish_with_stdin_open();
        assert!(text(finished.success()).ends_with("\n{\"event\":\"stopped\"}\n"), "{finished:?}");
        drop(stream);
    }
}

#[test]
fn the_name_of_an_event_of_guess_is_one_word() {
    let ours = against("guess", &["--auto", "--json"], "", |mut stream| {
        stream.write_all(b"GUESS\n").unwrap();
        for n in 0..5 {
            let mut byte = [0];
            while byte != *b"\n" {
                byte = read(&mut stream);
            }
            let next = if n < 4 { "LOW\nGUESS\n" } else { "LOW\nGAMEOVER\n" };
            stream.write_all(next.as_bytes()).unwrap();
        }
    });
    assert!(text(ours.success()).contains("\"game_over\""), "{ours:?}");
}
