//! Detects what some tests need, so that they are ignored with the reason on a machine that lacks
//! it: Python, Node, tshark, Chromium, xmllint, HAProxy, compilers of C and Java, root, the right to mount. `.ci/run` does not
//! accept a missing Python or C compiler.

use std::path::Path;
use std::process::{Command, Stdio};

fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether the compiler has the standard library for WebAssembly.
fn has_wasm() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    Command::new(rustc)
        .args(arguments)
        .output()
        .is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    for (name, is_available) in [
        ("python3", works("python3", &["--version"])),
        ("wasm", works("node", &["--version"]) && has_wasm()),
        ("tshark", works("tshark", &["--version"])),
        ("chromium", works("chromium", &["--version"])),
        ("xmllint", works("xmllint", &["--version"])),
        ("haproxy", works("haproxy", &["-v"])),
        ("cc", works("cc", &["--version"])),
        ("javac", works("javac", &["--version"])),
        ("superuser", works("sh", &["-c", "test \"$(id -u)\" = 0"])),
        ("unshare", works("unshare", &["-rm", "mount", "--bind", "/dev/null", "/dev/null"])),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if is_available {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
