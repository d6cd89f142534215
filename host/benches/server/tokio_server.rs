//! Server with one task for each connection, on the default runtime of tokio.

use std::io;

use fastrand::Rng;
use socklab_core::math::{Question, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
pub(crate) async fn serve(rounds: u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("no free port");
    crate::common::report_address(listener.local_addr().expect("no address"));
    loop {
        let (stream, _) = listener.accept().await.expect("cannot accept");
        tokio::spawn(session(stream, rounds));
    }
}

async fn session(mut stream: TcpStream, rounds: u16) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut rng = Rng::new();
    for _ in 0..rounds {
        let question = Question { a: rng.u32(..1 << 30), b: rng.u32(..1 << 30) };
        stream.write_all(&question.emit()).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if u32::from_be_bytes(answer) != question.sum() {
            return Ok(());
        }
    }
    stream.write_all(&Secret(*b"opensesm").emit()).await
}
