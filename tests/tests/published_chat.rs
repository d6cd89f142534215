//! Chat with programs of other authors: other closing words, no newline, port scanners.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;
use socklab_tests::program::{
    FakeServer, Program, Server, client, is_judged, read, read_all, reset,
};

/// Starts a server. The test types for its user.
fn server_with_user(args: &[&str]) -> Server {
    Server::from_program(Program::socklab(&[&["chat", "server", "0"], args].concat()).with_stdin())
}

#[test]
fn a_connection_that_closes_without_sending_anything_does_not_count() {
    for (name, closes) in [("close", drop::<TcpStream> as fn(TcpStream)), ("reset", reset)] {
        if !is_judged(name) {
            continue;
        }
        for first_line in ["", "hello\n"] {
            let mut server = server_with_user(&["--json"]);
            server.process.stdin().write_all(first_line.as_bytes()).unwrap();
            for _ in 0..3 {
                let stream = server.connect();
                let peer = stream.local_addr().unwrap();
                closes(stream);
                server.process.wait_for(&format!("{peer}: the other side "));
            }
            // A line that the scanners may have received is sent again to the first real client.
            let mut stream = server.connect();
            if first_line.is_empty() {
                server.process.stdin().write_all(b"hello\n").unwrap();
            }
            assert_eq!(read(&mut stream), *b"hello\n");
            stream.write_all(b"hi\n").unwrap();
            server.process.stdin().write_all(b"bye\n").unwrap();
            assert_eq!(read_all(&mut stream), b"bye\n");
            drop(stream);
            let finished = server.process.finish();
            let events = String::from_utf8_lossy(finished.success()).into_owned();
            let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            assert_eq!(
                events.filter(|event| event["event"] == "failed").count(),
                3,
                "{finished:?}"
            );
        }
    }
}

#[test]
fn a_client_that_leaves_after_sending_something_ends_the_server() {
    for (first_line, quote) in [("hi\n", ""), ("h", "; last received: \"h\" without a newline")] {
        let mut server = server_with_user(&[]);
        let mut stream = server.connect();
        server.process.stdin().write_all(b"hello\n").unwrap();
        assert_eq!(read(&mut stream), *b"hello\n");
        stream.write_all(first_line.as_bytes()).unwrap();
        drop(stream);
        let finished = server.process.finish_with_stdin_open();
        let line = finished.last_failure(1);
        assert!(line.starts_with("the other side closed the connection "), "{line}");
        assert!(line.contains(quote), "{line}");
    }
}

#[test]
fn a_last_line_of_one_word_is_suggested_as_a_closing_word() {
    let mut server = server_with_user(&[]);
    let mut stream = server.connect();
    server.process.stdin().write_all(b"hello\n").unwrap();
    assert_eq!(read(&mut stream), *b"hello\n");
    stream.write_all(b"quit\n").unwrap();
    drop(stream);
    let finished = server.process.finish_with_stdin_open();
    assert_eq!(
        finished.last_failure(1),
        "the other side closed the connection before the end of the conversation; its last line was \
         \"quit\": use --bye quit to make it the closing word"
    );
    let fake = FakeServer::new();
    let client = client("chat", fake.addr, &[]).with_stdin().start();
    let mut stream = fake.accept();
    stream.write_all(b"exit\n").unwrap();
    drop(stream);
    let finished = client.finish_with_stdin_open();
    assert!(finished.last_failure(1).ends_with("use --bye exit to make it the closing word"));
}

#[test]
fn other_words_end_a_conversation() {
    // A client that ends with quit. BYE is an ordinary word then.
    let mut server = server_with_user(&["--bye", "quit", "--bye", "/exit"]);
    let mut stream = server.connect();
    server.process.stdin().write_all(b"bye is not a end\n").unwrap();
    assert_eq!(read(&mut stream), *b"bye is not a end\n");
    stream.write_all(b"I QUIT!\n").unwrap();
    assert_eq!(read_all(&mut stream), b"");
    drop(stream);
    assert_eq!(server.process.finish_with_stdin_open().success(), b"I QUIT!\n");

    let fake = FakeServer::new();
    let mut client =
        client("chat", fake.addr, &["--bye", "quit", "--bye", "/exit"]).with_stdin().start();
    let mut stream = fake.accept();
    stream.write_all(b"bye\n").unwrap();
    client.stdin().write_all(b"/Exit\n").unwrap();
    assert_eq!(read_all(&mut stream), b"/Exit\n");
    drop(stream);
    assert_eq!(client.finish_with_stdin_open().success(), b"bye\n");
}

#[test]
fn the_end_of_input_sends_the_first_closing_word() {
    let fake = FakeServer::new();
    let client = client("chat", fake.addr, &["--bye", "quit", "--bye", "exit"]).start();
    let mut stream = fake.accept();
    stream.write_all(b"hello\n").unwrap();
    assert_eq!(read_all(&mut stream), b"quit\n");
    drop(stream);
    client.finish().success();
    // The built-in bot uses the same words.
    let finished = Program::socklab(&["chat", "client", "--bye", "quit"]).run_with("bye\nquit\n");
    let output = String::from_utf8_lossy(finished.success()).into_owned();
    assert_eq!(output.lines().count(), 2, "{output}");
}

#[test]
fn a_closing_word_must_be_one_word() {
    for word in ["", " ", "a\nb", "two words", "a\tb"] {
        let finished = Program::socklab(&["chat", "client", "--bye", word]).run();
        assert!(finished.failure(2).contains("--bye: expected a word"), "{finished:?}");
    }
}

#[test]
fn a_line_without_newline_is_reported_after_one_second() {
    let fake = FakeServer::new();
    let client = client("chat", fake.addr, &["--json"]).with_stdin().start();
    let mut stream = fake.accept();
    stream.write_all(b"How are").unwrap();
    let notice = format!("{} sent \"How are\" without a newline; waiting for the rest", fake.addr);
    assert_eq!(client.wait_for("without a newline"), notice);
    client.wait_for_stdout("{\"event\":\"unfinished\"");
    stream.write_all(b" you?\n").unwrap();
    client.wait_for_stdout("\"text\":\"How are you?\"");
    drop(stream);
    client.finish_with_stdin_open().last_failure(1);

    let mut server = server_with_user(&[]);
    let mut stream = server.connect();
    server.process.stdin().write_all(b"hello\n").unwrap();
    assert_eq!(read(&mut stream), *b"hello\n");
    stream.write_all(b"no newline here").unwrap();
    let peer = stream.local_addr().unwrap();
    let line = server.process.wait_for("without a newline");
    assert_eq!(
        line,
        format!("{peer} sent \"no newline here\" without a newline; waiting for the rest")
    );
    drop(stream);
    let finished = server.process.finish_with_stdin_open();
    assert!(
        finished
            .last_failure(1)
            .ends_with("; last received: \"no newline here\" without a newline"),
        "{finished:?}"
    );
}
