//! Checks that the program sleeps while it waits.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socklab_tests::program::{
    DEADLINE, FakeServer, Process, Program, Server, client, message, wait_until,
};

/// The first bytes of a question of math.
const QUESTION: [u8; 4] = *b"Q\0\0\0";

fn math_client(args: &[&str]) -> (Process, TcpStream) {
    let fake = FakeServer::new();
    let process = client("math", fake.addr, args).start();
    (process, fake.accept())
}

/// No process does anything for 3 s.
#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: a part of the CPU time is that of its server; tests/windows.rs measures both"
)]
fn waiting_processes_use_no_cpu_time() {
    const MEASURED: Duration = Duration::from_secs(3);
    const ALLOWED: Duration = Duration::from_millis(50);
    let (math, _math) = math_client(&["--timeout", "none"]);
    let (timed, mut timed_stream) = math_client(&["--timeout", "10s", "--trace"]);
    // In the middle of a message.
    timed_stream.write_all(&QUESTION).unwrap();
    timed.wait_for("4 of 9 bytes so far");

    let fake = FakeServer::new();
    let typing = client("echo", fake.addr, &[]).with_stdin().start();
    let _typing = fake.accept();

    // The server does not read, so the client blocks in a write.
    let mut blocked = client("echo", fake.addr, &[]).with_stdin().start();
    let _blocked = fake.accept();
    blocked.feed(vec![b'x'; 40 << 20]);
    let mut lines = client("echo", fake.addr, &[]).with_stdin().start();
    let _lines = fake.accept();
    lines.feed([b"x".repeat(999), b"\n".to_vec()].concat().repeat(40_000));

    let idle = Server::start("math", &[]);
    let busy = Server::start("echo", &["--timeout", "none"]);
    let mut half = busy.connect();
    half.write_all(&message(b"0123456789half")[..6]).unwrap();

    let all = [
        ("a client that waits", &math),
        ("a client inside a message", &timed),
        ("a client whose user thinks", &typing),
        ("a client blocked in a long message", &blocked),
        ("a client blocked in many messages", &lines),
        ("a server without clients", &idle.process),
        ("a server with one idle client", &busy.process),
    ];
    // Waits until the CPU time of all processes stops growing.
    let mut last = all.map(|(_, process)| process.cpu());
    let rest = wait_until(2 * DEADLINE, || {
        thread::sleep(Duration::from_millis(200));
        let now = all.map(|(_, process)| process.cpu());
        let rest = now == last;
        last = now;
        rest.then_some(())
    });
    rest.expect("the processes do not come to rest");
    let before = all.map(|(_, process)| process.cpu());
    thread::sleep(MEASURED);
    for ((name, process), before) in all.into_iter().zip(before) {
        let used = process.cpu() - before;
        println!("{name}: {used:?} of CPU in {MEASURED:?}");
        assert!(used < ALLOWED, "{name}: {used:?} of CPU in {MEASURED:?}");
    }
    // Checks that the measurement detects a process that does not sleep.
    let spin = Program::in_shell("while :; do :; done", &["math"]).start();
    let seen = wait_until(DEADLINE, || (spin.cpu() > ALLOWED).then_some(()));
    seen.expect("the CPU time does not grow");
}
