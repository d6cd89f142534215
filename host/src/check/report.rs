//! Results as text and in the formats of other tools.

mod formats;
mod html;
pub(crate) mod json;
mod points;
pub(crate) mod tap;
pub(crate) mod text;

use std::time::Duration;

use os_display::Quoted;
use socklab_core::wire::Escaped;

use super::engine::{CaseResult, Verdict};
use super::failure::seconds;

pub(crate) use formats::{Format, Report};
pub(crate) use points::Points;

/// Number of bytes of a program's output that a result has at most: half from its start, half from its end.
const OUTPUT: usize = 10_000;

/// Returns output of a program for a file: escaped, and not longer than [`OUTPUT`].
fn output(text: &str) -> String {
    capped(Escaped(text.as_bytes()).to_string(), OUTPUT)
}

/// Returns a text of this length at most: a note stands for its middle.
fn capped(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let boundary = |from: usize| (from..text.len()).find(|i| text.is_char_boundary(*i));
    let front = boundary(most / 2).unwrap_or_default();
    let back = boundary(text.len() - most / 2).unwrap_or(text.len());
    let (start, end) = (text.get(..front), text.get(back..));
    format!(
        "{}\n[{} bytes left out]\n{}",
        start.unwrap_or_default(),
        back - front,
        end.unwrap_or_default()
    )
}

/// Command that runs one case again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Again {
    /// Words before the id, and after it.
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) seed: u64,
}

impl Again {
    /// Returns the command for a case, for a shell.
    pub(crate) fn command(&self, id: &str) -> String {
        // The protocol and the role are in the command.
        let name = id.splitn(3, '/').last().unwrap_or(id);
        let words = self.before.iter().map(String::as_str);
        let seed = self.seed.to_string();
        // Other cases do the same with every seed.
        let seed = ["--seed", &seed].into_iter().filter(|_| name.contains("random"));
        let words =
            words.chain(["--case", name]).chain(seed).chain(self.after.iter().map(String::as_str));
        let quoted = words.map(|word| Quoted::native(word).force(false).external(true).to_string());
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// Numbers of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) info: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail(_) => &mut self.failed,
            Verdict::Info(_) => &mut self.info,
            Verdict::Skip(_) => &mut self.skipped,
        } += 1;
    }

    pub(crate) fn of<'r>(results: impl IntoIterator<Item = &'r CaseResult>) -> Self {
        let mut counts = Self::default();
        for result in results {
            counts.add(&result.verdict);
        }
        counts
    }

    pub(crate) const fn all(self) -> usize {
        self.passed + self.failed + self.info + self.skipped
    }

    /// Returns the numbers in words, such as "23 cases: 20 passed, 1 failed, 2 info (3.1 s)".
    pub(crate) fn summary(self, time: Duration) -> String {
        let all = self.all();
        let s = if all == 1 { "" } else { "s" };
        let mut text = format!("{all} case{s}: {} passed", self.passed);
        for (count, name) in
            [(self.failed, "failed"), (self.info, "info"), (self.skipped, "skipped")]
        {
            if count > 0 {
                text += &format!(", {count} {name}");
            }
        }
        format!("{text} ({})", seconds(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_a_case_is_quoted() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let again = Again {
            before: words("socklab check math server"),
            after: vec!["--".into(), "python3".into(), "my server.py".into(), "{port}".into()],
            seed: 7,
        };
        if std::path::MAIN_SEPARATOR != '/' {
            // Other shells have other quotes.
            return;
        }
        let expected =
            "socklab check math server --case slow/bytes-apart -- python3 'my server.py' '{port}'";
        assert_eq!(again.command("math/server/slow/bytes-apart"), expected);
        assert!(again.command("math/server/slow/random").contains(" slow/random --seed 7 -- "));
    }

    #[test]
    fn output_is_escaped_and_capped() {
        assert_eq!(output("caf\u{e9}\n\x1b[31m\u{202e}"), "caf\u{e9}\n\\x1b[31m\\u{202e}");
        let long = output(&format!("start {} end", "\0".repeat(100_000)));
        assert!(long.len() < OUTPUT + 100, "{}", long.len());
        assert!(long.starts_with("start ") && long.ends_with(" end") && long.contains("left out]"));
    }

    #[test]
    fn the_summary_leaves_out_what_is_zero() {
        let counts = Counts { passed: 2, failed: 1, info: 0, skipped: 3 };
        let text = counts.summary(Duration::from_millis(3100));
        assert_eq!(text, "6 cases: 2 passed, 1 failed, 3 skipped (3.1 s)");
    }
}
