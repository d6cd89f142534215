use socklab_core::add;
use socklab_core::machine::StreamEnd;
use socklab_core::wire::{LineError, Truncated};

use super::Role;
use crate::oracle::{AddHeard, add_heard, add_message, add_split};
use crate::pair::{Both, Faults};
use crate::script::Script;

/// Introduces itself, once.
#[derive(Clone, Debug)]
pub struct AddClient {
    name: Vec<u8>,
    number: i32,
    form: add::Form,
    apart: bool,
    /// Number of commands given.
    said: usize,
}

impl AddClient {
    /// With this name, or one like it that can be a line of its own, and this number.
    #[must_use]
    pub fn new(name: &[u8], number: i32) -> Self {
        let form = add::Form::LINES;
        Self { name: sendable(name), number, form, apart: false, said: 0 }
    }

    /// In this form.
    #[must_use]
    pub fn form(self, form: add::Form) -> Self {
        Self { form, ..self }
    }

    /// Name and number by themselves.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// What it puts on the wire.
    #[must_use]
    pub fn says(&self) -> Vec<u8> {
        add_message(&self.name, self.number, self.form)
    }
}

/// A name that is not taken for name and number.
fn sendable(name: &[u8]) -> Vec<u8> {
    let dot: &[u8] = if add_split(name).is_some() { b"." } else { b"" };
    [name, dot].concat()
}

/// What either end is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddTold {
    /// The other's name.
    Name(Vec<u8>),
    /// Its number.
    Number(i32),
    /// Its number, which shuts the server down; `None` when it has more than 32 bits.
    OutOfRange(Option<i32>),
}

impl Role for AddClient {
    type Machine = add::Client;
    type Event = AddTold;
    const TAKES_TURNS: bool = true;
    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> add::Client {
        add::Client::new()
    }

    fn own(event: add::client::Event<'_>) -> AddTold {
        match event {
            add::client::Event::Name(name) => AddTold::Name(name.to_vec()),
            add::client::Event::Number(number) => AddTold::Number(number),
        }
    }

    fn command(&self) -> Option<add::client::Command<'_>> {
        let Self { ref name, number, form, apart, said } = *self;
        match said {
            0 if apart => Some(add::client::Command::Name { name, form }),
            0 => Some(add::client::Command::Introduce { name, number, form }),
            1 if apart => Some(add::client::Command::Number { number, form }),
            _ => None,
        }
    }

    fn given(&mut self) {
        self.said += 1;
    }

    fn probe() -> Option<add::client::Command<'static>> {
        Some(add::client::Command::Introduce { name: b"x", number: 1, form: add::Form::LINES })
    }
}

/// Answers whoever has a number.
#[derive(Clone, Debug)]
pub struct AddServer {
    name: Vec<u8>,
    number: i32,
}

impl AddServer {
    /// With this name, or one like it that can be a line of its own, and this number.
    #[must_use]
    pub fn new(name: &[u8], number: i32) -> Self {
        Self { name: sendable(name), number }
    }

    /// What it answers in this form. The separator does not occur inside the name.
    #[must_use]
    pub fn answer(&self, form: add::Form) -> Vec<u8> {
        let name = |byte: &u8| if *byte == form.separator { b'_' } else { *byte };
        add_message(&self.name.iter().map(name).collect::<Vec<_>>(), self.number, form)
    }
}

impl Role for AddServer {
    type Machine = add::Server;
    type Event = AddTold;
    const TAKES_TURNS: bool = true;
    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> add::Server {
        add::Server::new()
    }

    fn own(event: add::server::Event<'_>) -> AddTold {
        match event {
            add::server::Event::Name(name) => AddTold::Name(name.to_vec()),
            add::server::Event::Number(number) => AddTold::Number(number),
            add::server::Event::OutOfRange(number) => AddTold::OutOfRange(number),
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

/// What the two ends have to agree on.
///
/// # Errors
///
/// What they do not agree on.
pub fn add_agrees(
    one: &AddClient,
    two: &AddServer,
    faults: &Faults,
    (client, server): &Both<AddClient, AddServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let shuts_down = !add::RANGE.contains(&one.number);
    // What either end sends, as a plain implementation hears it: a separator at the end of a name is not
    // told from the one behind it.
    let heard = |bytes: &[u8]| add_heard(&Script::new(bytes, Some(StreamEnd::Closed)));
    let asked = heard(&one.says());
    let reply = heard(&two.answer(asked.form));
    let told = |heard: AddHeard, number| [AddTold::Name(heard.name.unwrap_or_default()), number];
    let number = match one.number {
        out if shuts_down => AddTold::OutOfRange(Some(out)),
        number => AddTold::Number(number),
    };
    if !told(asked, number).starts_with(&server.events) {
        return fail("the server was told something else");
    }
    let answer = told(reply, AddTold::Number(two.number));
    let answer = if shuts_down { &[][..] } else { &answer };
    if !answer.starts_with(&client.events) {
        return fail("the client was told something else");
    }
    if !client.events.is_empty() && server.events.len() < 2 {
        return fail("the client has an answer to what the server never saw");
    }
    if client.ended.is_ok() && client.events.len() != answer.len() {
        return fail("the client is done before its time");
    }
    let is_reset = |cut: Option<Truncated>| cut.is_some_and(|cut| cut.how == StreamEnd::Reset);
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 2 => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
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
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
