//! A server for a fixed number of clients, and its clock.

use core::fmt;
use core::net::SocketAddr;

use embedded_nal::{TcpClientStack, TcpFullStack};

use super::link::{Link, Socket};
use crate::driver::{Performed, ready::Wire as _};
#[cfg(doc)]
use crate::machine::StreamEnd;
use crate::machine::{CommandError, Machine};
use crate::session::{self, Handler, Law, Polled, Stream, TooSmall, Turn, Want, take_turn, view};

/// A server for up to `N` clients at a time, without allocation: what a microcontroller runs.
///
/// The buffers of all clients belong to it, so nothing large moves when a session begins or ends.
/// [`new`](Self::new) with borrowed buffers moves only the handles. Arrays passed by value are moved with
/// the server: 8 clients with 1 kB each take 5 kB of stack, and 70 kB in a build without optimization. A
/// client that connects while `N` are there waits in
/// the stack's backlog. However fast a client is, one [`poll`](Self::poll) gives it at most 64 turns, a
/// turn being a read, a write, an event or a command.
///
/// Its clock is the caller's: each [`poll`](Self::poll) gets the time in milliseconds, and
/// [`wait`](Self::wait) returns how long to sleep at most. So it keeps the pauses that machines ask for
/// ([`Action::Boundary`](crate::machine::Action::Boundary)), reports idle times
/// ([`Need::InputOrIdle`](crate::machine::Need::InputOrIdle)), and ends sessions whose clients are silent
/// for too long ([`set_timeout`](Self::set_timeout)).
///
/// `embedded-nal` can close a connection but not reset it. So a refusal in the plain form of `file`,
/// which has no other way to differ from an empty file, reaches the client as an empty file: serve the
/// checked form alone.
///
/// Handles of buffers that stand in a `StaticCell`, or anywhere else:
///
/// ```
/// # let lent = Box::leak(Box::new([([0; 64], [0; 64]); 2]));
/// let buffers: &'static mut [([u8; 64], [u8; 64]); 2] = lent;
/// let handles = buffers.each_mut().map(|(input, output)| (&mut input[..], &mut output[..]));
/// ```
///
/// A server:
///
/// ```
/// use embedded_nal::TcpFullStack;
/// use socklab_core::driver::nonblocking::{Ended, Server};
/// use socklab_core::echo::{self, server::Event};
/// use socklab_core::session::Handler;
///
/// /// Counts the bytes of one client.
/// struct Count(u32);
///
/// impl Handler<echo::Server> for Count {
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
///         let polled = server.poll(stack, millis(), open, |Ended { peer, handler, outcome, .. }| {
///             println!("{peer}: {} bytes, {outcome:?}", handler.0);
///         });
///         match polled {
///             Ok(()) => {}
///             Err(nb::Error::WouldBlock) => sleep(server.wait(millis())),
///             // The listener's: the clients have been served all the same.
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

/// Place for a client. The buffers stay when it leaves.
struct Slot<S: TcpClientStack, M, A, I, O> {
    stream: Stream<I, O>,
    client: Option<Client<S, M, A>>,
}

struct Client<S: TcpClientStack, M, A> {
    link: Link<S::TcpSocket, S::Error>,
    machine: M,
    handler: A,
    peer: SocketAddr,
    since: Since,
    /// It had no space for the last command to all.
    misses: bool,
}

impl<S: TcpClientStack, M, A, I, O, const N: usize> Server<S, M, A, I, O, N> {
    /// Number of clients that are connected.
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
    /// The client's address.
    pub peer: SocketAddr,
    /// The handler that [`Server::poll`]'s `open` made for it.
    pub handler: &'s A,
    /// How it ended.
    pub outcome: Outcome<P>,
    /// The transport's error if it failed. The machine got it as [`StreamEnd::Reset`]. With
    /// [`Outcome::Done`]: pending output was dropped, or the connection could not be closed.
    pub fault: Option<T>,
}

/// How a session of a [`Server`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<P> {
    /// As the protocol says.
    Done,
    /// The machine wanted a reset ([`Want::Abort`]). `embedded-nal` has none: the connection was closed,
    /// and the peer may take that for an orderly end.
    Aborted,
    /// The machine's error: the client broke the protocol, left too early, or was silent for too long.
    Failed(P),
    /// The handler gave a command that the machine rejected: a mistake of the application.
    Refused(CommandError),
    /// The machine broke a law. No machine of this crate does.
    Broken(Law),
}

impl<S, M, A, I, O, const N: usize> Server<S, M, A, I, O, N>
where
    S: TcpFullStack,
    M: Machine,
    A: Handler<M>,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Returns a server on a `listener` that is bound and listens, with an input and an output buffer
    /// per client.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] if a buffer is shorter than the machine needs.
    pub fn new(
        listener: S::TcpSocket,
        buffers: [(I, O); N],
    ) -> core::result::Result<Self, TooSmall> {
        let slots = buffers
            .map(|(input, output)| Slot { stream: Stream::new(input, output), client: None });
        for slot in &slots {
            slot.stream.holds::<M>()?;
        }
        let clock = Clock { now: 0, left: u32::MAX, busy: false, pace: PACE, timeout: None };
        Ok(Self { listener, slots, clock })
    }

    /// Sets the pause at each [boundary](Want::Boundary), in milliseconds: 30 by default. Some real
    /// peers take one `recv` for one message.
    pub const fn set_pace(&mut self, pace: u16) {
        self.clock.pace = pace;
    }

    /// Sets the number of milliseconds without a byte in either direction after which a session ends
    /// with [`StreamEnd::TimedOut`]. The time in which its handler has no command, or is not ready, does
    /// not count. `None`, the default: no limit. At most 2^31.
    pub const fn set_timeout(&mut self, timeout: Option<u32>) {
        self.clock.timeout = timeout;
    }

    /// Gives this command to every session that accepts it now: an echo server's `Finish`, say. A session
    /// for which it is [`CommandError::OutOfTurn`] does not get it.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if a client has no space for it because its peer does not read; all
    /// others have it. Call [`poll`](Self::poll), then [`command_missed`](Self::command_missed) with the
    /// same command. [`nb::Error::Other`] if the protocol cannot express it, or it is longer than the
    /// output buffer.
    pub fn command(
        &mut self,
        stack: &mut S,
        command: M::Command<'_>,
    ) -> nb::Result<(), CommandError> {
        for client in self.slots.iter_mut().filter_map(|slot| slot.client.as_mut()) {
            client.misses = true;
        }
        self.command_missed(stack, command)
    }

    /// Gives this command to the sessions that had no space for the last one.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn command_missed(
        &mut self,
        stack: &mut S,
        command: M::Command<'_>,
    ) -> nb::Result<(), CommandError> {
        let mut given = Ok(());
        for Slot { stream, client } in &mut self.slots {
            let Some(Client { link, machine, misses, .. }) = client else { continue };
            while *misses {
                match session::command(machine, stream, command) {
                    Err(CommandError::OutputFull) if !stream.transmit().is_empty() => {
                        if Socket(stack, link).send(stream).is_err() {
                            given = given.and(Err(nb::Error::WouldBlock));
                            break;
                        }
                        continue;
                    }
                    // A session that is over rejects it, and does not need it.
                    Ok(()) | Err(CommandError::OutOfTurn) => {}
                    Err(e) => given = Err(nb::Error::Other(e)),
                }
                *misses = false;
            }
        }
        given
    }

    /// Accepts at most one client, for which `open` makes machine and handler, advances every session,
    /// and calls `report` for those that ended.
    ///
    /// `now` is the time in milliseconds, from any start. It may wrap; only differences count.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if nothing can happen until the network changes, or the time of
    /// [`wait`](Self::wait) has passed: sleep now. [`nb::Error::Other`] if the listener failed, after the
    /// clients have been served: a stack may have no socket for another one until one of them leaves.
    /// Sleep for a while, and poll again.
    pub fn poll(
        &mut self,
        stack: &mut S,
        now: u32,
        open: impl FnOnce(SocketAddr) -> (M, A),
        mut report: impl FnMut(Ended<'_, A, M::Error, S::Error>),
    ) -> nb::Result<(), S::Error> {
        let mut accepted = Ok(());
        (self.clock.now, self.clock.left, self.clock.busy) = (now, u32::MAX, false);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.client.is_none()) {
            match stack.accept(&mut self.listener) {
                Ok((socket, peer)) => {
                    self.clock.busy = true;
                    let (machine, handler) = open(peer);
                    let (link, since) = (Link::new(socket), Since { at: now, paused: false });
                    slot.stream.reset();
                    let misses = false;
                    slot.client = Some(Client { link, machine, handler, peer, since, misses });
                }
                Err(nb::Error::WouldBlock) => {}
                Err(e) => accepted = Err(e),
            }
        }
        for Slot { stream, client: place } in &mut self.slots {
            let Some(client) = place else { continue };
            let Some(outcome) = client.poll(stack, stream, &mut self.clock) else { continue };
            self.clock.busy = true;
            let Some(Client { link, handler, peer, .. }) = place.take() else { continue };
            // A connection that cannot be closed is no reason to fail the others.
            let fault = link.fault.or(stack.close(link.socket).err());
            report(Ended { peer, handler: &handler, outcome, fault });
        }
        accepted?;
        if self.clock.busy { Ok(()) } else { Err(nb::Error::WouldBlock) }
    }

    /// After [`nb::Error::WouldBlock`], returns the number of milliseconds after which it has to be polled
    /// again, also if the network does not change. `None`: only the network matters.
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
    A: Handler<M>,
{
    /// Advances as far as possible in [`TURNS`]. Returns how the session ended, `None` while it has not.
    fn poll<I, O>(
        &mut self,
        stack: &mut S,
        stream: &mut Stream<I, O>,
        clock: &mut Clock,
    ) -> Option<Outcome<M::Error>>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let Self { link, machine, handler, since, .. } = self;
        if since.pauses(clock) {
            return None;
        }
        for _ in 0..TURNS {
            // The session keeps what the handler has no use for now, and its peer is slowed down. But
            // what the handler waits for may be the peer's answer to what is pending.
            if !handler.ready() {
                while !stream.transmit().is_empty() && Socket(stack, link).send(stream).is_ok() {}
                since.at = clock.now;
                return None;
            }
            let want = match &session::poll(machine, stream) {
                Ok(Polled::Event(event)) => {
                    handler.event(view::<M, _, _>(stream, *event));
                    continue;
                }
                Ok(Polled::Want(want)) => *want,
                Err(e) => return Some(Outcome::Failed(*e)),
            };
            let performed = link.perform(stack, stream, M::MIN_INPUT, want);
            // Its turn, or without turns. Only with all the space there is: a command has to fit, and a
            // client may ask early and read late.
            let may_send = match performed {
                Performed::Again => continue,
                Performed::Command => true,
                Performed::WouldBlock => {
                    matches!(want, Want::ReadOrWrite) && stream.write_closed().is_none()
                }
                _ => false,
            };
            if may_send && stream.transmit().is_empty() {
                match take_turn(machine, handler, stream.output_space(usize::MAX)) {
                    Turn::Wrote(n) => {
                        stream.wrote(n);
                        continue;
                    }
                    // The application thinks: that is not a silence of the client.
                    Turn::Nothing if performed == Performed::Command => {
                        since.at = clock.now;
                        return None;
                    }
                    // The machine reads on meanwhile.
                    Turn::Refused(CommandError::OutOfTurn)
                        if performed == Performed::WouldBlock => {}
                    Turn::Refused(e) => return Some(Outcome::Refused(e)),
                    Turn::Nothing => {}
                }
            }
            match performed {
                Performed::Close => return Some(Outcome::Done),
                Performed::Abort => return Some(Outcome::Aborted),
                Performed::Broken(law) => return Some(Outcome::Broken(law)),
                Performed::Boundary => {
                    *since = Since { at: clock.now, paused: true };
                    if since.pauses(clock) {
                        return None;
                    }
                }
                Performed::Command | Performed::WouldBlock | Performed::Again => {
                    let moved = stream.has_moved();
                    let idle_ms = if stream.is_open() { link.idle_ms() } else { None };
                    match since.due(clock, moved, idle_ms) {
                        Due::Nothing => return None,
                        Due::Idle => stream.idle(),
                        Due::TimedOut => stream.time_out(),
                    }
                }
            }
        }
        // The others first.
        clock.busy = true;
        None
    }
}

/// Number of turns of a client in one poll, so that a fast one stops neither the others nor the caller.
const TURNS: u8 = 64;

/// The pause at a boundary, in ms, as the host's servers have it.
const PACE: u16 = 30;

/// Clock of a [`Server`]. Like what follows it knows no machine, so a program contains its code once.
#[derive(Debug)]
struct Clock {
    /// The time of this poll, in ms.
    now: u32,
    /// Milliseconds from then until there is something to do; `u32::MAX`: nothing.
    left: u32,
    /// There is something to do now.
    busy: bool,
    /// Length of a pause in ms.
    pace: u16,
    /// Longest time without a byte in ms.
    timeout: Option<u32>,
}

/// Since when a client waits, and what for.
#[derive(Debug)]
struct Since {
    /// When bytes moved last, the handler had its turn, or a pause began.
    at: u32,
    paused: bool,
}

/// What the clock reports.
enum Due {
    Nothing,
    Idle,
    TimedOut,
}

impl Clock {
    /// Whether `ms` milliseconds have passed since then. If not, notes when they will have.
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
    /// Whether a pause continues.
    #[inline(never)]
    fn pauses(&mut self, clock: &mut Clock) -> bool {
        if self.paused {
            self.paused = !clock.passed(self.at, clock.pace.into());
        }
        self.paused
    }

    #[inline(never)]
    fn due(&mut self, clock: &mut Clock, moved: bool, idle_ms: Option<u16>) -> Due {
        if moved {
            self.at = clock.now;
        }
        if idle_ms.is_some_and(|ms| clock.passed(self.at, ms.into())) {
            Due::Idle
        } else if clock.timeout.is_some_and(|ms| clock.passed(self.at, ms)) {
            // Once: a machine that waits all the same must not keep a loop busy.
            self.at = clock.now;
            Due::TimedOut
        } else {
            Due::Nothing
        }
    }
}
