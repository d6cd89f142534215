//! The blocking driver, over [`embedded_io`].
//!
//! One thread, one direction at a time: [`next`](Connection::next) sends what is queued, then waits
//! for the peer. That suits protocols of question and answer. If both ends send at the same time
//! (echo with many messages in flight), a peer that stops reading until its own bytes are read would
//! block it: use another driver there, or keep no more in flight than fits the peer's buffers.
//!
//! # Time
//!
//! How long a read waits is up to the transport. A read that fails with `TimedOut` ends the session,
//! and the machine names what was missing. If the machine waited for a pause of the peer
//! ([`Need::InputOrIdle`](crate::machine::Need::InputOrIdle)), the read was that pause, and the
//! session continues. [`next_within`](Connection::next_within) sets the time limit before each read
//! and write:
//!
//! ```
//! # use std::{net::TcpStream, time::Duration};
//! # use embedded_io_adapters::std::FromStd;
//! # use socklab_core::driver::{Error, Next, blocking::Connection};
//! # use socklab_core::file::{Server, server::Event};
//! # type Socket = FromStd<TcpStream>;
//! fn next(
//!     connection: &mut Connection<Socket, Server, [u8; 1025], [u8; 1026]>,
//! ) -> Result<Next<Event<&[u8]>>, Box<dyn std::error::Error + '_>> {
//!     // A time limit of std's sockets is `WouldBlock`, for which `embedded-io` has no word.
//!     loop {
//!         let set = |socket: &mut Socket, idle_ms: Option<u16>| {
//!             let limit = Duration::from_millis(idle_ms.map_or(30_000, u64::from));
//!             let _ = socket.inner().set_read_timeout(Some(limit));
//!         };
//!         match connection.advance_within(set) {
//!             Err(Error::Transport(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {
//!                 connection.timed_out();
//!             }
//!             next => {
//!                 let next = next?;
//!                 return Ok(next.map(|event| connection.view(event)));
//!             }
//!         }
//!     }
//! }
//! ```

use core::num::NonZeroU16;

use embedded_io::{Error as _, ErrorKind, Read, Write};

use super::transport::{fits, timed_out, was_flushed, was_read, was_written};
use super::{Error, Next, Performed, Result};
use crate::machine::{CommandError, EventView, Machine, StreamEnd};
use crate::session::{Polled, Session, Stream, TooSmall, Want, poll, view};

/// A machine bound to a blocking transport.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<T, M, I, O> {
    transport: T,
    session: Session<M, I, O>,
    /// What the last read waited for.
    idle_ms: Option<u16>,
}

impl<T, M, I, O> Connection<T, M, I, O> {
    /// Binds a session to a connected `transport`. With a session of
    /// [`Session::with_arrays`] or [`Session::with_buffers`] it can stand in a static.
    pub const fn with_session(transport: T, session: Session<M, I, O>) -> Self {
        Self { transport, session, idle_ms: None }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Returns the transport, to set its time limit: before [`listen`](Self::listen), say.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Returns the transport; queued output is dropped.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Starts another session, over `transport`, in the same buffers. Returns the transport of the
    /// last one.
    pub fn restart(&mut self, transport: T, machine: M) -> T {
        self.session.restart(machine);
        self.idle_ms = None;
        core::mem::replace(&mut self.transport, transport)
    }

    /// Returns how the sending direction ended, `None` while the peer accepts bytes. Output that was
    /// pending then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// Reports that the read that returned last took as long as the machine asked for.
    pub const fn idle(&mut self) {
        self.session.idle();
    }

    /// Reports that the caller stops waiting. The next call of [`next`](Self::next) reports what was
    /// missing.
    pub const fn time_out(&mut self) {
        self.session.time_out();
    }

    /// Reports that a read or a write took as long as it may: [`idle`](Self::idle) if the machine
    /// waited for that, [`time_out`](Self::time_out) otherwise.
    pub const fn timed_out(&mut self) {
        let idle_ms = self.idle_ms.take();
        timed_out(self.session.split().1, idle_ms);
    }
}

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
    /// [`TooSmall`] if a buffer is shorter than the machine needs.
    pub fn new(
        transport: T,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        Ok(Self::with_session(transport, Session::new(machine, input, output)?))
    }

    /// Sends what is queued, reads as needed, and returns what happens next.
    ///
    /// # Errors
    ///
    /// The machine's, after queued output was sent; or the transport's. A transport that fails with
    /// `ConnectionReset` or `TimedOut` ends the stream, and the machine's error names what was
    /// missing. After an error of the transport the call can be repeated.
    #[expect(
        clippy::should_implement_trait,
        reason = "events borrow the connection, which an Iterator's items cannot"
    )]
    pub fn next(&mut self) -> Result<Next<EventView<'_, M>>, M, T::Error> {
        self.next_within(|_, _| ())
    }

    /// As [`next`](Self::next), with a clock: `set_limit` is called before each read and write, to set
    /// the time limit of the transport. It gets the number of milliseconds that the machine waits for,
    /// or `None` for the caller's own limit.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_within(
        &mut self,
        set_limit: impl FnMut(&mut T, Option<u16>),
    ) -> Result<Next<EventView<'_, M>>, M, T::Error> {
        let next = self.advance_within(set_limit)?;
        Ok(next.map(|event| view::<M, _, _>(self.session.stream(), event)))
    }

    /// As [`next`](Self::next), with an event that borrows nothing; [`view`](Self::view) returns its
    /// bytes. For loops inside a function that returns an event.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance(&mut self) -> Result<Next<M::Event>, M, T::Error> {
        self.advance_within(|_, _| ())
    }

    /// [`advance`](Self::advance) with the clock of [`next_within`](Self::next_within).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance_within(
        &mut self,
        mut set_limit: impl FnMut(&mut T, Option<u16>),
    ) -> Result<Next<M::Event>, M, T::Error> {
        let Self { transport, session, idle_ms } = self;
        let (machine, stream) = session.split();
        loop {
            let want = match poll(machine, stream).map_err(Error::Protocol)? {
                Polled::Event(event) => return Ok(Next::Event(event)),
                Polled::Want(want) => want,
            };
            stream.note_payload(machine.outbound_remaining());
            *idle_ms = match want {
                Want::Read { idle_ms: Some(ms) } => Some(ms.get()),
                _ => None,
            };
            if !want.is_last() && !matches!(want, Want::Command | Want::Boundary) {
                set_limit(transport, *idle_ms);
            }
            let performed = perform(transport, stream, M::MIN_INPUT, want);
            if let Some(next) = performed.map_err(Error::Transport)?.next() {
                return next;
            }
        }
    }

    /// Returns an event of [`advance`](Self::advance) with its bytes. Valid until the next call that
    /// reads.
    pub fn view(&self, event: M::Event) -> EventView<'_, M> {
        self.session.view(event)
    }

    /// Returns the bytes received that the machine has not consumed: see [`Session::unread`].
    pub fn unread(&self) -> &[u8] {
        self.session.unread()
    }

    /// Gives the machine a command. If the output is full, sends first. What the command writes is
    /// sent by the next call of [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the machine rejects it, or it is longer than the output buffer; or the
    /// transport's.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<(), M, T::Error> {
        loop {
            match self.session.command(command) {
                Err(CommandError::OutputFull) if !self.session.transmit().is_empty() => {
                    self.perform(Want::Write)?;
                }
                result => return result.map_err(Error::Refused),
            }
        }
    }

    /// Queues [outbound payload](Machine::outbound_remaining), as much as fits; if the output is full,
    /// sends first. Returns the number of bytes taken from the front of `payload`: call it again with
    /// the rest. What is queued last is sent by [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`](crate::machine::Invalid::Overrun) if `payload` is longer than what is
    /// outstanding; or the transport's. After an error nothing was taken, and the call can be repeated.
    pub fn write_payload(&mut self, payload: &[u8]) -> Result<usize, M, T::Error> {
        fits(&self.session, payload).map_err(Error::Refused)?;
        loop {
            let n = self.session.write_payload(payload);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            self.perform(Want::Write)?;
        }
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    ///
    /// The transport's; the call can be repeated. That the peer has closed or reset the connection is
    /// not an error: what it sent can still be read.
    pub fn flush(&mut self) -> Result<(), M, T::Error> {
        while !self.session.transmit().is_empty() {
            self.perform(Want::Write)?;
        }
        while self.session.stream().is_unflushed() {
            self.perform(Want::Flush)?;
        }
        Ok(())
    }

    /// In the application's turn, waits until the peer sends something or ends its stream, or until the
    /// transport's time limit. Then call [`next`](Self::next), which fails if the connection is gone.
    /// Returns at once if nothing can be read. What is queued is sent first.
    ///
    /// The time limit is the one that was set last, also by [`next_within`](Self::next_within): set it
    /// through [`transport_mut`](Self::transport_mut).
    ///
    /// # Errors
    ///
    /// The transport's. A socket of std fails with `WouldBlock` at its time limit: nothing has come, and
    /// the session has not changed.
    pub fn listen(&mut self) -> Result<(), M, T::Error> {
        self.flush()?;
        let Self { transport, session, idle_ms } = self;
        let stream = session.split().1;
        *idle_ms = None;
        let before = stream.read_state();
        while stream.can_read() && stream.read_state() == before {
            match transport.read(stream.recv_space(M::MIN_INPUT)) {
                Err(e) if e.kind() == ErrorKind::TimedOut => break,
                read => was_read(stream, None, read).map_err(Error::Transport)?,
            }
        }
        Ok(())
    }

    fn perform(&mut self, want: Want) -> Result<(), M, T::Error> {
        self.idle_ms = None;
        let stream = self.session.split().1;
        let performed = perform(&mut self.transport, stream, M::MIN_INPUT, want);
        performed.map(|_| ()).map_err(Error::Transport)
    }
}

/// Performs what a session wants. It knows no machine, so a program contains it once per transport.
fn perform<T, I, O>(
    transport: &mut T,
    stream: &mut Stream<I, O>,
    min_input: usize,
    want: Want,
) -> core::result::Result<Performed, T::Error>
where
    T: Read + Write,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    let done = match want {
        Want::Write => was_written(stream, transport.write(stream.transmit())),
        Want::Flush => was_flushed(stream, transport.flush()),
        // One direction at a time: the peer reads before it is read.
        Want::ReadOrWrite if !stream.transmit().is_empty() => {
            was_written(stream, transport.write(stream.transmit()))
        }
        Want::ReadOrWrite if stream.wants_flush() => was_flushed(stream, transport.flush()),
        Want::Read { .. } | Want::ReadOrWrite => {
            let read = transport.read(stream.recv_space(min_input));
            let idle_ms =
                if let Want::Read { idle_ms } = want { idle_ms.map(NonZeroU16::get) } else { None };
            was_read(stream, idle_ms, read)
        }
        Want::Command => return Ok(Performed::Command),
        Want::Boundary => return Ok(Performed::Boundary),
        Want::Close => return Ok(Performed::Close),
        Want::Abort => return Ok(Performed::Abort),
        Want::Broken(law) => return Ok(Performed::Broken(law)),
    };
    done.map(|()| Performed::Again)
}
