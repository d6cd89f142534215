//! Every help text, word for word, so that a change is seen in review, and the words that no text
//! of the program may use.
//!
//! The texts are in `tests/snapshots`. After an intended change, write them again and review the
//! difference:
//!
//! ```text
//! UPDATE_SNAPSHOTS=1 cargo test -p socklab-tests --test cli_help && git diff tests/snapshots
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use socklab_tests::program::Program;
use socklab_tests::protocols::PROTOCOLS;

/// Returns the words after `socklab` of every command that has a help text.
fn commands() -> Vec<Vec<&'static str>> {
    let mut commands = vec![
        vec![],
        vec!["completions"],
        vec!["man"],
        vec!["proxy"],
        vec!["check"],
        vec!["pack"],
        vec!["unpack"],
    ];
    for name in PROTOCOLS.iter().map(|protocol| protocol.name) {
        commands.extend([vec![name], vec![name, "client"], vec![name, "server"]]);
    }
    commands
}

fn help(command: &[&str]) -> String {
    let args = [command, &["--help"]].concat();
    let finished = Program::socklab(&args).env("COLUMNS", "100").run();
    String::from_utf8(finished.success().to_vec()).unwrap()
}

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

#[test]
fn every_help_text_equals_its_snapshot() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let (mut changed, mut names) = (Vec::new(), BTreeSet::new());
    for command in commands() {
        let name =
            format!("help{}.txt", command.iter().map(|w| format!("-{w}")).collect::<String>());
        let (path, text) = (snapshots().join(&name), help(&command));
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        if text != reviewed {
            if update {
                fs::write(&path, &text).unwrap();
            } else {
                let line = text.lines().zip(reviewed.lines()).find(|(now, action)| now != action);
                changed.push(format!("{name}: {line:?}"));
            }
        }
        names.insert(name);
    }
    let present = fs::read_dir(snapshots()).unwrap();
    let present: BTreeSet<_> =
        present.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        changed.is_empty() && present == names,
        "help texts differ from tests/snapshots (now, and as reviewed): {changed:#?}\nfiles too \
         many or missing: {:?}\nIf that is meant, run UPDATE_SNAPSHOTS=1 cargo test -p \
         socklab-tests --test cli_help, review git diff tests/snapshots, and commit it.",
        present.symmetric_difference(&names).collect::<Vec<_>>()
    );
}

#[test]
fn every_help_text_states_the_default_port() {
    for protocol in PROTOCOLS {
        let (name, port) = (protocol.name, protocol.port);
        assert!(help(&[name, "server"]).contains(&format!("127.0.0.1:{port}]")), "{name}");
        // The address of a file always contains the port.
        if name != "file" {
            assert!(help(&[name, "client"]).contains(&format!("[default: {port}]")), "{name}");
        }
    }
}

/// Words for which `STYLE.md` has better ones: not standard terms, or hard to read for someone who
/// learns English.
const AVOIDED: [&str; 12] = [
    "at the most",
    "for ever",
    "in vain",
    "whoever",
    "nobody",
    "so many ",
    "tells more",
    "has no address",
    "outside of",
    "secret told",
    "goes on by",
    "is deaf",
];

/// Returns whether the text contains these words, and not only the start of others.
fn has(text: &str, words: &str) -> bool {
    let mut found = text.match_indices(words).map(|(at, _)| &text[at + words.len()..]);
    found.any(|rest| !rest.starts_with(char::is_alphabetic) || words.ends_with(' '))
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it reads sources, and the Linux run has done that")]
fn no_text_of_the_program_uses_avoided_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.join("host/src"), root.join("core/src")];
    let mut found = Vec::new();
    let mut check = |place: String, text: &str| {
        let text = text.to_lowercase();
        found.extend(
            AVOIDED.iter().filter(|word| has(&text, word)).map(|w| format!("{place}: {w}")),
        );
    };
    for command in commands() {
        check(format!("help of {command:?}"), &help(&command));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
            for (number, line) in source.lines().enumerate() {
                // Comments are not shown to users.
                let Some((_, text)) = line.split_once('"') else { continue };
                if !line.trim_start().starts_with("//") {
                    check(format!("{}:{}", path.display(), number + 1), text);
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
