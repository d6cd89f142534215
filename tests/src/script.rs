//! Runs one machine against a script under every cut, and checks the laws at [`Machine`].
//!
//! A [`Script`] is what the peer does: the bytes it sends, where it pauses and how its stream ends.
//! A [`Role`] is the application. A [`Plan`] holds everything that must not change the result:
//! where reads are cut, how much output space there is and when output is sent. The [`Transcript`]
//! must be the same under every plan.

mod failure;

use socklab_core::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Spans as _, Step, StreamEnd, StreamState,
};

pub use failure::{Failure, assert_lawful};

use crate::role::Role;

/// Longest script, in bytes, of which every pair of cuts is tried.
const PAIRS_UP_TO: usize = 20;

/// Number of consecutive steps that may move no byte. More of them are reported as a stall.
const IDLE_STEPS: usize = 8;

/// What the peer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Script<'b> {
    /// Bytes the peer sends.
    pub bytes: &'b [u8],
    /// Offsets, in ascending order, after which the peer pauses for longer than any machine waits.
    /// A machine that asks for [`Need::InputOrIdle`] there sees [`StreamState::Idle`]. It sees it
    /// nowhere else.
    pub pauses: &'b [usize],
    /// How the peer's stream ends. `None` leaves it open.
    pub end: Option<StreamEnd>,
}

impl<'b> Script<'b> {
    /// Creates a script without pauses.
    #[must_use]
    pub const fn new(bytes: &'b [u8], end: Option<StreamEnd>) -> Self {
        Self { bytes, pauses: &[], end }
    }

    /// Returns the first pause at offset `at` or later.
    fn next_pause(&self, at: usize) -> Option<usize> {
        self.pauses.iter().copied().find(|pause| *pause >= at)
    }

    /// Returns the first `length` bytes and the pauses among them, with another end.
    fn truncated(&self, length: usize, end: Option<StreamEnd>) -> Self {
        let pauses = self.pauses.iter().take_while(|pause| **pause <= length).count();
        Self { bytes: &self.bytes[..length], pauses: &self.pauses[..pauses], end }
    }
}

/// Everything that must not change the result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Offsets, in ascending order, at which a read ends.
    pub cuts: Vec<usize>,
    /// Whether a read ends after every byte.
    pub every_byte: bool,
    /// Whether the end arrives alone, after all bytes have been stepped over. Otherwise it arrives
    /// with the last bytes.
    pub end_apart: bool,
    /// Size of the output buffer in bytes.
    pub window: usize,
    /// Whether output is sent only when the machine asks for space. Otherwise it is sent after
    /// every step.
    pub lazy: bool,
    /// Largest input, in bytes, that one step is given.
    pub cap: Option<usize>,
    /// Whether the caller takes inbound payload itself instead of passing it to the machine.
    pub take: bool,
}

impl Plan {
    /// One read, and more output space than any test needs.
    #[must_use]
    pub const fn whole() -> Self {
        Self {
            cuts: Vec::new(),
            every_byte: false,
            end_apart: true,
            window: 1 << 11,
            lazy: false,
            cap: None,
            take: false,
        }
    }

    /// Returns the offset at which the read that starts at `at` ends.
    fn next_cut(&self, at: usize, length: usize) -> usize {
        if self.every_byte {
            return (at + 1).min(length);
        }
        self.cuts.iter().copied().find(|cut| *cut > at).unwrap_or(length).min(length)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine returned `Action::Close`.
    Done,
    /// The machine returned `Action::Abort`.
    Abort,
    /// The machine failed: its error in `Debug` and in `Display`.
    Error(String, String),
    /// The script has ended, and the machine still needs this.
    Waiting(Need),
}

/// One event, and the totals at the time it was emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted<E> {
    /// The event. The pieces of one message are joined.
    pub event: E,
    /// Total number of input bytes consumed.
    pub consumed: usize,
    /// Total number of output bytes written.
    pub written: usize,
}

/// What must be the same under every plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript<E> {
    /// Events the machine emitted.
    pub emitted: Vec<Emitted<E>>,
    /// Bytes sent to the peer.
    pub sent: Vec<u8>,
    /// Offsets in `sent` at which the machine asked for a write boundary.
    pub boundaries: Vec<usize>,
    /// Number of input bytes consumed.
    pub consumed: usize,
    /// How the run ended.
    pub outcome: Outcome,
}

impl<E: Clone> Transcript<E> {
    /// Returns the events without their totals.
    #[must_use]
    pub fn events(&self) -> Vec<E> {
        self.emitted.iter().map(|emitted| emitted.event.clone()).collect()
    }

    /// Returns the machine's error as text, or an empty text.
    #[must_use]
    pub fn error_text(&self) -> &str {
        match &self.outcome {
            Outcome::Error(_, text) => text,
            _ => "",
        }
    }
}

struct Run<'r, R: Role> {
    plan: &'r Plan,
    role: R,
    machine: R::Machine,
    window: Vec<u8>,
    /// Number of bytes at the front of the window that are not sent yet.
    queued: usize,
    sent: Vec<u8>,
    emitted: Vec<Emitted<R::Event>>,
    boundaries: Vec<usize>,
    consumed: usize,
    /// Whether anything has changed since the last step.
    moved: bool,
}

/// Runs the machine of `role` against one script under one plan.
///
/// # Errors
///
/// The law that the machine broke.
pub fn run<R: Role>(
    role: &R,
    script: &Script<'_>,
    plan: &Plan,
) -> Result<Transcript<R::Event>, String> {
    let machine = role.machine();
    let mut run = Run::<R> {
        plan,
        role: role.clone(),
        machine,
        window: vec![0; plan.window],
        queued: 0,
        sent: Vec::new(),
        emitted: Vec::new(),
        boundaries: Vec::new(),
        consumed: 0,
        moved: true,
    };
    let outcome = run.run_script(script)?;
    run.drain();
    let Run { sent, emitted, boundaries, consumed, .. } = run;
    Ok(Transcript { emitted, sent, boundaries, consumed, outcome })
}

impl<R: Role> Run<'_, R> {
    fn run_script(&mut self, script: &Script<'_>) -> Result<Outcome, String> {
        let Script { bytes, end, .. } = *script;
        let (mut arrived, mut after, mut idle) = (0, StreamState::Open, 0);
        // Offset of the next pause.
        let mut pause = script.next_pause(0);
        if !R::TAKES_TURNS {
            self.give_commands()?;
        }
        loop {
            let limit = self.plan.cap.map_or(arrived, |cap| arrived.min(self.consumed + cap));
            let is_last = limit == arrived;
            let seen = &bytes[self.consumed..limit];
            let input =
                Input { bytes: seen, state: if is_last { after } else { StreamState::Open } };
            if self.plan.take && self.take(seen)? {
                continue;
            }
            let action = match self.step(input)? {
                Ok(action) => action,
                Err(outcome) => return Ok(outcome),
            };
            let (left, room) = (limit - self.consumed, self.window.len() - self.queued);
            if !self.plan.lazy {
                self.drain();
            }
            idle = if std::mem::take(&mut self.moved) { 0 } else { idle + 1 };
            if idle > IDLE_STEPS {
                return Err(format!(
                    "stall: {IDLE_STEPS} steps moved nothing, the last one returned {action:?}"
                ));
            }
            let wants_input = match action {
                Action::Event(()) => {
                    if !R::TAKES_TURNS {
                        self.give_commands()?;
                    }
                    continue;
                }
                Action::Continue => continue,
                Action::Boundary => {
                    self.boundaries.push(self.written());
                    continue;
                }
                Action::Close | Action::Abort => {
                    self.check_final(&action)?;
                    return Ok(if action == Action::Close {
                        Outcome::Done
                    } else {
                        Outcome::Abort
                    });
                }
                Action::Need(Need::OutputSpace) => {
                    if room >= R::Machine::MIN_OUTPUT {
                        return Err(format!("stall: asks for output space and has {room} bytes"));
                    }
                    self.drain();
                    continue;
                }
                Action::Need(Need::Command) => {
                    if self.give_commands()? {
                        continue;
                    }
                    false
                }
                Action::Need(Need::InputOrCommand) => {
                    if self.give_commands()? {
                        continue;
                    }
                    true
                }
                Action::Need(Need::Input | Need::InputOrIdle(_)) => true,
            };
            if wants_input && left >= R::Machine::MIN_INPUT {
                return Err(format!("stall: asks for input and has {left} bytes"));
            }
            if wants_input && matches!(input.state, StreamState::Ended(_)) {
                return Err("stall: asks for input after the end".into());
            }
            // Next comes a pause, a read, or the end.
            if pause == Some(arrived) {
                pause = script.next_pause(arrived + 1);
                // Only a machine that asked for it sees the pause.
                if matches!(action, Action::Need(Need::InputOrIdle(_))) {
                    after = StreamState::Idle;
                }
            } else if arrived < bytes.len() {
                let next = self.plan.next_cut(arrived, bytes.len());
                // A read ends at a pause.
                arrived = pause.map_or(next, |pause| next.min(pause));
                after = StreamState::Open;
                if arrived == bytes.len() && pause != Some(arrived) && !self.plan.end_apart {
                    after = end.map_or(StreamState::Open, StreamState::Ended);
                }
            } else if let (StreamState::Open | StreamState::Idle, Some(how)) = (after, end) {
                after = StreamState::Ended(how);
            } else {
                let Action::Need(need) = action else {
                    unreachable!("every other action returned or continued above")
                };
                return Ok(Outcome::Waiting(need));
            }
            self.moved = true;
        }
    }

    fn written(&self) -> usize {
        self.sent.len() + self.queued
    }

    fn drain(&mut self) {
        self.moved |= self.queued > 0;
        self.sent.extend_from_slice(&self.window[..self.queued]);
        self.queued = 0;
    }

    /// Takes one step and checks the laws that hold for every step.
    fn step(&mut self, input: Input<'_>) -> Result<Result<Action<()>, Outcome>, String> {
        // The two outputs are filled with different bytes, so a byte that is claimed but not
        // written differs.
        let room = &mut self.window[self.queued..];
        room.fill(0xee);
        let mut other_room = vec![0x11; room.len()];
        let before = self.machine.clone();
        let mut peek = self.machine.clone();
        let peeked = peek.step(input, &mut other_room);
        let stepped = self.machine.step(input, room);
        if peek != self.machine {
            return Err(format!("a copy stepped to {peek:?}, the machine to {:?}", self.machine));
        }
        let Step { consumed, written, action } = match (stepped, peeked) {
            (Ok(step), Ok(peeked)) => {
                let (a, b) = (step.action.map(|_| ()), peeked.action.map(|_| ()));
                if (step.consumed, step.written, a) != (peeked.consumed, peeked.written, b) {
                    return Err(format!("a copy returned {peeked:?}, the machine {step:?}"));
                }
                step
            }
            (Err(e), peeked) => {
                if before != self.machine {
                    let now = &self.machine;
                    return Err(format!("the error {e:?} changed {before:?} to {now:?}"));
                }
                if peeked.err() != Some(e) {
                    return Err(format!("a copy does not return the error {e:?}"));
                }
                let again = self.machine.step(input, &mut self.window[self.queued..]);
                if again.err() != Some(e) || before != self.machine {
                    return Err(format!("the error {e:?} does not repeat"));
                }
                return Ok(Err(Outcome::Error(format!("{e:?}"), e.to_string())));
            }
            (Ok(step), Err(e)) => {
                return Err(format!("a copy returned the error {e:?}, the machine {step:?}"));
            }
        };
        if consumed > input.bytes.len() || written > room.len() {
            let (bytes, room) = (input.bytes.len(), room.len());
            return Err(format!(
                "took more than it was given: consumed {consumed} of {bytes} input bytes, wrote {written} of {room} output bytes"
            ));
        }
        if room[..written] != other_room[..written] {
            return Err(format!("reports {written} bytes and did not write all of them"));
        }
        let is_idle = consumed == 0 && written == 0 && before == self.machine;
        if is_idle && matches!(action, Action::Continue | Action::Event(_) | Action::Boundary) {
            return Err(format!("a step without effect: {action:?}"));
        }
        let what = action.map(|_| ());
        self.consumed += consumed;
        self.queued += written;
        self.moved |= consumed > 0 || written > 0;
        if let Action::Event(event) = action {
            let event = self.view(event, input.bytes)?;
            self.record(event);
        }
        Ok(Ok(what))
    }

    /// Returns the event with its bytes. Its spans have to lie inside the input: behind other bytes they
    /// must show the same.
    fn view(
        &self,
        event: <R::Machine as Machine>::Event,
        bytes: &[u8],
    ) -> Result<R::Event, String> {
        let owned = R::own(event.view(bytes));
        let longer = [bytes, &[0x5a; 64]].concat();
        if owned != R::own(event.view(&longer)) {
            return Err(format!("the event {event:?} refers to bytes outside the input"));
        }
        if owned != R::own(event.shift(3).view(&[b"...", bytes].concat())) {
            return Err(format!("the event {event:?} is another one when shifted"));
        }
        Ok(owned)
    }

    fn record(&mut self, event: R::Event) {
        self.role.emitted(&event);
        let (consumed, written) = (self.consumed, self.written());
        if let Some(last) = self.emitted.last_mut()
            && R::append(&mut last.event, &event)
        {
            (last.consumed, last.written) = (consumed, written);
            return;
        }
        self.emitted.push(Emitted { event, consumed, written });
    }

    /// Gives the application's commands. Returns whether there was one.
    fn give_commands(&mut self) -> Result<bool, String> {
        let mut gave_any = false;
        loop {
            let Some(command) = self.role.command() else { return Ok(gave_any) };
            let before = self.machine.clone();
            let room = self.window.len() - self.queued;
            match self.machine.command(command, &mut self.window[self.queued..]) {
                Ok(n) if n > room => return Err(format!("a command wrote {n} bytes into {room}")),
                Ok(n) => {
                    self.queued += n;
                    self.role.given();
                    (self.moved, gave_any) = (true, true);
                    self.write_payload()?;
                    if R::TAKES_TURNS {
                        return Ok(true);
                    }
                    continue;
                }
                Err(_) if before != self.machine => {
                    return Err(format!(
                        "a refused command changed {before:?} to {:?}",
                        self.machine
                    ));
                }
                Err(CommandError::OutputFull) if self.queued > 0 => self.drain(),
                Err(CommandError::OutputFull) if self.role.split() => {}
                Err(refused) => {
                    return Err(format!("a command in turn was refused: {refused:?}, {before:?}"));
                }
            }
        }
    }

    fn write_payload(&mut self) -> Result<(), String> {
        while self.machine.outbound_remaining() > 0 && !self.role.payload().is_empty() {
            if self.queued == self.window.len() {
                self.drain();
            }
            let before = self.machine.clone();
            if self.machine.advance_outbound(self.machine.outbound_remaining() + 1)
                != Err(Invalid::Overrun.into())
                || before != self.machine
            {
                return Err("accepted more outbound payload than remains".into());
            }
            let remaining =
                usize::try_from(self.machine.outbound_remaining()).unwrap_or(usize::MAX);
            let room = &mut self.window[self.queued..];
            let payload = self.role.payload();
            let n = payload.len().min(room.len()).min(remaining);
            room[..n].copy_from_slice(&payload[..n]);
            if self.machine.advance_outbound(n as u64).is_err() {
                return Err(format!("refused {n} bytes of outbound payload that remain"));
            }
            self.queued += n;
            self.role.advance_outbound(n);
        }
        Ok(())
    }

    /// Takes inbound payload without the machine, if any has arrived.
    fn take(&mut self, seen: &[u8]) -> Result<bool, String> {
        let remaining = self.machine.inbound_remaining();
        let before = self.machine.clone();
        if self.machine.advance_inbound(remaining + 1) != Err(Invalid::Overrun.into())
            || before != self.machine
        {
            return Err("accepted more inbound payload than remains".into());
        }
        let n = usize::try_from(remaining).unwrap_or(usize::MAX).min(seen.len());
        if n == 0 {
            return Ok(false);
        }
        let Some(event) = R::advance_inbound(&seen[..n], n as u64 == remaining) else {
            return Ok(false);
        };
        if self.machine.advance_inbound(n as u64).is_err() {
            return Err(format!("refused to advance by {n} of {remaining} bytes"));
        }
        if self.machine.inbound_remaining() != remaining - n as u64 {
            return Err(format!(
                "advanced by {n} of {remaining} bytes, {} remain",
                self.machine.inbound_remaining()
            ));
        }
        self.consumed += n;
        self.moved = true;
        self.record(event);
        if !R::TAKES_TURNS {
            self.give_commands()?;
        }
        Ok(true)
    }

    /// Checks that nothing changes the machine any more, whatever the input.
    fn check_final(&mut self, action: &Action<()>) -> Result<(), String> {
        let ends =
            [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut].map(StreamState::Ended);
        for state in [StreamState::Open, StreamState::Idle].into_iter().chain(ends) {
            for bytes in [&[][..], &[0; 64], b"QQQQQQQQQ", &[0xff; 3]] {
                let step = self.machine.step(Input { bytes, state }, &mut [0; 64]);
                let same = step.as_ref().is_ok_and(|step| {
                    (step.consumed, step.written, step.action.map(|_| ())) == (0, 0, *action)
                });
                if !same {
                    return Err(format!("not final: {action:?} was followed by {step:?}"));
                }
            }
        }
        if let Some(command) = R::probe() {
            let result = self.machine.command(command, &mut [0; 64]);
            if result != Err(CommandError::OutOfTurn) {
                return Err(format!("not final: after {action:?} a command returned {result:?}"));
            }
        }
        Ok(())
    }
}

/// Returns whether two transcripts are the same, as far as the role requires it.
fn agree<R: Role>(
    expected: &Transcript<R::Event>,
    got: &Transcript<R::Event>,
    end: Option<StreamEnd>,
    plan: &Plan,
) -> bool {
    let may_differ = match end {
        Some(StreamEnd::Reset | StreamEnd::TimedOut) => R::TAKES_TURNS,
        Some(StreamEnd::Closed) => R::CLOSE_ENDS_TURN,
        None => false,
    };
    if may_differ {
        let is_prefix =
            expected.emitted.starts_with(&got.emitted) && expected.sent.starts_with(&got.sent);
        // The end arrived before the application's turn.
        let is_early = !plan.end_apart && matches!(got.outcome, Outcome::Error(..));
        // The cap hides the end behind unread input, and the application has no more commands.
        let is_hidden = plan.cap.is_some() && got.outcome == Outcome::Waiting(Need::Command);
        if is_prefix && (is_early || is_hidden) {
            return true;
        }
    }
    expected == got
}

/// Runs a script under two plans and compares the transcripts.
///
/// # Errors
///
/// The first difference, or the law that was broken.
pub fn compare_plans<R: Role>(
    role: &R,
    bytes: &[u8],
    end: Option<StreamEnd>,
    reference: &Plan,
    plan: &Plan,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    compare_plans_of_script(role, &Script::new(bytes, end), reference, plan)
}

/// Does what [`compare_plans`] does, for a script that may contain pauses.
///
/// # Errors
///
/// See [`compare_plans`].
pub fn compare_plans_of_script<R: Role>(
    role: &R,
    script: &Script<'_>,
    reference: &Plan,
    plan: &Plan,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    let expected = run(role, script, reference).map_err(|what| fail(script, reference, what))?;
    compare(role, script, &expected, plan)?;
    Ok(expected)
}

fn fail(script: &Script<'_>, plan: &Plan, what: String) -> Box<Failure> {
    let Script { bytes, pauses, end } = *script;
    let (bytes, pauses) = (bytes.to_vec(), pauses.to_vec());
    Box::new(Failure { plan: plan.clone(), bytes, pauses, end, what })
}

fn compare<R: Role>(
    role: &R,
    script: &Script<'_>,
    expected: &Transcript<R::Event>,
    plan: &Plan,
) -> Result<(), Box<Failure>> {
    let what = match run(role, script, plan) {
        Ok(got) if agree::<R>(expected, &got, script.end, plan) => return Ok(()),
        Ok(got) => format!("the plan changed the result: {expected:#?} in one read, but {got:#?}"),
        Err(what) => what,
    };
    Err(fail(script, plan, what))
}

/// Runs a machine against a script under every cut and returns the one transcript.
///
/// The plans are: one read, single bytes, each single cut, each pair of cuts of a short script,
/// output windows from `MIN_OUTPUT` up, and input capped at exactly `MIN_INPUT`. Each runs twice:
/// the end arrives with the last bytes, or after them.
///
/// # Errors
///
/// The first difference, or the law that was broken.
pub fn every_cut<R: Role>(
    role: &R,
    bytes: &[u8],
    end: Option<StreamEnd>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    every_cut_of_script(role, &Script::new(bytes, end))
}

/// Does what [`every_cut`] does, for a script that may contain pauses.
///
/// # Errors
///
/// See [`every_cut`].
pub fn every_cut_of_script<R: Role>(
    role: &R,
    script: &Script<'_>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    let Script { bytes, end, .. } = *script;
    let (min_input, min_output) = (R::Machine::MIN_INPUT, R::Machine::MIN_OUTPUT);
    let whole = Plan::whole();
    let expected = compare_plans_of_script(role, script, &whole, &whole)?;
    let mut plans = vec![whole.clone(), Plan { every_byte: true, ..whole.clone() }];
    for first in 1..bytes.len() {
        plans.push(Plan { cuts: vec![first], ..whole.clone() });
        if bytes.len() <= PAIRS_UP_TO {
            let pairs = (first + 1..bytes.len()).map(|second| vec![first, second]);
            plans.extend(pairs.map(|cuts| Plan { cuts, ..whole.clone() }));
        }
    }
    for window in (min_output..min_output + 8).chain([min_output * 4, min_output.max(64)]) {
        for (cap, every_byte) in [
            (None, false),
            (None, true),
            (Some(min_input), false),
            (Some(min_input + 1), false),
            (Some(min_input), true),
        ] {
            for (lazy, take) in [(false, false), (true, false), (true, true)] {
                plans.push(Plan { window, cap, every_byte, lazy, take, ..whole.clone() });
            }
        }
    }
    for plan in &mut plans {
        compare(role, script, &expected, plan)?;
        if end.is_some() {
            plan.end_apart = false;
            compare(role, script, &expected, plan)?;
        }
    }
    Ok(expected)
}

/// Runs [`every_cut`] on every truncation of the script with every ending, and on the whole script
/// without an end. Returns the transcript of the last.
///
/// # Errors
///
/// The first difference, or the law that was broken.
pub fn every_truncation<R: Role>(
    role: &R,
    bytes: &[u8],
) -> Result<Transcript<R::Event>, Box<Failure>> {
    every_truncation_of_script(role, &Script::new(bytes, None))
}

/// Does what [`every_truncation`] does, for a script that may contain pauses. Its `end` is ignored.
///
/// # Errors
///
/// See [`every_truncation`].
pub fn every_truncation_of_script<R: Role>(
    role: &R,
    script: &Script<'_>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    for length in 0..=script.bytes.len() {
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            every_cut_of_script(role, &script.truncated(length, Some(how)))?;
        }
    }
    every_cut_of_script(role, &script.truncated(script.bytes.len(), None))
}
