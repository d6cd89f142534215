//! The math server against three others that do the same work: a thread for each connection,
//! tokio, and a bare loop over mio.
//!
//! Each server is a process of its own (this program, told to be it), so its CPU time and memory
//! are the system's own accounting. All are asked the same rounds by the same client in turn,
//! again and again; the tables show medians, and ratios to the bare loop from the same turn.
//!
//!     cargo bench -p socklab            a minute or two
//!     cargo bench -p socklab -- --quick a few seconds, for a first look

mod bare;
mod load;
mod process;
mod threads;
mod tokio_server;

use std::io::Read as _;

use process::Child;
use socklab::{math, net::Limits, net::Server};

/// So many questions a session has: as many as the option takes, since connecting is not what is
/// measured.
const ROUNDS: u16 = 60_000;

const PEERS: [&str; 4] = ["bare mio", "socklab", "tokio", "threads"];

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--serve").skip(1);
    if let Some(name) = args.next() {
        serve(&name);
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (turns, rounds, idle) = if quick { (3, 20_000, 1_000) } else { (9, 100_000, 10_000) };

    println!("math server, CPU seconds for 100,000 rounds, median of {turns} turns");
    println!(
        "{:>12} {:>12} {:>10} {:>10} {:>8}",
        "connections", "server", "CPU s", "to bare", "target"
    );
    for connections in [1, 100] {
        cpu(connections, rounds, turns);
    }
    println!();
    println!("memory of its own with {idle} idle connections, over the idle process");
    println!("{:>12} {:>18} {:>8}", "server", "bytes/connection", "target");
    for name in PEERS {
        // A thread for each of ten thousand: what it takes shows with a tenth of them.
        let count = if name == "threads" { idle / 10 } else { idle };
        memory(name, count);
    }
}

/// Is the server `name` until the parent is gone.
fn serve(name: &str) -> ! {
    std::thread::spawn(|| {
        // Its end is the parent's end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match name {
        "bare mio" => bare::serve(ROUNDS),
        "tokio" => tokio_server::serve(ROUNDS),
        "threads" => threads::serve(ROUNDS),
        _ => {
            let options = math::Options { rounds: (ROUNDS, ROUNDS), ..Default::default() };
            let quiz = math::Service::new(options);
            let limits = Limits { idle: None, ..Default::default() };
            let server = Server::bind("127.0.0.1:0", quiz).expect("a free port");
            let server = server.limits(limits).reporting(|_| {});
            process::ready(server.local_addr());
            server.run().expect("to poll");
        }
    }
    std::process::exit(1)
}

fn cpu(connections: usize, rounds: usize, turns: usize) {
    let children = PEERS.map(Child::start);
    // CPU seconds of each server, turn by turn.
    let mut spent = PEERS.map(|_| Vec::new());
    for turn in 0..=turns {
        for (child, spent) in children.iter().zip(&mut spent) {
            let before = child.cpu();
            load::answer(child.addr, connections, rounds);
            // The first turn warms up.
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
    // Its buffers are touched by the first client and stay.
    load::answer(child.addr, 1, 1000);
    let before = child.memory();
    let connections = load::idle(child.addr, count);
    let after = child.memory();
    drop(connections);
    let each = (after - before) as f64 / count as f64;
    let target = match name {
        "socklab" if each <= 64.0 => "<= 64",
        "socklab" => "MISSED",
        _ => "",
    };
    println!("{name:>12} {each:>18.0} {target:>8}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
