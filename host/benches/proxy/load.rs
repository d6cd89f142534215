//! The client and the server on both sides of a proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

/// Size of a read and a write in bytes.
const BLOCK: usize = 256 << 10;

/// What is transferred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Bytes from the client to the server.
    Up = b'u' as isize,
    /// Bytes from the server to the client.
    Down = b'd' as isize,
    /// Bytes in both directions at the same time.
    Both = b'b' as isize,
}

/// The server. It ends with this process.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
}

impl Target {
    /// Starts a server that sends and receives `size` bytes in each direction of a job.
    pub(crate) fn start(size: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no free port");
        let addr = listener.local_addr().expect("no address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("cannot accept");
                // A connection without a job only shows that a proxy listens.
                thread::spawn(move || serve(stream, size));
            }
        });
        Self { addr }
    }
}

fn serve(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut job = [0];
    stream.read_exact(&mut job)?;
    match &job {
        b"u" => receive(&mut stream, size)?,
        b"d" => send(&mut stream, size)?,
        _ => both(&mut stream, size)?,
    }
    // The client measures until this byte arrives.
    stream.write_all(b".")
}

/// Runs a job through a proxy. Returns the number of bytes in a second.
pub(crate) fn run(addr: SocketAddr, job: Job, size: usize) -> f64 {
    let start = Instant::now();
    let total = transfer(addr, job, size).expect("cannot transfer");
    total as f64 / start.elapsed().as_secs_f64()
}

fn transfer(addr: SocketAddr, job: Job, size: usize) -> io::Result<usize> {
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(&[job as u8])?;
    let total = match job {
        Job::Up => send(&mut stream, size).map(|()| size),
        Job::Down => receive(&mut stream, size).map(|()| size),
        Job::Both => both(&mut stream, size).map(|()| 2 * size),
    }?;
    stream.read_exact(&mut [0])?;
    Ok(total)
}

fn both(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        let sent = scope.spawn(move || send(&mut writer, size));
        receive(stream, size)?;
        sent.join().expect("the thread has panicked")
    })
}

fn send(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let block = vec![7; BLOCK];
    let mut left = size;
    while left > 0 {
        left -= stream.write(&block[..left.min(BLOCK)])?;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = size;
    while left > 0 {
        match stream.read(&mut block[..left.min(BLOCK)])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => left -= n,
        }
    }
    Ok(())
}
