//! The man page, generated from the definition of the command line.

use std::io::Write;

use clap::Args as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::common::{Common, Failure};
use super::{EXAMPLES, EXIT_CODES};

/// Returns the man page of the program with all its commands, or of the command with this path.
pub(super) fn page(mut program: clap::Command, path: &[String]) -> Result<Vec<u8>, Failure> {
    program = program.disable_help_subcommand(true);
    program.build();
    let mut page = Vec::new();
    let source = concat!("socklab ", env!("CARGO_PKG_VERSION"));
    if path.is_empty() {
        write_program(program, source, &mut page).map_err(Failure::stdout)?;
        return Ok(page);
    }
    let mut command = program;
    for name in path {
        let Some(found) = command.find_subcommand(name).cloned() else {
            let text = format!("unknown command '{}'; see --help", path.join(" "));
            return Err(Failure::Usage(text));
        };
        command = found;
    }
    Man::new(command).source(source).render(&mut page).map_err(Failure::stdout)?;
    Ok(page)
}

fn write_program(
    program: clap::Command,
    source: &str,
    page: &mut dyn Write,
) -> std::io::Result<()> {
    let man = Man::new(program.clone()).source(source);
    man.render_title(page)?;
    man.render_name_section(page)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([bold("socklab"), roman(" PROTOCOL client [HOST[:PORT] | HOST PORT] [OPTIONS]")]);
    synopsis.control("br", []);
    synopsis.text([bold("socklab"), roman(" PROTOCOL server [[BIND:]PORT | BIND PORT] [OPTIONS]")]);
    synopsis.control("br", []);
    synopsis.text([bold("socklab"), roman(" proxy PROTOCOL|raw [BIND:]PORT HOST:PORT [OPTIONS]")]);
    synopsis.control("br", []);
    synopsis.text([bold("socklab"), roman(" pack FORMAT [VALUE]...")]);
    synopsis.control("br", []);
    synopsis.text([bold("socklab"), roman(" unpack FORMAT [HEX]...")]);
    synopsis.to_writer(page)?;
    man.render_description_section(page)?;
    // The options of all clients and servers are listed once here, and not for each command.
    let shared = Common::augment_args(clap::Command::new("socklab").disable_help_flag(true));
    Man::new(shared).render_options_section(page)?;

    let mut head = Roff::new();
    head.control("SH", ["COMMANDS"]);
    head.to_writer(page)?;
    for command in program.get_subcommands() {
        write_command(command, page)?;
    }

    let mut tail = Roff::new();
    tail.control("SH", ["EXAMPLES"]);
    for (command, what) in EXAMPLES {
        tail.control("TP", []);
        tail.text([bold(command)]);
        tail.text([roman(what)]);
    }
    tail.control("SH", ["EXIT STATUS"]);
    for code in EXIT_CODES.trim_end_matches('.').split("; ") {
        let (code, what) = code.split_once(' ').unwrap_or((code, ""));
        tail.control("TP", []);
        tail.text([bold(code)]);
        tail.text([roman(what)]);
    }
    tail.to_writer(page)
}

/// Writes the section of a command, or the sections of its subcommands.
fn write_command(command: &clap::Command, page: &mut dyn Write) -> std::io::Result<()> {
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|command| write_command(command, page));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut head = Roff::new();
    head.control("SS", [usage]);
    head.text([roman(about + ".")]);
    head.to_writer(page)?;
    let shared = Common::augment_args(clap::Command::new("shared"));
    let own = command.clone().mut_args(|arg| {
        let is_shared = shared.get_arguments().any(|other| other.get_id() == arg.get_id());
        let is_hidden = is_shared || arg.get_id() == "help" || arg.is_hide_set();
        arg.hide(is_hidden)
    });
    let mut options = Vec::new();
    Man::new(own).render_options_section(&mut options)?;
    let options = String::from_utf8_lossy(&options);
    for line in options.lines().filter(|line| !line.starts_with(".SH")) {
        writeln!(page, "{line}")?;
    }
    Ok(())
}
