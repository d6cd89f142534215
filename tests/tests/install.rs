//! Properties of the packages for pip and cargo that no tool checks: one version, one description, one address.
//!
//! `.ci/wheel` builds and installs them.

use std::fs;
use std::path::Path;

use socklab_tests::generated::check_table;
use socklab_tests::protocols::PROTOCOLS;

#[track_caller]
fn text(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns the value of the first line `KEY = "VALUE"`.
#[track_caller]
fn value(toml: &str, key: &str) -> String {
    let start = format!("{key} = \"");
    let rest = toml.lines().find_map(|line| line.strip_prefix(&start));
    let rest = rest.unwrap_or_else(|| panic!("no {key} in:\n{toml}"));
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn the_readme_of_the_packages_lists_the_exercises_of_the_table() {
    let rows = PROTOCOLS.iter().map(|protocol| {
        let [client, server] = protocol.commands;
        format!("| {} | `{client}` | `{server}` |", protocol.exercise)
    });
    let head = "| the exercise | the command | its server |";
    check_table("host/README.md", head, &rows.collect::<Vec<_>>())
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_readme_of_the_packages_has_no_relative_link() {
    // The index of Python packages shows it without the repository.
    let readme = text("host/README.md");
    let links: Vec<&str> =
        readme.split("](").skip(1).map(|link| link.split(')').next().unwrap()).collect();
    let repository = value(&text("Cargo.toml"), "repository");
    assert!(links.len() > 2, "{links:?}");
    for link in links {
        assert!(link.starts_with(&repository), "{link} is not in {repository}");
    }
}

#[test]
fn the_package_for_pip_is_that_of_cargo() {
    let (python, workspace) = (text("host/pyproject.toml"), text("Cargo.toml"));
    assert_eq!(value(&python, "name"), value(&text("host/Cargo.toml"), "name"));
    assert_eq!(value(&python, "license"), value(&workspace, "license"));
    assert_eq!(value(&python, "Repository"), value(&workspace, "repository"));
    // What is dynamic comes from Cargo.toml and cannot differ.
    assert!(python.contains("\ndynamic = [\"version\", \"description\", \"authors\""), "{python}");
}
