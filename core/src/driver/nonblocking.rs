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
        if self.machine().owed() == 0 {
            return Ok(0);
        }
        loop {
            let n = self.session.pay(payload);
            let sent = self.link.send(stack, self.session.split().1);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            sent.map_err(would_block)?;
        }
    }

    /// So much payload is [`due`](Machine::due) that the caller may read it from the socket itself,
    /// past the session: by `splice`, say. See [`Session::due`].
    pub fn due(&self) -> u64 {
        self.session.due()
    }

    /// The caller has read `n` bytes of payload that were [`due`](Self::due) from the socket.
    ///
    /// # Errors
    ///
    /// [`Refused::Invalid`] when they were not.
    pub fn taken(&mut self, n: u64) -> core::result::Result<(), Refused> {
        self.session.taken(n)
    }

    /// The caller, reading from the socket itself, found that the connection is gone.
    pub fn lost(&mut self) {
        self.session.ended(How::Reset);
        self.session.cannot_send();
    }

    /// After [`nb::Error::WouldBlock`]: so many milliseconds without a byte are what the machine
    /// also waits for ([`Need::InputOrSilence`]). Wait no longer, then tell it with
    /// [`silent`](Self::silent).
    pub const fn silence(&self) -> Option<u16> {
        self.link.silence()
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

impl<T, E> Link<T, E> {
    const fn new(socket: T) -> Self {
        Self { socket, fault: None, then: Ok(Then::Again) }
    }

    const fn silence(&self) -> Option<u16> {
        match self.then {
            Ok(Then::Need(Need::InputOrSilence(ms))) => Some(ms),
            _ => None,
        }
    }
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
            // A boundary is said once, and stays until all before it has been sent.
            let then = match self.then {
                Ok(Then::Boundary) => self.then,
                _ => advance(stream),
            };
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
                (Ok(()), Some(halt)) => {
                    self.then = Ok(Then::Again);
                    return halt;
                }
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
/// It owns the buffers of all its clients, so that nothing large moves when a session begins or ends:
/// give it `&'static mut [u8]`, or arrays and put the server itself into a static. A client that comes
/// while `N` are there waits in the stack's backlog.
///
/// Its clock is the caller's: each [`poll`](Self::poll) is told the time in milliseconds, and
/// [`wait`](Self::wait) says how long to sleep at the most. With that it keeps the pauses that
/// machines ask for ([`Then::Boundary`]), tells them of silence ([`Need::InputOrSilence`]), and gives
/// up clients that have fallen silent ([`set_timeout`](Self::set_timeout)).
///
/// ```
/// use embedded_nal::TcpFullStack;
/// use socklab_core::driver::nonblocking::{Ended, Server};
/// use socklab_core::echo::{self, server::Event};
/// use socklab_core::session::Application;
///
/// /// Counts the bytes of one client.
/// struct Count(u32);
///
/// impl Application<echo::Server> for Count {
///     fn event(&mut self, Event::Echoed { length }: Event) {
///         self.0 = self.0.saturating_add(length);
///     }
/// }
///
/// fn serve<S: TcpFullStack>(
///     stack: &mut S,
///     listener: S::TcpSocket,
///     millis: impl Fn() -> u32,
///     mut sleep: impl FnMut(Option<u32>),
/// ) -> Result<(), S::Error> {
///     let buffers = [([0; 64], [0; 64]); 2];
///     let mut server = Server::new(listener, buffers).expect("an echo server needs 44 and 4 bytes");
///     server.set_timeout(Some(30_000));
///     loop {
///         let open = |_peer| (echo::Server::new(), Count(0));
///         let polled = server.poll(stack, millis(), open, |Ended { peer, application, outcome, .. }| {
///             println!("{peer}: {} bytes, {outcome:?}", application.0);
///         });
///         match polled {
///             Ok(()) => {}
///             Err(nb::Error::WouldBlock) => sleep(server.wait(millis())),
///             Err(nb::Error::Other(e)) => return Err(e),
///         }
///     }
/// }
/// ```
pub struct Server<S: TcpClientStack, M, A, I, O, const N: usize> {
    listener: S::TcpSocket,
    slots: [Slot<S, M, A, I, O>; N],
    clock: Clock,
}

/// A place for a client. The buffers stay when it goes.
struct Slot<S: TcpClientStack, M, A, I, O> {
    stream: Stream<I, O>,
    client: Option<Client<S, M, A>>,
}

struct Client<S: TcpClientStack, M, A> {
    link: Link<S::TcpSocket, S::Error>,
    machine: M,
    application: A,
    peer: SocketAddr,
    since: Since,
}

impl<S: TcpClientStack, M, A, I, O, const N: usize> Server<S, M, A, I, O, N> {
    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.slots.iter().fold(0, |n, slot| n.saturating_add(slot.client.is_some().into()))
    }
}

impl<S: TcpClientStack, M, A, I, O, const N: usize> fmt::Debug for Server<S, M, A, I, O, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} of {N} clients)", self.clients())
    }
}

#[cfg(feature = "defmt")]
impl<S: TcpClientStack, M, A, I, O, const N: usize> defmt::Format for Server<S, M, A, I, O, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Server({=usize} of {=usize} clients)", self.clients(), N);
    }
}

/// A session of a [`Server`] that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ended<'s, A, P, T> {
    /// Whose it was.
    pub peer: SocketAddr,
    /// What [`Server::poll`]'s `open` made for it.
    pub application: &'s A,
    /// Whether it ended as it should; the machine's error otherwise.
    pub outcome: core::result::Result<(), P>,
    /// What the transport said if it failed. The machine got to know it as [`How::Reset`].
    pub fault: Option<T>,
}

impl<S, M, A, I, O, const N: usize> Server<S, M, A, I, O, N>
where
    S: TcpFullStack,
    M: Machine,
    A: Application<M>,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Serves on a `listener` that is bound and listens, with an input and an output buffer for each
    /// client.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] when a buffer is smaller than the machine needs.
    pub fn new(
        listener: S::TcpSocket,
        buffers: [(I, O); N],
    ) -> core::result::Result<Self, TooSmall> {
        let slots = buffers
            .map(|(input, output)| Slot { stream: Stream::new(input, output), client: None });
        for slot in &slots {
            slot.stream.holds::<M>()?;
        }
        let clock = Clock { now: 0, left: u32::MAX, pace: PACE, timeout: None };
        Ok(Self { listener, slots, clock })
    }

    /// The pause at each [`Then::Boundary`], in milliseconds: 30 unless set. Some real peers take one
    /// `recv` for one message.
    pub const fn set_pace(&mut self, pace: u16) {
        self.clock.pace = pace;
    }

    /// After so many milliseconds in which no byte went through in either direction a client is given
    /// up: its machine is told [`How::TimedOut`]. The time in which an application has nothing to say
    /// does not count. `None`, which is the default: never. At most 2^31.
    pub const fn set_timeout(&mut self, timeout: Option<u32>) {
        self.clock.timeout = timeout;
    }

    /// Gives every session that takes it this command: an echo server's `Finish`, say.
    pub fn command(&mut self, stack: &mut S, command: M::Command<'_>) {
        for Slot { stream, client } in &mut self.slots {
            let Some(Client { link, machine, .. }) = client else { continue };
            // One that is over refuses it, and needs it no more.
            while session::command(machine, stream, command) == Err(Refused::NoRoom)
                && !stream.pending().is_empty()
                && link.send_some(stack, stream).is_ok()
            {}
        }
    }

    /// Accepts at most one client, for which `open` makes machine and application, moves every session
    /// as far as it goes, and tells `report` which have ended.
    ///
    /// `now` is the time in milliseconds, from any start. It may wrap; only differences count.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when nothing moves until the network does, or the time that
    /// [`wait`](Self::wait) says has passed: sleep now. [`nb::Error::Other`] when the listener fails.
    pub fn poll(
        &mut self,
        stack: &mut S,
        now: u32,
        open: impl FnOnce(SocketAddr) -> (M, A),
        mut report: impl FnMut(Ended<'_, A, M::Error, S::Error>),
    ) -> nb::Result<(), S::Error> {
        let mut moved = false;
        (self.clock.now, self.clock.left) = (now, u32::MAX);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.client.is_none()) {
            match stack.accept(&mut self.listener) {
                Ok((socket, peer)) => {
                    moved = true;
                    let (machine, application) = open(peer);
                    let (link, since) = (Link::new(socket), Since { at: now, paused: false });
                    slot.stream.reset();
                    slot.client = Some(Client { link, machine, application, peer, since });
                }
                Err(nb::Error::WouldBlock) => {}
                Err(e) => return Err(e),
            }
        }
        for Slot { stream, client: place } in &mut self.slots {
            let Some(client) = place else { continue };
            let Some(outcome) = client.poll(stack, stream, &mut self.clock) else { continue };
            moved = true;
            let fault = client.link.fault.take();
            report(Ended { peer: client.peer, application: &client.application, outcome, fault });
            if let Some(Client { link, .. }) = place.take() {
                stack.close(link.socket).map_err(nb::Error::Other)?;
            }
        }
        if moved { Ok(()) } else { Err(nb::Error::WouldBlock) }
    }

    /// After [`nb::Error::WouldBlock`]: in so many milliseconds it is to be polled again, also if the
    /// network does not move. `None`: only the network matters.
    pub const fn wait(&self, now: u32) -> Option<u32> {
        match self.clock.left {
            u32::MAX => None,
            left => Some(left.saturating_sub(now.wrapping_sub(self.clock.now))),
        }
    }
}

impl<S, M, A> Client<S, M, A>
where
    S: TcpClientStack,
    M: Machine,
    A: Application<M>,
{
    /// Goes as far as it can. How it ended, `None` while it has not.
    fn poll<I, O>(
        &mut self,
        stack: &mut S,
        stream: &mut Stream<I, O>,
        clock: &mut Clock,
    ) -> Option<core::result::Result<(), M::Error>>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let Self { link, machine, application, since, .. } = self;
        if since.pauses(clock) {
            return None;
        }
        loop {
            let advance = &mut |stream: &mut Stream<I, O>| session::advance(machine, stream);
            match link.drive(stack, stream, M::MIN_INPUT, advance) {
                // An error repeats, and is fetched like an event.
                Halt::Event | Halt::Failed => match &session::stepped(machine, stream) {
                    Ok(Step { then: Then::Event(event), .. }) => application.event(*event),
                    Ok(_) => {}
                    Err(e) => return Some(Err(*e)),
                },
                Halt::Done | Halt::Abort => return Some(Ok(())),
                Halt::Boundary => {
                    *since = Since { at: clock.now, paused: true };
                    if since.pauses(clock) {
                        return None;
                    }
                }
                // A command asked for has to find room, or it would be lost: a client may answer
                // early and read late.
                Halt::Command if stream.pending().is_empty() => {
                    since.at = clock.now;
                    let command = application.command()?;
                    if session::command(machine, stream, command).is_err() {
                        return None;
                    }
                }
                Halt::Command | Halt::WouldBlock => {
                    let moved = stream.has_moved();
                    let silence = if stream.is_open() { link.silence() } else { None };
                    match since.due(clock, moved, silence) {
                        Due::Nothing => return None,
                        Due::Silence => stream.silent(),
                        Due::TimedOut => {
                            stream.ended(How::TimedOut);
                            stream.cannot_send();
                        }
                    }
                }
            }
        }
    }
}

/// The pause at a boundary, in ms, as the host's servers have it.
const PACE: u16 = 30;

/// A [`Server`]'s clock. Like what follows it knows no machine, so that its code is there once for all.
#[derive(Debug)]
struct Clock {
    /// The time of this poll, in ms.
    now: u32,
    /// In so many ms from then there is something to do; `u32::MAX`: never.
    left: u32,
    /// How long a pause takes, in ms.
    pace: u16,
    /// How long a client may be silent, in ms.
    timeout: Option<u32>,
}

/// What a client was doing, and since when.
#[derive(Debug)]
struct Since {
    /// When bytes went through last, the application had its turn, or a pause began.
    at: u32,
    paused: bool,
}

/// What the time has come for.
enum Due {
    Nothing,
    Silence,
    TimedOut,
}

impl Clock {
    /// Whether so many ms have passed. If not, it is remembered when they will have.
    fn passed(&mut self, since: u32, ms: u32) -> bool {
        let waited = self.now.wrapping_sub(since);
        let passed = waited >= ms;
        if !passed {
            self.left = self.left.min(ms.wrapping_sub(waited));
        }
        passed
    }
}

impl Since {
    /// Whether a pause is not over yet.
    #[inline(never)]
    fn pauses(&mut self, clock: &mut Clock) -> bool {
        if self.paused {
            self.paused = !clock.passed(self.at, clock.pace.into());
        }
        self.paused
    }

    #[inline(never)]
    fn due(&mut self, clock: &mut Clock, moved: bool, silence: Option<u16>) -> Due {
        if moved {
            self.at = clock.now;
        }
        if silence.is_some_and(|ms| clock.passed(self.at, ms.into())) {
            Due::Silence
        } else if clock.timeout.is_some_and(|ms| clock.passed(self.at, ms)) {
            // Once: a machine that waits on all the same is not to keep a loop busy.
            self.at = clock.now;
            Due::TimedOut
        } else {
            Due::Nothing
        }
    }
}
