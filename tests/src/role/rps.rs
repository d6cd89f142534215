use socklab_core::machine::StreamEnd;
use socklab_core::rps::{self, Choice, PROMPT, Round};

use super::Role;
use crate::pair::{Both, Faults};

/// What a client of scissor, paper, stone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpsTold {
    /// The server asks.
    Prompt(Vec<u8>),
    /// Both have chosen.
    Round(Round),
    /// The server says something else.
    Line(Vec<u8>),
}

/// Player 1: chooses this, in this order.
#[derive(Clone, Debug, Default)]
pub struct RpsClient {
    choices: Vec<Choice>,
    at: usize,
}

impl RpsClient {
    /// With these choices, then none.
    #[must_use]
    pub fn new(choices: &[Choice]) -> Self {
        Self { choices: choices.to_vec(), at: 0 }
    }
}

impl Role for RpsClient {
    type Machine = rps::Client;
    type Event = RpsTold;
    const TAKES_TURNS: bool = true;
    const HEARS_SILENCE: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> rps::Client {
        rps::Client::new()
    }

    fn own(event: rps::client::Event<'_>) -> RpsTold {
        match event {
            rps::client::Event::Prompt(text) => RpsTold::Prompt(text.to_vec()),
            rps::client::Event::Round(round) => RpsTold::Round(round),
            rps::client::Event::Line(text) => RpsTold::Line(text.to_vec()),
        }
    }

    fn command(&self) -> Option<rps::client::Command<'_>> {
        self.choices.get(self.at).copied().map(rps::client::Command::Choose)
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<rps::client::Command<'static>> {
        Some(rps::client::Command::Choose(Choice::Paper))
    }
}

/// Player 2: chooses this, in this order.
#[derive(Clone, Debug, Default)]
pub struct RpsServer {
    choices: Vec<Choice>,
    at: usize,
}

impl RpsServer {
    /// With these choices, then none.
    #[must_use]
    pub fn new(choices: &[Choice]) -> Self {
        Self { choices: choices.to_vec(), at: 0 }
    }
}

impl Role for RpsServer {
    type Machine = rps::Server;
    type Event = rps::server::Event;
    const TAKES_TURNS: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> rps::Server {
        rps::Server::new()
    }

    fn own(event: rps::server::Event) -> rps::server::Event {
        event
    }

    fn command(&self) -> Option<rps::server::Command> {
        self.choices.get(self.at).copied().map(rps::server::Command::Choose)
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<rps::server::Command> {
        Some(rps::server::Command::Choose(Choice::Stone))
    }
}

/// What the two players have to agree on. Each has three choices.
///
/// # Errors
///
/// What they do not agree on.
pub fn rps_agrees(
    player1: &[Choice],
    player2: &[Choice],
    faults: &Faults,
    (client, server): &Both<RpsClient, RpsServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let rounds: Vec<Round> = player1.iter().zip(player2).map(|(a, b)| Round::of(*a, *b)).collect();
    let prompt = RpsTold::Prompt(PROMPT.trim_ascii_end().to_vec());
    let seen: Vec<RpsTold> =
        rounds.iter().flat_map(|round| [prompt.clone(), RpsTold::Round(*round)]).collect();
    if !seen.starts_with(&client.events) {
        return fail("player 1 saw something else");
    }
    let told = rounds
        .iter()
        .flat_map(|round| [rps::server::Event::Chosen, rps::server::Event::Round(*round)]);
    if !told.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("player 2 saw something else");
    }
    let known = |n: usize, events: usize| n <= events;
    if !known(client.events.len() / 2, server.events.len() / 2) {
        return fail("player 1 knows a round before player 2 has chosen");
    }
    if (client.events == seen) != client.ended.is_ok() {
        return fail("player 1 is done before its time, or not in time");
    }
    if server.ended.is_ok() && client.events != seen {
        return fail("player 2 is done before player 1 has acknowledged");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 2 * rounds.len() => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(rps::client::Error::Line(e)), _)
            if e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset) =>
        {
            Ok(())
        }
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
