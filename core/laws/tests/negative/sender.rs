//! A machine with commands and payload. The application announces a payload with one byte and sends it
//! past the machine. The peer answers with `+`, a length and a payload of its own.

use std::fmt;

use socklab_core::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Span, Step, StreamEnd, StreamState,
};
use socklab_laws::{Application, Law, Outcome, at_once, check, in_turn};

use crate::{assert_names, failure_of};

/// The law that a machine breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Refuses a command in its turn.
    RefusesCommand,
    /// Changes its state when it refuses a command.
    RefusalChanges,
    /// Reports a byte of a command that it did not write.
    CommandLies,
    /// Reports more bytes of a command than there is space.
    CommandOverwrites,
    /// Shares its state with its copies.
    CommandShares,
    /// Writes another command's message before the payload of the first is sent.
    CommandOvertakes,
    /// Writes a byte of its own before the payload is sent.
    StepOvertakes,
    /// Accepts the last command again after `Close`.
    TakesCommands,
    /// Accepts more outbound payload than it announced.
    OutboundOverrun,
    /// Refuses the last byte of the outbound payload.
    OutboundRefused,
    /// Counts one byte too few of the outbound payload.
    OutboundMiscounted,
    /// Changes its state when it refuses outbound payload.
    OutboundRefusalChanges,
    /// Accepts more inbound payload than it announced.
    InboundOverrun,
    /// Does not count inbound payload.
    InboundMiscounted,
    /// Forgets its state when inbound payload is taken past it.
    InboundForgets,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Waits for a command.
    Turn,
    /// This number of bytes of outbound payload remains.
    Sending(u64),
    /// Waits for `+` and the length.
    Answer,
    /// This number of bytes of inbound payload remains.
    Receiving(u64),
    Over,
}

#[derive(Clone, Debug, PartialEq)]
struct Sender {
    flaw: Flaw,
    state: State,
    count: u32,
    shared: std::rc::Rc<std::cell::Cell<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Unexpected(StreamState);

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unexpected bytes, or the end: {:?}", self.0)
    }
}

impl std::error::Error for Unexpected {}

impl Sender {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, state: State::Turn, count: 0, shared: std::rc::Rc::default() }
    }

    fn receive(&mut self, n: u64, remaining: u64) {
        self.state = match remaining - n {
            0 => State::Over,
            left => State::Receiving(left),
        };
    }
}

impl Machine for Sender {
    /// Length of the payload.
    type Command<'c> = u8;
    type Event = Span;
    type Error = Unexpected;
    const MIN_INPUT: usize = 2;
    const MIN_OUTPUT: usize = 2;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Span>, Unexpected> {
        match (self.state, input.bytes, input.state) {
            (State::Sending(_), ..) if self.flaw == Flaw::StepOvertakes => {
                output.fill(b'!');
                Ok(Step::new(0, 1, Action::Continue))
            }
            (State::Over, ..) => Ok(Step::idle(Action::Close)),
            (State::Turn | State::Sending(_), ..) => Ok(Step::need(Need::Command)),
            (State::Answer, [b'+', 0, ..], _) => {
                self.state = State::Over;
                Ok(Step::new(2, 0, Action::Continue))
            }
            (State::Answer, [b'+', length, ..], _) => {
                self.state = State::Receiving((*length).into());
                Ok(Step::new(2, 0, Action::Continue))
            }
            (State::Receiving(remaining), [_, ..], _) => {
                let n = input.bytes.len().min(remaining as usize);
                self.receive(n as u64, remaining);
                Ok(Step::new(n, 0, Action::Event(Span::new(0, n))))
            }
            (State::Answer, [] | [b'+'], StreamState::Open | StreamState::Idle)
            | (State::Receiving(_), [], StreamState::Open | StreamState::Idle) => {
                Ok(Step::need(Need::Input))
            }
            (State::Answer, [] | [b'+'], state) | (State::Receiving(_), [], state) => {
                Err(Unexpected(state))
            }
            (State::Answer, ..) => Err(Unexpected(StreamState::Open)),
        }
    }

    fn command(&mut self, length: u8, output: &mut [u8]) -> Result<usize, CommandError> {
        match (self.flaw, self.state) {
            (Flaw::RefusesCommand, _) => return Err(Invalid::Reserved.into()),
            (Flaw::RefusalChanges, State::Turn) => {
                self.count += 1;
                return Err(CommandError::OutOfTurn);
            }
            (Flaw::CommandShares, State::Turn) if self.shared.replace(1) == 1 => {
                return Err(CommandError::OutOfTurn);
            }
            (Flaw::TakesCommands, State::Over) => return Ok(0),
            (Flaw::CommandOvertakes, State::Sending(_)) => {}
            (_, State::Turn) => {}
            _ => return Err(CommandError::OutOfTurn),
        }
        let Some([first, second]) = output.first_chunk_mut() else {
            return Err(CommandError::OutputFull);
        };
        *first = b'=';
        if self.flaw != Flaw::CommandLies {
            *second = length;
        }
        self.state = if length == 0 { State::Answer } else { State::Sending(length.into()) };
        Ok(if self.flaw == Flaw::CommandOverwrites { output.len() + 1 } else { 2 })
    }

    fn outbound_remaining(&self) -> u64 {
        if let State::Sending(remaining) = self.state { remaining } else { 0 }
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        let remaining = self.outbound_remaining();
        if n == 0 {
            return Ok(());
        }
        if n > remaining && self.flaw != Flaw::OutboundOverrun {
            self.count += u32::from(self.flaw == Flaw::OutboundRefusalChanges);
            return Err(Invalid::Overrun.into());
        }
        if self.flaw == Flaw::OutboundRefused && n == remaining {
            return Err(Invalid::Overrun.into());
        }
        let counted = if self.flaw == Flaw::OutboundMiscounted { n - 1 } else { n };
        self.state = match remaining.saturating_sub(counted) {
            0 => State::Answer,
            left => State::Sending(left),
        };
        Ok(())
    }

    fn inbound_remaining(&self) -> u64 {
        if let State::Receiving(remaining) = self.state { remaining } else { 0 }
    }

    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        let remaining = self.inbound_remaining();
        if n == 0 {
            return Ok(());
        }
        if n > remaining && self.flaw != Flaw::InboundOverrun {
            return Err(Invalid::Overrun.into());
        }
        match self.flaw {
            Flaw::InboundMiscounted => {}
            Flaw::InboundForgets if n == remaining => self.state = State::Answer,
            _ => self.receive(n.min(remaining), remaining),
        }
        Ok(())
    }
}

/// Sends one payload, and receives one.
#[derive(Clone)]
struct SenderUser {
    flaw: Flaw,
    payload: &'static [u8],
    sent: usize,
    has_begun: bool,
    /// Whether it wants to send a second payload before the first is sent.
    overtakes: bool,
}

impl SenderUser {
    fn new(flaw: Flaw) -> Self {
        let overtakes = flaw == Flaw::CommandOvertakes;
        Self { flaw, payload: b"payload", sent: 0, has_begun: false, overtakes }
    }
}

impl Application for SenderUser {
    type Machine = Sender;
    type Event = Vec<u8>;
    const TAKES_TURNS: bool = true;

    fn machine(&self) -> Sender {
        Sender::new(self.flaw)
    }

    fn own(event: &[u8]) -> Vec<u8> {
        event.to_vec()
    }

    fn append(last: &mut Vec<u8>, next: &Vec<u8>) -> bool {
        last.extend_from_slice(next);
        true
    }

    fn command(&self) -> Option<u8> {
        (!self.has_begun || self.overtakes).then_some(self.payload.len() as u8)
    }

    fn given(&mut self) {
        self.has_begun = true;
    }

    fn payload(&self) -> &[u8] {
        if self.has_begun && !self.overtakes { &self.payload[self.sent..] } else { &[] }
    }

    fn advance_outbound(&mut self, n: usize) {
        self.sent += n;
    }

    fn advance_inbound(bytes: &[u8], _: bool) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }
}

const SCRIPTS: &[&[u8]] = &[b"+\x03abcd", b"+\0", b"x"];

#[test]
fn a_machine_without_a_flaw_passes() {
    let application = SenderUser::new(Flaw::None);
    assert_eq!(failure_of(&application, SCRIPTS), None);
    let transcript = check(application, b"+\x03abcd").unwrap();
    assert_eq!(transcript.sent, b"=\x07payload");
    assert_eq!((transcript.events(), transcript.consumed), (vec![b"abc".to_vec()], 5));
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn every_flaw_is_reported_with_the_law_it_breaks() {
    for (flaw, law, words) in [
        (Flaw::RefusesCommand, Law::Commands, "a command in turn was refused: Invalid(Reserved)"),
        (Flaw::RefusalChanges, Law::Commands, "a refused command changed"),
        (Flaw::CommandLies, Law::Bounds, "a command reports 2 bytes and did not write all of them"),
        (Flaw::CommandOverwrites, Law::Bounds, "a command wrote 2049 bytes into 2048"),
        (Flaw::CommandShares, Law::Value, "a copy accepted a command with Ok(2)"),
        (Flaw::CommandOvertakes, Law::Payload, "a command wrote 2 bytes while 7 bytes"),
        (Flaw::TakesCommands, Law::Finality, "not final: after Close a command returned Ok(0)"),
        (
            Flaw::OutboundOverrun,
            Law::Payload,
            "accepted more outbound payload than remains: 1 byte",
        ),
        (Flaw::OutboundRefused, Law::Payload, "refused 7 bytes of outbound payload of 7"),
        (Flaw::OutboundMiscounted, Law::Payload, "counted 1 bytes of outbound payload of 7, and 7"),
        (Flaw::OutboundRefusalChanges, Law::Payload, "changed when it refused more outbound"),
        (Flaw::InboundOverrun, Law::Payload, "accepted more inbound payload than remains: 1 byte"),
        (Flaw::InboundMiscounted, Law::Payload, "counted 1 bytes of inbound payload of 3, and 3"),
        (Flaw::InboundForgets, Law::Cuts, "inbound payload does not pass through the machine"),
    ] {
        assert_names(failure_of(&SenderUser::new(flaw), SCRIPTS), law, words, flaw);
    }
}

#[test]
fn output_of_the_machine_that_precedes_outbound_payload_is_reported() {
    // A list of commands has no payload, so it remains.
    let application = in_turn(|| Sender::new(Flaw::StepOvertakes), |at| [7].get(*at).copied());
    let failure = check(application, b"").err();
    assert_names(failure, Law::Payload, "wrote 1 bytes while 7 bytes of outbound", "StepOvertakes");
}

#[test]
fn a_list_of_commands_is_an_application() {
    let machine = || Sender::new(Flaw::None);
    let none = |_: &usize| None;
    let no_payload = |at: &usize| (*at == 0).then_some(0_u8);
    for bytes in [&b"+\0"[..], b"+", b"x"] {
        let transcript = check(in_turn(machine, no_payload), bytes).unwrap();
        assert_eq!(transcript.sent, b"=\0");
        assert_eq!(check(at_once(machine, no_payload), bytes).unwrap(), transcript);
        let waiting = check(in_turn(machine, none), bytes).unwrap();
        assert_eq!(waiting.outcome, Outcome::Waiting(Need::Command));
    }
    let refusing = in_turn(|| Sender::new(Flaw::RefusesCommand), |at| [0].get(*at).copied());
    let refused = check(refusing, b"").unwrap_err();
    assert_eq!((refused.law, refused.end), (Law::Commands, Some(StreamEnd::Closed)));
}
