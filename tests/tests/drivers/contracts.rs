//! The contracts of `driver`'s table, each through every driver.

use embedded_io::ErrorKind;
use socklab_core::chat::{self, Chat};
use socklab_core::driver::{Error, Next};
use socklab_core::machine::{CommandError, Invalid, Machine, StreamEnd};
use socklab_core::{echo, file, guess, math};
use socklab_tests::oracle::question;
use socklab_tests::role::MathClient;
use socklab_tests::transport::Failed;

use crate::every_driver::{Way, Wire, every_driver, stream_drivers};
use crate::ways::by_hand;

const WAITS: nb::Error<Error<file::server::Error, Failed>> = nb::Error::WouldBlock;

/// Returns the machine's error as text.
fn protocol<P: std::fmt::Debug>(result: nb::Result<Next<()>, Error<P, Failed>>) -> String {
    match result {
        Err(nb::Error::Other(Error::Protocol(e))) => format!("{e:?}"),
        other => panic!("no error of the machine: {other:?}"),
    }
}

/// Returns a file server whose application is asked.
fn asked(ways: (Box<dyn Way<file::Server>>, Wire)) -> (Box<dyn Way<file::Server>>, Wire) {
    let (mut way, wire) = ways;
    assert_eq!((way.next(), way.next()), (Ok(Next::Event(())), Ok(Next::Command)));
    (way, wire)
}

const NAME: &[u8] = b"notes.txt\n";

#[test]
fn what_precedes_a_command_is_written_and_flushed() {
    for (mut way, wire) in every_driver(&Chat::server(), 0, || Wire::open(b"")) {
        assert_eq!(way.next(), Ok(Next::Command));
        way.command(chat::Command::Say(b"one")).unwrap();
        assert_eq!((way.next(), wire.sent()), (Err(nb::Error::WouldBlock), b"one\n".to_vec()));
        wire.arrives(b"two\n");
        assert_eq!((way.next(), way.next()), (Ok(Next::Event(())), Ok(Next::Command)));
        way.command(chat::Command::Say(b"three")).unwrap();
        assert_eq!(way.flush(), Ok(()));
        assert_eq!(wire.sent(), b"one\nthree\n");
    }
}

#[test]
fn a_full_duplex_session_flushes_before_it_waits() {
    for (mut way, wire) in every_driver(&Chat::duplex(), 0, || Wire::open(b"")) {
        way.command(chat::Command::Say(b"ho")).unwrap();
        assert_eq!((way.next(), wire.sent()), (Err(nb::Error::WouldBlock), b"ho\n".to_vec()));
    }
    // An echo client needs input or a command until the last reply.
    for (mut way, wire) in every_driver(&echo::Client::new(), 9, || Wire::open(b"")) {
        way.command(echo::client::Command::Send(b"abc")).unwrap();
        assert_eq!(
            (way.next(), wire.sent()),
            (Err(nb::Error::WouldBlock), b"\0\0\0\x03abc".to_vec())
        );
    }
}

#[test]
fn a_full_output_is_sent_first_and_nothing_is_lost_or_reordered() {
    for (mut way, wire) in every_driver(&Chat::duplex(), 0, || Wire::open(b"")) {
        let lines: Vec<Vec<u8>> = (b'a'..=b'e').map(|letter| vec![letter; 700]).collect();
        wire.0.borrow_mut().is_full = true;
        way.command(chat::Command::Say(&lines[0])).unwrap();
        for _ in 0..3 {
            assert_eq!(way.command(chat::Command::Say(&lines[1])), Err(nb::Error::WouldBlock));
            assert_eq!(way.next(), Err(nb::Error::WouldBlock));
            assert_eq!(way.flush(), Err(nb::Error::WouldBlock));
        }
        wire.0.borrow_mut().is_full = false;
        for line in &lines[1..] {
            way.command(chat::Command::Say(line)).unwrap();
        }
        assert_eq!(way.flush(), Ok(()));
        let expected: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        assert_eq!(wire.sent(), expected);
        let too_long = nb::Error::Other(Error::Refused(Invalid::TooLong.into()));
        assert_eq!(way.command(chat::Command::Say(&[b'x'; 1025])), Err(too_long));
    }
    for (mut way, _) in every_driver(&math::Server::new(), 0, || Wire::open(b"")) {
        let ask = math::server::Command::Ask(math::Question { a: 1, b: 2 });
        way.command(ask).unwrap();
        let refused = nb::Error::Other(Error::Refused(CommandError::OutOfTurn));
        assert_eq!(way.command(ask), Err(refused));
    }
}

#[test]
fn payload_is_taken_in_parts_and_never_more_than_announced() {
    for (mut way, wire) in every_driver(&echo::Client::new(), 2, || Wire::open(b"")) {
        way.command(echo::client::Command::Begin(6)).unwrap();
        let overrun = nb::Error::Other(Error::Refused(Invalid::Overrun.into()));
        assert_eq!(way.write_payload(b"1234567"), Err(overrun));
        assert_eq!(way.write_payload(b""), Ok(0));
        assert_eq!(way.write_payload(b"123456"), Ok(2));
        wire.0.borrow_mut().is_full = true;
        assert_eq!(way.write_payload(b"3456"), Err(nb::Error::WouldBlock));
        wire.0.borrow_mut().is_full = false;
        assert_eq!(way.write_payload(b"3456"), Ok(4));
        let overrun = nb::Error::Other(Error::Refused(Invalid::Overrun.into()));
        assert_eq!(way.write_payload(b"7"), Err(overrun));
        assert_eq!((way.flush(), wire.sent()), (Ok(()), b"\0\0\0\x06123456".to_vec()));
    }
}

/// Sends 200 kB of payload, and calls `next` after each part if `asks`. Returns the number of flushes.
fn flushes<M: Machine>(way: &mut dyn Way<M>, wire: &Wire, asks: bool) -> usize {
    let payload = vec![b'x'; 200_000];
    let mut rest = &payload[..];
    let before = wire.0.borrow().flushed;
    while !rest.is_empty() {
        if asks {
            let next = way.next();
            assert!(matches!(next, Ok(Next::Command) | Err(nb::Error::WouldBlock)), "{next:?}");
        }
        rest = &rest[way.write_payload(rest).unwrap()..];
    }
    assert!(wire.0.borrow().written > 20, "the buffer is smaller than the payload");
    let _ = way.next();
    assert!(wire.written().ends_with(&payload));
    assert_eq!(wire.0.borrow().unflushed, b"", "the end is flushed");
    wire.0.borrow().flushed - before
}

#[test]
fn payload_is_flushed_once_and_not_once_a_buffer() {
    for asks in [false, true] {
        for made in stream_drivers(&file::Server::new(), 1024, || Wire::open(NAME)) {
            let (mut way, wire) = asked(made);
            way.command(file::server::Command::Send(200_000)).unwrap();
            assert_eq!(flushes(&mut *way, &wire, asks), 1, "a file, asks: {asks}");
        }
        for (mut way, wire) in stream_drivers(&echo::Client::new(), 4096, || Wire::open(b"")) {
            way.command(echo::client::Command::Begin(200_000)).unwrap();
            assert_eq!(flushes(&mut *way, &wire, asks), 1, "a message, asks: {asks}");
        }
    }
}

#[test]
fn a_flush_sends_outstanding_payload_too() {
    for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
        let (mut way, wire) = asked(made);
        way.command(file::server::Command::Send(10)).unwrap();
        assert_eq!((way.write_payload(b"12345"), way.flush()), (Ok(5), Ok(())));
        assert_eq!(wire.sent(), b"12345");
    }
}

/// What a write can find when the connection is gone in both directions.
const GONE: [(ErrorKind, &str); 2] =
    [(ErrorKind::ConnectionReset, "Reset"), (ErrorKind::ConnectionAborted, "Reset")];

#[test]
fn a_reset_that_a_write_found_ends_our_turn_at_once() {
    for (kind, how) in GONE {
        for end in [Ok(()), Err(ErrorKind::ConnectionReset)] {
            for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
                let (mut way, wire) = asked(made);
                way.command(file::server::Command::Send(10_000)).unwrap();
                assert_eq!(way.write_payload(&[b'x'; 500]), Ok(500));
                wire.0.borrow_mut().writes.push_back(Some(kind));
                // The end is not there yet, and there is no command to give.
                assert_eq!((way.next(), way.next()), (Err(WAITS), Err(WAITS)));
                assert_eq!(way.write_closed(), Some(StreamEnd::Reset));
                wire.arrives(b"late");
                wire.ends(end);
                let reported = protocol(way.next());
                assert!(reported.contains("Gone") && reported.contains(how), "{reported}");
                assert_eq!(protocol(way.next()), reported, "an error repeats");
                assert_eq!(wire.written(), b"");
            }
        }
    }
}

#[test]
fn a_peer_that_has_only_stopped_reading_does_not_end_our_turn() {
    for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
        let (mut way, wire) = asked(made);
        way.command(file::server::Command::Send(3000)).unwrap();
        wire.0.borrow_mut().writes.push_back(Some(ErrorKind::BrokenPipe));
        for sent in [2000, 1000] {
            assert_eq!(way.next(), Ok(Next::Command));
            let payload = vec![b'x'; sent];
            let mut rest = &payload[..];
            while !rest.is_empty() {
                rest = &rest[way.write_payload(rest).unwrap()..];
            }
        }
        assert_eq!((way.next(), way.write_closed()), (Ok(Next::Close), Some(StreamEnd::Closed)));
    }
}

#[test]
fn listen_notices_the_end_in_our_turn() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted] {
        for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
            let (mut way, wire) = asked(made);
            assert_eq!((way.listen(), way.listen()), (Err(WAITS), Err(WAITS)));
            assert_eq!(way.next(), Ok(Next::Command), "it is our turn all the same");
            wire.ends(Err(kind));
            assert_eq!(way.listen(), Ok(()));
            assert!(protocol(way.next()).contains("Reset"));
        }
    }
    // An orderly end: the client has sent all it will, and reads on.
    for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
        let (mut way, wire) = asked(made);
        wire.ends(Ok(()));
        assert_eq!((way.listen(), way.next()), (Ok(()), Ok(Next::Command)));
        way.command(file::server::Command::Send(0)).unwrap();
        assert_eq!((way.next(), way.write_closed()), (Ok(Next::Close), None));
    }
}

#[test]
fn listen_loses_no_byte() {
    for (mut way, wire) in every_driver(&Chat::server(), 0, || Wire::open(b"")) {
        assert_eq!((way.next(), way.listen()), (Ok(Next::Command), Err(nb::Error::WouldBlock)));
        wire.arrives(b"ear");
        assert_eq!((way.listen(), way.unread()), (Ok(()), &b"ear"[..]));
        assert_eq!(way.listen(), Err(nb::Error::WouldBlock), "what it reported is no news");
        wire.arrives(b"ly\n");
        assert_eq!((way.listen(), way.unread()), (Ok(()), &b"early\n"[..]));
        assert_eq!(way.next(), Ok(Next::Command));
        way.command(chat::Command::Say(b"hi")).unwrap();
        assert_eq!((way.next(), way.next()), (Ok(Next::Event(())), Ok(Next::Command)));
        assert_eq!(wire.sent(), b"hi\n");
    }
}

#[test]
fn an_interrupted_read_does_not_end_listen() {
    for made in stream_drivers(&file::Server::new(), 0, || Wire::open(NAME)) {
        let (mut way, wire) = asked(made);
        wire.0.borrow_mut().reads.extend([ErrorKind::Interrupted; 3]);
        assert_eq!(way.listen(), Err(WAITS));
        wire.0.borrow_mut().reads.extend([ErrorKind::Interrupted; 3]);
        wire.arrives(b"x");
        assert_eq!(way.listen(), Ok(()));
    }
}

#[test]
fn listen_does_not_read_without_space() {
    for made in every_driver(&file::Server::new(), 0, || Wire::open(NAME)) {
        let (mut way, wire) = asked(made);
        wire.arrives(&[b'x'; 3000]);
        let mut heard = 0;
        while way.unread().len() < file::Server::MIN_INPUT {
            assert_eq!(way.listen(), Ok(()));
            heard += 1;
            assert!(heard < 10, "{} bytes unread", way.unread().len());
        }
        // The blocking driver returns at once, the others wait.
        let listened = way.listen();
        assert_eq!(listened.is_ok(), way.is_blocking(), "{listened:?}");
        assert_eq!(way.next(), Ok(Next::Command));
    }
}

#[test]
fn a_boundary_is_reported_once_also_when_calls_are_dropped_or_fail() {
    for (mut way, wire) in every_driver(&guess::Server::new(42), 0, || Wire::open(b"")) {
        wire.0.borrow_mut().is_full = true;
        for _ in 0..3 {
            assert_eq!((way.next(), wire.written()), (Err(nb::Error::WouldBlock), vec![]));
        }
        wire.0.borrow_mut().is_full = false;
        assert_eq!((way.next(), wire.sent()), (Ok(Next::Boundary), b"GUESS\n".to_vec()));
        assert_eq!(
            (way.next(), way.next()),
            (Err(nb::Error::WouldBlock), Err(nb::Error::WouldBlock))
        );
    }
    for (mut way, wire) in stream_drivers(&guess::Server::new(42), 0, || Wire::open(b"")) {
        wire.0.borrow_mut().writes.extend([Some(ErrorKind::Other), None]);
        wire.0.borrow_mut().flushes.extend([ErrorKind::Other, ErrorKind::Interrupted]);
        let [mut failed, mut boundaries] = [0; 2];
        for _ in 0..6 {
            match way.next() {
                Ok(Next::Boundary) => boundaries += 1,
                Err(nb::Error::Other(Error::Transport(_))) => failed += 1,
                Err(nb::Error::WouldBlock) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((failed, boundaries, wire.sent()), (2, 1, b"GUESS\n".to_vec()));
    }
    // A peer that accepts nothing gets no pause, but the place is still reported.
    for (mut way, wire) in every_driver(&guess::Server::new(42), 0, || Wire::open(b"")) {
        wire.0.borrow_mut().writes.push_back(Some(ErrorKind::BrokenPipe));
        assert_eq!((way.next(), way.next()), (Ok(Next::Boundary), Err(nb::Error::WouldBlock)));
    }
}

#[test]
fn an_error_waits_for_pending_output_and_does_not_change() {
    let script = [question(1, 2), b"X".to_vec()].concat();
    let format = |e: &crate::ways::Ended| match e {
        crate::ways::Ended::Protocol(e) => e.clone(),
        other => panic!("{other:?}"),
    };
    let expected = format(&by_hand(&MathClient, &script, StreamEnd::Closed).ended);
    for later in [&b""[..], b"Q", b"\0\0\0\0\0\0\0\0\0\0"] {
        for end in [None, Some(Ok(())), Some(Err(ErrorKind::ConnectionReset))] {
            for (mut way, wire) in every_driver(&math::Client::new(), 8, || Wire::open(&script)) {
                assert_eq!(way.next(), Ok(Next::Event(())));
                wire.0.borrow_mut().is_full = true;
                // A blocking transport whose time limit has passed drops the output.
                if !way.is_blocking() {
                    assert_eq!(way.next(), Err(nb::Error::WouldBlock));
                    wire.arrives(later);
                    wire.0.borrow_mut().end = end;
                    assert_eq!(way.next(), Err(nb::Error::WouldBlock));
                }
                wire.0.borrow_mut().is_full = false;
                assert_eq!(
                    (protocol(way.next()), wire.sent()),
                    (expected.clone(), vec![0, 0, 0, 3])
                );
                assert_eq!(way.unread(), b"X", "what the error is about");
                assert_eq!(protocol(way.next()), expected, "an error repeats");
            }
        }
    }
}

#[test]
fn an_error_comes_out_although_the_output_cannot_be_sent() {
    let script = [question(1, 2), b"X".to_vec()].concat();
    let kinds = [
        ErrorKind::Other,
        ErrorKind::OutOfMemory,
        ErrorKind::BrokenPipe,
        ErrorKind::WriteZero,
        ErrorKind::ConnectionReset,
        ErrorKind::TimedOut,
    ];
    for kind in kinds {
        for flushes in [false, true] {
            for (mut way, wire) in stream_drivers(&math::Client::new(), 8, || Wire::open(&script)) {
                assert_eq!(way.next(), Ok(Next::Event(())));
                if flushes {
                    wire.0.borrow_mut().flushes.push_back(kind);
                } else {
                    wire.0.borrow_mut().writes.push_back(Some(kind));
                }
                let first = protocol(way.next());
                assert_eq!(protocol(way.next()), first, "{kind:?}");
                assert_eq!(wire.sent(), b"", "{kind:?}");
            }
        }
    }
    // The caller gives up the peer that does not read.
    for (mut way, wire) in every_driver(&math::Client::new(), 8, || Wire::open(&script)) {
        assert_eq!(way.next(), Ok(Next::Event(())));
        wire.0.borrow_mut().is_full = true;
        if !way.is_blocking() {
            assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        }
        way.time_out();
        assert_eq!((protocol(way.next()).is_empty(), wire.written()), (false, vec![]));
    }
}

#[test]
fn a_caller_that_gives_up_ends_reads_writes_and_flushes() {
    // A read.
    for (mut way, _) in every_driver(&math::Client::new(), 0, || Wire::open(&question(1, 2)[..5])) {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.timed_out();
        assert!(protocol(way.next()).contains("TimedOut"));
        assert_eq!(way.write_closed(), Some(StreamEnd::TimedOut));
    }
    // A write.
    for (mut way, wire) in every_driver(&math::Client::new(), 0, || Wire::open(&question(1, 2))) {
        assert_eq!(way.next(), Ok(Next::Event(())));
        wire.0.borrow_mut().is_full = true;
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.timed_out();
        assert!(protocol(way.next()).contains("TimedOut"));
        assert_eq!(wire.written(), b"");
    }
}
