//! Games with clients that take one `recv` for one message, on a busy machine. This is a test
//! binary of its own so that it does not slow down other tests.

use std::time::Duration;

use socklab_tests::load::under_load;
use socklab_tests::program::{Finished, Program, Server};

/// Creates a Python client of our server.
fn python_client(script: &str, server: &Server, args: &[&str]) -> Program {
    let port = server.addr.port().to_string();
    Program::peer(script, &[&["127.0.0.1", &port], args].concat())
}

fn stdout(finished: &Finished) -> String {
    String::from_utf8_lossy(finished.success()).into_owned()
}

/// Plays `games` games of each kind with clients that take one recv for one message, several at a
/// time, under load. None may hang.
fn games_under_load(games: usize) {
    const AT_ONCE: usize = 10;
    let guess = Server::start("guess", &[]);
    let coin = Server::start("coin", &[]);
    let each = (games / AT_ONCE).to_string();
    let (guesses, coins): (Vec<_>, Vec<_>) = under_load(|| {
        let start = |script: &str, server: &Server, args: &[&str]| {
            let client = python_client(script, server, &[args, &["--games", &each]].concat());
            client.deadline(Duration::from_secs(60 + games as u64)).start()
        };
        let running: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let one = start("guess_client.py", &guess, &[]);
                (one, start("coin_client.py", &coin, &["H", "T", "Q"]))
            })
            .collect();
        running
            .into_iter()
            .map(|(one, other)| (stdout(&one.finish()), stdout(&other.finish())))
            .unzip()
    });
    let (guesses, coins) = (guesses.concat(), coins.concat());
    assert_eq!(guesses.matches("WIN\n").count() + guesses.matches("GAMEOVER\n").count(), games);
    assert_eq!(coins.matches(" out of 2 times.\n").count(), games);
    let log = guess.process.wait_for_lines(1 + games);
    assert_eq!(log.matches(": found ").count() + log.matches(": did not find ").count(), games);
    assert!(!log.contains("then"), "{log}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn clients_that_take_one_recv_for_one_message_finish_their_games_under_load() {
    games_under_load(20);
}

#[test]
#[ignore = "500 games of each kind take minutes; .ci/run plays them"]
fn all_of_five_hundred_games_are_finished_under_load() {
    games_under_load(500);
}
