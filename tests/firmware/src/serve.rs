//! What the two servers have in common.

use embedded_nal::{TcpClientStack, TcpFullStack};
use socklab_core::Machine;
use socklab_core::driver::nonblocking::{Served, Server};
use socklab_core::session::Application;

use crate::nal::{self, Stack};
use crate::ram;

/// So many clients are served at a time.
pub const CLIENTS: usize = 2;

/// So many sockets that takes: one for each client, and those that listen meanwhile.
pub const SOCKETS: usize = CLIENTS + nal::BACKLOG;

/// Serves on `port` until so many sessions have ended; 0 serves for ever. `open` makes what a
/// session is made of.
///
/// # Errors
///
/// When the network cannot listen there.
pub fn serve<M, A, B>(
    stack: &mut Stack<SOCKETS>,
    port: u16,
    sessions: u32,
    mut open: impl FnMut() -> (M, A, B, B),
) -> Result<(), nal::Error>
where
    M: Machine<Error: defmt::Format>,
    A: Application<M>,
    B: AsRef<[u8]> + AsMut<[u8]>,
{
    let mut listener = stack.socket()?;
    stack.bind(&mut listener, port)?;
    stack.listen(&mut listener)?;
    let mut server: Server<_, M, A, B, B, CLIENTS> = Server::new(listener);
    defmt::info!("listening on port {=u16}", port);

    let mut ended = 0_u32;
    while sessions == 0 || ended < sessions {
        let before = ended;
        stack.poll();
        let polled = server.poll(stack, &mut open, |served| match served {
            Served::Opened(peer) => defmt::info!("{}: connected", peer),
            Served::Done => {
                defmt::info!("a session has ended as it should");
                ended = ended.wrapping_add(1);
            }
            Served::Failed(e) => {
                defmt::warn!("a session has failed: {}", e);
                ended = ended.wrapping_add(1);
            }
        });
        match polled {
            Ok(()) => {}
            Err(nb::Error::WouldBlock) => stack.wait(None),
            Err(nb::Error::Other(e)) => return Err(e),
        }
        // A server has no end at which to say it.
        if ended != before && sessions == 0 {
            ram::log_stack();
        }
    }
    stack.finish();
    Ok(())
}
