//! Runs of `socklab check`, and their results.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socklab_tests::mutants;
use socklab_tests::program::{Finished, Program, socklab};

/// Limit of a run on a busy machine. What a test measures has a limit of its own.
const DEADLINE: Duration = Duration::from_secs(300);

/// Result of a case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `GROUP/CASE`.
    pub(crate) path: String,
    /// `pass`, `fail`, `info` or `skip`.
    pub(crate) verdict: String,
    /// What happened, and what the program printed last on stderr.
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Results of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cases: Vec<Case>,
    pub(crate) finished: Finished,
}

impl Run {
    /// Returns the cases with this verdict.
    pub(crate) fn with<'r>(&'r self, verdict: &'r str) -> impl Iterator<Item = &'r Case> {
        self.cases.iter().filter(move |case| case.verdict == verdict)
    }

    /// Returns the cases that did not pass, a line each, for the message of a failed test.
    pub(crate) fn troubles(&self) -> String {
        let mut text = String::new();
        for case in self.cases.iter().filter(|case| case.verdict != "pass") {
            let Case { path, verdict, message, hint } = case;
            writeln!(text, "{verdict} {path}: {message}; hint: {hint}").unwrap();
        }
        text + &self.finished.stderr
    }

    /// Checks that every case passed.
    #[track_caller]
    pub(crate) fn assert_passed(&self, what: &str) {
        let count = self.with("pass").count();
        assert!(count > 0 && count == self.cases.len(), "{what}:\n{}", self.troubles());
        assert_eq!(self.finished.code, Some(0), "{what}: {:?}", self.finished);
    }

    /// Checks that no case failed, and that at least one passed.
    #[track_caller]
    pub(crate) fn assert_no_failure(&self, what: &str) {
        assert_eq!(self.with("fail").count(), 0, "{what}:\n{}", self.troubles());
        assert!(self.with("pass").count() > 0, "{what}:\n{}", self.troubles());
        assert_eq!(self.finished.code, Some(0), "{what}: {:?}", self.finished);
    }
}

/// Creates `socklab check` with these arguments. What it remembers for `--failed` stays in the folder of the build.
pub(crate) fn program<S: AsRef<str>>(args: &[S]) -> Program {
    let mut all = vec!["check"];
    all.extend(args.iter().map(AsRef::as_ref));
    let cache = env!("CARGO_TARGET_TMPDIR");
    Program::socklab(&all).env("XDG_CACHE_HOME", cache).deadline(DEADLINE)
}

/// Runs `socklab check` with these arguments: protocol and role first.
pub(crate) fn check<S: AsRef<str>>(args: &[S]) -> Run {
    let (first, rest) = args.split_at(2);
    let mut all: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
    all.push("--json");
    all.extend(rest.iter().map(AsRef::as_ref));
    results(program(&all).run())
}

/// Reads the results of a run with `--json`.
pub(crate) fn results(finished: Finished) -> Run {
    let text = String::from_utf8(finished.stdout.clone()).expect("JSON in UTF-8");
    let mut cases = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if event["event"] != "result" {
            continue;
        }
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let path = text("id").splitn(3, '/').nth(2).expect("an id").to_owned();
        let details: Vec<String> = ["message", "reason", "program", "stderr"]
            .iter()
            .map(|key| text(key))
            .filter(|text| !text.is_empty())
            .collect();
        let (message, verdict, hint) = (details.join(" | "), text("verdict"), text("hint"));
        cases.push(Case { path, verdict, message, hint });
    }
    Run { cases, finished }
}

/// Returns the arguments of a program of this role, with their placeholders.
pub(crate) fn arguments(protocol: &str, role: &str) -> Vec<String> {
    let arguments: &[&str] = match (protocol, role) {
        ("file", "client") => &["{host}:{port}:{remote}", "{local}"],
        (_, "client") => &["{host}", "{port}"],
        (_, "server") => &["{port}"],
        _ => panic!("{role}"),
    };
    arguments.iter().map(ToString::to_string).collect()
}

/// Returns the command of `socklab` itself as the program under test.
pub(crate) fn own(protocol: &str, role: &str) -> Vec<String> {
    let socklab = socklab().to_str().expect("a path in UTF-8");
    let mut command: Vec<String> = [socklab, protocol, role].map(str::to_owned).into();
    command.extend(arguments(protocol, role));
    command
}

/// Returns the command of a student's program, or `None` without its compiler.
pub(crate) fn student(
    protocol: &str,
    role: &str,
    path: &Path,
    folder: &Path,
) -> Option<Vec<String>> {
    let mut command = mutants::command(path, folder)?;
    command.extend(arguments(protocol, role));
    Some(command)
}

/// Runs `socklab check` on one program.
pub(crate) fn check_command<S: AsRef<str>>(
    protocol: &str,
    role: &str,
    options: &[S],
    command: &[String],
) -> Run {
    let mut args: Vec<&str> = vec![protocol, role];
    args.extend(options.iter().map(AsRef::as_ref));
    args.push("--");
    args.extend(command.iter().map(String::as_str));
    check(&args)
}

/// Runs `socklab check` on a client and a server.
pub(crate) fn check_pair(
    protocol: &str,
    options: &[&str],
    client: &[String],
    server: &[String],
) -> Run {
    let mut args = vec![protocol, "pair"];
    args.extend(options);
    let (client, server) = (quoted(client), quoted(server));
    args.extend(["--client", &client, "--server", &server]);
    check(&args)
}

/// Returns a command as one argument of `--server` or `--client`.
fn quoted(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    words.join(" ")
}

/// Calls `work` for every item, several at a time. Returns the results in the order of the items.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let count = items.len();
    let queue: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.into_iter().enumerate().collect());
    let results = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..at_once.min(count) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some((i, item)) = next else { return };
                    let result = work(item);
                    results.lock().unwrap().push((i, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
