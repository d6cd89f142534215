//! Standard streams that are closed at the start, discarded, full, or files with a size limit. A
//! failed write is reported in one line with code 3. Output that the caller discards on purpose is
//! no failure.

use std::fs::File;
use std::process::Command;

use serde_json::Value;
use socklab_tests::files::Folder;
use socklab_tests::program::{Program, STOP, Server, client};

const CLOSED: &str = "standard output was closed before everything was written";

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: descriptors closed by a shell")]
fn a_stdout_closed_at_the_start_is_reported_in_one_line_with_code_3() {
    let math = Server::start("math", &[]);
    let echo = Server::start("echo", &[]);
    let hello = Server::start("hello", &[]);
    let (math, echo, hello) =
        (math.addr.to_string(), echo.addr.to_string(), hello.addr.to_string());
    for args in [
        &["math", "client", &math][..],
        &["math", "client", &math, "--json"],
        &["echo", "client", &echo, "a message"],
        &["hello", "client", &hello],
        &["math", "server", "0", "--json"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["math", "client", "--help"],
    ] {
        for closed in [">&-", "</dev/null >&-", "1</dev/null"] {
            let finished = Program::in_shell(&format!(r#"exec "$@" {closed}"#), args).run();
            assert_eq!(finished.last_failure(3), CLOSED, "{args:?} {closed}");
            assert_eq!(finished.stdout, b"");
        }
        // Without any stream only the exit code reports the failure.
        let finished = Program::in_shell(r#"exec "$@" >&- 2>&- <&-"#, args).run();
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(3), ""), "{args:?}");
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: descriptors closed by a shell")]
fn an_unused_stdout_may_be_closed() {
    let server =
        Server::from_program(Program::in_shell(r#"exec "$@" >&- <&-"#, &["echo", "server", "0"]));
    let finished = server.client("echo", &["0123456789text"]).run();
    assert_eq!(finished.success(), b"text\n");
    server.process.signal(STOP);
    server.process.finish().success();
}

#[test]
fn discarding_results_on_purpose_is_no_failure() {
    let server = Server::start("math", &[]);
    let addr = server.addr.to_string();
    // As a shell does it, and as the libraries of Python and Node do it. std does it too for closed
    // descriptors.
    for how in [">/dev/null", "1<>/dev/null", "1<>/dev/null 2<>/dev/null <>/dev/null"] {
        let line = format!(r#"exec "$@" {how}"#);
        Program::in_shell(&line, &["math", "client", &addr]).run().success();
        Program::in_shell(&line, &["math", "client", &addr, "--json"]).run().success();
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: descriptors closed by a shell")]
fn a_closed_stdin_is_an_error_and_not_the_end_of_input() {
    for args in
        [&["echo", "client"][..], &["chat", "client"], &["coin", "client"], &["add", "client"]]
    {
        for closed in ["<&-", "0>/dev/null"] {
            let finished = Program::in_shell(&format!(r#"exec "$@" {closed}"#), args).run();
            let line = finished.last_failure(3);
            assert_eq!(line, "cannot read standard input: it is closed", "{args:?} {closed}");
        }
    }
    // A program that reads no input does not need it.
    let finished = Program::in_shell(r#"exec "$@" <&-"#, &["coin", "client", "--auto", "1"]).run();
    finished.success();
}

/// `ulimit -f`, in blocks of 512 or 1024 bytes. By default SIGXFSZ would kill the program without a
/// message.
const LIMITED: &str = r#"ulimit -f 1 && exec "$@""#;

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: ulimit")]
fn results_that_exceed_a_file_size_limit_are_reported_in_one_line_with_code_3() {
    let folder = Folder::new();
    let server = Server::start("echo", &[]);
    let addr = server.addr.to_string();
    let long = "x".repeat(4000);
    for args in [
        &["man"][..],
        &["completions", "bash"],
        &["file", "server", "--help"],
        &["echo", "client", &addr, &long],
        &["echo", "client", &addr, &long, "--json"],
    ] {
        let file = File::create(folder.path("out")).unwrap();
        let finished = Program::in_shell(LIMITED, args).stdout(file).run();
        let line = finished.last_failure(3);
        assert_eq!(line, "cannot write to standard output: file too large", "{args:?}");
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: ulimit")]
fn a_fetched_file_that_exceeds_a_size_limit_is_reported_in_one_line_with_code_3() {
    let folder = Folder::new();
    folder.write("there", vec![b'x'; 9000]);
    let server = folder.server();
    let remote = format!("{}:there", server.addr);
    let local = folder.path("here").to_string_lossy().into_owned();
    let finished = Program::in_shell(LIMITED, &["file", "client", &remote, &local]).run();
    assert!(finished.failure(3).contains("file too large"), "{finished:?}");
    let file = File::create(folder.path("out")).unwrap();
    let finished = Program::in_shell(LIMITED, &["file", "client", &remote, "-"]).stdout(file).run();
    assert!(finished.failure(3).contains("file too large"), "{finished:?}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: ulimit")]
fn a_log_that_exceeds_a_limit_does_not_stop_the_server_and_is_reported_at_its_end() {
    let folder = Folder::new();
    let log = File::create(folder.path("log")).unwrap();
    let args = ["math", "server", "0", "--json", "--trace", "--rounds", "20"];
    let server = Program::in_shell(LIMITED, &args).stderr(log).start();
    let line = server.wait_for_stdout("listening");
    let event: Value = serde_json::from_str(&line).unwrap();
    let addr = event["address"].as_str().unwrap().parse().unwrap();
    for _ in 0..3 {
        let finished = client("math", addr, &[]).run();
        assert_eq!(finished.success().len(), 9);
    }
    server.signal(STOP);
    let finished = server.finish();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let stdout = String::from_utf8(finished.stdout).unwrap();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "cannot write to standard error: file too large");
}

#[test]
#[cfg(target_os = "linux")]
fn a_trace_that_cannot_be_written_changes_the_code_but_no_result() {
    let server = Server::start("math", &["--secret", "12345678"]);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for option in ["--trace", "-v"] {
        let finished = server.client("math", &[option]).stderr(full()).run();
        assert_eq!(
            (finished.code, &finished.stdout[..]),
            (Some(3), &b"12345678\n"[..]),
            "{option}"
        );
    }
    // There was nothing to write.
    let finished = server.client("math", &[]).stderr(full()).run();
    assert_eq!(finished.success(), b"12345678\n");
}

#[test]
#[cfg(target_os = "linux")]
fn every_write_to_a_full_stdout_is_reported_with_code_3() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for protocol in ["math", "add", "file", "echo", "hello", "coin", "guess"] {
        let args = [protocol, "server", "0", "--json"];
        let line = Program::socklab(&args).stdout(full()).run();
        assert!(line.last_failure(3).starts_with("cannot write to standard output: no space left"));
    }
    for (protocol, args) in [
        ("add", &["--name", "Ada", "--number", "1"][..]),
        ("hello", &[]),
        ("coin", &["--auto", "1"]),
        ("guess", &["--auto"]),
        ("rps", &["--auto"]),
    ] {
        for json in [&[][..], &["--json"]] {
            let args = [&[protocol, "client"], args, json].concat();
            let finished = Program::socklab(&args).stdout(full()).run();
            let line = finished.last_failure(3);
            assert!(line.starts_with("cannot write to standard output: no space left"), "{line}");
        }
    }
}

/// Checks the assumptions of these tests: the shell does close streams and does limit files.
#[test]
#[cfg_attr(feature = "windows", ignore = "it checks the shell, and the Linux run has done that")]
fn the_shell_closes_streams_and_limits_files() {
    let status = Command::new("sh").args(["-c", "echo text >&- 2>/dev/null"]).status().unwrap();
    assert!(!status.success());
    let folder = Folder::new();
    let line =
        format!("ulimit -f 1; exec head -c 4000 /dev/zero > {}", folder.path("out").display());
    let status = Command::new("sh").args(["-c", &line]).status().unwrap();
    assert!(!status.success(), "{status}");
}

#[test]
#[cfg(unix)]
#[cfg_attr(feature = "windows", ignore = "Unix: a socket of datagrams as standard error")]
fn each_line_on_stderr_is_one_write() {
    use std::os::unix::net::UnixDatagram;

    let server = Server::start("hello", &[]);
    // Each write is a datagram.
    let (writes, stderr) = UnixDatagram::pair().unwrap();
    let args = ["hello", "client", &server.addr.to_string(), "--trace"];
    Program::socklab(&args).stderr(std::os::fd::OwnedFd::from(stderr)).run().success();
    writes.set_nonblocking(true).unwrap();
    let mut count = 0;
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = writes.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?}");
        count += 1;
    }
    // The greeting and both ends.
    assert_eq!(count, 3);
}
