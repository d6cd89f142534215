//! Servers with one and with two threads: throughput and CPU time. The peer is the minimal loop in each thread, with a
//! listener for each (SO_REUSEPORT).
//!
//! The client is one thread on the same machine. On two processors it takes one of them, so a second thread of the server
//! cannot double the throughput.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Instant;

use mio::net::TcpListener;
use socket2::{Domain, Socket, Type};
use socklab::{math, net::Limits, net::Server};

use crate::common::{self, Child, median};
use crate::{bare, load};

const SERVERS: [&str; 5] =
    ["bare mio x1", "bare mio x2", "socklab x1", "socklab x2", "socklab x2, one listener"];
const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Runs the server `name` until the parent process ends, if it is one of these.
pub(crate) fn serve(name: &str, rounds: u16) {
    let threads = match name {
        "bare mio x1" => serve_bare(1, rounds),
        "bare mio x2" => serve_bare(2, rounds),
        "socklab x1" => NonZeroUsize::MIN,
        "socklab x2" | "socklab x2, one listener" => TWO,
        _ => return,
    };
    let options = math::Options { rounds: (rounds, rounds), ..Default::default() };
    let quiz = math::Service::new(options);
    let limits = Limits { idle: None, ..Default::default() };
    let server = Server::bind_threads("127.0.0.1:0", threads, quiz).expect("no free port");
    let server = server.limits(limits).on_report(|_| {});
    let server = if name.ends_with("one listener") { server.one_listener() } else { server };
    common::report_address(server.local_addr());
    server.run().expect("cannot poll");
}

fn serve_bare(threads: usize, rounds: u16) -> ! {
    let listen = |addr: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("no socket");
        socket.set_reuse_port(true).expect("cannot set a socket option");
        socket.set_nonblocking(true).expect("cannot set a socket option");
        socket.bind(&addr.into()).expect("cannot bind");
        // As long as that of socklab: with mio's own 128, most of the clients would have to connect again.
        socket.listen(4096).expect("cannot listen");
        TcpListener::from_std(socket.into())
    };
    let first = listen("127.0.0.1:0".parse().expect("invalid address"));
    let addr = first.local_addr().expect("no address");
    for _ in 1..threads {
        let listener = listen(addr);
        thread::spawn(move || bare::serve_on(listener, rounds));
    }
    common::report_address(addr);
    bare::serve_on(first, rounds)
}

/// Compares the servers with this many connections at a time. `short`: sessions have few rounds.
pub(crate) fn compare(connections: usize, rounds: usize, turns: usize, short: bool) {
    let suffix = if short { " short" } else { "" };
    let children = SERVERS.map(|name| Child::start(&format!("{name}{suffix}")));
    let mut wall = SERVERS.map(|_| Vec::new());
    let mut cpu = SERVERS.map(|_| Vec::new());
    for turn in 0..=turns {
        for (i, child) in children.iter().enumerate() {
            let (start, before) = (Instant::now(), child.cpu());
            load::answer(child.addr, connections, rounds);
            // The first turn is not measured.
            if turn > 0 {
                wall[i].push(start.elapsed().as_secs_f64());
                cpu[i].push(child.cpu() - before);
            }
        }
    }
    let kind = if short { "short sessions" } else { "long sessions" };
    println!("math server with one thread and with two, {connections} connections, {kind}");
    println!("{:>26} {:>12} {:>10} {:>14}", "server", "rounds/s", "ratio", "CPU us a round");
    for (i, name) in SERVERS.iter().enumerate() {
        let ratio = median(wall[0].iter().zip(&wall[i]).map(|(bare, own)| bare / own).collect());
        let rate = rounds as f64 / median(wall[i].clone());
        let cpu = median(cpu[i].clone()) * 1e6 / rounds as f64;
        println!("{name:>26} {rate:>12.0} {ratio:>10.2} {cpu:>14.2}");
    }
}
