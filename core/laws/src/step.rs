//! The laws that hold for a single step, a single command and the payload counters.

use socklab_core::machine::{
    Action, CommandError, Input, Invalid, Machine, Spans as _, Step, StreamEnd, StreamState,
};

use crate::application::Application;
use crate::failure::{Broken, Law};
use crate::run::{Emitted, Outcome, Run};

/// Every way a stream can end.
const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];

/// What two output buffers are filled with, so that a byte that is reported and not written differs.
const FILLS: [u8; 2] = [0xee, 0x11];

/// What a call of `step` returned, without its event.
type Brief<E> = Result<(usize, usize, Action<()>), E>;

fn brief<V, E: Copy>(step: &Result<Step<V>, E>) -> Brief<E>
where
    V: Copy,
{
    step.as_ref().map(|step| (step.consumed, step.written, step.action.map(|_| ()))).map_err(|e| *e)
}

impl<A: Application> Run<'_, A> {
    /// Takes one step and checks the laws that hold for every step. `rest` is what the peer sends after
    /// the input.
    pub(crate) fn step(
        &mut self,
        input: Input<'_>,
        rest: &[u8],
    ) -> Result<Result<Action<()>, Outcome>, Broken> {
        let before = self.machine.clone();
        let mut peek = self.machine.clone();
        let room = &mut self.window[self.queued..];
        let other_room = &mut self.other_window[self.queued..];
        room.fill(FILLS[0]);
        other_room.fill(FILLS[1]);
        let peeked = peek.step(input, other_room);
        let stepped = self.machine.step(input, room);
        if brief(&peeked) != brief(&stepped) {
            return Err(Law::Value
                .broken(format!("a copy returned {peeked:?}, then the machine {stepped:?}")));
        }
        let Step { consumed, written, action } = match stepped {
            Ok(step) => step,
            Err(e) => {
                self.check_error(e, &before, input, rest)?;
                return Ok(Err(Outcome::Error(format!("{e:?}"), e.to_string())));
            }
        };
        if peek != self.machine {
            return Err(Law::Value
                .broken(format!("a copy stepped to {peek:?}, the machine to {:?}", self.machine)));
        }
        if consumed > input.bytes.len() || written > room.len() {
            let (bytes, room) = (input.bytes.len(), room.len());
            return Err(Law::Bounds.broken(format!(
                "took more than it was given: consumed {consumed} of {bytes} input bytes, wrote \
                 {written} of {room} output bytes"
            )));
        }
        if room[..written] != other_room[..written] {
            return Err(Law::Bounds
                .broken(format!("reports {written} bytes and did not write all of them")));
        }
        let is_idle = consumed == 0 && written == 0 && before == self.machine;
        if is_idle && matches!(action, Action::Continue | Action::Boundary) {
            return Err(Law::Progress.broken(format!("a step without effect: {action:?}")));
        }
        let outstanding = before.outbound_remaining();
        if outstanding > 0 && written > 0 {
            return Err(Law::Payload.broken(format!(
                "wrote {written} bytes while {outstanding} bytes of outbound payload remain"
            )));
        }
        self.check_copy()?;
        let what = action.map(|_| ());
        self.consumed += consumed;
        self.queued += written;
        self.moved |= consumed > 0 || written > 0;
        if let Action::Event(event) = action {
            if is_idle {
                return Err(Law::Progress.broken(format!(
                    "a step without effect: it returned {event:?} and changed nothing"
                )));
            }
            let other = match peeked {
                Ok(Step { action: Action::Event(other), .. }) => other,
                _ => event,
            };
            let event = Self::view(event, input.bytes)?;
            if event != A::own(other.view(input.bytes)) {
                return Err(Law::Value.broken(format!(
                    "a copy returned the event {other:?}, the machine {event:?}"
                )));
            }
            self.record(event);
        }
        Ok(Ok(what))
    }

    /// Checks that an error has changed nothing, and that it repeats with the same input, with more
    /// bytes and at the end of the stream.
    fn check_error(
        &mut self,
        e: <A::Machine as Machine>::Error,
        before: &A::Machine,
        input: Input<'_>,
        rest: &[u8],
    ) -> Result<(), Broken> {
        let unchanged = |machine: &A::Machine, when: &str| {
            if machine == before {
                return Ok(());
            }
            Err(Law::Errors
                .broken(format!("the error {e:?} changed {before:?} to {machine:?}{when}")))
        };
        unchanged(&self.machine, "")?;
        let mut later = vec![(input.bytes.to_vec(), input.state)];
        // After a pause the machine may go on, and after the end nothing can arrive.
        if input.state == StreamState::Open {
            let next = &rest[..rest.len().min(1)];
            for more in [&[][..], next, rest, &[0], &[0xff; 3], b"\n"] {
                let bytes = [input.bytes, more].concat();
                later.push((bytes.clone(), StreamState::Open));
                later.extend(ENDS.map(|how| (bytes.clone(), StreamState::Ended(how))));
            }
        }
        for (bytes, state) in later {
            let input = Input { bytes: &bytes, state };
            let again = self.machine.step(input, &mut self.window[self.queued..]);
            if again.as_ref().err() != Some(&e) {
                return Err(Law::Errors.broken(format!(
                    "the error {e:?} does not repeat: for {input:?} the next step returned {again:?}"
                )));
            }
            unchanged(&self.machine, " when it was repeated")?;
        }
        Ok(())
    }

    /// Returns the event with its bytes. Its spans have to lie inside the input: behind other bytes they
    /// must show the same.
    fn view(event: <A::Machine as Machine>::Event, bytes: &[u8]) -> Result<A::Event, Broken> {
        let owned = A::own(event.view(bytes));
        let longer = [bytes, &[0x5a; 64]].concat();
        if owned != A::own(event.view(&longer)) {
            return Err(Law::Bounds
                .broken(format!("the event {event:?} refers to bytes outside the input")));
        }
        if owned != A::own(event.shift(3).view(&[b"...", bytes].concat())) {
            return Err(
                Law::Bounds.broken(format!("the event {event:?} is another one when shifted"))
            );
        }
        Ok(owned)
    }

    fn record(&mut self, event: A::Event) {
        self.application.emitted(&event);
        let (consumed, written) = (self.consumed, self.written());
        if let Some(last) = self.emitted.last_mut()
            && A::append(&mut last.event, &event)
        {
            (last.consumed, last.written) = (consumed, written);
            return;
        }
        self.emitted.push(Emitted { event, consumed, written });
    }

    /// Gives the application's commands. Returns whether there was one.
    pub(crate) fn give_commands(&mut self) -> Result<bool, Broken> {
        let mut gave_any = false;
        loop {
            let Some(command) = self.application.command() else { return Ok(gave_any) };
            let before = self.machine.clone();
            let room = &mut self.window[self.queued..];
            let other_room = &mut self.other_window[self.queued..];
            room.fill(FILLS[0]);
            other_room.fill(FILLS[1]);
            let mut peek = before.clone();
            let peeked = peek.command(command, other_room);
            let given = self.machine.command(command, room);
            if (&peeked, &peek) != (&given, &self.machine) {
                return Err(Law::Value.broken(format!(
                    "a copy accepted a command with {peeked:?} and became {peek:?}, the machine \
                     with {given:?} and became {:?}",
                    self.machine
                )));
            }
            match given {
                Ok(n) if n > room.len() => {
                    let room = room.len();
                    return Err(
                        Law::Bounds.broken(format!("a command wrote {n} bytes into {room}"))
                    );
                }
                Ok(n) if room[..n] != other_room[..n] => {
                    return Err(Law::Bounds.broken(format!(
                        "a command reports {n} bytes and did not write all of them"
                    )));
                }
                Ok(n) if n > 0 && before.outbound_remaining() > 0 => {
                    let outstanding = before.outbound_remaining();
                    return Err(Law::Payload.broken(format!(
                        "a command wrote {n} bytes while {outstanding} bytes of outbound payload remain"
                    )));
                }
                Ok(n) => {
                    self.queued += n;
                    self.last_command = Some(self.application.clone());
                    self.application.given();
                    (self.moved, gave_any) = (true, true);
                    self.check_copy()?;
                    self.write_payload()?;
                    if A::TAKES_TURNS {
                        return Ok(true);
                    }
                    continue;
                }
                Err(_) if before != self.machine => {
                    return Err(Law::Commands.broken(format!(
                        "a refused command changed {before:?} to {:?}",
                        self.machine
                    )));
                }
                Err(CommandError::OutputFull) if self.queued > 0 => self.drain(),
                Err(CommandError::OutputFull) if self.application.split() => {}
                Err(refused) => {
                    return Err(Law::Commands.broken(format!(
                        "a command in turn was refused: {refused:?}, {before:?}"
                    )));
                }
            }
        }
    }

    fn write_payload(&mut self) -> Result<(), Broken> {
        while self.machine.outbound_remaining() > 0 && !self.application.payload().is_empty() {
            if self.queued == self.window.len() {
                self.drain();
            }
            let remaining =
                usize::try_from(self.machine.outbound_remaining()).unwrap_or(usize::MAX);
            let room = &mut self.window[self.queued..];
            let payload = self.application.payload();
            let n = payload.len().min(room.len()).min(remaining);
            room[..n].copy_from_slice(&payload[..n]);
            self.machine.advance_outbound(n as u64).map_err(|e| {
                Law::Payload
                    .broken(format!("refused {n} bytes of outbound payload that remain: {e:?}"))
            })?;
            self.queued += n;
            self.application.advance_outbound(n);
            self.check_copy()?;
        }
        Ok(())
    }

    /// Takes inbound payload without the machine, if any has arrived.
    pub(crate) fn take(&mut self, seen: &[u8]) -> Result<bool, Broken> {
        let remaining = self.machine.inbound_remaining();
        let n = usize::try_from(remaining).unwrap_or(usize::MAX).min(seen.len());
        if n == 0 {
            return Ok(false);
        }
        let Some(event) = A::advance_inbound(&seen[..n], n as u64 == remaining) else {
            return Ok(false);
        };
        self.machine.advance_inbound(n as u64).map_err(|e| {
            Law::Payload.broken(format!("refused {n} bytes of inbound payload that remain: {e:?}"))
        })?;
        self.check_copy()?;
        self.consumed += n;
        self.moved = true;
        self.record(event);
        if !A::TAKES_TURNS {
            self.give_commands()?;
        }
        Ok(true)
    }

    /// Checks a copy of the machine, and both payload counters of copies.
    fn check_copy(&self) -> Result<(), Broken> {
        let machine = &self.machine;
        let copy = machine.clone();
        if copy != *machine {
            return Err(Law::Value.broken(format!("a copy of {machine:?} is {copy:?}")));
        }
        check_counter(
            "outbound",
            machine,
            A::Machine::outbound_remaining,
            A::Machine::advance_outbound,
        )?;
        check_counter(
            "inbound",
            machine,
            A::Machine::inbound_remaining,
            A::Machine::advance_inbound,
        )
    }

    /// Checks that nothing changes the machine any more, whatever the input.
    pub(crate) fn check_final(&mut self, action: &Action<()>) -> Result<(), Broken> {
        let before = self.machine.clone();
        let states = [StreamState::Open, StreamState::Idle];
        for state in states.into_iter().chain(ENDS.map(StreamState::Ended)) {
            for bytes in [&[][..], &[0; 64], b"QQQQQQQQQ", &[0xff; 3], b"\n"] {
                let step = self.machine.step(Input { bytes, state }, &mut [0; 64]);
                if brief(&step) != Ok((0, 0, *action)) {
                    return Err(Law::Finality
                        .broken(format!("not final: {action:?} was followed by {step:?}")));
                }
            }
        }
        if let Some(command) = A::probe() {
            check_late(&mut self.machine, command, action)?;
        }
        for application in [self.last_command.as_ref(), Some(&self.application)] {
            if let Some(command) = application.and_then(A::command) {
                check_late(&mut self.machine, command, action)?;
            }
        }
        if before != self.machine {
            return Err(Law::Finality.broken(format!(
                "not final: after {action:?} the machine changed from {before:?} to {:?}",
                self.machine
            )));
        }
        Ok(())
    }
}

/// Checks that a command is refused after the end.
fn check_late<M: Machine>(
    machine: &mut M,
    command: M::Command<'_>,
    action: &Action<()>,
) -> Result<(), Broken> {
    match machine.command(command, &mut [0; 64]) {
        Err(CommandError::OutOfTurn) => Ok(()),
        result => Err(Law::Finality
            .broken(format!("not final: after {action:?} a command returned {result:?}"))),
    }
}

/// Checks that a payload counter refuses more than remains, and counts exactly what it accepts.
fn check_counter<M: Machine + PartialEq>(
    direction: &str,
    machine: &M,
    remaining_of: fn(&M) -> u64,
    advance: fn(&mut M, u64) -> Result<(), CommandError>,
) -> Result<(), Broken> {
    let remaining = remaining_of(machine);
    if let Some(more) = remaining.checked_add(1) {
        let mut copy = machine.clone();
        let result = advance(&mut copy, more);
        if result != Err(Invalid::Overrun.into()) {
            return Err(Law::Payload.broken(format!(
                "accepted more {direction} payload than remains: {more} bytes of {remaining} \
                 returned {result:?}"
            )));
        }
        if copy != *machine {
            return Err(Law::Payload
                .broken(format!("changed when it refused more {direction} payload than remains")));
        }
    }
    for n in [0, 1, remaining / 2, remaining] {
        if n > remaining {
            continue;
        }
        let mut copy = machine.clone();
        if let Err(e) = advance(&mut copy, n) {
            return Err(Law::Payload.broken(format!(
                "refused {n} bytes of {direction} payload of {remaining}: {e:?}"
            )));
        }
        // What follows the last byte may be payload too.
        let left = remaining_of(&copy);
        if n < remaining && left != remaining - n || n == 0 && copy != *machine {
            return Err(Law::Payload.broken(format!(
                "counted {n} bytes of {direction} payload of {remaining}, and {left} remain"
            )));
        }
    }
    Ok(())
}
