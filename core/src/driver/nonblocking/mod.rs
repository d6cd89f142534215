//! The non-blocking driver, over [`embedded_nal::TcpClientStack`] and [`nb`].
//!
//! No call waits. [`next`](Connection::next) gives [`nb::Error::WouldBlock`] when only the network
//! can help; the caller then sleeps until the socket is ready (on a file descriptor, an interrupt)
//! and calls it again. Full duplex: commands can be given between any two calls.
//!
//! The stack is handed in with each call, as `embedded-nal` has it, so that many connections can
//! share one.

mod link;
mod pool;

use embedded_nal::TcpClientStack;

use self::link::{Halt, Link, would_block};
pub use self::pool::{Ended, Outcome, Server};
use super::{Error, Next};
use crate::machine::{Action, CommandError, Machine, Step, StreamEnd};
use crate::session::{self, Session, Stream, TooSmall};

/// A machine bound to a socket of a non-blocking stack.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<S: TcpClientStack, M, I, O> {
    link: Link<S::TcpSocket, S::Error>,
    session: Session<M, I, O>,
}

type Result<S, M, X> = nb::Result<X, Error<<M as Machine>::Error, <S as TcpClientStack>::Error>>;

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
    /// [`TooSmall`] when a buffer is smaller than the machine needs.
    pub fn new(
        socket: S::TcpSocket,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        let session = Session::new(machine, input, output)?;
        Ok(Self { link: Link::new(socket), session })
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// The socket, to wait on.
    pub const fn socket(&self) -> &S::TcpSocket {
        &self.link.socket
    }

    /// Gives the socket back; what is queued is dropped.
    pub fn into_socket(self) -> S::TcpSocket {
        self.link.socket
    }

    /// What the transport said when it failed. The machine got to know it as [`StreamEnd::Reset`]; or, of a
    /// peer that takes no more bytes (`PipeClosed`), by what comes at the end of the stream.
    pub fn fault(&mut self) -> Option<S::Error> {
        self.link.fault.take()
    }

    /// Returns how it showed that the peer takes no more bytes, `None` while it does. What was queued
    /// then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// Bytes received that the machine has not consumed: see [`Session::unread`].
    pub fn unread(&self) -> &[u8] {
        self.session.unread()
    }

    /// Whether bytes wait for the socket to take them: wait for that too, not only for input.
    pub fn wants_send(&self) -> bool {
        !self.session.transmit().is_empty()
    }

    /// The next thing that happens.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when nothing moves until the socket is ready; otherwise the
    /// machine's error, once what was queued before it has been sent. A failing transport is the
    /// end of the stream, which the machine names; see [`fault`](Self::fault).
    pub fn next(&mut self, stack: &mut S) -> Result<S, M, Next<M::Event<'_>>> {
        Ok(match self.drive(stack) {
            // An error repeats, and is fetched like an event.
            Halt::Event | Halt::Failed => match &self.session.stepped() {
                Ok(Step { action: Action::Event(event), .. }) => Next::Event(*event),
                // A step from the same state says the same, so this does not happen; to go on
                // with another `next` would be right all the same.
                Ok(_) => Next::Boundary,
                Err(e) => return Err(nb::Error::Other(Error::Protocol(*e))),
            },
            Halt::WouldBlock | Halt::Moved => return Err(nb::Error::WouldBlock),
            Halt::Command => Next::Command,
            Halt::Boundary => Next::Boundary,
            Halt::Done => Next::Close,
            Halt::Abort => Next::Abort,
        })
    }

    /// As [`next`](Self::next), but an event is not taken: it is there for the call of `next` that
    /// follows. For loops that wait in between, where an event may not be borrowed yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn advance(&mut self, stack: &mut S) -> Result<S, M, Next<()>> {
        Ok(match self.drive(stack) {
            Halt::Event => Next::Event(()),
            Halt::Failed => match self.session.step() {
                Ok(_) => Next::Boundary,
                Err(e) => return Err(nb::Error::Other(Error::Protocol(e))),
            },
            Halt::WouldBlock | Halt::Moved => return Err(nb::Error::WouldBlock),
            Halt::Command => Next::Command,
            Halt::Boundary => Next::Boundary,
            Halt::Done => Next::Close,
            Halt::Abort => Next::Abort,
        })
    }

    fn drive(&mut self, stack: &mut S) -> Halt {
        let (machine, stream) = self.session.split();
        let advance = &mut |stream: &mut Stream<I, O>| session::advance(machine, stream);
        loop {
            match self.link.drive(stack, stream, M::MIN_INPUT, advance) {
                Halt::Moved => {}
                halt => return halt,
            }
        }
    }

    /// Gives the machine a command. What it writes is sent by the next call of
    /// [`next`](Self::next), so that a command and its payload leave together.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when there is no room yet: call [`next`](Self::next), which
    /// sends, and give it again. [`Error::Refused`] when the machine does not take it, or it is
    /// longer than the output buffer.
    pub fn command(&mut self, stack: &mut S, command: M::Command<'_>) -> Result<S, M, ()> {
        loop {
            match self.session.command(command) {
                Ok(()) => return Ok(()),
                Err(CommandError::OutputFull) if self.wants_send() => {
                    self.link.send_some(stack, self.session.split().1).map_err(would_block)?;
                }
                Err(e) => return Err(nb::Error::Other(Error::Refused(e))),
            }
        }
    }

    /// Sends payload that the machine is [`outbound_remaining`](Machine::outbound_remaining). Returns how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when it could take none.
    pub fn write_payload(&mut self, stack: &mut S, payload: &[u8]) -> Result<S, M, usize> {
        if self.machine().outbound_remaining() == 0 {
            return Ok(0);
        }
        loop {
            let n = self.session.write_payload(payload);
            let sent = self.link.send(stack, self.session.split().1);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            sent.map_err(would_block)?;
        }
    }

    /// So much payload is [`inbound_remaining`](Machine::inbound_remaining) that the caller may read it from the socket itself,
    /// past the session: by `splice`, say. See [`Session::due`].
    pub fn inbound_remaining(&self) -> u64 {
        self.session.inbound_remaining()
    }

    /// The caller has read `n` bytes of payload that were [`inbound_remaining`](Self::due) from the socket.
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when they were not.
    pub fn advance_inbound(&mut self, n: u64) -> core::result::Result<(), CommandError> {
        self.session.advance_inbound(n)
    }

    /// The caller, reading from the socket itself, found that the connection is gone.
    pub fn lost(&mut self) {
        self.session.ended(StreamEnd::Reset);
        self.session.write_ended(StreamEnd::Reset);
    }

    /// After [`nb::Error::WouldBlock`]: so many milliseconds without a byte are what the machine
    /// also waits for ([`Need::InputOrIdle`](crate::machine::Need::InputOrIdle)). Wait no longer, then tell it with
    /// [`idle`](Self::silent).
    pub const fn silence(&self) -> Option<u16> {
        self.link.silence()
    }

    /// Nothing came for as long as [`Need::InputOrIdle`](crate::machine::Need::InputOrIdle) asked.
    pub fn idle(&mut self) {
        self.session.idle();
    }

    /// The caller gives up waiting; the machine says what was missing at the next call of
    /// [`next`](Self::next).
    pub fn time_out(&mut self) {
        self.session.ended(StreamEnd::TimedOut);
        self.session.write_ended(StreamEnd::TimedOut);
    }
}
