//! On embassy-net: two stacks, joined by a cable in memory.
//!
//! A board has one stack, a driver for its network hardware, and `embassy-executor` to run both tasks.
//!
//! `cargo run -p socklab-core --example embassy --features embedded-io-async`

use std::pin::pin;

use embassy_net::driver::{HardwareAddress, LinkState};
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::{self as channel, Device, RxRunner, State, TxRunner};
use embassy_time::{Duration, Timer, with_timeout};
use futures_lite::future::{or, zip};
use socklab_core::driver::asynch::Halves;

mod common;
#[path = "common/asynch.rs"]
mod ends;
use common::{MESSAGES, QUIZ, describe, replied};

const MTU: usize = 1500;
const CLIENT: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// Waits for as long as the machine asks for, or for the limit of this program: ten seconds.
async fn timer(idle_ms: Option<u16>) {
    Timer::after_millis(idle_ms.map_or(10_000, u64::from)).await;
}

/// Closes a connection after `Next::Close`: sends FIN, and waits until the peer has acknowledged it
/// with all that was sent before. A socket that is dropped earlier leaves the stack, and what it had
/// not sent is lost.
pub(crate) async fn close(socket: &mut TcpSocket<'_>) {
    socket.close();
    // The peer may be gone, and would be waited for indefinitely.
    let _ = with_timeout(Duration::from_secs(10), socket.flush()).await;
}

/// Resets a connection after `Next::Abort`, and waits until RST has been sent.
pub(crate) async fn abort(socket: &mut TcpSocket<'_>) {
    socket.abort();
    let _ = with_timeout(Duration::from_secs(10), socket.flush()).await;
}

/// Carries the packets of one direction.
async fn carry(from: &mut TxRunner<'_, MTU>, to: &mut RxRunner<'_, MTU>) {
    loop {
        let packet = from.tx_buf().await;
        let length = packet.len();
        to.rx_buf().await[..length].copy_from_slice(packet);
        to.rx_done(length);
        from.tx_done();
    }
}

/// Runs `task` with a client's and a server's stack.
async fn networked<T>(task: impl AsyncFnOnce(Stack<'_>, Stack<'_>) -> T) -> T {
    let (mut here, mut there) = (State::<MTU, 4, 4>::new(), State::<MTU, 4, 4>::new());
    let (here, client) = channel::new(&mut here, HardwareAddress::Ip);
    let (there, server) = channel::new(&mut there, HardwareAddress::Ip);
    let (mut resources, mut others) = (StackResources::<2>::new(), StackResources::<2>::new());
    let stack = |device, address, resources| {
        let address = Ipv4Cidr::new(address, 24);
        let config = StaticConfigV4 { address, gateway: None, dns_servers: Default::default() };
        embassy_net::new(device, Config::ipv4_static(config), resources, 1)
    };
    let (client, mut client_runner): (_, Runner<'_, Device<'_, MTU>>) =
        stack(client, CLIENT, &mut resources);
    let (server, mut server_runner) = stack(server, SERVER, &mut others);
    let (link, mut client_rx, mut client_tx) = here.split();
    link.set_link_state(LinkState::Up);
    let (link, mut server_rx, mut server_tx) = there.split();
    link.set_link_state(LinkState::Up);
    let network = zip(
        zip(client_runner.run(), server_runner.run()),
        zip(carry(&mut client_tx, &mut server_rx), carry(&mut server_tx, &mut client_rx)),
    );
    let network = async {
        network.await;
        unreachable!("the network runs as long as it is polled")
    };
    or(pin!(task(client, server)), network).await
}

async fn connected<T>(stack: Stack<'_>, task: impl AsyncFnOnce(&mut TcpSocket<'_>) -> T) -> T {
    let (mut received, mut sent) = ([0; 256], [0; 256]);
    let mut socket = TcpSocket::new(stack, &mut received, &mut sent);
    socket.connect((SERVER, 8000)).await.unwrap();
    task(&mut socket).await
}

async fn accepted(stack: Stack<'_>, task: impl AsyncFnOnce(&mut TcpSocket<'_>)) {
    let (mut received, mut sent) = ([0; 256], [0; 256]);
    let mut socket = TcpSocket::new(stack, &mut received, &mut sent);
    socket.accept(8000).await.unwrap();
    task(&mut socket).await;
}

pub(crate) async fn transcript() -> Vec<String> {
    let math = networked(async |here, there| {
        let client = connected(here, async |socket| {
            let (reader, writer) = socket.split();
            let lines = ends::math_client(Halves(reader, writer), timer).await;
            close(socket).await;
            lines
        });
        let server = accepted(there, async |socket| {
            let (reader, writer) = socket.split();
            ends::math_server(Halves(reader, writer), timer).await;
            close(socket).await;
        });
        zip(client, server).await.0
    });
    let echo = networked(async |here, there| {
        let client = connected(here, async |socket| {
            let (reader, writer) = socket.split();
            let lines = ends::echo_client(Halves(reader, writer), timer).await;
            close(socket).await;
            lines
        });
        let server = accepted(there, async |socket| {
            let (reader, writer) = socket.split();
            ends::echo_server(Halves(reader, writer), timer).await;
            close(socket).await;
        });
        zip(client, server).await.0
    });
    [math.await, echo.await].concat()
}

/// Returns what a client reads from a server that resets the connection.
pub(crate) async fn reset() -> Result<usize, embassy_net::tcp::Error> {
    networked(async |here, there| {
        let client = connected(here, async |socket| socket.read(&mut [0; 1]).await);
        let server = accepted(there, async |socket| abort(socket).await);
        zip(client, server).await.0
    })
    .await
}

fn main() {
    assert_eq!(async_io::block_on(reset()), Err(embassy_net::tcp::Error::ConnectionReset));
    async_io::block_on(transcript()).iter().for_each(|line| println!("{line}"));
}
