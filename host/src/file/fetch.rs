//! Client side: fetches a file from a server into a [`Local`] file.

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
use socklab_core::machine::Invalid;
use socklab_core::wire::Escaped;

use super::checksum::{BackgroundCrc, Checksum};
use super::local::{Local, LocalError};
use crate::net::{self, DEFAULT_TIMEOUT, DialError, Target, Wake};
use crate::sys::extra::net::Pipe;

/// Number of bytes that are read and written at a time. They fit into the cache of a processor core.
pub const BUFFER: usize = 256 << 10;

/// Slowest disk of a server that is waited for, in bytes per second. For the checksum of a resumed transfer, the server
/// must also read the bytes before the offset.
const SLOWEST: u64 = 1 << 20;

/// Client that fetches one file.
pub struct Client {
    inner: net::Client<Machine>,
}

/// Options of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Uses the original course protocol. It has no size and no checksum, and a server cannot give a reason for a
    /// refusal.
    pub plain: bool,
    /// In the plain form, accepts a connection that closes without a byte as an empty file. Many servers also report
    /// a missing file in this way.
    pub allow_empty: bool,
    /// In the plain form, sends the newline together with the name, for servers that read a line. A server that calls
    /// `recv` once treats the newline as part of the name.
    pub newline: bool,
}

/// Progress of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of bytes of the file that are stored locally.
    pub got: u64,
    /// Size of the file in bytes; `None` if it is not known.
    pub size: Option<u64>,
}

/// A file that has been fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Size of the file in bytes.
    pub size: u64,
    /// Number of these bytes that were stored by an earlier transfer.
    pub resumed: u64,
    /// CRC-32 of the file, verified against the server's; `None` in the plain form.
    pub crc: Option<u32>,
}

/// Error of a transfer, with the partial file that is left.
#[derive(Debug)]
pub struct Error {
    /// Cause of the failure.
    pub cause: Failure,
    /// Path and size in bytes of the partial file. A later transfer can resume from it.
    pub kept: Option<(PathBuf, u64)>,
}

/// Cause of a failed transfer.
#[derive(Debug)]
pub enum Failure {
    /// The connection failed, or the server violated the protocol.
    Net(net::Error<Cause>),
    /// The server refused the request for this reason, as received.
    Refused(Vec<u8>),
    /// The local file cannot be written.
    Local(LocalError),
    /// The received file differs from the server's.
    Checksum {
        /// Checksum sent by the server.
        server: u32,
        /// Checksum of the local file.
        here: u32,
        /// Number of bytes that were stored by an earlier transfer.
        resumed: u64,
    },
    /// In the plain form, the server closed the connection without a byte: the file is empty or missing.
    Empty,
    /// The caller stopped the transfer.
    Interrupted,
}

impl Error {
    /// Returns whether the server sent no byte in reply to a request in the checked form. It may know only the plain
    /// form then.
    ///
    /// After a single byte the answer is `false`, so that a second attempt cannot take a refusal for the file.
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
                    0 => "the data was corrupted in transit, or the file changed while it was sent",
                    _ => "the kept part is not the start of this file, or the data was corrupted in transit",
                })?;
                f.write_str("; all of it was discarded, fetch the file again")
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

/// Uses a connection with a timeout or an observer of its own. It should have been [dialled](net::Client::dial) with a
/// buffer of [`BUFFER`] bytes.
impl From<net::Client<Machine>> for Client {
    fn from(mut inner: net::Client<Machine>) -> Self {
        inner.batch_payload();
        Self { inner }
    }
}

impl Client {
    /// Connects to a server.
    ///
    /// The timeout is 30 s, for connecting and later for an idle connection.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> Result<Self, DialError> {
        let timeout = Some(DEFAULT_TIMEOUT);
        net::Client::dial(&target.into(), Machine::new(), BUFFER, timeout).map(Self::from)
    }

    /// Returns the address of the server that accepted the connection.
    pub const fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    /// Returns a waker that makes [`fetch`](Self::fetch) call `progress` soon. It may be used from any thread, to
    /// interrupt the transfer.
    #[must_use]
    pub fn waker(&self) -> Arc<mio::Waker> {
        self.inner.waker()
    }

    /// Fetches the file `name`, or its remaining bytes if `local` contains its start.
    ///
    /// `progress` is called whenever bytes have been received, and may stop the transfer.
    ///
    /// # Errors
    ///
    /// [`Error`]. The received bytes are kept if a later transfer can resume from them. They are discarded in the plain
    /// form and after a wrong checksum. The plain form cannot resume: with a partial file in `local` the call is
    /// [refused](net::Error::Refused), and the partial file is kept.
    pub fn fetch(
        mut self,
        name: &[u8],
        local: &mut Local,
        options: Options,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fetched, Error> {
        if options.plain && local.length() > 0 {
            // No request has been sent, so the partial file of an earlier transfer is still valid.
            let cause = net::Error::Refused(Invalid::OutOfRange.into()).into();
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
        // Bytes that an earlier transfer stored must be read back. Without them, the bytes are summed before they are
        // written: to read them back costs a second copy.
        let mut checksum = if !options.plain && resumed > 0 {
            let background = BackgroundCrc::start(local.reader()?, resumed);
            Checksum::Background(background.map_err(|e| local.failed("read", e))?)
        } else {
            Checksum::Inline(crc32fast::Hasher::new())
        };
        // Spliced bytes do not pass through this process, so an inline checksum would miss them.
        let pipe = match (&checksum, options.plain) {
            (Checksum::Background(_), _) | (_, true) => Pipe::new(),
            (Checksum::Inline(_), false) => None,
        };
        let request = Request { name, form };
        self.inner.command(match options.newline {
            true => Command::FetchLine(request),
            false => Command::Fetch(request),
        })?;
        let mut size = None;
        let mut timeout_extended = false;
        loop {
            match pipe.as_ref().and_then(|pipe| Some((pipe, self.inner.splice(pipe)?))) {
                Some((pipe, n @ 1..)) => {
                    local.write_pipe(pipe, n)?;
                    checksum.set_length(local.length());
                }
                Some((_, 0)) => match self.inner.wait()? {
                    Wake::Socket => continue,
                    Wake::Waker => {}
                },
                None => match self.inner.try_next()? {
                    Some(Next::Event(event)) => match event {
                        Event::Found { size: found } => size = Some(found),
                        Event::Body(bytes) => {
                            if !options.plain {
                                checksum.add(bytes);
                            }
                            local.write(bytes)?;
                            checksum.set_length(local.length());
                        }
                        Event::Crc(server) => {
                            let here = checksum.finish().map_err(|e| local.failed("read", e))?;
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
                    // Unreachable: the machine closes only after one of the events that return above.
                    Some(Next::Close | Next::Abort) => {
                        return Err(net::Error::Io(io::ErrorKind::UnexpectedEof.into()).into());
                    }
                    None => match self.inner.wait()? {
                        Wake::Socket => continue,
                        Wake::Waker => {}
                    },
                },
            }
            // The server may still be reading the bytes before the offset, for the checksum.
            if resumed > 0 && size == Some(local.length()) && !timeout_extended {
                timeout_extended = true;
                self.inner.extend_timeout(Duration::from_secs(resumed / SLOWEST));
            }
            if progress(Progress { got: local.length(), size }).is_break() {
                return Err(Failure::Interrupted);
            }
        }
    }
}
