//! `socklab check`.

mod files;
mod select;
mod state;
mod view;

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use self::files::Files;
use self::select::Selection;
use self::state::State;
use self::view::{Style, View};
use super::common::{Failure, Host, distinct, host, limit};
use crate::check::report::{Again, Counts, Format, Points, Report, json, text};
use crate::check::{
    self, Case, PROTOCOLS, Plan, Protocol, Role, Run, Setup, Target, Verdict, Wire,
};
use crate::net::reason;
use crate::text::one_line;
use crate::ui::signals::{self, Signal};
use crate::ui::{Output, say};

pub(super) const USAGE: &str = "\
socklab check PROTOCOL client|server [OPTIONS] -- COMMAND...
       socklab check PROTOCOL server [OPTIONS] --connect HOST:PORT
       socklab check PROTOCOL pair [OPTIONS] --server COMMAND --client COMMAND
       socklab check PROTOCOL client|server|pair --list";

/// Example commands with descriptions, for the help.
const EXAMPLES: [(&str, &str); 5] = [
    ("socklab check math server -- python3 server.py '{port}'", "start it on a free port"),
    ("socklab check math server --port 8000 -- java Server", "the port is fixed in the source"),
    ("socklab check math server --connect localhost:8000", "it already runs"),
    ("socklab check echo client -- ./client '{host}' '{port}'", "the messages are typed into it"),
    ("socklab check echo server --case 'close/*' -- ./server", "only some of the cases"),
];

pub(super) fn after_help() -> String {
    let mut text = String::from(
        "{host} and {port} in COMMAND stand for the address; the variables HOST and PORT contain it too. \
         Other placeholders, such as {message}, {name} or {remote}, give the program as arguments what is otherwise typed into \
         it; --list shows those of a protocol and role. Each case starts \
         the program anew. If it prints nothing because its output is buffered, its stdout becomes a terminal. \
         A verdict is pass, fail, skip (not run, and why) or info (the document does not require it, but \
         it is worth knowing). Examples:\n\n",
    );
    for (command, what) in EXAMPLES {
        text += &format!("  {command:<57}  {what}\n");
    }
    text += "\nIn a Gradescope autograder, run_autograder contains, after a pip install socklab in setup.sh:\n\n  \
             cd /autograder/submission; socklab check math server --quiet \\\n      \
             --gradescope /autograder/results/results.json -- python3 server.py '{port}'\n";
    text + "\nExit codes: 0 no case failed; 1 a case failed, every case was skipped, or --total-timeout expired; 2 usage error, or no such case; \
            3 the program could not be started, or a file could not be written; 130 interrupted."
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Client,
    Server,
    Pair,
}

fn protocols() -> PossibleValuesParser {
    PossibleValuesParser::new(PROTOCOLS.iter().map(|protocol| protocol.name))
}

/// Test a client or server that you have written
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The protocol, as in socklab PROTOCOL client
    #[arg(value_parser = protocols(), hide_possible_values = true)]
    protocol: String,
    /// What the program is; pair is both against each other, with a relay between them that judges what they send
    #[arg(value_enum)]
    role: RoleArg,
    /// Catches a command without `--` before it.
    #[arg(hide = true)]
    stray: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// List the cases with their requirements, and run nothing
    #[arg(long, help_heading = "Cases")]
    list: bool,
    /// Run only the cases that match; * stands for any text. The start, such as math/server/, may be omitted. Can be given
    /// several times
    #[arg(long = "case", value_name = "GLOB", help_heading = "Cases")]
    cases: Vec<String>,
    /// Do not run the cases that match. Can be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Cases")]
    exclude: Vec<String>,
    /// Run only the cases that failed in the last run of the same command in the same folder
    #[arg(long, help_heading = "Cases")]
    failed: bool,
    /// Skip the rest after the first failure
    #[arg(long, help_heading = "Cases")]
    fail_fast: bool,
    /// Treat info as failure
    #[arg(long, help_heading = "Cases")]
    strict: bool,

    /// Port that is fixed in the program
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Program")]
    port: Option<u16>,
    /// Test a server that already runs. What it prints and how it ends is not judged
    #[arg(long, value_name = "HOST:PORT", value_parser = host, conflicts_with_all = ["port", "keep"], help_heading = "Program")]
    connect: Option<Host>,
    /// Command of the server of a pair
    #[arg(long, value_name = "COMMAND", help_heading = "Program")]
    server: Option<String>,
    /// Command of the client of a pair
    #[arg(long, value_name = "COMMAND", help_heading = "Program")]
    client: Option<String>,
    /// Start the program once, not for each case
    #[arg(long, help_heading = "Program")]
    keep: bool,
    /// What is typed into the program: lines with \n between them. {message} stands for each line of a case, and {host} and
    /// {port} for the address [default: '{message}']
    #[arg(long, value_name = "TEMPLATE", help_heading = "Program")]
    stdin: Option<String>,
    /// Variant of the protocol, such as header=2 for echo. A wrong key lists those of the protocol
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Program")]
    wire: Vec<(String, String)>,

    /// Limit of each wait: 5 (seconds), 500ms or 2min. A program has 15 s to start. On Linux, time in which it gets no
    /// processor does not count
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = limit, allow_negative_numbers = true)]
    timeout: Duration,
    /// Limit for all cases together
    #[arg(long, value_name = "TIME", value_parser = limit, allow_negative_numbers = true)]
    total_timeout: Option<Duration>,
    /// Number of cases at a time [default: 6; 1 with --port, --connect and --keep]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), allow_negative_numbers = true)]
    jobs: Option<u16>,
    /// Seed of random pieces, to repeat a run [default: random, and shown]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Show only failures and the summary; not with --json or --tap
    #[arg(short, long, help_heading = "Results")]
    quiet: bool,
    /// Write results as JSON lines to stdout, usage errors included; not with --quiet or --tap
    #[arg(long, conflicts_with = "quiet", help_heading = "Results")]
    json: bool,
    /// Write results as TAP version 14 to stdout; not with --quiet or --json
    #[arg(long, conflicts_with_all = ["quiet", "json"], help_heading = "Results")]
    tap: bool,
    /// Write a page with a picture of every conversation
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    html: Option<PathBuf>,
    /// Write results in the XML of JUnit, for Jenkins, GitLab and others
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    junit: Option<PathBuf>,
    /// Write the results.json of a Gradescope autograder
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    gradescope: Option<PathBuf>,
    /// Write results for the autograding reporter of GitHub Classroom
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    github: Option<PathBuf>,
    /// Points of the cases, for --gradescope and --github: lines of GLOB POINTS; the last one that matches counts
    /// [default: 1 for each case that the document requires]
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    points: Option<PathBuf>,
}

/// Number of cases at a time. The time is spent waiting: on two processors, one at a time takes three times as long, from 4
/// on nothing changes, and from 12 on the programs disturb each other.
const JOBS: usize = 6;

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into() + "; see --help")
}

impl CheckArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let protocol = PROTOCOLS.iter().find(|p| p.name == self.protocol);
        let protocol = protocol.ok_or_else(|| usage("no such protocol"))?;
        let role = match self.role {
            RoleArg::Client => Role::Client,
            RoleArg::Server => Role::Server,
            RoleArg::Pair => Role::Pair,
        };
        let wire = self.wire(protocol)?;
        let mut cases = check::cases(protocol, role, &wire);
        let selection = Selection::new(&self.cases, &self.exclude);
        selection.apply(&mut cases, |case| check::id(protocol, role, case))?;
        if self.list {
            return self.print_list(protocol, role, &cases);
        }
        let target = self.target(protocol, role)?;
        self.check_files(&target)?;
        let points = self.points(protocol, &wire)?;
        let state = match &target {
            Target::Command(command) => State::load(protocol.name, role.name(), command),
            Target::Running(addr) => State::load(protocol.name, role.name(), &[addr.to_string()]),
            Target::Pair { client, server } => {
                State::load(protocol.name, role.name(), &[server.as_slice(), client].concat())
            }
        };
        if self.failed {
            self.only_failed(&state, &mut cases, |case| check::id(protocol, role, case));
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
        let setup = Arc::new(Setup {
            protocol: protocol.name,
            role,
            target,
            port: self.port,
            stdin: self.stdin.as_deref().map(unescaped),
            timeout: self.timeout,
            seed,
            wire,
            keep: self.keep,
            // A limit that no clock can reach is none.
            deadline: self.total_timeout.and_then(|time| Instant::now().checked_add(time)),
            cancelled: Arc::default(),
        });
        self.run_cases(protocol, &setup, &cases, &points, state)
    }

    fn run_cases(
        &self,
        protocol: &Protocol,
        setup: &Arc<Setup>,
        cases: &[Case],
        points: &Points,
        mut state: State,
    ) -> Result<(), Failure> {
        let files = Files::open(self.files())?;
        let watcher = cancel_on_interrupt(setup)?;
        let plan = Plan {
            jobs: match self.jobs {
                _ if !setup.is_parallel() => 1,
                Some(jobs) => jobs.into(),
                None => JOBS,
            },
            fail_fast: self.fail_fast,
            strict: self.strict,
        };
        let again = self.again(setup);
        let title = self.title(setup, cases.len());
        let report = |run: &Run, time| {
            let (again, title) = (&again, title.as_str());
            files.write(&Report { setup, title, again, points, run, time })
        };
        let results = check::unstarted(protocol, setup, cases);
        report(&Run { results, error: None, is_late: false, note: None }, Duration::ZERO)?;
        let ids = cases.iter().map(|case| check::id(protocol, setup.role, case)).collect();
        let style = match (self.json, self.tap) {
            (true, _) => Style::Json,
            (_, true) => Style::Tap,
            _ => Style::Text,
        };
        let mut view = View::new(style, self.quiet, ids, &again);
        let start = Instant::now();
        view.header(&title);
        let run = check::run(protocol, setup, cases, plan, &mut |result| {
            if view.result(result).is_err() {
                // Without a reader of the results, the run has no purpose.
                setup.cancelled.store(true, Ordering::Relaxed);
            }
        });
        let time = start.elapsed();
        watcher.close();
        state.update(&run.results);
        let written = report(&run, time);
        view.summary(setup, &run, points, time).map_err(Failure::stdout)?;
        if let Some(failure) = &run.error {
            return Err(Failure::System(failure.summary()));
        }
        written?;
        if setup.cancelled.load(Ordering::Relaxed) {
            return Err(Failure::INTERRUPTED);
        }
        if run.is_late {
            let text = "--total-timeout expired before all cases had been run";
            return Err(Failure::Peer(text.into()));
        }
        let counts = Counts::of(&run.results);
        if counts.skipped == counts.all() {
            return Err(none_judged(&run));
        }
        match counts.failed {
            0 => Ok(()),
            _ => Err(Failure::Judged),
        }
    }

    /// Checks that each file is another one, and none of the program under test.
    fn check_files(&self, target: &Target) -> Result<(), Failure> {
        let outputs = [
            ("--html", self.html.as_deref()),
            ("--junit", self.junit.as_deref()),
            ("--gradescope", self.gradescope.as_deref()),
            ("--github", self.github.as_deref()),
        ];
        let points = self.points.iter().map(|path| ("--points", path.as_path()));
        let words = match target {
            Target::Command(words) => [words.as_slice(), &[]],
            Target::Pair { client, server } => [client.as_slice(), server],
            Target::Running(_) => [&[][..], &[]],
        };
        let words = words.into_iter().flatten();
        let program = words.map(|word| ("the program's", Path::new(word)));
        distinct(&outputs, &points.chain(program).collect::<Vec<_>>())
    }

    /// Returns the files of results.
    fn files(&self) -> Vec<(Format, PathBuf)> {
        let files = [
            (Format::Html, &self.html),
            (Format::Junit, &self.junit),
            (Format::Gradescope, &self.gradescope),
            (Format::Github, &self.github),
        ];
        files.into_iter().filter_map(|(format, path)| Some((format, path.clone()?))).collect()
    }

    /// Returns the points of the cases. A file may be for both roles.
    fn points(&self, protocol: &Protocol, wire: &Wire) -> Result<Points, Failure> {
        let Some(path) = &self.points else { return Ok(Points::default()) };
        let shown = path.display();
        let bytes = fs::read(path)
            .map_err(|e| Failure::System(format!("cannot read {shown}: {}", reason(&e))))?;
        let text = String::from_utf8_lossy(&bytes);
        let ids = [Role::Client, Role::Server, Role::Pair].into_iter().flat_map(|role| {
            check::cases(protocol, role, wire)
                .into_iter()
                .map(move |case| check::id(protocol, role, &case))
        });
        let ids: Vec<_> = ids.collect();
        Points::parse(&text, &ids)
            .map_err(|e| Failure::Usage(format!("{shown}:{}", one_line(e.to_string()))))
    }

    /// Returns the first line of the results.
    fn title(&self, setup: &Setup, count: usize) -> String {
        let what = match &setup.target {
            Target::Command(words) => words.join(" "),
            Target::Running(addr) => addr.to_string(),
            Target::Pair { client, server } => {
                format!("{} with {}", client.join(" "), server.join(" "))
            }
        };
        let s = if count == 1 { "" } else { "s" };
        format!(
            "{} {}: {} ({count} case{s}, seed {})",
            setup.protocol,
            setup.role.name(),
            one_line(what),
            setup.seed
        )
    }

    fn print_list(&self, protocol: &Protocol, role: Role, cases: &[Case]) -> Result<(), Failure> {
        let mut output = Output::new(self.json, true);
        for case in cases {
            let written = if self.json {
                output.event(&json::case(protocol, role, case))
            } else {
                let id = check::id(protocol, role, case);
                let info = if case.is_info { "; info" } else { "" };
                let source = text::source(case.source);
                output.line(format!("{id}\n    {} ({source}{info})", case.requirement).as_bytes())
            };
            written.map_err(Failure::stdout)?;
        }
        if !self.json {
            // Indented, because a line without an indent is an id.
            let line = format!("\n    {}", check::placeholders(protocol, role));
            output.line(line.as_bytes()).map_err(Failure::stdout)?;
        }
        Ok(())
    }

    fn wire(&self, protocol: &Protocol) -> Result<Wire, Failure> {
        let mut wire = Wire::default();
        for (key, value) in &self.wire {
            let known = protocol.wire.iter().find(|(known, ..)| known == key);
            // A key without values takes any word.
            let is_one = |values: &[&str]| match values {
                [] => !value.is_empty() && !value.contains(char::is_whitespace),
                values => values.contains(&value.as_str()),
            };
            if !known.is_some_and(|(_, values, _)| is_one(values)) {
                let all = protocol.wire.iter().map(|(key, values, meaning)| {
                    let values = if values.is_empty() { "WORD" } else { &values.join("|") };
                    format!("{key}={values} ({meaning})")
                });
                let all = all.collect::<Vec<_>>().join(", ");
                let name = protocol.name;
                return Err(usage(match protocol.wire {
                    [] => format!("{name} has no variants that --wire selects"),
                    _ => format!("--wire {key}={value}: {name} has {all}"),
                }));
            }
            wire.set(key, value);
        }
        Ok(wire)
    }

    /// Returns the program under test. The errors say how it is given.
    fn target(&self, protocol: &Protocol, role: Role) -> Result<Target, Failure> {
        let example = match role {
            Role::Client => "-- python3 client.py '{host}' '{port}'",
            Role::Server => "-- python3 server.py '{port}'",
            Role::Pair => {
                "--server 'python3 server.py {port}' --client 'python3 client.py {host} {port}'"
            }
        };
        let example = format!("socklab check {} {} {example}", protocol.name, role.name());
        if let Some(word) = self.stray.first() {
            return Err(usage(format!(
                "'{word}': the command of the program follows after --, as in {example}"
            )));
        }
        if role == Role::Pair {
            let words = |command: &Option<String>, what: &str| match command
                .as_deref()
                .map(shell_words::split)
            {
                Some(Ok(words)) if !words.is_empty() => Ok(words),
                Some(Err(e)) => Err(usage(format!("--{what}: {e}"))),
                _ => Err(usage(format!("--{what} is missing or empty, as in {example}"))),
            };
            if self.keep || self.connect.is_some() || !self.command.is_empty() {
                return Err(usage(format!("a pair is given by its two commands, as in {example}")));
            }
            let (server, client) = (words(&self.server, "server")?, words(&self.client, "client")?);
            return Ok(Target::Pair { client, server });
        }
        if self.server.is_some() || self.client.is_some() {
            return Err(usage(format!(
                "--server and --client are for a pair; one program follows --, as in {example}"
            )));
        }
        if role == Role::Client && (self.keep || self.connect.is_some()) {
            return Err(usage(
                "--keep and --connect are for servers: a client is started for each case",
            ));
        }
        match (&self.connect, self.command.as_slice()) {
            (Some(_), [_, ..]) => Err(usage("give either a command after -- or --connect")),
            (Some(server), []) => Ok(Target::Running(resolve(server)?)),
            (None, []) => Err(usage(format!(
                "the program is missing: give its command after --, as in {example}"
            ))),
            (None, [first, ..]) if first == "--" => {
                Err(usage(format!("-- stands twice: once is enough, as in {example}")))
            }
            (None, [first, ..]) if first.is_empty() => {
                Err(usage("the name of the program is empty"))
            }
            (None, command) => Ok(Target::Command(command.to_vec())),
        }
    }

    /// Keeps only the cases that failed last time, if there are any.
    fn only_failed(&self, state: &State, cases: &mut Vec<Case>, id: impl Fn(&Case) -> String) {
        match state.failed() {
            None => say(
                "--failed: no earlier run of this command in this folder was found; all cases are run",
            ),
            Some(failed) if !cases.iter().any(|case| failed.contains(&id(case))) => {
                say("--failed: none of these cases failed last time; all are run");
            }
            Some(failed) => cases.retain(|case| failed.contains(&id(case))),
        }
    }

    /// Returns the command that runs a case again, with the options that matter for it.
    fn again(&self, setup: &Setup) -> Again {
        let mut before: Vec<String> =
            ["socklab", "check", setup.protocol, setup.role.name()].map(str::to_owned).to_vec();
        let mut option = |name: &str, value: String| before.extend([name.to_owned(), value]);
        if let Some(port) = self.port {
            option("--port", port.to_string());
        }
        if let Some(stdin) = &self.stdin {
            option("--stdin", stdin.clone());
        }
        for (key, value) in &self.wire {
            option("--wire", format!("{key}={value}"));
        }
        if self.timeout != Duration::from_secs(5) {
            option(
                "--timeout",
                humantime::format_duration(self.timeout).to_string().replace(' ', ""),
            );
        }
        if self.keep {
            before.push("--keep".to_owned());
        }
        let after = match &setup.target {
            Target::Command(command) => {
                std::iter::once("--".to_owned()).chain(command.iter().cloned()).collect()
            }
            Target::Running(addr) => vec!["--connect".into(), addr.to_string()],
            Target::Pair { client, server } => vec![
                "--server".into(),
                shell_words::join(server),
                "--client".into(),
                shell_words::join(client),
            ],
        };
        Again { before, after, seed: setup.seed }
    }
}

/// Returns the address of a server. IPv4 is preferred: the servers of the documents have no other.
fn resolve(server: &Host) -> Result<SocketAddr, Failure> {
    let (name, port) = server.parts();
    let Some(port) = port else {
        return Err(usage("--connect needs a port, as in --connect localhost:8000"));
    };
    let addrs = (name, port).to_socket_addrs().map_err(|e| {
        Failure::System(format!("could not resolve host {}: {}", one_line(name), reason(&e)))
    })?;
    let addrs: Vec<_> = addrs.collect();
    let addr = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
    addr.copied()
        .ok_or_else(|| Failure::System(format!("could not resolve host {}", one_line(name))))
}

/// Returns a template with \n, \t and \\ replaced.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('n' | 't' | '\\'))) => {
                chars.next();
                out.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
            }
            _ => out.push(c),
        }
    }
    out
}

/// Returns the failure of a run in which every case was skipped. It says nothing about the program, so it is not a success.
fn none_judged(run: &Run) -> Failure {
    let reason = run.results.iter().find_map(|result| match &result.verdict {
        Verdict::Skip(reason) => Some(reason.as_str()),
        _ => None,
    });
    Failure::Peer(format!(
        "no case was run, so nothing is known of the program: {}",
        reason.unwrap_or("none is left")
    ))
}

/// Makes an interrupt end the run: the cases that run are ended, and the others are skipped.
fn cancel_on_interrupt(setup: &Arc<Setup>) -> Result<Watcher, Failure> {
    let failed = |e| Failure::signals(&e);
    let mut signals =
        signals::watch(&[Signal::Interrupt, Signal::Terminate, Signal::Hangup]).map_err(failed)?;
    let closer = signals.closer();
    let setup = Arc::clone(setup);
    let thread = std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        for _ in signals.forever() {
            setup.cancelled.store(true, Ordering::Relaxed);
        }
    });
    Ok(Watcher { closer, thread: thread.map_err(failed)? })
}

/// Thread that waits for an interrupt.
struct Watcher {
    closer: signals::Closer,
    thread: std::thread::JoinHandle<()>,
}

impl Watcher {
    fn close(self) {
        self.closer.close();
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_of_lines_has_escapes() {
        assert_eq!(unescaped(r"{host}\n{message}\t\\n\x\"), "{host}\n{message}\t\\n\\x\\");
    }
}
