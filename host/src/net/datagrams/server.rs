use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use socklab_core::datagram::{Datagram, Machine};
use socklab_core::driver::datagrams::{self as driver, Error};

use super::stack::{DatagramSocket, Fault, Stack, is_unreachable};
use crate::net::engine::{Running, ServerControl, Stopper};
use crate::net::listen::BindError;
use crate::net::peer::unmapped;
use crate::net::stack::Observer;
use crate::net::{reason, waker_of};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Number of datagrams that are handled before the server looks whether it is to stop.
const BATCH: u32 = 256;
/// Number of failed calls in a row after which the system cannot receive any more.
const FAILURES: u32 = 64;

/// The application's part of a server for datagrams.
pub trait DatagramService {
    /// Machine for the server's end of the protocol.
    type Machine: Machine<SocketAddr>;

    /// Returns the machine.
    fn machine(&self) -> Self::Machine;

    /// Handles an event of the machine. `from` is the sender of the datagram, and `failure` the reason why its answer has
    /// not been sent.
    fn event(
        &mut self,
        event: <Self::Machine as Machine<SocketAddr>>::Event,
        from: SocketAddr,
        datagram: Datagram<'_>,
        failure: Option<io::Error>,
    ) -> ServerControl;
}

/// Event of the machine of a service.
pub type EventOf<S> = <<S as DatagramService>::Machine as Machine<SocketAddr>>::Event;

/// Server for datagrams that is bound to its address and does not serve yet.
pub struct DatagramServer<S: DatagramService> {
    service: S,
    stack: Stack,
    driver: driver::Server<Stack, S::Machine, Vec<u8>>,
    addr: SocketAddr,
    poll: Poll,
    waker: Arc<Waker>,
    stops: Arc<AtomicU32>,
    is_full: bool,
    /// Reason why the answer of the next event has not been sent.
    failure: Option<io::Error>,
}

impl<S: DatagramService> DatagramServer<S> {
    /// Binds the first of these addresses that can be bound. Port 0 selects a free port.
    ///
    /// A datagram of more than `buffer` bytes is reported as truncated.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(
        addrs: impl ToSocketAddrs + fmt::Debug,
        service: S,
        buffer: usize,
    ) -> Result<Self, BindError> {
        let text = format!("{addrs:?}");
        let text = text.trim_matches('"');
        let mut error = None;
        for addr in addrs.to_socket_addrs().map_err(|e| BindError::new(text, e))? {
            match DatagramSocket::bind(addr) {
                Ok(socket) => {
                    let failed = |e| BindError::new(&addr.to_string(), e);
                    return Self::from_socket(socket, service, buffer).map_err(failed);
                }
                Err(e) => {
                    error.get_or_insert_with(|| BindError::new(&addr.to_string(), e));
                }
            }
        }
        Err(error.unwrap_or_else(|| BindError::new(text, io::ErrorKind::NotFound.into())))
    }

    fn from_socket(mut socket: DatagramSocket, service: S, buffer: usize) -> io::Result<Self> {
        let addr = socket.local_addr()?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        socket.register(poll.registry(), SOCKET)?;
        let machine = service.machine();
        let driver = driver::Server::new(socket, machine, vec![0; buffer.saturating_add(1)]);
        let (stack, stops) = (Stack::default(), Arc::default());
        Ok(Self { service, stack, driver, addr, poll, waker, stops, is_full: false, failure: None })
    }

    /// Passes every datagram to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        self.stack.observe(observer, self.addr);
        self
    }

    /// Returns the function that an observer calls when it [is ready](Observer::is_ready) again.
    pub fn resumer(&self) -> impl Fn() + Send + Sync + use<S> {
        let waker = Arc::clone(&self.waker);
        move || {
            // An error means that the server has ended.
            let _ = waker.wake();
        }
    }

    /// Returns the address of the server.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns a handle that stops the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(waker_of(Arc::clone(&self.waker)), Arc::clone(&self.stops))
    }

    /// Answers in this thread until [`Stopper::stop`] or the service ends it. Returns the service.
    ///
    /// # Errors
    ///
    /// When the system cannot receive or wait.
    pub fn run(mut self) -> io::Result<S> {
        let mut events = Events::with_capacity(4);
        loop {
            let is_empty = match self.answer()? {
                Some(is_empty) => is_empty,
                None => return Ok(self.service),
            };
            let is_full = self.driver.wants_send();
            if is_full != self.is_full {
                let socket = self.driver.socket_mut();
                socket.reregister(self.poll.registry(), SOCKET, is_full)?;
                self.is_full = is_full;
            }
            let pause = if is_empty { None } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, pause) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            if self.stops.load(Ordering::Acquire) > 0 {
                return Ok(self.service);
            }
        }
    }

    /// Answers a limited number of datagrams. Returns whether it has to wait for the next, and `None` if the service ends
    /// the server.
    fn answer(&mut self) -> io::Result<Option<bool>> {
        let mut failures = 0;
        for _ in 0..BATCH {
            // What an observer cannot take stays in the socket. It wakes this thread.
            if !self.stack.is_ready() {
                return Ok(Some(true));
            }
            let event = match self.driver.next(&mut self.stack) {
                Ok(event) => event,
                Err(nb::Error::WouldBlock) => return Ok(Some(true)),
                Err(nb::Error::Other(Error::Transport(Fault::Send(e)))) => {
                    self.failure = Some(e);
                    continue;
                }
                Err(nb::Error::Other(Error::Transport(Fault::Receive(e)))) => {
                    failures += 1;
                    if is_unreachable(&e)
                        && let Some(event) = self.driver.unreachable()
                    {
                        event
                    } else if failures > FAILURES {
                        return Err(e);
                    } else {
                        log::debug!("cannot receive: {}", reason(&e));
                        continue;
                    }
                }
                Err(nb::Error::Other(_)) => return Ok(None),
            };
            let (from, datagram) = self.driver.received();
            let from = from.map_or(self.addr, unmapped);
            match self.service.event(event, from, datagram, self.failure.take()) {
                ServerControl::Serve => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(false))
    }

    /// Answers in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system cannot create a thread.
    pub fn start(self) -> io::Result<Running>
    where
        S: Send + 'static,
        S::Machine: Send,
        <S::Machine as Machine<SocketAddr>>::Event: Send,
    {
        let (addr, stopper) = (self.addr, self.stopper());
        let thread = thread::Builder::new()
            .name("socklab server".into())
            .spawn(move || self.run().map(|_| ()))?;
        Ok(Running::new(addr, stopper, thread))
    }
}
