//! What a driver does when its transport fails to write or flush, or accepts nothing: no error is
//! lost, and each call can be repeated.

use embedded_io::ErrorKind;
use embedded_nal::TcpErrorKind;
use socklab_core::chat::{self, Chat};
use socklab_core::driver::nonblocking::Outcome;
use socklab_core::driver::{Error, Next, nonblocking};
use socklab_core::machine::{Invalid, Machine, StreamEnd};
use socklab_core::session::Handler;
use socklab_core::{coin, echo, guess, hello, math};
use socklab_tests::oracle::question;
use socklab_tests::role::MathClient;
use socklab_tests::transport::{Failed, Net, NetError, Socket};

use crate::every_driver::{Way, Wire, stream_drivers};
use crate::ways::{Ended, by_hand};

/// Errors of the transport that say nothing about the peer.
const OWN: [ErrorKind; 6] = [
    ErrorKind::Other,
    ErrorKind::OutOfMemory,
    ErrorKind::InvalidData,
    ErrorKind::PermissionDenied,
    ErrorKind::Unsupported,
    ErrorKind::InvalidInput,
];

/// Errors that mean that the peer accepts no more data, and how its stream ended.
const PEERS: [(ErrorKind, StreamEnd); 6] = [
    (ErrorKind::ConnectionReset, StreamEnd::Reset),
    (ErrorKind::ConnectionAborted, StreamEnd::Reset),
    (ErrorKind::BrokenPipe, StreamEnd::Closed),
    (ErrorKind::NotConnected, StreamEnd::Closed),
    (ErrorKind::WriteZero, StreamEnd::Closed),
    (ErrorKind::TimedOut, StreamEnd::TimedOut),
];

/// Some space after a command, so that payload can be queued too.
fn drivers<M: Machine + 'static>(
    machine: &M,
    wire: impl Fn() -> Wire,
) -> impl Iterator<Item = (Box<dyn Way<M>>, Wire)> {
    stream_drivers(machine, 6, wire)
}

fn transport<P, X>(kind: ErrorKind) -> nb::Result<X, Error<P, Failed>> {
    Err(nb::Error::Other(Error::Transport(Failed(kind))))
}

#[test]
fn a_failed_flush_is_reported_and_can_be_repeated() {
    for kind in OWN {
        // Twice, because a repeated flush may fail again.
        let fails = || Wire::new(&question(40, 2)).fails_to_flush(&[kind, kind]);
        // At the end, ...
        for (mut way, wire) in drivers(&hello::Server::new(), fails) {
            assert_eq!(way.next(), transport(kind));
            assert_eq!((way.next(), wire.sent()), (transport(kind), vec![]));
            assert_eq!(
                (way.next(), wire.sent()),
                (Ok(Next::Close), b"Hello from server\n".to_vec())
            );
        }
        // before a boundary, ...
        for (mut way, wire) in drivers(&guess::Server::new(42), fails) {
            assert_eq!((way.next(), way.next()), (transport(kind), transport(kind)));
            assert_eq!((way.next(), wire.sent()), (Ok(Next::Boundary), b"GUESS\n".to_vec()));
        }
        // before a read, ...
        for (mut way, wire) in drivers(&math::Client::new(), || Wire::new(&question(40, 2))) {
            assert_eq!(way.next(), Ok(Next::Event(())));
            let _ = wire.clone().fails_to_flush(&[kind, kind]);
            assert_eq!((way.next(), way.next()), (transport(kind), transport(kind)));
            assert!(
                matches!(way.next(), Err(nb::Error::Other(Error::Protocol(_)))),
                "the driver should read and find the end"
            );
            assert_eq!(wire.sent(), 42_u32.to_be_bytes());
        }
        // while either side may send, ...
        for (mut way, wire) in drivers(&Chat::duplex(), || Wire::new(b"hi\nbye\n")) {
            way.command(chat::Command::Say(b"ho")).unwrap();
            let _ = wire.clone().fails_to_flush(&[kind]);
            let reported = [way.next(), way.next(), way.next(), way.next()];
            assert_eq!(
                reported.iter().filter(|reported| **reported == transport(kind)).count(),
                1,
                "{reported:?}"
            );
            assert_eq!(wire.sent(), b"ho\n");
        }
        // and by itself.
        for (mut way, wire) in drivers(&Chat::duplex(), fails) {
            way.command(chat::Command::Say(b"ho")).unwrap();
            assert_eq!((way.flush(), way.flush()), (transport(kind), transport(kind)));
            assert_eq!((way.flush(), wire.sent()), (Ok(()), b"ho\n".to_vec()));
        }
    }
}

#[test]
fn an_interrupted_flush_is_repeated() {
    let fails = || Wire::default().fails_to_flush(&[ErrorKind::Interrupted; 3]);
    for (mut way, wire) in drivers(&hello::Server::new(), fails) {
        assert_eq!((way.next(), wire.sent()), (Ok(Next::Close), b"Hello from server\n".to_vec()));
    }
}

/// The OS reports a reset once. Here the flush gets it, and the read then finds an orderly end.
#[test]
fn a_reset_reported_by_a_flush_is_not_taken_for_an_orderly_end() {
    for (kind, how) in PEERS {
        for (mut way, wire) in drivers(&math::Client::new(), || Wire::new(&question(1, 2))) {
            assert_eq!(way.next(), Ok(Next::Event(())));
            let _ = wire.clone().fails_to_flush(&[kind]);
            let Err(nb::Error::Other(Error::Protocol(e))) = way.next() else {
                panic!("the session continues after {kind:?}")
            };
            let expected = by_hand(&MathClient, &question(1, 2), how).ended;
            assert_eq!(Ended::Protocol(format!("{e:?}")), expected, "{kind:?}");
            assert_eq!(way.write_closed(), Some(how));
        }
    }
}

#[test]
fn the_first_error_of_a_peer_that_accepts_no_more_data_counts() {
    for (mut way, wire) in drivers(&math::Client::new(), || Wire::new(&question(1, 2))) {
        assert_eq!(way.next(), Ok(Next::Event(())));
        let _ = wire
            .fails_to_write(&[Some(ErrorKind::ConnectionReset)])
            .fails_to_flush(&[ErrorKind::NotConnected, ErrorKind::BrokenPipe]);
        let Err(nb::Error::Other(Error::Protocol(e))) = way.next() else {
            panic!("the session continues")
        };
        let expected = by_hand(&MathClient, &question(1, 2), StreamEnd::Reset).ended;
        assert_eq!(Ended::Protocol(format!("{e:?}")), expected);
    }
}

#[test]
fn a_session_that_ends_still_reports_that_its_last_bytes_were_lost() {
    for (kind, how) in PEERS {
        let fails = || Wire::default().fails_to_write(&[Some(kind)]);
        for (mut way, _) in drivers(&hello::Server::new(), fails) {
            assert_eq!(way.write_closed(), None);
            assert_eq!((way.next(), way.write_closed()), (Ok(Next::Close), Some(how)), "{kind:?}");
        }
        let fails = || Wire::default().fails_to_flush(&[kind]);
        for (mut way, _) in drivers(&hello::Server::new(), fails) {
            assert_eq!((way.next(), way.write_closed()), (Ok(Next::Close), Some(how)), "{kind:?}");
        }
    }
    for (kind, how) in
        [(TcpErrorKind::PipeClosed, StreamEnd::Closed), (TcpErrorKind::Other, StreamEnd::Reset)]
    {
        let mut net = Net::new(1);
        net.storm = 0;
        let (ours, _theirs) = net.line();
        net.break_sending(&ours, kind);
        let (machine, buffers) = (hello::Server::new(), ([0; 1025], [0; 18]));
        let mut connection =
            nonblocking::Connection::<Net, _, _, _>::new(ours, machine, buffers.0, buffers.1)
                .unwrap();
        assert_eq!(connection.advance(&mut net), Ok(Next::Close));
        assert_eq!(connection.write_closed(), Some(how));
        assert_eq!(connection.fault(), Some(NetError(kind)));

        let client = net.dial();
        let Socket::End(line, _) = client else { panic!("the client has no line") };
        net.break_sending(&Socket::End(line, 1), kind);
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, [buffers]).unwrap();
        let mut reported = None;
        let open = |_| (hello::Server::new(), IgnoreEvents);
        assert_eq!(
            server.poll(&mut net, 0, open, |e| reported = Some((e.outcome, e.fault))),
            Ok(())
        );
        assert_eq!(reported, Some((Outcome::Done, Some(NetError(kind)))));
    }
}

struct IgnoreEvents;

impl Handler<hello::Server> for IgnoreEvents {
    fn event(&mut self, _: hello::server::Event<&[u8]>) {}
}

#[test]
fn a_failed_payload_write_consumes_nothing_and_can_be_repeated() {
    let payload: Vec<u8> = (0..100).collect();
    for pattern in 0..64_u32 {
        let fails = || {
            let fail = |n: u32| (pattern >> (n % 6) & 1 == 1).then_some(ErrorKind::Other);
            Wire::default().fails_to_write(&(0..18).map(fail).collect::<Vec<_>>())
        };
        for (mut way, wire) in drivers(&echo::Client::new(), fails) {
            way.command(echo::client::Command::Begin(100)).unwrap();
            let (mut rest, mut calls) = (&payload[..], 0);
            while !rest.is_empty() {
                calls += 1;
                assert!(calls < 1000, "{pattern:b}: {} bytes left", rest.len());
                match way.write_payload(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(e) => assert_eq!(Err(e), transport::<_, ()>(ErrorKind::Other)),
                }
            }
            while way.flush().is_err() {}
            assert_eq!(wire.sent(), [&100_u32.to_be_bytes()[..], &payload].concat(), "{pattern:b}");
        }
    }
}

#[test]
fn a_write_that_times_out_is_not_taken_for_an_idle_peer() {
    let [prompt, again] = [&b"Head or tail (H/T) : "[..], &b"again : "[..]];
    for fails_to_flush in [false, true] {
        let wire = || Wire::open(prompt);
        for (mut way, wire) in drivers(&coin::Client::new(), wire) {
            assert_eq!((way.next(), way.next()), (Ok(Next::Event(())), Ok(Next::Command)));
            way.command(coin::client::Command::Answer(b"H")).unwrap();
            // A std socket returns `WouldBlock`, which is `Other` here.
            let _ = if fails_to_flush {
                wire.clone().fails_to_flush(&[ErrorKind::Other])
            } else {
                wire.clone().fails_to_write(&[Some(ErrorKind::Other)])
            };
            wire.0.borrow_mut().input.extend(again);
            assert_eq!(way.next(), transport(ErrorKind::Other));
            way.timed_out();
            let Err(nb::Error::Other(Error::Protocol(e))) = way.next() else {
                panic!("the timeout was taken for an idle peer")
            };
            assert!(format!("{e:?}").contains("TimedOut"), "{e:?}");
        }
    }
}

/// An application without commands of its own.
struct IgnoreLines;

impl Handler<Chat> for IgnoreLines {
    fn event(&mut self, _: chat::Event<&[u8]>) {}
}

#[test]
fn a_command_to_all_clients_reaches_slow_readers_and_none_twice() {
    for seed in 0..30 {
        let mut net = Net::new(seed);
        net.storm = (seed as usize * 7) % 80;
        (net.holds, net.most) = (300, 100);
        let clients = [net.dial(), net.dial(), net.dial()];
        let buffers = [(vec![0; 1025], vec![0; 1025]), (vec![0; 1025], vec![0; 1025])];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 2>::new(Socket::Idle, buffers).unwrap();
        let mut got = [vec![], vec![]];
        let poll = |server: &mut nonblocking::Server<_, _, _, _, _, 2>, net: &mut Net| {
            let open = |_| (Chat::duplex(), IgnoreLines);
            let polled = server.poll(net, 0, open, |over| panic!("{:?}", over.outcome));
            assert!(matches!(polled, Ok(()) | Err(nb::Error::WouldBlock)), "{polled:?}");
        };
        while server.clients() < 2 {
            poll(&mut server, &mut net);
        }
        let lines: Vec<Vec<u8>> =
            (0..20_u8).map(|n| vec![b'a' + n; 100 + usize::from(n)]).collect();
        let mut missed = 0;
        for line in &lines {
            let mut given = server.command(&mut net, chat::Command::Say(line));
            let mut rounds = 0;
            while given == Err(nb::Error::WouldBlock) {
                (missed, rounds) = (missed + 1, rounds + 1);
                assert!(rounds < 10_000, "seed {seed}: the command is never accepted");
                poll(&mut server, &mut net);
                // The first client reads at once, the second late.
                got[0].extend(net.take(&clients[0]));
                if rounds > 20 {
                    got[1].extend(net.take(&clients[1]));
                }
                given = server.command_missed(&mut net, chat::Command::Say(line));
            }
            assert_eq!(given, Ok(()), "seed {seed}");
        }
        // No client has missed a line.
        assert_eq!(server.command_missed(&mut net, chat::Command::Say(b"never")), Ok(()));
        assert!(missed > 0, "seed {seed}: no buffer was ever full");
        let expected: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        for _ in 0..1000 {
            poll(&mut server, &mut net);
            for (got, client) in got.iter_mut().zip(&clients) {
                got.extend(net.take(client));
            }
        }
        for got in got {
            assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        // A command that can never be sent is reported.
        let long = [b'x'; 1025];
        let refused = Err(nb::Error::Other(Invalid::TooLong.into()));
        assert_eq!(server.command(&mut net, chat::Command::Say(&long)), refused);
    }
}
