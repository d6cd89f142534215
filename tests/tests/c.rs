//! The static library for C: its example programs, compiled by the system's C compiler, against the real
//! `socklab`; and its header against its source.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use socklab_tests::program::{FakeServer, Finished, Program, Server, read, read_all};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/c")
}

/// Runs a command that must succeed.
#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{errors}");
}

/// Returns the folder of the two programs. The first call builds the library and compiles them, each with
/// every warning an error.
fn programs() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        // TARGET_DIR/PROFILE/deps/NAME, so that nothing is written beside the sources.
        let test = std::env::current_exe().expect("the test's own path");
        let target = test.ancestors().nth(3).expect("a target folder").join("c");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        succeed(
            Command::new(cargo)
                .args(["rustc", "--quiet", "--locked", "--release", "--crate-type", "staticlib"])
                .arg("--target-dir")
                .arg(&target)
                .current_dir(folder()),
        );
        let library = target.join("release/libsocklab.a");
        for name in ["example", "chat"] {
            succeed(
                Command::new("cc")
                    .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
                    .arg(folder().join(name).with_extension("c"))
                    .arg(&library)
                    .arg("-o")
                    .arg(target.join(name)),
            );
        }
        target
    })
}

fn run(program: &str, port: u16, args: &[&str]) -> Finished {
    let mut all = vec!["127.0.0.1".to_owned(), port.to_string()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    Program::new(programs().join(program), &all).run()
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler: cc")]
fn a_c_program_solves_the_math_quiz_however_the_stream_is_cut() {
    let args = ["--secret", "opensesm", "--rounds", "7", "--full-range"];
    let server = Server::start("math", &args);
    // At most so many bytes a read and a write.
    for limit in ["1", "2", "5", "9", "13", "100"] {
        let finished = run("example", server.addr.port(), &[limit]);
        assert_eq!(finished.success(), b"opensesm\n", "{limit}");
        let sums = finished.stderr.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(sums, 7, "{}", finished.stderr);
    }
    server.process.wait_for("7/7 correct, secret sent");
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler: cc")]
fn a_c_program_reports_why_there_is_no_secret() {
    for (message, reply, expected) in [
        (&b"Q\0\0\0\x02\0\0\0\x03"[..], &[0, 0, 0, 5][..], "answer 1 rejected"),
        (b"X", &[], "a message starts with 0x58, expected 'Q' or 'S'"),
        (b"S1234", &[], "the server closed the connection after 5 of 9 bytes, with 0 answered"),
        (b"", &[], "the server closed the connection after 0 of 9 bytes, with 0 answered"),
    ] {
        // Built before the client is waited for.
        programs();
        let fake = FakeServer::new();
        let port = fake.addr.port();
        let client = std::thread::spawn(move || run("example", port, &[]));
        let mut stream = fake.accept();
        stream.write_all(message).expect("a message");
        if !reply.is_empty() {
            assert_eq!(read::<4>(&mut stream), reply);
        }
        stream.shutdown(std::net::Shutdown::Write).expect("the end");
        assert_eq!(read_all(&mut stream), b"", "it closes, too");
        let finished = client.join().expect("the program ends");
        assert_eq!(finished.code, Some(1), "{expected}");
        assert!(finished.stderr.contains(expected), "{expected}: {}", finished.stderr);
    }
}

#[test]
#[cfg_attr(not(cc), ignore = "needs a C compiler: cc")]
fn a_c_program_has_a_conversation() {
    // Built before the client is waited for.
    programs();
    let fake = FakeServer::new();
    let port = fake.addr.port();
    let client = std::thread::spawn(move || run("chat", port, &["hello", "", "what?"]));
    let mut stream = fake.accept();
    for (says, hears) in [("welcome", "hello"), ("", ""), ("zzz", "what?"), ("end", "BYE")] {
        for byte in format!("{says}\n").into_bytes() {
            stream.write_all(&[byte]).expect("a byte");
        }
        let mut line = vec![0; hears.len() + 1];
        std::io::Read::read_exact(&mut stream, &mut line).expect("a line");
        assert_eq!(line, format!("{hears}\n").into_bytes());
    }
    assert_eq!(client.join().expect("the program ends").success(), b"welcome\n\nzzz\nend\n");

    // Built before the client is waited for.
    programs();
    let fake = FakeServer::new();
    let port = fake.addr.port();
    let client = std::thread::spawn(move || run("chat", port, &["a\nb"]));
    let mut stream = fake.accept();
    stream.write_all(b"welcome\n").expect("a line");
    let finished = client.join().expect("the program ends");
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("not a line: error 4"), "{}", finished.stderr);
}

/// Returns the text of the header, or of the source.
fn text(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns `NAME = NUMBER` of each line that starts with a name in capitals, behind `before`.
fn numbers(text: &str, before: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let (name, value) = line.trim().strip_prefix(before)?.split_once('=')?;
        let name = name.split(':').next()?.trim();
        let value: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
        let is_name = name.starts_with("SOCKLAB_") && !value.is_empty();
        is_name.then(|| format!("{name} = {value}"))
    };
    text.lines().filter_map(line).collect()
}

/// Returns the words of the text that are names of functions.
fn functions(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            word.starts_with("socklab_chat_") || word.starts_with("socklab_math_client_")
        })
        .collect()
}

#[test]
fn the_header_and_the_source_have_the_same_functions_and_numbers() {
    let header = text("socklab.h");
    let source = ["src/lib.rs", "src/math.rs", "src/chat.rs"].map(text).concat();
    let (in_header, in_source) = (numbers(&header, ""), numbers(&source, "pub const "));
    assert!(in_header.len() > 25, "{in_header:?}");
    assert_eq!(in_header, in_source);
    let mut in_header = functions(&header);
    assert!(in_header.remove("socklab_chat_event"), "the type of an event");
    let mut in_source = functions(&source);
    in_source.remove("socklab_chat_event");
    assert_eq!(in_header, in_source);
    assert!(in_header.len() > 20, "{in_header:?}");
    // The sizes in the header's table, its macros, and the assertions of the source.
    for (size, name) in [(96, "MATH_CLIENT"), (68, "MATH_CLIENT"), (2112, "CHAT"), (2080, "CHAT")] {
        assert!(header.contains(&format!("SOCKLAB_{name}_SIZE {size}\n")), "{name} {size}");
        assert!(source.contains(&format!(">() == {size} && ")), "{name} {size}");
    }
    for row in ["socklab_math_client    68          96 ", "socklab_chat         2080        2112 "]
    {
        assert!(header.contains(row), "{row}");
    }
    let budget = fs::read_to_string(folder().join("../../tests/proofs/budget.toml")).unwrap();
    let bytes = |image: &str| {
        let line = budget.lines().find_map(|line| line.strip_prefix(image)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("no {image} in the budget"))
    };
    let (math, chat, both) = (bytes("c_math_client"), bytes("c_chat"), bytes("c"));
    let flash = format!("math client {math}, chat {chat}, both {both}.");
    assert!(header.contains(&flash), "{flash}");
}
