//! A socket and the loop that every connection runs.

use core::convert::Infallible;

use embedded_nal::{TcpClientStack, TcpError, TcpErrorKind};

use crate::driver::Performed;
use crate::driver::ready::{self, Wire};
use crate::machine::StreamEnd;
use crate::session::{Stream, Want};

/// A socket and its state. It knows no machine, so a program contains its code once.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Link<T, E> {
    pub(super) socket: T,
    /// The error of the transport that ended the stream.
    pub(super) fault: Option<E>,
    /// What the session wanted last.
    pub(super) want: Want,
}

impl<T, E> Link<T, E> {
    pub(super) const fn new(socket: T) -> Self {
        Self { socket, fault: None, want: Want::Flush }
    }

    pub(super) const fn idle_ms(&self) -> Option<u16> {
        match self.want {
            Want::Read { idle_ms: Some(ms) } => Some(ms.get()),
            _ => None,
        }
    }
}

impl<T, E: TcpError> Link<T, E> {
    /// Performs what a session wants, and notes it.
    pub(super) fn perform<S, I, O>(
        &mut self,
        stack: &mut S,
        stream: &mut Stream<I, O>,
        min_input: usize,
        want: Want,
    ) -> Performed
    where
        S: TcpClientStack<TcpSocket = T, Error = E>,
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        self.want = want;
        let Ok(performed) = ready::perform(&mut Socket(stack, self), stream, min_input, want);
        performed
    }
}

/// A link and its stack as the drivers that never wait see them. It does not fail: an error of the
/// transport ends the stream, and is kept as the link's fault.
pub(super) struct Socket<'l, S: TcpClientStack>(
    pub(super) &'l mut S,
    pub(super) &'l mut Link<S::TcpSocket, S::Error>,
);

impl<S: TcpClientStack> Wire for Socket<'_, S> {
    type Error = Infallible;

    const FLUSHES: bool = false;

    #[inline(never)]
    fn send<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), Infallible>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let Self(stack, link) = self;
        match stack.send(&mut link.socket, stream.transmit()) {
            Ok(0) | Err(nb::Error::WouldBlock) => return Err(nb::Error::WouldBlock),
            Ok(n) => {
                stream.transmitted(n);
                // embedded-nal has no flush.
                stream.flushed();
            }
            // What the peer sent before may still be there to read, and reading reports how the
            // stream ended.
            Err(nb::Error::Other(e)) => {
                let is_closed = e.kind() == TcpErrorKind::PipeClosed;
                stream.write_ended(if is_closed { StreamEnd::Closed } else { StreamEnd::Reset });
                // In either case: pending output is lost, and `Close` may follow all the same.
                link.fault = Some(e);
            }
        }
        Ok(())
    }

    fn flush<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), Infallible> {
        stream.flushed();
        Ok(())
    }

    #[inline(never)]
    fn receive<I, O>(
        &mut self,
        stream: &mut Stream<I, O>,
        min_input: usize,
    ) -> nb::Result<(), Infallible>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let Self(stack, link) = self;
        match stack.receive(&mut link.socket, stream.recv_space(min_input)) {
            Ok(0) => stream.ended(StreamEnd::Closed),
            Ok(n) => stream.received(n),
            Err(nb::Error::WouldBlock) => return Err(nb::Error::WouldBlock),
            Err(nb::Error::Other(e)) if e.kind() == TcpErrorKind::PipeClosed => {
                stream.ended(StreamEnd::Closed);
            }
            Err(nb::Error::Other(e)) => {
                stream.ended(StreamEnd::Reset);
                link.fault = Some(e);
            }
        }
        Ok(())
    }
}
