//! Programs of students in `tests/mutants/`, and the table of planted mistakes of each one.
//!
//! The format of a table is in `tests/mutants/README.md`.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        /// Protocols, each with programs in `tests/mutants/`.
        pub const PROTOCOLS: [&str; [$(stringify!($module)),*].len()] = [$(stringify!($module)),*];
    };
}

socklab_core::for_each_protocol!(protocols);

/// Roles of each protocol.
pub const ROLES: [&str; 2] = ["client", "server"];

/// Mistake in a table, or a mutant that does not fit its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Line of the table, from 1.
    pub line: usize,
    /// Description of the mistake.
    pub message: String,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for TableError {}

/// Returns an error at a line of the table.
fn error<T>(line: usize, message: impl Into<String>) -> Result<T, TableError> {
    Err(TableError { line, message: message.into() })
}

/// Consecutive lines of the source and their replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    /// Line of the table with the first removed line, from 1.
    line: usize,
    /// Removed lines, without the white space around them.
    removed: Vec<String>,
    /// Replacement, with its relative indentation.
    added: Vec<String>,
}

impl Block {
    /// Returns the range of the removed lines in the source, which must be the only one.
    fn find(&self, lines: &[&str]) -> Result<Range<usize>, TableError> {
        let mut places = lines
            .windows(self.removed.len())
            .enumerate()
            .filter(|(_, window)| window.iter().zip(&self.removed).all(|(a, b)| a.trim() == b))
            .map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(at), None) => Ok(at..at + self.removed.len()),
            (None, _) => error(self.line, "the removed lines do not occur in the program"),
            (Some(first), Some(second)) => {
                let (first, second) = (first + 1, second + 1);
                error(
                    self.line,
                    format!("the removed lines occur at lines {first} and {second} of the program"),
                )
            }
        }
    }
}

/// Program with one planted mistake, as a change of the correct program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutant {
    /// Line of the table where it starts, from 1.
    pub line: usize,
    /// Name, unique in its table.
    pub name: String,
    /// Description of the mistake.
    pub description: String,
    /// Globs of `GROUP/CASE`. A case that matches one of them must find the mistake.
    pub cases: Vec<String>,
    /// Words that the hint should contain: one of these phrases, in any case of letters.
    pub hints: Vec<String>,
    /// Source to change, if the table is about more than one program.
    pub file: Option<String>,
    /// Whether the verdict may be "info", because the document does not require what is missing.
    pub may_be_info: bool,
    blocks: Vec<Block>,
}

impl Mutant {
    /// Returns the source of the program with the mistake.
    ///
    /// # Errors
    ///
    /// An error if removed lines do not occur exactly once, or if two blocks remove the same line.
    pub fn apply(&self, source: &str) -> Result<String, TableError> {
        let lines: Vec<&str> = source.lines().collect();
        let mut changes = Vec::new();
        for block in &self.blocks {
            changes.push((block.find(&lines)?, block));
        }
        changes.sort_by_key(|(range, _)| range.start);
        let mut mutated: Vec<String> = Vec::new();
        let mut next = 0;
        for (range, block) in changes {
            if range.start < next {
                return error(block.line, "two blocks remove the same line");
            }
            mutated.extend(lines[next..range.start].iter().map(|&line| line.to_owned()));
            let first = lines[range.start];
            let indentation = &first[..first.len() - first.trim_start().len()];
            mutated.extend(block.added.iter().map(|line| {
                if line.is_empty() { String::new() } else { format!("{indentation}{line}") }
            }));
            next = range.end;
        }
        mutated.extend(lines[next..].iter().map(|&line| line.to_owned()));
        let mutated = mutated.join("\n") + "\n";
        if mutated == source {
            return error(self.line, "the mutant does not differ from the program");
        }
        Ok(mutated)
    }

    /// Checks that the mutant is complete, after its last line was read.
    fn check(&self) -> Result<(), TableError> {
        match self.blocks.last() {
            None => return error(self.line, "a mutant needs a removed line"),
            Some(last) if last.removed.is_empty() => {
                return error(last.line, "the block after \"and\" removes no line");
            }
            Some(_) => {}
        }
        if self.cases.is_empty() && self.file.is_none() {
            return error(self.line, "a mutant needs a case that must find it");
        }
        Ok(())
    }

    /// Reads one line of the table that belongs to the mutant.
    fn read(&mut self, line: usize, text: &str) -> Result<(), TableError> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "-" => {
                if self.blocks.is_empty() {
                    self.blocks.push(Block::default());
                }
                let block = self.blocks.last_mut().expect("at least one block");
                if !block.added.is_empty() {
                    return error(line, "a removed line after added lines needs the line \"and\"");
                }
                if block.removed.is_empty() {
                    block.line = line;
                }
                block.removed.push(rest.trim().to_owned());
            }
            "+" => match self.blocks.last_mut() {
                Some(block) if !block.removed.is_empty() => {
                    block.added.push(rest.trim_end().to_owned());
                }
                _ => return error(line, "an added line without a removed line before it"),
            },
            "and" if rest.is_empty() => {
                if self.blocks.last().is_none_or(|block| block.removed.is_empty()) {
                    return error(line, "\"and\" without a block before it");
                }
                self.blocks.push(Block { line, ..Block::default() });
            }
            "info" if rest.is_empty() => self.may_be_info = true,
            "case" | "hint" | "file" if rest.trim().is_empty() => {
                return error(line, format!("\"{word}\" without a text"));
            }
            "case" => self.cases.push(rest.trim().to_owned()),
            "hint" => self.hints.push(rest.trim().to_owned()),
            "file" => self.file = Some(rest.trim().to_owned()),
            _ => {
                return error(
                    line,
                    format!(
                        "unknown word \"{word}\": expected mutant, -, +, and, case, hint, info or file"
                    ),
                );
            }
        }
        Ok(())
    }
}

/// Parses a table.
///
/// # Errors
///
/// An error for the first line that is not understood, or the first mutant that is not complete.
pub fn parse(table: &str) -> Result<Vec<Mutant>, TableError> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (text, line) in table.lines().zip(1..) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(rest) = text.strip_prefix("mutant ") {
            if let Some(last) = mutants.last() {
                last.check()?;
            }
            let Some((name, description)) = rest.split_once(": ") else {
                return error(line, "expected \"mutant NAME: DESCRIPTION\"");
            };
            let (name, description) = (name.trim().to_owned(), description.trim().to_owned());
            if let Some(other) = mutants.iter().find(|other| other.name == name) {
                let message = format!("the name \"{name}\" is used at line {} too", other.line);
                return error(line, message);
            }
            mutants.push(Mutant { line, name, description, ..Mutant::default() });
        } else if let Some(mutant) = mutants.last_mut() {
            mutant.read(line, text)?;
        } else {
            return error(line, "expected \"mutant NAME: DESCRIPTION\" first");
        }
    }
    if let Some(last) = mutants.last() {
        last.check()?;
    }
    Ok(mutants)
}

/// Returns the folder of the programs.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants")
}

/// Returns the path of the correct program of a role.
#[must_use]
pub fn program(protocol: &str, role: &str) -> PathBuf {
    folder().join(format!("{protocol}_{role}.py"))
}

/// Returns the source of the correct program of a role, and its mutants.
///
/// # Panics
///
/// Panics if a file cannot be read, or if the table has a mistake.
#[must_use]
pub fn load(protocol: &str, role: &str) -> (String, Vec<Mutant>) {
    let path = program(protocol, role);
    let read = |path: &Path| {
        fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let table = path.with_extension("txt");
    let mutants = parse(&read(&table));
    (read(&path), mutants.unwrap_or_else(|e| panic!("{}, {e}", table.display())))
}

/// Returns the path of the Python interpreter. A wrapper in the search path, which a version manager has, is slow.
///
/// # Panics
///
/// Panics without python3.
#[must_use]
pub fn python() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let script = "import sys; print(sys.executable)";
        let output = Command::new("python3").args(["-c", script]).output().expect("python3");
        String::from_utf8(output.stdout).expect("a path in UTF-8").trim().to_owned()
    })
}

/// Returns the command that runs a source in Python, C or Java, or `None` without its compiler. Programs in C and Java are
/// compiled into `folder`.
///
/// # Panics
///
/// Panics if the source cannot be compiled, or if a path is not in UTF-8.
#[must_use]
pub fn command(path: &Path, folder: &Path) -> Option<Vec<String>> {
    let name = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    match path.extension()?.to_str()? {
        // Without the module `site`, which takes longer than the rest of a start. The programs do not need it.
        "py" => Some(vec![python().into(), "-B".into(), "-S".into(), name(path)]),
        "java" if cfg!(javac) => {
            let folder = folder.join(path.file_stem()?);
            compile(Command::new("javac").arg("-d").arg(&folder).arg(path));
            let entries = fs::read_dir(&folder).expect("the folder of the classes");
            let mut classes = entries.map(|entry| entry.expect("a class").path());
            // Classes inside the main one have a `$` in their names.
            let main = classes.find(|class| !name(class).contains('$')).expect("a class");
            let main = main.with_extension("");
            let main = main.file_name()?.to_str().expect("a name in UTF-8").to_owned();
            Some(vec!["java".into(), "-cp".into(), name(&folder), main])
        }
        "c" if cfg!(cc) => {
            let program = folder.join(path.file_stem()?);
            let mut cc = Command::new("cc");
            cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]);
            compile(cc.arg(&program).arg(path));
            Some(vec![name(&program)])
        }
        _ => None,
    }
}

/// Runs a compiler.
fn compile(command: &mut Command) {
    let output = command.output().expect("the compiler starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {messages}");
}

/// Returns whether a glob, in which `*` stands for any text, matches.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    match glob.split_once('*') {
        None => glob == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| glob_matches(rest, &text[at..]))
        }),
    }
}

/// Correct program in another style or language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    /// Path of its source. The language follows from the extension: `py`, `c` or `java`.
    pub path: PathBuf,
    /// Protocol.
    pub protocol: String,
    /// Role: `client` or `server`.
    pub role: String,
    /// Style.
    pub style: String,
    /// `KEY=VALUE` of the form on the wire, if it is not the default: the text after `wire:` in the source.
    pub wire: Option<String>,
}

/// Returns the correct programs in other styles, sorted by path.
///
/// # Panics
///
/// Panics if a file cannot be read, or if its name is not `PROTOCOL_ROLE_STYLE.EXTENSION`.
#[must_use]
pub fn variants() -> Vec<Variant> {
    let folder = folder().join("variants");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut variants: Vec<Variant> =
        entries.map(|entry| variant(entry.expect("an entry of the folder").path())).collect();
    variants.sort();
    variants
}

fn variant(path: PathBuf) -> Variant {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut parts = stem.splitn(3, '_').map(str::to_owned);
    let (Some(protocol), Some(role), Some(style)) = (parts.next(), parts.next(), parts.next())
    else {
        panic!("{}: expected PROTOCOL_ROLE_STYLE", path.display());
    };
    let source = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let wire = source.split_once("wire: ").and_then(|(_, rest)| rest.lines().next());
    let wire = wire.map(|wire| wire.trim().to_owned());
    Variant { path, protocol, role, style, wire }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "import socket\n\ndef ask(sock):\n    data = read(sock, 9)\n    \
                           return data\n\nask(s)\nask(s)\n";

    fn one(table: &str) -> Mutant {
        let mut mutants = parse(table).unwrap();
        assert_eq!(mutants.len(), 1);
        mutants.remove(0)
    }

    #[test]
    fn a_line_is_replaced_with_its_indentation() {
        let mutant = one("# comment\n\nmutant one-recv: takes one recv\n-  data = read(sock, 9)\n\
             + for _ in range(2):\n+     data = sock.recv(9)\n+\ncase segmentation/*\n\
             case slow/*\nhint one recv\ninfo\n");
        assert_eq!((mutant.name.as_str(), mutant.line), ("one-recv", 3));
        assert_eq!(mutant.description, "takes one recv");
        assert_eq!(mutant.cases, ["segmentation/*", "slow/*"]);
        assert_eq!(mutant.hints, ["one recv"]);
        assert!(mutant.may_be_info);
        let expected = PROGRAM.replace(
            "    data = read(sock, 9)\n",
            "    for _ in range(2):\n        data = sock.recv(9)\n\n",
        );
        assert_eq!(mutant.apply(PROGRAM).unwrap(), expected);
    }

    #[test]
    fn a_mutant_of_a_file_needs_no_case() {
        let mutant = one("mutant m: d\nfile engine/slot.rs\n- return data\n");
        assert_eq!(mutant.file.as_deref(), Some("engine/slot.rs"));
        assert_eq!(mutant.apply(PROGRAM).unwrap(), PROGRAM.replace("    return data\n", ""));
    }

    #[test]
    fn several_blocks_are_applied_in_any_order() {
        let mutant =
            one("mutant m: d\n- return data\n+ return b''\nand\n- import socket\ncase a/*\n");
        let expected = PROGRAM.replace("import socket\n", "").replace("return data", "return b''");
        assert_eq!(mutant.apply(PROGRAM).unwrap(), expected);
        assert!(!mutant.may_be_info);
    }

    #[test]
    fn lines_that_do_not_occur_exactly_once_are_an_error() {
        for (block, line, message) in [
            ("- nothing\n", 2, "the removed lines do not occur in the program"),
            ("- ask(s)\n", 2, "the removed lines occur at lines 7 and 8 of the program"),
            ("- return data\n- ask(s)\n", 2, "the removed lines do not occur in the program"),
            ("- return data\nand\n- return data\n", 4, "two blocks remove the same line"),
            (
                "- import socket\n+ import socket\n",
                1,
                "the mutant does not differ from the program",
            ),
        ] {
            let mutant = one(&format!("mutant m: d\n{block}case a/*\n"));
            let error = mutant.apply(PROGRAM).unwrap_err();
            assert_eq!((error.line, error.message.as_str()), (line, message), "{block}");
        }
    }

    #[test]
    fn a_star_in_a_glob_stands_for_any_text() {
        for (glob, text, expected) in [
            ("close/*", "close/after-connect", true),
            ("close/*", "bad-input/close", false),
            ("*", "close/x", true),
            ("basic/one", "basic/one", true),
            ("basic/one", "basic/one-more", false),
            ("*/*-é", "basic/café-é", true),
            ("basic/*-file", "basic/empty", false),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn an_error_in_a_table_names_its_line() {
        for (table, message) in [
            ("- a\n", "line 1: expected \"mutant NAME: DESCRIPTION\" first"),
            ("mutant m\n", "line 1: expected \"mutant NAME: DESCRIPTION\""),
            ("mutant m \n", "line 1: expected \"mutant NAME: DESCRIPTION\""),
            ("mutant m: d\n", "line 1: a mutant needs a removed line"),
            ("mutant m: d\n- a\n", "line 1: a mutant needs a case that must find it"),
            ("\nmutant m: d\ncase a\n", "line 2: a mutant needs a removed line"),
            ("mutant m: d\n+ a\n", "line 2: an added line without a removed line before it"),
            ("mutant m: d\nand\n", "line 2: \"and\" without a block before it"),
            ("mutant m: d\n- a\nand\nand\n", "line 4: \"and\" without a block before it"),
            ("mutant m: d\n- a\nand\ncase a\n", "line 3: the block after \"and\" removes no line"),
            (
                "mutant m: d\n- a\n+ b\n- c\n",
                "line 4: a removed line after added lines needs the line \"and\"",
            ),
            ("mutant m: d\n- a\nhint\n", "line 3: \"hint\" without a text"),
            (
                "mutant m: d\n- a\ncase b\nmutant m: e\n",
                "line 4: the name \"m\" is used at line 1 too",
            ),
            (
                "mutant m: d\ncases a\n",
                "line 2: unknown word \"cases\": expected mutant, -, +, and, case, hint, info or file",
            ),
        ] {
            assert_eq!(parse(table).unwrap_err().to_string(), message, "{table}");
        }
    }
}
