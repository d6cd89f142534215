//! What a session needs next, and in which order: the one table that all drivers and the pump follow.

use core::fmt;
use core::num::NonZeroU16;

use crate::machine::{Action, Need};

/// Result of [`Session::poll`](super::Session::poll).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Polled<E> {
    /// The machine emits this event. It is reported once.
    Event(E),
    /// The session needs this.
    Want(Want),
}

/// What a session needs next. 4 bytes.
///
/// # The order
///
/// What the machine returns decides what the session wants, and what comes first. No driver decides
/// anything of it.
///
/// | the machine returns | the session wants | first |
/// |---|---|---|
/// | [`Event`](Action::Event) | nothing: [`Polled::Event`] | |
/// | [`Continue`](Action::Continue) | nothing: the machine is stepped again | |
/// | [`Need::Input`] | [`Want::Read`] | write, flush |
/// | [`Need::InputOrIdle`] | [`Want::Read`] with `idle_ms` | write, flush |
/// | [`Need::InputOrCommand`] | [`Want::ReadOrWrite`] | |
/// | [`Need::OutputSpace`] | [`Want::Write`], then the machine is stepped again | |
/// | [`Need::Command`] | [`Want::Command`] | write, flush |
/// | the same, while payload is [outstanding](crate::Machine::outbound_remaining) | [`Want::Command`] | write |
/// | the same, after a write found the connection gone | [`Want::Read`] if that is possible, to learn how it ended | |
/// | [`Boundary`](Action::Boundary) | [`Want::Boundary`] | write, flush |
/// | [`Close`](Action::Close) | [`Want::Close`] | write, flush |
/// | [`Abort`](Action::Abort) | [`Want::Abort`] | |
/// | an error | nothing: [`Session::poll`](super::Session::poll) returns the error | write, flush |
///
/// "Write" means [`Want::Write`] for as long as output is pending, "flush" means [`Want::Flush`] if
/// bytes were written since the last flush. Each is one result of `poll`. While an error waits for
/// them nothing is read, so that it stays the same.
///
/// There is no flush between two buffers of payload: on a stack where a flush waits for the
/// acknowledgement of the peer (embassy-net), it would cost a round trip for each buffer.
///
/// A machine that cannot be given what it needs has broken a law: [`Want::Broken`]. That is input
/// after the end of the stream or with a full buffer, and output space with nothing pending.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// A tag of its own: one that hides in the time costs flash wherever it is read.
#[repr(u8)]
pub enum Want {
    /// Give a command, or payload if some is outstanding: it is the application's turn. What precedes
    /// it has been written. The stream may still end: read meanwhile if the transport can.
    Command,
    /// Read. What was written has been flushed. There is [space](super::Session::recv_space).
    Read {
        /// The machine also waits for this number of milliseconds without a byte. Call
        /// [`idle`](super::Session::idle) then. `None`: it waits for bytes or the end alone.
        idle_ms: Option<NonZeroU16>,
    },
    /// Write [`transmit`](super::Session::transmit).
    Write,
    /// Flush the transport, then call [`flushed`](super::Session::flushed).
    Flush,
    /// Read and write at the same time, whichever is possible first. If all is written and no payload is
    /// outstanding, flush. A command may be given. There is [space](super::Session::recv_space).
    ReadOrWrite,
    /// Pause, or do not, then poll again: what follows has to be a write of its own. What precedes it
    /// has been written and flushed. It is reported once.
    Boundary,
    /// Close the transport: the session is complete, everything is written and flushed.
    Close,
    /// Reset the transport; what is pending is dropped.
    Abort,
    /// Reset the transport: the machine broke this law. No machine of this crate does.
    Broken(Law),
}

impl Want {
    /// Whether the session ends with it.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Close | Self::Abort | Self::Broken(_))
    }
}

/// Law of [`Machine`](crate::Machine) that a machine broke, as far as a session notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Law {
    /// Law 3: it needs input after the end of the stream, or with a full input buffer.
    Input,
    /// Law 3: it needs output space, and the output buffer is empty.
    OutputSpace,
    /// Law 4: it consumed or wrote more than it was given.
    Counts,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => {
                "the machine broke law 3: it needs input after the end of the stream, or with a \
                 full input buffer"
            }
            Self::OutputSpace => {
                "the machine broke law 3: it needs output space, and the output buffer is empty"
            }
            Self::Counts => "the machine broke law 4: it consumed or wrote more than it was given",
        })
    }
}

impl core::error::Error for Law {}

/// What the table decides by.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// Bytes are pending that the transport has not taken.
    pub(crate) unsent: bool,
    /// The transport took bytes since its last flush.
    pub(crate) unflushed: bool,
    /// The application has announced payload that it has not sent.
    pub(crate) payload: bool,
    /// The stream has not ended, and there is space to read into.
    pub(crate) can_read: bool,
    /// A write found the connection gone, and the machine does not know yet.
    pub(crate) gone: bool,
}

/// What precedes a want.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    /// Nothing.
    Nothing,
    /// Everything has been written.
    Write,
    /// Everything has been written and flushed.
    Flush,
}

/// Returns what `action` needs first; `None` if the machine can be stepped again at once. [`Want`] has
/// the table.
#[inline(always)]
pub(crate) fn order(action: Action<()>, facts: Facts) -> Option<Want> {
    let Facts { unsent, unflushed, payload, can_read, gone } = facts;
    let (want, after, reads) = match action {
        Action::Event(()) | Action::Continue => return None,
        Action::Abort => (Want::Abort, After::Nothing, false),
        Action::Boundary => (Want::Boundary, After::Flush, false),
        Action::Close => (Want::Close, After::Flush, false),
        Action::Need(Need::Input) => (Want::Read { idle_ms: None }, After::Flush, true),
        Action::Need(Need::InputOrIdle(ms)) => {
            (Want::Read { idle_ms: NonZeroU16::new(ms) }, After::Flush, true)
        }
        Action::Need(Need::InputOrCommand) => (Want::ReadOrWrite, After::Nothing, true),
        Action::Need(Need::OutputSpace) => (Want::Broken(Law::OutputSpace), After::Write, false),
        // The machine has to learn how the connection ended before it asks for another command.
        Action::Need(Need::Command) if gone && can_read => {
            (Want::Read { idle_ms: None }, After::Flush, false)
        }
        Action::Need(Need::Command) => {
            (Want::Command, if payload { After::Write } else { After::Flush }, false)
        }
    };
    Some(if reads && !can_read {
        Want::Broken(Law::Input)
    } else if unsent && after >= After::Write {
        Want::Write
    } else if unflushed && after >= After::Flush {
        Want::Flush
    } else {
        want
    })
}
