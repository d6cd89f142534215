//! Both ends of both protocols as async functions, for any executor.
//!
//! Each gets a transport and a timer, which ends a session whose peer is silent for too long.

use socklab_core::driver::{
    Next,
    asynch::{Connection, Transport},
};
use socklab_core::{echo, math};

use super::{MESSAGES, QUIZ, describe, replied};

pub(crate) async fn math_client<F: Future<Output = ()>>(
    transport: impl Transport,
    mut timer: impl FnMut(Option<u16>) -> F,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client = Connection::new(transport, math::Client::new(), [0; 64], [0; 64]).unwrap();
    loop {
        match client.next_within(&mut timer).await.unwrap() {
            Next::Event(event) => lines.push(describe(event)),
            Next::Close => return lines,
            other => unreachable!("{other:?}"),
        }
    }
}

pub(crate) async fn math_server<F: Future<Output = ()>>(
    transport: impl Transport,
    mut timer: impl FnMut(Option<u16>) -> F,
) {
    let mut commands = QUIZ.into_iter();
    let mut server = Connection::new(transport, math::Server::new(), [0; 64], [0; 64]).unwrap();
    loop {
        match server.next_within(&mut timer).await.unwrap() {
            Next::Event(_) | Next::Boundary => {}
            Next::Command => server.command(commands.next().unwrap()).await.unwrap(),
            Next::Close => return,
            Next::Abort => unreachable!(),
        }
    }
}

pub(crate) async fn echo_client<F: Future<Output = ()>>(
    transport: impl Transport,
    mut timer: impl FnMut(Option<u16>) -> F,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut client = Connection::new(transport, echo::Client::new(), [0; 64], [0; 128]).unwrap();
    for message in MESSAGES {
        client.command(echo::client::Command::Send(message)).await.unwrap();
    }
    client.command(echo::client::Command::Finish).await.unwrap();
    loop {
        match client.next_within(&mut timer).await.unwrap() {
            Next::Event(event) => replied(&mut lines, event),
            Next::Boundary => {}
            Next::Close => return lines,
            other => unreachable!("{other:?}"),
        }
    }
}

pub(crate) async fn echo_server<F: Future<Output = ()>>(
    transport: impl Transport,
    mut timer: impl FnMut(Option<u16>) -> F,
) {
    let mut server = Connection::new(transport, echo::Server::new(), [0; 64], [0; 64]).unwrap();
    loop {
        match server.next_within(&mut timer).await.unwrap() {
            Next::Event(_) | Next::Boundary => {}
            Next::Close => return,
            other => unreachable!("{other:?}"),
        }
    }
}
