//! Results in the Test Anything Protocol, version 14.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::engine::{CaseResult, Verdict};
use super::{Again, json, output};
use crate::text::one_line;
use crate::ui::json_line;

/// Returns the first lines.
pub(crate) fn header(title: &str, count: usize) -> String {
    format!("TAP version 14\n1..{count}\n# {}", one_line(title))
}

/// Returns the lines of a result.
pub(crate) fn result(number: usize, result: &CaseResult, again: &Again) -> String {
    let ok =
        if matches!(result.verdict, Verdict::Fail(_) | Verdict::Info(_)) { "not ok" } else { "ok" };
    let mut text = format!("{ok} {number} - {}", escaped(&result.id));
    match &result.verdict {
        Verdict::Skip(reason) => {
            let _ = write!(text, " # SKIP {}", escaped(reason));
        }
        // A test that may fail: it does not count as a failure.
        Verdict::Info(_) => text.push_str(" # TODO the document does not require it"),
        Verdict::Pass | Verdict::Fail(_) => {}
    }
    if result.verdict.failure().is_none() {
        return text;
    }
    text.push_str("\n  ---\n");
    if let Value::Object(fields) = json::result(result, again) {
        for (key, value) in fields {
            if !["event", "id", "verdict"].contains(&key.as_str()) {
                // JSON in one line is YAML too.
                let _ = writeln!(text, "  {key}: {}", json_line(&value));
            }
        }
    }
    for (key, content) in [("stdout", &result.stdout), ("stderr_text", &result.stderr)] {
        if !content.trim().is_empty() {
            let _ = writeln!(text, "  {key}: {}", json_line(&json!(output(content))));
        }
    }
    text + "  ..."
}

/// Returns the line that ends a run whose program cannot be started.
pub(crate) fn bail_out(reason: &str) -> String {
    format!("Bail out! {}", one_line(reason))
}

/// Returns a text for a line of a test: a number sign starts a directive.
fn escaped(text: &str) -> String {
    one_line(text).replace('#', "\\#")
}
