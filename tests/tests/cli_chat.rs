//! `socklab chat` as a person meets it: in a terminal, key by key, and from a pipe. The other side
//! is the test itself, or ours.

mod screen;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use screen::Screen;
use socket2::SockRef;
use socklab_tests::program::{
    DEADLINE, FakeServer, Finished, Process, Program, Server, client, read_all, reset, wait_until,
    without_quote,
};

/// What is dangerous on a terminal, and harmless in a pipe.
const NASTY: &str = "\u{1b}[31m\u{202e}evil\u{9b}2J\u{7}";
const SAFE: &str = "\\x1b[31m\\u{202e}evil\\u{9b}2J\\x07";

/// The next line from the other side.
fn hears(stream: &TcpStream) -> String {
    let mut line = Vec::new();
    // A byte at a time: nothing is to be kept in a buffer that is dropped.
    BufReader::with_capacity(1, stream).read_until(b'\n', &mut line).expect("a line");
    String::from_utf8_lossy(&line).into_owned()
}

fn says(mut stream: &TcpStream, line: &str) {
    stream.write_all(format!("{line}\n").as_bytes()).expect("the other side listens");
}

mod at_a_terminal {
    use super::*;

    /// A client in a terminal, and its server in the hands of the test.
    struct Talk {
        screen: Screen,
        process: Process,
        stream: TcpStream,
        intro: String,
    }

    impl Talk {
        fn start(args: &[&str]) -> Self {
            Self::start_with(args, |program| program)
        }

        fn start_with(args: &[&str], with: impl FnOnce(Program) -> Program) -> Self {
            let (screen, played) = (Screen::new(80), FakeServer::new());
            let port = played.addr.port().to_string();
            let program = screen.program(&[&["chat", "client", "127.0.0.1", &port], args].concat());
            let process = with(program).start();
            let stream = played.accept();
            // From here on keys are its own.
            screen.line(if args.contains(&"--duplex") {
                "you: "
            } else {
                "(waiting for the other"
            });
            let intro = format!(
                "connected to {}; the word BYE or Ctrl-D ends the conversation",
                played.addr
            );
            Self { screen, process, stream, intro }
        }

        /// Waits until this stands below the introduction.
        #[track_caller]
        fn shows(&self, lines: &[&str]) {
            self.screen.shows(&[&[self.intro.as_str()], lines].concat());
        }

        /// Waits until it has ended, and the terminal is as it was.
        #[track_caller]
        fn ends(self, code: Option<i32>, lines: &[&str]) {
            // It closes when we do.
            drop(self.stream);
            let finished = self.process.finish_with_stdin_open();
            assert_eq!(finished.code, code, "{finished:?}");
            self.screen.is_restored();
            self.screen.shows(&[&[self.intro.as_str()], lines, &[""]].concat());
        }
    }

    #[test]
    fn a_line_that_comes_does_not_mix_with_one_that_is_typed() {
        let talk = Talk::start(&["--duplex"]);
        talk.shows(&["you: "]);
        talk.screen.types("half a l");
        talk.shows(&["you: half a l"]);
        says(&talk.stream, "an interruption");
        says(&talk.stream, NASTY);
        talk.shows(&["an interruption", SAFE, "you: half a l"]);
        talk.screen.types("ine\r");
        talk.shows(&["an interruption", SAFE, "you: half a line", "you: "]);
        assert_eq!(hears(&talk.stream), "half a line\n");
        says(&talk.stream, "bye");
        let bye = format!("{} said BYE", talk.stream.local_addr().unwrap());
        talk.ends(Some(0), &["an interruption", SAFE, "you: half a line", "bye", &bye]);
    }

    #[test]
    fn keys_edit_the_line_and_print_nothing() {
        let talk = Talk::start(&[]);
        says(&talk.stream, "hello");
        talk.shows(&["hello", "you: "]);
        talk.screen.types("\x1b[A\x1bOPwrld\x1b[D\x1b[D\x1b[Do");
        let (intro, line) = (talk.intro.clone(), "you: world");
        talk.screen.shows_with_cursor(&[&intro, "hello", line], 3);
        talk.screen.types("\x01hello \x05!\x1b[5~\r");
        assert_eq!(hears(&talk.stream), "hello world!\n");
        says(&talk.stream, "and?");
        talk.shows(&["hello", "you: hello world!", "and?", "you: "]);
        // The history.
        talk.screen.types("\x1b[A\x7f?\r");
        assert_eq!(hears(&talk.stream), "hello world?\n");
        talk.shows(&[
            "hello",
            "you: hello world!",
            "and?",
            "you: hello world?",
            "(waiting for the other side) ",
        ]);
        drop(talk.stream);
        assert_eq!(talk.process.finish_with_stdin_open().code, Some(1));
    }

    #[test]
    fn what_is_typed_ahead_waits_and_is_shown_when_it_is_said() {
        let talk = Talk::start(&[]);
        talk.shows(&["(waiting for the other side) "]);
        // Pasted, with keys in it that are none there.
        talk.screen.types("\x1b[200~one\x04\x15\rtwo\r\x1b[201~thr\u{e9}");
        talk.shows(&["(waiting for the other side, 2 lines typed ahead) thr\u{e9}"]);
        says(&talk.stream, "first");
        assert_eq!(hears(&talk.stream), "one\n");
        let row = "(waiting for the other side, 1 line typed ahead) thr\u{e9}";
        talk.shows(&["first", "you: one", row]);
        says(&talk.stream, "second");
        assert_eq!(hears(&talk.stream), "two\n");
        says(&talk.stream, "third");
        let lines = ["first", "you: one", "second", "you: two", "third", "you: thr\u{e9}"];
        talk.shows(&lines);
        talk.screen.types("e\r");
        assert_eq!(hears(&talk.stream), "thr\u{e9}e\n");
        talk.screen.types("never said\r");
        let lines = [
            &lines[..5],
            &["you: thr\u{e9}e", "(waiting for the other side, 1 line typed ahead) "],
        ]
        .concat();
        talk.shows(&lines);
        says(&talk.stream, "bye");
        let bye = format!("{} said BYE", talk.stream.local_addr().unwrap());
        let lines = [&lines[..6], &["bye", &bye, "1 line typed ahead was not sent"]].concat();
        talk.ends(Some(0), &lines);
    }

    #[test]
    fn ctrl_d_and_ctrl_c_say_bye_in_our_turn() {
        // Ctrl-D deletes while there is something; Ctrl-C does not look at it.
        for keys in ["\x04", "ab\x01\x04\x04\x04", "half a li\x03", "\x03"] {
            let talk = Talk::start(&[]);
            says(&talk.stream, "hello");
            talk.shows(&["hello", "you: "]);
            talk.screen.types(keys);
            assert_eq!(hears(&talk.stream), "BYE\n", "{keys:?}");
            let said = format!("you said BYE to {}", talk.stream.local_addr().unwrap());
            if keys.ends_with('\x03') {
                talk.ends(Some(130), &["hello", &said, "socklab: interrupted"]);
            } else {
                talk.ends(Some(0), &["hello", &said]);
            }
        }
    }

    #[test]
    fn ctrl_d_waits_for_our_turn_and_ctrl_c_does_not() {
        let talk = Talk::start(&[]);
        talk.screen.types("last words\r\x04");
        talk.shows(&["(waiting for the other side, 1 line typed ahead) "]);
        says(&talk.stream, "hello");
        assert_eq!(hears(&talk.stream), "last words\n");
        says(&talk.stream, "what?");
        assert_eq!(hears(&talk.stream), "BYE\n");
        let said = format!("you said BYE to {}", talk.stream.local_addr().unwrap());
        talk.ends(Some(0), &["hello", "you: last words", "what?", &said]);

        let talk = Talk::start(&[]);
        talk.shows(&["(waiting for the other side) "]);
        talk.screen.types("half\x03");
        assert_eq!(hears(&talk.stream), "", "it closes, and says nothing out of turn");
        talk.ends(Some(130), &["socklab: interrupted"]);
    }

    #[test]
    fn a_terminal_is_given_back_whatever_ends_the_program() {
        // In our turn and with a line half typed.
        let typing = || {
            let talk = Talk::start(&[]);
            says(&talk.stream, "hello");
            talk.screen.types("half");
            talk.shows(&["hello", "you: half"]);
            talk
        };
        let talk = typing();
        talk.process.signal("TERM");
        assert_eq!(hears(&talk.stream), "BYE\n");
        let said = format!("you said BYE to {}", talk.stream.local_addr().unwrap());
        talk.ends(Some(130), &["hello", &said, "socklab: interrupted"]);
        // These end it at once.
        for signal in ["HUP", "QUIT"] {
            let talk = typing();
            talk.process.signal(signal);
            let finished = talk.process.finish_with_stdin_open();
            assert_eq!(finished.code, None, "{finished:?}");
            talk.screen.is_restored();
            talk.screen.shows(&[&talk.intro, "hello", ""]);
        }
        let talk = typing();
        reset(talk.stream);
        let finished = talk.process.finish_with_stdin_open();
        assert_eq!(finished.code, Some(1));
        talk.screen.is_restored();
        talk.screen.shows(&[
            &talk.intro,
            "hello",
            "socklab: the other side reset the connection before the end of the conversation; its program was stopped, \
             or the network failed",
            "",
        ]);
    }

    #[test]
    fn one_who_leaves_in_our_turn_is_noticed_at_once() {
        let talk = Talk::start(&[]);
        says(&talk.stream, "hello");
        talk.shows(&["hello", "you: "]);
        talk.stream.shutdown(Shutdown::Write).unwrap();
        talk.ends(
            Some(1),
            &[
                "hello",
                "socklab: the other side closed the connection before the end of the conversation",
            ],
        );
    }

    #[test]
    fn a_stop_gives_the_terminal_back_and_a_continue_takes_it_again() {
        let talk = Talk::start(&["--duplex"]);
        talk.screen.types("half");
        talk.shows(&["you: half"]);
        talk.screen.types("\x1a");
        talk.shows(&[""]);
        talk.screen.is_restored();
        // One that comes before the stop does nothing.
        let goes_on = || {
            talk.process.signal("CONT");
            talk.screen.has("you: half").then_some(())
        };
        assert_eq!(wait_until(DEADLINE, goes_on), Some(()));
        talk.shows(&["you: half"]);
        talk.screen.types("\r");
        assert_eq!(hears(&talk.stream), "half\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_not_sent() {
        let talk = Talk::start(&["--duplex"]);
        talk.shows(&["you: "]);
        talk.screen.types("x".repeat(1025) + "\r");
        let told = "not sent: the line has 1025 bytes, at most 1024 are allowed; press arrow up to edit it";
        talk.shows(&[told, "you: "]);
        talk.screen.types("\x1b[A\x7f\r");
        assert_eq!(hears(&talk.stream), "x".repeat(1024) + "\n");
    }

    #[test]
    fn a_long_line_scrolls_in_its_row_and_a_resize_draws_it_anew() {
        let talk = Talk::start(&["--duplex"]);
        talk.shows(&["you: "]);
        let digits = "0123456789".repeat(9);
        talk.screen.types(&digits);
        // 79 columns, five of them the prompt's.
        talk.shows(&[&format!("you: {}", &digits[16..])]);
        talk.screen.types("\x01");
        let row = format!("you: {}", &digits[..74]);
        talk.screen.shows_with_cursor(&[&talk.intro, &row], 74);
        talk.screen.resize(100);
        let row = format!("you: {digits}");
        talk.screen.shows_with_cursor(&[&talk.intro, &row], 90);
        says(&talk.stream, "hello");
        talk.screen.shows_with_cursor(&[&talk.intro, "hello", &row], 90);
    }

    #[test]
    fn results_go_to_stdout_and_the_rest_to_the_terminal() {
        for args in [&[][..], &["--json"]] {
            let mut stdout = None;
            let talk = Talk::start_with(args, |program| {
                let (reader, writer) = std::io::pipe().unwrap();
                stdout = Some(reader);
                program.stdout(writer)
            });
            says(&talk.stream, "hello");
            talk.screen.types("half");
            talk.shows(&["you: half"]);
            talk.screen.types("\r");
            assert_eq!(hears(&talk.stream), "half\n");
            says(&talk.stream, "bye");
            let bye = format!("{} said BYE", talk.stream.local_addr().unwrap());
            let peer = talk.stream.local_addr().unwrap();
            talk.ends(Some(0), &["you: half", &bye]);
            let mut text = String::new();
            stdout.unwrap().read_to_string(&mut text).unwrap();
            if args.is_empty() {
                assert_eq!(text, "hello\nbye\n");
            } else {
                let events = [
                    format!(r#"{{"event":"connected","peer":"{peer}"}}"#),
                    r#"{"event":"heard","text":"hello","bye":false}"#.into(),
                    r#"{"event":"said","text":"half","bye":false}"#.into(),
                    r#"{"event":"heard","text":"bye","bye":true}"#.into(),
                ];
                assert_eq!(text, events.join("\n") + "\n");
            }
        }
    }

    #[test]
    fn with_stderr_in_a_file_the_terminal_is_still_drawn_on() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let talk = Talk::start_with(&[], |program| program.stderr(writer));
        says(&talk.stream, "hello");
        talk.screen.types("half");
        talk.screen.shows(&["hello", "you: half"]);
        talk.screen.types("\r");
        assert_eq!(hears(&talk.stream), "half\n");
    }

    #[test]
    fn a_server_waits_for_clients_and_talks_to_one_at_a_time() {
        let screen = Screen::new(80);
        let process = screen.program(&["chat", "server", "0", "--forever"]).start();
        let listening = || {
            let line = screen.line("listening on ");
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let addr = listening();
        screen.shows(&[&format!("listening on {addr}"), "(waiting for a client) "]);
        let connect = || {
            let stream = TcpStream::connect(&addr).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream
        };
        let (one, two) = (connect(), connect());
        screen.types("hello one\r");
        assert_eq!(hears(&one), "hello one\n");
        // Not what was typed before.
        screen.line("(waiting for the other side)");
        screen.types("for one\r");
        screen.line("1 line typed ahead");
        says(&one, "bye");
        assert_eq!(hears(&one), "");
        drop(one);
        screen.line(&format!("connected to {}", two.local_addr().unwrap()));
        screen.types("hello two\r");
        assert_eq!(hears(&two), "hello two\n", "what was typed for one is not for two");
        says(&two, "well");
        screen.types("\x04");
        assert_eq!(hears(&two), "BYE\n");
        drop(two);
        assert_eq!(process.finish_with_stdin_open().code, Some(0), "nothing more is to be said");
        screen.is_restored();
    }

    #[test]
    fn a_server_that_waits_for_a_client_can_be_stopped() {
        for keys in ["\x03", "\x04"] {
            let screen = Screen::new(80);
            let process = screen.program(&["chat", "server", "0"]).start();
            screen.line("(waiting for a client)");
            screen.types(keys);
            assert_eq!(process.finish_with_stdin_open().code, Some(0));
            screen.is_restored();
        }
    }
}

mod from_a_pipe {
    use super::*;

    #[test]
    fn without_an_address_there_is_a_bot() {
        let finished = Program::socklab(&["chat", "client"]).run_with("hello\nwho are you?\nbye\n");
        assert_eq!(
            String::from_utf8_lossy(finished.success()),
            "Hello! I am the bot of socklab. Tell me something, or ask.\nI see. Tell me more.\n\
             I am a very small bot and do not know.\n"
        );
        assert_eq!(finished.stderr.matches('\n').count(), 1, "{finished:?}");
        assert!(finished.stderr.starts_with("no address given: a built-in chat server runs on"));
        let duplex = Program::socklab(&["chat", "client", "--duplex"]).run_with("bye\n");
        duplex.success();
    }

    #[test]
    fn each_line_is_said_in_its_turn_and_the_end_is_a_bye() {
        let server = Program::socklab(&["chat", "server", "0"]).with_stdin().start();
        let line = server.wait_for("listening on ");
        let addr = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut server = server;
        server.feed("one\n\nthree");
        let finished = client("chat", addr, &[]).run_with("a\nb\nc\nd\n");
        assert_eq!(finished.success(), b"one\n\nthree\nBYE\n");
        assert_eq!(finished.stderr, "");
        let server = server.finish();
        assert_eq!(server.success(), b"a\nb\nc\n");
        assert_eq!(server.stderr, line + "\n");
    }

    #[test]
    fn in_duplex_all_of_it_is_said_at_once() {
        let played = FakeServer::new();
        let mut process = client("chat", played.addr, &["--duplex"]).with_stdin().start();
        let stream = played.accept();
        let lines: String = (0..5000).map(|n| format!("line {n} {}\n", "x".repeat(900))).collect();
        // More than all the buffers hold: it has to be read by one who does not listen, so that it
        // goes on hearing while it cannot say any more.
        process.feed(lines.clone());
        for n in 0..2000 {
            says(&stream, &format!("{n}"));
        }
        process.wait_for_stdout("1999");
        let mut heard = vec![0; lines.len()];
        (&stream).read_exact(&mut heard).unwrap();
        assert!(heard == lines.as_bytes());
        assert_eq!(hears(&stream), "BYE\n");
        drop(stream);
        let finished = process.finish();
        assert_eq!(finished.success().iter().filter(|b| **b == b'\n').count(), 2000);
    }

    #[test]
    fn the_last_words_arrive_although_more_was_said_than_is_heard() {
        let mut server =
            Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
        let mut stream = server.connect();
        // More than fits where nobody reads: a close that leaves it there would be a reset, and this
        // would fail before the last words are read.
        SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        server.process.feed("one\n");
        stream.write_all(&b"said early\n".repeat(40_000)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.process.finish().success(), b"said early\n");
        assert_eq!(read_all(&mut stream), b"one\nBYE\n");
    }

    #[test]
    fn nasty_text_goes_into_a_pipe_as_it_is() {
        let played = FakeServer::new();
        let process = client("chat", played.addr, &[]).start();
        let stream = played.accept();
        says(&stream, &format!("{NASTY} bye"));
        drop(stream);
        assert_eq!(process.finish().success(), format!("{NASTY} bye\n").as_bytes());
    }

    #[test]
    fn every_ending_has_its_code_and_sentence() {
        let ended = |by: fn(TcpStream), args: &[&str]| -> Finished {
            let played = FakeServer::new();
            let process = client("chat", played.addr, args).with_stdin().start();
            by(played.accept());
            process.finish_with_stdin_open()
        };
        assert_eq!(
            ended(drop, &[]).failure(1),
            "the other side closed the connection before the end of the conversation"
        );
        assert!(ended(reset, &[]).failure(1).starts_with("the other side reset the connection"));
        let half = ended(|mut stream| stream.write_all(b"hal").unwrap(), &[]);
        assert_eq!(
            half.failure(1),
            "the other side closed the connection in the middle of a message, after 3 bytes; \
             last received: \"hal\" without a newline"
        );
        // A line without end: as much as takes no memory is read.
        let endless = ended(
            |mut stream| {
                let _ = stream.write_all(&vec![b'x'; 1 << 20]);
            },
            &[],
        );
        assert_eq!(
            without_quote(endless.failure(1)),
            "the other side broke the protocol: a line is too long, its first 1025 bytes have no newline"
        );
        let silent = ended(
            |stream| {
                read_all(&mut { stream });
            },
            &["--timeout", "300ms"],
        );
        assert_eq!(
            silent.failure(1),
            "the other side sent nothing in time (300ms; --timeout changes that)"
        );
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        for (input, code, text) in [
            (
                [b"one\n", vec![b'x'; 1025].as_slice()].concat(),
                3,
                "cannot read standard input: line 2 has more than 1024 bytes",
            ),
            (b"one\r\r\n".to_vec(), 2, "a line of standard input ends with a carriage return"),
        ] {
            let finished = Program::socklab(&["chat", "client"]).run_with(input);
            let line = finished.last_failure(code);
            assert!(line.starts_with(text), "{line}");
        }
    }

    #[test]
    fn signals_end_it_with_the_right_message() {
        // In our turn BYE is said, in the other one's nothing.
        for signal in ["INT", "TERM"] {
            let played = FakeServer::new();
            let process = client("chat", played.addr, &[]).with_stdin().start();
            let stream = played.accept();
            says(&stream, "hello");
            process.wait_for_stdout("hello");
            process.signal(signal);
            assert_eq!(hears(&stream), "BYE\n");
            drop(stream);
            let finished = process.finish_with_stdin_open();
            assert_eq!(
                (finished.failure(130), &finished.stdout[..]),
                ("interrupted", &b"hello\n"[..])
            );
        }
        let server = Program::socklab(&["chat", "server", "0"]).with_stdin().start();
        server.wait_for("listening on ");
        server.signal("TERM");
        let server = server.finish_with_stdin_open();
        assert_eq!(server.success(), b"");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_peer_that_reads_nothing_does_not_hold_who_is_interrupted() {
        // Once the client sleeps, with so much to say, there is no room, and no BYE can be said either.
        let played = FakeServer::new();
        let mut process = client("chat", played.addr, &["--duplex"]).with_stdin().start();
        let stream = played.accept();
        process.feed(b"a line of some length that nobody reads\n".repeat(1 << 19));
        let mut last = (process.cpu(), std::time::Instant::now());
        wait_until(DEADLINE, || {
            let cpu = process.cpu();
            if cpu != last.0 {
                last = (cpu, std::time::Instant::now());
            }
            (last.1.elapsed() > std::time::Duration::from_millis(500)).then_some(())
        })
        .expect("it goes on for ever");
        process.signal("TERM");
        assert_eq!(process.finish_with_stdin_open().failure(130), "interrupted");
        drop(stream);
    }

    #[test]
    fn a_server_goes_on_with_forever_and_says_what_went_wrong() {
        let mut server = Server::from_program(
            Program::socklab(&["chat", "server", "0", "--forever"]).with_stdin(),
        );
        let stream = server.connect();
        let gone = stream.local_addr().unwrap();
        drop(stream);
        let line =
            server.process.wait_for("closed the connection before the end of the conversation");
        assert_eq!(
            line,
            format!(
                "{gone}: the other side closed the connection before the end of the conversation"
            )
        );
        let stream = server.connect();
        server.process.stdin().write_all(b"still here\n").unwrap();
        assert_eq!(hears(&stream), "still here\n");
        server.process.signal("INT");
        assert_eq!(hears(&stream), "", "it is not its turn");
        drop(stream);
        let finished = server.process.finish_with_stdin_open();
        assert_eq!(finished.success(), b"");
    }
}
