//! The program as a user meets it: every exit code, every reported ending, and what is written to
//! stdout and to stderr. The test plays the peer, so each case is exact.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socklab_tests::program::{DEADLINE, FakeServer, Program, STOP, Server, client, wait_until};
use socklab_tests::protocols::PROTOCOLS;

mod usage {
    use super::*;

    #[test]
    fn wrong_arguments_are_reported_in_one_line_with_code_2() {
        for (args, text) in [
            (
                &["math", "client", "localhost", "0"][..],
                "'0' for '[PORT]': expected a number from 1 to 65535",
            ),
            (
                &["math", "client", "localhost", "x"],
                "'x' for '[PORT]': expected a number; see --help",
            ),
            (
                &["math", "client", "localhost", "70000"],
                "'70000' for '[PORT]': expected a number from 1 to 65535",
            ),
            (&["math", "client", "localhost", "-1"], "-1"),
            (&["math", "client", "localhost", "http"], "http"),
            (&["math", "client", "localhost", "8000", "more"], "more"),
            (
                &["echo", "client", "localhost", "0", "message"],
                "'0' for '[PORT]': expected a number from 1 to 65535",
            ),
            (&["echo", "client", "localhost", "70000"], "70000"),
            (&["math", "server", "70000"], "expected a port from 0 to 65535"),
            (&["math", "server", "1.2.3.4:70000"], "expected a port from 0 to 65535"),
            (&["math", "server", ":8000"], "expected an address before the colon"),
            (&["math", "server", "::1"], "such as [::1]:8000"),
            (&["math", "server", "0", "--rounds", "20-5"], "the range is empty"),
            (&["math", "server", "0", "--rounds", "many"], "5-20"),
            (&["math", "server", "0", "--secret", "short"], "expected exactly 8 bytes, not 5"),
            (&["math", "server", "0", "--secret", "sésame99"], "not 9"),
            (&["math", "server", "0", "--seed", "x"], "--seed"),
            (&["math", "client", "--timeout", "0"], "more than 0"),
            (&["math", "client", "--timeout", "soon"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout", "-1"], "30, 500ms or 2min"),
            (&["coin", "server", "--pace", "-1"], "30ms, 2s or 1min"),
            (&["chat", "client", "12345"], "a host before the port, such as localhost:12345"),
            (&["math", "client", "--timeout", "nan"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout", "1e300"], "30, 500ms or 2min"),
            (&["math", "client", "--timeout"], "--timeout"),
            (&["echo", "client", "--buffer", "0"], "from 1 to 65536"),
            (&["echo", "client", "--buffer", "65537"], "from 1 to 65536"),
            (&["maths", "client"], "maths"),
            (&["math", "clientele"], "clientele"),
            (&["math", "client", "--colour"], "--colour"),
            (&["completions", "cmd.exe"], "bash"),
            (&["completions"], "SHELL"),
        ] {
            let finished = Program::socklab(args).run();
            let line = finished.failure(2);
            assert!(line.contains(text), "{args:?}: {line}");
            assert_eq!(finished.stdout, b"", "{args:?}");
        }
    }

    #[test]
    #[cfg_attr(feature = "windows", ignore = "Unix: an argument of any bytes")]
    fn an_argument_that_is_not_utf_8_is_reported_in_one_line() {
        use std::os::unix::ffi::OsStrExt as _;
        let args = ["echo", "client", "localhost", "1"].map(std::ffi::OsStr::new);
        let args = [&args[..], &[std::ffi::OsStr::from_bytes(b"\xff")]].concat();
        let finished = Program::socklab(&args).run();
        assert!(finished.failure(2).contains("UTF-8"), "{finished:?}");
    }

    #[test]
    fn a_line_break_in_an_argument_does_not_break_the_error_line() {
        let host = "two\nlines\u{1b}[31m";
        let finished = Program::socklab(&["math", "client", host, "1"]).run();
        assert!(!finished.failure(3).contains('\u{1b}'), "{finished:?}");
        let finished = Program::socklab(&["math", host]).run();
        assert!(!finished.failure(2).contains('\u{1b}'), "{finished:?}");
    }

    #[test]
    fn without_a_command_the_usage_is_shown_with_code_2() {
        for args in [&[][..], &["math"], &["echo"]] {
            let finished = Program::socklab(args).run();
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(finished.stderr.contains("Usage:"), "{finished:?}");
            assert_eq!(finished.stdout, b"");
        }
    }

    #[test]
    fn help_version_completions_and_manual_are_written_to_stdout() {
        for args in [
            &["--help"][..],
            &["--version"],
            &["math", "--help"],
            &["math", "client", "--help"],
            &["echo", "server", "-h"],
            &["man"],
        ] {
            let finished = Program::socklab(args).run();
            let text = String::from_utf8(finished.success().to_vec()).unwrap();
            assert!(text.contains("socklab"), "{args:?}");
            assert_eq!(finished.stderr, "", "{args:?}");
            #[cfg(target_os = "linux")]
            {
                let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
                let lost = Program::socklab(args).stdout(full).run();
                assert!(lost.failure(3).contains("no space left"), "{lost:?}");
            }
        }
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let finished = Program::socklab(&["completions", shell]).run();
            let text = String::from_utf8(finished.success().to_vec()).unwrap();
            let protocols = PROTOCOLS.iter().map(|protocol| protocol.name);
            for word in protocols.chain(["socklab", "client", "full-range", "timeout"]) {
                assert!(text.contains(word), "no {word} for {shell}");
            }
        }
        // A page for the program and one for each of its commands.
        for (args, words) in [
            (&["man"][..], &[".TH socklab 1", ".SH NAME", ".SH \"EXIT STATUS\""][..]),
            (&["man", "math", "server"], &[".TH socklab-math-server 1", "full\\-range"]),
            (&["man", "echo", "client"], &[".TH socklab-echo-client 1", "buffer"]),
        ] {
            let page = Program::socklab(args).run();
            let page = String::from_utf8(page.success().to_vec()).unwrap();
            for word in words {
                assert!(page.contains(word), "no {word} in {args:?}: {page}");
            }
        }
        let page = Program::socklab(&["man"]).run();
        let page = String::from_utf8(page.success().to_vec()).unwrap();
        for protocol in PROTOCOLS {
            for role in ["client", "server"] {
                let head = format!(".SS \"socklab {} {role} ", protocol.name);
                assert!(page.contains(&head), "no {head}: {page}");
            }
        }
        let finished = Program::socklab(&["man", "no", "such"]).run();
        assert!(finished.failure(2).contains("no such"), "{finished:?}");
    }
}

mod connecting {
    use super::*;

    #[test]
    fn a_host_that_cannot_be_resolved_is_reported() {
        for host in ["no-such-host.invalid", "a..b", "256.1.1.1"] {
            let args = ["math", "client", host, "8000", "--timeout", "15s"];
            let line = Program::socklab(&args).run();
            let line = line.failure(3);
            assert!(line.starts_with("cannot connect to "), "{line}");
            assert!(line.contains(host) && line.contains("8000"), "{line}");
        }
    }

    #[test]
    fn a_port_without_a_listener_is_reported() {
        // Bound but not listening, so that no other program can take the port.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        for protocol in ["math", "echo"] {
            let finished = client(protocol, addr, &[]).run();
            let expected = format!(
                "cannot connect to {addr}: connection refused; is a server listening on that port?"
            );
            assert_eq!(finished.failure(3), expected);
            assert_eq!(finished.stdout, b"");
        }
    }

    #[test]
    fn localhost_connects_over_ipv4_and_over_ipv6() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let fake = FakeServer::on(bind);
            let port = fake.addr.port().to_string();
            let process = Program::socklab(&["math", "client", "localhost", &port]).start();
            fake.accept().write_all(b"Sopensesm").unwrap();
            assert_eq!(process.finish().success(), b"opensesm\n", "{bind}");
        }
    }

    #[test]
    fn an_ipv6_address_may_be_in_brackets() {
        for host in ["::1", "[::1]"] {
            let fake = FakeServer::on("[::1]:0");
            let port = fake.addr.port().to_string();
            let process = Program::socklab(&["math", "client", host, &port]).start();
            fake.accept().write_all(b"Sopensesm").unwrap();
            assert_eq!(process.finish().success(), b"opensesm\n", "{host}");
        }
    }

    #[test]
    fn a_server_on_all_addresses_accepts_ipv4_and_ipv6() {
        let server = Server::start("math", &[]);
        drop(server);
        for bind in ["[::]:0", "[::1]:0", "0.0.0.0:0", "localhost:0"] {
            let server = Server::from_program(Program::socklab(&["math", "server", bind]));
            let port = server.addr.port().to_string();
            let finished = Program::socklab(&["math", "client", "localhost", &port]).run();
            assert_eq!(finished.success().len(), 9, "{bind}");
            if bind == "[::]:0" {
                let finished = Program::socklab(&["math", "client", "127.0.0.1", &port]).run();
                assert_eq!(finished.success().len(), 9);
                server.process.wait_for("127.0.0.1:");
            }
        }
    }

    #[test]
    fn the_timeout_limits_the_connect() {
        // The backlog is full, so further connects get no answer.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = socket.unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        // The OS may accept a few more than the backlog.
        let full = wait_until(2 * DEADLINE, || {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
                Ok(stream) => fillers.push(stream),
                Err(_) => return Some(()),
            }
            None
        });
        full.expect("the backlog does not fill");
        let finished = client("math", addr, &["--timeout", "400ms"]).run();
        let expected = format!("cannot connect to {addr}: no answer within 400ms");
        assert_eq!(finished.failure(3), expected);
        // The default of 30 s would exceed the deadline of the test.
        assert!(finished.took >= Duration::from_millis(400), "{finished:?}");
    }

    #[test]
    fn a_port_in_use_is_reported() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        for protocol in ["math", "echo"] {
            let finished = Program::socklab(&[protocol, "server", &addr.port().to_string()]).run();
            let expected = format!(
                "cannot listen on {addr}: address already in use; give another port, or 0 for a \
                 free one"
            );
            assert_eq!(finished.failure(3), expected);
        }
        // Also if the port is used by another of our servers.
        let server = Server::start("math", &[]);
        let port = server.addr.port().to_string();
        let finished = Program::socklab(&["math", "server", &port]).run();
        assert!(finished.failure(3).contains("in use"), "{finished:?}");
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
    }

    #[test]
    fn an_address_of_another_machine_is_reported() {
        for (bind, text) in [
            // TEST-NET-1 is never an address of a machine.
            ("192.0.2.1:0", "give an address of this machine"),
            ("no-such-host.invalid:0", "cannot listen on no-such-host.invalid:0: "),
        ] {
            let finished = Program::socklab(&["echo", "server", bind]).run();
            assert!(finished.failure(3).contains(text), "{finished:?}");
        }
    }

    #[test]
    fn a_restarted_server_gets_its_port_back_at_once() {
        let server = Server::start("math", &[]);
        // The server closes first, so the port has connections in TIME_WAIT.
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
        let port = server.addr.port().to_string();
        server.process.signal(STOP);
        server.process.finish().success();
        let server = Server::from_program(Program::socklab(&["math", "server", &port]));
        assert_eq!(server.client("math", &[]).run().success().len(), 9);
    }
}
