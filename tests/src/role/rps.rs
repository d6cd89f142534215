//! Roles of `rps`.

use socklab_core::machine::{Machine, StreamEnd};
use socklab_core::rps::{self, Choice, PROMPT, Round};

use super::Application;
use crate::draw::Draw;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// An event of a rock, paper, scissors client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpsEvent {
    /// The server prompts.
    Prompt(Vec<u8>),
    /// Both players have chosen.
    Round(Round),
    /// The server sends any other line.
    Line(Vec<u8>),
}

/// Player 1. Makes its choices in order.
#[derive(Clone, Debug, Default)]
pub struct RpsClient {
    choices: Vec<Choice>,
    /// Lines that are sent instead.
    unchecked: Vec<Vec<u8>>,
    at: usize,
}

impl RpsClient {
    /// Creates a player that makes these choices and then stops.
    #[must_use]
    pub fn new(choices: &[Choice]) -> Self {
        Self { choices: choices.to_vec(), ..Self::default() }
    }

    /// Creates a player that sends these lines, whatever they are, and then stops.
    #[must_use]
    pub fn unchecked(lines: &[Vec<u8>]) -> Self {
        Self { unchecked: lines.to_vec(), ..Self::default() }
    }
}

impl Application for RpsClient {
    type Machine = rps::Client;
    type Event = RpsEvent;
    const TAKES_TURNS: bool = true;
    const WAITS_FOR_IDLE: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> rps::Client {
        rps::Client::new()
    }

    fn own(event: rps::client::Event<&[u8]>) -> RpsEvent {
        match event {
            rps::client::Event::Prompt(text) => RpsEvent::Prompt(text.to_vec()),
            rps::client::Event::Round(round) => RpsEvent::Round(round),
            rps::client::Event::Line(text) => RpsEvent::Line(text.to_vec()),
        }
    }

    fn command(&self) -> Option<rps::client::Command<'_>> {
        let choice = self.choices.get(self.at).copied().map(rps::client::Command::Choose);
        choice.or_else(|| {
            self.unchecked.get(self.at).map(|line| rps::client::Command::Unchecked(line))
        })
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<rps::client::Command<'static>> {
        Some(rps::client::Command::Choose(Choice::Paper))
    }
}

/// Player 2. Makes its choices in order.
#[derive(Clone, Debug, Default)]
pub struct RpsServer {
    choices: Vec<Choice>,
    at: usize,
}

impl RpsServer {
    /// Creates a player that makes these choices and then stops.
    #[must_use]
    pub fn new(choices: &[Choice]) -> Self {
        Self { choices: choices.to_vec(), at: 0 }
    }
}

impl Application for RpsServer {
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

/// Checks that the two players agree. Each must have three choices.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn rps_agrees(
    player1: &[Choice],
    player2: &[Choice],
    faults: &Faults,
    (client, server): &PairResult<RpsClient, RpsServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let rounds: Vec<Round> = player1.iter().zip(player2).map(|(a, b)| Round::of(*a, *b)).collect();
    let prompt = RpsEvent::Prompt(PROMPT.trim_ascii_end().to_vec());
    let shown: Vec<RpsEvent> =
        rounds.iter().flat_map(|round| [prompt.clone(), RpsEvent::Round(*round)]).collect();
    if !shown.starts_with(&client.events) {
        return fail("player 1 emitted unexpected events");
    }
    let expected = rounds
        .iter()
        .flat_map(|round| [rps::server::Event::Chosen, rps::server::Event::Round(*round)]);
    if !expected.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("player 2 emitted unexpected events");
    }
    if client.events.len() / 2 > server.events.len() / 2 {
        return fail("player 1 got a result before player 2 had chosen");
    }
    if (client.events == shown) != client.ended.is_ok() {
        return fail("player 1 finished too early or too late");
    }
    if server.ended.is_ok() && client.events != shown {
        return fail("player 2 finished before player 1 had acknowledged");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 2 * rounds.len() => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(rps::client::Error::Line(e)), _)
            if e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset) =>
        {
            Ok(())
        }
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Draws a client: its choices, or the lines that it sends `unchecked`.
pub fn client(draw: &mut Draw<'_>, unchecked: bool) -> RpsClient {
    if unchecked {
        return RpsClient::unchecked(&draw.texts());
    }
    RpsClient::new(&choices(draw))
}

/// Draws a server: its choices.
pub fn server(draw: &mut Draw<'_>, _: bool) -> RpsServer {
    RpsServer::new(&choices(draw))
}

/// Draws the choices of a game.
pub fn choices(draw: &mut Draw<'_>) -> [Choice; 3] {
    [(); 3].map(|()| Choice::ALL[usize::from(draw.byte() % 3)])
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(
        rps::Client::new,
        b"Choose: Draw,Paper,Paper\nChoose: Player1 wins!,Paper,Stone\nChoose: Draw,Paper,Paper\n",
        |_| Some(rps::client::Command::Choose(Choice::Paper)),
        6,
    );
    each.session(
        rps::Server::new,
        b"Paper\nDraw,Paper,Paper\nStone\nPlayer2 wins!,Stone,Paper\nPaper\nDraw,Paper,Paper\n",
        |_| Some(rps::server::Command::Choose(Choice::Paper)),
        6,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let choices = [Choice::Paper, Choice::Stone, Choice::Scissor];
    let round = |line: &[u8]| [PROMPT, line, b"\n"].concat();
    let game = [
        round(b"Draw,Paper,Paper"),
        round(b"Player1 win!,Stone,Scissor"),
        round(b"Player2 wins!,Scissor,Stone"),
    ]
    .concat();
    for length in [0, 20, round(b"Draw,Paper,Paper").len(), game.len()] {
        each.script(&RpsClient::new(&choices), &game[..length], [rps::Client::MIN_OUTPUT, 64]);
    }
    let game = b"Paper\nDraw,Paper,Paper\nPaper\nPlayer1 wins!,Paper,Stone\nStone\n\
                 Player1 wins!,Stone,Scissor\n";
    for length in [0, 3, 6, 23, game.len()] {
        each.script(&RpsServer::new(&choices), &game[..length], [80, 128]);
    }
    each.script(&RpsServer::new(&choices), b"Rock\n", [80, 128]);
}
