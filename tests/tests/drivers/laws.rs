//! A machine that breaks a law ends its session, and the law is named: no driver loops, reads into no
//! space, or sends what was not written.

use std::convert::Infallible;

use embedded_io::ErrorKind;
use socklab_core::driver::{Error, Next, nonblocking};
use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState,
};
use socklab_core::session::{Handler, Law, Polled, Pumped, Session, Stop, Want, pump};
use socklab_tests::transport::{Net, NetEnd, Socket};

use crate::every_driver::{Wire, every_driver};

/// What a machine does in its first step and in all later ones.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    /// Always needs the same.
    Needs(Need),
    /// Consumes and writes these numbers of bytes more than there are, then does this.
    Counts(usize, usize, Action<()>),
    /// The same with numbers so large that a sum of two wraps.
    Wraps,
}

#[derive(Clone, Debug)]
struct Lawless(Breaks);

impl Machine for Lawless {
    type Command<'c> = Infallible;
    type Event = ();
    type Error = std::fmt::Error;
    const MIN_INPUT: usize = 4;
    const MIN_OUTPUT: usize = 4;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<()>, std::fmt::Error> {
        let needs_input = input.bytes.is_empty() && input.state == StreamState::Open;
        Ok(match self.0 {
            Breaks::Needs(need) => Step::need(need),
            _ if needs_input => Step::need(Need::Input),
            Breaks::Counts(more, written, action) => {
                let written = if written > 0 { output.len() + written } else { 0 };
                Step::new(if more > 0 { input.bytes.len() + more } else { 0 }, written, action)
            }
            // The first byte is consumed, so that the next sum wraps.
            Breaks::Wraps if input.bytes.len() > 1 => Step::new(1, 0, Action::Continue),
            Breaks::Wraps => Step::new(usize::MAX, usize::MAX, Action::Continue),
        })
    }

    fn command(&mut self, command: Infallible, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

struct Ignore;

impl Handler<Lawless> for Ignore {
    fn event(&mut self, (): ()) {}
}

/// Runs a session in every way, with this input and end, until it ends.
fn assert_broken(breaks: Breaks, bytes: &[u8], end: Option<NetEnd>, law: Law) {
    let machine = Lawless(breaks);
    let wire = || {
        let wire = Wire::open(bytes);
        wire.0.borrow_mut().end = end.map(|_| Ok(()));
        wire
    };
    for (mut way, wire) in every_driver(&machine, 0, wire) {
        let ended = (0..9).map(|_| way.next()).find(|next| *next != Ok(Next::Event(())));
        assert_eq!(ended, Some(Err(nb::Error::Other(Error::Law(law)))), "{breaks:?}");
        assert_eq!(wire.written(), b"", "{breaks:?}");
    }

    let mut session = Session::new(machine.clone(), [0; 4], [0; 4]).unwrap();
    let (mut rest, mut ended) = (bytes, None);
    for _ in 0..9 {
        match session.poll() {
            Ok(Polled::Want(Want::Read { .. } | Want::ReadOrWrite)) if !rest.is_empty() => {
                let space = session.recv_space();
                let n = space.len().min(rest.len());
                space[..n].copy_from_slice(&rest[..n]);
                session.received(n);
                rest = &rest[n..];
            }
            Ok(Polled::Want(Want::Read { .. } | Want::ReadOrWrite)) => {
                session.ended(StreamEnd::Closed);
            }
            Ok(Polled::Event(())) => {}
            other => ended = Some(other),
        }
    }
    assert_eq!(ended, Some(Ok(Polled::Want(Want::Broken(law)))), "{breaks:?}");

    let mut net = Net::new(1);
    net.storm = 0;
    let client = net.dial();
    net.preset(&client, bytes, end);
    let buffers = [([0; 4], [0; 4])];
    let mut pool = nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, buffers).unwrap();
    let mut outcome = None;
    for _ in 0..9 {
        let polled = pool.poll(
            &mut net,
            0,
            |_| (machine.clone(), Ignore),
            |over| {
                outcome = Some(over.outcome);
            },
        );
        assert!(!matches!(polled, Err(nb::Error::Other(_))));
    }
    assert_eq!(outcome, Some(nonblocking::Outcome::Broken(law)), "{breaks:?}");
    assert_eq!((net.take(&client), net.closed), (vec![], 1), "{breaks:?}");
}

#[test]
fn a_machine_that_needs_input_when_none_can_come_is_named() {
    for need in [Need::Input, Need::InputOrIdle(1), Need::InputOrCommand] {
        // After the end, and with a full buffer.
        assert_broken(Breaks::Needs(need), b"ab", Some(NetEnd::Zero), Law::Input);
        assert_broken(Breaks::Needs(need), b"abcdefgh", None, Law::Input);
    }
}

#[test]
fn a_machine_that_needs_output_space_when_nothing_is_pending_is_named() {
    assert_broken(Breaks::Needs(Need::OutputSpace), b"", None, Law::OutputSpace);
}

const COUNTS: [Breaks; 8] = [
    Breaks::Counts(1, 0, Action::Continue),
    Breaks::Counts(0, 1, Action::Continue),
    Breaks::Counts(1, 0, Action::Event(())),
    Breaks::Counts(0, 1, Action::Event(())),
    Breaks::Counts(9, 0, Action::Need(Need::Input)),
    Breaks::Counts(0, 9, Action::Close),
    Breaks::Counts(9, 9, Action::Boundary),
    Breaks::Wraps,
];

#[test]
fn a_machine_that_counts_more_than_it_was_given_is_named() {
    for breaks in COUNTS {
        assert_broken(breaks, b"ab", None, Law::Counts);
    }
}

/// The pump's caller slices its buffers by these counts.
#[test]
fn a_pump_returns_no_count_that_is_too_large() {
    for breaks in COUNTS {
        for state in [StreamState::Open, StreamState::Ended(StreamEnd::Closed)] {
            let mut output = [0; 8];
            let input = Input { bytes: b"ab", state };
            let pumped = pump(&mut Lawless(breaks), &mut Ignore, input, &mut output);
            let stop = Stop::Want(Want::Broken(Law::Counts));
            assert_eq!(pumped, Pumped { consumed: 0, written: 0, stop }, "{breaks:?}");
        }
    }
    let ended = Input::ended(b"ab", StreamEnd::Reset);
    for need in [Need::Input, Need::InputOrIdle(1), Need::InputOrCommand] {
        let pumped = pump(&mut Lawless(Breaks::Needs(need)), &mut Ignore, ended, &mut [0; 8]);
        assert_eq!(pumped.stop, Stop::Want(Want::Broken(Law::Input)), "{need:?}");
    }
    let mut machine = Lawless(Breaks::Needs(Need::OutputSpace));
    let pumped = pump(&mut machine, &mut Ignore, Input::open(b""), &mut [0; 8]);
    assert_eq!(pumped.stop, Stop::Want(Want::Broken(Law::OutputSpace)));
}

#[test]
fn a_law_is_named_in_plain_words() {
    let messages = [Law::Input, Law::OutputSpace, Law::Counts].map(|law| {
        let error = Error::<std::fmt::Error, ErrorKind>::Law(law);
        assert_eq!(error.to_string(), law.to_string());
        error.to_string()
    });
    assert_eq!(
        messages,
        [
            "the machine broke law 3: it needs input after the end of the stream, or with a full \
             input buffer",
            "the machine broke law 3: it needs output space, and the output buffer is empty",
            "the machine broke law 4: it consumed or wrote more than it was given",
        ]
    );
}
