//! What must hold of the repository's files, and no compiler sees: packages, lock files, the fuzz targets' folders,
//! the workflow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The names in a folder, in order.
#[track_caller]
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// The value of the first line `KEY = "VALUE"`.
#[track_caller]
fn value(toml: &str, key: &str) -> String {
    let start = format!("{key} = \"");
    let rest = toml.lines().find_map(|line| line.strip_prefix(&start));
    let rest = rest.unwrap_or_else(|| panic!("no {key} in:\n{toml}"));
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn both_packages_have_an_address_a_changelog_and_their_licences() {
    assert!(value(&text("Cargo.toml"), "repository").starts_with("https://"));
    for package in ["core", "host"] {
        let manifest = text(&format!("{package}/Cargo.toml"));
        for key in ["repository", "license", "rust-version", "edition"] {
            assert!(manifest.contains(&format!("\n{key}.workspace = true\n")), "{package}: {key}");
        }
        assert!(
            !manifest.contains("\ninclude ="),
            "a list that can leave out what is asked for here"
        );
        assert!(text(&format!("{package}/CHANGELOG.md")).contains("\n## [Unreleased]\n"));
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let (here, core) =
                (text(&format!("{package}/{licence}")), text(&format!("core/{licence}")));
            assert!(here.len() > 1000 && here == core, "{package}/{licence}");
        }
    }
}

/// The program's own dependencies that other workspaces of the repository use too: what is tested on a computer is
/// to be what runs on the board, is proved and is fuzzed.
#[test]
fn the_lock_files_agree_on_versions() {
    let shared = ["defmt", "embedded-io", "embedded-io-async", "embedded-nal", "nb", "smoltcp"];
    let mut versions = BTreeMap::<&str, BTreeSet<String>>::new();
    for lock in
        ["Cargo.lock", "fuzz/Cargo.lock", "tests/firmware/Cargo.lock", "tests/proofs/Cargo.lock"]
    {
        for package in text(lock).split("[[package]]").skip(1) {
            let name = value(package, "name");
            if let Some(name) = shared.iter().find(|shared| **shared == name) {
                versions.entry(*name).or_default().insert(value(package, "version"));
            }
        }
    }
    assert_eq!(versions.len(), shared.len(), "{versions:?}");
    // The board's support package needs an old one beside ours.
    versions.get_mut("nb").unwrap().remove("0.1.3");
    for (name, versions) in &versions {
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn every_fuzz_target_starts_from_seeds_and_is_declared_and_documented() {
    let (manifest, readme) = (text("fuzz/Cargo.toml"), text("fuzz/README.md"));
    let targets: Vec<String> = names("fuzz/fuzz_targets")
        .iter()
        .map(|file| file.strip_suffix(".rs").unwrap().to_owned())
        .collect();
    assert!(targets.len() > 20, "{targets:?}");
    for target in &targets {
        let declared =
            format!("[[bin]]\nname = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"\n");
        assert!(manifest.contains(&declared), "fuzz/Cargo.toml: no {target}");
        assert!(readme.contains(&format!("`{target}`")), "fuzz/README.md: no {target}");
        // What a run adds has 40 hexadecimal digits for a name, and is not in the repository.
        let is_find = |name: &str| name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let corpus = names(&format!("fuzz/corpus/{target}"));
        assert!(corpus.iter().any(|name| !is_find(name)), "no seeds for {target}");
    }
    let corpora = names("fuzz/corpus");
    assert_eq!(corpora, targets, "a corpus without a target");
    let dictionaries = names("fuzz/dictionaries");
    for dictionary in &dictionaries {
        let target = dictionary.strip_suffix(".dict").unwrap().to_owned();
        assert!(targets.contains(&target), "{dictionary} is for no target");
    }
    // git keeps the seeds out of what it ignores.
    let ignored = text(".gitignore");
    assert!(!ignored.lines().any(|line| line.trim_end_matches('/') == "fuzz/corpus"), "{ignored}");
    assert!(ignored.contains(&format!("\nfuzz/corpus/*/{}\n", "[0-9a-f]".repeat(40))), "{ignored}");
}
