//! The library beside the program: clients and servers in this process, on real sockets.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socklab::net::{Client, Limits, Running, Server, Target};
use socklab::{add, echo, math};
use socklab_core::machine::CommandError;
use socklab_tests::program::{DEADLINE, FakeServer, Server as Program, message, read, wait_until};

/// Runs it in a thread: what hangs fails instead of stopping the test run.
#[track_caller]
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (report, reports) = mpsc::channel();
    let thread = thread::spawn(move || report.send(what()));
    match reports.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it has not reported"),
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

/// Ten thousand messages of 1 KB before the first reply is received: 10 MB each way, which no
/// socket holds.
#[test]
fn ten_thousand_messages_are_sent_before_the_first_reply_is_received() {
    // Both in this process, and the program as the server: it stops reading while its replies are
    // not read.
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
fn one_message_larger_than_all_buffers_and_small_reads() {
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
fn to_receive_without_a_message_in_flight_is_refused_not_waited_for() {
    let running = echo_server();
    let addr = running.local_addr();
    in_time(move || {
        let mut client = echo::Client::connect(addr).unwrap();
        assert!(matches!(client.receive_message(), Err(socklab::net::Error::Refused(_))));
        // And it goes on working.
        client.send_message(b"0123456789x").unwrap();
        assert_eq!(client.receive_message().unwrap(), b"x");
        assert!(matches!(client.receive_message(), Err(socklab::net::Error::Refused(_))));
    });
}

/// The document's test of a server that shuts down while a client goes on sending.
#[test]
fn a_server_that_stops_is_named_and_an_error_repeats() {
    let running = echo_server();
    let mut client = echo::Client::connect(running.local_addr()).unwrap();
    client.send_message(b"0123456789before").unwrap();
    assert_eq!(client.receive_message().unwrap(), b"before");
    running.stop().unwrap();
    in_time(move || {
        // The first may still be taken by the system.
        let sent: Vec<bool> = (0..5).map(|_| client.send_message(b"after").is_ok()).collect();
        let error = client.receive_message().unwrap_err().to_string();
        assert!(error.starts_with("the server "), "{error} after {sent:?}");
        assert_eq!(client.receive_message().unwrap_err().to_string(), error);
        // Whether sending notices is the system's to say; receiving does, and does not wait.
        let _ = client.send_message(b"more");
        let error = client.receive_message().unwrap_err().to_string();
        assert!(error.starts_with("the server "), "{error}");
    });
}

#[test]
fn shutdown_is_the_end_for_the_server() {
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
fn math_solve_gets_the_secret_or_the_named_ending() {
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
fn a_server_of_the_library_tells_its_sessions() {
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

/// The name comes from whoever uses the library. A client is not to wait for an answer that never comes.
#[test]
fn a_server_that_has_no_valid_answer_says_so_and_closes() {
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
    assert_eq!(told.outcome, add::Outcome::Internal(CommandError::Invalid));
    let line = told.to_string();
    let said = "internal error: the command cannot be expressed in this protocol";
    assert!(line.ends_with(said), "{line}");
}

#[test]
fn a_stopped_server_has_given_its_address_back() {
    let running = echo_server();
    let addr = running.local_addr();
    assert!(!connect_fails(addr));
    in_time(move || running.stop().unwrap());
    assert!(connect_fails(addr));
    // No one else has it, so it can be had, and served at.
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
    // To wait for a client would take longer than this test may.
    let limits = Limits { grace: 2 * DEADLINE, ..Limits::default() };
    let service = math::Service::new(math::Options::default());
    let running = Server::bind("127.0.0.1:0", service).unwrap().limits(limits).start().unwrap();
    let addr = running.local_addr();
    let mut silent = TcpStream::connect(addr).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    read::<9>(&mut silent);
    in_time(move || drop(running));
    assert!(connect_fails(addr));
    assert!(matches!(silent.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn a_stop_waits_for_a_session_as_long_as_the_grace_says() {
    let limits = Limits { grace: Duration::from_millis(700), ..Limits::default() };
    let service = math::Service::new(math::Options::default());
    let running = Server::bind("127.0.0.1:0", service).unwrap().limits(limits).start().unwrap();
    let mut silent = TcpStream::connect(running.local_addr()).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    read::<9>(&mut silent);
    let start = Instant::now();
    in_time(move || running.stop().unwrap());
    // Without the limit it would be that of `in_time`, and the client's of 30 s.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(650), "{took:?}");
}

#[test]
fn a_stopper_stops_a_server_that_runs_in_our_own_thread() {
    let server = Server::bind("127.0.0.1:0", echo::Service::new()).unwrap();
    let (stopper, addr) = (server.stopper(), server.local_addr());
    in_time(move || {
        let stopping = thread::spawn(move || {
            // Served: so it runs.
            let mut client = echo::Client::connect(addr).unwrap();
            client.send_message(b"0123456789").unwrap();
            assert_eq!(client.receive_message().unwrap(), b"");
            drop(client);
            stopper.stop();
            stopper
        });
        server.run().unwrap();
        // A server that is gone can be stopped again.
        stopping.join().unwrap().stop();
    });
}

#[test]
fn an_address_in_use_is_an_error_with_a_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Server::bind(addr, echo::Service::new()).err().expect("it is taken");
    assert!(error.to_string().contains("address already in use"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn many_clients_of_one_library_server_at_once() {
    let running = quiz(math::Options { rounds: (50, 50), ..Default::default() });
    let addr = running.local_addr();
    let clients: Vec<_> = (0..16)
        .map(|_| thread::spawn(move || math::Client::connect(addr).unwrap().solve().unwrap()))
        .collect();
    let done = wait_until(DEADLINE, || clients.iter().all(|c| c.is_finished()).then_some(()));
    done.expect("they hang");
    let secrets: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().0).collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}
