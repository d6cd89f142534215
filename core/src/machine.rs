//! The [`Machine`] trait and its vocabulary.
//!
//! A machine is one end of a protocol as a plain value. It never reads, writes, waits, allocates,
//! draws a random number or looks at a clock. Its caller does all of that.
//!
//! ```text
//!        bytes received from the peer, and the state of the stream
//!                              |
//!                              v
//!   application --command--> machine --event--> application
//!                              |
//!                              v
//!                   bytes to send to the peer
//! ```
//!
//! The caller owns both buffers. A machine without output space consumes nothing, so backpressure
//! is a return value ([`Need::OutputSpace`]) and nothing can grow.

use core::fmt;

#[cfg(feature = "heapless")]
mod owned;
mod span;

#[cfg(feature = "heapless")]
pub use owned::OwnedEvent;
#[cfg(test)]
pub(crate) use span::Seen;
pub use span::{EventView, Span, Spans};
pub(crate) use span::{bytes_event, plain_event};

/// How the stream from the peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamEnd {
    /// The peer sent FIN. It may still be reading (a half-close).
    Closed,
    /// The connection ended in both directions: the peer sent RST, or the transport failed.
    Reset,
    /// The caller stopped waiting. Machines have no clock, so only the caller reports this.
    TimedOut,
}

/// State of the stream behind the bytes of an [`Input`].
///
/// It arrives together with the bytes, so that the machine itself distinguishes a clean close, a
/// truncated message and a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamState {
    /// More bytes may come.
    #[default]
    Open,
    /// No byte came for as long as [`Need::InputOrIdle`] asked. More may still come.
    Idle,
    /// No more bytes will come.
    Ended(StreamEnd),
}

impl StreamState {
    /// Returns how the connection ended if it ended in both directions, so that what is sent now has
    /// no reader. After an orderly close the peer may still read.
    #[inline]
    pub(crate) const fn gone(self) -> Option<StreamEnd> {
        match self {
            Self::Ended(how @ (StreamEnd::Reset | StreamEnd::TimedOut)) => Some(how),
            _ => None,
        }
    }
}

/// Bytes received and not yet consumed, and the state of the stream behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Input<'i> {
    /// The bytes not consumed yet, oldest first.
    pub bytes: &'i [u8],
    /// State of the stream behind the last of them.
    pub state: StreamState,
}

impl<'i> Input<'i> {
    /// Returns bytes of a stream in which more may come.
    #[must_use]
    pub const fn open(bytes: &'i [u8]) -> Self {
        Self { bytes, state: StreamState::Open }
    }

    /// Returns the last bytes of a stream, and how it ended.
    #[must_use]
    pub const fn ended(bytes: &'i [u8], how: StreamEnd) -> Self {
        Self { bytes, state: StreamState::Ended(how) }
    }

    /// Returns the place of `part`, a subslice of [`bytes`](Self::bytes), for an event that refers to
    /// it.
    #[inline]
    #[must_use]
    pub fn span(&self, part: &[u8]) -> Span {
        Span::of(part, self.bytes)
    }
}

/// Result of one call of [`Machine::step`].
#[must_use = "`consumed` and `written` bytes have to be taken into account"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step<E> {
    /// Number of bytes consumed from the front of the input.
    pub consumed: usize,
    /// Number of bytes written to the front of the output, to be sent.
    pub written: usize,
    /// What the caller must do next.
    pub action: Action<E>,
}

impl<E> Step<E> {
    /// Returns a step with these counts.
    #[inline]
    pub const fn new(consumed: usize, written: usize, action: Action<E>) -> Self {
        Self { consumed, written, action }
    }

    /// Returns a step that moved no byte.
    #[inline]
    pub const fn idle(action: Action<E>) -> Self {
        Self::new(0, 0, action)
    }

    /// Returns a step that moved no byte because the machine needs something.
    #[inline]
    pub const fn need(need: Need) -> Self {
        Self::idle(Action::Need(need))
    }
}

impl<E: Spans> Step<E> {
    /// Returns the same step with its event resolved against the bytes of the [`Input`] that the
    /// machine was given.
    #[inline]
    pub fn view(self, bytes: &[u8]) -> Step<E::View<'_>> {
        Step::new(self.consumed, self.written, self.action.map(|event| event.view(bytes)))
    }
}

/// What the caller must do after a [`Step`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action<E> {
    /// Report this event to the application, then step again.
    Event(E),
    /// Step again: there was progress, and there is nothing to report.
    Continue,
    /// Send what is queued, pause, then step again: what follows has to be a write of its own.
    ///
    /// Some real peers take one `recv` for one message. The machine marks the place, the caller
    /// chooses the pause.
    Boundary,
    /// Provide this, then step again.
    Need(Need),
    /// Send what is queued, then close: the session is complete.
    Close,
    /// Drop what is queued, then reset the connection: the session is over.
    Abort,
}

impl<E> Action<E> {
    /// Returns the same action with its event converted by `f`.
    #[inline]
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Action<F> {
        match self {
            Self::Event(event) => Action::Event(f(event)),
            Self::Continue => Action::Continue,
            Self::Boundary => Action::Boundary,
            Self::Need(need) => Action::Need(need),
            Self::Close => Action::Close,
            Self::Abort => Action::Abort,
        }
    }
}

/// What a machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Need {
    /// More bytes, or the end of the stream.
    Input,
    /// More bytes, the end of the stream, or this number of milliseconds without a byte.
    InputOrIdle(u16),
    /// More space for output, at least [`Machine::MIN_OUTPUT`] bytes.
    OutputSpace,
    /// A command, or payload if some is [outstanding](Machine::outbound_remaining): it is the
    /// application's turn. The stream may still end.
    Command,
    /// More bytes, the end of the stream, or a command, whichever comes first (full duplex). Queued
    /// output is sent meanwhile, not first: the peer may read only while it is read.
    InputOrCommand,
}

/// Why a machine rejected a command. The machine has not changed, and what stands in the output has
/// no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// A tag of its own: one that hides in the reason makes a round of the math server a fifth slower. Flash is
// worth more on small processors: 70 bytes for all machines.
#[cfg_attr(target_pointer_width = "64", repr(u8))]
pub enum CommandError {
    /// It is not the application's turn, or the session is over.
    OutOfTurn,
    /// The output has too little space. Send what is queued and give the command again.
    OutputFull,
    /// The protocol cannot express the command.
    Invalid(Invalid),
}

/// Why a protocol cannot express a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Invalid {
    /// A text or a payload is longer than the protocol allows.
    TooLong,
    /// A name is empty.
    Empty,
    /// A line contains a newline.
    Newline,
    /// A line ends with a carriage return, which the peer would remove.
    CarriageReturn,
    /// A text contains a byte that separates the parts of the message.
    Separator,
    /// A text would be read as another message of the protocol.
    Reserved,
    /// A number is out of range.
    OutOfRange,
    /// More payload than was announced.
    Overrun,
    /// A part of a text that the protocol counts in characters is not UTF-8.
    NotUtf8,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "too long",
            Self::Empty => "the name is empty",
            Self::Newline => "the text contains a newline",
            Self::CarriageReturn => "the text ends with a carriage return",
            Self::Separator => "the text contains a separator",
            Self::Reserved => "the text has another meaning in this protocol",
            Self::OutOfRange => "a number is out of range",
            Self::Overrun => "more payload than announced",
            Self::NotUtf8 => "the text is not UTF-8",
        })
    }
}

impl core::error::Error for Invalid {}

impl From<Invalid> for CommandError {
    fn from(reason: Invalid) -> Self {
        Self::Invalid(reason)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTurn => f.write_str("command out of turn"),
            Self::OutputFull => f.write_str("command needs more space in the output buffer"),
            Self::Invalid(reason) => write!(f, "invalid command: {reason}"),
        }
    }
}

impl core::error::Error for CommandError {}

/// One end of a protocol: a value of a few bytes, driven by [`step`](Self::step) and
/// [`command`](Self::command).
///
/// [`Session`](crate::session::Session) combines a machine with its buffers and has the one loop
/// over it; the [drivers](crate::driver) add a transport.
///
/// # The loop
///
/// ```text
///   step(input, output) --> Err(e)            send what is queued, report e
///      |
///      +--> Event(e)          report e             and step again
///      +--> Continue                               step again
///      +--> Boundary          flush, pause         and step again
///      +--> Need(Input)       read                 and step again
///      +--> Need(OutputSpace) send                 and step again
///      +--> Need(Command)     command(c, output)   and step again; while
///      |                      outbound_remaining() > 0, send payload and
///      |                      call advance_outbound(n)
///      +--> Close             flush, close
///      +--> Abort             reset
/// ```
///
/// A session with an input buffer shorter than [`MIN_INPUT`](Self::MIN_INPUT), or an output buffer
/// shorter than [`MIN_OUTPUT`](Self::MIN_OUTPUT), can stall. A read into a full buffer returns 0,
/// which is not the end of the stream: do not read then.
///
/// # Laws
///
/// Every machine of this crate keeps these laws. The crate `socklab-laws` checks them in tests, also for
/// a machine of your own:
///
/// 1. **How the stream is cut into reads has no meaning.** The same bytes give the same events, the
///    same output and the same error, however they are cut. Two things may differ. Payload comes in
///    pieces, cut where the reads were. And while it is the application's turn, a reset or a
///    time-out that arrives together with unread bytes may be reported before those bytes: the
///    connection is gone, and a command would have no reader.
/// 2. **An error changes nothing.** The step consumed and wrote nothing; stepping again gives the
///    same error, also when more bytes or the end of the stream arrive in between. So queued output
///    can be sent first.
/// 3. **Every step makes progress.** A step consumes, writes, returns an event, changes the state, or
///    returns what it needs. With [`MIN_INPUT`](Self::MIN_INPUT) bytes of input and
///    [`MIN_OUTPUT`](Self::MIN_OUTPUT) bytes of space it never asks for more of the same.
/// 4. **No step takes more than it is given**: `consumed <= input.bytes.len()`,
///    `written <= output.len()`. The spans of its event lie inside the input.
/// 5. **The end is final.** After `Close` or `Abort` every step returns it again, and every command
///    is [`CommandError::OutOfTurn`].
///
/// A machine is a value: copy, step, drop the copy is a peek.
pub trait Machine: Clone {
    /// Commands of the application. [`Infallible`](core::convert::Infallible) if there are none.
    type Command<'c>: Copy;
    /// Events emitted to the application. They own no bytes: text and payload are [`Span`]s of the
    /// input, resolved by [`Spans::view`]. So a command can be given while an event is in use, and an
    /// event can leave the function that received it.
    type Event: Spans;
    /// Errors that end the session early.
    type Error: core::error::Error + Copy + PartialEq;

    /// Whether the peer sends lines of text. It decides how a partial message is reported when the
    /// rest does not come.
    const LINES: bool = false;
    /// Length in bytes of the longest unit that the machine needs in one piece. An input buffer has
    /// at least this length.
    const MIN_INPUT: usize;
    /// Length in bytes of the longest unit that the machine writes in one piece: by itself, or for a
    /// command without payload. An output buffer has at least this length.
    const MIN_OUTPUT: usize;

    /// Advances by one protocol unit.
    ///
    /// # Errors
    ///
    /// If the peer broke the protocol, or the stream ended too early. Nothing was consumed, written
    /// or changed: stepping again gives the same error.
    fn step(
        &mut self,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Result<Step<Self::Event>, Self::Error>;

    /// Accepts a command and writes its message, all or nothing. Returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// A command that failed has changed nothing.
    fn command(
        &mut self,
        command: Self::Command<'_>,
        output: &mut [u8],
    ) -> Result<usize, CommandError>;

    /// Returns the number of bytes of outbound payload that the application has announced and not yet
    /// sent. They precede anything else on the wire.
    ///
    /// Bulk payload does not pass through the machine. The application sends it as it likes (from
    /// memory, with `sendfile`) and counts it with [`advance_outbound`](Self::advance_outbound).
    fn outbound_remaining(&self) -> u64 {
        0
    }

    /// Counts `n` bytes of outbound payload as sent.
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`] if `n` is more than [`outbound_remaining`](Self::outbound_remaining).
    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        if n == 0 { Ok(()) } else { Err(CommandError::Invalid(Invalid::Overrun)) }
    }

    /// Returns the number of bytes of payload at the front of the input that the application may take
    /// past the machine. It counts them with [`advance_inbound`](Self::advance_inbound), or steps and
    /// receives them as events. If the payload lasts until the end of the stream, its length is
    /// unknown: the number exceeds that of any file.
    fn inbound_remaining(&self) -> u64 {
        0
    }

    /// Counts `n` bytes of inbound payload as taken from the front of the input.
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`] if `n` is more than [`inbound_remaining`](Self::inbound_remaining).
    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        if n == 0 { Ok(()) } else { Err(CommandError::Invalid(Invalid::Overrun)) }
    }
}
