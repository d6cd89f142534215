//! Roles of `coin`.

use socklab_core::coin::{self, Answer, PROMPT, Reply, Side};
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LineError;

use super::Application;
use crate::draw::Draw;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// An event of a coin client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinEvent {
    /// The server prompts.
    Prompt(Vec<u8>),
    /// The server replies.
    Reply(Reply),
    /// The server sends any other line.
    Line(Vec<u8>),
}

/// Application of a coin client. Gives its answers in order.
#[derive(Clone, Debug, Default)]
pub struct CoinClient {
    answers: Vec<Vec<u8>>,
    at: usize,
}

impl CoinClient {
    /// Creates a client that gives these answers and then stops.
    #[must_use]
    pub fn new<A: AsRef<[u8]>>(answers: &[A]) -> Self {
        Self { answers: answers.iter().map(|a| a.as_ref().to_vec()).collect(), at: 0 }
    }
}

impl Application for CoinClient {
    type Machine = coin::Client;
    type Event = CoinEvent;
    const TAKES_TURNS: bool = true;
    const WAITS_FOR_IDLE: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> coin::Client {
        coin::Client::new()
    }

    fn own(event: coin::client::Event<&[u8]>) -> CoinEvent {
        match event {
            coin::client::Event::Prompt(text) => CoinEvent::Prompt(text.to_vec()),
            coin::client::Event::Reply(reply) => CoinEvent::Reply(reply),
            coin::client::Event::Line(text) => CoinEvent::Line(text.to_vec()),
        }
    }

    fn command(&self) -> Option<coin::client::Command<'_>> {
        self.answers.get(self.at).map(|answer| coin::client::Command::Answer(answer))
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<coin::client::Command<'static>> {
        Some(coin::client::Command::Answer(b"H"))
    }
}

/// Application of a coin server. Repeats its tosses in order.
#[derive(Clone, Debug)]
pub struct CoinServer {
    tosses: Vec<Side>,
    at: usize,
}

impl CoinServer {
    /// Creates a server with these tosses. Without any, every toss is heads.
    #[must_use]
    pub fn new(tosses: &[Side]) -> Self {
        Self { tosses: tosses.to_vec(), at: 0 }
    }

    fn toss(tosses: &[Side], at: usize) -> Side {
        tosses.get(at % tosses.len().max(1)).copied().unwrap_or(Side::Head)
    }
}

impl Application for CoinServer {
    type Machine = coin::Server;
    type Event = coin::server::Event;
    const TAKES_TURNS: bool = true;

    fn machine(&self) -> coin::Server {
        coin::Server::new()
    }

    fn own(event: coin::server::Event) -> coin::server::Event {
        event
    }

    fn command(&self) -> Option<coin::server::Command> {
        Some(coin::server::Command::Toss(Self::toss(&self.tosses, self.at)))
    }

    fn given(&mut self) {
        self.at += 1;
    }

    fn probe() -> Option<coin::server::Command> {
        Some(coin::server::Command::Toss(Side::Head))
    }
}

/// Returns the expected replies up to the first `Q`, computed without the code under test.
#[must_use]
pub fn coin_replies<A: AsRef<[u8]>>(answers: &[A], tosses: &[Side]) -> Vec<Reply> {
    let (mut replies, mut tossed) = (Vec::new(), 0);
    for answer in answers {
        let text = String::from_utf8_lossy(answer.as_ref());
        let text = text.trim_matches([' ', '\t', '\r', '\x0c']).to_ascii_uppercase();
        let guess = match text.as_str() {
            "H" => Side::Head,
            "T" => Side::Tail,
            "Q" => {
                replies.push(Reply::Bye);
                break;
            }
            _ => {
                replies.push(Reply::Invalid);
                continue;
            }
        };
        let is_right = CoinServer::toss(tosses, tossed) == guess;
        replies.push(if is_right { Reply::Right } else { Reply::Wrong });
        tossed += 1;
    }
    replies
}

/// Checks that the two ends agree. The answers must contain a `Q`.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn coin_agrees<A: AsRef<[u8]>>(
    answers: &[A],
    tosses: &[Side],
    faults: &Faults,
    (client, server): &PairResult<CoinClient, CoinServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let replies = coin_replies(answers, tosses);
    let prompt = CoinEvent::Prompt(PROMPT.trim_ascii_end().to_vec());
    let expected: Vec<CoinEvent> =
        replies.iter().flat_map(|reply| [prompt.clone(), CoinEvent::Reply(*reply)]).collect();
    if !expected.starts_with(&client.events) {
        return fail("the client emitted unexpected events");
    }
    let seen = answers.iter().map(|answer| match Answer::parse(answer.as_ref()) {
        Answer::Guess(side) => coin::server::Event::Guess(side),
        Answer::Quit => coin::server::Event::Quit,
        Answer::Invalid => coin::server::Event::Invalid,
    });
    if !seen.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("the server received other answers");
    }
    if server.events.len() < client.events.len() / 2 {
        return fail("the client got a reply before the server got the answer");
    }
    if (client.events.len() == expected.len()) != client.ended.is_ok() {
        return fail("the client finished too early or too late");
    }
    let is_reset = |e: LineError| e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == replies.len() => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) if is_reset(e.0) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Draws a client: its answers.
pub fn client(draw: &mut Draw<'_>, _: bool) -> CoinClient {
    CoinClient::new(&draw.texts())
}

/// Draws a server: four tosses, a bit each.
pub fn server(draw: &mut Draw<'_>, _: bool) -> CoinServer {
    let bits = draw.byte();
    let side = |n: u8| if bits >> n & 1 == 0 { Side::Head } else { Side::Tail };
    CoinServer::new(&[0, 1, 2, 3].map(side))
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(
        coin::Client::new,
        b"Toss (H/T) : You are right!\nToss (H/T) : Thanks for playing the game. Bye!\n",
        |at| [b"H", b"Q"].get(*at - 1).map(|text| coin::client::Command::Answer(*text)),
        4,
    );
    each.session(
        coin::Server::new,
        b"H\n t \nwhat\nQ\n",
        |_| Some(coin::server::Command::Toss(Side::Head)),
        4,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let toss = [PROMPT, b"You are right!\n", PROMPT, b"Sorry, you are wrong.\n"].concat();
    let game = [&toss, PROMPT, b"Thanks for playing the game. Bye!\n"].concat();
    let answers = ["H", "T", "Q", "H"];
    for length in [0, 5, PROMPT.len() + 3, toss.len(), game.len()] {
        each.script(&CoinClient::new(&answers), &game[..length], [32, 64]);
    }
    for answers in [&b"H\nt\n x\nQ\n"[..], b"H\nt", b"", b"Q\nQ\n"] {
        each.script(&CoinServer::new(&[Side::Head, Side::Head]), answers, [110, 200]);
    }
}
