//! The server's side: files under a root.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Advice, OFlags};
use socklab_core::file::server::{Command, Error, Event, Server};
use socklab_core::file::{Form, Malformed};
use socklab_core::machine::Refused;
use socklab_core::wire::Escaped;

use crate::net::{self, Ended, Outlet, Work};

/// So much is sent in one turn, and so much summed up: a bound on how long others wait, some
/// hundred microseconds from the page cache.
const TURN: u64 = 1 << 20;

/// So much is read at a time to be summed up: it stays in a processor's own cache.
const CHUNK: usize = 128 << 10;

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
    Unanswered(Refused),
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
            Outcome::Unanswered(e) => Ended::<Error>::Refused(*e).fmt(f),
            Outcome::Undelivered => Ended::<Error>::Undelivered.fmt(f),
            Outcome::Stopped => Ended::<Error>::Stopped.fmt(f),
        }
    }
}

/// Serves the regular files under a root, for a [`net::Server`].
///
/// The root is a capability: neither `..` nor an absolute name nor a symbolic link leads out of it,
/// and what it leads to is opened only if it is a regular file.
pub struct Service {
    root: Dir,
    chunk: Box<[u8]>,
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
            root: Dir::open_ambient_dir(root, ambient_authority())?,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            reason: String::new(),
        })
    }

    /// Opens a file, or says why not.
    fn open_file(&self, name: &[u8]) -> Result<(File, u64), String> {
        let path = Path::new(OsStr::from_bytes(name));
        let refuse = |e: io::Error| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => "no such file".to_owned(),
            // The capability's own no, not the system's.
            ErrorKind::PermissionDenied if e.raw_os_error().is_none() => {
                "path is outside the served folder".to_owned()
            }
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => net::reason(&e),
        };
        let regular = |is_file: bool, is_dir: bool| match (is_file, is_dir) {
            (true, _) => Ok(()),
            (_, true) => Err("is a folder".to_owned()),
            _ => Err("not a regular file".to_owned()),
        };
        // Before it is opened: to open a device is to do something with it. And after that, since
        // by then it may be another one; a pipe must not make us wait.
        let found = self.root.metadata(path).map_err(refuse)?;
        regular(found.is_file(), found.is_dir())?;
        let mut options = OpenOptions::new();
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = self.root.open_with(path, &options).map_err(refuse)?.into_std();
        let found = file.metadata().map_err(refuse)?;
        regular(found.is_file(), found.is_dir())?;
        #[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        Ok((file, found.len()))
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
    File(Sending),
    Refusal(String),
}

#[derive(Debug)]
struct Sending {
    file: File,
    size: u64,
    /// So many bytes of the body have been sent.
    sent: u64,
    /// The checksum of the first `summed` bytes.
    hasher: crc32fast::Hasher,
    summed: u64,
    /// Why it cannot be read on.
    failure: Option<String>,
}

impl Sending {
    /// Sums up a piece of the file.
    fn sum(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        let until = self.size.min(self.summed.saturating_add(TURN));
        while self.summed < until {
            let want = usize::try_from(until - self.summed).unwrap_or(usize::MAX).min(chunk.len());
            match self.file.read_at(&mut chunk[..want], self.summed) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.hasher.update(&chunk[..n]);
                    self.summed += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Sends a piece of the body, and sums up one: not only what is sent, also what the client has
    /// already, which may be most of it and must not make it wait in silence.
    fn go_on(&mut self, form: Form, chunk: &mut [u8], outlet: &mut Outlet<'_>) -> io::Result<Work> {
        let at = form.offset() + self.sent;
        self.sent += outlet.send_file(&self.file, at, TURN)?;
        if form != Form::Plain {
            self.sum(chunk)?;
        }
        Ok(Work::Again)
    }
}

impl net::Service for Service {
    type Machine = Server;
    type State = Session;
    type Report = Report;

    const SCRATCH: usize = 65_536;

    fn open(&mut self) -> (Server, Session) {
        (Server::new(), Session(None))
    }

    fn event(&mut self, session: &mut Session, event: Event<'_>) {
        let (name, form, malformed, reply) = match event {
            Event::Malformed(e) => (&[][..], Form::Plain, Some(e), Reply::Refusal(String::new())),
            Event::Request(request) => {
                let reply = match self.open_file(request.name) {
                    Ok((_, size)) if size < request.form.offset() => Reply::Refusal(format!(
                        "the file has only {size} bytes, offset {} is past its end",
                        request.form.offset()
                    )),
                    Ok((file, size)) => Reply::File(Sending {
                        file,
                        size,
                        sent: 0,
                        hasher: crc32fast::Hasher::new(),
                        summed: 0,
                        failure: None,
                    }),
                    Err(reason) => Reply::Refusal(reason),
                };
                (request.name, request.form, None, reply)
            }
        };
        let name = name.into();
        session.0 = Some(Box::new(Asking { name, form, reply, begun: false, malformed }));
    }

    fn command(&mut self, session: &mut Session) -> Option<Command<'_>> {
        let asking = session.0.as_mut()?;
        let begun = std::mem::replace(&mut asking.begun, true);
        match &asking.reply {
            Reply::Refusal(_) if begun => None,
            // Its words are the system's: no newline in them, and shorter than a line.
            Reply::Refusal(reason) => {
                self.reason.clone_from(reason);
                Some(Command::Refuse(self.reason.as_bytes()))
            }
            Reply::File(Sending { failure: Some(_), .. }) => Some(Command::Abort),
            Reply::File(Sending { size, .. }) if !begun => Some(Command::Send(*size)),
            Reply::File(Sending { size, sent, summed, hasher, .. })
                if asking.form != Form::Plain
                    && summed == size
                    && asking.form.offset() + sent == *size =>
            {
                Some(Command::Check(hasher.clone().finalize()))
            }
            Reply::File(_) => None,
        }
    }

    fn work(&mut self, session: &mut Session, outlet: &mut Outlet<'_>) -> Work {
        let Some(asking) = &mut session.0 else { return Work::Wait };
        let Reply::File(sending) = &mut asking.reply else { return Work::Wait };
        match sending.go_on(asking.form, &mut self.chunk, outlet) {
            Ok(work) => work,
            Err(e) => {
                sending.failure = Some(match e.kind() {
                    ErrorKind::UnexpectedEof => {
                        "the file became shorter while it was sent".to_owned()
                    }
                    _ => format!("cannot read the file: {}", net::reason(&e)),
                });
                Work::Again
            }
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
                Reply::Refusal(reason) => report.outcome = Outcome::Refused(reason),
                Reply::File(sending) => {
                    (size, report.sent) = (Some(sending.size), sending.sent);
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
            Ended::Refused(e) => report.outcome = Outcome::Unanswered(e),
            Ended::Stopped => report.outcome = Outcome::Stopped,
        }
        report
    }
}
