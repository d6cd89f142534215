//! The engine of the servers over a simulated network. `.ci/run` runs more sessions, with the program `simulate`.

use socklab_tests::simulation::{Summary, WORLD, replay, run};

/// Runs these worlds.
#[track_caller]
fn run_all(seed: u64, worlds: std::ops::Range<u64>) -> Summary {
    let mut total = Summary::default();
    for world in worlds {
        match run(seed, world, WORLD, None) {
            Ok(summary) => total += summary,
            Err(violation) => {
                let trace = replay(&violation, WORLD);
                let last = trace.get(trace.len().saturating_sub(40)..).unwrap_or_default();
                panic!("{violation}\n{}", last.join("\n"));
            }
        }
    }
    total
}

#[test]
fn every_invariant_holds_in_some_worlds() {
    let total = run_all(1, 0..40);
    // The worlds are of different kinds, so that each result occurs.
    let Summary { done, undelivered, timed_out, failed, stopped, refused, .. } = total;
    assert!(done > 1000, "{total}");
    for count in [undelivered, timed_out, failed, stopped, refused] {
        assert!(count > 0, "{total}");
    }
}

#[test]
fn a_world_is_repeated_exactly() {
    for world in 0..3 {
        // The numbers contain the simulated time, which every event changes.
        let numbers = || run(2, world, 100, None).unwrap();
        assert_eq!(numbers(), numbers());
    }
}
