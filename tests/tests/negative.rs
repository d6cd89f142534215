//! The helpers judge every machine, so they are judged here: each of these machines breaks one
//! law on purpose, and the every-cut helper has to say which.
//!
//! All of them speak the same toy protocol, two bytes a message, each sent back.

use std::fmt;

use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState,
};
use socklab_tests::role::Role;
use socklab_tests::script::{Outcome, every_cut, every_truncation};

/// The law that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// One read is taken for one message.
    ReadIsMessage,
    /// The wrong tag is seen only once the whole message is there.
    LateTag,
    /// The bad message is consumed, then the error is given.
    ErrorConsumes,
    /// The error changes the state.
    ErrorChanges,
    /// Asks for input it has.
    Stalls,
    /// Asks for room it has.
    WantsRoom,
    /// Says `Again` for ever.
    Spins,
    /// Changes state for ever without moving a byte.
    Flips,
    /// Consumes more than there is.
    Greedy,
    /// Claims to have written what it has not.
    Lies,
    /// Writes half a reply when the room is small, and forgets the rest.
    DropsTail,
    /// Waits on after the end.
    MissesEnd,
    /// Takes the end for clean wherever it comes.
    AnyEndIsClean,
    /// Goes on after `Done`.
    Restarts,
    /// Takes commands after `Done`.
    TakesCommands,
    /// The end and the last bytes come together: forgets the bytes.
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
enum Wrong {
    Tag(u8),
    Cut(usize, StreamEnd),
    Again(u8),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Wrong {}

type Went = Result<Step<u8>, Wrong>;

impl Toy {
    fn end(&mut self, got: usize, how: StreamEnd) -> Went {
        if got > 0 && self.flaw != Flaw::AnyEndIsClean {
            return Err(Wrong::Cut(got, how));
        }
        self.over = self.flaw != Flaw::Restarts;
        Ok(Step::idle(Action::Close))
    }
}

impl Machine for Toy {
    type Command<'c> = ();
    type Event<'i> = u8;
    type Error = Wrong;
    const MIN_INPUT: usize = 2;
    const MIN_OUTPUT: usize = 2;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Went {
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
                    return Err(Wrong::Again(self.errors));
                }
                Err(Wrong::Tag(*tag))
            }
        }
    }

    fn command(&mut self, (): (), _: &mut [u8]) -> Result<usize, CommandError> {
        if self.flaw == Flaw::TakesCommands { Ok(0) } else { Err(CommandError::OutOfTurn) }
    }
}

#[derive(Clone)]
struct Player(Flaw);

impl Role for Player {
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

/// What the helper says about a flaw.
fn verdict(flaw: Flaw) -> String {
    let role = Player(flaw);
    // A short script, one with a wrong tag, and one that ends in the middle.
    let tries = [&b"!a!b!c"[..], b"!a!b?c", b"?x", b"!a!"].map(|bytes| {
        every_truncation(&role, bytes)
            .and_then(|_| every_cut(&role, bytes, Some(StreamEnd::Closed)))
            .map_or_else(|failure| failure.what, |_| String::new())
    });
    tries.into_iter().find(|what| !what.is_empty()).unwrap_or_default()
}

#[test]
fn a_machine_without_flaw_passes() {
    assert_eq!(verdict(Flaw::None), "");
    let transcript = every_cut(&Player(Flaw::None), b"!a!b", Some(StreamEnd::Closed)).unwrap();
    assert_eq!((transcript.events(), transcript.sent), (vec![b'a', b'b'], b"!a!b".to_vec()));
    assert_eq!((transcript.consumed, transcript.outcome), (4, Outcome::Done));
}

#[test]
fn every_flaw_is_found_and_named() {
    for (flaw, named) in [
        (Flaw::ReadIsMessage, "the cut has a meaning"),
        (Flaw::ErrorConsumes, "the error Again(0) changed"),
        (Flaw::ErrorChanges, "the error Tag(63) changed"),
        (Flaw::Stalls, "stall: asks for input and has"),
        (Flaw::WantsRoom, "stall: asks for room and has"),
        (Flaw::Spins, "a step in vain"),
        (Flaw::Flips, "stall: 8 steps moved nothing"),
        (Flaw::Greedy, "took more than it was given"),
        (Flaw::Lies, "claims 2 bytes and did not write them"),
        (Flaw::DropsTail, "the cut has a meaning"),
        (Flaw::MissesEnd, "stall: asks for input after the end"),
        (Flaw::Restarts, "not final: after Close came"),
        (Flaw::TakesCommands, "not final: after Close a command got Ok(0)"),
        (Flaw::EndWins, "the cut has a meaning"),
    ] {
        let what = verdict(flaw);
        assert!(what.starts_with(named), "{flaw:?} is named {what:?}, not {named:?}");
    }
}

#[test]
fn what_is_legal_but_wrong_is_left_to_the_other_tests() {
    // The laws do not say what a truncation is, nor how early a wrong byte has to be seen: these
    // two are the same under every cut. The tests of each machine say it.
    assert_eq!(verdict(Flaw::AnyEndIsClean), "");
    assert_eq!(verdict(Flaw::LateTag), "");
}

/// The links, too: two that wait for each other are a deadlock, and said to be one.
#[test]
fn a_deadlock_is_found() {
    use socklab_tests::pair::{Faults, run_pair};
    use socklab_tests::rng::Rng;
    use socklab_tests::role::{MathClient, MathServer};
    // A server that asks nothing and a client that waits to be asked.
    let faults = Faults { half_close: false, ..Faults::draw(&mut Rng::new(1)) };
    let what = run_pair(&MathClient, &MathServer::new(&[], None), &faults, 7).unwrap_err();
    assert!(what.starts_with("seed 0x7, ") && what.contains(": deadlock at "), "{what}");
}
