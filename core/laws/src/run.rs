//! One run of a machine against a script.

use socklab_core::machine::{Action, Input, Machine, Need, StreamState};

use crate::application::Application;
use crate::failure::{Broken, Failure, Law};
use crate::script::{Plan, Script};

/// Number of consecutive steps that may move no byte. More of them are reported as a stall.
const IDLE_STEPS: usize = 8;

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

/// A run in progress.
pub(crate) struct Run<'r, A: Application> {
    pub(crate) plan: &'r Plan,
    pub(crate) application: A,
    /// The application before its last command was accepted, so that the command can be given again.
    pub(crate) last_command: Option<A>,
    pub(crate) machine: A::Machine,
    pub(crate) window: Vec<u8>,
    /// The same space for the output of a copy.
    pub(crate) other_window: Vec<u8>,
    /// Number of bytes at the front of the window that are not sent yet.
    pub(crate) queued: usize,
    sent: Vec<u8>,
    pub(crate) emitted: Vec<Emitted<A::Event>>,
    boundaries: Vec<usize>,
    pub(crate) consumed: usize,
    /// Whether anything has changed since the last step.
    pub(crate) moved: bool,
    /// Whether the machine has asked to be woken by a pause.
    asked_for_idle: bool,
}

/// Runs the machine of an application against one script under one plan.
///
/// # Errors
///
/// The law that the machine broke.
pub fn run<A: Application>(
    application: &A,
    script: &Script<'_>,
    plan: &Plan,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    run_and_watch(application, script, plan)
        .map(|(transcript, _)| transcript)
        .map_err(|broken| Failure::new(broken, script, plan, None))
}

/// Does what [`run`] does, and also returns whether the machine has asked for
/// [`Need::InputOrIdle`].
pub(crate) fn run_and_watch<A: Application>(
    application: &A,
    script: &Script<'_>,
    plan: &Plan,
) -> Result<(Transcript<A::Event>, bool), Broken> {
    let mut run = Run::<A> {
        plan,
        application: application.clone(),
        last_command: None,
        machine: application.machine(),
        window: vec![0; plan.window],
        other_window: vec![0; plan.window],
        queued: 0,
        sent: Vec::new(),
        emitted: Vec::new(),
        boundaries: Vec::new(),
        consumed: 0,
        moved: true,
        asked_for_idle: false,
    };
    let outcome = run.run_script(script)?;
    run.drain();
    let Run { sent, emitted, boundaries, consumed, asked_for_idle, .. } = run;
    Ok((Transcript { emitted, sent, boundaries, consumed, outcome }, asked_for_idle))
}

impl<A: Application> Run<'_, A> {
    fn run_script(&mut self, script: &Script<'_>) -> Result<Outcome, Broken> {
        let Script { bytes, end, .. } = *script;
        let (mut arrived, mut after, mut idle) = (0, StreamState::Open, 0);
        // Offset of the next pause.
        let mut pause = script.next_pause(0);
        if !A::TAKES_TURNS {
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
            let action = match self.step(input, &bytes[limit..])? {
                Ok(action) => action,
                Err(outcome) => return Ok(outcome),
            };
            let (left, room) = (limit - self.consumed, self.window.len() - self.queued);
            if !self.plan.lazy {
                self.drain();
            }
            idle = if std::mem::take(&mut self.moved) { 0 } else { idle + 1 };
            if idle > IDLE_STEPS {
                return Err(Law::Progress.broken(format!(
                    "stall: {IDLE_STEPS} steps moved nothing, the last one returned {action:?}"
                )));
            }
            let wants_input = match action {
                Action::Event(()) => {
                    if !A::TAKES_TURNS {
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
                    if room >= A::Machine::MIN_OUTPUT {
                        return Err(Law::Progress
                            .broken(format!("stall: asks for output space and has {room} bytes")));
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
                Action::Need(Need::Input) => true,
                Action::Need(Need::InputOrIdle(_)) => {
                    self.asked_for_idle = true;
                    true
                }
            };
            if wants_input && left >= A::Machine::MIN_INPUT {
                return Err(
                    Law::Progress.broken(format!("stall: asks for input and has {left} bytes"))
                );
            }
            if wants_input && matches!(input.state, StreamState::Ended(_)) {
                return Err(Law::Progress.broken("stall: asks for input after the end"));
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

    pub(crate) fn written(&self) -> usize {
        self.sent.len() + self.queued
    }

    pub(crate) fn drain(&mut self) {
        self.moved |= self.queued > 0;
        self.sent.extend_from_slice(&self.window[..self.queued]);
        self.queued = 0;
    }
}
