//! On threads of std: a blocking `TcpStream`, through `embedded-io-adapters`.
//!
//! `cargo run -p socklab-core --example threads --features embedded-io`

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use embedded_io_adapters::std::FromStd;
use socklab_core::driver::{Next, blocking::Connection};
use socklab_core::{Machine, echo, math};

mod common;
use common::{MESSAGES, QUIZ, describe, replied};

type Connected<M> = Connection<FromStd<TcpStream>, M, [u8; 64], [u8; 64]>;

fn connection<M: Machine>(stream: TcpStream, machine: M) -> Connected<M> {
    Connection::new(FromStd::new(stream), machine, [0; 64], [0; 64]).unwrap()
}

fn math_client(stream: TcpStream) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client = connection(stream, math::Client::new());
    while let Next::Event(event) = client.next().unwrap() {
        lines.push(describe(event));
    }
    lines
}

fn math_server(stream: TcpStream) {
    let mut commands = QUIZ.into_iter();
    let mut server = connection(stream, math::Server::new());
    loop {
        match server.next().unwrap() {
            Next::Command => server.command(commands.next().unwrap()).unwrap(),
            Next::Close => return,
            _ => {}
        }
    }
}

fn echo_client(stream: TcpStream) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client = connection(stream, echo::Client::new());
    for message in MESSAGES {
        client.command(echo::client::Command::Send(message)).unwrap();
    }
    client.command(echo::client::Command::Finish).unwrap();
    while let Next::Event(event) = client.next().unwrap() {
        replied(&mut lines, event);
    }
    lines
}

fn echo_server(stream: TcpStream) {
    let mut server = connection(stream, echo::Server::new());
    while let Next::Event(_) = server.next().unwrap() {}
}

pub(crate) fn transcript() -> io::Result<Vec<String>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let dialling = thread::spawn(move || -> io::Result<Vec<String>> {
        let mut lines = math_client(TcpStream::connect(address)?);
        lines.extend(echo_client(TcpStream::connect(address)?));
        Ok(lines)
    });
    math_server(listener.accept()?.0);
    echo_server(listener.accept()?.0);
    dialling.join().unwrap()
}

fn main() -> io::Result<()> {
    transcript()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
