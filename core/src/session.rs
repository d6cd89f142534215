//! A machine with its two buffers, without I/O: the one interpreter of a machine's actions.
//!
//! ```text
//!   transport --> recv_space(), received(n)    --> [input ] --> poll() --> events
//!   transport <-- transmit(),   transmitted(n) <-- [output] <-- poll(), command()
//! ```
//!
//! The ready-made [drivers](crate::driver) bind a session to a transport. To write a driver, call
//! [`Session::poll`] in a loop and perform what it [wants](Want):
//!
//! ```
//! # use socklab_core::hello;
//! # use socklab_core::machine::StreamEnd;
//! # use socklab_core::session::{Polled, Session, Want};
//! # use std::io::{Read, Write};
//! # fn greet(mut socket: impl Read + Write) -> Result<(), Box<dyn std::error::Error>> {
//! let mut session = Session::new(hello::Client::new(), [0; 1025], [0; 64])?;
//! loop {
//!     match session.poll()? {
//!         Polled::Event(event) => {
//!             let hello::client::Event::Greeting(text) = session.view(event);
//!             println!("{}", text.escape_ascii());
//!         }
//!         Polled::Want(Want::Write) => {
//!             let n = socket.write(session.transmit())?;
//!             session.transmitted(n);
//!         }
//!         Polled::Want(Want::Flush) => {
//!             socket.flush()?;
//!             session.flushed();
//!         }
//!         Polled::Want(Want::Read { .. } | Want::ReadOrWrite) => {
//!             match socket.read(session.recv_space())? {
//!                 0 => session.ended(StreamEnd::Closed),
//!                 n => session.received(n),
//!             }
//!         }
//!         Polled::Want(Want::Boundary) => {}
//!         Polled::Want(_) => return Ok(()),
//!     }
//! }
//! # }
//! # let mut peer: (&[u8], Vec<u8>) = (b"hello\n", Vec::new());
//! # struct Peer<'p>(&'p [u8]);
//! # impl Read for Peer<'_> {
//! #     fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> { self.0.read(to) }
//! # }
//! # impl Write for Peer<'_> {
//! #     fn write(&mut self, from: &[u8]) -> std::io::Result<usize> { Ok(from.len()) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # greet(Peer(b"hello\n")).unwrap();
//! ```
//!
//! [`pump`] does the same for a server that shares its buffers among all connections.
//!
//! What the machine returns decides what the session wants, and what comes first. [`Want`] has the
//! table.

use core::fmt;

use crate::machine::{Action, CommandError, EventView, Invalid, Machine, Spans, Step, StreamEnd};

mod buffer;
mod order;
mod pump;
mod stream;

pub use buffer::Buffer;
use order::{Facts, order};
pub use order::{Law, Polled, Want};
pub use pump::{Handler, Pumped, Stop, pump};
#[cfg(feature = "nal")]
pub(crate) use pump::{Turn, take_turn};
use stream::Flags;
pub(crate) use stream::Stream;

/// A buffer is shorter than the machine's longest unit, so that the session could stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooSmall {
    /// Minimum length of the input buffer in bytes: [`Machine::MIN_INPUT`].
    pub min_input: usize,
    /// Minimum length of the output buffer in bytes: [`Machine::MIN_OUTPUT`].
    pub min_output: usize,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.min_input == 1 { "" } else { "s" };
        let Self { min_input, min_output } = self;
        write!(
            f,
            "buffer too small: the machine needs {min_input} byte{s} for input and {min_output} for output"
        )
    }
}

impl core::error::Error for TooSmall {}

/// A machine with its input and output buffers.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Session<M, I, O> {
    machine: M,
    stream: Stream<I, O>,
}

impl<M: Machine, const I: usize, const O: usize> Session<M, [u8; I], [u8; O]> {
    /// Returns a session with buffers of its own. Buffers that are too short for the machine do not
    /// compile.
    ///
    /// ```
    /// # use socklab_core::{math, session::Session};
    /// static CLIENT: Session<math::Client, [u8; 9], [u8; 4]> =
    ///     Session::with_arrays(math::Client::new());
    /// ```
    ///
    /// ```compile_fail
    /// # use socklab_core::{math, session::Session};
    /// let client = Session::<_, [u8; 8], [u8; 4]>::with_arrays(math::Client::new());
    /// ```
    ///
    /// ```compile_fail
    /// # use socklab_core::{math, session::Session};
    /// let client = Session::<_, [u8; 9], [u8; 3]>::with_arrays(math::Client::new());
    /// ```
    #[must_use]
    pub const fn with_arrays(machine: M) -> Self {
        const { assert!(I >= M::MIN_INPUT, "the input buffer is shorter than Machine::MIN_INPUT") };
        const { assert!(O >= M::MIN_OUTPUT, "the output buffer is shorter than Machine::MIN_OUTPUT") };
        Self { machine, stream: Stream::new([0; I], [0; O]) }
    }
}

impl<'b, M: Machine, const I: usize, const O: usize> Session<M, &'b mut [u8; I], &'b mut [u8; O]> {
    /// Returns a session in borrowed buffers: those of a `StaticCell`, say. Buffers that are too short
    /// for the machine do not compile.
    ///
    /// ```
    /// # use socklab_core::{math, session::Session};
    /// let (mut input, mut output) = ([0; 9], [0; 4]);
    /// let client = Session::with_buffers(math::Client::new(), &mut input, &mut output);
    /// ```
    ///
    /// ```compile_fail
    /// # use socklab_core::{math, session::Session};
    /// let (mut input, mut output) = ([0; 9], [0; 3]);
    /// let client = Session::with_buffers(math::Client::new(), &mut input, &mut output);
    /// ```
    #[must_use]
    pub const fn with_buffers(machine: M, input: &'b mut [u8; I], output: &'b mut [u8; O]) -> Self {
        const { assert!(I >= M::MIN_INPUT, "the input buffer is shorter than Machine::MIN_INPUT") };
        const { assert!(O >= M::MIN_OUTPUT, "the output buffer is shorter than Machine::MIN_OUTPUT") };
        Self { machine, stream: Stream::new(input, output) }
    }
}

impl<M, I, O> Session<M, I, O> {
    /// Machine and stream, for a driver whose code must not exist once per machine.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
    pub(crate) const fn split(&mut self) -> (&mut M, &mut Stream<I, O>) {
        (&mut self.machine, &mut self.stream)
    }

    /// The stream, to read its state.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async", feature = "nal"))]
    pub(crate) const fn stream(&self) -> &Stream<I, O> {
        &self.stream
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Drops everything and starts another session in the same buffers.
    pub fn restart(&mut self, machine: M) {
        self.machine = machine;
        self.stream.reset();
    }

    /// Reports that no byte came for as long as [`Want::Read`] asked.
    pub const fn idle(&mut self) {
        self.stream.idle();
    }

    /// Reports that the stream from the peer has ended. The first end counts.
    pub const fn ended(&mut self, how: StreamEnd) {
        self.stream.ended(how);
    }

    /// Whether the stream from the peer has ended.
    pub const fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    /// Reports that the peer accepts no more bytes, as the transport said: [`StreamEnd::Closed`] if the
    /// peer has only closed its receiving side. Pending output is dropped, and so is all that follows.
    /// What the peer has sent can still be read.
    ///
    /// The first call counts. Systems report a reset once, so after [`StreamEnd::Reset`] here an
    /// orderly [end](Self::ended) is taken for a reset.
    pub const fn write_ended(&mut self, how: StreamEnd) {
        self.stream.write_ended(how);
    }

    /// Returns how the sending direction [ended](Self::write_ended), `None` while the peer accepts
    /// bytes.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.stream.write_closed()
    }

    /// Ends both directions because the caller stops waiting. The next [`poll`](Self::poll) reports
    /// what was missing.
    pub const fn time_out(&mut self) {
        self.stream.time_out();
    }

    /// Reports that the transport has been flushed.
    pub const fn flushed(&mut self) {
        self.stream.flushed();
    }
}

impl<M, I, O> Session<M, I, O>
where
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Returns a session in the given buffers. Where their lengths are constants,
    /// [`with_arrays`](Session::with_arrays) and [`with_buffers`](Session::with_buffers) check them at
    /// compile time.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] if `input` is shorter than [`Machine::MIN_INPUT`], or `output` than
    /// [`Machine::MIN_OUTPUT`].
    pub fn new(machine: M, input: I, output: O) -> Result<Self, TooSmall> {
        let stream = Stream::new(input, output);
        stream.holds::<M>()?;
        Ok(Self { machine, stream })
    }

    /// Steps the machine until it emits an event or something has to be done, and returns that.
    ///
    /// Polling again has no effect, except after an event and after [`Want::Boundary`], which are
    /// reported once.
    ///
    /// # Errors
    ///
    /// The machine's, when pending output has been written and flushed. It stays the same until then:
    /// bytes that arrive meanwhile are not looked at, and commands are out of turn. If the transport
    /// cannot write, call [`write_ended`](Self::write_ended), which drops the output, or the error is
    /// never returned.
    pub fn poll(&mut self) -> Result<Polled<M::Event>, M::Error> {
        poll(&mut self.machine, &mut self.stream)
    }

    /// Returns an event of [`poll`](Self::poll) with its bytes. Valid until the next call of `poll`,
    /// [`recv_space`](Self::recv_space) or [`restart`](Self::restart); later it may show other bytes.
    pub fn view(&self, event: M::Event) -> EventView<'_, M> {
        view::<M, _, _>(&self.stream, event)
    }

    /// Gives the machine a command. What it writes is [pending](Self::transmit) then.
    ///
    /// # Errors
    ///
    /// The machine's. After [`CommandError::OutputFull`] send what is pending and try again.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<(), CommandError> {
        self::command(&mut self.machine, &mut self.stream, command)
    }

    /// Queues [outbound payload](Machine::outbound_remaining): as much as fits and as is outstanding.
    /// Returns the number of bytes taken from the front of `payload`.
    pub fn write_payload(&mut self, payload: &[u8]) -> usize {
        let n = self.stream.put(payload, self.machine.outbound_remaining());
        match u64::try_from(n).map(|n| self.machine.advance_outbound(n)) {
            Ok(Ok(())) => self.stream.wrote(n),
            _ => return 0,
        }
        n
    }

    /// Whether at least `n` bytes of outbound payload are outstanding.
    #[cfg(feature = "nal")]
    pub(crate) fn announced(&self, n: usize) -> bool {
        u64::try_from(n).is_ok_and(|n| n <= self.machine.outbound_remaining())
    }

    /// Returns the number of bytes of [inbound payload](Machine::inbound_remaining) that the caller may
    /// read from the transport itself, and count with [`advance_inbound`](Self::advance_inbound): 0
    /// while bytes of it stand in the buffer, or after the end of the stream.
    pub fn inbound_remaining(&self) -> u64 {
        if self.stream.has_unread() { 0 } else { self.machine.inbound_remaining() }
    }

    /// Counts `n` bytes of [inbound payload](Self::inbound_remaining) as read from the transport by the
    /// caller.
    ///
    /// # Errors
    ///
    /// [`Invalid::Overrun`] if `n` is more than [`inbound_remaining`](Self::inbound_remaining).
    pub fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        if self.stream.has_unread() {
            return Err(CommandError::Invalid(Invalid::Overrun));
        }
        self.machine.advance_inbound(n)
    }

    /// Returns the space for bytes from the transport. It is empty while the buffer is full: a read
    /// into it would return 0, which is not the end of the stream.
    pub fn recv_space(&mut self) -> &mut [u8] {
        self.stream.recv_space(M::MIN_INPUT)
    }

    /// Returns [`recv_space`](Self::recv_space) and [`transmit`](Self::transmit) together, for a driver
    /// that reads and writes at the same time.
    pub fn recv_space_and_transmit(&mut self) -> (&mut [u8], &[u8]) {
        self.stream.recv_space_and_transmit(M::MIN_INPUT)
    }

    /// Reports that `n` bytes from the transport stand at the front of the
    /// [`recv_space`](Self::recv_space). What exceeds that space is not counted.
    pub fn received(&mut self, n: usize) {
        self.stream.received(n);
    }

    /// Returns the bytes received that the machine has not consumed, oldest first: the start of a
    /// message, or what an error is about.
    pub fn unread(&self) -> &[u8] {
        self.stream.unread()
    }

    /// Returns the bytes to send, oldest first.
    pub fn transmit(&self) -> &[u8] {
        self.stream.transmit()
    }

    /// Reports that the transport took the `n` oldest bytes of [`transmit`](Self::transmit). What exceeds
    /// them is not counted.
    pub fn transmitted(&mut self, n: usize) {
        self.stream.transmitted(n);
    }
}

/// [`Session::poll`]: the one interpreter. Inlined: on 64 bits a call costs more than it does, and on 32
/// bits moving its result costs more flash (two clients over embedded-nal: 290 bytes).
#[inline(always)]
pub(crate) fn poll<M: Machine, I, O>(
    machine: &mut M,
    stream: &mut Stream<I, O>,
) -> Result<Polled<M::Event>, M::Error>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    loop {
        let mut action = Action::Boundary;
        if !stream.flags.has(Flags::AT_BOUNDARY) {
            let (input, output) = stream.offer(M::MIN_OUTPUT);
            let step = match machine.step(input, output) {
                Ok(step) => step,
                Err(e) => match stream.before_error() {
                    Some(want) => return Ok(Polled::Want(want)),
                    None => return Err(e),
                },
            };
            let Step { consumed, written, action: then } = step;
            let start = stream.input.start;
            if !stream.moved(consumed, written) {
                return Ok(Polled::Want(Want::Broken(Law::Counts)));
            }
            action = match then {
                Action::Event(event) => return Ok(Polled::Event(event.shift(start))),
                Action::Continue => continue,
                other => other.map(|_| ()),
            };
        }
        let payload = machine.outbound_remaining() > 0;
        if let Some(want) = stream.order(action, payload) {
            return Ok(Polled::Want(want));
        }
    }
}

/// [`Session::view`].
pub(crate) fn view<M: Machine, I: AsRef<[u8]>, O>(
    stream: &Stream<I, O>,
    event: M::Event,
) -> EventView<'_, M> {
    event.view(stream.input.storage.as_ref())
}

/// [`Session::command`].
pub(crate) fn command<M: Machine, I, O>(
    machine: &mut M,
    stream: &mut Stream<I, O>,
    command: M::Command<'_>,
) -> Result<(), CommandError>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    // What it writes would go out before the pause instead of after it, or could change the error that
    // waits.
    if stream.flags.has(Flags::AT_BOUNDARY | Flags::FAILED) {
        return Err(CommandError::OutOfTurn);
    }
    // Everything: a command may be longer than MIN_OUTPUT.
    let least = stream.output.capacity();
    let written = machine.command(command, stream.output_space(least))?;
    stream.wrote(written);
    Ok(())
}
