//! Drivers: the loops that bind a machine to a transport.
//!
//! | module | transport | feature |
//! |---|---|---|
//! | `blocking` | [`embedded_io::{Read, Write}`](https://docs.rs/embedded-io) | `embedded-io` |
//! | `nonblocking` | [`embedded_nal::TcpClientStack`](https://docs.rs/embedded-nal) with [`nb`](https://docs.rs/nb) | `nal` |
//! | `asynch` | [`embedded_io_async::{Read, Write}`](https://docs.rs/embedded-io-async) | `embedded-io-async` |
//!
//! All three have a `Connection` with the same two verbs, and an application is the same loop over
//! each:
//!
//! ```text
//!   loop { match connection.next() {
//!       Event(event) => ...,                       // look at it
//!       Command      => connection.command(...),   // it is your turn
//!       Boundary     => pause, if you want to,
//!       Done         => break,                     // everything is sent: close
//!       Abort        => break,                     // reset
//!   } }
//! ```

#[cfg(feature = "embedded-io-async")]
pub mod asynch;
#[cfg(feature = "embedded-io")]
pub mod blocking;
#[cfg(feature = "nal")]
pub mod nonblocking;

use core::fmt;

#[cfg(feature = "embedded-io")]
use embedded_io::{Error as IoError, ErrorKind};
#[cfg(all(feature = "embedded-io-async", not(feature = "embedded-io")))]
use embedded_io_async::{Error as IoError, ErrorKind};

use crate::machine::CommandError;
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
use crate::{
    machine::{Action, Machine, Need, StreamEnd},
    session::Session,
};

/// What a connection's `next` gives.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next<E> {
    /// The machine says something.
    Event(E),
    /// The machine waits for a command.
    Command,
    /// What was written has been sent, and what follows is to be a write of its own. Pause (or
    /// do not) and call `next` again.
    Boundary,
    /// The session is over and everything sent: close the transport. If the peer takes no more bytes,
    /// what was left has been dropped: see `write_closed`.
    Close,
    /// The session is over: reset the transport if it can be, or close it. Also what is made of a
    /// machine that breaks a law and waits for input after the end, or in full buffers.
    Abort,
}

/// The `next` that an `advance` has announced, with its event.
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
fn take<M, I, O>(
    session: &mut Session<M, I, O>,
    next: Next<()>,
) -> Result<Next<M::Event<'_>>, M::Error>
where
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    Ok(match next {
        Next::Event(()) => match session.step()? {
            Action::Event(event) => Next::Event(event),
            // A step from the same state says the same, so this does not happen; to go on with
            // another `next` would be right all the same.
            _ => Next::Boundary,
        },
        Next::Command => Next::Command,
        Next::Boundary => Next::Boundary,
        Next::Close => Next::Close,
        Next::Abort => Next::Abort,
    })
}

/// Notes the error of a write or a flush.
///
/// # Errors
///
/// The error itself, if it says nothing of the peer: it is the transport's own.
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
fn unsent<M, I, O, E: IoError>(session: &mut Session<M, I, O>, e: E) -> Result<(), E>
where
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    session.write_ended(match e.kind() {
        ErrorKind::Interrupted => return Ok(()),
        ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::WriteZero => StreamEnd::Closed,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => StreamEnd::Reset,
        ErrorKind::TimedOut => StreamEnd::TimedOut,
        _ => return Err(e),
    });
    Ok(())
}

/// The silence that a machine also waits for, in ms.
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
const fn silence<E>(action: &Result<Action<()>, E>) -> Option<u16> {
    match action {
        Ok(Action::Need(Need::InputOrIdle(ms))) => Some(*ms),
        _ => None,
    }
}

/// Why a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<P, T> {
    /// The peer broke the protocol or ended too early: the machine's error.
    Protocol(P),
    /// The transport failed.
    Transport(T),
    /// The machine did not take the command: our caller's mistake.
    Refused(CommandError),
}

impl<P: fmt::Display, T: fmt::Debug> fmt::Display for Error<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(e) => e.fmt(f),
            // The transports of embedded-nal promise no Display.
            Self::Transport(e) => write!(f, "the transport failed: {e:?}"),
            Self::Refused(e) => e.fmt(f),
        }
    }
}

impl<P: fmt::Debug + fmt::Display, T: fmt::Debug> core::error::Error for Error<P, T> {}
