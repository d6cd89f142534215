//! High or low under every cut.

use socklab_core::guess::{self, Message};
use socklab_core::machine::{CommandError, Input, Machine, Need, StreamEnd};
use socklab_core::wire::LINE_MAX;
use socklab_tests::role::{GuessClient, GuessEvent, GuessServer, guess_game};
use socklab_tests::script::{Outcome, assert_lawful, every_cut, every_truncation};

fn lines(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| [message.text(), b"\n"].concat()).collect()
}

/// Returns the offset after each line of `bytes`.
fn ends_of_lines(bytes: &[u8]) -> Vec<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect()
}

#[test]
fn server_plays_every_kind_of_game() {
    for (script, guesses) in [
        (&b"50\n"[..], &[Some(50)][..]),
        (b"1\n 99 \n-5\r\n50\n", &[Some(1), Some(99), Some(-5), Some(50)]),
        (b"1\n2\n3\n4\n5\n", &[Some(1), Some(2), Some(3), Some(4), Some(5)]),
        (b"\nx\n5 0\n0x32\n+50\n", &[None, None, None, None, Some(50)]),
        (b"99999999999999\n-1e9\n100\n", &[None, None, Some(100)]),
        (b"2147483647\n-2147483648\n2147483648\n", &[Some(i32::MAX), Some(i32::MIN), None]),
    ] {
        let (expected, used) = guess_game(50, guesses);
        let transcript = assert_lawful(every_truncation(&GuessServer(50), script));
        assert_eq!(transcript.sent, lines(&expected), "{script:?}");
        assert_eq!(
            transcript.boundaries,
            ends_of_lines(&transcript.sent),
            "a boundary after each line"
        );
        let seen: Vec<_> = transcript
            .events()
            .into_iter()
            .map(|guess::server::Event::Guessed { guess, .. }| guess)
            .collect();
        assert_eq!(seen, guesses[..used]);
        let is_over = !matches!(expected.last(), Some(Message::Guess));
        let outcome = if is_over { Outcome::Done } else { Outcome::Waiting(Need::Input) };
        assert_eq!(transcript.outcome, outcome);
    }
}

#[test]
fn server_counts_the_guesses_left() {
    let transcript = assert_lawful(every_cut(&GuessServer(7), b"1\nx\n9\n7\nmore\n", None));
    use Message::{High, Invalid, Low, Win};
    let event = |guess, reply, left| guess::server::Event::Guessed { guess, reply, left };
    assert_eq!(
        transcript.events(),
        [
            event(Some(1), Low, 4),
            event(None, Invalid, 3),
            event(Some(9), High, 2),
            event(Some(7), Win, 2),
        ]
    );
    assert_eq!((transcript.consumed, transcript.outcome), (8, Outcome::Done));
}

#[test]
fn server_has_an_error_text_for_every_end() {
    for (bytes, how, sentence) in [
        (&b""[..], StreamEnd::Closed, "the client closed the connection between messages"),
        (
            b"5",
            StreamEnd::Closed,
            "the client closed the connection in the middle of a message, after 1 byte",
        ),
        (
            b"5\n12",
            StreamEnd::Reset,
            "the client reset the connection in the middle of a message, after 2 bytes",
        ),
        (b"5\n", StreamEnd::TimedOut, "the client sent nothing more in time"),
    ] {
        assert_eq!(
            assert_lawful(every_cut(&GuessServer(50), bytes, Some(how))).error_text(),
            sentence
        );
    }
    let long = [&[b'5'; LINE_MAX + 1][..], b"\n"].concat();
    let transcript = assert_lawful(every_cut(&GuessServer(50), &long, None));
    assert!(transcript.error_text().contains("the client broke the protocol: a line is too long"));
    assert_eq!(transcript.sent, b"GUESS\n");
}

#[test]
fn client_plays_and_ignores_lines_it_does_not_know() {
    let script = b"Welcome\r\nGUESS\nLOW\nGUESS\n\nhigh\n HIGH \nGUESS\r\nPlease enter number 1 to 100\nGUESS\nWIN\nmore";
    let transcript = assert_lawful(every_truncation(&GuessClient::new(&[50, 75, -1, 62]), script));
    use Message::{Guess, High, Invalid, Low, Win};
    let line = |text: &str| GuessEvent::Line(text.as_bytes().to_vec());
    let [guess, low, high, invalid, win] =
        [Guess, Low, High, Invalid, Win].map(GuessEvent::Message);
    assert_eq!(
        transcript.events(),
        [
            line("Welcome"),
            guess.clone(),
            low,
            guess.clone(),
            line(""),
            line("high"),
            high,
            guess.clone(),
            invalid,
            guess,
            win,
        ]
    );
    assert_eq!(transcript.sent, b"50\n75\n-1\n62\n");
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn client_closes_at_the_end_of_the_game_and_not_before() {
    for (bytes, how, sentence) in [
        (&b"GUESS\nGAMEOVER\n"[..], StreamEnd::Reset, ""),
        (b"WIN\n", StreamEnd::TimedOut, ""),
        (
            b"GUESS\nWIN",
            StreamEnd::Closed,
            "the server closed the connection in the middle of a message, after 3 bytes",
        ),
        (b"GUESS\nLOW\n", StreamEnd::Closed, "the server closed the connection between messages"),
        (b"GUESS\n", StreamEnd::Closed, "the server closed the connection between messages"),
        (b"GUESS\n", StreamEnd::Reset, "the server reset the connection between messages"),
        (b"", StreamEnd::Closed, "the server closed the connection between messages"),
        (
            b"GUE",
            StreamEnd::TimedOut,
            "the server sent nothing more in time in the middle of a message, after 3 bytes",
        ),
    ] {
        let transcript = assert_lawful(every_cut(&GuessClient::new(&[1]), bytes, Some(how)));
        assert_eq!(transcript.error_text(), sentence, "{bytes:?}");
        assert_eq!(sentence.is_empty(), transcript.outcome == Outcome::Done);
    }
    let long = [&[b'G'; LINE_MAX + 1][..], b"\nGUESS\n"].concat();
    let transcript = assert_lawful(every_cut(&GuessClient::new(&[1]), &long, None));
    assert!(transcript.error_text().contains("the server broke the protocol: a line is too long"));
}

#[test]
fn client_guesses_only_when_asked() {
    use guess::client::Command::Guess;
    let (mut client, mut room) = (guess::Client::new(), [0; 12]);
    assert_eq!(client.command(Guess(1), &mut room), Err(CommandError::OutOfTurn));
    let _ = client.step(Input::open(b"GUESS\n"), &mut room).unwrap();
    assert_eq!(client.command(Guess(100), &mut room[..3]), Err(CommandError::OutputFull));
    assert_eq!(client.command(Guess(i32::MIN), &mut room), Ok(12));
    assert_eq!(&room, b"-2147483648\n");
    assert_eq!(client.command(Guess(1), &mut room), Err(CommandError::OutOfTurn));
}
