//! Drivers: thin adapters from a [`Session`](crate::session::Session) to a transport.
//!
//! | module | transport | feature |
//! |---|---|---|
//! | `blocking` | [`embedded_io::{Read, Write}`](https://docs.rs/embedded-io) | `embedded-io` |
//! | `polled` | the same with `{ReadReady, WriteReady}`, for serial lines | `embedded-io` |
//! | `asynch` | [`embedded_io_async::{Read, Write}`](https://docs.rs/embedded-io-async) | `embedded-io-async` |
//! | `nonblocking` | [`embedded_nal::TcpClientStack`](https://docs.rs/embedded-nal) with [`nb`](https://docs.rs/nb) | `nal` |
//! | `datagrams` | [`embedded_nal::{UdpClientStack, UdpFullStack}`](https://docs.rs/embedded-nal) with `nb`: for the [machines over datagrams](crate::datagram) | `nal` |
//!
//! Each but the last has a `Connection` with the same methods, and an application is the same loop over each:
//!
//! ```text
//!   loop { match connection.next() {
//!       Event(event) => ...,                       // handle it
//!       Command      => connection.command(...),   // it is your turn
//!       Boundary     => pause, or do not,
//!       Close        => break,                     // everything is sent: close
//!       Abort        => break,                     // reset
//!   } }
//! ```
//!
//! | method | contract |
//! |---|---|
//! | `next` | Sends, reads, and returns what happens next, an event with its bytes. |
//! | `advance` | The same, with an event that borrows nothing; `view` returns its bytes. For loops inside a function that returns an event. |
//! | `next_within`, `advance_within` | The same with a clock. Not in the drivers that never wait: `idle_ms` returns there how long to wait. |
//! | `command` | Gives a command. If the output is full, sends first, and gives it again. A command that is rejected has changed nothing. |
//! | `write_payload` | Queues outbound payload. If the output is full, sends first. Returns the number of bytes taken, 0 only for an empty slice. |
//! | `flush` | Sends everything that is queued. |
//! | `listen` | In the application's turn: returns when the peer sent something or ended its stream. Then call `next`, which fails if a command would have no reader. Without space to read into, or after the end, `blocking` returns at once and the others wait; `blocking` also returns at the time limit of its transport. The drivers that wait send what is queued first; the others do not, so call `flush` before. |
//! | `idle`, `time_out`, `timed_out` | Report what the caller's clock says. |
//! | `write_closed`, `unread`, `machine` | Look at the session. |
//! | `new`, `with_session`, `restart` | Start a session: with buffers, with a session that has them (in a static, say), and again in the same buffers. |
//! | `transport_mut`, `into_transport` | Return the transport. `nonblocking` has `socket` and `into_socket`. |
//!
//! # What a driver does
//!
//! A driver polls the session and performs what it [wants](crate::session::Want), until that is for
//! the caller. The [order](crate::session::Want#the-order) is the session's. The drivers differ in what
//! they do while they wait:
//!
//! | want | `blocking` | `asynch` | `polled`, `nonblocking` |
//! |---|---|---|---|
//! | `Write` | writes | writes | writes; if that would block, reads if there is space |
//! | `Flush` | flushes | flushes | flushes; `embedded-nal` has no flush |
//! | `Read` | reads | reads | reads |
//! | `ReadOrWrite` | writes, or flushes, or reads: the first of these that applies | writes or flushes, and reads meanwhile; `Whole` writes first | writes, or flushes; if that would block or does not apply, reads |
//! | `Command` | returns | returns | reads and writes what is possible at once, then returns |
//! | `Boundary`, `Close`, `Abort`, `Broken` | returns | returns | returns |
//!
//! A read into a full buffer is never tried. Nor does `ReadOrWrite` flush while payload is outstanding:
//! `flush` does.
//!
//! # What the transport reports
//!
//! | the transport returns | the session gets | and the caller |
//! |---|---|---|
//! | read: 0 bytes; `PipeClosed` of `embedded-nal` | `ended(Closed)` | the machine's next result |
//! | read: `ConnectionReset`, `ConnectionAborted`, `BrokenPipe`; any other error of `embedded-nal` | `ended(Reset)` | the same |
//! | read: `TimedOut` | `idle` if the machine waits for that, otherwise `time_out` | the same |
//! | write: 0 bytes, `BrokenPipe`, `NotConnected`, `WriteZero`; `PipeClosed` of `embedded-nal` | `write_ended(Closed)` | the same |
//! | write: `ConnectionReset`, `ConnectionAborted`; any other error of `embedded-nal` | `write_ended(Reset)` | the same |
//! | write: `TimedOut` | `write_ended(TimedOut)` | the same |
//! | `Interrupted` | nothing | the call is repeated |
//! | any other error | nothing | [`Error::Transport`]; the call can be repeated |
//! | any other error of a write, when the machine has failed | `write_ended(Closed)` | the machine's error, which says more |
//!
//! A flush that fails counts as a write that fails. A write that ends drops pending output and leaves
//! the reading side as it is: what the peer has sent can still be read. `nonblocking` keeps the error
//! of the transport: see `fault`. A write of 0 bytes over `embedded-nal` counts as one that would block.

#[cfg(feature = "embedded-io-async")]
pub mod asynch;
#[cfg(feature = "embedded-io")]
pub mod blocking;
#[cfg(feature = "nal")]
pub mod datagrams;
#[cfg(feature = "nal")]
pub mod nonblocking;
#[cfg(feature = "embedded-io")]
pub mod polled;
#[cfg(any(feature = "embedded-io", feature = "nal"))]
mod ready;

use core::fmt;

use crate::machine::{CommandError, Machine};
use crate::session::Law;

/// What happens next on a connection.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next<E> {
    /// The machine emits this event.
    Event(E),
    /// The machine waits for a command, or for payload.
    Command,
    /// What was written has been sent, and what follows has to be a write of its own. Pause, or do
    /// not, and call `next` again.
    Boundary,
    /// The session is complete and everything has been sent: close the transport. If the peer accepts
    /// no more bytes, pending output was dropped: see `write_closed`.
    Close,
    /// The session is over: reset the transport if possible, or close it.
    Abort,
}

impl<E> Next<E> {
    /// Returns the same with its event converted by `f`.
    #[inline]
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Next<F> {
        match self {
            Self::Event(event) => Next::Event(f(event)),
            Self::Command => Next::Command,
            Self::Boundary => Next::Boundary,
            Self::Close => Next::Close,
            Self::Abort => Next::Abort,
        }
    }
}

/// Why a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<P, T> {
    /// The peer broke the protocol or its stream ended too early: the machine's error.
    Protocol(P),
    /// The transport failed.
    Transport(T),
    /// The machine rejected the command: the caller's mistake.
    Refused(CommandError),
    /// The machine broke a law. No machine of this crate does.
    Law(Law),
}

/// Result of a method of a connection with the machine `M` over a transport with the error `T`.
pub type Result<X, M, T> = core::result::Result<X, Error<<M as Machine>::Error, T>>;

impl<P: fmt::Display, T: fmt::Debug> fmt::Display for Error<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(e) => e.fmt(f),
            // The transports of embedded-nal promise no Display.
            Self::Transport(e) => write!(f, "transport failed: {e:?}"),
            Self::Refused(e) => e.fmt(f),
            Self::Law(e) => e.fmt(f),
        }
    }
}

impl<P: fmt::Debug + fmt::Display, T: fmt::Debug> core::error::Error for Error<P, T> {}

/// Result of performing a [`Want`](crate::session::Want). Flat and without an event: an enum in an enum
/// costs flash at each level.
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Performed {
    /// Something changed: poll again.
    Again,
    /// Nothing changes until the transport is ready.
    #[cfg(any(feature = "embedded-io", feature = "nal"))]
    WouldBlock,
    Command,
    Boundary,
    Close,
    Abort,
    Broken(Law),
}

#[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
impl Performed {
    /// Returns the caller's part; `None` to poll again.
    #[inline(always)]
    fn next<E, P, T>(self) -> Option<core::result::Result<Next<E>, Error<P, T>>> {
        Some(Ok(match self {
            Self::Again => return None,
            #[cfg(any(feature = "embedded-io", feature = "nal"))]
            Self::WouldBlock => return None,
            Self::Command => Next::Command,
            Self::Boundary => Next::Boundary,
            Self::Close => Next::Close,
            Self::Abort => Next::Abort,
            Self::Broken(law) => return Some(Err(Error::Law(law))),
        }))
    }
}

/// What an error of the transport means for a session.
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
mod transport {
    #[cfg(feature = "embedded-io")]
    use embedded_io::{Error, ErrorKind};
    #[cfg(all(feature = "embedded-io-async", not(feature = "embedded-io")))]
    use embedded_io_async::{Error, ErrorKind};

    use crate::machine::{CommandError, Invalid, StreamEnd};
    use crate::session::{Session, Stream};

    /// Applies the result of a read. `idle_ms` is what the read waited for.
    pub(super) fn was_read<I, O, E: Error>(
        stream: &mut Stream<I, O>,
        idle_ms: Option<u16>,
        read: Result<usize, E>,
    ) -> Result<(), E>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        match read {
            Ok(0) => stream.ended(StreamEnd::Closed),
            Ok(n) => stream.received(n),
            Err(e) => match e.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => stream.ended(StreamEnd::Reset),
                ErrorKind::TimedOut => timed_out(stream, idle_ms),
                _ => return Err(e),
            },
        }
        Ok(())
    }

    /// Applies the result of a write.
    pub(super) fn was_written<I, O, E: Error>(
        stream: &mut Stream<I, O>,
        written: Result<usize, E>,
    ) -> Result<(), E>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        match written {
            // Against the contract of embedded-io, but seen: nothing is sent any more.
            Ok(0) => stream.write_ended(StreamEnd::Closed),
            Ok(n) => stream.transmitted(n),
            Err(e) => return write_failed(stream, e),
        }
        Ok(())
    }

    /// Applies the result of a flush. One that was interrupted, or failed for a reason that says
    /// nothing about the peer, has to be repeated: the writer may still have the bytes.
    pub(super) fn was_flushed<I, O, E: Error>(
        stream: &mut Stream<I, O>,
        flushed: Result<(), E>,
    ) -> Result<(), E> {
        match flushed {
            Ok(()) => stream.flushed(),
            Err(e) => return write_failed(stream, e),
        }
        Ok(())
    }

    fn write_failed<I, O, E: Error>(stream: &mut Stream<I, O>, e: E) -> Result<(), E> {
        stream.write_ended(match e.kind() {
            ErrorKind::Interrupted => return Ok(()),
            ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::WriteZero => {
                StreamEnd::Closed
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => StreamEnd::Reset,
            ErrorKind::TimedOut => StreamEnd::TimedOut,
            // The error of the machine says more than that its last replies could not be sent.
            _ if stream.has_failed() => StreamEnd::Closed,
            _ => return Err(e),
        });
        Ok(())
    }

    /// Applies the end of a wait for `idle_ms`.
    pub(super) const fn timed_out<I, O>(stream: &mut Stream<I, O>, idle_ms: Option<u16>) {
        match idle_ms {
            Some(_) => stream.idle(),
            None => stream.time_out(),
        }
    }

    /// Checks that no more payload is offered than was announced, and that the machine has not failed.
    pub(super) fn fits<M: crate::Machine, I, O>(
        session: &Session<M, I, O>,
        payload: &[u8],
    ) -> Result<(), CommandError> {
        match u64::try_from(payload.len()) {
            Ok(0) => Ok(()),
            _ if session.stream().has_failed() => Err(CommandError::OutOfTurn),
            Ok(n) if n <= session.machine().outbound_remaining() => Ok(()),
            _ => Err(Invalid::Overrun.into()),
        }
    }
}
