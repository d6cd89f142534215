use socklab_core::hello;
use socklab_core::machine::StreamEnd;

use super::Role;
use crate::pair::{Both, Faults};

/// Listens, or greets back too.
#[derive(Clone, Debug, Default)]
pub struct HelloClient {
    /// Whether it greets back.
    pub both: bool,
}

impl Role for HelloClient {
    type Machine = hello::Client;
    type Event = Vec<u8>;

    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> hello::Client {
        if self.both { hello::Client::both() } else { hello::Client::new() }
    }

    fn own(hello::client::Event::Greeting(text): hello::client::Event<'_>) -> Vec<u8> {
        text.to_vec()
    }
}

/// Greets, in one part or two, and waits to be greeted or does not.
#[derive(Clone, Debug, Default)]
pub struct HelloServer {
    /// Whether it waits to be greeted.
    pub both: bool,
    /// The first part has so many bytes. 0: there is one part.
    pub split: u8,
}

impl Role for HelloServer {
    type Machine = hello::Server;
    type Event = Vec<u8>;

    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> hello::Server {
        let server = if self.both { hello::Server::both() } else { hello::Server::new() };
        server.split(self.split)
    }

    fn own(hello::server::Event::Greeting(text): hello::server::Event<'_>) -> Vec<u8> {
        text.to_vec()
    }
}

/// What the two ends have to agree on, of which both greet or only the server.
///
/// # Errors
///
/// What they do not agree on.
pub fn hello_agrees(
    both: bool,
    faults: &Faults,
    (client, server): &Both<HelloClient, HelloServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    if !client.events.iter().all(|text| text == hello::SERVER_GREETING) || client.events.len() > 1 {
        return fail("the client was told something else");
    }
    let may_greet = both && !client.events.is_empty();
    if !server.events.iter().all(|text| text == hello::CLIENT_GREETING)
        || server.events.len() > usize::from(may_greet)
    {
        return fail("the server was told something else");
    }
    if client.ended.is_ok() == client.events.is_empty() {
        return fail("the client is done before its time, or not in time");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == usize::from(both) => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Err(hello::client::Error(e)), _)
            if e.cut().map(|cut| cut.how) == Some(StreamEnd::Reset) =>
        {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
