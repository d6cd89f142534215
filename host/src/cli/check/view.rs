//! What a person or a program sees of a run on standard output.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressStyle};

use crate::check::report::{Again, Counts, Points, json, tap, text};
use crate::check::{CaseResult, NOT_STARTED, Run, Setup, Verdict};
use crate::ui::{Bar, Output};

/// Form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    /// Events, as the cases end.
    Json,
    Tap,
}

/// Writer of results: in the order of the table, or as JSON as they come.
pub(super) struct View<'a> {
    style: Style,
    output: Output,
    quiet: bool,
    has_colours: bool,
    again: &'a Again,
    ids: Vec<String>,
    /// Results that wait for one before them.
    waiting: Vec<Option<Shown>>,
    skipped: Option<Skipped>,
    next: usize,
    counts: Counts,
    bar: Option<Bar>,
    error: Option<io::Error>,
}

/// What is shown of a result.
enum Shown {
    Text(String),
    /// The reason for which the case was skipped.
    Skip(String),
}

/// Skipped cases in a row that have the same reason.
struct Skipped {
    first: usize,
    count: usize,
    reason: String,
}

impl<'a> View<'a> {
    pub(super) fn new(style: Style, quiet: bool, ids: Vec<String>, again: &'a Again) -> Self {
        let json = style == Style::Json;
        let has_colours = !matches!(AutoStream::choice(&io::stdout()), ColorChoice::Never);
        let has_bar = io::stderr().is_terminal() && !json;
        let bar = has_bar.then(|| {
            let template = ProgressStyle::with_template("{pos} of {len} cases  {msg}");
            let bar = ProgressBar::new(ids.len() as u64);
            Bar::new(bar.with_style(template.unwrap_or_else(|_| ProgressStyle::default_bar())))
        });
        Self {
            style,
            output: Output::new(json, true),
            quiet,
            has_colours,
            again,
            waiting: ids.iter().map(|_| None).collect(),
            ids,
            next: 0,
            skipped: None,
            counts: Counts::default(),
            bar,
            error: None,
        }
    }

    fn line(&mut self, text: &str) {
        let text = if self.has_colours {
            text.to_owned()
        } else {
            anstream::adapter::strip_str(text).to_string()
        };
        let written = self.output.line(text.trim_end_matches('\n').as_bytes());
        self.note(written);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(e) = result {
            self.error.get_or_insert(e);
        }
    }

    /// Writes the first line of a run.
    pub(super) fn header(&mut self, title: &str) {
        match self.style {
            Style::Tap => self.line(&tap::header(title, self.ids.len())),
            _ if self.quiet => {}
            _ => self.line(title),
        }
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }

    /// Writes a result, as soon as all before it are written. An error means that nothing more can be written.
    pub(super) fn result(&mut self, result: &CaseResult) -> Result<(), ()> {
        self.counts.add(&result.verdict);
        if let Some(bar) = &self.bar {
            bar.set_position(self.counts.all() as u64);
            let failed = self.counts.failed;
            bar.set_message(if failed > 0 { format!("{failed} failed") } else { String::new() });
        }
        let event = json::result(result, self.again);
        let written = self.output.event(&event);
        self.note(written);
        let at = self.ids.iter().position(|id| *id == result.id);
        let shown = match &result.verdict {
            _ if self.style == Style::Tap => {
                Shown::Text(tap::result(at.unwrap_or_default() + 1, result, self.again))
            }
            // The last line of the program says that, and why.
            Verdict::Skip(reason) if reason == NOT_STARTED => Shown::Text(String::new()),
            Verdict::Skip(reason) if !self.quiet => Shown::Skip(reason.clone()),
            Verdict::Skip(_) | Verdict::Pass | Verdict::Info(_) if self.quiet => {
                Shown::Text(String::new())
            }
            _ => Shown::Text(text::result(result, self.again)),
        };
        if let Some(i) = at {
            self.waiting[i] = Some(shown);
        }
        while let Some(Some(_)) = self.waiting.get(self.next) {
            let Some(shown) = self.waiting[self.next].take() else { break };
            self.show(self.next, shown);
            self.next += 1;
        }
        if self.error.is_some() { Err(()) } else { Ok(()) }
    }

    /// Writes a result in its turn. Skipped cases with the same reason are counted first.
    fn show(&mut self, i: usize, shown: Shown) {
        match (shown, &mut self.skipped) {
            (Shown::Skip(reason), Some(run)) if run.reason == reason => run.count += 1,
            (Shown::Skip(reason), _) => {
                self.show_skipped();
                self.skipped = Some(Skipped { first: i, count: 1, reason });
            }
            (Shown::Text(text), _) => {
                self.show_skipped();
                if !text.is_empty() {
                    self.line(&text);
                }
            }
        }
    }

    /// Writes the line of the skipped cases that have been counted.
    fn show_skipped(&mut self) {
        if let Some(Skipped { first, count, reason }) = self.skipped.take() {
            let text = text::skipped(&self.ids[first], count, &reason);
            self.line(&text);
        }
    }

    /// Writes the last line of a run.
    ///
    /// # Errors
    ///
    /// The first error of writing.
    pub(super) fn summary(
        mut self,
        setup: &Setup,
        run: &Run,
        points: &Points,
        time: Duration,
    ) -> io::Result<()> {
        self.show_skipped();
        self.bar = None;
        let written = self.output.event(&json::summary(setup, run, time));
        self.note(written);
        let summary = Counts::of(&run.results).summary(time);
        match (self.style, &run.error) {
            (Style::Tap, Some(failure)) => self.line(&tap::bail_out(&failure.message)),
            (Style::Tap, None) => self.line(&format!("# {summary}")),
            _ => self.line(&summary),
        }
        if let Some(note) = run.note {
            let mark = if self.style == Style::Tap { "# " } else { "" };
            self.line(&format!("{mark}note: {note}"));
        }
        if let Some(total) = points.total(&run.results) {
            let mark = if self.style == Style::Tap { "# " } else { "" };
            self.line(&format!("{mark}{total}"));
        }
        self.error.map_or(Ok(()), Err)
    }
}
