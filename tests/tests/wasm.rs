//! The core as a WebAssembly module, run by Node, against the real `socklab`.

use std::io::Write as _;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use socklab_tests::program::{FakeServer, Finished, Program, Server, read};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/wasm")
}

/// Returns the module. The first call builds it.
fn module() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        // TARGET_DIR/PROFILE/deps/NAME, so that nothing is written beside the sources.
        let test = std::env::current_exe().expect("the test's own path");
        let target = test.ancestors().nth(3).expect("a target folder").join("wasm");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--locked", "--release", "--target"]);
        command.arg("wasm32-unknown-unknown").arg("--target-dir").arg(&target);
        let output = command.current_dir(folder()).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("wasm32-unknown-unknown/release/socklab_wasm.wasm")
    })
}

fn run(port: u16) -> Finished {
    let port = port.to_string();
    let module = module().to_str().expect("a UTF-8 path");
    let script = folder().join("math.mjs");
    Program::new("node", &[script.to_str().expect("a UTF-8 path"), module, "127.0.0.1", &port])
        .run()
}

#[test]
#[cfg_attr(not(wasm), ignore = "needs Node and: rustup target add wasm32-unknown-unknown")]
fn a_module_in_node_solves_the_math_quiz() {
    let args = ["--secret", "opensesm", "--rounds", "7", "--full-range"];
    let server = Server::start("math", &args);
    let finished = run(server.addr.port());
    let output = String::from_utf8(finished.success().to_vec()).expect("UTF-8");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((lines.len(), lines.last()), (8, Some(&"opensesm")), "{output}");
    server.process.wait_for("7/7 correct, secret sent");
}

#[test]
#[cfg_attr(not(wasm), ignore = "needs Node and: rustup target add wasm32-unknown-unknown")]
fn a_module_in_node_reports_a_stream_that_ends_too_early() {
    let fake = FakeServer::new();
    let port = fake.addr.port();
    let client = std::thread::spawn(move || run(port));
    let mut stream = fake.accept();
    // The numbers have their highest bits set: unsigned also in JavaScript.
    stream.write_all(b"Q\xff\0\0\x0c\x80\0\0\x1e").expect("a question");
    assert_eq!(read::<4>(&mut stream), [0x7f, 0, 0, 0x2a]);
    stream.write_all(b"Sopen").expect("half of a secret");
    stream.shutdown(Shutdown::Write).expect("the end");
    let finished = client.join().expect("the program ends");
    let error = "the server broke the protocol, or its stream ended too early\n";
    assert_eq!((finished.code, &finished.stderr[..]), (Some(1), error));
    assert_eq!(finished.stdout, b"4278190092 + 2147483678\n");
}

#[test]
#[cfg_attr(not(wasm), ignore = "needs Node and: rustup target add wasm32-unknown-unknown")]
fn a_module_has_no_code_for_panics() {
    let module = std::fs::read(module()).expect("the module");
    assert!(module.len() < 4000, "{} bytes", module.len());
    let is_source = |name: &[u8]| name == b".rs";
    assert!(!module.windows(3).any(is_source), "the place of a panic");
}
