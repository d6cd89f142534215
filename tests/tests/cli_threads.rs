//! `--threads` of the program: one log, one stream of events, one stop.

#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use socklab_tests::files::Folder;
use socklab_tests::program::{
    DEADLINE, Finished, Program, STOP, Server, message, read, wait_until,
};

/// Answers the questions of a session, as many as are asked. Returns what the server has sent.
fn solve(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let mut message = [0; 9];
    while stream.read_exact(&mut message).is_ok() {
        received.extend(message);
        if message[0] != b'Q' {
            break;
        }
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        let sum = number(1).wrapping_add(number(5));
        if stream.write_all(&sum.to_be_bytes()).is_err() {
            break;
        }
    }
    received
}

/// Solves quizzes with this number of clients at a time. Returns what each session received.
fn sessions(server: &Server, clients: usize, each: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let received = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                for _ in 0..each {
                    let mut stream = server.connect();
                    let session = (stream.local_addr().unwrap(), solve(&mut stream));
                    received.lock().unwrap().push(session);
                }
            });
        }
    });
    received.into_inner().unwrap()
}

fn stop(server: Server) -> Finished {
    server.process.signal(STOP);
    server.process.finish()
}

#[test]
fn a_seed_means_the_same_with_any_number_of_threads() {
    let questions = |threads: &str| {
        let args = ["--seed", "7", "--secret", "opensesm", "--threads", threads];
        let server = Server::start("math", &args);
        let received: HashSet<_> =
            sessions(&server, 8, 5).into_iter().map(|(_, received)| received).collect();
        stop(server).success();
        received
    };
    let one = questions("1");
    assert_eq!(one.len(), 1);
    assert_eq!(one, questions("2"));
    assert_eq!(one, questions("5"));
}

#[test]
fn a_secret_drawn_at_random_is_the_same_on_all_threads() {
    let server = Server::start("math", &["--rounds", "0", "--threads", "4"]);
    let secrets: HashSet<_> =
        sessions(&server, 8, 5).into_iter().map(|(_, received)| received).collect();
    assert_eq!(secrets.len(), 1);
    stop(server).success();
}

#[test]
fn each_session_is_one_whole_line_of_the_log_and_one_event() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let (pcap, html) = (path("x.pcap"), path("x.html"));
    for observers in [&[][..], &["--trace"], &["--pcap", &pcap, "--html", &html]] {
        let args = [&["--rounds", "3", "--threads", "3", "--json"], observers].concat();
        let server = Server::start("math", &args);
        let peers: HashSet<SocketAddr> =
            sessions(&server, 10, 20).into_iter().map(|(peer, _)| peer).collect();
        // Sockets of closed connections keep their ports for a while, so all ports differ.
        assert_eq!(peers.len(), 200);
        let finished = stop(server);
        let mut events = String::from_utf8(finished.success().to_vec()).unwrap();
        let mut lines = finished.stderr.clone();
        if observers.contains(&"--trace") {
            let (trace, log): (Vec<_>, Vec<_>) =
                lines.lines().partition(|line| line.contains("->") || line.contains("<-"));
            // Three questions and answers, and the secret.
            let messages = trace.iter().filter(|line| !line.contains("closes")).count();
            assert!(messages >= 200 * 7, "{messages} of {}", 200 * 7);
            assert!(trace.iter().all(|line| line.starts_with("127.0.0.1:")));
            lines = log.join("\n");
        }
        let logged: Vec<SocketAddr> = lines
            .lines()
            .skip(1)
            .map(|line| {
                let (peer, result) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
                assert_eq!(result, "3/3 correct, secret sent", "{line}");
                peer.parse().unwrap_or_else(|_| panic!("{line}"))
            })
            .collect();
        assert_eq!((logged.len(), logged.into_iter().collect()), (200, peers.clone()));
        let mut kinds = Vec::new();
        let mut reported = Vec::new();
        events.truncate(events.trim_end().len());
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if let Some(peer) = event["peer"].as_str() {
                reported.push(peer.parse().unwrap());
            } else {
                kinds.push(event["event"].clone());
            }
        }
        assert_eq!(kinds, ["listening", "stopped"]);
        assert_eq!((reported.len(), reported.into_iter().collect()), (200, peers));
    }
}

#[test]
fn hello_stops_after_exactly_the_given_number_of_clients() {
    for _ in 0..3 {
        let server = Server::start("hello", &["--count", "20", "--threads", "3"]);
        let addr = server.addr.to_string();
        let greeted = thread::scope(|scope| {
            // Not under Wine, which takes long to start 20 programs at a time.
            let clients: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        Program::native(&["hello", "client", &addr]).run().code == Some(0)
                    })
                })
                .collect();
            clients.into_iter().filter_map(|client| client.join().ok()).filter(|ok| *ok).count()
        });
        assert_eq!(greeted, 20);
        let finished = server.process.finish();
        finished.success();
        assert_eq!(finished.stderr.matches(": greeted\n").count(), 20, "{finished:?}");
    }
}

#[test]
fn a_server_with_threads_that_is_stopped_ends_the_open_sessions_of_all() {
    let server = Server::start("math", &["--threads", "3"]);
    let mut streams: Vec<_> = (0..9).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0; 9]).unwrap();
    }
    server.process.signal(STOP);
    // The listeners are closed, and the sessions continue.
    let refused = || TcpStream::connect(server.addr).is_err().then_some(());
    wait_until(DEADLINE, refused).expect("the listeners are closed");
    server.process.signal(STOP);
    let finished = server.process.finish();
    finished.success();
    assert_eq!(finished.stderr.matches("the server stopped\n").count(), 9, "{finished:?}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: the descriptors of a process")]
fn all_threads_together_log_a_lack_of_descriptors_once_and_serve_the_clients_later() {
    let server = Server::start("echo", &["--threads", "3"]);
    let pid = server.process.id();
    let is_open = |fd: &u64| std::fs::exists(format!("/proc/{pid}/fd/{fd}")).unwrap();
    // The first client shows that all threads have opened what they need.
    let mut first = server.connect();
    first.write_all(&message(b"0123456789a")).unwrap();
    assert_eq!(read(&mut first), *b"\0\0\0\x01a");
    let used = (0..).find(|fd| !is_open(fd)).unwrap();
    let process = Pid::from_raw(pid.cast_signed());
    let limit = |current| {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        prlimit(process, Resource::Nofile, Rlimit { current, maximum }).expect("prlimit")
    };
    // Two more clients.
    let before = limit(Some(used + 2));
    let mut streams: Vec<_> = (0..12).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&message(b"0123456789b")).unwrap();
    }
    server.process.wait_for("cannot accept connections for now: ");
    // One after the other leaves, wherever the others wait.
    let mut served = 0;
    while !streams.is_empty() {
        let answered = wait_until(DEADLINE, || {
            streams.iter().position(|stream| {
                stream.set_nonblocking(true).unwrap();
                stream.peek(&mut [0]).is_ok()
            })
        });
        let mut stream = streams.swap_remove(answered.expect("a client is served"));
        stream.set_nonblocking(false).unwrap();
        assert_eq!(read(&mut stream), *b"\0\0\0\x01b");
        served += 1;
    }
    assert_eq!(served, 12);
    limit(before.current);
    drop(first);
    let finished = stop(server);
    let lines = |text: &str| finished.stderr.matches(text).count();
    assert_eq!(lines("cannot accept connections for now: "), 1, "{finished:?}");
    assert_eq!(lines("accepting connections again"), 1, "{finished:?}");
    assert_eq!(lines("1 message with"), 13, "{finished:?}");
}

#[test]
fn all_threads_together_log_once_that_clients_have_to_wait() {
    let server = Server::start("echo", &["--threads", "3", "--max-clients", "2"]);
    let mut streams: Vec<_> = (0..12).map(|_| server.connect()).collect();
    let line = server.process.wait_for("the limit");
    assert!(line.ends_with("serving 2 clients, the limit; new clients have to wait"), "{line}");
    for stream in &mut streams {
        stream.write_all(&message(b"0123456789b")).unwrap();
    }
    thread::scope(|scope| {
        for mut stream in streams {
            scope.spawn(move || assert_eq!(read(&mut stream), *b"\0\0\0\x01b"));
        }
    });
    let finished = stop(server);
    assert_eq!(finished.stderr.matches("the limit").count(), 1, "{finished:?}");
}

#[test]
fn a_number_of_threads_is_checked() {
    for threads in ["0", "257", "two", "-1", ""] {
        let line = Program::socklab(&["math", "server", "0", "--threads", threads]).run();
        assert!(line.failure(2).contains("expected a number from 1 to 256, or auto"), "{line:?}");
    }
    // A person plays against one client at a time, and a conversation has one person at the server.
    let finished = Program::socklab(&["rps", "server", "0", "--threads", "2"]).run();
    assert!(finished.failure(2).contains("--auto"), "{finished:?}");
    let finished = Program::socklab(&["chat", "server", "0", "--threads", "2"]).run();
    let line = finished.failure(2);
    assert!(line.contains("one client at a time") && line.contains("have it"), "{line}");
    for server in [["math", "auto"], ["echo", "2"], ["file", "2"], ["guess", "2"]] {
        let [protocol, threads] = server;
        stop(Server::start(protocol, &["--threads", threads])).success();
    }
    stop(Server::start("rps", &["--auto", "--threads", "2"])).success();
}
