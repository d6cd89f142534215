//! On tokio: `embedded-io-adapters` makes a `TcpStream` what the async driver takes.
//!
//! `cargo run -p socklab-core --example tokio --features embedded-io-async`

use std::io;

use embedded_io_adapters::tokio_1::FromTokio;
use tokio::net::{TcpListener, TcpStream, tcp};

mod common;
#[path = "common/asynch.rs"]
mod ends;
use common::{MESSAGES, QUIZ, replied, told};

type Halves = (FromTokio<tcp::OwnedReadHalf>, FromTokio<tcp::OwnedWriteHalf>);

/// The two halves of a stream, as the driver takes them.
fn halves(stream: TcpStream) -> Halves {
    let (reader, writer) = stream.into_split();
    (FromTokio::new(reader), FromTokio::new(writer))
}

async fn connected() -> io::Result<(Halves, Halves)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((halves(client), halves(listener.accept().await?.0)))
}

pub(crate) async fn transcript() -> io::Result<Vec<String>> {
    let (client, server) = connected().await?;
    let client = ends::math_client(client.0, client.1);
    let (mut lines, ()) = tokio::join!(client, ends::math_server(server.0, server.1));
    let (client, server) = connected().await?;
    let client = ends::echo_client(client.0, client.1);
    let (replies, ()) = tokio::join!(client, ends::echo_server(server.0, server.1));
    lines.extend(replies);
    Ok(lines)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    transcript().await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
