//! The command line of `socklab check`: selection, bad input, interrupts, and the formats of results.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use socklab_tests::program::{DEADLINE, Finished, Program, Server, socklab, wait_until};
use tempfile::TempDir;

/// A correct server of math, as a command.
fn server() -> Vec<String> {
    [socklab().to_str().unwrap(), "math", "server", "{port}"].map(str::to_owned).to_vec()
}

/// A program in Python that is started with the port.
fn python(source: &str) -> Vec<String> {
    ["python3", "-c", source, "{port}"].map(str::to_owned).to_vec()
}

/// A server of math that takes one `recv` for one answer. `before` and `after` are lines of Python around it.
fn naive(before: &str) -> Vec<String> {
    python(&format!(
        r#"
import os, socket, struct, sys
{before}
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
while True:
    c, _ = s.accept()
    c.sendall(b"Q" + struct.pack(">II", 3, 4))
    if c.recv(4) == struct.pack(">I", 7):
        c.sendall(b"Sabcdefgh")
    c.close()
"#
    ))
}

const FIRST: &str = "basic/questions-and-secret";

/// A run in a folder of its own. The state of `--failed` is there too.
struct Check {
    folder: TempDir,
}

impl Check {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn program(&self, options: &[&str], command: &[String]) -> Program {
        let mut args: Vec<String> = ["check", "math", "server"].map(str::to_owned).to_vec();
        args.extend(options.iter().map(ToString::to_string));
        if !command.is_empty() {
            args.push("--".into());
            args.extend_from_slice(command);
        }
        let cache = self.arg("cache");
        // A program may print gigabytes, and a case is repeated if the machine was stalled.
        let program = Program::socklab(&args).deadline(Duration::from_secs(300));
        let program = program.env("XDG_CACHE_HOME", &cache);
        program.env("LOCALAPPDATA", &cache).env("APPDATA", &cache)
    }

    fn run(&self, options: &[&str], command: &[String]) -> Finished {
        self.program(options, command).run()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn text(finished: &Finished) -> String {
    String::from_utf8(finished.stdout.clone()).unwrap()
}

fn events(finished: &Finished) -> Vec<Value> {
    text(finished).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_correct_program_passes() {
    let finished = Check::new().run(&["--strict", "--seed", "5"], &server());
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("math server: ") && lines[0].ends_with(" cases, seed 5)"),
        "{text}"
    );
    assert_eq!(lines[1], "pass  math/server/basic/questions-and-secret");
    let last = lines.last().unwrap();
    assert!(
        last.contains(" cases: ") && last.contains(" passed (") && !last.contains(','),
        "{text}"
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn a_failure_teaches() {
    let check = Check::new();
    let finished = check.run(&["--case", "*/one-byte", "--quiet"], &naive(""));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(1), ""));
    let text = text(&finished);
    for line in [
        "fail  math/server/segmentation/one-byte\n",
        "      required  an answer may arrive one byte at a time\n",
        "      source    document 001, ",
        "      exchanged program Q 3 + 4 (9 bytes)\n",
        "      step      3: answer every question",
        // Closed or reset: it may have unread input.
        "      happened  the program ",
        "      hint      one recv() ",
        "      again     socklab check math server --case segmentation/one-byte -- python3 -c ",
        "1 case: 0 passed, 1 failed (",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_said() {
    let check = Check::new();
    let server = server();
    let twice = [vec!["--".to_owned()], server.clone()].concat();
    for (options, command, error) in [
        (vec![], vec![], "the program is missing: give its command after --"),
        (vec!["python3", "x.py"], vec![], "'python3': the command of the program follows after --"),
        (vec!["python3", "-u"], vec![], "'-u' is not an option of socklab check; the command"),
        (vec![], twice, "-- stands twice"),
        (vec![], vec![String::new()], "the name of the program is empty"),
        (vec!["--case", "slow/nothing"], server.clone(), "'slow/nothing' matches no case (did you"),
        (vec!["--exclude", "*"], server.clone(), "--exclude leaves no case to run"),
        (vec!["--wire", "header=2"], server.clone(), "math has no variants"),
        (vec!["--wire", "header"], server.clone(), "expected KEY=VALUE"),
        (vec!["--connect", "localhost"], vec![], "--connect needs a port"),
        (
            vec!["--connect", "localhost:1"],
            server.clone(),
            "either a command after -- or --connect",
        ),
        (
            vec!["--html", "x", "--junit", "./x"],
            server.clone(),
            "--html x and --junit ./x name the same",
        ),
        (vec!["--html", "-"], server.clone(), "--html -: expected the name of a file"),
        (vec!["--timeout", "none"], server.clone(), "expected a time of more than 0"),
        (vec!["--jobs", "0"], server, "'--jobs <N>'"),
    ] {
        let finished = check.run(&options, &command);
        assert_eq!(finished.code, Some(2), "{options:?}: {finished:?}");
        assert!(finished.stderr.contains(error), "{options:?}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }
    let source = "print('the work of an evening')";
    fs::write(check.path("x.py"), source).unwrap();
    for option in ["--html", "--junit", "--gradescope", "--github"] {
        let program = check.arg("x.py");
        let finished = check.run(&[option, &check.arg("./x.py")], &["python3".to_owned(), program]);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("./x.py name the same file"), "{}", finished.stderr);
        assert_eq!(fs::read_to_string(check.path("x.py")).unwrap(), source);
    }
    let finished = check.run(&["--json"], &[]);
    let events = events(&finished);
    assert_eq!((&events[0]["event"], &events[0]["code"]), (&"error".into(), &2.into()));
    let unknown = Program::socklab(&["check", "maths", "server", "--", "x"]).run();
    assert!(unknown.code == Some(2) && unknown.stderr.contains("math"), "{unknown:?}");
    let wire =
        Program::socklab(&["check", "echo", "server", "--wire", "header=3", "--", "x"]).run();
    assert!(wire.code == Some(2) && wire.stderr.contains("header=4|2"), "{wire:?}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: permissions of files")]
fn a_command_that_is_no_program_cannot_be_started() {
    let check = Check::new();
    for name in ["text.txt", "program.py"] {
        fs::write(check.path(name), "print()\n").unwrap();
    }
    for (command, hint) in [
        (check.arg("nothing"), "no such program"),
        (check.arg(""), "it is a folder"),
        (check.arg("text.txt"), "not marked as executable"),
        (check.arg("program.py"), "started with python3"),
        ("python3 server.py {port}".to_owned(), "without quotes around all of them"),
    ] {
        let results = check.arg("results.json");
        let finished = check.run(&["--gradescope", &results], &[command]);
        assert_eq!(finished.code, Some(3), "{finished:?}");
        assert!(
            finished.stderr.contains("cannot start ") && finished.stderr.contains(hint),
            "{finished:?}"
        );
        let results = check.json("results.json");
        assert!(results["output"].as_str().unwrap().contains(hint), "{results}");
        assert_eq!(results["tests"][0]["score"], 0.0);
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn programs_that_do_not_serve_fail() {
    let check = Check::new();
    for (source, message) in [
        ("raise SystemExit(3)", "ended before it listened"),
        ("print('done')", "ended before it listened"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "ended before it listened"),
    ] {
        let finished = check.run(&["--case", "basic/*"], &python(source));
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let text = text(&finished);
        assert!(text.contains(message) && text.is_ascii(), "{text}");
    }
    let without_port: Vec<_> = python("import sys; sys.argv[1]").into_iter().take(3).collect();
    let finished = check.run(&["--case", FIRST], &without_port);
    assert!(text(&finished).contains("the command has no {port}"), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn a_client_that_never_ends_fails() {
    let source = "
import socket, sys, time
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
question = s.recv(9, socket.MSG_WAITALL)
s.sendall((int.from_bytes(question[1:5], 'big') + int.from_bytes(question[5:], 'big')).to_bytes(4, 'big'))
print(s.recv(9, socket.MSG_WAITALL)[1:].decode())
time.sleep(1000)
";
    let mut args =
        vec!["check", "math", "client", "--case", "basic/one-question", "--timeout", "2s"];
    args.extend(["--", "python3", "-c", source, "{port}"]);
    let check = Check::new();
    let finished = Program::socklab(&args).env("XDG_CACHE_HOME", &check.arg("cache")).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(text(&finished).contains("the program did not end within 2 s"), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn a_gigabyte_of_output_is_read_and_not_kept() {
    let check = Check::new();
    let results = check.arg("results.json");
    let flood = "for _ in range(1024): os.write(1, b'\\x1b[31m' + bytes(2**20))";
    let options = ["--case", FIRST, "--case", "*/one-byte", "--gradescope", &results];
    let finished = check.run(&options, &naive(flood));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let bytes = fs::read(check.path("results.json")).unwrap();
    assert!(bytes.len() < 40_000 && !bytes.contains(&0x1b), "{} bytes", bytes.len());
    assert!(String::from_utf8(bytes).unwrap().contains("bytes left out]"));
}

#[test]
fn a_port_in_use_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let finished = Check::new().run(&["--port", &port], &server());
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains(&format!("cannot use port {port}: ")), "{finished:?}");
}

#[test]
fn the_points_are_shown_without_a_file_of_results() {
    let check = Check::new();
    let points = check.arg("points.txt");
    fs::write(&points, "* 2\nclose/* 0.5\n").unwrap();
    let options = ["--points", &points, "--case", "basic/*", "--case", "close/inside-answer"];
    let finished = check.run(&options, &server());
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    assert!(text.lines().last().is_some_and(|line| line.ends_with("4.5 of 4.5 points")), "{text}");
}

#[test]
fn an_error_in_the_points_has_its_place() {
    let check = Check::new();
    let points = check.arg("points.txt");
    fs::write(&points, "# weights\nbasic/* 5\nclsoe/*  2\n").unwrap();
    let finished = check.run(&["--points", &points], &server());
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("points.txt:3:1: 'clsoe/*' matches no case"), "{finished:?}");
    let finished = check.run(&["--points", &check.arg("missing")], &server());
    assert!(finished.code == Some(3) && finished.stderr.contains("cannot read"), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn files_that_cannot_be_written_are_reported_before_anything_runs() {
    let check = Check::new();
    let marker = check.arg("marker");
    let command = python(&format!("open({marker:?}, 'w')"));
    for option in ["--junit", "--gradescope", "--github", "--html"] {
        for path in [check.arg(""), check.arg("no folder/file")] {
            let finished = check.run(&[option, &path], &command);
            assert_eq!(finished.code, Some(3), "{finished:?}");
            assert!(finished.stderr.contains("cannot write "), "{finished:?}");
        }
    }
    assert!(!Path::new(&marker).exists());
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn an_interrupt_ends_the_programs_and_keeps_the_results() {
    let check = Check::new();
    let (results, pid) = (check.arg("results.json"), check.arg("pid"));
    let source = format!(
        "
import os, socket, sys, time
s = socket.socket()
s.bind(('127.0.0.1', int(sys.argv[1])))
s.listen()
open('{pid}.part', 'w').write(str(os.getpid()))
os.rename('{pid}.part', '{pid}')
time.sleep(1000)
"
    );
    let options = ["--gradescope", &results, "--jobs", "1", "--timeout", "1000s"];
    let process = check.program(&options, &python(&source)).start();
    let child = wait_until(DEADLINE, || fs::read_to_string(&pid).ok()).expect("it is started");
    // Before the end, the file has every case with 0 points.
    let before = check.json("results.json");
    assert!(before["tests"].as_array().unwrap().len() > 10 && before["tests"][0]["score"] == 0.0);
    process.signal("INT");
    let finished = process.finish();
    assert_eq!(finished.code, Some(130), "{finished:?}");
    assert!(finished.stderr.contains("interrupted"), "{finished:?}");
    assert!(!Path::new("/proc").join(child).join("fd").exists());
    let after = check.json("results.json");
    assert_eq!(after["tests"].as_array().unwrap().len(), before["tests"].as_array().unwrap().len());
    assert!(after["tests"][3]["output"].as_str().unwrap().contains("interrupted"), "{after}");
}

#[test]
fn a_limit_that_no_clock_can_reach_is_none() {
    let options = ["--total-timeout", "10000000000000000000", "--case", FIRST];
    let finished = Check::new().run(&options, &server());
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn the_total_time_is_a_limit_for_all_cases() {
    let source = "
import socket, sys, time
s = socket.create_server(('127.0.0.1', int(sys.argv[1])))
time.sleep(1000)
";
    let options = ["--total-timeout", "2s", "--timeout", "1000s"];
    let finished = Check::new().run(&options, &python(source));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("--total-timeout expired before"), "{finished:?}");
    assert!(text(&finished).contains("(--total-timeout expired)"), "{finished:?}");
}

#[test]
fn a_list_has_ids_and_requirements() {
    let check = Check::new();
    let finished = check.run(&["--list", "--case", "basic/*"], &[]);
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    assert!(
        text.starts_with("math/server/basic/questions-and-secret\n    each question is "),
        "{text}"
    );
    assert!(text.contains("(document 001, ") && !text.contains("/close/"), "{text}");
    let finished = check.run(&["--list", "--json"], &[]);
    let event = &events(&finished)[0];
    assert_eq!(event["id"], "math/server/basic/questions-and-secret");
    assert_eq!(event["required"], true);
    let finished = Program::socklab(&["check", "file", "client", "--list"]).run();
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("    placeholders of the command: {host} "), "{last}");
    assert!(last.contains("{remote} name of the file on the server; {local} "), "{last}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn only_what_failed_last_time_is_run_again() {
    let check = Check::new();
    let command = naive("");
    let some = ["--case", FIRST, "--case", "*/one-byte", "--failed"];
    let first = check.run(&some, &command);
    assert!(
        first.stderr.contains("no earlier run")
            && text(&first).contains("2 cases: 1 passed, 1 failed"),
        "{first:?}"
    );
    let second = check.run(&["--failed", "--json"], &command);
    let events = events(&second);
    assert_eq!(events.len(), 2, "{second:?}");
    assert_eq!(events[0]["id"], "math/server/segmentation/one-byte");
    assert_eq!((&events[1]["event"], &events[1]["failed"]), (&"summary".into(), &1.into()));
    // Another command has another state.
    let other = check.run(&["--failed", "--case", FIRST], &server());
    assert!(other.code == Some(0) && other.stderr.contains("no earlier run"), "{other:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn after_the_first_failure_the_rest_is_skipped() {
    let options = ["--fail-fast", "--jobs", "1", "--case", FIRST, "--case", "segmentation/*"];
    let finished = Check::new().run(&options, &naive(""));
    let text = text(&finished);
    assert!(
        text.contains("(a case failed before)") && text.contains("1 passed, 1 failed"),
        "{text}"
    );
}

#[test]
fn a_server_that_already_runs_is_tested() {
    let server = Server::start("math", &[]);
    let addr = server.addr.to_string();
    let finished = Check::new().run(&["--connect", &addr], &[]);
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    assert!(
        text.contains("skip  math/server/restart/port  (the case must start the program"),
        "{text}"
    );
    assert!(!text.contains("fail") && text.contains("1 skipped"), "{text}");
}

#[test]
fn a_run_in_which_every_case_is_skipped_fails() {
    let server = Server::start("chat", &[]);
    let (addr, check) = (server.addr.to_string(), Check::new());
    let junit = check.arg("results.xml");
    let args = ["check", "chat", "server", "--connect", &addr, "--junit", &junit];
    let finished = Program::socklab(&args).env("XDG_CACHE_HOME", &check.arg("cache")).run();
    assert!(text(&finished).contains(": 0 passed, "), "{finished:?}");
    let message = finished.last_failure(1);
    assert!(message.contains("no case was run") && message.contains("--connect cannot"));
    assert!(fs::read_to_string(&junit).unwrap().contains("chat.server.basic"));
}

#[test]
fn a_kept_program_serves_all_cases() {
    let finished = Check::new().run(&["--keep", "--strict"], &server());
    let text = String::from_utf8(finished.success().to_vec()).unwrap();
    assert!(
        text.contains("skip  math/server/restart/port") && text.contains("1 skipped"),
        "{text}"
    );
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn a_kept_program_that_serves_one_client_is_recognised() {
    let source = "import socket, sys, time
s = socket.create_server(('127.0.0.1', int(sys.argv[1])))
c, a = s.accept()
s.close()
c.close()
time.sleep(60)";
    let options = ["--keep", "--timeout", "1s", "--case", "basic/*"];
    let finished = Check::new().run(&options, &python(source));
    let text = text(&finished);
    assert!(text.contains("hint      the server seems to serve one client only"), "{text}");
    assert!(text.contains("--timeout 1s --keep --case basic/wrong-answer"), "{text}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn tap_has_a_plan_and_a_reason() {
    let options = ["--tap", "--case", FIRST, "--case", "*/one-byte", "--case", "restart/*"];
    let finished = Check::new().run(&options, &naive("print('# not ok 1')"));
    let text = text(&finished);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(lines[..2], ["TAP version 14", "1..3"], "{text}");
    assert_eq!(lines[3], "ok 1 - math/server/basic/questions-and-secret");
    assert_eq!(lines[4], "not ok 2 - math/server/segmentation/one-byte");
    assert_eq!(lines[5], "ok 3 - math/server/restart/port");
    assert!(
        text.contains("\n  ---\n  group: \"segmentation\"\n") && text.contains("\n  ...\n"),
        "{text}"
    );
}

/// After a broken connection the tester looks whether the server stays. If it noticed that, what it does then would be taken for
/// what the case did.
#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn a_server_does_not_notice_how_its_port_is_looked_at() {
    let source = "
import socket, struct, sys
s = socket.socket()
s.bind(('127.0.0.1', int(sys.argv[1])))
s.listen()
for client in range(2):
    c, a = s.accept()
    c.sendall(b'Q' + struct.pack('>II', 3, 4))
    c.recv(4)
    c.close()";
    let options = ["--keep", "--case", "*/one-byte", "--case", "close/half-close"];
    let text = text(&Check::new().run(&options, &python(source)));
    assert!(text.contains("pass  math/server/close/half-close"), "{text}");
    assert!(text.contains("hint      one recv() was "), "{text}");
}

/// A run of a program with a failure and hostile output, with all formats.
fn all_formats() -> Check {
    let check = Check::new();
    let points = check.arg("points.txt");
    fs::write(&points, "* 2\nbasic/questions-and-secret 10\n").unwrap();
    let files =
        ["junit.xml", "gradescope.json", "github.json", "page.html"].map(|name| check.arg(name));
    let [junit, gradescope, github, html] = &files;
    let hostile = "sys.stdout.buffer.write(bytes(range(256)) + '\\u202e\\ufffe]]><b>&'.encode())";
    let options = [
        "--case",
        FIRST,
        "--case",
        "*/one-byte",
        "--case",
        "close/half-close",
        "--case",
        "restart/*",
        "--points",
        &points,
        "--junit",
        junit,
        "--gradescope",
        gradescope,
        "--github",
        github,
        "--html",
        html,
    ];
    let finished = check.run(&options, &naive(hostile));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for file in &files {
        let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
        assert!(!text.contains(['\x1b', '\0', '\u{202e}']), "{file}");
    }
    check
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn gradescope_adds_the_points_of_the_cases() {
    let results = all_formats().json("gradescope.json");
    assert!(results.get("score").is_none());
    let tests = results["tests"].as_array().unwrap();
    let of = |end: &str| {
        let test = tests.iter().find(|test| test["name"].as_str().unwrap().contains(end)).unwrap();
        (
            test["score"].as_f64().unwrap(),
            test["max_score"].as_f64().unwrap(),
            test["status"].clone(),
        )
    };
    assert_eq!(of(FIRST), (10.0, 10.0, "passed".into()));
    assert_eq!(of("one-byte"), (0.0, 2.0, "failed".into()));
    // The document does not require it, and no line names it.
    assert_eq!(of("half-close").1, 0.0);
    for test in tests {
        assert_eq!(test["output_format"], "text");
        assert_eq!(test["visibility"], "visible");
        assert!(["passed", "failed"].contains(&test["status"].as_str().unwrap()));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn the_classroom_reporter_gets_what_it_reads() {
    let results = all_formats().json("github.json");
    assert_eq!((&results["version"], &results["status"]), (&1.into(), &"fail".into()));
    let tests = results["tests"].as_array().unwrap();
    let sum: f64 = tests.iter().map(|test| test["score"].as_f64().unwrap()).sum();
    assert_eq!((sum, results["max_score"].as_f64().unwrap()), (10.0, 12.0), "{results}");
    for test in tests {
        assert!(["pass", "fail", "error"].contains(&test["status"].as_str().unwrap()));
        assert!(
            test["message"].is_null() == (test["status"] == "pass") || test["message"].is_string()
        );
        for key in ["name", "test_code", "filename", "execution_time"] {
            assert!(test[key].is_string(), "{key} of {test}");
        }
    }
}

#[test]
#[cfg_attr(not(all(python3, xmllint)), ignore = "needs xmllint and python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn the_file_of_junit_has_the_form_that_jenkins_reads() {
    let check = all_formats();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/junit-10.xsd");
    let mut command = Command::new("xmllint");
    command.args(["--noout", "--schema"]).arg(schema).arg(check.path("junit.xml"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(check.path("junit.xml")).unwrap();
    assert!(
        text.contains("<testcase name=\"one-byte\" classname=\"math.server.segmentation\""),
        "{text}"
    );
    // It closes with unread input, which is a reset or not, depending on what it has read.
    assert!(text.contains("<failure message=\"the program "), "{text}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "Wine: no Python there")]
fn the_page_has_every_case_with_its_hint() {
    let check = all_formats();
    let page = fs::read_to_string(check.path("page.html")).unwrap();
    assert!(page.contains("one recv() ") && page.contains("class=\"ladder\""), "no hint or ladder");
    assert!(page.contains("segmentation/<wbr>one-byte") && page.contains("&lt;b&gt;"), "no case");
    assert!(!page.contains("<b>&"), "not escaped");
}
