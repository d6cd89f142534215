use socklab_core::coin::{self, Answer, PROMPT, Reply, Side};
use socklab_core::machine::StreamEnd;
use socklab_core::wire::LineError;

use super::Role;
use crate::pair::{Both, Faults};

/// What a coin client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinTold {
    /// The server asks.
    Prompt(Vec<u8>),
    /// The server replies.
    Reply(Reply),
    /// The server says something else.
    Line(Vec<u8>),
}

/// A coin client's application: answers this, in this order.
#[derive(Clone, Debug, Default)]
pub struct CoinClient {
    answers: Vec<Vec<u8>>,
    at: usize,
}

impl CoinClient {
    /// With these answers, then none.
    #[must_use]
    pub fn new<A: AsRef<[u8]>>(answers: &[A]) -> Self {
        Self { answers: answers.iter().map(|a| a.as_ref().to_vec()).collect(), at: 0 }
    }
}

impl Role for CoinClient {
    type Machine = coin::Client;
    type Event = CoinTold;
    const TAKES_TURNS: bool = true;
    const HEARS_SILENCE: bool = true;
    const CLOSE_ENDS_TURN: bool = true;

    fn machine(&self) -> coin::Client {
        coin::Client::new()
    }

    fn own(event: coin::client::Event<'_>) -> CoinTold {
        match event {
            coin::client::Event::Prompt(text) => CoinTold::Prompt(text.to_vec()),
            coin::client::Event::Reply(reply) => CoinTold::Reply(reply),
            coin::client::Event::Line(text) => CoinTold::Line(text.to_vec()),
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

/// A coin server's application: tosses this, over and over.
#[derive(Clone, Debug)]
pub struct CoinServer {
    tosses: Vec<Side>,
    at: usize,
}

impl CoinServer {
    /// With these tosses; none are all heads.
    #[must_use]
    pub fn new(tosses: &[Side]) -> Self {
        Self { tosses: tosses.to_vec(), at: 0 }
    }

    fn toss(tosses: &[Side], at: usize) -> Side {
        tosses.get(at % tosses.len().max(1)).copied().unwrap_or(Side::Head)
    }
}

impl Role for CoinServer {
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

/// The replies due to these answers, worked out the plain way: up to the first `Q`.
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

/// What the two ends of head or tail have to agree on. The answers have a `Q` in them.
///
/// # Errors
///
/// What they do not agree on.
pub fn coin_agrees<A: AsRef<[u8]>>(
    answers: &[A],
    tosses: &[Side],
    faults: &Faults,
    (client, server): &Both<CoinClient, CoinServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let replies = coin_replies(answers, tosses);
    let prompt = CoinTold::Prompt(PROMPT.trim_ascii_end().to_vec());
    let told: Vec<CoinTold> =
        replies.iter().flat_map(|reply| [prompt.clone(), CoinTold::Reply(*reply)]).collect();
    if !told.starts_with(&client.events) {
        return fail("the client was told something else");
    }
    let seen = answers.iter().map(|answer| match Answer::parse(answer.as_ref()) {
        Answer::Guess(side) => coin::server::Event::Guess(side),
        Answer::Quit => coin::server::Event::Quit,
        Answer::Invalid => coin::server::Event::Invalid,
    });
    if !seen.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("the server saw other answers");
    }
    if server.events.len() < client.events.len() / 2 {
        return fail("the client has replies to what the server has not seen");
    }
    if (client.events.len() == told.len()) != client.ended.is_ok() {
        return fail("the client is done before its time, or not in time");
    }
    let is_reset = |e: LineError| e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == replies.len() => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) if is_reset(e.0) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
