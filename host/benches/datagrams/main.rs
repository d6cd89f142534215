//! Comparison of `socklab udp server` with a minimal loop of `recvfrom` and `sendto`.
//!
//! Each server is a process of its own, so that the system reports its CPU time. The same clients send the same
//! datagrams to each server in turn, several times. The table shows medians, and ratios to the minimal loop in the same
//! turn.
//!
//! A loop with `recvmmsg` and `sendmmsg` for up to 32 datagrams is not compared: it took 8 % less CPU time than the
//! minimal loop, since nearly all of that is spent in the kernel for each datagram.
//!
//!     cargo bench -p socklab --bench datagrams             a minute
//!     cargo bench -p socklab --bench datagrams -- --quick  few datagrams, for a first impression without a verdict

#[path = "../common/mod.rs"]
mod common;
mod load;

use std::net::UdpSocket;
use std::time::Instant;

use common::{Child, median};
use load::Load;
use socklab::net::DatagramServer;
use socklab::udp::{self, BUFFER};

const PEERS: [&str; 2] = ["bare loop", "socklab"];

/// Number of datagrams of a turn that may be lost: one in this number.
const LOST: usize = 1000;

/// Greatest CPU time relative to the bare loop.
const CPU: f64 = 1.1;

/// The least rate in datagrams per second.
const RATE: f64 = 100_000.0;

/// The loads, and whether the targets hold for them. With one datagram in flight each server sleeps and wakes up for
/// each, and a server that waits for more than its socket needs another two system calls for that.
const LOADS: [(Load, bool); 3] = [
    (Load { sockets: 8, in_flight: 12, size: 20 }, true),
    (Load { sockets: 8, in_flight: 12, size: 500 }, true),
    (Load { sockets: 1, in_flight: 1, size: 20 }, false),
];

fn main() {
    if let Some(name) = common::server_name() {
        serve(&name);
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (turns, total) = if quick { (3, 20_000) } else { (9, 100_000) };

    println!("answers to datagrams, median of {turns} turns of {total} datagrams");
    println!(
        "{:>8} {:>10} {:>8} {:>12} {:>10} {:>8} {:>8} {:>12}",
        "bytes", "in flight", "sockets", "server", "answers/s", "CPU us", "ratio", ""
    );
    for (load, is_judged) in LOADS {
        measure(load, total / load.together(), turns, is_judged && !quick);
    }
}

fn measure(load: Load, rounds: usize, turns: usize, is_judged: bool) {
    let datagrams = (rounds * load.together()) as f64;
    let children = PEERS.map(Child::start);
    // Answers per second, and CPU microseconds for each.
    let mut results = PEERS.map(|_| (Vec::new(), Vec::new()));
    for turn in 0..=turns {
        for (child, (rates, spent)) in children.iter().zip(&mut results) {
            let (before, start) = (child.cpu(), Instant::now());
            let lost = load::run(child.addr, load, rounds);
            let (took, cpu) = (start.elapsed().as_secs_f64(), child.cpu() - before);
            assert!(lost * LOST <= rounds * load.together(), "{lost} answers were lost");
            // The first turn is not measured.
            if turn > 0 {
                rates.push(datagrams / took);
                spent.push(cpu * 1e6 / datagrams);
            }
        }
    }
    let (bare_rates, bare) = results[0].clone();
    // If the bare loop does not reach the rate, the machine does other work, and the rate cannot be judged.
    let is_busy = median(bare_rates) < RATE;
    for (name, (rates, spent)) in PEERS.iter().zip(results) {
        let ratio = median(spent.iter().zip(&bare).map(|(s, b)| s / b).collect());
        let (rate, cpu) = (median(rates), median(spent));
        let verdict = match *name {
            "socklab" if is_judged && ratio > CPU => "CPU MISSED",
            "socklab" if is_judged && is_busy => "CPU holds",
            "socklab" if is_judged && rate < RATE => "rate MISSED",
            "socklab" if is_judged => "holds",
            _ => "",
        };
        let Load { sockets, in_flight, size } = load;
        println!(
            "{size:>8} {in_flight:>10} {sockets:>8} {name:>12} {rate:>10.0} {cpu:>8.2} {ratio:>8.2} {verdict:>12}"
        );
    }
}

/// Runs the server `name` until the parent process ends.
fn serve(name: &str) -> ! {
    match name {
        "bare loop" => bare(),
        _ => socklab(),
    }
    std::process::exit(1)
}

/// Minimal server. It assumes that each datagram is ASCII and fits the buffer.
fn bare() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("no free port");
    common::report_address(socket.local_addr().expect("no address"));
    let mut buffer = [0; BUFFER + 1];
    loop {
        // A receiver that has closed its socket causes an error of the next call.
        let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(&buffer[10.min(n)..n], from);
    }
}

fn socklab() {
    let server = DatagramServer::bind("127.0.0.1:0", udp::Service::new(), BUFFER);
    let server = server.expect("no free port");
    common::report_address(server.local_addr());
    server.run().map(drop).expect("cannot serve");
}
