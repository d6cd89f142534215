//! Properties of the repository's files that no compiler checks: packages, lock files, the folders
//! of the fuzz targets, the workflow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use socklab_tests::generated::{check_lines, check_table};
use socklab_tests::protocols::PROTOCOLS;
use socklab_tests::role::ROLES;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns the names in a folder, sorted.
#[track_caller]
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
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
fn every_package_has_a_repository_a_changelog_and_licences() {
    assert!(value(&text("Cargo.toml"), "repository").starts_with("https://"));
    for package in ["core", "core/laws", "host"] {
        let manifest = text(&format!("{package}/Cargo.toml"));
        for key in ["repository", "license", "rust-version", "edition"] {
            assert!(manifest.contains(&format!("\n{key}.workspace = true\n")), "{package}: {key}");
        }
        assert!(
            !manifest.contains("\ninclude ="),
            "a list of included files may leave out a required file"
        );
        assert!(text(&format!("{package}/CHANGELOG.md")).contains("\n## [Unreleased]\n"));
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let (here, core) =
                (text(&format!("{package}/{licence}")), text(&format!("core/{licence}")));
            assert!(here.len() > 1000 && here == core, "{package}/{licence}");
        }
    }
}

/// Dependencies that several workspaces of the repository use must have one version, so that what
/// is tested on a computer is what runs on the board, is proved and is fuzzed.
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
    // Needed as well: nb by the support package of the board, the others by embassy-net, for an example.
    for (name, version) in [("nb", "0.1.3"), ("smoltcp", "0.13.1"), ("defmt", "0.3.101")] {
        assert!(versions.get_mut(name).unwrap().remove(version), "{name} {version} is gone");
    }
    for (name, versions) in &versions {
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

/// Returns the numbers of a Rust version, `1.88` or `1.88.0`.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').take(2).map(|number| number.parse().unwrap()).collect()
}

/// `.ci/msrv` builds with the stated minimum where that version is available. This test checks what
/// the dependencies state.
#[test]
fn no_dependency_needs_a_newer_rust_than_the_stated_minimum() {
    let stated = value(&text("Cargo.toml"), "rust-version");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = std::process::Command::new(cargo);
    // For this platform only: these packages are present, because the tests are built from them.
    let host = std::env::consts::ARCH.to_owned() + "-unknown-linux-gnu";
    command.args(["metadata", "--locked", "--format-version=1", "--filter-platform", &host]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let by_id = |list: Vec<serde_json::Value>| -> BTreeMap<String, serde_json::Value> {
        list.into_iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one)).collect()
    };
    let (packages, nodes) =
        (by_id(list(&metadata["packages"])), by_id(list(&metadata["resolve"]["nodes"])));
    let ours = |name: &str| ["socklab", "socklab-core", "socklab-laws"].contains(&name);
    let mut left: Vec<String> = packages
        .iter()
        .filter(|(_, package)| ours(package["name"].as_str().unwrap()))
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(left.len(), 3);
    let mut seen = BTreeSet::new();
    while let Some(id) = left.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        if let Some(needed) = packages[&id]["rust_version"].as_str() {
            assert!(numbers(needed) <= numbers(&stated), "{id} needs {needed}, {stated} is stated");
        }
        for dependency in list(&nodes[&id]["deps"]) {
            // A dependency of kind "dev" is needed by the tests only.
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev") {
                left.push(dependency["pkg"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(seen.len() > 50, "{seen:?}");
}

#[test]
fn the_readme_lists_the_exercises_of_the_table() {
    let rows = PROTOCOLS.iter().map(|protocol| {
        let [client, server] = protocol.commands;
        format!("| {} | `{client}` | `{server}` |", protocol.exercise)
    });
    // Not a protocol.
    let pack = "| values as bytes, and back (003) | `socklab pack '!hf' -13 0.5` | `socklab unpack '!hf' fff33f000000` |";
    let rows = rows.chain([pack.to_owned()]);
    let head = "| the exercise | the command | its server |";
    check_table("README.md", head, &rows.collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn every_machine_has_a_fuzz_target() {
    let targets = names("fuzz/fuzz_targets");
    for role in ROLES.iter().filter(|role| ["client", "server"].contains(&role.role)) {
        let target = format!("{}_{}.rs", role.protocol, role.role);
        assert!(targets.contains(&target), "no fuzz/fuzz_targets/{target}");
    }
    let datagrams = PROTOCOLS.iter().filter(|protocol| protocol.is_datagrams);
    for (machine, _) in datagrams.flat_map(|protocol| protocol.machines) {
        assert!(targets.contains(&format!("{machine}.rs")), "no fuzz/fuzz_targets/{machine}.rs");
    }
}

#[test]
fn every_fuzz_target_has_seeds_and_is_declared_and_documented() {
    let readme = text("fuzz/README.md");
    let targets: Vec<String> = names("fuzz/fuzz_targets")
        .iter()
        .map(|file| file.strip_suffix(".rs").unwrap().to_owned())
        .collect();
    assert!(targets.len() > 20, "{targets:?}");
    let declared = targets.iter().flat_map(|target| {
        let path = format!("path = \"fuzz_targets/{target}.rs\"");
        let name = format!("name = \"{target}\"");
        let lines = ["[[bin]]", &name, &path, "test = false", "doc = false", "bench = false", ""];
        lines.map(str::to_owned)
    });
    let mut declared: Vec<String> = [String::new()].into_iter().chain(declared).collect();
    declared.pop();
    check_lines("fuzz/Cargo.toml", "debug = 1", |_| true, &declared)
        .unwrap_or_else(|e| panic!("{e}"));
    let is_of_a_role = |target: &str| {
        let mut protocols = PROTOCOLS.iter().map(|protocol| protocol.name);
        protocols.any(|name| {
            [format!("{name}_client"), format!("{name}_server")].contains(&target.to_owned())
        })
    };
    for target in &targets {
        let is_documented = is_of_a_role(target) || readme.contains(&format!("`{target}`"));
        assert!(is_documented, "fuzz/README.md: no {target}");
        // Files found by a run are named with 40 hexadecimal digits and are not in the repository.
        let is_found_by_a_run =
            |name: &str| name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let corpus = names(&format!("fuzz/corpus/{target}"));
        assert!(corpus.iter().any(|name| !is_found_by_a_run(name)), "no seeds for {target}");
    }
    let corpora = names("fuzz/corpus");
    assert_eq!(corpora, targets, "a corpus without a target");
    let dictionaries = names("fuzz/dictionaries");
    for dictionary in &dictionaries {
        let target = dictionary.strip_suffix(".dict").unwrap().to_owned();
        assert!(targets.contains(&target), "{dictionary} is for no target");
    }
    // git must not ignore the seeds.
    let ignored = text(".gitignore");
    assert!(!ignored.lines().any(|line| line.trim_end_matches('/') == "fuzz/corpus"), "{ignored}");
    assert!(ignored.contains(&format!("\nfuzz/corpus/*/{}\n", "[0-9a-f]".repeat(40))), "{ignored}");
}

#[test]
fn the_workflow_builds_with_the_minimum_rust_and_has_read_permission_only() {
    let workflow = text(".github/workflows/ci.yml");
    let stated = value(&text("Cargo.toml"), "rust-version");
    assert!(workflow.contains(&format!("container: rust:{stated}.0-")), "no job with {stated}");
    assert!(workflow.contains("\npermissions:\n  contents: read\n"), "{workflow}");
    // Everything taken from elsewhere must have a version.
    for line in workflow.lines().filter(|line| line.contains("uses:") || line.contains("image:")) {
        let (_, version) = line.trim().rsplit_once(['@', ':']).unwrap();
        assert!(
            version.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()),
            "{line}"
        );
    }
    let tools = workflow.split("cargo-").skip(1);
    assert!(
        tools.clone().count() >= 3 && tools.clone().all(|tool| tool.contains('@')),
        "{workflow}"
    );
}

/// Runs `line` with fake `apt-get` and `sudo` that only report that they were called.
#[cfg(unix)]
fn run_with_fake_apt(shell: &[&str], line: &str, ci: Option<&str>) -> (Option<i32>, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("socklab-apt-{}-{:?}", std::process::id(), ci));
    let folder = PathBuf::from(format!("{}-{}", folder.display(), shell[0]));
    fs::create_dir_all(&folder).unwrap();
    for name in ["apt-get", "sudo"] {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\necho called {name} \"$@\" >&2\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let mut command = std::process::Command::new(shell[0]);
    command.args(&shell[1..]).arg(line).env_remove("CI");
    command.env("PATH", format!("{}:{path}", folder.display()));
    if let Some(ci) = ci {
        command.env("CI", ci);
    }
    let output = command.output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Returns a function of a script: from its first line to the next line that is not indented.
fn function(script: &str, first: &str) -> String {
    let text = text(script);
    let start = text.find(&format!("\n{first}")).unwrap_or_else(|| panic!("{script}: no {first}"));
    let rest = &text[start + 1..];
    let lines = rest.lines().enumerate();
    let inside =
        |(at, line): &(usize, &str)| *at == 0 || line.is_empty() || line.starts_with([' ', '}']);
    lines.take_while(inside).map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
#[cfg(unix)]
fn the_gate_installs_system_packages_only_on_a_ci_machine() {
    let line = format!(
        "set -eu\n{}\nif debian some-package; then exit 0; else exit 7; fi",
        function(".ci/run", "debian() {")
    );
    for ci in [None, Some(""), Some("false")] {
        assert_eq!(
            run_with_fake_apt(&["bash", "-c"], &line, ci),
            (Some(7), String::new()),
            "{ci:?}"
        );
    }
    let (code, stderr) = run_with_fake_apt(&["bash", "-c"], &line, Some("true"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("install") && stderr.contains("some-package"), "{stderr}");
}

#[test]
#[cfg(unix)]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_proofs_install_system_packages_only_on_a_ci_machine() {
    let line = format!(
        "import os, shutil, subprocess, sys\n{}\ndebian('some-package')",
        function("tests/proofs/run", "def debian(")
    );
    for ci in [None, Some("false")] {
        let (code, stderr) = run_with_fake_apt(&["python3", "-c"], &line, ci);
        assert_eq!(code, Some(3), "{stderr}");
        assert!(stderr.starts_with("NOT RUN: ") && stderr.contains("apt-get install"), "{stderr}");
        assert!(!stderr.contains("called"), "{stderr}");
    }
    let (code, stderr) = run_with_fake_apt(&["python3", "-c"], &line, Some("true"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("called") && stderr.contains("some-package"), "{stderr}");
}

/// Returns the parts of a Markdown text that are code: whole lines of blocks, and what stands between
/// backticks.
fn code(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.split(" # ").next().unwrap().trim());
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// Returns what is wrong with the paths and cargo arguments in a piece of code.
fn missing(code: &str) -> Option<String> {
    // Places for a name, and lists that are cut short.
    if code.contains("NAME") || code.contains('*') || code.contains('…') {
        return None;
    }
    let words: Vec<&str> = code.split_whitespace().collect();
    let exists = |path: &str| root().join(path).exists();
    for pair in words.windows(2) {
        let file = match pair {
            ["--test", name] => [format!("tests/tests/{name}.rs"), format!("tests/tests/{name}")],
            ["--example", name] => [format!("core/examples/{name}.rs"), String::from("-")],
            ["-p", name] => [format!("{}/Cargo.toml", name.replace("socklab-", "")), {
                String::from(if *name == "socklab" { "host/Cargo.toml" } else { "-" })
            }],
            _ => continue,
        };
        if !file.iter().any(|file| exists(file)) {
            return Some(format!("{}: no {file:?}", pair.join(" ")));
        }
    }
    let folders = ["core/", "host/", "tests/", "fuzz/", ".ci/", ".github/"];
    let mut paths = words.iter().filter(|word| folders.iter().any(|start| word.starts_with(start)));
    paths.find(|path| !exists(path)).map(|path| format!("no {path}"))
}

#[test]
fn what_the_guide_for_contributors_names_exists() {
    let text = text(".github/CONTRIBUTING.md");
    let pieces = code(&text);
    assert!(pieces.len() > 100, "{pieces:?}");
    let missing: Vec<String> = pieces.iter().filter_map(|code| missing(code)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_missing_path_or_test_in_the_guide_is_noticed() {
    assert_eq!(missing("cargo test -p socklab-tests --test repository"), None);
    assert!(missing("cargo test -p socklab-tests --test nothing").is_some());
    assert!(missing("cargo test -p socklab-nothing").is_some());
    assert!(missing("core/src/nothing.rs").is_some());
    assert_eq!(code("a `b` c\n```sh\nd  # e\n```\n`f`"), ["b", "d", "f"]);
}

/// Returns the files of Rust in a folder, without those of a protocol itself.
fn shared_files(folder: &Path, protocol: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == protocol {
            continue;
        }
        if path.is_dir() {
            shared_files(&path, protocol, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The price of a protocol: its own files, a row of the table in the core, and the lines that declare its modules.
#[test]
fn the_newest_protocol_is_named_in_five_shared_files() {
    const PROTOCOL: &str = "udp";
    let root = root();
    let mut files = Vec::new();
    for folder in ["core/src", "host/src", "tests/src", "fuzz/src"] {
        shared_files(&root.join(folder), PROTOCOL, &mut files);
    }
    let is_named = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        // Unit tests stand last.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let mut words =
            lines.flat_map(|line| line.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()));
        words.any(|word| word == PROTOCOL)
    };
    let mut named: Vec<_> = files
        .iter()
        .filter(|path| is_named(path))
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"))
        .collect();
    named.sort();
    // Its simulated network, and the transport to the emulated board.
    named.retain(|path| !["tests/src/datagrams.rs", "tests/src/board.rs"].contains(&path.as_str()));
    assert_eq!(
        named,
        [
            "core/src/lib.rs",
            "host/src/check/mod.rs",
            "host/src/cli/mod.rs",
            "host/src/lib.rs",
            "tests/src/role/mod.rs",
        ]
    );
}
