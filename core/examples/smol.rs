//! On smol: `futures` traits through `embedded-io-adapters`.
//!
//! It uses the crates that smol consists of: `smol::Async` is [`async_io::Async`], `smol::future` is
//! [`futures_lite::future`], `smol::block_on` is [`async_io::block_on`].
//!
//! `cargo run -p socklab-core --example smol --features embedded-io-async`

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use async_io::{Async, Timer};
use embedded_io_adapters::futures_03::FromFutures;
use futures_lite::future::zip;
use socklab_core::driver::asynch::Halves;

mod common;
#[path = "common/asynch.rs"]
mod ends;
use common::{MESSAGES, QUIZ, describe, replied};

type Half<'s> = FromFutures<&'s Async<TcpStream>>;

/// Returns a reader and a writer of one stream. `Async` reads and writes through a shared reference.
fn transport(stream: &Async<TcpStream>) -> Halves<Half<'_>, Half<'_>> {
    Halves(FromFutures::new(stream), FromFutures::new(stream))
}

/// Waits for as long as the machine asks for, or for the limit of this program: ten seconds.
async fn timer(idle_ms: Option<u16>) {
    Timer::after(Duration::from_millis(idle_ms.map_or(10_000, u64::from))).await;
}

async fn connected() -> io::Result<(Async<TcpStream>, Async<TcpStream>)> {
    let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = Async::<TcpStream>::connect(listener.get_ref().local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

pub(crate) async fn transcript() -> io::Result<Vec<String>> {
    let (client, server) = connected().await?;
    // `move`: each end closes its stream when it has finished, which the other end may wait for.
    let (mut lines, ()) =
        zip(async move { ends::math_client(transport(&client), timer).await }, async move {
            ends::math_server(transport(&server), timer).await
        })
        .await;
    let (client, server) = connected().await?;
    let (replies, ()) =
        zip(async move { ends::echo_client(transport(&client), timer).await }, async move {
            ends::echo_server(transport(&server), timer).await
        })
        .await;
    lines.extend(replies);
    Ok(lines)
}

fn main() -> io::Result<()> {
    async_io::block_on(transcript())?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
