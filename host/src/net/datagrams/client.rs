use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded_nal::UdpClientStack as _;
use mio::{Events, Poll, Token, Waker};
use socklab_core::datagram::{Datagram, Machine, Timer};
use socklab_core::driver::datagrams::{self as driver, Error};
use socklab_core::machine::CommandError;

use super::stack::{DatagramSocket, Stack, is_unreachable};
use crate::net::peer::unmapped;
use crate::net::reason;
use crate::net::stack::Observer;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Number of datagrams between two looks at the clock: a flood must not stop the timer.
const BATCH: u32 = 64;

/// Client with any machine over datagrams.
pub struct DatagramClient<M: Machine<SocketAddr>> {
    stack: Stack,
    driver: driver::Client<Stack, M, Vec<u8>>,
    server: SocketAddr,
    /// The message that waits for its reply.
    message: Vec<u8>,
    /// The time to wait for it, and the end of that time.
    timer: Option<(Duration, Instant)>,
    /// Number of datagrams since the last look at the clock.
    batch: u32,
    /// Last report that a datagram did not arrive.
    report: Option<io::Error>,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// Whether the socket is registered for writing.
    is_full: bool,
}

impl<M: Machine<SocketAddr>> DatagramClient<M> {
    /// Opens a socket for the server at this address, which is also that of `machine`. Nothing is sent.
    ///
    /// A datagram of more than `buffer` bytes is reported as truncated.
    ///
    /// # Errors
    ///
    /// When the system has no route to the address, or no socket.
    pub fn open(server: SocketAddr, machine: M, buffer: usize) -> io::Result<Self> {
        let mut stack = Stack::default();
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let socket = connect(&mut stack, server, &poll)?;
        Ok(Self {
            stack,
            driver: driver::Client::new(socket, machine, vec![0; buffer.saturating_add(1)]),
            server,
            message: Vec::new(),
            timer: None,
            batch: 0,
            report: None,
            poll,
            events: Events::with_capacity(4),
            waker,
            is_full: false,
        })
    }

    /// Continues with another server and a new machine, and the same waker.
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open).
    pub fn reopen(&mut self, server: SocketAddr, machine: M, buffer: usize) -> io::Result<()> {
        let socket = connect(&mut self.stack, server, &self.poll)?;
        self.stack.rebound(socket.local_addr()?);
        self.driver = driver::Client::new(socket, machine, vec![0; buffer.saturating_add(1)]);
        (self.server, self.timer, self.is_full) = (server, None, false);
        Ok(())
    }

    /// Passes every datagram to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Box<dyn Observer>>) -> Self {
        let bound = self.driver.socket().local_addr();
        self.stack.observe(observer, bound.unwrap_or(self.server));
        self
    }

    /// Returns the server's address.
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.driver.machine()
    }

    /// Returns a waker that ends a [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Returns the datagram received last, that of the event if it has one, and its sender.
    pub fn received(&self) -> (Option<SocketAddr>, Datagram<'_>) {
        (self.stack.from.map(unmapped), self.driver.received())
    }

    /// Returns the message of the last [`send`](Self::send).
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns the last report that a datagram did not arrive.
    pub const fn report(&self) -> Option<&io::Error> {
        self.report.as_ref()
    }

    /// Starts a message. The next call of [`try_next`](Self::try_next) sends it.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if the machine rejects it.
    pub fn send(&mut self, message: &[u8]) -> Result<(), CommandError> {
        self.driver.send(message)?;
        self.message.clear();
        self.message.extend_from_slice(message);
        Ok(())
    }

    /// Sends what is pending, and returns what has happened. Returns `None` if nothing has: see [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// When the system does not send or receive. What it reports about a datagram that did not arrive is an event of the
    /// machine.
    pub fn try_next(&mut self) -> io::Result<Option<M::Event>> {
        loop {
            self.batch += 1;
            if self.batch > BATCH {
                self.batch = 0;
                self.check_timer();
            }
            let next = self.driver.next(&mut self.stack, &self.message);
            if !self.driver.wants_send()
                && let Some(time) = self.stack.timed_out.take()
            {
                self.stack.note(self.server, || format!("no reply within {time:?}, given up"));
            }
            match self.driver.timer() {
                Timer::Keep => {}
                Timer::Stop => self.timer = None,
                Timer::Start(ms) => {
                    let time = Duration::from_millis(ms.into());
                    self.timer = Some((time, Instant::now() + time));
                }
            }
            match next {
                Ok(event) => return Ok(Some(event)),
                // What has arrived counts before the time that has passed meanwhile.
                Err(nb::Error::WouldBlock) => {
                    self.batch = 0;
                    if !self.check_timer() {
                        return Ok(None);
                    }
                }
                Err(nb::Error::Other(Error::Transport(fault))) => {
                    let e = io::Error::from(fault);
                    if !is_unreachable(&e) {
                        return Err(e);
                    }
                    let text = reason(&e);
                    log::debug!("{}: {text}", self.server);
                    self.stack.note(self.server, || text);
                    self.report = Some(e);
                    if let Some(event) = self.driver.unreachable(&self.message) {
                        return Ok(Some(event));
                    }
                }
                Err(nb::Error::Other(_)) => {
                    return Err(io::Error::other("the machine rejected a message"));
                }
            }
        }
    }

    /// Passes the end of the timer to the machine. Returns whether it has ended.
    fn check_timer(&mut self) -> bool {
        let Some((time, end)) = self.timer else { return false };
        if Instant::now() < end {
            return false;
        }
        self.timer = None;
        self.stack.timed_out = Some(time);
        self.driver.timed_out();
        true
    }

    /// Waits until something may have happened, or the [waker](Self::waker) was used.
    ///
    /// # Errors
    ///
    /// When the system cannot wait.
    pub fn wait(&mut self) -> io::Result<()> {
        let is_full = self.driver.wants_send();
        if is_full != self.is_full {
            let socket = self.driver.socket_mut();
            socket.reregister(self.poll.registry(), SOCKET, is_full)?;
            self.is_full = is_full;
        }
        let left = self.timer.map(|(_, end)| end.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, left) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(()),
        }
    }
}

fn connect(stack: &mut Stack, server: SocketAddr, poll: &Poll) -> io::Result<DatagramSocket> {
    let mut socket = stack.socket()?;
    stack.connect(&mut socket, server)?;
    socket.register(poll.registry(), SOCKET)?;
    Ok(socket)
}
