//! Owned events: one task drives a chat machine, another one is its application, and two channels of
//! embassy-sync connect them.
//!
//! ```text
//!   application  <-- EVENTS: Event<Vec<u8, 128>> --  connection  <==>  peer
//!                --- COMMANDS: Vec<u8, 128> ------>
//! ```
//!
//! On a microcontroller both tasks would be `#[embassy_executor::task]`s over a TCP socket or a UART, with
//! the same statics; here tokio runs them, over pipes in memory.
//!
//! `cargo run -p socklab-core --example channel --features embedded-io-async,heapless`

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::pipe::Pipe;
use heapless::{CapacityError, Vec as Bytes};
use socklab_core::chat::{Chat, Command, Event};
use socklab_core::driver::{
    Next,
    asynch::{Connection, Halves},
};

/// Longest line in bytes that the application accepts and says. A machine's own limit is 1024.
const LINE: usize = 128;

type Line = Bytes<u8, LINE>;

/// What crosses the channel: it borrows nothing, so the connection can read on while the application
/// has it. A longer line is an error here, not a cut line.
type Owned = Result<Event<Line>, CapacityError>;

static EVENTS: Channel<CriticalSectionRawMutex, Owned, 2> = Channel::new();
static COMMANDS: Channel<CriticalSectionRawMutex, Line, 1> = Channel::new();

type Wire = Pipe<CriticalSectionRawMutex, 16>;

static TO_CLIENT: Wire = Wire::new();
static TO_SERVER: Wire = Wire::new();

/// What the peer says, in its turns.
const SAYS: [&[u8]; 3] = [b"hello", &[b'z'; 200], b"bye"];

/// Drives the machine. It knows nothing about what the lines mean.
async fn connection() {
    let halves = Halves(&TO_CLIENT, &TO_SERVER);
    let mut client = Connection::new(halves, Chat::client(), [0; 1025], [0; 1025]).unwrap();
    loop {
        match client.next().await.unwrap() {
            Next::Event(event) => EVENTS.send(event.to_owned()).await,
            Next::Command => {
                let line = COMMANDS.receive().await;
                client.command(Command::Say(&line)).await.unwrap();
            }
            Next::Boundary => {}
            Next::Close | Next::Abort => return,
        }
    }
}

/// Decides what to say. It knows nothing about bytes and buffers.
async fn application() -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let answer: &[u8] = match EVENTS.receive().await {
            Ok(Event::Line(line)) => {
                lines.push(format!("line {}", line.escape_ascii()));
                b"hello, peer"
            }
            Ok(Event::Bye(line)) => {
                lines.push(format!("bye {}", line.escape_ascii()));
                return lines;
            }
            Err(CapacityError { .. }) => {
                lines.push(format!("a line of more than {LINE} bytes"));
                b"too long for me"
            }
        };
        COMMANDS.send(Bytes::from_slice(answer).unwrap()).await;
    }
}

/// The other end, without channels.
async fn peer() -> Vec<String> {
    let halves = Halves(&TO_SERVER, &TO_CLIENT);
    let mut server = Connection::new(halves, Chat::server(), [0; 1025], [0; 1025]).unwrap();
    let (mut says, mut lines) = (SAYS.into_iter(), Vec::new());
    loop {
        match server.next().await.unwrap() {
            Next::Event(Event::Line(line) | Event::Bye(line)) => {
                lines.push(format!("peer {}", line.escape_ascii()));
            }
            Next::Command => server.command(Command::Say(says.next().unwrap())).await.unwrap(),
            Next::Boundary => {}
            Next::Close | Next::Abort => return lines,
        }
    }
}

pub(crate) async fn transcript() -> Vec<String> {
    let tasks = (tokio::spawn(connection()), tokio::spawn(application()), tokio::spawn(peer()));
    tasks.0.await.unwrap();
    [tasks.1.await.unwrap(), tasks.2.await.unwrap()].concat()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    transcript().await.iter().for_each(|line| println!("{line}"));
}
