//! Comparison of the math server with three others that do the same work: one with a thread for each connection, one
//! with tokio, and a minimal loop with mio. The echo server is compared with a minimal loop only.
//!
//! Each server is a process of its own (this program, with an option), so that the system reports its CPU time and
//! memory. The same client runs the same rounds with each server in turn, several times. The tables show medians, and
//! ratios to the minimal loop in the same turn.
//!
//! For short sessions and for echo, the server is the program `socklab` as users run it: it writes a line for each
//! session to stderr, here a file. The other servers write none.
//!
//!     cargo bench -p socklab            some minutes
//!     cargo bench -p socklab -- --quick a few seconds, for a first impression

mod bare;
mod bare_echo;
#[path = "../common/mod.rs"]
mod common;
mod cores;
mod load;
mod program;
mod threads;
mod tokio_server;

use std::net::SocketAddr;

use common::{Child, median};
use socklab::{math, net::Limits, net::Server};

/// Number of questions in a session. It is near the maximum, since connecting is not to be measured.
const ROUNDS: u16 = 60_000;
/// Number of questions in a short session. Here connecting is most of the work.
const SHORT: u16 = 5;

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
    short_sessions(100, if quick { 2_000 } else { 20_000 }, turns);
    println!();
    echo(1_000, 8, if quick { 100_000 } else { 1_000_000 }, turns);
    println!();
    cores::compare(1_000, rounds, turns, false);
    println!();
    cores::compare(1_000, rounds / 2, turns, true);
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
    let (name, rounds) = match name.strip_suffix(" short") {
        Some(name) => (name, SHORT),
        None => (name, ROUNDS),
    };
    match name {
        "bare mio" => bare::serve(rounds),
        "bare mio echo" => bare_echo::serve(),
        "tokio" => tokio_server::serve(rounds),
        "threads" => threads::serve(rounds),
        _ => {
            cores::serve(name, rounds);
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

/// Gives each server the same work in turn. Returns the CPU seconds of each server in each turn.
fn cpu_seconds(
    children: &[Child],
    turns: usize,
    mut work: impl FnMut(SocketAddr),
) -> Vec<Vec<f64>> {
    let mut spent = vec![Vec::new(); children.len()];
    for turn in 0..=turns {
        for (child, spent) in children.iter().zip(&mut spent) {
            let before = child.cpu();
            work(child.addr);
            // The first turn is not measured.
            if turn > 0 {
                spent.push(child.cpu() - before);
            }
        }
    }
    spent
}

/// Returns the median of the ratios of the same turn.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

fn verdict(holds: bool, target: &str) -> &str {
    if holds { target } else { "MISSED" }
}

fn cpu(connections: usize, rounds: usize, turns: usize) {
    let children = PEERS.map(Child::start);
    let spent = cpu_seconds(&children, turns, |addr| load::answer(addr, connections, rounds));
    for (name, of_server) in PEERS.iter().zip(&spent) {
        let ratio = ratio(of_server, &spent[0]);
        let target = if *name == "socklab" { verdict(ratio <= 1.1, "<= 1.10") } else { "" };
        let cpu = median(of_server.clone()) * 100_000.0 / rounds as f64;
        println!("{connections:>12} {name:>12} {cpu:>10.3} {ratio:>10.2} {target:>8}");
    }
}

fn short_sessions(connections: usize, sessions: usize, turns: usize) {
    let questions = SHORT.to_string();
    let children = PEERS.map(|name| match name {
        "socklab" => program::start("math", &["--rounds", &questions]),
        _ => Child::start(&format!("{name} short")),
    });
    let rounds = sessions * usize::from(SHORT);
    let spent = cpu_seconds(&children, turns, |addr| load::answer(addr, connections, rounds));
    println!(
        "math server, CPU microseconds for a session of {SHORT} rounds, {connections} connections at a time"
    );
    println!("{:>12} {:>10} {:>10} {:>20}", "server", "CPU us", "ratio", "target");
    for (name, of_server) in PEERS.iter().zip(&spent) {
        let (to_bare, to_tokio) = (ratio(of_server, &spent[0]), ratio(of_server, &spent[2]));
        let target = match *name {
            "socklab" => verdict(to_bare <= 1.1 && to_tokio < 1.0, "<= 1.10, below tokio"),
            _ => "",
        };
        let cpu = median(of_server.clone()) * 1e6 / sessions as f64;
        println!("{name:>12} {cpu:>10.1} {to_bare:>10.2} {target:>20}");
    }
}

fn echo(connections: usize, in_flight: usize, messages: usize, turns: usize) {
    let children = [Child::start("bare mio echo"), program::start("echo", &[])];
    let work = |addr| load::echo(addr, connections, in_flight, messages);
    let spent = cpu_seconds(&children, turns, work);
    println!(
        "echo server, CPU nanoseconds for a message, {connections} connections with {in_flight} messages in flight each"
    );
    println!("{:>12} {:>10} {:>10} {:>8}", "server", "CPU ns", "ratio", "target");
    for (name, of_server) in ["bare mio", "socklab"].iter().zip(&spent) {
        let ratio = ratio(of_server, &spent[0]);
        let target = if *name == "socklab" { verdict(ratio <= 1.05, "<= 1.05") } else { "" };
        let cpu = median(of_server.clone()) * 1e9 / messages as f64;
        println!("{name:>12} {cpu:>10.0} {ratio:>10.2} {target:>8}");
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
        "socklab" if each <= 40.0 => "<= 40",
        "socklab" => "MISSED",
        _ => "",
    };
    println!("{name:>12} {each:>18.1} {target:>8}");
}

/// Returns the private memory (anonymous and resident) in bytes.
fn private_memory(child: &Child) -> i64 {
    let status = child.report("status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("no RssAnon line");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<i64>().ok());
    kib.expect("no number in the RssAnon line") * 1024
}
