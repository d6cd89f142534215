//! Generated lines of files, such as the rows of a README that follow from the table of protocols.
//!
//! A test fails with the lines to paste, or writes them for a review:
//!
//! ```text
//! UPDATE_SNAPSHOTS=1 cargo test -p socklab-tests --test repository --test sizes && git diff
//! ```

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Checks the generated lines that follow the line `before` in a file. `path` is relative to the root of the
/// repository.
///
/// # Errors
///
/// An error if the lines differ: the differences, and what to do. With `UPDATE_SNAPSHOTS` the lines are written
/// instead.
///
/// # Panics
///
/// Panics if the file cannot be read or written, or has no line `before`.
pub fn check_lines(
    path: &str,
    before: &str,
    is_generated: impl Fn(&str) -> bool,
    expected: &[String],
) -> Result<(), String> {
    // Several tests may check one file, in threads of one process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == before);
    let start = 1 + at.unwrap_or_else(|| panic!("{path} has no line {before:?}"));
    let count = lines[start..].iter().take_while(|line| is_generated(line)).count();
    let present = &lines[start..start + count];
    if present == expected {
        return Ok(());
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let mut updated: Vec<&str> = lines[..start].to_vec();
        updated.extend(expected.iter().map(String::as_str));
        updated.extend(&lines[start + count..]);
        fs::write(&file, updated.join("\n") + "\n").unwrap_or_else(|e| panic!("{path}: {e}"));
        return Ok(());
    }
    // The differing lines are reported as one block.
    let same = present.iter().zip(expected).take_while(|(now, then)| now == then).count();
    let (present, expected) = (&present[same..], &expected[same..]);
    let ends = present.iter().rev().zip(expected.iter().rev());
    let ends = ends.take_while(|(now, then)| now == then).count();
    let present = present[..present.len() - ends].join("\n");
    let expected = expected[..expected.len() - ends].join("\n");
    Err(format!(
        "{path}, line {}: paste\n\n{expected}\n\ninstead of\n\n{present}\n\nor run the test with \
         UPDATE_SNAPSHOTS=1 and review git diff",
        start + same + 1
    ))
}

/// Does what [`check_lines`] does, for the rows of a Markdown table with this head.
///
/// # Errors
///
/// See [`check_lines`].
///
/// # Panics
///
/// See [`check_lines`]. Also panics if the head is not followed by the separator line.
pub fn check_table(path: &str, head: &str, rows: &[String]) -> Result<(), String> {
    let rule = "|---".repeat(head.matches('|').count() - 1) + "|";
    let rows: Vec<String> = [rule].into_iter().chain(rows.iter().cloned()).collect();
    check_lines(path, head, |line| line.starts_with('|'), &rows)
}
