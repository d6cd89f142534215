//! `socklab check` on students' programs: a correct one has no failure, and each planted mistake is caught by a case,
//! with a hint, that its table names.

mod checks;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use checks::{Case, Run, check, check_command, map, student};
use socklab_tests::mutants::{self, Mutant, PROTOCOLS, ROLES, glob_matches};
use tempfile::TempDir;

/// Limit of each wait for a program with a mistake. It ends what waits without an end.
const TIMEOUT: &str = "2s";

/// Number of programs at a time. Each check runs several cases at a time, and most of the time is spent waiting.
const AT_ONCE: usize = 6;

/// Returns each protocol with each role.
fn ends() -> Vec<(&'static str, &'static str)> {
    PROTOCOLS.iter().flat_map(|protocol| ROLES.map(|role| (*protocol, role))).collect()
}

/// Panics if there are failures, with all of them.
#[track_caller]
fn assert_none(failures: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<String> = failures.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Checks that no case fails for a correct program.
fn has_no_failure(what: &str, run: &Run) -> Result<(), String> {
    let is_right = run.with("fail").count() == 0 && run.with("pass").count() > 0;
    if is_right { Ok(()) } else { Err(format!("{what}:\n{}", run.troubles())) }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_in_python_have_no_failure() {
    assert_none(map(ends(), AT_ONCE, |(protocol, role)| {
        let path = mutants::program(protocol, role);
        let command = student(protocol, role, &path, Path::new("")).expect("Python");
        let run = check_command::<&str>(protocol, role, &[], &command);
        has_no_failure(&format!("{protocol} {role}"), &run)
    }));
}

/// Checks the correct programs in other styles and languages of these endings.
fn check_variants(extensions: &[&str]) {
    let folder = TempDir::new().unwrap();
    let is_wanted = |path: &Path| extensions.iter().any(|end| path.extension().unwrap() == *end);
    let variants = mutants::variants().into_iter().filter(|variant| is_wanted(&variant.path));
    let variants: Vec<_> = variants.collect();
    assert!(!variants.is_empty());
    assert_none(map(variants, AT_ONCE, |variant| {
        let (protocol, role) = (variant.protocol.as_str(), variant.role.as_str());
        let command = student(protocol, role, &variant.path, folder.path()).expect("a compiler");
        let options: Vec<&str> =
            variant.wire.iter().flat_map(|wire| ["--wire", wire.as_str()]).collect();
        let run = check_command(protocol, role, &options, &command);
        has_no_failure(&variant.path.file_name().unwrap().to_string_lossy(), &run)
    }));
}

#[test]
#[ignore = "takes a minute; .ci/run does it"]
fn correct_programs_in_other_styles_have_no_failure() {
    check_variants(&["py"]);
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler")]
fn correct_programs_in_c_have_no_failure() {
    check_variants(&["c"]);
}

#[test]
#[cfg_attr(not(javac), ignore = "needs a Java compiler")]
fn correct_programs_in_java_have_no_failure() {
    check_variants(&["java"]);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_client_of_high_or_low_may_say_what_to_do_next_instead_of_what_was_wrong() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("guess_client.py");
    let (source, _) = mutants::load("guess", "client");
    let words = source
        .replace("Your guess is too low.", "Go higher!")
        .replace("Your guess is too high.", "Go lower!");
    assert_ne!(words, source);
    fs::write(&path, words).unwrap();
    let command = student("guess", "client", &path, Path::new("")).expect("Python");
    let run = check_command::<&str>("guess", "client", &[], &command);
    assert_none([has_no_failure("in other words", &run)]);
}

/// A program with a planted mistake.
struct Planted {
    protocol: &'static str,
    role: &'static str,
    mutant: Mutant,
    path: PathBuf,
}

impl Planted {
    /// Writes a program to a folder.
    fn new(
        protocol: &'static str,
        role: &'static str,
        mutant: Mutant,
        source: &str,
        folder: &Path,
    ) -> Self {
        let path = folder.join(format!("{protocol}_{role}_{}.py", mutant.name));
        fs::write(&path, source).unwrap();
        Self { protocol, role, mutant, path }
    }

    /// Returns all mutants of one end.
    fn all((protocol, role): (&'static str, &'static str), folder: &Path) -> Vec<Self> {
        let (source, mutants) = mutants::load(protocol, role);
        mutants
            .into_iter()
            .map(|mutant| {
                let mutated = mutant.apply(&source).expect("the mutant applies");
                Self::new(protocol, role, mutant, &mutated, folder)
            })
            .collect()
    }

    /// Runs the basic cases, and those that must find the mistake.
    fn check(&self) -> Run {
        let command = student(self.protocol, self.role, &self.path, Path::new("")).expect("Python");
        let mut options = vec!["--timeout", TIMEOUT, "--jobs", "4", "--case", "basic/*"];
        options.extend(self.mutant.cases.iter().flat_map(|glob| ["--case", glob.as_str()]));
        check_command(self.protocol, self.role, &options, &command)
    }

    /// Returns the case that caught the mistake, or why none did.
    fn caught(&self, run: &Run) -> Result<Case, String> {
        let Self { protocol, role, mutant, .. } = self;
        let found: Vec<&Case> = run
            .cases
            .iter()
            .filter(|case| case.verdict == "fail" || mutant.may_be_info && case.verdict == "info")
            .filter(|case| mutant.cases.iter().any(|glob| glob_matches(glob, &case.path)))
            .collect();
        let has_hint = |case: &&&Case| {
            let hint = case.hint.to_lowercase();
            let mut words = mutant.hints.iter();
            mutant.hints.is_empty() || words.any(|words| hint.contains(&words.to_lowercase()))
        };
        if let Some(case) = found.iter().find(has_hint) {
            return Ok((**case).clone());
        }
        let (cases, hints) = (mutant.cases.join(" or "), mutant.hints.join(" or "));
        let reason = if found.is_empty() { "not caught" } else { "without the hint" };
        let (name, description) = (&mutant.name, &mutant.description);
        Err(format!(
            "{protocol} {role} {name} ({description}): {reason}, expected {cases} with \"{hints}\":\n{}",
            run.troubles()
        ))
    }
}

/// Checks that all mistakes are caught. Returns a table in Markdown, and how many were caught by which verdict.
fn table_of(planted: Vec<Planted>) -> (String, Vec<String>) {
    let mut table = "| program | mutant | mistake | verdict | case | hint |\n".to_owned();
    table.push_str("|---|---|---|---|---|---|\n");
    let count = planted.len();
    let results = map(planted, AT_ONCE, |planted| {
        let caught = planted.caught(&planted.check());
        (planted, caught)
    });
    let mut failures = Vec::new();
    let (mut failed, mut info) = (0, 0);
    for (Planted { protocol, role, mutant, .. }, caught) in results {
        let (verdict, case, hint) = match caught {
            Ok(case) => (case.verdict, case.path, case.hint),
            Err(failure) => {
                failures.push(failure);
                ("MISSED".into(), String::new(), String::new())
            }
        };
        failed += usize::from(verdict == "fail");
        info += usize::from(verdict == "info");
        let (name, mistake) = (&mutant.name, &mutant.description);
        let mistake = mistake.replace('|', "\\|");
        let hint = hint.replace('|', "\\|");
        writeln!(table, "| {protocol} {role} | {name} | {mistake} | {verdict} | {case} | {hint} |")
            .unwrap();
    }
    writeln!(
        table,
        "\n{count} mutants: {failed} caught by fail, {info} by info, {} missed",
        failures.len()
    )
    .unwrap();
    (table, failures)
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn one_mistake_of_each_program_is_caught() {
    let folder = TempDir::new().unwrap();
    let first = ends().into_iter().map(|end| Planted::all(end, folder.path()).swap_remove(0));
    let (_, failures) = table_of(first.collect());
    assert_none(failures.into_iter().map(Err));
}

/// `CHECK_TABLE` names a file for the table, and `CHECK_PROTOCOLS` restricts the protocols.
#[test]
#[ignore = "takes some minutes; .ci/run does it"]
fn every_mistake_is_caught_by_a_case_and_a_hint_of_its_table() {
    let folder = TempDir::new().unwrap();
    let selected = std::env::var("CHECK_PROTOCOLS").ok();
    let is_selected = |protocol: &str| {
        selected.as_ref().is_none_or(|names| names.split(' ').any(|name| name == protocol))
    };
    let ends = ends().into_iter().filter(|(protocol, _)| is_selected(protocol));
    let (table, failures) =
        table_of(ends.flat_map(|end| Planted::all(end, folder.path())).collect());
    println!("{table}");
    if let Some(path) = std::env::var_os("CHECK_TABLE") {
        fs::write(path, table).unwrap();
    }
    assert_none(failures.into_iter().map(Err));
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_correct_program_in_the_place_of_a_mutant_is_noticed() {
    let folder = TempDir::new().unwrap();
    let (source, mutants) = mutants::load("math", "client");
    let mutant = mutants.into_iter().find(|mutant| mutant.name == "one-recv").unwrap();
    let planted = Planted::new("math", "client", mutant, &source, folder.path());
    let (table, failures) = table_of(vec![planted]);
    assert!(table.contains("| MISSED |"), "{table}");
    assert!(table.ends_with("1 mutants: 0 caught by fail, 0 by info, 1 missed\n"), "{table}");
    assert_eq!(failures.len(), 1);
    assert!(failures[0].starts_with("math client one-recv ("), "{}", failures[0]);
    assert!(failures[0].contains("not caught, expected segmentation/"), "{}", failures[0]);
}

#[test]
fn the_cases_of_document_003_have_its_names() {
    let names = [
        "short-message",
        "medium-message",
        "long-message",
        "multiple-messages-in-series",
        "multiple-messages-in-parallel",
        "server-shuts-down",
        "client-disconnects-new-client-connects",
    ];
    let mut listed = Vec::new();
    for role in ROLES {
        let finished = checks::program(&["echo", role, "--list", "--json"]).run();
        let text = String::from_utf8(finished.success().to_vec()).unwrap();
        for line in text.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = case["id"].as_str().unwrap().to_owned();
            let source = case["source"].as_str().unwrap();
            let name = id.rsplit('/').next().unwrap();
            if names.contains(&name) {
                assert!(source.starts_with("003"), "{id}: {source}");
                listed.push((role, name.to_owned()));
            }
        }
    }
    println!("{listed:?}");
    for name in names {
        let has = |role| listed.contains(&(role, name.to_owned()));
        // A client cannot show that a server accepts the next client, nor a server that it survives its own end.
        let expected = match name {
            "server-shuts-down" => [true, false],
            "client-disconnects-new-client-connects" => [false, true],
            _ => [true, true],
        };
        assert_eq!([has("client"), has("server")], expected, "{name}");
    }
    // They can be run by these names.
    let run = check(&["echo", "server", "--case", "*/short-message", "--", "exit"]);
    assert_eq!(run.finished.code, Some(3), "{:?}", run.finished);
}
