//! Runs cases against a program.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::case::{Case, Group, Protocol, Situation};
use super::failure::{Bytes, Failure, Kind, seconds};
use super::hint;
use super::placeholders;
use super::program::{Program, Terminals};
use super::setup::{Role, Setup};
use super::talk::{INTERRUPTED, Kept, LATE, Outcome, Talk};
use crate::net::reason;
use crate::sys::Exit;
use crate::ui::recording::Recording;

/// Result of a case.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Fail(Box<Failure>),
    /// The document does not require it, but it is worth knowing.
    Info(Box<Failure>),
    /// The case was not run. Contains the reason.
    Skip(String),
}

impl Verdict {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Info(_) => "info",
            Self::Skip(_) => "skip",
        }
    }

    pub(crate) const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Fail(failure) | Self::Info(failure) => Some(failure),
            Self::Pass | Self::Skip(_) => None,
        }
    }
}

/// A case that has been run or skipped.
pub(crate) struct CaseResult {
    /// `protocol/role/group/name`.
    pub(crate) id: String,
    pub(crate) group: Group,
    pub(crate) requirement: &'static str,
    pub(crate) source: &'static str,
    /// Whether the document does not require it.
    pub(crate) is_info: bool,
    pub(crate) verdict: Verdict,
    pub(crate) time: Duration,
    /// What happened on the wire.
    pub(crate) recording: Option<Recording>,
    /// Standard output and standard error of the program, as much as was kept.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How cases are run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Number of cases at a time.
    pub(crate) jobs: usize,
    /// Whether the first failure ends the run.
    pub(crate) fail_fast: bool,
    /// Whether what the document does not require is a failure too.
    pub(crate) strict: bool,
}

/// Outcome of a run.
pub(crate) struct Run {
    /// Results in the order of the cases.
    pub(crate) results: Vec<CaseResult>,
    /// Why the program cannot be started at all. The other cases are skipped then.
    pub(crate) error: Option<Box<Failure>>,
    /// Whether the total time expired before all cases had been run.
    pub(crate) is_late: bool,
    /// How the program was tested, if that is not as usual. Holds for all cases.
    pub(crate) note: Option<&'static str>,
}

/// What the cases of a run leave for each other.
#[derive(Default)]
struct Shared {
    /// The program that serves all cases.
    kept: Mutex<Option<Kept>>,
    /// Programs that print with a terminal, and nothing without one.
    terminals: Mutex<Terminals>,
}

impl Shared {
    fn terminals(&self) -> MutexGuard<'_, Terminals> {
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs cases, several at a time. `report` is called in the order in which they end.
///
/// If a basic case fails, the cases of the other groups are skipped.
pub(crate) fn run(
    protocol: &Protocol,
    setup: &Arc<Setup>,
    cases: &[Case],
    plan: Plan,
    report: &mut dyn FnMut(&CaseResult),
) -> Run {
    let (basic, mut others): (Vec<usize>, Vec<usize>) =
        (0..cases.len()).partition(|i| cases[*i].group == Group::Basic);
    if plan.jobs > 1 {
        // The longest waits stand at the end of the tables: a server that serves one client at a time is found by a limit.
        others.reverse();
    }
    let mut results: Vec<Option<CaseResult>> = cases.iter().map(|_| None).collect();
    let mut error = None;
    let is_late = AtomicBool::new(false);
    let shared = Shared::default();
    for (phase, indices) in [basic, others].into_iter().enumerate() {
        let has_failed = |results: &[Option<CaseResult>]| {
            results.iter().flatten().any(|result| matches!(result.verdict, Verdict::Fail(_)))
        };
        let has_no_basis = phase == 1 && has_failed(&results);
        let queue = Mutex::new(VecDeque::from(indices));
        let stopped = AtomicBool::new(error.is_some());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..plan.jobs.max(1) {
                let (sender, next, stopped) = (sender.clone(), &next, &stopped);
                let (is_late, shared) = (&is_late, &shared);
                scope.spawn(move || {
                    while let Some(i) = next() {
                        let case = &cases[i];
                        let skip = |reason| Ok(skipped(protocol, setup, case, reason));
                        let result = if setup.cancelled.load(Ordering::Relaxed) {
                            skip(INTERRUPTED)
                        } else if setup.is_late() {
                            is_late.store(true, Ordering::Relaxed);
                            skip(LATE)
                        } else if has_no_basis {
                            skip("a basic case failed")
                        } else if stopped.load(Ordering::Relaxed) {
                            skip(if plan.fail_fast { "a case failed before" } else { NOT_STARTED })
                        } else {
                            run_case(protocol, setup, case, plan, shared)
                        };
                        if result.is_err()
                            || plan.fail_fast
                                && matches!(
                                    &result,
                                    Ok(CaseResult { verdict: Verdict::Fail(_), .. })
                                )
                        {
                            stopped.store(true, Ordering::Relaxed);
                        }
                        if sender.send((i, result)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (i, result) in receiver {
                let result = result.unwrap_or_else(|failure| {
                    error.get_or_insert(failure);
                    skipped(protocol, setup, &cases[i], NOT_STARTED)
                });
                report(&result);
                results[i] = Some(result);
            }
        });
    }
    let results: Vec<_> = results.into_iter().flatten().collect();
    let is_late = is_late.into_inner()
        || results.iter().any(|r| matches!(&r.verdict, Verdict::Skip(reason) if reason == LATE));
    let note = shared.terminals().note(setup.role == Role::Pair);
    Run { results, error, is_late, note }
}

/// Reason for which a case is not run if the program cannot be started.
pub(crate) const NOT_STARTED: &str = "the program cannot be started";

/// Returns the results of cases before they are run.
pub(crate) fn unstarted(protocol: &Protocol, setup: &Setup, cases: &[Case]) -> Vec<CaseResult> {
    cases.iter().map(|case| skipped(protocol, setup, case, "not run yet")).collect()
}

/// Returns the id of a case.
pub(crate) fn id(protocol: &Protocol, role: Role, case: &Case) -> String {
    format!("{}/{}/{}/{}", protocol.name, role.name(), case.group.name(), case.name)
}

fn skipped(protocol: &Protocol, setup: &Setup, case: &Case, reason: &str) -> CaseResult {
    CaseResult {
        id: id(protocol, setup.role, case),
        group: case.group,
        requirement: case.requirement,
        source: case.source,
        is_info: case.is_info,
        verdict: Verdict::Skip(reason.to_owned()),
        time: Duration::ZERO,
        recording: None,
        stdout: String::new(),
        stderr: String::new(),
    }
}

/// Runs a case. An error means that the program cannot be started.
///
/// A failure after a stall of the machine says nothing about the program. The case is repeated then.
///
/// A program that has printed nothing gets a terminal in a further attempt. If that shows any output, it keeps it.
fn run_case(
    protocol: &Protocol,
    setup: &Arc<Setup>,
    case: &Case,
    plan: Plan,
    shared: &Shared,
) -> Result<CaseResult, Box<Failure>> {
    const ATTEMPTS: usize = 5;
    let start = Instant::now();
    let mut attempt = 1;
    loop {
        let Attempt { mut result, stall, .. } =
            run_with_terminals(protocol, setup, case, plan, shared)?;
        result.time = start.elapsed();
        let Some(stall) = stall.filter(|_| result.verdict.failure().is_some()) else {
            return Ok(result);
        };
        if attempt == ATTEMPTS {
            result.verdict = Verdict::Skip(format!(
                "this machine is too busy: it stopped for {} ms in the middle of a message",
                stall.as_millis()
            ));
            return Ok(result);
        }
        attempt += 1;
    }
}

/// A case that has been run once.
struct Attempt {
    result: CaseResult,
    /// Longest stall of the machine, if the program may have noticed it.
    stall: Option<Duration>,
    /// Programs that have printed something.
    prints: Terminals,
}

/// Runs a case, and again with a terminal for a program that has printed nothing. Of a pair, both may need one.
fn run_with_terminals(
    protocol: &Protocol,
    setup: &Arc<Setup>,
    case: &Case,
    plan: Plan,
    shared: &Shared,
) -> Result<Attempt, Box<Failure>> {
    let mut terminals = *shared.terminals();
    let mut attempt = run_once(protocol, setup, case, plan, terminals, shared)?;
    loop {
        let failure = attempt.result.verdict.failure();
        let silent = failure.map(|failure| failure.silent).unwrap_or_default();
        let wanted = terminals.and(silent);
        if wanted == terminals || !Terminals::exist() {
            return Ok(attempt);
        }
        // The program that serves all cases has no terminal.
        drop(shared.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
        let next = run_once(protocol, setup, case, plan, wanted, shared)?;
        if next.prints.and(silent) != next.prints {
            // Nothing with a terminal either.
            return Ok(attempt);
        }
        let mut known = shared.terminals();
        *known = known.and(silent);
        (attempt, terminals) = (next, wanted);
    }
}

/// Runs a case once. An error means that the program cannot be started.
fn run_once(
    protocol: &Protocol,
    setup: &Arc<Setup>,
    case: &Case,
    plan: Plan,
    terminals: Terminals,
    shared: &Shared,
) -> Result<Attempt, Box<Failure>> {
    if let Some(reason) = setup.shared_reason().filter(|_| case.has_own_start()) {
        let result = skipped(protocol, setup, case, reason);
        return Ok(Attempt { result, stall: None, prints: Terminals::default() });
    }
    let mut result = skipped(protocol, setup, case, "");
    let folder = if case.has_folder() { Some(folder_with(&case.files)?) } else { None };
    let mut inputs = case.inputs.clone();
    inputs.folder = folder.as_ref().map(|folder| folder.path().join(FILES));
    if let (Some(folder), Some(name)) = (&inputs.folder, case.local) {
        inputs.values.push(("local", folder.join(name).display().to_string()));
    }
    let kept = &shared.kept;
    let before = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut talk = Talk::new(setup, inputs, terminals, before)?;
    result.verdict = match play(case, &mut talk) {
        Ok(()) => Verdict::Pass,
        Err((failure, _)) if failure.kind == Kind::NotStarted => return Err(failure),
        Err((failure, _)) if failure.kind == Kind::System => Verdict::Skip(failure.message),
        Err((mut failure, is_info)) => {
            explain(protocol, setup, case, &mut talk, &mut failure);
            if (case.is_info || is_info) && !plan.strict {
                Verdict::Info(failure)
            } else {
                Verdict::Fail(failure)
            }
        }
    };
    let prints = talk.prints();
    talk.finish();
    if let Some(program) = &mut talk.program {
        if !setup.keep {
            program.kill();
        }
        (result.stdout, result.stderr) = (program.stdout.text(), program.stderr.text());
    }
    let stall = talk.stall();
    let (recording, program) = talk.into_parts();
    if setup.keep {
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = program;
    }
    result.recording = Some(recording);
    Ok(Attempt { result, stall, prints })
}

/// Performs the steps. Returns the first failure, and whether it is information.
fn play(case: &Case, talk: &mut Talk) -> Result<(), (Box<Failure>, bool)> {
    for (i, step) in case.steps.iter().enumerate() {
        let outcome: Outcome = (step.run)(talk);
        outcome.map_err(|mut failure| {
            failure.step = (i + 1, step.text.to_string());
            (failure, step.is_info)
        })?;
    }
    Ok(())
}

/// Name of the folder of a case in a temporary folder. So there can be files beside it too.
const FILES: &str = "files";

fn folder_with(files: &[(&str, Vec<u8>)]) -> Result<tempfile::TempDir, Box<Failure>> {
    let written = tempfile::Builder::new().prefix("socklab-").tempdir().and_then(|folder| {
        let path = folder.path().join(FILES);
        fs::create_dir(&path)?;
        for (name, content) in files {
            fs::write(path.join(name), content)?;
        }
        Ok(folder)
    });
    let failed = |e: &std::io::Error| format!("cannot write the files of the case: {}", reason(e));
    written.map_err(|e| Box::new(Failure::new(Kind::NotStarted, failed(&e))))
}

/// Adds to a failure what the program did, and what is probably wrong in it.
fn explain(
    protocol: &Protocol,
    setup: &Setup,
    case: &Case,
    talk: &mut Talk,
    failure: &mut Failure,
) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let may_spin = matches!(case.group, Group::Close | Group::Reset | Group::Sequential)
        && matches!(
            failure.kind,
            Kind::Silent | Kind::Incomplete | Kind::StillOpen | Kind::Running
        );
    let spins = may_spin && talk.spins().unwrap_or(false);
    let has_left = matches!(
        failure.kind,
        Kind::Closed
            | Kind::Reset
            | Kind::NotListening
            | Kind::NotConnected
            | Kind::Output
            | Kind::Exit
    );
    if has_left {
        talk.leaves_after(failure.kind);
    }
    if let Some(program) = &mut talk.program {
        failure.program =
            Some(state(program) + if spins { ", and kept the processor busy" } else { "" });
        failure.stderr = program.stderr.last_line();
        (stdout, stderr) = (program.stdout.text(), program.stderr.text());
    }
    if let Some(server) = talk.server() {
        let client =
            failure.program.take().map(|text| text.replacen("the program", "the client", 1));
        let server_state = state(server).replacen("the program", "the server", 1);
        failure.program =
            Some(client.map_or(server_state.clone(), |client| format!("{client}; {server_state}")));
        failure.stderr = failure.stderr.take().or_else(|| server.stderr.last_line());
        stderr += &server.stderr.text();
    }
    if failure.hint.is_none() {
        let is_unreached = match failure.kind {
            Kind::NotConnected => true,
            // A program that has ended says why, unless it only misses its argument.
            Kind::NotListening => {
                talk.is_running()
                    || hint::lacks_argument(&stderr)
                    // Several copies of a program with a fixed port.
                    || stderr.contains("Address already in use")
            }
            _ => false,
        };
        let talk_runs = talk.is_running();
        let none = Bytes::default();
        let situation = Situation {
            role: setup.role,
            group: case.group,
            is_datagrams: setup.is_datagrams(),
            wire: &setup.wire,
            kind: if spins { Kind::Spinning } else { failure.kind },
            bytes: failure.bytes.as_ref().unwrap_or(&none),
            sent: &talk.sent,
            case_hint: case.hint,
            has_ended: talk.program.as_mut().is_some_and(|program| program.exit().is_some()),
            stdout: &stdout,
            stderr: &stderr,
        };
        let typed = setup.typed_names(&talk.inputs);
        let asks = || if is_unreached && talk_runs { hint::asks(&stdout) } else { None };
        let is_server = failure.kind == Kind::NotListening && !setup.is_datagrams();
        let elsewhere = if is_server { hint::elsewhere(setup, talk) } else { None };
        let is_absent = failure.kind == Kind::NotListening
            || failure.kind == Kind::Silent && talk.sent.is_empty();
        let has_left = talk.is_kept && is_absent && stderr.trim().is_empty();
        failure.hint = has_left
            .then(|| hint::ONE_CLIENT_KEPT.to_owned())
            .or(elsewhere)
            .or_else(asks)
            .or_else(|| hint::other_end(&situation))
            .or_else(|| (is_unreached && setup.lacks_port()).then(|| hint::NO_PORT.to_owned()))
            .or_else(|| placeholders::missing(&situation, &typed))
            .or_else(|| hint::form(&situation))
            .or_else(|| (protocol.hint)(&situation))
            .or_else(|| hint::specific(&situation))
            .or_else(|| case.hint.map(str::to_owned))
            .or_else(|| placeholders::unsaid(&situation, &typed))
            .or_else(|| hint::by_group(&situation));
    }
    // At its end, it has written what was in a buffer.
    let runs = |program: Option<&mut Program>| program.is_some_and(|p| p.exit().is_none());
    let may_be_buffered = failure.silent.program && runs(talk.program.as_mut())
        || failure.silent.server && runs(talk.server());
    if failure.kind == Kind::Output && may_be_buffered {
        let hint = failure.hint.take().map(|hint| hint + "; ").unwrap_or_default();
        failure.hint = Some(hint + hint::BUFFER);
    }
}

/// Returns how a program has ended, or that it still runs.
fn state(program: &mut Program) -> String {
    match program.exit() {
        None => "the program was still running".to_owned(),
        Some((exit, time)) => {
            let time = seconds(time);
            match exit {
                Exit::Code(code) => format!("the program ended with exit code {code} after {time}"),
                Exit::Signal(signal) => {
                    format!("the program was ended by signal {signal} after {time}")
                }
            }
        }
    }
}
