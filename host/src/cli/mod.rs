//! The command line: one definition for parsing, help, completions and the man page.

mod add;
mod chat;
mod check;
mod coin;
mod common;
mod echo;
mod elsewhere;
mod events;
mod file;
mod game;
mod guess;
mod hello;
mod manual;
mod math;
mod pack;
mod proxy;
mod rps;
mod udp;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use serde_json::json;

use crate::text::one_line;
use crate::ui::{Output, finish_log, say_last, streams};
use common::{End, Failure, Role};

/// Example commands with descriptions, for the help and the man page.
const EXAMPLES: [(&str, &str); 9] = [
    ("socklab math client", "solve the quiz of a built-in server"),
    ("socklab math client mathserver 8000", "solve the quiz of that server"),
    ("socklab math server 8000 --trace", "run such a server, and show every message"),
    ("socklab guess client", "play against a built-in server"),
    ("socklab chat server 0.0.0.0:12345", "chat with the first client that connects"),
    ("socklab file client host:12001:notes.txt notes.txt", "fetch a file"),
    ("socklab check math server -- python3 server.py '{port}'", "test your own server"),
    ("socklab proxy echo 9000 localhost:4567 --trace --cut 1", "send each byte by itself"),
    ("socklab pack '!hf' -13 0.5", "show the bytes of two values"),
];

const USAGE: &str = "\
socklab PROTOCOL client [HOST[:PORT] | HOST PORT] [OPTIONS]
       socklab PROTOCOL server [[BIND:]PORT | BIND PORT] [OPTIONS]
       socklab check PROTOCOL client|server [OPTIONS] -- COMMAND...
       socklab proxy PROTOCOL|raw [BIND:]PORT HOST:PORT [OPTIONS]
       socklab pack FORMAT [VALUE]... | unpack FORMAT [HEX]...";

const EXIT_CODES: &str = "\
0 done; 1 the peer or the protocol failed; 2 usage error; 3 could not connect, bind, read or write; \
130 interrupted.";

fn after_help() -> String {
    let mut text = String::from(
        "A client without an address starts a built-in server in the same process and connects to it.\n\
         Each command has its own --help. Examples:\n\n",
    );
    for (command, what) in EXAMPLES {
        text += &format!("  {command:<56}  {what}\n");
    }
    text + "\nExit codes: " + EXIT_CODES
}

/// The classic socket-programming protocols: client, server and trace for each.
#[derive(Debug, Parser)]
#[command(name = "socklab", bin_name = "socklab", version)]
#[command(max_term_width = 100, after_help = after_help())]
#[command(override_usage = USAGE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Defines the commands of the protocols, and runs them.
macro_rules! protocols {
    ($($module:ident $name:ident { about: $about:literal, $($rest:tt)* })*) => {
        #[derive(Debug, Subcommand)]
        enum Protocol {
            $(
                #[doc = $about]
                #[command(subcommand)]
                $name(Role<$module::ClientArgs, $module::ServerArgs>),
            )*
        }

        impl Protocol {
            fn run(self) -> Result<(), Failure> {
                match self {
                    $(Self::$name(role) => role.run(),)*
                }
            }
        }
    };
}

socklab_core::for_each_protocol!(protocols);

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Protocol(Protocol),
    #[command(override_usage = check::USAGE, after_help = check::after_help())]
    Check(Box<check::CheckArgs>),
    Proxy(Box<End<proxy::ProxyArgs>>),
    #[command(after_help = pack::after_pack_help())]
    Pack(pack::PackArgs),
    #[command(after_help = pack::after_unpack_help())]
    Unpack(pack::UnpackArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page; to read it: socklab man | man -l -
    Man {
        /// The command to describe, such as math client [default: all commands]
        command: Vec<String>,
    },
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    streams::prepare();
    let args: Vec<OsString> = std::env::args_os().collect();
    // Searched before parsing, because a usage error must be reported as an event too.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let command = match Cli::try_parse_from(pack::arranged(args)) {
        Ok(Cli { command }) => command,
        Err(e) => return usage(&e, json),
    };
    let result = match command {
        Command::Protocol(protocol) => protocol.run(),
        Command::Check(check) => check.run(),
        Command::Proxy(proxy) => proxy.run(),
        Command::Pack(pack) => pack.run(),
        Command::Unpack(unpack) => unpack.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "socklab", &mut script);
            print(&script)
        }
        Command::Man { command } => {
            manual::page(Cli::command(), &command).and_then(|page| print(&page))
        }
    };
    // A server that could not start has not done this.
    finish_log();
    let result = result.and_then(|()| match streams::stderr_error() {
        Some(e) => Err(Failure::stderr(e)),
        None => Ok(()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Judged) => ExitCode::from(failure.code()),
        Err(failure) => fail(&failure, json),
    }
}

/// Reports a failure as a line on stderr, and with `--json` as an event. Returns the exit code.
fn fail(failure: &Failure, json: bool) -> ExitCode {
    let text = failure.to_string();
    // If stdout has failed, this fails too. The line on stderr remains.
    let event = json!({ "event": "error", "message": text, "code": failure.code() });
    let _ = Output::new(json, false).event(&event);
    say_last(format!("socklab: {}", one_line(&text)));
    ExitCode::from(failure.code())
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = streams::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::stdout)
}

/// Handles a result of clap other than a command: prints help or version, or reports an error in one line.
fn usage(e: &clap::Error, json: bool) -> ExitCode {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match streams::check_stdout().and_then(|()| e.print()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => fail(&Failure::stdout(e), json),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            let _ = e.print();
            ExitCode::from(2)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            fail(&Failure::Usage("a command is missing; see --help".into()), json)
        }
        ErrorKind::UnknownArgument if is_check() => {
            let argument = match e.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(argument)) => argument.as_str(),
                _ => "",
            };
            let text = format!(
                "'{}' is not an option of socklab check; the command of the program follows after --; see --help",
                one_line(argument)
            );
            fail(&Failure::Usage(text), json)
        }
        ErrorKind::UnknownArgument if misplaced(e).is_some() => {
            let option = misplaced(e).unwrap_or_default();
            let text = format!(
                "'{option}' is an option of clients and servers and must follow them, such as in \
                 socklab math client {option}; see --help"
            );
            fail(&Failure::Usage(text), json)
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
            if elsewhere::explain(e).is_some() =>
        {
            fail(&Failure::Usage(elsewhere::explain(e).unwrap_or_default()), json)
        }
        _ => {
            let text = e.to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
            let line = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            let line = line.replace(":; ", ": ");
            let line = line.strip_suffix("; For more information, try '--help'.").unwrap_or(&line);
            fail(&Failure::Usage(format!("{}; see --help", plain(line))), json)
        }
    }
}

/// Rewords an error about a number: clap shows the messages of the parsers of std, which are for programmers.
fn plain(line: &str) -> String {
    const NUMBERS: [&str; 3] = [
        "invalid digit found in string",
        "cannot parse integer from empty string",
        "number too large to fit in target type",
    ];
    if let Some(front) = NUMBERS.iter().find_map(|text| line.strip_suffix(text)) {
        let large = if line.ends_with("type") { "smaller " } else { "" };
        return format!("{front}expected a {large}number");
    }
    let range = line.rsplit_once(": ").and_then(|(front, text)| {
        let (_, range) = text.split_once(" is not in ")?;
        Some((front, range.split_once("..=")?))
    });
    match range {
        Some((front, (least, most))) => {
            format!("{front}: expected a number from {least} to {most}")
        }
        None => line.to_owned(),
    }
}

/// Returns whether the command is `check`.
fn is_check() -> bool {
    std::env::args_os().nth(1).is_some_and(|command| command == "check")
}

/// Returns the option of the error, if it is one of all clients and servers that stands before them.
fn misplaced(e: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(option)) = e.get(ContextKind::InvalidArg) else { return None };
    ["--timeout", "--trace", "--pcap", "--html", "--json", "--verbose", "-v"]
        .into_iter()
        .find(|known| option == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
