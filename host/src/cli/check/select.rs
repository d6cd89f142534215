//! Selection of cases by patterns.

use super::super::common::Failure;
use crate::check::matches;

/// Patterns of `--case` and `--exclude`.
#[derive(Debug)]
pub(super) struct Selection<'p> {
    included: &'p [String],
    excluded: &'p [String],
}

impl<'p> Selection<'p> {
    pub(super) fn new(included: &'p [String], excluded: &'p [String]) -> Self {
        Self { included, excluded }
    }

    /// Removes the cases that are not selected.
    ///
    /// # Errors
    ///
    /// When a pattern matches no case, or no case is left.
    pub(super) fn apply<C>(
        &self,
        cases: &mut Vec<C>,
        id: impl Fn(&C) -> String,
    ) -> Result<(), Failure> {
        let options = [("--case", self.included), ("--exclude", self.excluded)];
        for (option, patterns) in options {
            for pattern in patterns {
                if !cases.iter().any(|case| matches(pattern, &id(case))) {
                    let close = closest(pattern, cases.iter().map(&id));
                    return Err(Failure::Usage(format!(
                        "{option} '{pattern}' matches no case{close}; --list shows all cases"
                    )));
                }
            }
        }
        let is_in = |patterns: &[String], id: &str| patterns.iter().any(|p| matches(p, id));
        cases.retain(|case| {
            let id = id(case);
            (self.included.is_empty() || is_in(self.included, &id)) && !is_in(self.excluded, &id)
        });
        match cases.len() {
            0 => Err(Failure::Usage("--exclude leaves no case to run".into())),
            _ => Ok(()),
        }
    }
}

/// Returns a question that names what was probably meant: all cases of a group, or the case whose id has the most of the
/// pattern's words.
fn closest(pattern: &str, ids: impl Iterator<Item = String>) -> String {
    let ids: Vec<String> = ids.collect();
    // The name of a group alone.
    let all = format!("{}/*", pattern.trim_end_matches('/'));
    if ids.iter().any(|id| matches(&all, id)) {
        return format!(" (did you mean '{all}'?)");
    }
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .map(str::to_owned)
            .filter(|w| w.len() > 2)
            .collect()
    };
    let wanted = words(pattern);
    let shared = |id: &str| words(id).iter().filter(|word| wanted.contains(word)).count();
    let best = ids.into_iter().map(|id| (shared(&id), id)).max_by_key(|(count, _)| *count);
    match best {
        Some((1.., id)) => format!(" (did you mean {id}?)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(included: &[&str], excluded: &[&str]) -> Result<Vec<String>, String> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut cases = owned(&["p/server/a/one", "p/server/a/two", "p/server/b/one"]);
        let (included, excluded) = (owned(included), owned(excluded));
        let selection = Selection::new(&included, &excluded);
        selection.apply(&mut cases, Clone::clone).map_err(|e| e.to_string())?;
        Ok(cases)
    }

    #[test]
    fn what_is_excluded_is_not_run() {
        assert_eq!(select(&["a/*"], &["*/two"]).unwrap(), ["p/server/a/one"]);
        assert_eq!(select(&[], &["a/*"]).unwrap(), ["p/server/b/one"]);
        assert!(select(&["a/*"], &["a/*"]).unwrap_err().contains("no case"));
    }

    #[test]
    fn a_pattern_without_a_match_is_an_error() {
        assert_eq!(
            select(&["a/*", "two/a"], &[]).unwrap_err(),
            "--case 'two/a' matches no case (did you mean p/server/a/two?); --list shows all cases"
        );
        for pattern in ["b", "b/", "p/server/b"] {
            let all = format!("(did you mean '{}/*'?)", pattern.trim_end_matches('/'));
            assert!(select(&[pattern], &[]).unwrap_err().contains(&all), "{pattern}");
        }
        assert!(select(&[], &["c"]).unwrap_err().starts_with("--exclude 'c'"));
    }
}
