//! The client's side: a file from a server to a place.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socklab_core::driver::Next;
use socklab_core::file::client::{Client as Machine, Command, Error as Cause, Event};
use socklab_core::file::{Form, Request};
use socklab_core::machine::CommandError;
use socklab_core::wire::Escaped;

use super::local::{Local, LocalError};
use super::sum::{BackgroundCrc, Sum};
use crate::net::{self, DEFAULT_TIMEOUT, DialError, Target, Wake};

/// What is read and written at a time, in bytes: it stays in a processor's own cache.
pub const BUFFER: usize = 256 << 10;

/// A disk that reads this many bytes in a second is waited for: the server of a resumed transfer has to
/// read what is here already.
const SLOWEST: u64 = 1 << 20;

/// A client that fetches one file.
pub struct Client {
    inner: net::Client<Machine>,
}

/// What to fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// In the document's form, which has neither size nor checksum nor a reason when the server
    /// says no.
    pub plain: bool,
    /// In the plain form, takes a connection that closes without a byte for an empty file. Many a
    /// server has no other way to say that there is no such file.
    pub allow_empty: bool,
    /// In the plain form, sends the newline behind the name at once: for servers that read lines. One
    /// that calls `recv` once takes it for a part of the name.
    pub newline: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So many bytes of the file are there.
    pub got: u64,
    /// So many it has; `None` when nobody knows.
    pub size: Option<u64>,
}

/// A file that has been fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its size in bytes.
    pub size: u64,
    /// So many of them had been there before.
    pub resumed: u64,
    /// Its CRC-32, which is that of the server's; `None` in the plain form.
    pub crc: Option<u32>,
}

/// Why a file was not fetched, and what is left of it.
#[derive(Debug)]
pub struct Error {
    /// Why.
    pub cause: Failure,
    /// What has come, to go on from, and how many bytes that is.
    pub kept: Option<(PathBuf, u64)>,
}

/// Why a file was not fetched.
#[derive(Debug)]
pub enum Failure {
    /// The connection or the server failed.
    Net(net::Error<Cause>),
    /// The server does not send it, and why: as it came.
    Refused(Vec<u8>),
    /// It cannot be written here.
    Local(LocalError),
    /// It is not what the server has.
    Checksum {
        /// What the server says.
        server: u32,
        /// Of what is here.
        here: u32,
        /// So many bytes of it had been there before.
        resumed: u64,
    },
    /// The server closed without a byte, in the plain form: an empty file, or none.
    Empty,
    /// The caller stopped it.
    Interrupted,
}

impl Error {
    /// Whether the server gave no answer at all to a request in the checked form: it may know only the
    /// plain one. Whatever it had sent would have been an answer, which is not to be taken for a file
    /// in a second attempt.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        let Failure::Net(net::Error::Protocol(e, _) | net::Error::TimedOut(e, ..)) = &self.cause
        else {
            return false;
        };
        matches!(e, Cause::NoReply { got: 0, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(e) => e.fmt(f),
            Self::Refused(reason) => write!(f, "the server refused: {}", Escaped(reason)),
            Self::Local(e) => e.fmt(f),
            Self::Checksum { server, here, resumed } => {
                write!(
                    f,
                    "checksum mismatch: the server sent {server:08x}, the received data has {here:08x}; "
                )?;
                f.write_str(match resumed {
                    0 => "the data was corrupted on the way, or the file changed while it was sent",
                    _ => "the kept part is not the start of this file, or the data was corrupted on the way",
                })?;
                f.write_str("; all of it was discarded, fetch it again")
            }
            Self::Empty => f.write_str(
                "the server closed the connection without a byte: no such file, or an empty one",
            ),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        match &self.kept {
            Some((path, n)) => write!(f, "; {n} bytes kept in {}", path.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<LocalError> for Failure {
    fn from(e: LocalError) -> Self {
        Self::Local(e)
    }
}

impl From<net::Error<Cause>> for Failure {
    fn from(e: net::Error<Cause>) -> Self {
        Self::Net(e)
    }
}

/// With another timeout or an observer: as the connection below it was
/// [dialled](net::Client::dial), best with a buffer of [`BUFFER`].
impl From<net::Client<Machine>> for Client {
    fn from(inner: net::Client<Machine>) -> Self {
        Self { inner }
    }
}

impl Client {
    /// Connects, waiting 30 s at the most; later it waits as long whenever nothing comes.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> Result<Self, DialError> {
        let timeout = Some(DEFAULT_TIMEOUT);
        net::Client::dial(&target.into(), Machine::new(), BUFFER, timeout).map(Self::from)
    }

    /// The address that took the connection.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// Has `progress` called soon, from any thread: to interrupt it.
    #[must_use]
    pub fn waker(&self) -> Arc<mio::Waker> {
        self.inner.waker()
    }

    /// Fetches the file of this name, or the rest of it if some of it is in `local` already.
    ///
    /// `progress` is called whenever something has come, and may break it off.
    ///
    /// # Errors
    ///
    /// [`Error`]. What has come is kept where it can be gone on with: not in the plain form, and
    /// not when the checksum is wrong. The plain form has no way to ask for the rest: with some of
    /// the file in `local` it is [refused](net::Error::Refused), and that stays.
    pub fn fetch(
        mut self,
        name: &[u8],
        local: &mut Local,
        options: Options,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fetched, Error> {
        if options.plain && local.length() > 0 {
            // Nothing is asked for, so what an earlier fetch has left is as good as before.
            let cause = net::Error::Refused(CommandError::Invalid).into();
            return Err(Error { cause, kept: local.kept().map(|path| (path, local.length())) });
        }
        self.transfer(name, local, options, progress).map_err(|cause| {
            if options.plain || matches!(cause, Failure::Checksum { .. }) {
                local.discard();
            }
            Error { cause, kept: local.kept().map(|path| (path, local.length())) }
        })
    }

    fn transfer(
        &mut self,
        name: &[u8],
        local: &mut Local,
        options: Options,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fetched, Failure> {
        let resumed = local.length();
        let form = if options.plain { Form::Plain } else { Form::Checked { offset: resumed } };
        let mut sum = if !options.plain && local.is_partial() {
            let behind = BackgroundCrc::start(local.reader()?, resumed);
            Sum::BackgroundCrc(behind.map_err(|e| local.failed("read", e))?)
        } else {
            Sum::Passing(crc32fast::Hasher::new())
        };
        // Bytes that go past this process cannot be summed up here.
        let mut shortcut = match (&sum, options.plain) {
            (Sum::BackgroundCrc(_), _) | (_, true) => Shortcut::new(),
            (Sum::Passing(_), false) => None,
        };
        let request = Request { name, form };
        self.inner.command(match options.newline {
            true => Command::FetchLine(request),
            false => Command::Fetch(request),
        })?;
        let mut size = None;
        let mut is_patient = false;
        loop {
            let moved = match &mut shortcut {
                Some(shortcut) => shortcut.go(&mut self.inner, local)?,
                None => None,
            };
            match moved {
                Some(true) => sum.grew(local.length()),
                Some(false) => match self.inner.wait()? {
                    Wake::Socket => continue,
                    Wake::Called => {}
                },
                None => match self.inner.try_next()? {
                    Some(Next::Event(event)) => match event {
                        Event::Found { size: found } => size = Some(found),
                        Event::Body(bytes) => {
                            if !options.plain {
                                sum.passed(bytes);
                            }
                            local.write(bytes)?;
                            sum.grew(local.length());
                        }
                        Event::Crc(server) => {
                            let here = sum.finish().map_err(|e| local.failed("read", e))?;
                            if here != server {
                                return Err(Failure::Checksum { server, here, resumed });
                            }
                            local.complete()?;
                            return Ok(Fetched { size: local.length(), resumed, crc: Some(here) });
                        }
                        Event::Closed if local.length() == 0 && !options.allow_empty => {
                            return Err(Failure::Empty);
                        }
                        Event::Closed => {
                            local.complete()?;
                            return Ok(Fetched { size: local.length(), resumed, crc: None });
                        }
                        Event::Refused(reason) => return Err(Failure::Refused(reason.to_vec())),
                    },
                    Some(Next::Command | Next::Boundary) => {}
                    // The machine says it only behind an event that has returned.
                    Some(Next::Close | Next::Abort) => {
                        return Err(net::Error::Io(io::ErrorKind::UnexpectedEof.into()).into());
                    }
                    None => match self.inner.wait()? {
                        Wake::Socket => continue,
                        Wake::Called => {}
                    },
                },
            }
            // The server may still be reading what was here before, for the checksum.
            if resumed > 0 && size == Some(local.length()) && !is_patient {
                is_patient = true;
                self.inner.extend_timeout(Duration::from_secs(resumed / SLOWEST));
            }
            if progress(Progress { got: local.length(), size }).is_break() {
                return Err(Failure::Interrupted);
            }
        }
    }
}

/// The way from the socket to the file that does not lead through this process.
#[cfg(target_os = "linux")]
struct Shortcut {
    read: std::os::fd::OwnedFd,
    write: std::os::fd::OwnedFd,
    holds: usize,
}

#[cfg(target_os = "linux")]
impl Shortcut {
    /// What the pipe is to hold, in bytes: what a user's pipe may (`fs.pipe-max-size`).
    const WANTED: usize = 1 << 20;

    /// `None` when the system has no pipe to spare.
    fn new() -> Option<Self> {
        use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // Refused: then it holds what pipes hold.
        let holds = fcntl_setpipe_size(&write, Self::WANTED).unwrap_or(1 << 16);
        Some(Self { read, write, holds })
    }

    /// Moves what is there. Whether that was anything; `None` when there is no such way now.
    fn go(
        &mut self,
        client: &mut net::Client<Machine>,
        local: &mut Local,
    ) -> Result<Option<bool>, Failure> {
        use std::os::fd::AsFd as _;
        match client.splice(self.write.as_fd(), self.holds) {
            None => Ok(None),
            Some(0) => Ok(Some(false)),
            Some(n) => {
                local.write_pipe(&self.read, n)?;
                Ok(Some(true))
            }
        }
    }
}

/// There is none here.
#[cfg(not(target_os = "linux"))]
struct Shortcut;

#[cfg(not(target_os = "linux"))]
impl Shortcut {
    const fn new() -> Option<Self> {
        None
    }

    fn go(&mut self, _: &mut net::Client<Machine>, _: &mut Local) -> Result<Option<bool>, Failure> {
        Ok(None)
    }
}
