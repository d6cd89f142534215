//! `socklab check` on the program's own clients and servers, and on correct programs in Python on a busy machine.

mod checks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use checks::{Run, check_command, check_pair, map, own, program, results, student};
use socklab_tests::load::under_load;
use socklab_tests::mutants::{self, ROLES};
use socklab_tests::protocols::PROTOCOLS;

/// Checks one end of a protocol.
fn one(protocol: &str, role: &str) {
    let run = check_command(protocol, role, &["--strict"], &own(protocol, role));
    run.assert_passed(&format!("{protocol} {role}"));
    assert!((10..=40).contains(&run.cases.len()), "{protocol} {role}: {}", run.cases.len());
}

fn pair(protocol: &str) {
    let run = check_pair(
        protocol,
        &["--strict"],
        &own_of_pair(protocol, "client"),
        &own(protocol, "server"),
    );
    run.assert_passed(&format!("{protocol} pair"));
}

/// Returns our own command for a pair. The file client asks for the document's protocol, because the relay judges that.
fn own_of_pair(protocol: &str, role: &str) -> Vec<String> {
    let mut command = own(protocol, role);
    if (protocol, role) == ("file", "client") {
        command.insert(3, "--plain".into());
    }
    command
}

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        $(mod $module {
            #[test]
            fn our_client_passes_everything() {
                super::one(stringify!($module), "client");
            }

            #[test]
            fn our_server_passes_everything() {
                super::one(stringify!($module), "server");
            }

            #[test]
            fn our_client_and_server_pass_as_a_pair() {
                super::pair(stringify!($module));
            }
        })*
    };
}

socklab_core::for_each_protocol!(protocols);

#[test]
fn a_client_that_is_checked_as_a_server_is_recognised_and_the_reverse() {
    // Clients that connect before they read input.
    for protocol in ["math", "hello", "guess"] {
        for (role, other) in [("client", "server"), ("server", "client")] {
            let run = check_command(protocol, role, &["--case", "basic/*"], &own(protocol, other));
            let expected = format!("check it with the role {other}");
            let is_recognised = run.with("fail").next().is_some_and(|c| c.hint.contains(&expected));
            assert!(is_recognised, "{protocol} {role}:\n{}", run.troubles());
        }
    }
}

/// A machine that stops now and then: the tester alone is stopped, so the program sees pauses in the middle of messages that
/// it may take for their end.
#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: no signals")]
fn a_stall_of_the_tester_is_not_held_against_the_program() {
    const STOPS: usize = 60;
    for (protocol, role) in [("file", "server"), ("add", "server"), ("coin", "client")] {
        let command = own(protocol, role);
        let mut args = vec![protocol, role, "--json", "--strict", "--case", "slow/*", "--"];
        args.extend(command.iter().map(String::as_str));
        let mut process = program(&args).start();
        for _ in 0..STOPS {
            // It may end in between.
            if !process.is_running() {
                break;
            }
            process.signal("STOP");
            thread::sleep(Duration::from_millis(400));
            process.signal("CONT");
            thread::sleep(Duration::from_millis(90));
        }
        let run = results(process.finish());
        assert!(!run.cases.is_empty(), "{protocol} {role}: {run:?}");
        for case in &run.cases {
            let is_stalled = case.verdict == "skip" && case.message.contains("too busy");
            assert!(case.verdict == "pass" || is_stalled, "{protocol} {role}: {}", run.troubles());
        }
    }
}

/// A program that is checked again and again.
struct Repeated {
    name: String,
    check: Box<dyn Fn() -> Run + Send + Sync>,
    /// Whether every case must pass. Otherwise no case may fail.
    is_strict: bool,
}

/// Returns our own programs, the pairs of them, and one program in Python for each protocol and role.
///
/// `CHECK_PROTOCOLS` restricts them to some protocols, separated by spaces, and `CHECK_KIND` to `socklab` or `Python`.
fn repeated() -> Vec<Repeated> {
    let selected = std::env::var("CHECK_PROTOCOLS").ok();
    let kind = std::env::var("CHECK_KIND").ok();
    let mut all = Vec::new();
    for protocol in PROTOCOLS.iter().map(|protocol| protocol.name) {
        if selected.as_ref().is_some_and(|names| !names.split(' ').any(|name| name == protocol)) {
            continue;
        }
        for role in ROLES {
            let path = mutants::program(protocol, role);
            let python = student(protocol, role, &path, Path::new("")).expect("a Python program");
            for (kind, command, is_strict) in
                [("socklab", own(protocol, role), true), ("Python", python, false)]
            {
                let options: &[&str] = if is_strict { &["--strict"] } else { &[] };
                all.push(Repeated {
                    name: format!("{protocol} {role}, {kind}"),
                    check: Box::new(move || check_command(protocol, role, options, &command)),
                    is_strict,
                });
            }
        }
        let (client, server) = (own_of_pair(protocol, "client"), own(protocol, "server"));
        all.push(Repeated {
            name: format!("{protocol} pair, socklab"),
            check: Box::new(move || check_pair(protocol, &["--strict"], &client, &server)),
            is_strict: true,
        });
    }
    all.retain(|program| kind.as_ref().is_none_or(|kind| program.name.ends_with(kind)));
    all
}

/// What the runs of a program gave.
#[derive(Default)]
struct Outcomes {
    /// Verdicts of the run that ended first.
    first: Option<BTreeMap<String, String>>,
    /// Whether each run had these verdicts, and whether they are right.
    same: Vec<bool>,
    /// Seconds of each run.
    times: Vec<f64>,
}

impl Outcomes {
    /// Adds a run. Returns whether it is as it must be.
    fn add(&mut self, program: &Repeated, run: &Run, time: Duration) -> bool {
        let verdicts: BTreeMap<_, _> =
            run.cases.iter().map(|c| (c.path.clone(), c.verdict.clone())).collect();
        let is_right = run.with("fail").count() == 0
            && (!program.is_strict || run.with("pass").count() == run.cases.len())
            && run.finished.code == Some(0);
        let is_same = *self.first.get_or_insert_with(|| verdicts.clone()) == verdicts;
        self.same.push(is_same && is_right);
        self.times.push(time.as_secs_f64());
        is_same && is_right
    }

    /// Returns the row of a table of Markdown.
    fn row(&self, name: &str) -> String {
        let verdicts = self.first.as_ref().expect("a run");
        let count = |verdict: &str| verdicts.values().filter(|v| *v == verdict).count();
        format!(
            "| {name} | {} | {} | {} | {} | {} | {:.1} to {:.1} |",
            self.times.len(),
            verdicts.len(),
            count("pass"),
            count("info"),
            self.same.iter().filter(|same| **same).count(),
            self.times.iter().copied().fold(f64::INFINITY, f64::min),
            self.times.iter().copied().fold(0.0, f64::max),
        )
    }
}

/// Checks each program this number of times under load. Prints a table of Markdown.
fn verdicts_are_the_same(runs: usize) {
    /// Number of runs at a time, of one program or of several.
    const AT_ONCE: usize = 4;
    let programs = repeated();
    let programs: Vec<_> =
        programs.iter().map(|program| (program, Mutex::new(Outcomes::default()))).collect();
    let all = programs.iter().flat_map(|program| (0..runs).map(move |number| (program, number)));
    let failures = Mutex::new(Vec::new());
    println!("| program | runs | cases | pass | info | same verdicts | seconds of a run |");
    println!("|---|---|---|---|---|---|---|");
    under_load(|| {
        map(all.collect(), AT_ONCE, |((program, outcomes), number)| {
            let start = Instant::now();
            let run = (program.check)();
            let time = start.elapsed();
            let mut outcomes = outcomes.lock().unwrap();
            if !outcomes.add(program, &run, time) {
                let text = format!("{}, run {number}:\n{}", program.name, run.troubles());
                println!("{text}");
                failures.lock().unwrap().push(text);
            }
            if outcomes.times.len() == runs {
                println!("{}", outcomes.row(&program.name));
            }
        });
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} runs differ:\n{}", failures.len(), failures.join("\n"));
}

/// `CHECK_RUNS` is another number of runs.
#[test]
#[ignore = "100 runs of each program under load take an hour; .ci/run does a few"]
fn a_correct_program_gets_the_same_verdicts_in_100_runs_of_100_under_load() {
    let runs = std::env::var("CHECK_RUNS").map_or(100, |runs| runs.parse().expect("a number"));
    verdicts_are_the_same(runs);
}
