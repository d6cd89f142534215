//! Server with one thread for each connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use fastrand::Rng;
use socklab_core::math::{Question, Secret};

pub(crate) fn serve(rounds: u16) -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("no free port");
    crate::common::report_address(listener.local_addr().expect("no address"));
    loop {
        let (stream, _) = listener.accept().expect("cannot accept");
        thread::spawn(move || session(stream, rounds));
    }
}

fn session(mut stream: TcpStream, rounds: u16) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut rng = Rng::new();
    for _ in 0..rounds {
        let question = Question { a: rng.u32(..1 << 30), b: rng.u32(..1 << 30) };
        stream.write_all(&question.emit())?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        if u32::from_be_bytes(answer) != question.sum() {
            return Ok(());
        }
    }
    stream.write_all(&Secret(*b"opensesm").emit())
}
