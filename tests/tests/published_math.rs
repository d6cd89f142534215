//! Math with programs that are nearly right: their mistakes are reported.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use socklab_tests::program::{FakeServer, Program, Server, client, read, read_all};

/// Starts a math server with known questions.
fn server(rounds: &str) -> Server {
    Server::start("math", &["--rounds", rounds, "--seed", "1", "--timeout", "2s", "--json"])
}

fn sum_of(question: [u8; 9]) -> u32 {
    let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
    a.wrapping_add(b)
}

/// Connects and returns the connection and the right answer to the first question.
fn asked(server: &Server) -> (TcpStream, u32) {
    let mut stream = server.connect();
    let sum = sum_of(read(&mut stream));
    (stream, sum)
}

#[test]
fn an_answer_in_little_endian_order_is_reported() {
    let server = server("3");
    let (mut stream, sum) = asked(&server);
    stream.write_all(&sum.to_le_bytes()).unwrap();
    assert_eq!(read_all(&mut stream), b"");
    let line = server.process.wait_for("0/1 correct, wrong answer");
    let text = "; it is right in little-endian order: send it big-endian";
    assert!(line.ends_with(text), "{line}");
    let event = server.process.wait_for_stdout(r#""outcome":"wrong""#);
    assert!(event.contains(r#""mistake":"little-endian""#), "{event}");
}

#[test]
fn an_answer_in_decimal_text_is_reported() {
    for text in ["", "\n", "\r\n", "\0"] {
        let server = server("3");
        let (mut stream, sum) = asked(&server);
        stream.write_all(format!("{sum}{text}").as_bytes()).unwrap();
        let line = server.process.wait_for("0/1 correct, wrong answer");
        let text = "; it is decimal text: send 4 bytes, big-endian";
        assert!(line.ends_with(text), "{line}");
        let event = server.process.wait_for_stdout(r#""outcome":"wrong""#);
        assert!(event.contains(r#""mistake":"decimal""#), "{event}");
    }
}

#[test]
fn a_decimal_answer_of_less_than_four_bytes_is_reported_when_the_session_ends() {
    for (text, close) in [("42", true), ("42\n", true), ("7", false)] {
        let server = server("3");
        let (mut stream, _) = asked(&server);
        stream.write_all(text.as_bytes()).unwrap();
        if close {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let line = server.process.wait_for("0/1 correct, the client ");
        let quote = text.replace('\n', "\\n");
        let expected =
            format!("; last received: \"{quote}\"; it is decimal text: send 4 bytes, big-endian");
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[test]
fn a_wrong_answer_without_a_likely_mistake_gets_no_hint() {
    let server = server("3");
    let (mut stream, sum) = asked(&server);
    stream.write_all(&(sum + 1).to_be_bytes()).unwrap();
    let line = server.process.wait_for("0/1 correct, wrong answer");
    assert!(line.ends_with(&format!("wrong answer {}, expected {sum}", sum + 1)), "{line}");
}

#[test]
fn simultaneous_wrong_answers_get_their_own_hints() {
    let server = server("3");
    let (mut one, sum) = asked(&server);
    let (mut two, _) = asked(&server);
    one.write_all(&(sum + 1).to_be_bytes()).unwrap();
    two.write_all(&(sum + 2).to_be_bytes()).unwrap();
    server.process.wait_for(&format!("wrong answer {}, expected {sum}", sum + 1));
    server.process.wait_for(&format!("wrong answer {}, expected {sum}", sum + 2));
}

#[test]
fn bytes_after_the_secret_are_counted_in_a_warning() {
    for (behind, text) in [
        (&b"\n"[..], r#"1 byte after the secret, which has 8: "\n""#),
        (b"ame", r#"3 bytes after the secret, which has 8: "ame""#),
    ] {
        for (json, pieces) in [(false, 1), (true, 1), (false, 2)] {
            let fake = FakeServer::new();
            let args = if json { &["--json"][..] } else { &[] };
            let process = client("math", fake.addr, args).start();
            let mut stream = fake.accept();
            if pieces == 1 {
                stream.write_all(&[b"Sopensesm", behind].concat()).unwrap();
            } else {
                stream.write_all(b"Sopensesm").unwrap();
                process.wait_for_stdout("opensesm");
                stream.write_all(behind).unwrap();
            }
            drop(stream);
            let finished = process.finish();
            let stdout = String::from_utf8_lossy(finished.success());
            assert_eq!(finished.stderr, format!("socklab: {text}\n"));
            if json {
                let event = format!(r#""event":"surplus","bytes":{}"#, behind.len());
                assert!(stdout.contains(&event), "{stdout}");
            } else {
                assert_eq!(stdout, "opensesm\n");
            }
        }
    }
}

#[test]
fn the_client_does_not_wait_for_a_server_that_forgets_to_close() {
    let fake = FakeServer::new();
    let process = client("math", fake.addr, &["--timeout", "none"]).start();
    let mut stream = fake.accept();
    stream.write_all(b"Sopensesm").unwrap();
    let finished = process.finish();
    assert_eq!(finished.success(), b"opensesm\n");
    assert_eq!(finished.stderr, "");
}

#[test]
fn questions_in_little_endian_order_are_reported_when_the_answer_is_rejected() {
    for (a, b, is_little) in [(12_u32, 30_u32, true), (1 << 20, 1 << 21, false)] {
        let fake = FakeServer::new();
        let process = client("math", fake.addr, &[]).start();
        let mut stream = fake.accept();
        stream.write_all(&[&b"Q"[..], &a.to_le_bytes(), &b.to_le_bytes()].concat()).unwrap();
        read::<4>(&mut stream);
        drop(stream);
        let little = "; in little-endian order its numbers would be 12 and 30";
        let text = format!(
            "answer 1 rejected: the server closed the connection right after it{}",
            if is_little { little } else { "" }
        );
        assert_eq!(process.finish().failure(1), text);
    }
}

#[test]
fn a_half_open_range_of_rounds_is_refused() {
    for (rounds, text) in [
        ("5..6", "a range includes both ends: write 5-6"),
        ("5..=6", "a range includes both ends: write 5-6"),
        ("5..", "expected a number from 0 to 65535, or a range such as 5-20"),
        ("..6", "expected a number from 0 to 65535, or a range such as 5-20"),
        ("-6", "expected a number from 0 to 65535, or a range such as 5-20"),
        ("6-5", "the range is empty: 6 is more than 5"),
    ] {
        let finished = Program::socklab(&["math", "server", "0", "--rounds", rounds]).run();
        let line = finished.failure(2);
        assert!(line.contains(text), "{rounds}: {line}");
    }
    let server = Server::start("math", &["--rounds", "5-6"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let mut stream = server.connect();
        let mut rounds = 0;
        loop {
            let message: [u8; 9] = read(&mut stream);
            if message[0] == b'S' {
                break;
            }
            rounds += 1;
            stream.write_all(&sum_of(message).to_be_bytes()).unwrap();
        }
        seen.insert(rounds);
    }
    assert_eq!(Vec::from_iter(seen), [5, 6]);
}

// ---------------------------------------------------------------- programs in Python

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn wrong_encodings_of_students_clients_are_reported() {
    let server = server("3");
    let port = server.addr.port().to_string();
    for (fault, text) in [
        ("little-endian", "it is right in little-endian order: send it big-endian"),
        ("decimal", "it is decimal text: send 4 bytes, big-endian"),
        ("decimal-line", "it is decimal text: send 4 bytes, big-endian"),
    ] {
        let finished =
            Program::peer("math_client.py", &["127.0.0.1", &port, "--fault", fault]).run();
        assert_eq!((finished.code, &*finished.stdout), (Some(1), &b""[..]), "{finished:?}");
        server.process.wait_for(text);
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn bytes_after_the_secret_of_a_students_server_are_reported() {
    for (fault, stderr) in [
        ("newline", "socklab: 1 byte after the secret, which has 8: \"\\n\"\n"),
        ("extra-bytes", "socklab: 16 bytes after the secret, which has 8: \"Q and more of it\"\n"),
        ("stays", ""),
    ] {
        let server = Server::from_program(Program::peer("math_server.py", &["--fault", fault]));
        let finished = client("math", server.addr, &[]).run();
        assert_eq!(finished.success(), b"opensesm\n", "{fault}");
        assert_eq!(finished.stderr, stderr, "{fault}");
    }
    let server =
        Server::from_program(Program::peer("math_server.py", &["--fault", "little-endian"]));
    let finished = client("math", server.addr, &[]).run();
    let line = finished.failure(1);
    assert!(line.contains("; in little-endian order its numbers would be "), "{line}");
}

#[test]
fn questions_in_decimal_text_are_reported() {
    const HINT: &str =
        "; this is decimal text: expected 'Q' and two big-endian integers of 4 bytes each";
    let question = [&b"Q"[..], &7_u32.to_be_bytes(), &8_u32.to_be_bytes()].concat();
    for (sent, is_text) in [
        (&b"Q 224284675 225742819\n"[..], true),
        (b"Q 5 7\n", true),
        (b"224284675", true),
        (b"Q\0\0\0", false),
        (b"Q 5 seven", false),
        (&[&question[..], b"7"].concat(), false),
        (b"", false),
    ] {
        let fake = FakeServer::new();
        let process = client("math", fake.addr, &[]).start();
        let mut stream = fake.accept();
        stream.write_all(sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let finished = process.finish();
        assert_eq!(finished.failure(1).ends_with(HINT), is_text, "{sent:?}: {finished:?}");
    }
}
