//! Detects what some tests need, so that they are ignored with the reason on a machine that lacks
//! it: Python, root, the right to mount. `.ci/run` does not accept a missing Python.

use std::process::{Command, Stdio};

fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    for (name, is_available) in [
        ("python3", works("python3", &["--version"])),
        ("superuser", works("sh", &["-c", "test \"$(id -u)\" = 0"])),
        ("unshare", works("unshare", &["-rm", "mount", "--bind", "/dev/null", "/dev/null"])),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if is_available {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
