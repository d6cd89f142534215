//! Runs a program with its stdin as controlling terminal: `ctty PROGRAM ARGUMENT...`. Then Ctrl-C
//! typed there is a signal, as in life.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().expect("a program");
    rustix::process::setsid().expect("setsid");
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).expect("a terminal of our own");
    let error = Command::new(program).args(args).exec();
    panic!("cannot start it: {error}");
}
