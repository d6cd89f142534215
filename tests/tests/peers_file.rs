//! Programs as students write them, in Python, against `socklab file`: both roles, and each way to
//! break the protocol.

use std::fs;
use std::path::PathBuf;

use socklab_tests::program::{Finished, Program, Server, is_judged};

/// A folder with one file. It is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path =
            std::env::temp_dir().join(format!("socklab-peers-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join("data"), bytes).expect("write the file");
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("a plain name")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns 20,000 bytes in which no two blocks of 1024 are equal.
fn data() -> Vec<u8> {
    (0..5000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_students_client_gets_its_file_with_every_form_of_request() {
    let data = data();
    let folder = Folder::new("client", &data);
    let server = Server::start("file", &["--root", folder.text()]);
    let port = server.addr.port().to_string();
    for fault in ["", "bare", "bare-half-close", "crlf", "byte-by-byte", "small-recv"] {
        let args = ["127.0.0.1", &port, "data", "--fault", fault];
        let theirs = Program::peer("file_client.py", &args).run();
        assert!(theirs.code == Some(0) && theirs.stdout == data, "{fault}: {:?}", theirs.stderr);
    }
    let theirs = Program::peer("file_client.py", &["127.0.0.1", &port, "nope"]).run();
    assert_eq!((theirs.code, theirs.stderr.as_str()), (Some(1), "the server refused\n"));
    let args = ["127.0.0.1", &port, "data", "--fault", "leave"];
    assert_eq!(Program::peer("file_client.py", &args).run().code, Some(0));
    // The next client is served normally.
    let theirs = Program::peer("file_client.py", &["127.0.0.1", &port, "data"]).run();
    assert!(theirs.stdout == data);
}

/// Runs our client against a student's server and returns its result.
fn against(fault: &str, options: &[&str], name: &str, folder: &Folder) -> Finished {
    let server =
        Server::from_program(Program::peer("file_server.py", &[folder.text(), "--fault", fault]));
    let (remote, local) = (format!("{}:{name}", server.addr), folder.0.join("copy"));
    let args = [&["file", "client"], options, &[&remote, local.to_str().unwrap()]].concat();
    let ours = Program::socklab(&args).run();
    let theirs = server.process.finish();
    assert_eq!(theirs.code, Some(0), "{theirs:?}");
    ours
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn file_client_gets_a_file_from_a_students_server() {
    let data = data();
    let folder = Folder::new("server", &data);
    for fault in ["", "byte-by-byte", "slow"] {
        against(fault, &["--plain", "-q"], "data", &folder).success();
        assert!(fs::read(folder.0.join("copy")).unwrap() == data, "{fault}");
        fs::remove_file(folder.0.join("copy")).unwrap();
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn file_client_reports_mistakes_of_a_students_server() {
    let folder = Folder::new("names", &data());
    let hint = "if the server uses the plain protocol, try --plain";
    for (fault, options, name, text) in [
        ("", &["--checked"][..], "data", hint),
        ("text-error", &[], "data", hint),
        ("reset", &["--plain"], "data", "the server reset the connection after "),
        (
            "silent",
            &["--plain", "--timeout", "500ms"],
            "data",
            "the server sent nothing in time (500ms;",
        ),
    ] {
        if !is_judged(fault) {
            continue;
        }
        let ours = against(fault, options, name, &folder);
        assert!(ours.failure(1).contains(text), "{fault}: {ours:?}");
        assert!(!folder.0.join("copy").exists() && !folder.0.join(".copy.part").exists());
    }
}
