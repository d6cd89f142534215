//! The server's side: files under a root.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use socklab_core::file::server::{Command, Error, Event, Server};
use socklab_core::file::{Form, Malformed};
use socklab_core::machine::CommandError;
use socklab_core::wire::Escaped;

use super::disk::{Access, Job, Opened, Pool, Reached, is_cached, unreadable};
use crate::net::{self, Ended, PayloadWriter, Work};

/// Bytes that are sent in one turn: a bound on how long others wait, some hundred microseconds.
const TURN: u64 = 1 << 20;

/// One session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub peer: SocketAddr,
    /// What it asked for; `None` when no request came.
    pub asked: Option<Asked>,
    /// So many bytes of the file were sent.
    pub sent: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A request, and the file's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name as it came.
    pub name: Box<[u8]>,
    /// The form of the request.
    pub form: Form,
    /// The file's size in bytes; `None` when it is not to be had.
    pub size: Option<u64>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was sent all of it.
    Sent,
    /// The client was told that it is not to be had, and this reason if the form has place for it.
    Refused(String),
    /// What came is no request.
    Malformed(Malformed),
    /// The file could not be read to its end: the connection was reset.
    Unreadable(String),
    /// The client failed.
    Failed(Error, net::Quote),
    /// The service gave a command that the machine does not take: its own mistake.
    Internal(CommandError),
    /// The client left or stopped reading before it had received everything.
    Undelivered,
    /// The server stopped first.
    Stopped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, asked, sent, outcome } = self;
        write!(f, "{peer}: ")?;
        if let Some(Asked { name, form, size }) = asked {
            let kind = if *form == Form::Plain { "plain" } else { "checked" };
            // A name's newline is none in a log.
            let name = Escaped(name).to_string().replace('\n', "\\n");
            write!(f, "\"{name}\" {kind}, ")?;
            if let Some(size) = size {
                let from = match form.offset() {
                    0 => String::new(),
                    offset => format!(" from {offset} on"),
                };
                write!(f, "{sent} of {size} bytes sent{from}, ")?;
            }
        }
        match outcome {
            Outcome::Sent => f.write_str("complete"),
            Outcome::Refused(reason) => write!(f, "refused: {reason}"),
            Outcome::Malformed(e) => e.fmt(f),
            Outcome::Unreadable(reason) => write!(f, "reset: {reason}"),
            Outcome::Failed(e, quote) => write!(f, "{e}{}", quote.suffix()),
            Outcome::Internal(e) => Ended::<Error>::Refused(*e).fmt(f),
            Outcome::Undelivered => Ended::<Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<Error>::Stopped.fmt(f),
        }
    }
}

/// Serves the regular files under a root, for a [`net::Server`].
///
/// The root is a capability: neither `..` nor an absolute name nor a symbolic link leads out of it,
/// and what it leads to is opened only if it is a regular file.
///
/// Names are looked up, and files opened, read and summed up, by a small pool of threads: a slow or cold
/// disk delays only the client that asked.
pub struct Service {
    pool: Pool,
    /// Of the refusal in hand.
    reason: String,
}

impl Service {
    /// Serves what is under this folder.
    ///
    /// # Errors
    ///
    /// When it is no folder, or may not be read.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self {
            pool: Pool::new(Dir::open_ambient_dir(root, ambient_authority())?, None),
            reason: String::new(),
        })
    }

    /// Calls this before every access to the disk, in the worker thread that makes it: to slow it down,
    /// or to count.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor to spare.
    // Hidden: only tests need it, to play a disk that is slow or hangs, and they are in another crate.
    #[doc(hidden)]
    pub fn on_access(self, hook: impl Fn(Access<'_>) + Send + Sync + 'static) -> io::Result<Self> {
        Ok(Self { pool: self.pool.hooked(Arc::new(hook))?, ..self })
    }
}

/// What the service remembers of a session: nothing before the request has come.
#[derive(Debug, Default)]
pub struct Session(Option<Box<Asking>>);

#[derive(Debug)]
struct Asking {
    name: Box<[u8]>,
    form: Form,
    reply: Reply,
    /// The machine has been told how the reply begins.
    begun: bool,
    /// What came is no request.
    malformed: Option<Malformed>,
}

#[derive(Debug)]
enum Reply {
    /// The name has come, and no one has looked for it.
    Asked,
    /// A worker looks for it.
    Opening(Arc<Job>),
    File(Sending),
    Refusal(String),
}

#[derive(Debug)]
struct Sending {
    job: Arc<Job>,
    opened: Opened,
    /// So many bytes of the body have been sent.
    sent: u64,
    /// Where it was found to be no longer in the page cache.
    read_again: Option<u64>,
    /// The checksum of the whole file, when it is known.
    crc: Option<u32>,
    /// Why it cannot be read on.
    failure: Option<String>,
}

impl Asking {
    /// A piece of the work: of the disk's part only what the workers have done.
    fn go_on(&mut self, pool: &Pool, writer: &mut PayloadWriter<'_>) -> Work {
        match &mut self.reply {
            Reply::Refusal(_) => Work::Wait,
            Reply::Asked => {
                let job = Job::start(pool, &self.name, self.form, writer.waker());
                self.reply = Reply::Opening(job);
                Work::Sleep
            }
            Reply::Opening(job) => {
                let offset = self.form.offset();
                self.reply = match job.opened() {
                    None => return Work::Sleep,
                    Some(Err(reason)) => Reply::Refusal(reason),
                    Some(Ok(Opened { size, .. })) if size < offset => Reply::Refusal(format!(
                        "the file has only {size} bytes, offset {offset} is past its end"
                    )),
                    Some(Ok(opened)) => Reply::File(Sending {
                        job: Arc::clone(job),
                        opened,
                        sent: 0,
                        read_again: None,
                        crc: None,
                        failure: None,
                    }),
                };
                Work::Again
            }
            Reply::File(sending) => sending.go_on(self.form, pool, writer),
        }
    }
}

impl Sending {
    /// Sends a piece of the body, as far as it has been read. Never reads from a disk itself.
    fn go_on(&mut self, form: Form, pool: &Pool, writer: &mut PayloadWriter<'_>) -> Work {
        let at = form.offset() + self.sent;
        let warm = self.job.advance(pool, at).warm;
        if at < warm {
            let until = warm.min(at.saturating_add(TURN));
            // Once for each place: where the page cache is too small it is sent all the same.
            if self.read_again != Some(at) && !is_cached(&self.opened.file, at, until) {
                self.read_again = Some(at);
                self.job.read_again(pool, at);
                return Work::Sleep;
            }
            match writer.send_file(&self.opened.file, at, until - at) {
                Ok(n) => self.sent += n,
                Err(e) => {
                    self.failure = Some(unreadable(&e));
                    return Work::Again;
                }
            }
        }
        let at = form.offset() + self.sent;
        // It is read on while this is on its way.
        let Reached { warm, crc, failure } = self.job.advance(pool, at);
        self.crc = crc;
        self.failure = failure;
        let is_sent = at == self.opened.size && (form == Form::Plain || crc.is_some());
        if self.failure.is_some() || is_sent || at < warm { Work::Again } else { Work::Sleep }
    }
}

impl net::Service for Service {
    type Machine = Server;
    type State = Session;
    type Report = Report;

    const SCRATCH: usize = 65_536;
    /// In the plain form an orderly close is an answer: the end of the file, or an empty one.
    const RESETS: bool = true;

    fn open(&mut self) -> (Server, Session) {
        (Server::new(), Session(None))
    }

    fn event(&mut self, session: &mut Session, event: Event<'_>) {
        let (name, form, malformed, reply) = match event {
            Event::Malformed(e) => (&[][..], Form::Plain, Some(e), Reply::Refusal(String::new())),
            Event::Request(request) => (request.name, request.form, None, Reply::Asked),
        };
        let name = name.into();
        session.0 = Some(Box::new(Asking { name, form, reply, begun: false, malformed }));
    }

    fn command(&mut self, session: &mut Session) -> Option<Command<'_>> {
        let asking = session.0.as_mut()?;
        let begun = asking.begun;
        asking.begun |= matches!(asking.reply, Reply::Refusal(_) | Reply::File(_));
        match &asking.reply {
            Reply::Asked | Reply::Opening(_) => None,
            Reply::Refusal(_) if begun => None,
            // Its words are the system's: no newline in them, and shorter than a line.
            Reply::Refusal(reason) => {
                self.reason.clone_from(reason);
                Some(Command::Refuse(self.reason.as_bytes()))
            }
            Reply::File(Sending { failure: Some(_), .. }) => Some(Command::Abort),
            Reply::File(Sending { opened, .. }) if !begun => Some(Command::Send(opened.size)),
            Reply::File(Sending { opened, sent, crc: Some(crc), .. })
                if asking.form != Form::Plain && asking.form.offset() + sent == opened.size =>
            {
                Some(Command::Check(*crc))
            }
            Reply::File(_) => None,
        }
    }

    fn work(&mut self, session: &mut Session, writer: &mut PayloadWriter<'_>) -> Work {
        match &mut session.0 {
            Some(asking) => asking.go_on(&self.pool, writer),
            None => Work::Wait,
        }
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &Server,
        session: &mut Session,
        ended: Ended<Error>,
    ) -> Report {
        let mut report = Report { peer, asked: None, sent: 0, outcome: Outcome::Sent };
        if let Some(asking) = session.0.take() {
            let Asking { name, form, reply, malformed, .. } = *asking;
            let mut size = None;
            match reply {
                Reply::Asked => {}
                Reply::Opening(job) => job.abandon(&self.pool),
                Reply::Refusal(reason) => report.outcome = Outcome::Refused(reason),
                Reply::File(sending) => {
                    sending.job.abandon(&self.pool);
                    (size, report.sent) = (Some(sending.opened.size), sending.sent);
                    if let Some(reason) = sending.failure {
                        report.outcome = Outcome::Unreadable(reason);
                    }
                }
            }
            match malformed {
                Some(e) => report.outcome = Outcome::Malformed(e),
                None => report.asked = Some(Asked { name, form, size }),
            }
        }
        match ended {
            Ended::Undelivered if report.outcome == Outcome::Sent => {
                report.outcome = Outcome::Undelivered;
            }
            Ended::Done | Ended::Undelivered => {}
            Ended::Failed(e, quote) => report.outcome = Outcome::Failed(e, quote),
            Ended::Refused(e) => report.outcome = Outcome::Internal(e),
            Ended::Stopped => report.outcome = Outcome::Stopped,
        }
        report
    }
}
