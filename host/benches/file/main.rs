//! Comparison of programs that fetch a large file from memory: socklab, nginx with curl, nc, and a plain loop with
//! reads and writes of 256 KiB.
//!
//! Servers and clients are separate processes. The time of the client process is measured, from its start to its end.
//! The programs run in turn, so that changes of the machine's speed affect all of them. The ratios are those of the
//! same turn. A program that is not installed is listed as "not measured".
//!
//! In the checked form into a file, our client does what the loop does, and computes the checksum. CPU seconds a GB of
//! client and server, medians of 9 turns beside other work on two cores:
//!
//! - the loop: 0.51 and 0.16;
//! - the checked form: 0.53 and 0.19, of which the checksum is 0.02. Its speed was 0.94 and 0.96 of the loop's, and
//!   1.00 and 1.09 on a quiet machine;
//! - with `sendfile` in the server, and the checksum read back from the file: 0.66 and 0.23, and 0.72 of the loop's speed.
//!
//! In a trial, a second thread that writes was as fast as one thread, for slightly more CPU.
//!
//!     cargo bench -p socklab --bench file             about twenty seconds
//!     cargo bench -p socklab --bench file -- --quick  a small file, for a first impression without a verdict

mod contestants;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use contestants::{Contestant, Folder};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--loop") {
        contestants::run_loop(&args[at + 1..]);
        return;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let (size, turns) = if quick { (32 << 20, 3) } else { (1_usize << 30, 9) };

    let folder = Folder::new();
    fill(&folder.path.join("data"), size);
    let mut contestants: Vec<(Contestant, Result<Vec<f64>, String>)> =
        contestants::all(&folder).into_iter().map(|c| (c, Ok(Vec::new()))).collect();
    for turn in 0..=turns {
        for (contestant, result) in &mut contestants {
            // One failure makes the whole row useless: the ratios are those of the same turn.
            let Ok(seconds) = result else { continue };
            folder.empty();
            let start = Instant::now();
            let done = contestant.fetch();
            let took = start.elapsed().as_secs_f64();
            match done {
                // The first turn is not measured.
                Ok(()) if turn > 0 => seconds.push(took),
                Ok(()) => {}
                Err(why) => *result = Err(why),
            }
        }
    }

    let what = size >> 20;
    println!("{what} MiB from {}, median of {turns} turns", folder.path.display());
    println!("{:>22} {:>12} {:>8} {:>8} {:>8}", "", "to", "GB/s", "min", "max");
    for (contestant, result) in &contestants {
        let (name, to) = (contestant.name, contestant.to);
        let seconds = match result {
            Ok(seconds) => seconds,
            Err(why) => {
                println!("{name:>22} {to:>12} not measured: {why}");
                continue;
            }
        };
        let rates: Vec<f64> = seconds.iter().map(|s| size as f64 / s / 1e9).collect();
        let (least, most) = (
            rates.iter().copied().fold(f64::INFINITY, f64::min),
            rates.iter().copied().fold(0.0, f64::max),
        );
        println!("{name:>22} {to:>12} {:>8.2} {least:>8.2} {most:>8.2}", median(rates));
    }
    println!();
    for (ours, theirs, target) in [
        (("socklab plain", "/dev/null"), ("nginx, curl", "/dev/null"), 1.5),
        (("socklab checked", "file"), ("256 KiB loop", "file"), 1.0),
    ] {
        let find = |(name, to): (&str, &str)| {
            let found = contestants.iter().find(|(c, _)| (c.name, c.to) == (name, to));
            found.and_then(|(_, result)| result.as_ref().ok())
        };
        let result = match find(ours).zip(find(theirs)) {
            None => "not measured".to_owned(),
            Some((ours, theirs)) => {
                let ratio = median(theirs.iter().zip(ours).map(|(t, o)| t / o).collect());
                let verdict = match ratio >= target {
                    _ if quick => "file too small for a verdict",
                    true => "holds",
                    false => "MISSED",
                };
                format!("{ratio:.2} times, target {target:.1}: {verdict}")
            }
        };
        println!("{} to {} against {}: {result}", ours.0, ours.1, theirs.0);
    }
}

/// Fills a file with random blocks of 1 MiB that differ only in their number.
fn fill(path: &Path, size: usize) {
    let mut file = File::create(path).expect("cannot write the file");
    let mut block = vec![0; 1 << 20];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut block))
        .expect("cannot read random bytes");
    for n in 0..size >> 20 {
        block[..8].copy_from_slice(&n.to_be_bytes());
        file.write_all(&block).expect("cannot write the file");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the path of a program if it is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}
