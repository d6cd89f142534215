//! The program as a person meets it: every exit code, every named ending, what stands on stdout
//! and what on stderr. The peer is the test itself, so each case is exact.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use socklab_tests::program::{
    Played, Process, Program, Server, client, message, read, read_all, until,
};

const QUESTION: [u8; 9] = *b"Q\0\0\0\x0c\0\0\0\x1e";
const SECRET: [u8; 9] = *b"Sopensesm";

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// A math client of ours, and its connection in the hands of the test.
fn math_client(args: &[&str]) -> (Process, TcpStream) {
    let played = Played::new();
    let process = client("math", played.addr, args).start();
    let stream = played.accept();
    (process, stream)
}

fn echo_client(args: &[&str]) -> (Process, TcpStream) {
    let played = Played::new();
    let process = client("echo", played.addr, args).with_stdin().start();
    let stream = played.accept();
    (process, stream)
}

const PROTOCOLS: [&str; 9] =
    ["math", "add", "file", "echo", "hello", "chat", "coin", "guess", "rps"];

mod usage {
    use super::*;

    #[test]
    fn what_is_typed_wrong_is_said_in_a_line_with_code_2() {
        for (args, text) in [
            (&["math", "client", "localhost", "0"][..], "0 is not in 1..=65535"),
            (&["math", "client", "localhost", "70000"], "70000 is not in 1..=65535"),
            (&["math", "client", "localhost", "-1"], "-1"),
            (&["math", "client", "localhost", "http"], "http"),
            (&["math", "client", "localhost", "8000", "more"], "more"),
            (&["echo", "client", "localhost", "0", "message"], "0 is not in 1..=65535"),
            (&["echo", "client", "localhost", "70000"], "70000"),
            (&["math", "server", "70000"], "expected a port from 0 to 65535"),
            (&["math", "server", "1.2.3.4:70000"], "expected a port from 0 to 65535"),
            (&["math", "server", ":8000"], "expected an address before the colon"),
            (&["math", "server", "::1"], "such as [::]:8000"),
            (&["math", "server", "0", "--rounds", "20..=5"], "the range is empty"),
            (&["math", "server", "0", "--rounds", "many"], "5..=20"),
            (&["math", "server", "0", "--secret", "short"], "expected exactly 8 bytes, not 5"),
            (&["math", "server", "0", "--secret", "sésame99"], "not 9"),
            (&["math", "server", "0", "--seed", "x"], "--seed"),
            (&["math", "client", "--timeout", "0"], "more than 0"),
            (&["math", "client", "--timeout", "soon"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout", "-1"], "-1"),
            (&["math", "client", "--timeout", "nan"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout", "1e300"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout"], "--timeout"),
            (&["echo", "client", "--buffer", "0"], "1..=65536"),
            (&["echo", "client", "--buffer", "65537"], "1..=65536"),
            (&["maths", "client"], "maths"),
            (&["math", "clientele"], "clientele"),
            (&["math", "client", "--colour"], "--colour"),
            (&["completions", "cmd.exe"], "bash"),
            (&["completions"], "SHELL"),
        ] {
            let finished = Program::socklab(args).run();
            let line = finished.failure(2);
            assert!(line.contains(text), "{args:?}: {line}");
            assert_eq!(finished.stdout, b"", "{args:?}");
        }
    }

    #[test]
    fn an_argument_that_is_no_text_is_said_in_a_line() {
        use std::os::unix::ffi::OsStrExt as _;
        let args = ["echo", "client", "localhost", "1"].map(std::ffi::OsStr::new);
        let args = [&args[..], &[std::ffi::OsStr::from_bytes(b"\xff")]].concat();
        let finished = Program::socklab(&args).run();
        assert!(finished.failure(2).contains("UTF-8"), "{finished:?}");
    }

    #[test]
    fn an_argument_with_a_line_break_makes_no_second_line() {
        let host = "two\nlines\u{1b}[31m";
        let finished = Program::socklab(&["math", "client", host, "1"]).run();
        assert!(!finished.failure(3).contains('\u{1b}'), "{finished:?}");
        let finished = Program::socklab(&["math", host]).run();
        assert!(!finished.failure(2).contains('\u{1b}'), "{finished:?}");
    }

    #[test]
    fn without_a_command_it_shows_what_there_is_with_code_2() {
        for args in [&[][..], &["math"], &["echo"]] {
            let finished = Program::socklab(args).run();
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(finished.stderr.contains("Usage:"), "{finished:?}");
            assert_eq!(finished.stdout, b"");
        }
    }

    #[test]
    fn help_version_completions_and_manual_go_to_stdout() {
        for args in [
            &["--help"][..],
            &["--version"],
            &["math", "--help"],
            &["math", "client", "--help"],
            &["echo", "server", "-h"],
            &["man"],
        ] {
            let finished = Program::socklab(args).run();
            let text = String::from_utf8(finished.success().to_vec()).unwrap();
            assert!(text.contains("socklab"), "{args:?}");
            assert_eq!(finished.stderr, "", "{args:?}");
        }
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let finished = Program::socklab(&["completions", shell]).run();
            let text = String::from_utf8(finished.success().to_vec()).unwrap();
            for word in PROTOCOLS.into_iter().chain(["socklab", "client", "full-range", "timeout"])
            {
                assert!(text.contains(word), "no {word} for {shell}");
            }
        }
        // A page for the program and one for each of its commands.
        for (args, words) in [
            (&["man"][..], &[".TH socklab 1", ".SH NAME", ".SH \"EXIT STATUS\""][..]),
            (&["man", "math", "server"], &[".TH socklab-math-server 1", "full\\-range"]),
            (&["man", "echo", "client"], &[".TH socklab-echo-client 1", "buffer"]),
        ] {
            let page = Program::socklab(args).run();
            let page = String::from_utf8(page.success().to_vec()).unwrap();
            for word in words {
                assert!(page.contains(word), "no {word} in {args:?}: {page}");
            }
        }
        let page = Program::socklab(&["man"]).run();
        let page = String::from_utf8(page.success().to_vec()).unwrap();
        for protocol in PROTOCOLS {
            for role in ["client", "server"] {
                let head = format!(".SS \"socklab {protocol} {role} ");
                assert!(page.contains(&head), "no {head}: {page}");
            }
        }
        let finished = Program::socklab(&["man", "no", "such"]).run();
        assert!(finished.failure(2).contains("no such"), "{finished:?}");
    }
}

mod connecting {
    use super::*;

    #[test]
    fn a_host_that_has_no_address() {
        for host in ["no-such-host.invalid", "", "a..b", "256.1.1.1", "[::1"] {
            let args = ["math", "client", host, "8000", "--timeout", "15s"];
            let line = Program::socklab(&args).run();
            let line = line.failure(3);
            assert!(line.starts_with("cannot connect to "), "{line}");
            assert!(line.contains(host) && line.contains("8000"), "{line}");
        }
    }

    #[test]
    fn a_port_where_nobody_listens() {
        // Bound and not listening: nobody else can take it meanwhile.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        for protocol in ["math", "echo"] {
            let finished = client(protocol, addr, &[]).run();
            let expected = format!(
                "cannot connect to {addr}: connection refused; is a server listening on that port?"
            );
            assert_eq!(finished.failure(3), expected);
            assert_eq!(finished.stdout, b"");
        }
    }

    #[test]
    fn localhost_is_found_on_ipv4_and_on_ipv6() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let played = Played::on(bind);
            let port = played.addr.port().to_string();
            let process = Program::socklab(&["math", "client", "localhost", &port]).start();
            played.accept().write_all(&SECRET).unwrap();
            assert_eq!(process.finish().success(), b"opensesm\n", "{bind}");
        }
    }

    #[test]
    fn an_ipv6_address_may_stand_in_brackets() {
        for host in ["::1", "[::1]"] {
            let played = Played::on("[::1]:0");
            let port = played.addr.port().to_string();
            let process = Program::socklab(&["math", "client", host, &port]).start();
            played.accept().write_all(&SECRET).unwrap();
            assert_eq!(process.finish().success(), b"opensesm\n", "{host}");
        }
    }

    #[test]
    fn a_server_of_all_addresses_takes_both_families() {
        let server = Server::start("math", &[]);
        drop(server);
        for bind in ["[::]:0", "[::1]:0", "0.0.0.0:0", "localhost:0"] {
            let server = Server::of(Program::socklab(&["math", "server", bind]));
            let port = server.addr.port().to_string();
            let finished = Program::socklab(&["math", "client", "localhost", &port]).run();
            assert_eq!(finished.success().len(), 9, "{bind}");
            if bind == "[::]:0" {
                let finished = Program::socklab(&["math", "client", "127.0.0.1", &port]).run();
                assert_eq!(finished.success().len(), 9);
                server.process.wait_for("127.0.0.1:");
            }
        }
    }

    #[test]
    fn the_timeout_bounds_the_connect() {
        // A backlog that is full: further connects are left without an answer.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = socket.unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        // A system may take some more than it was told.
        let full = until(Duration::from_secs(15), || {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
                Ok(stream) => fillers.push(stream),
                Err(_) => return Some(()),
            }
            None
        });
        full.expect("the backlog does not fill");
        let finished = client("math", addr, &["--timeout", "400ms"]).run();
        let expected = format!("cannot connect to {addr}: no answer within 400ms");
        assert_eq!(finished.failure(3), expected);
        let took = finished.took;
        assert!((400..3000).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn a_port_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        for protocol in ["math", "echo"] {
            let finished = Program::socklab(&[protocol, "server", &addr.port().to_string()]).run();
            let expected = format!(
                "cannot listen on {addr}: address already in use; give another port, or 0 for a \
                 free one"
            );
            assert_eq!(finished.failure(3), expected);
        }
        // Of our own making, too.
        let server = Server::start("math", &[]);
        let port = server.addr.port().to_string();
        let finished = Program::socklab(&["math", "server", &port]).run();
        assert!(finished.failure(3).contains("in use"), "{finished:?}");
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
    }

    #[test]
    fn an_address_that_is_not_ours() {
        for (bind, text) in [
            // TEST-NET-1: never an address of a machine.
            ("192.0.2.1:0", "give an address of this machine"),
            ("no-such-host.invalid:0", "cannot listen on no-such-host.invalid:0: "),
        ] {
            let finished = Program::socklab(&["echo", "server", bind]).run();
            assert!(finished.failure(3).contains(text), "{finished:?}");
        }
    }

    #[test]
    fn a_restarted_server_gets_its_port_back_at_once() {
        let server = Server::start("math", &[]);
        // The server closes first, so the port has connections in TIME_WAIT.
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
        let port = server.addr.port().to_string();
        server.process.signal("TERM");
        server.process.finish().success();
        let server = Server::of(Program::socklab(&["math", "server", &port]));
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
    }
}

mod math {
    use super::*;

    #[test]
    fn the_secret_and_a_newline_are_all_of_stdout() {
        let (process, mut stream) = math_client(&[]);
        for _ in 0..3 {
            stream.write_all(&QUESTION).unwrap();
            assert_eq!(read(&mut stream), [0, 0, 0, 42]);
        }
        stream.write_all(&SECRET).unwrap();
        let finished = process.finish();
        assert_eq!(finished.success(), b"opensesm\n");
        assert_eq!(finished.stderr, "");
    }

    #[test]
    fn the_client_is_done_with_the_secret_and_does_not_wait_for_the_close() {
        let (process, mut stream) = math_client(&["--timeout", "none"]);
        stream.write_all(&SECRET).unwrap();
        assert_eq!(process.finish().success(), b"opensesm\n");
        assert_eq!(read_all(&mut stream), b"");
    }

    #[test]
    fn every_first_byte_but_two_is_named() {
        for (byte, name) in [
            (b'R', "0x52 ('R')"),
            (0, "0x00"),
            (b'q', "0x71 ('q')"),
            (b' ', "0x20"),
            (0xff, "0xff"),
        ] {
            let (process, mut stream) = math_client(&[]);
            stream.write_all(&QUESTION).unwrap();
            read::<4>(&mut stream);
            // The byte alone: nothing else is waited for.
            stream.write_all(&[byte]).unwrap();
            let expected = format!(
                "the server broke the protocol: message 2 starts with the byte {name}, expected \
                 'Q' or 'S'"
            );
            assert_eq!(process.finish().failure(1), expected);
        }
    }

    /// What a server sends, how it ends, and what the client says then.
    #[test]
    fn every_ending_has_its_name() {
        #[derive(Clone, Copy, Debug)]
        enum End {
            Close,
            Reset,
            Silence,
        }
        use End::{Close, Reset, Silence};
        let waited = " (300ms; --timeout changes that)";
        for (questions, bytes, end, text) in [
            (0, 0, Close, "the server closed the connection before it sent any message"),
            (0, 0, Reset, "the server reset the connection before it sent any message"),
            (0, 0, Silence, "the server sent nothing in time"),
            (
                0,
                1,
                Close,
                "the server closed the connection in the middle of a message, after 1 of 9 bytes",
            ),
            (
                0,
                8,
                Reset,
                "the server reset the connection in the middle of a message, after 8 of 9 bytes",
            ),
            (
                0,
                5,
                Silence,
                "the server sent nothing more in time in the middle of a message, after 5 of 9 bytes",
            ),
            (2, 0, Close, "answer 2 rejected: the server closed the connection right after it"),
            (2, 0, Reset, "the server reset the connection between messages, with 2 answered"),
            (2, 0, Silence, "the server sent nothing more in time, with 2 answered"),
            (
                1,
                8,
                Close,
                "the server closed the connection in the middle of a message, after 8 of 9 bytes, with 1 answered",
            ),
            (
                1,
                1,
                Reset,
                "the server reset the connection in the middle of a message, after 1 of 9 bytes, with 1 answered",
            ),
            (
                1,
                8,
                Silence,
                "the server sent nothing more in time in the middle of a message, after 8 of 9 bytes, with 1 answered",
            ),
        ] {
            // With a trace it can be seen that what was sent is read, before the reset.
            let (process, mut stream) = math_client(&["--timeout", "300ms", "--trace"]);
            for _ in 0..questions {
                stream.write_all(&QUESTION).unwrap();
                assert_eq!(read(&mut stream), [0, 0, 0, 42]);
            }
            stream.write_all(&SECRET[..bytes]).unwrap();
            if bytes > 0 {
                process.wait_for(&format!("{bytes} of 9 bytes so far"));
            }
            match end {
                Close => drop(stream),
                Reset => reset(stream),
                Silence => assert_eq!(read_all(&mut stream), b""),
            }
            let text = [text, if matches!(end, Silence) { waited } else { "" }].concat();
            let finished = process.finish();
            assert_eq!(finished.last_failure(1), text);
            assert_eq!(finished.stdout, b"");
        }
    }

    #[test]
    fn silence_is_measured_from_the_last_byte() {
        let (process, mut stream) = math_client(&["--timeout", "800ms"]);
        // Longer altogether, never so long in one piece.
        let start = Instant::now();
        for byte in [QUESTION, SECRET].as_flattened() {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(&[*byte]).unwrap();
        }
        assert!(start.elapsed() > Duration::from_millis(1700));
        assert_eq!(process.finish().success(), b"opensesm\n");
    }

    #[test]
    fn a_client_without_an_address_says_where_its_server_is() {
        for args in [&["math", "client"][..], &["math", "client", "--timeout", "none"]] {
            let finished = Program::socklab(args).run();
            assert_eq!(finished.success().len(), 9, "{finished:?}");
            let text = "no address given: a built-in math server runs on 127.0.0.1:";
            assert!(finished.stderr.starts_with(text), "{finished:?}");
            assert_eq!(finished.stderr.matches('\n').count(), 1, "{finished:?}");
        }
    }

    /// The questions of a session, the secret behind them.
    fn play(server: &Server) -> Vec<u8> {
        let mut stream = server.connect();
        let mut all = Vec::new();
        loop {
            let message: [u8; 9] = read(&mut stream);
            all.extend_from_slice(&message);
            if message[0] == b'S' {
                assert_eq!(read_all(&mut stream), b"");
                return all;
            }
            let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*message[at..].first_chunk().unwrap()));
            stream.write_all(&a.wrapping_add(b).to_be_bytes()).unwrap();
        }
    }

    #[test]
    fn a_seed_makes_a_run_repeatable() {
        let runs = ["7", "7", "8"].map(|seed| {
            let server = Server::start("math", &["--seed", seed, "--full-range"]);
            [play(&server), play(&server)]
        });
        assert_eq!(runs[0], runs[1]);
        assert_ne!(runs[0], runs[2]);
        assert_ne!(runs[0][0], runs[0][1], "every session asks the same");
        // Without a seed no two runs are alike.
        let runs = [(); 2].map(|()| play(&Server::start("math", &["--rounds", "20"])));
        assert_ne!(runs[0], runs[1]);
    }

    #[test]
    fn rounds_and_secret_are_as_told() {
        let server = Server::start("math", &["--rounds", "3", "--secret", "12345678"]);
        for _ in 0..5 {
            let all = play(&server);
            assert_eq!((all.len(), all.ends_with(b"S12345678")), (4 * 9, true));
        }
        let server = Server::start("math", &["--rounds", "0"]);
        assert_eq!(play(&server).len(), 9);
        let server = Server::start("math", &["--rounds", "2..=4", "--seed", "1"]);
        let mut seen = [0; 8];
        for _ in 0..60 {
            seen[play(&server).len() / 9 - 1] += 1;
        }
        assert!(seen[2..=4].iter().all(|n| *n > 5), "{seen:?}");
        assert_eq!(seen.iter().sum::<i32>(), seen[2..=4].iter().sum::<i32>(), "{seen:?}");
    }

    #[test]
    fn default_operands_have_a_sum_of_31_bits_and_rounds_are_5_to_20() {
        let server = Server::start("math", &["--seed", "3"]);
        let (mut fewest, mut most, mut largest) = (usize::MAX, 0, 0);
        for _ in 0..100 {
            let all = play(&server);
            let questions = &all[..all.len() - 9];
            (fewest, most) = (fewest.min(questions.len() / 9), most.max(questions.len() / 9));
            for question in questions.chunks(9) {
                let [a, b] =
                    [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
                largest = largest.max(u64::from(a) + u64::from(b));
            }
        }
        assert_eq!((fewest, most), (5, 20));
        assert!(largest < 1 << 31 && largest > 1 << 30, "{largest}");
    }

    #[test]
    fn a_wrong_answer_ends_it_at_once_without_a_secret() {
        let server = Server::start("math", &["--rounds", "5", "--secret", "12345678"]);
        let mut stream = server.connect();
        read::<9>(&mut stream);
        stream.write_all(&[0xff; 4]).unwrap();
        assert_eq!(read_all(&mut stream), b"");
        let line = server.process.wait_for("wrong answer");
        let peer = stream.local_addr().unwrap();
        let start = format!("{peer}: 0 of 1 answered, wrong answer 4294967295, expected ");
        assert!(line.starts_with(&start), "{line}");
    }

    #[test]
    fn answers_sent_early_are_a_stream_like_any() {
        let args = ["--rounds", "9", "--seed", "5", "--full-range"];
        let questions = play(&Server::start("math", &args));
        let server = Server::start("math", &args);
        let mut stream = server.connect();
        let mut answers = Vec::new();
        for question in questions[..81].chunks(9) {
            let [a, b] =
                [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
            answers.extend_from_slice(&a.wrapping_add(b).to_be_bytes());
        }
        // All before any question is read; and no more will come.
        stream.write_all(&answers).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut stream), questions);
        server.process.wait_for(": 9 of 9 answered, secret told");
    }

    #[test]
    fn the_server_names_every_ending_in_one_line() {
        let server = Server::start("math", &["--timeout", "1s"]);
        let mut count = 1;
        for (bytes, how, text) in [
            (0, "close", "0 of 1 answered, the client closed the connection between messages"),
            (
                3,
                "close",
                "the client closed the connection in the middle of a message, after 3 of 4",
            ),
            (0, "reset", "0 of 1 answered, the client reset the connection between messages"),
            (0, "silence", "0 of 1 answered, the client sent nothing more in time"),
            (2, "silence", "in time in the middle of a message, after 2 of 4 bytes"),
        ] {
            let mut stream = server.connect();
            let peer = stream.local_addr().unwrap();
            read::<9>(&mut stream);
            stream.write_all(&[0; 3][..bytes]).unwrap();
            match how {
                "close" => drop(stream),
                "reset" => reset(stream),
                _ => assert_eq!(read_all(&mut stream), b""),
            }
            count += 1;
            let log = server.process.wait_for_lines(count);
            let line = log.lines().last().unwrap_or_default();
            assert!(line.starts_with(&format!("{peer}: ")) && line.contains(text), "{log}");
        }
        assert_eq!(play(&server).last_chunk::<9>().map(|s| s[0]), Some(b'S'));
        assert_eq!(server.process.wait_for_lines(count + 1).lines().count(), count + 1);
    }
}

mod echo {
    use super::*;

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
            // Ten characters, not bytes; and what comes behind them need not be text.
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
    fn bytes_that_are_no_text_in_the_first_ten_characters_are_refused_by_the_server() {
        let server = Server::start("echo", &[]);
        for (stdin, text) in [
            (&b"abc\xffdefghijkl\n"[..], "byte 3 of a payload is 0xff, expected UTF-8"),
            (b"012345678\xc3\n", "a payload of 10 bytes ends in the middle of a character"),
        ] {
            let finished = server.client("echo", &[]).run_with(stdin);
            let line = finished.failure(1);
            assert!(line.starts_with("the server closed the connection"), "{line}");
            assert!(line.ends_with(", with 1 reply missing"), "{line}");
            server.process.wait_for(text);
        }
    }

    #[test]
    fn every_ending_has_its_name() {
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
            let waited =
                if matches!(end, Silence) { " (300ms; --timeout changes that)" } else { "" };
            assert_eq!(line, format!("the server {text}, with 1 reply missing{waited}"));
        }
    }

    #[test]
    fn a_person_who_takes_his_time_is_not_a_silent_server() {
        let (mut process, mut stream) = echo_client(&["--timeout", "200ms"]);
        // No condition to wait for: that nothing happens is the point.
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
    fn lengths_of_all_sizes_over_one_connection_and_any_read_size() {
        let server = Server::start("echo", &[]);
        for buffer in ["1", "4096", "65536"] {
            let (mut stdin, mut stdout) = (Vec::new(), Vec::new());
            for length in [0, 1, 9, 10, 11, 40, 4091, 4092, 4093, 65_531, 65_532, 200_000] {
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
    fn the_server_names_every_ending_in_one_line_and_loses_no_reply_before_it() {
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
            (
                &message(b"abc\xf0\x9f\xa6"),
                "server",
                b"",
                "a payload of 6 bytes ends in the middle",
            ),
        ] {
            let mut stream = server.connect();
            stream.write_all(bytes).unwrap();
            if end == "close" {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            let got = read_all(&mut stream);
            assert_eq!(
                got.escape_ascii().to_string(),
                replies.escape_ascii().to_string(),
                "{text}"
            );
            count += 1;
            let log = server.process.wait_for_lines(count);
            let line = log.lines().last().unwrap_or_default();
            let peer = stream.local_addr().unwrap();
            assert!(line.starts_with(&format!("{peer}: ")) && line.contains(text), "{text}: {log}");
        }
        // Behind a good message in one write: its reply comes first.
        let mut stream = server.connect();
        stream.write_all(&[&good, &message(b"\xff")[..]].concat()).unwrap();
        assert_eq!(read_all(&mut stream), message(b"good"));
        // A reset; the reply shows that the message was read before it.
        let mut stream = server.connect();
        stream.write_all(&[&good[..], b"\0\0"].concat()).unwrap();
        assert_eq!(read(&mut stream), *b"\0\0\0\x04good");
        reset(stream);
        server.process.wait_for("the client reset the connection");
        let log = server.process.wait_for_lines(count + 2);
        assert_eq!(log.lines().count(), count + 2, "{log}");
    }

    #[test]
    fn stdin_that_cannot_be_read() {
        let server = Server::start("echo", &[]);
        let folder = std::fs::File::open("/").unwrap();
        let finished = server.client("echo", &[]).stdin(folder).run();
        let line = finished.failure(3);
        assert!(line.starts_with("cannot read standard input: "), "{line}");
    }

    #[test]
    fn stdin_that_is_a_file_or_closed() {
        let server = Server::start("echo", &[]);
        let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
        let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let expected: String = text
            .unwrap()
            .lines()
            .map(|l| l.chars().skip(10).chain(['\n']).collect::<String>())
            .collect();
        let finished = server.client("echo", &[]).stdin(file).run();
        assert_eq!(String::from_utf8_lossy(finished.success()), expected);
        let args = ["echo", "client", &host, &port];
        let finished = Program::behind_shell(r#"exec "$@" <&-"#, &args).run();
        assert_eq!(finished.success(), b"");
    }
}
