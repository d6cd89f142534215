//! Roles of `hello`.

use socklab_core::hello;
use socklab_core::machine::StreamEnd;

use super::Application;
use crate::draw::Draw;
use crate::oracle::long_line;
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// Client that waits for a greeting and may greet back.
#[derive(Clone, Debug, Default)]
pub struct HelloClient {
    /// Whether it greets back.
    pub both: bool,
}

impl Application for HelloClient {
    type Machine = hello::Client;
    type Event = Vec<u8>;

    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> hello::Client {
        if self.both { hello::Client::both() } else { hello::Client::new() }
    }

    fn own(hello::client::Event::Greeting(text): hello::client::Event<&[u8]>) -> Vec<u8> {
        text.to_vec()
    }
}

/// Server that greets in one or two writes and may wait for a greeting.
#[derive(Clone, Debug, Default)]
pub struct HelloServer {
    /// Whether it waits for a greeting.
    pub both: bool,
    /// Number of bytes in the first write. 0 sends the greeting in one write.
    pub split: u8,
}

impl Application for HelloServer {
    type Machine = hello::Server;
    type Event = Vec<u8>;

    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> hello::Server {
        let server = if self.both { hello::Server::both() } else { hello::Server::new() };
        server.split(self.split)
    }

    fn own(hello::server::Event::Greeting(text): hello::server::Event<&[u8]>) -> Vec<u8> {
        text.to_vec()
    }
}

/// Checks that the two ends agree. `both` is whether the client greets too.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn hello_agrees(
    both: bool,
    faults: &Faults,
    (client, server): &PairResult<HelloClient, HelloServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    if !client.events.iter().all(|text| text == hello::SERVER_GREETING) || client.events.len() > 1 {
        return fail("the client emitted unexpected events");
    }
    let may_greet = both && !client.events.is_empty();
    if !server.events.iter().all(|text| text == hello::CLIENT_GREETING)
        || server.events.len() > usize::from(may_greet)
    {
        return fail("the server emitted unexpected events");
    }
    if client.ended.is_ok() == client.events.is_empty() {
        return fail("the client finished too early or too late");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == usize::from(both) => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Err(hello::client::Error(e)), _)
            if e.cut().map(|cut| cut.how) == Some(StreamEnd::Reset) =>
        {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Draws a client. It greets back if `both`.
pub fn client(_: &mut Draw<'_>, both: bool) -> HelloClient {
    HelloClient { both }
}

/// Draws a server: the length of its first write. It waits for a greeting if `both`.
pub fn server(draw: &mut Draw<'_>, both: bool) -> HelloServer {
    HelloServer { both, split: draw.byte() }
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(hello::Client::both, b"Hello from server\n", |_| None, 1);
    each.session(|| hello::Server::both().split(8), b"Hello from client\n", |_| None, 1);
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    for both in [false, true] {
        for bytes in [&b"Hello from server\n"[..], b"Hello from s", b"", &long_line(b"Hello")] {
            each.script(&HelloClient { both }, bytes, [18, 64]);
            each.script(&HelloServer { both, split: 8 }, bytes, [18, 64]);
        }
    }
}
