//! The blocking driver, over [`embedded_io`].
//!
//! One thread, one direction at a time: [`next`](Connection::next) sends what is queued, then
//! waits for the peer. That suits protocols of question and answer. Where both ends send at the
//! same time (echo with many messages in flight), a peer that stops reading until its own bytes
//! are read would hang it: use the `nonblocking` or the `asynch` driver there, or keep no more in
//! flight than fits the peer's buffers.
//!
//! # Time
//!
//! How long a read waits is the transport's affair. One that gives up with `TimedOut` ends the session,
//! and the machine names what was missing; if the machine waits for silence too
//! ([`Need::InputOrIdle`]), that was it, and the session goes on. Some transports give up with
//! another error: sockets of std with a read timeout do with `WouldBlock`, which `embedded-io` has no
//! word for. Tell the connection then, and go on:
//!
//! ```
//! # use embedded_io::{Read, Write};
//! # use socklab_core::driver::{Error, Next, blocking::Connection};
//! # use socklab_core::machine::Machine;
//! # fn next<T: Read + Write<Error = std::io::Error> + embedded_io::ErrorType<Error = std::io::Error>, M: Machine>(
//! #     connection: &mut Connection<T, M, [u8; 64], [u8; 64]>,
//! # ) -> Result<Next<()>, Error<M::Error, std::io::Error>> {
//! loop {
//!     match connection.advance() {
//!         Err(Error::Transport(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {
//!             connection.timed_out();
//!         }
//!         next => return next,
//!     }
//! }
//! # }
//! ```

use embedded_io::{Error as _, ErrorKind, Read, Write};

use super::{Error, Next, silence, take, unsent};
use crate::machine::{Action, CommandError, Machine, Need, StreamEnd};
use crate::session::{Session, TooSmall};

/// A machine bound to a blocking transport.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<T, M, I, O> {
    transport: T,
    session: Session<M, I, O>,
    silence: Option<u16>,
    /// A boundary has been said, and what comes before it not all been sent.
    at_boundary: bool,
}

type Result<T, M, X> = core::result::Result<X, Error<<M as Machine>::Error, T>>;

impl<T, M, I, O> Connection<T, M, I, O>
where
    T: Read + Write,
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to a connected `transport`, with these buffers.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] when a buffer is smaller than the machine needs.
    pub fn new(
        transport: T,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        let session = Session::new(machine, input, output)?;
        Ok(Self { transport, session, silence: None, at_boundary: false })
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Gives the transport back; what is queued is dropped.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Sends what is queued, reads as needed, and gives the next thing that happens.
    ///
    /// # Errors
    ///
    /// The machine's, with what was queued before it sent; or the transport's. A transport that
    /// says `ConnectionReset` or `TimedOut` is no error here but the end of the stream, which the
    /// machine names. After one of the transport's the call can be repeated.
    #[expect(
        clippy::should_implement_trait,
        reason = "events borrow the connection, which an Iterator's items cannot"
    )]
    pub fn next(&mut self) -> Result<T::Error, M, Next<M::Event<'_>>> {
        let next = self.advance()?;
        take(&mut self.session, next).map_err(Error::Protocol)
    }

    /// As [`next`](Self::next), but an event is not taken: it is there for the call of `next` that
    /// follows. For loops that do more in between, where an event may not be borrowed yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance(&mut self) -> Result<T::Error, M, Next<()>> {
        loop {
            // A boundary is said once, and stays until all before it has been sent: a write may fail, and
            // the call be repeated.
            let action =
                if self.at_boundary { Ok(Action::Boundary) } else { self.session.advance() };
            self.at_boundary = matches!(action, Ok(Action::Boundary));
            self.silence = None;
            match action {
                Ok(Action::Event(())) => return Ok(Next::Event(())),
                Ok(Action::Need(Need::Command)) => {
                    self.flush()?;
                    return Ok(Next::Command);
                }
                Ok(Action::Need(Need::OutputSpace) | Action::Continue) => self.flush()?,
                Ok(Action::Need(Need::Input | Need::InputOrIdle(_) | Need::InputOrCommand)) => {
                    self.flush()?;
                    if !self.session.can_read() {
                        return Ok(Next::Abort);
                    }
                    // Not before: a write that takes too long is not a silence of the peer.
                    self.silence = silence(&action);
                    self.read()?;
                }
                Ok(Action::Boundary) => {
                    self.flush()?;
                    self.at_boundary = false;
                    return Ok(Next::Boundary);
                }
                Ok(Action::Close) => {
                    self.flush()?;
                    return Ok(Next::Close);
                }
                Ok(Action::Abort) => return Ok(Next::Abort),
                Err(e) => {
                    // Replies from before the error still leave; that the peer is gone is no news.
                    let _ = self.flush();
                    return Err(Error::Protocol(e));
                }
            }
        }
    }

    /// Gives the machine a command. What it writes is sent by the next call of
    /// [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the machine does not take it, or it is longer than the output
    /// buffer; or the transport's.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<T::Error, M, ()> {
        match self.session.command(command) {
            Err(CommandError::OutputFull) => {
                self.flush()?;
                self.session.command(command).map_err(Error::Refused)
            }
            other => other.map_err(Error::Refused),
        }
    }

    /// Queues payload that the machine is [`outbound_remaining`](Machine::outbound_remaining), as much as there is room for; if
    /// there is none, sends what takes the room first. Returns how many bytes were taken: call it again
    /// with the rest. What is queued last is sent by [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when `payload` is longer than what is owed; or the transport's. After an
    /// error nothing was taken, and the call can be repeated.
    pub fn write_payload(&mut self, payload: &[u8]) -> Result<T::Error, M, usize> {
        if u64::try_from(payload.len()).map_or(true, |n| n > self.machine().outbound_remaining()) {
            return Err(Error::Refused(CommandError::Invalid));
        }
        let n = self.session.write_payload(payload);
        if n > 0 || payload.is_empty() {
            return Ok(n);
        }
        self.flush()?;
        Ok(self.session.write_payload(payload))
    }

    /// Sends what is queued.
    ///
    /// # Errors
    ///
    /// The transport's; the call can be repeated. That the peer has closed or reset is none: what it
    /// sent can still be read.
    pub fn flush(&mut self) -> Result<T::Error, M, ()> {
        while !self.session.transmit().is_empty() {
            match self.transport.write(self.session.transmit()) {
                // Against the contract of embedded-io, but seen: nothing goes out any more.
                Ok(0) => self.session.write_ended(StreamEnd::Closed),
                Ok(n) => self.session.sent(n),
                Err(e) => unsent(&mut self.session, e).map_err(Error::Transport)?,
            }
        }
        while let Err(e) = self.transport.flush() {
            let interrupted = e.kind() == ErrorKind::Interrupted;
            unsent(&mut self.session, e).map_err(Error::Transport)?;
            if !interrupted {
                break;
            }
        }
        Ok(())
    }

    /// Returns how it showed that the peer takes no more bytes, `None` while it does. What was queued
    /// then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// The machine also waits for so many milliseconds without a byte
    /// ([`Need::InputOrIdle`]): for a transport whose timeout can be set, before the next call of
    /// [`next`](Self::next).
    pub const fn silence(&self) -> Option<u16> {
        self.silence
    }

    /// A read or a write of the transport has waited as long as it may. If the machine waits for
    /// silence too, that was it; otherwise the caller gives up, and the machine says what was missing
    /// at the next call of [`next`](Self::next).
    pub fn timed_out(&mut self) {
        match self.silence.take() {
            Some(_) => self.session.idle(),
            None => self.time_out(),
        }
    }

    /// The caller gives up waiting; the machine says what was missing at the next call of
    /// [`next`](Self::next).
    pub fn time_out(&mut self) {
        self.session.ended(StreamEnd::TimedOut);
        self.session.write_ended(StreamEnd::TimedOut);
    }

    fn read(&mut self) -> Result<T::Error, M, ()> {
        match self.transport.read(self.session.room()) {
            Ok(0) => self.session.ended(StreamEnd::Closed),
            Ok(n) => self.session.received(n),
            Err(e) => match e.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => self.session.ended(StreamEnd::Reset),
                ErrorKind::TimedOut => self.timed_out(),
                _ => return Err(Error::Transport(e)),
            },
        }
        Ok(())
    }
}
