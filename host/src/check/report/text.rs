//! Results as text, for a person.

use std::fmt::Write as _;

use super::super::engine::{CaseResult, Verdict};
use super::super::failure::Bytes;
use crate::text::one_line;

/// Returns a result as text: a line, and what is known of a failure.
pub(crate) fn result(result: &CaseResult, again: &str) -> String {
    let mut text = format!("{:<4}  {}", result.verdict.name(), result.id);
    if let Verdict::Skip(reason) = &result.verdict {
        let _ = write!(text, "  ({})", one_line(reason));
    }
    text.push('\n');
    let Some(failure) = result.verdict.failure() else { return text };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "      {name:<10}{value}");
    };
    line("required", &format!("{} ({})", result.requirement, result.source));
    let (number, step) = &failure.step;
    line("step", &format!("{number}: {}", one_line(step)));
    line("happened", &one_line(&failure.message));
    if let Some(bytes) = &failure.bytes {
        for row in difference(bytes) {
            line(row.0, &row.1);
        }
    }
    if let Some(program) = &failure.program {
        line("program", program);
    }
    if let Some(stderr) = &failure.stderr {
        line("stderr", &one_line(stderr));
    }
    if let Some(hint) = &failure.hint {
        line("hint", hint);
    }
    line("again", again);
    text
}

/// Returns rows with expected and actual bytes, and a caret under the first difference.
fn difference(bytes: &Bytes) -> Vec<(&'static str, String)> {
    const SHOWN: usize = 16;
    let offset = bytes.offset();
    // So that the difference is among the bytes that are shown.
    let start = if offset < SHOWN { 0 } else { offset - SHOWN / 2 };
    let window = |bytes: &[u8]| {
        bytes.get(start..(start + SHOWN).min(bytes.len())).unwrap_or_default().to_vec()
    };
    let row = |all: &[u8]| {
        let shown = window(all);
        let hex: String = shown.iter().map(|byte| format!("{byte:02x} ")).collect();
        let dots = |is: bool| if is { ".." } else { "" };
        format!(
            "{}{hex:<width$}{}  \"{}\"",
            dots(start > 0),
            dots(all.len() > start + SHOWN),
            one_line(&shown),
            width = SHOWN * 3,
        )
    };
    let mut rows = Vec::new();
    if !bytes.expected.is_empty() {
        rows.push(("expected", row(&bytes.expected)));
    }
    if !bytes.actual.is_empty() {
        rows.push(("actual", row(&bytes.actual)));
        if !bytes.expected.is_empty() {
            let dots = if start > 0 { 2 } else { 0 };
            rows.push(("", format!("{:width$}^^", "", width = dots + (offset - start) * 3)));
        }
    }
    rows
}
