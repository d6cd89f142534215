//! What a driver must do: a session driven by hand, over the calls that the driver made.
//!
//! The order of reads, writes, flushes, commands, boundaries and errors is that of [`Session::poll`], which
//! [`Hand`] checks. The model only performs each [`Want`] as the driver's transport allows, and knows what an
//! error of the transport means.
//!
//! [`Session::poll`]: socklab_core::session::Session::poll

use std::cell::RefCell;
use std::num::NonZeroU16;
use std::rc::Rc;

use embedded_io::ErrorKind;
use embedded_nal::TcpErrorKind;
use socklab_core::driver::Next;
use socklab_core::machine::{CommandError, Invalid, StreamEnd};
use socklab_core::session::{Law, Polled, Want};
use socklab_tests::role::{Application, Command};
use socklab_tests::transport::NetError;

use crate::hand::{ErrorOf, Hand};
use crate::hostile::{Answer, Call, Peer, Setting};

/// Kind of a transport, and how a driver uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `embedded_io`: one direction at a time.
    Blocking,
    /// `embedded_io` with readiness: writes, then reads if that would wait.
    Polled,
    /// Two halves of `embedded_io_async`: both directions at a time.
    Halves,
    /// One object of `embedded_io_async`: one direction at a time, writes first.
    Whole,
    /// `embedded_nal`: writes, then reads if that would wait. It has no flush.
    Nal,
}

impl Style {
    const fn is_async(self) -> bool {
        matches!(self, Self::Halves | Self::Whole)
    }

    /// Whether no call waits, so that it reads in the application's turn and while it only writes.
    const fn polls(self) -> bool {
        matches!(self, Self::Polled | Self::Nal)
    }
}

/// Why a call of a driver returned nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop<E> {
    /// It would block, or waits.
    Blocks,
    /// The transport failed.
    Transport,
    /// The machine failed.
    Protocol(E),
    /// The machine rejected a command.
    Refused(CommandError),
    /// The machine broke a law.
    Law(Law),
}

/// Result of a call of a driver with this role.
pub type Outcome<X, R> = Result<X, Stop<ErrorOf<R>>>;

/// What came of performing a want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Performed {
    /// Something changed.
    Again,
    /// The transport would block.
    Blocked,
    /// The transport failed for a reason that says nothing about the peer.
    Failed,
    /// It is the caller's part.
    Caller,
}

/// What an answer of the transport means.
enum Means {
    Nothing,
    Ends(StreamEnd),
    TimesOut,
    Fails,
}

/// Kinds of errors that a transport of `embedded_io` chooses from.
pub const KINDS: [ErrorKind; 16] = [
    ErrorKind::Interrupted,
    ErrorKind::ConnectionReset,
    ErrorKind::TimedOut,
    ErrorKind::Other,
    ErrorKind::Interrupted,
    ErrorKind::Other,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::WriteZero,
    ErrorKind::TimedOut,
    ErrorKind::OutOfMemory,
    ErrorKind::Interrupted,
    ErrorKind::InvalidData,
    ErrorKind::ConnectionReset,
    ErrorKind::Unsupported,
];

/// Returns the error of a stack of `embedded_nal` that the fuzzer chose.
pub const fn net_error(kind: u8) -> NetError {
    NetError(if kind.is_multiple_of(2) { TcpErrorKind::PipeClosed } else { TcpErrorKind::Other })
}

/// A session driven by hand, which performs the calls that a driver made.
pub struct Model<R: Application> {
    /// The session.
    pub hand: Hand<R>,
    style: Style,
    peer: Rc<RefCell<Peer<R::Event>>>,
    /// What the machine waited for last, in ms.
    pub idle_ms: Option<u16>,
    /// The error of the transport that ended the stream.
    pub fault: Option<NetError>,
    /// Bytes moved, in either direction, since this was last cleared.
    pub has_moved: bool,
}

impl<R: Application> Model<R> {
    /// Starts a session over the calls that `peer` records.
    pub fn new(
        role: &R,
        setting: &Setting,
        style: Style,
        peer: Rc<RefCell<Peer<R::Event>>>,
    ) -> Self {
        let hand = Hand::new(role, setting.lengths::<R>());
        Self { hand, style, peer, idle_ms: None, fault: None, has_moved: false }
    }

    /// Takes the next call of the code under test.
    pub fn take(&mut self) -> Call<R::Event> {
        let call = self.peer.borrow_mut().take();
        call.unwrap_or_else(|| panic!("it does nothing; by hand {:?}", self.hand))
    }

    fn differs(&self, call: &Call<R::Event>, by_hand: &str) -> ! {
        panic!("{call:?}, but by hand {by_hand}: {:?}", self.hand)
    }

    /// Whether every call has been performed.
    pub fn is_settled(&self) -> bool {
        self.peer.borrow().is_settled()
    }

    /// Returns what happens next on the connection. With a clock if `within`.
    pub fn next(&mut self, within: bool) -> Outcome<Next<R::Event>, R> {
        loop {
            let want = match self.hand.poll().map_err(Stop::Protocol)? {
                Polled::Event(event) => return Ok(Next::Event(event)),
                Polled::Want(want) => want,
            };
            self.note(want);
            match self.wait(want, within)? {
                Performed::Caller => {}
                _ => continue,
            }
            return Ok(match want {
                Want::Boundary => Next::Boundary,
                Want::Close => Next::Close,
                Want::Abort => Next::Abort,
                _ => Next::Command,
            });
        }
    }

    /// Notes what the machine waits for.
    pub fn note(&mut self, want: Want) {
        self.idle_ms = match want {
            Want::Read { idle_ms } => idle_ms.map(NonZeroU16::get),
            _ => None,
        };
    }

    /// Performs what the session wants. A future that is polled again makes the same calls again.
    fn wait(&mut self, want: Want, within: bool) -> Outcome<Performed, R> {
        // Nothing but `next` waits for an idle peer.
        if !matches!(want, Want::Read { idle_ms: Some(_) }) {
            self.idle_ms = None;
        }
        loop {
            match self.perform(want, within) {
                Performed::Failed => return Err(Stop::Transport),
                Performed::Blocked if self.style.is_async() && !self.is_settled() => {}
                Performed::Blocked => return Err(Stop::Blocks),
                performed => return Ok(performed),
            }
        }
    }

    /// Performs what the session wants, once.
    pub fn perform(&mut self, want: Want, within: bool) -> Performed {
        let style = self.style;
        let (reads, writes) = match want {
            Want::Read { .. } => (true, false),
            Want::ReadOrWrite => (true, true),
            Want::Write | Want::Flush => (style.polls() && want == Want::Write, true),
            Want::Command if style.polls() => (true, true),
            Want::Command | Want::Boundary | Want::Close | Want::Abort | Want::Broken(_) => {
                return Performed::Caller;
            }
        };
        let idle_ms = match want {
            Want::Read { idle_ms } => idle_ms.map(NonZeroU16::get),
            _ => None,
        };
        if style.is_async() {
            self.hand.recv_space_and_transmit();
        }
        if within && style == Style::Blocking {
            let call = self.take();
            if call != Call::Limit(idle_ms) {
                self.differs(&call, "it sets a limit");
            }
        }
        let mut performed = Performed::Blocked;
        let is_drained = self.hand.transmit().is_empty();
        // No flush in the application's turn, nor between two reads or writes while payload is outstanding.
        let owes = want == Want::ReadOrWrite && self.hand.outbound_remaining() > 0;
        let flushes = is_drained && self.hand.is_unflushed() && want != Want::Command && !owes;
        let writes = writes && (!is_drained || flushes);
        if writes {
            performed = if is_drained { self.flush() } else { self.write() };
        }
        let is_half = writes && matches!(style, Style::Blocking | Style::Whole);
        if performed == Performed::Blocked && reads && !is_half && self.hand.can_read() {
            performed = self.read(idle_ms);
        }
        if performed == Performed::Blocked && within && style.is_async() {
            match self.take() {
                Call::Timer(ms, false) if ms == idle_ms => {}
                Call::Timer(ms, true) if ms == idle_ms => {
                    self.idle_or_time_out(idle_ms);
                    performed = Performed::Again;
                }
                call => self.differs(&call, "a timer is set"),
            }
        }
        match performed {
            Performed::Blocked if want == Want::Command => Performed::Caller,
            performed => performed,
        }
    }

    /// Writes once.
    pub fn write(&mut self) -> Performed {
        if self.style == Style::Polled {
            match self.take() {
                Call::WriteReady(Answer::Moved(_) | Answer::Nothing) => {}
                Call::WriteReady(Answer::Blocks) => return Performed::Blocked,
                Call::WriteReady(Answer::Fails(kind)) => return self.write_failed(kind),
                call => self.differs(&call, "it asks whether it can write"),
            }
        }
        let call = self.take();
        let Call::Write(bytes, answer) = &call else { self.differs(&call, "it writes") };
        if bytes != self.hand.transmit() {
            self.differs(&call, &self.hand.transmit().escape_ascii().to_string());
        }
        match *answer {
            Answer::Moved(n) => {
                self.hand.transmitted(n);
                if self.style == Style::Nal {
                    self.hand.flushed();
                }
                self.has_moved = true;
                Performed::Again
            }
            Answer::Nothing if self.style == Style::Nal => Performed::Blocked,
            Answer::Nothing => self.write_means(Means::Ends(StreamEnd::Closed)),
            Answer::Blocks => self.blocks(),
            Answer::Fails(kind) => self.write_failed(kind),
        }
    }

    fn flush(&mut self) -> Performed {
        if self.style == Style::Polled {
            match self.take() {
                Call::WriteReady(Answer::Moved(_) | Answer::Nothing) => {}
                Call::WriteReady(Answer::Blocks) => return Performed::Blocked,
                Call::WriteReady(Answer::Fails(kind)) => return self.write_failed(kind),
                call => self.differs(&call, "it asks whether it can flush"),
            }
        }
        let call = self.take();
        let Call::Flush(answer) = call else { self.differs(&call, "it flushes") };
        match answer {
            Answer::Moved(_) | Answer::Nothing => {
                self.hand.flushed();
                Performed::Again
            }
            Answer::Blocks => self.blocks(),
            Answer::Fails(kind) => self.write_failed(kind),
        }
    }

    /// A transport that blocks without a way to say so fails with an error that has no name here.
    fn blocks(&mut self) -> Performed {
        match self.style {
            Style::Blocking | Style::Polled => self.write_means(Means::Fails),
            _ => Performed::Blocked,
        }
    }

    fn write_failed(&mut self, kind: u8) -> Performed {
        if self.style == Style::Nal {
            let error = net_error(kind);
            self.fault = Some(error);
            let is_closed = error.0 == TcpErrorKind::PipeClosed;
            let how = if is_closed { StreamEnd::Closed } else { StreamEnd::Reset };
            return self.write_means(Means::Ends(how));
        }
        self.write_means(match KINDS[usize::from(kind)] {
            ErrorKind::Interrupted => Means::Nothing,
            ErrorKind::TimedOut => Means::TimesOut,
            ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::WriteZero => {
                Means::Ends(StreamEnd::Closed)
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
                Means::Ends(StreamEnd::Reset)
            }
            _ => Means::Fails,
        })
    }

    fn write_means(&mut self, means: Means) -> Performed {
        self.hand.write_ended(match means {
            Means::Nothing => return Performed::Again,
            Means::Ends(how) => how,
            Means::TimesOut => StreamEnd::TimedOut,
            // The machine's error says more than that its last replies could not be sent.
            Means::Fails if self.hand.error().is_some() => StreamEnd::Closed,
            Means::Fails => return Performed::Failed,
        });
        Performed::Again
    }

    /// Reads once. `idle_ms` is what the machine waits for.
    fn read(&mut self, idle_ms: Option<u16>) -> Performed {
        if self.style == Style::Polled {
            match self.take() {
                Call::ReadReady(Answer::Moved(_) | Answer::Nothing) => {}
                Call::ReadReady(Answer::Blocks) => return Performed::Blocked,
                Call::ReadReady(Answer::Fails(kind)) => return self.read_failed(kind, None),
                call => self.differs(&call, "it asks whether it can read"),
            }
        }
        let call = self.take();
        let Call::Read(space, answer, bytes) = &call else { self.differs(&call, "it reads") };
        let by_hand = self.hand.recv_space().len();
        if *space != by_hand {
            self.differs(&call, &format!("it reads into {by_hand} bytes"));
        }
        match *answer {
            Answer::Moved(_) => {
                self.hand.received(bytes);
                self.has_moved = true;
                Performed::Again
            }
            Answer::Nothing => {
                self.hand.ended(StreamEnd::Closed);
                Performed::Again
            }
            Answer::Blocks if matches!(self.style, Style::Blocking | Style::Polled) => {
                Performed::Failed
            }
            Answer::Blocks => Performed::Blocked,
            Answer::Fails(kind) => self.read_failed(kind, idle_ms),
        }
    }

    fn read_failed(&mut self, kind: u8, idle_ms: Option<u16>) -> Performed {
        if self.style == Style::Nal {
            let error = net_error(kind);
            if error.0 == TcpErrorKind::PipeClosed {
                self.hand.ended(StreamEnd::Closed);
            } else {
                self.hand.ended(StreamEnd::Reset);
                self.fault = Some(error);
            }
            return Performed::Again;
        }
        match KINDS[usize::from(kind)] {
            ErrorKind::Interrupted => {}
            ErrorKind::TimedOut if self.style == Style::Polled => self.hand.time_out(),
            ErrorKind::TimedOut => self.idle_or_time_out(idle_ms),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                self.hand.ended(StreamEnd::Reset);
            }
            _ => return Performed::Failed,
        }
        Performed::Again
    }

    fn idle_or_time_out(&mut self, idle_ms: Option<u16>) {
        match idle_ms {
            Some(_) => self.hand.idle(),
            None => self.hand.time_out(),
        }
    }

    /// Reports that the caller waited as long as it may.
    pub fn timed_out(&mut self) {
        let idle_ms = self.idle_ms.take();
        self.idle_or_time_out(idle_ms);
    }

    /// Sends something to make space for more.
    fn send(&mut self) -> Outcome<Performed, R> {
        if self.style == Style::Polled {
            // The driver for embedded_nal has no idle time while output is pending.
            self.idle_ms = None;
        }
        if self.style.polls() {
            return match self.write() {
                Performed::Blocked => Err(Stop::Blocks),
                Performed::Failed => Err(Stop::Transport),
                performed => Ok(performed),
            };
        }
        let both = self.style.is_async() && self.hand.can_read();
        self.wait(if both { Want::ReadOrWrite } else { Want::Write }, false)
    }

    /// Gives a command, and sends first while there is no space.
    pub fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        loop {
            match self.hand.command(command) {
                Err(CommandError::OutputFull) if !self.hand.transmit().is_empty() => {
                    self.send()?;
                }
                given => return given.map_err(Stop::Refused),
            }
        }
    }

    /// Queues payload, and sends first while there is no space.
    pub fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R> {
        if self.hand.error().is_some() && !payload.is_empty() {
            return Err(Stop::Refused(CommandError::OutOfTurn));
        }
        if payload.len() as u64 > self.hand.outbound_remaining() {
            return Err(Stop::Refused(Invalid::Overrun.into()));
        }
        loop {
            let n = self.hand.write_payload(payload);
            if n > 0 || payload.is_empty() {
                return Ok(n);
            }
            self.send()?;
        }
    }

    /// Sends everything.
    pub fn flush_all(&mut self) -> Outcome<(), R> {
        while !self.hand.transmit().is_empty() {
            match self.style.polls() {
                true => self.send()?,
                false => self.wait(Want::Write, false)?,
            };
        }
        while self.hand.is_unflushed() {
            self.wait(Want::Flush, false)?;
        }
        Ok(())
    }

    /// In the application's turn, reads once.
    pub fn listen(&mut self) -> Outcome<(), R> {
        if self.style.polls() {
            // Nothing but `next` waits for an idle peer.
            self.idle_ms = None;
        } else {
            self.flush_all()?;
        }
        if !self.hand.can_read() {
            return if self.style == Style::Blocking { Ok(()) } else { Err(Stop::Blocks) };
        }
        if self.style == Style::Blocking {
            return self.listen_once();
        }
        match self.wait(Want::Read { idle_ms: None }, false)? {
            Performed::Again => Ok(()),
            performed => panic!("a read came to {performed:?}"),
        }
    }

    /// A blocking read in the application's turn: a time limit is the caller's way out, not the end.
    fn listen_once(&mut self) -> Outcome<(), R> {
        let timed_out = |kind: u8| KINDS[usize::from(kind)] == ErrorKind::TimedOut;
        let call = self.take();
        if let Call::Read(_, Answer::Fails(kind), _) = call
            && timed_out(kind)
        {
            let _ = self.hand.recv_space();
            return Ok(());
        }
        self.peer.borrow_mut().put_back(call);
        match self.read(None) {
            Performed::Failed => Err(Stop::Transport),
            _ => Ok(()),
        }
    }

    /// Another session begins in the same buffers.
    pub fn restart(&mut self, role: &R) {
        self.hand.restart(role);
        (self.idle_ms, self.fault) = (None, None);
    }
}
