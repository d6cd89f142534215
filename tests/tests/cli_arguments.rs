//! Arguments: addresses in one word or two, times with and without a unit, options where they have
//! a meaning, and usage errors as events.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use socklab_tests::program::{FakeServer, Program, Server, message};

/// Runs a command that must be refused and returns its error line.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let finished = Program::socklab(args).run();
    assert_eq!(finished.stdout, b"", "{args:?}");
    finished.failure(2).to_owned()
}

#[test]
fn a_client_accepts_host_and_port_in_one_word_or_in_two() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let fake = FakeServer::on(bind);
        let port = fake.addr.port().to_string();
        let ip = fake.addr.ip().to_string();
        let bracketed = format!("[{ip}]");
        let one_word = fake.addr.to_string();
        let mut all = vec![vec![one_word.as_str()], vec![&ip, &port]];
        if bind.starts_with('[') {
            all.push(vec![&bracketed, &port]);
        }
        let local = format!("localhost:{port}");
        all.push(vec![&local]);
        for address in all {
            let args = [&["math", "client"][..], &address].concat();
            let process = Program::socklab(&args).start();
            fake.accept().write_all(b"Sopensesm").unwrap();
            assert_eq!(process.finish().success(), b"opensesm\n", "{address:?}");
        }
    }
}

#[test]
fn every_client_accepts_host_and_port_in_one_word() {
    for protocol in ["add", "hello", "chat", "coin", "guess", "rps"] {
        let fake = FakeServer::new();
        let addr = fake.addr.to_string();
        let mut args = vec![protocol, "client", &addr];
        if protocol == "add" {
            args.extend(["--name", "Ada", "--number", "7"]);
        }
        let process = Program::socklab(&args).with_stdin().start();
        drop(fake.accept());
        let finished = process.finish_with_stdin_open();
        assert!(finished.code.is_some_and(|code| code < 2), "{finished:?}");
    }
}

#[test]
fn the_first_message_of_echo_may_follow_an_address_in_one_word() {
    let server = Server::start("echo", &[]);
    let addr = server.addr.to_string();
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    for address in [&[addr.as_str()][..], &[&host, &port]] {
        let args = [&["echo", "client"], address, &["0123456789one", "0123456789two"]].concat();
        assert_eq!(Program::socklab(&args).run().success(), b"one\ntwo\n", "{address:?}");
    }
    // A number after an address with a port is a message.
    let finished = Program::socklab(&["echo", "client", &addr, "12345678901"]).run();
    assert_eq!(finished.success(), b"1\n");
    let finished = Program::socklab(&["echo", "client", &addr]).run_with("0123456789line\n");
    assert_eq!(finished.success(), b"line\n");
}

#[test]
fn a_server_accepts_address_and_port_in_one_word_or_in_two() {
    for listen in [
        &["0"][..],
        &["127.0.0.1:0"],
        &["127.0.0.1", "0"],
        &["localhost", "0"],
        &["::1", "0"],
        &["[::1]", "0"],
        &["[::1]:0"],
    ] {
        for protocol in ["math", "file", "chat", "rps"] {
            let args = [&[protocol, "server"], listen].concat();
            let server = Server::from_program(Program::socklab(&args).with_stdin());
            assert!(server.addr.ip().is_loopback(), "{args:?}: {}", server.addr);
            assert_eq!(server.addr.is_ipv6(), listen[0].contains("::1"), "{args:?}");
        }
    }
}

#[test]
fn an_invalid_address_is_reported_with_a_valid_example() {
    for (args, text) in [
        (&["math", "client", "http://localhost:8000/quiz"][..], "not a URL; try localhost:8000"),
        (&["echo", "client", "tcp://localhost:4567", "message"], "not a URL; try localhost:4567"),
        (&["math", "server", "http://localhost:8000"], "not a URL; try localhost:8000"),
        (
            &["file", "client", "http://localhost:12001/a.txt", "a"],
            "not a URL, such as localhost:12001:a.txt",
        ),
        (&["math", "client", "localhost:"], "a port from 1 to 65535 after the colon"),
        (&["math", "client", "localhost:0"], "a port from 1 to 65535 after the colon"),
        (&["math", "client", "localhost:http"], "a port from 1 to 65535 after the colon"),
        (&["math", "client", ":8000"], "such as localhost:8000"),
        (&["math", "client", ""], "such as localhost:8000"),
        (&["math", "client", "8000"], "a host before the port, such as localhost:8000"),
        (&["math", "client", "[::1"], "in brackets, such as [::1]:8000"),
        (&["math", "client", "::1:80000"], "in brackets, such as [::1]:8000"),
        (&["math", "client", "a:b:c"], "in brackets, such as [::1]:8000"),
        (&["math", "client", "localhost:1", "2"], "the port is given twice, as 1 and as 2"),
        (&["math", "server", "localhost:1", "2"], "the port is given twice, as 1 and as 2"),
        (&["math", "server", "1", "2"], "the port is given twice, as 1 and as 2"),
        (&["math", "server", "0.0.0.0"], "a port after the address, such as 0.0.0.0:8000"),
        (&["chat", "server", "::"], "a port after the address, such as [::]:12345"),
    ] {
        let line = refused(args);
        assert!(line.contains(text), "{args:?}: {line}");
    }
}

#[test]
fn a_pause_needs_a_unit_and_a_timeout_without_one_is_in_seconds() {
    for (args, text) in [
        (&["coin", "server", "--pace", "30"][..], "30ms or 30s?"),
        (&["guess", "server", "--pace", "1.5"], "1.5ms or 1.5s?"),
        (&["rps", "server", "--pace", "1"], "1ms or 1s?"),
        (&["hello", "server", "--gap", "100"], "100ms or 100s?"),
        (&["hello", "server", "--gap", "nan"], "30ms, 2s or 1min"),
        (&["coin", "server", "--pace", "1e99"], "30ms, 2s or 1min"),
    ] {
        assert!(refused(args).contains(text), "{args:?}");
    }
    for args in
        [&["coin", "server", "0", "--pace", "0"][..], &["hello", "server", "0", "--gap", "1s"]]
    {
        Server::from_program(Program::socklab(args));
    }
    // Without a unit in seconds, as with curl.
    let fake = FakeServer::new();
    let addr = fake.addr.to_string();
    let process = Program::socklab(&["math", "client", &addr, "--timeout", "0.2"]).start();
    let _stream = fake.accept();
    assert!(process.finish().failure(1).contains("(200ms; "));
}

#[test]
fn options_of_clients_and_servers_are_refused_where_they_have_no_meaning() {
    for args in [
        &["completions", "bash", "--trace"][..],
        &["completions", "bash", "--timeout", "1s"],
        &["man", "--trace"],
        &["man", "-v"],
        &["--trace", "math", "client"],
        &["math", "--trace", "client"],
    ] {
        let line = refused(args);
        let option = args.iter().find(|arg| arg.starts_with('-')).unwrap();
        assert!(line.contains(&format!("socklab math client {option}")), "{args:?}: {line}");
        assert!(line.ends_with("; see --help"), "{line}");
    }
    // Before and after the address.
    for args in [&["math", "client", "--trace", "ADDR"], &["math", "client", "ADDR", "--trace"]] {
        let fake = FakeServer::new();
        let addr = fake.addr.to_string();
        let args = args.map(|arg| if arg == "ADDR" { &addr } else { arg });
        let process = Program::socklab(&args).start();
        fake.accept().write_all(b"Sopensesm").unwrap();
        let finished = process.finish();
        assert_eq!(finished.success(), b"opensesm\n");
        assert!(finished.stderr.contains("S secret"), "{finished:?}");
    }
}

#[test]
fn a_usage_error_is_an_event_too() {
    for args in [
        &["math", "client", "--json", "http://x"][..],
        &["math", "client", "localhost:1", "2", "--json"],
        &["math", "client", "--colour", "--json"],
        &["maths", "--json"],
        &["--json"],
        &["math", "--json"],
        &["--json", "math", "client"],
        &["man", "--json"],
        &["file", "client", "a", "-", "--json"],
        &["echo", "client", "localhost", "0", "--json", "--", "message"],
    ] {
        let finished = Program::socklab(args).run();
        let line = finished.failure(2);
        let event: Value = serde_json::from_slice(&finished.stdout).unwrap_or_else(|e| {
            panic!("{args:?}: {e}: {finished:?}");
        });
        assert_eq!(event, json!({ "event": "error", "message": line, "code": 2 }), "{args:?}");
    }
    // After -- it is a message.
    let finished = Program::socklab(&["echo", "client", "localhost", "0", "--", "--json"]).run();
    finished.failure(2);
    assert_eq!(finished.stdout, b"");
}

#[test]
fn an_interrupt_is_an_event_with_the_exit_code() {
    let fake = FakeServer::new();
    let addr = fake.addr.to_string();
    let args = ["chat", "client", &addr, "--json"];
    let process = Program::socklab(&args).with_stdin().start();
    let mut stream = fake.accept();
    process.wait_for_stdout("connected");
    process.signal("INT");
    stream.read_to_end(&mut Vec::new()).unwrap();
    let finished = process.finish_with_stdin_open();
    assert_eq!(finished.failure(130), "interrupted");
    let stdout = String::from_utf8(finished.stdout).unwrap();
    let event: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(event, json!({ "event": "error", "message": "interrupted", "code": 130 }));
}

#[test]
fn the_log_level_follows_v_and_rust_log() {
    let run = |args: &[&str], level: Option<&str>| {
        let fake = FakeServer::new();
        let addr = fake.addr.to_string();
        let args = [&["echo", "client", &addr, "0123456789x"], args].concat();
        let mut program = Program::socklab(&args);
        if let Some(level) = level {
            program = program.env("RUST_LOG", level);
        }
        let process = program.start();
        let mut stream = fake.accept();
        let mut sent = [0; 15];
        stream.read_exact(&mut sent).unwrap();
        stream.write_all(&message(b"x")).unwrap();
        drop(stream);
        let finished = process.finish();
        assert_eq!(finished.success(), b"x\n");
        finished.stderr
    };
    assert_eq!(run(&[], None), "");
    assert!(run(&["-v"], None).contains("socklab: debug: "));
    assert!(run(&[], Some("socklab=debug")).contains("socklab: debug: "));
    assert!(
        run(&["-v"], Some("off")).contains("socklab: debug: "),
        "an option takes precedence over a variable"
    );
    assert_eq!(run(&[], Some("off")), "");
    // Other crates are named in their log lines.
    assert!(run(&[], Some("trace")).contains("socklab: trace: mio::"));
}
