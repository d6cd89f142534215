//! On tokio: `embedded-io-adapters` makes a `TcpStream` what the async driver takes.
//!
//! `cargo run -p socklab-core --example tokio --features embedded-io-async`

use std::io;
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use socklab_core::driver::asynch::Halves;
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::time::sleep;

mod common;
#[path = "common/asynch.rs"]
mod ends;
use common::{MESSAGES, QUIZ, describe, replied};

fn transport(
    stream: TcpStream,
) -> Halves<FromTokio<tcp::OwnedReadHalf>, FromTokio<tcp::OwnedWriteHalf>> {
    let (reader, writer) = stream.into_split();
    Halves(FromTokio::new(reader), FromTokio::new(writer))
}

/// Waits for as long as the machine asks for, or for the limit of this program: ten seconds.
async fn timer(idle_ms: Option<u16>) {
    sleep(Duration::from_millis(idle_ms.map_or(10_000, u64::from))).await;
}

async fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

pub(crate) async fn transcript() -> io::Result<Vec<String>> {
    let (client, server) = connected().await?;
    let (mut lines, ()) = tokio::join!(
        ends::math_client(transport(client), timer),
        ends::math_server(transport(server), timer),
    );
    let (client, server) = connected().await?;
    let (replies, ()) = tokio::join!(
        ends::echo_client(transport(client), timer),
        ends::echo_server(transport(server), timer),
    );
    lines.extend(replies);
    Ok(lines)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    transcript().await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
