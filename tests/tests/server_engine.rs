//! The server engine between two calls of the system: what must hold whatever comes just then.
//!
//! A service that stops in the middle of a turn stops the whole server, so a test can do something
//! at exactly that moment.

#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use socklab::net::{Ended, Running, Server, Service};
use socklab_core::echo;
use socklab_core::machine::Machine;
use socklab_tests::program::{DEADLINE, message, reset};

/// Has a function hear what its machines say, and says nothing itself.
struct Ears<M, F> {
    machine: M,
    hear: F,
}

impl<M: Machine + 'static, F: FnMut(M::Event<'_>)> Service for Ears<M, F> {
    type Machine = M;
    type State = ();
    type Report = String;

    fn open(&mut self) -> (M, ()) {
        (self.machine.clone(), ())
    }

    fn event(&mut self, (): &mut (), event: M::Event<'_>) {
        (self.hear)(event);
    }

    fn command(&mut self, (): &mut ()) -> Option<M::Command<'_>> {
        None
    }

    fn closed(&mut self, _: SocketAddr, _: &M, (): &mut (), ended: Ended<M::Error>) -> String {
        match ended {
            Ended::Failed(e) => e.to_string(),
            ended => format!("{ended:?}"),
        }
    }
}

fn next<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(DEADLINE).expect("it comes in time")
}

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.local_addr()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn a_reset_that_shows_first_when_writing_is_told_as_one() {
    let ((tell, told), (go, held)) = (channel(), channel::<()>());
    let hear = move |_| {
        let _ = tell.send(());
        let _ = held.recv_timeout(DEADLINE);
    };
    let service = Ears { machine: echo::server::Server::new(), hear };
    let (end, ended) = channel();
    let running = Server::bind("127.0.0.1:0", service)
        .unwrap()
        .reporting(move |report| drop(end.send(report)))
        .start()
        .unwrap();
    let mut client = connect(&running);
    client.write_all(&message(b"0123456789first")).unwrap();
    next(&told);
    // The first message is read and its reply not sent. What has come until the reset counts.
    client.write_all(&message(b"0123456789second")).unwrap();
    reset(client);
    go.send(()).unwrap();
    next(&told);
    go.send(()).unwrap();
    let report = next(&ended);
    assert!(report.contains("reset the connection"), "{report}");
}
