//! What the two servers share.

use embedded_nal::{TcpClientStack, TcpFullStack};
use socklab_core::Machine;
use socklab_core::driver::nonblocking::{Ended, Outcome, Server};
use socklab_core::session::Handler;

use smoltcp::time::Duration;

use crate::nal::{self, Stack};
use crate::{clock, ram};

/// Number of clients that are served at a time.
pub const CLIENTS: usize = 2;

/// Number of sockets: one for each client, and the backlog of the listener.
pub const SOCKETS: usize = CLIENTS + nal::BACKLOG;

/// Buffers of the driver for each client: input and output.
pub type Buffers<const SIZE: usize> = [([u8; SIZE], [u8; SIZE]); CLIENTS];

/// Initial value of [`Buffers`].
pub const fn buffers<const SIZE: usize>() -> Buffers<SIZE> {
    [([0; SIZE], [0; SIZE]); CLIENTS]
}

/// Returns the clock of the pool. It wraps after 50 days.
fn now() -> u32 {
    clock::millis() as u32
}

/// Serves on `port` until `sessions` sessions have ended; 0 sets no limit. A client times out after
/// `timeout` seconds without data. `open` creates the machine and the application of a session.
///
/// # Errors
///
/// An error if the network cannot listen on the port.
pub fn serve<M, A, const SIZE: usize>(
    stack: &mut Stack<SOCKETS>,
    port: u16,
    sessions: u32,
    timeout: u32,
    buffers: &'static mut Buffers<SIZE>,
    mut open: impl FnMut() -> (M, A),
) -> Result<(), nal::Error>
where
    M: Machine<Error: defmt::Format>,
    A: Handler<M>,
{
    let mut listener = stack.socket()?;
    stack.bind(&mut listener, port)?;
    stack.listen(&mut listener)?;
    let buffers = buffers.each_mut().map(|(input, output)| (&mut input[..], &mut output[..]));
    let mut server = Server::<_, M, A, _, _, CLIENTS>::new(listener, buffers)
        .unwrap_or_else(|e| defmt::panic!("{}", e));
    server.set_timeout(Some(timeout.saturating_mul(1000)));
    defmt::info!("listening on port {=u16}", port);

    let mut ended = 0_u32;
    while sessions == 0 || ended < sessions {
        let before = ended;
        stack.poll();
        let connected = |peer| {
            defmt::info!("{}: connected", peer);
            open()
        };
        let polled =
            server.poll(stack, now(), connected, |Ended { peer, outcome, fault, .. }| {
                match outcome {
                    Outcome::Done => {
                        defmt::info!("{}: the session succeeded", peer);
                    }
                    Outcome::Failed(e) => defmt::warn!("{}: the session failed: {}", peer, e),
                    // None of these happens to a math or an echo server.
                    Outcome::Aborted => defmt::warn!("{}: the session was aborted", peer),
                    Outcome::Refused(e) => defmt::error!("{}: {}", peer, e),
                    Outcome::Broken(law) => defmt::error!("{}: {}", peer, law),
                }
                if let Some(fault) = fault {
                    defmt::warn!("{}: network error: {}", peer, fault);
                }
                ended = ended.wrapping_add(1);
            });
        match polled {
            Ok(()) => {}
            Err(nb::Error::WouldBlock) => {
                let until =
                    server.wait(now()).map(|ms| clock::now() + Duration::from_millis(ms.into()));
                stack.wait(until);
            }
            Err(nb::Error::Other(e)) => return Err(e),
        }
        // Without a limit the program never ends, so it is logged here.
        if ended != before && sessions == 0 {
            ram::log_stack();
        }
    }
    stack.finish();
    Ok(())
}
