//! A server for a fixed number of clients, and its clock.

use core::fmt;
use core::net::SocketAddr;

use embedded_nal::{TcpClientStack, TcpFullStack};

use super::link::{Halt, Link};
use crate::machine::{Action, CommandError, Machine, Step, StreamEnd};
use crate::session::{self, Handler, Spoke, Stream, TooSmall};

/// A server for up to `N` clients at a time, without allocation: what a microcontroller runs.
///
/// It owns the buffers of all its clients, so that nothing large moves when a session begins or ends:
/// give it `&'static mut [u8]`, or arrays and put the server itself into a static. A client that comes
/// while `N` are there waits in the stack's backlog. However fast a client is, in one
/// [`poll`](Self::poll) it has at most 64 turns, a turn being a read, an event or a command.
///
/// Its clock is the caller's: each [`poll`](Self::poll) is told the time in milliseconds, and
/// [`wait`](Self::wait) says how long to sleep at the most. With that it keeps the pauses that
/// machines ask for ([`Action::Boundary`]), tells them of silence ([`Need::InputOrIdle`](crate::machine::Need::InputOrIdle)), and gives
/// up clients that have fallen silent ([`set_timeout`](Self::set_timeout)).
///
/// `embedded-nal` can close a connection and not reset it. So a client of `file` in its plain form,
/// which has no other way to tell a refusal from an empty file, can be refused here only in vain: serve
/// the checked form alone.
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
///         let polled = server.poll(stack, millis(), open, |Ended { peer, application, outcome, .. }| {
///             println!("{peer}: {} bytes, {outcome:?}", application.0);
///         });
///         match polled {
///             Ok(()) => {}
///             Err(nb::Error::WouldBlock) => sleep(server.wait(millis())),
///             // The listener's: its clients have been served all the same.
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
    /// It had no room for a command that all got.
    misses: bool,
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
    /// How it ended.
    pub outcome: Outcome<P>,
    /// What the transport said if it failed. The machine got to know it as [`StreamEnd::Reset`]. With
    /// [`Outcome::Done`]: not all that was queued has been sent, or the connection was not closed.
    pub fault: Option<T>,
}

/// How a session of a [`Server`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<P> {
    /// As the protocol has it.
    Done,
    /// The machine wanted a reset ([`Action::Abort`]). There is none in `embedded-nal`: the connection
    /// was closed, and the peer may take that for an orderly end.
    Aborted,
    /// The machine's error: the client broke the protocol, or left or went silent too early.
    Failed(P),
    /// The application gave a command that the machine does not take, which is our own mistake.
    Refused(CommandError),
}

impl<S, M, A, I, O, const N: usize> Server<S, M, A, I, O, N>
where
    S: TcpFullStack,
    M: Machine,
    A: Handler<M>,
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
        let clock = Clock { now: 0, left: u32::MAX, busy: false, pace: PACE, timeout: None };
        Ok(Self { listener, slots, clock })
    }

    /// The pause at each [`Action::Boundary`], in milliseconds: 30 unless set. Some real peers take one
    /// `recv` for one message.
    pub const fn set_pace(&mut self, pace: u16) {
        self.clock.pace = pace;
    }

    /// After so many milliseconds in which no byte went through in either direction a client is given
    /// up: its machine is told [`StreamEnd::TimedOut`]. The time in which an application has nothing to say
    /// does not count. `None`, which is the default: never. At most 2^31.
    pub const fn set_timeout(&mut self, timeout: Option<u32>) {
        self.clock.timeout = timeout;
    }

    /// Gives this command to every session that takes it now: an echo server's `Finish`, say. Sessions
    /// that refuse it as not for now ([`CommandError::OutOfTurn`]) do without.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when a client has no room for it, as its peer does not read: all others
    /// have it. Call [`poll`](Self::poll), then [`command_missed`](Self::command_missed) with the same
    /// command. [`nb::Error::Other`] when the protocol cannot express it, or it is longer than the
    /// output buffer: a session that refused it so does without.
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

    /// Gives this command to the sessions that had no room for the last one.
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
                        if link.send_some(stack, stream).is_err() {
                            given = given.and(Err(nb::Error::WouldBlock));
                            break;
                        }
                        continue;
                    }
                    // One that is over refuses it, and needs it no more.
                    Ok(()) | Err(CommandError::OutOfTurn) => {}
                    Err(e) => given = Err(nb::Error::Other(e)),
                }
                *misses = false;
            }
        }
        given
    }

    /// Accepts at most one client, for which `open` makes machine and application, moves every session
    /// on, and tells `report` which have ended.
    ///
    /// `now` is the time in milliseconds, from any start. It may wrap; only differences count.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] when nothing moves until the network does, or the time that
    /// [`wait`](Self::wait) says has passed: sleep now. [`nb::Error::Other`] when the listener failed,
    /// after the clients that are there have been served: a stack may have no socket for one more, until
    /// one of them goes. Sleep for a while, and poll again.
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
                    let (machine, application) = open(peer);
                    let (link, since) = (Link::new(socket), Since { at: now, paused: false });
                    slot.stream.reset();
                    let misses = false;
                    slot.client = Some(Client { link, machine, application, peer, since, misses });
                }
                Err(nb::Error::WouldBlock) => {}
                Err(e) => accepted = Err(e),
            }
        }
        for Slot { stream, client: place } in &mut self.slots {
            let Some(client) = place else { continue };
            let Some(outcome) = client.poll(stack, stream, &mut self.clock) else { continue };
            self.clock.busy = true;
            let Some(Client { link, application, peer, .. }) = place.take() else { continue };
            // One that cannot be closed is its own fault, and none of the others'.
            let fault = link.fault.or(stack.close(link.socket).err());
            report(Ended { peer, application: &application, outcome, fault });
        }
        accepted?;
        if self.clock.busy { Ok(()) } else { Err(nb::Error::WouldBlock) }
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
    A: Handler<M>,
{
    /// Goes as far as it can in [`TURNS`]. How it ended, `None` while it has not.
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
        let Self { link, machine, application, since, .. } = self;
        if since.pauses(clock) {
            return None;
        }
        for _ in 0..TURNS {
            let advance = &mut |stream: &mut Stream<I, O>| session::advance(machine, stream);
            let halt = link.drive(stack, stream, M::MIN_INPUT, advance);
            // Its turn, or without turns. Only with all the room there is: a command has to find it,
            // and a client may ask early and read late.
            let may_speak = match halt {
                Halt::Command => true,
                Halt::WouldBlock => link.is_open_to_both() && stream.can_send(),
                _ => false,
            };
            if may_speak && stream.transmit().is_empty() {
                match session::speak(machine, application, stream.output_room(usize::MAX)) {
                    Spoke::Wrote(n) => {
                        stream.wrote(n);
                        continue;
                    }
                    // It thinks, and that is no silence of the client.
                    Spoke::Nothing if matches!(halt, Halt::Command) => {
                        since.at = clock.now;
                        return None;
                    }
                    // The machine reads on meanwhile.
                    Spoke::Refused(CommandError::OutOfTurn) if matches!(halt, Halt::WouldBlock) => {
                    }
                    Spoke::Refused(e) => return Some(Outcome::Refused(e)),
                    Spoke::Nothing => {}
                }
            }
            match halt {
                // An error repeats, and is fetched like an event.
                Halt::Event | Halt::Failed => match &session::stepped(machine, stream) {
                    Ok(Step { action: Action::Event(event), .. }) => application.event(*event),
                    Ok(_) => {}
                    Err(e) => return Some(Outcome::Failed(*e)),
                },
                Halt::Moved => {}
                Halt::Done => return Some(Outcome::Done),
                Halt::Abort => return Some(Outcome::Aborted),
                Halt::Boundary => {
                    *since = Since { at: clock.now, paused: true };
                    if since.pauses(clock) {
                        return None;
                    }
                }
                Halt::Command | Halt::WouldBlock => {
                    let moved = stream.has_moved();
                    let silence = if stream.is_open() { link.silence() } else { None };
                    match since.inbound_remaining(clock, moved, silence) {
                        Due::Nothing => return None,
                        Due::Silence => stream.idle(),
                        Due::TimedOut => {
                            stream.ended(StreamEnd::TimedOut);
                            stream.write_ended(StreamEnd::TimedOut);
                        }
                    }
                }
            }
        }
        // The others first.
        clock.busy = true;
        None
    }
}

/// How often a client goes on in one poll, so that a fast one stops neither the others nor the caller.
const TURNS: u8 = 64;

/// The pause at a boundary, in ms, as the host's servers have it.
const PACE: u16 = 30;

/// A [`Server`]'s clock. Like what follows it knows no machine, so that its code is there once for all.
#[derive(Debug)]
struct Clock {
    /// The time of this poll, in ms.
    now: u32,
    /// In so many ms from then there is something to do; `u32::MAX`: never.
    left: u32,
    /// There is something to do at once.
    busy: bool,
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
    fn inbound_remaining(&mut self, clock: &mut Clock, moved: bool, silence: Option<u16>) -> Due {
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
