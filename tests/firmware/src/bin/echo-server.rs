//! Returns every message without its first ten characters, whatever its length.
//!
//! `port=4567 timeout=30 sessions=0 seed=1`: a client times out after `timeout` seconds without
//! data. The program ends after `sessions` sessions (0: never).

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use socklab_core::echo::Server;
use socklab_core::echo::server::Event;
use socklab_core::session::Handler;
use socklab_firmware::nal::{self, Stack};
use socklab_firmware::serve::{self, SOCKETS, serve};
use socklab_firmware::{Exit, args, exit, start};
use static_cell::ConstStaticCell;

/// Size of each buffer of the driver. A message may be longer.
const BUFFER: usize = 1024;

static SESSIONS: ConstStaticCell<serve::Buffers<BUFFER>> = ConstStaticCell::new(serve::buffers());
static STORAGE: ConstStaticCell<nal::Sockets<SOCKETS>> = ConstStaticCell::new(nal::sockets());
static BUFFERS: ConstStaticCell<nal::Buffers<SOCKETS, 4096, 4096>> =
    ConstStaticCell::new(nal::buffers());

#[entry]
fn main() -> ! {
    let ethernet = start();
    let (mut port, mut timeout, mut sessions, mut seed) = (4567, 30, 0, 1);
    let read = args::read(|name, value| match name {
        "port" => args::set(&mut port, value),
        "timeout" => args::set(&mut timeout, value),
        "sessions" => args::set(&mut sessions, value),
        "seed" => args::set(&mut seed, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    let mut stack = Stack::new(ethernet, STORAGE.take(), BUFFERS.take(), seed);
    let open = || (Server::new(), Log);
    let served = serve(&mut stack, port, sessions, timeout, SESSIONS.take(), open);
    exit(match served {
        Ok(()) => Exit::Done,
        Err(e) => {
            defmt::error!("cannot serve on port {=u16}: {}", port, e);
            Exit::Network
        }
    })
}

/// The application gives no commands.
struct Log;

impl Handler<Server> for Log {
    fn event(&mut self, Event::Echoed { length }: Event) {
        defmt::info!("echoed a message of {=u32} bytes", length);
    }
}
