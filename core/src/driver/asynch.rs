//! The async driver, over [`embedded_io_async`], for any executor.
//!
//! Reader and writer are apart (`TcpStream::into_split`, `TcpSocket::split`), so that a full-duplex
//! machine can send while it waits for the peer. For such a machine both have to be cancel-safe:
//! dropping an unfinished `read` or `write` may lose no byte. The sockets of tokio, embassy-net and
//! async-std are. A machine of question and answer never has a future dropped by this driver.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use embedded_io_async::{Error as _, ErrorKind, Read, Write};

use super::{Error, Next, silence, take, unsent};
use crate::machine::{Action, Machine, Need, StreamEnd};
use crate::session::{Session, TooSmall};

/// A machine bound to an async reader and writer.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<R, W, M, I, O> {
    reader: R,
    writer: W,
    session: Session<M, I, O>,
    silence: Option<u16>,
    unflushed: bool,
    /// A boundary has been said, and what comes before it not all been sent.
    at_boundary: bool,
}

type Result<E, M, X> = core::result::Result<X, Error<<M as Machine>::Error, E>>;

enum Ready<E> {
    Read(core::result::Result<usize, E>),
    Written(core::result::Result<usize, E>),
    Flushed(core::result::Result<(), E>),
}

impl<R, W, M, I, O> Connection<R, W, M, I, O>
where
    R: Read,
    W: Write<Error = R::Error>,
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Binds `machine` to the two halves of a connected transport, with these buffers.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] when a buffer is smaller than the machine needs.
    pub fn new(
        reader: R,
        writer: W,
        machine: M,
        input: I,
        output: O,
    ) -> core::result::Result<Self, TooSmall> {
        let session = Session::new(machine, input, output)?;
        Ok(Self { reader, writer, session, silence: None, unflushed: false, at_boundary: false })
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        self.session.machine()
    }

    /// Gives reader and writer back; what is queued is dropped.
    pub fn into_parts(self) -> (R, W) {
        (self.reader, self.writer)
    }

    /// Sends what is queued, reads as needed, and gives the next thing that happens.
    ///
    /// Cancel-safe if reader and writer are.
    ///
    /// # Errors
    ///
    /// The machine's, with what was queued before it sent; or the transport's. A transport that
    /// says `ConnectionReset` or `TimedOut` is no error here but the end of the stream, which the
    /// machine names.
    pub async fn next(&mut self) -> Result<R::Error, M, Next<M::Event<'_>>> {
        let next = self.advance().await?;
        take(&mut self.session, next).map_err(Error::Protocol)
    }

    /// As [`next`](Self::next), but an event is not taken: it is there for the call of `next` that
    /// follows. For loops that do more in between, where an event may not be borrowed yet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn advance(&mut self) -> Result<R::Error, M, Next<()>> {
        loop {
            // A boundary is said once, and stays until all before it has been sent: `next` may be dropped.
            let action =
                if self.at_boundary { Ok(Action::Boundary) } else { self.session.advance() };
            self.at_boundary = matches!(action, Ok(Action::Boundary));
            self.silence = None;
            match action {
                Ok(Action::Event(())) => return Ok(Next::Event(())),
                Ok(Action::Abort) => return Ok(Next::Abort),
                Ok(Action::Need(Need::InputOrCommand)) if self.session.can_read() => {
                    self.read_and_write().await?;
                    continue;
                }
                Ok(Action::Need(Need::OutputSpace) | Action::Continue) => {
                    self.write().await?;
                    continue;
                }
                _ => {}
            }
            // In one place for all the rest: each await is a state of the future, and code.
            let flushed = self.flush().await;
            match action {
                // Replies from before the error have left; that the peer is gone is no news.
                Err(e) => return Err(Error::Protocol(e)),
                Ok(action) => {
                    flushed?;
                    match action {
                        Action::Need(Need::Command) => return Ok(Next::Command),
                        Action::Boundary => {
                            self.at_boundary = false;
                            return Ok(Next::Boundary);
                        }
                        Action::Close => return Ok(Next::Close),
                        _ if !self.session.can_read() => return Ok(Next::Abort),
                        _ => {
                            // Not before: a write that takes too long is not a silence of the peer.
                            self.silence = silence(&Ok::<_, ()>(action));
                            self.read().await?;
                        }
                    }
                }
            }
        }
    }

    /// Gives the machine a command. What it writes is sent by the next call of
    /// [`next`](Self::next) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: [`CommandError::OutputFull`](crate::machine::CommandError::OutputFull) while what is queued takes the room (call `next`,
    /// which sends and reads at the same time, and give it again) or for good, when the command is
    /// longer than the output buffer.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<R::Error, M, ()> {
        self.session.command(command).map_err(Error::Refused)
    }

    /// Queues payload that the machine is [`outbound_remaining`](Machine::outbound_remaining): as much as there is room for.
    /// Returns how much that was; 0 means call [`next`](Self::next) or [`flush`](Self::flush).
    pub fn write_payload(&mut self, payload: &[u8]) -> usize {
        self.session.write_payload(payload)
    }

    /// Sends what is queued.
    ///
    /// # Errors
    ///
    /// The transport's; the call can be repeated. That the peer has closed or reset is none: what it
    /// sent can still be read.
    pub async fn flush(&mut self) -> Result<R::Error, M, ()> {
        while !self.session.transmit().is_empty() {
            self.write().await?;
        }
        while self.unflushed {
            let flushed = self.writer.flush().await;
            // Noted only now: this future may be dropped while it waits.
            self.flushed(flushed)?;
        }
        Ok(())
    }

    /// Returns how it showed that the peer takes no more bytes, `None` while it does. What was queued
    /// then, or came later, was dropped.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// The caller gives up waiting; the machine says what was missing at the next call of
    /// [`next`](Self::next).
    pub fn time_out(&mut self) {
        self.session.ended(StreamEnd::TimedOut);
        self.session.write_ended(StreamEnd::TimedOut);
    }

    /// The machine also waits for so many milliseconds without a byte ([`Need::InputOrIdle`]), and
    /// [`next`](Self::next) for the peer alone: race it against a timer of so many, drop it when that
    /// rings, and say [`idle`](Self::silent). Known once `next` has been dropped, or an event is there.
    pub const fn silence(&self) -> Option<u16> {
        self.silence
    }

    /// Nothing came for as long as [`Need::InputOrIdle`] asked.
    pub fn idle(&mut self) {
        self.session.idle();
    }

    /// A read or a write has waited as long as it may: [`idle`](Self::silent) if the machine waits
    /// for that too, [`time_out`](Self::give_up) otherwise.
    pub fn timed_out(&mut self) {
        match self.silence.take() {
            Some(_) => self.idle(),
            None => self.time_out(),
        }
    }

    async fn write(&mut self) -> Result<R::Error, M, ()> {
        if self.session.transmit().is_empty() {
            return Ok(());
        }
        let written = self.writer.write(self.session.transmit()).await;
        self.written(written)
    }

    async fn read(&mut self) -> Result<R::Error, M, ()> {
        let read = self.reader.read(self.session.room()).await;
        self.was_read(read)
    }

    /// Whichever is possible first.
    async fn read_and_write(&mut self) -> Result<R::Error, M, ()> {
        let unflushed = self.unflushed;
        let (room, pending) = self.session.recv_space_and_transmit();
        let ready = {
            let mut read = pin!(self.reader.read(room));
            let mut write = pin!(async {
                if !pending.is_empty() {
                    Ready::Written(self.writer.write(pending).await)
                } else if unflushed {
                    // A flush, too, may wait for a peer that reads only when it is read.
                    Ready::Flushed(self.writer.flush().await)
                } else {
                    core::future::pending().await
                }
            });
            poll_fn(|cx| match (write.as_mut().poll(cx), read.as_mut()) {
                (Poll::Ready(ready), _) => Poll::Ready(ready),
                (Poll::Pending, read) => read.poll(cx).map(Ready::Read),
            })
            .await
        };
        match ready {
            Ready::Read(read) => self.was_read(read),
            Ready::Written(written) => self.written(written),
            Ready::Flushed(flushed) => self.flushed(flushed),
        }
    }

    /// A flush that was interrupted, or that failed for a reason that says nothing of the peer, is to
    /// be repeated: the writer may still have the bytes.
    fn flushed(&mut self, flushed: core::result::Result<(), R::Error>) -> Result<R::Error, M, ()> {
        if let Err(e) = flushed {
            let interrupted = e.kind() == ErrorKind::Interrupted;
            unsent(&mut self.session, e).map_err(Error::Transport)?;
            if interrupted {
                return Ok(());
            }
        }
        self.unflushed = false;
        Ok(())
    }

    fn was_read(&mut self, read: core::result::Result<usize, R::Error>) -> Result<R::Error, M, ()> {
        match read {
            Ok(0) => self.session.ended(StreamEnd::Closed),
            Ok(n) => self.session.received(n),
            Err(e) => match e.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => self.session.ended(StreamEnd::Reset),
                ErrorKind::TimedOut => self.timed_out(),
                _ => return Err(Error::Transport(e)),
            },
        }
        Ok(())
    }

    fn written(
        &mut self,
        written: core::result::Result<usize, R::Error>,
    ) -> Result<R::Error, M, ()> {
        match written {
            // Against the contract of embedded-io, but seen: nothing goes out any more.
            Ok(0) => self.session.write_ended(StreamEnd::Closed),
            Ok(n) => {
                self.session.sent(n);
                self.unflushed = true;
            }
            Err(e) => return unsent(&mut self.session, e).map_err(Error::Transport),
        }
        Ok(())
    }
}
