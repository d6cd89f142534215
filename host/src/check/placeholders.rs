//! Placeholders of the command of the program under test.

use std::fmt::Write as _;

use super::case::{Case, Group, Protocol, Situation};
use super::failure::Kind;
use super::hint::lacks_argument;
use super::setup::{Role, Wire};

/// Placeholders and what they stand for.
const MEANINGS: [(&str, &str); 9] = [
    ("host", "IP address of the server"),
    ("port", "port of the server"),
    ("message", "messages to send, each an argument"),
    ("name", "name of the person"),
    ("number", "number to send"),
    ("guess", "guesses, each an argument"),
    ("choice", "choices, each an argument"),
    ("remote", "name of the file on the server"),
    ("local", "path of the file to write"),
];

/// Placeholder of the folder of a case.
const DIR: (&str, &str) =
    ("dir", "folder with the files; without it, the program is started there");

/// Returns the placeholders of a command of this role, with what they stand for.
pub(crate) fn placeholders(
    protocol: &Protocol,
    role: Role,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let cases = super::cases(protocol, role, &Wire::default());
    let of_server = if role == Role::Pair { protocol.pair.server } else { &[] };
    let is_used = move |name: &str, case: &Case| match name {
        "host" | "port" => true,
        "dir" => case.has_folder(),
        "local" => case.local.is_some(),
        _ => case.inputs.values.iter().any(|(known, _)| *known == name),
    };
    MEANINGS.into_iter().chain([DIR]).filter(move |(name, _)| {
        cases.iter().any(|case| is_used(name, case))
            || of_server.iter().any(|(known, _)| known == name)
    })
}

/// Returns the line of `--list` about the placeholders.
pub(crate) fn line(protocol: &Protocol, role: Role) -> String {
    let mut line = String::from("placeholders of the command:");
    for (i, (name, meaning)) in placeholders(protocol, role).enumerate() {
        let separator = if i == 0 { "" } else { ";" };
        let _ = write!(line, "{separator} {{{name}}} {meaning}");
    }
    line
}

/// Returns the mistake of a command without an argument that the program takes. `typed`: names of the values of the case
/// that are typed.
pub(super) fn missing(situation: &Situation<'_>, typed: &[&str]) -> Option<String> {
    let (stderr, kind) = (situation.stderr, situation.kind);
    let is_source = |line: &&str| {
        line.starts_with("    ") && line.contains(|c: char| c.is_ascii_alphanumeric())
    };
    let source = stderr.lines().rev().find(is_source).unwrap_or_default();
    let reads_argument = source.contains("argv")
        && ["IndexError", "not enough values to unpack"].iter().any(|text| stderr.contains(text));
    if reads_argument || kind == Kind::NotConnected && situation.has_ended && lacks_argument(stderr)
    {
        return names(typed).or_else(|| {
            let text = "the program takes an argument that the command does not give it; --list shows the placeholders";
            reads_argument.then(|| text.into())
        });
    }
    None
}

/// Returns the mistake that is likely if a program has ended without an error message. The client of the documents takes the names
/// of the files as arguments.
pub(super) fn unsaid(situation: &Situation<'_>, typed: &[&str]) -> Option<String> {
    let has_crashed = situation.group == Group::Basic
        && situation.has_ended
        && situation.stderr.is_empty()
        && matches!(situation.kind, Kind::NotConnected | Kind::Closed | Kind::Reset);
    if has_crashed && typed.contains(&"remote") { names(typed) } else { None }
}

/// Returns a hint that names the values of a case that are typed, because the command does not have their placeholders.
pub(super) fn names(typed: &[&str]) -> Option<String> {
    let (last, front) = typed.split_last()?;
    let quoted = |name: &&str| format!("{{{name}}}");
    let meaning = |name: &&str| {
        let known = MEANINGS.iter().find(|(known, _)| known == name);
        known.map(|(name, meaning)| format!("{{{name}}}: {meaning}"))
    };
    let meanings = typed.iter().filter_map(meaning).collect::<Vec<_>>().join(", ");
    let last = quoted(last);
    Some(if front.is_empty() {
        format!(
            "the command has no {last}, so it is typed into the program: write {last} where the program takes it as an \
             argument ({meanings})"
        )
    } else {
        let front = front.iter().map(quoted).collect::<Vec<_>>().join(", ");
        format!(
            "the command has no {front} and {last}, so they are typed into the program: write them where the program \
             takes them as arguments ({meanings})"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::PROTOCOLS;
    use super::*;

    /// Returns the protocols and roles that have a placeholder, as the page for teachers shows them.
    fn users(name: &str) -> String {
        let mut users = Vec::new();
        let mut is_everywhere = true;
        for protocol in PROTOCOLS {
            let roles = [Role::Client, Role::Server, Role::Pair].into_iter().filter(|role| {
                let is_user = placeholders(protocol, *role).any(|(known, _)| known == name);
                is_everywhere &= is_user;
                is_user
            });
            let roles = roles.map(Role::name).collect::<Vec<_>>().join(", ");
            if !roles.is_empty() {
                users.push(format!("`{}` {roles}", protocol.name));
            }
        }
        if is_everywhere { "all".into() } else { users.join("; ") }
    }

    #[test]
    fn the_page_for_teachers_has_every_placeholder() {
        let page = include_str!("../../docs/teachers.md");
        let rows = MEANINGS
            .into_iter()
            .chain([DIR])
            .map(|(name, meaning)| format!("| `{{{name}}}` | {meaning} | {} |\n", users(name)));
        let table: String = rows.collect();
        assert!(page.contains(&table), "host/docs/teachers.md lacks this table:\n{table}");
    }

    #[test]
    fn every_value_of_a_case_has_a_meaning() {
        for protocol in PROTOCOLS {
            for role in [Role::Client, Role::Server, Role::Pair] {
                for case in super::super::cases(protocol, role, &Wire::default()) {
                    for (name, _) in &case.inputs.values {
                        assert!(MEANINGS.iter().any(|(known, _)| known == name), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hint_names_the_values_that_are_typed() {
        assert_eq!(names(&[]), None);
        assert!(names(&["message"]).unwrap().starts_with("the command has no {message}, so"));
        let files = names(&["remote", "local"]).unwrap();
        assert!(
            files.contains("{remote} and {local}") && files.contains("{local}: path"),
            "{files}"
        );
    }
}
