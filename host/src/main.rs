//! The program `socklab`. Its code is in the library, where tests can call it.

use std::process::ExitCode;

fn main() -> ExitCode {
    socklab::cli::main()
}
