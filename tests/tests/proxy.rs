//! `socklab proxy` between programs: what it passes on, its faults, its limits, and what it reports.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socklab_tests::program::{
    DEADLINE, FakeServer, NOTICES_RESETS, Program, STOP, Server, client, message, read, read_all,
    reset, wait_until,
};

/// Starts `socklab proxy PROTOCOL 0 TARGET` with these arguments.
fn proxy(protocol: &str, target: SocketAddr, args: &[&str]) -> Server {
    let target = target.to_string();
    Server::from_program(Program::socklab(&[&["proxy", protocol, "0", &target], args].concat()))
}

/// Returns the connection of a client through a proxy, that to the server, and the proxy.
fn pair(args: &[&str]) -> (TcpStream, TcpStream, Server) {
    let fake = FakeServer::new();
    let proxy = proxy("raw", fake.addr, args);
    let client = proxy.connect();
    client.set_nodelay(true).unwrap();
    let server = fake.accept();
    (client, server, proxy)
}

/// Reads until the peer's end or a failure. Returns the bytes, and whether it was a reset.
fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes);
    if let Err(e) = &result {
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}");
    }
    (bytes, result.is_err())
}

/// Options that change how bytes arrive, but not the bytes.
const FAULTS: [&[&str]; 7] = [
    &[],
    &["--cut", "1"],
    &["--cut", "random", "--seed", "7"],
    &["--glue", "20ms"],
    &["--delay", "20ms", "--jitter", "10ms"],
    &["--rate", "5k"],
    &["--cut", "3", "--gap", "0", "--delay", "5ms", "--down"],
];

#[test]
fn client_and_server_of_every_protocol_work_through_a_proxy_with_every_fault_that_keeps_the_bytes()
{
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "some notes\n".repeat(20)).unwrap();
    let root = folder.path().to_str().unwrap();
    let cases: [(&str, &[&str], &[&str], &str); 7] = [
        ("math", &["--secret", "opensesm", "--seed", "1", "--rounds", "3"], &[], ""),
        ("add", &["--number", "62"], &["--name", "Ada", "--number", "42"], ""),
        ("echo", &[], &["Four score and seven", "naïve café, or naive?", ""], ""),
        ("hello", &[], &[], ""),
        ("coin", &["--seed", "1"], &[], "H\nT\nQ\n"),
        ("guess", &["--number", "75"], &["--auto"], ""),
        ("rps", &["--auto", "--seed", "1"], &[], "1\npaper\n3\n"),
    ];
    let run = |name, addr, args: &[&str], stdin: &str| {
        let finished = client(name, addr, args).run_with(stdin);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        String::from_utf8(finished.stdout).unwrap()
    };
    thread::scope(|scope| {
        for (name, server_args, client_args, stdin) in cases {
            scope.spawn(move || {
                let server = Server::start(name, server_args);
                let expected = run(name, server.addr, client_args, stdin);
                assert!(!expected.is_empty());
                for faults in FAULTS {
                    let proxy = proxy(name, server.addr, &[faults, &["--trace"]].concat());
                    assert_eq!(
                        run(name, proxy.addr, client_args, stdin),
                        expected,
                        "{name} {faults:?}: {}",
                        proxy.process.stderr()
                    );
                    proxy.process.wait_for("; closed, by the ");
                }
            });
        }
        scope.spawn(|| {
            let server = Server::start("file", &["--root", root]);
            for faults in FAULTS {
                let proxy = proxy("file", server.addr, &[faults, &["--trace"]].concat());
                let remote = format!("{}:notes.txt", proxy.addr);
                let args = ["file", "client", &remote, "-", "--checked"];
                let finished = Program::socklab(&args).run();
                assert_eq!(finished.success(), "some notes\n".repeat(20).as_bytes(), "{faults:?}");
            }
        });
        scope.spawn(|| {
            for faults in FAULTS {
                let program = Program::socklab(&["chat", "server", "0"]).with_stdin();
                let mut server = Server::from_program(program);
                let proxy = proxy("chat", server.addr, faults);
                server.process.stdin().write_all(b"Hello!\nBYE\n").unwrap();
                let finished = client("chat", proxy.addr, &[]).run_with("And how are you?\n");
                assert_eq!(
                    String::from_utf8_lossy(finished.success()),
                    "Hello!\nBYE\n",
                    "{faults:?}"
                );
                assert_eq!(server.process.finish().success(), b"And how are you?\n", "{faults:?}");
            }
        });
    });
}

#[test]
fn the_trace_shows_the_messages_of_both_directions_as_they_are_written() {
    let server = Server::start("math", &["--secret", "opensesm", "--seed", "1", "--rounds", "1"]);
    let proxy = proxy("math", server.addr, &["--trace", "--cut", "4"]);
    let run = || client("math", proxy.addr, &[]).run();
    assert_eq!(run().success(), b"opensesm\n");
    proxy.process.wait_for("bytes to the client");
    let first = proxy.process.stderr();
    for text in [
        " -> ",
        "in 3 writes: 4 + 4 + 1 bytes",
        "S secret \"opensesm\"",
        "closed",
        "4 bytes to the server, 18 bytes to the client; closed, by the server first",
    ] {
        assert!(first.contains(text), "{text}: {first}");
    }
    assert!(!first.contains('#'), "one connection needs no number: {first}");
    assert_eq!(run().success(), b"opensesm\n");
    let line = proxy.process.wait_for("#2 127.0.0.1:");
    assert!(
        line.ends_with(
            "4 bytes to the server, 18 bytes to the client; closed, by the server first"
        )
    );
    assert!(proxy.process.stderr().contains("#2   "), "{}", proxy.process.stderr());
}

#[test]
fn raw_bytes_are_shown_in_hexadecimal_with_their_offset() {
    let (mut client, mut server, proxy) = pair(&["--trace"]);
    client.write_all(b"GET / HTTP/1.1\r\nabc").unwrap();
    assert_eq!(&read::<19>(&mut server), b"GET / HTTP/1.1\r\nabc");
    proxy.process.wait_for(
        "-> 00000000  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|",
    );
    proxy.process.wait_for("-> 00000010  61 62 63 ");
    server.write_all(b"\xff").unwrap();
    proxy.process.wait_for("<- 00000000  ff ");
}

#[test]
fn each_direction_is_closed_by_itself() {
    let (mut client, mut server, proxy) = pair(&[]);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut server), b"question");
    // The other direction is still open.
    for _ in 0..3 {
        server.write_all(b"answer").unwrap();
        assert_eq!(&read::<6>(&mut client), b"answer");
    }
    drop(server);
    assert_eq!(read_all(&mut client), b"");
    proxy
        .process
        .wait_for("8 bytes to the server, 18 bytes to the client; closed, by the client first");
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    for from_client in [true, false] {
        let (mut client, mut server, proxy) = pair(&[]);
        client.write_all(b"a").unwrap();
        read::<1>(&mut server);
        let (from, mut to, name) = match from_client {
            true => (client, server, "client"),
            false => (server, client, "server"),
        };
        reset(from);
        let (bytes, was_reset) = read_to_end(&mut to);
        assert_eq!(bytes, b"");
        if NOTICES_RESETS {
            assert!(was_reset, "{name}");
            proxy.process.wait_for(&format!(
                "1 byte to the server, 0 bytes to the client; reset by the {name}"
            ));
        }
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn a_reply_that_a_closed_server_sent_arrives_before_the_reset() {
    let (mut client, mut server, _proxy) = pair(&["--delay", "50ms"]);
    client.write_all(b"ab").unwrap();
    read::<2>(&mut server);
    server.write_all(b"reply").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    drop(server);
    assert_eq!(&read::<5>(&mut client), b"reply");
}

#[test]
fn a_transfer_of_hundreds_of_megabytes_is_identical_in_constant_memory() {
    const SIZE: usize = 300 << 20;
    let (client, server, proxy) = pair(&[]);
    let before = memory(&proxy);
    // Both directions at the same time.
    let both = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
    thread::scope(|scope| {
        for (seed, (mut from, mut to)) in both.into_iter().enumerate() {
            scope.spawn(move || {
                let mut state = seed as u64;
                for _ in 0..SIZE / PART {
                    from.write_all(&part(&mut state)).unwrap();
                }
                from.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let (mut state, mut got) = (seed as u64, vec![0; PART]);
                for _ in 0..SIZE / PART {
                    to.read_exact(&mut got).unwrap();
                    assert!(got == part(&mut state), "the bytes differ");
                }
                assert_eq!(to.read(&mut got).unwrap(), 0);
            });
        }
    });
    proxy.process.wait_for(&format!("{SIZE} bytes to the server, {SIZE} bytes to the client"));
    assert!(memory(&proxy) <= before + (8 << 20), "{} to {}", before, memory(&proxy));
}

const PART: usize = 1 << 16;

/// Returns bytes that follow from `state`, and advances it.
fn part(state: &mut u64) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()
    };
    (0..PART / 8).flat_map(|_| next(state)).collect()
}

#[cfg(target_os = "linux")]
fn memory(proxy: &Server) -> u64 {
    proxy.process.memory("VmHWM")
}

#[cfg(not(target_os = "linux"))]
fn memory(_: &Server) -> u64 {
    0
}

#[test]
fn a_slow_reader_stops_the_sender_and_the_memory_is_bounded() {
    for args in [&[][..], &["--delay", "1ms"]] {
        let (mut client, mut server, proxy) = pair(args);
        let before = memory(&proxy);
        client.set_nonblocking(true).unwrap();
        let (mut state, mut sent) = (1, 0);
        let mut bytes = part(&mut state);
        // Until nothing more is accepted for a while.
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_millis(500) {
            match client.write(&bytes) {
                Ok(n) => {
                    sent += n;
                    bytes.drain(..n);
                    if bytes.is_empty() {
                        bytes = part(&mut state);
                    }
                    last = Instant::now();
                    assert!(sent < 200 << 20, "the proxy does not stop reading");
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
        assert!(memory(&proxy) <= before + (4 << 20), "{} to {}", before, memory(&proxy));
        client.shutdown(Shutdown::Write).unwrap();
        let (mut state, mut got) = (1, 0);
        let all = read_all(&mut server);
        for chunk in all.chunks(PART) {
            assert!(part(&mut state).starts_with(chunk), "the bytes differ after {got}");
            got += chunk.len();
        }
        assert_eq!(got, sent);
    }
}

/// Number of connections at a time. The time that Wine takes for an event grows with the number of sockets.
const COUNT: usize = if cfg!(feature = "windows") { 200 } else { 1000 };

#[test]
fn a_thousand_connections_at_a_time() {
    let server = Server::start("echo", &[]);
    let proxy = proxy("echo", server.addr, &[]);
    raise_descriptor_limit();
    let mut clients: Vec<TcpStream> = (0..COUNT).map(|_| proxy.connect()).collect();
    for round in 0..2 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.write_all(&message(format!("0123456789{round}-{n}").as_bytes())).unwrap();
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let expected = message(format!("{round}-{n}").as_bytes());
            let mut reply = vec![0; expected.len()];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(reply, expected);
        }
    }
    drop(clients);
    proxy.process.wait_for(&format!("#{COUNT} "));
    let closed = || {
        (proxy.process.stderr().matches("; closed, by the client first").count() == COUNT)
            .then_some(())
    };
    wait_until(DEADLINE, closed).expect("all end");
}

/// Raises the limit of descriptors of this process, whose default may be 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn cut_bytes_are_read_one_at_a_time() {
    let (mut client, mut server, _proxy) = pair(&["--cut", "1", "--gap", "1s", "--up"]);
    client.write_all(b"abc").unwrap();
    let mut buffer = [0; 10];
    for expected in [b"a", b"b", b"c"] {
        let n = server.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], expected);
    }
    // The other direction has no faults.
    server.write_all(b"abc").unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 3);
}

#[test]
fn glued_messages_are_read_at_once() {
    let (mut client, mut server, _proxy) = pair(&["--glue", "300ms"]);
    client.write_all(b"ab").unwrap();
    thread::sleep(Duration::from_millis(50));
    client.write_all(b"cd").unwrap();
    let mut buffer = [0; 10];
    assert_eq!(server.read(&mut buffer).unwrap(), 4);
}

#[test]
fn a_delay_and_a_rate_take_their_time() {
    for (args, least) in [(["--delay", "200ms"], 390), (["--rate", "1k"], 250)] {
        let (mut client, mut server, _proxy) = pair(&args);
        let start = Instant::now();
        client.write_all(&[7; 200]).unwrap();
        assert_eq!(read::<200>(&mut server), [7; 200]);
        server.write_all(&[8; 200]).unwrap();
        assert_eq!(read::<200>(&mut client), [8; 200]);
        assert!(start.elapsed() >= Duration::from_millis(least), "{args:?} {:?}", start.elapsed());
    }
}

#[test]
fn a_flipped_bit_is_noticed_by_the_client() {
    let server = Server::start("echo", &[]);
    // The first byte of the reply after its length.
    let proxy = proxy("echo", server.addr, &["--flip", "4", "--down"]);
    let finished = client("echo", proxy.addr, &["0123456789abc"]).run();
    let line = finished.failure(1);
    assert!(
        line.starts_with("reply 1 is wrong at byte 0: got \"`bc\", expected \"abc\""),
        "{line}"
    );
}

#[test]
fn a_stalled_direction_ends_with_the_timeout() {
    let (mut client, mut server, proxy) =
        pair(&["--stall-after", "3", "--up", "--timeout", "600ms"]);
    client.write_all(b"abcdef").unwrap();
    assert_eq!(&read::<3>(&mut server), b"abc");
    proxy.process.wait_for("stalled to the server after 3 bytes");
    server.write_all(b"reply").unwrap();
    assert_eq!(&read::<5>(&mut client), b"reply");
    let (bytes, was_reset) = read_to_end(&mut server);
    assert!(bytes.is_empty() && (was_reset || !NOTICES_RESETS));
    proxy.process.wait_for("3 bytes to the server, 5 bytes to the client; reset after a timeout");
}

#[test]
fn the_timeout_of_a_client_covers_a_stall() {
    let server = Server::start("echo", &[]);
    let proxy = proxy("echo", server.addr, &["--stall-after", "5", "--down"]);
    let finished = client("echo", proxy.addr, &["0123456789abc", "--timeout", "500ms"]).run();
    let line = finished.failure(1);
    assert!(line.contains("in the middle of a message, after 5 of 7 bytes"), "{line}");
    proxy.process.wait_for("stalled to the client after 5 bytes");
}

#[test]
fn a_connection_is_closed_or_reset_after_a_number_of_bytes() {
    // A reset at once can make connecting fail.
    for (option, end, least) in [("--close-after", "closed", 0), ("--reset-after", "reset", 1)] {
        for after in [least, 3] {
            let (mut client, mut server, proxy) = pair(&[option, &after.to_string(), "--up"]);
            if after > 0 {
                client.write_all(b"abcdef").unwrap();
            }
            let (bytes, was_reset) = read_to_end(&mut server);
            assert_eq!(bytes, &b"abc"[..after], "{option}");
            assert!(was_reset == (end == "reset") || !NOTICES_RESETS, "{option} {after}");
            let (bytes, was_reset) = read_to_end(&mut client);
            assert!(bytes.is_empty() && (was_reset == (end == "reset") || !NOTICES_RESETS));
            drop((client, server));
            proxy.process.wait_for(&format!("{end} by a fault, to the server"));
        }
    }
}

/// The send queue of the proxy and the receive queue of the client hold a megabyte.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the system must report what is acknowledged")]
#[cfg_attr(feature = "windows", ignore = "Linux: the system must report what is acknowledged")]
fn a_reset_does_not_destroy_the_bytes_before_it() {
    const PASSED: usize = 900_000;
    for args in [["--reset-after", "900000", "--down"], ["--reset-after", "900k", "--down"]] {
        let (mut client, mut server, proxy) = pair(&args);
        let sender = thread::spawn(move || {
            // The reset may come before the last bytes are written.
            let _ = server.write_all(&vec![b'x'; 1_000_000]);
            server
        });
        let (bytes, was_reset) = read_to_end(&mut client);
        assert_eq!((bytes.len(), was_reset), (PASSED, true));
        drop(sender.join().unwrap());
        proxy.process.wait_for(&format!("{PASSED} bytes to the client; reset by a fault"));
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the system must report what is acknowledged")]
#[cfg_attr(feature = "windows", ignore = "Linux: the system must report what is acknowledged")]
fn bytes_that_a_reset_destroys_are_not_counted() {
    /// Less than the send queue of the proxy takes, and more than the client's system.
    const AFTER: u64 = 500_000;
    let (client, mut server, proxy) = pair(&["--reset-after", "500k", "--down", "--json"]);
    socket2::SockRef::from(&client).set_recv_buffer_size(1 << 14).unwrap();
    let sender = thread::spawn(move || {
        let _ = server.write_all(&vec![b'x'; 1_000_000]);
    });
    let event = proxy.process.wait_for_stdout("\"ended\"");
    sender.join().unwrap();
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    let lost = proxy.process.wait_for_stdout("\"not delivered\"");
    let lost: serde_json::Value = serde_json::from_str(&lost).unwrap();
    let [down, lost] = [&event["down"], &lost["bytes"]].map(|n| n.as_u64().unwrap());
    assert!(lost > 0 && down + lost == AFTER, "{down} and {lost}");
    drop(client);
}

#[test]
fn a_flipped_bit_leaves_a_mark_and_one_beyond_the_end_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let page = path.to_str().unwrap();
    for (offset, bytes, text, event) in [
        ("2", b"abbdef", "byte 2 to the server: lowest bit inverted by a fault", "flipped"),
        (
            "6",
            b"abcdef",
            "no bit inverted to the server: its stream ended before byte 6",
            "not flipped",
        ),
    ] {
        let (mut client, mut server, proxy) =
            pair(&["--flip", offset, "--up", "--json", "--html", page]);
        client.write_all(b"abcdef").unwrap();
        drop(client);
        assert_eq!(read_all(&mut server), bytes);
        drop(server);
        proxy.process.wait_for(text);
        let line = proxy.process.wait_for_stdout(&format!("\"event\":\"{event}\""));
        assert!(line.contains(&format!("\"offset\":{offset}")), "{line}");
        proxy.process.signal(STOP);
        proxy.process.finish().success();
        let html = std::fs::read_to_string(&path).unwrap();
        assert!(html.contains(text), "{html}");
    }
}

#[test]
fn if_the_server_refuses_the_client_is_reset_and_the_proxy_continues() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let proxy = proxy("raw", addr, &["--json"]);
    for _ in 0..2 {
        let (bytes, was_reset) = match TcpStream::connect(proxy.addr) {
            Ok(mut client) => read_to_end(&mut client),
            // It can be reset before that returns.
            Err(e) => (Vec::new(), e.kind() == std::io::ErrorKind::ConnectionReset),
        };
        assert!(bytes.is_empty() && (was_reset || !NOTICES_RESETS));
    }
    let line = proxy.process.wait_for("#2 ");
    let reason = format!(
        "cannot connect to {addr}: connection refused; is a server listening on that port?"
    );
    assert!(line.ends_with(&reason), "{line}");
    let event = proxy.process.wait_for_stdout("\"connection\":2");
    assert!(event.contains("\"outcome\":\"unreachable\""), "{event}");
    // All addresses that were tried are named.
    let port = addr.port();
    let by_name = Server::from_program(Program::socklab(&[
        "proxy",
        "raw",
        "0",
        &format!("localhost:{port}"),
    ]));
    // A reset at once can make connecting fail.
    drop(TcpStream::connect(by_name.addr));
    let line = by_name.process.wait_for("cannot connect to ");
    for addr in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert!(line.contains(&addr), "{line}");
    }
    // A server that is started later is reached.
    let listener = TcpListener::bind(addr).unwrap();
    let mut client = proxy.connect();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"x").unwrap();
    assert_eq!(&read::<1>(&mut client), b"x");
}

#[test]
fn an_unknown_name_and_a_used_port_end_the_proxy_at_once() {
    let run = |args: &[&str]| Program::socklab(&[&["proxy", "raw"], args].concat()).run();
    let finished = run(&["0", "nosuchhost.invalid:80"]);
    let line = finished.failure(3);
    let start = "cannot connect to nosuchhost.invalid:80: could not resolve host (";
    assert!(
        line.starts_with(start) && line.ends_with("check its spelling, or give an IP address"),
        "{line}"
    );

    let fake = FakeServer::new();
    let finished = run(&[&fake.addr.port().to_string(), "127.0.0.1:1"]);
    assert!(finished.failure(3).starts_with(&format!("cannot listen on {}: ", fake.addr)));
}

#[test]
fn usage_errors_name_what_is_expected() {
    for (args, text) in [
        (&["raw", "0"][..], "<HOST:PORT>"),
        (&["smtp", "0", "h:1"], "possible values: math, add"),
        (&["raw", "0", "h"], "expected HOST:PORT, such as localhost:8000"),
        (&["raw", "localhost", "h:1"], "expected PORT or BIND:PORT, such as 9000 or 0.0.0.0:9000"),
        (&["raw", "0", "h:1", "--cut", "0"], "expected a number of at least 1, or random"),
        (&["raw", "0", "h:1", "--rate", "fast"], "expected a number of bytes, such as 500, 10k"),
        (&["raw", "0", "h:1", "--delay", "5"], "a time needs a unit: 5ms or 5s?"),
        (&["raw", "0", "h:1", "--up"], "limits the faults to one direction, but none is given"),
        (&["raw", "0", "h:1", "--cut", "1", "--up", "--down"], "cannot be used with '--down'"),
        (&["raw", "0", "h:1", "--close-after", "1", "--reset-after", "2"], "cannot be used with"),
        (&["math", "0", "h:1", "--header", "2"], "--header is for echo; math has no such option"),
        (&["raw", "0", "h:1", "--gap", "1ms"], "required arguments were not provided"),
    ] {
        let finished = Program::socklab(&[&["proxy"], args].concat()).run();
        assert!(finished.failure(2).contains(text), "{args:?}: {finished:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    for ip in ["127.0.0.1", "localhost", "0.0.0.0", "[::]"] {
        for protocol in ["raw", "udp"] {
            let target = format!("{ip}:{port}");
            let finished = Program::socklab(&["proxy", protocol, &port, &target]).run();
            assert!(finished.failure(2).contains("is the proxy itself"), "{finished:?}");
        }
    }
}

#[test]
fn events_are_json_lines_and_a_signal_ends_the_proxy_with_0() {
    let fake = FakeServer::new();
    let proxy = proxy("raw", fake.addr, &["--json", "--cut", "random", "--seed", "5"]);
    let mut client = proxy.connect();
    let mut server = fake.accept();
    client.write_all(b"abc").unwrap();
    read::<3>(&mut server);
    let peer = client.local_addr().unwrap();
    drop(client);
    assert_eq!(read_all(&mut server), b"");
    drop(server);
    proxy.process.wait_for_stdout("\"ended\"");
    proxy.process.signal(STOP);
    let (addr, target) = (proxy.addr, fake.addr);
    let stdout = proxy.process.finish();
    let lines = String::from_utf8(stdout.success().to_vec()).unwrap();
    let expected = [
        format!(
            "{{\"event\":\"listening\",\"address\":\"{addr}\",\"servers\":[\"{target}\"],\"seed\":5}}"
        ),
        format!(
            "{{\"event\":\"connected\",\"connection\":1,\"peer\":\"{peer}\",\"server\":\"{target}\"}}"
        ),
        format!(
            "{{\"event\":\"ended\",\"connection\":1,\"peer\":\"{peer}\",\"server\":\"{target}\",\"up\":3,\
             \"down\":0,\"outcome\":\"closed\",\"first\":\"client\"}}"
        ),
        "{\"event\":\"stopped\"}".to_owned(),
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    let forwarding = format!("forwarding to {target}; seed 5\n");
    assert!(stdout.stderr.starts_with(&forwarding), "{}", stdout.stderr);
}

#[test]
fn the_second_signal_does_not_wait_for_open_connections() {
    let (mut client, _server, proxy) = pair(&[]);
    proxy.process.signal(STOP);
    // First, because an attempt to connect may be accepted just before the stop, and counts too.
    proxy.process.wait_for("for 1 open connection to end; Ctrl-C again resets them");
    let refused = || TcpStream::connect(proxy.addr).is_err().then_some(());
    wait_until(DEADLINE, refused).expect("no more clients are accepted");
    proxy.process.signal(STOP);
    let (_, was_reset) = read_to_end(&mut client);
    assert!(was_reset || !NOTICES_RESETS);
    let finished = proxy.process.finish();
    finished.success();
    assert!(finished.stderr.ends_with("reset: the proxy stopped\n"), "{}", finished.stderr);
}

#[test]
fn further_clients_wait_while_the_limit_is_reached() {
    let fake = FakeServer::new();
    let proxy = proxy("raw", fake.addr, &["--max-clients", "1"]);
    let (first, server) = (proxy.connect(), fake.accept());
    let mut second = proxy.connect();
    proxy.process.wait_for("serving 1 client, the limit; new clients have to wait");
    assert!(fake.try_accept().is_none());
    drop((first, server));
    let mut server = fake.accept();
    server.write_all(b"x").unwrap();
    assert_eq!(&read::<1>(&mut second), b"x");
}

/// A client needs two descriptors. One that took the last of them could not be served, and would be reset.
#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: ulimit")]
fn further_clients_wait_while_the_system_is_out_of_descriptors() {
    const CLIENTS: usize = 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let byte = &mut [0];
                stream.read_exact(byte).and_then(|()| stream.write_all(byte)).unwrap();
            });
        }
    });
    // The first clients have an even number of descriptors, or an odd one.
    for limit in [24, 25] {
        let line = format!("ulimit -n {limit}; exec \"$@\"");
        let proxy = Program::in_shell(&line, &["proxy", "raw", "0", &target]);
        let proxy = Server::from_program(proxy);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        for mut client in clients {
            assert_eq!(read_to_end(&mut client), (b"x".to_vec(), false), "limit {limit}");
        }
        proxy.process.wait_for("accepting connections again");
    }
}
