//! `socklab chat` as a user meets it: in a terminal, key by key, and with a pipe. The test plays
//! the other side, or our program does.

mod screen;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use screen::Screen;
use socket2::SockRef;
use socklab_tests::program::{
    DEADLINE, FakeServer, Finished, NOTICES_RESETS, Process, Program, SIGNALS, STOP, Server,
    client, read_all, reset, wait_until, without_quote,
};

/// Text that would control a terminal. It is harmless in a pipe.
const NASTY: &str = "\u{1b}[31m\u{202e}evil\u{9b}2J\u{7}";
const SAFE: &str = "\\x1b[31m\\u{202e}evil\\u{9b}2J\\x07";

/// Reads the next line from the other side.
fn read_line(stream: &TcpStream) -> String {
    let mut line = Vec::new();
    // One byte at a time, because bytes in the dropped buffer would be lost.
    BufReader::with_capacity(1, stream).read_until(b'\n', &mut line).expect("a line");
    String::from_utf8_lossy(&line).into_owned()
}

fn send_line(mut stream: &TcpStream, line: &str) {
    stream.write_all(format!("{line}\n").as_bytes()).expect("the other side listens");
}

mod at_a_terminal {
    use super::*;

    /// A client in a terminal. The test plays its server.
    struct Conversation {
        screen: Screen,
        process: Process,
        stream: TcpStream,
        intro: String,
    }

    impl Conversation {
        fn start(args: &[&str]) -> Self {
            Self::start_with(args, |program| program)
        }

        fn start_with(args: &[&str], with: impl FnOnce(Program) -> Program) -> Self {
            let (screen, fake) = (Screen::new(80), FakeServer::new());
            let port = fake.addr.port().to_string();
            let program = screen.program(&[&["chat", "client", "127.0.0.1", &port], args].concat());
            let process = with(program).start();
            let stream = fake.accept();
            // From here on the client handles keys itself.
            screen.line(if args.contains(&"--duplex") {
                "you: "
            } else {
                "(waiting for the other"
            });
            let intro = format!("connected to {}; BYE or Ctrl-D ends the conversation", fake.addr);
            Self { screen, process, stream, intro }
        }

        /// Waits until these lines are shown below the introduction.
        #[track_caller]
        fn shows(&self, lines: &[&str]) {
            self.screen.shows(&[&[self.intro.as_str()], lines].concat());
        }

        /// Waits for the end and checks that the terminal is restored.
        #[track_caller]
        fn ends(self, code: Option<i32>, lines: &[&str]) {
            // The client closes when the server does.
            drop(self.stream);
            let finished = self.process.finish_with_stdin_open();
            assert_eq!(finished.code, code, "{finished:?}");
            self.screen.is_restored();
            self.screen.shows(&[&[self.intro.as_str()], lines, &[""]].concat());
        }
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_received_line_does_not_mix_with_a_typed_one() {
        let chat = Conversation::start(&["--duplex"]);
        chat.shows(&["you: "]);
        chat.screen.types("half a l");
        chat.shows(&["you: half a l"]);
        send_line(&chat.stream, "an interruption");
        send_line(&chat.stream, NASTY);
        chat.shows(&["an interruption", SAFE, "you: half a l"]);
        chat.screen.types("ine\r");
        chat.shows(&["an interruption", SAFE, "you: half a line", "you: "]);
        assert_eq!(read_line(&chat.stream), "half a line\n");
        send_line(&chat.stream, "bye");
        let bye = format!("{} said BYE", chat.stream.local_addr().unwrap());
        chat.ends(Some(0), &["an interruption", SAFE, "you: half a line", "bye", &bye]);
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn editing_keys_change_the_line_and_are_not_printed() {
        let chat = Conversation::start(&[]);
        send_line(&chat.stream, "hello");
        chat.shows(&["hello", "you: "]);
        chat.screen.types("\x1b[A\x1bOPwrld\x1b[D\x1b[D\x1b[Do");
        let (intro, line) = (chat.intro.clone(), "you: world");
        chat.screen.shows_with_cursor(&[&intro, "hello", line], 3);
        chat.screen.types("\x01hello \x05!\x1b[5~\r");
        assert_eq!(read_line(&chat.stream), "hello world!\n");
        send_line(&chat.stream, "and?");
        chat.shows(&["hello", "you: hello world!", "and?", "you: "]);
        // The previous line from the history.
        chat.screen.types("\x1b[A\x7f?\r");
        assert_eq!(read_line(&chat.stream), "hello world?\n");
        chat.shows(&[
            "hello",
            "you: hello world!",
            "and?",
            "you: hello world?",
            "(waiting for the other side) ",
        ]);
        drop(chat.stream);
        assert_eq!(chat.process.finish_with_stdin_open().code, Some(1));
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn lines_typed_ahead_wait_and_are_shown_when_they_are_sent() {
        let chat = Conversation::start(&[]);
        chat.shows(&["(waiting for the other side) "]);
        // A paste that contains keys. They must not act as keys.
        chat.screen.types("\x1b[200~one\x04\x15\rtwo\r\x1b[201~thr\u{e9}");
        chat.shows(&["(waiting for the other side, 2 lines typed ahead) thr\u{e9}"]);
        send_line(&chat.stream, "first");
        assert_eq!(read_line(&chat.stream), "one\n");
        let row = "(waiting for the other side, 1 line typed ahead) thr\u{e9}";
        chat.shows(&["first", "you: one", row]);
        send_line(&chat.stream, "second");
        assert_eq!(read_line(&chat.stream), "two\n");
        send_line(&chat.stream, "third");
        let lines = ["first", "you: one", "second", "you: two", "third", "you: thr\u{e9}"];
        chat.shows(&lines);
        chat.screen.types("e\r");
        assert_eq!(read_line(&chat.stream), "thr\u{e9}e\n");
        chat.screen.types("never said\r");
        let lines = [
            &lines[..5],
            &["you: thr\u{e9}e", "(waiting for the other side, 1 line typed ahead) "],
        ]
        .concat();
        chat.shows(&lines);
        send_line(&chat.stream, "bye");
        let bye = format!("{} said BYE", chat.stream.local_addr().unwrap());
        let lines = [&lines[..6], &["bye", &bye, "1 line typed ahead was not sent"]].concat();
        chat.ends(Some(0), &lines);
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn ctrl_d_and_ctrl_c_send_bye_in_our_turn() {
        // Ctrl-D deletes a character if there is one. Ctrl-C always interrupts.
        for keys in ["\x04", "ab\x01\x04\x04\x04", "half a li\x03", "\x03"] {
            let chat = Conversation::start(&[]);
            send_line(&chat.stream, "hello");
            chat.shows(&["hello", "you: "]);
            chat.screen.types(keys);
            assert_eq!(read_line(&chat.stream), "BYE\n", "{keys:?}");
            let sent_bye = format!("you said BYE to {}", chat.stream.local_addr().unwrap());
            if keys.ends_with('\x03') {
                chat.ends(Some(130), &["hello", &sent_bye, "socklab: interrupted"]);
            } else {
                chat.ends(Some(0), &["hello", &sent_bye]);
            }
        }
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn ctrl_d_waits_for_our_turn_and_ctrl_c_does_not() {
        let chat = Conversation::start(&[]);
        chat.screen.types("last words\r\x04");
        chat.shows(&["(waiting for the other side, 1 line typed ahead) "]);
        send_line(&chat.stream, "hello");
        assert_eq!(read_line(&chat.stream), "last words\n");
        send_line(&chat.stream, "what?");
        assert_eq!(read_line(&chat.stream), "BYE\n");
        let sent_bye = format!("you said BYE to {}", chat.stream.local_addr().unwrap());
        chat.ends(Some(0), &["hello", "you: last words", "what?", &sent_bye]);

        let chat = Conversation::start(&[]);
        chat.shows(&["(waiting for the other side) "]);
        chat.screen.types("half\x03");
        assert_eq!(read_line(&chat.stream), "", "it must close and send nothing out of turn");
        chat.ends(Some(130), &["socklab: interrupted"]);
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn the_terminal_is_restored_however_the_program_ends() {
        // In our turn, with a line half typed.
        let typing = || {
            let chat = Conversation::start(&[]);
            send_line(&chat.stream, "hello");
            chat.screen.types("half");
            chat.shows(&["hello", "you: half"]);
            chat
        };
        let chat = typing();
        chat.process.signal(STOP);
        assert_eq!(read_line(&chat.stream), "BYE\n");
        let sent_bye = format!("you said BYE to {}", chat.stream.local_addr().unwrap());
        chat.ends(Some(130), &["hello", &sent_bye, "socklab: interrupted"]);
        // These signals end it at once.
        for signal in ["HUP", "QUIT"] {
            let chat = typing();
            chat.process.signal(signal);
            let finished = chat.process.finish_with_stdin_open();
            assert_eq!(finished.code, None, "{finished:?}");
            chat.screen.is_restored();
            chat.screen.shows(&[&chat.intro, "hello", ""]);
        }
        let chat = typing();
        reset(chat.stream);
        let finished = chat.process.finish_with_stdin_open();
        assert_eq!(finished.code, Some(1));
        chat.screen.is_restored();
        chat.screen.shows(&[
            &chat.intro,
            "hello",
            "socklab: the other side reset the connection before the end of the conversation; its program was stopped, \
             or the network failed",
            "",
        ]);
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_close_in_our_turn_is_noticed_at_once() {
        let chat = Conversation::start(&[]);
        send_line(&chat.stream, "hello");
        chat.shows(&["hello", "you: "]);
        chat.stream.shutdown(Shutdown::Write).unwrap();
        chat.ends(
            Some(1),
            &[
                "hello",
                "socklab: the other side closed the connection before the end of the conversation",
            ],
        );
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_stop_restores_the_terminal_and_a_continue_takes_it_again() {
        let chat = Conversation::start(&["--duplex"]);
        chat.screen.types("half");
        chat.shows(&["you: half"]);
        chat.screen.types("\x1a");
        chat.shows(&[""]);
        chat.screen.is_restored();
        // A continue that arrives before the stop has no effect.
        let continues = || {
            chat.process.signal("CONT");
            chat.screen.has("you: half").then_some(())
        };
        assert_eq!(wait_until(DEADLINE, continues), Some(()));
        chat.shows(&["you: half"]);
        chat.screen.types("\r");
        assert_eq!(read_line(&chat.stream), "half\n");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_line_that_is_too_long_is_reported_and_not_sent() {
        let chat = Conversation::start(&["--duplex"]);
        chat.shows(&["you: "]);
        chat.screen.types("x".repeat(1025) + "\r");
        let notice = "not sent: the line has 1025 bytes, at most 1024 are allowed; press arrow up to edit it";
        chat.shows(&[notice, "you: "]);
        chat.screen.types("\x1b[A\x7f\r");
        assert_eq!(read_line(&chat.stream), "x".repeat(1024) + "\n");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_long_line_scrolls_in_its_row_and_a_resize_redraws_it() {
        let chat = Conversation::start(&["--duplex"]);
        chat.shows(&["you: "]);
        let digits = "0123456789".repeat(9);
        chat.screen.types(&digits);
        // 79 columns, five of them for the prompt.
        chat.shows(&[&format!("you: {}", &digits[16..])]);
        chat.screen.types("\x01");
        let row = format!("you: {}", &digits[..74]);
        chat.screen.shows_with_cursor(&[&chat.intro, &row], 74);
        chat.screen.resize(100);
        let row = format!("you: {digits}");
        chat.screen.shows_with_cursor(&[&chat.intro, &row], 90);
        send_line(&chat.stream, "hello");
        chat.screen.shows_with_cursor(&[&chat.intro, "hello", &row], 90);
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn results_are_written_to_stdout_and_the_rest_to_the_terminal() {
        for args in [&[][..], &["--json"]] {
            let mut stdout = None;
            let chat = Conversation::start_with(args, |program| {
                let (reader, writer) = std::io::pipe().unwrap();
                stdout = Some(reader);
                program.stdout(writer)
            });
            send_line(&chat.stream, "hello");
            chat.screen.types("half");
            chat.shows(&["you: half"]);
            chat.screen.types("\r");
            assert_eq!(read_line(&chat.stream), "half\n");
            send_line(&chat.stream, "bye");
            let bye = format!("{} said BYE", chat.stream.local_addr().unwrap());
            let peer = chat.stream.local_addr().unwrap();
            chat.ends(Some(0), &["you: half", &bye]);
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
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn the_terminal_is_used_even_if_stderr_is_redirected() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let chat = Conversation::start_with(&[], |program| program.stderr(writer));
        send_line(&chat.stream, "hello");
        chat.screen.types("half");
        chat.screen.shows(&["hello", "you: half"]);
        chat.screen.types("\r");
        assert_eq!(read_line(&chat.stream), "half\n");
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
    fn a_server_talks_to_one_client_at_a_time() {
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
        assert_eq!(read_line(&one), "hello one\n");
        // Lines typed for the first client must not be sent to the second.
        screen.line("(waiting for the other side)");
        screen.types("for one\r");
        screen.line("1 line typed ahead");
        send_line(&one, "bye");
        assert_eq!(read_line(&one), "");
        drop(one);
        screen.line(&format!("connected to {}", two.local_addr().unwrap()));
        screen.types("hello two\r");
        assert_eq!(
            read_line(&two),
            "hello two\n",
            "lines typed for the first client must not be sent to the second"
        );
        send_line(&two, "well");
        screen.types("\x04");
        assert_eq!(read_line(&two), "BYE\n");
        drop(two);
        assert_eq!(process.finish_with_stdin_open().code, Some(0), "the input has ended");
        screen.is_restored();
    }

    #[test]
    #[cfg_attr(
        feature = "windows",
        ignore = "Wine: its console drops arrow keys and draws escape sequences"
    )]
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
    fn without_an_address_the_client_talks_to_a_bot() {
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
    fn each_line_is_sent_in_its_turn_and_the_end_of_input_sends_bye() {
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
    fn in_duplex_mode_all_lines_are_sent_at_once() {
        let fake = FakeServer::new();
        let mut process = client("chat", fake.addr, &["--duplex"]).with_stdin().start();
        let stream = fake.accept();
        let lines: String = (0..5000).map(|n| format!("line {n} {}\n", "x".repeat(900))).collect();
        // More than all buffers hold. The peer reads nothing until later, so the client must keep
        // receiving while it cannot send.
        process.feed(lines.clone());
        for n in 0..2000 {
            send_line(&stream, &format!("{n}"));
        }
        process.wait_for_stdout("1999");
        let mut received = vec![0; lines.len()];
        (&stream).read_exact(&mut received).unwrap();
        assert!(received == lines.as_bytes());
        assert_eq!(read_line(&stream), "BYE\n");
        drop(stream);
        let finished = process.finish();
        assert_eq!(finished.success().iter().filter(|b| **b == b'\n').count(), 2000);
    }

    #[test]
    fn the_last_lines_arrive_although_the_peer_sent_more_than_was_read() {
        let mut server =
            Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
        let mut stream = server.connect();
        // More than fits into the buffers of a peer that reads nothing. Closing without reading it
        // would cause a reset, and the read below would fail before the last lines.
        SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        server.process.feed("one\n");
        stream.write_all(&b"said early\n".repeat(40_000)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.process.finish().success(), b"said early\n");
        assert_eq!(read_all(&mut stream), b"one\nBYE\n");
    }

    #[test]
    fn control_characters_are_written_to_a_pipe_unchanged() {
        let fake = FakeServer::new();
        let process = client("chat", fake.addr, &[]).start();
        let stream = fake.accept();
        send_line(&stream, &format!("{NASTY} bye"));
        drop(stream);
        assert_eq!(process.finish().success(), format!("{NASTY} bye\n").as_bytes());
    }

    #[test]
    fn every_ending_has_its_exit_code_and_error_text() {
        let ended = |by: fn(TcpStream), args: &[&str]| -> Finished {
            let fake = FakeServer::new();
            let process = client("chat", fake.addr, args).with_stdin().start();
            by(fake.accept());
            process.finish_with_stdin_open()
        };
        assert_eq!(
            ended(drop, &[]).failure(1),
            "the other side closed the connection before the end of the conversation"
        );
        if NOTICES_RESETS {
            assert!(
                ended(reset, &[]).failure(1).starts_with("the other side reset the connection")
            );
        }
        let half = ended(|mut stream| stream.write_all(b"hal").unwrap(), &[]);
        assert_eq!(
            half.failure(1),
            "the other side closed the connection in the middle of a message, after 3 bytes; \
             last received: \"hal\" without a newline"
        );
        // A line without an end is read only up to the limit, which takes little memory.
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
    fn a_line_that_cannot_be_sent_is_an_error() {
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
    fn a_signal_sends_bye_in_our_turn_and_ends_the_program() {
        // In our turn BYE is sent. In the peer's turn nothing is.
        for signal in SIGNALS {
            let fake = FakeServer::new();
            let process = client("chat", fake.addr, &[]).with_stdin().start();
            let stream = fake.accept();
            send_line(&stream, "hello");
            process.wait_for_stdout("hello");
            process.signal(signal);
            assert_eq!(read_line(&stream), "BYE\n");
            drop(stream);
            let finished = process.finish_with_stdin_open();
            assert_eq!(
                (finished.failure(130), &finished.stdout[..]),
                ("interrupted", &b"hello\n"[..])
            );
        }
        let server = Program::socklab(&["chat", "server", "0"]).with_stdin().start();
        server.wait_for("listening on ");
        server.signal(STOP);
        let server = server.finish_with_stdin_open();
        assert_eq!(server.success(), b"");
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(feature = "windows", ignore = "Unix: the CPU time of one process")]
    fn a_peer_that_reads_nothing_does_not_delay_an_interrupt() {
        // Once the client sleeps with so much to send, there is no space, so BYE cannot be sent
        // either.
        let fake = FakeServer::new();
        let mut process = client("chat", fake.addr, &["--duplex"]).with_stdin().start();
        let stream = fake.accept();
        process.feed(b"a line of some length that nobody reads\n".repeat(1 << 19));
        let mut last = (process.cpu(), std::time::Instant::now());
        wait_until(DEADLINE, || {
            let cpu = process.cpu();
            if cpu != last.0 {
                last = (cpu, std::time::Instant::now());
            }
            (last.1.elapsed() > std::time::Duration::from_millis(500)).then_some(())
        })
        .expect("the client does not come to rest");
        process.signal(STOP);
        assert_eq!(process.finish_with_stdin_open().failure(130), "interrupted");
        drop(stream);
    }

    #[test]
    fn a_server_with_forever_continues_after_an_error_and_reports_it() {
        let mut server = Server::from_program(
            Program::socklab(&["chat", "server", "0", "--forever"]).with_stdin(),
        );
        let stream = server.connect();
        let peer = stream.local_addr().unwrap();
        drop(stream);
        let line =
            server.process.wait_for("closed the connection before the end of the conversation");
        assert_eq!(
            line,
            format!(
                "{peer}: the other side closed the connection before the end of the conversation"
            )
        );
        let stream = server.connect();
        server.process.stdin().write_all(b"still here\n").unwrap();
        assert_eq!(read_line(&stream), "still here\n");
        server.process.signal("INT");
        assert_eq!(read_line(&stream), "", "nothing is sent out of turn");
        drop(stream);
        let finished = server.process.finish_with_stdin_open();
        assert_eq!(finished.success(), b"");
    }
}
