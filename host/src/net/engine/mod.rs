//! The server engine: one thread, a machine per connection, readiness from the system.
//!
//! ```text
//!   round:  poll -> events -> accept -> `again` queue once through -> timers -> every second, sweep
//!
//!   turn of a connection:
//!     unsent output?  send it; still blocked: do not read (that is the backpressure)
//!     one read        into scratch, behind what is parked
//!     pump            the machine, from scratch to scratch
//!     one send        what stays, and what was not consumed, is parked
//!     work            payload that the service owes goes past the machine, a bounded piece of it
//! ```
//!
//! A turn is bounded, so a flood delays nobody. All connections share two scratch buffers; one has
//! memory of its own only while bytes of it wait.

mod payload_writer;
mod progress;
mod rounds;
mod slot;
mod wakeups;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mio::Waker;
use socklab_core::machine::{CommandError, Machine};

pub use self::payload_writer::PayloadWriter;
use self::rounds::Engine;
pub use self::wakeups::SessionWaker;
use super::listen::{BindError, listen};
use super::quote::{Notice, Quote};
use super::stack::Observer;
use super::{DEFAULT_CLIENTS, DEFAULT_PACE, DEFAULT_TIMEOUT};

/// What a server does for its clients.
pub trait Service {
    /// The protocol.
    type Machine: Machine;
    /// What the application remembers of one session. A few bytes: it is in every slot.
    type State;
    /// What there is to tell of a session that is over: a line of a log.
    type Report: fmt::Display + 'static;

    /// The scratch buffers' size in bytes, one for input and one for output: what one turn moves
    /// at the most. 4 KiB suit short messages, 64 KiB bulk.
    const SCRATCH: usize = 4096;

    /// Whether a session that ends before the machine has finished ends with a reset, also when the
    /// server stops or its process ends: for protocols in which an orderly close is an answer.
    const RESETS: bool = false;

    /// A client has come.
    fn open(&mut self) -> (Self::Machine, Self::State);

    /// A machine says something.
    fn event(&mut self, state: &mut Self::State, event: <Self::Machine as Machine>::Event<'_>);

    /// A machine would take a command. `None`: nothing to say.
    fn command(
        &mut self,
        state: &mut Self::State,
    ) -> Option<<Self::Machine as Machine>::Command<'_>>;

    /// Whether the server goes on. Asked after whatever a session did, and before each newcomer.
    fn course(&self) -> ServerControl {
        ServerControl::Serve
    }

    /// The machine waits for the application, which had no [`command`](Self::command): its time to
    /// put payload that the machine is [`owed`](Machine::outbound_remaining) into the payload_writer, or to go on with
    /// other work, a bounded piece of it. Nobody else is served meanwhile.
    fn work(&mut self, state: &mut Self::State, payload_writer: &mut PayloadWriter<'_>) -> Work {
        let _ = (state, payload_writer);
        Work::Wait
    }

    /// The server is to stop, and takes no more clients. The command that makes a session end soon,
    /// if there is one; asked once for each session that is not over.
    ///
    /// The machine gets it at once, whether or not it waits for a command, and what it writes is sent
    /// behind what is still unsent. A machine that cannot take it now, since it is not the
    /// application's turn, say, refuses it, and it is lost. So a service whose sessions have turns
    /// remembers that it was asked, and gives the like of it as the next
    /// [`command`](Self::command). A session that does not end may go on as long as
    /// [`Limits::grace`].
    fn finish(&mut self) -> Option<<Self::Machine as Machine>::Command<'_>> {
        None
    }

    /// A session is over; its state is looked at for the last time. That may be some time after its
    /// machine's last event: what the machine wrote last has to arrive first.
    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &Self::Machine,
        state: &mut Self::State,
        ended: Ended<<Self::Machine as Machine>::Error>,
    ) -> Self::Report;
}

/// What a [`Service`] wants its server to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerControl {
    /// Go on.
    #[default]
    Serve,
    /// Take no more clients; stop when the last one has gone.
    Last,
    /// Close every connection and stop.
    Quit,
}

/// What a service wants after a piece of [`work`](Service::work).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// To be asked again when something comes from the peer.
    Wait,
    /// To be asked for a command, and to go on, once the others had their turn and the socket
    /// takes bytes.
    Again,
    /// To be asked again when something comes from the peer, or the session's
    /// [waker](PayloadWriter::waker) is used. Until then the session is not idle: another thread works for it.
    Sleep,
}

/// How a session ended, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<E> {
    /// As the protocol has it. The client's system has acknowledged all that it was sent, where the
    /// server's system reports it (Linux); elsewhere all has been handed to the server's system.
    Done,
    /// The machine has finished, but the client left, or took nothing for [`Limits::idle`] (30 s if there
    /// is no such limit), before it had received everything.
    Undelivered,
    /// The client broke the protocol, or left or went silent too early; with what it had sent that was not
    /// understood or not complete.
    Failed(E, Quote),
    /// The service gave a command that the machine does not take: its own mistake, a name that is no
    /// line, say.
    Refused(CommandError),
    /// The server stopped and did not wait any longer.
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
            Self::Refused(e) => write!(f, "internal error: {e}"),
            Self::Stopped => f.write_str("the server stopped"),
        }
    }
}

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A connection on which neither side makes progress for this long is closed; `None` for no limit.
    ///
    /// A client that reads slowly makes progress whenever its system acknowledges something, however much
    /// the server's system holds for it. Only Linux reports that (sock_diag(7)). Elsewhere progress is
    /// what the server's system takes, which buffers little there.
    pub idle: Option<Duration>,
    /// Number of clients at a time, at least 1. More of them wait in the system's backlog until another
    /// leaves; the log says so once.
    pub clients: usize,
    /// After a stop, sessions in flight have so long to end.
    pub grace: Duration,
    /// At a boundary of messages, the shortest pause before the next one. It lasts until the peer's
    /// system has all that stands before the boundary, and if the peer runs on this machine, until
    /// its program has read that. 0: none, and nothing is waited for.
    pub pace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Some(DEFAULT_TIMEOUT),
            clients: DEFAULT_CLIENTS,
            grace: Duration::from_secs(5),
            pace: DEFAULT_PACE,
        }
    }
}
/// A server that has its address and does not serve yet.
pub struct Server<S: Service> {
    engine: Engine<S>,
    addr: SocketAddr,
    stopper: Stopper,
}

/// Stops a server, from any thread.
#[derive(Clone)]
pub struct Stopper {
    waker: Arc<Waker>,
    calls: Arc<AtomicU32>,
}

impl Stopper {
    /// The server accepts no more, lets sessions in flight end, and returns. Asked a second time,
    /// it does not wait for them.
    pub fn stop(&self) {
        self.calls.fetch_add(1, Ordering::Release);
        // A poll that is gone needs no waking.
        let _ = self.waker.wake();
    }
}

/// A server in a thread of its own. Dropping it stops it, without grace for sessions in flight.
pub struct Running {
    addr: SocketAddr,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl<S: Service> Server<S> {
    /// Listens on the first of these addresses that can be had. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(addrs: impl ToSocketAddrs + fmt::Debug, service: S) -> Result<Self, BindError> {
        let text = format!("{addrs:?}");
        let failed = |source| BindError::new(text.trim_matches('"'), source);
        let listener = listen(addrs)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (engine, waker) = Engine::new(listener, service).map_err(failed)?;
        let stopper = Stopper { waker, calls: Arc::default() };
        Ok(Self { engine, addr, stopper })
    }

    /// With these limits instead of the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.engine.limits = limits;
        self
    }

    /// Shows every byte to `observer`.
    #[must_use]
    pub fn observed(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.engine.observer = observer;
        self
    }

    /// Tells every session's end to `report` instead of the log, which has them at level info.
    #[must_use]
    pub fn reporting(mut self, report: impl FnMut(S::Report) + Send + 'static) -> Self {
        self.engine.report = Box::new(report);
        self
    }

    /// Gives each [`Notice`] to `notice` instead of the log, which has them at level warn.
    #[must_use]
    pub fn noticing(mut self, notice: impl FnMut(Notice) + Send + 'static) -> Self {
        self.engine.notice = Box::new(notice);
        self
    }

    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves in this thread until [`Stopper::stop`]. Returns the service.
    ///
    /// # Errors
    ///
    /// When the system cannot poll. What goes wrong with one connection ends that connection only.
    pub fn run(self) -> io::Result<S> {
        let Self { mut engine, stopper, .. } = self;
        engine.run(&stopper.calls)?;
        Ok(engine.service)
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(self) -> io::Result<Running>
    where
        S: Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread = thread::Builder::new()
            .name("socklab server".into())
            .spawn(move || self.run().map(|_| ()))?;
        Ok(Running { addr, stopper, thread: Some(thread) })
    }
}

impl Running {
    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it and waits until its sessions have ended, at most [`Limits::grace`].
    ///
    /// # Errors
    ///
    /// What made it end before.
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
            // Twice: do not wait.
            self.stopper.stop();
            self.stopper.stop();
            let _ = self.join();
        }
    }
}
