//! In-memory transports for the drivers, with every fault a real one has: short reads and
//! writes, interruptions, errors of each kind, storms of `WouldBlock`, backpressure.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use embedded_io::ErrorKind;
use embedded_nal::{TcpClientStack, TcpError, TcpErrorKind, TcpFullStack};

use crate::rng::Rng;

/// An error that has only a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed(pub ErrorKind);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Failed {}

impl embedded_io::Error for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// A blocking stream whose input is known from the start.
#[derive(Debug)]
pub struct Stream {
    input: VecDeque<u8>,
    /// Result of a read after the last byte of the input: the end, or an error.
    end: Result<(), ErrorKind>,
    rng: Rng,
    /// Largest number of bytes that one call moves.
    most: usize,
    /// Percentage of calls that are interrupted.
    interrupted: usize,
    /// Percentage of questions that are answered with "not ready".
    storm: usize,
    /// Bytes written and flushed.
    pub sent: Vec<u8>,
    unflushed: Vec<u8>,
    /// Whether bytes leave only when flushed, as with a buffering writer.
    buffers: bool,
    /// Number of bytes after which every write fails, and how.
    broken: Option<(usize, Result<(), ErrorKind>)>,
    /// Number of writes after the first that failed.
    pub writes_after_failure: usize,
    failed: bool,
}

impl Stream {
    /// Creates a stream with this input and end, whose calls move at most `most` bytes.
    #[must_use]
    pub fn new(input: &[u8], end: Result<(), ErrorKind>, most: usize, seed: u64) -> Self {
        Self {
            input: input.iter().copied().collect(),
            end,
            rng: Rng::new(seed),
            most,
            interrupted: 0,
            storm: 0,
            sent: Vec::new(),
            unflushed: Vec::new(),
            buffers: false,
            broken: None,
            writes_after_failure: 0,
            failed: false,
        }
    }

    /// Interrupts this percentage of the calls.
    #[must_use]
    pub const fn interrupted(mut self, percent: usize) -> Self {
        self.interrupted = percent;
        self
    }

    /// Makes it not ready in this percentage of the times it is asked.
    #[must_use]
    pub const fn stormy(mut self, percent: usize) -> Self {
        self.storm = percent;
        self
    }

    /// Makes bytes leave only when flushed.
    #[must_use]
    pub const fn buffering(mut self) -> Self {
        self.buffers = true;
        self
    }

    /// Makes every write fail, or return `Ok(0)`, after `bytes` bytes.
    #[must_use]
    pub const fn broken_after(mut self, bytes: usize, how: Result<(), ErrorKind>) -> Self {
        self.broken = Some((bytes, how));
        self
    }

    fn maybe_interrupt(&mut self) -> Result<(), Failed> {
        if self.rng.percent(self.interrupted) {
            return Err(Failed(ErrorKind::Interrupted));
        }
        Ok(())
    }
}

impl embedded_io::ErrorType for Stream {
    type Error = Failed;
}

impl embedded_io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failed> {
        assert!(!buf.is_empty(), "a read into an empty buffer returns 0, which looks like the end");
        self.maybe_interrupt()?;
        let n = self.input.len().min(buf.len()).min(self.most);
        if n == 0 {
            return self.end.map(|()| 0).map_err(Failed);
        }
        let n = self.rng.within(1, n);
        for (to, from) in buf.iter_mut().zip(self.input.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }
}

impl embedded_io::Write for Stream {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Failed> {
        assert!(!buf.is_empty(), "an empty write is useless");
        self.maybe_interrupt()?;
        let mut n = buf.len().min(self.most);
        if let Some((left, how)) = &mut self.broken {
            n = n.min(*left);
            if n == 0 {
                self.writes_after_failure += usize::from(std::mem::replace(&mut self.failed, true));
                return how.map(|()| 0).map_err(Failed);
            }
            n = self.rng.within(1, n);
            *left -= n;
        } else {
            n = self.rng.within(1, n);
        }
        let to = if self.buffers { &mut self.unflushed } else { &mut self.sent };
        to.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.maybe_interrupt()?;
        self.sent.append(&mut self.unflushed);
        Ok(())
    }
}

impl embedded_io::ReadReady for Stream {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        self.maybe_interrupt()?;
        Ok(!self.rng.percent(self.storm))
    }
}

impl embedded_io::WriteReady for Stream {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        self.maybe_interrupt()?;
        Ok(!self.rng.percent(self.storm))
    }
}

/// An error of a [`Net`] socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetError(pub TcpErrorKind);

impl TcpError for NetError {
    fn kind(&self) -> TcpErrorKind {
        self.0
    }
}

/// How a direction of a [`Net`] line ends after its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetEnd {
    /// `Ok(0)`.
    Zero,
    /// The error `PipeClosed`.
    PipeClosed,
    /// Any other error.
    Other,
}

#[derive(Debug, Default)]
struct Direction {
    bytes: VecDeque<u8>,
    end: Option<NetEnd>,
}

#[derive(Debug)]
struct Line {
    /// Bytes from the first socket to the second, and back.
    lanes: [Direction; 2],
    /// Error of every send of the first socket, and of the second.
    broken: [Option<TcpErrorKind>; 2],
}

/// A socket of a [`Net`].
#[derive(Debug, PartialEq, Eq)]
pub enum Socket {
    /// Not connected, or a listener.
    Idle,
    /// The first or second end of a line.
    End(usize, usize),
}

/// A non-blocking stack in memory: any number of lines, each with two ends.
#[derive(Debug)]
pub struct Net {
    lines: Vec<Line>,
    backlog: VecDeque<usize>,
    rng: Rng,
    /// Largest number of bytes that one call moves.
    pub most: usize,
    /// Capacity of one direction in bytes.
    pub holds: usize,
    /// Percentage of calls that return `WouldBlock` without need.
    pub storm: usize,
    /// What is read after the last byte of a closed line.
    pub end: NetEnd,
    /// Number of sockets that were closed.
    pub closed: usize,
    /// Whether closing returns an error.
    pub fails_to_close: bool,
    /// Number of sockets. With as many accepted and not closed, accepting fails.
    pub sockets: usize,
    accepted: usize,
}

impl Net {
    /// Creates a stack without lines.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            lines: Vec::new(),
            backlog: VecDeque::new(),
            rng: Rng::new(seed),
            most: 7,
            holds: 64,
            storm: 30,
            end: NetEnd::Zero,
            closed: 0,
            fails_to_close: false,
            sockets: usize::MAX,
            accepted: 0,
        }
    }

    /// Creates a line and returns its two ends.
    pub fn line(&mut self) -> (Socket, Socket) {
        self.lines.push(Line { lanes: Default::default(), broken: [None; 2] });
        let at = self.lines.len() - 1;
        (Socket::End(at, 0), Socket::End(at, 1))
    }

    /// Connects to the listener and returns the client's end.
    pub fn dial(&mut self) -> Socket {
        let (client, _) = self.line();
        self.backlog.push_back(self.lines.len() - 1);
        client
    }

    /// Returns the number of connections that are not accepted yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// Puts bytes on the line, without regard to its capacity, as if `socket` had sent them.
    pub fn preset(&mut self, socket: &Socket, bytes: &[u8], end: Option<NetEnd>) {
        let &Socket::End(line, side) = socket else { panic!("the socket has no line") };
        let lane = &mut self.lines[line].lanes[side];
        lane.bytes.extend(bytes);
        lane.end = end;
    }

    /// Makes every later send of `socket` fail.
    pub fn break_sending(&mut self, socket: &Socket, kind: TcpErrorKind) {
        let &Socket::End(line, side) = socket else { panic!("the socket has no line") };
        self.lines[line].broken[side] = Some(kind);
    }

    /// Takes the bytes that `socket` could read now.
    pub fn take(&mut self, socket: &Socket) -> Vec<u8> {
        let &Socket::End(line, side) = socket else { panic!("the socket has no line") };
        self.lines[line].lanes[1 - side].bytes.drain(..).collect()
    }

    /// Returns the number of bytes that `socket` sent and its peer has not read.
    #[must_use]
    pub fn unread_from(&self, socket: &Socket) -> usize {
        let &Socket::End(line, side) = socket else { panic!("the socket has no line") };
        self.lines[line].lanes[side].bytes.len()
    }

    fn maybe_would_block(&mut self) -> nb::Result<(), NetError> {
        if self.rng.percent(self.storm) { Err(nb::Error::WouldBlock) } else { Ok(()) }
    }
}

impl TcpClientStack for Net {
    type TcpSocket = Socket;
    type Error = NetError;

    fn socket(&mut self) -> Result<Socket, NetError> {
        Ok(Socket::Idle)
    }

    fn connect(&mut self, socket: &mut Socket, _: SocketAddr) -> nb::Result<(), NetError> {
        self.maybe_would_block()?;
        *socket = self.dial();
        Ok(())
    }

    fn send(&mut self, socket: &mut Socket, buffer: &[u8]) -> nb::Result<usize, NetError> {
        assert!(!buffer.is_empty(), "an empty send is useless");
        let &mut Socket::End(line, side) = socket else {
            return Err(nb::Error::Other(NetError(TcpErrorKind::Other)));
        };
        self.maybe_would_block()?;
        let Line { lanes, broken } = &mut self.lines[line];
        if let Some(kind) = broken[side] {
            return Err(nb::Error::Other(NetError(kind)));
        }
        let lane = &mut lanes[side];
        let n = buffer.len().min(self.most).min(self.holds.saturating_sub(lane.bytes.len()));
        if n == 0 {
            return Err(nb::Error::WouldBlock);
        }
        let n = self.rng.within(1, n);
        lane.bytes.extend(&buffer[..n]);
        Ok(n)
    }

    fn receive(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> nb::Result<usize, NetError> {
        assert!(
            !buffer.is_empty(),
            "a read into an empty buffer returns 0, which looks like the end"
        );
        let &mut Socket::End(line, side) = socket else {
            return Err(nb::Error::Other(NetError(TcpErrorKind::Other)));
        };
        self.maybe_would_block()?;
        let lane = &mut self.lines[line].lanes[1 - side];
        let n = buffer.len().min(self.most).min(lane.bytes.len());
        if n == 0 {
            return match lane.end {
                None => Err(nb::Error::WouldBlock),
                Some(NetEnd::Zero) => Ok(0),
                Some(NetEnd::PipeClosed) => {
                    Err(nb::Error::Other(NetError(TcpErrorKind::PipeClosed)))
                }
                Some(NetEnd::Other) => Err(nb::Error::Other(NetError(TcpErrorKind::Other))),
            };
        }
        let n = self.rng.within(1, n);
        for (to, from) in buffer.iter_mut().zip(lane.bytes.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }

    fn close(&mut self, socket: Socket) -> Result<(), NetError> {
        self.closed += 1;
        if let Socket::End(line, side) = socket {
            self.lines[line].lanes[side].end = Some(self.end);
        }
        if self.fails_to_close { Err(NetError(TcpErrorKind::Other)) } else { Ok(()) }
    }
}

impl TcpFullStack for Net {
    fn bind(&mut self, _: &mut Socket, _: u16) -> Result<(), NetError> {
        Ok(())
    }

    fn listen(&mut self, _: &mut Socket) -> Result<(), NetError> {
        Ok(())
    }

    fn accept(&mut self, _: &mut Socket) -> nb::Result<(Socket, SocketAddr), NetError> {
        self.maybe_would_block()?;
        if self.accepted - self.closed >= self.sockets {
            return Err(nb::Error::Other(NetError(TcpErrorKind::Other)));
        }
        let line = self.backlog.pop_front().ok_or(nb::Error::WouldBlock)?;
        self.accepted += 1;
        Ok((Socket::End(line, 1), (Ipv4Addr::LOCALHOST, 1).into()))
    }
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    holds: usize,
    most: usize,
    end: Option<Result<(), ErrorKind>>,
    /// Bytes that a buffering writer keeps until it is flushed.
    unflushed: VecDeque<u8>,
    buffers: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn flush(&mut self) -> bool {
        while self.bytes.len() < self.holds {
            let Some(byte) = self.unflushed.pop_front() else { break };
            self.bytes.push_back(byte);
        }
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
        self.unflushed.is_empty()
    }
}

/// The reading end of an async pipe.
#[derive(Debug)]
pub struct Reader(Rc<RefCell<Pipe>>);

/// The writing end of an async pipe. Dropping it is the orderly end.
#[derive(Debug)]
pub struct Writer(Rc<RefCell<Pipe>>);

/// Creates a pipe of this capacity that moves at most `most` bytes in one call.
///
/// With `buffers`, bytes leave only when flushed.
#[must_use]
pub fn pipe(holds: usize, most: usize, buffers: bool) -> (Writer, Reader) {
    let pipe = Pipe { holds, most, buffers, ..Pipe::default() };
    let pipe = Rc::new(RefCell::new(pipe));
    (Writer(Rc::clone(&pipe)), Reader(pipe))
}

impl Writer {
    /// Ends the pipe after everything that was written.
    pub fn end(&self, how: Result<(), ErrorKind>) {
        let mut pipe = self.0.borrow_mut();
        if pipe.end.is_none() {
            pipe.end = Some(how);
        }
        if let Some(waker) = pipe.reader.take() {
            waker.wake();
        }
    }

    /// Puts bytes into the pipe, without regard to its capacity.
    pub fn preset(&self, bytes: &[u8]) {
        self.0.borrow_mut().bytes.extend(bytes);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}

impl Reader {
    /// Takes all bytes in the pipe.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().bytes.drain(..).collect()
    }
}

impl embedded_io::ErrorType for Reader {
    type Error = Failed;
}

impl embedded_io::ErrorType for Writer {
    type Error = Failed;
}

impl embedded_io_async::Read for Reader {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failed> {
        assert!(!buf.is_empty(), "a read into an empty buffer returns 0, which looks like the end");
        poll_fn(|cx| {
            let mut pipe = self.0.borrow_mut();
            let n = buf.len().min(pipe.bytes.len()).min(pipe.most);
            if n > 0 {
                for (to, from) in buf.iter_mut().zip(pipe.bytes.drain(..n)) {
                    *to = from;
                }
                if let Some(waker) = pipe.writer.take() {
                    waker.wake();
                }
                return Poll::Ready(Ok(n));
            }
            if let Some(end) = pipe.end {
                return Poll::Ready(end.map(|()| 0).map_err(Failed));
            }
            pipe.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl embedded_io_async::Write for Writer {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Failed> {
        assert!(!buf.is_empty(), "an empty write is useless");
        poll_fn(|cx| {
            let mut pipe = self.0.borrow_mut();
            let used = if pipe.buffers { pipe.unflushed.len() } else { pipe.bytes.len() };
            let n = buf.len().min(pipe.most).min(pipe.holds.saturating_sub(used));
            if n == 0 && !(pipe.buffers && pipe.flush()) {
                pipe.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let n = n.max(1);
            if pipe.buffers {
                pipe.unflushed.extend(&buf[..n]);
            } else {
                pipe.bytes.extend(&buf[..n]);
                if let Some(waker) = pipe.reader.take() {
                    waker.wake();
                }
            }
            Poll::Ready(Ok(n))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        poll_fn(|cx| {
            let mut pipe = self.0.borrow_mut();
            if pipe.flush() {
                return Poll::Ready(Ok(()));
            }
            pipe.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Both sides of a connection in one object.
#[derive(Debug)]
pub struct BothSides {
    /// What it reads from.
    pub reader: Reader,
    /// What it writes to.
    pub writer: Writer,
}

impl embedded_io::ErrorType for BothSides {
    type Error = Failed;
}

impl embedded_io_async::Read for BothSides {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        self.reader.read(space).await
    }
}

impl embedded_io_async::Write for BothSides {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.writer.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        self.writer.flush().await
    }
}

/// Nothing can wake the futures any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlock;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end on this thread. It is polled only after it was woken.
///
/// # Errors
///
/// [`Deadlock`] if the future waits and nothing can wake it.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Deadlock> {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    while flag.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
    }
    Err(Deadlock)
}

/// Runs both futures together.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(move |cx| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            from_b = Some(output);
        }
        if from_a.is_none() || from_b.is_none() {
            return Poll::Pending;
        }
        from_a.take().zip(from_b.take()).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
