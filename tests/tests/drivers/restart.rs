//! `restart` leaves nothing of the last session: a connection that is used again does the same as a new
//! one.

use std::convert::Infallible;

use embedded_io::ErrorKind;
use socklab_core::driver::{Error, Next};
use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState,
};
use socklab_core::session::{Polled, Session, Want};
use socklab_core::{file, guess, math};
use socklab_tests::oracle::question;

use crate::every_driver::{Way, Wire, every_driver, stream_drivers};

/// Runs a connection until it ends or waits, and returns what it reported and sent.
fn run<M: Machine>(way: &mut dyn Way<M>, wire: &Wire) -> (Vec<String>, Vec<u8>) {
    let mut reported = vec![];
    for _ in 0..30 {
        let next = way.next();
        reported.push(format!("{next:?}"));
        if !matches!(next, Ok(Next::Event(()) | Next::Boundary)) {
            return (reported, wire.written());
        }
    }
    panic!("it does not end: {reported:?}");
}

/// Checks that a connection used like `before` and then restarted does the same as a new one.
fn restarts<M: Machine + 'static>(
    machine: &M,
    first: &[u8],
    script: &[u8],
    before: impl Fn(&mut dyn Way<M>, &Wire),
) {
    let new: Vec<_> = every_driver(machine, 0, || Wire::new(script))
        .map(|(mut way, wire)| run(&mut *way, &wire))
        .collect();
    for ((mut way, wire), new) in every_driver(machine, 0, || Wire::open(first)).zip(new) {
        before(&mut *way, &wire);
        let wire = Wire::new(script);
        way.restart(wire.clone(), machine.clone());
        assert_eq!((way.unread(), way.write_closed()), (&b""[..], None));
        assert_eq!(run(&mut *way, &wire), new);
    }
}

#[test]
fn unread_input_and_pending_output_do_not_stay() {
    let script = [question(1, 2), question(3, 4), b"Sopensesm".to_vec()].concat();
    let first = [question(5, 6), b"Q\0\0\0".to_vec()].concat();
    restarts(&math::Client::new(), &first, &script, |way, wire| {
        wire.0.borrow_mut().is_full = true;
        assert_eq!(way.next(), Ok(Next::Event(())));
        let _ = way.next();
    });
    // Written, and not flushed.
    restarts(&math::Client::new(), &first, &script, |way, wire| {
        assert_eq!(way.next(), Ok(Next::Event(())));
        wire.0.borrow_mut().flushes.push_back(ErrorKind::Other);
        let _ = way.next();
    });
}

#[test]
fn an_ended_or_failed_session_does_not_stay() {
    let script = [question(1, 2), b"Sopensesm".to_vec()].concat();
    restarts(&math::Client::new(), b"X", &script, |way, _| {
        assert!(matches!(way.next(), Err(nb::Error::Other(Error::Protocol(_)))));
    });
    restarts(&math::Client::new(), b"", &script, |way, _| way.time_out());
    for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
        restarts(&math::Client::new(), &question(1, 2), &script, |way, wire| {
            wire.0.borrow_mut().writes.push_back(Some(kind));
            wire.ends(Err(kind));
            let _ = run(way, wire);
            assert!(way.write_closed().is_some());
        });
    }
}

#[test]
fn a_pending_boundary_does_not_stay() {
    restarts(&guess::Server::new(42), b"", b"41\n", |way, wire| {
        wire.0.borrow_mut().is_full = true;
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
    });
}

#[test]
fn idle_times_do_not_stay() {
    // Reported and not yet seen by the machine.
    restarts(&file::Server::new(), b"no", b"tes.txt\n", |way, _| {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.idle();
    });
    // What the last session waited for is not what this one waits for.
    for (mut way, _) in every_driver(&file::Server::new(), 0, || Wire::open(b"no")) {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.restart(Wire::open(b""), file::Server::new());
        way.timed_out();
        let next = way.next();
        assert!(matches!(next, Err(nb::Error::Other(Error::Protocol(_)))), "{next:?}");
    }
}

/// Waits for an idle time, then writes four bytes and emits an event.
#[derive(Clone, Debug)]
struct Waits(bool);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ended(StreamEnd);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Ended {}

impl Machine for Waits {
    type Command<'c> = Infallible;
    type Event = ();
    type Error = Ended;
    const MIN_INPUT: usize = 1;
    const MIN_OUTPUT: usize = 4;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<()>, Ended> {
        Ok(match input.state {
            StreamState::Ended(how) => return Err(Ended(how)),
            StreamState::Idle if !self.0 => {
                self.0 = true;
                output[..4].copy_from_slice(b"idle");
                Step::new(0, 4, Action::Event(()))
            }
            _ if self.0 => Step::need(Need::Input),
            _ => Step::need(Need::InputOrIdle(50)),
        })
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

#[test]
fn a_reported_idle_time_does_not_stay() {
    for (mut way, _) in every_driver(&Waits(false), 0, || Wire::open(b"")) {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.idle();
        way.restart(Wire::open(b""), Waits(false));
        assert_eq!(way.next(), Err(nb::Error::WouldBlock), "it has not been idle yet");
        way.idle();
        assert_eq!(way.next(), Ok(Next::Event(())));
    }
}

/// After the event the caller flushes, and gives up on that: the machine no longer waits to be idle.
#[test]
fn a_time_limit_of_a_later_call_is_not_taken_for_an_idle_time() {
    for (mut way, wire) in every_driver(&Waits(false), 0, || Wire::open(b"")) {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.idle();
        assert_eq!(way.next(), Ok(Next::Event(())));
        wire.0.borrow_mut().is_full = true;
        assert_eq!(way.flush(), Err(nb::Error::WouldBlock));
        way.timed_out();
        assert_eq!(way.next(), Err(nb::Error::Other(Error::Protocol(Ended(StreamEnd::TimedOut)))));
    }
    for (mut way, _) in stream_drivers(&Waits(false), 0, || Wire::open(b"")) {
        assert_eq!(way.next(), Err(nb::Error::WouldBlock));
        way.timed_out();
        assert_eq!(way.next(), Ok(Next::Event(())), "the wait itself was the idle time");
    }
}

#[test]
fn a_session_restarts_with_every_flag_cleared() {
    let mut session = Session::new(guess::Server::new(42), [0; 1050], [0; 1050]).unwrap();
    // A latched boundary, unflushed and pending output, an idle time, and an end of both directions.
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Write)));
    session.transmitted(2);
    session.idle();
    session.time_out();
    session.restart(guess::Server::new(42));
    assert_eq!((session.has_ended(), session.write_closed()), (false, None));
    assert_eq!(
        (session.poll(), session.transmit()),
        (Ok(Polled::Want(Want::Write)), &b"GUESS\n"[..])
    );
    session.transmitted(6);
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Flush)));
    session.flushed();
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Boundary)));
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Read { idle_ms: None })));
}
