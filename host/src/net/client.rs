use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded_nal::TcpClientStack;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socklab_core::driver::{self, Next, nonblocking::Connection};
use socklab_core::machine::{CommandError, EventView, Machine};
use socklab_core::session::Law;

use super::dial::{DialError, Target, dial, reason, timeout_text};
use super::listener::Accepted;
use super::quote::{Notice, Quote};
use super::stack::{Fault, Observer, Stack, TcpSocket, borrow, interest};
use super::{DEFAULT_BUFFER, DEFAULT_PACE, DEFAULT_TIMEOUT};
use crate::sys::extra::net::{Pipe, SocketQueues};
use crate::sys::net as system;

mod batch;
mod delivery;
mod pause;

use batch::Batch;
pub use delivery::Delivery;
use pause::Pause;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Smallest size of the output buffer in bytes, whatever the size of a read: a short message must
/// leave in one write.
const OUTPUT_MIN: usize = 4096;

/// A connected client: a machine that is driven by a socket. The thread sleeps while it waits.
///
/// A protocol of questions and answers needs only [`next`](Self::next). A full-duplex one uses
/// [`try_next`](Self::try_next), [`write_payload`](Self::write_payload) and [`wait`](Self::wait).
pub struct Client<M: Machine> {
    stack: Stack,
    connection: Connection<Stack, M, Box<[u8]>, Box<[u8]>>,
    peer: SocketAddr,
    poll: Poll,
    /// Events for which the socket is registered.
    registered: Interest,
    events: Events,
    waker: Arc<Waker>,
    timeout: Option<Duration>,
    pace: Duration,
    /// Number of bytes transferred in both directions, and the time at which it last changed.
    last_moved: (u64, Instant),
    /// Milliseconds without input after which the machine wants to be stepped, if it asked for that.
    idle_ms: Option<u16>,
    /// The timeout that has expired, if one has.
    timed_out: Option<Duration>,
    /// The pause at a message boundary. No bytes are transferred until it is over.
    pause: Option<Pause>,
    outstanding: Option<Outstanding>,
    batch: Batch,
    /// Time at which the peer last acknowledged or read something while no byte was transferred here.
    peer_progress: Instant,
    /// Opened on first use.
    queues: Option<SocketQueues>,
    /// Whether it is the application's turn. Bytes that the peer has sent early do not count as a partial message then.
    is_our_turn: bool,
    /// Number of bytes consumed when the last notice was given. It limits notices to one for each message.
    noticed_at: Option<u64>,
    on_notice: Box<dyn FnMut(Notice) + Send>,
}

/// Output that the peer had not acknowledged or read at the last probe.
struct Outstanding {
    bytes: u32,
    /// Number of bytes transferred at that time. If it has changed, this probe is out of date.
    moved: u64,
    at: Instant,
}

/// Number of probes of the peer's progress within one timeout.
const PROBES: u32 = 8;

/// Why a client failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<P> {
    /// The connection could not be established.
    Dial(DialError),
    /// The peer violated the protocol or ended the stream too early. The quote contains the bytes that were
    /// not understood or not complete.
    Protocol(P, Quote),
    /// Neither side made progress for this long. Contains the machine's error and the same quote.
    TimedOut(P, Duration, Quote),
    /// The operating system could not read or write.
    Io(io::Error),
    /// The machine did not accept the command: a mistake of the caller.
    Refused(CommandError),
    /// The machine broke a law: it is defective. No machine of socklab-core does.
    Law(Law),
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
            Self::Law(e) => write!(f, "internal error: {e}"),
        }
    }
}

impl<P: fmt::Debug + fmt::Display> std::error::Error for Error<P> {}

impl<P> Error<P> {
    /// Quotes `last`, which the application received and did not understand, unless the error already quotes
    /// later bytes.
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

/// Bytes that a peer sent after the end of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Surplus {
    /// Number of bytes. Counting stops after one second or 1 MiB, since the peer may not stop sending.
    pub bytes: usize,
    /// Start of these bytes.
    pub start: Quote,
}

/// Why [`Client::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// The socket may be ready, or a timeout has expired, which the machine will report.
    Socket,
    /// The [`waker`](Client::waker) was used.
    Waker,
}

type Result<M, T> = std::result::Result<T, Error<<M as Machine>::Error>>;

impl<M: Machine> Client<M> {
    /// Connects a new machine to the first of the target's addresses that accepts. The timeout is
    /// [`DEFAULT_TIMEOUT`] (30 s), for the connect and later for every wait.
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

    /// Connects this machine to the first of the target's addresses that accepts.
    ///
    /// `timeout` limits the connect, and later every period in which neither side makes progress. `None`
    /// means no limit. On Linux a peer that reads slowly makes progress whenever its system acknowledges
    /// something. On other systems only bytes that the local socket accepts count as progress.
    ///
    /// A read returns at most `buffer` bytes. The buffer for each direction has this size, or the machine's
    /// minimum if that is larger.
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
        Self::from_socket(socket, peer, machine, buffer, timeout).map_err(DialError::System)
    }

    /// Drives this machine with an accepted connection, for a server that has one client at a time.
    /// `buffer` and `timeout` are those of [`dial`](Self::dial).
    ///
    /// # Errors
    ///
    /// When the system cannot create a poll instance.
    pub fn accepted(
        accepted: Accepted,
        machine: M,
        buffer: usize,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let Accepted { stream, peer } = accepted;
        Self::from_socket(stream, peer, machine, buffer, timeout)
    }

    fn from_socket(
        mut stream: TcpStream,
        peer: SocketAddr,
        machine: M,
        buffer: usize,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        log::debug!("{peer}: idle connection, {}", timeout_text(timeout));
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registered = interest(false);
        poll.registry().register(&mut stream, SOCKET, registered)?;
        let input = vec![0; buffer.max(M::MIN_INPUT)].into_boxed_slice();
        let output = vec![0; buffer.max(M::MIN_OUTPUT).max(OUTPUT_MIN)].into_boxed_slice();
        let connection =
            Connection::new(Some(stream), machine, input, output).map_err(io::Error::other)?;
        Ok(Self {
            stack: Stack::with_read_max(buffer),
            connection,
            peer,
            poll,
            registered,
            events: Events::with_capacity(4),
            waker: Arc::new(waker),
            timeout,
            pace: DEFAULT_PACE,
            last_moved: (0, Instant::now()),
            idle_ms: None,
            timed_out: None,
            pause: None,
            outstanding: None,
            batch: Batch::disabled(),
            peer_progress: Instant::now(),
            queues: None,
            is_our_turn: false,
            noticed_at: None,
            on_notice: Box::new(|notice| log::warn!("{notice}")),
        })
    }

    /// Passes every byte that is transferred from now on to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.stack.observe(observer, self.peer, self.connection.socket());
        self
    }

    /// Passes each [`Notice`] to `notice` instead of logging it at level warn.
    #[must_use]
    pub fn on_notice(mut self, notice: impl FnMut(Notice) + Send + 'static) -> Self {
        self.on_notice = Box::new(notice);
        self
    }

    /// Sets the pause at a message boundary. Some peers take one `recv` for one message and need it.
    #[must_use]
    pub const fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Replaces the timeout that was given for the connect. `None` means no limit.
    #[must_use]
    pub const fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Extends the timeout by this duration, from now on.
    pub fn extend_timeout(&mut self, by: Duration) {
        self.timeout = self.timeout.map(|timeout| timeout.saturating_add(by));
    }

    /// Returns the peer's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.connection.machine()
    }

    /// Returns a waker that ends a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for the next event or the application's turn. The thread sleeps until then, also during the pause
    /// at a [`Boundary`](Next::Boundary).
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] or [`Error::TimedOut`] when the peer fails, [`Error::Io`] when the system does.
    #[expect(clippy::should_implement_trait, reason = "events borrow the client")]
    pub fn next(&mut self) -> Result<M, Next<EventView<'_, M>>> {
        let next = loop {
            match self.advance()? {
                Some(next) => break next,
                None => self.wait()?,
            };
        };
        Ok(next.map(|event| self.connection.view(event)))
    }

    /// Returns the next event without waiting, or `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<M, Option<Next<EventView<'_, M>>>> {
        let next = self.advance()?;
        Ok(next.map(|next| next.map(|event| self.connection.view(event))))
    }

    /// Advances the machine. Returns what happens next, `None` if that needs the socket or the end of a pause.
    fn advance(&mut self) -> Result<M, Option<Next<M::Event>>> {
        self.idle_ms = None;
        loop {
            if let Some(pause) = &mut self.pause {
                if !pause.is_over() {
                    return Ok(None);
                }
                self.pause = None;
                self.last_moved.1 = Instant::now();
            }
            return match self.connection.advance(&mut self.stack) {
                Ok(Next::Boundary) => {
                    if !self.pace.is_zero() {
                        let limit = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
                        let socket = self.connection.socket();
                        self.pause = Some(Pause::new(socket, self.pace, limit));
                    }
                    continue;
                }
                Ok(next) => {
                    self.is_our_turn = matches!(next, Next::Command);
                    Ok(Some(next))
                }
                Err(nb::Error::WouldBlock) => {
                    self.is_our_turn = false;
                    self.idle_ms = self.connection.idle_ms();
                    Ok(None)
                }
                Err(e) => Err(self.convert_error(e)),
            };
        }
    }

    /// Converts the driver's error, and quotes the unread bytes.
    fn convert_error(&mut self, e: nb::Error<driver::Error<M::Error, Fault>>) -> Error<M::Error> {
        let quote = Quote::unread(self.connection.unread(), M::LINES);
        error(self.connection.fault(), self.timed_out, quote, e)
    }

    /// Gives the machine a command. Waits for space in the output buffer if necessary. The output is sent by the
    /// next call of [`next`](Self::next) or [`try_next`](Self::try_next).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the machine does not accept the command, or its output is longer than the buffer.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<M, ()> {
        while !self.try_command(command)? {
            self.wait()?;
        }
        Ok(())
    }

    /// Gives the machine a command without waiting. Returns whether there was enough space in the output buffer.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn try_command(&mut self, command: M::Command<'_>) -> Result<M, bool> {
        match self.connection.command(&mut self.stack, command) {
            Ok(()) => Ok(true),
            Err(nb::Error::WouldBlock) => Ok(false),
            Err(e) => Err(self.convert_error(e)),
        }
    }

    /// Returns whether output is buffered that the socket has not accepted yet.
    pub fn is_sending(&self) -> bool {
        self.connection.wants_send()
    }

    /// Sends as much as possible of the payload that the machine
    /// [expects](Machine::outbound_remaining). Returns the number of bytes sent, 0 if the socket accepts none now.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn write_payload(&mut self, payload: &[u8]) -> Result<M, usize> {
        match self.connection.write_payload(&mut self.stack, payload) {
            Ok(n) => match self.connection.flush(&mut self.stack) {
                Ok(()) | Err(nb::Error::WouldBlock) => Ok(n),
                Err(e) => Err(self.convert_error(e)),
            },
            Err(nb::Error::WouldBlock) => Ok(0),
            Err(e) => Err(self.convert_error(e)),
        }
    }

    /// Moves [inbound payload](Machine::inbound_remaining) from the socket to a pipe without a copy. Returns the number
    /// of bytes, 0 if none are available now; [`wait`](Self::wait) in that case.
    ///
    /// Returns `None` if the caller must use [`try_next`](Self::try_next) instead: there is no inbound payload,
    /// bytes are already buffered or wait to be sent, the stream has ended, an observer is set, or the system
    /// does not support this here.
    pub(crate) fn splice(&mut self, pipe: &Pipe) -> Option<usize> {
        let count = usize::try_from(self.connection.inbound_remaining()).unwrap_or(usize::MAX);
        if count == 0 || self.is_sending() || self.stack.has_observer() {
            return None;
        }
        let socket = borrow(self.connection.socket())?;
        match pipe.fill(&socket, count) {
            // The end of the stream: a read returns it to the machine.
            Ok(None | Some(0)) => None,
            Ok(Some(n)) => {
                self.stack.moved += n as u64;
                self.stack.received += n as u64;
                // Cannot fail: `n` is at most `inbound_remaining`.
                let _ = self.connection.advance_inbound(n as u64);
                Some(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(0),
            // The system reports a reset once. A later read would return an orderly end.
            Err(_) => {
                self.connection.lost();
                None
            }
        }
    }

    /// Sleeps until the socket is ready, the waker is used, the timeout expires, or the peer has sent nothing for
    /// as long as the machine asked for.
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
        if self.stack.moved != self.last_moved.0 {
            self.last_moved = (self.stack.moved, now);
        }
        let probe = self.timeout.and_then(|limit| self.probe_progress(now, limit));
        let left = |time: Duration| time.saturating_sub(now - self.last_moved.1);
        let idle = self.idle_ms.map(|ms| left(Duration::from_millis(ms.into())));
        let timeout = self.timeout.map(|limit| limit.saturating_sub(self.idle_time(now)));
        if timeout == Some(Duration::ZERO) {
            log::debug!("{}: timed out, no progress for {:?}", self.peer, self.idle_time(now));
            self.connection.time_out();
            self.timed_out = self.timeout;
            return Ok(Wake::Socket);
        }
        if idle == Some(Duration::ZERO) {
            self.connection.idle();
            return Ok(Wake::Socket);
        }
        let until_notice = left(Duration::from_millis(Notice::AFTER_MS.into()));
        let notice = self.poll_notice(until_notice);
        let tick = self.update_mark(now);
        let left = [idle, timeout, notice, probe, tick].into_iter().flatten().min();
        let wake = self.sleep(left);
        self.expire_mark(now);
        wake
    }

    /// Checks at intervals whether the peer has acknowledged or read something. That is progress, though no byte
    /// is transferred here: the kernel buffers megabytes for a connection, and then accepts nothing until a third
    /// of them has left. Returns the time until the next probe, or `None` if no further probe is needed.
    fn probe_progress(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let (every, age) = (limit / PROBES, self.idle_time(now));
        let moved = self.stack.moved;
        let known = self.outstanding.as_ref().filter(|known| known.moved == moved);
        let before = known.map(|known| known.bytes);
        let left = match known {
            // Nothing was outstanding, and nothing has been sent since.
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
                log::debug!("{}: peer reads slowly, {bytes} bytes outstanding", self.peer);
                self.peer_progress = now;
            }
            // Without an earlier probe to compare with, only the next one can show progress.
            None if bytes > 0 && age >= limit => {
                self.peer_progress = (now + every).checked_sub(limit).unwrap_or(now);
            }
            _ => {}
        }
        self.outstanding = Some(Outstanding { bytes, moved, at: now });
        (bytes > 0).then_some(every)
    }

    /// Returns the time since either side made progress.
    fn idle_time(&self, now: Instant) -> Duration {
        now - self.last_moved.1.max(self.peer_progress)
    }

    /// Returns the number of bytes sent that the peer has not acknowledged or not read, or `None` if the system
    /// does not report it.
    fn outstanding(&mut self) -> Option<u32> {
        let local = self.connection.socket().as_ref()?.local_addr().ok()?;
        self.queues.get_or_insert_with(SocketQueues::new).outstanding(local, self.peer)
    }

    /// Gives a [`Notice`] if part of a message is buffered and `left` is zero. Returns `left`, the time until the
    /// notice, if it has still to be given.
    fn poll_notice(&mut self, left: Duration) -> Option<Duration> {
        let unread = self.connection.unread();
        let consumed = self.stack.received.saturating_sub(unread.len() as u64);
        if self.is_our_turn || unread.is_empty() || self.noticed_at == Some(consumed) {
            return None;
        }
        if !left.is_zero() {
            return Some(left);
        }
        self.noticed_at = Some(consumed);
        (self.on_notice)(Notice {
            peer: self.peer,
            part: Quote::new(unread),
            length: unread.len(),
            is_line: M::LINES,
        });
        None
    }

    fn sleep(&mut self, left: Option<Duration>) -> Result<M, Wake> {
        self.update_interest().map_err(Error::Io)?;
        match self.poll.poll(&mut self.events, left) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(Error::Io(e)),
            _ => {}
        }
        let called = self.events.iter().any(|event| event.token() == WAKER);
        Ok(if called { Wake::Waker } else { Wake::Socket })
    }

    /// Registers the socket again where the system does not report each change: for writing if it has refused bytes,
    /// and for what the last read has left.
    fn update_interest(&mut self) -> io::Result<()> {
        let wanted = interest(self.stack.is_full);
        let may_have_more = std::mem::take(&mut self.stack.may_have_more);
        if self.registered == wanted && (system::EDGE_TRIGGERED || !may_have_more) {
            return Ok(());
        }
        self.registered = wanted;
        match self.connection.socket_mut() {
            Some(stream) => self.poll.registry().reregister(stream, SOCKET, wanted),
            None => Ok(()),
        }
    }

    /// Sleeps as [`wait`](Self::wait) does, but without a timeout: it is not the peer's turn.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_without_timeout(&mut self) -> Result<M, Wake> {
        let timeout = self.timeout.take();
        let wake = self.wait();
        self.timeout = timeout;
        self.last_moved.1 = Instant::now();
        wake
    }

    /// Closes the connection without destroying the bytes sent last. Returns the bytes that were not read.
    ///
    /// Closing a socket that has unread input sends RST, and the peer may then discard what it has not read. So
    /// this closes the sending side, reads for up to one second until the peer closes too, and closes then.
    pub fn close(mut self) -> Surplus {
        /// Limits for reading what the peer still sends.
        const GRACE: Duration = Duration::from_secs(1);
        const MOST: usize = 1 << 20;

        self.set_mark(false);
        self.close_sending();
        let mut unread = self.connection.unread().to_vec();
        let mut bytes = unread.len();
        // A peer that has timed out is not waited for again. One that has closed sends nothing more.
        if self.timed_out.is_some() || self.stack.ended {
            return Surplus { bytes, start: Quote::new(&unread) };
        }
        let until = Instant::now() + GRACE;
        let mut buffer = [0; 4096];
        let (connection, stack) = (self.connection, &mut self.stack);
        let mut socket = connection.into_socket();
        while bytes < MOST {
            match stack.receive(&mut socket, &mut buffer) {
                Ok(n @ 1..) => {
                    if unread.len() < buffer.len() {
                        unread.extend_from_slice(&buffer[..n]);
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

    /// Closes the sending side (sends FIN). The peer's bytes can still be received.
    pub fn close_sending(&mut self) {
        close_sending(&mut self.stack, self.connection.socket());
    }
}

/// Closes the sending side of a socket.
fn close_sending(stack: &mut Stack, socket: &TcpSocket) {
    if let Some(stream) = socket
        && stream.shutdown(std::net::Shutdown::Write).is_ok()
    {
        stack.closed_sending();
    }
}

/// Converts the driver's error. A reset comes from the peer, and the machine's error describes it. Other transport
/// errors come from the system, and are reported as they are since they say more than the machine's error.
fn error<P>(
    fault: Option<Fault>,
    timed_out: Option<Duration>,
    quote: Quote,
    e: nb::Error<driver::Error<P, Fault>>,
) -> Error<P> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match (fault, e) {
        (Some(Fault(io)), _)
            if !matches!(
                system::error_kind(&io),
                BrokenPipe | ConnectionAborted | ConnectionReset
            ) =>
        {
            Error::Io(io)
        }
        (_, nb::Error::Other(driver::Error::Protocol(e))) => match timed_out {
            Some(time) => Error::TimedOut(e, time, quote),
            None => Error::Protocol(e, quote),
        },
        (_, nb::Error::Other(driver::Error::Transport(Fault(io)))) => Error::Io(io),
        (_, nb::Error::Other(driver::Error::Refused(e))) => Error::Refused(e),
        (_, nb::Error::Other(driver::Error::Law(law))) => Error::Law(law),
        (_, nb::Error::Other(_)) => Error::Io(io::ErrorKind::Other.into()),
        (_, nb::Error::WouldBlock) => Error::Io(io::ErrorKind::WouldBlock.into()),
    }
}
