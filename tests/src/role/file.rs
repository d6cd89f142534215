use socklab_core::file::{self, Form, Malformed, Request, client, server};
use socklab_core::machine::StreamEnd;

use super::Role;
use crate::oracle::crc32;
use crate::pair::{Both, Faults};

/// What a file client is told, the body put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileGot {
    /// The whole file's size.
    Found(u64),
    /// Bytes of it.
    Body(Vec<u8>),
    /// Its checksum.
    Crc(u32),
    /// The plain form's end.
    Closed,
    /// The server's reason.
    Refused(Vec<u8>),
}

/// Fetches one file.
#[derive(Clone, Debug)]
pub struct FileClient {
    name: Vec<u8>,
    form: Form,
    bare: bool,
    asked: bool,
}

impl FileClient {
    /// The file of this name, in this form.
    #[must_use]
    pub fn new(name: &[u8], form: Form) -> Self {
        Self { name: name.to_vec(), form, bare: false, asked: false }
    }

    /// In the plain form, the newline only after silence.
    #[must_use]
    pub const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }
}

impl Role for FileClient {
    type Machine = file::Client;
    type Event = FileGot;
    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> file::Client {
        file::Client::new()
    }

    fn own(event: client::Event<'_>) -> FileGot {
        match event {
            client::Event::Found { size } => FileGot::Found(size),
            client::Event::Body(bytes) => FileGot::Body(bytes.to_vec()),
            client::Event::Crc(crc) => FileGot::Crc(crc),
            client::Event::Closed => FileGot::Closed,
            client::Event::Refused(reason) => FileGot::Refused(reason.to_vec()),
        }
    }

    fn append(last: &mut FileGot, next: &FileGot) -> bool {
        let (FileGot::Body(last), FileGot::Body(next)) = (last, next) else { return false };
        last.extend_from_slice(next);
        true
    }

    fn command(&self) -> Option<client::Command<'_>> {
        let request = Request { name: &self.name, form: self.form };
        let command = match self.bare {
            true => client::Command::Fetch(request),
            false => client::Command::FetchLine(request),
        };
        (!self.asked).then_some(command)
    }

    fn given(&mut self) {
        self.asked = true;
    }

    fn advance_inbound(bytes: &[u8], _: bool) -> Option<FileGot> {
        Some(FileGot::Body(bytes.to_vec()))
    }

    fn probe() -> Option<client::Command<'static>> {
        Some(client::Command::Fetch(Request { name: b"x", form: Form::Plain }))
    }
}

/// What a file server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAsked {
    /// For this file.
    Request(Vec<u8>, Form),
    /// For none.
    Malformed(Malformed),
}

/// Has one file, whatever it is called, or has not.
#[derive(Clone, Debug, Default)]
pub struct FileServer {
    file: Vec<u8>,
    /// It is not to be had.
    refusal: Option<Vec<u8>>,
    /// It turns out to have so many bytes less.
    shrinks: usize,
    form: Option<Form>,
    begun: bool,
    paid: usize,
}

impl FileServer {
    /// This file.
    #[must_use]
    pub fn new(file: &[u8]) -> Self {
        Self { file: file.to_vec(), ..Self::default() }
    }

    /// None, and why.
    #[must_use]
    pub fn refusing(reason: &[u8]) -> Self {
        Self { refusal: Some(reason.to_vec()), ..Self::default() }
    }

    /// A file of which the last so many bytes are gone once it is to be sent.
    #[must_use]
    pub fn shrinking(self, by: usize) -> Self {
        Self { shrinks: by.min(self.file.len()), ..self }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.form.map_or(0, Form::offset)).unwrap_or(usize::MAX)
    }
}

impl Role for FileServer {
    type Machine = file::Server;
    type Event = FileAsked;
    const TAKES_TURNS: bool = true;
    const HEARS_SILENCE: bool = true;

    fn machine(&self) -> file::Server {
        file::Server::new()
    }

    fn own(event: server::Event<'_>) -> FileAsked {
        match event {
            server::Event::Request(request) => {
                FileAsked::Request(request.name.to_vec(), request.form)
            }
            server::Event::Malformed(e) => FileAsked::Malformed(e),
        }
    }

    fn emitted(&mut self, event: &FileAsked) {
        if let FileAsked::Request(_, form) = event {
            self.form = Some(*form);
        }
    }

    fn command(&self) -> Option<server::Command<'_>> {
        use server::Command;
        let form = self.form?;
        Some(match (&self.refusal, self.begun) {
            (_, true) if !self.payload().is_empty() => return None,
            (_, true) if self.shrinks > 0 => Command::Abort,
            (_, true) if form == Form::Plain => return None,
            (_, true) => Command::Check(crc32(&self.file)),
            (Some(reason), false) => Command::Refuse(reason),
            (None, false) if self.offset() > self.file.len() => Command::Refuse(b"too short"),
            (None, false) => Command::Send(self.file.len() as u64),
        })
    }

    fn given(&mut self) {
        self.begun = true;
    }

    fn payload(&self) -> &[u8] {
        if !self.begun || self.refusal.is_some() {
            return &[];
        }
        let there = &self.file[..self.file.len() - self.shrinks];
        there.get(self.offset() + self.paid..).unwrap_or_default()
    }

    fn advance_outbound(&mut self, n: usize) {
        self.paid += n;
    }

    fn probe() -> Option<server::Command<'static>> {
        Some(server::Command::Abort)
    }
}

/// What the two ends have to agree on when the client asks for this file.
///
/// # Errors
///
/// What they do not agree on.
pub fn file_agrees(
    (name, form): (&[u8], Form),
    file: &[u8],
    faults: &Faults,
    (client, server): &Both<FileClient, FileServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let offset = usize::try_from(form.offset()).unwrap_or(usize::MAX);
    let body = file.get(offset..).unwrap_or_default();
    let body = (!body.is_empty()).then(|| FileGot::Body(body.to_vec()));
    let told: Vec<FileGot> = match form {
        Form::Plain => body.into_iter().chain([FileGot::Closed]).collect(),
        Form::Checked { .. } if offset > file.len() => vec![FileGot::Refused(b"too short".into())],
        Form::Checked { .. } => [FileGot::Found(file.len() as u64)]
            .into_iter()
            .chain(body)
            .chain([FileGot::Crc(crc32(file))])
            .collect(),
    };
    // As far as it came; the body may be cut.
    for (got, told) in client.events.iter().zip(&told) {
        match (got, told) {
            (FileGot::Body(got), FileGot::Body(told)) if told.starts_with(got) => {}
            _ if got == told => {}
            _ => return fail("the client was told something else"),
        }
    }
    if client.events.len() > told.len() {
        return fail("the client was told more than there is");
    }
    let asked = FileAsked::Request(name.to_vec(), form);
    if server.events.iter().any(|event| *event != asked) || server.events.len() > 1 {
        return fail("the server was asked something else");
    }
    let is_whole = client.events == told;
    if is_whole != client.ended.is_ok() {
        return fail("the client is done before its time, or not in time");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 1 => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) => match e {
            client::Error::NoReply { how: StreamEnd::Reset, .. }
            | client::Error::Truncated { how: StreamEnd::Reset, .. } => Ok(()),
            client::Error::Reason(e) if e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset) => {
                Ok(())
            }
            _ => fail("a reset is named something else"),
        },
    }
}
