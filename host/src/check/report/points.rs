//! Points for cases: the file of `--points`.
//!
//! ```text
//! # GLOB POINTS; the last line that matches counts
//! basic/*  10
//! close/*  2.5
//! math/server/sequential/second-client  5
//! ```

use std::fmt;

use super::super::engine::{CaseResult, Verdict};
use super::super::pattern::matches;

/// Weights of cases.
#[derive(Debug, Default)]
pub(crate) struct Points {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    pattern: String,
    points: f64,
}

/// Mistake in a file of points, with its line and column from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PointsError {
    line: usize,
    column: usize,
    text: String,
}

impl fmt::Display for PointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, text } = self;
        write!(f, "{line}:{column}: {text}")
    }
}

impl Points {
    /// Parses a file. `ids` are all cases to which it can apply.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub(crate) fn parse(text: &str, ids: &[String]) -> Result<Self, PointsError> {
        let mut lines = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let column = |part: &str| {
                // The part is a slice of the line.
                let offset = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
                line.get(..offset).unwrap_or_default().chars().count() + 1
            };
            let error = |column, text| PointsError { line: number + 1, column, text };
            let content = line.split('#').next().unwrap_or_default().trim_end();
            let mut words = content.split_whitespace();
            let Some(pattern) = words.next() else { continue };
            let Some(number) = words.next() else {
                let text = format!("'{pattern}' has no points: expected GLOB POINTS");
                return Err(error(content.chars().count() + 1, text));
            };
            let points = number.parse::<f64>().ok().filter(|points| (0.0..=1e6).contains(points));
            let Some(points) = points else {
                let text = format!("'{number}' is not a number of points from 0 to 1000000");
                return Err(error(column(number), text));
            };
            if let Some(word) = words.next() {
                let text = format!("'{word}' is too much: expected GLOB POINTS");
                return Err(error(column(word), text));
            }
            if !ids.iter().any(|id| matches(pattern, id)) {
                let text = format!("'{pattern}' matches no case; --list shows all cases");
                return Err(error(column(pattern), text));
            }
            lines.push(Line { pattern: pattern.to_owned(), points });
        }
        Ok(Self { lines })
    }

    /// Returns the points that a case has got, and those that it can get.
    pub(crate) fn score(&self, result: &CaseResult) -> (f64, f64) {
        let all = self.of(&result.id, result.is_info);
        let has_passed = match &result.verdict {
            Verdict::Pass => true,
            // A part of the case that the document does not require. A teacher who names such a case requires it.
            Verdict::Info(_) => !result.is_info,
            Verdict::Fail(_) | Verdict::Skip(_) => false,
        };
        (if has_passed { all } else { 0.0 }, all)
    }

    /// Returns the points of a run as text, if there is a file of points.
    pub(crate) fn total(&self, results: &[CaseResult]) -> Option<String> {
        if self.lines.is_empty() {
            return None;
        }
        let scores = results.iter().map(|result| self.score(result));
        let (got, all) = scores.fold((0.0, 0.0), |sum, score| (sum.0 + score.0, sum.1 + score.1));
        Some(format!("{got} of {all} points"))
    }

    /// Returns the points of a case. What the document does not require has none, unless a line has its name without a
    /// wildcard.
    pub(crate) fn of(&self, id: &str, is_info: bool) -> f64 {
        let counts = |line: &&Line| {
            matches(&line.pattern, id) && !(is_info && line.pattern.contains(['*', '?']))
        };
        match self.lines.iter().rev().find(counts) {
            Some(line) => line.points,
            None if is_info => 0.0,
            None => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Points, String> {
        let ids = ["math/server/basic/one", "math/server/close/one"].map(str::to_owned);
        Points::parse(text, &ids).map_err(|e| e.to_string())
    }

    #[test]
    fn the_last_line_that_matches_counts() {
        let points = parse("\u{feff}# weights\r\n\n*  2 # all\nclose/one\t0.5\n").unwrap();
        assert_eq!(points.of("math/server/basic/one", false), 2.0);
        assert_eq!(points.of("math/server/close/one", false), 0.5);
        assert_eq!(Points::default().of("math/server/close/one", false), 1.0);
    }

    #[test]
    fn information_has_points_only_if_it_is_named() {
        let points = parse("*  2\nclose/one 3\n").unwrap();
        assert_eq!(points.of("math/server/basic/one", true), 0.0);
        assert_eq!(points.of("math/server/close/one", true), 3.0);
        assert_eq!(Points::default().of("math/server/close/one", true), 0.0);
    }

    #[test]
    fn an_error_has_a_line_and_a_column() {
        for (text, error) in [
            ("close/*", "1:8: 'close/*' has no points: expected GLOB POINTS"),
            ("#\n  close/*  ten", "2:12: 'ten' is not a number of points from 0 to 1000000"),
            ("* -1", "1:3: '-1' is not a number of points from 0 to 1000000"),
            ("* NaN", "1:3: 'NaN' is not a number of points from 0 to 1000000"),
            ("* 1 2", "1:5: '2' is too much: expected GLOB POINTS"),
            (" clsoe/* 1", "1:2: 'clsoe/*' matches no case; --list shows all cases"),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
    }
}
