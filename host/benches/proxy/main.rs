//! Comparison of the proxy with socat: one connection, bytes in one direction and in both.
//!
//! The proxies are separate processes, and this program is the client and the server of each. The proxies run in turn, so
//! that changes of the machine's speed affect all of them. The ratios are those of the same turn. Without socat, only the
//! rate of the proxy is measured.
//!
//!     cargo bench -p socklab --bench proxy             about a minute
//!     cargo bench -p socklab --bench proxy -- --quick  few bytes, for a first impression without a verdict

mod contestants;
mod load;

use contestants::Contestant;
use load::{Job, Target};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (size, turns) = if quick { (32 << 20, 3) } else { (256_usize << 20, 9) };
    let target = Target::start(size);
    let contestants = contestants::all(target.addr);

    println!("{} MiB through a proxy on this machine, median of {turns} turns", size >> 20);
    println!("{:>16} {:>18} {:>8} {:>8} {:>8}", "", "direction", "GB/s", "min", "max");
    let mut verdicts = Vec::new();
    for (job, direction) in [(Job::Up, "up"), (Job::Down, "down"), (Job::Both, "both at once")] {
        let mut rates: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
        for turn in 0..=turns {
            for (contestant, rates) in contestants.iter().zip(&mut rates) {
                let rate = load::run(contestant.addr, job, size);
                // The first turn is not measured.
                if turn > 0 {
                    rates.push(rate / 1e9);
                }
            }
        }
        for (Contestant { name, .. }, rates) in contestants.iter().zip(&rates) {
            let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
            let most = rates.iter().copied().fold(0.0, f64::max);
            let rate = median(rates.clone());
            println!("{name:>16} {direction:>18} {rate:>8.2} {least:>8.2} {most:>8.2}");
        }
        if let [ours, others @ ..] = rates.as_slice() {
            for (theirs, Contestant { name, target, .. }) in
                others.iter().zip(contestants.iter().skip(1))
            {
                let ratio = median(ours.iter().zip(theirs).map(|(o, t)| o / t).collect());
                let verdict = match target {
                    None => String::new(),
                    Some(target) => {
                        let result = match ratio >= *target {
                            _ if quick => "too few bytes for a verdict",
                            true => "holds",
                            false => "MISSED",
                        };
                        format!(", target {target:.1}: {result}")
                    }
                };
                verdicts.push(format!("{direction}, against {name}: {ratio:.2} times{verdict}"));
            }
        }
    }
    println!();
    for verdict in verdicts {
        println!("{verdict}");
    }
    if contestants.len() == 1 {
        println!("not compared: socat is not installed");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
