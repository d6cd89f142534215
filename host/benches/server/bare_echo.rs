//! Minimal server of the echo protocol with mio. Unlike a real server, it assumes that writes are never short, that a
//! message fits its buffer, that payloads are UTF-8, that no client is idle, and that descriptors never run out.

use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

struct Connection {
    stream: TcpStream,
    /// Start of a message that has not been received completely.
    part: Vec<u8>,
}

pub(crate) fn serve() -> ! {
    const LISTENER: Token = Token(usize::MAX);
    let mut poll = Poll::new().expect("cannot create a poll instance");
    let mut events = Events::with_capacity(1024);
    let mut listener =
        TcpListener::bind("127.0.0.1:0".parse().expect("invalid address")).expect("no free port");
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .expect("cannot register for events");
    crate::common::report_address(listener.local_addr().expect("no address"));
    let mut connections: Slab<Connection> = Slab::new();
    let mut input = vec![0; 65_536];
    let mut output = Vec::with_capacity(65_536);
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
                    entry.insert(Connection { stream, part: Vec::new() });
                }
                continue;
            }
            let Token(key) = event.token();
            let closed = event.is_read_closed();
            if !connections[key].handle_event(&mut input, &mut output, closed) {
                connections.remove(key);
            }
        }
    }
}

impl Connection {
    /// Handles an event. Returns whether the connection continues.
    fn handle_event(&mut self, input: &mut [u8], output: &mut Vec<u8>, closed: bool) -> bool {
        loop {
            let before = self.part.len();
            input[..before].copy_from_slice(&self.part);
            let received = match self.stream.read(&mut input[before..]) {
                Ok(0) => return false,
                Ok(n) => before + n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            };
            output.clear();
            let rest = echo(&input[..received], output);
            self.part.clear();
            self.part.extend_from_slice(rest);
            // An error is ignored here, since the next read returns it too.
            let _ = self.stream.write(output);
            // A read that is shorter than the buffer has emptied the socket.
            if received < input.len() && !closed {
                return true;
            }
        }
    }
}

/// Appends the replies to the complete messages. Returns the rest of the input.
fn echo<'i>(mut input: &'i [u8], output: &mut Vec<u8>) -> &'i [u8] {
    while let Some((header, rest)) = input.split_first_chunk() {
        let length = u32::from_be_bytes(*header) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let kept = without_ten_characters(payload);
        output.extend_from_slice(&(kept.len() as u32).to_be_bytes());
        output.extend_from_slice(kept);
        input = rest;
    }
    input
}

fn without_ten_characters(payload: &[u8]) -> &[u8] {
    if let Some((first, rest)) = payload.split_first_chunk::<10>()
        && first.is_ascii()
    {
        return rest;
    }
    let is_first = |byte: &u8| byte & 0xc0 != 0x80;
    let mut starts = payload.iter().enumerate().filter(|(_, byte)| is_first(byte));
    starts.nth(10).map_or(&[], |(at, _)| &payload[at..])
}
