//! Without a driver: two machines face to face, and a loop that carries the bytes.
//!
//! `cargo run -p socklab-core --example by_hand`

use socklab_core::machine::{Action, EventView, Input, Machine, Need, Spans as _, Step};
use socklab_core::{echo, math};

mod common;
use common::{MESSAGES, QUIZ, describe, replied};

/// Steps one end as far as the bytes in `inbox` allow. Returns whether it has finished.
fn go<'c, M: Machine>(
    machine: &mut M,
    inbox: &mut Vec<u8>,
    outbox: &mut Vec<u8>,
    mut event: impl FnMut(EventView<'_, M>),
    mut command: impl FnMut() -> Option<M::Command<'c>>,
) -> bool {
    let mut space = [0; 64];
    loop {
        let step =
            machine.step(Input::open(inbox), &mut space).expect("the peer keeps to the protocol");
        let Step { consumed, written, action } = step;
        let mut commanded = 0;
        let (stop, finished) = match action {
            Action::Event(e) => {
                event(e.view(inbox));
                (false, false)
            }
            Action::Continue | Action::Boundary => (false, false),
            Action::Need(Need::Command | Need::InputOrCommand) => match command() {
                Some(c) => {
                    commanded = machine.command(c, &mut space).expect("it is our turn");
                    (false, false)
                }
                None => (true, false),
            },
            Action::Need(_) => (true, false),
            Action::Close | Action::Abort => (true, true),
        };
        inbox.drain(..consumed);
        outbox.extend(&space[..written + commanded]);
        if stop {
            return finished;
        }
    }
}

fn math() -> Vec<String> {
    let (mut client, mut server) = (math::Client::new(), math::Server::new());
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut lines, mut commands) = (Vec::new(), QUIZ.into_iter());
    loop {
        go(&mut server, &mut to_server, &mut to_client, |_| (), || commands.next());
        if go(&mut client, &mut to_client, &mut to_server, |e| lines.push(describe(e)), || None) {
            return lines;
        }
    }
}

fn echo() -> Vec<String> {
    use echo::client::Command::{Finish, Send};
    let (mut client, mut server) = (echo::Client::new(), echo::Server::new());
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let mut commands = MESSAGES.into_iter().map(Send).chain([Finish]);
    let mut lines = Vec::new();
    loop {
        let event = |e: echo::client::Event<&[u8]>| replied(&mut lines, e);
        if go(&mut client, &mut to_client, &mut to_server, event, || commands.next()) {
            return lines;
        }
        go(&mut server, &mut to_server, &mut to_client, |_| (), || None);
    }
}

pub(crate) fn transcript() -> Vec<String> {
    [math(), echo()].concat()
}

fn main() {
    transcript().iter().for_each(|line| println!("{line}"));
}
