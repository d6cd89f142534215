//! Runs sessions of the servers' engine over a simulated network and clock, and checks invariants.
//!
//!     cargo run --release -p socklab-tests --bin simulate -- --sessions 1000000 --seed 1
//!     cargo run --release -p socklab-tests --bin simulate -- --seed 1 --world 57

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use socklab_tests::simulation::{Summary, Violation, WORLD, replay, run};

/// Run sessions of the servers' engine over a simulated network and clock, and check invariants
#[derive(Debug, Parser)]
struct Options {
    /// Number of sessions of all worlds together
    #[arg(long, default_value_t = 100_000)]
    sessions: u64,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this world only, and print its trace if it violates an invariant
    #[arg(long)]
    world: Option<u64>,
    /// Print the trace of the world in any case, of this connection only if one is given
    #[arg(long, requires = "world", num_args = 0..=1, value_name = "CONNECTION")]
    trace: Option<Option<usize>>,
    /// Number of threads [default: one a processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Number of lines of a trace that are printed, the last ones
    #[arg(long, default_value_t = 60)]
    lines: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.world {
        Some(world) => one(&options, world),
        None => all(&options),
    };
    match result {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            report(&options, &violation);
            ExitCode::FAILURE
        }
    }
}

fn one(options: &Options, world: u64) -> Result<Summary, Box<Violation>> {
    let Some(traced) = options.trace else { return run(options.seed, world, WORLD, None) };
    match run(options.seed, world, WORLD, Some(traced)) {
        Err(violation) => Err(violation),
        Ok(summary) => {
            println!("no violation in world {world}");
            Ok(summary)
        }
    }
}

/// Prints a violation with the trace of its connection.
fn report(options: &Options, violation: &Violation) {
    println!("VIOLATION: {violation}\n");
    let trace = replay(violation, WORLD);
    let skipped = trace.len().saturating_sub(options.lines);
    if skipped > 0 {
        println!("... {skipped} lines before; --lines N prints more");
    }
    for line in trace.iter().skip(skipped) {
        println!("{line}");
    }
    let Violation { seed, world, .. } = violation;
    println!(
        "\nagain: cargo run --release -p socklab-tests --bin simulate -- --seed {seed} --world {world}"
    );
}

/// Runs all worlds, with several threads. Returns the violation of the world with the lowest number.
fn all(options: &Options) -> Result<Summary, Box<Violation>> {
    let threads = options
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let (next, done, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (total, first) = (Mutex::new(Summary::default()), Mutex::new(None::<Box<Violation>>));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let world = next.fetch_add(1, Ordering::Relaxed);
                        if is_over.load(Ordering::Relaxed)
                            || done.load(Ordering::Relaxed) >= options.sessions
                        {
                            return;
                        }
                        match run(options.seed, world, WORLD, None) {
                            Ok(summary) => {
                                done.fetch_add(summary.opened, Ordering::Relaxed);
                                *total.lock().expect("no panic") += summary;
                            }
                            Err(violation) => {
                                is_over.store(true, Ordering::Relaxed);
                                let mut first = first.lock().expect("no panic");
                                if first.as_ref().is_none_or(|first| world < first.world) {
                                    *first = Some(violation);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let mut shown = Duration::ZERO;
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            let every = Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 10 });
            if start.elapsed() >= shown + every {
                shown = start.elapsed();
                progress(done.load(Ordering::Relaxed), options.sessions, shown);
            }
        }
    });
    match first.into_inner().expect("no panic") {
        Some(violation) => Err(violation),
        None => Ok(total.into_inner().expect("no panic")),
    }
}

fn progress(done: u64, sessions: u64, elapsed: Duration) {
    let rate = done as f64 / elapsed.as_secs_f64();
    let mut stderr = std::io::stderr();
    let ends = if stderr.is_terminal() { "\r" } else { "" };
    let line_end = if stderr.is_terminal() { "" } else { "\n" };
    let _ = write!(
        stderr,
        "{ends}{done} of {sessions} sessions, {rate:.0} a second, {} s{line_end}",
        elapsed.as_secs()
    );
}
