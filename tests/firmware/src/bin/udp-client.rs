//! Sends messages in datagrams, checks the replies, and logs a summary.
//!
//! `to=10.0.2.2:3456 messages=5 timeout=1000 retries=2 seed=1`: address of the server, number of
//! messages, milliseconds to wait for each reply, and how often a message is sent again.

#![no_std]
#![no_main]

use core::fmt::Write as _;
use core::net::SocketAddr;

use cortex_m_rt::entry;
use embedded_nal::UdpClientStack;
use smoltcp::time::Duration;
use socklab_core::datagram::Timer;
use socklab_core::driver::datagrams::{Client, Error};
use socklab_core::udp;
use socklab_core::udp::client::{Event, Limits, Summary};
use socklab_firmware::nal::udp::LONGEST;
use socklab_firmware::nal::{self, Stack};
use socklab_firmware::{Exit, args, clock, exit, start};
use static_cell::ConstStaticCell;

/// Most bytes of a message.
const MESSAGE: usize = 64;

static STORAGE: ConstStaticCell<nal::Sockets<1>> = ConstStaticCell::new(nal::sockets());
static QUEUES: ConstStaticCell<nal::udp::Queues<1>> = ConstStaticCell::new(nal::udp::queues());
/// Space for two of the longest datagrams that can arrive, or more short ones.
static BUFFERS: ConstStaticCell<nal::Buffers<1, { 2 * LONGEST }, MESSAGE>> =
    ConstStaticCell::new(nal::buffers());

#[entry]
fn main() -> ! {
    let ethernet = start();
    let mut to = SocketAddr::from(([10, 0, 2, 2], 3456));
    let (mut messages, mut limits, mut seed) = (5, Limits::default(), 1);
    let read = args::read(|name, value| match name {
        "to" => args::set(&mut to, value),
        "messages" => args::set(&mut messages, value),
        "timeout" => args::set(&mut limits.timeout_ms, value),
        "retries" => args::set(&mut limits.retries, value),
        "seed" => args::set(&mut seed, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    let (storage, queues, buffers) = (STORAGE.take(), QUEUES.take(), BUFFERS.take());
    let mut stack = Stack::datagrams(ethernet, storage, queues, buffers, seed);
    exit(match send(&mut stack, to, messages, limits) {
        Ok(summary) => {
            defmt::info!("{}", summary);
            if summary.lost == 0 { Exit::Done } else { Exit::Peer }
        }
        Err(e) => {
            defmt::error!("cannot send to {}: {}", to, e);
            Exit::Network
        }
    })
}

/// Sends the messages one after the other, each until its reply has come or it is lost.
fn send<const N: usize, const D: usize>(
    stack: &mut Stack<N, D>,
    to: SocketAddr,
    messages: u32,
    limits: Limits,
) -> Result<Summary, nal::Error> {
    let mut socket = UdpClientStack::socket(stack)?;
    UdpClientStack::connect(stack, &mut socket, to)?;
    // A reply is shorter than its message.
    let mut client = Client::new(socket, udp::Client::new(to, limits), [0; MESSAGE]);
    for n in 1..=messages {
        let mut message = heapless::String::<MESSAGE>::new();
        write!(message, "Four score and {n} years").expect("a message has at most 32 bytes");
        let message = message.as_bytes();
        client.send(message).expect("the message before has ended");
        let mut deadline = None;
        loop {
            let next = client.next(stack, message);
            match client.timer() {
                Timer::Start(ms) => {
                    deadline = Some(clock::now() + Duration::from_millis(ms.into()));
                }
                Timer::Stop => deadline = None,
                Timer::Keep => {}
            }
            match next {
                Ok(event @ Event::Reply { .. }) => {
                    defmt::info!("{=[u8]:a}: {}", client.received().bytes, event);
                    break;
                }
                Ok(event @ Event::Lost { .. }) => {
                    defmt::error!("message {=u32}: {}", n, event);
                    break;
                }
                Ok(event) => defmt::warn!("message {=u32}: {}", n, event),
                Err(nb::Error::WouldBlock) => {
                    stack.wait(deadline);
                    stack.poll();
                    if deadline.is_some_and(|at| clock::now() >= at) {
                        client.timed_out();
                    }
                }
                Err(nb::Error::Other(Error::Transport(e))) => return Err(e),
                Err(nb::Error::Other(_)) => defmt::unreachable!("the client refused no message"),
            }
        }
    }
    let summary = client.machine().summary();
    UdpClientStack::close(stack, client.into_socket())?;
    Ok(summary)
}
