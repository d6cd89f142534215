//! A socket and the loop that every connection runs.

use embedded_nal::{TcpClientStack, TcpError, TcpErrorKind};

use crate::machine::{Action, Need, StreamEnd};
use crate::session::{Failed, Stream};

/// Nothing moves until the socket is ready.
#[derive(Debug)]
pub(super) struct WouldBlock;

pub(super) fn would_block<E>(WouldBlock: WouldBlock) -> nb::Error<E> {
    nb::Error::WouldBlock
}

/// Why a connection does not go on: [`Next`], and what comes as an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Halt {
    Event,
    Command,
    Boundary,
    Done,
    Abort,
    WouldBlock,
    /// Something went through: there is more to do at once.
    Moved,
    /// The machine has an error.
    Failed,
}

/// What steps a connection's machine, whichever that is.
pub(super) type Advance<'m, I, O> =
    dyn FnMut(&mut Stream<I, O>) -> core::result::Result<Action<()>, Failed> + 'm;

/// A socket and what was wrong with it. Knows no machine, so that its code is there once for all.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Link<T, E> {
    pub(super) socket: T,
    pub(super) fault: Option<E>,
    /// What the machine said last.
    pub(super) action: core::result::Result<Action<()>, Failed>,
}

impl<T, E> Link<T, E> {
    pub(super) const fn new(socket: T) -> Self {
        Self { socket, fault: None, action: Ok(Action::Continue) }
    }

    /// Whether the machine waits for the application as much as for the peer.
    pub(super) const fn is_open_to_both(&self) -> bool {
        matches!(self.action, Ok(Action::Need(Need::InputOrCommand)))
    }

    pub(super) const fn silence(&self) -> Option<u16> {
        match self.action {
            Ok(Action::Need(Need::InputOrIdle(ms))) => Some(ms),
            _ => None,
        }
    }
}

impl<T, E: TcpError> Link<T, E> {
    /// One turn of a connection's loop, there once for all machines: at most one read. `advance` is
    /// the machine's.
    pub(super) fn drive<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
        min_input: usize,
        advance: &mut Advance<'_, I, O>,
    ) -> Halt
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        // A boundary is said once, and stays until all before it has been sent.
        let action = match self.action {
            Ok(Action::Boundary) => self.action,
            _ => advance(stream),
        };
        self.action = action;
        // Also when the machine only wants to read: its replies are not to wait for it.
        let sent = match action {
            Ok(Action::Event(())) => return Halt::Event,
            Ok(Action::Abort) => return Halt::Abort,
            _ => self.send(stack, stream),
        };
        let (moved, halt) = match action {
            Ok(Action::Event(()) | Action::Continue | Action::Abort) => (Ok(()), Halt::Moved),
            Ok(Action::Need(Need::OutputSpace)) => (sent, Halt::Moved),
            // The peer may end while the application thinks: look, as far as there is room.
            Ok(Action::Need(Need::Command)) => {
                if stream.has_ended() || self.receive(stack, stream, min_input).is_err() {
                    return Halt::Command;
                }
                (Ok(()), Halt::Moved)
            }
            // Nothing comes any more, and a machine that keeps the laws does not wait for it.
            Ok(Action::Need(_)) if stream.has_ended() => return Halt::Abort,
            Ok(Action::Need(Need::Input | Need::InputOrIdle(_) | Need::InputOrCommand)) => {
                (self.receive(stack, stream, min_input), Halt::Moved)
            }
            Ok(Action::Boundary) => (sent, Halt::Boundary),
            Ok(Action::Close) => (sent, Halt::Done),
            // What was queued first leaves first; the error repeats until then.
            Err(Failed) => (sent, Halt::Failed),
        };
        if moved.is_err() {
            return Halt::WouldBlock;
        }
        self.action = Ok(Action::Continue);
        halt
    }

    /// Sends all that is queued.
    #[inline(never)]
    pub(super) fn send<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        while !stream.transmit().is_empty() {
            self.send_some(stack, stream)?;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn send_some<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        match stack.send(&mut self.socket, stream.transmit()) {
            Ok(0) | Err(nb::Error::WouldBlock) => return Err(WouldBlock),
            Ok(n) => stream.sent(n),
            // The peer takes nothing more. What it sent before may still be there to read, and
            // reading will tell how it ended.
            Err(nb::Error::Other(e)) => {
                let closed = e.kind() == TcpErrorKind::PipeClosed;
                stream.write_ended(if closed { StreamEnd::Closed } else { StreamEnd::Reset });
                // In either case: what was queued is lost, and `Done` may come all the same.
                self.fault = Some(e);
            }
        }
        Ok(())
    }

    pub(super) fn receive<I, O>(
        &mut self,
        stack: &mut impl TcpClientStack<TcpSocket = T, Error = E>,
        stream: &mut Stream<I, O>,
        min_input: usize,
    ) -> core::result::Result<(), WouldBlock>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let room = stream.room(min_input);
        // Reading into nothing would give 0, which is not the end.
        if room.is_empty() {
            return Err(WouldBlock);
        }
        match stack.receive(&mut self.socket, room) {
            Ok(0) => stream.ended(StreamEnd::Closed),
            Ok(n) => stream.received(n),
            Err(nb::Error::WouldBlock) => return Err(WouldBlock),
            Err(nb::Error::Other(e)) if e.kind() == TcpErrorKind::PipeClosed => {
                stream.ended(StreamEnd::Closed);
            }
            Err(nb::Error::Other(e)) => {
                stream.ended(StreamEnd::Reset);
                self.fault = Some(e);
            }
        }
        Ok(())
    }
}
