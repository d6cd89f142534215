//! Minimal server for this protocol with mio. Unlike a real server, it assumes that writes are never short, that no
//! client is idle, and that descriptors never run out.

use std::io::{ErrorKind, Read, Write};

use fastrand::Rng;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socklab_core::math::{Question, Secret};

struct Connection {
    stream: TcpStream,
    expected: u32,
    left: u16,
    received: u8,
    answer: [u8; 4],
}

pub(crate) fn serve(rounds: u16) -> ! {
    let listener =
        TcpListener::bind("127.0.0.1:0".parse().expect("invalid address")).expect("no free port");
    crate::common::report_address(listener.local_addr().expect("no address"));
    serve_on(listener, rounds)
}

pub(crate) fn serve_on(mut listener: TcpListener, rounds: u16) -> ! {
    const LISTENER: Token = Token(usize::MAX);
    let mut poll = Poll::new().expect("cannot create a poll instance");
    let mut events = Events::with_capacity(1024);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .expect("cannot register for events");
    let mut connections: Slab<Connection> = Slab::new();
    let mut rng = Rng::new();
    loop {
        poll.poll(&mut events, None).expect("cannot poll");
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).expect("cannot set a socket option");
                    let entry = connections.vacant_entry();
                    poll.registry()
                        .register(&mut stream, Token(entry.key()), Interest::READABLE)
                        .expect("cannot register for events");
                    let mut connection = Connection {
                        stream,
                        expected: 0,
                        left: rounds,
                        received: 0,
                        answer: [0; 4],
                    };
                    connection.ask(&mut rng);
                    entry.insert(connection);
                }
                continue;
            }
            let Token(key) = event.token();
            if !connections[key].handle_event(&mut rng, event.is_read_closed()) {
                connections.remove(key);
            }
        }
    }
}

impl Connection {
    fn ask(&mut self, rng: &mut Rng) {
        let question = Question { a: rng.u32(..1 << 30), b: rng.u32(..1 << 30) };
        self.expected = question.sum();
        self.left -= 1;
        // An error is ignored here, since the next read returns it too.
        let _ = self.stream.write(&question.emit());
    }

    /// Handles an event. Returns whether the connection continues.
    fn handle_event(&mut self, rng: &mut Rng, closed: bool) -> bool {
        loop {
            let received = usize::from(self.received);
            match self.stream.read(&mut self.answer[received..]) {
                Ok(0) => return false,
                Ok(n) => self.received += n as u8,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            if self.received < 4 {
                continue;
            }
            self.received = 0;
            if u32::from_be_bytes(self.answer) != self.expected {
                return false;
            }
            if self.left == 0 {
                let _ = self.stream.write(&Secret(*b"opensesm").emit());
                return false;
            }
            self.ask(rng);
            // The client waits for the question, so there is nothing more to read.
            if !closed {
                return true;
            }
        }
    }
}
