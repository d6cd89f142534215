//! The blocking driver.

use embedded_io::ErrorKind;
use socklab_core::driver::{Error, Next, blocking};
use socklab_core::file::SILENCE_MS;
use socklab_core::machine::{Invalid, StreamEnd};
use socklab_core::{echo, file, guess};
use socklab_tests::oracle::question;
use socklab_tests::role::MathClient;
use socklab_tests::transport::{Failed, Stream};

use crate::ways::{Ended, by_blocking, by_hand};

#[test]
fn every_error_of_a_read_is_reported() {
    let expect = |kind: ErrorKind| {
        let stream = Stream::new(&question(1, 2), Err(kind), 3, 1);
        by_blocking(&MathClient, stream, 1).0.ended
    };
    let cut = |how: StreamEnd| {
        let seen = by_hand(&MathClient, &question(1, 2), how);
        seen.ended
    };
    for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe] {
        assert_eq!(expect(kind), cut(StreamEnd::Reset), "{kind:?}");
    }
    assert_eq!(expect(ErrorKind::TimedOut), cut(StreamEnd::TimedOut));
    for kind in [
        ErrorKind::Other,
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::ConnectionRefused,
        ErrorKind::NotConnected,
        ErrorKind::AddrInUse,
        ErrorKind::AddrNotAvailable,
        ErrorKind::AlreadyExists,
        ErrorKind::InvalidInput,
        ErrorKind::InvalidData,
        ErrorKind::Unsupported,
        ErrorKind::OutOfMemory,
    ] {
        assert_eq!(expect(kind), Ended::Transport(kind));
    }
}

#[test]
fn it_keeps_reading_when_it_can_no_longer_send() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    let whole = by_hand(&MathClient, &all, StreamEnd::Closed);
    for bytes in 0..12 {
        for how in [
            Ok(()),
            Err(ErrorKind::BrokenPipe),
            Err(ErrorKind::ConnectionReset),
            Err(ErrorKind::ConnectionAborted),
            Err(ErrorKind::NotConnected),
            Err(ErrorKind::WriteZero),
        ] {
            let stream = Stream::new(&all, Ok(()), 5, 9).broken_after(bytes, how);
            let (seen, after_failure) = by_blocking(&MathClient, stream, 9);
            assert_eq!((&seen.events, &seen.ended), (&whole.events, &whole.ended), "{how:?}");
            assert_eq!(seen.sent, whole.sent[..bytes]);
            assert_eq!(
                after_failure, 0,
                "it keeps writing to a peer that has closed its receiving side"
            );
        }
        let stream = Stream::new(&all, Ok(()), 5, 9).broken_after(bytes, Err(ErrorKind::Other));
        let (seen, _) = by_blocking(&MathClient, stream, 9);
        assert_eq!(seen.ended, Ended::Transport(ErrorKind::Other));
    }
}

#[test]
fn payload_beyond_the_announced_length_is_refused() {
    let stream = Stream::new(b"", Ok(()), 3, 1);
    let mut connection =
        blocking::Connection::new(stream, echo::Client::new(), [0; 4], [0; 4]).unwrap();
    connection.command(echo::client::Command::Begin(6)).unwrap();
    assert_eq!(connection.write_payload(b"1234567"), Err(Error::Refused(Invalid::Overrun.into())));
    let mut rest = &b"123456"[..];
    while !rest.is_empty() {
        rest = &rest[connection.write_payload(rest).unwrap()..];
    }
    assert_eq!(connection.write_payload(b"7"), Err(Error::Refused(Invalid::Overrun.into())));
    connection.flush().unwrap();
    assert_eq!(connection.into_transport().sent, b"\0\0\0\x06123456");
}

/// The OS reports a reset once. Here the write gets it, and the read then finds an orderly end.
#[test]
fn a_reset_reported_by_a_write_is_not_taken_for_an_orderly_end() {
    for (kind, how) in [
        (ErrorKind::ConnectionReset, StreamEnd::Reset),
        (ErrorKind::ConnectionAborted, StreamEnd::Reset),
        (ErrorKind::BrokenPipe, StreamEnd::Closed),
    ] {
        let stream = Stream::new(&question(1, 2), Ok(()), 9, 1).broken_after(0, Err(kind));
        let (seen, _) = by_blocking(&MathClient, stream, 1);
        assert_eq!(seen.ended, by_hand(&MathClient, &question(1, 2), how).ended, "{kind:?}");
    }
}

/// Sends a file server a name without a newline. Returns the name in its request, the idle times that
/// the driver asked the clock for, and how often the transport returned an error of its own for a
/// timeout.
fn bare_name(kind: ErrorKind) -> (Vec<u8>, Vec<Option<u16>>, usize) {
    let stream = Stream::new(b"notes.txt", Err(kind), 4, 3);
    let server = file::server::Server::new();
    let mut connection = blocking::Connection::new(stream, server, [0; 1050], [0; 1050]).unwrap();
    let (mut timed_out, mut limits) = (0, vec![]);
    loop {
        match connection.next_within(|_, idle_ms| limits.push(idle_ms)) {
            Ok(Next::Event(file::server::Event::Request(request))) => {
                return (request.name.to_vec(), limits, timed_out);
            }
            Err(Error::Transport(Failed(ErrorKind::Other))) => {
                timed_out += 1;
                connection.timed_out();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_read_that_times_out_is_reported_as_idle_to_a_machine_that_waits_for_it() {
    for (kind, errors) in [
        (ErrorKind::TimedOut, 0),
        // A std socket returns `WouldBlock`, which is `Other` here. Only the caller knows that it
        // means a timeout.
        (ErrorKind::Other, 1),
    ] {
        let (name, limits, timed_out) = bare_name(kind);
        assert_eq!((name, timed_out), (b"notes.txt".to_vec(), errors));
        // Nothing has come before the first read, so only the caller's own limit holds for it.
        assert_eq!(limits.first(), Some(&None));
        assert!(limits.len() > 1 && limits[1..].iter().all(|ms| *ms == Some(SILENCE_MS)));
    }
}

#[test]
fn a_caller_can_time_out() {
    let stream = Stream::new(b"notes.txt", Err(ErrorKind::Other), 4, 3);
    let server = file::server::Server::new();
    let mut connection = blocking::Connection::new(stream, server, [0; 1050], [0; 1050]).unwrap();
    let failed = connection.advance().unwrap_err();
    assert!(matches!(failed, Error::Transport(Failed(ErrorKind::Other))));
    connection.time_out();
    let Err(Error::Protocol(e)) = connection.advance() else { panic!("the session continues") };
    assert!(format!("{e:?}").contains("TimedOut"), "{e:?}");
}

#[test]
fn a_write_that_times_out_ends_the_session_like_a_read() {
    let stream = Stream::new(&question(1, 2), Err(ErrorKind::TimedOut), 9, 1)
        .broken_after(2, Err(ErrorKind::TimedOut));
    let (seen, after_failure) = by_blocking(&MathClient, stream, 1);
    assert_eq!(seen.ended, by_hand(&MathClient, &question(1, 2), StreamEnd::TimedOut).ended);
    assert_eq!((seen.sent.len(), after_failure), (2, 0));
}

/// A stream whose first write fails.
struct FailsFirstWrite(Stream, bool);

impl embedded_io::ErrorType for FailsFirstWrite {
    type Error = Failed;
}

impl embedded_io::Read for FailsFirstWrite {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        self.0.read(room)
    }
}

impl embedded_io::Write for FailsFirstWrite {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        if std::mem::take(&mut self.1) {
            return Err(Failed(ErrorKind::Other));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.0.flush()
    }
}

#[test]
fn a_boundary_is_reported_when_a_failed_call_is_repeated() {
    let stream = FailsFirstWrite(Stream::new(b"5\n", Ok(()), 99, 1), true);
    let (machine, buffer) = (guess::Server::new(42), || [0; 1050]);
    let mut connection = blocking::Connection::new(stream, machine, buffer(), buffer()).unwrap();
    let failed = connection.advance().unwrap_err();
    assert_eq!(failed, Error::Transport(Failed(ErrorKind::Other)));
    assert_eq!(connection.advance(), Ok(Next::Boundary));
    assert_eq!(connection.into_transport().0.sent, b"GUESS\n");
}
