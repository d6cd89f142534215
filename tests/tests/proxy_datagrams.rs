//! `socklab proxy` for datagrams between programs: what it passes on, its faults, its limits, and what it reports.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socklab_tests::program::{DEADLINE, Finished, Program, STOP, Server, client};

/// Time after which nothing more is expected to arrive.
const SILENCE: Duration = Duration::from_millis(300);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Starts `socklab proxy PROTOCOL 0 TARGET` with these arguments.
fn proxy(protocol: &str, target: SocketAddr, args: &[&str]) -> Server {
    let target = target.to_string();
    Server::from_program(Program::socklab(&[&["proxy", protocol, "0", &target], args].concat()))
}

/// Returns a client of a proxy, the server that the test plays, and the proxy.
fn pair(args: &[&str]) -> (UdpSocket, UdpSocket, Server) {
    let (client, server) = (socket(), socket());
    let proxy = proxy("udp", server.local_addr().unwrap(), args);
    client.connect(proxy.addr).unwrap();
    (client, server, proxy)
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    receive_from(socket).0
}

fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(n);
    (buffer, from)
}

/// Receives until nothing has arrived for a while.
fn receive_all(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut all = Vec::new();
    while let Ok(n) = socket.recv(&mut buffer) {
        all.push(buffer[..n].to_vec());
    }
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    all
}

/// Stops a proxy. Returns its result.
fn stop(proxy: Server) -> Finished {
    proxy.process.signal(STOP);
    proxy.process.finish()
}

/// Stops a proxy, and returns the lines at its end about both directions.
fn summary(proxy: Server) -> [String; 2] {
    let finished = stop(proxy);
    finished.success();
    let stderr = finished.stderr;
    let lines: Vec<&str> = stderr.lines().collect();
    let [.., up, down] = lines[..] else { panic!("{stderr}") };
    [up, down].map(str::to_owned)
}

#[test]
fn datagrams_of_every_size_pass_unchanged_in_both_directions() {
    let (client, server, proxy) = pair(&[]);
    for len in [0, 1, 10, 576, 1472, 1473, 9000, 65_506, 65_507] {
        let bytes: Vec<u8> = (0..len).map(|n: usize| (n % 251) as u8).collect();
        client.send(&bytes).unwrap();
        let (received, from) = receive_from(&server);
        assert!(received == bytes, "{len} bytes to the server");
        server.send_to(&bytes, from).unwrap();
        assert!(receive(&client) == bytes, "{len} bytes to the client");
    }
    assert_eq!(
        summary(proxy),
        ["to the server: 9 datagrams: 9 passed", "to the client: 9 datagrams: 9 passed"]
    );
}

#[test]
fn each_client_gets_its_own_replies() {
    let server = socket();
    let proxy = proxy("raw", server.local_addr().unwrap(), &["--datagrams"]);
    let clients: Vec<UdpSocket> = (0..50).map(|_| socket()).collect();
    for round in 0..3 {
        for (n, client) in clients.iter().enumerate() {
            client.send_to(format!("{round}-{n}").as_bytes(), proxy.addr).unwrap();
        }
        // All replies are sent after all questions have arrived.
        let questions: Vec<_> = clients.iter().map(|_| receive_from(&server)).collect();
        for (question, from) in questions.into_iter().rev() {
            server.send_to(&question, from).unwrap();
        }
        for (n, client) in clients.iter().enumerate() {
            let (reply, from) = receive_from(client);
            assert_eq!(String::from_utf8_lossy(&reply), format!("{round}-{n}"));
            assert_eq!(from, proxy.addr);
        }
    }
    let [up, down] = summary(proxy);
    assert_eq!(up, "to the server: 150 datagrams: 150 passed");
    assert_eq!(down, "to the clients: 150 datagrams: 150 passed");
}

#[test]
fn each_fault_at_one_hundred_percent_and_limited_to_a_direction() {
    let (client, server, proxy) = pair(&["--drop", "1", "--up"]);
    client.send(b"lost").unwrap();
    assert_eq!(receive_all(&server), Vec::<Vec<u8>>::new());
    assert_eq!(
        summary(proxy),
        ["to the server: 1 datagram: 0 passed, 1 dropped", "to the client: 0 datagrams: 0 passed"]
    );

    let (client, server, proxy) = pair(&["--duplicate", "100%", "--down"]);
    client.send(b"once").unwrap();
    let (question, from) = receive_from(&server);
    assert_eq!((&question[..], receive_all(&server).len()), (&b"once"[..], 0));
    server.send_to(b"twice", from).unwrap();
    assert_eq!(receive_all(&client), [b"twice", b"twice"]);
    assert_eq!(
        summary(proxy),
        [
            "to the server: 1 datagram: 1 passed",
            "to the client: 1 datagram: 1 passed, 1 duplicated"
        ]
    );

    let (client, server, proxy) = pair(&["--reorder", "1", "--hold", "1min"]);
    for n in *b"123456" {
        client.send(&[n]).unwrap();
    }
    let expected: Vec<Vec<u8>> = b"214365".iter().map(|n| vec![*n]).collect();
    assert_eq!(receive_all(&server), expected);
    assert_eq!(summary(proxy)[0], "to the server: 6 datagrams: 6 passed, 3 reordered");

    let (client, server, _proxy) = pair(&["--delay", "150ms"]);
    let start = Instant::now();
    client.send(b"late").unwrap();
    let (question, from) = receive_from(&server);
    server.send_to(&question, from).unwrap();
    assert_eq!(receive(&client), b"late");
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn the_last_datagram_is_not_held_longer_than_its_maximum_time() {
    let (client, server, proxy) = pair(&["--reorder", "1", "--hold", "200ms", "--trace"]);
    let start = Instant::now();
    client.send(b"alone").unwrap();
    assert_eq!(receive(&server), b"alone");
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    proxy.process.wait_for("-| 61 6c 6f 6e 65");
    let line = proxy.process.wait_for("-> 61 6c 6f 6e 65");
    assert!(line.contains("[after "), "{line}");
}

#[test]
fn the_same_seed_has_the_same_effect() {
    let run = |seed: &str| {
        let args = ["--drop", "0.3", "--duplicate", "10%", "--reorder", "0.1", "--hold", "1min"];
        let (client, server, proxy) = pair(&[&args[..], &["--seed", seed]].concat());
        for n in 0..200_u8 {
            client.send(&[n]).unwrap();
        }
        (receive_all(&server).concat(), summary(proxy)[0].clone())
    };
    let (numbers, line) = run("7");
    assert_eq!(
        line,
        "to the server: 200 datagrams: 139 passed, 61 dropped, 10 duplicated, 12 reordered"
    );
    assert_eq!(numbers.len(), 139 + 10);
    assert_eq!(run("7"), (numbers.clone(), line));
    assert_ne!(run("8").0, numbers);
}

#[test]
fn clients_try_again_through_a_proxy_that_drops() {
    const MESSAGES: [&str; 4] =
        ["Four score and seven", "years ago our fathers", "brought forth", "on this continent"];
    let server = Server::start("udp", &[]);
    let run = |args: &[&str]| {
        let proxy = proxy("udp", server.addr, args);
        // Some tries have no effect on a busy machine. The number is large enough for that.
        let args = [&["--retries", "20"], &MESSAGES[..]].concat();
        (client("udp", proxy.addr, &args).run(), summary(proxy))
    };
    for direction in ["--up", "--down"] {
        let (finished, [up, down]) = run(&["--drop", "0.5", "--seed", "2", direction]);
        assert_eq!(
            String::from_utf8_lossy(finished.success()),
            " and seven\nour fathers\nrth\nntinent\n"
        );
        let is_dropped = [up, down].map(|line| line.contains(" dropped"));
        assert_eq!(is_dropped, [direction == "--up", direction == "--down"]);
    }
    let proxy = proxy("udp", server.addr, &["--drop", "1", "--down"]);
    let args = ["--timeout", "100ms", "--retries", "1", "Four score and seven"];
    let finished = client("udp", proxy.addr, &args).run();
    assert_eq!((finished.code, &finished.stdout[..]), (Some(1), &b""[..]), "{finished:?}");
    assert!(finished.stderr.contains("no reply to message 1, sent 2 times"), "{finished:?}");
    let [up, down] = summary(proxy);
    assert_eq!(up, "to the server: 2 datagrams: 2 passed");
    assert!(down.starts_with("to the client: 2 datagrams: 0 passed, 2 dropped"), "{down}");
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the proxy gets no report that a datagram did not arrive"
)]
fn a_server_that_does_not_listen_is_reported_and_can_be_started_later() {
    let server = socket();
    let addr = server.local_addr().unwrap();
    drop(server);
    let proxy = proxy("udp", addr, &["--trace"]);
    let client = socket();
    client.connect(proxy.addr).unwrap();
    client.send(b"first").unwrap();
    proxy.process.wait_for(&format!(
        "{}: {addr} is unreachable: connection refused; is a server listening on that port?",
        client.local_addr().unwrap()
    ));
    let server = UdpSocket::bind(addr).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send(b"second").unwrap();
    let (question, from) = receive_from(&server);
    assert_eq!(question, b"second");
    server.send_to(b"answer", from).unwrap();
    assert_eq!(receive(&client), b"answer");
    let [up, _] = summary(proxy);
    assert_eq!(up, "to the server: 2 datagrams: 1 passed, 1 refused by the server's system");
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Wine: the proxy gets no report that a datagram did not arrive"
)]
fn the_address_at_which_the_server_listens_is_found() {
    let Ok(server) = UdpSocket::bind("[::1]:0") else {
        eprintln!("skipped: IPv6 is off");
        return;
    };
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    for (server, name) in [(server, "IPv6"), (socket(), "IPv4")] {
        let target = format!("localhost:{}", server.local_addr().unwrap().port());
        let proxy = Server::from_program(Program::socklab(&["proxy", "udp", "0", &target]));
        let client = socket();
        client.connect(proxy.addr).unwrap();
        client.send(b"once").unwrap();
        let (question, from) = receive_from(&server);
        assert_eq!(question, b"once", "{name}");
        server.send_to(b"answer", from).unwrap();
        assert_eq!(receive(&client), b"answer", "{name}");
        // The next client begins with the address that has answered.
        let next = socket();
        next.send_to(b"next", proxy.addr).unwrap();
        assert_eq!(receive(&server), b"next", "{name}");
        let finished = stop(proxy);
        finished.success();
        // The address without a server was only a step on the way.
        assert!(!finished.stderr.contains("unreachable"), "{finished:?}");
        assert!(finished.stderr.contains("to the server: 2 datagrams: 2 passed\n"), "{finished:?}");
    }
}

#[test]
fn a_client_that_has_left_does_not_harm_the_others() {
    let (client, server, proxy) = pair(&[]);
    let gone = socket();
    gone.send_to(b"bye", proxy.addr).unwrap();
    let (_, from) = receive_from(&server);
    drop(gone);
    for n in 0..20 {
        server.send_to(b"reply", from).unwrap();
        client.send(&[n]).unwrap();
        let (question, from) = receive_from(&server);
        assert_eq!(question, [n]);
        server.send_to(&question, from).unwrap();
        assert_eq!(receive(&client), [n]);
    }
}

#[test]
fn an_idle_client_is_forgotten_and_can_come_back() {
    let (client, server, proxy) = pair(&["--timeout", "200ms"]);
    client.send(b"a").unwrap();
    let (_, first) = receive_from(&server);
    proxy.process.wait_for(
        ": 1 datagram to the server, 0 datagrams to the client; forgotten, because it was idle",
    );
    client.send(b"b").unwrap();
    let (question, second) = receive_from(&server);
    assert_eq!(question, b"b");
    // The reply to the socket that was closed does not arrive.
    server.send_to(b"late", first).unwrap();
    server.send_to(b"reply", second).unwrap();
    assert_eq!(receive(&client), b"reply");
}

#[test]
fn a_new_client_replaces_the_one_that_was_idle_for_longest() {
    let (first, server, proxy) = pair(&["--max-clients", "2"]);
    let (second, third) = (socket(), socket());
    let mut ports = Vec::new();
    for client in [&first, &second, &first] {
        // One after the other, in different rounds.
        std::thread::sleep(Duration::from_millis(20));
        client.send_to(b"x", proxy.addr).unwrap();
        ports.push(receive_from(&server).1);
    }
    third.send_to(b"x", proxy.addr).unwrap();
    receive(&server);
    let line = proxy.process.wait_for("forgotten, to make room for another client");
    assert!(line.starts_with(&format!("#2 {}: ", second.local_addr().unwrap())), "{line}");
    server.send_to(b"reply", ports[0]).unwrap();
    assert_eq!(receive(&first), b"reply");
}

#[test]
fn at_a_limited_rate_datagrams_wait_and_those_beyond_the_queue_are_dropped() {
    let (client, server, proxy) = pair(&["--rate", "1k", "--up"]);
    let start = Instant::now();
    for _ in 0..3 {
        client.send(&[0; 100]).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(receive(&server).len(), 100);
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    stop(proxy).success();

    let (client, server, proxy) = pair(&["--rate", "1", "--up"]);
    // The system may drop some before the proxy receives them.
    for _ in 0..20_000 {
        client.send(b"0123456789").unwrap();
    }
    assert!(receive_all(&server).is_empty());
    let [up, down] = summary(proxy);
    assert!(up.contains(", 1000 still waiting"), "{up}");
    assert!(up.contains("dropped because too many waited"), "{up}");
    assert!(!down.contains("dropped"), "{down}");
}

#[test]
fn a_flood_is_dropped_in_bounded_memory() {
    let (client, server, proxy) = pair(&["--delay", "1min", "--up"]);
    client.send(b"x").unwrap();
    let before = memory(&proxy);
    let bytes = vec![0; 10_000];
    for _ in 0..20_000 {
        client.send(&bytes).unwrap();
    }
    // Replies have no delay, and pass meanwhile.
    assert!(receive_all(&server).is_empty());
    assert!(memory(&proxy) <= before + (16 << 20), "{before} to {}", memory(&proxy));
    let [up, _] = summary(proxy);
    assert!(up.contains("dropped because too many waited"), "{up}");
    assert!(up.contains("still waiting"), "{up}");
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
fn the_trace_shows_what_happened_to_each_datagram() {
    let (client, server, proxy) = pair(&["--trace", "--duplicate", "1", "--down"]);
    client.send(b"\x1b[31mred\n").unwrap();
    let (_, from) = receive_from(&server);
    server.send_to(b"", from).unwrap();
    for _ in 0..2 {
        assert_eq!(receive(&client), b"");
    }
    proxy.process.wait_for("<-  ");
    proxy.process.wait_for("empty datagram [duplicate]");
    let stderr = stop(proxy).stderr;
    assert!(stderr.contains(r#"-> 1b 5b 33 31 6d 72 65 64 0a "#), "{stderr}");
    assert!(!stderr.contains('\x1b'), "{stderr}");
}

#[test]
fn a_capture_has_what_was_sent_and_a_picture_also_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (pcap, page) = (folder.path().join("a.pcap"), folder.path().join("a.html"));
    let files = ["--pcap", pcap.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let (client, server, proxy) = pair(&[&files[..], &["--duplicate", "1", "--up"]].concat());
    client.send(b"<twice>").unwrap();
    let (_, from) = receive_from(&server);
    assert_eq!(receive(&server), b"<twice>");
    server.send_to(b"reply", from).unwrap();
    assert_eq!(receive(&client), b"reply");
    stop(proxy).success();
    let bytes = std::fs::read(&pcap).unwrap();
    let count = |text: &[u8]| bytes.windows(text.len()).filter(|part| *part == text).count();
    assert_eq!((count(b"<twice>"), count(b"reply")), (2, 1));
    let html = std::fs::read_to_string(&page).unwrap();
    let arrows = html.matches("<div class=\"s\" aria-hidden=\"true\"><i></i><b></b></div>").count();
    assert_eq!((arrows, html.matches("<span>duplicate</span>").count()), (3, 1), "{html}");
    assert!(!html.contains("<twice>"), "{html}");

    let args = ["--html", page.to_str().unwrap(), "--drop", "1"];
    let (client, server, proxy) = pair(&args);
    client.send(b"lost").unwrap();
    assert!(receive_all(&server).is_empty());
    stop(proxy).success();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<span class=\"lost\"></span></div>"), "{html}");
    assert!(html.contains("<span>dropped</span>"), "{html}");
}

#[test]
fn events_describe_each_datagram() {
    let (client, server, proxy) = pair(&["--json", "--drop", "1", "--down"]);
    client.send(b"question").unwrap();
    let (_, from) = receive_from(&server);
    server.send_to(b"answer", from).unwrap();
    proxy.process.wait_for_stdout(r#""fate":"dropped""#);
    let finished = stop(proxy);
    let stdout = String::from_utf8_lossy(finished.success()).into_owned();
    let events: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["listening", "opened", "datagram", "datagram", "ended", "summary", "stopped"]
    );
    assert_eq!((&events[2]["to"], &events[2]["fate"]), (&"server".into(), &"sent".into()));
    assert_eq!((&events[3]["to"], &events[3]["bytes"]), (&"client".into(), &6.into()));
    assert_eq!(events[5]["up"]["passed"], 1);
    assert_eq!(events[5]["down"]["dropped"], 1);
}

#[test]
fn options_of_the_other_kind_are_usage_errors_with_the_reason() {
    let cases: [(&[&str], &str); 9] = [
        (&["udp", "--cut", "1"], "--cut is for streams: a datagram arrives as a whole"),
        (&["udp", "--glue", "1s"], "--glue is for streams: each datagram arrives by itself"),
        (&["udp", "--close-after", "1"], "--close-after is for streams: datagrams have no conn"),
        (&["raw", "--datagrams", "--flip", "1"], "--flip is for streams: "),
        (&["echo", "--drop", "0.1"], "--drop is for datagrams; a stream hides that"),
        (&["raw", "--reorder", "0.1"], "--reorder is for datagrams; a stream hides that"),
        (&["echo", "--datagrams"], "--datagrams is for raw: echo has connections"),
        (&["udp", "--up"], "--up limits the faults to one direction, but none is given"),
        (&["udp", "--drop", "30"], "expected a probability from 0 to 1, such as 0.3"),
    ];
    for (args, text) in cases {
        let args = [&["proxy", args[0], "0", "127.0.0.1:9"], &args[1..]].concat();
        let finished = Program::socklab(&args).run();
        let line = finished.failure(2);
        assert!(line.contains(text), "{args:?}: {line}");
    }
}

#[test]
fn a_proxy_without_clients_stops_at_once() {
    let (_, _, proxy) = pair(&["--drop", "0.5", "--seed", "4"]);
    let stderr = stop(proxy).stderr;
    assert!(stderr.contains("; seed 4\n"), "{stderr}");
    assert!(!stderr.contains("to the server:"), "{stderr}");
}
