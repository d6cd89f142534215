//! Chat with programs that do not read the last line.

use std::io::Write as _;
use std::net::TcpStream;

use socklab_tests::program::{FakeServer, Process, client, read, reset, wait_until};
use socklab_tests::program::{Program, Server};

/// Waits until bytes have arrived, without reading them.
fn wait_for_bytes(stream: &TcpStream) {
    let some = wait_until(std::time::Duration::from_secs(20), || match stream.peek(&mut [0]) {
        Ok(1) => Some(()),
        _ => None,
    });
    assert!(some.is_some(), "nothing arrives");
}

/// Starts a client that sends bye in its turn.
fn start_leaving_client(fake: &FakeServer) -> (Process, TcpStream) {
    let args = ["--timeout", "20s"];
    let mut process = client("chat", fake.addr, &args).with_stdin().start();
    process.feed("bye\n");
    (process, fake.accept())
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn an_unread_last_line_is_a_failure() {
    let fake = FakeServer::new();
    for end in [drop as fn(TcpStream), reset] {
        let (process, mut stream) = start_leaving_client(&fake);
        stream.write_all(b"hello\n").unwrap();
        wait_for_bytes(&stream);
        end(stream);
        assert_eq!(
            process.finish().failure(1),
            "the other side reset the connection without reading the last line"
        );
    }
    // The server is gone before the last line arrives: either error may be reported, but never
    // success.
    for _ in 0..10 {
        let (process, mut stream) = start_leaving_client(&fake);
        stream.write_all(b"hello\n").unwrap();
        drop(stream);
        assert_eq!(process.finish().code, Some(1));
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Linux: what the peer's system has received")]
fn a_last_line_that_was_read_is_a_success_even_without_a_close() {
    let fake = FakeServer::new();
    for closes in [true, false] {
        let (process, mut stream) = start_leaving_client(&fake);
        stream.write_all(b"hello\n").unwrap();
        assert_eq!(read::<4>(&mut stream), *b"bye\n");
        let stream = (!closes).then_some(stream);
        assert_eq!(process.finish().success(), b"hello\n");
        drop(stream);
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn a_server_reports_an_unread_last_line_too() {
    let program = Program::socklab(&["chat", "server", "0", "--timeout", "20s"]).with_stdin();
    let mut server = Server::from_program(program);
    server.process.feed("hello\nbye\n");
    let mut stream = server.connect();
    assert_eq!(read::<6>(&mut stream), *b"hello\n");
    stream.write_all(b"hi\n").unwrap();
    wait_for_bytes(&stream);
    drop(stream);
    assert_eq!(
        server.process.finish().last_failure(1),
        "the other side reset the connection without reading the last line"
    );
}
