//! Programs of students in `tests/mutants/`: each mutant fits its program, and each correct program works with the
//! other end of `socklab`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socklab_tests::mutants::{PROTOCOLS, ROLES, Variant, command, load, program, variants};
use socklab_tests::program::{Finished, Process, Program, Server, free_port};
use tempfile::TempDir;

#[test]
fn every_program_has_eight_mutants_and_two_variants() {
    let variants = variants();
    for protocol in PROTOCOLS {
        for role in ROLES {
            let mutants = load(protocol, role).1.len();
            assert!(mutants >= 8, "{protocol} {role}: {mutants} mutants");
            let python = |v: &&Variant| v.path.extension().is_some_and(|e| e == "py");
            let of_role = variants.iter().filter(|v| v.protocol == protocol && v.role == role);
            let count = of_role.filter(python).count();
            assert!(count >= 2, "{protocol} {role}: {count} variants in Python");
        }
    }
    for Variant { path, protocol, role, .. } in &variants {
        let known = PROTOCOLS.contains(&protocol.as_str()) && ROLES.contains(&role.as_str());
        assert!(known, "{}", path.display());
    }
}

#[test]
fn every_mutant_applies_and_differs_from_the_others() {
    for protocol in PROTOCOLS {
        for role in ROLES {
            let (source, mutants) = load(protocol, role);
            let mut seen = BTreeSet::from([source.clone()]);
            for mutant in mutants {
                let table = format!("{protocol}_{role}.txt");
                let mutated = mutant.apply(&source).unwrap_or_else(|e| panic!("{table}, {e}"));
                assert!(seen.insert(mutated), "{table}: {} is another mutant", mutant.name);
            }
        }
    }
}

/// Groups of cases of `socklab check`.
const GROUPS: [&str; 10] = [
    "*",
    "basic",
    "segmentation",
    "coalescing",
    "slow",
    "close",
    "reset",
    "bad-input",
    "sequential",
    "restart",
];

#[test]
fn every_expected_case_is_of_a_group() {
    for protocol in PROTOCOLS {
        for role in ROLES {
            for mutant in load(protocol, role).1 {
                for case in &mutant.cases {
                    let group = case.split_once('/').map_or(case.as_str(), |(group, _)| group);
                    assert!(GROUPS.contains(&group), "{protocol} {role} {}: {case}", mutant.name);
                }
            }
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn every_program_is_valid_python() {
    let folder = TempDir::new().unwrap();
    let mut paths: Vec<PathBuf> = variants().into_iter().map(|variant| variant.path).collect();
    let odd = socklab_tests::mutants::folder().join("odd");
    paths.extend(fs::read_dir(odd).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    for protocol in PROTOCOLS {
        for role in ROLES {
            let (source, mutants) = load(protocol, role);
            paths.push(program(protocol, role));
            for mutant in mutants {
                let name = format!("{protocol}_{role}_{}.py", mutant.name);
                paths.push(folder.path().join(name));
                fs::write(paths.last().unwrap(), mutant.apply(&source).unwrap()).unwrap();
            }
        }
    }
    let script =
        "import sys\nfor path in sys.argv[1:]:\n    compile(open(path).read(), path, 'exec')";
    let mut args = vec![PathBuf::from("-Werror"), "-c".into(), script.into()];
    args.append(&mut paths);
    assert_eq!(Program::new("python3", &args).run().success(), b"");
}

/// A correct program in any language.
struct Student {
    protocol: String,
    role: String,
    style: String,
    wire: Option<String>,
    command: Vec<String>,
}

impl Student {
    fn new(path: &Path, variant: Option<&Variant>, folder: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let command = command(path, folder)?;
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let mut parts = stem.splitn(3, '_').map(str::to_owned);
        Some(Self {
            protocol: parts.next().unwrap(),
            role: parts.next().unwrap(),
            style: format!("{}.{}", parts.next().unwrap_or_default(), extension.unwrap()),
            wire: variant.and_then(|variant| variant.wire.clone()),
            command,
        })
    }

    /// Creates the program in a folder, with these arguments.
    fn program(&self, folder: &Path, args: &[&str]) -> Program {
        let mut all: Vec<PathBuf> = vec!["-c".into(), r#"cd "$0" && exec "$@""#.into()];
        all.push(folder.into());
        all.extend(self.command.iter().map(PathBuf::from));
        all.extend(args.iter().map(PathBuf::from));
        Program::new("sh", &all)
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.protocol, self.role, self.style)
    }

    /// Returns whether it is a server that ends after one session.
    fn serves_once(&self) -> bool {
        self.style.starts_with("once.") || ["chat", "rps"].contains(&self.protocol.as_str())
    }
}

/// Returns the correct programs of one protocol.
fn students(protocol: &str, folder: &Path) -> Vec<Student> {
    let mut students = Vec::new();
    for role in ROLES {
        students.extend(Student::new(&program(protocol, role), None, folder));
    }
    for variant in variants().iter().filter(|variant| variant.protocol == protocol) {
        students.extend(Student::new(&variant.path, Some(variant), folder));
    }
    assert!(students.len() >= 6, "{protocol}: {} programs", students.len());
    students
}

/// What one end types, and what the other one is run with.
struct Session {
    /// Arguments of `socklab PROTOCOL client`.
    client: Vec<String>,
    /// Arguments of `socklab PROTOCOL server`.
    server: Vec<String>,
    /// Stdin of the program of a student.
    typed: String,
    /// Stdin of `socklab`.
    answered: String,
    /// Texts that the program of a student must print on stdout.
    prints: Vec<String>,
    /// Text that `socklab PROTOCOL client` must print on stdout.
    shown: String,
}

/// Contents of the file that is fetched: more than a socket buffers, and no UTF-8.
fn contents() -> Vec<u8> {
    (0..900_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn session(student: &Student, folder: &Path) -> Session {
    let mut session = Session {
        client: vec![],
        server: vec![],
        typed: String::new(),
        answered: String::new(),
        prints: vec![],
        shown: String::new(),
    };
    match student.protocol.as_str() {
        "math" => {
            session.server = strings(&["--secret", "opn  sé"]);
            session.prints = strings(&["opn  sé\n"]);
        }
        "add" => {
            session.client = strings(&["--name", "Zoë", "--number", "42"]);
            session.client.extend(student.wire.as_deref().and_then(|wire| {
                wire.strip_prefix("separator=").map(|separator| format!("--separator={separator}"))
            }));
            session.server = strings(&["--name", "Anaïs", "--number", "58"]);
            session.typed = "Zoë\n0\n42\n".into();
            session.prints = strings(&["Zoë", "Anaïs", "42", "58", "100"]);
        }
        "file" => {
            session.server = vec!["--root".into(), folder.to_str().unwrap().into()];
            session.client = strings(&["--plain", "--quiet"]);
        }
        "echo" => {
            let long = "äöü-€-".repeat(700);
            let messages = ["Four score and seven years ago", "short", "äöüäöüäöüä€ 12", "", &long];
            session.client = strings(&messages);
            for message in messages {
                let reply: String = message.chars().skip(10).collect();
                writeln!(session.typed, "{message}").unwrap();
                writeln!(session.shown, "{reply}").unwrap();
                session.prints.push(format!("{reply}\n"));
            }
        }
        "udp" => {
            // A server that is being started is asked again.
            session.client = strings(&["--timeout", "500ms", "--retries", "60"]);
            for message in ["Four score and seven years ago", "short", "äöüäöüäöüä€ 12"]
            {
                let reply: String = message.chars().skip(10).collect();
                session.client.push(message.into());
                writeln!(session.typed, "{message}").unwrap();
                writeln!(session.shown, "{reply}").unwrap();
                session.prints.push(format!("{reply}\n"));
            }
        }
        "hello" => {
            session.shown = "Hello from server\n".into();
            session.prints = strings(&["Hello from server"]);
        }
        "chat" => {
            session.typed = "one two\nthree €\nfour\n".into();
            session.answered = "five\nsix ü\nthen bye\n".into();
            session.prints = strings(&["five", "six ü", "then bye"]);
            if student.role == "server" {
                session.typed = "one two\nthree €\nBye, four\n".into();
                session.prints.pop();
            }
        }
        "coin" => {
            session.client = strings(&["--auto", "4"]);
            session.typed = "H\nt\nQ\n".into();
            session.prints = strings(&["You have guessed correctly ", " out of 2 times."]);
            if student.role == "server" {
                session.prints[1] = " out of 4 times.".into();
            }
        }
        "guess" => {
            session.client = strings(&["--auto"]);
            session.server = strings(&["--number", "50"]);
            session.typed = "10\n90\n50\n".into();
            session.prints = strings(&["too low", "too high", "win"]);
        }
        "rps" => {
            session.client = strings(&["--auto"]);
            session.server = strings(&["--auto"]);
            session.typed = "1\n2\n9\n3\n".into();
        }
        other => panic!("{other}"),
    }
    if student.role == "server" && !["coin", "chat"].contains(&student.protocol.as_str()) {
        session.prints.clear();
    }
    session
}

fn check_output(name: &str, finished: &Finished, prints: &[String]) {
    assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
    assert!(!finished.stderr.contains("Traceback"), "{name}: {finished:?}");
    let stdout = String::from_utf8_lossy(&finished.stdout);
    for text in prints {
        assert!(stdout.contains(text), "{name}: no {text:?}: {finished:?}");
    }
}

/// Runs a client of a student against a server of socklab.
fn run_client(student: &Student, folder: &Path) {
    let name = student.name();
    let session = session(student, folder);
    let mut args = strings(&[&student.protocol, "server", "0"]);
    args.extend(session.server.clone());
    let mut server = Server::from_program(Program::socklab(&args).with_stdin());
    server.process.feed(session.answered);
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    if student.protocol == "file" {
        let args = [format!("{host}:{port}:remote.bin"), "local.bin".into()];
        let finished = student.program(folder, &[&args[0], &args[1]]).run_with("");
        check_output(&name, &finished, &[]);
        assert!(fs::read(folder.join("local.bin")).unwrap() == contents(), "{name}");
        fs::remove_file(folder.join("local.bin")).unwrap();
        return;
    }
    let finished = student.program(folder, &[&host, &port]).run_with(session.typed);
    check_output(&name, &finished, &session.prints);
}

/// Runs a client of socklab against a server of a student. It is tried again until the server listens.
fn client_of(student: &Student, process: &mut Process, port: u16, folder: &Path) -> Option<()> {
    let session = session(student, folder);
    let mut args = strings(&[&student.protocol, "client", "127.0.0.1", &port.to_string()]);
    let local = folder.join("fetched.bin");
    if student.protocol == "file" {
        args[2] = format!("127.0.0.1:{port}:remote.bin");
        args[3] = local.to_str().unwrap().into();
    }
    args.extend(session.client);
    loop {
        let finished = Program::socklab(&args).run_with(session.answered.clone());
        if finished.code == Some(3) {
            if process.is_running() {
                // Tries without a pause would leave no processor for the program, which is still starting.
                thread::sleep(Duration::from_millis(30));
                continue;
            }
            // Another process was faster, and has the port.
            return None;
        }
        let shown = String::from_utf8_lossy(finished.success());
        let name = student.name();
        assert!(session.shown.is_empty() || shown == session.shown, "{name}: {finished:?}");
        if student.protocol == "file" {
            assert!(fs::read(&local).unwrap() == contents(), "{name}");
            fs::remove_file(&local).unwrap();
        }
        return Some(());
    }
}

/// Runs a server of a student, with a client of socklab, or two of them in sequence.
fn run_server(student: &Student, folder: &Path) {
    let session = session(student, folder);
    loop {
        let port = free_port();
        let mut process = student.program(folder, &[&port.to_string()]).with_stdin().start();
        process.feed(session.typed.clone());
        if client_of(student, &mut process, port, folder).is_none() {
            continue;
        }
        if student.serves_once() {
            check_output(&student.name(), &process.finish(), &session.prints);
        } else {
            client_of(student, &mut process, port, folder).expect("the server still runs");
            let stderr = process.stderr();
            assert!(!stderr.contains("Traceback"), "{}: {stderr}", student.name());
        }
        return;
    }
}

#[track_caller]
fn check(protocol: &str) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("remote.bin"), contents()).unwrap();
    for student in students(protocol, folder.path()) {
        if student.role == "client" {
            run_client(&student, folder.path());
        } else {
            run_server(&student, folder.path());
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_math_work_with_socklab() {
    check("math");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_add_work_with_socklab() {
    check("add");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_file_work_with_socklab() {
    check("file");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_echo_work_with_socklab() {
    check("echo");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_udp_work_with_socklab() {
    check("udp");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_hello_work_with_socklab() {
    check("hello");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_chat_work_with_socklab() {
    check("chat");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_coin_work_with_socklab() {
    check("coin");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_guess_work_with_socklab() {
    check("guess");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn correct_programs_of_rps_work_with_socklab() {
    check("rps");
}
