//! Results as JSON: events of `--json`.

use serde_json::{Value, json};

use super::super::case::{Case, Protocol};
use super::super::engine::{CaseResult, Run, Verdict, id};
use super::super::setup::{Role, Setup};
use super::{Again, Counts};
use std::time::Duration;

fn hex(bytes: &[u8]) -> String {
    /// Longer than any message that a case compares.
    const MAX: usize = 1024;
    bytes.iter().take(MAX).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a case as an object, for `--list`.
pub(crate) fn case(protocol: &Protocol, role: Role, case: &Case) -> Value {
    json!({
        "event": "case", "id": id(protocol, role, case), "group": case.group.name(),
        "requirement": case.requirement, "source": case.source, "required": !case.is_info,
    })
}

/// Returns the event of a result.
pub(crate) fn result(result: &CaseResult, again: &Again) -> Value {
    let mut event = json!({
        "event": "result", "id": result.id, "group": result.group.name(),
        "verdict": result.verdict.name(), "requirement": result.requirement,
        "source": result.source, "required": !result.is_info,
        "time": result.time.as_secs_f64(),
    });
    if let Verdict::Skip(reason) = &result.verdict {
        event["reason"] = reason.as_str().into();
    }
    let Some(failure) = result.verdict.failure() else { return event };
    event["step"] = failure.step.0.into();
    event["doing"] = failure.step.1.as_str().into();
    event["message"] = failure.message.as_str().into();
    if let Some(bytes) = &failure.bytes {
        event["expected_hex"] = hex(&bytes.expected).into();
        event["actual_hex"] = hex(&bytes.actual).into();
    }
    for (key, value) in
        [("program", &failure.program), ("stderr", &failure.stderr), ("hint", &failure.hint)]
    {
        if let Some(value) = value {
            event[key] = value.as_str().into();
        }
    }
    event["again"] = again.command(&result.id).into();
    event
}

/// Returns the last event of a run.
pub(crate) fn summary(setup: &Setup, run: &Run, time: Duration) -> Value {
    let counts = Counts::of(&run.results);
    let mut event = json!({
        "event": "summary", "protocol": setup.protocol, "role": setup.role.name(),
        "seed": setup.seed, "cases": counts.all(), "passed": counts.passed,
        "failed": counts.failed, "info": counts.info, "skipped": counts.skipped,
        "time": time.as_secs_f64(),
    });
    if let Some(note) = run.note {
        event["note"] = note.into();
    }
    event
}
