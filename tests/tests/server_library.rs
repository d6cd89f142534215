//! The library without the program: clients and servers in this process, on real sockets.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socklab::net::{Client, Internal, Limits, Running, Server, Target};
use socklab::{add, echo, math};
use socklab_core::machine::Invalid;
use socklab_tests::program::{DEADLINE, FakeServer, Server as Program, message, read, wait_until};

/// Runs a function in a thread. If it hangs, the test fails instead of blocking the test run.
#[track_caller]
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (report, reports) = mpsc::channel();
    let thread = thread::spawn(move || report.send(what()));
    match reports.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("the thread ended without a result"),
        },
    }
}

fn echo_server() -> Running {
    Server::bind("127.0.0.1:0", echo::Service::new()).unwrap().start().unwrap()
}

fn quiz(options: math::Options) -> Running {
    Server::bind("127.0.0.1:0", math::Service::new(options)).unwrap().start().unwrap()
}

fn connect_fails(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_err()
}

/// Sends 10,000 messages of 1 KB before the first reply is received: 10 MB in each direction, more
/// than any socket holds.
#[test]
fn ten_thousand_messages_are_sent_before_the_first_reply_is_received() {
    // Against a server in this process, and against the program: a server stops reading while its
    // replies are not read.
    let program = Program::start("echo", &[]);
    let running = echo_server();
    for addr in [program.addr, running.local_addr()] {
        in_time(move || {
            let mut client = echo::Client::connect(addr).unwrap();
            for n in 0..10_000 {
                client.send_message(format!("0123456789{n:01014}").as_bytes()).unwrap();
            }
            assert_eq!(client.missing(), 10_000);
            for n in 0..10_000 {
                let reply = client.receive_message().unwrap();
                assert_eq!(reply, format!("{n:01014}").as_bytes());
            }
            assert_eq!(client.missing(), 0);
            client.shutdown().unwrap();
        });
    }
    running.stop().unwrap();
}

#[test]
fn a_message_larger_than_all_buffers_is_received_with_small_reads() {
    let running = echo_server();
    let addr = running.local_addr();
    in_time(move || {
        let target = Target::from(addr);
        let machine = echo::client::Client::new();
        let client = Client::dial(&target, machine, 100, Some(DEADLINE)).unwrap();
        let mut client = echo::Client::from(client);
        let long: Vec<u8> = (0..20_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        client.send_message(b"").unwrap();
        client.send_message(&long).unwrap();
        client.send_message(b"short").unwrap();
        assert_eq!(client.receive_message().unwrap(), b"");
        assert!(client.receive_message().unwrap() == long[10..], "the long one is wrong");
        assert_eq!(client.receive_message().unwrap(), b"");
    });
}

#[test]
fn a_receive_without_a_message_in_flight_is_refused() {
    let running = echo_server();
    let addr = running.local_addr();
    in_time(move || {
        let mut client = echo::Client::connect(addr).unwrap();
        assert!(matches!(client.receive_message(), Err(socklab::net::Error::Refused(_))));
        // The client still works afterwards.
        client.send_message(b"0123456789x").unwrap();
        assert_eq!(client.receive_message().unwrap(), b"x");
        assert!(matches!(client.receive_message(), Err(socklab::net::Error::Refused(_))));
    });
}

/// The test of the protocol document: a server shuts down while its client keeps sending.
#[test]
fn a_server_that_stops_is_reported_and_the_error_repeats() {
    let running = echo_server();
    let mut client = echo::Client::connect(running.local_addr()).unwrap();
    client.send_message(b"0123456789before").unwrap();
    assert_eq!(client.receive_message().unwrap(), b"before");
    running.stop().unwrap();
    in_time(move || {
        // The OS may still accept the first message.
        let sent: Vec<bool> = (0..5).map(|_| client.send_message(b"after").is_ok()).collect();
        let error = client.receive_message().unwrap_err().to_string();
        assert!(error.starts_with("the server "), "{error} after {sent:?}");
        assert_eq!(client.receive_message().unwrap_err().to_string(), error);
        // Whether a send notices the end depends on the OS. A receive does, and does not wait.
        let _ = client.send_message(b"more");
        let error = client.receive_message().unwrap_err().to_string();
        assert!(error.starts_with("the server "), "{error}");
    });
}

#[test]
fn shutdown_closes_the_sending_side() {
    let fake = FakeServer::new();
    let mut client = echo::Client::connect(fake.addr).unwrap();
    let mut stream = fake.accept();
    client.send_message(b"0123456789").unwrap();
    client.shutdown().unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, message(b"0123456789"));
}

#[test]
fn math_solve_returns_the_secret_or_reports_the_ending() {
    let running = quiz(math::Options { secret: Some(*b"opensesm"), ..Default::default() });
    for _ in 0..20 {
        let client = math::Client::connect(running.local_addr()).unwrap();
        assert_eq!(client.solve().unwrap().0, *b"opensesm");
    }
    running.stop().unwrap();

    let fake = FakeServer::new();
    let client = math::Client::connect(fake.addr).unwrap();
    drop(fake.accept());
    let error = client.solve().unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection before it sent any message");

    let timeout = Some(Duration::from_millis(200));
    let client = math::Client::connect(fake.addr).unwrap().timeout(timeout);
    let _silent = fake.accept();
    let error = in_time(move || client.solve().unwrap_err().to_string());
    assert_eq!(error, "the server sent nothing in time");
}

#[test]
fn a_server_of_the_library_reports_its_sessions() {
    let (report, reports) = mpsc::channel();
    let options = math::Options { rounds: (3, 3), ..Default::default() };
    let service = math::Service::new(options);
    let secret = service.secret();
    let server = Server::bind("127.0.0.1:0", service).unwrap();
    let running = server.on_report(move |r| report.send(r).unwrap()).start().unwrap();
    let client = math::Client::connect(running.local_addr()).unwrap();
    assert_eq!(client.solve().unwrap(), secret);
    let told = reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!((told.asked, told.right, told.outcome), (3, 3, math::Outcome::Solved));

    let mut stream = TcpStream::connect(running.local_addr()).unwrap();
    read::<9>(&mut stream);
    stream.shutdown(Shutdown::Both).unwrap();
    let told = reports.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(told.outcome, math::Outcome::Failed(..)), "{told:?}");
    assert_eq!((told.asked, told.right, told.peer), (1, 0, stream.local_addr().unwrap()));
}

/// The name comes from the user of the library. A client must not wait for an answer that never
/// comes.
#[test]
fn a_server_without_a_valid_answer_reports_it_and_closes() {
    let (report, reports) = mpsc::channel();
    let service =
        add::Service::new(add::Options { name: "two\nlines".into(), ..Default::default() });
    let server = Server::bind("127.0.0.1:0", service).unwrap();
    let running = server.on_report(move |r| report.send(r).unwrap()).start().unwrap();
    let addr = running.local_addr();
    in_time(move || {
        let client = add::Client::connect(addr).unwrap();
        client.introduce(b"Ada", 5).unwrap_err();
    });
    let told = reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(told.outcome, add::Outcome::Internal(Internal::Command(Invalid::Newline.into())));
    let line = told.to_string();
    let said = "internal error: invalid command: the text contains a newline";
    assert!(line.ends_with(said), "{line}");
}

#[test]
fn a_stopped_server_has_released_its_address() {
    let running = echo_server();
    let addr = running.local_addr();
    assert!(!connect_fails(addr));
    in_time(move || running.stop().unwrap());
    assert!(connect_fails(addr));
    // The address is free and can be used again.
    let again = Server::bind(addr, echo::Service::new()).unwrap().start().unwrap();
    assert_eq!(again.local_addr(), addr);
    in_time(move || {
        let mut client = echo::Client::connect(addr).unwrap();
        client.send_message(b"0123456789again").unwrap();
        assert_eq!(client.receive_message().unwrap(), b"again");
    });
    again.stop().unwrap();
}

#[test]
fn a_dropped_server_does_not_wait_for_its_clients() {
    // Waiting for a client would exceed the deadline of this test.
    let limits = Limits { grace: 2 * DEADLINE, ..Limits::default() };
    let service = math::Service::new(math::Options::default());
    let running = Server::bind("127.0.0.1:0", service).unwrap().limits(limits).start().unwrap();
    let addr = running.local_addr();
    let mut idle = TcpStream::connect(addr).unwrap();
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    read::<9>(&mut idle);
    in_time(move || drop(running));
    assert!(connect_fails(addr));
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn a_stop_waits_for_sessions_during_the_grace_period() {
    let limits = Limits { grace: Duration::from_millis(700), ..Limits::default() };
    let service = math::Service::new(math::Options::default());
    let running = Server::bind("127.0.0.1:0", service).unwrap().limits(limits).start().unwrap();
    let mut idle = TcpStream::connect(running.local_addr()).unwrap();
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    read::<9>(&mut idle);
    let start = Instant::now();
    in_time(move || running.stop().unwrap());
    // Without the limit, the deadline of `in_time` or the client's timeout of 30 s would apply.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(650), "{took:?}");
}

#[test]
fn a_control_stops_a_server_that_runs_in_the_calling_thread() {
    let server = Server::bind("127.0.0.1:0", echo::Service::new()).unwrap();
    let (stopper, addr) = (server.stopper(), server.local_addr());
    in_time(move || {
        let stopping = thread::spawn(move || {
            // The server answers, so it runs.
            let mut client = echo::Client::connect(addr).unwrap();
            client.send_message(b"0123456789").unwrap();
            assert_eq!(client.receive_message().unwrap(), b"");
            drop(client);
            stopper.stop();
            stopper
        });
        server.run().unwrap();
        // A server that has ended can be stopped again.
        stopping.join().unwrap().stop();
    });
}

#[test]
fn an_address_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Server::bind(addr, echo::Service::new()).err().expect("the address is in use");
    assert!(error.to_string().contains("address already in use"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_library_server_serves_many_clients_at_once() {
    let running = quiz(math::Options { rounds: (50, 50), ..Default::default() });
    let addr = running.local_addr();
    let clients: Vec<_> = (0..16)
        .map(|_| thread::spawn(move || math::Client::connect(addr).unwrap().solve().unwrap()))
        .collect();
    let done = wait_until(DEADLINE, || clients.iter().all(|c| c.is_finished()).then_some(()));
    done.expect("the clients hang");
    let secrets: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().0).collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}
