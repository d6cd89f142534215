//! What a server needs of its system: sockets, readiness events, and time.
//!
//! The engine of [`Server`](super::Server) is generic over it. [`Os`] is the operating system. A simulation is another
//! one: it runs the same engine over sockets and a clock of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::SockRef;

pub use super::listen::Incoming;
use super::listen::{accept, listen_shared};
use crate::sys::extra::net::{Alarm, SocketQueues, Tick, send_file};
use crate::sys::net as system;

/// Readiness events, time, and what a system reports about its connections.
pub trait System {
    /// Connection.
    type Stream: Stream;
    /// Socket that accepts connections.
    type Listener: Listening<Stream = Self::Stream>;
    /// Events of one [`wait`](Self::wait).
    type Events;

    /// Whether an event is delivered once for each change. Then a read that returns less than was asked for shows that
    /// no more bytes have arrived. And a connection that is registered for writing gives such an event only after it has
    /// refused bytes, so its registration is not changed back.
    const EDGE_TRIGGERED: bool;

    /// Returns a store for the events of one wait.
    fn events(&self) -> Self::Events;

    /// Waits for events until the timeout, and replaces `events` by them.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](io::ErrorKind::Interrupted) without events. Any other error ends the server.
    fn wait(&mut self, events: &mut Self::Events, timeout: Option<Duration>) -> io::Result<()>;

    /// Returns the events of the last wait.
    fn iter(events: &Self::Events) -> impl Iterator<Item = Event>;

    /// Returns the time since a fixed moment. It never decreases.
    fn now(&mut self) -> Duration;

    /// Enables or disables a [tick](Event::Tick) once a second. Returns whether [`wait`](Self::wait) needs no timeout
    /// for it.
    fn set_tick(&mut self, on: bool) -> bool;

    /// Handles a [tick](Event::Tick), so that the next one comes.
    fn take_tick(&mut self);

    /// Registers a connection for events with this key.
    ///
    /// `for_writing`: an event is wanted when the socket accepts bytes. Where events are not
    /// [edges](Self::EDGE_TRIGGERED), none is wanted then when bytes or an end have arrived. What is the case already
    /// gives an event too.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn register(
        &mut self,
        stream: &mut Self::Stream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()>;

    /// Changes the registration of a connection. What is the case already gives an event.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn reregister(
        &mut self,
        stream: &mut Self::Stream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()>;

    /// Returns whether the peer's program has read everything that was sent, as far as the system reports it.
    fn has_read_all(&mut self, stream: &Self::Stream) -> bool;

    /// Returns the number of bytes sent that the peer has not acknowledged. The end of the stream counts as one.
    /// Returns `None` if the system does not report it or the connection no longer exists.
    ///
    /// `peer` is the client, which is not the peer of the socket if there is a balancer between them.
    fn unacknowledged(&mut self, stream: &Self::Stream, peer: SocketAddr) -> Option<u32>;

    /// Returns the number of bytes sent that the peer has not acknowledged or not read, or `None` if the system does
    /// not report it.
    fn outstanding(&mut self, stream: &Self::Stream, peer: SocketAddr) -> Option<u32>;
}

/// Event of a [`System`]. Every event is a hint: nothing may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Clients may wait.
    Listener,
    /// Another thread has called the waker.
    Waker,
    /// About a second has passed.
    Tick,
    /// A connection may be readable or writable.
    Connection {
        /// Key of its registration.
        key: usize,
        /// Whether the system reports the end of the peer's stream or an error.
        is_ended: bool,
    },
}

/// Socket that accepts connections. It stops when it is dropped: then the system refuses new ones.
pub trait Listening {
    /// Connection.
    type Stream;

    /// Accepts the next client without waiting.
    fn accept(&self) -> Incoming<Self::Stream>;

    /// Returns whether a client waits.
    fn has_client(&self) -> bool;

    /// Requests an event if a client waits. Returns `false` if the system gives none, because it is
    /// [edge-triggered](System::EDGE_TRIGGERED).
    fn rearm(&mut self) -> bool;
}

/// Connection of a [`System`]. It does not block.
pub trait Stream: Read + Write {
    /// Closes the sending side.
    ///
    /// # Errors
    ///
    /// Those of the system, if the peer has reset the connection for example.
    fn close_sending(&self) -> io::Result<()>;

    /// Sets whether the close of the socket resets the connection.
    fn set_reset_on_close(&self, resets: bool);

    /// Returns whether the close of the socket resets the connection.
    fn resets_on_close(&self) -> bool;

    /// Returns the error that the system has stored for this socket, and removes it there.
    fn take_error(&self) -> Option<io::Error>;

    /// Returns the number of bytes, 0 or 1, that a read of one byte would return. 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of a read.
    fn peek(&self) -> io::Result<usize>;

    /// Returns the own address.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends bytes of a file, at most `most` from offset `at`, without a copy. Returns `None` if that is not supported
    /// for this file.
    ///
    /// # Errors
    ///
    /// Those of the socket and of the file.
    fn send_file(&self, file: &File, at: u64, most: u64) -> io::Result<Option<u64>> {
        let _ = (file, at, most);
        Ok(None)
    }
}

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TICK: Token = Token(usize::MAX - 2);
const ALARM: Token = Token(usize::MAX - 3);
/// Number of events of one wait.
const EVENTS: usize = 1024;

/// The operating system.
pub struct Os {
    poll: Poll,
    tick: Tick,
    alarm: Alarm,
    /// Opened on first use.
    queues: Option<SocketQueues>,
    start: Instant,
}

impl Os {
    /// Returns a system, and the waker of its waits.
    pub(super) fn new() -> io::Result<(Self, mio::Waker)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let tick = Tick::new(poll.registry(), TICK)?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok((Self { poll, tick, alarm, queues: None, start: Instant::now() }, waker))
    }

    /// Registers a listener.
    pub(super) fn listen(&self, listener: TcpListener) -> io::Result<MioListener> {
        MioListener::new(listener, self.poll.registry(), LISTENER)
    }

    fn queues(&mut self) -> &mut SocketQueues {
        self.queues.get_or_insert_with(SocketQueues::new)
    }
}

impl System for Os {
    type Stream = TcpStream;
    type Listener = MioListener;
    type Events = Events;

    const EDGE_TRIGGERED: bool = system::EDGE_TRIGGERED;

    fn events(&self) -> Events {
        Events::with_capacity(EVENTS)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.filter(|timeout| timeout.is_zero() || !self.alarm.set(*timeout));
        self.poll.poll(events, timeout)
    }

    fn iter(events: &Events) -> impl Iterator<Item = Event> {
        events.iter().filter_map(|event| match event.token() {
            LISTENER => Some(Event::Listener),
            WAKER => Some(Event::Waker),
            TICK => Some(Event::Tick),
            // It has ended the wait.
            ALARM => None,
            Token(key) => {
                let is_ended = event.is_read_closed() || event.is_error();
                Some(Event::Connection { key, is_ended })
            }
        })
    }

    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn set_tick(&mut self, on: bool) -> bool {
        self.tick.set(on)
    }

    fn take_tick(&mut self) {
        self.tick.take();
    }

    fn register(
        &mut self,
        stream: &mut TcpStream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()> {
        self.poll.registry().register(stream, Token(key), interest(for_writing))
    }

    fn reregister(
        &mut self,
        stream: &mut TcpStream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()> {
        self.poll.registry().reregister(stream, Token(key), interest(for_writing))
    }

    fn has_read_all(&mut self, stream: &TcpStream) -> bool {
        // After a reset the socket has no peer address, and there is nothing to wait for.
        match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => self.queues().has_read_all(local, peer),
            _ => true,
        }
    }

    fn unacknowledged(&mut self, stream: &TcpStream, _: SocketAddr) -> Option<u32> {
        let (local, peer) = ends(stream)?;
        self.queues().unacknowledged(local, peer)
    }

    fn outstanding(&mut self, stream: &TcpStream, _: SocketAddr) -> Option<u32> {
        let (local, peer) = ends(stream)?;
        self.queues().outstanding(local, peer)
    }
}

/// Returns the addresses of a connection. One that has ended has no peer. That is known without the two system calls of
/// a query.
fn ends(stream: &TcpStream) -> Option<(SocketAddr, SocketAddr)> {
    let peer = stream.peer_addr().ok()?;
    Some((stream.local_addr().ok()?, peer))
}

/// Returns the events of a connection.
fn interest(for_writing: bool) -> Interest {
    match (for_writing, system::EDGE_TRIGGERED) {
        (false, _) => Interest::READABLE,
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        // Bytes that have arrived and are not read, because the output is blocked, would cause an event after each write
        // that is refused.
        (true, false) => Interest::WRITABLE,
    }
}

/// Listener that is registered for events.
pub struct MioListener {
    listener: TcpListener,
    registry: Registry,
    token: Token,
}

impl MioListener {
    pub(crate) fn new(
        mut listener: TcpListener,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let registry = registry.try_clone()?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, registry, token })
    }

    /// Returns another listener on the same port, which is shared from now on.
    pub(super) fn share(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        listen_shared(addr, &self.listener)
    }
}

impl Listening for MioListener {
    type Stream = TcpStream;

    fn accept(&self) -> Incoming<TcpStream> {
        accept(&self.listener)
    }

    fn has_client(&self) -> bool {
        system::has_client(&self.listener)
    }

    fn rearm(&mut self) -> bool {
        if !system::EDGE_TRIGGERED {
            let _ = self.registry.reregister(&mut self.listener, self.token, Interest::READABLE);
        }
        !system::EDGE_TRIGGERED
    }
}

impl Drop for MioListener {
    fn drop(&mut self) {
        let _ = self.registry.deregister(&mut self.listener);
    }
}

impl Stream for TcpStream {
    fn close_sending(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn set_reset_on_close(&self, resets: bool) {
        let _ = SockRef::from(self).set_linger(resets.then_some(Duration::ZERO));
    }

    fn resets_on_close(&self) -> bool {
        resets_on_close(&SockRef::from(self))
    }

    fn take_error(&self) -> Option<io::Error> {
        Self::take_error(self).ok().flatten()
    }

    fn peek(&self) -> io::Result<usize> {
        SockRef::from(self).peek(&mut [MaybeUninit::uninit()])
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn send_file(&self, file: &File, at: u64, most: u64) -> io::Result<Option<u64>> {
        send_file(self, file, at, most)
    }
}

/// Returns whether the close of a socket resets the connection.
pub(super) fn resets_on_close(socket: &SockRef<'_>) -> bool {
    matches!(socket.linger(), Ok(Some(Duration::ZERO)))
}
