//! The async driver, over [`embedded_io_async`], for any executor.
//!
//! A [`Transport`] is either two [`Halves`] (`TcpStream::into_split`, `TcpSocket::split`), so that a
//! full-duplex machine sends while it waits for the peer, or one object ([`Whole`]: embedded-tls, most
//! UARTs), which does one of the two at a time.
//!
//! A future of this driver that is dropped loses nothing if dropping an unfinished `read`, `write` or
//! `flush` of the transport loses no byte. The sockets of tokio, embassy-net and async-std are
//! cancel-safe like that. The driver itself drops a read when a timer of
//! [`next_within`](Connection::next_within) fires, and reads or writes of a full-duplex machine.
//!
//! # Time
//!
//! ```
//! # use std::{future::Future, time::Duration};
//! # use embedded_io_async::{Read, Write};
//! # use socklab_core::driver::{Next, asynch::{Connection, Halves}};
//! # use socklab_core::file::Server;
//! # struct Timer;
//! # impl Timer { async fn after(_: Duration) {} }
//! # async fn next<R: Read, W: Write>(
//! #     connection: &mut Connection<Halves<R, W>, Server, [u8; 1025], [u8; 1026]>,
//! # ) {
//! // Idle times as the machine asks for them; 30 seconds for everything else.
//! let timer = |idle_ms: Option<u16>| {
//!     Timer::after(Duration::from_millis(idle_ms.map_or(30_000, u64::from)))
//! };
//! let next = connection.next_within(timer).await;
//! # let _ = next;
//! # }
//! ```
//!
//! Only `next_within` and `advance_within` have a clock. Race every other call against a timer of your
//! own: a call that is dropped can be repeated.

use core::fmt;
use core::future::{Future, pending, poll_fn};
use core::num::NonZeroU16;
use core::pin::pin;
use core::task::Poll;

use embedded_io_async::{Read, Write};

use super::transport::{fits, timed_out, was_flushed, was_read, was_written};
use super::{Error, Next, Performed, Result};
use crate::machine::{CommandError, EventView, Machine, StreamEnd};
use crate::session::{Polled, Session, Stream, TooSmall, Want, poll, view};

/// Something that reads and writes, as one object or two.
pub trait Transport {
    /// What is read from.
    type Reader: Read;
    /// What is written to.
    type Writer: Write;

    /// Lends the sides that are wanted. A transport of one object lends one side at a time: the writer
    /// if both are wanted.
    fn lend(
        &mut self,
        read: bool,
        write: bool,
    ) -> (Option<&mut Self::Reader>, Option<&mut Self::Writer>);
}

/// A reader and a writer, which can be used at the same time: full duplex.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Halves<R, W>(pub R, pub W);

/// One object that both reads and writes, one at a time: half duplex. With a full-duplex machine it
/// writes first; a peer that reads only while it is read can block it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Whole<T>(pub T);

impl<R: Read, W: Write> Transport for Halves<R, W> {
    type Reader = R;
    type Writer = W;

    fn lend(&mut self, _: bool, _: bool) -> (Option<&mut R>, Option<&mut W>) {
        (Some(&mut self.0), Some(&mut self.1))
    }
}

impl<T: Read + Write> Transport for Whole<T> {
    type Reader = T;
    type Writer = T;

    fn lend(&mut self, _: bool, write: bool) -> (Option<&mut T>, Option<&mut T>) {
        if write { (None, Some(&mut self.0)) } else { (Some(&mut self.0), None) }
    }
}

/// Error of a transport whose reader and writer have errors of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault<R, W> {
    /// The reader failed.
    Read(R),
    /// The writer failed.
    Write(W),
}

impl<R: fmt::Display, W: fmt::Display> fmt::Display for Fault<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => write!(f, "read failed: {e}"),
            Self::Write(e) => write!(f, "write failed: {e}"),
        }
    }
}

impl<R: fmt::Debug + fmt::Display, W: fmt::Debug + fmt::Display> core::error::Error
    for Fault<R, W>
{
}

/// The [`Fault`] of a [`Transport`].
pub type FaultOf<T> = Fault<
    <<T as Transport>::Reader as embedded_io_async::ErrorType>::Error,
    <<T as Transport>::Writer as embedded_io_async::ErrorType>::Error,
>;

/// A machine bound to an async transport.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<T, M, I, O> {
    transport: T,
    session: Session<M, I, O>,
    /// What the last read waited for.
    idle_ms: Option<u16>,
}

impl<T, M, I, O> Connection<T, M, I, O> {
    /// Binds a session to a connected `transport`. With a session of
    /// [`Session::with_arrays`] or [`Session::with_buffers`] it can stand in a static.
    pub const fn with_session(transport: T, session: Session<M, I, O>) -> Self {
        Self { transport, session, idle_ms: None }
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Returns the transport.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Returns the transport; queued output is dropped.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Starts another session, over `transport`, in the same buffers. Returns the transport of the
    /// last one.
    pub fn restart(&mut self, transport: T, machine: M) -> T {
        self.session.restart(machine);
        self.idle_ms = None;
        core::mem::replace(&mut self.transport, transport)
    }

    /// Returns how the sending direction ended, `None` while the peer accepts bytes. Output that was
    /// pending then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// Returns the number of milliseconds that the machine waits for besides input, known once
    /// [`next`](Self::next) has been dropped. [`next_within`](Self::next_within) needs no such detour.
    pub const fn idle_ms(&self) -> Option<u16> {
        self.idle_ms
    }

    /// Reports that no byte came for [`idle_ms`](Self::idle_ms).
    pub const fn idle(&mut self) {
        self.session.idle();
    }

    /// Reports that the caller stops waiting. The next call of [`next`](Self::next) reports what was
    /// missing.
    pub const fn time_out(&mut self) {
        self.session.time_out();
    }

    /// Reports that a read or a write took as long as it may: [`idle`](Self::idle) if the machine
    /// waited for that, [`time_out`](Self::time_out) otherwise.
    pub const fn timed_out(&mut self) {
        let idle_ms = self.idle_ms.take();
        timed_out(self.session.split().1, idle_ms);
    }
}

impl<T, M, I, O> Connection<T, M, I, O>
where
    T: Transport,
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to a connected `transport`, with these buffers.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] if a buffer is shorter than the machine needs.
    pub fn new(
        transport: T,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        Ok(Self::with_session(transport, Session::new(machine, input, output)?))
    }

    /// Sends what is queued, reads as needed, and returns what happens next. Cancel-safe if the
    /// transport is.
    ///
    /// # Errors
    ///
    /// The machine's, after queued output was sent; or the transport's. A transport that fails with
    /// `ConnectionReset` or `TimedOut` ends the stream, and the machine's error names what was
    /// missing. After an error of the transport the call can be repeated.
    pub async fn next(&mut self) -> Result<Next<EventView<'_, M>>, M, FaultOf<T>> {
        self.next_within(|_| pending()).await
    }

    /// As [`next`](Self::next), with a clock: each wait is raced against a future of `timer`, made for that
    /// wait. `timer` gets the number of milliseconds without a byte that the machine waits for, after
    /// which the session is [idle](Self::idle); or `None` for the caller's own limit of a read, a write or
    /// a flush, after which it [times out](Self::time_out).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn next_within<F: Future<Output = ()>>(
        &mut self,
        timer: impl FnMut(Option<u16>) -> F,
    ) -> Result<Next<EventView<'_, M>>, M, FaultOf<T>> {
        let next = self.advance_within(timer).await?;
        Ok(next.map(|event| view::<M, _, _>(self.session.stream(), event)))
    }

    /// As [`next`](Self::next), with an event that borrows nothing; [`view`](Self::view) returns its
    /// bytes. For loops inside a function that returns an event.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn advance(&mut self) -> Result<Next<M::Event>, M, FaultOf<T>> {
        self.advance_within(|_| pending()).await
    }

    /// [`advance`](Self::advance) with the clock of [`next_within`](Self::next_within).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn advance_within<F: Future<Output = ()>>(
        &mut self,
        mut timer: impl FnMut(Option<u16>) -> F,
    ) -> Result<Next<M::Event>, M, FaultOf<T>> {
        let Self { transport, session, idle_ms } = self;
        let (machine, stream) = session.split();
        loop {
            let want = match poll(machine, stream).map_err(Error::Protocol)? {
                Polled::Event(event) => return Ok(Next::Event(event)),
                Polled::Want(want) => want,
            };
            stream.note_payload(machine.outbound_remaining());
            *idle_ms = match want {
                Want::Read { idle_ms: Some(ms) } => Some(ms.get()),
                _ => None,
            };
            let performed = perform(transport, stream, M::MIN_INPUT, want, &mut timer).await;
            if let Some(next) = performed.map_err(Error::Transport)?.next() {
                return next;
            }
        }
    }

    /// Returns an event of [`advance`](Self::advance) with its bytes. Valid until the next call that
    /// reads.
    pub fn view(&self, event: M::Event) -> EventView<'_, M> {
        self.session.view(event)
    }

    /// Returns the bytes received that the machine has not consumed: see [`Session::unread`].
    pub fn unread(&self) -> &[u8] {
        self.session.unread()
    }

    /// Gives the machine a command. If the output is full, sends first, and reads meanwhile as far as
    /// there is space. What the command writes is sent by the next call of [`next`](Self::next) or
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the machine rejects it, or it is longer than the output buffer; or the
    /// transport's.
    pub async fn command(&mut self, command: M::Command<'_>) -> Result<(), M, FaultOf<T>> {
        loop {
            match self.session.command(command) {
                Err(CommandError::OutputFull) if !self.session.transmit().is_empty() => {
                    self.send().await?;
                }
                result => return result.map_err(Error::Refused),
            }
        }
    }

    /// Gives the machine a command, and does not wait.
    ///
    /// # Errors
    ///
    /// [`CommandError::OutputFull`] while the output is full: call [`next`](Self::next) or
    /// [`flush`](Self::flush). The machine's.
    pub fn try_command(
        &mut self,
        command: M::Command<'_>,
    ) -> core::result::Result<(), CommandError> {
        self.session.command(command)
    }

    /// Queues [outbound payload](Machine::outbound_remaining), as much as fits; if the output is full,
    /// sends first, without a flush. Returns the number of bytes taken from the front of `payload`:
    /// call it again with the rest. What is queued last is sent by [`next`](Self::next) or
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`](crate::machine::Invalid::Overrun) if `payload` is longer than what is
    /// outstanding; or the transport's. After an error nothing was taken, and the call can be repeated.
    pub async fn write_payload(&mut self, payload: &[u8]) -> Result<usize, M, FaultOf<T>> {
        fits(&self.session, payload).map_err(Error::Refused)?;
        loop {
            let n = self.session.write_payload(payload);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            self.send().await?;
        }
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    ///
    /// The transport's; the call can be repeated. That the peer has closed or reset the connection is
    /// not an error: what it sent can still be read.
    pub async fn flush(&mut self) -> Result<(), M, FaultOf<T>> {
        while !self.session.transmit().is_empty() {
            self.perform(Want::Write).await?;
        }
        while self.session.stream().is_unflushed() {
            self.perform(Want::Flush).await?;
        }
        Ok(())
    }

    /// In the application's turn, waits until the peer sends something or ends its stream. Then call
    /// [`next`](Self::next), which fails if the connection is gone. To be raced against what the
    /// application waits for; it never returns if nothing can be read. What is queued is sent first.
    /// Cancel-safe if the transport is.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub async fn listen(&mut self) -> Result<(), M, FaultOf<T>> {
        self.flush().await?;
        let before = self.session.stream().read_state();
        if !self.session.stream().can_read() {
            pending::<()>().await;
        }
        // A read may be interrupted.
        while self.session.stream().read_state() == before {
            self.perform(Want::Read { idle_ms: None }).await?;
        }
        Ok(())
    }

    /// Sends, and reads meanwhile if that is possible.
    async fn send(&mut self) -> Result<(), M, FaultOf<T>> {
        let can_read = self.session.split().1.can_read();
        self.perform(if can_read { Want::ReadOrWrite } else { Want::Write }).await
    }

    async fn perform(&mut self, want: Want) -> Result<(), M, FaultOf<T>> {
        self.idle_ms = None;
        let stream = self.session.split().1;
        let never = &mut |_| pending();
        let performed = perform(&mut self.transport, stream, M::MIN_INPUT, want, never).await;
        performed.map(|_| ()).map_err(Error::Transport)
    }
}

/// What was possible first.
enum Ready<R, W> {
    Read(core::result::Result<usize, R>),
    Written(core::result::Result<usize, W>),
    Flushed(core::result::Result<(), W>),
    TimedOut,
}

/// Performs what a session wants. It knows no machine, so a program contains it once per transport.
async fn perform<T, I, O, F>(
    transport: &mut T,
    stream: &mut Stream<I, O>,
    min_input: usize,
    want: Want,
    timer: &mut impl FnMut(Option<u16>) -> F,
) -> core::result::Result<Performed, FaultOf<T>>
where
    T: Transport,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
    F: Future<Output = ()>,
{
    let idle_ms = match want {
        Want::Command => return Ok(Performed::Command),
        Want::Boundary => return Ok(Performed::Boundary),
        Want::Close => return Ok(Performed::Close),
        Want::Abort => return Ok(Performed::Abort),
        Want::Broken(law) => return Ok(Performed::Broken(law)),
        Want::Read { idle_ms } => idle_ms.map(NonZeroU16::get),
        Want::Write | Want::Flush | Want::ReadOrWrite => None,
    };
    let reads = matches!(want, Want::Read { .. } | Want::ReadOrWrite);
    let flushes = matches!(want, Want::Flush) || stream.wants_flush();
    let (space, pending_bytes) = stream.recv_space_and_transmit(min_input);
    let writes = !matches!(want, Want::Read { .. }) && (flushes || !pending_bytes.is_empty());
    // One await for all of it: each is a state of the future, and code.
    let ready = {
        let (reader, writer) = transport.lend(reads, writes);
        let mut write = pin!(async {
            match writer {
                Some(writer) if writes && pending_bytes.is_empty() => {
                    // A flush, too, may wait for a peer that reads only while it is read.
                    Ready::Flushed(writer.flush().await)
                }
                Some(writer) if writes => Ready::Written(writer.write(pending_bytes).await),
                _ => pending().await,
            }
        });
        let mut read = pin!(async {
            match reader {
                Some(reader) if reads => Ready::Read(reader.read(space).await),
                _ => pending().await,
            }
        });
        let mut timer = pin!(timer(idle_ms));
        poll_fn(|cx| {
            if let Poll::Ready(ready) = write.as_mut().poll(cx) {
                return Poll::Ready(ready);
            }
            if let Poll::Ready(ready) = read.as_mut().poll(cx) {
                return Poll::Ready(ready);
            }
            timer.as_mut().poll(cx).map(|()| Ready::TimedOut)
        })
        .await
    };
    let done = match ready {
        Ready::Read(read) => was_read(stream, idle_ms, read).map_err(Fault::Read),
        Ready::Written(written) => was_written(stream, written).map_err(Fault::Write),
        Ready::Flushed(flushed) => was_flushed(stream, flushed).map_err(Fault::Write),
        Ready::TimedOut => {
            timed_out(stream, idle_ms);
            Ok(())
        }
    };
    done.map(|()| Performed::Again)
}
