//! The files that a command writes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::sys::file::{self, Info};

/// Checks the files of a command before one of them is created, with the options that name them. Each must be another
/// file, and neither a standard stream nor one of `used`, which the command reads or writes too: the content of one would
/// replace that of the other.
///
/// # Errors
///
/// If two paths name the same file, or that of an option is `-`.
pub(in crate::cli) fn distinct(
    files: &[(&str, Option<&Path>)],
    used: &[(&str, &Path)],
) -> Result<(), Failure> {
    let mut before = used.to_vec();
    for (option, path) in files.iter().filter_map(|(option, path)| Some((*option, (*path)?))) {
        if path == Path::new("-") {
            return Err(Failure::Usage(format!(
                "{option} -: expected the name of a file (./- if it is named -); see --help"
            )));
        }
        if let Some((other, same)) = before.iter().find(|(_, other)| is_same(other, path)) {
            let (path, same) = (path.display(), same.display());
            return Err(Failure::Usage(format!(
                "{other} {same} and {option} {path} name the same file; see --help"
            )));
        }
        let streams = [
            ("standard input", file::stdin().ok().flatten()),
            ("standard output", file::stdout().ok()),
        ];
        for (stream, open) in streams {
            if open.is_some_and(|open| is_open(path, &open)) {
                return Err(Failure::Usage(format!(
                    "{stream} and {option} {} are the same file; see --help",
                    path.display()
                )));
            }
        }
        before.push((option, path));
    }
    Ok(())
}

/// Returns whether a path names an open file. Devices and pipes may be used twice.
fn is_open(path: &Path, open: &File) -> bool {
    let (named, open) = (Info::at(path), Info::of(open));
    path.is_file() && named.is_ok_and(|named| open.is_ok_and(|open| named.is_same(&open)))
}

/// Returns whether two paths name the same file, which may not exist yet. Devices and pipes may be written twice.
fn is_same(one: &Path, other: &Path) -> bool {
    match (Info::at(one), Info::at(other)) {
        (Ok(first), Ok(second)) => first.is_same(&second) && one.is_file(),
        (Err(_), Err(_)) => destination(one) == destination(other),
        _ => false,
    }
}

/// Returns the path of a file that does not exist, without links.
fn destination(path: &Path) -> PathBuf {
    /// Links to links, as Linux follows them.
    const LINKS: usize = 40;

    fn folder(path: &Path) -> &Path {
        path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
    }

    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    match (fs::canonicalize(folder(&path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &Path, other: &Path) -> Result<(), String> {
        let files = [("--html", Some(one)), ("--points", None), ("--junit", Some(other))];
        distinct(&files, &[]).map_err(|e| e.to_string())
    }

    #[test]
    fn two_paths_of_the_same_file_are_refused_also_if_it_does_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let refused = |one: &str, other: &str| check(&path(one), &path(other)).is_err();
        fs::create_dir(path("in")).unwrap();
        assert!(refused("new", "new") && refused("new", "./new") && refused("in/../new", "new"));
        assert!(!refused("new", "other") && !refused("new", "in/new"));
        fs::write(path("old"), "").unwrap();
        assert!(refused("old", "./old") && !refused("old", "new"));
        fs::hard_link(path("old"), path("hard")).unwrap();
        assert!(refused("old", "hard"));
        assert!(check(Path::new("x"), Path::new("./x")).is_err());
        let error = check(Path::new("x"), Path::new("-")).unwrap_err();
        assert!(error.contains("--junit -"), "{error}");
    }

    #[test]
    fn a_file_that_is_used_is_refused_and_may_be_used_twice() {
        let [used, other] = ["-", "other"].map(Path::new);
        let used = [("LOCAL", used), ("REMOTE", used)];
        assert!(distinct(&[("--html", Some(other))], &used).is_ok());
        let error = distinct(&[("--html", Some(Path::new("./-")))], &used).unwrap_err();
        assert!(error.to_string().contains("LOCAL - and --html ./- name"), "{error}");
    }

    #[test]
    fn the_null_device_may_be_written_twice() {
        let null = Path::new("/dev/null");
        assert!(!null.exists() || check(null, null).is_ok());
    }
}
