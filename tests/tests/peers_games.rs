//! The games against programs as students write them, in Python: both roles, and each way to break
//! the protocol.

use socklab_tests::program::{Finished, Program, Server, client, is_judged};

/// Starts a Python server. It ends after its last session.
fn python_server(script: &str, args: &[&str]) -> Server {
    Server::from_program(Program::peer(script, args))
}

/// Creates a Python client of our server.
fn python_client(script: &str, server: &Server, args: &[&str]) -> Program {
    let port = server.addr.port().to_string();
    Program::peer(script, &[&["127.0.0.1", &port], args].concat())
}

fn stdout(finished: &Finished) -> String {
    String::from_utf8_lossy(finished.success()).into_owned()
}

const COIN: &str = "You are right!\nSorry, you are wrong.\nYou are right!\nThanks for playing the game. Bye!\nYou have guessed correctly 2 out of 3 times.\n";

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn coin_client_plays_with_every_kind_of_server() {
    for fault in
        ["", "wording", "glued", "no-colon", "broken-line", "windows", "byte-by-byte", "bare-bye"]
    {
        let server = python_server("coin_server.py", &["--fault", fault]);
        // Input that is no answer is not sent.
        let finished = client("coin", server.addr, &[]).run_with("H\nhm\nt\n h \nq\n");
        assert_eq!(stdout(&finished), COIN, "{fault}");
        assert_eq!(finished.stderr, "expected H for head, T for tail, or Q to quit\n");
        assert_eq!(server.process.finish().code, Some(0), "{fault}");
    }
    // The end of standard input sends a Q, and the server must answer that.
    let server = python_server("coin_server.py", &["--fault", "no-bye"]);
    let finished = client("coin", server.addr, &[]).run_with("H\nT\n");
    let score =
        "You are right!\nSorry, you are wrong.\nYou have guessed correctly 1 out of 2 times.\n";
    let failure = finished.failure(1);
    assert!(
        failure.starts_with("the server closed the connection without a reply to Q"),
        "{failure}"
    );
    assert_eq!(String::from_utf8_lossy(&finished.stdout), score);
    // Unknown lines are shown to the user.
    let server = python_server("coin_server.py", &["--fault", "banner"]);
    let finished = client("coin", server.addr, &[]).run_with("H\nT\nh\n");
    assert_eq!(stdout(&finished), ["Welcome to the game!\nHave fun.\n", COIN].concat());
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn coin_client_reports_mistakes_of_a_server() {
    let score = "You are right!\nYou have guessed correctly 1 out of 1 times.\n";
    for (fault, played, text) in [
        ("close", score, "the server closed the connection between messages"),
        ("reset", score, "the server reset the connection between messages"),
        ("silent", score, "the server sent nothing more in time (300ms; --timeout changes that)"),
        ("endless", "", "the server broke the protocol: a line is too long"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let server = python_server("coin_server.py", &["--fault", fault]);
        let finished = client("coin", server.addr, &["--timeout", "300ms"]).run_with("H\nH\nH\n");
        assert!(finished.failure(1).contains(text), "{fault}: {finished:?}");
        assert_eq!(String::from_utf8_lossy(&finished.stdout), played, "{fault}");
    }
    // JSON contains no control character of the server's text.
    let server = python_server("coin_server.py", &["--fault", "escape"]);
    let finished = client("coin", server.addr, &["--json"]).run_with("H\n");
    assert!(stdout(&finished).contains(r#""text":"\u001b[2JPick "#), "{finished:?}");
    assert!(!finished.stdout.contains(&0x1b), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn coin_server_plays_with_every_kind_of_client() {
    let server = Server::start("coin", &["--seed", "7"]);
    let faults = ["", "lower", "spaces", "byte-by-byte"];
    let clients = faults.map(|fault| {
        python_client("coin_client.py", &server, &["H", "T", "H", "x", "T", "Q", "--fault", fault])
            .start()
    });
    for client in clients {
        let finished = client.finish();
        let text = stdout(&finished);
        assert_eq!(text.matches("guess if it is a head (H) or tail (T) :\n").count(), 6, "{text}");
        assert_eq!(
            text.matches("reply: You are right!\n").count()
                + text.matches("reply: Sorry, you are wrong.\n").count(),
            4,
            "{text}"
        );
        assert!(text.contains("reply: Please enter head (H), tail (T) or Q to quit\n"), "{text}");
        assert!(text.contains("reply: Thanks for playing the game. Bye!\n"), "{text}");
        // Both ends show the same score.
        let score = text.lines().last().and_then(|line| line.strip_prefix("You have ")).unwrap();
        let score = score.strip_suffix('.').unwrap();
        assert!(score.ends_with(" out of 4 times"), "{text}");
        server.process.wait_for(&format!(": {score}\n"));
    }
    server.process.wait_for_lines(5);
    for (fault, text) in [
        ("leave", "0 out of 0 times, then the client closed the connection between messages"),
        ("reset", "0 out of 0 times, then the client reset the connection between messages"),
        ("long", "0 out of 0 times, then the client broke the protocol: a line is too long"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let theirs = python_client("coin_client.py", &server, &["--fault", fault]).run();
        assert_eq!(theirs.code, Some(0), "{fault}: {theirs:?}");
        server.process.wait_for(text);
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn guess_client_plays_with_every_kind_of_server() {
    let won = "50 is too low\n75 is too high\n62 is right: you win\n";
    for fault in ["", "glued", "noise", "windows", "byte-by-byte"] {
        let args = ["--fault", fault, "--number", "62", "--sessions", "3"];
        let server = python_server("guess_server.py", &args);
        let rules = if fault == "noise" { "Welcome!\n\u{1b}[2Jrules: none\n" } else { "" };
        let won = [rules, won].concat();
        let finished = client("guess", server.addr, &["--auto"]).run();
        assert_eq!(stdout(&finished), won, "{fault}");
        assert_eq!(finished.stderr, "");
        // Input that is no number uses up no guess.
        let finished = client("guess", server.addr, &[]).run_with("50\nx\n\n101\n0\n75\n62\n");
        assert_eq!(stdout(&finished), won, "{fault}");
        assert_eq!(finished.stderr, "expected a number from 1 to 100\n".repeat(4));
        // A lost game is a success too.
        let finished = client("guess", server.addr, &[]).run_with("1\n2\n3\n4\n5\n");
        let lost = "1 is too low\n2 is too low\n3 is too low\n4 is too low\n5 is too low\nno guesses left: the game is over\n";
        assert_eq!(stdout(&finished), [rules, lost].concat(), "{fault}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn guess_client_reports_mistakes_of_a_server() {
    for (fault, text) in [
        ("close", "the server closed the connection between messages"),
        ("bare-win", "the server closed the connection in the middle of a message, after 3 bytes"),
        ("silent", "the server sent nothing more in time (300ms; --timeout changes that)"),
        ("endless", "the server broke the protocol: a line is too long"),
    ] {
        let server = python_server("guess_server.py", &["--fault", fault]);
        let finished = client("guess", server.addr, &["--auto", "--timeout", "300ms"]).run();
        assert!(finished.failure(1).contains(text), "{fault}: {finished:?}");
    }
    let server = python_server("guess_server.py", &[]);
    let finished = client("guess", server.addr, &[]).run_with("1\n");
    assert!(finished.failure(2).contains("standard input ended before the game was over"));
    server.process.wait_for("the client left");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn guess_server_plays_with_every_kind_of_client() {
    let server = Server::start("guess", &["--number", "62"]);
    for (args, said, logged) in [
        (&["--games", "3"][..], "WIN\nWIN\nWIN\n", ": found 62 with 3 guesses"),
        (&["--fault", "windows"], "WIN\n", ": found 62 with 3 guesses"),
        (&["x", "", "1e2", "200", "62"], "WIN\n", ": found 62 with 5 guesses"),
        (&["1", "2", "3", "4", "5"], "GAMEOVER\n", ": did not find 62 with 5 guesses"),
        (&["1", "62", "--fault", "early"], "WIN\n", ": found 62 with 2 guesses"),
        (&["--fault", "leave"], "LEFT\n", "with 0 guesses, then the client closed"),
        (&["--fault", "reset"], "LEFT\n", "with 0 guesses, then the client reset"),
        (&["--fault", "long"], "LEFT\n", "then the client broke the protocol: a line is too long"),
    ] {
        if !is_judged(&args.concat()) {
            continue;
        }
        let finished = python_client("guess_client.py", &server, args).run();
        assert_eq!(stdout(&finished), said, "{args:?}");
        server.process.wait_for(logged);
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn rps_client_plays_with_every_kind_of_server() {
    let won = "round 1: you Scissor, the other Paper: you win\nround 2: you Paper, the other Paper: a draw\nround 3: you Stone, the other Paper: you lose\n1 won, 1 lost, 1 drawn\n";
    for (fault, before) in [
        ("", ""),
        ("win", ""),
        ("glued", ""),
        ("wording", ""),
        ("no-colon", ""),
        ("windows", ""),
        ("byte-by-byte", ""),
        ("banner", "Welcome, player 1\n"),
    ] {
        let server = python_server("rps_server.py", &["--fault", fault]);
        let finished = client("rps", server.addr, &[]).run_with("1\nrock\npaper\n 3 \n");
        let text = stdout(&finished).replace("Player 2 is thinking\n", "");
        assert_eq!(text, [before, won].concat(), "{fault}");
        let asked = "expected 1, 2 or 3, or the word: Scissor, Paper, Stone\n";
        assert_eq!(finished.stderr, asked, "{fault}");
        let server = server.process.finish();
        assert!(server.stderr.ends_with("all acknowledged\n"), "{fault}: {server:?}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn rps_client_reports_mistakes_of_a_server() {
    for (fault, text) in [
        ("wrong-verdict", "it says \"Player2 wins!,Paper,Paper\", expected the verdict \"Draw\""),
        ("wrong-choice", "it says that player 1 chose Scissor, and Paper was sent"),
        ("close", "the server closed the connection between messages"),
        ("silent", "the server sent nothing more in time (300ms; --timeout changes that)"),
    ] {
        let server = python_server("rps_server.py", &["--fault", fault]);
        let finished = client("rps", server.addr, &["--timeout", "300ms"]).run_with("2\n2\n2\n");
        assert!(finished.failure(1).contains(text), "{fault}: {finished:?}");
        assert_eq!(finished.stdout, b"", "{fault}");
    }
    // A line that is no result is shown, and the game continues as far as the server allows.
    let server = python_server("rps_server.py", &["--fault", "unknown-choice"]);
    let finished = client("rps", server.addr, &["--timeout", "300ms"]).run_with("2\n2\n2\n");
    assert!(finished.last_failure(1).ends_with("; last received: \"Draw,Paper,Rock\""));
    assert!(finished.stderr.contains("byte 11 of a line is 0x52 ('R'), expected a verdict"));
    assert_eq!(finished.stdout, b"Draw,Paper,Rock\n");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn rps_server_plays_with_every_kind_of_client() {
    let server = Server::start("rps", &["--auto", "--seed", "3"]);
    for fault in ["", "lower", "byte-by-byte"] {
        let finished = python_client("rps_client.py", &server, &["--fault", fault]).run();
        let text = stdout(&finished);
        let choices: Vec<&str> = text.lines().filter_map(|l| l.split(',').nth(1)).collect();
        assert_eq!(choices, ["Paper", "Stone", "Scissor"], "{fault}: {text}");
        assert_eq!(text.matches("Draw").count() + text.matches(" wins!").count(), 3, "{text}");
    }
    let log = server.process.wait_for_lines(4);
    assert!(!log.contains("then"), "{log}");
    for (fault, text) in [
        ("number", "byte 0 of a line is 0x31 ('1'), expected Scissor, Paper or Stone"),
        ("no-ack", "byte 0 of a line is 0x74 ('t'), expected \""),
        ("leave", "then the client closed the connection between messages"),
        ("reset", "then the client reset the connection between messages"),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let theirs = python_client("rps_client.py", &server, &["--fault", fault]).run();
        // It may report that the server left. A Traceback would mean that the client itself is
        // broken.
        assert!(!theirs.stderr.contains("Traceback"), "{fault}: {theirs:?}");
        server.process.wait_for(text);
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_client_that_never_notices_the_end_blocks_neither_other_clients_nor_the_server() {
    let server = Server::start("guess", &["--number", "50"]);
    let mut spinning = python_client("guess_client.py", &server, &["--fault", "spin"]).start();
    spinning.wait_for_stdout("spinning");
    assert_eq!(stdout(&python_client("guess_client.py", &server, &[]).run()), "WIN\n");
    server.process.signal("INT");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(spinning.is_running(), "the client must still be running");
}
