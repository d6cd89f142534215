//! The polled driver, and rules of sessions that fuzzing brought to light.

use embedded_io::{ErrorKind, Read, ReadReady, Write, WriteReady};
use socklab_core::chat::{Chat, Command};
use socklab_core::driver::{Error, Next, blocking, polled};
use socklab_core::machine::{CommandError, StreamEnd};
use socklab_core::session::{Polled, Session, Want};
use socklab_core::{echo, file};
use socklab_tests::transport::{Failed, Stream};

/// A line whose bytes leave when it is flushed.
#[derive(Default)]
struct Line {
    input: &'static [u8],
    buffered: Vec<u8>,
    sent: Vec<u8>,
    /// The error of `write_ready`.
    broken: Option<ErrorKind>,
}

impl embedded_io::ErrorType for Line {
    type Error = Failed;
}

impl Read for Line {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        let Ok(n) = self.input.read(space);
        Ok(n)
    }
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        Ok(!self.input.is_empty())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.buffered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.sent.append(&mut self.buffered);
        Ok(())
    }
}

impl WriteReady for Line {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        self.broken.map_or(Ok(true), |kind| Err(Failed(kind)))
    }
}

#[test]
fn a_full_duplex_machine_is_flushed_while_it_waits_for_input() {
    let line = Line::default();
    let mut connection =
        polled::Connection::new(line, Chat::duplex(), [0; 1025], [0; 1025]).unwrap();
    connection.command(Command::Say(b"hi")).unwrap();
    assert!(matches!(connection.next(), Err(nb::Error::WouldBlock)));
    assert_eq!(connection.into_transport().sent, b"hi\n");
}

#[test]
fn a_line_that_cannot_say_whether_it_can_write_does_not_hide_the_error_of_the_machine() {
    for kind in [ErrorKind::Other, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
        // A message, then one that is not text.
        let line = Line { input: b"\0\0\0\x0b0123456789a\0\0\0\x01\xff", ..Line::default() };
        let line = Line { broken: Some(kind), ..line };
        let mut connection =
            polled::Connection::new(line, echo::Server::new(), [0; 64], [0; 64]).unwrap();
        let failed = (0..20).any(|_| {
            let next = connection.next();
            matches!(
                next,
                Err(nb::Error::Other(Error::Protocol(echo::server::Error::NotUtf8 { .. })))
            )
        });
        assert!(failed, "{kind:?}");
    }
}

#[test]
fn another_session_does_not_wait_for_what_the_last_one_did() {
    // A name without a newline: the machine waits for a pause behind it.
    let stream = || Stream::new(b"notes", Err(ErrorKind::TimedOut), 9, 1);
    let mut connection =
        blocking::Connection::new(stream(), file::Server::new(), [0; 1025], [0; 1026]).unwrap();
    assert!(matches!(connection.next(), Ok(Next::Event(_))));
    connection.restart(stream(), file::Server::new());
    connection.timed_out();
    let Err(Error::Protocol(file::server::Error::Request(e))) = connection.next() else {
        panic!("the caller stopped waiting")
    };
    assert_eq!(e.cut().map(|cut| cut.how), Some(StreamEnd::TimedOut));

    let line = || Line { input: b"notes", ..Line::default() };
    let mut connection =
        polled::Connection::new(line(), file::Server::new(), [0; 1025], [0; 1026]).unwrap();
    assert!(matches!(connection.next(), Err(nb::Error::WouldBlock)));
    assert!(connection.idle_ms().is_some());
    connection.restart(line(), file::Server::new());
    assert_eq!(connection.idle_ms(), None);
}

#[test]
fn a_command_does_not_change_an_error_that_waits_for_pending_output() {
    let mut session = Session::new(echo::Client::<4>::new(), [0; 64], [0; 64]).unwrap();
    session.command(echo::client::Command::Begin(0)).unwrap();
    assert_eq!(session.transmit(), [0; 4]);
    // A reply, and one that was not asked for.
    session.recv_space()[..8].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0]);
    session.received(8);
    assert!(matches!(session.poll(), Ok(Polled::Event(_))));
    assert!(matches!(session.poll(), Ok(Polled::Want(Want::Write))));
    let begin = echo::client::Command::Begin(3);
    assert_eq!(session.command(begin), Err(CommandError::OutOfTurn));
    session.transmitted(4);
    session.flushed();
    assert!(session.poll().is_err());
}
