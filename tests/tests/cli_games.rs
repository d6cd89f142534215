//! The games as a user or a script meets them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use socklab_tests::program::{
    DEADLINE, FakeServer, Program, SIGNALS, Server, client, read, read_all, wait_until,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the bytes that can be read now, without reading them.
fn waiting(stream: &TcpStream) -> String {
    let mut room = [0; 256];
    stream.set_nonblocking(true).unwrap();
    let n = stream.peek(&mut room).unwrap_or(0);
    stream.set_nonblocking(false).unwrap();
    text(&room[..n])
}

fn wait_for(what: impl Fn() -> bool) {
    wait_until(DEADLINE, || what().then_some(())).expect("the condition is never met");
}

#[test]
fn every_game_can_be_played_with_one_command() {
    for (game, args, last) in [
        ("coin", &["--auto", "5"][..], " out of 5 times.\n"),
        ("guess", &["--auto"], "\n"),
        ("rps", &["--auto"], " drawn\n"),
    ] {
        let finished = Program::socklab(&[&[game, "client"], args].concat()).run();
        assert!(text(finished.success()).ends_with(last), "{finished:?}");
        let line = format!("no address given: a built-in {game} server runs on 127.0.0.1:");
        assert!(finished.stderr.starts_with(&line), "{finished:?}");
    }
}

#[test]
fn a_seed_makes_a_run_repeatable() {
    for (game, server, player) in [
        ("coin", &["--seed", "3"][..], &["--auto", "9", "--seed", "4"][..]),
        ("guess", &["--seed", "3"], &["--auto"]),
        ("rps", &["--auto", "--seed", "3"], &["--auto", "--seed", "4"]),
    ] {
        let play = || {
            let server = Server::start(game, server);
            [(); 3].map(|()| text(server.client(game, player).run().success()))
        };
        let games = play();
        assert_eq!(games, play(), "{game}");
    }
}

#[test]
fn events_are_json_lines() {
    let server = Server::start("guess", &["--number", "62"]);
    let finished = server.client("guess", &["--json"]).run_with("50\n200\n62\n");
    let lines = text(finished.success());
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(
        lines[1..],
        [r#"{"event":"low","guess":50,"guesses":1}"#, r#"{"event":"win","guess":62,"guesses":2}"#]
    );
    let server = Server::start("rps", &["--auto", "--json"]);
    let finished = server.client("rps", &["--json", "--auto"]).run();
    assert!(text(finished.success()).contains(r#"{"event":"round","round":3,"player1":""#));
    server.process.wait_for_stdout(r#""outcome":"played"}"#);
    let server = Server::start("coin", &["--json"]);
    let finished = server.client("coin", &["--json"]).run_with("H\n");
    let line = text(finished.success());
    assert!(line.contains(r#"{"event":"prompt","text":"I will toss a coin"#), "{line}");
    assert!(line.contains(r#"{"event":"reply","reply":"bye"}"#), "{line}");
    assert!(line.contains(r#","of":1}"#), "{line}");
    server.process.wait_for_stdout(r#""of":1,"outcome":"quit"}"#);
}

#[test]
fn a_trace_shows_prompts_and_lines() {
    let finished = Program::socklab(&["coin", "client", "--auto", "1", "--trace"]).run();
    let trace = &finished.stderr;
    assert!(
        trace.contains(" prompt \"I will toss a coin, guess if it is a head (H) or tail (T) :\"\n")
    );
    assert!(trace.contains(" -> 51 0a "), "{trace}");
    assert!(trace.contains(" \"Thanks for playing the game. Bye!\"\n"), "{trace}");
    let server = Server::start("rps", &["--auto", "--trace"]);
    server.client("rps", &["--auto"]).run().success();
    let _ = server.process.wait_for(" prompt \"Enter (1) Scissor (2) Paper or (3) Stone:\"");
}

/// The client in the protocol document takes everything that one `recv` returns for one line.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(
    feature = "windows",
    ignore = "Unix: the queue of a socket; Windows has a pause instead"
)]
fn a_line_is_not_sent_before_the_peer_has_read_the_one_before() {
    let server = Server::start("guess", &["--number", "50", "--pace", "1ms"]);
    let mut stream = server.connect();
    assert_eq!(read::<6>(&mut stream), *b"GUESS\n");
    stream.write_all(b"1\n").unwrap();
    wait_for(|| !waiting(&stream).is_empty());
    for _ in 0..300 {
        assert_eq!(waiting(&stream), "LOW\n");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Also if only a part of the line has been read.
    assert_eq!(read::<3>(&mut stream), *b"LOW");
    for _ in 0..100 {
        assert_eq!(waiting(&stream), "\n");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read::<1>(&mut stream), *b"\n");
    assert_eq!(read::<6>(&mut stream), *b"GUESS\n");
    // A client that leaves is handled normally, and the next one is served.
    stream.write_all(b"1\n").unwrap();
    drop(stream);
    server.process.wait_for("did not find 50 with ");
    server.client("guess", &["--auto"]).run().success();
}

#[test]
fn without_a_pace_the_server_does_not_wait_for_its_clients() {
    for (game, args, answer, all) in [
        ("guess", &["--number", "50"][..], "1\n", "LOW\nGUESS\n"),
        (
            "coin",
            &[],
            "x\n",
            "or Q to quit\nI will toss a coin, guess if it is a head (H) or tail (T) : ",
        ),
    ] {
        let server = Server::start(game, &[args, &["--pace", "0"]].concat());
        let mut stream = server.connect();
        wait_for(|| waiting(&stream).ends_with(['\n', ' ']));
        let first = waiting(&stream).len();
        stream.read_exact(&mut vec![0; first]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        wait_for(|| waiting(&stream).ends_with(all));
    }
}

#[test]
fn a_client_that_never_reads_times_out_and_others_are_served() {
    let server = Server::start("guess", &["--timeout", "1s", "--number", "50"]);
    let mut stream = server.connect();
    stream.write_all(b"1\n2\n3\n").unwrap();
    for _ in 0..3 {
        assert_eq!(
            text(server.client("guess", &["--auto"]).run().success()),
            "50 is right: you win\n"
        );
    }
    // The client has not even read GUESS.
    server.process.wait_for("then the client sent nothing more in time");
}

#[test]
fn a_line_without_a_newline_is_refused_by_either_end() {
    for (game, args) in [("coin", &[][..]), ("guess", &[]), ("rps", &["--auto"])] {
        let server = Server::start(game, args);
        let mut stream = server.connect();
        // The server reads nothing from a client that has not read its prompt.
        wait_for(|| waiting(&stream).ends_with(['\n', ' ']));
        let first = waiting(&stream).len();
        stream.read_exact(&mut vec![0; first]).unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(&vec![b'x'; 1 << 20]);
        server.process.wait_for("the client broke the protocol: a line is too long");

        let fake = FakeServer::new();
        let client = client(game, fake.addr, &[]).with_stdin().start();
        let mut stream = fake.accept();
        let _ = stream.write_all(&vec![b'x'; 1 << 20]);
        let finished = client.finish();
        assert!(finished.failure(1).contains("a line is too long"), "{finished:?}");
        assert_eq!(finished.stdout, b"");
    }
}

#[test]
fn a_server_that_closes_while_the_user_thinks_is_reported_at_once() {
    for (game, first) in [("coin", "Pick: "), ("guess", "GUESS\n"), ("rps", "Pick: ")] {
        let fake = FakeServer::new();
        let client = client(game, fake.addr, &[]).with_stdin().start();
        let mut stream = fake.accept();
        stream.write_all(first.as_bytes()).unwrap();
        drop(stream);
        let finished = client.finish_with_stdin_open();
        let line = "the server closed the connection between messages";
        assert_eq!(finished.last_failure(1), line, "{game}");
    }
}

// ---------------------------------------------------------------- rps with a person at the server

const CHOOSE: &[u8; 42] = b"Enter (1) Scissor (2) Paper or (3) Stone: ";

fn server_with_user(args: &[&str]) -> Server {
    Server::from_program(Program::socklab(&[&["rps", "server", "0"], args].concat()).with_stdin())
}

/// Returns everything that the user of the server has seen.
fn seen(server: &Server) -> String {
    server.process.stderr()
}

#[test]
fn no_player_learns_the_others_choice_before_both_have_chosen() {
    let mut server = server_with_user(&[]);
    let mut stream = server.connect();
    assert_eq!(read(&mut stream), *CHOOSE);
    stream.write_all(b"Paper\n").unwrap();
    server.process.wait_for("player 1 has chosen");
    assert!(!seen(&server).contains("Paper"), "{}", seen(&server));
    assert_eq!(waiting(&stream), "", "player 2 has not chosen yet");
    server.process.stdin().write_all(b"rock\nstone\n").unwrap();
    let line = *b"Player1 wins!,Paper,Stone\n";
    assert_eq!(read(&mut stream), line);
    server.process.wait_for_stdout("round 1: you Stone, the other Paper: you lose");
    stream.write_all(&line).unwrap();
    for round in ["round 2: you Scissor, the other Paper: you win", "round 3: "] {
        assert_eq!(read(&mut stream), *CHOOSE);
        stream.write_all(b"Paper\n").unwrap();
        server.process.stdin().write_all(b"1\n").unwrap();
        let line = *b"Player2 wins!,Paper,Scissor\n";
        assert_eq!(read(&mut stream), line);
        server.process.wait_for_stdout(round);
        stream.write_all(&line).unwrap();
    }
    assert_eq!(read_all(&mut stream), b"");
    drop(stream);
    // The server ends after its one session.
    let finished = server.process.finish();
    assert!(text(finished.success()).ends_with("2 won, 1 lost, 0 drawn\n"), "{finished:?}");
    assert!(finished.stderr.contains("expected 1, 2 or 3, or the word"), "{finished:?}");
}

#[test]
fn two_players_play_and_the_next_waits_for_its_turn() {
    let mut server = server_with_user(&["--forever"]);
    server.process.stdin().write_all(&b"2\n".repeat(9)).unwrap();
    for _ in 0..3 {
        let finished = server.client("rps", &[]).run_with("1\n2\n3\n");
        let lines = text(finished.success());
        assert!(lines.ends_with("1 won, 1 lost, 1 drawn\n"), "{lines}");
    }
    // The first client plays, and the second has to wait.
    let (mut first, second) = (server.connect(), server.connect());
    assert_eq!(read(&mut first), *CHOOSE);
    assert_eq!(waiting(&second), "");
    drop(first);
    wait_for(|| !waiting(&second).is_empty());
    server.process.wait_for("the client closed the connection between messages");
}

#[test]
fn the_end_of_input_closes_the_connection_orderly() {
    let mut server = server_with_user(&[]);
    let mut stream = server.connect();
    assert_eq!(read(&mut stream), *CHOOSE);
    stream.write_all(b"Paper\n").unwrap();
    server.process.wait_for("player 1 has chosen");
    server.process.close_stdin();
    assert_eq!(read_all(&mut stream), b"", "an orderly close, not a reset");
    let finished = server.process.finish();
    assert!(finished.last_failure(2).contains("standard input ended before the game was over"));
}

/// A server that is stopped exits with success, even in the middle of a game.
#[test]
fn a_server_with_a_user_can_be_stopped_at_any_time() {
    for signal in SIGNALS {
        // In the client's turn.
        let server = server_with_user(&[]);
        let mut stream = server.connect();
        assert_eq!(read(&mut stream), *CHOOSE);
        server.process.signal(signal);
        assert_eq!(read_all(&mut stream), b"");
        assert_eq!(server.process.finish_with_stdin_open().success(), b"");

        // In the turn of the server's user.
        let server = server_with_user(&[]);
        let mut stream = server.connect();
        assert_eq!(read(&mut stream), *CHOOSE);
        stream.write_all(b"Paper\n").unwrap();
        server.process.wait_for("player 1 has chosen");
        server.process.signal(signal);
        assert_eq!(read_all(&mut stream), b"");
        assert_eq!(server.process.finish_with_stdin_open().success(), b"");

        // While it waits until the client has read the result, which this client never does.
        let mut server = server_with_user(&["--trace"]);
        let mut stream = server.connect();
        assert_eq!(read(&mut stream), *CHOOSE);
        stream.write_all(b"Paper\n").unwrap();
        server.process.stdin().write_all(b"2\n").unwrap();
        wait_for(|| waiting(&stream).ends_with('\n'));
        stream.write_all(b"Draw,Paper,Paper\n").unwrap();
        server.process.wait_for("<- 44 72 61 77");
        server.process.signal(signal);
        let finished = server.process.finish_with_stdin_open();
        assert_eq!(
            finished.success(),
            b"round 1: you Paper, the other Paper: a draw\n0 won, 0 lost, 1 drawn\n"
        );
    }
}

#[test]
fn usage_errors_are_reported() {
    for (args, line) in [
        (&["guess", "server", "--number", "101"][..], "101"),
        (&["rps", "client", "--seed", "1"], "--auto"),
        (&["rps", "server", "--auto", "--forever"], "--forever"),
        (&["coin", "client", "--auto", "many"], "many"),
        (&["coin", "server", "--pace", "soon"], "expected a time"),
    ] {
        let finished = Program::socklab(args).run();
        assert!(finished.failure(2).contains(line), "{finished:?}");
    }
}
