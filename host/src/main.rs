//! The program `socklab`. All of it is in the library, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    socklab::cli::main()
}
