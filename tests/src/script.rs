//! Drives one machine with a script, under every cut, and holds it to the laws at
//! [`Machine`].
//!
//! A script is what the peer sends, where it falls silent, how its stream ends ([`Script`]), and the
//! application ([`Role`]). A [`Plan`] is all that must have no meaning: where the reads fall, how much room there is, when
//! output is drained. Whatever the plan, the [`Transcript`] has to be the same.

use std::fmt;

use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState,
};

use crate::role::Role;

/// The longest script of which every pair of cuts is tried.
const PAIRS_UP_TO: usize = 20;

/// So many steps in a row may move no byte before it counts as a stall.
const IDLE_STEPS: usize = 8;

/// What the peer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Script<'b> {
    /// What it sends.
    pub bytes: &'b [u8],
    /// Behind so many bytes, in ascending order, it is silent for longer than any machine waits:
    /// one that then asks for [`Need::InputOrIdle`] gets the silence. Elsewhere it never does.
    pub silences: &'b [usize],
    /// How its stream ends, if it does.
    pub end: Option<StreamEnd>,
}

impl<'b> Script<'b> {
    /// Sends this, then ends like this, and is never silent.
    #[must_use]
    pub const fn new(bytes: &'b [u8], end: Option<StreamEnd>) -> Self {
        Self { bytes, silences: &[], end }
    }

    /// The next silence behind `at` bytes or more; the script's end is none.
    fn next_silence(&self, at: usize) -> Option<usize> {
        self.silences.iter().copied().find(|silence| *silence >= at)
    }

    /// As much of it as fits in so many bytes, with another end.
    fn truncated(&self, length: usize, end: Option<StreamEnd>) -> Self {
        let silences = self.silences.iter().take_while(|silence| **silence <= length).count();
        Self { bytes: &self.bytes[..length], silences: &self.silences[..silences], end }
    }
}

/// What must have no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A read ends at each of these offsets, in ascending order.
    pub cuts: Vec<usize>,
    /// A read ends behind every byte.
    pub every_byte: bool,
    /// The end comes alone, after all bytes have been stepped over; else with the last of them.
    pub end_apart: bool,
    /// The output's size.
    pub window: usize,
    /// Output is drained only when the machine asks for room; else after every step.
    pub lazy: bool,
    /// The machine sees no more of the input than this at a time.
    pub cap: Option<usize>,
    /// Payload is taken from the input past the machine.
    pub take: bool,
}

impl Plan {
    /// All in one read, with all the room it could want.
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

    /// Where the read ends that starts at `at`.
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
    /// The machine said `Done`.
    Done,
    /// The machine said `Abort`.
    Abort,
    /// The machine failed: its error, in `Debug` and for people.
    Error(String, String),
    /// Nothing more comes, and it waits for this.
    Waiting(Need),
}

/// What one event was, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<E> {
    /// The event; pieces of one thing are put together.
    pub event: E,
    /// So many bytes of input had been consumed.
    pub consumed: usize,
    /// So many bytes had been written.
    pub written: usize,
}

/// What must be the same under every plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript<E> {
    /// What the application was told.
    pub told: Vec<Told<E>>,
    /// What the peer was sent.
    pub sent: Vec<u8>,
    /// Where in that the boundaries stand.
    pub boundaries: Vec<usize>,
    /// So many bytes of input were consumed.
    pub consumed: usize,
    /// How it ended.
    pub outcome: Outcome,
}

impl<E: Clone> Transcript<E> {
    /// The events alone.
    #[must_use]
    pub fn events(&self) -> Vec<E> {
        self.told.iter().map(|told| told.event.clone()).collect()
    }

    /// The error for people, or an empty text.
    #[must_use]
    pub fn sentence(&self) -> &str {
        match &self.outcome {
            Outcome::Error(_, sentence) => sentence,
            _ => "",
        }
    }
}

/// A law that did not hold, and under which plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The plan.
    pub plan: Plan,
    /// What the peer sent.
    pub bytes: Vec<u8>,
    /// Where it was silent.
    pub silences: Vec<usize>,
    /// How its stream ended.
    pub end: Option<StreamEnd>,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, bytes, silences, end, what } = self;
        write!(f, "{what}\n  input {bytes:02x?}, then {end:?}")?;
        if !silences.is_empty() {
            write!(f, ", silent behind {silences:?}")?;
        }
        write!(f, "\n  under {plan:?}")
    }
}

impl std::error::Error for Failure {}

struct Run<'r, R: Role> {
    plan: &'r Plan,
    role: R,
    machine: R::Machine,
    window: Vec<u8>,
    /// So much of the window is taken.
    queued: usize,
    sent: Vec<u8>,
    told: Vec<Told<R::Event>>,
    boundaries: Vec<usize>,
    consumed: usize,
    /// Whether something moved since the machine was last stepped.
    moved: bool,
}

/// Drives the machine of `role` through one script under one plan.
///
/// # Errors
///
/// The law of the machine that did not hold.
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
        told: Vec::new(),
        boundaries: Vec::new(),
        consumed: 0,
        moved: true,
    };
    let outcome = run.go(script)?;
    run.drain();
    let Run { sent, told, boundaries, consumed, .. } = run;
    Ok(Transcript { told, sent, boundaries, consumed, outcome })
}

impl<R: Role> Run<'_, R> {
    fn go(&mut self, script: &Script<'_>) -> Result<Outcome, String> {
        let Script { bytes, end, .. } = *script;
        let (mut arrived, mut after, mut idle) = (0, StreamState::Open, 0);
        // The next one to come.
        let mut silence = script.next_silence(0);
        if !R::TAKES_TURNS {
            self.speak()?;
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
                return Err(format!("stall: {IDLE_STEPS} steps moved nothing, now {action:?}"));
            }
            let wants_input = match action {
                Action::Event(()) => {
                    if !R::TAKES_TURNS {
                        self.speak()?;
                    }
                    continue;
                }
                Action::Continue => continue,
                Action::Boundary => {
                    self.boundaries.push(self.written());
                    continue;
                }
                Action::Close | Action::Abort => {
                    self.is_final(&action)?;
                    return Ok(if action == Action::Close {
                        Outcome::Done
                    } else {
                        Outcome::Abort
                    });
                }
                Action::Need(Need::OutputSpace) => {
                    if room >= R::Machine::MIN_OUTPUT {
                        return Err(format!("stall: asks for room and has {room} bytes of it"));
                    }
                    self.drain();
                    continue;
                }
                Action::Need(Need::Command) => {
                    if self.speak()? {
                        continue;
                    }
                    false
                }
                Action::Need(Need::InputOrCommand) => {
                    if self.speak()? {
                        continue;
                    }
                    true
                }
                Action::Need(Need::Input | Need::InputOrIdle(_)) => true,
            };
            if wants_input && left >= R::Machine::MIN_INPUT {
                return Err(format!("stall: asks for input and has {left} bytes of it"));
            }
            if wants_input && matches!(input.state, StreamState::Ended(_)) {
                return Err("stall: asks for input after the end".into());
            }
            // A silence, the next read, or the end.
            if silence == Some(arrived) {
                silence = script.next_silence(arrived + 1);
                // A machine that does not ask hears nothing of it.
                if matches!(action, Action::Need(Need::InputOrIdle(_))) {
                    after = StreamState::Idle;
                }
            } else if arrived < bytes.len() {
                let next = self.plan.next_cut(arrived, bytes.len());
                // No read goes over a silence.
                arrived = silence.map_or(next, |silence| next.min(silence));
                after = StreamState::Open;
                if arrived == bytes.len() && silence != Some(arrived) && !self.plan.end_apart {
                    after = end.map_or(StreamState::Open, StreamState::Ended);
                }
            } else if let (StreamState::Open | StreamState::Idle, Some(how)) = (after, end) {
                after = StreamState::Ended(how);
            } else {
                let Action::Need(need) = action else { unreachable!("all others are dealt with") };
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

    /// One step, and all that holds for any step.
    fn step(&mut self, input: Input<'_>) -> Result<Result<Action<()>, Outcome>, String> {
        // Different rubbish in the two outputs shows bytes claimed and not written.
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
                let (a, b) = (step.action.without_event(), peeked.action.without_event());
                if (step.consumed, step.written, a) != (peeked.consumed, peeked.written, b) {
                    return Err(format!("a copy says {peeked:?}, the machine {step:?}"));
                }
                step
            }
            (Err(e), peeked) => {
                if before != self.machine {
                    let now = &self.machine;
                    return Err(format!("the error {e:?} changed {before:?} to {now:?}"));
                }
                if peeked.err() != Some(e) {
                    return Err(format!("a copy does not give the error {e:?}"));
                }
                let again = self.machine.step(input, &mut self.window[self.queued..]);
                if again.err() != Some(e) || before != self.machine {
                    return Err(format!("the error {e:?} does not repeat"));
                }
                return Ok(Err(Outcome::Error(format!("{e:?}"), e.to_string())));
            }
            (Ok(step), Err(e)) => {
                return Err(format!("a copy gives the error {e:?}, the machine {step:?}"));
            }
        };
        if consumed > input.bytes.len() || written > room.len() {
            let (bytes, room) = (input.bytes.len(), room.len());
            return Err(format!(
                "took more than it was given: {consumed} of {bytes} bytes, {written} of {room} of room"
            ));
        }
        if room[..written] != other_room[..written] {
            return Err(format!("claims {written} bytes and did not write them all"));
        }
        let is_idle = consumed == 0 && written == 0 && before == self.machine;
        if is_idle && matches!(action, Action::Continue | Action::Event(_) | Action::Boundary) {
            return Err(format!("a step in vain: {action:?} and nothing moved or changed"));
        }
        let what = action.without_event();
        self.consumed += consumed;
        self.queued += written;
        self.moved |= consumed > 0 || written > 0;
        if let Action::Event(event) = action {
            self.tell(R::own(event));
        }
        Ok(Ok(what))
    }

    fn tell(&mut self, event: R::Event) {
        self.role.emitted(&event);
        let (consumed, written) = (self.consumed, self.written());
        if let Some(last) = self.told.last_mut()
            && R::append(&mut last.event, &event)
        {
            (last.consumed, last.written) = (consumed, written);
            return;
        }
        self.told.push(Told { event, consumed, written });
    }

    /// Gives the application's commands. Says whether there was one.
    fn speak(&mut self) -> Result<bool, String> {
        let mut spoke = false;
        loop {
            let Some(command) = self.role.command() else { return Ok(spoke) };
            let before = self.machine.clone();
            let room = self.window.len() - self.queued;
            match self.machine.command(command, &mut self.window[self.queued..]) {
                Ok(n) if n > room => return Err(format!("a command took {n} of {room} of room")),
                Ok(n) => {
                    self.queued += n;
                    self.role.given();
                    (self.moved, spoke) = (true, true);
                    self.write_payload()?;
                    if R::TAKES_TURNS {
                        return Ok(true);
                    }
                    continue;
                }
                Err(_) if before != self.machine => {
                    return Err(format!("a refusal changed {before:?} to {:?}", self.machine));
                }
                Err(CommandError::OutputFull) if self.queued > 0 => self.drain(),
                Err(CommandError::OutputFull) if self.role.split() => {}
                Err(refused) => return Err(format!("refused in turn, {refused:?}: {before:?}")),
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
                != Err(CommandError::Invalid)
                || before != self.machine
            {
                return Err("took more payload than is owed".into());
            }
            let owed = usize::try_from(self.machine.outbound_remaining()).unwrap_or(usize::MAX);
            let room = &mut self.window[self.queued..];
            let payload = self.role.payload();
            let n = payload.len().min(room.len()).min(owed);
            room[..n].copy_from_slice(&payload[..n]);
            if self.machine.advance_outbound(n as u64).is_err() {
                return Err(format!("refused {n} bytes of payload it is owed"));
            }
            self.queued += n;
            self.role.advance_outbound(n);
        }
        Ok(())
    }

    /// Takes payload past the machine, if any is due and has come.
    fn take(&mut self, seen: &[u8]) -> Result<bool, String> {
        let due = self.machine.inbound_remaining();
        let before = self.machine.clone();
        if self.machine.advance_inbound(due + 1) != Err(CommandError::Invalid)
            || before != self.machine
        {
            return Err("gave away more payload than is due".into());
        }
        let n = usize::try_from(due).unwrap_or(usize::MAX).min(seen.len());
        if n == 0 {
            return Ok(false);
        }
        let Some(event) = R::advance_inbound(&seen[..n], n as u64 == due) else { return Ok(false) };
        if self.machine.advance_inbound(n as u64).is_err() {
            return Err(format!("refused to give away {n} of {due} bytes due"));
        }
        if self.machine.inbound_remaining() != due - n as u64 {
            return Err(format!(
                "{n} of {due} bytes taken, {} left",
                self.machine.inbound_remaining()
            ));
        }
        self.consumed += n;
        self.moved = true;
        self.tell(event);
        if !R::TAKES_TURNS {
            self.speak()?;
        }
        Ok(true)
    }

    /// The end is final, whatever comes.
    fn is_final(&mut self, action: &Action<()>) -> Result<(), String> {
        let ends =
            [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut].map(StreamState::Ended);
        for state in [StreamState::Open, StreamState::Idle].into_iter().chain(ends) {
            for bytes in [&[][..], &[0; 64], b"QQQQQQQQQ", &[0xff; 3]] {
                let step = self.machine.step(Input { bytes, state }, &mut [0; 64]);
                let same = step.as_ref().is_ok_and(|step| {
                    (step.consumed, step.written, step.action.without_event()) == (0, 0, *action)
                });
                if !same {
                    return Err(format!("not final: after {action:?} came {step:?}"));
                }
            }
        }
        if let Some(command) = R::probe() {
            let result = self.machine.command(command, &mut [0; 64]);
            if result != Err(CommandError::OutOfTurn) {
                return Err(format!("not final: after {action:?} a command got {result:?}"));
            }
        }
        Ok(())
    }
}

/// Whether two plans gave the same, as far as it has to be.
fn agree<R: Role>(
    expected: &Transcript<R::Event>,
    got: &Transcript<R::Event>,
    end: Option<StreamEnd>,
    plan: &Plan,
) -> bool {
    let races = match end {
        Some(StreamEnd::Reset | StreamEnd::TimedOut) => R::TAKES_TURNS,
        Some(StreamEnd::Closed) => R::CLOSE_ENDS_TURN,
        None => false,
    };
    if races {
        let is_front = expected.told.starts_with(&got.told) && expected.sent.starts_with(&got.sent);
        // Seen before the application had its turn.
        let is_early = !plan.end_apart && matches!(got.outcome, Outcome::Error(..));
        // Out of sight behind early input, and the application has nothing more to say.
        let is_hidden = plan.cap.is_some() && got.outcome == Outcome::Waiting(Need::Command);
        if is_front && (is_early || is_hidden) {
            return true;
        }
    }
    expected == got
}

/// Runs a script under these two plans and compares.
///
/// # Errors
///
/// The first difference, or the law that did not hold.
pub fn same<R: Role>(
    role: &R,
    bytes: &[u8],
    end: Option<StreamEnd>,
    reference: &Plan,
    plan: &Plan,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    same_script(role, &Script::new(bytes, end), reference, plan)
}

/// As [`same`], of a script that may have silences.
///
/// # Errors
///
/// As [`same`].
pub fn same_script<R: Role>(
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
    let Script { bytes, silences, end } = *script;
    let (bytes, silences) = (bytes.to_vec(), silences.to_vec());
    Box::new(Failure { plan: plan.clone(), bytes, silences, end, what })
}

fn compare<R: Role>(
    role: &R,
    script: &Script<'_>,
    expected: &Transcript<R::Event>,
    plan: &Plan,
) -> Result<(), Box<Failure>> {
    let what = match run(role, script, plan) {
        Ok(got) if agree::<R>(expected, &got, script.end, plan) => return Ok(()),
        Ok(got) => format!("the cut has a meaning: {expected:#?} uncut, but {got:#?}"),
        Err(what) => what,
    };
    Err(fail(script, plan, what))
}

/// Drives a machine with a script under every cut: whole, byte by byte, each single cut, each
/// pair of cuts of a short script, output windows from `MIN_OUTPUT` up, input capped at exactly
/// `MIN_INPUT`; the end with the last bytes and apart from them. Gives the one transcript.
///
/// # Errors
///
/// The first difference, or the law that did not hold.
pub fn every_cut<R: Role>(
    role: &R,
    bytes: &[u8],
    end: Option<StreamEnd>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    every_cut_of(role, &Script::new(bytes, end))
}

/// As [`every_cut`], of a script that may have silences.
///
/// # Errors
///
/// As [`every_cut`].
pub fn every_cut_of<R: Role>(
    role: &R,
    script: &Script<'_>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    let Script { bytes, end, .. } = *script;
    let (min_input, min_output) = (R::Machine::MIN_INPUT, R::Machine::MIN_OUTPUT);
    let whole = Plan::whole();
    let expected = same_script(role, script, &whole, &whole)?;
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

/// [`every_cut`] of the script and of every truncation of it, with every ending; without an end
/// for the whole script. Gives the transcript of that.
///
/// # Errors
///
/// The first difference, or the law that did not hold.
pub fn every_truncation<R: Role>(
    role: &R,
    bytes: &[u8],
) -> Result<Transcript<R::Event>, Box<Failure>> {
    every_truncation_of(role, &Script::new(bytes, None))
}

/// As [`every_truncation`], of a script that may have silences; its end is not looked at.
///
/// # Errors
///
/// As [`every_truncation`].
pub fn every_truncation_of<R: Role>(
    role: &R,
    script: &Script<'_>,
) -> Result<Transcript<R::Event>, Box<Failure>> {
    for length in 0..=script.bytes.len() {
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            every_cut_of(role, &script.truncated(length, Some(how)))?;
        }
    }
    every_cut_of(role, &script.truncated(script.bytes.len(), None))
}

/// Gives what is in it, or panics with the sentence of the failure.
///
/// # Panics
///
/// With the failure.
#[track_caller]
pub fn hold<T>(result: Result<T, Box<Failure>>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}
