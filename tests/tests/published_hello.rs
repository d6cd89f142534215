//! Hello with programs that people write: greetings without a newline, and ends that read nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socklab_core::machine::{Need, StreamEnd};
use socklab_tests::program::{self, FakeServer, Process, Server, read, read_all, reset};
use socklab_tests::role::{HelloClient, HelloServer};
use socklab_tests::script::{
    Outcome, Script, assert_lawful, every_cut, every_cut_of_script, every_truncation_of_script,
};

#[test]
fn a_greeting_without_newline_is_accepted_after_a_pause_if_the_server_waits() {
    let script = Script { pauses: &[2, 5], ..Script::new(b"Hello\nmore", None) };
    let transcript =
        assert_lawful(every_truncation_of_script(&HelloClient { both: true }, &script));
    assert_eq!(transcript.events(), [b"He"]);
    assert_eq!((transcript.consumed, transcript.outcome), (2, Outcome::Done));
    assert_eq!(transcript.sent, b"Hello from client\n");
    // A client that does not greet back waits for the rest.
    let transcript =
        assert_lawful(every_truncation_of_script(&HelloClient { both: false }, &script));
    assert_eq!((transcript.events(), transcript.consumed), (vec![b"Hello".to_vec()], 6));
    // A pause before the first byte only means that the server is slow.
    let script = Script { pauses: &[0], ..Script::new(b"Hello\n", None) };
    let transcript =
        assert_lawful(every_truncation_of_script(&HelloClient { both: true }, &script));
    assert_eq!(transcript.events(), [b"Hello"]);
    let slow = Script { pauses: &[0], ..Script::new(b"", None) };
    let transcript = assert_lawful(every_cut_of_script(&HelloClient { both: true }, &slow));
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::Input));
}

#[test]
fn a_clients_greeting_without_newline_is_accepted_after_a_pause_and_at_the_close() {
    let role = HelloServer { both: true, split: 8 };
    let silent = Script { pauses: &[2], ..Script::new(b"Hi", None) };
    for transcript in [
        assert_lawful(every_truncation_of_script(&role, &silent)),
        assert_lawful(every_cut(&role, b"Hi", Some(StreamEnd::Closed))),
    ] {
        assert_eq!(
            (transcript.events(), transcript.outcome),
            (vec![b"Hi".to_vec()], Outcome::Done)
        );
    }
    let reset = assert_lawful(every_cut(&role, b"Hi", Some(StreamEnd::Reset)));
    assert_eq!(
        reset.error_text(),
        "the client reset the connection in the middle of a message, after 2 bytes"
    );
}

const OURS: &[u8] = b"Hello from client\n";

/// Starts `socklab hello client --both` and returns it with its connection.
fn client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = program::client("hello", fake.addr, &[&["--both"], args].concat()).start();
    (process, fake.accept())
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn a_server_that_never_reads_the_answer_is_a_failure() {
    type PlayServer = fn(TcpStream, &Process);
    let closed = "the server closed the connection without reading our greeting";
    let gone = "the server reset the connection without reading our greeting";
    let plays: [(&str, PlayServer, &[&str]); 6] = [
        // The close and the answer race, and the answer may lose.
        ("closes at once", |s, _| drop(s), &[closed, gone]),
        ("shuts down both ways", |s, _| s.shutdown(Shutdown::Both).unwrap(), &[closed, gone]),
        ("resets at once", |s, _| reset(s), &[gone, "the server reset the connection"]),
        // The client shows the greeting when it has sent its answer.
        (
            "closes later",
            |s, process| {
                process.wait_for_stdout("Hi");
                drop(s);
            },
            &[gone],
        ),
        (
            "resets later",
            |s, process| {
                process.wait_for_stdout("Hi");
                reset(s);
            },
            &[gone],
        ),
        (
            "reads a part",
            |mut s, process| {
                assert_eq!(read::<17>(&mut s), OURS[..17]);
                process.wait_for_stdout("Hi");
                drop(s);
            },
            &[gone],
        ),
    ];
    for (name, play, sentences) in plays {
        for _ in 0..3 {
            let (process, mut stream) = client(&[]);
            stream.write_all(b"Hi\n").unwrap();
            play(stream, &process);
            let finished = process.finish();
            assert_eq!(finished.code, Some(1), "{name}: {finished:?}");
            let failure = finished.failure(1);
            assert!(sentences.iter().any(|s| failure.starts_with(s)), "{name}: {finished:?}");
            // What was received is still shown, unless the reset destroyed it.
            let shown: &[&[u8]] =
                if name == "resets at once" { &[b"Hi\n", b""] } else { &[b"Hi\n"] };
            assert!(shown.contains(&&finished.stdout[..]), "{name}: {finished:?}");
        }
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Linux: what the peer's system has received")]
fn a_server_that_stays_and_never_reads_times_out() {
    let (process, mut stream) = client(&["--timeout", "500ms"]);
    stream.write_all(b"Hi\n").unwrap();
    let finished = process.finish();
    let expected = "the server did not read our greeting in time (500ms; --timeout changes that)";
    let is_known = cfg!(target_os = "linux");
    if is_known {
        assert_eq!(finished.failure(1), expected);
    }
    drop(stream);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Linux: what the peer's system has received")]
fn a_server_that_reads_is_a_success_even_without_a_close() {
    // Only Linux reports what a program on this machine has read.
    for closes in [true, cfg!(not(target_os = "linux"))] {
        let (process, mut stream) = client(&[]);
        stream.write_all(b"Hi\n").unwrap();
        process.wait_for_stdout("Hi");
        assert_eq!(read::<18>(&mut stream), OURS);
        let stays = if closes {
            drop(stream);
            None
        } else {
            Some(stream)
        };
        let finished = process.finish();
        assert_eq!((finished.success(), finished.stderr.as_str()), (&b"Hi\n"[..], ""));
        drop(stays);
    }
    // A server that half-closes first and reads to the end.
    let (process, mut stream) = client(&[]);
    stream.write_all(b"Hi\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), OURS);
    assert_eq!(process.finish().success(), b"Hi\n");
}

#[test]
fn a_server_that_sends_no_newline_and_then_reads_is_greeted() {
    let (process, mut stream) = client(&[]);
    stream.write_all(b"Good day").unwrap();
    assert_eq!(read::<18>(&mut stream), OURS);
    drop(stream);
    let finished = process.finish();
    assert_eq!((finished.success(), finished.stderr.as_str()), (&b"Good day\n"[..], ""));
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn the_fate_of_the_answer_is_an_event() {
    for (reads, event) in [
        (true, r#"{"event":"answered","read":true}"#),
        (false, r#"{"event":"answered","read":false}"#),
    ] {
        let (process, mut stream) = client(&["--json"]);
        stream.write_all(b"Hi\n").unwrap();
        process.wait_for_stdout("greeting");
        if reads {
            assert_eq!(read::<18>(&mut stream), OURS);
        }
        drop(stream);
        let finished = process.finish();
        assert_eq!(finished.code, Some(i32::from(!reads)), "{finished:?}");
        let stdout = String::from_utf8(finished.stdout.clone()).unwrap();
        assert!(stdout.lines().any(|line| line == event), "{stdout}");
    }
}

#[test]
fn clients_that_never_answer_are_reported_and_others_are_served() {
    let server = Server::start("hello", &["--both", "--timeout", "700ms"]);
    let mut silent = server.connect();
    assert_eq!(read::<18>(&mut silent), *b"Hello from server\n");
    // Without a newline, and with a half-close or a long timeout.
    let mut bare = server.connect();
    assert_eq!(read::<18>(&mut bare), *b"Hello from server\n");
    bare.write_all(b"Hi").unwrap();
    assert_eq!(read_all(&mut bare), b"");
    server.process.wait_for("greeted, and received \"Hi\"");
    let mut half = server.connect();
    half.write_all(b"Ho").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut half), b"Hello from server\n");
    server.process.wait_for("greeted, and received \"Ho\"");
    server.process.wait_for("the client sent nothing more in time, without a greeting");
    let mut rest = Vec::new();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = silent.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}
