//! Results in the formats of other tools.

use std::time::Duration;

use quick_junit as junit;
use serde_json::{Value, json};

use super::super::engine::{CaseResult, Run, Verdict};
use super::super::setup::Setup;
use super::points::Points;
use super::{Again, Counts, capped, output, text};
use crate::ui::json_line;

/// What a file of results is made from.
pub(crate) struct Report<'r> {
    pub(crate) setup: &'r Setup,
    pub(crate) title: &'r str,
    pub(crate) again: &'r Again,
    pub(crate) points: &'r Points,
    pub(crate) run: &'r Run,
    pub(crate) time: Duration,
}

/// Format of a file of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Junit,
    Gradescope,
    Github,
    Html,
}

impl Format {
    /// Returns the content of the file.
    pub(crate) fn render(self, report: &Report<'_>) -> Vec<u8> {
        match self {
            Self::Junit => report.junit(),
            Self::Gradescope => line(&report.gradescope()),
            Self::Github => line(&report.github()),
            Self::Html => super::html::page(report),
        }
    }
}

fn line(value: &Value) -> Vec<u8> {
    (json_line(value) + "\n").into_bytes()
}

impl Report<'_> {
    pub(super) fn summary(&self) -> String {
        match &self.run.error {
            Some(failure) => failure.summary(),
            None => Counts::of(&self.run.results).summary(self.time),
        }
    }

    /// Returns a line for the note of the run, if it has one.
    fn note(&self) -> String {
        self.run.note.map(|note| format!("\nnote: {note}")).unwrap_or_default()
    }

    /// Returns what is known of a case as text for the student.
    fn text(&self, result: &CaseResult) -> String {
        let mut text = match &result.verdict {
            Verdict::Pass => return format!("required  {}\n", result.requirement),
            Verdict::Skip(reason) => format!("not run: {}\n", output(reason)),
            Verdict::Info(_) => {
                "The document does not require this, but it is worth knowing.\n".into()
            }
            Verdict::Fail(_) => String::new(),
        };
        text += &text::plain(result, self.again);
        for (name, content) in [("output", &result.stdout), ("standard error", &result.stderr)] {
            if !content.trim().is_empty() {
                text += &format!("\n{name} of the program:\n{}\n", output(content));
            }
        }
        text
    }

    /// Returns the file of JUnit: a suite for each group, in the form that Jenkins reads.
    fn junit(&self) -> Vec<u8> {
        let mut report = junit::Report::new(format!(
            "socklab check {} {}",
            self.setup.protocol,
            self.setup.role.name()
        ));
        report.set_time(self.time);
        let mut suites: Vec<(&str, junit::TestSuite)> = Vec::new();
        for result in &self.run.results {
            let group = result.group.name();
            let class = format!("{}.{}.{group}", self.setup.protocol, self.setup.role.name());
            let name = result.id.rsplit('/').next().unwrap_or_default();
            let mut case = junit::TestCase::new(name, self.junit_status(result));
            case.set_classname(class.as_str()).set_time(result.time);
            if !matches!(result.verdict, Verdict::Pass) {
                let info = match &result.verdict {
                    Verdict::Info(_) => text::plain(result, self.again) + "\n",
                    _ => String::new(),
                };
                case.set_system_out(info + &output(&result.stdout));
                case.set_system_err(output(&result.stderr));
            }
            let suite = match suites.iter().position(|(known, _)| *known == group) {
                Some(i) => &mut suites[i].1,
                None => {
                    suites.push((group, junit::TestSuite::new(class)));
                    let last = suites.len() - 1;
                    &mut suites[last].1
                }
            };
            suite.time = Some(suite.time.unwrap_or_default() + result.time);
            suite.add_test_case(case);
        }
        for (_, mut suite) in suites {
            suite.add_property(junit::Property::new("seed", self.setup.seed.to_string()));
            if let Some(note) = self.run.note {
                suite.add_property(junit::Property::new("note", note));
            }
            report.add_test_suite(suite);
        }
        // Only a failed write is an error, and memory does not fail.
        let xml = report.to_string().unwrap_or_default();
        // The schema of Jenkins has this number only in each suite, and the crate writes it here too.
        let skipped = format!(" skipped=\"{}\"", report.skipped);
        let xml = xml.replacen(&skipped, "", 1);
        // The crate removes the other characters that XML does not have.
        xml.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}").into_bytes()
    }

    fn junit_status(&self, result: &CaseResult) -> junit::TestCaseStatus {
        let mut status = match &result.verdict {
            Verdict::Pass | Verdict::Info(_) => return junit::TestCaseStatus::success(),
            Verdict::Fail(_) => junit::TestCaseStatus::non_success(junit::NonSuccessKind::Failure),
            Verdict::Skip(_) => junit::TestCaseStatus::skipped(),
        };
        match &result.verdict {
            Verdict::Skip(reason) => {
                status.set_message(output(reason));
            }
            verdict => {
                let message = verdict.failure().map(|f| output(&f.message)).unwrap_or_default();
                status.set_message(message).set_type("failure");
                status.set_description(text::plain(result, self.again));
            }
        }
        status
    }

    /// Returns the results.json of Gradescope. It has no score at the top: Gradescope adds those of the tests.
    fn gradescope(&self) -> Value {
        let tests = self.run.results.iter().enumerate().map(|(i, result)| {
            let (score, max_score) = self.points.score(result);
            let has_passed = matches!(result.verdict, Verdict::Pass | Verdict::Info(_));
            json!({
                "name": format!("{}: {}", result.id, result.requirement),
                "number": (i + 1).to_string(),
                "score": score,
                "max_score": max_score,
                "status": if has_passed { "passed" } else { "failed" },
                "output": self.text(result),
                "output_format": "text",
                "tags": [result.group.name(), result.verdict.name()],
                "visibility": "visible",
            })
        });
        json!({
            "output": format!("{}\n{}{}", self.title, self.summary(), self.note()),
            "output_format": "text",
            "execution_time": self.time.as_secs_f64(),
            "visibility": "visible",
            "stdout_visibility": "hidden",
            "tests": tests.collect::<Vec<_>>(),
        })
    }

    /// Returns the result of a runner of GitHub Classroom, as its reporter reads it.
    fn github(&self) -> Value {
        let scores: Vec<_> =
            self.run.results.iter().map(|result| self.points.score(result)).collect();
        let max_score: f64 = scores.iter().map(|(_, max)| max).sum();
        let counts = Counts::of(&self.run.results);
        let status = match (&self.run.error, counts.failed) {
            (Some(_), _) => "error",
            (None, 0) if !self.run.is_late => "pass",
            _ => "fail",
        };
        // The reporter gets the file in a variable of the environment, which has 128 KiB at most, as base64.
        let most = 60_000 / scores.len().max(1);
        let tests = self.run.results.iter().zip(scores).map(|(result, (score, _))| {
            let is_good = matches!(result.verdict, Verdict::Pass | Verdict::Info(_));
            let (status, message) = match &result.verdict {
                Verdict::Pass => ("pass", Value::Null),
                Verdict::Skip(_) if self.run.error.is_some() => ("error", self.summary().into()),
                _ => {
                    // The format has no other place for a note.
                    let text = capped(self.text(result), most) + &self.note();
                    (if is_good { "pass" } else { "fail" }, text.into())
                }
            };
            json!({
                "name": result.id,
                "status": status,
                "score": score,
                "message": message,
                "test_code": self.again.command(&result.id),
                "filename": "",
                "line_no": 0,
                "execution_time": format!("{:.3}s", result.time.as_secs_f64()),
            })
        });
        json!({
            "version": 1,
            "status": status,
            "max_score": max_score,
            "tests": tests.collect::<Vec<_>>(),
        })
    }
}
