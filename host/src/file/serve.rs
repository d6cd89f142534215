//! Server side: the service that sends the files below a root folder.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use socklab_core::file::server::{Command, Error, Event, Server};
use socklab_core::file::{Form, Malformed};

use super::disk::{Access, Job, JobProgress, Opened, Pool, is_cached, read_failure};
use crate::net::{self, Ended, PayloadWriter, Work};
use crate::text::one_line;

/// Largest number of bytes that are sent in one turn. It limits the delay of other clients to some hundred
/// microseconds.
const TURN: u64 = 1 << 20;

/// Result of one session of a server, for a log.
#[derive(Clone, Debug)]
pub struct Report {
    /// Address of the client.
    pub peer: SocketAddr,
    /// The request; `None` if none was received.
    pub asked: Option<Asked>,
    /// Number of bytes of the file that were sent.
    pub sent: u64,
    /// How the session ended.
    pub outcome: Outcome,
}

/// A request, and the size of the requested file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the file, as received.
    pub name: Box<[u8]>,
    /// Form of the request.
    pub form: Form,
    /// Size of the file in bytes; `None` if the file was not opened.
    pub size: Option<u64>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file was sent completely.
    Sent,
    /// The request was refused for this reason. The checked form transmits the reason, the plain form cannot.
    Refused(String),
    /// The received data is not a request.
    Malformed(Malformed),
    /// The file could not be read to its end, so the connection was reset.
    Unreadable(String),
    /// The client violated the protocol, or the connection failed.
    Failed(Error, net::Quote),
    /// The machine rejected a command of the service: an internal error.
    Internal(net::Internal),
    /// The client closed the connection or stopped reading before it had received everything.
    Undelivered,
    /// The server was stopped during the session.
    Stopped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, asked, sent, outcome } = self;
        write!(f, "{peer}: ")?;
        if let Some(Asked { name, form, size }) = asked {
            let kind = if *form == Form::Plain { "plain" } else { "checked" };
            write!(f, "\"{}\" {kind}, ", one_line(name))?;
            if let Some(size) = size {
                let from = match form.offset() {
                    0 => String::new(),
                    offset => format!(" from offset {offset}"),
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
            Outcome::Internal(e) => e.fmt(f),
            Outcome::Undelivered => Ended::<Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<Error>::Stopped.fmt(f),
        }
    }
}

/// Service that sends the regular files below a root folder, for a [`net::Server`].
///
/// The root is a capability: no `..`, absolute name or symbolic link leads out of it. Only regular files are
/// opened.
///
/// A small pool of threads looks up names, opens and reads files and computes their checksums. So a slow disk delays
/// only the clients that use it.
pub struct Service {
    pool: Arc<Pool>,
    /// Reason of the current refusal: a command borrows it.
    reason: String,
}

impl Service {
    /// Creates a service for the files below `root`.
    ///
    /// # Errors
    ///
    /// If `root` is not a folder, or may not be read.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self {
            pool: Arc::new(Pool::new(Dir::open_ambient_dir(root, ambient_authority())?, None)),
            reason: String::new(),
        })
    }

    /// Calls `hook` before every access to the disk, in the worker thread that makes it.
    ///
    /// # Errors
    ///
    /// If the system has no free file descriptor.
    // Hidden: only tests use it, to count accesses and to simulate a disk that is slow or hangs, and they are in another
    // crate.
    #[doc(hidden)]
    pub fn on_access(self, hook: impl Fn(Access<'_>) + Send + Sync + 'static) -> io::Result<Self> {
        Ok(Self { pool: Arc::new(self.pool.with_hook(Arc::new(hook))?), ..self })
    }
}

/// State of a session: empty until the request has been received.
#[derive(Debug, Default)]
pub struct Session(Option<Box<Exchange>>);

/// A request and the reply to it.
#[derive(Debug)]
struct Exchange {
    name: Box<[u8]>,
    form: Form,
    reply: Reply,
    /// The command that starts the reply has been given to the machine.
    started: bool,
    /// Set if the received data is not a request.
    malformed: Option<Malformed>,
}

#[derive(Debug)]
enum Reply {
    /// The request has been received, but no job has been started.
    Requested,
    /// A worker opens the file.
    Opening(Arc<Job>),
    File(Sending),
    Refusal(String),
}

#[derive(Debug)]
struct Sending {
    job: Arc<Job>,
    opened: Opened,
    /// Number of bytes of the body that have been sent.
    sent: u64,
    /// Offset at which the file was last found missing from the page cache.
    read_again: Option<u64>,
    /// Checksum of the whole file, once it is known.
    crc: Option<u32>,
    /// Reason why the file cannot be read any further.
    failure: Option<String>,
}

impl Exchange {
    /// Advances the reply as far as the workers have got. Never accesses the disk itself.
    fn advance(&mut self, pool: &Pool, writer: &mut PayloadWriter<'_>) -> Work {
        match &mut self.reply {
            Reply::Refusal(_) => Work::Wait,
            Reply::Requested => {
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
            Reply::File(sending) => sending.advance(self.form, pool, writer),
        }
    }
}

impl Sending {
    /// Sends a part of the body, as far as it has been read. Never accesses the disk itself.
    fn advance(&mut self, form: Form, pool: &Pool, writer: &mut PayloadWriter<'_>) -> Work {
        let at = form.offset() + self.sent;
        let read = self.job.set_sent(pool, at).read;
        if at < read {
            let until = read.min(at.saturating_add(TURN));
            // Once for each offset: with a page cache that is too small, the bytes would never stay in it. Then they are
            // sent anyway.
            if self.read_again != Some(at) && !is_cached(&self.opened.file, at, until) {
                self.read_again = Some(at);
                self.job.read_again(pool, at);
                return Work::Sleep;
            }
            // In the checked form the client reads every byte, for the checksum.
            let sent = match form {
                Form::Checked { .. } if writer.is_local() => {
                    writer.copy_file(&self.opened.file, at, until - at)
                }
                _ => writer.send_file(&self.opened.file, at, until - at),
            };
            match sent {
                Ok(n) => self.sent += n,
                Err(e) => {
                    self.failure = Some(read_failure(&e));
                    return Work::Again;
                }
            }
        }
        let at = form.offset() + self.sent;
        // A second time, so that a worker reads ahead while these bytes are in transit.
        let JobProgress { read, crc, failure } = self.job.set_sent(pool, at);
        self.crc = crc;
        self.failure = failure;
        let is_sent = at == self.opened.size && (form == Form::Plain || crc.is_some());
        if self.failure.is_some() || is_sent || at < read { Work::Again } else { Work::Sleep }
    }
}

impl net::Service for Service {
    type Machine = Server;
    type State = Session;
    type Report = Report;

    const SCRATCH: usize = 65_536;
    /// In the plain form an orderly close is a reply: it marks the end of a file, which may be empty.
    const RESETS: bool = true;

    fn open(&mut self) -> (Server, Session) {
        (Server::new(), Session(None))
    }

    fn event(&mut self, session: &mut Session, event: Event<&[u8]>) {
        let (name, form, malformed, reply) = match event {
            Event::Malformed(e) => (&[][..], Form::Plain, Some(e), Reply::Refusal(String::new())),
            Event::Request(request) => (request.name, request.form, None, Reply::Requested),
        };
        let name = name.into();
        session.0 = Some(Box::new(Exchange { name, form, reply, started: false, malformed }));
    }

    fn command(&mut self, session: &mut Session) -> Option<Command<'_>> {
        let exchange = session.0.as_mut()?;
        let started = exchange.started;
        exchange.started |= matches!(exchange.reply, Reply::Refusal(_) | Reply::File(_));
        match &exchange.reply {
            Reply::Requested | Reply::Opening(_) => None,
            Reply::Refusal(_) if started => None,
            // The machine accepts every reason: they contain no newline and are shorter than a line.
            Reply::Refusal(reason) => {
                self.reason.clone_from(reason);
                Some(Command::Refuse(self.reason.as_bytes()))
            }
            Reply::File(Sending { failure: Some(_), .. }) => Some(Command::Abort),
            Reply::File(Sending { opened, .. }) if !started => Some(Command::Send(opened.size)),
            Reply::File(Sending { opened, sent, crc: Some(crc), .. })
                if exchange.form != Form::Plain && exchange.form.offset() + sent == opened.size =>
            {
                Some(Command::Check(*crc))
            }
            Reply::File(_) => None,
        }
    }

    fn work(&mut self, session: &mut Session, writer: &mut PayloadWriter<'_>) -> Work {
        match &mut session.0 {
            Some(exchange) => exchange.advance(&self.pool, writer),
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
        if let Some(exchange) = session.0.take() {
            let Exchange { name, form, reply, malformed, .. } = *exchange;
            let mut size = None;
            match reply {
                Reply::Requested => {}
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
            Ended::Internal(e) => report.outcome = Outcome::Internal(e),
            Ended::Stopped => report.outcome = Outcome::Stopped,
        }
        report
    }
}

impl net::ParallelService for Service {
    fn fork(&self) -> Self {
        // The checksums that a pool remembers are useful for all threads.
        Self { pool: Arc::clone(&self.pool), reason: String::new() }
    }
}
