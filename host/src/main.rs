//! The program `socklab`. Its code is in the library, where tests can call it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    socklab::cli::main()
}
