//! Roles of `add`.

use socklab_core::add;
use socklab_core::machine::StreamEnd;
use socklab_core::wire::{LineError, Truncated};

use super::Application;
use crate::draw::Draw;
use crate::oracle::{AddParsed, add_message, add_split, long_line, parse_add};
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};
use crate::script::Script;

/// Client that introduces itself once.
#[derive(Clone, Debug)]
pub struct AddClient {
    name: Vec<u8>,
    number: i32,
    form: add::Form,
    apart: bool,
    /// Number of commands given.
    commands_given: usize,
}

impl AddClient {
    /// Creates a client with this number and this name. A name that would be parsed as name and
    /// number gets a dot.
    #[must_use]
    pub fn new(name: &[u8], number: i32) -> Self {
        let form = add::Form::LINES;
        Self { name: sendable(name), number, form, apart: false, commands_given: 0 }
    }

    /// Sets the form of the message.
    #[must_use]
    pub fn form(self, form: add::Form) -> Self {
        Self { form, ..self }
    }

    /// Sends name and number in separate writes.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Returns the bytes it sends.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        add_message(&self.name, self.number, self.form)
    }
}

/// Returns the name, changed so that it is not parsed as name and number.
fn sendable(name: &[u8]) -> Vec<u8> {
    let dot: &[u8] = if add_split(name).is_some() { b"." } else { b"" };
    [name, dot].concat()
}

/// An event of either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddEvent {
    /// The peer's name.
    Name(Vec<u8>),
    /// The peer's number.
    Number(i32),
    /// A number that shuts the server down. `None` if it does not fit in an `i32`.
    OutOfRange(Option<i32>),
}

impl Application for AddClient {
    type Machine = add::Client;
    type Event = AddEvent;
    const TAKES_TURNS: bool = true;
    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> add::Client {
        add::Client::new()
    }

    fn own(event: add::client::Event<&[u8]>) -> AddEvent {
        match event {
            add::client::Event::Name(name) => AddEvent::Name(name.to_vec()),
            add::client::Event::Number(number) => AddEvent::Number(number),
        }
    }

    fn command(&self) -> Option<add::client::Command<'_>> {
        let Self { ref name, number, form, apart, commands_given } = *self;
        match commands_given {
            0 if apart => Some(add::client::Command::Name { name, form }),
            0 => Some(add::client::Command::Introduce { name, number, form }),
            1 if apart => Some(add::client::Command::Number { number, form }),
            _ => None,
        }
    }

    fn given(&mut self) {
        self.commands_given += 1;
    }

    fn probe() -> Option<add::client::Command<'static>> {
        Some(add::client::Command::Introduce { name: b"x", number: 1, form: add::Form::LINES })
    }
}

/// Server that answers every valid number.
#[derive(Clone, Debug)]
pub struct AddServer {
    name: Vec<u8>,
    number: i32,
}

impl AddServer {
    /// Creates a server with this number and this name. A name that would be parsed as name and
    /// number gets a dot.
    #[must_use]
    pub fn new(name: &[u8], number: i32) -> Self {
        Self { name: sendable(name), number }
    }

    /// Returns its answer in this form. A separator inside the name is replaced.
    #[must_use]
    pub fn answer(&self, form: add::Form) -> Vec<u8> {
        let name = |byte: &u8| if *byte == form.separator { b'_' } else { *byte };
        add_message(&self.name.iter().map(name).collect::<Vec<_>>(), self.number, form)
    }
}

impl Application for AddServer {
    type Machine = add::Server;
    type Event = AddEvent;
    const TAKES_TURNS: bool = true;
    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> add::Server {
        add::Server::new()
    }

    fn own(event: add::server::Event<&[u8]>) -> AddEvent {
        match event {
            add::server::Event::Name(name) => AddEvent::Name(name.to_vec()),
            add::server::Event::Number(number) => AddEvent::Number(number),
            add::server::Event::OutOfRange(number) => AddEvent::OutOfRange(number),
        }
    }

    fn command(&self) -> Option<add::server::Command<'_>> {
        let Self { name, number } = self;
        Some(add::server::Command::Answer { name, number: *number })
    }

    fn probe() -> Option<add::server::Command<'static>> {
        Some(add::server::Command::Answer { name: b"x", number: 1 })
    }
}

/// Checks that the two ends agree.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn add_agrees(
    one: &AddClient,
    two: &AddServer,
    faults: &Faults,
    (client, server): &PairResult<AddClient, AddServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let shuts_down = !add::RANGE.contains(&one.number);
    // The expected events come from the oracle: a separator at the end of a name cannot be told
    // from the one that follows it.
    let parse = |bytes: &[u8]| parse_add(&Script::new(bytes, Some(StreamEnd::Closed)));
    let request = parse(&one.message());
    let reply = parse(&two.answer(request.form));
    let expected =
        |parsed: AddParsed, number| [AddEvent::Name(parsed.name.unwrap_or_default()), number];
    let number = match one.number {
        out if shuts_down => AddEvent::OutOfRange(Some(out)),
        number => AddEvent::Number(number),
    };
    if !expected(request, number).starts_with(&server.events) {
        return fail("the server emitted unexpected events");
    }
    let answer = expected(reply, AddEvent::Number(two.number));
    let answer = if shuts_down { &[][..] } else { &answer };
    if !answer.starts_with(&client.events) {
        return fail("the client emitted unexpected events");
    }
    if !client.events.is_empty() && server.events.len() < 2 {
        return fail("the client got an answer before the server got the number");
    }
    if client.ended.is_ok() && client.events.len() != answer.len() {
        return fail("the client finished too early");
    }
    let is_reset = |cut: Option<Truncated>| cut.is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 2 => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (
            Some(_),
            Err(
                add::client::Error::Unanswered(StreamEnd::Reset)
                | add::client::Error::NameOnly(StreamEnd::Reset),
            )
            | Ok(()),
            _,
        ) => Ok(()),
        (Some(_), Err(add::client::Error::Line(e)), _) if is_reset(LineError::cut(&e)) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Draws a client: its name and number.
pub fn client(draw: &mut Draw<'_>, _: bool) -> AddClient {
    AddClient::new(&draw.text(), i32::from(draw.byte()))
}

/// Draws a server: its name and number.
pub fn server(draw: &mut Draw<'_>, _: bool) -> AddServer {
    AddServer::new(&draw.text(), i32::from(draw.byte()))
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(
        add::Client::new,
        b"Server\n7\n",
        |at| {
            let form = add::Form::message(b',');
            match at {
                1 => Some(add::client::Command::Name { name: b"Ada", form }),
                2 => Some(add::client::Command::Number { number: 42, form }),
                _ => None,
            }
        },
        2,
    );
    each.session(
        add::Server::new,
        b"Ada\n42\n",
        |_| Some(add::server::Command::Answer { name: b"Server", number: 7 }),
        2,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let all = [long_line(b"Ada"), b" 12\r\n".to_vec()].concat();
    for length in [0, 7, 1024, 1025, 1027, all.len()] {
        each.script(&AddClient::new(b"Grace", 99), &all[..length], [1038, 1200]);
        each.script(&AddServer::new(b"Grace", 99), &all[..length], [1038, 1200]);
    }
    each.script(&AddClient::new(b"Grace", 0), b"", [1038, 1200]);
    each.script(&AddServer::new(b"Grace", 99), b"Ada\n101\n", [1038, 1200]);
    each.script(&AddServer::new(b"Grace", 99), b"Ada\ntwelve\n", [1038, 1200]);
}
