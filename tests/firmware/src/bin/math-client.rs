//! Solves the math quiz of a server and logs the secret.
//!
//! `to=10.0.2.2:8000 timeout=30 seed=1`: address of the server, seconds it may be silent, and the
//! start of the network's random numbers.

#![no_std]
#![no_main]

use core::net::SocketAddr;

use cortex_m_rt::entry;
use embedded_nal::TcpClientStack;
use smoltcp::time::Duration;
use socklab_core::driver::{Error, Next, nonblocking::Connection};
use socklab_core::math::client::{self, Client, Event};
use socklab_firmware::nal::{self, Stack};
use socklab_firmware::{Exit, args, clock, exit, start};
use static_cell::ConstStaticCell;

/// Why there is no secret.
enum Failure {
    Peer(client::Error),
    Network(nal::Error),
    TimedOut,
}

static STORAGE: ConstStaticCell<nal::Sockets<1>> = ConstStaticCell::new(nal::sockets());
static BUFFERS: ConstStaticCell<nal::Buffers<1, 1024, 512>> = ConstStaticCell::new(nal::buffers());

#[entry]
fn main() -> ! {
    let ethernet = start();
    let (mut to, mut timeout, mut seed) = (SocketAddr::from(([10, 0, 2, 2], 8000)), 30, 1);
    let read = args::read(|name, value| match name {
        "to" => args::set(&mut to, value),
        "timeout" => args::set(&mut timeout, value),
        "seed" => args::set(&mut seed, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    let mut stack = Stack::new(ethernet, STORAGE.take(), BUFFERS.take(), seed);
    let result = solve(&mut stack, to, Duration::from_secs(timeout));
    stack.finish();
    exit(match result {
        Ok(()) => Exit::Done,
        Err(Failure::Peer(e)) => {
            defmt::error!("{}", e);
            Exit::Peer
        }
        Err(Failure::Network(e)) => {
            defmt::error!("cannot connect to {}: {}", to, e);
            Exit::Network
        }
        Err(Failure::TimedOut) => {
            defmt::error!("cannot connect to {}: no answer in time", to);
            Exit::Network
        }
    })
}

fn solve<const N: usize>(
    stack: &mut Stack<N>,
    to: SocketAddr,
    timeout: Duration,
) -> Result<(), Failure> {
    defmt::info!("dialling {}", to);
    let mut deadline = clock::now() + timeout;
    let mut socket = stack.socket().map_err(Failure::Network)?;
    while let Err(e) = stack.connect(&mut socket, to) {
        let failure = match e {
            nb::Error::WouldBlock if clock::now() < deadline => {
                stack.wait(Some(deadline));
                stack.poll();
                continue;
            }
            nb::Error::WouldBlock => Failure::TimedOut,
            nb::Error::Other(e) => Failure::Network(e),
        };
        stack.close(socket).map_err(Failure::Network)?;
        return Err(failure);
    }

    let connection = Connection::new(socket, Client::new(), [0; 64], [0; 64]);
    let mut connection = connection.expect("a message has 9 bytes");
    let result = loop {
        match connection.next(stack) {
            Ok(next) => {
                deadline = clock::now() + timeout;
                match next {
                    Next::Event(Event::Question(question)) => {
                        let (a, b, sum) = (question.a, question.b, question.sum());
                        defmt::info!("{=u32} + {=u32} = {=u32}", a, b, sum);
                    }
                    Next::Event(Event::Secret(secret)) => {
                        defmt::info!("secret: {=[u8]:a}", secret.0);
                    }
                    Next::Close | Next::Abort => break Ok(()),
                    Next::Command | Next::Boundary => {}
                }
            }
            Err(nb::Error::WouldBlock) => {
                stack.wait(Some(deadline));
                stack.poll();
                if clock::now() >= deadline {
                    connection.time_out();
                }
            }
            Err(nb::Error::Other(Error::Protocol(e))) => break Err(Failure::Peer(e)),
            Err(nb::Error::Other(Error::Transport(e))) => break Err(Failure::Network(e)),
            Err(nb::Error::Other(_)) => defmt::unreachable!("the client gives no command"),
        }
    };
    if let Some(fault) = connection.fault() {
        defmt::warn!("network error: {}", fault);
    }
    // An orderly close, because otherwise the server keeps a connection without a peer.
    stack.close(connection.into_socket()).map_err(Failure::Network)?;
    result
}
