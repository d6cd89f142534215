//! A serial line without an operating system: an interrupt fills a `heapless::spsc` queue, and the main loop
//! drives machines through the polled driver, which never waits.
//!
//! ```text
//!   interrupt                                   main loop
//!
//!   byte received  --> receive  queue --> Read,  ReadReady  --> polled::Connection
//!   byte sent      <-- transmit queue <-- Write, WriteReady <--
//! ```
//!
//! Here a thread stands for the interrupts and for the wires between two boards, and one main loop
//! drives both ends. `tests/firmware/src/uart.rs` is the same on a Cortex-M3.
//!
//! `cargo run -p socklab-core --example interrupt --features embedded-io,heapless`

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use embedded_io::{Error, ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::spsc::{Consumer, Producer, Queue};
use socklab_core::driver::{Next, polled::Connection};
use socklab_core::{Machine, echo, math};

mod common;
use common::{MESSAGES, QUIZ, describe, replied};

/// Capacity of a queue in bytes, and 1. A serial line without flow control does not stop the peer: the
/// queue must hold what arrives while the main loop does something else.
const QUEUE: usize = 129;

/// Bytes were lost, because the receive queue was full.
#[derive(Clone, Copy, Debug)]
struct Lost(u32);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes lost: the receive queue was full", self.0)
    }
}

impl std::error::Error for Lost {}

impl Error for Lost {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The main loop's side of a UART.
struct Uart<'q> {
    received: Consumer<'q, u8>,
    to_send: Producer<'q, u8>,
    lost: &'q AtomicU32,
}

impl ErrorType for Uart<'_> {
    type Error = Lost;
}

impl ReadReady for Uart<'_> {
    fn read_ready(&mut self) -> Result<bool, Lost> {
        match self.lost.load(Ordering::Relaxed) {
            0 => Ok(self.received.ready()),
            // A protocol without checksums would take the next byte for the lost one.
            n => Err(Lost(n)),
        }
    }
}

impl Read for Uart<'_> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Lost> {
        // The polled driver reads when the line is ready only. Other callers may wait here.
        while !self.read_ready()? && !space.is_empty() {
            thread::yield_now();
        }
        let mut n = 0;
        for (to, byte) in space.iter_mut().zip(std::iter::from_fn(|| self.received.dequeue())) {
            *to = byte;
            n += 1;
        }
        Ok(n)
    }
}

impl WriteReady for Uart<'_> {
    fn write_ready(&mut self) -> Result<bool, Lost> {
        Ok(self.to_send.ready())
    }
}

impl Write for Uart<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        while !self.to_send.ready() && !bytes.is_empty() {
            thread::yield_now();
        }
        Ok(bytes.iter().take_while(|byte| self.to_send.enqueue(**byte).is_ok()).count())
    }

    /// The interrupt sends what is queued.
    fn flush(&mut self) -> Result<(), Lost> {
        Ok(())
    }
}

/// The interrupt for a received byte. It must not wait, and must not lose a byte without a trace.
fn on_received(byte: u8, queue: &mut Producer<'_, u8>, lost: &AtomicU32) {
    if queue.enqueue(byte).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

type Board<'q, M> = Connection<Uart<'q>, M, [u8; 64], [u8; 128]>;

/// Connects two UARTs by wires, and runs a main loop over both until it returns lines.
fn over_wires<C: Machine, S: Machine>(
    client: C,
    server: S,
    main_loop: impl FnOnce(Board<'_, C>, Board<'_, S>) -> Vec<String>,
) -> Vec<String> {
    let mut queues = [const { Queue::<u8, QUEUE>::new() }; 4];
    let lost = [const { AtomicU32::new(0) }; 2];
    let is_over = AtomicBool::new(false);
    let [
        (mut received, here),
        (to_send, mut sent),
        (mut received_there, there),
        (reply, mut replied),
    ] = queues.each_mut().map(Queue::split);
    let uarts = [
        Uart { received: here, to_send, lost: &lost[0] },
        Uart { received: there, to_send: reply, lost: &lost[1] },
    ];
    let [here, there] = uarts;
    let client = Connection::new(here, client, [0; 64], [0; 128]).unwrap();
    let server = Connection::new(there, server, [0; 64], [0; 128]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Some(byte) = sent.dequeue() {
                    on_received(byte, &mut received_there, &lost[1]);
                }
                if let Some(byte) = replied.dequeue() {
                    on_received(byte, &mut received, &lost[0]);
                }
                thread::yield_now();
            }
        });
        let lines = main_loop(client, server);
        is_over.store(true, Ordering::Relaxed);
        lines
    })
}

/// Sleeps until the next interrupt.
fn sleep() {
    thread::yield_now();
}

fn quiz(mut client: Board<'_, math::Client>, mut server: Board<'_, math::Server>) -> Vec<String> {
    let (mut lines, mut says) = (Vec::new(), QUIZ.into_iter());
    loop {
        match server.next() {
            Ok(Next::Command) => server.command(says.next().unwrap()).unwrap(),
            Ok(_) | Err(nb::Error::WouldBlock) => {}
            Err(nb::Error::Other(e)) => panic!("{e}"),
        }
        match client.next() {
            Ok(Next::Event(event)) => lines.push(describe(event)),
            Ok(Next::Close) => return lines,
            Ok(_) => {}
            Err(nb::Error::WouldBlock) => sleep(),
            Err(nb::Error::Other(e)) => panic!("{e}"),
        }
    }
}

fn echo(mut client: Board<'_, echo::Client>, mut server: Board<'_, echo::Server>) -> Vec<String> {
    use echo::client::Command::{Finish, Send};
    let (mut lines, mut says) = (Vec::new(), MESSAGES.into_iter().map(Send).chain([Finish]));
    let mut next = says.next();
    loop {
        if let Some(command) = next
            && client.command(command).is_ok()
        {
            next = says.next();
        }
        match server.next() {
            Ok(_) | Err(nb::Error::WouldBlock) => {}
            Err(nb::Error::Other(e)) => panic!("{e}"),
        }
        match client.next() {
            Ok(Next::Event(event)) => replied(&mut lines, event),
            Ok(Next::Close) => return lines,
            Ok(_) => {}
            Err(nb::Error::WouldBlock) => sleep(),
            Err(nb::Error::Other(e)) => panic!("{e}"),
        }
    }
}

pub(crate) fn transcript() -> Vec<String> {
    let lines = over_wires(math::Client::new(), math::Server::new(), quiz);
    [lines, over_wires(echo::Client::new(), echo::Server::new(), echo)].concat()
}

fn main() {
    transcript().iter().for_each(|line| println!("{line}"));
}
