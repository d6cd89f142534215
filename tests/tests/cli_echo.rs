//! `socklab echo` as a user meets it. The test plays the peer, so each case is exact.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use socklab_tests::program::{
    FakeServer, NOTICES_RESETS, Process, Program, Server, client, message, read, read_all, reset,
    without_quote,
};

/// Starts our echo client and returns it with its connection.
fn echo_client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client("echo", fake.addr, args).with_stdin().start();
    let stream = fake.accept();
    (process, stream)
}

#[test]
fn each_line_of_stdin_is_a_message_and_each_reply_a_line() {
    for (stdin, stdout) in [
        (&b""[..], &b""[..]),
        (b"\n", b"\n"),
        (b"0123456789", b"\n"),
        (b"0123456789abc", b"abc\n"),
        (b"0123456789abc\n", b"abc\n"),
        (b"0123456789abc\r\n0123456789\r\n", b"abc\n\n"),
        (b"0123456789a\r", b"a\r\n"),
        (b"\n\n0123456789\t\x1b[m\n", b"\n\n\t\x1b[m\n"),
        // Ten characters, not bytes. The bytes after them need not be UTF-8.
        ("日本語日本語日本語日rest\n".as_bytes(), b"rest\n"),
        (b"0123456789\xff\xc3\n", b"\xff\xc3\n"),
    ] {
        let finished = Program::socklab(&["echo", "client"]).run_with(stdin);
        assert_eq!(finished.success(), stdout, "{}", stdin.escape_ascii());
        assert!(finished.stderr.starts_with("no address given: a built-in echo server"));
        assert_eq!(finished.stderr.matches('\n').count(), 1, "{finished:?}");
    }
}

#[test]
fn invalid_utf_8_in_the_first_ten_characters_is_refused_by_the_server() {
    let server = Server::start("echo", &[]);
    for (stdin, text) in [
        (&b"abc\xffdefghijkl\n"[..], "byte 3 of a payload is 0xff, expected UTF-8"),
        (b"012345678\xc3\n", "a payload of 10 bytes ends in the middle of a character"),
    ] {
        let finished = server.client("echo", &[]).run_with(stdin);
        let line = finished.failure(1);
        assert!(line.starts_with("the server closed the connection"), "{line}");
        let reason = ", with 1 reply missing; the first ten characters of message 1 are not UTF-8, so the \
                      server has to refuse it";
        assert!(line.ends_with(reason), "{line}");
        server.process.wait_for(text);
    }
}

#[test]
fn every_ending_is_reported() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Close,
        Reset,
        Silence,
    }
    use End::{Close, Reset, Silence};
    let half = "the connection in the middle of a message, after";
    for (reply, bytes, end, text) in [
        (&message(b"abcdef"), 0, Close, "closed the connection between messages".into()),
        (&message(b"abcdef"), 0, Reset, "reset the connection between messages".into()),
        (&message(b"abcdef"), 0, Silence, "sent nothing more in time".into()),
        (&message(b"abcdef"), 3, Close, format!("closed {half} 3 of 4 bytes")),
        (&message(b"abcdef"), 3, Reset, format!("reset {half} 3 of 4 bytes")),
        (&message(b"abcdef"), 9, Close, format!("closed {half} 9 of 10 bytes")),
        (&message(b"abcdef"), 9, Reset, format!("reset {half} 9 of 10 bytes")),
        (
            &message(b"abcdef"),
            9,
            Silence,
            "sent nothing more in time in the middle of a message, after 9 of 10 bytes".into(),
        ),
    ] {
        if matches!(end, Reset) && !NOTICES_RESETS {
            continue;
        }
        let args = ["--timeout", "300ms", "--trace"];
        let (mut process, mut stream) = echo_client(&args);
        process.stdin().write_all(b"0123456789abcdef\n").unwrap();
        assert_eq!(read(&mut stream), *b"\0\0\0\x100123456789abcdef");
        stream.write_all(&reply[..bytes]).unwrap();
        if bytes > 0 {
            process.wait_for(" <- ");
        }
        match end {
            Close => drop(stream),
            Reset => reset(stream),
            Silence => assert_eq!(read_all(&mut stream), b""),
        }
        let finished = process.finish_with_stdin_open();
        let line = finished.last_failure(1);
        let waited = if matches!(end, Silence) { " (300ms; --timeout changes that)" } else { "" };
        assert_eq!(without_quote(line), format!("the server {text}, with 1 reply missing{waited}"));
    }
}

#[test]
fn the_timeout_does_not_apply_while_the_user_types() {
    let (mut process, mut stream) = echo_client(&["--timeout", "200ms"]);
    // A fixed pause, because the test checks that nothing happens.
    thread::sleep(Duration::from_millis(700));
    process.stdin().write_all(b"0123456789 late\n").unwrap();
    read::<19>(&mut stream);
    stream.write_all(&message(b" late")).unwrap();
    process.wait_for_stdout(" late");
    thread::sleep(Duration::from_millis(700));
    assert_eq!(process.finish().success(), b" late\n");
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
fn messages_of_all_sizes_pass_with_every_read_size() {
    let server = Server::start("echo", &[]);
    for buffer in ["1", "4096", "65536"] {
        let (mut stdin, mut stdout) = (Vec::new(), Vec::new());
        for length in [0, 1, 9, 10, 11, 40, 4091, 4092, 4093, 65_531, 65_532, 200_000] {
            // Under Wine a read takes some 100 us, and here each byte is one.
            if cfg!(feature = "windows") && buffer == "1" && length > 5000 {
                continue;
            }
            let line: Vec<u8> = (0..length).map(|n| b'a' + (n % 26) as u8).collect();
            stdout.extend_from_slice(line.get(10..).unwrap_or_default());
            stdin.extend_from_slice(&line);
            stdin.push(b'\n');
            stdout.push(b'\n');
        }
        let finished = server.client("echo", &["--buffer", buffer]).run_with(stdin);
        assert!(finished.success() == stdout, "buffer {buffer}");
    }
}

#[test]
fn the_server_reports_every_ending_in_one_line_and_loses_no_reply_before_it() {
    let server = Server::start("echo", &["--timeout", "1s"]);
    let good = message(b"0123456789good");
    let huge = [&u32::MAX.to_be_bytes()[..], b"0123456789ab"].concat();
    let mut count = 1;
    for (bytes, end, replies, text) in [
        (&b""[..], "close", &b""[..], "0 messages with 0 bytes echoed, closed"),
        (&good, "close", &message(b"good"), "1 message with 14 bytes echoed, closed"),
        (b"\0\0\0\0", "close", b"\0\0\0\0", "1 message with 0 bytes echoed, closed"),
        (&message(b"nine char"), "close", b"\0\0\0\0", "1 message with 9 bytes echoed, closed"),
        (b"\0\0\0", "close", b"", "in the middle of a message, after 3 of 4 bytes"),
        (&good[..9], "close", b"", "in the middle of a message, after 9 of 18 bytes"),
        (&huge, "close", b"\xff\xff\xff\xf5ab", "after 16 of 4294967299 bytes"),
        (&huge, "silence", b"\xff\xff\xff\xf5ab", "after 16 of 4294967299 bytes"),
        (&huge[..7], "silence", b"", "in the middle of a message, after 7 of 4294967299 bytes"),
        (&good, "silence", &message(b"good"), "the client sent nothing more in time"),
        (&message(b"ab\xc3\x28cdefghijk"), "server", b"", "byte 2 of a payload is 0xc3"),
        (&message(b"\xed\xa0\x80 a surrogate"), "server", b"", "byte 0 of a payload is 0xed"),
        (&message(b"abc\xf0\x9f\xa6"), "server", b"", "a payload of 6 bytes ends in the middle"),
    ] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        if end == "close" {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let got = read_all(&mut stream);
        assert_eq!(got.escape_ascii().to_string(), replies.escape_ascii().to_string(), "{text}");
        count += 1;
        let peer = stream.local_addr().unwrap();
        let line = server.process.wait_for(&format!("{peer}: "));
        assert!(line.contains(text), "{text}: {line}");
    }
    // The reply to a valid message is sent before an error in the same write.
    let mut stream = server.connect();
    stream.write_all(&[&good, &message(b"\xff")[..]].concat()).unwrap();
    assert_eq!(read_all(&mut stream), message(b"good"));
    // The reply shows that the message was read before the reset.
    let mut stream = server.connect();
    stream.write_all(&[&good[..], b"\0\0"].concat()).unwrap();
    assert_eq!(read(&mut stream), *b"\0\0\0\x04good");
    if NOTICES_RESETS {
        reset(stream);
        server.process.wait_for("the client reset the connection");
    } else {
        let peer = stream.local_addr().unwrap();
        drop(stream);
        server
            .process
            .wait_for(&format!("{peer}: 1 message with 14 bytes echoed, the client closed"));
    }
    let log = server.process.wait_for_lines(count + 2);
    let endings = log.lines().filter(|line| !line.ends_with("waiting for the rest"));
    assert_eq!(endings.count(), count + 2, "{log}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a folder as stdin")]
fn stdin_that_cannot_be_read_is_reported() {
    let server = Server::start("echo", &[]);
    let folder = std::fs::File::open("/").unwrap();
    let finished = server.client("echo", &[]).stdin(folder).run();
    let line = finished.failure(3);
    assert!(line.starts_with("cannot read standard input: "), "{line}");
}

#[test]
fn stdin_may_be_a_file() {
    let server = Server::start("echo", &[]);
    let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let expected: String = text
        .unwrap()
        .lines()
        .map(|l| l.chars().skip(10).chain(['\n']).collect::<String>())
        .collect();
    let finished = server.client("echo", &[]).stdin(file).run();
    assert_eq!(String::from_utf8_lossy(finished.success()), expected);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: descriptors closed by a shell")]
fn stdin_may_not_be_closed() {
    let server = Server::start("echo", &[]);
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    let args = ["echo", "client", &host, &port];
    let finished = Program::in_shell(r#"exec "$@" <&-"#, &args).run();
    assert_eq!(finished.failure(3), "cannot read standard input: it is closed");
}
