//! What the drivers that never wait have in common.

use super::Performed;
use crate::session::{Stream, Want};

/// A transport that never waits. It applies what happened to the stream, and returns
/// [`nb::Error::WouldBlock`] if nothing did.
pub(super) trait Wire {
    type Error;

    /// Whether what was sent has to be flushed. False removes code.
    const FLUSHES: bool;

    /// Sends pending output, as much as the transport takes at once.
    fn send<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), Self::Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>;

    /// Flushes the transport.
    fn flush<I, O>(&mut self, stream: &mut Stream<I, O>) -> nb::Result<(), Self::Error>;

    /// Reads once. Called only if the stream [can be read](Stream::can_read).
    fn receive<I, O>(
        &mut self,
        stream: &mut Stream<I, O>,
        min_input: usize,
    ) -> nb::Result<(), Self::Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>;
}

/// Performs what a session wants. It knows no machine, so a program contains it once per transport.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(super) fn perform<W: Wire, I, O>(
    wire: &mut W,
    stream: &mut Stream<I, O>,
    min_input: usize,
    want: Want,
) -> Result<Performed, W::Error>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    let done = match want {
        Want::Flush => wire.flush(stream),
        Want::Read { .. } => wire.receive(stream, min_input),
        // Also while only a write is wanted: the peer may read only while it is read. And in the
        // application's turn: it has to learn that the connection is gone.
        Want::Write | Want::ReadOrWrite | Want::Command => {
            let sent = if !stream.transmit().is_empty() {
                wire.send(stream)
            } else if W::FLUSHES && want == Want::ReadOrWrite && stream.wants_flush() {
                wire.flush(stream)
            } else {
                Err(nb::Error::WouldBlock)
            };
            match sent {
                Err(nb::Error::WouldBlock) if stream.can_read() => wire.receive(stream, min_input),
                sent => sent,
            }
        }
        Want::Boundary => return Ok(Performed::Boundary),
        Want::Close => return Ok(Performed::Close),
        Want::Abort => return Ok(Performed::Abort),
        Want::Broken(law) => return Ok(Performed::Broken(law)),
    };
    match done {
        Ok(()) => Ok(Performed::Again),
        Err(nb::Error::WouldBlock) if matches!(want, Want::Command) => Ok(Performed::Command),
        Err(nb::Error::WouldBlock) => Ok(Performed::WouldBlock),
        Err(nb::Error::Other(e)) => Err(e),
    }
}
