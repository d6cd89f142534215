//! The least that a loop over mio needs for this protocol. It trusts the network more than a
//! server may: a write is never short, nobody is idle too long, descriptors never run out.

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
    have: u8,
    answer: [u8; 4],
}

pub(crate) fn serve(rounds: u16) -> ! {
    const LISTENER: Token = Token(usize::MAX);
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let mut listener =
        TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("to register");
    crate::process::ready(listener.local_addr().expect("its address"));
    let mut connections: Slab<Connection> = Slab::new();
    let mut rng = Rng::new();
    loop {
        poll.poll(&mut events, None).expect("to poll");
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).expect("a socket option");
                    let entry = connections.vacant_entry();
                    poll.registry()
                        .register(&mut stream, Token(entry.key()), Interest::READABLE)
                        .expect("to register");
                    let mut connection =
                        Connection { stream, expected: 0, left: rounds, have: 0, answer: [0; 4] };
                    connection.ask(&mut rng);
                    entry.insert(connection);
                }
                continue;
            }
            let Token(key) = event.token();
            if !connections[key].ready(&mut rng, event.is_read_closed()) {
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
        // Nothing is kept of a write that fails: the read will tell.
        let _ = self.stream.write(&question.emit());
    }

    /// Whether the connection goes on.
    fn ready(&mut self, rng: &mut Rng, closed: bool) -> bool {
        loop {
            let have = usize::from(self.have);
            match self.stream.read(&mut self.answer[have..]) {
                Ok(0) => return false,
                Ok(n) => self.have += n as u8,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            if self.have < 4 {
                continue;
            }
            self.have = 0;
            if u32::from_be_bytes(self.answer) != self.expected {
                return false;
            }
            if self.left == 0 {
                let _ = self.stream.write(&Secret(*b"opensesm").emit());
                return false;
            }
            self.ask(rng);
            // A client that waits for the question has sent no more.
            if !closed {
                return true;
            }
        }
    }
}
