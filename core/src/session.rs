//! A machine and two buffers, still without I/O: what every driver is a loop over.
//!
//! ```text
//!   transport --> room(), received(n) --> [input ] --> step() --> events
//!   transport <-- pending(), sent(n)  <-- [output] <-- step(), command()
//! ```
//!
//! Use it when you write a driver of your own; take a ready one from [`driver`](crate::driver)
//! otherwise. [`pump`] is the same for servers that keep their buffers elsewhere.

use core::fmt;

use crate::machine::{Action, CommandError, Input, Machine, Need, Step, StreamEnd, StreamState};
use crate::wire::copy;

/// Bytes that wait, in storage that the caller chose: `[u8; N]`, `&mut [u8]`, `Vec<u8>`, …
#[derive(Clone)]
pub struct Buffer<B> {
    storage: B,
    start: usize,
    end: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Buffer<B> {
    /// An empty buffer that holds as many bytes as `storage` has.
    pub const fn new(storage: B) -> Self {
        Self { storage, start: 0, end: 0 }
    }

    /// How many bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.storage.as_ref().len()
    }

    /// The bytes that wait, oldest first.
    pub fn bytes(&self) -> &[u8] {
        between(self.storage.as_ref(), self.start, self.end)
    }

    /// Room behind the bytes that wait. They move to the front when it would be less than `least`.
    pub fn room(&mut self, least: usize) -> &mut [u8] {
        if self.start > 0 && (self.start == self.end || self.end > self.most(least)) {
            self.compact();
        }
        self.storage.as_mut().get_mut(self.end..).unwrap_or_default()
    }

    /// The latest end that leaves so much room.
    fn most(&self, least: usize) -> usize {
        self.capacity().saturating_sub(least)
    }

    /// Moves what waits to the front. Out of line: seldom needed, and asked for in many places.
    #[cold]
    #[inline(never)]
    fn compact(&mut self) {
        let storage = self.storage.as_mut();
        // Always true; written out so that the optimiser sees that copy_within cannot panic.
        if self.start <= self.end && self.end <= storage.len() {
            storage.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
    }

    /// `n` bytes have been written to the front of the [`room`](Self::room).
    #[inline(never)]
    pub fn fill(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.capacity());
    }

    /// The `n` oldest bytes are done with.
    pub fn consume(&mut self, n: usize) {
        consume(&mut self.start, self.end, n);
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// The bytes that wait. Out of line, like what follows: small, but wanted in every connection.
#[inline(never)]
fn between(storage: &[u8], start: usize, end: usize) -> &[u8] {
    storage.get(start..end).unwrap_or_default()
}

#[inline(never)]
fn consume(start: &mut usize, end: usize, n: usize) {
    *start = start.saturating_add(n).min(end);
}

impl<B> fmt::Debug for Buffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.end.saturating_sub(self.start))
    }
}

#[cfg(feature = "defmt")]
impl<B> defmt::Format for Buffer<B> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Buffer({=usize} bytes)", self.end.saturating_sub(self.start));
    }
}

/// A buffer is smaller than the machine's longest unit, so the session could stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooSmall {
    /// [`Machine::MIN_INPUT`]: so many bytes the input buffer has to have.
    pub min_input: usize,
    /// [`Machine::MIN_OUTPUT`]: so many bytes the output buffer has to have.
    pub min_output: usize,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_input, min_output } = self;
        write!(f, "the machine needs {min_input} bytes of input buffer and {min_output} of output")
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

/// What a session has of its stream. It knows no machine, so that a firmware with nine protocols
/// has the transport's side once.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Stream<I, O> {
    input: Buffer<I>,
    output: Buffer<O>,
    state: StreamState,
    /// The peer takes no more bytes; how that showed.
    deaf: Option<StreamEnd>,
    /// Whether bytes went through, in either direction, since [`has_moved`](Self::has_moved).
    moved: bool,
}

impl<I, O> Stream<I, O>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    pub(crate) fn new(input: I, output: O) -> Self {
        let input = Buffer::new(input);
        let output = Buffer::new(output);
        Self { input, output, state: StreamState::Open, deaf: None, moved: false }
    }

    /// Whether the buffers are large enough for this machine.
    pub(crate) fn holds<M: Machine>(&self) -> Result<(), TooSmall> {
        if self.input.capacity() < M::MIN_INPUT || self.output.capacity() < M::MIN_OUTPUT {
            return Err(TooSmall { min_input: M::MIN_INPUT, min_output: M::MIN_OUTPUT });
        }
        Ok(())
    }

    /// As new: the buffers are for another connection.
    #[cfg(feature = "nal")]
    pub(crate) fn reset(&mut self) {
        self.input.clear();
        self.output.clear();
        (self.state, self.deaf, self.moved) = (StreamState::Open, None, false);
    }

    /// Whether bytes have gone through, in either direction, since this was asked last.
    #[cfg(feature = "nal")]
    pub(crate) const fn has_moved(&mut self) -> bool {
        core::mem::replace(&mut self.moved, false)
    }

    pub(crate) fn idle(&mut self) {
        if self.state == StreamState::Open {
            self.state = StreamState::Idle;
        }
    }

    /// Whether more may come, and the machine has not been told of any silence since bytes came.
    #[cfg(feature = "nal")]
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, StreamState::Open)
    }

    /// Room behind the input, so that `min_input` bytes of it can come to stand in one piece.
    pub(crate) fn room(&mut self, min_input: usize) -> &mut [u8] {
        self.recv_space_and_transmit(min_input).0
    }

    pub(crate) fn recv_space_and_transmit(&mut self, min_input: usize) -> (&mut [u8], &[u8]) {
        let waiting = self.input.bytes().len();
        let room = self.input.room(min_input.saturating_sub(waiting).max(1));
        (room, if self.deaf.is_some() { &[] } else { self.output.bytes() })
    }

    pub(crate) fn received(&mut self, n: usize) {
        self.input.fill(n);
        self.moved = true;
        if self.state == StreamState::Idle {
            self.state = StreamState::Open;
        }
    }

    pub(crate) fn ended(&mut self, how: StreamEnd) {
        if !matches!(self.state, StreamState::Ended(_)) {
            // A reset is told once: who learned of it by sending reads an orderly end.
            let how = if how == StreamEnd::Closed { self.deaf.unwrap_or(how) } else { how };
            self.state = StreamState::Ended(how);
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.state, StreamState::Ended(_))
    }

    /// Whether there is something that the machine has to see before the transport is read again.
    fn has_unread(&self) -> bool {
        self.has_ended() || !self.input.bytes().is_empty()
    }

    pub(crate) fn transmit(&self) -> &[u8] {
        if self.deaf.is_some() { &[] } else { self.output.bytes() }
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.output.consume(n);
        self.moved = true;
    }

    /// So many bytes stand at the front of the [`output_room`](Self::output_room).
    #[cfg(feature = "nal")]
    pub(crate) fn wrote(&mut self, n: usize) {
        self.output.fill(n);
    }

    /// Whether the peer still takes bytes.
    #[cfg(feature = "nal")]
    pub(crate) const fn can_send(&self) -> bool {
        self.deaf.is_none()
    }

    pub(crate) fn write_ended(&mut self, how: StreamEnd) {
        self.deaf.get_or_insert(how);
        self.output.clear();
    }

    /// What a machine is given: what has come, and room for what it writes.
    #[inline(never)]
    fn offer(&mut self, min_output: usize) -> (Input<'_>, &mut [u8]) {
        if self.deaf.is_some() {
            self.output.clear();
        }
        let input = Input { bytes: self.input.bytes(), state: self.state };
        (input, self.output.room(min_output))
    }

    /// What it did with that.
    #[inline(never)]
    fn moved(&mut self, consumed: usize, written: usize) {
        self.input.consume(consumed);
        self.output.fill(written);
    }

    /// Puts as much of a payload behind the output as there is room for and as is owed, without
    /// it being there yet. Returns how much that is.
    #[inline(never)]
    fn put(&mut self, payload: &[u8], owed: u64) -> usize {
        let owed = usize::try_from(owed).unwrap_or(usize::MAX);
        copy(payload.get(..owed).unwrap_or(payload), self.output_room(1))
    }

    /// Room for at least `least` bytes of output, where that many fit.
    pub(crate) fn output_room(&mut self, least: usize) -> &mut [u8] {
        if self.deaf.is_some() {
            self.output.clear();
        }
        self.output.room(least)
    }
}

impl<M, I, O> Session<M, I, O>
where
    M: Machine,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// A fresh session in the given buffers.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] when `input` is shorter than [`Machine::MIN_INPUT`], or `output` than
    /// [`Machine::MIN_OUTPUT`].
    pub fn new(machine: M, input: I, output: O) -> Result<Self, TooSmall> {
        let stream = Stream::new(input, output);
        stream.holds::<M>()?;
        Ok(Self { machine, stream })
    }

    /// Machine and stream, for a driver whose loop is not to be there for each machine.
    #[cfg(feature = "nal")]
    pub(crate) const fn split(&mut self) -> (&mut M, &mut Stream<I, O>) {
        (&mut self.machine, &mut self.stream)
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// One step: moves the bytes, gives what the machine said.
    ///
    /// # Errors
    ///
    /// The machine's. Send what is [`pending`](Self::pending) before you report it.
    pub fn step(&mut self) -> Result<Action<M::Event<'_>>, M::Error> {
        match &stepped(&mut self.machine, &mut self.stream) {
            Ok(step) => Ok(step.action),
            Err(e) => Err(*e),
        }
    }

    #[cfg(feature = "nal")]
    pub(crate) fn stepped(&mut self) -> Result<Step<M::Event<'_>>, M::Error> {
        stepped(&mut self.machine, &mut self.stream)
    }

    /// Steps until something other than [`Action::Continue`] is to be done, and says what.
    ///
    /// An event is not taken: it is there for the next [`step`](Self::step). That is what lets a
    /// driver loop and return an event that borrows from itself.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn advance(&mut self) -> Result<Action<()>, M::Error> {
        match advance(&mut self.machine, &mut self.stream) {
            Ok(action) => Ok(action),
            // An error repeats: here it is fetched, and nowhere carried along.
            Err(Failed) => self.step().map(|action| action.without_event()),
        }
    }

    /// Gives the machine a command.
    ///
    /// # Errors
    ///
    /// The machine's. StreamState [`CommandError::OutputFull`] send what is [`pending`](Self::pending) and try
    /// again.
    pub fn command(&mut self, command: M::Command<'_>) -> Result<(), CommandError> {
        self::command(&mut self.machine, &mut self.stream, command)
    }

    /// Queues payload that the machine is [`owed`](Machine::outbound_remaining): as much as there is room for
    /// and as is owed. Returns how much that was.
    pub fn write_payload(&mut self, payload: &[u8]) -> usize {
        let n = self.stream.put(payload, self.machine.outbound_remaining());
        match u64::try_from(n).map(|n| self.machine.advance_outbound(n)) {
            Ok(Ok(())) => self.stream.output.fill(n),
            _ => return 0,
        }
        n
    }

    /// So much payload is [`due`](Machine::inbound_remaining) that the caller may read it from the transport
    /// itself, and say so with [`taken`](Self::taken): nothing while bytes of it stand in the
    /// buffer, or when the stream has ended.
    pub fn inbound_remaining(&self) -> u64 {
        if self.stream.has_unread() { 0 } else { self.machine.inbound_remaining() }
    }

    /// The caller has read `n` bytes of payload that were [`due`](Self::due) from the transport.
    ///
    /// # Errors
    ///
    /// [`CommandError::Invalid`] when they were not.
    pub fn advance_inbound(&mut self, n: u64) -> Result<(), CommandError> {
        if self.stream.has_unread() {
            Err(CommandError::Invalid)
        } else {
            self.machine.advance_inbound(n)
        }
    }

    /// Room for bytes from the transport. Empty when the machine is behind: do not read then.
    pub fn room(&mut self) -> &mut [u8] {
        self.stream.room(M::MIN_INPUT)
    }

    /// [`room`](Self::room) and [`pending`](Self::pending) together, for a driver that reads and
    /// writes at the same time.
    pub fn recv_space_and_transmit(&mut self) -> (&mut [u8], &[u8]) {
        self.stream.recv_space_and_transmit(M::MIN_INPUT)
    }

    /// Whether the transport may be read: there is room, and the stream has not ended. A machine that
    /// waits for input when it may not breaks a law, and a driver would run in circles.
    #[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
    pub(crate) fn can_read(&mut self) -> bool {
        !self.has_ended() && !self.room().is_empty()
    }

    /// `n` bytes from the transport stand at the front of the [`room`](Self::room).
    pub fn received(&mut self, n: usize) {
        self.stream.received(n);
    }

    /// Nothing came for as long as [`Need::InputOrIdle`] asked.
    pub fn idle(&mut self) {
        self.stream.idle();
    }

    /// The stream from the peer has ended. The first ending counts.
    pub fn ended(&mut self, how: StreamEnd) {
        self.stream.ended(how);
    }

    /// Whether the stream from the peer has ended.
    pub const fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    /// Bytes received that the machine has not consumed, oldest first: the beginning of a message, or
    /// what an error is about.
    pub fn unread(&self) -> &[u8] {
        self.stream.input.bytes()
    }

    /// The bytes to send, oldest first.
    pub fn transmit(&self) -> &[u8] {
        self.stream.transmit()
    }

    /// The `n` oldest [`pending`](Self::pending) bytes have been sent.
    pub fn sent(&mut self, n: usize) {
        self.stream.sent(n);
    }

    /// The peer takes no more bytes: what is pending is dropped, and so is all that follows.
    /// What the peer has sent can still be read.
    ///
    /// `how` is what the transport said of it: [`Closed`](StreamEnd::Closed) if the peer only reads no more.
    /// Systems tell of a reset once, so the first call counts, and behind a [`Reset`](StreamEnd::Reset) an
    /// orderly [end](Self::ended) is taken for one.
    pub fn write_ended(&mut self, how: StreamEnd) {
        self.stream.write_ended(how);
    }

    /// Returns what [`cannot_send`](Self::cannot_send) was told, `None` while the peer takes bytes.
    pub const fn write_closed(&self) -> Option<StreamEnd> {
        self.stream.deaf
    }
}

/// The machine has an error, which the next step tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Failed;

/// [`Session::step`] with the counts. What is in it is best taken out by reference: an event moved from
/// one enum into the next is copied each time.
#[inline(always)]
pub(crate) fn stepped<'s, M: Machine, I, O>(
    machine: &mut M,
    Stream { input, output, state, deaf, .. }: &'s mut Stream<I, O>,
) -> Result<Step<M::Event<'s>>, M::Error>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    if deaf.is_some() {
        output.clear();
    }
    // Field by field: the event goes on borrowing the storage while `start` moves.
    let Buffer { storage, start, end } = input;
    let input = Input { bytes: between(I::as_ref(storage), *start, *end), state: *state };
    let step = step(machine, input, output.room(M::MIN_OUTPUT));
    if let Ok(Step { consumed, written, .. }) = &step {
        output.fill(*written);
        consume(start, *end, *consumed);
    }
    step
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
    // Everything: a command may be longer than MIN_OUTPUT.
    let least = stream.output.capacity();
    let written = machine.command(command, stream.output_room(least))?;
    stream.output.fill(written);
    Ok(())
}

/// [`Session::advance`].
pub(crate) fn advance<M: Machine, I, O>(
    machine: &mut M,
    stream: &mut Stream<I, O>,
) -> Result<Action<()>, Failed>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    loop {
        let (input, output) = stream.offer(M::MIN_OUTPUT);
        let mut peek = machine.clone();
        let Ok(Step { consumed, written, action }) = step(&mut peek, input, output) else {
            return Err(Failed);
        };
        let action = action.without_event();
        if action == Action::Event(()) {
            return Ok(action);
        }
        *machine = peek;
        stream.moved(consumed, written);
        if action != Action::Continue {
            return Ok(action);
        }
    }
}

/// The machine's code once, for the two that step it here: it is the larger part of a session's.
#[inline(never)]
fn step<'i, M: Machine>(
    machine: &mut M,
    input: Input<'i>,
    output: &mut [u8],
) -> Result<Step<M::Event<'i>>, M::Error> {
    machine.step(input, output)
}

/// The application's side of a [`pump`].
pub trait Handler<M: Machine> {
    /// The machine says something.
    fn event(&mut self, event: M::Event<'_>);

    /// The machine would take a command. `None`: nothing to say now.
    ///
    /// Asked only when the output has [`Machine::MIN_OUTPUT`] bytes of room. One that needs more
    /// than is left is asked for again when there is more; so is one that is not for now
    /// ([`CommandError::OutOfTurn`]) where the machine goes on without it ([`Need::InputOrCommand`]). Any other that the
    /// machine does not take is this application's mistake and ends the session ([`Stop::Refused`]):
    /// ignored, it would leave the peer waiting for ever.
    fn command(&mut self) -> Option<M::Command<'_>> {
        None
    }

    /// The machine is [`owed`](Machine::outbound_remaining) payload, at least as much as fits `room`, which is not
    /// empty: put the next bytes of it to the front of `room`. Returns how many; 0: none now.
    ///
    /// With none of it to give, a [`command`](Self::command) is asked for: one that breaks the session
    /// off, say. Not needed where no payload is owed, or where it is sent past the session.
    fn payload(&mut self, room: &mut [u8]) -> usize {
        let _ = room;
        0
    }
}

/// What an application did when it was its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum Spoke {
    /// It wrote so many bytes; of a command that says nothing on the wire, none.
    Wrote(usize),
    /// It had nothing to say.
    Nothing,
    /// The machine did not take its command.
    Refused(CommandError),
}

/// Lets the application pay what is owed, or give a command.
#[inline(always)]
pub(crate) fn speak<M: Machine>(
    machine: &mut M,
    application: &mut impl Handler<M>,
    room: &mut [u8],
) -> Spoke {
    let owed = machine.outbound_remaining();
    if owed > 0 {
        let owed = usize::try_from(owed).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..owed).unwrap_or_default();
        let n = application.payload(room).min(room.len());
        if n > 0 && u64::try_from(n).is_ok_and(|n| machine.advance_outbound(n).is_ok()) {
            return Spoke::Wrote(n);
        }
    }
    let Some(command) = application.command() else { return Spoke::Nothing };
    match machine.command(command, room) {
        Ok(n) => Spoke::Wrote(n),
        Err(e) => Spoke::Refused(e),
    }
}

/// What a [`pump`] moved, and why it stopped.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pumped<E> {
    /// So many bytes at the front of the input are done with.
    pub consumed: usize,
    /// So many bytes at the front of the output are to be sent.
    pub written: usize,
    /// Why it stopped. Also with a [`Stop::Failed`] the counts hold.
    pub stop: Stop<E>,
}

/// Why a [`pump`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stop<E> {
    /// Only the transport, or an application that had no command, can help.
    Need(Need),
    /// Send what is written, pause, then go on.
    Boundary,
    /// Send what is written, then close.
    Close,
    /// Drop what is written, then reset.
    Abort,
    /// Send what is written, then report this and close.
    Failed(E),
    /// The application gave a command that the machine does not take: report this and close.
    Refused(CommandError),
}

/// Steps a machine until only the transport or an absent application can help.
///
/// For servers that share two scratch buffers among all connections. Progress comes back also
/// with an error, or the way the stream is cut would change which replies leave.
pub fn pump<M: Machine>(
    machine: &mut M,
    application: &mut impl Handler<M>,
    input: Input<'_>,
    output: &mut [u8],
) -> Pumped<M::Error> {
    let size = output.len();
    let mut room = output;
    let mut consumed = 0_usize;
    let stop = loop {
        // A branch, where `unwrap_or_default` would become a conditional move, and each step would
        // wait for the one before. More than it was given (law 4): nothing that such a machine
        // says can be relied on.
        let Some(bytes) = input.bytes.get(consumed..) else {
            return Pumped { consumed: 0, written: 0, stop: Stop::Abort };
        };
        let action = match machine.step(Input { bytes, state: input.state }, room) {
            Ok(Step { consumed: c, written, action }) => {
                consumed = consumed.wrapping_add(c);
                room = room.get_mut(written..).unwrap_or_default();
                action
            }
            Err(e) => break Stop::Failed(e),
        };
        match action {
            Action::Event(event) => application.event(event),
            Action::Continue => {}
            Action::Need(need @ (Need::Command | Need::InputOrCommand)) => {
                if room.len() < M::MIN_OUTPUT {
                    break Stop::Need(if need == Need::Command { Need::OutputSpace } else { need });
                }
                match speak(machine, application, room) {
                    Spoke::Wrote(n) => room = room.get_mut(n..).unwrap_or_default(),
                    Spoke::Nothing => break Stop::Need(need),
                    // What is written before it takes the room.
                    Spoke::Refused(CommandError::OutputFull) if room.len() < size => {
                        break Stop::Need(Need::OutputSpace);
                    }
                    // It reads on meanwhile, and the application is asked again.
                    Spoke::Refused(CommandError::OutOfTurn) if need == Need::InputOrCommand => {
                        break Stop::Need(need);
                    }
                    Spoke::Refused(e) => break Stop::Refused(e),
                }
            }
            Action::Need(need) => break Stop::Need(need),
            Action::Boundary => break Stop::Boundary,
            Action::Close => break Stop::Close,
            Action::Abort => break Stop::Abort,
        }
    };
    Pumped { consumed, written: size.saturating_sub(room.len()), stop }
}
