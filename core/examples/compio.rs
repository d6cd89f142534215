//! On compio, where an operation owns its buffer until it completes (io_uring, IOCP).
//!
//! The async driver lends the session's buffers, which such a runtime cannot use. So this program has
//! a [`Session`], a buffer of its own per connection, and a copy of each byte between the two.
//!
//! `cargo run -p socklab-core --example compio`

use std::io;

use compio::BufResult;
use compio::buf::{IntoInner as _, IoBuf as _};
use compio::io::{AsyncRead as _, AsyncWrite as _};
use compio::net::{TcpListener, TcpStream};
use futures_lite::future::try_zip;
use socklab_core::machine::{EventView, Machine, StreamEnd};
use socklab_core::session::{Polled, Session, Want};
use socklab_core::{echo, math};

mod common;
use common::{MESSAGES, QUIZ, describe, replied};

type End<M> = Session<M, [u8; 64], [u8; 128]>;

/// A connected stream and the buffer that its operations own in turn.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    async fn read<M: Machine>(&mut self, session: &mut End<M>) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // No more than the session has space for. The operation uses the capacity of the buffer.
        buffer.reserve_exact(64);
        let space = session.recv_space().len();
        let BufResult(read, buffer) = self.stream.read(buffer.slice(..space)).await;
        self.buffer = buffer.into_inner();
        match read? {
            0 => session.ended(StreamEnd::Closed),
            n => {
                session.recv_space()[..n].copy_from_slice(&self.buffer[..n]);
                session.received(n);
            }
        }
        Ok(())
    }

    async fn write<M: Machine>(&mut self, session: &mut End<M>) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(session.transmit());
        let BufResult(written, buffer) = self.stream.write(buffer).await;
        self.buffer = buffer;
        session.transmitted(written?);
        Ok(())
    }
}

/// Runs one end, and closes its stream when the session has finished.
async fn run<'c, M: Machine>(
    stream: TcpStream,
    machine: M,
    mut event: impl FnMut(EventView<'_, M>),
    mut command: impl FnMut() -> Option<M::Command<'c>>,
) -> io::Result<()> {
    let mut session = Session::new(machine, [0; 64], [0; 128]).map_err(io::Error::other)?;
    let mut wire = Wire { stream, buffer: Vec::new() };
    loop {
        match session.poll().expect("the peer keeps to the protocol") {
            Polled::Event(e) => event(session.view(e)),
            Polled::Want(Want::Write) => wire.write(&mut session).await?,
            Polled::Want(Want::Flush) => session.flushed(),
            Polled::Want(Want::Boundary) => {}
            Polled::Want(want @ (Want::Command | Want::ReadOrWrite)) => match command() {
                Some(c) => session.command(c).expect("there is space, and it is our turn"),
                None if want == Want::Command => panic!("no command in the application's turn"),
                // One direction at a time: an unfinished read is not dropped, since its bytes would be
                // lost.
                None if !session.transmit().is_empty() => wire.write(&mut session).await?,
                None => wire.read(&mut session).await?,
            },
            Polled::Want(Want::Read { .. }) => wire.read(&mut session).await?,
            Polled::Want(want) => {
                assert!(want == Want::Close, "{want:?}");
                return wire.stream.shutdown().await;
            }
        }
    }
}

async fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (client, server) = try_zip(TcpStream::connect(address), listener.accept()).await?;
    Ok((client, server.0))
}

async fn math() -> io::Result<Vec<String>> {
    let (client, server) = connected().await?;
    let (mut lines, mut commands) = (Vec::new(), QUIZ.into_iter());
    let client = run(client, math::Client::new(), |e| lines.push(describe(e)), || None);
    let server = run(server, math::Server::new(), |_| (), || commands.next());
    try_zip(client, server).await?;
    Ok(lines)
}

async fn echo() -> io::Result<Vec<String>> {
    use echo::client::Command::{Finish, Send};
    let (client, server) = connected().await?;
    let (mut lines, mut commands) = (Vec::new(), MESSAGES.into_iter().map(Send).chain([Finish]));
    let client = run(client, echo::Client::new(), |e| replied(&mut lines, e), || commands.next());
    let server = run(server, echo::Server::new(), |_| (), || None);
    try_zip(client, server).await?;
    Ok(lines)
}

pub(crate) async fn transcript() -> io::Result<Vec<String>> {
    Ok([math().await?, echo().await?].concat())
}

fn main() -> io::Result<()> {
    let runtime = compio::runtime::Runtime::new()?;
    runtime.block_on(transcript())?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
