//! Results as a page with ladders.

use super::super::engine::Verdict;
use super::formats::Report;
use super::{output, text};
use crate::ui::page::{Mark, Page, Section};

/// Returns the page.
pub(super) fn page(report: &Report<'_>) -> Vec<u8> {
    let mut page =
        Page::new(format!("socklab check {} {}", report.setup.protocol, report.setup.role.name()));
    page.fact(report.title);
    let results = &report.run.results;
    let has = |name| results.iter().any(|result| result.verdict.name() == name);
    let mark = match () {
        () if report.run.error.is_some() || has("fail") => Mark::Fail,
        () if report.run.is_late || !has("pass") => Mark::Skip,
        () => Mark::Pass,
    };
    page.outcome(mark, report.summary());
    if let Some(note) = report.run.note {
        page.fact(format!("note: {note}"));
    }
    for result in results {
        let mut section = Section::new(&result.id);
        let (mark, line) = match &result.verdict {
            Verdict::Pass => (Mark::Pass, result.requirement.to_owned()),
            Verdict::Fail(failure) => (Mark::Fail, failure.message.clone()),
            Verdict::Info(failure) => (Mark::Info, failure.message.clone()),
            Verdict::Skip(reason) => (Mark::Skip, reason.clone()),
        };
        section.verdict(mark, line);
        let source = text::source(result.source);
        section.text(&format!("Required: {} ({source})", result.requirement));
        if let Some(failure) = result.verdict.failure() {
            if let Some(hint) = &failure.hint {
                section.hint(hint);
            }
            section.code("details", &text::plain(result, report.again));
        }
        if let Some(recording) = &result.recording {
            section.ladder(recording);
        }
        for (label, content) in [
            ("output of the program", &result.stdout),
            ("standard error of the program", &result.stderr),
        ] {
            if !content.trim().is_empty() {
                section.code(label, &output(content));
            }
        }
        page.add(section);
    }
    let mut bytes = Vec::new();
    // Memory does not fail.
    let _ = page.write(&mut bytes);
    bytes
}
