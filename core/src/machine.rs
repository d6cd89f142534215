//! The one trait, [`Machine`], and the words it is spoken in.
//!
//! A machine is one end of a protocol as a plain value. It never reads, writes, waits, allocates,
//! draws a random number or looks at a clock: all of that comes in from outside.
//!
//! ```text
//!              bytes the peer sent, and what follows them
//!                              |
//!                              v
//!   application --command--> machine --event--> application
//!                              |
//!                              v
//!                   bytes to send to the peer
//! ```
//!
//! The caller owns both buffers. A machine that finds no room consumes nothing, so backpressure
//! is a return value ([`Need::OutputSpace`]) and nothing can grow.

use core::fmt;

/// How the stream from the peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamEnd {
    /// The orderly end: the peer sent FIN. It may still be reading (a half-close).
    Closed,
    /// The connection is gone in both directions: RST, or the transport failed.
    Reset,
    /// The caller gave up waiting. Machines have no clock, so only the caller can know.
    TimedOut,
}

/// What follows the bytes of an [`Input`].
///
/// It arrives together with the bytes, so the machine itself can tell a clean close from a
/// truncated message, and a reset from either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamState {
    /// More may come.
    #[default]
    Open,
    /// Nothing came for as long as [`Need::InputOrIdle`] asked. More may still come.
    Idle,
    /// Nothing comes any more.
    Ended(StreamEnd),
}

impl StreamState {
    /// How the peer has gone in both directions, or is given up: nobody reads what is sent. One that
    /// has only closed its sending side still does.
    #[inline]
    pub(crate) const fn gone(self) -> Option<StreamEnd> {
        match self {
            Self::Ended(how @ (StreamEnd::Reset | StreamEnd::TimedOut)) => Some(how),
            _ => None,
        }
    }
}

/// What the peer sent and has not been consumed yet, and what follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Input<'i> {
    /// The bytes not consumed yet, oldest first.
    pub bytes: &'i [u8],
    /// What follows the last of them.
    pub state: StreamState,
}

impl<'i> Input<'i> {
    /// Bytes after which more may come.
    #[must_use]
    pub const fn open(bytes: &'i [u8]) -> Self {
        Self { bytes, state: StreamState::Open }
    }

    /// The last bytes of the stream, and how it ended.
    #[must_use]
    pub const fn ended(bytes: &'i [u8], how: StreamEnd) -> Self {
        Self { bytes, state: StreamState::Ended(how) }
    }
}

/// What one call of [`Machine::step`] did.
#[must_use = "`consumed` and `written` bytes have to be taken into account"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step<E> {
    /// So many bytes at the front of the input are done with.
    pub consumed: usize,
    /// So many bytes at the front of the output are to be sent.
    pub written: usize,
    /// What the caller does next.
    pub action: Action<E>,
}

impl<E> Step<E> {
    /// A step that consumed and wrote so many bytes.
    #[inline]
    pub const fn new(consumed: usize, written: usize, action: Action<E>) -> Self {
        Self { consumed, written, action }
    }

    /// A step that moved no byte.
    #[inline]
    pub const fn idle(action: Action<E>) -> Self {
        Self::new(0, 0, action)
    }

    /// A step that moved no byte, and waits.
    #[inline]
    pub const fn need(need: Need) -> Self {
        Self::idle(Action::Need(need))
    }
}

/// What the caller does after a [`Step`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action<E> {
    /// Tell the application, then step again.
    Event(E),
    /// Progress with nothing to tell: step again.
    Continue,
    /// What follows has to be a write of its own: send what is queued, pause, step again.
    ///
    /// Some real peers take one `recv` for one message; the machine marks the place, the caller
    /// chooses the pause.
    Boundary,
    /// Nothing moves until this is there.
    Need(Need),
    /// The machine has finished: send what is queued, then close.
    Close,
    /// The machine has finished: drop what is queued, then reset the connection.
    Abort,
}

impl<E> Action<E> {
    /// The same with the event left out: says what to do without borrowing the input.
    #[inline]
    pub fn without_event(&self) -> Action<()> {
        match self {
            Self::Event(_) => Action::Event(()),
            Self::Continue => Action::Continue,
            Self::Boundary => Action::Boundary,
            Self::Need(need) => Action::Need(*need),
            Self::Close => Action::Close,
            Self::Abort => Action::Abort,
        }
    }
}

/// What a machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Need {
    /// More bytes, or the end.
    Input,
    /// More bytes, the end, or so many milliseconds in which nothing comes.
    InputOrIdle(u16),
    /// More room for output, at least [`Machine::MIN_OUTPUT`] bytes.
    OutputSpace,
    /// A command, or payload where some is [`owed`](Machine::outbound_remaining): it is the application's turn. The
    /// end may still come.
    Command,
    /// More bytes, the end, or a command, whichever comes first (full duplex). What is queued is
    /// sent meanwhile, not first: the peer may read only when it is read.
    InputOrCommand,
}

/// Why a machine did not take a command. Nothing was changed, and nothing that may stand in the output
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CommandError {
    /// It is not the application's turn, or the session is over.
    OutOfTurn,
    /// The output has too little room. Send what is queued and give the command again.
    OutputFull,
    /// The protocol cannot express the command (a payload of 2^32 bytes, say).
    Invalid,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfTurn => "the command came out of turn",
            Self::OutputFull => "the command needs more room in the output buffer",
            Self::Invalid => "the command cannot be expressed in this protocol",
        })
    }
}

impl core::error::Error for CommandError {}

/// One end of a protocol: a value of a few bytes, driven by [`step`](Self::step) and
/// [`command`](Self::command).
///
/// # The loop
///
/// ```text
///   step(input, output) --> Err(e)            send what is queued, report e
///      |
///      +--> Event(e)        show e             and step again
///      +--> Continue                           step again
///      +--> Boundary        flush, pause       and step again
///      +--> Need(Input)     read               and step again
///      +--> Need(OutputSpace) send             and step again
///      +--> Need(Command)   command(c, output) and step again; while outbound_remaining() > 0,
///      |                    send payload and say advance_outbound(n)
///      +--> Close           flush, close
///      +--> Abort           reset
/// ```
///
/// An input buffer of less than [`MIN_INPUT`](Self::MIN_INPUT) bytes, or an output of less than
/// [`MIN_OUTPUT`](Self::MIN_OUTPUT), can fill up with a session that then waits for ever. And a read into
/// a buffer that is full says 0, which is not the end: do not read then.
///
/// # Laws
///
/// Every machine of this crate keeps them, and the tests hold them to it:
///
/// 1. **A read has no meaning.** However the same bytes are cut into inputs, the events, the
///    replies and the error are the same.
/// 2. **An error changes nothing.** Nothing was consumed or written; stepping again gives the same
///    error. So what is queued can be sent first.
/// 3. **No step is in vain.** A step consumes, writes, tells an event, changes its state, or says
///    what it needs. With [`MIN_INPUT`](Self::MIN_INPUT) bytes of input and
///    [`MIN_OUTPUT`](Self::MIN_OUTPUT) of room it never asks for more of the same.
/// 4. **No step takes more than it is given**: `consumed <= input.bytes.len()`,
///    `written <= output.len()`.
/// 5. **The end is final.** After `Close` or `Abort` every step says it again, every command is
///    refused with [`CommandError::OutOfTurn`].
///
/// A machine is a value: copy, step, drop the copy is a peek.
pub trait Machine: Clone {
    /// What the application can tell the machine. [`Infallible`](core::convert::Infallible) where
    /// there is nothing to tell.
    type Command<'c>: Copy;
    /// What the machine tells the application: views of the input, never of the machine, so a
    /// command can be given while an event is still looked at.
    type Event<'i>: Copy + fmt::Debug;
    /// What ends the session before its time.
    type Error: core::error::Error + Copy + PartialEq;

    /// Whether what the peer sends are lines of text. Says how a part of a message is reported whose rest
    /// does not come.
    const LINES: bool = false;
    /// The longest unit, in bytes, that the machine needs in one piece. An input buffer is at
    /// least this large.
    const MIN_INPUT: usize;
    /// The longest unit, in bytes, that the machine writes in one piece: by itself, or for a command,
    /// but for commands with payload of any length. An output buffer is at least this large.
    const MIN_OUTPUT: usize;

    /// Goes on by one unit.
    ///
    /// # Errors
    ///
    /// When the peer broke the protocol, or the stream ended too early. Nothing was consumed,
    /// written or changed: stepping again gives the same error.
    fn step<'i>(
        &mut self,
        input: Input<'i>,
        output: &mut [u8],
    ) -> Result<Step<Self::Event<'i>>, Self::Error>;

    /// Takes a command and writes what it says, all or nothing. Returns the bytes written.
    ///
    /// # Errors
    ///
    /// A [`CommandError`] command changed nothing.
    fn command(
        &mut self,
        command: Self::Command<'_>,
        output: &mut [u8],
    ) -> Result<usize, CommandError>;

    /// So many bytes of payload the application owes the wire, before anything else is written.
    ///
    /// Bulk payload is counted by the machine and does not pass through it: the application sends
    /// it as it likes (from memory, by `sendfile`) and says so with [`paid`](Self::paid).
    fn outbound_remaining(&self) -> u64 {
        0
    }

    /// The application has put `n` of the [`owed`](Self::owed) bytes on the wire.
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when `n` is more than was owed.
    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        if n == 0 { Ok(()) } else { Err(CommandError::Invalid) }
    }

    /// At most so many bytes of payload come next in the input, and nothing else before them. The
    /// application may take those that come itself and say so with [`taken`](Self::taken), or step and
    /// get them as events. Where the payload lasts until the end, its length is not known: more than
    /// any file has.
    fn inbound_remaining(&self) -> u64 {
        0
    }

    /// The application has taken `n` of the [`due`](Self::due) bytes from the front of the input.
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when `n` is more than was due.
    fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        if n == 0 { Ok(()) } else { Err(CommandError::Invalid) }
    }
}
