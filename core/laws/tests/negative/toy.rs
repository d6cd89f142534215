//! A machine without commands. A message has two bytes, `!` and a value. It is emitted and sent back.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Span, Spans, Step, StreamEnd, StreamState,
};
use socklab_laws::{Application, Law, Outcome, Shown, check, every_cut};

use crate::{assert_names, failure_of};

/// The law that a machine breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Treats one read as one message.
    ReadIsMessage,
    /// Detects a wrong tag only once the whole message has arrived.
    LateTag,
    /// Closes after the bad message, and still returns the error.
    ErrorCloses,
    /// Changes its state when it returns an error.
    ErrorChanges,
    /// Skips a bad message once the next bytes have arrived.
    ErrorPasses,
    /// Reports the end instead of the bad message once the stream has ended.
    ErrorGivesWay,
    /// Asks for input that it has.
    Stalls,
    /// Asks for output space that it has.
    WantsRoom,
    /// Returns `Continue` indefinitely.
    Spins,
    /// Returns the same event indefinitely.
    Repeats,
    /// Changes its state indefinitely without moving a byte.
    Flips,
    /// Consumes more than there is.
    Greedy,
    /// Reports bytes as written that it did not write.
    Lies,
    /// Reports more bytes than there is space.
    Overwrites,
    /// Emits a span that lies outside the input.
    SpanOutside,
    /// Emits an event whose span does not move when it is shifted.
    SpanStays,
    /// Writes half a reply into a small output and forgets the rest.
    DropsTail,
    /// Counts the reads during which it waits for the second byte, and emits the count at a pause.
    PauseCounts,
    /// Keeps waiting after the end.
    MissesEnd,
    /// Accepts the end anywhere as an orderly close.
    AnyEndIsClean,
    /// Continues after `Close`.
    Restarts,
    /// Changes its state after `Close`.
    Counts,
    /// Accepts commands after `Close`.
    TakesCommands,
    /// Forgets the last bytes if the end arrives with them.
    EndWins,
    /// Shares its state with its copies: it emits only the first message.
    Shares,
    /// Shares its state with its copies: it numbers the messages.
    SharesNumber,
    /// Forgets a part of its state when it is copied.
    CopyForgets,
}

#[derive(Debug, PartialEq)]
struct Toy {
    flaw: Flaw,
    over: bool,
    count: u32,
    shared: Rc<Cell<u32>>,
}

impl Clone for Toy {
    fn clone(&self) -> Self {
        let count = if self.flaw == Flaw::CopyForgets { 0 } else { self.count };
        Self { flaw: self.flaw, over: self.over, count, shared: Rc::clone(&self.shared) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ToyError {
    Tag(u8),
    Cut(usize, StreamEnd),
}

impl fmt::Display for ToyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ToyError {}

/// A value, and a number that is 0 without a flaw.
#[derive(Clone, Copy, Debug)]
struct Value {
    span: Span,
    number: u32,
    stays: bool,
}

impl Spans for Value {
    type View<'i> = (&'i [u8], u32);

    fn view(self, bytes: &[u8]) -> (&[u8], u32) {
        (self.span.slice(bytes), self.number)
    }

    fn shift(self, by: usize) -> Self {
        Self { span: if self.stays { self.span } else { self.span.shift(by) }, ..self }
    }
}

type StepResult = Result<Step<Value>, ToyError>;

impl Toy {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, over: false, count: 0, shared: Rc::default() }
    }

    fn end(&mut self, got: usize, how: StreamEnd) -> StepResult {
        if got > 0 && self.flaw != Flaw::AnyEndIsClean {
            return Err(ToyError::Cut(got, how));
        }
        self.over = self.flaw != Flaw::Restarts;
        Ok(Step::idle(Action::Close))
    }

    /// Handles a whole message.
    fn message(&mut self, input: Input<'_>, output: &mut [u8]) -> StepResult {
        let event = |at, number| {
            let stays = self.flaw == Flaw::SpanStays;
            Action::Event(Value { span: Span::new(at, 1), number, stays })
        };
        match self.flaw {
            Flaw::ReadIsMessage => {
                let last = input.bytes.len() - 1;
                return Ok(Step::new(input.bytes.len(), 0, event(last, 0)));
            }
            Flaw::Stalls => return Ok(Step::need(Need::Input)),
            Flaw::WantsRoom => return Ok(Step::need(Need::OutputSpace)),
            Flaw::Spins => return Ok(Step::idle(Action::Continue)),
            Flaw::Repeats => return Ok(Step::idle(event(1, 0))),
            Flaw::Flips => {
                self.count += 1;
                return Ok(Step::idle(Action::Continue));
            }
            _ => {}
        }
        let Some(room) = output.first_chunk_mut::<2>() else {
            if let (Flaw::DropsTail, [first]) = (self.flaw, output) {
                *first = b'!';
                return Ok(Step::new(2, 1, event(1, 0)));
            }
            return Ok(Step::need(Need::OutputSpace));
        };
        if self.flaw != Flaw::Lies {
            *room = [b'!', input.bytes[1]];
        }
        let consumed = if self.flaw == Flaw::Greedy { input.bytes.len() + 1 } else { 2 };
        let written = if self.flaw == Flaw::Overwrites { output.len() + 1 } else { 2 };
        let at = if self.flaw == Flaw::SpanOutside { input.bytes.len() } else { 1 };
        let number = match self.flaw {
            Flaw::SharesNumber => self.shared.replace(self.shared.get() + 1),
            Flaw::Shares if self.shared.replace(1) == 1 => {
                return Ok(Step::new(2, 0, Action::Continue));
            }
            Flaw::CopyForgets => {
                self.count += 1;
                0
            }
            _ => 0,
        };
        Ok(Step::new(consumed, written, event(at, number)))
    }

    /// Handles a message with a wrong tag.
    fn wrong(&mut self, tag: u8, input: Input<'_>) -> StepResult {
        match (self.flaw, input.state) {
            (Flaw::ErrorChanges, _) => self.count += 1,
            (Flaw::ErrorCloses, _) => self.over = true,
            (Flaw::ErrorPasses, _) if input.bytes.len() > 2 => {
                return Ok(Step::new(2, 0, Action::Continue));
            }
            (Flaw::ErrorGivesWay, StreamState::Ended(how)) => {
                return Err(ToyError::Cut(input.bytes.len(), how));
            }
            _ => {}
        }
        Err(ToyError::Tag(tag))
    }
}

impl Machine for Toy {
    type Command<'c> = ();
    type Event = Value;
    type Error = ToyError;
    const MIN_INPUT: usize = 2;
    const MIN_OUTPUT: usize = 2;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> StepResult {
        if self.over {
            self.count += u32::from(self.flaw == Flaw::Counts);
            return Ok(Step::idle(Action::Close));
        }
        match (input.bytes, input.state) {
            ([_, ..], StreamState::Ended(how)) if self.flaw == Flaw::EndWins => self.end(0, how),
            ([b'!', _, ..], _) => self.message(input, output),
            ([b'!'], StreamState::Idle) if self.flaw == Flaw::PauseCounts => {
                let value = Value { span: Span::new(0, 1), number: self.count, stays: false };
                Ok(Step::new(1, 0, Action::Event(value)))
            }
            ([] | [b'!'], StreamState::Open) if self.flaw == Flaw::PauseCounts => {
                self.count += 1;
                Ok(Step::need(Need::InputOrIdle(100)))
            }
            ([] | [b'!'], StreamState::Open | StreamState::Idle) => Ok(Step::need(Need::Input)),
            ([_], StreamState::Open | StreamState::Idle) if self.flaw == Flaw::LateTag => {
                Ok(Step::need(Need::Input))
            }
            (_, StreamState::Ended(_)) if self.flaw == Flaw::MissesEnd => {
                Ok(Step::need(Need::Input))
            }
            ([], StreamState::Ended(how)) => self.end(0, how),
            ([b'!'], StreamState::Ended(how)) => self.end(1, how),
            ([_], StreamState::Ended(how)) if self.flaw == Flaw::LateTag => self.end(1, how),
            ([tag, ..], _) => self.wrong(*tag, input),
        }
    }

    fn command(&mut self, (): (), _: &mut [u8]) -> Result<usize, CommandError> {
        if self.flaw == Flaw::TakesCommands { Ok(0) } else { Err(CommandError::OutOfTurn) }
    }
}

#[derive(Clone)]
struct ToyUser(Flaw);

impl Application for ToyUser {
    type Machine = Toy;
    type Event = (Vec<u8>, u32);

    fn machine(&self) -> Toy {
        Toy::new(self.0)
    }

    fn own((value, number): (&[u8], u32)) -> (Vec<u8>, u32) {
        (value.to_vec(), number)
    }

    fn probe() -> Option<()> {
        Some(())
    }
}

/// A short script, one with a wrong tag in the middle, one that starts with it, and one that ends in
/// the middle of a message.
const SCRIPTS: &[&[u8]] = &[b"!a!b!c", b"!a!b?c!d", b"?x", b"!a!"];

#[test]
fn a_machine_without_a_flaw_passes() {
    assert_eq!(failure_of(&ToyUser(Flaw::None), SCRIPTS), None);
    let transcript = every_cut(&ToyUser(Flaw::None), b"!a!b", Some(StreamEnd::Closed)).unwrap();
    assert_eq!(transcript.events(), [(b"a".to_vec(), 0), (b"b".to_vec(), 0)]);
    assert_eq!(transcript.sent, b"!a!b");
    assert_eq!((transcript.consumed, transcript.outcome), (4, Outcome::Done));
}

#[test]
fn every_flaw_is_reported_with_the_law_it_breaks() {
    for (flaw, law, words) in [
        (Flaw::ReadIsMessage, Law::Cuts, "the result is not the expected one"),
        (Flaw::DropsTail, Law::Cuts, "the result is not the expected one"),
        (Flaw::EndWins, Law::Cuts, "the result is not the expected one"),
        (Flaw::PauseCounts, Law::Cuts, "with a pause after byte 3"),
        (Flaw::ErrorCloses, Law::Errors, "the error Tag(63) changed"),
        (Flaw::ErrorChanges, Law::Errors, "the error Tag(63) changed"),
        (Flaw::ErrorPasses, Law::Errors, "the error Tag(63) does not repeat"),
        (Flaw::ErrorGivesWay, Law::Errors, "the error Tag(63) does not repeat"),
        (Flaw::Stalls, Law::Progress, "stall: asks for input and has 2 bytes"),
        (Flaw::WantsRoom, Law::Progress, "stall: asks for output space and has 2048 bytes"),
        (Flaw::Spins, Law::Progress, "a step without effect: Continue"),
        (Flaw::Repeats, Law::Progress, "a step without effect: it returned"),
        (Flaw::Flips, Law::Progress, "stall: 8 steps moved nothing"),
        (Flaw::MissesEnd, Law::Progress, "stall: asks for input after the end"),
        (Flaw::Greedy, Law::Bounds, "took more than it was given: consumed 3 of 2"),
        (Flaw::Overwrites, Law::Bounds, "took more than it was given"),
        (Flaw::Lies, Law::Bounds, "reports 2 bytes and did not write all of them"),
        (Flaw::SpanOutside, Law::Bounds, "refers to bytes outside the input"),
        (Flaw::SpanStays, Law::Bounds, "is another one when shifted"),
        (Flaw::Restarts, Law::Finality, "not final: Close was followed by"),
        (Flaw::Counts, Law::Finality, "not final: after Close the machine changed"),
        (Flaw::TakesCommands, Law::Finality, "not final: after Close a command returned Ok(0)"),
        (Flaw::Shares, Law::Value, "a copy returned"),
        (Flaw::SharesNumber, Law::Value, "a copy returned the event"),
        (Flaw::CopyForgets, Law::Value, "a copy of Toy"),
    ] {
        assert_names(failure_of(&ToyUser(flaw), SCRIPTS), law, words, flaw);
    }
}

#[test]
fn flaws_that_break_no_law_are_not_reported() {
    // The laws do not define a truncation, nor how early a wrong byte must be detected. Both flaws
    // give the same result under every cut, so the tests of each machine have to find them.
    assert_eq!(failure_of(&ToyUser(Flaw::AnyEndIsClean), SCRIPTS), None);
    assert_eq!(failure_of(&ToyUser(Flaw::LateTag), SCRIPTS), None);
}

#[test]
fn a_function_is_an_application_without_commands() {
    let transcript = check(|| Toy::new(Flaw::None), b"!a!b").unwrap();
    assert_eq!(transcript.events(), ["([97], 0)", "([98], 0)"]);
    assert_eq!(transcript.events().iter().map(Shown::as_str).next(), Some("([97], 0)"));
    let failure = check(|| Toy::new(Flaw::ReadIsMessage), b"!a!b").unwrap_err();
    assert_eq!(failure.law, Law::Cuts);
}
