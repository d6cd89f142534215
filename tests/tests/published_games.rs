//! Games of other authors: other words, prompts with a newline, results with spaces, twelve
//! guesses, answers that contradict each other, connections that close at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use serde_json::Value;
use socklab_tests::program::{
    FakeServer, Finished, Program, Server, client, is_judged, read, read_all, reset,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Plays a server that sends the first text at once, each further text after a line from the
/// client, and then closes. Returns our client's result and the lines it sent.
fn against(game: &str, args: &[&str], stdin: &str, script: &[&str]) -> (Finished, Vec<String>) {
    let fake = FakeServer::new();
    let mut ours = client(game, fake.addr, args).with_stdin().start();
    ours.feed(stdin);
    let mut stream = fake.accept();
    let script: Vec<String> = script.iter().map(|text| (*text).to_owned()).collect();
    let server = thread::spawn(move || {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut received = Vec::new();
        for (n, text) in script.iter().enumerate() {
            if n > 0 {
                match lines.next() {
                    Some(Ok(line)) => received.push(line),
                    // The client has ended the game.
                    _ => break,
                }
            }
            if stream.write_all(text.as_bytes()).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        // Lines that the client sends at the end, such as an acknowledgement.
        received.extend(lines.map_while(Result::ok));
        received
    });
    let finished = ours.finish();
    (finished, server.join().unwrap())
}

/// Returns the last event, which contains the error.
fn error(finished: &Finished) -> String {
    let events = text(&finished.stdout);
    let last = events.lines().next_back().expect("an event");
    let event: Value = serde_json::from_str(last).unwrap();
    assert_eq!(event["event"], "error", "{finished:?}");
    event["message"].as_str().unwrap().to_owned()
}

// ---------------------------------------------------------------- coin

const ASK: &str = "Head or tail?\n";

#[test]
fn coin_plays_with_prompts_that_end_with_a_newline() {
    let right = "You are right!\nHead or tail?\n";
    let script = ["Welcome!\nHead or tail?\n", right, right, "Thanks for playing the game. Bye!\n"];
    let (ours, received) = against("coin", &["--auto", "2", "--seed", "1"], "", &script);
    let shown = "Welcome!\nYou are right!\nYou are right!\nThanks for playing the game. Bye!\n\
                 You have guessed correctly 2 out of 2 times.\n";
    assert_eq!(text(ours.success()), shown);
    assert_eq!(received.len(), 3, "{received:?}");
    // A user sees the prompt on the line where they type.
    let (ours, received) = against("coin", &["--json"], "h\nq\n", &script[1..]);
    assert!(text(ours.success()).contains(r#"{"event":"prompt","text":"Head or tail?"}"#));
    assert_eq!(received, ["H", "Q"]);
}

#[test]
fn coin_reports_that_it_understood_no_reply() {
    let yes = "Yes, heads!\nHead or tail?\n";
    let (ours, received) = against("coin", &["--auto", "3"], "", &[ASK, yes, yes, yes, "Ciao\n"]);
    assert_eq!(
        ours.last_failure(1),
        "no reply to 3 guesses was understood; last received: \"Yes, heads!\""
    );
    assert_eq!(text(&ours.stdout), "Yes, heads!\nYes, heads!\nYes, heads!\nCiao\n");
    assert_eq!(received.len(), 4);
    let script = [ASK, "You are right!\nHead or tail?\n", yes, ""];
    let (ours, _) = against("coin", &["--auto", "2", "--json"], "", &script);
    assert_eq!(
        error(&ours),
        "not every reply to 2 guesses was understood; last received: \"Yes, heads!\""
    );
    assert!(text(&ours.stdout).contains(r#"{"event":"score","guesses":2,"right":1,"of":1}"#));
    // A server that closes without a reply to Q.
    let (ours, _) = against("coin", &["--auto", "1"], "", &["H or T: ", "Yes\nH or T: ", ""]);
    assert_eq!(ours.last_failure(1), "no reply to 1 guess was understood; last received: \"Yes\"");
}

#[test]
fn coin_sends_unchecked_text_unchanged() {
    let invalid = "Please enter head (H), tail (T) or Q to quit\nPick: ";
    let long = "x".repeat(500);
    let stdin = format!(" heads\n{long}\nQ\n");
    let script = ["Pick: ", invalid, invalid, "Bye\n"];
    let (ours, received) = against("coin", &["--unchecked"], &stdin, &script);
    assert_eq!(received, [" heads", &long, "Q"]);
    assert!(text(ours.success()).ends_with("0 out of 0 times.\n"));
    let (ours, _) = against("coin", &["--unchecked"], "h\r\r\n", &["Pick: ", ""]);
    assert!(ours.last_failure(2).contains("carriage return"), "{ours:?}");
}

// ---------------------------------------------------------------- guess

#[test]
fn guess_reports_a_server_that_plays_another_game() {
    let (high, low) = ("HIGH\nGUESS\n", "LOW\nGUESS\n");
    for (script, sentence) in [
        (
            &["GUESS\n", low, high, low, low, low, low, low][..],
            "the server broke the protocol: it asks for guess 6, expected GAMEOVER",
        ),
        (
            &["GUESS\n", low, low, "HIGH\nGAMEOVER\n"],
            "the server broke the protocol: GAMEOVER after 3 guesses, expected 5",
        ),
        (
            &["GUESS\n", "Too low\nGUESS\n", ""],
            "the server broke the protocol: no answer to 50 before the next GUESS, expected LOW, HIGH or \
             WIN; last received: \"Too low\"",
        ),
        (
            &["GUESS\n", "Please enter number 1 to 100\nGUESS\n", ""],
            "the server broke the protocol: Please enter number 1 to 100 for 50, but the numbers are 1 to 100",
        ),
        (&["LOW\n"], "the server broke the protocol: LOW without a guess"),
    ] {
        let (ours, _) = against("guess", &["--auto"], "", script);
        assert!(ours.last_failure(1).starts_with(sentence), "{ours:?}");
        let (ours, _) = against("guess", &["--auto", "--json"], "", script);
        assert!(error(&ours).starts_with(sentence), "{ours:?}");
    }
    // A user plays to the end and gets the report then.
    let script = ["GUESS\n", low, high, "WIN\n"];
    let (ours, received) = against("guess", &[], "50\n51\n51\n", &script);
    assert_eq!(
        ours.last_failure(1),
        "the server contradicts itself: HIGH for 51, its earlier answers leave 51 to 100"
    );
    assert!(text(&ours.stdout).ends_with("51 is right: you win\n"), "{ours:?}");
    assert_eq!(received, ["50", "51", "51"]);
}

#[test]
fn guess_plays_twelve_guesses_with_a_user_and_reports_them() {
    let mut script = vec!["GUESS\n"];
    script.extend(["LOW\nGUESS\n"; 11]);
    script.push("WIN\n");
    let stdin: String = (1..=12).map(|n| format!("{n}\n")).collect();
    let (ours, received) = against("guess", &[], &stdin, &script);
    assert_eq!(
        ours.last_failure(1),
        "the server broke the protocol: it asks for guess 6, expected GAMEOVER"
    );
    assert_eq!(received.len(), 12);
}

#[test]
fn guess_sends_unchecked_text_unchanged() {
    let script = ["GUESS\n", "Please enter number 1 to 100\nGUESS\n", "HIGH\nGUESS\n", "WIN\n"];
    let (ours, received) =
        against("guess", &["--unchecked"], "fifty fifty\n99999999999\n 7\n", &script);
    let shown = "the server accepts numbers from 1 to 100 only\n99999999999 is too high\n7 is right: you win\n";
    assert_eq!(text(ours.success()), shown);
    assert_eq!(received, ["fifty fifty", "99999999999", " 7"]);
}

#[test]
fn guess_shows_lines_that_it_does_not_know() {
    let script = ["Welcome to \u{1b}[1mguess\nGUESS\n", "so close\nWIN\n"];
    let (ours, _) = against("guess", &["--auto", "--json"], "", &script);
    let events = text(ours.success());
    assert!(events.contains(r#"{"event":"line","text":"so close"}"#), "{events}");
    let (ours, _) = against("guess", &["--auto"], "", &script);
    assert_eq!(text(ours.success()), "Welcome to \u{1b}[1mguess\nso close\n50 is right: you win\n");
}

#[test]
fn a_trace_shows_the_end_once() {
    // The end is read in the user's turn, and again when the connection is closed.
    for (game, script, answer) in [
        ("guess", "GUESS\nWIN\n", "50\n"),
        ("coin", "H: Thanks for playing the game. Bye!\n", "Q\n"),
    ] {
        let fake = FakeServer::new();
        let mut ours = client(game, fake.addr, &["--trace"]).with_stdin().start();
        let mut stream = fake.accept();
        stream.write_all(script.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        ours.wait_for(" closed");
        ours.stdin().write_all(answer.as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), answer.as_bytes());
        drop(stream);
        let finished = ours.finish_with_stdin_open();
        finished.success();
        let ends = finished.stderr.lines().filter(|line| line.ends_with(" closed"));
        assert_eq!(ends.filter(|line| line.contains("<-")).count(), 1, "{finished:?}");
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn a_trace_does_not_show_a_reset_as_an_orderly_end() {
    let fake = FakeServer::new();
    let ours = client("guess", fake.addr, &["--trace", "--auto"]).start();
    let stream = fake.accept();
    reset(stream);
    let finished = ours.finish();
    finished.last_failure(1);
    assert!(finished.stderr.matches(" closed").count() <= 1, "{finished:?}");
}

// ---------------------------------------------------------------- rps

#[test]
fn rps_plays_with_a_server_with_other_spaces_and_prompts() {
    let script = [
        "Choose one: Scissor, Paper, Stone\n",
        "Draw, Paper, Paper\n",
        "Choose one: Scissor, Paper, Stone\n",
        "Player1 win!, Paper,Stone\n",
        "Scissor, Paper or Stone?\n",
        "Player2 wins!,Paper, Scissor\n",
        "",
    ];
    let (ours, received) = against("rps", &[], "2\nPaper\n2\n", &script);
    assert!(text(ours.success()).ends_with("\n1 won, 1 lost, 1 drawn\n"), "{ours:?}");
    let acknowledged =
        ["Draw, Paper, Paper", "Player1 win!, Paper,Stone", "Player2 wins!,Paper, Scissor"];
    assert_eq!(received, acknowledged.map(|line| ["Paper", line]).concat());
}

#[test]
fn rps_reports_the_mistake_in_a_result_and_continues() {
    let script = ["Pick: ", "Draw, Paper, Rock\nDraw,Paper,Paper\n", ""];
    let (ours, received) = against("rps", &[], "Paper\n", &script);
    let line = ours.stderr.lines().next().unwrap();
    assert_eq!(
        line,
        "cannot parse this verdict: byte 13 of a line is 0x52 ('R'), expected a verdict and two \
         choices, separated by commas"
    );
    assert!(text(&ours.stdout).starts_with("Draw, Paper, Rock\nround 1: "), "{ours:?}");
    assert_eq!(received, ["Paper", "Draw,Paper,Paper"]);
}

#[test]
fn rps_sends_unchecked_text_and_is_asked_again() {
    let script = ["Pick: ", "Rock? There is none.\nPick: ", "Draw,Paper,Paper\n", ""];
    let (ours, received) = against("rps", &["--unchecked"], "Rock\nPaper\n", &script);
    assert_eq!(received[..3], ["Rock", "Paper", "Draw,Paper,Paper"]);
    // The server ended the game early.
    assert_eq!(ours.last_failure(1), "the server closed the connection between messages");
    assert!(text(&ours.stdout).starts_with("Rock? There is none.\nround 1: "), "{ours:?}");
}

#[test]
fn rps_is_not_ended_by_a_connection_that_closes_at_once() {
    for (name, closes) in [("close", drop::<TcpStream> as fn(TcpStream)), ("reset", reset)] {
        if !is_judged(name) {
            continue;
        }
        let program = Program::socklab(&["rps", "server", "0", "--json"]).with_stdin();
        let mut server = Server::from_program(program);
        server.process.stdin().write_all(b"2\n2\n2\n").unwrap();
        for _ in 0..3 {
            let stream = server.connect();
            let peer = stream.local_addr().unwrap();
            closes(stream);
            server.process.wait_for(&format!("{peer}: the client "));
        }
        server.client("rps", &["--auto"]).run().success();
        server.process.finish_with_stdin_open().success();
    }
    // A client that forgets the newline is reported.
    let server = Server::from_program(Program::socklab(&["rps", "server", "0"]).with_stdin());
    let mut stream = server.connect();
    let _: [u8; 42] = read(&mut stream);
    stream.write_all(b"Paper").unwrap();
    let peer = stream.local_addr().unwrap();
    let notice = format!("{peer} sent \"Paper\" without a newline; waiting for the rest");
    assert_eq!(server.process.wait_for("without a newline"), notice);
    drop(stream);
    let finished = server.process.finish_with_stdin_open();
    assert!(
        finished.last_failure(1).ends_with("; last received: \"Paper\" without a newline"),
        "{finished:?}"
    );
    // A client that leaves after its choice ends the server.
    let mut server = Server::from_program(Program::socklab(&["rps", "server", "0"]).with_stdin());
    let mut stream = server.connect();
    stream.write_all(b"Paper\n").unwrap();
    let _: [u8; 42] = read(&mut stream);
    server.process.wait_for("player 1 has chosen");
    server.process.stdin().write_all(b"2\n").unwrap();
    let _: [u8; 17] = read(&mut stream);
    drop(stream);
    server.process.finish_with_stdin_open().last_failure(1);
}

// ---------------------------------------------------------------- all of them

#[test]
fn every_ending_quotes_the_bytes_that_were_not_understood() {
    let rps = &["--auto", "--timeout", "1s"];
    for (game, args, script, last) in [
        ("guess", &["--auto"][..], &["GUESS\n", "You win!\n"][..], "You win!"),
        ("guess", &["--auto"], &["GUESS\n", "You win!"], "You win!"),
        ("coin", &["--auto", "3"], &["H or T: ", "You win!\n"], "You win!"),
        ("coin", &["--auto", "3"], &["H or T: ", "You win!"], "You win!"),
        ("coin", &["--auto", "3"], &["Server is full\n"], "Server is full"),
        ("rps", &["--auto"], &["Pick: ", "Player2 wins!\n"], "Player2 wins!"),
        ("rps", rps, &["Pick: ", "Player2 wins!"], "Player2 wins!"),
    ] {
        let ends = if script.concat().ends_with('\n') { "" } else { " without a newline" };
        let quote = format!("; last received: \"{last}\"{ends}");
        let (ours, _) = against(game, args, "", script);
        assert!(ours.last_failure(1).ends_with(&quote), "{ours:?}");
        if script.concat().ends_with('\n') {
            assert!(text(&ours.stdout).contains(last), "{ours:?}");
        }
        let (ours, _) = against(game, &[args, &["--json"]].concat(), "", script);
        assert!(error(&ours).ends_with(&quote), "{ours:?}");
    }
    // Also where the server waits, for example for an acknowledgement.
    let fake = FakeServer::new();
    let ours = client("rps", fake.addr, rps).start();
    let mut stream = fake.accept();
    stream.write_all(b"Pick: Player2 wins!\n").unwrap();
    let finished = ours.finish();
    assert_eq!(
        finished.last_failure(1),
        "the server sent nothing more in time (1s; --timeout changes that); last received: \"Player2 wins!\""
    );
    assert_eq!(text(&finished.stdout), "Player2 wins!\n");
    drop(stream);
}

/// The tosses of a session do not depend on other sessions.
#[test]
fn a_seed_gives_every_session_the_same_tosses_in_any_order() {
    let server = Server::start("coin", &["--seed", "5", "--pace", "0"]);
    let alone = {
        let mut stream = server.connect();
        stream.write_all(&[&b"H\n".repeat(20)[..], b"Q\n"].concat()).unwrap();
        text(&read_all(&mut stream))
    };
    assert_eq!(alone.matches("You are right!").count() + alone.matches("Sorry").count(), 20);
    let mut streams = [(); 3].map(|()| server.connect());
    let mut received = [(); 3].map(|()| String::new());
    for n in 0..=20 {
        for (stream, received) in streams.iter_mut().zip(&mut received) {
            stream.write_all(if n < 20 { b"H\n" } else { b"Q\n" }).unwrap();
            let mut line = BufReader::with_capacity(1, &*stream);
            let mut bytes = Vec::new();
            line.read_until(b'\n', &mut bytes).unwrap();
            *received += &text(&bytes);
        }
    }
    assert_eq!(received, [(); 3].map(|()| alone.clone()));

    let server = Server::start("guess", &["--seed", "5"]);
    let games = [(); 3].map(|()| text(server.client("guess", &["--auto"]).run().success()));
    assert_eq!(games, [(); 3].map(|()| games[0].clone()));
    let server = Server::start("rps", &["--auto", "--seed", "5"]);
    let play = || text(server.client("rps", &["--auto", "--seed", "1"]).run().success());
    let first = play();
    assert_eq!([play(), play()], [first.clone(), first]);
}

#[test]
fn unchecked_cannot_be_used_with_auto() {
    for (game, auto) in
        [("coin", &["--auto", "1"][..]), ("guess", &["--auto"]), ("rps", &["--auto"])]
    {
        let args = [&[game, "client", "--unchecked"], auto].concat();
        let finished = Program::socklab(&args).run();
        assert!(finished.failure(2).contains("--auto"), "{finished:?}");
    }
}
