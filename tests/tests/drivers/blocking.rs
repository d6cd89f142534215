//! The blocking driver.

use embedded_io::ErrorKind;
use socklab_core::driver::{Error, blocking};
use socklab_core::echo;
use socklab_core::machine::{How, Refused};
use socklab_tests::oracle::question;
use socklab_tests::role::MathClient;
use socklab_tests::transport::Stream;

use crate::ways::{Ended, by_blocking, by_hand};

#[test]
fn names_every_error_of_a_read() {
    let expect = |kind: ErrorKind| {
        let stream = Stream::new(&question(1, 2), Err(kind), 3, 1);
        by_blocking(&MathClient, stream, 1).0.ended
    };
    let cut = |how: How| {
        let seen = by_hand(&MathClient, &question(1, 2), how);
        seen.ended
    };
    for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe] {
        assert_eq!(expect(kind), cut(How::Reset), "{kind:?}");
    }
    assert_eq!(expect(ErrorKind::TimedOut), cut(How::TimedOut));
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
fn reads_on_when_it_can_send_no_more() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    let whole = by_hand(&MathClient, &all, How::Closed);
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
            assert_eq!(after_failure, 0, "it writes on to a peer that takes nothing");
        }
        let stream = Stream::new(&all, Ok(()), 5, 9).broken_after(bytes, Err(ErrorKind::Other));
        let (seen, _) = by_blocking(&MathClient, stream, 9);
        assert_eq!(seen.ended, Ended::Transport(ErrorKind::Other));
    }
}

#[test]
fn pays_no_more_than_is_owed() {
    let stream = Stream::new(b"", Ok(()), 3, 1);
    let mut connection =
        blocking::Connection::new(stream, echo::Client::new(), [0; 4], [0; 4]).unwrap();
    connection.command(echo::client::Command::Begin(6)).unwrap();
    assert_eq!(connection.pay(b"1234567"), Err(Error::Refused(Refused::Invalid)));
    connection.pay(b"123").unwrap();
    connection.pay(b"456").unwrap();
    assert_eq!(connection.pay(b"7"), Err(Error::Refused(Refused::Invalid)));
    assert_eq!(connection.into_transport().sent, b"\0\0\0\x06123456");
}

/// A system tells of a reset once: the write has had it, and the read finds an orderly end.
#[test]
fn a_reset_that_a_write_was_told_of_is_no_orderly_end() {
    for (kind, how) in [
        (ErrorKind::ConnectionReset, How::Reset),
        (ErrorKind::ConnectionAborted, How::Reset),
        (ErrorKind::BrokenPipe, How::Closed),
    ] {
        let stream = Stream::new(&question(1, 2), Ok(()), 9, 1).broken_after(0, Err(kind));
        let (seen, _) = by_blocking(&MathClient, stream, 1);
        assert_eq!(seen.ended, by_hand(&MathClient, &question(1, 2), how).ended, "{kind:?}");
    }
}
