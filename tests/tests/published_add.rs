//! The real binary against programs that people published for add, rewritten in Python. None of the
//! nine programs that were examined sends two lines.

use std::io::Write;
use std::net::Shutdown;

use serde_json::Value;
use socklab_tests::program::{Finished, Program, Server, client, read_all};

const AS_ADA: [&str; 4] = ["--name", "Ada", "--number", "42"];

fn published_client(server: &Server, style: &str) -> Program {
    let port = server.addr.port().to_string();
    Program::peer("add_published_client.py", &["127.0.0.1", &port, style])
}

/// Runs our client against a published server. Returns our result and the server's stderr.
fn with_server(style: &str, options: &[&str]) -> (Finished, String) {
    let server = Server::from_program(Program::peer("add_published_server.py", &[style]));
    let ours = client("add", server.addr, &[&AS_ADA[..], options].concat()).run();
    (ours, server.process.finish().stderr)
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_server_answers_each_published_client_in_its_form() {
    // A name that every form could split at the wrong place.
    let server = Server::start("add", &["--name", "A,B:C|D E", "--number", "58"]);
    let mut running = vec![];
    for (style, name) in [
        ("comma", "A_B:C|D E"),
        ("comma-newline", "A_B:C|D E"),
        ("comma-space", "A_B:C|D E"),
        ("colon", "A,B_C|D E"),
        ("semicolon", "A,B:C|D E"),
        ("bar", "A,B:C_D E"),
        ("space", "A,B:C|D_E"),
        ("lines-half-close", "A,B:C|D E"),
        ("lines-silence", "A,B:C|D E"),
        ("name-then-number", "A,B:C|D E"),
        ("name-then-bare-number", "A,B:C|D E"),
        ("comma-apart", "A_B:C|D E"),
        ("separator-later", "A,B_C|D E"),
        ("marked", "A,B:C|D E"),
        ("marked-comma", "A_B:C|D E"),
    ] {
        running.push((style, name, published_client(&server, style).start()));
    }
    let count = running.len();
    for (style, name, process) in running {
        let theirs = process.finish();
        let shown = String::from_utf8_lossy(theirs.success()).into_owned();
        assert_eq!(shown, format!("{name} and 58: 100\n"), "{style}");
    }
    let log = server.process.wait_for_lines(1 + count);
    assert_eq!(log.matches(": Ada and A,B:C|D E: 42 + 58 = 100\n").count(), count, "{log}");

    let server = Server::start("add", &["--name", "Bob", "--number", "58"]);
    assert_eq!(published_client(&server, "tab").run().success(), b"Bob and 58: 100\n");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_client_can_use_the_form_of_each_published_server() {
    for (style, options) in [
        ("comma", &["--separator", ",", "--no-newline"][..]),
        ("comma", &["--separator", ","]),
        ("comma-space", &["--separator", ", ", "--no-newline"]),
        ("colon", &["--separator", ":"]),
        ("semicolon", &["--separator", ";"]),
        ("bar", &["--separator", "|", "--no-newline"]),
        ("space", &["--separator", " "]),
        ("lines-close", &[]),
        ("lines-silence", &[]),
        ("lines-answered-in-one", &[]),
        ("marked", &[]),
        ("two-recvs", &["--split"]),
        ("two-recvs", &["--split", "--no-newline", "--pace", "50ms"]),
    ] {
        let (ours, theirs) = with_server(style, options);
        assert_eq!(ours.success(), b"Ada: 42\nBob: 7\nsum: 49\n", "{style} {options:?}: {ours:?}");
        assert_eq!(ours.stderr, "", "{style}");
        assert!(theirs.ends_with("met Ada with 42\n"), "{style}: {theirs}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn an_unexpected_answer_of_a_published_server_is_quoted_with_a_hint() {
    const QUOTED: &str = r#"; last received: "Error: bad format""#;
    const QUOTED_WITHOUT_NEWLINE: &str =
        r#"; last received: "Error: bad format" without a newline"#;
    const JSON: &str = r#"last received: "{"name": "Bob", "number": 7}""#;
    let quick: &[&str] = &["--timeout", "600ms"];
    let closed_in = |bytes| {
        format!("the server closed the connection in the middle of a message, after {bytes} bytes")
    };
    let closed_after = "the server closed the connection after its name, without an integer";
    for (style, options, starts, ends) in [
        ("error", &[][..], closed_in(17), QUOTED_WITHOUT_NEWLINE),
        ("error-line", &[], closed_after.into(), QUOTED),
        ("error-line-stays", quick, "the server sent no integer after its name in time".into(), QUOTED),
        ("error-stays", quick, "the server sent nothing more in time".into(), QUOTED_WITHOUT_NEWLINE),
        ("json", &[], closed_after.into(), "(this looks like JSON, expected two lines or NAME,NUMBER)"),
        ("json-stays", quick, "the server sent nothing more in time".into(), "or NAME,NUMBER)"),
        (
            "swapped",
            &[],
            closed_after.into(),
            r#"; last received: "7,Bob" (the number seems to come first, expected the name before it)"#,
        ),
        ("glued", &[], closed_in(4), "(expected a newline or one of , : ; | before the number)"),
        (
            "no-number",
            &[],
            "the server broke the protocol: byte 0 of a line is 0x73 ('s'), expected a decimal integer"
                .into(),
            r#"; last received: "seven\n""#,
        ),
        (
            "too-large",
            &[],
            "the server broke the protocol: the integer does not fit in 32 bits".into(),
            r#"; last received: "2147483648\n""#,
        ),
    ] {
        let (ours, _) = with_server(style, options);
        let expected = ours.last_failure(1);
        assert!(expected.starts_with(&starts) && expected.ends_with(ends), "{style}: {expected}");
        assert!(!style.starts_with("json") || expected.contains(JSON), "{expected}");
        assert_eq!(ours.stdout, b"", "{style}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_limits_of_32_bits_are_valid_integers() {
    for (style, number) in [("largest", i32::MAX), ("smallest", i32::MIN)] {
        let (ours, _) = with_server(style, &[]);
        let sum = i64::from(number) + 42;
        // Both are valid integers and are shown, although the protocol allows only 1 to 100.
        assert_eq!(
            ours.last_failure(1),
            format!("the server's number {number} is out of range (1 to 100)")
        );
        assert_eq!(ours.stdout, format!("Ada: 42\nBob: {number}\nsum: {sum}\n").as_bytes());
    }
}

#[test]
fn an_integer_of_any_size_is_reported_as_out_of_range() {
    for (line, shown) in [
        ("Eve,2147483647", "2147483647"),
        ("Eve -2147483648\n", "-2147483648"),
        ("Eve\n2147483648", "a number of more than 32 bits"),
        ("Eve:99999999999999999999\n", "a number of more than 32 bits"),
    ] {
        let server = Server::start("add", &[]);
        let mut stream = server.connect();
        stream.write_all(line.as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), b"");
        let ours = server.process.finish();
        let expected =
            format!(": Eve sent {shown}, which is out of range (1 to 100): shutting down\n");
        assert!(ours.code == Some(0) && ours.stderr.contains(&expected), "{ours:?}");
    }
}

#[test]
fn an_incomplete_message_of_a_client_is_quoted_with_a_hint() {
    let server = Server::start("add", &["--timeout", "1500ms", "--json"]);
    let play = |bytes: &[u8], closes: bool| {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        if closes {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_all(&mut stream), b"");
    };
    for (bytes, closes, expected) in [
        (
            &b"Ada42"[..],
            true,
            "the client closed the connection in the middle of a message, after 5 bytes; last received: \
             \"Ada42\" without a newline (expected a newline or one of , : ; | before the number)",
        ),
        (
            b"{\"name\":\"Ada\",\"number\":42}\n",
            true,
            "the client closed the connection after its name, without an integer; last received: \
             \"{\"name\":\"Ada\",\"number\":42}\" (this looks like JSON, expected two lines or NAME,NUMBER)",
        ),
        (
            b"42\nAda\n",
            false,
            "the client broke the protocol: byte 0 of a line is 0x41 ('A'), expected a decimal integer; last \
             received: \"Ada\\n\" (this looks like the number alone, expected the name before it)",
        ),
        (
            b"Ada,forty\n",
            true,
            "the client closed the connection after its name, without an integer; last received: \
             \"Ada,forty\"",
        ),
        (
            b"Ada 4.x",
            true,
            "the client closed the connection in the middle of a message, after 7 bytes; last received: \
             \"Ada 4.x\" without a newline (expected an integer after the separator)",
        ),
    ] {
        play(bytes, closes);
        server.process.wait_for(expected);
    }
    // Without a newline and without an end: the notice appears after one second, long before the
    // timeout.
    play(b"Ada42", false);
    server.process.wait_for("in time in the middle of a message, after 5 bytes");
    let log = server.process.stderr();
    let notice =
        log.find("sent \"Ada42\" without a newline; waiting for the rest").expect("a notice");
    assert!(notice < log.rfind("in time in the middle").unwrap(), "{log}");
    server.process.wait_for_stdout("\"unfinished\"");
    let event = server.process.wait_for_stdout("looks like JSON");
    let event: Value = serde_json::from_str(&event).expect("JSON");
    assert!(event["error"].as_str().unwrap().contains("looks like JSON"), "{event}");
}

#[test]
fn a_name_that_parses_as_name_and_number_is_refused_before_it_is_sent() {
    let ours = Program::socklab(&["add", "client", "--name", "Agent 7", "--number", "1"]).run();
    assert!(ours.failure(2).contains("would be read as name and number in one line"), "{ours:?}");
    let ours = Program::socklab(&["add", "server", "0", "--name", "Agent 7"]).run();
    assert!(ours.failure(2).contains("would be read as name and number in one line"), "{ours:?}");
    let server = Server::start("add", &["--name", "Bob", "--number", "7"]);
    let ours =
        server.client("add", &["--name", "Agent 7", "--number", "1", "--separator", ","]).run();
    assert_eq!(ours.success(), b"Agent 7: 1\nBob: 7\nsum: 8\n");
    for separator in ["x", "", ",,", ", ,"] {
        let ours = server.client("add", &["--separator", separator]).run();
        assert!(ours.failure(2).contains("expected one of , : ; |"), "{ours:?}");
    }
}
