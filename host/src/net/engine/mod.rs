//! The server engine: one thread, one machine for each connection, readiness events from the system. A server with several
//! threads has an engine in each: see `threads` and `group`.
//!
//! ```text
//!   round:  poll -> events -> accept -> `again` queue once -> timers -> every second, idle connections
//!
//!   turn of a connection:
//!     unsent output?  send it; if it still blocks, do not read (this is the backpressure)
//!     one read        into the scratch buffer, after the input that was buffered
//!     pump            run the machine, from one scratch buffer to the other
//!     one send        buffer what the socket does not accept, and the input that was not consumed
//!     work            let the service send a bounded amount of payload
//! ```
//!
//! While an observer is not ready, the connections have no turns, and no client is accepted.
//!
//! A turn is bounded, so a client that floods the server does not delay the others. All connections share two
//! scratch buffers. A connection has memory of its own only while bytes of it have to be stored.

mod group;
mod payload_writer;
mod progress;
mod rounds;
mod slot;
mod threads;
mod wakeups;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use socklab_core::machine::{CommandError, EventView, Machine};
use socklab_core::session::Law;

pub use self::payload_writer::PayloadWriter;
use self::rounds::Engine;
pub use self::threads::ParallelService;
use self::threads::Threads;
pub use self::wakeups::SessionWaker;
pub(crate) use self::wakeups::{Waker, waker_of};
use super::listen::{BindError, listen};
use super::quote::{Notice, Quote};
use super::stack::Observer;
use super::system::{Os, System};
use super::{DEFAULT_CLIENTS, DEFAULT_PACE, DEFAULT_TIMEOUT};

/// The application's part of a server.
pub trait Service {
    /// Machine for the server's end of the protocol.
    type Machine: Machine;
    /// Application state of one session. It is stored in every slot, so it should have few bytes.
    type State;
    /// Report of a session that has ended, for a line of a log.
    type Report: fmt::Display + 'static;

    /// Size in bytes of each of the two scratch buffers, for input and for output. It limits what one turn
    /// transfers. 4 KiB suit short messages, 64 KiB bulk data.
    const SCRATCH: usize = 4096;

    /// Whether a session that ends before its machine has finished ends with a reset, also when the server stops or
    /// its process ends. This is for protocols in which an orderly close has a meaning.
    const RESETS: bool = false;

    /// Returns the machine and the state for a new client.
    fn open(&mut self) -> (Self::Machine, Self::State);

    /// Handles an event of a machine.
    fn event(&mut self, state: &mut Self::State, event: EventView<'_, Self::Machine>);

    /// Returns the next command for a machine that accepts one, or `None` if there is none now.
    fn command(
        &mut self,
        state: &mut Self::State,
    ) -> Option<<Self::Machine as Machine>::Command<'_>>;

    /// Returns whether the server continues. Called after each round of events and before each new client.
    fn control(&self) -> ServerControl {
        ServerControl::Serve
    }

    /// Sends payload or does other work for a session. Called when the machine waits for a command or for outbound
    /// payload, and [`command`](Self::command) returned none.
    ///
    /// Payload that the machine [expects](Machine::outbound_remaining) is written to `payload_writer`. The work of one
    /// call must be bounded, since no other client is served meanwhile.
    fn work(&mut self, state: &mut Self::State, payload_writer: &mut PayloadWriter<'_>) -> Work {
        let _ = (state, payload_writer);
        Work::Wait
    }

    /// Returns a command that makes a session end soon, if the protocol has one. Called once for each open session
    /// when the server stops. No more clients are accepted then.
    ///
    /// The machine gets the command at once, whether or not it waits for one. Its output is sent after the output
    /// that is still unsent. If the command is out of turn, the machine refuses it and it is lost. So a service
    /// whose protocol has turns must remember the call, and return such a command from the next
    /// [`command`](Self::command). A session that does not end may continue for [`Limits::grace`].
    fn finish(&mut self) -> Option<<Self::Machine as Machine>::Command<'_>> {
        None
    }

    /// Returns the report of a session that has ended. Called when the machine's last output has been delivered,
    /// which may be some time after the machine's last event.
    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &Self::Machine,
        state: &mut Self::State,
        ended: Ended<<Self::Machine as Machine>::Error>,
    ) -> Self::Report;
}

/// Whether a server continues: the result of [`Service::control`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerControl {
    /// Continue.
    #[default]
    Serve,
    /// Accept no more clients, and stop when the last one has left.
    Last,
    /// Close all connections and stop.
    Quit,
}

/// When a service is called next: the result of [`Service::work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// When the peer has sent something.
    Wait,
    /// After the turns of the other connections, as soon as the socket accepts bytes.
    Again,
    /// When the peer has sent something or the session's [waker](PayloadWriter::waker) is used. Until then the
    /// session does not count as idle, since another thread works for it.
    Sleep,
}

/// How a session ended, as seen by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended<E> {
    /// As the protocol specifies. On Linux the client's system has acknowledged everything that was sent. On other
    /// systems everything has been passed to the local socket.
    Done,
    /// The machine has finished, but the client had not received everything when it left or made no more progress
    /// for [`Limits::idle`] (30 s if there is no limit).
    Undelivered,
    /// The client violated the protocol, left too early, or timed out. The quote contains the bytes that were not
    /// understood or not complete.
    Failed(E, Quote),
    /// The service or its machine is defective.
    Internal(Internal),
    /// The server stopped before the session had ended.
    Stopped,
}

impl<E: fmt::Display> fmt::Display for Ended<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Undelivered => {
                f.write_str("the client left or stopped reading before it had received everything")
            }
            Self::Failed(e, quote) => write!(f, "{e}{}", quote.suffix()),
            Self::Internal(e) => e.fmt(f),
            Self::Stopped => f.write_str("the server stopped"),
        }
    }
}

/// A defect of a service or of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Internal {
    /// The machine rejected a command of the service, such as a name that contains a newline.
    Command(CommandError),
    /// The machine broke a law.
    Law(Law),
}

impl fmt::Display for Internal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(e) => write!(f, "internal error: {e}"),
            Self::Law(e) => write!(f, "internal error: {e}"),
        }
    }
}

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time without progress of either side after which a connection is closed. `None` means no limit.
    ///
    /// On Linux a client that reads slowly makes progress whenever its system acknowledges something, however much
    /// the local kernel buffers for it (see sock_diag(7)). On other systems only bytes that the local socket
    /// accepts count as progress.
    pub idle: Option<Duration>,
    /// Maximum number of clients at a time, at least 1. Further clients wait in the backlog until one leaves, and
    /// the log reports that once.
    pub clients: usize,
    /// Time that open sessions have to end after a stop.
    pub grace: Duration,
    /// Minimum pause at a message boundary. The pause lasts until the peer's system has acknowledged everything
    /// before the boundary, and if the peer runs on this machine, until its program has read it. With 0 there is
    /// no pause at all.
    pub pace: Duration,
    /// Time that a connection has to send a complete [`ProxyHeader`](super::ProxyHeader). If there is such a limit, every
    /// connection must begin with a header: the server is behind a balancer, and the header names the client. A
    /// connection without a valid header is refused. `None` means that headers are not looked for.
    ///
    /// A connection that closes without a message, before its header or after one that names no client, has no session
    /// and no report: it was a health check.
    pub proxy_header: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Some(DEFAULT_TIMEOUT),
            clients: DEFAULT_CLIENTS,
            grace: Duration::from_secs(5),
            pace: DEFAULT_PACE,
            proxy_header: None,
        }
    }
}

/// A server that is bound to its address and does not serve yet.
pub struct Server<S: Service, N: System = Os> {
    engine: Engine<S, N>,
    threads: Option<Threads<S, N>>,
    addr: SocketAddr,
    stopper: Stopper,
}

/// Handle that stops a server from any thread.
#[derive(Clone)]
pub struct Stopper {
    /// Waker of all threads.
    waker: Arc<Waker>,
    calls: Arc<AtomicU32>,
}

impl Stopper {
    pub(crate) fn new(waker: Arc<Waker>, calls: Arc<AtomicU32>) -> Self {
        Self { waker, calls }
    }

    /// Makes the server accept no more clients, let open sessions end, and return. After a second call it does not
    /// wait for them.
    pub fn stop(&self) {
        self.calls.fetch_add(1, Ordering::Release);
        (self.waker)();
    }
}

/// A server or a proxy that runs in a thread of its own. Dropping it stops the server without a grace period.
pub struct Running {
    addr: SocketAddr,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl<S: Service> Server<S> {
    /// Listens on the first of these addresses that can be bound. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(addrs: impl ToSocketAddrs + fmt::Debug, service: S) -> Result<Self, BindError> {
        let text = format!("{addrs:?}");
        let failed = |source| BindError::new(text.trim_matches('"'), source);
        let listener = listen(addrs)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (system, waker) = Os::new().map_err(failed)?;
        let listener = system.listen(listener).map_err(failed)?;
        Ok(Self::over(system, listener, addr, waker_of(Arc::new(waker)), service))
    }
}

impl<S: Service, N: System> Server<S, N> {
    /// Returns a server over another system than the operating system, such as a simulated one.
    ///
    /// `addr` is the address of the listener. `waker` is called from any thread, and makes the system give an
    /// [`Event::Waker`](super::system::Event::Waker).
    pub fn over(
        system: N,
        listener: N::Listener,
        addr: SocketAddr,
        waker: Arc<dyn Fn() + Send + Sync>,
        service: S,
    ) -> Self {
        let engine = Engine::new(system, Some(listener), Arc::clone(&waker), service);
        Self { engine, threads: None, addr, stopper: Stopper::new(waker, Arc::default()) }
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.engine.limits = limits;
        self
    }

    /// Passes every byte that is transferred to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.engine.observer = observer;
        self
    }

    /// Passes the report of each session to `report` instead of logging it at level info.
    #[must_use]
    pub fn on_report(mut self, report: impl FnMut(S::Report) + Send + 'static) -> Self {
        self.engine.report = Box::new(report);
        self
    }

    /// Returns the function that an observer calls when it [is ready](Observer::is_ready) again.
    pub fn resumer(&self) -> impl Fn() + Send + Sync + use<S, N> {
        let waker = Arc::clone(&self.stopper.waker);
        move || waker()
    }

    /// Passes each [`Notice`] to `notice` instead of logging it at level warn.
    #[must_use]
    pub fn on_notice(mut self, notice: impl FnMut(Notice) + Send + 'static) -> Self {
        self.engine.notice = Box::new(notice);
        self
    }

    /// Returns the address the server listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns a handle that stops the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves in this thread until [`Stopper::stop`]. Returns the service, with several threads that of this one.
    ///
    /// # Errors
    ///
    /// When the system cannot poll. An error of a connection ends only that connection.
    pub fn run(self) -> io::Result<S> {
        let Self { mut engine, threads, addr, stopper } = self;
        match threads {
            None => engine.run(&stopper.calls)?,
            Some(threads) => threads.run(&mut engine, addr, &stopper)?,
        }
        Ok(engine.service)
    }

    /// Serves in this thread, and returns what is still stored of connections that have ended: 0 if nothing leaks.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    // Hidden: only the simulation uses it, which is in another crate.
    #[doc(hidden)]
    pub fn run_and_count(self) -> io::Result<usize> {
        let Self { mut engine, stopper, .. } = self;
        engine.run(&stopper.calls)?;
        Ok(engine.stored())
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system cannot create a thread.
    pub fn start(self) -> io::Result<Running>
    where
        N: Send + 'static,
        N::Listener: Send,
        N::Stream: Send,
        S: Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread = thread::Builder::new()
            .name("socklab server".into())
            .spawn(move || self.run().map(|_| ()))?;
        Ok(Running::new(addr, stopper, thread))
    }
}

impl Running {
    pub(crate) fn new(
        addr: SocketAddr,
        stopper: Stopper,
        thread: thread::JoinHandle<io::Result<()>>,
    ) -> Self {
        Self { addr, stopper, thread: Some(thread) }
    }

    /// Returns the address the server listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops the server and waits until its sessions have ended, at most [`Limits::grace`].
    ///
    /// # Errors
    ///
    /// The error that [`Server::run`] returned.
    pub fn stop(mut self) -> io::Result<()> {
        self.stopper.stop();
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(e),
            Some(Err(_)) => Err(io::Error::other("the server's thread panicked")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // The second call cancels the grace period.
            self.stopper.stop();
            self.stopper.stop();
            let _ = self.join();
        }
    }
}
