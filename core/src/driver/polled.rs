//! The polled driver, over [`embedded_io`] with [`ReadReady`] and [`WriteReady`]: serial lines and
//! other transports that say whether they would wait.
//!
//! No call waits, unless the transport's flush does: [`embedded_io`] has no way to ask. A UART whose
//! flush waits until its last byte has left can be wrapped in one whose flush does nothing.
//! [`next`](Connection::next) returns [`nb::Error::WouldBlock`] if only the transport can help; the
//! caller then does something else, or sleeps until the next interrupt, and calls it again. Full
//! duplex: commands can be given between any two calls.

use embedded_io::{Read, ReadReady, Write, WriteReady};

use super::ready::{self, Wire};
use super::transport::{fits, timed_out, was_flushed, was_read, was_written};
use super::{Error, Next, Performed};
use crate::machine::{CommandError, EventView, Machine, StreamEnd};
use crate::session::{Polled, Session, Stream, TooSmall, Want, poll, view};

/// A machine bound to a transport that can be polled.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<T, M, I, O> {
    transport: T,
    session: Session<M, I, O>,
    /// What the session wanted last.
    want: Want,
}

type Result<X, M, T> = nb::Result<X, Error<<M as Machine>::Error, T>>;

impl<T, M, I, O> Connection<T, M, I, O> {
    /// Binds a session to a connected `transport`. With a session of
    /// [`Session::with_arrays`] or [`Session::with_buffers`] it can stand in a static.
    pub const fn with_session(transport: T, session: Session<M, I, O>) -> Self {
        Self { transport, session, want: Want::Flush }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Returns the transport.
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
        self.want = Want::Flush;
        core::mem::replace(&mut self.transport, transport)
    }

    /// Returns how the sending direction ended, `None` while the peer accepts bytes. Output that was
    /// pending then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// After [`nb::Error::WouldBlock`], returns the number of milliseconds without a byte that the
    /// machine also waits for. Call [`idle`](Self::idle) when they have passed.
    pub const fn idle_ms(&self) -> Option<u16> {
        match self.want {
            Want::Read { idle_ms: Some(ms) } => Some(ms.get()),
            _ => None,
        }
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
        let idle_ms = self.idle_ms();
        self.want = Want::Flush;
        timed_out(self.session.split().1, idle_ms);
    }
}

impl<T, M, I, O> Connection<T, M, I, O>
where
    T: Read + Write + ReadReady + WriteReady,
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

    /// Returns what happens next.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if nothing can happen until the transport is ready; the machine's
    /// error, after queued output was sent; or the transport's.
    #[expect(
        clippy::should_implement_trait,
        reason = "events borrow the connection, which an Iterator's items cannot"
    )]
    pub fn next(&mut self) -> Result<Next<EventView<'_, M>>, M, T::Error> {
        let next = self.advance()?;
        Ok(next.map(|event| view::<M, _, _>(self.session.stream(), event)))
    }

    /// As [`next`](Self::next), with an event that borrows nothing; [`view`](Self::view) returns its
    /// bytes. For loops inside a function that returns an event.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance(&mut self) -> Result<Next<M::Event>, M, T::Error> {
        let Self { transport, session, want: last } = self;
        let (machine, stream) = session.split();
        loop {
            let want = match poll(machine, stream).map_err(Error::Protocol)? {
                Polled::Event(event) => return Ok(Next::Event(event)),
                Polled::Want(want) => want,
            };
            stream.note_payload(machine.outbound_remaining());
            *last = want;
            match ready::perform(&mut Ready(transport), stream, M::MIN_INPUT, want) {
                Ok(Performed::WouldBlock) => return Err(nb::Error::WouldBlock),
                Ok(performed) => {
                    if let Some(next) = performed.next() {
                        return next.map_err(nb::Error::Other);
                    }
                }
                Err(e) => return Err(nb::Error::Other(Error::Transport(e))),
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

    /// Whether bytes wait for the transport to take them.
    pub fn wants_send(&self) -> bool {
        !self.session.transmit().is_empty()
    }

    /// Gives the machine a command. If the output is full, sends first. What the command writes is
    /// sent by the next call of [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] while there is no space. [`Error::Refused`] if the machine rejects the
    /// command, or it is longer than the output buffer; or the transport's.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<(), M, T::Error> {
        loop {
            match self.session.command(command) {
                Err(CommandError::OutputFull) if self.wants_send() => self.send()?,
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
    /// [`Invalid::Overrun`](crate::machine::Invalid::Overrun) if `payload` is longer than what is
    /// outstanding; or the transport's. After an error nothing was taken, and the call can be repeated.
    pub fn write_payload(&mut self, payload: &[u8]) -> Result<usize, M, T::Error> {
        fits(&self.session, payload).map_err(|e| nb::Error::Other(Error::Refused(e)))?;
        loop {
            let n = self.session.write_payload(payload);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            self.send()?;
        }
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] until it is sent, or the transport's; the call can be repeated.
    pub fn flush(&mut self) -> Result<(), M, T::Error> {
        while self.wants_send() {
            self.send()?;
        }
        let Self { transport, session, want } = self;
        let stream = session.split().1;
        while stream.is_unflushed() {
            *want = Want::Flush;
            Ready(transport).flush(stream).map_err(|e| e.map(Error::Transport))?;
        }
        Ok(())
    }

    /// In the application's turn, returns `Ok` when the peer has sent something or ended its stream.
    /// Then call [`next`](Self::next), which fails if the connection is gone.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] until then; the transport's.
    pub fn listen(&mut self) -> Result<(), M, T::Error> {
        let Self { transport, session, want } = self;
        let stream = session.split().1;
        *want = Want::Flush;
        if !stream.can_read() {
            return Err(nb::Error::WouldBlock);
        }
        let before = stream.read_state();
        // A read may be interrupted.
        while stream.read_state() == before {
            let received = Ready(transport).receive(stream, M::MIN_INPUT);
            received.map_err(|e| e.map(Error::Transport))?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), M, T::Error> {
        let Self { transport, session, want } = self;
        *want = Want::Flush;
        Ready(transport).send(session.split().1).map_err(|e| e.map(Error::Transport))
    }
}

/// A transport as the drivers that never wait see it.
struct Ready<'t, T>(&'t mut T);

impl<T: Read + Write + ReadReady + WriteReady> Wire for Ready<'_, T> {
    type Error = T::Error;

    const FLUSHES: bool = true;

    fn send<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), T::Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        // A transport that cannot say has failed as one that cannot write, or the error of a machine whose
        // output is pending would never come out.
        let written = match self.0.write_ready() {
            Ok(true) => self.0.write(stream.transmit()),
            Ok(false) => return Err(nb::Error::WouldBlock),
            Err(e) => Err(e),
        };
        was_written(stream, written).map_err(nb::Error::Other)
    }

    fn flush<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), T::Error> {
        let flushed = match self.0.write_ready() {
            Ok(true) => self.0.flush(),
            Ok(false) => return Err(nb::Error::WouldBlock),
            Err(e) => Err(e),
        };
        was_flushed(stream, flushed).map_err(nb::Error::Other)
    }

    fn receive<I, O>(
        &mut self,
        stream: &mut Stream<I, O>,
        min_input: usize,
    ) -> nb::Result<(), T::Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let read = match self.0.read_ready() {
            Ok(true) => self.0.read(stream.recv_space(min_input)),
            Ok(false) => return Err(nb::Error::WouldBlock),
            Err(e) => Err(e),
        };
        was_read(stream, None, read).map_err(nb::Error::Other)
    }
}
