//! The non-blocking driver, over [`embedded_nal::TcpClientStack`] and [`nb`].
//!
//! No call waits. [`next`](Connection::next) gives [`nb::Error::WouldBlock`] when only the network
//! can help; the caller then sleeps until the socket is ready (on a file descriptor, an interrupt)
//! and calls it again. Full duplex: commands can be given between any two calls.
//!
//! The stack is handed in with each call, as `embedded-nal` has it, so that many connections can
//! share one.

use core::fmt;
use core::net::SocketAddr;

use embedded_nal::{TcpClientStack, TcpError, TcpErrorKind, TcpFullStack};

use super::{Error, Next};
use crate::machine::{How, Machine, Need, Refused, Step, Then};
use crate::session::{self, Application, Failed, Session, Stream, TooSmall};

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
        Ok(Self { link: Link { socket, fault: None, then: Ok(Then::Again) }, session })
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

    /// What the transport said when it failed. The machine got to know it as [`How::Reset`].
    pub fn fault(&mut self) -> Option<S::Error> {
        self.link.fault.take()
    }

    /// Whether bytes wait for the socket to take them: wait for that too, not only for input.
    pub fn wants_send(&self) -> bool {
        !self.session.pending().is_empty()
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
                Ok(Step { then: Then::Event(event), .. }) => Next::Event(*event),
                // A step from the same state says the same, so this does not happen; to go on
                // with another `next` would be right all the same.
                Ok(_) => Next::Boundary,
                Err(e) => return Err(nb::Error::Other(Error::Protocol(*e))),
            },
            Halt::WouldBlock => return Err(nb::Error::WouldBlock),
            Halt::Command => Next::Command,
            Halt::Boundary => Next::Boundary,
            Halt::Done => Next::Done,
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
            Halt::WouldBlock => return Err(nb::Error::WouldBlock),
            Halt::Command => Next::Command,
            Halt::Boundary => Next::Boundary,
            Halt::Done => Next::Done,
            Halt::Abort => Next::Abort,
        })
    }

    fn drive(&mut self, stack: &mut S) -> Halt {
        let (machine, stream) = self.session.split();
        let advance = &mut |stream: &mut Stream<I, O>| session::advance(machine, stream);
        self.link.drive(stack, stream, M::MIN_INPUT, advance)
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
                Err(Refused::NoRoom) if self.wants_send() => {
                    self.link.send_some(stack, self.session.split().1).map_err(would_block)?;
                }
                Err(e) => return Err(nb::Error::Other(Error::Refused(e))),
            }
        }
    }

    /// Sends payload that the machine is [`owed`](Machine::owed). Returns how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when it could take none.
    pub fn pay(&mut self, stack: &mut S, payload: &[u8]) -> Result<S, M, usize> {
        loop {
            let n = self.session.pay(payload);
            let sent = self.link.send(stack, self.session.split().1);
            if n > 0 || payload.is_empty() || self.machine().owed() == 0 {
                return Ok(n);
            }
            sent.map_err(would_block)?;
        }
    }

    /// After [`nb::Error::WouldBlock`]: so many milliseconds without a byte are what the machine
    /// also waits for ([`Need::InputOrSilence`]). Wait no longer, then tell it with
    /// [`silent`](Self::silent).
    pub const fn silence(&self) -> Option<u16> {
        match self.link.then {
            Ok(Then::Need(Need::InputOrSilence(ms))) => Some(ms),
            _ => None,
        }
    }

    /// Nothing came for as long as [`Need::InputOrSilence`] asked.
    pub fn silent(&mut self) {
        self.session.silent();
    }

    /// The caller gives up waiting; the machine says what was missing at the next call of
    /// [`next`](Self::next).
    pub fn give_up(&mut self) {
        self.session.ended(How::TimedOut);
        self.session.cannot_send();
    }
}

/// Nothing moves until the socket is ready.
#[derive(Debug)]
struct WouldBlock;

fn would_block<E>(WouldBlock: WouldBlock) -> nb::Error<E> {
    nb::Error::WouldBlock
}

/// Why a connection does not go on: [`Next`], and what comes as an error.
#[derive(Clone, Copy, Debug)]
enum Halt {
    Event,
    Command,
    Boundary,
    Done,
    Abort,
    WouldBlock,
    /// The machine has an error.
    Failed,
}

/// What steps a connection's machine, whichever that is.
type Advance<'m, I, O> =
    dyn FnMut(&mut Stream<I, O>) -> core::result::Result<Then<()>, Failed> + 'm;

/// A socket and what was wrong with it. Knows no machine, so that its code is there once for all.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Link<T, E> {
    socket: T,
    fault: Option<E>,
    /// What the machine said last.
    then: core::result::Result<Then<()>, Failed>,
}

impl<T, E: TcpError> Link<T, E> {
    /// The loop of a connection, there once for all machines. `advance` is the machine's.
    fn drive<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
        min_input: usize,
        advance: &mut Advance<'_, I, O>,
    ) -> Halt
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        loop {
            let then = advance(stream);
            self.then = then;
            // Also when the machine only wants to read: its replies are not to wait for it.
            let sent = match then {
                Ok(Then::Event(())) => return Halt::Event,
                Ok(Then::Abort) => return Halt::Abort,
                _ => self.send(stack, stream),
            };
            let (moved, halt) = match then {
                Ok(Then::Event(()) | Then::Again | Then::Abort) => continue,
                Ok(Then::Need(Need::Output)) => (sent, None),
                // The peer may end while the application thinks: look, as far as there is room.
                Ok(Then::Need(Need::Command)) => {
                    if stream.has_ended() || self.receive(stack, stream, min_input).is_err() {
                        return Halt::Command;
                    }
                    continue;
                }
                Ok(Then::Need(Need::Input | Need::InputOrSilence(_) | Need::Either)) => {
                    (self.receive(stack, stream, min_input), None)
                }
                Ok(Then::Boundary) => (sent, Some(Halt::Boundary)),
                Ok(Then::Done) => (sent, Some(Halt::Done)),
                // What was queued first leaves first; the error repeats until then.
                Err(Failed) => (sent, Some(Halt::Failed)),
            };
            match (moved, halt) {
                (Err(WouldBlock), _) => return Halt::WouldBlock,
                (Ok(()), Some(halt)) => return halt,
                (Ok(()), None) => {}
            }
        }
    }

    /// Sends all that is queued.
    #[inline(never)]
    fn send<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        while !stream.pending().is_empty() {
            self.send_some(stack, stream)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn send_some<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        match stack.send(&mut self.socket, stream.pending()) {
            Ok(0) | Err(nb::Error::WouldBlock) => return Err(WouldBlock),
            Ok(n) => stream.sent(n),
            // The peer takes nothing more. What it sent before may still be there to read, and
            // reading will tell how it ended.
            Err(nb::Error::Other(e)) => {
                stream.cannot_send();
                if e.kind() != TcpErrorKind::PipeClosed {
                    self.fault = Some(e);
                }
            }
        }
        Ok(())
    }

    fn receive<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
        min_input: usize,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let room = stream.room(min_input);
        // Reading into nothing would give 0, which is not the end.
        if room.is_empty() {
            return Err(WouldBlock);
        }
        match stack.receive(&mut self.socket, room) {
            Ok(0) => stream.ended(How::Closed),
            Ok(n) => stream.received(n),
            Err(nb::Error::WouldBlock) => return Err(WouldBlock),
            Err(nb::Error::Other(e)) if e.kind() == TcpErrorKind::PipeClosed => {
                stream.ended(How::Closed);
            }
            Err(nb::Error::Other(e)) => {
                stream.ended(How::Reset);
                self.fault = Some(e);
            }
        }
        Ok(())
    }
}

/// A server for up to `N` clients at a time, without allocation: what a microcontroller runs.
///
/// `open` makes machine and application for each new client. A client that comes while `N` are
/// there waits in the stack's backlog.
pub struct Server<S: TcpClientStack, M, A, I, O, const N: usize> {
    listener: S::TcpSocket,
    clients: [Slot<S, M, A, I, O>; N],
}

type Slot<S, M, A, I, O> = Option<Client<S, M, A, I, O>>;

struct Client<S: TcpClientStack, M, A, I, O> {
    connection: Connection<S, M, I, O>,
    application: A,
}

impl<S: TcpClientStack, M, A, I, O, const N: usize> fmt::Debug for Server<S, M, A, I, O, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} of {N} clients)", self.clients.iter().flatten().count())
    }
}

#[cfg(feature = "defmt")]
impl<S: TcpClientStack, M, A, I, O, const N: usize> defmt::Format for Server<S, M, A, I, O, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let clients = self.clients.iter().flatten().count();
        defmt::write!(f, "Server({=usize} of {=usize} clients)", clients, N);
    }
}

/// What a [`Server`] did in one [`poll`](Server::poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Served<P> {
    /// A client was accepted.
    Opened(SocketAddr),
    /// A session ended as it should.
    Done,
    /// A session failed.
    Failed(P),
}

impl<S, M, A, I, O, const N: usize> Server<S, M, A, I, O, N>
where
    S: TcpFullStack,
    M: Machine,
    A: Application<M>,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Serves on a `listener` that is bound and listens.
    pub const fn new(listener: S::TcpSocket) -> Self {
        Self { listener, clients: [const { None }; N] }
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.clients.iter().flatten().fold(0, |n, _| n.saturating_add(1))
    }

    /// Gives every session that takes it this command: an echo server's `Finish`, say.
    pub fn command(&mut self, stack: &mut S, command: M::Command<'_>) {
        for client in self.clients.iter_mut().flatten() {
            // One that is over refuses it, and needs it no more.
            let _ = client.connection.command(stack, command);
        }
    }

    /// Accepts at most one client, moves every session as far as it goes, and tells `report` what
    /// began and ended.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when nothing moves until the network does: sleep now.
    /// [`nb::Error::Other`] when the listener fails.
    pub fn poll(
        &mut self,
        stack: &mut S,
        open: impl FnOnce() -> (M, A, I, O),
        mut report: impl FnMut(Served<M::Error>),
    ) -> nb::Result<(), S::Error> {
        let mut moved = false;
        if let Some(slot) = self.clients.iter_mut().find(|slot| slot.is_none()) {
            match stack.accept(&mut self.listener) {
                Ok((socket, peer)) => {
                    moved = true;
                    let (machine, application, input, output) = open();
                    match Connection::new(socket, machine, input, output) {
                        Ok(connection) => {
                            report(Served::Opened(peer));
                            *slot = Some(Client { connection, application });
                        }
                        Err(TooSmall { .. }) => return Err(nb::Error::WouldBlock),
                    }
                }
                Err(nb::Error::WouldBlock) => {}
                Err(e) => return Err(e),
            }
        }
        for slot in &mut self.clients {
            let Some(ended) = slot.as_mut().and_then(|client| client.poll(stack)) else { continue };
            moved = true;
            report(ended);
            if let Some(client) = slot.take() {
                stack.close(client.connection.into_socket()).map_err(nb::Error::Other)?;
            }
        }
        if moved { Ok(()) } else { Err(nb::Error::WouldBlock) }
    }
}

impl<S, M, A, I, O> Client<S, M, A, I, O>
where
    S: TcpClientStack,
    M: Machine,
    A: Application<M>,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Goes as far as it can. How it ended, `None` while it has not.
    fn poll(&mut self, stack: &mut S) -> Option<Served<M::Error>> {
        loop {
            // Not `next`: its result would borrow the connection while a command is given.
            match self.connection.advance(stack) {
                Ok(Next::Event(())) => {
                    if let Ok(Next::Event(event)) = self.connection.next(stack) {
                        self.application.event(event);
                    }
                }
                Ok(Next::Boundary) => {}
                Ok(Next::Done | Next::Abort) => return Some(Served::Done),
                Ok(Next::Command) => {
                    // A command asked for has to find room, or it would be lost: a client may
                    // answer early and read late.
                    if self.connection.wants_send() {
                        return None;
                    }
                    let command = self.application.command()?;
                    if self.connection.command(stack, command).is_err() {
                        return None;
                    }
                }
                Err(nb::Error::WouldBlock) => return None,
                Err(nb::Error::Other(Error::Protocol(e))) => return Some(Served::Failed(e)),
                Err(nb::Error::Other(_)) => return Some(Served::Done),
            }
        }
    }
}
