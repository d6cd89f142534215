//! Tests of the helpers that judge every machine. Each machine here breaks one law on purpose, and
//! the every-cut helper must name that law.
//!
//! All of them run the same toy protocol: a message has two bytes, and each is sent back.

use std::fmt;

use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState,
};
use socklab_tests::role::Role;
use socklab_tests::script::{Outcome, every_cut, every_truncation};

/// The law that a machine breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Treats one read as one message.
    ReadIsMessage,
    /// Detects a wrong tag only once the whole message has arrived.
    LateTag,
    /// Consumes the bad message, then returns the error.
    ErrorConsumes,
    /// Changes its state when it returns an error.
    ErrorChanges,
    /// Asks for input that it has.
    Stalls,
    /// Asks for output space that it has.
    WantsRoom,
    /// Returns `Continue` indefinitely.
    Spins,
    /// Changes its state indefinitely without moving a byte.
    Flips,
    /// Consumes more than there is.
    Greedy,
    /// Reports bytes as written that it did not write.
    Lies,
    /// Writes half a reply into a small output and forgets the rest.
    DropsTail,
    /// Keeps waiting after the end.
    MissesEnd,
    /// Accepts the end anywhere as an orderly close.
    AnyEndIsClean,
    /// Continues after `Close`.
    Restarts,
    /// Accepts commands after `Close`.
    TakesCommands,
    /// Forgets the last bytes if the end arrives with them.
    EndWins,
}

#[derive(Clone, Debug, PartialEq)]
struct Toy {
    flaw: Flaw,
    over: bool,
    errors: u8,
    flips: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ToyError {
    Tag(u8),
    Cut(usize, StreamEnd),
    Again(u8),
}

impl fmt::Display for ToyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ToyError {}

type StepResult = Result<Step<u8>, ToyError>;

impl Toy {
    fn end(&mut self, got: usize, how: StreamEnd) -> StepResult {
        if got > 0 && self.flaw != Flaw::AnyEndIsClean {
            return Err(ToyError::Cut(got, how));
        }
        self.over = self.flaw != Flaw::Restarts;
        Ok(Step::idle(Action::Close))
    }
}

impl Machine for Toy {
    type Command<'c> = ();
    type Event = u8;
    type Error = ToyError;
    const MIN_INPUT: usize = 2;
    const MIN_OUTPUT: usize = 2;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> StepResult {
        if self.over {
            return Ok(Step::idle(Action::Close));
        }
        match (input.bytes, input.state) {
            ([_, ..], StreamState::Ended(how)) if self.flaw == Flaw::EndWins => self.end(0, how),
            ([b'!', last], _) if self.flaw == Flaw::ReadIsMessage => {
                Ok(Step::new(2, 0, Action::Event(*last)))
            }
            ([b'!', value, ..], _) => {
                if self.flaw == Flaw::Stalls {
                    return Ok(Step::need(Need::Input));
                }
                if self.flaw == Flaw::WantsRoom {
                    return Ok(Step::need(Need::OutputSpace));
                }
                if self.flaw == Flaw::Spins {
                    return Ok(Step::idle(Action::Continue));
                }
                if self.flaw == Flaw::Flips {
                    self.flips += 1;
                    return Ok(Step::idle(Action::Continue));
                }
                let Some(room) = output.first_chunk_mut::<2>() else {
                    if let (Flaw::DropsTail, [first]) = (self.flaw, output) {
                        *first = b'!';
                        return Ok(Step::new(2, 1, Action::Event(*value)));
                    }
                    return Ok(Step::need(Need::OutputSpace));
                };
                if self.flaw != Flaw::Lies {
                    *room = [b'!', *value];
                }
                let consumed = if self.flaw == Flaw::Greedy { 3 } else { 2 };
                Ok(Step::new(consumed, 2, Action::Event(*value)))
            }
            ([b'!'], StreamState::Open | StreamState::Idle) => Ok(Step::need(Need::Input)),
            ([], StreamState::Open | StreamState::Idle) => Ok(Step::need(Need::Input)),
            ([_], StreamState::Open | StreamState::Idle) if self.flaw == Flaw::LateTag => {
                Ok(Step::need(Need::Input))
            }
            (_, StreamState::Ended(_)) if self.flaw == Flaw::MissesEnd => {
                Ok(Step::need(Need::Input))
            }
            ([], StreamState::Ended(how)) => self.end(0, how),
            ([b'!'], StreamState::Ended(how)) => self.end(1, how),
            ([_], StreamState::Ended(how)) if self.flaw == Flaw::LateTag => self.end(1, how),
            ([tag, ..], _) => {
                if self.flaw == Flaw::ErrorChanges {
                    self.errors += 1;
                }
                if self.flaw == Flaw::ErrorConsumes {
                    self.over = true;
                    return Err(ToyError::Again(self.errors));
                }
                Err(ToyError::Tag(*tag))
            }
        }
    }

    fn command(&mut self, (): (), _: &mut [u8]) -> Result<usize, CommandError> {
        if self.flaw == Flaw::TakesCommands { Ok(0) } else { Err(CommandError::OutOfTurn) }
    }
}

#[derive(Clone)]
struct ToyRole(Flaw);

impl Role for ToyRole {
    type Machine = Toy;
    type Event = u8;

    fn machine(&self) -> Toy {
        Toy { flaw: self.0, over: false, errors: 0, flips: 0 }
    }

    fn own(event: u8) -> u8 {
        event
    }

    fn probe() -> Option<()> {
        Some(())
    }
}

/// Returns what the helper reports for a flaw.
fn failure_of(flaw: Flaw) -> String {
    let role = ToyRole(flaw);
    // A short script, one with a wrong tag at the end, one with only that, and one that ends in the
    // middle.
    let tries = [&b"!a!b!c"[..], b"!a!b?c", b"?x", b"!a!"].map(|bytes| {
        every_truncation(&role, bytes)
            .and_then(|_| every_cut(&role, bytes, Some(StreamEnd::Closed)))
            .map_or_else(|failure| failure.what, |_| String::new())
    });
    tries.into_iter().find(|what| !what.is_empty()).unwrap_or_default()
}

#[test]
fn a_machine_without_a_flaw_passes() {
    assert_eq!(failure_of(Flaw::None), "");
    let transcript = every_cut(&ToyRole(Flaw::None), b"!a!b", Some(StreamEnd::Closed)).unwrap();
    assert_eq!((transcript.events(), transcript.sent), (vec![b'a', b'b'], b"!a!b".to_vec()));
    assert_eq!((transcript.consumed, transcript.outcome), (4, Outcome::Done));
}

#[test]
fn every_flaw_is_reported_with_the_law_it_breaks() {
    for (flaw, named) in [
        (Flaw::ReadIsMessage, "the plan changed the result"),
        (Flaw::ErrorConsumes, "the error Again(0) changed"),
        (Flaw::ErrorChanges, "the error Tag(63) changed"),
        (Flaw::Stalls, "stall: asks for input and has"),
        (Flaw::WantsRoom, "stall: asks for output space and has"),
        (Flaw::Spins, "a step without effect"),
        (Flaw::Flips, "stall: 8 steps moved nothing"),
        (Flaw::Greedy, "took more than it was given"),
        (Flaw::Lies, "reports 2 bytes and did not write all of them"),
        (Flaw::DropsTail, "the plan changed the result"),
        (Flaw::MissesEnd, "stall: asks for input after the end"),
        (Flaw::Restarts, "not final: Close was followed by"),
        (Flaw::TakesCommands, "not final: after Close a command returned Ok(0)"),
        (Flaw::EndWins, "the plan changed the result"),
    ] {
        let what = failure_of(flaw);
        assert!(what.starts_with(named), "{flaw:?}: got {what:?}, expected {named:?}");
    }
}

#[test]
fn flaws_that_break_no_law_are_not_reported() {
    // The laws do not define a truncation, nor how early a wrong byte must be detected. Both flaws
    // give the same result under every cut, so the tests of each machine have to find them.
    assert_eq!(failure_of(Flaw::AnyEndIsClean), "");
    assert_eq!(failure_of(Flaw::LateTag), "");
}

/// Two ends that wait for each other are reported as a deadlock.
#[test]
fn a_deadlock_of_a_pair_is_reported() {
    use socklab_tests::pair::{Faults, run_pair};
    use socklab_tests::rng::Rng;
    use socklab_tests::role::{MathClient, MathServer};
    // The server asks nothing, and the client waits for a question.
    let faults = Faults { half_close: false, ..Faults::draw(&mut Rng::new(1)) };
    let what = run_pair(&MathClient, &MathServer::new(&[], None), &faults, 7).unwrap_err();
    assert!(what.starts_with("seed 0x7, ") && what.contains(": deadlock at "), "{what}");
}
