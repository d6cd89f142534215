//! Roles of `guess`.

use std::convert::Infallible;

use socklab_core::guess::{self, GUESSES, Message};
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LineError;

use super::Application;
use crate::draw::Draw;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// An event of a guess client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuessEvent {
    /// A message of the protocol.
    Message(Message),
    /// Any other line.
    Line(Vec<u8>),
}

/// Application of a guess client. Makes its guesses in order.
#[derive(Clone, Debug, Default)]
pub struct GuessClient {
    guesses: Vec<i32>,
    /// Lines that are sent instead.
    unchecked: Vec<Vec<u8>>,
    at: usize,
}

impl GuessClient {
    /// Creates a client that makes these guesses and then stops.
    #[must_use]
    pub fn new(guesses: &[i32]) -> Self {
        Self { guesses: guesses.to_vec(), ..Self::default() }
    }

    /// Creates a client that sends these lines, whatever they are, and then stops.
    #[must_use]
    pub fn unchecked(lines: &[Vec<u8>]) -> Self {
        Self { unchecked: lines.to_vec(), ..Self::default() }
    }
}

impl Application for GuessClient {
    type Machine = guess::Client;
    type Event = GuessEvent;
    const TAKES_TURNS: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> guess::Client {
        guess::Client::new()
    }

    fn own(event: guess::client::Event<&[u8]>) -> GuessEvent {
        match event {
            guess::client::Event::Message(message) => GuessEvent::Message(message),
            guess::client::Event::Line(text) => GuessEvent::Line(text.to_vec()),
        }
    }

    fn command(&self) -> Option<guess::client::Command<'_>> {
        let guess = self.guesses.get(self.at).copied().map(guess::client::Command::Guess);
        guess.or_else(|| {
            self.unchecked.get(self.at).map(|line| guess::client::Command::Unchecked(line))
        })
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<guess::client::Command<'static>> {
        Some(guess::client::Command::Guess(1))
    }
}

/// Guess server. Its number is all that its application decides.
#[derive(Clone, Debug)]
pub struct GuessServer(pub i32);

impl Application for GuessServer {
    type Machine = guess::Server;
    type Event = guess::server::Event;

    fn machine(&self) -> guess::Server {
        guess::Server::new(self.0)
    }

    fn own(event: guess::server::Event) -> guess::server::Event {
        event
    }

    fn command(&self) -> Option<Infallible> {
        None
    }
}

/// Returns the expected messages and the number of guesses used, computed without the code under
/// test.
#[must_use]
pub fn guess_game(number: i32, guesses: &[Option<i32>]) -> (Vec<Message>, usize) {
    let (mut messages, mut left) = (vec![Message::Guess], GUESSES);
    for (index, guess) in guesses.iter().enumerate() {
        messages.push(match guess {
            Some(guess) if *guess == number => {
                messages.push(Message::Win);
                return (messages, index + 1);
            }
            Some(guess) if *guess < number => Message::Low,
            Some(_) => Message::High,
            None => Message::Invalid,
        });
        left -= 1;
        if left == 0 {
            messages.push(Message::GameOver);
            return (messages, index + 1);
        }
        messages.push(Message::Guess);
    }
    (messages, guesses.len())
}

/// Checks that the two ends agree. The guesses must be five, or contain the right one.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn guess_agrees(
    number: i32,
    guesses: &[i32],
    faults: &Faults,
    (client, server): &PairResult<GuessClient, GuessServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let all: Vec<Option<i32>> = guesses.iter().copied().map(Some).collect();
    let (messages, used) = guess_game(number, &all);
    let expected: Vec<GuessEvent> = messages.into_iter().map(GuessEvent::Message).collect();
    if !expected.starts_with(&client.events) {
        return fail("the client emitted unexpected events");
    }
    let seen = server.events.iter().map(|guess::server::Event::Guessed { guess, .. }| *guess);
    if !all[..used].starts_with(&seen.collect::<Vec<_>>()) {
        return fail("the server received other guesses");
    }
    if (client.events == expected) != client.ended.is_ok() {
        return fail("the client finished too early or too late");
    }
    let is_reset = |e: LineError| e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == used => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) if is_reset(e.0) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Draws a client: five guesses, or the lines that it sends `unchecked`.
pub fn client(draw: &mut Draw<'_>, unchecked: bool) -> GuessClient {
    if unchecked {
        return GuessClient::unchecked(&draw.texts());
    }
    GuessClient::new(&[(); 5].map(|()| i32::from(draw.byte()) - 20))
}

/// Draws a server: its number.
pub fn server(draw: &mut Draw<'_>, _: bool) -> GuessServer {
    GuessServer(i32::from(draw.byte() % 128))
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(
        guess::Client::new,
        b"GUESS\nLOW\nGUESS\nWIN\n",
        |at| [50, 75].get(*at - 1).map(|number| guess::client::Command::Guess(*number)),
        4,
    );
    each.session(|| guess::Server::new(42), b"50\nx\n42\n", |_| None, 3);
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let game = b"GUESS\nLOW\nGUESS\nnonsense\nHIGH\nGUESS\nWIN\n";
    for length in [0, 3, 6, 10, 16, game.len()] {
        each.script(&GuessClient::new(&[50, 75, 62, 1, 2]), &game[..length], [12, 64]);
    }
    for guesses in [&b"50\n75\n62\n"[..], b"1\n2\nx\n4\n5\n", b"5", b""] {
        each.script(&GuessServer(62), guesses, [29, 64]);
    }
}
