//! The interpreter for servers whose connections share two scratch buffers.

use super::{Facts, Law, Want, order};
use crate::machine::{
    Action, CommandError, EventView, Input, Machine, Need, Spans, Step, StreamState,
};

/// Application of a machine, called by [`pump`] and by the servers.
pub trait Handler<M: Machine> {
    /// Handles an event of the machine.
    fn event(&mut self, event: EventView<'_, M>);

    /// Whether the application can handle an event now. While it returns `false` its session is not
    /// polled: nothing is read, and TCP slows the peer down. What is pending is still sent.
    ///
    /// Asked by `driver::nonblocking::Server` before each event. That server does not notice when the
    /// application becomes ready: poll it then. [`pump`] does not ask.
    fn ready(&self) -> bool {
        true
    }

    /// Returns the next command; `None` if the application has none now.
    ///
    /// Called only when the output has [`Machine::MIN_OUTPUT`] bytes of space. If the command needs
    /// more space than is left, or is [`CommandError::OutOfTurn`] while the machine also waits for input
    /// ([`Need::InputOrCommand`]), this is called again later. Any other error is the application's
    /// mistake and ends the session ([`Stop::Refused`]): ignored, it would leave the peer waiting.
    fn command(&mut self) -> Option<M::Command<'_>> {
        None
    }

    /// Writes the next bytes of [outbound payload](Machine::outbound_remaining) to the front of
    /// `space`, which is not empty and not longer than what is outstanding. Returns the number of bytes
    /// written; 0 if none is available now.
    ///
    /// After 0 [`command`](Self::command) is called, so that the application can abort the session. Not
    /// needed where no payload is announced, or where it is sent past the session.
    fn payload(&mut self, space: &mut [u8]) -> usize {
        let _ = space;
        0
    }
}

/// What a handler did in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum Turn {
    /// It wrote this number of bytes: 0 for a command without a message.
    Wrote(usize),
    /// It had nothing to send.
    Nothing,
    /// The machine rejected its command.
    Refused(CommandError),
}

/// Calls the handler for payload, or for a command.
#[inline(always)]
pub(crate) fn take_turn<M: Machine>(
    machine: &mut M,
    handler: &mut impl Handler<M>,
    space: &mut [u8],
) -> Turn {
    let outstanding = machine.outbound_remaining();
    if outstanding > 0 {
        let limit = usize::try_from(outstanding).unwrap_or(usize::MAX).min(space.len());
        let space = space.get_mut(..limit).unwrap_or_default();
        let n = handler.payload(space).min(space.len());
        if n > 0 && u64::try_from(n).is_ok_and(|n| machine.advance_outbound(n).is_ok()) {
            return Turn::Wrote(n);
        }
    }
    let Some(command) = handler.command() else { return Turn::Nothing };
    match machine.command(command, space) {
        Ok(n) => Turn::Wrote(n),
        Err(e) => Turn::Refused(e),
    }
}

/// Result of a [`pump`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pumped<E> {
    /// Number of bytes consumed from the front of the input.
    pub consumed: usize,
    /// Number of bytes written to the front of the output, to be sent.
    pub written: usize,
    /// Why it stopped. Both counts are valid also after [`Stop::Failed`].
    pub stop: Stop<E>,
}

/// Why a [`pump`] stopped. Unless it is [`Want::Abort`] or [`Want::Broken`], send what is written
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stop<E> {
    /// The session needs this. [`Want::Command`] and [`Want::ReadOrWrite`]: the handler had no command.
    /// [`Want::Write`]: send what is written, then pump again. A flush is never asked for.
    Want(Want),
    /// The session failed with this error of the machine.
    Failed(E),
    /// The handler gave a command that the machine rejected.
    Refused(CommandError),
}

/// Returns the result for a machine that broke law 4: its counts have no meaning.
#[cold]
const fn broken<E>() -> Pumped<E> {
    Pumped { consumed: 0, written: 0, stop: Stop::Want(Want::Broken(Law::Counts)) }
}

/// Steps a machine until it needs the transport, or a handler that has no command.
///
/// For servers whose connections share two scratch buffers. It follows the table of
/// [`Session::poll`](super::Session::poll), but has a loop of its own: that loop keeps its place in
/// registers. The counts are also valid after an error, or the way the stream is cut would decide
/// which replies are sent.
///
/// `output` has at least [`Machine::MIN_OUTPUT`] bytes, or the machine may need more than there is
/// ([`Law::OutputSpace`]).
pub fn pump<M: Machine>(
    machine: &mut M,
    handler: &mut impl Handler<M>,
    input: Input<'_>,
    output: &mut [u8],
) -> Pumped<M::Error> {
    let size = output.len();
    let (mut rest, mut space) = (input.bytes, output);
    // Of the last step: number of bytes consumed, and whether it wrote more than it was given.
    let (mut consumed, mut overrun) = (0, false);
    let stop = loop {
        // A branch: `unwrap_or_default` would become a conditional move, and each step would wait for
        // the one before. Here rather than behind the step: a branch between a step and the match of its
        // action makes the action pass through memory, and a round of math takes five times as long.
        let (false, Some(bytes)) = (overrun, rest.get(consumed..)) else { return broken() };
        (rest, consumed) = (bytes, 0);
        let action = match machine.step(Input { bytes, state: input.state }, space) {
            Ok(Step { consumed: n, written, action }) => {
                consumed = n;
                overrun = written > space.len();
                space = space.get_mut(written..).unwrap_or_default();
                action
            }
            Err(e) => break Stop::Failed(e),
        };
        let need = match action {
            Action::Event(event) => {
                handler.event(event.view(bytes));
                continue;
            }
            Action::Continue => continue,
            Action::Need(need @ (Need::Command | Need::InputOrCommand)) => need,
            Action::Need(need) => {
                break Stop::Want(want(Action::Need(need), input, space.len() < size));
            }
            Action::Boundary => break Stop::Want(Want::Boundary),
            Action::Close => break Stop::Want(Want::Close),
            Action::Abort => break Stop::Want(Want::Abort),
        };
        let unsent = space.len() < size;
        if space.len() < M::MIN_OUTPUT {
            break Stop::Want(if unsent { Want::Write } else { Want::Broken(Law::OutputSpace) });
        }
        match take_turn(machine, handler, space) {
            Turn::Wrote(n) => {
                overrun |= n > space.len();
                space = space.get_mut(n..).unwrap_or_default();
                continue;
            }
            Turn::Nothing => {}
            // What is written takes the space.
            Turn::Refused(CommandError::OutputFull) if unsent => break Stop::Want(Want::Write),
            // The machine reads on, and the handler is called again.
            Turn::Refused(CommandError::OutOfTurn) if need == Need::InputOrCommand => {}
            Turn::Refused(e) => break Stop::Refused(e),
        }
        break Stop::Want(want(Action::Need(need), input, unsent));
    };
    let (false, Some(rest)) = (overrun, rest.get(consumed..)) else { return broken() };
    Pumped {
        consumed: input.bytes.len().saturating_sub(rest.len()),
        written: size.saturating_sub(space.len()),
        stop,
    }
}

/// Returns what an action needs, by the [table](order). Out of line, so that the loop of [`pump`] stays
/// small enough to be compiled into one with the machine.
#[inline(never)]
fn want(action: Action<()>, input: Input<'_>, unsent: bool) -> Want {
    let facts = Facts {
        // The caller sends what is written before anything else, so only the space counts here.
        unsent: unsent && action == Action::Need(Need::OutputSpace),
        unflushed: false,
        payload: false,
        can_read: !matches!(input.state, StreamState::Ended(_)),
        gone: false,
    };
    // The table has a row for every action but `Event` and `Continue`.
    order(action, facts).unwrap_or(Want::Abort)
}
