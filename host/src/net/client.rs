use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded_nal::TcpClientStack;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socklab_core::driver::{self, Next, nonblocking::Connection};
use socklab_core::machine::{CommandError, Machine};

use super::dial::{DialError, Target, dial, limit, reason};
use super::listener::Accepted;
use super::quote::{Notice, Quote};
use super::reads::Reads;
use super::stack::{Fault, Observer, Stack, TcpSocket, borrow};
use super::{DEFAULT_BUFFER, DEFAULT_PACE, DEFAULT_TIMEOUT};

mod delivery;

pub use delivery::Delivery;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// However little is read at a time, short messages leave in one write.
const OUTPUT_MIN: usize = 4096;

/// A connected client: a machine on a socket, asleep while nothing happens.
///
/// [`next`](Self::next) is all that a protocol of question and answer needs. A full-duplex one
/// uses [`try_next`](Self::try_next), [`write_payload`](Self::pay) and [`wait`](Self::wait).
pub struct Client<M: Machine> {
    stack: Stack,
    connection: Connection<Stack, M, Box<[u8]>, Box<[u8]>>,
    peer: SocketAddr,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    timeout: Option<Duration>,
    pace: Duration,
    /// So many bytes had crossed when they last did, and when that was.
    last: (u64, Instant),
    /// The machine also waits for so many milliseconds in which nothing comes.
    silence: Option<u16>,
    /// The peer was silent for so long that it was given up.
    gave_up: Option<Duration>,
    /// Between two messages: nothing moves until that is over.
    pause: Option<Pause>,
    outstanding: Option<Outstanding>,
    /// When the peer was last seen to take something, though nothing moved here.
    taken: Instant,
    /// Opened when first needed.
    reads: Option<Reads>,
    /// Whether it is the application's turn: what the peer has sent early is not part of a message then.
    ours: bool,
    /// Number of bytes consumed when the last notice was given: one for each message.
    noticed: Option<u64>,
    notice: Box<dyn FnMut(Notice) + Send>,
}

/// Output that the peer had not taken when that was last looked up.
struct Outstanding {
    bytes: u32,
    /// Number of bytes that had crossed then: with another one, something has moved since.
    moved: u64,
    at: Instant,
}

/// Number of times within a time-out that it is looked up what the peer has taken.
const LOOKS: u32 = 8;

/// The pause of a boundary: for the pace at least, and until the peer has read what stands before it,
/// as far as that can be known.
struct Pause {
    start: Instant,
    pace: Duration,
    /// One who never reads is not to keep us for ever.
    limit: Duration,
    /// Both ends, and who knows what has been read; after a reset there is nothing to wait for.
    reads: Option<(SocketAddr, SocketAddr, Reads)>,
}

/// Our address and the peer's; `None` after a reset.
fn ends(socket: &TcpSocket) -> Option<(SocketAddr, SocketAddr)> {
    let fd = borrow(socket)?;
    let socket = socket2::SockRef::from(&fd);
    let addr = |addr: io::Result<socket2::SockAddr>| addr.ok()?.as_socket();
    Some((addr(socket.local_addr())?, addr(socket.peer_addr())?))
}

impl Pause {
    fn new(socket: &TcpSocket, pace: Duration, limit: Duration) -> Self {
        let reads = ends(socket).map(|(local, peer)| (local, peer, Reads::new()));
        Self { start: Instant::now(), pace, limit, reads }
    }

    fn is_over(&mut self) -> bool {
        let elapsed = self.start.elapsed();
        if elapsed < self.pace {
            return false;
        }
        elapsed >= self.pace + self.limit
            || self.reads.as_mut().is_none_or(|(local, peer, reads)| reads.has_all(*local, *peer))
    }

    /// When to look again.
    fn wait(&self) -> Duration {
        let elapsed = self.start.elapsed();
        match self.pace.checked_sub(elapsed) {
            Some(left) if !left.is_zero() => left,
            _ => ((elapsed - self.pace) / 4)
                .clamp(Duration::from_millis(2), Duration::from_millis(250)),
        }
    }
}

/// Why a client failed.
#[derive(Debug)]
pub enum Error<P> {
    /// The connection could not be made.
    Dial(DialError),
    /// The peer broke the protocol or ended too early; with what it had sent that was not understood or
    /// not complete.
    Protocol(P, Quote),
    /// The peer sent nothing for this long: what the machine says of that, and the quote as above.
    TimedOut(P, Duration, Quote),
    /// The system failed to read or write.
    Io(io::Error),
    /// The command cannot be given (now): our caller's mistake.
    Refused(CommandError),
}

impl<P: fmt::Display> fmt::Display for Error<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(e) => e.fmt(f),
            Self::Protocol(e, quote) | Self::TimedOut(e, _, quote) => {
                write!(f, "{e}{}", quote.suffix())
            }
            Self::Io(e) => write!(f, "cannot read or write: {}", reason(e)),
            Self::Refused(e) => e.fmt(f),
        }
    }
}

impl<P: fmt::Debug + fmt::Display> std::error::Error for Error<P> {}

impl<P> Error<P> {
    /// The same, quoting `last`, which the application got and did not understand, if nothing that came
    /// after it is quoted already.
    #[must_use]
    pub fn or_quote(mut self, last: &[u8]) -> Self {
        if let Self::Protocol(_, quote) | Self::TimedOut(_, _, quote) = &mut self
            && quote.is_empty()
        {
            *quote = Quote::new(last);
        }
        self
    }
}

impl<P> From<DialError> for Error<P> {
    fn from(e: DialError) -> Self {
        Self::Dial(e)
    }
}

/// What a peer sent behind the end of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Number of bytes; of a peer that sends on and on, those of the first second or MiB.
    pub bytes: usize,
    /// The first of them.
    pub start: Quote,
}

/// Why [`Client::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The socket may have something; or the time is up, which the machine will tell.
    Socket,
    /// Somebody used the [`waker`](Client::waker).
    Called,
}

type Result<M, T> = std::result::Result<T, Error<<M as Machine>::Error>>;

impl<M: Machine> Client<M> {
    /// Connects a new machine to the first of the target's addresses that takes it. The connect, and
    /// later whatever the peer is to say, is waited for 30 s at the most.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn connect(target: impl Into<Target>) -> std::result::Result<Self, DialError>
    where
        M: Default,
    {
        Self::dial(&target.into(), M::default(), DEFAULT_BUFFER, Some(DEFAULT_TIMEOUT))
    }

    /// Connects this machine to the first of the target's addresses that takes it.
    ///
    /// `timeout` bounds the connect, and later every time in which neither side makes progress; `None`
    /// for no limit. A peer that reads slowly makes progress whenever its system acknowledges something,
    /// where the system reports it (Linux); elsewhere progress is what the own system takes. No read asks for more than `buffer` bytes; as many are buffered each way, or
    /// as many as the machine needs if that is more.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub fn dial(
        target: &Target,
        machine: M,
        buffer: usize,
        timeout: Option<Duration>,
    ) -> std::result::Result<Self, DialError> {
        let (socket, peer) = dial(target, timeout)?;
        Self::over(socket, peer, machine, buffer, timeout).map_err(DialError::System)
    }

    /// The same over a connection that was accepted: for a server that has one client at a time.
    ///
    /// # Errors
    ///
    /// When the system has no poll to spare.
    pub fn accepted(
        accepted: Accepted,
        machine: M,
        buffer: usize,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let Accepted { stream, peer } = accepted;
        Self::over(TcpSocket::Accepted(stream), peer, machine, buffer, timeout)
    }

    fn over(
        socket: TcpSocket,
        peer: SocketAddr,
        machine: M,
        buffer: usize,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        log::debug!("{peer}: idle connection, {}", limit(timeout));
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        if let Some(fd) = borrow(&socket) {
            let fd = fd.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&fd), SOCKET, interest)?;
        }
        let input = vec![0; buffer.max(M::MIN_INPUT)].into_boxed_slice();
        let output = vec![0; buffer.max(M::MIN_OUTPUT).max(OUTPUT_MIN)].into_boxed_slice();
        let connection =
            Connection::new(socket, machine, input, output).map_err(io::Error::other)?;
        Ok(Self {
            stack: Stack::reading(buffer),
            connection,
            peer,
            poll,
            events: Events::with_capacity(4),
            waker: Arc::new(waker),
            timeout,
            pace: DEFAULT_PACE,
            last: (0, Instant::now()),
            silence: None,
            gave_up: None,
            pause: None,
            outstanding: None,
            taken: Instant::now(),
            reads: None,
            ours: false,
            noticed: None,
            notice: Box::new(|notice| log::warn!("{notice}")),
        })
    }

    /// Shows every byte from here on to `observer`.
    #[must_use]
    pub fn observed(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.stack.observer = observer.map(|o| (self.peer, o));
        self
    }

    /// Gives each [`Notice`] to `notice` instead of the log, which has them at level warn.
    #[must_use]
    pub fn noticing(mut self, notice: impl FnMut(Notice) + Send + 'static) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// With another pause at a boundary of messages: some peers take one `recv` for one message.
    #[must_use]
    pub const fn paced(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Waits for a silent peer for another time than for the connection; `None` for ever.
    #[must_use]
    pub const fn patient(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// From here on waits for a silent peer this much longer.
    pub fn extend_timeout(&mut self, by: Duration) {
        self.timeout = self.timeout.map(|timeout| timeout.saturating_add(by));
    }

    /// The address that took the connection.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        self.connection.machine()
    }

    /// Wakes a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for the next thing that happens. The thread sleeps until then, and through the pause of a
    /// [`Boundary`](Next::Boundary).
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] for every way in which the peer fails, silence included;
    /// [`Error::Io`] when the system does.
    #[expect(clippy::should_implement_trait, reason = "events borrow the client")]
    pub fn next(&mut self) -> Result<M, Next<M::Event<'_>>> {
        while !self.advance()? {
            self.wait()?;
        }
        match self.connection.next(&mut self.stack) {
            Ok(next) => Ok(next),
            Err(e) => Err(error(None, self.gave_up, Quote::default(), e)),
        }
    }

    /// The next thing that happens, `None` when it is not there yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<M, Option<Next<M::Event<'_>>>> {
        if !self.advance()? {
            return Ok(None);
        }
        match self.connection.next(&mut self.stack) {
            Ok(next) => Ok(Some(next)),
            Err(e) => Err(error(None, self.gave_up, Quote::default(), e)),
        }
    }

    /// Whether something has happened.
    fn advance(&mut self) -> Result<M, bool> {
        self.silence = None;
        loop {
            if let Some(pause) = &mut self.pause {
                if !pause.is_over() {
                    return Ok(false);
                }
                self.pause = None;
                self.last.1 = Instant::now();
            }
            return match self.connection.advance(&mut self.stack) {
                // Here, since the machine has passed it when the next call asks what there was.
                Ok(Next::Boundary) => {
                    if !self.pace.is_zero() {
                        let limit = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
                        let socket = self.connection.socket();
                        self.pause = Some(Pause::new(socket, self.pace, limit));
                    }
                    continue;
                }
                Ok(next) => {
                    self.ours = next == Next::Command;
                    Ok(true)
                }
                Err(nb::Error::WouldBlock) => {
                    self.ours = false;
                    self.silence = self.connection.silence();
                    Ok(false)
                }
                Err(e) => Err(self.failed(e)),
            };
        }
    }

    /// The driver's error as ours, with what is unread.
    fn failed(&mut self, e: nb::Error<driver::Error<M::Error, Fault>>) -> Error<M::Error> {
        let quote = Quote::unread(self.connection.unread(), M::LINES);
        error(self.connection.fault(), self.gave_up, quote, e)
    }

    /// Gives the machine a command, waiting for room as long as the peer takes bytes. What it
    /// writes leaves with the next call of [`next`](Self::next) or [`try_next`](Self::try_next).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the machine does not take it, or it is longer than the buffer.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<M, ()> {
        while !self.try_command(command)? {
            self.wait()?;
        }
        Ok(())
    }

    /// As [`command`](Self::command), but does not wait: whether there was room.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn try_command(&mut self, command: M::Command<'_>) -> Result<M, bool> {
        match self.connection.command(&mut self.stack, command) {
            Ok(()) => Ok(true),
            Err(nb::Error::WouldBlock) => Ok(false),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Whether bytes wait for the peer to take them.
    pub fn is_sending(&self) -> bool {
        self.connection.wants_send()
    }

    /// Sends what it can of the payload that the machine is [`outbound_remaining`](Machine::outbound_remaining), and says how
    /// much that was: 0 when the peer takes nothing now.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn write_payload(&mut self, payload: &[u8]) -> Result<M, usize> {
        match self.connection.write_payload(&mut self.stack, payload) {
            Ok(n) => Ok(n),
            Err(nb::Error::WouldBlock) => Ok(0),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Moves payload that is [`inbound_remaining`](Machine::inbound_remaining) from the socket to a pipe, `most` bytes at the
    /// most, without a copy. How many that were, 0 when nothing is there now: [`wait`](Self::wait).
    ///
    /// `None` when [`try_next`](Self::try_next) is to be asked instead: nothing is due, the stream
    /// ends, bytes are there already or wait to be sent, an observer wants to see them, or the system cannot do it.
    #[cfg(target_os = "linux")]
    pub fn splice(&mut self, pipe: std::os::fd::BorrowedFd<'_>, most: usize) -> Option<usize> {
        use rustix::io::Errno;
        use rustix::pipe::{SpliceFlags, splice};

        let due =
            usize::try_from(self.connection.inbound_remaining()).unwrap_or(usize::MAX).min(most);
        if due == 0 || self.is_sending() || self.stack.observer.is_some() {
            return None;
        }
        let socket = borrow(self.connection.socket())?;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        loop {
            return match splice(socket, None, pipe, None, due, flags) {
                // The end: to be read, and named.
                Ok(0) => None,
                Ok(n) => {
                    self.stack.moved += n as u64;
                    self.stack.received += n as u64;
                    // No more than was due.
                    let _ = self.connection.advance_inbound(n as u64);
                    Some(n)
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Some(0),
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => None,
                // Told once: to read again would find an orderly end.
                Err(_) => {
                    self.connection.lost();
                    None
                }
            };
        }
    }

    /// Sleeps until the socket is ready, the waker is used, the time is up, or the peer has been
    /// silent for as long as the machine waits for that.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot wait.
    pub fn wait(&mut self) -> Result<M, Wake> {
        if let Some(pause) = &self.pause {
            let left = pause.wait();
            return self.sleep(Some(left));
        }
        let now = Instant::now();
        if self.stack.moved != self.last.0 {
            self.last = (self.stack.moved, now);
        }
        let look = self.timeout.and_then(|limit| self.look(now, limit));
        let left = |time: Duration| time.saturating_sub(now - self.last.1);
        let silence = self.silence.map(|ms| left(Duration::from_millis(ms.into())));
        let timeout = self.timeout.map(|limit| limit.saturating_sub(self.idle(now)));
        if timeout == Some(Duration::ZERO) {
            log::debug!("{}: no progress for {:?}, giving up", self.peer, self.idle(now));
            self.connection.time_out();
            self.gave_up = self.timeout;
            return Ok(Wake::Socket);
        }
        if silence == Some(Duration::ZERO) {
            self.connection.idle();
            return Ok(Wake::Socket);
        }
        let until_notice = left(Duration::from_millis(Notice::AFTER_MS.into()));
        let notice = self.until_notice(until_notice);
        self.sleep(silence.into_iter().chain(timeout).chain(notice).chain(look).min())
    }

    /// Looks up from time to time whether the peer has taken something: that is progress, though nothing
    /// moves here. Returns the time until the next look, if there is to be one.
    ///
    /// The system takes megabytes for a connection, and then nothing until a third of that has left.
    fn look(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let (every, age) = (limit / LOOKS, self.idle(now));
        let moved = self.stack.moved;
        let known = self.outstanding.as_ref().filter(|known| known.moved == moved);
        let before = known.map(|known| known.bytes);
        let left = match known {
            // What is not outstanding at the first look is so at no later one.
            Some(Outstanding { bytes: 0, .. }) => return None,
            Some(known) => every.saturating_sub(now - known.at),
            None => every.saturating_sub(age),
        };
        if !left.is_zero() && age < limit {
            return Some(left);
        }
        let bytes = self.outstanding().unwrap_or(0);
        match before {
            Some(before) if bytes < before => {
                log::debug!("{}: reads slowly, {bytes} bytes to go", self.peer);
                self.taken = now;
            }
            // It was not waited before, so only the next look shows it.
            None if bytes > 0 && age >= limit => {
                self.taken = (now + every).checked_sub(limit).unwrap_or(now);
            }
            _ => {}
        }
        self.outstanding = Some(Outstanding { bytes, moved, at: now });
        (bytes > 0).then_some(every)
    }

    /// Time since either side made progress.
    fn idle(&self, now: Instant) -> Duration {
        now - self.last.1.max(self.taken)
    }

    /// Number of bytes that the peer has still to take, as far as the system reports.
    fn outstanding(&mut self) -> Option<u32> {
        let fd = borrow(self.connection.socket())?;
        let local = socket2::SockRef::from(&fd).local_addr().ok()?.as_socket()?;
        self.reads.get_or_insert_with(Reads::new).outstanding(local, self.peer)
    }

    /// Gives the notice if one is due; else the time until then, which is `left` if a part of a message
    /// waits for its rest.
    fn until_notice(&mut self, left: Duration) -> Option<Duration> {
        let unread = self.connection.unread();
        let consumed = self.stack.received.saturating_sub(unread.len() as u64);
        if self.ours || unread.is_empty() || self.noticed == Some(consumed) {
            return None;
        }
        if !left.is_zero() {
            return Some(left);
        }
        self.noticed = Some(consumed);
        (self.notice)(Notice {
            peer: self.peer,
            part: Quote::new(unread),
            length: unread.len(),
            is_line: M::LINES,
        });
        None
    }

    fn sleep(&mut self, left: Option<Duration>) -> Result<M, Wake> {
        match self.poll.poll(&mut self.events, left) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(Error::Io(e)),
            _ => {}
        }
        let called = self.events.iter().any(|event| event.token() == WAKER);
        Ok(if called { Wake::Called } else { Wake::Socket })
    }

    /// As [`wait`](Self::wait), but for as long as it takes: it is not the peer's turn.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for_us(&mut self) -> Result<M, Wake> {
        let timeout = self.timeout.take();
        let wake = self.wait();
        self.timeout = timeout;
        self.last.1 = Instant::now();
        wake
    }

    /// Closes the connection so that the peer gets what was sent last: a system that closes a
    /// socket with something unread tells the peer to drop what it has not read either. Waits for
    /// the peer to close for as long as a living one takes. Returns what it had sent that no one read.
    pub fn close(mut self) -> Surplus {
        /// So long, and so many bytes, for what the peer still sends.
        const GRACE: Duration = Duration::from_secs(1);
        const MOST: usize = 1 << 20;

        self.close_sending();
        let mut unread = self.connection.unread().to_vec();
        let mut bytes = unread.len();
        // One who was silent for too long is not waited for again, and one who has ended sends nothing.
        if self.gave_up.is_some() || self.stack.ended {
            return Surplus { bytes, start: Quote::new(&unread) };
        }
        let until = Instant::now() + GRACE;
        let mut room = [0; 4096];
        let (connection, stack) = (self.connection, &mut self.stack);
        let mut socket = connection.into_socket();
        while bytes < MOST {
            match stack.receive(&mut socket, &mut room) {
                Ok(n @ 1..) => {
                    if unread.len() < room.len() {
                        unread.extend_from_slice(&room[..n]);
                    }
                    bytes += n;
                }
                Ok(0) | Err(nb::Error::Other(_)) => break,
                Err(nb::Error::WouldBlock) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    match self.poll.poll(&mut self.events, Some(left)) {
                        Err(e) if e.kind() != io::ErrorKind::Interrupted => break,
                        _ => {}
                    }
                }
            }
        }
        Surplus { bytes, start: Quote::new(&unread) }
    }

    /// Closes the sending side: the peer sees the end, its last bytes can still be read.
    pub fn close_sending(&self) {
        if let Some(fd) = borrow(self.connection.socket()) {
            let _ = socket2::SockRef::from(&fd).shutdown(std::net::Shutdown::Write);
        }
    }
}

/// The driver's error as ours. A reset is the peer's doing and named by the machine; other faults
/// of the transport are the system's, and its words say more than the machine's.
fn error<P>(
    fault: Option<Fault>,
    gave_up: Option<Duration>,
    quote: Quote,
    e: nb::Error<driver::Error<P, Fault>>,
) -> Error<P> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match (fault, e) {
        (Some(Fault(io)), _)
            if !matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) =>
        {
            Error::Io(io)
        }
        (_, nb::Error::Other(driver::Error::Protocol(e))) => match gave_up {
            Some(time) => Error::TimedOut(e, time, quote),
            None => Error::Protocol(e, quote),
        },
        (_, nb::Error::Other(driver::Error::Transport(Fault(io)))) => Error::Io(io),
        (_, nb::Error::Other(driver::Error::Refused(e))) => Error::Refused(e),
        (_, nb::Error::WouldBlock) => Error::Io(io::ErrorKind::WouldBlock.into()),
    }
}
