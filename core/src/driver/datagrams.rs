//! The driver for datagrams, over [`embedded_nal`]'s UDP traits and [`nb`].
//!
//! No call waits. [`nb::Error::WouldBlock`] means that only the network or the clock can help: the
//! caller sleeps until the socket is ready or its timer rings, and calls again. The stack is passed to
//! each call, as in `embedded-nal`.
//!
//! ```text
//!   client.send(stack, message)            start a message
//!   loop {
//!       match client.next(stack, message) {
//!           Ok(event)       => ...                              a reply, say
//!           Err(WouldBlock) => wait for the socket, for client.timer() at most;
//!                              then client.timed_out() if the time has passed
//!           Err(Other(e))   => client.unreachable(message) if that is what e means
//!       }
//!   }
//! ```
//!
//! The buffer has one byte more than the longest datagram that it is for: see
//! [`Datagram::in_buffer`].

use core::net::SocketAddr;

use embedded_nal::{UdpClientStack, UdpFullStack};

use crate::datagram::{Datagram, Input, Machine, Payload, Step, Timer, Transmit};
use crate::machine::CommandError;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<T> {
    /// The stack failed. A datagram that could not be sent is dropped: the network may drop one too.
    Transport(T),
    /// The machine rejected the message: the caller's mistake.
    Refused(CommandError),
}

impl<T: core::fmt::Debug> core::fmt::Display for Error<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Transport(e) => write!(f, "the transport failed: {e:?}"),
            Self::Refused(e) => write!(f, "the message was refused: {e}"),
        }
    }
}

impl<T: core::fmt::Debug> core::error::Error for Error<T> {}

/// What both ends share: a machine, its buffer, and a datagram that the network has not taken.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct End<M, B, E> {
    machine: M,
    buffer: B,
    /// Length of the datagram at the front of the buffer.
    received: usize,
    /// Its sender.
    from: Option<SocketAddr>,
    /// Datagram that the network has not taken. Nothing is received before it has left. Its receiver is the peer of a
    /// connected socket, or the sender of the datagram that it answers: see the laws of [`Machine`].
    pending: Option<Payload>,
    /// Event to be reported once that has left.
    event: Option<E>,
    timer: Timer,
    /// Number of datagrams that are still received before the time-out is handled, if there is one.
    timed_out: Option<u8>,
}

/// Number of datagrams that may be received before a time-out is handled. The reply may be one of them, if the
/// caller was late. Without a limit a flood of forged ones would hold the time-out up.
const BEFORE_TIME_OUT: u8 = 16;

impl<M, B, E> End<M, B, E>
where
    M: Machine<SocketAddr, Event = E>,
    B: AsRef<[u8]> + AsMut<[u8]>,
    E: Copy,
{
    const fn new(machine: M, buffer: B) -> Self {
        Self {
            machine,
            buffer,
            received: 0,
            from: None,
            pending: None,
            event: None,
            timer: Timer::Keep,
            timed_out: None,
        }
    }

    fn bytes(&self) -> &[u8] {
        let buffer = self.buffer.as_ref();
        buffer.get(..self.received).unwrap_or(buffer)
    }

    /// Takes datagram and timer of a step. Returns its event.
    fn take(&mut self, step: Step<SocketAddr, E>) -> Option<E> {
        if let Some(Transmit { payload, .. }) = step.transmit {
            self.pending = Some(payload);
        }
        if step.timer != Timer::Keep {
            self.timer = step.timer;
            self.timed_out = None;
        }
        step.event
    }

    /// Reports that a datagram did not arrive.
    fn unreachable(&mut self, message: &[u8]) -> Option<E> {
        let step = self.machine.step(Input::Unreachable, message);
        self.take(step)
    }

    /// Sends what is pending, then receives and handles datagrams until the machine emits an event.
    #[inline]
    fn next<N: Network>(
        &mut self,
        network: &mut N,
        message: &[u8],
    ) -> nb::Result<E, Error<N::Error>> {
        loop {
            if let Some(payload) = self.pending {
                let result = network.send(self.from, payload.of(message, self.bytes()));
                if !matches!(result, Err(nb::Error::WouldBlock)) {
                    self.pending = None;
                }
                result.map_err(|e| e.map(Error::Transport))?;
            }
            if let Some(event) = self.event.take() {
                return Ok(event);
            }
            if self.timed_out != Some(0) {
                self.timed_out = self.timed_out.map(|left| left.saturating_sub(1));
                match network.receive(self.buffer.as_mut()) {
                    Ok((n, from)) => {
                        (self.received, self.from) = (n, Some(from));
                        let datagram = Datagram::in_buffer(self.buffer.as_ref(), n);
                        let step = self.machine.step(Input::Received { from, datagram }, message);
                        self.event = self.take(step);
                        continue;
                    }
                    Err(nb::Error::WouldBlock) if self.timed_out.is_some() => {}
                    Err(e) => return Err(e.map(Error::Transport)),
                }
            }
            self.timed_out = None;
            let step = self.machine.step(Input::TimedOut, message);
            self.event = self.take(step);
        }
    }
}

/// A stack with one of its sockets.
trait Network {
    type Error;
    /// Sends a datagram. `from` is the sender of the datagram that it may answer.
    fn send(&mut self, from: Option<SocketAddr>, bytes: &[u8]) -> nb::Result<(), Self::Error>;
    fn receive(&mut self, buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), Self::Error>;
}

/// A socket that is connected: it sends to one address.
struct Connected<'s, S: UdpClientStack>(&'s mut S, &'s mut S::UdpSocket);

impl<S: UdpClientStack> Network for Connected<'_, S> {
    type Error = S::Error;

    fn send(&mut self, _: Option<SocketAddr>, bytes: &[u8]) -> nb::Result<(), S::Error> {
        self.0.send(self.1, bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), S::Error> {
        self.0.receive(self.1, buffer)
    }
}

/// A socket that is bound to a port.
struct Bound<'s, S: UdpFullStack>(&'s mut S, &'s mut S::UdpSocket);

impl<S: UdpFullStack> Network for Bound<'_, S> {
    type Error = S::Error;

    #[inline]
    fn send(&mut self, from: Option<SocketAddr>, bytes: &[u8]) -> nb::Result<(), S::Error> {
        // A server sends nothing before it has received something.
        from.map_or(Ok(()), |to| self.0.send_to(self.1, to, bytes))
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), S::Error> {
        self.0.receive(self.1, buffer)
    }
}

/// A client bound to a connected socket.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client<S: UdpClientStack, M: Machine<SocketAddr>, B> {
    socket: S::UdpSocket,
    end: End<M, B, M::Event>,
}

impl<S, M, B> Client<S, M, B>
where
    S: UdpClientStack,
    M: Machine<SocketAddr>,
    B: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to `socket`, which is connected to the machine's server.
    pub const fn new(socket: S::UdpSocket, machine: M, buffer: B) -> Self {
        Self { socket, end: End::new(machine, buffer) }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        &self.end.machine
    }

    /// Returns the socket, to wait for it.
    pub const fn socket(&self) -> &S::UdpSocket {
        &self.socket
    }

    /// Returns the socket, to register it.
    pub const fn socket_mut(&mut self) -> &mut S::UdpSocket {
        &mut self.socket
    }

    /// Returns the socket, to close it.
    pub fn into_socket(self) -> S::UdpSocket {
        self.socket
    }

    /// Returns the datagram received last, that of the event of [`next`](Self::next) if it has one.
    pub fn received(&self) -> Datagram<'_> {
        Datagram::in_buffer(self.end.buffer.as_ref(), self.end.received)
    }

    /// Whether a datagram waits for the socket to take it: wait for that too, not only for input.
    pub const fn wants_send(&self) -> bool {
        self.end.pending.is_some()
    }

    /// Takes what the caller must do with its timer, since the last call.
    pub const fn timer(&mut self) -> Timer {
        core::mem::replace(&mut self.end.timer, Timer::Keep)
    }

    /// Reports that the time of the timer has passed. [`next`](Self::next) handles it after the datagrams that have
    /// already arrived, at most 16: the reply may be one of them.
    pub const fn timed_out(&mut self) {
        self.end.timed_out = Some(BEFORE_TIME_OUT);
    }

    /// Starts a message. The next call of [`next`](Self::next) sends it.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if the machine rejects it.
    pub fn send(&mut self, message: &[u8]) -> Result<(), CommandError> {
        let step = self.end.machine.send(message)?;
        // A machine that is not waiting emits nothing here, and an event that still has to be returned stays.
        let _ = self.end.take(step);
        Ok(())
    }

    /// Reports that a datagram did not arrive. Call it when the stack's error means that. Returns the
    /// machine's event.
    pub fn unreachable(&mut self, message: &[u8]) -> Option<M::Event> {
        self.end.unreachable(message)
    }

    /// Sends what is pending, and returns what happens next. `message` is that of the last
    /// [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if nothing happens before the socket is ready or the timer rings.
    /// [`Error::Transport`] if the stack fails.
    pub fn next(&mut self, stack: &mut S, message: &[u8]) -> nb::Result<M::Event, Error<S::Error>> {
        let Self { socket, end } = self;
        end.next(&mut Connected(stack, socket), message)
    }
}

/// A server bound to a socket.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<S: UdpClientStack, M: Machine<SocketAddr>, B> {
    socket: S::UdpSocket,
    end: End<M, B, M::Event>,
}

impl<S, M, B> Server<S, M, B>
where
    S: UdpFullStack,
    M: Machine<SocketAddr>,
    B: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to `socket`, which is bound to a port.
    pub const fn new(socket: S::UdpSocket, machine: M, buffer: B) -> Self {
        Self { socket, end: End::new(machine, buffer) }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        &self.end.machine
    }

    /// Returns the socket, to wait for it.
    pub const fn socket(&self) -> &S::UdpSocket {
        &self.socket
    }

    /// Returns the socket, to register it.
    pub const fn socket_mut(&mut self) -> &mut S::UdpSocket {
        &mut self.socket
    }

    /// Returns the socket, to close it.
    pub fn into_socket(self) -> S::UdpSocket {
        self.socket
    }

    /// Returns the datagram received last, that of the event of [`next`](Self::next), and its sender.
    pub fn received(&self) -> (Option<SocketAddr>, Datagram<'_>) {
        let datagram = Datagram::in_buffer(self.end.buffer.as_ref(), self.end.received);
        (self.end.from, datagram)
    }

    /// Whether an answer waits for the socket to take it: wait for that instead of input.
    pub const fn wants_send(&self) -> bool {
        self.end.pending.is_some()
    }

    /// Reports that an answer did not arrive. Call it when the stack's error means that. Returns the
    /// machine's event.
    pub fn unreachable(&mut self) -> Option<M::Event> {
        self.end.unreachable(&[])
    }

    /// Answers datagrams until the machine emits an event, and returns that.
    ///
    /// # Errors
    ///
    /// [`nb::Error::WouldBlock`] if nothing happens before the socket is ready.
    /// [`Error::Transport`] if the stack fails. The answer that it was to send is dropped, and its
    /// event is returned by the next call.
    pub fn next(&mut self, stack: &mut S) -> nb::Result<M::Event, Error<S::Error>> {
        let Self { socket, end } = self;
        end.next(&mut Bound(stack, socket), &[])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use super::*;
    use crate::udp::{self, client, server};

    type Sent = (Option<SocketAddr>, Vec<u8>);

    /// A network whose datagrams a test writes and reads.
    #[derive(Default)]
    struct Fake {
        arriving: VecDeque<Result<(SocketAddr, Vec<u8>), &'static str>>,
        sent: Vec<Sent>,
        /// Number of sends that would block, or the error of the next one.
        blocked: usize,
        failure: Option<&'static str>,
    }

    impl Fake {
        fn send(&mut self, sent: Sent) -> nb::Result<(), &'static str> {
            if let Some(rest) = self.blocked.checked_sub(1) {
                self.blocked = rest;
                return Err(nb::Error::WouldBlock);
            }
            if let Some(failure) = self.failure.take() {
                return Err(nb::Error::Other(failure));
            }
            self.sent.push(sent);
            Ok(())
        }
    }

    impl UdpClientStack for Fake {
        type UdpSocket = ();
        type Error = &'static str;

        fn socket(&mut self) -> Result<(), &'static str> {
            Ok(())
        }

        fn connect(&mut self, (): &mut (), _: SocketAddr) -> Result<(), &'static str> {
            Ok(())
        }

        fn send(&mut self, (): &mut (), buffer: &[u8]) -> nb::Result<(), &'static str> {
            Fake::send(self, (None, buffer.to_vec()))
        }

        fn receive(
            &mut self,
            (): &mut (),
            buffer: &mut [u8],
        ) -> nb::Result<(usize, SocketAddr), &'static str> {
            let (from, bytes) = self
                .arriving
                .pop_front()
                .ok_or(nb::Error::WouldBlock)?
                .map_err(nb::Error::Other)?;
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            Ok((n, from))
        }

        fn close(&mut self, (): ()) -> Result<(), &'static str> {
            Ok(())
        }
    }

    impl UdpFullStack for Fake {
        fn bind(&mut self, (): &mut (), _: u16) -> Result<(), &'static str> {
            Ok(())
        }

        fn send_to(
            &mut self,
            (): &mut (),
            remote: SocketAddr,
            buffer: &[u8],
        ) -> nb::Result<(), &'static str> {
            Fake::send(self, (Some(remote), buffer.to_vec()))
        }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const MESSAGE: &[u8] = b"Four score and seven";

    #[test]
    fn a_client_sends_again_at_its_time_out_and_gets_its_reply() {
        let mut stack = Fake::default();
        let machine = udp::Client::new(address(1), client::Limits::default());
        let mut client = Client::<Fake, _, _>::new((), machine, [0; 33]);
        client.send(MESSAGE).unwrap();
        assert_eq!(client.timer(), Timer::Start(1000));
        assert_eq!(client.timer(), Timer::Keep);
        stack.blocked = 1;
        for _ in 0..3 {
            assert_eq!(client.next(&mut stack, MESSAGE), Err(nb::Error::WouldBlock));
        }
        assert_eq!(stack.sent, [(None, MESSAGE.to_vec())]);
        client.timed_out();
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(client::Event::Again { attempts: 2 }));
        assert_eq!((stack.sent.len(), client.timer()), (2, Timer::Start(1000)));
        // A datagram that fills the buffer is not taken for whole.
        for bytes in [&b" and seven"[..], &[b'x'; 33]] {
            stack.arriving.push_back(Ok((address(1), bytes.to_vec())));
        }
        let reply = client::Event::Reply { attempts: 2, is_ambiguous: false };
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(reply));
        assert_eq!(client.received(), Datagram::whole(b" and seven"));
        assert_eq!(client.timer(), Timer::Stop);
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(client::Event::Truncated));
    }

    #[test]
    fn a_reply_that_has_arrived_comes_before_a_late_time_out_but_a_flood_does_not() {
        let mut stack = Fake::default();
        let machine = udp::Client::new(address(1), client::Limits { timeout_ms: 5, retries: 0 });
        let mut client = Client::<Fake, _, _>::new((), machine, [0; 33]);
        client.send(MESSAGE).unwrap();
        assert_eq!(client.next(&mut stack, MESSAGE), Err(nb::Error::WouldBlock));
        stack.arriving.push_back(Ok((address(2), Vec::new())));
        stack.arriving.push_back(Ok((address(1), b" and seven".to_vec())));
        client.timed_out();
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(client::Event::Stranger));
        let reply = client::Event::Reply { attempts: 1, is_ambiguous: false };
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(reply));
        // The reply has stopped the timer.
        assert_eq!(client.next(&mut stack, MESSAGE), Err(nb::Error::WouldBlock));
        client.send(MESSAGE).unwrap();
        client.timed_out();
        for _ in 0..100 {
            stack.arriving.push_back(Ok((address(2), Vec::new())));
        }
        for _ in 0..16 {
            assert_eq!(client.next(&mut stack, MESSAGE), Ok(client::Event::Stranger));
        }
        assert_eq!(client.next(&mut stack, MESSAGE), Ok(client::Event::Lost { attempts: 1 }));
        assert_eq!(stack.arriving.len(), 84);
    }

    #[test]
    fn a_client_and_a_server_can_stand_in_a_static() {
        use std::sync::Mutex;
        const LIMITS: client::Limits = client::Limits { timeout_ms: 500, retries: 1 };
        const PEER: SocketAddr =
            SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 1);
        static CLIENT: Mutex<Client<Fake, udp::Client<SocketAddr>, [u8; 65]>> =
            Mutex::new(Client::new((), udp::Client::new(PEER, LIMITS), [0; 65]));
        static SERVER: Mutex<Server<Fake, udp::Server, [u8; 65]>> =
            Mutex::new(Server::new((), udp::Server::new(), [0; 65]));
        let (mut client, mut server) = (CLIENT.lock().unwrap(), SERVER.lock().unwrap());
        let mut stack = Fake::default();
        client.send(MESSAGE).unwrap();
        assert_eq!(client.next(&mut stack, MESSAGE), Err(nb::Error::WouldBlock));
        let (_, sent) = stack.sent.pop().unwrap();
        stack.arriving.push_back(Ok((address(2), sent)));
        assert!(server.next(&mut stack).is_ok());
        let (_, sent) = stack.sent.pop().unwrap();
        stack.arriving.push_back(Ok((PEER, sent)));
        assert!(matches!(client.next(&mut stack, MESSAGE), Ok(client::Event::Reply { .. })));
    }

    #[test]
    fn a_server_receives_nothing_before_its_answer_has_left() {
        let mut stack = Fake::default();
        for n in 1..=2 {
            stack.arriving.push_back(Ok((address(n), MESSAGE.to_vec())));
        }
        let mut server = Server::<Fake, _, _>::new((), udp::Server::new(), [0; 33]);
        stack.blocked = 2;
        for _ in 0..2 {
            assert_eq!(server.next(&mut stack), Err(nb::Error::WouldBlock));
            assert!(server.wants_send() && stack.arriving.len() == 1);
        }
        let answered = server::Event::Answered { length: 20, answer: 10 };
        for n in 1..=2 {
            assert_eq!(server.next(&mut stack), Ok(answered));
            assert_eq!(stack.sent.pop(), Some((Some(address(n)), b" and seven".to_vec())));
            assert_eq!(server.received(), (Some(address(n)), Datagram::whole(MESSAGE)));
        }
        assert_eq!(server.next(&mut stack), Err(nb::Error::WouldBlock));
    }

    #[test]
    fn an_error_of_the_stack_is_reported_once_and_the_next_datagram_is_answered() {
        let mut stack = Fake { failure: Some("no route"), ..Fake::default() };
        stack.arriving.push_back(Ok((address(1), MESSAGE.to_vec())));
        stack.arriving.push_back(Err("refused"));
        let mut server = Server::<Fake, _, _>::new((), udp::Server::new(), [0; 33]);
        let failed = |e| Err(nb::Error::Other(Error::Transport(e)));
        assert_eq!(server.next(&mut stack), failed("no route"));
        let answered = server::Event::Answered { length: 20, answer: 10 };
        assert_eq!(server.next(&mut stack), Ok(answered));
        assert_eq!(server.next(&mut stack), failed("refused"));
        assert_eq!(server.unreachable(), Some(server::Event::Unreachable));
        assert!(stack.sent.is_empty());
    }
}
