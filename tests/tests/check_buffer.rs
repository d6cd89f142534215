//! `socklab check` on programs whose output stays in a buffer when stdout is not a terminal.

#![cfg(unix)]

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

use checks::{Case, Run, check_command, check_pair, student};
use serde_json::Value;
use socklab_tests::mutants;
use socklab_tests::program::Program;
use tempfile::TempDir;

/// Only the basic cases: they look at the output.
const BASIC: [&str; 2] = ["--case", "basic/*"];

fn server() -> PathBuf {
    mutants::folder().join("variants/add_server_posix.c")
}

fn client() -> PathBuf {
    mutants::folder().join("odd/exits_with_full_buffer.c")
}

/// Compiles a program of this role with other words, and returns its command.
fn compiled(role: &str, path: &Path, changes: &[(&str, &str)], folder: &TempDir) -> Vec<String> {
    let mut source = fs::read_to_string(path).unwrap();
    for (old, new) in changes {
        assert!(source.contains(old), "no {old}");
        source = source.replace(old, new);
    }
    let copy = folder.path().join(format!("{role}.c"));
    fs::write(&copy, source).unwrap();
    student("add", role, &copy, folder.path()).unwrap()
}

/// Runs the basic cases of a server with other words.
fn changed(changes: &[(&str, &str)]) -> Run {
    let folder = TempDir::new().unwrap();
    let command = compiled("server", &server(), changes, &folder);
    check_command("add", "server", &BASIC, &command)
}

/// Returns the note of a run.
fn note(run: &Run) -> Option<String> {
    let text = String::from_utf8_lossy(&run.finished.stdout).into_owned();
    let summary: Value = serde_json::from_str(text.lines().last()?).unwrap();
    assert_eq!(summary["event"], "summary");
    summary["note"].as_str().map(str::to_owned)
}

#[track_caller]
fn failures(run: &Run) -> Vec<&Case> {
    let failures: Vec<_> = run.with("fail").collect();
    assert!(!failures.is_empty(), "{}", run.troubles());
    failures
}

const NOTE: &str =
    "output is buffered when stdout is not a terminal; it was tested with a terminal";

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_server_that_never_flushes_passes_with_a_note() {
    let run = changed(&[]);
    run.assert_passed("a server that never flushes");
    assert_eq!(note(&run), Some(format!("the program's {NOTE}")));
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_client_that_does_not_flush_at_its_end_passes_with_a_note() {
    let folder = TempDir::new().unwrap();
    let command = compiled("client", &client(), &[], &folder);
    let run = check_command("add", "client", &BASIC, &command);
    run.assert_passed("a client that does not flush");
    assert_eq!(note(&run), Some(format!("the program's {NOTE}")));
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn both_programs_of_a_pair_may_need_a_terminal() {
    let folder = TempDir::new().unwrap();
    let server = compiled("server", &server(), &[], &folder);
    let client = compiled("client", &client(), &[], &folder);
    let run = check_pair("add", &[], &client, &server);
    run.assert_passed("a pair that does not flush");
    let note = note(&run).unwrap();
    assert!(note.starts_with("the output of both programs is buffered"), "{note}");
}

#[test]
#[cfg_attr(not(all(cc, python3)), ignore = "needs a C compiler and python3")]
fn only_the_program_that_prints_nothing_gets_a_terminal() {
    let folder = TempDir::new().unwrap();
    let server = compiled("server", &server(), &[], &folder);
    let python = mutants::program("add", "client");
    let client = student("add", "client", &python, folder.path()).unwrap();
    let run = check_pair("add", &BASIC, &client, &server);
    run.assert_passed("a server that never flushes, with a client in Python");
    assert_eq!(note(&run), Some(format!("the server's {NOTE}")));
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_wrong_output_in_a_buffer_fails_and_is_shown() {
    let run = changed(&[("number + my_number)", "number - my_number)")]);
    for case in failures(&run) {
        assert!(case.message.contains("did not print the sum"), "{case:?}");
        assert!(case.message.contains("it printed \""), "{case:?}");
        assert!(!case.hint.contains("fflush(stdout)"), "{case:?}");
    }
    assert_eq!(note(&run), Some(format!("the program's {NOTE}")));
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_server_that_prints_nothing_fails_with_a_hint() {
    let run = changed(&[("printf(\"", "if (0) printf(\"")]);
    for case in failures(&run) {
        assert!(case.message.contains("it printed nothing"), "{case:?}");
        assert!(case.hint.contains("fflush(stdout)"), "{case:?}");
    }
    assert_eq!(note(&run), None);
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_buffer_of_the_program_itself_fails_with_a_hint() {
    let run = changed(&[("int on = 1,", "int on = setvbuf(stdout, NULL, _IOFBF, 65536) + 1,")]);
    for case in failures(&run) {
        assert!(case.hint.contains("setvbuf()"), "{case:?}");
    }
    assert_eq!(note(&run), None);
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn a_flood_on_a_terminal_does_not_matter() {
    let flood =
        "    for (on = 0; isatty(1) && on < 30000; on++)\n        printf(\"line %d\\n\", on);\n";
    let run = changed(&[("    while (runs) {", &format!("{flood}    while (runs) {{"))]);
    run.assert_passed("a flood");
    assert_eq!(note(&run), Some(format!("the program's {NOTE}")));
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn every_form_of_results_has_the_note() {
    let folder = TempDir::new().unwrap();
    let command = compiled("server", &server(), &[], &folder);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (junit, gradescope, html) = (file("junit"), file("gradescope"), file("html"));
    let files = ["--junit", &junit, "--gradescope", &gradescope, "--html", &html];
    let mut texts = Vec::new();
    for form in ["--quiet", "--tap"] {
        let mut args = vec!["check", "add", "server", form, BASIC[0], BASIC[1]];
        args.extend(files);
        args.push("--");
        args.extend(command.iter().map(String::as_str));
        let finished = Program::socklab(&args).run();
        texts.push(String::from_utf8(finished.success().to_vec()).unwrap());
    }
    assert!(texts[0].lines().any(|line| line == format!("note: the program's {NOTE}")));
    assert!(texts[1].lines().any(|line| line == format!("# note: the program's {NOTE}")));
    for path in [&junit, &gradescope, &html] {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("when stdout is not a terminal").count(), 1, "{path}");
    }
}
