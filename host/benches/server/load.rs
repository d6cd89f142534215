//! Load generator: one thread that answers on many connections, or opens many idle ones.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

fn dial(addr: SocketAddr) -> TcpStream {
    let stream = std::net::TcpStream::connect(addr).expect("cannot connect");
    stream.set_nodelay(true).expect("cannot set a socket option");
    stream.set_nonblocking(true).expect("cannot set a socket option");
    TcpStream::from_std(stream)
}

/// Answers `rounds` questions in total, distributed over `connections`.
pub(crate) fn answer(addr: SocketAddr, connections: usize, rounds: usize) {
    let mut poll = Poll::new().expect("cannot create a poll instance");
    let mut events = Events::with_capacity(256);
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| dial(addr)).collect();
    for (i, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(i), Interest::READABLE)
            .expect("cannot register for events");
    }
    let mut answered = 0;
    let mut sessions = vec![0_u32; connections];
    while answered < rounds {
        poll.poll(&mut events, None).expect("cannot poll");
        for event in &events {
            let Token(i) = event.token();
            let mut message = [0; 9];
            loop {
                match streams[i].read(&mut message) {
                    // On loopback, nine bytes written at once are received at once.
                    Ok(9) if message[0] == b'Q' => {
                        let number =
                            |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
                        let sum = number(1).wrapping_add(number(5));
                        assert_eq!(streams[i].write(&sum.to_be_bytes()).expect("cannot write"), 4);
                        answered += 1;
                        sessions[i] += 1;
                    }
                    // The session has ended. The next one starts.
                    Ok(9 | 0) => {
                        poll.registry().deregister(&mut streams[i]).expect("cannot deregister");
                        streams[i] = dial(addr);
                        poll.registry()
                            .register(&mut streams[i], Token(i), Interest::READABLE)
                            .expect("cannot register for events");
                    }
                    Ok(n) => panic!("received {n} bytes of a message"),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("cannot read: {e}"),
                }
            }
        }
    }
}

/// Length of an echo message's payload in bytes.
const PAYLOAD: usize = 64;

/// Sends `messages` echo messages in total, distributed over `connections`, with `in_flight` of each connection under
/// way, and receives their replies.
pub(crate) fn echo(addr: SocketAddr, connections: usize, in_flight: usize, messages: usize) {
    const REPLY: usize = 4 + PAYLOAD - 10;
    let message = [&(PAYLOAD as u32).to_be_bytes()[..], &[b'x'; PAYLOAD]].concat();
    let window = message.repeat(in_flight);
    let mut poll = Poll::new().expect("cannot create a poll instance");
    let mut events = Events::with_capacity(256);
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| dial(addr)).collect();
    let send = |mut stream: &TcpStream, count: usize| {
        let bytes = &window[..count * message.len()];
        assert_eq!(stream.write(bytes).expect("cannot write"), bytes.len());
    };
    for (i, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(i), Interest::READABLE)
            .expect("cannot register for events");
        send(stream, in_flight);
    }
    let (mut sent, mut received) = (connections * in_flight, 0);
    // Bytes received of a reply that is not complete.
    let mut parts = vec![0; connections];
    let mut buffer = vec![0; in_flight * REPLY];
    while received < sent {
        poll.poll(&mut events, None).expect("cannot poll");
        for event in &events {
            let Token(i) = event.token();
            loop {
                let n = match streams[i].read(&mut buffer) {
                    Ok(0) => panic!("the server has closed"),
                    Ok(n) => n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("cannot read: {e}"),
                };
                let replies = (parts[i] + n) / REPLY;
                parts[i] = (parts[i] + n) % REPLY;
                received += replies;
                let next = replies.min(messages.saturating_sub(sent));
                if next > 0 {
                    send(&streams[i], next);
                    sent += next;
                }
            }
        }
    }
}

/// Returns connections that have received their first question and do not answer.
pub(crate) fn idle(addr: SocketAddr, count: usize) -> Vec<std::net::TcpStream> {
    let connect = |_| {
        let mut stream = std::net::TcpStream::connect(addr).expect("cannot connect");
        stream.read_exact(&mut [0; 9]).expect("no question");
        stream
    };
    (0..count).map(connect).collect()
}
