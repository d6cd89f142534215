//! `socklab check` on programs that are odd as processes, and the ways in which a program gets its address.

#![cfg(unix)]

mod checks;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checks::{Run, check, check_command, program, results, student};
use socklab_tests::mutants;
use socklab_tests::program::{DEADLINE, Process, Program, free_port, wait_until};
use tempfile::TempDir;

/// Variable that marks the processes of a test. Every descendant inherits it.
const MARK: &str = "CHECK_MARK";

/// Returns the ids of the running processes with this mark. A process that has ended has no environment.
fn marked(mark: &str) -> Vec<String> {
    let text = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").expect("/proc");
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|id| {
            let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == text.as_bytes())
        })
        .collect()
}

/// Returns the largest amount of memory that a process has used so far, in KiB.
fn peak_memory(process: &Process) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim_end_matches("kB").trim().parse().ok()
}

fn odd(name: &str) -> PathBuf {
    mutants::folder().join("odd").join(name)
}

/// Returns the command of an odd server in Python.
fn odd_command(protocol: &str, name: &str) -> Vec<String> {
    student(protocol, "server", &odd(name), Path::new("")).expect("Python")
}

/// Excludes the case that waits until a second client is not served: these servers serve one at a time.
const QUICK: [&str; 2] = ["--exclude", "sequential/at-the-same-time"];

/// Result of a run on an odd program.
struct Odd {
    run: Run,
    time: Duration,
    /// Largest amount of memory that `socklab check` has used, in KiB.
    memory: u64,
}

/// Checks an odd program, that it leaves no process behind, and that memory stays bounded.
fn check_odd(protocol: &str, name: &str, options: &[&str]) -> Odd {
    let mut args = vec![protocol.to_owned(), "server".into(), "--json".into()];
    args.extend(options.iter().map(ToString::to_string));
    args.push("--".into());
    args.extend(odd_command(protocol, name));
    let mark = format!("{}-{name}", std::process::id());
    // This may build the program, which does not count.
    let program = program(&args).env(MARK, &mark);
    let start = Instant::now();
    let mut process = program.start();
    let mut memory = 0;
    let limit = Duration::from_secs(200);
    let ended = wait_until(limit, || {
        memory = peak_memory(&process).unwrap_or(0).max(memory);
        (!process.is_running()).then_some(())
    });
    assert!(ended.is_some(), "{name}: still running after {limit:?}");
    let time = start.elapsed();
    // A killed process is still listed until its parent has noticed.
    let gone = wait_until(DEADLINE, || marked(&mark).is_empty().then_some(()));
    let left = marked(&mark);
    if gone.is_none() {
        for id in &left {
            let _ = Program::new("kill", &["-KILL", id]).run();
        }
    }
    assert!(left.is_empty(), "{name}: processes {left:?} are left");
    let run = results(process.finish());
    assert!(memory < 100_000, "{name}: {memory} KiB of memory");
    println!("{name}: {memory} KiB, {time:?}");
    Odd { run, time, memory }
}

macro_rules! passes {
    ($($test:ident: $protocol:literal $name:literal $options:expr;)*) => {
        $(
            #[test]
            #[cfg_attr(not(python3), ignore = "needs python3")]
            fn $test() {
                let options = [&QUICK[..], &$options].concat();
                check_odd($protocol, $name, &options).run.assert_no_failure($name);
            }
        )*
    };
}

passes! {
    a_flood_on_stdout_does_not_matter: "echo" "floods_stdout.py" [];
    a_flood_of_binary_data_on_stderr_does_not_matter: "echo" "floods_stderr.py" [];
    a_program_that_ignores_signals_is_ended: "echo" "ignores_sigterm.py" [];
    a_server_in_a_child_process_is_ended: "echo" "forks_and_waits.py" [];
    a_server_whose_parent_has_ended_is_ended: "echo" "forks_and_exits.py" [];
    a_server_that_leaves_its_process_group_is_ended: "echo" "leaves_group.py" [];
    a_daemon_is_ended: "echo" "becomes_daemon.py" [];
    a_daemon_that_starts_slowly_passes: "echo" "becomes_slow_daemon.py"
        ["--case", "basic/short-message", "--case", "restart/*"];
    a_server_that_listens_after_five_seconds_passes: "echo" "listens_late.py"
        ["--case", "basic/short-message", "--case", "restart/*"];
    a_server_that_waits_for_a_line_gets_one: "math" "waits_for_stdin.py" ["--stdin", ""];
}

/// Checks that a case fails within its limits, because the program does not listen. One case is enough: each waits.
#[track_caller]
fn never_listens(protocol: &str, name: &str, case: &str) {
    let Odd { run, time, .. } = check_odd(protocol, name, &["--case", case]);
    assert_eq!(run.finished.code, Some(1), "{name}: {:?}", run.finished);
    let [case] = run.cases.as_slice() else { panic!("{name}: {}", run.troubles()) };
    assert_eq!(case.verdict, "fail", "{case:?}");
    assert!(case.message.contains("the program does not listen on 127.0.0.1:"), "{case:?}");
    assert!(case.message.contains("the program was still running"), "{case:?}");
    assert!(time < Duration::from_secs(60), "{name}: {time:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_never_listens_fails_in_bounded_time() {
    never_listens("echo", "never_listens.py", "basic/short-message");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_waits_for_a_line_and_gets_none_fails_in_bounded_time() {
    never_listens("math", "waits_for_stdin.py", "basic/questions-and-secret");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_ends_at_once_fails_with_its_last_words() {
    for (name, words) in [
        ("exits_at_once.py", "the program ended before it listened"),
        ("traceback_at_once.py", "TypeError"),
    ] {
        let Odd { run, time, .. } = check_odd("echo", name, &[]);
        assert_eq!(run.finished.code, Some(1), "{name}: {:?}", run.finished);
        assert!(run.with("fail").count() > 0, "{name}");
        for case in run.with("fail") {
            assert!(case.message.contains(words), "{case:?}");
        }
        assert!(time < Duration::from_secs(60), "{name}: {time:?}");
    }
}

#[test]
#[cfg_attr(not(all(python3, target_os = "linux")), ignore = "needs python3, and Linux: /proc")]
fn a_process_that_is_left_behind_is_named() {
    let case = ["--case", "basic/short-message"];
    let Odd { run, .. } = check_odd("echo", "leaves_idle_process.py", &case);
    let [case] = run.cases.as_slice() else { panic!("{}", run.troubles()) };
    let text = "the program ended before it listened; a process that it started still runs";
    assert!(case.verdict == "fail" && case.message.contains(text), "{case:?}");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_loop_at_the_end_of_the_stream_is_named() {
    let Odd { run, .. } =
        check_odd("echo", "spins_at_end.py", &["--case", "basic/*", "--case", "close/*"]);
    let named = run.cases.iter().filter(|case| case.hint.contains("again and again")).count();
    assert!(named > 0, "{}", run.troubles());
    assert!(run.with("pass").count() > 0, "{}", run.troubles());
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_sleeps_after_one_client_is_named() {
    let Odd { run, .. } = check_odd("math", "sleeps_after_serving.py", &["--timeout", "3s"]);
    let second = run.cases.iter().find(|case| case.path == "sequential/second-client").unwrap();
    assert_eq!(second.verdict, "info", "{}", run.troubles());
    assert!(second.hint.contains("accept()"), "{}", run.troubles());
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_for_one_client_that_ends_slowly_is_named() {
    let case = "sequential/second-client";
    let Odd { run, .. } = check_odd("math", "ends_slowly.py", &["--case", case]);
    let [second] = run.cases.as_slice() else { panic!("{}", run.troubles()) };
    assert_eq!(second.verdict, "info", "{second:?}");
    assert!(second.message.contains("the program ended with exit code 0"), "{second:?}");
    assert!(second.hint.contains("one client only"), "{second:?}");
}

/// Ten other programs compute on the processor of the server. So it takes more than 1.5 s for 150 ms of work.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn time_in_which_a_program_gets_no_processor_does_not_count() {
    const COMPUTE: &str = "import os, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while time.process_time() < 30: pass";
    let others: Vec<_> =
        (0..10).map(|_| Program::new("python3", &["-c", COMPUTE]).start()).collect();
    let options = ["--case", "basic/questions-and-secret", "--timeout", "1s"];
    let Odd { run, time, .. } = check_odd("math", "computes.py", &options);
    run.assert_no_failure("computes.py");
    drop(others);
    assert!(time > Duration::from_secs(1), "{time:?}: the others have not computed");
}

#[test]
#[ignore = "a gigabyte for each case takes a minute on a busy machine; .ci/run does it"]
fn a_gigabyte_of_output_is_read_and_dropped() {
    let odd = check_odd("math", "prints_gigabyte.py", &["--case", "basic/*"]);
    odd.run.assert_no_failure("prints_gigabyte.py");
    assert!(odd.memory > 0);
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_shell_script_is_a_program() {
    let script = odd("shell_script.sh").to_str().unwrap().to_owned();
    let command = ["sh", &script, "{port}"].map(str::to_owned);
    check_command("math", "server", &QUICK, &command).assert_no_failure("a shell script");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_environment_has_the_address() {
    for (role, args) in [("server", "\"$PORT\""), ("client", "\"$HOST\" \"$PORT\"")] {
        let path = mutants::program("math", role);
        let options: &[&str] = if role == "server" { &QUICK } else { &[] };
        let line = format!("exec {} {} {args}", mutants::python(), path.display());
        let command = ["sh", "-c", &line].map(str::to_owned);
        check_command("math", role, options, &command).assert_no_failure(role);
    }
}

/// Writes a copy of a program with other words, and returns its command.
fn copy(folder: &TempDir, protocol: &str, role: &str, changes: &[(&str, &str)]) -> Vec<String> {
    let mut source = fs::read_to_string(mutants::program(protocol, role)).unwrap();
    for (old, new) in changes {
        assert!(source.contains(old), "{protocol} {role}: no {old}");
        source = source.replace(old, new);
    }
    let path = folder.path().join(format!("{protocol}_{role}.py"));
    fs::write(&path, source).unwrap();
    [mutants::python(), path.to_str().unwrap()].map(str::to_owned).to_vec()
}

/// An argument that the command does not have is named, and the placeholder of another one is not.
#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_placeholder_of_a_missing_argument_is_named() {
    let folder = TempDir::new().unwrap();
    let client = mutants::program("file", "client").to_str().unwrap().to_owned();
    let other = "client.py";
    let source = "import socket, sys\ns = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
                  s.sendall(b'notes.txt')\ns.shutdown(1)\ns.recv(1)\n";
    fs::write(folder.path().join(other), source).unwrap();
    let other = folder.path().join(other).to_str().unwrap().to_owned();
    for (program, arguments, present, absent) in [
        (&client, &["{host}", "{port}"][..], "no {remote} and {local}", ""),
        (&client, &["{host}:{port}:{remote}"], "no {local}", "{remote}"),
        (&other, &["{host}", "{port}"], "no {remote} and {local}", ""),
    ] {
        let command = [&[mutants::python(), program], arguments].concat();
        let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
        let run = check_command("file", "client", &["--case", "basic/text"], &command);
        let hint = &run.with("fail").next().expect("a failure").hint;
        assert!(hint.contains(present), "{arguments:?}: {hint}");
        assert!(absent.is_empty() || !hint.contains(absent), "{arguments:?}: {hint}");
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_port_that_is_fixed_in_the_source_is_named() {
    let folder = TempDir::new().unwrap();
    let port = free_port().to_string();
    for (role, changes) in [
        ("server", vec![("int(sys.argv[1])", port.as_str())]),
        ("client", vec![("sys.argv[1]", "\"127.0.0.1\""), ("int(sys.argv[2])", &port)]),
    ] {
        let command = copy(&folder, "hello", role, &changes);
        let run = check_command("hello", role, &["--port", &port], &command);
        run.assert_no_failure(&format!("hello {role} at port {port}"));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_client_that_asks_for_the_address_gets_it_typed() {
    let folder = TempDir::new().unwrap();
    let asks = [
        ("sys.argv[1]", "input('Enter IPv4 address of server: ')"),
        ("sys.argv[2]", "input('Enter port number of server: ')"),
    ];
    for (protocol, template) in
        [("hello", r"{host}\n{port}"), ("chat", r"{host}\n{port}\n{message}")]
    {
        let command = copy(&folder, protocol, "client", &asks);
        let run = check_command(protocol, "client", &["--stdin", template], &command);
        run.assert_no_failure(&format!("{protocol} client"));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_already_runs_or_is_kept_is_tested() {
    let port = free_port();
    let mut args =
        student("echo", "server", &mutants::program("echo", "server"), Path::new("")).unwrap();
    *args.last_mut().unwrap() = port.to_string();
    let process = Program::new(&args[0], &args[1..]).start();
    let listens = wait_until(DEADLINE, || {
        let unused = TcpListener::bind(("127.0.0.1", port)).is_ok();
        (!unused).then_some(())
    });
    assert!(listens.is_some(), "{}", process.stderr());
    let address = format!("127.0.0.1:{port}");
    check(&["echo", "server", "--connect", &address, QUICK[0], QUICK[1]])
        .assert_no_failure("--connect");
    let path = mutants::program("echo", "server");
    let command = student("echo", "server", &path, Path::new("")).unwrap();
    check_command("echo", "server", &["--keep", QUICK[0], QUICK[1]], &command)
        .assert_no_failure("--keep");
}
