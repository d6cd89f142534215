//! Every driver with every machine, over a transport that answers as the fuzzer chooses, and with a caller that
//! does what the fuzzer chooses.
//!
//! Invariant: each call of a driver makes the calls of the transport, and returns the event, the turn or the error,
//! that a session driven by hand with `Session::poll` does, byte for byte. The session itself keeps the rules of
//! `socklab_fuzz::hand::Hand`: among them that an error comes out whatever the transport does, and that a machine
//! whose connection is gone is not asked for commands again and again. No panic; every call returns.
//!
//! Covers the drivers `blocking`, `polled`, `asynch` (`Halves` and `Whole`) and `nonblocking`, with these calls:
//! `next`, `advance` with `view`, both with a clock, `command`, `write_payload`, `flush`, `listen`, `idle`,
//! `time_out`, `timed_out`, `restart`. Futures are polled again or dropped.
#![no_main]

use std::cell::RefCell;
use std::rc::Rc;

use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::driver::{Next, asynch, blocking, nonblocking, polled};
use socklab_core::machine::CommandError;
use socklab_fuzz::connection::{Asks, Async, Blocking, Connection, Nal, Polled, Shape as _, Wire};
use socklab_fuzz::hostile::{Peer, Setting, Target, either};
use socklab_fuzz::model::{Model, Outcome, Stop, Style};
use socklab_tests::role::{Application, Command};

/// Number of calls that is enough for any input.
const CALLS: usize = 5000;

/// The caller, with the application.
struct Caller<R: Application, C> {
    role: R,
    connection: C,
    model: Model<R>,
    /// It is its turn.
    may_speak: bool,
    /// It was asked for a command, and gave none.
    is_asked: bool,
    is_over: bool,
    /// The last call returned nothing.
    is_stuck: bool,
}

impl<R: Application, C: Connection<R>> Caller<R, C> {
    /// Compares what the driver and the model made of a call.
    fn same<X: PartialEq + std::fmt::Debug>(
        &mut self,
        by_driver: &Outcome<X, R>,
        by_hand: &Outcome<X, R>,
    ) {
        assert_eq!(by_driver, by_hand, "{:?}", self.model.hand);
        assert!(self.model.is_settled(), "it does {:?} more than by hand", self.model.take());
        let (connection, hand) = (&mut self.connection, &self.model.hand);
        assert_eq!(connection.machine(), hand.machine());
        assert_eq!(connection.unread(), hand.unread());
        assert_eq!(connection.write_closed(), hand.write_closed());
        if let Some(idle_ms) = connection.idle_ms() {
            assert_eq!(idle_ms, self.model.idle_ms, "how long to wait");
        }
        if C::STYLE == Style::Nal {
            assert_eq!(connection.fault(), self.model.fault.take());
        }
    }

    fn next(&mut self, asks: Asks) {
        (self.may_speak, self.is_asked, self.is_stuck) = (!R::TAKES_TURNS, false, false);
        let next = self.connection.next(asks);
        let by_hand = self.model.next(asks == Asks::Within);
        self.same(&next, &by_hand);
        match next {
            Ok(Next::Event(event)) => self.role.emitted(&event),
            Ok(Next::Command) => (self.may_speak, self.is_asked) = (true, true),
            Ok(Next::Boundary) => {}
            Ok(Next::Close | Next::Abort) | Err(Stop::Protocol(_)) => self.is_over = true,
            Err(Stop::Transport | Stop::Blocks) => self.is_stuck = true,
            Err(Stop::Refused(e)) => panic!("no command, and {e:?}"),
            Err(Stop::Law(law)) => panic!("{law}"),
        }
    }

    /// Lets the application give payload or a command. Returns whether it did.
    fn speaks(&mut self) -> bool {
        let owed = self.model.hand.outbound_remaining();
        if !self.role.payload().is_empty() && owed > 0 {
            let owed = usize::try_from(owed).unwrap_or(usize::MAX);
            let payload = self.role.payload();
            let payload = payload.get(..owed).unwrap_or(payload).to_vec();
            let n = self.write_payload(&payload);
            self.is_stuck = n == 0;
            self.role.advance_outbound(n);
            return n > 0;
        }
        let role = self.role.clone();
        let Some(command) = role.command() else { return false };
        match self.command(command) {
            Ok(()) => {
                self.role.given();
                true
            }
            Err(Stop::Refused(CommandError::OutputFull)) => self.role.split(),
            Err(_) => false,
        }
    }

    fn write_payload(&mut self, payload: &[u8]) -> usize {
        let taken = self.connection.write_payload(payload);
        let by_hand = self.model.write_payload(payload);
        self.same(&taken, &by_hand);
        taken.unwrap_or_default()
    }

    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        let given = self.connection.command(command);
        let by_hand = self.model.command(command);
        self.same(&given, &by_hand);
        given
    }

    /// Does what the choice says. Returns how to ask for what is next, `None` for another choice.
    fn acts(&mut self, choice: u8, restart: impl FnOnce(&mut Self)) -> Option<Asks> {
        let is_rare = choice >= 128;
        match choice & 15 {
            1 => return Some(Asks::Advance),
            2 if is_rare => {
                self.connection.time_out();
                self.model.hand.time_out();
            }
            3 if is_rare => {
                self.connection.timed_out();
                self.model.timed_out();
            }
            4 if is_rare => {
                self.connection.idle();
                self.model.hand.idle();
            }
            5 => {
                let flushed = self.connection.flush();
                let by_hand = self.model.flush_all();
                self.same(&flushed, &by_hand);
                return None;
            }
            6 => {
                if let Some(command) = R::probe() {
                    let _ = self.command(command);
                }
                return None;
            }
            7 if self.model.hand.outbound_remaining() == 0 => {
                assert_eq!(
                    self.write_payload(b"more"),
                    0,
                    "it takes payload that was not announced"
                );
                return None;
            }
            8 => return Some(Asks::Within),
            9 if is_rare => {
                let listened = self.connection.listen();
                let by_hand = self.model.listen();
                self.same(&listened, &by_hand);
                return None;
            }
            10 if choice >= 240 => {
                restart(self);
                return None;
            }
            // Also out of turn.
            choice if (self.may_speak || is_rare && choice == 11) && self.speaks() => {
                self.is_asked = false;
                return None;
            }
            _ => {}
        }
        Some(Asks::Next)
    }
}

fn talk<R: Application, C: Connection<R>>(
    role: &R,
    setting: &Setting,
    bytes: &[u8],
    wire: &Wire<R>,
    connection: C,
) {
    let model = Model::new(role, setting, C::STYLE, Rc::clone(&wire.0));
    let mut caller = Caller {
        role: role.clone(),
        connection,
        model,
        may_speak: !R::TAKES_TURNS,
        is_asked: false,
        is_over: false,
        is_stuck: false,
    };
    let mut calls = 0;
    while !caller.is_over {
        calls += 1;
        assert!(calls < CALLS, "the caller does not come to an end");
        let restart = |caller: &mut Caller<R, C>| {
            // Another peer, with the same transport.
            *wire.0.borrow_mut() = Peer::new(setting, bytes);
            caller.connection.restart(wire.clone(), role.machine());
            caller.model.restart(role);
            (caller.role, caller.may_speak) = (role.clone(), !R::TAKES_TURNS);
        };
        let Some(asks) = caller.acts(setting.choices.next(), restart) else { continue };
        let is_asked = caller.is_asked;
        caller.next(asks);
        // Every call succeeds by now, and nothing comes of it.
        if setting.choices.is_empty()
            && !caller.is_over
            && (caller.is_stuck || is_asked && caller.is_asked)
        {
            if caller.model.hand.has_ended() {
                // Neither side has anything to say, and the application may stay.
                return;
            }
            caller.connection.time_out();
            caller.model.hand.time_out();
        }
    }
    for asks in [Asks::Advance, Asks::Next] {
        caller.next(asks);
        assert!(caller.is_over, "the end is not final");
    }
}

struct Drivers;

impl Target for Drivers {
    fn run<R: Application>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
        let wire = Wire::<R>(Rc::new(RefCell::new(Peer::new(setting, bytes))));
        let [input, output] = setting.buffers::<R>();
        let (machine, fits) = (role.machine(), "the buffers are long enough");
        let choices = setting.choices.clone();
        match (setting.flags >> 2 & 3, setting.flags & 16 != 0) {
            (0, _) => {
                let connection =
                    blocking::Connection::new(wire.clone(), machine, input, output).expect(fits);
                talk(role, setting, bytes, &wire, Blocking { connection });
            }
            (1, false) => {
                let halves = asynch::Halves::new(&wire);
                let connection =
                    asynch::Connection::new(halves, machine, input, output).expect(fits);
                talk(
                    role,
                    setting,
                    bytes,
                    &wire,
                    Async { connection, wire: wire.clone(), choices },
                );
            }
            (1, true) => {
                let whole = asynch::Whole::new(&wire);
                let connection =
                    asynch::Connection::new(whole, machine, input, output).expect(fits);
                talk(
                    role,
                    setting,
                    bytes,
                    &wire,
                    Async { connection, wire: wire.clone(), choices },
                );
            }
            (2, _) => {
                let connection =
                    nonblocking::Connection::new((), machine, input, output).expect(fits);
                talk(role, setting, bytes, &wire, Nal { connection, stack: wire.clone() });
            }
            _ => {
                let connection =
                    polled::Connection::new(wire.clone(), machine, input, output).expect(fits);
                talk(role, setting, bytes, &wire, Polled { connection });
            }
        }
    }
}

fuzz_target!(|data: &[u8]| -> Corpus { either::<Drivers>(data) });
