//! Errors about options and commands that stand elsewhere.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory as _};
use socklab_core::wire::Transport;

use super::Cli;
use crate::ui::messages::transport;

/// Returns why a server has not an option that other servers have.
fn reason(command: &str, option: &str) -> Option<&'static str> {
    let protocol = command.strip_suffix(" server")?;
    match (transport(protocol), protocol, option) {
        (Transport::Datagrams, _, "--threads" | "--max-clients") => {
            Some("it has one socket for all clients")
        }
        (Transport::Datagrams, _, "--proxy-protocol") => {
            Some("the header stands at the start of a connection")
        }
        (_, "chat", "--threads" | "--max-clients") => {
            Some("it serves one client at a time, because a person writes at each end")
        }
        (_, "chat", "--proxy-protocol") => {
            Some("a person writes at each end, so a balancer has nothing to distribute")
        }
        _ => None,
    }
}

/// Returns the message for an unknown option or command that exists elsewhere, or `None` if there is nothing to say.
pub(super) fn explain(e: &clap::Error) -> Option<String> {
    let args = || std::env::args_os().skip(1);
    match (e.get(ContextKind::InvalidArg), e.get(ContextKind::InvalidSubcommand)) {
        (Some(ContextValue::String(option)), _) => message(option, args()),
        (_, Some(ContextValue::String(_))) => swapped(args()),
        _ => None,
    }
}

/// Returns the message for `client math` instead of `math client`.
fn swapped(mut args: impl Iterator<Item = OsString>) -> Option<String> {
    let (end, protocol) = (args.next()?, args.next()?);
    let program = Cli::command();
    let (end, protocol) = (end.to_str()?, program.find_subcommand(&protocol)?);
    let command = protocol.find_subcommand(end)?;
    let (protocol, end) = (protocol.get_name(), command.get_name());
    Some(format!("the protocol comes first: socklab {protocol} {end}; see --help"))
}

/// Returns the message for an address that is given as an option, as many programs expect it.
fn address(here: &str, command: &Command, option: &str) -> Option<String> {
    const NAMES: [&str; 9] =
        ["--port", "-p", "--host", "-H", "--server", "--address", "--addr", "--ip", "--bind"];
    if !NAMES.contains(&option) {
        return None;
    }
    let usage: Vec<String> = command.get_positionals().take(2).map(|arg| arg.to_string()).collect();
    Some(format!(
        "'{option}' is not an option of socklab {here}; the address is an argument: socklab {here} {}; see --help",
        usage.join(" ")
    ))
}

fn message(option: &str, args: impl Iterator<Item = OsString>) -> Option<String> {
    let program = Cli::command();
    let (here, command) = path(&program, args);
    if here.contains(' ')
        && let Some(text) = address(&here, command, option)
    {
        return Some(text);
    }
    let name = option.strip_prefix("--")?;
    let [mut servers, mut clients, mut others] = [const { Vec::new() }; 3];
    for command in program.get_subcommands() {
        let protocol = command.get_name();
        if has(command, name) {
            others.push(format!("socklab {protocol}"));
        }
        for end in command.get_subcommands().filter(|end| has(end, name)) {
            if end.get_name() == "server" { &mut servers } else { &mut clients }
                .push(protocol.to_owned());
        }
    }
    let is_one = others.len() + clients.len() + servers.len() == 1;
    let mut places = others;
    for (ends, noun) in [(clients, "client"), (servers, "server")] {
        match ends.as_slice() {
            [] => {}
            [protocol] => places.push(format!("socklab {protocol} {noun}")),
            _ => places.push(format!("the {noun}s of {}", joined(&ends))),
        }
    }
    if here.is_empty() || places.is_empty() {
        return None;
    }
    let why = reason(&here, option).map_or_else(String::new, |why| format!(": {why}"));
    let (places, have) = (joined(&places), if is_one { "has" } else { "have" });
    Some(format!(
        "'{option}' is not an option of socklab {here}{why}; {places} {have} it; see --help"
    ))
}

/// Returns the names of the subcommands at the start of the arguments, and the last of these.
fn path(program: &Command, args: impl Iterator<Item = OsString>) -> (String, &Command) {
    let mut command = program;
    let mut names = Vec::new();
    for arg in args {
        let Some(found) = arg.to_str().and_then(|name| command.find_subcommand(name)) else {
            break;
        };
        command = found;
        names.push(found.get_name());
    }
    (names.join(" "), command)
}

fn has(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(option))
}

/// Returns a list of words in a sentence.
fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(option: &str, line: &str) -> Option<String> {
        message(option, line.split(' ').map(OsString::from))
    }

    #[test]
    fn an_option_of_other_commands_is_answered_with_where_it_exists() {
        let servers = "add, echo, math, hello, coin, guess, rps and file";
        let text = said("--threads", "chat server 0 --threads 2").unwrap();
        assert!(
            text.starts_with(
                "'--threads' is not an option of socklab chat server: it serves one client at a time, because a person \
                 writes at each end; the servers of "
            ),
            "{text}"
        );
        for protocol in servers.split([',', ' ']).filter(|word| !matches!(*word, "" | "and")) {
            assert!(text.contains(protocol), "{protocol} is missing: {text}");
        }
        assert_eq!(
            said("--cut", "math client").as_deref(),
            Some(
                "'--cut' is not an option of socklab math client; socklab proxy has it; see --help"
            )
        );
        assert_eq!(said("--colour", "math client"), None);
        assert_eq!(said("-x", "math client"), None);
    }

    #[test]
    fn an_address_as_an_option_and_swapped_words_are_answered_with_the_right_form() {
        assert_eq!(
            said("--port", "math server --port 8000").unwrap(),
            "'--port' is not an option of socklab math server; the address is an argument: socklab math server \
             [[BIND:]PORT] [PORT]; see --help"
        );
        for option in ["-p", "--host", "--port"] {
            for protocol in ["math", "file", "udp", "rps"] {
                let text = said(option, &format!("{protocol} client {option} 1")).unwrap();
                assert!(text.contains(&format!(": socklab {protocol} client ")), "{text}");
            }
        }
        assert_eq!(said("--host", "pack --host 1"), None);

        let swap = |line: &str| swapped(line.split(' ').map(OsString::from));
        let text = "the protocol comes first: socklab math client; see --help";
        assert_eq!(swap("client math 8000").as_deref(), Some(text));
        assert_eq!(swap("server pack"), None);
        assert_eq!(swap("client nothing"), None);
    }

    #[test]
    fn a_server_for_datagrams_or_for_a_person_gives_its_reason() {
        for command in Cli::command().get_subcommands() {
            let Some(server) = command.find_subcommand("server") else { continue };
            let path = format!("{} server", command.get_name());
            for name in ["threads", "max-clients", "proxy-protocol"] {
                let option = format!("--{name}");
                let why = reason(&path, &option);
                assert_eq!(why.is_none(), has(server, name), "{option} of {path}");
                if let Some(why) = why {
                    let text = said(&option, &path).unwrap();
                    assert!(text.contains(why) && text.contains("the servers of "), "{text}");
                }
            }
        }
    }
}
