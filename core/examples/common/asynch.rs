//! Both ends of both protocols as async functions, for any executor.

use embedded_io_async::{Read, Write};
use socklab_core::driver::{
    Next,
    asynch::{Connection, Halves},
};
use socklab_core::{echo, math};

use super::{MESSAGES, QUIZ, replied, told};

pub(crate) async fn math_client<R: Read, W: Write>(reader: R, writer: W) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client =
        Connection::new(Halves(reader, writer), math::Client::new(), [0; 64], [0; 64]).unwrap();
    loop {
        match client.next().await.unwrap() {
            Next::Event(event) => lines.push(told(event)),
            _ => return lines,
        }
    }
}

pub(crate) async fn math_server<R: Read, W: Write>(reader: R, writer: W) {
    let mut says = QUIZ.into_iter();
    let mut server =
        Connection::new(Halves(reader, writer), math::Server::new(), [0; 64], [0; 64]).unwrap();
    loop {
        match server.next().await.unwrap() {
            Next::Command => server.command(says.next().unwrap()).await.unwrap(),
            Next::Close => return,
            _ => {}
        }
    }
}

pub(crate) async fn echo_client<R: Read, W: Write>(reader: R, writer: W) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client =
        Connection::new(Halves(reader, writer), echo::Client::new(), [0; 64], [0; 128]).unwrap();
    for message in MESSAGES {
        client.command(echo::client::Command::Send(message)).await.unwrap();
    }
    client.command(echo::client::Command::Finish).await.unwrap();
    loop {
        match client.next().await.unwrap() {
            Next::Event(event) => replied(&mut lines, event),
            _ => return lines,
        }
    }
}

pub(crate) async fn echo_server<R: Read, W: Write>(reader: R, writer: W) {
    let mut server =
        Connection::new(Halves(reader, writer), echo::Server::new(), [0; 64], [0; 64]).unwrap();
    while let Next::Event(_) = server.next().await.unwrap() {}
}
