//! `socklab add` and `socklab hello` as a user meets them. The test plays the peer, or our program
//! does.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use socklab_tests::program::{
    FakeServer, Process, Program, Server, client, is_judged, read, read_all, reset, without_quote,
};

/// Text that would control a terminal. It is harmless in a pipe.
const NASTY: &str = "\u{1b}[31m\u{202e}evil\u{9b}2J\u{7}";

/// Starts our client and returns it with its connection.
fn start_client(protocol: &str, args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client(protocol, fake.addr, args).start();
    let stream = fake.accept();
    (process, stream)
}

const ADA: [&str; 4] = ["--name", "Ada", "--number", "42"];

mod add {
    use super::*;

    #[test]
    fn without_an_address_it_runs_against_its_own_server() {
        let finished = Program::socklab(&[&["add", "client"], &ADA[..]].concat()).run();
        let stdout = String::from_utf8(finished.success().to_vec()).unwrap();
        let lines: Vec<&str> = stdout.lines().collect();
        let [ours, theirs, sum] = lines[..] else { panic!("{finished:?}") };
        let number: i32 = theirs.strip_prefix("Server of socklab: ").unwrap().parse().unwrap();
        assert!((1..=100).contains(&number));
        assert_eq!((ours, sum.to_owned()), ("Ada: 42", format!("sum: {}", 42 + number)));
        assert!(finished.stderr.starts_with("no address given: a built-in add server runs on"));
    }

    #[test]
    fn name_and_number_are_asked_for_until_they_are_valid() {
        let server = Server::start("add", &["--name", "Serveur", "--number", "7"]);
        let finished = server.client("add", &[]).run_with("\n  Ada L. \nforty\n0\n101\n42\nrest\n");
        assert_eq!(finished.stdout, b"Ada L.: 42\nServeur: 7\nsum: 49\n");
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let expected =
            "the name is empty\n".to_owned() + &"expected a number from 1 to 100\n".repeat(3);
        assert_eq!(finished.stderr, expected);
        let ended = server.client("add", &["--name", "x"]).run_with("");
        assert!(ended.failure(2).contains("--number"), "{ended:?}");
        let server = server.process;
        server.signal("INT");
        let server = server.finish();
        assert_eq!(server.code, Some(0));
        assert!(server.stderr.contains(": Ada L. and Serveur: 42 + 7 = 49\n"), "{server:?}");
    }

    #[test]
    fn a_number_out_of_range_shuts_the_server_down_with_code_0() {
        let mut server = Server::start("add", &[]);
        let mut other = server.connect();
        other.write_all(b"Waiting\n").unwrap();
        let finished = server.client("add", &["--name", "Ada", "--shutdown"]).run();
        assert_eq!(finished.success(), b"");
        let expected =
            "the server closed without an answer: it has shut down, or refused the number\n";
        assert_eq!(finished.stderr, expected);
        assert_eq!(read_all(&mut other), b"");
        assert!(TcpStream::connect(server.addr).is_err());
        let _ = &mut server;
        let server = server.process.finish();
        assert_eq!(server.code, Some(0), "{server:?}");
        let why = ": Ada sent 0, which is out of range (1 to 100): shutting down\n";
        assert!(server.stderr.contains(why), "{server:?}");
    }

    #[test]
    fn an_answer_to_a_shutdown_is_an_error() {
        let fake = FakeServer::new();
        let client = client("add", fake.addr, &["--name", "Ada", "--shutdown"]).start();
        let mut stream = fake.accept();
        stream.write_all(b"Bob\n7\n").unwrap();
        drop(stream);
        let finished = client.finish();
        let expected = "the server answered instead of shutting down: 0 is not out of its range";
        assert_eq!((finished.failure(1), &finished.stdout[..]), (expected, &b""[..]));
    }

    #[test]
    fn with_keep_running_the_server_refuses_and_continues() {
        let server = Server::start("add", &["--keep-running", "--number", "1"]);
        let mut stream = server.connect();
        stream.write_all(b"Eve\n99999999999\n").unwrap();
        assert_eq!(read_all(&mut stream), b"");
        let finished = server.client("add", &ADA).run();
        assert_eq!(finished.success(), b"Ada: 42\nServer of socklab: 1\nsum: 43\n");
        server.process.wait_for("out of range (1 to 100): refused");
    }

    #[test]
    fn an_invalid_integer_is_refused_and_the_server_continues() {
        let server = Server::start("add", &["--number", "1"]);
        for (line, what) in [
            ("forty", "byte 0 of a line is 0x66 ('f'), expected a decimal integer"),
            ("", "a line is empty, expected a decimal integer"),
        ] {
            let mut stream = server.connect();
            writeln!(stream, "Eve\n{line}").unwrap();
            assert_eq!(read_all(&mut stream), b"");
            server.process.wait_for(what);
        }
        assert_eq!(server.client("add", &ADA).run().code, Some(0));
    }

    #[test]
    fn every_ending_of_the_server_is_reported() {
        type PlayServer = fn(TcpStream);
        let play: [(PlayServer, &str); 6] = [
            (
                |mut s| {
                    let _: [u8; 7] = read(&mut s);
                },
                "the server closed the connection instead of answering: it refused what it got, or was shut down",
            ),
            (
                |mut s| {
                    let _: [u8; 7] = read(&mut s);
                    reset(s);
                },
                "the server reset the connection instead of answering",
            ),
            (
                |mut s| {
                    let _: [u8; 7] = read(&mut s);
                    s.write_all(b"B").unwrap();
                    s.shutdown(Shutdown::Write).unwrap();
                },
                "the server closed the connection in the middle of a message, after 1 byte",
            ),
            (
                |mut s| s.write_all(b"Bob\nfour\n").unwrap(),
                "the server broke the protocol: byte 0 of a line is 0x66 ('f'), expected a decimal integer",
            ),
            (
                |mut s| s.write_all(b"Bob\n99999999999\n").unwrap(),
                "the server broke the protocol: the integer does not fit in 32 bits",
            ),
            (
                // More than the buffers of both ends hold. The client stops reading long before.
                |mut s| while s.write_all(&[b'x'; 1 << 16]).is_ok() {},
                "the server broke the protocol: a line is too long, its first 1025 bytes have no newline",
            ),
        ];
        for (play, sentence) in play {
            if !is_judged(sentence) {
                continue;
            }
            let (process, stream) = start_client("add", &ADA);
            play(stream);
            let finished = process.finish();
            assert_eq!(without_quote(finished.failure(1)), sentence);
            assert_eq!(finished.stdout, b"");
        }
        let (process, stream) =
            start_client("add", &["--name", "Ada", "--number", "42", "--timeout", "300ms"]);
        assert_eq!(
            process.finish().failure(1),
            "the server did not answer in time (300ms; --timeout changes that)"
        );
        drop(stream);
    }

    #[test]
    fn names_are_written_to_a_pipe_unchanged_and_escaped_in_a_log() {
        let (process, mut stream) = start_client("add", &ADA);
        write!(stream, "{NASTY}\n1\n").unwrap();
        let finished = process.finish();
        assert_eq!(finished.success(), format!("Ada: 42\n{NASTY}: 1\nsum: 43\n").as_bytes());

        let server = Server::start("add", &["--number", "1"]);
        let mut stream = server.connect();
        write!(stream, "{NASTY}\n2\n").unwrap();
        assert_eq!(read_all(&mut stream), b"Server of socklab\n1\n");
        let line = server.process.wait_for("2 + 1 = 3");
        assert!(line.contains("\\x1b[31m\\u{202e}evil\\u{9b}2J\\x07 and Server"), "{line}");
    }

    #[test]
    fn every_result_is_a_json_event() {
        let (process, mut stream) =
            start_client("add", &["--name", "Ada", "--number", "42", "--json"]);
        stream.write_all(b"B\xff\n58\n").unwrap();
        let stdout = String::from_utf8(process.finish().success().to_vec()).unwrap();
        let mut lines = stdout.lines();
        assert!(lines.next().unwrap().starts_with(r#"{"event":"connected","peer":"127.0.0.1:"#));
        assert_eq!(
            lines.next().unwrap(),
            "{\"event\":\"answer\",\"name\":\"Ada\",\"number\":42,\"server_number\":58,\"sum\":100,\
             \"server_name\":\"B\u{fffd}\",\"hex\":\"42ff\"}"
        );
    }

    #[test]
    fn wrong_arguments_are_reported_with_code_2() {
        for (args, text) in [
            (&["--number", "0"][..], "expected a number from 1 to 100"),
            (&["--number", "-5"], "expected a number from 1 to 100"),
            (&["--number", "ten"], "expected a number from 1 to 100"),
            (&["--name", " "], "the name is empty"),
            (&["--name", "a\nb"], "a name must not contain a line break"),
            (&["--shutdown", "--number", "5"], "cannot be used with"),
        ] {
            let finished = Program::socklab(&[&["add", "client"], args].concat()).run();
            assert!(finished.failure(2).contains(text), "{finished:?}");
        }
    }
}

mod hello {
    use super::*;

    #[test]
    fn both_ends_greet() {
        let finished = Program::socklab(&["hello", "client"]).run();
        assert_eq!(finished.success(), b"Hello from server\n");
        let server = Server::start("hello", &["--both", "--count", "2"]);
        for _ in 0..2 {
            let finished = server.client("hello", &["--both"]).run();
            assert_eq!(finished.success(), b"Hello from server\n");
            assert_eq!(finished.stderr, "");
        }
        let server = server.process.finish();
        assert_eq!(server.code, Some(0));
        let expected = ": greeted, and received \"Hello from client\"\n";
        assert_eq!(server.stderr.matches(expected).count(), 2, "{server:?}");
    }

    #[test]
    fn after_its_count_a_server_accepts_no_more_clients() {
        let server = Server::start("hello", &["--count", "1", "--both"]);
        let mut one = server.connect();
        assert_eq!(read::<18>(&mut one), *b"Hello from server\n");
        assert!(TcpStream::connect(server.addr).is_err(), "the listener is closed");
        one.write_all(b"Hi\n").unwrap();
        assert_eq!(read_all(&mut one), b"");
        drop(one);
        assert_eq!(server.process.finish().code, Some(0));
    }

    #[test]
    fn a_split_greeting_arrives_in_two_reads() {
        let server = Server::start("hello", &["--split", "8", "--gap", "200ms"]);
        let finished = server.client("hello", &["--trace"]).run();
        assert_eq!(finished.success(), b"Hello from server\n");
        assert!(finished.stderr.contains("[8 bytes so far]"), "{finished:?}");
        assert!(finished.stderr.contains("[in 2 reads: 8 + 10 bytes]"), "{finished:?}");
    }

    #[test]
    fn a_greeting_may_lack_its_newline() {
        let (process, mut stream) = start_client("hello", &[]);
        stream.write_all(b"Good day").unwrap();
        drop(stream);
        assert_eq!(process.finish().success(), b"Good day\n");
    }

    #[test]
    fn every_ending_of_the_server_is_reported() {
        type PlayServer = fn(TcpStream);
        let plays: [(PlayServer, &str); 3] = [
            (drop, "the server closed the connection between messages, without a greeting"),
            (reset, "the server reset the connection between messages, without a greeting"),
            (
                |mut s| while s.write_all(&[b'x'; 1 << 16]).is_ok() {},
                "the server broke the protocol: a line is too long, its first 1025 bytes have no newline",
            ),
        ];
        for (play, sentence) in plays {
            if !is_judged(sentence) {
                continue;
            }
            let (process, stream) = start_client("hello", &[]);
            play(stream);
            assert_eq!(without_quote(process.finish().failure(1)), sentence);
        }
        let (process, stream) = start_client("hello", &["--timeout", "200ms"]);
        assert_eq!(
            process.finish().failure(1),
            "the server sent nothing more in time, without a greeting (200ms; --timeout changes that)"
        );
        drop(stream);
    }

    #[test]
    fn a_client_that_does_not_greet_back_is_reported_and_others_are_served() {
        let server = Server::start("hello", &["--both"]);
        let mut stream = server.connect();
        assert_eq!(read::<18>(&mut stream), *b"Hello from server\n");
        drop(stream);
        server
            .process
            .wait_for("the client closed the connection between messages, without a greeting");
        assert_eq!(server.client("hello", &["--both"]).run().code, Some(0));
    }
}
