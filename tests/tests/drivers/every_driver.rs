//! One transport for every driver, and one face for all connections, so that a test runs the same
//! calls through each.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use embedded_io::ErrorKind;
use embedded_nal::{TcpClientStack, TcpErrorKind};
use socklab_core::driver::asynch::{Fault, Halves, Transport, Whole};
use socklab_core::driver::{Error, Next, asynch, blocking, nonblocking, polled};
use socklab_core::machine::{Machine, StreamEnd};
use socklab_tests::transport::{Failed, NetError, block_on};

use crate::ways::without_event;

/// What a blocking transport reports where another would wait: the `WouldBlock` of a std socket at its
/// time limit, for which `embedded-io` has no word. No test uses it for anything else.
const WOULD_BLOCK: ErrorKind = ErrorKind::AddrInUse;

/// A buffering transport, both sides of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) input: VecDeque<u8>,
    /// What a read finds after the input; `None`: nothing yet.
    pub(crate) end: Option<Result<(), ErrorKind>>,
    /// Errors of the next reads.
    pub(crate) reads: VecDeque<ErrorKind>,
    /// Errors of the next writes.
    pub(crate) writes: VecDeque<Option<ErrorKind>>,
    /// Errors of the next flushes.
    pub(crate) flushes: VecDeque<ErrorKind>,
    /// Whether a write takes nothing yet.
    pub(crate) is_full: bool,
    /// Number of flushes that succeeded.
    pub(crate) flushed: usize,
    /// Number of writes that succeeded.
    pub(crate) written: usize,
    pub(crate) unflushed: Vec<u8>,
    pub(crate) sent: Vec<u8>,
}

impl State {
    /// Returns `None` if the read has to wait.
    fn read(&mut self, space: &mut [u8]) -> Option<Result<usize, Failed>> {
        assert!(!space.is_empty(), "a read into no space returns 0, which looks like the end");
        if let Some(kind) = self.reads.pop_front() {
            return Some(Err(Failed(kind)));
        }
        let n = space.len().min(self.input.len());
        if n == 0 {
            return self.end.map(|end| end.map(|()| 0).map_err(Failed));
        }
        for (to, from) in space.iter_mut().zip(self.input.drain(..n)) {
            *to = from;
        }
        Some(Ok(n))
    }

    /// Returns `None` if the write has to wait.
    fn write(&mut self, bytes: &[u8]) -> Option<Result<usize, Failed>> {
        assert!(!bytes.is_empty(), "an empty write is useless");
        if let Some(Some(kind)) = self.writes.pop_front() {
            return Some(Err(Failed(kind)));
        }
        if self.is_full {
            return None;
        }
        self.written += 1;
        self.unflushed.extend(bytes);
        Some(Ok(bytes.len()))
    }

    /// Returns `None` if the flush has to wait.
    fn flush(&mut self) -> Option<Result<(), Failed>> {
        if let Some(kind) = self.flushes.pop_front() {
            return Some(Err(Failed(kind)));
        }
        if self.is_full {
            return None;
        }
        self.flushed += 1;
        self.sent.append(&mut self.unflushed);
        Some(Ok(()))
    }

    fn can_read(&self) -> bool {
        !self.reads.is_empty() || !self.input.is_empty() || self.end.is_some()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(pub(crate) Rc<RefCell<State>>);

impl Wire {
    /// Returns a wire on which nothing but `input` comes yet.
    pub(crate) fn open(input: &[u8]) -> Self {
        let wire = Self::default();
        wire.0.borrow_mut().input.extend(input);
        wire
    }

    /// Returns a wire that ends in order after `input`.
    pub(crate) fn new(input: &[u8]) -> Self {
        let wire = Self::open(input);
        wire.0.borrow_mut().end = Some(Ok(()));
        wire
    }

    pub(crate) fn fails_to_flush(self, kinds: &[ErrorKind]) -> Self {
        self.0.borrow_mut().flushes.extend(kinds);
        self
    }

    pub(crate) fn fails_to_write(self, kinds: &[Option<ErrorKind>]) -> Self {
        self.0.borrow_mut().writes.extend(kinds);
        self
    }

    pub(crate) fn arrives(&self, input: &[u8]) {
        self.0.borrow_mut().input.extend(input);
    }

    pub(crate) fn ends(&self, end: Result<(), ErrorKind>) {
        self.0.borrow_mut().end = Some(end);
    }

    pub(crate) fn sent(&self) -> Vec<u8> {
        self.0.borrow().sent.clone()
    }

    /// All bytes that were written, flushed or not.
    pub(crate) fn written(&self) -> Vec<u8> {
        let state = self.0.borrow();
        [&state.sent[..], &state.unflushed].concat()
    }
}

impl embedded_io::ErrorType for Wire {
    type Error = Failed;
}

impl embedded_io::Read for Wire {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        self.0.borrow_mut().read(space).unwrap_or(Err(Failed(WOULD_BLOCK)))
    }
}

impl embedded_io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.0.borrow_mut().write(bytes).unwrap_or(Err(Failed(WOULD_BLOCK)))
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.0.borrow_mut().flush().unwrap_or(Err(Failed(WOULD_BLOCK)))
    }
}

impl embedded_io::ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        Ok(self.0.borrow().can_read())
    }
}

impl embedded_io::WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        Ok(!self.0.borrow().is_full)
    }
}

/// A future that waits without a waker: the test polls again.
async fn wait<X>(mut ready: impl FnMut() -> Option<X>) -> X {
    poll_fn(|_| ready().map_or(Poll::Pending, Poll::Ready)).await
}

impl embedded_io_async::Read for Wire {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        wait(|| self.0.borrow_mut().read(space)).await
    }
}

impl embedded_io_async::Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        wait(|| self.0.borrow_mut().write(bytes)).await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        wait(|| self.0.borrow_mut().flush()).await
    }
}

/// A stack whose sockets are wires.
pub(crate) struct Stack;

/// The peer closed its receiving side, or anything else.
fn net_error(Failed(kind): Failed) -> nb::Error<NetError> {
    let is_closed =
        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::WriteZero);
    let kind = if is_closed { TcpErrorKind::PipeClosed } else { TcpErrorKind::Other };
    nb::Error::Other(NetError(kind))
}

impl TcpClientStack for Stack {
    type TcpSocket = Wire;
    type Error = NetError;

    fn socket(&mut self) -> Result<Wire, NetError> {
        Ok(Wire::default())
    }

    fn connect(&mut self, _: &mut Wire, _: SocketAddr) -> nb::Result<(), NetError> {
        Ok(())
    }

    fn send(&mut self, Wire(wire): &mut Wire, bytes: &[u8]) -> nb::Result<usize, NetError> {
        let mut wire = wire.borrow_mut();
        let n = wire.write(bytes).ok_or(nb::Error::WouldBlock)?.map_err(net_error)?;
        let State { unflushed, sent, .. } = &mut *wire;
        sent.append(unflushed);
        Ok(n)
    }

    fn receive(&mut self, Wire(wire): &mut Wire, space: &mut [u8]) -> nb::Result<usize, NetError> {
        wire.borrow_mut().read(space).ok_or(nb::Error::WouldBlock)?.map_err(net_error)
    }

    fn close(&mut self, _: Wire) -> Result<(), NetError> {
        Ok(())
    }
}

/// The error of a call: `WouldBlock` if it has to wait.
pub(crate) type CallResult<X, M> = nb::Result<X, Error<<M as Machine>::Error, Failed>>;

/// A connection of any driver, with the methods that all of them have.
pub(crate) trait Way<M: Machine> {
    /// Whether it waits in its calls, so that its transport reports the end of a wait as an error.
    fn is_blocking(&self) -> bool {
        false
    }

    /// Calls `next`, and drops it if it waits.
    fn next(&mut self) -> CallResult<Next<()>, M>;
    fn command(&mut self, command: M::Command<'_>) -> CallResult<(), M>;
    fn write_payload(&mut self, payload: &[u8]) -> CallResult<usize, M>;
    fn flush(&mut self) -> CallResult<(), M>;
    fn listen(&mut self) -> CallResult<(), M>;
    fn idle(&mut self);
    fn time_out(&mut self);
    fn timed_out(&mut self);
    fn write_closed(&self) -> Option<StreamEnd>;
    fn unread(&self) -> &[u8];
    fn restart(&mut self, wire: Wire, machine: M);
}

/// The methods that do not depend on the driver.
macro_rules! shared_methods {
    () => {
        fn idle(&mut self) {
            self.idle();
        }

        fn time_out(&mut self) {
            self.time_out();
        }

        fn timed_out(&mut self) {
            self.timed_out();
        }

        fn write_closed(&self) -> Option<StreamEnd> {
            self.write_closed()
        }

        fn unread(&self) -> &[u8] {
            self.unread()
        }
    };
}

fn by_waiting<X, P>(result: Result<X, Error<P, Failed>>) -> nb::Result<X, Error<P, Failed>> {
    result.map_err(|e| match e {
        Error::Transport(Failed(WOULD_BLOCK)) => nb::Error::WouldBlock,
        e => nb::Error::Other(e),
    })
}

impl<M: Machine> Way<M> for blocking::Connection<Wire, M, Vec<u8>, Vec<u8>> {
    shared_methods!();

    fn is_blocking(&self) -> bool {
        true
    }

    fn next(&mut self) -> CallResult<Next<()>, M> {
        by_waiting(self.next().map(|next| without_event(&next)))
    }

    fn command(&mut self, command: M::Command<'_>) -> CallResult<(), M> {
        by_waiting(self.command(command))
    }

    fn write_payload(&mut self, payload: &[u8]) -> CallResult<usize, M> {
        by_waiting(self.write_payload(payload))
    }

    fn flush(&mut self) -> CallResult<(), M> {
        by_waiting(self.flush())
    }

    fn listen(&mut self) -> CallResult<(), M> {
        by_waiting(self.listen())
    }

    fn restart(&mut self, wire: Wire, machine: M) {
        drop(self.restart(wire, machine));
    }
}

impl<M: Machine> Way<M> for polled::Connection<Wire, M, Vec<u8>, Vec<u8>> {
    shared_methods!();

    fn next(&mut self) -> CallResult<Next<()>, M> {
        self.next().map(|next| without_event(&next))
    }

    fn command(&mut self, command: M::Command<'_>) -> CallResult<(), M> {
        self.command(command)
    }

    fn write_payload(&mut self, payload: &[u8]) -> CallResult<usize, M> {
        self.write_payload(payload)
    }

    fn flush(&mut self) -> CallResult<(), M> {
        self.flush()
    }

    fn listen(&mut self) -> CallResult<(), M> {
        self.listen()
    }

    fn restart(&mut self, wire: Wire, machine: M) {
        drop(self.restart(wire, machine));
    }
}

/// Returns the same error, whichever half of the transport it came from.
fn either<P>(e: Error<P, Fault<Failed, Failed>>) -> Error<P, Failed> {
    match e {
        Error::Transport(Fault::Read(e) | Fault::Write(e)) => Error::Transport(e),
        Error::Protocol(e) => Error::Protocol(e),
        Error::Refused(e) => Error::Refused(e),
        Error::Law(law) => Error::Law(law),
        _ => unreachable!("Error has another variant"),
    }
}

/// Polls a call once, and drops it if it waits.
pub(crate) fn once<X, P>(
    call: impl Future<Output = Result<X, Error<P, Fault<Failed, Failed>>>>,
) -> nb::Result<X, Error<P, Failed>> {
    let mut call = pin!(call);
    let polled = block_on(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))));
    match polled.expect("it is ready at once") {
        Poll::Ready(result) => result.map_err(|e| nb::Error::Other(either(e))),
        Poll::Pending => Err(nb::Error::WouldBlock),
    }
}

/// A transport that is made of one wire.
pub(crate) trait FromWire: Transport<Reader = Wire, Writer = Wire> {
    fn from_wire(wire: Wire) -> Self;
}

impl FromWire for Halves<Wire, Wire> {
    fn from_wire(wire: Wire) -> Self {
        Self(wire.clone(), wire)
    }
}

impl FromWire for Whole<Wire> {
    fn from_wire(wire: Wire) -> Self {
        Self(wire)
    }
}

impl<T: FromWire, M: Machine> Way<M> for asynch::Connection<T, M, Vec<u8>, Vec<u8>> {
    shared_methods!();

    fn next(&mut self) -> CallResult<Next<()>, M> {
        once(async { self.next().await.map(|next| without_event(&next)) })
    }

    fn command(&mut self, command: M::Command<'_>) -> CallResult<(), M> {
        once(self.command(command))
    }

    fn write_payload(&mut self, payload: &[u8]) -> CallResult<usize, M> {
        once(self.write_payload(payload))
    }

    fn flush(&mut self) -> CallResult<(), M> {
        once(self.flush())
    }

    fn listen(&mut self) -> CallResult<(), M> {
        once(self.listen())
    }

    fn restart(&mut self, wire: Wire, machine: M) {
        drop(self.restart(T::from_wire(wire), machine));
    }
}

/// The stack's errors never come out: they end the stream.
fn never<P>(e: nb::Error<Error<P, NetError>>) -> nb::Error<Error<P, Failed>> {
    e.map(|e| match e {
        Error::Transport(e) => panic!("the transport's error came out: {e:?}"),
        Error::Protocol(e) => Error::Protocol(e),
        Error::Refused(e) => Error::Refused(e),
        Error::Law(law) => Error::Law(law),
        _ => unreachable!("Error has another variant"),
    })
}

impl<M: Machine> Way<M> for nonblocking::Connection<Stack, M, Vec<u8>, Vec<u8>> {
    shared_methods!();

    fn next(&mut self) -> CallResult<Next<()>, M> {
        self.next(&mut Stack).map(|next| without_event(&next)).map_err(never)
    }

    fn command(&mut self, command: M::Command<'_>) -> CallResult<(), M> {
        self.command(&mut Stack, command).map_err(never)
    }

    fn write_payload(&mut self, payload: &[u8]) -> CallResult<usize, M> {
        self.write_payload(&mut Stack, payload).map_err(never)
    }

    fn flush(&mut self) -> CallResult<(), M> {
        self.flush(&mut Stack).map_err(never)
    }

    fn listen(&mut self) -> CallResult<(), M> {
        self.listen(&mut Stack).map_err(never)
    }

    fn restart(&mut self, wire: Wire, machine: M) {
        drop(self.restart(wire, machine));
    }
}

/// A connection and its wire.
type Made<M> = (Box<dyn Way<M>>, Wire);

/// Prints the name of each driver before its turn, for the output of a test that fails.
fn named<M>(ways: Vec<(&'static str, Made<M>)>) -> impl Iterator<Item = Made<M>> {
    ways.into_iter().map(|(name, made)| {
        println!("driver: {name}");
        made
    })
}

fn made_of_streams<M: Machine + 'static>(
    machine: &M,
    extra: usize,
    wire: impl Fn() -> Wire,
) -> Vec<(&'static str, Made<M>)> {
    let machine = || machine.clone();
    let buffers = || (vec![0; M::MIN_INPUT + extra], vec![0; M::MIN_OUTPUT + extra]);
    let [a, b, c, d] = [wire(), wire(), wire(), wire()];
    let (input, output) = buffers();
    let blocking = blocking::Connection::new(a.clone(), machine(), input, output).unwrap();
    let (input, output) = buffers();
    let polled = polled::Connection::new(b.clone(), machine(), input, output).unwrap();
    let (input, output) = buffers();
    let halves = Halves(c.clone(), c.clone());
    let halves = asynch::Connection::new(halves, machine(), input, output).unwrap();
    let (input, output) = buffers();
    let whole = asynch::Connection::new(Whole(d.clone()), machine(), input, output).unwrap();
    vec![
        ("blocking", (Box::new(blocking), a)),
        ("polled", (Box::new(polled), b)),
        ("async, two halves", (Box::new(halves), c)),
        ("async, one object", (Box::new(whole), d)),
    ]
}

/// Returns a connection of each driver whose transport is a stream, with `extra` bytes of space in each direction
/// beyond what the machine needs.
pub(crate) fn stream_drivers<M: Machine + 'static>(
    machine: &M,
    extra: usize,
    wire: impl Fn() -> Wire,
) -> impl Iterator<Item = Made<M>> {
    named(made_of_streams(machine, extra, wire))
}

/// Returns a connection of every driver.
pub(crate) fn every_driver<M: Machine + 'static>(
    machine: &M,
    extra: usize,
    wire: impl Fn() -> Wire,
) -> impl Iterator<Item = Made<M>> {
    let mut ways = made_of_streams(machine, extra, &wire);
    let wire = wire();
    let (input, output) = (vec![0; M::MIN_INPUT + extra], vec![0; M::MIN_OUTPUT + extra]);
    let connection = nonblocking::Connection::new(wire.clone(), machine.clone(), input, output);
    ways.push(("nonblocking", (Box::new(connection.unwrap()), wire)));
    named(ways)
}
