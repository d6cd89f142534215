//! Roles of `file`.

use socklab_core::file::{self, Form, Malformed, Request, client, server};
use socklab_core::machine::StreamEnd;

use super::Application;
use crate::draw::Draw;
use crate::oracle::{crc32, file_reply};
use crate::pair::{Faults, PairResult};
use crate::samples::{Scripts, Sessions};

/// An event of a file client, with the pieces of the body joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileEvent {
    /// Size of the whole file in bytes.
    Found(u64),
    /// Bytes of the file.
    Body(Vec<u8>),
    /// Checksum of the file.
    Crc(u32),
    /// End of the connection in the plain form.
    Closed,
    /// Reason of the server's refusal.
    Refused(Vec<u8>),
}

/// Client that fetches one file.
#[derive(Clone, Debug)]
pub struct FileClient {
    name: Vec<u8>,
    form: Form,
    bare: bool,
    asked: bool,
}

impl FileClient {
    /// Creates a client that fetches this file in this form.
    #[must_use]
    pub fn new(name: &[u8], form: Form) -> Self {
        Self { name: name.to_vec(), form, bare: false, asked: false }
    }

    /// Sends the name without a newline first, and the newline only after a pause.
    #[must_use]
    pub const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }
}

impl Application for FileClient {
    type Machine = file::Client;
    type Event = FileEvent;
    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> file::Client {
        file::Client::new()
    }

    fn own(event: client::Event<&[u8]>) -> FileEvent {
        match event {
            client::Event::Found { size } => FileEvent::Found(size),
            client::Event::Body(bytes) => FileEvent::Body(bytes.to_vec()),
            client::Event::Crc(crc) => FileEvent::Crc(crc),
            client::Event::Closed => FileEvent::Closed,
            client::Event::Refused(reason) => FileEvent::Refused(reason.to_vec()),
        }
    }

    fn append(last: &mut FileEvent, next: &FileEvent) -> bool {
        let (FileEvent::Body(last), FileEvent::Body(next)) = (last, next) else { return false };
        last.extend_from_slice(next);
        true
    }

    fn command(&self) -> Option<client::Command<'_>> {
        let request = Request { name: &self.name[..], form: self.form };
        let command = match self.bare {
            true => client::Command::Fetch(request),
            false => client::Command::FetchLine(request),
        };
        (!self.asked).then_some(command)
    }

    fn given(&mut self) {
        self.asked = true;
    }

    fn advance_inbound(bytes: &[u8], _: bool) -> Option<FileEvent> {
        Some(FileEvent::Body(bytes.to_vec()))
    }

    fn probe() -> Option<client::Command<'static>> {
        Some(client::Command::Fetch(Request { name: b"x", form: Form::Plain }))
    }
}

/// An event of a file server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileServerEvent {
    /// A request for a file.
    Request(Vec<u8>, Form),
    /// A request that could not be parsed.
    Malformed(Malformed),
}

/// Server with one file, which it sends for every name, or with a reason to refuse.
#[derive(Clone, Debug, Default)]
pub struct FileServer {
    file: Vec<u8>,
    /// Reason to refuse every request.
    refusal: Option<Vec<u8>>,
    /// Number of bytes by which the file turns out to be shorter than announced.
    shrinks: usize,
    form: Option<Form>,
    started: bool,
    payload_sent: usize,
}

impl FileServer {
    /// Creates a server with this file.
    #[must_use]
    pub fn new(file: &[u8]) -> Self {
        Self { file: file.to_vec(), ..Self::default() }
    }

    /// Creates a server that refuses every request with this reason.
    #[must_use]
    pub fn refusing(reason: &[u8]) -> Self {
        Self { refusal: Some(reason.to_vec()), ..Self::default() }
    }

    /// Removes the last `by` bytes of the file after its size was announced.
    #[must_use]
    pub fn shrinking(self, by: usize) -> Self {
        Self { shrinks: by.min(self.file.len()), ..self }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.form.map_or(0, Form::offset)).unwrap_or(usize::MAX)
    }
}

impl Application for FileServer {
    type Machine = file::Server;
    type Event = FileServerEvent;
    const TAKES_TURNS: bool = true;
    const WAITS_FOR_IDLE: bool = true;

    fn machine(&self) -> file::Server {
        file::Server::new()
    }

    fn own(event: server::Event<&[u8]>) -> FileServerEvent {
        match event {
            server::Event::Request(request) => {
                FileServerEvent::Request(request.name.to_vec(), request.form)
            }
            server::Event::Malformed(e) => FileServerEvent::Malformed(e),
        }
    }

    fn emitted(&mut self, event: &FileServerEvent) {
        if let FileServerEvent::Request(_, form) = event {
            self.form = Some(*form);
        }
    }

    fn command(&self) -> Option<server::Command<'_>> {
        use server::Command;
        let form = self.form?;
        Some(match (&self.refusal, self.started) {
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
        self.started = true;
    }

    fn payload(&self) -> &[u8] {
        if !self.started || self.refusal.is_some() {
            return &[];
        }
        let available = &self.file[..self.file.len() - self.shrinks];
        available.get(self.offset() + self.payload_sent..).unwrap_or_default()
    }

    fn advance_outbound(&mut self, n: usize) {
        self.payload_sent += n;
    }

    fn probe() -> Option<server::Command<'static>> {
        Some(server::Command::Abort)
    }
}

/// Checks that the two ends agree when the client asks for this file.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn file_agrees(
    (name, form): (&[u8], Form),
    file: &[u8],
    faults: &Faults,
    (client, server): &PairResult<FileClient, FileServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let offset = usize::try_from(form.offset()).unwrap_or(usize::MAX);
    let body = file.get(offset..).unwrap_or_default();
    let body = (!body.is_empty()).then(|| FileEvent::Body(body.to_vec()));
    let expected: Vec<FileEvent> = match form {
        Form::Plain => body.into_iter().chain([FileEvent::Closed]).collect(),
        Form::Checked { .. } if offset > file.len() => {
            vec![FileEvent::Refused(b"too short".into())]
        }
        Form::Checked { .. } => [FileEvent::Found(file.len() as u64)]
            .into_iter()
            .chain(body)
            .chain([FileEvent::Crc(crc32(file))])
            .collect(),
    };
    // The last piece of the body may be incomplete.
    for (got, expected) in client.events.iter().zip(&expected) {
        match (got, expected) {
            (FileEvent::Body(got), FileEvent::Body(expected)) if expected.starts_with(got) => {}
            _ if got == expected => {}
            _ => return fail("the client emitted unexpected events"),
        }
    }
    if client.events.len() > expected.len() {
        return fail("the client emitted too many events");
    }
    let asked = FileServerEvent::Request(name.to_vec(), form);
    if server.events.iter().any(|event| *event != asked) || server.events.len() > 1 {
        return fail("the server received another request");
    }
    let is_whole = client.events == expected;
    if is_whole != client.ended.is_ok() {
        return fail("the client finished too early or too late");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == 1 => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(e), _) => match e {
            client::Error::NoReply { how: StreamEnd::Reset, .. }
            | client::Error::Truncated { how: StreamEnd::Reset, .. } => Ok(()),
            client::Error::Reason(e) if e.cut().is_some_and(|cut| cut.how == StreamEnd::Reset) => {
                Ok(())
            }
            _ => fail("a reset was reported as another error"),
        },
    }
}

/// Draws a client: 0 for the plain form or 1 more than the offset, and the name.
pub fn client(draw: &mut Draw<'_>, _: bool) -> FileClient {
    let form = match draw.byte().checked_sub(1) {
        None => Form::Plain,
        Some(offset) => Form::Checked { offset: offset.into() },
    };
    FileClient::new(&draw.text(), form)
}

/// Draws a server: the length of its file, and by how much the file shrinks or 255 for a server that refuses.
pub fn server(draw: &mut Draw<'_>, _: bool) -> FileServer {
    let [length, shrinks] = [draw.byte(), draw.byte()];
    if shrinks == 255 {
        return FileServer::refusing(&draw.text());
    }
    let file: Vec<u8> = (0..length).collect();
    FileServer::new(&file).shrinking(shrinks.into())
}

/// Lists sessions of both ends.
pub fn sessions(each: &mut impl Sessions) {
    each.session(
        file::Client::new,
        b"+\0\0\0\0\0\0\0\x03abc\x01\x02\x03\x04",
        |_| {
            let form = Form::Checked { offset: 0 };
            Some(file::client::Command::Fetch(file::Request { name: b"notes.txt", form }))
        },
        3,
    );
    each.session(
        file::Server::new,
        b"notes.txt\0v1\x000\n",
        |at| {
            use file::server::Command::{Check, Send};
            [Send(0), Check(0)].get(*at - 1).copied()
        },
        1,
    );
}

/// Lists scripts for both ends.
pub fn scripts(each: &mut impl Scripts) {
    let file = b"some bytes of a file";
    let whole = file_reply(file, 0);
    let checked = FileClient::new(b"notes", Form::Checked { offset: 0 });
    for length in [0, 1, 5, 9, 12, whole.len() - 1, whole.len()] {
        each.script(&checked, &whole[..length], [1050, 1200]);
    }
    each.script(&checked, b"-no such file\n", [1050, 1200]);
    each.script(&FileClient::new(b"notes", Form::Plain), file, [1050, 1200]);
    let rest = FileClient::new(b"notes", Form::Checked { offset: 7 });
    each.script(&rest, &file_reply(file, 7), [1050, 1200]);
    let file = b"some bytes of a file, more of them than an output buffer holds";
    let (server, none) = (FileServer::new(file), FileServer::refusing(b"no such file"));
    for request in [&b"notes\n"[..], b"!0 notes\n", b"!7 notes\n", b"!99 notes\n", b"!x\n", b"not"]
    {
        each.script(&server, request, [1050, 1200]);
        each.script(&none, request, [1050, 1200]);
        each.script(&server.clone().shrinking(3), request, [1050, 1200]);
        each.script(&FileServer::new(b""), request, [1050, 1200]);
    }
}
