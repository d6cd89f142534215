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

#[test]
fn the_release_builds_the_archives_that_cargo_binstall_looks_for() {
    let (manifest, workflow) = (text("host/Cargo.toml"), text(".github/workflows/release.yml"));
    for end in [".tar.gz", ".zip"] {
        let url = format!(
            "pkg-url = \"{{ repo }}/releases/download/v{{ version }}/{{ name }}-v{{ version }}-{{ target }}{end}\""
        );
        assert!(manifest.contains(&url), "no {url}");
        assert!(workflow.contains(&format!("\"dist/$name{end}\" \"$name\"")), "no {end}");
    }
    assert!(workflow.contains("name=socklab-$GITHUB_REF_NAME-$TARGET\n"), "{workflow}");
}

#[test]
fn the_release_takes_pinned_versions_and_builds_with_the_rust_of_the_gate() {
    let (gate, workflow) =
        (text(".github/workflows/ci.yml"), text(".github/workflows/release.yml"));
    assert!(workflow.contains("\npermissions:\n  contents: read\n"), "{workflow}");
    for line in workflow.lines().filter(|line| line.contains("uses:")) {
        let (_, version) = line.split_once("@v").unwrap_or_else(|| panic!("{line}"));
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    }
    let setting = |name: &str| {
        let line = workflow.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let rust = setting("RUST: ");
    assert!(gate.contains(&format!("image: rust:{rust}-")), "the gate does not use {rust}");
    assert!(gate.contains(&format!("rustup default {rust}\n")), "the systems do not use {rust}");
    let docker = text(".github/docker/Dockerfile");
    assert!(
        docker.contains(&format!("\nFROM rust:{rust}-")),
        "the container is not built with {rust}"
    );
    let maturin = setting("MATURIN: ");
    assert!(text(".ci/wheel").contains(&format!("\nmaturin={maturin}\n")), "{maturin}");
}
