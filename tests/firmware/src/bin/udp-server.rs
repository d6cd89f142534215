//! Returns every datagram without its first ten characters.
//!
//! `port=3456 datagrams=0 seed=1`: the program ends after `datagrams` datagrams (0: never).

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use embedded_nal::{UdpClientStack, UdpFullStack};
use socklab_core::datagram::DATAGRAM_SAFE;
use socklab_core::driver::datagrams::{Error, Server};
use socklab_core::udp;
use socklab_core::udp::server::Event;
use socklab_firmware::nal::udp::LONGEST;
use socklab_firmware::nal::{self, Stack};
use socklab_firmware::{Exit, args, exit, ram, start};
use static_cell::ConstStaticCell;

/// Size of the buffer: one byte more than the longest datagram that is answered.
const BUFFER: usize = DATAGRAM_SAFE + 1;

static DATAGRAM: ConstStaticCell<[u8; BUFFER]> = ConstStaticCell::new([0; _]);
static STORAGE: ConstStaticCell<nal::Sockets<1>> = ConstStaticCell::new(nal::sockets());
static QUEUES: ConstStaticCell<nal::udp::Queues<1>> = ConstStaticCell::new(nal::udp::queues());
/// Space for two of the longest datagrams that can arrive, or more short ones.
static BUFFERS: ConstStaticCell<nal::Buffers<1, { 2 * LONGEST }, DATAGRAM_SAFE>> =
    ConstStaticCell::new(nal::buffers());

#[entry]
fn main() -> ! {
    let ethernet = start();
    let (mut port, mut datagrams, mut seed) = (3456, 0, 1);
    let read = args::read(|name, value| match name {
        "port" => args::set(&mut port, value),
        "datagrams" => args::set(&mut datagrams, value),
        "seed" => args::set(&mut seed, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    let (storage, queues, buffers) = (STORAGE.take(), QUEUES.take(), BUFFERS.take());
    let mut stack = Stack::datagrams(ethernet, storage, queues, buffers, seed);
    exit(match serve(&mut stack, port, datagrams, DATAGRAM.take()) {
        Ok(()) => Exit::Done,
        Err(e) => {
            defmt::error!("cannot serve on port {=u16}: {}", port, e);
            Exit::Network
        }
    })
}

fn serve<const N: usize, const D: usize>(
    stack: &mut Stack<N, D>,
    port: u16,
    datagrams: u32,
    buffer: &'static mut [u8],
) -> Result<(), nal::Error> {
    let mut socket = UdpClientStack::socket(stack)?;
    stack.bind(&mut socket, port)?;
    let mut server = Server::new(socket, udp::Server::new(), buffer);
    defmt::info!("listening on port {=u16}", port);
    let mut handled = 0_u32;
    while datagrams == 0 || handled < datagrams {
        stack.poll();
        match server.next(stack) {
            Ok(event) => {
                handled = handled.wrapping_add(1);
                let from = server.received().0;
                match event {
                    Event::Answered { length, answer } => {
                        defmt::info!("{}: {=usize} bytes, answer {=usize}", from, length, answer);
                    }
                    Event::Refused(refusal) => defmt::warn!("{}: no answer: {}", from, refusal),
                    _ => defmt::warn!("{}: {}", from, event),
                }
                // Without a limit the program never ends, so it is logged here.
                if datagrams == 0 {
                    ram::log_stack();
                }
            }
            Err(nb::Error::WouldBlock) => stack.wait(None),
            // The answer is dropped, as the network may drop one. Its event follows.
            Err(nb::Error::Other(Error::Transport(e))) => defmt::warn!("answer dropped: {}", e),
            Err(nb::Error::Other(_)) => defmt::unreachable!("the server sends no message"),
        }
    }
    stack.finish();
    Ok(())
}
