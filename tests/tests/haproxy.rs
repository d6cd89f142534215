//! Two servers behind HAProxy, with the configuration of the README.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socklab_tests::program::{DEADLINE, Process, Program, Server, wait_until};

/// Secrets of the two servers, which show a client to which it was connected.
const SECRETS: [&str; 2] = ["server_a", "server_b"];
/// Number of clients at a time.
const CLIENTS: usize = 6;
/// Number of sessions before and after an event.
const SESSIONS: usize = 100;
/// Debug record of a health check.
const CHECK: &str = "closed without a message, as a health check is";

/// HAProxy in front of two servers. A server that has ended is `None`.
struct Balanced {
    haproxy: Process,
    addr: SocketAddr,
    servers: [Option<Server>; 2],
    folder: tempfile::TempDir,
}

/// Returns the configuration in the README.
fn readme() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("\n```haproxy\n").expect("a configuration in the README");
    rest.split_once("```\n").unwrap().0.to_owned()
}

impl Balanced {
    /// Starts everything. `check` replaces the options of the servers in the README.
    fn start(check: &str) -> Self {
        let servers = [1, 2].map(|seed: usize| {
            let seed_text = seed.to_string();
            let secret = SECRETS[seed - 1];
            let args = ["--proxy-protocol", "--verbose", "--rounds", "3", "--secret", secret];
            // With the same questions in every session.
            Server::start("math", &[&args[..], &["--seed", &seed_text]].concat())
        });
        let folder = tempfile::tempdir().unwrap();
        let [config, log, admin] =
            ["haproxy.cfg", "log.cfg", "admin.sock"].map(|name| folder.path().join(name));
        let mut text = readme();
        for (from, to) in [
            ("/run/haproxy/admin.sock", admin.to_str().unwrap()),
            // HAProxy inherits the listener as its standard input, so its port cannot be taken by another program.
            ("bind :8000", "bind fd@0"),
            ("send-proxy-v2 check inter 1s", check),
            ("10.0.0.1:8000", &servers[0].addr.to_string()),
            ("10.0.0.2:8000", &servers[1].addr.to_string()),
        ] {
            assert_eq!(text.matches(from).count(), 1, "{from} in the README's configuration");
            text = text.replace(from, to);
        }
        std::fs::write(&config, text).unwrap();
        std::fs::write(&log, "global\n    log stdout format raw local0\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let files = [&log, &config].map(|path| path.to_str().unwrap());
        let haproxy = Program::new("haproxy", &["-db", "-f", files[0], "-f", files[1]])
            .stdin(OwnedFd::from(listener))
            .start();
        Self { haproxy, addr, servers: servers.map(Some), folder }
    }

    /// Sends a command to HAProxy, and returns the answer.
    fn command(&self, command: &str) -> String {
        let path = self.folder.path().join("admin.sock");
        // The socket exists when HAProxy has read its configuration.
        let stream = wait_until(DEADLINE, || UnixStream::connect(&path).ok());
        let mut stream = stream.unwrap_or_else(|| panic!("{}", self.haproxy.stderr()));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        writeln!(stream, "{command}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until each server has seen this number of health checks with a header.
    fn wait_for_headers(&self, count: usize) {
        for server in self.servers.iter().flatten() {
            let seen = wait_until(DEADLINE, || {
                (server.process.stderr().matches(CHECK).count() >= count).then_some(())
            });
            seen.unwrap_or_else(|| panic!("no health checks: {}", server.process.stderr()));
        }
    }

    /// Waits until each server has passed a health check.
    fn wait_for_checks(&self) {
        let passed = |name: &str| {
            let all = self.command("show stat");
            all.lines().any(|line| line.starts_with(name) && line.contains("L4OK"))
        };
        for name in ["math,a,", "math,b,"] {
            wait_until(DEADLINE, || passed(name).then_some(()))
                .unwrap_or_else(|| panic!("{}", self.command("show stat")));
        }
    }

    /// Stops a server, and returns the lines of its log without debug records.
    fn stop(&mut self, index: usize) -> Vec<String> {
        let server = self.servers[index].take().expect("the server runs");
        server.process.signal("TERM");
        let finished = server.process.finish();
        finished.success();
        let lines = finished.stderr.lines().filter(|line| !line.starts_with("socklab: debug: "));
        let lines: Vec<String> = lines.map(Into::into).collect();
        assert!(lines[0].starts_with("listening on "), "{lines:?}");
        lines[1..].to_vec()
    }
}

/// What a client has seen of its session.
#[derive(Debug)]
struct Session {
    addr: SocketAddr,
    /// The first question. It shows the server.
    question: Option<[u8; 9]>,
    /// The secret, or why the session failed.
    result: io::Result<String>,
    /// Whether it began after the event of the test.
    is_late: bool,
}

/// A client with a session.
struct Client {
    stream: TcpStream,
    addr: SocketAddr,
    question: Option<[u8; 9]>,
    is_late: bool,
}

impl Client {
    fn connect(addr: SocketAddr, is_late: bool) -> Self {
        let stream = TcpStream::connect(addr).expect("HAProxy accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let addr = stream.local_addr().unwrap();
        Self { stream, addr, question: None, is_late }
    }

    /// Waits for the first question.
    fn begin(&mut self) -> io::Result<[u8; 9]> {
        let question = self.message()?;
        self.question = Some(question);
        Ok(question)
    }

    fn message(&mut self) -> io::Result<[u8; 9]> {
        let mut message = [0; 9];
        self.stream.read_exact(&mut message)?;
        Ok(message)
    }

    /// Answers all questions.
    fn solve(&mut self) -> io::Result<String> {
        let mut message = match self.question {
            Some(question) => question,
            None => self.begin()?,
        };
        while let [b'Q', a, b, c, d, e, f, g, h] = message {
            let (first, second) =
                (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
            self.stream.write_all(&first.wrapping_add(second).to_be_bytes())?;
            message = self.message()?;
        }
        Ok(String::from_utf8_lossy(&message[1..]).into_owned())
    }

    fn finish(mut self) -> Session {
        let result = self.solve();
        let Self { addr, question, is_late, .. } = self;
        Session { addr, question, result, is_late }
    }
}

/// Clients that have one session after another.
struct Load {
    sessions: Arc<Mutex<Vec<Session>>>,
    is_late: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(addr: SocketAddr) -> Self {
        let (sessions, is_late, is_over) = <(Arc<Mutex<Vec<_>>>, Arc<_>, Arc<_>)>::default();
        let run = |_| {
            let (sessions, is_late, is_over): (Arc<Mutex<_>>, Arc<AtomicBool>, Arc<AtomicBool>) =
                (Arc::clone(&sessions), Arc::clone(&is_late), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let session = Client::connect(addr, is_late.load(Ordering::SeqCst)).finish();
                    sessions.lock().unwrap().push(session);
                }
            })
        };
        let threads = (0..CLIENTS).map(run).collect();
        Self { sessions, is_late, is_over, threads }
    }

    /// Waits until this number of sessions have ended well.
    fn wait(&self, is_late: bool) {
        let enough = || {
            let sessions = self.sessions.lock().unwrap();
            let done = sessions.iter().filter(|s| s.is_late == is_late && s.result.is_ok());
            (done.count() >= SESSIONS).then_some(())
        };
        wait_until(DEADLINE, enough).expect("too few sessions in time");
    }

    /// Sessions that begin from now on are late.
    fn mark(&self) {
        self.is_late.store(true, Ordering::SeqCst);
    }

    fn finish(self) -> Vec<Session> {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        Arc::into_inner(self.sessions).unwrap().into_inner().unwrap()
    }
}

/// Returns the addresses in lines that start with one and a colon, or panics if a line does not report a good session.
#[track_caller]
fn reported(lines: &[String]) -> Vec<SocketAddr> {
    let addr = |line: &String| {
        let addr = line.strip_suffix(": 3/3 correct, secret sent");
        addr.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    lines.iter().map(addr).collect()
}

fn sorted(addrs: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addrs: Vec<_> = addrs.into_iter().collect();
    addrs.sort_unstable();
    addrs
}

/// Returns the clients of sessions that ended well at this server.
fn clients_of(sessions: &[Session], secret: &str) -> Vec<SocketAddr> {
    let has_secret = |s: &&Session| s.result.as_ref().is_ok_and(|result| result == secret);
    sorted(sessions.iter().filter(has_secret).map(|session| session.addr))
}

/// Checks that the logs name the real clients, and have no line about a health check.
fn check_logs(check: &str) {
    let mut balanced = Balanced::start(check);
    let mut sessions = Vec::new();
    let wait = |count| match check.contains("addr") {
        // Such a check is reset before its connection is established, so that the server does not see it.
        true => balanced.wait_for_checks(),
        false => balanced.wait_for_headers(count),
    };
    wait(2);
    for _ in 0..8 {
        sessions.push(Client::connect(balanced.addr, false).finish());
    }
    wait(4);
    for (index, secret) in SECRETS.iter().enumerate() {
        let lines = balanced.stop(index);
        let clients = clients_of(&sessions, secret);
        assert!(!clients.is_empty(), "no session at {secret}: {sessions:?}");
        assert_eq!(sorted(reported(&lines)), clients, "{secret}");
    }
    assert!(sessions.iter().all(|session| session.result.is_ok()), "{sessions:?}");
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn the_logs_name_the_clients_and_no_health_check() {
    check_logs("send-proxy-v2 check inter 100ms");
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn the_logs_name_the_clients_and_no_health_check_in_version_1() {
    check_logs("send-proxy check inter 100ms");
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn the_logs_name_the_clients_and_no_health_check_that_only_connects() {
    // With an address of its own, a health check has no header.
    check_logs("send-proxy-v2 check inter 100ms addr 127.0.0.1");
    check_logs("send-proxy check inter 100ms addr 127.0.0.1");
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn the_checksum_and_the_fields_that_haproxy_sends_are_accepted() {
    check_logs("send-proxy-v2 check inter 100ms proxy-v2-options crc32c,unique-id,authority");
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn a_server_that_is_drained_and_stopped_under_load_loses_no_session() {
    let mut balanced = Balanced::start("send-proxy-v2 check inter 1s");
    let load = Load::start(balanced.addr);
    load.wait(false);
    // Sessions that last until the server stops, at both servers.
    let mut held: Vec<Client> =
        (0..CLIENTS).map(|_| Client::connect(balanced.addr, false)).collect();
    for client in &mut held {
        client.begin().unwrap();
    }
    let answer = balanced.command("set server math/a state drain");
    assert_eq!(answer.trim(), "");
    load.mark();
    let server = balanced.servers[0].as_ref().unwrap();
    server.process.signal("TERM");
    let closed = wait_until(DEADLINE, || TcpStream::connect(server.addr).is_err().then_some(()));
    closed.expect("the stopped server accepts clients");
    let held: Vec<Session> = held.into_iter().map(Client::finish).collect();
    let held_at_a = clients_of(&held, SECRETS[0]);
    assert!(!held_at_a.is_empty(), "{held:?}");
    let server = balanced.servers[0].take().unwrap();
    let finished = server.process.finish();
    finished.success();
    load.wait(true);

    let mut sessions = load.finish();
    for session in &sessions {
        let secret = session.result.as_deref();
        let is_good = secret.is_ok_and(|secret| secret == SECRETS[1] || !session.is_late);
        assert!(is_good, "{session:?}");
    }
    sessions.extend(held);
    assert!(sessions.iter().all(|session| session.result.is_ok()));
    let lines = finished.stderr.lines().filter(|line| !line.starts_with("socklab: debug: "));
    let lines: Vec<String> = lines.skip(1).map(Into::into).collect();
    assert_eq!(sorted(reported(&lines)), clients_of(&sessions, SECRETS[0]));
    assert_eq!(sorted(reported(&balanced.stop(1))), clients_of(&sessions, SECRETS[1]));
}

#[test]
#[cfg_attr(not(haproxy), ignore = "needs haproxy")]
fn a_server_that_is_killed_under_load_loses_only_the_sessions_it_had() {
    let mut balanced = Balanced::start("send-proxy-v2 check inter 1s");
    let load = Load::start(balanced.addr);
    load.wait(false);
    let mut held: Vec<Client> =
        (0..CLIENTS).map(|_| Client::connect(balanced.addr, false)).collect();
    for client in &mut held {
        client.begin().unwrap();
    }
    let server = balanced.servers[0].take().unwrap();
    server.process.signal("KILL");
    assert_eq!(server.process.finish().code, None);
    load.mark();
    load.wait(true);
    let mut sessions = load.finish();
    sessions.extend(held.into_iter().map(Client::finish));

    // The first question of each server, as sessions that ended well had it.
    let questions: HashMap<[u8; 9], &str> = sessions
        .iter()
        .filter_map(|session| Some((session.question?, session.result.as_deref().ok()?)))
        .collect();
    assert_eq!(questions.len(), 2, "{questions:?}");
    let lost: Vec<&Session> = sessions.iter().filter(|session| session.result.is_err()).collect();
    // Each client has one session at a time.
    assert!(!lost.is_empty() && lost.len() <= 2 * CLIENTS, "{lost:?}");
    for session in &lost {
        let secret = session.question.and_then(|question| questions.get(&question));
        assert!(
            !session.is_late && secret.is_none_or(|secret| *secret == SECRETS[0]),
            "{session:?}"
        );
    }
    // HAProxy knows the server also of a session that had no question yet.
    for session in &lost {
        // Another session may have had the same port.
        let client = format!("{} [", session.addr);
        let is_known = |log: &str| {
            log.lines().any(|line| line.starts_with(&client) && line.contains(" math/a "))
        };
        let logged = wait_until(DEADLINE, || is_known(&balanced.haproxy.stdout()).then_some(()));
        logged.unwrap_or_else(|| panic!("{session:?}\n{}", balanced.haproxy.stdout()));
    }
    assert_eq!(sorted(reported(&balanced.stop(1))), clients_of(&sessions, SECRETS[1]));
}
