//! The non-blocking driver, over [`embedded_nal::TcpClientStack`] and [`nb`].
//!
//! No call waits. [`next`](Connection::next) returns [`nb::Error::WouldBlock`] if only the network can
//! help; the caller then sleeps until the socket is ready (on a file descriptor, an interrupt) and
//! calls it again. Full duplex: commands can be given between any two calls.
//!
//! The stack is passed to each call, as in `embedded-nal`, so that many connections can share one.

mod link;
mod pool;

use embedded_nal::TcpClientStack;

use self::link::{Link, Socket};
pub use self::pool::{Ended, Outcome, Server};
use super::{Error, Next, Performed, ready::Wire as _};
use crate::machine::{CommandError, EventView, Invalid, Machine, StreamEnd};
use crate::session::{Polled, Session, TooSmall, Want, poll, view};

/// A machine bound to a socket of a non-blocking stack.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<S: TcpClientStack, M, I, O> {
    link: Link<S::TcpSocket, S::Error>,
    session: Session<M, I, O>,
}

type Result<X, M, S> = nb::Result<X, Error<<M as Machine>::Error, <S as TcpClientStack>::Error>>;

impl<S: TcpClientStack, M, I, O> Connection<S, M, I, O> {
    /// Binds a session to a connected `socket`. With a session of [`Session::with_arrays`] or
    /// [`Session::with_buffers`] it can stand in a static.
    pub const fn with_session(socket: S::TcpSocket, session: Session<M, I, O>) -> Self {
        Self { link: Link::new(socket), session }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Returns the socket, to wait for it.
    pub const fn socket(&self) -> &S::TcpSocket {
        &self.link.socket
    }

    /// Returns the socket, to change its options or what it waits for. Its bytes belong to the connection.
    pub const fn socket_mut(&mut self) -> &mut S::TcpSocket {
        &mut self.link.socket
    }

    /// Returns the socket; queued output is dropped.
    pub fn into_socket(self) -> S::TcpSocket {
        self.link.socket
    }

    /// Starts another session, on `socket`, in the same buffers. Returns the socket of the last one.
    pub fn restart(&mut self, socket: S::TcpSocket, machine: M) -> S::TcpSocket {
        self.session.restart(machine);
        core::mem::replace(&mut self.link, Link::new(socket)).socket
    }

    /// Takes the error of the transport that ended the stream. The machine got it as
    /// [`StreamEnd::Reset`]; or, if the peer accepts no more bytes (`PipeClosed`), as what stands at
    /// the end of the stream.
    pub fn fault(&mut self) -> Option<S::Error> {
        self.link.fault.take()
    }

    /// Returns how the sending direction ended, `None` while the peer accepts bytes. Output that was
    /// pending then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// After [`nb::Error::WouldBlock`], returns the number of milliseconds without a byte that the
    /// machine also waits for ([`Need::InputOrIdle`](crate::machine::Need::InputOrIdle)). Call
    /// [`idle`](Self::idle) when they have passed.
    pub const fn idle_ms(&self) -> Option<u16> {
        // With output pending, a later call than the read is what waits.
        if self.session.stream().has_pending() { None } else { self.link.idle_ms() }
    }

    /// Reports that no byte came for [`idle_ms`](Self::idle_ms).
    pub const fn idle(&mut self) {
        self.session.idle();
    }

    /// Reports that the caller stops waiting. The next call of [`next`](Self::next) reports what was
    /// missing.
    pub const fn time_out(&mut self) {
        self.session.time_out();
    }

    /// Reports that the caller waited as long as it wants to: [`idle`](Self::idle) if the machine
    /// waited for that, [`time_out`](Self::time_out) otherwise.
    pub const fn timed_out(&mut self) {
        match self.idle_ms() {
            Some(_) => self.session.idle(),
            None => self.session.time_out(),
        }
        self.link.want = Want::Flush;
    }

    /// Reports that the caller, reading from the socket itself, found the connection gone.
    pub const fn lost(&mut self) {
        self.session.ended(StreamEnd::Reset);
        self.session.write_ended(StreamEnd::Reset);
    }
}

impl<S, M, I, O> Connection<S, M, I, O>
where
    S: TcpClientStack,
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to a connected `socket`, with these buffers.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] if a buffer is shorter than the machine needs.
    pub fn new(
        socket: S::TcpSocket,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        Ok(Self::with_session(socket, Session::new(machine, input, output)?))
    }

    /// Returns what happens next.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if nothing can happen until the socket is ready; otherwise the
    /// machine's error, after queued output was sent. A transport that fails ends the stream, and the
    /// machine's error names what was missing; see [`fault`](Self::fault).
    pub fn next(&mut self, stack: &mut S) -> Result<Next<EventView<'_, M>>, M, S> {
        // As `advance`, but written out: to map its result costs flash.
        let Self { link, session } = self;
        let (machine, stream) = session.split();
        loop {
            let want = match &poll(machine, stream) {
                Ok(Polled::Event(event)) => {
                    return Ok(Next::Event(view::<M, _, _>(stream, *event)));
                }
                Ok(Polled::Want(want)) => *want,
                Err(e) => return Err(nb::Error::Other(Error::Protocol(*e))),
            };
            match link.perform(stack, stream, M::MIN_INPUT, want) {
                Performed::WouldBlock => return Err(nb::Error::WouldBlock),
                performed => {
                    if let Some(next) = performed.next() {
                        return next.map_err(nb::Error::Other);
                    }
                }
            }
        }
    }

    /// As [`next`](Self::next), with an event that borrows nothing; [`view`](Self::view) returns its
    /// bytes. For loops inside a function that returns an event.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance(&mut self, stack: &mut S) -> Result<Next<M::Event>, M, S> {
        let Self { link, session } = self;
        let (machine, stream) = session.split();
        loop {
            let want = match &poll(machine, stream) {
                Ok(Polled::Event(event)) => return Ok(Next::Event(*event)),
                Ok(Polled::Want(want)) => *want,
                Err(e) => return Err(nb::Error::Other(Error::Protocol(*e))),
            };
            match link.perform(stack, stream, M::MIN_INPUT, want) {
                Performed::WouldBlock => return Err(nb::Error::WouldBlock),
                performed => {
                    if let Some(next) = performed.next() {
                        return next.map_err(nb::Error::Other);
                    }
                }
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

    /// Whether bytes wait for the socket to take them: wait for that too, not only for input.
    pub fn wants_send(&self) -> bool {
        !self.session.transmit().is_empty()
    }

    /// Gives the machine a command. If the output is full, sends first. What the command writes is sent
    /// by the next call of [`next`](Self::next) or [`flush`](Self::flush), so that a command and its
    /// payload leave together.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] while there is no space: call [`next`](Self::next), which sends and
    /// reads, and give the command again. [`Error::Refused`] if the machine rejects it, or it is longer
    /// than the output buffer.
    pub fn command(&mut self, stack: &mut S, command: M::Command<'_>) -> Result<(), M, S> {
        loop {
            match self.session.command(command) {
                Err(CommandError::OutputFull) if self.wants_send() => self.send(stack)?,
                result => return result.map_err(|e| nb::Error::Other(Error::Refused(e))),
            }
        }
    }

    /// Queues [outbound payload](Machine::outbound_remaining), as much as fits; if the output is full,
    /// sends first. Returns the number of bytes taken from the front of `payload`: call it again with
    /// the rest. What is queued last is sent by [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] while it can take none.
    /// [`Invalid::Overrun`] if `payload` is longer than what is outstanding.
    pub fn write_payload(&mut self, stack: &mut S, payload: &[u8]) -> Result<usize, M, S> {
        if payload.is_empty() {
            return Ok(0);
        }
        if self.session.stream().has_failed() {
            return Err(nb::Error::Other(Error::Refused(CommandError::OutOfTurn)));
        }
        if !self.session.announced(payload.len()) {
            return Err(nb::Error::Other(Error::Refused(Invalid::Overrun.into())));
        }
        loop {
            let n = self.session.write_payload(payload);
            if n > 0 {
                return Ok(n);
            }
            self.send(stack)?;
        }
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] until it is sent.
    pub fn flush(&mut self, stack: &mut S) -> Result<(), M, S> {
        while self.wants_send() {
            self.send(stack)?;
        }
        Ok(())
    }

    /// In the application's turn, returns `Ok` when the peer has sent something or ended its stream.
    /// Then call [`next`](Self::next), which fails if the connection is gone.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] until then.
    pub fn listen(&mut self, stack: &mut S) -> Result<(), M, S> {
        let Self { link, session } = self;
        let stream = session.split().1;
        link.want = Want::Flush;
        if !stream.can_read() {
            return Err(nb::Error::WouldBlock);
        }
        Socket(stack, link).receive(stream, M::MIN_INPUT).map_err(|e| e.map(|never| match never {}))
    }

    /// Returns the number of bytes of inbound payload that the caller may read from the socket itself,
    /// past the session: with `splice`, say. See [`Session::inbound_remaining`].
    pub fn inbound_remaining(&self) -> u64 {
        self.session.inbound_remaining()
    }

    /// Counts `n` bytes of inbound payload as read from the socket by the caller.
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`] if `n` is more than [`inbound_remaining`](Self::inbound_remaining).
    pub fn advance_inbound(&mut self, n: u64) -> core::result::Result<(), CommandError> {
        self.session.advance_inbound(n)
    }

    fn send(&mut self, stack: &mut S) -> Result<(), M, S> {
        let Self { link, session } = self;
        Socket(stack, link).send(session.split().1).map_err(|e| e.map(|never| match never {}))
    }
}
