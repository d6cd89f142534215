//! The limit of clients, and what `-v` logs.

#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV6, TcpListener, TcpStream};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use socklab_tests::program::{DEADLINE, Program, Server, message, read, wait_until};

#[test]
fn a_client_above_the_limit_waits_and_this_is_logged() {
    let server = Server::start("echo", &["--max-clients", "1"]);
    let mut first = server.connect();
    first.write_all(&message(b"0123456789one")).unwrap();
    assert_eq!(read(&mut first), *b"\0\0\0\x03one");
    let mut second = server.connect();
    second.write_all(&message(b"0123456789two")).unwrap();
    let line = server.process.wait_for("the limit");
    assert!(line.ends_with("serving 1 client, the limit; new clients have to wait"), "{line}");
    drop(first);
    assert_eq!(read(&mut second), *b"\0\0\0\x03two");

    let refused = Program::socklab(&["echo", "server", "0", "--max-clients", "0"]).run();
    assert!(refused.stderr.contains("expected a number of at least 1"), "{refused:?}");
}

#[test]
fn a_chat_server_out_of_descriptors_continues_when_some_are_free() {
    let mut server = Server::from_program(Program::socklab(&["chat", "server", "0"]).with_stdin());
    let pid = server.process.id();
    let is_open = |fd: &u64| std::fs::exists(format!("/proc/{pid}/fd/{fd}")).unwrap();
    let free = (0..).find(|fd| !is_open(fd)).unwrap();
    let process = Pid::from_raw(pid.cast_signed());
    let limit = |current| {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        prlimit(process, Resource::Nofile, Rlimit { current, maximum }).expect("prlimit")
    };
    // All descriptor numbers below this one are in use.
    let before = limit(Some(free));
    let mut stream = server.connect();
    let line = server.process.wait_for("cannot accept connections for now: ");
    assert!(line.ends_with("; new clients have to wait"), "{line}");
    limit(before.current);
    server.process.feed("BYE\n");
    let mut received = [0; 4];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, *b"BYE\n");
    drop(stream);
    server.process.finish().success();
}

#[test]
fn the_log_of_a_client_contains_every_address_that_was_tried() {
    // An IPv4 address only, although the first address of the name may be an IPv6 one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let client = Program::socklab(&["hello", "client", "localhost", &port, "-v"]).start();
    let (mut stream, peer) = listener.accept().unwrap();
    stream.write_all(b"Hello from server\n").unwrap();
    drop(stream);
    let finished = client.finish();
    finished.success();
    let log = &finished.stderr;
    for line in [
        "resolving localhost".to_owned(),
        "localhost is ".to_owned(),
        format!("trying {}", if log.contains("trying [::1]") { "[::1]" } else { "127.0.0.1" }),
        format!("connected to 127.0.0.1:{port} from {peer} after "),
        format!("127.0.0.1:{port}: idle connection, timeout 30s"),
    ] {
        assert!(log.contains(&line), "no {line:?} in {log}");
    }
    if log.contains("trying [::1]") {
        assert!(log.contains(&format!("connecting to [::1]:{port} failed: ")), "{log}");
    }
}

#[test]
fn a_link_local_client_is_logged_with_its_interface() {
    // IPv6 may be off, and there may be no interface except the loopback.
    let all = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let Some(line) = all.lines().find(|line| line.starts_with("fe80")) else { return };
    let mut words = line.split_whitespace();
    let mut number = || u128::from_str_radix(words.next().unwrap(), 16).unwrap();
    let (ip, interface) = (number(), u32::try_from(number()).unwrap());
    let server = Server::from_program(Program::socklab(&["echo", "server", "[::]:0"]));
    let addr = SocketAddrV6::new(ip.into(), server.addr.port(), 0, interface);
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let ours = client.local_addr().unwrap();
    assert!(ours.to_string().contains(&format!("%{interface}]")), "{ours}");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let is_logged = || server.process.stderr().contains(&format!("{ours}: ")).then_some(());
    wait_until(DEADLINE, is_logged)
        .unwrap_or_else(|| panic!("no {ours} in {}", server.process.stderr()));
}
