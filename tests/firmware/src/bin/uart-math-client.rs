//! Solves the math quiz of a server at the other end of UART0 and logs the secret.
//!
//! `timeout=30 stall=false`: seconds the server may be silent, and whether the main loop does nothing until
//! bytes were lost, which the tests use.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use smoltcp::time::Duration;
use socklab_core::driver::{Error, Next, polled::Connection};
use socklab_core::math::client::{Client, Event};
use socklab_firmware::uart::{self, Uart};
use socklab_firmware::{Exit, args, clock, exit, start_uart};

#[entry]
fn main() -> ! {
    let uart = start_uart();
    let (mut timeout, mut stall) = (30, false);
    let read = args::read(|name, value| match name {
        "timeout" => args::set(&mut timeout, value),
        "stall" => args::set(&mut stall, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    while stall && uart::check().is_ok() {}
    exit(solve(uart, Duration::from_secs(timeout)))
}

fn solve(uart: Uart, timeout: Duration) -> Exit {
    let connection = Connection::new(uart, Client::new(), [0; 64], [0; 16]);
    let mut connection = connection.expect("a message has 9 bytes");
    let mut deadline = clock::now() + timeout;
    let mut result = loop {
        match connection.next() {
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
                    Next::Close | Next::Abort => break Exit::Done,
                    Next::Command | Next::Boundary => {}
                }
            }
            Err(nb::Error::WouldBlock) => {
                uart::sleep();
                // The line does not report that the server is gone.
                if clock::now() >= deadline {
                    connection.time_out();
                }
            }
            Err(nb::Error::Other(Error::Protocol(e))) => {
                defmt::error!("{}", e);
                break Exit::Peer;
            }
            // It is logged below.
            Err(nb::Error::Other(Error::Transport(_))) => break Exit::Network,
            Err(nb::Error::Other(_)) => defmt::unreachable!("the client gives no command"),
        }
    };
    connection.into_transport().finish();
    match uart::check() {
        Ok(()) => defmt::info!("no bytes lost"),
        Err(uart::Lost(n)) => {
            defmt::error!("{=u32} bytes lost: the main loop is too slow", n);
            result = Exit::Network;
        }
    }
    result
}
