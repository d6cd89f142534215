//! The same script under many plans.

use socklab_core::machine::{Machine, Need, StreamEnd};

use crate::application::Application;
use crate::failure::{Failure, Law, difference};
use crate::run::{Outcome, Transcript, run, run_and_watch};
use crate::script::{Plan, Script};

/// Longest script, in bytes, of which every pair of cuts is tried.
const PAIRS_UP_TO: usize = 20;

/// Number of output windows above the smallest with which every way to arrive and to send is tried.
const WINDOWS: usize = 8;

/// Largest output window, in bytes above the smallest, that is tried if so much is sent.
const WINDOWS_UP_TO: usize = 64;

/// Returns whether two transcripts are the same, as far as the application requires it.
fn agree<A: Application>(
    expected: &Transcript<A::Event>,
    got: &Transcript<A::Event>,
    end: Option<StreamEnd>,
    plan: &Plan,
) -> bool {
    let may_differ = match end {
        Some(StreamEnd::Reset | StreamEnd::TimedOut) => A::TAKES_TURNS,
        Some(StreamEnd::Closed) => A::CLOSE_ENDS_TURN,
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
pub fn compare_plans<A: Application>(
    application: &A,
    bytes: &[u8],
    end: Option<StreamEnd>,
    reference: &Plan,
    plan: &Plan,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    compare_plans_of_script(application, &Script::new(bytes, end), reference, plan)
}

/// Does what [`compare_plans`] does, for a script that may contain pauses.
///
/// # Errors
///
/// See [`compare_plans`].
pub fn compare_plans_of_script<A: Application>(
    application: &A,
    script: &Script<'_>,
    reference: &Plan,
    plan: &Plan,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    let expected = run(application, script, reference)?;
    compare(application, script, (&expected, reference), plan)?;
    Ok(expected)
}

fn compare<A: Application>(
    application: &A,
    script: &Script<'_>,
    (expected, reference): (&Transcript<A::Event>, &Plan),
    plan: &Plan,
) -> Result<(), Box<Failure>> {
    let got = run(application, script, plan)?;
    if agree::<A>(expected, &got, script.end, plan) {
        return Ok(());
    }
    let broken = Law::Cuts.broken(difference(expected, &got));
    Err(Failure::new(broken, script, plan, Some(reference)))
}

/// Returns the plan with which the others are compared: one read, and output space for every step.
fn reference<M: Machine>() -> Plan {
    let whole = Plan::whole();
    Plan { window: whole.window.max(M::MIN_OUTPUT), ..whole }
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
pub fn every_cut<A: Application>(
    application: &A,
    bytes: &[u8],
    end: Option<StreamEnd>,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    every_cut_of_script(application, &Script::new(bytes, end))
}

/// Does what [`every_cut`] does, for a script that may contain pauses.
///
/// # Errors
///
/// See [`every_cut`].
pub fn every_cut_of_script<A: Application>(
    application: &A,
    script: &Script<'_>,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    let reference = reference::<A::Machine>();
    let expected = run(application, script, &reference)?;
    for mut plan in plans::<A::Machine>(&reference, script.bytes.len(), expected.sent.len()) {
        compare(application, script, (&expected, &reference), &plan)?;
        if script.end.is_some() {
            plan.end_apart = false;
            compare(application, script, (&expected, &reference), &plan)?;
        }
    }
    Ok(expected)
}

/// Returns every plan for an input of `length` bytes and an output of `sent` bytes, the simple ones
/// first, so that a failure is easy to read.
fn plans<M: Machine>(reference: &Plan, length: usize, sent: usize) -> Vec<Plan> {
    let (min_input, min_output) = (M::MIN_INPUT, M::MIN_OUTPUT);
    let cut = |cuts| Plan { cuts, ..reference.clone() };
    let mut plans = vec![reference.clone()];
    plans.extend((1..length).map(|first| cut(vec![first])));
    plans.push(Plan { every_byte: true, ..reference.clone() });
    if length <= PAIRS_UP_TO {
        let pairs =
            (1..length).flat_map(|first| (first + 1..length).map(move |at| vec![first, at]));
        plans.extend(pairs.map(cut));
    }
    // Sent only when it is full: the space of each step is any number of bytes.
    let largest = sent.min(min_output + WINDOWS_UP_TO);
    let windows = (min_output + WINDOWS..=largest).filter(|window| *window != min_output * 4);
    plans.extend(windows.map(|window| Plan { window, lazy: true, ..reference.clone() }));
    let few = [min_output * 4, min_output.max(64)];
    for window in (min_output..min_output + WINDOWS).chain(few) {
        for (cap, every_byte) in [
            (None, false),
            (None, true),
            (Some(min_input), false),
            (Some(min_input + 1), false),
            (Some(min_input), true),
        ] {
            for (lazy, take) in [(false, false), (true, false), (true, true)] {
                plans.push(Plan { window, cap, every_byte, lazy, take, ..reference.clone() });
            }
        }
    }
    plans
}

/// Runs [`every_cut`] on every truncation of the script with every ending, and on the whole script
/// without an end. Returns the transcript of the last.
///
/// # Errors
///
/// The first difference, or the law that was broken.
pub fn every_truncation<A: Application>(
    application: &A,
    bytes: &[u8],
) -> Result<Transcript<A::Event>, Box<Failure>> {
    every_truncation_of_script(application, &Script::new(bytes, None))
}

/// Does what [`every_truncation`] does, for a script that may contain pauses. Its `end` is ignored.
///
/// # Errors
///
/// See [`every_truncation`].
pub fn every_truncation_of_script<A: Application>(
    application: &A,
    script: &Script<'_>,
) -> Result<Transcript<A::Event>, Box<Failure>> {
    for length in 0..=script.bytes.len() {
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            every_cut_of_script(application, &script.truncated(length, Some(how)))?;
        }
    }
    every_cut_of_script(application, &script.truncated(script.bytes.len(), None))
}

/// Runs [`every_cut`] on the script with a pause at each place, if the machine asks for pauses with
/// [`Need::InputOrIdle`]. The peer then sends the rest, or its stream ends there. Returns whether the
/// machine asks.
///
/// # Errors
///
/// The first difference, or the law that was broken.
pub fn every_pause<A: Application>(application: &A, bytes: &[u8]) -> Result<bool, Box<Failure>> {
    let every_byte = Plan { every_byte: true, ..reference::<A::Machine>() };
    let script = Script::new(bytes, None);
    let (_, asks) = run_and_watch(application, &script, &every_byte)
        .map_err(|broken| Failure::new(broken, &script, &every_byte, None))?;
    if !asks {
        return Ok(false);
    }
    let ends = [None, Some(StreamEnd::Closed), Some(StreamEnd::Reset), Some(StreamEnd::TimedOut)];
    for at in 0..=bytes.len() {
        let pauses = &[at];
        for end in ends {
            every_cut_of_script(application, &Script { bytes: &bytes[..at], pauses, end })?;
        }
        let end = Some(StreamEnd::Closed);
        every_cut_of_script(application, &Script { bytes, pauses, end })?;
    }
    let everywhere: Vec<usize> = (0..=bytes.len()).collect();
    let end = Some(StreamEnd::Closed);
    every_cut_of_script(application, &Script { bytes, pauses: &everywhere, end })?;
    Ok(true)
}
