//! Bugs planted in the engine of the servers, in `tests/simulation/planted.txt`. The simulation must find each of them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use socklab_tests::mutants::{Mutant, parse};
use socklab_tests::rng::Rng;

/// Number of simulated clients, unless `PLANTED_SESSIONS` is another one.
const SESSIONS: u64 = 100_000;
/// Time limit for one simulation. A simulation without a bug needs less than a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// What a build needs, besides the manifest of the workspace.
const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "core",
    "host",
    "tests/src/bin/simulate.rs",
    "tests/src/rng.rs",
    "tests/src/simulation",
];
/// Package of the simulation alone, so that a build takes seconds: without the program, and without the other tests.
const MANIFEST: &str = r#"[package]
name = "simulate"
edition = "2024"

[lib]
name = "socklab_tests"
path = "lib.rs"

[[bin]]
name = "simulate"
path = "../tests/src/bin/simulate.rs"

[dependencies]
socklab-core = { workspace = true, features = ["nal"] }
socklab = { workspace = true }
clap = { version = "4", features = ["derive"] }
tempfile = "3"
"#;
const LIBRARY: &str = r#"#[path = "../tests/src/rng.rs"]
pub mod rng;
#[path = "../tests/src/simulation/mod.rs"]
pub mod simulation;
"#;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn planted() -> Vec<Mutant> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation/planted.txt");
    let planted = parse(&fs::read_to_string(path).unwrap()).unwrap();
    for Mutant { name, file, .. } in &planted {
        assert!(file.is_some(), "{name}: expected a line \"file PATH\"");
    }
    planted
}

/// Returns the path of the source below the workspace.
fn source(mutant: &Mutant) -> PathBuf {
    Path::new("host/src/net").join(mutant.file.as_deref().unwrap_or_default())
}

/// Returns the source with the bug.
fn mutated(mutant: &Mutant) -> String {
    let text = fs::read_to_string(workspace().join(source(mutant))).unwrap();
    mutant.apply(&text).unwrap_or_else(|e| panic!("{}, {e}", mutant.name))
}

/// Writes a file if its content differs: its time decides what is built again.
fn update(path: &Path, content: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::write(path, content).unwrap();
    }
}

/// Copies a file or a folder, without what builds have made there.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        return update(to, &fs::read(from).unwrap());
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "target" {
            copy(&from.join(&name), &to.join(&name));
        }
    }
}

/// Copy of the workspace in which bugs are planted, and its builds.
struct Copied {
    sources: PathBuf,
    target: PathBuf,
    sessions: u64,
}

/// Result of a simulation.
enum Outcome {
    Passed,
    /// The violated invariant.
    Found(String),
    /// Any other end, such as the time limit.
    Other(String),
}

impl Copied {
    fn new() -> Self {
        // One place for all bugs and all runs of this test, so that little is built for each.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        let (sources, target) = (folder.join("sources"), folder.join("target"));
        for name in SOURCES {
            copy(&workspace().join(name), &sources.join(name));
        }
        let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
        let manifest = manifest.replace("\"tests\"]", "\"simulate\"]");
        // A member of the workspace cannot do without the default features by itself.
        let host = "path = \"host\"";
        let manifest = manifest.replace(host, &format!("{host}, default-features = false"));
        update(&sources.join("Cargo.toml"), manifest.as_bytes());
        fs::create_dir_all(sources.join("simulate")).unwrap();
        update(&sources.join("simulate/Cargo.toml"), MANIFEST.as_bytes());
        update(&sources.join("simulate/lib.rs"), LIBRARY.as_bytes());
        let sessions = std::env::var("PLANTED_SESSIONS");
        let sessions = sessions.map_or(SESSIONS, |text| text.parse().expect("a number"));
        Self { sources, target, sessions }
    }

    /// Builds the simulation of these sources.
    fn build(&self) -> Result<(), String> {
        let mut cargo = Command::new(env!("CARGO"));
        // Not `--locked`: the lock file contains what the other packages need.
        cargo.args(["build", "--quiet", "--offline", "--package", "simulate"]);
        cargo
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // With more, builds take longer than they save.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        let output = cargo.output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(messages) }
    }

    /// Runs the simulation that was built last.
    fn run(&self) -> Outcome {
        let path = self.sources.join("output");
        let output = File::create(&path).unwrap();
        let mut child = Command::new(self.target.join("debug/simulate"))
            .args(["--seed", "1", "--sessions", &self.sessions.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                return Outcome::Other(format!("no end within {LIMIT:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let output = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let violation = output.lines().find_map(|line| line.strip_prefix("VIOLATION: "));
        match (status.code(), violation) {
            (Some(0), _) => Outcome::Passed,
            (Some(1), Some(violation)) => Outcome::Found(violation.to_owned()),
            _ => Outcome::Other(format!("{status}: {}", output.trim_end())),
        }
    }
}

#[test]
fn every_planted_bug_applies() {
    for mutant in planted() {
        mutated(&mutant);
    }
}

/// Returns the bugs to be planted: those that the environment chooses, or all.
fn chosen() -> Vec<Mutant> {
    let mut planted = planted();
    if let Ok(only) = std::env::var("PLANTED") {
        planted.retain(|mutant| mutant.name == only);
        assert!(!planted.is_empty(), "{only}: unknown bug");
    }
    if let Ok(number) = std::env::var("PLANTED_SAMPLE") {
        let number: usize = number.parse().expect("a number");
        let seed = std::env::var("PLANTED_SEED").map_or(1, |text| text.parse().expect("a number"));
        println!("{number} bugs, PLANTED_SEED={seed}");
        let mut rng = Rng::new(seed);
        // It takes the whole time to find that one is not found.
        planted.retain(|mutant| !mutant.may_be_info);
        while planted.len() > number {
            planted.remove(rng.below(planted.len()));
        }
    }
    planted
}

/// `PLANTED` is the name of the only bug to be planted. `PLANTED_SAMPLE` is a number of bugs, chosen by `PLANTED_SEED`.
#[test]
#[ignore = "builds the simulation for each bug, which takes minutes"]
fn the_simulation_finds_every_planted_bug() {
    let copied = Copied::new();
    copied.build().unwrap();
    assert!(matches!(copied.run(), Outcome::Passed), "the unchanged engine violates an invariant");

    let mut table = String::from("| planted bug | file | found by |\n|---|---|---|\n");
    let mut missed = Vec::new();
    for mutant in chosen() {
        let path = copied.sources.join(source(&mutant));
        fs::write(&path, mutated(&mutant)).unwrap();
        let built = copied.build();
        let outcome = built.map_or_else(Outcome::Other, |()| copied.run());
        copy(&workspace().join(source(&mutant)), &path);
        let found = match outcome {
            Outcome::Found(violation) => violation,
            Outcome::Passed => "-".to_owned(),
            Outcome::Other(text) => format!("- ({})", text.replace('\n', " ")),
        };
        if found.starts_with('-') && !mutant.may_be_info {
            missed.push(mutant.name.clone());
        }
        let (name, description) = (&mutant.name, &mutant.description);
        let file = mutant.file.as_deref().unwrap_or_default();
        let row = format!("| {name}: {description} | {file} | {} |", found.replace('|', "\\|"));
        println!("{row}");
        writeln!(table, "{row}").unwrap();
    }
    println!("\n{table}");
    assert!(missed.is_empty(), "not found: {missed:?}");
}
