//! Echo with programs that are nearly right: their mistakes are reported. Also lines of any length
//! from the user, in constant memory.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use socklab_tests::program::{
    FakeServer, Process, Program, Server, client, message, read, read_all,
};

fn short_message(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a test's payload is short");
    [&length.to_be_bytes()[..], payload].concat()
}

/// Starts our client with these arguments and returns it with its connection.
fn echo_client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client("echo", fake.addr, args).with_stdin().start();
    let stream = fake.accept();
    (process, stream)
}

/// Runs a client against a server that reads `sent` bytes, sends `reply` and closes. Returns the
/// client's error.
fn failure(args: &[&str], sent: usize, reply: &[u8]) -> String {
    let (process, mut stream) = echo_client(args);
    let mut bytes = vec![0; sent];
    stream.read_exact(&mut bytes).unwrap();
    stream.write_all(reply).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    process.finish().failure(1).to_owned()
}

// ---------------------------------------------------------------- wrong replies

#[test]
fn a_wrong_reply_is_reported_with_its_place_and_the_likely_mistake() {
    let text = "0123456789äbcdef";
    for (reply, expected) in [
        (
            text.as_bytes(),
            "reply 1 is wrong at byte 0: got \"0123456789äbcdef\", expected \"äbcdef\" (17 bytes, \
             expected 7); probably nothing was removed",
        ),
        (
            &text.as_bytes()[12..],
            "reply 1 is wrong at byte 0: got \"bcdef\", expected \"äbcdef\" (5 bytes, expected 7); \
             probably 11 characters were removed, not ten",
        ),
        (
            "ÄBCDEF".as_bytes(),
            "reply 1 is wrong at byte 1: got \"\\x84BCDEF\", expected \"\\xa4bcdef\"; probably it \
             was changed to upper case",
        ),
        (
            b"",
            "reply 1 is wrong at byte 0: got end of reply, expected \"äbcdef\" (0 bytes, expected 7); \
             probably an empty reply was sent for an error",
        ),
        ("äbcdeg".as_bytes(), "reply 1 is wrong at byte 6: got \"g\", expected \"f\""),
    ] {
        assert_eq!(failure(&[text], 21, &message(reply)), expected);
    }
}

#[test]
fn the_verification_does_not_depend_on_how_a_reply_is_cut() {
    let (process, mut stream) = echo_client(&["0123456789abcdef"]);
    read::<20>(&mut stream);
    for byte in message(b"bcdef") {
        stream.write_all(&[byte]).unwrap();
        thread::yield_now();
    }
    let line = process.finish();
    assert_eq!(
        line.failure(1),
        "reply 1 is wrong at byte 0: got \"bcdef\", expected \"abcdef\" (5 bytes, expected 6); \
         probably 11 characters were removed, not ten"
    );
    assert_eq!(line.stdout, b"bcdef\n", "the bytes received are shown");
}

#[test]
fn the_number_of_the_wrong_reply_is_reported_and_correct_ones_before_it_are_shown() {
    let (process, mut stream) = echo_client(&["0123456789one", "short", "0123456789three"]);
    read::<45>(&mut stream);
    stream.write_all(&[message(b"one"), message(b""), message(b"3")].concat()).unwrap();
    let finished = process.finish();
    let line = finished.failure(1);
    assert!(
        line.starts_with("reply 3 is wrong at byte 0: got \"3\", expected \"three\""),
        "{line}"
    );
    assert_eq!(finished.stdout, b"one\n\n3\n");
}

#[test]
fn bytes_after_the_last_reply_are_a_failure() {
    for (behind, expected) in [
        (&b"\n"[..], "the server sent a byte after the last reply: \"\\n\""),
        (b"and more", "the server sent 8 bytes after the last reply: \"and more\""),
        (&[0, 0, 0, 0], "the server sent 4 bytes after the last reply: \"\\x00\\x00\\x00\\x00\""),
    ] {
        let reply = [&message(b"abc"), behind].concat();
        assert_eq!(failure(&["0123456789abc"], 17, &reply), expected);
        // Also if they arrive later.
        let (process, mut stream) = echo_client(&["0123456789abc"]);
        read::<17>(&mut stream);
        stream.write_all(&message(b"abc")).unwrap();
        assert_eq!(read_all(&mut stream), b"", "the client has all its replies");
        stream.write_all(behind).unwrap();
        drop(stream);
        let finished = process.finish();
        assert_eq!(finished.failure(1), expected);
        assert_eq!(finished.stdout, b"abc\n");
    }
}

#[test]
fn no_verify_accepts_anything() {
    let (process, mut stream) = echo_client(&["--no-verify", "0123456789abcdef"]);
    read::<20>(&mut stream);
    stream.write_all(&[&message(b"ABCDEF")[..], b"and more"].concat()).unwrap();
    let finished = process.finish();
    assert_eq!((finished.success(), finished.stderr.as_str()), (&b"ABCDEF\n"[..], ""));
}

#[test]
fn a_reply_to_a_message_that_is_not_utf_8_is_a_failure() {
    let (mut process, mut stream) = echo_client(&[]);
    process.stdin().write_all(b"abc\xffdefghijkl\n").unwrap();
    read::<17>(&mut stream);
    stream.write_all(&message(b"kl")).unwrap();
    let finished = process.finish_with_stdin_open();
    assert_eq!(
        finished.failure(1),
        "reply 1 answers a message whose first ten characters are not UTF-8, which a server must \
         refuse"
    );
}

#[test]
fn a_wrong_reply_is_an_event() {
    let (process, mut stream) = echo_client(&["--json", "0123456789abcdef"]);
    read::<20>(&mut stream);
    stream.write_all(&message(b"bcdef")).unwrap();
    let finished = process.finish();
    assert_eq!(finished.code, Some(1));
    let stdout = String::from_utf8_lossy(&finished.stdout);
    let event = stdout.lines().find(|line| line.contains(r#""event":"wrong""#)).unwrap();
    let expected = r#"{"event":"wrong","reply":1,"at":0,"exact":true,"bytes":5,"expected_bytes":6,"got":{"text":"bcdef"},"expected":{"text":"abcdef"},"mistake":"11 characters were removed, not ten"}"#;
    assert_eq!(event, expected);
}

// ---------------------------------------------------------------- lengths in another encoding

#[test]
#[cfg_attr(feature = "windows", ignore = "Windows: a command line has at most 32,767 characters")]
fn two_byte_lengths_work_on_both_ends() {
    let server = Server::start("echo", &["--header", "2"]);
    let long = ["0123456789", &"x".repeat(65_525)].concat();
    let args = ["--header", "2", "0123456789abc", "", "naïve café, or naive?", &long];
    let finished = server.client("echo", &args).run();
    let expected = format!("abc\n\n, or naive?\n{}\n", &long[10..]);
    assert!(finished.success() == expected.as_bytes(), "{finished:?}");
    // Also with the built-in server.
    let finished =
        Program::socklab(&["echo", "client", "--header", "2"]).run_with("0123456789abc\n");
    assert_eq!(finished.success(), b"abc\n");
    // The bytes as sent.
    let mut stream = server.connect();
    stream.write_all(&short_message(b"0123456789abc")).unwrap();
    assert_eq!(read(&mut stream), *b"\0\x03abc");
    let (process, mut stream) = echo_client(&["--header", "2", "0123456789abc"]);
    assert_eq!(read(&mut stream), *b"\0\x0d0123456789abc");
    stream.write_all(&short_message(b"abc")).unwrap();
    drop(stream);
    assert_eq!(process.finish().success(), b"abc\n");
    // Also in traces.
    let args = ["echo", "client", "--header", "2", "--trace"];
    let finished = Program::socklab(&args).run_with("0123456789abc\n");
    finished.success();
    assert!(finished.stderr.contains("message of 13 \"0123456789abc\""), "{finished:?}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Windows: a command line has at most 32,767 characters")]
fn a_message_that_is_too_long_for_2_bytes_is_a_usage_error_before_it_is_sent() {
    let fake = FakeServer::new();
    let long = "x".repeat(65_536);
    let args = ["--header", "2", "0123456789abc", &long];
    let finished = client("echo", fake.addr, &args).run();
    assert_eq!(
        finished.failure(2),
        "message 2 has 65536 bytes, more than the maximum of 65535 bytes for a 2-byte length"
    );
    // Lines of stdin before the long one are sent, and their replies are shown.
    let server = Server::start("echo", &["--header", "2"]);
    let lines = format!("0123456789one\n0123456789two\n{long}\nnever sent\n");
    let finished = server.client("echo", &["--header", "2"]).run_with(lines);
    assert_eq!(
        finished.failure(2),
        "line 3 of standard input has more than the maximum of 65535 bytes for a 2-byte length"
    );
    assert_eq!(finished.stdout, b"one\ntwo\n");
    server.process.wait_for("2 messages with 26 bytes echoed, closed");
    for value in ["3", "0", "two", "-2"] {
        let finished = Program::socklab(&["echo", "server", "0", "--header", value]).run();
        assert_eq!(finished.code, Some(2), "{finished:?}");
    }
}

#[test]
fn the_client_reports_a_length_in_another_encoding_and_what_to_try() {
    let line = failure(&["0123456789hello"], 19, &short_message(b"hello"));
    assert_eq!(
        line,
        "the server broke the protocol: a reply of 354405 bytes, expected at most 15, the length of \
         all messages in flight; length 0x00056865: its first 2 bytes would be a 2-byte length of 5: try --header 2; \
         last received: \"\\x00\\x05hello\""
    );
    let line = failure(&["0123456789hello"], 19, b"\x05\0\0\0hello");
    assert!(line.contains("; length 0x05000000: in little-endian order it would be 5;"), "{line}");
    let line = failure(&["--header", "2", "0123456789hello"], 17, b"\x05\0hello");
    assert!(line.contains("; length 0x0500: in little-endian order it would be 5;"), "{line}");
}

#[test]
fn the_server_reports_a_length_in_another_encoding_and_what_to_try() {
    let server = Server::start("echo", &["--timeout", "1s", "--json"]);
    for (bytes, close, text) in [
        (
            short_message(b"hello"),
            true,
            "0x00056865: its first 2 bytes would be a 2-byte length of 5: try --header 2",
        ),
        (
            short_message(b"hullo"),
            false,
            "0x00056875: its first 2 bytes would be a 2-byte length of 5: try --header 2",
        ),
        (
            short_message(&[b'y'; 100]),
            true,
            "0x00647979: its first 2 bytes would be a 2-byte length of 100: try --header 2",
        ),
        (b"\x06\0\0\0hello!".to_vec(), true, "0x06000000: in little-endian order it would be 6"),
        (
            b"\x07\0hello!!".to_vec(),
            true,
            "0x07006865: its first 2 bytes would be a little-endian 2-byte length of 7",
        ),
    ] {
        let mut stream = server.connect();
        stream.write_all(&bytes).unwrap();
        if close {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        read_all(&mut stream);
        server.process.wait_for(text);
        server.process.wait_for_stdout(text);
    }
}

// ---------------------------------------------------------------- messages in flight

#[test]
fn no_more_messages_are_in_flight_than_requested() {
    for limit in [1, 3] {
        let text = limit.to_string();
        let (mut process, mut stream) = echo_client(&["--in-flight", &text]);
        process.feed((0..10).map(|n| format!("0123456789{n}\n")).collect::<String>());
        for _ in 0..limit {
            read::<15>(&mut stream);
        }
        // A pause in which a client that sends too much would send more. A slow client passes too.
        thread::sleep(std::time::Duration::from_millis(200));
        stream.set_nonblocking(true).unwrap();
        let early = stream.read(&mut [0; 64]);
        assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        for n in 0..10 {
            stream.write_all(&message(n.to_string().as_bytes())).unwrap();
            if n + limit < 10 {
                read::<15>(&mut stream);
            }
        }
        assert_eq!(read_all(&mut stream), b"");
        drop(stream);
        assert_eq!(process.finish().success(), b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    }
    let finished = Program::socklab(&["echo", "client", "--in-flight", "0", "x"]).run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
}

#[test]
fn the_limit_in_flight_applies_to_later_lines_too() {
    let (mut process, mut stream) = echo_client(&["--in-flight", "1"]);
    for n in 0..5 {
        writeln!(process.stdin(), "0123456789{n}").unwrap();
        read::<15>(&mut stream);
        stream.write_all(&message(n.to_string().as_bytes())).unwrap();
        process.wait_for_stdout(&n.to_string());
    }
    assert_eq!(process.finish().success(), b"0\n1\n2\n3\n4\n");
}

// ---------------------------------------------------------------- memory

/// One piece of the long line.
const PIECE: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
const PIECES: usize = 300_000_000 / PIECE.len();

fn write_long_line(out: &mut impl std::io::Write) {
    let chunk = PIECE.repeat(1 << 12);
    for _ in 0..PIECES >> 12 {
        // If the client ends early, its exit code shows it.
        if out.write_all(&chunk).is_err() {
            return;
        }
    }
    let _ = out.write_all(b"\nshort line behind it\n");
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the memory of the process is not only that of the program"
)]
fn a_line_of_300_mb_needs_constant_memory_from_a_pipe_and_from_a_file() {
    let length = (PIECES >> 12 << 12) * PIECE.len();
    for from_file in [false, true] {
        let fake = FakeServer::new();
        let program = client("echo", fake.addr, &[]).deadline(std::time::Duration::from_secs(300));
        let mut process = if from_file {
            let mut file = tempfile::tempfile().unwrap();
            write_long_line(&mut file);
            file.seek(SeekFrom::Start(0)).unwrap();
            program.stdin(file).stdout(File::create("/dev/null").unwrap()).start()
        } else {
            program.with_stdin().stdout(File::create("/dev/null").unwrap()).start()
        };
        let mut stream = fake.accept();
        let writer = (!from_file).then(|| {
            let mut stdin = process.take_stdin();
            thread::spawn(move || write_long_line(&mut stdin))
        });
        let patient = Some(std::time::Duration::from_secs(200));
        stream.set_read_timeout(patient).unwrap();
        stream.set_write_timeout(patient).unwrap();
        let header: [u8; 4] = read(&mut stream);
        assert_eq!(u32::from_be_bytes(header) as usize, length);
        // The reply is sent while the message arrives, as by a server that streams.
        let mut chunk = vec![0; 1 << 16];
        stream.read_exact(&mut chunk[..10]).unwrap();
        stream.write_all(&(u32::from_be_bytes(header) - 10).to_be_bytes()).unwrap();
        let mut left = length - 10;
        while left > 0 {
            let n = chunk.len().min(left);
            stream.read_exact(&mut chunk[..n]).unwrap();
            stream.write_all(&chunk[..n]).unwrap();
            left -= n;
        }
        read::<24>(&mut stream);
        let most = process.memory("VmHWM");
        assert!(
            most < 40 << 20,
            "{} MiB from a {}",
            most >> 20,
            ["pipe", "file"][usize::from(from_file)]
        );
        // The replies were verified: only the last is reported as wrong, and the long one is not.
        stream.write_all(&message(b"behind us?")).unwrap();
        let finished = process.finish();
        let line = finished.failure(1);
        assert!(line.starts_with("reply 2 is wrong at byte 0: "), "{line}");
        if let Some(writer) = writer {
            writer.join().unwrap();
        }
    }
}

/// Writes `count` lines of ten characters of 4 bytes and 60 of 1 byte.
#[cfg(target_os = "linux")]
fn write_lines(to: &mut impl std::io::Write, count: usize) -> std::io::Result<()> {
    let line = "😀".repeat(10) + &"x".repeat(60) + "\n";
    let many = line.repeat(1000);
    (0..count / 1000).try_for_each(|_| to.write_all(many.as_bytes()))
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the memory of the process is not only that of the program"
)]
fn a_server_that_reads_and_never_replies_costs_no_memory() {
    const LINES: usize = 1_400_000;
    const MESSAGE: usize = 4 + 100;
    let fake = FakeServer::new();
    let mut process = client("echo", fake.addr, &["--timeout", "none"])
        .deadline(std::time::Duration::from_secs(300))
        .with_stdin()
        .stdout(File::create("/dev/null").unwrap())
        .start();
    let mut stream = fake.accept();
    let mut stdin = process.take_stdin();
    let writer = thread::spawn(move || write_lines(&mut stdin, LINES).unwrap());
    // Reads until nothing more arrives. A busy machine may end this early, which makes the test
    // weaker but does not fail it.
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut came = 0;
    while let Ok(n) = stream.read(&mut chunk) {
        assert!(n > 0, "the client has ended");
        came += n;
    }
    let messages = came / MESSAGE;
    assert!(messages < LINES, "the client sent every line");
    let most = process.memory("VmHWM");
    assert!(most < 100 << 20, "{} MiB for {messages} messages", most >> 20);
    // The client continues when replies arrive, and verifies all of them.
    let patient = Some(std::time::Duration::from_secs(200));
    stream.set_read_timeout(patient).unwrap();
    stream.set_write_timeout(patient).unwrap();
    let mut writing = stream.try_clone().unwrap();
    // Batches of 1000 messages that have arrived. A reply must not overtake its message.
    let (arrived, batches) = std::sync::mpsc::channel();
    let replies = thread::spawn(move || {
        let mut many = message(&[b'x'; 60]).repeat(1000);
        for batch in batches.iter().take(LINES / 1000) {
            if batch == LINES / 1000 {
                *many.last_mut().unwrap() = b'y';
            }
            writing.write_all(&many).unwrap();
        }
    });
    let mut reported = 0;
    loop {
        while (reported + 1) * 1000 * MESSAGE <= came {
            reported += 1;
            arrived.send(reported).unwrap();
        }
        if came == LINES * MESSAGE {
            break;
        }
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the client has ended after {came} bytes");
        came += n;
    }
    replies.join().unwrap();
    writer.join().unwrap();
    let most = process.memory("VmHWM");
    assert!(most < 100 << 20, "{} MiB at the end", most >> 20);
    let finished = process.finish();
    let line = finished.failure(1);
    assert!(line.starts_with(&format!("reply {LINES} is wrong ")), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a million messages take minutes")]
fn a_client_that_waits_for_replies_to_verify_reports_it() {
    let fake = FakeServer::new();
    let mut process = client("echo", fake.addr, &["--timeout", "10"])
        .deadline(std::time::Duration::from_secs(300))
        .with_stdin()
        .start();
    let mut stream = fake.accept();
    let mut stdin = process.take_stdin();
    // Reads until the client has ended.
    thread::spawn(move || write_lines(&mut stdin, usize::MAX));
    let mut chunk = vec![0; 1 << 20];
    while stream.read(&mut chunk).is_ok_and(|n| n > 0) {}
    let finished = process.finish_with_stdin_open();
    let line = finished.failure(1);
    assert!(line.contains(" messages, see --no-verify"), "{line}");
}

#[test]
fn a_difference_deep_in_a_long_reply_is_found_at_its_byte() {
    let mut line: Vec<u8> = PIECE.repeat(20_000);
    let mut stdin = line.clone();
    stdin.push(b'\n');
    let (mut process, mut stream) = echo_client(&[]);
    process.feed(stdin);
    let header: [u8; 4] = read(&mut stream);
    let mut got = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut got).unwrap();
    assert!(got == line);
    line[400_010] = b'!';
    stream.write_all(&message(&line[10..])).unwrap();
    drop(stream);
    let finished = process.finish();
    let text = finished.failure(1);
    assert!(text.starts_with("reply 1 is wrong at byte 400000: got \"!"), "{text}");
}

#[test]
fn a_file_is_read_from_its_current_position() {
    let server = Server::start("echo", &[]);
    let mut file = tempfile::tempfile().unwrap();
    let long = PIECE.repeat(10_000);
    file.write_all(b"not this line\n0123456789this\n").unwrap();
    file.write_all(&[&long[..], b"\n0123456789last"].concat()).unwrap();
    file.seek(SeekFrom::Start(14)).unwrap();
    let finished = server.client("echo", &[]).stdin(file).run();
    let expected = [&b"this\n"[..], &long[10..], b"\nlast\n"].concat();
    assert!(finished.success() == expected, "{}", finished.stderr);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: it sets TMP itself")]
fn a_long_line_that_cannot_be_spooled_is_reported_in_one_line_with_code_3() {
    let server = Server::start("echo", &[]);
    let variable = if cfg!(feature = "windows") { "TMP" } else { "TMPDIR" };
    let program = server.client("echo", &[]).env(variable, "/proc/no/such/folder");
    let finished = program.run_with([&b"0123456789first\n"[..], &[b'x'; 100_000], b"\n"].concat());
    let line = finished.failure(3);
    assert!(line.starts_with("cannot write a long line to a temporary file: "), "{line}");
    assert!(line.ends_with(&format!("; set {variable} to use another folder")), "{line}");
    assert_eq!(finished.stdout, b"first\n");
}

// ---------------------------------------------------------------- JSON

#[test]
fn a_long_reply_in_json_is_cut_between_characters_and_its_hex_is_limited() {
    let server = Server::start("echo", &[]);
    // The limit falls inside a character.
    let line = format!("0123456789x{}", "é".repeat(60_000));
    let finished = server.client("echo", &["--json"]).run_with(line);
    let stdout = String::from_utf8_lossy(finished.success());
    let event = stdout.lines().find(|line| line.contains(r#""event":"reply""#)).unwrap();
    assert!(!event.contains("hex") && !event.contains('\u{fffd}'), "{}", &event[..200]);
    assert!(event.contains(r#""bytes":120001"#) && event.ends_with(r#"é","truncated":true}"#));
    let binary = [&b"0123456789"[..], &[0xff; 60_000]].concat();
    let finished = server.client("echo", &["--json"]).run_with(binary);
    let stdout = String::from_utf8_lossy(finished.success());
    let event = stdout.lines().find(|line| line.contains(r#""event":"reply""#)).unwrap();
    let (_, hex) = event.split_once(r#""hex":""#).unwrap();
    let (hex, rest) = hex.split_once('"').unwrap();
    assert_eq!((hex.len(), rest), (2048, r#","hex_truncated":true}"#));
}

// ---------------------------------------------------------------- programs in Python

fn python_server(args: &[&str]) -> Server {
    Server::from_program(Program::peer("echo_server.py", args))
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn wrong_replies_of_students_servers_are_reported() {
    for (fault, text) in [
        ("nothing-removed", "; probably nothing was removed"),
        ("ten-bytes", "; probably ten bytes were removed, not ten characters"),
        ("eleven", "; probably 11 characters were removed, not ten"),
        ("upper-case", "; probably it was changed to upper case"),
        ("upper-case-only", "; probably it was changed to upper case"),
        ("empty", "; probably an empty reply was sent for an error"),
        ("newline", "; probably a newline was added"),
        ("chars-counted", "; probably its length counts characters, not bytes"),
        ("short-header", ": try --header 2"),
        ("little-endian", "in little-endian order it would be"),
        ("one-byte", "after the last reply"),
        ("junk", "after the last reply"),
    ] {
        let server = python_server(&["--fault", fault]);
        let finished = client("echo", server.addr, &["naïve café, or naïve?"]).run();
        let line = finished.failure(1);
        assert!(line.contains(text), "{fault}: {line}");
    }
    let server = python_server(&["--fault", "merged"]);
    let args = ["first message, and", "second message"];
    let finished = client("echo", server.addr, &args).run();
    let line = finished.failure(1);
    assert!(line.ends_with("; probably two messages were merged into one"), "{line}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn students_programs_with_2_byte_lengths_are_supported() {
    let server = python_server(&["--header", "2", "--sessions", "2"]);
    for args in [&["--header", "2"][..], &["--header", "2", "--in-flight", "1"]] {
        let finished =
            client("echo", server.addr, args).run_with("0123456789a\nshort\n0123456789ß\n");
        assert_eq!(finished.success(), "a\n\nß\n".as_bytes());
    }
    let server = Server::start("echo", &["--header", "2"]);
    let port = server.addr.port().to_string();
    for more in [&[][..], &["--parallel"], &["--buffer", "1"], &["--fault", "byte-by-byte"]] {
        let args = [&["127.0.0.1", &port, "--header", "2"], more].concat();
        let finished =
            Program::peer("echo_client.py", &args).run_with("0123456789a\n0123456789ß\n");
        assert_eq!(finished.success(), "a\nß\n".as_bytes());
    }
    // Against our server with the other header size.
    let server = Server::start("echo", &["--timeout", "1s"]);
    let port = server.addr.port().to_string();
    for (args, text) in [
        (
            &["--header", "2"][..],
            "its first 2 bytes would be a 2-byte length of 15: try --header 2",
        ),
        (&["--fault", "little-endian"], "in little-endian order it would be 15"),
    ] {
        let args = [&["127.0.0.1", &port], args].concat();
        Program::peer("echo_client.py", &args).run_with("one short line.\n");
        server.process.wait_for(text);
    }
}
