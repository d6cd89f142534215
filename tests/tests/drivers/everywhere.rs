//! The same script through every driver.

use embedded_io::ErrorKind;
use embedded_nal::TcpErrorKind;
use socklab_core::coin::{PROMPT, Side};
use socklab_core::file::Form;
use socklab_core::machine::{Machine, StreamEnd};
use socklab_core::rps::{self, Choice, PROMPT as CHOOSE};
use socklab_tests::oracle::{echo_message, echo_reply_bytes, file_reply, question};
use socklab_tests::role::{
    AddClient, AddServer, ChatSide, CoinClient, CoinServer, EchoClient, EchoServer, FileClient,
    FileServer, GuessClient, GuessServer, HelloClient, HelloServer, MathClient, MathServer, Role,
    RpsClient, RpsServer,
};
use socklab_tests::transport::{NetEnd, NetError, Stream};

use crate::ways::{
    Ended, Observed, by_async, by_blocking, by_hand, by_nonblocking, by_pool, by_pump, by_session,
};

/// Checks that a driver gave the expected result. Where the end of the stream may end the
/// application's turn, it may also have given a prefix of it and an error.
fn agree<R: Role>(
    seen: &Observed<R::Event>,
    expected: &Observed<R::Event>,
    how: StreamEnd,
    way: &str,
) {
    let may_differ = if how == StreamEnd::Closed { R::CLOSE_ENDS_TURN } else { R::TAKES_TURNS };
    let is_prefix = expected.events.starts_with(&seen.events)
        && expected.sent.starts_with(&seen.sent)
        && matches!(seen.ended, Ended::Protocol(_));
    // An abort drops what is queued.
    let is_aborted_early = expected.ended == Ended::Aborted
        && (&seen.events, &seen.ended) == (&expected.events, &expected.ended)
        && expected.sent.starts_with(&seen.sent);
    assert!(
        seen == expected || may_differ && is_prefix || is_aborted_early,
        "{way}, {how:?}: {seen:?}, expected {expected:?}"
    );
}

/// Runs a script through every driver.
fn everywhere<R: Role>(role: &R, bytes: &[u8], pump_outputs: [usize; 2]) {
    // With a smaller output a machine may wait for space that never comes.
    assert!(pump_outputs.iter().all(|output| *output >= R::Machine::MIN_OUTPUT));
    for (how, kind, ends) in [
        (StreamEnd::Closed, Ok(()), &[NetEnd::Zero, NetEnd::PipeClosed][..]),
        (StreamEnd::Reset, Err(ErrorKind::ConnectionReset), &[NetEnd::Other]),
        (StreamEnd::Reset, Err(ErrorKind::ConnectionAborted), &[NetEnd::Other]),
        (StreamEnd::TimedOut, Err(ErrorKind::TimedOut), &[]),
    ] {
        let expected = by_hand(role, bytes, how);
        let same = |seen: &Observed<R::Event>, way: &str| agree::<R>(seen, &expected, how, way);
        for seed in 0..12 {
            same(&by_session(role, bytes, how, seed), "session");
            for output in pump_outputs {
                same(&by_pump(role, bytes, how, seed, output), "pump");
            }
            for interrupted in [0, 50] {
                if how == StreamEnd::TimedOut && R::WAITS_FOR_IDLE {
                    continue;
                }
                let most = 1 + seed as usize;
                let stream = || Stream::new(bytes, kind, most, seed).interrupted(interrupted);
                same(&by_blocking(role, stream(), seed).0, "blocking");
                same(&by_blocking(role, stream().buffering(), seed).0, "buffering");
            }
            if how != StreamEnd::TimedOut || !R::WAITS_FOR_IDLE {
                same(&by_async(role, bytes, kind, seed), "async");
            }
            for end in ends {
                let (seen, fault) = by_nonblocking(role, bytes, *end, seed, |_, _| {});
                same(&seen, "nonblocking");
                // What a pool's application sends without turns depends on when it is asked.
                if R::TAKES_TURNS || role.command().is_none() {
                    same(&by_pool(role, bytes, *end, seed), "pool");
                }
                // A fault that ended the session must stay available.
                let is_reset = matches!(&seen.ended, Ended::Protocol(e) if e.contains("Reset"));
                if is_reset || how == StreamEnd::Closed {
                    assert_eq!(fault, is_reset.then_some(NetError(TcpErrorKind::Other)));
                }
            }
        }
    }
}

#[test]
fn math_client_is_the_same_everywhere() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    for length in [0, 5, 9, 18, 27, 30, 36] {
        everywhere(&MathClient, &all[..length], [4, 64]);
    }
    everywhere(&MathClient, b"Q\0\0\0\x01\0\0\0\x02X", [4, 64]);
}

#[test]
fn math_server_is_the_same_everywhere() {
    let role = MathServer::new(&[(1, 2), (3, 4), (u32::MAX, 9)], Some(b"opensesm"));
    let all = [3_u32, 7, 8].map(u32::to_be_bytes).concat();
    for length in [0, 3, 4, 6, 12] {
        everywhere(&role, &all[..length], [9, 64]);
    }
    everywhere(&role, &[3_u32, 6].map(u32::to_be_bytes).concat(), [9, 64]);
}

#[test]
fn echo_server_is_the_same_everywhere() {
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let all: Vec<u8> = messages.iter().flat_map(|m| echo_message(m.as_bytes())).collect();
    for length in [0, 2, 4, 20, 40, all.len()] {
        everywhere(&EchoServer, &all[..length], [4, 64]);
    }
    everywhere(&EchoServer, &[&all[..], b"\0\0\0\x02\xff\xff"].concat(), [4, 64]);
}

#[test]
fn echo_client_is_the_same_everywhere() {
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let replies: Vec<u8> = messages
        .iter()
        .flat_map(|m| echo_message(&echo_reply_bytes(m.as_bytes()).unwrap()))
        .collect();
    // The application of a pump cannot split a command that does not fit, so its output is large.
    let role = EchoClient::new(&messages, true);
    for length in [0, 3, 8, 12, 20, replies.len()] {
        everywhere(&role, &replies[..length], [128, 512]);
    }
    everywhere(&role, &[&replies[..8], b"\xff\xff\xff\xff"].concat(), [128, 512]);
}

/// Returns a line of the greatest length that a peer may send.
fn long(text: &[u8]) -> Vec<u8> {
    [text, &vec![b'x'; 1024 - text.len()], b"\n"].concat()
}

#[test]
fn add_is_the_same_everywhere() {
    let all = [long(b"Ada"), b" 12\r\n".to_vec()].concat();
    for length in [0, 7, 1024, 1025, 1027, all.len()] {
        everywhere(&AddClient::new(b"Grace", 99), &all[..length], [1038, 1200]);
        everywhere(&AddServer::new(b"Grace", 99), &all[..length], [1038, 1200]);
    }
    everywhere(&AddClient::new(b"Grace", 0), b"", [1038, 1200]);
    everywhere(&AddServer::new(b"Grace", 99), b"Ada\n101\n", [1038, 1200]);
    everywhere(&AddServer::new(b"Grace", 99), b"Ada\ntwelve\n", [1038, 1200]);
}

#[test]
fn hello_is_the_same_everywhere() {
    for both in [false, true] {
        for bytes in [&b"Hello from server\n"[..], b"Hello from s", b"", &long(b"Hello")] {
            everywhere(&HelloClient { both }, bytes, [18, 64]);
            everywhere(&HelloServer { both, split: 8 }, bytes, [18, 64]);
        }
    }
}

#[test]
fn chat_is_the_same_everywhere() {
    let (ours, theirs) = (["one", "two", "three"], b"eins\nzwei\r\nund BYE\nnever");
    for length in [0, 2, 5, 11, 19, theirs.len()] {
        everywhere(&ChatSide::duplex(&ours), &theirs[..length], [1025, 1100]);
    }
    // With turns, the application must always have a line to send.
    let ours = ["one", "two", "three", "four", "bye"];
    for theirs in [&b"eins\nzwei\nbye\n"[..], b"1\n2\n3\n4\n5\n", b"ei", b"eins\nzw"] {
        everywhere(&ChatSide::client(&ours), theirs, [1025, 1100]);
        everywhere(&ChatSide::server(&ours), theirs, [1025, 1100]);
    }
}

#[test]
fn coin_is_the_same_everywhere() {
    let toss = [PROMPT, b"You are right!\n", PROMPT, b"Sorry, you are wrong.\n"].concat();
    let game = [&toss, PROMPT, b"Thanks for playing the game. Bye!\n"].concat();
    let answers = ["H", "T", "Q", "H"];
    for length in [0, 5, PROMPT.len() + 3, toss.len(), game.len()] {
        everywhere(&CoinClient::new(&answers), &game[..length], [32, 64]);
    }
    for answers in [&b"H\nt\n x\nQ\n"[..], b"H\nt", b"", b"Q\nQ\n"] {
        everywhere(&CoinServer::new(&[Side::Head, Side::Head]), answers, [110, 200]);
    }
}

#[test]
fn guess_is_the_same_everywhere() {
    let game = b"GUESS\nLOW\nGUESS\nnonsense\nHIGH\nGUESS\nWIN\n";
    for length in [0, 3, 6, 10, 16, game.len()] {
        everywhere(&GuessClient::new(&[50, 75, 62, 1, 2]), &game[..length], [12, 64]);
    }
    for guesses in [&b"50\n75\n62\n"[..], b"1\n2\nx\n4\n5\n", b"5", b""] {
        everywhere(&GuessServer(62), guesses, [29, 64]);
    }
}

#[test]
fn rps_is_the_same_everywhere() {
    let choices = [Choice::Paper, Choice::Stone, Choice::Scissor];
    let round = |line: &[u8]| [CHOOSE, line, b"\n"].concat();
    let game = [
        round(b"Draw,Paper,Paper"),
        round(b"Player1 win!,Stone,Scissor"),
        round(b"Player2 wins!,Scissor,Stone"),
    ]
    .concat();
    for length in [0, 20, round(b"Draw,Paper,Paper").len(), game.len()] {
        everywhere(&RpsClient::new(&choices), &game[..length], [rps::Client::MIN_OUTPUT, 64]);
    }
    let game = b"Paper\nDraw,Paper,Paper\nPaper\nPlayer1 wins!,Paper,Stone\nStone\n\
                 Player1 wins!,Stone,Scissor\n";
    for length in [0, 3, 6, 23, game.len()] {
        everywhere(&RpsServer::new(&choices), &game[..length], [80, 128]);
    }
    everywhere(&RpsServer::new(&choices), b"Rock\n", [80, 128]);
}

#[test]
fn file_client_is_the_same_everywhere() {
    let file = b"some bytes of a file";
    let whole = file_reply(file, 0);
    let checked = FileClient::new(b"notes", Form::Checked { offset: 0 });
    for length in [0, 1, 5, 9, 12, whole.len() - 1, whole.len()] {
        everywhere(&checked, &whole[..length], [1050, 1200]);
    }
    everywhere(&checked, b"-no such file\n", [1050, 1200]);
    everywhere(&FileClient::new(b"notes", Form::Plain), file, [1050, 1200]);
    let rest = FileClient::new(b"notes", Form::Checked { offset: 7 });
    everywhere(&rest, &file_reply(file, 7), [1050, 1200]);
}

#[test]
fn file_server_is_the_same_everywhere() {
    let file = b"some bytes of a file, more of them than an output buffer holds";
    let (server, none) = (FileServer::new(file), FileServer::refusing(b"no such file"));
    for request in [&b"notes\n"[..], b"!0 notes\n", b"!7 notes\n", b"!99 notes\n", b"!x\n", b"not"]
    {
        everywhere(&server, request, [1050, 1200]);
        everywhere(&none, request, [1050, 1200]);
        everywhere(&server.clone().shrinking(3), request, [1050, 1200]);
        everywhere(&FileServer::new(b""), request, [1050, 1200]);
    }
}
