//! Comparison of the math server with three others that do the same work: one with a thread for each connection, one
//! with tokio, and a minimal loop with mio.
//!
//! Each server is a process of its own (this program, with an option), so that the system reports its CPU time and
//! memory. The same client runs the same rounds with each server in turn, several times. The tables show medians, and
//! ratios to the minimal loop in the same turn.
//!
//!     cargo bench -p socklab            one or two minutes
//!     cargo bench -p socklab -- --quick a few seconds, for a first impression

mod bare;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod threads;
mod tokio_server;

use common::{Child, median};
use socklab::{math, net::Limits, net::Server};

/// Number of questions in a session. It is near the maximum, since connecting is not to be measured.
const ROUNDS: u16 = 60_000;

const PEERS: [&str; 4] = ["bare mio", "socklab", "tokio", "threads"];

fn main() {
    if let Some(name) = common::server_name() {
        serve(&name);
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (turns, rounds, idle) = if quick { (3, 20_000, 1_000) } else { (9, 100_000, 10_000) };

    println!("math server, CPU seconds for 100,000 rounds, median of {turns} turns");
    println!(
        "{:>12} {:>12} {:>10} {:>10} {:>8}",
        "connections", "server", "CPU s", "ratio", "target"
    );
    for connections in [1, 100] {
        cpu(connections, rounds, turns);
    }
    println!();
    println!("additional private memory with {idle} idle connections");
    println!("{:>12} {:>18} {:>8}", "server", "bytes/connection", "target");
    for name in PEERS {
        // Ten thousand threads would be too many. A tenth is enough to measure the memory of each.
        let count = if name == "threads" { idle / 10 } else { idle };
        memory(name, count);
    }
}

/// Runs the server `name` until the parent process ends.
fn serve(name: &str) -> ! {
    match name {
        "bare mio" => bare::serve(ROUNDS),
        "tokio" => tokio_server::serve(ROUNDS),
        "threads" => threads::serve(ROUNDS),
        _ => {
            let options = math::Options { rounds: (ROUNDS, ROUNDS), ..Default::default() };
            let quiz = math::Service::new(options);
            let limits = Limits { idle: None, ..Default::default() };
            let server = Server::bind("127.0.0.1:0", quiz).expect("no free port");
            let server = server.limits(limits).on_report(|_| {});
            common::report_address(server.local_addr());
            server.run().expect("cannot poll");
        }
    }
    std::process::exit(1)
}

fn cpu(connections: usize, rounds: usize, turns: usize) {
    let children = PEERS.map(Child::start);
    // CPU seconds of each server in each turn.
    let mut spent = PEERS.map(|_| Vec::new());
    for turn in 0..=turns {
        for (child, spent) in children.iter().zip(&mut spent) {
            let before = child.cpu();
            load::answer(child.addr, connections, rounds);
            // The first turn is not measured.
            if turn > 0 {
                spent.push((child.cpu() - before) * 100_000.0 / rounds as f64);
            }
        }
    }
    let bare = spent[0].clone();
    for (name, spent) in PEERS.iter().zip(&spent) {
        let ratio = median(spent.iter().zip(&bare).map(|(s, b)| s / b).collect());
        let target = match *name {
            "socklab" if ratio <= 1.1 => "<= 1.10",
            "socklab" => "MISSED",
            _ => "",
        };
        let cpu = median(spent.clone());
        println!("{connections:>12} {name:>12} {cpu:>10.3} {ratio:>10.2} {target:>8}");
    }
}

fn memory(name: &str, count: usize) {
    let child = Child::start(name);
    // The first client makes the server allocate its shared buffers, which are not to be measured.
    load::answer(child.addr, 1, 1000);
    let before = private_memory(&child);
    let connections = load::idle(child.addr, count);
    let after = private_memory(&child);
    drop(connections);
    let each = (after - before) as f64 / count as f64;
    let target = match name {
        "socklab" if each <= 64.0 => "<= 64",
        "socklab" => "MISSED",
        _ => "",
    };
    println!("{name:>12} {each:>18.0} {target:>8}");
}

/// Returns the private memory (anonymous and resident) in bytes.
fn private_memory(child: &Child) -> i64 {
    let status = child.report("status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("no RssAnon line");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<i64>().ok());
    kib.expect("no number in the RssAnon line") * 1024
}
