//! `socklab math` as a user meets it. The test plays the peer, so each case is exact.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socklab_tests::program::{
    FakeServer, NOTICES_RESETS, Process, Program, Server, client, is_judged, read, read_all, reset,
    without_quote,
};

const QUESTION: [u8; 9] = *b"Q\0\0\0\x0c\0\0\0\x1e";
const SECRET: [u8; 9] = *b"Sopensesm";

/// Starts our math client and returns it with its connection.
fn math_client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client("math", fake.addr, args).start();
    let stream = fake.accept();
    (process, stream)
}

#[test]
fn stdout_contains_only_the_secret_and_a_newline() {
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
fn the_client_ends_with_the_secret_without_waiting_for_the_close() {
    let (process, mut stream) = math_client(&["--timeout", "none"]);
    stream.write_all(&SECRET).unwrap();
    assert_eq!(process.finish().success(), b"opensesm\n");
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
fn an_unknown_tag_is_reported_at_once() {
    for (byte, name) in
        [(b'R', "0x52 ('R')"), (0, "0x00"), (b'q', "0x71 ('q')"), (b' ', "0x20"), (0xff, "0xff")]
    {
        let (process, mut stream) = math_client(&[]);
        stream.write_all(&QUESTION).unwrap();
        read::<4>(&mut stream);
        // The client must report the byte at once, without waiting for more.
        stream.write_all(&[byte]).unwrap();
        let expected = format!(
            "the server broke the protocol: message 2 starts with the byte {name}, expected \
             'Q' or 'S'"
        );
        let finished = process.finish();
        assert_eq!(without_quote(finished.failure(1)), expected);
    }
}

/// What a server sends, how it ends, and what the client reports.
#[test]
fn every_ending_is_reported() {
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
        (
            2,
            0,
            Reset,
            "the server reset the connection between messages, with 2 questions answered",
        ),
        (2, 0, Silence, "the server sent nothing more in time, with 2 questions answered"),
        (
            1,
            8,
            Close,
            "the server closed the connection in the middle of a message, after 8 of 9 bytes, with 1 question answered",
        ),
        (
            1,
            1,
            Reset,
            "the server reset the connection in the middle of a message, after 1 of 9 bytes, with 1 question answered",
        ),
        (
            1,
            8,
            Silence,
            "the server sent nothing more in time in the middle of a message, after 8 of 9 bytes, with 1 question answered",
        ),
    ] {
        if matches!(end, Reset) && !NOTICES_RESETS {
            continue;
        }
        // The trace shows when the bytes have been read, which must happen before the reset.
        let timeout = if matches!(end, Silence) { "300ms" } else { "20s" };
        let (process, mut stream) = math_client(&["--timeout", timeout, "--trace"]);
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
        assert_eq!(without_quote(finished.last_failure(1)), text);
        assert_eq!(finished.stdout, b"");
    }
}

#[test]
fn the_timeout_starts_at_the_last_byte() {
    let (process, mut stream) = math_client(&["--timeout", "1500ms"]);
    // Longer than the timeout in total, with each pause far shorter than it, because pauses last
    // longer on a busy machine.
    let start = Instant::now();
    for byte in [QUESTION, SECRET].as_flattened() {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(start.elapsed() > Duration::from_millis(1700));
    assert_eq!(process.finish().success(), b"opensesm\n");
}

#[test]
fn a_client_without_an_address_reports_where_its_server_runs() {
    for args in [&["math", "client"][..], &["math", "client", "--timeout", "none"]] {
        let finished = Program::socklab(args).run();
        assert_eq!(finished.success().len(), 9, "{finished:?}");
        let text = "no address given: a built-in math server runs on 127.0.0.1:";
        assert!(finished.stderr.starts_with(text), "{finished:?}");
        assert_eq!(finished.stderr.matches('\n').count(), 1, "{finished:?}");
    }
}

/// Plays a session and returns its questions and the secret.
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
fn a_seed_gives_every_session_the_same_questions() {
    let runs = ["7", "7", "8"].map(|seed| {
        let server = Server::start("math", &["--seed", seed, "--full-range"]);
        // A session that started before, and is still running, has no influence.
        let mut other = server.connect();
        read::<9>(&mut other);
        let all = [play(&server), play(&server)];
        assert_eq!(all[0], all[1]);
        all
    });
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    // The questions of a session differ.
    let questions: std::collections::HashSet<&[u8]> = runs[0][0].chunks(9).collect();
    assert_eq!(questions.len(), runs[0][0].len() / 9);
    // Without a seed, sessions differ.
    let server = Server::start("math", &["--rounds", "20"]);
    assert_ne!(play(&server), play(&server));
    // Without a seed, runs differ.
    let runs = [(); 2].map(|()| play(&Server::start("math", &["--rounds", "20"])));
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn rounds_and_secret_follow_the_options() {
    let server = Server::start("math", &["--rounds", "3", "--secret", "12345678"]);
    for _ in 0..5 {
        let all = play(&server);
        assert_eq!((all.len(), all.ends_with(b"S12345678")), (4 * 9, true));
    }
    let server = Server::start("math", &["--rounds", "0"]);
    assert_eq!(play(&server).len(), 9);
    let server = Server::start("math", &["--rounds", "2-4"]);
    let mut seen = [0; 8];
    for _ in 0..60 {
        seen[play(&server).len() / 9 - 1] += 1;
    }
    assert!(seen[2..=4].iter().all(|n| *n > 0), "{seen:?}");
    assert_eq!(seen.iter().sum::<i32>(), seen[2..=4].iter().sum::<i32>(), "{seen:?}");
}

#[test]
fn default_sums_have_31_bits_and_rounds_are_5_to_20() {
    let server = Server::start("math", &[]);
    let (mut fewest, mut most, mut largest) = (usize::MAX, 0, 0);
    for _ in 0..400 {
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
fn a_wrong_answer_ends_the_session_at_once_without_the_secret() {
    let server = Server::start("math", &["--rounds", "5", "--secret", "12345678"]);
    let mut stream = server.connect();
    read::<9>(&mut stream);
    stream.write_all(&[0xff; 4]).unwrap();
    assert_eq!(read_all(&mut stream), b"");
    let line = server.process.wait_for("wrong answer");
    let peer = stream.local_addr().unwrap();
    let start = format!("{peer}: 0/1 correct, wrong answer 4294967295, expected ");
    assert!(line.starts_with(&start), "{line}");
}

#[test]
fn answers_sent_early_are_accepted() {
    let args = ["--rounds", "9", "--seed", "5", "--full-range"];
    let questions = play(&Server::start("math", &args));
    let server = Server::start("math", &args);
    let mut stream = server.connect();
    let mut answers = Vec::new();
    for question in questions[..81].chunks(9) {
        let [a, b] = [1, 5].map(|at| u32::from_be_bytes(*question[at..].first_chunk().unwrap()));
        answers.extend_from_slice(&a.wrapping_add(b).to_be_bytes());
    }
    // All answers are sent before any question is read, followed by the end.
    stream.write_all(&answers).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), questions);
    server.process.wait_for(": 9/9 correct, secret sent");
}

#[test]
fn the_server_reports_every_ending_in_one_line() {
    let server = Server::start("math", &["--timeout", "1s"]);
    let mut count = 1;
    for (bytes, how, text) in [
        (0, "close", "0/1 correct, the client closed the connection between messages"),
        (3, "close", "the client closed the connection in the middle of a message, after 3 of 4"),
        (0, "reset", "0/1 correct, the client reset the connection between messages"),
        (0, "silence", "0/1 correct, the client sent nothing more in time"),
        (2, "silence", "in time in the middle of a message, after 2 of 4 bytes"),
    ] {
        if !is_judged(how) {
            continue;
        }
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
        let line = server.process.wait_for(&format!("{peer}: "));
        assert!(line.contains(text), "{line}");
    }
    assert_eq!(play(&server).last_chunk::<9>().map(|s| s[0]), Some(b'S'));
    let log = server.process.wait_for_lines(count + 2);
    let endings = log.lines().filter(|line| !line.ends_with("waiting for the rest"));
    assert_eq!(endings.count(), count + 1, "{log}");
}
