//! What the program writes and where: JSON lines, traces, terminals, closed pipes. Also signals.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use socklab_tests::program::{
    DEADLINE, FakeServer, Finished, Process, Program, STOP, Server, client, message, read,
    read_all, wait_until,
};

const QUESTION: [u8; 9] = *b"Q\0\0\0\x0c\0\0\0\x1e";
const SECRET: [u8; 9] = *b"Sopensesm";

fn math_client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client("math", fake.addr, args).start();
    (process, fake.accept())
}

mod json_lines {
    use super::*;

    #[track_caller]
    fn events(stdout: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(stdout).expect("JSON is UTF-8");
        assert!(text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn a_math_client_reports_its_events() {
        let (process, mut stream) = math_client(&["--json"]);
        let peer = stream.local_addr().unwrap().to_string();
        stream.write_all(&QUESTION).unwrap();
        read::<4>(&mut stream);
        // Events are written when they happen, not at the end.
        process.wait_for_stdout("question");
        stream.write_all(&SECRET).unwrap();
        let finished = process.finish();
        assert_eq!(
            events(finished.success()),
            [
                json!({ "event": "connected", "peer": peer }),
                json!({ "event": "question", "a": 12, "b": 30, "answer": 42 }),
                json!({ "event": "secret", "secret": "opensesm" }),
            ]
        );
        assert_eq!(finished.stderr, "");
    }

    #[test]
    fn invalid_utf_8_is_written_as_hex() {
        let (process, mut stream) = math_client(&["--json"]);
        stream.write_all(b"S\x1b[31m\x07\x00\xff").unwrap();
        let finished = process.finish();
        let secret = &events(finished.success())[1];
        assert_eq!(secret["hex"], "1b5b33316d0700ff");
        assert!(!finished.stdout.contains(&0x1b), "JSON escapes controls: {finished:?}");
    }

    #[test]
    fn an_error_is_an_event_and_a_line_on_stderr() {
        let (process, mut stream) = math_client(&["--json"]);
        stream.write_all(b"X").unwrap();
        let finished = process.finish();
        let line = finished.failure(1).to_owned();
        let events = events(&finished.stdout);
        assert_eq!(events[1], json!({ "event": "error", "message": line, "code": 1 }));
        assert_eq!(events.len(), 2);

        let finished =
            Program::socklab(&["math", "client", "no-such-host.invalid", "1", "--json"]).run();
        let line = finished.failure(3).to_owned();
        let expected = json!({ "event": "error", "message": line, "code": 3 });
        assert_eq!(super::json_lines::events(&finished.stdout), [expected]);
    }

    #[test]
    fn an_echo_client_reports_its_replies_and_truncates_long_ones() {
        let long = "x".repeat(100_010);
        let server = Server::start("echo", &[]);
        let mut stdin = format!("0123456789one\n\n{long}\n0123456789\u{1b}\u{e9}\n").into_bytes();
        stdin.extend_from_slice(b"0123456789\xff\n");
        let finished = server.client("echo", &["--json"]).run_with(stdin);
        let events = events(finished.success());
        assert_eq!(events.len(), 6);
        assert_eq!(events[0]["event"], "connected");
        assert_eq!(events[1], json!({ "event": "reply", "bytes": 3, "reply": "one" }));
        assert_eq!(events[2], json!({ "event": "reply", "bytes": 0, "reply": "" }));
        assert_eq!((&events[3]["bytes"], &events[3]["truncated"]), (&json!(100_000), &json!(true)));
        assert_eq!(events[3]["reply"].as_str().map(str::len), Some(65_536));
        assert_eq!(events[4]["reply"], "\u{1b}\u{e9}");
        assert_eq!(events[5]["hex"], "ff");
    }

    #[test]
    fn servers_report_sessions_start_and_stop() {
        let server = Server::start("math", &["--json", "--rounds", "2"]);
        server.client("math", &[]).run().success();
        let mut wrong = server.connect();
        read::<9>(&mut wrong);
        wrong.write_all(&[0xff; 4]).unwrap();
        assert_eq!(read_all(&mut wrong), b"");
        drop(wrong);
        let mut early = server.connect();
        read::<9>(&mut early);
        drop(early);
        server.process.wait_for_stdout("failed");
        let addr = server.addr.to_string();
        server.process.signal(STOP);
        let all = events(server.process.finish().success());
        let names: Vec<_> = all.iter().map(|e| (&e["event"], &e["outcome"])).collect();
        let [null, session] = [Value::Null, json!("session")];
        assert_eq!(
            names,
            [
                (&json!("listening"), &null),
                (&session, &json!("solved")),
                (&session, &json!("wrong")),
                (&session, &json!("failed")),
                (&json!("stopped"), &null),
            ]
        );
        assert_eq!(all[0]["address"], addr);
        assert_eq!((&all[1]["asked"], &all[1]["right"]), (&json!(2), &json!(2)));
        assert_eq!(all[2]["answer"], json!(u32::MAX));
        assert!(all[2]["expected"].is_u64() && all[2]["peer"].is_string());
        assert!(all[3]["error"].as_str().is_some_and(|e| e.contains("closed")), "{}", all[3]);

        let server = Server::start("echo", &["--json"]);
        server.client("echo", &["0123456789abc", "x"]).run().success();
        server.process.wait_for_stdout("session");
        server.process.signal("INT");
        let all = events(server.process.finish().success());
        assert_eq!((&all[1]["messages"], &all[1]["bytes"]), (&json!(2), &json!(14)));
        assert_eq!((&all[1]["outcome"], all.len()), (&json!("closed"), 3));
    }

    #[test]
    fn a_server_ends_when_its_events_are_no_longer_read() {
        let (reader, writer) = std::io::pipe().unwrap();
        let server = Server::from_program(
            Program::socklab(&["math", "server", "0", "--json"]).stdout(writer),
        );
        drop(reader);
        solve_some(&server);
        let finished = server.process.finish();
        let line = finished.last_failure(3);
        assert_eq!(line, "standard output was closed before everything was written");
    }

    fn solve_some(server: &Server) {
        for _ in 0..2 {
            // The second client may find the server gone.
            let _ = server.client("math", &[]).run();
        }
    }
}

mod trace {
    use super::*;

    #[test]
    fn each_message_is_a_line_with_its_direction_bytes_and_meaning() {
        let (process, mut stream) = math_client(&["--trace"]);
        stream.write_all(&QUESTION).unwrap();
        read::<4>(&mut stream);
        stream.write_all(&SECRET).unwrap();
        let finished = process.finish();
        assert_eq!(finished.success(), b"opensesm\n");
        let lines: Vec<&str> = finished.stderr.lines().collect();
        assert_eq!(lines.len(), 4, "{finished:?}");
        for (line, parts) in lines.iter().zip([
            ["<- ", "51 00 00 00 0c 00 00 00 1e ", "Q 12 + 30"],
            ["-> ", "00 00 00 2a ", "answer 42"],
            ["<- ", "53 6f 70 65 6e 73 65 73 6d ", "S secret \"opensesm\""],
            ["-> ", "", "closed"],
        ]) {
            let mut at = 0;
            for part in parts {
                at += line[at..].find(part).unwrap_or_else(|| panic!("no {part} in {line}"));
            }
            let time = line.split_whitespace().next().and_then(|time| time.parse::<f64>().ok());
            assert!(time.is_some_and(|time| time < 20.0), "{line}");
            assert!(!line.contains('['), "a note where none belongs: {line}");
        }
        check_no_controls(&finished.stderr);
    }

    #[track_caller]
    fn check_no_controls(text: &str) {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn joined_and_split_messages_are_marked() {
        let (process, mut stream) = math_client(&["--trace"]);
        stream.write_all(&QUESTION[..2]).unwrap();
        process.wait_for("[2 of 9 bytes so far]");
        stream.write_all(&QUESTION[2..]).unwrap();
        read::<4>(&mut stream);
        process.wait_for("Q 12 + 30 [in 2 reads: 2 + 7 bytes]");
        stream.write_all(&[QUESTION, SECRET].concat()).unwrap();
        let finished = process.finish();
        finished.success();
        for text in
            ["Q 12 + 30 [1 of 2 in a read of 18]", "S secret \"opensesm\" [2 of 2 in a read of 18]"]
        {
            assert!(finished.stderr.contains(text), "no {text} in {finished:?}");
        }
    }

    #[test]
    fn control_characters_of_a_peer_are_escaped() {
        let (process, mut stream) = math_client(&["--trace"]);
        stream.write_all(b"S\x1b[31m\x07\n\x9b").unwrap();
        let finished = process.finish();
        finished.success();
        assert!(finished.stderr.contains("\\x1b[31m\\x07"), "{finished:?}");
        check_no_controls(&finished.stderr);
        // A line break in a secret must not break the line of the trace. The other line is the end.
        assert_eq!(finished.stderr.lines().count(), 2, "{finished:?}");
    }

    #[test]
    fn invalid_messages_and_the_end_are_shown_too() {
        let (process, mut stream) = math_client(&["--trace"]);
        stream.write_all(b"X!").unwrap();
        let finished = process.finish();
        finished.last_failure(1);
        let text = "not a message: it starts with 0x58 ('X')";
        assert!(finished.stderr.contains(text), "{finished:?}");

        let (process, mut stream) = math_client(&["--trace"]);
        stream.write_all(b"Q12").unwrap();
        process.wait_for("so far");
        drop(stream);
        let finished = process.finish();
        finished.last_failure(1);
        assert!(finished.stderr.contains("closed after 3 of 9 bytes"), "{finished:?}");
    }

    #[test]
    fn a_server_shows_the_client_of_each_message() {
        let server = Server::start("math", &["--trace", "--rounds", "1"]);
        let mut stream = server.connect();
        let peer = stream.local_addr().unwrap();
        let question: [u8; 9] = read(&mut stream);
        let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
        stream.write_all(&(a + b).to_be_bytes()).unwrap();
        read::<9>(&mut stream);
        drop(stream);
        server.process.wait_for("1/1 correct, secret sent");
        for text in [format!("-> {}", "51 "), format!("Q {a} + {b}"), format!("answer {}", a + b)] {
            let line = server.process.wait_for(&text);
            assert!(line.starts_with(&format!("{peer} ")), "{line}");
        }
        check_no_controls(&server.process.stderr());
    }

    #[test]
    fn echo_shows_lengths_and_payloads() {
        let finished = Program::socklab(&["echo", "client", "--trace"]).run_with("0123456789abc\n");
        assert_eq!(finished.success(), b"abc\n");
        for text in [
            "00 00 00 0d 30 31 32 33 34 35 36 37 38 39 61 62 .. message of 13 \"0123456789abc\"",
            "00 00 00 03 61 62 63 ",
            "message of 3 \"abc\"",
        ] {
            assert!(finished.stderr.contains(text), "no {text} in {finished:?}");
        }
    }
}

/// A terminal. The reader gets what is written to its screen.
struct Terminal {
    screen: File,
    slave: File,
}

impl Terminal {
    fn new() -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&screen).expect("grantpt");
        unlockpt(&screen).expect("unlockpt");
        let name = ptsname(&screen, Vec::new()).expect("ptsname");
        let name = name.to_str().expect("a path").to_owned();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name)
            .expect("the other end of the terminal");
        Self { screen: screen.into(), slave }
    }

    fn end(&self) -> File {
        self.slave.try_clone().expect("clone")
    }

    /// Returns everything written to it, once all writers have ended.
    fn text(mut self) -> String {
        drop(self.slave);
        let mut bytes = Vec::new();
        // Linux reports the end of a terminal as an error.
        let _ = self.screen.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }
}

mod terminal {
    use super::*;

    const EVIL: [u8; 9] = *b"S\x1b[31m\x07\x00\xff";

    fn evil_secret(args: &[&str]) -> (Terminal, Finished) {
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let process = client("math", fake.addr, args).stdout(terminal.end()).start();
        fake.accept().write_all(&EVIL).unwrap();
        (terminal, process.finish())
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn a_secret_with_control_characters_is_escaped_unless_raw() {
        let (terminal, finished) = evil_secret(&[]);
        finished.success();
        assert_eq!(terminal.text(), "\\x1b[31m\\x07\\x00\\xff\n");
        let (terminal, finished) = evil_secret(&["--raw"]);
        finished.success();
        assert_eq!(terminal.text(), "\x1b[31m\x07\0\u{fffd}\n");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn replies_are_escaped_even_if_a_character_arrives_in_two_reads() {
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let args = ["--no-verify", "a message long enough for it"];
        let process = client("echo", fake.addr, &args).stdout(terminal.end()).start();
        let mut stream = fake.accept();
        let reply = message("é\u{1b}[2J\u{202e}日".as_bytes());
        for byte in reply {
            stream.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        process.finish().success();
        assert_eq!(terminal.text(), "é\\x1b[2J\\u{202e}日\n");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn an_error_after_half_a_reply_starts_on_a_new_line() {
        let cut = |program: Program, fake: &FakeServer| {
            let process = program.start();
            let mut stream = fake.accept();
            read::<39>(&mut stream);
            stream.write_all(&message(b"whole")).unwrap();
            stream.write_all(&message("ha\u{e9}lf".as_bytes())[..7]).unwrap();
            drop(stream);
            process.finish()
        };
        let messages = &["0123456789whole", "0123456789ha\u{e9}lf"];
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let program = client("echo", fake.addr, messages);
        let finished = cut(program.stdout(terminal.end()).stderr(terminal.end()), &fake);
        assert_eq!(finished.code, Some(1));
        let text = terminal.text();
        let rest = text.strip_prefix("whole\nha\\xc3\n").unwrap_or_else(|| panic!("{text:?}"));
        assert!(
            rest.starts_with("socklab: the server closed") && rest.lines().count() == 1,
            "{rest}"
        );
        // A pipe gets exactly the bytes that arrived.
        let fake = FakeServer::new();
        let finished = cut(client("echo", fake.addr, messages), &fake);
        assert_eq!((finished.code, &finished.stdout[..]), (Some(1), &b"whole\nha\xc3"[..]));
    }

    fn traced(env: &[(&str, &str)]) -> String {
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let mut program = client("math", fake.addr, &["--trace"]).stderr(terminal.end());
        for (name, value) in env {
            program = program.env(name, value);
        }
        let process = program.start();
        fake.accept().write_all(&SECRET).unwrap();
        process.finish().success();
        terminal.text()
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn a_trace_is_in_colour_on_a_terminal_and_never_with_no_color() {
        let text = traced(&[]);
        assert!(text.contains("\u{1b}[") && text.contains("opensesm"), "{text:?}");
        let text = traced(&[("NO_COLOR", "1")]);
        assert!(!text.contains('\u{1b}') && text.contains("opensesm"), "{text:?}");
        let text = traced(&[("TERM", "dumb")]);
        assert!(!text.contains('\u{1b}') && text.contains("opensesm"), "{text:?}");
    }

    /// Returns what the user sees while a file is fetched.
    fn fetched(args: &[&str]) -> String {
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let remote = format!("{}:a.txt", fake.addr);
        let args = [&["file", "client", &remote, "-"], args].concat();
        let process = Program::socklab(&args).stderr(terminal.end()).start();
        let mut stream = fake.accept();
        read::<10>(&mut stream);
        stream.write_all(b"+\0\0\0\0\0\0\0\x09123456789\xcb\xf4\x39\x26").unwrap();
        assert_eq!(process.finish().success(), b"123456789");
        terminal.text()
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn a_trace_has_no_progress_bar_among_its_lines() {
        let text = fetched(&[]);
        assert!(
            text.contains('\r') && text.contains('%'),
            "a progress bar is expected without --trace: {text:?}"
        );
        let text = fetched(&["--trace"]);
        assert!(!text.contains('\r') && !text.contains('%'), "{text:?}");
        assert!(text.contains("bytes of the file"), "{text:?}");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn an_error_on_a_terminal_is_one_plain_line() {
        let terminal = Terminal::new();
        let finished =
            Program::socklab(&["math", "client", "a\u{1b}[31mb", "1"]).stderr(terminal.end()).run();
        assert_eq!(finished.code, Some(3));
        let text = terminal.text();
        assert!(text.starts_with("socklab: cannot connect to a\\x1b[31mb:1"), "{text:?}");
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console draws with escape sequences of its own"
    )]
    fn a_user_at_the_keyboard_gets_instructions() {
        let (terminal, fake) = (Terminal::new(), FakeServer::new());
        let process = client("echo", fake.addr, &[]).stdin(terminal.end()).start();
        let mut stream = fake.accept();
        process.wait_for("each line you type is a message; Ctrl-D ends");
        (&terminal.screen).write_all(b"0123456789typed\n").unwrap();
        assert_eq!(read(&mut stream), *b"\0\0\0\x0f0123456789typed");
        stream.write_all(&message(b"typed")).unwrap();
        process.wait_for_stdout("typed");
        (&terminal.screen).write_all(b"\x04").unwrap();
        assert_eq!(process.finish().success(), b"typed\n");
    }
}

mod closed_pipes {
    use super::*;

    /// Returns the writing end of a pipe without a reader.
    fn broken() -> std::io::PipeWriter {
        std::io::pipe().expect("a pipe").1
    }

    const CLOSED: &str = "standard output was closed before everything was written";

    #[test]
    fn a_closed_stdout_is_reported_in_one_line_with_code_3() {
        let math = Server::start("math", &[]);
        let echo = Server::start("echo", &[]);
        for program in [
            math.client("math", &[]),
            math.client("math", &["--json"]),
            echo.client("echo", &["a message"]),
            echo.client("echo", &["--json", "a message"]),
            Program::socklab(&["man"]),
            Program::socklab(&["completions", "bash"]),
            Program::socklab(&["--help"]),
            Program::socklab(&["--version"]),
        ] {
            let finished = program.stdout(broken()).run();
            assert_eq!(finished.failure(3), CLOSED);
        }
        let finished = Program::socklab(&["math", "client"]).stdout(broken()).run();
        assert_eq!(finished.last_failure(3), CLOSED);
        assert_eq!(finished.stderr.lines().count(), 2, "{finished:?}");
    }

    #[test]
    fn a_reader_that_stops_after_one_line_is_reported() {
        let server = Server::start("echo", &[]);
        let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
        // The exit code of a pipeline is that of head, so the shell prints ours.
        let line = r#"yes 0123456789line | { "$@"; echo "code $?" >&2; } | head -1"#;
        let finished = Program::in_shell(line, &["echo", "client", &host, &port]).run();
        assert_eq!(finished.success(), b"line\n");
        assert_eq!(finished.stderr, format!("socklab: {CLOSED}\ncode 3\n"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_reported_in_one_line_with_code_3() {
        let math = Server::start("math", &[]);
        for program in [math.client("math", &[]), Program::socklab(&["man"])] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let finished = program.stdout(full).run();
            let line = finished.failure(3);
            assert!(line.starts_with("cannot write to standard output: "), "{line}");
        }
    }

    #[test]
    fn a_closed_stderr_does_not_change_the_result() {
        let server = Server::start("math", &["--secret", "12345678"]);
        for args in [&["--trace"][..], &["-v"]] {
            let finished = server.client("math", args).stderr(broken()).run();
            assert_eq!(finished.success(), b"12345678\n");
        }
        let finished =
            Program::socklab(&["math", "client", "no-such-host.invalid"]).stderr(broken()).run();
        assert_eq!(finished.code, Some(3));
    }
}

mod signals {
    use super::*;

    /// How long sessions may continue when their server is stopped. A server that ends within it
    /// did not wait for one.
    const GRACE: Duration = Duration::from_secs(5);

    /// Waits until no client can connect any more.
    fn wait_for_stop(server: &Server) {
        let refused = wait_until(DEADLINE, || TcpStream::connect(server.addr).err());
        refused.expect("the server still accepts connections");
    }

    #[test]
    fn an_idle_server_ends_at_once_with_code_0() {
        for (protocol, signal) in [("math", "INT"), ("math", STOP), ("echo", "INT")] {
            let server = Server::start(protocol, &[]);
            let start = Instant::now();
            server.process.signal(signal);
            let finished = server.process.finish();
            assert_eq!(finished.success(), b"");
            assert!(start.elapsed() < GRACE, "{signal}: {:?}", start.elapsed());
            assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        }
    }

    /// Stops a server whose client has everything and does not close. Returns how long the server
    /// takes to end.
    fn stopped_beside_a_client_that_does_not_close() -> Duration {
        let server = Server::start("math", &[]);
        let mut stream = server.connect();
        read::<9>(&mut stream);
        stream.write_all(&[0xff; 4]).unwrap();
        assert_eq!(read_all(&mut stream), b"");
        let start = Instant::now();
        server.process.signal(STOP);
        server.process.finish().success();
        let took = start.elapsed();
        drop(stream);
        took
    }

    #[test]
    fn a_client_that_does_not_close_after_its_session_does_not_prevent_the_end() {
        stopped_beside_a_client_that_does_not_close();
    }

    #[test]
    #[ignore = "measures times: .ci/run runs it alone"]
    fn a_client_that_does_not_close_after_its_session_delays_the_end_only_briefly() {
        // The client has two seconds to read and close, checked once a second, instead of the five
        // of a session.
        let took = stopped_beside_a_client_that_does_not_close();
        assert!(took < Duration::from_millis(4500), "{took:?}");
    }

    #[test]
    fn a_running_quiz_ends_with_its_secret() {
        let server = Server::start("math", &["--rounds", "3", "--secret", "12345678"]);
        let mut stream = server.connect();
        let mut question: [u8; 9] = read(&mut stream);
        server.process.signal(STOP);
        wait_for_stop(&server);
        while question[0] == b'Q' {
            let [a, b] =
                [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
            stream.write_all(&(a + b).to_be_bytes()).unwrap();
            question = read(&mut stream);
        }
        assert_eq!(question, *b"S12345678");
        assert_eq!(read_all(&mut stream), b"");
        let start = Instant::now();
        drop(stream);
        let finished = server.process.finish();
        finished.success();
        assert!(finished.stderr.ends_with(": 3/3 correct, secret sent\n"), "{finished:?}");
        assert!(start.elapsed() < GRACE, "the server waited without a reason: {finished:?}");
    }

    #[test]
    fn echo_finishes_the_current_message() {
        let server = Server::start("echo", &[]);
        let (mut half, mut idle) = (server.connect(), server.connect());
        idle.write_all(&message(b"0123456789x")).unwrap();
        assert_eq!(read(&mut idle), *b"\0\0\0\x01x");
        half.write_all(b"\0\0\0\x140123456789half").unwrap();
        assert_eq!(read(&mut half), *b"\0\0\0\x0ahalf");
        server.process.signal("INT");
        // The idle connection has no unfinished message.
        assert_eq!(read_all(&mut idle), b"");
        drop(idle);
        wait_for_stop(&server);
        // A message after the unfinished one is too late.
        half.write_all(&[b"-other", &message(b"0123456789late")[..]].concat()).unwrap();
        assert_eq!(read_all(&mut half), b"-other");
        drop(half);
        server.process.finish().success();
    }

    #[test]
    fn an_idle_client_gets_five_seconds_and_a_second_signal_ends_at_once() {
        let [mut one_signal, two_signals] =
            [(); 2].map(|()| Server::start("math", &["--timeout", "none"]));
        let (mut one, mut two) = (one_signal.connect(), two_signals.connect());
        read::<9>(&mut one);
        read::<9>(&mut two);
        let start = Instant::now();
        one_signal.process.signal(STOP);
        two_signals.process.signal("INT");
        wait_for_stop(&two_signals);
        two_signals.process.signal("INT");
        let finished = two_signals.process.finish();
        finished.success();
        assert!(
            one_signal.process.is_running(),
            "the server that was signalled once must still be waiting"
        );
        assert!(finished.stderr.contains("the server stopped"), "{finished:?}");

        let finished = one_signal.process.finish();
        finished.success();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(4800), "{took:?}");
        assert!(finished.stderr.contains("the server stopped"), "{finished:?}");
    }
}
