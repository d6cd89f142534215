//! Lines of files that follow from something else, such as the rows of a README from the table of protocols.
//!
//! A test fails with the lines to paste. Or they are written, to be reviewed:
//!
//! ```text
//! UPDATE_SNAPSHOTS=1 cargo test -p socklab-tests --test repository --test sizes && git diff
//! ```

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Checks the lines of a file behind the line `before`, as far as they are of the kind that follows from something
/// else. `path` is relative to the root of the repository.
///
/// # Errors
///
/// When other lines stand there: which, and what to do. With `UPDATE_SNAPSHOTS` they are written instead.
///
/// # Panics
///
/// When the file cannot be read or written, or has no line `before`.
pub fn check_lines(
    path: &str,
    before: &str,
    is_generated: impl Fn(&str) -> bool,
    expected: &[String],
) -> Result<(), String> {
    // Several tests may be of one file, and are threads of one process.
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
    // The lines that differ are one block.
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

/// As [`check_lines`], of the rows of a table in Markdown with this head.
///
/// # Errors
///
/// As there.
///
/// # Panics
///
/// As there, or when the head is not followed by the line that separates it.
pub fn check_table(path: &str, head: &str, rows: &[String]) -> Result<(), String> {
    let rule = "|---".repeat(head.matches('|').count() - 1) + "|";
    let rows: Vec<String> = [rule].into_iter().chain(rows.iter().cloned()).collect();
    check_lines(path, head, |line| line.starts_with('|'), &rows)
}
