//! What the steps of a case do with the program itself.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::super::failure::{Failure, Kind, seconds};
use super::super::program::{Launch, Program, Terminals, found};
use super::super::setup::{Role, Target};
use super::{HANDOVER, LAST_WORDS, Outcome, STARTUP, Talk};
use crate::net::reason;
use crate::sys::{Activity, Exit, extra};
use crate::text::one_line;

/// Time for which the processor time of a program is measured, and the time that an idle one may use in it.
const SPIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(150));
/// Number of times that it is measured, until the program has used that time or is idle.
const SPIN_ROUNDS: usize = 5;
/// Processor time that a program may use in the first of these times and still be idle.
const IDLE: Duration = Duration::from_millis(30);

impl Talk {
    /// Starts the program, if it does not run.
    pub(in crate::check) fn start(&mut self) -> Outcome {
        let command = match self.setup.command() {
            [] => return Ok(()),
            command => command,
        };
        if self.program.is_some() {
            return Ok(());
        }
        let mut launch = self.setup.launch(command, self.place.addr, &self.inputs);
        launch.has_terminal = self.terminals.program;
        let mut program = Program::start(&launch).map_err(|e| {
            Box::new(Failure::new(
                Kind::NotStarted,
                format!("cannot start {}: {}", one_line(&launch.program), reason(&e)),
            ))
            .hint(not_started(&launch))
        })?;
        for line in self.setup.first_lines(self.place.addr, &self.inputs) {
            program.type_text(&line);
        }
        if self.inputs.ends {
            program.end_input();
        }
        self.program = Some(program);
        Ok(())
    }

    /// Kills the program, and starts it again at the same port.
    pub(in crate::check) fn restart(&mut self) -> Outcome {
        if let Some(reason) = self.setup.shared_reason() {
            return Err(Box::new(Failure::new(Kind::System, reason)));
        }
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
        (self.has_started, self.has_answered) = (false, false);
        self.start()
    }

    /// Returns whether the program runs.
    pub(in crate::check) fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(|program| program.exit().is_none())
    }

    /// Types a line.
    pub(in crate::check) fn type_line(&mut self, line: &str) -> Outcome {
        if matches!(self.setup.target, Target::Running(_)) {
            let reason = "the case types into the program, and --connect cannot do that";
            return Err(Box::new(Failure::new(Kind::System, reason)));
        }
        self.start()?;
        let text = self.setup.typed(line);
        if let Some(program) = &self.program {
            program.type_text(&text);
        }
        Ok(())
    }

    /// Returns where a server listens instead of on the address on which it should.
    pub(in crate::check) fn listens_elsewhere(&self) -> Option<(SocketAddr, SocketAddr)> {
        let wanted = self.place.addr;
        let listeners = self.program.as_ref()?.listeners();
        let others = listeners.iter().filter(|addr| addr.port() == wanted.port());
        let other = others.chain(&listeners).next().copied()?;
        (!listeners.contains(&wanted)).then_some((other, wanted))
    }

    /// Returns which programs have printed something.
    pub(in crate::check) fn prints(&mut self) -> Terminals {
        let has_printed = |program: &Program| program.stdout.total() > 0;
        Terminals {
            program: self.program.as_ref().is_some_and(has_printed),
            server: self.server().is_some_and(|server| has_printed(server)),
        }
    }

    /// Returns what the program has printed so far.
    pub(in crate::check) fn stdout(&self) -> String {
        self.program.as_ref().map(|program| program.stdout.text()).unwrap_or_default()
    }

    /// Waits until the program's standard output satisfies a condition.
    pub(in crate::check) fn printed(
        &mut self,
        what: &str,
        is_there: impl Fn(&str) -> bool,
    ) -> Outcome {
        self.wrote(what, is_there, |program| (program.stdout.text(), program.stdout.has_ended()))
    }

    /// Waits until what the program shows satisfies a condition: its standard output, or a log on standard error.
    pub(in crate::check) fn shown(
        &mut self,
        what: &str,
        is_there: impl Fn(&str) -> bool,
    ) -> Outcome {
        self.wrote(what, is_there, |program| {
            let text = format!("{}\n{}", program.stdout.text(), program.stderr.text());
            (text, program.stdout.has_ended() && program.stderr.has_ended())
        })
    }

    /// Returns what the program has shown: its standard output, and a log on standard error.
    pub(in crate::check) fn output(&self) -> String {
        let output = |program: &Program| program.stdout.text() + "\n" + &program.stderr.text();
        self.program.as_ref().map(output).unwrap_or_default()
    }

    /// Waits until an output of the program satisfies a condition. `output` returns its text, and whether it has ended.
    fn wrote(
        &mut self,
        what: &str,
        is_there: impl Fn(&str) -> bool,
        output: impl Fn(&Program) -> (String, bool),
    ) -> Outcome {
        if self.program.is_none() {
            return Ok(());
        }
        let mut text = String::new();
        let found = self.wait(self.setup.timeout, |talk| {
            let Some(program) = &talk.program else { return Ok(Some(true)) };
            // What was written before the end is in a text that is taken after it.
            let (_, has_ended) = output(program);
            (text, _) = output(program);
            let is_there = is_there(&text);
            Ok((is_there || has_ended).then_some(is_there))
        })?;
        if found == Some(true) {
            return Ok(());
        }
        let shown = match text.trim() {
            "" => "it printed nothing".to_owned(),
            text => format!("it printed \"{}\"", end_of(text)),
        };
        let mut text = format!("the program did not print {what}; {shown}");
        let mut kind = Kind::Output;
        if self.spins()? {
            text.push_str("; it keeps the processor busy");
            kind = Kind::Spinning;
        }
        let mut failure = Box::new(Failure::new(kind, text));
        // After a crash, there is another reason.
        failure.silent.program = self.program.as_ref().is_some_and(|program| {
            program.stdout.total() == 0 && crash(&program.stderr.text()).is_none()
        });
        Err(failure)
    }
    /// Waits until the program ends.
    pub(in crate::check) fn ended(&mut self) -> Outcome {
        if self.program.is_none() {
            return Ok(());
        }
        // A program of which nothing has been seen may still be starting.
        let limit = if self.has_started { self.setup.timeout } else { STARTUP };
        let exit = self.wait(limit, |talk| Ok(talk.program.as_mut().and_then(Program::exit)))?;
        match exit {
            Some(_) => Ok(()),
            None if self.spins()? => Err(Box::new(Failure::new(
                Kind::Spinning,
                format!(
                    "the program did not end within {} and keeps the processor busy",
                    seconds(limit)
                ),
            ))),
            None => Err(Box::new(Failure::new(
                Kind::Running,
                format!("the program did not end within {}", seconds(limit)),
            ))),
        }
    }

    /// Returns whether the program has ended, or is about to.
    pub(in crate::check) fn has_exited(&mut self) -> Outcome<bool> {
        self.exits_within(LAST_WORDS)
    }

    /// Returns whether the program has ended, or is about to, after a failure of this kind.
    pub(in crate::check) fn has_exited_after(&mut self, kind: Kind) -> Outcome<bool> {
        match kind {
            // Its sockets are closed before the process has ended, which takes longer on a loaded machine.
            Kind::Closed | Kind::Reset => self.exits_within(self.setup.timeout),
            _ => self.has_exited(),
        }
    }

    /// Waits until a program that has left has ended and everything that it wrote to stderr has been read, or until it
    /// seems to stay. `kind` is the failure by which it has left.
    pub(in crate::check) fn leaves_after(&mut self, kind: Kind) {
        let has_ended = |talk: &mut Self| match &mut talk.program {
            Some(program) => program.exit().is_some() && program.stderr.has_ended(),
            None => true,
        };
        let waits =
            |talk: &mut Self, limit| talk.wait(limit, |talk| Ok(has_ended(talk).then_some(())));
        // An error says that the run is interrupted.
        let _ = waits(self, LAST_WORDS);
        if matches!(kind, Kind::Closed | Kind::Reset)
            && self.is_running()
            && self.has_closed_its_port()
        {
            let _ = waits(self, self.setup.timeout);
        }
    }

    /// Returns whether nothing listens any more where the program, a server, did, if the system shows it. It ends then, but
    /// its sockets are closed before, and the rest takes long on a loaded machine. A server that stays must not notice the
    /// question: what a connection does to it would be taken for what the case did.
    fn has_closed_its_port(&self) -> bool {
        self.setup.role == Role::Server
            && !self.setup.is_datagrams()
            && extra::process::is_listening(self.place.addr) == Some(false)
    }

    fn exits_within(&mut self, limit: Duration) -> Outcome<bool> {
        let exit = self.wait(limit, |talk| Ok(talk.program.as_mut().and_then(Program::exit)))?;
        Ok(exit.is_some())
    }

    /// Checks that a program that has ended did so with exit code 0 and without a crash.
    pub(in crate::check) fn exit_was_clean(&mut self) -> Outcome {
        self.exit_was(|exit, has_crashed| has_crashed || exit != Exit::Code(0))
    }

    /// Checks that a program that has ended has not crashed.
    pub(in crate::check) fn exit_was_no_crash(&mut self) -> Outcome {
        self.exit_was(|_, has_crashed| has_crashed)
    }

    fn exit_was(&mut self, is_wrong: fn(Exit, bool) -> bool) -> Outcome {
        let Some(program) = &mut self.program else { return Ok(()) };
        let Some((exit, _)) = program.exit() else { return Ok(()) };
        let start = Instant::now();
        // A descendant may keep the pipe open.
        while !program.stderr.has_ended() && start.elapsed() < HANDOVER {
            thread::sleep(Duration::from_millis(1));
        }
        let crash = crash(&program.stderr.text());
        let has_crashed = crash.is_some() || matches!(exit, Exit::Signal(_));
        if !is_wrong(exit, has_crashed) {
            return Ok(());
        }
        let text = match (exit, crash) {
            (Exit::Code(code), Some(crash)) => {
                format!("the program ended with {crash} and exit code {code}")
            }
            (Exit::Code(code), None) => format!("the program ended with exit code {code}"),
            (Exit::Signal(signal), _) => format!("the program was ended by signal {signal}"),
        };
        Err(Box::new(Failure::new(Kind::Exit, text)))
    }

    /// Returns what the program does, and the server of a pair, if the system reports it.
    pub(super) fn activity(&mut self) -> Option<Activity> {
        let server = self.server().and_then(|server| server.activity());
        let program = self.program.as_ref().and_then(Program::activity);
        Some(program? + server.unwrap_or_default())
    }

    /// Returns whether the program uses the processor, although it has nothing to do.
    pub(in crate::check) fn spins(&mut self) -> Outcome<bool> {
        let cpu = |program: &Program| Some(program.activity()?.cpu);
        let Some(before) = self.program.as_ref().and_then(cpu) else { return Ok(false) };
        for _ in 0..SPIN_ROUNDS {
            // Until it ends.
            self.wait(SPIN.0, |talk| Ok(talk.program.as_mut().and_then(Program::exit)))?;
            let Some(program) = &mut self.program else { return Ok(false) };
            if program.exit().is_some() {
                return Ok(false);
            }
            let used = cpu(program).unwrap_or(before).saturating_sub(before);
            if used >= SPIN.1 {
                return Ok(true);
            }
            if used < IDLE {
                return Ok(false);
            }
            // The machine may be busy, and the program gets a small part of its time.
        }
        Ok(false)
    }
}

/// Returns what to do about a command that cannot be started.
fn not_started(launch: &Launch) -> String {
    let path = found(&launch.program);
    let text = if path.is_dir() {
        "it is a folder: name the program itself"
    } else if path.extension().is_some_and(|end| end == "py") {
        "a Python program is started with python3, as in -- python3 FILE"
    } else if path.is_file() {
        "the file is not a program, or it is not marked as executable: chmod +x, or start it with its interpreter"
    } else if launch.args.is_empty() && launch.program.contains(' ') {
        "write the words of the command separately, without quotes around all of them"
    } else {
        "no such program: check its name and the folder"
    };
    text.to_owned()
}

/// Returns the end of a text, escaped.
fn end_of(text: &str) -> String {
    const SHOWN: usize = 120;
    let start = text.len().saturating_sub(SHOWN);
    let start = (start..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
    let dots = if start > 0 { "..." } else { "" };
    format!("{dots}{}", one_line(text.get(start..).unwrap_or_default()))
}

/// Returns what a program has left on its standard error, if it has crashed.
fn crash(stderr: &str) -> Option<&'static str> {
    const CRASHES: [(&str, &str); 3] = [
        ("Traceback (most recent call last)", "a traceback"),
        ("Exception in thread \"main\"", "an exception"),
        ("panicked at ", "a panic"),
    ];
    CRASHES.iter().find(|(text, _)| stderr.contains(text)).map(|(_, what)| *what)
}
