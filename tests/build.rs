//! Looks for Python, so that the tests with Python peers show as ignored, with the reason, on a
//! machine that has none. `.ci/run` refuses that.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(python3)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    let mut python = Command::new("python3");
    let version = python.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) {
        println!("cargo::rustc-cfg=python3");
    }
}
