use std::convert::Infallible;

use socklab_core::guess::{self, GUESSES, Message};
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LineError;

use super::Role;
use crate::pair::{Both, Faults};

/// What a guess client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuessTold {
    /// A message.
    Message(Message),
    /// Some other line.
    Line(Vec<u8>),
}

/// A guess client's application: guesses this, in this order.
#[derive(Clone, Debug, Default)]
pub struct GuessClient {
    guesses: Vec<i32>,
    at: usize,
}

impl GuessClient {
    /// With these guesses, then none.
    #[must_use]
    pub fn new(guesses: &[i32]) -> Self {
        Self { guesses: guesses.to_vec(), at: 0 }
    }
}

impl Role for GuessClient {
    type Machine = guess::Client;
    type Event = GuessTold;
    const TAKES_TURNS: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> guess::Client {
        guess::Client::new()
    }

    fn own(event: guess::client::Event<'_>) -> GuessTold {
        match event {
            guess::client::Event::Message(message) => GuessTold::Message(message),
            guess::client::Event::Line(text) => GuessTold::Line(text.to_vec()),
        }
    }

    fn command(&self) -> Option<guess::client::Command<'_>> {
        self.guesses.get(self.at).copied().map(guess::client::Command::Guess)
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<guess::client::Command<'static>> {
        Some(guess::client::Command::Guess(1))
    }
}

/// A guess server: it has nothing to decide but its number.
#[derive(Clone, Debug)]
pub struct GuessServer(pub i32);

impl Role for GuessServer {
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

/// What is said to these guesses, worked out the plain way, and how many of them are used.
#[must_use]
pub fn guess_game(number: i32, guesses: &[Option<i32>]) -> (Vec<Message>, usize) {
    let (mut said, mut left) = (vec![Message::Guess], GUESSES);
    for (index, guess) in guesses.iter().enumerate() {
        said.push(match guess {
            Some(guess) if *guess == number => {
                said.push(Message::Win);
                return (said, index + 1);
            }
            Some(guess) if *guess < number => Message::Low,
            Some(_) => Message::High,
            None => Message::Invalid,
        });
        left -= 1;
        if left == 0 {
            said.push(Message::GameOver);
            return (said, index + 1);
        }
        said.push(Message::Guess);
    }
    (said, guesses.len())
}

/// What the two ends of high or low have to agree on. There are five guesses, or the right one.
///
/// # Errors
///
/// What they do not agree on.
pub fn guess_agrees(
    number: i32,
    guesses: &[i32],
    faults: &Faults,
    (client, server): &Both<GuessClient, GuessServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let all: Vec<Option<i32>> = guesses.iter().copied().map(Some).collect();
    let (said, used) = guess_game(number, &all);
    let heard: Vec<GuessTold> = said.into_iter().map(GuessTold::Message).collect();
    if !heard.starts_with(&client.events) {
        return fail("the client heard something else");
    }
    let seen = server.events.iter().map(|guess::server::Event::Guessed { guess, .. }| *guess);
    if !all[..used].starts_with(&seen.collect::<Vec<_>>()) {
        return fail("the server saw other guesses");
    }
    if (client.events == heard) != client.ended.is_ok() {
        return fail("the client is done before its time, or not in time");
    }
    let is_reset = |e: LineError| e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == used => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) if is_reset(e.0) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
